import { SALT_BYTES } from "../core/limits.ts";
import type { Random } from "./random.ts";

/** Salts cut from one random block: a call to the generator per 512 salts instead of one per entry. */
export class SaltPool {
  private readonly random: Random;
  private block = new Uint8Array(0);
  private used = 0;

  constructor(random: Random) {
    this.random = random;
  }

  /** `count` salts as one array of 16 × count bytes, never handed out twice. */
  take(count: number): Uint8Array {
    const size = count * SALT_BYTES;
    if (this.block.length - this.used < size) {
      this.block = new Uint8Array(Math.max(8_192, size));
      this.random.fill(this.block);
      this.used = 0;
    }
    const salts = this.block.subarray(this.used, this.used + size);
    this.used += size;
    return salts;
  }
}
