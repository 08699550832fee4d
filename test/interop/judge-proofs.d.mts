import type * as core from "../../src/core/index.ts";
import type { verify } from "../../src/index.ts";

/** What random_proofs.py writes: an example, and what verify.py answers. */
export interface ProofExample {
  readonly [member: string]: unknown;
}
export interface ProofAnswer {
  readonly code?: string;
  readonly exit?: number;
}
export type ProofKind = "tokens" | "ots" | "packages" | "published";

export function comparable(answer: ProofAnswer, kind: ProofKind): ProofAnswer;
export function judgeOf(
  library: typeof core,
  verifyPath: typeof verify,
): Readonly<Record<ProofKind, (example: ProofExample) => Promise<ProofAnswer>>>;
