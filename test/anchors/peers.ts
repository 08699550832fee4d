import { execFile } from "node:child_process";
import { mkdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";

const ROOT = join(import.meta.dirname, "..", "..");
/** Python packages of others that read and write the same formats. The folder's name is the list, so a new list is a new folder. */
const PACKAGES = ["rfc3161-client==1.0.9", "opentimestamps-client==0.7.2"];
const VENV = join(ROOT, ".cache", "anchor-peers-rfc3161-1.0.9-ots-0.7.2");

export interface Result {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end; never rejects. */
export function run(command: string, args: readonly string[], cwd: string = ROOT): Promise<Result> {
  return new Promise((resolve) => {
    execFile(command, args, { cwd, timeout: 120_000, maxBuffer: 16 * 1024 * 1024 }, (error, stdout, stderr) => {
      if (error === null) resolve({ code: 0, stdout, stderr });
      else
        resolve({ code: typeof error.code === "number" ? error.code : 127, stdout, stderr: stderr || error.message });
    });
  });
}

export async function runOk(...call: Parameters<typeof run>): Promise<Result> {
  const result = await run(...call);
  if (result.code === 0) return result;
  throw new Error(`${call[0]} ${call[1].join(" ")} ended with ${result.code}\n${result.stdout}${result.stderr}`);
}

/** Why `openssl ts` cannot be used, or null. */
export async function opensslMissing(): Promise<string | null> {
  const { code, stdout } = await run("openssl", ["version"]);
  return code === 0 && stdout.startsWith("OpenSSL 3") ? null : "needs OpenSSL 3";
}

/** Python of an environment with the packages, or why there is none. Installed once, and moved into place when it is whole. */
export async function pythonPeers(): Promise<{ readonly python: string } | { readonly missing: string }> {
  const python = join(VENV, "bin", "python");
  if ((await stat(python).catch(() => null)) !== null) return { python };
  if ((await run("python3", ["--version"])).code !== 0) return { missing: "needs python3" };
  await mkdir(join(ROOT, ".cache"), { recursive: true });
  const fresh = `${VENV}-${process.pid}`;
  try {
    // Scripts of an environment name their folder, its packages and its python do not: only those are used.
    await runOk("python3", ["-m", "venv", fresh]);
    await runOk(join(fresh, "bin", "python"), [
      "-m",
      "pip",
      "install",
      "--quiet",
      "--disable-pip-version-check",
      ...PACKAGES,
    ]);
    await rename(fresh, VENV);
  } catch (error) {
    await rm(fresh, { recursive: true, force: true });
    // Another run may have put its own in place first.
    if ((await stat(python).catch(() => null)) === null) {
      return { missing: `needs python3 with ${PACKAGES.join(" and ")}: ${(error as Error).message.slice(-300)}` };
    }
  }
  return { python };
}
