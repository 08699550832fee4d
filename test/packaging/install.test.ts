import { copyFileSync, readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, type TestContext } from "vitest";
import type { Missing } from "./cached-package.ts";
import { installPackage, manifest, projectFor, specifiers } from "./installed-package.ts";
import { environmentOf, type NodeRelease, nodeRelease } from "./node-release.ts";
import { type Result, ROOT, run, runOk } from "./program.ts";

// The packed tarball, installed into an empty project, under each Node line that package.json promises to support.
const NODE_MAJORS = [20, 22, 24];
const GOLDEN = join(ROOT, "vectors/golden");

let installed: string;
const leftovers: string[] = [];

beforeAll(async () => {
  installed = await installPackage();
  leftovers.push(installed);
}, 300_000);

afterAll(() => {
  for (const folder of leftovers) rmSync(folder, { recursive: true, force: true });
});

describe.each(NODE_MAJORS)("installed under Node %i", (major) => {
  let node: NodeRelease | Missing;
  let project: string;

  beforeAll(async () => {
    node = await nodeRelease(major);
    if ("missing" in node) return;
    project = await projectFor(node, installed);
    leftovers.push(project);
    for (const name of ["append.mjs", "append.cjs", "collect.mjs", "verify-golden.mjs"]) {
      copyFileSync(join(ROOT, "test/packaging/fixtures", name), join(project, name));
    }
  }, 600_000);

  function runNode(args: readonly string[], context: TestContext): Promise<Result> {
    if ("missing" in node) context.skip(node.missing);
    const env = { ...environmentOf(node), TALLYSTICK_STATE_DIR: join(project, "state") };
    return runOk(node.executable, args, { cwd: project, env });
  }

  it("gives the same names to import and to require, for every subpath", async (context) => {
    const program = `
      const { createRequire } = await import("node:module");
      const require = createRequire(process.cwd() + "/x.cjs");
      const names = (module) => Object.keys(module).filter((name) => name !== "__esModule").sort().join();
      for (const specifier of ${JSON.stringify(specifiers)}) {
        const imported = names(await import(specifier));
        if (imported === "" || imported !== names(require(specifier))) throw new Error(specifier + ": " + imported);
        console.log(specifier);
      }`;
    const { stdout } = await runNode(["--input-type=module", "--eval", program], context);
    expect(stdout.trim().split("\n")).toEqual(specifiers);
  });

  it("appends and verifies from a module and from CommonJS", async (context) => {
    const first = await runNode(["append.mjs"], context);
    expect(JSON.parse(first.stdout)).toEqual({ index: 1, ok: true, size: 2 });
    const second = await runNode(["append.cjs"], context);
    expect(JSON.parse(second.stdout)).toEqual({ index: 2, ok: true, size: 3 });
    expect(second.stderr).toBe("");
  });

  it("outlives the collection of what it opened", async (context) => {
    for (let run = 0; run < 3; run++) {
      const { stdout } = await runNode(["collect.mjs"], context);
      expect(stdout).toBe("collected\n");
    }
  });

  it("verifies the golden files of every released format", async (context) => {
    for (const version of readdirSync(GOLDEN)) {
      const { stdout } = await runNode(["verify-golden.mjs", join(GOLDEN, version)], context);
      const results = Object.entries(JSON.parse(stdout) as Record<string, { ok: boolean; conclusive: boolean }>);
      expect(results.length).toBeGreaterThan(0);
      // A part of a ledger is intact, but says nothing of the rest.
      const isPart = /^(?:prefix|slice|filter)\./;
      const expected = results.map(([name]) => [name, { ok: true, conclusive: !isPart.test(name), findings: 0 }]);
      expect(results).toEqual(expected);
    }
  });

  it("has a command that tells its version", async (context) => {
    const { stdout, stderr } = await runNode(["node_modules/.bin/tallystick", "--version"], context);
    expect({ stdout, stderr }).toEqual({ stdout: `${manifest.version}\n`, stderr: "" });
  });
});

describe("the installed command", () => {
  it.skipIf(process.platform === "win32")("starts by its own first line (needs a POSIX system)", async () => {
    const { code, stdout } = await run(join(installed, "node_modules/.bin/tallystick"), ["--version"]);
    expect({ code, stdout }).toEqual({ code: 0, stdout: `${manifest.version}\n` });
  });
});
