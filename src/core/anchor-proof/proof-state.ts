import { bytesEqual, encodeHex } from "../encoding.ts";
import { VerificationError } from "../errors.ts";
import { listOtsLeaves, type OtsFile, type OtsTimestamp, parseOtsFile } from "./opentimestamps.ts";
import { parseTimestampToken } from "./rfc3161.ts";

/** What a proof says of itself, without anything that the reader trusts: how far it has come, not whether it holds. */
export interface ProofState {
  /** It names a time or a block: nothing that it waits for is needed. */
  readonly isComplete: boolean;
  /** Calendars' promises in it, each with its message. An upgrade keeps them all. */
  readonly promises: ReadonlySet<string>;
  /** Those of them from which nothing leads on yet. */
  readonly unkept: number;
}

/**
 * State of a proof of `digest`. `malformed-proof` for bytes that are no proof of that kind; `proof-invalid` for one of another
 * digest. A kind that is not known is never complete.
 */
export function readProofState(kind: string, proof: Uint8Array, digest: Uint8Array): ProofState {
  if (kind === "rfc3161") {
    const { imprint } = parseTimestampToken(proof).info;
    requireDigest(imprint.algorithm === "sha256" && bytesEqual(imprint.digest, digest), imprint.digest, digest);
    return { isComplete: true, promises: new Set(), unkept: 0 };
  }
  if (kind !== "opentimestamps") return { isComplete: false, promises: new Set(), unkept: 0 };
  const file = parseOtsFile(proof);
  const { fileHash, timestamp } = file;
  requireDigest(fileHash === "sha256" && bytesEqual(timestamp.message, digest), timestamp.message, digest);
  return { isComplete: bitcoinHeightsIn(file).length > 0, promises: promisesIn(file), unkept: countUnkept(timestamp) };
}

/** Heights that the Bitcoin attestations of a proof name, in their order. */
export function bitcoinHeightsIn({ timestamp }: OtsFile): readonly number[] {
  return listOtsLeaves(timestamp).flatMap(({ attestation }) =>
    attestation.kind === "bitcoin" ? [attestation.height] : [],
  );
}

/** The calendars' promises in a proof, each with its message. */
export function promisesIn({ timestamp }: OtsFile): ReadonlySet<string> {
  return new Set(
    listOtsLeaves(timestamp).flatMap(({ attestation, message }) =>
      attestation.kind === "pending" ? [`${attestation.uri} ${encodeHex(message)}`] : [],
    ),
  );
}

/** Whether a later proof has every promise of an earlier one: it continues it. One without promises is continued by nothing. */
export function continuesPromises(later: ReadonlySet<string>, earlier: ReadonlySet<string>): boolean {
  return earlier.size > 0 && [...earlier].every((promise) => later.has(promise));
}

/** A promise is kept once something leads on from its message. Depth is bounded by the parser. */
function countUnkept({ items }: OtsTimestamp): number {
  const leadsOn = items.some((item) => item.kind === "operation");
  let count = 0;
  for (const item of items) {
    if (item.kind === "operation") count += countUnkept(item.next);
    else if (item.attestation.kind === "pending" && !leadsOn) count += 1;
  }
  return count;
}

function requireDigest(isSame: boolean, found: Uint8Array, expected: Uint8Array): void {
  if (isSame) return;
  throw new VerificationError("proof-invalid", "anchor proof: it stamps another digest", {
    details: { expected: encodeHex(expected), found: encodeHex(found) },
  });
}
