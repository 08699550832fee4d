#!/usr/bin/env node
/**
 * Where the processor time of one case goes: runs `cases/tallystick.mjs` under the sampling profiler and prints the functions
 * in which it was, with microseconds an entry.
 *
 *     node bench/profile.mjs append-many event 100000
 *     node bench/profile.mjs append-one event 5000
 *     taskset -c 0 node bench/profile.mjs verify event 100000      one thread, so that the profile has it
 *
 * `verify` fills the ledger first, unprofiled.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const ROWS = 45;
const bench = dirname(fileURLToPath(import.meta.url));
const root = dirname(bench);
const cache = join(bench, ".cache");

const [mode = "append-many", scheme = "event", count = "100000"] = process.argv.slice(2);
const entries = Number(count);
if (!Number.isInteger(entries) || entries < 1) throw new RangeError(`expected a number of entries, got ${count}`);

mkdirSync(cache, { recursive: true });
const directory = mkdtempSync(join(cache, "profile-"));
try {
  if (mode === "verify") runCase("append-many", []);
  const profiles = join(directory, "profiles");
  const answer = runCase(mode, ["--cpu-prof", "--cpu-prof-interval", "250", "--cpu-prof-dir", profiles]);
  const [file] = readdirSync(profiles);
  const profile = JSON.parse(readFileSync(join(profiles, file), "utf8"));
  process.stdout.write(`${mode}, ${scheme}: ${Math.round(answer.values[0].value)} ${answer.values[0].unit}\n\n`);
  for (const line of table(selfTimes(profile))) process.stdout.write(`${line}\n`);
} finally {
  rmSync(directory, { recursive: true, force: true });
}

function runCase(name, flags) {
  const options = { directory, root, mode: name, scheme, entries, warmUp: 0 };
  const child = spawnSync(
    process.execPath,
    [...flags, join(bench, "cases", "tallystick.mjs"), JSON.stringify(options)],
    {
      env: { ...process.env, TALLYSTICK_STATE_DIR: join(directory, "state") },
      encoding: "utf8",
      maxBuffer: 64 * 1024 * 1024,
    },
  );
  if (child.status !== 0) throw new Error(child.stderr || `the case ended with ${child.signal ?? child.status}`);
  return JSON.parse(child.stdout.trim().split("\n").at(-1));
}

/** Microseconds in each function itself, by name and place. */
function selfTimes({ nodes, samples, timeDeltas }) {
  const places = new Map(nodes.map(({ id, callFrame }) => [id, placeOf(callFrame)]));
  const times = new Map();
  samples.forEach((id, i) => {
    const place = places.get(id);
    times.set(place, (times.get(place) ?? 0) + timeDeltas[i]);
  });
  return times;
}

function placeOf({ functionName, url, lineNumber }) {
  const file = url.replace(/^.*\/dist\//, "").replace(/^.*\/node_modules\//, "");
  return `${functionName || "(anonymous)"}${file === "" ? "" : `  ${file}:${lineNumber + 1}`}`;
}

function table(times) {
  const idle = times.get("(idle)") ?? 0;
  const busy = [...times.values()].reduce((sum, time) => sum + time, 0) - idle;
  const rows = [...times].filter(([place]) => place !== "(idle)").sort((a, b) => b[1] - a[1]);
  const line = (time, what) =>
    `${(time / entries).toFixed(3).padStart(8)} µs ${((100 * time) / busy).toFixed(1).padStart(5)} %  ${what}`;
  return [line(busy, "busy, all"), ...rows.slice(0, ROWS).map(([place, time]) => line(time, place))];
}
