import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { LogMover } from "../../src/storage/sqlite-log-mover.ts";
import { isBuilt, NOT_BUILT } from "../engine/child.ts";

const place = mkdtempSync(join(tmpdir(), "tallystick-log-"));
afterAll(() => rmSync(place, { recursive: true, force: true }));

describe("the thread that moves the write-ahead log", () => {
  it("is started for bulk commits alone, moves the log, keeps it short and leaves nothing behind", (context) => {
    if (!isBuilt) context.skip(NOT_BUILT);
    const directory = join(place, "ledger");
    mkdirSync(directory);
    const script = join(import.meta.dirname, "fixtures/move-log.mjs");
    // The process ends by itself: neither an idle thread nor one that works keeps it.
    const { status, stdout, stderr } = spawnSync(process.execPath, [script, directory], {
      encoding: "utf8",
      timeout: 60_000,
    });
    expect(status, stderr).toBe(0);
    const facts = JSON.parse(stdout);
    expect(facts).toMatchObject({
      threadsBefore: 0,
      threadsAfter: 1,
      purged: "done",
      files: ["audit.db"],
      grownByCommit: 0,
      isReadyAfterClose: false,
      verified: { ok: true, size: 46_052, findings: [] },
      filesAtEnd: ["audit.db"],
    });
    expect(facts.grownByMover).toBeGreaterThan(600_000);
    expect(facts.longestLog).toBeLessThan(5_000 * 4_120);
  });

  it("keeps the process until a close that waits for it is done", (context) => {
    if (!isBuilt) context.skip(NOT_BUILT);
    const script = join(import.meta.dirname, "fixtures/close-log.mjs");
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
    const mover = new LogMover(join(place, "none.db"));
    mover.wrote(100 * 1024 * 1024);
    expect(mover.isReady).toBe(false);
    await mover.settled();
    await mover.close();
  });
});
