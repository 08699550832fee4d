import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { encodeUtf8 } from "./encoding.ts";
import { splitLines } from "./file-lines.ts";
import { exitCodeOf, type FindingCode, type VerdictName, type VerdictStatus } from "./report.ts";
import { verifyExport } from "./verify-export.ts";

interface Case {
  readonly title: string;
  readonly policy: string | null;
  readonly selfAsserted?: true;
  readonly export: string;
  readonly exit: number;
  readonly findings: readonly { readonly code: FindingCode; readonly index?: number }[];
  readonly verdicts: Readonly<Record<VerdictName, VerdictStatus>>;
}

interface Vectors {
  readonly policies: Readonly<Record<string, string>>;
  readonly cases: readonly Case[];
}

const vectors = JSON.parse(readFileSync(new URL("../../vectors/exports.json", import.meta.url), "utf8")) as Vectors;
const pinning = ({ policy, selfAsserted }: Pick<Case, "policy" | "selfAsserted">) => ({
  allowSelfAsserted: selfAsserted === true,
  ...(policy === null ? {} : { policy: vectors.policies[policy]! }),
});
const linesOf = (file: string | Uint8Array) => () => splitLines([typeof file === "string" ? encodeUtf8(file) : file]);

/** Order within a report is free. */
const place = ({ code, index }: { readonly code: string; readonly index?: number | undefined }): string =>
  `${code}${index === undefined ? "" : ` at ${index}`}`;

describe("verifyExport", () => {
  it.each(vectors.cases)("answers as the vector: $title, $policy", async (vector) => {
    const report = await verifyExport(linesOf(vector.export), pinning(vector));
    const verdicts = Object.fromEntries(Object.entries(report.verdicts).map(([name, { status }]) => [name, status]));
    expect(report.findings.map(place).sort()).toEqual(vector.findings.map(place).sort());
    expect(verdicts).toEqual(vector.verdicts);
    expect(exitCodeOf(report)).toBe(vector.exit);
    expect(JSON.parse(JSON.stringify(report))).toEqual(report);
  });
});
