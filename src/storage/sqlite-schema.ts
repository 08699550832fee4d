import type { SqliteDatabase } from "./sqlite-driver.ts";

/** "TSlg": marks the file as a ledger in its header (offset 68). */
export const APPLICATION_ID = 0x54_53_6c_67;
/** Number of this schema, in the header (offset 60). A larger one is refused with `newer-format`. */
export const SCHEMA_VERSION = 1;

/** Largest index that an entry can have: `size` must be a safe integer. */
export const INDEX_MAX: number = Number.MAX_SAFE_INTEGER - 1;

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
  readonly index?: string;
  /** Rebuilt from the entries by `rebuildDerived`. */
  readonly derived: boolean;
  /** Body of `BEFORE UPDATE` and `BEFORE DELETE` guards: the WHEN clause, "" for always, undefined for no guard. */
  readonly refuseUpdate?: string;
  readonly refuseDelete?: string;
}

/**
 * Guards stop mistakes, not people: what is changed all the same shows in verification. `INSERT OR REPLACE` passes them,
 * because a guard on INSERT would cost four tenths of the speed of appending (measured).
 */
const ENTRY_UNLESS_ERASURE =
  " WHEN NEW.idx IS NOT OLD.idx OR NEW.entry IS NOT OLD.entry OR NEW.body IS NOT NULL OR NEW.salts IS NOT NULL";
const DISCLOSURE_UNLESS_ERASURE = " WHEN NEW.id IS NOT OLD.id OR NEW.idx IS NOT OLD.idx OR NEW.disclosure IS NOT NULL";

/**
 * What may have to be erased stands only where rows are added at the end and later at most shrink: SQLite then never moves
 * a cell to another page. When it moves one it leaves a copy in the unused part of the old page, which `secure_delete`
 * does not reach (measured: for 1 id in 2,000). Hence the disclosures and filters that follow an erasure are new rows, the old
 * ones are blanked in place, and the index of ids, which grows in the middle, holds digests instead of ids.
 */
const TABLES: readonly Table[] = [
  {
    name: "entries",
    sql: "CREATE TABLE entries(idx INTEGER PRIMARY KEY, entry TEXT NOT NULL, body TEXT, salts BLOB) STRICT",
    derived: false,
    refuseUpdate: ENTRY_UNLESS_ERASURE,
    refuseDelete: "",
  },
  {
    name: "disclosures",
    sql: "CREATE TABLE disclosures(id INTEGER PRIMARY KEY, idx INTEGER NOT NULL, disclosure TEXT) STRICT",
    index: "CREATE UNIQUE INDEX disclosures_by_entry ON disclosures(idx) WHERE disclosure IS NOT NULL",
    derived: false,
    refuseUpdate: DISCLOSURE_UNLESS_ERASURE,
    refuseDelete: "",
  },
  {
    name: "tiles",
    sql: "CREATE TABLE tiles(id INTEGER PRIMARY KEY, hashes BLOB NOT NULL) STRICT",
    derived: true,
    refuseUpdate: "",
    refuseDelete: "",
  },
  {
    name: "filters",
    sql: "CREATE TABLE filters(id INTEGER PRIMARY KEY, block INTEGER NOT NULL, bits BLOB) STRICT",
    index: "CREATE UNIQUE INDEX filters_by_block ON filters(block) WHERE bits IS NOT NULL",
    derived: true,
  },
  {
    name: "ids",
    sql: "CREATE TABLE ids(digest BLOB PRIMARY KEY, idx INTEGER NOT NULL) STRICT, WITHOUT ROWID",
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
  {
    name: "cosigned",
    sql: "CREATE TABLE cosigned(size INTEGER PRIMARY KEY, note TEXT NOT NULL) STRICT",
    derived: false,
    refuseDelete: "",
  },
  {
    name: "anchors",
    sql: "CREATE TABLE anchors(idx INTEGER PRIMARY KEY, note BLOB NOT NULL, proof BLOB NOT NULL) STRICT",
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
  ...TABLES.flatMap(({ name, index }) =>
    index === undefined ? [] : [{ type: "index", name: indexName(index), table: name, sql: index }],
  ),
  { type: "index", name: "sqlite_autoindex_erased_ids_1", table: "erased_ids", sql: null },
  ...TRIGGERS,
];

/** `CREATE UNIQUE INDEX name ON …` */
function indexName(sql: string): string {
  return sql.split(" ")[3] as string;
}

/** Creates every table and guard in an empty database, inside the caller's transaction. */
export function createSchema(db: SqliteDatabase): void {
  db.exec(`PRAGMA application_id=${APPLICATION_ID}; PRAGMA user_version=${SCHEMA_VERSION}`);
  for (const table of TABLES) createTable(db, table);
  for (const { sql } of TRIGGERS) db.exec(sql as string);
}

/** True for a database without a single table. */
export function isEmpty(db: SqliteDatabase): boolean {
  return readSchema(db).length === 0;
}

/**
 * The first half of a rebuild, inside a transaction: drops every trigger, whoever made it, and makes the derived tables
 * anew, empty. The other tables keep what they hold; one that somebody dropped is made empty, so that the ledger works again.
 */
export function resetDerived(db: SqliteDatabase): void {
  const found = new Map(readSchema(db).map((row) => [row.name, row]));
  const drop = (row: SchemaRow): unknown => db.exec(`DROP ${row.type.toUpperCase()} ${quote(row.name)}`);
  for (const row of found.values()) if (row.type === "trigger") drop(row);
  for (const table of TABLES) {
    const stored = found.get(table.name);
    if (stored === undefined || table.derived) {
      if (stored !== undefined) drop(stored);
      createTable(db, table);
    } else if (table.index !== undefined) {
      const index = found.get(indexName(table.index));
      if (index?.sql === table.index) continue;
      if (index !== undefined) drop(index);
      db.exec(table.index);
    }
  }
}

function createTable(db: SqliteDatabase, { sql, index }: Table): void {
  db.exec(sql);
  if (index !== undefined) db.exec(index);
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
