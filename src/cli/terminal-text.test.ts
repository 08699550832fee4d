import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  bytes,
  counted,
  safeJson,
  safeLines,
  safeText,
  shortVkey,
  styleOf,
  wantsColor,
  wrap,
} from "./terminal-text.ts";

/** What a terminal acts upon, or does not show. */
const UNSAFE = /[\p{Cc}\p{Zl}\p{Zp}\p{Cs}]|(?![\u200c\u200d])\p{Cf}/u;
/** Format characters that are part of a script, not of its layout. */
const SCRIPT_MARKS =
  /[\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\u180e\u{110bd}\u{110cd}\u{13430}-\u{1343f}\u{1bca0}-\u{1bca3}\u{1d173}-\u{1d17a}]/gu;

describe("safeText", () => {
  it("writes control, bidirectional and invisible characters as escapes", () => {
    expect(safeText("a\u001b[31mb\u0007\r\n\t\u009bc")).toBe("a\\u{1b}[31mb\\u{7}\\r\\n\\t\\u{9b}c");
    expect(safeText("user\u202egnp.exe\u2066\u200b\ufeff\u{e0041}\ud800")).toBe(
      "user\\u{202e}gnp.exe\\u{2066}\\u{200b}\\u{feff}\\u{e0041}\\u{d800}",
    );
    expect(safeText("Zoë 😀 日本語 मी\u200dं")).toBe("Zoë 😀 日本語 मी\u200dं");
    expect(safeLines("a\nb\u0007")).toBe("a\nb\\u{7}");
  });

  it("lets nothing through that a terminal would act upon", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        expect(UNSAFE.test(safeText(text).replaceAll(SCRIPT_MARKS, ""))).toBe(false);
      }),
      { seed: 1, numRuns: 2_000 },
    );
  });
});

describe("safeJson", () => {
  it("keeps the value and lets nothing through that a terminal would act upon", () => {
    fc.assert(
      fc.property(fc.json({ stringUnit: "binary" }), (json) => {
        const value: unknown = JSON.parse(json);
        const safe = safeJson(JSON.stringify(value));
        expect(JSON.parse(safe)).toEqual(value);
        expect(UNSAFE.test(safe.replaceAll(SCRIPT_MARKS, ""))).toBe(false);
      }),
      { seed: 2, numRuns: 2_000 },
    );
  });
});

describe("layout", () => {
  it("breaks lines at spaces and loses no word", () => {
    expect(wrap("one two three", 7)).toEqual(["one two", "three"]);
    expect(wrap("averylongword short", 5)).toEqual(["averylongword", "short"]);
    fc.assert(
      fc.property(
        fc.array(fc.string({ minLength: 1 }).filter((word) => !word.includes(" "))),
        fc.nat(40),
        (words, width) => {
          const lines = wrap(words.join(" "), width + 1);
          expect(lines.join(" ")).toBe(words.join(" "));
          for (const line of lines) expect(line.length <= width + 1 || !line.includes(" ")).toBe(true);
        },
      ),
      { seed: 3 },
    );
  });

  it("counts in words", () => {
    expect([counted(1, "entry", "entries"), counted(1_204, "entry", "entries"), counted(0, "finding")]).toEqual([
      "1 entry",
      "1,204 entries",
      "0 findings",
    ]);
    expect([bytes(999), bytes(1_200), bytes(73_000_000)]).toEqual(["999 B", "1.2 kB", "73.0 MB"]);
    expect(shortVkey(`log.example+0a0b0c0d+${"A".repeat(1_800)}`)).toBe(
      `log.example+0a0b0c0d+${"A".repeat(31)}… (1821 characters)`,
    );
  });

  it("colours as the environment asks", () => {
    const terminal = { isTTY: true };
    expect(wantsColor(terminal, {})).toBe(true);
    expect(wantsColor({}, {})).toBe(false);
    expect(wantsColor(terminal, { TERM: "dumb" })).toBe(false);
    expect(wantsColor(terminal, { NO_COLOR: "1" })).toBe(false);
    expect(wantsColor(terminal, { NO_COLOR: "" })).toBe(true);
    expect(wantsColor({}, { FORCE_COLOR: "1" })).toBe(true);
    expect(wantsColor(terminal, { NO_COLOR: "1", FORCE_COLOR: "" })).toBe(true);
    expect(wantsColor(terminal, { FORCE_COLOR: "0" })).toBe(false);
    expect(styleOf(true).red("x")).toBe("\u001b[31mx\u001b[39m");
    expect(styleOf(false).red("x")).toBe("x");
  });
});
