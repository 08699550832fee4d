import { parseCheckpoint } from "../core/checkpoint.ts";
import { headOfNote } from "../core/contradiction.ts";
import { bytesEqual, encodeHex } from "../core/encoding.ts";
import { isTallystickError, type TallystickError, UnavailableError, VerificationError } from "../core/errors.ts";
import type { LedgerState } from "../core/ledger-state.ts";
import { parseNote, verifyNote } from "../core/note.ts";
import type { SignedCheckpoint } from "./checkpointer.ts";
import { isGivenUp } from "./evidence.ts";
import type { LockStore } from "./lock-store.ts";
import { RightEdge, refuseDamagedTiles } from "./right-edge.ts";
import type { LedgerStorage } from "./storage.ts";

export interface BootParts {
  readonly storage: LedgerStorage;
  readonly lockStore: LockStore;
  readonly edge: RightEdge;
  readonly state: LedgerState;
  /** Checkpoint that a reader on this machine saw last. */
  readonly lastSeen: string | undefined;
  /** Checkpoint note that is published for everybody to see. */
  readonly published?: string | undefined;
}

export interface BootResult {
  /** Latest released checkpoint, if one was ever signed. */
  readonly latest: SignedCheckpoint | null;
  /** Why this machine must not sign for the ledger; null when it may. */
  readonly problem: TallystickError | null;
  /** The problem is that the lock store cannot be reached: it may be gone at the next attempt. */
  readonly mayPass?: boolean;
}

/**
 * Start-up check before anything is signed. In every legal crash state: published, seen, copy in the database ≤ lock store ≤
 * entries. So
 *
 *     entries < lock store          the database was rolled back, truncated or replaced
 *     entries < published, seen     the same, and the lock store with it
 *     lock store < copy             the lock store was rolled back
 *     other root at one size        the history was rewritten
 *
 * Errors: `rolled-back`, `forked` with both heads in `details`. A lost lock store is returned as a problem: such a
 * ledger can still be read and verified.
 */
export async function bootCheck(parts: BootParts): Promise<BootResult> {
  const { storage, lockStore, state } = parts;
  const { origin } = state.genesis;
  // What a recovery put on record as lost was told once and for all: `verify` tells it to whoever saw it.
  const isNews = (note: string | undefined): note is string => {
    const head = note === undefined ? null : headOfNote(note);
    return note !== undefined && (head === null || !isGivenUp(head, state));
  };
  if (isNews(parts.lastSeen)) await requireCovered(parts, parts.lastSeen, "the checkpoint that this machine last saw");
  if (isNews(parts.published)) await requireCovered(parts, parts.published, "what is published");
  const copy = await storage.latestCheckpoint();
  if (copy !== undefined) await requireCovered(parts, copy.note, "the checkpoint stored in the ledger");
  const record = await lockStore.fetch(origin).catch((error: unknown) => {
    if (isTallystickError(error)) return error as TallystickError;
    throw error;
  });
  if (record instanceof Error)
    return { latest: copy ?? null, problem: record, mayPass: record instanceof UnavailableError };
  if (record === undefined) {
    const problem = new UnavailableError("lock-store-lost", `the lock store has no record of ${origin}`);
    return { latest: copy ?? null, problem };
  }
  if (record.lockStoreId !== state.lockStoreId) {
    const problem = new UnavailableError(
      "lock-store-lost",
      `the ledger names lock store ${state.lockStoreId}, here is ${record.lockStoreId}`,
    );
    return { latest: copy ?? null, problem };
  }
  if (record.note === null) {
    if (copy === undefined) return { latest: null, problem: null };
    throw lockStoreBehind(origin, copy, null);
  }
  const size = await requireCovered(parts, record.note, "the lock store");
  if (copy !== undefined && copy.size > size) throw lockStoreBehind(origin, copy, { size, note: record.note });
  return { latest: { size, note: record.note }, problem: null };
}

function lockStoreBehind(origin: string, released: SignedCheckpoint, held: SignedCheckpoint | null): VerificationError {
  const found = held?.size ?? 0;
  return new VerificationError(
    "rolled-back",
    `the lock store of ${origin} was rolled back: it holds size ${found}, but size ${released.size} was released`,
    {
      details: {
        expected: released.size,
        found,
        what: "lock-store",
        note: released.note,
        ...(held === null ? {} : { own: held.note }),
      },
    },
  );
}

/** Requires that the ledger contains the history that `note` commits to; returns its size. Errors: `rolled-back`, `forked`. */
export async function requireCovered(
  parts: Pick<BootParts, "storage" | "edge" | "state">,
  note: string,
  source: string,
): Promise<number> {
  const { state, storage } = parts;
  const parsed = parseNote(note);
  const checkpoint = parseCheckpoint(parsed.text);
  const { origin } = state.genesis;
  if (checkpoint.origin !== origin) {
    throw new VerificationError("forked", `${source} speaks of ${checkpoint.origin}, the ledger is ${origin}`, {
      details: { note },
    });
  }
  // Another process may have appended and signed since this one read the head.
  const edge = checkpoint.size > parts.edge.size ? await RightEdge.load(storage) : parts.edge;
  // Size first: a ledger rolled back behind a key rotation does not know the key that signed.
  if (checkpoint.size > edge.size) {
    const message = `the ledger was rolled back, truncated or replaced: it has ${edge.size} entries, but ${source} holds a signed checkpoint of size ${checkpoint.size}`;
    throw new VerificationError("rolled-back", message, {
      details: { expected: checkpoint.size, found: edge.size, what: "ledger", note },
    });
  }
  await verifyNote(
    parsed,
    state.logKeys.map((known) => known.key),
  );
  const root = await edge.root(storage, checkpoint.size);
  if (!bytesEqual(root, checkpoint.root)) {
    await refuseDamagedTiles(storage, checkpoint);
    throw new VerificationError(
      "forked",
      `the history was rewritten: at size ${checkpoint.size} the ledger has another root than ${source}`,
      {
        details: { size: checkpoint.size, expected: encodeHex(checkpoint.root), found: encodeHex(root), note },
      },
    );
  }
  return checkpoint.size;
}
