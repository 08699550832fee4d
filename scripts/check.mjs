#!/usr/bin/env node
/**
 * `npm run check [-- step...]`: the one gate. Runs the steps below in order, or the named ones, and prints one line for
 * each with its time; a step that fails prints what it found. The tests run only when everything before them is well.
 */
import { join } from "node:path";
import { ROOT, run, runTool } from "./lib/process.mjs";

const script = (name) => () => run(process.execPath, [join(ROOT, "scripts", name)]);

const STEPS = [
  { name: "build", does: script("build.mjs") },
  { name: "types", does: () => runTool("typescript", ["--noEmit"]) },
  { name: "lint", does: () => runTool("@biomejs/biome", ["check", "--error-on-warnings", "."]) },
  { name: "layers", does: script("check-layers.mjs") },
  { name: "words", does: script("check-words.mjs") },
  { name: "spec", does: script("check-spec.mjs"), needs: "build" },
  { name: "exports", does: script("check-exports.mjs"), needs: "build" },
  { name: "docs", does: script("check-docs.mjs"), needs: "build" },
];
const TESTS = "tests";

const wanted = process.argv.slice(2);
const known = [...STEPS.map((step) => step.name), TESTS];
for (const name of wanted) {
  if (!known.includes(name)) {
    process.stderr.write(`there is no step ${name}: ${known.join(", ")}\n`);
    process.exit(2);
  }
}
const isWanted = (name) => wanted.length === 0 || wanted.includes(name);
const started = performance.now();
const failed = [];

for (const { name, does, needs } of STEPS) {
  const neededLater = STEPS.some((step) => step.needs === name && isWanted(step.name));
  if (!isWanted(name) && !neededLater) continue;
  if (needs !== undefined && failed.includes(needs)) {
    failed.push(name);
    process.stdout.write(`skip  ${name}, for want of ${needs}\n`);
    continue;
  }
  const stepStarted = performance.now();
  const { code, output } = await does();
  const text = output.trimEnd();
  report(code === 0, name, stepStarted, code === 0 ? text.split("\n").at(-1) : "");
  if (code !== 0) {
    failed.push(name);
    process.stdout.write(`${text.replaceAll(/^/gm, "      ")}\n`);
  }
}

if (isWanted(TESTS) && failed.length > 0) {
  process.stdout.write(`skip  ${TESTS}, until the steps above pass\n`);
} else if (isWanted(TESTS)) {
  const stepStarted = performance.now();
  const { code } = await run(process.execPath, [join(ROOT, "scripts/test.mjs")], { inherit: true });
  if (code !== 0) failed.push(TESTS);
  report(code === 0, TESTS, stepStarted, "");
}
const seconds = secondsSince(started);
process.stdout.write(
  failed.length === 0 ? `check passed in ${seconds}\n` : `check failed: ${failed.join(", ")} (${seconds})\n`,
);
process.exitCode = failed.length === 0 ? 0 : 1;

function report(ok, name, since, remark) {
  process.stdout.write(
    `${ok ? "ok   " : "FAIL "} ${name.padEnd(8)} ${secondsSince(since).padStart(7)}  ${remark}`.trimEnd(),
  );
  process.stdout.write("\n");
}

function secondsSince(since) {
  return `${((performance.now() - since) / 1000).toFixed(1)} s`;
}
