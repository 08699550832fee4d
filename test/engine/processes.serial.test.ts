import { existsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { beforeEach, describe, expect, it } from "vitest";
import { isTallystickError } from "../../src/core/errors.ts";
import { seededRandom } from "../../src/ledger/seeded-random.ts";
import type { Ledger } from "../../src/open.ts";
import { verify } from "../../src/verify.ts";
import { type Answer, isBuilt, NOT_BUILT, startWriter, type Writer } from "./child.ts";
import { driver, newPlace, openAt, type Place, stateOf, verifyAt } from "./place.ts";

/** Real processes that die, sleep and crowd. Set TALLYSTICK_SEED to repeat a run as far as chance allows. */
const SEED = process.env.TALLYSTICK_SEED ?? String(Date.now() % 1_000_000);
const PROCESSES = 8;

function dice(name: string): (count: number) => number {
  const random = seededRandom(`${SEED} ${name}`);
  return (count) => {
    const word = random.fill(new Uint8Array(4)) as unknown as readonly [number, number, number, number];
    return (word[0] * 2 ** 24 + word[1] * 2 ** 16 + word[2] * 2 ** 8 + word[3]) % count;
  };
}

/** Everything that was acknowledged is in the ledger, which verifies under this machine's policy and every released note. */
async function audit(place: Place, answers: readonly Answer[]): Promise<Ledger> {
  const ledger = await openAt(place, { create: "never" });
  for (const { id, index, leafHash } of answers) {
    if (id === undefined || index === undefined) continue;
    const entry = await ledger.read(index);
    expect(entry.leafHash).toBe(leafHash);
    if (entry.erased === null) expect(entry.event?.id).toBe(id);
  }
  for (const { bulk = [] } of answers)
    for (const [index, leafHash] of bulk) expect((await ledger.read(index)).leafHash).toBe(leafHash);
  for (const { erased, by } of answers)
    if (erased !== undefined) expect(await ledger.read(erased)).toMatchObject({ event: null, erased: { by } });
  const report = await ledger.verify();
  expect(report.findings).toEqual([]);
  expect(report).toMatchObject({ ok: true, conclusive: true, pin: "state", size: ledger.size });
  const policy = stateOf(place).readPolicy(ledger.origin);
  for (const { note } of answers.filter((answer) => answer.note !== undefined).slice(-1))
    expect(await verifyAt(place.path, { policy, expect: note })).toMatchObject({ exit: 0, found: [] });
  return ledger;
}

describe(`processes (seed ${SEED})`, () => {
  beforeEach((context) => {
    if (!isBuilt) context.skip(NOT_BUILT);
  });

  it("SIGKILL at random points of a write load loses nothing that was acknowledged", { timeout: 90_000 }, async () => {
    const roll = dice("kill");
    let place = newPlace();
    let all: Answer[] = [];
    const until = performance.now() + 16_000;
    for (let round = 0; round < 32 && (round < 8 || performance.now() < until); round++) {
      // A fresh ledger now and then: the first moments are part of it, and small ones are verified sooner.
      if (round % 8 === 0) [place, all] = [newPlace(), []];
      const writer = startWriter(place, { seed: roll(2 ** 31), name: `round-${round}` });
      await writer.until(1 + roll(40));
      await sleep(roll(40));
      writer.process.kill("SIGKILL");
      expect(await writer.ended, writer.stderr()).toBe("SIGKILL");
      expect(writer.answers.length).toBeGreaterThan(0);
      // Nothing of earlier rounds is lost in later ones either.
      all.push(...writer.answers);
      const ledger = await audit(place, all);
      // One ledger for ever, and whoever appends next goes on where this one died.
      for (const { opened } of writer.answers) if (opened !== undefined) expect(opened).toBe(ledger.origin);
      const { index, leafHash } = await ledger.append({ id: `end-${round}`, action: "round.ended" });
      all.push({ id: `end-${round}`, index, leafHash });
      expect(ledger.size).toBeGreaterThan(all.filter(({ id }) => id !== undefined).length);
      await ledger.close();
    }
  });

  it("SIGKILL while a ledger is made for the first time leaves one that can be used, or none", {
    timeout: 60_000,
  }, async () => {
    const roll = dice("first use");
    const outcomes = { none: 0, made: 0 };
    for (let round = 0; round < 12; round++) {
      const place = newPlace();
      const writer = startWriter(place, { seed: 1, name: "first" });
      // Until the folder of the state appears, then a moment more: in the middle of it.
      while (!existsSync(place.state) && writer.process.exitCode === null) await new Promise(setImmediate);
      const end = performance.now() + roll(10);
      while (performance.now() < end) await new Promise(setImmediate);
      writer.process.kill("SIGKILL");
      await writer.ended;
      if (writer.answers.length > 0) outcomes.made += 1;
      else outcomes.none += 1;
      const ledger = await openAt(place);
      expect(ledger.appendProblem).toBeNull();
      await ledger.append({ action: "after.crash" });
      await ledger.close();
      (await audit(place, writer.answers)).close();
    }

    expect(outcomes.none + outcomes.made).toBe(12);
  });

  it("a sequencer that is stopped and wakes up later has not forked the ledger", async () => {
    const roll = dice("zombie");
    const place = newPlace();
    const zombie = startWriter(place, { seed: roll(2 ** 31), name: "zombie" });
    await zombie.until(20);
    const answers: Answer[] = [];
    for (let round = 0; round < 12; round++) {
      zombie.process.kill("SIGSTOP");
      const work = (async () => {
        const other = await openAt(place);
        const own = await other.append({ id: `other-${round}`, action: "other.event" });
        answers.push({ id: `other-${round}`, index: own.index, leafHash: own.leafHash });
        answers.push({ note: await other.checkpoint() });
        await other.close();
      })();
      // If it was stopped with the lock in its hand, the others wait: then it wakes earlier.
      await Promise.race([work, sleep(500)]);
      zombie.process.kill("SIGCONT");
      await work;
      await zombie.until(zombie.answers.length + 1 + roll(10));
    }
    zombie.process.kill("SIGKILL");
    await zombie.ended;
    expect(zombie.stderr()).toBe("");
    await (await audit(place, [...zombie.answers, ...answers])).close();
  });

  it(`${PROCESSES} processes create one ledger at the same moment and fill it together, and readers wait for nobody`, {
    timeout: 90_000,
  }, async () => {
    const place = newPlace();
    const appends = 150;
    const writers = Array.from({ length: PROCESSES }, (_, i): Writer => {
      return startWriter(place, { seed: i, name: `writer-${i}`, appends });
    });
    await sleep(400);
    for (const { process } of writers) process.stdin?.write("go\n");
    // A reader verifies all the time.
    const reads: { readonly from: number; readonly to: number; readonly size: number; readonly tookMs: number }[] = [];
    let writing = true;
    const reading = (async () => {
      while (writing) {
        const from = Date.now();
        // With everything that this machine knows: what the lock store holds must never be ahead of what is read.
        const report = await verify(place.path, { state: place.state, driver }).catch((error: unknown) => {
          // Before the genesis is committed there is nothing to verify.
          if (isTallystickError(error) && (error.code === "not-found" || error.code === "not-a-ledger")) return null;
          throw error;
        });
        if (report !== null) {
          expect(report.findings).toEqual([]);
          expect(report.ok).toBe(true);
          reads.push({ from, to: Date.now(), size: report.size, tookMs: Date.now() - from });
        }
        await sleep(5);
      }
    })();
    const codes = await Promise.all(writers.map(({ ended }) => ended));
    writing = false;
    await reading;
    expect(codes, writers.map((writer) => writer.stderr()).join("\n")).toEqual(Array(PROCESSES).fill(0));
    const answers = writers.flatMap((writer) => writer.answers);

    // One genesis, one origin, one key, told of once.
    expect(new Set(answers.flatMap(({ genesis }) => genesis ?? [])).size).toBe(1);
    expect(new Set(answers.flatMap(({ opened }) => opened ?? [])).size).toBe(1);
    expect(answers.filter(({ created }) => created !== undefined)).toHaveLength(1);
    const [origin = ""] = stateOf(place).listOrigins();
    expect(stateOf(place).listOrigins()).toHaveLength(1);
    expect(stateOf(place).listKeys(origin)).toHaveLength(1);

    // Every append survived, once, each at an index of its own.
    const acknowledged = answers.filter(({ id }) => id !== undefined);
    expect(acknowledged).toHaveLength(PROCESSES * (appends + appends / 10));
    const own = acknowledged.filter(({ id }) => id?.startsWith("writer-"));
    expect(new Set(own.map(({ index }) => index)).size).toBe(PROCESSES * appends);
    expect(own.every(({ duplicate }) => duplicate === false)).toBe(true);
    for (let i = 0; i < appends; i += 10) {
      const same = acknowledged.filter(({ id }) => id === `shared-${i}`);
      expect(same).toHaveLength(PROCESSES);
      expect(new Set(same.map(({ index }) => index)).size).toBe(1);
      expect(same.filter(({ duplicate }) => duplicate === false)).toHaveLength(1);
    }
    const ledger = await audit(place, answers);
    const bulk = answers.reduce((sum, answer) => sum + (answer.bulk?.length ?? 0), 0);
    expect(bulk).toBeGreaterThan(PROCESSES * 64);
    expect(ledger.size).toBe(1 + PROCESSES * appends + appends / 10 + bulk);
    await ledger.close();

    // Verifications that began and ended while others wrote, and saw the ledger grow.
    const times = own.map(({ at = 0 }) => at);
    const during = reads.filter(({ from, to }) => from > Math.min(...times) && to < Math.max(...times));
    expect(during.length).toBeGreaterThan(1);
    expect(new Set(during.map(({ size }) => size)).size).toBeGreaterThan(1);
  });
});
