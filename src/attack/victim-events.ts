import { parseEntry } from "../core/entry.ts";
import { type Event, parseEvent } from "../core/event.ts";
import type { Random } from "../ledger/random.ts";
import type { StoredEntry } from "../ledger/storage.ts";
import { openSqliteStorage } from "../storage/sqlite.ts";
import type { SqliteDriver } from "../storage/sqlite-driver.ts";

/** An event for the victim, and how it is committed there. */
export interface VictimEvent {
  readonly event: Event;
  readonly scheme: "event" | "fields";
}

const PAGE_ENTRIES = 512;
/** Larger events stay where they are: some forty copies of the victim are made. */
const BODY_LENGTH_MAX = 16_384;

/**
 * The first `count` events of the ledger at `path` that can be appended to another one, in order: no control events, nothing
 * that only a ledger writes, nothing erased, nothing large. Signatures are left out, as their keys are not registered
 * elsewhere. The ledger is only read. Errors: those of opening it.
 */
export async function copyEvents(path: string, count: number, driver: SqliteDriver): Promise<VictimEvent[]> {
  const storage = await openSqliteStorage(path, { readOnly: true, driver });
  try {
    const { size } = await storage.head();
    const events: VictimEvent[] = [];
    for (let first = 0; first < size && events.length < count; first += PAGE_ENTRIES) {
      for (const stored of await storage.readEntries(first, Math.min(size, first + PAGE_ENTRIES))) {
        const copied = copyOf(stored);
        if (copied !== null && events.length < count) events.push(copied);
      }
    }
    return events;
  } finally {
    await storage.close();
  }
}

function copyOf({ entry, body }: StoredEntry): VictimEvent | null {
  const { scheme } = parseEntry(entry);
  if (scheme === "control" || body === null) return null;
  const { signatures: _, ...event } = parseEvent(body);
  return event.action.startsWith("ledger.") || body.length > BODY_LENGTH_MAX ? null : { event, scheme };
}

const ACTIONS = ["user.login", "document.read", "document.changed", "order.placed", "order.refunded", "role.granted"];
const ACTORS = ["alice", "bob", "carol", "dana", "service:billing"];
const OUTCOMES = ["success", "success", "success", "failure"];
/** One in so many is committed field by field. */
const FIELDS_EVERY = 4;

/** `count` events as an application logs them, made from `random` alone. */
export function inventEvents(count: number, random: Random): VictimEvent[] {
  return Array.from({ length: count }, (_, i) => {
    const [a, b, c, d] = random.fill(new Uint8Array(4)) as unknown as [number, number, number, number];
    const pick = <T>(list: readonly T[], byte: number): T => list[byte % list.length] as T;
    const event: Event = {
      id: `attack.invalid/${i}`,
      action: pick(ACTIONS, a),
      actor: pick(ACTORS, b),
      outcome: pick(OUTCOMES, c),
      targets: [{ id: `item-${d}`, type: "item" }],
      payload: { amount: a * 256 + d, currency: "EUR" },
    };
    return { event, scheme: i % FIELDS_EVERY === 0 ? "fields" : "event" };
  });
}
