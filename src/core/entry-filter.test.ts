import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { canonicalize, type JsonObject, type JsonValue } from "./canonical-json.ts";
import { cutFields } from "./commitment.ts";
import { membershipOf, parseEntryFilter, pathLeadsTo } from "./entry-filter.ts";
import { isTallystickError } from "./errors.ts";
import type { Event } from "./event.ts";

const TIME = "2026-01-02T03:04:05.000Z";

/** Members of the event that a cut into fields shows, and the names of the rest. */
function shown(event: Event, isShown: (name: string) => boolean) {
  const members: Record<string, JsonValue> = {};
  const withheld: string[] = [];
  for (const { name, value } of cutFields(event)) {
    if (!isShown(name)) {
      withheld.push(name);
      continue;
    }
    const [holder = "", ...rest] = name.split(".");
    if (rest.length === 0) members[name] = JSON.parse(value);
    else members[holder] = { ...((members[holder] ?? {}) as JsonObject), [rest.join(".")]: JSON.parse(value) };
  }
  return { time: TIME, members, withheld };
}

const word = fc.constantFrom("a", "b", "a.b", "", "0", "length");
const value: fc.Arbitrary<JsonValue> = fc.letrec<{ value: JsonValue }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 3 },
    fc.constantFrom(1, "a", null, true),
    fc.array(tie("value"), { maxLength: 3 }),
    fc.dictionary(word, tie("value"), { maxKeys: 3 }),
  ),
})).value;
const event = fc.record(
  {
    action: fc.constantFrom("a", "a.b", "ab", "a.b.c"),
    actor: fc.constantFrom("a", "b", { id: "a" }, { id: "b", name: "a" }),
    type: fc.constantFrom("a", "b"),
    outcome: fc.constantFrom("a", "b"),
    targets: fc.array(fc.record({ id: fc.constantFrom("a", "b") }), { maxLength: 2 }),
    context: fc.dictionary(word, fc.constantFrom<JsonValue>("a", "b", 1), { maxKeys: 3 }),
    payload: value,
  },
  { requiredKeys: ["action"] },
) as fc.Arbitrary<Event>;
const path = fc
  .array(word, { minLength: 1, maxLength: 4 })
  .map((words) => `payload.${words.join(".")}`)
  .filter((text) => !text.endsWith("."));
const filter = fc
  .record(
    {
      action: fc.constantFrom("a", "a.*", "a.b", "a.b.*"),
      actor: fc.constantFrom("a", "b"),
      type: fc.constant("a"),
      outcome: fc.constant("a"),
      target: fc.constantFrom("a", "b"),
      correlation: fc.constantFrom("a", "b"),
      where: fc.dictionary(path, value, { minKeys: 1, maxKeys: 2 }),
    },
    { requiredKeys: [] },
  )
  .filter((asked) => Object.keys(asked).length > 0);

/** Every way a path can lead, by its definition in the specification, on the fields of the event. */
function naiveLeads(from: Event, at: string, expected: JsonValue): boolean {
  const ways = (inside: JsonValue, rest: string): JsonValue[] => {
    const steps: [string, JsonValue][] = Array.isArray(inside)
      ? inside.map((item, i) => [String(i), item])
      : typeof inside === "object" && inside !== null
        ? Object.entries(inside)
        : [];
    return steps.flatMap(([name, next]) => {
      if (rest === name) return [next];
      return rest.startsWith(`${name}.`) ? ways(next, rest.slice(name.length + 1)) : [];
    });
  };
  const fields = Object.fromEntries(
    cutFields(from).map(({ name, value: text }) => [name, JSON.parse(text) as JsonValue]),
  );
  return ways(fields, at).some((end) => canonicalize(end) === canonicalize(expected));
}

describe("a filter that is proved", () => {
  it("is answered alike by a few fields and by all, or left open", () => {
    fc.assert(
      fc.property(event, filter, fc.func(fc.boolean()), (happened, asked, isShown) => {
        const parsed = parseEntryFilter(asked as JsonObject);
        const whole = membershipOf(
          parsed,
          shown(happened, () => true),
        );
        expect(whole).not.toBe("open");
        const some = membershipOf(parsed, shown(happened, isShown));
        expect(["open", whole]).toContain(some);
        expect(membershipOf(parsed, { time: TIME, members: null, withheld: [] })).toBe("open");
      }),
      { seed: 20261121, numRuns: 3_000 },
    );
  });

  it("follows paths as the specification defines them", () => {
    fc.assert(
      fc.property(event, path, value, (happened, at, expected) => {
        const leads = pathLeadsTo(at, expected)(happened as unknown as JsonValue);
        expect(leads).toBe(naiveLeads(happened, at, expected));
      }),
      { seed: 20261121, numRuns: 3_000 },
    );
  });

  it("finds what a path leads to", () => {
    const payload = { "a.b": [{ "c.": 1 }], "a": { "b": [7] }, "": { "": { x: 2 } } };
    const leads = (at: string, expected: JsonValue): boolean => pathLeadsTo(at, expected)({ payload });
    expect(leads("payload.a.b.0", 7)).toBe(true);
    expect(leads("payload.a.b.0", { "c.": 1 })).toBe(true);
    expect(leads("payload...x", 2)).toBe(true);
    for (const at of ["payload.a.b.length", "payload.a.b.00", "payload.a.b.-1", "payload.a.b", "payload.toString"])
      expect(leads(at, 1), at).toBe(false);
  });

  it("visits each part of a deep value once", () => {
    let deep: JsonValue = 1;
    for (let i = 0; i < 60; i++) deep = { "a": deep, "a.a": 0, "a.a.a": 0 };
    // Each way through it by itself would take longer than any time limit.
    expect(pathLeadsTo(`payload${".a".repeat(500)}`, 2)({ payload: deep })).toBe(false);
  });

  it.each([[null], [[]], [{}], [{ text: "a" }], [{ action: "" }], [{ from: 1 }], [{ where: { "a.": 1 } }]] as const)(
    "refuses %j",
    (bad) => {
      let code = "nothing";
      try {
        parseEntryFilter(bad as JsonValue);
      } catch (error) {
        if (!isTallystickError(error)) throw error;
        code = error.code;
      }
      expect(code).toBe("malformed-export");
    },
  );
});
