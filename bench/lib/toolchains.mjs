/** Makes what a peer needs under bench/.cache, once; a toolchain that is missing or fails is a reason, not an error. */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

function run(file, args, options = {}) {
  const result = spawnSync(file, args, { encoding: "utf8", timeout: 15 * 60_000, maxBuffer: 1 << 26, ...options });
  if (result.error) {
    const missing = result.error.code === "ENOENT";
    return { ok: false, why: missing ? `${file} is not installed` : `${file}: ${result.error.message}`, out: "" };
  }
  if (result.status !== 0) {
    const lines = `${result.stderr}${result.stdout}`.trim().split("\n");
    return { ok: false, why: `${file} ${args[0] ?? ""} failed: ${lines.slice(-2).join(" / ")}`, out: result.stdout };
  }
  return { ok: true, why: "", out: result.stdout.trim() };
}

/** @returns {{ python?: string, versions: object, reason?: string }} */
export function preparePython({ cache, peers, log }) {
  const venv = join(cache, "venv");
  const python = join(venv, "bin", "python");
  const requirements = readFileSync(join(peers, "requirements.txt"), "utf8");
  const stamp = join(venv, "requirements.txt");
  if (!existsSync(stamp) || readFileSync(stamp, "utf8") !== requirements) {
    log("making a virtual environment for the Python peers");
    mkdirSync(cache, { recursive: true });
    const made = run("python3", ["-m", "venv", "--clear", venv]);
    if (!made.ok) return { versions: {}, reason: made.why };
    const installed = run(python, ["-m", "pip", "install", "--quiet", "-r", join(peers, "requirements.txt")]);
    if (!installed.ok) return { versions: {}, reason: installed.why };
    writeFileSync(stamp, requirements);
  }
  const version = run(python, ["--version"]);
  if (!version.ok) return { versions: {}, reason: version.why };
  const frozen = run(python, ["-m", "pip", "freeze"]).out;
  const versions = { python: version.out.replace("Python ", "") };
  for (const line of requirements.trim().split("\n")) {
    const name = line.split("==")[0];
    versions[name] = frozen.match(new RegExp(`^${name}==(.+)$`, "mi"))?.[1] ?? "unknown";
  }
  const sqlite = run(python, ["-c", "import sqlite3; print(sqlite3.sqlite_version)"]);
  versions["python sqlite"] = sqlite.out;
  return { python, versions };
}

/** @returns {{ tessera?: string, versions: object, reason?: string }} */
export function prepareTessera({ cache, peers, log }) {
  const go = run("go", ["version"]);
  if (!go.ok) return { versions: {}, reason: go.why };
  const binary = join(cache, "tessera-bench");
  log("building the Tessera program");
  mkdirSync(cache, { recursive: true });
  const built = run("go", ["build", "-mod=readonly", "-trimpath", "-o", binary, "."], { cwd: join(peers, "tessera") });
  if (!built.ok) return { versions: {}, reason: built.why };
  const tessera = readFileSync(join(peers, "tessera", "go.mod"), "utf8").match(/transparency-dev\/tessera (\S+)/)?.[1];
  return { tessera: binary, versions: { go: go.out.split(" ")[2], tessera } };
}
