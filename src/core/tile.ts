import { parseDecimal } from "./encoding.ts";
import { MalformedError } from "./errors.ts";
import { ENTRY_BYTES_MAX, SAFE_INTEGER_MAX, TILE_WIDTH } from "./limits.ts";
import { EMPTY_ROOT, hashNode, hashPair, subtreeLevels, TREE_HASH_BYTES } from "./merkle.ts";

/**
 * Tiles of height 8 (C2SP tlog-tiles): hash `i` of the tile at (level, index) is the Merkle tree hash of the 256^level
 * leaves from (index·256 + i)·256^level. Level 0 holds the leaf hashes. Only whole subtrees are hashed upwards.
 */

/** A tile has 2^8 hashes. */
const TILE_HEIGHT = 8;
/** Highest level that C2SP names: paths beyond it do not exist. */
const LEVEL_MAX = 63;

/**
 * Gives the first `width` (1..256) hashes of a tile, 32·width bytes, untrusted: whoever reads checks the length here and
 * the content against a signed root. May be called several times for one tile.
 */
export type TileReader = (level: number, index: number, width: number) => Promise<Uint8Array> | Uint8Array;

// One work area for `tileRoot`, which does not yield: 8,192 bytes that are halved in place.
const WORK_WORDS = new Uint32Array(TILE_WIDTH * 8);
const WORK = new Uint8Array(WORK_WORDS.buffer);

/**
 * Merkle tree hash of the hashes of a full or partial tile: 32·w bytes, w = 1..256. 32 bytes. `malformed-tile` for
 * other lengths. RFC 9162 §2.1.1.
 */
export function tileRoot(hashes: Uint8Array): Uint8Array {
  let width = hashes.length / TREE_HASH_BYTES;
  if (!Number.isInteger(width) || width < 1 || width > TILE_WIDTH) {
    throw new MalformedError(
      "malformed-tile",
      `tile: expected 1 to 256 hashes of 32 bytes, got ${hashes.length} bytes`,
    );
  }
  WORK.set(hashes);
  while (width > 1) {
    const pairs = width >> 1;
    for (let i = 0; i < pairs; i++) hashPair(WORK_WORDS, i * 16, WORK, i * TREE_HASH_BYTES);
    // A hash without a partner moves up as it is: that is how the tree of RFC 9162 splits at powers of two.
    if (width % 2 === 1)
      WORK.copyWithin(pairs * TREE_HASH_BYTES, (width - 1) * TREE_HASH_BYTES, width * TREE_HASH_BYTES);
    width -= pairs;
  }
  return WORK.slice(0, TREE_HASH_BYTES);
}

/** Hashes that the tile (level, index) has in a tree of `size` leaves: 0..256. */
export function tileWidth(size: number, level: number, index: number): number {
  const hashes = Math.floor(size / TILE_WIDTH ** level) - index * TILE_WIDTH;
  return Math.min(Math.max(hashes, 0), TILE_WIDTH);
}

/** Where a hash lies: its tile, and its place in the tile. `position` counts the hashes of that tile level from the left. */
export function tileCoordinates(position: number): { readonly index: number; readonly offset: number } {
  return { index: Math.floor(position / TILE_WIDTH), offset: position % TILE_WIDTH };
}

/** Path of a tile, `tile/<level>/<index>[.p/<width>]`; a width of 256 is the full tile. `RangeError` beyond the bounds. */
export function tilePath(level: number, index: number, width: number = TILE_WIDTH): string {
  assertIn(level, 0, LEVEL_MAX, "level");
  return `tile/${level}/${formatPlace(index, width)}`;
}

/** Path of an entry bundle, `tile/entries/<index>[.p/<count>]`; a count of 256 is the full bundle. */
export function bundlePath(index: number, count: number = TILE_WIDTH): string {
  return `tile/entries/${formatPlace(index, count)}`;
}

/** Inverse of `tilePath`; `malformed-tile` for every other text, also for indexes above 2^53−1. */
export function parseTilePath(path: string): {
  readonly level: number;
  readonly index: number;
  readonly width: number;
} {
  const match = /^tile\/([0-9]{1,2})\/(.+)$/.exec(path);
  if (match === null) throw new MalformedError("malformed-tile", "expected a tile path");
  const level = parseDecimal(match[1] as string, "malformed-tile");
  if (level > LEVEL_MAX)
    throw new MalformedError("malformed-tile", `tile path: expected a level of 0..63, got ${level}`);
  return { level, ...parsePlace(match[2] as string) };
}

/** Inverse of `bundlePath`; `malformed-tile` for every other text. */
export function parseBundlePath(path: string): { readonly index: number; readonly count: number } {
  const match = /^tile\/entries\/(.+)$/.exec(path);
  if (match === null) throw new MalformedError("malformed-tile", "expected an entry bundle path");
  const { index, width } = parsePlace(match[1] as string);
  return { index, count: width };
}

/** Entry bundle: each entry after its 16-bit length. 1..256 entries of at most 65,535 bytes, else `RangeError`. */
export function encodeBundle(entries: readonly Uint8Array[]): Uint8Array {
  assertIn(entries.length, 1, TILE_WIDTH, "entries of a bundle");
  let size = 0;
  for (const entry of entries) {
    assertIn(entry.length, 0, ENTRY_BYTES_MAX, "entry bytes");
    size += 2 + entry.length;
  }
  const bundle = new Uint8Array(size);
  let offset = 0;
  for (const entry of entries) {
    bundle[offset] = entry.length >> 8;
    bundle[offset + 1] = entry.length & 0xff;
    bundle.set(entry, offset + 2);
    offset += 2 + entry.length;
  }
  return bundle;
}

/** Entries of a bundle, views on its bytes; `malformed-tile` unless it holds exactly `count` and nothing after them. */
export function decodeBundle(bundle: Uint8Array, count: number): Uint8Array[] {
  assertIn(count, 1, TILE_WIDTH, "entries of a bundle");
  const entries: Uint8Array[] = [];
  let offset = 0;
  for (let i = 0; i < count; i++) {
    if (offset + 2 > bundle.length)
      throw new MalformedError("malformed-tile", `entry bundle: expected ${count} entries, got ${i}`);
    const length = (bundle[offset] as number) * 256 + (bundle[offset + 1] as number);
    offset += 2;
    if (offset + length > bundle.length)
      throw new MalformedError("malformed-tile", `entry bundle: entry ${i} is cut off`);
    entries.push(bundle.subarray(offset, offset + length));
    offset += length;
  }
  if (offset !== bundle.length) {
    throw new MalformedError("malformed-tile", `entry bundle: ${bundle.length - offset} bytes after ${count} entries`);
  }
  return entries;
}

const MEMO_HASHES_MAX = 8_192;

/**
 * Hashes of whole subtrees, which never change as the tree grows, for whoever proves one leaf after another: those high in the tree are
 * asked for each time, and cost 250 hashes a level of tiles. At most 16,384 of them, some 2 MB; what was not asked for since half as many others goes.
 */
export class SubtreeMemo {
  private recent = new Map<number, Uint8Array>();
  private older = new Map<number, Uint8Array>();

  get(level: number, start: number): Uint8Array | undefined {
    const key = keyOf(level, start);
    const known = this.recent.get(key);
    if (known !== undefined) return known;
    const old = this.older.get(key);
    if (old !== undefined) this.keep(key, old);
    return old;
  }

  set(level: number, start: number, hash: Uint8Array): void {
    this.keep(keyOf(level, start), hash);
  }

  /** For when a proof led elsewhere: a tile was damaged. */
  clear(): void {
    this.recent.clear();
    this.older.clear();
  }

  private keep(key: number, hash: Uint8Array): void {
    if (this.recent.size >= MEMO_HASHES_MAX) {
      this.older = this.recent;
      this.recent = new Map();
    }
    this.recent.set(key, hash);
  }
}

/** One number for each subtree of 2^level leaves, level ≥ 1: there are fewer than 2^53 leaves, so fewer than 2^(53 − level) of them. */
function keyOf(level: number, start: number): number {
  return 2 ** (53 - level) + start / 2 ** level;
}

/**
 * Merkle tree hashes of subtrees `[start, end)` of a tree of `size` leaves, in the order asked for, each tile read once.
 * Starts must be subtree starts (`isSubtree`). A memo is of one tree, and of larger ones that continue it.
 */
export async function hashSubtrees(
  subtrees: readonly (readonly [start: number, end: number])[],
  size: number,
  read: TileReader,
  memo?: SubtreeMemo,
): Promise<Uint8Array[]> {
  const tiles = rememberTiles(size, read);
  const hashes: Uint8Array[] = [];
  for (const [start, end] of subtrees) {
    const parts: Uint8Array[] = [];
    let at = start;
    for (const level of subtreeLevels(start, end)) {
      parts.push(await wholeSubtree(level, at, { tiles, memo }));
      at += 2 ** level;
    }
    hashes.push(foldRight(parts));
  }
  return hashes;
}

type Tiles = (level: number, index: number) => Promise<Uint8Array> | Uint8Array;

/** The reader with the widths of a tree of `size`, its lengths checked, and each tile fetched once. */
function rememberTiles(size: number, read: TileReader): Tiles {
  const known = new Map<number, Uint8Array>();
  return async (level, index) => {
    // Tile indexes are below 2^45, levels at most 6.
    const key = level * 2 ** 45 + index;
    const seen = known.get(key);
    if (seen !== undefined) return seen;
    const width = tileWidth(size, level, index);
    const hashes = await read(level, index, width);
    if (hashes.length !== width * TREE_HASH_BYTES) {
      throw new MalformedError(
        "malformed-tile",
        `tile ${level}/${index}: expected ${width * TREE_HASH_BYTES} bytes, got ${hashes.length}`,
      );
    }
    known.set(key, hashes);
    return hashes;
  };
}

/** Hash of the 2^level leaves from `start`: one hash of a tile, or the root of a power of two of them. */
async function wholeSubtree(
  level: number,
  start: number,
  { tiles, memo }: { readonly tiles: Tiles; readonly memo: SubtreeMemo | undefined },
): Promise<Uint8Array> {
  // Those that stand in a tile are not hashed.
  const isHashed = level % TILE_HEIGHT > 0;
  const known = isHashed ? memo?.get(level, start) : undefined;
  if (known !== undefined) return known;
  const tileLevel = Math.floor(level / TILE_HEIGHT);
  const count = 2 ** (level % TILE_HEIGHT);
  const { index, offset } = tileCoordinates(start / TILE_WIDTH ** tileLevel);
  const tile = await tiles(tileLevel, index);
  const hash = tileRoot(tile.subarray(offset * TREE_HASH_BYTES, (offset + count) * TREE_HASH_BYTES));
  if (isHashed) memo?.set(level, start, hash);
  return hash;
}

function foldRight(parts: readonly Uint8Array[]): Uint8Array {
  let hash = parts.at(-1) ?? EMPTY_ROOT.slice();
  for (let i = parts.length - 2; i >= 0; i--) hash = hashNode(parts[i] as Uint8Array, hash);
  return hash;
}

/** Index in groups of three digits, all but the last with `x` before them, and the width of a partial tile. */
function formatPlace(index: number, width: number): string {
  assertIn(index, 0, SAFE_INTEGER_MAX, "index");
  assertIn(width, 1, TILE_WIDTH, "width");
  const digits = String(index);
  const groups = digits.padStart(Math.ceil(digits.length / 3) * 3, "0").match(/.../g) as string[];
  const path = groups.map((group, i) => (i < groups.length - 1 ? `x${group}` : group)).join("/");
  return width === TILE_WIDTH ? path : `${path}.p/${width}`;
}

function parsePlace(place: string): { readonly index: number; readonly width: number } {
  const match = /^((?:x[0-9]{3}\/){0,6}[0-9]{3})(?:\.p\/([0-9]{1,3}))?$/.exec(place);
  if (match === null) throw new MalformedError("malformed-tile", "expected a tile index in groups of three digits");
  const digits = (match[1] as string).replace(/[x/]/g, "");
  const index = parseDecimal(digits.replace(/^0+(?=[0-9])/, ""), "malformed-tile");
  const width = match[2] === undefined ? TILE_WIDTH : parseDecimal(match[2], "malformed-tile");
  // Only one spelling: no leading group of zeros, no partial width of 0, 256 or more.
  if (width < 1 || width > TILE_WIDTH || formatPlace(index, width) !== place) {
    throw new MalformedError("malformed-tile", "expected a tile path in its one spelling");
  }
  return { index, width };
}

function assertIn(value: number, min: number, max: number, what: string): void {
  if (!Number.isSafeInteger(value) || value < min || value > max) {
    throw new RangeError(`${what}: expected an integer of ${min}..${max}, got ${value}`);
  }
}
