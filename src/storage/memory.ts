import { encodeHex, encodeUtf8 } from "../core/encoding.ts";
import { FatalError, UnavailableError } from "../core/errors.ts";
import {
  type Batch,
  type CommitReads,
  type CommitView,
  type ErasedId,
  joinParts,
  type LedgerStorage,
  type Planned,
  type RawEntry,
  type Redaction,
  type SideTables,
  type StorageCapabilities,
  type StorageHead,
  type StorageSnapshot,
  type StoredAnchor,
  type StoredCheckpoint,
  type StoredEntry,
  type StoredFilter,
  toStored,
} from "../ledger/storage.ts";

const READ_ENTRIES_MAX = 4_096;
const READ_CONTROLS_MAX = 512;
const PAGE_ROWS = 512;

/** One ledger in the memory of this process: what any storage does, without durability. For tests and trials. */
export function openMemoryStorage(): LedgerStorage {
  return new MemoryStorage();
}

/** Everything that one atomic change may touch. Entries and bytes in it are never shared with a caller. */
interface Tables {
  readonly entries: StoredEntry[];
  readonly tiles: Map<string, Uint8Array>;
  readonly filters: Map<number, Uint8Array>;
  readonly ids: Map<string, number>;
  readonly controls: number[];
  /** By hex digest. */
  readonly erasedIds: Map<string, ErasedId>;
  readonly checkpoints: Map<number, string>;
  readonly cosigned: Map<number, string>;
  readonly anchors: Map<number, StoredAnchor>;
  readonly purges: Set<number>;
}

class MemoryStorage implements LedgerStorage {
  readonly capabilities: StorageCapabilities = {
    name: "memory",
    durable: false,
    shared: false,
    synchronous: true,
    location: "memory:",
  };
  private readonly tables: Tables = {
    entries: [],
    tiles: new Map(),
    filters: new Map(),
    ids: new Map(),
    controls: [],
    erasedIds: new Map(),
    checkpoints: new Map(),
    cosigned: new Map(),
    anchors: new Map(),
    purges: new Set(),
  };
  private closed = false;
  private snapshots = 0;
  private readonly watchers = new Set<() => void>();
  /** Serialises whatever writes: `create` and `rebuildDerived` wait inside. */
  private turn: Promise<unknown> = Promise.resolve();

  create(plan: () => Promise<Batch> | Batch): Promise<boolean> {
    return this.write(async () => {
      if (this.tables.entries.length > 0) return false;
      this.apply(await plan());
      return true;
    });
  }

  async head(): Promise<StorageHead> {
    this.assertOpen();
    return headOf(this.tables.entries);
  }

  commit(reads: CommitReads, plan: (view: CommitView) => Planned): Promise<boolean> {
    return this.write(() => {
      if (this.tables.entries.length === 0) throw new UnavailableError("not-found", "no ledger in this memory");
      const planned = plan(this.view(reads));
      if (planned === undefined) return false;
      this.apply(joinParts(planned));
      return true;
    });
  }

  async readEntries(first: number, end: number): Promise<readonly StoredEntry[]> {
    this.assertOpen();
    if (end - first > READ_ENTRIES_MAX) {
      throw new RangeError(`readEntries: expected at most ${READ_ENTRIES_MAX} entries at a time, got ${end - first}`);
    }
    return this.tables.entries.slice(Math.max(0, first), Math.max(0, end)).map(toStored);
  }

  async readEntryTexts(first: number, end: number): Promise<readonly string[]> {
    return (await this.readEntries(first, end)).map(({ entry }) => entry);
  }

  async readTile(level: number, index: number): Promise<Uint8Array | undefined> {
    this.assertOpen();
    return copyBytes(this.tables.tiles.get(`${level}/${index}`));
  }

  async readFilters(first: number, end: number): Promise<readonly StoredFilter[]> {
    this.assertOpen();
    const inside = [...this.tables.filters].filter(([block]) => block >= first && block < end);
    return inside.sort(([a], [b]) => a - b).map(([block, bits]) => ({ block, bits: copyBytes(bits) }));
  }

  async readFilterBlocks(first: number, end: number): Promise<readonly number[]> {
    this.assertOpen();
    const blocks = [...this.tables.filters.keys()].filter((block) => block >= first && block < end);
    return blocks.sort((a, b) => a - b);
  }

  async findById(id: string): Promise<StoredEntry | undefined> {
    this.assertOpen();
    return this.find(id);
  }

  async readControls(first = 0): Promise<readonly StoredEntry[]> {
    this.assertOpen();
    const { controls, entries } = this.tables;
    const there = controls.filter((index) => index >= first && index < entries.length).slice(0, READ_CONTROLS_MAX);
    return there.map((index) => toStored(entries[index]!));
  }

  async putCheckpoint({ size, note }: StoredCheckpoint): Promise<void> {
    await this.write(() => {
      const stored = this.tables.checkpoints.get(size);
      if (stored !== undefined && stored !== note) {
        throw new FatalError("invariant-broken", `another checkpoint of size ${size} is stored already`, {
          details: { size },
        });
      }
      this.tables.checkpoints.set(size, note);
      return false;
    });
  }

  async latestCheckpoint(): Promise<StoredCheckpoint | undefined> {
    this.assertOpen();
    return sortedNotes(this.tables.checkpoints).at(-1);
  }

  async putCosigned({ size, note }: StoredCheckpoint): Promise<void> {
    await this.write(() => {
      this.tables.cosigned.set(size, note);
      return false;
    });
  }

  async latestCosigned(): Promise<StoredCheckpoint | undefined> {
    this.assertOpen();
    return sortedNotes(this.tables.cosigned).at(-1);
  }

  async readAnchor(index: number): Promise<StoredAnchor | undefined> {
    this.assertOpen();
    const anchor = this.tables.anchors.get(index);
    return anchor && copyAnchor(anchor);
  }

  async rebuildDerived(rebuild: AsyncIterable<Batch> | Iterable<Batch>): Promise<void> {
    await this.write(async () => {
      const batches: Batch[] = [];
      for await (const batch of rebuild) batches.push(batch);
      const { tiles, filters, ids, controls } = this.tables;
      for (const table of [tiles, filters, ids]) table.clear();
      controls.length = 0;
      for (const batch of batches) this.applyDerived(batch);
      return false;
    });
  }

  async watch(size: number, signal?: AbortSignal): Promise<void> {
    for (;;) {
      this.assertOpen();
      signal?.throwIfAborted();
      if (this.tables.entries.length > size) return;
      await new Promise<void>((resolve, reject) => {
        const wake = (): void => {
          this.watchers.delete(wake);
          signal?.removeEventListener("abort", abort);
          resolve();
        };
        const abort = (): void => {
          this.watchers.delete(wake);
          reject(signal?.reason);
        };
        this.watchers.add(wake);
        signal?.addEventListener("abort", abort, { once: true });
      });
    }
  }

  purge(): Promise<"done" | "pending"> {
    return this.inTurn(() => {
      if (this.tables.purges.size === 0) return "done";
      // A snapshot holds the entries as they were when it was taken.
      if (this.snapshots > 0) return "pending";
      this.tables.purges.clear();
      return "done";
    });
  }

  async snapshot(): Promise<StorageSnapshot> {
    this.assertOpen();
    if (this.tables.entries.length === 0) throw new UnavailableError("not-found", "no ledger in this memory");
    this.snapshots += 1;
    return openSnapshot(copyTables(this.tables), () => {
      this.snapshots -= 1;
    });
  }

  async close(): Promise<void> {
    this.closed = true;
    for (const wake of [...this.watchers]) wake();
    await this.turn;
  }

  private view(reads: CommitReads): CommitView {
    const byId = new Map<string, StoredEntry>();
    const erasedIds = new Map<string, number>();
    reads.ids.forEach((id, i) => {
      const entry = this.find(id);
      if (entry !== undefined) byId.set(id, entry);
      const digest = reads.idDigests[i];
      const erased = digest && this.tables.erasedIds.get(encodeHex(digest));
      if (erased !== undefined) erasedIds.set(id, erased.index);
    });
    const byIndex = new Map<number, StoredEntry>();
    for (const index of reads.indexes) {
      const entry = this.tables.entries[index];
      if (entry !== undefined) byIndex.set(index, toStored(entry));
    }
    return { head: headOf(this.tables.entries), byId, erasedIds, byIndex };
  }

  private find(id: string): StoredEntry | undefined {
    const index = this.tables.ids.get(id);
    const entry = index === undefined ? undefined : this.tables.entries[index];
    return entry && toStored(entry);
  }

  /** Checks the whole batch, then applies it: all or nothing. */
  private apply(batch: Batch): void {
    const { entries, filters, anchors, purges } = this.tables;
    assertApplicable(this.tables, batch);
    for (const redaction of batch.redactions ?? []) this.redact(redaction);
    for (const entry of batch.entries) entries.push(toStored(entry));
    this.applyDerived(batch);
    for (const anchor of batch.anchors ?? []) anchors.set(anchor.index, copyAnchor(anchor));
    for (const block of batch.unfilter ?? []) filters.delete(block);
    if (batch.purge !== undefined) purges.add(batch.purge);
  }

  private applyDerived(batch: Batch): void {
    const { tiles, filters, ids, controls } = this.tables;
    for (const { level, index, hashes } of batch.tiles) tiles.set(`${level}/${index}`, copyBytes(hashes));
    for (const { block, bits } of batch.filters) if (!filters.has(block)) filters.set(block, copyBytes(bits));
    for (const { id, index } of batch.ids) ids.set(id, index);
    controls.push(...batch.controls);
  }

  private redact({ index, disclosure, id, erasedId }: Redaction): void {
    const { entries, ids, erasedIds } = this.tables;
    entries[index] = { ...(entries[index] as StoredEntry), body: null, salts: null, disclosure };
    if (id !== null) ids.delete(id);
    if (erasedId !== null) erasedIds.set(encodeHex(erasedId.digest), copyErasedId(erasedId));
  }

  private async write(work: () => Promise<boolean> | boolean): Promise<boolean> {
    const written = await this.inTurn(work);
    if (written) for (const wake of [...this.watchers]) wake();
    return written;
  }

  private inTurn<T>(work: () => Promise<T> | T): Promise<T> {
    try {
      this.assertOpen();
    } catch (error) {
      return Promise.reject(error);
    }
    const next = this.turn.then(work);
    this.turn = next.catch(() => {});
    return next;
  }

  private assertOpen(): void {
    if (this.closed) throw new UnavailableError("closed", "this memory storage is closed");
  }
}

/** Errors: `invariant-broken`, for what a database would refuse by its keys. */
function assertApplicable(tables: Tables, batch: Batch): void {
  const size = tables.entries.length;
  const broken = (message: string): FatalError => new FatalError("invariant-broken", message);
  batch.entries.forEach(({ index }, i) => {
    if (index !== size + i) throw broken(`expected entry ${size + i} next, got ${index}`);
  });
  const newIds = new Set<string>();
  for (const { id } of batch.ids) {
    if (tables.ids.has(id) || newIds.has(id)) throw broken("an id is stored already");
    newIds.add(id);
  }
  for (const { level, index } of batch.tiles) {
    if (tables.tiles.has(`${level}/${index}`)) throw broken(`tile ${level}/${index} is stored already`);
  }
  for (const index of batch.controls)
    if (tables.controls.includes(index)) throw broken(`control ${index} is stored already`);
  for (const { index } of batch.anchors ?? []) {
    if (index < size || index >= size + batch.entries.length)
      throw broken(`an anchor of entry ${index}, which is not new`);
  }
  for (const { index, id, erasedId } of batch.redactions ?? []) {
    if (index >= size) throw broken(`expected entry ${index} to erase in the store, found none`);
    if (id !== null && tables.ids.get(id) !== index)
      throw broken(`expected the id of entry ${index} in the store, found none`);
    if (erasedId !== null && tables.erasedIds.has(encodeHex(erasedId.digest)))
      throw broken(`the erased id of entry ${index} is stored already`);
  }
}

function openSnapshot(tables: Tables, closed: () => void): StorageSnapshot {
  let open = true;
  return {
    head: headOf(tables.entries),
    *readRaw(first, end) {
      for (let from = Math.max(0, first); from < Math.min(end, tables.entries.length); from += PAGE_ROWS) {
        yield tables.entries.slice(from, Math.min(from + PAGE_ROWS, end)).map(rawOf);
      }
    },
    seek: (index) => (index < tables.entries.length ? index : undefined),
    unreachable: () => [],
    readTile: (level, index) => copyBytes(tables.tiles.get(`${level}/${index}`)),
    readFilter: (block) => copyBytes(tables.filters.get(block)),
    readId: (id) => tables.ids.get(id),
    readAnchor(index) {
      const anchor = tables.anchors.get(index);
      return anchor && { note: copyBytes(anchor.note), proof: copyBytes(anchor.proof) };
    },
    async sideTables(): Promise<SideTables> {
      return {
        tiles: tables.tiles.size,
        filters: tables.filters.size,
        ids: tables.ids.size,
        controls: [...tables.controls].sort((a, b) => a - b),
        erasedIds: [...tables.erasedIds.values()].sort((a, b) => a.index - b.index).map(copyErasedId),
        checkpoints: sortedNotes(tables.checkpoints),
        cosigned: sortedNotes(tables.cosigned),
        anchors: [...tables.anchors.keys()].sort((a, b) => a - b),
        purges: [...tables.purges].sort((a, b) => a - b),
        anomalies: [],
      };
    },
    async close() {
      if (open) closed();
      open = false;
    },
  };
}

function headOf(entries: readonly StoredEntry[]): StorageHead {
  return { size: entries.length, lastEntry: entries.at(-1)?.entry ?? null };
}

function sortedNotes(notes: ReadonlyMap<number, string>): StoredCheckpoint[] {
  return [...notes].sort(([a], [b]) => a - b).map(([size, note]) => ({ size, note }));
}

function rawOf({ index, entry, body, salts, disclosure }: StoredEntry): RawEntry {
  const bytes = (text: string | null): Uint8Array | null => (text === null ? null : encodeUtf8(text));
  return {
    index,
    entry: bytes(entry),
    body: bytes(body),
    salts: copyBytes(salts),
    disclosure: bytes(disclosure),
  };
}

function copyAnchor({ index, note, proof }: StoredAnchor): StoredAnchor {
  return { index, note: copyBytes(note), proof: copyBytes(proof) };
}

function copyErasedId({ index, digest, salt }: ErasedId): ErasedId {
  return { index, digest: copyBytes(digest), salt: copyBytes(salt) };
}

/** What is stored is replaced, never changed in place, so a view needs its own collections only. */
function copyTables(tables: Tables): Tables {
  return {
    entries: [...tables.entries],
    tiles: new Map(tables.tiles),
    filters: new Map(tables.filters),
    ids: new Map(tables.ids),
    controls: [...tables.controls],
    erasedIds: new Map(tables.erasedIds),
    checkpoints: new Map(tables.checkpoints),
    cosigned: new Map(tables.cosigned),
    anchors: new Map(tables.anchors),
    purges: new Set(tables.purges),
  };
}

/** What may be missing stays missing. A `slice` of a Buffer would be a view of the same bytes. */
function copyBytes<T extends Uint8Array | null | undefined>(bytes: T): T | Uint8Array {
  return bytes && Uint8Array.from(bytes);
}
