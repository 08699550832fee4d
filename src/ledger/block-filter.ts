import { type Event, eachTerm, type TermVisitor } from "../core/event.ts";
import type { EventOutline } from "../core/event-outline.ts";
import { TILE_WIDTH } from "../core/limits.ts";

/**
 * Membership filter (Bloom, 1970) over the searchable terms of one full block of 256 entries: the only index that
 * queries need, and one row a block instead of one an entry. Derived data: verification recomputes it, `reindex` rebuilds it.
 * 2,048 bytes with 5 probes: 256 entries of 10 distinct terms each give about 5 % false positives, which cost a scan.
 */
export const FILTER_BLOCK_ENTRIES: number = TILE_WIDTH;
export const FILTER_BYTES = 2_048;
const FILTER_BITS = FILTER_BYTES * 8;
const PROBES = 5;

const BIT_MASK = FILTER_BITS - 1;

/** Builds the filter of a block, event by event. */
export class FilterBuilder {
  private bits: Uint8Array = new Uint8Array(FILTER_BYTES);
  private readonly visit: TermVisitor = (kind, value) => {
    hashTerm(kind, value);
    this.setBits();
  };

  add(event: Partial<Event>): void {
    eachTerm(event, this.visit);
  }

  /** `add` of an event of which only the bytes and their outline are there. */
  addOutline(body: Uint8Array, { terms, termKinds, termStarts, termEnds }: EventOutline): void {
    for (let i = 0; i < terms; i++) {
      hashTermBytes(termKinds[i]!, body, termStarts[i]!, termEnds[i]!);
      this.setBits();
    }
  }

  private setBits(): void {
    const { bits } = this;
    for (let i = 0, hash = first; i < PROBES; i++, hash = (hash + second) | 0) {
      const bit = hash & BIT_MASK;
      bits[bit >>> 3] = bits[bit >>> 3]! | (1 << (bit & 7));
    }
  }

  /** The filter of everything added since the last call. */
  take(): Uint8Array {
    const { bits } = this;
    this.bits = new Uint8Array(FILTER_BYTES);
    return bits;
  }
}

/** False only if no entry of the block carries the term. */
export function mayContain(filter: Uint8Array, term: string): boolean {
  hashTerm("", term);
  for (let i = 0, hash = first; i < PROBES; i++, hash = (hash + second) | 0) {
    const bit = hash & BIT_MASK;
    if ((filter[bit >>> 3]! & (1 << (bit & 7))) === 0) return false;
  }
  return true;
}

// Results of hashTerm: two numbers, handed over without an object because this runs for every term of every entry.
let first = 0;
let second = 0;

/** Hash of what a term begins with, which is one of a few kinds. */
interface KindHash {
  readonly first: number;
  readonly second: number;
}

const KINDS_MAX = 64;
const kinds = new Map<string, KindHash>();

function hashKind(kind: string): KindHash {
  let known = kinds.get(kind);
  if (known === undefined) {
    first = 0x811c9dc5;
    second = 0x9747b28c;
    feed(kind);
    known = { first, second };
    if (kinds.size < KINDS_MAX) kinds.set(kind, known);
  }
  return known;
}

/** Double hashing (Kirsch and Mitzenmacher, 2006) over two 32-bit FNV-1a hashes of the UTF-16 code units of the joined term. */
function hashTerm(kind: string, value: string): void {
  const begun = hashKind(kind);
  first = begun.first;
  second = begun.second;
  feed(value);
  finish(first, second);
}

/** `hashTerm` of ASCII text, of which each byte is a unit. */
function hashTermBytes(kind: string, bytes: Uint8Array, start: number, end: number): void {
  const begun = hashKind(kind);
  let a = begun.first;
  let b = begun.second;
  for (let i = start; i < end; i++) {
    const unit = bytes[i]!;
    a = Math.imul(a ^ unit, 0x01000193);
    b = Math.imul(b ^ unit, 0x85ebca6b);
  }
  finish(a, b);
}

function finish(a: number, b: number): void {
  first = a ^ (a >>> 15);
  second = (b ^ (b >>> 13)) | 1;
}

function feed(text: string): void {
  let a = first;
  let b = second;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    a = Math.imul(a ^ unit, 0x01000193);
    b = Math.imul(b ^ unit, 0x85ebca6b);
  }
  first = a;
  second = b;
}
