import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createRange, hashLeaf } from "./merkle.ts";
import { readRange, treeHash } from "./proof.ts";
import {
  bundlePath,
  decodeBundle,
  encodeBundle,
  hashSubtrees,
  parseBundlePath,
  parseTilePath,
  SubtreeMemo,
  type TileReader,
  tileCoordinates,
  tilePath,
  tileRoot,
  tileWidth,
} from "./tile.ts";

const vectors = JSON.parse(readFileSync("vectors/tlog.json", "utf8")) as {
  tile_paths: {
    index_1234067: string;
    ok: Record<string, { level: number; index: number | string; width?: number }>;
    bad_index_paths: string[];
    bad_levels: string[];
    size_70000: Record<string, number>;
    size_256: Record<string, number>;
  };
  mirror_tree: {
    size: number;
    root_b64: string;
    tile_0_000_sha256: string;
    tile_0_001_p_44_sha256: string;
    tile_1_000_p_1_hex: string;
  };
  tessera_log: {
    entries: string[];
    entry_bundle_15_sha256: string;
    tile_0_000_p_15_sha256: string;
    checkpoints: { root_b64: string }[];
  };
};

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const sha256Hex = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
const refused = (run: () => unknown): unknown => {
  try {
    run();
  } catch (error) {
    return error;
  }
  throw new Error("expected an error");
};

/** Tiles of a small log, and how often each was read. */
function storeOf(leaves: readonly Uint8Array[]): { read: TileReader; reads: string[] } {
  const levels = [leaves];
  while (levels.at(-1)!.length >= 256) {
    const below = levels.at(-1)!;
    levels.push(
      Array.from({ length: Math.floor(below.length / 256) }, (_, i) =>
        tileRoot(Buffer.concat(below.slice(i * 256, (i + 1) * 256))),
      ),
    );
  }
  const reads: string[] = [];
  const read: TileReader = (level, index, width) => {
    reads.push(`${level}/${index}/${width}`);
    return new Uint8Array(Buffer.concat(levels[level]!.slice(index * 256, index * 256 + width)));
  };
  return { read, reads };
}

describe("tile paths", () => {
  it("are those of C2SP tlog-tiles", () => {
    for (const [path, { level, index, width = 256 }] of Object.entries(vectors.tile_paths.ok)) {
      if (typeof index === "string") continue;
      expect(tilePath(level, index, width)).toBe(path);
      expect(parseTilePath(path)).toEqual({ level, index, width });
    }
    expect(tilePath(0, 1234067)).toBe(`tile/0/${vectors.tile_paths.index_1234067}`);
    expect(bundlePath(1234067, 8)).toBe("tile/entries/x001/x234/067.p/8");
    expect(parseBundlePath("tile/entries/x001/x234/067.p/8")).toEqual({ index: 1234067, count: 8 });
    expect(bundlePath(0)).toBe("tile/entries/000");
  });

  it("with an index above 2^53-1 are refused, not rounded", () => {
    const path = "tile/63/x999/x999/x999/x999/x999/999.p/255";
    expect(vectors.tile_paths.ok[path]?.index).toBe("999999999999999999");
    expect(() => parseTilePath(path)).toThrow(
      expect.objectContaining({
        code: "malformed-tile",
        message: expect.stringContaining("expected a decimal number"),
      }),
    );
    expect(() => parseTilePath("tile/0/x009/x007/x199/x254/x740/992")).toThrow(
      expect.objectContaining({ code: "malformed-tile", message: "expected a number of at most 2^53-1" }),
    );
    expect(parseTilePath("tile/0/x009/x007/x199/x254/x740/991").index).toBe(2 ** 53 - 1);
  });

  it("in any other spelling are refused", () => {
    const bad = [
      ...vectors.tile_paths.bad_index_paths.map((path) => `tile/0/${path}`),
      ...vectors.tile_paths.bad_levels.map((level) => `tile/${level}/000`),
      "tile/00/000",
      "tile/0/000/",
      "/tile/0/000",
      "tile/0/0",
      "tile/0/x000/001",
      "tile/0/000.p/0",
      "tile/0/000.p/01",
      "tile/0/000.p/1 ",
      "tile/0/000\n",
      "tile/0/000.p/1\n",
      "tile/0/X001/000",
      "tile/0/x1/000",
      "tile//000",
      "tile/0/",
      "",
      "tile/0/٠٠٠",
      "tile/entries/000",
      "tile/0/000.P/1",
      "tile/0/000.p/-1",
      "tile/0/000.p/300",
      "tile/0/x1000/000",
      "Tile/0/000",
      "tile/0/000.p/1.p/1",
    ];
    for (const path of bad) {
      expect(
        refused(() => parseTilePath(path)),
        path,
      ).toMatchObject({ code: "malformed-tile" });
      const bundle = path.replace("tile/0/", "tile/entries/");
      if (bundle !== path && bundle !== "tile/entries/000") {
        expect(
          refused(() => parseBundlePath(bundle)),
          bundle,
        ).toMatchObject({ code: "malformed-tile" });
      }
    }
  });

  it("come back from their parsed form", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 63 }),
        fc.maxSafeNat(),
        fc.integer({ min: 1, max: 256 }),
        (level, index, width) => {
          expect(parseTilePath(tilePath(level, index, width))).toEqual({ level, index, width });
          expect(parseBundlePath(bundlePath(index, width))).toEqual({ index, count: width });
        },
      ),
      { seed: 4 },
    );
  });

  it("that are accepted have one spelling", () => {
    const piece = fc.constantFrom(
      "tile/",
      "0",
      "1",
      "x",
      "x001/",
      "000",
      "234",
      "067",
      ".p/",
      "8",
      "256",
      "entries/",
      "/",
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 8 }), (pieces) => {
        const path = `tile/0/${pieces.join("")}`;
        let parsed: ReturnType<typeof parseTilePath>;
        try {
          parsed = parseTilePath(path);
        } catch (error) {
          expect(error).toMatchObject({ code: "malformed-tile" });
          return;
        }
        expect(tilePath(parsed.level, parsed.index, parsed.width)).toBe(path);
      }),
      { seed: 5, numRuns: 3_000 },
    );
  });

  it("are not made from numbers outside the bounds", () => {
    for (const [level, index, width] of [
      [64, 0, 1],
      [-1, 0, 1],
      [0, -1, 1],
      [0, 2 ** 53, 1],
      [0, 0, 0],
      [0, 0, 257],
      [0.5, 0, 1],
    ] as const) {
      expect(() => tilePath(level, index, width)).toThrow(RangeError);
    }
  });
});

describe("tile widths", () => {
  it("of trees of 70,000 and 256 leaves are those of the specification", () => {
    const { size_70000, size_256 } = vectors.tile_paths;
    expect(tileWidth(70_000, 0, size_70000.L0_full! - 1)).toBe(256);
    expect(tileWidth(70_000, 0, size_70000.L0_full!)).toBe(size_70000.L0_partial);
    expect(tileWidth(70_000, 1, size_70000.L1_full!)).toBe(size_70000.L1_partial);
    expect(tileWidth(70_000, 2, 0)).toBe(size_70000.L2_partial);
    expect(tileWidth(70_000, 3, 0)).toBe(0);
    expect(tileWidth(256, 0, 0)).toBe(256);
    expect(tileWidth(256, 0, size_256.L0_full!)).toBe(0);
    expect(tileWidth(256, 1, 0)).toBe(size_256.L1_partial);
  });

  it("are exact up to 2^53-1 leaves", () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), fc.integer({ min: 0, max: 7 }), fc.maxSafeNat(), (size, level, position) => {
        const { index, offset } = tileCoordinates(position);
        expect(BigInt(index) * 256n + BigInt(offset)).toBe(BigInt(position));
        const hashes = BigInt(size) / 256n ** BigInt(level) - BigInt(index) * 256n;
        const expected = hashes < 0n ? 0n : hashes > 256n ? 256n : hashes;
        expect(tileWidth(size, level, index)).toBe(Number(expected));
      }),
      { seed: 6, numRuns: 1_000 },
    );
  });
});

describe("tile root", () => {
  it("is the root of its hashes, full or partial", () => {
    const range = createRange();
    const leaves: Uint8Array[] = [];
    for (let width = 1; width <= 256; width++) {
      const leaf = hashLeaf(Uint8Array.of(width));
      leaves.push(leaf);
      range.append(leaf);
      expect(hex(tileRoot(Buffer.concat(leaves)))).toBe(hex(range.root()));
    }
  });

  it("does not depend on how the hashes lie in memory, and leaves them alone", () => {
    const leaves = Buffer.concat(Array.from({ length: 7 }, (_, i) => hashLeaf(Uint8Array.of(i))));
    const expected = hex(tileRoot(leaves));
    const shifted = new Uint8Array(leaves.length + 3).subarray(3);
    shifted.set(leaves);
    expect(hex(tileRoot(shifted))).toBe(expected);
    expect(hex(shifted)).toBe(leaves.toString("hex"));
  });

  it("refuses anything but 1 to 256 hashes", () => {
    for (const length of [0, 1, 31, 33, 8193, 257 * 32]) {
      expect(refused(() => tileRoot(new Uint8Array(length)))).toMatchObject({
        code: "malformed-tile",
        message: `tile: expected 1 to 256 hashes of 32 bytes, got ${length} bytes`,
      });
    }
  });
});

describe("published logs", () => {
  it("have these tiles: a mirror of 300 records", async () => {
    const { mirror_tree } = vectors;
    const leaves = Array.from({ length: 300 }, (_, i) => hashLeaf(Buffer.from(`record ${i}`)));
    const { read } = storeOf(leaves);
    expect(sha256Hex(await read(0, 0, 256))).toBe(mirror_tree.tile_0_000_sha256);
    expect(sha256Hex(await read(0, 1, 44))).toBe(mirror_tree.tile_0_001_p_44_sha256);
    expect(hex(await read(1, 0, 1))).toBe(mirror_tree.tile_1_000_p_1_hex);
    expect(Buffer.from(await treeHash(300, read)).toString("base64")).toBe(mirror_tree.root_b64);
  });

  it("have these tiles, bundles and roots: the log of 15 entries of Tessera", async () => {
    const { tessera_log } = vectors;
    const entries = tessera_log.entries.map((entry) => Buffer.from(entry));
    const bundle = encodeBundle(entries);
    expect(sha256Hex(bundle)).toBe(tessera_log.entry_bundle_15_sha256);
    expect(decodeBundle(bundle, 15).map((entry) => Buffer.from(entry).toString())).toEqual(tessera_log.entries);
    const { read } = storeOf(entries.map(hashLeaf));
    expect(sha256Hex(await read(0, 0, 15))).toBe(tessera_log.tile_0_000_p_15_sha256);
    for (const [size, { root_b64 }] of tessera_log.checkpoints.entries()) {
      expect(Buffer.from(await treeHash(size, read)).toString("base64")).toBe(root_b64);
    }
  });
});

describe("entry bundles", () => {
  it("come back entry by entry, empty and largest ones too", () => {
    const entries = [new Uint8Array(0), new Uint8Array(65_535).fill(7), Uint8Array.of(1)];
    expect(decodeBundle(encodeBundle(entries), 3)).toEqual(entries);
  });

  it("refuse entries that the 16-bit length cannot hold, and empty or overlong bundles", () => {
    expect(() => encodeBundle([new Uint8Array(65_536)])).toThrow(
      new RangeError("entry bytes: expected an integer of 0..65535, got 65536"),
    );
    expect(() => encodeBundle([])).toThrow(RangeError);
    expect(() => encodeBundle(Array.from({ length: 257 }, () => new Uint8Array(1)))).toThrow(RangeError);
    expect(() => decodeBundle(new Uint8Array(2), 0)).toThrow(RangeError);
  });

  it("refuse bundles that end early or late", () => {
    const bundle = encodeBundle([Uint8Array.of(1, 2), Uint8Array.of(3)]);
    const longer = Buffer.concat([bundle, Uint8Array.of(0)]);
    expect(refused(() => decodeBundle(bundle, 1))).toMatchObject({
      code: "malformed-tile",
      message: "entry bundle: 3 bytes after 1 entries",
    });
    expect(refused(() => decodeBundle(longer, 2))).toMatchObject({
      code: "malformed-tile",
      message: "entry bundle: 1 bytes after 2 entries",
    });
    expect(refused(() => decodeBundle(bundle, 3))).toMatchObject({
      code: "malformed-tile",
      message: "entry bundle: expected 3 entries, got 2",
    });
    for (let length = 0; length < bundle.length; length++) {
      expect(refused(() => decodeBundle(bundle.subarray(0, length), 2))).toMatchObject({ code: "malformed-tile" });
    }
  });

  it("that are accepted encode back to the same bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 12 }), fc.integer({ min: 1, max: 4 }), (bytes, count) => {
        for (let i = 0; i < bytes.length; i += 3) bytes[i] = 0;
        let entries: Uint8Array[];
        try {
          entries = decodeBundle(bytes, count);
        } catch (error) {
          expect(error).toMatchObject({ code: "malformed-tile" });
          return;
        }
        expect(encodeBundle(entries)).toEqual(bytes);
      }),
      { seed: 7, numRuns: 2_000 },
    );
  });
});

describe("hashes from tiles", () => {
  const leaves = Array.from({ length: 70_000 }, (_, i) => hashLeaf(Uint8Array.of(i >> 16, i >> 8, i)));

  it("give the root and the right edge of every size asked for, reading each tile once", async () => {
    const range = createRange();
    const roots = new Map<number, string>();
    const sizes = [1, 2, 255, 256, 257, 511, 512, 65_535, 65_536, 65_537, 69_999, 70_000];
    for (const [i, leaf] of leaves.entries()) {
      range.append(leaf);
      if (sizes.includes(i + 1)) roots.set(i + 1, hex(range.root()));
    }
    for (const size of sizes) {
      const { read, reads } = storeOf(leaves.slice(0, size));
      expect(hex(await treeHash(size, read))).toBe(roots.get(size));
      expect(new Set(reads).size).toBe(reads.length);
      const edge = await readRange(size, read);
      expect(hex(edge.root())).toBe(roots.get(size));
      expect(edge.size).toBe(size);
      if (size === 69_999) {
        edge.append(leaves[69_999]!);
        expect(hex(edge.root())).toBe(roots.get(70_000));
      }
    }
    const { read, reads } = storeOf([]);
    expect(hex(await treeHash(0, read))).toBe(hex(createRange().root()));
    expect((await readRange(0, read)).size).toBe(0);
    expect(reads).toEqual([]);
  });

  it("are refused where a tile has another length than the tree gives it", async () => {
    const { read } = storeOf(leaves.slice(0, 300));
    for (const change of [-32, -1, 1, 32]) {
      const lying: TileReader = async (level, index, width) => {
        const tile = await read(level, index, width);
        return change < 0
          ? tile.subarray(0, tile.length + change)
          : new Uint8Array(Buffer.concat([tile, new Uint8Array(change)]));
      };
      await expect(treeHash(300, lying)).rejects.toMatchObject({
        code: "malformed-tile",
        message: `tile 1/0: expected 32 bytes, got ${32 + change}`,
      });
    }
  });

  it("are remembered as long as they are asked for, and no more of them than a bound", () => {
    const memo = new SubtreeMemo();
    const hashOf = (level: number, at: number): Uint8Array => Uint8Array.of(level, at & 0xff, at >> 8, at >> 16);
    for (let at = 0; at < 100_000; at++) {
      memo.set(1, 2 * at, hashOf(1, at));
      if (at % 1_000 === 0) memo.set(9, 512 * at, hashOf(9, at));
      expect(memo.get(9, 0)).toEqual(hashOf(9, 0));
    }
    const kept = Array.from({ length: 100_000 }, (_, at) => at).filter((at) => memo.get(1, 2 * at) !== undefined);
    expect(kept.at(-1)).toBe(99_999);
    expect(kept.length).toBeGreaterThan(8_000);
    expect(kept.length).toBeLessThanOrEqual(16_384);
    for (const at of kept.slice(-100)) expect(memo.get(1, 2 * at)).toEqual(hashOf(1, at));
    memo.clear();
    expect([memo.get(9, 0), memo.get(1, 2 * 99_999)]).toEqual([undefined, undefined]);
  });

  it("pass on what the reader throws", async () => {
    const gone = new Error("tile is gone");
    await expect(
      hashSubtrees([[0, 1]], 1, () => {
        throw gone;
      }),
    ).rejects.toBe(gone);
  });
});
