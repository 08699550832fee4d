import { canonicalize, parseCanonical } from "../core/canonical-json.ts";
import { parseCheckpoint } from "../core/checkpoint.ts";
import { encodeHex } from "../core/encoding.ts";
import { type ParsedFilter, parseEntryFilter } from "../core/entry-filter.ts";
import { isTallystickError, PolicyError, UnavailableError } from "../core/errors.ts";
import type { JsonObject } from "../core/event.ts";
import { type ExportGenesis, formatExportHeader, formatExportLine } from "../core/export-format.ts";
import { parseNote } from "../core/note.ts";
import { proveInclusion, proveRange } from "../core/proof.ts";
import { type ExportedEntry, exportLine } from "./export-line.ts";
import { READ_PAGE_ENTRIES } from "./limits.ts";
import { checkOptionNames, type Names } from "./options.ts";
import type { ProofParts } from "./prove.ts";
import { checkFilter, Query, type QueryFilter, type QueryParts, timeBound } from "./query.ts";
import type { StoredEntry } from "./storage.ts";
import { timeSlices } from "./time-slices.ts";

export interface ExportOptions {
  /** `jsonl` proves itself; `json` and `csv` are views of it. */
  readonly format?: "jsonl" | "json" | "csv";
  /** A filter makes every member proved, and completeness the operator's word. `first` and `last` alone keep it complete. */
  readonly filter?: QueryFilter;
  /**
   * Proves that the filter left nothing out: every entry of the index range comes along, those that do not match with only the
   * fields that show it. One of scheme `event` can show nothing by itself: its body is withheld, and a verifier says that it may match.
   */
  readonly proveComplete?: boolean | undefined;
  /** Shows these fields alone (and those that `proveComplete` needs). Every selected entry must be of scheme `fields`. */
  readonly disclose?: readonly string[] | undefined;
  /** Called with each line of format `jsonl`, before it is given. */
  readonly onEntry?: (entry: ExportedEntry) => void;
}

export interface ExportParts extends Omit<ProofParts, "checkpoint" | "memo"> {
  readonly query: QueryParts;
  readonly checkpoint: () => Promise<string>;
  readonly edge: ProofParts["edge"];
}

interface Selection {
  readonly first: number;
  readonly last: number;
  /** The filter without its index bounds; null for a contiguous range. */
  readonly filter: QueryFilter | null;
  /** The filter, to be asked of every entry of the range; null unless completeness is proved. */
  readonly proved: ParsedFilter | null;
}

const OPTIONS: Names<ExportOptions> = {
  format: true,
  filter: true,
  proveComplete: true,
  disclose: true,
  onEntry: true,
};

/**
 * Lines of an export, each ending in a newline. Format `jsonl` as spec/export.md; `json` one array of entries; `csv` one row an
 * entry with the columns index, time, action, actor, outcome, leafHash, event. Errors: those of `checkpoint`, `RangeError`;
 * `not-disclosable` for a filter that cannot be proved, and for single fields of an entry that is committed as a whole; `TypeError`
 * for `proveComplete` and `disclose` of a view.
 */
export async function* exportLedger(parts: ExportParts, options: ExportOptions): AsyncGenerator<string> {
  checkOptionNames("export", options, OPTIONS);
  refuseForViews(options);
  const note = await parts.checkpoint();
  const { size, origin } = parseCheckpoint(parseNote(note).text);
  const selection = selectionOf(options, size);
  if (options.format === "csv") return yield* csvLines(parts, options.filter ?? {});
  if (options.format === "json") return yield* jsonLines(parts, options.filter ?? {}, { checkpoint: note, origin });
  yield await headerLine(parts, { note, size, origin, selection });
  const isFilter = selection.filter !== null && selection.proved === null;
  for await (const stored of selected(parts, selection)) {
    const proof = isFilter ? { inclusion: await inclusionOf(stored.index, size, parts) } : {};
    const line = exportLine(stored, { state: parts.state, proved: selection.proved, disclose: options.disclose });
    options.onEntry?.(line.entry);
    yield formatExportLine({ entry: stored.entry, ...line.content, ...proof });
  }
}

/** What is asked of a proof must not look as if a view had it: a view shows every field of what it selects. */
function refuseForViews({ format = "jsonl", proveComplete = false, disclose }: ExportOptions): void {
  if (format === "jsonl" || (!proveComplete && disclose === undefined)) return;
  const option = proveComplete ? "proveComplete" : "disclose";
  throw new TypeError(`export: expected no ${option} with format ${format}: it is a view; only jsonl proves anything`);
}

function selectionOf({ filter = {}, proveComplete = false }: ExportOptions, size: number): Selection {
  const { first = 0, last = size - 1, order, ...rest } = filter;
  if (first < 0 || first > last || last >= size)
    throw new RangeError(`export: expected 0 ≤ first ≤ last < ${size}, got ${first} and ${last}`);
  if (order === "descending") throw new TypeError("export: entries are exported in the order of the log");
  const asked = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined));
  if (Object.keys(asked).length === 0) return { first, last, filter: null, proved: null };
  return { first, last, filter: asked, proved: proveComplete ? provedFilter(asked) : null };
}

/** The filter as a verifier asks it of every entry. */
function provedFilter(filter: QueryFilter): ParsedFilter {
  checkFilter(filter);
  const { text, from, to, ...rest } = filter;
  if (text !== undefined) {
    throw new PolicyError(
      "not-disclosable",
      "a search for text cannot be proved complete: that a text stands nowhere shows only if every payload is shown. Ask for values of fields instead (where: --where PATH=VALUE), or give the selection without its proof",
      { details: { filter: "text" } },
    );
  }
  const bounds = {
    ...(from === undefined ? {} : { from: timeBound(from, "from") }),
    ...(to === undefined ? {} : { to: timeBound(to, "to") }),
  };
  try {
    return parseEntryFilter({ ...rest, ...bounds } as JsonObject);
  } catch (cause) {
    if (!isTallystickError(cause)) throw cause;
    throw new PolicyError("not-disclosable", `this filter cannot be proved complete: ${cause.message}`, { cause });
  }
}

async function headerLine(
  parts: ExportParts,
  head: { readonly note: string; readonly size: number; readonly origin: string; readonly selection: Selection },
): Promise<string> {
  const { note, size, origin, selection } = head;
  const { first, last, filter, proved } = selection;
  const genesis = await wholeEntry(0, size, parts);
  const common = { checkpoint: note, genesis, origin };
  if (filter !== null && proved === null)
    return formatExportHeader({ ...common, selection: { kind: "filter", first, last, filter: filter as JsonObject } });
  const proof = (await proveRange(first, last, size, parts.edge.tileReader(parts.storage))).map(encodeHex);
  if (proved !== null)
    return formatExportHeader({
      ...common,
      selection: { kind: "complete", first, last, filter: proved.filter },
      proof,
    });
  return formatExportHeader({ ...common, selection: { kind: "range", first, last }, proof });
}

/** A control entry whole, as the header of an export shows genesis, with its inclusion proof in the tree of `size`. Error: `storage-corrupt`. */
export async function wholeEntry(
  index: number,
  size: number,
  parts: Omit<ProofParts, "checkpoint" | "memo">,
): Promise<ExportGenesis> {
  const [stored] = await parts.storage.readEntries(index, index + 1);
  if (stored === undefined || stored.body === null || stored.salts === null) {
    const what = index === 0 ? "the genesis entry" : `the control entry ${index}`;
    throw new UnavailableError("storage-corrupt", `${what} is missing; run verify`, { details: { index } });
  }
  return {
    entry: stored.entry,
    event: parseCanonical(stored.body) as JsonObject,
    salt: encodeHex(stored.salts),
    inclusion: await inclusionOf(index, size, parts),
  };
}

async function* selected(parts: ExportParts, selection: Selection): AsyncGenerator<StoredEntry> {
  const { first, last, filter, proved } = selection;
  if (filter !== null && proved === null) {
    for await (const { index } of new Query(parts.query, { ...filter, first, last })) {
      const [stored] = await parts.storage.readEntries(index, index + 1);
      if (stored !== undefined) yield stored;
    }
    return;
  }
  const pause = timeSlices();
  for (let from = first; from <= last; from += READ_PAGE_ENTRIES) {
    yield* await parts.storage.readEntries(from, Math.min(last + 1, from + READ_PAGE_ENTRIES));
    await pause();
  }
}

async function inclusionOf(
  index: number,
  size: number,
  parts: Pick<ProofParts, "edge" | "storage">,
): Promise<string[]> {
  return (await proveInclusion(index, size, parts.edge.tileReader(parts.storage))).map(encodeHex);
}

/** What begins otherwise than an export is not taken for one. */
async function* jsonLines(
  parts: ExportParts,
  filter: QueryFilter,
  head: { readonly checkpoint: string; readonly origin: string },
): AsyncGenerator<string> {
  yield `{"format":"tallystick/view/v1","checkpoint":${JSON.stringify(head.checkpoint)},"origin":${JSON.stringify(head.origin)},"entries":[`;
  let separator = "\n";
  for await (const entry of new Query(parts.query, filter)) {
    yield `${separator}${JSON.stringify(entry)}`;
    separator = ",\n";
  }
  yield "\n]}\n";
}

const CSV_COLUMNS = ["index", "time", "action", "actor", "outcome", "leafHash", "event"] as const;

async function* csvLines(parts: ExportParts, filter: QueryFilter): AsyncGenerator<string> {
  yield `${CSV_COLUMNS.join(",")}\r\n`;
  for await (const { index, time, leafHash, event } of new Query(parts.query, filter)) {
    const actor = typeof event?.actor === "object" ? event.actor.id : event?.actor;
    const cells = [
      String(index),
      time,
      event?.action,
      actor,
      event?.outcome,
      leafHash,
      event === null ? "" : canonicalize(event),
    ];
    yield `${cells.map((cell) => csvCell(cell ?? "")).join(",")}\r\n`;
  }
}

/** RFC 4180, and no cell that a spreadsheet would run as a formula: what is logged comes from strangers. */
function csvCell(text: string): string {
  const safe = /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
