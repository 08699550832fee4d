import type { JsonWebKey } from "node:crypto";
import { encodeBase64 } from "../core/encoding.ts";
import type { Random } from "../ledger/random.ts";
import { encryptPkcs8 } from "./encrypted-pkcs8.ts";
import type { PrivateKey } from "./private-key.ts";

// A signer carries no secret property: printing it, cloning it or putting it into JSON shows the public half alone.
const secrets = new WeakMap<object, PrivateKey>();

/** Remembers the private key behind a signer made in this process. */
export function keepSecretOf(signer: object, key: PrivateKey): void {
  secrets.set(signer, key);
}

export function secretOf(signer: object): PrivateKey | undefined {
  return secrets.get(signer);
}

export interface ExportOptions {
  /** Encrypts with PBES2 (PBKDF2-HMAC-SHA-256, 600,000 iterations; AES-256-CBC), which OpenSSL reads. */
  readonly passphrase?: string;
  /** Salt and initialisation vector; default: the platform's. */
  readonly random?: Random;
}

/** PKCS#8 DER of a local signer (log or author). Throws `TypeError` for a signer whose key is elsewhere. */
export function exportPkcs8(signer: object, options: ExportOptions = {}): Uint8Array {
  const pkcs8 = privateKeyOf(signer).pkcs8();
  return options.passphrase === undefined ? pkcs8 : encryptPkcs8(pkcs8, options.passphrase, options.random);
}

/** PKCS#8 as PEM text (RFC 7468), ending with a newline. Keep it in a file of mode 0600. */
export function exportPem(signer: object, options: ExportOptions = {}): string {
  const label = options.passphrase === undefined ? "PRIVATE KEY" : "ENCRYPTED PRIVATE KEY";
  const lines = encodeBase64(exportPkcs8(signer, options)).match(/.{1,64}/g)!;
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}

/** Private JWK (RFC 7517, 8037; ML-DSA: kty AKP with the seed in `priv`). Never encrypted. */
export function exportJwk(signer: object): JsonWebKey {
  return privateKeyOf(signer).jwk();
}

function privateKeyOf(signer: object): PrivateKey {
  const key = secrets.get(signer);
  if (key === undefined) throw new TypeError("export: expected a signer whose private key was made or read here");
  return key;
}
