import { formatCheckpoint, parseCheckpoint } from "../core/checkpoint.ts";
import { type Contradiction, headOfNote } from "../core/contradiction.ts";
import { keyEventMessage } from "../core/control-event.ts";
import { bytesEqual, encodeBase64, encodeUtf8 } from "../core/encoding.ts";
import { ConflictError, MalformedError, UnavailableError } from "../core/errors.ts";
import { type Event, encodeEvent } from "../core/event.ts";
import { isInForce } from "../core/ledger-state.ts";
import { formatNote, parseNote, parseVerifierKey, signNote, spkiOfVerifierKey } from "../core/note.ts";
import { parsePolicy } from "../core/policy.ts";
import { keyIdOf } from "../core/signature/table.ts";
import type { Clock } from "./clock.ts";
import { loadState } from "./control-log.ts";
import { isContained, lostCheckpoint } from "./evidence.ts";
import { randomHex, vkeyOf } from "./genesis.ts";
import { policyOf } from "./ledger-policy.ts";
import type { LedgerLimits } from "./limits.ts";
import type { LockStore } from "./lock-store.ts";
import type { Random } from "./random.ts";
import { RightEdge } from "./right-edge.ts";
import { SaltPool } from "./salt-pool.ts";
import { Sequencer } from "./sequencer.ts";
import type { Signer } from "./signer.ts";
import type { LedgerStorage } from "./storage.ts";
import { prepareSubmission } from "./submission.ts";

export interface RecoverParts {
  readonly storage: LedgerStorage;
  readonly lockStore: LockStore;
  readonly signer: Signer;
  readonly reason: string;
  /** What showed that the ledger lost entries. */
  readonly evidence?: Contradiction | undefined;
  /** Checkpoint that a reader on this machine saw last. */
  readonly lastSeen?: ((origin: string) => string | undefined) | undefined;
  /** Policy that this machine keeps: what it asks for beside the log keys stays. */
  readonly keptPolicy?: ((origin: string) => string | undefined) | undefined;
  /** Keys that this machine holds for the ledger. */
  readonly held?: ((origin: string) => readonly Signer[]) | undefined;
  readonly clock: Clock;
  readonly random: Random;
  readonly limits: LedgerLimits;
}

export interface Recovered {
  readonly index: number;
  readonly origin: string;
  readonly genesis: string;
  /** Policy with the keys in force now: what readers must pin anew when the old key did not sign. */
  readonly policy: string;
  readonly lost: readonly string[];
  /** The note on record as the last one that was known: the largest that this ledger does not contain; null when none was known. */
  readonly checkpoint: string | null;
  /** Whether what the reader on this machine saw is not contained. */
  readonly seenIsLost: boolean;
}

/**
 * Appends `ledger.recovered`, signed by `signer`, and puts the first checkpoint over it into the lock store, whatever stood
 * there before. Errors: `already-exists` when nothing is lost, or not the key, those of `lostCheckpoint`, `storage-*`, `lock-moved`.
 */
export async function recoverLedger(parts: RecoverParts): Promise<Recovered> {
  const { storage, lockStore, signer, reason, clock, random, limits } = parts;
  if (reason === "") throw new TypeError("recover: expected a reason");
  const { state, genesisLeaf } = await loadState(storage);
  const { origin, commitmentHash } = state.genesis;
  // Before anything is written: a policy that does not parse must not end a recovery half-way.
  const keptText = parts.keptPolicy?.(origin);
  const kept = keptText === undefined ? undefined : parsePolicy(keptText);
  const edge = await RightEdge.load(storage);
  const record = await lockStore.fetch(origin);
  const head = record?.note == null ? null : parseCheckpoint(parseNote(record.note).text);
  const inForce = state.logKeys.filter(isInForce);
  const known = state.logKeys.find((key) => bytesEqual(key.key.publicKey, signer.publicKey));
  if (known !== undefined && !inForce.includes(known))
    throw new MalformedError(
      "malformed-key",
      "this key was retired or revoked, and a key is never taken up again: give the one in force, or a new one",
    );
  const isUsable = ({ publicKey }: Signer): boolean => inForce.some(({ key }) => bytesEqual(key.publicKey, publicKey));
  // It would break for ever what readers rely on, for nothing.
  if (known === undefined && parts.held?.(origin).some(isUsable) === true)
    throw new ConflictError(
      "already-exists",
      "the log key in force is not lost, it is held here: recover with it. Rotating replaces it, signed by both, so that readers can follow",
    );
  const lost: string[] = [];
  if (known === undefined) lost.push("key");
  // A lock store behind the copy in the database was restored from a backup: what it forgot was released.
  const copied = (await storage.latestCheckpoint())?.size ?? 0;
  const isBehind = copied > (head?.size ?? 0);
  if (record === undefined || record.lockStoreId !== state.lockStoreId || isBehind) lost.push("lock-store");
  const lockStoreId = record?.lockStoreId ?? randomHex(random, 16);
  const vkey = vkeyOf(origin, signer);
  const seen = parts.lastSeen?.(origin);
  const missing = await missingCheckpoints([seen, record?.note], { storage, edge });
  const seenIsLost = seen !== undefined && missing.includes(seen);
  if (parts.evidence !== undefined) {
    const keys = [...state.logKeys.map((each) => each.key), parseVerifierKey(vkey)];
    const distinct = [...new Map(keys.map((key) => [key.vkey, key])).values()];
    const shown = await lostCheckpoint(parts.evidence, { origin, keys: distinct, storage, edge });
    if (shown !== null) missing.push(shown);
  }
  if (missing.length > 0) lost.unshift("database");
  if (lost.length === 0)
    throw new ConflictError(
      "already-exists",
      "nothing is lost: the key is in force and the lock store agrees with the ledger",
    );
  const trusted = largest(missing) ?? (await storage.latestCheckpoint())?.note ?? null;
  const unsigned: Event = {
    action: "ledger.recovered",
    payload: { checkpoint: trusted, lockStoreId, logKeys: [vkey], lost, reason },
  };
  const key = parseVerifierKey(vkey);
  const message = keyEventMessage({
    origin,
    action: "ledger.recovered",
    index: edge.size,
    previous: edge.lastLeaf,
    event: unsigned,
  });
  const signature = encodeBase64(await signer.sign(encodeUtf8(message)));
  const event: Event = { ...unsigned, signatures: [{ keyId: keyIdOf(spkiOfVerifierKey(key)), signature }] };
  if (record === undefined) await lockStore.create({ origin, lockStoreId });
  const index = edge.size;
  const sequencer = new Sequencer({
    storage,
    clock,
    limits,
    edge,
    genesisLeaf,
    state: () => state,
    reload: async () => {},
    committed: () => {},
  });
  const salts = new SaltPool(random);
  const submission = prepareSubmission(
    encodeEvent(event, { control: true }),
    "control",
    (count) => salts.take(count),
    commitmentHash,
  );
  const placed = await sequencer.exclusive({ ids: [], idDigests: [], indexes: [] }, (_view, fork) => {
    if (fork.size !== index) return undefined;
    const { appended, batch } = sequencer.placeAlone(submission, fork);
    return { batch, result: appended };
  });
  if (placed === undefined)
    throw new UnavailableError("storage-busy", "somebody else appended meanwhile; nothing was recovered");
  const { size } = sequencer.edge;
  const text = formatCheckpoint({ origin, size, root: await sequencer.edge.root(storage) });
  const line = await signNote(text, origin, signer, { time: Math.floor(clock.now() / 1_000) });
  const note = formatNote(text, [line]);
  await lockStore.replace(origin, record?.note ?? null, note);
  await storage.putCheckpoint({ size, note });
  const policy = policyOf((await loadState(storage)).state, genesisLeaf, kept);
  return { index, origin, genesis: genesisLeaf, policy, lost, checkpoint: trusted, seenIsLost };
}

/** Those of the notes that the ledger does not contain. */
async function missingCheckpoints(
  notes: readonly (string | null | undefined)[],
  ledger: { readonly storage: LedgerStorage; readonly edge: RightEdge },
): Promise<string[]> {
  const missing: string[] = [];
  for (const note of notes) {
    const head = note == null ? null : headOfNote(note);
    if (note != null && head !== null && !(await isContained(head, ledger))) missing.push(note);
  }
  return missing;
}

/** The first of the largest. */
function largest(notes: readonly string[]): string | undefined {
  const sizeOf = (note: string): number => headOfNote(note)?.size ?? 0;
  return notes.reduce<string | undefined>(
    (best, note) => (best === undefined || sizeOf(note) > sizeOf(best) ? note : best),
    undefined,
  );
}
