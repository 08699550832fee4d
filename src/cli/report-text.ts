import { exitCodeOf, type Finding, VERDICT_NAMES, type VerdictStatus, type VerifyReport } from "../core/report.ts";
import type { Bracket } from "../core/timeline.ts";
import { count, counted, type Style, safeText, wrap } from "./terminal-text.ts";

const SIGNS: Readonly<Record<VerdictStatus, readonly [sign: string, color: keyof Style]>> = {
  pass: ["✓", "green"],
  fail: ["✗", "red"],
  notEstablished: ["?", "yellow"],
  notChecked: ["·", "dim"],
};

const STATUS_WORDS: Readonly<Record<VerdictStatus, string>> = {
  pass: "pass",
  fail: "fail",
  notEstablished: "not established",
  notChecked: "not checked",
};

const NAME_WIDTH = 12;
const INDENT = 2;

/** The report of `verify` for a person: six verdicts with what they rest on, every finding, one sentence. */
export function reportLines(
  report: VerifyReport,
  options: {
    readonly file: string;
    readonly style: Style;
    readonly columns: number;
    /** What one entry lies between, if that was asked. */
    readonly bracket?: (Bracket & { readonly index: number }) | null;
  },
): string[] {
  const { style, columns, bracket = null } = options;
  const origin = report.origin === null ? "" : `  ${style.dim(safeText(report.origin))}`;
  const lines = [`${style.bold(safeText(options.file))}  ${kindOf(report)}${origin}`, ""];
  const left = INDENT + 2 + NAME_WIDTH + 2;
  for (const name of VERDICT_NAMES) {
    const { status, basis, unchecked } = report.verdicts[name];
    const [sign, color] = SIGNS[status];
    const lead = status === "notEstablished" || status === "notChecked" ? `${STATUS_WORDS[status]}: ` : "";
    const [first = "", ...rest] = wrap(`${lead}${safeText(basis)}`, columns - left);
    lines.push(`  ${style[color](sign)} ${style.bold(name.padEnd(NAME_WIDTH))}  ${first}`);
    for (const line of rest) lines.push(`${" ".repeat(left)}${line}`);
    for (const remark of unchecked) {
      const [head = "", ...more] = wrap(safeText(remark), columns - left - 2);
      lines.push(`${" ".repeat(left)}${style.dim(`- ${head}`)}`);
      for (const line of more) lines.push(`${" ".repeat(left + 2)}${style.dim(line)}`);
    }
  }
  if (bracket !== null) lines.push("", ...bracketLines(bracket, style, columns));
  lines.push("", ...findingLines(report, options));
  lines.push(summaryLine(report, style));
  return lines;
}

/** Between which outside times an entry was written, by which evidence, and what trusting it means. */
function bracketLines(bracket: Bracket & { readonly index: number }, style: Style, columns: number): string[] {
  const lines = [`  ${style.bold(`entry ${bracket.index}`)} was written`];
  const left = INDENT + 2 + NAME_WIDTH + 2;
  for (const [name, row] of [
    ["not before", bracket.notBefore],
    ["not after", bracket.notAfter],
  ] as const) {
    const label = `    ${name.padEnd(NAME_WIDTH)}  `;
    if (row === null) {
      lines.push(`${label}${style.dim("nothing outside says")}`);
      continue;
    }
    lines.push(`${label}${row.time}`);
    for (const text of [row.source, `if ${row.relies}`])
      for (const line of wrap(safeText(text), columns - left)) lines.push(`${" ".repeat(left)}${style.dim(line)}`);
  }
  return lines;
}

function kindOf({ kind, size, range }: VerifyReport): string {
  if (kind === "receipt" && range !== null) return `receipt of entry ${range[0]}`;
  if (kind === "checkpoint") return `checkpoint of size ${size}`;
  if (range !== null) return `${kind}, entries ${range[0]} to ${range[1]}`;
  return `${kind === "published" ? "published ledger" : kind}, ${counted(size, "entry", "entries")}`;
}

function findingLines(report: VerifyReport, { style, columns }: { style: Style; columns: number }): string[] {
  const lines: string[] = [];
  for (const finding of report.findings) lines.push(...oneFinding(finding, style, columns));
  if (report.findingsOmitted > 0)
    lines.push(style.dim(`  … and ${count(report.findingsOmitted)} more, not listed (--findings-max)`));
  if (lines.length > 0) lines.push("");
  return lines;
}

function oneFinding(finding: Finding, style: Style, columns: number): string[] {
  const where = finding.index === undefined ? "" : ` at ${finding.index}`;
  const head = `${finding.code}${where}`;
  const lines = [`  ${style.red("✗")} ${style.bold(head)}`];
  for (const line of wrap(safeText(finding.message), columns - 6)) lines.push(`    ${line}`);
  for (const name of ["expected", "found", "evidence"] as const) {
    const value = finding[name];
    if (value !== undefined) lines.push(`    ${style.dim(name.padEnd(8))}  ${safeText(value)}`);
  }
  return lines;
}

function summaryLine(report: VerifyReport, style: Style): string {
  const exit = exitCodeOf(report);
  const [sign, color] = exit === 0 ? SIGNS.pass : exit === 1 ? SIGNS.fail : SIGNS.notEstablished;
  const reindex = report.needsReindex ? "; searches may be wrong until `tallystick reindex`" : "";
  return style.bold(style[color](`${sign} ${safeText(report.summary)}${reindex}`));
}
