import { bytesEqual, decodeUtf8 } from "../core/encoding.ts";
import { type EntryFacts, EntryVerifier, type RangeResult } from "../core/entry-verifier.ts";
import { isTallystickError } from "../core/errors.ts";
import { parseEvent } from "../core/event.ts";
import type { LedgerState } from "../core/ledger-state.ts";
import { TILE_WIDTH } from "../core/limits.ts";
import type { PolicyAuthor } from "../core/policy.ts";
import { tileRoot } from "../core/tile.ts";
import { FilterBuilder } from "./block-filter.ts";
import type { RawEntry, StorageSnapshot } from "./storage.ts";
import { timeSlices } from "./time-slices.ts";

/** A range of entries to verify; plain data, so that it can cross threads. */
export interface RangeTask {
  readonly first: number;
  readonly end: number;
  readonly state: LedgerState;
  readonly requireSignature: boolean;
  /** Author keys of the pinned policy. */
  readonly authors: readonly PolicyAuthor[];
  readonly findingsMax: number;
  /** Tiles and filters are compared only where the range covers them whole. */
  readonly derived: boolean;
}

export interface RangeAnswer extends RangeResult {
  /** Level-1 tile roots: of each whole 65,536 entries, for the levels above. */
  readonly tileRoots: readonly { readonly level: number; readonly index: number; readonly root: Uint8Array }[];
  readonly tiles: number;
  readonly filters: number;
}

const HASH_BYTES = 32;
const LEVEL_1_ENTRIES: number = TILE_WIDTH * TILE_WIDTH;

/** Entries of one task: whole level-1 tiles, so that tasks compare tiles on their own. */
export const TASK_ENTRIES: number = LEVEL_1_ENTRIES;

/** Verifies one range from the stored bytes and compares the derived data that it covers. Constant memory. */
export async function verifyRange(snapshot: StorageSnapshot, task: RangeTask): Promise<RangeAnswer> {
  const verifier = new EntryVerifier(task);
  const derived = new DerivedChecks(snapshot, verifier, task);
  const pause = timeSlices();
  reportUnreachable(verifier, await snapshot.unreachable(task.first, task.end));
  for await (const page of snapshot.readRaw(task.first, task.end)) {
    for (const row of page) {
      const facts = verifier.add(row);
      if (facts === null) {
        derived.broken(row.index);
        continue;
      }
      const check = derived.add(row, facts);
      if (check !== undefined) await check;
    }
    await verifier.settleSignatures();
    await pause();
  }
  const result = await verifier.finish();
  return { ...result, tileRoots: derived.tileRoots, tiles: derived.tiles, filters: derived.filters };
}

/** One finding for a run, as for entries that are not stored at all: readers are told that these are not. */
function reportUnreachable(verifier: EntryVerifier, indexes: readonly number[]): void {
  const ascending = [...indexes].sort((a, b) => a - b);
  ascending.forEach((first, i) => {
    if (ascending[i - 1] === first - 1) return;
    let last = first;
    for (let k = i + 1; ascending[k] === last + 1; k++) last += 1;
    const which = first === last ? `entry ${first} is` : `entries ${first} to ${last} are`;
    verifier.report("entry-missing", first, `${which} stored where no look-up finds them`);
  });
}

/** Compares stored tiles, filters and ids with what the entries themselves give. */
class DerivedChecks {
  readonly tileRoots: { level: number; index: number; root: Uint8Array }[] = [];
  tiles = 0;
  filters = 0;
  private readonly snapshot: StorageSnapshot;
  private readonly verifier: EntryVerifier;
  private readonly task: RangeTask;
  private readonly roots: Uint8Array = new Uint8Array(TILE_WIDTH * HASH_BYTES);
  private rootsFilled = 0;
  private readonly builder = new FilterBuilder();

  constructor(snapshot: StorageSnapshot, verifier: EntryVerifier, task: RangeTask) {
    this.snapshot = snapshot;
    this.verifier = verifier;
    this.task = task;
  }

  /** An entry without a leaf hash: its tile cannot be compared. */
  broken(index: number): void {
    this.rootsFilled = -1;
    if (index % TILE_WIDTH === TILE_WIDTH - 1) this.builder.take();
  }

  add({ index, body }: RawEntry, { id, event, outline }: EntryFacts): Promise<void> | undefined {
    if (outline !== undefined && body !== null) this.builder.addOutline(body, outline);
    else if (event !== null) this.builder.add(event);
    const atEnd = index % TILE_WIDTH === TILE_WIDTH - 1;
    if (id === null && !atEnd) return undefined;
    const found = id === null ? undefined : this.snapshot.readId(id);
    if (!(found instanceof Promise) && (id === null || found === index)) {
      return atEnd ? this.compareBlock(Math.floor(index / TILE_WIDTH), index) : undefined;
    }
    return this.checkId(id ?? "", found, index, atEnd);
  }

  /** The index leads elsewhere: either the id was used before, or the index is wrong. */
  private async checkId(
    id: string,
    lookup: Promise<number | undefined> | number | undefined,
    index: number,
    atEnd: boolean,
  ): Promise<void> {
    const found = await lookup;
    if (found !== index) {
      if (found !== undefined && (await this.carriesId(found, id))) {
        const [first, second] = found < index ? [found, index] : [index, found];
        this.verifier.report("id-repeated", second, `the id of entry ${second} was used by entry ${first} before`, {
          found: String(first),
        });
      } else {
        const facts = { expected: String(index), found: String(found ?? "nothing") };
        this.verifier.report("derived-id", index, `the id index does not lead to entry ${index}; run reindex`, facts);
      }
    }
    if (atEnd) await this.compareBlock(Math.floor(index / TILE_WIDTH), index);
  }

  private async carriesId(index: number, id: string): Promise<boolean> {
    for await (const page of this.snapshot.readRaw(index, index + 1)) {
      for (const { body } of page) {
        try {
          if (body !== null && parseEvent(decodeUtf8(body)).id === id) return true;
        } catch (error) {
          // A body that does not open is reported where its own range reads it.
          if (!isTallystickError(error)) throw error;
        }
      }
    }
    return false;
  }

  private async compareBlock(block: number, index: number): Promise<void> {
    const own = this.builder.take();
    const tile = this.verifier.completedTile();
    // A range that begins or ends inside the block, or a gap in it: there is nothing to compare with.
    if (!this.task.derived || tile === null) return;
    const stored = await this.snapshot.readTile(0, block);
    if (stored !== undefined) this.tiles += 1;
    if (stored === undefined || !bytesEqual(stored, tile.hashes)) {
      const what = stored === undefined ? "is missing" : "is not what its entries give";
      this.verifier.report("derived-tile", index, `tile 0/${block} ${what}; run reindex`);
    }
    await this.compareLevel1(block, index, tile.root);
    const filter = await this.snapshot.readFilter(block);
    if (filter === undefined) return;
    this.filters += 1;
    if (!bytesEqual(filter, own)) {
      this.verifier.report("derived-filter", index, `filter ${block} is not what its entries give; run reindex`);
    }
  }

  private async compareLevel1(block: number, index: number, root: Uint8Array): Promise<void> {
    const slot = block % TILE_WIDTH;
    if (slot === 0) this.rootsFilled = 0;
    // A gap before, or a range that begins inside the tile: this level-1 tile cannot be compared here.
    if (this.rootsFilled !== slot) return;
    this.roots.set(root, slot * HASH_BYTES);
    this.rootsFilled += 1;
    if (this.rootsFilled < TILE_WIDTH) return;
    const tile = Math.floor(block / TILE_WIDTH);
    const stored = await this.snapshot.readTile(1, tile);
    if (stored !== undefined) this.tiles += 1;
    if (stored === undefined || !bytesEqual(stored, this.roots)) {
      this.verifier.report(
        "derived-tile",
        index,
        `tile 1/${tile} ${stored === undefined ? "is missing" : "is not what its entries give"}; run reindex`,
      );
    }
    this.tileRoots.push({ level: 1, index: tile, root: tileRoot(this.roots) });
    this.rootsFilled = 0;
  }
}

/**
 * Bounds of the tasks that cover `first ≤ index < end`: whole level-1 tiles where possible, and one task for each gap, however
 * wide: a row far beyond the end must not cost a task for every index between.
 */
export async function taskBounds(
  snapshot: Pick<StorageSnapshot, "seek">,
  first: number,
  end: number,
): Promise<{ readonly first: number; readonly end: number }[]> {
  const bounds: { first: number; end: number }[] = [];
  for (let from = first; from < end; ) {
    const border = (Math.floor(from / TASK_ENTRIES) + 1) * TASK_ENTRIES;
    const next = Math.min(end, (await snapshot.seek(from)) ?? end);
    const to = next < border ? Math.min(end, border) : next;
    bounds.push({ first: from, end: to });
    from = to;
  }
  return bounds;
}
