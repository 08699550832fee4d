/**
 * Port: one monotone signed checkpoint per origin, on a medium that is not restored together with the ledger's storage.
 * Only what is in the lock store may leave the process, so whoever restores the database alone is found out at the
 * next open. A missing record for a non-empty ledger means the lock store was lost, never that the ledger is new.
 */
export interface LockRecord {
  readonly origin: string;
  /** Random id that stands in the genesis entry: a signer uses only that lock store. */
  readonly lockStoreId: string;
  /** Latest signed checkpoint note; null until the first one is signed. */
  readonly note: string | null;
}

export interface LockStore {
  /** The record, durable reads: what a `replace` that resolved wrote is seen by every process. */
  fetch(origin: string): Promise<LockRecord | undefined>;
  /** Creates a record without a note. `already-exists` if the origin has one. Durable when it resolves. */
  create(record: { readonly origin: string; readonly lockStoreId: string }): Promise<void>;
  /**
   * Compare-and-swap: stores `next` if the present note is exactly `expected`. Durable when it resolves. Errors:
   * `lock-moved` (somebody else replaced it; nothing changed), `not-found`, `lock-store-unavailable` (nothing changed).
   */
  replace(origin: string, expected: string | null, next: string): Promise<void>;
  close(): Promise<void>;
}
