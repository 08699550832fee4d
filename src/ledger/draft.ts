import type { BulkCommit, BulkPlaced } from "./bulk-writer.ts";
import { DRAFT_BYTES_MAX } from "./limits.ts";
import type { Submission } from "./submission.ts";

/**
 * Submissions that were handed to the bulk writer before it is known what else comes. As long as it is there, its sequencer
 * commits nothing else.
 */
export class Draft {
  /** Of its entries. */
  readonly time: string;
  entries = 0;
  bytes = 0;
  private bulk: BulkCommit | null;
  private release: (() => void) | null;
  /** What was added, whose content may stand in bytes of the bulk writer. */
  private added: Submission[] = [];
  private placed: Promise<BulkPlaced | null> | null = null;
  private abandoned: Promise<void> = Promise.resolve();

  /** `release` lets the sequencer commit other things again. */
  constructor(bulk: BulkCommit, time: string, release: () => void) {
    this.bulk = bulk;
    this.time = time;
    this.release = release;
  }

  /** False once `commit` was called. */
  get isOpen(): boolean {
    return this.placed === null;
  }

  /** True once it was given up: then nothing of it is handed over, and others may be committed before it. */
  get isGivenUp(): boolean {
    return this.bulk === null;
  }

  /** Adds a submission, or gives the whole bet up if it is none that can be handed over. */
  add(submission: Submission): void {
    this.entries += 1;
    this.bytes += submission.sizeBytes;
    if (this.bulk !== null && isPlain(submission) && this.bytes <= DRAFT_BYTES_MAX) {
      this.added.push(submission);
      if (this.bulk.add(submission)) return;
    }
    submission.own();
    this.giveUp();
  }

  /** Null when nothing of it is stored. Whoever calls it calls `end` when it is dealt with. Error: `outcome-unknown`. */
  commit(): Promise<BulkPlaced | null> {
    this.placed ??= this.bulk === null ? this.abandoned.then(() => null) : this.commitAdded(this.bulk);
    return this.placed;
  }

  private async commitAdded(bulk: BulkCommit): Promise<BulkPlaced | null> {
    const placed = await bulk.commit();
    if (placed === null) this.takeBack();
    return placed;
  }

  /** The bulk writer may need its bytes for others. */
  private takeBack(): void {
    for (const submission of this.added) submission.own();
    this.added = [];
  }

  /** Idempotent. */
  end(): void {
    this.release?.();
    this.release = null;
  }

  /** In place of `commit` and `end`. */
  giveUp(): void {
    if (this.bulk === null) return;
    this.takeBack();
    const end = (): void => this.end();
    this.abandoned = this.bulk.abandon().then(end, end);
    this.bulk = null;
  }
}

/** Whether nobody need look at the ledger before it gets its place. */
export function isPlain({ id, signed, scheme }: Submission): boolean {
  return id === null && signed === null && scheme !== "control";
}
