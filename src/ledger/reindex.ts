import { leafHashHex, parseEntry } from "../core/entry.ts";
import { FatalError } from "../core/errors.ts";
import { IdSet } from "../core/id-set.ts";
import { FILTER_BLOCK_ENTRIES, FilterBuilder } from "./block-filter.ts";
import { READ_PAGE_ENTRIES } from "./limits.ts";
import { RightEdge } from "./right-edge.ts";
import type { Batch, LedgerStorage, StoredTile } from "./storage.ts";
import { storedEvent } from "./stored-event.ts";
import { timeSlices } from "./time-slices.ts";

/** Rebuilds all derived data from the stored entries in one transaction; returns how many entries there are. */
export async function reindexLedger(storage: LedgerStorage): Promise<number> {
  const edge = RightEdge.empty();
  await storage.rebuildDerived(derivedBatches(storage, edge));
  return edge.size;
}

/** `edge` grows to that of the ledger. */
async function* derivedBatches(storage: LedgerStorage, edge: RightEdge): AsyncGenerator<Batch> {
  // Within the change: what another process appended before it began must not be left out.
  const { size } = await storage.head();
  const builder = new FilterBuilder();
  // An id that stands twice leads to its first entry: that it does is for verify to say, and no reason to fail here.
  const seen = new IdSet();
  const pause = timeSlices();
  for (let first = 0; first < size; first += READ_PAGE_ENTRIES) {
    const entries = await storage.readEntries(first, Math.min(size, first + READ_PAGE_ENTRIES));
    const tiles: StoredTile[] = [];
    const filters: { block: number; bits: Uint8Array }[] = [];
    const ids: { id: string; index: number }[] = [];
    const controls: number[] = [];
    for (const stored of entries) {
      if (stored.index !== edge.size)
        throw new FatalError("invariant-broken", `reindex: entry ${edge.size} is missing; run verify`);
      edge.append(leafHashHex(stored.entry), "", tiles);
      if (parseEntry(stored.entry).scheme === "control") controls.push(stored.index);
      const event = storedEvent(stored);
      if (event?.id !== undefined && seen.add(event.id)) ids.push({ id: event.id, index: stored.index });
      builder.add(event ?? {});
      if (edge.size % FILTER_BLOCK_ENTRIES === 0) {
        filters.push({ block: edge.size / FILTER_BLOCK_ENTRIES - 1, bits: builder.take() });
      }
    }
    yield { entries: [], tiles, filters, ids, controls };
    await pause();
  }
}
