/**
 * Tallystick through its public API.
 *
 * Options: directory (holds audit.db and the state), root, mode, scheme, entries, warmUp, windows, ids, samples.
 */
import { closeSync, openSync, readFileSync, readSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { setImmediate as nextTurn, setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import Database from "better-sqlite3";
import { createEvents, createRandom, POOL_SIZE } from "../lib/events.mjs";
import { amount, median, peakMemoryMb, rate, readOptions, report, seconds } from "../lib/measure.mjs";
import { schemaDifference } from "../lib/schema.mjs";

const BATCH = 1_000;
const BLOCK = 256;
const INDEX_TIMEOUT_MS = 120_000;

const options = readOptions();
const path = join(options.directory, "audit.db");
const policyPath = join(options.directory, "policy");

function load(name) {
  return import(pathToFileURL(join(options.root, "dist", name)).href);
}

const { Ledger } = await load("index.js");

function open() {
  return Ledger.open(path, { scheme: options.scheme });
}

/** Events as a caller makes them: plain objects. With `ids`, each carries a random idempotency key. */
function createSource() {
  const events = createEvents(Math.min(POOL_SIZE, options.entries + options.warmUp));
  const random = createRandom(99);
  const word = () => random().toString(16).padStart(8, "0");
  return (first, count) => {
    const batch = new Array(count);
    for (let k = 0; k < count; k++) {
      const event = events[(first + k) % events.length];
      batch[k] = options.ids ? { id: `${word()}${word()}${word()}${word()}`, ...event } : event;
    }
    return batch;
  };
}

const APPENDERS = {
  "append-many": { step: BATCH, append: (ledger, events) => ledger.appendMany(events) },
  "append-concurrent": {
    step: BATCH,
    append: (ledger, events) => Promise.all(events.map((event) => ledger.append(event))),
  },
  "append-one": { step: 1, append: (ledger, events) => ledger.append(events[0]) },
};

async function fill() {
  const { step, append } = APPENDERS[options.mode];
  const ledger = await open();
  const source = createSource();
  for (let done = 0; done < options.warmUp; done += step) await append(ledger, source(done, step));

  const marks = new Map();
  const started = performance.now();
  for (let done = 0; done < options.entries; done += step) {
    marks.set(done, performance.now());
    await append(ledger, source(options.warmUp + done, Math.min(step, options.entries - done)));
  }
  marks.set(options.entries, performance.now());
  const values = [rate("", options.entries, seconds(started))];
  for (const [name, from, to] of options.windows ?? []) {
    values.push(rate(name, to - from, (marks.get(to) - marks.get(from)) / 1000));
  }
  if (options.mode !== "append-one") {
    await ledger.checkpoint();
    values.push(rate("checkpointed", options.entries, seconds(started)));
    if (options.entries > BATCH) {
      await filtersWritten(Math.floor(ledger.size / BLOCK));
      values.push(rate("indexed", options.entries, seconds(started)));
      values.push(amount("peak-memory", peakMemoryMb(), "MB"));
    }
  }
  const { size } = ledger;
  writeFileSync(policyPath, ledger.policy());
  await ledger.close();
  if (size !== options.entries + options.warmUp + 1) throw new Error(`the ledger has ${size} entries`);
  report(values, checkFile(size));
}

/** The search filters of full blocks are written in idle moments: waits until all are there. */
async function filtersWritten(expected) {
  const database = new Database(path, { readonly: true });
  const count = database.prepare("SELECT count(*) AS count FROM filters WHERE bits IS NOT NULL");
  const started = performance.now();
  while (count.get().count < expected) {
    if (performance.now() - started > INDEX_TIMEOUT_MS) {
      throw new Error(`${count.get().count} of ${expected} filters after ${INDEX_TIMEOUT_MS / 1000} s`);
    }
    await sleep(10);
  }
  database.close();
}

function checkFile(size) {
  const database = new Database(path, { readonly: true });
  const difference = schemaDifference(database);
  const bytes = database.pragma("page_count", { simple: true }) * database.pragma("page_size", { simple: true });
  const entry = database
    .prepare(
      "SELECT length(entry) AS entry, length(body) AS body, length(salts) AS salts FROM entries ORDER BY idx DESC LIMIT 1",
    )
    .get();
  database.close();
  return { bytesPerEntry: Math.round(bytes / size), lastEntryBytes: entry, ...(difference && { difference }) };
}

/**
 * Reads the file once, in pieces. It was filled minutes ago, and a machine may have taken the cache of it back since; what the neighbours verify was
 * written a moment before.
 */
function warmFile() {
  const file = openSync(path, "r");
  const piece = Buffer.alloc(1024 * 1024);
  while (readSync(file, piece) > 0);
  closeSync(file);
}

async function verifyAll() {
  warmFile();
  const ledger = await open();
  const { size } = ledger;
  const started = performance.now();
  const result = await ledger.verify();
  const elapsed = seconds(started);
  await ledger.close();
  if (!result.ok || result.size !== size)
    throw new Error(`it does not verify: ${JSON.stringify(result).slice(0, 500)}`);
  report([rate("", size, elapsed), amount("peak-memory", peakMemoryMb(), "MB")]);
}

async function prove() {
  const { parsePolicy, verifyReceipt } = await load("core/index.js");
  const policy = parsePolicy(readFileSync(policyPath));
  warmFile();
  const ledger = await open();
  const random = createRandom(7);
  const proving = [];
  const verifying = [];
  let bytes = 0;
  // The first ones compile and fill caches.
  for (let k = -20; k < options.samples; k++) {
    const index = 1 + (random() % (ledger.size - 1));
    const before = performance.now();
    const receipt = await ledger.prove(index);
    const between = performance.now();
    const verified = await verifyReceipt(receipt, policy);
    const after = performance.now();
    if (verified.index !== index) throw new Error(`receipt of ${index} says ${verified.index}`);
    bytes = receipt.length;
    if (k < 0) continue;
    proving.push(between - before);
    verifying.push(after - between);
  }
  await ledger.close();
  report([amount("prove", median(proving), "ms"), amount("verify", median(verifying), "ms")], { receiptBytes: bytes });
}

async function openOnce() {
  const started = performance.now();
  const ledger = await open();
  const elapsed = performance.now() - started;
  const { size } = ledger;
  const appended = performance.now();
  await ledger.append({ action: "bench.opened" });
  const first = performance.now() - appended;
  await ledger.close();
  report([amount("", elapsed, "ms"), amount("first-append", first, "ms")], { size });
}

async function loopDelay() {
  const ledger = await open();
  const source = createSource();
  for (let done = 0; done < options.warmUp; done += BATCH) {
    await Promise.all(source(done, BATCH).map((event) => ledger.append(event)));
  }
  const delays = monitorEventLoopDelay({ resolution: 1 });
  const longest = async (work) => {
    await sleep(50);
    delays.enable();
    await sleep(20);
    delays.reset();
    // The first tick after a reset only starts the next interval.
    await sleep(20);
    await work();
    await sleep(20);
    delays.disable();
    return delays.max / 1e6;
  };

  const events = source(options.warmUp, options.entries);
  const yielding = await longest(async () => {
    const pending = [];
    for (let first = 0; first < events.length; first += 50) {
      for (const event of events.slice(first, first + 50)) pending.push(ledger.append(event));
      await nextTurn();
    }
    await Promise.all(pending);
  });
  let submitting = 0;
  const oneLoop = await longest(async () => {
    const before = performance.now();
    const pending = events.map((event) => ledger.append(event));
    submitting = performance.now() - before;
    await Promise.all(pending);
  });
  await ledger.close();
  report([
    amount("", yielding, "ms"),
    amount("one-loop", oneLoop, "ms"),
    amount("one-loop/submitting", submitting, "ms"),
  ]);
}

const MODES = {
  "append-many": fill,
  "append-concurrent": fill,
  "append-one": fill,
  verify: verifyAll,
  prove,
  open: openOnce,
  "loop-delay": loopDelay,
};

await MODES[options.mode]();
