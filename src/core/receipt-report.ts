import { encodeHex } from "./encoding.ts";
import { formatTime } from "./entry.ts";
import { MalformedError } from "./errors.ts";
import type { Policy } from "./policy.ts";
import { parseReceipt, type Receipt } from "./receipt.ts";
import { examineReceipt, type ReceiptExamination } from "./receipt-examination.ts";
import {
  FINDING_CODES,
  type Finding,
  type FindingCode,
  type Pin,
  VERDICT_NAMES,
  type Verdict,
  type VerdictName,
  type VerdictStatus,
  type VerifyReport,
} from "./report.ts";

/**
 * Report of a receipt: all that is wrong with it, and the six verdicts of spec/receipt.md. `policy` is null where nothing is
 * pinned, and the report then inconclusive. Error: `newer-format`; anything else that is wrong is a finding.
 */
export async function reportReceipt(
  file: Uint8Array | string,
  trust: { readonly policy: Policy | null; readonly pin: Pin },
): Promise<VerifyReport> {
  const { policy } = trust;
  const pin = policy === null ? "none" : trust.pin;
  let receipt: Receipt;
  try {
    receipt = parseReceipt(file);
  } catch (error) {
    if (!(error instanceof MalformedError) || error.code === "newer-format") throw error;
    return unreadable({ code: formFindingOf(error.code), message: error.message }, pin);
  }
  const examination = await examineReceipt(receipt, policy);
  const { index } = receipt.entry;
  const findings = examination.problems.map(({ code, error, expected, found }): Finding => {
    const more = expected === undefined || found === undefined ? {} : { expected, found };
    return { code, index, message: error.message, ...more };
  });
  const verdicts = withFindings(verdictsOf(examination, policy), findings);
  const requiredMissing = isQuorumMissing(examination, policy) ? ["quorum"] : [];
  const ok = VERDICT_NAMES.every((name) => verdicts[name].status !== "fail");
  const isEstablished = policy !== null && verdicts.authenticity.status !== "notEstablished";
  const base = { ok, requiredMissing, conclusive: isEstablished && requiredMissing.length === 0 };
  const { checkpoint } = receipt;
  return {
    format: "tallystick/report/v1",
    kind: "receipt",
    ...base,
    origin: checkpoint.origin,
    size: checkpoint.size,
    root: encodeHex(checkpoint.root),
    range: [index, index],
    pin,
    verdicts,
    findings,
    findingsOmitted: 0,
    erased: { entries: 0, fields: 0 },
    needsReindex: false,
    summary: summaryOf(receipt, { ...base, findings, examination }),
  };
}

/** Rows A1-A6 of spec/receipt.md. */
function formFindingOf(code: string): FindingCode {
  if (code === "malformed-note" || code === "malformed-checkpoint") return "checkpoint-malformed";
  return code === "malformed-entry" ? "entry-malformed" : "file-malformed";
}

function unreadable(finding: Finding, pin: Pin): VerifyReport {
  const failed = FINDING_CODES[finding.code];
  const verdictOf = (name: VerdictName): Verdict =>
    name === failed
      ? verdict("fail", finding.message)
      : verdict("notChecked", "the receipt does not have the form of one, so nothing in it was checked");
  return {
    format: "tallystick/report/v1",
    kind: "receipt",
    ok: false,
    conclusive: true,
    origin: null,
    size: 0,
    root: null,
    range: null,
    pin,
    verdicts: everyVerdict(verdictOf),
    findings: [finding],
    findingsOmitted: 0,
    erased: { entries: 0, fields: 0 },
    requiredMissing: [],
    needsReindex: false,
    summary: `not a valid receipt: ${finding.message}`,
  };
}

function verdict(status: VerdictStatus, basis: string, unchecked: readonly string[] = []): Verdict {
  return { status, basis, unchecked };
}

function everyVerdict(verdictOf: (name: VerdictName) => Verdict): Readonly<Record<VerdictName, Verdict>> {
  const entries = VERDICT_NAMES.map((name) => [name, verdictOf(name)] as const);
  // One entry for each name of the closed list.
  return Object.fromEntries(entries) as Record<VerdictName, Verdict>;
}

/** The verdicts as they are if no finding fails them. */
function verdictsOf(examination: ReceiptExamination, policy: Policy | null): Readonly<Record<VerdictName, Verdict>> {
  return {
    integrity: integrityOf(examination),
    order: verdict("notChecked", "one entry has no order"),
    authenticity: authenticityOf(examination, policy),
    completeness: verdict("notChecked", "a receipt is about one entry, not about the others"),
    independence: independenceOf(examination, policy),
    time: timeOf(examination),
  };
}

function withFindings(
  verdicts: Readonly<Record<VerdictName, Verdict>>,
  findings: readonly Finding[],
): Readonly<Record<VerdictName, Verdict>> {
  return everyVerdict((name) => {
    const failing = findings.filter((finding) => FINDING_CODES[finding.code] === name);
    const [first] = failing;
    if (first === undefined) return verdicts[name];
    const more = failing.length > 1 ? ` (and ${failing.length - 1} more)` : "";
    return { ...verdicts[name], status: "fail", basis: `${first.message}${more}` };
  });
}

function integrityOf({ withheld }: ReceiptExamination): Verdict {
  const unchecked = ["later erasure or revocation does not show in a receipt"];
  if (withheld.length > 0) {
    unchecked.push(
      `${withheld.length} withheld ${withheld.length === 1 ? "field" : "fields"}: only the digest is here`,
    );
  }
  return verdict(
    "pass",
    "what is shown is what the entry commits to, and the entry is in the tree of the checkpoint",
    unchecked,
  );
}

function authenticityOf(examination: ReceiptExamination, policy: Policy | null): Verdict {
  if (policy === null) return verdict("notEstablished", "no key is pinned, so no signature was checked");
  const { authors, unknownAuthors, signatureRequired, authorsWithheld } = examination;
  const unchecked: string[] = [];
  if (authorsWithheld) unchecked.push("author signatures: the actor or the signatures are withheld");
  if (unknownAuthors.length > 0) {
    unchecked.push(`author signatures by keys that the policy does not name: ${unknownAuthors.join(", ")}`);
  }
  if (signatureRequired !== "no" && authors.length === 0) {
    const why = "the policy requires an author signature, and none by a pinned key was verified";
    return verdict("notEstablished", why, unchecked);
  }
  const signed = authors.length === 0 ? "" : `; signed by its author, ${JSON.stringify(authors[0]!.actor)}`;
  return verdict("pass", `the checkpoint is signed by the pinned key of the log${signed}`, unchecked);
}

function independenceOf({ accepted }: ReceiptExamination, policy: Policy | null): Verdict {
  if (accepted === null) return verdict("notEstablished", "no checkpoint was accepted under a pinned policy");
  if (policy?.quorum === "none") {
    return verdict("notEstablished", "nobody outside vouches: the policy asks for no witnesses");
  }
  const names = accepted.witnesses.map((witness) => witness.name).join(", ");
  return accepted.quorum
    ? verdict("pass", `witnesses of the policy cosigned the checkpoint: ${names}`)
    : verdict("notEstablished", `the witnesses that cosigned are no quorum: ${names === "" ? "none" : names}`);
}

function timeOf({ accepted }: ReceiptExamination): Verdict {
  if (accepted === null || accepted.witnessTime === null) {
    return verdict("notEstablished", "no time from outside: the entry's own is the claim of the ledger");
  }
  return verdict("pass", `existed before ${timeText(accepted.witnessTime)}, says a quorum of witnesses`);
}

/** A witness may state any second, also one that no calendar here knows. */
function timeText(seconds: number): string {
  return seconds <= 253_402_300_799 ? formatTime(seconds * 1000) : `second ${seconds} since 1970`;
}

function isQuorumMissing({ accepted }: ReceiptExamination, policy: Policy | null): boolean {
  return policy !== null && policy.quorum !== "none" && accepted !== null && !accepted.quorum;
}

function summaryOf(
  { entry, checkpoint }: Receipt,
  facts: {
    readonly ok: boolean;
    readonly conclusive: boolean;
    readonly requiredMissing: readonly string[];
    readonly findings: readonly Finding[];
    readonly examination: ReceiptExamination;
  },
): string {
  const what = `entry ${entry.index} of ${checkpoint.origin}`;
  const { ok, conclusive, requiredMissing, findings, examination } = facts;
  if (!ok) return `${what} is not proved: ${findings[0]?.message ?? "a verdict failed"}`;
  if (requiredMissing.length > 0)
    return `${what} is in the signed log, but the witnesses that the policy asks for are missing`;
  if (!conclusive)
    return `${what} fits its checkpoint, but ${examination.accepted === null ? "no key is pinned" : "its author signature is not established"}`;
  return `${what} is in the signed log, as it is shown`;
}
