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
/** `index,bytes,bytes,bytes` of every row, an empty number for NULL, and then the bytes themselves. */
const LENGTHS = COLUMNS.map((column) => `ifnull(octet_length(${column}), '')`).join(" || ',' || ");
const BYTES = COLUMNS.map((column) => `ifnull(CAST(${column} AS TEXT), '')`).join(" || ");
const RANGE = "FROM entries WHERE idx >= ? AND idx < ?";
const SEEK = `SELECT min(idx) AS idx FROM entries WHERE idx >= ? AND idx <= ${INDEX_MAX}`;
/** STRICT tables keep types apart, but not against somebody who edits the file. */
const MISFIT =
  "(typeof(entry) <> 'text' OR typeof(body) NOT IN ('text', 'null') OR typeof(salts) NOT IN ('blob', 'null'))";

/**
 * Reads a page as one text of lengths and one blob of all bytes: creating a JavaScript value for every column costs more than
 * everything else (measured: 350,000 rows a second with a blob a column, 1,300,000 so). In a UTF-8 database a cast
 * between TEXT and BLOB changes no byte, whether it is valid UTF-8 or not.
 */
function rawPageReader(db: SqliteDatabase): (first: number, end: number) => RawPage {
  const seek = db.prepare(SEEK);
  const weigh = db.prepare(
    `SELECT sum(${COLUMNS.map((column) => `ifnull(octet_length(${column}), 0)`).join(" + ")}) AS bytes ${RANGE}`,
  );
  const packed = db.prepare(
    `SELECT group_concat(idx || ',' || ${LENGTHS}) AS lengths, CAST(group_concat(${BYTES}, '') AS BLOB) AS bytes, max(${MISFIT}) AS misfit ${RANGE}`,
  );
  const single = db.prepare(
    `SELECT idx, ${COLUMNS.map((column) => `CAST(${column} AS BLOB) AS ${column}`).join(", ")}, ${MISFIT} AS misfit ${RANGE} ORDER BY idx`,
  );
  const readDisclosures = rawDisclosureReader(db);
  return (first, end) => {
    const from = (seek.get(first) as { readonly idx: number | null }).idx ?? end;
    if (from >= end) return { rows: [], next: end };
    let to = Math.min(end, from + PAGE_ROWS);
    while (to - from > 1 && (weigh.get(from, to) as { readonly bytes: number }).bytes > PAGE_BYTES)
      to = from + ((to - from) >>> 1);
    const disclosures = readDisclosures(from, to);
    const page = packed.get(from, to) as PackedPage;
    // Values of another type than the column's can differ in length from their text: those rows are read one by one.
    const rows = page.misfit === 0 ? unpack(page.lengths, page.bytes ?? new Uint8Array(), disclosures) : undefined;
    return { rows: rows ?? (single.all(from, to) as SingleRow[]).map((row) => rawOf(row, disclosures)), next: to };
  };
}

interface PackedPage {
  readonly lengths: string;
  readonly bytes: Uint8Array | null;
  readonly misfit: number;
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

/** Cuts the bytes of a page into its values; undefined if they are not exactly as long as the lengths say. */
function unpack(
  lengths: string,
  bytes: Uint8Array,
  disclosures: ReadonlyMap<number, Uint8Array> | undefined,
): RawEntry[] | undefined {
  const { buffer, byteOffset } = bytes;
  const numbers = lengths.split(",");
  const rows: RawEntry[] = [];
  let offset = 0;
  const take = (length: string | undefined): Uint8Array | null => {
    if (length === undefined || length === "") return null;
    const start = offset;
    offset += Number(length);
    return offset > bytes.length ? null : new Uint8Array(buffer, byteOffset + start, offset - start);
  };
  for (let i = 0; i < numbers.length; i += 1 + COLUMNS.length) {
    const index = Number(numbers[i]);
    const entry = take(numbers[i + 1]);
    const body = take(numbers[i + 2]);
    const salts = take(numbers[i + 3]);
    rows.push({ index, entry, body, salts, disclosure: disclosures?.get(index) ?? null });
  }
  return offset === bytes.length ? rows : undefined;
}

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
