import type { Notice } from "./evidence.ts";
import type { AttackColumn, AttackRow, AttackTable } from "./run-attacks.ts";

export interface AttackTableFormat {
  /** ANSI colours. The table reads the same without. */
  readonly color?: boolean;
  /** Characters of a line, 80 to 100; default 100. */
  readonly width?: number;
}

const WIDTH_MIN = 80;
const WIDTH_MAX = 100;
const CELL_WIDTH = 8;
const INDENT = "  ";

type Paint = (code: number, text: string) => string;

/**
 * The table as text for a terminal or a README, each line at most `width` long and ending in a newline. Attacks of one
 * attacker that were answered alike share a line. Everything in it but the names is taken from the table.
 */
export function formatAttackTable(table: AttackTable, format: AttackTableFormat = {}): string {
  const width = Math.min(WIDTH_MAX, Math.max(WIDTH_MIN, Math.floor(format.width ?? WIDTH_MAX)));
  const paint: Paint = (code, text) =>
    format.color === true && text !== "" ? `\u001b[${code}m${text}\u001b[0m` : text;
  const { columns, rows, at } = table;
  const attacks = rows.filter(({ attacker }) => attacker !== "none");
  const labelWidth = width - columns.length * CELL_WIDTH;
  const lines = [
    paint(BOLD, `${attacks.length} attacks on a ledger of ${at.size} entries, and what noticed them`),
    "",
    ...headLines(columns, labelWidth).map((line) => paint(BOLD, line)),
  ];
  for (const { id, title } of table.attackers) {
    const own = rows.filter(({ attacker }) => attacker === id);
    if (own.length === 0) continue;
    // What nobody attacked needs no heading.
    if (id !== "none") lines.push(paint(BOLD, title));
    for (const { label, notices } of mergeAlike(own, columns, id === "none" ? "" : INDENT))
      lines.push(...rowLines(label, notices, labelWidth, paint));
  }
  lines.push("", ...legendLines(table, width, paint), "", ...lessons(table).flatMap((text) => wrap(text, width, "")));
  return lines.map((line) => `${line}\n`).join("");
}

const BOLD = 1;
const DIM = 2;
const GREEN = 32;

/** `X` noticed, `·` not noticed, `–` nothing to ask. */
function markOf({ noticed }: Notice): "X" | "·" | "–" {
  return noticed === null ? "–" : noticed ? "X" : "·";
}

function headLines(columns: readonly AttackColumn[], labelWidth: number): string[] {
  return [0, 1].map((line) =>
    `${" ".repeat(labelWidth)}${columns.map(({ title }) => centre(title[line] ?? "")).join("")}`.trimEnd(),
  );
}

function centre(text: string): string {
  const left = Math.ceil((CELL_WIDTH - text.length) / 2);
  return `${" ".repeat(left)}${text}`.padEnd(CELL_WIDTH);
}

/** Rows with the same marks become one, at the place of the first. */
function mergeAlike(
  rows: readonly AttackRow[],
  columns: readonly AttackColumn[],
  indent: string,
): { readonly label: string; readonly notices: readonly Notice[] }[] {
  const merged = new Map<string, { titles: string[]; notices: readonly Notice[] }>();
  for (const row of rows) {
    const notices = columns.map(({ id }) => row.notices[id] ?? { noticed: null, codes: [] });
    const inconclusive = isInconclusive(row);
    const key = notices.map(markOf).join("") + inconclusive;
    const group = merged.get(key) ?? { titles: [], notices };
    group.titles.push(inconclusive ? `${row.title} *` : row.title);
    merged.set(key, group);
  }
  return [...merged.values()].map(({ titles, notices }) => ({ label: `${indent}${titles.join(", ")}`, notices }));
}

/** Nothing was found, and verify does not say that nothing is wrong. */
function isInconclusive({ exit }: AttackRow): boolean {
  return exit === 3;
}

function rowLines(label: string, notices: readonly Notice[], labelWidth: number, paint: Paint): string[] {
  const labels = wrap(label, labelWidth - 1, `${INDENT}${INDENT}`);
  const cells = notices.map((notice) => {
    const mark = markOf(notice);
    return centre(mark).replace(mark, paint(mark === "X" ? GREEN : DIM, mark));
  });
  return labels.map((line, i) => (i === 0 ? `${line.padEnd(labelWidth)}${cells.join("")}`.trimEnd() : line));
}

function legendLines({ columns, rows }: AttackTable, width: number, paint: Paint): string[] {
  const nameWidth = Math.max(...columns.map(({ name }) => name.length)) + 2;
  const named = columns.flatMap(({ name, holds }) =>
    wrap(`${name.padEnd(nameWidth)}${holds}`, width, " ".repeat(nameWidth)),
  );
  const marks = wrap(
    "X noticed   · not noticed   – nothing to ask   (leftmost X: the weakest evidence that is enough)",
    width,
    "",
  );
  const star = rows.some(isInconclusive)
    ? wrap(
        "* Not noticed, but not called intact either: verify without a pin is inconclusive (exit code 3).",
        width,
        "",
      )
    : [];
  return [...marks, ...star, "", ...named].map((line) => paint(DIM, line));
}

/** What to learn from it, in the numbers that were measured. */
function lessons({ rows }: AttackTable): string[] {
  const by = (...attackers: string[]): AttackRow[] => rows.filter(({ attacker }) => attackers.includes(attacker));
  const noticed = (among: readonly AttackRow[], column: string): number =>
    among.filter(({ notices }) => notices[column]?.noticed === true).length;
  const keyless = by("recompute", "replay");
  const keyed = by("key", "lock");
  const operator = by("lock");
  return [
    `Needs a key: of ${keyless.length} attacks that recompute every hash without the log key, the chain walk notices ${noticed(keyless, "chain")}, and hashing up to a head signed by a pinned key ${noticed(keyless, "head")}.`,
    `Needs outside evidence: of ${keyed.length} attacks with the log key, verifying the ledger notices ${noticed(keyed, "verify")}; against its own operator the lock store notices ${noticed(operator, "boot")} of ${operator.length}, and a client's checkpoint ${noticed(operator, "checkpoint")}.`,
    "Seen by nothing here: an event that was false when it was logged, an event that was never logged, and whatever the operator changes before anybody outside holds a checkpoint or a receipt of it.",
  ];
}

/** Lines of at most `width` characters, broken at spaces; those after the first begin with `hanging`. */
function wrap(text: string, width: number, hanging: string): string[] {
  const lines: string[] = [];
  let rest = text;
  while (rest.length > width) {
    const cut = rest.lastIndexOf(" ", width);
    const at = cut > hanging.length ? cut : width;
    lines.push(rest.slice(0, at).trimEnd());
    rest = `${hanging}${rest.slice(at).trimStart()}`;
  }
  return [...lines, rest];
}
