#!/usr/bin/env node
/**
 * Searches every tracked text file for what must not stand in a public repository: paths of somebody's machine,
 * addresses of package registries, claims that no evidence supports, and notes to oneself. Also refuses a lock file
 * with download addresses: names, versions and integrity are enough, and addresses tie it to one registry.
 */
import { lstatSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ROOT, run } from "./lib/process.mjs";

/** Matched line by line, without regard to case unless the row says otherwise. */
export const FORBIDDEN_WORDS = [
  { pattern: /(?:^|[^A-Za-z0-9_.~-])\/(?:work|farm|root|tmp\/plan)\/[A-Za-z.]/, why: "a path of one machine" },
  {
    pattern: /registry\.(?:npmjs\.org|yarnpkg\.com|npmmirror\.com)|proxy\.golang\.org|files\.pythonhosted\.org/i,
    why: "a registry's address",
  },
  { pattern: /tamper[\s-]?proof/i, why: "a claim beyond the evidence: say tamper-evident" },
  { pattern: /\b(?:TODO|FIXME)\b/, why: "a note to oneself: do it or drop it" },
];

/** This file holds the words because it looks for them. */
const EXEMPT = ["scripts/check-words.mjs"];

/** Each offending line of one text, as `path:line: why: the match`. */
export function forbiddenWords(path, text) {
  const lines = text.split("\n");
  const offences = lines.flatMap((line, index) =>
    FORBIDDEN_WORDS.flatMap(({ pattern, why }) => {
      const match = pattern.exec(line);
      return match === null ? [] : [`${path}:${index + 1}: ${why}: ${match[0].trim()}`];
    }),
  );
  const resolved = path.endsWith("package-lock.json") ? lines.findIndex((line) => /"resolved":/.test(line)) : -1;
  return resolved < 0 ? offences : [...offences, `${path}:${resolved + 1}: a download address in the lock file`];
}

/** Not so for a tracked link, and for a file that was deleted and not yet committed. */
function isFile(path) {
  return lstatSync(join(ROOT, path), { throwIfNoEntry: false })?.isFile() === true;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { code, stdout } = await run("git", ["ls-files", "-z"]);
  const paths = stdout.split("\0").filter((path) => path !== "" && !EXEMPT.includes(path) && isFile(path));
  if (code !== 0) {
    process.stdout.write("not a git checkout: there are no tracked files to search\n");
  } else {
    const offences = paths.flatMap((path) => {
      const bytes = readFileSync(join(ROOT, path));
      return bytes.includes(0) ? [] : forbiddenWords(path, bytes.toString("utf8"));
    });
    for (const offence of offences) process.stdout.write(`${offence}\n`);
    if (offences.length > 0) process.exitCode = 1;
    else process.stdout.write(`${paths.length} tracked files\n`);
  }
}
