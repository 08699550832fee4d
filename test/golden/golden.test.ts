import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, it } from "vitest";
import {
  decodeHex,
  exitCodeOf,
  leafHashHex,
  parseExportLine,
  parsePolicy,
  parseTlogProof,
  recogniseFile,
  reportReceipt,
  splitLines,
  type VerifyReport,
  verifyExport,
  verifyTlogProof,
} from "../../src/core/index.ts";
import { makeGolden } from "./make-golden.ts";

/** Every version ever released verifies for ever: these files were written once, by vectors/make-golden.mjs. */

const GOLDEN = new URL("../../vectors/golden/v1/", import.meta.url);
const read = (name: string): Buffer => readFileSync(new URL(name, GOLDEN));
const NAMES = readdirSync(GOLDEN).sort();
const POLICIES = ["policy", "witnessed.policy"];
/** What is not the whole ledger stays inconclusive. */
const EXITS: Readonly<Record<string, number>> = {
  "ledger.jsonl": 0,
  "prefix.jsonl": 3,
  "slice.jsonl": 3,
  "filter.jsonl": 3,
};
const FILES = NAMES.filter((name) => name.endsWith(".jsonl") || name.endsWith(".receipt.json"));

async function verify(name: string, policy: string | null): Promise<VerifyReport> {
  const bytes = read(name);
  const pin = { allowSelfAsserted: false, ...(policy === null ? {} : { policy: read(policy).toString("utf8") }) };
  return recogniseFile(bytes) === "receipt" ? reportReceipt(bytes, pin) : verifyExport(() => splitLines([bytes]), pin);
}

describe("the golden files of version 1", () => {
  let made: ReadonlyMap<string, string>;
  beforeAll(async () => {
    made = await makeGolden();
  });

  it("are all there", () => {
    expect(NAMES).toEqual([...made.keys()].sort());
  });

  it.each(NAMES)("are written byte by byte as then: %s", (name) => {
    expect(made.get(name)).toBe(read(name).toString("utf8"));
  });

  const cases = FILES.flatMap((name) => POLICIES.map((policy) => ({ name, policy })));
  it.each(cases)("verify: $name under $policy", async ({ name, policy }) => {
    const report = await verify(name, policy);
    expect(report.findings).toEqual([]);
    expect(exitCodeOf(report)).toBe(EXITS[name] ?? 0);
    const { authenticity, independence, time } = report.verdicts;
    expect(authenticity.status).toBe("pass");
    expect([independence.status, time.status]).toEqual(
      policy === "policy" ? ["notEstablished", "notEstablished"] : ["pass", "pass"],
    );
  });

  it("show what was erased, and who signed", async () => {
    const report = await verify("ledger.jsonl", "witnessed.policy");
    expect(report).toMatchObject({
      ok: true,
      conclusive: true,
      erased: { entries: 1, fields: 2 },
      size: 18,
      range: null,
    });
    expect(report.summary).toBe("export of example.com/golden: intact, all 18 entries");
    expect(report.verdicts.authenticity.basis).toMatch(/; 3 events signed by pinned author keys$/);
    expect(report.verdicts.authenticity.unchecked).toEqual([]);
    const selfAsserted = await verify("ledger.jsonl", "policy");
    expect(selfAsserted.verdicts.authenticity.unchecked).toEqual([
      "who holds the author keys of 3 events: they are known from the ledger alone (self-asserted)",
    ]);
  });

  it("prove an erased entry by its leaf alone", async () => {
    const proof = parseTlogProof(read("erased.tlog-proof").toString("utf8"));
    const line = read("ledger.jsonl").toString("utf8").split("\n")[1 + proof.index]!;
    const { entryText, content } = parseExportLine(line, "range");
    expect(content).toMatchObject({ kind: "erased" });
    const policy = parsePolicy(read("witnessed.policy"));
    const leafHash = decodeHex(leafHashHex(entryText), { code: "malformed-entry" });
    expect(await verifyTlogProof({ proof, leafHash, policy })).toMatchObject({ quorum: true });
  });

  it("prove nothing without a pinned policy", async () => {
    for (const name of FILES) expect(exitCodeOf(await verify(name, null))).toBe(3);
  });

  const hasPython = spawnSync("python3", ["-c", "import sys; assert sys.version_info >= (3, 9)"]).status === 0;
  it.skipIf(!hasPython).each(FILES)("verify with verify.py: %s (needs python3)", (name) => {
    const script = fileURLToPath(new URL("../../verifier/verify.py", import.meta.url));
    const path = (file: string): string => fileURLToPath(new URL(file, GOLDEN));
    const { status, stdout } = spawnSync("python3", ["-B", script, path(name), "--policy", path("witnessed.policy")]);
    expect(status, stdout.toString("utf8")).toBe(EXITS[name] ?? 0);
  });
});
