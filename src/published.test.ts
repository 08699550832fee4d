import { cpSync, mkdtempSync, readdirSync, rmSync, unlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { serveFolder } from "../test/published/serve-folder.ts";
import type { LedgerEngine } from "./ledger/ledger.ts";
import { isWebLocation, mirror } from "./published.ts";
import { filesystemArchive } from "./storage/archive/filesystem.ts";
import { createTestLedger, type TestLedger } from "./testing/create-test-ledger.ts";
import { verify } from "./verify.ts";

let directory: string;
let test: TestLedger;
let ledger: LedgerEngine;
const folder = (name: string): string => join(directory, name);
/** Everything that a reader on another machine has: a policy, and a state of their own. */
const reader = () => ({ policy: ledger.policy(), state: folder("state") });

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "tallystick-published-"));
  test = await createTestLedger();
  ledger = test.ledger;
  await ledger.appendMany(Array.from({ length: 299 }, (_, i) => ({ action: "test.event", payload: { i } })));
  await ledger.publish(filesystemArchive(folder("www")));
});
afterEach(async () => {
  await ledger.close();
  rmSync(directory, { recursive: true });
});

async function grow(): Promise<void> {
  cpSync(folder("www"), folder("before"), { recursive: true });
  await ledger.append({ action: "test.more" });
  await ledger.publish(filesystemArchive(folder("www")));
}

describe("verify, of a published ledger", () => {
  it("takes a folder, a file: URL and the URL of a server", async () => {
    await using server = await serveFolder(folder("www"));
    for (const location of [
      folder("www"),
      pathToFileURL(folder("www")),
      `${pathToFileURL(folder("www"))}`,
      server.url,
      `${server.url}/`,
      new URL(server.url),
    ])
      expect(await verify(location, reader())).toMatchObject({
        kind: "published",
        ok: true,
        conclusive: true,
        size: 300,
      });
    expect(isWebLocation("http.db")).toBe(false);
  });

  it("remembers on request, and then requires that history, also elsewhere", async () => {
    await grow();
    expect(await verify(folder("before"), reader())).toMatchObject({ ok: true });
    expect(await verify(folder("www"), { ...reader(), remember: true })).toMatchObject({ ok: true, findings: [] });
    const report = await verify(folder("before"), reader());
    expect(report.findings).toMatchObject([{ code: "expected-beyond", expected: "301", found: "300" }]);
    expect(report.findings[0]?.notes).toHaveLength(2);
    expect((await verify(folder("www"), reader())).verdicts.independence.status).toBe("pass");
    expect(await verify(folder("before"), { ...reader(), state: null })).toMatchObject({ ok: true });
  });

  it("does not remember what did not verify, or under no pin", async () => {
    await verify(folder("www"), { state: folder("state"), remember: true });
    expect(readdirSync(directory)).not.toContain("state");
    await grow();
    writeFileSync(join(folder("www"), "tile", "0", "001.p", "45"), new Uint8Array(45 * 32));
    expect(await verify(folder("www"), { ...reader(), remember: true })).toMatchObject({ ok: false });
    expect(await verify(folder("before"), reader())).toMatchObject({ ok: true });
  });

  it("compares with a checkpoint that is handed in", async () => {
    await using other = await createTestLedger();
    await other.ledger.append({ action: "another.history" });
    const expect_ = await other.ledger.checkpoint();
    const report = await verify(folder("www"), { ...reader(), expect: expect_ });
    expect(report.findings).toMatchObject([{ code: "expected-root", evidence: "the expected checkpoint" }]);
  });

  it("says that nothing is there, and more where this machine knows better", async () => {
    await verify(folder("www"), { ...reader(), remember: true });
    await using server = await serveFolder(folder("www"));
    await verify(server.url, { ...reader(), remember: true });
    unlinkSync(join(folder("www"), "checkpoint"));
    await expect(verify(folder("www"), reader())).rejects.toMatchObject({
      code: "ledger-replaced",
      details: { size: 300, origin: ledger.origin },
    });
    await expect(verify(server.url, reader())).rejects.toMatchObject({ code: "ledger-replaced" });
    await expect(verify(folder("www"), { state: null })).rejects.toMatchObject({ code: "unrecognised-file" });
    await expect(verify(server.url, { state: null })).rejects.toMatchObject({ code: "not-found" });
    rmSync(folder("www"), { recursive: true });
    await expect(verify(folder("www"), reader())).rejects.toMatchObject({ code: "ledger-replaced" });
  });

  it("notices another ledger at a place that this machine knows", async () => {
    await verify(folder("www"), { ...reader(), remember: true });
    rmSync(folder("www"), { recursive: true });
    await using other = await createTestLedger({ seed: "other" });
    await other.ledger.publish(filesystemArchive(folder("www")));
    const report = await verify(folder("www"), { policy: other.ledger.policy(), state: folder("state") });
    expect(report.findings).toMatchObject([{ code: "origin-mismatch", expected: ledger.origin }]);
  });

  it("has no options that only a ledger has", async () => {
    for (const options of [{ first: 1 }, { last: 2 }, { since: "note" }])
      await expect(verify(folder("www"), { ...reader(), ...options })).rejects.toThrow(TypeError);
  });
});

describe("mirror", () => {
  it("follows a folder or a server, and remembers what it saw on this machine", async () => {
    const options = reader();
    expect(await mirror(folder("www"), folder("copy"), options)).toMatchObject({ size: 300, before: 0 });
    await grow();
    await using server = await serveFolder(folder("www"));
    expect(await mirror(server.url, pathToFileURL(folder("copy")), options)).toMatchObject({ size: 301, before: 300 });
    expect(server.requests.length).toBeLessThan(10);
    expect(await verify(folder("copy"), options)).toMatchObject({ ok: true, size: 301 });
    // A second copy, begun from an older state: what the first one saw counts.
    await expect(mirror(folder("before"), folder("second"), options)).rejects.toMatchObject({ code: "rolled-back" });
    expect(readdirSync(folder("second"))).toContain("evidence");
    expect(await mirror(folder("before"), folder("third"), { ...options, state: null })).toMatchObject({ size: 300 });
  });

  it("uses the policy that this machine keeps, and none that the source could bring along", async () => {
    await expect(mirror(folder("www"), folder("copy"), { state: folder("state") })).rejects.toMatchObject({
      code: "untrusted-key",
    });
    await expect(mirror(folder("none"), folder("copy"), { state: folder("state") })).rejects.toMatchObject({
      code: "not-found",
    });
    writeFileSync(join(folder("www"), "checkpoint"), "garbage");
    await expect(mirror(folder("www"), folder("copy"), { state: folder("state") })).rejects.toMatchObject({
      code: "untrusted-key",
    });
    expect(readdirSync(directory)).toEqual(["www"]);
  });

  it("refuses to mirror a folder into itself", async () => {
    await expect(mirror(folder("www"), folder("www"), reader())).rejects.toThrow("expected two different folders");
  });

  it("ends when it is told to, and goes on the next time", async () => {
    const stop = new AbortController();
    const reason = new Error("enough");
    await expect(
      mirror(folder("www"), folder("copy"), { ...reader(), signal: stop.signal, onProgress: () => stop.abort(reason) }),
    ).rejects.toBe(reason);
    expect(await mirror(folder("www"), folder("copy"), reader())).toMatchObject({ size: 300, before: 0 });
  });
});
