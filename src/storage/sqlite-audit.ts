import type { ErasedId, SideTables, StoredCheckpoint } from "../ledger/storage.ts";
import type { SqliteDatabase } from "./sqlite-driver.ts";
import { INDEX_MAX, schemaAnomalies, tileKey } from "./sqlite-schema.ts";
import { ID_DIGEST_BYTES, plainBytes } from "./sqlite-statements.ts";

/** Runs a query on the snapshot's connection. */
type Ask = <T>(read: (db: SqliteDatabase) => T) => T;

/**
 * Counts the side tables and names whatever is in the file and should not be. What the rows say is for verification to
 * judge; here it is about rows that no reader would ever be shown, and values of a type that readers take for another.
 */
export async function readSideTables(ask: Ask): Promise<SideTables> {
  const anomalies: string[] = ask(schemaAnomalies);
  const read = <T>(sql: string): T[] => {
    try {
      return ask((db) => db.prepare(sql).all()) as T[];
    } catch (error) {
      anomalies.push(`a table cannot be read: ${error instanceof Error ? error.message : String(error)}`);
      return [];
    }
  };
  const count = (from: string): number => read<{ readonly n: number }>(`SELECT count(*) AS n FROM ${from}`)[0]?.n ?? 0;
  const entries = auditEntries(read);
  const ids = await auditIds(read, entries.size);
  anomalies.push(...entries.anomalies, ...auditTables(count, entries.size), ...auditIndexes(read));
  if (ids.odd > 0) anomalies.push(`table ids: ${ids.odd} ids of no entry or of another type`);
  const encoding = read<{ readonly encoding: string }>("PRAGMA encoding")[0]?.encoding;
  if (encoding !== "UTF-8") anomalies.push(`text is stored as ${encoding}, expected UTF-8`);
  const blob = "typeof(digest) = 'blob' AND typeof(salt) = 'blob'";
  return {
    tiles: count("tiles"),
    filters: count("filters WHERE bits IS NOT NULL"),
    ids: ids.rows,
    controls: read<{ readonly idx: number }>("SELECT idx FROM controls ORDER BY idx").map(({ idx }) => idx),
    erasedIds: read<{ readonly idx: number; readonly digest: Uint8Array; readonly salt: Uint8Array }>(
      `SELECT idx, digest, salt FROM erased_ids WHERE ${blob} ORDER BY idx`,
    ).map(({ idx, digest, salt }): ErasedId => ({ index: idx, digest: plainBytes(digest), salt: plainBytes(salt) })),
    checkpoints: read<StoredCheckpoint>("SELECT size, note FROM checkpoints WHERE typeof(note) = 'text' ORDER BY size"),
    cosigned: read<StoredCheckpoint>("SELECT size, note FROM cosigned WHERE typeof(note) = 'text' ORDER BY size"),
    anchors: read<{ readonly idx: number }>("SELECT idx FROM anchors ORDER BY idx").map(({ idx }) => idx),
    purges: read<{ readonly erasure: number }>("SELECT erasure FROM purges ORDER BY erasure").map(
      ({ erasure }) => erasure,
    ),
    anomalies,
  };
}

type Read = <T>(sql: string) => T[];

/** Number of entries, and rows whose index no reader would ask for. Gaps and types are seen where the entries are read. */
function auditEntries(read: Read): { readonly size: number; readonly anomalies: string[] } {
  const [outside] = read<{ readonly n: number }>(
    `SELECT (SELECT count(*) FROM entries WHERE idx < 0) + (SELECT count(*) FROM entries WHERE idx > ${INDEX_MAX}) AS n`,
  );
  const [last] = read<{ readonly idx: number | null }>(
    `SELECT max(idx) AS idx FROM entries WHERE idx >= 0 AND idx <= ${INDEX_MAX}`,
  );
  const size = (last?.idx ?? -1) + 1;
  const count = outside?.n ?? 0;
  if (count === 0) return { size, anomalies: [] };
  return { size, anomalies: [`${count} entries have an index below 0 or above ${INDEX_MAX}`] };
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** Rows that no reader asks for, by table: the condition that every row must meet, given the number of entries. */
const EXPECTED_ROWS: readonly (readonly [table: string, condition: (size: number) => string, says: string])[] = [
  [
    "disclosures",
    (size) => `typeof(idx) = 'integer' AND idx >= 0 AND idx < ${size} AND typeof(disclosure) IN ('text', 'null')`,
    "disclosures of no entry or of another type",
  ],
  ["tiles", tileCondition, "tiles that a ledger of this size does not have, or of another size than 8,192 bytes"],
  [
    "filters",
    (size) =>
      `typeof(block) = 'integer' AND block >= 0 AND (block + 1) * 256 <= ${size} AND typeof(bits) IN ('blob', 'null')`,
    "filters of blocks that are not full, or of another type",
  ],
  [
    "erased_ids",
    (size) =>
      `idx >= 0 AND idx < ${size} AND typeof(digest) = 'blob' AND octet_length(digest) = 32 AND typeof(salt) = 'blob' AND octet_length(salt) = 16`,
    "erased ids of no entry or of another type",
  ],
  ["controls", (size) => `idx >= 0 AND idx < ${size}`, "control entries that do not exist"],
  ["checkpoints", () => "size > 0 AND typeof(note) = 'text'", "checkpoints of no size or of another type"],
  ["cosigned", () => "size > 0 AND typeof(note) = 'text'", "cosigned checkpoints of no size or of another type"],
  [
    "anchors",
    (size) => `idx >= 0 AND idx < ${size} AND typeof(note) = 'blob' AND typeof(proof) = 'blob'`,
    "anchors of no entry or of another type",
  ],
  ["purges", (size) => `erasure >= 0 AND erasure < ${size}`, "purges of erasures that do not exist"],
];

function tileCondition(size: number): string {
  const keys: string[] = [];
  for (let level = 0, width = 256; width <= size; level++, width *= 256) {
    keys.push(`(id >= ${tileKey(level, 0)} AND id < ${tileKey(level, Math.floor(size / width))})`);
  }
  return `(${keys.length === 0 ? "FALSE" : keys.join(" OR ")}) AND typeof(hashes) = 'blob' AND octet_length(hashes) = 8192`;
}

function auditTables(count: (from: string) => number, size: number): string[] {
  return EXPECTED_ROWS.flatMap(([table, condition, says]) => {
    const odd = count(`${table} WHERE NOT (${condition(size)})`);
    return odd === 0 ? [] : [`table ${table}: ${odd} ${says}`];
  });
}

/** Number of ids and of odd ones among them, by the first byte of their digests; what is no blob sorts before all. */
async function auditIds(read: Read, size: number): Promise<{ readonly rows: number; readonly odd: number }> {
  const total = { rows: 0, odd: 0 };
  for (let byte = 0; byte < 256; byte++) {
    const bound = (value: number): string => `x'${value.toString(16).padStart(2, "0")}'`;
    const range = [
      ...(byte > 0 ? [`digest >= ${bound(byte)}`] : []),
      ...(byte < 255 ? [`digest < ${bound(byte + 1)}`] : []),
    ].join(" AND ");
    const expected = `typeof(digest) = 'blob' AND octet_length(digest) = ${ID_DIGEST_BYTES} AND typeof(idx) = 'integer' AND idx >= 0 AND idx < ${size}`;
    const found = read<{ readonly rows: number; readonly odd: number | null }>(
      `SELECT count(*) AS rows, sum(NOT (${expected})) AS odd FROM ids WHERE ${range}`,
    )[0];
    if (found === undefined) break;
    total.rows += found.rows;
    total.odd += found.odd ?? 0;
    await turn();
  }
  return total;
}

/** An index that disagrees with its table would show a search something else than a scan. */
function auditIndexes(read: Read): string[] {
  return ["disclosures", "filters", "erased_ids"].flatMap((table) =>
    read<{ readonly integrity_check: string }>(`PRAGMA integrity_check(${table})`)
      .filter(({ integrity_check: found }) => found !== "ok")
      .map(({ integrity_check: found }) => `table ${table}: ${found}`),
  );
}
