import { type Checkpoint, parseCheckpoint } from "../core/checkpoint.ts";
import { type Contradiction, headOfNote } from "../core/contradiction.ts";
import { bytesEqual } from "../core/encoding.ts";
import { isTallystickError, VerificationError } from "../core/errors.ts";
import type { LedgerState } from "../core/ledger-state.ts";
import { parseNote, type VerifierKey, verifyNote } from "../core/note.ts";
import { proveConsistency } from "../core/proof.ts";
import { RightEdge } from "./right-edge.ts";
import type { LedgerStorage } from "./storage.ts";

/**
 * Why a ledger was refused, as a contradiction that anybody with the log's key can check: the checkpoint that it does not contain was
 * held, and what it signs itself is shown. Null for any other error, and for a checkpoint of another ledger.
 */
export async function contradictionOf(error: unknown, storage: LedgerStorage): Promise<Contradiction | null> {
  if (!isTallystickError(error) || (error.code !== "rolled-back" && error.code !== "forked")) return null;
  const held = error.details?.note;
  const before = typeof held === "string" ? headOfNote(held) : null;
  if (typeof held !== "string" || before === null) return null;
  const what = error.details?.what;
  // A lock store that was rolled back holds less than the ledger's own copy.
  const own =
    what === "lock-store" ? error.details?.own : (await storage.latestCheckpoint().catch(() => undefined))?.note;
  const shown = typeof own === "string" ? own : null;
  const now = shown === null ? null : headOfNote(shown);
  if (shown === null || now === null) return { kind: error.code, held, shown: null };
  if (now.origin !== before.origin) return null;
  if (now.size < before.size) return { kind: "rolled-back", held, shown };
  if (now.size === before.size)
    return bytesEqual(now.root, before.root)
      ? { kind: error.code, held, shown: null }
      : { kind: "forked", held, shown };
  const other = await rootsBetween(storage, before, now);
  return other === null ? { kind: error.code, held, shown: null } : { kind: "forked", held, shown, other };
}

/** Root at the size of `small` of the tree that `large` signs, with its proof, where the ledger has that tree and the root is another. */
async function rootsBetween(
  storage: LedgerStorage,
  small: Checkpoint,
  large: Checkpoint,
): Promise<NonNullable<Contradiction["other"]> | null> {
  try {
    const edge = await RightEdge.load(storage);
    if (edge.size < large.size || !bytesEqual(await edge.root(storage, large.size), large.root)) return null;
    const root = await edge.root(storage, small.size);
    if (bytesEqual(root, small.root)) return null;
    return { root, proof: await proveConsistency(small.size, large.size, edge.tileReader(storage)) };
  } catch (error) {
    // A damaged store: the refusal is told all the same.
    if (!isTallystickError(error)) throw error;
    return null;
  }
}

/**
 * The checkpoint of the evidence that this ledger does not contain: what is lost. Null where it contains all that is shown, as where
 * the lock store was rolled back. Errors: `origin-mismatch`, `signature-*` for one that none of `keys` signed.
 */
export async function lostCheckpoint(
  { held, shown }: Contradiction,
  ledger: {
    readonly origin: string;
    readonly keys: readonly VerifierKey[];
    readonly storage: LedgerStorage;
    readonly edge: RightEdge;
  },
): Promise<string | null> {
  const { origin, keys } = ledger;
  for (const text of [held, shown]) {
    if (text === null) continue;
    const note = parseNote(text);
    const head = parseCheckpoint(note.text);
    if (head.origin !== origin)
      throw new VerificationError("origin-mismatch", `the evidence speaks of ${head.origin}, the ledger is ${origin}`);
    await verifyNote(note, keys);
    if (!(await isContained(head, ledger))) return text;
  }
  return null;
}

/** Whether the ledger has the history that a checkpoint commits to. */
export async function isContained(
  { size, root }: Pick<Checkpoint, "size" | "root">,
  { storage, edge }: { readonly storage: LedgerStorage; readonly edge: RightEdge },
): Promise<boolean> {
  return size <= edge.size && bytesEqual(await edge.root(storage, size), root);
}

/** Whether a recovery of this ledger put exactly this checkpoint on record as lost: nobody need be told of it at open any more. */
export function isGivenUp(
  head: Pick<Checkpoint, "size" | "root">,
  { recoveries }: Pick<LedgerState, "recoveries">,
): boolean {
  return recoveries.some(({ checkpoint }) => {
    const known = checkpoint === null ? null : headOfNote(checkpoint);
    return known !== null && known.size === head.size && bytesEqual(known.root, head.root);
  });
}
