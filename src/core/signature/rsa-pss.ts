import { bytesEqual, concatBytes, decodeHex } from "../encoding.ts";
import { integerOf, modPow, type RsaNumbers } from "./public-key.ts";

/**
 * RSASSA-PSS verification with MGF1 over the same hash and a salt of the stated size. RFC 8017 §8.1.2 and §9.1.2. Public values
 * only: it takes no care of timing.
 */
export function verifyRsaPss(
  key: RsaNumbers,
  { digest, saltBytes }: { readonly digest: (data: Uint8Array) => Uint8Array; readonly saltBytes: number },
  message: Uint8Array,
  signature: Uint8Array,
): boolean {
  const encodedBits = key.modulusBits - 1;
  const encoded = openRsaSignature(key, signature, Math.ceil(encodedBits / 8));
  if (encoded === null || encoded.at(-1) !== 0xbc) return false;
  const topMask = 0xff >> (8 * encoded.length - encodedBits);
  if ((encoded[0]! & ~topMask) !== 0) return false;

  // encoded = maskedDb ‖ hash ‖ 0xbc; db = zeros ‖ 0x01 ‖ salt.
  const messageHash = digest(message);
  const dbBytes = encoded.length - messageHash.length - 1;
  const saltStart = dbBytes - saltBytes;
  if (saltStart < 1) return false;
  const seed = encoded.subarray(dbBytes, dbBytes + messageHash.length);
  const db = new Uint8Array(dbBytes);
  for (let counter = 0, offset = 0; offset < dbBytes; counter++, offset += messageHash.length) {
    // At most 32 blocks for 8,192 bits, so the counter fits its last byte.
    const block = digest(concatBytes(seed, Uint8Array.of(0, 0, 0, counter)));
    for (let i = 0; i < block.length && offset + i < dbBytes; i++) db[offset + i] = block[i]! ^ encoded[offset + i]!;
  }
  db[0]! &= topMask;
  for (let i = 0; i < saltStart - 1; i++) if (db[i] !== 0) return false;
  if (db[saltStart - 1] !== 1) return false;
  return bytesEqual(seed, digest(concatBytes(new Uint8Array(8), messageHash, db.subarray(saltStart))));
}

/** signature^e mod n as `sizeBytes` bytes; null for a signature of another width, not below n, or a result that is wider. */
export function openRsaSignature(key: RsaNumbers, signature: Uint8Array, sizeBytes: number): Uint8Array | null {
  if (signature.length !== Math.ceil(key.modulusBits / 8)) return null;
  const value = integerOf(signature);
  if (value >= key.modulus) return null;
  const hex = modPow(value, key.exponent, key.modulus).toString(16);
  if (hex.length > 2 * sizeBytes) return null;
  return decodeHex(hex.padStart(2 * sizeBytes, "0"), { code: "malformed-key" });
}
