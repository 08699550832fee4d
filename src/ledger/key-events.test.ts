import { describe, expect, it } from "vitest";
import { generateAuthorKey, generateLogKey } from "../keys/index.ts";
import { memoryLockStore } from "../storage/lock-store/memory.ts";
import { openMemoryStorage } from "../storage/memory.ts";
import { simulatedClock } from "../testing/simulated-clock.ts";
import { genesisBatch } from "./genesis.ts";
import { LedgerEngine } from "./ledger.ts";
import { DEFAULT_LIMITS } from "./limits.ts";
import { seededRandom } from "./seeded-random.ts";
import type { Signer } from "./signer.ts";

/**
 * Control events stand for ever, so that one which no verifier accepts would leave a ledger that never verifies again. No legal
 * call may write one, whatever other calls and processes do at the same moment.
 */
async function newWorld(): Promise<{ open: (signers: readonly Signer[]) => Promise<LedgerEngine>; key: Signer }> {
  const storage = openMemoryStorage();
  const lockStore = memoryLockStore();
  const clock = simulatedClock();
  const random = seededRandom("key events");
  const key = generateLogKey();
  const lockStoreId = "0".repeat(32);
  const origin = "example.com/keys";
  await lockStore.create({ origin, lockStoreId });
  const options = { origin, lockStoreId, commitmentHash: "sha256", scheme: "event", requireSignature: false } as const;
  await storage.create(() =>
    genesisBatch({ ...options, signers: [key], eventBytes: DEFAULT_LIMITS.eventBytes }, { clock, random }),
  );
  const limits = { ...DEFAULT_LIMITS };
  const rest = { problem: null, readerState: null, readOnly: false, clock, random, limits, storage, lockStore };
  return { key, open: (signers) => LedgerEngine.open({ ...rest, signers }) };
}

async function expectVerified(ledger: LedgerEngine): Promise<void> {
  const report = await ledger.verify();
  expect(report.findings).toEqual([]);
  expect(report).toMatchObject({ ok: true, conclusive: true });
}

const codes = (results: readonly PromiseSettledResult<unknown>[]): string[] =>
  results.map((result) => (result.status === "fulfilled" ? "ok" : (result.reason as { code: string }).code)).sort();

describe("rotation", () => {
  it("goes on from the key in force, also where retired ones are still held, in whatever order", async () => {
    const world = await newWorld();
    const keys = [world.key, generateLogKey(), generateLogKey(), generateLogKey()] as const;
    const first = await world.open([keys[0]]);
    const pinned = first.policy();
    await first.keys.rotate(keys[1]);
    for (const [i, held] of [[keys[0], keys[1]] as const, [keys[2], keys[0], keys[1]] as const].entries()) {
      const ledger = await world.open(held);
      await ledger.keys.rotate(keys[i + 2]!);
      await expectVerified(ledger);
    }
    const last = await world.open(keys);
    await last.append({ action: "user.login" });
    expect(await last.verify({ policy: pinned })).toMatchObject({ ok: true, conclusive: true, findings: [] });
    expect(await last.verify({ policy: last.policy() })).toMatchObject({ ok: true, conclusive: true, findings: [] });
  });

  it("by two processes at once: one rotates, the other is told and writes nothing", async () => {
    const world = await newWorld();
    const [a, b] = [await world.open([world.key]), await world.open([world.key])];
    const results = await Promise.allSettled([a.keys.rotate(generateLogKey()), b.keys.rotate(generateLogKey())]);
    expect(codes(results)).toEqual(["key-role", "ok"]);
    await expectVerified(results[0].status === "fulfilled" ? a : b);
  });

  it("by two calls of one process at once: likewise", async () => {
    const world = await newWorld();
    const ledger = await world.open([world.key]);
    const results = await Promise.allSettled([1, 2, 3].map(() => ledger.keys.rotate(generateLogKey())));
    expect(codes(results)).toEqual(["key-role", "key-role", "ok"]);
    await expectVerified(ledger);
  });

  it("by a process whose key was rotated away elsewhere is refused", async () => {
    const world = await newWorld();
    const [a, b] = [await world.open([world.key]), await world.open([world.key])];
    const next = generateLogKey();
    await a.keys.rotate(next);
    const { size } = a;
    await expect(b.keys.rotate(generateLogKey())).rejects.toMatchObject({ code: "key-role" });
    await expect(b.keys.addAuthor(generateAuthorKey(), "alice")).rejects.toMatchObject({ code: "key-role" });
    // It can go on appending; signing is for whoever holds the new key.
    expect((await b.append({ action: "user.login" })).index).toBe(size);
    await expect(b.checkpoint()).rejects.toMatchObject({ code: "key-lost" });
    await expectVerified(await world.open([next]));
  });
});

describe("the same control event twice at once", () => {
  it.each<
    readonly [string, (ledger: LedgerEngine, author: ReturnType<typeof generateAuthorKey>) => Promise<unknown>, string]
  >([
    ["a hold of one name", (l) => l.keys.placeHold("h", { first: 0, last: 1, reason: "r" }), "already-exists"],
    ["a release of one hold", (l) => l.keys.releaseHold("held", "r"), "held"],
    ["the registration of one author key", (l, author) => l.keys.addAuthor(author, "alice"), "already-exists"],
    ["one log key", (l) => l.keys.addLogKey(SHARED), "already-exists"],
  ])("%s: one is written, the others are told", async (_, call, code) => {
    const world = await newWorld();
    const [a, b] = [await world.open([world.key]), await world.open([world.key])];
    await a.keys.placeHold("held", { first: 0, last: 1, reason: "r" });
    const author = generateAuthorKey();
    const results = await Promise.allSettled([call(a, author), call(a, author), call(b, author), call(b, author)]);
    expect(codes(results)).toEqual([code, code, code, "ok"].sort());
    await expectVerified(a);
  });

  const SHARED = generateLogKey("ml-dsa-44");

  it("a revocation of one author key, and of one log key", async () => {
    const world = await newWorld();
    const ledger = await world.open([world.key]);
    const author = generateAuthorKey();
    await ledger.keys.addAuthor(author, "alice");
    const revoke = () => ledger.keys.revokeAuthor(author.keyId, "left");
    expect(codes(await Promise.allSettled([revoke(), revoke()]))).toEqual(["key-role", "ok"]);
    await expectVerified(ledger);
  });
});

describe("control events and what they rule, at once", () => {
  it("nothing is erased under a hold that came first, nor held back by one that came later", async () => {
    for (const order of [0, 1]) {
      const world = await newWorld();
      const [a, b] = [await world.open([world.key]), await world.open([world.key])];
      await a.appendMany(Array.from({ length: 5 }, () => ({ action: "user.login" })));
      const calls = [
        () => a.keys.placeHold("h", { first: 1, last: 5, reason: "r" }),
        () => a.erase(2, { reason: "r" }),
        () => b.erase(3, { reason: "r" }),
      ];
      if (order === 1) calls.reverse();
      for (const code of codes(await Promise.allSettled(calls.map((call) => call()))))
        expect(["ok", "held"]).toContain(code);
      await expectVerified(a);
    }
  });

  it("no unsigned event follows the rule that forbids it", async () => {
    const world = await newWorld();
    const [a, b] = [await world.open([world.key]), await world.open([world.key])];
    const login = { action: "user.login" };
    const results = await Promise.allSettled([
      a.append(login),
      b.append(login),
      a.keys.changeRules({ requireSignature: true }),
      a.append(login),
      b.append(login),
      b.keys.changeRules({ requireSignature: false }),
    ]);
    for (const code of codes(results)) expect(["ok", "signature-required"]).toContain(code);
    await expectVerified(a);
    await expect(b.append(login)).rejects.toMatchObject({ code: "signature-required" });
  });
});
