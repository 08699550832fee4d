import { bytesEqual, decodeHex, encodeHex } from "../core/encoding.ts";
import { leafHashHex, parseEntry, ZERO_HASH_HEX } from "../core/entry.ts";
import { FatalError, UnavailableError } from "../core/errors.ts";
import { writeHex } from "../core/hash.ts";
import { TILE_WIDTH } from "../core/limits.ts";
import { createRange } from "../core/merkle.ts";
import { treeHash } from "../core/proof.ts";
import { tileRoot } from "../core/tile.ts";
import { READ_PAGE_ENTRIES } from "./limits.ts";
import type { LedgerStorage, StorageHead, StoredTile } from "./storage.ts";

const HASH_BYTES = 32;
const TILE_BYTES = TILE_WIDTH * HASH_BYTES;

interface PartialTile {
  readonly index: number;
  readonly hashes: Uint8Array;
  width: number;
}

/** An edge as plain data, for another thread. */
export interface EdgeState {
  readonly size: number;
  readonly lastLeaf: string;
  readonly lastTime: string;
  readonly levels: readonly { readonly index: number; readonly hashes: Uint8Array; readonly width: number }[];
}

/**
 * The right edge of the tree: everything an append needs to continue it. One partial tile a level, as in tlog-tiles:
 *
 *     level 1   [ full tile roots …        ]   width = floor(size / 256) mod 256
 *     level 0   [ leaf hashes …    ]           width = size mod 256
 *
 * A plan works on a `fork` and the engine keeps the fork only when the commit succeeded.
 */
export class RightEdge {
  size: number;
  /** Hex leaf hash of the last entry; zeros when empty. */
  lastLeaf: string;
  /** Time of the last entry; empty string when there is none, which sorts before every time. */
  lastTime: string;
  private readonly levels: PartialTile[];

  private constructor(size: number, lastLeaf: string, lastTime: string, levels: PartialTile[]) {
    this.size = size;
    this.lastLeaf = lastLeaf;
    this.lastTime = lastTime;
    this.levels = levels;
  }

  static empty(): RightEdge {
    return new RightEdge(0, ZERO_HASH_HEX, "", []);
  }

  fork(): RightEdge {
    return RightEdge.of(this.state());
  }

  state(): EdgeState {
    const { size, lastLeaf, lastTime, levels } = this;
    return { size, lastLeaf, lastTime, levels };
  }

  /** An edge of its own, whatever becomes of the state. */
  static of({ size, lastLeaf, lastTime, levels }: EdgeState): RightEdge {
    const own = levels.map(({ index, hashes, width }) => ({ index, hashes: Buffer.from(hashes), width }));
    return new RightEdge(size, lastLeaf, lastTime, own);
  }

  /** True when this edge continues exactly what the store holds. */
  matches(head: StorageHead): boolean {
    if (head.size !== this.size) return false;
    return head.lastEntry === null ? this.size === 0 : leafHashHex(head.lastEntry) === this.lastLeaf;
  }

  /** Adds one leaf; tiles that became full are pushed to `full`. */
  append(leafHex: string, time: string, full: StoredTile[]): void {
    this.size += 1;
    this.lastLeaf = leafHex;
    this.lastTime = time;
    const tile = this.tileAt(0);
    writeHex(tile.hashes, leafHex, tile.width * HASH_BYTES);
    tile.width += 1;
    if (tile.width === TILE_WIDTH) this.complete(0, full);
  }

  /** Adds the leaves whose hashes stand in `hashes`, one after another; as `append`. */
  extend(hashes: Uint8Array, time: string, full: StoredTile[]): void {
    for (let at = 0; at < hashes.length; ) {
      const tile = this.tileAt(0);
      const count = Math.min(TILE_WIDTH - tile.width, (hashes.length - at) / HASH_BYTES);
      const end = at + count * HASH_BYTES;
      tile.hashes.set(hashes.subarray(at, end), tile.width * HASH_BYTES);
      tile.width += count;
      this.size += count;
      if (tile.width === TILE_WIDTH) this.complete(0, full);
      at = end;
    }
    if (hashes.length === 0) return;
    this.lastLeaf = encodeHex(hashes.subarray(-HASH_BYTES));
    this.lastTime = time;
  }

  /** `width` hashes of a partial tile of this edge, or undefined if the tile is full and stored. */
  partial(level: number, index: number, width: number): Uint8Array | undefined {
    const tile = this.levels[level];
    if (tile === undefined || tile.index !== index || tile.width < width) return undefined;
    return tile.hashes.subarray(0, width * HASH_BYTES);
  }

  private tileAt(level: number): PartialTile {
    let tile = this.levels[level];
    if (tile === undefined) {
      tile = { index: 0, hashes: Buffer.alloc(TILE_BYTES), width: 0 };
      this.levels[level] = tile;
    }
    return tile;
  }

  private complete(level: number, full: StoredTile[]): void {
    const tile = this.tileAt(level);
    full.push({ level, index: tile.index, hashes: tile.hashes });
    this.levels[level] = { index: tile.index + 1, hashes: Buffer.alloc(TILE_BYTES), width: 0 };
    const parent = this.tileAt(level + 1);
    parent.hashes.set(tileRoot(tile.hashes), parent.width * HASH_BYTES);
    parent.width += 1;
    if (parent.width === TILE_WIDTH) this.complete(level + 1, full);
  }

  /** Reads the edge of what the store holds now: at most 255 entries, and 255 full tiles a level. */
  static async load(storage: LedgerStorage): Promise<RightEdge> {
    const head = await storage.head();
    if (head.size === 0 || head.lastEntry === null) return RightEdge.empty();
    const levels: PartialTile[] = [];
    let count = head.size;
    for (let level = 0; count > 0; level++) {
      const index = Math.floor(count / TILE_WIDTH);
      const width = count % TILE_WIDTH;
      const hashes = Buffer.alloc(TILE_BYTES);
      const first = index * TILE_WIDTH;
      if (level === 0) {
        const entries = width === 0 ? [] : await storage.readEntries(first, head.size);
        if (entries.length !== width)
          throw new FatalError(
            "invariant-broken",
            `right edge: expected ${width} entries from ${first}, got ${entries.length}`,
          );
        entries.forEach((stored, i) => {
          writeHex(hashes, leafHashHex(stored.entry), i * HASH_BYTES);
        });
      } else {
        for (let i = 0; i < width; i++) {
          const child = await storage.readTile(level - 1, first + i);
          if (child === undefined)
            throw new FatalError(
              "invariant-broken",
              `right edge: tile ${level - 1}/${first + i} is missing; run reindex`,
            );
          hashes.set(tileRoot(child), i * HASH_BYTES);
        }
      }
      levels.push({ index, hashes, width });
      count = index;
    }
    return new RightEdge(head.size, leafHashHex(head.lastEntry), parseEntry(head.lastEntry).time, levels);
  }

  /** Reads tiles of this edge's tree: partial ones from memory, full ones from the store. */
  tileReader(
    storage: Pick<LedgerStorage, "readTile">,
  ): (level: number, index: number, width: number) => Promise<Uint8Array> {
    return async (level, index, width) => {
      const partial = this.partial(level, index, width);
      if (partial !== undefined) return partial;
      const full = await storage.readTile(level, index);
      if (full === undefined)
        throw new FatalError("invariant-broken", `tile ${level}/${index} is missing; run reindex`);
      return full.subarray(0, width * HASH_BYTES);
    };
  }

  /** Root of the tree of the first `size` leaves, `size ≤ this.size`. */
  root(storage: Pick<LedgerStorage, "readTile">, size: number = this.size): Promise<Uint8Array> {
    return treeHash(size, this.tileReader(storage));
  }
}

/**
 * For whoever finds that the tree has another root at `head.size` than a signed checkpoint: tiles are derived data, and a
 * damaged one is no fork. Throws `storage-corrupt` if the entries themselves do give the root, reading them all.
 */
export async function refuseDamagedTiles(
  storage: Pick<LedgerStorage, "readEntries">,
  head: { readonly size: number; readonly root: Uint8Array },
): Promise<void> {
  const range = createRange();
  for (let first = 0; first < head.size; first += READ_PAGE_ENTRIES) {
    for (const { entry } of await storage.readEntries(first, Math.min(head.size, first + READ_PAGE_ENTRIES)))
      range.append(decodeHex(leafHashHex(entry), { code: "malformed-entry" }));
  }
  if (range.size !== head.size || !bytesEqual(range.root(), head.root)) return;
  throw new UnavailableError(
    "storage-corrupt",
    "stored tiles are damaged: the entries give the root that was signed, the tiles do not; run reindex",
    { details: { size: head.size } },
  );
}
