import type { JsonWebKey } from "node:crypto";
import type { AuthorSigner } from "../core/author-signature.ts";
import { type Algorithm, keyIdOf } from "../core/signature/table.ts";
import { type Random, systemRandom } from "../ledger/random.ts";
import { keepSecretOf } from "./key-export.ts";
import { type PemOptions, readJwkText, readPem, readPkcs8 } from "./key-text.ts";
import {
  generatePrivateKey,
  isSeedAlgorithm,
  type PrivateKey,
  privateKeyFromJwk,
  privateKeyFromSeed,
  type SeedAlgorithm,
  signChecked,
} from "./private-key.ts";

/** A new author key; RSA has 3,072 bits. Its secret leaves through `exportPem` and `exportJwk` only. */
export function generateAuthorKey(algorithm: Algorithm = "ed25519", random: Random = systemRandom): AuthorSigner {
  return authorSigner(generatePrivateKey(algorithm, random));
}

/** Author key of a 32-byte seed (Ed25519, ML-DSA), signing deterministically: for tests, simulations and vectors. */
export function authorSignerFromSeed(algorithm: SeedAlgorithm, seed: Uint8Array): AuthorSigner {
  if (!isSeedAlgorithm(algorithm)) throw new TypeError("algorithm: expected ed25519 or ml-dsa-*");
  return authorSigner(privateKeyFromSeed(algorithm, seed, { deterministic: true }));
}

/**
 * Author key of PEM text: PKCS#8, plain or encrypted, `EC PRIVATE KEY` or `RSA PRIVATE KEY`. The algorithm is that of the
 * key; an RSA key signs as `rsa-pss`. Errors: `malformed-key`, `wrong-passphrase`. No message shows any of the text.
 */
export function authorSignerFromPem(pem: string, options: PemOptions = {}): AuthorSigner {
  return authorSigner(readPem(pem, options));
}

/** Author key of PKCS#8 DER, encrypted or not. Errors as `authorSignerFromPem`. */
export function authorSignerFromPkcs8(der: Uint8Array, options: PemOptions = {}): AuthorSigner {
  return authorSigner(readPkcs8(der, options));
}

/** Author key of a private JWK (kty OKP, EC, RSA or AKP), as object or JSON text. `malformed-key`. */
export function authorSignerFromJwk(jwk: JsonWebKey | string): AuthorSigner {
  return authorSigner(privateKeyFromJwk(typeof jwk === "string" ? readJwkText(jwk) : jwk));
}

function authorSigner(key: PrivateKey): AuthorSigner {
  const { algorithm, spki } = key;
  const signer: AuthorSigner = {
    algorithm,
    spki,
    keyId: keyIdOf(spki),
    sign: (message) => signChecked(key, message),
  };
  keepSecretOf(signer, key);
  return signer;
}
