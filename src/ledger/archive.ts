/**
 * Port: where a published ledger lies, as immutable objects under paths of tlog-tiles. Paths are relative, with `/`, of
 * `[A-Za-z0-9._/-]`, never with `..`. The suite in src/testing/archive-suite.ts checks each sentence.
 */
export interface Archive {
  /** Stores an object that never changes. The same bytes again succeed; other bytes are `already-exists`. Durable when it resolves. */
  put(path: string, bytes: Uint8Array): Promise<void>;
  /**
   * Compare-and-swap, for the checkpoint alone: stores `next` if the object is `expected` (null: absent). Durable when it
   * resolves, and never seen half-written. Errors: `lock-moved` (nothing changed), `storage-*`.
   */
  replace(path: string, expected: Uint8Array | null, next: Uint8Array): Promise<void>;
  /** The object, or undefined. At most `bytesMax` bytes are read; a larger object is `malformed-tile`. */
  get(
    path: string,
    options?: { readonly bytesMax?: number; readonly signal?: AbortSignal },
  ): Promise<Uint8Array | undefined>;
  /** Removes the partial tiles of a tile that is full by now: everything under `<path>.p/`. Absent is fine. */
  deletePartials(path: string): Promise<void>;
  /** Where it is, for messages: a directory or a URL without secrets. */
  readonly location: string;
}
