import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { ROOT, run, runNpm } from "./process.mjs";

/**
 * Packs the built package into `folder`. `files` are the paths inside the package. Throws where npm or the package
 * itself objects.
 */
export async function pack(folder) {
  const { code, stdout, output } = await runNpm(["pack", "--json", "--ignore-scripts", "--pack-destination", folder]);
  if (code !== 0) throw new Error(`npm pack ended with ${code}\n${output}`);
  const [{ filename, files }] = JSON.parse(stdout);
  return { tarball: join(folder, filename), files: files.map((file) => file.path) };
}

/**
 * A throwaway project with the packed package in its node_modules and the repository's own copies of the runtime
 * dependencies beside it, so that nothing is downloaded. `remove` deletes it.
 */
export async function createPackedProject() {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), "tallystick-packed-")));
  const { name, dependencies, devDependencies } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
  const modules = join(folder, "node_modules");
  mkdirSync(join(modules, name), { recursive: true });
  const { tarball, files } = await pack(folder);
  const { code, output } = await run("tar", ["-xzf", tarball, "-C", join(modules, name), "--strip-components=1"]);
  if (code !== 0) throw new Error(`tar ended with ${code}\n${output}`);
  const links = [
    ...Object.keys(dependencies),
    ...Object.keys(devDependencies).filter((key) => key.startsWith("@types/")),
  ];
  for (const dependency of links) {
    mkdirSync(dirname(join(modules, dependency)), { recursive: true });
    symlinkSync(realpathSync(join(ROOT, "node_modules", dependency)), join(modules, dependency), "junction");
  }
  linkCommands(modules, name);
  writeFileSync(join(folder, "package.json"), '{ "private": true, "type": "module" }\n');
  return { folder, tarball, files, remove: () => rmSync(folder, { recursive: true, force: true }) };
}

/** What an installation does for the package's `bin`. */
function linkCommands(modules, name) {
  const installed = join(modules, name);
  const { bin } = JSON.parse(readFileSync(join(installed, "package.json"), "utf8"));
  mkdirSync(join(modules, ".bin"));
  for (const [command, path] of Object.entries(bin)) {
    if (!existsSync(join(installed, path))) continue;
    chmodSync(join(installed, path), 0o755);
    symlinkSync(join(installed, path), join(modules, ".bin", command));
  }
}
