import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { bracketOf, TIMELINE_ROWS_MAX, type TimelineNotAfter, type TimelineNotBefore, timelineOf } from "./timeline.ts";

const timeOf = (hour: number): string => new Date(Date.UTC(2026, 0, 1, hour)).toISOString();
const bound = (size: number, hour: number, source = "s"): TimelineNotAfter => ({
  ...{ size, time: timeOf(hour), source, relies: "r" },
});
const follows = (index: number, hour: number, source = "s"): TimelineNotBefore => ({
  ...{ index, time: timeOf(hour), source, relies: "r" },
});

describe("timelines", () => {
  it("leave out what another row says better", () => {
    const { notAfter, notBefore } = timelineOf(
      [bound(10, 5), bound(4, 2), bound(6, 6), bound(10, 7), bound(3, 2)],
      [follows(1, 1), follows(5, 1), follows(3, 4), follows(3, 3), follows(8, 2)],
    );
    expect(notAfter).toEqual([bound(4, 2), bound(10, 5)]);
    expect(notBefore).toEqual([follows(1, 1), follows(3, 4)]);
  });

  it("give the same bracket as a look at every row", () => {
    const rows = fc.array(fc.tuple(fc.nat(20), fc.nat(20)), { maxLength: 20 });
    fc.assert(
      fc.property(rows, rows, fc.nat(21), (afters, befores, index) => {
        const notAfter = afters.map(([size, hour]) => bound(size + 1, hour));
        const notBefore = befores.map(([at, hour]) => follows(at, hour));
        const bracket = bracketOf(timelineOf(notAfter, notBefore), index);
        const earliest =
          notAfter
            .filter((row) => row.size > index)
            .map((row) => row.time)
            .sort()[0] ?? null;
        const latest =
          notBefore
            .filter((row) => row.index <= index)
            .map((row) => row.time)
            .sort()
            .at(-1) ?? null;
        expect([bracket.notAfter?.time ?? null, bracket.notBefore?.time ?? null]).toEqual([earliest, latest]);
      }),
    );
  });

  it("stay short, and then bracket wider, never wrongly", () => {
    const count = 3 * TIMELINE_ROWS_MAX;
    const rows = Array.from({ length: count }, (_, i) => i);
    const timeline = timelineOf(
      rows.map((i) => bound(i + 1, i)),
      rows.map((i) => follows(i, i)),
    );
    expect([timeline.notAfter.length, timeline.notBefore.length]).toEqual([TIMELINE_ROWS_MAX, TIMELINE_ROWS_MAX]);
    expect(timeline.notAfter.at(-1)).toEqual(bound(count, count - 1));
    for (const index of [0, 1, 2, 5_000, count - 1]) {
      const bracket = bracketOf(timeline, index);
      expect(bracket.notAfter!.time >= timeOf(index)).toBe(true);
      expect(bracket.notBefore!.time <= timeOf(index)).toBe(true);
    }
  });

  it("bracket nothing without evidence, and no index that is none", () => {
    expect(bracketOf({ notAfter: [bound(2, 1)], notBefore: [] }, 2)).toEqual({ notBefore: null, notAfter: null });
    for (const index of [-1, 0.5, Number.NaN])
      expect(() => bracketOf({ notAfter: [], notBefore: [] }, index)).toThrow(RangeError);
  });
});
