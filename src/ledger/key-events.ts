import type { AuthorSigner } from "../core/author-signature.ts";
import { keyEventMessage } from "../core/control-event.ts";
import { bytesEqual, encodeBase64, encodeUtf8 } from "../core/encoding.ts";
import { ConflictError, PolicyError, UnavailableError } from "../core/errors.ts";
import type { Event, JsonObject } from "../core/event.ts";
import { isInForce, type LedgerState } from "../core/ledger-state.ts";
import { parseVerifierKey, spkiOfVerifierKey } from "../core/note.ts";
import { keyIdOf } from "../core/signature/table.ts";
import type { Checkpointer } from "./checkpointer.ts";
import { rulesOf, vkeyOf } from "./genesis.ts";
import type { Appended } from "./placement.ts";
import type { Sequencer } from "./sequencer.ts";
import type { Signer } from "./signer.ts";
import type { Submission } from "./submission.ts";

export interface KeyEventsParts {
  readonly origin: string;
  readonly sequencer: Sequencer;
  readonly checkpointer: Checkpointer;
  readonly state: () => LedgerState;
  readonly submission: (event: Event) => Submission;
  readonly signers: readonly Signer[];
  readonly requireWritable: () => void;
}

/** Anything that signs a message under a key id: log signers and author signers alike. */
interface EventSigner {
  readonly keyId: string;
  sign(message: Uint8Array): Promise<Uint8Array>;
}

/** A signed event names its own index and link; when another process takes the place, it is signed again. */
const PLACE_TRIES_MAX = 100;

/** The control events that manage keys, rules and holds. Each resolves once it is durable. */
export class KeyEvents {
  private readonly parts: KeyEventsParts;
  private logSigners: readonly Signer[];

  constructor(parts: KeyEventsParts) {
    this.parts = parts;
    this.logSigners = parts.signers;
  }

  /**
   * Replaces the log key `old` (default: the only one of the new key's algorithm) by `next`. The event is signed by both, and
   * one checkpoint over it too, so that a reader who pinned the old key can derive the new one. Errors: `key-role`, `key-lost`.
   */
  async rotate(next: Signer): Promise<Appended> {
    this.parts.requireWritable();
    const { origin, checkpointer } = this.parts;
    // Retired keys stay in hand for a while; only one in force can be rotated.
    const old = this.logSigners.find((signer) => signer.algorithm === next.algorithm && this.isInForce(signer));
    if (old === undefined)
      throw new PolicyError("key-role", `this process holds no ${next.algorithm} log key in force to rotate`);
    const vkey = vkeyOf(origin, next);
    const payload = { new: vkey, old: vkeyOf(origin, old), role: "log" };
    checkpointer.addSigner(next);
    const signers = [logEventSigner(origin, old), logEventSigner(origin, next)];
    const appended = await this.appendSigned("ledger.key.rotated", payload, signers, () => {
      this.requireInForce(old);
      this.requireFreshKey(vkey);
    });
    this.logSigners = [next, ...this.logSigners.filter((signer) => signer !== old)];
    await checkpointer.sign();
    return appended;
  }

  /** Adds a log key beside the present ones, for example ML-DSA-44 beside Ed25519. */
  async addLogKey(next: Signer): Promise<Appended> {
    this.parts.requireWritable();
    const { origin, checkpointer } = this.parts;
    const vkey = vkeyOf(origin, next);
    const voucher = this.voucher();
    const signers = [logEventSigner(origin, voucher), logEventSigner(origin, next)];
    const appended = await this.appendSigned("ledger.key.added", { role: "log", vkey }, signers, () => {
      this.requireInForce(voucher);
      this.requireFreshKey(vkey);
    });
    this.logSigners = [...this.logSigners, next];
    checkpointer.addSigner(next);
    await checkpointer.sign();
    return appended;
  }

  /** Disowns a log key for checkpoints larger than `validUntilSize`. The last key in force cannot be revoked: rotate first. */
  async revokeLogKey(
    vkey: string,
    options: { readonly validUntilSize: number; readonly reason: string },
  ): Promise<Appended> {
    this.parts.requireWritable();
    const { origin } = this.parts;
    const requireRevocable = (): void => {
      const { logKeys } = this.parts.state();
      if (!logKeys.some((key) => key.key.vkey === vkey))
        throw new PolicyError("key-role", "this ledger has no such log key");
      if (logKeys.filter(isInForce).every((key) => key.key.vkey === vkey))
        throw new PolicyError("key-role", "the last log key in force cannot be revoked; rotate to a new one first");
    };
    requireRevocable();
    const held = this.logSigners.filter((signer) => vkeyOf(origin, signer) !== vkey);
    const voucher = this.voucher(held);
    const payload = { reason: options.reason, role: "log", validUntilSize: options.validUntilSize, vkey };
    const appended = await this.appendSigned("ledger.key.revoked", payload, [logEventSigner(origin, voucher)], () => {
      requireRevocable();
      this.requireInForce(voucher);
    });
    this.logSigners = this.logSigners.filter((signer) => vkeyOf(origin, signer) !== vkey);
    return appended;
  }

  /** Registers an author key for `actor`: from the next entry on its signatures count. Errors: `already-exists`, `key-role`. */
  async addAuthor(author: AuthorSigner, actor: string): Promise<Appended> {
    this.parts.requireWritable();
    const voucher = this.voucher();
    const payload = { actor, algorithm: author.algorithm, role: "author", spki: encodeBase64(author.spki) };
    const signers = [logEventSigner(this.parts.origin, voucher), author];
    return this.appendSigned("ledger.key.added", payload, signers, () => {
      const { authors, logKeys } = this.parts.state();
      if (authors.has(author.keyId))
        throw new ConflictError("already-exists", "this author key was registered before", {
          details: { keyId: author.keyId },
        });
      if (logKeys.some((known) => keyIdOf(spkiOfVerifierKey(known.key)) === author.keyId))
        throw new PolicyError("key-role", "a log key cannot be an author key");
      this.requireInForce(voucher);
    });
  }

  /** Ends an author key: signatures by it on later entries do not count. */
  async revokeAuthor(keyId: string, reason: string): Promise<Appended> {
    this.parts.requireWritable();
    const voucher = this.voucher();
    const signers = [logEventSigner(this.parts.origin, voucher)];
    return this.appendSigned("ledger.key.revoked", { keyId, reason, role: "author" }, signers, () => {
      const known = this.parts.state().authors.get(keyId);
      if (known === undefined || known.untilIndex !== null)
        throw new PolicyError("key-role", "no author key with this id is in force", { details: { keyId } });
      this.requireInForce(voucher);
    });
  }

  /** Forbids erasure of entries `first` to `last` until released. */
  async placeHold(
    hold: string,
    options: { readonly first: number; readonly last: number; readonly reason: string; readonly basis?: string },
  ): Promise<Appended> {
    this.parts.requireWritable();
    const { first, last, reason, basis } = options;
    const payload = { first, hold, last, reason, ...(basis === undefined ? {} : { basis }) };
    return this.appendSigned("ledger.hold.placed", payload, [], () => {
      if (this.parts.state().holds.some((known) => known.hold === hold))
        throw new ConflictError("already-exists", `a hold ${JSON.stringify(hold)} was placed before`);
    });
  }

  async releaseHold(hold: string, reason: string): Promise<Appended> {
    this.parts.requireWritable();
    return this.appendSigned("ledger.hold.released", { hold, reason }, [], () => {
      if (!this.parts.state().holds.some((known) => known.hold === hold && known.releasedAt === null))
        throw new PolicyError("held", `no hold ${JSON.stringify(hold)} is in force`);
    });
  }

  /** Changes the rules from the next entry on; they can only grow stricter. Errors: `signature-required` for a weakening. */
  async changeRules(rules: {
    readonly requireSignature: boolean;
    /** Kinds of anchors of which one makes an entry `anchored`; those of before when left out. */
    readonly anchors?: readonly string[];
    readonly scheme?: "event" | "fields";
  }): Promise<Appended> {
    this.parts.requireWritable();
    const { requireSignature, scheme } = rules;
    const anchors = rules.anchors ?? this.parts.state().rules.at(-1)?.anchors;
    const payload = { rules: rulesOf({ requireSignature, anchors }), ...(scheme === undefined ? {} : { scheme }) };
    return this.appendSigned("ledger.rules.changed", payload, [], () => {
      if (requireSignature || this.parts.state().rules.at(-1)?.requireSignature !== true) return;
      throw new PolicyError(
        "signature-required",
        "requireSignature cannot be switched off inside a ledger: every reader would take it for tampering; begin a new ledger",
      );
    });
  }

  private isInForce(signer: Signer): boolean {
    const inForce = this.parts.state().logKeys.filter(isInForce);
    return inForce.some((known) => bytesEqual(known.key.publicKey, signer.publicKey));
  }

  private requireInForce(signer: Signer): void {
    if (this.isInForce(signer)) return;
    throw new PolicyError("key-role", "the log key that signs was rotated or revoked meanwhile; nothing was written");
  }

  private requireFreshKey(vkey: string): void {
    const fresh = parseVerifierKey(vkey);
    for (const { key } of this.parts.state().logKeys) {
      if (bytesEqual(key.publicKey, fresh.publicKey))
        throw new ConflictError("already-exists", "this log key was used before; a key is never taken up again");
      if (key.keyId === fresh.keyId)
        throw new PolicyError("key-role", "the key ID collides with an earlier log key; make another key");
    }
    if (this.parts.state().authors.has(keyIdOf(spkiOfVerifierKey(fresh))))
      throw new PolicyError("key-role", "an author key cannot be a log key");
  }

  /** The first log key in force that this process holds. */
  private voucher(among: readonly Signer[] = this.logSigners): Signer {
    const signer = among.find((held) => this.isInForce(held));
    if (signer === undefined) throw new PolicyError("key-role", "this process holds no log key in force");
    return signer;
  }

  /**
   * Appends a control event, signed for its place where it has signers. `check` refuses what no verifier would accept; it
   * counts under the lock, where the state is that of the place: what another call or process did in between is seen.
   */
  private async appendSigned(
    action: string,
    payload: JsonObject,
    signers: readonly EventSigner[],
    check: () => void,
  ): Promise<Appended> {
    const { sequencer, origin } = this.parts;
    check();
    for (let tries = 0; tries < PLACE_TRIES_MAX; tries++) {
      const { size: index, lastLeaf: previous } = sequencer.edge;
      const unsigned: Event = { action, payload };
      const message = encodeUtf8(keyEventMessage({ origin, action, index, previous, event: unsigned }));
      const signatures: { keyId: string; signature: string }[] = [];
      for (const signer of signers)
        signatures.push({ keyId: signer.keyId, signature: encodeBase64(await signer.sign(message)) });
      const submission = this.parts.submission(signers.length === 0 ? unsigned : { ...unsigned, signatures });
      const placed = await sequencer.exclusive({ ids: [], idDigests: [], indexes: [] }, (_view, edge) => {
        check();
        if (signers.length > 0 && (edge.size !== index || edge.lastLeaf !== previous)) return undefined;
        const { appended, batch } = sequencer.placeAlone(submission, edge);
        return { batch, result: appended };
      });
      if (placed !== undefined) return placed;
    }
    throw new UnavailableError(
      "storage-busy",
      `${action}: other writers took the place ${PLACE_TRIES_MAX} times; nothing was written`,
    );
  }
}

function logEventSigner(origin: string, signer: Signer): EventSigner {
  const spki = spkiOfVerifierKey(parseVerifierKey(vkeyOf(origin, signer)));
  return { keyId: keyIdOf(spki), sign: (message) => signer.sign(message) };
}
