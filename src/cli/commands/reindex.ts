import { type Context, ledgerAnd, withLedger } from "../context.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import type { KeyOptions } from "../key-files.ts";
import { counted } from "../terminal-text.ts";

/** Rebuilds everything that is derived from the committed bytes: tiles, filters, ids, the list of control events. */
export async function run(context: Context, positionals: readonly string[], options: KeyOptions): Promise<ExitCode> {
  const [location = ""] = ledgerAnd(positionals);
  const { out } = context;
  return withLedger(context, location, { mode: "sign", ...options }, async (ledger) => {
    const { entries } = await ledger.reindex();
    await out.object("reindexed", { origin: ledger.origin, entries });
    await out.line(`${out.style.green("✓")} rebuilt the derived data of ${counted(entries, "entry", "entries")}`);
    return EXIT.ok;
  });
}
