import { parsePolicy } from "../../core/policy.ts";
import { type Context, ledgerAnd, requireSeparateStdout, stateOf, withLedger } from "../context.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import { writeDocument } from "../files.ts";
import { safeText } from "../terminal-text.ts";

interface PolicyOptions {
  readonly out?: string;
}

/** Prints or writes the policy file that a reader pins: the one that this machine keeps, else one made from the ledger. */
export async function run(context: Context, positionals: readonly string[], options: PolicyOptions): Promise<ExitCode> {
  const [location = ""] = ledgerAnd(positionals);
  const { out } = context;
  if (options.out !== undefined) requireSeparateStdout(context, options.out);
  return withLedger(context, location, { mode: "read" }, async (ledger) => {
    const kept = stateOf(context).readPolicy(ledger.origin);
    const policy = kept ?? ledger.policy();
    if (kept === undefined) {
      out.warn(
        "this machine keeps no policy for this ledger, so this one is made from the ledger itself: compare its keys and genesis with those of the operator before you rely on it",
      );
    }
    const { genesis, logKeys } = parsePolicy(policy);
    if (options.out !== undefined) await writeDocument(out, options.out, [policy]);
    await out.object("policy", {
      origin: ledger.origin,
      genesis,
      logKeys: logKeys.map((key) => key.vkey),
      source: kept === undefined ? "ledger" : "state",
      policy,
      out: options.out ?? null,
    });
    if (options.out === undefined && !out.json) await out.document(policy);
    else if (options.out !== undefined && options.out !== "-")
      await out.line(
        `${out.style.green("✓")} policy of ${ledger.origin} in ${safeText(options.out)}: hand it to whoever verifies`,
      );
    return EXIT.ok;
  });
}
