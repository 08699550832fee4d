import { canonicalize, type JsonValue, parseCanonical } from "../core/canonical-json.ts";
import { parseCheckpoint } from "../core/checkpoint.ts";
import type { Disclosure } from "../core/commitment.ts";
import { encodeHex } from "../core/encoding.ts";
import { parseEntry } from "../core/entry.ts";
import { UnavailableError } from "../core/errors.ts";
import type { JsonObject } from "../core/event.ts";
import { formatExportHeader, formatExportLine } from "../core/export-format.ts";
import type { LedgerState } from "../core/ledger-state.ts";
import { parseNote } from "../core/note.ts";
import { proveInclusion, proveRange } from "../core/proof.ts";
import { READ_PAGE_ENTRIES } from "./limits.ts";
import { disclosureOf, type ProofParts } from "./prove.ts";
import { Query, type QueryFilter, type QueryParts } from "./query.ts";
import type { StoredEntry } from "./storage.ts";
import { timeSlices } from "./time-slices.ts";

export interface ExportOptions {
  /** `jsonl` proves itself; `json` and `csv` are views of it. */
  readonly format?: "jsonl" | "json" | "csv";
  /** A filter makes every member proved, and completeness the operator's word. `first` and `last` alone keep it complete. */
  readonly filter?: QueryFilter;
}

export interface ExportParts extends Omit<ProofParts, "checkpoint"> {
  readonly query: QueryParts;
  readonly checkpoint: () => Promise<string>;
  readonly edge: ProofParts["edge"];
}

interface Selection {
  readonly first: number;
  readonly last: number;
  /** The filter without its index bounds; null for a contiguous range. */
  readonly filter: QueryFilter | null;
}

/**
 * Lines of an export, each ending in a newline. Format `jsonl` as spec/export.md; `json` one array of entries; `csv` one row an
 * entry with the columns index, time, action, actor, outcome, leafHash, event. Errors: those of `checkpoint`, `RangeError`.
 */
export async function* exportLedger(parts: ExportParts, options: ExportOptions): AsyncGenerator<string> {
  const note = await parts.checkpoint();
  const { size, origin } = parseCheckpoint(parseNote(note).text);
  const selection = selectionOf(options.filter ?? {}, size);
  if (options.format === "csv") return yield* csvLines(parts, options.filter ?? {});
  if (options.format === "json") return yield* jsonLines(parts, options.filter ?? {}, { checkpoint: note, origin });
  yield await headerLine(parts, { note, size, origin, selection });
  for await (const stored of selected(parts, selection)) {
    const proof = selection.filter === null ? {} : { inclusion: await inclusionOf(stored.index, size, parts) };
    yield formatExportLine({ entry: stored.entry, ...contentOf(stored, parts.state), ...proof });
  }
}

function selectionOf(filter: QueryFilter, size: number): Selection {
  const { first = 0, last = size - 1, order, ...rest } = filter;
  if (first < 0 || first > last || last >= size)
    throw new RangeError(`export: expected 0 ≤ first ≤ last < ${size}, got ${first} and ${last}`);
  if (order === "descending") throw new TypeError("export: entries are exported in the order of the log");
  return { first, last, filter: Object.keys(rest).length === 0 ? null : rest };
}

async function headerLine(
  parts: ExportParts,
  head: { readonly note: string; readonly size: number; readonly origin: string; readonly selection: Selection },
): Promise<string> {
  const { note, size, origin, selection } = head;
  const { first, last, filter } = selection;
  const [stored] = await parts.storage.readEntries(0, 1);
  if (stored === undefined || stored.body === null || stored.salts === null) {
    throw new UnavailableError("storage-corrupt", "the genesis entry is missing; run verify");
  }
  const genesis = {
    entry: stored.entry,
    event: parseCanonical(stored.body) as JsonObject,
    salt: encodeHex(stored.salts),
    inclusion: await inclusionOf(0, size, parts),
  };
  const common = { checkpoint: note, genesis, origin };
  if (filter !== null)
    return formatExportHeader({ ...common, selection: { kind: "filter", first, last, filter: filter as JsonObject } });
  const proof = (await proveRange(first, last, size, parts.edge.tileReader(parts.storage))).map(encodeHex);
  return formatExportHeader({ ...common, selection: { kind: "range", first, last }, proof });
}

async function* selected(parts: ExportParts, { first, last, filter }: Selection): AsyncGenerator<StoredEntry> {
  if (filter !== null) {
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

async function inclusionOf(index: number, size: number, parts: ExportParts): Promise<string[]> {
  return (await proveInclusion(index, size, parts.edge.tileReader(parts.storage))).map(encodeHex);
}

function contentOf(
  stored: StoredEntry,
  state: LedgerState,
): { event: JsonValue; salt: string } | Disclosure | { erasedBy: number } {
  const { scheme } = parseEntry(stored.entry);
  if (scheme !== "fields" && stored.body !== null && stored.salts !== null)
    return { event: parseCanonical(stored.body), salt: encodeHex(stored.salts) };
  const by = state.erasures.get(stored.index)?.wholeBy;
  if (by != null) return { erasedBy: by };
  if (scheme !== "fields")
    throw new UnavailableError(
      "storage-corrupt",
      `the body of entry ${stored.index} is missing and no erasure names it; run verify`,
      { details: { index: stored.index } },
    );
  return disclosureOf(stored, { state, disclose: undefined });
}

async function* jsonLines(
  parts: ExportParts,
  filter: QueryFilter,
  head: { readonly checkpoint: string; readonly origin: string },
): AsyncGenerator<string> {
  yield `{"checkpoint":${JSON.stringify(head.checkpoint)},"format":"tallystick/view/v1","origin":${JSON.stringify(head.origin)},"entries":[`;
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
