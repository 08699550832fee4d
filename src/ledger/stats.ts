import { parseEntry } from "../core/entry.ts";
import { actorIdOf, type Event } from "../core/event.ts";
import { READ_PAGE_ENTRIES } from "./limits.ts";
import type { QueryParts } from "./query.ts";
import type { VerificationRecord } from "./reader-state.ts";
import { readStored } from "./stored-event.ts";
import { timeSlices } from "./time-slices.ts";

export interface LedgerStats {
  readonly origin: string;
  readonly entries: number;
  readonly events: number;
  readonly controlEvents: number;
  readonly erasedEntries: number;
  /** Ledger times; null when empty. */
  readonly firstTime: string | null;
  readonly lastTime: string | null;
  readonly entryBytes: number;
  readonly bodyBytes: number;
  /** Counts by action and by actor id, most frequent first. */
  readonly actions: readonly { readonly action: string; readonly count: number }[];
  readonly actors: readonly { readonly actor: string; readonly count: number }[];
  /** Size of the latest released checkpoint. */
  readonly checkpointed: number;
  /** Last verification on this machine; null when never. */
  readonly verified: VerificationRecord | null;
}

export async function readStats(parts: QueryParts): Promise<Omit<LedgerStats, "origin" | "checkpointed" | "verified">> {
  const size = parts.size();
  const actions = new Map<string, number>();
  const actors = new Map<string, number>();
  let controlEvents = 0;
  let erasedEntries = 0;
  let entryBytes = 0;
  let bodyBytes = 0;
  let firstTime: string | null = null;
  let lastTime: string | null = null;
  const pause = timeSlices();
  for (let first = 0; first < size; first += READ_PAGE_ENTRIES) {
    for (const stored of await parts.storage.readEntries(first, Math.min(size, first + READ_PAGE_ENTRIES))) {
      const { event, erased } = readStored(stored, parts.state());
      const { time, scheme } = parseEntry(stored.entry);
      firstTime ??= time;
      lastTime = time;
      entryBytes += stored.entry.length;
      bodyBytes += Buffer.byteLength(stored.body ?? stored.disclosure ?? "");
      if (scheme === "control") controlEvents += 1;
      if (erased !== null) erasedEntries += 1;
      if (event?.action !== undefined) count(actions, event.action);
      const actor = event === null ? null : actorIdOf(event as Event);
      if (actor !== null) count(actors, actor);
    }
    await pause();
  }
  return {
    entries: size,
    events: size - controlEvents,
    controlEvents,
    erasedEntries,
    firstTime,
    lastTime,
    entryBytes,
    bodyBytes,
    actions: ranked(actions).map(([action, n]) => ({ action, count: n })),
    actors: ranked(actors).map(([actor, n]) => ({ actor, count: n })),
  };
}

function count(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}

function ranked(counts: ReadonlyMap<string, number>): [string, number][] {
  return [...counts].sort(([nameA, a], [nameB, b]) => b - a || (nameA < nameB ? -1 : 1));
}
