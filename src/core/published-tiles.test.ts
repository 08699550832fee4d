import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { encodeUtf8 } from "./encoding.ts";
import { sha256 } from "./hash.ts";
import { createRange, hashLeaf } from "./merkle.ts";
import { treeHash } from "./proof.ts";
import {
  AuthenticTiles,
  inOrder,
  newBundles,
  newTiles,
  type ObjectReader,
  readBlock,
  readBundle,
  readTile,
  tileReaderOf,
} from "./published-tiles.ts";
import { encodeBundle, type TileReader, tilePath, tileRoot, tileWidth } from "./tile.ts";

/** Tiles of every size at once: a set of names, so that "new" can be checked by subtraction. */
function tilesOf(size: number): Set<string> {
  const tiles = new Set<string>();
  for (let level = 0; 256 ** level <= size; level++)
    for (let index = 0; tileWidth(size, level, index) > 0; index++)
      tiles.add(tilePath(level, index, tileWidth(size, level, index)));
  return tiles;
}

describe("what a larger tree has and a smaller one had not", () => {
  it("is the difference of the two", () => {
    fc.assert(
      fc.property(fc.nat(150_000), fc.nat(150_000), (a, b) => {
        const [before, size] = a < b ? [a, b] : [b, a];
        const old = tilesOf(before);
        const expected = [...tilesOf(size)].filter((path) => !old.has(path));
        const found = [...newTiles(before, size)].map(({ level, index, width }) => tilePath(level, index, width));
        expect(found).toEqual(expected);
        const bundles = [...newBundles(before, size)].map(({ index, count }) => tilePath(0, index, count));
        expect(bundles).toEqual(expected.filter((path) => path.startsWith("tile/0/")));
      }),
      { seed: 20_260_101, numRuns: 200 },
    );
  });

  it("is nothing for the same or a smaller size", () => {
    for (const [before, size] of [
      [0, 0],
      [5, 5],
      [256, 256],
      [300, 299],
    ] as const) {
      expect([...newTiles(before, size)]).toEqual([]);
      expect([...newBundles(before, size)]).toEqual([]);
    }
  });
});

const entry = (i: number): Uint8Array => encodeUtf8(`entry ${i}`);

function treeOf(size: number): { readonly root: Uint8Array; readonly read: TileReader; reads: string[] } {
  const levels: Uint8Array[][] = [Array.from({ length: size }, (_, i) => hashLeaf(entry(i)))];
  for (let below = levels[0] as Uint8Array[]; below.length >= 256; below = levels.at(-1) as Uint8Array[])
    levels.push(
      Array.from({ length: Math.floor(below.length / 256) }, (_, i) =>
        tileRoot(Buffer.concat(below.slice(i * 256, (i + 1) * 256))),
      ),
    );
  const range = createRange();
  for (const hash of levels[0] as Uint8Array[]) range.append(hash);
  const reads: string[] = [];
  const read: TileReader = (level, index, width) => {
    reads.push(tilePath(level, index, width));
    return Buffer.concat((levels[level] as Uint8Array[]).slice(index * 256, index * 256 + width));
  };
  return { root: range.root(), read, reads };
}

describe("tiles that are checked from the root down", () => {
  it.each([1, 255, 256, 257, 512, 700, 65_536, 66_000])("are those of the tree (size %i)", async (size) => {
    const { root, read } = treeOf(size);
    const tiles = await AuthenticTiles.open({ size, root, read });
    for (let level = 0; tileWidth(size, level, 0) > 0; level++) {
      const last = Math.ceil(Math.floor(size / 256 ** level) / 256) - 1;
      for (const index of new Set([0, Math.floor(last / 2), last]))
        expect(await tiles.tile(level, index)).toEqual(await read(level, index, tileWidth(size, level, index)));
    }
    const smaller = Math.ceil(size / 3);
    expect(await treeHash(smaller, tiles.read)).toEqual(treeOf(smaller).root);
    await expect(tiles.tile(0, Math.ceil(size / 256))).rejects.toThrow(RangeError);
  });

  it("are read once each, also when many ask at once", async () => {
    const { root, read, reads } = treeOf(66_000);
    const tiles = await AuthenticTiles.open({ size: 66_000, root, read });
    reads.length = 0;
    await Promise.all([7, 7, 8, 8, 7, 300, 9].map((index) => tiles.tile(0, index - (index === 300 ? 50 : 0))));
    expect(reads.sort()).toEqual(["tile/0/007", "tile/0/008", "tile/0/009", "tile/0/250", "tile/1/000"]);
  });

  it("are refused where one bit of them, or of one above them, differs", async () => {
    const size = 66_000;
    const { root, read } = treeOf(size);
    for (const [wrong, level, index] of [
      ["tile/0/007", 0, 7],
      ["tile/1/000", 0, 7],
      ["tile/1/000", 1, 0],
    ] as const) {
      const tiles = await AuthenticTiles.open({
        size,
        root,
        location: "here",
        read: async (...place) => {
          const hashes = Uint8Array.from(await read(...place));
          if (tilePath(...place) === wrong) hashes[100]! ^= 4;
          return hashes;
        },
      });
      await expect(tiles.tile(level, index)).rejects.toMatchObject({
        code: "proof-invalid",
        message: `here: ${wrong} is not the tile of the tree of size 66000`,
        details: { path: wrong, size },
      });
      expect(await tiles.tile(0, 257)).toHaveLength(208 * 32);
    }
  });

  it("do not open with another root, or an edge that is not of it", async () => {
    const { root, read } = treeOf(700);
    await expect(AuthenticTiles.open({ size: 700, root: sha256(root), read })).rejects.toMatchObject({
      code: "proof-invalid",
    });
    await expect(AuthenticTiles.open({ size: 699, root, read })).rejects.toMatchObject({ code: "proof-invalid" });
    await expect(
      AuthenticTiles.open({ size: 700, root, read: async (...place) => (await read(...place)).slice(1) }),
    ).rejects.toMatchObject({ code: "malformed-tile" });
  });
});

describe("objects", () => {
  const objects = new Map<string, Uint8Array>();
  const reader: ObjectReader = async (path) => objects.get(path);

  it("come from the full tile where the partial one is gone", async () => {
    const { read } = treeOf(256);
    objects.clear();
    objects.set("tile/0/000", await read(0, 0, 256));
    objects.set("tile/entries/000", encodeBundle(Array.from({ length: 256 }, (_, i) => entry(i))));
    expect(await readTile(reader, { level: 0, index: 0, width: 3 })).toEqual(await read(0, 0, 3));
    expect(await readBundle(reader, { index: 0, count: 3 })).toEqual([entry(0), entry(1), entry(2)]);
    expect(await readTile(reader, { level: 0, index: 1, width: 3 })).toBeUndefined();
    expect(await readBundle(reader, { index: 1, count: 256 })).toBeUndefined();
    await expect(tileReaderOf(reader)(1, 0, 2)).rejects.toMatchObject({
      code: "not-found",
      details: { path: "tile/1/000.p/2" },
    });
  });

  it("are refused with another length", async () => {
    objects.clear();
    objects.set("tile/0/000.p/3", new Uint8Array(95));
    objects.set("tile/entries/000.p/3", encodeBundle([entry(0), entry(1)]));
    await expect(readTile(reader, { level: 0, index: 0, width: 3 })).rejects.toMatchObject({ code: "malformed-tile" });
    await expect(readBundle(reader, { index: 0, count: 3 })).rejects.toMatchObject({ code: "malformed-tile" });
  });

  it("name the entry that is not the one of the tree", async () => {
    const { root, read } = treeOf(300);
    const tiles = await AuthenticTiles.open({ size: 300, root, read });
    const bundle = async (): Promise<Uint8Array[]> =>
      Array.from({ length: 44 }, (_, i) => (i === 9 ? encodeUtf8("another") : entry(256 + i)));
    await expect(readBlock({ index: 1, count: 44 }, { tiles, bundle, location: "there" })).rejects.toMatchObject({
      code: "proof-invalid",
      message: "there: tile/entries/001.p/44: entry 265 is not the one of the tree of size 300",
      details: { index: 265, path: "tile/entries/001.p/44" },
    });
    const few = async (): Promise<Uint8Array[]> => [entry(256)];
    await expect(readBlock({ index: 1, count: 44 }, { tiles, bundle: few })).rejects.toMatchObject({
      code: "malformed-tile",
    });
    await expect(readBlock({ index: 1, count: 44 }, { tiles, bundle: async () => undefined })).rejects.toMatchObject({
      code: "not-found",
    });
  });
});

describe("work in order", () => {
  it("keeps the order, and no more than so many going at once", async () => {
    let running = 0;
    let most = 0;
    const results: number[] = [];
    const work = async (i: number): Promise<number> => {
      most = Math.max(most, ++running);
      for (let turn = 0; turn < 20 - i; turn++) await Promise.resolve();
      running -= 1;
      return i;
    };
    for await (const result of inOrder(
      Array.from({ length: 20 }, (_, i) => i),
      4,
      work,
    ))
      results.push(result);
    expect(results).toEqual(Array.from({ length: 20 }, (_, i) => i));
    expect(most).toBe(4);
  });

  it("ends with the first failure, and leaves none unhandled", async () => {
    const seen: number[] = [];
    const work = async (i: number): Promise<number> => {
      if (i >= 3) throw new Error(`failed at ${i}`);
      return i;
    };
    await expect(
      (async () => {
        for await (const result of inOrder([0, 1, 2, 3, 4, 5], 4, work)) seen.push(result);
      })(),
    ).rejects.toThrow("failed at 3");
    expect(seen).toEqual([0, 1, 2]);
  });
});
