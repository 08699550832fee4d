import { channel } from "node:diagnostics_channel";
import { type Checkpoint, formatCheckpoint, parseCheckpoint } from "../core/checkpoint.ts";
import { bytesEqual, encodeHex } from "../core/encoding.ts";
import { leafHashHex } from "../core/entry.ts";
import { FatalError, isTallystickError, UnavailableError, VerificationError } from "../core/errors.ts";
import { manifestMessage } from "../core/evidence-package.ts";
import { isInForce, type LedgerState, type LogKey } from "../core/ledger-state.ts";
import { TILE_WIDTH } from "../core/limits.ts";
import { formatNote, formatSignatureLine, noteKeyId, parseNote, signNote, verifyNote } from "../core/note.ts";
import type { Clock } from "./clock.ts";
import type { LockRecord, LockStore } from "./lock-store.ts";
import { RightEdge, refuseDamagedTiles } from "./right-edge.ts";
import type { Signer } from "./signer.ts";
import type { LedgerStorage } from "./storage.ts";

const checkpointChannel = channel("tallystick:checkpoint");

/** Entries re-read and re-hashed before each signature; older ones were checked before earlier signatures or by verify. */
const RECHECK_ENTRIES_MAX = 4_096;
const HASH_BYTES = 32;

export interface CheckpointerParts {
  readonly origin: string;
  readonly storage: LedgerStorage;
  readonly lockStore: LockStore;
  readonly signers: readonly Signer[];
  readonly clock: Clock;
  readonly everyMs: number;
  readonly edge: () => RightEdge;
  readonly state: () => LedgerState;
  /** Must pass before anything is signed; asked at each attempt. */
  readonly gate: () => Promise<void>;
  /** Called after every release. */
  readonly released: () => void;
}

/** Errors: `rolled-back`, `forked` when the store does not contain the history that was signed; `storage-corrupt` for its tiles. */
async function requireContained(signed: Checkpoint, edge: RightEdge, storage: LedgerStorage): Promise<void> {
  const { size } = signed;
  if (size > edge.size) {
    const message = `the ledger was rolled back while it was open: it has ${edge.size} entries, and the lock store holds size ${size}`;
    throw new VerificationError("rolled-back", message, {
      details: { expected: size, found: edge.size, what: "ledger" },
    });
  }
  const root = await edge.root(storage, size);
  if (bytesEqual(root, signed.root)) return;
  await refuseDamagedTiles(storage, signed);
  const details = { size, expected: encodeHex(signed.root), found: encodeHex(root) };
  throw new VerificationError("forked", `the lock store holds a checkpoint of size ${size} of another history`, {
    details,
  });
}

export interface SignedCheckpoint {
  readonly size: number;
  readonly note: string;
}

/**
 * Signs the head of the ledger at its own cadence, never on the write path. A checkpoint is signed, then put through the
 * lock store, and only what won there is released: crash before the lock store and the checkpoint never existed;
 * crash after it and before the database copy, and the next open finds it in the lock store.
 */
export class Checkpointer {
  /** Latest released checkpoint. */
  latest: SignedCheckpoint | null = null;
  /** Why the last attempt failed, for `stats` and for the next caller that waits. */
  failure: unknown = null;
  private readonly parts: CheckpointerParts;
  private signers: readonly Signer[];
  private cancelTimer: (() => void) | null = null;
  private running: Promise<SignedCheckpoint> | null = null;

  constructor(parts: CheckpointerParts) {
    this.parts = parts;
    this.signers = parts.signers;
  }

  get canSign(): boolean {
    return this.signers.length > 0;
  }

  /** One more signer of checkpoints, from when its key is in force; those whose keys no longer are stop by themselves. */
  addSigner(signer: Signer): void {
    this.signers = [...this.signers, signer];
  }

  /** Makes sure that a checkpoint follows within the cadence. */
  schedule(): void {
    if (this.cancelTimer !== null || !this.canSign) return;
    this.cancelTimer = this.parts.clock.after(this.parts.everyMs, () => {
      this.cancelTimer = null;
      this.sign().catch((error: unknown) => {
        // Kept and reported by the next call that needs a checkpoint; appends stay durable meanwhile.
        this.failure = error;
        this.schedule();
      });
    });
  }

  stop(): void {
    this.cancelTimer?.();
    this.cancelTimer = null;
  }

  /** A released checkpoint of at least the size that the ledger has now. */
  async sign(): Promise<SignedCheckpoint> {
    const wanted = this.parts.edge().size;
    for (;;) {
      if (this.latest !== null && this.latest.size >= wanted) return this.latest;
      this.running ??= this.signOnce().finally(() => {
        this.running = null;
      });
      await this.running;
    }
  }

  /**
   * Signers that sign the next checkpoint: those whose key is in force, and a retired one as long as no checkpoint covers
   * its rotation, so that a reader who pinned the old key can derive the new one from what the old key signed.
   */
  private signersNow(): readonly Signer[] {
    const covered = this.latest?.size ?? 0;
    const known = (signer: Signer): LogKey | undefined =>
      this.parts.state().logKeys.find((key) => bytesEqual(key.key.publicKey, signer.publicKey));
    const inForce = this.signers.filter((signer) => isInForce(known(signer)));
    if (inForce.length === 0) {
      throw new UnavailableError(
        "key-lost",
        "this process holds no log key in force: it was rotated or revoked elsewhere; open the ledger again with the new key",
      );
    }
    return this.signers.filter(
      (signer) =>
        inForce.includes(signer) || (known(signer)?.maxSize === null && (known(signer)?.retiredAt ?? -1) >= covered),
    );
  }

  private async signOnce(): Promise<SignedCheckpoint> {
    await this.parts.gate();
    const { origin, storage, lockStore } = this.parts;
    const edge = this.parts.edge().fork();
    const { size } = edge;
    if (size === 0) throw new FatalError("invariant-broken", "an empty ledger is never signed");
    await this.recheckTail(edge);
    const root = await edge.root(storage);
    const signers = this.signersNow();
    for (;;) {
      const record = await this.fetchRecord();
      const before = record.note === null ? null : parseCheckpoint(parseNote(record.note).text);
      if (before !== null) {
        // Another process may be ahead of us, but never of the store: what it signed must be there.
        const known = before.size > size ? await RightEdge.load(storage) : edge;
        await requireContained(before, known, storage);
        if (before.size >= size) return this.adopt(record.note ?? "", before.size);
      }
      const note = await this.signHead(size, root, signers);
      try {
        await lockStore.replace(origin, record.note, note);
      } catch (error) {
        if (isTallystickError(error) && error.code === "lock-moved") continue;
        throw error;
      }
      return this.release({ size, note });
    }
  }

  private async fetchRecord(): Promise<LockRecord> {
    const { origin, lockStore } = this.parts;
    const record = await lockStore.fetch(origin);
    if (record === undefined)
      throw new UnavailableError(
        "lock-store-lost",
        `the lock store has no record of ${origin}; a non-empty ledger without one is never taken for new`,
      );
    if (record.lockStoreId !== this.parts.state().lockStoreId) {
      throw new UnavailableError(
        "lock-store-lost",
        `the lock store is not the one that the ledger names (${this.parts.state().lockStoreId}): it holds ${record.lockStoreId}`,
      );
    }
    return record;
  }

  private async signHead(size: number, root: Uint8Array, signers: readonly Signer[]): Promise<string> {
    const { origin } = this.parts;
    const text = formatCheckpoint({ origin, size, root });
    const time = Math.floor(this.parts.clock.now() / 1_000);
    const lines: string[] = [];
    // Ed25519 first (also in the alphabet): it is the part that anchors cover and that every C2SP tool reads.
    const ordered = [...signers].sort((a, b) => (a.algorithm < b.algorithm ? -1 : a.algorithm > b.algorithm ? 1 : 0));
    for (const signer of ordered) lines.push(await signNote(text, origin, signer, { time }));
    return formatNote(text, lines);
  }

  /** Error: `key-lost` without a log key in force. */
  requireSigner(): void {
    if (!this.canSign)
      throw new UnavailableError("key-lost", "the ledger was opened without a log key, so nothing can be signed");
    this.signersNow();
  }

  /** Lines of `manifest.sig` by every log key in force: spec/evidence-package.md 9. Errors: `key-lost`, `signer-unavailable`. */
  async signManifest(manifest: Uint8Array): Promise<string> {
    const { origin } = this.parts;
    const message = manifestMessage(origin, manifest);
    const lines: string[] = [];
    for (const signer of this.signersNow()) {
      const signature = await signer.sign(message);
      const keyId = noteKeyId(origin, signer.algorithm === "ed25519" ? 1 : 6, signer.publicKey);
      lines.push(formatSignatureLine(origin, keyId, signature));
    }
    return lines.join("");
  }

  /** Another process released a checkpoint that covers ours. */
  private async adopt(note: string, size: number): Promise<SignedCheckpoint> {
    const keys = this.parts.state().logKeys.map((known) => known.key);
    await verifyNote(parseNote(note), keys);
    return this.release({ size, note });
  }

  private async release(checkpoint: SignedCheckpoint): Promise<SignedCheckpoint> {
    this.failure = null;
    if (this.latest === null || this.latest.size <= checkpoint.size) this.latest = checkpoint;
    const { size } = parseCheckpoint(parseNote(checkpoint.note).text);
    if (size <= this.parts.edge().size) await this.parts.storage.putCheckpoint(checkpoint);
    if (checkpointChannel.hasSubscribers) checkpointChannel.publish({ size: checkpoint.size });
    this.parts.released();
    return checkpoint;
  }

  /**
   * Reads back what is about to be signed for the first time and hashes the stored bytes again: a bit that flipped between
   * hashing and storing must not end under a signature.
   */
  private async recheckTail(edge: RightEdge): Promise<void> {
    const from = Math.max(this.latest?.size ?? 0, edge.size - RECHECK_ENTRIES_MAX);
    const read = edge.tileReader(this.parts.storage);
    for (let tile = Math.floor(from / TILE_WIDTH); tile * TILE_WIDTH < edge.size; tile++) {
      const first = tile * TILE_WIDTH;
      const end = Math.min(edge.size, first + TILE_WIDTH);
      const hashes = await read(0, tile, end - first);
      const entries = await this.parts.storage.readEntryTexts(first, end);
      if (entries.length !== end - first)
        throw new FatalError(
          "invariant-broken",
          `entries between ${first} and ${end - 1} are missing in the store; not signing`,
        );
      for (const [i, entry] of entries.entries()) {
        const index = first + i;
        const expected = encodeHex(hashes.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES));
        const found = leafHashHex(entry);
        if (found !== expected) {
          throw new FatalError(
            "invariant-broken",
            `entry ${index} was stored with other bytes than were hashed; not signing`,
            { details: { index, expected, found } },
          );
        }
      }
    }
  }
}
