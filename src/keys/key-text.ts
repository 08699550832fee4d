import { createPrivateKey, type JsonWebKey } from "node:crypto";
import { decodeBase64 } from "../core/encoding.ts";
import { MalformedError } from "../core/errors.ts";
import { DER_OCTET_STRING, DER_SEQUENCE, readDer, readDerOnly } from "./der.ts";
import { decryptPkcs8 } from "./encrypted-pkcs8.ts";
import { type PrivateKey, privateKeyFromPkcs8 } from "./private-key.ts";

export interface PemOptions {
  /** For encrypted PKCS#8. Without one an encrypted key is `wrong-passphrase`. */
  readonly passphrase?: string;
}

const PEM_BLOCK = /-----BEGIN ([A-Z0-9 ]+)-----([A-Za-z0-9+/=\s]*)-----END \1-----/g;
const PEM_BYTES_MAX: number = 64 * 1024;

/** The one private key in PEM text; text around it and public blocks are passed over. */
export function readPem(pem: string, options: PemOptions): PrivateKey {
  if (pem.length > PEM_BYTES_MAX) throw malformed(`expected at most ${PEM_BYTES_MAX} characters of PEM`);
  const blocks = [...pem.matchAll(PEM_BLOCK)].filter((block) => block[1]!.endsWith("PRIVATE KEY"));
  const [block] = blocks;
  if (block === undefined) throw malformed(`expected a PEM block "PRIVATE KEY" or "ENCRYPTED PRIVATE KEY"`);
  if (blocks.length > 1) throw malformed(`expected one PEM block with a private key, got ${blocks.length}`);
  const label = block[1]!;
  const der = decodeBase64(block[2]!.replaceAll(/\s/g, ""), "malformed-key");
  if (label === "PRIVATE KEY" || label === "ENCRYPTED PRIVATE KEY") return readPkcs8(der, options);
  const type = label === "EC PRIVATE KEY" ? "sec1" : label === "RSA PRIVATE KEY" ? "pkcs1" : undefined;
  if (type === undefined) throw malformed("this kind of PEM block is not supported; convert it to PKCS#8");
  let pkcs8: Uint8Array;
  try {
    const native = createPrivateKey({ key: Buffer.from(der), format: "der", type });
    pkcs8 = native.export({ format: "der", type: "pkcs8" });
  } catch {
    // OpenSSL's own message may quote the input, so it goes no further.
    throw malformed("damaged, or encrypted in the old PEM manner; convert it to PKCS#8");
  }
  return privateKeyFromPkcs8(pkcs8);
}

/** Private key of PKCS#8 DER. An encrypted one is told by its shape: algorithm and octet string, without a version. */
export function readPkcs8(der: Uint8Array, options: PemOptions): PrivateKey {
  const elements = readDer(readDerOnly(der, DER_SEQUENCE));
  const isEncrypted =
    elements.length === 2 && elements[0]!.tag === DER_SEQUENCE && elements[1]!.tag === DER_OCTET_STRING;
  return privateKeyFromPkcs8(isEncrypted ? decryptPkcs8(der, options.passphrase) : der);
}

/** A JWK from JSON text; what it must hold is checked by its reader. */
export function readJwkText(text: string): JsonWebKey {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // JSON.parse quotes its input in the message, and the input is a secret.
    throw malformed("expected a JWK in JSON");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw malformed("expected a JWK in JSON");
  return value as JsonWebKey;
}

function malformed(problem: string): MalformedError {
  return new MalformedError("malformed-key", `private key: ${problem}`);
}
