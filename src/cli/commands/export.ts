import { type Context, ledgerAnd, requireSeparateStdout, withLedger } from "../context.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import { writeDocument } from "../files.ts";
import { type FilterOptions, filterOf } from "../filters.ts";
import type { KeyOptions } from "../key-files.ts";
import { safeText } from "../terminal-text.ts";

interface ExportCommandOptions extends KeyOptions, FilterOptions {
  readonly out: string;
  readonly format?: "jsonl" | "json" | "csv";
}

/** Writes entries to a file: JSONL proves itself, JSON and CSV are views of it. */
export async function run(
  context: Context,
  positionals: readonly string[],
  options: ExportCommandOptions,
): Promise<ExitCode> {
  const [location = ""] = ledgerAnd(positionals);
  const { out, signal } = context;
  const { format = "jsonl", out: file } = options;
  requireSeparateStdout(context, file);
  const filter = filterOf(options);
  return withLedger(
    context,
    location,
    { mode: "sign", key: options.key, passphraseEnv: options.passphraseEnv },
    async (ledger) => {
      const progress = out.progress("exporting");
      let lines = 0;
      async function* counting(): AsyncGenerator<string> {
        for await (const line of ledger.export({ format, filter })) {
          signal.throwIfAborted();
          lines += 1;
          progress.update(lines);
          yield line;
        }
      }
      // A spreadsheet has no room for the checkpoint: it stands beside it.
      const checkpointFile = format === "csv" && file !== "-" ? `${file}.checkpoint` : null;
      if (checkpointFile !== null) await writeDocument(out, checkpointFile, [await ledger.checkpoint()]);
      try {
        await writeDocument(out, file, counting());
      } finally {
        progress.end();
      }
      const isProof = format === "jsonl";
      await out.object("exported", { origin: ledger.origin, exported: format, out: file, checkpoint: checkpointFile });
      if (file === "-") return EXIT.ok;
      await out.line(
        `${out.style.green("✓")} exported to ${safeText(file)}${checkpointFile === null ? "" : `, checkpoint in ${safeText(checkpointFile)}`}`,
      );
      if (isProof) out.note(`Anyone can check it, offline: tallystick verify ${safeText(file)} --policy POLICY-FILE`);
      else out.note(`${format.toUpperCase()} is a view for reading; only the JSONL format can be verified`);
      return EXIT.ok;
    },
  );
}
