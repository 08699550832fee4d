import type { JsonWebKey } from "node:crypto";
import { MalformedError } from "../core/errors.ts";
import { type Random, systemRandom } from "../ledger/random.ts";
import type { Signer } from "../ledger/signer.ts";
import { keepSecretOf, secretOf } from "./key-export.ts";
import { type PemOptions, readJwkText, readPem, readPkcs8 } from "./key-text.ts";
import {
  generatePrivateKey,
  type PrivateKey,
  privateKeyFromJwk,
  privateKeyFromSeed,
  signChecked,
} from "./private-key.ts";

export type LogAlgorithm = Signer["algorithm"];

/** The Signer port's bound: what a key service takes in one call. */
const MESSAGE_BYTES_MAX = 4_096;

/** A new log key: Ed25519, or ML-DSA-44 to stand beside it. Its secret leaves through `exportPem` and `exportJwk` only. */
export function generateLogKey(algorithm: LogAlgorithm = "ed25519", random: Random = systemRandom): Signer {
  return logSignerOf(generatePrivateKey(algorithm, random));
}

/**
 * Log key of a 32-byte seed. It signs deterministically (FIPS 204 §3.4 for ML-DSA-44), so that one seed makes one
 * ledger, byte for byte: for tests, simulations and vectors.
 */
export function logSignerFromSeed(algorithm: LogAlgorithm, seed: Uint8Array): Signer {
  return logSignerOf(privateKeyFromSeed(algorithm, seed, { deterministic: true }));
}

/**
 * Log key of PEM text (`PRIVATE KEY` or `ENCRYPTED PRIVATE KEY`; RFC 7468). Errors: `malformed-key` (no key, damaged, or
 * not Ed25519 or ML-DSA-44), `wrong-passphrase` (also for a missing one). No message shows any of the text.
 */
export function logSignerFromPem(pem: string, options: PemOptions = {}): Signer {
  return logSignerOf(readPem(pem, options));
}

/** Log key of PKCS#8 DER, encrypted or not. Errors as `logSignerFromPem`. */
export function logSignerFromPkcs8(der: Uint8Array, options: PemOptions = {}): Signer {
  return logSignerOf(readPkcs8(der, options));
}

/** Log key of a private JWK, as object or JSON text: kty OKP crv Ed25519, or kty AKP alg ML-DSA-44. `malformed-key`. */
export function logSignerFromJwk(jwk: JsonWebKey | string): Signer {
  return logSignerOf(privateKeyFromJwk(typeof jwk === "string" ? readJwkText(jwk) : jwk));
}

/** True for a signer whose secret is in this process, so that it can be exported. */
export function isLocalSigner(signer: Signer): boolean {
  return secretOf(signer) !== undefined;
}

/** Log signer of a private key; `malformed-key` for an algorithm that log keys do not have. */
export function logSignerOf(key: PrivateKey): Signer {
  const { algorithm, publicRaw } = key;
  if (algorithm !== "ed25519" && algorithm !== "ml-dsa-44") {
    throw new MalformedError("malformed-key", `log key: expected ed25519 or ml-dsa-44, got ${algorithm}`);
  }
  const signer: Signer = {
    algorithm,
    publicKey: publicRaw,
    sign: async (message) => {
      if (message.length > MESSAGE_BYTES_MAX) {
        throw new RangeError(`sign: expected at most ${MESSAGE_BYTES_MAX} bytes, got ${message.length}`);
      }
      return signChecked(key, message);
    },
  };
  keepSecretOf(signer, key);
  return signer;
}
