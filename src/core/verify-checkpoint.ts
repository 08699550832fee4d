import { type Checkpoint, parseLedgerCheckpoint } from "./checkpoint.ts";
import { encodeHex } from "./encoding.ts";
import { isTallystickError } from "./errors.ts";
import {
  comparedWithHeld,
  independenceOf,
  missingEvidence,
  timelineOfCheckpoint,
  timeOf,
  unreadableReport,
  verdict,
  withFindings,
} from "./file-report.ts";
import { FindingList } from "./finding-list.ts";
import { parseNote, type SignedNote } from "./note.ts";
import { type Policy, parsePolicy, type VerifiedCheckpoint, verifyCheckpoint } from "./policy.ts";
import { exitCodeOf, type Pin, type Verdict, type VerifyReport } from "./report.ts";
import { compareHeld, heldOf, type VerifyFileOptions } from "./verify-export.ts";

/**
 * Verifies a checkpoint on its own, at most 262,144 bytes, as spec/checkpoint.md 13-15 says: who signed it, and who cosigned it when.
 * It shows nothing of entries. Hostile bytes are findings, never exceptions; `allowSelfAsserted` changes nothing, as a checkpoint names
 * no keys. Errors: `malformed-policy`, `malformed-config` for a held checkpoint that is none.
 */
export async function reportCheckpoint(file: Uint8Array | string, options: VerifyFileOptions): Promise<VerifyReport> {
  const policy = options.policy === undefined ? null : parsePolicy(options.policy);
  const held = heldOf(options.expect);
  const pin: Pin = policy === null ? "none" : "policy";
  let note: SignedNote;
  let head: Checkpoint;
  try {
    note = parseNote(file);
    head = parseLedgerCheckpoint(note.text);
  } catch (error) {
    if (!isTallystickError(error)) throw error;
    const finding = { code: "checkpoint-malformed", message: error.message } as const;
    return unreadableReport(finding, { kind: "checkpoint", pin, policy });
  }
  const findings = new FindingList();
  const accepted = await accept(note, policy, findings);
  const isComparable = compareHeld(held, head, null, findings);
  const none = verdict("notChecked", "a checkpoint alone: there are no entries");
  const report: Omit<VerifyReport, "summary"> = {
    format: "tallystick/report/v1",
    kind: "checkpoint",
    ok: findings.isOk,
    conclusive: policy !== null && isComparable,
    requiredMissing: missingEvidence(policy, accepted),
    origin: head.origin,
    size: head.size,
    root: encodeHex(head.root),
    range: null,
    pin,
    verdicts: withFindings(
      {
        integrity: none,
        order: none,
        authenticity: authenticityOf(head, policy, accepted),
        completeness: comparedWithHeld(none, { held, head, isComparable }),
        independence: independenceOf(policy, accepted),
        time: timeOf(accepted),
      },
      findings,
    ),
    timeline: timelineOfCheckpoint(accepted),
    findings: findings.findings,
    findingsOmitted: findings.omitted,
    erased: { entries: 0, fields: 0 },
    needsReindex: false,
  };
  return { ...report, summary: summaryOf(report) };
}

/** Rules 7-10; null, with a finding, where it is not accepted, and null without a policy. */
async function accept(
  note: SignedNote,
  policy: Policy | null,
  findings: FindingList,
): Promise<VerifiedCheckpoint | null> {
  if (policy === null) return null;
  try {
    return await verifyCheckpoint(note, policy);
  } catch (error) {
    if (!isTallystickError(error)) throw error;
    findings.add(error.code === "origin-mismatch" ? "origin-mismatch" : "checkpoint-signature", error.message);
    return null;
  }
}

function authenticityOf(head: Checkpoint, policy: Policy | null, accepted: VerifiedCheckpoint | null): Verdict {
  if (policy === null) return verdict("notEstablished", "no key is pinned, so no signature was checked");
  // Why it is not accepted, is a finding.
  if (accepted === null) return verdict("notEstablished", "the checkpoint is not accepted");
  const keys = accepted.logKeys.map((key) => key.vkey.slice(0, key.name.length + 9)).join(", ");
  const unchecked = policy.genesis === null ? [] : ["that the ledger begins with the pinned genesis: no entry is here"];
  return verdict("pass", `checkpoint of size ${head.size} signed by ${keys}, under the pinned policy`, unchecked);
}

function summaryOf(report: Omit<VerifyReport, "summary">): string {
  const what = `checkpoint of ${report.origin}, size ${report.size}`;
  if (!report.ok) return `${what}: NOT accepted: ${report.findings[0]?.message ?? "a verdict failed"}`;
  if (exitCodeOf({ ...report, summary: "" }) === 4)
    return `${what}: signed by the log, but the witnesses that the policy asks for are missing`;
  if (report.pin === "none") return `${what}: no key is pinned: anybody could have written it`;
  if (!report.conclusive)
    return `${what}: signed by the log, but it cannot be compared with the checkpoint that the reader holds`;
  return `${what}: signed by the log; the entries were not seen`;
}
