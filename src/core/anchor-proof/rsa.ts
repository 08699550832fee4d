import { sha384, sha512 } from "@noble/hashes/sha2.js";
import { bytesEqual, concatBytes, decodeHex } from "../encoding.ts";
import { sha256 } from "../hash.ts";
import { integerOf, modPow, type RsaNumbers } from "../signature/public-key.ts";

/** The hashes that signatures of tokens and certificates may use. SHA-1 is not among them. */
export type SignatureHash = "sha256" | "sha384" | "sha512";

export const HASH_FUNCTIONS: Readonly<Record<SignatureHash, (data: Uint8Array) => Uint8Array>> = {
  sha256,
  sha384,
  sha512,
};

/** DER of DigestInfo up to the digest. RFC 8017 §9.2, note 1. */
const DIGEST_INFO: Readonly<Record<SignatureHash, Uint8Array>> = {
  sha256: decodeHex("3031300d060960864801650304020105000420", { code: "malformed-proof" }),
  sha384: decodeHex("3041300d060960864801650304020205000430", { code: "malformed-proof" }),
  sha512: decodeHex("3051300d060960864801650304020305000440", { code: "malformed-proof" }),
};

/** RSASSA-PKCS1-v1_5: the whole encoded message is rebuilt and compared, so that nothing hides in the padding. RFC 8017 §8.2.2. */
export function verifyRsaPkcs1(
  key: RsaNumbers,
  hash: SignatureHash,
  message: Uint8Array,
  signature: Uint8Array,
): boolean {
  const encoded = openSignature(key, signature, Math.ceil(key.modulusBits / 8));
  if (encoded === null) return false;
  const digestInfo = concatBytes(DIGEST_INFO[hash], HASH_FUNCTIONS[hash](message));
  const padding = new Uint8Array(encoded.length - digestInfo.length - 3).fill(0xff);
  return bytesEqual(encoded, concatBytes(Uint8Array.of(0, 1), padding, Uint8Array.of(0), digestInfo));
}

/** RSASSA-PSS with MGF1 over the same hash and a salt of the stated size. RFC 8017 §8.1.2 and §9.1.2. */
export function verifyRsaPss(
  key: RsaNumbers,
  { hash, saltBytes }: { readonly hash: SignatureHash; readonly saltBytes: number },
  message: Uint8Array,
  signature: Uint8Array,
): boolean {
  const digest = HASH_FUNCTIONS[hash];
  const encodedBits = key.modulusBits - 1;
  const encoded = openSignature(key, signature, Math.ceil(encodedBits / 8));
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
function openSignature(key: RsaNumbers, signature: Uint8Array, sizeBytes: number): Uint8Array | null {
  if (signature.length !== Math.ceil(key.modulusBits / 8)) return null;
  const value = integerOf(signature);
  if (value >= key.modulus) return null;
  const hex = modPow(value, key.exponent, key.modulus).toString(16);
  if (hex.length > 2 * sizeBytes) return null;
  return decodeHex(hex.padStart(2 * sizeBytes, "0"), { code: "malformed-proof" });
}
