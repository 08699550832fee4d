import { sha384, sha512 } from "@noble/hashes/sha2.js";
import { bytesEqual, concatBytes, decodeHex } from "../encoding.ts";
import { sha256 } from "../hash.ts";
import type { RsaNumbers } from "../signature/public-key.ts";
import { openRsaSignature } from "../signature/rsa-pss.ts";

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
  const encoded = openRsaSignature(key, signature, Math.ceil(key.modulusBits / 8));
  if (encoded === null) return false;
  const digestInfo = concatBytes(DIGEST_INFO[hash], HASH_FUNCTIONS[hash](message));
  const padding = new Uint8Array(encoded.length - digestInfo.length - 3).fill(0xff);
  return bytesEqual(encoded, concatBytes(Uint8Array.of(0, 1), padding, Uint8Array.of(0), digestInfo));
}
