import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import * as core from "../../src/core/index.ts";
import {
  exitCodeOf,
  type FileKind,
  isTallystickError,
  recogniseFile,
  reportCheckpoint,
  reportReceipt,
  splitLines,
  type VerifyFileOptions,
  type VerifyReport,
  verifyExport,
  verifyPackage,
} from "../../src/core/index.ts";
import { verify } from "../../src/index.ts";
import { filesystemArchive } from "../../src/storage/archive/filesystem.ts";
import { createTestLedger } from "../../src/testing/create-test-ledger.ts";
import {
  comparable as comparableProof,
  judgeOf,
  type ProofAnswer,
  type ProofExample,
  type ProofKind,
} from "./judge-proofs.mjs";
import { createRandom, damage, flipBit, type Random, randomExport } from "./random-evidence.mjs";

/**
 * verifier/verify.py was written from spec/ alone: it and the library must judge any file alike, in exit code, set of finding
 * codes and status of each verdict. One difference is known: where the lines of an export stand in disorder, which is a
 * finding either way, the script judges counters of sources in the order of the lines, the library in that of the indexes.
 */
function comparable({ exit, codes, verdicts }: Answer): Answer {
  if (!codes.includes("index-mismatch")) return { exit, codes, verdicts };
  const { completeness: _, ...others } = verdicts;
  return { exit, codes: codes.filter((code) => code !== "source-gap" && code !== "source-repeated"), verdicts: others };
}

/** Python is slower than the machine is idle. */
const TIMEOUT_MS = 180_000;

const PYTHON = spawnSync("python3", ["-c", "import sys; assert sys.version_info >= (3, 9)"]);
const hasPython = PYTHON.status === 0;

interface Job {
  readonly title: string;
  readonly file: Uint8Array;
  readonly policy: string | null;
  readonly selfAsserted: boolean;
  /** Checkpoint that the reader holds. */
  readonly held?: string | null;
}

interface Answer {
  readonly exit: number;
  readonly codes: readonly string[];
  readonly verdicts: Readonly<Record<string, string>>;
}

async function ask(jobs: readonly Job[]): Promise<Answer[]> {
  const script = fileURLToPath(new URL("verify_batch.py", import.meta.url));
  const child = spawn("python3", [script], { stdio: ["pipe", "pipe", "inherit"] });
  const answers: Answer[] = [];
  const reading = (async () => {
    for await (const line of createInterface({ input: child.stdout })) answers.push(JSON.parse(line) as Answer);
  })();
  for (const { file, policy, selfAsserted, held = null } of jobs) {
    const line = `${JSON.stringify([Buffer.from(file).toString("base64"), policy, selfAsserted, held])}\n`;
    if (!child.stdin.write(line)) await new Promise((resolve) => child.stdin.once("drain", resolve));
  }
  child.stdin.end();
  await reading;
  return answers;
}

async function judge({ file, policy, selfAsserted, held }: Job): Promise<Answer> {
  const pin = { allowSelfAsserted: selfAsserted, policy: policy ?? undefined, expect: held ?? undefined };
  const kind = recogniseFile(file);
  if (kind === null) return { exit: 5, codes: ["unrecognised-file"], verdicts: {} };
  try {
    const report = await reportOf(kind, file, pin);
    const verdicts = Object.fromEntries(Object.entries(report.verdicts).map(([name, { status }]) => [name, status]));
    return { exit: exitCodeOf(report), codes: [...new Set(report.findings.map(({ code }) => code))].sort(), verdicts };
  } catch (error) {
    // Hostile bytes may only ever be findings; this one is about the file as a whole.
    if (!isTallystickError(error) || error.code !== "newer-format") throw error;
    return { exit: 5, codes: [error.code], verdicts: {} };
  }
}

function reportOf(kind: FileKind, file: Uint8Array, pin: VerifyFileOptions): Promise<VerifyReport> {
  if (kind === "receipt") return reportReceipt(file, pin);
  if (kind === "checkpoint") return reportCheckpoint(file, pin);
  if (kind === "package") return verifyPackage(core.bytesSource(file), pin);
  return verifyExport(() => splitLines([file]), pin);
}

async function expectAlike(jobs: readonly Job[]): Promise<Map<number, number>> {
  const exits = new Map<number, number>();
  const asked = ask(jobs);
  const own: Answer[] = [];
  for (const job of jobs) own.push(await judge(job));
  const answers = await asked;
  expect(answers.length).toBe(jobs.length);
  for (const [i, answer] of answers.entries()) {
    const { title, file, policy } = jobs[i]!;
    exits.set(answer.exit, (exits.get(answer.exit) ?? 0) + 1);
    const what = `${title}\n${policy}\n${Buffer.from(file).toString("utf8")}`;
    expect(comparable(own[i]!), what).toEqual(comparable(answer));
  }
  return exits;
}

interface Vectors {
  readonly policies: Readonly<Record<string, string>>;
  readonly cases: readonly {
    readonly title: string;
    readonly policy: string | null;
    readonly selfAsserted?: boolean;
    readonly export?: string;
    readonly receipt?: string;
    readonly checkpoint?: string;
    readonly held?: string | null;
    readonly exit: number;
  }[];
}

function jobsOf(name: string): (Job & { readonly exit: number })[] {
  const vectors = JSON.parse(readFileSync(new URL(`../../vectors/${name}.json`, import.meta.url), "utf8")) as Vectors;
  return vectors.cases.map(({ title, policy, selfAsserted = false, held = null, exit, ...shown }) => ({
    title,
    file: Buffer.from((shown.export ?? shown.receipt ?? shown.checkpoint)!),
    held,
    policy: policy === null ? null : vectors.policies[policy]!,
    selfAsserted,
    exit,
  }));
}

const RECEIPTS = jobsOf("receipts");
const EXPORTS = jobsOf("exports");
const CHECKPOINTS = jobsOf("checkpoints");
const SOUND = [...RECEIPTS, ...EXPORTS].filter(({ exit }) => exit !== 1 && exit !== 5);
const POLICIES = [...new Set(EXPORTS.map(({ policy }) => policy))];

/** The checkpoint of a receipt; null where it has not the form of one. */
function checkpointIn(receipt: Uint8Array): string | null {
  try {
    return core.parseReceipt(receipt).proof.checkpoint;
  } catch (error) {
    if (!isTallystickError(error)) throw error;
    return null;
  }
}

/** Two lines of a file changed places, or one stands twice. */
function shuffled(random: Random, file: Uint8Array): Uint8Array {
  const lines = Buffer.from(file).toString("utf8").split("\n");
  const [one, two] = [random.pick([...lines.keys()]), random.pick([...lines.keys()])];
  const line = lines[one]!;
  if (random.chance(0.5)) lines[one] = lines[two]!;
  lines[two] = line;
  return Buffer.from(lines.join("\n"));
}

/** Examples of random_proofs.py with what verify.py said of each. */
async function randomProofs(
  kind: ProofKind,
  seed: number,
  count: number,
): Promise<{ example: ProofExample; answer: ProofAnswer }[]> {
  const script = fileURLToPath(new URL("random_proofs.py", import.meta.url));
  const child = spawn("python3", [script, kind, `${seed}`, `${count}`], { stdio: ["ignore", "pipe", "inherit"] });
  const found: { example: ProofExample; answer: ProofAnswer }[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    const { answer, ...example } = JSON.parse(line) as ProofExample & { readonly answer: ProofAnswer };
    found.push({ example, answer });
  }
  return found;
}

describe("verify.py", () => {
  it("is there to compare with, or the reason why not is printed", (context) => {
    if (hasPython) return;
    const reason = PYTHON.error === undefined ? `python3: ${PYTHON.stderr}` : "python3 is not installed";
    // Where Python is installed, a run that must be complete does not skip what it could do.
    if (process.env.CI === "true" && PYTHON.error === undefined) throw new Error(reason);
    console.warn(`skipped, verify.py interop: ${reason}`);
    context.skip(reason);
  });
});

describe.skipIf(!hasPython)("the library and verify.py judge alike (needs python3)", { timeout: TIMEOUT_MS }, () => {
  it("receipts and exports of the vectors", async () => {
    await expectAlike([...RECEIPTS, ...EXPORTS]);
  });

  it("checkpoints alone, beside one that the reader holds too", async () => {
    await expectAlike(CHECKPOINTS);
  });

  it("evidence that carries no anchors, where the reader asks for one: exit 4, and 1 where something is wrong", async () => {
    const folder = mkdtempSync(join(tmpdir(), "tallystick-interop-"));
    try {
      const golden = (name: string) => fileURLToPath(new URL(`../../vectors/golden/v1/${name}`, import.meta.url));
      const written = (name: string, file: Uint8Array) => {
        writeFileSync(join(folder, name), file);
        return join(folder, name);
      };
      const sound = CHECKPOINTS.find(({ title }) => title === "a checkpoint with the quorum")!;
      const changed = readFileSync(golden("ledger.jsonl"), "utf8").replace(
        '"outcome":"success"',
        '"outcome":"failure"',
      );
      await using test = await createTestLedger();
      await test.ledger.publish(filesystemArchive(join(folder, "www")));
      const policy = readFileSync(golden("policy"), "utf8");
      const asked: [path: string, policy: string, exit: number][] = [
        [golden("event.receipt.json"), policy, 4],
        [golden("ledger.jsonl"), policy, 4],
        [golden("filter.jsonl"), policy, 4],
        [written("checkpoint", sound.file), sound.policy!, 4],
        [join(folder, "www"), test.ledger.policy(), 4],
        [written("changed.jsonl", Buffer.from(changed)), policy, 1],
        [written("cut.receipt.json", Buffer.from('{"entry":"\n')), policy, 1],
      ];
      for (const [path, pinned, exit] of asked) {
        const report = await verify(path, { policy: pinned, state: null, requireAnchor: true });
        const answer = { exit: exitCodeOf(report), missing: report.requiredMissing };
        expect(answer, path).toEqual({ exit, missing: ["anchor"] });
        expect(report.verdicts.time.unchecked.at(-1), path).toMatch(/^anchors: an? [a-z ]+ carries none$/);
        const script = fileURLToPath(new URL("../../verifier/verify.py", import.meta.url));
        const options = ["--policy", written("pinned", Buffer.from(pinned)), "--require-anchor", "--json"];
        const python = spawnSync("python3", [script, path, ...options], { encoding: "utf8" });
        const said = JSON.parse(python.stdout) as VerifyReport;
        expect({ exit: python.status, missing: said.requiredMissing }, path).toEqual(answer);
        expect(said.verdicts.time.unchecked.at(-1), path).toMatch(/^anchors: /);
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it("receipts beside a checkpoint that the reader holds", async () => {
    const proved = RECEIPTS.map(({ file }) => checkpointIn(file)).find((note) => note !== null)!;
    const held = [proved, ...new Set(CHECKPOINTS.map(({ held = null }) => held).filter((note) => note !== null))];
    const exits = await expectAlike(
      RECEIPTS.flatMap((job) => held.map((note) => ({ ...job, title: `${job.title}, held`, held: note }))),
    );
    expect([...exits.keys()].sort()).toEqual([0, 1, 3, 4, 5]);
  });

  it("checkpoints with one bit changed, and with other lines", async () => {
    const random = createRandom(7);
    const jobs = Array.from({ length: 1000 }, (_, i): Job => {
      const job = random.pick(CHECKPOINTS);
      const { file } = random.chance(0.7) ? job : { file: shuffled(random, job.file) };
      return { ...job, title: `seed 7, change ${i} of ${job.title}`, file: flipBit(random, file) };
    });
    const exits = await expectAlike(jobs);
    expect(exits.get(1)).toBeGreaterThan(50);
    expect(exits.get(5)).toBeGreaterThan(5);
  });

  it.each([1, 2])("exports of random ledgers, honest and hostile, seed %i", async (seed) => {
    const random = createRandom(seed);
    const jobs = Array.from({ length: 600 }, (_, i): Job => {
      const policy = random.pick(POLICIES);
      const selfAsserted = policy === null && random.chance(0.5);
      return { title: `seed ${seed}, ledger ${i}`, file: Buffer.from(randomExport(random)), policy, selfAsserted };
    });
    const exits = await expectAlike(jobs);
    // It would be a poor comparison if all were refused, or none.
    expect(exits.get(1)).toBeLessThan(jobs.length - 50);
    expect(exits.get(1)).toBeGreaterThan(50);
  });

  it.each([3, 4])("receipts and exports with damaged structure, seed %i", async (seed) => {
    const random = createRandom(seed);
    const jobs = Array.from({ length: 700 }, (_, i): Job => {
      const job = random.pick(SOUND);
      const file = Buffer.from(damage(random, Buffer.from(job.file).toString("utf8")));
      return { ...job, title: `seed ${seed}, damage ${i} to ${job.title}`, file };
    });
    await expectAlike(jobs);
  });

  // More of the same, with other seeds: node test/interop/compare-proofs.mjs
  it.each([
    ["tokens", 300],
    ["ots", 300],
    ["packages", 400],
    ["published", 150],
  ] as const)("random proofs, honest and hostile: %s", async (kind, count) => {
    const judgeProof = judgeOf(core, verify)[kind];
    const proofs = await randomProofs(kind, 6, count);
    expect(proofs.length).toBe(count);
    for (const { example, answer } of proofs) {
      const own = await judgeProof(example);
      expect(comparableProof(own, kind), JSON.stringify(example)).toEqual(comparableProof(answer, kind));
    }
    const holding = proofs.filter(({ answer }) => answer.code === undefined && answer.exit !== 1 && answer.exit !== 5);
    expect(holding.length).toBeGreaterThan(count / 20);
  });

  it("its own tests, packages and anchors of the vectors among them", { timeout: 4 * TIMEOUT_MS }, () => {
    const tests = fileURLToPath(new URL("../../verifier/test_verify.py", import.meta.url));
    const { status, stderr } = spawnSync("python3", ["-B", tests], { encoding: "utf8", timeout: 4 * TIMEOUT_MS });
    expect(stderr).toMatch(/\nRan [0-9]+ tests in /);
    expect(status, stderr).toBe(0);
  });

  it("receipts and exports with one bit changed", async () => {
    const random = createRandom(5);
    const jobs = Array.from({ length: 1000 }, (_, i): Job => {
      const job = random.pick(SOUND);
      return { ...job, title: `seed 5, bit ${i} of ${job.title}`, file: flipBit(random, job.file) };
    });
    await expectAlike(jobs);
  });
});
