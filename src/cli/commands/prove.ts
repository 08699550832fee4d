import type { Level } from "../../ledger/ledger.ts";
import { type Context, indexIn, ledgerAnd, requireSeparateStdout, withLedger } from "../context.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import { UsageError } from "../failure.ts";
import { writeDocument } from "../files.ts";
import type { KeyOptions } from "../key-files.ts";
import { safeText } from "../terminal-text.ts";

interface ProveOptions extends KeyOptions {
  readonly out: string;
  readonly until?: Level;
  readonly disclose?: readonly string[];
  readonly tlogProof?: boolean;
}

/** Writes a receipt of one entry, which verifies offline under the policy; or the bare C2SP inclusion proof. */
export async function run(context: Context, positionals: readonly string[], options: ProveOptions): Promise<ExitCode> {
  const [location = "", indexText = ""] = ledgerAnd(positionals, ["INDEX"]);
  const { out, signal } = context;
  const { disclose = [], tlogProof = false } = options;
  if (tlogProof && disclose.length > 0)
    throw new UsageError("--tlog-proof shows no content, so there is nothing to --disclose");
  requireSeparateStdout(context, options.out);
  return withLedger(context, location, { mode: "sign", ...options }, async (ledger) => {
    const index = indexIn(ledger, indexText);
    const how = { signal, until: options.until ?? "checkpointed" };
    const proof = tlogProof
      ? await ledger.proveInclusion(index, how)
      : await ledger.prove(index, { ...how, ...(disclose.length === 0 ? {} : { disclose }) });
    await writeDocument(out, options.out, [proof]);
    const kind = tlogProof ? "tlog-proof" : "receipt";
    await out.object("proof", { index, kind, origin: ledger.origin, out: options.out });
    if (options.out === "-") return EXIT.ok;
    const file = safeText(options.out);
    await out.line(`${out.style.green("✓")} ${tlogProof ? "inclusion proof" : "receipt"} of entry ${index} in ${file}`);
    if (!tlogProof) out.note(`Anyone can check it, offline: tallystick verify ${file} --policy POLICY-FILE`);
    return EXIT.ok;
  });
}
