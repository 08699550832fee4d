/** What the figures depend on, so that a reader can judge them. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { arch, cpus, release, totalmem, type } from "node:os";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";

function answer(file, args, options = {}) {
  const result = spawnSync(file, args, { encoding: "utf8", timeout: 10_000, ...options });
  return result.status === 0 ? result.stdout.trim() : undefined;
}

export function describeMachine(directory) {
  const processors = cpus();
  return {
    os: `${type()} ${release()} ${arch()}`,
    cpu: processors[0]?.model.trim() ?? "unknown",
    cpus: processors.length,
    memoryGb: Math.round(totalmem() / 2 ** 30),
    fileSystem: answer("findmnt", ["-n", "-o", "FSTYPE", "-T", directory]) ?? "unknown",
  };
}

/** Share of all processors, 0 to 1, that was in use for `milliseconds` while this process slept: what others are doing. */
export async function sampleBusy(milliseconds) {
  const before = cpus();
  await sleep(milliseconds);
  const after = cpus();
  let busy = 0;
  let total = 0;
  after.forEach(({ times }, k) => {
    for (const [name, value] of Object.entries(times)) {
      const spent = value - before[k].times[name];
      total += spent;
      if (name !== "idle") busy += spent;
    }
  });
  return total === 0 ? 0 : busy / total;
}

export function describeVersions(root) {
  const packageJson = JSON.parse(readFileSync(`${root}/package.json`, "utf8"));
  const driver = JSON.parse(readFileSync(`${root}/node_modules/better-sqlite3/package.json`, "utf8"));
  const commit = answer("git", ["rev-parse", "--short=12", "HEAD"], { cwd: root });
  const changed = answer("git", ["status", "--porcelain", "--untracked-files=no"], { cwd: root });
  return {
    tallystick: packageJson.version,
    commit: commit === undefined ? "unknown" : `${commit}${changed ? " with changes" : ""}`,
    node: process.version,
    "better-sqlite3": driver.version,
  };
}
