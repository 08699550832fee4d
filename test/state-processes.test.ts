import { readdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { sha256Hex } from "../src/core/hash.ts";
import { openState } from "../src/keys/state-directory.ts";
import { sqliteLockStore } from "../src/storage/lock-store/sqlite.ts";
import { loadSqliteDriver } from "../src/storage/sqlite-driver.ts";
import { bundleChildJobs, type ChildJobs, killAfter } from "./child-jobs.ts";

const PROCESSES = 8;
const ROUNDS = 25;
const ORIGIN = "example.com/log";

let child: ChildJobs;

const JOBS = `
import { sqliteLockStore } from "./src/storage/lock-store/sqlite.ts";
import { loadSqliteDriver } from "./src/storage/sqlite-driver.ts";
import { openState } from "./src/keys/state-directory.ts";

const note = (size) => "example.com/log\\n" + size + "\\n" + "A".repeat(43) + "=\\n\\n— example.com/log AAAA\\n";
const jobs = {
  // Adds one to the size in the note, ${ROUNDS} times, and says which sizes it won.
  async counter({ path }) {
    const store = sqliteLockStore({ path, driver: await loadSqliteDriver(), waitMs: 60000 });
    const won = [];
    while (won.length < ${ROUNDS}) {
      const present = (await store.fetch("example.com/log")).note;
      const size = present === null ? 1 : Number(present.split("\\n")[1]) + 1;
      try {
        await store.replace("example.com/log", present, note(size));
        won.push(size);
      } catch (error) {
        if (error.code !== "lock-moved") throw error;
      }
    }
    await store.close();
    return won;
  },
  // Replaces for ever, and says each size once it is durable; it is killed in the middle of it.
  async forever({ path }) {
    const store = sqliteLockStore({ path, driver: await loadSqliteDriver() });
    for (;;) {
      const present = (await store.fetch("example.com/log")).note;
      const size = present === null ? 1 : Number(present.split("\\n")[1]) + 1;
      await store.replace("example.com/log", present, note(size));
      process.send(size);
    }
  },
  async create({ path, id }) {
    const store = sqliteLockStore({ path, driver: await loadSqliteDriver(), waitMs: 60000 });
    try {
      await store.create({ origin: "example.com/log", lockStoreId: id });
      return id;
    } catch (error) {
      return error.code;
    } finally {
      await store.close();
    }
  },
  // Remembers its own sizes, and fails when what it reads ever goes back.
  async remember({ dir, id }) {
    const state = openState({ dir });
    let seen = 0;
    for (let i = 1; i <= ${ROUNDS}; i++) {
      const size = i * 8 + Number(id);
      state.rememberCheckpoint("example.com/log", note(size));
      state.rememberPath("/data/audit.db", { origin: "example.com/log", genesis: "0".repeat(64), size });
      const now = Number(state.lastSeen("example.com/log").split("\\n")[1]);
      const there = state.recallPath("/data/audit.db").size;
      if (now < size || now < seen || there < size) throw new Error("went back to " + now);
      seen = now;
    }
    return seen;
  },
  async key({ dir, id }) {
    try {
      openState({ dir }).writeKey("example.com/log", "KEY " + id + "\\n");
      return id;
    } catch (error) {
      return error.code;
    }
  },
};
`;

beforeAll(async () => {
  child = await bundleChildJobs("processes", JOBS);
});
afterAll(() => child.remove());

describe(`${PROCESSES} processes at once`, () => {
  it("take turns on one lock store: every replace wins exactly once, from the predecessor", async () => {
    const path = join(child.folder, "lock.sqlite");
    const ids = await child.runAll<string>(PROCESSES, "create", { path });
    expect(ids.filter((id) => id === "already-exists")).toHaveLength(PROCESSES - 1);
    const won = (await child.runAll<number[]>(PROCESSES, "counter", { path })).flat().sort((a, b) => a - b);
    expect(won).toEqual(Array.from({ length: PROCESSES * ROUNDS }, (_, i) => i + 1));
    const store = sqliteLockStore({ path, driver: await loadSqliteDriver() });
    expect((await store.fetch(ORIGIN))?.note?.split("\n")[1]).toBe(String(PROCESSES * ROUNDS));
    await store.close();
  });

  it("keep every replace that had resolved when one of them is killed", async () => {
    const path = join(child.folder, "killed.sqlite");
    const store = sqliteLockStore({ path, driver: await loadSqliteDriver() });
    await store.create({ origin: ORIGIN, lockStoreId: "0".repeat(32) });
    for (const messages of [1, 7, 40]) {
      const resolved = await killAfter(child.start({ job: "forever", path }), messages);
      const present = (await store.fetch(ORIGIN))?.note ?? null;
      const size = Number(present?.split("\n")[1]);
      expect(size).toBeGreaterThanOrEqual(resolved);
      // The killed writer may have finished one more; either way the next one goes on from there.
      await store.replace(ORIGIN, present, present!.replace(`\n${size}\n`, `\n${size + 1}\n`));
    }
    await store.close();
  });

  it("never see a remembered checkpoint or place go back", async () => {
    const dir = join(child.folder, "state");
    const last = await child.runAll<number>(PROCESSES, "remember", { dir });
    const largest = ROUNDS * 8 + PROCESSES - 1;
    expect(Math.max(...last)).toBe(largest);
    const state = openState({ dir });
    expect(state.lastSeen(ORIGIN)?.split("\n")[1]).toBe(String(largest));
    expect(state.recallPath("/data/audit.db")?.size).toBe(largest);
    expect(readdirSync(join(dir, "ledgers", sha256Hex(ORIGIN), "seen"))).toHaveLength(1);
  });

  it("store one key, and seven are told that there is one", async () => {
    const dir = join(child.folder, "keys");
    const results = await child.runAll<string>(PROCESSES, "key", { dir });
    expect(results.filter((result) => result === "already-exists")).toHaveLength(PROCESSES - 1);
    const winner = results.find((result) => result !== "already-exists");
    expect(openState({ dir }).readKey(ORIGIN)).toBe(`KEY ${winner}\n`);
  });
});
