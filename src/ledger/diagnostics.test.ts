import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { UnavailableError } from "../core/errors.ts";
import { logSignerFromSeed } from "../keys/index.ts";
import { memoryLockStore } from "../storage/lock-store/memory.ts";
import { openMemoryStorage } from "../storage/memory.ts";
import { simulatedClock } from "../testing/simulated-clock.ts";
import { genesisBatch } from "./genesis.ts";
import { LedgerEngine } from "./ledger.ts";
import { DEFAULT_LIMITS } from "./limits.ts";
import { seededRandom } from "./seeded-random.ts";
import type { LedgerStorage } from "./storage.ts";

const CHANNELS = ["append", "commit", "checkpoint", "verify", "finding"] as const;
const ORIGIN = "example.com/diagnostics";
const SECRET = "nobody may hear this";
const signer = logSignerFromSeed("ed25519", new Uint8Array(32).fill(1));

const heard: { readonly channel: string; readonly message: unknown }[] = [];
const listeners = CHANNELS.map((channel) => ({
  name: `tallystick:${channel}`,
  listen: (message: unknown) => void heard.push({ channel, message }),
}));

beforeEach(() => {
  heard.length = 0;
  for (const { name, listen } of listeners) subscribe(name, listen);
});
afterEach(() => {
  for (const { name, listen } of listeners) unsubscribe(name, listen);
});

async function openLedger(wrap: (storage: LedgerStorage) => LedgerStorage = (same) => same): Promise<LedgerEngine> {
  const storage = openMemoryStorage();
  const lockStore = memoryLockStore();
  const lockStoreId = "0".repeat(32);
  const clock = simulatedClock();
  const random = seededRandom("diagnostics");
  await lockStore.create({ origin: ORIGIN, lockStoreId });
  const options = {
    origin: ORIGIN,
    signers: [signer],
    lockStoreId,
    commitmentHash: "sha256",
    scheme: "event",
    requireSignature: false,
    eventBytes: DEFAULT_LIMITS.eventBytes,
  } as const;
  await storage.create(() => genesisBatch(options, { clock, random }));
  return LedgerEngine.open({
    storage: wrap(storage),
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

function heardOn(channel: string): unknown[] {
  return heard.filter((event) => event.channel === channel).map(({ message }) => message);
}

describe("the diagnostics channels", () => {
  it("tell of appends, commits, checkpoints and verifications, never of content", async () => {
    const ledger = await openLedger();
    const event = { id: "one", action: "note.taken", payload: { text: SECRET } };
    const first = await ledger.append(event);
    const [again, second] = await Promise.all([ledger.append(event), ledger.append({ action: "note.read" })]);
    expect(again.duplicate).toBe(true);
    await ledger.checkpoint();
    const report = await ledger.verify();
    await ledger.close();
    expect(heardOn("append")).toMatchObject([
      { index: first.index, leafHash: first.leafHash },
      { index: second.index, leafHash: second.leafHash },
    ]);
    expect(heardOn("commit")).toEqual([
      { size: 2, entries: 1 },
      { size: 3, entries: 1 },
    ]);
    expect(heardOn("checkpoint").at(-1)).toEqual({ size: 3 });
    expect(heardOn("verify")).toMatchObject([{ size: 3, findings: report.findings.length }]);
    expect(heardOn("finding")).toHaveLength(report.findings.length);
    expect(JSON.stringify(heard)).not.toContain(SECRET);
  });

  it("tell of an append only once it is durable", async () => {
    let failing = false;
    const ledger = await openLedger((storage) => {
      const commit: LedgerStorage["commit"] = storage.commit.bind(storage);
      storage.commit = async (reads, plan) => {
        if (!failing) return commit(reads, plan);
        await commit(reads, (view) => {
          plan(view);
          return undefined;
        });
        throw new UnavailableError("storage-io", "the disk said no");
      };
      return storage;
    });
    failing = true;
    await expect(ledger.append({ action: "note.taken" })).rejects.toMatchObject({ code: "storage-io" });
    expect(heardOn("append")).toEqual([]);
    expect(heardOn("commit")).toEqual([]);
    failing = false;
    await ledger.append({ action: "note.taken" });
    expect(heardOn("append")).toMatchObject([{ index: 1 }]);
    await ledger.close();
  });
});
