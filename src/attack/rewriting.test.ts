import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { commitBody } from "../core/commitment.ts";
import { decodeHex, encodeHex } from "../core/encoding.ts";
import { leafHashHex, parseEntry, ZERO_HASH_HEX } from "../core/entry.ts";
import { parseEvent } from "../core/event.ts";
import { createRange } from "../core/merkle.ts";
import { changeActor, inventEvent, type PlannedEntry, planOf, rewrite, rootOf } from "./rewriting.ts";

const TIME = "2026-01-01T00:00:00.000Z";
const LATER = "2026-01-02T00:00:00.000Z";
const options = { hash: "sha256", fill: (bytes: Uint8Array) => bytes.fill(7) } as const;
const event = (i: number): PlannedEntry => ({ body: inventEvent(`id-${i}`), scheme: "event", time: TIME });
const events = (count: number): PlannedEntry[] => Array.from({ length: count }, (_, i) => event(i));

describe("rewriting a ledger", () => {
  it("makes entries whose links, times and commitments agree", () => {
    const { entries } = rewrite([], [{ ...event(0), time: LATER }, event(1), event(2)], options);
    let previous = ZERO_HASH_HEX;
    for (const [i, { index, entry, body, salts }] of entries.entries()) {
      const parsed = parseEntry(entry);
      expect(index).toBe(i);
      expect(parsed.index).toBe(i);
      expect(parsed.previous).toBe(previous);
      expect(parsed.time).toBe(LATER);
      expect(parsed.commitment).toBe(`sha256:${commitBody("sha256", "event", salts as Uint8Array, body as string)}`);
      previous = leafHashHex(entry);
    }
  });

  it("keeps the entries before the change byte for byte", () => {
    const first = rewrite([], events(5), options);
    const second = rewrite(first.entries.slice(0, 3), [event(9)], { ...options, fill: (bytes) => bytes.fill(8) });
    expect(second.entries.slice(0, 3)).toEqual(first.entries.slice(0, 3));
    expect(parseEntry(second.entries[3]?.entry ?? "").previous).toBe(leafHashHex(first.entries[2]?.entry ?? ""));
    expect(second.ids.map(({ id }) => id)).toEqual(["id-0", "id-1", "id-2", "id-9"]);
  });

  it("draws a salt for each field of scheme fields", () => {
    const { entries } = rewrite([], [{ ...event(0), scheme: "fields" }], options);
    expect(entries[0]?.salts).toHaveLength(4 * 16);
  });

  it("links the first new entry where it is told to, and the next ones to their neighbours", () => {
    const { entries } = rewrite([], events(2), options);
    const link = "ab".repeat(32);
    const grown = rewrite(entries, [event(2), event(3)], { ...options, link }).entries;
    expect(parseEntry(grown[2]?.entry ?? "").previous).toBe(link);
    expect(parseEntry(grown[3]?.entry ?? "").previous).toBe(leafHashHex(grown[2]?.entry ?? ""));
  });

  it("gives the tiles and the root of its leaves at every size", async () => {
    const { entries, tiles } = rewrite([], events(600), options);
    expect(tiles.map(({ level, index, hashes }) => [level, index, hashes.length])).toEqual([
      [0, 0, 8_192],
      [0, 1, 8_192],
    ]);
    await fc.assert(
      fc.asyncProperty(fc.integer({ min: 1, max: 600 }), async (size) => {
        const range = createRange();
        for (const { entry } of entries.slice(0, size))
          range.append(decodeHex(leafHashHex(entry), { code: "malformed-entry" }));
        expect(encodeHex(await rootOf(entries, size))).toBe(encodeHex(range.root()));
      }),
      { numRuns: 30, seed: 1 },
    );
  });

  it("plans what the entries say, and refuses to plan what is gone", () => {
    const { entries } = rewrite([], events(2), options);
    expect(planOf(entries)).toEqual(events(2));
    expect(() => planOf(entries.map((entry) => ({ ...entry, body: null })))).toThrow("planOf: entry 0 has no body");
  });

  it("changes the actor of any event to another one", () => {
    const changed = changeActor(inventEvent("a"));
    expect(parseEvent(changed).actor).toBe("eve");
    expect(parseEvent(changeActor(changed)).actor).toBe("mallory");
  });
});
