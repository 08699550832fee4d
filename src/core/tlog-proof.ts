import { parseCheckpoint } from "./checkpoint.ts";
import { decodeBase64, decodeUtf8, encodeBase64, parseDecimal } from "./encoding.ts";
import { MalformedError } from "./errors.ts";
import { INCLUSION_HASHES_MAX, NOTE_BYTES_MAX } from "./limits.ts";
import { TREE_HASH_BYTES } from "./merkle.ts";
import { parseNote } from "./note.ts";
import { type Policy, type VerifiedCheckpoint, verifyCheckpoint } from "./policy.ts";
import { verifyInclusion } from "./proof.ts";

/**
 * Offline proof that an entry is in a log (C2SP tlog-proof, files `*.tlog-proof`):
 *
 *     c2sp.org/tlog-proof@v1
 *     extra <base64>            optional
 *     index <decimal>
 *     <base64 hash>             inclusion proof, sibling of the leaf first
 *     (blank line: the first one)
 *     <checkpoint note>
 *
 * It names neither the leaf nor the size: the leaf hash is computed by whoever verifies, the size is the checkpoint's.
 */
export interface TlogProof {
  readonly index: number;
  /** Inclusion proof, 0..64 hashes of 32 bytes; untrusted until `verifyInclusion`. */
  readonly path: readonly Uint8Array[];
  /** Checkpoint note, verbatim; untrusted until `verifyCheckpoint`. */
  readonly checkpoint: string;
  /** Bytes that nothing authenticates; null without such a line, never empty. */
  readonly extra: Uint8Array | null;
}

const HEADER = "c2sp.org/tlog-proof@v1";
// One note, and as much again for extra data: far more than any hashes need.
const PROOF_CHARACTERS_MAX = 2 * NOTE_BYTES_MAX;

/**
 * Parts of a proof text, nothing verified. `malformed-proof` for any other spelling of it; `malformed-note` or
 * `malformed-checkpoint` if what follows the blank line is no checkpoint note. That the index lies in the tree is for
 * `verifyTlogProof` to find out.
 */
export function parseTlogProof(text: Uint8Array | string): TlogProof {
  if (text.length > PROOF_CHARACTERS_MAX) throw malformed(`expected at most ${PROOF_CHARACTERS_MAX} characters`);
  const whole = typeof text === "string" ? text : decodeUtf8(text, "malformed-proof");
  const blank = whole.indexOf("\n\n");
  if (blank < 0) throw malformed("expected a blank line before the checkpoint");
  const lines = whole.slice(0, blank).split("\n");
  if (lines.shift() !== HEADER) throw malformed(`expected ${HEADER} as the first line`);
  let extra: Uint8Array | null = null;
  if (lines[0]?.startsWith("extra ") === true) {
    extra = decodeBase64((lines.shift() as string).slice("extra ".length), "malformed-proof");
    if (extra.length === 0) throw malformed("expected extra data, or no such line");
  }
  const indexLine = lines.shift();
  if (indexLine?.startsWith("index ") !== true) throw malformed("expected an index line");
  const index = parseDecimal(indexLine.slice("index ".length), "malformed-proof");
  if (lines.length > INCLUSION_HASHES_MAX) {
    throw malformed(`expected at most ${INCLUSION_HASHES_MAX} hashes, got ${lines.length}`);
  }
  const path = lines.map((line) => {
    const hash = decodeBase64(line, "malformed-proof");
    if (hash.length !== TREE_HASH_BYTES) throw malformed(`expected hashes of 32 bytes, got ${hash.length}`);
    return hash;
  });
  const checkpoint = whole.slice(blank + 2);
  parseCheckpoint(parseNote(checkpoint).text);
  return { index, path, checkpoint, extra };
}

/** Inverse of `parseTlogProof`; throws what that throws for parts that make no proof text. */
export function formatTlogProof(proof: TlogProof): string {
  const { index, path, checkpoint, extra } = proof;
  const lines = [HEADER];
  if (extra !== null) lines.push(`extra ${encodeBase64(extra)}`);
  lines.push(`index ${index}`, ...path.map(encodeBase64));
  const text = `${lines.join("\n")}\n\n${checkpoint}`;
  parseTlogProof(text);
  return text;
}

/**
 * Checks that the leaf with that hash is in the log of the policy, at the index that the proof names: checkpoint first
 * (`verifyCheckpoint`, and its errors), then inclusion (`proof-invalid`, also for an index beyond the tree). A quorum
 * that was not reached is in the answer, not an error.
 */
export async function verifyTlogProof(claim: {
  readonly proof: TlogProof;
  readonly leafHash: Uint8Array;
  readonly policy: Policy;
}): Promise<VerifiedCheckpoint> {
  const { proof, leafHash, policy } = claim;
  const verified = await verifyCheckpoint(proof.checkpoint, policy);
  const { size, root } = verified.checkpoint;
  verifyInclusion({ leafHash, index: proof.index, size, proof: proof.path, root });
  return verified;
}

function malformed(problem: string): MalformedError {
  return new MalformedError("malformed-proof", `tlog-proof: ${problem}`);
}
