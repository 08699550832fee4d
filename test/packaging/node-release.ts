import { dirname, join } from "node:path";
import { cachedPackage, type Missing } from "./cached-package.ts";
import { runOk } from "./program.ts";

/** A Node.js release that can be run here. */
export interface NodeRelease {
  readonly version: string;
  /** Number of the native module interface: an add-on is built for exactly one. */
  readonly abi: string;
  readonly executable: string;
  /** Folder with `include/node`, for building add-ons; null where only the executable is known. */
  readonly prefix: string | null;
}

/** The newest release of a major line: the one that runs this process where it fits, else a download of some 50 MB. */
export async function nodeRelease(major: number): Promise<NodeRelease | Missing> {
  if (Number(process.versions.node.split(".")[0]) === major) return inspect(process.execPath, null);
  const platform = process.platform === "win32" ? "win" : process.platform;
  const found = await cachedPackage(`node-${platform}-${process.arch}@${major}`);
  if ("missing" in found) return found;
  return inspect(join(found.folder, "bin", process.platform === "win32" ? "node.exe" : "node"), found.folder);
}

async function inspect(executable: string, prefix: string | null): Promise<NodeRelease> {
  const { stdout } = await runOk(executable, ["-p", "process.versions.node + ' ' + process.versions.modules"]);
  const [version = "", abi = ""] = stdout.trim().split(" ");
  return { version, abi, executable, prefix };
}

/** Environment in which `node` is this release. */
export function environmentOf(node: NodeRelease): NodeJS.ProcessEnv {
  const { NODE_OPTIONS: _ours, ...env } = process.env;
  return { ...env, PATH: `${dirname(node.executable)}:${env.PATH}`, NO_COLOR: "1" };
}
