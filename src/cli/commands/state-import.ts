import { parseJson } from "../../core/canonical-json.ts";
import { type Context, stateOf } from "../context.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import { UsageError } from "../failure.ts";
import { readInput } from "../files.ts";
import { counted, safeText } from "../terminal-text.ts";
import { withLockStore } from "./state-export.ts";

/** A thousand ledgers with their policies and notes take about a megabyte. */
const STATE_BYTES_MAX: number = 64 * 1024 * 1024;

/** Takes over what another machine, or a backup, knows; nothing that is here is overwritten. */
export async function run(context: Context, positionals: readonly string[]): Promise<ExitCode> {
  const [file] = positionals;
  if (file === undefined) throw new UsageError("missing FILE");
  const { out } = context;
  const state = stateOf(context);
  const report = state.import(parseJson(await readInput(file, STATE_BYTES_MAX)));
  const imported = [...report.imported];
  const kept = [...report.kept];
  if (report.locks.length > 0) {
    await withLockStore(state, async (store) => {
      for (const record of report.locks)
        ((await store.restore(record)) === "restored" ? imported : kept).push(`lock store record of ${record.origin}`);
    });
  }
  const { conflicts } = report;
  await out.object("state-imported", { imported, kept, conflicts });
  const { style } = out;
  for (const what of imported) await out.line(`  ${style.green("+")} ${safeText(what)}`);
  for (const what of conflicts)
    await out.line(`  ${style.red("✗")} ${safeText(what)}: contradicts what is here, left alone`);
  await out.line(
    `${conflicts.length === 0 ? style.green("✓") : style.red("✗")} took over ${counted(imported.length, "thing")}, ${kept.length} known already, ${counted(conflicts.length, "conflict")}`,
  );
  return conflicts.length === 0 ? EXIT.ok : EXIT.tampered;
}
