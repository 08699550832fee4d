import { type SpawnSyncReturns, spawn, spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { parseVerifierKey } from "../../src/core/note.ts";
import { formatPolicy, type Policy, parsePolicy } from "../../src/core/policy.ts";
import { verifyPublished } from "../../src/core/verify-published.ts";
import { mirrorLedger } from "../../src/ledger/mirror.ts";
import { filesystemArchive } from "../../src/storage/archive/filesystem.ts";
import { httpArchive } from "../../src/storage/archive/http.ts";
import { createTestLedger } from "../../src/testing/create-test-ledger.ts";
import { serveFolder } from "../published/serve-folder.ts";

/**
 * Tessera (github.com/transparency-dev/tessera) in both directions: its fsck and its client read what we publish, and we mirror what
 * its POSIX driver publishes. The Go programs are built from go.mod in tessera/, which pins the version.
 */
const source = join(import.meta.dirname, "tessera");
const cache = join(import.meta.dirname, "..", "..", ".cache", "go-build");
const directory = mkdtempSync(join(tmpdir(), "tallystick-tessera-"));
const fsck = join(directory, "fsck");
const program = join(directory, "interop");
let unbuilt: string | null = spawnSync("go", ["version"]).status === 0 ? null : "go is not installed";

beforeAll(() => {
  if (unbuilt !== null) return;
  const env = { ...process.env, GOCACHE: cache, GOFLAGS: "-mod=readonly -buildvcs=false" };
  for (const [output, target] of [
    [program, "."],
    [fsck, "github.com/transparency-dev/tessera/cmd/fsck"],
  ] as const) {
    const build = spawnSync("go", ["build", "-o", output, target], { cwd: source, encoding: "utf8", env });
    if (build.status !== 0) unbuilt = `the Go program ${target} does not build: ${build.stderr}`;
  }
}, 600_000);

afterAll(() => rmSync(directory, { recursive: true, force: true }));

beforeEach(({ skip }) => {
  if (unbuilt !== null) skip(unbuilt);
});

type Ran = Pick<SpawnSyncReturns<string>, "status" | "stdout" | "stderr">;

/** Not spawnSync: the server that it talks to runs in this process. */
function run(command: string, args: readonly string[]): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args);
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
    });
    child.on("error", reject);
    child.on("close", (status) => resolve({ status, stdout, stderr }));
  });
}

/** What fsck finds. It ends with status 0 whatever it finds, so its words count. */
async function check(folder: string, vkey: string): Promise<{ readonly ok: boolean; readonly says: string }> {
  await using server = await serveFolder(folder);
  const key = join(directory, "log.pub");
  writeFileSync(key, vkey);
  const { stderr } = await run(fsck, ["--storage_url", server.url, "--public_key", key, "--ui=false", "--N", "4"]);
  return { ok: /Successfully fsck'd log/.test(stderr) && !/fsck failed/.test(stderr), says: stderr };
}

async function readWithClient(folder: string, vkey: string, old: readonly string[] = []): Promise<Ran> {
  await using server = await serveFolder(folder);
  return await run(program, ["read", "-url", server.url, "-vkey", vkey, ...old.flatMap((file) => ["-old", file])]);
}

const event = (i: number) => ({ action: "test.event", actor: `actor-${i}`, payload: { i } });

describe("Tessera reads what we publish", () => {
  it("at every step of a growing ledger: fsck, inclusion of every entry, consistency with every step before", async () => {
    await using test = await createTestLedger({ origin: "log.example/audit" });
    const { ledger } = test;
    const folder = join(directory, "growing");
    const vkey = parsePolicy(ledger.policy()).logKeys[0]?.vkey as string;
    const old: string[] = [];
    for (const size of [1, 2, 255, 256, 257, 300, 512, 700]) {
      if (size > ledger.size)
        await ledger.appendMany(Array.from({ length: size - ledger.size }, (_, i) => event(ledger.size + i)));
      await ledger.publish(filesystemArchive(folder));
      const { ok, says } = await check(folder, vkey);
      expect(ok, says).toBe(true);
      const { status, stdout, stderr } = await readWithClient(folder, vkey, old);
      expect(status, stderr).toBe(0);
      expect(JSON.parse(stdout)).toEqual({
        origin: "log.example/audit",
        size,
        inclusion: size,
        consistency: old.length,
      });
      const file = join(directory, `checkpoint-${size}`);
      cpSync(join(folder, "checkpoint"), file);
      old.push(file);
    }
  });

  it("with three levels of tiles", async () => {
    await using test = await createTestLedger({ origin: "log.example/large" });
    const { ledger } = test;
    for (let i = 0; i < 13; i++) await ledger.appendMany(Array.from({ length: 5_070 }, (_, n) => event(n)));
    const folder = join(directory, "large");
    await ledger.publish(filesystemArchive(folder));
    const vkey = parsePolicy(ledger.policy()).logKeys[0]?.vkey as string;
    const { ok, says } = await check(folder, vkey);
    expect(ok, says).toBe(true);
    expect(readdirSync(join(folder, "tile"))).toEqual(["0", "1", "2", "entries"]);
  });

  it("and notices, as we do, when a byte of it is changed", async () => {
    await using test = await createTestLedger({ origin: "log.example/damaged" });
    const { ledger } = test;
    await ledger.appendMany(Array.from({ length: 299 }, (_, i) => event(i)));
    const whole = join(directory, "whole");
    await ledger.publish(filesystemArchive(whole));
    const vkey = parsePolicy(ledger.policy()).logKeys[0]?.vkey as string;
    for (const path of ["checkpoint", "tile/0/000", "tile/entries/001.p/44", "tile/1/000.p/1"]) {
      const folder = join(directory, `damaged-${path.replaceAll("/", "-")}`);
      cpSync(whole, folder, { recursive: true });
      const bytes = readFileSync(join(folder, path));
      bytes[bytes.length - 20]! ^= 1;
      writeFileSync(join(folder, path), bytes);
      expect((await check(folder, vkey)).ok, path).toBe(false);
      const archive = filesystemArchive(folder);
      const note = (await archive.get("checkpoint")) as Uint8Array;
      const { report } = await verifyPublished(note, (name, bytesMax) => archive.get(name, { bytesMax }), {
        policy: ledger.policy(),
      });
      expect(report.ok, path).toBe(false);
    }
  });
});

describe("we read what Tessera publishes", () => {
  async function write(folder: string, origin: string, before: number, entries: number): Promise<Policy> {
    const args = ["write", "-directory", folder, "-origin", origin];
    const { status, stdout, stderr } = await run(program, [
      ...args,
      "-before",
      String(before),
      "-entries",
      String(entries),
    ]);
    expect(status, stderr).toBe(0);
    return parsePolicy(formatPolicy({ logKeys: [parseVerifierKey(stdout.trim())] }));
  }

  it("and mirror it as it grows, tile for tile, from its folder and over HTTP", async () => {
    const folder = join(directory, "posix");
    const copies = [join(directory, "copy-folder"), join(directory, "copy-http")] as const;
    let before = 0;
    for (const size of [3, 300, 1_000]) {
      const policy = await write(folder, "tessera.example/log", before, size);
      await using server = await serveFolder(folder);
      for (const [reader, copy] of [
        [filesystemArchive(folder), copies[0]],
        [httpArchive(server.url), copies[1]],
      ] as const) {
        const mirrored = await mirrorLedger({
          source: reader,
          target: filesystemArchive(copy),
          policy,
          entries: "any",
        });
        expect(mirrored).toMatchObject({ origin: "tessera.example/log", size, before });
        for (const path of pathsOf(copy))
          expect(readFileSync(join(copy, path)), path).toEqual(readFileSync(join(folder, path)));
        const { ok, says } = await check(copy, policy.logKeys[0]?.vkey as string);
        expect(ok, says).toBe(true);
      }
      before = size;
    }
  });

  it("and refuse it when a byte of it is changed, or as a ledger of ours", async () => {
    const folder = join(directory, "posix-damaged");
    const policy = await write(folder, "tessera.example/damaged", 0, 300);
    const mirror = (entries: "any" | "ledger") =>
      mirrorLedger({
        source: filesystemArchive(folder),
        target: filesystemArchive(join(directory, "copy-damaged")),
        policy,
        entries,
      });
    await expect(mirror("ledger")).rejects.toMatchObject({
      code: "verification-failed",
      details: { findings: [{ code: "entry-malformed", index: 0 }] },
    });
    for (const path of ["tile/entries/000", "tile/0/001.p/44"]) {
      const bytes = readFileSync(join(folder, path));
      writeFileSync(
        join(folder, path),
        bytes.map((byte, i) => (i === 1_000 ? byte ^ 1 : byte)),
      );
      await expect(mirror("any"), path).rejects.toMatchObject({ code: "proof-invalid" });
      writeFileSync(join(folder, path), bytes);
    }
    expect(await mirror("any")).toMatchObject({ size: 300 });
  });
});

function pathsOf(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((file) => file.isFile())
    .map((file) => join(file.parentPath, file.name).slice(folder.length + 1))
    .filter((path) => !path.startsWith("."));
}
