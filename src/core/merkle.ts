import { sha256Into } from "#hash-platform";
import { decodeHex } from "./encoding.ts";

/**
 * The Merkle tree of RFC 9162 §2.1 over SHA-256: leaf and node hashes, compact ranges (the right edge of a growing
 * tree, or any contiguous piece of one), and the arithmetic of subtrees. A hash is 32 bytes; an index or a size is an
 * integer of 0..2^53−1, so halves and parities are taken with `/` and `%`, never with 32-bit operators.
 */

/** Bytes of one hash. */
export const TREE_HASH_BYTES = 32;

/** Root of the tree without leaves: SHA-256 of nothing. RFC 9162 §2.1.1. */
export const EMPTY_ROOT: Uint8Array = decodeHex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", {
  sizeBytes: TREE_HASH_BYTES,
  code: "malformed-proof",
});

// Input of a node hash, 0x01 ‖ left ‖ right. The prefix lies at byte 7 so that both children are word-aligned: they are
// copied as 16 words, four times as fast as 64 bytes. Every node of the process goes through this one buffer (no call
// of this module yields in between), so hashing a tree allocates nothing.
const INPUT_MEMORY = new ArrayBuffer(8 + 2 * TREE_HASH_BYTES);
const INPUT = new Uint8Array(INPUT_MEMORY, 7, 1 + 2 * TREE_HASH_BYTES);
const INPUT_WORDS = new Uint32Array(INPUT_MEMORY, 8, 16);
INPUT[0] = 0x01;

/** Leaf hash: SHA-256(0x00 ‖ data), 32 bytes. RFC 9162 §2.1.1. */
export function hashLeaf(data: Uint8Array): Uint8Array {
  const input = new Uint8Array(1 + data.length);
  input.set(data, 1);
  const leaf = new Uint8Array(TREE_HASH_BYTES);
  sha256Into(input, leaf, 0);
  return leaf;
}

/** Node hash: SHA-256(0x01 ‖ left ‖ right), 32 bytes. `RangeError` unless both are 32 bytes. RFC 9162 §2.1.1. */
export function hashNode(left: Uint8Array, right: Uint8Array): Uint8Array {
  assertHash(left, "hashNode");
  assertHash(right, "hashNode");
  INPUT.set(left, 1);
  INPUT.set(right, 1 + TREE_HASH_BYTES);
  const node = new Uint8Array(TREE_HASH_BYTES);
  sha256Into(INPUT, node, 0);
  return node;
}

/**
 * Hot form of `hashNode`: hashes two adjacent hashes that start at `words[from]` and writes the node at `bytes[to]`.
 * Both views may lie on one memory and overlap.
 */
export function hashPair(words: Uint32Array, from: number, bytes: Uint8Array, to: number): void {
  for (let i = 0; i < 16; i++) INPUT_WORDS[i] = words[from + i] as number;
  sha256Into(INPUT, bytes, to);
}

// A range of 2^53 leaves has at most 53 nodes that grow from its left edge and 53 that shrink towards its right one.
const RANGE_NODES_MAX = 106;

/**
 * The hashes of the largest whole subtrees that tile the leaves `begin ≤ index < end`, left to right: all that is
 * needed to append, to join with the neighbouring range and to compute the root. O(log n) memory; an append costs one
 * node hash on average. Hashes are copied in and out. Not for concurrent use.
 */
export class CompactRange {
  readonly begin: number;
  #end: number;
  #depth = 0;
  #words: Uint32Array = new Uint32Array(16 * 8);
  #bytes: Uint8Array = new Uint8Array(this.#words.buffer);
  /** Level of each node: it covers 2^level leaves. */
  readonly #levels = new Uint8Array(RANGE_NODES_MAX + 1);

  /** See `createRange`. */
  constructor(begin: number) {
    assertSize(begin, "begin");
    this.begin = begin;
    this.#end = begin;
  }

  /** Index after the last leaf. For a range that begins at 0 this is the tree size. */
  get end(): number {
    return this.#end;
  }

  /** Number of leaves covered. */
  get size(): number {
    return this.#end - this.begin;
  }

  /** The subtree hashes, left to right; copies. */
  get hashes(): Uint8Array[] {
    const hashes: Uint8Array[] = [];
    for (let i = 0; i < this.#depth; i++) {
      hashes.push(this.#bytes.slice(i * TREE_HASH_BYTES, (i + 1) * TREE_HASH_BYTES));
    }
    return hashes;
  }

  /** Adds the leaf of index `end`. `RangeError` unless the hash is 32 bytes, or if the tree would pass 2^53−1 leaves. */
  append(leafHash: Uint8Array): void {
    this.appendSubtree(0, leafHash);
  }

  /**
   * Adds a whole subtree of 2^level leaves whose first leaf has index `end`. `RangeError` if `end` is not a multiple of
   * 2^level, or as for `append`.
   */
  appendSubtree(level: number, hash: Uint8Array): void {
    assertHash(hash, "append");
    const width = 2 ** level;
    if (!Number.isInteger(level) || level < 0 || this.#end % width !== 0) {
      throw new RangeError(`append: a subtree of level ${level} cannot start at leaf ${this.#end}`);
    }
    if (this.#end + width > Number.MAX_SAFE_INTEGER) throw new RangeError("append: expected at most 2^53-1 leaves");
    let top = this.#depth;
    this.#reserve(top + 1);
    this.#bytes.set(hash, top * TREE_HASH_BYTES);
    let position = this.#end / width;
    let reached = level;
    // A right child whose left sibling lies in the range joins with it. The sibling is then the top of the stack; where
    // the range begins inside the sibling, the top has a lower level.
    while (top > 0 && position % 2 === 1 && this.#levels[top - 1] === reached) {
      top--;
      hashPair(this.#words, top * 8, this.#bytes, top * TREE_HASH_BYTES);
      position = (position - 1) / 2;
      reached++;
    }
    this.#levels[top] = reached;
    this.#depth = top + 1;
    this.#end += width;
  }

  /** Adds the leaves of the range that starts where this one ends; `RangeError` otherwise. `next` stays as it is. */
  merge(next: CompactRange): void {
    if (next.begin !== this.#end) {
      throw new RangeError(`merge: expected a range that begins at ${this.#end}, got ${next.begin}`);
    }
    if (next === this) return;
    for (let i = 0; i < next.#depth; i++) {
      this.appendSubtree(
        next.#levels[i] as number,
        next.#bytes.subarray(i * TREE_HASH_BYTES, (i + 1) * TREE_HASH_BYTES),
      );
    }
  }

  /**
   * Merkle tree hash of the leaves covered: the root, for a range that begins at 0. `RangeError` for a range that is
   * no subtree (`isSubtree`), because the tree then has no such hash.
   */
  root(): Uint8Array {
    if (!isSubtree(this.begin, this.#end)) {
      throw new RangeError(`root: the leaves ${this.begin} to ${this.#end} are not a subtree`);
    }
    if (this.#depth === 0) return EMPTY_ROOT.slice();
    let root: Uint8Array = this.#bytes.slice((this.#depth - 1) * TREE_HASH_BYTES, this.#depth * TREE_HASH_BYTES);
    for (let i = this.#depth - 2; i >= 0; i--) {
      root = hashNode(this.#bytes.subarray(i * TREE_HASH_BYTES, (i + 1) * TREE_HASH_BYTES), root);
    }
    return root;
  }

  /** An independent copy. */
  clone(): CompactRange {
    const copy = new CompactRange(this.begin);
    copy.#end = this.#end;
    copy.#depth = this.#depth;
    copy.#reserve(this.#depth);
    copy.#bytes.set(this.#bytes.subarray(0, this.#depth * TREE_HASH_BYTES));
    copy.#levels.set(this.#levels);
    return copy;
  }

  #reserve(nodes: number): void {
    if (nodes * 8 <= this.#words.length) return;
    const words = new Uint32Array(16 * nodes);
    words.set(this.#words);
    this.#words = words;
    this.#bytes = new Uint8Array(words.buffer);
  }
}

/** An empty range that begins at leaf `begin`. */
export function createRange(begin = 0): CompactRange {
  return new CompactRange(begin);
}

/**
 * The range of which `begin`, `end` and `hashes` were written down, on another thread for instance. `RangeError` unless
 * there are as many hashes of 32 bytes as that range has subtrees. The hashes themselves cannot be checked here.
 */
export function restoreRange(saved: {
  readonly begin: number;
  readonly end: number;
  readonly hashes: readonly Uint8Array[];
}): CompactRange {
  const levels = subtreeLevels(saved.begin, saved.end);
  if (levels.length !== saved.hashes.length) {
    throw new RangeError(`restoreRange: expected ${levels.length} hashes, got ${saved.hashes.length}`);
  }
  const range = new CompactRange(saved.begin);
  for (const [i, level] of levels.entries()) range.appendSubtree(level, saved.hashes[i] as Uint8Array);
  return range;
}

/** Levels of the largest whole subtrees that tile `begin ≤ index < end`, left to right: the shape of a compact range. */
export function subtreeLevels(begin: number, end: number): number[] {
  assertSize(begin, "begin");
  assertSize(end, "end");
  if (begin > end) throw new RangeError(`expected begin ≤ end, got ${begin} and ${end}`);
  const levels: number[] = [];
  for (let at = begin; at < end; ) {
    let level = 0;
    let width = 1;
    while (at % (2 * width) === 0 && at + 2 * width <= end) {
      width *= 2;
      level++;
    }
    levels.push(level);
    at += width;
  }
  return levels;
}

/** Largest power of two below `size` (≥ 2): where a tree of that size splits. RFC 9162 §2.1.1. */
export function splitPoint(size: number): number {
  let split = 1;
  while (2 * split < size) split *= 2;
  return split;
}

/**
 * Whether `start ≤ index < end` is a subtree: it starts at 0, is empty, or its start is a multiple of the power of two
 * that its length rounds up to. draft-ietf-plants-merkle-tree-certs.
 */
export function isSubtree(start: number, end: number): boolean {
  if (!Number.isSafeInteger(start) || !Number.isSafeInteger(end) || start < 0 || end < start) return false;
  if (start === 0 || start === end) return true;
  let width = 1;
  while (width < end - start) width *= 2;
  return start % width === 0;
}

/**
 * Two adjacent subtrees that cover `start ≤ index < end` most tightly: the first may reach further left, the second
 * ends at `end` and is empty where the first is enough. `RangeError` for start > end.
 * draft-ietf-plants-merkle-tree-certs.
 */
export function coveringSubtrees(
  start: number,
  end: number,
): readonly [readonly [number, number], readonly [number, number]] {
  assertSize(start, "start");
  assertSize(end, "end");
  if (start > end) throw new RangeError(`expected start ≤ end, got ${start} and ${end}`);
  if (end - start <= 1) {
    return [
      [start, end],
      [end, end],
    ];
  }
  // The highest bit in which the first and the last index differ says where the smallest common ancestor splits.
  let width = 1;
  while (Math.floor(start / (2 * width)) !== Math.floor((end - 1) / (2 * width))) width *= 2;
  const middle = end - 1 - ((end - 1) % width);
  let left = 1;
  while (left < middle - start) left *= 2;
  return [
    [middle - left, middle],
    [middle, end],
  ];
}

function assertHash(hash: Uint8Array, what: string): void {
  if (hash.length !== TREE_HASH_BYTES) throw new RangeError(`${what}: expected a hash of 32 bytes, got ${hash.length}`);
}

function assertSize(value: number, what: string): void {
  if (!Number.isSafeInteger(value) || value < 0)
    throw new RangeError(`${what}: expected an integer of 0..2^53-1, got ${value}`);
}
