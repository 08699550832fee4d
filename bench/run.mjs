#!/usr/bin/env node
/**
 * `npm run bench`: Tallystick, what the machine allows, and the neighbours, all cases interleaved in one run.
 * See README.md for what each case measures.
 */
import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { createRows } from "./lib/events.mjs";
import { describeMachine, describeVersions, sampleBusy } from "./lib/machine.mjs";
import { createPlan, selectSteps } from "./lib/plan.mjs";
import { createResult, figure, formatMarkdown } from "./lib/report.mjs";
import { preparePython, prepareTessera } from "./lib/toolchains.mjs";

const USAGE = `usage: node bench/run.mjs [--quick | --full] [--rounds N] [--out DIR] [--list] [CASE…]

  --quick     up to 100k entries, 3 rounds (the default)
  --full      up to 1M entries, 5 rounds
  --rounds N  so many rounds instead
  --out DIR   where the results go (bench/results)
  --list      names the cases and ends
  CASE        a name or part of one: tallystick/verify, verify, nexuscone
`;
const STEP_TIMEOUT_MS = 20 * 60_000;
/** Between two steps nothing of ours runs: what the processors do then is the work of others. */
const IDLE_SAMPLE_MS = 200;
/** A machine whose processors are busier than this between the steps, on average, is not idle. */
const BUSY_MAX = 0.05;

const bench = dirname(fileURLToPath(import.meta.url));
const root = dirname(bench);
const cache = join(bench, ".cache");
const peers = join(bench, "peers");
const work = join(cache, "work");

function log(line) {
  process.stderr.write(`${line}\n`);
}

function readArguments() {
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        quick: { type: "boolean" },
        full: { type: "boolean" },
        rounds: { type: "string" },
        out: { type: "string" },
        list: { type: "boolean" },
        help: { type: "boolean", short: "h" },
      },
    });
    if (values.quick && values.full) throw new RangeError("--quick and --full exclude each other");
    const full = values.full === true;
    const rounds = Number(values.rounds ?? (full ? 5 : 3));
    if (!Number.isInteger(rounds) || rounds < 1 || rounds > 99) throw new RangeError("--rounds: expected 1 to 99");
    const plan = createPlan({ full });
    return { ...values, full, rounds, names: positionals, plan, steps: selectSteps(plan, positionals) };
  } catch (error) {
    process.stderr.write(`${error.message}\n\n${USAGE}`);
    process.exit(2);
  }
}

/** What each kind of step needs, and the reason where it is not there. */
function prepare(steps) {
  const needed = new Set(steps.flatMap((step) => step.needs));
  const versions = describeVersions(root);
  const tools = { reasons: new Map() };
  if (needed.has("tallystick") && !existsSync(join(root, "dist", "index.js"))) {
    tools.reasons.set("tallystick", "dist/index.js is missing: npm run build");
  }
  if (needed.has("python")) {
    const found = preparePython({ cache, peers, log });
    tools.python = found.python;
    Object.assign(versions, found.versions);
    if (found.reason) tools.reasons.set("python", found.reason);
  }
  if (needed.has("tessera")) {
    const found = prepareTessera({ cache, peers, log });
    tools.tessera = found.tessera;
    Object.assign(versions, found.versions);
    if (found.reason) tools.reasons.set("tessera", found.reason);
  }
  return { tools, versions };
}

function commandOf(step, directory, tools) {
  const options = { ...step.options, id: step.id, directory, events: join(work, "events.jsonl"), root };
  if (step.kind === "node") return [process.execPath, [join(bench, "cases", step.file), JSON.stringify(options)]];
  if (step.kind === "python") return [tools.python, [join(peers, step.file), JSON.stringify(options)]];
  const flags = ["-directory", join(directory, "log"), "-events", options.events];
  for (const [name, value] of Object.entries(step.options)) {
    flags.push(`-${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`, String(value));
  }
  return [tools.tessera, flags];
}

/** The line of a stack trace that says what happened. */
function explain(diagnostics) {
  const lines = diagnostics.split("\n").map((line) => line.trim());
  const named = lines.findLast((line) => /^(\w*Error|\w*Exception|panic|error)\b.*:/.test(line));
  return (named ?? lines.findLast((line) => line !== "") ?? "no message").slice(0, 300);
}

/** Runs one step in a process and a directory of its own. */
function runStep(step, directory, tools) {
  mkdirSync(directory, { recursive: true });
  const [file, args] = commandOf(step, directory, tools);
  const state = join(directory, "state");
  const environment = { ...process.env, TALLYSTICK_STATE_DIR: state, PYTHONDONTWRITEBYTECODE: "1" };
  for (const name of ["NODE_ENV", "NODE_OPTIONS", "TALLYSTICK_KEY", "TALLYSTICK_LEDGER"]) delete environment[name];
  return new Promise((resolve) => {
    const child = spawn(file, args, { cwd: directory, env: environment, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    let diagnostics = "";
    const timer = setTimeout(() => child.kill("SIGKILL"), STEP_TIMEOUT_MS);
    child.stdout.setEncoding("utf8").on("data", (chunk) => {
      output += chunk;
    });
    child.stderr.setEncoding("utf8").on("data", (chunk) => {
      diagnostics = (diagnostics + chunk).slice(-8_192);
    });
    child.on("error", (error) => {
      clearTimeout(timer);
      resolve({ reason: error.message });
    });
    child.on("close", (code, signal) => {
      clearTimeout(timer);
      const lastLine = output.trim().split("\n").at(-1) ?? "";
      if (code !== 0) {
        resolve({ reason: `ended with ${signal ?? `exit code ${code}`}: ${explain(diagnostics)}`, diagnostics });
        return;
      }
      try {
        resolve(JSON.parse(lastLine));
      } catch {
        resolve({ reason: `gave no answer: ${lastLine.slice(0, 200)}` });
      }
    });
  });
}

/** What one step left in the page cache must not be written while the next one is measured. Returns how busy others are. */
function settle() {
  spawnSync("sync");
  return sampleBusy(IDLE_SAMPLE_MS);
}

function mean(values) {
  return values.length === 0 ? 0 : values.reduce((sum, value) => sum + value, 0) / values.length;
}

async function runRounds({ steps, rounds, tools }) {
  const collected = new Map();
  const skipped = new Map();
  const infos = {};
  const busy = [];
  for (const step of steps) {
    const need = step.needs.find((name) => tools.reasons.has(name));
    if (need !== undefined) skipped.set(step.id, tools.reasons.get(need));
  }
  for (const [id, reason] of skipped) log(`skipped ${id}: ${reason}`);

  for (let round = 1; round <= rounds; round++) {
    for (const step of steps) {
      if (skipped.has(step.id)) continue;
      const maker = steps.find((other) => other.makes !== undefined && other.makes === step.uses);
      if (maker && skipped.has(maker.id)) {
        skipped.set(step.id, `${maker.id} was skipped`);
        continue;
      }
      const name = step.makes ?? step.uses ?? step.id.replaceAll("/", "-");
      const directory = join(work, name);
      busy.push(await settle());
      const answer = await runStep(step, directory, tools);
      if (step.makes === undefined && step.uses === undefined) rmSync(directory, { recursive: true, force: true });
      if (answer.reason !== undefined) {
        skipped.set(step.id, answer.reason);
        log(`skipped ${step.id}: ${answer.reason}`);
        if (answer.diagnostics) log(answer.diagnostics.trim());
        continue;
      }
      for (const { name: suffix, unit, better, value } of answer.values) {
        const id = suffix === "" ? step.id : `${step.id}/${suffix}`;
        if (!collected.has(id)) collected.set(id, { unit, better, runs: [] });
        collected.get(id).runs.push(value);
        log(`${String(round).padStart(2)}/${rounds}  ${id.padEnd(52)} ${figure(value).padStart(10)} ${unit}`);
      }
      if (Object.keys(answer.info ?? {}).length > 0) infos[step.id] = answer.info;
    }
    for (const step of steps) {
      if (step.makes) rmSync(join(work, step.makes), { recursive: true, force: true });
    }
  }
  return { collected, skipped: [...skipped].map(([id, reason]) => ({ id, reason })), infos, busy: mean(busy) };
}

async function main() {
  const settings = readArguments();
  if (settings.help) {
    process.stdout.write(USAGE);
    return;
  }
  if (settings.list) {
    for (const id of new Set(settings.steps.map((step) => step.id))) process.stdout.write(`${id}\n`);
    return;
  }
  const { full, rounds, steps, names, plan } = settings;
  rmSync(work, { recursive: true, force: true });
  mkdirSync(work, { recursive: true });
  const events = createRows();
  writeFileSync(join(work, "events.jsonl"), `${events.map((row) => row.body).join("\n")}\n`);

  const { tools, versions } = prepare(steps);
  const machine = describeMachine(work);
  const provisional = [];
  if (!full) provisional.push("a quick run");
  if (steps.length !== plan.length) provisional.push("not all cases were run");
  if (rounds < 3) provisional.push(`only ${rounds} round${rounds === 1 ? "" : "s"}`);

  const started = performance.now();
  const { collected, skipped, infos, busy } = await runRounds({ steps, rounds, tools });
  rmSync(work, { recursive: true, force: true });
  if (collected.size === 0) {
    log("nothing was measured");
    process.exitCode = 1;
    return;
  }
  const difference = Object.values(infos).find((info) => info.difference)?.difference;
  if (difference) provisional.push(difference);
  if (busy > BUSY_MAX) provisional.push(`other programs used ${Math.round(100 * busy)} % of the processors`);
  if (infos["bound-sqlite/batch/100k"]?.sqlite) versions.sqlite = infos["bound-sqlite/batch/100k"].sqlite;
  const date = new Date().toISOString().slice(0, 10);
  const result = createResult({
    date,
    command: `node bench/run.mjs ${process.argv.slice(2).join(" ")}`.trim(),
    mode: full ? "full" : "quick",
    rounds,
    seconds: (performance.now() - started) / 1000,
    provisional,
    machine: { ...machine, busyBetweenSteps: Number(busy.toFixed(3)) },
    versions,
    skipped,
    info: infos,
    collected,
  });
  const suffix = steps.length !== plan.length ? "-partial" : full ? "" : "-quick";
  const out = settings.out ?? join(bench, "results");
  mkdirSync(out, { recursive: true });
  const base = join(out, `${date}${suffix}`);
  const markdown = formatMarkdown(result);
  writeFileSync(`${base}.json`, `${JSON.stringify(result, null, 2)}\n`);
  writeFileSync(`${base}.md`, markdown);
  process.stdout.write(markdown);
  log(`\nwritten to ${relative(process.cwd(), base)}.json and .md${names.length > 0 ? " (selected cases only)" : ""}`);
}

await main();
