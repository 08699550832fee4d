import { canonicalize, isJsonObject, type JsonValue, parseCanonical } from "./canonical-json.ts";
import { type Checkpoint, parseLedgerCheckpoint } from "./checkpoint.ts";
import { bytesEqual, decodeHex, decodeUtf8, encodeHex } from "./encoding.ts";
import { isTallystickError, MalformedError, VerificationError } from "./errors.ts";
import { CONSISTENCY_HASHES_MAX, NOTE_BYTES_MAX } from "./limits.ts";
import { TREE_HASH_BYTES } from "./merkle.ts";
import { parseNote } from "./note.ts";
import { type Policy, verifyCheckpoint } from "./policy.ts";
import { verifyConsistency } from "./proof.ts";

/**
 * Two signed checkpoints of one ledger that contradict each other, in a file that anybody with the log's public key can check.
 *
 * `forked`: the log signed two histories. Of one size that shows by itself; of two, the file says which root the tree of the larger
 * checkpoint has at the smaller size, with the consistency proof that it has. `rolled-back`: a smaller checkpoint was shown after a
 * larger one had been. Both are genuine, so that they came in this order is the word of whoever kept the file; so is all of it where nothing
 * signed was shown that contradicts what was held. Normative: spec/published.md.
 */
export interface Contradiction {
  readonly kind: "forked" | "rolled-back";
  /** Note that was held before. */
  readonly held: string;
  /** Note that was shown later; null where nothing signed was that contradicts `held`. */
  readonly shown: string | null;
  /** `forked` at different sizes: the root at the smaller size of the tree that the larger checkpoint signs, and its proof. */
  readonly other?: { readonly root: Uint8Array; readonly proof: readonly Uint8Array[] } | undefined;
}

export interface VerifiedContradiction {
  readonly kind: Contradiction["kind"];
  readonly held: Checkpoint;
  readonly shown: Checkpoint | null;
}

const FORMAT = "tallystick/contradiction/v1";
const MEMBERS = "consistency,format,held,kind,root,shown";
/** Two notes, doubled for the escapes of JSON, and a proof. */
export const CONTRADICTION_BYTES_MAX: number = 4 * NOTE_BYTES_MAX + 64 * 1024;

/** Text of the file: one line of canonical JSON and a newline. */
export function formatContradiction({ kind, held, shown, other }: Contradiction): string {
  const consistency = (other?.proof ?? []).map(encodeHex);
  const root = other === undefined ? null : encodeHex(other.root);
  return `${canonicalize({ consistency, format: FORMAT, held, kind, root, shown })}\n`;
}

/** Contradiction of a file that anybody may have written, nothing verified. `malformed-proof` for anything that is none. */
export function parseContradiction(file: Uint8Array | string): Contradiction {
  if (file.length > CONTRADICTION_BYTES_MAX) malformed(`expected at most ${CONTRADICTION_BYTES_MAX} bytes`);
  const text = typeof file === "string" ? file : decodeUtf8(file, "malformed-proof");
  if (!text.endsWith("\n")) malformed("expected a newline at the end");
  const value = parse(text.slice(0, -1));
  if (!isJsonObject(value) || Object.keys(value).join() !== MEMBERS)
    malformed(`expected exactly the members ${MEMBERS}`);
  const { consistency, format, held, kind, root, shown } = value;
  if (format !== FORMAT) malformed(`expected the format ${FORMAT}`);
  if (kind !== "forked" && kind !== "rolled-back") malformed("kind: expected forked or rolled-back");
  if (typeof held !== "string" || (typeof shown !== "string" && shown !== null)) malformed("expected two notes");
  if (!Array.isArray(consistency) || consistency.length > CONSISTENCY_HASHES_MAX)
    malformed(`consistency: expected at most ${CONSISTENCY_HASHES_MAX} hashes`);
  const proof = consistency.map(hashOf);
  if (root === null) {
    if (proof.length > 0) malformed("consistency: expected no proof without a root");
    return { kind, held, shown };
  }
  if (shown === null) malformed("root: expected none without a second note");
  return { kind, held, shown, other: { root: hashOf(root), proof } };
}

/**
 * Returns the two checkpoints if both are signed under the policy and contradict each other as the file says. `proof-invalid` if they do
 * not; `malformed-proof`, `malformed-note`, and the errors of `verifyCheckpoint` for the notes. No quorum is asked for: it is
 * the log that signed both.
 */
export async function verifyContradiction(file: Uint8Array | string, policy: Policy): Promise<VerifiedContradiction> {
  const { kind, held, shown, other } = parseContradiction(file);
  const first = (await verifyCheckpoint(held, policy)).checkpoint;
  if (shown === null) return { kind, held: first, shown: null };
  const second = (await verifyCheckpoint(shown, policy)).checkpoint;
  const result = { kind, held: first, shown: second };
  if (kind === "rolled-back") {
    if (second.size < first.size) return result;
    throw invalid(`size ${second.size} was shown after size ${first.size}: that is no rollback`);
  }
  const [small, large] = first.size <= second.size ? [first, second] : [second, first];
  const root = small.size === large.size ? large.root : other?.root;
  if (root === undefined) throw invalid("expected the root that the larger tree has at the smaller size");
  if (small.size < large.size)
    verifyConsistency({
      oldSize: small.size,
      oldRoot: root,
      newSize: large.size,
      newRoot: large.root,
      proof: other?.proof ?? [],
    });
  if (!bytesEqual(root, small.root)) return result;
  throw invalid(`both checkpoints have the same root at size ${small.size}: that is no fork`);
}

/** The checkpoint of a note, unverified; null when it is none. */
export function headOfNote(note: string): Checkpoint | null {
  try {
    return parseLedgerCheckpoint(parseNote(note).text);
  } catch (error) {
    if (!isTallystickError(error)) throw error;
    return null;
  }
}

function parse(text: string): JsonValue {
  try {
    return parseCanonical(text);
  } catch (cause) {
    if (!isTallystickError(cause)) throw cause;
    throw new MalformedError("malformed-proof", `contradiction: ${cause.message}`, { cause });
  }
}

function hashOf(value: JsonValue | undefined): Uint8Array {
  if (typeof value !== "string") malformed("expected hashes in hex");
  return decodeHex(value, { sizeBytes: TREE_HASH_BYTES, code: "malformed-proof" });
}

function malformed(problem: string): never {
  throw new MalformedError("malformed-proof", `contradiction: ${problem}`);
}

function invalid(problem: string): VerificationError {
  return new VerificationError("proof-invalid", `contradiction: ${problem}`);
}
