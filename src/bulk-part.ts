import type { Scheme } from "./core/entry.ts";
import { HASH_BYTES, type HashName, readText, writeText } from "./core/hash.ts";
import { SALT_BYTES } from "./core/limits.ts";
import type { Submission } from "./ledger/submission.ts";

/** A part is handed over when it has so many submissions, or no room for the next. */
export const PART_ENTRIES = 50;
const DATA_BYTES = 32 * 1024;

/** Where in the head stands what. */
const ENTRIES = 0;
const FLAGS = 1;
const HASH = 2;
const SIZES = 3;
/** Bytes of the body, bytes of the salts, and the scheme. */
const SIZES_EACH = 3;
const HEAD_BYTES = 4 * (SIZES + SIZES_EACH * PART_ENTRIES);
/** Of submissions with one salt, which most have: they stand in the same places in all parts. */
const SALTS_BYTES = PART_ENTRIES * SALT_BYTES;
/** Digests of the commitments, in hex, of the longest hash. */
const DIGESTS_AT = HEAD_BYTES + SALTS_BYTES;
const DIGEST_UNITS_MAX = 128;
/** Leaf hashes, in hex. */
const LEAVES_AT = DIGESTS_AT + PART_ENTRIES * DIGEST_UNITS_MAX;
const LEAF_UNITS = 64;
const DATA_AT = LEAVES_AT + PART_ENTRIES * LEAF_UNITS;

const LAST = 1;
const ABANDONED = 2;

/** By number. One ledger has one hash. */
const HASHES = Object.keys(HASH_BYTES) as HashName[];

/** Schemes of submissions that are handed over, by number. */
const SCHEMES: readonly Scheme[] = ["event", "fields"];

/** What a reader is told of one submission. Its bytes are those of the part, which is written over later. */
export interface PartEntry {
  readonly scheme: Scheme;
  readonly body: Uint8Array;
  readonly salts: Uint8Array;
  /** Digest of its commitment, as hex digits. */
  readonly digest: Uint8Array;
}

/**
 * Submissions in memory that two threads share. It has no lock: one writes it, tells the other that it is whole, and does not write it again
 * until the other has answered.
 */
export class BulkPart {
  readonly buffer: SharedArrayBuffer;
  /** What the offsets refer to. */
  readonly bytes: Uint8Array;
  private readonly head: Int32Array;
  private end = DATA_AT;
  private readonly saltViews = new Views();
  private readonly digestViews = new Views();

  constructor(buffer: SharedArrayBuffer) {
    this.buffer = buffer;
    this.bytes = Buffer.from(buffer);
    this.head = new Int32Array(buffer, 0, HEAD_BYTES / 4);
  }

  static create(): BulkPart {
    return new BulkPart(new SharedArrayBuffer(DATA_AT + DATA_BYTES));
  }

  get entries(): number {
    return this.head[ENTRIES]!;
  }

  /** Hash of its commitments. */
  get hash(): HashName {
    return HASHES[this.head[HASH]!]!;
  }

  get isLast(): boolean {
    return (this.head[FLAGS]! & LAST) !== 0;
  }

  /** With the last part: nothing of the commit is wanted. */
  get isAbandoned(): boolean {
    return (this.head[FLAGS]! & ABANDONED) !== 0;
  }

  clear(): void {
    this.head[ENTRIES] = 0;
    this.head[FLAGS] = 0;
    this.end = DATA_AT;
  }

  fits(submission: Submission): boolean {
    return this.entries < PART_ENTRIES && this.end + sizeOf(submission) <= this.bytes.length;
  }

  /** Moves the content of a submission here; it must fit. */
  write(submission: Submission): void {
    const { head, bytes, end } = this;
    const { sizeBytes, saltsSize, scheme, hash } = submission;
    const i = head[ENTRIES]!;
    const afterBody = end + sizeBytes;
    const hasOneSalt = saltsSize === SALT_BYTES;
    submission.moveTo(bytes, {
      salts: hasOneSalt ? HEAD_BYTES + i * SALT_BYTES : afterBody,
      body: end,
      digest: DIGESTS_AT + i * DIGEST_UNITS_MAX,
    });
    const at = SIZES + SIZES_EACH * i;
    head[at] = sizeBytes;
    head[at + 1] = saltsSize;
    head[at + 2] = SCHEMES.indexOf(scheme);
    if (i === 0) head[HASH] = HASHES.indexOf(hash);
    head[ENTRIES] = i + 1;
    this.end = hasOneSalt ? afterBody : afterBody + saltsSize;
  }

  close({ isLast = false, isAbandoned = false }: { readonly isLast?: boolean; readonly isAbandoned?: boolean }): void {
    this.head[FLAGS] = (isLast ? LAST : 0) | (isAbandoned ? ABANDONED : 0);
  }

  /** Visits its submissions in order. */
  read(visit: (entry: PartEntry) => void): void {
    const { head, bytes } = this;
    const digestUnits = 2 * HASH_BYTES[this.hash];
    let bodyAt = DATA_AT;
    for (let i = 0; i < head[ENTRIES]!; i++) {
      const at = SIZES + SIZES_EACH * i;
      const afterBody = bodyAt + head[at]!;
      const saltsSize = head[at + 1]!;
      const hasOneSalt = saltsSize === SALT_BYTES;
      const salts = hasOneSalt
        ? this.saltViews.at(i, bytes, HEAD_BYTES + i * SALT_BYTES, SALT_BYTES)
        : bytes.subarray(afterBody, afterBody + saltsSize);
      const body = bytes.subarray(bodyAt, afterBody);
      const digest = this.digestViews.at(i, bytes, DIGESTS_AT + i * DIGEST_UNITS_MAX, digestUnits);
      bodyAt = hasOneSalt ? afterBody : afterBody + saltsSize;
      visit({ scheme: SCHEMES[head[at + 2]!]!, body, salts, digest });
    }
  }

  /** For the one who wrote the submissions: hex leaf hash of the `i`th. */
  writeLeafHash(i: number, hex: string): void {
    writeText(this.bytes, hex, LEAVES_AT + i * LEAF_UNITS, true);
  }

  /** What the other one wrote. */
  readLeafHash(i: number): string {
    const at = LEAVES_AT + i * LEAF_UNITS;
    return readText(this.bytes, at, at + LEAF_UNITS, true);
  }
}

/** Views of the same places, made once: making one takes longer than reading it. */
class Views {
  private readonly views: (Uint8Array | undefined)[] = [];

  at(i: number, bytes: Uint8Array, offset: number, size: number): Uint8Array {
    let view = this.views[i];
    if (view?.length !== size) {
      view = bytes.subarray(offset, offset + size);
      this.views[i] = view;
    }
    return view;
  }
}

function sizeOf({ sizeBytes, saltsSize }: Submission): number {
  return sizeBytes + saltsSize;
}
