import { parseEntry, parseTime } from "../core/entry.ts";
import type { AnchorStatus } from "./anchoring.ts";
import type { LedgerLimits } from "./limits.ts";
import type { LedgerStorage } from "./storage.ts";
import type { WitnessStatus } from "./witnessing.ts";

export interface LedgerStatus {
  readonly origin: string;
  readonly size: number;
  /** Size of the latest released checkpoint. */
  readonly checkpointed: number;
  /** Size of the latest checkpoint with a quorum of witnesses; null when the ledger has none. */
  readonly witnessed: number | null;
  /** How long the oldest entry that is not signed, or not witnessed, has been waiting; 0 when none is. */
  readonly unsignedMs: number;
  readonly unwitnessedMs: number;
  readonly witnesses: readonly WitnessStatus[];
  /** Size that complete anchors reach, of the kinds that the rules name; null when the ledger has none and was opened without. */
  readonly anchored: number | null;
  readonly unanchoredMs: number;
  /** Recorded proofs that bound no time until they are upgraded. */
  readonly pendingUpgrades: number;
  readonly anchors: readonly AnchorStatus[];
  /** Why nothing is signed at the moment; null when nothing hinders it. */
  readonly problem: string | null;
  /**
   * Red: a delay is longer than `limits.overdueMs`, the ledger cannot be appended to, or it was opened with anchors, or its rules name
   * some, and entries wait for one for longer than `limits.anchorEveryMs` and `limits.anchorOverdueMs`.
   */
  readonly overdue: boolean;
}

export interface StatusFacts {
  readonly origin: string;
  readonly size: number;
  /** Milliseconds since 1970. */
  readonly now: number;
  readonly limits: LedgerLimits;
  readonly storage: LedgerStorage;
  readonly checkpointed: number;
  readonly witnessed: number | null;
  readonly witnesses: readonly WitnessStatus[];
  readonly anchoring: {
    readonly anchored: number | null;
    readonly unanchoredMs: number;
    readonly pendingUpgrades: number;
    readonly anchors: readonly AnchorStatus[];
    /** Whether entries are expected to be anchored. */
    readonly isExpected: boolean;
  };
  readonly problem: unknown;
}

export async function readStatus(facts: StatusFacts): Promise<LedgerStatus> {
  const { origin, size, checkpointed, witnessed, witnesses, limits } = facts;
  const unsignedMs = await waiting(facts, checkpointed);
  const unwitnessedMs = witnessed === null ? 0 : await waiting(facts, witnessed);
  const problem =
    facts.problem instanceof Error ? facts.problem.message : facts.problem == null ? null : String(facts.problem);
  const { isExpected, ...anchoring } = facts.anchoring;
  const isUnanchored = isExpected && anchoring.unanchoredMs > limits.anchorEveryMs + limits.anchorOverdueMs;
  const overdue = problem !== null || isUnanchored || Math.max(unsignedMs, unwitnessedMs) > limits.overdueMs;
  const waitingMs = { unsignedMs, unwitnessedMs };
  return { origin, size, checkpointed, witnessed, ...waitingMs, witnesses, ...anchoring, problem, overdue };
}

/** Age of the first entry beyond `covered`, by the ledger's own time. */
async function waiting({ storage, size, now }: StatusFacts, covered: number): Promise<number> {
  if (covered >= size) return 0;
  const [oldest] = await storage.readEntries(covered, covered + 1);
  return oldest === undefined ? 0 : Math.max(0, now - parseTime(parseEntry(oldest.entry).time));
}
