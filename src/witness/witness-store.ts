import { FatalError } from "../core/errors.ts";
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

/** Port: the witness's memory. Losing it, or letting it go back, is the one thing that a witness must never do. */
export interface WitnessStore {
  head(origin: string): WitnessedHead | undefined;
  /** Atomically stores `next` if the size stored is `expectedSize` (0: none); synced when it returns. */
  update(origin: string, expectedSize: number, next: WitnessedHead): UpdateResult;
  /** Evidence against a log: two notes that cannot both be honest. Kept for ever. */
  keepEvidence(evidence: {
    readonly origin: string;
    readonly time: number;
    readonly held: string;
    readonly offered: string;
    readonly proof: string;
  }): void;
  close(): void;
}

interface HeadRow {
  readonly size: number;
  readonly root: Uint8Array;
  readonly note: string;
}

const SCHEMA = `
CREATE TABLE IF NOT EXISTS heads(origin TEXT PRIMARY KEY, size INTEGER NOT NULL, root BLOB NOT NULL, note TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS evidence(id INTEGER PRIMARY KEY, origin TEXT NOT NULL, time INTEGER NOT NULL, held TEXT NOT NULL, offered TEXT NOT NULL, proof TEXT NOT NULL) STRICT`;

/** An update takes a millisecond; another process that holds the file for longer than this is in trouble. */
const LOCK_WAIT_MS = 5_000;

/** A witness keeps at most this much evidence of one log, so that a hostile log cannot fill its disk. */
const EVIDENCE_PER_LOG_MAX = 100;

/**
 * Witness memory in one SQLite file, synced at every update. Several processes may share it: the compare-and-set runs under the
 * file's write lock, so two racing requests never both win.
 */
export function sqliteWitnessStore(options: { readonly path: string; readonly driver: SqliteDriver }): WitnessStore {
  const { path } = options;
  const guard = <T>(work: () => T): T => {
    try {
      return work();
    } catch (error) {
      throw storageError(error, path);
    }
  };
  const db: SqliteDatabase = guard(() => {
    const opened = new options.driver(path, { readonly: false, fileMustExist: false, timeout: LOCK_WAIT_MS });
    opened.exec("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA trusted_schema=OFF");
    opened.exec(SCHEMA);
    return opened;
  });
  const select = db.prepare("SELECT size, root, note FROM heads WHERE origin = ?");
  const upsert = db.prepare(
    "INSERT INTO heads(origin, size, root, note) VALUES (?, ?, ?, ?) ON CONFLICT(origin) DO UPDATE SET size = excluded.size, root = excluded.root, note = excluded.note",
  );
  const insertEvidence = db.prepare(
    `INSERT INTO evidence(origin, time, held, offered, proof) SELECT ?, ?, ?, ?, ? WHERE (SELECT count(*) FROM evidence WHERE origin = ?) < ${EVIDENCE_PER_LOG_MAX}`,
  );
  const read = (origin: string): WitnessedHead | undefined => {
    const row = select.get(origin) as HeadRow | undefined;
    return row === undefined ? undefined : { size: row.size, root: new Uint8Array(row.root), note: row.note };
  };
  return {
    head: (origin) => guard(() => read(origin)),
    update: (origin, expectedSize, next) =>
      guard(() => {
        if (next.size < expectedSize) throw new FatalError("invariant-broken", "a witness never goes back");
        db.exec("BEGIN IMMEDIATE");
        try {
          const head = read(origin);
          if ((head?.size ?? 0) !== expectedSize) {
            db.exec("ROLLBACK");
            return { stored: false, head };
          }
          upsert.run(origin, next.size, next.root, next.note);
          db.exec("COMMIT");
          return { stored: true };
        } catch (error) {
          rollBack(db);
          throw error;
        }
      }),
    keepEvidence: ({ origin, time, held, offered, proof }) =>
      guard(() => void insertEvidence.run(origin, time, held, offered, proof, origin)),
    close: () => db.close(),
  };
}

/** After a failed commit SQLite may have rolled back by itself already. */
function rollBack(db: SqliteDatabase): void {
  try {
    db.exec("ROLLBACK");
  } catch {
    // No transaction is open: nothing of it is left.
  }
}
