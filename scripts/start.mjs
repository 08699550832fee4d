#!/usr/bin/env node
/**
 * `npm start`, the main job on real input: the git history of this repository becomes a ledger, which is verified, one
 * commit is proved and checked offline, and copies are attacked to show what each kind of evidence notices. Everything stays in
 * .cache/start, key and state directory too; a second run adds the new commits.
 */
import { spawn } from "node:child_process";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { formatAttackTable, runAttacks } from "../dist/attack/index.js";
import { createOutput } from "../dist/cli/output.js";
import { safeText, wrap } from "../dist/cli/terminal-text.js";
import { ROOT } from "./lib/process.mjs";

const FOLDER = ".cache/start";
const LEDGER = `${FOLDER}/history.db`;
const POLICY = `${FOLDER}/policy`;
const RECEIPT = `${FOLDER}/commit.receipt.json`;
/** The attackers of the main table; `tallystick attack` shows all. */
const ATTACKERS = ["none", "write", "recompute", "replay", "key", "lock", "fork", "backup"];

const out = createOutput({ json: false, quiet: false });
const { style } = out;
process.chdir(ROOT);
process.env.TALLYSTICK_STATE_DIR = join(ROOT, FOLDER, "state");
// The ledger has a key of its own, whatever the environment says.
delete process.env.TALLYSTICK_KEY;
delete process.env.NODE_ENV;
await mkdir(FOLDER, { recursive: true });
try {
  await makeLedger();
  await proveCommit();
  await attackCopies();
  say(
    "",
    `Next: ${style.bold("node dist/cli/main.js --help")}, README.md, and SECURITY.md for who must be honest for what.`,
  );
} catch (error) {
  out.error(`${error.message}; to begin anew, remove ${FOLDER}`);
  process.exitCode = 1;
}
await out.flush();

async function makeLedger() {
  const { source, name, instead, appended, total } = await tallystick("import", "git", ".", "--into", LEDGER);
  if (instead !== null)
    say(`  ${tick(false)} ${safeText(instead)}: these are the sample events that come with tallystick`);
  const known = total === appended ? "" : `; ${total - appended} were there already`;
  const unit = source === "git" ? `for each commit of ${safeText(name)}` : "for each sample event";
  say(`  ${tick(true)} ${appended} new entries, one ${unit}${known}`);
  const { ok, size, verdicts } = await tallystick("verify", LEDGER);
  if (!ok) throw new Error("the ledger does not verify");
  const words = Object.entries(verdicts).map(([verdict, { status }]) => `${tick(status === "pass")} ${verdict}`);
  say(`  ${tick(true)} intact: ${size} entries`, `  ${words.join("  ")}`);
  for (const line of wrap(verdicts.independence.basis, out.columns - 4)) say(`    ${style.dim(line)}`);
}

async function proveCommit() {
  const newest = await results("list", LEDGER, "--desc", "--limit", "20");
  const entry = newest.find(({ scheme }) => scheme === "event");
  await results("policy", LEDGER, "--out", POLICY);
  await tallystick("prove", LEDGER, String(entry.index), "--out", RECEIPT);
  const report = await tallystick("verify", RECEIPT, "--policy", POLICY);
  if (!report.ok || !report.conclusive) throw new Error("the receipt does not verify");
  const { action, actor, payload } = entry.event;
  const what = payload?.commit === undefined ? action : `${payload.commit.slice(0, 9)} "${payload.subject}"`;
  const by = typeof actor === "string" ? actor : (actor?.name ?? actor?.id ?? "nobody");
  say(`  ${tick(true)} proved offline, from these two files alone:`);
  say(`    ${style.dim(clip(safeText(`${what} by ${by}`), out.columns - 4))}`, "");
}

async function attackCopies() {
  command("attack", LEDGER);
  const progress = out.progress("attacking copies");
  const table = await runAttacks({ source: LEDGER, onProgress: (done, total) => progress.update(done, total) });
  progress.end();
  const rows = table.rows.filter(({ attacker }) => ATTACKERS.includes(attacker));
  const text = formatAttackTable({ ...table, rows }, { color: out.colored, width: out.columns });
  // Title, table, marks, what each column holds, lessons: the columns are explained by the command itself.
  const [title, body, marks, , ...lessons] = text.trimEnd().split("\n\n");
  say(...[title, body, marks, ...lessons].join("\n").split("\n"));
}

function clip(text, width) {
  return text.length <= width ? text : `${text.slice(0, width - 1)}…`;
}

function tick(passed) {
  return passed ? style.green("✓") : style.yellow("?");
}

function say(...lines) {
  for (const line of lines) void out.line(line);
}

function command(...args) {
  say(`${style.dim("$")} ${style.bold(`tallystick ${args.join(" ")}`)}`);
}

/** Prints a command, runs it and gives its result; what it has to remark goes to stderr. */
async function tallystick(...args) {
  command(...args);
  return (await results(...args)).at(-1);
}

/** Runs a command without showing it. */
async function results(...args) {
  const child = spawn(process.execPath, [join(ROOT, "dist/cli/main.js"), ...args, "--json", "--quiet"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let text = "";
  child.stdout.setEncoding("utf8").on("data", (piece) => {
    text += piece;
  });
  await new Promise((resolve, reject) => child.on("close", resolve).on("error", reject));
  const lines = text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line));
  const { error } = lines.at(-1) ?? { error: { message: `tallystick ${args[0]} printed nothing` } };
  if (error !== undefined) throw new Error(error.message);
  return lines;
}
