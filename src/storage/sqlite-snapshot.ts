import { UnavailableError } from "../core/errors.ts";
import type { RawAnchor, RawEntry, StorageSnapshot } from "../ledger/storage.ts";
import { readSideTables } from "./sqlite-audit.ts";
import { type SqliteDatabase, type SqliteStatement, storageError } from "./sqlite-driver.ts";
import { INDEX_MAX, tileKey } from "./sqlite-schema.ts";
import { digestOf, LAST_ENTRY, lazyStatement, plainBytes } from "./sqlite-statements.ts";

/**
 * Rows of one page of `readRaw`, and the bytes beyond which a page holds fewer: one row may still be larger. Larger pages are no
 * faster to read, and their rows live through more collections of garbage.
 */
const PAGE_ROWS = 128;
const PAGE_BYTES = 8 * 1024 * 1024;

/**
 * Reading in order passes from row to row; looking up goes by the keys above them, which may lead elsewhere. Backwards, because
 * SQLite takes the way from a row to the next one without those keys.
 */
const UNREACHABLE =
  "SELECT e.idx FROM entries e WHERE e.idx >= ? AND e.idx < ? " +
  "AND NOT EXISTS (SELECT 1 FROM entries same WHERE same.idx = e.idx) ORDER BY e.idx DESC";

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
  const last = db.prepare(LAST_ENTRY).get() as { readonly idx: number; readonly entry: string } | undefined;
  const tile = lazyStatement(db, "SELECT hashes FROM tiles WHERE id = ?");
  const filter = lazyStatement(db, "SELECT bits FROM filters WHERE block = ? AND bits IS NOT NULL");
  const idRow = lazyStatement(db, "SELECT idx FROM ids WHERE digest = ?");
  const anchor = lazyStatement(db, "SELECT note, proof FROM anchors WHERE idx = ?");
  const seek = lazyStatement(db, SEEK);
  const unreachable = lazyStatement(db, UNREACHABLE);
  let readPage: ((first: number, end: number) => RawPage) | undefined;
  let open = true;
  const guarded = <T>(read: () => T): T => {
    if (!open) throw new UnavailableError("closed", `the snapshot of ${path} is closed`, { details: { path } });
    try {
      return read();
    } catch (error) {
      throw storageError(error, path);
    }
  };
  return {
    head: last === undefined ? { size: 0, lastEntry: null } : { size: last.idx + 1, lastEntry: last.entry },
    *readRaw(first, end) {
      for (let from = first; from < end; ) {
        const page: RawPage = guarded(() => {
          readPage ??= rawPageReader(db);
          return readPage(from, end);
        });
        if (page.rows.length > 0) yield page.rows;
        from = page.next;
      }
    },
    seek: (index) => guarded(() => (seek().get(index) as { readonly idx: number | null }).idx ?? undefined),
    readTile: (level, index) => guarded(() => bytesOf(tile().get(tileKey(level, index)), "hashes")),
    unreachable: (first, end) =>
      guarded(() => (unreachable().all(first, end) as { readonly idx: number }[]).map(({ idx }) => idx)),
    readFilter: (block) => guarded(() => bytesOf(filter().get(block), "bits")),
    readId: (id) => guarded(() => (idRow().get(digestOf(id)) as { readonly idx: number } | undefined)?.idx),
    readAnchor: (index) => guarded(() => rawAnchor(anchor, index)),
    async sideTables() {
      return readSideTables((read) => guarded(() => read(db)));
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

/** Undefined where the whole table is gone, too: `sideTables` says so. */
function rawAnchor(statement: () => SqliteStatement, index: number): RawAnchor | undefined {
  let row: unknown;
  try {
    row = statement().get(index);
  } catch {
    return undefined;
  }
  return row === undefined ? undefined : { note: bytesOf(row, "note") ?? null, proof: bytesOf(row, "proof") ?? null };
}

interface RawPage {
  readonly rows: RawEntry[];
  /** Index at which the next page begins. */
  readonly next: number;
}

const COLUMNS = ["entry", "body", "salts"] as const;
const RANGE = "FROM entries WHERE idx >= ? AND idx < ?";
const SEEK = `SELECT min(idx) AS idx FROM entries WHERE idx >= ? AND idx <= ${INDEX_MAX}`;
const SIZE = COLUMNS.map((column) => `ifnull(octet_length(${column}), 0)`).join(" + ");
/** STRICT tables keep types apart, but not against somebody who edits the file. */
const MISFIT =
  "(typeof(entry) <> 'text' OR typeof(body) NOT IN ('text', 'null') OR typeof(salts) NOT IN ('blob', 'null'))";
/** A row as it should be, and small enough for a page of such rows; the usual type comes first, because it ends the question. */
const ORDINARY = `typeof(entry) = 'text' AND (typeof(body) = 'text' OR body IS NULL) AND (typeof(salts) = 'blob' OR salts IS NULL) AND ${SIZE} <= ${PAGE_BYTES / PAGE_ROWS}`;
/** `index,length,length,length,` of a row, an empty number for NULL, and then its bytes. */
const PACKED = [
  "idx || ','",
  ...COLUMNS.map((column) => `ifnull(octet_length(${column}), '') || ','`),
  ...COLUMNS.map((column) => `ifnull(${column}, '')`),
].join(" || ");

/**
 * Reads a page of ordinary rows as one blob: creating a JavaScript value for every column costs more than everything else (measured:
 * 350,000 rows a second with a blob a column, 1,600,000 so). In a UTF-8 database neither joining TEXT and BLOB nor a cast between
 * them changes a byte, whether it is valid UTF-8 or not. A page in which a row is missing or not ordinary is read row by row, and so
 * is one of which the rows do not stand in order, as in a file that was edited: look-ups would not find them.
 */
function rawPageReader(db: SqliteDatabase): (first: number, end: number) => RawPage {
  const seek = db.prepare(SEEK);
  const packed = db.prepare(
    `SELECT count(*) AS count, CAST(group_concat(${PACKED}, '') AS BLOB) AS bytes ${RANGE} AND ${ORDINARY}`,
  );
  const weigh = db.prepare(`SELECT sum(${SIZE}) AS bytes ${RANGE}`);
  const single = db.prepare(
    `SELECT idx, ${COLUMNS.map((column) => `CAST(${column} AS BLOB) AS ${column}`).join(", ")}, ${MISFIT} AS misfit ${RANGE} ORDER BY idx`,
  );
  const readDisclosures = rawDisclosureReader(db);
  return (first, end) => {
    const from = (seek.get(first) as { readonly idx: number | null }).idx ?? end;
    if (from >= end) return { rows: [], next: end };
    let to = Math.min(end, from + PAGE_ROWS);
    const { count, bytes } = packed.get(from, to) as PackedPage;
    if (count === to - from && bytes !== null) {
      const rows = unpack(bytes, from, count, readDisclosures(from, to));
      if (rows !== undefined) return { rows, next: to };
    }
    while (to - from > 1 && (weigh.get(from, to) as { readonly bytes: number }).bytes > PAGE_BYTES)
      to = from + ((to - from) >>> 1);
    const disclosures = readDisclosures(from, to);
    return { rows: (single.all(from, to) as SingleRow[]).map((row) => rawOf(row, disclosures)), next: to };
  };
}

interface PackedPage {
  readonly count: number;
  readonly bytes: Uint8Array | null;
}

interface SingleRow {
  readonly misfit: number;
  readonly idx: number;
  readonly entry: Uint8Array | null;
  readonly body: Uint8Array | null;
  readonly salts: Uint8Array | null;
}

function rawOf(
  { idx, entry, body, salts, misfit }: SingleRow,
  disclosures: ReadonlyMap<number, Uint8Array> | undefined,
): RawEntry {
  const plain = (bytes: Uint8Array | null): Uint8Array | null => bytes && plainBytes(bytes);
  return {
    index: idx,
    entry: plain(entry),
    body: plain(body),
    salts: plain(salts),
    disclosure: disclosures?.get(idx) ?? null,
    ...(misfit === 0 ? {} : { misfit: true }),
  };
}

/**
 * Cuts a page into the values of `count` rows from `first` on; undefined if it holds other rows, or is not exactly as long as its
 * lengths say.
 */
function unpack(
  page: Uint8Array,
  first: number,
  count: number,
  disclosures: ReadonlyMap<number, Uint8Array> | undefined,
): RawEntry[] | undefined {
  const { buffer, byteOffset, length: size } = page;
  const rows: RawEntry[] = [];
  let at = 0;
  /** The number before the next comma; -1 where none stands there. */
  const readNumber = (): number => {
    let length = page[at] === COMMA ? -1 : 0;
    for (; at < size && page[at] !== COMMA; at++) length = length * 10 + page[at]! - 0x30;
    at += 1;
    return length;
  };
  const take = (length: number): Uint8Array | null => {
    if (length < 0) return null;
    at += length;
    return at > size ? null : new Uint8Array(buffer, byteOffset + at - length, length);
  };
  for (let index = first; index < first + count; index++) {
    if (readNumber() !== index) return undefined;
    const [entry, body, salts] = [readNumber(), readNumber(), readNumber()];
    rows.push({
      index,
      entry: take(entry),
      body: take(body),
      salts: take(salts),
      disclosure: disclosures?.get(index) ?? null,
    });
  }
  return at === size ? rows : undefined;
}

const COMMA = 0x2c;

/** Disclosures of a range of entries; undefined, without a query, while the view has none at all. */
function rawDisclosureReader(db: SqliteDatabase): (first: number, end: number) => Map<number, Uint8Array> | undefined {
  let any: boolean;
  try {
    any = db.prepare("SELECT 1 FROM disclosures WHERE disclosure IS NOT NULL LIMIT 1").get() !== undefined;
  } catch {
    // A dropped table is an anomaly of `sideTables`; the entries can still be read.
    any = false;
  }
  if (!any) return () => undefined;
  const range = db.prepare(
    "SELECT idx, CAST(disclosure AS BLOB) AS disclosure FROM disclosures WHERE disclosure IS NOT NULL AND idx >= ? AND idx < ?",
  );
  return (first, end) =>
    new Map(
      (range.all(first, end) as { readonly idx: number; readonly disclosure: Uint8Array }[]).map(
        ({ idx, disclosure }) => [idx, plainBytes(disclosure)],
      ),
    );
}
