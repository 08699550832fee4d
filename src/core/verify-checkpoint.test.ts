import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { encodeUtf8 } from "./encoding.ts";
import { recogniseFile } from "./file-kind.ts";
import { NOTE_BYTES_MAX } from "./limits.ts";
import { exitCodeOf, type FindingCode, VERDICT_NAMES, type VerdictName, type VerdictStatus } from "./report.ts";
import { reportCheckpoint } from "./verify-checkpoint.ts";

interface Case {
  readonly title: string;
  readonly policy: string | null;
  readonly checkpoint: string;
  readonly held: string | null;
  readonly exit: number;
  readonly findings: readonly FindingCode[];
  readonly verdicts: Readonly<Record<VerdictName, VerdictStatus>>;
}

interface Vectors {
  readonly policies: Readonly<Record<string, string>>;
  readonly cases: readonly Case[];
  readonly unrecognised: readonly { readonly title: string; readonly file: string }[];
}

const vectors = JSON.parse(readFileSync(new URL("../../vectors/checkpoints.json", import.meta.url), "utf8")) as Vectors;
const optionsOf = ({ policy, held }: Pick<Case, "policy" | "held">) => ({
  allowSelfAsserted: false,
  policy: policy === null ? undefined : vectors.policies[policy]!,
  expect: held ?? undefined,
});
const SOUND = vectors.cases.find(({ title }) => title === "a checkpoint with the quorum")!;

describe("reportCheckpoint", () => {
  it.each(vectors.cases.map((one) => [one.title, one] as const))("answers as the vectors say: %s", async (_, one) => {
    expect(recogniseFile(encodeUtf8(one.checkpoint))).toBe("checkpoint");
    const report = await reportCheckpoint(encodeUtf8(one.checkpoint), optionsOf(one));
    const verdicts = Object.fromEntries(VERDICT_NAMES.map((name) => [name, report.verdicts[name].status]));
    expect({ exit: exitCodeOf(report), findings: report.findings.map(({ code }) => code), verdicts }).toEqual({
      exit: one.exit,
      findings: one.findings,
      verdicts: one.verdicts,
    });
    expect(report.kind).toBe("checkpoint");
    expect(report.pin).toBe(one.policy === null ? "none" : "policy");
  });

  it.each(vectors.unrecognised.map(({ title, file }) => [title, file] as const))(
    "is not asked of other files: %s",
    (_, file) => {
      expect(recogniseFile(file)).toBe(null);
      expect(recogniseFile(encodeUtf8(file))).toBe(null);
    },
  );

  it("is asked of a file of at most 262,144 bytes", async () => {
    const largest = encodeUtf8(SOUND.checkpoint.padEnd(NOTE_BYTES_MAX - 4, "x"));
    expect(largest.length).toBe(262_144);
    expect(recogniseFile(largest)).toBe("checkpoint");
    expect(exitCodeOf(await reportCheckpoint(largest, optionsOf(SOUND)))).toBe(1);
    expect(recogniseFile(Buffer.concat([largest, Buffer.from("x")]))).toBe(null);
  });

  it("says which ledger, of what size, with which root, and since when", async () => {
    const report = await reportCheckpoint(SOUND.checkpoint, optionsOf(SOUND));
    const [origin, size, root] = SOUND.checkpoint.split("\n");
    expect(report.origin).toBe(origin);
    expect(report.size).toBe(Number(size));
    expect(report.root).toBe(Buffer.from(root!, "base64").toString("hex"));
    expect(report.range).toBe(null);
    expect(report.timeline.notAfter).toMatchObject([{ size: 5, time: "2026-01-02T03:05:00.000Z" }]);
    expect(report.verdicts.authenticity.basis).toMatch(/^checkpoint of size 5 signed by example\.com\/audit\+/);
    expect(report.summary).toBe(
      "checkpoint of example.com/audit, size 5: signed by the log; the entries were not seen",
    );
  });

  it("believes no byte but those that were signed", async () => {
    const bytes = encodeUtf8(SOUND.checkpoint);
    // Up to the lines of keys: what is changed in a line of a key is a line of another key, or does not verify.
    const signed = SOUND.checkpoint.indexOf("\n\n") + 2;
    for (let at = 0; at < signed; at++) {
      const changed = Uint8Array.from(bytes);
      changed[at]! ^= 1;
      const report = await reportCheckpoint(changed, optionsOf(SOUND));
      expect(exitCodeOf(report), `byte ${at}`).toBe(1);
    }
  });

  it("does not say that it agrees with a checkpoint of another ledger", async () => {
    const one = vectors.cases.find(({ title }) => title === "the held checkpoint is of another ledger")!;
    const report = await reportCheckpoint(one.checkpoint, optionsOf(one));
    expect(report.verdicts.completeness.basis).toBe("a checkpoint alone: there are no entries");
    expect(report.findings[0]!.evidence).toBe("held checkpoint of size 5");
  });

  it("refuses a held checkpoint that is none", async () => {
    const options = { ...optionsOf(SOUND), expect: "hello\n" };
    await expect(reportCheckpoint(SOUND.checkpoint, options)).rejects.toMatchObject({ code: "malformed-config" });
  });
});
