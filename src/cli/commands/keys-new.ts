import { encodeBase64 } from "../../core/encoding.ts";
import { type Algorithm, exportPem, generateAuthorKey } from "../../keys/index.ts";
import type { Context } from "../context.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import { UsageError } from "../failure.ts";
import { writeDocument } from "../files.ts";
import { passphrase } from "../key-files.ts";
import { safeText } from "../terminal-text.ts";

interface NewKeyOptions {
  readonly out: string;
  readonly algorithm?: Algorithm;
  readonly passphraseEnv?: string;
}

/** Makes a private key, for a log or an author alike, in a PEM file that its owner alone may read. */
export async function run(
  context: Context,
  _positionals: readonly string[],
  options: NewKeyOptions,
): Promise<ExitCode> {
  const { out } = context;
  if (options.out === "-") throw new UsageError("a private key goes into a file, not to stdout");
  const key = generateAuthorKey(options.algorithm ?? "ed25519");
  // Only a variable that was named encrypts: one that happens to be set must not make a key that nobody can read later.
  const secrecy = options.passphraseEnv === undefined ? {} : passphrase(options.passphraseEnv);
  await writeDocument(out, options.out, [exportPem(key, secrecy)], { mode: 0o600, exclusive: true });
  const isEncrypted = options.passphraseEnv !== undefined;
  const { algorithm, keyId } = key;
  await out.object("key", { algorithm, keyId, spki: encodeBase64(key.spki), encrypted: isEncrypted, out: options.out });
  await out.line(
    `${out.style.green("✓")} ${algorithm} key in ${safeText(options.out)}${isEncrypted ? ", encrypted" : ""}`,
  );
  await out.line(`  key id  ${keyId}`);
  return EXIT.ok;
}
