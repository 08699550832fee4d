/**
 * Core bundled for a browser, the way an application would: counts `node:` imports, and lets the bundle verify a receipt of
 * a real ledger without any Node module.
 *
 * Options: directory (of a filled ledger, with its policy), root.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";
import { amount, readOptions, report } from "../lib/measure.mjs";

const options = readOptions();
const dist = join(options.root, "dist");
const outfile = join(options.directory, "core-browser.mjs");
const result = await build({
  stdin: {
    contents: `export { parsePolicy, verifyReceipt } from ${JSON.stringify(join(dist, "core", "index.js"))};`,
    resolveDir: options.root,
  },
  bundle: true,
  platform: "browser",
  format: "esm",
  minify: true,
  metafile: true,
  write: false,
  // An import of `node:…` must show as a figure, not as a failed build.
  external: ["node:*"],
});
const [{ text }] = result.outputFiles;
writeFileSync(outfile, text);
const imports = Object.values(result.metafile.outputs)
  .flatMap((output) => output.imports)
  .filter((imported) => imported.path.startsWith("node:"));

const { Ledger } = await import(pathToFileURL(join(dist, "index.js")).href);
const ledger = await Ledger.open(join(options.directory, "audit.db"));
const receipt = await ledger.prove(1);
await ledger.close();
const { parsePolicy, verifyReceipt } = await import(pathToFileURL(outfile).href);
const verified = await verifyReceipt(receipt, parsePolicy(readFileSync(join(options.directory, "policy"))));
if (verified.index !== 1) throw new Error(`the bundle verified entry ${verified.index}`);

report([
  amount("node-imports", imports.length, "imports"),
  amount("minified", text.length / 1024, "kB"),
  amount("gzipped", gzipSync(text).length / 1024, "kB"),
]);
