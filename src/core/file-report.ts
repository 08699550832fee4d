import type { Checkpoint } from "./checkpoint.ts";
import type { FindingList } from "./finding-list.ts";
import { operatorsOf, type Policy, type VerifiedCheckpoint } from "./policy.ts";
import {
  FINDING_CODES,
  type Finding,
  type Pin,
  VERDICT_NAMES,
  type Verdict,
  type VerdictName,
  type VerdictStatus,
  type VerifyReport,
} from "./report.ts";

import { EMPTY_TIMELINE, type Timeline, timeText } from "./timeline.ts";

/** What reports of receipts and exports have in common. Normative: spec/verification.md. */

export function verdict(status: VerdictStatus, basis: string, unchecked: readonly string[] = []): Verdict {
  return { status, basis, unchecked };
}

export type Verdicts = Readonly<Record<VerdictName, Verdict>>;

/** One verdict for each name. */
export function everyVerdict(verdictOf: (name: VerdictName) => Verdict): Verdicts {
  // One entry for each name of the closed list.
  return Object.fromEntries(VERDICT_NAMES.map((name) => [name, verdictOf(name)] as const)) as Record<
    VerdictName,
    Verdict
  >;
}

/**
 * The report of evidence that carries no anchors, for a reader who brought pins for them or asked for one that holds: they were
 * not looked at, and what he asked for is missing. Source: spec/verification.md 11.
 */
export function withoutAnchors(report: VerifyReport, isRequired: boolean): VerifyReport {
  const { kind, verdicts, requiredMissing, summary } = report;
  const none = kind === "export" ? "an export carries none" : `a ${NAMES[kind] ?? kind} carries none`;
  const time = { ...verdicts.time, unchecked: [...verdicts.time.unchecked, `anchors: ${none}`] };
  return {
    ...report,
    verdicts: { ...verdicts, time },
    requiredMissing: isRequired ? [...requiredMissing, "anchor"] : requiredMissing,
    summary: isRequired && report.ok ? `${summary}; the anchor that was asked for is missing: ${none}` : summary,
  };
}

const NAMES: Partial<Record<VerifyReport["kind"], string>> = { published: "published ledger" };

/** The verdicts as they are without findings, those failed that a finding fails. */
export function withFindings(verdicts: Verdicts, findings: FindingList): Verdicts {
  return everyVerdict((name) => {
    const failure = findings.failureOf(name);
    return failure === null ? verdicts[name] : { ...verdicts[name], status: "fail", basis: failure };
  });
}

/** Report of a file that does not have its form: the finding fails its verdict, nothing else was looked at. */
export function unreadableReport(
  finding: Finding,
  file: {
    readonly kind: VerifyReport["kind"];
    readonly pin: Pin;
    readonly policy: Policy | null;
    /** The reader asked for an anchor; none was looked at. */
    readonly requireAnchor?: boolean | undefined;
  },
): VerifyReport {
  const failed = FINDING_CODES[finding.code];
  const { kind, pin, policy, requireAnchor = false } = file;
  return {
    format: "tallystick/report/v1",
    kind,
    ok: false,
    conclusive: false,
    origin: null,
    size: 0,
    root: null,
    range: null,
    pin,
    verdicts: everyVerdict((name) =>
      name === failed
        ? verdict("fail", finding.message)
        : verdict("notChecked", `the ${kind} does not have the form of one, so nothing in it was checked`),
    ),
    findings: [finding],
    findingsOmitted: 0,
    erased: { entries: 0, fields: 0 },
    timeline: EMPTY_TIMELINE,
    requiredMissing: [...missingEvidence(policy, null), ...(requireAnchor ? ["anchor"] : [])],
    needsReindex: false,
    summary: `not a valid ${kind}: ${finding.message}`,
  };
}

/** A verdict on completeness, with what the checkpoint that the reader holds adds to it. spec/checkpoint.md 15. */
export function comparedWithHeld(
  completeness: Verdict,
  {
    held,
    head,
    isComparable,
  }: { readonly held: Checkpoint | null; readonly head: Checkpoint; readonly isComparable: boolean },
): Verdict {
  if (held === null || held.origin !== head.origin) return completeness;
  const name = `the checkpoint of size ${held.size} that the reader holds`;
  if (!isComparable) return verdict("notEstablished", `it cannot be compared with ${name}`, completeness.unchecked);
  return { ...completeness, basis: `${completeness.basis}; it agrees with ${name}` };
}

/** `quorum`, if the policy names one and no accepted checkpoint reaches it. */
export function missingEvidence(policy: Policy | null, accepted: VerifiedCheckpoint | null): string[] {
  return policy !== null && policy.quorum !== "none" && accepted?.quorum !== true ? ["quorum"] : [];
}

export function independenceOf(policy: Policy | null, accepted: VerifiedCheckpoint | null): Verdict {
  if (policy === null) return verdict("notEstablished", "no key is pinned, so nobody is relied upon");
  if (accepted === null) return verdict("notEstablished", "the checkpoint is not accepted");
  if (policy.quorum === "none")
    return verdict("notEstablished", "nobody outside vouches: the policy asks for no witnesses");
  const names = accepted.witnesses.map((witness) => witness.name);
  return accepted.quorum
    ? verdict("pass", `the checkpoint was cosigned by ${whoOf(policy, names)}`, unknownOperators(policy, names))
    : verdict(
        "notEstablished",
        `the witnesses that cosigned are no quorum: ${names.length === 0 ? "none" : whoOf(policy, names)}`,
      );
}

/** Who is relied upon, counted by operator: `2 operators: acme (w1, w2), w3`. */
export function whoOf(policy: Policy, witnessNames: readonly string[]): string {
  const operators = operatorsOf(policy, witnessNames);
  const each = operators.map(({ name, witnesses }) =>
    witnesses.join() === name ? name : `${name} (${witnesses.join(", ")})`,
  );
  return operators.length === 1 ? `${each}` : `${operators.length} operators: ${each.join(", ")}`;
}

/** Two witnesses that the policy says nothing of may be one person's. */
export function unknownOperators(policy: Policy, witnessNames: readonly string[]): string[] {
  const own = operatorsOf(policy, witnessNames).filter(({ name, witnesses }) => witnesses.includes(name));
  if (witnessNames.length < 2 || own.length === 0) return [];
  const names = own.map(({ name }) => name).join(", ");
  return [`who runs ${names}: the policy names no operator of theirs, so each counts for itself`];
}

export function timeOf(accepted: VerifiedCheckpoint | null): Verdict {
  if (accepted === null || accepted.witnessTime === null) {
    return verdict("notEstablished", "no time from outside: those of the entries are the claim of the ledger");
  }
  return verdict("pass", `existed before ${instantOf(accepted.witnessTime)}, says a quorum of witnesses`);
}

/** What the witnesses of an accepted checkpoint bound. */
export function timelineOfCheckpoint(accepted: VerifiedCheckpoint | null): Timeline {
  const { witnessTime = null } = accepted ?? {};
  if (accepted === null || witnessTime === null) return EMPTY_TIMELINE;
  const row = witnessBound({ size: accepted.checkpoint.size, witnesses: accepted.witnesses, witnessTime });
  return { notAfter: row, notBefore: [] };
}

/** What cosignatures that reach the quorum say of time: nothing for a time that no date can say. */
export function witnessBound(cosigned: {
  readonly size: number;
  readonly witnesses: VerifiedCheckpoint["witnesses"];
  readonly witnessTime: number;
}): Timeline["notAfter"] {
  const { size, witnesses, witnessTime } = cosigned;
  const time = timeText(witnessTime * 1_000);
  if (time === null) return [];
  const source = `cosignatures of size ${size} by ${witnesses.map((witness) => witness.name).join(", ")}`;
  return [{ size, time, source, relies: "the witnesses of the quorum tell the right time and keep their keys" }];
}

/** Seconds since 1970 for people; a witness may state any. */
function instantOf(seconds: number): string {
  const date = new Date(seconds * 1000);
  return Number.isNaN(date.getTime()) ? `second ${seconds} since 1970` : date.toISOString();
}
