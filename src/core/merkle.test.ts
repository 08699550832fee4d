import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import * as nativePlatform from "./hash-platform.node.ts";
import * as portablePlatform from "./hash-platform.ts";
import {
  type CompactRange,
  coveringSubtrees,
  createRange,
  EMPTY_ROOT,
  hashLeaf,
  hashNode,
  hashPair,
  isSubtree,
  restoreRange,
  splitPoint,
  subtreeLevels,
} from "./merkle.ts";

const vectors = JSON.parse(readFileSync("vectors/tlog.json", "utf8")) as {
  merkle: {
    empty_root: string;
    leaf_empty: string;
    leaf_L123456: string;
    node_N123_N456: string;
    leaf_inputs_hex: string[];
    leaf_hashes: string[];
    roots_1_to_8: string[];
  };
  rolling: { covering_subtrees: { sha256: string } };
};

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text));
const leafOf = (i: number): Uint8Array => hashLeaf(Uint8Array.of(i >> 16, i >> 8, i));

/** The definition of RFC 9162 §2.1.1, on node:crypto directly. */
function rootOf(leafHashes: readonly Uint8Array[]): Uint8Array {
  if (leafHashes.length === 0) return createHash("sha256").digest();
  if (leafHashes.length === 1) return leafHashes[0]!;
  let k = 1;
  while (2 * k < leafHashes.length) k *= 2;
  const hash = createHash("sha256").update(Uint8Array.of(1));
  return hash
    .update(rootOf(leafHashes.slice(0, k)))
    .update(rootOf(leafHashes.slice(k)))
    .digest();
}

describe("hashes", () => {
  it("match the published leaf, node and empty tree", () => {
    const { merkle } = vectors;
    expect(hex(EMPTY_ROOT)).toBe(merkle.empty_root);
    expect(hex(hashLeaf(new Uint8Array(0)))).toBe(merkle.leaf_empty);
    expect(hex(hashLeaf(bytes("L123456")))).toBe(merkle.leaf_L123456);
    // The published node hashes "N123" and "N456", which are no hashes: computed here, refused by hashNode.
    const node = createHash("sha256").update(Uint8Array.of(1)).update("N123N456").digest("hex");
    expect(node).toBe(merkle.node_N123_N456);
    expect(() => hashNode(bytes("N123"), bytes("N456"))).toThrow(
      new RangeError("hashNode: expected a hash of 32 bytes, got 4"),
    );
    expect(merkle.leaf_inputs_hex.map((input) => hex(hashLeaf(Buffer.from(input, "hex"))))).toEqual(merkle.leaf_hashes);
  });

  it("of a node are those of its definition, whichever of the two forms computes them", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 32, maxLength: 32 }),
        fc.uint8Array({ minLength: 32, maxLength: 32 }),
        (left, right) => {
          const expected = createHash("sha256").update(Uint8Array.of(1)).update(left).update(right).digest("hex");
          expect(hex(hashNode(left, right))).toBe(expected);
          const words = new Uint32Array(24);
          const area = new Uint8Array(words.buffer);
          area.set(left, 32);
          area.set(right, 64);
          hashPair(words, 8, area, 0);
          expect(hex(area.subarray(0, 32))).toBe(expected);
        },
      ),
      { seed: 1, numRuns: 200 },
    );
  });

  it("keep leaves and nodes apart: the bytes of a node, submitted as an entry, have another hash", () => {
    const [left, right] = [leafOf(0), leafOf(1)];
    expect(hex(hashLeaf(Buffer.concat([left, right])))).not.toBe(hex(hashNode(left, right)));
    expect(hex(hashLeaf(new Uint8Array(0)))).not.toBe(hex(EMPTY_ROOT));
  });

  it("are the same in Node and on the portable code of browsers", () => {
    for (const length of [0, 1, 55, 56, 64, 65, 300]) {
      const data = new Uint8Array(length).fill(0xa7);
      const [native, noble] = [new Uint8Array(40).fill(1), new Uint8Array(40).fill(1)];
      nativePlatform.sha256Into(data, native, 5);
      portablePlatform.sha256Into(data, noble, 5);
      expect(native).toEqual(noble);
      expect(hex(native)).toBe(`0101010101${createHash("sha256").update(data).digest("hex")}010101`);
    }
  });

  it("refuse children that are not 32 bytes", () => {
    for (const length of [0, 31, 33, 64]) {
      const wrong = new Uint8Array(length);
      const message = `hashNode: expected a hash of 32 bytes, got ${length}`;
      expect(() => hashNode(wrong, EMPTY_ROOT)).toThrow(new RangeError(message));
      expect(() => hashNode(EMPTY_ROOT, wrong)).toThrow(new RangeError(message));
    }
  });
});

describe("compact range", () => {
  it("gives the published roots of 1 to 8 leaves", () => {
    const range = createRange();
    const roots = vectors.merkle.leaf_hashes.map((leaf) => {
      range.append(Buffer.from(leaf, "hex"));
      return hex(range.root());
    });
    expect(roots).toEqual(vectors.merkle.roots_1_to_8);
  });

  it("gives the root of the recursive definition for every size to 300", () => {
    const leaves = Array.from({ length: 300 }, (_, i) => leafOf(i));
    const range = createRange();
    expect(hex(range.root())).toBe(hex(EMPTY_ROOT));
    for (let size = 1; size <= 300; size++) {
      range.append(leaves[size - 1]!);
      expect(range.size).toBe(size);
      expect(range.end).toBe(size);
      expect(hex(range.root())).toBe(hex(rootOf(leaves.slice(0, size))));
    }
  });

  it("holds the roots of the largest whole subtrees, for every range within 40 leaves", () => {
    const leaves = Array.from({ length: 40 }, (_, i) => leafOf(i));
    for (let begin = 0; begin < 40; begin++) {
      const range = createRange(begin);
      for (let end = begin; end <= 40; end++) {
        const expected: string[] = [];
        let at = begin;
        for (const level of subtreeLevels(begin, end)) {
          expected.push(hex(rootOf(leaves.slice(at, at + 2 ** level))));
          at += 2 ** level;
        }
        expect(at).toBe(end);
        expect(range.hashes.map(hex)).toEqual(expected);
        if (end < 40) range.append(leaves[end]!);
      }
    }
  });

  it("joins adjacent ranges, wherever they were cut", () => {
    const leaves = Array.from({ length: 36 }, (_, i) => leafOf(i));
    const rangeOf = (begin: number, end: number): CompactRange => {
      const range = createRange(begin);
      for (let i = begin; i < end; i++) range.append(leaves[i]!);
      return range;
    };
    for (let end = 1; end <= 36; end += 5) {
      const root = hex(rootOf(leaves.slice(0, end)));
      for (let a = 0; a <= end; a++) {
        for (let b = a; b <= end; b++) {
          const [first, second, third] = [rangeOf(0, a), rangeOf(a, b), rangeOf(b, end)];
          const last = third.hashes.map(hex);
          const left = first.clone();
          left.merge(second);
          left.merge(third);
          expect(hex(left.root())).toBe(root);
          // The other way of putting the brackets.
          second.merge(third);
          first.merge(second);
          expect(hex(first.root())).toBe(root);
          expect(third.hashes.map(hex)).toEqual(last);
        }
      }
    }
  });

  it("joins an empty range and refuses one that does not start where it ends", () => {
    const range = createRange(3);
    range.append(leafOf(3));
    range.merge(createRange(4));
    expect(range.size).toBe(1);
    expect(() => range.merge(createRange(3))).toThrow(
      new RangeError("merge: expected a range that begins at 4, got 3"),
    );
    const empty = createRange(7);
    empty.merge(empty);
    expect(empty.size).toBe(0);
  });

  it("has a root only where the tree has that subtree", () => {
    const range = createRange(4);
    for (let i = 4; i < 8; i++) range.append(leafOf(i));
    expect(hex(range.root())).toBe(hex(rootOf([4, 5, 6, 7].map(leafOf))));
    range.append(leafOf(8));
    expect(() => range.root()).toThrow(new RangeError("root: the leaves 4 to 9 are not a subtree"));
  });

  it("continues from what was written down, and from a clone, without touching the original", () => {
    for (const [begin, end] of [
      [0, 0],
      [0, 21],
      [5, 21],
      [6, 7],
      [9, 40],
    ] as const) {
      const range = createRange(begin);
      for (let i = begin; i < end; i++) range.append(leafOf(i));
      const before = range.hashes.map(hex);
      for (const copy of [restoreRange({ begin, end, hashes: range.hashes }), range.clone()]) {
        for (let i = end; i < 50; i++) copy.append(leafOf(i));
        expect(copy.begin).toBe(begin);
        expect(copy.end).toBe(50);
        expect(range.hashes.map(hex)).toEqual(before);
        const whole = createRange(begin);
        for (let i = begin; i < 50; i++) whole.append(leafOf(i));
        expect(copy.hashes.map(hex)).toEqual(whole.hashes.map(hex));
      }
    }
  });

  it("hands out copies of its hashes and keeps copies of what it is given", () => {
    const range = createRange();
    const leaf = leafOf(0);
    range.append(leaf);
    const root = hex(range.root());
    leaf.fill(0xff);
    range.root().fill(0xff);
    range.hashes[0]!.fill(0xff);
    expect(hex(range.root())).toBe(root);
    createRange().root().fill(0xff);
    expect(hex(EMPTY_ROOT)).toBe(vectors.merkle.empty_root);
  });

  it("refuses wrong arguments", () => {
    expect(() => createRange(-1)).toThrow(RangeError);
    expect(() => createRange(2 ** 53)).toThrow(RangeError);
    expect(() => createRange(0.5)).toThrow(RangeError);
    expect(() => createRange().append(new Uint8Array(31))).toThrow(
      new RangeError("append: expected a hash of 32 bytes, got 31"),
    );
    expect(() => createRange(2).appendSubtree(2, EMPTY_ROOT)).toThrow(
      new RangeError("append: a subtree of level 2 cannot start at leaf 2"),
    );
    expect(() => createRange().appendSubtree(-1, EMPTY_ROOT)).toThrow(RangeError);
    expect(() => createRange().appendSubtree(53, EMPTY_ROOT)).toThrow(
      new RangeError("append: expected at most 2^53-1 leaves"),
    );
    expect(() => restoreRange({ begin: 0, end: 3, hashes: [EMPTY_ROOT] })).toThrow(
      new RangeError("restoreRange: expected 2 hashes, got 1"),
    );
    expect(() => subtreeLevels(3, 2)).toThrow(RangeError);
  });
});

describe("index arithmetic beyond 32 bits", () => {
  // A tree whose leaves are all alike has one hash per level, so sizes near 2^53 cost 53 hashes.
  const uniform: Uint8Array[] = [leafOf(7)];
  for (let level = 1; level <= 53; level++) uniform.push(hashNode(uniform[level - 1]!, uniform[level - 1]!));

  /** The recursive definition in big integers. */
  function uniformRoot(size: bigint): Uint8Array {
    let level = 0;
    while (1n << BigInt(level + 1) <= size) level++;
    const whole = 1n << BigInt(level);
    return whole === size ? uniform[level]! : hashNode(uniform[level]!, uniformRoot(size - whole));
  }

  const sizes = [
    2 ** 31 - 2,
    2 ** 31,
    2 ** 32 - 2,
    2 ** 32 + 5,
    2 ** 40 - 3,
    2 ** 40 + 2 ** 33 + 1,
    2 ** 52 - 1,
    2 ** 53 - 9,
  ];

  it("appends to trees of billions of leaves", () => {
    for (const size of sizes) {
      const range = restoreRange({
        begin: 0,
        end: size,
        hashes: subtreeLevels(0, size).map((level) => uniform[level]!),
      });
      for (let i = 1; i <= 8; i++) {
        range.append(uniform[0]!);
        expect(range.end).toBe(size + i);
        expect(hex(range.root())).toBe(hex(uniformRoot(BigInt(size + i))));
      }
    }
    const full = restoreRange({
      begin: 0,
      end: 2 ** 53 - 1,
      hashes: subtreeLevels(0, 2 ** 53 - 1).map((level) => uniform[level]!),
    });
    expect(() => full.append(uniform[0]!)).toThrow(new RangeError("append: expected at most 2^53-1 leaves"));
  });

  it("joins ranges that begin beyond 2^40", () => {
    for (const begin of [2 ** 31 + 3, 2 ** 40 + 1, 2 ** 40 - 5, 2 ** 52 + 2 ** 20 + 7]) {
      const left = restoreRange({
        begin: 0,
        end: begin,
        hashes: subtreeLevels(0, begin).map((level) => uniform[level]!),
      });
      const right = createRange(begin);
      for (let i = 0; i < 77; i++) right.append(uniform[0]!);
      left.merge(right);
      expect(hex(left.root())).toBe(hex(uniformRoot(BigInt(begin + 77))));
    }
  });

  it("splits at the largest power of two below the size", () => {
    for (let level = 1; level < 53; level++) {
      expect(splitPoint(2 ** level)).toBe(2 ** (level - 1));
      expect(splitPoint(2 ** level + 1)).toBe(2 ** level);
    }
    expect(splitPoint(2 ** 53 - 1)).toBe(2 ** 52);
  });

  it("tiles any range with whole, aligned subtrees that cannot be joined", () => {
    const index = fc.maxSafeNat();
    fc.assert(
      fc.property(index, index, (a, b) => {
        const [begin, end] = a < b ? [a, b] : [b, a];
        let at = BigInt(begin);
        let before = -1;
        for (const level of subtreeLevels(begin, end)) {
          const width = 1n << BigInt(level);
          expect(at % width).toBe(0n);
          if (before === level) expect(at % (2n * width)).toBe(0n);
          at += width;
          before = level;
        }
        expect(at).toBe(BigInt(end));
        expect(subtreeLevels(begin, end).length).toBeLessThanOrEqual(106);
      }),
      { seed: 2, numRuns: 500 },
    );
  });
});

describe("subtrees", () => {
  it("are what the definition says, within 64 leaves and beyond 2^40", () => {
    for (const base of [0, 64, 2 ** 33, 2 ** 40]) {
      for (let start = base; start <= base + 64; start++) {
        for (let end = start; end <= base + 64; end++) {
          let ceil = 1n;
          while (ceil < BigInt(end - start)) ceil *= 2n;
          expect(isSubtree(start, end)).toBe(start === 0 || start === end || BigInt(start) % ceil === 0n);
        }
      }
    }
    for (const [start, end] of [
      [-1, 2],
      [3, 2],
      [0.5, 1],
      [0, 2 ** 53],
    ] as const)
      expect(isSubtree(start, end)).toBe(false);
  });

  it("cover ranges as the rolling digest of draft-ietf-plants-merkle-tree-certs says", () => {
    const digest = createHash("sha256");
    for (let end = 0; end <= 130; end++) {
      for (let start = 0; start <= end; start++) {
        const [[a, m], [, z]] = coveringSubtrees(start, end);
        digest.update(`[${a}, ${m}) [${m}, ${z})\n`);
      }
    }
    expect(digest.digest("hex")).toBe(vectors.rolling.covering_subtrees.sha256);
  });

  it("cover every range with one or two adjacent subtrees, less than twice as wide", () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), fc.nat({ max: 2 ** 30 }), (from, length) => {
        const start = Math.min(from, Number.MAX_SAFE_INTEGER - length - 1);
        const end = start + length + 1;
        const [[a, m], [n, z]] = coveringSubtrees(start, end);
        expect(n).toBe(m);
        expect(z).toBe(end);
        expect(a).toBeLessThanOrEqual(start);
        expect(isSubtree(a, m) && isSubtree(m, z)).toBe(true);
        expect(m - a).toBeLessThan(2 * Math.max(m - start, 1));
      }),
      { seed: 3, numRuns: 2_000 },
    );
    expect(() => coveringSubtrees(5, 4)).toThrow(new RangeError("expected start ≤ end, got 5 and 4"));
  });
});
