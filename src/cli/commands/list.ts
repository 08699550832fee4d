import type { LedgerEngine } from "../../ledger/ledger.ts";
import { PAGE_ENTRIES_MAX } from "../../ledger/limits.ts";
import type { LedgerEntry } from "../../ledger/stored-event.ts";
import { type Context, ledgerAnd, withLedger } from "../context.ts";
import { entryLine } from "../entry-text.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import { type FilterOptions, filterOf } from "../filters.ts";
import { counted } from "../terminal-text.ts";

interface ListOptions extends FilterOptions {
  readonly limit?: number;
  readonly cursor?: string;
}

/** Lists entries, all that match unless a limit is asked for. */
export async function run(context: Context, positionals: readonly string[], options: ListOptions): Promise<ExitCode> {
  const [location = ""] = ledgerAnd(positionals);
  const { out, signal } = context;
  return withLedger(context, location, { mode: "read" }, async (ledger) => {
    const indexWidth = String(Math.max(0, ledger.size - 1)).length;
    let listed = 0;
    const listing = listEntries(ledger, options);
    let next = await listing.next();
    for (; next.done !== true; next = await listing.next()) {
      if (signal.aborted || out.closed) return signal.aborted ? EXIT.interrupted : EXIT.ok;
      listed += 1;
      const full = out.json
        ? out.object("entry", next.value)
        : out.line(entryLine(next.value, out.style, { indexWidth }));
      if (full !== undefined) await full;
    }
    const { cursor, size } = next.value;
    if (options.limit !== undefined) await out.object("page", { cursor, size });
    if (listed === 0) out.note(`no entry matches, of ${counted(size, "entry", "entries")}`);
    if (cursor !== null) out.note(`there are more: go on with --cursor ${cursor} and the same filters`);
    return EXIT.ok;
  });
}

/** Entries, and at the end where to go on; never cut short without a cursor. */
async function* listEntries(
  ledger: LedgerEngine,
  options: ListOptions,
): AsyncGenerator<LedgerEntry, { readonly cursor: string | null; readonly size: number }> {
  const query = ledger.query(filterOf(options));
  if (options.limit === undefined && options.cursor === undefined) {
    yield* query;
    return { cursor: null, size: ledger.size };
  }
  let left = options.limit ?? Number.POSITIVE_INFINITY;
  let cursor: string | null = options.cursor ?? null;
  for (;;) {
    const page = await query.page({ cursor, limit: Math.min(left, PAGE_ENTRIES_MAX) });
    yield* page.entries;
    left -= page.entries.length;
    cursor = page.cursor;
    if (cursor === null || left === 0) return { cursor, size: page.size };
  }
}
