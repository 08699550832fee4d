import {
  copyFileSync,
  existsSync,
  mkdtempSync,
  renameSync,
  rmSync,
  statSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { lockStoreSuite } from "../../testing/lock-store-suite.ts";
import { loadSqliteDriver, type SqliteDatabase, type SqliteDriver } from "../sqlite-driver.ts";
import { type SqliteLockStore, sqliteLockStore } from "./sqlite.ts";

const driver: SqliteDriver = await loadSqliteDriver();
const ORIGIN = "example.com/log";
const ID = "0".repeat(32);
const note = (size: number): string => `${ORIGIN}\n${size}\nroot\n\n— sig\n`;

lockStoreSuite("sqlite", { describe, it, expect }, async () => {
  const folder = mkdtempSync(join(tmpdir(), "tallystick-lock-"));
  const path = join(folder, "state", "lock.sqlite");
  const store = sqliteLockStore({ path, driver });
  return {
    store,
    another: async () => sqliteLockStore({ path, driver }),
    durable: true,
    dispose: async () => {
      await store.close();
      rmSync(folder, { recursive: true });
    },
  };
});

describe("lock store in a SQLite file", () => {
  let folder: string;
  let path: string;
  const opened: SqliteLockStore[] = [];
  const openStore = (options: { driver?: SqliteDriver; waitMs?: number } = {}): SqliteLockStore => {
    const store = sqliteLockStore({ path, driver, ...options });
    opened.push(store);
    return store;
  };

  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "tallystick-lock-"));
    path = join(folder, "state", "lock.sqlite");
  });
  afterEach(async () => {
    for (const store of opened.splice(0)) await store.close();
    rmSync(folder, { recursive: true });
  });

  it("makes no file for a reader, and a private one for a writer", async () => {
    const store = openStore();
    expect(await store.fetch(ORIGIN)).toBeUndefined();
    expect(await store.records()).toEqual([]);
    expect(existsSync(join(folder, "state"))).toBe(false);
    await store.create({ origin: ORIGIN, lockStoreId: ID });
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(statSync(join(folder, "state")).mode & 0o777).toBe(0o700);
  });

  it("reports a removed file as a store without records, and a replaced one by what it now holds", async () => {
    const store = openStore();
    await store.create({ origin: ORIGIN, lockStoreId: ID });
    copyFileSync(path, `${path}.old`);
    await store.replace(ORIGIN, null, note(5));
    unlinkSync(path);
    expect(await store.fetch(ORIGIN)).toBeUndefined();
    await expect(store.replace(ORIGIN, note(5), note(6))).rejects.toMatchObject({ code: "not-found" });
    expect(existsSync(path)).toBe(false);
    renameSync(`${path}.old`, path);
    await expect(store.replace(ORIGIN, note(5), note(6))).rejects.toMatchObject({ code: "lock-moved" });
    expect((await store.fetch(ORIGIN))?.note).toBeNull();
  });

  it("waits for another writer without blocking the event loop, then gives up with nothing changed", async () => {
    const store = openStore({ waitMs: 1_000 });
    await store.create({ origin: ORIGIN, lockStoreId: ID });
    const other = new Database(path);
    other.exec("BEGIN EXCLUSIVE");
    let ticks = 0;
    const timer = setInterval(() => ticks++, 5);
    await expect(store.replace(ORIGIN, null, note(1))).rejects.toMatchObject({
      code: "lock-store-unavailable",
      message: `lock store ${path}: held by another process for 1000 ms`,
    });
    clearInterval(timer);
    expect(ticks).toBeGreaterThan(3);
    const waiting = store.replace(ORIGIN, null, note(1));
    setTimeout(() => other.exec("ROLLBACK"), 30);
    await waiting;
    expect((await store.fetch(ORIGIN))?.note).toBe(note(1));
    other.close();
  });

  it("refuses a database of something else, a newer lock store and a file that is no database", async () => {
    const store = openStore();
    await store.create({ origin: ORIGIN, lockStoreId: ID });
    const raw = new Database(path);
    raw.pragma("user_version = 2");
    raw.close();
    await expect(openStore().fetch(ORIGIN)).rejects.toMatchObject({
      code: "newer-format",
      message: `lock store ${path}: expected schema 1, got 2`,
    });
    unlinkSync(path);
    const foreign = new Database(path);
    foreign.exec("CREATE TABLE users (name TEXT)");
    foreign.close();
    await expect(openStore().create({ origin: ORIGIN, lockStoreId: ID })).rejects.toMatchObject({
      code: "foreign-database",
      message: `lock store ${path}: it is a database of something else`,
    });
    writeFileSync(path, "not a database, but long enough to be looked at as one".repeat(20));
    await expect(openStore().fetch(ORIGIN)).rejects.toMatchObject({
      code: "lock-store-unavailable",
      message: `lock store ${path}: file is not a database`,
    });
  });

  it("says what is unknown when a commit fails, and that nothing changed when nothing did", async () => {
    await openStore().create({ origin: ORIGIN, lockStoreId: ID });
    const failing = (when: "before" | "after"): SqliteDriver =>
      class implements SqliteDatabase {
        readonly db: SqliteDatabase;
        constructor(...args: ConstructorParameters<SqliteDriver>) {
          this.db = new driver(...args);
        }
        prepare(sql: string): ReturnType<SqliteDatabase["prepare"]> {
          return this.db.prepare(sql);
        }
        exec(sql: string): unknown {
          if (sql !== "COMMIT") return this.db.exec(sql);
          this.db.exec(when === "after" ? "COMMIT" : "ROLLBACK");
          throw Object.assign(new Error("disk I/O error"), { code: "SQLITE_IOERR_FSYNC" });
        }
        close(): unknown {
          return this.db.close();
        }
      };
    await expect(openStore({ driver: failing("before") }).replace(ORIGIN, null, note(1))).rejects.toMatchObject({
      code: "lock-store-unavailable",
      message: `lock store ${path}: disk I/O error`,
    });
    expect((await openStore().fetch(ORIGIN))?.note).toBeNull();
    await expect(openStore({ driver: failing("after") }).replace(ORIGIN, null, note(1))).rejects.toMatchObject({
      code: "outcome-unknown",
      message: `lock store ${path}: the commit failed and may still have happened`,
    });
  });

  it("restores a record where none is, moves it forward, and never back", async () => {
    const store = openStore();
    expect(await store.restore({ origin: ORIGIN, lockStoreId: ID, note: note(5) })).toBe("restored");
    expect(await store.restore({ origin: ORIGIN, lockStoreId: ID, note: note(4) })).toBe("kept");
    expect(await store.restore({ origin: ORIGIN, lockStoreId: ID, note: null })).toBe("kept");
    expect(await store.restore({ origin: ORIGIN, lockStoreId: "1".repeat(32), note: note(9) })).toBe("kept");
    expect(await store.restore({ origin: ORIGIN, lockStoreId: ID, note: note(6) })).toBe("restored");
    expect(await store.records()).toEqual([{ origin: ORIGIN, lockStoreId: ID, note: note(6) }]);
  });
});
