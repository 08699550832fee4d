#!/usr/bin/env node
/**
 * Checks the package as it would be published: every subpath has its files and loads by import and by require with
 * the same names; publint has nothing to say; no file is packed that nobody asked for; and the root loads no native
 * code and no database driver.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { publint } from "publint";
import { formatMessage } from "publint/utils";
import { createPackedProject } from "./lib/packed-project.mjs";
import { ROOT, run } from "./lib/process.mjs";

/** Everything that may be in the package. A compiled file must also have its source. */
const EXPECTED_FILES = [
  /^package\.json$/,
  /^(LICENSE|NOTICE)$/,
  /^(README|SECURITY|CHANGELOG)\.md$/,
  /^spec\/(README|[a-z0-9-]+)\.md$/,
  /^samples\/[a-z0-9./-]+$/,
  /^verifier\/(verify\.(html|py)|README\.md)$/,
  /^dist\/[a-z0-9./-]+\.(d\.ts|js)$/,
];
const REQUIRED_FILES = ["LICENSE", "README.md", "SECURITY.md", "CHANGELOG.md"];

const manifest = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
const problems = [];
const project = await createPackedProject();
try {
  checkImportsMap();
  checkFiles();
  await checkPublint();
  const subpaths = Object.keys(manifest.exports).filter((subpath) => subpath !== "./package.json");
  await Promise.all(subpaths.map(checkSubpath));
  await checkRootIsLight();
} finally {
  project.remove();
}
for (const problem of problems) process.stdout.write(`${problem}\n`);
if (problems.length > 0) process.exitCode = 1;
else process.stdout.write(`${Object.keys(manifest.exports).length} subpaths, ${project.files.length} files\n`);

/** publint looks at `exports` and `bin`, not at `imports`. */
function checkImportsMap() {
  for (const [name, conditions] of Object.entries(manifest.imports)) {
    for (const [condition, target] of Object.entries(conditions)) {
      if (condition === "tallystick-source" || project.files.includes(target.slice("./".length))) continue;
      problems.push(`imports "${name}": ${target} is not in the package`);
    }
  }
}

function checkFiles() {
  for (const path of project.files) {
    if (!EXPECTED_FILES.some((pattern) => pattern.test(path))) problems.push(`unexpected file in the package: ${path}`);
    const source = /^dist\/(.+?)(\.d\.ts|\.js)$/.exec(path);
    if (source !== null && !existsSync(join(ROOT, "src", `${source[1]}.ts`))) problems.push(`${path} has no source`);
    if (/\.test\.|\/fixtures\//.test(path)) problems.push(`a test is in the package: ${path}`);
  }
  for (const name of REQUIRED_FILES) {
    if (!project.files.includes(name)) problems.push(`missing from the package: ${name}`);
  }
}

async function checkPublint() {
  const bytes = readFileSync(project.tarball);
  const tarball = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
  const { messages } = await publint({ pack: { tarball }, strict: true });
  for (const message of messages) {
    problems.push(`publint: ${formatMessage(message, manifest, { color: false })}`);
  }
}

async function checkSubpath(subpath) {
  const specifier = JSON.stringify(`${manifest.name}${subpath.slice(1)}`);
  const program = `
    const imported = Object.keys(await import(${specifier})).sort();
    const { createRequire } = await import("node:module");
    const required = createRequire(process.cwd() + "/x.cjs")(${specifier});
    const names = Object.keys(required).filter((name) => name !== "__esModule").sort();
    if (imported.length === 0) throw new Error("exports nothing");
    if (imported.includes("default")) throw new Error("has a default export");
    if (String(imported) !== String(names)) throw new Error("require gives other names: " + names);`;
  const { code, output } = await runModule(program);
  if (code !== 0) problems.push(`${manifest.name}${subpath.slice(1)}: ${firstErrorLine(output)}`);
}

async function checkRootIsLight() {
  const { code, output } = await runModule(`
    const before = new Set(process.report.getReport().sharedObjects);
    await import(${JSON.stringify(manifest.name)});
    const { default: Module } = await import("node:module");
    const native = process.report.getReport().sharedObjects.filter((path) => !before.has(path));
    const drivers = Object.keys(Module._cache).filter((path) => path.includes("better-sqlite3"));
    if (native.length + drivers.length > 0) throw new Error("the root loads " + [...native, ...drivers]);`);
  if (code !== 0) problems.push(firstErrorLine(output));
}

function runModule(program) {
  return run(process.execPath, ["--input-type=module", "--eval", program], { cwd: project.folder });
}

function firstErrorLine(output) {
  return output.split("\n").find((line) => /^\w*Error\b/.test(line)) ?? output.trim();
}
