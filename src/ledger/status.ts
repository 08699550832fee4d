import { parseEntry, parseTime } from "../core/entry.ts";
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
  /** Why nothing is signed at the moment; null when nothing hinders it. */
  readonly problem: string | null;
  /** Red: a delay is longer than `limits.overdueMs`, or the ledger cannot be appended to. */
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
  readonly problem: unknown;
}

export async function readStatus(facts: StatusFacts): Promise<LedgerStatus> {
  const { origin, size, checkpointed, witnessed, witnesses, limits } = facts;
  const unsignedMs = await waiting(facts, checkpointed);
  const unwitnessedMs = witnessed === null ? 0 : await waiting(facts, witnessed);
  const problem =
    facts.problem instanceof Error ? facts.problem.message : facts.problem == null ? null : String(facts.problem);
  const overdue = problem !== null || Math.max(unsignedMs, unwitnessedMs) > limits.overdueMs;
  return { origin, size, checkpointed, witnessed, unsignedMs, unwitnessedMs, witnesses, problem, overdue };
}

/** Age of the first entry beyond `covered`, by the ledger's own time. */
async function waiting({ storage, size, now }: StatusFacts, covered: number): Promise<number> {
  if (covered >= size) return 0;
  const [oldest] = await storage.readEntries(covered, covered + 1);
  return oldest === undefined ? 0 : Math.max(0, now - parseTime(parseEntry(oldest.entry).time));
}
