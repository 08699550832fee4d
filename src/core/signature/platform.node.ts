import { constants, createPublicKey, type KeyObject, verify } from "node:crypto";
import type { Algorithm, PublicKey } from "./public-key.ts";

type Check = (key: KeyObject, message: Uint8Array, signature: Uint8Array) => boolean;

const ecdsa =
  (hash: string): Check =>
  (key, message, signature) =>
    verify(hash, message, { key, dsaEncoding: "ieee-p1363" }, signature);
const plain: Check = (key, message, signature) => verify(null, message, key, signature);

const CHECKS: Readonly<Record<Algorithm, Check>> = {
  ed25519: plain,
  "ecdsa-p256": ecdsa("sha256"),
  "ecdsa-p384": ecdsa("sha384"),
  "ecdsa-secp256k1": ecdsa("sha256"),
  "rsa-pss": (key, message, signature) =>
    verify("sha256", message, { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 }, signature),
  "ml-dsa-44": plain,
  "ml-dsa-65": plain,
  "ml-dsa-87": plain,
};

/** Native key of each parsed key; null where this Node cannot hold it (ML-DSA before Node 24). */
const nativeKeys = new WeakMap<PublicKey, KeyObject | null>();

/** Node variant: OpenSSL where it knows the algorithm (about ten times faster), the portable code elsewhere. */
export function verifyOnPlatform(
  key: PublicKey,
  message: Uint8Array,
  signature: Uint8Array,
): boolean | Promise<boolean> {
  const native = nativeKeyOf(key);
  if (native !== null) return CHECKS[key.algorithm](native, message, signature);
  return import("./platform.ts").then((portable) => portable.verifyOnPlatform(key, message, signature));
}

function nativeKeyOf(key: PublicKey): KeyObject | null {
  const known = nativeKeys.get(key);
  if (known !== undefined) return known;
  let native: KeyObject | null;
  try {
    native = createPublicKey({ key: Buffer.from(key.spki), format: "der", type: "spki" });
  } catch {
    // The key has passed our own checks, so what is missing is the algorithm in this build of OpenSSL.
    native = null;
  }
  nativeKeys.set(key, native);
  return native;
}
