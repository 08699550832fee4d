import type { Timeline } from "./timeline.ts";

/** The answer of verify: six verdicts, every finding, and who was relied upon. Normative: spec/verification.md. */

export type VerdictName = "integrity" | "order" | "authenticity" | "completeness" | "independence" | "time";

export const VERDICT_NAMES: readonly VerdictName[] = [
  "integrity",
  "order",
  "authenticity",
  "completeness",
  "independence",
  "time",
];

/** `notEstablished`: looked, and the evidence at hand cannot show it. `notChecked`: not looked at, and why. */
export type VerdictStatus = "pass" | "fail" | "notEstablished" | "notChecked";

export interface Verdict {
  readonly status: VerdictStatus;
  /** One sentence: on what this rests. */
  readonly basis: string;
  /** What was left out, each a short sentence; empty when nothing was. */
  readonly unchecked: readonly string[];
}

/** What each finding means and the verdict it fails; `null`: derived data or a notice that fails none. */
export const FINDING_CODES = {
  // integrity: bytes and commitments
  "entry-malformed": "integrity",
  "commitment-mismatch": "integrity",
  "body-missing": "integrity",
  "body-malformed": "integrity",
  "body-after-erasure": "integrity",
  "field-after-erasure": "integrity",
  "erasure-void": "integrity",
  "erased-under-hold": "integrity",
  "control-body-missing": "integrity",
  "control-scheme": "integrity",
  "control-malformed": "integrity",
  "erased-id-mismatch": "integrity",
  "id-repeated": "integrity",
  "stored-garbage": "integrity",
  "object-mismatch": "integrity",
  "proof-invalid": "integrity",
  "file-malformed": "integrity",
  "package-malformed": "integrity",
  "member-mismatch": "integrity",
  // order: links, indexes, times
  "index-mismatch": "order",
  "previous-mismatch": "order",
  "time-backwards": "order",
  // authenticity: signatures under the pinned policy
  "genesis-malformed": "authenticity",
  "genesis-mismatch": "authenticity",
  "origin-mismatch": "authenticity",
  "checkpoint-malformed": "authenticity",
  "checkpoint-signature": "authenticity",
  "manifest-signature": "authenticity",
  "key-event-invalid": "authenticity",
  "key-continuity-broken": "authenticity",
  "key-disowned": "authenticity",
  "author-signature": "authenticity",
  "author-unregistered": "authenticity",
  "signature-required": "authenticity",
  "rules-weakened": "authenticity",
  // completeness: nothing cut off, no gap
  "entry-missing": "completeness",
  "object-missing": "completeness",
  "checkpoint-root": "completeness",
  "checkpoint-beyond": "completeness",
  "expected-root": "completeness",
  "expected-beyond": "completeness",
  "after-seal": "completeness",
  "source-gap": "completeness",
  "source-repeated": "completeness",
  // time
  "time-after-evidence": "time",
  "time-before-evidence": "time",
  "anchor-missing": "time",
  "anchor-mismatch": "time",
  "anchor-invalid": "time",
  // derived data: `reindex` rebuilds it; notices fail nothing
  "derived-tile": null,
  "derived-id": null,
  "derived-filter": null,
  "derived-control": null,
  "schema-altered": "integrity",
  "purge-pending": null,
} as const;

export type FindingCode = keyof typeof FINDING_CODES;

export interface Finding {
  readonly code: FindingCode;
  /** Leaf index, where the finding is about one entry. */
  readonly index?: number;
  /** What the evidence says (a hash, a size, a time). */
  readonly expected?: string;
  /** What the stored bytes say. */
  readonly found?: string;
  /** Which evidence contradicts: `checkpoint of size 200`, `pinned genesis`, `erasure at 17`. */
  readonly evidence?: string;
  /** Both signed notes, where two checkpoints contradict each other: the one that the reader held, and the one shown. */
  readonly notes?: readonly string[];
  readonly message: string;
}

export type Pin = "policy" | "self-asserted" | "state" | "none";

export interface VerifyReport {
  readonly format: "tallystick/report/v1";
  readonly kind: "ledger" | "published" | "receipt" | "export" | "checkpoint" | "package";
  /** True when no verdict failed. Not the same as conclusive. */
  readonly ok: boolean;
  /** False when what was asked could not be established: no pin, a slice, a filtered selection, a pending purge. */
  readonly conclusive: boolean;
  readonly origin: string | null;
  /** Entries covered; for a slice `range` says which. */
  readonly size: number;
  /** Hex root of the tree of `size` entries; null where the whole tree was not seen. */
  readonly root: string | null;
  /** `[first, last]` leaf indexes when less than the whole ledger was read. */
  readonly range: readonly [number, number] | null;
  readonly pin: Pin;
  readonly verdicts: Readonly<Record<VerdictName, Verdict>>;
  readonly findings: readonly Finding[];
  /** Findings beyond `findingsMax` are counted, not listed. */
  readonly findingsOmitted: number;
  /** Entries whose body or fields a valid erasure removed. */
  readonly erased: { readonly entries: number; readonly fields: number };
  /** Since when entries exist at the latest, and at the earliest, as outside evidence proves it. `bracketOf` reads it for one entry. */
  readonly timeline: Timeline;
  /** Outside evidence that was asked for and that is not there: `quorum` by the policy, `anchor` by the reader. */
  readonly requiredMissing: readonly string[];
  /** True when derived data disagree with the committed bytes: searches may be wrong until `reindex`. */
  readonly needsReindex: boolean;
  /** One plain sentence for a person. */
  readonly summary: string;
}

/** Exit code of a report, also what a verifier in another language returns. Source: spec/verification.md. */
export function exitCodeOf(report: VerifyReport): 0 | 1 | 3 | 4 {
  if (!report.ok) return 1;
  if (report.requiredMissing.length > 0) return 4;
  return report.conclusive ? 0 : 3;
}
