import { bytesEqual } from "./encoding.ts";
import { MalformedError, VerificationError } from "./errors.ts";
import { CONSISTENCY_HASHES_MAX, INCLUSION_HASHES_MAX } from "./limits.ts";
import {
  type CompactRange,
  hashNode,
  isSubtree,
  restoreRange,
  splitPoint,
  subtreeLevels,
  TREE_HASH_BYTES,
} from "./merkle.ts";
import { hashSubtrees, type SubtreeMemo, type TileReader } from "./tile.ts";

/**
 * Proofs over the tree of RFC 9162 §2.1: inclusion, consistency, subtree consistency, and the proof of a contiguous range
 * of leaves. Inclusion and consistency are the two ends of one thing: a leaf, or an older tree, is a subtree of the newer
 * tree, and its proof lists what the recursion meets beside it. So there is one generator and one verifier.
 * Indexes and sizes are integers of 0..2^53−1 (`RangeError` otherwise); hashes are 32 bytes.
 */

type Subtree = readonly [start: number, end: number];

/** Root of the first `size` leaves, from O(log size) tiles. `malformed-tile` for a tile of another length. */
export async function treeHash(size: number, read: TileReader): Promise<Uint8Array> {
  const [root] = await hashSubtrees([[0, size]], size, read);
  return root as Uint8Array;
}

/** The right edge of the tree of `size` leaves, from O(log size) tiles: append to it without reading the leaves again. */
export async function readRange(size: number, read: TileReader): Promise<CompactRange> {
  return restoreRange({
    begin: 0,
    end: size,
    hashes: await hashSubtrees(besideRange(size, size, size).left, size, read),
  });
}

/** Inclusion proof of leaf `index` in the tree of `size`: sibling of the leaf first. RFC 9162 §2.1.3.1. The memo saves half of the hashes of the next one. */
export async function proveInclusion(
  index: number,
  size: number,
  read: TileReader,
  memo?: SubtreeMemo,
): Promise<Uint8Array[]> {
  assertRange(index, index, size, "proveInclusion");
  return hashSubtrees(subtreeProof(index, index + 1, size), size, read, memo);
}

/** Consistency proof between the trees of `oldSize` (≥ 1) and `newSize`. RFC 9162 §2.1.4.1. */
export async function proveConsistency(oldSize: number, newSize: number, read: TileReader): Promise<Uint8Array[]> {
  // The recursion does not end for an old size above the new one.
  assertRange(0, oldSize - 1, newSize, "proveConsistency");
  return hashSubtrees(subtreeProof(0, oldSize, newSize), newSize, read);
}

/**
 * Consistency proof of the subtree of the leaves `start ≤ index < end` with the tree of `size`; empty for an empty
 * subtree. `RangeError` unless it is a subtree with end ≤ size. draft-ietf-plants-merkle-tree-certs.
 */
export async function proveSubtree(start: number, end: number, size: number, read: TileReader): Promise<Uint8Array[]> {
  assertSubtree(start, end, size, "proveSubtree");
  return start === end ? [] : hashSubtrees(subtreeProof(start, end, size), size, read);
}

/**
 * Proof that exactly the leaves `first..last` stand at their indexes in the tree of `size`: the subtrees beside them, left
 * to right. With the leaf hashes of the range it gives the root (`createRangeVerifier`).
 */
export async function proveRange(first: number, last: number, size: number, read: TileReader): Promise<Uint8Array[]> {
  assertRange(first, last, size, "proveRange");
  const { left, right } = besideRange(first, last, size);
  return hashSubtrees([...left, ...right], size, read);
}

export interface InclusionClaim {
  readonly leafHash: Uint8Array;
  readonly index: number;
  readonly size: number;
  readonly proof: readonly Uint8Array[];
  readonly root: Uint8Array;
}

/**
 * Returns if the leaf hash stands at `index` in the tree of `size` with that root. `proof-invalid` if not (also for an
 * index outside the tree), `malformed-proof` for hashes that are not 32 bytes or more than 64 of them.
 * RFC 9162 §2.1.3.2.
 */
export function verifyInclusion(claim: InclusionClaim): void {
  const { leafHash, index, size, proof, root } = claim;
  assertSizes(index, size);
  assertHashes(proof, INCLUSION_HASHES_MAX, "inclusion proof");
  assertHashes([leafHash, root], 2, "inclusion proof");
  if (index >= size) throw invalid(`inclusion proof: index ${index} is not in a tree of size ${size}`);
  const computed = rebuild({ start: index, end: index + 1, size, hash: leafHash, proof, what: "inclusion proof" });
  if (!bytesEqual(computed.tree, root)) throw invalid("inclusion proof: computed another root");
}

export interface ConsistencyClaim {
  readonly oldSize: number;
  readonly oldRoot: Uint8Array;
  readonly newSize: number;
  readonly newRoot: Uint8Array;
  readonly proof: readonly Uint8Array[];
}

/**
 * Returns if the tree of `oldSize` with that root is the beginning of the tree of `newSize` with that root.
 * `proof-invalid` if not: also for an old size of 0, which every tree continues and no proof shows, and for an old size
 * above the new one. `malformed-proof` for hashes that are not 32 bytes or more than 63 of them. RFC 9162 §2.1.4.2.
 */
export function verifyConsistency(claim: ConsistencyClaim): void {
  const { oldSize, oldRoot, newSize, newRoot, proof } = claim;
  assertSizes(oldSize, newSize);
  assertHashes(proof, CONSISTENCY_HASHES_MAX, "consistency proof");
  assertHashes([oldRoot, newRoot], 2, "consistency proof");
  if (oldSize === 0) throw invalid("consistency proof: expected an old size of at least 1");
  if (oldSize > newSize) throw invalid(`consistency proof: old size ${oldSize} is above new size ${newSize}`);
  const computed = rebuild({ start: 0, end: oldSize, size: newSize, hash: oldRoot, proof, what: "consistency proof" });
  if (!bytesEqual(computed.subtree, oldRoot)) throw invalid("consistency proof: computed another old root");
  if (!bytesEqual(computed.tree, newRoot)) throw invalid("consistency proof: computed another new root");
}

export interface SubtreeClaim {
  readonly start: number;
  readonly end: number;
  /** Merkle tree hash of the subtree. */
  readonly hash: Uint8Array;
  readonly size: number;
  readonly root: Uint8Array;
  readonly proof: readonly Uint8Array[];
}

/**
 * Returns if the leaves `start ≤ index < end` of the tree of `size` with that root have that hash. `proof-invalid` if
 * not, also for an empty range or one that is no subtree. Others as for `verifyConsistency`.
 */
export function verifySubtree(claim: SubtreeClaim): void {
  const { start, end, hash, size, root, proof } = claim;
  assertSizes(start, end);
  assertSizes(end, size);
  assertHashes(proof, CONSISTENCY_HASHES_MAX, "subtree proof");
  assertHashes([hash, root], 2, "subtree proof");
  if (start === end || !isSubtree(start, end) || end > size) {
    throw invalid(`subtree proof: the leaves ${start} to ${end} are not a subtree of a tree of size ${size}`);
  }
  const computed = rebuild({ start, end, size, hash, proof, what: "subtree proof" });
  if (!bytesEqual(computed.subtree, hash)) throw invalid("subtree proof: computed another subtree hash");
  if (!bytesEqual(computed.tree, root)) throw invalid("subtree proof: computed another root");
}

export interface RangeVerifier {
  /** The leaf hash of the next index, from `first` on. `proof-invalid` for one leaf too many. */
  add(leafHash: Uint8Array): void;
  /** Root of the tree of `size` that the leaves and the proof give. `proof-invalid` before the last leaf was added. */
  root(): Uint8Array;
}

/**
 * Streaming inverse of `proveRange`, O(log n) memory: add the leaf hashes of `first..last` in order, then compare `root()`
 * with a signed one. `proof-invalid` for a range outside the tree or a proof with another number of hashes,
 * `malformed-proof` for hashes that are not 32 bytes.
 */
export function createRangeVerifier(claim: {
  readonly first: number;
  readonly last: number;
  readonly size: number;
  readonly proof: readonly Uint8Array[];
}): RangeVerifier {
  const { first, last, size, proof } = claim;
  assertSizes(first, last);
  assertSizes(last, size);
  assertHashes(proof, 2 * INCLUSION_HASHES_MAX, "range proof");
  if (first > last || last >= size)
    throw invalid(`range proof: expected first ≤ last < size, got ${first}, ${last} and ${size}`);
  const { left, right } = besideRange(first, last, size);
  if (proof.length !== left.length + right.length) {
    throw invalid(`range proof: expected ${left.length + right.length} hashes, got ${proof.length}`);
  }
  const range = restoreRange({ begin: 0, end: first, hashes: proof.slice(0, left.length) });
  return {
    add(leafHash) {
      assertHashes([leafHash], 1, "range proof");
      if (range.end > last) throw invalid(`range proof: expected ${last - first + 1} leaves, got another one`);
      range.append(leafHash);
    },
    root() {
      if (range.end <= last)
        throw invalid(`range proof: expected ${last - first + 1} leaves, got ${range.end - first}`);
      return closeRange(range.clone(), right, proof.slice(left.length));
    },
  };
}

/** Root of a tree from the range of its first leaves and the hashes of the subtrees right of them. */
function closeRange(range: CompactRange, right: readonly Subtree[], hashes: readonly Uint8Array[]): Uint8Array {
  for (const [i, [start, end]] of right.entries()) {
    const hash = hashes[i] as Uint8Array;
    const [level, ...more] = subtreeLevels(start, end) as [number, ...number[]];
    if (more.length === 0) {
      range.appendSubtree(level, hash);
      continue;
    }
    // Only the last subtree of a tree can be ragged. Nothing follows it: it is folded under the range's own hashes.
    let root = hash;
    for (const part of range.hashes.reverse()) root = hashNode(part, root);
    return root;
  }
  return range.root();
}

/** The subtrees that the proof of subtree `[start, end)` in a tree of `size` lists, in its order. Not for empty ones. */
function subtreeProof(start: number, end: number, size: number): Subtree[] {
  const proof: Subtree[] = [];
  let [from, to] = [0, size];
  let known = true;
  // From the root down; the proof lists the deepest first.
  while (start !== from || end !== to) {
    const middle = from + splitPoint(to - from);
    if (end <= middle) {
      proof.push([middle, to]);
      to = middle;
    } else {
      proof.push([from, middle]);
      // A subtree that reaches over the middle starts with the whole left half: from here on only its right part is
      // looked for, which the verifier does not know.
      if (start < middle) {
        start = middle;
        known = false;
      }
      from = middle;
    }
  }
  if (!known) proof.push([start, end]);
  return proof.reverse();
}

interface Rebuilt {
  /** Hash of the looked-for subtree as the proof gives it. */
  readonly subtree: Uint8Array;
  readonly tree: Uint8Array;
}

/** Walks the shape of `subtreeProof` from the deepest hash up. `proof-invalid` unless the number of hashes is exact. */
function rebuild(claim: {
  readonly start: number;
  readonly end: number;
  readonly size: number;
  readonly hash: Uint8Array;
  readonly proof: readonly Uint8Array[];
  readonly what: string;
}): Rebuilt {
  const { start, end, size, hash, proof, what } = claim;
  const beside = subtreeProof(start, end, size);
  if (proof.length !== beside.length) {
    throw invalid(`${what}: expected ${beside.length} hashes, got ${proof.length}`);
  }
  let subtree = hash;
  let tree = hash;
  let from = start;
  for (const [i, [besideStart, besideEnd]] of beside.entries()) {
    const next = proof[i] as Uint8Array;
    if (i === 0 && besideEnd === end) {
      // The part of the subtree that lies right of the last split: the seed of a walk whose start is not known.
      subtree = next;
      tree = next;
      from = besideStart;
    } else if (besideEnd === from) {
      tree = hashNode(next, tree);
      // Left of it but inside the subtree: it belongs to both.
      if (besideStart >= start) subtree = hashNode(next, subtree);
      from = besideStart;
    } else {
      tree = hashNode(tree, next);
    }
  }
  return { subtree, tree };
}

/** Subtrees left of `first` and right of `last` that the recursion of RFC 9162 meets, left to right. */
function besideRange(
  first: number,
  last: number,
  size: number,
): { readonly left: Subtree[]; readonly right: Subtree[] } {
  const left: Subtree[] = [];
  let at = 0;
  for (const level of subtreeLevels(0, first)) {
    left.push([at, at + 2 ** level]);
    at += 2 ** level;
  }
  const right: Subtree[] = [];
  at = last + 1;
  while (at < size) {
    // The subtree that starts here is the right sibling of the one of equal width that ends here.
    let width = 1;
    while (at % (2 * width) === 0) width *= 2;
    const end = Math.min(at + width, size);
    right.push([at, end]);
    at = end;
  }
  return { left, right };
}

function assertRange(first: number, last: number, size: number, what: string): void {
  assertSizes(first, last);
  assertSizes(last, size);
  if (first > last || last >= size)
    throw new RangeError(`${what}: expected leaves of a tree of size ${size}, got ${first} to ${last}`);
}

function assertSubtree(start: number, end: number, size: number, what: string): void {
  assertSizes(start, size);
  if (!isSubtree(start, end) || end > size)
    throw new RangeError(`${what}: the leaves ${start} to ${end} are not a subtree of size ${size}`);
}

function assertSizes(a: number, b: number): void {
  for (const value of [a, b]) {
    if (!Number.isSafeInteger(value) || value < 0)
      throw new RangeError(`expected an integer of 0..2^53-1, got ${value}`);
  }
}

function assertHashes(hashes: readonly Uint8Array[], max: number, what: string): void {
  if (hashes.length > max)
    throw new MalformedError("malformed-proof", `${what}: expected at most ${max} hashes, got ${hashes.length}`);
  for (const hash of hashes) {
    if (hash.length !== TREE_HASH_BYTES) {
      throw new MalformedError("malformed-proof", `${what}: expected hashes of 32 bytes, got ${hash.length}`);
    }
  }
}

function invalid(message: string): VerificationError {
  return new VerificationError("proof-invalid", message);
}
