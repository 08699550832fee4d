import { parseCheckpoint } from "./checkpoint.ts";
import { concatBytes, encodeUtf8 } from "./encoding.ts";
import { MalformedError } from "./errors.ts";
import { isSubtree, TREE_HASH_BYTES } from "./merkle.ts";

/**
 * What cosigners sign, and how the time travels with the signature (C2SP tlog-cosignature). Type 0x04 is Ed25519 over
 * the whole text of a checkpoint, type 0x06 ML-DSA-44 over a subtree. note.ts makes and checks the signature lines.
 */

const TIME_BYTES = 8;
const SUBTREE_LABEL: Uint8Array = encodeUtf8("subtree/v1\n\0");
const NAME_BYTES_MAX = 255;

/** Message of an Ed25519 cosignature (0x04) of a checkpoint text at `time`, in seconds since 1970. */
export function cosignatureMessage(text: string, time: number): Uint8Array {
  assertSeconds(time);
  return encodeUtf8(`cosignature/v1\ntime ${time}\n${text}`);
}

export interface CosignedSubtree {
  /** Key name of the cosigner: signed, unlike in type 0x04. */
  readonly cosigner: string;
  /** Seconds since 1970; 0 makes no statement about the largest tree seen, and is the only value if `start` is not 0. */
  readonly time: number;
  readonly origin: string;
  readonly start: number;
  readonly end: number;
  /** Merkle tree hash of the leaves `start ≤ index < end`. */
  readonly hash: Uint8Array;
}

/**
 * Message of an ML-DSA-44 cosignature (0x06). `malformed-cosignature` where the structure cannot hold the values: names
 * of 1..255 bytes in UTF-8, a subtree, time 0 for a start other than 0, a hash of 32 bytes.
 */
export function subtreeMessage(subtree: CosignedSubtree): Uint8Array {
  const { cosigner, time, origin, start, end, hash } = subtree;
  assertSeconds(time);
  if (!isSubtree(start, end)) throw malformed(`expected a subtree, got the leaves ${start} to ${end}`);
  if (start !== 0 && time !== 0) throw malformed("expected time 0 for a subtree that does not start at 0");
  if (hash.length !== TREE_HASH_BYTES) throw malformed(`expected a hash of 32 bytes, got ${hash.length}`);
  return concatBytes(
    SUBTREE_LABEL,
    withLength(cosigner),
    encodeUint64(time),
    withLength(origin),
    encodeUint64(start),
    encodeUint64(end),
    hash,
  );
}

/**
 * Message of an ML-DSA-44 cosignature of a checkpoint text: the subtree from 0 to its size. Its extension lines, if it
 * has any, are not signed. `malformed-checkpoint`, or as for `subtreeMessage`.
 */
export function checkpointMessage(text: string, cosigner: string, time: number): Uint8Array {
  const { origin, size, root } = parseCheckpoint(text);
  return subtreeMessage({ cosigner, time, origin, start: 0, end: size, hash: root });
}

/** A signature line's payload of type 0x04 or 0x06: 64-bit big-endian seconds, then the signature. */
export function encodeTimedSignature(time: number, signature: Uint8Array): Uint8Array {
  assertSeconds(time);
  return concatBytes(encodeUint64(time), signature);
}

/** Inverse of `encodeTimedSignature`. `malformed-cosignature` for a time above 2^53−1 or fewer than 9 bytes. */
export function decodeTimedSignature(payload: Uint8Array): { readonly time: number; readonly signature: Uint8Array } {
  if (payload.length <= TIME_BYTES) throw malformed(`expected a time and a signature, got ${payload.length} bytes`);
  const view = new DataView(payload.buffer, payload.byteOffset, TIME_BYTES);
  const time = view.getUint32(0) * 2 ** 32 + view.getUint32(4);
  // C2SP allows times up to 2^63−1: those beyond 285 million years are refused here.
  if (!Number.isSafeInteger(time)) throw malformed("expected a time of at most 2^53-1 seconds");
  return { time, signature: payload.subarray(TIME_BYTES) };
}

function encodeUint64(value: number): Uint8Array {
  const bytes = new Uint8Array(8);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, Math.floor(value / 2 ** 32));
  view.setUint32(4, value % 2 ** 32);
  return bytes;
}

function withLength(name: string): Uint8Array {
  const bytes = encodeUtf8(name);
  if (bytes.length < 1 || bytes.length > NAME_BYTES_MAX) {
    throw malformed(`expected a name of 1 to ${NAME_BYTES_MAX} bytes, got ${bytes.length}`);
  }
  return concatBytes(Uint8Array.of(bytes.length), bytes);
}

function assertSeconds(time: number): void {
  if (!Number.isSafeInteger(time) || time < 0)
    throw new RangeError(`time: expected whole seconds since 1970, got ${time}`);
}

function malformed(problem: string): MalformedError {
  return new MalformedError("malformed-cosignature", `cosignature: ${problem}`);
}
