import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { encodeUtf8 } from "./encoding.ts";
import { type Entry, formatEntry, leafHashHex, parseEntry, type Scheme } from "./entry.ts";
import { EntryForecast, type ForecastParts } from "./entry-forecast.ts";
import { isTallystickError } from "./errors.ts";
import type { HashName } from "./hash.ts";

const vectors = JSON.parse(readFileSync(new URL("../../vectors/entries.json", import.meta.url), "utf8")) as {
  readonly chain: readonly { readonly text: string; readonly leafHash: string; readonly entry: Entry }[];
  readonly malformed: readonly string[];
};
const [before, { text, leafHash, entry }] = [vectors.chain[0]!, vectors.chain[1]!];

const parts: ForecastParts = {
  commitment: entry.commitment.slice("sha256:".length),
  index: entry.index,
  previous: entry.previous,
  time: before.entry.time,
};

function leafOf(candidate: string, other: Partial<ForecastParts> = {}, hash: HashName = "sha256", scheme?: Scheme) {
  return new EntryForecast(hash, scheme ?? entry.scheme).leafOf(encodeUtf8(candidate), { ...parts, ...other });
}

describe("EntryForecast", () => {
  it("gives the leaf hash of the entry that was to come, at the same time or later", () => {
    expect(leafOf(text)).toBe(leafHash);
    expect(leafOf(text, { time: entry.time })).toBe(leafHash);
    expect(leafOf(text, { time: "9999-12-31T23:59:59.999Z" })).toBeNull();
  });

  it("gives nothing of an entry that says anything else", () => {
    expect(leafOf(text, { index: entry.index + 1 })).toBeNull();
    expect(leafOf(text, { index: 10 ** 9 })).toBeNull();
    expect(leafOf(text, { previous: "f".repeat(64) })).toBeNull();
    expect(leafOf(text, { commitment: "f".repeat(64) })).toBeNull();
    expect(leafOf(text, {}, "sha3-256")).toBeNull();
    expect(leafOf(text, { commitment: "f".repeat(128) }, "sha512")).toBeNull();
    for (const scheme of (["event", "fields", "control"] as const).filter((one) => one !== entry.scheme))
      expect(leafOf(text, {}, "sha256", scheme)).toBeNull();
    for (const malformed of vectors.malformed) expect(leafOf(malformed)).toBeNull();
  });

  it("recognizes no bytes that parseEntry refuses or reads otherwise, whatever is changed in them", () => {
    let recognized = 0;
    for (let at = 0; at < text.length; at++) {
      for (const unit of ["0", "9", "a", "A", "g", '"', ":", " ", "", "00", "\u0000", "é", "\u{1f600}"]) {
        const changed = text.slice(0, at) + unit + text.slice(at + 1);
        const leaf = leafOf(changed);
        if (leaf === null) continue;
        const { time, ...rest } = parseEntry(changed);
        expect(rest).toEqual({ ...rest, ...parts, commitment: entry.commitment, time: undefined });
        expect(time >= parts.time).toBe(true);
        expect(leaf).toBe(leafHashHex(changed));
        recognized += 1;
      }
    }
    // At least where a unit was replaced by itself, or by a later time.
    expect(recognized).toBeGreaterThan(10);
  });

  it("goes on from entry to entry, through times and numbers of digits", () => {
    const forecast = new EntryForecast("sha256", "event");
    let previous = "a".repeat(64);
    let time = "2026-01-31T23:59:59.998Z";
    for (const index of [8, 9, 10, 11, 99, 100, 2 ** 53 - 2, 2 ** 53 - 1, 7]) {
      const commitment = leafHashHex(`${index}`);
      for (const later of [time, `2026-02-0${1 + (index % 9)}T00:00:00.000Z`]) {
        const parts = { commitment: `sha256:${commitment}`, index, previous, scheme: "event", time: later } as const;
        const bytes = encodeUtf8(formatEntry(parts));
        const leaf = forecast.leafOf(bytes, { commitment, index, previous, time });
        expect(leaf).toBe(later < time ? null : leafHashHex(formatEntry(parts)));
        if (leaf !== null) expect(forecast.time).toBe(later);
      }
      previous = commitment;
      time = "2026-02-01T00:00:00.000Z";
    }
  });

  it("refuses times that are none", () => {
    const changed = (wrong: string) => text.replace(entry.time, wrong);
    for (const wrong of ["2026-02-30T00:00:00.000Z", "9999-12-31T24:00:00.000Z", "9999-12-31T23:59:59.99aZ"]) {
      expect(leafOf(changed(wrong))).toBeNull();
      expect(() => parseEntry(changed(wrong))).toThrow(expect.toSatisfy(isTallystickError));
    }
  });
});
