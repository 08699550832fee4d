import type { AnchorResult } from "../../ledger/anchoring.ts";
import { type AnchorServices, anchorsFrom } from "../anchor-services.ts";
import { type Context, ledgerAnd, withLedger } from "../context.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import { UsageError } from "../failure.ts";
import type { KeyOptions } from "../key-files.ts";
import { count, safeText } from "../terminal-text.ts";

interface AnchorCommandOptions extends KeyOptions, AnchorServices {}

/** Has a checkpoint over everything so far time-stamped, and records each proof. Exit 5 when none of those who were asked gave one. */
export async function run(
  context: Context,
  positionals: readonly string[],
  options: AnchorCommandOptions,
): Promise<ExitCode> {
  const [location = ""] = ledgerAnd(positionals);
  const { out, signal } = context;
  const anchors = await anchorsFrom(options);
  if (anchors.length === 0)
    throw new UsageError(
      "who is to be asked? Give --tsa URL or --calendar URL (--calendar public: the public calendars)",
    );
  return withLedger(context, location, { mode: "sign", ...options }, async (ledger) => {
    const results = await ledger.anchor({ anchors, signal });
    await out.object("anchored", { origin: ledger.origin, results });
    for (const result of results) {
      await out.line(lineOf(result, out.style));
      for (const failure of result.failures) out.warn(safeText(failure));
      if (result.problem !== null) out.warn(`${safeText(result.name)}: ${safeText(result.problem)}`);
    }
    if (results.some(({ index, isComplete }) => index !== null && !isComplete))
      out.note(
        "A calendar's promise bounds no time until a block keeps it, in some hours: tallystick anchors LEDGER --upgrade",
      );
    return results.every(({ problem }) => problem !== null) ? EXIT.environment : EXIT.ok;
  });
}

function lineOf({ kind, size, index, isComplete, problem }: AnchorResult, style: Context["out"]["style"]): string {
  if (problem !== null) return `${style.red("✗")} ${kind}  no proof of size ${count(size)}`;
  if (index === null) return `${style.green("✓")} ${kind}  size ${count(size)} is anchored already, and nothing is new`;
  const sign = isComplete ? style.green("✓") : style.yellow("?");
  return `${sign} ${kind}  ${isComplete ? "size" : "promise for size"} ${count(size)}, recorded by entry ${count(index)}`;
}
