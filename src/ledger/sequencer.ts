import { channel } from "node:diagnostics_channel";
import { idDigest } from "../core/control-event.ts";
import { formatTime, leafHashHex } from "../core/entry.ts";
import { FatalError, OverloadedError, PolicyError, type TallystickError, VerificationError } from "../core/errors.ts";
import type { LedgerState } from "../core/ledger-state.ts";
import type { Clock } from "./clock.ts";
import type { LedgerLimits } from "./limits.ts";
import { type Appended, type Outcome, type PlacedGroup, Placement } from "./placement.ts";
import { RightEdge } from "./right-edge.ts";
import type { Batch, CommitReads, CommitView, LedgerStorage } from "./storage.ts";
import type { Submission } from "./submission.ts";

const appendChannel = channel("tallystick:append");
const commitChannel = channel("tallystick:commit");

/** What a call appends, and whom it answers. */
interface Waiting extends PlacedGroup {
  readonly bytes: number;
  readonly signal: AbortSignal | undefined;
  /** Everything is durable, or refused. */
  settle(outcome: Outcome): void;
  reject(error: unknown): void;
}

/** A class for the same reason as `Submission`. */
class Group<T> implements Waiting {
  readonly submissions: readonly Submission[];
  readonly keepPrefix: boolean;
  readonly bytes: number;
  readonly signal: AbortSignal | undefined;
  private readonly answer: (outcome: Outcome) => T;
  private readonly resolve: (answer: T) => void;
  readonly reject: (error: unknown) => void;

  constructor(call: Call<T>, bytes: number, resolve: (answer: T) => void, reject: (error: unknown) => void) {
    this.submissions = call.submissions;
    this.keepPrefix = call.keepPrefix;
    this.signal = call.signal;
    this.answer = call.answer;
    this.bytes = bytes;
    this.resolve = resolve;
    this.reject = reject;
  }

  settle(outcome: Outcome): void {
    if (appendChannel.hasSubscribers) publishAppended(this.submissions, outcome);
    if (outcome.refusal !== null && !this.keepPrefix) this.reject(outcome.refusal);
    else this.resolve(this.answer(outcome));
  }
}

interface Call<T> extends PlacedGroup {
  readonly signal: AbortSignal | undefined;
  /** What the call resolves with. */
  readonly answer: (outcome: Outcome) => T;
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
  private queue: Waiting[] = [];
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
    // Not a literal, for the same reason as `Submission`.
    const submissions = Array.of(submission);
    return this.enqueue({ submissions, keepPrefix: false, signal, answer: firstOf });
  }

  /** Enqueues submissions that commit together or not at all. Resolves once durable, in order. */
  submit(submissions: readonly Submission[], signal?: AbortSignal): Promise<Appended[]> {
    return this.enqueue({ submissions, keepPrefix: false, signal, answer: allOf });
  }

  /** Enqueues a piece of a stream: everything before the first refused submission is kept, nothing after it. */
  submitPrefix(submissions: readonly Submission[], signal?: AbortSignal): Promise<Outcome> {
    return this.enqueue({ submissions, keepPrefix: true, signal, answer: wholeOf });
  }

  private enqueue<T>(call: Call<T>): Promise<T> {
    if (this.broken !== null) return Promise.reject(this.broken);
    const { submissions } = call;
    const bytes = bytesOf(submissions);
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
      this.queue.push(new Group(call, bytes, resolve, reject));
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
  private takeBatch(): Waiting[] {
    const { batchEntriesMax, batchBytesMax } = this.parts.limits;
    const taken: Waiting[] = [];
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

  private async commitGroups(groups: readonly Waiting[]): Promise<void> {
    const started = performance.now();
    let outcomes: Outcome[] = [];
    try {
      if (this.broken !== null) throw this.broken;
      await this.commit(this.readsOf(groups), (view, edge) => {
        const placement = new Placement({ edge, view, state: this.parts.state(), time: this.nextTime(edge) });
        outcomes = groups.map((group) => placement.place(group));
        return placement.batch.entries.length === 0 ? undefined : placement.batch;
      });
    } catch (error) {
      if (error instanceof FatalError) this.broken = error;
      for (const group of groups) group.reject(error);
      return;
    }
    this.lastCommitMs = performance.now() - started;
    for (let i = 0; i < groups.length; i++) groups[i]!.settle(outcomes[i]!);
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

  private readsOf(groups: readonly Waiting[]): CommitReads {
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

  /** Places one entry and returns it with the batch parts that it needs; for exclusive plans. */
  placeAlone(submission: Submission, edge: RightEdge): { readonly appended: Appended; readonly batch: Batch } {
    const placement = new Placement({ edge, view: null, state: this.parts.state(), time: this.nextTime(edge) });
    return { appended: placement.placeOne(submission), batch: placement.batch };
  }
}

function publishAppended(submissions: readonly Submission[], { appended }: Outcome): void {
  appended.forEach(({ index, leafHash, duplicate }, i) => {
    if (!duplicate) appendChannel.publish({ index, leafHash, sizeBytes: submissions[i]!.sizeBytes });
  });
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
