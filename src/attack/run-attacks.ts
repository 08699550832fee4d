import { mkdtempSync, realpathSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { seededRandom } from "../ledger/seeded-random.ts";
import { loadSqliteDriver } from "../storage/sqlite-driver.ts";
import { ATTACKERS, ATTACKS, type AttackerId } from "./attacks.ts";
import { EVIDENCE, type Evidence, type Notice, type Suspect, suspectOf } from "./evidence.ts";
import { restoreFolder } from "./restore-folder.ts";
import { buildVictim, type Positions } from "./victim.ts";

export interface AttackOptions {
  /** Entries of the victim, 300 to 5,000. Default 300. */
  readonly entries?: number;
  /** Path of a ledger whose events are copied into the victim; it is only read. Events that are missing are invented. */
  readonly source?: string;
  /** Where the throwaway folder is made. Default: the temporary directory of the system. */
  readonly dir?: string;
  /** Makes salts, keys and invented events. */
  readonly seed?: string;
  /** Called before each attack with how many are done, of how many. */
  readonly onProgress?: (done: number, total: number) => void;
  /** Abort between two attacks leaves nothing behind either. */
  readonly signal?: AbortSignal;
}

/** One kind of evidence. */
export type AttackColumn = Pick<Evidence, "id" | "name" | "title" | "holds">;

export interface AttackRow {
  readonly id: string;
  readonly attacker: AttackerId;
  readonly title: string;
  /** What each kind of evidence said, by column id. */
  readonly notices: Readonly<Record<string, Notice>>;
  /** Column of the weakest evidence that noticed; null where none did. */
  readonly weakest: string | null;
  /** Exit code of a full verify: 1 for a finding, 3 for inconclusive; null where there was no ledger to verify. */
  readonly exit: 0 | 1 | 3 | 4 | null;
}

/** What was measured. Plain data, the same for the same victim. */
export interface AttackTable {
  readonly format: "tallystick/attacks/v1";
  readonly at: Positions;
  readonly attackers: readonly { readonly id: AttackerId; readonly title: string }[];
  /** The weakest evidence first. */
  readonly columns: readonly AttackColumn[];
  readonly rows: readonly AttackRow[];
}

const ENTRIES_DEFAULT = 300;
/** Below one full tile of 256 entries and a tail there is less to attack. */
const ENTRIES_MIN = 300;
/** Some sixty copies of the victim are made and verified, each a few times. */
const ENTRIES_MAX = 5_000;

/**
 * Builds a ledger in a throwaway folder, attacks a copy of it in every way of the table, and asks each kind of evidence about
 * each copy. Nothing is known beforehand: every cell is the answer of the mechanism itself. Nothing of the user's is
 * read but `source`, nothing is left behind. Errors: `RangeError` for `entries`, those of opening `source`, `driver-missing`.
 */
export async function runAttacks(options: AttackOptions = {}): Promise<AttackTable> {
  const rows: AttackRow[] = [];
  let at: Positions | undefined;
  for await (const { suspect, attack } of attackedCopies(options)) {
    const notices: Record<string, Notice> = {};
    for (const { id, notices: ask } of inAskingOrder(EVIDENCE)) notices[id] = await ask(suspect);
    const weakest = EVIDENCE.find(({ id }) => notices[id]?.noticed === true)?.id ?? null;
    const { id, attacker, title } = attack;
    rows.push({ id, attacker, title, notices, weakest, exit: await suspect.exit() });
    at = suspect.at;
  }
  return {
    format: "tallystick/attacks/v1",
    at: at as Positions,
    attackers: ATTACKERS,
    columns: EVIDENCE.map(({ id, name, title, holds }) => ({ id, name, title, holds })),
    rows,
  };
}

/** What changes the suspect is asked after all others. */
function inAskingOrder(evidence: readonly Evidence[]): readonly Evidence[] {
  const changes = (one: Evidence): number => (one.changesSuspect === true ? 1 : 0);
  return evidence.toSorted((a, b) => changes(a) - changes(b));
}

/** One attacked copy of the victim after the other; the next takes its place. */
export async function* attackedCopies(
  options: AttackOptions = {},
): AsyncGenerator<{ readonly suspect: Suspect; readonly attack: (typeof ATTACKS)[number] }> {
  const { entries = ENTRIES_DEFAULT, source, seed = "tallystick", dir = tmpdir(), onProgress, signal } = options;
  if (!Number.isSafeInteger(entries) || entries < ENTRIES_MIN || entries > ENTRIES_MAX)
    throw new RangeError(`attack: expected ${ENTRIES_MIN} to ${ENTRIES_MAX} entries, got ${entries}`);
  const driver = await loadSqliteDriver();
  // The state directory remembers real paths.
  const folder = realpathSync(mkdtempSync(join(dir, "tallystick-attack-")));
  try {
    const victim = await buildVictim({
      folder: join(folder, "victim"),
      driver,
      entries,
      seed,
      ...(source === undefined ? {} : { source }),
    });
    // Each copy stands where the victim stood: the operator's machine knows the ledger by its path.
    const kept = join(folder, "kept");
    renameSync(victim.folder, kept);
    for (const [done, attack] of ATTACKS.entries()) {
      signal?.throwIfAborted();
      onProgress?.(done, ATTACKS.length);
      restoreFolder(kept, victim.folder);
      await attack.run({ victim, random: seededRandom(`${seed} ${attack.id}`) });
      const suspect = suspectOf(victim, attack.reader);
      try {
        yield { suspect, attack };
      } finally {
        await suspect.close();
      }
    }
    onProgress?.(ATTACKS.length, ATTACKS.length);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
