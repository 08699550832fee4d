import { readFileSync } from "node:fs";
import { beforeAll, describe, expect, it } from "vitest";
import { exitCodeOf } from "../../src/core/report.ts";
import type { SideTables } from "../../src/ledger/storage.ts";
import { verifyLedger } from "../../src/ledger/verify-ledger.ts";
import type { SqliteDatabase } from "../../src/storage/sqlite-driver.ts";
import { openSnapshot } from "../../src/storage/sqlite-snapshot.ts";
import { driver, newPlace, openAt, verifyAt } from "./place.ts";
import { buildRichLedger, type Rich, witness, witnessedPolicy } from "./rich-ledger.ts";
import { LOG_KEY, ORIGIN } from "./world.ts";

/** Each single bit of what is stored, flipped and verified. The database is held in memory, so that thousands take seconds. */
interface Held {
  readonly db: SqliteDatabase;
  verify(): Promise<{ readonly exit: number; readonly needsReindex: boolean; readonly indexes: readonly unknown[] }>;
}

function hold(path: string, policy: string): Held {
  const bytes = readFileSync(path);
  // In memory there is no write-ahead log: bytes 18 and 19 say which journal the file was written with.
  bytes[18] = 1;
  bytes[19] = 1;
  const Driver = driver as unknown as new (bytes: Buffer) => SqliteDatabase;
  const db = new Driver(bytes);
  const triggers = db.prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").all() as {
    readonly name: string;
  }[];
  for (const { name } of triggers) db.exec(`DROP TRIGGER ${name}`);
  const view: SqliteDatabase = { prepare: (sql) => db.prepare(sql), exec: () => {}, close: () => {} };
  let audited: SideTables | undefined;
  return {
    db,
    async verify() {
      const snapshot = openSnapshot(view, { path, closed: async () => {} });
      // Counting and looking for strange rows, which is most of the work, has its own tests. The guards are missing here.
      audited ??= { ...(await snapshot.sideTables()), anomalies: [] };
      const sideTables = async (): Promise<SideTables> => ({ ...audited!, ...readSideRows(db) });
      const report = await verifyLedger({ ...snapshot, sideTables }, { policy });
      return {
        exit: exitCodeOf(report),
        needsReindex: report.needsReindex,
        indexes: report.findings.map(({ index }) => index),
      };
    },
  };
}

function readSideRows(db: SqliteDatabase): Pick<SideTables, "checkpoints" | "cosigned" | "erasedIds"> {
  const all = <T>(sql: string): T[] => db.prepare(sql).all() as T[];
  return {
    checkpoints: all("SELECT size, note FROM checkpoints ORDER BY size"),
    cosigned: all("SELECT size, note FROM cosigned ORDER BY size"),
    erasedIds: all('SELECT idx AS "index", digest, salt FROM erased_ids ORDER BY idx'),
  };
}

/** Flips every bit in turn, or those of `bits`, of one value; returns the flips that nobody noticed. */
async function flips(
  held: Held,
  cell: { readonly table: string; readonly column: string; readonly where: string; readonly text: boolean },
  options: {
    readonly index?: number;
    readonly derived?: boolean;
    readonly bits?: (count: number) => Iterable<number>;
  } = {},
): Promise<{ readonly count: number; readonly unnoticed: readonly number[] }> {
  const { table, column, where, text } = cell;
  const row = held.db.prepare(`SELECT CAST(${column} AS BLOB) AS bytes FROM ${table} WHERE ${where}`).get() as {
    readonly bytes: Uint8Array;
  };
  const set = held.db.prepare(`UPDATE ${table} SET ${column} = ${text ? "CAST(? AS TEXT)" : "?"} WHERE rowid = ?`);
  const { id } = held.db.prepare(`SELECT rowid AS id FROM ${table} WHERE ${where}`).get() as { readonly id: number };
  const next = options.index === undefined || column !== "entry" ? undefined : options.index + 1;
  const unnoticed: number[] = [];
  let count = 0;
  for (const bit of options.bits?.(row.bytes.length * 8) ?? Array.from({ length: row.bytes.length * 8 }, (_, i) => i)) {
    const bytes = Buffer.from(row.bytes);
    bytes[bit >>> 3] = bytes[bit >>> 3]! ^ (1 << (bit & 7));
    set.run(bytes, id);
    const { exit, needsReindex, indexes } = await held.verify();
    const noticed = options.derived === true ? needsReindex && exit === 0 : exit === 1 || exit === 4;
    // An entry that is still one, with another time or commitment, is contradicted by the link of the next.
    const named = options.index === undefined || indexes.some((index) => index === options.index || index === next);
    if (!noticed || !named) unnoticed.push(bit);
    count += 1;
  }
  set.run(Buffer.from(row.bytes), id);
  expect((await held.verify()).exit).toBe(0);
  return { count, unnoticed };
}

describe("every bit of a small ledger", () => {
  /** 0 genesis · 1 event · 2 fields · 3 fields, one erased by 4 · 5 with an id, erased by 6 · 7 event. */
  let small: Held;
  beforeAll(async () => {
    const place = newPlace({ shared: true });
    const young = await openAt(place, { origin: ORIGIN, signer: LOG_KEY });
    const policy = witnessedPolicy(young.policy());
    await young.close();
    const ledger = await openAt(place, { signer: LOG_KEY, witnesses: { policy, witnesses: [witness()] } });
    await ledger.append({ action: "a", actor: "b" });
    await ledger.append({ action: "a", actor: "b" }, { scheme: "fields" });
    await ledger.append({ action: "a", payload: { x: 1, y: 2 } }, { scheme: "fields" });
    await ledger.erase({ index: 3, fields: ["payload.x"] }, { reason: "r" });
    await ledger.append({ id: "i", action: "a" });
    await ledger.erase(5, { reason: "r" });
    await ledger.append({ action: "z" });
    await ledger.settled(7, "witnessed");
    await ledger.close();
    expect(await verifyAt(place.path, { policy })).toMatchObject({ exit: 0, found: [] });
    small = hold(place.path, policy);
  });

  it.each([
    ["an entry", "entries", "entry", "idx = 1", 1],
    ["the genesis entry", "entries", "entry", "idx = 0", 0],
    ["a body", "entries", "body", "idx = 1", 1],
    ["the body of fields", "entries", "body", "idx = 2", 2],
    ["a disclosure", "disclosures", "disclosure", "idx = 3", 3],
    ["the note of a checkpoint", "checkpoints", "note", "size = 8", undefined],
    ["a cosigned note", "cosigned", "note", "size = 8", undefined],
  ])("%s", async (_, table, column, where, index) => {
    const options = index === undefined ? {} : { index };
    const { count, unnoticed } = await flips(small, { table, column, where, text: true }, options);
    expect(unnoticed).toEqual([]);
    expect(count).toBeGreaterThan(100);
  });

  it.each([
    ["a salt", "entries", "salts", "idx = 1", 1],
    ["the salts of fields", "entries", "salts", "idx = 2", 2],
    ["the digest of an erased id", "erased_ids", "digest", "idx = 5", 5],
    ["its salt", "erased_ids", "salt", "idx = 5", 5],
  ])("%s", async (_, table, column, where, index) => {
    const { count, unnoticed } = await flips(small, { table, column, where, text: false }, { index });
    expect(unnoticed).toEqual([]);
    expect(count).toBeGreaterThan(100);
  });
});

describe("row 18: bit-rot in derived data", () => {
  let rich: Rich;
  beforeAll(async () => {
    rich = await buildRichLedger();
  });

  it("a bit of each hash of a tile is named, and so is one of each byte of a filter", async () => {
    const held = hold(rich.place.path, rich.policy);
    const tile = await flips(
      held,
      { table: "tiles", column: "hashes", where: "id = 1", text: false },
      // Another byte and another bit of each of the 256 hashes.
      { derived: true, index: 511, bits: (count) => Array.from({ length: 256 }, (_, i) => (i * 256 + i * 37) % count) },
    );
    expect(tile).toEqual({ count: 256, unnoticed: [] });
    const filter = await flips(
      held,
      { table: "filters", column: "bits", where: "bits IS NOT NULL AND block = 1", text: false },
      { derived: true, index: 511, bits: (count) => Array.from({ length: 128 }, (_, i) => (i * 128 + i * 7) % count) },
    );
    expect(filter).toEqual({ count: 128, unnoticed: [] });
  });
});
