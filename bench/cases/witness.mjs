/**
 * Witnesses as real processes of the built command line, over loopback.
 *
 * `updates`: one witness takes checkpoint updates of many logs; the clock covers requests made and signed beforehand, from the
 * first to the last answer, each of which must be a cosignature. `receipt`: a ledger with three witnesses, two of which are the
 * quorum; the clock covers what a witnessed receipt takes beyond the durable append. `append`: batches of 1,000 until all are
 * durable; with `evidence` the checkpoints of each second are cosigned by two of three witnesses and published, and what is cosigned and
 * published in that time is looked at; without, nothing is signed before the end.
 *
 * Options: directory, root, mode; logs, rounds, connections (updates); samples (receipt); entries, warmUp, evidence (append).
 */
import { spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { Agent, request } from "node:http";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { createEvents, POOL_SIZE } from "../lib/events.mjs";
import { amount, median, rate, readOptions, report, seconds } from "../lib/measure.mjs";

const BATCH = 1_000;
const options = readOptions();
const load = (name) => import(pathToFileURL(join(options.root, "dist", name)).href);
const { formatNote, formatVerifierKey, parseVerifierKey, signNote } = await load("core/note.js");
const { formatCheckpoint } = await load("core/checkpoint.js");
const { createRange, hashLeaf } = await load("core/merkle.js");
const { proveConsistency } = await load("core/proof.js");
const { exportPem, generateLogKey } = await load("keys/index.js");

const vkeyOf = (name, type, { publicKey }) => formatVerifierKey({ name, type, publicKey });
const children = [];
mkdirSync(options.directory, { recursive: true });

/** Starts `witness serve` and resolves with its URL when it listens. */
async function startWitness(id, logs) {
  const key = generateLogKey();
  const name = `${id}.example/witness`;
  const path = (ending) => join(options.directory, `${id}.${ending}`);
  writeFileSync(path("pem"), exportPem(key), { mode: 0o600 });
  const config = { name, key: path("pem"), database: path("sqlite"), logs, requestsPerMinute: 1_000_000 };
  writeFileSync(path("json"), JSON.stringify(config));
  const args = ["witness", "serve", "--config", path("json"), "--listen", "127.0.0.1:0", "--json"];
  const child = spawn(process.execPath, [join(options.root, "dist/cli/main.js"), ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  children.push(child);
  let text = "";
  const line = await new Promise((resolve, reject) => {
    child.stdout.setEncoding("utf8").on("data", (chunk) => {
      text += chunk;
      if (text.includes("\n")) resolve(text);
    });
    child.on("exit", (code) => reject(new Error(`the witness ended with ${code}`)));
  });
  return { id, url: JSON.parse(line).url, vkey: vkeyOf(name, 4, key) };
}

function stopAll() {
  return Promise.all(
    children.map((child) => new Promise((resolve) => child.on("exit", resolve) && child.kill("SIGTERM"))),
  );
}

/** Requests of each log, round by round: every one grows its tree by three leaves. */
async function prepareUpdates(logs, rounds) {
  const STEP = 3;
  const known = {};
  const requests = Array.from({ length: rounds }, () => []);
  for (let i = 0; i < logs; i++) {
    const origin = `log.example/${i}`;
    const key = generateLogKey();
    known[origin] = [vkeyOf(origin, 1, key)];
    const leaves = Array.from({ length: rounds * STEP }, (_, n) => hashLeaf(Buffer.from(`${i} ${n}`)));
    const range = createRange();
    for (let round = 0; round < rounds; round++) {
      const before = round * STEP;
      const size = before + STEP;
      for (const leaf of leaves.slice(before, size)) range.append(leaf);
      const text = formatCheckpoint({ origin, size, root: range.root() });
      const proof =
        before === 0
          ? []
          : await proveConsistency(before, size, (_l, _i, width) => Buffer.concat(leaves.slice(0, width)));
      const lines = proof.map((hash) => `${Buffer.from(hash).toString("base64")}\n`).join("");
      requests[round].push(`old ${before}\n${lines}\n${formatNote(text, [await signNote(text, origin, key)])}`);
    }
  }
  return { known, requests };
}

function post(url, agent, body) {
  return new Promise((resolve, reject) => {
    const sent = request(
      url,
      { agent, method: "POST", headers: { "content-length": Buffer.byteLength(body) } },
      (answer) => {
        answer.resume();
        answer.on("end", () => resolve(answer.statusCode));
      },
    );
    sent.on("error", reject);
    sent.end(body);
  });
}

async function updates() {
  const { logs, rounds, connections } = options;
  const { known, requests } = await prepareUpdates(logs, rounds);
  const { url } = await startWitness("w", known);
  const agent = new Agent({ keepAlive: true, maxSockets: connections });
  const latencies = [];
  const send = async (bodies) => {
    let next = 0;
    const lane = async () => {
      while (next < bodies.length) {
        const body = bodies[next++];
        const sent = performance.now();
        const status = await post(`${url}/add-checkpoint`, agent, body);
        if (status !== 200) throw new Error(`answered ${status}`);
        latencies.push(performance.now() - sent);
      }
    };
    await Promise.all(Array.from({ length: connections }, lane));
  };
  // The first round compiles, and makes the rows.
  await send(requests[0]);
  latencies.length = 0;
  const started = performance.now();
  for (const bodies of requests.slice(1)) await send(bodies);
  const elapsed = seconds(started);
  agent.destroy();
  await stopAll();
  const count = logs * (rounds - 1);
  report([rate("", count, elapsed, "updates/s"), amount("latency", median(latencies), "ms")], { logs, connections });
}

/** A new ledger with three witnesses, two of which are the quorum. */
async function openWitnessed(limits) {
  const { Ledger } = await load("index.js");
  const { formatPolicy, parsePolicy } = await load("core/index.js");
  const { httpWitness } = await load("witness/client.js");
  const path = join(options.directory, "audit.db");
  const made = await Ledger.open(path, { origin: "bench.example/witnessed" });
  const base = parsePolicy(made.policy());
  await made.close();
  const logs = { [base.origin]: base.logKeys.map(({ vkey }) => vkey) };
  const witnesses = await Promise.all(["w0", "w1", "w2"].map((id) => startWitness(id, logs)));
  const policy = formatPolicy({
    ...base,
    witnesses: witnesses.map(({ id, vkey, url }) => ({ name: id, key: parseVerifierKey(vkey), url })),
    groups: [{ name: "two", threshold: 2, members: ["w0", "w1", "w2"] }],
    quorum: "two",
  });
  const clients = witnesses.map(({ id, vkey, url }) => httpWitness({ name: id, vkey, url }));
  return Ledger.open(path, { witnesses: { policy, witnesses: clients }, limits });
}

async function receipt() {
  const ledger = await openWitnessed({});
  const beyond = [];
  // The first ones compile and connect.
  for (let k = -20; k < options.samples; k++) {
    const { index } = await ledger.append({ action: "bench.witnessed", actor: "alice", payload: { k } });
    const durable = performance.now();
    await ledger.prove(index, { until: "witnessed" });
    if (k >= 0) beyond.push(performance.now() - durable);
  }
  await ledger.close();
  await stopAll();
  beyond.sort((a, b) => a - b);
  report([amount("", median(beyond), "ms"), amount("p95", beyond[Math.floor(beyond.length * 0.95)], "ms")]);
}

/** Publishes once a second until told to stop; then says how often, and how far it was when the last append was durable. */
function publishEverySecond(ledger, archive) {
  let isOver = false;
  let count = 0;
  let size = 0;
  const work = (async () => {
    while (!isOver) {
      const next = sleep(1_000);
      const published = await ledger.publish(archive);
      size = published.size;
      count += 1;
      await next;
    }
  })();
  return async () => {
    isOver = true;
    const [reached, times] = [size, count];
    await work;
    return { publications: times, publishedAtEnd: reached };
  };
}

async function append() {
  const { entries, warmUp, evidence } = options;
  const { Ledger } = await load("index.js");
  const { filesystemArchive } = await load("storage/archive/filesystem.js");
  const path = join(options.directory, "audit.db");
  const never = { checkpointEveryMs: 3_600_000, witnessEveryMs: 3_600_000 };
  const ledger = evidence
    ? await openWitnessed({ checkpointEveryMs: 1_000, witnessEveryMs: 1_000 })
    : await Ledger.open(path, { limits: never });
  const events = createEvents(Math.min(POOL_SIZE, entries + warmUp));
  const batch = (first) => Array.from({ length: BATCH }, (_, k) => events[(first + k) % events.length]);
  for (let done = 0; done < warmUp; done += BATCH) await ledger.appendMany(batch(done));
  const stop = evidence ? publishEverySecond(ledger, filesystemArchive(join(options.directory, "www"))) : null;
  const started = performance.now();
  for (let done = 0; done < entries; done += BATCH) await ledger.appendMany(batch(warmUp + done));
  const elapsed = seconds(started);
  const { witnessed } = await ledger.status();
  const published = await stop?.();
  if (evidence && (witnessed === 0 || published.publishedAtEnd === 0))
    throw new Error("nothing was cosigned or published meanwhile");
  await ledger.close();
  await stopAll();
  report([rate("", entries, elapsed)], evidence ? { witnessedAtEnd: witnessed, ...published } : {});
}

const MODES = { updates, receipt, append };

try {
  await MODES[options.mode]();
} finally {
  for (const child of children) child.kill("SIGKILL");
}
