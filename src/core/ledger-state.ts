import {
  type AnchorPayload,
  type ControlEvent,
  type GenesisPayload,
  keyEventMessage,
  type Rules,
} from "./control-event.ts";
import { bytesEqual, decodeBase64, encodeUtf8 } from "./encoding.ts";
import type { Entry, Scheme } from "./entry.ts";
import { type ErasureClaim, effectOf } from "./erasure.ts";
import { isTallystickError } from "./errors.ts";
import type { Event } from "./event.ts";
import type { HashName } from "./hash.ts";
import { algorithmOfVerifierKey, parseVerifierKey, spkiOfVerifierKey, type VerifierKey } from "./note.ts";
import type { Finding } from "./report.ts";
import { keyIdOf, verifySignature } from "./signature/table.ts";

/**
 * What the control events of a ledger amount to: its keys, rules, authors, erasures and holds. Replayed from the
 * committed events alone, by the engine at open and by every verifier. Source: spec/control-events.md, spec/keys.md.
 */
export interface LedgerState {
  readonly genesis: GenesisFacts;
  /** Scheme of new entries. */
  readonly scheme: Scheme;
  /** Ascending by `fromIndex`; the last one holds now. */
  readonly rules: readonly LedgerRules[];
  readonly logKeys: readonly LogKey[];
  /** Smallest `validUntilSize` of each revoked log key, by vkey; a policy may name one that the ledger never introduced. */
  readonly revocations: ReadonlyMap<string, number>;
  /** Every registration, by author key id. */
  readonly authors: ReadonlyMap<string, AuthorRegistration>;
  /** Erased entries: by whom, and which fields (null = the whole body). */
  readonly erasures: ReadonlyMap<number, ErasedEntry>;
  readonly holds: readonly Hold[];
  /** Anchors in the order of their events; the bytes that these name are not part of the tree. */
  readonly anchors: readonly AnchorEvent[];
  /** SHA-256 of key id and event id of erased signed events → erasure index. */
  readonly erasedSignedIds: ReadonlyMap<string, number>;
  /** Lock store that a signer must use now. */
  readonly lockStoreId: string;
  /** Index of `ledger.epoch.sealed`, if any. */
  readonly sealedAt: number | null;
  /** Indexes of `ledger.recovered` events that replaced the log keys without the old one. */
  readonly continuityBrokenAt: readonly number[];
  /** What each `ledger.recovered` event says was lost. */
  readonly recoveries: readonly Recovery[];
}

export interface Recovery {
  readonly index: number;
  readonly lost: readonly ("database" | "key" | "lock-store")[];
  /** Note of the last checkpoint that was known before it; with `database` among what was lost, one that the ledger does not contain. */
  readonly checkpoint: string | null;
}

export interface GenesisFacts {
  readonly origin: string;
  readonly commitmentHash: HashName;
  readonly scheme: Scheme;
  readonly eventBytes: number;
  readonly lockStoreId: string;
  readonly logKeys: readonly string[];
  readonly predecessor: { readonly origin: string; readonly size: number; readonly root: string } | null;
}

export interface LedgerRules extends Rules {
  readonly fromIndex: number;
}

export interface LogKey {
  readonly key: VerifierKey;
  /** Valid for checkpoints of at least this size. */
  readonly minSize: number;
  /** A revocation's `validUntilSize`; null while not revoked. */
  readonly maxSize: number | null;
  /** `genesis`, or how the ledger introduced it: the reader reports this. */
  readonly introduced: "genesis" | "added" | "rotated" | "recovered";
  readonly introducedAt: number;
  /** Key that vouched for it (rotation or addition), as vkey. */
  readonly vouchedBy: string | null;
  /** Replaced by rotation at this index; still authentic, no longer used. */
  readonly retiredAt: number | null;
}

/** Neither retired by a rotation or recovery nor revoked. */
export function isInForce(key: LogKey | undefined): boolean {
  return key !== undefined && key.retiredAt === null && key.maxSize === null;
}

export interface AuthorRegistration {
  readonly algorithm: string;
  readonly spki: Uint8Array;
  readonly keyId: string;
  readonly actor: string;
  readonly fromIndex: number;
  readonly untilIndex: number | null;
}

/** What erasures say of one entry; whether they name it rightly is judged where the entry is (`judgeErasure`). */
export interface ErasedEntry {
  readonly claims: readonly ErasureClaim[];
  /** Erasure that removed the whole body; null if only fields. */
  readonly wholeBy: number | null;
  /** Field name → erasure index. */
  readonly fields: ReadonlyMap<string, number>;
  readonly idGuard: string | null;
}

export interface Hold {
  readonly hold: string;
  readonly first: number;
  readonly last: number;
  readonly placedAt: number;
  readonly releasedAt: number | null;
}

export interface AnchorEvent extends AnchorPayload {
  /** Leaf index of the event, and its time. */
  readonly index: number;
  readonly time: string;
}

/** One control entry as replay sees it: already parsed and committed. */
export interface ControlEntry {
  readonly index: number;
  readonly entry: Entry;
  readonly leaf: string;
  readonly event: Event;
  readonly control: ControlEvent;
}

export interface Replay {
  /** Null without a genesis. */
  readonly state: LedgerState | null;
  readonly erasures: LedgerState["erasures"];
  readonly sealedAt: number | null;
  readonly findings: readonly Finding[];
}

export interface ReplayOptions {
  /** A genesis that was verified apart from the events; `null`: none can be relied upon, so keys and rules say nothing. */
  readonly genesis?: GenesisPayload | null;
  /** The events do not begin with entry 0: keys, rules and holds say nothing. */
  readonly partial?: boolean;
  /** `false`: signatures of key events are not looked at, so keys say nothing. */
  readonly keys?: boolean;
}

/**
 * Replays control events in index order; the first must be genesis. Findings name the events that have no effect. Whether
 * the entries that an erasure names are what it says is checked where those entries are (entry-verifier.ts).
 */
export async function replayControls(
  events: Iterable<ControlEntry> | AsyncIterable<ControlEntry>,
  options: ReplayOptions = {},
): Promise<Replay> {
  const draft = new StateDraft(options);
  for await (const event of events) await draft.apply(event);
  return draft.finish();
}

/** The usable log keys of a genesis: parsable, of a type for logs, named after the origin. Source: spec/keys.md 7. */
export function genesisLogKeys(genesis: GenesisPayload): VerifierKey[] {
  return new StateDraft({ genesis }).logKeysInForce();
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

class StateDraft {
  private readonly findings: Finding[] = [];
  private readonly options: ReplayOptions;
  private genesis: GenesisFacts | null = null;
  private scheme: Scheme = "event";
  private readonly rules: LedgerRules[] = [];
  private readonly logKeys: Mutable<LogKey>[] = [];
  private readonly authors = new Map<string, Mutable<AuthorRegistration>>();
  private readonly revocations = new Map<string, number>();
  private readonly erasures = new Map<number, ErasureClaim[]>();
  private readonly holds: Mutable<Hold>[] = [];
  private readonly holdsByName = new Map<string, Mutable<Hold>>();
  private readonly anchors: AnchorEvent[] = [];
  private readonly erasedSignedIds = new Map<string, number>();
  private lockStoreId = "";
  private sealedAt: number | null = null;
  private readonly continuityBrokenAt: number[] = [];
  private readonly recoveries: Recovery[] = [];

  constructor(options: ReplayOptions) {
    this.options = options;
    if (options.genesis != null) this.applyGenesis(options.genesis);
  }

  finish(): Replay {
    const erasures = new Map<number, ErasedEntry>();
    for (const [index, claims] of this.erasures) {
      const idGuard = claims.find((claim) => claim.idGuard !== null)?.idGuard ?? null;
      erasures.set(index, { claims, ...effectOf(claims), idGuard });
    }
    return { state: this.stateWith(erasures), erasures, sealedAt: this.sealedAt, findings: this.findings };
  }

  private stateWith(erasures: LedgerState["erasures"]): LedgerState | null {
    if (this.genesis === null) return null;
    return {
      genesis: this.genesis,
      scheme: this.scheme,
      rules: this.rules,
      logKeys: this.logKeys,
      revocations: this.revocations,
      authors: this.authors,
      erasures,
      holds: this.holds,
      anchors: this.anchors,
      erasedSignedIds: this.erasedSignedIds,
      lockStoreId: this.lockStoreId,
      sealedAt: this.sealedAt,
      continuityBrokenAt: this.continuityBrokenAt,
      recoveries: this.recoveries,
    };
  }

  async apply(at: ControlEntry): Promise<void> {
    const { control, index } = at;
    if (index === 0 && control.action !== "ledger.genesis") {
      this.report("genesis-malformed", index, "entry 0 is not a genesis");
    }
    if (index !== 0 && control.action === "ledger.genesis") {
      this.report("genesis-malformed", index, "a genesis stands after entry 0");
      return;
    }
    switch (control.action) {
      case "ledger.genesis":
        if (this.options.genesis === undefined) this.applyGenesis(control.payload);
        return;
      case "ledger.rules.changed": {
        if (!this.knowsRules) return;
        const before = this.rules.at(-1)?.requireSignature ?? false;
        if (before && !control.payload.rules.requireSignature) {
          this.report("rules-weakened", index, "requireSignature was switched off inside the ledger");
        }
        this.rules.push({ fromIndex: index + 1, ...control.payload.rules });
        if (control.payload.scheme !== undefined) this.scheme = control.payload.scheme;
        return;
      }
      case "ledger.key.added":
        return this.knowsKeys ? this.applyKeyAdded(at, control.payload) : undefined;
      case "ledger.key.rotated":
        return this.knowsKeys ? this.applyKeyRotated(at, control.payload) : undefined;
      case "ledger.key.revoked":
        return this.knowsKeys ? this.applyKeyRevoked(at, control.payload) : undefined;
      case "ledger.erasure":
        return this.applyErasure(at, control.payload);
      case "ledger.hold.placed": {
        if (this.options.partial === true) return;
        const { hold, first, last } = control.payload;
        if (this.holdsByName.has(hold))
          return this.report("control-malformed", index, "a hold of this name was placed before");
        const placed = { hold, first, last, placedAt: index, releasedAt: null };
        this.holds.push(placed);
        this.holdsByName.set(hold, placed);
        return;
      }
      case "ledger.hold.released": {
        if (this.options.partial === true) return;
        const hold = this.holdsByName.get(control.payload.hold);
        if (hold === undefined || hold.releasedAt !== null)
          return this.report("control-malformed", index, "releases a hold that is not in force");
        hold.releasedAt = index;
        return;
      }
      case "ledger.anchor":
        if (control.payload.size > index)
          this.report("control-malformed", index, "anchors a checkpoint larger than its own index");
        else this.anchors.push({ index, time: at.entry.time, ...control.payload });
        return;
      case "ledger.epoch.sealed":
        this.sealedAt ??= index;
        return;
      case "ledger.recovered":
        return this.knowsKeys ? this.applyRecovered(at, control.payload) : undefined;
    }
  }

  /** Keys and rules mean something only from a known beginning on. */
  private get knowsRules(): boolean {
    return this.genesis !== null && this.options.partial !== true;
  }

  private get knowsKeys(): boolean {
    return this.knowsRules && this.options.keys !== false;
  }

  private report(code: Finding["code"], index: number, message: string, more: Partial<Finding> = {}): void {
    this.findings.push({ code, index, message, ...more });
  }

  private applyGenesis(payload: GenesisPayload): void {
    this.genesis = {
      origin: payload.origin,
      commitmentHash: payload.commitmentHash,
      scheme: payload.scheme,
      eventBytes: payload.limits.eventBytes,
      lockStoreId: payload.lockStoreId,
      logKeys: payload.logKeys,
      predecessor: payload.predecessor ?? null,
    };
    this.scheme = payload.scheme;
    this.lockStoreId = payload.lockStoreId;
    this.rules.push({ fromIndex: 1, ...payload.rules });
    for (const key of this.usableLogKeys(payload.logKeys)) this.introduceLogKey(key, 0, "genesis", null);
    if (this.logKeys.length === 0) this.report("genesis-malformed", 0, "genesis names no usable log key");
  }

  private introduceLogKey(
    key: VerifierKey,
    at: number,
    introduced: LogKey["introduced"],
    vouchedBy: string | null,
  ): void {
    const sizeAfter = introduced === "genesis" ? 1 : at + 1;
    this.logKeys.push({
      key,
      minSize: sizeAfter,
      maxSize: null,
      introduced,
      introducedAt: at,
      vouchedBy,
      retiredAt: null,
    });
  }

  /** The log key of a vkey, or why it is unusable. Source: spec/keys.md 7. */
  private parseLogKey(vkey: string, beside: readonly VerifierKey[] = []): VerifierKey | string {
    try {
      const key = parseVerifierKey(vkey);
      if (key.name !== this.genesis?.origin) return "a log key is not named after the origin";
      if (key.type !== 1 && key.type !== 6) return "a witness key cannot be a log key";
      const isClash = (known: VerifierKey): boolean =>
        known.keyId === key.keyId && known.type === key.type && !bytesEqual(known.publicKey, key.publicKey);
      if (beside.some(isClash) || this.logKeys.some((known) => isClash(known.key)))
        return "two log keys share a name and key ID";
      return key;
    } catch (error) {
      if (!isTallystickError(error)) throw error;
      return `a log key does not parse: ${error.message}`;
    }
  }

  /** Genesis and recovery name keys together; one of a later type must not spoil the others. */
  private usableLogKeys(vkeys: readonly string[]): VerifierKey[] {
    const keys: VerifierKey[] = [];
    for (const vkey of vkeys) {
      const key = this.parseLogKey(vkey, keys);
      if (typeof key !== "string") keys.push(key);
    }
    return keys;
  }

  private isAuthor(key: VerifierKey): boolean {
    return this.authors.has(candidateOf(key).keyId);
  }

  logKeysInForce(): VerifierKey[] {
    return this.currentLogKeys().map((known) => known.key);
  }

  /** Log keys that may vouch for a key event at `index`: introduced before, neither retired nor revoked. */
  private currentLogKeys(): Mutable<LogKey>[] {
    return this.logKeys.filter((known) => isInForce(known));
  }

  /** The signers of a key event whose signature verifies, among `candidates` (SPKI by key id). */
  private async signersOf(at: ControlEntry, candidates: readonly SignerCandidate[]): Promise<Set<string>> {
    const message = encodeUtf8(
      keyEventMessage({
        origin: this.genesis?.origin ?? "",
        action: at.control.action,
        index: at.index,
        previous: at.entry.previous,
        event: at.event,
      }),
    );
    const valid = new Set<string>();
    for (const { keyId, signature } of at.event.signatures ?? []) {
      const candidate = candidates.find((known) => known.keyId === keyId);
      if (candidate === undefined) continue;
      const bytes = decodeBase64(signature, "malformed-signature");
      if (await verifiesUnder(candidate, message, bytes)) valid.add(keyId);
    }
    return valid;
  }

  private async applyKeyAdded(
    at: ControlEntry,
    payload: Extract<ControlEvent, { action: "ledger.key.added" }>["payload"],
  ): Promise<void> {
    const current = this.currentLogKeys().map((known) => candidateOf(known.key));
    if (payload.role === "author") {
      const spki = decodeBase64(payload.spki, "malformed-key");
      const keyId = keyIdOf(spki);
      const own: SignerCandidate = { keyId, algorithm: payload.algorithm, spki };
      const signers = await this.signersOf(at, [...current, own]);
      if (!signers.has(keyId) || !current.some((known) => signers.has(known.keyId))) {
        return this.report("key-event-invalid", at.index, "author key not signed by itself and by a log key");
      }
      if (this.authors.has(keyId))
        return this.report("key-event-invalid", at.index, "author key registered before", { found: keyId });
      if (this.logKeys.some((known) => candidateOf(known.key).keyId === keyId)) {
        return this.report("key-event-invalid", at.index, "a log key cannot be an author key", { found: keyId });
      }
      this.authors.set(keyId, {
        algorithm: payload.algorithm,
        spki,
        keyId,
        actor: payload.actor,
        fromIndex: at.index + 1,
        untilIndex: null,
      });
      return;
    }
    const key = this.parseLogKey(payload.vkey);
    if (typeof key === "string") return this.report("key-event-invalid", at.index, key);
    if (this.isAuthor(key)) return this.report("key-event-invalid", at.index, "an author key cannot be a log key");
    const own = candidateOf(key);
    const signers = await this.signersOf(at, [...current, own]);
    const voucher = this.currentLogKeys().find((known) => signers.has(candidateOf(known.key).keyId));
    if (!signers.has(own.keyId) || voucher === undefined) {
      return this.report("key-event-invalid", at.index, "log key not signed by itself and by a log key");
    }
    this.introduceLogKey(key, at.index, "added", voucher.key.vkey);
  }

  private async applyKeyRotated(
    at: ControlEntry,
    payload: Extract<ControlEvent, { action: "ledger.key.rotated" }>["payload"],
  ): Promise<void> {
    const old = this.currentLogKeys().find((known) => known.key.vkey === payload.old);
    if (old === undefined)
      return this.report("key-event-invalid", at.index, "rotation of a key that is not in force", {
        found: payload.old,
      });
    const next = this.parseLogKey(payload.new);
    if (typeof next === "string") return this.report("key-event-invalid", at.index, next);
    if (this.isAuthor(next)) return this.report("key-event-invalid", at.index, "an author key cannot be a log key");
    const signers = await this.signersOf(at, [candidateOf(old.key), candidateOf(next)]);
    if (!signers.has(candidateOf(old.key).keyId) || !signers.has(candidateOf(next).keyId))
      return this.report("key-event-invalid", at.index, "rotation not signed by both keys");
    old.retiredAt = at.index;
    this.introduceLogKey(next, at.index, "rotated", old.key.vkey);
  }

  private async applyKeyRevoked(
    at: ControlEntry,
    payload: Extract<ControlEvent, { action: "ledger.key.revoked" }>["payload"],
  ): Promise<void> {
    const current = this.currentLogKeys().map((known) => candidateOf(known.key));
    const signers = await this.signersOf(at, current);
    if (signers.size === 0)
      return this.report("key-event-invalid", at.index, "revocation not signed by a log key in force");
    if (payload.role === "author") {
      const author = this.authors.get(payload.keyId);
      if (author === undefined || author.untilIndex !== null) {
        return this.report("key-event-invalid", at.index, "revokes an author key that is not in force", {
          found: payload.keyId,
        });
      }
      author.untilIndex = at.index;
      return;
    }
    const key = this.parseLogKey(payload.vkey);
    if (typeof key === "string") return this.report("key-event-invalid", at.index, key);
    const { vkey, validUntilSize } = payload;
    this.revocations.set(vkey, Math.min(this.revocations.get(vkey) ?? validUntilSize, validUntilSize));
    for (const known of this.logKeys)
      if (known.key.vkey === vkey) known.maxSize = Math.min(known.maxSize ?? validUntilSize, validUntilSize);
  }

  private applyErasure(
    at: ControlEntry,
    payload: Extract<ControlEvent, { action: "ledger.erasure" }>["payload"],
  ): void {
    for (const target of payload.entries) {
      if (target.index >= at.index) {
        this.report("erasure-void", at.index, `erasure names entry ${target.index}, which is not before it`);
        continue;
      }
      const held = this.holds.find(
        (hold) => hold.releasedAt === null && hold.first <= target.index && target.index <= hold.last,
      );
      const { index, leaf, fields = null, signedIds = [], idGuard = null } = target;
      const claims = this.erasures.get(index) ?? [];
      claims.push({ by: at.index, index, leaf, fields, signedIds, idGuard, heldBy: held?.placedAt ?? null });
      this.erasures.set(index, claims);
      for (const digest of signedIds) this.erasedSignedIds.set(digest, at.index);
    }
  }

  private async applyRecovered(
    at: ControlEntry,
    payload: Extract<ControlEvent, { action: "ledger.recovered" }>["payload"],
  ): Promise<void> {
    const known = this.currentLogKeys();
    const fresh = this.usableLogKeys(payload.logKeys);
    const signers = await this.signersOf(at, [...known.map((k) => candidateOf(k.key)), ...fresh.map(candidateOf)]);
    if (fresh.some((key) => this.isAuthor(key)))
      return this.report("key-event-invalid", at.index, "an author key cannot be a log key");
    if (fresh.length === 0 || !fresh.every((key) => signers.has(candidateOf(key).keyId))) {
      return this.report("key-event-invalid", at.index, "recovery not signed by the keys that it names");
    }
    const voucher = known.find((k) => signers.has(candidateOf(k.key).keyId));
    const sameKeys = fresh.every((key) => known.some((k) => k.key.vkey === key.vkey));
    this.lockStoreId = payload.lockStoreId;
    this.recoveries.push({ index: at.index, lost: payload.lost, checkpoint: payload.checkpoint });
    if (sameKeys) return;
    if (voucher === undefined) {
      this.continuityBrokenAt.push(at.index);
      this.report(
        "key-continuity-broken",
        at.index,
        `key continuity broken at ${at.index}: the old log key did not sign the recovery`,
      );
    }
    const stays = (vkey: string): boolean => known.some((k) => k.key.vkey === vkey);
    for (const old of this.logKeys) {
      if (old.retiredAt === null && !fresh.some((key) => key.vkey === old.key.vkey)) old.retiredAt = at.index;
    }
    for (const key of fresh) {
      if (!stays(key.vkey)) this.introduceLogKey(key, at.index, "recovered", voucher?.key.vkey ?? null);
    }
  }
}

interface SignerCandidate {
  readonly keyId: string;
  readonly algorithm: string;
  readonly spki: Uint8Array;
}

/** Whether the signature holds; a key that is refused, as an author key in an event may be, verifies nothing. */
async function verifiesUnder(signer: SignerCandidate, message: Uint8Array, signature: Uint8Array): Promise<boolean> {
  try {
    return await verifySignature(signer.algorithm, signer.spki, message, signature);
  } catch (error) {
    if (!isTallystickError(error)) throw error;
    return false;
  }
}

const CANDIDATES = new WeakMap<VerifierKey, SignerCandidate>();

/** Remembered: each key event looks at all keys in force. */
function candidateOf(key: VerifierKey): SignerCandidate {
  let candidate = CANDIDATES.get(key);
  if (candidate === undefined) {
    const spki = spkiOfVerifierKey(key);
    candidate = { keyId: keyIdOf(spki), algorithm: algorithmOfVerifierKey(key), spki };
    CANDIDATES.set(key, candidate);
  }
  return candidate;
}
