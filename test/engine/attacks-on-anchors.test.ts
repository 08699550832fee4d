import { beforeAll, describe, expect, it } from "vitest";
import { formatCheckpoint, parseCheckpoint } from "../../src/core/checkpoint.ts";
import { encodeUtf8 } from "../../src/core/encoding.ts";
import { sha256 } from "../../src/core/hash.ts";
import { formatNote, parseNote, signNote } from "../../src/core/note.ts";
import { bracketOf } from "../../src/core/timeline.ts";
import type { NewAnchor } from "../../src/ledger/anchoring.ts";
import { systemClock } from "../../src/ledger/clock.ts";
import type { VerifyLedgerOptions } from "../../src/ledger/verify-ledger.ts";
import type { Ledger } from "../../src/open.ts";
import type { SqliteDatabase } from "../../src/storage/sqlite-driver.ts";
import { REGTEST_BITS } from "../anchors/bitcoin.ts";
import { fakeCalendar, fakeTsa, OTHER_AUTHORITY, stampAt, TSA_ROOT } from "../anchors/fakes.ts";
import {
  copyPlace,
  driver,
  failedVerdicts,
  newPlace,
  openAt,
  type Place,
  tamper,
  type Verified,
  verifyAt,
} from "./place.ts";
import { LOG_KEY, login, ORIGIN } from "./world.ts";

/**
 * entries 0 genesis · 1-3 logins · [4] · 4 time stamp of size 4 · 5 promise of size 4 · 6-8 logins · 9 upgrade of 5 · [10]
 */
let victim: { readonly place: Place; readonly policy: string; readonly header: Uint8Array };
const HEIGHT = 840_000;
const BLOCK_TIME = Math.floor(Date.now() / 1_000);

beforeAll(async () => {
  const place = newPlace({ shared: true });
  const calendar = fakeCalendar();
  const anchors = [fakeTsa(Date.now), calendar];
  const ledger = await openAt(place, { origin: ORIGIN, signer: LOG_KEY, anchors });
  await ledger.appendMany([0, 1, 2].map(login));
  for (const anchor of anchors) {
    // One after the other, so that their places are known.
    await recordOnly(ledger, anchor);
  }
  await ledger.appendMany([3, 4, 5].map(login));
  const headerOf = calendar.confirm(HEIGHT, BLOCK_TIME);
  await ledger.upgradeAnchors();
  let header: Uint8Array = new Uint8Array();
  for await (const { kind, proof } of ledger.anchors())
    if (kind === "opentimestamps" && proof !== null) header = headerOf(proof);
  victim = { place, policy: ledger.policy(), header };
  await ledger.close();
});

let noteOfFour: string | null = null;
async function recordOnly(ledger: Ledger, anchor: ReturnType<typeof fakeTsa>): Promise<void> {
  noteOfFour ??= await ledger.checkpoint();
  const note = encodeUtf8(noteOfFour);
  const answer = await anchor.submit(sha256(note));
  if (answer.kind !== "proof") throw new Error("expected a proof");
  await record(ledger, { kind: anchor.kind, note, proof: answer.proof });
}

/** The operator records whatever he likes: the engine's own checks are his to leave out. */
async function record(ledger: Ledger, anchor: NewAnchor): Promise<number> {
  const { index } = await (
    ledger as unknown as { recordAnchor(anchor: NewAnchor): Promise<{ readonly index: number }> }
  ).recordAnchor(anchor);
  return index;
}

const pins = (): VerifyLedgerOptions => ({
  policy: victim.policy,
  tsaRoots: [TSA_ROOT],
  bitcoin: {
    ...{ name: "pinned", bitsMax: REGTEST_BITS },
    read: async (height) => (height === HEIGHT ? { height, header: victim.header } : null),
  },
  requireAnchor: true,
});

async function tampered(change: (db: SqliteDatabase) => void, options: VerifyLedgerOptions = {}): Promise<Verified> {
  const place = copyPlace(victim.place);
  tamper(place.path, change);
  return verifyAt(place.path, { ...pins(), ...options });
}

const sql =
  (text: string) =>
  (db: SqliteDatabase): void => {
    db.exec(text);
  };

describe("a ledger with anchors", () => {
  it("is bracketed by them, and nothing else is", async () => {
    const { report, exit } = await verifyAt(victim.place.path, pins());
    expect(exit).toBe(0);
    expect(report.verdicts.time.status).toBe("pass");
    expect(report.verdicts.independence.status).toBe("notEstablished");
    const { notAfter, notBefore } = bracketOf(report.timeline, 9);
    expect(notAfter).toBeNull();
    expect(notBefore).toMatchObject({ index: 4 });
    expect(bracketOf(report.timeline, 3)).toMatchObject({ notAfter: { size: 4 }, notBefore: null });
    expect(report.timeline.notAfter[0]!.source).toMatch(/^RFC 3161 time stamp of entry 4 by CN=Authority$/);
  });

  it("holds by Bitcoin alone, from two hours before the block to two hours after it", async () => {
    const { report, exit } = await verifyAt(victim.place.path, { ...pins(), tsaRoots: [] });
    expect(exit).toBe(0);
    const time = (seconds: number): string => new Date(1_000 * (BLOCK_TIME + seconds)).toISOString();
    expect(report.timeline).toMatchObject({
      notAfter: [{ size: 4, time: time(7_200) }],
      notBefore: [{ index: 9, time: time(-7_200) }],
    });
  });

  it("lacks what was asked for where the reader trusts none of them: exit 4", async () => {
    const { report, exit, codes } = await verifyAt(victim.place.path, {
      policy: victim.policy,
      requireAnchor: true,
    });
    expect([exit, codes, report.requiredMissing]).toEqual([4, [], ["anchor"]]);
    expect(report.verdicts.time.status).toBe("notEstablished");
    expect(report.verdicts.time.unchecked).toEqual([
      "1 RFC 3161 time stamp: no certificate that the reader pins vouches for the authority",
      "1 OpenTimestamps proof: no header of a block that attests it is at hand",
    ]);
  });

  it("is not examined for a slice, and says so", async () => {
    const { report } = await verifyAt(victim.place.path, { ...pins(), first: 1, last: 3 });
    expect(report.requiredMissing).toEqual(["anchor"]);
    expect(report.verdicts.time.unchecked).toContain("3 anchors beside the slice");
  });

  it("is examined from where verification resumes", async () => {
    const place = copyPlace(victim.place);
    const ledger = await openAt(place, { signer: LOG_KEY });
    const since = await ledger.checkpoint();
    const last = await ledger.append(login(9));
    const note = encodeUtf8(await ledger.checkpoint());
    await record(ledger, { kind: "rfc3161", note, proof: stampAt(sha256(note), Date.now()) });
    await record(ledger, {
      kind: "rfc3161",
      note: encodeUtf8(noteOfFour!),
      proof: stampAt(sha256(encodeUtf8(noteOfFour!)), Date.now()),
    });
    await ledger.close();
    const { report, exit } = await verifyAt(place.path, { ...pins(), since });
    expect([exit, report.requiredMissing]).toEqual([0, []]);
    expect(report.timeline.notAfter.map(({ size }) => size)).toContain(last.index + 1);
    expect(report.verdicts.time.unchecked).toContain("3 anchors recorded before entry 10");
  });
});

describe("anchors that were taken away or changed are findings", () => {
  const only = { exit: 1 };
  it.each([
    ["a removed row", "DELETE FROM anchors WHERE idx = 4", ["anchor-missing"]],
    ["all rows removed", "DELETE FROM anchors", ["anchor-missing"]],
    ["a changed note", "UPDATE anchors SET note = CAST('x' AS BLOB) WHERE idx = 4", ["anchor-mismatch"]],
    ["a changed proof", "UPDATE anchors SET proof = x'00' WHERE idx = 9", ["anchor-mismatch"]],
    ["an emptied proof", "UPDATE anchors SET proof = x'' WHERE idx = 9", ["anchor-mismatch"]],
    [
      "proofs that changed places",
      "UPDATE anchors SET idx = 1000 WHERE idx = 4; UPDATE anchors SET idx = 4 WHERE idx = 9; UPDATE anchors SET idx = 9 WHERE idx = 1000",
      ["anchor-mismatch"],
    ],
  ])("%s", async (_, text, codes) => {
    const verified = await tampered(sql(text));
    expect(verified).toMatchObject({ ...only, codes });
    expect(failedVerdicts(verified.report)).toEqual(["time"]);
  });

  it("an upgrade put in the place of the promise", async () => {
    const verified = await tampered((db) => {
      const { proof } = db.prepare("SELECT proof FROM anchors WHERE idx = 9").get() as { readonly proof: Uint8Array };
      db.prepare("UPDATE anchors SET proof = ? WHERE idx = 5").run(proof);
    });
    expect(verified).toMatchObject({ exit: 1, codes: ["anchor-mismatch"] });
  });

  it("a row of an entry that records none", async () => {
    const verified = await tampered(sql("INSERT INTO anchors VALUES (7, x'00', x'00')"));
    expect(verified).toMatchObject({ exit: 1, found: [{ code: "stored-garbage", index: 7 }] });
  });

  it("a table that is gone", async () => {
    const place = copyPlace(victim.place);
    const db = new driver(place.path, { readonly: false, fileMustExist: true, timeout: 5_000 });
    db.exec("DROP TABLE anchors");
    db.close();
    const verified = await verifyAt(place.path, pins());
    expect(verified).toMatchObject({ exit: 1, codes: ["anchor-missing", "schema-altered"] });
  });
});

describe("an operator with the log key cannot pass off", () => {
  const place = (): Place => copyPlace(victim.place);
  const forge = async (make: (ledger: Ledger) => Promise<NewAnchor>): Promise<Verified> => {
    const at = place();
    const ledger = await openAt(at, { signer: LOG_KEY });
    await record(ledger, await make(ledger));
    await ledger.close();
    return verifyAt(at.path, pins());
  };
  const signed = async (size: number, root: Uint8Array, origin: string = ORIGIN): Promise<Uint8Array> => {
    const text = formatCheckpoint({ origin, size, root });
    return encodeUtf8(formatNote(text, [await signNote(text, origin, LOG_KEY)]));
  };
  const stamped = (note: Uint8Array): NewAnchor => ({
    kind: "rfc3161",
    note,
    proof: stampAt(sha256(note), Date.now()),
  });

  it("a token of another ledger", async () => {
    const verified = await forge(async () => stamped(await signed(4, sha256(encodeUtf8("x")), "example.com/other")));
    expect(verified).toMatchObject({ exit: 1, found: [{ code: "anchor-mismatch", index: 10 }] });
    expect(verified.report.findings[0]!.message).toMatch(/another ledger/);
  });

  it("a token of another history of his own", async () => {
    const verified = await forge(async () => stamped(await signed(4, sha256(encodeUtf8("x")))));
    expect(verified).toMatchObject({ exit: 1, found: [{ code: "anchor-mismatch", index: 10 }] });
    expect(verified.report.findings[0]!.message).toMatch(/another history/);
  });

  it("the root of this size under another", async () => {
    const verified = await forge(async (ledger) => {
      const { root } = parseCheckpoint(parseNote(await ledger.checkpoint()).text);
      return stamped(await signed(7, root));
    });
    expect(verified).toMatchObject({ exit: 1, found: [{ code: "anchor-mismatch", index: 10 }] });
  });

  it("a token of another checkpoint beside the right note", async () => {
    const verified = await forge(async () => {
      const note = encodeUtf8(noteOfFour!);
      return { kind: "rfc3161", note, proof: stampAt(sha256(await signed(9, sha256(note))), Date.now()) };
    });
    expect(verified).toMatchObject({ exit: 1, found: [{ code: "anchor-mismatch", index: 10 }] });
    expect(verified.report.findings[0]!.message).toMatch(/stamps something else/);
  });

  it("a note without the log's signature", async () => {
    const verified = await forge(async () => {
      const { text } = parseNote(noteOfFour!);
      const other = "— other.example/x AAAAAGZvcmdlZA==\n";
      return stamped(encodeUtf8(`${text}\n${other}`));
    });
    expect(verified).toMatchObject({ exit: 1, codes: ["checkpoint-signature"] });
  });

  it("an authority of his own", async () => {
    const note = encodeUtf8(noteOfFour!);
    const years = Date.UTC(2020, 0, 1);
    const verified = await forge(async () => ({
      kind: "rfc3161",
      note,
      proof: stampAt(sha256(note), years, OTHER_AUTHORITY),
    }));
    // No finding, as nobody can know: and no support.
    expect(verified).toMatchObject({ exit: 0, codes: [] });
    expect(verified.report.timeline.notAfter[0]!.time > "2026").toBe(true);
    expect(verified.report.verdicts.time.unchecked).toContain(
      "1 RFC 3161 time stamp: no certificate that the reader pins vouches for the authority",
    );
  });

  it("a kind of his own", async () => {
    const verified = await forge(async () => ({
      kind: "my-word",
      note: encodeUtf8(noteOfFour!),
      proof: encodeUtf8("yes"),
    }));
    expect(verified).toMatchObject({ exit: 0, codes: [] });
    expect(verified.report.verdicts.time.unchecked).toContain("1 anchor: of a kind that this verifier does not know");
  });
});

describe("a clock that was set shows", () => {
  const withClock = async (offsetMs: number): Promise<Verified> => {
    const place = newPlace();
    const clock = { ...systemClock, now: () => Date.now() + offsetMs };
    const ledger = await openAt(place, { origin: ORIGIN, signer: LOG_KEY, clock, anchors: [fakeTsa(Date.now)] });
    await ledger.append(login(1));
    await ledger.anchor();
    await ledger.append(login(2));
    const policy = ledger.policy();
    await ledger.close();
    return verifyAt(place.path, { policy, tsaRoots: [TSA_ROOT] });
  };

  it("set back: entries are dated before what they follow", async () => {
    const verified = await withClock(-86_400_000);
    expect(verified).toMatchObject({ exit: 1, found: [{ code: "time-before-evidence", index: 2 }] });
    expect(failedVerdicts(verified.report)).toEqual(["time"]);
  });

  it("set forward: entries are dated after they provably existed", async () => {
    expect(await withClock(86_400_000)).toMatchObject({ exit: 1, found: [{ code: "time-after-evidence", index: 1 }] });
  });

  it("off by some minutes is let pass", async () => {
    expect(await withClock(-200_000)).toMatchObject({ exit: 0, found: [] });
    expect(await withClock(200_000)).toMatchObject({ exit: 0, found: [] });
  });
});
