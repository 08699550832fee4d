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

/** Filter over all terms of the block's entries. */
export function buildFilter(terms: Iterable<string>): Uint8Array {
  const bits = new Uint8Array(FILTER_BYTES);
  for (const term of terms) {
    for (const bit of probes(term)) bits[bit >>> 3] = bits[bit >>> 3]! | (1 << (bit & 7));
  }
  return bits;
}

/** False only if no entry of the block carries the term. */
export function mayContain(filter: Uint8Array, term: string): boolean {
  return probes(term).every((bit) => (filter[bit >>> 3]! & (1 << (bit & 7))) !== 0);
}

/** Double hashing (Kirsch and Mitzenmacher, 2006) over two 32-bit FNV-1a hashes of the UTF-16 code units. */
function probes(term: string): number[] {
  let h1 = 0x811c9dc5;
  let h2 = 0x9747b28c;
  for (let i = 0; i < term.length; i++) {
    const unit = term.charCodeAt(i);
    h1 = Math.imul(h1 ^ unit, 0x01000193);
    h2 = Math.imul(h2 ^ unit, 0x85ebca6b);
  }
  h1 ^= h1 >>> 15;
  h2 = (h2 ^ (h2 >>> 13)) | 1;
  return Array.from({ length: PROBES }, (_, i) => ((h1 + Math.imul(i, h2)) >>> 0) % FILTER_BITS);
}
