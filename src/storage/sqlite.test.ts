import { execFileSync } from "node:child_process";
import {
  appendFileSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type {
  Batch,
  CommitReads,
  LedgerStorage,
  RawEntry,
  SideTables,
  StorageSnapshot,
  StoredEntry,
} from "../ledger/storage.ts";
import { simulatedClock } from "../testing/simulated-clock.ts";
import { storageSuite } from "../testing/storage-suite.ts";
import { openSqliteStorage, type SqliteStorageOptions } from "./sqlite.ts";
import { betterSqlite3For, loadSqliteDriver, type SqliteDriver } from "./sqlite-driver.ts";

const NO_READS: CommitReads = { ids: [], idDigests: [], indexes: [] };

let directory: string;
let path: string;
let opened: LedgerStorage[];

beforeEach(() => {
  // Real: macOS has its temporary directory behind a link.
  directory = realpathSync(mkdtempSync(join(tmpdir(), "tallystick-test-")));
  path = join(directory, "audit.db");
  opened = [];
});

afterEach(async () => {
  for (const storage of opened) await storage.close();
  rmSync(directory, { recursive: true, force: true });
});

storageSuite(
  "sqlite",
  { describe, it, expect },
  async () => {
    const another = (): Promise<LedgerStorage> => open({ create: true });
    return { storage: await another(), another, readBytes: async () => readFiles(), dispose: async () => {} };
  },
  { shared: true, durable: true },
);

async function open(options: SqliteStorageOptions = {}): Promise<LedgerStorage> {
  const storage = await openSqliteStorage(path, options);
  opened.push(storage);
  return storage;
}

function entryOf(index: number, body = `{"action":"test.${index}"}`): StoredEntry {
  return { index, entry: `{"index":${index}}`, body, salts: new Uint8Array(16).fill(index), disclosure: null };
}

function batchOf(first: number, count: number, extra: Partial<Batch> = {}): Batch {
  const entries = Array.from({ length: count }, (_, i) => entryOf(first + i));
  return { entries, tiles: [], filters: [], ids: [], controls: [], ...extra };
}

const append = (storage: LedgerStorage, extra: Partial<Batch> = {}): Promise<boolean> =>
  storage.commit(NO_READS, ({ head }) => batchOf(head.size, 1, extra));

/** A ledger of `size` entries, open. */
async function create(size: number, options: SqliteStorageOptions = {}): Promise<LedgerStorage> {
  const storage = await open({ ...options, create: true });
  await storage.create(() => batchOf(0, 1, { controls: [0] }));
  if (size > 1) await storage.commit(NO_READS, () => batchOf(1, size - 1));
  return storage;
}

/** A ledger of `size` entries, closed: one file. */
async function createAtRest(size: number): Promise<void> {
  await (await create(size)).close();
  expect(readdirSync(directory)).toEqual(["audit.db"]);
}

/** Runs SQL as somebody with a SQLite shell would, guards dropped when asked; nothing of it stays open. */
function tamper(sql: string, options: { readonly guards?: "drop"; readonly schema?: "writable" } = {}): void {
  const db = new Database(path);
  if (options.schema === "writable") {
    db.unsafeMode(true);
    db.exec("PRAGMA writable_schema=ON");
  }
  if (options.guards === "drop") {
    const triggers = db.prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger'").pluck().all();
    for (const name of triggers) db.exec(`DROP TRIGGER ${name}`);
  }
  db.exec(sql);
  db.close();
}

async function sideTables(storage: LedgerStorage): Promise<SideTables> {
  const snapshot = await storage.snapshot();
  try {
    return await snapshot.sideTables();
  } finally {
    await snapshot.close();
  }
}

async function anomalies(): Promise<readonly string[]> {
  const storage = await open({ readOnly: true });
  const found = await sideTables(storage);
  await storage.close();
  return found.anomalies;
}

async function readAllRaw(storage: LedgerStorage, first: number, end: number): Promise<RawEntry[]> {
  const snapshot = await storage.snapshot();
  const rows: RawEntry[] = [];
  for await (const page of snapshot.readRaw(first, end)) rows.push(...page);
  await snapshot.close();
  return rows;
}

/** All bytes of the directory, read by another process: closing a file here would drop the locks of open connections. */
function readFiles(): Buffer {
  const files = readdirSync(directory).map((name) => join(directory, name));
  return execFileSync("cat", files, { maxBuffer: 2 ** 30 });
}

/** What must not change when a file is refused or read: names, sizes, times and bytes. */
function stateOf(): unknown {
  return readdirSync(directory).map((name) => {
    const { size, mtimeMs } = statSync(join(directory, name));
    return [name, size, mtimeMs, readFileSync(join(directory, name)).toString("latin1")];
  });
}

describe("opening", () => {
  it("refuses a missing file with not-found and makes none", async () => {
    for (const options of [{}, { create: false }, { readOnly: true }, { readOnly: true, create: true }]) {
      await expect(open(options)).rejects.toMatchObject({
        code: "not-found",
        message: `no ledger at ${path}: there is no file`,
      });
    }
    expect(readdirSync(directory)).toEqual([]);
  });

  it("makes no file before the ledger is created", async () => {
    const storage = await open({ create: true });
    expect((await storage.head()).size).toBe(0);
    await storage.close();
    expect(readdirSync(directory)).toEqual([]);
  });

  it("refuses an empty file with not-found unless it may become a ledger", async () => {
    writeFileSync(path, "");
    await expect(open()).rejects.toMatchObject({
      code: "not-found",
      message: `no ledger at ${path}: the file is empty`,
    });
    expect(statSync(path).size).toBe(0);
    const storage = await create(3);
    expect((await storage.head()).size).toBe(3);
  });

  it("names the directory that is missing", async () => {
    path = join(directory, "no/such/audit.db");
    await expect(open({ create: true })).rejects.toMatchObject({
      code: "not-found",
      message: `no ledger at ${path}: there is no directory ${join(directory, "no/such")}`,
    });
    path = join(directory, "file/audit.db");
    writeFileSync(join(directory, "file"), "x");
    await expect(open({ create: true })).rejects.toMatchObject({ code: "not-found" });
  });

  it.each([
    ["text", "hello"],
    ["a long text", "hello ".repeat(2_000)],
    ["the beginning of a SQLite header", "SQLite format 3\0"],
  ])("refuses %s with not-a-ledger, untouched", async (_, content) => {
    writeFileSync(path, content);
    const before = stateOf();
    for (const options of [{ create: true }, { readOnly: true }]) {
      await expect(open(options)).rejects.toMatchObject({
        code: "not-a-ledger",
        message: `${path} is not a SQLite database`,
      });
    }
    expect(stateOf()).toEqual(before);
  });

  it("refuses a directory with not-a-ledger", async () => {
    mkdirSync(path);
    await expect(open({ create: true })).rejects.toMatchObject({
      code: "not-a-ledger",
      message: `${path} is not a regular file`,
    });
  });

  it.each([":memory:", "", " ", "audit.db "])("refuses the path %j with a TypeError", async (odd) => {
    await expect(openSqliteStorage(odd, { create: true })).rejects.toThrow(TypeError);
  });

  it.each(["DELETE", "WAL"])("refuses a database of something else in %s mode, untouched", async (mode) => {
    const db = new Database(path);
    db.exec(`PRAGMA journal_mode=${mode}; CREATE TABLE users(name); INSERT INTO users VALUES ('alice')`);
    db.close();
    const before = stateOf();
    for (const options of [{ create: true }, {}, { readOnly: true }]) {
      await expect(open(options)).rejects.toMatchObject({ code: "foreign-database" });
    }
    expect(stateOf()).toEqual(before);
  });

  it("refuses a database of something else that is open, with its tables still in the log", async () => {
    const db = new Database(path);
    db.exec("PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; CREATE TABLE users(name)");
    const names = readdirSync(directory);
    await expect(open({ create: true })).rejects.toMatchObject({ code: "foreign-database" });
    expect(readdirSync(directory)).toEqual(names);
    expect(db.prepare("SELECT count(*) FROM users").pluck().get()).toBe(0);
    db.close();
  });

  it("refuses copied files of something else whose tables are in the log alone, untouched", async () => {
    const source = join(directory, "source.db");
    const db = new Database(source);
    db.exec("PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0; CREATE TABLE users(name)");
    copyFileSync(source, path);
    copyFileSync(`${source}-wal`, `${path}-wal`);
    db.close();
    rmSync(source);
    const before = stateOf();
    await expect(open({ create: true })).rejects.toMatchObject({ code: "foreign-database" });
    expect(stateOf()).toEqual(before);
  });

  it("keeps the locks of a foreign database that this process has open in rollback mode", async () => {
    const db = new Database(path);
    db.exec(
      "PRAGMA journal_mode=DELETE; CREATE TABLE users(name); BEGIN IMMEDIATE; INSERT INTO users VALUES ('alice')",
    );
    await expect(open({ create: true })).rejects.toMatchObject({ code: "foreign-database" });
    const probe = `import Database from "better-sqlite3"; try { new Database(${JSON.stringify(path)}, { timeout: 0 }).exec("BEGIN IMMEDIATE"); console.log("free"); } catch (error) { console.log(error.code); }`;
    const node = [process.execPath, ["--input-type=module", "-e", probe], { cwd: import.meta.dirname }] as const;
    expect(
      execFileSync(...node)
        .toString()
        .trim(),
    ).toBe("SQLITE_BUSY");
    db.close();
  });

  it("follows a symbolic link, whose log stands beside the file that it leads to", async () => {
    await createAtRest(3);
    const link = join(directory, "link.db");
    symlinkSync(path, link);
    const real = path;
    path = link;
    const writer = await open();
    await append(writer);
    const reader = await open({ readOnly: true });
    expect((await readAllRaw(reader, 0, 10)).length).toBe(4);
    expect(writer.capabilities.location).toBe(realpathSync(real));
    await reader.close();
    await writer.close();
    expect(readdirSync(directory).sort()).toEqual(["audit.db", "link.db"]);
    path = join(directory, "dangling.db");
    symlinkSync(join(directory, "nothing"), path);
    await expect(open({ create: true })).rejects.toMatchObject({
      code: "not-found",
      message: `no ledger at ${path}: it is gone, or a link to nothing`,
    });
  });

  it("takes a database without tables for an empty one", async () => {
    const db = new Database(path);
    db.exec("PRAGMA journal_mode=WAL; VACUUM");
    db.close();
    expect(statSync(path).size).toBeGreaterThan(0);
    await expect(open()).rejects.toMatchObject({ code: "not-found" });
    expect((await (await create(2)).head()).size).toBe(2);
  });

  it("refuses a newer schema with newer-format, untouched", async () => {
    await createAtRest(3);
    tamper("PRAGMA user_version=2");
    const before = stateOf();
    for (const options of [{}, { readOnly: true }]) {
      await expect(open(options)).rejects.toMatchObject({
        code: "newer-format",
        message: `${path}: expected ledger schema 1, got 2; open it with a newer version of this package`,
      });
    }
    expect(stateOf()).toEqual(before);
  });

  it("answers storage-corrupt for a schema that was never written", async () => {
    await createAtRest(3);
    tamper("PRAGMA user_version=0");
    await expect(open()).rejects.toMatchObject({
      code: "storage-corrupt",
      message: expect.stringContaining("schema 0"),
    });
  });

  it("answers storage-corrupt for a truncated file", async () => {
    await createAtRest(300);
    truncateSync(path, 8_192);
    for (const options of [{}, { readOnly: true }]) {
      await expect(open(options)).rejects.toMatchObject({ code: "storage-corrupt" });
    }
  });

  it("answers storage-corrupt for a file that ends within a page, whatever stood there", async () => {
    await createAtRest(300);
    truncateSync(path, statSync(path).size - 1);
    for (const options of [{}, { readOnly: true }]) {
      await expect(open(options)).rejects.toMatchObject({
        code: "storage-corrupt",
        message: expect.stringContaining("audit.db is cut off: it has "),
      });
    }
  });

  it("answers storage-corrupt when a damaged page is read", async () => {
    await createAtRest(3_000);
    const bytes = readFileSync(path);
    // The root page of the entries: the second page.
    bytes.fill(0xff, 4_096, 8_192);
    writeFileSync(path, bytes);
    const storage = await open({ readOnly: true });
    await expect(storage.readEntries(0, 10)).rejects.toMatchObject({ code: "storage-corrupt" });
    await expect(storage.snapshot()).rejects.toMatchObject({ code: "storage-corrupt" });
  });

  it("says how to get a driver when the default one does not load", async () => {
    const missing = loadSqliteDriver(() => Promise.reject(new Error("Cannot find package 'better-sqlite3'")));
    await expect(missing).rejects.toMatchObject({ code: "driver-missing" });
    const unbuilt = class {
      constructor() {
        throw new Error("Could not locate the bindings file. Tried:\n → /somewhere");
      }
    };
    const broken = loadSqliteDriver(async () => ({ default: unbuilt }));
    await expect(broken).rejects.toThrow(
      /does not load on .*Could not locate the bindings file\. Tried:\).*npm rebuild better-sqlite3/,
    );
  });

  it("loads the version of the driver that each Node.js runs soundly", () => {
    expect(betterSqlite3For({ node: "20.19.0", napi: "9" })).toBe("12");
    expect(betterSqlite3For({ node: "22.23.3", napi: "10" })).toBe("12");
    expect(betterSqlite3For({ node: "24.21.0", napi: "10" })).toBe("13");
    expect(betterSqlite3For({ node: "26.0.0", napi: "11" })).toBe("13");
  });

  it("names a ledger whose entries were all deleted for what it is", async () => {
    await createAtRest(3);
    tamper("DELETE FROM entries", { guards: "drop" });
    const storage = await open({ create: true });
    expect(await storage.head()).toEqual({ size: 0, lastEntry: null });
    expect(await storage.create(() => batchOf(0, 1))).toBe(false);
    expect((await sideTables(storage)).anomalies).toContain("table controls: 1 control entries that do not exist");
  });
});

describe("network file systems", () => {
  const nfs = async (): Promise<number> => 0x6969;

  it("are refused for writing, unless allowed", async () => {
    await expect(open({ create: true, fileSystemType: nfs })).rejects.toMatchObject({
      code: "network-filesystem",
      details: { path, fileSystem: "NFS" },
    });
    expect(readdirSync(directory)).toEqual([]);
    const storage = await create(2, { fileSystemType: nfs, allowNetworkFileSystem: true });
    expect((await storage.head()).size).toBe(2);
    await expect(open({ fileSystemType: nfs })).rejects.toMatchObject({ code: "network-filesystem" });
    await expect(open({ fileSystemType: nfs, readOnly: true })).rejects.toMatchObject({ code: "network-filesystem" });
  });

  it("can be read from while nobody has the ledger open, through a copy", async () => {
    await createAtRest(3);
    const before = stateOf();
    const storage = await open({ fileSystemType: nfs, readOnly: true });
    expect(readdirSync(directory)).toEqual(["audit.db"]);
    expect((await storage.head()).size).toBe(3);
    const copy = storage.capabilities.readLocation;
    expect(copy !== undefined && existsSync(copy)).toBe(true);
    await storage.close();
    expect(existsSync(copy as string)).toBe(false);
    expect(stateOf()).toEqual(before);
  });

  it("are told apart by the numbers of Linux, signed or not", async () => {
    for (const [type, name] of [
      [0xff534d42 | 0, "CIFS"],
      [0xfe534d42, "SMB2"],
      [0x01021997, "9p"],
      [0x65735546, "FUSE"],
    ] as const) {
      const refused = open({ create: true, fileSystemType: async () => type });
      await expect(refused).rejects.toMatchObject({ details: { fileSystem: name } });
    }
    for (const local of [0xef53, 0x58465342, 0x9123683e, 0x01021994, 0x794c7630]) {
      await (await open({ create: true, fileSystemType: async () => local })).close();
    }
  });
});

describe("reading only", () => {
  it("changes nothing and leaves nothing behind, where nobody has the ledger open", async () => {
    await createAtRest(1_000);
    const before = stateOf();
    const storage = await open({ readOnly: true });
    const snapshot = await storage.snapshot();
    expect((await storage.readEntries(0, 10)).length).toBe(10);
    expect((await readAllRaw(storage, 0, 1_000)).length).toBe(1_000);
    expect((await snapshot.sideTables()).anomalies).toEqual([]);
    await storage.close();
    await snapshot.close();
    expect(stateOf()).toEqual(before);
  });

  it("refuses every write with read-only", async () => {
    await createAtRest(2);
    const storage = await open({ readOnly: true });
    const writes = [
      () => storage.create(() => batchOf(0, 1)),
      () => append(storage),
      () => storage.putCheckpoint({ size: 1, note: "a" }),
      () => storage.putCosigned({ size: 1, note: "a" }),
      () => storage.rebuildDerived([]),
      () => storage.purge(),
    ];
    for (const write of writes) {
      await expect((async () => write())()).rejects.toMatchObject({
        code: "read-only",
        message: `${path} is open for reading only`,
      });
    }
    expect((await storage.head()).size).toBe(2);
  });

  it("sees what a writer appends, and leaves the writer's files alone", async () => {
    const writer = await create(2);
    const names = readdirSync(directory);
    const reader = await open({ readOnly: true });
    await append(writer);
    expect((await reader.head()).size).toBe(3);
    await reader.close();
    expect(readdirSync(directory)).toEqual(names);
    await writer.close();
    expect(readdirSync(directory)).toEqual(["audit.db"]);
  });

  it("reads copied files whose last commits are in the log alone, and leaves them as they are", async () => {
    const writer = await create(2);
    await append(writer);
    const copied = join(directory, "copy");
    mkdirSync(copied);
    execFileSync("cp", [path, `${path}-wal`, copied]);
    await writer.close();
    rmSync(path);
    path = join(copied, "audit.db");
    directory = copied;
    const before = stateOf();
    const reader = await open({ readOnly: true });
    expect((await readAllRaw(reader, 0, 10)).length).toBe(3);
    await reader.close();
    expect(stateOf()).toEqual(before);
    directory = join(copied, "..");
  });

  it("does not leave its private copy when the copy turns out to be damaged", async () => {
    await createAtRest(300);
    truncateSync(path, 8_192);
    const temporary = (): string[] => readdirSync(tmpdir()).filter((name) => name.startsWith("tallystick-read-"));
    const before = temporary();
    const damaged = open({ readOnly: true, fileSystemType: async () => 0x6969 });
    await expect(damaged).rejects.toMatchObject({ code: "storage-corrupt" });
    expect(temporary()).toEqual(before);
  });
});

describe("waiting for another writer", () => {
  it("does not block the event loop, and goes on once the lock is free", async () => {
    const storage = await create(1);
    const other = new Database(path);
    other.exec("BEGIN IMMEDIATE");
    let done = false;
    const appending = append(storage).then(() => {
      done = true;
    });
    let longest = 0;
    for (let last = performance.now(), end = last + 150; last < end; ) {
      await new Promise((resolve) => setTimeout(resolve, 1));
      longest = Math.max(longest, performance.now() - last);
      last = performance.now();
    }
    expect(done).toBe(false);
    // Who waits on this thread waits for ever, because the lock is this thread's too; the rest is for a busy machine.
    expect(longest).toBeLessThan(3_000);
    other.exec("COMMIT");
    await appending;
    expect((await storage.head()).size).toBe(2);
    other.close();
  });

  it("gives up with storage-busy after busyTimeoutMs, and nothing was written", async () => {
    const clock = simulatedClock();
    const storage = await create(1, { clock, busyTimeoutMs: 2_000 });
    const other = new Database(path);
    other.exec("BEGIN IMMEDIATE");
    let settled = false;
    const appending = append(storage).finally(() => {
      settled = true;
    });
    appending.catch(() => {});
    const start = clock.monotonic();
    while (!settled) {
      await new Promise((resolve) => setImmediate(resolve));
      clock.advance(25);
    }
    await expect(appending).rejects.toMatchObject({
      code: "storage-busy",
      message: `${path}: another connection kept its lock for 2000 ms`,
    });
    expect(clock.monotonic() - start).toBeGreaterThanOrEqual(2_000);
    other.exec("COMMIT");
    other.close();
    expect((await storage.head()).size).toBe(1);
    expect(await append(storage)).toBe(true);
  });

  it("does not stop reads meanwhile", async () => {
    const storage = await create(3);
    const other = new Database(path);
    other.exec("BEGIN IMMEDIATE");
    expect((await storage.readEntries(0, 9)).length).toBe(3);
    expect((await sideTables(storage)).anomalies).toEqual([]);
    other.exec("ROLLBACK");
    other.close();
  });
});

/** better-sqlite3 whose statements meet an error where `faults` says so: by the beginning of their SQL. */
function faultyDriver(faults: Map<string, string>): SqliteDriver {
  const meet = (sql: string): void => {
    for (const [start, code] of faults) {
      if (sql.startsWith(start)) throw Object.assign(new Error("injected"), { code });
    }
  };
  return class extends Database {
    override exec(sql: string): this {
      meet(sql);
      return super.exec(sql);
    }
    override prepare(sql: string): never {
      const statement = super.prepare(sql);
      const wrap =
        (name: "run" | "get" | "all") =>
        (...values: unknown[]): unknown => {
          meet(sql);
          return statement[name](...values);
        };
      return { run: wrap("run"), get: wrap("get"), all: wrap("all") } as never;
    }
  } as unknown as SqliteDriver;
}

describe("failing disks", () => {
  it.each([
    ["SQLITE_FULL", "storage-full"],
    ["SQLITE_IOERR_WRITE", "storage-io"],
    ["SQLITE_IOERR", "storage-io"],
    ["SQLITE_READONLY", "read-only"],
    ["SQLITE_CORRUPT_VTAB", "storage-corrupt"],
    ["SQLITE_NOMEM", "storage-io"],
  ])("an insert that fails with %s is %s, and nothing of its batch is left", async (sqlite, code) => {
    const faults = new Map<string, string>();
    const storage = await create(1, { driver: faultyDriver(faults) });
    faults.set("INSERT INTO controls", sqlite);
    await expect(append(storage, { controls: [1] })).rejects.toMatchObject({ code, details: { path, sqlite } });
    faults.clear();
    expect((await storage.head()).size).toBe(1);
    expect(await append(storage, { controls: [1] })).toBe(true);
    expect((await sideTables(await open())).anomalies).toEqual([]);
  });

  it.each([
    ["SQLITE_FULL", "storage-full"],
    ["SQLITE_IOERR_WRITE", "storage-io"],
  ])("a COMMIT that fails with %s is rolled back", async (sqlite, code) => {
    const faults = new Map([["COMMIT", sqlite]]);
    const storage = await open({ create: true, driver: faultyDriver(faults) });
    await expect(storage.create(() => batchOf(0, 1))).rejects.toMatchObject({ code });
    expect((await storage.head()).size).toBe(0);
    faults.clear();
    expect(await storage.create(() => batchOf(0, 1))).toBe(true);
    faults.set("COMMIT", sqlite);
    await expect(append(storage)).rejects.toMatchObject({ code });
    await expect(storage.putCheckpoint({ size: 1, note: "a" })).rejects.toMatchObject({ code });
    faults.clear();
    expect((await storage.head()).size).toBe(1);
    expect(await storage.latestCheckpoint()).toBe(undefined);
    expect(await append(storage)).toBe(true);
  });

  it("a COMMIT whose sync fails is rolled back for certain where the log can be emptied", async () => {
    const faults = new Map<string, string>();
    const storage = await create(1, { driver: faultyDriver(faults) });
    faults.set("COMMIT", "SQLITE_IOERR_FSYNC");
    await expect(append(storage)).rejects.toMatchObject({ code: "storage-io" });
    expect(statSync(`${path}-wal`).size).toBe(0);
    faults.clear();
    expect((await storage.head()).size).toBe(1);
  });

  it.each(["SQLITE_IOERR_FSYNC", "SQLITE_IOERR_SHMSIZE", "SQLITE_NOMEM"])(
    "a COMMIT that fails with %s is outcome-unknown where the log cannot be emptied",
    async (sqlite) => {
      const faults = new Map<string, string>();
      const storage = await create(1, { driver: faultyDriver(faults) });
      faults.set("COMMIT", sqlite).set("PRAGMA wal_checkpoint", "SQLITE_IOERR_FSYNC");
      await expect(append(storage)).rejects.toMatchObject({
        name: "FatalError",
        code: "outcome-unknown",
        message: `${path}: the disk failed while a commit was made durable; whether it survives a crash is unknown`,
      });
    },
  );

  it("a failing ROLLBACK does not hide the failure before it", async () => {
    const faults = new Map<string, string>();
    const storage = await create(1, { driver: faultyDriver(faults) });
    faults.set("COMMIT", "SQLITE_FULL").set("ROLLBACK", "SQLITE_IOERR");
    await expect(append(storage)).rejects.toMatchObject({ code: "storage-full" });
  });

  it("a database that may not grow is storage-full, and works again once it may", async () => {
    const limits = new Map<string, string>();
    const driver = class extends Database {
      override exec(sql: string): this {
        super.exec(sql);
        const limit = limits.get("pages");
        if (limit !== undefined && sql.includes("synchronous=FULL")) super.exec(`PRAGMA max_page_count=${limit}`);
        return this;
      }
    } as unknown as SqliteDriver;
    await createAtRest(100);
    limits.set("pages", String(statSync(path).size / 4_096 + 4));
    const storage = await open({ driver });
    const huge = { ...batchOf(100, 0), entries: [entryOf(100, "x".repeat(100_000))], controls: [100] };
    await expect(storage.commit(NO_READS, () => huge)).rejects.toMatchObject({ code: "storage-full" });
    expect(await storage.head()).toEqual({ size: 100, lastEntry: entryOf(99).entry });
    expect(await append(storage)).toBe(true);
    await storage.close();
    limits.clear();
    const later = await open({ driver });
    expect(await later.commit(NO_READS, ({ head }) => ({ ...batchOf(head.size, 1, { controls: [101] }) }))).toBe(true);
    expect((await sideTables(later)).anomalies).toEqual([]);
  });

  it("passes on what is no SQLite error", async () => {
    const faults = new Map<string, string>();
    const storage = await create(1, { driver: faultyDriver(faults) });
    faults.set("INSERT INTO controls", "ERR_OF_A_DRIVER");
    await expect(append(storage, { controls: [1] })).rejects.toThrow("injected");
  });

  it("knows a driver that gives numbers instead of names", async () => {
    const numbered = class extends Database {
      override exec(sql: string): this {
        if (sql === "COMMIT") throw Object.assign(new Error("disk full"), { code: "ERR_SQLITE_ERROR", errcode: 13 });
        return super.exec(sql);
      }
    } as unknown as SqliteDriver;
    const storage = await open({ create: true, driver: numbered });
    await expect(storage.create(() => batchOf(0, 1))).rejects.toMatchObject({
      code: "storage-full",
      details: { sqlite: "SQLITE_FULL" },
    });
  });
});

describe.skipIf(process.platform === "win32")(
  "a file that is moved away while it is open (needs a POSIX system)",
  () => {
    it.each([
      ["deleted", () => rmSync(path)],
      ["renamed", () => renameSync(path, `${path}.1`)],
      [
        "replaced",
        () => {
          copyFileSync(path, `${path}.old`);
          renameSync(`${path}.old`, path);
        },
      ],
    ])("%s: refuses to append, because it would be lost", async (_, move) => {
      const storage = await create(2);
      await append(storage);
      move();
      await expect(append(storage)).rejects.toMatchObject({
        code: "storage-io",
        message: `${path} was moved, deleted or replaced while it was open; close it and open it again`,
      });
    });
  },
);

describe("erasure", () => {
  /** Text that occurs nowhere else, by kind and entry. */
  const word = (kind: string, index: number): string => `<${kind}:${index}:${"q".repeat(7)}>`;
  const COUNT = 1_600;
  const fill = async (storage: LedgerStorage): Promise<void> => {
    for (let first = 1; first < COUNT; first += 100) {
      const indexes = Array.from({ length: Math.min(100, COUNT - first) }, (_, i) => first + i);
      await storage.commit(NO_READS, () => ({
        ...batchOf(first, 0),
        // Small bodies share pages; every tenth one fills pages of its own.
        entries: indexes.map((index) =>
          entryOf(
            index,
            `${word("body", index)}${"x".repeat(index % 10 === 0 ? 9_000 : index % 300)}${word("end", index)}`,
          ),
        ),
        ids: indexes.map((index) => ({ id: `${(index * 7_919) % 10_007}${word("id", index)}`, index })),
      }));
    }
  };
  const redactionOf = (
    index: number,
    disclosure: string | null,
    first: boolean,
  ): NonNullable<Batch["redactions"]>[number] => ({
    index,
    disclosure,
    id: first ? `${(index * 7_919) % 10_007}${word("id", index)}` : null,
    erasedId: first
      ? { index, digest: Uint8Array.from({ length: 32 }, (_, i) => (index >> (i % 8)) & 255), salt: new Uint8Array(16) }
      : null,
  });

  it("leaves nothing of bodies, ids, disclosures and filters in any file, neither on pages of their own nor on shared ones", async () => {
    const storage = await create(1);
    await fill(storage);
    const present = readFiles().toString("latin1");
    expect(present.includes(word("body", 70)) && present.includes(word("end", 70))).toBe(true);
    const erased: number[] = [];
    const disclosed: number[] = [];
    for (let index = 1; index < COUNT; index += 3) {
      if (index % 2 === 0) erased.push(index);
      else disclosed.push(index);
    }
    const bits = (n: number): Uint8Array => new TextEncoder().encode(word("filter", n).repeat(60));
    await storage.commit(NO_READS, () =>
      batchOf(COUNT, 0, { filters: [5, 1, 4, 2, 3, 0].map((block) => ({ block, bits: bits(block) })) }),
    );
    // Disclosures larger than what they replace, then smaller ones, then none.
    for (const [round, disclosure] of [
      (index: number) => `${word("first", index)}${"y".repeat(index % 1_500)}`,
      (index: number) => word("second", index),
    ].entries()) {
      for (let i = 0; i < disclosed.length; i += 50) {
        const part = disclosed.slice(i, i + 50);
        const redactions = part.map((index) => redactionOf(index, disclosure(index), round === 0));
        await storage.commit(NO_READS, ({ head }) => batchOf(head.size, 1, { redactions, purge: head.size }));
      }
    }
    const redactions = [
      ...erased.map((index) => redactionOf(index, null, true)),
      ...disclosed.slice(10).map((index) => redactionOf(index, null, false)),
    ];
    await storage.commit(NO_READS, ({ head }) =>
      batchOf(head.size, 1, { redactions, unfilter: [1, 2, 3], filters: [], purge: head.size }),
    );
    expect(await storage.purge()).toBe("done");
    const rest = readFiles().toString("latin1");
    const left = [...rest.matchAll(/<(body|end|id|first|second|filter):(\d+):q/g)].map(
      ([, kind, index]) => [kind, Number(index)] as const,
    );
    const gone = new Set([...erased, ...disclosed]);
    expect(left.filter(([kind, index]) => kind !== "filter" && kind !== "second" && gone.has(index))).toEqual([]);
    expect(left.filter(([kind]) => kind === "id")).toEqual([]);
    expect(left.filter(([kind, index]) => kind === "second" && !disclosed.slice(0, 10).includes(index))).toEqual([]);
    expect(new Set(left.filter(([kind]) => kind === "filter").map(([, block]) => block))).toEqual(new Set([0, 4, 5]));
    // What was not erased is there, once: no second copy waits for its own erasure.
    const bodies = left.filter(([kind]) => kind === "body").map(([, index]) => index);
    expect(bodies.sort((a, b) => a - b)).toEqual(
      Array.from({ length: COUNT }, (_, i) => i).filter((i) => i > 0 && !gone.has(i)),
    );
    expect((await sideTables(storage)).anomalies).toEqual([]);
  });

  it("leaves not even parts of an erased id in the index of ids", async () => {
    const storage = await create(1);
    const ids = Array.from({ length: 600 }, (_, i) => `${(i * 7_919) % 10_007}-Alice-Example-${i}`);
    await storage.commit(NO_READS, () => batchOf(1, 600, { ids: ids.map((id, i) => ({ id, index: 1 + i })) }));
    expect(readFiles().toString("latin1").includes("Alice-Example")).toBe(false);
    expect((await storage.findById(ids[77] as string))?.index).toBe(78);
  });

  it("keeps the purge on record until it is done, over a reopen", async () => {
    const storage = await create(3);
    await storage.commit(NO_READS, () => batchOf(3, 1, { redactions: [redactionOf2(1)], purge: 3 }));
    const reader = new Database(path, { readonly: true });
    reader.exec("BEGIN");
    reader.prepare("SELECT count(*) FROM entries").get();
    expect(await storage.purge()).toBe("pending");
    await storage.close();
    const later = await open();
    expect((await sideTables(later)).purges).toEqual([3]);
    expect(await later.purge()).toBe("pending");
    reader.close();
    expect(await later.purge()).toBe("done");
    expect((await sideTables(later)).purges).toEqual([]);
    expect(statSync(`${path}-wal`).size).toBeGreaterThanOrEqual(0);
  });

  it("does not take the purge of an erasure for done that came right after it emptied the log", async () => {
    let beforeBegin: (() => void) | undefined;
    const driver = class extends Database {
      override prepare(sql: string): never {
        const statement = super.prepare(sql);
        const run = (...values: unknown[]): unknown => {
          if (sql === "BEGIN IMMEDIATE") beforeBegin?.();
          return statement.run(...values);
        };
        return { run, get: statement.get.bind(statement), all: statement.all.bind(statement) } as never;
      }
    } as unknown as SqliteDriver;
    const storage = await create(3, { driver });
    await storage.commit(NO_READS, () => batchOf(3, 1, { redactions: [redactionOf2(1)], purge: 3 }));
    beforeBegin = () => {
      beforeBegin = undefined;
      tamper("INSERT INTO purges(erasure) VALUES (4)");
    };
    expect(await storage.purge()).toBe("done");
    expect((await sideTables(storage)).purges).toEqual([4]);
  });

  const redactionOf2 = (index: number): NonNullable<Batch["redactions"]>[number] => ({
    index,
    disclosure: null,
    id: null,
    erasedId: null,
  });
});

describe("guards", () => {
  it.each([
    ["DELETE FROM entries WHERE idx = 1", "entries of a ledger cannot be changed"],
    ["UPDATE entries SET entry = 'x' WHERE idx = 1", "entries of a ledger cannot be changed"],
    ["UPDATE entries SET body = 'x' WHERE idx = 1", "entries of a ledger cannot be changed"],
    ["UPDATE entries SET body = NULL WHERE idx = 1", "entries of a ledger cannot be changed"],
    ["UPDATE entries SET idx = 99, body = NULL, salts = NULL WHERE idx = 1", "entries of a ledger cannot be changed"],
    ["UPDATE disclosures SET disclosure = 'x'", "disclosures of a ledger cannot be changed"],
    ["DELETE FROM disclosures", "disclosures of a ledger cannot be changed"],
    ["UPDATE tiles SET hashes = x'00'", "tiles of a ledger cannot be changed"],
    ["DELETE FROM tiles", "tiles of a ledger cannot be changed"],
    ["UPDATE controls SET idx = 1", "controls of a ledger cannot be changed"],
    ["DELETE FROM controls", "controls of a ledger cannot be changed"],
    ["UPDATE erased_ids SET idx = 9", "erased_ids of a ledger cannot be changed"],
    ["DELETE FROM erased_ids", "erased_ids of a ledger cannot be changed"],
    ["UPDATE checkpoints SET note = 'x'", "checkpoints of a ledger cannot be changed"],
    ["DELETE FROM checkpoints", "checkpoints of a ledger cannot be changed"],
    ["DELETE FROM cosigned", "cosigned of a ledger cannot be changed"],
    ["UPDATE anchors SET proof = x'00'", "anchors of a ledger cannot be changed"],
    ["DELETE FROM anchors", "anchors of a ledger cannot be changed"],
    ["INSERT INTO entries VALUES (9, 5, x'00', 'text')", "cannot store"],
  ])("stop %s", async (sql, message) => {
    const storage = await create(4);
    await storage.commit(NO_READS, () =>
      batchOf(4, 1, {
        tiles: [{ level: 0, index: 0, hashes: new Uint8Array(8_192) }],
        anchors: [{ index: 4, note: new Uint8Array(1), proof: new Uint8Array(1) }],
        redactions: [
          {
            index: 2,
            disclosure: "kept",
            id: null,
            erasedId: { index: 2, digest: new Uint8Array(32), salt: new Uint8Array(16) },
          },
        ],
      }),
    );
    await storage.putCheckpoint({ size: 5, note: "note" });
    await storage.putCosigned({ size: 5, note: "note" });
    expect(() => tamper(sql)).toThrow(message);
  });
});

describe("anomalies", () => {
  it("are none in a ledger as it is made, erased in and rebuilt", async () => {
    const storage = await create(600);
    await storage.commit(NO_READS, () =>
      batchOf(600, 1, { redactions: [{ index: 5, disclosure: "{}", id: null, erasedId: null }] }),
    );
    await storage.rebuildDerived([batchOf(0, 0, { controls: [0] })]);
    expect((await sideTables(storage)).anomalies).toEqual([]);
  });

  it.each([
    ["a dropped guard", "DROP TRIGGER entries_refuse_delete", "the trigger entries_refuse_delete is missing"],
    [
      "a weakened guard",
      "DROP TRIGGER tiles_refuse_update; CREATE TRIGGER tiles_refuse_update BEFORE UPDATE ON tiles WHEN 0 BEGIN SELECT 1; END",
      "the definition of trigger tiles_refuse_update was altered",
    ],
    ["a table more", "CREATE TABLE notes(text)", "the table notes does not belong to a ledger"],
    ["a view", "CREATE VIEW v AS SELECT 1", "the view v does not belong to a ledger"],
    ["an index more", "CREATE INDEX extra ON entries(entry)", "the index extra does not belong to a ledger"],
    ["a column more", "ALTER TABLE entries ADD COLUMN note TEXT", "the definition of table entries was altered"],
    [
      "a renamed column",
      "ALTER TABLE checkpoints RENAME COLUMN note TO text",
      "the definition of table checkpoints was altered",
    ],
    [
      "a trigger that changes what is written",
      "CREATE TRIGGER t AFTER INSERT ON ids BEGIN DELETE FROM ids; END",
      "the trigger t does not belong to a ledger",
    ],
    ["a table less", "DROP TABLE filters", "the table filters is missing"],
    ["an index less", "DROP INDEX disclosures_by_entry", "the index disclosures_by_entry is missing"],
    ["statistics", "ANALYZE", "the table sqlite_stat1 does not belong to a ledger"],
    [
      "an id of no entry",
      `INSERT INTO ids VALUES (x'${"00".repeat(16)}', 600)`,
      "table ids: 1 ids of no entry or of another type",
    ],
    ["an id of another length", "INSERT INTO ids VALUES (x'00', 1)", "table ids: 1 ids of no entry or of another type"],
    [
      "a tile too many",
      `INSERT INTO tiles VALUES (2, zeroblob(8192))`,
      "table tiles: 1 tiles that a ledger of this size does not have, or of another size than 8,192 bytes",
    ],
    ["a tile of a level too many", `INSERT INTO tiles VALUES (${2 ** 40}, zeroblob(8192))`, "table tiles: 1 tiles"],
    ["a tile of another size", "INSERT INTO tiles VALUES (0, zeroblob(8191))", "table tiles: 1 tiles"],
    ["a tile before all", "INSERT INTO tiles VALUES (-1, zeroblob(8192))", "table tiles: 1 tiles"],
    [
      "a filter of a block that is not full",
      "INSERT INTO filters(block, bits) VALUES (2, x'00')",
      "table filters: 1 filters of blocks that are not full",
    ],
    [
      "a control entry that is none",
      "INSERT INTO controls VALUES (600)",
      "table controls: 1 control entries that do not exist",
    ],
    [
      "an erased id of no entry",
      "INSERT INTO erased_ids VALUES (600, zeroblob(32), zeroblob(16))",
      "table erased_ids: 1 erased ids of no entry",
    ],
    [
      "an erased id of another length",
      "INSERT INTO erased_ids VALUES (1, zeroblob(31), zeroblob(16))",
      "table erased_ids: 1 erased ids of no entry",
    ],
    [
      "a checkpoint of nothing",
      "INSERT INTO checkpoints VALUES (0, 'x')",
      "table checkpoints: 1 checkpoints of no size",
    ],
    [
      "a cosigned checkpoint of nothing",
      "INSERT INTO cosigned VALUES (0, 'x')",
      "table cosigned: 1 cosigned checkpoints of no size",
    ],
    ["an anchor of no entry", "INSERT INTO anchors VALUES (600, x'00', x'00')", "table anchors: 1 anchors of no entry"],
    ["a purge of no erasure", "INSERT INTO purges VALUES (-4)", "table purges: 1 purges of erasures that do not exist"],
    [
      "a disclosure of no entry",
      "INSERT INTO disclosures(idx, disclosure) VALUES (600, 'x')",
      "table disclosures: 1 disclosures of no entry",
    ],
    [
      "an entry before all",
      "INSERT INTO entries VALUES (-1, 'x', NULL, NULL)",
      `1 entries have an index below 0 or above ${2 ** 53 - 2}`,
    ],
    [
      "an entry beyond all numbers",
      "INSERT INTO entries VALUES (9223372036854775807, 'x', NULL, NULL)",
      `1 entries have an index below 0 or above ${2 ** 53 - 2}`,
    ],
  ])("name %s", async (_, sql, expected) => {
    await createAtRest(600);
    tamper(sql);
    const found = await anomalies();
    expect(found.some((anomaly) => anomaly.startsWith(expected))).toBe(true);
  });

  it("leave gaps to whoever reads the entries, and lead across them", async () => {
    await createAtRest(600);
    tamper(
      "DELETE FROM entries WHERE idx IN (123, 124, 400); INSERT INTO entries VALUES (9000000000000000, 'x', NULL, NULL)",
      { guards: "drop" },
    );
    const snapshot = await (await open({ readOnly: true })).snapshot();
    expect([snapshot.seek(122), snapshot.seek(123), snapshot.seek(600), snapshot.seek(9_000_000_000_000_001)]).toEqual([
      122,
      125,
      9_000_000_000_000_000,
      undefined,
    ]);
    await snapshot.close();
  });

  it("name values of another type than their columns, which STRICT would refuse", async () => {
    await createAtRest(600);
    const loosen = "UPDATE sqlite_schema SET sql = replace(sql, ' STRICT', '') WHERE name = 'entries'";
    const tighten = "UPDATE sqlite_schema SET sql = sql || ' STRICT' WHERE name = 'entries'";
    tamper(loosen, { guards: "drop", schema: "writable" });
    tamper(
      "UPDATE entries SET body = CAST(body AS BLOB) WHERE idx = 7; UPDATE entries SET salts = 'text' WHERE idx = 9",
    );
    tamper(tighten, { schema: "writable" });
    const found = await anomalies();
    expect(found.some((anomaly) => anomaly.includes("table entries"))).toBe(false);
    const storage = await open({ readOnly: true });
    await expect(storage.readEntries(0, 100)).rejects.toMatchObject({
      code: "storage-corrupt",
      message: "entry 7 holds a value of another type than its column",
    });
    // Verification still reads every byte.
    const rows = await readAllRaw(storage, 7, 10);
    expect(new TextDecoder().decode(rows[0]?.body ?? undefined)).toBe('{"action":"test.7"}');
    expect(new TextDecoder().decode(rows[2]?.salts ?? undefined)).toBe("text");
    expect(rows.map((row) => row.misfit ?? false)).toEqual([true, false, true]);
  });

  it("name an index that disagrees with its table", async () => {
    const storage = await create(3);
    const digest = new Uint8Array(32).fill(7);
    const redaction = {
      index: 1,
      disclosure: null,
      id: null,
      erasedId: { index: 1, digest, salt: new Uint8Array(16) },
    };
    await storage.commit(NO_READS, () => batchOf(3, 1, { redactions: [redaction] }));
    await storage.close();
    const bytes = readFileSync(path);
    // The digest stands in its row and in the index: change one of them in the file.
    const at = bytes.indexOf(Buffer.from(digest));
    expect(bytes.indexOf(Buffer.from(digest), at + 1)).toBeGreaterThan(at);
    bytes[at + 31] = 8;
    writeFileSync(path, bytes);
    const found = await anomalies();
    expect(found.some((anomaly) => anomaly.startsWith("table erased_ids: ") && anomaly.includes("index"))).toBe(true);
  });

  it("name an encoding that is not UTF-8", async () => {
    await createAtRest(3);
    const schema = new Database(path);
    const statements = schema
      .prepare("SELECT sql FROM sqlite_schema WHERE sql NOT NULL ORDER BY type DESC, rowid")
      .pluck()
      .all() as string[];
    const entries = schema.prepare("SELECT idx, entry, body, salts FROM entries").raw().all();
    schema.close();
    rmSync(path);
    const db = new Database(path);
    db.exec(
      "PRAGMA encoding='UTF-16le'; PRAGMA application_id=1414753383; PRAGMA user_version=1; PRAGMA journal_mode=WAL",
    );
    for (const sql of statements.sort(
      (a, b) =>
        Number(a.startsWith("CREATE TRIGGER")) - Number(b.startsWith("CREATE TRIGGER")) ||
        Number(!a.startsWith("CREATE TABLE")) - Number(!b.startsWith("CREATE TABLE")),
    ))
      db.exec(sql);
    for (const row of entries) db.prepare("INSERT INTO entries VALUES (?, ?, ?, ?)").run(...(row as []));
    db.close();
    expect(await anomalies()).toContain("text is stored as UTF-16le, expected UTF-8");
  });
});

describe("a file that somebody made with another encoding", () => {
  it("stores texts that come as bytes as what they say", async () => {
    const db = new Database(path);
    db.exec("PRAGMA encoding='UTF-16le'; CREATE TABLE gone(x); DROP TABLE gone");
    db.close();
    const storage = await open({ create: true });
    const genesis = { index: 0, entry: "{}", body: '{"a":1}', salts: new Uint8Array(16), disclosure: null };
    const rest = { tiles: [], filters: [], ids: [], controls: [] };
    await storage.create(() => ({ ...rest, entries: [genesis] }));
    const next = { ...genesis, index: 1, entry: Buffer.from("{}"), body: Buffer.from('{"a":"é"}') };
    await storage.commit({ ids: [], idDigests: [], indexes: [] }, () => ({ ...rest, entries: [next] }));
    expect((await storage.readEntries(0, 2)).map(({ entry, body }) => [entry, body])).toEqual([
      ["{}", '{"a":1}'],
      ["{}", '{"a":"é"}'],
    ]);
  });
});

describe("raw entries", () => {
  it("show the stored bytes, whether they are UTF-8 or not", async () => {
    await createAtRest(5);
    tamper(
      "UPDATE entries SET body = CAST(x'ff00fe' AS TEXT) WHERE idx = 1; UPDATE entries SET entry = CAST(x'efbbbf41' AS TEXT) WHERE idx = 2; UPDATE entries SET body = '' WHERE idx = 3",
      { guards: "drop" },
    );
    const rows = await readAllRaw(await open({ readOnly: true }), 0, 5);
    expect([...(rows[1]?.body ?? [])]).toEqual([0xff, 0x00, 0xfe]);
    expect([...(rows[2]?.entry ?? [])]).toEqual([0xef, 0xbb, 0xbf, 0x41]);
    expect(rows[3]?.body?.length).toBe(0);
    expect(rows[4]?.salts).toEqual(entryOf(4).salts);
  });

  it("come as they stand in a file that was edited, which keeps look-ups from finding them", async () => {
    await createAtRest(600);
    const bytes = readFileSync(path);
    // A header of five bytes stands between the index, of two here, and the entry.
    const indexAt = (index: number): number => bytes.indexOf(entryOf(index).entry) - 7;
    const varint = (index: number): number[] => [0x80 | (index >>> 7), index & 0x7f];
    const places = [indexAt(300), indexAt(301)] as const;
    expect(places.map((at) => [...bytes.subarray(at, at + 2)])).toEqual([varint(300), varint(301)]);
    bytes.set(varint(301), places[0]);
    bytes.set(varint(300), places[1]);
    writeFileSync(path, bytes);
    const storage = await open({ readOnly: true });
    expect(await storage.readEntries(300, 301)).toEqual([]);
    const rows = await readAllRaw(storage, 0, 600);
    expect(rows.slice(299, 303).map(({ index }) => index)).toEqual([299, 301, 300, 302]);
  });

  it("are named where a key above them was edited, which keeps look-ups from finding them", async () => {
    await createAtRest(600);
    const snapshotOf = async (): Promise<StorageSnapshot> => (await open({ readOnly: true })).snapshot();
    const whole = await snapshotOf();
    expect(await whole.unreachable(0, 600)).toEqual([]);
    await whole.close();
    const bytes = readFileSync(path);
    const { at, key } = keyAbove(bytes, 300);
    // The rows under the last three indexes of that page are looked for on the next one.
    bytes.set([0x80 | ((key - 3) >>> 7), (key - 3) & 0x7f], at);
    writeFileSync(path, bytes);
    const edited = await snapshotOf();
    expect(await edited.unreachable(0, 600)).toEqual([key, key - 1, key - 2]);
    expect(await edited.unreachable(key, 600)).toEqual([key]);
    await edited.close();
    const storage = await open({ readOnly: true });
    expect(await storage.readEntries(key, key + 1)).toEqual([]);
    expect(await readAllRaw(storage, 0, 600)).toHaveLength(600);
  });

  it("leave out what is missing, and do not walk through a gap row by row", async () => {
    await createAtRest(600);
    tamper("DELETE FROM entries WHERE idx BETWEEN 100 AND 598", { guards: "drop" });
    tamper(`INSERT INTO entries VALUES (${2 ** 53 - 2}, 'far', NULL, NULL)`);
    const storage = await open({ readOnly: true });
    expect((await storage.head()).size).toBe(2 ** 53 - 1);
    const indexes = (await readAllRaw(storage, 0, 2 ** 53 - 1)).map(({ index }) => index);
    expect(indexes).toEqual([...Array(100).keys(), 599, 2 ** 53 - 2]);
  });

  it("come in smaller pages when they are large", async () => {
    const storage = await create(1);
    const sizes = [...Array(40).keys()].map((i) => (i % 10 === 5 ? 9_000_000 : 400_000));
    for (const [i, size] of sizes.entries()) {
      await storage.commit(NO_READS, () => ({ ...batchOf(1, 0), entries: [entryOf(1 + i, "é".repeat(size / 2))] }));
    }
    const snapshot = await storage.snapshot();
    const seen: number[] = [];
    for await (const page of snapshot.readRaw(0, 100)) {
      const bytes = page.map(({ body }) => body?.length ?? 0);
      expect(page.length === 1 || bytes.reduce((a, b) => a + b, 0) <= 8 * 1024 * 1024).toBe(true);
      seen.push(...bytes);
    }
    expect(seen.slice(1)).toEqual(sizes);
    await snapshot.close();
  });

  it("can still be read where a side table was dropped, and so can the rest", async () => {
    const storage = await create(5);
    await storage.commit(NO_READS, () =>
      batchOf(5, 1, { redactions: [{ index: 2, disclosure: "{}", id: null, erasedId: null }] }),
    );
    await storage.close();
    tamper("DROP TABLE disclosures; DROP TABLE ids; DROP TABLE tiles; DROP TABLE checkpoints", { guards: "drop" });
    const later = await open({ readOnly: true });
    expect((await readAllRaw(later, 0, 10)).length).toBe(6);
    expect((await sideTables(later)).anomalies).toContain("the table ids is missing");
  });

  it("are those of the snapshot even when the log grows past a checkpoint", async () => {
    const storage = await create(2_000);
    const snapshot = await storage.snapshot();
    for (let i = 0; i < 5; i++) await storage.commit(NO_READS, ({ head }) => batchOf(head.size, 4_000));
    expect((await storage.head()).size).toBe(22_000);
    let count = 0;
    for await (const page of snapshot.readRaw(0, 1_000_000)) count += page.length;
    expect(count).toBe(2_000);
    await snapshot.close();
  });
});

describe("a snapshot", () => {
  it("keeps few pages in memory, however many it reads", async () => {
    const opened: InstanceType<typeof Database>[] = [];
    const driver = class extends Database {
      constructor(file: string, options: Database.Options) {
        super(file, options);
        opened.push(this);
      }
    } as unknown as SqliteDriver;
    const storage = await create(3, { driver });
    const snapshot = await storage.snapshot();
    expect(opened.at(-1)?.pragma("cache_size", { simple: true })).toBe(-2_000);
    await snapshot.close();
    await storage.close();
  });
});

describe("rebuilding", () => {
  it("mends guards, drops foreign triggers and makes dropped tables anew", async () => {
    await createAtRest(300);
    tamper("DROP TABLE filters; DROP TABLE ids; DROP TABLE checkpoints; CREATE VIEW ids AS SELECT 1", {
      guards: "drop",
    });
    tamper("CREATE TRIGGER evil AFTER INSERT ON entries BEGIN DELETE FROM entries WHERE idx = NEW.idx; END");
    tamper("DROP INDEX disclosures_by_entry");
    const storage = await open();
    await storage.rebuildDerived([batchOf(0, 0, { controls: [0], ids: [{ id: "a", index: 3 }] })]);
    const { anomalies: found, ...rest } = await sideTables(storage);
    expect(found).toEqual([]);
    expect(rest).toMatchObject({ ids: 1, controls: [0], tiles: 0, filters: 0 });
    expect(await append(storage)).toBe(true);
    expect(() => tamper("DELETE FROM entries")).toThrow("entries of a ledger cannot be changed");
  });

  it("is undone as a whole when the disk is full at its end", async () => {
    const faults = new Map<string, string>();
    const storage = await create(300, { driver: faultyDriver(faults) });
    faults.set("COMMIT", "SQLITE_FULL");
    await expect(storage.rebuildDerived([batchOf(0, 0)])).rejects.toMatchObject({ code: "storage-full" });
    faults.clear();
    expect((await storage.readControls()).map(({ index }) => index)).toEqual([0]);
    expect((await sideTables(storage)).anomalies).toEqual([]);
  });
});

describe("leftovers of a crash", () => {
  it("a log and its shared memory without a process are taken up by the next writer", async () => {
    const storage = await create(3);
    await append(storage);
    const crashed = join(directory, "crashed");
    mkdirSync(crashed);
    execFileSync("cp", [path, `${path}-wal`, `${path}-shm`, crashed]);
    await storage.close();
    path = join(crashed, "audit.db");
    const later = await open();
    expect((await later.head()).size).toBe(4);
    expect(await append(later)).toBe(true);
    await later.close();
    expect(readdirSync(crashed)).toEqual(["audit.db"]);
  });

  it("a torn last commit in the log is not part of the ledger", async () => {
    const storage = await create(3);
    await append(storage);
    const crashed = join(directory, "crashed");
    mkdirSync(crashed);
    execFileSync("cp", [path, `${path}-wal`, crashed]);
    await storage.close();
    path = join(crashed, "audit.db");
    const log = statSync(`${path}-wal`).size;
    truncateSync(`${path}-wal`, log - 1_000);
    appendFileSync(`${path}-wal`, Buffer.alloc(1_000, 7));
    const reader = await open({ readOnly: true });
    expect((await reader.head()).size).toBe(3);
    await reader.close();
    const later = await open();
    expect((await later.head()).size).toBe(3);
    expect(await append(later)).toBe(true);
  });

  it("a file that got its header but not its tables becomes a ledger", async () => {
    const db = new Database(path);
    db.exec("PRAGMA journal_mode=WAL");
    db.close();
    expect(statSync(path).size).toBe(4_096);
    expect((await (await create(2)).head()).size).toBe(2);
  });
});

/** The first key above `index` in the root of the entries, an inner page, and where its two bytes stand. */
function keyAbove(bytes: Buffer, index: number): { readonly at: number; readonly key: number } {
  const page = 4_096;
  expect(bytes[page]).toBe(5);
  for (let cell = 0; cell < bytes.readUInt16BE(page + 3); cell++) {
    const at = page + bytes.readUInt16BE(page + 12 + 2 * cell) + 4;
    const [high = 0, low = 0] = bytes.subarray(at, at + 2);
    const key = high < 0x80 ? high : (high & 0x7f) * 128 + low;
    if (key > index) return { at, key };
  }
  throw new Error(`no key above ${index}`);
}
