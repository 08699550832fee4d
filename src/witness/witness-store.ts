import { bytesEqual, encodeHex } from "../core/encoding.ts";
import { FatalError, MalformedError, PolicyError, UnavailableError, VerificationError } from "../core/errors.ts";
import { type SqliteDatabase, type SqliteDriver, storageError } from "../storage/sqlite-driver.ts";

/** What a witness last cosigned for one log. */
export interface WitnessedHead {
  readonly size: number;
  readonly root: Uint8Array;
  /** Checkpoint note with the log's verified lines only. */
  readonly note: string;
}

/** Outcome of a compare-and-set: stored, or the head that stands instead. */
export type UpdateResult =
  | { readonly stored: true }
  | { readonly stored: false; readonly head: WitnessedHead | undefined };

/** Two notes of one log that cannot both be honest. */
export interface WitnessEvidence {
  readonly origin: string;
  /** Seconds since 1970. */
  readonly time: number;
  /** The note that was cosigned, and the signed one that contradicts it. */
  readonly held: string;
  readonly offered: string;
  /** Base64 hashes, one a line, of the proof that came with `offered`. */
  readonly proof: string;
}

/** Port: the witness's memory. Losing it, or letting it go back, is the one thing that a witness must never do. */
export interface WitnessStore {
  head(origin: string): WitnessedHead | undefined;
  /**
   * Atomically stores `next` if size and root of what is stored are those of `expected` (undefined: nothing is); synced when it
   * resolves. Whether a rejected update was stored is unknown: cosign nothing.
   */
  update(origin: string, expected: WitnessedHead | undefined, next: WitnessedHead): Promise<UpdateResult>;
  /** Kept for ever, each contradiction once, at most 100 of one log. */
  keepEvidence(evidence: WitnessEvidence): void;
  /** All that is kept of a log, oldest first. */
  evidence(origin: string): readonly WitnessEvidence[];
  /** How much is kept, of all logs. */
  countEvidence(): number;
  /** Stores what waits, and lets go of the files. */
  close(): void;
}

export interface WitnessStoreOptions {
  readonly path: string;
  /**
   * A second file, on a medium that is not restored together with the first: every head is written there too before it is
   * cosigned, so that a database that was rolled back is noticed at the next start.
   */
  readonly archivePath?: string;
  readonly driver: SqliteDriver;
}

const SCHEMA = `
CREATE TABLE IF NOT EXISTS heads(origin TEXT PRIMARY KEY, size INTEGER NOT NULL, root BLOB NOT NULL, note TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS evidence(id INTEGER PRIMARY KEY, origin TEXT NOT NULL, time INTEGER NOT NULL, held TEXT NOT NULL, offered TEXT NOT NULL, proof TEXT NOT NULL) STRICT`;

/** "tawi": tells the file from a ledger and from other people's databases. */
const APPLICATION_ID = 0x74617769;
const FORMAT_VERSION = 1;

/** An update takes milliseconds; another process that holds the file for longer than this is in trouble. */
const LOCK_WAIT_MS = 5_000;

/** A witness keeps at most this much evidence of one log, so that a hostile log cannot fill its disk. */
const EVIDENCE_PER_LOG_MAX = 100;

/** Updates of one transaction: they share one sync, and hold the write lock together. */
const BATCH_UPDATES_MAX = 256;

/**
 * Witness memory in one SQLite file, synced at every update; updates that come together share a sync. Several processes may use
 * the file: compare-and-set runs under its write lock, so two racing requests never both win. Errors at opening: `rolled-back`
 * and `forked` against the archive, `foreign-database`, `newer-format`, `storage-*`.
 */
export function sqliteWitnessStore(options: WitnessStoreOptions): WitnessStore {
  const { driver, path, archivePath } = options;
  const main = openHeads(driver, path);
  if (archivePath === undefined) return new SqliteWitnessStore(main, null);
  try {
    const archive = openHeads(driver, archivePath);
    try {
      requireAhead(main, archive);
    } catch (error) {
      archive.close();
      throw error;
    }
    return new SqliteWitnessStore(main, archive);
  } catch (error) {
    main.close();
    throw error;
  }
}

/** One file with a table of heads. */
class Heads {
  readonly path: string;
  readonly db: SqliteDatabase;
  private readonly select;
  private readonly selectAll;
  private readonly upsert;

  constructor(db: SqliteDatabase, path: string) {
    this.db = db;
    this.path = path;
    this.select = db.prepare("SELECT origin, size, root, note FROM heads WHERE origin = ?");
    this.selectAll = db.prepare("SELECT origin, size, root, note FROM heads ORDER BY origin");
    this.upsert = db.prepare(
      "INSERT INTO heads(origin, size, root, note) VALUES (?, ?, ?, ?) ON CONFLICT(origin) DO UPDATE SET size = excluded.size, root = excluded.root, note = excluded.note WHERE excluded.size >= heads.size",
    );
  }

  read(origin: string): WitnessedHead | undefined {
    const row = this.select.get(origin) as HeadRow | undefined;
    return row && headOf(row);
  }

  all(): readonly { readonly origin: string; readonly head: WitnessedHead }[] {
    return (this.selectAll.all() as HeadRow[]).map((row) => ({ origin: row.origin, head: headOf(row) }));
  }

  /** Never lets a size go down: another process may have been here in between. */
  write(origin: string, { size, root, note }: WitnessedHead): void {
    this.upsert.run(origin, size, root, note);
  }

  /** Runs `work` in one transaction, with errors as the port promises them. */
  transact<T>(work: () => T): T {
    try {
      this.db.exec("BEGIN IMMEDIATE");
      try {
        const result = work();
        this.db.exec("COMMIT");
        return result;
      } catch (error) {
        rollBack(this.db);
        throw error;
      }
    } catch (error) {
      throw storageError(error, this.path);
    }
  }

  close(): void {
    this.db.close();
  }
}

interface HeadRow {
  readonly origin: string;
  readonly size: number;
  readonly root: Uint8Array;
  readonly note: string;
}

function headOf({ size, root, note }: HeadRow): WitnessedHead {
  return { size, root: new Uint8Array(root), note };
}

interface WaitingUpdate {
  readonly origin: string;
  readonly expected: WitnessedHead | undefined;
  readonly next: WitnessedHead;
  readonly resolve: (result: UpdateResult) => void;
  readonly reject: (error: unknown) => void;
}

class SqliteWitnessStore implements WitnessStore {
  private readonly main: Heads;
  private readonly archive: Heads | null;
  private readonly insertEvidence;
  private readonly selectEvidence;
  private readonly selectCount;
  private waiting: WaitingUpdate[] = [];
  private isScheduled = false;

  constructor(main: Heads, archive: Heads | null) {
    this.main = main;
    this.archive = archive;
    this.insertEvidence = main.db.prepare(
      `INSERT INTO evidence(origin, time, held, offered, proof) SELECT ?, ?, ?, ?, ? WHERE NOT EXISTS (SELECT 1 FROM evidence WHERE origin = ? AND held = ? AND offered = ?) AND (SELECT count(*) FROM evidence WHERE origin = ?) < ${EVIDENCE_PER_LOG_MAX}`,
    );
    this.selectEvidence = main.db.prepare(
      "SELECT origin, time, held, offered, proof FROM evidence WHERE origin = ? ORDER BY id",
    );
    this.selectCount = main.db.prepare("SELECT count(*) AS count FROM evidence");
  }

  head(origin: string): WitnessedHead | undefined {
    return this.guard(() => this.main.read(origin));
  }

  async update(origin: string, expected: WitnessedHead | undefined, next: WitnessedHead): Promise<UpdateResult> {
    if (next.size < (expected?.size ?? 0)) throw new FatalError("invariant-broken", "a witness never goes back");
    return new Promise((resolve, reject) => {
      this.waiting.push({ origin, expected, next, resolve, reject });
      this.schedule();
    });
  }

  keepEvidence({ origin, time, held, offered, proof }: WitnessEvidence): void {
    this.guard(() => this.insertEvidence.run(origin, time, held, offered, proof, origin, held, offered, origin));
  }

  evidence(origin: string): readonly WitnessEvidence[] {
    return this.guard(() => this.selectEvidence.all(origin) as WitnessEvidence[]);
  }

  countEvidence(): number {
    return this.guard(() => (this.selectCount.get() as { readonly count: number }).count);
  }

  close(): void {
    while (this.waiting.length > 0) this.flush();
    this.main.close();
    this.archive?.close();
  }

  /** What arrives in one turn of the event loop, or while the last transaction was synced, goes together. */
  private schedule(): void {
    if (this.isScheduled || this.waiting.length === 0) return;
    this.isScheduled = true;
    setImmediate(() => {
      this.isScheduled = false;
      this.flush();
      this.schedule();
    });
  }

  private flush(): void {
    const batch = this.waiting.splice(0, BATCH_UPDATES_MAX);
    if (batch.length === 0) return;
    let results: readonly UpdateResult[];
    try {
      results = this.main.transact(() => batch.map((update) => this.compareAndSet(update)));
      // After the database, so that the archive is never ahead of it; before anything is cosigned.
      this.archive?.transact(() => this.copy(batch, results));
    } catch (error) {
      for (const { reject } of batch) reject(error);
      return;
    }
    batch.forEach(({ resolve }, i) => {
      resolve(results[i] as UpdateResult);
    });
  }

  private compareAndSet({ origin, expected, next }: WaitingUpdate): UpdateResult {
    const head = this.main.read(origin);
    if (!isSameHead(head, expected)) return { stored: false, head };
    this.main.write(origin, next);
    return { stored: true };
  }

  private copy(batch: readonly WaitingUpdate[], results: readonly UpdateResult[]): void {
    for (const [i, { origin, next }] of batch.entries())
      if (results[i]?.stored === true) this.archive?.write(origin, next);
  }

  private guard<T>(work: () => T): T {
    try {
      return work();
    } catch (error) {
      throw storageError(error, this.main.path);
    }
  }
}

function isSameHead(a: WitnessedHead | undefined, b: WitnessedHead | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return a.size === b.size && bytesEqual(a.root, b.root);
}

function openHeads(driver: SqliteDriver, path: string): Heads {
  let db: SqliteDatabase;
  try {
    db = new driver(path, { readonly: false, fileMustExist: false, timeout: LOCK_WAIT_MS });
  } catch (cause) {
    // The driver's own TypeError for a folder that is not there.
    if (cause instanceof TypeError)
      throw new UnavailableError("storage-io", `${path} cannot be opened: ${cause.message}`, { cause });
    throw storageError(cause, path);
  }
  try {
    requireOurs(db, path);
    db.exec("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA trusted_schema=OFF");
    db.exec(SCHEMA);
    return new Heads(db, path);
  } catch (error) {
    db.close();
    throw storageError(error, path);
  }
}

/** A new file becomes ours in one transaction; another one is not touched. */
function requireOurs(db: SqliteDatabase, path: string): void {
  const numberOf = (sql: string): number => Object.values(db.prepare(sql).get() as Record<string, number>)[0] ?? 0;
  // Tables are made after the mark, so whoever sees them sees the mark.
  const tables = numberOf("SELECT count(*) FROM sqlite_schema");
  const id = numberOf("PRAGMA application_id");
  if (id === 0 && tables === 0) {
    db.exec(`PRAGMA application_id=${APPLICATION_ID}; PRAGMA user_version=${FORMAT_VERSION}`);
    return;
  }
  if (id !== APPLICATION_ID)
    throw new PolicyError("foreign-database", `${path} is not the database of a witness`, { details: { path } });
  const version = numberOf("PRAGMA user_version");
  if (version > FORMAT_VERSION)
    throw new MalformedError(
      "newer-format",
      `${path} is of witness format ${version}; this version reads ${FORMAT_VERSION}`,
      { details: { path } },
    );
}

/** The archive is written last, so it is never ahead of a database that kept what it was told. */
function requireAhead(main: Heads, archive: Heads): void {
  // In this order: another process may be at work, and the database only grows.
  const archived = archive.all();
  for (const { origin, head } of archived) {
    const found = main.read(origin);
    if (found !== undefined && found.size > head.size) continue;
    const details = {
      origin,
      path: main.path,
      expected: head.size,
      found: found?.size ?? 0,
      note: head.note,
      own: found?.note ?? null,
      what: "witness",
    };
    if (found === undefined || found.size < head.size) {
      throw new VerificationError(
        "rolled-back",
        `the database of this witness was rolled back: it cosigned size ${head.size} of ${origin}, as ${archive.path} shows, and ${main.path} knows size ${details.found}. Restore the newer database; if there is none, use a copy of the archive in its place`,
        { details },
      );
    }
    if (!bytesEqual(found.root, head.root)) {
      const roots = { ...details, expected: encodeHex(head.root), found: encodeHex(found.root), size: head.size };
      throw new VerificationError(
        "forked",
        `${main.path} and ${archive.path} hold different trees of size ${head.size} of ${origin}`,
        { details: roots },
      );
    }
  }
  const missing = main.all();
  archive.transact(() => {
    for (const { origin, head } of missing) archive.write(origin, head);
  });
}

/** After a failed commit SQLite may have rolled back by itself already. */
function rollBack(db: SqliteDatabase): void {
  try {
    db.exec("ROLLBACK");
  } catch {
    // No transaction is open: nothing of it is left.
  }
}
