import { formatAttackTable, runAttacks } from "../../attack/index.ts";
import { pathOf } from "../../open.ts";
import type { Context } from "../context.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";

interface AttackCommandOptions {
  readonly entries?: number;
}

/** Tampers with copies under a throwaway origin and key, and shows which evidence noticed. The ledger itself is only read. */
export async function run(
  context: Context,
  positionals: readonly string[],
  options: AttackCommandOptions,
): Promise<ExitCode> {
  const { out, signal } = context;
  const location = positionals[0] ?? process.env.TALLYSTICK_LEDGER;
  const progress = out.progress("attacking");
  context.reading = true;
  const table = await runAttacks({
    signal,
    onProgress: (done, total) => progress.update(done, total),
    ...(location === undefined || location === "" ? {} : { source: pathOf(location) }),
    ...(options.entries === undefined ? {} : { entries: options.entries }),
  }).finally(() => progress.end());
  await out.object("attacks", table);
  if (!out.json) await out.line(formatAttackTable(table, { color: out.colored, width: out.columns }).trimEnd());
  return EXIT.ok;
}
