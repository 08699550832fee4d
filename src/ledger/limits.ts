import { EVENT_BYTES_DEFAULT } from "../core/limits.ts";

/** Bounds of the engine. Every one can be lowered or raised at `Ledger.open(..., { limits })`. */
export interface LedgerLimits {
  /** Appends waiting at once; more get `OverloadedError`. */
  readonly queueEntriesMax: number;
  /** Canonical bytes waiting at once. */
  readonly queueBytesMax: number;
  /** Entries of one commit: bounds how long one commit holds the event loop and the write lock. */
  readonly batchEntriesMax: number;
  /** Canonical bytes of one commit. */
  readonly batchBytesMax: number;
  /** Events of one `appendMany`, which is one commit whatever `batchEntriesMax` says. */
  readonly appendManyMax: number;
  /**
   * Bytes committed in bulk before a second thread is started, which takes over what is appended in bulk. SQLite in a file only. A huge
   * number means never.
   */
  readonly bulkThreadBytes: number;
  /** Canonical bytes of one event. Written into genesis; fixed afterwards. */
  readonly eventBytes: number;
  /** Longest time between a durable append and its checkpoint. */
  readonly checkpointEveryMs: number;
  /** Longest time between a released checkpoint and asking the witnesses to cosign. */
  readonly witnessEveryMs: number;
  /** Entries after which the ledger is anchored before its time, but not more than once a minute. */
  readonly anchorEveryEntries: number;
  /** Longest time between an entry and asking for an anchor that covers it. */
  readonly anchorEveryMs: number;
  /** Entries that no complete anchor covers for longer than this beyond `anchorEveryMs` turn `status` red. */
  readonly anchorOverdueMs: number;
  /** Entries that are not signed, or not witnessed where witnesses are set, for longer than this turn `status` red. */
  readonly overdueMs: number;
  /** A wall clock that gains more than this on the monotonic clock is refused, not written. */
  readonly clockJumpMaxMs: number;
  /** Findings listed in one report; the rest are counted. */
  readonly findingsMax: number;
}

const DAY_MS = 86_400_000;

export const DEFAULT_LIMITS: LedgerLimits = {
  queueEntriesMax: 100_000,
  queueBytesMax: 128 * 1024 * 1024,
  batchEntriesMax: 1_000,
  batchBytesMax: 4 * 1024 * 1024,
  appendManyMax: 10_000,
  bulkThreadBytes: 1024 * 1024,
  eventBytes: EVENT_BYTES_DEFAULT,
  checkpointEveryMs: 1_000,
  witnessEveryMs: 1_000,
  anchorEveryEntries: 100_000,
  anchorEveryMs: 3_600_000,
  // A calendar's promise is kept within hours, seldom within a day.
  anchorOverdueMs: DAY_MS,
  overdueMs: 60_000,
  clockJumpMaxMs: 366 * DAY_MS,
  findingsMax: 1_000,
};

/** Salt, tree and checkpoint work of one entry never exceeds this many stored entries read at once. */
export const READ_PAGE_ENTRIES = 512;
/** Canonical bytes that may be on their way to another thread. */
export const DRAFT_BYTES_MAX: number = 16 * 1024 * 1024;
/** Loops over many entries let others have the event loop this often. */
export const SLICE_MS = 10;
/** While events come in, publishing does 256 entries, a few milliseconds of work, and then nothing for as long as this. */
export const BUSY_PAUSE_MS = 20;
/** Background indexing of one block runs only after the write path was idle for this long. */
export const INDEX_IDLE_MS = 100;
/** Events of a stream that `appendAll` submits at once. */
export const STREAM_CHUNK_ENTRIES = 1_000;
/** Entries that one `query` page returns at most. */
export const PAGE_ENTRIES_MAX = 1_000;
/** A purge of erased bytes that a reader holds back is tried again this often. */
export const PURGE_RETRY_MS = 250;
