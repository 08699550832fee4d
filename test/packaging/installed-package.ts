import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { environmentOf, type NodeRelease } from "./node-release.ts";
import { CACHE, ROOT, run, runOk } from "./program.ts";

export interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly exports: Readonly<Record<string, unknown>>;
}

export const manifest: Manifest = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));

/** What `import` says for each subpath of the package, `tallystick/package.json` left out. */
export const specifiers: readonly string[] = Object.keys(manifest.exports)
  .filter((subpath) => subpath !== "./package.json")
  .map((subpath) => manifest.name + subpath.slice(1));

const ADDON = "node_modules/better-sqlite3/build/Release/better_sqlite3.node";

/**
 * Builds and packs the package and installs the tarball, as a stranger would, into an empty project. Install scripts
 * are left out: `provideAddon` puts in the native add-on that a Node release needs. The caller deletes the folder.
 */
export async function installPackage(): Promise<string> {
  await runOk(process.execPath, ["scripts/build.mjs"]);
  const project = mkdtempSync(join(tmpdir(), "tallystick-install-"));
  const packed = await runOk("npm", ["pack", "--json", "--ignore-scripts", "--pack-destination", project]);
  const [{ filename }] = JSON.parse(packed.stdout) as [{ readonly filename: string }];
  const allowScripts = { "better-sqlite3": true };
  writeFileSync(join(project, "package.json"), JSON.stringify({ private: true, allowScripts }));
  await runOk("npm", ["install", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund", filename], {
    cwd: project,
  });
  return project;
}

/** A copy of an installed project as npm installs it under one Node release, with better-sqlite3 built for that. */
export async function projectFor(node: NodeRelease, installed: string): Promise<string> {
  const project = mkdtempSync(join(tmpdir(), `tallystick-node-${node.version}-`));
  cpSync(installed, project, { recursive: true, verbatimSymlinks: true });
  // Which optional packages are there depends on the release.
  rmSync(join(project, "package-lock.json"));
  const arguments_ = ["install", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund"];
  await runOk("npm", arguments_, { cwd: project, env: environmentOf(node) });
  mkdirSync(dirname(join(project, ADDON)), { recursive: true });
  await provideAddon(node, project);
  return project;
}

/** Copies the add-on from this repository or from the cache; builds it into the cache where it is in neither. */
async function provideAddon(node: NodeRelease, project: string): Promise<void> {
  const target = join(project, ADDON);
  if (node.abi === process.versions.modules) {
    cpSync(join(ROOT, ADDON), target);
    return;
  }
  const { version } = JSON.parse(readFileSync(join(project, "node_modules/better-sqlite3/package.json"), "utf8"));
  const cached = join(CACHE, `better-sqlite3-${version}-abi${node.abi}.node`);
  if (!existsSync(cached)) {
    await buildAddon(node, project, target);
    const scratch = `${cached}-${process.pid}`;
    cpSync(target, scratch);
    renameSync(scratch, cached);
    rmSync(target);
  }
  cpSync(cached, target);
}

/**
 * SQLite itself does not depend on the Node release and takes nearly a minute to compile, so where `npm ci` compiled it
 * here its archive is linked again, with the small part that does depend. Elsewhere the package's own install script runs.
 */
async function buildAddon(node: NodeRelease, project: string, target: string): Promise<void> {
  const archive = join(ROOT, "node_modules/better-sqlite3/build/Release/sqlite3.a");
  if (node.prefix === null || !existsSync(archive) || (await run("g++", ["--version"])).code !== 0) {
    const env = { ...environmentOf(node), ...(node.prefix === null ? {} : { npm_config_nodedir: node.prefix }) };
    await runOk("npm", ["rebuild", "better-sqlite3"], { cwd: project, env });
    return;
  }
  const sqlite = join(project, "node_modules/better-sqlite3");
  const flags = ["-std=gnu++20", "-O2", "-fPIC", "-shared", "-fno-rtti", "-DNDEBUG", "-DBUILDING_NODE_EXTENSION"];
  const includes = [`-I${join(sqlite, "deps/sqlite3")}`, `-I${join(node.prefix, "include/node")}`];
  // Node itself contains a SQLite since 22.5: bind to ours, and export nothing of it.
  const link = ["-Wl,-Bsymbolic", "-Wl,--exclude-libs,ALL", archive, "-o", target];
  await runOk("g++", [...flags, ...includes, join(sqlite, "src/better_sqlite3.cpp"), ...link]);
}
