import { ed25519 } from "@noble/curves/ed25519.js";
import { p256, p384 } from "@noble/curves/nist.js";
import { secp256k1 } from "@noble/curves/secp256k1.js";
import { ml_dsa44, ml_dsa65, ml_dsa87 } from "@noble/post-quantum/ml-dsa.js";
import { bytesEqual, concatBytes } from "../encoding.ts";
import { hashBytes, sha256 } from "../hash.ts";
import { type Algorithm, ED25519_ORDER, integerOfLittleEndian, type PublicKey } from "./public-key.ts";
import { verifyRsaPss } from "./rsa-pss.ts";

type Check = (key: PublicKey, message: Uint8Array, signature: Uint8Array) => boolean | Promise<boolean>;

/** Source: spec/keys.md. */
const RSA_PSS = { digest: sha256, saltBytes: 32 };

// The rows of table.ts have refused high s already; noble hashes the message itself (SHA-256, P-384: SHA-384).
const CHECKS: Readonly<Record<Algorithm, Check>> = {
  ed25519: verifyEd25519Portably,
  "ecdsa-p256": (key, message, signature) => p256.verify(signature, message, key.raw),
  "ecdsa-p384": (key, message, signature) => p384.verify(signature, message, key.raw),
  "ecdsa-secp256k1": (key, message, signature) => secp256k1.verify(signature, message, key.raw),
  "rsa-pss": (key, message, signature) => verifyRsaPss(key.rsa!, RSA_PSS, message, signature),
  "ml-dsa-44": (key, message, signature) => ml_dsa44.verify(signature, message, key.raw),
  "ml-dsa-65": (key, message, signature) => ml_dsa65.verify(signature, message, key.raw),
  "ml-dsa-87": (key, message, signature) => ml_dsa87.verify(signature, message, key.raw),
};

/**
 * Portable variant, free of `node:`: arithmetic alone, so that no browser's own taste (cofactors, key sizes, secp256k1)
 * changes what verifies.
 */
export function verifyOnPlatform(
  key: PublicKey,
  message: Uint8Array,
  signature: Uint8Array,
): boolean | Promise<boolean> {
  return CHECKS[key.algorithm](key, message, signature);
}

/**
 * encode([S]B − [k]A) = R, compared as bytes, as OpenSSL, BoringSSL and Go do. noble's own `verify` multiplies by the
 * cofactor and would accept signatures that those refuse.
 */
function verifyEd25519Portably(key: PublicKey, message: Uint8Array, signature: Uint8Array): boolean {
  const r = signature.subarray(0, 32);
  const s = integerOfLittleEndian(signature.subarray(32));
  const k = integerOfLittleEndian(hashBytes("sha512", concatBytes(r, key.raw, message))) % ED25519_ORDER;
  const { Point } = ed25519;
  const expected = Point.BASE.multiplyUnsafe(s).add(Point.fromBytes(key.raw).negate().multiplyUnsafe(k));
  return bytesEqual(expected.toBytes(), r);
}
