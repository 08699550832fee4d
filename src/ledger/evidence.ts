import { canonicalize, parseCanonical } from "../core/canonical-json.ts";
import { parseCheckpoint } from "../core/checkpoint.ts";
import { decodeUtf8 } from "../core/encoding.ts";
import { isTallystickError, MalformedError, VerificationError } from "../core/errors.ts";
import type { LedgerState } from "../core/ledger-state.ts";
import { parseNote, verifyNote } from "../core/note.ts";
import type { LedgerStorage } from "./storage.ts";
import { isRecord } from "./stored-event.ts";

export const EVIDENCE_FORMAT = "tallystick/evidence/v1";

/**
 * Why a ledger was refused: a checkpoint under its own key that it does not contain, beside the last one that it does. Anybody
 * with the log's key can check both signatures. `forked` with two notes of one size proves that the key signed two histories.
 */
export interface Evidence {
  readonly format: typeof EVIDENCE_FORMAT;
  readonly kind: "rolled-back" | "forked";
  readonly origin: string;
  /** Signed note of the history that is missing here. */
  readonly shown: string;
  /** Latest signed note of the ledger as it is; null when it has none. */
  readonly own: string | null;
  readonly message: string;
}

/** Evidence of a refusal at open; null for any other error. */
export async function evidenceOf(error: unknown, storage: LedgerStorage): Promise<Evidence | null> {
  if (!isTallystickError(error) || (error.code !== "rolled-back" && error.code !== "forked")) return null;
  const shown = error.details?.note;
  if (typeof shown !== "string") return null;
  // A lock store that was rolled back holds less than the ledger's own copy.
  const held = error.details?.own;
  const copy = typeof held === "string" ? undefined : await storage.latestCheckpoint().catch(() => undefined);
  const own = typeof held === "string" ? held : (copy?.note ?? null);
  const { origin } = parseCheckpoint(parseNote(shown).text);
  return { format: EVIDENCE_FORMAT, kind: error.code, origin, shown, own, message: error.message };
}

/** Text of an evidence file: canonical JSON and a newline. */
export function formatEvidence(evidence: Evidence): string {
  return `${canonicalize(evidence)}\n`;
}

/** Parses an evidence file that anybody may have written. Errors: `malformed-receipt`. */
export function parseEvidence(file: Uint8Array | string): Evidence {
  const text = typeof file === "string" ? file : decodeUtf8(file, "malformed-receipt");
  const value = text.endsWith("\n") ? parseCanonical(text.slice(0, -1)) : null;
  const isNote = (note: unknown): boolean => typeof note === "string";
  if (
    !isRecord(value) ||
    Object.keys(value).join() !== "format,kind,message,origin,own,shown" ||
    value.format !== EVIDENCE_FORMAT ||
    (value.kind !== "rolled-back" && value.kind !== "forked") ||
    typeof value.origin !== "string" ||
    !isNote(value.shown) ||
    (value.own !== null && !isNote(value.own)) ||
    typeof value.message !== "string"
  ) {
    throw new MalformedError("malformed-receipt", "expected an evidence file of tallystick");
  }
  // The shape was checked member by member above.
  return value as unknown as Evidence;
}

/** Requires that what the evidence shows was signed by a log key of this ledger. Errors: `origin-mismatch`, `signature-*`. */
export async function requireOwnEvidence(evidence: Evidence, state: LedgerState): Promise<void> {
  const note = parseNote(evidence.shown);
  const { origin } = parseCheckpoint(note.text);
  const expected = state.genesis.origin;
  if (origin !== expected || evidence.origin !== expected) {
    throw new VerificationError("origin-mismatch", `the evidence speaks of ${origin}, the ledger is ${expected}`);
  }
  await verifyNote(
    note,
    state.logKeys.map((known) => known.key),
  );
}
