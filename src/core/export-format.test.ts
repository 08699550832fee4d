import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { canonicalize, type JsonValue } from "./canonical-json.ts";
import { type ErrorCode, isTallystickError } from "./errors.ts";
import type { JsonObject } from "./event.ts";
import {
  type ExportHeaderParts,
  type ExportLineParts,
  formatExportHeader,
  formatExportLine,
  parseExportHeader,
  parseExportLine,
} from "./export-format.ts";
import { RECEIPT_BYTES_MAX } from "./limits.ts";

const spec = readFileSync(new URL("../../spec/export.md", import.meta.url), "utf8");
const [whole, filtered] = [...spec.matchAll(/^```\n([\s\S]*?)^```$/gm)].map((match) =>
  match[1]!.split("\n").slice(0, -1),
);

const HEADER = whole![0]!;
const FILTER_HEADER = filtered![0]!;
const CONTROL = whole![1]!;
const EVENT = whole![2]!;
const FIELDS = whole![3]!;
const FILTER_LINE = filtered![1]!;

function refusalOf(call: () => unknown): { code: ErrorCode; message: string } {
  try {
    call();
  } catch (error) {
    if (!isTallystickError(error)) throw error;
    return { code: error.code, message: error.message };
  }
  throw new Error("expected a refusal");
}

const parsed = (line: string): Record<string, JsonValue> => JSON.parse(line) as Record<string, JsonValue>;
const without = (value: JsonObject, ...names: string[]): JsonObject =>
  Object.fromEntries(Object.entries(value).filter(([name]) => !names.includes(name)));
const deep = (levels: number): JsonValue => JSON.parse("[".repeat(levels) + "]".repeat(levels)) as JsonValue;
const entryOf = (line: string): string => parsed(line).entry as string;

describe("parseExportHeader", () => {
  it("reads the headers of the specification", () => {
    expect(parseExportHeader(HEADER)).toMatchObject({
      origin: "example.com/audit",
      selection: { kind: "range", first: 0, last: 2 },
      proof: [],
      head: { origin: "example.com/audit", size: 3 },
    });
    expect(parseExportHeader(FILTER_HEADER)).toMatchObject({
      selection: { kind: "filter", first: 0, last: 2, filter: { action: "user.login" } },
      proof: null,
    });
  });

  it("is the inverse of formatExportHeader", () => {
    for (const line of [HEADER, FILTER_HEADER]) {
      const { format: _format, ...parts } = parsed(line);
      expect(formatExportHeader(parts as unknown as ExportHeaderParts)).toBe(`${line}\n`);
    }
    const { format: _format, ...parts } = parsed(HEADER);
    const wrong = { ...parts, proof: ["ab"] } as unknown as ExportHeaderParts;
    expect(refusalOf(() => formatExportHeader(wrong)).code).toBe("malformed-export");
  });

  const header = parsed(HEADER);
  const genesis = header.genesis as JsonObject;
  const hash = "ab".repeat(32);
  it.each<[string, JsonObject, string]>([
    ["an array", [] as unknown as JsonObject, "expected an object"],
    ["no format", without(header, "format"), "expected the format tallystick/export/v1"],
    ["another format", { ...header, format: "tallystick/receipt/v1" }, "expected the format tallystick/export/v1"],
    [
      "an unknown member",
      { ...header, comment: "" },
      "expected exactly the members checkpoint,format,genesis,origin,proof,selection",
    ],
    ["no proof of a range", without(header, "proof"), "expected exactly the members"],
    [
      "a range proof of a filter",
      { ...parsed(FILTER_HEADER), proof: [] },
      "expected exactly the members checkpoint,format,genesis,origin,selection",
    ],
    ["a checkpoint that is no string", { ...header, checkpoint: 1 }, "checkpoint: expected a string"],
    ["an origin that is no string", { ...header, origin: null }, "origin: expected a string"],
    ["a selection that is no object", { ...header, selection: "all" }, "selection: expected an object"],
    [
      "another kind",
      { ...header, selection: { first: 0, kind: "all", last: 2 } },
      "selection: expected the kind range, filter or complete",
    ],
    [
      "a filter with kind range",
      { ...header, selection: { filter: {}, first: 0, kind: "range", last: 2 } },
      "expected exactly the members first,kind,last",
    ],
    [
      "kind filter without a filter",
      { ...without(header, "proof"), selection: { first: 0, kind: "filter", last: 2 } },
      "expected exactly the members filter,first,kind,last",
    ],
    [
      "a filter that is no object",
      { ...without(header, "proof"), selection: { filter: [], first: 0, kind: "filter", last: 2 } },
      "selection: expected filter to be an object",
    ],
    [
      "a negative index",
      { ...header, selection: { first: -1, kind: "range", last: 2 } },
      "selection: first: expected an index",
    ],
    [
      "a broken index",
      { ...header, selection: { first: 0, kind: "range", last: 1.5 } },
      "selection: last: expected an index",
    ],
    [
      "first above last",
      { ...header, selection: { first: 2, kind: "range", last: 1 } },
      "selection: expected first ≤ last < 3, got 2 and 1",
    ],
    [
      "last beyond the checkpoint",
      { ...header, selection: { first: 0, kind: "range", last: 3 } },
      "selection: expected first ≤ last < 3, got 0 and 3",
    ],
    [
      "too many hashes",
      { ...header, proof: Array.from({ length: 127 }, () => hash) },
      "proof: expected an array of at most 126 hashes",
    ],
    [
      "a hash in capitals",
      { ...header, proof: [hash.toUpperCase()] },
      "proof: expected hashes of 64 lower-case hex digits",
    ],
    ["a genesis that is no object", { ...header, genesis: null }, "genesis: expected an object"],
    [
      "a genesis without its salt",
      { ...header, genesis: without(genesis, "salt") },
      "expected exactly the members entry,event,inclusion,salt",
    ],
    [
      "a genesis whose entry is no string",
      { ...header, genesis: { ...genesis, entry: {} } },
      "genesis: expected entry to be a string",
    ],
    [
      "a genesis whose event is no object",
      { ...header, genesis: { ...genesis, event: "x" } },
      "genesis: expected event to be an object",
    ],
    [
      "a genesis with a short salt",
      { ...header, genesis: { ...genesis, salt: "ab" } },
      "salt: expected 32 lower-case hex digits",
    ],
    [
      "a genesis with too long a proof",
      { ...header, genesis: { ...genesis, inclusion: Array.from({ length: 65 }, () => hash) } },
      "genesis inclusion: expected an array of at most 64 hashes",
    ],
  ])("refuses %s", (_title, value, message) => {
    const refusal = refusalOf(() => parseExportHeader(canonicalize(value)));
    expect(refusal.code).toBe("malformed-export");
    expect(refusal.message).toContain(`export: ${message}`);
  });

  it("takes members whose names contain a comma for what they are", () => {
    const { genesis: _genesis, origin: _origin, ...rest } = header;
    expect(refusalOf(() => parseExportHeader(canonicalize({ ...rest, "genesis,origin": 1 }))).code).toBe(
      "malformed-export",
    );
    expect(refusalOf(() => parseExportLine('{"entry,erasedBy":1}', "range")).code).toBe("malformed-export");
  });

  it("refuses what is no checkpoint with the code of that", () => {
    expect(refusalOf(() => parseExportHeader(canonicalize({ ...header, checkpoint: "x" }))).code).toBe(
      "malformed-note",
    );
    const extended = (header.checkpoint as string).replace("=\n\n", "=\nextension\n\n");
    expect(refusalOf(() => parseExportHeader(canonicalize({ ...header, checkpoint: extended }))).code).toBe(
      "malformed-checkpoint",
    );
  });

  it("leaves exports of a later version to a later version", () => {
    for (const line of [HEADER.replace("export/v1", "export/v2"), '{"format":"tallystick/export/v10"}']) {
      expect(refusalOf(() => parseExportHeader(line)).code).toBe("newer-format");
    }
    expect(refusalOf(() => parseExportHeader('{"format":"tallystick/export/v02"}')).code).toBe("malformed-export");
  });

  it("refuses other spellings of a good header", () => {
    for (const line of [
      "",
      " ",
      `${HEADER}\n`,
      ` ${HEADER}`,
      `\ufeff${HEADER}`,
      HEADER.slice(1),
      JSON.stringify(parsed(HEADER), null, 1),
    ]) {
      expect(refusalOf(() => parseExportHeader(line)).code).toBe("malformed-export");
    }
  });
});

describe("parseExportLine", () => {
  it("reads the lines of the specification", () => {
    expect(parseExportLine(CONTROL, "range").content).toMatchObject({
      kind: "whole",
      event: { action: "ledger.genesis" },
    });
    expect(parseExportLine(EVENT, "range")).toMatchObject({
      entry: { index: 1, scheme: "event" },
      leafHash: "7a299377722c6f526e0f0a334ea5e69f7cd00a43d1ca6217032038e378a38132",
      content: { kind: "whole", salt: "facc5d50cdbeb740559eca39a6a5adff" },
      inclusion: null,
    });
    expect(parseExportLine(FIELDS, "range").content).toMatchObject({
      kind: "fields",
      disclosure: { names: { length: 6 } },
    });
    expect(parseExportLine(FILTER_LINE, "filter").inclusion).toHaveLength(2);
    const erased = canonicalize({ entry: entryOf(EVENT), erasedBy: 7 });
    expect(parseExportLine(erased, "range").content).toEqual({ kind: "erased", erasedBy: 7 });
    const erasedFields = canonicalize({ entry: entryOf(FIELDS), erasedBy: 7, inclusion: [] });
    expect(parseExportLine(erasedFields, "filter")).toMatchObject({ content: { kind: "erased" }, inclusion: [] });
  });

  it("is the inverse of formatExportLine", () => {
    for (const line of [CONTROL, EVENT, FIELDS, FILTER_LINE]) {
      expect(formatExportLine(parsed(line) as unknown as ExportLineParts)).toBe(`${line}\n`);
    }
  });

  it("takes events nested to 64, and lines nested to 68", () => {
    const line = (levels: number) =>
      formatExportLine({
        entry: entryOf(EVENT),
        event: { action: "a", payload: deep(levels) },
        salt: "ab".repeat(16),
      }).slice(0, -1);
    expect(parseExportLine(line(63), "range").content.kind).toBe("whole");
    expect(parseExportLine(line(66), "range").content.kind).toBe("whole");
    expect(refusalOf(() => line(67)).code).toBe("too-deep");
  });

  const event = parsed(EVENT);
  const fields = parsed(FIELDS);
  it.each<[string, JsonObject, "range" | "filter", string]>([
    ["an inclusion proof in a range", parsed(FILTER_LINE), "range", "expected exactly the members entry,event,salt"],
    ["no inclusion proof in a filter", event, "filter", "expected exactly the members entry,event,inclusion,salt"],
    ["an unknown member", { ...event, comment: "" }, "range", "expected exactly the members entry,event,salt"],
    ["no salt", without(event, "salt"), "range", "expected exactly the members entry,event,salt"],
    ["a disclosure without names", without(fields, "names"), "range", "expected exactly the members entry,event,salt"],
    ["an event that is no object", { ...event, event: [] }, "range", "event: expected an object"],
    ["an entry that is no string", { ...event, entry: 1 }, "range", "entry: expected a string"],
    [
      "too long an inclusion proof",
      { ...event, inclusion: Array.from({ length: 65 }, () => "ab".repeat(32)) },
      "filter",
      "inclusion: expected an array of at most 64 hashes",
    ],
    [
      "a whole event of scheme fields",
      { ...event, entry: entryOf(FIELDS) },
      "range",
      "scheme fields comes with a disclosure",
    ],
    [
      "a disclosure of scheme event",
      { ...fields, entry: entryOf(EVENT) },
      "range",
      "scheme event comes with the event and its salt",
    ],
    [
      "a name twice",
      { ...fields, names: ["action", "action"] },
      "range",
      'names: expected them strictly ascending, got "action" after "action"',
    ],
    [
      "a digest of another hash",
      { ...fields, digests: { ...(fields.digests as JsonObject), actor: "ab".repeat(64) } },
      "range",
      'digest of "actor": expected 64 lower-case hex digits',
    ],
    [
      "an erasure by the entry itself",
      { entry: entryOf(EVENT), erasedBy: 1 },
      "range",
      "erasedBy: expected an index above 1, got 1",
    ],
    ["an erasure by no index", { entry: entryOf(EVENT), erasedBy: "2" }, "range", "erasedBy: expected an index"],
  ])("refuses %s", (_title, value, kind, message) => {
    const refusal = refusalOf(() => parseExportLine(canonicalize(value), kind));
    expect(refusal.code).toBe("malformed-export");
    expect(refusal.message).toContain(`export: ${message}`);
  });

  it("tells a control event without its body from other defects", () => {
    for (const line of [
      { entry: entryOf(CONTROL), erasedBy: 7 },
      { ...fields, entry: entryOf(CONTROL) },
    ]) {
      expect(parseExportLine(canonicalize(line), "range").content).toEqual({ kind: "missing" });
    }
  });

  it("refuses what is no entry, and what is no JSON", () => {
    const line = canonicalize({ ...event, entry: `${entryOf(EVENT)} ` });
    expect(refusalOf(() => parseExportLine(line, "range")).code).toBe("malformed-entry");
    expect(refusalOf(() => parseExportLine('{"entry":1,"entry":1}', "range"))).toEqual({
      code: "malformed-export",
      message: "export: /entry: expected each member once",
    });
    expect(refusalOf(() => parseExportLine(`"${"x".repeat(RECEIPT_BYTES_MAX - 2)}"`, "range")).message).toBe(
      "export: expected at most 34078720 bytes",
    );
  });
});
