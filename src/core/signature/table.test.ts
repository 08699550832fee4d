import { createHash, generateKeyPairSync, sign } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { ed25519 } from "@noble/curves/ed25519.js";
import { shake128 } from "@noble/hashes/sha3.js";
import { ml_dsa44 } from "@noble/post-quantum/ml-dsa.js";
import { build } from "esbuild";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { generatePrivateKey } from "../../keys/private-key.ts";
import { systemRandom } from "../../ledger/random.ts";
import { bytesEqual, decodeHex, encodeHex, encodeUtf8 } from "../encoding.ts";
import { isTallystickError } from "../errors.ts";
import { algorithmOfSpki, formatSpki, parseSpki } from "./public-key.ts";
import * as nodeVariant from "./table.ts";

type Table = typeof nodeVariant;

interface Vectors {
  readonly groups: readonly {
    readonly algorithm: nodeVariant.Algorithm;
    readonly title: string;
    readonly spki: string;
    readonly cases: readonly {
      readonly title: string;
      readonly message: string;
      readonly signature: string;
      readonly valid: boolean;
    }[];
  }[];
  readonly refused: readonly { readonly algorithm: string; readonly title: string; readonly spki: string }[];
}

const vectors = JSON.parse(
  readFileSync(new URL("../../../vectors/signatures.json", import.meta.url), "utf8"),
) as Vectors;
const bytes = (hex: string): Uint8Array => decodeHex(hex, { code: "malformed-signature" });
const SEED = { seed: 20_261_120 };

// The portable variant as a browser gets it: bundled for browsers, where any `node:` import fails the build.
let folder: string;
let portable: Table;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "tallystick-portable-"));
  const outfile = join(folder, "table.mjs");
  await build({
    entryPoints: [join(import.meta.dirname, "table.ts")],
    outfile,
    bundle: true,
    platform: "browser",
    format: "esm",
    conditions: ["tallystick-source"],
  });
  expect(readFileSync(outfile, "utf8")).not.toMatch(/from\s*"node:|require\("|createPublicKey/);
  portable = (await import(pathToFileURL(outfile).href)) as Table;
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const VARIANTS = [
  ["on OpenSSL", (): Table => nodeVariant],
  ["portably", (): Table => portable],
] as const;

async function codeOf(action: () => Promise<unknown>): Promise<unknown> {
  try {
    return await action();
  } catch (error) {
    return isTallystickError(error) ? error.code : error;
  }
}

describe("signature verification", () => {
  for (const [where, table] of VARIANTS) {
    for (const algorithm of nodeVariant.ALGORITHM_NAMES) {
      it(`of ${algorithm} ${where} gives the verdict of every vector`, async () => {
        const wrong: string[] = [];
        let count = 0;
        for (const { spki, title, cases } of vectors.groups.filter((group) => group.algorithm === algorithm)) {
          for (const { title: what, message, signature, valid } of cases) {
            const verdict = await codeOf(() =>
              table().verifySignature(algorithm, bytes(spki), bytes(message), bytes(signature)),
            );
            if (verdict !== valid) wrong.push(`${title}, ${what}: ${String(verdict)}`);
            count++;
          }
        }
        expect(wrong).toEqual([]);
        expect(count).toBeGreaterThan(14);
      });

      it(`of ${algorithm} ${where} refuses every malformed key`, async () => {
        const refused = vectors.refused.filter((row) => row.algorithm === algorithm);
        const accepted: string[] = [];
        for (const { title, spki } of refused) {
          const signature = new Uint8Array(64);
          const verdict = await codeOf(() =>
            table().verifySignature(algorithm, bytes(spki), new Uint8Array(), signature),
          );
          const checked = await codeOf(async () => table().checkSpki(algorithm, bytes(spki)));
          if (verdict !== "malformed-key" || checked !== "malformed-key") accepted.push(title);
        }
        expect(accepted).toEqual([]);
        expect(refused.length).toBeGreaterThan(7);
      });
    }

    it(`${where} refuses keys of one algorithm under the name of any other, and unknown names`, async () => {
      for (const { algorithm, spki, cases } of vectors.groups) {
        const { message, signature } = cases[0]!;
        for (const other of [...nodeVariant.ALGORITHM_NAMES, "ed448", "", "constructor", "__proto__"]) {
          if (other === algorithm) continue;
          const verdict = codeOf(() => table().verifySignature(other, bytes(spki), bytes(message), bytes(signature)));
          expect(await verdict, `${algorithm} as ${other}`).toBe("malformed-key");
        }
      }
    });

    it(`${where} takes raw Ed25519 and ML-DSA-44 keys`, async () => {
      for (const [algorithm, verify, headerBytes] of [
        ["ed25519", table().verifyEd25519, 12],
        ["ml-dsa-44", table().verifyMlDsa44, 22],
      ] as const) {
        for (const { spki, cases } of vectors.groups.filter((group) => group.algorithm === algorithm).slice(0, 3)) {
          const raw = bytes(spki).subarray(headerBytes);
          for (const { message, signature, valid } of cases.slice(0, 6)) {
            expect(await verify(raw, bytes(message), bytes(signature))).toBe(valid);
          }
          expect(await codeOf(() => verify(raw.subarray(1), new Uint8Array(), new Uint8Array(64)))).toBe(
            "malformed-key",
          );
        }
      }
      const smallOrder = new Uint8Array(32);
      expect(await codeOf(() => table().verifyEd25519(smallOrder, new Uint8Array(), new Uint8Array(64)))).toBe(
        "malformed-key",
      );
    });

    it(`${where} leaves its arguments as they were, also as views into a larger buffer`, async () => {
      for (const { algorithm, spki, cases } of vectors.groups) {
        const { message, signature, valid } = cases[0]!;
        const parts = [spki, message, signature].map((part) => Buffer.from(`ffff${part}ffff`, "hex"));
        const before = parts.map((part) => part.toString("hex"));
        const [a, b, c] = parts.map((part) => part.subarray(2, part.length - 2)) as [Buffer, Buffer, Buffer];
        expect(await table().verifySignature(algorithm, a, b, c)).toBe(valid);
        expect(parts.map((part) => part.toString("hex"))).toEqual(before);
      }
    });
  }

  it("gives equal verdicts on OpenSSL and portably for damaged signatures and keys", async () => {
    const cases = vectors.groups.flatMap((group) => group.cases.slice(0, 3).map((one) => ({ ...group, ...one })));
    const damage = fc.record({
      at: fc.nat({ max: 10_000 }),
      mask: fc.integer({ min: 1, max: 255 }),
      part: fc.constantFrom("spki", "signature", "message"),
      which: fc.nat({ max: cases.length - 1 }),
    });
    let refusedKeys = 0;
    await fc.assert(
      fc.asyncProperty(damage, async ({ at, mask, part, which }) => {
        const { algorithm, ...fields } = cases[which]!;
        const parts = { spki: bytes(fields.spki), message: bytes(fields.message), signature: bytes(fields.signature) };
        if (parts[part].length > 0) parts[part][at % parts[part].length]! ^= mask;
        const verdicts = [nodeVariant, portable].map((table) =>
          codeOf(() => table.verifySignature(algorithm, parts.spki, parts.message, parts.signature)),
        );
        const [native, other] = await Promise.all(verdicts);
        expect(native).toBe(other);
        expect([true, false, "malformed-key"]).toContain(native);
        if (native === "malformed-key") refusedKeys++;
        else if (parts[part].length > 0) expect(native).toBe(false);
      }),
      { ...SEED, numRuns: 400 },
    );
    expect(refusedKeys).toBeGreaterThan(20);
  });

  it("gives equal verdicts for signatures of other implementations", async () => {
    const message = fc.uint8Array({ maxLength: 200 });
    for (const algorithm of nodeVariant.ALGORITHM_NAMES) {
      const key = generatePrivateKey(algorithm, systemRandom);
      await fc.assert(
        fc.asyncProperty(message, async (text) => {
          const signature = Uint8Array.from(await key.sign(text));
          for (const table of [nodeVariant, portable]) {
            expect(await table.verifySignature(algorithm, key.spki, text, signature)).toBe(true);
          }
        }),
        { ...SEED, numRuns: algorithm.startsWith("ml-dsa") ? 3 : 10 },
      );
    }
  });

  it("accepts about half of what OpenSSL signs with ECDSA: the half with low s", async () => {
    const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    const spki = publicKey.export({ format: "der", type: "spki" });
    let accepted = 0;
    for (let i = 0; i < 64; i++) {
      const message = encodeUtf8(String(i));
      const signature = sign("sha256", message, { key: privateKey, dsaEncoding: "ieee-p1363" });
      const verdict = await nodeVariant.verifySignature("ecdsa-p256", spki, message, signature);
      // n/2 begins with 7f ff ff ff 80: no s between that and 80 00 … turns up.
      expect(verdict).toBe(signature[32]! < 0x80);
      if (verdict) accepted++;
    }
    expect(accepted).toBeGreaterThan(5);
    expect(accepted).toBeLessThan(59);
  });

  it("refuses an Ed25519 signature that noble's cofactored verification takes", async () => {
    const residue = vectors.groups
      .flatMap((group) => group.cases.map((one) => ({ ...group, ...one })))
      .filter((one) => one.algorithm === "ed25519" && one.title.includes("small-order residue"));
    const cofactored = residue.filter(({ spki, message, signature }) =>
      ed25519.verify(bytes(signature), bytes(message), bytes(spki).subarray(12)),
    );
    expect(cofactored.length).toBeGreaterThan(50);
    for (const { spki, message, signature } of cofactored) {
      expect(await portable.verifySignature("ed25519", bytes(spki), bytes(message), bytes(signature))).toBe(false);
    }
  });

  it("of ML-DSA-44 matches the accumulated digest of 100 keys and signatures", async () => {
    // C2SP/CCTV ML-DSA/accumulated: seeds from SHAKE128(""), public keys and signatures of "" into another SHAKE128.
    const seeds = shake128.create({ dkLen: 32 });
    const accumulated = shake128.create({ dkLen: 32 });
    for (let i = 0; i < 100; i++) {
      const { publicKey, secretKey } = ml_dsa44.keygen(seeds.xof(32));
      const signature = ml_dsa44.sign(new Uint8Array(), secretKey, { extraEntropy: false });
      accumulated.update(publicKey).update(signature);
      if (i % 20 === 0) expect(await nodeVariant.verifyMlDsa44(publicKey, new Uint8Array(), signature)).toBe(true);
    }
    expect(encodeHex(accumulated.digest())).toBe("d51148e1f9f4fa1a723a6cf42e25f2a99eb5c1b378b3d2dbbd561b1203beeae4");
  });

  it("keeps verifying with more keys than it remembers", async () => {
    const [first] = vectors.groups.filter((group) => group.algorithm === "ed25519");
    const { message, signature } = first!.cases[0]!;
    const verify = (): Promise<boolean> =>
      nodeVariant.verifySignature("ed25519", bytes(first!.spki), bytes(message), bytes(signature));
    expect(await verify()).toBe(true);
    for (let i = 0; i < 600; i++) {
      const raw = ed25519.Point.BASE.multiply(BigInt(i + 2)).toBytes();
      expect(await nodeVariant.verifyEd25519(raw, new Uint8Array(), new Uint8Array(64))).toBe(false);
    }
    expect(await verify()).toBe(true);
  });
});

describe("public keys", () => {
  it("are told apart by their SPKI", () => {
    for (const { algorithm, spki } of vectors.groups) expect(algorithmOfSpki(bytes(spki))).toBe(algorithm);
    for (const spki of ["", "30", "302a300506032b656e032100", "00".repeat(44)]) {
      expect(algorithmOfSpki(bytes(spki))).toBeUndefined();
    }
  });

  it("come back from their raw form", () => {
    for (const { algorithm, spki } of vectors.groups) {
      const key = parseSpki(algorithm, bytes(spki));
      if (algorithm !== "rsa-pss") expect(bytesEqual(formatSpki(algorithm, key.raw), bytes(spki))).toBe(true);
      else expect(key.rsa?.modulusBits).toBeGreaterThanOrEqual(2048);
    }
    expect(() => formatSpki("ed25519", new Uint8Array(31))).toThrow(
      expect.objectContaining({ code: "malformed-key", message: "ed25519 public key: expected 32 bytes, got 31" }),
    );
  });

  it("say what is wrong with them", () => {
    const refusal = (title: string): string => {
      const { algorithm, spki } = vectors.refused.find((row) => row.title === title)!;
      try {
        parseSpki(algorithm as nodeVariant.Algorithm, bytes(spki));
      } catch (error) {
        return (error as Error).message;
      }
      return "accepted";
    };
    expect(refusal("a byte more")).toBe("ed25519 public key: expected 44 bytes of SPKI, got 45");
    expect(refusal("small order 1")).toBe("ed25519 public key: expected a point that is not of small order");
    expect(refusal("non-canonical: y = p + 2")).toBe("ed25519 public key: expected a canonical point");
    expect(refusal("off the curve: y = 2")).toBe("ed25519 public key: expected a point on the curve");
    expect(refusal("a hybrid point")).toBe("ecdsa-p256 public key: expected an uncompressed point");
    expect(refusal("x = y = 0")).toBe("ecdsa-p256 public key: expected a point on the curve");
    expect(refusal("all ones")).toBe("ecdsa-p256 public key: expected coordinates below the field prime");
    expect(refusal("a modulus of 1024 bits")).toBe(
      "rsa-pss public key: expected a modulus of 2048 to 8192 bits, got 1024",
    );
    expect(refusal("an even modulus")).toBe("rsa-pss public key: expected an odd modulus");
    expect(refusal("exponent 1")).toBe("rsa-pss public key: expected an odd public exponent of 3 to 2^32-1");
    expect(refusal("a negative modulus")).toBe("rsa-pss public key: expected DER");
  });

  it("are identified by the SHA-256 of their SPKI", () => {
    const spki = bytes(vectors.groups[0]!.spki);
    expect(nodeVariant.keyIdOf(spki)).toBe(createHash("sha256").update(spki).digest("hex"));
  });
});
