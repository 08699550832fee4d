import type { AuthorSigner } from "../core/author-signature.ts";
import { keyEventMessage } from "../core/control-event.ts";
import { bytesEqual, encodeBase64, encodeUtf8 } from "../core/encoding.ts";
import { ConflictError, PolicyError, UnavailableError } from "../core/errors.ts";
import type { Event, JsonObject } from "../core/event.ts";
import { isInForce, type LedgerState } from "../core/ledger-state.ts";
import { parseVerifierKey, spkiOfVerifierKey } from "../core/note.ts";
import { keyIdOf } from "../core/signature/table.ts";
import type { Checkpointer } from "./checkpointer.ts";
import { vkeyOf } from "./genesis.ts";
import type { Appended, Sequencer, Submission } from "./sequencer.ts";
import type { Signer } from "./signer.ts";

export interface KeyEventsParts {
  readonly origin: string;
  readonly sequencer: Sequencer;
  readonly checkpointer: Checkpointer;
  readonly state: () => LedgerState;
  readonly reload: () => Promise<void>;
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
    const old = this.logSigners.find((signer) => signer.algorithm === next.algorithm);
    if (old === undefined)
      throw new PolicyError("key-role", `this process holds no ${next.algorithm} log key to rotate`);
    const vkey = vkeyOf(origin, next);
    this.requireFreshKey(vkey);
    const payload = { new: vkey, old: vkeyOf(origin, old), role: "log" };
    checkpointer.replaceSigners([...this.logSigners, next]);
    const appended = await this.appendSigned("ledger.key.rotated", payload, [
      logEventSigner(origin, old),
      logEventSigner(origin, next),
    ]);
    this.logSigners = [next, ...this.logSigners.filter((signer) => signer !== old)];
    await checkpointer.sign();
    return appended;
  }

  /** Adds a log key beside the present ones, for example ML-DSA-44 beside Ed25519. */
  async addLogKey(next: Signer): Promise<Appended> {
    this.parts.requireWritable();
    const { origin, checkpointer } = this.parts;
    const vkey = vkeyOf(origin, next);
    this.requireFreshKey(vkey);
    const appended = await this.appendSigned("ledger.key.added", { role: "log", vkey }, [
      this.voucher(),
      logEventSigner(origin, next),
    ]);
    this.logSigners = [...this.logSigners, next];
    checkpointer.replaceSigners(this.logSigners);
    await checkpointer.sign();
    return appended;
  }

  /** Disowns a log key for checkpoints larger than `validUntilSize`. The last key in force cannot be revoked: rotate first. */
  async revokeLogKey(
    vkey: string,
    options: { readonly validUntilSize: number; readonly reason: string },
  ): Promise<Appended> {
    this.parts.requireWritable();
    const known = this.parts.state().logKeys.find((key) => key.key.vkey === vkey);
    if (known === undefined) throw new PolicyError("key-role", "this ledger has no such log key");
    const inForce = this.parts.state().logKeys.filter(isInForce);
    if (inForce.every((key) => key.key.vkey === vkey))
      throw new PolicyError("key-role", "the last log key in force cannot be revoked; rotate to a new one first");
    const held = this.logSigners.filter((signer) => vkeyOf(this.parts.origin, signer) !== vkey);
    const payload = { reason: options.reason, role: "log", validUntilSize: options.validUntilSize, vkey };
    const appended = await this.appendSigned("ledger.key.revoked", payload, [this.voucher(held)]);
    this.logSigners = held;
    this.parts.checkpointer.replaceSigners(held);
    return appended;
  }

  /** Registers an author key for `actor`: from the next entry on its signatures count. Errors: `already-exists`, `key-role`. */
  async addAuthor(author: AuthorSigner, actor: string): Promise<Appended> {
    this.parts.requireWritable();
    if (this.parts.state().authors.has(author.keyId))
      throw new ConflictError("already-exists", "this author key was registered before", {
        details: { keyId: author.keyId },
      });
    if (this.parts.state().logKeys.some((known) => keyIdOf(spkiOfVerifierKey(known.key)) === author.keyId)) {
      throw new PolicyError("key-role", "a log key cannot be an author key");
    }
    const payload = { actor, algorithm: author.algorithm, role: "author", spki: encodeBase64(author.spki) };
    return this.appendSigned("ledger.key.added", payload, [this.voucher(), author]);
  }

  /** Ends an author key: signatures by it on later entries do not count. */
  async revokeAuthor(keyId: string, reason: string): Promise<Appended> {
    this.parts.requireWritable();
    const known = this.parts.state().authors.get(keyId);
    if (known === undefined || known.untilIndex !== null)
      throw new PolicyError("key-role", "no author key with this id is in force", { details: { keyId } });
    return this.appendSigned("ledger.key.revoked", { keyId, reason, role: "author" }, [this.voucher()]);
  }

  /** Forbids erasure of entries `first` to `last` until released. */
  placeHold(
    hold: string,
    options: { readonly first: number; readonly last: number; readonly reason: string; readonly basis?: string },
  ): Promise<Appended> {
    this.parts.requireWritable();
    if (this.parts.state().holds.some((known) => known.hold === hold))
      throw new ConflictError("already-exists", `a hold ${JSON.stringify(hold)} was placed before`);
    const { first, last, reason, basis } = options;
    return this.appendPlain("ledger.hold.placed", {
      first,
      hold,
      last,
      reason,
      ...(basis === undefined ? {} : { basis }),
    });
  }

  releaseHold(hold: string, reason: string): Promise<Appended> {
    this.parts.requireWritable();
    if (!this.parts.state().holds.some((known) => known.hold === hold && known.releasedAt === null)) {
      throw new PolicyError("held", `no hold ${JSON.stringify(hold)} is in force`);
    }
    return this.appendPlain("ledger.hold.released", { hold, reason });
  }

  /** Changes the rules from the next entry on; they can only grow stricter. Errors: `signature-required` for a weakening. */
  changeRules(rules: { readonly requireSignature: boolean; readonly scheme?: "event" | "fields" }): Promise<Appended> {
    this.parts.requireWritable();
    const { requireSignature, scheme } = rules;
    if (!requireSignature && this.parts.state().rules.at(-1)?.requireSignature === true) {
      throw new PolicyError(
        "signature-required",
        "requireSignature cannot be switched off inside a ledger: every reader would take it for tampering; begin a new ledger",
      );
    }
    return this.appendPlain("ledger.rules.changed", {
      rules: { requireSignature },
      ...(scheme === undefined ? {} : { scheme }),
    });
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
  private voucher(among: readonly Signer[] = this.logSigners): EventSigner {
    const inForce = this.parts.state().logKeys.filter(isInForce);
    const signer = among.find((held) => inForce.some((key) => bytesEqual(key.key.publicKey, held.publicKey)));
    if (signer === undefined) throw new PolicyError("key-role", "this process holds no log key in force");
    return logEventSigner(this.parts.origin, signer);
  }

  private appendPlain(action: string, payload: JsonObject): Promise<Appended> {
    return this.appendSigned(action, payload, []);
  }

  private async appendSigned(action: string, payload: JsonObject, signers: readonly EventSigner[]): Promise<Appended> {
    const { sequencer, origin, reload } = this.parts;
    for (let tries = 0; tries < PLACE_TRIES_MAX; tries++) {
      const { size: index, lastLeaf: previous } = sequencer.edge;
      const unsigned: Event = { action, payload };
      const message = encodeUtf8(keyEventMessage({ origin, action, index, previous, event: unsigned }));
      const signatures: { keyId: string; signature: string }[] = [];
      for (const signer of signers)
        signatures.push({ keyId: signer.keyId, signature: encodeBase64(await signer.sign(message)) });
      const submission = this.parts.submission(signers.length === 0 ? unsigned : { ...unsigned, signatures });
      const placed = await sequencer.exclusive({ ids: [], idDigests: [], indexes: [] }, (_view, edge) => {
        if (signers.length > 0 && (edge.size !== index || edge.lastLeaf !== previous)) return undefined;
        const { appended, batch } = sequencer.placeAlone(submission, edge);
        return { batch, result: appended };
      });
      if (placed !== undefined) {
        await reload();
        return placed;
      }
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
