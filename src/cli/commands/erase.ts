import { type Context, indexIn, ledgerAnd, recordedText, withLedger } from "../context.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import type { KeyOptions } from "../key-files.ts";
import { safeText } from "../terminal-text.ts";

interface EraseCommandOptions extends KeyOptions {
  readonly field?: readonly string[];
  readonly reason: string;
  readonly basis?: string;
  readonly actor?: string;
}

/** Erases the body of an entry, or single fields of it; the entry, its hash and every proof stay. */
export async function run(
  context: Context,
  positionals: readonly string[],
  options: EraseCommandOptions,
): Promise<ExitCode> {
  const [location = "", indexText = ""] = ledgerAnd(positionals, ["INDEX"]);
  const { field: fields = [], basis, actor } = options;
  const reason = recordedText("--reason", options.reason);
  if (basis !== undefined) recordedText("--basis", basis);
  const { out } = context;
  return withLedger(
    context,
    location,
    { mode: "sign", key: options.key, passphraseEnv: options.passphraseEnv },
    async (ledger) => {
      const index = indexIn(ledger, indexText);
      const erased = await ledger.erase(
        { index, ...(fields.length === 0 ? {} : { fields }) },
        { reason, ...(basis === undefined ? {} : { basis }), ...(actor === undefined ? {} : { actor }) },
      );
      await out.object("erased", { erased: index, fields: fields.length === 0 ? null : fields, ...erased });
      const what =
        fields.length === 0 ? `the body of entry ${index}` : `${fields.map(safeText).join(", ")} of entry ${index}`;
      await out.line(`${out.style.green("✓")} erased ${what}, as entry ${erased.index} records`);
      if (erased.purged === "done") return EXIT.ok;
      out.warn(
        "the erased bytes are still in the file, because a reader holds them back or the disk is full: they leave it as soon as they can, while the ledger is open for writing or when it next is",
      );
      return EXIT.inconclusive;
    },
  );
}
