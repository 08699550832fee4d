#!/usr/bin/env node
/**
 * Holds the closed lists of the specification against the code: spec/errors.md and spec/findings.md name, in the
 * first cell of their table rows, exactly the codes that the built core knows, each once.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { ROOT } from "./lib/process.mjs";

const LISTS = [
  { page: "spec/errors.md", module: "dist/core/errors.js", table: "ERROR_CODES" },
  { page: "spec/findings.md", module: "dist/core/report.js", table: "FINDING_CODES" },
];

const problems = [];
const counts = [];
for (const { page, module, table } of LISTS) {
  const codes = Object.keys((await import(pathToFileURL(join(ROOT, module)).href))[table]);
  counts.push(`${codes.length} codes in ${page}`);
  if (!existsSync(join(ROOT, page))) {
    problems.push(`${page} is missing`);
    continue;
  }
  const text = readFileSync(join(ROOT, page), "utf8");
  const rows = [...text.matchAll(/^\|\s*`([a-z0-9-]+)`\s*\|/gm)].map((match) => match[1]);
  for (const code of codes) if (!rows.includes(code)) problems.push(`${page} lacks ${code}`);
  for (const [position, row] of rows.entries()) {
    if (!codes.includes(row)) problems.push(`${page} names ${row}, which ${table} does not know`);
    if (rows.indexOf(row) !== position) problems.push(`${page} names ${row} twice`);
  }
}
for (const problem of problems) process.stdout.write(`${problem}\n`);
if (problems.length > 0) process.exitCode = 1;
else process.stdout.write(`${counts.join(", ")}\n`);
