import type { SqliteDatabase } from "./sqlite-driver.ts";

/** "TSlg": marks the file as a ledger in its header (offset 68). */
export const APPLICATION_ID = 0x54_53_6c_67;
/** Number of this schema, in the header (offset 60). A larger one is refused with `newer-format`. */
export const SCHEMA_VERSION = 1;

/** A tile's key is `level * 2^40 + index`: levels 0..6 hold every ledger of less than 2^53 entries. */
const TILE_LEVEL_FACTOR = 2 ** 40;

export function tileKey(level: number, index: number): number {
  return level * TILE_LEVEL_FACTOR + index;
}

interface SchemaRow {
  readonly type: string;
  readonly name: string;
  readonly table: string;
  readonly sql: string | null;
}

interface Table {
  readonly name: string;
  readonly sql: string;
  /** Rebuilt from the entries by `rebuildDerived`. */
  readonly derived: boolean;
  /** Body of `BEFORE UPDATE` and `BEFORE DELETE` guards: the WHEN clause, "" for always, undefined for no guard. */
  readonly refuseUpdate?: string;
  readonly refuseDelete?: string;
}

/** The erasure: body and salts go, disclosure may come; what the leaf hash covers stays. */
const UNLESS_ERASURE =
  " WHEN NEW.idx IS NOT OLD.idx OR NEW.entry IS NOT OLD.entry OR NEW.body IS NOT NULL OR NEW.salts IS NOT NULL" +
  " OR (NEW.disclosure IS NOT NULL AND OLD.body IS NULL AND OLD.disclosure IS NULL)";

const TABLES: readonly Table[] = [
  {
    name: "entries",
    sql: "CREATE TABLE entries(idx INTEGER PRIMARY KEY, entry TEXT NOT NULL, body TEXT, salts BLOB, disclosure TEXT) STRICT",
    derived: false,
    refuseUpdate: UNLESS_ERASURE,
    refuseDelete: "",
  },
  {
    name: "tiles",
    sql: "CREATE TABLE tiles(id INTEGER PRIMARY KEY, hashes BLOB NOT NULL) STRICT",
    derived: true,
    refuseUpdate: "",
    refuseDelete: "",
  },
  { name: "filters", sql: "CREATE TABLE filters(block INTEGER PRIMARY KEY, bits BLOB NOT NULL) STRICT", derived: true },
  {
    name: "ids",
    sql: "CREATE TABLE ids(id TEXT PRIMARY KEY, idx INTEGER NOT NULL) STRICT, WITHOUT ROWID",
    derived: true,
  },
  {
    name: "erased_ids",
    sql: "CREATE TABLE erased_ids(idx INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, salt BLOB NOT NULL) STRICT",
    derived: false,
    refuseUpdate: "",
    refuseDelete: "",
  },
  {
    name: "controls",
    sql: "CREATE TABLE controls(idx INTEGER PRIMARY KEY) STRICT",
    derived: true,
    refuseUpdate: "",
    refuseDelete: "",
  },
  {
    name: "checkpoints",
    sql: "CREATE TABLE checkpoints(size INTEGER PRIMARY KEY, note TEXT NOT NULL) STRICT",
    derived: false,
    refuseUpdate: "",
    refuseDelete: "",
  },
  { name: "purges", sql: "CREATE TABLE purges(erasure INTEGER PRIMARY KEY) STRICT", derived: false },
];

function triggersOf(table: Table): SchemaRow[] {
  const guards: readonly (readonly [string, string | undefined])[] = [
    ["UPDATE", table.refuseUpdate],
    ["DELETE", table.refuseDelete],
  ];
  return guards.flatMap(([verb, when]) => {
    if (when === undefined) return [];
    const name = `${table.name}_refuse_${verb.toLowerCase()}`;
    const message = `${table.name} of a ledger cannot be changed`;
    const sql = `CREATE TRIGGER ${name} BEFORE ${verb} ON ${table.name}${when} BEGIN SELECT RAISE(ABORT, '${message}'); END`;
    return [{ type: "trigger", name, table: table.name, sql }];
  });
}

const TRIGGERS: readonly SchemaRow[] = TABLES.flatMap(triggersOf);

const EXPECTED: readonly SchemaRow[] = [
  ...TABLES.map(({ name, sql }) => ({ type: "table", name, table: name, sql })),
  { type: "index", name: "sqlite_autoindex_erased_ids_1", table: "erased_ids", sql: null },
  ...TRIGGERS,
];

/** Creates every table and guard in an empty database, inside the caller's transaction. */
export function createSchema(db: SqliteDatabase): void {
  db.exec(`PRAGMA application_id=${APPLICATION_ID}; PRAGMA user_version=${SCHEMA_VERSION}`);
  for (const { sql } of TABLES) db.exec(sql);
  for (const { sql } of TRIGGERS) db.exec(sql as string);
}

/** Makes the derived tables anew, empty, and drops every trigger: the first half of a rebuild. Inside a transaction. */
export function resetDerived(db: SqliteDatabase): void {
  for (const row of readSchema(db)) if (row.type === "trigger") db.exec(`DROP TRIGGER ${quote(row.name)}`);
  for (const table of TABLES) {
    if (!table.derived) continue;
    const found = readSchema(db).find(
      (row) => row.name === table.name && (row.type === "table" || row.type === "view"),
    );
    if (found !== undefined) db.exec(`DROP ${found.type.toUpperCase()} ${quote(table.name)}`);
    db.exec(table.sql);
  }
}

/** Sets up the guard triggers: the second half of a rebuild. */
export function createGuards(db: SqliteDatabase): void {
  for (const { sql } of TRIGGERS) db.exec(sql as string);
}

/** One sentence per difference between the stored schema and the one of this version. */
export function schemaAnomalies(db: SqliteDatabase): string[] {
  const found = new Map(readSchema(db).map((row) => [`${row.type} ${row.name}`, row]));
  const anomalies: string[] = [];
  for (const row of EXPECTED) {
    const key = `${row.type} ${row.name}`;
    const stored = found.get(key);
    found.delete(key);
    if (stored === undefined) anomalies.push(`the ${key} is missing`);
    else if (stored.sql !== row.sql || stored.table !== row.table)
      anomalies.push(`the definition of ${key} was altered`);
  }
  for (const key of found.keys()) anomalies.push(`the ${key} does not belong to a ledger`);
  return anomalies;
}

function readSchema(db: SqliteDatabase): SchemaRow[] {
  return db.prepare('SELECT type, name, tbl_name AS "table", sql FROM sqlite_schema').all() as SchemaRow[];
}

function quote(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
