import type { AnchorExamination } from "../core/anchor-evidence.ts";
import { headOfNote } from "../core/contradiction.ts";
import { unknownOperators, whoOf } from "../core/file-report.ts";
import type { FindingList } from "../core/finding-list.ts";
import type { LedgerState, Recovery } from "../core/ledger-state.ts";
import type { Policy } from "../core/policy.ts";
import { type Pin, VERDICT_NAMES, type Verdict, type VerdictName, type VerifyReport } from "../core/report.ts";
import type { Timeline } from "../core/timeline.ts";
import type { CheckedCheckpoint, HeldCheckpoint } from "./checkpoint-trust.ts";
import type { RangeAnswer } from "./verify-range.ts";

/** Everything that verification of a ledger established, before it is put into words. */
export interface Evidence {
  readonly pin: Pin;
  readonly policy: Policy | null;
  readonly state: LedgerState | null;
  readonly size: number;
  readonly root: string | null;
  readonly range: readonly [number, number] | null;
  readonly since: number | null;
  readonly latest: (CheckedCheckpoint & { readonly keyOrigin?: string }) | null;
  /** The largest checkpoint with the quorum that the policy asks for. */
  readonly witnessed: CheckedCheckpoint | null;
  readonly anchors: AnchorExamination;
  readonly timeline: Timeline;
  /** The reader asked for an anchor that holds. */
  readonly requireAnchor: boolean;
  readonly held: readonly HeldCheckpoint[];
  readonly found: FindingList;
  readonly answers: readonly RangeAnswer[];
  readonly purges: readonly number[];
}

const ONLY_OPERATOR =
  "internally consistent and signed by this key; the holder of the key could have rewritten all of it";

/** The report of a ledger: six verdicts with their basis, and one sentence for a person. */
export function buildReport(evidence: Evidence): VerifyReport {
  const { pin, state, size, root, range, latest, found } = evidence;
  const verdicts: Record<VerdictName, Verdict> = {
    integrity: integrityOf(evidence),
    order: orderOf(evidence),
    authenticity: authenticityOf(evidence),
    completeness: completenessOf(evidence),
    independence: independenceOf(evidence),
    time: timeOf(evidence),
  };
  for (const name of VERDICT_NAMES) {
    const basis = found.failureOf(name);
    if (basis !== null) verdicts[name] = { ...verdicts[name], status: "fail", basis };
  }
  const ok = found.isOk;
  const pinned = pin !== "none" && latest !== null && openSignatures(evidence) === 0;
  const conclusive = state !== null && pinned && range === null && evidence.purges.length === 0;
  const requiredMissing = [
    ...(evidence.policy !== null && evidence.policy.quorum !== "none" && evidence.witnessed === null ? ["quorum"] : []),
    ...(evidence.requireAnchor && evidence.anchors.held.length === 0 ? ["anchor"] : []),
  ];
  const erased = {
    entries: evidence.answers.reduce((sum, answer) => sum + answer.erasedEntries, 0),
    fields: evidence.answers.reduce((sum, answer) => sum + answer.erasedFields, 0),
  };
  const base = {
    ok,
    conclusive,
    size,
    range,
    pin,
    requiredMissing,
    findings: found.findings,
    findingsOmitted: found.omitted,
  };
  return {
    format: "tallystick/report/v1",
    kind: "ledger",
    ...base,
    origin: state?.genesis.origin ?? null,
    root,
    verdicts,
    timeline: evidence.timeline,
    erased,
    needsReindex: DERIVED.some((code) => found.has(code)),
    summary: summaryOf({ ...base, found, latest, purges: evidence.purges, since: evidence.since }),
  };
}

const DERIVED = ["derived-tile", "derived-id", "derived-filter", "derived-control"] as const;

/** Entries that need a signature of which nobody can say whether one counts. Source: spec/keys.md 22. */
function openSignatures({ answers }: Evidence): number {
  return answers.reduce((sum, answer) => sum + answer.openSignatures, 0);
}

function verdict(status: Verdict["status"], basis: string, unchecked: readonly string[] = []): Verdict {
  return { status, basis, unchecked };
}

/** What was read. */
function rangeText({ range, size, since }: Evidence): string {
  if (range !== null) return `entries ${range[0]} to ${range[1]}`;
  return since === null ? counted(size) : `the entries from ${since} on`;
}

/** Where nothing was appended since the checkpoint that the reader trusts. */
function nothingRead({ since, size, range }: Evidence): string | null {
  return range === null && since === size ? `no entry is newer than the trusted checkpoint of size ${since}` : null;
}

function leftOut(evidence: Evidence): string[] {
  const { range, since } = evidence;
  if (range !== null) return ["this is a slice: the other entries were not read"];
  return since === null
    ? []
    : [`entries before ${since} are covered by the trusted checkpoint and were not read again`];
}

function integrityOf(evidence: Evidence): Verdict {
  if (evidence.state === null) return verdict("notChecked", "without a genesis nothing says how the entries commit");
  const unchecked = leftOut(evidence);
  const entries = evidence.answers.reduce((sum, answer) => sum + answer.erasedEntries, 0);
  const fields = evidence.answers.reduce((sum, answer) => sum + answer.erasedFields, 0);
  if (entries > 0)
    unchecked.push(`${entries} erased ${entries === 1 ? "body" : "bodies"}: only the commitment remains`);
  if (fields > 0) unchecked.push(`${fields} erased ${fields === 1 ? "field" : "fields"}: only the digest remains`);
  const basis = `every stored byte of ${rangeText(evidence)} was hashed again and is what was committed`;
  return verdict("pass", nothingRead(evidence) ?? basis, unchecked);
}

function orderOf(evidence: Evidence): Verdict {
  if (evidence.state === null) return verdict("notChecked", "without a genesis there is no first entry");
  const basis = `indexes, links and times of ${rangeText(evidence)} follow one another`;
  return verdict("pass", nothingRead(evidence) ?? basis, leftOut(evidence));
}

function authenticityOf(evidence: Evidence): Verdict {
  const { latest, pin, size, state, policy } = evidence;
  if (state === null) return verdict("notEstablished", "the ledger has no readable genesis");
  if (latest === null) return verdict("notEstablished", "no checkpoint that holds was found");
  const unchecked: string[] = [];
  if (latest.size < size)
    unchecked.push(`${counted(size - latest.size)} after the checkpoint of size ${latest.size} not signed yet`);
  if (policy !== null && policy.genesis === null) unchecked.push("genesis not pinned");
  const unknown = evidence.answers.reduce((sum, answer) => sum + answer.unknownSignatures, 0);
  if (policy?.requireSignature === true && unknown > 0)
    unchecked.push(`${unknown} erased entries: whether they were signed cannot be said any more`);
  unchecked.push(...selfAssertedAuthors(evidence));
  for (const index of state.continuityBrokenAt)
    unchecked.push(`that the holder of the log key before ${index} agreed to the one that the recovery there names`);
  const keys = latest.logKeys.map((key) => key.vkey.slice(0, key.name.length + 9)).join(", ");
  const basis = `checkpoint of size ${latest.size} signed by ${keys}`;
  const open = openSignatures(evidence);
  if (open > 0) {
    return verdict(
      "notEstablished",
      `${basis}, but of ${open} events nobody can say whether their author signed them`,
      unchecked,
    );
  }
  if (pin === "none")
    return verdict("notEstablished", `${basis}, a key that only the ledger itself names: pin a policy`, unchecked);
  const how: Record<Exclude<Pin, "none">, string> = {
    policy: "under the pinned policy",
    state: "under the policy that this machine keeps",
    "self-asserted": "a key that only the ledger itself names, accepted on request",
  };
  return verdict("pass", `${basis}, ${how[pin]}`, unchecked);
}

/** Author signatures count for non-repudiation only under keys that the reader pinned. */
function selfAssertedAuthors({ answers, policy }: Evidence): string[] {
  const pinned = new Set(policy?.authors.map((author) => author.keyId));
  const events = answers
    .flatMap((answer) => answer.signers)
    .reduce((sum, [keyId, count]) => (pinned.has(keyId) ? sum : sum + count), 0);
  return events === 0
    ? []
    : [`${events} author signatures are by keys that only the ledger itself names: self-asserted`];
}

function completenessOf(evidence: Evidence): Verdict {
  const { latest, size, state, range, held } = evidence;
  if (state === null) return verdict("notChecked", "without a genesis there is no beginning");
  if (range !== null)
    return verdict("notChecked", "a slice says nothing about the entries around it", leftOut(evidence));
  if (latest === null) return verdict("notEstablished", "no checkpoint that holds says how many entries there must be");
  const reach = Math.max(0, ...held.filter(({ source }) => source !== "since").map((known) => known.size));
  const unchecked =
    latest.size < size ? [`entries after ${latest.size - 1} could be cut off unnoticed until the next checkpoint`] : [];
  if (reach < latest.size)
    unchecked.push(
      `that no later checkpoint was withheld: nothing from outside the ledger reaches beyond size ${reach}`,
    );
  unchecked.push(...state.recoveries.flatMap(lossOf));
  return verdict("pass", `no gap from genesis to the checkpoint of size ${latest.size}`, unchecked);
}

/** What a recovery says of the entries before it. A lost key alone takes none away. */
function lossOf({ index, lost, checkpoint }: Recovery): readonly string[] {
  const size = checkpoint === null ? null : (headOfNote(checkpoint)?.size ?? null);
  if (lost.includes("database"))
    return [
      `entries that were lost before the recovery at ${index}${size === null ? "" : `: a checkpoint of size ${size} that is on record there signs a history that is not this one`}`,
    ];
  if (lost.includes("lock-store"))
    return [
      `whether entries ${size === null ? "" : `after ${size - 1} `}were cut off before the recovery at ${index}: the lock store was lost`,
    ];
  return [];
}

function independenceOf({ latest, witnessed, policy, pin, held, size }: Evidence): Verdict {
  const own = held.filter(({ source }) => source === "expect" || source === "lastSeen").map((known) => known.size);
  if (policy !== null && policy.quorum !== "none") {
    if (witnessed !== null) {
      const names = witnessed.witnesses.map((witness) => witness.name);
      const after = witnessed.size < size ? [`${counted(size - witnessed.size)} after that not cosigned yet`] : [];
      const unchecked = [...after, ...unknownOperators(policy, names)];
      return verdict("pass", `cosigned at size ${witnessed.size} by ${whoOf(policy, names)}`, unchecked);
    }
    const names = latest?.witnesses.map((witness) => witness.name) ?? [];
    const who = names.length === 0 ? "no witness" : `only ${whoOf(policy, names)}`;
    return verdict(
      "notEstablished",
      `the policy asks for quorum ${policy.quorum}; ${who} cosigned the latest checkpoint`,
    );
  }
  if (own.length > 0) {
    const basis = `the history up to size ${Math.max(...own)} is the one that the reader saw before`;
    if (pin === "none") return verdict("notEstablished", `${basis}; but no key is pinned`);
    return verdict("pass", basis, [ONLY_OPERATOR_AFTER]);
  }
  return verdict("notEstablished", ONLY_OPERATOR);
}

const ONLY_OPERATOR_AFTER = "entries after that rest on the log key alone";

/** By the row that covers the most: since when that much existed, on whose word, and what follows a later outside time. */
function timeOf({ timeline, anchors, pin, size }: Evidence): Verdict {
  const { notAfter, notBefore } = timeline;
  const widest = notAfter.at(-1);
  if (widest === undefined)
    return verdict(
      "notEstablished",
      "no outside evidence of time; entry times are the ledger's own claim",
      anchors.unchecked,
    );
  const which = widest.size >= size ? `all ${counted(widest.size)}` : `entries up to ${widest.size - 1}`;
  const latest = notBefore.at(-1);
  const after = latest === undefined ? "" : `; those from ${latest.index} on were written after ${latest.time}`;
  const basis = `${which} existed at ${widest.time}, by ${widest.source}${after}`;
  const rest =
    widest.size < size ? [`${counted(size - widest.size)} after that: their times are the ledger's own claim`] : [];
  const unchecked = [...rest, ...anchors.unchecked];
  if (pin === "none") return verdict("notEstablished", `${basis}; but no key is pinned`, unchecked);
  return verdict("pass", basis, unchecked);
}

function counted(entries: number): string {
  return entries === 1 ? "1 entry" : `${entries} entries`;
}

interface SummaryFacts {
  readonly ok: boolean;
  readonly conclusive: boolean;
  readonly size: number;
  readonly range: readonly [number, number] | null;
  readonly pin: Pin;
  readonly requiredMissing: readonly string[];
  readonly found: FindingList;
  readonly latest: CheckedCheckpoint | null;
  readonly purges: readonly number[];
  readonly since: number | null;
}

function summaryOf(facts: SummaryFacts): string {
  const failing = facts.found.failures;
  if (!facts.ok) return `NOT intact: ${failing} ${failing === 1 ? "finding" : "findings"}`;
  if (facts.requiredMissing.length > 0)
    return `consistent, but evidence that ${facts.requiredMissing.includes("quorum") ? "the policy" : "the reader"} asks for is missing: ${facts.requiredMissing.join(", ")}`;
  if (facts.range !== null)
    return `entries ${facts.range[0]} to ${facts.range[1]} hold; this is a slice, so nothing is said about the others`;
  if (facts.latest === null)
    return "consistent, but no checkpoint: nothing says whose ledger this is or how long it must be";
  if (facts.pin === "none")
    return "consistent with itself, but no key is pinned: anybody could have written it; give --policy";
  const intact = intactText(facts);
  if (facts.purges.length === 0) return intact;
  return `${intact}; erased bytes are still in the file, held back by a reader or a full disk`;
}

/** Nobody may take what was not read again for what was. */
function intactText({ size, since }: SummaryFacts): string {
  if (since === null) return `intact: ${counted(size)}`;
  const covered = `${counted(since)} that the trusted checkpoint covers ${since === 1 ? "was" : "were"} not read again`;
  return since === size
    ? `nothing is newer than the trusted checkpoint, and the ${covered}`
    : `intact from entry ${since} on: ${counted(size - since)}; the ${covered}`;
}
