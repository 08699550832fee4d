import { describe, expect, it } from "vitest";
import type { Event } from "../core/event.ts";
import { exitCodeOf } from "../core/report.ts";
import { logSignerFromSeed } from "../keys/index.ts";
import { memoryLockStore } from "../storage/lock-store/memory.ts";
import { openMemoryStorage } from "../storage/memory.ts";
import { type BulkFate, InlineBulk } from "../testing/inline-bulk.ts";
import { simulatedClock } from "../testing/simulated-clock.ts";
import { genesisBatch } from "./genesis.ts";
import { LedgerEngine } from "./ledger.ts";
import { DEFAULT_LIMITS, type LedgerLimits } from "./limits.ts";
import { seededRandom } from "./seeded-random.ts";
import { verifyLedger } from "./verify-ledger.ts";

const ORIGIN = "example.com/drafts";
const signer = logSignerFromSeed("ed25519", new Uint8Array(32).fill(1));

/** A ledger in memory whose bulk commits have the given fates, in turn. */
async function newLedger(
  fates: readonly BulkFate[] = ["won"],
  options: { readonly limits?: Partial<LedgerLimits>; readonly requireSignature?: boolean } = {},
) {
  const clock = simulatedClock();
  const random = seededRandom("drafts");
  const storage = openMemoryStorage();
  const lockStore = memoryLockStore();
  const lockStoreId = "0".repeat(32);
  await lockStore.create({ origin: ORIGIN, lockStoreId });
  const { eventBytes } = DEFAULT_LIMITS;
  const { requireSignature = false } = options;
  const genesis = { origin: ORIGIN, lockStoreId, commitmentHash: "sha256", scheme: "event" } as const;
  await storage.create(() =>
    genesisBatch({ ...genesis, signers: [signer], requireSignature, eventBytes }, { clock, random }),
  );
  const bulk = new InlineBulk(storage, { entriesLeast: 3, fateOf: (number) => fates[number % fates.length]! });
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  const parts = { storage, lockStore, signers: [signer], problem: null, clock, random, limits };
  const open = (withBulk: InlineBulk | undefined) =>
    LedgerEngine.open({ ...parts, bulk: withBulk, readerState: null, readOnly: false });
  return { ledger: await open(bulk), bulk, storage, other: () => open(undefined) };
}

const event = (n: number): Event => ({ action: "order.placed", payload: { n } });
const events = (first: number, count: number): Event[] => Array.from({ length: count }, (_, i) => event(first + i));
const indexes = (results: readonly { readonly index: number }[]): number[] => results.map(({ index }) => index);

async function contentOf(ledger: LedgerEngine): Promise<unknown[]> {
  const content: unknown[] = [];
  for (let index = 1; index < ledger.size; index++)
    content.push(((await ledger.read(index)).event?.payload as { n?: number } | undefined)?.n);
  return content;
}

describe("what is handed to a second thread ahead of its turn", () => {
  it("takes its places in the order of the calls, between what is not", async () => {
    const { ledger, bulk } = await newLedger();
    const calls = [
      ...events(0, 5).map((one) => ledger.append(one)),
      ledger.append({ ...event(5), id: "five" }),
      ...events(6, 2).map((one) => ledger.append(one)),
    ];
    const many = ledger.appendMany(events(8, 4));
    const last = ledger.append(event(12));
    expect(indexes(await Promise.all(calls))).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(indexes(await many)).toEqual([9, 10, 11, 12]);
    expect((await last).index).toBe(13);
    expect(await contentOf(ledger)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    expect(bulk.commits).toEqual([{ fate: "won", entries: 5 }]);
    await ledger.close();
  });

  it("is one commit a call of appendMany, and the result is that of any other", async () => {
    const { ledger, bulk, storage } = await newLedger();
    const drafted = await ledger.appendMany(events(0, 300));
    const plain = await ledger.append({ ...event(300), id: "x" });
    expect(bulk.commits).toEqual([{ fate: "won", entries: 300 }]);
    expect(drafted[0]).toEqual({ index: 1, leafHash: expect.any(String), time: plain.time, duplicate: false });
    for (const { index, leafHash } of [drafted[0]!, drafted[255]!, drafted[299]!, plain])
      expect((await ledger.read(index)).leafHash).toBe(leafHash);
    const note = await ledger.checkpoint();
    const snapshot = await storage.snapshot();
    const report = await verifyLedger(snapshot, { policy: ledger.policy(), expect: note });
    expect(report).toMatchObject({ ok: true, size: 302, findings: [] });
    expect(exitCodeOf(report)).toBe(0);
    await snapshot.close();
    await ledger.close();
  });

  it("is committed like everything else when the bet is lost, in the same order", async () => {
    const { ledger, bulk } = await newLedger(["lost"]);
    const calls = events(0, 6).map((one) => ledger.append(one));
    const many = ledger.appendMany(events(6, 4));
    expect(indexes([...(await Promise.all(calls)), ...(await many)])).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    expect(indexes(await ledger.appendMany(events(10, 4)))).toEqual([11, 12, 13, 14]);
    expect(await contentOf(ledger)).toEqual(Array.from({ length: 14 }, (_, i) => i));
    expect(bulk.commits.map(({ fate }) => fate)).toEqual(["lost", "lost"]);
    await ledger.close();
  });

  it("loses when somebody else appended meanwhile", async () => {
    const { ledger, bulk, other } = await newLedger();
    const second = await other();
    await second.append(event(0));
    expect(indexes(await ledger.appendMany(events(1, 4)))).toEqual([2, 3, 4, 5]);
    expect(bulk.commits).toEqual([{ fate: "lost", entries: 4 }]);
    expect(indexes(await ledger.appendMany(events(5, 4)))).toEqual([6, 7, 8, 9]);
    expect(bulk.commits.at(-1)).toEqual({ fate: "won", entries: 4 });
    await ledger.close();
  });

  it("keeps what was given up whole while other calls go ahead", async () => {
    const { ledger, bulk } = await newLedger();
    const long = events(0, 2_500);
    long[100] = { ...event(100), id: "one hundred" };
    const calls = [ledger.appendMany(long)];
    for (let n = 0; n < 8; n++) {
      await new Promise<void>((resolve) => setImmediate(resolve));
      calls.push(ledger.appendMany(events(10_000 + 10 * n, 10)));
    }
    const placed = await Promise.all(calls);
    expect(bulk.commits.some(({ fate }) => fate === "won")).toBe(true);
    const content = await contentOf(ledger);
    const given = [long, ...Array.from({ length: 8 }, (_, n) => events(10_000 + 10 * n, 10))];
    for (const [i, results] of placed.entries())
      expect(results.map(({ index }) => content[index - 1])).toEqual(
        given[i]?.map((one) => (one.payload as { n: number }).n),
      );
    await ledger.close();
  });

  it("is given up, and nothing of the call written, when a later event is refused", async () => {
    const { ledger, bulk } = await newLedger();
    const wrong = [...events(0, 4), { action: "" }, ...events(5, 2)];
    await expect(ledger.appendMany(wrong)).rejects.toMatchObject({
      code: "malformed-event",
      details: { position: 4, durable: 0 },
    });
    expect(ledger.size).toBe(1);
    // The turn is free again, for appends and for what takes its turn alone.
    expect((await ledger.append(event(7))).index).toBe(1);
    expect((await ledger.keys.placeHold("h", { first: 0, last: 0, reason: "r" })).index).toBe(2);
    expect(indexes(await ledger.appendMany(events(8, 3)))).toEqual([3, 4, 5]);
    expect(bulk.commits).toEqual([
      { fate: "abandoned", entries: 4 },
      { fate: "won", entries: 3 },
    ]);
    await ledger.close();
  });

  it("is given up for an event with an id or a signer, which is committed with its call", async () => {
    const { ledger, bulk } = await newLedger();
    const mixed = [...events(0, 4), { ...event(4), id: "four" }];
    expect(indexes(await ledger.appendMany(mixed))).toEqual([1, 2, 3, 4, 5]);
    const again = await ledger.appendMany([...events(5, 4), { ...event(4), id: "four" }]);
    expect(indexes(again)).toEqual([6, 7, 8, 9, 5]);
    expect(bulk.commits.map(({ fate }) => fate)).toEqual(["abandoned", "abandoned"]);
    await ledger.close();
  });

  it("is nothing that a signal may still abort", async () => {
    const { ledger, bulk } = await newLedger();
    const abort = new AbortController();
    const calls = events(0, 5).map((one) => ledger.append(one, { signal: abort.signal }));
    abort.abort(new Error("enough"));
    expect((await Promise.allSettled(calls)).map(({ status }) => status)).toEqual(Array(5).fill("rejected"));
    expect(indexes(await ledger.appendMany(events(5, 5), { signal: new AbortController().signal }))).toEqual([
      1, 2, 3, 4, 5,
    ]);
    expect(bulk.commits).toEqual([]);
    await ledger.close();
  });

  it("is nothing that the rules refuse", async () => {
    const { ledger, bulk } = await newLedger(["won"], { requireSignature: true });
    await expect(ledger.appendMany(events(0, 5))).rejects.toMatchObject({ code: "signature-required" });
    expect(bulk.commits).toEqual([]);
    await ledger.close();
  });

  it.each(["died", "mistaken"] as const)(
    "stops the ledger when nobody knows whether it is durable (%s)",
    async (fate) => {
      const { ledger, storage, other } = await newLedger([fate]);
      const waiting = ledger.appendMany(events(0, 5));
      const behind = ledger.append(event(5));
      await expect(waiting).rejects.toMatchObject({ code: "outcome-unknown" });
      await expect(behind).rejects.toMatchObject({ code: "outcome-unknown" });
      await expect(ledger.appendMany(events(6, 5))).rejects.toMatchObject({ code: "outcome-unknown" });
      // It was: who opens the ledger again sees it.
      const later = await other();
      expect(later.size).toBe(6);
      expect((await storage.head()).size).toBe(6);
      await later.close();
    },
  );

  it("keeps the bounds of a commit and of the queue", async () => {
    const limits = { batchEntriesMax: 10, queueEntriesMax: 25 };
    const { ledger, bulk } = await newLedger(["won"], { limits });
    const calls = events(0, 40).map((one) => ledger.append(one));
    const results = await Promise.allSettled(calls);
    const appended = results.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
    // Ten went ahead with the third call, and twenty-five waited.
    expect(indexes(appended)).toEqual(Array.from({ length: 35 }, (_, i) => i + 1));
    expect(results.at(-1)).toMatchObject({ reason: { code: "queue-full" } });
    expect(bulk.commits.map(({ entries }) => entries)).toEqual([10, 10, 10, 5]);
    await ledger.close();
  });

  it("is waited for by close", async () => {
    const { ledger, bulk } = await newLedger();
    const calls = events(0, 6).map((one) => ledger.append(one));
    const many = ledger.appendMany(events(6, 4));
    let ended = 0;
    for (const call of [...calls, many]) void call.then(() => (ended += 1));
    await ledger.close();
    expect(ended).toBe(7);
    expect(indexes(await many)).toEqual([7, 8, 9, 10]);
    expect(bulk.commits).toEqual([{ fate: "won", entries: 10 }]);
  });

  it("is waited for by close also while a call is still being made", async () => {
    const { ledger, bulk } = await newLedger();
    const many = ledger.appendMany(events(0, 2_500));
    await ledger.close();
    expect((await many).length).toBe(2_500);
    expect(bulk.commits).toEqual([{ fate: "won", entries: 2_500 }]);
  });
});
