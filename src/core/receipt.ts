import { utf8Bytes } from "#hash-platform";
import type { CountedAuthor } from "./author-judge.ts";
import { CONTAINER_DEPTH_MAX, canonicalize, isJsonObject, type JsonValue, parseCanonical } from "./canonical-json.ts";
import { type Checkpoint, parseLedgerCheckpoint } from "./checkpoint.ts";
import { assertDigestSizes, type Disclosure, parseDisclosure } from "./commitment.ts";
import { decodeUtf8 } from "./encoding.ts";
import { type Entry, leafHashHex, parseCommitment, parseEntry } from "./entry.ts";
import { MalformedError, VerificationError } from "./errors.ts";
import type { Event, JsonObject } from "./event.ts";
import { RECEIPT_BYTES_MAX } from "./limits.ts";
import { parseNote } from "./note.ts";
import type { Policy, VerifiedCheckpoint } from "./policy.ts";
import { examineReceipt } from "./receipt-examination.ts";
import { parseTlogProof, type TlogProof } from "./tlog-proof.ts";

/** Proof that one entry is in a ledger, with all of its event or some fields of it. Normative: spec/receipt.md. */

export const RECEIPT_FORMAT = "tallystick/receipt/v1";

/** What is shown of the event; untrusted until verified. */
export type ReceiptContent =
  | { readonly kind: "whole"; readonly event: JsonObject /** 32 hex digits. */; readonly salt: string }
  | { readonly kind: "fields"; readonly disclosure: Disclosure };

/** A receipt that has the form of one; nothing of it is verified. */
export interface Receipt {
  readonly entryText: string;
  readonly entry: Entry;
  /** Hex leaf hash of the entry text. */
  readonly leafHash: string;
  readonly content: ReceiptContent;
  readonly proof: TlogProof;
  readonly checkpoint: Checkpoint;
}

/** Parts of a receipt: entry text, C2SP tlog-proof text, and what is shown of the event. */
export type ReceiptParts = {
  readonly entry: string;
  readonly proof: string;
} & ({ readonly event: JsonValue | Event; readonly salt: string } | Disclosure);

/** Text of a receipt: one line of canonical JSON and a newline. Throws what `parseReceipt` throws for parts that make none. */
export function formatReceipt(parts: ReceiptParts): string {
  const text = `${canonicalize({ ...parts, format: RECEIPT_FORMAT }, { depthMax: CONTAINER_DEPTH_MAX })}\n`;
  parseReceipt(text);
  return text;
}

const WHOLE_MEMBERS = "entry,event,format,proof,salt";
const FIELDS_MEMBERS = "digests,disclosed,entry,format,names,proof";

/**
 * Receipt of a file that anybody may have written, nothing verified: spec/receipt.md A1-A6. Errors: `newer-format`;
 * `malformed-receipt` for its form (also where the entry has another scheme); `malformed-note` and `malformed-checkpoint` for
 * the checkpoint in its proof; `malformed-entry`.
 */
export function parseReceipt(file: Uint8Array | string): Receipt {
  const members = membersOf(textOf(file));
  const { entry: entryText, format, proof: proofText } = members;
  if (format !== RECEIPT_FORMAT) refuseFormat(format);
  if (typeof entryText !== "string") malformed("entry: expected a string");
  if (typeof proofText !== "string") malformed("proof: expected a string");
  const content = contentOf(members);
  const proof = proofOf(proofText);
  const checkpoint = parseLedgerCheckpoint(parseNote(proof.checkpoint).text);
  const entry = parseEntry(entryText);
  if ((entry.scheme === "fields") !== (content.kind === "fields")) {
    malformed(
      `scheme ${entry.scheme} comes with ${entry.scheme === "fields" ? "a disclosure" : "the event and its salt"}`,
    );
  }
  if (content.kind === "fields") {
    const { hash } = parseCommitment(entry.commitment);
    asReceipt(() => assertDigestSizes(hash, content.disclosure));
  }
  return { entryText, entry, leafHash: leafHashHex(entryText), content, proof, checkpoint };
}

function textOf(file: Uint8Array | string): string {
  // A string has at most as many code units as bytes, so nothing is decoded or taken apart that is far too long.
  const isTooLong =
    file.length > RECEIPT_BYTES_MAX ||
    (typeof file === "string" && file.length * 3 > RECEIPT_BYTES_MAX && utf8Bytes(file) > RECEIPT_BYTES_MAX);
  if (isTooLong) malformed(`expected at most ${RECEIPT_BYTES_MAX} bytes`);
  const text = typeof file === "string" ? file : decodeUtf8(file, "malformed-receipt");
  if (!text.endsWith("\n")) malformed("expected a newline at the end");
  return text.slice(0, -1);
}

function membersOf(text: string): JsonObject {
  const value = asReceipt(() => parseCanonical(text, { depthMax: CONTAINER_DEPTH_MAX }));
  if (!isJsonObject(value)) malformed("expected an object");
  // Canonical, so the names stand in order.
  const names = Object.keys(value).join();
  if (names !== WHOLE_MEMBERS && names !== FIELDS_MEMBERS && typeof value.format === "string")
    refuseFormat(value.format);
  if (names !== WHOLE_MEMBERS && names !== FIELDS_MEMBERS) {
    malformed(`expected exactly the members ${WHOLE_MEMBERS} or ${FIELDS_MEMBERS}`);
  }
  return value;
}

/** Of a later version anything may differ; of this one the members do. */
function refuseFormat(format: JsonValue | undefined): void {
  if (format === RECEIPT_FORMAT) return;
  if (typeof format === "string" && /^tallystick\/receipt\/v(?:[2-9]|[1-9][0-9]+)$/.test(format)) {
    throw new MalformedError("newer-format", `receipt: a newer version of tallystick wrote this, in ${format}`);
  }
  malformed(`expected the format ${RECEIPT_FORMAT}`);
}

function contentOf(members: JsonObject): ReceiptContent {
  const { event, salt, names, disclosed, digests } = members;
  if (names !== undefined) {
    return { kind: "fields", disclosure: asReceipt(() => parseDisclosure({ names, disclosed, digests })) };
  }
  if (!isJsonObject(event)) malformed("event: expected an object");
  if (typeof salt !== "string" || !/^[0-9a-f]{32}$/.test(salt)) malformed("salt: expected 32 lower-case hex digits");
  return { kind: "whole", event, salt };
}

function proofOf(text: string): TlogProof {
  // Nothing authenticates such a line, so it could carry anything into the files that auditors keep.
  if (text.split("\n", 2)[1]?.startsWith("extra ") === true) malformed("proof: expected no extra line");
  return asReceipt(() => parseTlogProof(text), ["malformed-note", "malformed-checkpoint"]);
}

/** Whatever is wrong with a part of the file is wrong with the form of the receipt. */
function asReceipt<T>(read: () => T, except: readonly string[] = []): T {
  try {
    return read();
  } catch (cause) {
    if (!(cause instanceof MalformedError) || except.includes(cause.code)) throw cause;
    const { message, details } = cause;
    throw new MalformedError("malformed-receipt", `receipt: ${message}`, { details, cause });
  }
}

function malformed(message: string): never {
  throw new MalformedError("malformed-receipt", `receipt: ${message}`);
}

export interface VerifiedReceipt {
  readonly index: number;
  readonly entry: Entry;
  /** Hex leaf hash. */
  readonly leafHash: string;
  /** The event, or the fields of it that are shown. */
  readonly event: Partial<Event>;
  /** Names of the fields that are not shown; empty for a whole event. */
  readonly withheld: readonly string[];
  /** The checkpoint that covers the entry, the log keys and witnesses that vouch for it, and whether these are a quorum. */
  readonly checkpoint: VerifiedCheckpoint;
  /** Pinned author keys whose signature on the event was verified. */
  readonly authors: readonly CountedAuthor[];
}

/**
 * Verifies a receipt under a pinned policy. A quorum that was not reached is in the answer, not an error; nothing is said about
 * later revocation or erasure. Errors: those of `parseReceipt`; then the first of what spec/receipt.md B and C ask for:
 * `proof-invalid`, `commitment-mismatch`, `malformed-event` and the like for its content, `malformed-control`, `origin-mismatch`,
 * `signature-invalid`, `signature-missing`, `ledger-replaced` (not the pinned genesis), `signature-required`,
 * `verification-failed` (an entry time later than its witnesses saw it).
 */
export async function verifyReceipt(file: Uint8Array | string, policy: Policy): Promise<VerifiedReceipt> {
  const receipt = parseReceipt(file);
  const { problems, event, withheld, accepted, authors } = await examineReceipt(receipt, policy);
  if (problems[0] !== undefined) throw problems[0].error;
  if (event === null || accepted === null) {
    throw new VerificationError("verification-failed", "receipt: expected an event and an accepted checkpoint");
  }
  const { entry, leafHash } = receipt;
  return { index: entry.index, entry, leafHash, event, withheld, checkpoint: accepted, authors: authors.counted };
}
