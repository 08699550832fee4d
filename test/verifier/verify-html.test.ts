import { execFileSync, spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import * as core from "../../src/core/index.ts";
import {
  exitCodeOf,
  isTallystickError,
  recogniseFile,
  reportCheckpoint,
  reportReceipt,
  splitLines,
  verifyExport,
} from "../../src/core/index.ts";
import { verify } from "../../src/index.ts";
import { judgeOf } from "../interop/judge-proofs.mjs";
import { createRandom, damage, flipBit, randomExport } from "../interop/random-evidence.mjs";
import {
  type Answer,
  askPage,
  CHROMIUM,
  findingList,
  type Job,
  type Opened,
  openPage,
  PAGE_URL,
  repositoryFile,
} from "./page.ts";

/**
 * verifier/verify.html was written from spec/ alone. In a real Chromium it must give what the vectors say, judge any file as
 * the library does, send nothing anywhere, and show whatever stands in the evidence as text.
 */

interface Case {
  readonly title: string;
  readonly policy: string | null;
  readonly selfAsserted?: boolean;
  readonly export?: string;
  readonly receipt?: string;
  readonly exit: number;
  readonly findings: readonly (string | { code: string; index?: number })[];
  readonly verdicts: Readonly<Record<string, string>>;
}

interface PackageCase {
  readonly title: string;
  readonly policy: string | null;
  readonly package: string;
  readonly selfAsserted?: boolean;
  readonly expect?: string;
  readonly tsaRoots?: readonly string[];
  readonly requireAnchor?: boolean;
  readonly error?: string;
  readonly exit: number;
  readonly findings: readonly { code: string; index?: number; found?: string }[];
  readonly verdicts: Readonly<Record<string, string>>;
}

interface CheckpointVectors {
  readonly policies: Readonly<Record<string, string>>;
  readonly cases: readonly {
    readonly title: string;
    readonly policy: string | null;
    readonly checkpoint: string;
    readonly held: string | null;
    readonly exit: number;
    readonly findings: readonly string[];
    readonly verdicts: Readonly<Record<string, string>>;
  }[];
  readonly unrecognised: readonly { readonly title: string; readonly file: string }[];
}

interface Vectors {
  readonly policies: Readonly<Record<string, string>>;
  readonly cases: readonly Case[];
}

const readVectors = (name: string): unknown => JSON.parse(readFileSync(repositoryFile(`vectors/${name}.json`), "utf8"));

function jobsOf(name: string): (Job & { readonly expected: Case })[] {
  const { policies, cases } = readVectors(name) as Vectors;
  return cases.map((expected) => ({
    title: expected.title,
    file: Buffer.from((expected.export ?? expected.receipt)!),
    policy: expected.policy === null ? null : policies[expected.policy]!,
    selfAsserted: expected.selfAsserted === true,
    expected,
  }));
}

const RECEIPTS = jobsOf("receipts");
const EXPORTS = jobsOf("exports");
const CHECKPOINTS = readVectors("checkpoints") as CheckpointVectors;

const PACKAGES = packageJobs();

function packageJobs(): (Job & { readonly expected: PackageCase })[] {
  const { policies, cases } = readVectors("packages") as {
    policies: Readonly<Record<string, string>>;
    cases: readonly PackageCase[];
  };
  return cases.map((expected) => {
    const { title, policy, selfAsserted = false, expect: held, tsaRoots, requireAnchor = false } = expected;
    return {
      title,
      file: Buffer.from(expected.package, "base64"),
      policy: policy === null ? null : policies[policy]!,
      selfAsserted,
      requireAnchor,
      ...(held === undefined ? {} : { held }),
      ...(tsaRoots === undefined ? {} : { roots: tsaRoots.join("\n") }),
      expected,
    };
  });
}

const SOUND = [...RECEIPTS, ...EXPORTS].filter(({ expected }) => expected.exit !== 1 && expected.exit !== 5);

/** `TALLYSTICK_MUTATIONS=10000` compares as many files in each of the comparisons. */
const MUTATIONS = Number(process.env.TALLYSTICK_MUTATIONS ?? 200);

const POLICIES = [...new Set(EXPORTS.map(({ policy }) => policy))];

let opened: Opened;
beforeAll(async () => {
  if (CHROMIUM !== null) opened = await openPage();
});
afterAll(async () => {
  await opened?.close();
});

/** What the library says of a file, as far as the page is compared with it. */
async function judge({ file, policy, selfAsserted }: Job) {
  const pin = { allowSelfAsserted: selfAsserted === true, ...(policy === null ? {} : { policy }) };
  const kind = recogniseFile(file);
  if (kind === null || kind === "package") return { exit: 5, findings: [], verdicts: {} };
  try {
    const report = await (kind === "export"
      ? verifyExport(() => splitLines([file]), pin)
      : (kind === "receipt" ? reportReceipt : reportCheckpoint)(file, pin));
    const verdicts = Object.fromEntries(Object.entries(report.verdicts).map(([name, { status }]) => [name, status]));
    return { exit: exitCodeOf(report), findings: [...new Set(findingList(report.findings))], verdicts };
  } catch (error) {
    if (!isTallystickError(error) || error.code !== "newer-format") throw error;
    return { exit: 5, findings: [], verdicts: {} };
  }
}

/**
 * Exit, findings by code and index, and verdicts are equal. Where lines stand in disorder, a finding either way, counters of
 * sources are judged in the order of the lines here, in that of the indexes by the library; and an erasure that stands before
 * the line that names it is looked for here.
 */
async function expectAlike(jobs: readonly Job[]): Promise<void> {
  const answers = await askPage(opened.page, jobs);
  for (const [i, job] of jobs.entries()) {
    const { exit, findings, verdicts } = answers[i]!;
    const page = { exit, findings: [...new Set(findingList(findings))], verdicts };
    expect(comparable(page, job), `${job.title}\n${Buffer.from(job.file).toString("utf8")}`).toEqual(
      comparable(await judge(job), job),
    );
  }
}

type PackageExample = Job & { readonly file: Buffer };

interface RandomPackage {
  readonly file: string;
  readonly policy: string | null;
  readonly selfAsserted: boolean;
  readonly held: string | null;
  readonly tsaRoots: string | null;
  readonly requireAnchor: boolean;
}

interface PackageAnswer {
  readonly exit: number;
  readonly codes: readonly string[];
  readonly verdicts?: object;
  readonly found?: readonly string[];
  readonly after?: readonly unknown[];
  readonly before?: readonly unknown[];
}

/** Exit, codes, reasons, verdicts and timeline of packages are those of the library. */
async function expectPackagesAlike(examples: readonly PackageExample[]): Promise<void> {
  const judgePackage = judgeOf(core, verify).packages as (example: object) => Promise<PackageAnswer>;
  const answers = await askPage(opened.page, examples);
  for (const [i, example] of examples.entries()) {
    const { title, file, policy, selfAsserted = false, requireAnchor = false, held = null, roots = null } = example;
    const asked = { file: file.toString("base64"), policy, selfAsserted, requireAnchor, held, tsaRoots: roots };
    const { exit, codes, verdicts, found, after, before } =
      file.subarray(0, 2).toString() === "PK" ? await judgePackage(asked) : UNRECOGNISED;
    expect(packageAnswer(answers[i]!), title).toEqual({ exit, codes, verdicts, found, after, before });
  }
}

const UNRECOGNISED: PackageAnswer = { exit: 5, codes: ["unrecognised-file"] };

function packageAnswer({ exit, error, findings, verdicts, report }: Answer): PackageAnswer {
  if (report === null) return { exit, codes: [error!] };
  const { notAfter, notBefore } = report.timeline as { notAfter: Row[]; notBefore: Row[] };
  return {
    exit,
    codes: [...new Set(findings.map(({ code }) => code))].sort(),
    verdicts,
    found: findings.filter(({ code }) => code === "package-malformed").map(({ found }) => found!),
    after: notAfter.map(({ size, time }) => [size, time]),
    before: notBefore.map(({ index, time }) => [index, time]),
  };
}

interface Row {
  readonly size?: number;
  readonly index?: number;
  readonly time: string;
}

interface Judgement {
  readonly exit: number;
  readonly findings: readonly string[];
  readonly verdicts: object;
}

function comparable({ exit, findings, verdicts }: Judgement, job: Job): object {
  // Of one entry it is not specified which findings name it.
  const isReceipt = recogniseFile(job.file) === "receipt";
  const named = isReceipt ? [...new Set(findings.map((finding) => finding.split(" ")[0]!))].sort() : findings;
  if (!named.some((finding) => finding.startsWith("index-mismatch"))) return { exit, findings: named, verdicts };
  return { exit, findings: named.filter((finding) => !/^(source-|body-missing)/.test(finding)) };
}

const hasPython = spawnSync("python3", ["-c", "import sys; assert sys.version_info >= (3, 9)"]).status === 0;

const file = (name: string, content: string | Buffer) => ({ name, mimeType: "", buffer: Buffer.from(content) });

describe("verify.html", () => {
  it("runs in a browser (needs chromium)", (context) => {
    if (CHROMIUM === null) context.skip("needs chromium");
  });

  it("is allowed to run its own script and style, and nothing else", () => {
    execFileSync(process.execPath, [repositoryFile("scripts/seal-page.mjs"), "--check"]);
    const page = readFileSync(repositoryFile("verifier/verify.html"), "utf8");
    const [, policy] = /http-equiv="Content-Security-Policy" content="([^"]*)"/.exec(page)!;
    expect(policy).toMatch(
      /^default-src 'none'; script-src 'sha256-[^']+'; style-src 'sha256-[^']+'; worker-src blob:/,
    );
    expect(policy).not.toMatch(/connect-src|unsafe|http|\*/);
    expect(page.match(/<script/g)).toHaveLength(2);
  });
});

describe.skipIf(CHROMIUM === null)(
  "verify.html in a browser (needs chromium)",
  { timeout: 120_000 + 100 * MUTATIONS },
  () => {
    it.each([
      ["receipts", RECEIPTS],
      ["exports", EXPORTS],
    ])("answers what the vectors say of %s", async (_, jobs) => {
      const answers = await askPage(opened.page, jobs);
      for (const [i, { title, expected }] of jobs.entries()) {
        const { exit, findings, verdicts } = answers[i]!;
        const asked = expected.findings.map((finding) => (typeof finding === "string" ? { code: finding } : finding));
        const given = typeof expected.findings[0] === "string" ? findings.map(({ code }) => ({ code })) : findings;
        const whole = { exit, findings: findingList(given), verdicts };
        if (recogniseFile(jobs[i]!.file) === null) {
          // The vectors hand it to the check of receipts; as a file it is none.
          expect(exit, title).toBe(5);
          continue;
        }
        expect(whole, title).toEqual({
          exit: expected.exit,
          findings: findingList(asked),
          verdicts: expected.verdicts,
        });
      }
    });

    it("answers what the vectors say of evidence packages, honest and hostile", async () => {
      const jobs = PACKAGES;
      const cases = jobs.map(({ expected }) => expected);
      expect(jobs.length).toBeGreaterThan(200);
      const answers = await askPage(opened.page, jobs);
      for (const [i, { title, error, exit, findings, verdicts }] of cases.entries()) {
        const answer = answers[i]!;
        if (error !== undefined) {
          expect(`${answer.exit} ${answer.error}`, title).toBe(`5 ${error}`);
          continue;
        }
        // `found` of a package that breaks its form is the reason; of other findings it is compared where the vectors state it.
        const isFoundStated = (code: string) => findings.some((finding) => finding.code === code && "found" in finding);
        const list = (items: PackageCase["findings"]) =>
          items.map(({ code, index, found }) => `${code} ${index ?? "-"} ${isFoundStated(code) ? found : ""}`).sort();
        const page = { exit: answer.exit, findings: list(answer.findings), verdicts: answer.verdicts };
        expect(page, title).toEqual({ exit, findings: list(findings), verdicts });
      }
    });

    it("answers what the vectors say of checkpoints alone", async () => {
      const { policies, cases, unrecognised } = CHECKPOINTS;
      const answers = await askPage(
        opened.page,
        cases.map(({ title, checkpoint, policy, held }) => ({
          title,
          file: Buffer.from(checkpoint),
          policy: policy === null ? null : policies[policy]!,
          ...(held === null ? {} : { held }),
        })),
      );
      for (const [i, { title, exit, findings, verdicts }] of cases.entries()) {
        const answer = answers[i]!;
        const page = {
          exit: answer.exit,
          findings: answer.findings.map(({ code }) => code),
          verdicts: answer.verdicts,
        };
        expect(page, title).toEqual({ exit, findings, verdicts });
        expect(answer.report?.kind, title).toBe("checkpoint");
      }
      const others = await askPage(
        opened.page,
        unrecognised.map(({ title, file }) => ({ title, file: Buffer.from(file), policy: null })),
      );
      for (const [i, { title }] of unrecognised.entries())
        expect(`${others[i]!.exit} ${others[i]!.error}`, title).toBe("5 unrecognised-file");
    });

    it("accepts the golden files of version 1", async () => {
      const folder = repositoryFile("vectors/golden/v1");
      const names = readdirSync(folder).filter((name) => /\.(jsonl|receipt\.json)$/.test(name));
      const jobs = ["policy", "witnessed.policy"].flatMap((policy) =>
        names.map((name) => ({
          title: `${name} under ${policy}`,
          file: readFileSync(`${folder}/${name}`),
          policy: readFileSync(`${folder}/${policy}`, "utf8"),
        })),
      );
      expect(jobs.length).toBeGreaterThan(20);
      const answers = await askPage(opened.page, jobs.slice(0, names.length));
      for (const [i, { exit }] of answers.entries()) expect([0, 3], jobs[i]!.title).toContain(exit);
      await expectAlike(jobs);
    });

    it.each([11, 12])("judges exports of random ledgers as the library does, seed %i", async (seed) => {
      const random = createRandom(seed);
      await expectAlike(
        Array.from({ length: MUTATIONS }, (_, i): Job => {
          const policy = random.pick(POLICIES);
          const selfAsserted = policy === null && random.chance(0.5);
          return { title: `seed ${seed}, ledger ${i}`, file: Buffer.from(randomExport(random)), policy, selfAsserted };
        }),
      );
    });

    it.each([13, 14])("judges damaged receipts and exports as the library does, seed %i", async (seed) => {
      const random = createRandom(seed);
      await expectAlike(
        Array.from({ length: MUTATIONS }, (_, i): Job => {
          const job = random.pick(SOUND);
          const isBit = random.chance(0.4);
          const damaged = isBit
            ? flipBit(random, job.file)
            : Buffer.from(damage(random, Buffer.from(job.file).toString()));
          return { ...job, title: `seed ${seed}, damage ${i} to ${job.title}`, file: damaged };
        }),
      );
    });

    it("judges damaged evidence packages as the library does", async () => {
      const random = createRandom(15);
      await expectPackagesAlike(
        Array.from({ length: MUTATIONS }, (_, i): PackageExample => {
          const job = random.pick(PACKAGES.filter(({ expected }) => expected.exit !== 5));
          const damaged = flipBit(random, job.file);
          return { ...job, title: `seed 15, bit ${i} of ${job.title}`, file: Buffer.from(damaged) };
        }),
      );
    });

    it.skipIf(!hasPython)("judges random evidence packages as the library does (needs python3)", async () => {
      const script = repositoryFile("test/interop/random_proofs.py");
      const options = { maxBuffer: 2 ** 30 };
      const lines = execFileSync("python3", [script, "packages", "21", `${MUTATIONS}`], options)
        .toString()
        .trim()
        .split("\n");
      const examples = lines.map((line, i): PackageExample => {
        const { file, policy, selfAsserted, held, tsaRoots, requireAnchor } = JSON.parse(line) as RandomPackage;
        const brought = { ...(held === null ? {} : { held }), ...(tsaRoots === null ? {} : { roots: tsaRoots }) };
        const title = `random package ${i}`;
        return { title, file: Buffer.from(file, "base64"), policy, selfAsserted, requireAnchor, ...brought };
      });
      expect(examples.length).toBe(MUTATIONS);
      await expectPackagesAlike(examples);
    });

    it("takes a checkpoint that the reader holds", async () => {
      const whole = EXPORTS.find(({ title }) => title === "a whole ledger")!;
      const other = EXPORTS.find(({ title }) => title === "a counter left out")!;
      const held = (job: Job) =>
        (JSON.parse(Buffer.from(job.file).toString().split("\n")[0]!) as { checkpoint: string }).checkpoint;
      const [own, foreign, alone] = await askPage(opened.page, [
        { ...whole, held: held(whole) },
        { ...whole, held: held(other) },
        { title: "a checkpoint alone", file: Buffer.from(held(whole)), policy: whole.policy },
      ]);
      expect([own!.exit, findingList(own!.findings)]).toEqual([0, []]);
      expect([foreign!.exit, findingList(foreign!.findings)]).toEqual([1, ["expected-root -"]]);
      expect([alone!.exit, alone!.report?.kind, alone!.verdicts.integrity]).toEqual([0, "checkpoint", "notChecked"]);
    });

    it("asks an anchor of what carries none: exit 4", async () => {
      const sound = [RECEIPTS, EXPORTS].map((jobs) => jobs.find(({ expected }) => expected.exit === 0)!);
      const checkpoint = CHECKPOINTS.cases.find(({ exit }) => exit === 0)!;
      const { title, policy } = checkpoint;
      const jobs = [
        ...sound,
        { title, file: Buffer.from(checkpoint.checkpoint), policy: CHECKPOINTS.policies[policy!]! },
      ];
      const answers = await askPage(
        opened.page,
        jobs.map((job) => ({ ...job, requireAnchor: true })),
      );
      expect(answers.map(({ exit, report }) => [exit, report?.requiredMissing])).toEqual(
        jobs.map(() => [4, ["anchor"]]),
      );
    });

    it("cannot read other files, newer formats and malformed policies", async () => {
      const whole = EXPORTS[0]!;
      const newer = Buffer.from(Buffer.from(whole.file).toString().replace("export/v1", "export/v2"));
      const answers = await askPage(opened.page, [
        { ...whole, file: Buffer.from("hello\n") },
        { ...whole, file: Buffer.alloc(0) },
        { ...whole, file: newer },
        { ...whole, policy: "log nonsense\n" },
      ]);
      expect(answers.map(({ exit, error }) => `${exit} ${error}`)).toEqual([
        "5 unrecognised-file",
        "3 not-found",
        "5 newer-format",
        "5 malformed-policy",
      ]);
    });

    it("shows hostile text as text, and sends nothing anywhere", async () => {
      const { page, requests, errors } = opened;
      await page.reload();
      const hostile = `<img src=x onerror="document.title='hit'"><script>document.title='hit'</script>\u202e`;
      const receipt = JSON.parse(Buffer.from(RECEIPTS[0]!.file).toString()) as { event: Record<string, unknown> };
      receipt.event.actor = hostile;
      await page.setInputFiles("#file", [
        file(`${hostile.replaceAll("/", "_")}.json`, `${JSON.stringify(receipt)}\n`),
        file("policy", RECEIPTS[0]!.policy!),
      ]);
      await page.waitForSelector(".banner");
      const shown = await page.evaluate(() => ({
        exit: document.querySelector<HTMLElement>(".banner")!.dataset.exit,
        text: document.querySelector("#result")!.textContent,
        markup: document.querySelectorAll("#result img, #result script, #files img").length,
        title: document.title,
        open: document.querySelectorAll("#result details[open]").length,
      }));
      expect(shown).toMatchObject({ exit: "1", markup: 0, title: "Tallystick verifier", open: 1 });
      expect(shown.text).toContain('<img src=x onerror="document.title=');
      expect(shown.text).toContain("\\u{202e}");
      expect(shown.text).not.toContain("\u202e");
      expect(requests.filter((url) => url !== PAGE_URL && !/^(blob|data):/.test(url))).toEqual([]);
      expect(errors).toEqual([]);
    });

    it("has no way out: its policy refuses every request", async () => {
      const refused = await opened.page.evaluate(async () => {
        const directives: string[] = [];
        addEventListener("securitypolicyviolation", (event) => directives.push(event.effectiveDirective));
        await fetch("https://example.com/").catch(() => {});
        await new Promise((resolve) =>
          Object.assign(new Image(), { onerror: resolve, src: "https://example.com/x.png" }),
        );
        await new Promise((resolve) => setTimeout(resolve, 50)); // the event comes after the refusal
        return directives.sort();
      });
      expect(refused).toEqual(["connect-src", "img-src"]);
      opened.errors.length = 0; // the browser reports what its policy refused
    });

    it("does not take a ledger for a checkpoint that the reader holds", async () => {
      const { page } = opened;
      const ledger = CHECKPOINTS.unrecognised.find(({ title }) => title.startsWith("a ledger file"))!;
      await page.reload();
      await page.setInputFiles("#file", [file("policy", EXPORTS[0]!.policy!), file("audit.db", ledger.file)]);
      await page.waitForSelector('.banner[data-exit="5"]');
      expect(await page.textContent(".banner p")).toContain(
        "it is a ledger, and this page verifies what was exported of one",
      );
      await page.setInputFiles("#file", [file("audit.jsonl", Buffer.from(EXPORTS[0]!.file))]);
      await page.waitForSelector('.banner[data-exit="0"]');
    });

    it("is used by hand: a policy is pasted, roles are changed, files are removed", async () => {
      const { page } = opened;
      const whole = EXPORTS[0]!;
      await page.reload();
      await page.setInputFiles("#file", [file("audit.jsonl", Buffer.from(whole.file))]);
      await page.waitForSelector('.banner[data-exit="3"]');
      expect(await page.textContent(".banner h2")).toContain("no key is pinned");
      await page.click("#paste");
      await page.fill("#policy-text", whole.policy!);
      await page.click("#use-policy");
      await page.waitForSelector('.banner[data-exit="0"]');
      expect(await page.textContent(".banner h2")).toContain("holds");
      expect(await page.textContent(".facts")).toContain("witness.example/1");
      await page.click("#files li:first-child button");
      expect(await page.textContent("#said")).toBe("Now add the evidence.");
    });
  },
);
