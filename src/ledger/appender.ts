import { type AuthorSigner, signEvent, verifyAuthorSignatures } from "../core/author-signature.ts";
import type { Scheme } from "../core/entry.ts";
import { MalformedError, OverloadedError, PolicyError } from "../core/errors.ts";
import { type EncodedEvent, type Event, encodeEvent, eventOf, writeEvent } from "../core/event.ts";
import type { LedgerState } from "../core/ledger-state.ts";
import { type LedgerLimits, STREAM_CHUNK_ENTRIES } from "./limits.ts";
import { checkOptionNames, type Names } from "./options.ts";
import type { Appended, Outcome } from "./placement.ts";
import type { Random } from "./random.ts";
import { SaltPool } from "./salt-pool.ts";
import type { Sequencer } from "./sequencer.ts";
import { prepareSubmission, type Submission, writeSubmission } from "./submission.ts";

export interface AppendOptions {
  /** Author key: the event is signed on behalf of its actor. The key must be registered for that actor. */
  readonly signer?: AuthorSigner;
  /** Commitment scheme of this entry; the ledger's own otherwise. */
  readonly scheme?: "event" | "fields";
  /** Abort before the commit writes nothing; after it the append is durable and resolves. */
  readonly signal?: AbortSignal;
}

/** Turns events into submissions, signed ones with their signatures checked or made, and hands them to the sequencer. */
export class Appender {
  private readonly parts: {
    readonly origin: string;
    readonly sequencer: Sequencer;
    readonly random: Random;
    readonly limits: LedgerLimits;
    readonly state: () => LedgerState;
  };
  private readonly salts: SaltPool;
  private readonly drawSalts: (count: number) => Uint8Array;

  constructor(parts: Appender["parts"]) {
    this.parts = parts;
    this.salts = new SaltPool(parts.random);
    this.drawSalts = (count) => this.salts.take(count);
  }

  /** See `LedgerEngine.append`; what is wrong with an unsigned event is thrown at once. */
  append(event: Event, options: AppendOptions): Promise<Appended> {
    checkOptions(options);
    options.signal?.throwIfAborted();
    const { sequencer } = this.parts;
    // Prepared and queued before the call returns: concurrent appends keep the order of their calls.
    if (isUnsigned(event, options)) return sequencer.submitOne(this.prepareUnsigned(event, options), options.signal);
    return this.prepareSigned(event, options).then((signed) => sequencer.submitOne(signed, options.signal));
  }

  /** See `LedgerEngine.appendMany`. */
  async appendMany(events: readonly Event[], options: AppendOptions): Promise<Appended[]> {
    checkOptions(options);
    options.signal?.throwIfAborted();
    const { appendManyMax } = this.parts.limits;
    if (!Array.isArray(events))
      throw new TypeError("appendMany: expected an array of events; use appendAll for an iterable");
    if (events.length > appendManyMax) {
      throw new RangeError(
        `appendMany: expected at most ${appendManyMax} events, got ${events.length}; use appendAll, which streams`,
      );
    }
    if (events.length === 0) return [];
    const { sequencer } = this.parts;
    const draft = mayGoAhead(events[0], options) ? sequencer.openDraft(events.length) : null;
    const submissions: Submission[] = [];
    try {
      for (const event of events) {
        const submission = isUnsigned(event, options)
          ? this.prepareUnsigned(event, options)
          : await this.prepareSigned(event, options);
        submissions.push(submission);
        if (draft === null) submission.own();
        else draft.add(submission);
        // A large call is prepared in slices, so that others get the event loop in between.
        if (submissions.length % 1_000 === 0 && submissions.length < events.length)
          await new Promise<void>((resolve) => setImmediate(resolve));
      }
    } catch (error) {
      draft?.giveUp();
      throw withPosition(error, { position: submissions.length, durable: 0 });
    }
    if (draft?.isGivenUp === false) return sequencer.submitDrafted(submissions, draft);
    return sequencer.submit(submissions, options.signal);
  }

  /** See `LedgerEngine.appendAll`. */
  async *appendAll(events: AsyncIterable<Event> | Iterable<Event>, options: AppendOptions): AsyncGenerator<Appended> {
    checkOptions(options);
    let durable = 0;
    for await (const chunk of this.submissionChunks(events, options)) {
      const { appended, refusal } = await this.submitPatiently(chunk.submissions, options.signal);
      durable += appended.length;
      yield* appended;
      const failure = refusal ?? chunk.failure;
      if (failure !== null) throw withPosition(failure, { position: durable, durable });
    }
  }

  /** Events of a stream, prepared in order, in pieces of what is at hand: a slow producer is not made to wait for a full piece. */
  private async *submissionChunks(
    events: AsyncIterable<Event> | Iterable<Event>,
    options: AppendOptions,
  ): AsyncGenerator<{ submissions: Submission[]; failure: unknown }> {
    const source = Symbol.asyncIterator in events ? events[Symbol.asyncIterator]() : events[Symbol.iterator]();
    let ended = false;
    let upcoming: Upcoming | null = null;
    try {
      while (!ended) {
        const submissions: Submission[] = [];
        let failure: unknown = null;
        while (submissions.length < STREAM_CHUNK_ENTRIES) {
          try {
            upcoming ??= startNext(source);
            if (submissions.length > 0 && !(await isAtHand(upcoming))) break;
            const result = await upcoming.result;
            upcoming = null;
            options.signal?.throwIfAborted();
            if (result.done === true) {
              ended = true;
              break;
            }
            const submission = isUnsigned(result.value, options)
              ? this.prepareUnsigned(result.value, options)
              : await this.prepareSigned(result.value, options);
            submission.own();
            submissions.push(submission);
          } catch (error) {
            failure = error;
            ended = true;
            break;
          }
        }
        if (submissions.length > 0 || failure !== null) yield { submissions, failure };
      }
    } finally {
      await source.return?.();
    }
  }

  private async submitPatiently(submissions: readonly Submission[], signal: AbortSignal | undefined): Promise<Outcome> {
    for (;;) {
      try {
        return submissions.length === 0
          ? { appended: [], refusal: null }
          : await this.parts.sequencer.submitPrefix(submissions, signal);
      } catch (error) {
        if (!(error instanceof OverloadedError)) throw error;
        await new Promise<void>((resolve) => setTimeout(resolve, error.retryAfterMs));
      }
    }
  }

  /** A control event of the ledger itself. */
  prepareControl(event: Event): Submission {
    return this.prepare(encodeEvent(event, { control: true }), "control");
  }

  /** Whose content stands, in scheme `event`, where it was written: see `writeSubmission`. */
  private prepareUnsigned(event: Event, options: AppendOptions): Submission {
    const scheme = this.schemeOf(options);
    if (scheme !== "event") return this.prepare(unsigned(this.encode(event)), scheme);
    const { eventBytes, commitmentHash } = this.state.genesis;
    return writeSubmission(unsigned(writeEvent(event, { eventBytesMax: eventBytes })), this.salts, commitmentHash);
  }

  private schemeOf(options: AppendOptions): Scheme {
    return options.scheme ?? this.state.scheme;
  }

  private encode(event: Event): EncodedEvent {
    return encodeEvent(event, { eventBytesMax: this.state.genesis.eventBytes });
  }

  private prepare(encoded: EncodedEvent, scheme: Scheme): Submission {
    return prepareSubmission(encoded, scheme, this.drawSalts, this.state.genesis.commitmentHash);
  }

  private async prepareSigned(event: Event, options: AppendOptions): Promise<Submission> {
    const scheme = this.schemeOf(options);
    const { commitmentHash } = this.state.genesis;
    const context = { origin: this.parts.origin, scheme, hash: commitmentHash };
    if (options.signer === undefined) {
      const encoded = this.encode(event);
      if (scheme === "fields")
        throw new PolicyError(
          "signature-required",
          "an event signed elsewhere can be appended in scheme `event` only: in scheme `fields` the author signs the salts",
        );
      await verifyAuthorSignatures(eventOf(encoded), { ...context, authors: this.state.authors, salts: null });
      return this.prepare(encoded, scheme);
    }
    const encoded = this.encode(event);
    // Signatures that it carries already must verify, as those of an event signed elsewhere; in scheme `fields` they are refused.
    if (encoded.signed !== null && scheme === "event")
      await verifyAuthorSignatures(encoded.signed, { ...context, authors: this.state.authors, salts: null });
    // The author signs over the salts in scheme `fields`, so they are drawn before and kept.
    const { event: signed, salts } = await signEvent(eventOf(encoded), {
      ...context,
      signer: options.signer,
      salts: this.drawSalts,
    });
    return prepareSubmission(
      this.encode(signed),
      scheme,
      salts === null ? this.drawSalts : () => salts,
      commitmentHash,
    );
  }

  private get state(): LedgerState {
    return this.parts.state();
  }
}

/** Whether a call that begins with this event is likely to have nothing that must be looked at under the lock. */
function mayGoAhead(first: Event | undefined, options: AppendOptions): boolean {
  return options.signal === undefined && first?.id === undefined && isUnsigned(first as Event, options);
}

/** A getter may have changed its mind since `isUnsigned`, and signatures that nobody verified must not be stored. */
function unsigned<T extends { readonly signed: Event | null }>(event: T): T {
  if (event.signed === null) return event;
  throw new MalformedError("malformed-event", "/signatures: expected the same value each time that it is read", {
    details: { pointer: "/signatures" },
  });
}

function isUnsigned(event: Event, options: AppendOptions): boolean {
  return options.signer === undefined && event?.signatures === undefined;
}

const OPTIONS: Names<AppendOptions> = { signer: true, scheme: true, signal: true };

/** What a call without options has: one object, because many calls are made. */
export const NO_OPTIONS: AppendOptions = Object.freeze({});

function checkOptions(options: AppendOptions): void {
  if (options === NO_OPTIONS) return;
  checkOptionNames("append", options, OPTIONS);
  const { scheme } = options;
  if (scheme !== undefined && scheme !== "event" && scheme !== "fields")
    throw new TypeError(`append: expected scheme to be event or fields, got ${JSON.stringify(scheme)}`);
}

function withPosition(error: unknown, facts: { readonly position: number; readonly durable: number }): unknown {
  if (error instanceof Error && "details" in error) {
    Object.defineProperty(error, "details", { value: { ...(error.details as object), ...facts }, enumerable: true });
  }
  return error;
}

interface Upcoming {
  readonly result: Promise<IteratorResult<Event>> | IteratorResult<Event>;
  ready: boolean;
}

function startNext(source: AsyncIterator<Event> | Iterator<Event>): Upcoming {
  const result = source.next();
  if (!(result instanceof Promise)) return { result, ready: true };
  const upcoming: Upcoming = { result, ready: false };
  const settle = (): void => {
    upcoming.ready = true;
  };
  result.then(settle, settle);
  return upcoming;
}

/** True when the next event is there already, or is within one turn of the event loop. */
async function isAtHand(upcoming: Upcoming): Promise<boolean> {
  if (upcoming.ready) return true;
  await Promise.resolve();
  if (upcoming.ready) return true;
  await new Promise<void>((resolve) => setImmediate(resolve));
  return upcoming.ready;
}
