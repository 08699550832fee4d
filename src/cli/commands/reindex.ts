import { reindex } from "../../open.ts";
import { type Context, ledgerAnd } from "../context.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import { counted } from "../terminal-text.ts";

/**
 * Rebuilds everything that is derived from the committed bytes: tiles, filters, ids, the list of control events. Takes no key and
 * opens no ledger: what is damaged may be what keeps it from opening.
 */
export async function run(context: Context, positionals: readonly string[]): Promise<ExitCode> {
  const [location = ""] = ledgerAnd(positionals);
  const { out } = context;
  const { origin, entries } = await reindex(location);
  await out.object("reindexed", { origin, entries });
  await out.line(`${out.style.green("✓")} rebuilt the derived data of ${counted(entries, "entry", "entries")}`);
  return EXIT.ok;
}
