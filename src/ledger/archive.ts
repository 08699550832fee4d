/**
 * Port: where a published ledger lies, as objects under paths of tlog-tiles. Paths are relative, with `/`, of
 * `[A-Za-z0-9._/-]`, no part empty or beginning with a dot; anything else is a `TypeError`. The suite in
 * src/testing/archive-suite.ts checks each sentence.
 */
export interface Archive extends ArchiveReader {
  /**
   * Stores an object that never changes. The same bytes again succeed, also from several writers at once; other bytes are
   * `already-exists`, and the object stays. Durable when it resolves, and never seen half-written.
   */
  put(path: string, bytes: Uint8Array): Promise<void>;
  /**
   * Compare-and-swap, for the checkpoint and for bodies, which lose what is erased: stores `next` if the object is `expected` (null: absent). Of several writers
   * with one expectation one succeeds, and whoever reads never sees an earlier object after a later one. Durable when it resolves, and
   * never seen half-written. An object must not come back to bytes that it had before. Errors: `lock-moved` (nothing changed),
   * `storage-*`.
   */
  replace(path: string, expected: Uint8Array | null, next: Uint8Array): Promise<void>;
  /** Removes the partial tiles of a tile that is full by now: everything under `<path>.p/`, and nothing else. Absent is fine. */
  deletePartials(path: string): Promise<void>;
}

/** The half of an archive that readers need: a folder, or what a web server shows of it. */
export interface ArchiveReader {
  /** The object, or undefined. At most `bytesMax` bytes are read; a larger object is `malformed-tile`. Errors: `storage-*`. */
  get(
    path: string,
    options?: { readonly bytesMax?: number; readonly signal?: AbortSignal | undefined },
  ): Promise<Uint8Array | undefined>;
  /** Where it is, for messages and for what a reader remembers: an absolute path, or a URL without secrets. */
  readonly location: string;
}

/** Throws `TypeError` unless an archive may keep an object at this path. */
export function assertArchivePath(path: string): void {
  if (!PATH.test(path))
    throw new TypeError(`archive: expected a relative path of plain names, got ${JSON.stringify(path)}`);
}

const PATH = /^(?:[A-Za-z0-9_-][A-Za-z0-9._-]*\/)*[A-Za-z0-9_-][A-Za-z0-9._-]*$/;
