import { TILE_WIDTH } from "../core/limits.ts";
import {
  type AuthenticTiles,
  type BundlePlace,
  type EntryBlock,
  inOrder,
  newBundles,
  newTiles,
  readBlock,
} from "../core/published-tiles.ts";
import { bundlePath, encodeBundle, tilePath } from "../core/tile.ts";
import type { Archive } from "./archive.ts";

export interface TreeCopy {
  readonly archive: Archive;
  /** Of the tree to be published; from a trusted root. */
  readonly tiles: AuthenticTiles;
  /** Size that is in the archive already; 0 for nothing. */
  readonly before: number;
  readonly bundle: (place: BundlePlace) => Promise<readonly Uint8Array[] | undefined>;
  /** Where bundles come from, for messages. */
  readonly location?: string;
  /** Called with every block, in order, before it is written; throws to stop. */
  readonly onBlock?: (block: EntryBlock) => void;
  /** Awaited after each block: whoever has something more urgent to do holds the copying up. */
  readonly pause?: (() => Promise<void>) | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Blocks that are read at once: enough to hide the way to a server. */
const BLOCKS_AHEAD = 8;
/** Objects written at once: enough to hide the sync of each, few enough for any disk. */
const WRITES_AT_ONCE = 16;

/**
 * Writes the bundles and tiles that a tree has and its beginning of size `before` had not, each checked against the tree before it is
 * written, and then removes the partial tiles of tiles that are full now. Returns the number of objects. It may end anywhere: the next
 * call with the same `before` writes the same objects, and removes the same partial tiles. C2SP tlog-tiles lets these go as soon as
 * the full tile is there, so also before the checkpoint that needs no partial one is published.
 */
export async function copyTree(copy: TreeCopy): Promise<number> {
  const { archive, tiles, before, onBlock, pause, signal } = copy;
  const { size } = tiles;
  const writer = new Writer(archive);
  try {
    for await (const block of inOrder(newBundles(before, size), BLOCKS_AHEAD, (place) => readBlock(place, copy))) {
      signal?.throwIfAborted();
      onBlock?.(block);
      await writer.put(bundlePath(block.index, block.count), encodeBundle(block.entries));
      await writer.put(tilePath(0, block.index, block.count), block.hashes);
      await pause?.();
    }
    for (const { level, index, width } of newTiles(before, size))
      if (level > 0) await writer.put(tilePath(level, index, width), await tiles.tile(level, index));
  } finally {
    await writer.settled();
  }
  writer.assertDone();
  await deletePartials(archive, before, size);
  return writer.objects;
}

/** Several writes under way at once; after the first failure no more are begun. */
class Writer {
  objects = 0;
  private readonly archive: Archive;
  private readonly writes = new Set<Promise<void>>();
  private failure: { readonly error: unknown } | null = null;

  constructor(archive: Archive) {
    this.archive = archive;
  }

  async put(path: string, bytes: Uint8Array): Promise<void> {
    this.assertDone();
    const write: Promise<void> = this.archive
      .put(path, bytes)
      .catch((error: unknown) => {
        this.failure ??= { error };
      })
      .finally(() => this.writes.delete(write));
    this.writes.add(write);
    this.objects += 1;
    if (this.writes.size >= WRITES_AT_ONCE) await Promise.race(this.writes);
  }

  async settled(): Promise<void> {
    await Promise.all(this.writes);
  }

  assertDone(): void {
    if (this.failure !== null) throw this.failure.error;
  }
}

/** Every tile that became full, not only the ones that were partial: an attempt that was interrupted may have left more. */
async function deletePartials(archive: Archive, before: number, size: number): Promise<void> {
  let old = before;
  let now = size;
  for (let level = 0; now >= TILE_WIDTH; level++) {
    const end = Math.floor(now / TILE_WIDTH);
    for (let index = Math.floor(old / TILE_WIDTH); index < end; index++) {
      await archive.deletePartials(tilePath(level, index));
      if (level === 0) await archive.deletePartials(bundlePath(index));
    }
    old = Math.floor(old / TILE_WIDTH);
    now = end;
  }
}
