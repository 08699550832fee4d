import { writeEvidencePackage } from "../../compliance/evidence-package.ts";
import { NOTE_BYTES_MAX } from "../../core/limits.ts";
import { type Context, ledgerAnd, stateOf, withLedger } from "../context.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import { UsageError } from "../failure.ts";
import { readInput, replaceable } from "../files.ts";
import { type FilterOptions, filterOf } from "../filters.ts";
import type { KeyOptions } from "../key-files.ts";
import { noteSelection } from "../selection-notes.ts";
import { bytes, count, counted, safeText } from "../terminal-text.ts";

interface EvidenceOptions extends KeyOptions, FilterOptions {
  readonly out: string;
  readonly disclose?: readonly string[];
  readonly proveComplete?: boolean;
  readonly since?: string;
  readonly headers?: string;
}

/** Pinned headers: 10,000 lines of at most 200 characters. */
const HEADERS_BYTES_MAX = 2_000_000;

/** Writes an evidence package: one file with everything that an auditor needs offline. */
export async function run(
  context: Context,
  positionals: readonly string[],
  options: EvidenceOptions,
): Promise<ExitCode> {
  const [location = ""] = ledgerAnd(positionals);
  const { out, signal } = context;
  const { disclose, proveComplete } = options;
  if (options.out === "-") throw new UsageError("a package is written to a file: give --out FILE.zip");
  const target = await replaceable(options.out);
  if (target.kind === "device") throw new UsageError(`a package is written to a file, which ${options.out} is not`);
  const since = options.since === undefined ? undefined : await readInput(options.since, NOTE_BYTES_MAX);
  const headers = options.headers === undefined ? undefined : await readInput(options.headers, HEADERS_BYTES_MAX);
  const use = { mode: "sign", key: options.key, passphraseEnv: options.passphraseEnv } as const;
  return withLedger(context, location, use, async (ledger) => {
    const progress = out.progress("writing");
    const written = await writeEvidencePackage(ledger, {
      out: options.out,
      filter: filterOf(options),
      disclose,
      proveComplete,
      since,
      headers,
      policy: stateOf(context).readPolicy(ledger.origin) ?? ledger.policy(),
      onProgress: (entries) => progress.update(entries),
      signal,
    }).finally(() => progress.end());
    const { report, ...facts } = written;
    const { ok, conclusive, summary } = report;
    await out.object("evidence-written", { ...facts, ok, conclusive, summary });
    const { entries, kind, anchors, anchorsLeftOut, sizeBytes } = written;
    const inside =
      kind === "range"
        ? counted(entries.member, "entry", "entries")
        : counted(entries.member, "matching entry", "matching entries");
    await out.line(
      `${out.style.green("✓")} ${safeText(options.out)}: ${inside} of ${safeText(written.origin)}, ${counted(anchors, "anchor")}, ${bytes(sizeBytes)}`,
    );
    if (anchorsLeftOut > 0)
      out.warn(
        `${counted(anchorsLeftOut, "older anchor was", "older anchors were")} left out: a package takes the latest ${count(anchors)}`,
      );
    noteSelection(context, kind, written);
    if (!ok) out.warn(`the ledger does not verify, and the package shows it: ${summary}`);
    out.note(`Anyone can check it, offline: tallystick verify ${safeText(options.out)} --policy POLICY-FILE`);
    return EXIT.ok;
  });
}
