import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { createRandom } from "../../test/interop/random-evidence.mjs";
import { type Certificate, parseCertificateFile } from "./anchor-proof/certificate.ts";
import { bytesSource } from "./byte-source.ts";
import { decodeBase64, encodeUtf8 } from "./encoding.ts";
import { isTallystickError } from "./errors.ts";
import { exitCodeOf, type VerdictName, type VerdictStatus, type VerifyReport } from "./report.ts";
import { type VerifyPackageOptions, verifyPackage } from "./verify-package.ts";

interface Case {
  readonly title: string;
  readonly policy: string | null;
  readonly selfAsserted?: true;
  readonly expect?: string;
  readonly tsaRoots?: readonly string[];
  readonly requireAnchor?: boolean;
  readonly package: string;
  readonly exit: number;
  readonly error?: string;
  readonly findings: readonly { readonly code: string; readonly index?: number; readonly found?: string }[];
  readonly verdicts: Readonly<Record<VerdictName, VerdictStatus>>;
}

interface Vectors {
  readonly policies: Readonly<Record<string, string>>;
  readonly cases: readonly Case[];
}

const vectors = JSON.parse(readFileSync(new URL("../../vectors/packages.json", import.meta.url), "utf8")) as Vectors;

const certificates = (pem: string): readonly Certificate[] => parseCertificateFile(encodeUtf8(pem));

function optionsOf(vector: Case): VerifyPackageOptions {
  const { policy, selfAsserted = false, expect: held, tsaRoots = [], requireAnchor } = vector;
  return {
    ...(policy === null ? {} : { policy: vectors.policies[policy]! }),
    allowSelfAsserted: selfAsserted,
    expect: held,
    tsaRoots: tsaRoots.flatMap(certificates),
    requireAnchor,
  };
}

const bytesOf = (vector: Case): Uint8Array => decodeBase64(vector.package, "malformed-receipt");
const place = ({ code, index }: { readonly code: string; readonly index?: number | undefined }): string =>
  `${code}${index === undefined ? "" : ` at ${index}`}`;

describe("verifyPackage", () => {
  it.each(vectors.cases.filter(({ error }) => error === undefined))("answers as the vector: $title", async (vector) => {
    const report = await verifyPackage(bytesSource(bytesOf(vector)), optionsOf(vector));
    const verdicts = Object.fromEntries(Object.entries(report.verdicts).map(([name, { status }]) => [name, status]));
    expect(report.findings.map(place).sort()).toEqual(vector.findings.map(place).sort());
    for (const { code, found } of vector.findings) {
      if (found !== undefined) expect(report.findings.find((finding) => finding.code === code)?.found).toBe(found);
    }
    expect(verdicts).toEqual(vector.verdicts);
    expect(exitCodeOf(report)).toBe(vector.exit);
    expect(report.kind).toBe("package");
    expect(JSON.parse(JSON.stringify(report))).toEqual(report);
  });

  it.each(vectors.cases.filter(({ error }) => error !== undefined))("refuses as the vector: $title", async (vector) => {
    await expect(verifyPackage(bytesSource(bytesOf(vector)), optionsOf(vector))).rejects.toMatchObject({
      code: vector.error,
    });
  });

  it("answers with findings, never with an exception, whatever the bytes are", async () => {
    const random = createRandom(20261121);
    const honest = vectors.cases.filter(({ exit, policy }) => exit === 0 && policy !== null);
    let intact = 0;
    for (let i = 0; i < 600; i++) {
      const vector = random.pick(honest);
      const bytes = Uint8Array.from(bytesOf(vector));
      for (let times = 1 + random.below(3); times > 0; times--)
        bytes[random.below(bytes.length)] = random.chance(0.5) ? random.below(256) : bytes[random.below(bytes.length)]!;
      const damaged = random.chance(0.1) ? bytes.subarray(0, random.below(bytes.length)) : bytes;
      const report = await answerOf(damaged, vector);
      // A few replace a byte by itself.
      if (report?.ok === true) {
        intact += 1;
        expect(damaged).toEqual(bytesOf(vector));
      }
    }
    expect(intact).toBeLessThan(40);
    for (const bytes of [new Uint8Array(), new Uint8Array(22), new Uint8Array(1_000)]) {
      const report = await verifyPackage(bytesSource(bytes), { allowSelfAsserted: true });
      expect(report.findings).toMatchObject([{ code: "package-malformed", found: "zip-end" }]);
    }
  });

  it.each([true, false])(
    "says that an anchor is missing, asked for or not (%s), where verification stops early",
    async (requireAnchor) => {
      const broken = vectors.cases.find(
        ({ error, verdicts, findings }) =>
          error === undefined && verdicts.order === "notChecked" && findings[0]?.code === "file-malformed",
      );
      const files = [Buffer.from("PK"), bytesOf(broken!)];
      for (const file of files) {
        const { ok, requiredMissing } = await verifyPackage(bytesSource(file), {
          allowSelfAsserted: false,
          requireAnchor,
        });
        expect({ ok, requiredMissing }).toEqual({ ok: false, requiredMissing: requireAnchor ? ["anchor"] : [] });
      }
    },
  );

  it("reads no more of a file than it needs to refuse it", async () => {
    const read: number[] = [];
    const source = {
      sizeBytes: 4_000_000_000,
      read: async (offset: number, length: number) => {
        read.push(length);
        const end = Uint8Array.of(0x50, 0x4b, 5, 6, 0, 0, 0, 0, 255, 15, 255, 15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
        new DataView(end.buffer).setUint32(12, 4_000_000_000 - 22, true);
        return offset === 4_000_000_000 - 22 ? end : new Uint8Array(length);
      },
    };
    const report = await verifyPackage(source, { allowSelfAsserted: true });
    expect(report.findings).toMatchObject([{ found: "zip-central" }]);
    expect(read.reduce((sum, length) => sum + length, 0)).toBeLessThan(1_000_000);
  });

  it("passes on what goes wrong while it reads", async () => {
    const bytes = bytesOf(vectors.cases[0]!);
    let reads = 0;
    const source = (failing: number) => ({
      sizeBytes: bytes.length,
      read: async (offset: number, length: number) => {
        reads += 1;
        if (reads === failing) throw new RangeError("the disk is gone");
        return bytes.subarray(offset, offset + length);
      },
    });
    const options = optionsOf(vectors.cases[0]!);
    await verifyPackage(source(0), options);
    const all = reads;
    expect(all).toBeGreaterThan(10);
    for (let failing = 1; failing <= all; failing++) {
      reads = 0;
      await expect(verifyPackage(source(failing), options), `read ${failing}`).rejects.toThrow("the disk is gone");
    }
  });
});

/** The report; null where it is refused as of a newer version, or as what is read twice and differs. */
async function answerOf(bytes: Uint8Array, vector: Case): Promise<VerifyReport | null> {
  try {
    return await verifyPackage(bytesSource(bytes), optionsOf(vector));
  } catch (error) {
    if (!isTallystickError(error) || error.code !== "newer-format") throw error;
    return null;
  }
}
