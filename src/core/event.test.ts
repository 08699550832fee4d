import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { canonicalize } from "./canonical-json.ts";
import { CONTROL_ACTIONS } from "./control-action.ts";
import { type ErrorCode, isTallystickError } from "./errors.ts";
import {
  actorIdOf,
  type EncodedEvent,
  type Event,
  encodeEvent,
  eventOf,
  isAction,
  parseEvent,
  searchTerms,
  validateEvent,
} from "./event.ts";

interface Vectors {
  readonly valid: readonly { readonly title: string; readonly body: string }[];
  readonly invalid: readonly { readonly body: string; readonly code: ErrorCode; readonly pointer?: string }[];
}

const vectors = JSON.parse(readFileSync(new URL("../../vectors/events.json", import.meta.url), "utf8")) as Vectors;

fc.configureGlobal({ seed: 2026 });

function refusalOf(call: () => unknown): { code: string; message: string; details: Readonly<Record<string, unknown>> } {
  try {
    call();
  } catch (error) {
    if (!isTallystickError(error)) throw error;
    return { code: error.code, message: error.message, details: error.details ?? {} };
  }
  throw new Error("expected a refusal");
}

function refusedOr(call: () => unknown): object {
  try {
    call();
    return {};
  } catch (error) {
    if (!isTallystickError(error)) throw error;
    return { code: error.code };
  }
}

describe("occurredAt", () => {
  const LAYOUT =
    /^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]+)?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})$/;

  it("has the layout of RFC 3339, whatever is changed in it", () => {
    for (const time of ["2026-01-02T03:04:05Z", "2026-01-02T03:04:05.25+01:30", "2026-01-02t03:04:05-00:00"]) {
      for (let at = 0; at <= time.length; at++) {
        for (const unit of ["", "0", "1", "t", "T", "Z", "z", "-", "+", ":", ".", " ", "é", "\n"]) {
          for (const changed of [
            time.slice(0, at) + unit + time.slice(at + 1),
            time.slice(0, at) + unit + time.slice(at),
          ]) {
            if (changed === "") continue;
            let message = "";
            try {
              validateEvent({ action: "a", occurredAt: changed });
            } catch (error) {
              message = (error as Error).message;
            }
            expect([changed, message.includes("expected an RFC 3339 time")]).toEqual([changed, !LAYOUT.test(changed)]);
          }
        }
      }
    }
  });
});

describe("action and outcome", () => {
  it("are what spec/entry.md writes as regular expressions", () => {
    const text = fc.string({
      unit: fc.constantFrom("a", "Z", "0", "_", ":", "-", ".", " ", "é", "@", "/", "\u007f", "\n"),
      maxLength: 6,
    });
    const holds = (event: object): boolean => !("code" in refusedOr(() => validateEvent(event)));
    fc.assert(
      fc.property(text, (value) => {
        expect(isAction(value)).toBe(/^[A-Za-z0-9_:-]+(?:\.[A-Za-z0-9_:-]+)*$/.test(value));
        expect(holds({ action: value })).toBe(isAction(value));
        expect(holds({ action: "a", outcome: value })).toBe(/^[A-Za-z0-9_.:-]{1,64}$/.test(value));
        expect(holds({ action: "a", type: value })).toBe(/^[^\u0000-\u001f\u007f-\u009f]+$/.test(value));
      }),
      { numRuns: 3000 },
    );
  });
});

describe("parseEvent", () => {
  it.each(vectors.valid)("accepts $title", ({ body }) => {
    expect(parseEvent(body)).toEqual(JSON.parse(body));
    expect(() => validateEvent(JSON.parse(body))).not.toThrow();
  });

  it.each(vectors.invalid.map((vector) => ({ ...vector, shown: vector.body.slice(0, 80) })))(
    "refuses $shown as $code $pointer",
    ({ body, code, pointer }) => {
      const refusal = refusalOf(() => parseEvent(body));
      expect(refusal.code).toBe(code);
      if (pointer !== undefined) expect(refusal.details).toMatchObject({ pointer });
    },
  );

  it("refuses more than 16 MiB, counted in UTF-8", () => {
    const wide = (units: number): string => `{"action":"a","payload":"${"é".repeat(units)}"}`;
    const fits = (16 * 1024 * 1024 - wide(0).length) / 2;
    expect(parseEvent(wide(Math.floor(fits))).action).toBe("a");
    expect(refusalOf(() => parseEvent(wide(Math.ceil(fits) + 1)))).toMatchObject({
      code: "event-too-large",
      message: "expected at most 16777216 bytes of event",
    });
  });
});

/** Plain values that are events, or nearly. */
const word = fc.constantFrom("a", "user.login", "é", "", "a b", "a\n", "x".repeat(300));
const party = fc.record(
  { id: fc.oneof(word, fc.constantFrom("u-1", "u-2")), type: word, name: word, other: fc.constant(1) },
  { requiredKeys: [] },
);
const nearEvent: fc.Arbitrary<{ readonly id?: string }> = fc.record(
  {
    action: fc.oneof(
      { weight: 8, arbitrary: fc.constantFrom("a", "user.login") },
      fc.constantFrom("", "a b", "ledger.x", 1),
    ),
    actor: fc.oneof(word, party, fc.constantFrom(null, 1, [])),
    context: fc.constantFrom<unknown>({}, { requestId: "r" }, [], "c"),
    id: word,
    metadata: fc.constantFrom<unknown>({ a: 1 }, null),
    occurredAt: fc.constantFrom("2026-01-02T03:04:05Z", "2026-02-30T03:04:05Z", "now"),
    outcome: fc.constantFrom("success", "no outcome", ""),
    payload: fc.jsonValue(),
    source: fc.constantFrom<unknown>({ id: "s", counter: 1 }, { id: "s" }, { id: "s", counter: -1 }, "s"),
    targets: fc.oneof(fc.array(fc.oneof({ weight: 5, arbitrary: party }, fc.constantFrom("t", null, []))), party),
    type: word,
    other: fc.constant(1),
  },
  { requiredKeys: ["action"] },
) as fc.Arbitrary<never>;

/** An object that gives the members of one event when they are first read, and those of another one from then on. */
function changing(first: unknown, then: unknown): unknown {
  if (Array.isArray(first)) return first.map((item, i) => changing(item, Array.isArray(then) ? then[i] : then));
  if (typeof first !== "object" || first === null) return first;
  const object = {};
  for (const [name, value] of Object.entries(first)) {
    const later = (then as Readonly<Record<string, unknown>> | null | undefined)?.[name];
    const values = [changing(value, later)];
    Object.defineProperty(object, name, { enumerable: true, get: () => (values.length > 0 ? values.pop() : later) });
  }
  return object;
}

describe("encodeEvent", () => {
  it("gives the canonical form, its size, its id and, if it is signed, the event", () => {
    const input = { payload: { "é": 1 }, id: "i-1", action: "user.login" };
    const encoded = encodeEvent(input);
    expect(encoded).toEqual({
      body: '{"action":"user.login","id":"i-1","payload":{"é":1}}',
      sizeBytes: 53,
      id: "i-1",
      signed: null,
    });
    expect(eventOf(encoded)).toEqual(input);
    expect(encodeEvent({ action: "a" }).id).toBeNull();
    const signed = { ...input, signatures: [{ keyId: "0".repeat(64), signature: "AAAA" }] };
    expect(encodeEvent(signed)).toMatchObject({ id: "i-1", signed });
  });

  it("resolves toJSON and drops undefined members before it checks the grammar", () => {
    const occurredAt = new Date(0);
    const encoded = encodeEvent({
      action: "a",
      id: undefined,
      typo: undefined,
      occurredAt,
      payload: { at: occurredAt },
    });
    expect(encoded.body).toBe(
      '{"action":"a","occurredAt":"1970-01-01T00:00:00.000Z","payload":{"at":"1970-01-01T00:00:00.000Z"}}',
    );
  });

  it("writes bodies that parseEvent accepts, of every event that it accepts", () => {
    fc.assert(
      fc.property(
        fc.record(
          {
            action: fc.constantFrom("a", "user.login", "a b", ""),
            actor: fc.oneof(fc.string({ unit: "binary" }), fc.record({ id: fc.string() }), fc.anything()),
            context: fc.oneof(fc.dictionary(fc.string(), fc.jsonValue()), fc.anything()),
            occurredAt: fc.oneof(fc.date(), fc.string()),
            payload: fc.anything({
              withDate: true,
              withSparseArray: true,
              withBigInt: true,
              withTypedArray: true,
              withMap: true,
            }),
            other: fc.anything(),
          },
          { requiredKeys: ["action"] },
        ),
        (input) => {
          let body: string;
          try {
            ({ body } = encodeEvent(input));
          } catch (error) {
            if (!isTallystickError(error)) throw error;
            return;
          }
          expect(() => parseEvent(body)).not.toThrow();
        },
      ),
      { numRuns: 2000 },
    );
  });

  const outcomeOf = (input: unknown): unknown => {
    try {
      return encodeEvent(input);
    } catch (error) {
      if (!isTallystickError(error)) throw error;
      const { code, message, details } = error;
      return { code, message, details };
    }
  };
  const isReserved = (value: unknown): boolean => /^ledger\./.test((value as Event).action);

  it("accepts what the grammar accepts, and nothing else", () => {
    for (const { body } of vectors.valid) {
      const value: unknown = JSON.parse(body);
      expect(outcomeOf(value)).toMatchObject(isReserved(value) ? { code: "reserved-action" } : { body });
    }
    for (const { body } of vectors.invalid) {
      let value: unknown;
      try {
        value = JSON.parse(body);
        validateEvent(value);
      } catch {
        expect(outcomeOf(value)).toHaveProperty("code");
      }
    }
    fc.assert(
      fc.property(nearEvent, (value) => {
        const outcome = outcomeOf(value);
        if ((outcome as { code?: string }).code === "unsupported-value") return;
        try {
          // Of several faults the first one in canonical order is named.
          validateEvent(JSON.parse(canonicalize(value)));
          expect(outcome).toMatchObject(isReserved(value) ? { code: "reserved-action" } : { id: value.id ?? null });
        } catch (error) {
          if (!isTallystickError(error)) throw error;
          expect(outcome).toEqual({ code: error.code, message: error.message, details: error.details });
        }
      }),
      { numRuns: 3000 },
    );
  });

  it("takes an event as it is read first, whatever its getters give afterwards", () => {
    fc.assert(
      fc.property(nearEvent, nearEvent, (first, then) => {
        expect(outcomeOf(changing(first, then))).toEqual(outcomeOf(first));
      }),
      { numRuns: 2000 },
    );
  });

  it("counts the targets that it writes, also where a getter adds some", () => {
    const grown = (count: number): object => {
      const targets: object[] = [];
      const first = {
        get id() {
          while (targets.length < count) targets.push({ id: "t" });
          return "t";
        },
      };
      targets.push(first);
      return { action: "a", targets };
    };
    expect(JSON.parse(encodeEvent(grown(1000)).body).targets).toHaveLength(1000);
    expect(refusalOf(() => encodeEvent(grown(1001)))).toMatchObject({
      code: "malformed-event",
      details: { pointer: "/targets" },
    });
  });

  it("judges an event by itself, whatever a getter inside it writes meanwhile", () => {
    const asking = (event: Event, ask: () => unknown): Event => ({
      ...event,
      payload: {
        get asked() {
          ask();
          return 1;
        },
      },
    });
    let inner: EncodedEvent | undefined;
    const outer = asking({ action: "a", id: "outer" }, () => {
      inner = encodeEvent({ action: "a" });
    });
    expect(encodeEvent(outer).id).toBe("outer");
    expect(inner?.id).toBeNull();
    expect(encodeEvent(asking({ action: "a" }, () => encodeEvent({ action: "a", id: "inner" }))).id).toBeNull();
    const wrong = asking({ action: "no action!" }, () => encodeEvent({ action: "a" }));
    expect(refusalOf(() => encodeEvent(wrong)).code).toBe("malformed-event");
    const right = asking({ action: "a" }, () => refusalOf(() => encodeEvent({ action: "no action!" })));
    expect(encodeEvent(right).body).toBe('{"action":"a","payload":{"asked":1}}');
  });

  it("judges what a toJSON gives", () => {
    for (const actor of [7, [], { id: "" }]) {
      const refusal = refusalOf(() => encodeEvent({ action: "a", actor: { id: "alice", toJSON: () => actor } }));
      expect(refusal.code).toBe("malformed-event");
    }
    expect(encodeEvent({ action: { toJSON: () => "a" } }).body).toBe('{"action":"a"}');
  });

  it("judges events the same while somebody has put members on Object.prototype", () => {
    const shared = Object.prototype as { typo?: number };
    shared.typo = 1;
    try {
      expect(encodeEvent({ action: "a", actor: { id: "u" } }).body).toBe('{"action":"a","actor":{"id":"u"}}');
      expect(refusalOf(() => encodeEvent({ action: "no action!" })).code).toBe("malformed-event");
      expect(refusalOf(() => encodeEvent({ action: "a", actor: {} })).code).toBe("malformed-event");
      expect(refusalOf(() => encodeEvent({})).code).toBe("malformed-event");
    } finally {
      delete shared.typo;
    }
  });

  it("takes no id and no signatures from Object.prototype", () => {
    const shared = Object.prototype as { id?: string; signatures?: readonly object[] };
    shared.id = "shared";
    shared.signatures = [{ keyId: "0".repeat(64), signature: "AAAA" }];
    try {
      expect(encodeEvent({ action: "a" })).toEqual({ body: '{"action":"a"}', sizeBytes: 14, id: null, signed: null });
    } finally {
      delete shared.id;
      delete shared.signatures;
    }
  });

  it.each([
    [{ acton: "a", action: "a" }, "/acton", "action"],
    [{ action: "a", Payload: 1 }, "/Payload", "payload"],
    [{ action: "a", targts: [] }, "/targts", "targets"],
    [{ action: "a", actor: { id: "a", onbehalfOf: "b" } }, "/actor/onbehalfOf", "onBehalfOf"],
  ])("guesses what a misspelt member was meant to be: %o", (input, pointer, hint) => {
    expect(refusalOf(() => encodeEvent(input))).toEqual({
      code: "malformed-event",
      message: `${pointer}: unknown member; did you mean ${JSON.stringify(hint)}?`,
      details: { pointer, hint },
    });
  });

  it("lists the members where no guess is near", () => {
    const refusal = refusalOf(() => encodeEvent({ action: "a", userAgent: "x" }));
    expect(refusal.details).toEqual({ pointer: "/userAgent" });
    expect(refusal.message).toBe(
      "/userAgent: unknown member; the members are action, actor, context, id, metadata, occurredAt, outcome, payload, signatures, source, targets, type",
    );
    expect(refusalOf(() => encodeEvent({ action: "a", x: 1 })).details).toEqual({ pointer: "/x" });
    expect(refusalOf(() => encodeEvent({ action: "a", ["x".repeat(10_000)]: 1 })).code).toBe("malformed-event");
  });

  it("says what is wrong without repeating what was given", () => {
    const refusal = refusalOf(() => encodeEvent({ action: "a", outcome: "secret value" }));
    expect(refusal.message).toBe("/outcome: expected 1 to 64 letters, digits, '_', '.', ':' or '-'");
    expect(refusalOf(() => encodeEvent({ payload: 1 })).message).toBe("/action: expected it to be present");
    expect(refusalOf(() => encodeEvent(null)).message).toBe("the whole value: expected an object, got null");
    expect(refusalOf(() => encodeEvent({ action: "a", payload: { f: () => 1 } }))).toMatchObject({
      code: "unsupported-value",
      details: { pointer: "/payload/f" },
    });
  });

  it("keeps to the bound on the canonical bytes", () => {
    const input = { action: "a", payload: "é" };
    expect(encodeEvent(input, { eventBytesMax: 29 }).sizeBytes).toBe(29);
    expect(refusalOf(() => encodeEvent(input, { eventBytesMax: 28 }))).toMatchObject({ code: "event-too-large" });
    expect(refusalOf(() => encodeEvent({ action: "a", payload: "x".repeat(1024 * 1024) })).code).toBe(
      "event-too-large",
    );
  });

  it("leaves the actions of the ledger to the ledger", () => {
    for (const action of CONTROL_ACTIONS) {
      for (const options of [{}, { ledger: true }]) {
        expect(refusalOf(() => encodeEvent({ action }, options))).toEqual({
          code: "reserved-action",
          message: `/action: expected no control event, got ${JSON.stringify(action)}`,
          details: { pointer: "/action" },
        });
      }
      expect(eventOf(encodeEvent({ action }, { control: true })).action).toBe(action);
    }
    expect(refusalOf(() => encodeEvent({ action: "ledger.import" }))).toMatchObject({
      code: "reserved-action",
      message: '/action: expected no action of the ledger itself, got "ledger.import"',
    });
    expect(eventOf(encodeEvent({ action: "ledger.import" }, { ledger: true })).action).toBe("ledger.import");
    expect(refusalOf(() => encodeEvent({ action: "user.login" }, { control: true })).code).toBe("reserved-action");
    expect(refusalOf(() => encodeEvent({ action: "ledger.import" }, { control: true })).code).toBe("reserved-action");
    expect(encodeEvent({ action: "ledgers.a" }).body).toBe('{"action":"ledgers.a"}');
    expect(encodeEvent({ action: "ledger" }).body).toBe('{"action":"ledger"}');
  });
});

describe("searchTerms", () => {
  it("has the actor, the action and its prefixes, the type, targets, outcome and strings of the context", () => {
    const event: Event = {
      action: "user.login.ok",
      actor: { id: "alice" },
      type: "login@1",
      targets: [{ id: "a" }, { id: "b", type: "t" }],
      outcome: "success",
      context: { requestId: "r-1", count: 1, nested: {}, "a b": "c=d" },
      payload: { text: "not a term" },
    };
    expect(searchTerms(event)).toEqual([
      "action:user.login.ok",
      "action^:user",
      "action^:user.login",
      "actor:alice",
      "type:login@1",
      "outcome:success",
      "target:a",
      "target:b",
      "correlation:r-1",
      "correlation:c=d",
    ]);
    expect(searchTerms({ action: "a" })).toEqual(["action:a"]);
  });

  it("knows the actor by its id, however it is written", () => {
    expect(actorIdOf({ action: "a" })).toBeNull();
    expect(actorIdOf({ action: "a", actor: "alice" })).toBe("alice");
    expect(actorIdOf({ action: "a", actor: { id: "alice", name: "A" } })).toBe("alice");
  });
});
