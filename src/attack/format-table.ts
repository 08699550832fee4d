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
/** Where titles leave too little for what stands on the left, columns are numbered. */
const NUMBERED_CELL = 4;
const LABEL_WIDTH_MIN = 25;
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
  const layout = layoutOf(columns, width);
  const lines = [
    paint(BOLD, `${attacks.length} attacks on a ledger of ${at.size} entries, and what noticed them`),
    "",
    ...headLines(layout).map((line) => paint(BOLD, line)),
  ];
  for (const { id, title } of table.attackers) {
    const own = rows.filter(({ attacker }) => attacker === id);
    if (own.length === 0) continue;
    // What nobody attacked needs no heading.
    if (id !== "none") lines.push(paint(BOLD, title));
    for (const { label, notices } of mergeAlike(own, columns, id === "none" ? "" : INDENT))
      lines.push(...rowLines(label, notices, layout, paint));
  }
  lines.push(
    "",
    ...legendLines(table, { ...layout, width }, paint),
    "",
    ...lessons(table).flatMap((text) => wrap(text, width, "")),
  );
  return lines.map((line) => `${line}\n`).join("");
}

const BOLD = 1;
const DIM = 2;
const GREEN = 32;

/** `X` noticed, `·` not noticed, `–` nothing to ask. */
function markOf({ noticed }: Notice): "X" | "·" | "–" {
  return noticed === null ? "–" : noticed ? "X" : "·";
}

interface Layout {
  readonly labelWidth: number;
  readonly cellWidths: readonly number[];
  /** What stands above each column, line by line. */
  readonly heads: readonly (readonly string[])[];
  readonly isNumbered: boolean;
}

function layoutOf(columns: readonly AttackColumn[], width: number): Layout {
  // A title, and a space before it.
  const titled = columns.map(({ title }) => Math.max(...title.map((line) => line.length)) + 1);
  const sum = (widths: readonly number[]): number => widths.reduce((all, one) => all + one, 0);
  const isNumbered = width - sum(titled) < LABEL_WIDTH_MIN;
  const cellWidths = isNumbered ? columns.map(() => NUMBERED_CELL) : titled;
  const heads = isNumbered
    ? [columns.map((_, i) => String(i + 1))]
    : [0, 1].map((line) => columns.map(({ title }) => title[line] ?? ""));
  return { labelWidth: width - sum(cellWidths), cellWidths, heads, isNumbered };
}

function headLines({ heads, labelWidth, cellWidths }: Layout): string[] {
  return heads.map((line) =>
    `${" ".repeat(labelWidth)}${line.map((title, i) => centre(title, cellWidths[i] ?? 0)).join("")}`.trimEnd(),
  );
}

function centre(text: string, cellWidth: number): string {
  const left = Math.ceil((cellWidth - text.length) / 2);
  return `${" ".repeat(left)}${text}`.padEnd(cellWidth);
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

function rowLines(
  label: string,
  notices: readonly Notice[],
  { labelWidth, cellWidths }: Layout,
  paint: Paint,
): string[] {
  // A cell begins with spaces.
  const labels = wrap(label, labelWidth, `${INDENT}${INDENT}`);
  const cells = notices.map((notice, i) => {
    const mark = markOf(notice);
    return centre(mark, cellWidths[i] ?? 0).replace(mark, paint(mark === "X" ? GREEN : DIM, mark));
  });
  return labels.map((line, i) => (i === 0 ? `${line.padEnd(labelWidth)}${cells.join("")}`.trimEnd() : line));
}

function legendLines(
  { columns, rows }: AttackTable,
  { width, isNumbered }: Layout & { readonly width: number },
  paint: Paint,
): string[] {
  const names = columns.map(({ name }, i) => (isNumbered ? `${i + 1} ${name}` : name));
  const nameWidth = Math.max(...names.map((name) => name.length)) + 2;
  const named = columns.flatMap(({ holds }, i) =>
    wrap(`${names[i]?.padEnd(nameWidth)}${holds}`, width, " ".repeat(nameWidth)),
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

/** What to learn from it, in the numbers that were measured; nothing of attacks that are not in the table. */
function lessons({ rows }: AttackTable): string[] {
  const by = (...attackers: string[]): AttackRow[] => rows.filter(({ attacker }) => attackers.includes(attacker));
  const noticed = (among: readonly AttackRow[], column: string): number =>
    among.filter(({ notices }) => notices[column]?.noticed === true).length;
  const plain = by("write");
  const keyless = by("recompute", "replay");
  const keyed = by("key", "lock");
  const operator = by("lock", "fork");
  const backups = by("backup");
  const dated = by("time");
  const sentences: readonly (readonly [readonly AttackRow[], string])[] = [
    [
      keyless,
      `Needs a key: of ${keyless.length} attacks that recompute every hash without the log key, the chain walk notices ${noticed(keyless, "chain")}, and hashing up to a head signed by a pinned key ${noticed(keyless, "head")}.`,
    ],
    [
      keyed,
      `Needs outside evidence: of ${keyed.length} attacks with the log key, verifying the ledger notices ${noticed(keyed, "verify")}. Against its own operator the boot check notices ${noticed(operator, "boot")} of ${operator.length}, a client's checkpoint ${noticed(operator, "checkpoint")}, a client's package ${noticed(operator, "package")}, a witness ${noticed(operator, "witness")}, a mirror ${noticed(operator, "mirror")}.`,
    ],
    [
      plain,
      `Needs content in other hands: of ${plain.length} plain writes, a client's checkpoint notices ${noticed(plain, "checkpoint")}, and a package of that visit, which holds what the entries said, ${noticed(plain, "package")}.`,
    ],
    [
      backups,
      `Needs a memory that is not restored with the rest: of ${backups.length} backups put back, the boot check notices ${noticed(backups, "boot")}, a client's package ${noticed(backups, "package")}, a witness ${noticed(backups, "witness")}, a mirror ${noticed(backups, "mirror")}.`,
    ],
    [
      dated,
      `Needs time from outside: of ${dated.length} attacks on when, verifying the ledger notices ${noticed(dated, "verify")}, with a time stamp ${noticed(dated, "rfc3161")}, with a block ${noticed(dated, "opentimestamps")}. Of ${keyed.length} with the log key, whose holder has any history stamped anew, these notice ${noticed(keyed, "rfc3161")} and ${noticed(keyed, "opentimestamps")}: they prove when, never which.`,
    ],
    [
      rows,
      "Seen by nothing here: an event that was false when it was logged, an event that was never logged, and whatever the operator changes before anybody outside holds a checkpoint or a receipt of it.",
    ],
  ];
  return sentences.filter(([asked]) => asked.length > 0).map(([, sentence]) => sentence);
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
