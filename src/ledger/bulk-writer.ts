import type { EdgeState } from "./right-edge.ts";
import type { Submission } from "./submission.ts";

/**
 * Port: gives submissions their places, and has a second thread that stores them while the calls that make them are still coming in.
 * Implementation: bulk-thread.ts.
 */
export interface BulkWriter {
  /** Whether `begin` may be called: the thread is there, and no commit is under way. */
  readonly isReady: boolean;
  /** Fewer submissions than this are not worth handing over. */
  readonly entriesLeast: number;

  /**
   * Begins a commit behind `edge`, of entries with this time. It is a bet that nobody else writes meanwhile and that submissions
   * keep coming: a lost one leaves nothing behind. Whoever begins one ends it, with `commit` or `abandon`.
   */
  begin(edge: EdgeState, time: string): BulkCommit;
}

export interface BulkCommit {
  /**
   * The next submission; false when it cannot be handed over (it is too large, or memory is short): then the commit has to be abandoned. None that somebody must look at first: no `id`, no author signature, no control event. Its content may be moved
   * to bytes of the bulk writer, which stay as they are until another commit begins.
   */
  add(submission: Submission): boolean;

  /** Resolves once everything added is durable, or with null when nothing of it is stored. Error: `outcome-unknown`. */
  commit(): Promise<BulkPlaced | null>;

  /** Resolves when nothing of it is left, and the store is not locked by it. */
  abandon(): Promise<void>;
}

export interface BulkPlaced {
  /** In hex, of each entry in order. */
  readonly leafHashes: readonly string[];
  /** Behind all entries. */
  readonly edge: EdgeState;
}
