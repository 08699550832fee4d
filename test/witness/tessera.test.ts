import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { cpSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseCheckpoint } from "../../src/core/checkpoint.ts";
import { parseNote, parseVerifierKey } from "../../src/core/note.ts";
import { formatPolicy, parsePolicy, verifyCheckpoint } from "../../src/core/policy.ts";
import { makePlace, type Place, tallystick } from "../cli/program.ts";
import { buildGoProgram, type GoProgram } from "./go-program.ts";
import { WitnessProcess } from "./witness-process.ts";

/*
 * Logs and verifiers of others: Tessera, a log in Go, publishes only what our witnesses cosigned; golang.org/x/mod and the
 * transparency-dev modules verify what they sign.
 */
const ORIGIN = "example.com/tessera";

interface Answer {
  readonly error?: string;
  readonly checkpoint?: string;
  readonly size?: number;
  readonly names?: readonly string[];
  readonly times?: readonly number[];
}

let program: GoProgram;
let place: Place;
let witnesses: WitnessProcess[] = [];
let key: { readonly private: string; readonly public: string };
let policy: string;

/** The Go program, one question at a time. */
class Go {
  private readonly child: ChildProcess;
  private readonly lines: AsyncIterator<string>;
  private stderr = "";

  constructor(args: readonly string[]) {
    if (!("path" in program)) throw new Error(program.reason);
    this.child = spawn(program.path, args);
    this.child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.stderr += text;
    });
    if (this.child.stdout === null) throw new Error("expected its output");
    this.lines = createInterface({ input: this.child.stdout })[Symbol.asyncIterator]();
  }

  async ask(request: Readonly<Record<string, unknown>>): Promise<Answer> {
    this.child.stdin?.write(`${JSON.stringify(request)}\n`);
    const { value, done } = await this.lines.next();
    if (done === true) throw new Error(`the Go program ended: ${this.stderr}`);
    return JSON.parse(value);
  }

  async end(): Promise<void> {
    const closed = new Promise((resolve) => this.child.on("close", resolve));
    this.child.stdin?.end();
    await closed;
  }
}

function tesseraLog(folder: string, timeout: string = "20s"): Go {
  const files = ["-directory", join(place.dir, folder), "-policy", join(place.dir, "tessera.policy")];
  return new Go([...files, "-key", key.private, "-timeout", timeout]);
}

beforeAll(async () => {
  program = buildGoProgram(join(import.meta.dirname, "tessera"), "tessera");
  if (!("path" in program)) return;
  place = makePlace();
  key = JSON.parse(spawnSync(program.path, ["-generate", ORIGIN], { encoding: "utf8" }).stdout);
  await tallystick(place, ["init", "a.db", "--origin", "example.com/audit"]);
  await tallystick(place, ["keys", "new", "--algorithm", "ml-dsa-44", "--out", "pq.pem"]);
  const own = parsePolicy((await tallystick(place, ["policy", "a.db"])).stdout).logKeys.map(({ vkey }) => vkey);
  const logs = { [ORIGIN]: [key.public], "example.com/audit": own };
  witnesses = ["w0", "w1"].map((id) => new WitnessProcess(place, id, { logs, additionalKey: "pq.pem" }));
  await Promise.all(witnesses.map((witness) => witness.start()));
  const parts = witnesses.map(({ id, vkey, url }) => ({ name: id, key: parseVerifierKey(vkey), url }));
  policy = formatPolicy({
    logKeys: [parseVerifierKey(key.public)],
    witnesses: parts,
    groups: [{ name: "both", threshold: 2, members: ["w0", "w1"] }],
    quorum: "both",
    genesis: "ab".repeat(32),
  });
  writeFileSync(join(place.dir, "tessera.policy"), policy);
}, 600_000);

afterAll(async () => {
  await Promise.all(witnesses.map((witness) => witness.end()));
  if ("path" in program) place.remove();
});

const sizeOf = (note: string): number => parseCheckpoint(parseNote(note).text).size;

describe("Tessera, with our policy and our witnesses", () => {
  it("publishes checkpoints that both cosigned, over tiles of any width, and both sides verify them", async (context) => {
    if ("reason" in program && program.isAbsent) context.skip(program.reason);
    const log = tesseraLog("log");
    let published = "";
    for (const count of [1, 5, 250, 3, 600]) {
      const { error, checkpoint } = await log.ask({ kind: "add", count, prefix: `of ${count}` });
      expect(error).toBeUndefined();
      published = checkpoint ?? "";
      const verified = await verifyCheckpoint(published, parsePolicy(policy));
      expect(verified).toMatchObject({ quorum: true });
      expect(verified.witnesses.map(({ name }) => name)).toEqual(["w0", "w1"]);
    }
    expect(sizeOf(published)).toBe(859);
    const keys = witnesses.map(({ vkey }) => vkey);
    const told = await log.ask({ kind: "verify", note: published, log: key.public, witnesses: keys });
    expect(told).toMatchObject({ size: 859 });
    for (const time of told.times ?? []) expect(Math.abs(time - Date.now() / 1_000)).toBeLessThan(60);
    expect(told.times).toHaveLength(2);
    await log.end();
  });

  it("learns from a 409 where a witness is, when it starts again, and goes on from there", async (context) => {
    if ("reason" in program && program.isAbsent) context.skip(program.reason);
    await witnesses[0]?.stop();
    await witnesses[0]?.start();
    const log = tesseraLog("log");
    const { error, checkpoint } = await log.ask({ kind: "add", count: 40, prefix: "again" });
    expect(error).toBeUndefined();
    expect(await verifyCheckpoint(checkpoint ?? "", parsePolicy(policy))).toMatchObject({ quorum: true });
    await log.end();
  });

  it("is refused after a rollback, and when it has regrown: both notes are kept as evidence", async (context) => {
    if ("reason" in program && program.isAbsent) context.skip(program.reason);
    const folder = (name: string): string => join(place.dir, name);
    cpSync(folder("log"), folder("backup"), { recursive: true });
    const honest = tesseraLog("log");
    const grown = await honest.ask({ kind: "add", count: 10, prefix: "honest" });
    expect(grown.error).toBeUndefined();
    await honest.end();
    rmSync(folder("log"), { recursive: true });
    cpSync(folder("backup"), folder("log"), { recursive: true });
    const rolledBack = tesseraLog("log", "3s");
    const smaller = await rolledBack.ask({ kind: "add", count: 4, prefix: "another" });
    expect(smaller.error).toContain("context deadline exceeded");
    const larger = await rolledBack.ask({ kind: "add", count: 40, prefix: "another" });
    expect(larger.error).toContain("context deadline exceeded");
    await rolledBack.end();
    for (const witness of witnesses) {
      const shown = await fetch(witness.started?.logs.find(({ origin }) => origin === ORIGIN)?.monitoring ?? "");
      expect(sizeOf(await shown.text())).toBe(sizeOf(grown.checkpoint ?? ""));
      await witness.stop();
      await witness.start();
      expect(witness.started?.evidence).toBeGreaterThan(0);
    }
  });
});

describe("golang.org/x/mod and transparency-dev/formats", () => {
  it("verify our cosignature lines, Ed25519 and ML-DSA-44, over a checkpoint of ours and what the witness shows", async (context) => {
    if ("reason" in program && program.isAbsent) context.skip(program.reason);
    const [w0] = witnesses;
    const note = (await tallystick(place, ["checkpoint", "a.db"])).stdout;
    const answer = await fetch(`${w0?.url}/add-checkpoint`, { method: "POST", body: `old 0\n\n${note}` });
    const cosigned = note + (await answer.text());
    const log = parsePolicy((await tallystick(place, ["policy", "a.db"])).stdout).logKeys[0]?.vkey;
    const keys = w0?.started?.keys ?? [];
    expect(keys).toHaveLength(2);
    const go = new Go([]);
    const own = w0?.started?.logs.find(({ origin }) => origin === "example.com/audit");
    const shown = await (await fetch(own?.monitoring ?? "")).text();
    for (const text of [cosigned, shown]) {
      const told = await go.ask({ kind: "verify", note: text, log, witnesses: keys });
      expect(told).toMatchObject({ size: 1, names: ["example.com/audit", w0?.name, w0?.name] });
    }
    // The same lines over another text: neither kind verifies.
    const other = cosigned.replace("\n1\n", "\n2\n");
    expect((await go.ask({ kind: "verify", note: other, log, witnesses: keys })).error).toBeDefined();
    const forged = cosigned.replace(
      /(— w0\S* \S{20})\S/,
      (line, head: string) => head + (line.endsWith("A") ? "B" : "A"),
    );
    expect((await go.ask({ kind: "verify", note: forged, log, witnesses: keys })).error).toBeDefined();
    await go.end();
    expect(readFileSync(join(place.dir, "tessera.policy"), "utf8")).toBe(policy);
  });
});
