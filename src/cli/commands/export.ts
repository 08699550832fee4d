import { parseExportHeader } from "../../core/export-format.ts";
import type { ExportedEntry } from "../../ledger/export-line.ts";
import { SelectionTally } from "../../ledger/selection-tally.ts";
import { type Context, ledgerAnd, requireSeparateStdout, withLedger } from "../context.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import { UsageError } from "../failure.ts";
import { writeDocument } from "../files.ts";
import { type FilterOptions, filterOf } from "../filters.ts";
import type { KeyOptions } from "../key-files.ts";
import { noteSelection } from "../selection-notes.ts";
import { safeText } from "../terminal-text.ts";

interface ExportCommandOptions extends KeyOptions, FilterOptions {
  readonly out: string;
  readonly format?: "jsonl" | "json" | "csv";
  readonly disclose?: readonly string[];
  readonly proveComplete?: boolean;
}

/** Writes entries to a file: JSONL proves itself, JSON and CSV are views of it. */
export async function run(
  context: Context,
  positionals: readonly string[],
  options: ExportCommandOptions,
): Promise<ExitCode> {
  const [location = ""] = ledgerAnd(positionals);
  const { out, signal } = context;
  const { format = "jsonl", out: file, disclose, proveComplete } = options;
  requireSeparateStdout(context, file);
  if (format !== "jsonl" && (disclose !== undefined || proveComplete === true))
    throw new UsageError(
      `--prove-complete and --disclose are of the format jsonl: ${format} is a view, and proves nothing`,
    );
  const filter = filterOf(options);
  return withLedger(
    context,
    location,
    { mode: "sign", key: options.key, passphraseEnv: options.passphraseEnv },
    async (ledger) => {
      const progress = out.progress("exporting");
      const tally = new SelectionTally();
      const onEntry = (entry: ExportedEntry): void => tally.add(entry);
      let header = "";
      let lines = 0;
      async function* counting(): AsyncGenerator<string> {
        for await (const line of ledger.export({ format, filter, disclose, proveComplete, onEntry })) {
          signal.throwIfAborted();
          if (lines === 0) header = line;
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
      const kind = format === "jsonl" ? parseExportHeader(header.trimEnd()).selection.kind : null;
      await out.object("exported", {
        ...{ origin: ledger.origin, exported: format, out: file, checkpoint: checkpointFile },
        ...(kind === null ? {} : { kind, entries: tally.entries, open: tally.open }),
      });
      if (file === "-") return EXIT.ok;
      await out.line(
        `${out.style.green("✓")} exported to ${safeText(file)}${checkpointFile === null ? "" : `, checkpoint in ${safeText(checkpointFile)}`}`,
      );
      if (kind === null) {
        out.note(`${format.toUpperCase()} is a view for reading; only the JSONL format can be verified`);
        return EXIT.ok;
      }
      noteSelection(context, kind, tally);
      out.note(`Anyone can check it, offline: tallystick verify ${safeText(file)} --policy POLICY-FILE`);
      return EXIT.ok;
    },
  );
}
