import { parseCheckpoint } from "../core/checkpoint.ts";
import { bytesEqual, encodeHex } from "../core/encoding.ts";
import { isTallystickError, PolicyError, UnavailableError, VerificationError } from "../core/errors.ts";
import type { LedgerState } from "../core/ledger-state.ts";
import { formatNote, parseNote, parseVerifierKey, verifyNote } from "../core/note.ts";
import { type Policy, quorumReached } from "../core/policy.ts";
import { proveConsistency } from "../core/proof.ts";
import type { SignedCheckpoint } from "./checkpointer.ts";
import type { Clock } from "./clock.ts";
import { isGivenUp } from "./evidence.ts";
import { RightEdge, refuseDamagedTiles } from "./right-edge.ts";
import type { LedgerStorage } from "./storage.ts";
import type { Witness, WitnessAnswer } from "./witness.ts";

export interface WitnessingParts {
  readonly origin: string;
  readonly witnesses: readonly Witness[];
  /** Names the same witnesses; its quorum decides. */
  readonly policy: Policy;
  readonly storage: LedgerStorage;
  readonly clock: Clock;
  readonly edge: () => RightEdge;
  readonly state: () => LedgerState;
  /** A released checkpoint over everything so far, whoever appended it. */
  readonly sign: () => Promise<SignedCheckpoint>;
  readonly everyMs: number;
}

/** What one witness said last; for `status`. */
export interface WitnessStatus {
  readonly name: string;
  /** Largest size that it cosigned for us; 0 for none. */
  readonly size: number;
  /** Wall clock of its last cosignature, in milliseconds; null when there was none. */
  readonly cosignedAt: number | null;
  /** Why it did not cosign the last time it was asked; null when it did. */
  readonly problem: string | null;
  /**
   * Size that it claimed to have seen last although it had cosigned a larger one: it was restored from a backup, or is not the one
   * it claims to be. Null as long as it was not caught at that.
   */
  readonly wentBackTo: number | null;
}

interface Known {
  /** Size that the witness last saw, as far as we know: where the next proof starts. */
  seen: number;
  size: number;
  cosignedAt: number | null;
  problem: string | null;
  wentBackTo: number | null;
}

/** What a witness beyond the quorum gets at close to add its line. */
const LATE_MS = 250;
/** A witness that answers with one conflict after another is not waited for. */
const TRIES_MAX = 3;
/** A head that a recovery put on record as lost. */
const GIVEN_UP = "given up";
const HOLDS_THE_OTHER = "holds the history that a recovery gave up, and cosigns no other: take another witness";

/**
 * Collects cosignatures on released checkpoints: all witnesses in parallel, each bounded by its own timeout, until the quorum of
 * the policy is reached. What a witness says is believed only where our own key, or its key, signed it.
 */
export class Witnessing {
  /** Latest checkpoint whose cosignatures reach the quorum. */
  latest: SignedCheckpoint | null = null;
  /** A checkpoint under our own key that this ledger does not contain was shown: nothing is signed any more. */
  alarm: VerificationError | null = null;
  private readonly parts: WitnessingParts;
  private readonly known = new Map<string, Known>();
  private running: Promise<SignedCheckpoint> | null = null;
  private cancelTimer: (() => void) | null = null;
  private isConsulted = false;
  /** Witnesses that are not waited for any more but may still answer. */
  private readonly late = new Set<Promise<unknown>>();
  private readonly stopping = new AbortController();

  constructor(parts: WitnessingParts) {
    this.parts = parts;
    for (const { name } of parts.witnesses)
      this.known.set(name, { seen: 0, size: 0, cosignedAt: null, problem: null, wentBackTo: null });
  }

  get status(): readonly WitnessStatus[] {
    return [...this.known].map(([name, { seen: _, ...known }]) => ({ name, ...known }));
  }

  /**
   * Takes up what was cosigned before this process, as far as it reaches the quorum still. Errors: `rolled-back`, `forked` for a note
   * under our own key that this ledger does not contain.
   */
  async resume(cosigned: SignedCheckpoint): Promise<void> {
    const size = await this.requireContained("the ledger's own copy of what was cosigned", cosigned.note);
    if (typeof size !== "number") return;
    const keys = this.parts.policy.witnesses.map(({ key }) => key);
    try {
      const verified = await verifyNote(parseNote(cosigned.note), keys);
      const names = new Set<string>();
      for (const { name, key } of this.parts.policy.witnesses) {
        const time = verified.find((signature) => signature.key === key)?.time ?? null;
        if (time === null) continue;
        names.add(name);
        const known = this.known.get(name);
        if (known !== undefined) Object.assign(known, { seen: size, size, cosignedAt: time * 1_000 });
      }
      if (this.isReached(names)) this.latest = { size, note: cosigned.note };
    } catch (error) {
      // Witnesses that the policy no longer names: begin anew with those that it does.
      if (!isTallystickError(error)) throw error;
    }
  }

  /** Makes sure that the witnesses are asked within the cadence. */
  schedule(): void {
    if (this.cancelTimer !== null || this.alarm !== null || this.stopping.signal.aborted) return;
    if (this.parts.witnesses.length === 0) return;
    this.cancelTimer = this.parts.clock.after(this.parts.everyMs, () => {
      this.cancelTimer = null;
      // What failed is in `status`, and is tried again when the next checkpoint is released or somebody waits for it.
      this.cosign().catch(() => {});
    });
  }

  /** Ends what is under way; a witness that is not needed and slow is cut off. Nothing touches the store afterwards. */
  async stop(): Promise<void> {
    this.cancelTimer?.();
    this.cancelTimer = null;
    await this.running?.catch(() => {});
    const late = Promise.allSettled(this.late);
    let cancel = (): void => {};
    const grace = new Promise<void>((resolve) => {
      cancel = this.parts.clock.after(LATE_MS, resolve);
    });
    await Promise.race([late, grace]);
    cancel();
    this.stopping.abort();
    await late;
  }

  /**
   * A checkpoint over everything so far with a quorum of cosignatures. Errors: `quorum-not-reached` with what was reached,
   * `level-not-reached` where the policy asks for no quorum, `rolled-back` or `forked` with both heads when a witness shows a
   * checkpoint under our own key that this ledger does not contain.
   */
  async cosign(): Promise<SignedCheckpoint> {
    if (this.alarm !== null) throw this.alarm;
    let wanted = await this.parts.sign();
    for (let tries = 1; ; tries++) {
      if (this.latest !== null && this.latest.size >= wanted.size) return this.latest;
      this.running ??= this.collect(wanted).finally(() => {
        this.running = null;
      });
      try {
        await this.running;
      } catch (error) {
        // Another process had a larger checkpoint cosigned meanwhile: that one is the one to ask for.
        const isOvertaken = [...this.known.values()].some(({ seen }) => seen > wanted.size);
        if (this.alarm !== null || !isOvertaken || tries >= TRIES_MAX) throw error;
        wanted = await this.parts.sign();
      }
    }
  }

  /**
   * Asks the witnesses what they saw last, before anything is signed. Resolves, once and for all, as soon as no quorum can have
   * cosigned without one of those who answered; the others are heard when they answer. Errors: `rolled-back`, `forked`;
   * `signer-unavailable` when nobody answers. C2SP tlog-witness monitoring endpoint.
   */
  async consult(): Promise<void> {
    if (this.alarm !== null) throw this.alarm;
    if (this.isConsulted) return;
    const { witnesses } = this.parts;
    const silent = new Set(witnesses.map(({ name }) => name));
    const asked = witnesses.map(async (witness) => {
      if (await this.saysWhatItSaw(witness)) silent.delete(witness.name);
    });
    this.keepLate(asked);
    await this.reached(asked, () => silent.size < witnesses.length && this.isIndispensable(silent));
    if (silent.size === witnesses.length) throw noWitnessAnswered([...silent]);
    this.isConsulted = true;
  }

  /** True when these witnesses alone reach no quorum: whatever was cosigned, one of the others took part. */
  private isIndispensable(names: ReadonlySet<string>): boolean {
    return this.parts.policy.quorum !== "none" && !quorumReached(this.parts.policy, names);
  }

  private isReached(names: ReadonlySet<string>): boolean {
    return this.parts.policy.quorum !== "none" && quorumReached(this.parts.policy, names);
  }

  private async saysWhatItSaw(witness: Witness): Promise<boolean> {
    const { origin, storage } = this.parts;
    const known = this.of(witness.name);
    const note = await witness.latest(origin, this.stopping.signal);
    if (note === undefined) return false;
    if (note !== null) {
      const size = await this.requireContained(`witness ${witness.name}`, note);
      if (size === GIVEN_UP) this.refuse(known, HOLDS_THE_OTHER);
      if (typeof size === "number") known.seen = Math.max(known.seen, size);
      return size !== null;
    }
    // It never saw this ledger; or it shows what it saw elsewhere, and then it says so when it is asked to cosign.
    const released = await storage.latestCheckpoint();
    if (released === undefined) return true;
    const answer = await witness.addCheckpoint({ oldSize: 0, proof: [], note: released.note }, this.stopping.signal);
    if (answer.kind === "cosigned") known.seen = released.size;
    if (answer.kind !== "conflict")
      return answer.kind === "cosigned" || (answer.kind === "refused" && known.size === 0);
    if (answer.size > this.parts.edge().size) {
      this.refuse(known, `claims size ${answer.size} and does not show it`);
      return false;
    }
    this.remember(known, answer.size);
    return true;
  }

  /** The size that a witness says it saw last; one below what it cosigned is a witness that forgot. */
  private remember(known: Known, seen: number): void {
    if (seen < known.size) known.wentBackTo = seen;
    known.seen = seen;
  }

  /** As `reached`; an alarm aborts the others, and is what is told of it. */
  private async reached(work: readonly Promise<void>[], enough: () => boolean): Promise<void> {
    try {
      await reached(work, enough);
    } catch (error) {
      throw this.alarm ?? error;
    }
  }

  private of(name: string): Known {
    return this.known.get(name) as Known;
  }

  private async collect(checkpoint: SignedCheckpoint): Promise<SignedCheckpoint> {
    const note = parseNote(checkpoint.note);
    const own = note.signatures.map((signature) => signature.line);
    const lines = new Map<string, string>();
    const { policy, witnesses, storage } = this.parts;
    const assemble = (): SignedCheckpoint => ({
      size: checkpoint.size,
      note: formatNote(note.text, [...own, ...lines.values()]),
    });
    const asked = witnesses.map(async (witness) => {
      const line = await this.ask(witness, checkpoint);
      if (line !== null) lines.set(witness.name, line);
    });
    await this.reached(asked, () => this.isReached(new Set(lines.keys())));
    const names = [...lines.keys()];
    if (names.length > 0) await storage.putCosigned(assemble());
    if (policy.quorum === "none") throw noQuorumAsked();
    if (!this.isReached(new Set(names))) throw this.notReached(checkpoint.size, names);
    const latest = assemble();
    this.latest = latest;
    // Those who answer after the quorum still add their line.
    this.keepLate([
      Promise.allSettled(asked).then(async () => {
        if (lines.size === names.length) return;
        if (this.latest === latest) this.latest = assemble();
        await storage.putCosigned(assemble());
      }),
    ]);
    return latest;
  }

  /** Lets what nobody waits for end by itself, until `stop`. What fails there is in the status, or is an alarm. */
  private keepLate(work: readonly Promise<unknown>[]): void {
    const all = Promise.allSettled(work).finally(() => this.late.delete(all));
    this.late.add(all);
  }

  private notReached(size: number, names: readonly string[]): PolicyError {
    const problems = Object.fromEntries(
      [...this.known].filter(([, known]) => known.problem !== null).map(([name, known]) => [name, known.problem]),
    );
    const who = names.length === 0 ? "no witness" : `only ${names.join(", ")}`;
    return new PolicyError(
      "quorum-not-reached",
      `size ${size} was cosigned by ${who}; the policy asks for ${this.parts.policy.quorum}`,
      { details: { size, reached: names, problems } },
    );
  }

  /** The witness's verified line over the checkpoint, or null with the reason in its status. Throws only on evidence of a fork. */
  private async ask(witness: Witness, checkpoint: SignedCheckpoint): Promise<string | null> {
    const known = this.of(witness.name);
    for (let tries = 0; tries < TRIES_MAX; tries++) {
      const answer = await this.request(witness, checkpoint, known.seen);
      if (answer.kind === "cosigned") return this.accept(witness, checkpoint, answer.lines);
      if (answer.kind === "unavailable") return this.refuse(known, answer.reason);
      if (answer.kind === "refused") {
        // "Inconsistent" from an honest witness means that it holds another history of ours: look at it.
        if (answer.status === 422 && (await this.look(witness)) === GIVEN_UP)
          return this.refuse(known, HOLDS_THE_OTHER);
        return this.refuse(known, `answered ${answer.status}: ${answer.reason}`);
      }
      if (answer.size > checkpoint.size) {
        const size = await this.look(witness);
        if (size === GIVEN_UP) return this.refuse(known, HOLDS_THE_OTHER);
        if (size !== null && size > checkpoint.size) known.seen = size;
        return this.refuse(
          known,
          size === null ? `claims size ${answer.size} and does not show it` : `has seen size ${size} already`,
        );
      }
      this.remember(known, answer.size);
    }
    return this.refuse(known, `answered ${TRIES_MAX} times with another size`);
  }

  private async request(witness: Witness, checkpoint: SignedCheckpoint, oldSize: number): Promise<WitnessAnswer> {
    const { storage, edge } = this.parts;
    if (oldSize > checkpoint.size) return { kind: "conflict", size: oldSize };
    const proof =
      oldSize === 0 || oldSize === checkpoint.size
        ? []
        : await proveConsistency(oldSize, checkpoint.size, edge().fork().tileReader(storage));
    return witness.addCheckpoint({ oldSize, proof, note: checkpoint.note }, this.stopping.signal);
  }

  /** Keeps the one line that verifies under the witness's own key; whatever else it sent is dropped. */
  private async accept(
    witness: Witness,
    checkpoint: SignedCheckpoint,
    lines: readonly string[],
  ): Promise<string | null> {
    const known = this.of(witness.name);
    try {
      const { text } = parseNote(checkpoint.note);
      const [verified] = await verifyNote(parseNote(formatNote(text, lines)), [parseVerifierKey(witness.vkey)]);
      if (verified === undefined || verified.time === null)
        return this.refuse(known, "sent a cosignature without a time");
      // An answer that was slow may come after that to a later request.
      known.seen = Math.max(known.seen, checkpoint.size);
      known.size = Math.max(known.size, checkpoint.size);
      known.cosignedAt = this.parts.clock.now();
      known.problem = null;
      return verified.line;
    } catch (error) {
      if (!isTallystickError(error)) throw error;
      return this.refuse(known, `sent a cosignature that does not verify: ${error.message}`);
    }
  }

  private refuse(known: Known, problem: string): null {
    known.problem = problem;
    return null;
  }

  private async look(witness: Witness): Promise<number | typeof GIVEN_UP | null> {
    const note = await witness.latest(this.parts.origin, this.stopping.signal);
    return note == null ? null : this.requireContained(`witness ${witness.name}`, note);
  }

  /** Size of a note that somebody shows, if our own key signed it; null for anything else, which proves nothing. */
  private async requireContained(source: string, shown: string): Promise<number | typeof GIVEN_UP | null> {
    const { state, edge, storage, origin, policy } = this.parts;
    let head: ReturnType<typeof parseCheckpoint>;
    try {
      const note = parseNote(shown);
      head = parseCheckpoint(note.text);
      if (head.origin !== origin) return null;
      // A ledger that was rolled back behind a rotation does not know its later key; the policy of this machine may.
      const keys = new Map([...state().logKeys.map(({ key }) => key), ...policy.logKeys].map((key) => [key.vkey, key]));
      await verifyNote(note, [...keys.values()]);
    } catch (error) {
      if (!isTallystickError(error)) throw error;
      return null;
    }
    if (isGivenUp(head, state())) return GIVEN_UP;
    // Another process may have appended to this ledger meanwhile.
    const right = head.size > edge().size ? await RightEdge.load(storage) : edge().fork();
    const details = { source, note: shown };
    if (head.size > right.size) {
      const message = `${source} shows a checkpoint of size ${head.size} under this ledger's key, but the ledger has ${right.size} entries: it was rolled back`;
      throw this.raise(
        new VerificationError("rolled-back", message, {
          details: { ...details, expected: head.size, found: right.size, what: "ledger" },
        }),
      );
    }
    const root = await right.root(storage, head.size);
    if (!bytesEqual(root, head.root)) {
      await refuseDamagedTiles(storage, head);
      const message = `${source} shows another history of size ${head.size} under this ledger's key`;
      throw this.raise(
        new VerificationError("forked", message, {
          details: { ...details, size: head.size, expected: encodeHex(head.root), found: encodeHex(root) },
        }),
      );
    }
    return head.size;
  }

  private raise(alarm: VerificationError): VerificationError {
    this.alarm ??= alarm;
    this.stopping.abort();
    return alarm;
  }
}

/** Resolves when `enough()` holds or all are settled; rejects as soon as one rejects. */
function reached(work: readonly Promise<void>[], enough: () => boolean): Promise<void> {
  return new Promise((resolve, reject) => {
    let open = work.length;
    if (open === 0) resolve();
    for (const item of work) {
      item.then(() => {
        open -= 1;
        if (open === 0 || enough()) resolve();
      }, reject);
    }
  });
}

function noQuorumAsked(): PolicyError {
  return new PolicyError(
    "level-not-reached",
    "nothing can become witnessed: the policy names witnesses, but asks for no quorum of them",
    { details: { reached: "checkpointed" } },
  );
}

function noWitnessAnswered(names: readonly string[]): UnavailableError {
  return new UnavailableError(
    "signer-unavailable",
    `not signing: none of the witnesses ${names.join(", ")} says what it saw last, so a rollback could not be noticed. Appends stay durable`,
  );
}
