import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it, type TestContext } from "vitest";
import { BulkThread } from "../../src/bulk-thread.ts";
import { isBuilt, NOT_BUILT } from "./child.ts";

const place = mkdtempSync(join(tmpdir(), "tallystick-bulk-"));
afterAll(() => rmSync(place, { recursive: true, force: true }));

/** Runs one situation of fixtures/bulk.mjs, which ends by itself: neither an idle thread nor one that works keeps the process. */
function run(context: TestContext, situation: string, diskSize?: string): Record<string, unknown> {
  if (!isBuilt) context.skip(NOT_BUILT);
  const directory = join(mkdtempSync(join(place, "run-")), "ledger");
  mkdirSync(directory);
  if (diskSize !== undefined) {
    try {
      execFileSync("mount", ["-t", "tmpfs", "-o", `size=${diskSize}`, "tmpfs", directory], { stdio: "ignore" });
    } catch {
      context.skip("needs the right to mount a file system");
    }
    context.onTestFinished(() => void execFileSync("umount", ["-l", directory]));
  }
  const script = join(import.meta.dirname, "fixtures/bulk.mjs");
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, situation, directory], {
    encoding: "utf8",
    timeout: 100_000,
  });
  expect(status, stderr).toBe(0);
  return JSON.parse(stdout);
}

const sound = { verified: { ok: true, findings: [], isWhole: true }, files: ["audit.db"], threads: 1 };

describe("the thread that stores what is appended in bulk", () => {
  it("is started for bulk alone, wins its bets, keeps the log short and leaves nothing behind", (context) => {
    const facts = run(context, "a life");
    expect(facts).toMatchObject({ ...sound, threadsBefore: 0, purged: "done", size: 61_052 });
    // It takes its time to start; from then on everything goes through it.
    expect(facts.wonByCalls).toBeGreaterThan(0);
    expect(facts.wonByWaves).toBeGreaterThan(0);
    expect(facts.longestLog).toBeLessThan(5_000 * 4_120);
  });

  it("lets an erasure be finished while events keep coming", (context) => {
    const facts = run(context, "an erasure while events keep coming");
    expect(facts).toMatchObject({ ...sound, isErased: true, winsAgain: true });
  });

  it("stores events of every size, alphabet and scheme as the other thread does", (context) => {
    expect(run(context, "all sorts of events")).toMatchObject({ ...sound, isWon: true, isGivenUp: true, isSame: true });
  });

  it("commits without it, and answers rightly, when there is no memory to hand over more", (context) => {
    expect(run(context, "no memory for another part")).toMatchObject({ ...sound, refused: 1, isSame: true });
  });

  it("gives up, and lets others write, when a caller stops in the middle of a tick", (context) => {
    const facts = run(context, "a caller that stops in the middle of a tick");
    expect(facts).toMatchObject({ ...sound, outcome: { appended: 200, codes: [] }, won: 0 });
    expect(facts.waitedMs).toBeGreaterThan(0);
  });

  it("loses to another writer, for whom the calling thread waits", (context) => {
    const facts = run(context, "another writer holds the lock");
    expect(facts).toMatchObject({ ...sound, outcome: { appended: 1, codes: [] }, winsAgain: true });
  });

  it("is done without once it is gone", (context) => {
    const facts = run(context, "the thread is gone");
    expect(facts).toMatchObject({ ...sound, outcome: { appended: 201, codes: [] }, won: 0 });
  });

  it("leaves all of a commit or nothing when it dies in it, and the ledger says that it does not know", (context) => {
    const facts = run(context, "the thread dies in a commit");
    // The terminated one is no thread of the ledger that is opened afterwards, which needs none.
    expect(facts).toMatchObject({ ...sound, isWhole: true });
    const { outcome, later } = facts as { outcome: { appended: number; codes: string[] }; later: { codes: string[] } };
    if (outcome.appended === 0)
      expect([outcome.codes, later.codes]).toEqual([["outcome-unknown"], ["outcome-unknown"]]);
  });

  it("writes nothing of what a full disk refuses, and goes on when there is room", (context) => {
    const facts = run(context, "the disk is full", "12m");
    expect(facts).toMatchObject({ ...sound, refused: "storage-full", hasWon: true, isWhole: true });
  });

  it("keeps the process until a close that waits for it is done", (context) => {
    if (!isBuilt) context.skip(NOT_BUILT);
    const script = join(import.meta.dirname, "fixtures/close-bulk.mjs");
    // Whether the log is being moved just then is a matter of chance: some of these always met it.
    for (const batches of ["40", "41", "45", "50"]) {
      const directory = mkdtempSync(join(place, "closed-"));
      const { status, stdout, stderr } = spawnSync(process.execPath, [script, directory, batches], {
        encoding: "utf8",
        timeout: 60_000,
      });
      expect({ status, stdout }, stderr).toEqual({ status: 0, stdout: "closed\n" });
    }
  });

  it("is not there where no thread can be had", async () => {
    const thread = new BulkThread(join(place, "none.db"), 1);
    thread.wrote(100 * 1024 * 1024);
    expect(thread.isReady).toBe(false);
    expect(thread.movesLog).toBe(false);
    await thread.settled();
    await thread.close();
  });
});
