import { generateKeyPairSync, sign } from "node:crypto";
import { ml_dsa44 } from "@noble/post-quantum/ml-dsa.js";
import { describe, expect, it } from "vitest";
import { formatSpki } from "./public-key.ts";
import { verifyEd25519, verifyMlDsa44, verifySignature } from "./table.ts";

const MESSAGE = new TextEncoder().encode("a message");

describe("verifySignature", () => {
  for (const [name, type, options, hash] of [
    ["ecdsa-p256", "ec", { namedCurve: "P-256" }, "sha256"],
    ["ecdsa-p384", "ec", { namedCurve: "P-384" }, "sha384"],
    ["ecdsa-secp256k1", "ec", { namedCurve: "secp256k1" }, "sha256"],
    ["ed25519", "ed25519", {}, null],
    ["rsa-pss", "rsa", { modulusLength: 2048 }, "sha256"],
  ] as const) {
    it(`accepts a fresh ${name} signature and refuses another message`, async () => {
      const { publicKey, privateKey } = generateKeyPairSync(type as "rsa", options as { modulusLength: number });
      const spki = publicKey.export({ format: "der", type: "spki" });
      let verdicts = 0;
      // About half of OpenSSL's ECDSA signatures have a high s.
      for (let i = 0; i < 20 && verdicts < 1; i++) {
        const signature = sign(hash, MESSAGE, {
          key: privateKey,
          dsaEncoding: "ieee-p1363",
          padding: 6,
          saltLength: 32,
        });
        if (await verifySignature(name, spki, MESSAGE, signature)) {
          verdicts++;
          expect(await verifySignature(name, spki, MESSAGE.subarray(1), signature)).toBe(false);
        }
      }
      expect(verdicts).toBe(1);
    });
  }

  it("accepts raw Ed25519 and ML-DSA-44 keys", async () => {
    const { publicKey, privateKey } = generateKeyPairSync("ed25519");
    const raw = publicKey.export({ format: "der", type: "spki" }).subarray(12);
    expect(await verifyEd25519(raw, MESSAGE, sign(null, MESSAGE, privateKey))).toBe(true);
    const keys = ml_dsa44.keygen(new Uint8Array(32));
    const signature = ml_dsa44.sign(MESSAGE, keys.secretKey);
    expect(await verifyMlDsa44(keys.publicKey, MESSAGE, signature)).toBe(true);
    expect(await verifySignature("ml-dsa-44", formatSpki("ml-dsa-44", keys.publicKey), MESSAGE, signature)).toBe(true);
  });
});
