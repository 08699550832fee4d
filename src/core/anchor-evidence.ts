import {
  BITCOIN_TIME_SLACK_SECONDS,
  type BitcoinHeader,
  parseBitcoinHeader,
  verifyOts,
} from "./anchor-proof/bitcoin.ts";
import type { Certificate } from "./anchor-proof/certificate.ts";
import { type OtsFile, parseOtsFile } from "./anchor-proof/opentimestamps.ts";
import { bitcoinHeightsIn, continuesPromises, promisesIn } from "./anchor-proof/proof-state.ts";
import { parseTimestampToken, verifyTimestamp } from "./anchor-proof/rfc3161.ts";
import { type Checkpoint, parseLedgerCheckpoint } from "./checkpoint.ts";
import { bytesEqual, encodeHex } from "./encoding.ts";
import { isTallystickError } from "./errors.ts";
import { sha256 } from "./hash.ts";
import { TIME_SKEW_SECONDS_MAX } from "./limits.ts";
import { parseNote } from "./note.ts";
import { type Policy, verifyCheckpoint } from "./policy.ts";
import type { Finding, FindingCode } from "./report.ts";
import { type Timeline, type TimelineNotAfter, type TimelineNotBefore, timelineOf, timeText } from "./timeline.ts";

/**
 * What anchors say about the time of a ledger: which of them hold under what the reader trusts, and which contradict the ledger.
 * Pure, for ledgers and packages alike. Anchors move the time verdict and no other. Spec: spec/anchors.md, spec/verification.md.
 */

/** An anchor as it is shown: a `ledger.anchor` event, and the bytes that belong to it. */
export interface ShownAnchor {
  /** As the event says: `rfc3161`, `opentimestamps`; others are kept and not checked. */
  readonly kind: string;
  /** Bytes of the anchored note and of its proof; null where they are gone. */
  readonly note: Uint8Array | null;
  readonly proof: Uint8Array | null;
  /** The event that records it; null for an anchor that no event of the ledger names, which then follows nothing. */
  readonly recorded: RecordedAnchor | null;
}

/** What a `ledger.anchor` event says. Spec: spec/control-events.md 15. */
export interface RecordedAnchor {
  /** Leaf index of the event. */
  readonly index: number;
  readonly size: number;
  /** Hex. */
  readonly root: string;
  /** Hex SHA-256 of the note and of the proof. */
  readonly note: string;
  readonly proof: string;
}

export interface ExamineAnchorsOptions {
  /** Origin of the ledger that the anchors should speak of. */
  readonly origin: string;
  /** What the reader pins, or a check of his own: what is wrong with the signatures of an anchored note, null where nothing is. */
  readonly policy: Policy | ((note: Uint8Array) => Promise<string | null>);
  /** Certificates that the reader pins: an RFC 3161 token counts under one of them only. */
  readonly tsaRoots: readonly Certificate[];
  /** Block headers that the reader trusts to be in the chain: an OpenTimestamps proof counts under one of them only. */
  readonly headers: readonly BitcoinHeader[];
  /** Easiest target of a header, in compact form; another than the main chain's is for test networks. */
  readonly bitsMax?: number | undefined;
  /** Hex root of the first `size` entries; null where it cannot be told. */
  readonly rootAt: (size: number) => Promise<string | null> | string | null;
  /** Time of an entry; null where it cannot be told. Without it entry times are not held against the anchors. */
  readonly timeAt?: (index: number) => Promise<string | null> | string | null;
}

export interface AnchorExamination extends Timeline {
  /** All of them fail the time verdict, but for `checkpoint-signature`. */
  readonly findings: readonly Finding[];
  /** What says nothing to this reader, one sentence for each reason. */
  readonly unchecked: readonly string[];
  /** Kinds of which at least one anchor holds under what the reader trusts. */
  readonly held: readonly string[];
}

/**
 * Examines anchors one after another. What is wrong with one is a finding and takes nothing from the others.
 * `proof-invalid` only for `headers` that are none.
 */
export async function examineAnchors(
  anchors: Iterable<ShownAnchor> | AsyncIterable<ShownAnchor>,
  options: ExamineAnchorsOptions,
): Promise<AnchorExamination> {
  for (const { header } of options.headers) parseBitcoinHeader(header, options.bitsMax);
  const examiner = new AnchorExaminer(options);
  for await (const anchor of anchors) await examiner.examine(anchor);
  return examiner.finish();
}

/** What a proof that holds bounds, in milliseconds since 1970. */
interface Held {
  readonly notAfterMs: number;
  readonly notBeforeMs: number;
  readonly source: string;
  readonly relies: { readonly notAfter: string; readonly notBefore: string };
}

/** Nothing is wrong, and nothing is shown: one sentence without a subject, of which several anchors can be the subject. */
interface Open {
  readonly unchecked: string;
}

/** Thrown while one anchor is examined: it becomes a finding. */
class Objection {
  readonly finding: Omit<Finding, "index">;
  constructor(code: FindingCode, message: string, more: Omit<Finding, "code" | "message" | "index"> = {}) {
    this.finding = { code, message, ...more };
  }
}

const KIND_NAMES: ReadonlyMap<string, string> = new Map([
  ["rfc3161", "RFC 3161 time stamp"],
  ["opentimestamps", "OpenTimestamps proof"],
]);

class AnchorExaminer {
  private readonly options: ExamineAnchorsOptions;
  private readonly findings: Finding[] = [];
  private readonly notAfter: TimelineNotAfter[] = [];
  private readonly notBefore: TimelineNotBefore[] = [];
  private readonly held = new Set<string>();
  /** Reason → how many, by kind. */
  private readonly open = new Map<string, { readonly kind: string; readonly reason: string; count: number }>();
  /** OpenTimestamps proofs that wait, by the note: an upgrade takes those out that it continues. */
  private readonly waiting = new Map<string, { readonly leaves: ReadonlySet<string>; readonly reason: string }[]>();
  private readonly roots = new Map<number, string | null>();

  constructor(options: ExamineAnchorsOptions) {
    this.options = options;
  }

  async examine(anchor: ShownAnchor): Promise<void> {
    const index = anchor.recorded?.index;
    try {
      await this.examineOne(anchor);
    } catch (error) {
      if (!(error instanceof Objection)) throw error;
      const finding = { evidence: nameOf(anchor), ...error.finding };
      this.findings.push(index === undefined ? finding : { ...finding, index });
    }
  }

  finish(): AnchorExamination {
    for (const proofs of this.waiting.values())
      for (const { reason } of proofs) this.leaveOpen("opentimestamps", reason);
    const unchecked = [...this.open.values()].map(({ kind, reason, count }) => {
      const name = KIND_NAMES.get(kind) ?? "anchor";
      return `${count} ${name}${count === 1 ? "" : "s"}: ${reason}`;
    });
    const timeline = timelineOf(this.notAfter, this.notBefore);
    return { ...timeline, findings: this.findings, unchecked, held: [...this.held].sort() };
  }

  private async examineOne(anchor: ShownAnchor): Promise<void> {
    const { note, proof } = presentBytes(anchor);
    const checkpoint = this.readNote(anchor.recorded, note);
    const root = await this.rootAt(checkpoint.size);
    if (root === null) return this.leaveOpen(anchor.kind, "the root at the size that it anchors cannot be told");
    if (root !== encodeHex(checkpoint.root)) {
      throw new Objection(
        "anchor-mismatch",
        `the anchored checkpoint of size ${checkpoint.size} is of another history`,
        {
          expected: encodeHex(checkpoint.root),
          found: root,
          evidence: nameOf(anchor),
        },
      );
    }
    const wrong = await this.signatureProblem(note);
    if (wrong !== null)
      throw new Objection("checkpoint-signature", `${nameOf(anchor)}: ${wrong}`, { evidence: nameOf(anchor) });
    const result = await this.examineProof(anchor, proof, sha256(note));
    if (result === null) return;
    if ("unchecked" in result) return this.leaveOpen(anchor.kind, result.unchecked);
    await this.hold(anchor, checkpoint.size, result);
  }

  /** The checkpoint in the note: of this ledger, and the one that the event names. */
  private readNote(recorded: RecordedAnchor | null, note: Uint8Array): Checkpoint {
    const checkpoint = checkpointOf(note);
    const { origin } = this.options;
    if (checkpoint === null) throw new Objection("anchor-mismatch", "what was anchored is no checkpoint of a ledger");
    if (checkpoint.origin !== origin) {
      throw new Objection("anchor-mismatch", "what was anchored is a checkpoint of another ledger", {
        expected: origin,
        found: checkpoint.origin,
      });
    }
    const root = encodeHex(checkpoint.root);
    if (recorded !== null && (recorded.size !== checkpoint.size || recorded.root !== root)) {
      throw new Objection("anchor-mismatch", "what was anchored is another checkpoint than its event says", {
        expected: `size ${recorded.size}, root ${recorded.root}`,
        found: `size ${checkpoint.size}, root ${root}`,
      });
    }
    return checkpoint;
  }

  private async rootAt(size: number): Promise<string | null> {
    if (!this.roots.has(size)) this.roots.set(size, await this.options.rootAt(size));
    return this.roots.get(size) ?? null;
  }

  private async signatureProblem(note: Uint8Array): Promise<string | null> {
    const { policy } = this.options;
    if (typeof policy === "function") return policy(note);
    try {
      await verifyCheckpoint(note, policy);
      return null;
    } catch (error) {
      if (!isTallystickError(error)) throw error;
      return error.message;
    }
  }

  /** What the proof says; null for one that is taken note of elsewhere. */
  private async examineProof(anchor: ShownAnchor, proof: Uint8Array, digest: Uint8Array): Promise<Held | Open | null> {
    if (anchor.kind === "rfc3161") return this.examineTimestamp(anchor, proof, digest);
    if (anchor.kind === "opentimestamps") return this.examineOts(anchor, proof, digest);
    return { unchecked: "of a kind that this verifier does not know" };
  }

  private async examineTimestamp(anchor: ShownAnchor, proof: Uint8Array, digest: Uint8Array): Promise<Held | Open> {
    const { imprint } = parsed(anchor, () => parseTimestampToken(proof)).info;
    if (imprint.algorithm !== "sha256" || !bytesEqual(imprint.digest, digest))
      throw stampsAnother(anchor, imprint.digest, digest);
    try {
      const verified = await verifyTimestamp(proof, { digest, roots: this.options.tsaRoots });
      const exact = verified.accuracyMs === null ? ", which states no accuracy" : "";
      return {
        notAfterMs: verified.notAfterMs,
        notBeforeMs: verified.notBeforeMs,
        source: `${nameOf(anchor)} by ${verified.authority}${exact}`,
        relies: RELIES_ON_AUTHORITY,
      };
    } catch (error) {
      if (!isTallystickError(error)) throw error;
      if (error.code === "untrusted-key")
        return { unchecked: "no certificate that the reader pins vouches for the authority" };
      throw contradicted(anchor, error.message);
    }
  }

  private examineOts(anchor: ShownAnchor, proof: Uint8Array, digest: Uint8Array): Held | Open | null {
    const file = parsed(anchor, () => parseOtsFile(proof));
    if (file.fileHash !== "sha256" || !bytesEqual(file.timestamp.message, digest))
      throw stampsAnother(anchor, file.timestamp.message, digest);
    const heights = bitcoinHeightsIn(file);
    const { headers, bitsMax } = this.options;
    const known = new Set(headers.map((one) => one.height));
    try {
      if (heights.some((height) => known.has(height))) {
        const verified = verifyOts(proof, { digest, headers, ...(bitsMax === undefined ? {} : { bitsMax }) });
        this.forgetContinued(file, digest);
        return {
          notAfterMs: verified.notAfterMs,
          notBeforeMs: verified.notBeforeMs,
          source: `${nameOf(anchor)} in Bitcoin block ${verified.height}`,
          relies: RELIES_ON_BITCOIN,
        };
      }
    } catch (error) {
      if (!isTallystickError(error)) throw error;
      // A block that the reader does not have may still hold what a made-up attestation does not.
      if (heights.every((height) => known.has(height))) throw contradicted(anchor, error.message);
    }
    if (heights.length > 0) this.forgetContinued(file, digest);
    this.wait(
      file,
      digest,
      heights.length === 0 ? "pending, no block attests it yet" : "no header of a block that attests it is at hand",
    );
    return null;
  }

  /** An upgrade has every promise of the proof that it continues: the earlier one is then no open matter any more. */
  private forgetContinued(file: OtsFile, digest: Uint8Array): void {
    const leaves = promisesIn(file);
    const key = encodeHex(digest);
    const rest = (this.waiting.get(key) ?? []).filter((one) => !continuesPromises(leaves, one.leaves));
    this.waiting.set(key, rest);
  }

  private wait(file: OtsFile, digest: Uint8Array, reason: string): void {
    const key = encodeHex(digest);
    this.waiting.set(key, [...(this.waiting.get(key) ?? []), { leaves: promisesIn(file), reason }]);
  }

  private async hold(
    anchor: ShownAnchor,
    size: number,
    { notAfterMs, notBeforeMs, source, relies }: Held,
  ): Promise<void> {
    const notAfter = timeText(notAfterMs);
    const notBefore = timeText(notBeforeMs);
    if (notAfter === null || notBefore === null)
      throw contradicted(anchor, "its time lies beyond the years 0000 to 9999");
    this.held.add(anchor.kind);
    this.notAfter.push({ size, time: notAfter, source, relies: relies.notAfter });
    const index = anchor.recorded?.index ?? null;
    if (index !== null) this.notBefore.push({ index, time: notBefore, source, relies: relies.notBefore });
    await this.compareTimes({ size, index, notAfterMs, notBeforeMs, source });
  }

  /** Times never go back: the last entry that is covered has the latest one, the event itself the earliest of those that follow. */
  private async compareTimes(bound: {
    readonly size: number;
    readonly index: number | null;
    readonly notAfterMs: number;
    readonly notBeforeMs: number;
    readonly source: string;
  }): Promise<void> {
    const { timeAt } = this.options;
    if (timeAt === undefined) return;
    const last = bound.size - 1;
    const covered = await timeAt(last);
    const limit = timeText(bound.notAfterMs + SKEW_MS);
    if (covered !== null && limit !== null && covered > limit) {
      this.findings.push({
        code: "time-after-evidence",
        message: `entry ${last} claims a time after it provably existed`,
        ...{ index: last, expected: limit, found: covered, evidence: bound.source },
      });
    }
    if (bound.index === null) return;
    const following = await timeAt(bound.index);
    const earliest = timeText(bound.notBeforeMs - SKEW_MS);
    if (following !== null && earliest !== null && following < earliest) {
      this.findings.push({
        code: "time-before-evidence",
        message: `entry ${bound.index} claims a time before something that it provably follows`,
        ...{ index: bound.index, expected: earliest, found: following, evidence: bound.source },
      });
    }
  }

  private leaveOpen(kind: string, reason: string): void {
    const known = KIND_NAMES.has(kind) ? kind : "other";
    const key = `${known}\n${reason}`;
    const row = this.open.get(key);
    if (row === undefined) this.open.set(key, { kind: known, reason, count: 1 });
    else row.count += 1;
  }
}

const SKEW_MS: number = TIME_SKEW_SECONDS_MAX * 1_000;

const RELIES_ON_AUTHORITY: Held["relies"] = {
  notAfter: "the time-stamping authority under the pinned certificate tells the right time and keeps its key",
  notBefore: "the time-stamping authority under the pinned certificate tells the right time and keeps its key",
};

const SLACK_HOURS: number = BITCOIN_TIME_SLACK_SECONDS / 3_600;
const RELIES_ON_BITCOIN: Held["relies"] = {
  notAfter: `the block is in Bitcoin's chain, and its miner set its time within ${SLACK_HOURS} hours`,
  notBefore: `the block is in Bitcoin's chain, and its miner set its time within ${SLACK_HOURS} hours and did not put its transactions together before`,
};

function presentBytes({ note, proof, recorded }: ShownAnchor): {
  readonly note: Uint8Array;
  readonly proof: Uint8Array;
} {
  for (const [name, bytes] of [
    ["note", note],
    ["proof", proof],
  ] as const) {
    if (bytes === null) throw new Objection("anchor-missing", `the ${name} that an anchor is recorded with is gone`);
    const found = encodeHex(sha256(bytes));
    if (recorded !== null && found !== recorded[name]) {
      throw new Objection("anchor-mismatch", `the ${name} of an anchor is not the one that was recorded`, {
        expected: recorded[name],
        found,
      });
    }
  }
  return { note: note as Uint8Array, proof: proof as Uint8Array };
}

function checkpointOf(note: Uint8Array): Checkpoint | null {
  try {
    return parseLedgerCheckpoint(parseNote(note).text);
  } catch (error) {
    if (!isTallystickError(error)) throw error;
    return null;
  }
}

function parsed<T>(anchor: ShownAnchor, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (!isTallystickError(error)) throw error;
    throw contradicted(anchor, error.message);
  }
}

function contradicted(anchor: ShownAnchor, problem: string): Objection {
  return new Objection("anchor-invalid", `${nameOf(anchor)} does not hold: ${problem}`);
}

function stampsAnother(anchor: ShownAnchor, found: Uint8Array, expected: Uint8Array): Objection {
  return new Objection("anchor-mismatch", `${nameOf(anchor)} stamps something else than the note beside it`, {
    expected: encodeHex(expected),
    found: encodeHex(found),
  });
}

function nameOf({ kind, recorded }: ShownAnchor): string {
  const name = KIND_NAMES.get(kind) ?? "anchor";
  return recorded === null ? name : `${name} of entry ${recorded.index}`;
}
