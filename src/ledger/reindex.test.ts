import { describe, expect, it } from "vitest";
import { logSignerFromSeed } from "../keys/index.ts";
import { memoryLockStore } from "../storage/lock-store/memory.ts";
import { openMemoryStorage } from "../storage/memory.ts";
import { simulatedClock } from "../testing/simulated-clock.ts";
import { genesisBatch } from "./genesis.ts";
import { LedgerEngine } from "./ledger.ts";
import { DEFAULT_LIMITS } from "./limits.ts";
import { seededRandom } from "./seeded-random.ts";
import type { LedgerStorage } from "./storage.ts";
import { verifyLedger } from "./verify-ledger.ts";

const ORIGIN = "example.com/reindex";
const signer = logSignerFromSeed("ed25519", new Uint8Array(32).fill(1));

/** Two handles on one store; the first waits for `before` when it is about to rebuild what is derived. */
async function openTwo(before: (second: LedgerEngine) => Promise<unknown>) {
  const clock = simulatedClock();
  const random = seededRandom("reindex");
  const storage = openMemoryStorage();
  const lockStore = memoryLockStore();
  const lockStoreId = "0".repeat(32);
  await lockStore.create({ origin: ORIGIN, lockStoreId });
  const genesis = { origin: ORIGIN, lockStoreId, commitmentHash: "sha256", scheme: "event" } as const;
  const { eventBytes } = DEFAULT_LIMITS;
  await storage.create(() =>
    genesisBatch({ ...genesis, signers: [signer], requireSignature: false, eventBytes }, { clock, random }),
  );
  const parts = { lockStore, signers: [signer], problem: null, clock, random, limits: DEFAULT_LIMITS };
  const open = (store: LedgerStorage) =>
    LedgerEngine.open({ ...parts, storage: store, bulk: undefined, readerState: null, readOnly: false });
  const second = await open(storage);
  const slow: LedgerStorage = Object.create(storage, {
    rebuildDerived: {
      value: async (...args: Parameters<LedgerStorage["rebuildDerived"]>) => {
        await before(second);
        return storage.rebuildDerived(...args);
      },
    },
  });
  return { first: await open(slow), second, storage };
}

describe("reindex", () => {
  it("leaves out nothing that another process appends just before it", async () => {
    const { first, second, storage } = await openTwo(async (other) => {
      for (let n = 0; n < 300; n++) await other.append({ action: "order.placed", id: `late-${n}` });
    });
    await first.append({ action: "order.placed", id: "early" });
    expect(await first.reindex()).toEqual({ entries: 302 });
    expect(first.size).toBe(302);
    expect(await first.append({ action: "order.placed", id: "late-7" })).toMatchObject({ index: 9, duplicate: true });
    const snapshot = await storage.snapshot();
    expect(await verifyLedger(snapshot, { policy: first.policy() })).toMatchObject({ ok: true, needsReindex: false });
    // Parts of a large ledger are read after the side tables, when there may be more filters already.
    for (const [more, needsReindex] of [
      [-1, false],
      [1, true],
    ] as const) {
      const sideTables = async () => {
        const side = await snapshot.sideTables();
        return { ...side, filters: side.filters + more };
      };
      const report = await verifyLedger(Object.create(snapshot, { sideTables: { value: sideTables } }), {
        policy: first.policy(),
      });
      expect(report).toMatchObject({ ok: true, needsReindex });
    }
    await snapshot.close();
    // They share a lock store, which the first that closes closes.
    await second.abandon();
    await first.close();
  });

  it("lets what is appended meanwhile wait", async () => {
    let appended: Promise<readonly { readonly index: number }[]> | undefined;
    let handle: LedgerEngine | undefined;
    const { first, second } = await openTwo(async () => {
      appended = Promise.all([1, 2, 3].map((n) => handle!.append({ action: "order.placed", payload: { n } })));
      await new Promise<void>((resolve) => setTimeout(resolve, 20));
      expect(handle!.size).toBe(1);
    });
    handle = first;
    expect(await first.reindex()).toEqual({ entries: 1 });
    expect((await appended)?.map(({ index }) => index)).toEqual([1, 2, 3]);
    // They share a lock store, which the first that closes closes.
    await second.abandon();
    await first.close();
  });
});
