#!/usr/bin/env node
/**
 * `npm test [-- vitest filters]`: builds, runs every test file once and ends with one line
 * `N passed, N failed, N skipped`. Each skip is listed with its reason; a skip without one fails, and so does, where
 * CI=true, a skip for want of a tool that this machine has.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ROOT, run, runTool } from "./lib/process.mjs";

const TOOLS = [
  { word: /\bgo\b/i, command: "go", args: ["version"] },
  { word: /\bpython3?\b/i, command: "python3", args: ["--version"] },
  { word: /\bchromium\b/i, command: "chromium", args: ["--version"] },
  { word: /\bopenssl\b/i, command: "openssl", args: ["version"] },
];

const scratch = mkdtempSync(join(tmpdir(), "tallystick-test-"));
const tallyFile = join(scratch, "tally.json");
process.exitCode = 1;
try {
  const { passed, failed, skipped } = await runTests();
  process.stdout.write(`${passed} passed, ${failed} failed, ${skipped} skipped\n`);
  if (failed === 0 && passed > 0) process.exitCode = 0;
} finally {
  rmSync(scratch, { recursive: true, force: true });
}

async function runTests() {
  const build = await run(process.execPath, [join(ROOT, "scripts/build.mjs")], { inherit: true });
  if (build.code !== 0) return { passed: 0, failed: 1, skipped: 0 };
  const reporters = [
    `--reporter=${process.stdout.isTTY ? "default" : "dot"}`,
    `--reporter=${join(ROOT, "scripts/lib/tally-reporter.mjs")}`,
  ];
  const vitest = await runTool("vitest", ["run", ...reporters, ...process.argv.slice(2)], {
    inherit: true,
    env: { ...process.env, TALLYSTICK_TEST_TALLY: tallyFile, ...(process.stdout.isTTY ? {} : { NO_COLOR: "1" }) },
    timeoutMs: 1_800_000,
  });
  if (!existsSync(tallyFile)) return { passed: 0, failed: 1, skipped: 0 };
  const tally = JSON.parse(readFileSync(tallyFile, "utf8"));
  for (const name of tally.failures) process.stdout.write(`failed: ${name}\n`);
  const refused = await reportSkips(tally.skipped);
  const failed = tally.failed + refused;
  // vitest may also end badly for a reason of its own (a worker that died): never report that as success.
  return {
    passed: tally.passed,
    failed: vitest.code !== 0 && failed === 0 ? 1 : failed,
    skipped: tally.skipped.length - refused,
  };
}

/** Prints each reason with its tests, and returns how many of the skips are failures. */
async function reportSkips(skipped) {
  let refused = 0;
  for (const reason of new Set(skipped.map((skip) => skip.reason))) {
    const names = skipped.filter((skip) => skip.reason === reason).map((skip) => skip.name);
    const objection = await objectionTo(reason);
    if (objection !== null) refused += names.length;
    process.stdout.write(
      `skipped: ${reason ?? "no reason given"}${objection === null ? "" : ` - FAILED: ${objection}`}\n`,
    );
    for (const name of names) process.stdout.write(`  ${name}\n`);
  }
  return refused;
}

async function objectionTo(reason) {
  if (reason === null) return "a skip states its reason";
  if (process.env.CI !== "true") return null;
  for (const { word, command, args } of TOOLS) {
    if (word.test(reason) && (await run(command, args)).code === 0) return `${command} is installed here`;
  }
  return null;
}
