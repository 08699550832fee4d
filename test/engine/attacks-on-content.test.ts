import { copyFileSync, existsSync, readFileSync, statSync, truncateSync } from "node:fs";
import { beforeAll, describe, expect, it } from "vitest";
import { commitBody } from "../../src/core/commitment.ts";
import { encodeBase64 } from "../../src/core/encoding.ts";
import { leafHashHex, parseCommitment, parseEntry } from "../../src/core/entry.ts";
import type { Event } from "../../src/core/event.ts";
import { parseNote } from "../../src/core/note.ts";
import { parsePolicy } from "../../src/core/policy.ts";
import { verifyReceipt } from "../../src/core/receipt.ts";
import { systemClock } from "../../src/ledger/clock.ts";
import { LedgerEngine, type LedgerParts } from "../../src/ledger/ledger.ts";
import { DEFAULT_LIMITS } from "../../src/ledger/limits.ts";
import { systemRandom } from "../../src/ledger/random.ts";
import type { Signer } from "../../src/ledger/signer.ts";
import { type Batch, joinParts, type LedgerStorage, toStored } from "../../src/ledger/storage.ts";
import { reindex } from "../../src/open.ts";
import { sqliteLockStore } from "../../src/storage/lock-store/sqlite.ts";
import { openSqliteStorage } from "../../src/storage/sqlite.ts";
import { faultyStorage } from "../../src/testing/faulty-storage.ts";
import { type ForgedRow, readRows, signRows, writeCheckpoints } from "./forge.ts";
import {
  codeOf,
  copyPlace,
  driver,
  failedVerdicts,
  filesIn,
  newPlace,
  openAt,
  type Place,
  QUIET,
  stateOf,
  tamper,
  verifyAt,
} from "./place.ts";
import { AT, buildWorld, LOG_KEY, lockNoteOf, login, ORIGIN, type World } from "./world.ts";

let world: World;
let policy: string;
beforeAll(async () => {
  world = await buildWorld();
  ({ policy } = world.held);
});

/** The engine on the files of a place with parts of its own: what Ledger.open does, without its checks of the machine. */
async function engineAt(
  place: Place,
  wrap: (storage: LedgerStorage) => LedgerStorage = (storage) => storage,
  parts: Partial<LedgerParts> = {},
): Promise<LedgerEngine> {
  return LedgerEngine.open({
    storage: wrap(await openSqliteStorage(place.path, { driver })),
    lockStore: sqliteLockStore({ path: stateOf(place).lockStorePath, driver }),
    signers: [LOG_KEY],
    problem: null,
    clock: systemClock,
    random: systemRandom,
    limits: { ...DEFAULT_LIMITS, ...QUIET },
    readerState: null,
    readOnly: false,
    ...parts,
  });
}

describe("row 19: a bit that flips between hashing and storing", () => {
  /** A storage that stores the first entry of the first batch with one bit flipped. */
  const flipping = (storage: LedgerStorage): LedgerStorage => {
    let flips = 0;
    return {
      ...faultyStorage(storage, () => undefined),
      commit: (reads, plan) =>
        storage.commit(reads, (view) => {
          const planned = plan(view);
          if (planned === undefined || flips > 0) return planned;
          const batch = joinParts(planned);
          if (batch.entries.length === 0) return batch;
          flips += 1;
          const entries = batch.entries.map((stored, i): Batch["entries"][number] =>
            i === 0 ? { ...stored, entry: flipped(toStored(stored).entry) } : stored,
          );
          return { ...batch, entries };
        }),
    };
  };

  it.each([
    ["the last entry", 1, "is stored with other bytes than were hashed; nothing more is appended or signed"],
    ["an entry further back", 3, "was stored with other bytes than were hashed; not signing"],
  ])("in %s is met before anything is signed over it", async (_, count, message) => {
    const place = copyPlace(world.place);
    const ledger = await engineAt(place, flipping);
    await ledger.appendMany(Array.from({ length: count }, (_, i) => login(100 + i)));
    const refusal = { code: "invariant-broken", message: expect.stringContaining(`entry ${AT.size} ${message}`) };
    await expect(ledger.checkpoint()).rejects.toMatchObject(refusal);
    await expect(ledger.prove(AT.size)).rejects.toMatchObject(refusal);
    if (count === 1) await expect(ledger.append(login(200))).rejects.toMatchObject(refusal);
    expect(await lockNoteOf(place)).toBe(world.held.last);
    await ledger.close().catch(() => {});
    const { report, exit } = await verifyAt(place.path, { policy });
    expect(failedVerdicts(report)).toContain("integrity");
    expect(exit).toBe(1);
  });

  /** The last hexadecimal digit of the commitment, one bit away. */
  function flipped(entry: string): string {
    const at = entry.indexOf('","index"') - 1;
    const digit = (Number.parseInt(entry[at] ?? "", 16) ^ 1).toString(16);
    return `${entry.slice(0, at)}${digit}${entry.slice(at + 1)}`;
  }
});

describe("row 21: a torn write", () => {
  it("a write-ahead log cut anywhere leaves a prefix of the commits, which verifies and goes on", async () => {
    const place = copyPlace(world.place);
    const ledger = await openAt(place, { signer: LOG_KEY });
    for (let i = 0; i < 12; i++) await ledger.appendMany([login(200 + 2 * i), login(201 + 2 * i)]);
    const wal = `${place.path}-wal`;
    const size = statSync(wal).size;
    const torn: Place[] = [];
    for (let cut = 0; cut <= 24; cut++) {
      const copy = newPlace();
      for (const file of [place.path, wal]) copyFileSync(file, file.replace(place.folder, copy.folder));
      copyFileSync(stateOf(place).lockStorePath, `${copy.folder}/lock.sqlite`);
      truncateSync(`${copy.path}-wal`, Math.floor((size * cut) / 24) - (cut % 3));
      torn.push(copy);
    }
    await ledger.close();
    const sizes: number[] = [];
    for (const copy of torn) {
      const { report, exit, found } = await verifyAt(copy.path, { policy, expect: world.held.last });
      expect(found).toEqual([]);
      expect(exit).toBe(0);
      // Whole commits only: two entries each.
      expect((report.size - AT.size) % 2).toBe(0);
      sizes.push(report.size);
      const lockStore = sqliteLockStore({ path: `${copy.folder}/lock.sqlite`, driver });
      const reopened = await engineAt(copy, undefined, { lockStore });
      expect(await reopened.append(login(999))).toMatchObject({ index: report.size });
      await reopened.close();
    }
    expect(sizes[0]).toBe(AT.size);
    expect(new Set(sizes).size).toBeGreaterThan(8);
    expect([...sizes].sort((a, b) => a - b)).toEqual(sizes);
  });
});

describe("row 23: two sequencers", () => {
  it("that do not know of each other take turns: one history, every entry, no checkpoint that disagrees", async () => {
    const place = copyPlace(world.place);
    const handles = [await openAt(place, { signer: LOG_KEY }), await openAt(place, { signer: LOG_KEY })] as const;
    const notes: string[] = [];
    const appended: number[] = [];
    for (let i = 0; i < 20; i++) {
      const ledger = handles[i % 2]!;
      const results = await Promise.all([ledger.append(login(300 + i)), handles[(i + 1) % 2]!.append(login(400 + i))]);
      appended.push(...results.map(({ index }) => index));
      notes.push(await ledger.checkpoint());
    }
    expect(appended.sort((a, b) => a - b)).toEqual(Array.from({ length: 40 }, (_, i) => AT.size + i));
    for (const ledger of handles) await ledger.close();
    for (const note of notes)
      expect(await verifyAt(place.path, { policy, expect: note })).toMatchObject({ exit: 0, found: [] });
  });

  it("a zombie that wakes up with an old head in its hand cannot put it over the newer one", async () => {
    const place = copyPlace(world.place);
    let wake = (): void => {};
    const asleep = new Promise<void>((resolve) => {
      wake = resolve;
    });
    let reached = (): void => {};
    const signing = new Promise<void>((resolve) => {
      reached = resolve;
    });
    const slow: Signer = {
      ...LOG_KEY,
      async sign(message) {
        reached();
        await asleep;
        return LOG_KEY.sign(message);
      },
    };
    const zombie = await openAt(place, { signer: slow });
    await zombie.append(login(500));
    const late = zombie.checkpoint();
    await signing;
    const other = await openAt(place, { signer: LOG_KEY });
    await other.append(login(501));
    const newer = await other.checkpoint();
    wake();
    // It adopts what the other one released, instead of releasing a second truth.
    expect(await late).toBe(newer);
    expect(await lockNoteOf(place)).toBe(newer);
    await zombie.append(login(502));
    expect(await zombie.checkpoint()).toContain(`\n${AT.size + 3}\n`);
    await zombie.close();
    await other.close();
    expect(await verifyAt(place.path, { policy, expect: newer })).toMatchObject({ exit: 0, found: [] });
  });

  it("a machine with another lock store does not sign beside the first, even with the key", async () => {
    const place = copyPlace(world.place);
    const elsewhere = { ...place, state: `${place.folder}/elsewhere` };
    const ledger = await openAt(elsewhere, { signer: LOG_KEY });
    expect(ledger.appendProblem?.code).toBe("lock-store-lost");
    expect(await codeOf(ledger.append(login(1)))).toBe("lock-store-lost");
    expect((await ledger.verify({ policy })).ok).toBe(true);
    await ledger.close();
    expect(existsSync(stateOf(elsewhere).lockStorePath)).toBe(false);
  });

  it("nor with a lock store that holds the latest checkpoint under another id than genesis names", async () => {
    const place = copyPlace(world.place);
    const elsewhere = { ...place, state: `${place.folder}/elsewhere` };
    const other = sqliteLockStore({ path: stateOf(elsewhere).lockStorePath, driver });
    const record = { origin: ORIGIN, lockStoreId: "f".repeat(32), note: await lockNoteOf(place) };
    expect(await other.restore(record)).toBe("restored");
    await other.close();
    const ledger = await openAt(elsewhere, { signer: LOG_KEY });
    expect(ledger.appendProblem?.code).toBe("lock-store-lost");
    expect(await codeOf(ledger.append(login(1)))).toBe("lock-store-lost");
    await ledger.close();
  });
});

describe("row 27: submissions that come again", () => {
  const event: Event = { id: "order-7", action: "order.placed", actor: "shop", payload: { total: 10 } };

  it("an id is one entry, across handles, reopening, and an acknowledgement that was lost", async () => {
    const place = copyPlace(world.place);
    // The commit happens and its answer does not arrive.
    const lost = await engineAt(place, (storage) =>
      faultyStorage(storage, ({ operation, number }) =>
        operation === "commit" && number === 1 ? "fail-persisted" : undefined,
      ),
    );
    expect(await codeOf(lost.append(event))).toBe("outcome-unknown");
    // Stopped: no guess about what is stored.
    expect(await codeOf(lost.append(login(1)))).toBe("outcome-unknown");
    await lost.close().catch(() => {});
    const again = await openAt(place, { signer: LOG_KEY });
    const other = await openAt(place, { signer: LOG_KEY });
    const first = await again.append(event);
    expect(first).toMatchObject({ index: AT.size, duplicate: true });
    expect(await other.append({ ...event })).toEqual(first);
    expect(await codeOf(other.append({ ...event, payload: { total: 11 } }))).toBe("id-conflict");
    expect(again.size).toBe(AT.size + 1);
    await again.close();
    await other.close();
    expect(await verifyAt(place.path, { policy })).toMatchObject({ exit: 0, found: [] });
  });

  it("an id that two handles bring at once is one entry, and both hear of the same", async () => {
    const place = copyPlace(world.place);
    const handles = await Promise.all([0, 1, 2].map(() => openAt(place, { signer: LOG_KEY })));
    const answers = await Promise.all(
      handles.flatMap((ledger) =>
        Array.from({ length: 10 }, (_, i) => ledger.append({ ...event, id: `at-once-${i}` })),
      ),
    );
    expect(new Set(answers.map(({ index }) => index)).size).toBe(10);
    expect(answers.filter(({ duplicate }) => !duplicate)).toHaveLength(10);
    for (const ledger of handles) await ledger.close();
    expect(await verifyAt(place.path, { policy })).toMatchObject({ exit: 0, found: [] });
  });

  it("an id that stands twice all the same is a finding at the second", async () => {
    const place = copyPlace(world.place);
    const ledger = await openAt(place, { signer: LOG_KEY });
    tamper(place.path, (db) => db.exec("DELETE FROM ids"));
    await ledger.append(login(10));
    await ledger.close();
    const { found } = await verifyAt(place.path, { policy });
    expect(found).toContainEqual({ code: "id-repeated", index: AT.size });
    // Rebuilding the index does not hide it, and the id leads to the first.
    await reindex(place.path, { driver });
    expect(await verifyAt(place.path, { policy })).toMatchObject({
      exit: 1,
      found: [{ code: "id-repeated", index: AT.size }],
    });
    const again = await openAt(place, { signer: LOG_KEY });
    expect((await again.findById("login-10"))?.index).toBe(10);
    expect(await again.append(login(10))).toMatchObject({ index: 10, duplicate: true });
    await again.close();
  });

  it("an event without an id that comes again is another entry", async () => {
    const place = copyPlace(world.place);
    const ledger = await openAt(place, { signer: LOG_KEY });
    const [a, b] = [await ledger.append({ action: "ping" }), await ledger.append({ action: "ping" })];
    expect([a.index, b.index]).toEqual([AT.size, AT.size + 1]);
    expect(a.leafHash).not.toBe(b.leafHash);
    await ledger.close();
  });
});

describe("row 28: splices between ledgers of one key", () => {
  it("a checkpoint, a policy, a receipt or a held note of the other ledger is refused by its origin", async () => {
    const place = copyPlace(world.place);
    const other = newPlace();
    const twin = await openAt(other, { origin: "example.com/other", signer: LOG_KEY });
    for (let i = 1; i < AT.size; i++) await twin.append(login(i));
    const note = await twin.checkpoint();
    const receipt = await twin.prove(5);
    const twinPolicy = twin.policy();
    await twin.close();

    tamper(place.path, (db) => writeCheckpoints(db, [{ size: AT.size, note }]));
    const spliced = await verifyAt(place.path, { policy });
    expect(spliced.codes).toEqual(["origin-mismatch"]);
    expect(spliced.report.findings[0]).toMatchObject({ expected: ORIGIN, found: "example.com/other" });
    expect(spliced.exit).toBe(1);
    expect(await codeOf(openAt(place, { signer: LOG_KEY }))).toBe("forked");

    const swapped = await verifyAt(other.path, { policy });
    expect(swapped.codes).toEqual(["genesis-mismatch", "origin-mismatch"]);
    expect(swapped.exit).toBe(1);
    const held = await verifyAt(world.place.path, { policy, expect: note });
    expect(held.codes).toEqual(["origin-mismatch"]);
    expect(held.exit).toBe(1);
    expect(await codeOf(verifyReceipt(receipt, parsePolicy(policy)))).toBe("origin-mismatch");
    expect((await verifyReceipt(receipt, parsePolicy(twinPolicy))).index).toBe(5);
  });

  it("an entry of the other ledger put into a place of this one does not link, and its body does not save it", async () => {
    const place = copyPlace(world.place);
    const other = newPlace();
    const twin = await openAt(other, { origin: "example.com/other", signer: LOG_KEY });
    for (let i = 1; i <= 10; i++) await twin.append({ action: "access.granted", actor: "mallory" });
    await twin.close();
    const foreign = tamper(other.path, readRows)[10] as ForgedRow;
    tamper(place.path, (db) =>
      db
        .prepare("UPDATE entries SET entry = ?, body = ?, salts = ? WHERE idx = 10")
        .run(foreign.entry, foreign.body, foreign.salts),
    );
    const { found, exit } = await verifyAt(place.path, { policy });
    expect(found).toContainEqual({ code: "previous-mismatch", index: 10 });
    expect(found).toContainEqual({ code: "previous-mismatch", index: 11 });
    expect(exit).toBe(1);
  });
});

// Sizes and indexes of proofs, rolling digests and second preimages: src/core/merkle.test.ts, proof.test.ts and tile.test.ts.
describe("row 29: sizes and preimages, as far as a stored ledger can carry them", () => {
  it("two hashes of the tree are no entry, though they hash to a node of it", async () => {
    const place = copyPlace(world.place);
    const pair = tamper(place.path, (db) => {
      const [left, right] = readRows(db)
        .slice(4, 6)
        .map(({ entry }) => Buffer.from(leafHashHex(entry), "hex"));
      const bytes = Buffer.concat([left!, right!]);
      db.prepare("UPDATE entries SET entry = CAST(? AS TEXT) WHERE idx = 4").run(bytes);
      return bytes;
    });
    expect(pair).toHaveLength(64);
    const { found, exit } = await verifyAt(place.path, { policy });
    expect(found).toContainEqual({ code: "entry-malformed", index: 4 });
    expect(exit).toBe(1);
  });

  it("a checkpoint of size 0, of a size with a leading zero, or filed under another size is malformed", async () => {
    const { first } = world.held;
    for (const [size, note] of [
      [AT.first, first.replace("\n20\n", "\n0\n")],
      [AT.first, first.replace("\n20\n", "\n020\n")],
      [AT.first + 1, first],
    ] as const) {
      const place = copyPlace(world.place);
      tamper(place.path, (db) => writeCheckpoints(db, [{ size, note }]));
      const { codes, exit } = await verifyAt(place.path, { policy });
      expect(codes).toEqual(["checkpoint-malformed"]);
      expect(exit).toBe(1);
    }
  });
});

// The vectors on every backend: src/core/signature/table.test.ts and src/core/note.test.ts.
describe("row 30: signatures that only a lenient verifier takes", () => {
  it("S beyond the order of the group is refused in a stored checkpoint", async () => {
    const place = copyPlace(world.place);
    const [line] = parseNote(world.held.last).signatures;
    const signature = Uint8Array.from(line!.signature);
    const order = 2n ** 252n + 27742317777372353535851937790883648493n;
    let s = order + signature.slice(32).reduceRight((sum, byte) => sum * 256n + BigInt(byte), 0n);
    for (let i = 32; i < 64; i++, s >>= 8n) signature[i] = Number(s & 255n);
    const keyId = new Uint8Array(4);
    new DataView(keyId.buffer).setUint32(0, line!.keyId);
    const forged = `${world.held.last.split("\n\n")[0]}\n\n— ${ORIGIN} ${encodeBase64(Buffer.concat([keyId, signature]))}\n`;
    tamper(place.path, (db) => writeCheckpoints(db, [{ size: AT.size, note: forged }]));
    const { codes, exit } = await verifyAt(place.path, { policy });
    expect(codes).toEqual(["checkpoint-signature"]);
    expect(exit).toBe(1);
  });
});

// Every parser with its grammar and its fuzzing: the tests beside src/core/*.ts.
describe("row 31: notes and policies that two parsers read differently", () => {
  it.each([
    ["CRLF line ends", (note: string) => note.replaceAll("\n", "\r\n")],
    ["a byte order mark", (note: string) => `\ufeff${note}`],
    ["no newline at the end", (note: string) => note.slice(0, -1)],
    ["a second blank line", (note: string) => note.replace("\n\n", "\n\n\n")],
    ["a plus before the size", (note: string) => note.replace("\n41\n", "\n+41\n")],
    ["an extension line", (note: string) => note.replace("\n\n", "\nextra\n\n")],
    ["padding left out", (note: string) => note.replace("=\n\n", "\n\n")],
  ])("a stored checkpoint with %s does not count", async (_, change) => {
    const place = copyPlace(world.place);
    const note = change(world.held.last);
    expect(note).not.toBe(world.held.last);
    tamper(place.path, (db) => writeCheckpoints(db, [{ size: AT.size, note }]));
    const { codes, exit, report } = await verifyAt(place.path, { policy });
    expect(codes).toEqual(["checkpoint-malformed"]);
    expect(report.verdicts.authenticity.status).toBe("fail");
    expect(exit).toBe(1);
  });

  it.each([
    ["CRLF line ends", (text: string) => text.replaceAll("\n", "\r\n")],
    ["a byte order mark", (text: string) => `\ufeff${text}`],
    ["no newline at the end", (text: string) => text.slice(0, -1)],
    ["an unknown directive", (text: string) => `${text}#tallystick quorom 2\n`],
    ["an unknown line", (text: string) => `${text}logs x\n`],
    ["nothing", () => ""],
  ])("a policy with %s is refused, not read in part", async (_, change) => {
    expect(await codeOf(verifyAt(world.place.path, { policy: change(policy) }))).toBe("malformed-policy");
  });
});

describe("row 36: erasure as a way to hide evidence", () => {
  it("a body that is gone without an erasure is a finding, with or without its salts", async () => {
    for (const set of ["body = NULL, salts = NULL", "body = NULL", "salts = NULL"]) {
      const place = copyPlace(world.place);
      tamper(place.path, (db) => db.exec(`UPDATE entries SET ${set} WHERE idx = 25`));
      const { found, exit, report } = await verifyAt(place.path, { policy });
      expect(found.some(({ index }) => index === 25)).toBe(true);
      expect(failedVerdicts(report)).toContain("integrity");
      expect(exit).toBe(1);
    }
    const place = copyPlace(world.place);
    tamper(place.path, (db) => db.exec("UPDATE entries SET body = NULL, salts = NULL WHERE idx = 25"));
    expect((await verifyAt(place.path, { policy })).found).toContainEqual({ code: "body-missing", index: 25 });
  });

  it("an erasure says who, why and what for ever, is counted, and cannot be taken back", async () => {
    const place = copyPlace(world.place);
    const before = tamper(place.path, (db) => readRows(db)[25]!);
    const ledger = await openAt(place, { signer: LOG_KEY });
    await ledger.erase(25, { reason: "request 9", basis: "GDPR 17", actor: "dpo-1" });
    expect((await ledger.read(AT.size)).event).toMatchObject({
      action: "ledger.erasure",
      actor: "dpo-1",
      payload: { entries: [{ index: 25, leaf: leafHashHex(before.entry) }], reason: "request 9", basis: "GDPR 17" },
    });
    await ledger.close();
    const clean = await verifyAt(place.path, { policy, expect: world.held.last });
    expect(clean).toMatchObject({ exit: 0, found: [], report: { erased: { entries: 1, fields: 0 } } });
    tamper(place.path, (db) =>
      db.prepare("UPDATE entries SET body = ?, salts = ? WHERE idx = 25").run(before.body, before.salts),
    );
    expect((await verifyAt(place.path, { policy })).found).toContainEqual({ code: "body-after-erasure", index: 25 });
    tamper(place.path, (db) => db.exec(`DELETE FROM entries WHERE idx = ${AT.size}`));
    expect((await verifyAt(place.path, { policy })).codes).toContain("checkpoint-beyond");
  });

  it("under a hold it is refused, and a forged one is a finding", async () => {
    const place = copyPlace(world.place);
    const ledger = await openAt(place, { signer: LOG_KEY });
    expect(await codeOf(ledger.erase(5, { reason: "tidy" }))).toBe("held");
    expect(ledger.size).toBe(AT.size);
    await ledger.close();
    const forged = tamper(place.path, (db) => readRows(db));
    const { forge, writeRows } = await import("./forge.ts");
    const rows = forge(forged, [
      {
        event: {
          action: "ledger.erasure",
          payload: { entries: [{ index: 5, leaf: leafHashHex(forged[5]!.entry) }], reason: "tidy" },
        },
        scheme: "control",
      },
    ]);
    const signed = await signRows(rows, { origin: ORIGIN, signers: [LOG_KEY] });
    tamper(place.path, (db) => {
      writeRows(db, rows);
      db.exec("UPDATE entries SET body = NULL, salts = NULL WHERE idx = 5");
      writeCheckpoints(db, [signed]);
    });
    const { found, exit } = await verifyAt(place.path, { policy });
    expect(found).toContainEqual({ code: "erased-under-hold", index: 5 });
    expect(exit).toBe(1);
  });
});

describe("row 37: guessing what was erased", () => {
  it("nothing that is left in any file lets a guess be checked: neither body, nor salt, nor id", async () => {
    const place = copyPlace(world.place);
    const before = tamper(place.path, (db) => readRows(db)[12]!);
    const ledger = await openAt(place, { signer: LOG_KEY });
    // Held open by nobody: the log is emptied at once.
    expect((await ledger.erase(12, { reason: "request 9" })).purged).toBe("done");
    const { commitment } = parseEntry(before.entry);
    const { hex } = parseCommitment(commitment);
    const check = (): void => {
      for (const file of filesIn(place.folder)) {
        if (file.endsWith("old-copy.db")) continue;
        const bytes = readFileSync(file);
        expect(bytes.includes(before.body ?? "?"), `body in ${file}`).toBe(false);
        expect(bytes.includes("login-12"), `id in ${file}`).toBe(false);
        expect(bytes.includes(Buffer.from(before.salts ?? [])), `salt in ${file}`).toBe(false);
        // Brute force with the right body and every 16 bytes that stand anywhere as its salt.
        for (let at = 0; at + 16 <= bytes.length; at++) {
          if (bytes[at] === 0 && bytes[at + 1] === 0) continue;
          const guess = commitBody("sha256", "event", bytes.subarray(at, at + 16), before.body ?? "");
          if (guess === hex) throw new Error(`${file} holds the salt at ${at}`);
        }
      }
    };
    check();
    await ledger.close();
    check();
    // The check can find it where it is.
    expect(commitBody("sha256", "event", before.salts ?? new Uint8Array(), before.body ?? "")).toBe(hex);
  });
});
