import type { ErasedId, RawEntry, SideTables, StorageSnapshot, StoredCheckpoint } from "../ledger/storage.ts";
import { type SqliteDatabase, storageError } from "./sqlite-driver.ts";
import { schemaAnomalies, tileKey } from "./sqlite-schema.ts";
import { lazyStatement, plainBytes } from "./sqlite-statements.ts";

/** Rows of one page of `readRaw`. */
const PAGE_ROWS = 512;

/**
 * A stable view on a connection of its own, which it owns: a read transaction is open until `close`. Text is read as the
 * bytes that are stored. `closed` runs once the connection is gone.
 */
export function openSnapshot(
  db: SqliteDatabase,
  options: { readonly path: string; readonly closed: () => Promise<void> },
): StorageSnapshot {
  const { path } = options;
  db.exec("BEGIN");
  // The view is fixed by the first read, not by BEGIN.
  const last = db.prepare("SELECT idx, entry FROM entries ORDER BY idx DESC LIMIT 1").get() as
    | { readonly idx: number; readonly entry: string }
    | undefined;
  const tile = lazyStatement(db, "SELECT hashes FROM tiles WHERE id = ?");
  const filter = lazyStatement(db, "SELECT bits FROM filters WHERE block = ?");
  const id = lazyStatement(db, "SELECT idx FROM ids WHERE id = ?");
  const guarded = <T>(read: () => T): T => {
    try {
      return read();
    } catch (error) {
      throw storageError(error, path);
    }
  };
  let open = true;
  return {
    head: last === undefined ? { size: 0, lastEntry: null } : { size: last.idx + 1, lastEntry: last.entry },
    *readRaw(first, end) {
      const page = rawPageReader(db);
      for (let from = first; from < end; ) {
        const rows = guarded(() => page(from, end));
        if (rows.length === 0) return;
        yield rows;
        from = (rows[rows.length - 1] as RawEntry).index + 1;
      }
    },
    readTile: (level, index) => guarded(() => bytesOf(tile().get(tileKey(level, index)), "hashes")),
    readFilter: (block) => guarded(() => bytesOf(filter().get(block), "bits")),
    readId: (text) => guarded(() => (id().get(text) as { readonly idx: number } | undefined)?.idx),
    async sideTables() {
      return guarded(() => readSideTables(db));
    },
    async close() {
      if (!open) return;
      open = false;
      db.close();
      await options.closed();
    },
  };
}

function bytesOf(row: unknown, column: string): Uint8Array | undefined {
  const value = (row as Readonly<Record<string, unknown>> | undefined)?.[column];
  return value instanceof Uint8Array ? plainBytes(value) : undefined;
}

interface RawRow {
  readonly idx: number;
  readonly entry: Uint8Array | null;
  readonly body: Uint8Array | null;
  readonly salts: Uint8Array | null;
  readonly disclosure: Uint8Array | null;
}

function rawPageReader(db: SqliteDatabase): (first: number, end: number) => RawEntry[] {
  const page = db.prepare(
    "SELECT idx, CAST(entry AS BLOB) AS entry, CAST(body AS BLOB) AS body, CAST(salts AS BLOB) AS salts, " +
      `CAST(disclosure AS BLOB) AS disclosure FROM entries WHERE idx >= ? AND idx < ? ORDER BY idx LIMIT ${PAGE_ROWS}`,
  );
  const bytes = (value: Uint8Array | null): Uint8Array | null => (value === null ? null : plainBytes(value));
  return (first, end) =>
    (page.all(first, end) as RawRow[]).map((row) => ({
      index: row.idx,
      entry: bytes(row.entry),
      body: bytes(row.body),
      salts: bytes(row.salts),
      disclosure: bytes(row.disclosure),
    }));
}

function readSideTables(db: SqliteDatabase): SideTables {
  const anomalies = schemaAnomalies(db);
  const read = <T>(sql: string): T[] => {
    try {
      return db.prepare(sql).all() as T[];
    } catch (error) {
      anomalies.push(`a table cannot be read: ${error instanceof Error ? error.message : String(error)}`);
      return [];
    }
  };
  const count = (table: string): number =>
    read<{ readonly n: number }>(`SELECT count(*) AS n FROM ${table}`)[0]?.n ?? 0;
  return {
    tiles: count("tiles"),
    filters: count("filters"),
    ids: count("ids"),
    controls: read<{ readonly idx: number }>("SELECT idx FROM controls ORDER BY idx").map(({ idx }) => idx),
    erasedIds: read<{ idx: number; digest: Uint8Array; salt: Uint8Array }>(
      "SELECT idx, digest, salt FROM erased_ids ORDER BY idx",
    ).map(({ idx, digest, salt }): ErasedId => ({ index: idx, digest: plainBytes(digest), salt: plainBytes(salt) })),
    checkpoints: read<StoredCheckpoint>("SELECT size, note FROM checkpoints ORDER BY size"),
    purges: read<{ readonly erasure: number }>("SELECT erasure FROM purges ORDER BY erasure").map(
      ({ erasure }) => erasure,
    ),
    anomalies,
  };
}
