import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { canonicalize } from "../../src/core/canonical-json.ts";
import { parseCheckpoint } from "../../src/core/checkpoint.ts";
import { cosignNote, parseNote, verifyNote } from "../../src/core/note.ts";
import { formatPolicy, parsePolicy } from "../../src/core/policy.ts";
import { openState } from "../../src/keys/index.ts";
import { Ledger } from "../../src/open.ts";
import { makePlace, type Place, type Ran, tallystick } from "../cli/program.ts";
import { type Fault, Middle, WitnessProcess } from "./witness-process.ts";

/*
 * A ledger in a file and three witnesses, each a process of its own behind somebody who can misbehave in its place. Two of them
 * are the quorum. Everything goes through the command line, as a user would do it.
 */
const ORIGIN = "example.com/audit";
let place: Place;
let witnesses: WitnessProcess[];
let middles: Middle[];
let pinned: string;

const run = (...args: string[]): Promise<Ran> => tallystick(place, args);

async function ok(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await run(...args);
  expect({ args, code, stderr: code === 0 ? "" : stderr }).toEqual({ args, code: 0, stderr: "" });
  return stdout;
}

beforeAll(async () => {
  place = makePlace();
  pinned = join(place.dir, "pinned.policy");
  await ok("init", "a.db", "--origin", ORIGIN, "--quiet");
  const log = parsePolicy(await ok("policy", "a.db")).logKeys.map(({ vkey }) => vkey);
  witnesses = ["w0", "w1", "w2"].map((id) => new WitnessProcess(place, id, { logs: { [ORIGIN]: log } }));
  middles = await Promise.all(
    witnesses.map(async (witness) => {
      await witness.start();
      return new Middle(() => witness.url).start();
    }),
  );
  for (const [i, { id, vkey }] of witnesses.entries())
    await ok("witness", "add", "a.db", "--url", middles[i]?.url ?? "", "--key", vkey, "--name", id, "--quiet");
  await ok("policy", "a.db", "--out", "pinned.policy");
}, 60_000);

afterAll(async () => {
  await Promise.all([...witnesses.map((witness) => witness.end()), ...middles.map((middle) => middle.end())]);
  place.remove();
});

/** Appends an entry, has it witnessed, and lets an auditor verify receipt and checkpoint. Returns the receipt. */
async function appendAndVerify(): Promise<string> {
  const { index } = JSON.parse(await ok("append", "a.db", "user.login", "--actor", "alice", "--json"));
  await ok("prove", "a.db", String(index), "--until", "witnessed", "--out", "r.json");
  const report = JSON.parse(await ok("verify", "r.json", "--policy", pinned, "--json"));
  expect(report).toMatchObject({
    ok: true,
    conclusive: true,
    requiredMissing: [],
    verdicts: { independence: { status: "pass" }, time: { status: "pass" } },
  });
  return readFileSync(join(place.dir, "r.json"), "utf8");
}

describe("two of three witnesses", () => {
  it("are enough while all are well, for checkpoint, receipt and ledger", async () => {
    await appendAndVerify();
    await ok("checkpoint", "a.db", "--until", "witnessed", "--out", "c.txt");
    const note = parseNote(readFileSync(join(place.dir, "c.txt"), "utf8"));
    const keys = parsePolicy(readFileSync(pinned)).witnesses.map(({ key }) => key);
    expect((await verifyNote(note, keys)).length).toBeGreaterThanOrEqual(2);
    const report = JSON.parse(await ok("verify", "a.db", "--policy", pinned, "--json"));
    expect(report.verdicts.independence).toMatchObject({ status: "pass" });
    const listed = JSON.parse(await ok("witness", "list", "a.db", "--ask", "--json"));
    expect(listed.quorum).toEqual({ name: "witnesses", threshold: 2, members: ["w0", "w1", "w2"] });
    expect(listed.witnesses.map(({ shows }: { shows: { size: number } }) => shows.size).sort()).toEqual([2, 2, 2]);
  });

  it("are enough when one was stopped, and it takes up again where the others are", async () => {
    const [w0] = witnesses;
    expect(await w0?.stop()).toMatchObject({ code: 0 });
    await appendAndVerify();
    await w0?.start();
    expect(w0?.started?.logs[0]?.size).toBeGreaterThan(0);
    // Now another one is killed, so that this one is needed.
    await witnesses[1]?.stop("SIGKILL");
    await appendAndVerify();
    await witnesses[1]?.start();
  });

  it("are enough when one is frozen", async () => {
    witnesses[2]?.signal("SIGSTOP");
    await appendAndVerify();
    witnesses[2]?.signal("SIGCONT");
  });

  it.each([
    [0, "slow"],
    [1, "wrong-size"],
    [2, "lower-size"],
    [0, "garbage-signature"],
    [1, "huge-answer"],
    [2, "redirect"],
  ] as const)("are enough when witness %i is %s", async (i, fault: Fault) => {
    const middle = middles[i];
    if (middle === undefined) throw new Error("expected a witness");
    middle.fault = fault;
    const before = middle.hits;
    await appendAndVerify();
    middle.fault = "none";
    expect(middle.hits).toBeGreaterThan(before);
    // Who waits for the slow one waits until its patience ends, after 5 s, however fast the machine.
    expect(middle.longestWaitMs).toBeLessThan(4_900);
  });

  it("are needed: with one, appends are durable, and nothing is called witnessed", async () => {
    for (const middle of middles.slice(1)) middle.fault = "garbage-signature";
    const { index } = JSON.parse(await ok("append", "a.db", "user.login", "--actor", "bob", "--json"));
    const refused = await run("prove", "a.db", String(index), "--until", "witnessed", "--out", "none.json", "--json");
    expect(refused.code).toBe(4);
    expect(JSON.parse(refused.stdout).error).toMatchObject({
      code: "quorum-not-reached",
      details: {
        reached: ["w0"],
        problems: { w1: expect.stringContaining("does not verify"), w2: expect.stringContaining("does not verify") },
      },
    });
    expect(existsSync(join(place.dir, "none.json"))).toBe(false);
    // The receipt of the weaker level says that it is the weaker one.
    await ok("prove", "a.db", String(index), "--out", "weak.json");
    expect((await run("verify", "weak.json", "--policy", pinned)).code).toBe(4);
    for (const middle of middles) middle.fault = "none";
    await appendAndVerify();
  });
});

/** Files of the ledger at some moment: the database, the lock store, and what else this machine knows. */
function copyOf(name: string): string {
  const folder = join(place.dir, name);
  mkdirSync(folder);
  cpSync(join(place.dir, "a.db"), join(folder, "a.db"));
  cpSync(join(place.dir, "state"), join(folder, "state"), { recursive: true });
  return folder;
}

function restore(from: string, what: readonly ("database" | "lock-store" | "state")[]): void {
  if (what.includes("database")) {
    for (const end of ["-wal", "-shm"]) rmSync(join(place.dir, `a.db${end}`), { force: true });
    cpSync(join(from, "a.db"), join(place.dir, "a.db"));
  }
  if (what.includes("lock-store")) {
    for (const end of ["-wal", "-shm"]) rmSync(join(place.dir, `state/lock.sqlite${end}`), { force: true });
    cpSync(join(from, "state/lock.sqlite"), join(place.dir, "state/lock.sqlite"));
  }
  if (what.includes("state")) {
    rmSync(join(place.dir, "state"), { recursive: true });
    cpSync(join(from, "state"), join(place.dir, "state"), { recursive: true });
  }
}

const sizeOf = (note: string): number => parseCheckpoint(parseNote(note).text).size;

/** Signed notes anywhere in a JSON text. */
function notesIn(text: string): string[] {
  const notes: string[] = [];
  JSON.stringify(JSON.parse(text), (_, value) => {
    if (typeof value === "string" && value.startsWith(`${ORIGIN}\n`)) notes.push(value);
    return value;
  });
  return notes;
}

describe("rollback, with witnesses ahead", () => {
  let young: string;
  let grown: string;
  let sizes: { readonly young: number; readonly grown: number };

  beforeAll(async () => {
    const grow = async (name: string): Promise<number> => {
      await ok("checkpoint", "a.db", "--until", "witnessed", "--out", `${name}.txt`);
      return sizeOf(readFileSync(join(place.dir, `${name}.txt`), "utf8"));
    };
    const before = await grow("young");
    young = copyOf("young");
    await ok("append", "a.db", "user.login", "--quiet");
    await ok("append", "a.db", "user.login", "--quiet");
    sizes = { young: before, grown: await grow("grown") };
    grown = copyOf("grown");
    expect(sizes.grown).toBe(sizes.young + 2);
  }, 60_000);

  it.each([
    ["the database", ["database"], "entries", 1],
    ["the lock store", ["lock-store"], "lock store", 0],
    ["both of them", ["database", "lock-store"], "entries", 1],
    ["all that this machine knows", ["database", "state"], "witness w", 1],
  ] as const)("of %s is refused at open, with both notes as evidence", async (_, what, message, verified) => {
    restore(grown, ["database", "state"]);
    restore(young, what);
    const refused = await run("append", "a.db", "user.login", "--json");
    expect(refused.code).toBe(1);
    const { error } = JSON.parse(refused.stdout);
    expect(error).toMatchObject({ code: "rolled-back", message: expect.stringContaining(message) });
    const notes = notesIn(readFileSync(error.details.evidence, "utf8"));
    expect(new Set(notes.map(sizeOf))).toEqual(new Set([sizes.young, sizes.grown]));
    const { logKeys } = parsePolicy(readFileSync(pinned));
    for (const note of notes) expect(await verifyNote(parseNote(note), logKeys)).toHaveLength(1);
    // Whoever holds a checkpoint sees it too.
    expect((await run("verify", "a.db", "--policy", pinned, "--expect", "grown.txt")).code).toBe(verified);
  });

  it("and regrown to a larger size, everything else consistent, is refused as a fork", async () => {
    restore(young, ["database", "state"]);
    // The operator's own machine, its witnesses switched off, writes another history.
    const state = openState({ dir: join(place.dir, "state") });
    const policy = state.readPolicy(ORIGIN) ?? "";
    const { witnesses: _w, groups: _g, quorum: _q, ...alone } = parsePolicy(policy);
    state.writePolicy(ORIGIN, formatPolicy(alone));
    for (let i = 0; i < 5; i++) await ok("append", "a.db", "other.history", "--quiet");
    state.writePolicy(ORIGIN, policy);
    const refused = await run("append", "a.db", "user.login", "--json");
    expect(refused.code).toBe(1);
    const { error } = JSON.parse(refused.stdout);
    expect(error).toMatchObject({ code: "forked", details: { source: expect.stringMatching(/^witness w/) } });
    expect(new Set(notesIn(readFileSync(error.details.evidence, "utf8")).map(sizeOf))).toEqual(
      new Set([sizes.grown, sizes.young + 5]),
    );
  });

  it("is not noticed by anybody inside when the witnesses are taken away too: that is what they are for", async () => {
    restore(young, ["database", "state"]);
    const ledger = await Ledger.open(join(place.dir, "a.db"), {
      state: join(place.dir, "state"),
      witnesses: { policy: formatPolicy({ logKeys: parsePolicy(readFileSync(pinned)).logKeys }), witnesses: [] },
      notify: () => {},
    });
    expect(ledger.size).toBe(sizes.young);
    await ledger.close();
    restore(grown, ["database", "state"]);
  });
});

describe("a stolen witness key", () => {
  /** A receipt of a forked ledger by whoever holds the log key, cosigned with these witness keys. */
  async function forge(stolen: readonly WitnessProcess[]): Promise<string> {
    const folder = join(place.dir, `forged-${stolen.length}`);
    mkdirSync(folder);
    cpSync(join(place.dir, "young", "a.db"), join(folder, "a.db"));
    const state = openState({ dir: join(place.dir, "young", "state") });
    cpSync(state.dir, join(folder, "state"), { recursive: true });
    const policy = formatPolicy({ logKeys: parsePolicy(readFileSync(pinned)).logKeys });
    const ledger = await Ledger.open(join(folder, "a.db"), {
      state: join(folder, "state"),
      witnesses: { policy, witnesses: [] },
      notify: () => {},
    });
    const { index } = await ledger.append({ action: "forged.entry", actor: "mallory" });
    const receipt = JSON.parse(await ledger.prove(index));
    const { text } = parseNote(await ledger.checkpoint());
    await ledger.close();
    const time = Math.floor(Date.now() / 1_000);
    const lines = await Promise.all(stolen.map(({ name, signer }) => cosignNote(text, name, signer, { time })));
    // The proof ends with the signature lines of its checkpoint.
    const file = join(folder, "receipt.json");
    writeFileSync(file, `${canonicalize({ ...receipt, proof: receipt.proof + lines.join("") })}\n`);
    return file;
  }

  it("makes no quorum, whatever the log key signs beside it", async () => {
    const forged = await run("verify", await forge(witnesses.slice(0, 1)), "--policy", pinned, "--json");
    expect(forged.code).toBe(4);
    expect(JSON.parse(forged.stdout)).toMatchObject({
      requiredMissing: ["quorum"],
      verdicts: { independence: { status: "notEstablished" } },
    });
    // As many as the quorum asks for are what it takes: no more is promised.
    expect((await run("verify", await forge(witnesses.slice(0, 2)), "--policy", pinned)).code).toBe(0);
  });
});

describe("one key under two names", () => {
  it("is refused by `witness add`, and by every reader of a policy that has it", async () => {
    const [w0] = witnesses;
    const added = await run(
      "witness",
      "add",
      "a.db",
      "--url",
      "http://127.0.0.1:9",
      "--key",
      w0?.vkey ?? "",
      "--name",
      "more",
    );
    expect(added).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("one key under two names would count twice"),
    });
    const text = readFileSync(pinned, "utf8");
    const doubled = text.replace(/^witness w1 \S+/m, `witness w1 ${w0?.vkey}`);
    expect(() => parsePolicy(doubled)).toThrow(expect.objectContaining({ code: "malformed-policy" }));
    writeFileSync(join(place.dir, "doubled.policy"), doubled);
    const verified = await run("verify", "r.json", "--policy", "doubled.policy");
    expect(verified).toMatchObject({ code: 5, stderr: expect.stringContaining("a public key occurs twice") });
  });
});
