import { utf8Bytes } from "#hash-platform";
import { CONTAINER_DEPTH_MAX, canonicalize, isJsonObject, type JsonValue, parseCanonical } from "./canonical-json.ts";
import { type Checkpoint, parseLedgerCheckpoint } from "./checkpoint.ts";
import { assertDigestSizes, type Disclosure, parseDisclosure } from "./commitment.ts";
import { type Entry, leafHashHex, parseCommitment, parseEntry } from "./entry.ts";
import { type EntryFilter, parseEntryFilter } from "./entry-filter.ts";
import { MalformedError } from "./errors.ts";
import type { Event, JsonObject } from "./event.ts";
import { INCLUSION_HASHES_MAX, RECEIPT_BYTES_MAX, SAFE_INTEGER_MAX } from "./limits.ts";
import { parseNote } from "./note.ts";

/** Form of an export: a header line and one line for each entry, each canonical JSON. Normative: spec/export.md. */

export const EXPORT_FORMAT = "tallystick/export/v1";

/** Which entries an export holds; leaf indexes, both included. */
export type ExportSelection =
  | { readonly kind: "range"; readonly first: number; readonly last: number }
  | { readonly kind: "filter"; readonly first: number; readonly last: number; readonly filter: JsonObject }
  | { readonly kind: "complete"; readonly first: number; readonly last: number; readonly filter: EntryFilter };

/** Entry 0 whole, and its inclusion proof (hex hashes). */
export interface ExportGenesis {
  readonly entry: string;
  readonly event: JsonObject;
  /** 32 hex digits. */
  readonly salt: string;
  readonly inclusion: readonly string[];
}

interface HeaderParts {
  /** Checkpoint note. */
  readonly checkpoint: string;
  readonly genesis: ExportGenesis;
  readonly origin: string;
}

export type ExportHeaderParts = HeaderParts &
  (
    | {
        readonly selection: Extract<ExportSelection, { kind: "range" | "complete" }>;
        /** Range proof, hex. */
        readonly proof: readonly string[];
      }
    | { readonly selection: Extract<ExportSelection, { kind: "filter" }> }
  );

/** A header that has the form of one; nothing of it is verified. */
export interface ExportHeader extends HeaderParts {
  readonly selection: ExportSelection;
  /** Range proof; null with kind `filter`. */
  readonly proof: readonly string[] | null;
  /** What the note says. */
  readonly head: Checkpoint;
}

/** What a line shows of its entry; untrusted until verified. */
export type ExportContent =
  | { readonly kind: "whole"; readonly event: JsonObject; readonly salt: string }
  | { readonly kind: "fields"; readonly disclosure: Disclosure }
  | { readonly kind: "erased"; readonly erasedBy: number }
  /** With kind `complete`: the body is left out. */
  | { readonly kind: "withheld" }
  /** An entry of scheme `control` that comes in another form than with its event: its body is gone. */
  | { readonly kind: "missing" };

/** A line that has the form of one. */
export interface ExportLine {
  readonly entryText: string;
  readonly entry: Entry;
  /** Hex leaf hash of the entry text. */
  readonly leafHash: string;
  readonly content: ExportContent;
  /** Inclusion proof (hex hashes) with kind `filter`, else null. */
  readonly inclusion: readonly string[] | null;
}

export type ExportLineParts = { readonly entry: string; readonly inclusion?: readonly string[] } & (
  | { readonly event: JsonValue | Event; readonly salt: string }
  | Disclosure
  | { readonly erasedBy: number }
  /** With kind `complete` alone: the body is left out. */
  | { readonly event?: never; readonly erasedBy?: never; readonly names?: never }
);

/** Hashes of a range proof: two inclusion proofs of a tree of 2^63 leaves. */
const RANGE_HASHES_MAX = 126;

/** Text of a header with its newline. Throws what `parseExportHeader` throws for parts that make none. */
export function formatExportHeader(parts: ExportHeaderParts): string {
  const text = canonicalize({ ...parts, format: EXPORT_FORMAT }, { depthMax: CONTAINER_DEPTH_MAX });
  parseExportHeader(text);
  return `${text}\n`;
}

/** Text of a line with its newline. The parts must be well-formed; `parseExportLine` is the check. */
export function formatExportLine(parts: ExportLineParts): string {
  return `${canonicalize(parts, { depthMax: CONTAINER_DEPTH_MAX })}\n`;
}

/**
 * Header of an export, given without its newline: spec/export.md E1-E3, nothing verified. Errors: `newer-format`,
 * `malformed-export`; `malformed-note` and `malformed-checkpoint` for the note in it.
 */
export function parseExportHeader(line: string): ExportHeader {
  const value = parseLine(line);
  refuseFormat(value.format);
  const members = Object.keys(value).join();
  const selection = selectionOf(value.selection);
  const isRange = selection.kind !== "filter";
  expectMembers(members, `checkpoint,format,genesis,origin${isRange ? ",proof" : ""},selection`);
  const { checkpoint, origin } = value;
  if (typeof checkpoint !== "string") malformed("checkpoint: expected a string");
  if (typeof origin !== "string") malformed("origin: expected a string");
  const genesis = genesisOf(value.genesis);
  const proof = isRange ? hashesOf(value.proof, RANGE_HASHES_MAX, "proof") : null;
  const head = parseLedgerCheckpoint(parseNote(checkpoint).text);
  if (selection.first > selection.last || selection.last >= head.size) {
    malformed(`selection: expected first ≤ last < ${head.size}, got ${selection.first} and ${selection.last}`);
  }
  return { checkpoint, genesis, origin, selection, proof, head };
}

/**
 * Line of an export, given without its newline: spec/export.md L1 and L2, nothing verified. Errors: `malformed-export` for its
 * form (also where the entry has another scheme), `malformed-entry`. An entry of scheme `control` without its event has the
 * content `missing`.
 */
export function parseExportLine(line: string, kind: ExportSelection["kind"]): ExportLine {
  const value = parseLine(line);
  const { entry: entryText } = value;
  const content = contentOf(value, kind);
  if (typeof entryText !== "string") malformed("entry: expected a string");
  const inclusion = kind === "filter" ? hashesOf(value.inclusion, INCLUSION_HASHES_MAX, "inclusion") : null;
  const entry = parseEntry(entryText);
  const isBodiless = entry.scheme === "control" && content.kind !== "whole";
  if (!isBodiless) checkScheme(entry, content);
  const leafHash = leafHashHex(entryText);
  return { entryText, entry, leafHash, content: isBodiless ? { kind: "missing" } : content, inclusion };
}

function parseLine(line: string): JsonObject {
  const isTooLong = line.length * 3 >= RECEIPT_BYTES_MAX && utf8Bytes(line) + 1 > RECEIPT_BYTES_MAX;
  if (isTooLong) malformed(`expected at most ${RECEIPT_BYTES_MAX} bytes`);
  const value = asExport(() => parseCanonical(line, { depthMax: CONTAINER_DEPTH_MAX }));
  if (!isJsonObject(value)) malformed("expected an object");
  return value;
}

function refuseFormat(format: JsonValue | undefined): void {
  if (format === EXPORT_FORMAT) return;
  if (typeof format === "string" && /^tallystick\/export\/v(?:[2-9]|[1-9][0-9]+)$/.test(format)) {
    throw new MalformedError(
      "newer-format",
      `export: a newer version of tallystick wrote this, in ${format.slice(0, 40)}`,
    );
  }
  malformed(`expected the format ${EXPORT_FORMAT}`);
}

function selectionOf(value: JsonValue | undefined): ExportSelection {
  if (!isJsonObject(value)) malformed("selection: expected an object");
  const { kind, first, last, filter } = value;
  if (kind !== "range" && kind !== "filter" && kind !== "complete")
    malformed("selection: expected the kind range, filter or complete");
  expectMembers(Object.keys(value).join(), kind === "range" ? "first,kind,last" : "filter,first,kind,last");
  expectIndex(first, "selection: first");
  expectIndex(last, "selection: last");
  if (kind === "range") return { kind, first, last };
  if (kind === "complete") return { kind, first, last, filter: parseEntryFilter(filter).filter };
  if (!isJsonObject(filter)) malformed("selection: expected filter to be an object");
  return { kind, first, last, filter };
}

function genesisOf(value: JsonValue | undefined): ExportGenesis {
  if (!isJsonObject(value)) malformed("genesis: expected an object");
  expectMembers(Object.keys(value).join(), "entry,event,inclusion,salt");
  const { entry, event } = value;
  if (typeof entry !== "string") malformed("genesis: expected entry to be a string");
  if (!isJsonObject(event)) malformed("genesis: expected event to be an object");
  const salt = saltOf(value.salt);
  return { entry, event, salt, inclusion: hashesOf(value.inclusion, INCLUSION_HASHES_MAX, "genesis inclusion") };
}

function contentOf(value: JsonObject, kind: ExportSelection["kind"]): ExportContent {
  const proof = kind === "filter" ? ",inclusion" : "";
  const members = Object.keys(value).join();
  if (members === `entry,erasedBy${proof}`) {
    const { erasedBy } = value;
    expectIndex(erasedBy, "erasedBy");
    return { kind: "erased", erasedBy };
  }
  if (members === "entry" && kind === "complete") return { kind: "withheld" };
  if (members === `digests,disclosed,entry${proof},names`) {
    const { names, disclosed, digests } = value;
    return { kind: "fields", disclosure: asExport(() => parseDisclosure({ names, disclosed, digests })) };
  }
  expectMembers(members, `entry,event${proof},salt`);
  if (!isJsonObject(value.event)) malformed("event: expected an object");
  return { kind: "whole", event: value.event, salt: saltOf(value.salt) };
}

function checkScheme(entry: Entry, content: ExportContent): void {
  const { scheme } = entry;
  if (content.kind === "erased") {
    if (content.erasedBy <= entry.index)
      malformed(`erasedBy: expected an index above ${entry.index}, got ${content.erasedBy}`);
    return;
  }
  if (content.kind === "withheld") return;
  if ((scheme === "fields") !== (content.kind === "fields")) {
    malformed(`scheme ${scheme} comes with ${scheme === "fields" ? "a disclosure" : "the event and its salt"}`);
  }
  if (content.kind === "fields") {
    const { hash } = parseCommitment(entry.commitment);
    asExport(() => assertDigestSizes(hash, content.disclosure));
  }
}

function expectMembers(members: string, expected: string): void {
  if (members !== expected) malformed(`expected exactly the members ${expected}`);
}

function expectIndex(value: JsonValue | undefined, what: string): asserts value is number {
  if (typeof value !== "number" || !Number.isInteger(value) || value < 0 || value > SAFE_INTEGER_MAX) {
    malformed(`${what}: expected an index`);
  }
}

function saltOf(value: JsonValue | undefined): string {
  if (typeof value !== "string" || !/^[0-9a-f]{32}$/.test(value)) malformed("salt: expected 32 lower-case hex digits");
  return value;
}

function hashesOf(value: JsonValue | undefined, max: number, what: string): readonly string[] {
  if (!Array.isArray(value) || value.length > max) malformed(`${what}: expected an array of at most ${max} hashes`);
  if (!value.every((hash) => typeof hash === "string" && /^[0-9a-f]{64}$/.test(hash))) {
    malformed(`${what}: expected hashes of 64 lower-case hex digits`);
  }
  return value as readonly string[];
}

function asExport<T>(read: () => T): T {
  try {
    return read();
  } catch (cause) {
    if (!(cause instanceof MalformedError)) throw cause;
    const { message, details } = cause;
    throw new MalformedError("malformed-export", `export: ${message}`, { details, cause });
  }
}

function malformed(message: string): never {
  throw new MalformedError("malformed-export", `export: ${message}`);
}
