import { copyFileSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, expect, it, type TestContext } from "vitest";
import { cachedPackage } from "./cached-package.ts";
import { installPackage, specifiers } from "./installed-package.ts";
import { ROOT, run } from "./program.ts";

// Consumers with the library check on. CommonJS ones need TypeScript 5.8, which learned of require(esm).
const CONSUMERS = [
  { typescript: "5.7", module: "nodenext", extensions: ["mts"] },
  { typescript: "5.9", module: "nodenext", extensions: ["mts", "cts"] },
  { typescript: "5.9", module: "bundler", extensions: ["mts"] },
  { typescript: "ours", module: "nodenext", extensions: ["mts", "cts"] },
];

const OURS = { folder: join(ROOT, "node_modules/typescript") };

const MODULE_OPTIONS: Readonly<Record<string, object>> = {
  nodenext: { module: "nodenext" },
  bundler: { module: "esnext", moduleResolution: "bundler" },
};

const COMPILER_OPTIONS = {
  target: "es2022",
  lib: ["es2023", "esnext.disposable"],
  types: ["node"],
  strict: true,
  exactOptionalPropertyTypes: true,
  skipLibCheck: false,
  noEmit: true,
};

let project = "";

beforeAll(async () => {
  project = await installPackage();
  for (const name of ["@types/node", "undici-types"]) {
    const target = join(project, "node_modules", name);
    mkdirSync(dirname(target), { recursive: true });
    symlinkSync(join(ROOT, "node_modules", name), target, "junction");
  }
  const reexports = specifiers.map((specifier, index) => `export * as subpath${index} from "${specifier}";\n`).join("");
  for (const extension of ["mts", "cts"]) {
    copyFileSync(join(ROOT, "test/packaging/fixtures/consumer.ts"), join(project, `consumer.${extension}`));
    writeFileSync(join(project, `subpaths.${extension}`), reexports);
  }
}, 300_000);

afterAll(() => {
  if (project !== "") rmSync(project, { recursive: true });
});

it.for(CONSUMERS)(
  "declarations compile under TypeScript $typescript, module $module, in $extensions files",
  async ({ typescript, module, extensions }, context: TestContext) => {
    const found = typescript === "ours" ? OURS : await cachedPackage(`typescript@~${typescript}.0`);
    if ("missing" in found) context.skip(found.missing);
    const compilerOptions = { ...COMPILER_OPTIONS, ...MODULE_OPTIONS[module] };
    const files = extensions.flatMap((extension) => [`consumer.${extension}`, `subpaths.${extension}`]);
    const file = join(project, `tsconfig-${typescript}-${module}.json`);
    writeFileSync(file, JSON.stringify({ compilerOptions, files }));
    const { code, stdout } = await run(process.execPath, [join(found.folder, "bin/tsc"), "-p", file], { cwd: project });
    expect(stdout).toBe("");
    expect(code).toBe(0);
  },
);
