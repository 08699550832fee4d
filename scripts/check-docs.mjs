#!/usr/bin/env node
/**
 * Runs the code of README.md and of every page below docs/ against the built, packed package; scripts/lib/fences.mjs
 * states the convention. The programs of one page share a folder and run in the page's order, each page in a fresh
 * one, with a state directory of its own. `npm run check -- docs` or `node scripts/check-docs.mjs README.md` for one.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { transform } from "esbuild";
import { matchesOutput, programsOf, shellSteps } from "./lib/fences.mjs";
import { createPackedProject } from "./lib/packed-project.mjs";
import { ROOT, run, runTool } from "./lib/process.mjs";

const PROGRAM_MS_MAX = 60_000;
const COMPILER_OPTIONS = {
  target: "es2022",
  lib: ["es2023", "esnext.disposable"],
  module: "nodenext",
  types: ["node"],
  strict: true,
  noEmit: true,
};

const problems = [];
let ran = 0;
const pages = process.argv.length > 2 ? process.argv.slice(2) : listPages();
const project = await createPackedProject();
try {
  for (const page of pages) await checkPage(page);
} finally {
  project.remove();
}
for (const problem of problems) process.stdout.write(`${problem}\n`);
if (problems.length > 0) process.exitCode = 1;
else process.stdout.write(`${ran} programs on ${pages.length} pages\n`);

function listPages() {
  const docs = readdirSync(join(ROOT, "docs"), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith(".md"))
    .map((entry) => relative(ROOT, join(entry.parentPath, entry.name)));
  return ["README.md", ...docs.sort()].filter((page) => existsSync(join(ROOT, page)));
}

async function checkPage(page) {
  let parsed;
  try {
    parsed = programsOf(readFileSync(join(ROOT, page), "utf8"));
  } catch (error) {
    problems.push(`${page}: ${error.message}`);
    return;
  }
  for (const { line, language, reason } of parsed.unrun) {
    process.stdout.write(`not run: ${page}:${line} (${language}): ${reason}\n`);
  }
  if (parsed.programs.length === 0) return;
  const folder = join(project.folder, page.replaceAll(/[^A-Za-z0-9]+/g, "-"));
  mkdirSync(folder);
  writeFileSync(join(folder, "package.json"), '{ "private": true, "type": "module" }\n');
  await checkTypes(page, folder, parsed.programs);
  for (const program of parsed.programs) {
    ran += 1;
    if (program.kind === "module") await runModule(page, folder, program);
    else await runShell(page, folder, program);
  }
}

/** All modules of a page at once. Each file begins with blank lines, so that the compiler names the page's lines. */
async function checkTypes(page, folder, programs) {
  const sources = programs.filter((program) => program.language === "ts");
  if (sources.length === 0) return;
  for (const { line, code } of sources) {
    writeFileSync(join(folder, `line-${line}.ts`), `${"\n".repeat(line - 1)}${code}\nexport {};\n`);
  }
  writeFileSync(
    join(folder, "tsconfig.json"),
    JSON.stringify({ compilerOptions: COMPILER_OPTIONS, include: ["*.ts"] }),
  );
  const { code, output } = await runTool("typescript", ["-p", folder], { cwd: folder });
  if (code !== 0) problems.push(`${page} does not compile:\n${output.trim()}`);
}

async function runModule(page, folder, { language, line, code, expected }) {
  const source =
    language === "ts" ? (await transform(code, { loader: "ts", format: "esm", target: "node20" })).code : code;
  const file = join(folder, `line-${line}.${language === "cjs" ? "cjs" : "mjs"}`);
  writeFileSync(file, source);
  const result = await run(process.execPath, [file], settings(folder));
  compare(`${page}:${line}`, result, 0, expected ?? null, result.stdout);
}

async function runShell(page, folder, program) {
  for (const { line, command, exit, expected } of shellSteps(program)) {
    const result = await run("bash", ["-euo", "pipefail", "-c", command], settings(folder));
    compare(`${page}:${line}`, result, exit, expected, result.output);
  }
}

function compare(place, { code, output }, exit, expected, found) {
  if (code !== exit) problems.push(`${place} ended with ${code}, not with ${exit}:\n${output.trimEnd()}`);
  else if (expected !== null && !matchesOutput(expected, found)) {
    problems.push(`${place} printed something else.\nexpected:\n${expected}\nfound:\n${found.trimEnd()}`);
  }
}

function settings(folder) {
  return {
    cwd: folder,
    timeoutMs: PROGRAM_MS_MAX,
    env: {
      PATH: `${join(project.folder, "node_modules/.bin")}:${process.env.PATH}`,
      HOME: folder,
      TALLYSTICK_STATE_DIR: join(folder, ".state"),
      NO_COLOR: "1",
      LANG: "C.UTF-8",
    },
  };
}
