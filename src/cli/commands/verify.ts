import { basename } from "node:path";
import { isTallystickError, type TallystickError } from "../../core/errors.ts";
import { NOTE_BYTES_MAX, POLICY_BYTES_MAX } from "../../core/limits.ts";
import type { VerifyReport } from "../../core/report.ts";
import { exitCodeOf } from "../../core/report.ts";
import { formatReportHtml } from "../../core/report-html.ts";
import { bracketOf } from "../../core/timeline.ts";
import { pathOf } from "../../open.ts";
import { isWebLocation } from "../../published.ts";
import { type VerifyOptions, verify } from "../../verify.ts";
import { bitcoinFrom, tsaRootsFrom } from "../anchor-services.ts";
import { type Context, ledgerAnd, stateOf } from "../context.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import { UsageError } from "../failure.ts";
import { readInput, writeDocument } from "../files.ts";
import { reportLines } from "../report-text.ts";
import { safeText } from "../terminal-text.ts";

interface VerifyCommandOptions {
  readonly policy?: string;
  readonly expect?: string;
  readonly since?: string;
  readonly first?: number;
  readonly last?: number;
  readonly allowSelfAsserted?: boolean;
  readonly remember?: boolean;
  readonly findingsMax?: number;
  readonly tsaRoot?: readonly string[];
  readonly bitcoin?: readonly string[];
  readonly requireAnchor?: boolean;
  readonly at?: number;
  readonly report?: string;
}

/** Verifies a ledger, a published ledger, a receipt, an export, a checkpoint or an evidence package, told apart by content, and answers with six verdicts. */
export async function run(
  context: Context,
  positionals: readonly string[],
  options: VerifyCommandOptions,
): Promise<ExitCode> {
  const [file = ""] = ledgerAnd(positionals);
  const { out, signal } = context;
  context.reading = true;
  const { first, last, findingsMax } = options;
  const progress = out.progress("verifying");
  const text = (name: string | undefined, bytesMax: number) =>
    name === undefined ? undefined : readInput(name, bytesMax);
  const verifyOptions: VerifyOptions = {
    policy: await text(options.policy, POLICY_BYTES_MAX),
    expect: await text(options.expect, NOTE_BYTES_MAX),
    since: await text(options.since, NOTE_BYTES_MAX),
    first,
    last,
    allowSelfAsserted: options.allowSelfAsserted ?? false,
    remember: options.remember ?? false,
    ...(options.tsaRoot === undefined ? {} : { tsaRoots: await tsaRootsFrom(options.tsaRoot) }),
    bitcoin: await bitcoinFrom(options.bitcoin, signal),
    requireAnchor: options.requireAnchor ?? false,
    signal,
    onProgress: (done, total) => progress.update(done, total),
    ...(findingsMax === undefined ? {} : { findingsMax }),
    ...(context.options.state === undefined ? {} : { state: context.options.state }),
  };
  let report: VerifyReport;
  try {
    report = await verify(file, verifyOptions);
  } catch (error) {
    throw namingFile(error, options);
  } finally {
    progress.end();
  }
  const { at } = options;
  if (at !== undefined && at >= report.size && report.size > 0)
    throw new UsageError(`expected --at to be an entry of what was verified, below ${report.size}, got ${at}`);
  const bracket = at === undefined ? null : { index: at, ...bracketOf(report.timeline, at) };
  await out.object("report", bracket === null ? report : { ...report, bracket });
  for (const line of reportLines(report, { file, style: out.style, columns: out.columns, bracket }))
    await out.line(line);
  if (options.report !== undefined) await writeReport(context, file, { report, page: options.report });
  if (options.remember === true) noteRemembered(context, file, report);
  return signal.aborted ? EXIT.interrupted : exitCodeOf(report);
}

/** Which file it was, where what was handed in to compare with is no checkpoint, or the policy is none. */
function namingFile(error: unknown, options: VerifyCommandOptions): unknown {
  if (!isTallystickError(error)) return error;
  const known = error as TallystickError;
  if (error.code === "malformed-policy" && options.policy !== undefined)
    known.message = `--policy ${options.policy}: ${known.message}`;
  const { option } = error.details ?? {};
  if (error.code !== "malformed-config" || (option !== "expect" && option !== "since")) return error;
  known.message = known.message.replace(`${option}:`, `--${option} ${options[option]}:`);
  return known;
}

async function writeReport(
  { out }: Context,
  file: string,
  { report, page }: { readonly report: VerifyReport; readonly page: string },
): Promise<void> {
  if (page === "-") throw new UsageError("expected --report to name a file");
  const time = new Date().toISOString();
  await writeDocument(out, page, [
    formatReportHtml(report, { file: isWebLocation(file) ? file : basename(file), time }),
  ]);
  out.note(`the report as a page is in ${safeText(page)}`);
}

function noteRemembered(context: Context, file: string, report: VerifyReport): void {
  const { out } = context;
  const state = stateOf(context);
  if (report.origin !== null && report.ok && report.pin !== "none" && state.lastSeen(report.origin) !== undefined)
    out.note(
      `remembered: from now on, this machine requires this history of ${isWebLocation(file) ? file : pathOf(file)}`,
    );
  else out.warn("nothing was remembered: only a ledger that verified under a pinned key is");
}
