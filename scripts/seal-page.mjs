#!/usr/bin/env node
/**
 * `node scripts/seal-page.mjs [--check]`: writes into the content security policy of verifier/verify.html the hashes of its
 * style and of its script, so that a browser runs these and nothing else. `--check` compares only.
 */
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const PAGE = fileURLToPath(new URL("../verifier/verify.html", import.meta.url));

/** The page with the hashes of its own style and script in its policy. */
export function sealed(page) {
  const directives = {
    "style-src": /<style>([\s\S]*?)<\/style>/.exec(page)[1],
    "script-src": /<script>([\s\S]*?)<\/script>/.exec(page)[1],
  };
  return Object.entries(directives).reduce((text, [name, source]) => {
    const digest = createHash("sha256").update(source, "utf8").digest("base64");
    return text.replace(new RegExp(`${name} '[^']*'`), `${name} 'sha256-${digest}'`);
  }, page);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const page = readFileSync(PAGE, "utf8");
  if (!process.argv.includes("--check")) writeFileSync(PAGE, sealed(page));
  else if (sealed(page) !== page) {
    process.stderr.write("verify.html: its policy names other hashes; run node scripts/seal-page.mjs\n");
    process.exitCode = 1;
  }
}
