import { encodeUtf8 } from "../core/encoding.ts";
import { sha256 } from "../core/hash.ts";
import type { Random } from "./random.ts";

/** Deterministic stand-in for `Random`: SHA-256 in counter mode over a seed. For tests and golden files, never for real salts. */
export function seededRandom(seed: string): Random {
  let counter = 0;
  let block = new Uint8Array(0);
  let used = 0;
  return {
    fill(bytes) {
      for (let i = 0; i < bytes.length; i++) {
        if (used === block.length) {
          block = new Uint8Array(sha256(encodeUtf8(`tallystick/v1/seeded-random\n${seed}\n${counter}`)));
          counter += 1;
          used = 0;
        }
        bytes[i] = block[used]!;
        used += 1;
      }
      return bytes;
    },
  };
}

/** A clock that starts at a fixed time and gains one millisecond at every look; its timers never fire by themselves. */
export function seededClock(startMs: number): {
  now(): number;
  monotonic(): number;
  after(delayMs: number, run: () => void): () => void;
} {
  let ticks = 0;
  return {
    now: () => startMs + ticks++,
    monotonic: () => ticks,
    after: () => () => {},
  };
}
