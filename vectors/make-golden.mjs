// Makes golden/v1/: `node vectors/make-golden.mjs`. It writes missing files and compares the others: a golden file is never
// replaced. test/golden/make-golden.ts says what is in them.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { build } from "esbuild";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const GOLDEN = fileURLToPath(new URL("golden/v1/", import.meta.url));

mkdirSync(join(ROOT, ".cache"), { recursive: true });
// Beside the sources, so that the packages of the project are found.
const scratch = mkdtempSync(join(ROOT, ".cache", "golden-"));
try {
  const bundle = join(scratch, "make-golden.mjs");
  await build({
    entryPoints: [join(ROOT, "test/golden/make-golden.ts")],
    outfile: bundle,
    bundle: true,
    platform: "node",
    format: "esm",
    conditions: ["tallystick-source", "node"],
    packages: "external",
    logLevel: "error",
  });
  const { makeGolden } = await import(pathToFileURL(bundle).href);
  mkdirSync(GOLDEN, { recursive: true });
  for (const [name, text] of await makeGolden()) {
    try {
      writeFileSync(join(GOLDEN, name), text, { flag: "wx" });
    } catch (error) {
      if (error.code !== "EEXIST") throw error;
      if (readFileSync(join(GOLDEN, name), "utf8") !== text) throw new Error(`${name} would change; golden files never do`);
    }
  }
} finally {
  rmSync(scratch, { recursive: true });
}
