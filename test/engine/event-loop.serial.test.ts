import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { openSnapshot } from "../../src/storage/sqlite-snapshot.ts";
import { verify } from "../../src/verify.ts";
import { driver, newPlace, openAt, tamper, verifyAt } from "./place.ts";
import { login } from "./world.ts";

/** Longest time between two ticks of a timer of 1 ms while `work` runs. */
async function longestPauseMs(work: () => Promise<void>): Promise<number> {
  let last = performance.now();
  let longest = 0;
  const timer = setInterval(() => {
    const now = performance.now();
    longest = Math.max(longest, now - last);
    last = now;
  }, 1);
  try {
    await work();
    await sleep(2);
  } finally {
    clearInterval(timer);
  }
  return longest;
}

// Generous: the machine may be slow and busy. What is really reached is measured in bench/.
const PAUSE_MAX_MS = 500;

describe("ten thousand concurrent appends", () => {
  it("all succeed, in the order of their calls, and the event loop goes on", async () => {
    const place = newPlace();
    const ledger = await openAt(place);
    const indexes: number[] = [];
    const pause = await longestPauseMs(async () => {
      const appends: Promise<{ readonly index: number }>[] = [];
      for (let i = 0; i < 10_000; i++) {
        appends.push(ledger.append({ ...login(i), payload: { text: "x".repeat(200) } }));
        // As requests arrive: some in each turn of the loop.
        if (i % 500 === 499) await new Promise(setImmediate);
      }
      for (const { index } of await Promise.all(appends)) indexes.push(index);
    });
    expect(indexes).toEqual(Array.from({ length: 10_000 }, (_, i) => i + 1));
    expect(pause).toBeLessThan(PAUSE_MAX_MS);
    expect((await ledger.read(7_777)).event?.id).toBe("login-7776");
    // What walks through all entries shares the loop as well: it is never held for most of the way.
    const walks: Readonly<Record<string, () => Promise<unknown>>> = {
      verify: () => ledger.verify(),
      stats: () => ledger.stats(),
      reindex: () => ledger.reindex(),
      query: async () => {
        for await (const _ of ledger.query({ text: "no such text" })) throw new Error("found what is not there");
      },
      export: async () => {
        for await (const line of ledger.export()) expect(line).not.toBe("");
      },
    };
    for (const [name, walk] of Object.entries(walks)) {
      const start = performance.now();
      const longest = await longestPauseMs(async () => void (await walk()));
      const tookMs = performance.now() - start;
      expect(longest, `${name} of ${Math.round(tookMs)} ms`).toBeLessThan(Math.max(60, tookMs / 2));
    }
    await ledger.close();
  });

  it("in the very same turn: likewise", async () => {
    const place = newPlace();
    const ledger = await openAt(place);
    const results = await Promise.all(Array.from({ length: 10_000 }, (_, i) => ledger.append(login(i))));
    expect(results.at(-1)?.index).toBe(10_000);
    await ledger.close();
  });
});

describe("a queue that is full", () => {
  it("by bytes: what does not fit is told when to come back, what was accepted is durable", async () => {
    const place = newPlace();
    const limits = { queueBytesMax: 10_000, batchBytesMax: 2_000, checkpointEveryMs: 3_600_000 };
    const ledger = await openAt(place, { limits });
    const big = (i: number) => ({ id: `big-${i}`, action: "big.event", payload: "x".repeat(900) });
    const results = await Promise.allSettled(Array.from({ length: 30 }, (_, i) => ledger.append(big(i))));
    const accepted = results.filter(({ status }) => status === "fulfilled");
    expect(accepted.length).toBeGreaterThan(5);
    expect(accepted.length).toBeLessThan(15);
    for (const result of results)
      if (result.status === "rejected")
        expect(result.reason).toMatchObject({ code: "queue-full", retryAfterMs: expect.any(Number) });
    expect(ledger.size).toBe(1 + accepted.length);
    // One event larger than the whole queue is taken when nothing waits.
    await ledger.append({ action: "huge.event", payload: "x".repeat(20_000) });
    // A stream waits by itself.
    const seen: number[] = [];
    for await (const { index } of ledger.appendAll(Array.from({ length: 30 }, (_, i) => big(100 + i))))
      seen.push(index);
    expect(seen).toHaveLength(30);
    await ledger.close();
    const report = await verify(place.path, { state: place.state, driver });
    expect(report).toMatchObject({ ok: true, size: 2 + accepted.length + 30, findings: [] });
  });
});

describe("an abort", () => {
  it("before the commit writes nothing, after it does not claim failure; waiting for a level ends at once", async () => {
    const place = newPlace();
    const ledger = await openAt(place);
    const aborted = AbortSignal.abort(new Error("gone before"));
    await expect(ledger.append(login(1), { signal: aborted })).rejects.toThrow("gone before");
    await expect(ledger.appendMany([login(1)], { signal: aborted })).rejects.toThrow("gone before");
    expect(ledger.size).toBe(1);
    const early = new AbortController();
    const waiting = ledger.append(login(2), { signal: early.signal });
    early.abort(new Error("before the commit"));
    await expect(waiting).rejects.toThrow("before the commit");
    const late = new AbortController();
    const done = ledger.append(login(3), { signal: late.signal });
    await done;
    late.abort(new Error("after the commit"));
    expect((await done).index).toBe(1);
    expect(ledger.size).toBe(2);
    // One of many that commit together is left out, the others are not.
    const one = new AbortController();
    const many = Array.from({ length: 20 }, (_, i) =>
      ledger.append(login(10 + i), i === 7 ? { signal: one.signal } : {}),
    );
    one.abort(new Error("only this one"));
    const settled = await Promise.allSettled(many);
    expect(settled.map(({ status }) => status === "rejected")).toEqual(settled.map((_, i) => i === 7));
    expect(ledger.size).toBe(21);
    expect(await ledger.findById("login-17")).toBeUndefined();
    const level = new AbortController();
    const proof = ledger.prove(20, { signal: level.signal });
    level.abort(new Error("no patience"));
    await expect(proof).rejects.toThrow("no patience");
    await ledger.close();
  });

  it("of a stream keeps what was yielded, and closes its source", async () => {
    const ledger = await openAt(newPlace());
    const abort = new AbortController();
    let closed = false;
    const source = async function* () {
      try {
        for (let i = 0; ; i++) yield login(i);
      } finally {
        closed = true;
      }
    };
    const seen: number[] = [];
    const run = async (): Promise<void> => {
      for await (const { index } of ledger.appendAll(source(), { signal: abort.signal })) {
        seen.push(index);
        if (seen.length === 1_500) abort.abort(new Error("enough"));
      }
    };
    await expect(run()).rejects.toThrow("enough");
    expect(closed).toBe(true);
    expect(ledger.size).toBeGreaterThan(1_500);
    expect((await ledger.read(1_500)).event?.id).toBe("login-1499");
    await ledger.close();
  });
});

describe("erased bytes that a reader holds back", () => {
  it("are pending, and said to be by verify; they go by themselves when the reader lets go", {
    timeout: 30_000,
  }, async () => {
    const place = newPlace();
    const ledger = await openAt(place);
    for (let i = 0; i < 5; i++) await ledger.append({ ...login(i), payload: { secret: "s3cret-s3cret" } });
    const policy = ledger.policy();
    await ledger.checkpoint();
    const db = new driver(place.path, { readonly: true, fileMustExist: true, timeout: 0 });
    const reader = openSnapshot(db, { path: place.path, closed: async () => {} });
    expect((await ledger.erase(2, { reason: "request" })).purged).toBe("pending");
    const pending = await verifyAt(place.path, { policy });
    expect(pending.exit).toBe(3);
    expect(pending.report).toMatchObject({ ok: true, conclusive: false });
    expect(pending.report.summary).toContain("held back by a reader");
    // Appends and further erasures go on.
    await ledger.append(login(9));
    expect((await ledger.erase(3, { reason: "request" })).purged).toBe("pending");
    await reader.close();
    await expect.poll(async () => (await verifyAt(place.path, { policy })).exit, { interval: 50 }).toBe(0);
    const left = tamper(place.path, (write) => write.prepare("SELECT count(*) AS n FROM purges").get());
    expect(left).toEqual({ n: 0 });
    await ledger.close();
  });

  it("go at the next open when the process ends before", async () => {
    const place = newPlace();
    const ledger = await openAt(place);
    await ledger.append(login(1));
    const policy = ledger.policy();
    const db = new driver(place.path, { readonly: true, fileMustExist: true, timeout: 0 });
    const reader = openSnapshot(db, { path: place.path, closed: async () => {} });
    expect((await ledger.erase(1, { reason: "request" })).purged).toBe("pending");
    await ledger.close();
    expect((await verifyAt(place.path, { policy })).exit).toBe(3);
    await reader.close();
    await (await openAt(place)).close();
    expect(await verifyAt(place.path, { policy })).toMatchObject({ exit: 0, found: [] });
  });
});
