import { constants, copyFileSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { FINDING_CODES } from "../../src/core/report.ts";
import { reindex } from "../../src/open.ts";
import type { SqliteDatabase, SqliteValue } from "../../src/storage/sqlite-driver.ts";
import { codeOf, copyPlace, driver, openAt, tamper, verifyAt } from "./place.ts";
import { buildRichLedger, type Rich } from "./rich-ledger.ts";
import { OTHER_KEY } from "./world.ts";

/**
 * Every column of every table is changed in every way, with the guards and the types of the tables out of the way, as somebody
 * with the file can. The tables are read from the schema, so that a new one cannot be forgotten here.
 */
let rich: Rich;
let loose: string;
let tables: readonly Table[];
let folder: string;
let count = 0;

interface Table {
  readonly name: string;
  readonly columns: readonly { readonly name: string; readonly type: string; readonly pk: number }[];
  readonly rows: readonly Row[];
}

type Row = Readonly<Record<string, SqliteValue>>;

interface Mutation {
  readonly name: string;
  readonly apply: (db: SqliteDatabase) => void;
}

beforeAll(async () => {
  rich = await buildRichLedger();
  folder = join(rich.place.folder, "copies");
  mkdirSync(folder);
  const db = connect(rich.place.path);
  tables = readTables(db);
  db.close();
  // Once and for all: the same rows in tables that take any value.
  loose = join(folder, "loose.db");
  copyFileSync(rich.place.path, loose);
  loosen(loose);
});

function connect(path: string): SqliteDatabase {
  const db = new driver(path, { readonly: false, fileMustExist: true, timeout: 5_000 });
  (db as unknown as { unsafeMode(on: boolean): void }).unsafeMode(true);
  db.exec("PRAGMA synchronous = OFF");
  return db;
}

function readTables(db: SqliteDatabase): Table[] {
  const names = db.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name").all() as {
    readonly name: string;
  }[];
  return names.map(({ name }) => ({
    name,
    columns: db.prepare(`SELECT name, type, pk FROM pragma_table_info('${name}')`).all() as Table["columns"],
    rows: db.prepare(`SELECT * FROM ${name}`).all() as Row[],
  }));
}

/** Takes types and constraints out of the stored schema, and drops the guards. What was there is kept in a table of its own. */
function loosen(path: string): void {
  const db = connect(path);
  db.exec("PRAGMA writable_schema = ON");
  db.exec("CREATE TEMP TABLE original AS SELECT rowid AS id, name, sql FROM sqlite_schema");
  const schema = db.prepare("SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL").all() as {
    readonly type: string;
    readonly name: string;
    readonly sql: string;
  }[];
  for (const { type, name, sql } of schema) {
    if (type === "trigger") db.exec(`DROP TRIGGER ${name}`);
    if (type !== "table") continue;
    const without = sql
      .replaceAll(" NOT NULL", "")
      .replaceAll(/ (TEXT|BLOB)/g, "")
      .replaceAll(/ INTEGER(?! PRIMARY)/g, "")
      .replace(") STRICT, WITHOUT", ") WITHOUT")
      .replace(") STRICT", ")");
    db.prepare("UPDATE sqlite_schema SET sql = ? WHERE type = 'table' AND name = ?").run(without, name);
  }
  db.close();
  strict.push(...schema);
}

const strict: { readonly type: string; readonly name: string; readonly sql: string }[] = [];

/** The mutated file, with the schema as it should be: what stands in the rows is all that is wrong. Null if nothing changed. */
function mutated(mutation: Mutation): string | null {
  const path = join(folder, `${++count}.db`);
  copyFileSync(loose, path, constants.COPYFILE_FICLONE);
  const db = connect(path);
  mutation.apply(db);
  const { changes } = db.prepare("SELECT total_changes() AS changes").get() as { readonly changes: number };
  if (changes === 0 && mutation.name !== "nothing") {
    db.close();
    return null;
  }
  db.exec("PRAGMA writable_schema = ON");
  for (const { type, name, sql } of strict) {
    if (type === "table")
      db.prepare("UPDATE sqlite_schema SET sql = ? WHERE type = 'table' AND name = ?").run(sql, name);
    if (type === "trigger") db.exec(sql);
  }
  db.close();
  return path;
}

type Outcome =
  | "finding"
  | "evidence missing"
  | "reindexed"
  | "pending, then gone"
  | `error ${string}`
  | `UNNOTICED`
  | `NOT MENDED ${string}`;

async function outcomeOf(path: string): Promise<Outcome> {
  let before: Awaited<ReturnType<typeof verifyAt>>;
  try {
    before = await verifyAt(path, { policy: rich.policy, expect: rich.last });
  } catch (error) {
    return `error ${await codeOf(Promise.reject(error))}`;
  }
  const { report, exit } = before;
  if (!report.ok) {
    const failing = report.findings.filter(({ code }) => FINDING_CODES[code] !== null);
    return exit === 1 && failing.length > 0 ? "finding" : "UNNOTICED";
  }
  if (report.needsReindex) {
    const refusal = await codeOf(reindex(path, { driver }));
    if (refusal !== undefined) return `NOT MENDED ${refusal}`;
    const after = await verifyAt(path, { policy: rich.policy, expect: rich.last });
    return after.exit === 0 && after.found.length === 0 ? "reindexed" : `NOT MENDED ${after.codes.join()}`;
  }
  if (exit === 4) return "evidence missing";
  if (exit === 3) {
    await (await openAt({ ...rich.place, path }, { signer: OTHER_KEY })).close();
    const after = await verifyAt(path, { policy: rich.policy, expect: rich.last });
    if (after.exit === 0 && after.found.length === 0) return "pending, then gone";
  }
  return "UNNOTICED";
}

/** Up to `most` rows, the first and the last among them; and for the entries one of each kind. */
function sample(table: Table, most: number): readonly Row[] {
  if (table.name === "entries") return [...new Set(Object.values(rich.at))].map((index) => table.rows[index] as Row);
  if (table.rows.length <= 12) return table.rows;
  return Array.from(
    { length: most },
    (_, i) => table.rows[Math.floor((i * (table.rows.length - 1)) / (most - 1))] as Row,
  );
}

function where(row: Row): { readonly sql: string; readonly values: readonly SqliteValue[] } {
  return {
    sql: Object.keys(row)
      .map((name) => `${name} IS ?`)
      .join(" AND "),
    values: Object.values(row),
  };
}

function describeRow(table: Table, row: Row): string {
  const key = table.columns.find(({ pk }) => pk === 1)?.name ?? table.columns[0]?.name ?? "";
  const value = row[key];
  return `${table.name}[${value instanceof Uint8Array ? `${Buffer.from(value).toString("hex").slice(0, 8)}…` : value}]`;
}

function otherValues(value: SqliteValue): readonly (readonly [name: string, value: SqliteValue, cast?: string])[] {
  if (value === null)
    return [
      ["text", "x"],
      ["bytes", Buffer.alloc(16, 7)],
      ["0", 0],
    ];
  if (typeof value === "number")
    return [
      ["plus 1", value + 1],
      ["minus 1", value - 1],
      ["plus 1000", value + 1_000],
      ["negative", -value - 1],
      ["beyond what a number holds", value, "9223372036854775807"],
      ["NULL", null],
      ["as text", `x${value}`],
      ["as bytes", Buffer.from([value & 255])],
      ["a fraction", value + 0.5],
    ];
  if (typeof value === "string")
    return [
      ["first character", `${value.startsWith("{") ? "[" : "X"}${value.slice(1)}`],
      ["last character", `${value.slice(0, -1)}X`],
      ["in the middle", changeMiddle(value)],
      ["a space after it", `${value} `],
      ["a line after it", `${value}\n`],
      ["NUL after it", value, "CAST(? || char(0) AS TEXT)"],
      ["half of it", value.slice(0, value.length >>> 1)],
      ["empty", ""],
      ["NULL", null],
      ["as bytes", Buffer.from(value)],
      ["a number", 7],
      ["bytes that are no UTF-8", Buffer.from([...Buffer.from(value), 0xff]), "CAST(? AS TEXT)"],
    ];
  const bytes = Buffer.from(value);
  const flip = (at: number): Buffer => {
    const copy = Buffer.from(bytes);
    copy[at] = (copy[at] ?? 0) ^ 1;
    return copy;
  };
  return [
    ["first bit", flip(0)],
    ["last bit", flip(bytes.length - 1)],
    ["a byte more", Buffer.concat([bytes, Buffer.from([0])])],
    ["a byte less", bytes.subarray(0, -1)],
    ["empty", Buffer.alloc(0)],
    ["zeros", Buffer.alloc(bytes.length)],
    ["NULL", null],
    ["as text", bytes, "CAST(? AS TEXT)"],
    ["a number", 7],
  ];
}

function changeMiddle(value: string): string {
  const at = value.length >>> 1;
  const old = value[at] ?? "";
  return `${value.slice(0, at)}${old === "a" ? "b" : "a"}${value.slice(at + 1)}`;
}

function columnMutations(table: Table, most: number): Mutation[] {
  return sample(table, most).flatMap((row) => {
    const at = where(row);
    return table.columns.flatMap(({ name: column, pk }) =>
      otherValues(row[column] ?? null).flatMap(([how, value, cast]): Mutation[] => {
        // An INTEGER PRIMARY KEY is the row number itself: it has no other type, whoever writes the file.
        const isRowNumber = pk === 1 && table.name !== "ids";
        if (pk === 1 && value === null) return [];
        if (isRowNumber && (value === null || typeof value !== "number" || !Number.isInteger(value))) return [];
        return [
          {
            name: `${describeRow(table, row)}.${column}: ${how}`,
            apply: (db) => {
              const set = db.prepare(`UPDATE OR REPLACE ${table.name} SET ${column} = ${cast ?? "?"} WHERE ${at.sql}`);
              if (cast !== undefined && !cast.includes("?")) set.run(...at.values);
              else set.run(value, ...at.values);
            },
          },
        ];
      }),
    );
  });
}

function rowMutations(table: Table, most: number): Mutation[] {
  const rows = sample(table, most);
  const key = table.columns.find(({ pk }) => pk === 1)?.name ?? "";
  const others = table.columns.filter(({ pk }) => pk === 0).map(({ name }) => name);
  const deletions = rows.map((row): Mutation => {
    const at = where(row);
    return {
      name: `${describeRow(table, row)}: deleted`,
      apply: (db) => void db.prepare(`DELETE FROM ${table.name} WHERE ${at.sql}`).run(...at.values),
    };
  });
  const insertions = rows.flatMap((row) =>
    keysFor(table, row).map(
      ([how, value]): Mutation => ({
        name: `${describeRow(table, row)}: inserted again ${how}`,
        apply: (db) => {
          const copy = { ...row, [key]: value };
          const names = Object.keys(copy);
          db.prepare(
            `INSERT OR IGNORE INTO ${table.name}(${names.join(", ")}) VALUES (${names.map(() => "?").join(", ")})`,
          ).run(...Object.values(copy));
        },
      }),
    ),
  );
  const swaps = rows.slice(1).flatMap((row, i): Mutation[] => {
    const other = rows[i] as Row;
    if (others.length === 0) return [];
    const set = `UPDATE ${table.name} SET ${others.map((name) => `${name} = ?`).join(", ")} WHERE ${key} IS ?`;
    const values = (from: Row): SqliteValue[] => others.map((name) => from[name] ?? null);
    return [
      {
        name: `${describeRow(table, row)} and ${describeRow(table, other)}: swapped`,
        apply: (db) => {
          // Through a value that no row has: some columns are unique.
          db.prepare(set).run(...others.map((_, k) => Buffer.from([k])), row[key] ?? null);
          db.prepare(set).run(...values(row), other[key] ?? null);
          db.prepare(set).run(...values(other), row[key] ?? null);
        },
      },
    ];
  });
  const invented: Mutation = {
    name: `${table.name}: a row of nothing`,
    apply: (db) => {
      const names = table.columns.map(({ name }) => name);
      const values = names.map((name): SqliteValue => (name === key ? 77_777 : null));
      db.prepare(`INSERT INTO ${table.name}(${names.join(", ")}) VALUES (${names.map(() => "?").join(", ")})`).run(
        ...values,
      );
    },
  };
  const emptied: Mutation = { name: `${table.name}: emptied`, apply: (db) => db.exec(`DELETE FROM ${table.name}`) };
  return [...deletions, ...insertions, ...swaps, invented, ...(table.rows.length > 0 ? [emptied] : [])];
}

function keysFor(table: Table, row: Row): readonly (readonly [string, SqliteValue])[] {
  const key = table.columns.find(({ pk }) => pk === 1)?.name ?? "";
  const value = row[key];
  if (typeof value !== "number") return [["under another key", Buffer.alloc(16, 9)]];
  const last = Math.max(...table.rows.map((other) => Number(other[key])));
  return [
    ["after the last", last + 1],
    ["far away", 5_000_000],
    ["before the first", -1],
  ];
}

/** Outcome → names of the mutations that had it. */
async function runAll(mutations: readonly Mutation[]): Promise<Map<Outcome, string[]>> {
  const outcomes = new Map<Outcome, string[]>();
  for (const mutation of mutations) {
    const path = mutated(mutation);
    if (path === null) continue;
    const outcome = await outcomeOf(path);
    rmSync(path);
    outcomes.set(outcome, [...(outcomes.get(outcome) ?? []), mutation.name]);
  }
  return outcomes;
}

/** What need not be noticed, and why. The tests at the end hold each reason against the ledger. */
const EXCEPTIONS: readonly (readonly [pattern: RegExp, why: string])[] = [
  [/^(disclosures|filters)\[\d+\]\.id: /, "a number that SQLite needs and nobody reads"],
  [/^disclosures\[1\]: deleted/, "the row that a second erasure blanked: it holds nothing any more"],
  [
    /^filters(\[\d+\](\.bits: NULL|: deleted)|: emptied)/,
    "a filter that is not there: searches read the block, as before",
  ],
  [/^(checkpoints|cosigned)(\[\d+\]: deleted|: emptied)/, "a copy of what others hold: without it verify claims less"],
];

function unnoticed(outcomes: ReadonlyMap<Outcome, readonly string[]>): string[] {
  return [...outcomes].flatMap(([outcome, names]) =>
    /^(UNNOTICED|NOT MENDED)/.test(outcome)
      ? names
          .filter((name) => !EXCEPTIONS.some(([pattern]) => pattern.test(name)))
          .map((name) => `${name} → ${outcome}`)
      : [],
  );
}

describe("the ledger that is mutated", () => {
  it("has every kind of row, and verifies as it is, also through the loosened tables", async () => {
    expect(tables.map(({ name }) => name)).toEqual([
      "anchors",
      "checkpoints",
      "controls",
      "cosigned",
      "disclosures",
      "entries",
      "erased_ids",
      "filters",
      "ids",
      "purges",
      "tiles",
    ]);
    for (const { name, rows } of tables) if (name !== "purges") expect(rows.length, name).toBeGreaterThan(1);
    const nothing = mutated({ name: "nothing", apply: () => {} });
    expect(await verifyAt(nothing ?? "", { policy: rich.policy, expect: rich.last })).toMatchObject({
      exit: 0,
      found: [],
    });
  });
});

const NAMES = [
  "checkpoints",
  "controls",
  "cosigned",
  "disclosures",
  "entries",
  "erased_ids",
  "filters",
  "ids",
  "purges",
  "tiles",
];
describe.each(NAMES)("table %s", (name) => {
  it("no column can be changed unnoticed", { timeout: 120_000 }, async () => {
    const table = tables.find((one) => one.name === name)!;
    const outcomes = await runAll(columnMutations(table, 4));
    expect(unnoticed(outcomes)).toEqual([]);
  });

  it("no row can be deleted, inserted or swapped unnoticed", { timeout: 120_000 }, async () => {
    const table = tables.find((one) => one.name === name)!;
    const outcomes = await runAll(rowMutations(table, 4));
    expect(unnoticed(outcomes)).toEqual([]);
  });
});

describe("what need not be noticed", () => {
  const change = (name: string, sql: string): string => mutated({ name, apply: (db) => db.exec(sql) }) ?? "";
  const untouched = () => verifyAt(rich.place.path, { policy: rich.policy });

  it("row numbers and blanked rows: the report is the same to the letter", async () => {
    for (const sql of [
      "UPDATE disclosures SET id = id + 1000",
      "UPDATE filters SET id = id + 1000",
      "DELETE FROM disclosures WHERE disclosure IS NULL",
      "DELETE FROM filters WHERE bits IS NULL",
    ])
      expect((await verifyAt(change("unread", sql), { policy: rich.policy })).report).toEqual(
        (await untouched()).report,
      );
  });

  it("absent filters: a search finds the same", async () => {
    const search = async (path: string): Promise<number[]> => {
      const ledger = await openAt({ ...rich.place, path }, { readOnly: true });
      const found: number[] = [];
      for await (const { index } of ledger.query({ actor: "user-3" })) found.push(index);
      await ledger.close();
      return found;
    };
    const found = await search(change("no filters", "DELETE FROM filters"));
    expect(found).toEqual(await search(rich.place.path));
    expect(found.length).toBeGreaterThan(50);
  });

  it("absent checkpoints: verify claims less, and says so", async () => {
    const sizes = (tables.find(({ name }) => name === "checkpoints")?.rows ?? []).map(({ size }) => Number(size));
    const last = Math.max(...sizes);
    const older = sizes.filter((size) => size < last);
    const without = (which: string): string =>
      `DELETE FROM checkpoints WHERE size ${which}; DELETE FROM cosigned WHERE size ${which}`;
    // The newest: what it covered alone is not signed for.
    const cut = await verifyAt(change("newest", without(`= ${last}`)), { policy: rich.policy });
    expect(cut.exit).toBe(0);
    expect(cut.report.verdicts.authenticity.unchecked.join()).toMatch(
      /256 entries after the checkpoint of size \d+ not signed yet/,
    );
    // All of them: nothing is, and what the policy asks for is missing.
    const none = await verifyAt(change("all", without("> 0")), { policy: rich.policy });
    expect(none.exit).toBe(4);
    expect(none.report.verdicts.authenticity.status).toBe("notEstablished");
    // The cosignatures alone: the log has signed, and nobody else.
    const alone = await verifyAt(change("cosignatures", "DELETE FROM cosigned"), { policy: rich.policy });
    expect(alone).toMatchObject({ exit: 4, found: [], report: { requiredMissing: ["quorum"] } });
    // An older one: the newer ones say the same and more. Only where one alone vouches for a rotation is it missed.
    const outcomes = await Promise.all(
      older.map(async (size) => {
        const path = change(`older ${size}`, without(`= ${size}`));
        return (await verifyAt(path, { policy: rich.policy })).codes.join();
      }),
    );
    expect(new Set(outcomes)).toEqual(new Set(["", "checkpoint-signature"]));
  });

  it("an owner who opens the ledger gets the newest checkpoint back from the lock store", async () => {
    const path = change("all again", "DELETE FROM checkpoints");
    await (await openAt({ ...rich.place, path }, { signer: OTHER_KEY })).close();
    const db = connect(path);
    expect(db.prepare("SELECT note FROM checkpoints").all()).toEqual([{ note: rich.last }]);
    db.close();
  });
});

describe("damaged tiles are no fork", () => {
  const damage = (path: string): unknown =>
    tamper(path, (db) =>
      db.exec("UPDATE tiles SET hashes = CAST(zeroblob(32) || substr(hashes, 33) AS BLOB) WHERE id = 0"),
    );

  it.each([
    ["damaged", damage],
    ["gone", (path: string) => tamper(path, (db) => db.exec("DELETE FROM tiles WHERE id = 0"))],
  ])("%s: opening names what to do, and reindex does it without opening", async (_, harm) => {
    const place = copyPlace(rich.place);
    harm(place.path);
    await expect(openAt(place, { signer: OTHER_KEY })).rejects.toMatchObject({
      code: expect.stringMatching(/^(storage-corrupt|invariant-broken)$/),
      message: expect.stringContaining("reindex"),
    });
    expect(await reindex(place.path, { driver })).toMatchObject({
      entries: rich.at.last + 1,
      origin: expect.any(String),
    });
    const ledger = await openAt(place, { signer: OTHER_KEY });
    await ledger.append({ action: "day.opened" });
    await ledger.close();
    expect((await verifyAt(place.path, { policy: rich.policy, expect: rich.last })).found).toEqual([]);
  });

  it("under an open ledger: no proof leaves that leads elsewhere", async () => {
    const place = copyPlace(rich.place);
    const ledger = await openAt(place, { signer: OTHER_KEY });
    damage(place.path);
    for (const index of [1, 5, 100])
      await expect(ledger.prove(index)).rejects.toMatchObject({
        code: "storage-corrupt",
        message: expect.stringContaining("reindex"),
      });
    // Proofs that do not lead through it, and the root of the tree, which the edge knows, are right.
    expect(await ledger.prove(300)).toContain("tallystick/receipt/v1");
    await ledger.append({ action: "day.opened" });
    await ledger.checkpoint();
    // It is derived data: rebuilt, everything goes on.
    await ledger.reindex();
    expect(await ledger.prove(5)).toContain("tallystick/receipt/v1");
    await ledger.close();
    expect((await verifyAt(place.path, { policy: rich.policy, expect: rich.last })).found).toEqual([]);
  });
});
