import type { LedgerState } from "../core/ledger-state.ts";
import { FILTER_BLOCK_ENTRIES, FilterBuilder } from "./block-filter.ts";
import type { Clock } from "./clock.ts";
import { INDEX_IDLE_MS } from "./limits.ts";
import type { Sequencer } from "./sequencer.ts";
import type { LedgerStorage } from "./storage.ts";
import { storedEvent } from "./stored-event.ts";

const FILTER_PAGE_BLOCKS = 64;

/**
 * Builds the block filters in the background, one block a step, only while the write path is idle. Queries read blocks
 * without a filter, so an index that lags costs time and never a result.
 */
export class Indexer {
  private readonly parts: {
    readonly storage: LedgerStorage;
    readonly clock: Clock;
    readonly sequencer: Sequencer;
    readonly state: () => LedgerState;
  };
  /** Blocks below this one are known to have a filter. */
  private next = 0;
  private cancelTimer: (() => void) | null = null;
  private running: Promise<void> | null = null;
  private stopped = false;
  private seenSize = -1;

  constructor(parts: Indexer["parts"]) {
    this.parts = parts;
  }

  schedule(): void {
    if (this.cancelTimer !== null || this.stopped || this.running !== null) return;
    this.cancelTimer = this.parts.clock.after(INDEX_IDLE_MS, () => {
      this.cancelTimer = null;
      const { size } = this.parts.sequencer.edge;
      const idle = this.parts.sequencer.waiting.entries === 0 && size === this.seenSize;
      this.seenSize = size;
      if (!idle) {
        this.schedule();
        return;
      }
      this.running = this.build()
        // Derived data: what could not be indexed now is scanned by queries and tried again after the next append.
        .catch(() => {})
        .finally(() => {
          this.running = null;
        });
    });
  }

  /** Looks for missing filters from the start again: an erasure removed some. */
  forget(): void {
    this.next = 0;
    this.schedule();
  }

  stop(): void {
    this.stopped = true;
    this.cancelTimer?.();
    this.cancelTimer = null;
  }

  async settled(): Promise<void> {
    await this.running;
  }

  private async build(): Promise<void> {
    const { storage, sequencer, state } = this.parts;
    const started = sequencer.edge.size;
    const full = Math.floor(started / FILTER_BLOCK_ENTRIES);
    const builder = new FilterBuilder();
    for (let page = this.next; page < full && !this.stopped; page += FILTER_PAGE_BLOCKS) {
      const end = Math.min(full, page + FILTER_PAGE_BLOCKS);
      const present = new Set(await storage.readFilterBlocks(page, end));
      for (let block = page; block < end; block++) {
        if (present.has(block)) continue;
        if (this.stopped) return;
        if (sequencer.edge.size !== started) return this.schedule();
        const entries = await storage.readEntries(block * FILTER_BLOCK_ENTRIES, (block + 1) * FILTER_BLOCK_ENTRIES);
        for (const stored of entries) builder.add(storedEvent(stored) ?? {});
        const bits = builder.take();
        const erasures = state().erasures.size;
        await sequencer.exclusive({ ids: [], idDigests: [], indexes: [] }, () => {
          // An erasure in between removed terms from the block: build it again.
          if (state().erasures.size !== erasures) return undefined;
          return { batch: { entries: [], tiles: [], filters: [{ block, bits }], ids: [], controls: [] }, result: true };
        });
      }
      this.next = end;
    }
  }
}
