import type { Anchor, AnchorAnswer } from "../ledger/anchor.ts";

export interface SubmittedAnchors {
  /** One for each anchor, in their order. */
  readonly answers: readonly { readonly anchor: Anchor; readonly answer: AnchorAnswer }[];
  /** Whether at least `required` gave a proof. */
  readonly reached: boolean;
}

/** Asks all anchors at the same time. One that is slow delays the result by its own time limit at most, and none spoils another's. */
export async function submitToSeveral(
  anchors: readonly Anchor[],
  digest: Uint8Array,
  { required, signal }: { readonly required: number; readonly signal?: AbortSignal },
): Promise<SubmittedAnchors> {
  if (!Number.isInteger(required) || required < 1 || required > anchors.length) {
    throw new RangeError(`submitToSeveral: expected 1 to ${anchors.length} required, got ${required}`);
  }
  const answers = await Promise.all(
    anchors.map(async (anchor) => ({ anchor, answer: await anchor.submit(digest, signal) })),
  );
  const proofs = answers.filter(({ answer }) => answer.kind === "proof").length;
  return { answers, reached: proofs >= required };
}
