import { expect, it } from "vitest";
import { generateLogKey } from "../keys/index.ts";
import { memoryLockStore } from "../storage/lock-store/memory.ts";
import { openMemoryStorage } from "../storage/memory.ts";
import { simulatedClock } from "../testing/simulated-clock.ts";
import { loadState } from "./control-log.ts";
import { genesisBatch } from "./genesis.ts";
import { LedgerEngine, type LedgerParts } from "./ledger.ts";
import { DEFAULT_LIMITS } from "./limits.ts";
import { seededRandom } from "./seeded-random.ts";
import type { LedgerStorage } from "./storage.ts";

const RULES = {
  origin: "controls.test",
  commitmentHash: "sha256",
  scheme: "event",
  requireSignature: false,
  eventBytes: 4_096,
  lockStoreId: "0".repeat(32),
} as const;

/** A new ledger in memory, and the index from which each read of control entries began. */
async function prepare(): Promise<{ readonly parts: LedgerParts; readonly reads: number[] }> {
  const [clock, random, signers] = [simulatedClock(), seededRandom("controls"), [generateLogKey()]];
  const memory = openMemoryStorage();
  await memory.create(() => genesisBatch({ ...RULES, signers }, { clock, random }));
  const lockStore = memoryLockStore();
  await lockStore.create(RULES);
  const reads: number[] = [];
  const storage = new Proxy<LedgerStorage>(memory, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name);
      if (typeof value !== "function") return value;
      return (...args: unknown[]) => {
        if (name === "readControls") reads.push(Number(args[0] ?? 0));
        return value.apply(target, args);
      };
    },
  });
  const parts = { storage, lockStore, signers, clock, random, limits: DEFAULT_LIMITS };
  return { parts: { ...parts, problem: null, readerState: null, readOnly: false }, reads };
}

it("opens with the state that was loaded a moment ago, and reads only what is newer", async () => {
  const { parts, reads } = await prepare();
  const loaded = await loadState(parts.storage);
  expect(loaded.controlsSeen).toBe(1);
  reads.length = 0;
  const ledger = await LedgerEngine.open(parts, loaded);
  expect(reads).toEqual([1]);
  await ledger.appendMany(Array.from({ length: 3 }, () => ({ action: "user.login" })));
  await ledger.keys.placeHold("case-7", { first: 1, last: 2, reason: "a lawsuit" });
  const later = await LedgerEngine.open(parts, loaded);
  await expect(later.erase(1, { reason: "asked for" })).rejects.toMatchObject({ code: "held" });
});
