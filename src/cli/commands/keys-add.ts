import { vkeyOf } from "../../ledger/genesis.ts";
import { type Context, ledgerAnd, stateOf, withLedger } from "../context.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import { UsageError } from "../failure.ts";
import { keepKey } from "../kept-keys.ts";
import { updateKeptPolicy } from "../kept-policy.ts";
import { authorKeyFromFile, type KeyOptions, logKeyFromFile } from "../key-files.ts";
import { safeText, shortVkey } from "../terminal-text.ts";

interface AddKeyOptions extends KeyOptions {
  readonly author?: string;
  readonly actor?: string;
  readonly authorPassphraseEnv?: string;
  readonly log?: string;
  readonly logPassphraseEnv?: string;
}

/** Registers an author key for an actor, or a second log key beside the first. */
export async function run(context: Context, positionals: readonly string[], options: AddKeyOptions): Promise<ExitCode> {
  const [location = ""] = ledgerAnd(positionals);
  const { author, actor, log } = options;
  if ((author === undefined) === (log === undefined))
    throw new UsageError("expected either --author FILE --actor ID, or --log FILE");
  if (author !== undefined) {
    if (actor === undefined) throw new UsageError("missing --actor ID: an author key is registered for one actor");
    return addAuthor(context, location, { ...options, author, actor });
  }
  return addLogKey(context, location, { ...options, log: log ?? "" });
}

async function addAuthor(
  context: Context,
  location: string,
  options: AddKeyOptions & { readonly author: string; readonly actor: string },
): Promise<ExitCode> {
  const { out } = context;
  const { actor, key, passphraseEnv } = options;
  const author = authorKeyFromFile(context, options.author, options.authorPassphraseEnv);
  return withLedger(context, location, { mode: "sign", key, passphraseEnv }, async (ledger) => {
    const appended = await ledger.keys.addAuthor(author, actor);
    await out.object("key-added", {
      role: "author",
      actor,
      algorithm: author.algorithm,
      keyId: author.keyId,
      ...appended,
    });
    await out.line(
      `${out.style.green("✓")} registered an author key of ${safeText(actor)}, as entry ${appended.index} records`,
    );
    await out.line(`  key id  ${author.keyId}`);
    return EXIT.ok;
  });
}

async function addLogKey(
  context: Context,
  location: string,
  options: AddKeyOptions & { readonly log: string },
): Promise<ExitCode> {
  const { out } = context;
  const { key, passphraseEnv } = options;
  const next = logKeyFromFile(context, options.log, { passphraseEnv: options.logPassphraseEnv });
  return withLedger(context, location, { mode: "sign", key, passphraseEnv }, async (ledger) => {
    const state = stateOf(context);
    const keptAs = keepKey(state, ledger.origin, next);
    const appended = await ledger.keys.addLogKey(next);
    updateKeptPolicy(state, ledger);
    const vkey = vkeyOf(ledger.origin, next);
    await out.object("key-added", { role: "log", vkey, keptAs, ...appended });
    await out.line(`${out.style.green("✓")} added a log key, as entry ${appended.index} records`);
    await out.line(`  log key  ${shortVkey(vkey)}`);
    out.note("Hand readers the new policy: `tallystick policy` prints it.");
    return EXIT.ok;
  });
}
