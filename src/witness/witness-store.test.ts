import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { encodeUtf8 } from "../core/encoding.ts";
import { sha256 } from "../core/hash.ts";
import {
  loadSqliteDriver,
  type SqliteDatabase,
  type SqliteDriver,
  type SqliteStatement,
} from "../storage/sqlite-driver.ts";
import { sqliteWitnessStore, type WitnessedHead, type WitnessStore } from "./witness-store.ts";

const driver = await loadSqliteDriver();
const origin = "log.test/a";
let folder: string;
const stores: WitnessStore[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tallystick-witness-store-"));
});
afterEach(() => {
  for (const store of stores.splice(0)) store.close();
  rmSync(folder, { recursive: true });
});

const path = (name: string): string => join(folder, name);

function open(
  options: { readonly archive?: string; readonly driver?: SqliteDriver; readonly name?: string } = {},
): WitnessStore {
  const store = sqliteWitnessStore({
    path: path(options.name ?? "w.sqlite"),
    driver: options.driver ?? driver,
    ...(options.archive === undefined ? {} : { archivePath: path(options.archive) }),
  });
  stores.push(store);
  return store;
}

function close(store: WitnessStore): void {
  stores.splice(stores.indexOf(store), 1);
  store.close();
}

const head = (size: number, history: string = "a"): WitnessedHead => ({
  size,
  root: Uint8Array.from(sha256(encodeUtf8(`${history} ${size}`))),
  note: `note ${history} ${size}`,
});

describe("compare-and-set", () => {
  it("stores what follows what is stored, and answers with what stands otherwise", async () => {
    const store = open();
    expect(await store.update(origin, undefined, head(1))).toEqual({ stored: true });
    expect(await store.update(origin, undefined, head(2))).toEqual({ stored: false, head: head(1) });
    expect(await store.update(origin, head(1, "b"), head(2))).toEqual({ stored: false, head: head(1) });
    expect(await store.update(origin, head(1), head(2))).toEqual({ stored: true });
    expect(store.head(origin)).toEqual(head(2));
    expect(store.head("log.test/other")).toBeUndefined();
    await expect(store.update(origin, head(2), head(1))).rejects.toMatchObject({ code: "invariant-broken" });
  });

  it("lets one of those that race win, in one transaction and across processes' connections", async () => {
    const store = open();
    const other = open();
    await store.update(origin, undefined, head(1));
    const results = await Promise.all(
      Array.from({ length: 600 }, (_, i) => (i % 2 === 0 ? store : other).update(origin, head(1), head(2, `${i}`))),
    );
    expect(results.filter(({ stored }) => stored)).toHaveLength(1);
    const winner = store.head(origin);
    expect(winner?.note).toBe(`note ${results.findIndex(({ stored }) => stored)} 2`);
    for (const result of results) if (!result.stored) expect(result.head).toEqual(winner);
  });

  it("keeps many logs apart", async () => {
    const store = open();
    const origins = Array.from({ length: 1_000 }, (_, i) => `log.test/${i}`);
    const results = await Promise.all(origins.map((each, i) => store.update(each, undefined, head(i + 1, each))));
    expect(results.every(({ stored }) => stored)).toBe(true);
    close(store);
    const again = open();
    for (const [i, each] of origins.entries()) expect(again.head(each)).toEqual(head(i + 1, each));
  });

  it("stores what waits before it closes", async () => {
    const store = open();
    const update = store.update(origin, undefined, head(1));
    close(store);
    expect(await update).toEqual({ stored: true });
    expect(open().head(origin)).toEqual(head(1));
  });
});

describe("evidence", () => {
  it("is kept once for each contradiction, and bounded for each log", () => {
    const store = open();
    const keep = (of: string, i: number): void =>
      store.keepEvidence({ origin: of, time: i, held: "held", offered: `offered ${i}`, proof: "" });
    for (let i = 0; i < 150; i++) for (let again = 0; again < 2; again++) keep(origin, i);
    keep("log.test/b", 7);
    expect(store.evidence(origin)).toHaveLength(100);
    expect(store.evidence("log.test/b")).toEqual([
      { origin: "log.test/b", time: 7, held: "held", offered: "offered 7", proof: "" },
    ]);
    expect(store.countEvidence()).toBe(101);
  });
});

describe("the archive", () => {
  /** A witness with an archive that cosigned size 5, whose database alone is then put back to what it was at size 2. */
  async function restored(): Promise<void> {
    for (const sizes of [
      [1, 2],
      [3, 4, 5],
    ]) {
      const store = open({ archive: "archive.sqlite" });
      for (const size of sizes) await store.update(origin, store.head(origin), head(size));
      close(store);
      if (sizes.includes(2)) copyFileSync(path("w.sqlite"), path("backup.sqlite"));
    }
    copyFileSync(path("backup.sqlite"), path("w.sqlite"));
  }

  it("refuses to start on a database that was rolled back, with both notes", async () => {
    await restored();
    expect(() => open({ archive: "archive.sqlite" })).toThrow(
      expect.objectContaining({
        code: "rolled-back",
        message: expect.stringContaining(`it cosigned size 5 of ${origin}`),
        details: expect.objectContaining({ expected: 5, found: 2, note: head(5).note, own: head(2).note }),
      }),
    );
  });

  it("refuses to start on an empty database in place of the lost one", async () => {
    await restored();
    expect(() => open({ archive: "archive.sqlite", name: "new.sqlite" })).toThrow(
      expect.objectContaining({ code: "rolled-back", details: expect.objectContaining({ expected: 5, found: 0 }) }),
    );
  });

  it("can take the place of a lost database", async () => {
    await restored();
    copyFileSync(path("archive.sqlite"), path("copy.sqlite"));
    expect(open({ archive: "archive.sqlite", name: "copy.sqlite" }).head(origin)).toEqual(head(5));
  });

  it("refuses another tree of the same size", async () => {
    const store = open({ archive: "archive.sqlite" });
    await store.update(origin, undefined, head(3));
    close(store);
    const other = open({ name: "other.sqlite" });
    await other.update(origin, undefined, head(3, "b"));
    close(other);
    expect(() => open({ archive: "archive.sqlite", name: "other.sqlite" })).toThrow(
      expect.objectContaining({ code: "forked" }),
    );
  });

  it("is filled when it is new, and catches up after a crash between the two files", async () => {
    const store = open();
    await store.update(origin, undefined, head(3));
    close(store);
    close(open({ archive: "archive.sqlite" }));
    expect(open({ name: "archive.sqlite" }).head(origin)).toEqual(head(3));
  });
});

describe("the file", () => {
  it("is not taken from a ledger or anybody else, nor touched", () => {
    const db = new driver(path("w.sqlite"), { readonly: false, fileMustExist: false, timeout: 0 });
    db.exec("CREATE TABLE mine(x)");
    db.close();
    expect(() => open()).toThrow(
      expect.objectContaining({
        code: "foreign-database",
        message: expect.stringContaining("not the database of a witness"),
      }),
    );
  });

  it("is refused when it is of a newer format, and when it has no folder", () => {
    close(open());
    const db = new driver(path("w.sqlite"), { readonly: false, fileMustExist: true, timeout: 0 });
    db.exec("PRAGMA user_version=2");
    db.close();
    expect(() => open()).toThrow(expect.objectContaining({ code: "newer-format" }));
    expect(() => open({ name: "none/w.sqlite" })).toThrow(expect.objectContaining({ code: "storage-io" }));
  });
});

/** A driver that fails at its `n`-th statement that writes: before it has an effect, or after. */
function failingAt(n: number, when: "before" | "after"): { readonly driver: SqliteDriver; count(): number } {
  let count = 0;
  const step = (work: () => unknown): unknown => {
    count += 1;
    const fails = count === n;
    const fail = (): never => {
      throw Object.assign(new Error("disk I/O error"), { code: "SQLITE_IOERR_FSYNC" });
    };
    if (fails && when === "before") fail();
    const result = work();
    if (fails) fail();
    return result;
  };
  class Failing implements SqliteDatabase {
    private readonly db: SqliteDatabase;
    constructor(...args: ConstructorParameters<SqliteDriver>) {
      this.db = new driver(...args);
    }
    prepare(sql: string): SqliteStatement {
      const statement = this.db.prepare(sql);
      return {
        run: (...values) => step(() => statement.run(...values)),
        get: (...values) => statement.get(...values),
        all: (...values) => statement.all(...values),
      };
    }
    exec(sql: string) {
      return step(() => this.db.exec(sql));
    }
    close() {
      return this.db.close();
    }
  }
  return { driver: Failing, count: () => count };
}

describe("a failure at any write", () => {
  it("leaves a state that the next start takes up, and never lets an update pass that is not in both files", async () => {
    let steps = Number.POSITIVE_INFINITY;
    for (const when of ["before", "after"] as const) {
      for (let n = 1; n <= steps; n++) {
        const name = `${when}-${n}.sqlite`;
        const archive = `${when}-${n}-archive.sqlite`;
        const failing = failingAt(n, when);
        const outcomes: string[] = [];
        let known: WitnessedHead | undefined;
        try {
          const store = open({ name, archive, driver: failing.driver });
          for (const next of [head(1), head(2), head(2)]) {
            await store.update(origin, known, next).then(
              ({ stored }) => {
                outcomes.push(stored ? "stored" : "conflict");
                known = store.head(origin);
              },
              () => outcomes.push("failed"),
            );
          }
          close(store);
        } catch {
          outcomes.push("not opened");
        }
        steps = Math.min(steps, n > failing.count() ? n : steps);
        const again = open({ name, archive });
        const archived = open({ name: archive });
        const released = outcomes.filter((outcome) => outcome === "stored").length === 0 ? 0 : (known?.size ?? 0);
        expect(again.head(origin)?.size ?? 0, name).toBeGreaterThanOrEqual(released);
        expect(archived.head(origin)?.size ?? 0, name).toBeGreaterThanOrEqual(released);
        const next = head(9, "later");
        expect(await again.update(origin, again.head(origin), next), name).toEqual({ stored: true });
        close(again);
        close(archived);
      }
    }
    expect(steps).toBeGreaterThan(10);
  });
});
