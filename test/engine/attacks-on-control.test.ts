import { beforeAll, describe, expect, it } from "vitest";
import { signEvent } from "../../src/core/author-signature.ts";
import { canonicalize } from "../../src/core/canonical-json.ts";
import { commitFields, fieldDigest } from "../../src/core/commitment.ts";
import { keyEventMessage } from "../../src/core/control-event.ts";
import { encodeBase64, encodeHex, encodeUtf8 } from "../../src/core/encoding.ts";
import { leafHashHex } from "../../src/core/entry.ts";
import { type Event, parseEvent } from "../../src/core/event.ts";
import { parseVerifierKey, spkiOfVerifierKey } from "../../src/core/note.ts";
import { formatPolicy, parsePolicy } from "../../src/core/policy.ts";
import { verifyReceipt } from "../../src/core/receipt.ts";
import { keyIdOf } from "../../src/core/signature/table.ts";
import { generateAuthorKey, generateLogKey } from "../../src/keys/index.ts";
import { vkeyOf } from "../../src/ledger/genesis.ts";
import type { Signer } from "../../src/ledger/signer.ts";
import { digestOf } from "../../src/storage/sqlite-statements.ts";
import { type ForgedRow, type Forgery, forge, forgeryOf, signRows, writeCheckpoints } from "./forge.ts";
import { codeOf, copyPlace, failedVerdicts, openAt, type Place, tamper, type Verified, verifyAt } from "./place.ts";
import {
  ALICE,
  AT,
  buildWorld,
  LOG_KEY,
  login,
  ORIGIN,
  OTHER_KEY,
  replaceLock,
  rewriteRows,
  signAgain,
  type World,
} from "./world.ts";

/** The operator, with key and lock store, writes what the engine would refuse: nobody outside has seen it yet. */
let world: World;
let policy: string;
beforeAll(async () => {
  world = await buildWorld();
  ({ policy } = world.held);
});

interface Grown extends Verified {
  readonly place: Place;
  readonly rows: readonly ForgedRow[];
}

/** Appends by hand, signs with the genuine key, puts it into the lock store, and verifies as a reader with `held`. */
async function grow(
  forgeries: (rows: readonly ForgedRow[]) => readonly Forgery[],
  options: { readonly from?: Place; readonly policy?: string; readonly spoil?: (place: Place) => void } = {},
): Promise<Grown> {
  const place = copyPlace(options.from ?? world.place);
  const rows = rewriteRows(place.path, (old) => forge(old, forgeries(old)));
  const note = await signAgain(place.path, rows, [AT.first, AT.size, rows.length]);
  await replaceLock(place, note);
  options.spoil?.(place);
  const verified = await verifyAt(place.path, {
    policy: options.policy ?? policy,
    expect: world.held.last,
    lockNote: note,
  });
  return { ...verified, place, rows };
}

const keyIdOfLog = (signer: Signer): string => keyIdOf(spkiOfVerifierKey(parseVerifierKey(vkeyOf(ORIGIN, signer))));

/** A key event signed for the place after `rows`. */
async function keyEvent(
  rows: readonly ForgedRow[],
  event: Event,
  signers: readonly { readonly keyId: string; sign(message: Uint8Array): Promise<Uint8Array> }[],
): Promise<Forgery> {
  const { action } = event;
  const previous = leafHashHex(rows.at(-1)!.entry);
  const message = encodeUtf8(keyEventMessage({ origin: ORIGIN, action, index: rows.length, previous, event }));
  const signatures: { keyId: string; signature: string }[] = [];
  for (const signer of signers)
    signatures.push({ keyId: signer.keyId, signature: encodeBase64(await signer.sign(message)) });
  return { event: { ...event, signatures }, scheme: "control" };
}

const asKeySigner = (signer: Signer) => ({
  keyId: keyIdOfLog(signer),
  sign: (message: Uint8Array) => signer.sign(message),
});

describe("row 40: an entry linked to another history", () => {
  it("is found by the walk of the links and by nothing else", async () => {
    const { found, report, exit, place } = await grow((rows) => [
      { event: { action: "access.granted", actor: "mallory" }, previous: leafHashHex(rows.at(-2)!.entry) },
    ]);
    expect(found).toEqual([{ code: "previous-mismatch", index: AT.size }]);
    expect(failedVerdicts(report)).toEqual(["order"]);
    expect(exit).toBe(1);
    // Its receipt verifies: whoever relies on a link has to walk it.
    const ledger = await openAt(place, { signer: LOG_KEY });
    expect((await verifyReceipt(await ledger.prove(AT.size), parsePolicy(policy))).index).toBe(AT.size);
    await ledger.close();
  });
});

describe("row 41: two values under one name", () => {
  const salt = (byte: number): Uint8Array => new Uint8Array(16).fill(byte);
  const digest = (name: string, value: string, byte: number): string =>
    fieldDigest("sha256", salt(byte), { name, value });

  /** An entry that commits to `names` whatever they are, of which one field was then erased, so that a disclosure is stored. */
  const twoFaced = (fields: readonly (readonly [name: string, value: string])[], erased: string): Promise<Grown> =>
    grow((rows) => {
      const names = fields.map(([name]) => name);
      const digests = fields.map(([name, value], i) => digest(name, value, i + 1));
      const disclosed = Object.fromEntries(
        fields.flatMap(([name, value], i) =>
          name === erased ? [] : [[name, [encodeHex(salt(i + 1)), JSON.parse(value)]]],
        ),
      );
      const closed = fields.flatMap(([name], i) => (name === erased ? [[name, digests[i]]] : []));
      const forged: Forgery = {
        event: "{}",
        scheme: "fields",
        salts: new Uint8Array(0),
        commitment: `sha256:${commitFields("sha256", names, digests)}`,
        bodyless: true,
        disclosure: canonicalize({ digests: Object.fromEntries(closed), disclosed }),
      };
      const [entry] = forge(rows, [forged]).slice(-1);
      const payload = {
        entries: [{ index: rows.length, leaf: leafHashHex(entry!.entry), fields: [erased] }],
        reason: "retention",
      };
      return [forged, { event: { action: "ledger.erasure", payload }, scheme: "control" }];
    });

  it("an honest entry of this shape verifies", async () => {
    const fields = [
      ["action", '"a.b"'],
      ["payload.x", "1"],
      ["payload.y", "2"],
    ] as const;
    expect(await twoFaced(fields, "payload.y")).toMatchObject({ exit: 0, found: [] });
  });

  it.each([
    [
      "a name that stands twice",
      [
        ["action", '"a.b"'],
        ["payload.x", "1"],
        ["payload.x", "2"],
        ["payload.y", "2"],
      ],
    ],
    [
      "payload beside payload.x",
      [
        ["action", '"a.b"'],
        ["payload", "1"],
        ["payload.x", "1"],
        ["payload.y", "2"],
      ],
    ],
    [
      "names in another order",
      [
        ["payload.x", "1"],
        ["action", '"a.b"'],
        ["payload.y", "2"],
      ],
    ],
  ] as const)("refuses a commitment to %s", async (_, fields) => {
    const { found, exit, report } = await twoFaced(fields, "payload.y");
    expect(found).toContainEqual({ code: "commitment-mismatch", index: AT.size });
    expect(failedVerdicts(report)).toEqual(["integrity"]);
    expect(exit).toBe(1);
  });
});

describe("row 42: committed bodies that two parsers read differently", () => {
  it.each([
    ["duplicate members", '{"action":"a","action":"b"}'],
    ["an unsafe integer", '{"action":"a","payload":9007199254740993}'],
    ["another spelling of a number", '{"action":"a","payload":1.0}'],
    ["another spelling of a string", '{"action":"\\u0061"}'],
    ["members in another order", '{"payload":1,"action":"a"}'],
    ["white space", '{"action": "a"}'],
    ["a byte order mark", '\ufeff{"action":"a"}'],
    ["a line end after it", '{"action":"a"}\n'],
    ["__proto__", '{"action":"a","payload":{"__proto__":{"admin":true}}}'],
    ["a lone surrogate in an escape", '{"action":"a","payload":"\\ud800"}'],
    ["an unknown member", '{"action":"a","zone":1}'],
    ["no action", '{"actor":"a"}'],
    ["no object", '"a"'],
    ["nothing", ""],
  ])("%s: a finding, though commitment and signature are right", async (_, body) => {
    const { found, report, exit } = await grow(() => [{ event: body }]);
    expect(found).toEqual([{ code: "body-malformed", index: AT.size }]);
    expect(failedVerdicts(report)).toEqual(["integrity"]);
    expect(exit).toBe(1);
  });
});

describe("row 43: derived data that disagree with the entries", () => {
  it("an id that leads elsewhere is derived data: named, rebuilt, and no verdict fails", async () => {
    const place = copyPlace(world.place);
    tamper(place.path, (db) =>
      db.prepare("UPDATE ids SET idx = 30 WHERE digest = ?").run(digestOf(login(10).id ?? "")),
    );
    const { report, codes, exit } = await verifyAt(place.path, { policy });
    expect(codes).toEqual(["derived-id"]);
    expect(report).toMatchObject({ ok: true, needsReindex: true });
    expect(exit).toBe(0);
    const ledger = await openAt(place, { signer: LOG_KEY });
    // Until then the search is deceived, which is why verify names it.
    expect((await ledger.findById("login-10"))?.index).toBe(30);
    await ledger.reindex();
    expect((await ledger.findById("login-10"))?.index).toBe(10);
    await ledger.close();
    expect(await verifyAt(place.path, { policy })).toMatchObject({ exit: 0, found: [] });
  });

  it("a control event left out of the list, or an ordinary entry put into it, changes nothing for a reader", async () => {
    for (const sql of [`DELETE FROM controls WHERE idx = ${AT.author}`, "INSERT INTO controls(idx) VALUES (30)"]) {
      const place = copyPlace(world.place);
      tamper(place.path, (db) => db.exec(sql));
      const { report, codes, exit } = await verifyAt(place.path, { policy });
      // The author key is still known: the list of the entries themselves counts.
      expect(codes).toEqual(["derived-control"]);
      expect(report.needsReindex).toBe(true);
      expect(exit).toBe(0);
      // Nor for the operator, who can open it and mend it.
      const ledger = await openAt(place, { signer: LOG_KEY });
      await ledger.reindex();
      expect(ledger.state.authors.has(ALICE.keyId)).toBe(true);
      await ledger.close();
      expect(await verifyAt(place.path, { policy })).toMatchObject({ exit: 0, found: [] });
    }
  });
});

describe("row 44: a control event made to vanish", () => {
  it("by an erasure that names it: the erasure is void and the missing body is a finding", async () => {
    for (const index of [AT.hold, AT.author]) {
      const { found, exit, report } = await grow(
        (rows) => [
          {
            event: {
              action: "ledger.erasure",
              payload: { entries: [{ index, leaf: leafHashHex(rows[index]!.entry) }], reason: "retention" },
            },
            scheme: "control",
          },
        ],
        {
          spoil: ({ path }) =>
            tamper(path, (db) => db.exec(`UPDATE entries SET body = NULL, salts = NULL WHERE idx = ${index}`)),
        },
      );
      expect(found).toContainEqual({ code: "control-body-missing", index });
      expect(found).toContainEqual({ code: "erasure-void", index });
      expect(failedVerdicts(report)).toContain("integrity");
      expect(exit).toBe(1);
    }
  });

  it("the engine refuses to write such an erasure", async () => {
    const place = copyPlace(world.place);
    const ledger = await openAt(place, { signer: LOG_KEY });
    expect(await codeOf(ledger.erase(AT.hold, { reason: "retention" }))).toBe("not-erasable");
    expect(ledger.size).toBe(AT.size);
    await ledger.close();
  });

  it("by another scheme: a control action there has no effect and is a finding", async () => {
    const event: Event = { action: "ledger.hold.released", payload: { hold: "case-1", reason: "settled" } };
    const { found, exit, place } = await grow(() => [{ event, scheme: "event" }]);
    expect(found).toEqual([{ code: "control-scheme", index: AT.size }]);
    expect(exit).toBe(1);
    const ledger = await openAt(place, { signer: LOG_KEY });
    expect(ledger.state.holds[0]?.releasedAt).toBeNull();
    await ledger.close();
    const ordinary = await grow(() => [{ event: { action: "user.login" }, scheme: "control" }]);
    expect(ordinary.codes).toContain("control-scheme");
    expect(ordinary.exit).toBe(1);
  });
});

describe("row 45: author signatures", () => {
  const context = { origin: ORIGIN, scheme: "event", hash: "sha256" } as const;
  const salts = (count: number): Uint8Array => new Uint8Array(16 * count);
  const signedBy = async (event: Event, signer = ALICE): Promise<Event> =>
    (await signEvent(event, { ...context, signer, salts })).event;

  it("a valid key of somebody else does not count", async () => {
    const event = await signedBy({ id: "x", action: "contract.signed", actor: "bob" });
    const { found, report, exit } = await grow(() => [{ event }]);
    expect(found).toEqual([{ code: "author-unregistered", index: AT.size }]);
    expect(failedVerdicts(report)).toEqual(["authenticity"]);
    expect(exit).toBe(1);
  });

  it("a key registered for nobody does not count, nor a signature over other content, of another ledger, or without an id", async () => {
    const stranger = generateAuthorKey();
    const honest = await signedBy({ id: "y", action: "contract.signed", actor: "alice" });
    const elsewhere = await signEvent(
      { id: "y", action: "contract.signed", actor: "alice" },
      { ...context, origin: "example.com/other", signer: ALICE, salts },
    );
    const { id: _, ...nameless } = honest;
    const cases: readonly (readonly [Event, string])[] = [
      [await signedBy({ id: "y", action: "contract.signed", actor: "alice" }, stranger), "author-unregistered"],
      [{ ...honest, action: "contract.cancelled" }, "author-signature"],
      [elsewhere.event, "author-signature"],
      [nameless as Event, "author-signature"],
    ];
    for (const [event, code] of cases) {
      const { found, exit } = await grow(() => [{ event }]);
      expect(found).toEqual([{ code, index: AT.size }]);
      expect(exit).toBe(1);
    }
    expect(await grow(() => [{ event: honest }])).toMatchObject({ exit: 0, found: [] });
  });

  it("a key id is the whole digest of the key: one digit less or more is another key", async () => {
    const honest = await signedBy({ id: "z", action: "contract.signed", actor: "alice" });
    const [signature] = honest.signatures ?? [];
    const keyId = `${signature!.keyId.slice(0, 63)}${signature!.keyId.endsWith("0") ? "1" : "0"}`;
    const near = await grow(() => [{ event: { ...honest, signatures: [{ ...signature!, keyId }] } }]);
    expect(near.found).toEqual([{ code: "author-unregistered", index: AT.size }]);
    const short = { ...honest, signatures: [{ ...signature!, keyId: signature!.keyId.slice(0, 8) }] };
    const cut = await grow(() => [{ event: canonicalize(short) }]);
    expect(cut.codes).toContain("body-malformed");
    expect(cut.exit).toBe(1);
  });

  it("a signature before the registration, or after the revocation, does not count", async () => {
    const bob = generateAuthorKey();
    const payload = { actor: "bob", algorithm: bob.algorithm, role: "author", spki: encodeBase64(bob.spki) } as const;
    const early = await signedBy({ id: "early", action: "contract.signed", actor: "bob" }, bob);
    const place = copyPlace(world.place);
    const rows = rewriteRows(place.path, (old) => forge(old, [{ event: early }]));
    const added = await keyEvent(rows, { action: "ledger.key.added", payload }, [asKeySigner(LOG_KEY), bob]);
    const registered = forge(rows, [added]);
    const revocation = { keyId: bob.keyId, reason: "left", role: "author" } as const;
    const timely = await signedBy({ id: "timely", action: "contract.signed", actor: "bob" }, bob);
    const withTimely = forge(registered, [{ event: timely }]);
    const revoked = await keyEvent(withTimely, { action: "ledger.key.revoked", payload: revocation }, [
      asKeySigner(LOG_KEY),
    ]);
    const late = await signedBy({ id: "late", action: "contract.signed", actor: "bob" }, bob);
    const all = rewriteRows(place.path, () => forge(withTimely, [revoked, { event: late }]));
    await signAgain(place.path, all, [all.length]);
    const { found, exit } = await verifyAt(place.path, { policy });
    expect(found).toEqual([
      { code: "author-unregistered", index: AT.size },
      { code: "author-unregistered", index: AT.size + 4 },
    ]);
    expect(exit).toBe(1);
  });

  it("keys that only the ledger names are called self-asserted; those of the policy are not", async () => {
    const place = copyPlace(world.place);
    const self = await verifyAt(place.path, { policy });
    expect(self.report.verdicts.authenticity.unchecked.join()).toContain("self-asserted");
    const author = `#tallystick author ed25519 ${encodeBase64(ALICE.spki)} "alice" 0 -\n`;
    const pinned = await verifyAt(place.path, { policy: policy + author });
    expect(pinned.exit).toBe(0);
    expect(pinned.report.verdicts.authenticity.unchecked.join()).not.toContain("self-asserted");
  });
});

describe("row 46: key events", () => {
  it("a replayed registration does not bring a revoked key back", async () => {
    const place = copyPlace(world.place);
    const ledger = await openAt(place, { signer: LOG_KEY });
    await ledger.keys.revokeAuthor(ALICE.keyId, "left");
    await ledger.close();
    const {
      found,
      exit,
      place: grown,
    } = await grow((rows) => [{ event: rows[AT.author]!.body ?? "", scheme: "control" }], { from: place });
    expect(found).toEqual([{ code: "key-event-invalid", index: AT.size + 1 }]);
    expect(exit).toBe(1);
    const reopened = await openAt(grown, { signer: LOG_KEY });
    expect(reopened.state.authors.get(ALICE.keyId)?.untilIndex).toBe(AT.size);
    expect(await codeOf(reopened.append({ id: "n", action: "a", actor: "alice" }, { signer: ALICE }))).toBe(
      "author-not-registered",
    );
    await reopened.close();
  });

  it("neither signed again for its new place, as a key is registered once", async () => {
    const place = copyPlace(world.place);
    const ledger = await openAt(place, { signer: LOG_KEY });
    await ledger.keys.revokeAuthor(ALICE.keyId, "left");
    await ledger.close();
    const stolen = copyPlace(place);
    const rows = rewriteRows(stolen.path, (old) => old);
    const { signatures: _, ...event } = parseEvent(rows[AT.author]!.body ?? "");
    const again = await keyEvent(rows, event, [asKeySigner(LOG_KEY), ALICE]);
    const { found, exit } = await grow(() => [again], { from: place });
    expect(found).toEqual([{ code: "key-event-invalid", index: AT.size + 1 }]);
    expect(exit).toBe(1);
  });

  it("a key that the log key did not vouch for, or that did not sign itself, does not enter", async () => {
    const thief = generateLogKey();
    const vkey = vkeyOf(ORIGIN, thief);
    for (const signers of [[asKeySigner(thief)], [asKeySigner(LOG_KEY)], [ALICE, asKeySigner(thief)]]) {
      const place = copyPlace(world.place);
      const rows = rewriteRows(place.path, (old) => old);
      const added = await keyEvent(rows, { action: "ledger.key.added", payload: { role: "log", vkey } }, signers);
      const { found, exit } = await grow(() => [added]);
      expect(found).toEqual([{ code: "key-event-invalid", index: AT.size }]);
      expect(exit).toBe(1);
    }
  });

  it("a thief who rotates to a key of his own and revokes the honest one: consistency decides, not the revocation", async () => {
    // The honest operator never saw it: the pinned key did not sign over it, and what the thief signed alone is not accepted.
    const thief = OTHER_KEY;
    const place = copyPlace(world.place);
    const rows = rewriteRows(place.path, (old) => old);
    const payload = { new: vkeyOf(ORIGIN, thief), old: vkeyOf(ORIGIN, LOG_KEY), role: "log" } as const;
    const forged = await keyEvent(rows, { action: "ledger.key.rotated", payload }, [asKeySigner(thief)]);
    const grown = rewriteRows(place.path, () => forge(rows, [forged]));
    await signAgain(place.path, grown, [grown.length], [thief]);
    const unsigned = await verifyAt(place.path, { policy });
    expect(unsigned.codes).toEqual(["checkpoint-signature", "key-event-invalid"]);
    expect(unsigned.exit).toBe(1);

    // With the stolen key the rotation is genuine, and the revocation takes nothing from what the old key signed before: it
    // is part of the tree that the new one signs.
    const stolen = await keyEvent(rows, { action: "ledger.key.rotated", payload }, [
      asKeySigner(LOG_KEY),
      asKeySigner(thief),
    ]);
    const rotated = forge(rows, [stolen]);
    const revocation = { reason: "leaked", role: "log", validUntilSize: 1, vkey: vkeyOf(ORIGIN, LOG_KEY) } as const;
    const revoked = await keyEvent(rotated, { action: "ledger.key.revoked", payload: revocation }, [
      asKeySigner(thief),
    ]);
    const all = rewriteRows(place.path, () => forge(rotated, [revoked]));
    const checkpoints = [
      await signRows(all, { origin: ORIGIN, signers: [LOG_KEY], size: AT.size }),
      await signRows(all, { origin: ORIGIN, signers: [LOG_KEY, thief], size: rotated.length }),
      await signRows(all, { origin: ORIGIN, signers: [thief] }),
    ];
    tamper(place.path, (db) => writeCheckpoints(db, checkpoints));
    expect(await verifyAt(place.path, { policy, expect: world.held.last })).toMatchObject({ exit: 0, found: [] });
    // And the honest history stands for whoever holds it: a fork behind the theft is a finding.
    const fork = rewriteRows(place.path, () => forge(rows.slice(0, 30), [{ event: { action: "nothing.happened" } }]));
    await signAgain(place.path, fork, [fork.length], [thief]);
    const forked = await verifyAt(place.path, { policy, expect: world.held.last });
    expect(forked.codes).toContain("expected-beyond");
    expect(forked.exit).toBe(1);
  });

  it("a checkpoint that only a revoked key signed, beyond its last size, is disowned", async () => {
    const place = copyPlace(world.place);
    const ledger = await openAt(place, { signer: LOG_KEY });
    await ledger.keys.rotate(OTHER_KEY);
    await ledger.keys.revokeLogKey(vkeyOf(ORIGIN, LOG_KEY), { validUntilSize: AT.size, reason: "leaked" });
    await ledger.append({ action: "user.login" });
    const fresh = ledger.policy();
    await ledger.close();
    expect(await verifyAt(place.path, { policy: fresh })).toMatchObject({ exit: 0, found: [] });
    const newKey = parseVerifierKey(vkeyOf(ORIGIN, OTHER_KEY));
    const only = formatPolicy({ logKeys: [newKey], genesis: parsePolicy(policy).genesis });
    expect(await verifyAt(place.path, { policy: only })).toMatchObject({ exit: 0, found: [] });
    // The thief goes on signing with the old key, consistently, beyond what was vouched for.
    const rows = rewriteRows(place.path, (old) => forge(old, [{ event: { action: "access.granted" } }]));
    const thiefs = await signAgain(copyPlace(place).path, rows, [rows.length], [LOG_KEY]);
    tamper(place.path, (db) =>
      db.prepare("INSERT INTO checkpoints(size, note) VALUES (?, ?)").run(rows.length, thiefs),
    );
    const both = formatPolicy({
      logKeys: [...parsePolicy(policy).logKeys, newKey],
      genesis: parsePolicy(policy).genesis,
    });
    const { codes, exit } = await verifyAt(place.path, { policy: both });
    expect(codes).toEqual(["key-disowned"]);
    expect(exit).toBe(1);
    // Who pins the new key alone is not vouched to by the old one at all.
    expect(await verifyAt(place.path, { policy: only })).toMatchObject({ exit: 1, codes: ["checkpoint-signature"] });
  });
});

describe("row 47: weakened rules", () => {
  it("requireSignature switched off inside the ledger is a finding unless the pin allows it, and a pin goes on asking for signatures", async () => {
    const place = copyPlace(world.place);
    const ledger = await openAt(place, { signer: LOG_KEY });
    await ledger.keys.changeRules({ requireSignature: true });
    await ledger.close();
    const weak: Forgery = {
      event: { action: "ledger.rules.changed", payload: { rules: { requireSignature: false } } },
      scheme: "control",
    };
    const unsigned: Forgery = { event: { action: "access.granted", actor: "mallory" } };
    const without = await grow(() => [unsigned], { from: place });
    expect(without.found).toEqual([{ code: "signature-required", index: AT.size + 1 }]);
    // Everything that no pin allows: the weakening itself, and what it let in.
    const strict = await grow(() => [weak, unsigned], {
      from: place,
      policy: `${policy}#tallystick require-signature\n`,
    });
    expect(strict.found).toContainEqual({ code: "rules-weakened", index: AT.size + 1 });
    expect(strict.found).toContainEqual({ code: "signature-required", index: AT.size + 2 });
    expect(failedVerdicts(strict.report)).toEqual(["authenticity"]);
    expect(strict.exit).toBe(1);
    const self = await verifyAt(strict.place.path, { allowSelfAsserted: true });
    expect(self.codes).toEqual(["rules-weakened"]);
    expect(self.exit).toBe(1);
    // The pin wins: a policy that asks for no signatures has said so.
    expect(await grow(() => [weak, unsigned], { from: place })).toMatchObject({ exit: 0, found: [] });
  });
});

describe("row 48: the ledger rewritten under another key", () => {
  it("is inconclusive to a reader without a pin, and tampered with to everybody else", async () => {
    const place = copyPlace(world.place);
    const rows = rewriteRows(place.path, (old) => {
      const genesis = parseEvent(old[0]!.body ?? "");
      const payload = { ...(genesis.payload as object), logKeys: [vkeyOf(ORIGIN, OTHER_KEY)] };
      return forge(
        [],
        [
          { ...forgeryOf(old[0]!), event: canonicalize({ ...genesis, payload }) },
          ...old.slice(AT.login).map(forgeryOf),
        ],
      );
    });
    await signAgain(place.path, rows, [rows.length], [OTHER_KEY]);
    const blind = await verifyAt(place.path);
    expect(blind).toMatchObject({ exit: 3, found: [], report: { ok: true, conclusive: false, pin: "none" } });
    expect(blind.report.verdicts.authenticity.status).toBe("notEstablished");
    expect(await verifyAt(place.path, { allowSelfAsserted: true })).toMatchObject({
      exit: 0,
      report: { pin: "self-asserted" },
    });
    const pinned = await verifyAt(place.path, { policy });
    expect(pinned.codes).toEqual(["checkpoint-signature", "genesis-mismatch"]);
    expect(pinned.exit).toBe(1);
    expect(await verifyAt(place.path, { expect: world.held.first })).toMatchObject({ exit: 1 });
    expect(await codeOf(openAt(place, { signer: LOG_KEY }))).toBe("ledger-replaced");
  });
});
