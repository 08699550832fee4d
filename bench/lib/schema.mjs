/**
 * The tables and settings of a Tallystick ledger that an append touches. Every fill compares them with the file that it
 * made, and a run in which they differ says so, so that the bound cannot quietly become the bound of something else.
 */
export const SETTINGS = ["journal_mode = WAL", "synchronous = FULL", "secure_delete = ON"];

export const OBJECTS = {
  entries: "CREATE TABLE entries(idx INTEGER PRIMARY KEY, entry TEXT NOT NULL, body TEXT, salts BLOB) STRICT",
  tiles: "CREATE TABLE tiles(id INTEGER PRIMARY KEY, hashes BLOB NOT NULL) STRICT",
  filters: "CREATE TABLE filters(id INTEGER PRIMARY KEY, block INTEGER NOT NULL, bits BLOB) STRICT",
  filters_by_block: "CREATE UNIQUE INDEX filters_by_block ON filters(block) WHERE bits IS NOT NULL",
};

/** One sentence if the ledger in `database` has other tables than these, or another index or an insert trigger on them. */
export function schemaDifference(database) {
  const stored = database.prepare("SELECT type, name, tbl_name AS owner, sql FROM sqlite_schema").all();
  for (const [name, sql] of Object.entries(OBJECTS)) {
    const found = stored.find((row) => row.name === name)?.sql;
    if (found !== sql) return `bench/lib/schema.mjs is out of date: it has ${sql}, the ledger ${found}`;
  }
  const extra = stored.find(
    (row) =>
      row.owner in OBJECTS &&
      !(row.name in OBJECTS) &&
      (row.type === "index" || (row.type === "trigger" && /(BEFORE|AFTER) INSERT/i.test(row.sql ?? ""))),
  );
  return extra && `bench/lib/schema.mjs is out of date: the ledger has ${extra.type} ${extra.name}`;
}
