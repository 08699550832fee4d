import { continuesPromises, type ProofState, readProofState } from "../core/anchor-proof/proof-state.ts";
import { encodeUtf8 } from "../core/encoding.ts";
import { parseEntry, parseTime } from "../core/entry.ts";
import { isTallystickError, PolicyError } from "../core/errors.ts";
import { sha256 } from "../core/hash.ts";
import type { AnchorEvent, LedgerState } from "../core/ledger-state.ts";
import type { Anchor, AnchorAnswer } from "./anchor.ts";
import { BACKOFF_START, type BackoffBounds, type BackoffState, backOff } from "./backoff.ts";
import type { SignedCheckpoint } from "./checkpointer.ts";
import type { Clock } from "./clock.ts";
import type { LedgerLimits } from "./limits.ts";
import type { Appended } from "./placement.ts";
import type { Random } from "./random.ts";
import type { LedgerStorage } from "./storage.ts";

export interface AnchoringParts {
  readonly anchors: readonly Anchor[];
  readonly storage: LedgerStorage;
  readonly clock: Clock;
  readonly random: Random;
  readonly limits: LedgerLimits;
  readonly state: () => LedgerState;
  readonly size: () => number;
  /** The latest released checkpoint. */
  readonly latest: () => SignedCheckpoint | null;
  /** A released checkpoint over everything so far, whoever appended it. */
  readonly sign: () => Promise<SignedCheckpoint>;
  /** Appends the `ledger.anchor` event; note and proof are stored in the same commit. */
  readonly record: (anchor: NewAnchor) => Promise<Appended>;
}

/** An anchor that is to be recorded: the bytes whose hashes its event commits to. */
export interface NewAnchor {
  readonly kind: string;
  readonly note: Uint8Array;
  readonly proof: Uint8Array;
}

/** What one anchor, or one upgrade, came to. */
export interface AnchorResult {
  readonly kind: string;
  readonly name: string;
  /** Size of the checkpoint that it is about. */
  readonly size: number;
  /** Leaf index of the event that records it; null where there was nothing new, or it failed. */
  readonly index: number | null;
  /** False while the proof waits for an upgrade. */
  readonly isComplete: boolean;
  /** Why there is none; null when it was recorded, or nothing was new. */
  readonly problem: string | null;
  /** Which of several services behind the anchor gave nothing. */
  readonly failures: readonly string[];
}

export interface AnchorNowOptions {
  /** Leaf index of an entry that is to be anchored, even if nothing but anchors was recorded since the last one. */
  readonly over?: number;
  /** Whom to ask, instead of those that the ledger was opened with. */
  readonly anchors?: readonly Anchor[] | undefined;
}

/** What one anchor did last; for `status`. */
export interface AnchorStatus {
  readonly kind: string;
  readonly name: string;
  /** Largest size that this process got a proof of from it; 0 for none. */
  readonly size: number;
  /** Why it gave none the last time it was asked; null when it did. */
  readonly problem: string | null;
}

/** Bytes of a proof that are kept: the bound of every kind there is. */
const PROOF_BYTES_MAX: number = 64 * 1024;
/** What slow anchors get at close to give their answer. */
export const ANCHOR_CLOSE_MS = 250;
/** Least time between two checkpoints for one anchor, however many entries come. */
const SPACING_MS = 60_000;
const SUBMIT_BACKOFF: BackoffBounds = { firstMs: 10_000, maxMs: 3_600_000 };
/** Timers that are longer overflow. */
const TIMER_MS_MAX = 86_400_000;
/** Upgrades under way at once. */
const UPGRADES_MAX = 8;
/** For this long a proof that names a block already is asked for its other calendars' too, as one of them may have made its block up. */
const KEEP_ASKING_MS: number = 48 * 3_600_000;
/** Kinds whose proofs can be complete. */
const KINDS: readonly string[] = ["rfc3161", "opentimestamps"];

interface Service {
  readonly anchor: Anchor;
  /** Size up to which it anchored; with `isBehind` others of its kind may be further. */
  size: number;
  isBehind: boolean;
  /** Monotonic time of the last proof. */
  provedAt: number | null;
  backoff: BackoffState;
  problem: string | null;
  busy: Promise<AnchorResult> | null;
}

/** A recorded proof that waits for an upgrade. */
interface OpenProof {
  readonly event: AnchorEvent;
  readonly promises: ReadonlySet<string>;
  readonly unkept: number;
  readonly isComplete: boolean;
  backoff: BackoffState;
  isBusy: boolean;
}

/**
 * Anchors released checkpoints: each anchor for itself, in parallel, never on the write path. What was anchored is known from the
 * ledger's own events and the bytes stored with them; there is no other state, so a restart goes on where the last process stopped.
 * An event that records an anchor is nothing new to anchor: an idle ledger comes to rest.
 */
export class Anchoring {
  private readonly parts: AnchoringParts;
  private readonly services: readonly Service[];
  private readonly open = new Map<number, OpenProof>();
  /** Complete proofs, as far as `learned`. */
  private readonly complete: { readonly kind: string; readonly size: number; readonly index: number }[] = [];
  /** How many of the ledger's anchor events were looked at. */
  private learned = 0;
  private learning: Promise<void> | null = null;
  private planning: Promise<void> | null = null;
  private isPlanStale = false;
  private cancelTimer: (() => void) | null = null;
  private signBackoff: BackoffState = BACKOFF_START;
  private waited: { readonly base: number; readonly timeMs: number } | null = null;
  private isStopped = false;
  private readonly inFlight = new Set<Promise<unknown>>();
  private readonly stopping = new AbortController();

  constructor(parts: AnchoringParts) {
    this.parts = parts;
    this.services = parts.anchors.map(serviceOf);
  }

  /** Makes sure that whatever falls due is done when it does. Called when a checkpoint was released; costs next to nothing. */
  schedule(): void {
    if (this.services.length === 0 || this.isStopped) return;
    if (this.planning !== null) {
      this.isPlanStale = true;
      return;
    }
    this.planning = this.plan()
      // The store cannot be read now: the next checkpoint plans again.
      .catch(() => {})
      .finally(() => {
        this.planning = null;
        if (!this.isPlanStale) return;
        this.isPlanStale = false;
        this.schedule();
      });
    this.track(this.planning);
  }

  /** Ends what is under way; what takes longer than 250 ms is cut off and asked for again by the next process. Nothing is appended afterwards. */
  async stop(): Promise<void> {
    this.isStopped = true;
    this.cancelTimer?.();
    this.cancelTimer = null;
    let cancel = (): void => {};
    const grace = new Promise<void>((resolve) => {
      cancel = this.parts.clock.after(ANCHOR_CLOSE_MS, resolve);
    });
    await Promise.race([Promise.allSettled(this.inFlight), grace]);
    cancel();
    this.stopping.abort();
    await Promise.allSettled(this.inFlight);
  }

  /**
   * Asks every anchor now for a proof of a checkpoint over everything so far, and records what they give. One that has nothing new to
   * anchor is not asked, unless entry `over` is to be anchored, whatever it is. What an anchor does not give is in its result. Errors:
   * those of signing.
   */
  async anchorNow({ over = -1, anchors }: AnchorNowOptions = {}): Promise<readonly AnchorResult[]> {
    const services = anchors?.map(serviceOf) ?? this.services;
    await Promise.all(services.map((service) => service.busy));
    const checkpoint = await this.parts.sign();
    await this.learn();
    return Promise.all(
      services.map((service) => {
        const covered = this.coveredBy(service);
        const isDone = covered > over && this.freshSince(covered) === 0;
        return isDone ? of(service.anchor, covered) : this.start(service, checkpoint);
      }),
    );
  }

  /** Leaf index of the last entry that does not record an anchor. */
  lastFresh(): number {
    const { anchors } = this.parts.state();
    let index = this.parts.size() - 1;
    for (let i = anchors.length - 1; i >= 0 && (anchors[i] as AnchorEvent).index === index; i--) index -= 1;
    return index;
  }

  /** Asks for every proof that waits whether it can be completed, and records what came of it. */
  async upgradeNow({ anchors }: Pick<AnchorNowOptions, "anchors"> = {}): Promise<readonly AnchorResult[]> {
    const services = anchors?.map(serviceOf) ?? this.services;
    await this.learn();
    const waiting = [...this.open.values()].filter((proof) => !proof.isBusy);
    const results: AnchorResult[] = [];
    for (let i = 0; i < waiting.length; i += UPGRADES_MAX) {
      const some = waiting.slice(i, i + UPGRADES_MAX).map((proof) => this.upgrade(proof, services));
      results.push(...(await Promise.all(some)));
    }
    return results;
  }

  /** The smallest checkpoint over entry `index` of which there is a complete proof of one of the kinds that the rules name. */
  async anchoredOver(index: number): Promise<SignedCheckpoint | null> {
    await this.learn();
    const found = this.counting()
      .filter((one) => one.size > index)
      .reduce<{ readonly size: number; readonly index: number } | null>(
        (least, one) => (least === null || one.size < least.size ? one : least),
        null,
      );
    const stored = found === null ? undefined : await this.parts.storage.readAnchor(found.index);
    return found === null || stored === undefined
      ? null
      : { size: found.size, note: new TextDecoder().decode(stored.note) };
  }

  /** As far as complete proofs reach; 0 for none. */
  async anchoredSize(): Promise<number> {
    await this.learn();
    return Math.max(0, ...this.counting().map((one) => one.size));
  }

  /** How long the oldest entry that no complete proof covers has been waiting; 0 when none is. */
  async unanchoredMs(): Promise<number> {
    const time = await this.oldestFresh(await this.anchoredSize());
    return time === null ? 0 : Math.max(0, this.parts.clock.now() - time);
  }

  /** Proofs that bound no time until they are upgraded. */
  get pending(): number {
    return [...this.open.values()].filter((proof) => !proof.isComplete).length;
  }

  get status(): readonly AnchorStatus[] {
    return this.services.map(({ anchor, size, problem }) => ({ kind: anchor.kind, name: anchor.name, size, problem }));
  }

  /** What to say when entry `index` did not become anchored. */
  notReached(index: number, reached: string): PolicyError {
    const { anchors } = this.rules();
    const wanted = anchors === undefined ? "any anchor" : anchors.join(" or ");
    const problems = Object.fromEntries(
      this.services.filter(({ problem }) => problem !== null).map(({ anchor, problem }) => [anchor.name, problem]),
    );
    const why =
      this.services.length === 0
        ? "this ledger was opened without anchors"
        : this.pending > 0
          ? `${this.pending} ${this.pending === 1 ? "proof waits" : "proofs wait"} for an upgrade`
          : "no anchor gave a complete proof";
    return new PolicyError("level-not-reached", `entry ${index} is not anchored by ${wanted} yet: ${why}`, {
      details: { index, reached, pending: this.pending, problems },
    });
  }

  private rules(): { readonly anchors?: readonly string[] } {
    return this.parts.state().rules.at(-1) ?? {};
  }

  private counting(): readonly { readonly kind: string; readonly size: number; readonly index: number }[] {
    const kinds = this.rules().anchors ?? KINDS;
    return this.complete.filter((one) => kinds.includes(one.kind));
  }

  /** Looks at the events that are new since the last time, whoever appended them. */
  private async learn(): Promise<void> {
    while (this.learned < this.parts.state().anchors.length) {
      this.learning ??= this.learnNext().finally(() => {
        this.learning = null;
      });
      await this.learning;
    }
  }

  private async learnNext(): Promise<void> {
    const event = this.parts.state().anchors[this.learned] as AnchorEvent;
    const { index, kind, size, time } = event;
    if (kind === "rfc3161") this.complete.push({ kind, size, index });
    if (kind === "opentimestamps") {
      const stored = await this.parts.storage.readAnchor(index);
      const proof = stored === undefined ? null : stateOf(kind, stored.proof, sha256(stored.note));
      if (proof !== null) {
        if (proof.isComplete) this.complete.push({ kind, size, index });
        for (const [at, earlier] of this.open) {
          if (earlier.event.note === event.note && continuesPromises(proof.promises, earlier.promises))
            this.open.delete(at);
        }
        if (proof.unkept > 0 && (!proof.isComplete || this.isYoung(time)))
          this.open.set(index, { ...proof, event, backoff: BACKOFF_START, isBusy: false });
      }
    }
    this.learned += 1;
  }

  /** Size up to which there is nothing for this service to anchor. */
  private coveredBy({ anchor, size, isBehind }: Service): number {
    if (isBehind) return size;
    return this.parts
      .state()
      .anchors.reduce((most, one) => (one.kind === anchor.kind ? Math.max(most, one.size) : most), size);
  }

  /** Entries from `base` on but those that record anchors. */
  private freshSince(base: number): number {
    const { anchors } = this.parts.state();
    let recorded = 0;
    for (let i = anchors.length - 1; i >= 0 && (anchors[i] as AnchorEvent).index >= base; i--) recorded += 1;
    return Math.max(0, this.parts.size() - base - recorded);
  }

  /** Leaf index of the first such entry. */
  private firstFresh(base: number): number {
    const recorded = new Set(this.parts.state().anchors.map((anchor) => anchor.index));
    let index = base;
    while (recorded.has(index)) index += 1;
    return index;
  }

  /** Ledger time of the first such entry, in milliseconds; null without one. */
  private async oldestFresh(base: number): Promise<number | null> {
    if (this.freshSince(base) === 0) return null;
    if (this.waited?.base === base) return this.waited.timeMs;
    const index = this.firstFresh(base);
    const [entry] = await this.parts.storage.readEntries(index, index + 1);
    if (entry === undefined) return null;
    const timeMs = parseTime(parseEntry(entry.entry).time);
    this.waited = { base, timeMs };
    return timeMs;
  }

  private async plan(): Promise<void> {
    this.cancelTimer?.();
    this.cancelTimer = null;
    await this.learn();
    for (const [index, { isComplete, event }] of this.open)
      if (isComplete && !this.isYoung(event.time)) this.open.delete(index);
    const delays = await Promise.all(this.services.map((service) => this.delayOf(service)));
    for (const proof of this.open.values()) if (!proof.isBusy) delays.push(this.rest(proof.backoff));
    const delayMs = Math.min(...delays);
    if (this.isStopped || delayMs === Number.POSITIVE_INFINITY) return;
    this.cancelTimer = this.parts.clock.after(Math.min(delayMs, TIMER_MS_MAX), () => {
      this.cancelTimer = null;
      const work = this.tick().finally(() => this.schedule());
      // What fails is in the status of its anchor; what cannot be signed, in that of the ledger.
      this.track(work.catch(() => {}));
    });
  }

  private isYoung(time: string): boolean {
    return this.parts.clock.now() - parseTime(time) < KEEP_ASKING_MS;
  }

  /** Milliseconds until this service is asked; infinite while it is, or while there is nothing new. */
  private async delayOf(service: Service): Promise<number> {
    const base = this.coveredBy(service);
    const fresh = this.freshSince(base);
    if (fresh === 0 || service.busy !== null || this.parts.state().sealedAt !== null) return Number.POSITIVE_INFINITY;
    const { clock, limits } = this.parts;
    const { anchorEveryEntries, anchorEveryMs } = limits;
    const held = Math.max(this.rest(service.backoff), this.rest(this.signBackoff));
    const oldest = (await this.oldestFresh(base)) ?? clock.now();
    // A wall clock that was set back must not hold an anchor back for longer than the cadence.
    const byTime = Math.min(anchorEveryMs, Math.max(0, oldest + anchorEveryMs - clock.now()));
    if (fresh < anchorEveryEntries) return Math.max(held, byTime);
    const spacing = Math.min(SPACING_MS, anchorEveryMs);
    const byEntries = service.provedAt === null ? 0 : Math.max(0, service.provedAt + spacing - clock.monotonic());
    return Math.max(held, Math.min(byTime, byEntries));
  }

  private rest({ nextMs }: BackoffState): number {
    return Math.max(0, nextMs - this.parts.clock.monotonic());
  }

  private later(state: BackoffState, bounds?: BackoffBounds): BackoffState {
    const spread = (this.parts.random.fill(new Uint8Array(1))[0] as number) / 255;
    const nowMs = this.parts.clock.monotonic();
    return backOff(state, { nowMs, spread, ...(bounds === undefined ? {} : { bounds }) });
  }

  private async tick(): Promise<void> {
    const due: Service[] = [];
    for (const service of this.services) if ((await this.delayOf(service)) === 0) due.push(service);
    if (due.length > 0) {
      try {
        const checkpoint = await this.checkpointFor(due);
        this.signBackoff = BACKOFF_START;
        for (const service of due) if (!this.isStopped) void this.start(service, checkpoint);
      } catch (error) {
        this.signBackoff = this.later(this.signBackoff, SUBMIT_BACKOFF);
        throw error;
      }
    }
    const busy = [...this.open.values()].filter((proof) => proof.isBusy).length;
    const waiting = [...this.open.values()].filter((proof) => !proof.isBusy && this.rest(proof.backoff) === 0);
    const next = waiting.sort((a, b) => a.backoff.nextMs - b.backoff.nextMs).slice(0, Math.max(0, UPGRADES_MAX - busy));
    for (const proof of next) if (!this.isStopped) void this.upgrade(proof, this.services);
  }

  /** What was signed anyway, if it covers what fell due: signing reads the tail again, and appends would feel it. */
  private async checkpointFor(due: readonly Service[]): Promise<SignedCheckpoint> {
    const latest = this.parts.latest();
    const covers = latest !== null && due.every((service) => this.firstFresh(this.coveredBy(service)) < latest.size);
    return covers ? latest : this.parts.sign();
  }

  private track(work: Promise<unknown>): void {
    const held: Promise<unknown> = Promise.allSettled([work]).finally(() => this.inFlight.delete(held));
    this.inFlight.add(held);
  }

  /** One submission at a time to each service; never rejects. */
  private start(service: Service, checkpoint: SignedCheckpoint): Promise<AnchorResult> {
    service.busy ??= this.submit(service, checkpoint).finally(() => {
      service.busy = null;
      this.schedule();
    });
    this.track(service.busy);
    return service.busy;
  }

  private async submit(service: Service, { size, note }: SignedCheckpoint): Promise<AnchorResult> {
    const { anchor } = service;
    const bytes = encodeUtf8(note);
    const digest = sha256(bytes);
    const base = this.coveredBy(service);
    const result = await this.keep(anchor, { size, note: bytes, digest }, (signal) => anchor.submit(digest, signal));
    if (result.index === null) {
      Object.assign(service, { size: base, isBehind: true, problem: result.problem });
      service.backoff = this.later(service.backoff, SUBMIT_BACKOFF);
    } else {
      Object.assign(service, { size, isBehind: false, problem: null, backoff: BACKOFF_START });
      service.provedAt = this.parts.clock.monotonic();
    }
    return result;
  }

  /** Never rejects. */
  private upgrade(proof: OpenProof, services: readonly Service[]): Promise<AnchorResult> {
    proof.isBusy = true;
    const work = this.upgradeOne(proof, services).finally(() => {
      proof.isBusy = false;
      this.schedule();
    });
    this.track(work);
    return work;
  }

  private async upgradeOne(proof: OpenProof, all: readonly Service[]): Promise<AnchorResult> {
    const { kind, size, index } = proof.event;
    const services = all.filter(({ anchor }) => anchor.kind === kind && anchor.upgrade !== undefined);
    let result: AnchorResult = { ...of({ kind, name: kind }, size), problem: `no anchor of kind ${kind} is set up` };
    try {
      const stored = await this.parts.storage.readAnchor(index);
      if (stored === undefined) throw new PolicyError("level-not-reached", `the proof of entry ${index} is gone`);
      const { note } = stored;
      for (const { anchor } of services) {
        const subject = { size, note, digest: sha256(note), earlier: proof };
        result = await this.keep(anchor, subject, (signal) => anchor.upgrade!(stored.proof, signal));
        if (result.index !== null) {
          await this.learn();
          return result;
        }
      }
    } catch (error) {
      result = { ...result, problem: messageOf(error) };
    }
    proof.backoff = this.later(proof.backoff);
    return result;
  }

  /** Asks, looks at the answer, and records it if it is what was asked for. Whatever goes wrong is in the result. */
  private async keep(
    anchor: Anchor,
    subject: {
      readonly size: number;
      readonly note: Uint8Array;
      readonly digest: Uint8Array;
      readonly earlier?: OpenProof;
    },
    ask: (signal: AbortSignal) => Promise<AnchorAnswer>,
  ): Promise<AnchorResult> {
    const result = of(anchor, subject.size);
    try {
      const answer = await this.bounded(ask);
      if (answer.kind === "pending") return { ...result, problem: "not yet", failures: answer.failures };
      if (answer.kind !== "proof") return { ...result, problem: answer.reason };
      const { proof, failures } = answer;
      if (proof.length > PROOF_BYTES_MAX) return { ...result, problem: `a proof of ${proof.length} bytes is refused` };
      // An anchor is anybody's code and somebody else's service: what it gives must be about this note.
      const state = readProofState(anchor.kind, proof, subject.digest);
      const objection = subject.earlier === undefined ? null : objectionToUpgrade(state, subject.earlier);
      if (objection !== null) return { ...result, problem: objection, failures };
      this.stopping.signal.throwIfAborted();
      const { index } = await this.parts.record({ kind: anchor.kind, note: subject.note, proof });
      return { ...result, index, isComplete: state.isComplete, failures };
    } catch (error) {
      return { ...result, problem: messageOf(error) };
    }
  }

  /** An anchor that does not heed its signal is not waited for either. */
  private bounded<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { signal } = this.stopping;
    return new Promise((resolve, reject) => {
      const abort = (): void => reject(new Error("the ledger was closed before it answered"));
      if (signal.aborted) return abort();
      signal.addEventListener("abort", abort, { once: true });
      work(signal)
        .then(resolve, reject)
        .finally(() => signal.removeEventListener("abort", abort));
    });
  }
}

function serviceOf(anchor: Anchor): Service {
  const never = { size: 0, isBehind: false, provedAt: null, backoff: BACKOFF_START, problem: null, busy: null };
  return { anchor, ...never };
}

function of({ kind, name }: { readonly kind: string; readonly name: string }, size: number): AnchorResult {
  return { kind, name, size, index: null, isComplete: false, problem: null, failures: [] };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Each upgrade becomes an entry, so one that brings nothing is not taken: a calendar could make endless ones. */
function objectionToUpgrade(
  { promises, unkept, isComplete }: ProofState,
  earlier: Pick<OpenProof, "promises" | "unkept" | "isComplete">,
): string | null {
  if (!continuesPromises(promises, earlier.promises)) return "an upgrade that leaves out what it upgrades is refused";
  const brings = unkept < earlier.unkept || (isComplete && !earlier.isComplete);
  return brings ? null : "an upgrade that completes nothing is refused";
}

function stateOf(kind: string, proof: Uint8Array, digest: Uint8Array): ProofState | null {
  try {
    return readProofState(kind, proof, digest);
  } catch (error) {
    // What is stored is not what was recorded: `verify` says so.
    if (!isTallystickError(error)) throw error;
    return null;
  }
}
