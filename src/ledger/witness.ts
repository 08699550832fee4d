/**
 * Port: a witness, somebody outside who cosigns checkpoints and never two that disagree. Everything it answers is hostile
 * until verified; the engine verifies every line and every note itself. C2SP tlog-witness.
 */
export interface Witness {
  /** Name in the policy. */
  readonly name: string;
  /** vkey of the witness: note type 0x04 or 0x06. */
  readonly vkey: string;
  /**
   * Asks for a cosignature over `note`, whose tree the witness last saw at `oldSize`; `proof` is the consistency proof from
   * there. Bounded in time and bytes. Never throws for what a witness answers, only when `signal` aborts.
   */
  addCheckpoint(request: WitnessRequest, signal?: AbortSignal): Promise<WitnessAnswer>;
  /** The latest checkpoint note that the witness shows for `origin`; null when it says it never saw one; undefined when it does not say. */
  latest(origin: string, signal?: AbortSignal): Promise<string | null | undefined>;
}

export interface WitnessRequest {
  readonly oldSize: number;
  /** Hashes of 32 bytes; empty for `oldSize` 0 or the size of the note. */
  readonly proof: readonly Uint8Array[];
  /** Signed note with the log's own lines. */
  readonly note: string;
}

export type WitnessAnswer =
  /** Signature lines, each with its newline; not verified yet. */
  | { readonly kind: "cosigned"; readonly lines: readonly string[] }
  /** The witness last saw another size: ask again with a proof from there, or take it as a sign of rollback. */
  | { readonly kind: "conflict"; readonly size: number }
  /** It refused (unknown log, bad signature, inconsistent): asking again changes nothing. */
  | { readonly kind: "refused"; readonly status: number; readonly reason: string }
  /** No usable answer: network, time, size or status. May be asked again. */
  | { readonly kind: "unavailable"; readonly reason: string };
