import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { authorSignerFromSeed, generateAuthorKey } from "../keys/author-signer.ts";
import { type AuthorSigner, authorMessage, signEvent, verifyAuthorSignatures } from "./author-signature.ts";
import { canonicalize } from "./canonical-json.ts";
import { commitFields, cutFields, fieldDigest } from "./commitment.ts";
import { decodeUtf8, encodeUtf8 } from "./encoding.ts";
import type { Event } from "./event.ts";
import { sha256, sha256Hex } from "./hash.ts";

const SEED = sha256(encodeUtf8("author signature test"));
const alice = authorSignerFromSeed("ed25519", SEED);
const aliceLater = authorSignerFromSeed("ml-dsa-44", SEED);
const EVENT: Event = {
  action: "order.ship",
  actor: "alice",
  id: "o-1",
  payload: { amount: 3, to: "Bob" },
  type: "order",
};
const CONTEXT = { origin: "example.com/log", hash: "sha256" } as const;
const salts = (count: number): Uint8Array => Uint8Array.from({ length: 16 * count }, (_, i) => (i * 7) % 251);
const registered = (...signers: AuthorSigner[]): Map<string, { algorithm: string; spki: Uint8Array; actor: string }> =>
  new Map(signers.map(({ algorithm, spki, keyId }) => [keyId, { algorithm, spki, actor: "alice" }]));
const digestsOf = (event: Event, bytes: Uint8Array): string[] =>
  cutFields(event).map((field, i) => fieldDigest("sha256", bytes.subarray(16 * i, 16 * (i + 1)), field));

describe("author message", () => {
  it("of scheme event names origin, algorithm, key, scheme and the digest of the event without signatures", () => {
    const keyId = "ab".repeat(32);
    const parts = { ...CONTEXT, algorithm: "ed25519", keyId, scheme: "event" } as const;
    const digest = sha256Hex(
      '{"action":"order.ship","actor":"alice","id":"o-1","payload":{"amount":3,"to":"Bob"},"type":"order"}',
    );
    const expected = `tallystick/v1/author\nexample.com/log\ned25519\n${keyId}\nevent\n${digest}`;
    expect(decodeUtf8(authorMessage({ ...parts, event: EVENT }))).toBe(expected);
    const signed = { ...EVENT, signatures: [{ keyId, signature: "AAAA" }] };
    expect(decodeUtf8(authorMessage({ ...parts, event: signed }))).toBe(expected);
  });

  it("of scheme fields commits to names and digests without signatures", () => {
    const parts = { ...CONTEXT, algorithm: "ed25519", keyId: alice.keyId, scheme: "fields" } as const;
    const digests = ["aa".repeat(32), "bb".repeat(32), "cc".repeat(32)];
    const content = commitFields("sha256", ["action", "type"], [digests[0]!, digests[2]!]);
    const expected = `tallystick/v1/author\nexample.com/log\ned25519\n${alice.keyId}\nfields\n${content}`;
    expect(decodeUtf8(authorMessage({ ...parts, names: ["action", "signatures", "type"], digests }))).toBe(expected);
    expect(
      decodeUtf8(authorMessage({ ...parts, names: ["action", "type"], digests: [digests[0]!, digests[2]!] })),
    ).toBe(expected);
  });
});

describe("signed events", () => {
  for (const scheme of ["event", "fields"] as const) {
    const context = { ...CONTEXT, scheme };

    it(`scheme ${scheme}: verify under the registered key of their actor`, async () => {
      const signed = await signEvent(EVENT, { ...context, signer: [alice, aliceLater], salts });
      expect(signed.event.signatures?.map(({ keyId }) => keyId)).toEqual([alice.keyId, aliceLater.keyId]);
      expect(signed.salts?.length ?? null).toBe(scheme === "event" ? null : 16 * cutFields(signed.event).length);
      await verifyAuthorSignatures(signed.event, {
        ...context,
        authors: registered(alice, aliceLater),
        salts: signed.salts,
      });
    });

    it(`scheme ${scheme}: refuse every change to the event, the origin, the hash, the scheme or the salts`, async () => {
      const signed = await signEvent(EVENT, { ...context, signer: alice, salts });
      const authors = registered(alice);
      const verify = (event: Event, changes: object = {}): Promise<void> =>
        verifyAuthorSignatures(
          { ...event, signatures: signed.event.signatures! },
          { ...context, authors, salts: signed.salts, ...changes },
        );
      await verify(EVENT);
      const changed: Event[] = [
        { ...EVENT, action: "order.shiq" },
        { ...EVENT, id: "o-2" },
        { ...EVENT, type: "order@2" },
        { ...EVENT, payload: { amount: 4, to: "Bob" } },
        { ...EVENT, payload: { amount: 3, tp: "Bob" } },
      ];
      for (const event of changed) {
        await expect(verify(event)).rejects.toMatchObject({
          code: "signature-invalid",
          message: `event: the author signature of key ${alice.keyId} does not verify`,
        });
      }
      await expect(verify(EVENT, { origin: "example.com/loh" })).rejects.toMatchObject({ code: "signature-invalid" });
      const other = scheme === "event" ? { scheme: "fields", salts: salts(7) } : { scheme: "event", salts: null };
      await expect(verify(EVENT, other)).rejects.toMatchObject({ code: "signature-invalid" });
      if (scheme === "event") return;
      await expect(verify(EVENT, { hash: "sha3-256" })).rejects.toMatchObject({ code: "signature-invalid" });
      const otherSalts = Uint8Array.from(signed.salts!);
      otherSalts[0]! ^= 1;
      await expect(verify(EVENT, { salts: otherSalts })).rejects.toMatchObject({ code: "signature-invalid" });
      await expect(verify(EVENT, { salts: otherSalts.subarray(16) })).rejects.toMatchObject({
        code: "malformed-commitment",
        message: "salts: expected 7 of 16 bytes",
      });
    });

    it(`scheme ${scheme}: refuse a key that is unknown or another actor's`, async () => {
      const signed = await signEvent(EVENT, { ...context, signer: alice, salts });
      for (const authors of [new Map(), registered(aliceLater), new Map([[alice.keyId, { ...alice, actor: "bob" }]])]) {
        await expect(
          verifyAuthorSignatures(signed.event, { ...context, authors, salts: signed.salts }),
        ).rejects.toMatchObject({
          code: "author-not-registered",
          message: `author key ${alice.keyId} is not registered for actor "alice"`,
        });
      }
    });

    it(`scheme ${scheme}: need an id`, async () => {
      const { id: _, ...without } = EVENT;
      await expect(signEvent(without, { ...context, signer: alice, salts })).rejects.toMatchObject({
        code: "malformed-event",
        message: "/id: a signed event needs an id, or it could be replayed",
        details: { pointer: "/id" },
      });
    });
  }

  it("take further signatures in scheme event, and none afterwards in scheme fields", async () => {
    const once = await signEvent(EVENT, { ...CONTEXT, scheme: "event", signer: alice, salts });
    const twice = await signEvent(once.event, { ...CONTEXT, scheme: "event", signer: aliceLater, salts });
    expect(twice.event.signatures).toHaveLength(2);
    await verifyAuthorSignatures(twice.event, {
      ...CONTEXT,
      scheme: "event",
      authors: registered(alice, aliceLater),
      salts: null,
    });
    await expect(signEvent(once.event, { ...CONTEXT, scheme: "fields", signer: alice, salts })).rejects.toMatchObject({
      code: "malformed-event",
      details: { pointer: "/signatures" },
    });
  });

  it("are what was signed, even if the caller changes the event meanwhile", async () => {
    const event = structuredClone(EVENT) as { payload: { amount: number } } & Event;
    const slow: AuthorSigner = {
      ...alice,
      sign: async (message) => {
        event.payload.amount = 1_000_000;
        return alice.sign(message);
      },
    };
    const signed = await signEvent(event, { ...CONTEXT, scheme: "event", signer: slow, salts });
    expect(canonicalize(signed.event.payload)).toBe('{"amount":3,"to":"Bob"}');
    await verifyAuthorSignatures(signed.event, {
      ...CONTEXT,
      scheme: "event",
      authors: registered(alice),
      salts: null,
    });
  });

  it("without a signature are refused where one is verified", async () => {
    await expect(
      verifyAuthorSignatures(EVENT, { ...CONTEXT, scheme: "event", authors: new Map(), salts: null }),
    ).rejects.toMatchObject({ code: "signature-missing", message: "event: it carries no author signature" });
  });

  it("refuse signatures that are not base64", async () => {
    const event = { ...EVENT, signatures: [{ keyId: alice.keyId, signature: "AAA" }] };
    await expect(
      verifyAuthorSignatures(event, { ...CONTEXT, scheme: "event", authors: registered(alice), salts: null }),
    ).rejects.toMatchObject({ code: "malformed-signature" });
  });

  it("in scheme fields verify whatever is withheld, for any payload", async () => {
    const name = fc.string({ minLength: 1, maxLength: 8 }).filter((text) => text !== "__proto__");
    const payload = fc.dictionary(name, fc.oneof(fc.integer(), fc.string(), fc.boolean()), { maxKeys: 6 });
    await fc.assert(
      fc.asyncProperty(payload, async (value) => {
        const event: Event = { ...EVENT, payload: value, targets: [{ id: "t" }], source: { id: "s", counter: 1 } };
        const signed = await signEvent(event, { ...CONTEXT, scheme: "fields", signer: alice, salts });
        await verifyAuthorSignatures(signed.event, {
          ...CONTEXT,
          scheme: "fields",
          authors: registered(alice),
          salts: signed.salts,
        });
        // What a reader holds of withheld fields: their names and digests alone.
        const names = cutFields(signed.event).map((field) => field.name);
        const parts = { ...CONTEXT, algorithm: alice.algorithm, keyId: alice.keyId, scheme: "fields", names } as const;
        const message = authorMessage({ ...parts, digests: digestsOf(signed.event, signed.salts!) });
        const { signature } = signed.event.signatures![0]!;
        expect(Buffer.from(await alice.sign(message)).toString("base64")).toBe(signature);
      }),
      { seed: 20_261_120, numRuns: 40 },
    );
  });

  for (const algorithm of [
    "ecdsa-p256",
    "ecdsa-p384",
    "ecdsa-secp256k1",
    "rsa-pss",
    "ml-dsa-65",
    "ml-dsa-87",
  ] as const) {
    it(`can be signed with ${algorithm}`, async () => {
      const signer = generateAuthorKey(algorithm);
      const signed = await signEvent(EVENT, { ...CONTEXT, scheme: "event", signer, salts });
      await verifyAuthorSignatures(signed.event, {
        ...CONTEXT,
        scheme: "event",
        authors: registered(signer),
        salts: null,
      });
    });
  }
});
