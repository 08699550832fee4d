#!/usr/bin/env node
/**
 * Holds the closed lists of the specification against the code: spec/errors.md and spec/findings.md name, in the
 * first cell of their table rows, exactly the codes that the built core knows, each once, under the heading of its
 * class or verdict.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { ROOT } from "./lib/process.mjs";

const { ERROR_CODES } = await importBuilt("dist/core/errors.js");
const { FINDING_CODES } = await importBuilt("dist/core/report.js");

const LISTS = [
  { page: "spec/errors.md", codes: ERROR_CODES, headingOf: (kind) => `${kind[0].toUpperCase()}${kind.slice(1)}Error` },
  { page: "spec/findings.md", codes: FINDING_CODES, headingOf: (verdict) => verdict ?? "no verdict" },
];

const problems = LISTS.flatMap(compare);
for (const problem of problems) process.stdout.write(`${problem}\n`);
if (problems.length > 0) process.exitCode = 1;
else
  process.stdout.write(
    `${LISTS.map(({ page, codes }) => `${Object.keys(codes).length} codes in ${page}`).join(", ")}\n`,
  );

function compare({ page, codes, headingOf }) {
  if (!existsSync(join(ROOT, page))) return [`${page} is missing`];
  const seen = new Set();
  const found = [];
  for (const { code, heading } of rowsOf(readFileSync(join(ROOT, page), "utf8"))) {
    if (seen.has(code)) found.push(`${page} names ${code} twice`);
    seen.add(code);
    if (!Object.hasOwn(codes, code)) found.push(`${page} names ${code}, which the code does not know`);
    else if (!heading.includes(headingOf(codes[code]))) {
      found.push(`${page} has ${code} under "${heading}", the code under ${headingOf(codes[code])}`);
    }
  }
  const lacking = Object.keys(codes).filter((code) => !seen.has(code));
  return [...found, ...lacking.map((code) => `${page} lacks ${code} (${headingOf(codes[code])})`)];
}

function rowsOf(markdown) {
  const rows = [];
  let heading = "";
  for (const line of markdown.split("\n")) {
    if (line.startsWith("#")) heading = line.replace(/^#+\s*/, "");
    const code = /^\|\s*`([a-z0-9-]+)`\s*\|/.exec(line)?.[1];
    if (code !== undefined) rows.push({ code, heading });
  }
  return rows;
}

function importBuilt(path) {
  return import(pathToFileURL(join(ROOT, path)).href);
}
