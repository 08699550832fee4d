import { decodeBase64, encodeBase64, parseDecimal } from "./encoding.ts";
import { MalformedError } from "./errors.ts";
import { ORIGIN_BYTES_MAX, SAFE_INTEGER_MAX } from "./limits.ts";
import { TREE_HASH_BYTES } from "./merkle.ts";

/** A signed tree head, the text of a note. C2SP tlog-checkpoint. */
export interface Checkpoint {
  /** Unique name of the log, as it stands in the first line. */
  readonly origin: string;
  /** Number of leaves, 0..2^53−1. */
  readonly size: number;
  /** Merkle tree hash of these leaves, 32 bytes. */
  readonly root: Uint8Array;
  /** Further lines without their newlines, each non-empty. A 0x06 cosignature does not cover them. */
  readonly extensions: readonly string[];
}

// %x21-2A / %x2C-7E: printable ASCII without space and `+`, which separate the parts of notes and verifier keys.
const ORIGIN = /^[\x21-\x2a\x2c-\x7e]+$/;
/** First lines of other signed texts: an origin that began like one could turn a checkpoint into it. */
const RESERVED_PREFIXES: readonly string[] = ["tallystick/", "cosignature/", "subtree/"];

/** Whether the text may be the origin of a ledger. spec/primitives.md. */
export function isOrigin(origin: string): boolean {
  return (
    ORIGIN.test(origin) &&
    origin.length <= ORIGIN_BYTES_MAX &&
    !RESERVED_PREFIXES.some((prefix) => origin.startsWith(prefix))
  );
}

/** Throws `malformed-origin` unless the text may be the origin of a ledger. */
export function assertOrigin(origin: string): void {
  if (isOrigin(origin)) return;
  throw new MalformedError(
    "malformed-origin",
    `expected an origin: 1 to 255 printable ASCII characters without space and +, not beginning ${RESERVED_PREFIXES.join(", ")}`,
  );
}

/**
 * Checkpoint of a note text. Origins are taken as they come, only not empty: other logs choose theirs freely. The one
 * text per checkpoint: sizes without leading zeros, canonical base64. `malformed-checkpoint` otherwise, also for a root
 * that is not 32 bytes and a size above 2^53−1.
 */
export function parseCheckpoint(text: string): Checkpoint {
  if (!text.endsWith("\n")) throw malformed("expected a final newline");
  const lines = text.slice(0, -1).split("\n");
  const [origin, size, root, ...extensions] = lines;
  if (origin === undefined || size === undefined || root === undefined) {
    throw malformed(`expected at least 3 lines, got ${lines.length}`);
  }
  if (origin === "") throw malformed("expected a non-empty origin");
  if (extensions.includes("")) throw malformed("expected non-empty extension lines");
  const hash = decodeBase64(root, "malformed-checkpoint");
  if (hash.length !== TREE_HASH_BYTES) throw malformed(`expected a root of 32 bytes, got ${hash.length}`);
  return { origin, size: parseDecimal(size, "malformed-checkpoint"), root: hash, extensions };
}

/**
 * Checkpoint of a Tallystick ledger: as `parseCheckpoint`, and with an origin that is one (`assertOrigin`), a size of at
 * least 1 and no extension lines, which ML-DSA-44 cosignatures do not cover. `malformed-checkpoint`. spec/checkpoint.md.
 */
export function parseLedgerCheckpoint(text: string): Checkpoint {
  const checkpoint = parseCheckpoint(text);
  if (!isOrigin(checkpoint.origin)) throw malformed("expected the origin of a ledger");
  if (checkpoint.size === 0) throw malformed("size 0 is never signed");
  if (checkpoint.extensions.length > 0) throw malformed("expected no extension lines");
  return checkpoint;
}

/**
 * Text of the checkpoint of a ledger: three lines, no extensions. `malformed-origin` for an origin that is none,
 * `RangeError` for a size of 0 (an empty tree is never signed) and a root that is not 32 bytes.
 */
export function formatCheckpoint(checkpoint: {
  readonly origin: string;
  readonly size: number;
  readonly root: Uint8Array;
}): string {
  const { origin, size, root } = checkpoint;
  assertOrigin(origin);
  if (!Number.isSafeInteger(size) || size < 1) {
    throw new RangeError(`checkpoint: expected a size of 1..${SAFE_INTEGER_MAX}, got ${size}`);
  }
  if (root.length !== TREE_HASH_BYTES)
    throw new RangeError(`checkpoint: expected a root of 32 bytes, got ${root.length}`);
  return `${origin}\n${size}\n${encodeBase64(root)}\n`;
}

function malformed(problem: string): MalformedError {
  return new MalformedError("malformed-checkpoint", `checkpoint: ${problem}`);
}
