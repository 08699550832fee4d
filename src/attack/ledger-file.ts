import type { StoredAnchor, StoredCheckpoint } from "../ledger/storage.ts";
import type { SqliteDatabase, SqliteDriver } from "../storage/sqlite-driver.ts";
import { tileKey } from "../storage/sqlite-schema.ts";
import { digestOf, plainBytes } from "../storage/sqlite-statements.ts";
import type { Rewritten, WrittenEntry } from "./rewriting.ts";

/**
 * A ledger's database in the hands of somebody who may write to it, and knows its tables. Nothing here goes through the
 * storage: it is what anybody can do with a SQLite shell.
 */
export interface LedgerFile {
  readonly db: SqliteDatabase;
  /** Every entry, ascending. */
  readEntries(): WrittenEntry[];
  readCheckpoints(): StoredCheckpoint[];
  /** Replaces every entry and everything derived from entries. */
  writeAll(rewritten: Rewritten): void;
  /** Adds the entries from `first` on, and whatever else of `rewritten` is new. */
  writeTail(rewritten: Rewritten, first: number): void;
  /** The checkpoints that the ledger shows from now on, and no others. */
  replaceCheckpoints(checkpoints: readonly StoredCheckpoint[]): void;
  /** Checkpoints with the lines of witnesses. */
  readCosigned(): StoredCheckpoint[];
  /** As `replaceCheckpoints`, for those that witnesses cosigned. */
  replaceCosigned(checkpoints: readonly StoredCheckpoint[]): void;
  /** Notes and proofs beside the anchors of entries from `first` on. */
  replaceAnchors(anchors: readonly StoredAnchor[], first: number): void;
}

/** Tables whose rows follow from the entries. */
const DERIVED = ["tiles", "filters", "ids", "controls"] as const;

/**
 * Runs `tamper` on the database at `path` with every guard trigger dropped, and puts the triggers back as they were: a guard
 * stops mistakes, not people. One transaction; no log or shared-memory file is left.
 */
export async function tamperWithFile(
  path: string,
  driver: SqliteDriver,
  tamper: (file: LedgerFile) => Promise<void> | void,
): Promise<void> {
  const db = new driver(path, { readonly: false, fileMustExist: true, timeout: 5_000 });
  try {
    // The file is a throwaway copy: a crash may lose it.
    db.exec("PRAGMA synchronous = OFF; BEGIN IMMEDIATE");
    const guards = db.prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").all() as {
      readonly name: string;
      readonly sql: string;
    }[];
    for (const { name } of guards) db.exec(`DROP TRIGGER "${name}"`);
    await tamper(fileOf(db));
    for (const { sql } of guards) db.exec(sql);
    db.exec("COMMIT");
  } finally {
    // The last connection to close moves the log into the file.
    db.close();
  }
}

function fileOf(db: SqliteDatabase): LedgerFile {
  const insertEntries = (entries: readonly WrittenEntry[]): void => {
    const insert = db.prepare("INSERT INTO entries(idx, entry, body, salts) VALUES (?, ?, ?, ?)");
    for (const { index, entry, body, salts } of entries) insert.run(index, entry, body, salts);
  };
  const insertDerived = ({ tiles, ids, controls }: Omit<Rewritten, "entries">): void => {
    const insertTile = db.prepare("INSERT INTO tiles(id, hashes) VALUES (?, ?)");
    for (const { level, index, hashes } of tiles) insertTile.run(tileKey(level, index), hashes);
    // One row an id: a replayed id is a finding, and an attacker who wants none keeps the first.
    const insertId = db.prepare("INSERT INTO ids(digest, idx) VALUES (?, ?) ON CONFLICT DO NOTHING");
    for (const { id, index } of ids) insertId.run(digestOf(id), index);
    const insertControl = db.prepare("INSERT INTO controls(idx) VALUES (?)");
    for (const index of controls) insertControl.run(index);
  };
  const readNotes = (table: "checkpoints" | "cosigned"): StoredCheckpoint[] =>
    db.prepare(`SELECT size, note FROM ${table} ORDER BY size`).all() as StoredCheckpoint[];
  const replaceNotes = (table: "checkpoints" | "cosigned", notes: readonly StoredCheckpoint[]): void => {
    db.exec(`DELETE FROM ${table}`);
    const insert = db.prepare(`INSERT INTO ${table}(size, note) VALUES (?, ?)`);
    for (const { size, note } of notes) insert.run(size, note);
  };
  return {
    db,
    readEntries() {
      const rows = db.prepare("SELECT idx, entry, body, salts FROM entries ORDER BY idx").all() as {
        readonly idx: number;
        readonly entry: string;
        readonly body: string | null;
        readonly salts: Uint8Array | null;
      }[];
      return rows.map(({ idx, entry, body, salts }) => ({
        index: idx,
        entry,
        body,
        salts: salts === null ? null : plainBytes(salts),
      }));
    },
    readCheckpoints: () => readNotes("checkpoints"),
    replaceCheckpoints: (checkpoints) => replaceNotes("checkpoints", checkpoints),
    readCosigned: () => readNotes("cosigned"),
    replaceCosigned: (checkpoints) => replaceNotes("cosigned", checkpoints),
    replaceAnchors(anchors, first) {
      db.prepare("DELETE FROM anchors WHERE idx >= ?").run(first);
      const insert = db.prepare("INSERT INTO anchors(idx, note, proof) VALUES (?, ?, ?)");
      for (const { index, note, proof } of anchors) insert.run(index, note, proof);
    },
    writeAll(rewritten) {
      for (const table of ["entries", "disclosures", ...DERIVED]) db.exec(`DELETE FROM ${table}`);
      insertEntries(rewritten.entries);
      insertDerived(rewritten);
    },
    writeTail(rewritten, first) {
      const stored = new Set((db.prepare("SELECT id FROM tiles").all() as { id: number }[]).map(({ id }) => id));
      insertEntries(rewritten.entries.slice(first));
      insertDerived({
        tiles: rewritten.tiles.filter(({ level, index }) => !stored.has(tileKey(level, index))),
        ids: rewritten.ids.filter(({ index }) => index >= first),
        controls: rewritten.controls.filter((index) => index >= first),
      });
    },
  };
}
