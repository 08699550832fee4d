import type { SaltSource } from "../core/commitment.ts";
import { SALT_BYTES } from "../core/limits.ts";
import type { Random } from "./random.ts";

/** Salts cut from one random block: a call to the generator per 512 salts instead of one per entry. */
export class SaltPool implements SaltSource {
  private readonly random: Random;
  private block = new Uint8Array(0);
  private used = 0;

  constructor(random: Random) {
    this.random = random;
  }

  /** `count` salts as one array of 16 × count bytes, never handed out twice. */
  take(count: number): Uint8Array {
    const size = count * SALT_BYTES;
    this.reserve(size);
    const salts = this.block.subarray(this.used, this.used + size);
    this.used += size;
    return salts;
  }

  /** Writes one salt at `target[offset]`. */
  write(target: Uint8Array, offset: number): void {
    this.reserve(SALT_BYTES);
    const { block, used } = this;
    for (let i = 0; i < SALT_BYTES; i++) target[offset + i] = block[used + i]!;
    this.used = used + SALT_BYTES;
  }

  private reserve(size: number): void {
    if (this.block.length - this.used >= size) return;
    this.block = new Uint8Array(Math.max(8_192, size));
    this.random.fill(this.block);
    this.used = 0;
  }
}
