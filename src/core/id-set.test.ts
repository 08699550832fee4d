import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { IdSet } from "./id-set.ts";

describe("IdSet", () => {
  it("answers as a set does", () => {
    fc.assert(
      fc.property(fc.array(fc.string({ maxLength: 3 })), (ids) => {
        const set = new IdSet();
        const model = new Set<string>();
        for (const id of ids) {
          expect(set.add(id)).toBe(!model.has(id));
          model.add(id);
        }
      }),
      { seed: 20261120 },
    );
  });

  it("keeps what it knows while it grows", () => {
    const set = new IdSet();
    for (let i = 0; i < 20_000; i++) expect(set.add(`evt-${i}`)).toBe(true);
    for (let i = 0; i < 20_000; i += 7) expect(set.add(`evt-${i}`)).toBe(false);
    expect(set.add("evt-20000")).toBe(true);
  });
});
