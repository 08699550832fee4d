import { createPublicKey, generateKeyPairSync, sign } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { encodeHex, encodeUtf8 } from "../core/encoding.ts";
import { isTallystickError } from "../core/errors.ts";
import { sha256 } from "../core/hash.ts";
import { ALGORITHM_NAMES, checkSpki, verifySignature } from "../core/signature/table.ts";
import { authorSignerSuite, signerSuite } from "../testing/signer-suite.ts";
import {
  authorSignerFromJwk,
  authorSignerFromPem,
  authorSignerFromPkcs8,
  authorSignerFromSeed,
  generateAuthorKey,
} from "./author-signer.ts";
import { exportJwk, exportPem, exportPkcs8 } from "./key-export.ts";
import { generateLogKey, logSignerFromSeed } from "./local-signer.ts";
import { withLowS } from "./private-key.ts";

const SEED = sha256(encodeUtf8("signers test"));
const dispose = async (): Promise<void> => {};

for (const algorithm of ["ed25519", "ml-dsa-44"] as const) {
  signerSuite(`generated ${algorithm}`, { describe, it, expect }, async () => ({
    signer: generateLogKey(algorithm),
    dispose,
  }));
  signerSuite(`${algorithm} of a seed`, { describe, it, expect }, async () => ({
    signer: logSignerFromSeed(algorithm, SEED),
    dispose,
  }));
}
for (const algorithm of ALGORITHM_NAMES) {
  const signer = generateAuthorKey(algorithm);
  authorSignerSuite(algorithm, { describe, it, expect }, async () => ({ signer, dispose }));
}

describe("author keys", () => {
  for (const algorithm of ALGORITHM_NAMES) {
    it(`${algorithm}: PEM, PKCS#8, JWK and an encrypted PEM give the same key back`, () => {
      const signer = generateAuthorKey(algorithm);
      checkSpki(algorithm, signer.spki);
      const encrypted = exportPem(signer, { passphrase: "pass" });
      const copies = [
        authorSignerFromPem(exportPem(signer)),
        authorSignerFromPem(encrypted, { passphrase: "pass" }),
        authorSignerFromPkcs8(exportPkcs8(signer)),
        authorSignerFromJwk(exportJwk(signer)),
        authorSignerFromJwk(JSON.stringify(exportJwk(signer))),
      ];
      for (const copy of copies) expect([copy.algorithm, copy.keyId]).toEqual([algorithm, signer.keyId]);
    });
  }

  it("come from the older PEM forms of EC and RSA keys too", () => {
    const ec = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
    for (const [algorithm, pem, publicKey] of [
      ["ecdsa-p256", ec.privateKey.export({ format: "pem", type: "sec1" }), ec.publicKey],
      ["rsa-pss", rsa.privateKey.export({ format: "pem", type: "pkcs1" }), rsa.publicKey],
    ] as const) {
      const signer = authorSignerFromPem(pem as string);
      expect(signer.algorithm).toBe(algorithm);
      expect(encodeHex(signer.spki)).toBe(publicKey.export({ format: "der", type: "spki" }).toString("hex"));
    }
  });

  it("have an SPKI with an uncompressed point, however the private key is written", () => {
    // SEC 1 with a compressed public point, made from the same scalar.
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const { d, x, y } = privateKey.export({ format: "jwk" });
    const bytes = (text: string | undefined): Buffer => Buffer.from(text!, "base64url");
    const prefix = Buffer.of(2 + (bytes(y).at(-1)! & 1));
    const sec1 = Buffer.concat([
      Buffer.from("30570201010420", "hex"),
      bytes(d),
      Buffer.from("a00a06082a8648ce3d030107a124032200", "hex"),
      prefix,
      bytes(x),
    ]);
    const pem = `-----BEGIN EC PRIVATE KEY-----\n${sec1.toString("base64")}\n-----END EC PRIVATE KEY-----\n`;
    expect(encodeHex(authorSignerFromPem(pem).spki)).toBe(
      publicKey.export({ format: "der", type: "spki" }).toString("hex"),
    );
  });

  it("are refused where the formats have no algorithm for them", () => {
    const refused = [
      generateKeyPairSync("ec", { namedCurve: "P-521" }),
      generateKeyPairSync("ed448"),
      generateKeyPairSync("x25519"),
      generateKeyPairSync("rsa-pss", { modulusLength: 2048 }),
      generateKeyPairSync("rsa", { modulusLength: 1024 }),
    ];
    for (const { privateKey } of refused) {
      const pem = privateKey.export({ format: "pem", type: "pkcs8" }) as string;
      expect(() => authorSignerFromPem(pem)).toThrow(expect.objectContaining({ code: "malformed-key" }));
    }
  });

  it("are refused when their public half belongs to another key", () => {
    const [a, b] = [generateAuthorKey("ecdsa-p256"), generateAuthorKey("ecdsa-p256")].map((key) => exportJwk(key));
    const mixed = (der: Uint8Array, mine: string, theirs: string): Uint8Array =>
      Buffer.from(encodeHex(der).replace(mine, theirs), "hex");
    const hexOf = (jwk: typeof a): string =>
      Buffer.concat([Buffer.from(jwk!.x!, "base64url"), Buffer.from(jwk!.y!, "base64url")]).toString("hex");
    const der = exportPkcs8(authorSignerFromJwk(a!));
    expect(encodeHex(der)).toContain(hexOf(a));
    expect(() => authorSignerFromPkcs8(mixed(der, hexOf(a), hexOf(b)))).toThrow(
      expect.objectContaining({
        code: "malformed-key",
        message: "private key: its public half is not that of its private half",
      }),
    );
    expect(() => authorSignerFromJwk({ ...a!, x: b!.x!, y: b!.y! })).toThrow(
      expect.objectContaining({ code: "malformed-key" }),
    );
  });

  it("in damaged files are malformed-key or wrong-passphrase, never another error", () => {
    const { privateKey: ec } = generateKeyPairSync("ec", { namedCurve: "P-384" });
    const { privateKey: rsa } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    const { privateKey: edwards } = generateKeyPairSync("ed25519");
    // 2,048 iterations, as Node writes them, keep this quick.
    const options = { format: "der", type: "pkcs8", cipher: "aes-256-cbc", passphrase: "pass" } as const;
    const files = [
      ec.export({ format: "der", type: "pkcs8" }),
      rsa.export({ format: "der", type: "pkcs8" }),
      ec.export(options),
      edwards.export(options),
    ];
    const damage = fc.record({
      which: fc.nat({ max: files.length - 1 }),
      at: fc.nat({ max: 2000 }),
      mask: fc.integer({ min: 1, max: 255 }),
      isCut: fc.boolean(),
    });
    let refused = 0;
    fc.assert(
      fc.property(damage, ({ which, at, mask, isCut }) => {
        const der = Uint8Array.from(files[which]!);
        const place = at % der.length;
        der[place]! ^= mask;
        try {
          authorSignerFromPkcs8(isCut ? der.subarray(0, place) : der, { passphrase: "pass" });
        } catch (error) {
          expect(["malformed-key", "wrong-passphrase"]).toContain(isTallystickError(error) ? error.code : error);
          refused++;
        }
      }),
      { seed: 20_261_120, numRuns: 150 },
    );
    expect(refused).toBeGreaterThan(100);
  });

  it("of a seed sign deterministically", async () => {
    for (const algorithm of ["ed25519", "ml-dsa-65"] as const) {
      const [a, b] = [authorSignerFromSeed(algorithm, SEED), authorSignerFromSeed(algorithm, SEED)];
      expect(encodeHex(await a.sign(SEED))).toBe(encodeHex(await b.sign(SEED)));
    }
    expect(() => authorSignerFromSeed("ed25519", SEED.subarray(1))).toThrow("seed: expected 32 bytes, got 31");
  });

  it("have their ECDSA signatures brought to low s without changing what they say", async () => {
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "secp256k1" });
    const spki = createPublicKey(privateKey).export({ format: "der", type: "spki" });
    let changed = 0;
    for (let i = 0; i < 32; i++) {
      const message = Uint8Array.of(i);
      const signature = sign("sha256", message, { key: privateKey, dsaEncoding: "ieee-p1363" });
      const low = withLowS("ecdsa-secp256k1", signature);
      if (encodeHex(low) !== encodeHex(signature)) changed++;
      expect(await verifySignature("ecdsa-secp256k1", spki, message, low)).toBe(true);
    }
    expect(changed).toBeGreaterThan(2);
    expect(changed).toBeLessThan(30);
  });
});
