import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { VerifyReport } from "../../src/core/report.ts";
import { formatReportHtml } from "../../src/core/report-html.ts";
import { verify } from "../../src/verify.ts";
import { CHROMIUM, type Opened, openPage } from "./page.ts";

const GOLDEN = join(import.meta.dirname, "../../vectors/golden/v1");
const HOSTILE = `<script>document.title = "taken over"</script><img src="https://example.com/x" onerror="document.title = 'taken over'">`;
const LONG = "unbroken".repeat(60);

describe("the HTML report in a browser (needs chromium)", () => {
  let opened: Opened | undefined;
  let folder: string;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "tallystick-report-"));
    if (CHROMIUM !== null) opened = await openPage();
  });
  afterAll(async () => {
    await opened?.close();
    rmSync(folder, { recursive: true, force: true });
  });
  beforeEach(({ skip }) => {
    skip(CHROMIUM === null, "needs chromium");
  });

  async function show(name: string, report: VerifyReport): Promise<Opened["page"]> {
    const path = join(folder, `${name}.html`);
    writeFileSync(path, formatReportHtml(report, { file: name }));
    opened!.requests.length = 0;
    opened!.errors.length = 0;
    await opened!.page.goto(pathToFileURL(path).href);
    expect(opened!.requests).toEqual([pathToFileURL(path).href]);
    return opened!.page;
  }

  const width = (page: Opened["page"]): Promise<number> =>
    page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);

  const real = (): Promise<VerifyReport> =>
    verify(join(GOLDEN, "ledger.jsonl"), { policy: readFileSync(join(GOLDEN, "policy"), "utf8"), state: null });

  it("says first whether it holds, and fits wide and narrow windows", async () => {
    const page = await show("golden", await real());
    expect(await page.textContent("h1")).toContain("Holds");
    for (const size of [
      { width: 1_280, height: 900 },
      { width: 390, height: 844 },
    ]) {
      await page.setViewportSize(size);
      expect(await width(page), `${size.width} pixels`).toBeLessThanOrEqual(0);
      const top = await page.evaluate(() => document.querySelector("h1")!.getBoundingClientRect().bottom);
      expect(top).toBeLessThan(size.height / 2);
    }
    expect(opened!.errors).toEqual([]);
  });

  it("runs and fetches nothing that a stranger wrote, and long words do not widen it", async () => {
    const report = await real();
    const page = await show("hostile", {
      ...report,
      ok: false,
      origin: HOSTILE,
      summary: `${HOSTILE} ${LONG}`,
      findings: [{ code: "entry-malformed", message: HOSTILE, found: LONG, expected: HOSTILE, evidence: LONG }],
    });
    expect(await page.textContent("h1")).toContain("Does not hold");
    expect(await page.textContent("body")).toContain('document.title = "taken over"');
    expect(await page.evaluate(() => document.title)).not.toBe("taken over");
    expect(await page.evaluate(() => document.querySelectorAll("script, img").length)).toBe(0);
    await page.setViewportSize({ width: 390, height: 844 });
    expect(await width(page)).toBeLessThanOrEqual(0);
  });
});
