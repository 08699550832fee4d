import { describe, expect, it, onTestFinished } from "vitest";
import { ANCHOR_CLOSE_MS } from "../../src/ledger/anchoring.ts";
import type { LedgerAnchor } from "../../src/ledger/ledger.ts";
import type { Ledger, MemoryOptions } from "../../src/open.ts";
import { createTestLedger } from "../../src/testing/create-test-ledger.ts";
import { type SimulatedClock, simulatedClock } from "../../src/testing/simulated-clock.ts";
import { REGTEST_BITS } from "../anchors/bitcoin.ts";
import { type Behaviour, fakeCalendar, fakeTsa, TSA_ROOT } from "../anchors/fakes.ts";
import { newPlace, openAt } from "./place.ts";

const HOUR = 3_600_000;
const event = { action: "user.login", actor: "alice" };

async function testLedger(
  options: (clock: SimulatedClock) => MemoryOptions,
): Promise<{ readonly ledger: Ledger; readonly clock: SimulatedClock }> {
  const clock = simulatedClock();
  const test = await createTestLedger({ clock, ...options(clock) });
  onTestFinished(() => closeWith(test.ledger, clock));
  return { ledger: test.ledger, clock };
}

/** The grace at close is time, too. */
async function closeWith(ledger: Ledger, clock: SimulatedClock): Promise<void> {
  let isClosed = false;
  const closed = ledger.close().finally(() => {
    isClosed = true;
  });
  while (!isClosed) {
    clock.advance(ANCHOR_CLOSE_MS);
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
  await closed;
}

async function anchorsOf(ledger: Ledger): Promise<LedgerAnchor[]> {
  const found: LedgerAnchor[] = [];
  for await (const anchor of ledger.anchors()) found.push(anchor);
  return found;
}

/** Lets whatever is under way come to its end: signing, submitting, recording and planning are some dozen turns each. */
async function settle(): Promise<void> {
  for (let i = 0; i < 200; i++) await new Promise<void>((resolve) => setImmediate(resolve));
}

async function pass(clock: SimulatedClock, ms: number, stepMs = 60_000): Promise<void> {
  for (let rest = ms; rest > 0; rest -= stepMs) {
    clock.advance(Math.min(stepMs, rest));
    await settle();
  }
}

describe("the anchor scheduler", () => {
  it("anchors within the cadence, and comes to rest when nothing is appended any more", async () => {
    const { ledger, clock } = await testLedger((clock) => ({ anchors: [fakeTsa(() => clock.now())] }));
    await ledger.append(event);
    await pass(clock, HOUR - 120_000);
    expect(await anchorsOf(ledger)).toEqual([]);
    await pass(clock, 180_000);
    const [anchor, ...more] = await anchorsOf(ledger);
    expect(more).toEqual([]);
    expect(anchor).toMatchObject({ kind: "rfc3161", size: 2, index: 2 });
    const { size } = ledger;
    await pass(clock, 48 * HOUR, HOUR);
    expect(ledger.size).toBe(size);
    await ledger.append(event);
    await pass(clock, HOUR + 60_000);
    expect((await anchorsOf(ledger)).map(({ size }) => size)).toEqual([2, 4]);
  });

  it("anchors before its time when many entries came, but not more than once a minute", async () => {
    const tsa = fakeTsa(() => Date.UTC(2026, 0, 1));
    const { ledger, clock } = await testLedger(() => ({ anchors: [tsa], limits: { anchorEveryEntries: 10 } }));
    for (let i = 0; i < 9; i++) await ledger.append(event);
    await pass(clock, 2_000, 1_000);
    expect(tsa.asked.length).toBe(1);
    for (let i = 0; i < 10; i++) await ledger.append(event);
    await pass(clock, 50_000, 1_000);
    expect(tsa.asked.length).toBe(1);
    await pass(clock, 12_000, 1_000);
    expect(tsa.asked.length).toBe(2);
  });

  it("anchors on demand, each checkpoint once", async () => {
    const { ledger } = await testLedger((clock) => ({ anchors: [fakeTsa(() => clock.now()), fakeCalendar()] }));
    await ledger.append(event);
    const results = await ledger.anchor();
    expect(results).toMatchObject([
      { kind: "rfc3161", size: 2, isComplete: true, problem: null },
      { kind: "opentimestamps", size: 2, isComplete: false, problem: null },
    ]);
    expect(results.map(({ index }) => index).sort()).toEqual([2, 3]);
    expect(await ledger.anchor()).toMatchObject([
      { size: 2, index: null, problem: null },
      { size: 2, index: null, problem: null },
    ]);
    expect(ledger.size).toBe(4);
  });

  it("stores the signed note and the proof with the event, and verify finds nothing wrong", async () => {
    const { ledger } = await testLedger((clock) => ({ anchors: [fakeTsa(() => clock.now())] }));
    const note = await ledger.checkpoint();
    await ledger.anchor();
    const [anchor] = await anchorsOf(ledger);
    expect(new TextDecoder().decode(anchor!.note!)).toBe(note);
    const unpinned = await ledger.verify();
    expect(unpinned).toMatchObject({ ok: true, findings: [], timeline: { notAfter: [], notBefore: [] } });
    expect(unpinned.verdicts.time.unchecked).toEqual([
      "1 RFC 3161 time stamp: no certificate that the reader pins vouches for the authority",
    ]);
    const pinned = await ledger.verify({ tsaRoots: [TSA_ROOT], requireAnchor: true });
    expect(pinned).toMatchObject({
      ...{ ok: true, findings: [], requiredMissing: [] },
      timeline: { notAfter: [{ size: 1 }], notBefore: [{ index: 1 }] },
      verdicts: { time: { status: "pass" }, independence: { status: "notEstablished" } },
    });
  });

  it("records what one gives while others are dead, slow or lie, and asks those again", async () => {
    const good = fakeTsa(() => Date.UTC(2026, 0, 1));
    const bad = (["dead", "refuses", "throws", "hangs", "lies", "garbage", "huge"] as Behaviour[]).map((behaviour) =>
      Object.assign(
        fakeTsa(() => 0, `https://${behaviour}.example`),
        { behaviour },
      ),
    );
    const { ledger, clock } = await testLedger(() => ({ anchors: [...bad, good] }));
    await ledger.append(event);
    await pass(clock, HOUR + 60_000);
    expect((await anchorsOf(ledger)).map(({ size }) => size)).toEqual([2]);
    const { anchors } = await ledger.status();
    expect(anchors.map(({ name, size, problem }) => [name.slice(8, -8), size, problem !== null])).toEqual([
      ...["dead", "refuses", "throws"].map((name) => [name, 0, true]),
      // It is still waited for.
      ["hangs", 0, false],
      ...["lies", "garbage", "huge"].map((name) => [name, 0, true]),
      ["tsa", 2, false],
    ]);
    const asked = bad.map((anchor) => anchor.asked.length);
    bad[0]!.behaviour = "ok";
    await pass(clock, HOUR, 10_000);
    expect(bad[0]!.asked.length).toBeGreaterThan(asked[0]!);
    expect((await anchorsOf(ledger)).map(({ size }) => size)).toEqual([2, 3]);
    expect(await ledger.verify({ tsaRoots: [TSA_ROOT] })).toMatchObject({ ok: true });
  });

  it("asks one that fails ever more seldom, and never gives up", async () => {
    const dead = Object.assign(
      fakeTsa(() => 0),
      { behaviour: "dead" as Behaviour },
    );
    const { ledger, clock } = await testLedger(() => ({ anchors: [dead] }));
    await ledger.append(event);
    await pass(clock, 4 * HOUR, 10_000);
    const first = dead.asked.length;
    expect(first).toBeGreaterThan(5);
    expect(first).toBeLessThan(20);
    await pass(clock, 100 * HOUR, HOUR / 2);
    expect(dead.asked.length - first).toBeGreaterThan(90);
    expect(dead.asked.length - first).toBeLessThan(140);
  });

  it("never holds up appends, and close waits for slow ones no longer than its bound", async () => {
    const slow = Object.assign(
      fakeTsa(() => 0),
      { behaviour: "hangs" as Behaviour },
    );
    const place = newPlace();
    const ledger = await openAt(place, { anchors: [slow], limits: { anchorEveryMs: 1, checkpointEveryMs: 1 } });
    await ledger.append(event);
    await expect.poll(() => slow.asked.length).toBe(1);
    // Whoever waited for an anchor that hangs would wait for ever: these end, however busy the machine.
    for (let i = 0; i < 100; i++) await ledger.append(event);
    await ledger.checkpoint();
    const closing = performance.now();
    await ledger.close();
    expect(performance.now() - closing).toBeLessThan(ANCHOR_CLOSE_MS + 30_000);
  });

  it("leaves a checkpoint over what it recorded when it closes", async () => {
    const place = newPlace();
    const tsa = fakeTsa(() => Date.now());
    const ledger = await openAt(place, { anchors: [tsa] });
    await ledger.anchor();
    await ledger.close();
    const again = await openAt(place);
    expect(await again.status()).toMatchObject({ size: 2, checkpointed: 2, anchored: 1, unanchoredMs: 0 });
    await again.close();
  });
});

describe("upgrades", () => {
  it("are asked for until a block is there, and become events of their own", async () => {
    const calendar = fakeCalendar();
    const { ledger, clock } = await testLedger(() => ({ anchors: [calendar] }));
    await ledger.append(event);
    await ledger.anchor();
    const [pending] = await anchorsOf(ledger);
    await pass(clock, 24 * HOUR, 60_000);
    expect(calendar.upgrades).toBeGreaterThan(20);
    expect(calendar.upgrades).toBeLessThan(60);
    expect(await ledger.status()).toMatchObject({ anchored: 0, pendingUpgrades: 1 });
    const headerOf = calendar.confirm(840_000, Math.floor(clock.now() / 1_000));
    await pass(clock, HOUR + 60_000);
    const upgrades = calendar.upgrades;
    const anchors = await anchorsOf(ledger);
    expect(anchors.map(({ index, size }) => [index, size])).toEqual([
      [2, 2],
      [3, 2],
    ]);
    expect(anchors[1]!.note).toEqual(pending!.note);
    expect(await ledger.status()).toMatchObject({ anchored: 2, pendingUpgrades: 0, unanchoredMs: 0 });
    await pass(clock, 48 * HOUR, HOUR);
    expect([calendar.upgrades, ledger.size]).toEqual([upgrades, 4]);
    const header = { height: 840_000, header: headerOf(pending!.proof!) };
    const bitcoin = { name: "test", bitsMax: REGTEST_BITS, read: async () => header };
    const report = await ledger.verify({ bitcoin, requireAnchor: true });
    expect(report).toMatchObject({ ok: true, findings: [], requiredMissing: [] });
    expect(report.timeline.notAfter).toMatchObject([{ size: 2 }]);
    // Not the pending proof's event at 2: nothing of the block stands in it.
    expect(report.timeline.notBefore).toMatchObject([{ index: 3 }]);
  });

  it("go on after a restart", async () => {
    const place = newPlace();
    const calendar = fakeCalendar();
    const first = await openAt(place, { anchors: [calendar] });
    await first.anchor();
    await first.close();
    calendar.confirm(1, 1_770_000_000);
    const second = await openAt(place, { anchors: [calendar] });
    await expect.poll(async () => (await anchorsOf(second)).length).toBe(2);
    expect(calendar.asked.length).toBe(1);
    await second.close();
  });

  it("that bring nothing, or something else, are not recorded", async () => {
    const calendar = fakeCalendar();
    const { ledger } = await testLedger(() => ({ anchors: [calendar] }));
    await ledger.anchor();
    for (const behaviour of ["dead", "refuses", "throws", "lies", "garbage", "huge"] as Behaviour[]) {
      calendar.behaviour = behaviour;
      const [result] = await ledger.upgradeAnchors();
      expect(result, behaviour).toMatchObject({ index: null, problem: expect.any(String) });
    }
    expect(ledger.size).toBe(2);
  });
});

describe("the level anchored", () => {
  it("is reached by a complete proof, and a receipt then carries the very note that was anchored", async () => {
    const { ledger } = await testLedger((clock) => ({ anchors: [fakeTsa(() => clock.now())] }));
    const { index } = await ledger.append(event);
    const receipt = await ledger.prove(index, { until: "anchored" });
    const [anchor] = await anchorsOf(ledger);
    const note = new TextDecoder().decode(anchor!.note!);
    expect((JSON.parse(receipt) as { proof: string }).proof.endsWith(note)).toBe(true);
    await ledger.settled(index, "anchored");
    expect(ledger.size).toBe(3);
    expect(await ledger.checkpoint({ until: "anchored" })).toBe(note);
    expect(ledger.size).toBe(3);
    // Whoever asks for the event of an anchor itself gets what he asks for.
    await ledger.settled(2, "anchored");
    expect(ledger.size).toBe(4);
  });

  it("is not reached by a promise", async () => {
    const { ledger } = await testLedger(() => ({ anchors: [fakeCalendar()] }));
    await expect(ledger.settled(0, "anchored")).rejects.toMatchObject({
      code: "level-not-reached",
      message: "entry 0 is not anchored by any anchor yet: 1 proof waits for an upgrade",
      details: { index: 0, reached: "checkpointed", pending: 1 },
    });
  });

  it("says what each anchor answered", async () => {
    const dead = Object.assign(
      fakeTsa(() => 0),
      { behaviour: "dead" as Behaviour },
    );
    const { ledger } = await testLedger(() => ({ anchors: [dead] }));
    await expect(ledger.settled(0, "anchored")).rejects.toMatchObject({
      code: "level-not-reached",
      details: { reached: "checkpointed", problems: { "https://tsa.example": "not reachable" } },
    });
  });

  it("waits for a kind that the rules name", async () => {
    const { ledger } = await testLedger((clock) => ({
      rules: { anchors: ["opentimestamps"] },
      anchors: [fakeTsa(() => clock.now())],
    }));
    await expect(ledger.settled(0, "anchored")).rejects.toMatchObject({
      code: "level-not-reached",
      message: expect.stringContaining("not anchored by opentimestamps yet"),
    });
    await ledger.keys.changeRules({ requireSignature: false, anchors: ["rfc3161", "opentimestamps"] });
    await ledger.settled(0, "anchored");
    expect(ledger.state.rules.at(-1)).toMatchObject({ anchors: ["opentimestamps", "rfc3161"] });
    expect(await ledger.verify()).toMatchObject({ ok: true });
  });

  it("cannot be reached without anchors", async () => {
    const { ledger } = await testLedger(() => ({}));
    await expect(ledger.settled(0, "anchored")).rejects.toMatchObject({
      code: "level-not-reached",
      message: expect.stringContaining("opened without anchors"),
    });
  });
});

describe("status", () => {
  it("turns red when a ledger that should be anchored is not for a day beyond its cadence", async () => {
    const dead = Object.assign(
      fakeTsa(() => 0),
      { behaviour: "dead" as Behaviour },
    );
    const { ledger, clock } = await testLedger(() => ({ anchors: [dead] }));
    await pass(clock, 24 * HOUR, HOUR);
    expect(await ledger.status()).toMatchObject({ anchored: 0, overdue: false });
    await pass(clock, 2 * HOUR, HOUR);
    expect(await ledger.status()).toMatchObject({ anchored: 0, overdue: true, unanchoredMs: 26 * HOUR });
  });

  it("says nothing of anchors where there are none", async () => {
    const { ledger, clock } = await testLedger(() => ({}));
    await pass(clock, 48 * HOUR, HOUR);
    expect(await ledger.status()).toMatchObject({ anchored: null, unanchoredMs: 0, anchors: [], overdue: false });
  });
});
