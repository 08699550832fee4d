import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { Batch, LedgerStorage } from "../../src/ledger/storage.ts";
import { openSqliteStorage } from "../../src/storage/sqlite.ts";
import { answerOf, bundleChildJobs, type ChildJobs, killAfter } from "../child-jobs.ts";

const PROCESSES = 8;
const APPENDS = 40;

let child: ChildJobs;

const JOBS = `
import { readdirSync } from "node:fs";
import { openSqliteStorage } from "./src/storage/sqlite.ts";

const none = { ids: [], idDigests: [], indexes: [] };
const batch = (entries, extra) => ({ entries, tiles: [], filters: [], ids: [], controls: [], ...extra });
const entry = (index, body) => ({ index, entry: "entry " + index, body, salts: new Uint8Array(16), disclosure: null });
const append = async (storage, body) => {
  let at;
  await storage.commit(none, ({ head }) => batch([entry((at = head.size), body)]));
  return at;
};
const jobs = {
  async ping() {
    return "here";
  },
  async create({ path, id }) {
    const storage = await openSqliteStorage(path, { create: true });
    let ran = 0;
    const created = await storage.create(async () => {
      ran += 1;
      await new Promise((resolve) => setTimeout(resolve, 20));
      return batch([entry(0, "by " + id)], { controls: [0] });
    });
    const mine = await append(storage, "first of " + id);
    await storage.close();
    return { created, ran, mine };
  },
  // Appends, and says how long its event loop stood still at most.
  async append({ path, id }) {
    const storage = await openSqliteStorage(path);
    let longest = 0;
    let last = performance.now();
    const timer = setInterval(() => {
      longest = Math.max(longest, performance.now() - last);
      last = performance.now();
    }, 1);
    const indexes = [];
    for (let i = 0; i < ${APPENDS}; i++) indexes.push(await append(storage, id + "/" + i));
    clearInterval(timer);
    await storage.close();
    return { indexes, longest };
  },
  // Appends for ever and says each index once it is durable; it is killed in the middle of it.
  async forever({ path }) {
    const storage = await openSqliteStorage(path);
    for (;;) process.send(await append(storage, "x".repeat(5000)));
  },
  // Opens and reads, over and over, while others write; fails if what it reads has a gap or goes back.
  async read({ path }) {
    let seen = 0;
    for (let i = 0; i < 25; i++) {
      const storage = await openSqliteStorage(path, { readOnly: true });
      const snapshot = await storage.snapshot();
      let next = 0;
      for (const page of snapshot.readRaw(0, snapshot.head.size)) {
        for (const { index } of page) if (index !== next++) throw new Error("expected " + (next - 1) + ", got " + index);
      }
      if (next !== snapshot.head.size || next < seen) throw new Error("read " + next + " of " + snapshot.head.size);
      seen = next;
      const { anomalies } = await snapshot.sideTables();
      if (anomalies.length > 0) throw new Error(anomalies.join());
      await snapshot.close();
      await storage.close();
    }
    return seen;
  },
  // Holds a snapshot until it is told to let go.
  async hold({ path }) {
    const storage = await openSqliteStorage(path, { readOnly: true });
    const snapshot = await storage.snapshot();
    process.send("held");
    await new Promise((resolve) => process.once("message", resolve));
    await snapshot.close();
    await storage.close();
    return "released";
  },
  // Reads everything and says what is beside the file, or with which code it is refused.
  async look({ path, directory }) {
    try {
      const storage = await openSqliteStorage(path, { readOnly: true });
      const during = readdirSync(directory);
      const entries = await storage.readEntries(0, 4096);
      const snapshot = await storage.snapshot();
      const { anomalies } = await snapshot.sideTables();
      await snapshot.close();
      await storage.close();
      return { entries: entries.length, anomalies, during, after: readdirSync(directory) };
    } catch (error) {
      return { code: error.code, message: error.message };
    }
  },
  async write({ path }) {
    try {
      const storage = await openSqliteStorage(path, { busyTimeoutMs: 200 });
      await append(storage, "x");
      await storage.close();
      return "appended";
    } catch (error) {
      return error.code;
    }
  },
};
`;

beforeAll(async () => {
  child = await bundleChildJobs("sqlite", JOBS);
});
afterAll(() => child.remove());

function placeFor(name: string): { readonly directory: string; readonly path: string } {
  const directory = join(child.folder, name);
  mkdirSync(directory);
  return { directory, path: join(directory, "audit.db") };
}

const genesis = (): Batch => ({
  entries: [{ index: 0, entry: "entry 0", body: "body", salts: new Uint8Array(16), disclosure: null }],
  tiles: [],
  filters: [],
  ids: [],
  controls: [0],
});

async function created(path: string): Promise<LedgerStorage> {
  const storage = await openSqliteStorage(path, { create: true });
  await storage.create(genesis);
  return storage;
}

async function createAtRest(path: string): Promise<void> {
  await (await created(path)).close();
}

describe(`${PROCESSES} processes on one file`, () => {
  it("open it for the first time at once: one creates, none forks, all append", async () => {
    const { directory, path } = placeFor("create");
    const results = await child.runAll<{ created: boolean; ran: number; mine: number }>(PROCESSES, "create", { path });
    expect(results.filter((result) => result.created)).toHaveLength(1);
    expect(results.map(({ ran }) => ran).reduce((a, b) => a + b)).toBe(1);
    expect(results.map(({ mine }) => mine).sort((a, b) => a - b)).toEqual(
      Array.from({ length: PROCESSES }, (_, i) => 1 + i),
    );
    expect(readdirSync(directory)).toEqual(["audit.db"]);
  });

  it("append at once: every append that resolved is there, at the index it was told", async () => {
    const { directory, path } = placeFor("append");
    await createAtRest(path);
    const results = await child.runAll<{ indexes: number[]; longest: number }>(PROCESSES, "append", { path });
    const total = PROCESSES * APPENDS;
    expect(results.flatMap(({ indexes }) => indexes).sort((a, b) => a - b)).toEqual(
      Array.from({ length: total }, (_, i) => 1 + i),
    );
    expect(readdirSync(directory)).toEqual(["audit.db"]);
    const storage = await openSqliteStorage(path, { readOnly: true });
    const entries = await storage.readEntries(0, 4_096);
    expect(entries.map(({ index }) => index)).toEqual(Array.from({ length: total + 1 }, (_, i) => i));
    for (const [id, { indexes }] of results.entries()) {
      for (const [i, index] of indexes.entries()) expect(entries[index]?.body).toBe(`${id}/${i}`);
    }
    await storage.close();
    // Nobody waited for a lock inside SQLite, where the driver would wait for 5 s; eight processes share the machine.
    for (const { longest } of results) expect(longest).toBeLessThan(4_500);
  });

  it("some read, opening anew each time, while others append: nobody is blocked or sees a gap", async () => {
    const { directory, path } = placeFor("read");
    await createAtRest(path);
    const readers = [
      child.run<number>("read", { path }),
      child.run<number>("read", { path }),
      child.run<number>("read", { path }),
    ];
    const writers = [0, 1].map((id) => child.run<{ indexes: number[] }>("append", { path, id: String(id) }));
    await Promise.all([...readers, ...writers]);
    expect(await child.run<number>("read", { path })).toBe(1 + 2 * APPENDS);
    // A reader that was last to close may leave the writers' log, which the next writer takes up.
    await (await openSqliteStorage(path)).close();
    expect(readdirSync(directory)).toEqual(["audit.db"]);
  });

  it("keep every append that resolved when a writer is killed, and go on", async () => {
    const { path } = placeFor("killed");
    const storage = await created(path);
    for (const messages of [1, 9, 30]) {
      const last = await killAfter(child.start({ job: "forever", path }), messages);
      const { size } = await storage.head();
      expect(size).toBeGreaterThan(last);
      const committed = await storage.commit({ ids: [], idDigests: [], indexes: [] }, ({ head }) => ({
        ...genesis(),
        controls: [],
        entries: [{ index: head.size, entry: "next", body: "", salts: null, disclosure: null }],
      }));
      expect(committed).toBe(true);
    }
    const snapshot = await storage.snapshot();
    expect((await snapshot.sideTables()).anomalies).toEqual([]);
    await snapshot.close();
    await storage.close();
  });

  it("let a killed writer's last log be read without changing it, and be taken up by the next writer", async () => {
    const { directory, path } = placeFor("orphan");
    await createAtRest(path);
    const process = child.start({ job: "forever", path });
    let last = 0;
    await new Promise<void>((resolve) => {
      process.on("message", (index) => {
        last = index as number;
        if (last === 5) process.kill("SIGKILL");
      });
      process.once("close", () => resolve());
    });
    const files = readdirSync(directory);
    expect(files).toContain("audit.db-wal");
    const log = statSync(`${path}-wal`);
    const seen = await child.run<{ entries: number; after: string[] }>("look", { path, directory });
    expect(seen.entries).toBeGreaterThan(last);
    expect(seen.after).toEqual(files);
    expect(statSync(`${path}-wal`)).toMatchObject({ size: log.size, mtimeMs: log.mtimeMs });
    expect(await child.run("write", { path })).toBe("appended");
    await (await openSqliteStorage(path)).close();
    expect(readdirSync(directory)).toEqual(["audit.db"]);
  });

  it("hold back a purge while one of them reads, and it is done by itself afterwards", async () => {
    const { path } = placeFor("purge");
    const secret = "correct horse battery staple";
    const storage = await created(path);
    const reads = { ids: [], idDigests: [], indexes: [] };
    const batch = { ...genesis(), controls: [] };
    await storage.commit(reads, () => ({
      ...batch,
      entries: [
        {
          index: 1,
          entry: "entry 1",
          body: `${secret}${"x".repeat(6_000)}${secret}`,
          salts: new Uint8Array(16),
          disclosure: null,
        },
      ],
    }));
    const holder = child.start({ job: "hold", path });
    expect(await answerOf(holder)).toBe("held");
    const redactions = [{ index: 1, disclosure: null, id: null, erasedId: null }];
    await storage.commit(reads, () => ({
      ...batch,
      entries: [{ ...batch.entries[0]!, index: 2 }],
      redactions,
      purge: 2,
    }));
    expect(await storage.purge()).toBe("pending");
    const released = answerOf(holder);
    holder.send("go");
    expect(await released).toBe("released");
    expect(await storage.purge()).toBe("done");
    const bytes = execFileSync("cat", [path, `${path}-wal`, `${path}-shm`]).toString("latin1");
    expect(bytes.includes("entry 1")).toBe(true);
    expect(bytes.includes(secret)).toBe(false);
    await storage.close();
  });
});

const isRoot = process.getuid?.() === 0;
const NOBODY = 65_534;

describe("another user", () => {
  // Only root can become somebody else, who must then be able to reach this checkout and Node.js.
  beforeEach(async ({ skip }) => {
    skip(!isRoot, "needs root, to become another user");
    const reached = await child.run("ping", {}, NOBODY).catch(() => "not reached");
    skip(reached !== "here", "another user cannot reach this checkout");
  });

  it("reads a ledger in a directory that it cannot write, and leaves nothing", async () => {
    const directory = mkdtempSync(join(tmpdir(), "tallystick-test-"));
    const path = join(directory, "audit.db");
    try {
      await createAtRest(path);
      chmodSync(directory, 0o555);
      chmodSync(path, 0o444);
      const look = await child.run("look", { path, directory }, NOBODY);
      expect(look).toEqual({ entries: 1, anomalies: [], during: ["audit.db"], after: ["audit.db"] });
      expect(await child.run("write", { path }, NOBODY)).toBe("read-only");
      expect(readdirSync(directory)).toEqual(["audit.db"]);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it("reads one that is being written, and one whose writer was killed, in such a directory", async () => {
    const directory = mkdtempSync(join(tmpdir(), "tallystick-test-"));
    const path = join(directory, "audit.db");
    try {
      const storage = await created(path);
      chmodSync(directory, 0o555);
      const files = readdirSync(directory);
      const live = await child.run("look", { path, directory }, NOBODY);
      expect(live).toEqual({ entries: 1, anomalies: [], during: files, after: files });
      const process = child.start({ job: "forever", path });
      await answerOf(process);
      process.kill("SIGKILL");
      await new Promise((resolve) => process.once("close", resolve));
      await storage.close();
      const orphaned = await child.run<{ entries: number }>("look", { path, directory }, NOBODY);
      expect(orphaned.entries).toBeGreaterThan(1);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it("is told that a file cannot be read at all", async () => {
    const directory = mkdtempSync(join(tmpdir(), "tallystick-test-"));
    const path = join(directory, "audit.db");
    try {
      await createAtRest(path);
      chmodSync(directory, 0o755);
      chmodSync(path, 0o600);
      const look = await child.run<{ code: string; message: string }>("look", { path, directory }, NOBODY);
      expect(look).toEqual({ code: "storage-io", message: `${path} cannot be read (EACCES)` });
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});

/** Mounts a file system of its own on a directory for the time of `body`; false where that is not possible. */
async function withMount(options: string, body: (directory: string) => Promise<void>): Promise<boolean> {
  const directory = mkdtempSync(join(tmpdir(), "tallystick-mount-"));
  try {
    try {
      execFileSync("mount", ["-t", "tmpfs", "-o", options, "tmpfs", directory], { stdio: "ignore" });
    } catch {
      return false;
    }
    try {
      await body(directory);
    } finally {
      execFileSync("umount", ["-l", directory]);
    }
    return true;
  } finally {
    rmSync(directory, { recursive: true });
  }
}

const canMount = isRoot && process.platform === "linux" && (await withMount("size=64k", async () => {}));

describe("a file system of its own", () => {
  beforeEach(({ skip }) => {
    skip(!canMount, "needs root and mount on Linux");
  });

  it("that is full refuses an append with storage-full, keeps the rest, and goes on once there is room", async () => {
    await withMount("size=400k", async (directory) => {
      const path = join(directory, "audit.db");
      const storage = await created(path);
      const reads = { ids: [], idDigests: [], indexes: [] };
      const append = (): Promise<boolean> =>
        storage.commit(reads, ({ head }) => ({
          ...genesis(),
          controls: [head.size],
          entries: [
            { index: head.size, entry: `entry ${head.size}`, body: "x".repeat(10_000), salts: null, disclosure: null },
          ],
        }));
      let size = 1;
      const outcome = await (async () => {
        for (; size < 1_000; size++) await append();
      })().catch((error: { code: string }) => error.code);
      expect(outcome).toBe("storage-full");
      expect(size).toBeGreaterThan(5);
      expect((await storage.head()).size).toBe(size);
      await expect(append()).rejects.toMatchObject({ code: "storage-full" });
      execFileSync("mount", ["-o", "remount,size=4m", directory]);
      expect(await append()).toBe(true);
      await storage.close();
      const later = await openSqliteStorage(path);
      expect((await later.readEntries(0, 4_096)).map(({ index }) => index)).toEqual(
        Array.from({ length: size + 1 }, (_, i) => i),
      );
      expect((await later.readControls()).map(({ index }) => index)).toEqual(
        Array.from({ length: Math.min(512, size + 1) }, (_, i) => i),
      );
      await later.close();
    });
  });

  it("that is full refuses to create with storage-full, and creates once there is room", async () => {
    await withMount("size=64k", async (directory) => {
      const path = join(directory, "audit.db");
      writeFileSync(join(directory, "filler"), new Uint8Array(44 * 1024));
      const storage = await openSqliteStorage(path, { create: true });
      await expect(storage.create(genesis)).rejects.toMatchObject({ code: "storage-full" });
      execFileSync("mount", ["-o", "remount,size=4m", directory]);
      expect(await storage.create(genesis)).toBe(true);
      await storage.close();
    });
  });

  it("that is read-only can be read", async () => {
    await withMount("size=1m", async (directory) => {
      const path = join(directory, "audit.db");
      await createAtRest(path);
      execFileSync("mount", ["-o", "remount,ro", directory]);
      expect(await child.run("look", { path, directory })).toEqual({
        entries: 1,
        anomalies: [],
        during: ["audit.db"],
        after: ["audit.db"],
      });
      expect(await child.run("write", { path })).toBe("read-only");
    });
  });
});
