import { hexDigit } from "./core/encoding.ts";
import { ENTRY_BYTES_MAX } from "./core/entry-layout.ts";
import { writeText } from "./core/hash.ts";
import { SALT_BYTES } from "./core/limits.ts";
import type { Submission } from "./ledger/submission.ts";

/** A part is handed over when it has so many submissions, or no room for the next. */
export const PART_ENTRIES = 50;
const DATA_BYTES = 32 * 1024;

/** Where in the head stands what. */
const ENTRIES = 0;
const FLAGS = 1;
const SIZES = 2;
/** Bytes of the entry, of the body and of the salts. */
const SIZES_EACH = 3;
const HEAD_BYTES = 4 * (SIZES + SIZES_EACH * PART_ENTRIES);
/** Of submissions with one salt, which most have: they stand in the same places in all parts, as all entries do. */
const SALTS_BYTES = PART_ENTRIES * SALT_BYTES;
const LEAVES_AT = HEAD_BYTES + SALTS_BYTES;
const LEAF_BYTES = 32;
/** As hex digits. */
const LEAF_UNITS = 2 * LEAF_BYTES;
const ENTRIES_AT = LEAVES_AT + PART_ENTRIES * LEAF_UNITS;
const DATA_AT = ENTRIES_AT + PART_ENTRIES * ENTRY_BYTES_MAX;

const LAST = 1;
const ABANDONED = 2;

/** The entry of a submission, with its hash. */
export interface LinkedEntry {
  /** Its text, as bytes that may be written over. */
  readonly entry: Uint8Array;
  /** Where in it the digits of the commitment begin. */
  readonly digestAt: number;
  /** Hex. */
  readonly leafHash: string;
}

/** What a reader is told of one submission. Its bytes are those of the part, which is written over later. */
export interface PartEntry {
  readonly entry: Uint8Array;
  readonly body: Uint8Array;
  readonly salts: Uint8Array;
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
  private readonly entryViews = new Views();
  private readonly saltViews = new Views();

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

  /** Moves the content of a submission here, and copies its entry; it must fit. */
  write(submission: Submission, { entry, digestAt, leafHash }: LinkedEntry): void {
    const { head, bytes, end } = this;
    const { sizeBytes, saltsSize } = submission;
    const i = head[ENTRIES]!;
    const entryAt = ENTRIES_AT + i * ENTRY_BYTES_MAX;
    const afterBody = end + sizeBytes;
    const hasOneSalt = saltsSize === SALT_BYTES;
    bytes.set(entry, entryAt);
    writeText(bytes, leafHash, LEAVES_AT + i * LEAF_UNITS, true);
    submission.moveTo(bytes, {
      salts: hasOneSalt ? HEAD_BYTES + i * SALT_BYTES : afterBody,
      body: end,
      digest: entryAt + digestAt,
    });
    const at = SIZES + SIZES_EACH * i;
    head[at] = entry.length;
    head[at + 1] = sizeBytes;
    head[at + 2] = saltsSize;
    head[ENTRIES] = i + 1;
    this.end = hasOneSalt ? afterBody : afterBody + saltsSize;
  }

  close({ isLast = false, isAbandoned = false }: { readonly isLast?: boolean; readonly isAbandoned?: boolean }): void {
    this.head[FLAGS] = (isLast ? LAST : 0) | (isAbandoned ? ABANDONED : 0);
  }

  /** Visits its submissions in order. */
  read(visit: (entry: PartEntry) => void): void {
    const { head, bytes } = this;
    let bodyAt = DATA_AT;
    for (let i = 0; i < head[ENTRIES]!; i++) {
      const at = SIZES + SIZES_EACH * i;
      const entry = this.entryViews.at(i, bytes, ENTRIES_AT + i * ENTRY_BYTES_MAX, head[at]!);
      const afterBody = bodyAt + head[at + 1]!;
      const saltsSize = head[at + 2]!;
      const hasOneSalt = saltsSize === SALT_BYTES;
      const salts = hasOneSalt
        ? this.saltViews.at(i, bytes, HEAD_BYTES + i * SALT_BYTES, SALT_BYTES)
        : bytes.subarray(afterBody, afterBody + saltsSize);
      const body = bytes.subarray(bodyAt, afterBody);
      bodyAt = hasOneSalt ? afterBody : afterBody + saltsSize;
      visit({ entry, body, salts });
    }
  }

  /** Leaf hashes of its entries, 32 bytes each. */
  leafHashes(): Uint8Array {
    const { bytes } = this;
    const hashes = new Uint8Array(this.entries * LEAF_BYTES);
    for (let i = 0; i < hashes.length; i++) {
      const at = LEAVES_AT + 2 * i;
      hashes[i] = (hexDigit(bytes[at]!) << 4) | hexDigit(bytes[at + 1]!);
    }
    return hashes;
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
