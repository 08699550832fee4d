import { encodeUtf8 } from "./encoding.ts";
import { sha256 } from "./hash.ts";

/** Words of 32 bits kept of each digest. */
const WORDS = 4;
const SLOTS_MIN = 1024;

/**
 * A set of ids in about 30 bytes each, whatever their length: the first 128 bits of their SHA-256. Two ids that collide there
 * would be taken for one, and finding such a pair costs 2^64 hashes.
 */
export class IdSet {
  private slots: Uint32Array = new Uint32Array(SLOTS_MIN * WORDS);
  private filled = 0;

  /** False if the id was there. */
  add(id: string): boolean {
    const digest = sha256(encodeUtf8(id));
    const view = new DataView(digest.buffer, digest.byteOffset, WORDS * 4);
    // An empty slot begins with 0, so no key does.
    const key = [view.getUint32(0) | 1, view.getUint32(4), view.getUint32(8), view.getUint32(12)] as const;
    if ((this.filled + 1) * 3 > (this.slots.length / WORDS) * 2) this.grow();
    return this.put(key[0] >>> 0, key[1], key[2], key[3]);
  }

  private put(a: number, b: number, c: number, d: number): boolean {
    const { slots } = this;
    const mask = slots.length / WORDS - 1;
    for (let slot = b & mask; ; slot = (slot + 1) & mask) {
      const at = slot * WORDS;
      if (slots[at] === 0) {
        slots[at] = a;
        slots[at + 1] = b;
        slots[at + 2] = c;
        slots[at + 3] = d;
        this.filled += 1;
        return true;
      }
      if (slots[at] === a && slots[at + 1] === b && slots[at + 2] === c && slots[at + 3] === d) return false;
    }
  }

  private grow(): void {
    const old = this.slots;
    this.slots = new Uint32Array(old.length * 2);
    this.filled = 0;
    for (let at = 0; at < old.length; at += WORDS) {
      if (old[at] !== 0) this.put(old[at]!, old[at + 1]!, old[at + 2]!, old[at + 3]!);
    }
  }
}
