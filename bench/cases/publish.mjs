/**
 * Publishing a ledger into a folder on the same disk, every object synced.
 *
 * `all`: everything of a ledger that was never published. `one`: one more entry each time, appended and signed before the clock
 * starts; `/objects` is the most that one publication wrote (the checkpoint not counted), `/with-checkpoint` the time from the
 * durable append on.
 *
 * Options: directory (holds audit.db and the state), root, mode; samples (one).
 */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { amount, median, rate, readOptions, report, seconds } from "../lib/measure.mjs";

const options = readOptions();
const load = (name) => import(pathToFileURL(join(options.root, "dist", name)).href);
const { Ledger, verify } = await load("index.js");
const { filesystemArchive } = await load("storage/archive/filesystem.js");
const folder = join(options.directory, `www-${process.pid}`);

async function all(ledger) {
  await ledger.checkpoint();
  const started = performance.now();
  const { size, objects } = await ledger.publish(filesystemArchive(folder));
  const elapsed = seconds(started);
  const { ok } = await verify(folder, { policy: ledger.policy() });
  if (!ok || size !== ledger.size) throw new Error("what was published does not verify");
  return [[rate("", size, elapsed)], { objects }];
}

async function one(ledger) {
  const archive = filesystemArchive(folder);
  await ledger.publish(archive);
  const publishing = [];
  const whole = [];
  let most = 0;
  // The first ones compile.
  for (let k = -20; k < options.samples; k++) {
    await ledger.append({ action: "bench.published", payload: { k } });
    const durable = performance.now();
    await ledger.checkpoint();
    const signed = performance.now();
    const { size, before, objects } = await ledger.publish(archive);
    const end = performance.now();
    if (size !== before + 1) throw new Error(`published size ${size} after ${before}`);
    if (k < 0) continue;
    most = Math.max(most, objects);
    publishing.push(end - signed);
    whole.push(end - durable);
  }
  const values = [amount("", median(publishing), "ms"), amount("with-checkpoint", median(whole), "ms")];
  return [[...values, amount("objects", most, "objects")], { size: ledger.size }];
}

// Nothing is signed but where it is asked for.
const ledger = await Ledger.open(join(options.directory, "audit.db"), { limits: { checkpointEveryMs: 3_600_000 } });
try {
  report(...(await { all, one }[options.mode](ledger)));
} finally {
  await ledger.close();
  rmSync(folder, { recursive: true, force: true });
}
