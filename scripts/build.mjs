#!/usr/bin/env node
/**
 * Compiles src/ to dist/. Nothing is done when neither the inputs nor dist/ changed since the last build. The
 * compiler writes into a fresh folder that then takes dist/'s place, so dist/ never holds files of deleted
 * sources, and a build that fails leaves the last good one alone.
 */
import { createHash } from "node:crypto";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { join, relative } from "node:path";
import { ROOT, runTool } from "./lib/process.mjs";

const DIST = join(ROOT, "dist");
const CACHE = join(ROOT, ".cache");
const STAMP = join(CACHE, "build.json");
const EXECUTABLES = ["cli/main.js"];

const inputs = fingerprint(ROOT, [
  ...listFiles(join(ROOT, "src")).filter((path) => !path.endsWith(".test.ts")),
  ...["package.json", "package-lock.json", "tsconfig.json", "tsconfig.build.json", "scripts/build.mjs"].map((name) =>
    join(ROOT, name),
  ),
]);
if (isFresh()) process.exit(0);

mkdirSync(CACHE, { recursive: true });
const fresh = join(CACHE, `dist-${process.pid}`);
const { code, output } = await runTool("typescript", ["-p", "tsconfig.build.json", "--outDir", fresh]);
if (code !== 0) {
  rmSync(fresh, { recursive: true, force: true });
  process.stderr.write(`${output}\nbuild failed: the TypeScript compiler ended with ${code}\n`);
  process.exit(1);
}
for (const name of EXECUTABLES) {
  if (existsSync(join(fresh, name))) chmodSync(join(fresh, name), 0o755);
}
// Taken before the move: beside a second build, what lies in dist/ afterwards may be of other inputs.
const outputs = fingerprint(fresh, listFiles(fresh));
putInPlace(fresh);
writeFileSync(STAMP, JSON.stringify({ inputs, outputs }));

function isFresh() {
  if (!existsSync(STAMP) || !existsSync(DIST)) return false;
  const stamp = JSON.parse(readFileSync(STAMP, "utf8"));
  return stamp.inputs === inputs && stamp.outputs === fingerprint(DIST, listFiles(DIST));
}

/** A second build at the same moment may have put its own, equal dist/ in place first: then this one steps back. */
function putInPlace(folder) {
  const old = join(CACHE, `dist-old-${process.pid}`);
  try {
    if (existsSync(DIST)) renameSync(DIST, old);
    renameSync(folder, DIST);
  } catch (error) {
    if (!existsSync(DIST)) throw error;
    rmSync(folder, { recursive: true, force: true });
  }
  rmSync(old, { recursive: true, force: true });
}

function listFiles(folder) {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}

function fingerprint(folder, paths) {
  const hash = createHash("sha256");
  for (const path of paths) {
    const bytes = readFileSync(path);
    hash.update(`${relative(folder, path)}\n${bytes.length}\n`).update(bytes);
  }
  return hash.digest("hex");
}
