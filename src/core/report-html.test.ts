import { describe, expect, it } from "vitest";
import { everyVerdict } from "./file-report.ts";
import { FINDING_CODES, type Finding, type FindingCode, type VerifyReport } from "./report.ts";
import { formatReportHtml } from "./report-html.ts";
import { EMPTY_TIMELINE } from "./timeline.ts";

const HOSTILE = `<script>alert(1)</script>"'&\u202e\u0000`;

const report = (more: Partial<VerifyReport> = {}): VerifyReport => ({
  format: "tallystick/report/v1",
  kind: "package",
  ok: true,
  conclusive: true,
  origin: "example.com/audit",
  size: 3,
  root: "ab".repeat(32),
  range: null,
  pin: "policy",
  verdicts: everyVerdict(() => ({ status: "pass", basis: "because", unchecked: [] })),
  findings: [],
  findingsOmitted: 0,
  erased: { entries: 0, fields: 0 },
  timeline: EMPTY_TIMELINE,
  requiredMissing: [],
  needsReindex: false,
  summary: "evidence package of example.com/audit: intact, all 3 entries",
  ...more,
});

describe("the page of a report", () => {
  it("answers first, then says of what, since when and on whose word", () => {
    const page = formatReportHtml(
      report({
        timeline: {
          notAfter: [{ size: 3, time: "2026-01-02T03:04:05.000Z", source: "a witness", relies: "it is right" }],
          notBefore: [],
        },
      }),
    );
    const places = [
      "Holds</h1>",
      "Intact, all 3 entries",
      "3 entries",
      "All of it existed by 2026-01-02 03:04:05 UTC",
      "a witness, if it is right",
      "The keys that you pinned",
    ].map((text) => page.indexOf(text));
    expect(places).not.toContain(-1);
    expect(places).toEqual([...places].sort((a, b) => a - b));
  });

  it.each([
    [{ ok: false }, "Does not hold"],
    [{ conclusive: false }, "Nothing wrong found, but not all is shown"],
    [{ requiredMissing: ["anchor"] }, "Evidence is missing"],
  ] as const)("has another answer where not all is well: %j", (more, answer) => {
    expect(formatReportHtml(report(more))).toContain(`</span>${answer}</h1>`);
  });

  it("has plain words for every finding", () => {
    const findings = Object.keys(FINDING_CODES).map(
      (code): Finding => ({ code: code as FindingCode, index: 7, message: "so it is" }),
    );
    const page = formatReportHtml(report({ ok: false, findings, findingsOmitted: 1_234 }));
    expect(page.match(/<li><p class="lead">[A-Z][^<]+\. ?<span class="where">entry 7<\/span>/g)).toHaveLength(
      findings.length,
    );
    expect(page).toContain("1,234 more");
  });

  it("lists what was not checked", () => {
    const verdicts = everyVerdict((name) => ({
      status: "pass" as const,
      basis: "",
      unchecked: name === "time" ? ["2 pending proofs"] : [],
    }));
    const page = formatReportHtml(report({ verdicts, requiredMissing: ["quorum"], erased: { entries: 2, fields: 1 } }));
    expect(page).toContain("<li>time: 2 pending proofs</li>");
    expect(page).toContain("<li>evidence that was asked for is missing: quorum</li>");
    expect(page).toContain("2 bodies, 1 field");
    expect(formatReportHtml(report())).not.toContain("What was not checked");
  });

  it("shows text of strangers as text, wherever it stands", () => {
    const finding: Finding = {
      code: "anchor-invalid",
      message: HOSTILE,
      expected: HOSTILE,
      found: HOSTILE,
      evidence: HOSTILE,
    };
    const row = { time: "2026-01-02T03:04:05.000Z", source: HOSTILE, relies: HOSTILE };
    const page = formatReportHtml(
      report({
        origin: HOSTILE,
        root: HOSTILE,
        summary: HOSTILE,
        ok: false,
        findings: [finding],
        requiredMissing: [HOSTILE],
        timeline: { notAfter: [{ size: 1, ...row }], notBefore: [{ index: 1, ...row }] },
        verdicts: everyVerdict(() => ({ status: "fail", basis: HOSTILE, unchecked: [HOSTILE] })),
      }),
      { file: HOSTILE, time: HOSTILE },
    );
    expect(page).not.toMatch(/<script|\u202e|\u0000|alert\(1\)<\/script>"/);
    expect(
      page.match(/&lt;script&gt;alert\(1\)&lt;\/script&gt;&quot;&#39;&amp;\\u\{202e\}\\u\{0\}/g)!.length,
    ).toBeGreaterThan(25);
  });

  it("loads nothing and runs nothing", () => {
    const page = formatReportHtml(report(), { isClaim: true });
    expect(page).toContain(`content="default-src 'none'; style-src 'unsafe-inline'"`);
    expect(page).not.toMatch(/<(?:script|img|link|iframe|a|object|form)\b|\bon\w+=|url\(|@import|href=/i);
    expect(page).toContain("<strong>A claim.</strong>");
    expect(formatReportHtml(report())).not.toContain("A claim.");
  });
});
