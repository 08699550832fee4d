import type { LedgerStats } from "../../ledger/stats.ts";
import { type Context, ledgerAnd, withLedger } from "../context.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import { bytes, count, counted, safeText } from "../terminal-text.ts";

interface StatsOptions {
  readonly top?: number;
}

const TOP_DEFAULT = 10;

/** Counts, times and sizes, and when the ledger was last verified here. */
export async function run(context: Context, positionals: readonly string[], options: StatsOptions): Promise<ExitCode> {
  const [location = ""] = ledgerAnd(positionals);
  const { out } = context;
  const { style } = out;
  return withLedger(context, location, { mode: "read" }, async (ledger) => {
    const stats = await ledger.stats();
    await out.object("stats", stats);
    const row = (name: string, value: string) => out.line(`  ${style.dim(name.padEnd(12))}  ${value}`);
    const erased = stats.erasedEntries === 0 ? "" : `, ${count(stats.erasedEntries)} with something erased`;
    await out.line(style.bold(stats.origin));
    await row(
      "entries",
      `${count(stats.entries)}  ${style.dim(`${counted(stats.events, "event")}, ${count(stats.controlEvents)} of the ledger itself${erased}`)}`,
    );
    if (stats.firstTime !== null) await row("time", `${stats.firstTime} to ${stats.lastTime}`);
    await row("size", `${bytes(stats.bodyBytes)} of events, ${bytes(stats.entryBytes)} of entries`);
    const behind = stats.entries - stats.checkpointed;
    await row(
      "checkpoint",
      `size ${count(stats.checkpointed)}${behind > 0 ? style.yellow(`, ${counted(behind, "entry", "entries")} behind`) : ""}`,
    );
    await row("verified", verifiedText(stats.verified));
    const ranking = async (title: string, rows: readonly (readonly [string, number])[]): Promise<void> => {
      if (rows.length === 0) return;
      const top = rows.slice(0, options.top ?? TOP_DEFAULT);
      const width = Math.max(...top.map(([, n]) => count(n).length));
      await out.line();
      await out.line(`  ${style.dim(title)}`);
      for (const [name, n] of top) await out.line(`  ${count(n).padStart(width)}  ${safeText(name)}`);
      if (rows.length > top.length)
        await out.line(style.dim(`  … and ${count(rows.length - top.length)} more (--top ${rows.length})`));
    };
    await ranking(
      "actions",
      stats.actions.map(({ action, count: n }) => [action, n] as const),
    );
    await ranking(
      "actors",
      stats.actors.map(({ actor, count: n }) => [actor, n] as const),
    );
    return EXIT.ok;
  });

  function verifiedText(verified: LedgerStats["verified"]): string {
    if (verified === null) return "never on this machine";
    const result = verified.ok
      ? verified.conclusive
        ? style.green("intact")
        : style.yellow("inconclusive")
      : style.red(`NOT intact, ${counted(verified.findings, "finding")}`);
    return `${verified.time}, size ${count(verified.size)}: ${result}`;
  }
}
