import { accessSync, constants, statSync } from "node:fs";
import { dirname } from "node:path";
import { FatalError, UnavailableError } from "../core/errors.ts";
import type { Clock } from "../ledger/clock.ts";
import {
  commitMayPersist,
  connect,
  isBusy,
  type SqliteDatabase,
  type SqliteDriver,
  storageError,
} from "./sqlite-driver.ts";
import { assertDirectory, type Found, fileSize, lookAt, type ReadSource, readSource } from "./sqlite-files.ts";
import { prepareStatements, type Statements } from "./sqlite-statements.ts";

/** Waits between two attempts at a lock grow from the first to the last. */
const RETRY_FIRST_MS = 1;
const RETRY_LAST_MS = 25;
/** A write-ahead log that grew while a reader held it back shrinks to this when it starts over. */
const LOG_BYTES_KEPT = 64 * 1024 * 1024;
/**
 * Pages in the log before a commit moves them into the database: SQLite's own choice. Measured, 4,000 or 10,000 are no faster,
 * whatever the batch, and the commit that does the moving blocks the event loop two to four times as long.
 */
const LOG_PAGES = 1_000;
/** The same while another thread moves the log: a bound for when it cannot keep up. */
const LOG_PAGES_LEFT = 4_000;

/** Whoever reads through everything once gains nothing from a large cache, and better-sqlite3 would give each connection 16 MB. */
const LENT_CACHE_KB = 2_000;

const READER_PRAGMAS =
  "PRAGMA foreign_keys=ON; PRAGMA cell_size_check=ON; PRAGMA trusted_schema=OFF; PRAGMA temp_store=MEMORY";
/** Durable at every commit (`fullfsync` matters on macOS alone), and freed bytes are overwritten, which erasure needs. */
const WRITER_PRAGMAS =
  `${READER_PRAGMAS}; PRAGMA synchronous=FULL; PRAGMA fullfsync=ON; PRAGMA secure_delete=ON; ` +
  `PRAGMA wal_autocheckpoint=${LOG_PAGES}; PRAGMA journal_size_limit=${LOG_BYTES_KEPT}`;

/** Pages of a transaction that a bulk writer keeps back: from 24 to 64, measured, what is left to the commit is a third of it. */
const SPILL_PAGES = 64;

/** A connection and its prepared statements. */
export interface Connection {
  readonly db: SqliteDatabase;
  readonly statements: Statements;
}

interface MainConnection extends Connection {
  /** Device and inode of the file when it was opened, to notice that it was moved away. */
  readonly identity: string;
}

/** Connections to one database file: how they are opened, wait for locks, commit and fail. */
export class SqliteFile {
  readonly path: string;
  private readonly driver: SqliteDriver;
  private readonly readOnly: boolean;
  private readonly busyTimeoutMs: number;
  private readonly clock: Clock;
  private readonly spills: boolean;
  private source: ReadSource | undefined;
  private main: MainConnection | undefined;
  private borrowed = 0;
  private logIsLeft = false;
  private closed = false;
  private closing: Promise<void> | undefined;
  private readonly pending = new Set<Promise<unknown>>();
  private readonly wakers = new Set<() => void>();

  constructor(
    path: string,
    options: {
      readonly driver: SqliteDriver;
      readonly readOnly: boolean;
      readonly busyTimeoutMs: number;
      readonly clock: Clock;
      /** Pages of a long transaction go to the log before its commit. */
      readonly spills: boolean;
    },
  ) {
    this.path = path;
    this.driver = options.driver;
    this.readOnly = options.readOnly;
    this.busyTimeoutMs = options.busyTimeoutMs;
    this.clock = options.clock;
    this.spills = options.spills;
  }

  /** What is at the path; see `lookAt`. */
  async look(): Promise<Found> {
    return this.retry(() => lookAt(this.driver, this.path));
  }

  /** For a file in which `look` found a ledger. Returns the path that is read: with `copy` always one of a private copy. */
  async open(options: { readonly copy: boolean }): Promise<string> {
    if (this.readOnly) this.source = await readSource(this.path, options);
    await this.connection();
    return this.source?.path ?? this.path;
  }

  /** Reads on the connection; `absent` answers while there is no ledger. */
  read<T>(work: (connection: Connection) => T, absent: () => T): Promise<T> {
    return this.track(async () => {
      const connection = await this.connection();
      return connection === undefined ? absent() : this.retry(() => work(connection));
    });
  }

  /** Runs `work` in a transaction under the write lock, and commits if it returns true. */
  write(work: (connection: Connection) => boolean): Promise<boolean> {
    return this.track(async () => {
      this.assertWritable();
      const connection = await this.connection();
      if (connection === undefined) throw this.absent();
      return this.retry(() => this.writeNow(connection, work));
    });
  }

  private writeNow(connection: MainConnection, work: (connection: Connection) => boolean): boolean {
    connection.statements.begin();
    try {
      this.assertInPlace(connection);
      if (!work(connection)) {
        rollBack(connection.db);
        return false;
      }
    } catch (error) {
      rollBack(connection.db);
      throw error;
    }
    this.commitNow(connection.db, connection.statements.commit);
    return true;
  }

  /**
   * Runs `work` under the write lock on a connection of its own, so that nothing else of this process gets into the
   * transaction while it waits for something; commits if it returns true. With `create`, the file is made if it is missing.
   */
  writeAlone(work: (db: SqliteDatabase) => Promise<boolean>, options: { readonly create: boolean }): Promise<boolean> {
    return this.track(async () => {
      this.assertWritable();
      const db = await this.retry(() => this.connectWriter(options));
      try {
        await this.retry(() => db.exec("BEGIN IMMEDIATE"));
        const written = await work(db).catch((error: unknown) => {
          rollBack(db);
          throw error;
        });
        if (written) this.commitNow(db, () => db.exec("COMMIT"));
        else rollBack(db);
        return written;
      } catch (error) {
        throw storageError(error, this.path);
      } finally {
        db.close();
      }
    });
  }

  /** Whether the commits that follow leave the log to somebody else, as long as it does not grow too long. */
  leaveLog(isLeft: boolean): void {
    if (isLeft === this.logIsLeft) return;
    this.main?.db.exec(`PRAGMA wal_autocheckpoint=${isLeft ? LOG_PAGES_LEFT : LOG_PAGES}`);
    this.logIsLeft = isLeft;
  }

  /** Moves the whole log into the database and empties it. False while a reader needs it, or another writer holds it. */
  emptyLog(): Promise<boolean> {
    return this.track(async () => {
      const connection = await this.connection();
      return connection !== undefined && this.retry(() => this.emptyLogNow(connection.db));
    });
  }

  private emptyLogNow(db: SqliteDatabase): boolean {
    const { busy } = db.prepare("PRAGMA wal_checkpoint(TRUNCATE)").get() as { readonly busy: number };
    return busy === 0 && (fileSize(`${this.path}-wal`) ?? 0) === 0;
  }

  /** Opens a further connection for reading and hands it over; its owner calls `returned` once it is closed. */
  lend<T>(use: (db: SqliteDatabase, returned: () => Promise<void>) => T): Promise<T> {
    return this.track(async () => {
      if ((await this.connection()) === undefined) throw this.absent();
      // A writer's further connections can write too, so that whichever is closed last tidies up the log.
      const source = this.source ?? { path: this.path, readonly: false };
      return this.retry(() => {
        const db = this.connectReader(source);
        try {
          db.exec(`PRAGMA cache_size=-${LENT_CACHE_KB}`);
          const used = use(db, () => this.takeBack());
          this.borrowed += 1;
          return used;
        } catch (error) {
          db.close();
          throw error;
        }
      });
    });
  }

  private async takeBack(): Promise<void> {
    this.borrowed -= 1;
    if (this.closed && this.borrowed === 0) await this.source?.dispose();
  }

  /** Idempotent. Work under way ends first. */
  close(): Promise<void> {
    this.closing ??= this.shut();
    return this.closing;
  }

  private async shut(): Promise<void> {
    this.closed = true;
    this.wake();
    await Promise.allSettled(this.pending);
    this.main?.db.close();
    this.main = undefined;
    if (this.borrowed === 0) await this.source?.dispose();
  }

  /** Waits at most `delayMs`, less if `wake` is called or the signal aborts (then it rejects with the signal's reason). */
  sleep(delayMs: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      // The clock's timers let the process end, which must not happen while somebody waits for a commit.
      const alive = setInterval(() => {}, 0x7fffffff);
      const end = (settle: () => void) => (): void => {
        clearInterval(alive);
        cancel();
        this.wakers.delete(wake);
        signal?.removeEventListener("abort", abort);
        settle();
      };
      const wake = end(resolve);
      const abort = end(() => reject(signal?.reason));
      const cancel = this.clock.after(delayMs, wake);
      this.wakers.add(wake);
      signal?.addEventListener("abort", abort, { once: true });
    });
  }

  wake(): void {
    for (const wake of [...this.wakers]) wake();
  }

  assertWritable(): void {
    if (!this.readOnly) return;
    throw new UnavailableError("read-only", `${this.path} is open for reading only`, { details: { path: this.path } });
  }

  private absent(): UnavailableError {
    return new UnavailableError("not-found", `no ledger at ${this.path}`, { details: { path: this.path } });
  }

  /** The main connection, made on first need; undefined while there is no ledger. */
  private async connection(): Promise<MainConnection | undefined> {
    if (this.main !== undefined) return this.main;
    if (this.source === undefined && (await this.look()) !== "ledger") return undefined;
    return this.retry(() => {
      // Another call may have opened it while this one waited.
      this.main ??= this.openMain();
      return this.main;
    });
  }

  private openMain(): MainConnection {
    const identity = identityOf(this.path);
    const db = this.source === undefined ? this.connectWriter({ create: false }) : this.connectReader(this.source);
    try {
      // Finds damage now, and not at the first append.
      db.prepare("SELECT count(*) FROM sqlite_schema").get();
      return { db, statements: prepareStatements(db), identity };
    } catch (error) {
      db.close();
      throw error;
    }
  }

  private connectWriter(options: { readonly create: boolean }): SqliteDatabase {
    assertWritablePlace(this.path);
    return this.configure(connect(this.driver, this.path, { readonly: false, ...options }), (db) => {
      db.exec(WRITER_PRAGMAS);
      if (this.spills) db.exec(`PRAGMA cache_size=${SPILL_PAGES}; PRAGMA cache_spill=1`);
      const { journal_mode: mode } = db.prepare("PRAGMA journal_mode=WAL").get() as { readonly journal_mode: string };
      if (mode === "wal") return;
      const message = `${this.path}: a write-ahead log cannot be used there (the journal mode stays ${mode})`;
      throw new UnavailableError("storage-io", message, { details: { path: this.path } });
    });
  }

  private connectReader({ path, readonly }: Pick<ReadSource, "path" | "readonly">): SqliteDatabase {
    return this.configure(connect(this.driver, path, { readonly, create: false }), (db) => {
      db.exec(`${READER_PRAGMAS}; PRAGMA query_only=ON`);
    });
  }

  private configure(db: SqliteDatabase, configure: (db: SqliteDatabase) => void): SqliteDatabase {
    try {
      configure(db);
      return db;
    } catch (error) {
      db.close();
      throw error;
    }
  }

  /** Commits; after a failure nothing of the transaction is left, or the outcome is said to be unknown. */
  private commitNow(db: SqliteDatabase, commit: () => void): void {
    try {
      commit();
    } catch (error) {
      rollBack(db);
      if (commitMayPersist(error) && !this.clearsLog(db)) {
        const message = `${this.path}: the disk failed while a commit was made durable; whether it survives a crash is unknown`;
        throw new FatalError("outcome-unknown", message, { cause: error, details: { path: this.path } });
      }
      throw error;
    }
    this.wake();
  }

  /** True when the log was emptied, so that no frame of a failed commit can come back. */
  private clearsLog(db: SqliteDatabase): boolean {
    try {
      return this.emptyLogNow(db);
    } catch {
      // The disk fails here too: the commit that failed before is what gets reported.
      return false;
    }
  }

  /** Refuses to write to a file that is no longer at the path: what is appended there would be lost when it is closed. */
  private assertInPlace({ identity }: MainConnection): void {
    if (identityOf(this.path) === identity) return;
    const message = `${this.path} was moved, deleted or replaced while it was open; close it and open it again`;
    throw new UnavailableError("storage-io", message, { details: { path: this.path } });
  }

  /** Runs `attempt` until no lock is in its way, waiting without blocking the event loop. Maps the driver's errors. */
  private async retry<T>(attempt: () => Promise<T> | T): Promise<T> {
    const start = this.clock.monotonic();
    for (let delayMs = RETRY_FIRST_MS; ; delayMs = Math.min(delayMs * 2, RETRY_LAST_MS)) {
      try {
        return await attempt();
      } catch (error) {
        if (!isBusy(error)) throw storageError(error, this.path);
        if (this.clock.monotonic() - start >= this.busyTimeoutMs) {
          const message = `${this.path}: another connection kept its lock for ${this.busyTimeoutMs} ms`;
          const details = { path: this.path, waitedMs: this.busyTimeoutMs };
          throw new UnavailableError("storage-busy", message, { cause: error, details });
        }
      }
      // Jitter keeps processes that collided once from colliding again; nothing recorded depends on it.
      await this.sleep(delayMs * (0.5 + Math.random()));
    }
  }

  /** Refuses new work after `close`, and lets `close` wait for the work under way. */
  private track<T>(work: () => Promise<T>): Promise<T> {
    if (this.closed) {
      return Promise.reject(new UnavailableError("closed", `${this.path} is closed`, { details: { path: this.path } }));
    }
    const running = work();
    this.pending.add(running);
    const done = (): boolean => this.pending.delete(running);
    running.then(done, done);
    return running;
  }
}

function rollBack(db: SqliteDatabase): void {
  try {
    db.exec("ROLLBACK");
  } catch {
    // After some failures SQLite has rolled back by itself, and then refuses to do it again.
  }
}

/** SQLite would fall back to reading, or say no more than that it cannot open something. */
function assertWritablePlace(path: string): void {
  assertDirectory(path);
  for (const place of [dirname(path), path]) {
    try {
      accessSync(place, constants.W_OK);
    } catch (cause) {
      if (place === path && fileSize(path) === undefined) return;
      const message = `${path} cannot be written: this process may not write to ${place}`;
      throw new UnavailableError("read-only", message, { cause, details: { path, place } });
    }
  }
}

function identityOf(path: string): string {
  // Windows does not let an open database be moved, and its file numbers do not fit a number.
  if (process.platform === "win32") return "";
  const found = statSync(path, { throwIfNoEntry: false });
  return found === undefined ? "" : `${found.dev}:${found.ino}`;
}
