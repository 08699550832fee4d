import { encodeHex, encodeUtf8 } from "./encoding.ts";
import { MalformedError } from "./errors.ts";
import { refuseNewerFormat } from "./file-kind.ts";
import {
  comparedWithHeld,
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
import { type Policy, parsePolicy } from "./policy.ts";
import { parseReceipt, type Receipt } from "./receipt.ts";
import { examineReceipt, type ReceiptExamination } from "./receipt-examination.ts";
import { exitCodeOf, type FindingCode, type Pin, type Verdict, type VerifyReport } from "./report.ts";
import { compareHeld, heldOf, type VerifyFileOptions } from "./verify-export.ts";

/**
 * Verifies a receipt as spec/receipt.md says and answers with six verdicts and every finding; hostile bytes are findings, never
 * exceptions. Without a policy it shows only that the receipt fits its checkpoint; `allowSelfAsserted` changes nothing, as a
 * receipt does not show the keys of its ledger. Errors: `malformed-policy`, `malformed-config` for a held checkpoint that is none, `newer-format`.
 */
export async function reportReceipt(file: Uint8Array | string, options: VerifyFileOptions): Promise<VerifyReport> {
  const policy = options.policy === undefined ? null : parsePolicy(options.policy);
  const held = heldOf(options.expect);
  const pin: Pin = policy === null ? "none" : "policy";
  let receipt: Receipt;
  try {
    receipt = parseReceipt(file);
  } catch (error) {
    if (!(error instanceof MalformedError)) throw error;
    refuseNewerFormat(firstLineOf(file));
    const finding = { code: formFindingOf(error.code), message: error.message };
    return unreadableReport(finding, { kind: "receipt", pin, policy });
  }
  const examination = await examineReceipt(receipt, policy);
  const { index } = receipt.entry;
  const findings = new FindingList();
  for (const { code, error, expected, found } of examination.problems) {
    const more = expected === undefined || found === undefined ? {} : { expected, found };
    findings.add(code, error.message, { index, ...more });
  }
  const { checkpoint } = receipt;
  const isComparable = compareHeld(held, checkpoint, null, findings);
  const unfailed = verdictsOf(examination, policy);
  const completeness = comparedWithHeld(unfailed.completeness, { held, head: checkpoint, isComparable });
  const verdicts = withFindings({ ...unfailed, completeness }, findings);
  const report: Omit<VerifyReport, "summary"> = {
    format: "tallystick/report/v1",
    kind: "receipt",
    ok: findings.isOk,
    conclusive: policy !== null && isComparable && verdicts.authenticity.status !== "notEstablished",
    requiredMissing: missingEvidence(policy, examination.accepted),
    origin: checkpoint.origin,
    size: checkpoint.size,
    root: encodeHex(checkpoint.root),
    range: [index, index],
    pin,
    verdicts,
    timeline: timelineOfCheckpoint(examination.accepted),
    findings: findings.findings,
    findingsOmitted: findings.omitted,
    erased: { entries: 0, fields: 0 },
    needsReindex: false,
  };
  return { ...report, summary: summaryOf(report, index) };
}

function firstLineOf(file: Uint8Array | string): Uint8Array {
  const bytes = typeof file === "string" ? encodeUtf8(file) : file;
  const end = bytes.indexOf(0x0a);
  return end < 0 ? bytes : bytes.subarray(0, end);
}

/** Rows A1-A6 of spec/receipt.md. */
function formFindingOf(code: string): FindingCode {
  if (code === "malformed-note" || code === "malformed-checkpoint") return "checkpoint-malformed";
  return code === "malformed-entry" ? "entry-malformed" : "file-malformed";
}

/** The verdicts as they are if no finding fails them. */
function verdictsOf(examination: ReceiptExamination, policy: Policy | null): Verdicts {
  return {
    integrity: integrityOf(examination),
    order: verdict("notChecked", "one entry has no order"),
    authenticity: authenticityOf(examination, policy),
    completeness: verdict("notChecked", "a receipt is about one entry, not about the others"),
    independence: independenceOf(policy, examination.accepted),
    time: timeOf(examination.accepted),
  };
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

function authenticityOf({ authors }: ReceiptExamination, policy: Policy | null): Verdict {
  if (policy === null) return verdict("notEstablished", "no key is pinned, so no signature was checked");
  const unchecked = policy.genesis === null ? ["genesis not pinned"] : [];
  if (authors.isHidden) unchecked.push("author signatures: the actor or the signatures are withheld");
  if (authors.isControl)
    unchecked.push("signatures of the control event: a receipt does not show the keys of the ledger");
  if (authors.unknown.length > 0) {
    unchecked.push(`author signatures by keys that the policy does not name: ${authors.unknown.join(", ")}`);
  }
  if (authors.isOpen) {
    const why = "the policy requires an author signature, and none by a pinned key was verified";
    return verdict("notEstablished", why, unchecked);
  }
  const [author] = authors.counted;
  const signed = author === undefined ? "" : `; signed by its author, ${JSON.stringify(author.actor)}`;
  return verdict("pass", `the checkpoint is signed by the pinned key of the log${signed}`, unchecked);
}

function summaryOf(report: Omit<VerifyReport, "summary">, index: number): string {
  const what = `entry ${index} of ${report.origin}`;
  if (!report.ok) return `${what} is not proved: ${report.findings[0]?.message ?? "a verdict failed"}`;
  if (exitCodeOf({ ...report, summary: "" }) === 4)
    return `${what} is in the signed log, but the witnesses that the policy asks for are missing`;
  if (report.pin === "none") return `${what} fits its checkpoint, but no key is pinned`;
  if (report.verdicts.completeness.status === "notEstablished")
    return `${what} is in the signed log, but it cannot be compared with the checkpoint that the reader holds`;
  if (!report.conclusive) return `${what} is in the signed log, but its author signature is not established`;
  return `${what} is in the signed log, as it is shown`;
}
