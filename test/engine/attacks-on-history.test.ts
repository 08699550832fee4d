import { copyFileSync } from "node:fs";
import { beforeAll, describe, expect, it } from "vitest";
import { canonicalize } from "../../src/core/canonical-json.ts";
import { leafHashHex, parseEntry } from "../../src/core/entry.ts";
import { parseEvent } from "../../src/core/event.ts";
import { parsePolicy } from "../../src/core/policy.ts";
import { verifyReceipt } from "../../src/core/receipt.ts";
import { forge, forgeryOf, reforge } from "./forge.ts";
import { codeOf, copyPlace, failedVerdicts, openAt, type Place, stateOf, tamper, verifyAt } from "./place.ts";
import {
  AT,
  buildWorld,
  LOG_KEY,
  lockNoteOf,
  ORIGIN,
  replaceLock,
  rewriteRows,
  signAgain,
  type World,
} from "./world.ts";

/**
 * What somebody with the file, with the log key, or with the whole machine can do to a ledger, and what shows it. Numbered as
 * the table of attacks; each row also says which weaker evidence does not notice, so that no mechanism gets credit for another.
 */
let world: World;
let policy: string;
beforeAll(async () => {
  world = await buildWorld();
  ({ policy } = world.held);
});

const bribed = (body: string): string => canonicalize({ ...parseEvent(body), actor: "mallory" });
const changeActor = (path: string, index: number): void =>
  tamper(path, (db) => {
    const { body } = db.prepare("SELECT body FROM entries WHERE idx = ?").get(index) as { readonly body: string };
    db.prepare("UPDATE entries SET body = ? WHERE idx = ?").run(bribed(body), index);
  });
/** Every hash from entry `at` on recomputed over another actor. */
const recompute = (path: string, at: number) =>
  rewriteRows(path, (rows) => reforge(rows, at, (forgery) => ({ ...forgery, event: bribed(String(forgery.event)) })));
const dropTail = (path: string, size: number): void =>
  tamper(path, (db) => {
    for (const sql of ["entries WHERE idx", "ids WHERE idx", "controls WHERE idx"])
      db.prepare(`DELETE FROM ${sql} >= ?`).run(size);
    db.prepare("DELETE FROM checkpoints WHERE size > ?").run(size);
  });
/** What opening for writing says: the boot check. */
const boot = (place: Place) =>
  codeOf(async () => {
    const ledger = await openAt(place, { signer: LOG_KEY });
    const { appendProblem } = ledger;
    await ledger.close();
    if (appendProblem !== null) throw appendProblem;
  });

it("an untouched ledger has no finding under any evidence, and a copy of it opens", async () => {
  const place = copyPlace(world.place);
  const { report, exit } = await verifyAt(place.path, { policy, expect: world.held.last, lockNote: world.held.last });
  expect(report).toMatchObject({ ok: true, conclusive: true, size: AT.size, findings: [] });
  expect(exit).toBe(0);
  expect(await boot(place)).toBeUndefined();
});

describe("rows 1-3: edits", () => {
  it("row 1: an edited body is named by its index, whichever it is, and by nothing else", async () => {
    const events = Array.from({ length: AT.size - 1 }, (_, i) => i + 1).filter((i) => i !== AT.author && i !== AT.hold);
    for (const index of events) {
      const place = copyPlace(world.place);
      changeActor(place.path, index);
      const { found, exit, report } = await verifyAt(place.path, { policy });
      const signed = index === AT.signed ? [{ code: "author-unregistered", index }] : [];
      expect(found).toEqual([{ code: "commitment-mismatch", index }, ...signed]);
      expect(failedVerdicts(report)).toEqual(signed.length > 0 ? ["integrity", "authenticity"] : ["integrity"]);
      expect(exit).toBe(1);
      expect(report.findings[0]?.expected).toMatch(/^sha256:[0-9a-f]{64}$/);
      expect(report.findings[0]?.found).not.toBe(report.findings[0]?.expected);
    }
  });

  it("row 1: a checkpoint alone would not notice: the genuine one still fits the entries", async () => {
    const place = copyPlace(world.place);
    changeActor(place.path, 7);
    const { report } = await verifyAt(place.path, { policy, expect: world.held.last });
    expect(report.verdicts.completeness.status).toBe("pass");
    expect(report.verdicts.independence.status).toBe("pass");
    expect(await boot(place)).toBeUndefined();
  });

  it("row 2: with every hash recomputed only the signed checkpoints contradict", async () => {
    const place = copyPlace(world.place);
    recompute(place.path, 10);
    const { report, codes, exit } = await verifyAt(place.path, { policy });
    expect(codes).toEqual(["checkpoint-root"]);
    expect(report.findings.map(({ evidence }) => evidence)).toEqual(["checkpoint of size 20", "checkpoint of size 41"]);
    expect(failedVerdicts(report)).toEqual(["completeness"]);
    expect(exit).toBe(1);
    expect(await boot(place)).toBe("forked");
  });

  it("row 2: without its checkpoints it is inconclusive, and a held one or the lock store contradicts", async () => {
    const place = copyPlace(world.place);
    recompute(place.path, 10);
    tamper(place.path, (db) => db.exec("DELETE FROM checkpoints"));
    expect(await verifyAt(place.path, { policy })).toMatchObject({ exit: 3, found: [] });
    expect(await verifyAt(place.path, { policy, expect: world.held.first })).toMatchObject({
      exit: 1,
      codes: ["expected-root"],
    });
    expect(await boot(place)).toBe("forked");
  });

  it("row 2: behind an older genuine checkpoint only evidence from outside contradicts", async () => {
    const place = copyPlace(world.place);
    recompute(place.path, 30);
    tamper(place.path, (db) => db.exec(`DELETE FROM checkpoints WHERE size > ${AT.first}`));
    const alone = await verifyAt(place.path, { policy });
    expect(alone).toMatchObject({ exit: 0, found: [] });
    expect(alone.report.verdicts.authenticity.unchecked.join()).toContain("21 entries after the checkpoint of size 20");
    for (const evidence of ["expect", "lastSeen", "lockNote"] as const) {
      const { codes, exit, report } = await verifyAt(place.path, { policy, [evidence]: world.held.last });
      expect(codes).toEqual(["expected-root"]);
      expect(failedVerdicts(report)).toEqual(["completeness"]);
      expect(exit).toBe(1);
    }
    expect(await boot(place)).toBe("forked");
  });

  it("row 3: with the log key it verifies, and whoever holds older evidence is not deceived", async () => {
    const place = copyPlace(world.place);
    const rows = recompute(place.path, 10);
    await signAgain(place.path, rows);
    const alone = await verifyAt(place.path, { policy });
    expect(alone).toMatchObject({ exit: 0, found: [] });
    expect(alone.report.verdicts.independence).toMatchObject({
      status: "notEstablished",
      basis: expect.stringContaining("the holder of the key could have rewritten all of it"),
    });
    for (const expect_ of [world.held.first, world.held.last])
      expect(await verifyAt(place.path, { policy, expect: expect_ })).toMatchObject({
        exit: 1,
        codes: ["expected-root"],
      });
    // The receipt still verifies: it is of the entry that stood there, and not of the one that is shown now.
    const receipt = await verifyReceipt(world.held.receipt, parsePolicy(policy));
    expect(receipt.leafHash).not.toBe(leafHashHex(rows[15]?.entry ?? ""));
    expect(await boot(place)).toBe("forked");
  });
});

describe("rows 4-6: deletions, insertions, other orders", () => {
  it("row 4: a deleted entry is named, whichever it is", async () => {
    for (let index = 0; index < AT.size; index++) {
      const place = copyPlace(world.place);
      tamper(place.path, (db) => db.prepare("DELETE FROM entries WHERE idx = ?").run(index));
      const { found, codes, exit } = await verifyAt(place.path, { policy });
      expect(exit).toBe(1);
      if (index === AT.size - 1) expect(codes).toContain("checkpoint-beyond");
      else if (index === 0) expect(codes).toContain("genesis-malformed");
      else expect(found).toContainEqual({ code: "entry-missing", index });
    }
  });

  it("row 4: with every hash recomputed the checkpoints contradict, wherever it was", async () => {
    for (const index of [4, 19, 30, 39]) {
      const place = copyPlace(world.place);
      rewriteRows(place.path, (rows) => forge(rows.slice(0, index), rows.slice(index + 1).map(forgeryOf)));
      const { codes, exit } = await verifyAt(place.path, { policy });
      expect(codes).toContain("checkpoint-beyond");
      // What was signed before the deletion still holds.
      if (index < AT.first) expect(codes).toContain("checkpoint-root");
      expect(exit).toBe(1);
    }
  });

  it("row 5: an entry back-filled at the start, in the middle or before the end contradicts the checkpoints", async () => {
    for (const index of [1, AT.login, 20, AT.size - 1]) {
      const place = copyPlace(world.place);
      rewriteRows(place.path, (rows) =>
        forge(rows.slice(0, index), [
          { event: { action: "access.granted", actor: "mallory" }, time: parseEntry(rows[index]!.entry).time },
          ...rows.slice(index).map(forgeryOf),
        ]),
      );
      const { codes, exit } = await verifyAt(place.path, { policy });
      // The key event of alice is signed for its place: that it was moved shows by itself.
      expect(codes).toEqual(
        index <= AT.author ? ["author-unregistered", "checkpoint-root", "key-event-invalid"] : ["checkpoint-root"],
      );
      expect(exit).toBe(1);
      expect(await boot(place)).toBe("forked");
    }
  });

  it("row 6: swapped neighbours and rotated entries break index and link; recomputed, they contradict the checkpoints", async () => {
    const orders: readonly (readonly number[])[] = [
      [7, 6],
      [24, 25, 26, 23],
    ];
    for (const order of orders) {
      const first = Math.min(...order);
      const place = copyPlace(world.place);
      tamper(place.path, (db) => {
        db.exec(`UPDATE entries SET idx = -idx WHERE idx >= ${first} AND idx < ${first + order.length}`);
        order.forEach((from, i) => {
          db.prepare("UPDATE entries SET idx = ? WHERE idx = ?").run(first + i, -from);
        });
      });
      const plain = await verifyAt(place.path, { policy });
      expect(plain.exit).toBe(1);
      expect(failedVerdicts(plain.report)).toEqual(expect.arrayContaining(["order", "completeness"]));
      for (let i = 0; i < order.length; i++)
        expect(plain.found).toContainEqual({ code: "index-mismatch", index: first + i });
      expect(plain.found).toContainEqual({ code: "previous-mismatch", index: first });

      const recomputed = copyPlace(world.place);
      rewriteRows(recomputed.path, (rows) =>
        forge(rows.slice(0, first), [
          ...order.map((from) => ({ ...forgeryOf(rows[from]!), time: parseEntry(rows[first]!.entry).time })),
          ...rows.slice(first + order.length).map(forgeryOf),
        ]),
      );
      expect(await verifyAt(recomputed.path, { policy })).toMatchObject({ exit: 1, codes: ["checkpoint-root"] });
    }
  });
});

describe("rows 7-9: truncation and rollback", () => {
  it("row 7: a tail cut off contradicts the stored checkpoint, at whatever length", async () => {
    for (let size = AT.size - 1; size > AT.first; size -= 4) {
      const place = copyPlace(world.place);
      tamper(place.path, (db) => {
        for (const table of ["entries", "ids", "controls"]) db.prepare(`DELETE FROM ${table} WHERE idx >= ?`).run(size);
      });
      expect(await verifyAt(place.path, { policy })).toMatchObject({ exit: 1, codes: ["checkpoint-beyond"] });
    }
  });

  it("row 7: cut back to an older checkpoint it verifies; memory outside of it does not let it pass", async () => {
    for (const size of [AT.first, AT.first + 5]) {
      const place = copyPlace(world.place);
      dropTail(place.path, size);
      const alone = await verifyAt(place.path, { policy });
      expect(alone).toMatchObject({ exit: 0, found: [] });
      expect(alone.report.verdicts.completeness.unchecked.join()).toContain("no later checkpoint was withheld");
      for (const evidence of ["expect", "lastSeen", "lockNote"] as const) {
        const { report, codes, exit } = await verifyAt(place.path, { policy, [evidence]: world.held.last });
        expect(codes).toEqual(["expected-beyond"]);
        expect(report.findings[0]).toMatchObject({ expected: "41", found: String(size) });
        expect(exit).toBe(1);
      }
      await expect(openAt(place, { signer: LOG_KEY })).rejects.toMatchObject({
        code: "rolled-back",
        details: { expected: AT.size, found: size, what: "ledger", note: world.held.last },
      });
    }
  });

  it("row 7: cut off or rewritten under an open ledger, the next append and the next signature are refused", async () => {
    const cut = copyPlace(world.place);
    const ledger = await openAt(cut, { signer: LOG_KEY });
    dropTail(cut.path, 30);
    const refusal = { code: "rolled-back", details: { expected: AT.size, found: 30, what: "ledger" } };
    await expect(ledger.append({ action: "user.login" })).rejects.toMatchObject(refusal);
    await expect(ledger.erase(25, { reason: "r" })).rejects.toMatchObject(refusal);
    await ledger.close().catch(() => {});
    expect((await verifyAt(cut.path, { policy })).report.size).toBe(30);

    const rewritten = copyPlace(world.place);
    const open = await openAt(rewritten, { signer: LOG_KEY });
    recompute(rewritten.path, 30);
    await expect(open.append({ action: "user.login" })).rejects.toMatchObject({
      code: "invariant-broken",
      details: { index: AT.size - 1 },
    });
    await open.close().catch(() => {});
    expect((await verifyAt(rewritten.path, { policy })).report.size).toBe(AT.size);
  });

  it("row 8: an old copy of the database is refused, whatever is signed on it", async () => {
    const place = copyPlace(world.place);
    copyFileSync(world.oldCopy, place.path);
    expect(await boot(place)).toBe("rolled-back");
    expect(await verifyAt(place.path, { policy })).toMatchObject({ exit: 0 });
    expect(await verifyAt(place.path, { policy, lockNote: await lockNoteOf(place) })).toMatchObject({
      exit: 1,
      codes: ["expected-beyond"],
    });
  });

  it("row 8: an old lock store beside a newer database is refused as well", async () => {
    const place = copyPlace(world.place);
    await replaceLock(place, world.oldRecord.note ?? "");
    await expect(openAt(place, { signer: LOG_KEY })).rejects.toMatchObject({
      code: "rolled-back",
      details: { expected: AT.size, found: AT.first, what: "lock-store" },
    });
  });

  it("row 8: both restored together deceive the machine, but not a reader who remembers", async () => {
    const place = copyPlace(world.place);
    copyFileSync(world.oldCopy, place.path);
    await replaceLock(place, world.oldRecord.note ?? "");
    expect(await boot(copyPlace(place))).toBe("rolled-back");
    // What the machine saw at the path is the last thing that shows it; whoever has the whole machine has that too.
    stateOf(place).forgetPath(place.path);
    expect(await boot(copyPlace(place))).toBeUndefined();
    stateOf(place).rememberCheckpoint(ORIGIN, world.held.last);
    expect(await boot(place)).toBe("rolled-back");
    expect(await verifyAt(place.path, { policy, expect: world.held.last })).toMatchObject({
      exit: 1,
      codes: ["expected-beyond"],
    });
  });

  it("row 9: rolled back and regrown to the same size, under the genuine key, is a fork to whoever saw the old tail", async () => {
    const place = copyPlace(world.place);
    const rows = rewriteRows(place.path, (old) =>
      forge(
        old.slice(0, AT.first),
        Array.from({ length: AT.size - AT.first + 4 }, (_, i) => ({
          event: { action: "nothing.happened", actor: "mallory", payload: { i } },
        })),
      ),
    );
    await signAgain(place.path, rows);
    expect(await verifyAt(place.path, { policy })).toMatchObject({ exit: 0, found: [] });
    expect(await verifyAt(place.path, { policy, expect: world.held.last })).toMatchObject({
      exit: 1,
      codes: ["expected-root"],
    });
    expect(await boot(place)).toBe("forked");
  });
});

describe("row 12: the whole ledger rewritten from its genesis", () => {
  it("contradicts the pinned genesis, though the thief has the log key", async () => {
    const place = copyPlace(world.place);
    const rows = rewriteRows(place.path, (old) =>
      forge(
        [],
        [
          { ...forgeryOf(old[0]!), salts: new Uint8Array(16).fill(9) },
          // Without the author key: its event cannot be signed anew for another place.
          ...old.slice(AT.login).map((row) => ({ ...forgeryOf(row), event: bribed(row.body ?? "") })),
        ],
      ),
    );
    await signAgain(place.path, rows, [rows.length]);
    const { report, codes, exit } = await verifyAt(place.path, { policy });
    expect(codes).toEqual(["genesis-mismatch"]);
    expect(report.findings[0]).toMatchObject({ index: 0, evidence: "pinned genesis" });
    expect(failedVerdicts(report)).toEqual(["authenticity"]);
    expect(exit).toBe(1);
    // Without a pinned genesis and without any earlier evidence nothing can show it: then the report says what it lacks.
    const unpinned = policy.replace(/^#tallystick genesis .*\n/m, "");
    const blind = await verifyAt(place.path, { policy: unpinned });
    expect(blind).toMatchObject({ exit: 0, found: [] });
    expect(blind.report.verdicts.authenticity.unchecked).toContain("genesis not pinned");
    expect(await verifyAt(place.path, { policy: unpinned, expect: world.held.first })).toMatchObject({
      exit: 1,
      codes: ["expected-root"],
    });
    // This machine remembers which genesis stood at that path.
    expect(await boot(place)).toBe("ledger-replaced");
  });
});
