/**
 * Evidence packages of a whole ledger on the same disk, each step in a process of its own.
 *
 * `write`: everything into one file beside the ledger, synced. `verify`: that file under the pinned policy. `/peak-memory` is of that
 * process.
 *
 * Options: directory (holds audit.db and the state), root, mode.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { amount, peakMemoryMb, readOptions, report, seconds } from "../lib/measure.mjs";

const options = readOptions();
const load = (name) => import(pathToFileURL(join(options.root, "dist", name)).href);
const { Ledger, verify } = await load("index.js");
const out = join(options.directory, "evidence.zip");
const policyPath = join(options.directory, "evidence.policy");

async function write() {
  const { writeEvidencePackage } = await load("compliance/index.js");
  const ledger = await Ledger.open(join(options.directory, "audit.db"));
  await ledger.checkpoint();
  const started = performance.now();
  const { size } = await writeEvidencePackage(ledger, { out });
  const elapsed = seconds(started);
  writeFileSync(policyPath, ledger.policy());
  if (size !== ledger.size) throw new Error(`a package of ${size} entries, of ${ledger.size}`);
  await ledger.close();
  return elapsed;
}

async function verifyIt() {
  const policy = readFileSync(policyPath, "utf8");
  const started = performance.now();
  const { ok, conclusive, findings } = await verify(out, { policy, state: null });
  const elapsed = seconds(started);
  if (!ok || !conclusive) throw new Error(`it does not verify: ${JSON.stringify(findings).slice(0, 500)}`);
  return elapsed;
}

const elapsed = await { write, verify: verifyIt }[options.mode]();
report([amount("", elapsed, "s"), amount("peak-memory", peakMemoryMb(), "MB")]);
