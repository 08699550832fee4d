import { channel } from "node:diagnostics_channel";
import { commitBody, commitFields, cutFields, fieldDigest } from "../core/commitment.ts";
import { idDigest, parseControlEvent, signedIdDigest } from "../core/control-event.ts";
import { formatEntry, formatTime, leafHashHex, parseEntry, type Scheme } from "../core/entry.ts";
import {
  ConflictError,
  FatalError,
  OverloadedError,
  PolicyError,
  type TallystickError,
  VerificationError,
} from "../core/errors.ts";
import { actorIdOf, type EncodedEvent, type Event } from "../core/event.ts";
import type { HashName } from "../core/hash.ts";
import type { LedgerState } from "../core/ledger-state.ts";
import { SALT_BYTES } from "../core/limits.ts";
import type { Clock } from "./clock.ts";
import type { LedgerLimits } from "./limits.ts";
import { RightEdge } from "./right-edge.ts";
import type { Batch, CommitReads, CommitView, LedgerStorage, StoredEntry, StoredTile } from "./storage.ts";

const appendChannel = channel("tallystick:append");
const commitChannel = channel("tallystick:commit");

/** Result of an append: durable when it is returned. */
export interface Appended {
  /** 0-based leaf index. */
  readonly index: number;
  /** Hex leaf hash: SHA-256(0x00 ‖ entry text). */
  readonly leafHash: string;
  /** Ledger time of the entry. */
  readonly time: string;
  /** True when an event with this `id` and the same content was there already; nothing was written. */
  readonly duplicate: boolean;
}

/** One event ready to be sequenced: everything that does not depend on its place in the log is done. */
export interface Submission {
  readonly body: string;
  readonly sizeBytes: number;
  readonly scheme: Scheme;
  readonly salts: Uint8Array;
  /** `<hash name>:<hex>` */
  readonly commitment: string;
  readonly id: string | null;
  /** Null unless the event is author-signed; then what must still hold under the lock. */
  readonly signed: { readonly keyIds: readonly string[]; readonly actor: string | null } | null;
}

/** Computes the commitment of an encoded event. */
export function prepareSubmission(
  encoded: EncodedEvent,
  scheme: Scheme,
  salts: (count: number) => Uint8Array,
  hash: HashName,
): Submission {
  const { body, sizeBytes, id, event } = encoded;
  // What no verifier would accept must not be written: control events are refused here, before they can do harm.
  if (scheme === "control") parseControlEvent(event);
  const signed =
    event.signatures === undefined
      ? null
      : { keyIds: event.signatures.map((signature) => signature.keyId), actor: actorIdOf(event) };
  if (scheme !== "fields") {
    const salt = salts(1);
    return {
      body,
      sizeBytes,
      scheme,
      salts: salt,
      commitment: `${hash}:${commitBody(hash, scheme, salt, body)}`,
      id,
      signed,
    };
  }
  const { salts: all, commitment } = commitEventFields(event, body, salts, hash);
  return { body, sizeBytes, scheme, salts: all, commitment, id, signed };
}

function commitEventFields(
  event: Event,
  body: string,
  salts: (count: number) => Uint8Array,
  hash: HashName,
): { salts: Uint8Array; commitment: string } {
  const fields = cutFields(event, body);
  const all = salts(fields.length);
  const digests = fields.map((field, i) =>
    fieldDigest(hash, all.subarray(i * SALT_BYTES, (i + 1) * SALT_BYTES), field),
  );
  const names = fields.map((field) => field.name);
  return { salts: all, commitment: `${hash}:${commitFields(hash, names, digests)}` };
}

/** What a call appends, and whom it answers. */
interface Group {
  readonly submissions: readonly Submission[];
  /** Keep what comes before the first refused submission (a stream), or nothing at all (one call). */
  readonly keepPrefix: boolean;
  readonly bytes: number;
  readonly signal: AbortSignal | undefined;
  /** What the call resolves with. */
  readonly answer: (outcome: Outcome) => unknown;
  readonly resolve: (answer: never) => void;
  readonly reject: (error: unknown) => void;
}

/** What became of a group: the placed submissions, and why the next one was refused, if one was. */
export interface Outcome {
  readonly appended: Appended[];
  readonly refusal: Error | null;
}

/** A write that is not an append of events: it takes its turn in the queue and builds its own batch under the lock. */
export type ExclusivePlan<T> = (
  view: CommitView,
  edge: RightEdge,
) => { readonly batch: Batch; readonly result: T } | undefined;

export interface SequencerParts {
  readonly storage: LedgerStorage;
  readonly clock: Clock;
  readonly limits: LedgerLimits;
  readonly edge: RightEdge;
  readonly genesisLeaf: string;
  /** State as of the edge. */
  readonly state: () => LedgerState;
  /** Called when the store moved without us: reloads the state from its control events. */
  readonly reload: () => Promise<void>;
  /** Called after every commit. */
  readonly committed: () => void;
}

/**
 * Turns concurrent appends into an ordered log: a queue bounded in entries and bytes, and one commit at a time that takes
 * whatever is waiting (group commit). Indexes, times and links are assigned under the store's write lock, so
 * several processes on one store take turns.
 */
export class Sequencer {
  edge: RightEdge;
  private readonly parts: SequencerParts;
  private queue: Group[] = [];
  private queuedEntries = 0;
  private queuedBytes = 0;
  private running: Promise<void> | null = null;
  /** Serialises commits of this process: appends and exclusive plans. */
  private turn: Promise<unknown> = Promise.resolve();
  private broken: TallystickError | null = null;
  private readonly clockOffset: number;
  private lastCommitMs = 1;

  constructor(parts: SequencerParts) {
    this.parts = parts;
    this.edge = parts.edge;
    this.clockOffset = parts.clock.now() - parts.clock.monotonic();
  }

  /** Entries and bytes waiting now. */
  get waiting(): { readonly entries: number; readonly bytes: number } {
    return { entries: this.queuedEntries, bytes: this.queuedBytes };
  }

  /** Enqueues one submission. Resolves once durable. */
  submitOne(submission: Submission, signal?: AbortSignal): Promise<Appended> {
    return this.enqueue([submission], submission.sizeBytes, false, signal, firstOf);
  }

  /** Enqueues submissions that commit together or not at all. Resolves once durable, in order. */
  submit(submissions: readonly Submission[], signal?: AbortSignal): Promise<Appended[]> {
    return this.enqueue(submissions, bytesOf(submissions), false, signal, allOf);
  }

  /** Enqueues a piece of a stream: everything before the first refused submission is kept, nothing after it. */
  submitPrefix(submissions: readonly Submission[], signal?: AbortSignal): Promise<Outcome> {
    return this.enqueue(submissions, bytesOf(submissions), true, signal, wholeOf);
  }

  private enqueue<T>(
    submissions: readonly Submission[],
    bytes: number,
    keepPrefix: boolean,
    signal: AbortSignal | undefined,
    answer: (outcome: Outcome) => T,
  ): Promise<T> {
    if (this.broken !== null) return Promise.reject(this.broken);
    const { queueEntriesMax, queueBytesMax } = this.parts.limits;
    const full = this.queuedEntries + submissions.length > queueEntriesMax || this.queuedBytes + bytes > queueBytesMax;
    if (full && this.queuedEntries > 0) {
      const retryAfterMs = Math.max(
        10,
        Math.ceil(this.lastCommitMs * (this.queuedEntries / this.parts.limits.batchEntriesMax)),
      );
      const waiting = `${this.queuedEntries} entries and ${this.queuedBytes} bytes`;
      return Promise.reject(
        new OverloadedError("queue-full", `append queue is full: ${waiting} are waiting`, { retryAfterMs }),
      );
    }
    return new Promise((resolve, reject) => {
      this.queue.push({ submissions, bytes, keepPrefix, signal, answer, resolve, reject });
      this.queuedEntries += submissions.length;
      this.queuedBytes += bytes;
      this.running ??= this.run();
    });
  }

  /** Resolves when everything submitted so far is durable or refused. */
  async drain(): Promise<void> {
    while (this.running !== null) await this.running;
    await this.turn;
  }

  /** Catches up with what other processes appended. */
  refresh(): Promise<void> {
    return this.inTurn(() => this.catchUp());
  }

  /** Others may have appended; what this process hashed or read before must still stand where it stood. */
  private async catchUp(): Promise<void> {
    const { storage, reload } = this.parts;
    const { size, lastLeaf } = this.edge;
    const edge = await RightEdge.load(storage);
    if (edge.size < size) {
      throw new VerificationError(
        "rolled-back",
        `the ledger was rolled back or truncated while it was open: it has ${edge.size} entries, and had ${size}`,
        { details: { expected: size, found: edge.size, what: "ledger" } },
      );
    }
    const [last] = size === 0 ? [] : await storage.readEntries(size - 1, size);
    const found = last === undefined ? edge.lastLeaf : leafHashHex(last.entry);
    if (size > 0 && found !== lastLeaf) {
      throw new FatalError(
        "invariant-broken",
        `entry ${size - 1} is stored with other bytes than were hashed; nothing more is appended or signed`,
        { details: { index: size - 1, expected: lastLeaf, found } },
      );
    }
    this.edge = edge;
    await reload();
  }

  /**
   * Runs `plan` alone under the store's lock; the edge that it places entries on becomes the edge if it commits. The state
   * that it sees is that of the edge, and a control event that it places is part of the state when this resolves.
   */
  exclusive<T>(reads: CommitReads, plan: ExclusivePlan<T>): Promise<T | undefined> {
    return this.inTurn(async () => {
      if (this.broken !== null) throw this.broken;
      let result: T | undefined;
      let controls = 0;
      await this.commit(reads, (view, edge) => {
        result = undefined;
        controls = 0;
        const planned = plan(view, edge);
        if (planned === undefined) return undefined;
        result = planned.result;
        controls = planned.batch.controls.length;
        return planned.batch;
      });
      // Within the turn: the next plan must see the keys, rules, holds and erasures that this one changed.
      if (controls > 0) await this.parts.reload();
      return result;
    });
  }

  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const next = this.turn.then(work, work);
    this.turn = next.catch(() => {});
    return next;
  }

  private async run(): Promise<void> {
    // Let the calls of this tick join the first batch.
    await new Promise<void>((resolve) => setImmediate(resolve));
    try {
      while (this.queue.length > 0) {
        const groups = this.takeBatch();
        if (groups.length > 0) await this.inTurn(() => this.commitGroups(groups));
        // A synchronous store would otherwise hold the event loop for the whole queue.
        if (this.queue.length > 0) await new Promise<void>((resolve) => setImmediate(resolve));
      }
    } finally {
      this.running = null;
    }
  }

  /** The next groups within the batch bounds; aborted ones are refused here, before anything was written. */
  private takeBatch(): Group[] {
    const { batchEntriesMax, batchBytesMax } = this.parts.limits;
    const taken: Group[] = [];
    let entries = 0;
    let bytes = 0;
    let used = 0;
    for (const group of this.queue) {
      const size = group.submissions.length;
      if (taken.length > 0 && (entries + size > batchEntriesMax || bytes + group.bytes > batchBytesMax)) break;
      used += 1;
      this.queuedEntries -= size;
      this.queuedBytes -= group.bytes;
      if (group.signal?.aborted) {
        group.reject(group.signal.reason);
        continue;
      }
      taken.push(group);
      entries += size;
      bytes += group.bytes;
    }
    this.queue = used === this.queue.length ? [] : this.queue.slice(used);
    return taken;
  }

  private async commitGroups(groups: readonly Group[]): Promise<void> {
    const started = performance.now();
    let outcomes: Outcome[] = [];
    try {
      if (this.broken !== null) throw this.broken;
      await this.commit(this.readsOf(groups), (view, edge) => {
        outcomes = [];
        const sink = newSink();
        const time = this.nextTime(edge);
        const known = new Map<string, KnownId>();
        for (const group of groups) outcomes.push(this.placeGroup(group, view, edge, time, sink, known));
        return sink.entries.length === 0 ? undefined : sink;
      });
    } catch (error) {
      if (error instanceof FatalError) this.broken = error;
      for (const group of groups) group.reject(error);
      return;
    }
    this.lastCommitMs = performance.now() - started;
    for (let i = 0; i < groups.length; i++) settle(groups[i]!, outcomes[i]!);
  }

  /** Commits what `plan` builds on a fork of the edge; reloads and plans again when the store moved without us. */
  private async commit(
    reads: CommitReads,
    plan: (view: CommitView, edge: RightEdge) => Batch | undefined,
  ): Promise<void> {
    const { storage } = this.parts;
    for (;;) {
      let stale = false;
      let next = this.edge;
      let failure: unknown = null;
      const committed = await storage.commit(reads, (view) => {
        stale = !this.edge.matches(view.head);
        failure = null;
        if (stale) return undefined;
        next = this.edge.fork();
        try {
          return plan(view, next);
        } catch (error) {
          // Thrown out of the store's lock, so that a driver never sees an error it did not make.
          failure = error;
          return undefined;
        }
      });
      if (failure !== null) throw failure;
      if (stale) {
        await this.catchUp();
        if (reads.ids.length > 0 && reads.idDigests.length === 0) reads = this.withDigests(reads);
        continue;
      }
      if (committed) {
        const count = next.size - this.edge.size;
        this.edge = next;
        if (count > 0) {
          if (commitChannel.hasSubscribers) commitChannel.publish({ size: next.size, entries: count });
          this.parts.committed();
        }
      }
      return;
    }
  }

  private readsOf(groups: readonly Group[]): CommitReads {
    const ids: string[] = [];
    for (const group of groups)
      for (const submission of group.submissions) if (submission.id !== null) ids.push(submission.id);
    return this.withDigests({ ids, idDigests: [], indexes: [] });
  }

  /** Erased ids are looked up by digest, and only in ledgers that have erased something. */
  private withDigests(reads: CommitReads): CommitReads {
    if (reads.ids.length === 0 || this.parts.state().erasures.size === 0) return reads;
    return { ...reads, idDigests: reads.ids.map((id) => idDigest(this.parts.genesisLeaf, id)) };
  }

  private nextTime(edge: RightEdge): string {
    const { clock, limits } = this.parts;
    const now = clock.now();
    if (now - (clock.monotonic() + this.clockOffset) > limits.clockJumpMaxMs) {
      const seen = Number.isFinite(now) ? formatTime(now) : String(now);
      throw new PolicyError(
        "clock-jump",
        `the clock jumped ahead to ${seen}; an entry with that time would hold back every later one. Mend the clock, then reopen the ledger`,
      );
    }
    const text = formatTime(now);
    return text > edge.lastTime ? text : edge.lastTime;
  }

  private placeGroup(
    group: Group,
    view: CommitView,
    edge: RightEdge,
    time: string,
    sink: Sink,
    known: Map<string, KnownId>,
  ): Outcome {
    const state = this.parts.state();
    const appended: Appended[] = [];
    if (state.sealedAt !== null) {
      return {
        appended,
        refusal: new PolicyError(
          "ledger-sealed",
          `the ledger was sealed at entry ${state.sealedAt}; append to its successor`,
        ),
      };
    }
    if (!group.keepPrefix) {
      const refusal = this.refusalOf(group.submissions, view, edge, state, known);
      if (refusal !== null) return { appended, refusal };
    }
    for (const submission of group.submissions) {
      if (group.keepPrefix) {
        const refusal = this.refusalOf([submission], view, edge, state, known);
        if (refusal !== null) return { appended, refusal };
      }
      const duplicate = submission.id === null ? undefined : known.get(submission.id)?.first;
      if (duplicate !== undefined) {
        appended.push({ ...duplicate, duplicate: true });
        continue;
      }
      const placed = this.place(submission, edge, time, sink);
      if (submission.id !== null) known.set(submission.id, { body: submission.body, first: placed });
      appended.push(placed);
      if (appendChannel.hasSubscribers)
        appendChannel.publish({ index: placed.index, leafHash: placed.leafHash, sizeBytes: submission.sizeBytes });
    }
    return { appended, refusal: null };
  }

  /** Why submissions that stand or fall together must be refused, before any is placed; learns the ids stored already. */
  private refusalOf(
    submissions: readonly Submission[],
    view: CommitView,
    edge: RightEdge,
    state: LedgerState,
    known: Map<string, KnownId>,
  ): Error | null {
    const requireSignature = state.rules.at(-1)?.requireSignature ?? false;
    let own: Map<string, string> | null = null;
    for (const submission of submissions) {
      if (requireSignature || submission.signed !== null) {
        const refusal = this.authorRefusal(submission, state, edge.size);
        if (refusal !== null) return refusal;
      }
      const { id, body } = submission;
      if (id === null) continue;
      const erasedAt = view.erasedIds.get(id);
      if (erasedAt !== undefined) return idConflict(id, erasedAt, "was erased since");
      if (!known.has(id)) {
        const stored = view.byId.get(id);
        if (stored !== undefined) known.set(id, { body: stored.body, first: appendedOf(stored) });
      }
      const first = known.get(id);
      if (first !== undefined && first.body !== body)
        return idConflict(
          id,
          first.first.index,
          first.body === null ? "was erased in part since" : "has other content",
        );
      own ??= new Map();
      const sibling = own.get(id);
      if (sibling !== undefined && sibling !== body)
        return new ConflictError("id-conflict", "two events of one call have the same id and other content", {
          details: { id },
        });
      own.set(id, body);
    }
    return null;
  }

  private authorRefusal(submission: Submission, state: LedgerState, size: number): Error | null {
    const { signed } = submission;
    if (signed === null)
      return new PolicyError(
        "signature-required",
        "the rules of this ledger require an author signature on every event",
      );
    for (const keyId of signed.keyIds) {
      const author = state.authors.get(keyId);
      if (
        author === undefined ||
        author.fromIndex > size ||
        author.untilIndex !== null ||
        author.actor !== signed.actor
      ) {
        return new PolicyError(
          "author-not-registered",
          `author key ${keyId} is not registered for actor ${JSON.stringify(signed.actor)} now`,
          { details: { keyId } },
        );
      }
      const erasedBy =
        submission.id === null ? undefined : state.erasedSignedIds.get(signedIdDigest(keyId, submission.id));
      if (erasedBy !== undefined && submission.id !== null)
        return idConflict(submission.id, erasedBy, "was erased since");
    }
    return null;
  }

  private place(submission: Submission, edge: RightEdge, time: string, sink: Sink): Appended {
    const index = edge.size;
    const { commitment, scheme } = submission;
    const entry = formatEntry({ commitment, index, previous: edge.lastLeaf, scheme, time });
    const leafHash = leafHashHex(entry);
    edge.append(leafHash, time, sink.tiles);
    sink.entries.push({ index, entry, body: submission.body, salts: submission.salts, disclosure: null });
    if (submission.id !== null) sink.ids.push({ id: submission.id, index });
    if (scheme === "control") sink.controls.push(index);
    return { index, leafHash, time, duplicate: false };
  }

  /** Places one entry and returns it with the batch parts that it needs; for exclusive plans. */
  placeAlone(submission: Submission, edge: RightEdge): { readonly appended: Appended; readonly batch: Batch } {
    const sink = newSink();
    const appended = this.place(submission, edge, this.nextTime(edge), sink);
    return { appended, batch: sink };
  }
}

function settle(group: Group, outcome: Outcome): void {
  if (outcome.refusal !== null && !group.keepPrefix) group.reject(outcome.refusal);
  else group.resolve(group.answer(outcome) as never);
}

function bytesOf(submissions: readonly Submission[]): number {
  let bytes = 0;
  for (const { sizeBytes } of submissions) bytes += sizeBytes;
  return bytes;
}

function wholeOf(outcome: Outcome): Outcome {
  return outcome;
}

function allOf({ appended }: Outcome): Appended[] {
  return appended;
}

function firstOf({ appended }: Outcome): Appended {
  return appended[0]!;
}

interface KnownId {
  /** Null when the stored body is no longer whole. */
  readonly body: string | null;
  readonly first: Appended;
}

interface Sink extends Batch {
  readonly entries: StoredEntry[];
  readonly tiles: StoredTile[];
  readonly filters: [];
  readonly ids: { id: string; index: number }[];
  readonly controls: number[];
}

function newSink(): Sink {
  return { entries: [], tiles: [], filters: [], ids: [], controls: [] };
}

function appendedOf(stored: StoredEntry): Appended {
  return {
    index: stored.index,
    leafHash: leafHashHex(stored.entry),
    time: parseEntry(stored.entry).time,
    duplicate: true,
  };
}

function idConflict(id: string, index: number, how: string): ConflictError {
  return new ConflictError("id-conflict", `the entry with this id, ${index}, ${how}`, { details: { id, index } });
}
