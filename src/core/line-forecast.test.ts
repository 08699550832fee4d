import { describe, expect, it } from "vitest";
import { canonicalize, parseCanonical } from "./canonical-json.ts";
import { commitBody } from "./commitment.ts";
import { concatBytes, decodeHex, encodeUtf8 } from "./encoding.ts";
import { type Entry, formatEntry, leafHashHex } from "./entry.ts";
import { examineBody } from "./entry-body.ts";
import { isTallystickError } from "./errors.ts";
import type { Event } from "./event.ts";
import { type ExportLine, formatExportLine, parseExportLine } from "./export-format.ts";
import type { HashName } from "./hash.ts";
import { strictText } from "./hash-platform.ts";
import { type EntryBefore, LineForecast } from "./line-forecast.ts";

const SALT = "00112233445566778899aabbccddeeff";
const BEFORE: EntryBefore = { index: 98, leaf: "ab".repeat(32), time: "2026-03-01T10:00:00.000Z" };
const EVENT: Event = {
  action: "order.refunded",
  actor: { id: "bob", name: 'Böb "B"\n\u{1f600}' },
  id: "refund-7",
  payload: { amount: 1250, ratio: 0.5, tags: [null, true, "ä€"] },
  targets: [{ id: "order-7" }],
};

interface Parts {
  readonly event?: Uint8Array;
  readonly entry?: Partial<Entry>;
  readonly salt?: string;
  readonly hash?: HashName;
}

/** The line of an event that follows `BEFORE`, committed to as it is, whatever it is. */
function lineOf({ event = encodeUtf8(canonicalize(EVENT)), entry = {}, salt = SALT, hash = "sha256" }: Parts = {}) {
  const commitment = `${hash}:${commitBody(hash, "event", decodeHex(SALT, { code: "malformed-entry" }), event)}`;
  const next: Omit<Entry, "v"> = {
    index: 99,
    previous: BEFORE.leaf,
    time: BEFORE.time,
    scheme: "event",
    commitment,
    ...entry,
  };
  const text = formatEntry(next);
  const bytes = concatBytes(
    encodeUtf8(`{"entry":${JSON.stringify(text)},"event":`),
    event,
    encodeUtf8(`,"salt":"${salt}"}`),
  );
  return { bytes, leaf: leafHashHex(text) };
}

const read = (line: Uint8Array, before = BEFORE, hash: HashName = "sha256") =>
  new LineForecast(hash).read(line, before);

/** The line as the readers see it that say what is wrong, or null if anything is. */
function readSlowly(line: Uint8Array): ExportLine | null {
  const text = strictText(line);
  if (text === null) return null;
  try {
    const parsed = parseExportLine(text, "range");
    const { entry, content } = parsed;
    if (content.kind !== "whole" || examineBody(entry, content).problems.length > 0) return null;
    return parsed;
  } catch (error) {
    if (!isTallystickError(error)) throw error;
    return null;
  }
}

/** Whether the line is recognized, which it may be only where nothing is wrong with it, and it follows. */
function expectNoMore(line: Uint8Array): boolean {
  const told = read(line);
  if (told === null) return false;
  const parsed = readSlowly(line);
  expect(parsed, strictText(line) ?? "no text").not.toBeNull();
  const { entry, leafHash, content } = parsed as ExportLine;
  expect(entry).toMatchObject({ index: BEFORE.index + 1, previous: BEFORE.leaf, scheme: "event", time: told.time });
  expect(told.time >= BEFORE.time).toBe(true);
  expect(told.leaf).toBe(leafHash);
  const event = (content as Extract<ExportLine["content"], { kind: "whole" }>).event;
  expect(told.id).toBe(event.id ?? null);
  expect(event.signatures).toBeUndefined();
  return true;
}

const REPLACEMENTS: readonly (readonly number[])[] = [
  ..." !\"#'+,-./059:A[\\]_`aenu{|}~".split("").map((unit) => [unit.charCodeAt(0)]),
  ...[0x00, 0x09, 0x0a, 0x1f, 0x7f, 0x80, 0xc3, 0xff].map((byte) => [byte]),
  [],
  [0x22, 0x22],
  [0x5c, 0x22],
  [0x30, 0x30],
];

function* changesOf(bytes: Uint8Array): Generator<Uint8Array> {
  for (let at = 0; at <= bytes.length; at++) {
    for (const replacement of REPLACEMENTS) {
      for (const dropped of [0, 1])
        yield concatBytes(bytes.subarray(0, at), Uint8Array.from(replacement), bytes.subarray(at + dropped));
    }
    yield bytes.slice(0, at);
  }
}

describe("LineForecast", () => {
  it("recognizes the line of the entry that was to come", () => {
    const { bytes, leaf } = lineOf();
    expect(read(bytes)).toEqual({ leaf, time: BEFORE.time, id: "refund-7" });
    expect(expectNoMore(bytes)).toBe(true);
    expect(strictText(bytes)).toBe(formatExportLine(parseCanonical(strictText(bytes)!) as never).trimEnd());
    const later = lineOf({ entry: { time: "2026-03-01T10:00:00.001Z" } });
    expect(read(later.bytes)).toMatchObject({ leaf: later.leaf, time: "2026-03-01T10:00:00.001Z" });
    const plain = lineOf({ event: encodeUtf8('{"action":"a"}') });
    expect(read(plain.bytes)).toEqual({ leaf: plain.leaf, time: BEFORE.time, id: null });
  });

  it("recognizes one line after the other, also where the index gets another digit", () => {
    for (const hash of ["sha256", "sha512", "sha3-256"] as const) {
      const forecast = new LineForecast(hash);
      let before = BEFORE;
      for (const index of [99, 100, 101]) {
        const { bytes, leaf } = lineOf({ hash, entry: { index, previous: before.leaf } });
        expect(forecast.read(bytes, before)).toMatchObject({ leaf });
        before = { index, leaf, time: BEFORE.time };
      }
    }
  });

  it("says nothing of a line that says anything else", () => {
    const { bytes } = lineOf();
    expect(read(bytes, { ...BEFORE, index: 97 })).toBeNull();
    expect(read(bytes, { ...BEFORE, leaf: "ac".repeat(32) })).toBeNull();
    expect(read(bytes, { ...BEFORE, time: "2026-03-01T10:00:00.001Z" })).toBeNull();
    expect(read(bytes, BEFORE, "sha3-256")).toBeNull();
    for (const scheme of ["control", "fields"] as const) expect(read(lineOf({ entry: { scheme } }).bytes)).toBeNull();
    for (const salt of [SALT.replace("0", "1"), SALT.toUpperCase(), SALT.replace("0", "g"), `${SALT}00`, SALT.slice(2)])
      expect(read(lineOf({ salt }).bytes)).toBeNull();
  });

  it("leaves lines with more or less in them, and with what is signed or the ledger's own, to others", () => {
    const { bytes } = lineOf();
    const text = strictText(bytes)!;
    const { entry, event, salt } = parseCanonical(text) as { entry: string; event: never; salt: string };
    for (const other of [
      formatExportLine({ entry, event, salt, inclusion: [] }),
      formatExportLine({ entry, erasedBy: 120 }),
      formatExportLine({ entry }),
      `${text} `,
      ` ${text}`,
      text.replace(',"event"', ', "event"'),
      text.replace('\\"index\\"', "\\u0022index\\u0022"),
      text.replace('"entry":', '"entry":"","entry":'),
      `{"entry":"${"a".repeat(4_000)}","event":{},"salt":"${SALT}"}`,
      `{"entry":"${"a".repeat(314)}"`,
      "",
      "{",
    ])
      expect(read(encodeUtf8(other.trimEnd() === text ? other : other.replace(/\n$/, ""))), other).toBeNull();
    const signatures = [{ keyId: "ab".repeat(32), signature: "AAAA" }];
    for (const rare of [{ ...EVENT, signatures }, { action: "ledger.erasure" }, { action: "ledger.seal" }])
      expect(read(lineOf({ event: encodeUtf8(canonicalize(rare)) }).bytes)).toBeNull();
  });

  it("recognizes nothing that is refused or read otherwise, whatever byte is changed", () => {
    const { bytes } = lineOf();
    let recognized = 0;
    for (const changed of changesOf(bytes)) if (expectNoMore(changed)) recognized += 1;
    // Where a byte was replaced by itself, or by one of a later time.
    expect(recognized).toBeGreaterThan(100);
  });

  it("recognizes nothing that is refused or read otherwise, whatever is committed to", () => {
    let recognized = 0;
    for (const event of changesOf(encodeUtf8(canonicalize(EVENT)))) {
      if (expectNoMore(lineOf({ event }).bytes)) recognized += 1;
    }
    expect(recognized).toBeGreaterThan(1_000);
  });
});
