import { createHash, createPrivateKey, createPublicKey, sign } from "node:crypto";
import { ml_dsa44 } from "@noble/post-quantum/ml-dsa.js";
import {
  formatVerifierKey,
  type NoteSignatureType,
  type NoteSigner,
  parseVerifierKey,
  type VerifierKey,
} from "../../src/core/note.ts";

/** Deterministic note signers for tests: RFC 8032 from a seed, and ML-DSA-44 without entropy. */

const PKCS8_PREFIX = Buffer.from("302e020100300506032b657004220420", "hex");

export function seedOf(text: string): Uint8Array {
  return new Uint8Array(createHash("sha256").update(text).digest());
}

export function ed25519Signer(seed: Uint8Array): NoteSigner {
  const key = createPrivateKey({ key: Buffer.concat([PKCS8_PREFIX, seed]), format: "der", type: "pkcs8" });
  const spki = createPublicKey(key).export({ format: "der", type: "spki" });
  return {
    algorithm: "ed25519",
    publicKey: new Uint8Array(spki.subarray(-32)),
    sign: async (message) => new Uint8Array(sign(null, message, key)),
  };
}

export function mlDsaSigner(seed: Uint8Array): NoteSigner {
  const { publicKey, secretKey } = ml_dsa44.keygen(seed);
  return {
    algorithm: "ml-dsa-44",
    publicKey,
    sign: async (message) => ml_dsa44.sign(message, secretKey, { extraEntropy: false }),
  };
}

/** The verifier key of a signer under a name. */
export function verifierOf(name: string, signer: NoteSigner, type: NoteSignatureType): VerifierKey {
  return parseVerifierKey(formatVerifierKey({ name, type, publicKey: signer.publicKey }));
}
