import { closeSync, fsyncSync, mkdirSync, openSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { FatalError, isTallystickError, MalformedError, PolicyError, UnavailableError } from "../../core/errors.ts";
import type { LockRecord, LockStore } from "../../ledger/lock-store.ts";
import { connect, isBusy, type SqliteDatabase, type SqliteDriver } from "../sqlite-driver.ts";
import { alreadyThere, lockMoved, noRecord } from "./memory.ts";

/** "TSLK": this file is a lock store and nothing else. */
const APPLICATION_ID = 0x54534c4b;
const SCHEMA_VERSION = 1;
const SCHEMA = `CREATE TABLE lock (
  origin TEXT PRIMARY KEY NOT NULL,
  lock_store_id TEXT NOT NULL,
  note TEXT
) STRICT`;

/** How long another process may hold the file before this one gives up. A turn takes about a millisecond. */
const WAIT_MS = 10_000;

export interface SqliteLockStoreOptions {
  /** File of the lock store; it and its folder are made by the first `create`, readable by their owner alone. */
  readonly path: string;
  readonly driver: SqliteDriver;
  /** Longest wait for other processes, spent without blocking the event loop. Default 10,000. */
  readonly waitMs?: number;
}

export interface SqliteLockStore extends LockStore {
  /** Every record, by origin: for moving to another machine. */
  records(): Promise<readonly LockRecord[]>;
  /**
   * Takes over a record from another machine: stored when the origin is unknown here, or when it has the same lock store id
   * and an older checkpoint. Otherwise nothing changes. Durable when it resolves. `lock-moved` when another process wrote
   * the record meanwhile.
   */
  restore(record: LockRecord): Promise<"restored" | "kept">;
}

/**
 * Lock store in one SQLite file, for any number of processes. A rollback journal, not WAL: one small file without
 * companions that works in a home directory on NFS too, and with `synchronous=FULL` a commit ends with the sync of the
 * truncated journal, so what resolved is on the medium. A file that is missing has no records; it is never made by a
 * reader, and one that was replaced while open is noticed at the next call.
 */
export function sqliteLockStore({ path, driver, waitMs = WAIT_MS }: SqliteLockStoreOptions): SqliteLockStore {
  let open: { readonly db: SqliteDatabase; readonly file: string } | undefined;
  let closed = false;

  /** Identity of the file now at the path: a connection to a file that was moved away must not be written to. */
  function fileIdentity(): string | undefined {
    const stats = statSync(path, { throwIfNoEntry: false, bigint: true });
    return stats && `${stats.dev}:${stats.ino}`;
  }

  function disconnect(): void {
    open?.db.close();
    open = undefined;
  }

  /** Connection to the file at the path, or undefined when there is none. */
  function connection(): SqliteDatabase | undefined {
    const file = fileIdentity();
    if (open !== undefined && open.file === file) return open.db;
    disconnect();
    if (file === undefined) return undefined;
    const db = connect(driver, path, { readonly: false, create: false });
    try {
      db.exec("PRAGMA journal_mode = TRUNCATE; PRAGMA synchronous = FULL");
      if (!hasSchema(db, path)) {
        const make = `${SCHEMA}; PRAGMA application_id = ${APPLICATION_ID}; PRAGMA user_version = ${SCHEMA_VERSION}`;
        // Whatever a failed commit left behind, the next connection looks again.
        transact(
          db,
          () => hasSchema(db, path) || db.exec(make),
          () => true,
        );
      }
    } catch (error) {
      db.close();
      throw error;
    }
    open = { db, file };
    return db;
  }

  function createFile(): SqliteDatabase {
    makeFolder(dirname(path));
    try {
      // SQLite would make it with the umask's mode. O_EXCL: an existing file is never opened here, because closing a
      // descriptor drops every POSIX lock that this process holds on the file.
      closeSync(openSync(path, "wx", 0o600));
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error;
    }
    return connection()!;
  }

  /** Runs one synchronous turn, again after a pause while another connection holds the lock. */
  async function turn<T>(run: () => T): Promise<T> {
    const deadline = performance.now() + waitMs;
    for (let pauseMs = 1; ; pauseMs = Math.min(2 * pauseMs, 32)) {
      if (closed) throw new UnavailableError("closed", "lock store: it is closed");
      try {
        return run();
      } catch (error) {
        if (!isBusy(error)) throw isTallystickError(error) ? error : unavailable(path, error);
        if (performance.now() > deadline) throw unavailable(path, error, `held by another process for ${waitMs} ms`);
      }
      // The jitter only keeps processes from meeting again; nothing is decided by it.
      await sleep(pauseMs * (0.5 + Math.random()));
    }
  }

  function readRecord(db: SqliteDatabase | undefined, origin: string): LockRecord | undefined {
    const row = db?.prepare("SELECT origin, lock_store_id AS lockStoreId, note FROM lock WHERE origin = ?").get(origin);
    return row === undefined ? undefined : { ...(row as LockRecord) };
  }

  /**
   * One transaction that excludes other writers from its first read on. When the commit fails, `isUnchanged` tells from
   * the file whether it happened: an error of the medium leaves that open.
   */
  function transact(db: SqliteDatabase, body: () => void, isUnchanged: () => boolean): void {
    const file = fileIdentity();
    db.exec("BEGIN IMMEDIATE");
    try {
      body();
    } catch (error) {
      rollback(db);
      throw error;
    }
    try {
      db.exec("COMMIT");
    } catch (error) {
      rollback(db);
      // A reader was in the file: nothing has been written to it yet, and the turn is taken again.
      if (isBusy(error) || isCertain(isUnchanged)) throw error;
      throw unknownOutcome(path, "the commit failed and may still have happened", error);
    }
    if (fileIdentity() !== file) throw unknownOutcome(path, "the file was replaced while it was written", undefined);
  }

  return {
    fetch: (origin) => turn(() => readRecord(connection(), origin)),

    create: ({ origin, lockStoreId }) =>
      turn(() => {
        const db = connection() ?? createFile();
        const insert = (): void => {
          if (readRecord(db, origin) !== undefined) throw alreadyThere(origin);
          db.prepare("INSERT INTO lock (origin, lock_store_id, note) VALUES (?, ?, NULL)").run(origin, lockStoreId);
        };
        transact(db, insert, () => readRecord(db, origin) === undefined);
      }),

    replace: (origin, expected, next) =>
      turn(() => {
        const db = connection();
        if (db === undefined) throw noRecord(origin);
        const swap = (): void => {
          const record = readRecord(db, origin);
          if (record === undefined) throw noRecord(origin);
          if (record.note !== expected) throw lockMoved(origin);
          db.prepare("UPDATE lock SET note = ? WHERE origin = ?").run(next, origin);
        };
        transact(db, swap, () => readRecord(db, origin)?.note === expected);
      }),

    records: () =>
      turn(() => {
        const db = connection();
        if (db === undefined) return [];
        const rows = db.prepare("SELECT origin, lock_store_id AS lockStoreId, note FROM lock ORDER BY origin").all();
        return rows.map((row) => ({ ...(row as LockRecord) }));
      }),

    restore: ({ origin, lockStoreId, note }) =>
      turn(() => {
        const db = connection() ?? createFile();
        const before = readRecord(db, origin);
        if (before !== undefined && (before.lockStoreId !== lockStoreId || sizeOf(note) <= sizeOf(before.note))) {
          return "kept";
        }
        const store = (): void => {
          // Somebody else wrote between that read and this lock: the caller may call again.
          if (readRecord(db, origin)?.note !== before?.note) throw lockMoved(origin);
          db.prepare("INSERT OR REPLACE INTO lock (origin, lock_store_id, note) VALUES (?, ?, ?)").run(
            origin,
            lockStoreId,
            note,
          );
        };
        transact(db, store, () => readRecord(db, origin)?.note === before?.note);
        return "restored";
      }),

    async close() {
      closed = true;
      disconnect();
    },
  };
}

/** Makes a folder and its parents and syncs each new name; SQLite itself syncs the folder of its file, not those above. */
function makeFolder(folder: string): void {
  const first = mkdirSync(folder, { recursive: true, mode: 0o700 });
  if (first === undefined || process.platform === "win32") return;
  for (let made = folder; dirname(made) !== made; made = dirname(made)) {
    const parent = openSync(dirname(made), "r");
    try {
      fsyncSync(parent);
    } finally {
      closeSync(parent);
    }
    if (made === first) return;
  }
}

/** What `check` says; false when it cannot even read. */
function isCertain(check: () => boolean): boolean {
  try {
    return check();
  } catch {
    // The caller reports an unknown outcome with the error that came first.
    return false;
  }
}

function rollback(db: SqliteDatabase): void {
  try {
    db.exec("ROLLBACK");
  } catch {
    // SQLite has rolled back by itself after an I/O error: there is nothing left to undo.
  }
}

/** True for a lock store, false for an empty database; anything else throws. */
function hasSchema(db: SqliteDatabase, path: string): boolean {
  const marks = db
    .prepare(
      "SELECT a.application_id AS id, u.user_version AS version, (SELECT count(*) FROM sqlite_schema) AS tables FROM pragma_application_id a, pragma_user_version u",
    )
    .get() as { readonly id: number; readonly version: number; readonly tables: number };
  if (marks.id === 0 && marks.tables === 0) return false;
  if (marks.id !== APPLICATION_ID) {
    throw new PolicyError("foreign-database", `lock store ${path}: it is a database of something else`, {
      details: { path },
    });
  }
  if (marks.version !== SCHEMA_VERSION) {
    throw new MalformedError("newer-format", `lock store ${path}: expected schema 1, got ${marks.version}`, {
      details: { path, version: marks.version },
    });
  }
  return true;
}

/** Tree size in the second line of a checkpoint note; −1 where there is none. */
function sizeOf(note: string | null): number {
  const line = note?.split("\n", 2)[1];
  return line !== undefined && /^(?:0|[1-9][0-9]{0,15})$/.test(line) ? Number(line) : -1;
}

function unavailable(path: string, cause: unknown, problem?: string): UnavailableError {
  const reason = problem ?? (cause instanceof Error ? cause.message : "it failed");
  return new UnavailableError("lock-store-unavailable", `lock store ${path}: ${reason}`, { cause, details: { path } });
}

function unknownOutcome(path: string, problem: string, cause: unknown): FatalError {
  return new FatalError("outcome-unknown", `lock store ${path}: ${problem}`, { cause, details: { path } });
}
