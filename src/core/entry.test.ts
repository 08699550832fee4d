import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { canonicalize } from "./canonical-json.ts";
import { encodeHex, encodeUtf8 } from "./encoding.ts";
import {
  type Entry,
  formatEntry,
  formatTime,
  leafHashHex,
  leafHashHexOfBytes,
  parseCommitment,
  parseEntry,
  parseTime,
  ZERO_HASH_HEX,
} from "./entry.ts";
import { MalformedError } from "./errors.ts";
import { hashLeaf } from "./merkle.ts";
import { daysInMonth } from "./time-layout.ts";

interface Vectors {
  readonly chain: readonly { readonly text: string; readonly leafHash: string; readonly entry: Entry }[];
  readonly malformed: readonly string[];
}

const vectors = JSON.parse(readFileSync(new URL("../../vectors/entries.json", import.meta.url), "utf8")) as Vectors;

fc.configureGlobal({ seed: 9162 });

function codeOf(call: () => unknown): string {
  try {
    call();
  } catch (error) {
    if (!(error instanceof MalformedError)) throw error;
    return error.code;
  }
  return "accepted";
}

describe("leafHashHexOfBytes", () => {
  it("is the leaf hash of the text, and of bytes that are no text, at every length", () => {
    for (let size = 0; size < 600; size++) {
      const text = "\u00e9{".repeat(size).slice(0, size);
      expect(leafHashHexOfBytes(encodeUtf8(text))).toBe(leafHashHex(text));
    }
    const bytes = Uint8Array.of(0xff, 0, 0x80);
    expect(leafHashHexOfBytes(bytes)).toBe(encodeHex(hashLeaf(bytes)));
    expect(leafHashHexOfBytes(bytes.subarray(1, 2))).toBe(encodeHex(hashLeaf(Uint8Array.of(0))));
  });
});

describe("parseEntry", () => {
  it.each(vectors.chain)("reads entry $entry.index, and writes it back", ({ text, leafHash, entry }) => {
    expect(parseEntry(text)).toEqual(entry);
    expect(formatEntry(entry)).toBe(text);
    expect(canonicalize(entry)).toBe(text);
    expect(leafHashHex(text)).toBe(leafHash);
  });

  it("is linked by leaf hashes from 64 zeros on", () => {
    vectors.chain.slice(0, 4).forEach(({ entry }, i) => {
      expect(entry.previous).toBe(i === 0 ? ZERO_HASH_HEX : vectors.chain[i - 1]!.leafHash);
    });
  });

  it.each(vectors.malformed)("refuses %j", (text) => {
    expect(codeOf(() => parseEntry(text))).toBe("malformed-entry");
  });

  it("notices every change of every character: it is refused, or the leaf hash differs", () => {
    const { text, leafHash } = vectors.chain[1]!;
    for (let at = 0; at < text.length; at++) {
      for (const unit of [
        "0",
        "1",
        "a",
        "f",
        '"',
        " ",
        "",
        "}",
        "\u0000",
        "é",
        String.fromCharCode(text.charCodeAt(at) ^ 1),
      ]) {
        const changed = text.slice(0, at) + unit + text.slice(at + 1);
        if (changed === text) continue;
        if (codeOf(() => parseEntry(changed)) === "accepted") {
          expect(formatEntry(parseEntry(changed))).toBe(changed);
          expect(leafHashHex(changed)).not.toBe(leafHash);
        }
      }
    }
  });

  it("accepts exactly what formatEntry writes", () => {
    const hex = (digits: number) =>
      fc.string({ unit: fc.constantFrom(..."0123456789abcdef"), minLength: digits, maxLength: digits });
    fc.assert(
      fc.property(
        hex(64),
        hex(64),
        fc.maxSafeNat(),
        fc.constantFrom("event", "fields", "control"),
        fc.date({
          min: new Date("0000-01-01T00:00:00.000Z"),
          max: new Date("9999-12-31T23:59:59.999Z"),
          noInvalidDate: true,
        }),
        (digest, previous, index, scheme, date) => {
          const entry = {
            commitment: `sha256:${digest}`,
            index,
            previous,
            scheme,
            time: formatTime(date.getTime()),
            v: 1,
          } as const;
          expect(parseEntry(formatEntry(entry))).toEqual(entry);
          expect(parseTime(entry.time)).toBe(date.getTime());
        },
      ),
    );
  });

  it("says what is missing or out of range", () => {
    const { text } = vectors.chain[1]!;
    expect(() => parseEntry("{}")).toThrow(
      "expected an entry of exactly the members commitment, index, previous, scheme, time, v; commitment is missing",
    );
    expect(() => parseEntry(`${text} `)).toThrow("expected an entry of the canonical layout");
    expect(() => parseEntry(text.replace('"index":1', '"index":9007199254740992'))).toThrow(
      "index: expected at most 2^53-1",
    );
    expect(() => parseEntry(text.replace("-01-02T", "-02-30T"))).toThrow("time: expected a real date and time of day");
  });
});

describe("times", () => {
  it("knows the days of every month", () => {
    for (const year of [0, 1, 1900, 2000, 2023, 2024, 2100, 9999]) {
      for (let month = 1; month <= 12; month++) {
        const last = new Date(Date.UTC(2000, month, 0));
        last.setUTCFullYear(year, month, 0);
        expect(daysInMonth(year, month)).toBe(last.getUTCDate());
      }
    }
    expect([0, 13, -1, 1.5].map((month) => daysInMonth(2026, month))).toEqual([0, 0, 0, 0]);
  });

  it.each([Number.NaN, 0.5, -62_167_219_200_001, 253_402_300_800_000])("does not write %d as a time", (timeMs) => {
    expect(() => formatTime(timeMs)).toThrow(RangeError);
  });

  it("reads only the one spelling", () => {
    expect(parseTime("1970-01-01T00:00:00.001Z")).toBe(1);
    for (const text of ["1970-01-01T00:00:00Z", "1970-02-29T00:00:00.000Z", "1970-01-01T00:00:00.000Z\n", ""]) {
      expect(codeOf(() => parseTime(text))).toBe("malformed-entry");
    }
  });
});

describe("parseCommitment", () => {
  it("gives the hash and the digest", () => {
    expect(parseCommitment(`sha3-256:${"ab".repeat(32)}`)).toEqual({ hash: "sha3-256", hex: "ab".repeat(32) });
    expect(parseCommitment(`sha512:${"ab".repeat(64)}`)).toEqual({ hash: "sha512", hex: "ab".repeat(64) });
  });

  it.each([
    "",
    "sha256",
    ":",
    "sha1:ab",
    `toString:${"ab".repeat(32)}`,
    `sha256:${"AB".repeat(32)}`,
    `sha512:${"ab".repeat(32)}`,
    `sha256:${"ab".repeat(32)}\n`,
  ])("refuses %j", (text) => {
    expect(codeOf(() => parseCommitment(text))).toBe("malformed-entry");
  });
});
