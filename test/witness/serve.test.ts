import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { Agent, request } from "node:http";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { formatCheckpoint, parseCheckpoint } from "../../src/core/checkpoint.ts";
import { verifyContradiction } from "../../src/core/contradiction.ts";
import {
  formatNote,
  formatVerifierKey,
  parseNote,
  parseVerifierKey,
  signNote,
  verifyNote,
} from "../../src/core/note.ts";
import { parsePolicy } from "../../src/core/policy.ts";
import { generateLogKey, logSignerFromPem, openState } from "../../src/keys/index.ts";
import { makePlace, type Place, type Ran, tallystick } from "../cli/program.ts";
import { WitnessProcess } from "./witness-process.ts";

const ORIGIN = "example.com/audit";
let place: Place;
let log: string[];
const running: WitnessProcess[] = [];

const run = (...args: string[]): Promise<Ran> => tallystick(place, args);

function witness(id: string, more: Readonly<Record<string, unknown>> = {}): WitnessProcess {
  const made = new WitnessProcess(place, id, { logs: { [ORIGIN]: log }, ...more });
  running.push(made);
  return made;
}

beforeAll(async () => {
  place = makePlace();
  await run("init", "a.db", "--origin", ORIGIN);
  log = parsePolicy((await run("policy", "a.db")).stdout).logKeys.map(({ vkey }) => vkey);
});
afterEach(async () => {
  await Promise.all(running.splice(0).map((each) => each.end()));
});
afterAll(() => place.remove());

describe("witness serve", () => {
  it("says at start who it is and whom it cosigns, and ends at SIGTERM although a client stays connected", async () => {
    const w = await witness("start").start();
    expect(w.started).toMatchObject({
      format: "tallystick/witness/v1",
      name: w.name,
      keys: [w.vkey],
      evidence: 0,
      logs: [{ origin: ORIGIN, size: 0 }],
    });
    const agent = new Agent({ keepAlive: true });
    const status = await new Promise((resolve) =>
      request(w.started?.logs[0]?.monitoring ?? "", { agent }, (response) => {
        response.resume();
        response.on("end", () => resolve(response.statusCode));
      }).end(),
    );
    expect(status).toBe(404);
    const started = performance.now();
    expect(await w.stop("SIGTERM")).toMatchObject({
      code: 0,
      signal: null,
      stderr: expect.stringContaining("stopped"),
    });
    expect(performance.now() - started).toBeLessThan(30_000);
    agent.destroy();
    await w.start();
    expect(await w.stop("SIGINT")).toMatchObject({ code: 0 });
  });

  it("cosigns with two kinds of keys, and says both", async () => {
    await run("keys", "new", "--algorithm", "ml-dsa-44", "--out", "pq.pem");
    const w = await witness("two", { additionalKey: "pq.pem", archive: "two-archive.sqlite" }).start();
    const keys = (w.started?.keys ?? []).map(parseVerifierKey);
    expect(keys.map(({ type, name }) => [type, name])).toEqual([
      [4, w.name],
      [6, w.name],
    ]);
    const note = (await run("checkpoint", "a.db")).stdout;
    const answer = await fetch(`${w.url}/add-checkpoint`, { method: "POST", body: `old 0\n\n${note}` });
    expect(await verifyNote(parseNote(note + (await answer.text())), keys)).toHaveLength(2);
  });

  it("refuses to start on a database that was rolled back behind its archive, and a copy of the archive replaces it", async () => {
    const w = await witness("rolled", { archive: "rolled-archive.sqlite" }).start();
    const note = (await run("checkpoint", "a.db")).stdout;
    await fetch(`${w.url}/add-checkpoint`, { method: "POST", body: `old 0\n\n${note}` });
    await w.stop();
    w.configure({ logs: { [ORIGIN]: log }, database: "empty.sqlite", archive: "rolled-archive.sqlite" });
    const refused = await run("witness", "serve", "--config", w.config, "--json");
    expect(refused.code).toBe(1);
    expect(JSON.parse(refused.stdout).error).toMatchObject({
      code: "rolled-back",
      details: { origin: ORIGIN, expected: 1, found: 0 },
    });
    writeFileSync(join(place.dir, "copy.sqlite"), readFileSync(join(place.dir, "rolled-archive.sqlite")));
    w.configure({ logs: { [ORIGIN]: log }, database: "copy.sqlite", archive: "rolled-archive.sqlite" });
    await w.start();
    expect(w.started?.logs[0]?.size).toBe(1);
  });

  it("writes two heads of one size to a file that proves it, at once and at the next start", async () => {
    mkdirSync(join(place.dir, "proof"));
    const w = await witness("proof", { database: "proof/w.sqlite" }).start();
    const note = (await run("checkpoint", "a.db")).stdout;
    const post = (body: string): Promise<Response> => fetch(`${w.url}/add-checkpoint`, { method: "POST", body });
    await post(`old 0\n\n${note}`);
    const { size, root } = parseCheckpoint(parseNote(note).text);
    const signer = logSignerFromPem(openState({ dir: join(place.dir, "state") }).readKey(ORIGIN) ?? "");
    const text = formatCheckpoint({ origin: ORIGIN, size, root: root.map((byte) => byte ^ 1) });
    const fork = formatNote(text, [await signNote(text, ORIGIN, signer)]);
    expect((await post(`old ${size}\n\n${fork}`)).status).toBe(422);
    const folder = join(place.dir, "proof", "evidence");
    const policy = parsePolicy((await run("policy", "a.db")).stdout);
    const proofs = async (): Promise<object[]> =>
      Promise.all(readdirSync(folder).map((file) => verifyContradiction(readFileSync(join(folder, file)), policy)));
    expect(await proofs()).toMatchObject([{ kind: "forked", held: { size }, shown: { size } }]);
    await w.stop();
    rmSync(folder, { recursive: true });
    await w.start();
    expect(w.started?.evidence).toBe(1);
    expect(await proofs()).toHaveLength(1);
  });

  it.each([
    [{ databse: "x" }, 5, "malformed-config", '/databse: unknown member; did you mean "database"?'],
    [{ key: "none.pem" }, 5, "key-unreadable", "none.pem: cannot be read (ENOENT)"],
    [{ database: "none/w.sqlite" }, 5, "storage-io", "cannot be opened"],
    [{ database: "a.db" }, 5, "foreign-database", "is not the database of a witness"],
    [{ additionalKey: "bad.pem" }, 5, "malformed-config", "two keys of one kind are two witnesses"],
    [{ name: ORIGIN }, 2, "key-role", "the witness has the name of a log"],
  ])("refuses a configuration with %j", async (more, code, error, message) => {
    const w = witness("bad", more);
    const ran = await run("witness", "serve", "--config", w.config, "--json");
    expect(ran.code).toBe(code);
    expect(JSON.parse(ran.stdout).error).toMatchObject({ code: error, message: expect.stringContaining(message) });
  });

  it("says when it cannot listen", async () => {
    const w = await witness("first").start();
    const other = witness("second");
    const taken = await run("witness", "serve", "--config", other.config, "--listen", new URL(w.url).host);
    expect(taken).toMatchObject({ code: 5, stderr: expect.stringContaining("another program does [storage-io]") });
    const wrong = await run("witness", "serve", "--config", other.config, "--listen", "7380");
    expect(wrong).toMatchObject({ code: 2, stderr: expect.stringContaining("expected --listen HOST:PORT") });
    expect((await run("witness", "serve")).code).toBe(2);
  });
});

describe("witness add", () => {
  const kept = async (): Promise<string> => (await run("policy", "a.db")).stdout;
  const add = (url: string, key: string, ...more: string[]): Promise<Ran> =>
    run("witness", "add", "a.db", "--url", url, "--key", key, "--json", ...more);

  it("takes a witness that does not know the ledger yet, and says what its operator needs", async () => {
    const w = await witness("unknown", { logs: {} }).start();
    const ran = await add(w.url, w.vkey, "--name", "unknown");
    expect(ran.code).toBe(0);
    expect(JSON.parse(ran.stdout)).toMatchObject({
      format: "tallystick/witness-added/v1",
      answer: { kind: "unknown-log", isReady: false },
      quorum: { threshold: 1, members: ["unknown"] },
      log: { [ORIGIN]: log },
    });
    expect(ran.stderr).toContain(`What its operator has to add to "logs": "${ORIGIN}": ["${log[0]}"]`);
    expect(parsePolicy(await kept()).witnesses.map(({ name, url }) => [name, url])).toEqual([["unknown", w.url]]);
    // It knows the ledger now, and is asked again.
    await w.stop();
    w.configure({ logs: { [ORIGIN]: log } });
    await w.start();
    expect(JSON.parse((await add(w.url, w.vkey, "--name", "unknown")).stdout).answer).toMatchObject({
      kind: "cosigned",
      size: 1,
    });
    const other = formatVerifierKey({ name: w.name, type: 4, publicKey: generateLogKey().publicKey });
    expect((await add(w.url, other, "--name", "other")).code).toBe(1);
  });

  it("changes nothing when the witness cosigns with another key than the one given", async () => {
    const w = await witness("liar").start();
    const other = formatVerifierKey({ name: w.name, type: 4, publicKey: generateLogKey().publicKey });
    const before = await kept();
    const ran = await add(w.url, other);
    expect(ran.code).toBe(1);
    expect(JSON.parse(ran.stdout).error).toMatchObject({ code: "signature-invalid" });
    expect(await kept()).toBe(before);
  });

  it("takes a witness that does not answer, and warns", async () => {
    const { vkey } = witness("away");
    const ran = await add("http://127.0.0.1:9", vkey, "--name", "away", "--quorum", "1");
    expect(JSON.parse(ran.stdout)).toMatchObject({ answer: { kind: "unavailable" }, quorum: { threshold: 1 } });
    expect(ran.stderr).toContain("until it cosigns, it counts for nothing");
  });

  it.each([
    ["the key of a log", () => ["http://a.test", log[0] ?? ""], 2, "got that of a log (type 1)"],
    ["a key that is none", () => ["http://a.test", "x"], 5, "verifier key"],
    ["a URL that is none", () => ["example.com", witness("url").vkey], 2, "expected --url"],
    [
      "more than there are",
      () => ["http://127.0.0.1:9", witness("many").vkey, "--quorum", "9"],
      2,
      "expected --quorum",
    ],
  ])("refuses %s", async (_, args, code, message) => {
    const before = await kept();
    const [url = "", key = "", ...more] = args();
    const ran = await add(url, key, ...more);
    expect(ran.code).toBe(code);
    expect(JSON.parse(ran.stdout).error.message).toContain(message);
    expect(await kept()).toBe(before);
  });

  it("refuses where no policy is kept, for a reader's machine is not the operator's", async () => {
    const { vkey } = witness("reader");
    const ran = await run("witness", "add", "a.db", "--url", "http://127.0.0.1:9", "--key", vkey, "--state", "other");
    expect([3, 5]).toContain(ran.code);
    expect(existsSync(join(place.dir, "other", "ledgers"))).toBe(false);
  });
});

describe("witness list", () => {
  it("says that nobody holds a head where there are no witnesses", async () => {
    await run("init", "b.db", "--origin", "example.com/b");
    expect(await run("witness", "list", "b.db")).toMatchObject({
      code: 0,
      stdout: "no witnesses: nobody outside holds a head of example.com/b\n",
    });
  });

  it("lists what each cosigned, and asks only when told to", async () => {
    await run("init", "c.db", "--origin", "example.com/c");
    const keys = parsePolicy((await run("policy", "c.db")).stdout).logKeys.map(({ vkey }) => vkey);
    const w = await witness("lister", { logs: { "example.com/c": keys } }).start();
    await run("witness", "add", "c.db", "--url", w.url, "--key", w.vkey, "--name", "w");
    await run("checkpoint", "c.db", "--until", "witnessed");
    await w.stop();
    const listed = await run("witness", "list", "c.db");
    expect(listed.stdout.split("\n").slice(0, 3)).toEqual([
      "quorum 1 of 1: w",
      `● w  ${w.url}`,
      expect.stringMatching(/^ {2}cosigned size 1 of 1, \d{4}-/),
    ]);
    const asked = JSON.parse((await run("witness", "list", "c.db", "--ask", "--json")).stdout);
    expect(asked.witnesses[0]).toMatchObject({
      name: "w",
      cosigned: 1,
      counts: true,
      shows: { says: "does not answer" },
    });
    // One that comes back without its memory is told from one that is away.
    rmSync(join(place.dir, "lister.sqlite"));
    await w.start();
    const forgot = await run("witness", "list", "c.db", "--ask");
    expect(forgot.stderr).toContain("w cosigned size 1, and shows nothing of this ledger: it went back");
  });
});
