import { parseCheckpoint } from "../core/checkpoint.ts";
import { bytesEqual, encodeHex } from "../core/encoding.ts";
import { isTallystickError, PolicyError, UnavailableError, VerificationError } from "../core/errors.ts";
import type { LedgerState } from "../core/ledger-state.ts";
import { formatNote, parseNote, parseVerifierKey, verifyNote } from "../core/note.ts";
import { type Policy, quorumReached } from "../core/policy.ts";
import { proveConsistency } from "../core/proof.ts";
import type { SignedCheckpoint } from "./checkpointer.ts";
import type { Clock } from "./clock.ts";
import type { RightEdge } from "./right-edge.ts";
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
  /** A released checkpoint over everything so far. */
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
}

interface Known {
  /** Size that the witness last saw, as far as we know: where the next proof starts. */
  seen: number;
  size: number;
  cosignedAt: number | null;
  problem: string | null;
}

/** A witness that answers with one conflict after another is not waited for. */
const TRIES_MAX = 3;

/**
 * Collects cosignatures on released checkpoints: all witnesses in parallel, each bounded by its own timeout, until the quorum of
 * the policy is reached. What a witness says is believed only where our own key, or its key, signed it.
 */
export class Witnessing {
  /** Latest checkpoint whose cosignatures reach the quorum. */
  latest: SignedCheckpoint | null = null;
  private readonly parts: WitnessingParts;
  private readonly known = new Map<string, Known>();
  private running: Promise<SignedCheckpoint> | null = null;
  private cancelTimer: (() => void) | null = null;
  private alarm: VerificationError | null = null;

  constructor(parts: WitnessingParts) {
    this.parts = parts;
    for (const { name } of parts.witnesses) this.known.set(name, { seen: 0, size: 0, cosignedAt: null, problem: null });
  }

  get status(): readonly WitnessStatus[] {
    return [...this.known].map(([name, { size, cosignedAt, problem }]) => ({ name, size, cosignedAt, problem }));
  }

  /** Takes up what was cosigned before this process, if it reaches the quorum still. */
  async resume(cosigned: SignedCheckpoint): Promise<void> {
    const keys = this.parts.policy.witnesses.map(({ key }) => key);
    try {
      const verified = await verifyNote(parseNote(cosigned.note), keys);
      const names = this.parts.policy.witnesses.filter(({ key }) =>
        verified.some((signature) => signature.key === key && signature.time !== null),
      );
      for (const { name } of names) {
        const known = this.known.get(name);
        if (known !== undefined) Object.assign(known, { seen: cosigned.size, size: cosigned.size });
      }
      if (quorumReached(this.parts.policy, new Set(names.map(({ name }) => name)))) this.latest = cosigned;
    } catch (error) {
      // Witnesses that the policy no longer names: begin anew with those that it does.
      if (!isTallystickError(error)) throw error;
    }
  }

  /** Makes sure that the witnesses are asked within the cadence. */
  schedule(): void {
    if (this.cancelTimer !== null || this.alarm !== null || this.parts.witnesses.length === 0) return;
    this.cancelTimer = this.parts.clock.after(this.parts.everyMs, () => {
      this.cancelTimer = null;
      // What failed is in `status`, and is tried again when the next checkpoint is released or somebody waits for it.
      this.cosign().catch(() => {});
    });
  }

  async stop(): Promise<void> {
    this.cancelTimer?.();
    this.cancelTimer = null;
    await this.running?.catch(() => {});
  }

  /**
   * A checkpoint over everything so far with a quorum of cosignatures. Errors: `quorum-not-reached` with what was reached, `rolled-back`
   * or `forked` with both heads when a witness shows a checkpoint under our own key that this ledger does not contain.
   */
  async cosign(): Promise<SignedCheckpoint> {
    if (this.alarm !== null) throw this.alarm;
    const wanted = await this.parts.sign();
    for (;;) {
      if (this.latest !== null && this.latest.size >= wanted.size) return this.latest;
      this.running ??= this.collect(wanted).finally(() => {
        this.running = null;
      });
      await this.running;
    }
  }

  /**
   * Asks every witness what it saw last, before anything is signed. Resolves with how many answered. Errors: `rolled-back`, `forked`.
   * C2SP tlog-witness monitoring endpoint.
   */
  async consult(): Promise<number> {
    const answers = await Promise.all(
      this.parts.witnesses.map(async (witness) => {
        const note = await witness.latest(this.parts.origin);
        if (note === null) return true;
        if (note === undefined) return false;
        const size = await this.requireContained(witness.name, note);
        if (size !== null) this.of(witness.name).seen = size;
        return size !== null;
      }),
    );
    return answers.filter(Boolean).length;
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
    await reached(asked, () => quorumReached(policy, new Set(lines.keys())));
    if (lines.size > 0) await storage.putCosigned(assemble());
    if (!quorumReached(policy, new Set(lines.keys()))) throw this.notReached(checkpoint.size, [...lines.keys()]);
    this.latest = assemble();
    // Those who answer after the quorum still add their line.
    void Promise.allSettled(asked).then(() => this.keepLate(assemble(), lines.size));
    return this.latest;
  }

  private async keepLate(checkpoint: SignedCheckpoint, count: number): Promise<void> {
    if (this.latest?.size !== checkpoint.size || parseNote(this.latest.note).signatures.length >= count + 1) return;
    this.latest = checkpoint;
    // The store may be closed by now; the quorum is kept already.
    await this.parts.storage.putCosigned(checkpoint).catch(() => {});
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
        if (answer.status === 422) await this.look(witness);
        return this.refuse(known, `answered ${answer.status}: ${answer.reason}`);
      }
      if (answer.size > checkpoint.size) {
        const size = await this.look(witness);
        return this.refuse(
          known,
          size === null ? `claims size ${answer.size} and does not show it` : `has seen size ${size} already`,
        );
      }
      known.seen = answer.size;
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
    return witness.addCheckpoint({ oldSize, proof, note: checkpoint.note });
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
      known.seen = checkpoint.size;
      known.size = checkpoint.size;
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

  private async look(witness: Witness): Promise<number | null> {
    const note = await witness.latest(this.parts.origin);
    return note == null ? null : this.requireContained(witness.name, note);
  }

  /** Size of a note that a witness shows, if our own key signed it; null for anything else, which proves nothing. */
  private async requireContained(name: string, shown: string): Promise<number | null> {
    const { state, edge, storage, origin } = this.parts;
    let head: ReturnType<typeof parseCheckpoint>;
    try {
      const note = parseNote(shown);
      head = parseCheckpoint(note.text);
      if (head.origin !== origin) return null;
      const keys = state().logKeys.map((key) => key.key);
      await verifyNote(note, keys);
    } catch (error) {
      if (!isTallystickError(error)) throw error;
      return null;
    }
    const right = edge().fork();
    const details = { witness: name, note: shown };
    if (head.size > right.size) {
      const message = `witness ${name} shows a checkpoint of size ${head.size} under this ledger's key, but the ledger has ${right.size} entries: it was rolled back`;
      throw this.raise(
        new VerificationError("rolled-back", message, {
          details: { ...details, expected: head.size, found: right.size, what: "ledger" },
        }),
      );
    }
    const root = await right.root(storage, head.size);
    if (!bytesEqual(root, head.root)) {
      const message = `witness ${name} shows another history of size ${head.size} under this ledger's key`;
      throw this.raise(
        new VerificationError("forked", message, {
          details: { ...details, size: head.size, expected: encodeHex(head.root), found: encodeHex(root) },
        }),
      );
    }
    return head.size;
  }

  private raise(alarm: VerificationError): VerificationError {
    this.alarm = alarm;
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

/** For a gate before the first signature: no witness answered, so nothing says that this ledger was not rolled back. */
export function noWitnessAnswered(names: readonly string[]): UnavailableError {
  return new UnavailableError(
    "signer-unavailable",
    `not signing: none of the witnesses ${names.join(", ")} says what it saw last, so a rollback could not be noticed. Appends stay durable`,
  );
}
