import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { describe, expect, it } from "vitest";
import { parseCheckpoint } from "../core/checkpoint.ts";
import { isTallystickError, UnavailableError } from "../core/errors.ts";
import type { Event } from "../core/event.ts";
import { parseNote } from "../core/note.ts";
import { exitCodeOf } from "../core/report.ts";
import { logSignerFromSeed } from "../keys/index.ts";
import { memoryLockStore } from "../storage/lock-store/memory.ts";
import { openMemoryStorage } from "../storage/memory.ts";
import { faultyStorage, type StorageFault, type StorageOperation } from "../testing/faulty-storage.ts";
import { simulatedClock } from "../testing/simulated-clock.ts";
import { genesisBatch } from "./genesis.ts";
import { LedgerEngine } from "./ledger.ts";
import { DEFAULT_LIMITS } from "./limits.ts";
import type { LockStore } from "./lock-store.ts";
import { seededRandom } from "./seeded-random.ts";
import type { LedgerStorage } from "./storage.ts";
import { verifyLedger } from "./verify-ledger.ts";

const ORIGIN = "example.com/faults";
const LOCK_STORE_ID = "0".repeat(32);
const signer = logSignerFromSeed("ed25519", new Uint8Array(32).fill(1));
const clock = simulatedClock();
const random = seededRandom("faults");

/** A store and a lock store that outlive every process, and no process yet. */
async function newWorld(): Promise<{ storage: LedgerStorage; lockStore: LockStore }> {
  const storage = openMemoryStorage();
  const lockStore = memoryLockStore();
  await lockStore.create({ origin: ORIGIN, lockStoreId: LOCK_STORE_ID });
  const options = {
    origin: ORIGIN,
    signers: [signer],
    lockStoreId: LOCK_STORE_ID,
    commitmentHash: "sha256",
    scheme: "event",
    requireSignature: false,
    eventBytes: DEFAULT_LIMITS.eventBytes,
  } as const;
  await storage.create(() => genesisBatch(options, { clock, random }));
  return { storage, lockStore };
}

/** A process: it opens what is there, and "crashes" by being forgotten. */
function start(storage: LedgerStorage, lockStore: LockStore): Promise<LedgerEngine> {
  return LedgerEngine.open({
    storage,
    lockStore,
    signers: [signer],
    problem: null,
    clock,
    random,
    limits: { ...DEFAULT_LIMITS, checkpointEveryMs: 3_600_000 },
    readerState: null,
    readOnly: false,
  });
}

async function pass(ms: number): Promise<void> {
  clock.advance(ms);
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
}

const event = (i: number): Event => ({ id: `event-${i}`, action: "order.placed", actor: "shop", payload: { i } });

interface Acknowledged {
  readonly appended: Map<string, { readonly index: number; readonly leafHash: string }>;
  readonly notes: string[];
  readonly failures: unknown[];
}

/** What a process does all day; goes on after every error, and notes what was answered. */
async function work(ledger: LedgerEngine): Promise<Acknowledged> {
  const answered: Acknowledged = { appended: new Map(), notes: [], failures: [] };
  const attempt = async (step: () => Promise<void>): Promise<void> => {
    try {
      await step();
    } catch (error) {
      answered.failures.push(error);
    }
  };
  const append = (i: number) =>
    attempt(async () => {
      answered.appended.set(`event-${i}`, await ledger.append(event(i)));
    });
  const checkpoint = () => attempt(async () => void answered.notes.push(await ledger.checkpoint()));
  for (let i = 0; i < 3; i++) await append(i);
  await checkpoint();
  await Promise.all([append(3), append(4), append(5)]);
  await attempt(async () => {
    const results = await ledger.appendMany(Array.from({ length: 260 }, (_, i) => event(10 + i)));
    for (const [i, result] of results.entries()) answered.appended.set(`event-${10 + i}`, result);
  });
  await checkpoint();
  await attempt(async () => void (await ledger.erase(2, { reason: "request" })));
  await attempt(async () => void (await ledger.keys.placeHold("h", { first: 3, last: 4, reason: "case" })));
  await attempt(async () => void (await ledger.prove(ledger.size - 1)));
  for (let i = 6; i < 9; i++) await append(i);
  await checkpoint();
  return answered;
}

/** After the crash: everything acknowledged is there, one history, every released note is of it, and work goes on. */
async function audit(world: { storage: LedgerStorage; lockStore: LockStore }, answered: Acknowledged): Promise<void> {
  const ledger = await start(world.storage, world.lockStore);
  for (const [id, { index, leafHash }] of answered.appended) {
    const read = await ledger.read(index);
    expect(read.leafHash).toBe(leafHash);
    if (read.event !== null) expect(read.event.id).toBe(id);
  }
  // Sent again, by the callers that never heard: each event stands once.
  const ids = new Set<string>();
  for (let i = 0; i < 9; i++) {
    const again = await ledger.append(event(i)).catch((error: unknown) => error);
    if (isTallystickError(again)) expect(again.code).toBe("id-conflict");
    else ids.add(`${(again as { index: number }).index}`);
  }
  const last = await ledger.checkpoint();
  const snapshot = await world.storage.snapshot();
  const policy = ledger.policy();
  for (const note of [...answered.notes, last]) {
    const report = await verifyLedger(snapshot, { policy, expect: note });
    expect(report.findings).toEqual([]);
    expect(exitCodeOf(report)).toBe(0);
  }
  await snapshot.close();
  const record = await world.lockStore.fetch(ORIGIN);
  expect(parseCheckpoint(parseNote(record?.note ?? "").text).size).toBe(ledger.size);
}

/** Every call of every operation in the day's work, once with each fault that it can have. */
async function countCalls(): Promise<Map<StorageOperation, number>> {
  const calls = new Map<StorageOperation, number>();
  const world = await newWorld();
  const counted = faultyStorage(world.storage, ({ operation, number }) => {
    calls.set(operation, number);
    return undefined;
  });
  const answered = await work(await start(counted, world.lockStore));
  expect(answered.failures).toEqual([]);
  return calls;
}

describe("a storage that fails at any call", () => {
  it.each<readonly [StorageFault, readonly string[]]>([
    ["fail-before", ["storage-io"]],
    ["fail-persisted", ["outcome-unknown"]],
    ["run-twice", []],
  ])("%s: what was acknowledged is there, and nothing twice", async (fault, codes) => {
    const calls = await countCalls();
    let injected = 0;
    for (const [operation, count] of calls) {
      for (let at = 1; at <= count; at++) {
        const world = await newWorld();
        const faulty = faultyStorage(world.storage, (call) =>
          call.operation === operation && call.number === at ? fault : undefined,
        );
        let answered: Acknowledged = { appended: new Map(), notes: [], failures: [] };
        try {
          answered = await work(await start(faulty, world.lockStore));
        } catch (error) {
          // It did not even open.
          answered.failures.push(error);
        }
        if (faulty.injected.length === 0) continue;
        injected += 1;
        for (const failure of answered.failures) {
          if (!isTallystickError(failure)) throw failure;
          expect(codes, `${operation} ${at}`).toContain(failure.code);
        }
        await audit(world, answered);
      }
    }
    expect(injected).toBeGreaterThanOrEqual(10);
  });
});

describe("a lock store that fails at any call", () => {
  const operations = ["fetch", "replace"] as const;

  /** Fails the `at`-th call of one operation, before or after it was done. */
  function faultyLock(inner: LockStore, operation: string, at: number, when: "before" | "after"): LockStore {
    let calls = 0;
    const around = async <T>(name: string, run: () => Promise<T>): Promise<T> => {
      const fails = name === operation && ++calls === at;
      const error = Object.assign(new Error("injected"), { code: "lock-store-unavailable" });
      if (fails && when === "before") throw error;
      const result = await run();
      if (fails) throw error;
      return result;
    };
    return {
      fetch: (origin) => around("fetch", () => inner.fetch(origin)),
      create: (record) => inner.create(record),
      replace: (origin, expected, next) => around("replace", () => inner.replace(origin, expected, next)),
      close: () => inner.close(),
    };
  }

  it.each(["before", "after"] as const)(
    "%s it was done: appends go on, and the next checkpoint finds its way",
    async (when) => {
      for (const operation of operations) {
        for (let at = 1; at <= 4; at++) {
          const world = await newWorld();
          const lockStore = faultyLock(world.lockStore, operation, at, when);
          const answered = await work(await start(world.storage, lockStore));
          for (const failure of answered.failures) expect(failure).toMatchObject({ code: "lock-store-unavailable" });
          // Without a lock store at open nothing is written; later one call that needs a checkpoint hears of it, and no append.
          const isAtOpen = operation === "fetch" && at === 1;
          expect(answered.appended.size).toBe(isAtOpen ? 0 : 269);
          if (!isAtOpen) expect(answered.failures.length, `${operation} ${at}`).toBeLessThanOrEqual(1);
          await audit(world, answered);
        }
      }
    },
  );

  it("a crash on either side of the lock store leaves a checkpoint that the next open finds, or none", async () => {
    for (const when of ["before", "after"] as const) {
      const world = await newWorld();
      const before = await start(world.storage, world.lockStore);
      await before.append(event(0));
      const first = await before.checkpoint();
      const dying = await start(world.storage, faultyLock(world.lockStore, "replace", 1, when));
      const { index } = await dying.append(event(1));
      await expect(dying.checkpoint()).rejects.toMatchObject({ code: "lock-store-unavailable" });
      // The process is gone here.
      const record = await world.lockStore.fetch(ORIGIN);
      const copy = await world.storage.latestCheckpoint();
      expect(copy?.note).toBe(first);
      expect(record?.note === first).toBe(when === "before");
      const next = await start(world.storage, world.lockStore);
      expect((await world.storage.latestCheckpoint())?.note).toBe(record?.note);
      expect((await next.read(index)).event?.id).toBe("event-1");
      expect(parseCheckpoint(parseNote(await next.checkpoint()).text).size).toBe(3);
    }
  });
});

describe("a storage that shows an older head than it has", () => {
  it("is not taken for the truth: no index is given twice", async () => {
    const world = await newWorld();
    const stale = faultyStorage(world.storage, ({ operation, number }) =>
      operation === "commit" && number % 3 === 0 ? "stale-head" : undefined,
    );
    const ledger = await start(stale, world.lockStore);
    const indexes: number[] = [];
    for (let i = 0; i < 9; i++) indexes.push((await ledger.append(event(i))).index);
    expect(stale.injected.length).toBeGreaterThan(1);
    expect(new Set(indexes).size).toBe(9);
    await audit(world, { appended: new Map(), notes: [], failures: [] });
  });
});

describe("a storage that hangs", () => {
  it("holds only those who wait for it: the queue keeps its order and nothing is lost", async () => {
    const world = await newWorld();
    const slow = faultyStorage(world.storage, ({ operation, number }) =>
      operation === "commit" && number === 1 ? "hang" : undefined,
    );
    const ledger = await start(slow, world.lockStore);
    const appends = Array.from({ length: 5 }, (_, i) => ledger.append(event(i)));
    await expect.poll(() => slow.hanging).toBe(1);
    const late = ledger.append(event(5));
    const abort = new AbortController();
    const given = ledger.append(event(6), { signal: abort.signal });
    abort.abort(new Error("enough"));
    slow.release();
    expect((await Promise.all(appends)).map(({ index }) => index)).toEqual([1, 2, 3, 4, 5]);
    expect((await late).index).toBe(6);
    await expect(given).rejects.toThrow("enough");
    expect(ledger.size).toBe(7);
  });
});

describe("a lock store that cannot be reached at open", () => {
  /** Fails as often as it is told to, from `down` on. */
  function flaky(inner: LockStore): LockStore & { down: number } {
    const store = {
      ...inner,
      down: 0,
      fetch: async (origin: string) => {
        if (store.down-- > 0) throw new UnavailableError("storage-io", "injected: the lock store is away");
        return inner.fetch(origin);
      },
    };
    return store;
  }

  /** Lets time pass, and everything happen that it sets off. */
  it("is asked again, and once it answers the handle appends and signs", async () => {
    const { storage, lockStore } = await newWorld();
    const before = await start(storage, lockStore);
    await before.append({ action: "fault.before" });
    await before.checkpoint();
    const away = flaky(lockStore);
    away.down = 3;
    const ledger = await start(storage, away);
    expect(ledger.appendProblem?.code).toBe("storage-io");
    await expect(ledger.append({ action: "fault.away" })).rejects.toMatchObject({ code: "storage-io" });
    await pass(1_000);
    expect(ledger.appendProblem?.code).toBe("storage-io");
    for (let i = 0; i < 2; i++) await pass(1_000);
    expect(ledger.appendProblem).toBeNull();
    const { index } = await ledger.append({ action: "fault.back" });
    expect(parseCheckpoint(parseNote(await ledger.checkpoint()).text).size).toBe(index + 1);
    expect((await lockStore.fetch(ORIGIN))?.note).toContain(`\n${index + 1}\n`);
  });

  it("says what is wrong when it answers that the ledger was rolled back, and is asked no more", async () => {
    const { storage, lockStore } = await newWorld();
    const before = await start(storage, lockStore);
    await before.append({ action: "fault.before" });
    const note = await before.checkpoint();
    const away = flaky({
      ...lockStore,
      fetch: async (origin) => ({ ...(await lockStore.fetch(origin))!, note: note.replace("\n2\n", "\n9\n") }),
    });
    away.down = 1;
    const ledger = await start(storage, away);
    expect(ledger.appendProblem?.code).toBe("storage-io");
    await pass(1_000);
    expect(ledger.appendProblem?.code).toBe("rolled-back");
    away.down = 1;
    await pass(5_000);
    expect(away.down).toBe(1);
    await expect(ledger.append({ action: "fault.after" })).rejects.toMatchObject({ code: "rolled-back" });
  });

  it("is not asked after the handle was closed", async () => {
    const { storage, lockStore } = await newWorld();
    await (await start(storage, lockStore)).checkpoint();
    const away = flaky(lockStore);
    away.down = 9;
    const ledger = await start(storage, away);
    await ledger.close();
    const { down } = away;
    await pass(9_000);
    expect(away.down).toBe(down);
  });
});

describe("search filters", () => {
  it("that are there are not read when a ledger is opened, only counted", async () => {
    const { storage, lockStore } = await newWorld();
    const before = await start(storage, lockStore);
    await before.appendMany(Array.from({ length: 600 }, (_, i) => event(i)));
    await pass(1_000);
    expect(await storage.readFilterBlocks(0, 9)).toEqual([0, 1]);
    const asked = new Set<StorageOperation>();
    const watched = faultyStorage(storage, ({ operation }) => void asked.add(operation));
    const ledger = await start(watched, lockStore);
    await pass(1_000);
    await ledger.close();
    expect(asked).toContain("readFilterBlocks");
    expect(asked).not.toContain("readFilters");
  });
});

describe("an erasure whose bytes cannot be removed now", () => {
  it("is recorded and answered as pending, and finishes by itself", async () => {
    const world = await newWorld();
    let isFull = true;
    const storage = faultyStorage(world.storage, ({ operation }) =>
      operation === "purge" && isFull ? "fail-before" : undefined,
    );
    const ledger = await start(storage, world.lockStore);
    await ledger.append(event(0));
    const purges = async () => {
      const snapshot = await world.storage.snapshot();
      const { purges: left } = await snapshot.sideTables();
      await snapshot.close();
      return left;
    };
    expect(await ledger.erase(1, { reason: "request" })).toMatchObject({ index: 2, purged: "pending" });
    expect((await ledger.read(1)).erased).toMatchObject({ by: 2 });
    clock.advance(60_000);
    await expect.poll(() => storage.injected.length).toBeGreaterThan(1);
    expect(await purges()).toEqual([2]);
    isFull = false;
    clock.advance(60_000);
    await expect.poll(purges).toEqual([]);
    await ledger.close();
  });

  it("does not fail a close", async () => {
    const world = await newWorld();
    const storage = faultyStorage(world.storage, ({ operation }) =>
      operation === "purge" ? "fail-before" : undefined,
    );
    const ledger = await start(storage, world.lockStore);
    await ledger.append(event(0));
    await ledger.erase(1, { reason: "request" });
    await expect(ledger.close()).resolves.toBeUndefined();
  });
});

describe("the append channel", () => {
  it("tells of an append only once it is durable", async () => {
    const { storage, lockStore } = await newWorld();
    let failing = false;
    const commit: LedgerStorage["commit"] = storage.commit.bind(storage);
    storage.commit = async (reads, plan) => {
      if (!failing) return commit(reads, plan);
      await commit(reads, (view) => {
        plan(view);
        return undefined;
      });
      throw new UnavailableError("storage-io", "the disk said no");
    };
    const heard: unknown[] = [];
    const listen = (message: unknown): void => void heard.push(message);
    subscribe("tallystick:append", listen);
    try {
      const ledger = await start(storage, lockStore);
      failing = true;
      await expect(ledger.append(event(1))).rejects.toMatchObject({ code: "storage-io" });
      expect(heard).toEqual([]);
      failing = false;
      await ledger.append(event(1));
      expect(heard).toMatchObject([{ index: 1 }]);
      await ledger.close();
    } finally {
      unsubscribe("tallystick:append", listen);
    }
  });
});
