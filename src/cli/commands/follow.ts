import { type Context, ledgerAnd, withLedger } from "../context.ts";
import { entryLine } from "../entry-text.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import { type FilterOptions, filterOf } from "../filters.ts";

/** Prints entries as they become durable, from any process, until it is interrupted. */
export async function run(
  context: Context,
  positionals: readonly string[],
  options: Pick<
    FilterOptions,
    "actor" | "action" | "type" | "target" | "outcome" | "correlation" | "text" | "where" | "first"
  >,
): Promise<ExitCode> {
  const [location = ""] = ledgerAnd(positionals);
  const { out, signal } = context;
  const { first, ...narrowing } = options;
  return withLedger(context, location, { mode: "read" }, async (ledger) => {
    // A socket tells that its reader is gone. A pipe does only when something is written: Node cannot poll it, so `follow | head`
    // on an idle ledger ends at the next entry.
    const gone = new AbortController();
    process.stdout.once("error", () => gone.abort());
    process.stdout.once("close", () => gone.abort());
    const following = {
      filter: filterOf(narrowing),
      signal: AbortSignal.any([signal, gone.signal]),
      ...(first === undefined ? {} : { after: first - 1 }),
    };
    if (first === undefined) out.note(`following ${ledger.origin} from entry ${ledger.size} on; end with Ctrl-C`);
    const indexWidth = String(ledger.size).length;
    for await (const entry of ledger.follow(following)) {
      await (out.json ? out.object("entry", entry) : out.line(entryLine(entry, out.style, { indexWidth })));
      if (out.closed) break;
    }
    return signal.aborted ? EXIT.interrupted : EXIT.ok;
  });
}
