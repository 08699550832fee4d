import { decodeBase64, encodeUtf8 } from "../core/encoding.ts";
import { isTallystickError } from "../core/errors.ts";
import type { Signer } from "../ledger/signer.ts";
import { type LoadedKey, readKeyBytes, readKeyFile } from "./key-file.ts";
import type { PemOptions } from "./key-text.ts";
import { logSignerOf } from "./local-signer.ts";
import { modeWarning } from "./state-directory.ts";

type Environment = Readonly<Record<string, string | undefined>>;

/**
 * Log key of `$TALLYSTICK_KEY`, or undefined when it is unset or empty. The value is PEM text (line ends may be written `\n`,
 * as env files do), a private JWK, base64 of PKCS#8 DER, or the path of a file with any of these. An encrypted key is opened
 * with `$TALLYSTICK_KEY_PASSPHRASE`. Errors: `malformed-key`, `wrong-passphrase`, `key-unreadable`. No message shows the
 * value, not even as a path: what looks like a missing file may be a key with a typing error.
 */
export function keyFromEnv(env: Environment = process.env): LoadedKey | undefined {
  const value = env.TALLYSTICK_KEY?.trim();
  if (value === undefined || value === "") return undefined;
  const passphrase = env.TALLYSTICK_KEY_PASSPHRASE;
  const options: PemOptions = passphrase === undefined || passphrase === "" ? {} : { passphrase };
  const inline = inlineBytes(value);
  if (inline !== undefined) return { signer: logSignerOf(readKeyBytes(inline, options)), warnings: [] };
  const key = readKeyBytes(readKeyFile(value, "the file that TALLYSTICK_KEY names"), options);
  const warning = modeWarning(value);
  return { signer: logSignerOf(key), warnings: warning === undefined ? [] : [warning] };
}

/** Signer of `keyFromEnv`, for callers that have nowhere to show a warning. */
export function signerFromEnv(env: Environment = process.env): Signer | undefined {
  return keyFromEnv(env)?.signer;
}

/** The key itself, when the value is one and not a path. */
function inlineBytes(value: string): Uint8Array | undefined {
  if (value.includes("-----BEGIN ")) return encodeUtf8(value.replaceAll("\\n", "\n"));
  if (value.startsWith("{")) return encodeUtf8(value);
  try {
    const bytes = decodeBase64(value.replaceAll(/\s/g, ""), "malformed-key");
    // PKCS#8 begins with a sequence; a path that happens to be base64 does not.
    return bytes[0] === 0x30 ? bytes : undefined;
  } catch (error) {
    if (!isTallystickError(error)) throw error;
    return undefined;
  }
}
