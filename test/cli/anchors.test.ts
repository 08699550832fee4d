import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it, type TestContext } from "vitest";
import { encodeUtf8 } from "../../src/core/encoding.ts";
import { Ledger } from "../../src/open.ts";
import { type Calendar, startCalendar } from "../anchors/calendar.ts";
import { fakeTsa } from "../anchors/fakes.ts";
import type { Loopback } from "../anchors/loopback.ts";
import { serve } from "../anchors/loopback.ts";
import { type OpensslTsa, startOpensslTsa } from "../anchors/openssl-tsa.ts";
import { opensslMissing, pythonPeers, run } from "../anchors/peers.ts";
import { makePlace, type Place, type Ran, tallystick } from "./program.ts";

/** The commands about anchors, against a time-stamping authority of OpenSSL and a calendar, both on loopback. */
let place: Place;
let tsa: OpensslTsa;
let calendar: Calendar;
let missing: string | null;
const places: Place[] = [];

beforeAll(async () => {
  missing = await opensslMissing();
  if (missing !== null && process.env.CI === "true") throw new Error(missing);
  calendar = await startCalendar();
  if (missing === null) tsa = await startOpensslTsa("p256");
});
afterAll(async () => {
  await calendar.close();
  if (missing === null) await tsa.close();
});
afterEach(() => {
  for (const made of places.splice(0)) made.remove();
});

async function setUp(context: TestContext): Promise<void> {
  if (missing !== null) context.skip(missing);
  place = makePlace();
  places.push(place);
  await ok("init", "audit.db", "--origin", "log.example/audit", "--quiet");
  await ok("append", "audit.db", "user.login", "--actor", "alice", "--quiet");
  await ok("policy", "audit.db", "--out", "policy");
}

async function ok(...args: readonly string[]): Promise<string> {
  const ran = await tallystick(place, args);
  expect({ code: ran.code, stderr: ran.stderr }, args.join(" ")).toMatchObject({ code: 0 });
  return ran.stdout;
}

const exitOf = async (...args: readonly string[]): Promise<Ran> => tallystick(place, args);
const fileIn = (name: string): string => join(place.dir, name);
const anchor = (...args: string[]): Promise<string> =>
  ok("anchor", "audit.db", "--tsa", tsa.url, "--tsa-root", tsa.rootFile, "--calendar", calendar.url, ...args);

describe("anchor", () => {
  it("records a proof of each, once", async (context) => {
    await setUp(context);
    const stdout = await anchor();
    expect(stdout).toMatch(
      /^✓ rfc3161 {2}size 2, recorded by entry [23]\n\? opentimestamps {2}promise for size 2, recorded by entry [23]\n$/,
    );
    expect(await anchor()).toBe(
      "✓ rfc3161  size 2 is anchored already, and nothing is new\n✓ opentimestamps  size 2 is anchored already, and nothing is new\n",
    );
    expect(await ok("list", "audit.db")).toMatch(/ledger\.anchor/);
    expect(await ok("status", "audit.db")).toMatch(/anchors {7}size 2\n.*1 proof waits for an upgrade/);
  });

  it("keeps no answer that does not hold under the given root: exit 5, and nothing is written", async (context) => {
    await setUp(context);
    const other = await startOpensslTsa("p256");
    const ran = await exitOf("anchor", "audit.db", "--tsa", tsa.url, "--tsa-root", other.rootFile);
    await other.close();
    expect(ran).toMatchObject({ code: 5, stdout: "✗ rfc3161  no proof of size 2\n" });
    expect(ran.stderr).toMatch(/no chain|not one of|leads to/);
    expect(JSON.parse(await ok("status", "audit.db", "--json"))).toMatchObject({ size: 2, anchored: null });
  });

  it("goes on with those that answer", async (context) => {
    await setUp(context);
    const dead = await serve((_request, _body, response) => void response.writeHead(503).end());
    const ran = await exitOf("anchor", "audit.db", "--tsa", dead.url, "--tsa", tsa.url, "--json");
    await dead.close();
    expect(ran.code).toBe(0);
    expect(JSON.parse(ran.stdout)).toMatchObject({
      format: "tallystick/anchored/v1",
      results: [
        { index: null, problem: "status 503" },
        { index: 2, isComplete: true },
      ],
    });
    expect(ran.stderr).toMatch(/warning: http:\/\/127\.0\.0\.1:\d+: status 503/);
  });

  it("says what is missing", async (context) => {
    await setUp(context);
    expect(await exitOf("anchor", "audit.db")).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/who is to be asked/),
    });
    expect(await exitOf("anchor", "audit.db", "--tsa", "ftp://x")).toMatchObject({ code: 2 });
    expect(await exitOf("anchors", "audit.db", "--calendar", calendar.url)).toMatchObject({ code: 2 });
    const none = await exitOf("anchors", "audit.db");
    expect(none).toMatchObject({
      code: 0,
      stdout: "",
      stderr: expect.stringMatching(/no checkpoint of this ledger was anchored yet/),
    });
  });
});

describe("evidence", () => {
  it("says how many anchors had no room in the package", async () => {
    place = makePlace();
    places.push(place);
    const ledger = await Ledger.open(fileIn("audit.db"), { state: fileIn("state") });
    const anchors = [fakeTsa(() => Date.now())];
    for (let i = 0; i < 1_002; i++) {
      await ledger.append({ action: "user.login" });
      await ledger.anchor({ anchors });
    }
    await ledger.close();
    const ran = await exitOf("evidence", "audit.db", "--out", "evidence.zip");
    expect(ran).toMatchObject({ code: 0, stdout: expect.stringMatching(/, 1,000 anchors, /) });
    expect(ran.stderr).toContain("warning: 2 older anchors were left out: a package takes the latest 1,000\n");
    const json = await exitOf("evidence", "audit.db", "--out", "again.zip", "--json");
    expect(JSON.parse(json.stdout)).toMatchObject({ anchors: 1_000, anchorsLeftOut: 2 });
  });
});

describe("anchors", () => {
  it("lists what proofs say of themselves, and asks for upgrades only whom it may", {
    timeout: 60_000,
  }, async (context) => {
    await setUp(context);
    await anchor();
    const listed = await ok("anchors", "audit.db");
    expect(listed).toMatch(/^✓ {6}\d {2}\S+ {2}rfc3161 {8} {0,2}size 2 {2}says \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/m);
    expect(listed).toMatch(/^\? {6}\d {2}\S+ {2}opentimestamps {2}size 2 {2}waits for http:\/\/127\.0\.0\.1:\d+$/m);
    // A public calendar only: the proof's own is not on the list.
    const stranger = await exitOf("anchors", "audit.db", "--upgrade", "--calendar", "https://calendar.invalid");
    expect(stranger.stderr).toMatch(/not on the list of calendars that may be asked/);
    const before = calendar.requests.length;
    const pending = await exitOf("anchors", "audit.db", "--upgrade", "--calendar", calendar.url);
    expect(pending).toMatchObject({ code: 0, stderr: expect.stringMatching(/not yet/) });
    expect(calendar.requests.length).toBe(before + 1);
    calendar.confirm(840_000, 1_770_000_000);
    const upgraded = await exitOf("anchors", "audit.db", "--upgrade", "--calendar", calendar.url);
    expect(upgraded.stderr).toMatch(/the proof of size 2 is complete: entry 4 records it/);
    expect(upgraded.stdout.trimEnd().split("\n").at(-1)).toMatch(/names block 840000$/);
    expect((await exitOf("anchors", "audit.db", "--upgrade", "--calendar", calendar.url)).stderr).toMatch(
      /no proof waits/,
    );
    for (const line of (await ok("anchors", "audit.db", "--json")).trimEnd().split("\n"))
      expect(JSON.parse(line)).toMatchObject({
        format: "tallystick/anchor/v1",
        size: 2,
        note: expect.stringMatching(/^[0-9a-f]{64}$/),
      });
  });

  it("writes notes and proofs that OpenSSL and the client of OpenTimestamps take", {
    timeout: 300_000,
  }, async (context) => {
    await setUp(context);
    await anchor();
    const { stderr } = await exitOf("anchors", "audit.db", "--export", "out");
    expect(stderr).toMatch(/2 anchors in out/);
    const names = readdirSync(fileIn("out")).sort();
    expect(names.map((name) => name.replace(/\d/, "N")).sort()).toEqual([
      "anchor-N.note",
      "anchor-N.note",
      "anchor-N.ots",
      "anchor-N.tsr",
    ]);
    const token = names.find((name) => name.endsWith(".tsr"))!;
    const verified = await run("openssl", [
      ...["ts", "-verify", "-data", fileIn(`out/${token.replace(".tsr", ".note")}`), "-in", fileIn(`out/${token}`)],
      ...["-CAfile", tsa.rootFile, "-untrusted", tsa.chainFile],
    ]);
    expect(verified.stdout + verified.stderr).toMatch(/Verification: OK/);
    const promise = names.find((name) => name.endsWith(".ots"))!;
    const peers = await pythonPeers();
    if ("missing" in peers) {
      if (process.env.CI === "true") throw new Error(peers.missing);
      context.skip(peers.missing);
      return;
    }
    const program = [
      "import hashlib, sys",
      "from opentimestamps.core.serialize import StreamDeserializationContext as Stream",
      "from opentimestamps.core.timestamp import DetachedTimestampFile as File",
      "file = File.deserialize(Stream(open(sys.argv[1], 'rb')))",
      "assert file.file_digest == hashlib.sha256(open(sys.argv[2], 'rb').read()).digest()",
      "print([attestation.uri for _, attestation in file.timestamp.all_attestations()])",
    ];
    const files = [promise, promise.replace(".ots", ".note")].map((name) => fileIn(`out/${name}`));
    const info = await run(peers.python, ["-c", program.join("\n"), ...files]);
    expect(info).toMatchObject({ code: 0, stdout: `['${calendar.url}']\n` });
  });
});

describe("verify", () => {
  const verify = (...args: readonly string[]): Promise<Ran> =>
    exitOf("verify", "audit.db", "--policy", "policy", "--state", "reader", ...args);

  it("asks for an anchor that holds: 4 without pins, 0 under the root, and the bracket of an entry", {
    timeout: 60_000,
  }, async (context) => {
    await setUp(context);
    await anchor();
    await ok("append", "audit.db", "user.logout", "--actor", "alice", "--quiet");
    const without = await verify("--require-anchor");
    expect(without).toMatchObject({ code: 4 });
    expect(without.stdout).toMatch(/no certificate that the reader pins vouches for the\s+authority/);
    const pinned = await verify("--require-anchor", "--tsa-root", tsa.rootFile, "--at", "1");
    expect(pinned.code).toBe(0);
    expect(pinned.stdout).toMatch(/✓ time {10}entries up to 1 existed at \d{4}-\S+, by RFC 3161 time stamp of\s+entry/);
    expect(pinned.stdout).toMatch(/entry 1 was written\n {4}not before +nothing outside says\n {4}not after +\d{4}-/);
    expect(pinned.stdout).toMatch(/if the time-stamping authority under the pinned certificate tells the right time/);
    const later = await verify("--tsa-root", tsa.rootFile, "--at", "4", "--json");
    expect(JSON.parse(later.stdout)).toMatchObject({
      bracket: { index: 4, notBefore: { time: expect.any(String), relies: expect.any(String) }, notAfter: null },
    });
    expect(await verify("--at", "5")).toMatchObject({ code: 2, stderr: expect.stringMatching(/expected --at/) });
  });

  it("takes headers from a file, and names those that are none", async (context) => {
    await setUp(context);
    await anchor();
    calendar.confirm(840_000, 1_770_000_000);
    await ok("anchors", "audit.db", "--upgrade", "--calendar", calendar.url);
    // The first block of the chain, at the height of another: what it says is not what the proof leads to.
    const first =
      "0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d1dac2b7c";
    writeFileSync(fileIn("headers"), `# pinned by hand\n840000 ${first}\n`);
    const contradicted = await verify("--bitcoin", "headers");
    expect(contradicted).toMatchObject({ code: 1, stdout: expect.stringMatching(/anchor-invalid at 4/) });
    writeFileSync(fileIn("headers"), `1 ${first}\n`);
    const unknown = await verify("--bitcoin", "headers", "--require-anchor");
    expect(unknown).toMatchObject({
      code: 4,
      stdout: expect.stringMatching(/no header of a block that attests it is at hand/),
    });
    expect(unknown.stdout).toMatch(/block 840000: headers has none/);
    writeFileSync(fileIn("headers"), "840000 00\n");
    expect(await verify("--bitcoin", "headers")).toMatchObject({
      ...{ code: 5, stdout: "" },
      stderr: expect.stringMatching(/bitcoin headers, line 1: expected a height and 160 hex digits/),
    });
  });

  it("asks an explorer or a node, and says where neither is", async (context) => {
    await setUp(context);
    await anchor();
    calendar.confirm(840_000, 1_770_000_000);
    await ok("anchors", "audit.db", "--upgrade", "--calendar", calendar.url);
    const nobody: Loopback = await serve((_request, _body, response) => void response.writeHead(404).end());
    const ran = await verify("--bitcoin", nobody.url);
    expect(ran).toMatchObject({ code: 0, stdout: expect.stringMatching(/1 header of blocks could not be had/) });
    expect(nobody.requests).toContain("POST /");
    await nobody.close();
  });

  it("asks an anchor of a receipt, which carries none: exit 4", async (context) => {
    await setUp(context);
    await ok("prove", "audit.db", "1", "--out", "receipt.json", "--quiet");
    expect(await exitOf("verify", "receipt.json", "--policy", "policy")).toMatchObject({ code: 0 });
    const ran = await exitOf("verify", "receipt.json", "--policy", "policy", "--require-anchor");
    expect(ran).toMatchObject({ code: 4, stderr: "" });
    expect(ran.stdout).toMatch(/- anchors: a receipt carries none/);
    expect(ran.stdout).toMatch(/the anchor that was asked for is missing: a receipt carries none\n$/);
    const pinned = await exitOf("verify", "receipt.json", "--policy", "policy", "--tsa-root", tsa.rootFile);
    expect(pinned).toMatchObject({ code: 0, stdout: expect.stringMatching(/- anchors: a receipt carries none/) });
  });

  it("proves an entry up to the level anchored", async (context) => {
    await setUp(context);
    expect(await exitOf("prove", "audit.db", "1", "--until", "anchored", "--out", "r.json")).toMatchObject({
      code: 4,
      stderr: expect.stringMatching(/not anchored by any anchor yet/),
    });
    await anchor();
    await ok("prove", "audit.db", "1", "--until", "anchored", "--out", "r.json", "--quiet");
    await ok("anchors", "audit.db", "--export", "out", "--quiet");
    const note = readFileSync(fileIn("out/anchor-2.note"));
    const receipt = JSON.parse(readFileSync(fileIn("r.json"), "utf8")) as { readonly proof: string };
    expect(Buffer.from(encodeUtf8(receipt.proof)).subarray(-note.length)).toEqual(note);
  });
});
