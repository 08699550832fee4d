import { headOf, type Level } from "../../ledger/ledger.ts";
import { type Context, ledgerAnd, requireSeparateStdout, withLedger } from "../context.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import { writeDocument } from "../files.ts";
import type { KeyOptions } from "../key-files.ts";
import { safeText } from "../terminal-text.ts";

interface CheckpointOptions extends KeyOptions {
  readonly out?: string;
  readonly until?: Level;
}

/** Signs a checkpoint over every entry so far, and prints or writes the note. */
export async function run(
  context: Context,
  positionals: readonly string[],
  options: CheckpointOptions,
): Promise<ExitCode> {
  const [location = ""] = ledgerAnd(positionals);
  const { out } = context;
  if (options.out !== undefined) requireSeparateStdout(context, options.out);
  return withLedger(context, location, { mode: "sign", ...options }, async (ledger) => {
    const note = await ledger.checkpoint({ until: options.until ?? "checkpointed" });
    const { size, root } = headOf(note);
    if (options.out !== undefined) await writeDocument(out, options.out, [note]);
    await out.object("checkpoint", { origin: ledger.origin, size, root, note, out: options.out ?? null });
    if (options.out === undefined && !out.json) await out.document(note);
    else if (options.out !== undefined && options.out !== "-")
      await out.line(`${out.style.green("✓")} checkpoint of size ${size} in ${safeText(options.out)}`);
    return EXIT.ok;
  });
}
