import { UnavailableError } from "../../core/errors.ts";
import type { LedgerEntry } from "../../ledger/stored-event.ts";
import { type Context, indexIn, ledgerAnd, withLedger } from "../context.ts";
import { erasedText } from "../entry-text.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import { UsageError } from "../failure.ts";
import { safeJson, safeText } from "../terminal-text.ts";

interface ShowOptions {
  readonly id?: string;
}

/** Shows one entry whole, by index or by the id of its event. */
export async function run(context: Context, positionals: readonly string[], options: ShowOptions): Promise<ExitCode> {
  const { id } = options;
  if (id !== undefined && positionals.length > 1)
    throw new UsageError(`expected INDEX or --id, not both: got ${positionals[1]} and --id ${id}`);
  const [location = "", index = ""] = ledgerAnd(positionals, id === undefined ? ["INDEX"] : []);
  return withLedger(context, location, { mode: "read" }, async (ledger) => {
    const entry = id === undefined ? await ledger.read(indexIn(ledger, index)) : await ledger.findById(id);
    if (entry === undefined) {
      throw new UnavailableError("not-found", `no entry has the id ${id}, or its body was erased`, { details: { id } });
    }
    await context.out.object("entry", entry);
    await print(context, entry);
    return EXIT.ok;
  });
}

async function print({ out }: Context, entry: LedgerEntry): Promise<void> {
  const { style } = out;
  const row = (name: string, value: string) => out.line(`  ${style.dim(name.padEnd(9))}  ${value}`);
  await out.line(`${style.bold(`entry ${entry.index}`)}  ${safeText(entry.event?.action ?? "")}`.trimEnd());
  await row("time", `${entry.time}  ${style.dim("(the ledger's clock)")}`);
  await row("leaf hash", entry.leafHash);
  await row("scheme", entry.scheme);
  if (entry.erased !== null) await row("erased", style.yellow(erasedText(entry.erased)));
  if (entry.event === null) return;
  for (const line of safeJson(JSON.stringify(entry.event, null, 2)).split("\n")) await out.line(`  ${line}`);
}
