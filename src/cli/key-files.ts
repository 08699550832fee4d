import { UnavailableError } from "../core/errors.ts";
import {
  type AuthorSigner,
  authorSignerFromJwk,
  authorSignerFromPem,
  authorSignerFromPkcs8,
  logSignerFromFile,
  type PemOptions,
  type Signer,
} from "../keys/index.ts";
import { ofKeyFile, readKeyFile } from "../keys/key-file.ts";
import { modeWarning } from "../keys/state-directory.ts";
import type { Context } from "./context.ts";

export interface KeyOptions {
  /** File of a log key. */
  readonly key?: string | undefined;
  /** Variable that holds its passphrase. */
  readonly passphraseEnv?: string | undefined;
}

export interface SignerKeyOptions {
  /** File of an author key. */
  readonly signerKey?: string | undefined;
  readonly signerPassphraseEnv?: string | undefined;
}

/** Log key of a file: PEM, PKCS#8 or JWK. Errors: `key-unreadable`, `malformed-key`, `wrong-passphrase`. */
export function logKeyFromFile(context: Context, file: string, options: KeyOptions): Signer {
  const { signer, warnings } = logSignerFromFile(file, passphrase(options.passphraseEnv));
  for (const warning of warnings) context.out.warn(warning);
  return signer;
}

/** Author key of a file, in the same forms and with the same errors. */
export function authorKeyFromFile(context: Context, file: string, passphraseEnv?: string): AuthorSigner {
  const bytes = readKeyFile(file, `key file ${file}`);
  const warning = modeWarning(file);
  if (warning !== undefined) context.out.warn(warning);
  const options = passphrase(passphraseEnv);
  return ofKeyFile(file, () => {
    if (bytes[0] === 0x30) return authorSignerFromPkcs8(bytes, options);
    const text = new TextDecoder().decode(bytes);
    return text.trimStart().startsWith("{") ? authorSignerFromJwk(text) : authorSignerFromPem(text, options);
  });
}

const PASSPHRASE_ENV = "TALLYSTICK_KEY_PASSPHRASE";

/** A passphrase comes from the environment: on the command line, every user of the machine could read it. */
export function passphrase(name: string | undefined): PemOptions {
  const value = process.env[name ?? PASSPHRASE_ENV];
  if (value !== undefined && value !== "") return { passphrase: value };
  if (name === undefined) return {};
  throw new UnavailableError("wrong-passphrase", `the variable ${name} that should hold the passphrase is not set`);
}
