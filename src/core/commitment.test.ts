import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { canonicalize, type JsonValue, parseCanonical } from "./canonical-json.ts";
import {
  assembleEvent,
  commitBody,
  commitFields,
  cutBody,
  cutFields,
  type Digests,
  type Disclosed,
  fieldDigest,
  isFieldName,
  openDisclosure,
} from "./commitment.ts";
import { decodeHex, encodeHex, encodeUtf8 } from "./encoding.ts";
import { type ErrorCode, MalformedError } from "./errors.ts";
import { type Event, parseEvent } from "./event.ts";
import { HASH_BYTES, type HashName } from "./hash.ts";
import { digestHex as portableDigestHex } from "./hash-platform.ts";

interface Disclosure {
  readonly title: string;
  readonly hash: HashName;
  readonly names: readonly string[];
  readonly disclosed: Disclosed;
  readonly digests: Digests;
}

interface Vectors {
  readonly bodies: readonly {
    readonly hash: HashName;
    readonly scheme: "event" | "control";
    readonly salt: string;
    readonly body: string;
    readonly commitment: string;
  }[];
  readonly cuts: readonly {
    readonly hash: HashName;
    readonly body: string;
    readonly fields: readonly {
      readonly name: string;
      readonly value: string;
      readonly salt: string;
      readonly digest: string;
    }[];
    readonly commitment: string;
  }[];
  readonly disclosures: readonly (Disclosure & { readonly commitment: string; readonly event: JsonValue })[];
  readonly forged: readonly (Disclosure & { readonly code: ErrorCode })[];
}

const vectors = JSON.parse(readFileSync(new URL("../../vectors/commitments.json", import.meta.url), "utf8")) as Vectors;

fc.configureGlobal({ seed: 41 });

const HASHES: readonly HashName[] = ["sha256", "sha512", "sha3-256"];
const saltOf = (hex: string): Uint8Array => decodeHex(hex, { sizeBytes: 16, code: "malformed-commitment" });
const SALT = saltOf("000102030405060708090a0b0c0d0e0f");

function codeOf(call: () => unknown): string {
  try {
    call();
  } catch (error) {
    if (!(error instanceof MalformedError)) throw error;
    return error.code;
  }
  return "accepted";
}

const name = fc.string({ unit: "grapheme", maxLength: 6 }).filter((text) => text !== "__proto__");
const open = fc.dictionary(
  fc.oneof(name, fc.constantFrom("", "a.b", "constructor", "toString")),
  fc.jsonValue({ maxDepth: 2, noUnicodeString: false }),
  {
    maxKeys: 5,
    noNullPrototype: true,
  },
);
const events = fc
  .record(
    {
      action: fc.constantFrom("a", "b.c"),
      actor: fc.constantFrom("alice"),
      id: fc.constantFrom("i"),
      context: open,
      metadata: open,
      payload: fc.oneof(open, fc.jsonValue({ maxDepth: 2 })),
    },
    { requiredKeys: ["action"], noNullPrototype: true },
  )
  .map((event) => {
    try {
      return parseEvent(canonicalize(event)) as Event;
    } catch {
      return { action: "replacement" };
    }
  });

describe("commitBody", () => {
  it.each(vectors.bodies)("commits with $hash under scheme $scheme", ({ hash, scheme, salt, body, commitment }) => {
    expect(commitBody(hash, scheme, saltOf(salt), body)).toBe(commitment);
  });

  it("is the hash of the bytes put together, at every length", () => {
    for (const unit of ["a", "é", "😀"]) {
      for (const length of [0, 1, 55, 300, 2047, 2048, 5400, 5461, 16_384, 50_000]) {
        const body = unit.repeat(length);
        const bytes = Buffer.concat([encodeUtf8("tallystick/v1/event\n"), SALT, encodeUtf8(body)]);
        for (const hash of HASHES) {
          expect(commitBody(hash, "event", SALT, body)).toBe(portableDigestHex(hash, bytes));
          expect(commitBody(hash, "event", SALT, encodeUtf8(body))).toBe(portableDigestHex(hash, bytes));
        }
      }
    }
  });

  it("depends on hash, scheme, salt and body", () => {
    const all = HASHES.flatMap((hash) =>
      (["event", "control"] as const).flatMap((scheme) =>
        [SALT, new Uint8Array(16)].flatMap((salt) => ["{}", "{} "].map((body) => commitBody(hash, scheme, salt, body))),
      ),
    );
    expect(new Set(all).size).toBe(all.length);
  });

  it("takes salts of 16 bytes alone", () => {
    expect(() => commitBody("sha256", "event", new Uint8Array(15), "{}")).toThrow(
      new RangeError("salt: expected 16 bytes, got 15"),
    );
    expect(() => fieldDigest("sha256", new Uint8Array(17), { name: "a", value: "1" })).toThrow(RangeError);
  });
});

describe("scheme fields", () => {
  it.each(vectors.cuts.map((vector) => ({ ...vector, shown: vector.body.slice(0, 60) })))(
    "cuts and commits with $hash: $shown",
    ({ hash, body, fields, commitment }) => {
      const cut = cutFields(parseEvent(body));
      expect(cut).toEqual(fields.map(({ name, value }) => ({ name, value })));
      const digests = fields.map(({ salt }, i) => fieldDigest(hash, saltOf(salt), cut[i]!));
      expect(digests).toEqual(fields.map(({ digest }) => digest));
      expect(
        commitFields(
          hash,
          fields.map((field) => field.name),
          digests,
        ),
      ).toBe(commitment);
    },
  );

  it("cuts in strictly ascending order, and back again", () => {
    fc.assert(
      fc.property(events, (event) => {
        const fields = cutFields(event);
        for (let i = 1; i < fields.length; i++) expect(fields[i - 1]!.name < fields[i]!.name).toBe(true);
        expect(fields.every((field) => isFieldName(field.name))).toBe(true);
        const parts = fields.map((field) => ({ name: field.name, value: parseCanonical(field.value) }));
        expect(canonicalize(assembleEvent(parts))).toBe(canonicalize(event));
      }),
      { numRuns: 500 },
    );
  });

  it("cuts 1,024 fields and no more", () => {
    const wide = (members: number): Event => ({
      action: "a",
      payload: Object.fromEntries(Array.from({ length: members }, (_, i) => [`m${i}`, i])),
    });
    expect(cutFields(wide(1023))).toHaveLength(1024);
    expect(() => cutFields(wide(1024))).toThrow("expected at most 1024 fields, got 1025");
    expect(codeOf(() => cutFields(wide(1024)))).toBe("malformed-event");
  });

  it("cuts names and values with quotes, escapes and brackets in them", () => {
    const odd = ['"', "\\", '\\"', "}", "{", ",", ":", '":{', "a\nb", "\\\\"];
    const event: Event = {
      action: "a",
      actor: 'o"}',
      metadata: Object.fromEntries(odd.map((text, i) => [text, odd.slice(i)])),
      payload: [odd, {}],
    };
    const expected = [...odd].sort().map((text) => ({
      name: `metadata.${text}`,
      value: canonicalize(event.metadata![text]),
    }));
    expect(cutFields(event).filter((field) => field.name.startsWith("metadata"))).toEqual(expected);
    expect(cutBody(canonicalize(event)).at(-1)).toEqual({
      name: "payload",
      value: canonicalize(event.payload),
    });
  });

  it("wants a digest for each name", () => {
    expect(() => commitFields("sha256", ["action"], [])).toThrow(RangeError);
  });
});

describe("openDisclosure", () => {
  it.each(vectors.disclosures)("opens $title", ({ hash, names, disclosed, digests, commitment, event }) => {
    expect(openDisclosure(hash, names, disclosed, digests)).toEqual({ commitment, event });
  });

  it.each(vectors.forged)("refuses $title", ({ hash, names, disclosed, digests, code }) => {
    expect(codeOf(() => openDisclosure(hash, names, disclosed, digests))).toBe(code);
  });

  it("gives the same commitment whatever is shown, and another one for any other value or salt", () => {
    fc.assert(
      fc.property(
        events,
        fc.constantFrom(...HASHES),
        fc.nat(),
        fc.infiniteStream(fc.boolean()),
        (event, hash, at, coins) => {
          const fields = cutFields(event).map((field, i) => ({
            ...field,
            salt: encodeHex(new Uint8Array(16).fill(i + 1)),
          }));
          const names = fields.map((field) => field.name);
          const all = fields.map((field) => fieldDigest(hash, saltOf(field.salt), field));
          const commitment = commitFields(hash, names, all);
          const disclosed: Record<string, readonly [string, JsonValue]> = {};
          const digests: Record<string, string> = {};
          fields.forEach((field, i) => {
            if (coins.next().value) disclosed[field.name] = [field.salt, parseCanonical(field.value)];
            else digests[field.name] = all[i]!;
          });
          expect(openDisclosure(hash, names, disclosed, digests).commitment).toBe(commitment);
          const victim = names[at % names.length]!;
          const shown = disclosed[victim];
          if (shown === undefined) digests[victim] = "0".repeat(HASH_BYTES[hash] * 2);
          else disclosed[victim] = ["f".repeat(32), shown[1]];
          expect(openDisclosure(hash, names, disclosed, digests).commitment).not.toBe(commitment);
        },
      ),
      { numRuns: 300 },
    );
  });

  it("says which rule was broken", () => {
    const digests = { action: "0".repeat(64) };
    expect(() => openDisclosure("sha256", ["payload.x"], {}, { "payload.x": "" })).toThrow(
      'names: expected "action" among them',
    );
    expect(() => openDisclosure("sha256", ["action", "payload", "payload.x"], {}, digests)).toThrow(
      'names: expected "payload" whole or cut, got both',
    );
    expect(() => openDisclosure("sha256", ["action", "action"], {}, digests)).toThrow(
      'names: expected them strictly ascending, got "action" after "action"',
    );
    expect(() => openDisclosure("sha256", ["action"], { action: ["00".repeat(16), "a"] }, digests)).toThrow(
      "expected 1 names disclosed or withheld, got 1 and 1",
    );
  });
});

describe("isFieldName", () => {
  it("tells the names of fields from all others", () => {
    for (const field of ["action", "payload", "payload.", "payload.a.b", "context.constructor", "metadata.é"]) {
      expect([field, isFieldName(field)]).toEqual([field, true]);
    }
    for (const field of [
      "",
      "a",
      "actor.id",
      "constructor",
      "payload.__proto__",
      "payloads.a",
      ".payload",
      "payload.\ud800",
    ]) {
      expect([field, isFieldName(field)]).toEqual([field, false]);
    }
  });
});

describe("assembleEvent", () => {
  it("refuses parts that make no event", () => {
    expect(codeOf(() => assembleEvent([{ name: "id", value: "i" }]))).toBe("malformed-commitment");
    expect(codeOf(() => assembleEvent([{ name: "action", value: "a b" }]))).toBe("malformed-event");
  });
});
