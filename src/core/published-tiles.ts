import { bytesEqual } from "./encoding.ts";
import { MalformedError, UnavailableError, VerificationError } from "./errors.ts";
import { ENTRY_BYTES_MAX, TILE_WIDTH } from "./limits.ts";
import { hashLeaf, TREE_HASH_BYTES } from "./merkle.ts";
import { treeHash } from "./proof.ts";
import { bundlePath, decodeBundle, type TileReader, tilePath, tileRoot, tileWidth } from "./tile.ts";

/**
 * Reading a log that was published as tiles and entry bundles (C2SP tlog-tiles), of any kind: nothing here knows what an
 * entry says. Whatever comes from outside is compared with a root that the caller trusts before it is handed on:
 *
 *     checkpoint → root → right edge → tiles, level by level downwards → entries
 */

/** Gives the object at a path of tlog-tiles, undefined where there is none; more than `bytesMax` bytes are `malformed-tile`. Untrusted. */
export type ObjectReader = (path: string, bytesMax: number) => Promise<Uint8Array | undefined>;

/** Bytes of a full tile. */
export const TILE_BYTES: number = TILE_WIDTH * TREE_HASH_BYTES;
/** Bytes of the largest entry bundle: 256 entries of 65,535 bytes, each after its length. */
export const BUNDLE_BYTES_MAX: number = TILE_WIDTH * (2 + ENTRY_BYTES_MAX);
/** Bytes of the largest bundle of a Tallystick ledger: its entries have at most 319 bytes. */
export const LEDGER_BUNDLE_BYTES_MAX: number = TILE_WIDTH * (2 + 512);

/** Tiles that are read and checked at once may be this many: those above one block, several times. */
const REMEMBERED_TILES_MAX = 64;

export interface TilePlace {
  readonly level: number;
  readonly index: number;
  /** 1..256 hashes. */
  readonly width: number;
}

export interface BundlePlace {
  readonly index: number;
  /** 1..256 entries. */
  readonly count: number;
}

/** Tiles, full and partial, that a published tree of `size` has and one of `before` had not; level by level. */
export function* newTiles(before: number, size: number): Generator<TilePlace> {
  let old = before;
  let now = size;
  for (let level = 0; now > 0; level++) {
    if (now > old) {
      for (let index = Math.floor(old / TILE_WIDTH); index * TILE_WIDTH < now; index++)
        yield { level, index, width: Math.min(TILE_WIDTH, now - index * TILE_WIDTH) };
    }
    old = Math.floor(old / TILE_WIDTH);
    now = Math.floor(now / TILE_WIDTH);
  }
}

/** Entry bundles, full and partial, that a published tree of `size` has and one of `before` had not. */
export function* newBundles(before: number, size: number): Generator<BundlePlace> {
  if (size <= before) return;
  for (let index = Math.floor(before / TILE_WIDTH); index * TILE_WIDTH < size; index++)
    yield { index, count: Math.min(TILE_WIDTH, size - index * TILE_WIDTH) };
}

/** Hashes of a tile: of the partial object, or else of the full one, which may have replaced it. undefined: neither is there. `malformed-tile`. */
export async function readTile(objects: ObjectReader, place: TilePlace): Promise<Uint8Array | undefined> {
  const { level, index, width } = place;
  const path = tilePath(level, index, width);
  const partial = await objects(path, TILE_BYTES);
  if (partial !== undefined) return requireHashes(partial, path, width);
  if (width === TILE_WIDTH) return undefined;
  const full = tilePath(level, index);
  const hashes = await objects(full, TILE_BYTES);
  return hashes === undefined
    ? undefined
    : requireHashes(hashes, full, TILE_WIDTH).subarray(0, width * TREE_HASH_BYTES);
}

/** Entries of a bundle: of the partial object, or else the first of the full one. undefined: neither is there. `malformed-tile`. */
export async function readBundle(
  objects: ObjectReader,
  place: BundlePlace,
  bytesMax: number = BUNDLE_BYTES_MAX,
): Promise<Uint8Array[] | undefined> {
  const { index, count } = place;
  const partial = await objects(bundlePath(index, count), bytesMax);
  if (partial !== undefined) return decodeBundle(partial, count);
  if (count === TILE_WIDTH) return undefined;
  const full = await objects(bundlePath(index), bytesMax);
  return full === undefined ? undefined : decodeBundle(full, TILE_WIDTH).slice(0, count);
}

/** Reads tiles of a published log. `not-found` (`details.path`) for one that is absent; else as `readTile`. */
export function tileReaderOf(objects: ObjectReader): TileReader {
  return async (level, index, width) => {
    const hashes = await readTile(objects, { level, index, width });
    if (hashes === undefined) throw absent(tilePath(level, index, width));
    return hashes;
  };
}

/**
 * Tiles of the tree of `size` with a trusted root, each given out only after it was checked: the right edge against the root, every
 * other tile against the hash that its parent has of it.
 */
export class AuthenticTiles {
  readonly size: number;
  private readonly untrusted: TileReader;
  private readonly location: string;
  /** The partial tile of each level that has one. */
  private readonly edge = new Map<number, Uint8Array>();
  private readonly remembered = new Map<string, Promise<Uint8Array>>();

  private constructor(tree: { readonly size: number; readonly read: TileReader; readonly location?: string }) {
    this.size = tree.size;
    this.untrusted = tree.read;
    this.location = tree.location === undefined ? "" : `${tree.location}: `;
  }

  /** Reads and checks the right edge. Errors: `proof-invalid`, `malformed-tile`, those of `read`. */
  static async open(tree: {
    readonly size: number;
    readonly root: Uint8Array;
    readonly read: TileReader;
    /** Where it is, for messages. */
    readonly location?: string;
  }): Promise<AuthenticTiles> {
    const { size, root } = tree;
    const tiles = new AuthenticTiles(tree);
    const found = await treeHash(size, async (level, index, width) => {
      const hashes = await tree.read(level, index, width);
      tiles.edge.set(level, hashes);
      return hashes;
    });
    if (bytesEqual(found, root)) return tiles;
    const message = `${tiles.location}the tiles do not give the root of the tree of size ${size}`;
    throw new VerificationError("proof-invalid", message, { details: { size } });
  }

  /** The tile, as wide as the tree has it. `proof-invalid` with `details.path`, `malformed-tile`, those of the reader. */
  async tile(level: number, index: number): Promise<Uint8Array> {
    const width = tileWidth(this.size, level, index);
    if (width === 0) throw new RangeError(`tile ${level}/${index}: a tree of size ${this.size} has none`);
    // The partial tile of a level was read with the edge.
    if (width < TILE_WIDTH) return this.edge.get(level) as Uint8Array;
    const key = `${level}/${index}`;
    let hashes = this.remembered.get(key);
    if (hashes === undefined) {
      hashes = this.check(level, index);
      this.remembered.set(key, hashes);
      hashes.catch(() => this.remembered.delete(key));
      const [oldest] = this.remembered.keys();
      if (this.remembered.size > REMEMBERED_TILES_MAX && oldest !== undefined) this.remembered.delete(oldest);
    }
    return hashes;
  }

  /** Reads tiles for proofs in this tree, and in every smaller one that it continues. */
  get read(): TileReader {
    return async (level, index, width) => (await this.tile(level, index)).subarray(0, width * TREE_HASH_BYTES);
  }

  /** The hash that a full tile must have, from its parent. */
  async rootOf(level: number, index: number): Promise<Uint8Array> {
    const parent = await this.tile(level + 1, Math.floor(index / TILE_WIDTH));
    const slot = (index % TILE_WIDTH) * TREE_HASH_BYTES;
    return parent.subarray(slot, slot + TREE_HASH_BYTES);
  }

  private async check(level: number, index: number): Promise<Uint8Array> {
    const expected = await this.rootOf(level, index);
    const hashes = await this.untrusted(level, index, TILE_WIDTH);
    if (hashes.length === TILE_BYTES && bytesEqual(tileRoot(hashes), expected)) return hashes;
    const path = tilePath(level, index);
    const message = `${this.location}${path} is not the tile of the tree of size ${this.size}`;
    throw new VerificationError("proof-invalid", message, {
      details: { path, size: this.size, index: index * TILE_WIDTH ** (level + 1) },
    });
  }
}

/** A block of 256 entries, or the last ones: all from its first, also where only some of them are new. */
export interface EntryBlock extends BundlePlace {
  /** Leaf index of the first entry. */
  readonly first: number;
  readonly entries: readonly Uint8Array[];
  /** Their leaf hashes: the level-0 tile. */
  readonly hashes: Uint8Array;
}

/**
 * A block whose entries were checked against the tree. `proof-invalid` with `details.index` for an entry that is not the one of the
 * tree, `not-found` for a bundle that is absent, `malformed-tile`, those of the readers.
 */
export async function readBlock(
  place: BundlePlace,
  from: {
    readonly tiles: AuthenticTiles;
    readonly bundle: (place: BundlePlace) => Promise<readonly Uint8Array[] | undefined>;
    /** Where the bundle is, for messages. */
    readonly location?: string;
  },
): Promise<EntryBlock> {
  const { index, count } = place;
  const path = bundlePath(index, count);
  const where = from.location === undefined ? path : `${from.location}: ${path}`;
  const entries = await from.bundle(place);
  if (entries === undefined) throw absent(path);
  if (entries.length !== count)
    throw new MalformedError("malformed-tile", `${where}: expected ${count} entries, got ${entries.length}`);
  const hashes = await from.tiles.tile(0, index);
  const first = index * TILE_WIDTH;
  for (const [i, entry] of entries.entries()) {
    const hash = hashes.subarray(i * TREE_HASH_BYTES, (i + 1) * TREE_HASH_BYTES);
    if (bytesEqual(hashLeaf(entry), hash)) continue;
    throw new VerificationError(
      "proof-invalid",
      `${where}: entry ${first + i} is not the one of the tree of size ${from.tiles.size}`,
      { details: { path, size: from.tiles.size, index: first + i } },
    );
  }
  return { index, count, first, entries, hashes };
}

/** Results of `work` in the order of `items`, of which up to `ahead` are worked on at once. The first failure ends it. */
export async function* inOrder<T, R>(
  items: Iterable<T>,
  ahead: number,
  work: (item: T) => Promise<R>,
): AsyncGenerator<R> {
  const started: Promise<R>[] = [];
  for (const item of items) {
    const result = work(item);
    // Whoever gets this far sees the failure; who stops before needs not.
    result.catch(() => {});
    started.push(result);
    if (started.length >= ahead) yield (await started.shift()) as R;
  }
  for (const result of started) yield await result;
}

function requireHashes(hashes: Uint8Array, path: string, width: number): Uint8Array {
  if (hashes.length === width * TREE_HASH_BYTES) return hashes;
  throw new MalformedError(
    "malformed-tile",
    `${path}: expected ${width * TREE_HASH_BYTES} bytes, got ${hashes.length}`,
    { details: { path } },
  );
}

function absent(path: string): UnavailableError {
  return new UnavailableError("not-found", `${path} is not published`, { details: { path } });
}
