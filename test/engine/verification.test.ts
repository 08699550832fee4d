import { beforeAll, describe, expect, it } from "vitest";
import { VERDICT_NAMES } from "../../src/core/report.ts";
import { assertVerified } from "../../src/ledger/verify-ledger.ts";
import { digestOf } from "../../src/storage/sqlite-statements.ts";
import { verify } from "../../src/verify.ts";
import { forge, forgeryOf, reforge } from "./forge.ts";
import {
  codeOf,
  copyPlace,
  driver,
  failedVerdicts,
  judged,
  newPlace,
  openAt,
  stateOf,
  tamper,
  verifyAt,
} from "./place.ts";
import { AT, buildWorld, LOG_KEY, login, ORIGIN, rewriteRows, signAgain, type World } from "./world.ts";

let world: World;
let policy: string;
beforeAll(async () => {
  world = await buildWorld();
  ({ policy } = world.held);
});

const edit = (path: string, indexes: readonly number[]): void =>
  tamper(path, (db) => {
    for (const index of indexes)
      db.prepare(`UPDATE entries SET body = replace(body, '"actor":"', '"actor":"x') WHERE idx = ?`).run(index);
  });

describe("what the answer rests on", () => {
  it("without a pin nothing is wrong and nothing is established: exit 3", async () => {
    const { report, exit, found } = await verifyAt(world.place.path);
    expect(exit).toBe(3);
    expect(found).toEqual([]);
    expect(report).toMatchObject({ ok: true, conclusive: false, pin: "none", requiredMissing: [] });
    expect(report.verdicts.authenticity).toMatchObject({
      status: "notEstablished",
      basis: expect.stringContaining("pin a policy"),
    });
    expect(report.verdicts.integrity.status).toBe("pass");
    expect(report.summary).toContain("no key is pinned");
    expect(() => assertVerified(report)).toThrow(expect.objectContaining({ code: "verification-failed" }));
  });

  it("the ledger's own keys, if asked for by name: exit 0, and the report says whose word that is", async () => {
    const { report, exit } = await verifyAt(world.place.path, { allowSelfAsserted: true });
    expect(exit).toBe(0);
    expect(report).toMatchObject({ ok: true, conclusive: true, pin: "self-asserted" });
    expect(report.verdicts.authenticity.basis).toContain("only the ledger itself names");
    assertVerified(report);
  });

  it("the state of this machine, or a policy in hand: exit 0, each by its name", async () => {
    const here = judged(await verify(world.place.path, { state: world.place.state, driver }));
    expect(here).toMatchObject({ exit: 0, found: [], report: { pin: "state", conclusive: true } });
    const given = await verifyAt(world.place.path, { policy });
    expect(given).toMatchObject({ exit: 0, found: [], report: { pin: "policy", conclusive: true } });
    expect(Object.keys(given.report.verdicts)).toEqual(VERDICT_NAMES);
    expect(given.report.verdicts).toMatchObject({
      integrity: { status: "pass" },
      order: { status: "pass" },
      authenticity: { status: "pass" },
      completeness: { status: "pass" },
      independence: { status: "notEstablished" },
      time: { status: "notEstablished" },
    });
    expect(given.report.root).toMatch(/^[0-9a-f]{64}$/);
  });

  it("a policy in hand wins over the one that this machine keeps", async () => {
    const other = newPlace();
    const ledger = await openAt(other, { origin: "example.com/other", signer: LOG_KEY });
    const foreign = ledger.policy();
    await ledger.close();
    const { exit, codes } = judged(
      await verify(world.place.path, { state: world.place.state, driver, policy: foreign }),
    );
    expect(exit).toBe(1);
    expect(codes).toEqual(["genesis-mismatch", "origin-mismatch"]);
  });

  it("a held checkpoint makes the history the reader's own, up to its size", async () => {
    const { report } = await verifyAt(world.place.path, { policy, expect: world.held.first });
    expect(report.verdicts.independence).toMatchObject({
      status: "pass",
      basis: expect.stringContaining("up to size 20"),
    });
    // What it does not reach is said.
    expect(report.verdicts.completeness.unchecked.join()).toContain(
      "nothing from outside the ledger reaches beyond size 20",
    );
  });

  it("a held checkpoint is no pin of keys: without one nothing is established, and what contradicts it is found", async () => {
    const same = await verifyAt(world.place.path, { expect: world.held.first });
    expect(same).toMatchObject({ exit: 3, found: [], report: { pin: "none" } });
    expect(same.report.verdicts.independence).toEqual({
      status: "notEstablished",
      basis: "the history up to size 20 is the one that the reader saw before; but no key is pinned",
      unchecked: [],
    });
    const asserted = await verifyAt(world.place.path, { expect: world.held.first, allowSelfAsserted: true });
    expect(asserted).toMatchObject({ exit: 0, report: { pin: "self-asserted" } });
    expect(asserted.report.verdicts.independence.status).toBe("pass");
    const place = copyPlace(world.place);
    rewriteRows(place.path, (old) => reforge(old, 12, (forgery) => ({ ...forgery, event: login(99) })));
    tamper(place.path, (db) => db.exec("DELETE FROM checkpoints"));
    const other = await verifyAt(place.path, { expect: world.held.first });
    expect(other).toMatchObject({ exit: 1, codes: ["expected-root"] });
  });

  it("a held checkpoint of another ledger, of another history, or badly signed: exit 1", async () => {
    const place = copyPlace(world.place);
    const rows = rewriteRows(place.path, (old) => reforge(old, 12, (forgery) => ({ ...forgery, event: login(99) })));
    const foreign = await signAgain(place.path, rows);
    const cases: readonly (readonly [string, string])[] = [
      [world.held.last.replaceAll(ORIGIN, "example.com/other"), "origin-mismatch"],
      [foreign, "expected-root"],
      [world.held.last.replace("\n41\n", "\n42\n"), "expected-beyond"],
      [world.held.last.replace(/(— \S+ ....)./, "$1A").replace(/.(=\n)$/, "A$1"), "checkpoint-signature"],
    ];
    for (const [note, code] of cases)
      for (const source of ["expect", "lastSeen"] as const) {
        const { codes, exit } = await verifyAt(world.place.path, { policy, [source]: note });
        expect(codes).toEqual([code]);
        expect(exit).toBe(1);
      }
  });

  it("what is handed in as a checkpoint and is none is no finding against the ledger; what this machine keeps as one is", async () => {
    for (const option of ["expect", "since"] as const)
      for (const note of [
        "",
        "garbage\n",
        policy,
        world.held.last.slice(0, -30),
        world.held.last.split("\n\n")[0] ?? "",
      ])
        await expect(verifyAt(world.place.path, { policy, [option]: note })).rejects.toMatchObject({
          code: "malformed-config",
          message: `${option}: expected a checkpoint, a signed note of origin, size and root; what was given is none`,
          details: { option },
        });
    for (const source of ["lastSeen", "lockNote"] as const)
      expect(await verifyAt(world.place.path, { policy, [source]: "garbage" })).toMatchObject({
        exit: 1,
        codes: ["checkpoint-malformed"],
      });
  });

  it("what this machine was told to remember is required from then on", async () => {
    const place = copyPlace(world.place);
    const remembering = () => verify(place.path, { state: place.state, driver, remember: true });
    expect((await remembering()).ok).toBe(true);
    expect(stateOf(place).lastSeen(ORIGIN)).toBe(world.held.last);
    const rows = rewriteRows(place.path, (old) => old.slice(0, 30));
    await signAgain(place.path, rows, [AT.first, 30]);
    const { codes, exit } = judged(await remembering());
    expect(codes).toEqual(["expected-beyond"]);
    expect(exit).toBe(1);
    expect(stateOf(place).lastSeen(ORIGIN)).toBe(world.held.last);
    // Nothing is remembered of what did not verify, nor without a pin.
    const fresh = { ...place, state: newPlace().state };
    await verify(fresh.path, { state: fresh.state, driver, remember: true });
    expect(stateOf(fresh).lastSeen(ORIGIN)).toBeUndefined();
  });

  it("of a ledger that grows meanwhile it remembers only what it verified", async () => {
    const place = copyPlace(world.place);
    const grown = copyPlace(world.place);
    const ledger = await openAt(grown, { signer: LOG_KEY });
    await ledger.append(login(99));
    await ledger.close();
    const reader = newPlace().state;
    stateOf({ ...place, state: reader }).writePolicy(ORIGIN, policy);
    let isGrown = false;
    // Another process appends and signs, right after the last entry was read.
    const onProgress = (): void => {
      if (isGrown) return;
      isGrown = true;
      const db = new driver(place.path, { readonly: false, fileMustExist: true, timeout: 5_000 });
      db.exec(`ATTACH '${grown.path}' AS grown`);
      for (const table of ["entries", "checkpoints"])
        db.exec(`INSERT INTO main.${table} SELECT * FROM grown.${table} WHERE true ON CONFLICT DO NOTHING`);
      db.close();
    };
    expect(await verify(place.path, { state: reader, driver, remember: true, onProgress })).toMatchObject({
      ok: true,
      size: AT.size,
    });
    expect(stateOf({ ...place, state: reader }).lastSeen(ORIGIN)).toBe(world.held.last);
    const { size } = await verify(place.path, { state: reader, driver, remember: true });
    expect(size).toBe(AT.size + 1);
    expect(stateOf({ ...place, state: reader }).lastSeen(ORIGIN)).toContain(`\n${AT.size + 1}\n`);
  });

  it("a policy that does not parse is refused before anything is said", async () => {
    expect(await codeOf(verifyAt(world.place.path, { policy: "quorum none\n" }))).toBe("malformed-policy");
  });
});

describe("a slice", () => {
  it("says that it is one, and exits 3", async () => {
    for (const [first, last] of [
      [0, 10],
      [10, 30],
      [40, 40],
      [5, undefined],
      [undefined, 5],
    ]) {
      const { report, exit, found } = await verifyAt(world.place.path, { policy, first, last });
      expect(found).toEqual([]);
      expect(exit).toBe(3);
      expect(report.range).toEqual([first ?? 0, last ?? AT.size - 1]);
      expect(report).toMatchObject({ ok: true, conclusive: false, root: null });
      expect(report.summary).toContain("slice");
      expect(report.verdicts.integrity.unchecked.join()).toContain("slice");
      expect(report.verdicts.completeness.status).toBe("notChecked");
    }
  });

  it("finds what is wrong in it, and nothing of what is wrong elsewhere", async () => {
    const place = copyPlace(world.place);
    edit(place.path, [7, 25]);
    expect(await verifyAt(place.path, { policy, first: 20, last: 30 })).toMatchObject({
      exit: 1,
      found: [{ code: "commitment-mismatch", index: 25 }],
    });
    expect(await verifyAt(place.path, { policy, first: 30, last: 40 })).toMatchObject({ exit: 3, found: [] });
  });

  it("is held against the tree that is signed: a slice of another history does not pass", async () => {
    const place = copyPlace(world.place);
    rewriteRows(place.path, (rows) =>
      forge(rows.slice(0, 30), [
        { event: { action: "nothing.happened" } },
        ...rows.slice(31).map((row) => forgeryOf(row)),
      ]),
    );
    const { codes, exit } = await verifyAt(place.path, { policy, first: 30, last: 33 });
    expect(codes).toContain("checkpoint-root");
    expect(exit).toBe(1);
  });

  it("of everything is none; bounds that make none are refused", async () => {
    expect((await verifyAt(world.place.path, { policy, first: 0, last: AT.size - 1 })).report.range).toBeNull();
    for (const [first, last] of [
      [5, 4],
      [-1, 4],
      [0, AT.size],
      [1.5, 4],
    ])
      await expect(verifyAt(world.place.path, { policy, first, last })).rejects.toThrow(RangeError);
  });
});

describe("resuming from a checkpoint that was verified before", () => {
  it("reads only what came after it, and says so", async () => {
    const { report, exit, found } = await verifyAt(world.place.path, { policy, since: world.held.first });
    expect(found).toEqual([]);
    expect(exit).toBe(0);
    expect(report.verdicts.integrity.unchecked.join()).toContain(
      "entries before 20 are covered by the trusted checkpoint",
    );
    expect(report.summary).toBe(
      `intact from entry 20 on: ${AT.size - 20} entries; the 20 entries that the trusted checkpoint covers were not read again`,
    );
    expect(report.root).toBe((await verifyAt(world.place.path, { policy })).report.root);
    const place = copyPlace(world.place);
    edit(place.path, [7, 25]);
    expect((await verifyAt(place.path, { policy, since: world.held.first })).found).toEqual([
      { code: "commitment-mismatch", index: 25 },
    ]);
  });

  it("from a checkpoint of all there is: nothing is read again, and nothing is wrong", async () => {
    const { report, exit, found } = await verifyAt(world.place.path, { policy, since: world.held.last });
    expect({ exit, found }).toEqual({ exit: 0, found: [] });
    expect(report.summary).toContain("nothing is newer than the trusted checkpoint");
    expect(report.summary).not.toContain("intact");
    expect(report.verdicts.integrity.basis).toContain("no entry is newer");
  });

  it("from one that this ledger does not contain: everything is read, and the contradiction is a finding", async () => {
    const place = copyPlace(world.place);
    const rows = rewriteRows(place.path, (old) => reforge(old, 12, (forgery) => ({ ...forgery, event: login(99) })));
    await signAgain(place.path, rows);
    edit(place.path, [7]);
    const { found, exit } = await verifyAt(place.path, { policy, since: world.held.first });
    expect(found).toContainEqual({ code: "commitment-mismatch", index: 7 });
    expect(found).toContainEqual({ code: "expected-root" });
    expect(exit).toBe(1);
    const short = copyPlace(world.place);
    const cut = rewriteRows(short.path, (old) => old.slice(0, 10));
    await signAgain(short.path, cut, [10]);
    expect((await verifyAt(short.path, { policy, since: world.held.first })).codes).toEqual(["expected-beyond"]);
  });

  it("entries before it that changed all the same, with their hashes: the root gives it away", async () => {
    const place = copyPlace(world.place);
    rewriteRows(place.path, (old) => reforge(old, 12, (forgery) => ({ ...forgery, event: login(99) })));
    expect((await verifyAt(place.path, { policy, since: world.held.first })).exit).toBe(1);
  });
});

describe("findings", () => {
  it("are all counted, and listed up to the bound; it never stops at the first", async () => {
    const place = copyPlace(world.place);
    const indexes = Array.from({ length: 12 }, (_, i) => 20 + i);
    edit(place.path, indexes);
    const all = await verifyAt(place.path, { policy });
    expect(all.found).toEqual(indexes.map((index) => ({ code: "commitment-mismatch", index })));
    for (const findingsMax of [1, 5, 11]) {
      const { report, exit } = await verifyAt(place.path, { policy, findingsMax });
      expect(report.findings).toHaveLength(findingsMax);
      expect(report.findingsOmitted).toBe(12 - findingsMax);
      expect(report.summary).toContain("12 findings");
      expect(exit).toBe(1);
    }
  });

  it("that fail a verdict count also where only notices fit into the list", async () => {
    const place = copyPlace(world.place);
    tamper(place.path, (db) => {
      for (let i = 4; i < 20; i++)
        db.prepare("UPDATE ids SET idx = 1 WHERE digest = ?").run(digestOf(login(i).id ?? ""));
    });
    edit(place.path, [30]);
    for (const findingsMax of [1, 3]) {
      const { report, exit } = await verifyAt(place.path, { policy, findingsMax });
      expect(exit).toBe(1);
      expect(report.ok).toBe(false);
      expect(failedVerdicts(report)).toEqual(["integrity"]);
      expect(report.needsReindex).toBe(true);
    }
  });
});

describe("on the way", () => {
  it("says how far it is, and ends when it is told to", async () => {
    const steps: (readonly [number, number])[] = [];
    await verifyAt(world.place.path, { policy, onProgress: (done, total) => steps.push([done, total]) });
    expect(steps.at(-1)).toEqual([AT.size, AT.size]);
    for (const [i, [done]] of steps.entries()) expect(done).toBeGreaterThan(steps[i - 1]?.[0] ?? 0);
    const ended = verifyAt(world.place.path, { policy, signal: AbortSignal.abort(new Error("enough")) });
    await expect(ended).rejects.toThrow("enough");
  });

  it("sees the ledger as it was when it began, whatever is appended meanwhile", async () => {
    const place = copyPlace(world.place);
    const ledger = await openAt(place, { signer: LOG_KEY });
    const appends: Promise<unknown>[] = [];
    const { report, exit } = await verifyAt(place.path, {
      policy,
      onProgress: () => appends.push(ledger.append(login(500))),
    });
    await Promise.all(appends);
    expect(report.size).toBe(AT.size);
    expect(exit).toBe(0);
    await ledger.close();
  });

  it("an open ledger whose store was damaged reports it, instead of failing to sign first", async () => {
    const place = copyPlace(world.place);
    const ledger = await openAt(place, { signer: LOG_KEY });
    await ledger.appendMany([login(600), login(601), login(602)]);
    edit(place.path, [10, AT.size]);
    expect(judged(await ledger.verify({ policy })).found).toEqual([
      { code: "commitment-mismatch", index: 10 },
      { code: "commitment-mismatch", index: AT.size },
    ]);
    tamper(place.path, (db) =>
      db.exec(
        `UPDATE entries SET entry = replace(entry, '"scheme":"event"', '"scheme":"fields"') WHERE idx = ${AT.size + 1}`,
      ),
    );
    await ledger.append(login(603));
    const { report } = judged(await ledger.verify({ policy }));
    expect(failedVerdicts(report)).toEqual(expect.arrayContaining(["integrity", "order"]));
    expect(await codeOf(ledger.checkpoint())).toBe("invariant-broken");
    await ledger.close().catch(() => {});
  });
});
