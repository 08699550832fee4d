import { describe, expect, it } from "vitest";
import { signEvent } from "../core/author-signature.ts";
import type { Event } from "../core/event.ts";
import { parsePolicy } from "../core/policy.ts";
import { verifyReceipt } from "../core/receipt.ts";
import { generateAuthorKey, generateLogKey } from "../keys/index.ts";
import { Ledger } from "../open.ts";
import { createTestLedger } from "../testing/create-test-ledger.ts";

const login: Event = { action: "user.login", actor: "alice" };
const events = (count: number): Event[] =>
  Array.from({ length: count }, (_, i) => ({ action: "doc.read", actor: "bob", payload: { i } }));

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

describe("append", () => {
  it("gives each event the next index, a leaf hash and the ledger's time", async () => {
    await using test = await createTestLedger();
    const first = await test.ledger.append(login);
    test.clock.advance(5);
    const second = await test.ledger.append(login);
    expect(first).toMatchObject({ index: 1, time: "2026-01-01T00:00:00.000Z", duplicate: false });
    expect(second).toMatchObject({ index: 2, time: "2026-01-01T00:00:00.005Z", duplicate: false });
    expect(second.leafHash).toMatch(/^[0-9a-f]{64}$/);
  });

  it("keeps the order of concurrent calls", async () => {
    await using test = await createTestLedger();
    const appended = await Promise.all(events(2_500).map((event) => test.ledger.append(event)));
    expect(appended.map((entry) => entry.index)).toEqual(Array.from({ length: 2_500 }, (_, i) => i + 1));
    expect((await test.ledger.read(2_500)).event?.payload).toEqual({ i: 2_499 });
  });

  it("never lets time go back", async () => {
    await using test = await createTestLedger();
    const first = await test.ledger.append(login);
    test.clock.step(-86_400_000);
    const second = await test.ledger.append(login);
    expect(second.time).toBe(first.time);
    expect((await test.ledger.verify()).ok).toBe(true);
  });

  it("refuses a clock that jumps far ahead and writes nothing", async () => {
    await using test = await createTestLedger();
    test.clock.step(400 * 86_400_000);
    await expect(test.ledger.append(login)).rejects.toMatchObject({ code: "clock-jump" });
    test.clock.step(-400 * 86_400_000);
    expect(await test.ledger.append(login)).toMatchObject({ index: 1 });
  });

  it.each([
    ["an unknown member", { ...login, acton: "x" }, "malformed-event", "/acton"],
    ["a missing action", { actor: "alice" }, "malformed-event", "/action"],
    ["a reserved action", { action: "ledger.genesis" }, "reserved-action", undefined],
    ["NaN", { ...login, payload: { n: Number.NaN } }, "unsupported-value", "/payload/n"],
    ["a BigInt", { ...login, payload: { n: 1n } }, "unsupported-value", "/payload/n"],
    ["a lone surrogate", { ...login, payload: { s: "\ud800" } }, "unsupported-value", "/payload/s"],
    ["no object", "user.login", "malformed-event", undefined],
  ])("refuses %s and stays as it was", async (_, event, code, pointer) => {
    await using test = await createTestLedger();
    const refusal = test.ledger.append(event as unknown as Event);
    await expect(refusal).rejects.toMatchObject(pointer === undefined ? { code } : { code, details: { pointer } });
    expect(test.ledger.size).toBe(1);
  });

  it("refuses a cycle and an event over the ledger's bound", async () => {
    await using test = await createTestLedger({ limits: { eventBytes: 2_000 } });
    const cycle: Record<string, unknown> = {};
    cycle.self = cycle;
    await expect(test.ledger.append({ ...login, payload: cycle as never })).rejects.toMatchObject({
      code: expect.stringMatching(/unsupported-value|too-deep/),
    });
    await expect(test.ledger.append({ ...login, payload: "x".repeat(2_000) })).rejects.toMatchObject({
      code: "event-too-large",
    });
    expect(test.ledger.size).toBe(1);
  });

  it("answers the same id and content with the first entry, other content with a conflict", async () => {
    await using test = await createTestLedger();
    const first = await test.ledger.append({ ...login, id: "a" });
    expect(await test.ledger.append({ actor: "alice", action: "user.login", id: "a" })).toEqual({
      ...first,
      duplicate: true,
    });
    await expect(test.ledger.append({ ...login, actor: "mallory", id: "a" })).rejects.toMatchObject({
      code: "id-conflict",
      details: { id: "a", index: 1 },
    });
    expect(test.ledger.size).toBe(2);
  });

  it("joins concurrent appends of one id into one entry", async () => {
    await using test = await createTestLedger();
    const appended = await Promise.all(Array.from({ length: 50 }, () => test.ledger.append({ ...login, id: "same" })));
    expect(new Set(appended.map((entry) => entry.index))).toEqual(new Set([1]));
    expect(appended.filter((entry) => !entry.duplicate)).toHaveLength(1);
  });

  it("writes nothing when aborted before the commit", async () => {
    await using test = await createTestLedger();
    const abort = new AbortController();
    const pending = test.ledger.append(login, { signal: abort.signal });
    abort.abort(new Error("enough"));
    await expect(pending).rejects.toThrow("enough");
    expect(test.ledger.size).toBe(1);
  });

  it("pushes back when the queue is full, and loses nothing that was accepted", async () => {
    await using test = await createTestLedger({ limits: { queueEntriesMax: 10, batchEntriesMax: 5 } });
    const results = await Promise.allSettled(events(15).map((event) => test.ledger.append(event)));
    expect(results.filter((result) => result.status === "fulfilled")).toHaveLength(10);
    for (const result of results.slice(10)) {
      expect(result).toMatchObject({
        status: "rejected",
        reason: { code: "queue-full", retryAfterMs: expect.any(Number) },
      });
    }
    expect(test.ledger.size).toBe(11);
  });

  it("refuses every call after close", async () => {
    const test = await createTestLedger();
    await test.ledger.close();
    await test.ledger.close();
    await expect(test.ledger.append(login)).rejects.toMatchObject({ code: "closed" });
  });
});

describe("appendMany", () => {
  it("appends all or nothing", async () => {
    await using test = await createTestLedger();
    await test.ledger.append({ ...login, id: "taken" });
    const clash: Event[] = [login, { ...login, actor: "mallory", id: "taken" }, login];
    await expect(test.ledger.appendMany(clash)).rejects.toMatchObject({ code: "id-conflict" });
    await expect(test.ledger.appendMany([login, { action: "" }])).rejects.toMatchObject({ code: "malformed-event" });
    expect(test.ledger.size).toBe(2);
    expect(await test.ledger.appendMany([])).toEqual([]);
    expect((await test.ledger.appendMany(events(3))).map((entry) => entry.index)).toEqual([2, 3, 4]);
  });

  it("takes a repeated id of one call as one entry, and refuses two contents", async () => {
    await using test = await createTestLedger();
    const [first, second] = await test.ledger.appendMany([
      { ...login, id: "x" },
      { ...login, id: "x" },
    ]);
    expect(second).toEqual({ ...first, duplicate: true });
    await expect(
      test.ledger.appendMany([
        { ...login, id: "y" },
        { ...login, actor: "bob", id: "y" },
      ]),
    ).rejects.toMatchObject({ code: "id-conflict" });
  });

  it("refuses more than its bound with the way out", async () => {
    await using test = await createTestLedger({ limits: { appendManyMax: 3 } });
    await expect(test.ledger.appendMany(events(4))).rejects.toThrow(/appendAll/);
  });
});

describe("appendAll", () => {
  it("streams results in order and stops at the bad event, keeping what stands before it", async () => {
    await using test = await createTestLedger();
    const stream = async function* (): AsyncGenerator<Event> {
      yield* events(1_500);
      yield { action: "bad action" };
      yield* events(10);
    };
    const seen: number[] = [];
    const run = (async () => {
      for await (const { index } of test.ledger.appendAll(stream())) seen.push(index);
    })();
    await expect(run).rejects.toMatchObject({ code: "malformed-event", details: { position: 1_500, durable: 1_500 } });
    expect(seen).toHaveLength(1_500);
    expect(test.ledger.size).toBe(1_501);
  });

  it("appends nothing after a conflict inside the stream", async () => {
    await using test = await createTestLedger();
    await test.ledger.append({ ...login, id: "a" });
    const run = collect(test.ledger.appendAll([login, { ...login, actor: "eve", id: "a" }, login]));
    await expect(run).rejects.toMatchObject({ code: "id-conflict", details: { position: 1, durable: 1 } });
    expect(test.ledger.size).toBe(3);
  });

  it("does not wait for a slow producer to fill a piece", async () => {
    await using test = await createTestLedger();
    let release = (): void => {};
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    const slow = async function* (): AsyncGenerator<Event> {
      yield login;
      await gate;
      yield login;
    };
    const results = test.ledger.appendAll(slow())[Symbol.asyncIterator]();
    expect((await results.next()).value).toMatchObject({ index: 1 });
    release();
    expect((await results.next()).value).toMatchObject({ index: 2 });
    expect((await results.next()).done).toBe(true);
  });
});

describe("proofs and levels", () => {
  it("makes receipts that verify under the ledger's policy", async () => {
    await using test = await createTestLedger();
    await test.ledger.appendMany(events(700));
    const policy = parsePolicy(test.ledger.policy());
    for (const index of [0, 1, 255, 256, 511, 700]) {
      const receipt = await verifyReceipt(await test.ledger.prove(index), policy);
      expect(receipt).toMatchObject({ index, leafHash: (await test.ledger.read(index)).leafHash });
    }
  });

  it("discloses single fields in scheme fields and explains why not in scheme event", async () => {
    await using test = await createTestLedger({ scheme: "fields" });
    const { index } = await test.ledger.append({ ...login, payload: { amount: 12, card: "4111" } });
    const whole = await test.ledger.append(login, { scheme: "event" });
    const policy = parsePolicy(test.ledger.policy());
    const text = await test.ledger.prove(index, { disclose: ["action", "payload.amount"] });
    expect(text).not.toContain("4111");
    const receipt = await verifyReceipt(text, policy);
    expect(receipt.event).toEqual({ action: "user.login", payload: { amount: 12 } });
    expect(receipt.withheld).toEqual(["actor", "payload.card"]);
    await expect(test.ledger.prove(index, { disclose: ["payload.nope"] })).rejects.toMatchObject({
      code: "not-disclosable",
    });
    await expect(test.ledger.prove(whole.index, { disclose: ["action"] })).rejects.toMatchObject({
      code: "not-disclosable",
      message: expect.stringContaining("scheme fields"),
    });
  });

  it("settles at checkpointed, and never calls a weaker state by a stronger name", async () => {
    await using test = await createTestLedger();
    const { index } = await test.ledger.append(login);
    await test.ledger.settled(index, "durable");
    await test.ledger.settled(index, "checkpointed");
    await expect(test.ledger.settled(index, "witnessed")).rejects.toMatchObject({
      code: "level-not-reached",
      details: { reached: "checkpointed" },
    });
    await expect(test.ledger.settled(99, "durable")).rejects.toThrow(RangeError);
  });

  it("signs a checkpoint by itself after its cadence", async () => {
    await using test = await createTestLedger();
    await test.ledger.append(login);
    expect((await test.ledger.stats()).checkpointed).toBe(0);
    test.clock.advance(1_000);
    await expect.poll(async () => (await test.ledger.stats()).checkpointed).toBe(2);
  });
});

describe("a rollback under an open ledger", () => {
  it("is refused at the next signature, never covered by the larger checkpoint", async () => {
    const { openMemoryStorage } = await import("../storage/memory.ts");
    const { memoryLockStore } = await import("../storage/lock-store/memory.ts");
    const { genesisBatch } = await import("./genesis.ts");
    const { LedgerEngine } = await import("./ledger.ts");
    const { DEFAULT_LIMITS } = await import("./limits.ts");
    const { seededRandom } = await import("./seeded-random.ts");
    const { simulatedClock } = await import("../testing/simulated-clock.ts");
    const signer = generateLogKey();
    const origin = "rollback.test";
    const random = seededRandom("rollback");
    const clock = simulatedClock();
    const lockStore = memoryLockStore();
    const options = {
      origin,
      commitmentHash: "sha256",
      scheme: "event",
      requireSignature: false,
      eventBytes: 4_096,
      lockStoreId: "0".repeat(32),
      signers: [signer],
    } as const;
    const genesis = genesisBatch(options, { clock, random });
    await lockStore.create(options);
    const openOn = async (): Promise<Ledger> => {
      const storage = openMemoryStorage();
      await storage.create(() => genesis);
      return LedgerEngine.open({
        storage,
        lockStore,
        signers: [signer],
        problem: null,
        clock,
        random,
        limits: DEFAULT_LIMITS,
        readerState: null,
        readOnly: false,
      });
    };
    // Two stores that share only the genesis and the lock store: the second is what a restored copy would be.
    const restored = await openOn();
    const genuine = await openOn();
    await genuine.appendMany(events(5));
    await genuine.checkpoint();
    await restored.append(login);
    await expect(restored.checkpoint()).rejects.toMatchObject({
      code: "rolled-back",
      details: { expected: 6, found: 2 },
    });
    await restored.appendMany(events(9));
    await expect(restored.checkpoint()).rejects.toMatchObject({ code: "forked" });
  });
});

describe("erasure", () => {
  it("removes a body, keeps every proof, and reports the third state", async () => {
    await using test = await createTestLedger();
    const { index } = await test.ledger.append({ ...login, id: "gone", payload: { secret: "s3cret" } });
    await test.ledger.appendMany(events(3));
    const before = await test.ledger.prove(index + 1);
    const erased = await test.ledger.erase(index, { reason: "request 17", basis: "GDPR 17(1)(a)", actor: "dpo" });
    expect(erased).toMatchObject({ index: 5, purged: "done" });
    expect(await test.ledger.read(index)).toMatchObject({ event: null, erased: { by: 5 } });
    const report = await test.ledger.verify();
    expect(report).toMatchObject({ ok: true, conclusive: true, erased: { entries: 1, fields: 0 } });
    expect(report.verdicts.integrity.unchecked.join()).toContain("1 erased body");
    await expect(test.ledger.prove(index)).rejects.toMatchObject({ code: "not-disclosable" });
    expect(await test.ledger.proveInclusion(index)).toContain("index 1\n");
    await verifyReceipt(before, parsePolicy(test.ledger.policy()));
    expect((await collect(test.ledger.query({ text: "s3cret" }))).length).toBe(0);
  });

  it("refuses the id of an erased entry for ever", async () => {
    await using test = await createTestLedger();
    const event = { ...login, id: "gone" };
    const { index } = await test.ledger.append(event);
    await test.ledger.erase(index, { reason: "r" });
    await expect(test.ledger.append(event)).rejects.toMatchObject({ code: "id-conflict" });
    expect(await test.ledger.findById("gone")).toBeUndefined();
  });

  it("removes single fields, more than once, and keeps the others disclosable", async () => {
    await using test = await createTestLedger({ scheme: "fields" });
    const { index } = await test.ledger.append({
      ...login,
      id: "f",
      payload: { email: "a@b.c", amount: 5 },
      context: { ip: "10.0.0.1" },
    });
    await test.ledger.erase({ index, fields: ["payload.email"] }, { reason: "r" });
    await test.ledger.erase({ index, fields: ["context.ip"] }, { reason: "r" });
    expect((await test.ledger.read(index)).event).toEqual({
      action: "user.login",
      actor: "alice",
      id: "f",
      payload: { amount: 5 },
    });
    expect(await test.ledger.verify()).toMatchObject({ ok: true, erased: { fields: 2 } });
    await verifyReceipt(
      await test.ledger.prove(index, { disclose: ["payload.amount"] }),
      parsePolicy(test.ledger.policy()),
    );
    await expect(test.ledger.erase({ index, fields: ["payload.email"] }, { reason: "r" })).rejects.toMatchObject({
      code: "not-erasable",
    });
    await expect(
      test.ledger.append({ ...login, id: "f", payload: { email: "a@b.c", amount: 5 }, context: { ip: "10.0.0.1" } }),
    ).rejects.toMatchObject({ code: "id-conflict" });
    await test.ledger.erase(index, { reason: "all of it" });
    expect(await test.ledger.verify()).toMatchObject({ ok: true, erased: { entries: 1 } });
  });

  it("refuses control events, unknown fields, single fields of whole commitments, and what is held", async () => {
    await using test = await createTestLedger();
    const { index } = await test.ledger.append(login);
    const reason = { reason: "r" };
    await expect(test.ledger.erase(0, reason)).rejects.toMatchObject({ code: "not-erasable" });
    await expect(test.ledger.erase({ index, fields: ["actor"] }, reason)).rejects.toMatchObject({
      code: "not-erasable",
    });
    await test.ledger.keys.placeHold("case-1", { first: 0, last: 10, reason: "litigation" });
    await expect(test.ledger.erase(index, reason)).rejects.toMatchObject({ code: "held" });
    await test.ledger.keys.releaseHold("case-1", "settled");
    await test.ledger.erase(index, reason);
    await expect(test.ledger.erase(index, reason)).rejects.toMatchObject({ code: "not-erasable" });
    await expect(test.ledger.erase(99, reason)).rejects.toThrow(RangeError);
    await expect(test.ledger.erase(index, { reason: "" })).rejects.toThrow(TypeError);
    expect((await test.ledger.verify()).ok).toBe(true);
  });
});

describe("keys", () => {
  it("rotates the log key so that a reader who pinned the old one follows", async () => {
    await using test = await createTestLedger();
    await test.ledger.append(login);
    await test.ledger.checkpoint();
    const pinned = test.ledger.policy();
    const { index } = await test.ledger.keys.rotate(generateLogKey());
    await test.ledger.append(login);
    const report = await test.ledger.verify({ policy: pinned });
    expect(report).toMatchObject({ ok: true, conclusive: true, pin: "policy" });
    expect(test.ledger.policy()).not.toBe(pinned);
    expect(index).toBe(2);
    const latest = await test.ledger.checkpoint();
    expect(latest.split("\n— ")).toHaveLength(2);
  });

  it("signs beside Ed25519 with ML-DSA-44", async () => {
    await using test = await createTestLedger();
    await test.ledger.keys.addLogKey(generateLogKey("ml-dsa-44"));
    await test.ledger.append(login);
    expect((await test.ledger.checkpoint()).split("\n— ")).toHaveLength(3);
    expect((await test.ledger.verify()).ok).toBe(true);
  });

  it("revokes a log key but never the last one", async () => {
    await using test = await createTestLedger();
    const [only] = test.ledger.state.logKeys;
    const options = { validUntilSize: 1, reason: "leaked" };
    await expect(test.ledger.keys.revokeLogKey(only?.key.vkey ?? "", options)).rejects.toMatchObject({
      code: "key-role",
    });
    await test.ledger.keys.rotate(generateLogKey());
    await test.ledger.keys.revokeLogKey(only?.key.vkey ?? "", { validUntilSize: 2, reason: "leaked" });
    await test.ledger.append(login);
    expect((await test.ledger.verify()).ok).toBe(true);
  });

  it("adds an author signature to an event that carries some only if those verify", async () => {
    await using test = await createTestLedger();
    const [first, second] = [generateAuthorKey(), generateAuthorKey()];
    for (const author of [first, second]) await test.ledger.keys.addAuthor(author, "alice");
    const event: Event = { ...login, id: "s1" };
    const { event: signed } = await signEvent(event, {
      origin: test.ledger.origin,
      scheme: "event",
      hash: "sha256",
      signer: first,
      salts: (count) => new Uint8Array(16 * count),
    });
    const forged = { ...signed, action: "user.logout" };
    await expect(test.ledger.append(forged, { signer: second })).rejects.toMatchObject({ code: "signature-invalid" });
    const { index } = await test.ledger.append(signed, { signer: second });
    expect((await test.ledger.read(index)).event?.signatures).toHaveLength(2);
    expect(await test.ledger.verify()).toMatchObject({ ok: true, findings: [] });
  });

  it.each(["event", "fields"] as const)(
    "takes author signatures in scheme %s and keeps them checkable through erasure",
    async (scheme) => {
      await using test = await createTestLedger({ scheme });
      const author = generateAuthorKey("ecdsa-p256");
      const event: Event = { ...login, id: "s1", payload: { note: "hello", n: 1 } };
      await expect(test.ledger.append(event, { signer: author })).rejects.toMatchObject({
        code: "author-not-registered",
      });
      await test.ledger.keys.addAuthor(author, "alice");
      const { index } = await test.ledger.append(event, { signer: author });
      await expect(test.ledger.append({ ...login, actor: "bob", id: "s2" }, { signer: author })).rejects.toMatchObject({
        code: "author-not-registered",
      });
      await expect(test.ledger.append(login, { signer: author })).rejects.toMatchObject({ code: "malformed-event" });
      const report = await test.ledger.verify();
      expect(report.ok).toBe(true);
      expect(report.verdicts.authenticity.unchecked.join()).toContain("self-asserted");
      if (scheme === "fields") {
        await test.ledger.erase({ index, fields: ["payload.note"] }, { reason: "r" });
        expect((await test.ledger.verify()).ok).toBe(true);
      }
      await test.ledger.erase(index, { reason: "r" });
      await expect(test.ledger.append(event, { signer: author })).rejects.toMatchObject({ code: "id-conflict" });
      await test.ledger.keys.revokeAuthor(author.keyId, "left");
      await expect(test.ledger.append({ ...event, id: "s3" }, { signer: author })).rejects.toMatchObject({
        code: "author-not-registered",
      });
      expect((await test.ledger.verify()).ok).toBe(true);
    },
  );

  it("requires author signatures where the rules say so, and never lets them be switched off", async () => {
    await using test = await createTestLedger();
    await test.ledger.append(login);
    await test.ledger.keys.changeRules({ requireSignature: true });
    await expect(test.ledger.append(login)).rejects.toMatchObject({ code: "signature-required" });
    await expect(test.ledger.keys.changeRules({ requireSignature: false })).rejects.toMatchObject({
      code: "signature-required",
    });
    expect((await test.ledger.verify()).ok).toBe(true);
  });
});

describe("query", () => {
  it("finds by each filter, in both directions, and pages without a gap", async () => {
    await using test = await createTestLedger();
    await test.ledger.appendMany(events(600));
    await test.ledger.append({
      action: "user.role.changed",
      actor: { id: "carol", type: "admin" },
      targets: [{ id: "u7", type: "user" }],
      outcome: "success",
      type: "role@2",
      context: { requestId: "r-1" },
      payload: { from: "Reader", to: { role: "owner" } },
    });
    const found = async (filter: Parameters<Ledger["query"]>[0]): Promise<number[]> =>
      (await collect(test.ledger.query(filter))).map((entry) => entry.index);
    for (const filter of [
      { actor: "carol" },
      { action: "user.role.changed" },
      { action: "user.*" },
      { type: "role@2" },
      { target: "u7" },
      { outcome: "success" },
      { correlation: "r-1" },
      { text: "reader" },
      { where: { "payload.to.role": "owner" } },
      { actor: "carol", text: "OWNER", first: 300 },
    ]) {
      expect(await found(filter), JSON.stringify(filter)).toEqual([601]);
    }
    expect(await found({ where: { "targets.0.id": "u7" } })).toEqual([601]);
    expect(await found({ where: { "targets.length": 1 } })).toEqual([]);
    expect(await found({ actor: "bob", order: "descending", last: 3 })).toEqual([3, 2, 1]);
    const paged: number[] = [];
    let cursor: string | null = null;
    do {
      const page: Awaited<ReturnType<ReturnType<Ledger["query"]>["page"]>> = await test.ledger
        .query({ actor: "bob" })
        .page({ cursor, limit: 47 });
      paged.push(...page.entries.map((entry) => entry.index));
      cursor = page.cursor;
      await test.ledger.append({ action: "doc.read", actor: "bob" });
    } while (cursor !== null);
    expect(paged).toEqual(Array.from({ length: 600 }, (_, i) => i + 1));
  });

  it("finds the same with block filters as without", async () => {
    await using test = await createTestLedger();
    await test.ledger.appendMany(
      Array.from({ length: 1_100 }, (_, i): Event => ({ action: `a.b${i % 7}`, actor: `user-${i % 301}` })),
    );
    const actors = ["user-5", "user-300", "nobody"];
    const search = async (): Promise<number[][]> =>
      Promise.all(
        actors.map(async (actor) => (await collect(test.ledger.query({ actor }))).map((entry) => entry.index)),
      );
    const before = await search();
    for (let i = 0; i < 5; i++) {
      test.clock.advance(200);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    expect(await search()).toEqual(before);
    expect(before.map((indexes) => indexes.length)).toEqual([4, 3, 0]);
    expect((await test.ledger.verify()).needsReindex).toBe(false);
  });

  it("selects by time and refuses what is no time, no filter or another query's cursor", async () => {
    await using test = await createTestLedger();
    await test.ledger.append(login);
    test.clock.advance(86_400_000);
    await test.ledger.appendMany([login, login]);
    const indexes = (await collect(test.ledger.query({ from: "2026-01-02", to: "2026-01-03" }))).map(
      (entry) => entry.index,
    );
    expect(indexes).toEqual([2, 3]);
    expect(() => test.ledger.query({ from: "yesterday" })).toThrow(TypeError);
    expect(() => test.ledger.query({ colour: "red" } as never)).toThrow(/unknown filter/);
    for (const action of ["", "user*", "*", "user.*.x", ".*", "user..*"])
      expect(() => test.ledger.query({ action })).toThrow(/expected action to be an action, or a prefix/);
    const { cursor } = await test.ledger.query({ actor: "alice" }).page({ limit: 1 });
    await expect(test.ledger.query({ actor: "bob" }).page({ cursor })).rejects.toMatchObject({
      code: "malformed-cursor",
    });
    await expect(test.ledger.query().page({ cursor: "garbage" })).rejects.toMatchObject({ code: "malformed-cursor" });
  });

  it("follows what is appended until it is aborted", async () => {
    await using test = await createTestLedger();
    const follow = async (after: number): Promise<number[]> => {
      const abort = new AbortController();
      const seen: number[] = [];
      for await (const entry of test.ledger.follow({ after, signal: abort.signal })) {
        seen.push(entry.index);
        if (entry.index === 3) abort.abort();
      }
      return seen;
    };
    const following = [-1, 0, 2].map(follow);
    await test.ledger.append(login);
    await test.ledger.appendMany(events(2));
    expect(await Promise.all(following)).toEqual([[0, 1, 2, 3], [1, 2, 3], [3]]);
    for (const after of [-2, 0.5, Number.NaN]) {
      await expect(test.ledger.follow({ after }).next()).rejects.toThrow(RangeError);
    }
  });
});

describe("a seeded ledger", () => {
  it("is byte-identical each time", async () => {
    const make = async (): Promise<string[]> => {
      await using ledger = await Ledger.memory({ seed: "golden" });
      await ledger.appendMany(events(300));
      await ledger.erase(5, { reason: "r" });
      return await collect(ledger.export());
    };
    expect(await make()).toEqual(await make());
  });
});

describe("stats and reindex", () => {
  it("counts per action and actor and rebuilds derived data to the same", async () => {
    await using test = await createTestLedger();
    await test.ledger.appendMany(events(300));
    await test.ledger.append(login);
    const stats = await test.ledger.stats();
    expect(stats).toMatchObject({ entries: 302, events: 301, controlEvents: 1 });
    expect(stats.actions[0]).toEqual({ action: "doc.read", count: 300 });
    expect(stats.actors).toEqual([
      { actor: "bob", count: 300 },
      { actor: "alice", count: 1 },
    ]);
    const before = await test.ledger.checkpoint();
    await test.ledger.reindex();
    expect(await test.ledger.checkpoint()).toBe(before);
    expect(await test.ledger.verify()).toMatchObject({ ok: true, needsReindex: false });
  });
});

describe("an event with a getter that appends", () => {
  it("is committed as it is read, whether what the getter appends is right or wrong", async () => {
    await using test = await createTestLedger();
    const { ledger } = test;
    for (const scheme of ["event", "fields"] as const) {
      for (const payload of [{ n: 1 }, { wrong: () => 1 }]) {
        const inner: Promise<unknown>[] = [];
        const outer = {
          action: "outer.one",
          get metadata() {
            inner.push(ledger.append({ action: "inner.one", payload } as Event).catch((error: unknown) => error));
            return { text: "long enough to be written over", count: inner.length };
          },
        };
        const { index, leafHash } = await ledger.append(outer, { scheme });
        const entry = await ledger.read(index);
        expect(entry).toMatchObject({
          leafHash,
          event: { action: "outer.one", metadata: { count: 1 } },
        });
        await Promise.all(inner);
        expect(inner).toHaveLength(1);
      }
    }
    expect(await ledger.verify()).toMatchObject({ ok: true, findings: [] });
  });
});

describe("an event that changes while it is read", () => {
  it("is appended as it was read first, or refused, and the ledger verifies", async () => {
    await using test = await createTestLedger();
    const { ledger } = test;
    let reads = 0;
    const first = <T>(right: T, then: T): T => (reads++ === 0 ? right : then);
    const changing: (() => Event)[] = [
      () => ({
        action: "a.b",
        get id() {
          return `id-${reads++}`;
        },
      }),
      () => ({
        get action() {
          return first("no action!", "a.b");
        },
      }),
      () => ({
        get action() {
          return first("a.b", "ledger.key-revoked");
        },
      }),
      () => ({
        get action() {
          return first("ledger.key-revoked", "a.b");
        },
      }),
      () => ({
        action: "a.b",
        actor: {
          get id() {
            return first("", "alice");
          },
        },
      }),
      () => ({
        action: "a.b",
        targets: [
          {
            get id() {
              return first("", "t");
            },
          },
        ],
      }),
      () => ({
        action: "a.b",
        source: {
          id: "s",
          get counter() {
            return reads++;
          },
        },
      }),
      () => ({
        action: "a.b",
        get occurredAt() {
          return first("yesterday", "2026-01-02T03:04:05Z");
        },
      }),
      () => new Proxy({ action: "a.b", typo: 1 }, { ownKeys: () => first(["action", "typo"], ["action"]) }),
    ]; // prettier-ignore
    const outcomes: unknown[] = [];
    for (const scheme of ["event", "fields"] as const) {
      for (const event of changing) {
        reads = 0;
        outcomes.push(
          await ledger.append(event(), { scheme }).then(
            () => "appended",
            (error) => error.code,
          ),
        );
      }
    }
    const once = ["appended", "malformed-event", "appended", "reserved-action", ...Array(2).fill("malformed-event")];
    const all = [...once, "appended", "malformed-event", "malformed-event"];
    expect(outcomes.slice(0, all.length)).toEqual(all);
    const keyId = "0".repeat(64);
    const signatures = [{ keyId, signature: "AAAA" }];
    const signedLate = {
      action: "a.b",
      get signatures() {
        return first(undefined, signatures);
      },
    } as Event;
    for (const scheme of ["event", "fields"] as const) {
      reads = 0;
      await expect(ledger.append(signedLate, { scheme })).rejects.toMatchObject({ code: "malformed-event" });
    }
    expect(await ledger.verify()).toMatchObject({ ok: true, findings: [] });
  });
});

describe("what a caller gets wrong", () => {
  const rejects = (work: Promise<unknown>, name: string, message: RegExp): Promise<void> =>
    expect(work).rejects.toMatchObject({ name, message: expect.stringMatching(message) });

  it("is no index of an entry nearby", async () => {
    await using test = await createTestLedger();
    await test.ledger.appendMany(events(3));
    for (const index of [1.5, -1, Number.NaN, "1", undefined] as number[]) {
      await rejects(test.ledger.read(index), "RangeError", /expected a leaf index, got/);
      await rejects(test.ledger.prove(index), "RangeError", /expected a leaf index, got/);
    }
    await rejects(test.ledger.read(4), "RangeError", /^there is no entry 4; the ledger has 4$/);
    await rejects(test.ledger.prove(4), "RangeError", /^there is no entry 4; the ledger has 4$/);
  });

  it("is no level that was reached", async () => {
    await using test = await createTestLedger();
    const { index } = await test.ledger.append(login);
    const until = "witnesed" as "witnessed";
    await rejects(test.ledger.settled(index, until), "TypeError", /expected a level, one of .*; got "witnesed"/);
    await rejects(test.ledger.checkpoint({ until }), "TypeError", /expected a level/);
    await rejects(test.ledger.prove(index, { until }), "TypeError", /expected a level/);
  });

  it("is no option that was left out", async () => {
    await using test = await createTestLedger();
    const options = { singer: await generateAuthorKey("ed25519") } as object;
    await rejects(test.ledger.append(login, options), "TypeError", /append: unknown option "singer"/);
    await rejects(test.ledger.appendMany([login], options), "TypeError", /append: unknown option "singer"/);
    await rejects(collect(test.ledger.appendAll([login], options)), "TypeError", /append: unknown option "singer"/);
    const scheme = "field" as "fields";
    await rejects(test.ledger.append(login, { scheme }), "TypeError", /expected scheme to be event or fields/);
    expect(test.ledger.size).toBe(1);
  });

  it("is no rule that was left out", async () => {
    const rules = { requireSignatures: true } as object;
    await rejects(Ledger.memory({ rules }), "TypeError", /unknown rule "requireSignatures"/);
    await rejects(Ledger.memory({ rules: { requireSignature: "yes" as never } }), "TypeError", /true or false/);
    await rejects(Ledger.memory({ commitmentHash: "md5" as never }), "TypeError", /expected commitmentHash to be/);
  });

  it("is named by its position in a batch, of which nothing is written", async () => {
    await using test = await createTestLedger();
    const batch = [login, login, { ...login, acton: "x" } as Event];
    await expect(test.ledger.appendMany(batch)).rejects.toMatchObject({
      code: "malformed-event",
      details: { pointer: "/acton", position: 2, durable: 0 },
    });
    expect(test.ledger.size).toBe(1);
  });

  it("is no date of another month", async () => {
    await using test = await createTestLedger();
    expect(() => test.ledger.query({ to: "2026-02-30" })).toThrow(/expected to to be a date/);
    expect((await test.ledger.query({ from: "2024-02-29" }).page({})).entries).toHaveLength(1);
  });
});

it("speaks of a single entry in the singular", async () => {
  const ledger = await Ledger.memory();
  const { verdicts } = await ledger.verify();
  await ledger.close();
  expect(verdicts.integrity.basis).toBe("every stored byte of 1 entry was hashed again and is what was committed");
});
