import { readFileSync } from "node:fs";
import { isTallystickError, type TallystickError, UnavailableError } from "../core/errors.ts";
import type { Signer } from "../ledger/signer.ts";
import { type PemOptions, readJwkText, readPem, readPkcs8 } from "./key-text.ts";
import { logSignerOf } from "./local-signer.ts";
import { type PrivateKey, privateKeyFromJwk } from "./private-key.ts";
import { modeWarning } from "./state-directory.ts";
import { codeOf } from "./state-files.ts";

export interface LoadedKey {
  readonly signer: Signer;
  /** Sentences for the user, such as a key file that others may read. Empty when all is well. */
  readonly warnings: readonly string[];
}

/** The largest key file that is read: an RSA-8192 PEM takes 7 kB. */
const KEY_FILE_BYTES_MAX: number = 64 * 1024;

/**
 * Log key in a file: PEM, JWK or PKCS#8 DER, told apart by its first bytes. Errors: `key-unreadable`, `malformed-key`,
 * `wrong-passphrase`. A file that group or others may read is a warning.
 */
export function logSignerFromFile(file: string, options: PemOptions = {}): LoadedKey {
  const bytes = readKeyFile(file, `key file ${file}`);
  const signer = ofKeyFile(file, () => logSignerOf(readKeyBytes(bytes, options)));
  const warning = modeWarning(file);
  return { signer, warnings: warning === undefined ? [] : [warning] };
}

/** What is made of a key file: a message that it is malformed names it. */
export function ofKeyFile<T>(file: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    if (isTallystickError(error) && error.code === "malformed-key")
      (error as TallystickError).message = `key file ${file}: ${error.message}`;
    throw error;
  }
}

/** Bytes of a key file; `name` stands for it in messages. */
export function readKeyFile(file: string, name: string): Uint8Array {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(file);
  } catch (cause) {
    const errno = codeOf(cause) ?? "error";
    // The cause holds the path, which `name` may be leaving out because it might be a misplaced secret.
    throw new UnavailableError("key-unreadable", `${name}: cannot be read (${errno})`, { details: { errno } });
  }
  if (bytes.length <= KEY_FILE_BYTES_MAX) return bytes;
  throw new UnavailableError("key-unreadable", `${name}: expected at most ${KEY_FILE_BYTES_MAX} bytes`);
}

/** Private key of bytes in any of the forms that a file or a variable may hold. */
export function readKeyBytes(bytes: Uint8Array, options: PemOptions): PrivateKey {
  // 0x30 begins a DER sequence, and as a character ("0") neither PEM nor JSON.
  if (bytes[0] === 0x30) return readPkcs8(bytes, options);
  const text = new TextDecoder().decode(bytes);
  return text.trimStart().startsWith("{") ? privateKeyFromJwk(readJwkText(text)) : readPem(text, options);
}
