import { ConflictError, UnavailableError } from "../../core/errors.ts";
import type { LockRecord, LockStore } from "../../ledger/lock-store.ts";

/** Lock store of one process, gone with it: for tests and for ledgers in memory. */
export function memoryLockStore(): LockStore {
  const records = new Map<string, LockRecord>();
  let closed = false;

  // Without an await before it, each body runs in one turn: that is the whole compare-and-swap.
  const assertOpen = (): void => {
    if (closed) throw new UnavailableError("closed", "lock store: it is closed");
  };

  return {
    async fetch(origin) {
      assertOpen();
      return records.get(origin);
    },
    async create({ origin, lockStoreId }) {
      assertOpen();
      if (records.has(origin)) throw alreadyThere(origin);
      records.set(origin, Object.freeze({ origin, lockStoreId, note: null }));
    },
    async replace(origin, expected, next) {
      assertOpen();
      const record = records.get(origin);
      if (record === undefined) throw noRecord(origin);
      if (record.note !== expected) throw lockMoved(origin);
      records.set(origin, Object.freeze({ ...record, note: next }));
    },
    async close() {
      closed = true;
    },
  };
}

export function alreadyThere(origin: string): ConflictError {
  return new ConflictError("already-exists", `lock store: there is a record for ${origin} already`, {
    details: { origin },
  });
}

export function noRecord(origin: string): UnavailableError {
  return new UnavailableError("not-found", `lock store: there is no record for ${origin}`, { details: { origin } });
}

export function lockMoved(origin: string): ConflictError {
  return new ConflictError("lock-moved", `lock store: the checkpoint of ${origin} was replaced by somebody else`, {
    details: { origin },
  });
}
