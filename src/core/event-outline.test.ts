import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { canonicalize } from "./canonical-json.ts";
import { commitFields, commitOutline, cutFields, type Field, fieldDigest } from "./commitment.ts";
import { encodeUtf8 } from "./encoding.ts";
import { isTallystickError } from "./errors.ts";
import { type Event, parseEvent, searchTerms } from "./event.ts";
import { outlineEvent } from "./event-outline.ts";
import type { HashName } from "./hash.ts";

fc.configureGlobal({ seed: 8785 });

/** What an outline must say of bytes that `parseEvent` reads. */
interface Told {
  readonly id: string | null;
  readonly terms: readonly string[];
  readonly fields: readonly Field[];
}

function text(bytes: Uint8Array): string {
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
}

function outlined(body: Uint8Array): Told | null {
  const outline = outlineEvent(body, { fields: true });
  if (outline === null) return null;
  const terms: string[] = [];
  for (let i = 0; i < outline.terms; i++) {
    terms.push(outline.termKinds[i] + text(body.subarray(outline.termStarts[i], outline.termEnds[i])));
  }
  const fields: Field[] = [];
  for (let i = 0; i < outline.fields; i++) {
    const name = text(outline.fieldPrefixes[i]!) + text(body.subarray(outline.nameStarts[i], outline.nameEnds[i]));
    fields.push({ name, value: text(body.subarray(outline.valueStarts[i], outline.valueEnds[i])) });
  }
  return { id: outline.id, terms: terms.sort(), fields };
}

function toldOf(event: Event): Told {
  return { id: event.id ?? null, terms: searchTerms(event).sort(), fields: cutFields(event) };
}

function read(body: Uint8Array): Event | null {
  try {
    return parseEvent(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(body));
  } catch (error) {
    if (!isTallystickError(error) && !(error instanceof TypeError)) throw error;
    return null;
  }
}

/** Nothing is recognized that `parseEvent` refuses or reads otherwise. */
function expectNoMore(body: Uint8Array): boolean {
  const told = outlined(body);
  if (told === null) return false;
  const event = read(body);
  if (event === null) throw new Error(`recognized, and it is no event: ${new TextDecoder().decode(body)}`);
  expect(told).toEqual(toldOf(event));
  expect(event.signatures).toBeUndefined();
  expect(event.action.startsWith("ledger.")).toBe(false);
  return true;
}

const ORDINARY: readonly Event[] = [
  { action: "a" },
  { action: "user.role.change", actor: "alice", id: "e-1", type: "user@2", outcome: "success" },
  {
    action: "invoice.pay",
    actor: { id: "u-1", name: 'Jörg "J" Müller', type: "user" },
    context: { ip: "203.0.113.7", nested: { a: [1, "x\n"] }, port: 80, requestId: "r-1", tries: -1 },
    metadata: { a: "é", b: 12.5, c: [[], {}], d: -7, e: 1e-7, f: 0 },
    occurredAt: "2026-02-28T23:59:59.125Z",
    payload: { amount: 1_250, flags: [true, false, null], note: "tab\tand \\ and \u007f and 😀", zero: 0 },
    source: { counter: 12, id: "s-1" },
    targets: [{ id: "t-1", name: "", type: "invoice" }, { id: "t-2" }],
  },
  { action: "a", context: {}, metadata: {}, payload: [], targets: [] },
  { action: "a", occurredAt: "2026-03-01T12:00:00+01:00", payload: "text" },
  { action: "a", occurredAt: "2016-12-31T23:59:60Z", payload: 9_007_199_254_740_991 },
];

/** Right, and left to `parseEvent`. */
const RARE: readonly Event[] = [
  { action: "ledger.access" },
  { action: "ledgers.\u0061", context: { note: "ü" } },
  { action: "a", actor: "Jörg" },
  { action: "a", actor: { id: "u", onBehalfOf: "v" } },
  { action: "a", payload: { ä: 1 } },
  { action: "a", payload: "\u0001" },
  { action: "a", signatures: [{ keyId: "0".repeat(64), signature: "AAAA" }] },
  { action: "a", targets: Array.from({ length: 300 }, (_, i) => ({ id: `t-${i}` })) },
];

/** Salts of as many fields, all different. */
function saltsOf(count: number): Uint8Array {
  return Uint8Array.from({ length: count * 16 }, (_, i) => (i * 37) & 0xff);
}

const REPLACEMENTS: readonly (readonly number[])[] = [
  ..." !\"#'+,-./059:A[\\]_`aenu{|}~".split("").map((unit) => [unit.charCodeAt(0)]),
  ...[0x00, 0x09, 0x1f, 0x7f, 0x80, 0xc3, 0xff].map((byte) => [byte]),
  [],
  [0x22, 0x22],
  [0x2c, 0x2c],
  [0xc3, 0xa9],
  [0xed, 0xa0, 0x80],
  [0x30, 0x30],
];

describe("outlineEvent", () => {
  it.each(ORDINARY.map((event) => [canonicalize(event), event] as const))("recognizes %s", (body, event) => {
    expect(outlined(encodeUtf8(body))).toEqual(toldOf(event));
  });

  it("leaves what is rare to parseEvent", () => {
    for (const body of RARE.map((event) => encodeUtf8(canonicalize(event)))) {
      expect(outlined(body)).toBeNull();
      expect(read(body)).not.toBeNull();
    }
  });

  it("recognizes nothing that parseEvent refuses or reads otherwise, whatever byte is changed", () => {
    let recognized = 0;
    for (const body of [...ORDINARY, ...RARE.slice(0, 7)].map((event) => encodeUtf8(canonicalize(event)))) {
      for (let at = 0; at <= body.length; at++) {
        for (const bytes of REPLACEMENTS) {
          for (const dropped of [0, 1]) {
            const changed = [...body.subarray(0, at), ...bytes, ...body.subarray(at + dropped)];
            if (expectNoMore(Uint8Array.from(changed))) recognized += 1;
          }
        }
        expectNoMore(body.subarray(0, at));
      }
    }
    // Most changes are of text that may as well be another.
    expect(recognized).toBeGreaterThan(1_000);
  });

  it.each([
    ['{"action":"a","payload":{"__proto__":1}}'],
    ['{"action":"a","payload":{"a":1,"a":2}}'],
    ['{"action":"a","payload":{"b":1,"a":2}}'],
    ['{"action":"a","payload":{"aa":1,"a":2}}'],
    ['{"action":"a","payload":{"a":1,"a!":2,"a ":3}}'],
    ['{"action":"a","action":"a"}'],
    ['{"actor":"a"}'],
    ['{"action":"a","actor":{"name":"n"}}'],
    ['{"action":"a","actor":{"id":""}}'],
    ['{"action":"a","source":{"counter":1}}'],
    ['{"action":"a","source":{"counter":01,"id":"s"}}'],
    ['{"action":"a","source":{"counter":-1,"id":"s"}}'],
    ['{"action":"a","source":{"counter":1e3,"id":"s"}}'],
    ['{"action":"a","targets":[{"name":"n"}]}'],
    ['{"action":"a","targets":{"id":"n"}}'],
    ['{"action":"a","context":[]}'],
    ['{"action":"a","payload":-0}'],
    ['{"action":"a","payload":01}'],
    ['{"action":"a","payload":1.0}'],
    ['{"action":"a","payload":9007199254740992}'],
    ['{"action":"a","payload":1e21}'],
    ['{"action":"a","payload":"\\u0041"}'],
    ['{"action":"a","payload":"\\/"}'],
    ['{"action":"a","occurredAt":"2026-02-29T00:00:00Z"}'],
    ['{"action":"a","occurredAt":"2026-02-28T24:00:00Z"}'],
    ['{"action":"a","occurredAt":"2026-02-28T23:59:60.Z"}'],
    ['{"action":"a"} '],
    ['{"action":"a",}'],
    ["{}"],
    [""],
  ])("does not recognize %s", (body) => {
    expect(outlined(encodeUtf8(body))).toBeNull();
  });

  it.each([
    ["action", (size: number) => ({ action: "a".repeat(size) }), 128],
    ["action of segments", (size: number) => ({ action: `${"a.".repeat(size / 2 - 1)}aa` }), 128],
    ["id", (size: number) => ({ action: "a", id: "i".repeat(size) }), 256],
    ["type", (size: number) => ({ action: "a", type: "i".repeat(size) }), 256],
    ["actor", (size: number) => ({ action: "a", actor: "i".repeat(size) }), 1024],
    ["outcome", (size: number) => ({ action: "a", outcome: "i".repeat(size) }), 64],
    ["target", (size: number) => ({ action: "a", targets: [{ id: "i".repeat(size) }] }), 4096],
    ["name", (size: number) => ({ action: "a", actor: { id: "u", name: "i".repeat(size) } }), 4096],
  ])("knows how long the %s may be", (_name, make, max) => {
    const body = (size: number) => encodeUtf8(canonicalize(make(size)));
    expect(outlined(body(max))).toEqual(toldOf(make(max)));
    expect(outlined(body(max + 2))).toBeNull();
    expect(read(body(max + 2))).toBeNull();
  });

  it("knows how deep an event may be nested", () => {
    const body = (depth: number) => encodeUtf8(`{"action":"a","payload":${"[".repeat(depth)}${"]".repeat(depth)}}`);
    expect(outlined(body(63))).not.toBeNull();
    expect(outlined(body(64))).toBeNull();
    expect(read(body(64))).toBeNull();
  });

  it("recognizes nothing that parseEvent refuses, of whatever JSON", () => {
    const name = fc.oneof(
      fc.constantFrom("a", "id", "z", "__proto__", "_", "A", "ä", "\u{10000}", "\ufffd"),
      fc.string(),
    );
    const { value } = fc.letrec((tie) => ({
      value: fc.oneof(
        { depthSize: "small" },
        fc.string({ unit: "binary" }),
        fc.double({ noDefaultInfinity: true, noNaN: true }),
        fc.maxSafeInteger(),
        fc.constantFrom(null, true, false, 0, -0, 1e21, 1e-7),
        fc.array(tie("value"), { maxLength: 3 }),
        fc.dictionary(name, tie("value"), { maxKeys: 4 }),
      ),
    }));
    const word = fc.stringMatching(/^[\w:-]{1,8}$/);
    const rare = fc.oneof(fc.string({ maxLength: 8 }), fc.string({ unit: "binary", maxLength: 8 }));
    const text = fc.oneof({ weight: 30, arbitrary: word }, { weight: 1, arbitrary: rare });
    const any = fc.oneof({ weight: 20, arbitrary: fc.constant({}) }, { weight: 1, arbitrary: value });
    const event = fc.record(
      {
        action: fc.oneof(
          { weight: 20, arbitrary: fc.constantFrom("a", "a.b", "ledgers.a", "a.b.c") },
          { weight: 1, arbitrary: fc.constantFrom("ledger.a", "a..b", ".a", "") },
          { weight: 9, arbitrary: text },
        ),
        actor: fc.oneof(text, fc.record({ id: text, name: text, type: text }, { requiredKeys: ["id"] })),
        context: fc.oneof(fc.dictionary(word, text, { maxKeys: 4 }), any),
        id: text,
        metadata: fc.dictionary(fc.oneof(word, name), fc.oneof(text, value), { maxKeys: 3 }),
        occurredAt: fc.oneof(
          {
            weight: 9,
            arbitrary: fc
              .date({ min: new Date(0), max: new Date(4e12), noInvalidDate: true })
              .map((date) => date.toISOString()),
          },
          { weight: 1, arbitrary: text },
        ),
        outcome: text,
        payload: value,
        source: fc.oneof(fc.record({ counter: fc.nat(), id: text }), fc.record({ counter: value })),
        targets: fc.array(fc.record({ id: text, name: text, type: text }, { requiredKeys: ["id"] }), { maxLength: 3 }),
        type: text,
      },
      { requiredKeys: ["action"] },
    );
    let recognized = 0;
    fc.assert(
      fc.property(event, fc.boolean(), (candidate, isCanonical) => {
        let body: string;
        try {
          body = isCanonical ? canonicalize(candidate) : JSON.stringify(candidate);
        } catch (error) {
          if (!isTallystickError(error)) throw error;
          return;
        }
        if (expectNoMore(encodeUtf8(body))) recognized += 1;
      }),
      { numRuns: 3_000 },
    );
    expect(recognized).toBeGreaterThan(300);
  });
});

describe("commitOutline", () => {
  const commit = (event: Event, salts: Uint8Array, hash: HashName = "sha256") => {
    const body = encodeUtf8(canonicalize(event));
    const outline = outlineEvent(body, { fields: true });
    if (outline === null) throw new Error("expected an ordinary event");
    return commitOutline(hash, salts, body, outline);
  };

  it.each(["sha256", "sha512", "sha3-256"] as const)("is the commitment of the fields, by %s", (hash) => {
    for (const event of ORDINARY) {
      const fields = cutFields(event);
      const salts = saltsOf(fields.length);
      const digests = fields.map((field, i) => fieldDigest(hash, salts.subarray(i * 16, (i + 1) * 16), field));
      const names = fields.map(({ name }) => name);
      expect(commit(event, salts, hash)).toBe(commitFields(hash, names, digests));
    }
  });

  it("is none unless there is one salt for each field, and for events that are too long for it", () => {
    const event = ORDINARY[2]!;
    const salts = saltsOf(cutFields(event).length);
    expect(commit(event, salts.subarray(1))).toBeNull();
    expect(commit(event, salts.subarray(16))).toBeNull();
    expect(commit(event, saltsOf(cutFields(event).length + 1))).toBeNull();
    expect(commit({ action: "a", payload: "x".repeat(16_384) }, saltsOf(2))).toBeNull();
    const members = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, i) => [`k${i}`, i]));
    expect(commit({ action: "a", payload: members(250) }, saltsOf(251))).not.toBeNull();
    expect(commit({ action: "a", payload: members(250) }, saltsOf(251), "sha512")).toBeNull();
    const many = encodeUtf8(canonicalize({ action: "a", payload: members(300) }));
    expect(outlineEvent(many, { fields: true })).toBeNull();
    expect(outlineEvent(many, { fields: false })).not.toBeNull();
  });
});
