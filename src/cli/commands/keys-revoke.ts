import { type Context, ledgerAnd, recordedText, stateOf, withLedger } from "../context.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import { UsageError } from "../failure.ts";
import { updateKeptPolicy } from "../kept-policy.ts";
import type { KeyOptions } from "../key-files.ts";

interface RevokeOptions extends KeyOptions {
  readonly author?: string;
  readonly log?: string;
  readonly validUntilSize?: number;
  readonly reason: string;
}

/** Ends an author key for later entries, or disowns a log key beyond a size. */
export async function run(context: Context, positionals: readonly string[], options: RevokeOptions): Promise<ExitCode> {
  const [location = ""] = ledgerAnd(positionals);
  const { out } = context;
  const { author, log, validUntilSize, key, passphraseEnv } = options;
  const reason = recordedText("--reason", options.reason);
  if ((author === undefined) === (log === undefined))
    throw new UsageError("expected either --author KEY-ID, or --log VKEY --valid-until-size N");
  if (log !== undefined && validUntilSize === undefined)
    throw new UsageError("missing --valid-until-size N: the last tree size for which the log key's signature counts");
  return withLedger(context, location, { mode: "sign", key, passphraseEnv }, async (ledger) => {
    const appended =
      author === undefined
        ? await ledger.keys.revokeLogKey(log ?? "", { validUntilSize: validUntilSize ?? 0, reason })
        : await ledger.keys.revokeAuthor(author, reason);
    if (author === undefined) updateKeptPolicy(stateOf(context), ledger);
    await out.object("key-revoked", { role: author === undefined ? "log" : "author", key: author ?? log, ...appended });
    await out.line(
      `${out.style.green("✓")} revoked the ${author === undefined ? "log" : "author"} key, as entry ${appended.index} records`,
    );
    return EXIT.ok;
  });
}
