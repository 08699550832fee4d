import { readFileSync } from "node:fs";
import { describe, expect, it, vi } from "vitest";
import { createRandom, damage } from "../../test/interop/random-evidence.mjs";
import { encodeUtf8 } from "./encoding.ts";
import { type ErrorCode, isTallystickError } from "./errors.ts";
import { type FileLine, splitLines } from "./file-lines.ts";
import { RECEIPT_BYTES_MAX } from "./limits.ts";
import { LineForecast } from "./line-forecast.ts";
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
  /** Of a filter that is proved: lines that are members, that are none, that are open. */
  readonly members?: readonly [number, number, number];
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

const named = (title: string): Case => vectors.cases.find((candidate) => candidate.title === title)!;

/** Order within a report is free. */
const place = ({ code, index }: { readonly code: string; readonly index?: number | undefined }): string =>
  `${code}${index === undefined ? "" : ` at ${index}`}`;

/** Lines of which one was dropped, repeated, or put elsewhere; or all are there twice. */
function disorder(random: ReturnType<typeof createRandom>, lines: readonly string[]): string[] {
  const at = 1 + random.below(Math.max(1, lines.length - 2));
  const line = lines[at] ?? "";
  const [before, after] = [lines.slice(0, at), lines.slice(at + 1)];
  const kind = random.below(4);
  if (kind === 0) return [...before, ...after];
  if (kind === 1) return [...before, line, line, ...after];
  if (kind === 2) return [...before, ...after.slice(0, 1), line, ...after.slice(1)];
  return [...lines.slice(0, -1), ...lines.slice(1)];
}

describe("verifyExport", () => {
  it.each(vectors.cases)("answers as the vector: $title, $policy", async (vector) => {
    const report = await verifyExport(linesOf(vector.export), pinning(vector));
    const verdicts = Object.fromEntries(Object.entries(report.verdicts).map(([name, { status }]) => [name, status]));
    expect(report.findings.map(place).sort()).toEqual(vector.findings.map(place).sort());
    expect(verdicts).toEqual(vector.verdicts);
    expect(exitCodeOf(report)).toBe(vector.exit);
    if (vector.members !== undefined && report.ok && report.pin !== "none") {
      const [member, none, open] = vector.members;
      expect(report.summary).toContain(`, ${member} match`);
      expect(report.summary).toContain(` the filter and ${none} do`);
      expect(report.summary).toContain(open === 0 ? ": the selection is complete" : `of ${open} nobody can say`);
    }
    // A reader has to see that the selection is the one that was asked for.
    const asked = /"filter":(\{.*?\}),"first"/.exec(vector.export.split("\n")[0] ?? "")?.[1];
    if (asked !== undefined && report.verdicts.completeness.basis.includes("asks for are shown"))
      expect(report.verdicts.completeness.basis).toContain(asked.slice(0, 400));
    expect(JSON.parse(JSON.stringify(report))).toEqual(report);
  });

  it("says what a filtered selection was made by", async () => {
    const vector = vectors.cases.find((one) => one.export.includes('"kind":"filter"') && one.exit === 3)!;
    const { basis } = (await verifyExport(linesOf(vector.export), pinning(vector))).verdicts.completeness;
    const [, asked = "none"] = /"filter":(\{.*?\}),"first"/.exec(vector.export) ?? [];
    expect(basis).toBe(
      `members proved, completeness asserted: whoever made the selection chose them, for the filter ${asked}`,
    );
  });

  it("verifies the examples of the specification", async () => {
    const fences = (page: string): string[] => {
      const source = readFileSync(new URL(`../../spec/${page}`, import.meta.url), "utf8");
      return [...source.matchAll(/^```\n([\s\S]*?)^```$/gm)].map((match) => match[1]!);
    };
    const policy = fences("policy.md")[0]!;
    const [whole, filter] = fences("export.md");
    const pin = { allowSelfAsserted: false, policy };
    expect(exitCodeOf(await verifyExport(linesOf(whole!), pin))).toBe(0);
    const lines = whole!.split("\n");
    const proof = '"proof":["dbb6a64ae45890d61bcfaeb38f5f5cb6255007b5348d17bd071bde4aa360e053"]';
    const selection = '"selection":{"first":1,"kind":"range","last":2}';
    const header = lines[0]!.replace('"proof":[]', proof).replace(/"selection":\{[^}]*\}/, selection);
    const slice = [header, ...lines.slice(2)].join("\n");
    for (const part of [slice, filter!]) {
      const report = await verifyExport(linesOf(part), pin);
      expect(report.findings).toEqual([]);
      expect(exitCodeOf(report)).toBe(3);
    }
    const changed = whole!.replace('"outcome":"success"', '"outcome":"failure"');
    const finding = (await verifyExport(linesOf(changed), pin)).findings[0];
    expect(finding).toMatchObject(JSON.parse(fences("findings.md")[0]!.replace(',"message":"…"', "")));
  });

  it("compares a whole export with a checkpoint that the reader holds", async () => {
    const { export: whole, ...rest } = named("a whole ledger");
    const { export: earlier } = named("a checkpoint before the rest");
    const noteIn = (file: string): string => JSON.parse(file.slice(0, file.indexOf("\n"))).checkpoint;
    const answer = (file: string, note: string) => verifyExport(linesOf(file), { ...pinning(rest), expect: note });
    const [own, held] = [noteIn(whole), noteIn(earlier)];
    for (const note of [own, held]) expect(exitCodeOf(await answer(whole, note))).toBe(0);
    const forged = held.replace(/\n6\n[^\n]+\n/, `\n6\n${"A".repeat(43)}=\n`);
    expect((await answer(whole, forged)).findings.map(place)).toEqual(["expected-root"]);
    const later = await answer(earlier, own);
    expect(later.findings).toEqual([]);
    expect(later.verdicts.completeness).toMatchObject({ status: "notEstablished" });
    expect(later.verdicts.completeness.unchecked.join()).toContain("cannot be compared");
    expect(exitCodeOf(later)).toBe(3);
    const slice = await answer(named("a slice").export, held);
    expect(exitCodeOf(slice)).toBe(3);
    expect(
      (await answer(whole, held.replaceAll("example.com/audit", "example.com/other"))).findings.map(place),
    ).toEqual(["origin-mismatch"]);
    await expect(answer(whole, "hello")).rejects.toMatchObject({ code: "malformed-config" });
  });

  it("reads files in pieces of any size", async () => {
    const { export: file, ...rest } = named("a whole ledger");
    const bytes = encodeUtf8(file);
    const pieces = Array.from({ length: Math.ceil(bytes.length / 7) }, (_, i) => bytes.subarray(i * 7, i * 7 + 7));
    const report = await verifyExport(() => splitLines(pieces), pinning(rest));
    expect(report).toEqual(await verifyExport(linesOf(file), pinning(rest)));
  });

  it("calls nothing intact that was changed in any byte", async () => {
    const intact = async (title: string, from: number, step: number): Promise<void> => {
      const { export: file, ...rest } = named(title);
      const bytes = encodeUtf8(file);
      for (let at = from; at < bytes.length; at += step) {
        const changed = bytes.slice();
        changed[at] = changed[at]! ^ 1;
        expect(exitCodeOf(await verifyExport(linesOf(changed), pinning(rest))), `byte ${at}`).not.toBe(0);
      }
    };
    // Every byte would take minutes. The note of the longer one has a line of a key that its policy does not name.
    await intact("an entry 300 s after its witnesses", 0, 5);
    const { export: longer } = named("a whole ledger");
    await intact("a whole ledger", encodeUtf8(longer.slice(0, longer.indexOf("\n"))).length, 23);
  });

  it("finds the same with and without the lines that are recognized by their bytes", async () => {
    const answer = async (vector: Case, file: string, isQuick: boolean) => {
      const read = vi.spyOn(LineForecast.prototype, "read");
      if (!isQuick) read.mockReturnValue(null);
      const report = await verifyExport(linesOf(file), pinning(vector));
      const recognized = read.mock.results.filter(({ value }) => value !== null).length;
      read.mockRestore();
      return { report, recognized };
    };
    const cases: Case[] = [];
    for (const vector of vectors.cases) {
      if ((await answer(vector, vector.export, true)).recognized > 0) cases.push(vector);
    }
    const random = createRandom(20261121);
    let sum = 0;
    for (let i = 0; i < 400; i++) {
      const vector = random.pick(cases);
      const lines = disorder(random, vector.export.split("\n"));
      const file = random.below(3) === 0 ? damage(random, lines.join("\n")) : lines.join("\n");
      const { report, recognized } = await answer(vector, file, true);
      expect(report).toEqual((await answer(vector, file, false)).report);
      sum += recognized;
    }
    expect(sum).toBeGreaterThan(200);
  });

  it("answers with findings, never with an exception, whatever the lines hold", async () => {
    const random = createRandom(20261120);
    for (let i = 0; i < 400; i++) {
      const vector = random.pick(vectors.cases);
      let file = vector.export;
      for (let times = 1 + random.below(3); times > 0; times--) file = damage(random, file);
      const report = await verifyExport(linesOf(file), pinning(vector));
      expect(report.ok).toBe(report.findings.length === 0);
    }
    for (const file of ["", "\n", "{}", "null\n", "\u0000\n\n", Uint8Array.of(0xff, 0x0a)]) {
      const report = await verifyExport(linesOf(file), { allowSelfAsserted: true });
      expect(report.findings.map(place)).toEqual(["file-malformed"]);
      expect(report.summary).toMatch(/^not a valid export: export: /);
    }
  });

  it("counts what it does not list, and still fails the verdict", async () => {
    const { export: file, ...rest } = named("a whole ledger");
    const [header] = file.split("\n");
    const junk = `${header}\n${"x\n".repeat(30)}`;
    const report = await verifyExport(linesOf(junk), { ...pinning(rest), findingsMax: 3 });
    expect(report.findings.length).toBe(3);
    expect(report.findingsOmitted).toBe(27);
    const other = await verifyExport(linesOf(`${junk}${file.split("\n")[3]}\n`), { ...pinning(rest), findingsMax: 3 });
    expect(other.findings.every(({ code }) => code === "file-malformed")).toBe(true);
    expect(other.verdicts.order).toMatchObject({
      status: "fail",
      basis: expect.stringMatching(/^a line holds entry 2/),
    });
  });

  it("takes no line that is too long, and reads on", async () => {
    const { export: file, ...rest } = named("a whole ledger");
    const lines = file.split("\n").slice(0, -1);
    const long = new Uint8Array(RECEIPT_BYTES_MAX).fill(0x78);
    async function* source(): AsyncGenerator<FileLine> {
      for (const [i, line] of lines.entries()) yield { bytes: i === 12 ? long : encodeUtf8(line), ended: true };
    }
    const report = await verifyExport(source, pinning(rest));
    expect(report.findings.map(place)).toEqual(["file-malformed at 11"]);
    expect(report.findings[0]!.message).toBe("line 13: export: expected lines of at most 34078720 bytes");
  });

  const refusalOf = async (call: Promise<unknown>): Promise<{ code: ErrorCode; message: string }> => {
    const error: unknown = await call.then(
      () => null,
      (thrown: unknown) => thrown,
    );
    if (!isTallystickError(error)) throw error ?? new Error("expected a refusal");
    return { code: error.code, message: error.message };
  };

  it("refuses a file that is another one when it is read again", async () => {
    const { export: file, ...rest } = named("a whole ledger");
    const other = named("a control event changed, with no effect left").export;
    let readings = 0;
    const lines = () => splitLines([encodeUtf8(readings++ === 0 ? file : other)]);
    expect(await refusalOf(verifyExport(lines, pinning(rest)))).toEqual({
      code: "storage-io",
      message: "export: the file changed while it was read",
    });
    expect(readings).toBe(2);
  });

  it("closes a file that it does not read to its end", async () => {
    let closed = 0;
    async function* source(): AsyncGenerator<FileLine> {
      try {
        yield { bytes: encodeUtf8("{}"), ended: true };
        yield { bytes: encodeUtf8("{}"), ended: true };
      } finally {
        closed += 1;
      }
    }
    expect((await verifyExport(source, { allowSelfAsserted: false })).ok).toBe(false);
    expect(closed).toBe(1);
  });

  it("leaves exports of a later version to a later version, and malformed policies to whoever wrote them", async () => {
    const { export: file } = named("a whole ledger");
    const newer = file.replace("tallystick/export/v1", "tallystick/export/v2");
    expect(await refusalOf(verifyExport(linesOf(newer), { allowSelfAsserted: false }))).toEqual({
      code: "newer-format",
      message: "a newer version of tallystick wrote this file, in tallystick/export/v2",
    });
    const pin = { allowSelfAsserted: false, policy: "log nobody\n" };
    expect((await refusalOf(verifyExport(linesOf(file), pin))).code).toBe("malformed-policy");
  });

  it("says what it left unchecked", async () => {
    const report = async (title: string) => {
      const { export: file, ...rest } = named(title);
      return verifyExport(linesOf(file), pinning(rest));
    };
    const unpinned = await report("a whole ledger, nothing pinned");
    expect(unpinned.verdicts.authenticity.unchecked).toEqual(["author signatures of 2 events: no key is pinned"]);
    expect(unpinned.summary).toBe(
      "export of example.com/audit: consistent with itself, but no key is pinned: anybody could have written it",
    );
    const believed = await report("a whole ledger, its own keys believed");
    expect(believed).toMatchObject({ pin: "self-asserted", ok: true, conclusive: true });
    expect(believed.verdicts.authenticity.basis).toMatch(
      /a key that only the evidence itself names, believed on request/,
    );
    const slice = await report("a slice with a signature of a key that only the ledger knows");
    expect(slice.verdicts.authenticity.unchecked).toEqual([
      "keys and rules of the ledger: the selection does not begin with entry 0",
      "2 author signatures by keys that the policy does not name for their actor and index",
      "genesis not pinned",
    ]);
    expect(slice.verdicts.completeness.basis).toBe("entries 2 to 4 are all here; of the others nothing is said");
    const withheld = await report("a whole ledger, actor withheld of a signed event");
    expect(withheld.verdicts.integrity.unchecked).toEqual([
      "1 erased body: only the commitment remains",
      "1 erased field: only the digest remains",
      "3 withheld fields: only the digest is here",
    ]);
    expect(withheld.verdicts.authenticity.unchecked).toContain(
      "author signatures of 1 event: actor or signatures are withheld",
    );
    const outside = await report("a slice of one, erased elsewhere");
    expect(outside.verdicts.integrity.basis).toBe(
      "1 body erased by entries outside the selection: whether they were cannot be checked here",
    );
    const quorum = await report("a whole ledger, too few witnesses");
    expect(quorum).toMatchObject({ requiredMissing: ["quorum"], ok: true, conclusive: true });
    expect(quorum.verdicts.independence.basis).toBe("the witnesses that cosigned are no quorum: w1");
  });
});
