#!/usr/bin/env node
/**
 * Shows that a witness never signs two heads of one log that contradict each other, whatever races and whatever is killed.
 *
 *     node test/witness/race-soak.mjs [--requests 100000] [--processes 3] [--seconds 60] [--seed N] [--broken]
 *
 * Several processes are one witness: they share its key and its database. Each sends itself, two dozen at a time, requests of
 * logs that lie: every new leaf is one of three at random, so that most requests in flight contradict each other; others start
 * from a stale head, rewrite the past, or show another root for the same size. Every now and then a process is killed with
 * SIGKILL and another one starts. Each signature is written to a file as soon as it is there, and at the end all of them are
 * verified and compared. `--broken` puts a store in place that looks first and writes later: then this program must fail.
 *
 * Exit 0: all consistent. 1: a contradiction. 2: consistent, but fewer requests than asked for in the time.
 */
import { fork } from "node:child_process";
import { createPrivateKey, sign } from "node:crypto";
import { closeSync, existsSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { parseArgs } from "node:util";

const dist = fileURLToPath(new URL("../../dist/", import.meta.url));
if (!existsSync(join(dist, "witness/server.js"))) throw new Error("dist/ is missing: run `npm run build`");
const load = (name) => import(pathToFileURL(join(dist, name)).href);
const { formatNote, formatSignatureLine, formatVerifierKey, noteKeyId, parseNote, parseVerifierKey, verifyNote } =
  await load("core/note.js");
const { createRange, hashLeaf } = await load("core/merkle.js");
const { proveConsistency } = await load("core/proof.js");
const { exportPem, logSignerFromSeed } = await load("keys/index.js");

/** Leaves of one log: roots and proofs stay cheap. When it is full all go on to the next one. */
const LEAVES_MAX = 64;
const LOGS = 8_000;
const VARIANTS = 3;
const LANES = 24;
const REPORT_EVERY = 20;
/** Logs that are raced at a time. */
const LOGS_AT_ONCE = 6;
const KILL_EVERY_MS = [1_000, 3_000];
/** A process that is killed loses nothing that it wrote, synced or not: no need to wait for a disk. */
const PARENT = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();

const seedOf = (text) => new Uint8Array(32).fill(text.length);
const witnessSigner = logSignerFromSeed("ed25519", seedOf("the witness"));
const witnessName = "witness.test/raced";
const witnessKey = parseVerifierKey(
  formatVerifierKey({ name: witnessName, type: 4, publicKey: witnessSigner.publicKey }),
);
const logSigner = logSignerFromSeed("ed25519", seedOf("log"));
const logName = "log.test/liar";
const logKey = parseVerifierKey(formatVerifierKey({ name: logName, type: 1, publicKey: logSigner.publicKey }));
const origins = Array.from({ length: LOGS }, (_, i) => `log.test/${i}`);

/** Leaf hash of every variant at every place; a history is one digit a leaf. */
const leaves = Array.from({ length: LEAVES_MAX }, (_, i) =>
  Array.from({ length: VARIANTS }, (_, variant) => hashLeaf(Buffer.from(`leaf ${i} ${variant}`))),
);
const leavesOf = (history) => [...history].map((digit, i) => leaves[i][Number(digit)]);

function rootOf(history) {
  const range = createRange();
  for (const leaf of leavesOf(history)) range.append(leaf);
  return Buffer.from(range.root());
}

function textOf(origin, history) {
  return `${origin}\n${history.length}\n${rootOf(history).toString("base64")}\n${history}\n`;
}

const historyIn = (text) => text.split("\n")[3];

/** xorshift32 */
function createRandom(seed) {
  let state = seed >>> 0 || 1;
  const next = () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
  return { next, below: (n) => Math.floor(next() * n) };
}

if (process.send === undefined) await supervise();
else await race();

/** A process of the witness, and the logs that lie to it. */
async function race() {
  const { folder, id, seed, broken } = JSON.parse(process.argv[2]);
  const { loadSqliteDriver } = await load("storage/sqlite-driver.js");
  const { sqliteWitnessStore } = await load("witness/witness-store.js");
  const { createWitness } = await load("witness/server.js");
  const store = sqliteWitnessStore({ path: join(folder, "witness.sqlite"), driver: await loadSqliteDriver() });
  const witness = createWitness({
    name: witnessName,
    signer: witnessSigner,
    logs: new Map(origins.map((origin) => [origin, [logKey]])),
    store: broken ? lookFirstWriteLater(store) : store,
    requestsPerMinute: 1e9,
  });
  const secret = createPrivateKey(exportPem(logSigner));
  const keyId = noteKeyId(logName, 1, logSigner.publicKey);
  const random = createRandom(seed);
  const out = openSync(join(folder, `signed-${id}.jsonl`), "a");
  /** Logs that are not full yet; every process finds the same ones. */
  const active = Array.from({ length: LOGS_AT_ONCE }, (_, i) => i);
  let isOver = false;
  let unreported = {};
  process.on("message", () => {
    isOver = true;
  });

  const digits = (count) => Array.from({ length: count }, () => random.below(VARIANTS)).join("");
  const rewritten = (history) => {
    const i = random.below(history.length);
    return history.slice(0, i) + String((Number(history[i]) + 1) % VARIANTS) + history.slice(i + 1);
  };

  /** Index of a log that is not full, and its head. */
  function pick() {
    for (;;) {
      const slot = random.below(active.length);
      const head = store.head(origins[active[slot]]);
      if ((head?.size ?? 0) < LEAVES_MAX - 3) return { index: active[slot], head };
      active[slot] += LOGS_AT_ONCE;
      if (active[slot] >= LOGS) throw new Error("all logs are full");
    }
  }

  /** A request over the head that stands, or one that stood a moment ago. */
  function requestOver(head, stale) {
    const history = head === undefined ? "" : historyIn(head.note);
    const kind = random.next();
    if (history === "" || kind < 0.7) return { old: history, next: history + digits(1 + random.below(3)) };
    if (kind < 0.8) return { old: stale, next: stale + digits(1 + random.below(3)) };
    if (kind < 0.9) {
      const other = rewritten(history);
      return { old: other, next: other + digits(1 + random.below(3)) };
    }
    return kind < 0.95 ? { old: history, next: rewritten(history) } : { old: history, next: history };
  }

  async function lane() {
    const stale = new Map();
    while (!isOver) {
      const { index, head } = pick();
      const origin = origins[index];
      const { old, next } = requestOver(head, stale.get(index) ?? "");
      const text = textOf(origin, next);
      const line = formatSignatureLine(logName, keyId, sign(null, Buffer.from(text), secret));
      const hashes =
        old.length === 0 || old.length === next.length
          ? []
          : await proveConsistency(old.length, next.length, (_level, _index, width) =>
              Buffer.concat(leavesOf(next).slice(0, width)),
            );
      const proof = hashes.map((hash) => `${Buffer.from(hash).toString("base64")}\n`).join("");
      const body = `old ${old.length}\n${proof}\n${text}\n${line}`;
      const response = await witness.fetch(new Request("http://w.test/add-checkpoint", { method: "POST", body }));
      const answer = await response.text();
      // Before anything else: what was signed must be seen, whoever is killed next.
      if (response.status === 200) writeSync(out, `${JSON.stringify({ text, lines: answer })}\n`);
      unreported[response.status] = (unreported[response.status] ?? 0) + 1;
      if (Object.values(unreported).reduce((sum, count) => sum + count, 0) >= REPORT_EVERY) {
        process.send(unreported);
        unreported = {};
      }
      stale.set(index, old);
    }
  }

  await Promise.all(Array.from({ length: LANES }, lane));
  store.close();
  closeSync(out);
  process.send(unreported, () => process.disconnect());
}

/** What a witness must not do: between the look and the write somebody else may have been there. */
function lookFirstWriteLater(store) {
  return {
    head: (origin) => store.head(origin),
    keepEvidence: (evidence) => store.keepEvidence(evidence),
    async update(origin, expected, next) {
      const seen = store.head(origin);
      if ((seen?.size ?? 0) !== (expected?.size ?? 0)) return { stored: false, head: seen };
      await new Promise((resolve) => setTimeout(resolve, 1));
      await store.update(origin, store.head(origin), next).catch(() => {});
      return { stored: true };
    },
  };
}

async function supervise() {
  const { values } = parseArgs({
    options: {
      requests: { type: "string", default: "100000" },
      processes: { type: "string", default: "3" },
      seconds: { type: "string", default: "60" },
      seed: { type: "string", default: String(Date.now() % 2 ** 31) },
      broken: { type: "boolean", default: false },
    },
  });
  const requests = Number(values.requests);
  const seed = Number(values.seed);
  const random = createRandom(seed);
  const folder = mkdtempSync(join(PARENT, "tallystick-race-"));
  const started = performance.now();
  const seconds = () => (performance.now() - started) / 1_000;
  const statuses = {};
  const counted = () => Object.values(statuses).reduce((sum, count) => sum + count, 0);
  const children = new Set();
  let born = 0;
  let kills = 0;
  let failure = null;
  let isOver = false;
  process.stdout.write(`seed ${seed}, ${values.processes} processes, ${requests} requests\n`);

  function start() {
    const id = born++;
    const child = fork(fileURLToPath(import.meta.url), [
      JSON.stringify({ folder, id, seed: seed + 7_919 * id, broken: values.broken }),
    ]);
    children.add(child);
    child.on("message", (told) => {
      for (const [status, count] of Object.entries(told)) statuses[status] = (statuses[status] ?? 0) + count;
    });
    child.on("exit", (code, signal) => {
      children.delete(child);
      if (signal !== "SIGKILL" && code !== 0) failure ??= `a process ended with ${signal ?? code}`;
      if (!isOver && failure === null) start();
    });
  }

  for (let i = 0; i < Number(values.processes); i++) start();
  let nextKill = performance.now() + KILL_EVERY_MS[0] / 2;
  while (counted() < requests && seconds() < Number(values.seconds) && failure === null) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    if (performance.now() < nextKill) continue;
    const [least, most] = KILL_EVERY_MS;
    nextKill = performance.now() + least + random.below(most - least);
    const living = [...children];
    living[random.below(living.length)]?.kill("SIGKILL");
    kills += 1;
  }
  isOver = true;
  for (const child of children) if (child.connected) child.send("end");
  while (children.size > 0) await new Promise((resolve) => setTimeout(resolve, 20));
  const raced = seconds();

  const { cosignatures, contradiction } = await judge(folder);
  rmSync(folder, { recursive: true, force: true });
  failure ??= contradiction;
  const told = Object.entries(statuses).map(([status, count]) => `${count} × ${status}`);
  const verdict = failure === null ? "all consistent" : `FAILED: ${failure}`;
  const isShort = counted() < requests;
  process.stdout.write(
    `${counted()} requests in ${raced.toFixed(1)} s (${told.join(", ")}), ${kills} kills, ${cosignatures} cosignatures verified\n${verdict}${isShort ? ", but the time was up before all were made" : ""}\n`,
  );
  process.exitCode = failure === null ? (isShort ? 2 : 0) : 1;
}

/** Verifies every signature that any process got, and compares them: each history must continue the one before. */
async function judge(folder) {
  const signed = new Map();
  let cosignatures = 0;
  for (const name of readdirSync(folder).filter((each) => each.startsWith("signed-"))) {
    const lines = readFileSync(join(folder, name), "utf8").split("\n");
    // A process may have been killed in the middle of its last line.
    for (const line of lines.slice(0, -1)) {
      const { text, lines: own } = JSON.parse(line);
      const verified = await verifyNote(parseNote(formatNote(text, [own])), [witnessKey]);
      if (verified.length !== 1) return { cosignatures, contradiction: "a signature is missing" };
      cosignatures += 1;
      const origin = text.slice(0, text.indexOf("\n"));
      const history = historyIn(text);
      if (textOf(origin, history) !== text) return { cosignatures, contradiction: "a root is not that of its history" };
      if (!signed.has(origin)) signed.set(origin, new Set());
      signed.get(origin).add(history);
    }
  }
  for (const [origin, histories] of signed) {
    const sorted = [...histories].sort((a, b) => a.length - b.length);
    for (const [i, history] of sorted.entries()) {
      const before = sorted[i - 1] ?? "";
      if (history.length === before.length || !history.startsWith(before))
        return { cosignatures, contradiction: `two heads of ${origin}: sizes ${before.length} and ${history.length}` };
    }
  }
  return { cosignatures, contradiction: null };
}
