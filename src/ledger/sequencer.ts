import { channel } from "node:diagnostics_channel";
import { idDigest } from "../core/control-event.ts";
import { formatTime, leafHashHex } from "../core/entry.ts";
import { FatalError, OverloadedError, PolicyError, type TallystickError, VerificationError } from "../core/errors.ts";
import type { LedgerState } from "../core/ledger-state.ts";
import type { BulkPlaced, BulkWriter } from "./bulk-writer.ts";
import type { Clock } from "./clock.ts";
import { Draft, isPlain } from "./draft.ts";
import type { LedgerLimits } from "./limits.ts";
import { type Appended, type Outcome, type PlacedGroup, Placement, Placer } from "./placement.ts";
import { RightEdge } from "./right-edge.ts";
import type { Batch, CommitReads, CommitView, LedgerStorage } from "./storage.ts";
import type { Submission } from "./submission.ts";

const appendChannel = channel("tallystick:append");
const commitChannel = channel("tallystick:commit");

/** Who is not known yet. */
const NOBODY = (): void => {};

/** What a call appends, and whom it answers. Classes for the same reason as `Submission`. */
abstract class Waiting implements PlacedGroup {
  /** Submissions, and their bytes. */
  readonly entries: number;
  readonly bytes: number;
  readonly signal: AbortSignal | undefined;
  reject: (error: unknown) => void = NOBODY;

  constructor(entries: number, bytes: number, signal: AbortSignal | undefined) {
    this.entries = entries;
    this.bytes = bytes;
    this.signal = signal;
  }

  abstract get submissions(): readonly Submission[];

  get keepPrefix(): boolean {
    return false;
  }

  /** Whether another thread can commit it; what may still be aborted it cannot. */
  get mayGoAhead(): boolean {
    return this.signal === undefined && this.submissions.every(isPlain);
  }

  own(): void {
    for (const submission of this.submissions) submission.own();
  }

  addTo(draft: Draft): void {
    for (const submission of this.submissions) draft.add(submission);
  }

  /** Everything is durable, or refused. */
  settle(outcome: Outcome): void {
    if (appendChannel.hasSubscribers) publishAppended(this.submissions, outcome);
    if (outcome.refusal !== null && !this.keepPrefix) this.reject(outcome.refusal);
    else this.answer(outcome.appended, outcome);
  }

  protected abstract answer(appended: Appended[], outcome: Outcome): void;

  /** Everything is durable, in the places that `next` gives. */
  settlePlaced(next: () => Appended): void {
    this.settle({ appended: Array.from(this.submissions, next), refusal: null });
  }
}

/** Most calls append one event: this one does without lists. */
class WaitingOne extends Waiting {
  resolve: (appended: Appended) => void = NOBODY;
  private readonly submission: Submission;

  constructor(submission: Submission, signal: AbortSignal | undefined) {
    super(1, submission.sizeBytes, signal);
    this.submission = submission;
  }

  override get submissions(): readonly Submission[] {
    return [this.submission];
  }

  override get mayGoAhead(): boolean {
    return this.signal === undefined && isPlain(this.submission);
  }

  override own(): void {
    this.submission.own();
  }

  override addTo(draft: Draft): void {
    draft.add(this.submission);
  }

  override settlePlaced(next: () => Appended): void {
    if (appendChannel.hasSubscribers) super.settlePlaced(next);
    else this.resolve(next());
  }

  protected override answer([appended]: Appended[]): void {
    this.resolve(appended!);
  }
}

class WaitingMany extends Waiting {
  resolve: (appended: Appended[]) => void = NOBODY;
  override readonly submissions: readonly Submission[];

  constructor(submissions: readonly Submission[], signal: AbortSignal | undefined) {
    super(submissions.length, bytesOf(submissions), signal);
    this.submissions = submissions;
  }

  protected override answer(appended: Appended[]): void {
    this.resolve(appended);
  }
}

class WaitingPrefix extends Waiting {
  resolve: (outcome: Outcome) => void = NOBODY;
  override readonly submissions: readonly Submission[];

  constructor(submissions: readonly Submission[], signal: AbortSignal | undefined) {
    super(submissions.length, bytesOf(submissions), signal);
    this.submissions = submissions;
  }

  override get keepPrefix(): boolean {
    return true;
  }

  protected override answer(_appended: Appended[], outcome: Outcome): void {
    this.resolve(outcome);
  }
}

/** A write that is not an append of events: it takes its turn in the queue and builds its own batch under the lock. */
export type ExclusivePlan<T> = (
  view: CommitView,
  edge: RightEdge,
) => { readonly batch: Batch; readonly result: T } | undefined;

/** What was sent ahead of its turn, and whom it answers. */
interface Ahead {
  readonly draft: Draft;
  readonly groups: Waiting[];
}

export interface SequencerParts {
  readonly storage: LedgerStorage;
  /** Places and stores what comes in bulk, where a second thread can be had. */
  readonly bulk?: BulkWriter | undefined;
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
 *
 * What comes in bulk is handed to a second thread while it still comes in, on the bet that nobody else appends meanwhile (`Draft`);
 * a lost bet is committed like everything else.
 */
export class Sequencer {
  edge: RightEdge;
  private readonly parts: SequencerParts;
  private queue: Waiting[] = [];
  private queuedEntries = 0;
  private queuedBytes = 0;
  private ahead: Ahead | null = null;
  private running: Promise<void> | null = null;
  private turns = 0;
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

  /** Whether something waits, or is being committed. */
  get isBusy(): boolean {
    return this.turns > 0 || this.queue.length > 0;
  }

  /** Enqueues one submission. Resolves once durable. */
  submitOne(submission: Submission, signal?: AbortSignal): Promise<Appended> {
    const waiting = new WaitingOne(submission, signal);
    return new Promise((resolve, reject) => {
      waiting.resolve = resolve;
      waiting.reject = reject;
      this.enqueue(waiting);
    });
  }

  /** Enqueues submissions that commit together or not at all. Resolves once durable, in order. */
  submit(submissions: readonly Submission[], signal?: AbortSignal): Promise<Appended[]> {
    const waiting = new WaitingMany(submissions, signal);
    return new Promise((resolve, reject) => {
      waiting.resolve = resolve;
      waiting.reject = reject;
      this.enqueue(waiting);
    });
  }

  /** Enqueues a piece of a stream: everything before the first refused submission is kept, nothing after it. */
  submitPrefix(submissions: readonly Submission[], signal?: AbortSignal): Promise<Outcome> {
    const waiting = new WaitingPrefix(submissions, signal);
    return new Promise((resolve, reject) => {
      waiting.resolve = resolve;
      waiting.reject = reject;
      this.enqueue(waiting);
    });
  }

  /**
   * A draft for one call of so many submissions, so that the first are placed and stored while the last are still being made; null where
   * that cannot be. It is handed to `submitDrafted`, or given up.
   */
  openDraft(entries: number): Draft | null {
    // Nothing that waits is overtaken.
    return this.queue.length > 0 ? null : this.beginDraft(entries);
  }

  private beginDraft(entries: number): Draft | null {
    const { bulk, state } = this.parts;
    if (bulk?.isReady !== true || entries < bulk.entriesLeast || this.turns > 0 || this.broken !== null) return null;
    const { sealedAt, rules } = state();
    if (sealedAt !== null || rules.at(-1)?.requireSignature === true) return null;
    try {
      const time = this.nextTime(this.edge);
      return new Draft(bulk.begin(this.edge.state(), time), time, this.holdTurn());
    } catch {
      // What is wrong is wrong with the commit that is made instead, which says so.
      return null;
    }
  }

  /** As `submit`, for submissions all of which were added to the draft. */
  submitDrafted(submissions: readonly Submission[], draft: Draft): Promise<Appended[]> {
    const waiting = new WaitingMany(submissions, undefined);
    return new Promise((resolve, reject) => {
      waiting.resolve = resolve;
      waiting.reject = reject;
      void this.commitDraft({ draft, groups: [waiting] });
    });
  }

  private enqueue(group: Waiting): void {
    if (this.broken !== null) {
      group.reject(this.broken);
      return;
    }
    if (this.ahead !== null && this.goesAhead(group, this.ahead)) {
      sendAhead(group, this.ahead);
      return;
    }
    const before = this.queuedEntries;
    const { queueEntriesMax, queueBytesMax, batchEntriesMax } = this.parts.limits;
    const entries = before + group.entries;
    const bytes = this.queuedBytes + group.bytes;
    if (before > 0 && (entries > queueEntriesMax || bytes > queueBytesMax)) {
      const retryAfterMs = Math.max(10, Math.ceil(this.lastCommitMs * (before / batchEntriesMax)));
      const waiting = `${before} entries and ${this.queuedBytes} bytes`;
      const message = `append queue is full: ${waiting} are waiting`;
      group.reject(new OverloadedError("queue-full", message, { retryAfterMs }));
      return;
    }
    group.own();
    this.queue.push(group);
    this.queuedEntries = entries;
    this.queuedBytes = bytes;
    this.running ??= this.run();
    const { entriesLeast = Number.POSITIVE_INFINITY } = this.parts.bulk ?? {};
    if (before < entriesLeast && entries >= entriesLeast) this.openAhead();
  }

  /** Whether a call joins what was sent ahead. Nothing that waits is overtaken. */
  private goesAhead(group: Waiting, { draft }: Ahead): boolean {
    if (!draft.isOpen) return false;
    const { batchEntriesMax, batchBytesMax } = this.parts.limits;
    const fits = draft.entries + group.entries <= batchEntriesMax && draft.bytes + group.bytes <= batchBytesMax;
    if (fits && group.mayGoAhead) return true;
    // No more is coming that could join: the thread need not wait for the end of the tick. Its failure is for `commitDraft`.
    draft.commit().catch(() => {});
    return false;
  }

  /** Sends ahead what waits, as far as it can go, if it is worth it. */
  private openAhead(): void {
    if (this.ahead !== null || this.parts.bulk?.isReady !== true) return;
    const draft = this.beginDraft(this.countLeading(this.parts.bulk.entriesLeast));
    if (draft === null) return;
    const ahead: Ahead = { draft, groups: [] };
    this.ahead = ahead;
    for (const group of this.takeBatch((group) => group.mayGoAhead)) sendAhead(group, ahead);
  }

  /** How many of the first that wait could go ahead, as far as `most`. */
  private countLeading(most: number): number {
    let entries = 0;
    for (const group of this.queue) {
      if (entries >= most || !group.mayGoAhead) break;
      entries += group.entries;
    }
    return entries;
  }

  /** Resolves when everything submitted so far is durable or refused. */
  async drain(): Promise<void> {
    while (this.running !== null) await this.running;
    await this.turn;
  }

  /** Catches up with what other processes appended. */
  refresh(): Promise<void> {
    return this.inTurn(async () => {
      // What this process committed meanwhile is no news.
      if (!this.edge.matches(await this.parts.storage.head())) await this.catchUp();
    });
  }

  /** Runs a change of the store that keeps its entries but may change what is known of them, while no commit is under way. */
  rebuild<T>(change: () => Promise<T>): Promise<T> {
    return this.inTurn(async () => {
      const result = await change();
      await this.catchUp();
      return result;
    });
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
    this.turns += 1;
    const run = async (): Promise<T> => {
      try {
        return await work();
      } finally {
        this.turns -= 1;
      }
    };
    const next = this.turn.then(run, run);
    this.turn = next.catch(() => {});
    return next;
  }

  /** Takes the turn, which nobody has, until the returned function is called. */
  private holdTurn(): () => void {
    this.turns += 1;
    let release: () => void = () => {};
    this.turn = new Promise<void>((resolve) => {
      release = () => {
        this.turns -= 1;
        resolve();
      };
    });
    return release;
  }

  private async run(): Promise<void> {
    // Let the calls of this tick join the first batch.
    await new Promise<void>((resolve) => setImmediate(resolve));
    try {
      while (this.queue.length > 0 || this.ahead !== null) {
        this.openAhead();
        await this.commitNext();
        // A synchronous store would otherwise hold the event loop for the whole queue.
        if (this.queue.length > 0 || this.ahead !== null) await new Promise<void>((resolve) => setImmediate(resolve));
      }
    } finally {
      this.running = null;
    }
  }

  private async commitNext(): Promise<void> {
    const { ahead } = this;
    if (ahead !== null) {
      // What comes from now on waits for the next commit.
      this.ahead = null;
      await this.commitDraft(ahead);
      return;
    }
    const groups = this.takeBatch();
    if (groups.length > 0) await this.inTurn(() => this.commitGroups(groups));
  }

  /** The next groups within the batch bounds; aborted ones are refused here, before anything was written. */
  private takeBatch(mayTake: (group: Waiting) => boolean = () => true): Waiting[] {
    const { batchEntriesMax, batchBytesMax } = this.parts.limits;
    const taken: Waiting[] = [];
    let entries = 0;
    let bytes = 0;
    let used = 0;
    for (const group of this.queue) {
      const size = group.entries;
      if (taken.length > 0 && (entries + size > batchEntriesMax || bytes + group.bytes > batchBytesMax)) break;
      if (!mayTake(group)) break;
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
        const placer = new Placer(edge, this.nextTime(edge));
        const placement = new Placement({ placer, view, state: this.parts.state() });
        outcomes = groups.map((group) => placement.place(group));
        return placer.batch.entries.length === 0 ? undefined : placer.batch;
      });
    } catch (error) {
      this.fail(groups, error);
      return;
    }
    this.lastCommitMs = performance.now() - started;
    for (let i = 0; i < groups.length; i++) groups[i]!.settle(outcomes[i]!);
  }

  private fail(groups: readonly Waiting[], error: unknown): void {
    if (error instanceof FatalError) this.broken = error;
    for (const group of groups) group.reject(error);
  }

  /** Commits what was sent ahead; where that came to nothing, as everything else. */
  private async commitDraft({ draft, groups }: Ahead): Promise<void> {
    const started = performance.now();
    try {
      const placed = await draft.commit();
      if (placed === null) {
        // Whoever called later still waits for the turn, which a draft that was given up has let go.
        if (draft.isGivenUp) await this.inTurn(() => this.commitGroups(groups));
        else await this.commitGroups(groups);
        return;
      }
      this.lastCommitMs = performance.now() - started;
      const first = this.edge.size;
      const { time } = draft;
      assertAllPlaced(groups, placed, { first, time });
      this.advance(RightEdge.of(placed.edge));
      // Before anybody is answered: the next call must find that it can be sent ahead as well.
      draft.end();
      settleDrafted(groups, placed, { first, time });
    } catch (error) {
      this.fail(groups, error);
    } finally {
      draft.end();
    }
  }

  private advance(next: RightEdge): void {
    const entries = next.size - this.edge.size;
    this.edge = next;
    if (entries === 0) return;
    if (commitChannel.hasSubscribers) commitChannel.publish({ size: next.size, entries });
    this.parts.committed();
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
      if (committed) this.advance(next);
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
    const placer = new Placer(edge, this.nextTime(edge));
    return { appended: placer.place(submission), batch: placer.batch };
  }
}

function sendAhead(group: Waiting, { draft, groups }: Ahead): void {
  groups.push(group);
  group.addTo(draft);
}

/** Every answer depends on it. */
function assertAllPlaced(
  groups: readonly Waiting[],
  { edge, leafHashes }: BulkPlaced,
  { first, time }: { readonly first: number; readonly time: string },
): void {
  const entries = groups.reduce((sum, group) => sum + group.entries, 0);
  const isWhole = leafHashes.length === entries && edge.size === first + entries;
  if (isWhole && edge.lastLeaf === leafHashes.at(-1) && edge.lastTime === time) return;
  throw new FatalError(
    "outcome-unknown",
    `the thread that committed answered for other entries than it was given; open the ledger again to see`,
    { details: { expected: entries, found: edge.size - first } },
  );
}

function settleDrafted(
  groups: readonly Waiting[],
  { leafHashes }: BulkPlaced,
  { first, time }: { readonly first: number; readonly time: string },
): void {
  let at = 0;
  const next = (): Appended => ({ index: first + at, leafHash: leafHashes[at++]!, time, duplicate: false });
  for (const group of groups) group.settlePlaced(next);
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
