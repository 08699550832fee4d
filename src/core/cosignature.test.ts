import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { ml_dsa44 } from "@noble/post-quantum/ml-dsa.js";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ed25519Signer, mlDsaSigner, seedOf, verifierOf } from "../../test/interop/note-signers.ts";
import {
  checkpointMessage,
  cosignatureMessage,
  decodeTimedSignature,
  encodeTimedSignature,
  subtreeMessage,
} from "./cosignature.ts";
import { cosignNote, formatNote, noteKeyId, parseNote, parseVerifierKey, verifyNote } from "./note.ts";

const vectors = JSON.parse(readFileSync("vectors/tlog.json", "utf8")) as {
  cosig_v1: { witness_vkey: string; timestamp: number; checkpoint_body: string; signature_b64: string };
  cosig_mldsa44: Record<
    "seed_hex" | "public_key_sha256" | "cosigner" | "key_id" | "origin" | "root_b64" | "message_hex",
    string
  > & {
    deterministic_signature_sha256: string;
    timestamp: number;
    start: number;
    end: number;
    payload_bytes: number;
    base64_chars: number;
  };
  mldsa44_accumulated: { n_100: string };
};
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
const malformed = (message: string) => expect.objectContaining({ code: "malformed-cosignature", message });

describe("Ed25519 cosignatures (0x04)", () => {
  const { witness_vkey, timestamp, checkpoint_body, signature_b64 } = vectors.cosig_v1;
  const signer = ed25519Signer(seedOf("skylight test witness key"));

  it("are made byte for byte as the published one, and verify", async () => {
    const line = await cosignNote(checkpoint_body, "witness.example.org", signer, { time: timestamp });
    expect(line).toBe(`\u2014 witness.example.org ${signature_b64}\n`);
    const key = parseVerifierKey(witness_vkey);
    expect(key).toEqual(verifierOf("witness.example.org", signer, 4));
    expect(await verifyNote(parseNote(formatNote(checkpoint_body, [line])), [key])).toEqual([
      { key, time: timestamp, line },
    ]);
  });

  it("cover the whole text, extension lines too, and the time", async () => {
    expect(Buffer.from(cosignatureMessage("a\n1\nb\nextension\n", 5)).toString()).toBe(
      "cosignature/v1\ntime 5\na\n1\nb\nextension\n",
    );
    const key = parseVerifierKey(witness_vkey);
    const line = await cosignNote(checkpoint_body, "witness.example.org", signer, { time: timestamp });
    await expect(
      verifyNote(parseNote(formatNote(`${checkpoint_body}extension\n`, [line])), [key]),
    ).rejects.toMatchObject({
      code: "signature-invalid",
    });
    const payload = Buffer.from(signature_b64, "base64");
    for (let byte = 4; byte < 12; byte++) {
      const other = Buffer.from(payload);
      other[byte]! ^= 1;
      const note = parseNote(formatNote(checkpoint_body, [`\u2014 witness.example.org ${other.toString("base64")}\n`]));
      await expect(verifyNote(note, [key])).rejects.toMatchObject({ code: "signature-invalid" });
    }
  });
});

describe("ML-DSA-44 cosignatures (0x06)", () => {
  const vector = vectors.cosig_mldsa44;
  const signer = mlDsaSigner(Buffer.from(vector.seed_hex, "hex"));
  const text = `${vector.origin}\n${vector.end}\n${vector.root_b64}\n`;

  it("sign the structure of the specification, and verify", async () => {
    expect(sha256(signer.publicKey)).toBe(vector.public_key_sha256);
    expect(noteKeyId(vector.cosigner, 6, signer.publicKey).toString(16)).toBe(vector.key_id);
    const message = checkpointMessage(text, vector.cosigner, vector.timestamp);
    expect(hex(message)).toBe(vector.message_hex);
    expect(sha256(await signer.sign(message))).toBe(vector.deterministic_signature_sha256);
    const line = await cosignNote(text, vector.cosigner, signer, { time: vector.timestamp });
    const [, , base64] = line.trimEnd().split(" ");
    expect(base64!.length).toBe(vector.base64_chars);
    const note = parseNote(formatNote(text, [line]));
    expect(note.signatures[0]!.signature.length).toBe(vector.payload_bytes - 4);
    const key = verifierOf(vector.cosigner, signer, 6);
    expect(await verifyNote(note, [key])).toEqual([{ key, time: vector.timestamp, line }]);
  });

  it("do not verify with a bit of the message's parts changed, nor under another name", async () => {
    const line = await cosignNote(text, vector.cosigner, signer, { time: vector.timestamp });
    const note = parseNote(formatNote(text, [line]));
    const key = verifierOf(vector.cosigner, signer, 6);
    const others = [text.replace("sofa", "sofb"), text.replace("20852163", "20852162"), text.replace("CsUY", "CsUZ")];
    for (const other of others) {
      await expect(verifyNote({ ...note, text: other }, [key])).rejects.toMatchObject({ code: "signature-invalid" });
    }
    for (const at of [0, 3, 7, 8, 1000, 2427]) {
      const signature = note.signatures[0]!.signature.slice();
      signature[at]! ^= 1;
      await expect(
        verifyNote({ text, signatures: [{ ...note.signatures[0]!, signature }] }, [key]),
      ).rejects.toMatchObject({
        code: "signature-invalid",
      });
    }
    // The name is signed: the same key under another name does not verify, though the line claims it.
    const renamed = verifierOf("witness.example.com/w3", signer, 6);
    const claimed = { ...note.signatures[0]!, name: renamed.name, keyId: renamed.keyId };
    await expect(verifyNote({ text, signatures: [claimed] }, [renamed])).rejects.toMatchObject({
      code: "signature-invalid",
    });
  });

  it("rest on a primitive that reproduces the accumulated vectors of C2SP/CCTV", async () => {
    const { shake128 } = await import("@noble/hashes/sha3.js");
    const source = shake128.create({});
    const result = shake128.create({});
    for (let i = 0; i < 100; i++) {
      const { publicKey, secretKey } = ml_dsa44.keygen(source.xof(32));
      result.update(publicKey).update(ml_dsa44.sign(new Uint8Array(0), secretKey, { extraEntropy: false }));
    }
    expect(hex(result.xof(32))).toBe(vectors.mldsa44_accumulated.n_100);
  });

  it("refuse what the structure cannot hold", () => {
    const hash = new Uint8Array(32);
    const good = { cosigner: "w", time: 0, origin: "o", start: 4, end: 8, hash };
    expect(subtreeMessage(good).length).toBe(12 + 2 + 8 + 2 + 8 + 8 + 32);
    const refusals: [Partial<typeof good>, string][] = [
      [{ cosigner: "" }, "cosignature: expected a name of 1 to 255 bytes, got 0"],
      [{ cosigner: "é".repeat(128) }, "cosignature: expected a name of 1 to 255 bytes, got 256"],
      [{ origin: "a".repeat(256) }, "cosignature: expected a name of 1 to 255 bytes, got 256"],
      [{ time: 1 }, "cosignature: expected time 0 for a subtree that does not start at 0"],
      [{ start: 3 }, "cosignature: expected a subtree, got the leaves 3 to 8"],
      [{ end: 2 ** 53, start: 0 }, "cosignature: expected a subtree, got the leaves 0 to 9007199254740992"],
      [{ hash: new Uint8Array(31) }, "cosignature: expected a hash of 32 bytes, got 31"],
    ];
    for (const [change, message] of refusals)
      expect(() => subtreeMessage({ ...good, ...change })).toThrow(malformed(message));
    for (const time of [-1, 0.5, 2 ** 53])
      expect(() => subtreeMessage({ ...good, start: 0, time })).toThrow(RangeError);
  });
});

describe("times", () => {
  it("come back with the signature, up to 2^53-1 seconds", () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), fc.uint8Array({ minLength: 1, maxLength: 80 }), (time, signature) => {
        const payload = encodeTimedSignature(time, signature);
        expect(payload.length).toBe(8 + signature.length);
        expect(Buffer.from(payload).readBigUInt64BE()).toBe(BigInt(time));
        expect(decodeTimedSignature(payload)).toEqual({ time, signature });
      }),
      { seed: 14 },
    );
  });

  it("beyond that, or without a signature, are refused", () => {
    const payload = (time: bigint): Buffer => {
      const bytes = Buffer.alloc(9);
      bytes.writeBigUInt64BE(time);
      return bytes;
    };
    expect(decodeTimedSignature(payload(2n ** 53n - 1n)).time).toBe(2 ** 53 - 1);
    for (const time of [2n ** 53n, 2n ** 63n - 1n, 2n ** 63n, 2n ** 64n - 1n]) {
      expect(() => decodeTimedSignature(payload(time))).toThrow(
        malformed("cosignature: expected a time of at most 2^53-1 seconds"),
      );
    }
    for (const length of [0, 7, 8]) {
      expect(() => decodeTimedSignature(new Uint8Array(length))).toThrow(
        malformed(`cosignature: expected a time and a signature, got ${length} bytes`),
      );
    }
    for (const time of [-1, 1.5, 2 ** 53, Number.NaN]) {
      expect(() => encodeTimedSignature(time, new Uint8Array(64))).toThrow(RangeError);
      expect(() => cosignatureMessage("text\n", time)).toThrow(RangeError);
    }
  });
});
