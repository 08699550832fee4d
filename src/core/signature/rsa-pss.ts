import { bytesEqual, concatBytes } from "../encoding.ts";
import { sha256 } from "../hash.ts";
import { integerOf, modPow, type RsaNumbers } from "./public-key.ts";

const HASH_BYTES = 32;
const SALT_BYTES = 32;

/**
 * RSASSA-PSS verification with SHA-256, MGF1-SHA-256 and a 32-byte salt, for a `signature` that is as wide as the modulus
 * and smaller than it. RFC 8017 §8.1.2 and §9.1.2. Public values only: it takes no care of timing.
 */
export function verifyRsaPss(key: RsaNumbers, message: Uint8Array, signature: Uint8Array): boolean {
  const encodedBits = key.modulusBits - 1;
  const encodedBytes = Math.ceil(encodedBits / 8);
  const encodedInteger = modPow(integerOf(signature), key.exponent, key.modulus);
  if (encodedInteger >> BigInt(8 * encodedBytes) !== 0n) return false;
  const encoded = bytesOf(encodedInteger, encodedBytes);

  // encoded = maskedDb ‖ hash ‖ 0xbc; db = zeros ‖ 0x01 ‖ salt.
  if (encoded[encodedBytes - 1] !== 0xbc) return false;
  const dbBytes = encodedBytes - HASH_BYTES - 1;
  const hash = encoded.subarray(dbBytes, dbBytes + HASH_BYTES);
  const topMask = 0xff >> (8 * encodedBytes - encodedBits);
  if ((encoded[0]! & ~topMask) !== 0) return false;
  const db = maskGeneration(hash, dbBytes);
  for (let i = 0; i < dbBytes; i++) db[i]! ^= encoded[i]!;
  db[0]! &= topMask;
  const saltStart = dbBytes - SALT_BYTES;
  for (let i = 0; i < saltStart - 1; i++) if (db[i] !== 0) return false;
  if (db[saltStart - 1] !== 1) return false;
  return bytesEqual(hash, sha256(concatBytes(new Uint8Array(8), sha256(message), db.subarray(saltStart))));
}

/** MGF1 with SHA-256. RFC 8017 B.2.1. */
function maskGeneration(seed: Uint8Array, sizeBytes: number): Uint8Array {
  const mask = new Uint8Array(sizeBytes);
  for (let counter = 0, offset = 0; offset < sizeBytes; counter++, offset += HASH_BYTES) {
    // At most 32 blocks for 8,192 bits, so the counter fits its last byte.
    const block = sha256(concatBytes(seed, Uint8Array.of(0, 0, 0, counter)));
    mask.set(block.subarray(0, Math.min(HASH_BYTES, sizeBytes - offset)), offset);
  }
  return mask;
}

function bytesOf(value: bigint, sizeBytes: number): Uint8Array {
  const hex = value.toString(16).padStart(2 * sizeBytes, "0");
  return Uint8Array.from({ length: sizeBytes }, (_, i) => Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16));
}
