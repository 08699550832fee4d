import { execFileSync } from "node:child_process";
import { createPrivateKey, generateKeyPairSync } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { ml_dsa44 } from "@noble/post-quantum/ml-dsa.js";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { encodeHex, encodeUtf8 } from "../core/encoding.ts";
import { isTallystickError } from "../core/errors.ts";
import { sha256, sha256Hex } from "../core/hash.ts";
import { exportJwk, exportPem, exportPkcs8 } from "./key-export.ts";
import {
  generateLogKey,
  isLocalSigner,
  logSignerFromJwk,
  logSignerFromPem,
  logSignerFromPkcs8,
  logSignerFromSeed,
} from "./local-signer.ts";

const folder = mkdtempSync(join(tmpdir(), "tallystick-keys-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const ALGORITHMS = ["ed25519", "ml-dsa-44"] as const;
const SEED = sha256(encodeUtf8("local signer test"));

function errorOf(run: () => unknown): { code: string; message: string } {
  try {
    run();
  } catch (error) {
    if (isTallystickError(error)) return { code: error.code, message: error.message };
    throw error;
  }
  throw new Error("expected an error");
}

function openssl(...args: string[]): Buffer {
  return execFileSync("openssl", args, { stdio: ["ignore", "pipe", "pipe"] });
}

describe("log keys", () => {
  for (const algorithm of ALGORITHMS) {
    it(`${algorithm}: PEM, PKCS#8 and JWK give the same key back`, () => {
      const signer = generateLogKey(algorithm);
      for (const copy of [
        logSignerFromPem(exportPem(signer)),
        logSignerFromPkcs8(exportPkcs8(signer)),
        logSignerFromJwk(exportJwk(signer)),
        logSignerFromJwk(JSON.stringify(exportJwk(signer))),
      ]) {
        expect(copy.algorithm).toBe(algorithm);
        expect(encodeHex(copy.publicKey)).toBe(encodeHex(signer.publicKey));
      }
    });

    it(`${algorithm}: an encrypted key opens with its passphrase alone`, () => {
      const pem = exportPem(logSignerFromSeed(algorithm, SEED), { passphrase: "correct horse" });
      expect(pem).toContain("-----BEGIN ENCRYPTED PRIVATE KEY-----\n");
      expect(logSignerFromPem(pem, { passphrase: "correct horse" }).algorithm).toBe(algorithm);
      expect(errorOf(() => logSignerFromPem(pem, { passphrase: "correct horsE" }))).toEqual({
        code: "wrong-passphrase",
        message: "private key: the passphrase does not open it",
      });
      expect(errorOf(() => logSignerFromPem(pem))).toEqual({
        code: "wrong-passphrase",
        message: "private key: it is encrypted, so a passphrase is needed",
      });
    });

    it(`${algorithm}: shows its secret to nobody who prints it`, () => {
      const signer = logSignerFromSeed(algorithm, SEED);
      const shown = inspect(signer, { depth: null, showHidden: true, maxArrayLength: null }) + JSON.stringify(signer);
      expect(shown).not.toContain(encodeHex(SEED));
      expect(Object.keys(signer)).toEqual(["algorithm", "publicKey", "sign"]);
      expect(isLocalSigner(signer)).toBe(true);
      expect(isLocalSigner({ ...signer })).toBe(false);
      expect(() => exportPem({ ...signer })).toThrow(TypeError);
    });

    it(`${algorithm}: a seed fixes key and signatures`, async () => {
      const message = encodeUtf8("again");
      const [a, b] = [logSignerFromSeed(algorithm, SEED), logSignerFromSeed(algorithm, SEED)];
      expect(encodeHex(await a.sign(message))).toBe(encodeHex(await b.sign(message)));
    });
  }

  it("makes ML-DSA-44 signatures that differ each time, unless from a seed", async () => {
    const signer = generateLogKey("ml-dsa-44");
    const message = encodeUtf8("hedged");
    expect(encodeHex(await signer.sign(message))).not.toBe(encodeHex(await signer.sign(message)));
  });

  it("reproduces the known ML-DSA-44 key and deterministic signature", async () => {
    // SHA-256("audit-ledger ml-dsa-44 test cosigner"); key and signature checked with pyca/cryptography on OpenSSL.
    const signer = logSignerFromSeed("ml-dsa-44", sha256(encodeUtf8("audit-ledger ml-dsa-44 test cosigner")));
    expect(sha256Hex(signer.publicKey)).toBe("e76b81b085396c0d7e881bd2d560fd4026dfcc890186fe762e96becfc8450bed");
  });

  it("reads Ed25519 keys of OpenSSL, plain and encrypted with PBKDF2 and with scrypt", () => {
    const plain = join(folder, "plain.pem");
    openssl("genpkey", "-algorithm", "ed25519", "-out", plain);
    const signer = logSignerFromPem(readFileSync(plain, "utf8"));
    for (const options of [
      ["-v2", "aes-256-cbc"],
      ["-v2", "aes-128-cbc", "-v2prf", "hmacWithSHA512"],
      ["-v2", "des3", "-v2prf", "hmacWithSHA1"],
      ["-scrypt"],
    ]) {
      const pem = openssl("pkcs8", "-topk8", "-in", plain, ...options, "-passout", "pass:pässword").toString();
      const copy = logSignerFromPem(pem, { passphrase: "pässword" });
      expect(encodeHex(copy.publicKey), options.join(" ")).toBe(encodeHex(signer.publicKey));
      expect(errorOf(() => logSignerFromPem(pem, { passphrase: "password" })).code).toBe("wrong-passphrase");
    }
  });

  it("writes encrypted keys that OpenSSL and Node open", () => {
    const file = join(folder, "encrypted.pem");
    const signer = generateLogKey();
    writeFileSync(file, exportPem(signer, { passphrase: "swordfish" }));
    const opened = openssl("pkey", "-in", file, "-passin", "pass:swordfish").toString();
    expect(logSignerFromPem(opened).publicKey).toEqual(signer.publicKey);
    const native = createPrivateKey({ key: readFileSync(file), passphrase: "swordfish" });
    expect(native.asymmetricKeyType).toBe("ed25519");
  });

  it("reads the ML-DSA-44 forms seed and seed with expanded key, and refuses the expanded key alone", () => {
    const signer = logSignerFromSeed("ml-dsa-44", SEED);
    const seedForm = exportPkcs8(signer);
    expect(encodeHex(seedForm)).toBe(`3034020100300b060960864801650304031104228020${encodeHex(SEED)}`);
    for (const [make, expected] of [
      [bothForm, undefined],
      [expandedForm, "this ML-DSA key holds only the expanded form; export it together with its seed"],
    ] as const) {
      if (expected === undefined) expect(logSignerFromPkcs8(make(SEED)).publicKey).toEqual(signer.publicKey);
      else expect(errorOf(() => logSignerFromPkcs8(make(SEED))).message).toBe(`private key: ${expected}`);
    }
    const other = bothForm(SEED);
    other[other.length - 1]! ^= 1;
    expect(errorOf(() => logSignerFromPkcs8(other)).message).toContain("public half is not that of its private half");
  });

  it("refuses a public half that belongs to another key", () => {
    const [a, b] = [exportJwk(generateLogKey()), exportJwk(generateLogKey())];
    const expected = { code: "malformed-key", message: "private key: its public half is not that of its private half" };
    expect(errorOf(() => logSignerFromJwk({ ...a, x: b.x! }))).toEqual(expected);
    const [c, d] = [exportJwk(generateLogKey("ml-dsa-44")), exportJwk(generateLogKey("ml-dsa-44"))];
    expect(errorOf(() => logSignerFromJwk({ ...c, pub: d.pub! }))).toEqual(expected);
  });

  it("refuses algorithms that cannot be log keys", () => {
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const pem = privateKey.export({ format: "pem", type: "pkcs8" }) as string;
    expect(errorOf(() => logSignerFromPem(pem))).toEqual({
      code: "malformed-key",
      message: "log key: expected ed25519 or ml-dsa-44, got ecdsa-p256",
    });
  });

  it("refuses what is not one private key, without showing it", () => {
    const pem = exportPem(generateLogKey());
    const cases: [string, string][] = [
      ["", `expected a PEM block "PRIVATE KEY" or "ENCRYPTED PRIVATE KEY"`],
      [pem + exportPem(generateLogKey()), "expected one PEM block with a private key, got 2"],
      [pem.replace("M", "!"), "expected a PEM block"],
      [pem.replaceAll("PRIVATE KEY", "OPENSSH PRIVATE KEY"), "this kind of PEM block is not supported"],
    ];
    for (const [text, message] of cases) {
      const error = errorOf(() => logSignerFromPem(text));
      expect(error.code).toBe("malformed-key");
      expect(error.message).toContain(message);
    }
    const secret = "hunter2hunter2hunter2";
    for (const run of [() => logSignerFromJwk(`{"kty":"OKP","d":"${secret}`), () => logSignerFromJwk(`"${secret}"`)]) {
      expect(errorOf(run)).toEqual({ code: "malformed-key", message: "private key: expected a JWK in JSON" });
    }
  });

  it("answers every damaged key file with malformed-key or another valid key, never another error", () => {
    const der = exportPkcs8(logSignerFromSeed("ed25519", SEED));
    const position = fc.nat({ max: der.length - 1 });
    fc.assert(
      fc.property(position, fc.integer({ min: 1, max: 255 }), position, (at, mask, cut) => {
        const damaged = Uint8Array.from(der);
        damaged[at]! ^= mask;
        for (const bytes of [damaged, damaged.subarray(0, cut)]) {
          try {
            logSignerFromPkcs8(bytes);
          } catch (error) {
            expect(isTallystickError(error) ? error.code : error).toBe("malformed-key");
          }
        }
      }),
      { seed: 20_261_120, numRuns: 300 },
    );
  });
});

function bothForm(seed: Uint8Array): Uint8Array {
  return mlDsaPkcs8(
    Buffer.concat([Buffer.from("30820a260420", "hex"), seed, Buffer.from("04820a00", "hex"), expanded(seed)]),
  );
}

function expandedForm(seed: Uint8Array): Uint8Array {
  return mlDsaPkcs8(Buffer.concat([Buffer.from("04820a00", "hex"), expanded(seed)]));
}

function mlDsaPkcs8(inner: Buffer): Uint8Array {
  const algorithm = Buffer.from("020100300b0609608648016503040311", "hex");
  const header = Buffer.from([0x04, 0x82, inner.length >> 8, inner.length & 255]);
  const content = Buffer.concat([algorithm, header, inner]);
  return Buffer.concat([Buffer.from([0x30, 0x82, content.length >> 8, content.length & 255]), content]);
}

function expanded(seed: Uint8Array): Uint8Array {
  return ml_dsa44.keygen(seed).secretKey;
}
