import { strictText } from "#hash-platform";
import type { AnchorExamination } from "./anchor-evidence.ts";
import { canonicalize } from "./canonical-json.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { headOfNote } from "./contradiction.ts";
import { encodeHex } from "./encoding.ts";
import { MalformedError, UnavailableError } from "./errors.ts";
import { type ExportControls, readControls } from "./export-controls.ts";
import { ExportEntries, type ExportTally, type ExportWatch } from "./export-entries.ts";
import { type ExportHeader, parseExportHeader } from "./export-format.ts";
import { type ExaminedHeader, examineHeader } from "./export-header.ts";
import { refuseNewerFormat } from "./file-kind.ts";
import type { FileLine } from "./file-lines.ts";
import {
  independenceOf,
  missingEvidence,
  timelineOfCheckpoint,
  timeOf,
  unreadableReport,
  type Verdicts,
  verdict,
  withFindings,
} from "./file-report.ts";
import { FindingList } from "./finding-list.ts";
import { RECEIPT_BYTES_MAX } from "./limits.ts";
import { type Policy, parsePolicy } from "./policy.ts";
import { exitCodeOf, type Finding, type Pin, type Verdict, type VerifyReport } from "./report.ts";
import { type Timeline, timelineOf } from "./timeline.ts";

export interface VerifyFileOptions {
  /** Text of the policy that the reader pins. */
  readonly policy?: string | undefined;
  /** Without a policy: believe the keys that the export itself names. Shows that it is consistent, not whose it is. */
  readonly allowSelfAsserted: boolean;
  /** Note of a checkpoint that the reader holds: what is verified must be of its history. */
  readonly expect?: string | undefined;
}

export interface VerifyExportOptions extends VerifyFileOptions {
  /** Findings listed; the rest are counted. Default 1,000. */
  readonly findingsMax?: number | undefined;
}

/**
 * Verifies an export as spec/export.md says and answers with six verdicts and every finding; hostile bytes are findings, never
 * exceptions. `lines` is called twice and must give the same file each time (`splitLines` makes lines of bytes). Memory does not
 * grow with bodies or lines, but by about 30 bytes for each id, and with the control events, sources and findings. Errors:
 * `malformed-policy`, `malformed-config` for a held checkpoint that is none, `newer-format`, `storage-io` if the two readings differ.
 */
export async function verifyExport(
  lines: () => AsyncIterable<FileLine>,
  options: VerifyExportOptions,
): Promise<VerifyReport> {
  const trust = trustOf(options);
  const held = heldOf(options.expect);
  const findings = new FindingList(options.findingsMax);
  const opened = await openExport(lines(), trust, findings);
  if ("code" in opened) return unreadableReport(opened, { kind: "export", ...pinOf(trust) });
  const tally = await judgeLines(lines(), opened, findings, { rootAt: held?.size });
  const isComparable = compareHeld(held, opened.examined.header.head, tally.root, findings);
  return exportReport(opened.examined, { tally, isComparable }, findings);
}

/** What the reader trusts. */
export interface Trust {
  readonly pinned: Policy | null;
  readonly allowSelfAsserted: boolean;
}

export function trustOf({ policy, allowSelfAsserted }: VerifyFileOptions): Trust {
  return { pinned: policy === undefined ? null : parsePolicy(policy), allowSelfAsserted };
}

export function pinOf({ pinned, allowSelfAsserted }: Trust): { readonly pin: Pin; readonly policy: Policy | null } {
  return { pin: pinned !== null ? "policy" : allowSelfAsserted ? "self-asserted" : "none", policy: pinned };
}

/**
 * The checkpoint that a reader hands in to compare with. What is none says nothing of the evidence, neither for nor against it: error
 * `malformed-config` (`details.option`).
 */
export function heldOf(note: string | undefined, option: "expect" | "since" = "expect"): Checkpoint | null {
  if (note === undefined) return null;
  const held = headOfNote(note);
  if (held !== null) return held;
  throw new MalformedError(
    "malformed-config",
    `${option}: expected a checkpoint, a signed note of origin, size and root; what was given is none`,
    { details: { option } },
  );
}

/** An export after its first reading. */
export interface OpenedExport {
  readonly examined: ExaminedHeader;
  readonly controls: ExportControls;
}

/** First reading: header and control events; or the finding that ends verification (E1-E3). */
export async function openExport(
  lines: AsyncIterable<FileLine>,
  trust: Trust,
  findings: FindingList,
): Promise<OpenedExport | Finding> {
  const reading = lines[Symbol.asyncIterator]();
  try {
    const first = await reading.next();
    const header = headerOf(first.done === true ? null : first.value);
    if ("code" in header) return header;
    const examined = await examineHeader(header, trust, findings);
    const controls = await readControls({ [Symbol.asyncIterator]: () => reading }, examined);
    reportReplay(examined, controls, findings);
    return { examined, controls };
  } finally {
    await reading.return?.();
  }
}

/** Second reading: every line. Error: `storage-io` if it is not what the first one read. */
export async function judgeLines(
  lines: AsyncIterable<FileLine>,
  { examined, controls }: OpenedExport,
  findings: FindingList,
  watch: ExportWatch = {},
): Promise<ExportTally> {
  const entries = new ExportEntries(examined, controls, findings, watch);
  let isHeader = true;
  for await (const line of lines) {
    if (isHeader) isHeader = false;
    else {
      const judged = entries.add(line);
      if (judged !== undefined) await judged;
    }
  }
  const tally = entries.finish();
  if (tally.fingerprint !== controls.fingerprint) {
    throw new UnavailableError("storage-io", "export: the file changed while it was read");
  }
  return tally;
}

/**
 * Compares with the checkpoint that the reader holds: spec/verification.md 12. False if that cannot be done. `root`: that of the entries
 * at its size, hex.
 */
export function compareHeld(
  held: Checkpoint | null,
  head: Checkpoint,
  root: string | null,
  findings: FindingList,
): boolean {
  if (held === null) return true;
  const evidence = `held checkpoint of size ${held.size}`;
  if (held.origin !== head.origin) {
    const more = { expected: held.origin, found: head.origin, evidence };
    findings.add("origin-mismatch", "the checkpoint that the reader holds is of another ledger", more);
    return true;
  }
  const found = held.size === head.size ? encodeHex(head.root) : root;
  if (found === null) return false;
  const expected = encodeHex(held.root);
  if (found !== expected) {
    const message = `another history than that of the checkpoint of size ${held.size} that the reader holds`;
    findings.add("expected-root", message, { expected, found, evidence });
  }
  return true;
}

/** E1-E3: the header, or the finding that ends verification. */
function headerOf(line: FileLine | null): ExportHeader | Finding {
  try {
    const text = line === null || line.bytes.length >= RECEIPT_BYTES_MAX ? null : strictText(line.bytes);
    if (text === null) throw new MalformedError("malformed-export", "export: expected a line of UTF-8 text as header");
    const header = parseExportHeader(text);
    if (line?.ended === true) return header;
    throw new MalformedError("malformed-export", "export: the header does not end with a newline");
  } catch (error) {
    if (!(error instanceof MalformedError)) throw error;
    if (line !== null) refuseNewerFormat(line.bytes);
    const isCheckpoint = error.code === "malformed-note" || error.code === "malformed-checkpoint";
    return { code: isCheckpoint ? "checkpoint-malformed" : "file-malformed", message: error.message };
  }
}

/** S8-S13: what replay found, as far as the policy does not allow it. */
function reportReplay(examined: ExaminedHeader, controls: ExportControls, findings: FindingList): void {
  const { header, pin, policy, accepted } = examined;
  const { state } = controls;
  for (const { code, message, ...more } of controls.findings) {
    // An entry 0 that is no genesis is judged with its line.
    if (code === "genesis-malformed" && more.index === 0) continue;
    if (code === "rules-weakened" && pin === "policy" && policy?.requireSignature === false) continue;
    const isPinnedAnew = state?.logKeys.some(
      ({ key, introducedAt }) =>
        introducedAt === more.index && policy?.logKeys.some((known) => known.vkey === key.vkey) === true,
    );
    if (code === "key-continuity-broken" && isPinnedAnew === true) continue;
    findings.add(code, message, more);
  }
  if (accepted === null || state === null) return;
  const { size } = header.head;
  const disowned = accepted.logKeys.filter((key) => (state.revocations.get(key.vkey) ?? size) < size);
  if (disowned.length === accepted.logKeys.length) {
    findings.add("key-disowned", `the checkpoint of size ${size} is signed only by keys that were later disowned`, {
      found: disowned.map((key) => key.vkey).join(" "),
      evidence: `checkpoint of size ${size}`,
    });
  }
}

/** What was found in the lines. */
export interface JudgedExport {
  readonly tally: ExportTally;
  /** What the reader holds could be compared, if there is anything. */
  readonly isComparable: boolean;
  /** Of a package. */
  readonly anchors?: (AnchorExamination & { readonly requireAnchor: boolean }) | undefined;
}

export function exportReport(
  examined: ExaminedHeader,
  judged: JudgedExport,
  findings: FindingList,
  kind: "export" | "package" = "export",
): VerifyReport {
  const { header, pin, policy, accepted } = examined;
  const { tally, isComparable, anchors } = judged;
  const { selection, head } = header;
  const isWhole = isWholeExport(header);
  const witnessed = timelineOfCheckpoint(accepted);
  const timeline =
    anchors === undefined
      ? witnessed
      : timelineOf([...witnessed.notAfter, ...anchors.notAfter], [...witnessed.notBefore, ...anchors.notBefore]);
  const unfailed = verdictsOf(examined, judged);
  const time = anchors === undefined ? unfailed.time : timeOfAnchored(timeline, { pin, size: head.size, anchors });
  const verdicts = withFindings({ ...unfailed, time }, findings);
  const established = [verdicts.integrity, verdicts.authenticity].every(({ status }) => status !== "notEstablished");
  const base = {
    ok: findings.isOk,
    conclusive: isWhole && tally.membership.open === 0 && isComparable && pin !== "none" && established,
    requiredMissing: [
      ...missingEvidence(policy, accepted),
      ...(anchors?.requireAnchor === true && anchors.held.length === 0 ? ["anchor"] : []),
    ],
  };
  const report: Omit<VerifyReport, "summary"> = {
    format: "tallystick/report/v1",
    kind,
    ...base,
    origin: head.origin,
    size: head.size,
    root: encodeHex(head.root),
    range: isWhole ? null : [selection.first, selection.last],
    pin,
    verdicts,
    timeline,
    findings: findings.findings,
    findingsOmitted: findings.omitted,
    erased: { entries: tally.erasedEntries, fields: tally.erasedFields },
    needsReindex: false,
  };
  return { ...report, summary: summaryOf(report, { header, tally }, findings.count) };
}

function isWholeExport({ selection, head }: ExportHeader): boolean {
  return selection.kind !== "filter" && selection.first === 0 && selection.last === head.size - 1;
}

function isPrefixExport({ selection }: ExportHeader): boolean {
  return selection.kind !== "filter" && selection.first === 0;
}

/** The verdicts as they are if no finding fails them. */
function verdictsOf(examined: ExaminedHeader, { tally, isComparable }: JudgedExport): Verdicts {
  const { header, policy, accepted } = examined;
  const isFilter = header.selection.kind === "filter";
  return {
    integrity: integrityOf(header, tally),
    order: verdict(
      "pass",
      isFilter
        ? "indexes and times ascend; only entries that are neighbours in the ledger are linked here"
        : "indexes, links and times follow one another",
    ),
    authenticity: authenticityOf(examined, tally),
    completeness: isComparable ? completenessOf(header, tally) : incomparable(completenessOf(header, tally)),
    independence: independenceOf(policy, accepted),
    time: timeOf(accepted),
  };
}

function integrityOf(header: ExportHeader, tally: ExportTally): Verdict {
  const unchecked: string[] = [];
  if (tally.erasedEntries > 0)
    unchecked.push(`${counted(tally.erasedEntries, "erased body", "erased bodies")}: only the commitment remains`);
  if (tally.erasedFields > 0) unchecked.push(`${counted(tally.erasedFields, "erased field")}: only the digest remains`);
  if (tally.withheldFields > 0)
    unchecked.push(`${counted(tally.withheldFields, "withheld field")}: only the digest is here`);
  if (tally.withheldEntries > 0)
    unchecked.push(
      `${counted(tally.withheldEntries, "withheld body", "withheld bodies")}: only the commitment is here`,
    );
  if (!isPrefixExport(header)) unchecked.push("holds, which may have been placed before the selection");
  if (tally.unseenErasures > 0) {
    const basis = `${counted(tally.unseenErasures, "body", "bodies")} erased by entries outside the selection: whether they were cannot be checked here`;
    return verdict("notEstablished", basis, unchecked);
  }
  return verdict(
    "pass",
    "what is shown is what the entries commit to, and the entries are those of the checkpoint",
    unchecked,
  );
}

function authenticityOf(examined: ExaminedHeader, tally: ExportTally): Verdict {
  const { header, pin, policy, genesis, accepted } = examined;
  const unchecked: string[] = [];
  if (!isPrefixExport(header))
    unchecked.push("keys and rules of the ledger: the selection does not begin with entry 0");
  else if (genesis === null) unchecked.push("keys and rules of the ledger: there is no genesis that holds");
  const events = (count: number): string => counted(count, "event");
  if (tally.unreadSignatures > 0)
    unchecked.push(`author signatures of ${events(tally.unreadSignatures)}: no key is pinned`);
  if (tally.hiddenSignatures > 0)
    unchecked.push(`author signatures of ${events(tally.hiddenSignatures)}: actor or signatures are withheld`);
  if (tally.unknownSignatures > 0) {
    unchecked.push(
      `${counted(tally.unknownSignatures, "author signature")} by keys that the policy does not name for their actor and index`,
    );
  }
  if (tally.signedBySelfAsserted > 0) {
    unchecked.push(
      `who holds the author keys of ${events(tally.signedBySelfAsserted)}: they are known from the ledger alone (self-asserted)`,
    );
  }
  if (policy === null) return verdict("notEstablished", "no key is pinned, so no signature was checked", unchecked);
  if (policy.genesis === null) unchecked.push("genesis not pinned");
  if (tally.openSignatures > 0) {
    const basis = `${events(tally.openSignatures)} may need an author signature, and none could be verified`;
    return verdict("notEstablished", basis, unchecked);
  }
  const keys = (accepted?.logKeys ?? []).map((key) => key.vkey.slice(0, key.name.length + 9)).join(", ");
  const how =
    pin === "policy"
      ? "under the pinned policy"
      : "a key that only the evidence itself names, believed on request (self-asserted)";
  const signed = tally.signedByPinned > 0 ? `; ${events(tally.signedByPinned)} signed by pinned author keys` : "";
  return verdict("pass", `checkpoint of size ${header.head.size} signed by ${keys}, ${how}${signed}`, unchecked);
}

/** What a selection was made by, as its header has it: a reader compares it with what was asked. */
function askedFor({ selection }: ExportHeader): string {
  const text = selection.kind === "range" ? "{}" : canonicalize(selection.filter);
  return text.length <= FILTER_UNITS_SHOWN ? text : `${text.slice(0, FILTER_UNITS_SHOWN)}…`;
}

/** Of a filter in a sentence: the header has it whole. */
const FILTER_UNITS_SHOWN = 400;

function completenessOf(header: ExportHeader, tally: ExportTally): Verdict {
  const { kind, first, last } = header.selection;
  const { open } = tally.membership;
  const isWhole = isWholeExport(header);
  const noCounters = "counters of sources, which say something about whole ledgers only";
  if (kind === "filter") {
    const basis = `members proved, completeness asserted: whoever made the selection chose them, for the filter ${askedFor(header)}`;
    return verdict("notEstablished", basis, [noCounters]);
  }
  if (open > 0) {
    const basis = `${counted(open, "entry", "entries")} of ${first} to ${last} may belong to the selection too: what is shown does not say`;
    return verdict("notEstablished", basis, [noCounters]);
  }
  if (!isWhole) {
    const what = kind === "complete" ? "the selection among them is complete, checked; " : "";
    const basis = `entries ${first} to ${last} are all here; ${what}of the others nothing is said`;
    return verdict("notEstablished", basis, [noCounters]);
  }
  if (kind === "complete") {
    const basis = `every entry up to the checkpoint of size ${header.head.size} is here, and all that the filter asks for are shown: ${askedFor(header)}`;
    return verdict("pass", basis, [noCounters]);
  }
  return verdict("pass", `no gap from genesis to the checkpoint of size ${header.head.size}`);
}

/** By the row that covers the most: since when that much existed, and on whose word. */
function timeOfAnchored(
  { notAfter, notBefore }: Timeline,
  { pin, size, anchors }: { readonly pin: Pin; readonly size: number; readonly anchors: AnchorExamination },
): Verdict {
  const widest = notAfter.at(-1);
  const { unchecked } = anchors;
  if (widest === undefined)
    return verdict(
      "notEstablished",
      "no time from outside: those of the entries are the claim of the ledger",
      unchecked,
    );
  const which = widest.size >= size ? "all of it" : `entries up to ${widest.size - 1}`;
  const latest = notBefore.at(-1);
  const after = latest === undefined ? "" : `; those from ${latest.index} on were written after ${latest.time}`;
  const basis = `${which} existed at ${widest.time}, by ${widest.source}${after}`;
  if (pin === "none") return verdict("notEstablished", `${basis}; but no key is pinned`, unchecked);
  return verdict("pass", basis, unchecked);
}

/** The reader holds a checkpoint of which nothing here tells. */
function incomparable({ basis, unchecked }: Verdict): Verdict {
  const held = "whether the checkpoint that the reader holds is of this history: it cannot be compared";
  return verdict("notEstablished", basis, [...unchecked, held]);
}

function counted(count: number, one: string, many: string = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}

interface Examined {
  readonly header: ExportHeader;
  readonly tally: ExportTally;
}

function summaryOf(report: Omit<VerifyReport, "summary">, { header, tally }: Examined, findingsCount: number): string {
  const what = `${report.kind === "package" ? "evidence package" : "export"} of ${report.origin}`;
  if (!report.ok) return `${what}: NOT intact: ${counted(findingsCount, "finding")}`;
  if (exitCodeOf({ ...report, summary: "" }) === 4) {
    const who = report.requiredMissing.includes("quorum") ? "the policy" : "the reader";
    return `${what}: consistent, but evidence that ${who} asks for is missing: ${report.requiredMissing.join(", ")}`;
  }
  if (report.pin === "none")
    return `${what}: consistent with itself, but no key is pinned: anybody could have written it`;
  const { kind, first, last } = header.selection;
  if (kind === "complete") return `${what}: ${selectionSummary(header, tally)}`;
  if (kind === "filter")
    return `${what}: every entry in it is in the ledger; whether it has all that were asked for, the operator says`;
  if (!isWholeExport(header)) return `${what}: entries ${first} to ${last} hold; nothing is said about the others`;
  if (!report.conclusive) return `${what}: nothing wrong was found, but not all could be established`;
  return `${what}: intact, all ${report.size} entries`;
}

/** spec/export.md 12 */
function selectionSummary(header: ExportHeader, { membership, openErased }: ExportTally): string {
  const { first, last } = header.selection;
  const { member, open } = membership;
  const others = membership["no member"];
  const range = isWholeExport(header) ? `all ${header.head.size} entries` : `entries ${first} to ${last}`;
  const answer = `of ${range}, ${member} ${member === 1 ? "matches" : "match"} the filter and ${others} ${others === 1 ? "does" : "do"} not`;
  if (open === 0) return `${answer}: the selection is complete`;
  const erased = openErased > 0 ? `, ${openErased} of them erased` : "";
  return `${answer}; of ${open} nobody can say${erased}: the selection may lack some`;
}
