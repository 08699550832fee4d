import { formatTime } from "./entry.ts";

/** Since when entries exist, and since when at the latest: what outside evidence proves of their time, and on whose word. */

/** Entries below `size` existed at `time`. */
export interface TimelineNotAfter {
  readonly size: number;
  /** Ledger time (`YYYY-MM-DDTHH:MM:SS.mmmZ`). */
  readonly time: string;
  /** Which evidence: `RFC 3161 time stamp by … (entry 17)`. Names in it are those of certificates: escape before showing. */
  readonly source: string;
  /** What trusting it means, one plain phrase. */
  readonly relies: string;
}

/** Entries from `index` on were written after `time`. */
export interface TimelineNotBefore {
  readonly index: number;
  readonly time: string;
  readonly source: string;
  readonly relies: string;
}

/** Both lists ascend in both of their numbers; what another row says better is left out. */
export interface Timeline {
  readonly notAfter: readonly TimelineNotAfter[];
  readonly notBefore: readonly TimelineNotBefore[];
}

/** What an entry provably lies between; null where nothing bounds it. */
export interface Bracket {
  readonly notBefore: TimelineNotBefore | null;
  readonly notAfter: TimelineNotAfter | null;
}

export const EMPTY_TIMELINE: Timeline = { notAfter: [], notBefore: [] };

/** Rows of one list: an hourly anchor fills them in half a year. More are thinned, which widens brackets and never makes one wrong. */
export const TIMELINE_ROWS_MAX = 4_096;

/** The timeline of all evidence that holds, in any order. */
export function timelineOf(notAfter: readonly TimelineNotAfter[], notBefore: readonly TimelineNotBefore[]): Timeline {
  const latestFirst = [...notAfter].sort((a, b) => b.size - a.size || compare(a.time, b.time));
  const after: TimelineNotAfter[] = [];
  for (const row of latestFirst) if (after.length === 0 || row.time < after.at(-1)!.time) after.push(row);
  const earliestFirst = [...notBefore].sort((a, b) => a.index - b.index || compare(b.time, a.time));
  const before: TimelineNotBefore[] = [];
  for (const row of earliestFirst) if (before.length === 0 || row.time > before.at(-1)!.time) before.push(row);
  return { notAfter: thinned(after.reverse()), notBefore: thinned(before) };
}

/**
 * The bracket of one entry: the earliest outside time by which it existed, and the latest that it follows. `RangeError` for an index
 * that is none.
 */
export function bracketOf(timeline: Timeline, index: number): Bracket {
  if (!Number.isSafeInteger(index) || index < 0) throw new RangeError(`bracketOf: expected a leaf index, got ${index}`);
  return {
    notBefore: timeline.notBefore.findLast((row) => row.index <= index) ?? null,
    notAfter: timeline.notAfter.find((row) => row.size > index) ?? null,
  };
}

/** Ledger time of milliseconds since 1970; null for what no date of the formats can say. */
export function timeText(timeMs: number): string | null {
  try {
    return formatTime(timeMs);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return null;
  }
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Keeps the first and the last, and others at equal distances. */
function thinned<T>(rows: readonly T[]): readonly T[] {
  if (rows.length <= TIMELINE_ROWS_MAX) return rows;
  const step = (rows.length - 1) / (TIMELINE_ROWS_MAX - 1);
  return Array.from({ length: TIMELINE_ROWS_MAX }, (_, i) => rows[Math.round(i * step)]!);
}
