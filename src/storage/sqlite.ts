import { statSync } from "node:fs";
import { resolve } from "node:path";
import { FatalError, UnavailableError } from "../core/errors.ts";
import { type Clock, systemClock } from "../ledger/clock.ts";
import type {
  Batch,
  CommitReads,
  CommitView,
  LedgerStorage,
  StorageCapabilities,
  StorageHead,
  StorageSnapshot,
  StoredCheckpoint,
  StoredEntry,
  StoredFilter,
} from "../ledger/storage.ts";
import {
  commitMayPersist,
  connect,
  isBusy,
  loadSqliteDriver,
  type SqliteDatabase,
  type SqliteDriver,
  storageError,
} from "./sqlite-driver.ts";
import {
  assertLocalFileSystem,
  fileSize,
  fileSystemType,
  lookAt,
  type ReadSource,
  readSource,
} from "./sqlite-files.ts";
import { createGuards, createSchema, resetDerived } from "./sqlite-schema.ts";
import { openSnapshot } from "./sqlite-snapshot.ts";
import { prepareStatements, type Statements } from "./sqlite-statements.ts";

export interface SqliteStorageOptions {
  /** Reads only: nothing is created, changed or left behind, also in a directory that cannot be written. */
  readonly readOnly?: boolean;
  /** Allows `create()` where there is no file, or an empty one. Opening alone never makes a file. */
  readonly create?: boolean;
  /** Constructor of a SQLite driver; better-sqlite3 by default, loaded on first use. */
  readonly driver?: SqliteDriver;
  /** How long a write waits for other writers, in milliseconds; 30,000 by default. The event loop runs meanwhile. */
  readonly busyTimeoutMs?: number;
  /** Opens a ledger on a network or user-space file system, where no more than one machine may have it open. */
  readonly allowNetworkFileSystem?: boolean;
  readonly clock?: Clock;
  /** `f_type` of the file system of a directory, as statfs(2) of Linux numbers them. */
  readonly fileSystemType?: (directory: string) => Promise<number>;
}

const BUSY_TIMEOUT_MS = 30_000;
/** Waits between two attempts at a lock grow from the first to the last. */
const RETRY_FIRST_MS = 1;
const RETRY_LAST_MS = 25;
/** `watch` looks this often for entries of other processes. */
const WATCH_EVERY_MS = 50;
const READ_ENTRIES_MAX = 4_096;
/** A write-ahead log that grew while a reader held it back shrinks to this when it starts over. */
const LOG_BYTES_KEPT = 64 * 1024 * 1024;

const CONNECTION_PRAGMAS =
  "PRAGMA foreign_keys=ON; PRAGMA cell_size_check=ON; PRAGMA trusted_schema=OFF; PRAGMA temp_store=MEMORY";
/** Durable at every commit (`fullfsync` matters on macOS alone), and freed bytes are overwritten, which erasure needs. */
const WRITER_PRAGMAS = `PRAGMA synchronous=FULL; PRAGMA fullfsync=ON; PRAGMA secure_delete=ON; PRAGMA journal_size_limit=${LOG_BYTES_KEPT}`;

/**
 * One ledger in one SQLite file (WAL, `synchronous=FULL`, STRICT tables, guard triggers). Several processes may open the
 * same file; writers take turns and readers block nobody. A commit runs on the calling thread: `capabilities.synchronous`.
 * Errors: `not-found` (no ledger there and `create` not set; nothing is created), `foreign-database`, `not-a-ledger`,
 * `newer-format`, `network-filesystem`, `driver-missing`, `storage-corrupt`, `storage-io`, `storage-busy`.
 */
export async function openSqliteStorage(path: string, options: SqliteStorageOptions = {}): Promise<LedgerStorage> {
  const location = resolve(path);
  if (path.trim() === "" || path === ":memory:" || location !== location.trim()) {
    throw new TypeError(
      `openSqliteStorage: expected the path of a file without white space at its ends, got ${JSON.stringify(path)}`,
    );
  }
  const readOnly = options.readOnly ?? false;
  const driver = options.driver ?? (await loadSqliteDriver());
  const found = await lookAt(driver, location);
  if (found !== "ledger" && (readOnly || options.create !== true)) {
    const what = found === "missing" ? "there is no file" : "the file is empty";
    throw new UnavailableError("not-found", `no ledger at ${location}: ${what}`, {
      details: { path: location, found },
    });
  }
  const storage = new SqliteStorage(location, { ...options, readOnly, driver });
  if (!readOnly && options.allowNetworkFileSystem !== true) {
    await assertLocalFileSystem(location, options.fileSystemType ?? fileSystemType);
  }
  if (found === "ledger") await storage.open();
  return storage;
}

/** A connection and its prepared statements. */
interface Open {
  readonly db: SqliteDatabase;
  readonly statements: Statements;
  /** Device and inode of the file when it was opened, to notice that it was moved away. */
  readonly identity: string;
}

class SqliteStorage implements LedgerStorage {
  readonly capabilities: StorageCapabilities;
  private readonly path: string;
  private readonly driver: SqliteDriver;
  private readonly readOnly: boolean;
  private readonly busyTimeoutMs: number;
  private readonly clock: Clock;
  private source: ReadSource | undefined;
  private current: Open | undefined;
  private closed = false;
  private closing: Promise<void> | undefined;
  private readonly pending = new Set<Promise<unknown>>();
  private readonly watchers = new Set<() => void>();
  private snapshots = 0;

  constructor(
    path: string,
    options: SqliteStorageOptions & { readonly readOnly: boolean; readonly driver: SqliteDriver },
  ) {
    this.path = path;
    this.driver = options.driver;
    this.readOnly = options.readOnly;
    this.busyTimeoutMs = options.busyTimeoutMs ?? BUSY_TIMEOUT_MS;
    this.clock = options.clock ?? systemClock;
    this.capabilities = { name: "sqlite", durable: true, shared: true, synchronous: true, location: path };
  }

  /** Opens the connection. Only where `lookAt` saw a ledger. */
  async open(): Promise<void> {
    if (this.readOnly) this.source = await readSource(this.path);
    await this.track(() => this.opened());
  }

  create(plan: () => Promise<Batch> | Batch): Promise<boolean> {
    return this.track(async () => {
      this.assertWritable();
      const db = await this.retry(() => this.connectWriter({ create: true }), { look: true });
      if (db === undefined) return false;
      try {
        // A connection of its own, so that nothing else of this process runs inside the transaction while the plan waits.
        await this.retry(() => db.exec("BEGIN IMMEDIATE"));
        return await this.createLocked(db, plan);
      } finally {
        db.close();
      }
    });
  }

  private async createLocked(db: SqliteDatabase, plan: () => Promise<Batch> | Batch): Promise<boolean> {
    try {
      const rows = db.prepare("SELECT count(*) AS count FROM sqlite_schema").get() as { readonly count: number };
      if (rows.count > 0) {
        db.exec("ROLLBACK");
        await lookAt(this.driver, this.path);
        return false;
      }
      createSchema(db);
      const batch = await plan();
      writeBatch(prepareStatements(db), batch, 0);
    } catch (error) {
      rollBack(db);
      throw storageError(error, this.path);
    }
    this.commitTransaction(db);
    this.wake();
    return true;
  }

  head(): Promise<StorageHead> {
    return this.read(
      (open) => headOf(open.statements),
      () => ({ size: 0, lastEntry: null }),
    );
  }

  commit(reads: CommitReads, plan: (view: CommitView) => Batch | undefined): Promise<boolean> {
    return this.write((open) => {
      const head = headOf(open.statements);
      const batch = plan(viewOf(open.statements, head, reads));
      if (batch === undefined) return false;
      writeBatch(open.statements, batch, head.size);
      return true;
    });
  }

  readEntries(first: number, end: number): Promise<readonly StoredEntry[]> {
    if (end - first > READ_ENTRIES_MAX) {
      const message = `readEntries: expected at most ${READ_ENTRIES_MAX} entries at a time, got ${end - first}`;
      return Promise.reject(new RangeError(message));
    }
    return this.read(
      (open) => open.statements.readEntries(first, end),
      () => [],
    );
  }

  readTile(level: number, index: number): Promise<Uint8Array | undefined> {
    return this.read(
      (open) => open.statements.readTile(level, index),
      () => undefined,
    );
  }

  readFilters(first: number, end: number): Promise<readonly StoredFilter[]> {
    return this.read(
      (open) => open.statements.readFilters(first, end),
      () => [],
    );
  }

  findById(id: string): Promise<StoredEntry | undefined> {
    return this.read(
      (open) => open.statements.findById(id),
      () => undefined,
    );
  }

  readControls(): Promise<readonly number[]> {
    return this.read(
      (open) => open.statements.readControls(),
      () => [],
    );
  }

  async putCheckpoint({ size, note }: StoredCheckpoint): Promise<void> {
    await this.write(({ statements }) => {
      const stored = statements.readCheckpoint(size);
      if (stored === note) return false;
      if (stored !== undefined) {
        const message = `another checkpoint of size ${size} is stored already`;
        throw new FatalError("invariant-broken", message, { details: { size } });
      }
      statements.insertCheckpoint(size, note);
      return true;
    });
  }

  latestCheckpoint(): Promise<StoredCheckpoint | undefined> {
    return this.read(
      (open) => open.statements.latestCheckpoint(),
      () => undefined,
    );
  }

  rebuildDerived(rebuild: AsyncIterable<Batch> | Iterable<Batch>): Promise<void> {
    return this.track(async () => {
      this.assertWritable();
      await this.opened();
      const db = this.connectWriter({ create: false });
      try {
        await this.retry(() => db.exec("BEGIN IMMEDIATE"));
        try {
          resetDerived(db);
          const statements = prepareStatements(db);
          for await (const batch of rebuild) writeDerived(statements, batch);
          createGuards(db);
        } catch (error) {
          rollBack(db);
          throw storageError(error, this.path);
        }
        this.commitTransaction(db);
      } finally {
        db.close();
      }
    });
  }

  async watch(size: number, signal?: AbortSignal): Promise<void> {
    for (;;) {
      signal?.throwIfAborted();
      if ((await this.head()).size > size) return;
      await this.sleep(WATCH_EVERY_MS, { signal, untilCommit: true });
    }
  }

  purge(): Promise<"done" | "pending"> {
    return this.track(async () => {
      this.assertWritable();
      const open = await this.opened();
      if (open === undefined || open.statements.readPurges().length === 0) return "done";
      const done = await this.retry(() => this.truncateLog(open.db));
      if (!done) return "pending";
      await this.write(({ statements }) => {
        statements.deletePurges();
        return true;
      });
      return "done";
    });
  }

  /** Moves the whole log into the database and empties it; false while a reader needs it. */
  private truncateLog(db: SqliteDatabase): boolean {
    const row = db.prepare("PRAGMA wal_checkpoint(TRUNCATE)").get() as { readonly busy: number };
    return row.busy === 0 && (fileSize(`${this.path}-wal`) ?? 0) === 0;
  }

  snapshot(): Promise<StorageSnapshot> {
    return this.track(async () => {
      const open = await this.opened();
      if (open === undefined)
        throw new UnavailableError("not-found", `no ledger at ${this.path}`, { details: { path: this.path } });
      // Like every connection of a writer it is able to write, so that whichever is closed last tidies up the log.
      const source = this.source ?? { path: this.path, readonly: false };
      const snapshot = await this.retry(() => {
        const db = connect(this.driver, source.path, { readonly: source.readonly, create: false });
        try {
          db.exec(`${CONNECTION_PRAGMAS}; PRAGMA query_only=ON`);
          return openSnapshot(db, { path: this.path, closed: () => this.release() });
        } catch (error) {
          db.close();
          throw error;
        }
      });
      this.snapshots += 1;
      return snapshot;
    });
  }

  private async release(): Promise<void> {
    this.snapshots -= 1;
    if (this.closed && this.snapshots === 0) await this.source?.dispose();
  }

  close(): Promise<void> {
    this.closing ??= this.shut();
    return this.closing;
  }

  private async shut(): Promise<void> {
    this.closed = true;
    this.wake();
    await Promise.allSettled(this.pending);
    this.current?.db.close();
    this.current = undefined;
    if (this.snapshots === 0) await this.source?.dispose();
  }

  private async read<T>(work: (open: Open) => T, absent: () => T): Promise<T> {
    return this.track(async () => {
      const open = await this.opened();
      return open === undefined ? absent() : this.retry(() => work(open));
    });
  }

  /** Runs `work` in a transaction under the write lock; commits if it returns true. */
  private write(work: (open: Open) => boolean): Promise<boolean> {
    return this.track(async () => {
      this.assertWritable();
      const open = await this.opened();
      if (open === undefined)
        throw new UnavailableError("not-found", `no ledger at ${this.path}`, { details: { path: this.path } });
      return this.retry(() => {
        open.statements.begin();
        let written: boolean;
        try {
          this.assertInPlace(open);
          written = work(open);
        } catch (error) {
          rollBack(open.db);
          throw error;
        }
        if (!written) {
          rollBack(open.db);
          return false;
        }
        this.commitTransaction(open.db);
        this.wake();
        return true;
      });
    });
  }

  /** Commits; after a failure nothing of the transaction is left, or the outcome is said to be unknown. */
  private commitTransaction(db: SqliteDatabase): void {
    try {
      db.exec("COMMIT");
    } catch (error) {
      rollBack(db);
      if (commitMayPersist(error) && !this.clearsLog(db)) {
        const message = `${this.path}: the disk failed while a commit was made durable; whether it survives a crash is unknown`;
        throw new FatalError("outcome-unknown", message, { cause: error, details: { path: this.path } });
      }
      throw storageError(error, this.path);
    }
  }

  /** True when the log was emptied, so that no frame of a failed commit can come back. */
  private clearsLog(db: SqliteDatabase): boolean {
    try {
      return this.truncateLog(db);
    } catch {
      return false;
    }
  }

  /** Refuses to write to a file that is no longer at the path: what is appended there would be lost when it is closed. */
  private assertInPlace(open: Open): void {
    if (identityOf(this.path) === open.identity) return;
    throw new UnavailableError(
      "storage-io",
      `${this.path} was moved, deleted or replaced while it was open; close it and open it again`,
      {
        details: { path: this.path },
      },
    );
  }

  private assertWritable(): void {
    if (this.readOnly)
      throw new UnavailableError("read-only", `${this.path} is open for reading only`, {
        details: { path: this.path },
      });
  }

  /** The connection, made on first need; undefined while there is no ledger. */
  private async opened(): Promise<Open | undefined> {
    if (this.current !== undefined) return this.current;
    if (this.source === undefined && (await lookAt(this.driver, this.path)) !== "ledger") return undefined;
    return this.retry(() => {
      // Another call may have opened it while this one waited.
      this.current ??= this.openNow();
      return this.current;
    });
  }

  private openNow(): Open {
    const identity = identityOf(this.path);
    const db = this.source === undefined ? this.connectWriter({ create: false }) : this.connectReader(this.source);
    try {
      return { db, statements: prepareStatements(db), identity };
    } catch (error) {
      db.close();
      throw error;
    }
  }

  private connectWriter(mode: { readonly create: boolean }): SqliteDatabase {
    const db = connect(this.driver, this.path, { readonly: false, ...mode });
    try {
      db.exec(`${CONNECTION_PRAGMAS}; ${WRITER_PRAGMAS}`);
      const { journal_mode: journalMode } = db.prepare("PRAGMA journal_mode=WAL").get() as {
        readonly journal_mode: string;
      };
      if (journalMode !== "wal") {
        const message = `${this.path}: the write-ahead log cannot be used here (journal mode stays ${journalMode})`;
        throw new UnavailableError("storage-io", message, { details: { path: this.path } });
      }
      return db;
    } catch (error) {
      db.close();
      throw error;
    }
  }

  private connectReader(source: ReadSource): SqliteDatabase {
    const db = connect(this.driver, source.path, { readonly: source.readonly, create: false });
    try {
      db.exec(`${CONNECTION_PRAGMAS}; PRAGMA query_only=ON`);
      return db;
    } catch (error) {
      db.close();
      throw error;
    }
  }

  /** Runs `attempt` until no lock is in its way, waiting without blocking the event loop. Maps the driver's errors. */
  private async retry<T>(attempt: () => T): Promise<T>;
  /** With `look`: undefined, without an attempt, once a ledger is there. */
  private async retry<T>(attempt: () => T, options: { readonly look: true }): Promise<T | undefined>;
  private async retry<T>(attempt: () => T, options?: { readonly look: true }): Promise<T | undefined> {
    const deadline = this.clock.monotonic() + this.busyTimeoutMs;
    for (let delayMs = RETRY_FIRST_MS; ; delayMs = Math.min(delayMs * 2, RETRY_LAST_MS)) {
      try {
        if (options?.look === true && (await lookAt(this.driver, this.path)) === "ledger") return undefined;
        return attempt();
      } catch (error) {
        if (!isBusy(error)) throw storageError(error, this.path);
        if (this.clock.monotonic() >= deadline) {
          const message = `${this.path}: another connection kept its lock for ${this.busyTimeoutMs} ms`;
          throw new UnavailableError("storage-busy", message, {
            cause: error,
            details: { path: this.path, waitedMs: this.busyTimeoutMs },
          });
        }
      }
      // Jitter keeps processes that collided once from colliding again; nothing recorded depends on it.
      await this.sleep(delayMs * (0.5 + Math.random()));
    }
  }

  /** Waits, and keeps the process alive meanwhile, which the timers of `Clock` do not. */
  private sleep(
    delayMs: number,
    until: { readonly signal?: AbortSignal | undefined; readonly untilCommit?: boolean } = {},
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      const alive = setInterval(() => {}, 0x7fffffff);
      const finish = (settle: () => void) => (): void => {
        clearInterval(alive);
        cancel();
        this.watchers.delete(wake);
        until.signal?.removeEventListener("abort", abort);
        settle();
      };
      const wake = finish(resolve);
      const abort = finish(() => reject(until.signal?.reason));
      const cancel = this.clock.after(delayMs, wake);
      if (until.untilCommit === true) this.watchers.add(wake);
      until.signal?.addEventListener("abort", abort, { once: true });
    });
  }

  private wake(): void {
    for (const wake of [...this.watchers]) wake();
  }

  /** Refuses new work after `close`, and lets `close` wait for the work under way. */
  private track<T>(work: () => Promise<T>): Promise<T> {
    if (this.closed)
      return Promise.reject(new UnavailableError("closed", `${this.path} is closed`, { details: { path: this.path } }));
    const running = work();
    this.pending.add(running);
    const done = (): boolean => this.pending.delete(running);
    running.then(done, done);
    return running;
  }
}

function identityOf(path: string): string {
  // Windows does not let an open database be moved, and its file numbers do not fit a number.
  if (process.platform === "win32") return "";
  const found = statSync(path, { throwIfNoEntry: false });
  return found === undefined ? "" : `${found.dev}:${found.ino}`;
}

function rollBack(db: SqliteDatabase): void {
  try {
    db.exec("ROLLBACK");
  } catch {
    // After some failures SQLite has rolled back by itself, and then refuses to do it again.
  }
}

function headOf(statements: Statements): StorageHead {
  const last = statements.readLast();
  return last === undefined ? { size: 0, lastEntry: null } : { size: last.index + 1, lastEntry: last.entry };
}

function viewOf(statements: Statements, head: StorageHead, reads: CommitReads): CommitView {
  const byIndex = new Map<number, StoredEntry>();
  for (const index of reads.indexes) {
    const entry = statements.readEntries(index, index + 1)[0];
    if (entry !== undefined) byIndex.set(index, entry);
  }
  return {
    head,
    byId: statements.findByIds(reads.ids),
    erasedIds: statements.findErasedIds(reads.ids, reads.idDigests),
    byIndex,
  };
}

function writeBatch(statements: Statements, batch: Batch, size: number): void {
  batch.entries.forEach((entry, i) => {
    if (entry.index !== size + i) {
      const message = `expected entry ${size + i} next, got ${entry.index}`;
      throw new FatalError("invariant-broken", message, { details: { expected: size + i, found: entry.index } });
    }
  });
  statements.insertEntries(batch.entries);
  writeDerived(statements, batch);
  for (const block of batch.unfilter ?? []) statements.blankFilter(block);
  for (const redaction of batch.redactions ?? []) statements.redact(redaction, size);
  if (batch.purge !== undefined) statements.insertPurge(batch.purge);
}

function writeDerived(statements: Statements, batch: Batch): void {
  for (const tile of batch.tiles) statements.insertTile(tile);
  for (const filter of batch.filters) statements.insertFilter(filter);
  statements.insertIds(batch.ids);
  statements.insertControls(batch.controls);
}
