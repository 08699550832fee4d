import { describe, expect, it } from "vitest";
import type { Batch, CommitReads, LedgerStorage, StoredEntry } from "../ledger/storage.ts";
import { openMemoryStorage } from "../storage/memory.ts";
import { type FaultPlan, type FaultyStorage, faultyStorage, seededFaults } from "./faulty-storage.ts";
import { storageSuite } from "./storage-suite.ts";

const NO_READS: CommitReads = { ids: [], idDigests: [], indexes: [] };

function batchOf(index: number): Batch {
  const entry: StoredEntry = {
    index,
    entry: `entry ${index}`,
    body: "body",
    salts: new Uint8Array(16),
    disclosure: null,
  };
  return { entries: [entry], tiles: [], filters: [], ids: [], controls: [] };
}

const append = (storage: LedgerStorage): Promise<boolean> => storage.commit(NO_READS, ({ head }) => batchOf(head.size));

/** A ledger of one entry whose `commit` and `head` calls meet the faults given by number. */
async function open(faults: Readonly<Record<string, ReturnType<FaultPlan>>>): Promise<FaultyStorage> {
  const inner = openMemoryStorage();
  await inner.create(() => batchOf(0));
  return faultyStorage(inner, ({ operation, number }) => faults[`${operation} ${number}`]);
}

storageSuite(
  "faulty, without faults",
  { describe, it, expect },
  async () => {
    const storage = faultyStorage(openMemoryStorage(), () => undefined);
    return { storage, dispose: () => storage.close() };
  },
  { shared: false, durable: false },
);

describe("faultyStorage", () => {
  it("fails before anything was done", async () => {
    const storage = await open({ "commit 1": "fail-before" });
    await expect(append(storage)).rejects.toMatchObject({ code: "storage-io", message: "injected: commit failed" });
    expect((await storage.head()).size).toBe(1);
    expect(await append(storage)).toBe(true);
    expect(storage.injected).toEqual([{ operation: "commit", number: 1, fault: "fail-before" }]);
  });

  it("fails after everything was done", async () => {
    const storage = await open({ "commit 1": "fail-persisted" });
    await expect(append(storage)).rejects.toMatchObject({
      code: "outcome-unknown",
      message: "injected: commit was done and then failed",
    });
    expect((await storage.head()).size).toBe(2);
  });

  it("hangs until it is released, and then goes on", async () => {
    const storage = await open({ "commit 1": "hang" });
    const appending = append(storage);
    await new Promise((resolve) => setImmediate(resolve));
    expect([storage.hanging, (await storage.head()).size]).toEqual([1, 1]);
    storage.release();
    expect(await appending).toBe(true);
    expect([storage.hanging, (await storage.head()).size]).toEqual([0, 2]);
  });

  it("runs a plan twice and commits its second answer once", async () => {
    const storage = await open({ "commit 1": "run-twice" });
    let runs = 0;
    await storage.commit(NO_READS, ({ head }) => {
      runs += 1;
      return batchOf(head.size);
    });
    expect([runs, (await storage.head()).size]).toEqual([2, 2]);
  });

  it("shows the head before the latest commit, and the batch built on it does not get in", async () => {
    const storage = await open({ "commit 2": "stale-head", "head 1": "stale-head" });
    await append(storage);
    expect((await storage.head()).size).toBe(1);
    await expect(append(storage)).rejects.toMatchObject({
      code: "invariant-broken",
      message: "expected entry 2 next, got 1",
    });
    expect((await storage.head()).size).toBe(2);
  });

  it("injects the same faults for the same seed, at about the rate asked for", () => {
    const draw = (seed: string): unknown[] => {
      const plan = seededFaults(seed, { rate: 0.2, faults: ["fail-before", "hang"], operations: ["commit"] });
      return Array.from({ length: 500 }, (_, i) => plan({ operation: i % 2 === 0 ? "commit" : "head", number: i }));
    };
    expect(draw("a")).toEqual(draw("a"));
    expect(draw("a")).not.toEqual(draw("b"));
    const hits = draw("a").filter((fault) => fault !== undefined);
    expect(hits.length).toBeGreaterThan(30);
    expect(hits.length).toBeLessThan(70);
    expect(draw("a").filter((_, i) => i % 2 === 1)).toEqual(Array(250).fill(undefined));
  });
});
