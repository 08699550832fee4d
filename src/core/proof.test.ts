import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { createRange, EMPTY_ROOT, hashLeaf, hashNode, isSubtree } from "./merkle.ts";
import {
  createRangeVerifier,
  proveConsistency,
  proveInclusion,
  proveRange,
  proveSubtree,
  treeHash,
  verifyConsistency,
  verifyInclusion,
  verifySubtree,
} from "./proof.ts";
import { SubtreeMemo, type TileReader, tileRoot } from "./tile.ts";

const vectors = JSON.parse(readFileSync("vectors/tlog.json", "utf8")) as {
  merkle: {
    leaf_hashes: string[];
    roots_1_to_8: string[];
    inclusion: { index: number; size: number; proof: string[] }[];
    consistency: { old: number; new: number; proof: string[] }[];
  };
  rolling: Record<"subtree_hashes" | "inclusion" | "subtree_consistency", { sha256: string }>;
};

type Hashes = readonly Uint8Array[];
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const unhex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "hex"));
const proofInvalid = expect.objectContaining({ code: "proof-invalid" });

/** The recursions of RFC 9162 §2.1, word for word, over leaf hashes. Roots are remembered: the tests ask for all of them. */
class Model {
  private readonly leaves: Hashes;
  private readonly roots = new Map<number, Uint8Array>();
  constructor(leaves: Hashes) {
    this.leaves = leaves;
  }
  split(n: number): number {
    let k = 1;
    while (2 * k < n) k *= 2;
    return k;
  }
  root(from: number, to: number): Uint8Array {
    if (from === to) return EMPTY_ROOT;
    if (to - from === 1) return this.leaves[from]!;
    const key = from * 4096 + to;
    let root = this.roots.get(key);
    if (root === undefined) {
      const k = this.split(to - from);
      root = hashNode(this.root(from, from + k), this.root(from + k, to));
      this.roots.set(key, root);
    }
    return root;
  }
  path(m: number, from: number, to: number): Uint8Array[] {
    if (to - from === 1) return [];
    const k = this.split(to - from);
    return m < k
      ? [...this.path(m, from, from + k), this.root(from + k, to)]
      : [...this.path(m - k, from + k, to), this.root(from, from + k)];
  }
  consistency(m: number, from: number, to: number, whole: boolean): Uint8Array[] {
    if (m === to - from) return whole ? [] : [this.root(from, to)];
    const k = this.split(to - from);
    return m <= k
      ? [...this.consistency(m, from, from + k, whole), this.root(from + k, to)]
      : [...this.consistency(m - k, from + k, to, false), this.root(from, from + k)];
  }
  subtree(start: number, end: number, from: number, to: number, whole: boolean): Uint8Array[] {
    if (start === 0 && end === to - from) return whole ? [] : [this.root(from, to)];
    const k = this.split(to - from);
    if (end <= k) return [...this.subtree(start, end, from, from + k, whole), this.root(from + k, to)];
    if (k <= start) return [...this.subtree(start - k, end - k, from + k, to, whole), this.root(from, from + k)];
    return [...this.subtree(0, end - k, from + k, to, false), this.root(from, from + k)];
  }
  range(first: number, last: number, from: number, to: number): Uint8Array[] {
    if (to <= first || from > last) return [this.root(from, to)];
    if (to - from === 1) return [];
    const k = this.split(to - from);
    return [...this.range(first, last, from, from + k), ...this.range(first, last, from + k, to)];
  }
}

/** Verification as RFC 9162 §2.1.3.2 and §2.1.4.2 put it, in big integers: another algorithm than the one under test. */
function rfcInclusion(leaf: Uint8Array, index: bigint, size: bigint, proof: Hashes, root: Uint8Array): boolean {
  if (index >= size) return false;
  let [fn, sn, r] = [index, size - 1n, leaf];
  for (const p of proof) {
    if (sn === 0n) return false;
    if (fn & 1n || fn === sn) {
      r = hashNode(p, r);
      while (!(fn & 1n) && fn !== 0n) [fn, sn] = [fn >> 1n, sn >> 1n];
    } else r = hashNode(r, p);
    [fn, sn] = [fn >> 1n, sn >> 1n];
  }
  return sn === 0n && hex(r) === hex(root);
}
function rfcConsistency(m: bigint, root1: Uint8Array, n: bigint, root2: Uint8Array, proof: Hashes): boolean {
  if (m === 0n || m > n) return false;
  if (m === n) return proof.length === 0 && hex(root1) === hex(root2);
  if (proof.length === 0) return false;
  const path = (m & (m - 1n)) === 0n ? [root1, ...proof] : proof;
  let [fn, sn] = [m - 1n, n - 1n];
  while (fn & 1n) [fn, sn] = [fn >> 1n, sn >> 1n];
  let [fr, sr] = [path[0]!, path[0]!];
  for (const c of path.slice(1)) {
    if (sn === 0n) return false;
    if (fn & 1n || fn === sn) {
      [fr, sr] = [hashNode(c, fr), hashNode(c, sr)];
      while (!(fn & 1n) && fn !== 0n) [fn, sn] = [fn >> 1n, sn >> 1n];
    } else sr = hashNode(sr, c);
    [fn, sn] = [fn >> 1n, sn >> 1n];
  }
  return sn === 0n && hex(fr) === hex(root1) && hex(sr) === hex(root2);
}

function accepts(run: () => void): boolean {
  try {
    run();
    return true;
  } catch (error) {
    if ((error as { code?: string }).code !== "proof-invalid") throw error;
    return false;
  }
}

const LEAVES: Hashes = Array.from({ length: 130 }, (_, i) => hashLeaf(Uint8Array.of(i)));
const model = new Model(LEAVES);
/** One tile holds them all. */
const read: TileReader = (_level, _index, width) => new Uint8Array(Buffer.concat(LEAVES.slice(0, width)));

describe("published vectors", () => {
  const leaves = vectors.merkle.leaf_hashes.map(unhex);
  const roots = vectors.merkle.roots_1_to_8.map(unhex);
  const readPublished: TileReader = (_level, _index, width) => new Uint8Array(Buffer.concat(leaves.slice(0, width)));

  it("of inclusion are made and accepted", async () => {
    for (const { index, size, proof } of vectors.merkle.inclusion) {
      expect((await proveInclusion(index, size, readPublished)).map(hex)).toEqual(proof);
      verifyInclusion({ leafHash: leaves[index]!, index, size, proof: proof.map(unhex), root: roots[size - 1]! });
    }
  });

  it("of consistency are made and accepted", async () => {
    for (const { old: oldSize, new: newSize, proof } of vectors.merkle.consistency) {
      expect((await proveConsistency(oldSize, newSize, readPublished)).map(hex)).toEqual(proof);
      const [oldRoot, newRoot] = [roots[oldSize - 1]!, roots[newSize - 1]!];
      verifyConsistency({ oldSize, oldRoot, newSize, newRoot, proof: proof.map(unhex) });
    }
  });

  it("of draft-ietf-plants-merkle-tree-certs: every subtree of 130 leaves, its hash and its inclusion proofs", async () => {
    const [hashes, inclusion] = [createHash("sha256"), createHash("sha256")];
    for (let end = 0; end <= 130; end++) {
      for (let start = 0; start <= end; start++) {
        if (!isSubtree(start, end)) continue;
        hashes.update(`[${start}, ${end}) ${hex(model.root(start, end))}\n`);
        const inside: TileReader = (_level, _index, width) =>
          new Uint8Array(Buffer.concat(LEAVES.slice(start, start + width)));
        if (start < end) expect(hex(await treeHash(end - start, inside))).toBe(hex(model.root(start, end)));
        for (let index = start; index < end; index++) {
          const proof = model.path(index - start, start, end);
          inclusion.update(`${index} [${start}, ${end})${proof.map((hash) => ` ${hex(hash)}`).join("")}\n`);
          verifyInclusion({
            leafHash: LEAVES[index]!,
            index: index - start,
            size: end - start,
            proof,
            root: model.root(start, end),
          });
        }
      }
    }
    expect(hashes.digest("hex")).toBe(vectors.rolling.subtree_hashes.sha256);
    expect(inclusion.digest("hex")).toBe(vectors.rolling.inclusion.sha256);
  });

  it("of draft-ietf-plants-merkle-tree-certs: the consistency of every subtree with every tree of up to 130 leaves", async () => {
    const digest = createHash("sha256");
    for (let size = 0; size <= 130; size++) {
      for (let end = 0; end <= size; end++) {
        for (let start = 0; start <= end; start++) {
          if (!isSubtree(start, end)) continue;
          const proof = await proveSubtree(start, end, size, read);
          digest.update(`[${start}, ${end}) ${size}${proof.map((hash) => ` ${hex(hash)}`).join("")}\n`);
          // Verifying each of the 90,000 would take long; every third size meets every shape.
          if (start === end || size % 3 !== 1) continue;
          verifySubtree({ start, end, hash: model.root(start, end), size, root: model.root(0, size), proof });
        }
      }
    }
    expect(digest.digest("hex")).toBe(vectors.rolling.subtree_consistency.sha256);
  });
});

describe("every proof in trees of up to 130 leaves", () => {
  it("of inclusion is that of the recursion, and is accepted", async () => {
    for (let size = 1; size <= 130; size++) {
      const root = model.root(0, size);
      for (let index = 0; index < size; index++) {
        const proof = await proveInclusion(index, size, read);
        expect(proof.map(hex)).toEqual(model.path(index, 0, size).map(hex));
        verifyInclusion({ leafHash: LEAVES[index]!, index, size, proof, root });
      }
    }
  });

  it("of consistency is that of the recursion, and is accepted", async () => {
    for (let newSize = 1; newSize <= 130; newSize++) {
      const newRoot = model.root(0, newSize);
      for (let oldSize = 1; oldSize <= newSize; oldSize++) {
        const proof = await proveConsistency(oldSize, newSize, read);
        expect(proof.map(hex)).toEqual(model.consistency(oldSize, 0, newSize, true).map(hex));
        expect(proof.length).toBeLessThanOrEqual(63);
        verifyConsistency({ oldSize, oldRoot: model.root(0, oldSize), newSize, newRoot, proof });
      }
    }
  });

  it("of a range is that of the recursion, and gives the root", async () => {
    for (let size = 1; size <= 130; size += size < 40 ? 1 : 9) {
      const root = hex(model.root(0, size));
      for (let first = 0; first < size; first++) {
        for (let last = first; last < size; last += size < 40 ? 1 : 7) {
          const proof = await proveRange(first, last, size, read);
          expect(proof.map(hex)).toEqual(model.range(first, last, 0, size).map(hex));
          const verifier = createRangeVerifier({ first, last, size, proof });
          for (let i = first; i <= last; i++) verifier.add(LEAVES[i]!);
          expect(hex(verifier.root())).toBe(root);
        }
      }
    }
  });
});

describe("altered proofs", () => {
  it("of inclusion are refused: every bit of every hash, of the leaf and of the root", async () => {
    for (let size = 1; size <= 13; size++) {
      for (let index = 0; index < size; index++) {
        const proof = await proveInclusion(index, size, read);
        const claim = { leafHash: LEAVES[index]!.slice(), index, size, proof, root: model.root(0, size).slice() };
        for (const target of [...proof, claim.leafHash, claim.root]) {
          for (let bit = 0; bit < 256; bit++) {
            target[bit >> 3]! ^= 1 << (bit & 7);
            if (accepts(() => verifyInclusion(claim))) expect.fail(`bit ${bit}, index ${index} of ${size}`);
            target[bit >> 3]! ^= 1 << (bit & 7);
          }
        }
        verifyInclusion(claim);
      }
    }
  });

  it("of consistency are refused: every bit of every hash and of both roots", async () => {
    for (let newSize = 1; newSize <= 13; newSize++) {
      for (let oldSize = 1; oldSize <= newSize; oldSize++) {
        const proof = await proveConsistency(oldSize, newSize, read);
        const claim = {
          oldSize,
          oldRoot: model.root(0, oldSize).slice(),
          newSize,
          newRoot: model.root(0, newSize).slice(),
          proof,
        };
        for (const target of [...proof, claim.oldRoot, claim.newRoot]) {
          for (let bit = 0; bit < 256; bit++) {
            target[bit >> 3]! ^= 1 << (bit & 7);
            if (accepts(() => verifyConsistency(claim))) expect.fail(`bit ${bit}, ${oldSize} to ${newSize}`);
            target[bit >> 3]! ^= 1 << (bit & 7);
          }
        }
        verifyConsistency(claim);
      }
    }
  });

  it("of a range are refused: every bit of every hash and of every leaf", async () => {
    for (const [first, last, size] of [
      [0, 0, 1],
      [0, 6, 7],
      [2, 4, 7],
      [5, 5, 13],
      [3, 9, 13],
      [12, 12, 13],
      [0, 3, 13],
    ] as const) {
      const proof = await proveRange(first, last, size, read);
      const leaves = LEAVES.slice(first, last + 1).map((leaf) => leaf.slice());
      const root = hex(model.root(0, size));
      const rootOf = (): string => {
        const verifier = createRangeVerifier({ first, last, size, proof });
        for (const leaf of leaves) verifier.add(leaf);
        return hex(verifier.root());
      };
      expect(rootOf()).toBe(root);
      for (const target of [...proof, ...leaves]) {
        for (let bit = 0; bit < 256; bit++) {
          target[bit >> 3]! ^= 1 << (bit & 7);
          expect(rootOf()).not.toBe(root);
          target[bit >> 3]! ^= 1 << (bit & 7);
        }
      }
    }
  });

  it("that are one hash short, one too long, or reordered are refused with the number expected", async () => {
    const proof = await proveInclusion(5, 13, read);
    const claim = { leafHash: LEAVES[5]!, index: 5, size: 13, root: model.root(0, 13) };
    const refusals: [Hashes, string][] = [
      [proof.slice(1), "inclusion proof: expected 4 hashes, got 3"],
      [proof.slice(0, -1), "inclusion proof: expected 4 hashes, got 3"],
      [[...proof, EMPTY_ROOT], "inclusion proof: expected 4 hashes, got 5"],
      [[EMPTY_ROOT, ...proof], "inclusion proof: expected 4 hashes, got 5"],
      [[...proof].reverse(), "inclusion proof: computed another root"],
    ];
    for (const [wrong, message] of refusals) {
      expect(() => verifyInclusion({ ...claim, proof: wrong })).toThrow(
        expect.objectContaining({ code: "proof-invalid", message }),
      );
    }
    const consistency = await proveConsistency(6, 13, read);
    const roots = { oldSize: 6, oldRoot: model.root(0, 6), newSize: 13, newRoot: model.root(0, 13) };
    const wrongs: [Hashes, string][] = [
      [consistency.slice(1), "consistency proof: expected 4 hashes, got 3"],
      [[], "consistency proof: expected 4 hashes, got 0"],
      [[...consistency, roots.newRoot], "consistency proof: expected 4 hashes, got 5"],
      [[...consistency].reverse(), "consistency proof: computed another old root"],
    ];
    for (const [wrong, message] of wrongs) {
      expect(() => verifyConsistency({ ...roots, proof: wrong })).toThrow(
        expect.objectContaining({ code: "proof-invalid", message }),
      );
    }
    const swapped = { ...roots, oldRoot: roots.newRoot, newRoot: roots.oldRoot, proof: consistency };
    expect(() => verifyConsistency(swapped)).toThrow(proofInvalid);
  });

  it("with a hash that is not 32 bytes, or with too many hashes, are malformed", () => {
    const claim = { leafHash: EMPTY_ROOT, index: 0, size: 2, root: EMPTY_ROOT };
    for (const length of [0, 31, 33, 64]) {
      const error = { code: "malformed-proof", message: `inclusion proof: expected hashes of 32 bytes, got ${length}` };
      const wrong = new Uint8Array(length);
      for (const change of [{ proof: [wrong] }, { leafHash: wrong }, { root: wrong }]) {
        expect(() => verifyInclusion({ ...claim, proof: [], ...change })).toThrow(expect.objectContaining(error));
      }
      expect(() => createRangeVerifier({ first: 0, last: 0, size: 2, proof: [wrong] })).toThrow(
        expect.objectContaining({ code: "malformed-proof" }),
      );
    }
    const many = (count: number): Uint8Array[] => Array.from({ length: count }, () => EMPTY_ROOT);
    expect(() => verifyInclusion({ ...claim, proof: many(65) })).toThrow(
      expect.objectContaining({
        code: "malformed-proof",
        message: "inclusion proof: expected at most 64 hashes, got 65",
      }),
    );
    const roots = { oldSize: 1, oldRoot: EMPTY_ROOT, newSize: 2, newRoot: EMPTY_ROOT };
    expect(() => verifyConsistency({ ...roots, proof: many(64) })).toThrow(
      expect.objectContaining({
        code: "malformed-proof",
        message: "consistency proof: expected at most 63 hashes, got 64",
      }),
    );
  });

  it("are judged as RFC 9162's own algorithms judge them, whatever was altered", () => {
    const rarely = (change: fc.Arbitrary<number>): fc.Arbitrary<number | undefined> =>
      fc.oneof({ weight: 3, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: change });
    const sized = fc.integer({ min: 1, max: 40 }).chain((size) =>
      fc.record({
        size: fc.constant(size),
        index: fc.nat({ max: size - 1 }),
        claimedSize: fc.oneof(
          { weight: 3, arbitrary: fc.constant(size) },
          { weight: 1, arbitrary: fc.nat({ max: 48 }) },
        ),
        claimedIndex: rarely(fc.nat({ max: 48 })),
        drop: rarely(fc.nat({ max: 6 })),
        insert: rarely(fc.nat({ max: 6 })),
        root: rarely(fc.integer({ min: 1, max: 40 })),
      }),
    );
    let accepted = 0;
    fc.assert(
      fc.property(sized, ({ size, index, claimedSize, claimedIndex, drop, insert, root }) => {
        const at = claimedIndex ?? index;
        const target = model.root(0, root ?? size);
        const proof = model.path(index, 0, size);
        const oldSize = index + 1;
        const consistency = model.consistency(oldSize, 0, size, true);
        for (const list of [proof, consistency]) {
          if (drop !== undefined) list.splice(drop, 1);
          if (insert !== undefined) list.splice(insert, 0, EMPTY_ROOT);
        }
        const inclusion = accepts(() =>
          verifyInclusion({ leafHash: LEAVES[index]!, index: at, size: claimedSize, proof, root: target }),
        );
        expect(inclusion).toBe(rfcInclusion(LEAVES[index]!, BigInt(at), BigInt(claimedSize), proof, target));
        const oldRoot = model.root(0, oldSize);
        const claimedOld = claimedIndex ?? oldSize;
        const consistent = accepts(() =>
          verifyConsistency({
            oldSize: claimedOld,
            oldRoot,
            newSize: claimedSize,
            newRoot: target,
            proof: consistency,
          }),
        );
        expect(consistent).toBe(rfcConsistency(BigInt(claimedOld), oldRoot, BigInt(claimedSize), target, consistency));
        if (inclusion) accepted++;
      }),
      { seed: 8, numRuns: 4_000 },
    );
    // The property must meet both answers.
    expect(accepted).toBeGreaterThan(50);
    expect(accepted).toBeLessThan(3_900);
  });
});

describe("claims that no proof can back", () => {
  const one = { leafHash: LEAVES[0]!, proof: [], root: LEAVES[0]! };

  it("about leaves outside the tree are refused, the empty tree included", () => {
    verifyInclusion({ ...one, index: 0, size: 1 });
    expect(() => verifyInclusion({ ...one, index: 1, size: 1 })).toThrow(
      expect.objectContaining({
        code: "proof-invalid",
        message: "inclusion proof: index 1 is not in a tree of size 1",
      }),
    );
    expect(() => verifyInclusion({ ...one, index: 0, size: 0 })).toThrow(proofInvalid);
    expect(() => verifyInclusion({ leafHash: EMPTY_ROOT, index: 0, size: 0, proof: [], root: EMPTY_ROOT })).toThrow(
      proofInvalid,
    );
  });

  it("that a node is a leaf are refused: the prefixes keep them apart", async () => {
    // The root of two leaves shown as the one leaf of a smaller tree, or its preimage as an entry.
    const root = model.root(0, 2);
    const preimage = hashLeaf(Buffer.concat([LEAVES[0]!, LEAVES[1]!]));
    expect(() => verifyInclusion({ leafHash: preimage, index: 0, size: 1, proof: [], root })).toThrow(proofInvalid);
    // A node in the place of the leaves below it, in the tree of four: the depth no longer fits.
    const [, upper] = await proveInclusion(0, 4, read);
    expect(() =>
      verifyInclusion({ leafHash: root, index: 0, size: 4, proof: [upper!], root: model.root(0, 4) }),
    ).toThrow(expect.objectContaining({ message: "inclusion proof: expected 2 hashes, got 1" }));
  });

  it("of consistency with nothing, or with a larger past, are refused", () => {
    const same = { oldRoot: LEAVES[0]!, newRoot: LEAVES[0]!, proof: [] };
    verifyConsistency({ ...same, oldSize: 1, newSize: 1 });
    expect(() => verifyConsistency({ ...same, oldSize: 0, newSize: 1 })).toThrow(
      expect.objectContaining({
        code: "proof-invalid",
        message: "consistency proof: expected an old size of at least 1",
      }),
    );
    expect(() =>
      verifyConsistency({ oldSize: 0, newSize: 0, oldRoot: EMPTY_ROOT, newRoot: EMPTY_ROOT, proof: [] }),
    ).toThrow(proofInvalid);
    expect(() => verifyConsistency({ ...same, oldSize: 2, newSize: 1 })).toThrow(
      expect.objectContaining({ code: "proof-invalid", message: "consistency proof: old size 2 is above new size 1" }),
    );
    // Two histories of one size are a fork, whatever the proof.
    expect(() =>
      verifyConsistency({ oldSize: 5, newSize: 5, oldRoot: EMPTY_ROOT, newRoot: LEAVES[0]!, proof: [] }),
    ).toThrow(proofInvalid);
    expect(() =>
      verifyConsistency({ oldSize: 5, newSize: 5, oldRoot: EMPTY_ROOT, newRoot: EMPTY_ROOT, proof: [EMPTY_ROOT] }),
    ).toThrow(proofInvalid);
  });

  it("about leaves that are no subtree are refused", () => {
    const claim = { hash: EMPTY_ROOT, root: EMPTY_ROOT, size: 8, proof: [] };
    for (const [start, end] of [
      [1, 3],
      [2, 2],
      [0, 9],
      [6, 4],
    ] as const) {
      expect(() => verifySubtree({ ...claim, start, end })).toThrow(proofInvalid);
    }
  });

  it("about a range with leaves missing or added are refused", async () => {
    const proof = await proveRange(2, 4, 7, read);
    const claim = { first: 2, last: 4, size: 7, proof };
    const verifier = createRangeVerifier(claim);
    verifier.add(LEAVES[2]!);
    verifier.add(LEAVES[3]!);
    expect(() => verifier.root()).toThrow(
      expect.objectContaining({ code: "proof-invalid", message: "range proof: expected 3 leaves, got 2" }),
    );
    expect(() => verifier.add(new Uint8Array(31))).toThrow(expect.objectContaining({ code: "malformed-proof" }));
    verifier.add(LEAVES[4]!);
    expect(() => verifier.add(LEAVES[5]!)).toThrow(
      expect.objectContaining({ code: "proof-invalid", message: "range proof: expected 3 leaves, got another one" }),
    );
    // The answer may be asked for twice.
    expect(hex(verifier.root())).toBe(hex(verifier.root()));
    expect(() => createRangeVerifier({ ...claim, proof: proof.slice(1) })).toThrow(
      expect.objectContaining({ code: "proof-invalid", message: "range proof: expected 3 hashes, got 2" }),
    );
    for (const range of [
      { first: 5, last: 4 },
      { first: 2, last: 7 },
    ]) {
      expect(() => createRangeVerifier({ ...claim, ...range })).toThrow(proofInvalid);
    }
  });
});

describe("wrong arguments", () => {
  it("are refused before anything is read or hashed", async () => {
    const never: TileReader = () => {
      throw new Error("read");
    };
    const calls = [
      () => proveInclusion(1, 1, never),
      () => proveInclusion(0, 0, never),
      () => proveInclusion(-1, 1, never),
      () => proveInclusion(0.5, 1, never),
      () => proveConsistency(0, 1, never),
      () => proveConsistency(2, 1, never),
      () => proveConsistency(1, 2 ** 53, never),
      () => proveRange(1, 0, 2, never),
      () => proveRange(0, 2, 2, never),
      () => proveSubtree(1, 3, 8, never),
      () => proveSubtree(0, 9, 8, never),
    ];
    for (const call of calls) await expect(call()).rejects.toThrow(RangeError);
    const claim = { leafHash: EMPTY_ROOT, proof: [], root: EMPTY_ROOT };
    for (const [index, size] of [
      [-1, 1],
      [0, 2 ** 53],
      [Number.NaN, 1],
      [0, 1.5],
    ] as const) {
      expect(() => verifyInclusion({ ...claim, index, size })).toThrow(RangeError);
      expect(() =>
        verifyConsistency({ oldSize: index, oldRoot: EMPTY_ROOT, newSize: size, newRoot: EMPTY_ROOT, proof: [] }),
      ).toThrow(RangeError);
      expect(() => createRangeVerifier({ first: index, last: 0, size, proof: [] })).toThrow(RangeError);
    }
  });

  it("leave an empty subtree without hashes", async () => {
    expect(await proveSubtree(5, 5, 8, read)).toEqual([]);
  });
});

describe("trees of a million leaves", () => {
  const SIZE = 2 ** 20;
  // Leaf hashes need not be hashes of anything here: each holds its index.
  const leaves = new Uint8Array(SIZE * 32);
  const levels: Uint8Array[] = [leaves];
  const readLarge: TileReader = (level, index, width) =>
    levels[level]!.subarray(index * 8192, index * 8192 + width * 32);
  const leafHash = (index: number): Uint8Array => leaves.subarray(index * 32, index * 32 + 32);

  beforeAll(() => {
    const view = new DataView(leaves.buffer);
    for (let i = 0; i < SIZE; i++) view.setUint32(i * 32, i);
    for (let level = 0; level < 2; level++) {
      const below = levels[level]!;
      const above = new Uint8Array(below.length / 256);
      for (let i = 0; i * 8192 < below.length; i++)
        above.set(tileRoot(below.subarray(i * 8192, (i + 1) * 8192)), i * 32);
      levels.push(above);
    }
  });

  const sizes = fc.oneof(
    fc.integer({ min: 1, max: SIZE }),
    fc
      .integer({ min: 1, max: 20 })
      .chain((power) => fc.integer({ min: -1, max: 1 }).map((delta) => Math.min(2 ** power + delta, SIZE))),
  );

  it("are proved from tiles as from the leaves", async () => {
    const memo = new SubtreeMemo();
    await fc.assert(
      fc.asyncProperty(sizes, sizes, async (a, b) => {
        const [oldSize, size] = a < b ? [a, b] : [b, a];
        const [oldRoot, root] = [await treeHash(oldSize, readLarge), await treeHash(size, readLarge)];
        verifyConsistency({
          oldSize,
          oldRoot,
          newSize: size,
          newRoot: root,
          proof: await proveConsistency(oldSize, size, readLarge),
        });
        for (const index of new Set([0, oldSize - 1, Math.floor(oldSize / 2), size - 1])) {
          const proof = await proveInclusion(index, size, readLarge);
          verifyInclusion({ leafHash: leafHash(index), index, size, root, proof });
          // Other indexes, and smaller and larger trees, went before.
          expect((await proveInclusion(index, size, readLarge, memo)).map(hex)).toEqual(proof.map(hex));
        }
        const [first, last] = [oldSize - 1, Math.min(oldSize + 400, size - 1)];
        const verifier = createRangeVerifier({
          first,
          last,
          size,
          proof: await proveRange(first, last, size, readLarge),
        });
        for (let i = first; i <= last; i++) verifier.add(leafHash(i));
        expect(hex(verifier.root())).toBe(hex(root));
      }),
      { seed: 9, numRuns: 150 },
    );
  });

  it("have the root that appending the leaves one by one gives", async () => {
    const range = createRange();
    for (let i = 0; i < 70_001; i++) range.append(leafHash(i));
    expect(hex(await treeHash(70_001, readLarge))).toBe(hex(range.root()));
  });
});

describe("trees of more than 2^31 and 2^40 leaves", () => {
  // All leaves alike: the tree of any size needs one hash per level, and every tile repeats one hash.
  const uniform: Uint8Array[] = [LEAVES[0]!];
  for (let level = 1; level <= 53; level++) uniform.push(hashNode(uniform[level - 1]!, uniform[level - 1]!));
  const asked: [number, number, number][] = [];
  const readUniform: TileReader = (level, index, width) => {
    asked.push([level, index, width]);
    return new Uint8Array(Buffer.concat(Array.from({ length: width }, () => uniform[8 * level]!)));
  };
  function uniformRoot(size: bigint): Uint8Array {
    let level = 0;
    while (2n << BigInt(level) <= size) level++;
    const whole = 1n << BigInt(level);
    return whole === size ? uniform[level]! : hashNode(uniform[level]!, uniformRoot(size - whole));
  }
  const sizes = [
    2 ** 31 - 1,
    2 ** 31,
    2 ** 31 + 1,
    2 ** 32 + 77,
    2 ** 40 - 1,
    2 ** 40,
    2 ** 40 + 2 ** 31 + 3,
    2 ** 52 + 12_345,
    2 ** 53 - 1,
  ];

  it("are proved and verified, and only tiles of the tree are read", async () => {
    const memo = new SubtreeMemo();
    for (const size of sizes) {
      const root = uniformRoot(BigInt(size));
      expect(hex(await treeHash(size, readUniform))).toBe(hex(root));
      for (const index of [0, 1, 255, 2 ** 31 - 2, Math.floor(size / 3), size - 257, size - 2, size - 1]) {
        const proof = await proveInclusion(index, size, readUniform, memo);
        verifyInclusion({ leafHash: uniform[0]!, index, size, proof, root });
        expect(rfcInclusion(uniform[0]!, BigInt(index), BigInt(size), proof, root)).toBe(true);
      }
      for (const oldSize of [1, 255, 2 ** 31 - 1, 2 ** 30 + 1, Math.floor(size / 3), size - 1, size]) {
        const proof = await proveConsistency(oldSize, size, readUniform);
        const oldRoot = uniformRoot(BigInt(oldSize));
        verifyConsistency({ oldSize, oldRoot, newSize: size, newRoot: root, proof });
        expect(rfcConsistency(BigInt(oldSize), oldRoot, BigInt(size), root, proof)).toBe(true);
      }
      for (const first of [0, 5, 2 ** 31 - 300, Math.floor(size / 3), size - 300]) {
        const last = first + 299 < size ? first + 299 : size - 1;
        const verifier = createRangeVerifier({
          first,
          last,
          size,
          proof: await proveRange(first, last, size, readUniform),
        });
        for (let i = first; i <= last; i++) verifier.add(uniform[0]!);
        expect(hex(verifier.root())).toBe(hex(root));
      }
      for (const [level, index, width] of asked.splice(0)) {
        const hashes = BigInt(size) >> (8n * BigInt(level));
        expect(BigInt(index) * 256n + BigInt(width)).toBeLessThanOrEqual(hashes);
        expect(width === 256 || BigInt(index) * 256n + BigInt(width) === hashes).toBe(true);
      }
    }
  });
});
