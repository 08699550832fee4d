import { FINDING_WORDS } from "./finding-words.ts";
import {
  exitCodeOf,
  type Finding,
  VERDICT_NAMES,
  type VerdictName,
  type VerdictStatus,
  type VerifyReport,
} from "./report.ts";
import { safeText } from "./safe-text.ts";

export interface ReportHtmlOptions {
  /** The page goes into a package: it says that it is what the maker of the package claims. */
  readonly isClaim?: boolean;
  /** Name of the file that was verified. */
  readonly file?: string | undefined;
  /** When it was verified, RFC 3339. */
  readonly time?: string | undefined;
}

/**
 * A report as one HTML page for people: no script, no image, no link, nothing that is loaded; it prints on A4. Every text of the report is
 * escaped, since strangers wrote parts of it.
 */
export function formatReportHtml(report: VerifyReport, options: ReportHtmlOptions = {}): string {
  const answer = answerOf(report);
  const title = `${answer.word} · ${report.origin ?? options.file ?? "verification"}`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>${html(title)}</title>
<style>${STYLE}</style>
</head>
<body>
<main>
${options.isClaim === true ? CLAIM : ""}<header class="${answer.kind}">
<p class="what">${html(subjectOf(report, options.file))}</p>
<h1><span class="sign" aria-hidden="true">${answer.sign}</span>${html(answer.word)}</h1>
<p class="sentence">${html(sentenceOf(report))}</p>
</header>
<svg class="edge" viewBox="0 0 720 14" preserveAspectRatio="none" aria-hidden="true"><path d="${notches()}"/></svg>
<section class="facts" aria-label="In short">
${factsOf(report)
  .map(
    ({ question, lead, more }) =>
      `<div><h2>${question}</h2><p class="lead">${html(lead)}</p>${more.map((text) => `<p>${html(text)}</p>`).join("")}</div>`,
  )
  .join("\n")}
</section>
${findingsSection(report)}<section>
<h2>What was asked, and the answer</h2>
<table>
<thead><tr><th scope="col">Question</th><th scope="col">Answer</th><th scope="col">On what it rests</th></tr></thead>
<tbody>
${VERDICT_NAMES.map((name) => verdictRow(report, name)).join("\n")}
</tbody>
</table>
</section>
${uncheckedSection(report)}${detailsSection(report, options)}</main>
</body>
</html>
`;
}

interface Answer {
  readonly kind: "good" | "bad" | "open";
  readonly sign: string;
  readonly word: string;
}

function answerOf(report: VerifyReport): Answer {
  const exit = exitCodeOf(report);
  if (exit === 1) return { kind: "bad", sign: "✗", word: "Does not hold" };
  if (exit === 0) return { kind: "good", sign: "✓", word: "Holds" };
  return {
    kind: "open",
    sign: "?",
    word: exit === 4 ? "Evidence is missing" : "Nothing wrong found, but not all is shown",
  };
}

const KINDS: Readonly<Record<VerifyReport["kind"], string>> = {
  ledger: "Audit ledger",
  published: "Published audit ledger",
  receipt: "Receipt",
  export: "Export",
  checkpoint: "Checkpoint",
  package: "Evidence package",
};

function subjectOf({ kind, origin }: VerifyReport, file: string | undefined): string {
  const of = origin === null ? "" : ` of ${origin}`;
  return `${KINDS[kind]}${of}${file === undefined ? "" : ` · ${file}`}`;
}

/** The summary without its subject, which stands above it. */
function sentenceOf({ summary, origin }: VerifyReport): string {
  const subject = summary.indexOf(` of ${origin}: `);
  const rest = origin === null || subject < 0 ? summary : summary.slice(subject + origin.length + 6);
  return `${rest.slice(0, 1).toUpperCase()}${rest.slice(1)}`;
}

interface Fact {
  readonly question: string;
  readonly lead: string;
  readonly more: readonly string[];
}

/** What a person wants to know first. */
function factsOf(report: VerifyReport): Fact[] {
  const { verdicts, timeline, size, range } = report;
  const latest = timeline.notAfter.at(-1);
  const earliest = timeline.notBefore.at(-1);
  const since: Fact =
    latest === undefined
      ? { question: "Since when?", lead: "Nobody outside says", more: [verdicts.time.basis] }
      : {
          question: "Since when?",
          lead: `${latest.size >= size ? "All of it" : `Entries up to ${latest.size - 1}`} existed by ${dayOf(latest.time)}`,
          more: [
            `${latest.source}, if ${latest.relies}`,
            ...(earliest === undefined
              ? []
              : [`Entries from ${earliest.index} on were written after ${dayOf(earliest.time)}: ${earliest.source}`]),
          ],
        };
  const { authenticity, independence } = verdicts;
  const word: Fact = {
    question: "On whose word?",
    lead: authenticity.status === "fail" ? "Not on that of the keys you pinned" : WORDS_OF_PIN[report.pin],
    more: [authenticity.basis, ...(independence.basis === authenticity.basis ? [] : [independence.basis])],
  };
  const what =
    range === null
      ? `${count(size)} ${size === 1 ? "entry" : "entries"}`
      : range[0] === range[1]
        ? `Entry ${range[0]}`
        : `Entries ${range[0]} to ${range[1]}`;
  const complete: Fact = {
    question: "What?",
    lead: size === 0 ? "Nothing was read" : what,
    more: [verdicts.completeness.basis],
  };
  return [complete, since, word];
}

const WORDS_OF_PIN: Readonly<Record<VerifyReport["pin"], string>> = {
  policy: "The keys that you pinned",
  state: "The keys that this machine keeps",
  "self-asserted": "Only its own: it names its keys itself",
  none: "Nobody's: no key is pinned",
};

function dayOf(time: string): string {
  return `${time.slice(0, 10)} ${time.slice(11, 19)} UTC`;
}

const QUESTIONS: Readonly<Record<VerdictName, string>> = {
  integrity: "Is the content what was recorded?",
  order: "Is it in the order in which it was recorded?",
  authenticity: "Is it signed by whom you expect?",
  completeness: "Is all of it there?",
  independence: "Does anybody outside vouch for it?",
  time: "Is it known since when?",
};

const ANSWERS: Readonly<Record<VerdictStatus, readonly [sign: string, word: string]>> = {
  pass: ["✓", "yes"],
  fail: ["✗", "no"],
  notEstablished: ["?", "not shown"],
  notChecked: ["·", "not looked at"],
};

function verdictRow({ verdicts }: VerifyReport, name: VerdictName): string {
  const { status, basis } = verdicts[name];
  const [sign, word] = ANSWERS[status];
  return `<tr><th scope="row">${QUESTIONS[name]}<small>${name}</small></th><td class="${status}"><span aria-hidden="true">${sign}</span> ${word}</td><td>${html(basis)}</td></tr>`;
}

function findingsSection({ findings, findingsOmitted }: VerifyReport): string {
  if (findings.length === 0) return "";
  const more = findingsOmitted === 0 ? "" : `<p>… and ${count(findingsOmitted)} more, which are not listed.</p>\n`;
  return `<section>
<h2>What is wrong</h2>
<ol class="findings">
${findings.map(findingItem).join("\n")}
</ol>
${more}</section>
`;
}

function findingItem(finding: Finding): string {
  const { code, index, message } = finding;
  const where = index === undefined ? "" : ` <span class="where">entry ${count(index)}</span>`;
  const facts = (["expected", "found", "evidence"] as const).flatMap((name) => {
    const value = finding[name];
    return value === undefined ? [] : [`<dt>${name}</dt><dd>${html(value)}</dd>`];
  });
  const list = facts.length === 0 ? "" : `<dl>${facts.join("")}</dl>`;
  return `<li><p class="lead">${html(FINDING_WORDS[code])}${where}</p><p>${html(message)} <code>${code}</code></p>${list}</li>`;
}

function uncheckedSection({ verdicts, requiredMissing, erased }: VerifyReport): string {
  const items = VERDICT_NAMES.flatMap((name) => verdicts[name].unchecked.map((text) => `${name}: ${text}`));
  const missing = requiredMissing.map((name) => `evidence that was asked for is missing: ${name}`);
  const { entries, fields } = erased;
  const what = `${count(entries)} ${entries === 1 ? "body" : "bodies"}, ${count(fields)} ${fields === 1 ? "field" : "fields"}`;
  const gone = entries + fields === 0 ? [] : [`erased by entries of the ledger: ${what}`];
  const all = [...missing, ...items, ...gone];
  if (all.length === 0) return "";
  return `<section>
<h2>What was not checked</h2>
<ul>
${all.map((text) => `<li>${html(text)}</li>`).join("\n")}
</ul>
</section>
`;
}

function detailsSection(report: VerifyReport, { time }: ReportHtmlOptions): string {
  const rows: [string, string][] = [
    ["ledger", report.origin ?? "not known"],
    ["entries in its tree", count(report.size)],
    ["root of the tree", report.root ?? "not known"],
    ["exit code", `${exitCodeOf(report)}`],
    ...(time === undefined ? [] : ([["verified", time]] as [string, string][])),
  ];
  return `<section>
<h2>Details</h2>
<dl class="details">${rows.map(([name, value]) => `<dt>${name}</dt><dd>${html(value)}</dd>`).join("")}</dl>
<p class="fine">Tamper-evident means that a change shows to whoever holds the other half: a pinned key, a checkpoint, a receipt, a cosignature. This page is a statement of whoever ran the verifier, and evidence of nothing by itself.</p>
</section>
`;
}

const CLAIM = `<p class="claim"><strong>A claim.</strong> Whoever made the package wrote this page. Do not rely on it: verify the package with a verifier that you got elsewhere, under keys that you pinned.</p>
`;

function count(value: number): string {
  return value.toLocaleString("en-US");
}

const ENTITIES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

function html(text: string): string {
  return safeText(text).replace(/[&<>"']/g, (character) => ENTITIES[character] ?? "");
}

/** The edge of one half of a tally stick. */
function notches(): string {
  const cuts = Array.from({ length: 8 }, (_, i) => `H${56 + i * 88}L${65 + i * 88} 14L${74 + i * 88} 1`);
  return `M0 1${cuts.join("")}H720`;
}

const STYLE = `
:root{color-scheme:light;--ink:#3b2a12;--soft:#6b5636;--line:#e3d5b8;--paper:#fdf9f0;--wood:#ecc98f;--edge:#8a5a24;--good:#2f6b2f;--bad:#9d2a1c;--open:#8a5a00}
*{box-sizing:border-box}
body{margin:0;background:#f4ecdb;color:var(--ink);font:16px/1.5 ui-sans-serif,system-ui,"Segoe UI",Helvetica,Arial,sans-serif;overflow-wrap:anywhere}
main{max-width:60rem;margin:1.5rem auto;background:var(--paper);border:2px solid var(--line);border-radius:14px;overflow:hidden}
header{padding:1.75rem 2rem 1.25rem;background:var(--wood)}
header.good{--tone:var(--good)}header.bad{--tone:var(--bad);background:#efc4b4}header.open{--tone:var(--open);background:#f2dca6}
h1{margin:.1em 0;font-size:2.2rem;line-height:1.15;color:var(--tone);display:flex;gap:.35em;align-items:baseline}
.sign{flex:none}
.what{margin:0;font-weight:600}
.sentence{margin:.4em 0 0;font-size:1.1rem}
.edge{display:block;width:100%;height:14px}
.edge path{fill:none;stroke:var(--edge);stroke-width:1.5;vector-effect:non-scaling-stroke}
section{padding:.25rem 2rem 1rem}
h2{font-size:1.05rem;margin:1rem 0 .4rem}
.facts{display:grid;grid-template-columns:repeat(3,1fr);gap:0 1.75rem}
.facts h2{color:var(--soft);font-size:.9rem;margin-bottom:.1rem}
.lead{font-weight:600;margin:.1rem 0}
.facts p{margin:.1rem 0 .4rem}
.facts p:not(.lead),.fine,small{color:var(--soft);font-size:.9rem}
table{width:100%;border-collapse:collapse}
th,td{text-align:left;vertical-align:top;padding:.5rem .75rem .5rem 0;border-top:1px solid var(--line)}
thead th{border:0;color:var(--soft);font-weight:400;font-size:.9rem;padding-bottom:.2rem}
tbody th{font-weight:600;width:17rem}
small{display:block;font-weight:400}
td:nth-child(2){white-space:nowrap;font-weight:600}
.pass{color:var(--good)}.fail{color:var(--bad)}.notEstablished,.notChecked{color:var(--open)}
.findings{padding-left:1.4rem}.findings li{margin:0 0 .9rem}.findings p{margin:.1rem 0}
.where{font-weight:400;color:var(--soft)}
.where::before{content:"· "}
code,dd{font:.85rem/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace}
code{color:var(--soft)}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.1rem 1rem;margin:.3rem 0}
dt{color:var(--soft);font-size:.9rem}
dd{margin:0}
ul{padding-left:1.2rem;margin:.3rem 0}
.claim{margin:0;padding:.9rem 2rem;background:#fff3c9;border-bottom:2px dashed var(--edge)}
@media (max-width:44rem){body{font-size:15px}main{margin:0;border:0;border-radius:0}header,section,.claim{padding-left:1rem;padding-right:1rem}h1{font-size:1.7rem}.facts{grid-template-columns:1fr}table,tbody,tr,th,td{display:block}thead{display:none}tbody th{width:auto;padding-bottom:0}td{border:0;padding:.1rem 0}tr{padding-bottom:.5rem}td:nth-child(2){white-space:normal}.details{grid-template-columns:1fr}.details dd{margin-bottom:.3rem}}
@page{size:A4;margin:16mm}
@media print{body{background:none;font-size:10.5pt}main{margin:0;max-width:none;border:0;border-radius:0}header,.claim{-webkit-print-color-adjust:exact;print-color-adjust:exact}section{padding-left:0;padding-right:0}li,tr,.facts div{break-inside:avoid}h2{break-after:avoid}}
`;
