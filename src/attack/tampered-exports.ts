import { isTallystickError } from "../core/errors.ts";
import { type ControlEntry, type LedgerState, replayControls } from "../core/ledger-state.ts";
import { parseControlEntry, storedControls } from "../ledger/control-log.ts";
import { exportLedger } from "../ledger/export.ts";
import { RightEdge } from "../ledger/right-edge.ts";
import type { LedgerStorage } from "../ledger/storage.ts";
import { openSqliteStorage } from "../storage/sqlite.ts";
import type { Suspect } from "./evidence.ts";
import { type AttackOptions, attackedCopies } from "./run-attacks.ts";

/** What an auditor is handed after an attack, and what the auditor pins. */
export interface TamperedExport {
  /** Of the row. */
  readonly id: string;
  /** The whole ledger as JSON lines, as its operator would export it now; null where there is nothing to export. */
  readonly text: string | null;
  /** Error code that says why there is none. */
  readonly problem: string | null;
  readonly policy: string;
  /** The reader of this row has no policy. */
  readonly withoutPin: boolean;
}

/**
 * The export of each attacked copy, in the order of the table: for comparing verifiers. It is made by the ledger's own export,
 * from what is stored, under the largest checkpoint that is shown and reaches no further than the entries.
 */
export async function* tamperedExports(options: AttackOptions = {}): AsyncGenerator<TamperedExport> {
  for await (const { suspect, attack } of attackedCopies(options)) {
    const { text, problem } = await exportOf(suspect);
    yield { id: attack.id, text, problem, policy: suspect.held.policy, withoutPin: suspect.policy === null };
  }
}

async function exportOf({ path, driver }: Suspect): Promise<Pick<TamperedExport, "text" | "problem">> {
  let storage: LedgerStorage | undefined;
  try {
    storage = await openSqliteStorage(path, { readOnly: true, driver });
    let text = "";
    for await (const line of linesOf(storage)) text += line;
    return { text, problem: null };
  } catch (error) {
    if (!isTallystickError(error)) throw error;
    return { text: null, problem: error.code };
  } finally {
    await storage?.close();
  }
}

async function* linesOf(storage: LedgerStorage): AsyncGenerator<string> {
  const edge = await RightEdge.load(storage);
  const snapshot = await storage.snapshot();
  const { checkpoints } = await snapshot.sideTables();
  await snapshot.close();
  const shown = checkpoints.findLast(({ size }) => size <= edge.size);
  const state = await stateOf(storage);
  yield* exportLedger(
    {
      storage,
      state,
      edge,
      query: { storage, state: () => state, size: () => edge.size },
      checkpoint: async () => shown?.note ?? "",
    },
    {},
  );
}

/** The state that the readable control events give: an attacker exports what is left. */
async function stateOf(storage: LedgerStorage): Promise<LedgerState> {
  const controls: ControlEntry[] = [];
  for await (const stored of storedControls(storage, 0)) {
    try {
      controls.push(parseControlEntry(stored));
    } catch (error) {
      if (!isTallystickError(error)) throw error;
    }
  }
  const { state } = await replayControls(controls);
  if (state === null) throw new RangeError("a victim keeps its genesis");
  return state;
}
