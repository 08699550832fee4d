/**
 * Port: an anchor, somebody outside who attests that a digest existed by a time. It proves time, never that there is no second
 * history. Everything it answers is hostile: the engine stores proof bytes as they are and verifies them with the core.
 */
export interface Anchor {
  /** `kind` of the `ledger.anchor` event, and which verifier the proof is for. */
  readonly kind: AnchorKind;
  /** Which one it is, for status and reports: an address without credentials. */
  readonly name: string;
  /**
   * Asks for a proof of `digest` (SHA-256 of the anchored note). Bounded in time and bytes; the proof of an answer has been parsed, and
   * names this digest. Never throws for what the outside answers, only when `signal` aborts.
   */
  submit(digest: Uint8Array, signal?: AbortSignal): Promise<AnchorAnswer>;
  /**
   * Asks whether an earlier proof can be completed. The answer's proof has all that the earlier one had. Absent where the first
   * answer is final. Errors as for `submit`; a `proof` that does not parse throws `malformed-proof`.
   */
  upgrade?(proof: Uint8Array, signal?: AbortSignal): Promise<AnchorAnswer>;
}

export type AnchorKind = "rfc3161" | "opentimestamps";

export type AnchorAnswer =
  | {
      readonly kind: "proof";
      readonly proof: Uint8Array;
      /** False while the proof waits for an upgrade: it bounds no time yet. */
      readonly complete: boolean;
      /** Which of several services behind this anchor gave nothing, for logs. */
      readonly failures: readonly string[];
    }
  /** Nothing new yet: ask again later. Only from `upgrade`. */
  | { readonly kind: "pending"; readonly failures: readonly string[] }
  /** It refused: asking again in the same way changes nothing. */
  | { readonly kind: "refused"; readonly reason: string }
  /** No usable answer: network, time, size, status or a proof of something else. May be asked again. */
  | { readonly kind: "unavailable"; readonly reason: string };
