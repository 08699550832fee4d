import { type ControlEvent, keyEventMessage } from "./control-event.ts";
import { bytesEqual, decodeBase64, encodeUtf8 } from "./encoding.ts";
import type { Entry, Scheme } from "./entry.ts";
import { isTallystickError } from "./errors.ts";
import type { Event } from "./event.ts";
import type { HashName } from "./hash.ts";
import { parseVerifierKey, spkiOfVerifierKey, type VerifierKey } from "./note.ts";
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
  readonly rules: readonly { readonly fromIndex: number; readonly requireSignature: boolean }[];
  readonly logKeys: readonly LogKey[];
  /** Every registration, by author key id. */
  readonly authors: ReadonlyMap<string, AuthorRegistration>;
  /** Erased entries: by whom, and which fields (null = the whole body). */
  readonly erasures: ReadonlyMap<number, ErasedEntry>;
  readonly holds: readonly Hold[];
  /** SHA-256 of key id and event id of erased signed events → erasure index. */
  readonly erasedSignedIds: ReadonlyMap<string, number>;
  /** Lock store that a signer must use now. */
  readonly lockStoreId: string;
  /** Index of `ledger.epoch.sealed`, if any. */
  readonly sealedAt: number | null;
  /** Indexes of `ledger.recovered` events that replaced the log keys without the old one. */
  readonly continuityBrokenAt: readonly number[];
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

export interface ErasedEntry {
  /** Erasure that removed the whole body; null if only fields. */
  readonly wholeBy: number | null;
  /** Field name → erasure index. */
  readonly fields: ReadonlyMap<string, number>;
  readonly leaf: string;
  readonly idGuard: string | null;
}

export interface Hold {
  readonly hold: string;
  readonly first: number;
  readonly last: number;
  readonly placedAt: number;
  readonly releasedAt: number | null;
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
  readonly state: LedgerState | null;
  readonly findings: readonly Finding[];
}

/**
 * Replays control events in index order; the first must be genesis. Findings name the events that have no effect. Whether
 * the entries that an erasure names are what it says is checked where those entries are (entry-verifier.ts).
 */
export async function replayControls(events: Iterable<ControlEntry> | AsyncIterable<ControlEntry>): Promise<Replay> {
  const findings: Finding[] = [];
  const draft = new StateDraft(findings);
  for await (const event of events) await draft.apply(event);
  return { state: draft.finish(), findings };
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

class StateDraft {
  private readonly findings: Finding[];
  private genesis: GenesisFacts | null = null;
  private scheme: Scheme = "event";
  private readonly rules: { fromIndex: number; requireSignature: boolean }[] = [];
  private readonly logKeys: Mutable<LogKey>[] = [];
  private readonly authors = new Map<string, Mutable<AuthorRegistration>>();
  private readonly erasures = new Map<
    number,
    { wholeBy: number | null; fields: Map<string, number>; leaf: string; idGuard: string | null }
  >();
  private readonly holds: Mutable<Hold>[] = [];
  private readonly erasedSignedIds = new Map<string, number>();
  private lockStoreId = "";
  private sealedAt: number | null = null;
  private readonly continuityBrokenAt: number[] = [];

  constructor(findings: Finding[]) {
    this.findings = findings;
  }

  finish(): LedgerState | null {
    if (this.genesis === null) return null;
    return {
      genesis: this.genesis,
      scheme: this.scheme,
      rules: this.rules,
      logKeys: this.logKeys,
      authors: this.authors,
      erasures: this.erasures,
      holds: this.holds,
      erasedSignedIds: this.erasedSignedIds,
      lockStoreId: this.lockStoreId,
      sealedAt: this.sealedAt,
      continuityBrokenAt: this.continuityBrokenAt,
    };
  }

  async apply(at: ControlEntry): Promise<void> {
    const { control, index } = at;
    if ((index === 0) !== (control.action === "ledger.genesis")) {
      this.report(
        "genesis-malformed",
        index,
        index === 0 ? "entry 0 is not a genesis" : "a genesis stands after entry 0",
      );
      return;
    }
    if (this.sealedAt !== null)
      this.report("after-seal", index, `control event after the ledger was sealed at ${this.sealedAt}`);
    switch (control.action) {
      case "ledger.genesis":
        return this.applyGenesis(control.payload);
      case "ledger.rules.changed": {
        const before = this.rules.at(-1)?.requireSignature ?? false;
        if (before && !control.payload.rules.requireSignature) {
          this.report("rules-weakened", index, "requireSignature was switched off inside the ledger");
        }
        this.rules.push({ fromIndex: index + 1, requireSignature: control.payload.rules.requireSignature });
        if (control.payload.scheme !== undefined) this.scheme = control.payload.scheme;
        return;
      }
      case "ledger.key.added":
        return this.applyKeyAdded(at, control.payload);
      case "ledger.key.rotated":
        return this.applyKeyRotated(at, control.payload);
      case "ledger.key.revoked":
        return this.applyKeyRevoked(at, control.payload);
      case "ledger.erasure":
        return this.applyErasure(at, control.payload);
      case "ledger.hold.placed": {
        const { hold, first, last } = control.payload;
        if (this.holds.some((known) => known.hold === hold))
          return this.report("control-malformed", index, "a hold of this name was placed before");
        this.holds.push({ hold, first, last, placedAt: index, releasedAt: null });
        return;
      }
      case "ledger.hold.released": {
        const hold = this.holds.find((known) => known.hold === control.payload.hold && known.releasedAt === null);
        if (hold === undefined) return this.report("control-malformed", index, "releases a hold that is not in force");
        hold.releasedAt = index;
        return;
      }
      case "ledger.anchor":
        if (control.payload.size > index)
          this.report("control-malformed", index, "anchors a checkpoint larger than its own index");
        return;
      case "ledger.epoch.sealed":
        this.sealedAt = index;
        return;
      case "ledger.recovered":
        return this.applyRecovered(at, control.payload);
    }
  }

  private report(code: Finding["code"], index: number, message: string, more: Partial<Finding> = {}): void {
    this.findings.push({ code, index, message, ...more });
  }

  private applyGenesis(payload: Extract<ControlEvent, { action: "ledger.genesis" }>["payload"]): void {
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
    this.rules.push({ fromIndex: 1, requireSignature: payload.rules.requireSignature });
    for (const vkey of payload.logKeys) this.introduceLogKey(vkey, 0, "genesis", null);
    if (this.logKeys.length === 0) this.report("genesis-malformed", 0, "genesis names no usable log key");
  }

  /** Adds a log key unless its text, name or key ID makes it unusable. */
  private introduceLogKey(
    vkey: string,
    at: number,
    introduced: LogKey["introduced"],
    vouchedBy: string | null,
  ): boolean {
    const key = this.parseLogKey(vkey, at);
    if (key === null) return false;
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
    return true;
  }

  private parseLogKey(vkey: string, at: number): VerifierKey | null {
    try {
      const key = parseVerifierKey(vkey);
      if (key.name !== this.genesis?.origin) {
        this.report("key-event-invalid", at, "a log key is not named after the origin", {
          expected: this.genesis?.origin ?? "",
          found: key.name,
        });
        return null;
      }
      const clash = this.logKeys.find((known) => known.key.keyId === key.keyId && known.key.type === key.type);
      if (clash !== undefined && !bytesEqual(clash.key.publicKey, key.publicKey)) {
        this.report("key-event-invalid", at, "two log keys share a name and key ID");
        return null;
      }
      return key;
    } catch (error) {
      if (!isTallystickError(error)) throw error;
      this.report("key-event-invalid", at, `a log key does not parse: ${error.message}`);
      return null;
    }
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
      if (await verifySignature(candidate.algorithm, candidate.spki, message, bytes)) valid.add(keyId);
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
      if (this.logKeys.some((known) => keyIdOf(spkiOfVerifierKey(known.key)) === keyId)) {
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
    const key = this.parseLogKey(payload.vkey, at.index);
    if (key === null) return;
    const own = candidateOf(key);
    const signers = await this.signersOf(at, [...current, own]);
    const voucher = this.currentLogKeys().find((known) => signers.has(candidateOf(known.key).keyId));
    if (!signers.has(own.keyId) || voucher === undefined) {
      return this.report("key-event-invalid", at.index, "log key not signed by itself and by a log key");
    }
    this.introduceLogKey(payload.vkey, at.index, "added", voucher.key.vkey);
  }

  private async applyKeyRotated(
    at: ControlEntry,
    payload: Extract<ControlEvent, { action: "ledger.key.rotated" }>["payload"],
  ): Promise<void> {
    const old = this.currentLogKeys().find((known) => known.key.vkey === payload.old);
    const next = this.parseLogKey(payload.new, at.index);
    if (old === undefined || next === null) {
      return this.report("key-event-invalid", at.index, "rotation of a key that is not in force");
    }
    const signers = await this.signersOf(at, [candidateOf(old.key), candidateOf(next)]);
    if (signers.size !== 2) return this.report("key-event-invalid", at.index, "rotation not signed by both keys");
    old.retiredAt = at.index;
    this.introduceLogKey(payload.new, at.index, "rotated", old.key.vkey);
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
    const key = this.logKeys.find((known) => known.key.vkey === payload.vkey);
    if (key === undefined)
      return this.report("key-event-invalid", at.index, "revokes a log key that the ledger does not know");
    key.maxSize = Math.min(key.maxSize ?? payload.validUntilSize, payload.validUntilSize);
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
      const known = this.erasures.get(target.index) ?? {
        wholeBy: null,
        fields: new Map<string, number>(),
        leaf: target.leaf,
        idGuard: null,
      };
      if (known.leaf !== target.leaf) {
        this.report("erasure-void", at.index, `erasure names entry ${target.index} by another leaf hash`, {
          expected: known.leaf,
          found: target.leaf,
        });
        continue;
      }
      const held = this.holds.find(
        (hold) => hold.releasedAt === null && hold.first <= target.index && target.index <= hold.last,
      );
      if (held !== undefined) {
        this.report(
          "erased-under-hold",
          target.index,
          `erased by entry ${at.index} under the hold placed at ${held.placedAt}`,
          { evidence: `hold at ${held.placedAt}` },
        );
      }
      if (target.fields === undefined) known.wholeBy ??= at.index;
      else for (const name of target.fields) if (!known.fields.has(name)) known.fields.set(name, at.index);
      if (target.idGuard !== undefined) known.idGuard ??= target.idGuard;
      for (const digest of target.signedIds ?? []) this.erasedSignedIds.set(digest, at.index);
      this.erasures.set(target.index, known);
    }
  }

  private async applyRecovered(
    at: ControlEntry,
    payload: Extract<ControlEvent, { action: "ledger.recovered" }>["payload"],
  ): Promise<void> {
    const known = this.currentLogKeys();
    const fresh = payload.logKeys.map((vkey) => this.parseLogKey(vkey, at.index)).filter((key) => key !== null);
    const signers = await this.signersOf(at, [...known.map((k) => candidateOf(k.key)), ...fresh.map(candidateOf)]);
    if (fresh.length === 0 || !fresh.every((key) => signers.has(candidateOf(key).keyId))) {
      return this.report("key-event-invalid", at.index, "recovery not signed by the keys that it names");
    }
    const voucher = known.find((k) => signers.has(candidateOf(k.key).keyId));
    const sameKeys = fresh.every((key) => known.some((k) => k.key.vkey === key.vkey));
    this.lockStoreId = payload.lockStoreId;
    if (sameKeys) return;
    if (voucher === undefined) {
      this.continuityBrokenAt.push(at.index);
      this.report(
        "key-continuity-broken",
        at.index,
        `key continuity broken at ${at.index}: the old log key did not sign the recovery`,
      );
    }
    for (const old of this.logKeys) if (old.retiredAt === null) old.retiredAt = at.index;
    for (const key of fresh) this.introduceLogKey(key.vkey, at.index, "recovered", voucher?.key.vkey ?? null);
  }
}

interface SignerCandidate {
  readonly keyId: string;
  readonly algorithm: string;
  readonly spki: Uint8Array;
}

function candidateOf(key: VerifierKey): SignerCandidate {
  const spki = spkiOfVerifierKey(key);
  return { keyId: keyIdOf(spki), algorithm: key.type === 6 ? "ml-dsa-44" : "ed25519", spki };
}
