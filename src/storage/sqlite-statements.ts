import { Buffer } from "node:buffer";
import { FatalError, UnavailableError } from "../core/errors.ts";
import { sha256Hex } from "../core/hash.ts";
import {
  type NewEntry,
  type Redaction,
  type StoredAnchor,
  type StoredCheckpoint,
  type StoredEntry,
  type StoredFilter,
  type StoredTile,
  toText,
} from "../ledger/storage.ts";
import type { SqliteDatabase, SqliteStatement, SqliteValue } from "./sqlite-driver.ts";
import { INDEX_MAX, tileKey } from "./sqlite-schema.ts";

/** Rows that one INSERT carries: 50 measured 17 % faster than single rows, and more gained nothing. */
const ROWS_PER_INSERT = 50;

/** Control entries that one read gives. */
const READ_CONTROLS_MAX = 512;

interface EntryRow {
  readonly idx: number;
  readonly entry: string;
  readonly body: string | null;
  readonly salts: Uint8Array | null;
  readonly disclosure: string | null;
}

/** The right edge. Rows that no number can address are not part of the ledger; the audit names them. */
export const LAST_ENTRY: string = `SELECT idx, entry FROM entries WHERE idx <= ${INDEX_MAX} ORDER BY idx DESC LIMIT 1`;

/** A disclosure is looked up only where a body is gone, so that it costs the other entries nothing. */
const ENTRY_COLUMNS =
  "e.idx, e.entry, e.body, e.salts, CASE WHEN e.body IS NULL THEN " +
  "(SELECT d.disclosure FROM disclosures d WHERE d.idx = e.idx AND d.disclosure IS NOT NULL) END AS disclosure";

/**
 * Every statement of one connection, prepared once, because preparing costs more than running; and on first use, because a
 * table that somebody dropped must not keep the others from being read.
 */
export interface Statements {
  begin(): void;
  commit(): void;
  readLast(): { readonly index: number; readonly entry: string } | undefined;
  readEntries(first: number, end: number): StoredEntry[];
  readEntryTexts(first: number, end: number): string[];
  readTile(level: number, index: number): Uint8Array | undefined;
  readFilters(first: number, end: number): StoredFilter[];
  readFilterBlocks(first: number, end: number): number[];
  readControls(first: number): StoredEntry[];
  readPurges(): number[];
  findById(id: string): StoredEntry | undefined;
  findByIds(ids: readonly string[]): Map<string, StoredEntry>;
  findErasedIds(ids: readonly string[], digests: readonly Uint8Array[]): Map<string, number>;
  readCheckpoint(size: number): string | undefined;
  latestCheckpoint(): StoredCheckpoint | undefined;
  insertEntries(entries: readonly NewEntry[]): void;
  insertIds(ids: readonly { readonly id: string; readonly index: number }[]): void;
  insertControls(indexes: readonly number[]): void;
  insertTile(tile: StoredTile): void;
  insertFilter(filter: StoredFilter): void;
  blankFilter(block: number): void;
  insertCheckpoint(size: number, note: string): void;
  latestCosigned(): StoredCheckpoint | undefined;
  upsertCosigned(size: number, note: string): void;
  readAnchor(index: number): StoredAnchor | undefined;
  insertAnchor(anchor: StoredAnchor): void;
  insertPurge(erasure: number): void;
  /** Removes the purges of erasures up to `last`. */
  deletePurges(last: number): void;
  /** Erases one entry of the first `size`. */
  redact(redaction: Redaction, size: number): void;
}

export function prepareStatements(db: SqliteDatabase): Statements {
  const prepare = (sql: string): (() => SqliteStatement) => lazyStatement(db, sql);
  const begin = prepare("BEGIN IMMEDIATE");
  const commit = prepare("COMMIT");
  const last = prepare(LAST_ENTRY);
  const entries = prepare(`SELECT ${ENTRY_COLUMNS} FROM entries e WHERE e.idx >= ? AND e.idx < ? ORDER BY e.idx`);
  const entryTexts = prepare("SELECT idx, entry FROM entries WHERE idx >= ? AND idx < ? ORDER BY idx");
  const tile = prepare("SELECT hashes FROM tiles WHERE id = ?");
  const filters = prepare(
    "SELECT block, bits FROM filters WHERE bits IS NOT NULL AND block >= ? AND block < ? ORDER BY block",
  );
  const filterBlocks = prepare(
    "SELECT block FROM filters WHERE bits IS NOT NULL AND block >= ? AND block < ? ORDER BY block",
  );
  // The list leads: it is the shorter one.
  const controls = prepare(
    `SELECT ${ENTRY_COLUMNS} FROM controls c CROSS JOIN entries e ON e.idx = c.idx WHERE c.idx >= ? ORDER BY c.idx LIMIT ${READ_CONTROLS_MAX}`,
  );
  const purges = prepare("SELECT erasure FROM purges ORDER BY erasure");
  const byId = prepare(`SELECT ${ENTRY_COLUMNS} FROM ids i JOIN entries e ON e.idx = i.idx WHERE i.digest = ?`);
  const anyErasedId = prepare("SELECT 1 FROM erased_ids LIMIT 1");
  const erasedId = prepare("SELECT idx FROM erased_ids WHERE digest = ?");
  const checkpoint = prepare("SELECT note FROM checkpoints WHERE size = ?");
  const latest = prepare("SELECT size, note FROM checkpoints ORDER BY size DESC LIMIT 1");
  // Somebody may have made the file with another encoding, in which bytes would be other texts. The audit names it.
  const encoding = prepare("PRAGMA encoding");
  let takesBytes: boolean | undefined;
  const insertEntries = prepareInsert(db, "entries(idx, entry, body, salts)", ENTRY_VALUES);
  const insertIds = prepareInsert(db, "ids(digest, idx)", "(?, ?)");
  const insertControls = prepareInsert(db, "controls(idx)", "(?)");
  const insertTile = prepare("INSERT INTO tiles(id, hashes) VALUES (?, ?)");
  const insertFilter = prepare("INSERT INTO filters(block, bits) VALUES (?, ?) ON CONFLICT DO NOTHING");
  const blankFilter = prepare("UPDATE filters SET bits = NULL WHERE block = ? AND bits IS NOT NULL");
  const insertCheckpoint = prepare("INSERT INTO checkpoints(size, note) VALUES (?, ?)");
  const latestCosigned = prepare("SELECT size, note FROM cosigned ORDER BY size DESC LIMIT 1");
  const upsertCosigned = prepare(
    "INSERT INTO cosigned(size, note) VALUES (?, ?) ON CONFLICT(size) DO UPDATE SET note = excluded.note",
  );
  const readAnchor = prepare("SELECT note, proof FROM anchors WHERE idx = ?");
  const insertAnchor = prepare("INSERT INTO anchors(idx, note, proof) VALUES (?, ?, ?)");
  const insertPurge = prepare("INSERT INTO purges(erasure) VALUES (?)");
  const deletePurges = prepare("DELETE FROM purges WHERE erasure <= ?");
  const eraseEntry = prepare("UPDATE entries SET body = NULL, salts = NULL WHERE idx = ? RETURNING idx");
  const blankDisclosure = prepare("UPDATE disclosures SET disclosure = NULL WHERE idx = ? AND disclosure IS NOT NULL");
  const insertDisclosure = prepare("INSERT INTO disclosures(idx, disclosure) VALUES (?, ?)");
  const deleteId = prepare("DELETE FROM ids WHERE digest = ? AND idx = ? RETURNING idx");
  const insertErasedId = prepare("INSERT INTO erased_ids(idx, digest, salt) VALUES (?, ?, ?)");

  const findById = (id: string): StoredEntry | undefined => {
    const row = byId().get(digestOf(id)) as EntryRow | undefined;
    return row === undefined ? undefined : entryOf(row);
  };

  return {
    begin: () => void begin().run(),
    commit: () => void commit().run(),
    readLast() {
      const row = last().get() as { readonly idx: number; readonly entry: string } | undefined;
      return row === undefined ? undefined : { index: row.idx, entry: row.entry };
    },
    readEntries: (first, end) => (entries().all(first, end) as EntryRow[]).map(entryOf),
    readEntryTexts: (first, end) =>
      (entryTexts().all(first, end) as Pick<EntryRow, "idx" | "entry">[]).map(({ idx, entry }) => {
        if (typeof entry !== "string") throw misfit(idx);
        return entry;
      }),
    readTile(level, index) {
      const row = tile().get(tileKey(level, index)) as { readonly hashes: Uint8Array } | undefined;
      return row === undefined ? undefined : plainBytes(row.hashes);
    },
    readFilters: (first, end) =>
      (filters().all(first, end) as StoredFilter[]).map(({ block, bits }) => ({ block, bits: plainBytes(bits) })),
    readFilterBlocks: (first, end) =>
      (filterBlocks().all(first, end) as { readonly block: number }[]).map(({ block }) => block),
    readControls: (first) => (controls().all(first) as EntryRow[]).map(entryOf),
    readPurges: () => (purges().all() as { readonly erasure: number }[]).map(({ erasure }) => erasure),
    findById,
    findByIds(ids) {
      const found = new Map<string, StoredEntry>();
      for (const id of ids) {
        const entry = findById(id);
        if (entry !== undefined) found.set(id, entry);
      }
      return found;
    },
    findErasedIds(ids, digests) {
      const found = new Map<string, number>();
      if (digests.length === 0 || anyErasedId().get() === undefined) return found;
      ids.forEach((id, i) => {
        const digest = digests[i];
        const row = digest && (erasedId().get(digest) as { readonly idx: number } | undefined);
        if (row !== undefined) found.set(id, row.idx);
      });
      return found;
    },
    readCheckpoint: (size) => (checkpoint().get(size) as { readonly note: string } | undefined)?.note,
    latestCheckpoint: () => latest().get() as StoredCheckpoint | undefined,
    insertEntries(rows) {
      takesBytes ??= (encoding().get() as { readonly encoding: string }).encoding === "UTF-8";
      insertEntries(rows, ({ index, entry, body, salts, disclosure }, values) => {
        if (takesBytes) values.push(index, entry, body, salts);
        else values.push(index, toText(entry), body && toText(body), salts);
        if (disclosure !== null) insertDisclosure().run(index, disclosure);
      });
    },
    insertIds: (rows) => insertIds(rows, ({ id, index }, values) => values.push(digestOf(id), index)),
    insertControls: (rows) => insertControls(rows, (index, values) => values.push(index)),
    insertTile: ({ level, index, hashes }) => void insertTile().run(tileKey(level, index), hashes),
    insertFilter: ({ block, bits }) => void insertFilter().run(block, bits),
    blankFilter: (block) => void blankFilter().run(block),
    insertCheckpoint: (size, note) => void insertCheckpoint().run(size, note),
    latestCosigned: () => latestCosigned().get() as StoredCheckpoint | undefined,
    upsertCosigned: (size, note) => void upsertCosigned().run(size, note),
    readAnchor(index) {
      const row = readAnchor().get(index) as { readonly note: Uint8Array; readonly proof: Uint8Array } | undefined;
      if (row === undefined) return undefined;
      if (!(row.note instanceof Uint8Array) || !(row.proof instanceof Uint8Array)) {
        const message = `the anchor of entry ${index} holds a value of another type than its column`;
        throw new UnavailableError("storage-corrupt", message, { details: { index } });
      }
      return { index, note: plainBytes(row.note), proof: plainBytes(row.proof) };
    },
    insertAnchor: ({ index, note, proof }) => void insertAnchor().run(index, note, proof),
    insertPurge: (erasure) => void insertPurge().run(erasure),
    deletePurges: (last) => void deletePurges().run(last),
    redact({ index, disclosure, id, erasedId: erased }, size) {
      if (index >= size || eraseEntry().get(index) === undefined) throw missing(`entry ${index} to erase`, index);
      blankDisclosure().run(index);
      if (disclosure !== null) insertDisclosure().run(index, disclosure);
      if (id !== null && deleteId().get(digestOf(id), index) === undefined)
        throw missing(`the id of entry ${index}`, index);
      if (erased !== null) insertErasedId().run(erased.index, erased.digest, erased.salt);
    },
  };
}

export function lazyStatement(db: SqliteDatabase, sql: string): () => SqliteStatement {
  let statement: SqliteStatement | undefined;
  return () => {
    statement ??= db.prepare(sql);
    return statement;
  };
}

function missing(what: string, index: number): FatalError {
  return new FatalError("invariant-broken", `expected ${what} in the store, found none`, { details: { index } });
}

/** Texts may come as bytes, which are not decoded: that saves a tenth of an append in bulk. */
const ENTRY_VALUES = "(?, CAST(? AS TEXT), CAST(? AS TEXT), ?)";

/** An insert of any number of rows: as many as possible in one statement, the remainder one by one. */
function prepareInsert(
  db: SqliteDatabase,
  into: string,
  tuple: string,
): <T>(rows: readonly T[], bind: (row: T, values: SqliteValue[]) => void) => void {
  const one = lazyStatement(db, `INSERT INTO ${into} VALUES ${tuple}`);
  const many = lazyStatement(db, `INSERT INTO ${into} VALUES ${Array(ROWS_PER_INSERT).fill(tuple).join(", ")}`);
  return (rows, bind) => {
    let i = 0;
    for (; i + ROWS_PER_INSERT <= rows.length; i += ROWS_PER_INSERT) {
      const values: SqliteValue[] = [];
      for (let k = i; k < i + ROWS_PER_INSERT; k++) bind(rows[k] as (typeof rows)[number], values);
      many().run(...values);
    }
    for (; i < rows.length; i++) {
      const values: SqliteValue[] = [];
      bind(rows[i] as (typeof rows)[number], values);
      one().run(...values);
    }
  };
}

function misfit(index: number): UnavailableError {
  const message = `entry ${index} holds a value of another type than its column`;
  return new UnavailableError("storage-corrupt", message, { details: { index } });
}

function entryOf({ idx, entry, body, salts, disclosure }: EntryRow): StoredEntry {
  // STRICT tables keep types apart, but not against somebody who edits the file.
  const isText = (value: unknown): boolean => value === null || typeof value === "string";
  if (
    typeof entry !== "string" ||
    !isText(body) ||
    !isText(disclosure) ||
    (salts !== null && !(salts instanceof Uint8Array))
  )
    throw misfit(idx);
  return { index: idx, entry, body, salts: salts === null ? null : plainBytes(salts), disclosure };
}

/** Bytes of an id's digest in the table of ids: half a SHA-256, so that two ids never share one. */
export const ID_DIGEST_BYTES = 16;

/** What stands for an id in its table, which must not hold the id itself: see the schema. */
export function digestOf(id: string): Uint8Array {
  return Buffer.from(sha256Hex(id).slice(0, 2 * ID_DIGEST_BYTES), "hex");
}

/** The same bytes as a plain Uint8Array: a driver's Buffer slices and serialises differently. */
export function plainBytes(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
