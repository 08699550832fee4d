/**
 * The tables and settings of a Tallystick ledger that an append touches. Every fill compares them with the file that it
 * made, so that the bound cannot quietly become the bound of something else.
 */
export const SETTINGS = ["journal_mode = WAL", "synchronous = FULL", "secure_delete = ON"];

export const TABLES = {
  entries:
    "CREATE TABLE entries(idx INTEGER PRIMARY KEY, entry TEXT NOT NULL, body TEXT, salts BLOB, disclosure TEXT) STRICT",
  tiles: "CREATE TABLE tiles(id INTEGER PRIMARY KEY, hashes BLOB NOT NULL) STRICT",
  filters: "CREATE TABLE filters(block INTEGER PRIMARY KEY, bits BLOB NOT NULL) STRICT",
};

/** Throws unless the ledger in `database` has these tables, and no index or insert trigger on them. */
export function assertSameSchema(database) {
  const stored = database.prepare("SELECT type, name, tbl_name AS owner, sql FROM sqlite_schema").all();
  for (const [name, sql] of Object.entries(TABLES)) {
    const found = stored.find((row) => row.type === "table" && row.name === name)?.sql;
    if (found !== sql) throw new Error(`bench/lib/schema.mjs is out of date: expected ${sql}, the ledger has ${found}`);
    const extra = stored.find(
      (row) =>
        row.owner === name &&
        (row.type === "index" || (row.type === "trigger" && /BEFORE INSERT|AFTER INSERT/i.test(row.sql))),
    );
    if (extra) throw new Error(`bench/lib/schema.mjs is out of date: the ledger has ${extra.type} ${extra.name}`);
  }
}
