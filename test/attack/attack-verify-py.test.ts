import { execFile, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type TamperedExport, tamperedExports } from "../../src/attack/index.ts";
import { splitLines } from "../../src/core/file-lines.ts";
import { exitCodeOf, type Finding, VERDICT_NAMES, type VerifyReport } from "../../src/core/report.ts";
import { verifyExport } from "../../src/core/verify-export.ts";

const VERIFIER = fileURLToPath(new URL("../../verifier/verify.py", import.meta.url));
const run = promisify(execFile);

/** Why the two verifiers cannot be compared here; null when they can. */
const problem = ((): string | null => {
  if (!existsSync(VERIFIER)) return "there is no verifier/verify.py";
  const { status } = spawnSync("python3", ["-c", "import sys; sys.exit(sys.version_info < (3, 9))"]);
  return status === 0 ? null : "there is no python3 of 3.9 or later";
})();

/**
 * What an export shows of the attacks. A tail that was cut off does not show in it: it is made under the largest checkpoint that
 * the entries reach, which is then an older genuine one. Derived data and stolen keys do not show either.
 */
const NOTICED: readonly string[] = [
  ...["edit", "delete", "insert", "reorder", "regrow", "rewrite"].flatMap((id) => [`${id}/write`, `${id}/recompute`]),
  ...["edit", "delete", "insert", "reorder", "rewrite"].map((id) => `${id}/replay`),
  ...["other-key", "bad-link", "vanished-control", "weakened-rules", "swapped-keys"],
];

/** What both verifiers must say alike. */
interface Answer {
  readonly exit: number;
  readonly verdicts: Readonly<Record<string, string>>;
  readonly findings: readonly string[];
  readonly root: string | null;
}

function answerOf(report: VerifyReport, exit: number): Answer {
  return {
    exit,
    verdicts: Object.fromEntries(VERDICT_NAMES.map((name) => [name, report.verdicts[name].status])),
    findings: report.findings.map(placeOf).sort(),
    root: report.root,
  };
}

/** Code and index. `erasure-void` may stand at the erasure or at the entry that it names: spec/export.md S2. */
function placeOf({ code, index }: Finding): string {
  return code === "erasure-void" ? code : `${code} ${index ?? "-"}`;
}

async function askLibrary(text: string, policy: string | undefined): Promise<Answer> {
  const bytes = new TextEncoder().encode(text);
  const lines = () =>
    splitLines(
      (async function* () {
        yield bytes;
      })(),
    );
  const report = await verifyExport(lines, { policy, allowSelfAsserted: false });
  return answerOf(report, exitCodeOf(report));
}

async function askPython(path: string, policyPath: string | null): Promise<Answer> {
  const pin = policyPath === null ? [] : ["--policy", policyPath];
  try {
    const { stdout } = await run("python3", [VERIFIER, path, ...pin, "--json"], { maxBuffer: 2 ** 26 });
    return answerOf(JSON.parse(stdout) as VerifyReport, 0);
  } catch (error) {
    const { code, stdout } = error as { readonly code?: unknown; readonly stdout?: string };
    if (typeof code !== "number" || stdout === undefined || stdout === "") throw error;
    return answerOf(JSON.parse(stdout) as VerifyReport, code);
  }
}

describe.skipIf(problem !== null)(
  `the independent verifier on tampered exports${problem === null ? "" : ` (${problem})`}`,
  () => {
    const folder = mkdtempSync(join(tmpdir(), "tallystick-test-"));
    const answers = new Map<string, { readonly library: Answer; readonly python: Answer }>();
    const missing: string[] = [];

    beforeAll(async () => {
      const compare = async ({ id, text, policy, withoutPin }: TamperedExport): Promise<void> => {
        if (text === null) {
          missing.push(id);
          return;
        }
        const path = join(folder, `${id.replace("/", "-")}.jsonl`);
        const policyPath = `${path}.policy`;
        writeFileSync(path, text);
        writeFileSync(policyPath, policy);
        const [library, python] = await Promise.all([
          askLibrary(text, withoutPin ? undefined : policy),
          askPython(path, withoutPin ? null : policyPath),
        ]);
        answers.set(id, { library, python });
      };
      for await (const tampered of tamperedExports()) await compare(tampered);
    });

    afterAll(() => rmSync(folder, { recursive: true }));

    it("gets an export of every attacked ledger that still has a checkpoint note", () => {
      expect(missing).toEqual(["wiped", "stripped-signatures"]);
      expect(answers.size).toBe(59);
    });

    it("says the same as the library: exit code, verdicts, findings and root", () => {
      const differing = [...answers].filter(
        ([, { library, python }]) => JSON.stringify(library) !== JSON.stringify(python),
      );
      expect(differing).toEqual([]);
    });

    it("finds the ledger intact that nobody touched, and stays inconclusive without a pin", () => {
      expect(answers.get("untouched")?.python).toMatchObject({ exit: 0, findings: [] });
      expect(answers.get("other-key-no-pin")?.python).toMatchObject({ exit: 3, findings: [] });
    });

    it("notices every attack that needs no more than the export and the pinned policy", () => {
      const noticed = [...answers].filter(([, { python }]) => python.exit === 1).map(([id]) => id);
      expect(noticed.sort()).toEqual([...NOTICED].sort());
    });
  },
);
