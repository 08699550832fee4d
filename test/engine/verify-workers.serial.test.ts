import { spawnSync } from "node:child_process";
import { copyFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { VerifyReport } from "../../src/core/report.ts";
import { isBuilt, NOT_BUILT } from "./child.ts";
import { newPlace, openAt, type Place, tamper, verifyAt } from "./place.ts";

const ENTRIES = 200_000;

interface Run {
  readonly report: VerifyReport;
  readonly progress: readonly (readonly [number, number])[];
}

interface Both {
  readonly inline: Run;
  readonly workers: Run;
  readonly tasks: number;
  readonly parallel: number;
}

function verifyBoth(path: string, options: object): Both {
  const script = join(import.meta.dirname, "fixtures/verify-both.mjs");
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, JSON.stringify({ path, options })], {
    encoding: "utf8",
    maxBuffer: 64 * 1024 * 1024,
  });
  expect(status, stderr).toBe(0);
  return JSON.parse(stdout) as Both;
}

describe("verification on worker threads", () => {
  beforeEach((context) => {
    if (!isBuilt) context.skip(NOT_BUILT);
    if (availableParallelism() < 2) context.skip("needs two cores");
  });
  let place: Place;
  let policy: string;
  beforeAll(async () => {
    place = newPlace({ shared: true, disk: true });
    const ledger = await openAt(place);
    policy = ledger.policy();
    for (let i = 0; i < ENTRIES / 10_000; i++) {
      const events = Array.from({ length: 10_000 }, (_, k) => ({
        ...(k % 100 === 0 ? { id: `event-${i}-${k}` } : {}),
        action: "order.placed",
        actor: `user-${k % 50}`,
      }));
      await ledger.appendMany(i === ENTRIES / 10_000 - 1 ? events.slice(1) : events);
    }
    await ledger.close();
  });

  it("gives the same report as on one thread, of a ledger that is whole", () => {
    const { inline, workers, tasks, parallel } = verifyBoth(place.path, { policy });
    expect(parallel).toBeGreaterThan(1);
    expect(tasks).toBe(4);
    expect(inline.report).toMatchObject({
      ok: true,
      conclusive: true,
      size: ENTRIES,
      findings: [],
      needsReindex: false,
    });
    expect(workers.report).toEqual(inline.report);
    // Whole level-1 tiles, as they come; in order on one thread, and to the end on several.
    expect(inline.progress.map(([done]) => done)).toEqual([65_536, 131_072, 196_608, ENTRIES]);
    expect(workers.progress).toHaveLength(4);
    expect(workers.progress.at(-1)).toEqual([ENTRIES, ENTRIES]);
  });

  it("gives the same findings in the same order, of one that is damaged in every range and at its borders", {
    timeout: 60_000,
  }, async () => {
    const path = join(place.folder, "damaged.db");
    copyFileSync(place.path, path);
    const body = `UPDATE entries SET body = replace(body, 'user-', 'eve-') WHERE idx =`;
    tamper(path, (db) =>
      db.exec(`
          ${body} 100; ${body} 65535; ${body} 65536; ${body} 150000; ${body} ${ENTRIES - 1};
          DELETE FROM entries WHERE idx IN (131072, 140000, 140001);
          UPDATE tiles SET hashes = zeroblob(8192) WHERE id = 300;
          UPDATE entries SET entry = replace(entry, '"scheme":"event"', '"scheme":"other"') WHERE idx = 70000;
        `),
    );
    const { inline, workers } = verifyBoth(path, { policy });
    expect(inline.report.findings.length).toBeGreaterThan(10);
    expect(workers.report).toEqual(inline.report);
    expect((await verifyAt(path, { policy })).report).toEqual(inline.report);
    for (const index of [100, 65_535, 65_536, 70_000, 131_072, 140_000, 150_000, ENTRIES - 1])
      expect(inline.report.findings.map((finding) => finding.index)).toContain(index);
    const few = verifyBoth(path, { policy, findingsMax: 3 });
    expect(few.workers.report).toEqual(few.inline.report);
    expect(few.inline.report.findings).toHaveLength(3);
    expect(few.inline.report.findingsOmitted).toBe(inline.report.findings.length - 3);
  });
});
