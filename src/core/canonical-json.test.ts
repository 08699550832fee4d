import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  canonicalize,
  compareNames,
  isCanonical,
  type JsonValue,
  parseCanonical,
  parseJson,
} from "./canonical-json.ts";
import { readCanonical } from "./canonical-reader.ts";
import { writeCanonical, writeCanonicalBytes } from "./canonical-writer.ts";
import { type ErrorCode, isTallystickError } from "./errors.ts";
import { readStrictJson } from "./strict-json.ts";

interface Vectors {
  readonly accepted: readonly { readonly title: string; readonly input: string; readonly output: string }[];
  readonly numbers: readonly { readonly bits: string; readonly output: string | null }[];
  readonly refused: readonly { readonly input: string; readonly code: ErrorCode }[];
  readonly notCanonical: readonly string[];
}

const vectors = JSON.parse(
  readFileSync(new URL("../../vectors/canonical-json.json", import.meta.url), "utf8"),
) as Vectors;

fc.configureGlobal({ seed: 8785 });

/** Code and details of what a call throws. */
function refusalOf(call: () => unknown): { code: string; message: string; details: Readonly<Record<string, unknown>> } {
  try {
    call();
  } catch (error) {
    if (!isTallystickError(error)) throw error;
    return { code: error.code, message: error.message, details: error.details ?? {} };
  }
  throw new Error("expected a refusal");
}

/** RFC 8785 §3.2 as one would write it on a blackboard. */
function model(value: JsonValue): string {
  if (Array.isArray(value)) return `[${value.map(model).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${members.map(([name, member]) => `${JSON.stringify(name)}:${model(member)}`).join(",")}}`;
}

const text = fc.oneof(
  fc.string({ unit: "grapheme", maxLength: 12 }),
  fc.string({ unit: "binary-ascii", maxLength: 12 }),
  fc.constantFrom(
    "",
    "a",
    "action",
    "constructor",
    "toString",
    "é",
    "😀",
    '"',
    "\\",
    "\u007f",
    "\uffff",
    "x".repeat(300),
  ),
);
const name = text.filter((candidate) => candidate !== "__proto__");
const number = fc.oneof(
  fc.integer(),
  fc.maxSafeInteger(),
  fc.constantFrom(-0, 0.1, 1e-7, 5e-324, 123456789012345.5),
  fc
    .double({ noNaN: true, noDefaultInfinity: true, min: -1e9, max: 1e9 })
    .filter((candidate) => !Number.isInteger(candidate) || Number.isSafeInteger(candidate)),
);
const { json } = fc.letrec<{ json: JsonValue }>((tie) => ({
  json: fc.oneof(
    { maxDepth: 5, withCrossShrink: true },
    fc.oneof(text, number, fc.boolean(), fc.constant(null)),
    fc.array(tie("json"), { maxLength: 5 }),
    fc.dictionary(name, tie("json"), { maxKeys: 6, noNullPrototype: true }),
  ),
}));

/** Another spelling of the same value: members turned round, spaces between all. */
function respell(value: JsonValue): string {
  if (Array.isArray(value)) return `[ ${value.map(respell).join(" , ")} ]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const members = Object.entries(value).reverse();
  return `{\n${members.map(([key, member]) => `${JSON.stringify(key)} :\t${respell(member)}`).join(" ,\r\n")} }`;
}

/** What parsing means, whatever the objects' prototypes. */
const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

describe("vectors", () => {
  it.each(["make-text.mjs", "make-receipts.mjs"])("are what %s makes", (script) => {
    const file = fileURLToPath(new URL(`../../vectors/${script}`, import.meta.url));
    expect(() => execFileSync(process.execPath, [file, "--check"], { stdio: "pipe" })).not.toThrow();
  });
});

describe("canonicalize", () => {
  it.each(vectors.accepted)("writes the vector: $title", ({ input, output }) => {
    expect(canonicalize(JSON.parse(input))).toBe(output);
    expect(canonicalize(parseJson(input))).toBe(output);
  });

  it.each(vectors.numbers)("prints the double $bits as $output", ({ bits, output }) => {
    const value = Buffer.from(bits, "hex").readDoubleBE();
    if (output === null) {
      expect(refusalOf(() => canonicalize([value]))).toMatchObject({
        code: "unsupported-value",
        details: { pointer: "/0" },
      });
    } else {
      expect(canonicalize(value)).toBe(output);
      expect(parseCanonical(output)).toBe(value === 0 ? 0 : value);
    }
  });

  it("agrees with a naive model", () => {
    fc.assert(
      fc.property(json, (value) => {
        expect(canonicalize(value)).toBe(model(value));
      }),
      { numRuns: 3000 },
    );
  });

  it("does not depend on the order in which members were set", () => {
    fc.assert(
      fc.property(fc.dictionary(name, json, { maxKeys: 8 }), (value) => {
        const turned = Object.fromEntries(Object.entries(value).reverse());
        expect(canonicalize(turned)).toBe(canonicalize(value));
      }),
    );
  });

  it("is idempotent over parsing", () => {
    fc.assert(
      fc.property(json, (value) => {
        const once = canonicalize(value);
        expect(canonicalize(parseCanonical(once))).toBe(once);
        expect(plain(parseCanonical(once))).toEqual(plain(value));
      }),
    );
  });

  it("sorts by UTF-16 code units, not by code points", () => {
    expect(canonicalize({ "\ufb33": 1, "😀": 2 })).toBe('{"😀":2,"\ufb33":1}');
    expect(["\ufb33", "😀", "b", "a", "ab"].sort(compareNames)).toEqual(["a", "ab", "b", "😀", "\ufb33"]);
    expect(compareNames("a", "a")).toBe(0);
  });

  it("drops undefined members and honours toJSON, as JSON does", () => {
    const value = {
      at: new Date(0),
      bytes: Buffer.from("a"),
      gone: undefined,
      keyed: { toJSON: (key: string) => `key ${key}` },
      list: [{ toJSON: (key: string) => `item ${key}` }],
      never: { toJSON: () => undefined },
      nested: { toJSON: () => ({ b: 1, a: { gone: undefined } }) },
      twice: { toJSON: () => ({ toJSON: 1 }) },
      url: new URL("https://example.com/a"),
      z: Object.assign(Object.create(null), { y: 1, x: 2 }),
    };
    expect(canonicalize(value)).toBe(model(JSON.parse(JSON.stringify(value))));
    expect(canonicalize({ toJSON: () => "whole" })).toBe('"whole"');
    expect(writeCanonicalBytes(value).holds).toBe(false);
    expect(writeCanonicalBytes({ a: [{ b: 1 }] }).holds).toBe(true);
    expect(writeCanonicalBytes({ a: undefined }).holds).toBe(false);
  });

  it("takes the own enumerable members of class instances, as JSON does", () => {
    class Point {
      readonly y = 2;
      readonly x = 1;
      get sum(): number {
        return this.x + this.y;
      }
    }
    const inheriting = Object.create({ inherited: 1 }, { own: { value: 1, enumerable: true }, hidden: { value: 2 } });
    expect(canonicalize(new Point())).toBe('{"x":1,"y":2}');
    expect(canonicalize(inheriting)).toBe('{"own":1}');
    expect(writeCanonicalBytes([new Point()]).holds).toBe(false);
  });

  it("reads every member exactly once, so that what is checked is what is written", () => {
    let reads = 0;
    const value = {
      b: 1,
      get a() {
        reads += 1;
        return reads;
      },
    };
    expect(canonicalize(value)).toBe('{"a":1,"b":1}');
    expect(reads).toBe(1);
  });

  it("can be called from within a toJSON", () => {
    const inner = { b: "é", a: [1] };
    const value = { z: 1, m: { toJSON: () => canonicalize(inner) }, a: "ascii" };
    expect(canonicalize(value)).toBe(model({ z: 1, m: model(inner), a: "ascii" }));
    const failing = {
      toJSON: () => {
        expect(refusalOf(() => canonicalize({ x: [Number.NaN] })).details).toEqual({ pointer: "/x/0" });
        return { ok: true };
      },
    };
    expect(canonicalize([failing, "é"])).toBe('[{"ok":true},"é"]');
  });

  it("passes on what a getter or a toJSON throws, and works afterwards", () => {
    const failure = new Error("mine");
    const value = {
      a: "x".repeat(100),
      get b(): never {
        throw failure;
      },
    };
    expect(() => canonicalize(value)).toThrow(failure);
    expect(canonicalize({ a: 1 })).toBe('{"a":1}');
  });

  it("is not misled by enumerable members on Object.prototype", () => {
    let written: string[];
    Object.defineProperty(Object.prototype, "injected", { value: 1, enumerable: true, configurable: true });
    try {
      written = [canonicalize({ b: { a: 1 } }), canonicalize({})];
    } finally {
      Reflect.deleteProperty(Object.prototype, "injected");
    }
    expect(written).toEqual(['{"b":{"a":1}}', "{}"]);
  });

  it("writes values of any size, and many different shapes", () => {
    const long = "é".repeat(200_000);
    expect(canonicalize([long])).toBe(`["${long}"]`);
    expect(canonicalize(["a".repeat(2_000_000), 1])).toBe(`["${"a".repeat(2_000_000)}",1]`);
    const wide = Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`name ${(i * 7919) % 500}`, i]));
    expect(canonicalize(wide)).toBe(model(wide));
    for (let i = 0; i < 12_000; i++) {
      const value = { [`n${i}`]: 1, a: { [`m${i}`]: i } };
      if (canonicalize(value) !== model(value)) throw new Error(`differs at ${i}`);
    }
    const many = Array.from({ length: 12_000 }, (_, i) => ({ [`x${i}`]: 1, b: 2, [`a${i}`]: 3 }));
    expect(canonicalize(many)).toBe(model(many));
  });

  const invalid = new Date(Number.NaN);
  const cycle: { self?: unknown } = {};
  cycle.self = { back: [cycle] };
  it.each<[string, unknown, string, string]>([
    ["undefined alone", undefined, "", "got undefined"],
    ["undefined in an array", { a: [1, undefined] }, "/a/1", "got undefined"],
    ["a hole in an array", { a: Object.assign([1], { length: 3 }) }, "/a/1", "got undefined"],
    ["a toJSON that gives undefined in an array", [{ toJSON: () => undefined }], "/0", "got undefined"],
    ["an invalid date", { at: [invalid] }, "/at/0", "expected a valid date"],
    ["a BigInt", { n: 1n }, "/n", "got a bigint"],
    ["NaN", { n: Number.NaN }, "/n", "expected a finite number"],
    ["an infinity", { n: [Number.NEGATIVE_INFINITY] }, "/n/0", "expected a finite number"],
    ["an unsafe integer", { n: 2 ** 53 }, "/n", "expected an integer within ±(2^53-1)"],
    ["a function", { "a/b": { "c~d": () => 1 } }, "/a~1b/c~0d", "got a function"],
    ["a symbol", { a: Symbol("a") }, "/a", "got a symbol"],
    ["a lone surrogate", { a: "\ud800" }, "/a", "got a lone surrogate"],
    ["a lone surrogate in a long string", { a: `${"x".repeat(500)}\udc00` }, "/a", "got a lone surrogate"],
    ["a lone surrogate in a name", { a: { "\ud800": 1 } }, "/a/\ud800", "got a lone surrogate"],
    ["the name __proto__", { a: JSON.parse('{"__proto__":1}') }, "/a/__proto__", "other than"],
    ["a cycle", cycle, "/self/back/0", "got a cycle"],
    ["a Map", { a: new Map() }, "/a", "got [object Map]"],
    ["a Set", { a: new Set() }, "/a", "got [object Set]"],
    ["a RegExp", { a: /a/ }, "/a", "got [object RegExp]"],
    ["an Error", { a: new Error("a") }, "/a", "got [object Error]"],
    ["a Promise", { a: Promise.resolve(1) }, "/a", "got [object Promise]"],
    ["a typed array", { a: new Uint8Array(2) }, "/a", "got [object Uint8Array]"],
    ["an ArrayBuffer", { a: new ArrayBuffer(2) }, "/a", "got [object ArrayBuffer]"],
    ["a boxed string", { a: Object("text") }, "/a", "got [object String]"],
    ["a WeakMap", { a: new WeakMap() }, "/a", "got [object WeakMap]"],
    ["a toJSON that gives a BigInt", { a: { toJSON: () => 1n } }, "/a", "got a bigint"],
  ])("refuses %s", (_title, value, pointer, message) => {
    const refusal = refusalOf(() => canonicalize(value));
    expect(refusal).toMatchObject({ code: "unsupported-value", details: { pointer } });
    expect(refusal.message).toContain(message);
  });

  it("counts open arrays and objects, and refuses the 65th", () => {
    const nest = (depth: number): unknown =>
      depth === 0 ? "a" : depth % 2 === 0 ? [nest(depth - 1)] : { a: nest(depth - 1) };
    expect(canonicalize(nest(64))).toBe(`${'[{"a":'.repeat(32)}"a"${"}]".repeat(32)}`);
    expect(refusalOf(() => canonicalize(nest(65)))).toMatchObject({
      code: "too-deep",
      details: { pointer: Array.from({ length: 64 }, (_, i) => (i % 2 === 0 ? "/a" : "/0")).join("") },
    });
    expect(canonicalize(nest(65), { depthMax: 65 })).toContain('"a"');
  });

  it("writes a label wherever its memory ends", () => {
    const huge = "x".repeat(1024 * 1024);
    const name = "a".repeat(21);
    // What it takes at first, with the room before a form and `{"":"",` before the label.
    const fullAt = 64 * 1024 - 64 - 8;
    for (let before = fullAt - 48; before <= fullAt + 4; before++) {
      // It lets go of what one large value took.
      canonicalize(huge);
      const text = "x".repeat(before);
      const body = canonicalize({ "": text, [name]: "y", b: 1 });
      expect(body === `{"":"${text}","${name}":"y","b":1}`, `${before} units before it`).toBe(true);
    }
  });

  it("stops early at a bound, however small the object that grows beyond it", () => {
    let bomb: unknown = "0123456789";
    for (let i = 0; i < 60; i++) bomb = [bomb, bomb];
    expect(refusalOf(() => writeCanonical(bomb, { sizeBytesMax: 1000 }))).toEqual({
      code: "event-too-large",
      message: "expected at most 1000 bytes in canonical form",
      details: { sizeBytesMax: 1000 },
    });
    expect(writeCanonical("é", { sizeBytesMax: 4 })).toBe('"é"');
    expect(refusalOf(() => writeCanonical("é", { sizeBytesMax: 3 })).code).toBe("event-too-large");
  });
});

describe("parseJson", () => {
  it.each(vectors.refused)("refuses $input as $code", ({ input, code }) => {
    expect(refusalOf(() => parseJson(input)).code).toBe(code);
    expect(refusalOf(() => parseCanonical(input)).code).toBe(code);
    expect(isCanonical(input)).toBe(false);
  });

  it("reads what JSON.parse reads, in any spelling", () => {
    fc.assert(
      fc.property(json, (value) => {
        for (const spelled of [JSON.stringify(value), respell(value), JSON.stringify(value, null, 2)]) {
          expect(parseJson(spelled)).toEqual(JSON.parse(spelled));
          expect(readStrictJson(spelled)).toEqual(JSON.parse(spelled));
        }
      }),
      { numRuns: 1000 },
    );
  });

  it("refuses exactly what JSON.parse refuses, of text without duplicates and large numbers", () => {
    const units = fc.constantFrom(
      "{",
      "}",
      "[",
      "]",
      ":",
      ",",
      '"',
      "\\",
      "u",
      "0",
      "1",
      ".",
      "-",
      "e",
      "t",
      " ",
      "true",
      "null",
      '"a"',
    );
    fc.assert(
      fc.property(fc.array(units, { maxLength: 8 }), (parts) => {
        const spelled = parts.join("");
        let expected: unknown;
        try {
          expected = JSON.parse(spelled);
        } catch {
          expect(refusalOf(() => parseJson(spelled)).code).toBe("malformed-json");
          return;
        }
        expect(plain(parseJson(spelled))).toEqual(plain(expected));
      }),
      { numRuns: 20_000 },
    );
  });

  it("says where it stopped", () => {
    expect(refusalOf(() => parseJson('{"a":1,}'))).toEqual({
      code: "malformed-json",
      message: 'expected a member name at offset 7, got "}"',
      details: { offset: 7 },
    });
    expect(refusalOf(() => parseJson("[1"))).toMatchObject({
      message: "expected a comma or a closing bracket at offset 2, got the end",
      details: { offset: 2 },
    });
    expect(refusalOf(() => parseJson('{"a":[1,{"b/c":1,"b/c":2}]}'))).toMatchObject({
      code: "duplicate-member",
      message: '"/a/1/b~1c": expected each member once',
      details: { pointer: "/a/1/b~1c" },
    });
    expect(refusalOf(() => parseJson('{"a":[1e999]}')).details).toMatchObject({ pointer: "/a/0" });
  });

  it("gives own members under names that objects inherit", () => {
    const value = parseJson('{ "constructor": 1, "toString": 2 }') as Record<string, unknown>;
    expect(Object.keys(value)).toEqual(["constructor", "toString"]);
    expect(Object.getPrototypeOf(value)).toBe(Object.prototype);
  });
});

describe("parseCanonical", () => {
  it.each(vectors.accepted.map(({ output }) => output))("accepts %s", (output) => {
    expect(parseCanonical(output)).toEqual(JSON.parse(output));
    expect(isCanonical(output)).toBe(true);
  });

  it.each(vectors.notCanonical)("refuses the spelling %s", (input) => {
    expect(refusalOf(() => parseCanonical(input)).code).toBe("not-canonical");
    expect(isCanonical(input)).toBe(false);
    expect(isCanonical(canonicalize(parseJson(input)))).toBe(true);
  });

  it("accepts a text exactly if writing its value gives the same text", () => {
    fc.assert(
      fc.property(
        json,
        fc.nat(),
        fc.constantFrom(" ", "0", '"', ",", "a", "\\", "}", "1", "-", "e", "."),
        (value, at, unit) => {
          for (const spelled of [canonicalize(value), JSON.stringify(value), respell(value)]) {
            const cut = at % (spelled.length + 1);
            for (const text of [
              spelled,
              spelled.slice(0, cut) + unit + spelled.slice(cut + 1),
              spelled.slice(0, cut) + spelled.slice(cut + 1),
            ]) {
              let expected: JsonValue | undefined;
              try {
                const read = readStrictJson(text);
                if (canonicalize(read) === text) expected = read;
              } catch (error) {
                if (!isTallystickError(error)) throw error;
              }
              expect(readCanonical(text)).toEqual(expected);
              expect(isCanonical(text)).toBe(expected !== undefined);
            }
          }
        },
      ),
      { numRuns: 2000 },
    );
  });

  it("says where the spelling differs", () => {
    expect(refusalOf(() => parseCanonical('{"a":1, "b":2}'))).toEqual({
      code: "not-canonical",
      message: "expected canonical JSON (RFC 8785), differs at offset 7",
      details: { offset: 7 },
    });
  });

  it("takes deeper JSON where it is told to", () => {
    const text = "[".repeat(68) + "]".repeat(68);
    expect(refusalOf(() => parseCanonical(text)).code).toBe("too-deep");
    expect(canonicalize(parseCanonical(text, { depthMax: 68 }), { depthMax: 68 })).toBe(text);
    expect(refusalOf(() => parseCanonical(`[${text}]`, { depthMax: 68 })).code).toBe("too-deep");
  });

  it("still tells names apart after more of them than it remembers", () => {
    for (let i = 0; i < 20_000; i++) {
      const text = `{"a${i}":{"b":1,"c${i}":2}}`;
      if (canonicalize(readCanonical(text)) !== text) throw new Error(`differs at ${i}`);
    }
    const many = canonicalize(Object.fromEntries(Array.from({ length: 20_000 }, (_, i) => [`name ${i}`, { x: i }])));
    expect(canonicalize(parseCanonical(many))).toBe(many);
    expect(readCanonical('{"b":1,"a":2}')).toBeUndefined();
    expect(readCanonical('{"a":1,"a":2}')).toBeUndefined();
  });
});
