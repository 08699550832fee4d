/**
 * Port: where one ledger keeps its entries. The engine sequences, hashes and proves; a storage stores. The suite in
 * src/testing/storage-suite.ts checks each sentence below on every implementation.
 */

/** One entry as stored. `entry` is the committed text; `body` and `disclosure` are what it commits to, while kept. */
export interface StoredEntry {
  readonly index: number;
  /** Canonical entry text (FORMATS: entry). ASCII. */
  readonly entry: string;
  /** Canonical event text, exactly as committed; null once erased. */
  readonly body: string | null;
  /** 16 bytes per salt: one, or one per field in name order; null once erased. */
  readonly salts: Uint8Array | null;
  /** Scheme `fields` after an erasure: canonical `{"digests":{name:hex},"disclosed":{name:[salt,value]}}`; else null. */
  readonly disclosure: string | null;
}

/** An entry to be stored, whose texts may come as their UTF-8 bytes. Only the call that takes it may read them, and the salts: they are written over later. */
export interface NewEntry extends Omit<StoredEntry, "entry" | "body"> {
  readonly entry: string | Uint8Array;
  readonly body: string | Uint8Array | null;
}

/** A stored entry whose text columns are the raw stored bytes: what verification reads, so that no decoder hides a byte. */
export interface RawEntry {
  readonly index: number;
  readonly entry: Uint8Array | null;
  readonly body: Uint8Array | null;
  readonly salts: Uint8Array | null;
  readonly disclosure: Uint8Array | null;
  /** A value is stored under another type than its column's, so that other readers may take it for something else. */
  readonly misfit?: boolean;
}

/** A full tile: 256 hashes of one level, 8,192 bytes. Partial tiles are never stored: the engine derives them. */
export interface StoredTile {
  readonly level: number;
  readonly index: number;
  readonly hashes: Uint8Array;
}

/** Membership filter over the searchable terms of one full block of 256 entries (ledger/block-filter.ts). Derived data. */
export interface StoredFilter {
  readonly block: number;
  readonly bits: Uint8Array;
}

/** What remains of an `id` once its entry is erased: enough to refuse it again, not to read it. */
export interface ErasedId {
  readonly index: number;
  readonly digest: Uint8Array;
  readonly salt: Uint8Array;
}

export interface StoredCheckpoint {
  readonly size: number;
  readonly note: string;
}

/** What belongs to a `ledger.anchor` entry: the bytes whose hashes it commits to. */
export interface StoredAnchor {
  /** Leaf index of the entry. */
  readonly index: number;
  /** Bytes of the anchored note, and of the proof as it came. */
  readonly note: Uint8Array;
  readonly proof: Uint8Array;
}

/** Replacement of the erasable columns of one entry. An entry or id that is not stored is `invariant-broken`. */
export interface Redaction {
  readonly index: number;
  /** New `disclosure`; null erases everything. `body` and `salts` become null either way. */
  readonly disclosure: string | null;
  /** The id to forget: removed from the ids and remembered as an erased id. */
  readonly id: string | null;
  readonly erasedId: ErasedId | null;
}

/** One atomic change. `entries` continue the stored ones without a gap. */
export interface Batch {
  readonly entries: readonly NewEntry[];
  readonly tiles: readonly StoredTile[];
  /** A filter that is stored already is left as it is: two processes may index the same block. */
  readonly filters: readonly StoredFilter[];
  /** `id` → index of the new entries that carry one. */
  readonly ids: readonly { readonly id: string; readonly index: number }[];
  /** Indexes of the new entries of scheme `control`. */
  readonly controls: readonly number[];
  /** Notes and proofs of new entries that record an anchor. Never changed afterwards. */
  readonly anchors?: readonly StoredAnchor[];
  /** Blocks whose filter must go because an erasure changed them; the engine builds them again later. */
  readonly unfilter?: readonly number[];
  readonly redactions?: readonly Redaction[];
  /** Index of the erasure entry whose erased bytes must be purged from every file and log of the store. */
  readonly purge?: number;
}

/** The right edge of the ledger, read under the write lock. */
export interface StorageHead {
  /** Number of entries. */
  readonly size: number;
  /** Text of the last entry; null when empty. */
  readonly lastEntry: string | null;
}

/** What the engine needs to know under the lock, fetched before the plan runs. */
export interface CommitReads {
  /** Idempotency keys to look up. */
  readonly ids: readonly string[];
  /** Digests of idempotency keys to look up among the erased ones; same order as `ids`. */
  readonly idDigests: readonly Uint8Array[];
  /** Entries to read. */
  readonly indexes: readonly number[];
}

export interface CommitView {
  readonly head: StorageHead;
  /** Stored entry of each known id. */
  readonly byId: ReadonlyMap<string, StoredEntry>;
  /** Those of `reads.ids` that belonged to an entry erased since, with its index. */
  readonly erasedIds: ReadonlyMap<string, number>;
  readonly byIndex: ReadonlyMap<number, StoredEntry>;
}

/** A term of a query that a filter can answer, or a JSON path test that it cannot. See ledger/query.ts. */
export interface StorageCapabilities {
  readonly name: "memory" | "sqlite" | "postgres" | string;
  /** Survives the process. */
  readonly durable: boolean;
  /** Other processes may write the same ledger. */
  readonly shared: boolean;
  /** `commit` runs on the calling thread without yielding: the engine bounds its batches for the event loop. */
  readonly synchronous: boolean;
  /** Where the ledger is, for messages and for the reader's state: an absolute path or a URL without secrets. */
  readonly location: string;
  /** Where another reader in this process finds the same bytes, if not at `location`: a private copy, gone after `close`. */
  readonly readLocation?: string;
}

/** A stored anchor as verification reads it. */
export interface RawAnchor {
  readonly note: Uint8Array | null;
  readonly proof: Uint8Array | null;
}

/** Counts of the derived and side tables, so that verification can prove there is nothing else. */
export interface SideTables {
  readonly tiles: number;
  readonly filters: number;
  readonly ids: number;
  readonly controls: readonly number[];
  readonly erasedIds: readonly ErasedId[];
  readonly checkpoints: readonly StoredCheckpoint[];
  readonly cosigned: readonly StoredCheckpoint[];
  /** Entries for which an anchor is stored, ascending. */
  readonly anchors: readonly number[];
  /** Erasure entries whose bytes are still to be purged. */
  readonly purges: readonly number[];
  /** What is in the store and should not be: altered schema, rows that no reader expects. One sentence each. */
  readonly anomalies: readonly string[];
}

/** A stable view: what it shows does not change while it is open, whatever is appended. Reads never block writers. */
export interface StorageSnapshot {
  readonly head: StorageHead;
  /** Raw entries of `first ≤ index < end`, ascending, in pages; rows that are missing are simply absent. */
  readRaw(first: number, end: number): Iterable<readonly RawEntry[]> | AsyncIterable<readonly RawEntry[]>;
  /** Entries of `first ≤ index < end` that reading in order gives and looking one up does not: the store's own tree is damaged. */
  unreachable(first: number, end: number): Promise<readonly number[]> | readonly number[];
  /** Smallest stored index that is not below `index`, or undefined: rows may lie far beyond a gap. */
  seek(index: number): Promise<number | undefined> | number | undefined;
  /** Stored full tile, or undefined. */
  readTile(level: number, index: number): Promise<Uint8Array | undefined> | Uint8Array | undefined;
  readFilter(block: number): Promise<Uint8Array | undefined> | Uint8Array | undefined;
  /** Index stored for an id, or undefined. */
  readId(id: string): Promise<number | undefined> | number | undefined;
  /** Anchor stored for an entry, or undefined; null for bytes that are gone or of another type. */
  readAnchor(index: number): Promise<RawAnchor | undefined> | RawAnchor | undefined;
  sideTables(): Promise<SideTables>;
  close(): Promise<void>;
}

/** What a plan answers: one batch, one in parts, or that nothing is to be written. */
export type Planned = Batch | Iterable<Batch> | undefined;

/** The parts of a batch that may have come whole. */
export function partsOf(planned: Batch | Iterable<Batch>): Iterable<Batch> {
  return Symbol.iterator in planned ? planned : [planned];
}

/** A new entry with texts and bytes of its own. */
export function toStored({ index, entry, body, salts, disclosure }: NewEntry): StoredEntry {
  return {
    index,
    entry: toText(entry),
    body: body && toText(body),
    salts: salts && Uint8Array.from(salts),
    disclosure,
  };
}

/** Text that came as text, or as its UTF-8 bytes. */
export function toText(text: string | Uint8Array): string {
  return typeof text === "string" ? text : new TextDecoder().decode(text);
}

/** One batch of its parts, for a store that gains nothing from writing them one after another. */
export function joinParts(planned: Batch | Iterable<Batch>): Batch {
  if (!(Symbol.iterator in planned)) return planned;
  const parts: Batch[] = [];
  for (const part of planned) parts.push({ ...part, entries: part.entries.map(toStored) });
  const purge = parts.findLast((part) => part.purge !== undefined)?.purge;
  return {
    entries: parts.flatMap((part) => part.entries),
    tiles: parts.flatMap((part) => part.tiles),
    filters: parts.flatMap((part) => part.filters),
    ids: parts.flatMap((part) => part.ids),
    controls: parts.flatMap((part) => part.controls),
    anchors: parts.flatMap((part) => part.anchors ?? []),
    unfilter: parts.flatMap((part) => part.unfilter ?? []),
    redactions: parts.flatMap((part) => part.redactions ?? []),
    ...(purge === undefined ? {} : { purge }),
  };
}

export interface LedgerStorage {
  readonly capabilities: StorageCapabilities;

  /**
   * Creates the ledger: runs `plan` under the write lock if the store is empty, and commits its batch (index 0 = genesis).
   * Returns false, without running it, if a ledger is there already. Two processes may race: one creates, the other gets
   * false. When the plan fails nothing is left, and `create` may be called again. Errors: `foreign-database` (holds something
   * else, untouched), `newer-format`, `read-only`, `storage-*`.
   */
  create(plan: () => Promise<Batch> | Batch): Promise<boolean>;

  /** Right edge now. `{ size: 0, lastEntry: null }` when no ledger is there. */
  head(): Promise<StorageHead>;

  /**
   * Runs the synchronous `plan` under the store's write lock and commits its batch atomically; durable when it resolves.
   * The plan may run again (after a lost compare-and-swap), so it must not have effects. When it returns undefined
   * nothing is written. A batch may come in parts, each continuing the one before: they are asked for, and may be written, one after
   * another, and commit together; when asking throws, nothing is written. Resolves with whether a batch was committed. Other
   * processes' commits are seen. Errors:
   * `not-found` (no ledger is there), `storage-busy` (another writer held the lock for too long), `storage-full`, `storage-io`,
   * `read-only`: nothing changed; `outcome-unknown`: the commit may or may not have happened.
   */
  commit(reads: CommitReads, plan: (view: CommitView) => Planned): Promise<boolean>;

  /** Entries of `first ≤ index < end`, ascending. At most 4,096 at a time, else `RangeError`. */
  readEntries(first: number, end: number): Promise<readonly StoredEntry[]>;
  /** The texts of the same entries alone, for who needs no more: a third of the time. */
  readEntryTexts(first: number, end: number): Promise<readonly string[]>;
  readTile(level: number, index: number): Promise<Uint8Array | undefined>;
  /** Filters of `first ≤ block < end` that exist, ascending. */
  readFilters(first: number, end: number): Promise<readonly StoredFilter[]>;
  /** Blocks `first ≤ block < end` that have a filter, ascending: without reading the filters, which are 2,048 bytes each. */
  readFilterBlocks(first: number, end: number): Promise<readonly number[]>;
  findById(id: string): Promise<StoredEntry | undefined>;
  /**
   * Control entries from index `first` on (default 0), ascending, as far as the list of them names entries that are there. At most
   * 512 at a time: more of them begin after the last one given.
   */
  readControls(first?: number): Promise<readonly StoredEntry[]>;

  /** Stores a signed checkpoint. Same size and same note again is fine; the same size with another note is `invariant-broken`. */
  putCheckpoint(checkpoint: StoredCheckpoint): Promise<void>;
  latestCheckpoint(): Promise<StoredCheckpoint | undefined>;

  /** Stores a checkpoint with the cosignatures of witnesses, in place of an earlier one of the same size. */
  putCosigned(checkpoint: StoredCheckpoint): Promise<void>;
  /** The largest one. */
  latestCosigned(): Promise<StoredCheckpoint | undefined>;

  /** Note and proof that were committed with entry `index`, or undefined. */
  readAnchor(index: number): Promise<StoredAnchor | undefined>;

  /**
   * Replaces all derived data (tiles, filters, ids, controls) by what `rebuild` yields, atomically, and mends guard triggers. From the first
   * batch that is asked for on, nobody else writes.
   */
  rebuildDerived(rebuild: AsyncIterable<Batch> | Iterable<Batch>): Promise<void>;

  /** Resolves when an entry with index ≥ `size` may exist, or on abort (rejects with `signal.reason`). Polling is fine. */
  watch(size: number, signal?: AbortSignal): Promise<void>;

  /** Tries to remove erased bytes from every file and log of the store. `pending` while a reader holds them back. */
  purge(): Promise<"done" | "pending">;

  /** It may outlive this storage. Errors: `not-found` when no ledger is there. */
  snapshot(): Promise<StorageSnapshot>;

  /** Idempotent. Pending commits have resolved before; afterwards every call is refused with `closed`. */
  close(): Promise<void>;
}
