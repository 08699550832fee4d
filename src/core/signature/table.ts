import { verifyOnPlatform } from "#signature-platform";
import { encodeHex } from "../encoding.ts";
import { MalformedError } from "../errors.ts";
import { sha256Hex } from "../hash.ts";
import {
  type Algorithm,
  CURVE_ORDER,
  type EcdsaAlgorithm,
  ED25519_ORDER,
  formatSpki,
  integerOf,
  integerOfLittleEndian,
  isAlgorithm,
  type PublicKey,
  parseSpki,
} from "./public-key.ts";

export { ALGORITHM_NAMES, type Algorithm, isAlgorithm } from "./public-key.ts";

/**
 * The signature algorithms of the formats, one row each. What a row decides here, in plain arithmetic, is decided
 * alike on every platform; the platform only answers the signature equation. Spec: spec/keys.md.
 */
export interface AlgorithmRow {
  readonly name: Algorithm;
  /** Size of every signature under this key. */
  signatureBytes(key: PublicKey): number;
  /** False for a signature of the right size that is refused whatever the message: malleable or out of range. */
  isInRange(key: PublicKey, signature: Uint8Array): boolean;
}

/** Row of each algorithm. */
export const ALGORITHMS: Readonly<Record<Algorithm, AlgorithmRow>> = {
  ed25519: { name: "ed25519", signatureBytes: () => 64, isInRange: isEd25519InRange },
  "ecdsa-p256": { name: "ecdsa-p256", signatureBytes: () => 64, isInRange: isEcdsaInRange },
  "ecdsa-p384": { name: "ecdsa-p384", signatureBytes: () => 96, isInRange: isEcdsaInRange },
  "ecdsa-secp256k1": { name: "ecdsa-secp256k1", signatureBytes: () => 64, isInRange: isEcdsaInRange },
  "rsa-pss": {
    name: "rsa-pss",
    signatureBytes: (key) => Math.ceil(key.rsa!.modulusBits / 8),
    isInRange: (key, signature) => integerOf(signature) < key.rsa!.modulus,
  },
  "ml-dsa-44": { name: "ml-dsa-44", signatureBytes: () => 2420, isInRange: () => true },
  "ml-dsa-65": { name: "ml-dsa-65", signatureBytes: () => 3309, isInRange: () => true },
  "ml-dsa-87": { name: "ml-dsa-87", signatureBytes: () => 4627, isInRange: () => true },
};

/** S < L: with S + L a second signature of the same message would verify. RFC 8032 §5.1.7. */
function isEd25519InRange(_key: PublicKey, signature: Uint8Array): boolean {
  return integerOfLittleEndian(signature.subarray(32)) < ED25519_ORDER;
}

/** 1 ≤ r < n and 1 ≤ s ≤ n/2: with n − s a second signature of the same message would verify. */
function isEcdsaInRange(key: PublicKey, signature: Uint8Array): boolean {
  const order = CURVE_ORDER[key.algorithm as EcdsaAlgorithm];
  const width = signature.length / 2;
  const r = integerOf(signature.subarray(0, width));
  const s = integerOf(signature.subarray(width));
  return r >= 1n && r < order && s >= 1n && s <= order >> 1n;
}

/**
 * Whether `signature` is the algorithm's signature of `message` under the key in `spki` (DER, one encoding per
 * algorithm). All three are attacker-controlled. False for a wrong, malleable or wrongly sized signature; throws
 * `malformed-key` for a key that `checkSpki` refuses and for an unknown algorithm. Never throws anything else.
 */
export async function verifySignature(
  algorithm: string,
  spki: Uint8Array,
  message: Uint8Array,
  signature: Uint8Array,
): Promise<boolean> {
  return verifyWith(publicKeyOf(algorithm, spki), message, signature);
}

/**
 * Whether `signature` (64 bytes) is the Ed25519 signature of `message` under a raw 32-byte key: S < L, cofactorless,
 * R compared as bytes. RFC 8032 §5.1.7. Throws `malformed-key` for a small-order, non-canonical or off-curve key.
 */
export async function verifyEd25519(
  publicKey: Uint8Array,
  message: Uint8Array,
  signature: Uint8Array,
): Promise<boolean> {
  return verifyWith(publicKeyOf("ed25519", formatSpki("ed25519", publicKey)), message, signature);
}

/**
 * Whether `signature` (2,420 bytes) is the ML-DSA-44 signature of `message` (pure, empty context) under a raw
 * 1,312-byte key. FIPS 204 §5.3. Throws `malformed-key` for a key of another size.
 */
export async function verifyMlDsa44(
  publicKey: Uint8Array,
  message: Uint8Array,
  signature: Uint8Array,
): Promise<boolean> {
  return verifyWith(publicKeyOf("ml-dsa-44", formatSpki("ml-dsa-44", publicKey)), message, signature);
}

/** Refuses (`malformed-key`) an unknown algorithm and any SPKI that this package does not accept for it. */
export function checkSpki(algorithm: string, spki: Uint8Array): void {
  publicKeyOf(algorithm, spki);
}

/** Identifier of a public key: all 64 hex digits of SHA-256 of its SPKI DER. */
export function keyIdOf(spki: Uint8Array): string {
  return sha256Hex(spki);
}

function verifyWith(key: PublicKey, message: Uint8Array, signature: Uint8Array): Promise<boolean> | boolean {
  const row = ALGORITHMS[key.algorithm];
  if (signature.length !== row.signatureBytes(key) || !row.isInRange(key, signature)) return false;
  return verifyOnPlatform(key, message, signature);
}

/** Parsed keys that were used last. Checking a point and importing a key cost more than verifying with it. */
const CACHED_KEYS_MAX = 512;
const cachedKeys = new Map<string, PublicKey>();

function publicKeyOf(algorithm: string, spki: Uint8Array): PublicKey {
  if (!isAlgorithm(algorithm)) {
    throw new MalformedError(
      "malformed-key",
      `public key: unknown algorithm ${JSON.stringify(algorithm.slice(0, 32))}`,
    );
  }
  const cacheKey = `${algorithm}:${encodeHex(spki)}`;
  const cached = cachedKeys.get(cacheKey);
  if (cached !== undefined) return cached;
  const key = parseSpki(algorithm, spki);
  // A Map iterates in insertion order, so the first key is the oldest.
  if (cachedKeys.size >= CACHED_KEYS_MAX) cachedKeys.delete(cachedKeys.keys().next().value!);
  cachedKeys.set(cacheKey, key);
  return key;
}
