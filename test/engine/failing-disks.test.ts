import { execFileSync } from "node:child_process";
import {
  chmodSync,
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it, onTestFinished, type TestContext } from "vitest";
import { writeDocument } from "../../src/cli/files.ts";
import { createOutput } from "../../src/cli/output.ts";
import { isTallystickError } from "../../src/core/errors.ts";
import { exportPem, openState } from "../../src/keys/index.ts";
import type { Clock } from "../../src/ledger/clock.ts";
import { seededRandom } from "../../src/ledger/seeded-random.ts";
import { Ledger, type OpenOptions } from "../../src/open.ts";
import type { SqliteDatabase, SqliteDriver } from "../../src/storage/sqlite-driver.ts";
import { verify } from "../../src/verify.ts";
import { codeOf, copyPlace, driver, filesIn, newPlace, openAt, type Place, verifyAt } from "./place.ts";
import { AT, buildWorld, LOG_KEY, login, ORIGIN, type World } from "./world.ts";

let world: World;
let policy: string;
beforeAll(async () => {
  world = await buildWorld();
  ({ policy } = world.held);
});

/** A driver whose calls fail when `fault` says so: the error of SQLite's that it returns is thrown instead of the call. */
function failing(fault: (call: { readonly number: number; readonly sql: string }) => string | undefined): SqliteDriver {
  let number = 0;
  const check = (sql: string): void => {
    number += 1;
    const code = fault({ number, sql });
    if (code !== undefined) throw Object.assign(new Error(`injected into ${sql.slice(0, 40)}`), { code });
  };
  return class {
    private readonly db: SqliteDatabase;
    constructor(...args: ConstructorParameters<SqliteDriver>) {
      check("open");
      this.db = new driver(...args);
    }
    prepare(sql: string): ReturnType<SqliteDatabase["prepare"]> {
      check(sql);
      const statement = this.db.prepare(sql);
      const around =
        <A extends readonly unknown[], R>(run: (...args: A) => R) =>
        (...args: A): R => {
          check(sql);
          return run(...args);
        };
      return {
        run: around((...values) => statement.run(...values)),
        get: around((...values) => statement.get(...values)),
        all: around((...values) => statement.all(...values)),
      };
    }
    exec(sql: string): unknown {
      check(sql);
      return this.db.exec(sql);
    }
    close(): void {
      this.db.close();
    }
  };
}

describe("a first use that fails", () => {
  const use = async (place: Place, options: OpenOptions): Promise<void> => {
    const ledger = await openAt(place, options);
    try {
      await ledger.append({ action: "first.event" });
    } finally {
      await ledger.close();
    }
  };

  it.each<readonly [string, OpenOptions]>([
    ["an origin of chance", {}],
    ["an origin of the operator's choice", { origin: ORIGIN }],
    ["a given key", { origin: ORIGIN, signer: LOG_KEY }],
  ])("at whatever call of the driver, with %s, says so and works the next time", async (_, options) => {
    let calls = 0;
    await use(newPlace(), {
      ...options,
      driver: failing(({ number }) => {
        calls = number;
        return undefined;
      }),
    });
    const codes = new Set<string>();
    for (let at = 1; at <= calls; at++) {
      const place = newPlace();
      const faulty = failing(({ number }) => (number === at ? "SQLITE_FULL" : undefined));
      const code = await codeOf(use(place, { ...options, driver: faulty }));
      if (code !== undefined) codes.add(code);
      // The same program, started again.
      await use(place, options);
      const report = await verify(place.path, { state: place.state, driver });
      expect(report.findings).toEqual([]);
      expect(report).toMatchObject({ ok: true, conclusive: true });
      expect(report.size).toBeLessThanOrEqual(3);
      rmSync(place.folder, { recursive: true });
    }
    expect(calls).toBeGreaterThan(50);
    // Where the lock store is what failed it says so; nothing else is possible.
    for (const code of codes)
      expect(["storage-full", "lock-store-unavailable", "lock-store-lost", "outcome-unknown"]).toContain(code);
  });
});

describe("a disk that fills up or fails later", () => {
  it("at any call of a day's work: a typed error, nothing half-written, and the retry works", {
    timeout: 60_000,
  }, async () => {
    const day = async (place: Place, driver_: SqliteDriver, codes: Set<string>): Promise<string[]> => {
      const acknowledged: string[] = [];
      const attempt = async (work: () => Promise<unknown>): Promise<void> => {
        const code = await codeOf(work);
        if (code !== undefined) codes.add(code);
      };
      await attempt(async () => {
        const ledger = await openAt(place, { signer: LOG_KEY, driver: driver_ });
        for (let i = 0; i < 3; i++)
          await attempt(async () => {
            await ledger.append(login(100 + i));
            acknowledged.push(`login-${100 + i}`);
          });
        await attempt(async () => {
          await ledger.appendMany([login(103), login(104)]);
          acknowledged.push("login-103", "login-104");
        });
        await attempt(() => ledger.checkpoint());
        await attempt(() => ledger.erase(30, { reason: "r" }));
        await attempt(() => ledger.close());
      });
      return acknowledged;
    };
    let calls = 0;
    const codes = new Set<string>();
    await day(
      copyPlace(world.place),
      failing(({ number }) => {
        calls = number;
        return undefined;
      }),
      codes,
    );
    expect([...codes]).toEqual([]);
    const random = seededRandom("disk");
    for (let at = 1; at <= calls; at += 1 + (random.fill(new Uint8Array(1))[0]! % 3)) {
      const place = copyPlace(world.place);
      const code = ["SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_FSYNC", "SQLITE_IOERR_READ"][at % 4]!;
      const acknowledged = await day(
        place,
        failing(({ number }) => (number === at ? code : undefined)),
        codes,
      );
      const ledger = await openAt(place, { signer: LOG_KEY });
      for (const id of acknowledged) expect((await ledger.findById(id))?.event?.id).toBe(id);
      // Whoever was not answered sends again.
      for (let i = 0; i < 5; i++) await ledger.append(login(100 + i));
      if ((await ledger.read(30)).erased === null) await ledger.erase(30, { reason: "r" });
      await ledger.close();
      const { report, exit, found } = await verifyAt(place.path, { policy, expect: world.held.last });
      expect(found).toEqual([]);
      expect(exit).toBe(0);
      expect(report.size).toBe(AT.size + 6);
      rmSync(place.folder, { recursive: true });
    }
    for (const code of codes)
      expect(["storage-full", "storage-io", "outcome-unknown", "lock-store-unavailable"]).toContain(code);
  });

  it("a file that may not grow: the append is refused as a whole, and made once it may", async () => {
    const place = copyPlace(world.place);
    let pages = 0;
    const bounded = class extends (driver as unknown as new (...args: unknown[]) => SqliteDatabase) {
      constructor(...args: unknown[]) {
        super(...args);
        if (pages > 0 && String(args[0]).endsWith("audit.db")) this.exec(`PRAGMA max_page_count = ${pages}`);
      }
    } as unknown as SqliteDriver;
    pages = Math.ceil(statSync(place.path).size / 4096) + 8;
    const ledger = await openAt(place, { signer: LOG_KEY, driver: bounded });
    let appended = 0;
    const big = (i: number) => ({ id: `big-${i}`, action: "big.event", payload: "x".repeat(3_000) });
    await expect(
      (async () => {
        for (;;) {
          await ledger.appendMany([big(appended), big(appended + 1)]);
          appended += 2;
        }
      })(),
    ).rejects.toMatchObject({ code: "storage-full", message: expect.stringContaining("the disk is full") });
    expect(appended).toBeGreaterThan(2);
    expect(ledger.size).toBe(AT.size + appended);
    await ledger.close().catch(() => {});
    expect(await verifyAt(place.path, { policy })).toMatchObject({ exit: 0, found: [] });
    pages = 0;
    const again = await openAt(place, { signer: LOG_KEY, driver: bounded });
    const results = await again.appendMany([big(appended), big(appended + 1)]);
    expect(results.map(({ index }) => index)).toEqual([AT.size + appended, AT.size + appended + 1]);
    await again.close();
    expect(await verifyAt(place.path, { policy })).toMatchObject({ exit: 0, found: [] });
  });

  it("a small file system, with the state directory on it as well", async (context) => {
    const room = fileSystem(context, "1m");
    const place: Place = { folder: room, path: join(room, "audit.db"), state: join(room, "state") };
    const ledger = await openAt(place, { origin: ORIGIN, signer: LOG_KEY });
    let appended = 0;
    let refusal: unknown;
    while (refusal === undefined) {
      const events = Array.from({ length: 20 }, (_, i) => ({ ...login(appended + i), payload: "x".repeat(500) }));
      refusal = await ledger.appendMany(events).then(
        () => undefined,
        (error: unknown) => error,
      );
      if (refusal === undefined) appended += 20;
    }
    expect(refusal).toMatchObject({ code: "storage-full" });
    expect(appended).toBeGreaterThan(100);
    // The checkpoint over what is durable needs room too: it is refused or made, and appends nothing.
    const code = await codeOf(ledger.checkpoint());
    if (code !== undefined) expect(["lock-store-unavailable", "storage-full", "storage-io"]).toContain(code);
    execFileSync("mount", ["-o", "remount,size=8m", room]);
    const [first] = await ledger.appendMany([login(appended)]);
    expect(first?.index).toBe(1 + appended);
    await ledger.close();
    const report = await verify(place.path, { state: place.state, driver });
    expect(report).toMatchObject({ ok: true, conclusive: true, size: 2 + appended, findings: [] });
  });
});

describe("a key on a disk that is full", () => {
  const KEPT = exportPem(LOG_KEY);
  // Longer than the one page that is left: the file is there and half-written when the disk says no.
  const LONG = `${"x".repeat(6_000)}\n`;

  it.for([0, 1])("is not left half-written in the state directory, with %i pages free", (pages, context) => {
    const room = fileSystem(context, "64k");
    const state = openState({ dir: join(room, "state") });
    state.writeKey(ORIGIN, KEPT);
    const refill = fill(room, pages);
    const before = filesIn(room);
    for (const write of [() => state.writeKey(ORIGIN, LONG, "next"), () => state.writePolicy(ORIGIN, LONG)])
      expect(write).toThrow(
        expect.objectContaining({ code: "storage-full", details: { dir: state.dir, errno: "ENOSPC" } }),
      );
    expect(filesIn(room)).toEqual(before);
    expect(state.listKeys(ORIGIN)).toEqual(["key"]);
    expect(state.readKey(ORIGIN)).toBe(KEPT);
    rmSync(refill);
    state.writeKey(ORIGIN, LONG, "next");
    expect(state.readKey(ORIGIN, "next")).toBe(LONG);
  });

  it.for([0, 1])("is not left half-written in a file of its own, with %i pages free", async (pages, context) => {
    const room = fileSystem(context, "64k");
    const [fresh, old] = [join(room, "new.pem"), join(room, "backup.json")];
    const out = createOutput({ json: false, quiet: true });
    writeFileSync(old, "the backup of yesterday\n");
    const refill = fill(room, pages);
    const before = filesIn(room);
    await expect(writeDocument(out, fresh, [LONG], { mode: 0o600, exclusive: true })).rejects.toMatchObject({
      code: "ENOSPC",
      path: fresh,
    });
    await expect(writeDocument(out, old, [LONG], { mode: 0o600 })).rejects.toMatchObject({ code: "ENOSPC", path: old });
    expect(filesIn(room)).toEqual(before);
    expect(readFileSync(old, "utf8")).toBe("the backup of yesterday\n");
    rmSync(refill);
    await writeDocument(out, fresh, [LONG], { mode: 0o600, exclusive: true });
    expect(readFileSync(fresh, "utf8")).toBe(LONG);
  });
});

/** Takes all room of a file system but so many pages, with a file that it names: whoever removes it makes room. */
function fill(room: string, pages: number): string {
  const filler = join(room, "filler");
  const file = openSync(filler, "w");
  try {
    for (;;) writeSync(file, Buffer.alloc(4_096));
  } catch (error) {
    expect(error).toMatchObject({ code: "ENOSPC" });
  } finally {
    closeSync(file);
  }
  truncateSync(filler, statSync(filler).size - 4_096 * pages);
  return filler;
}

/** A file system of its own. Skips where this user cannot mount one. */
function fileSystem(context: TestContext, size: string): string {
  const { folder } = newPlace();
  const room = join(folder, "room");
  mkdirSync(room);
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${size}`, "tmpfs", room], { stdio: "ignore" });
  } catch {
    context.skip("needs the right to mount a file system");
  }
  onTestFinished(() => void execFileSync("umount", ["-l", room]));
  return room;
}

describe("a place that cannot be written", () => {
  /** What the readers of a read-only ledger do; everything but writing works, and nothing is left. */
  async function lookAround(path: string, state: string): Promise<void> {
    const before = readdirSync(join(path, ".."));
    expect(await verifyAt(path, { policy, expect: world.held.last })).toMatchObject({ exit: 0, found: [] });
    const ledger = await Ledger.open(path, { readOnly: true, state });
    expect(ledger.size).toBe(AT.size);
    expect((await ledger.read(5)).event?.id).toBe("login-5");
    // When it was verified cannot be noted in such a state directory; that keeps nobody from verifying.
    expect((await ledger.verify({ policy })).ok).toBe(true);
    expect(await verify(path, { policy, state, driver })).toMatchObject({ ok: true, findings: [] });
    expect(await codeOf(ledger.append(login(1)))).toBe("read-only");
    expect(await ledger.checkpoint()).toBe(world.held.last);
    await ledger.close();
    expect(readdirSync(join(path, ".."))).toEqual(before);
  }

  it("a read-only file system: readers read, verify leaves nothing, writers are told", async (context) => {
    const room = fileSystem(context, "8m");
    const path = join(room, "audit.db");
    copyFileSync(world.place.path, path);
    mkdirSync(join(room, "state"));
    execFileSync("mount", ["-o", "remount,ro", room]);
    await lookAround(path, join(room, "state"));
    const state = newPlace().state;
    expect(await codeOf(Ledger.open(path, { state, signer: LOG_KEY, notify: () => {} }))).toMatch(
      /^(read-only|storage-io)$/,
    );
    expect(await codeOf(Ledger.open(join(room, "new.db"), { state, notify: () => {} }))).toMatch(
      /^(read-only|storage-io)$/,
    );
    expect(existsSync(join(room, "new.db"))).toBe(false);
  });

  it("a read-only file in a read-only directory", async (context) => {
    if (process.getuid?.() === 0) context.skip("needs a user whom permissions bind: not root");
    const place = newPlace();
    const folder = join(place.folder, "closed");
    mkdirSync(folder);
    copyFileSync(world.place.path, join(folder, "audit.db"));
    chmodSync(join(folder, "audit.db"), 0o444);
    chmodSync(folder, 0o555);
    onTestFinished(() => chmodSync(folder, 0o755));
    await lookAround(join(folder, "audit.db"), place.state);
  });
});

describe("a database that somebody else has locked", () => {
  it("is storage-busy after a while, with nothing written; then the same append works", async () => {
    const place = copyPlace(world.place);
    // A clock that runs a hundred times as fast, so that nobody waits half a minute.
    const fast: Clock = {
      now: () => Date.now(),
      monotonic: () => performance.now() * 100,
      after: (delayMs, run) => {
        const timer = setTimeout(run, delayMs / 100);
        return () => clearTimeout(timer);
      },
    };
    const ledger = await openAt(place, { signer: LOG_KEY, clock: fast });
    const other = new driver(place.path, { readonly: false, fileMustExist: true, timeout: 0 });
    other.exec("BEGIN IMMEDIATE");
    await expect(ledger.append({ ...login(1), id: "busy" })).rejects.toMatchObject({
      code: "storage-busy",
      message: expect.stringContaining(place.path),
    });
    // Reads and verification go on meanwhile.
    expect((await ledger.read(3)).index).toBe(3);
    expect(await verifyAt(place.path, { policy })).toMatchObject({ exit: 0 });
    other.exec("ROLLBACK");
    other.close();
    expect(await ledger.append({ ...login(1), id: "busy" })).toMatchObject({ index: AT.size, duplicate: false });
    await ledger.close();
    expect(await verifyAt(place.path, { policy })).toMatchObject({ exit: 0, found: [] });
  });
});

describe("files that are no ledger, or one no more", () => {
  /** Code for verify, for a reader, for a writer who may create, and for one who may not. */
  type Codes = readonly [verify: RegExp, read: RegExp, write: RegExp, never: RegExp];
  const all = (code: string): Codes => [new RegExp(code), new RegExp(code), new RegExp(code), new RegExp(code)];
  const sqlite = (path: string, sql: string): void => {
    const db = new driver(path, { readonly: false, fileMustExist: false, timeout: 0 });
    db.exec(sql);
    db.close();
  };

  it.each<readonly [string, (path: string) => void, Codes]>([
    ["nothing", () => {}, [/not-found/, /not-found/, /^undefined$/, /not-found/]],
    ["an empty file", (path) => writeFileSync(path, ""), [/not-found/, /not-found/, /^undefined$/, /not-found/]],
    ["a text file", (path) => writeFileSync(path, "hello\n".repeat(1_000)), all("not-a-ledger")],
    ["a short file", (path) => writeFileSync(path, "SQLite"), all("not-a-ledger")],
    ["a JSON file", (path) => writeFileSync(path, '{"a":1}\n'), [/unrecognised-file/, /not-a/, /not-a/, /not-a/]],
    ["a directory", (path) => mkdirSync(path), [/not-found|not-a-ledger|unrecognised-file/, /not-a/, /not-a/, /not-a/]],
    ["an application's database", (path) => sqlite(path, "CREATE TABLE users(name)"), all("foreign-database")],
    [
      "a file of another program",
      (path) => sqlite(path, "PRAGMA application_id=7; CREATE TABLE t(a)"),
      all("foreign-database"),
    ],
    [
      "a ledger of a newer format",
      (path) => {
        copyFileSync(world.place.path, path);
        sqlite(path, "PRAGMA user_version = 2");
      },
      all("newer-format"),
    ],
    [
      "a ledger without entries",
      (path) => {
        copyFileSync(world.place.path, path);
        sqlite(path, "DROP TRIGGER entries_refuse_delete; DELETE FROM entries");
      },
      [/not-a-ledger/, /not-a-ledger/, /not-a-ledger|foreign/, /not-a-ledger/],
    ],
  ])(
    "%s: a code for each, and not one byte changed",
    async (_, make, [whenVerified, whenRead, whenWritten, whenNever]) => {
      const place = newPlace();
      make(place.path);
      const bytes = (): unknown =>
        existsSync(place.path) && statSync(place.path).isFile() ? readFileSync(place.path) : null;
      const before = bytes();
      const files = readdirSync(place.folder);
      expect(String(await codeOf(verify(place.path, { state: null, driver })))).toMatch(whenVerified);
      expect(String(await codeOf(openAt(place, { readOnly: true })))).toMatch(whenRead);
      expect(String(await codeOf(openAt(place, { create: "never" })))).toMatch(whenNever);
      expect(bytes()).toEqual(before);
      expect(readdirSync(place.folder)).toEqual(files);
      const code = String(await codeOf(async () => (await openAt(place)).close()));
      expect(code).toMatch(whenWritten);
      if (code !== "undefined") {
        expect(bytes()).toEqual(before);
        // Neither key nor lock store of a ledger that was not made.
        expect(filesIn(place.folder).filter((file) => file.includes("state"))).toEqual([]);
      }
    },
  );

  it("a file cut off at any length is an error or a finding, and stays as it is", async () => {
    const { size } = statSync(world.place.path);
    const lengths = [1, 15, 16, 99, 100, 112, 511, 512, 4_095, 4_096, 4_097, size >>> 1, size - 4_096, size - 1];
    for (const length of [...lengths, ...Array.from({ length: 20 }, (_, i) => Math.floor((size * (i + 1)) / 21))]) {
      const place = copyPlace(world.place);
      truncateSync(place.path, length);
      const before = readFileSync(place.path);
      await expectNoticed(place, `${length} of ${size} bytes`);
      expect(readFileSync(place.path)).toEqual(before);
      rmSync(place.folder, { recursive: true });
    }
  });

  it("an edited key above the entries, which hides some of them from look-ups, is a finding", async () => {
    const place = copyPlace(world.place);
    const bytes = readFileSync(place.path);
    // The root of the entries is the second page, an inner one: its first key stands behind the number of the page below it.
    const page = 4_096;
    expect(bytes[page]).toBe(5);
    const at = page + bytes.readUInt16BE(page + 12) + 4;
    const key = bytes[at] as number;
    expect(key).toBeGreaterThan(2);
    expect(key).toBeLessThan(0x80);
    bytes[at] = key - 2;
    writeFileSync(place.path, bytes);
    const { exit, report } = await verifyAt(place.path, { policy });
    expect(exit).toBe(1);
    expect(report.findings).toContainEqual(
      expect.objectContaining({
        code: "entry-missing",
        index: key - 1,
        message: `entries ${key - 1} to ${key} are stored where no look-up finds them`,
      }),
    );
    rmSync(place.folder, { recursive: true });
  });

  it("random damage is an error, a finding, or outside of everything that is read", async () => {
    const random = seededRandom("damage");
    const pick = (count: number): number => {
      const [a, b, c] = random.fill(new Uint8Array(3)) as unknown as [number, number, number];
      return (a * 65_536 + b * 256 + c) % count;
    };
    const { size } = statSync(world.place.path);
    const untouched = (await verifyAt(world.place.path, { policy })).report;
    let noticed = 0;
    for (let round = 0; round < 150; round++) {
      const place = copyPlace(world.place);
      const file = openSync(place.path, "r+");
      const at = pick(size);
      const count = 1 + pick(round % 3 === 0 ? 400 : 3);
      writeSync(file, random.fill(new Uint8Array(Math.min(count, size - at))), 0, Math.min(count, size - at), at);
      let outcome: unknown;
      try {
        outcome = await verifyAt(place.path, { policy });
      } catch (error) {
        if (!isTallystickError(error)) throw new Error(`round ${round}: not one of our errors`, { cause: error });
        expect(error.code, `round ${round}`).toMatch(
          /^(storage-|not-a-ledger|foreign-database|newer-format|not-found)/,
        );
        noticed += 1;
        continue;
      } finally {
        rmSync(place.folder, { recursive: true });
      }
      const { report } = outcome as { readonly report: typeof untouched };
      if (report.ok && !report.needsReindex) expect({ ...report }, `round ${round} at ${at}`).toEqual(untouched);
      else noticed += 1;
    }
    expect(noticed).toBeGreaterThan(40);
  });

  async function expectNoticed(place: Place, what: string): Promise<void> {
    const outcome = await verifyAt(place.path, { policy }).catch((error: unknown) => error);
    if (outcome instanceof Error) {
      if (!isTallystickError(outcome)) throw new Error(`${what}: not one of our errors`, { cause: outcome });
      expect(outcome.code, what).toMatch(/^(storage-corrupt|storage-io|not-a-ledger)$/);
    } else expect((outcome as { readonly exit: number }).exit, what).toBe(1);
    const opened = await openAt(place, { signer: LOG_KEY, create: "never" }).catch((error: unknown) => error);
    if (!(opened instanceof Error)) {
      // What it needs at open is there: the rest shows when it is read.
      await (opened as Ledger).close().catch(() => {});
    } else if (!isTallystickError(opened)) throw new Error(`${what}: not one of our errors`, { cause: opened });
  }
});
