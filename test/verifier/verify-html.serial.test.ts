import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { largePackage } from "./large-package.mjs";
import { CHROMIUM, type Opened, openPage } from "./page.ts";

/** A package of 100,000 entries, some 67 MB unpacked: the page answers while it is verified, and can stop. */
const ENTRIES = 100_000;

/** A page that stands still for longer feels stuck. The bar allows for a busy machine: alone it is some 50 ms. */
const GAP_MAX_MS = 1_000;

/** For what hangs, not for what is slow; the time itself is printed (bar: 6 s on a machine of its own). */
const TIMEOUT_MS = 120_000;

let opened: Opened;
let folder: string;
let files: { package: string; policy: string };

beforeAll(async () => {
  if (CHROMIUM === null) return;
  folder = mkdtempSync(join(tmpdir(), "tallystick-page-"));
  files = { package: join(folder, "audit.zip"), policy: join(folder, "pinned.policy") };
  const { bytes, policy } = largePackage(ENTRIES);
  writeFileSync(files.package, bytes);
  writeFileSync(files.policy, policy);
  opened = await openPage();
}, TIMEOUT_MS);

afterAll(async () => {
  await opened?.close();
  if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
});

describe.skipIf(CHROMIUM === null)("verify.html and a large package (needs chromium)", { timeout: TIMEOUT_MS }, () => {
  it("answers while it verifies, and says how far it is", async () => {
    const { page } = opened;
    await page.reload();
    await page.evaluate(() => {
      const seen = { gap: 0, shares: [] as number[] };
      Object.assign(globalThis, { seen });
      let last = performance.now();
      const frame = () => {
        const now = performance.now();
        seen.gap = Math.max(seen.gap, now - last);
        last = now;
        const bar = document.querySelector<HTMLProgressElement>("#bar")!;
        if (bar.hasAttribute("value") && seen.shares.at(-1) !== bar.value) seen.shares.push(bar.value);
        requestAnimationFrame(frame);
      };
      frame();
    });
    const begun = performance.now();
    await page.setInputFiles("#file", [files.package, files.policy]);
    await page.waitForSelector(".banner", { timeout: TIMEOUT_MS });
    const tookMs = Math.round(performance.now() - begun);
    const { gap, shares } = await page.evaluate(
      () => (globalThis as unknown as { seen: { gap: number; shares: number[] } }).seen,
    );
    console.info(`verify.html: ${ENTRIES} entries in ${tookMs} ms, longest gap between frames ${Math.round(gap)} ms`);
    expect(await page.textContent(".banner h2")).toContain("holds");
    expect(await page.textContent(".facts")).toContain(`all ${ENTRIES} entries`);
    expect(gap).toBeLessThan(GAP_MAX_MS);
    expect(shares.length).toBeGreaterThan(5);
    expect(shares).toEqual(shares.toSorted((left, right) => left - right));
  });

  it("stops when it is asked to, concludes nothing, and verifies the next file", async () => {
    const { page } = opened;
    await page.reload();
    await page.setInputFiles("#file", [files.package, files.policy]);
    await page.waitForSelector("#bar[value]");
    await page.click("#cancel");
    expect(await page.textContent("#said")).toBe("Cancelled. Nothing was concluded.");
    expect(await page.evaluate(() => document.querySelectorAll(".banner").length)).toBe(0);
    await page.setInputFiles("#file", [{ name: "small", mimeType: "", buffer: Buffer.from("nothing") }]);
    await page.waitForSelector('.banner[data-exit="5"]');
  });
});
