import { type AnchorExamination, examineAnchors, type ShownAnchor } from "../core/anchor-evidence.ts";
import { BITCOIN_HEADERS_MAX, bitcoinHeightsOf } from "../core/anchor-proof/bitcoin.ts";
import type { Certificate } from "../core/anchor-proof/certificate.ts";
import { idGuard } from "../core/control-event.ts";
import { bytesEqual, decodeHex, encodeHex } from "../core/encoding.ts";
import { parseEntry } from "../core/entry.ts";
import { type SourceRun, sourceFinding } from "../core/entry-verifier.ts";
import { isTallystickError, MalformedError, VerificationError } from "../core/errors.ts";
import { witnessBound } from "../core/file-report.ts";
import { FindingList } from "../core/finding-list.ts";
import { type AnchorEvent, type ControlEntry, type LedgerState, replayControls } from "../core/ledger-state.ts";
import { SALT_BYTES, TILE_WIDTH, TIME_SKEW_SECONDS_MAX } from "../core/limits.ts";
import { type CompactRange, createRange, hashLeaf, restoreRange } from "../core/merkle.ts";
import { formatPolicy, type Policy, parsePolicy } from "../core/policy.ts";
import {
  createRangeVerifier,
  proveConsistency,
  proveRange,
  readRange,
  treeHash,
  verifyConsistency,
} from "../core/proof.ts";
import type { Finding, FindingCode, Pin, VerifyReport } from "../core/report.ts";
import { type TileReader, tileRoot } from "../core/tile.ts";
import { EMPTY_TIMELINE, timelineOf, timeText } from "../core/timeline.ts";
import { heldOf } from "../core/verify-export.ts";
import { type CheckedCheckpoint, CheckpointTrust } from "./checkpoint-trust.ts";
import { parseControlEntry } from "./control-log.ts";
import { type BitcoinHeaderSource, PROOF_HEADERS_MAX, readHeaders } from "./header-source.ts";
import { DEFAULT_LIMITS } from "./limits.ts";
import type { Names } from "./options.ts";
import type { ErasedId, RawEntry, SideTables, StorageSnapshot } from "./storage.ts";
import { type RangeAnswer, type RangeTask, taskBounds, verifyRange } from "./verify-range.ts";
import { buildReport, type Evidence } from "./verify-report.ts";

export interface VerifyLedgerOptions {
  /** The policy that the reader pins. */
  readonly policy?: string | undefined;
  /** Where that policy came from. */
  readonly pin?: "policy" | "state";
  /** Take the keys from the ledger itself: shows that it is consistent, not whose it is. */
  readonly allowSelfAsserted?: boolean;
  /** A checkpoint note that the reader got earlier, from anywhere: the ledger must contain its history. */
  readonly expect?: string | undefined;
  /** Checkpoint that this machine saw last. */
  readonly lastSeen?: string | undefined;
  /** Checkpoint in the lock store. */
  readonly lockNote?: string | undefined;
  /** Verify only these entries, both inclusive; the report then says that it is a slice. */
  readonly first?: number | undefined;
  readonly last?: number | undefined;
  /** Resume from a checkpoint that was verified before: entries below its size are covered by its root, not read again. */
  readonly since?: string | undefined;
  /** Certificates of time-stamping authorities, or of those that issue them, that the reader pins. */
  readonly tsaRoots?: readonly Certificate[] | undefined;
  /** Where the headers of Bitcoin blocks come from, of which the anchors of the ledger speak. */
  readonly bitcoin?: BitcoinHeaderSource | undefined;
  /** At least one anchor must hold under what the reader trusts; otherwise `requiredMissing` names it. */
  readonly requireAnchor?: boolean | undefined;
  readonly findingsMax?: number;
  readonly signal?: AbortSignal | undefined;
  /** Called after each piece with how many entries of how many were read. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  /** Verifies one range, possibly on another thread; `parallel` says how many may run at once. */
  readonly runRange?:
    | { readonly parallel: number; run(task: RangeTask): Promise<RangeAnswer>; close(): Promise<void> }
    | undefined;
}

/** The names of all of them, but of what the reader's own machine adds. */
export const VERIFY_NAMES: Names<Omit<VerifyLedgerOptions, "pin" | "lastSeen" | "lockNote" | "runRange">> = {
  policy: true,
  allowSelfAsserted: true,
  expect: true,
  first: true,
  last: true,
  since: true,
  tsaRoots: true,
  bitcoin: true,
  requireAnchor: true,
  findingsMax: true,
  signal: true,
  onProgress: true,
};

/**
 * Verifies a ledger from its stored bytes in constant memory and answers with six verdicts and every finding. It writes
 * nothing. Errors: `not-a-ledger` for an empty store, `malformed-policy`, `malformed-config` for an `expect` or `since` that is no
 * checkpoint, and those of the store; everything that is wrong with the ledger itself is a finding. Source: spec/verification.md.
 */
export async function verifyLedger(snapshot: StorageSnapshot, options: VerifyLedgerOptions): Promise<VerifyReport> {
  return new LedgerVerification(snapshot, options).run();
}

/** Whether a report is one to remember the ledger by: every entry was read, or something is wrong. */
export function isTelling({ ok, range }: VerifyReport, { since }: Pick<VerifyLedgerOptions, "since">): boolean {
  return !ok || (range === null && since === undefined);
}

class LedgerVerification {
  private readonly snapshot: StorageSnapshot;
  private readonly options: VerifyLedgerOptions;
  private readonly found: FindingList;
  private readonly findingsMax: number;

  constructor(snapshot: StorageSnapshot, options: VerifyLedgerOptions) {
    this.snapshot = snapshot;
    this.options = options;
    this.findingsMax = options.findingsMax ?? DEFAULT_LIMITS.findingsMax;
    this.found = new FindingList(this.findingsMax);
  }

  async run(): Promise<VerifyReport> {
    const { size } = this.snapshot.head;
    if (size === 0) throw new MalformedError("not-a-ledger", "there is nothing here: not even a genesis entry");
    const pinned = this.options.policy === undefined ? null : parsePolicy(this.options.policy);
    heldOf(this.options.expect);
    heldOf(this.options.since, "since");
    const side = await this.snapshot.sideTables();
    for (const anomaly of side.anomalies) this.report("schema-altered", anomaly);
    let controls = [...side.controls];
    let replay = await this.replay(controls);
    const slice = this.slice(size);
    const since = await this.resumePoint(size, slice !== null);
    const first = slice?.first ?? since?.size ?? 0;
    const end = slice === null ? size : slice.last + 1;
    if (replay.state === null) return this.withoutState(pinned, size, replay.findings);
    let answers = await this.runRanges(replay.state, pinned, { first, end, derived: slice === null });
    const found = [
      ...controls.filter((index) => index < first || index >= end),
      ...answers.flatMap((answer) => answer.controls),
    ].sort((a, b) => a - b);
    if (found.join() !== controls.join()) {
      this.report("derived-control", "the list of control events is not what the entries give; run reindex", {
        expected: found.join(),
        found: controls.join(),
      });
      controls = found;
      replay = await this.replay(controls);
      if (replay.state === null) return this.withoutState(pinned, size, replay.findings);
      answers = await this.runRanges(replay.state, pinned, { first, end, derived: slice === null });
    }
    return this.conclude({
      pinned,
      side,
      size,
      first,
      end,
      slice: slice !== null,
      since,
      state: replay.state,
      replayed: replay.findings,
      answers,
    });
  }

  private report(code: FindingCode, message: string, more: Omit<Finding, "code" | "message"> = {}): void {
    this.found.add(code, message, more);
  }

  private add({ code, message, ...more }: Finding): void {
    this.found.add(code, message, more);
  }

  private slice(size: number): { readonly first: number; readonly last: number } | null {
    const { first = 0, last = size - 1 } = this.options;
    if (this.options.first === undefined && this.options.last === undefined) return null;
    if (!Number.isSafeInteger(first) || !Number.isSafeInteger(last) || first < 0 || first > last || last >= size) {
      throw new RangeError(`verify: expected 0 ≤ first ≤ last < ${size}, got ${first} and ${last}`);
    }
    return first === 0 && last === size - 1 ? null : { first, last };
  }

  /** The checkpoint to resume from, once the stored tiles give its root. */
  private async resumePoint(
    size: number,
    isSlice: boolean,
  ): Promise<{ readonly size: number; readonly range: CompactRange } | null> {
    const { since } = this.options;
    if (since === undefined || isSlice) return null;
    const head = CheckpointTrust.headOf(since);
    if (head === null || head.size > size) return null;
    const range = await readRange(head.size, this.tileReader(size));
    return bytesEqual(range.root(), head.root) ? { size: head.size, range } : null;
  }

  /** State from the control entries at `indexes`. What does not open is left out here and reported by its range. */
  private async replay(
    indexes: readonly number[],
  ): Promise<{ readonly state: LedgerState | null; readonly findings: readonly Finding[] }> {
    const entries: ControlEntry[] = [];
    for (const index of indexes) {
      const control = await this.controlAt(index);
      if (control !== null) entries.push(control);
    }
    return replayControls(entries);
  }

  private async controlAt(index: number): Promise<ControlEntry | null> {
    for await (const page of this.snapshot.readRaw(index, index + 1)) {
      for (const raw of page) {
        try {
          return parseControlEntry(decodeRaw(raw));
        } catch (error) {
          if (!isTallystickError(error)) throw error;
        }
      }
    }
    return null;
  }

  private async runRanges(
    state: LedgerState,
    pinned: Policy | null,
    span: { first: number; end: number; derived: boolean },
  ): Promise<RangeAnswer[]> {
    const bounds = await taskBounds(this.snapshot, span.first, span.end);
    const tasks = bounds.map(
      (bound): RangeTask => ({
        ...bound,
        state,
        requireSignature: pinned?.requireSignature ?? false,
        authors: pinned?.authors ?? [],
        findingsMax: this.findingsMax,
        derived: span.derived,
      }),
    );
    const total = span.end - span.first;
    const answers: RangeAnswer[] = new Array(tasks.length);
    let done = 0;
    let next = 0;
    const runner = this.options.runRange;
    const parallel = span.derived && tasks.length > 1 && runner !== undefined ? runner.parallel : 1;
    const work = async (): Promise<void> => {
      for (let i = next++; i < tasks.length; i = next++) {
        this.options.signal?.throwIfAborted();
        const task = tasks[i] as RangeTask;
        answers[i] =
          parallel > 1 && runner !== undefined ? await runner.run(task) : await verifyRange(this.snapshot, task);
        done += task.end - task.first;
        this.options.onProgress?.(done, total);
      }
    };
    try {
      await Promise.all(Array.from({ length: Math.min(parallel, tasks.length) }, work));
    } finally {
      if (parallel > 1) await runner?.close();
    }
    return answers;
  }

  private async conclude(all: Conclusion): Promise<VerifyReport> {
    const { pinned, side, size, state, answers, first, end } = all;
    for (const answer of answers) {
      this.found.merge(answer.found);
    }
    const range = this.joinRanges(answers, all.since?.range ?? null);
    const genesisLeaf = await this.leafAt(0);
    this.checkSideTables(all);
    if (!all.slice && all.since === null) await this.checkUpperTiles(answers, side);
    if (state.sealedAt !== null && state.sealedAt < size - 1) {
      this.report("after-seal", `entries follow the seal at ${state.sealedAt}`, { index: state.sealedAt + 1 });
    }
    const pin: Pin =
      pinned !== null
        ? (this.options.pin ?? "policy")
        : this.options.allowSelfAsserted === true
          ? "self-asserted"
          : "none";
    for (const finding of all.replayed) if (!allowedBy(pinned, state, finding)) this.add(finding);
    const policy = pinned ?? selfAssertedPolicy(state);
    if (pinned !== null && pinned.origin !== state.genesis.origin) {
      this.report("origin-mismatch", "the ledger has another origin than the policy", {
        expected: pinned.origin,
        found: state.genesis.origin,
        evidence: "pinned policy",
      });
    }
    if (pinned?.genesis != null && pinned.genesis !== genesisLeaf) {
      this.report("genesis-mismatch", "the ledger begins with another genesis entry than the policy pins", {
        index: 0,
        expected: pinned.genesis,
        found: genesisLeaf ?? "nothing",
        evidence: "pinned genesis",
      });
    }
    const treeKnown = range !== null || all.slice;
    const trust = new CheckpointTrust({
      state,
      policy,
      size,
      pin,
      rootAt: (at) => (treeKnown ? this.rootAt(at, all, range) : Promise.resolve(null)),
      report: (code, message, more) => this.report(code, message, more),
    });
    // Of one size the cosigned form comes last, so that it is the one that counts.
    const stored = [...side.checkpoints, ...side.cosigned].sort((a, b) => a.size - b.size);
    for (const checkpoint of stored) await trust.addStored(checkpoint);
    const held = await trust.addHeld({
      expect: this.options.expect,
      lastSeen: this.options.lastSeen,
      lockNote: this.options.lockNote,
      since: this.options.since,
    });
    trust.judgeUncovered();
    const latest = trust.latest();
    const witnessed = trust.witnessed();
    const cosigned = trust.allWitnessed();
    await this.checkTimes(cosigned);
    const anchors = await this.examineAnchors(all, trust, range);
    for (const finding of anchors.findings) this.add(finding);
    if (all.slice && latest !== null) await this.checkSliceInTree(first, end - 1, latest);
    const root = range !== null && !all.slice ? encodeHex(range.root()) : null;
    const evidence: Evidence = {
      pin,
      policy: pinned,
      state,
      size,
      root,
      range: all.slice ? [first, end - 1] : null,
      since: all.since?.size ?? null,
      latest,
      witnessed,
      anchors,
      timeline: timelineOf(
        [
          ...cosigned.flatMap(({ witnessTime, ...one }) =>
            witnessTime === null ? [] : witnessBound({ ...one, witnessTime }),
          ),
          ...anchors.notAfter,
        ],
        anchors.notBefore,
      ),
      requireAnchor: this.options.requireAnchor ?? false,
      held,
      found: this.found,
      answers,
      purges: side.purges,
    };
    return buildReport(evidence);
  }

  /** Merges the ranges: links, times, source counters and subtree hashes across their borders. */
  private joinRanges(answers: readonly RangeAnswer[], from: CompactRange | null): CompactRange | null {
    let joined: CompactRange | null = from?.clone() ?? createRange(answers[0]?.first ?? 0);
    let before: RangeAnswer | null = null;
    const sources = new Map<string, SourceRun>();
    for (const answer of answers) {
      if (before !== null) {
        if (before.lastLeaf !== null && answer.firstPrevious !== null && before.lastLeaf !== answer.firstPrevious) {
          this.report("previous-mismatch", `entry ${answer.first} does not link to entry ${answer.first - 1}`, {
            index: answer.first,
            expected: before.lastLeaf,
            found: answer.firstPrevious,
          });
        }
        if (before.lastTime !== null && answer.firstTime !== null && answer.firstTime < before.lastTime) {
          this.report("time-backwards", `entry ${answer.first} is earlier than the entry before it`, {
            index: answer.first,
            expected: before.lastTime,
            found: answer.firstTime,
          });
        }
      } else if (answer.first === 0 && answer.firstPrevious !== null && !/^0{64}$/.test(answer.firstPrevious)) {
        this.report("previous-mismatch", "entry 0 links to an entry before it", {
          index: 0,
          expected: "0".repeat(64),
          found: answer.firstPrevious,
        });
      }
      for (const run of answer.sources) this.joinSource(sources, run);
      if (joined !== null && answer.subtrees !== null)
        joined.merge(restoreRange({ begin: answer.first, end: answer.end, hashes: answer.subtrees }));
      else joined = null;
      before = answer;
    }
    return joined;
  }

  private joinSource(sources: Map<string, SourceRun>, run: SourceRun): void {
    const before = sources.get(run.id);
    if (before === undefined) {
      sources.set(run.id, { ...run });
      return;
    }
    const finding = sourceFinding(run.id, before, { counter: run.firstCounter, index: run.firstIndex });
    if (finding !== null) this.add({ index: run.firstIndex, ...finding });
    before.lastCounter = Math.max(before.lastCounter, run.lastCounter);
    before.lastIndex = run.lastIndex;
  }

  /** Side tables hold nothing that the entries do not account for. */
  private checkSideTables(all: Conclusion): void {
    const { side, state, size, answers } = all;
    if (!all.slice && all.since === null) {
      const ids = answers.reduce((sum, answer) => sum + answer.ids, 0);
      if (side.ids !== ids && !this.found.has("derived-id") && !this.found.has("id-repeated")) {
        this.report("derived-id", `the id index has ${side.ids} rows, the entries have ${ids} ids; run reindex`, {
          expected: String(ids),
          found: String(side.ids),
        });
      }
      const filters = answers.reduce((sum, answer) => sum + answer.filters, 0);
      // There may be fewer: the ranges are read later, and filters are stored meanwhile.
      if (side.filters > filters && answers.every((answer) => answer.subtrees !== null)) {
        this.report("derived-filter", "filters are stored for blocks that do not exist; run reindex", {
          expected: String(filters),
          found: String(side.filters),
        });
      }
    }
    const anchors = new Set(state.anchors.map((anchor) => anchor.index));
    for (const index of side.anchors) {
      if (!anchors.has(index))
        this.report("stored-garbage", `an anchor is stored for entry ${index}, which records none`, { index });
    }
    const erasedIds = new Map(side.erasedIds.map((erased) => [erased.index, erased]));
    for (const [index, erased] of state.erasures) {
      if (erased.idGuard === null) continue;
      const kept = erasedIds.get(index);
      erasedIds.delete(index);
      if (kept === undefined || guardOf(kept) !== erased.idGuard) {
        this.report(
          "erased-id-mismatch",
          `what guards the erased id of entry ${index} against reuse ${kept === undefined ? "is missing" : "was changed"}`,
          { index, expected: erased.idGuard },
        );
      }
    }
    for (const index of erasedIds.keys())
      this.report("erased-id-mismatch", `an erased id is kept for entry ${index}, and no erasure of one is recorded`, {
        index,
      });
    for (const erasure of side.purges) {
      const known = [...state.erasures.values()].some(
        (erased) => erased.wholeBy === erasure || [...erased.fields.values()].includes(erasure),
      );
      if (!known || erasure >= size)
        this.report("stored-garbage", `a purge is noted for entry ${erasure}, which is not an erasure`, {
          index: erasure,
        });
    }
  }

  /** Tiles of level 2 and above, from the level-1 roots of the ranges; and that no other tile is stored. */
  private async checkUpperTiles(answers: readonly RangeAnswer[], side: SideTables): Promise<void> {
    if (answers.some((answer) => answer.subtrees === null)) return;
    let tiles = answers.reduce((sum, answer) => sum + answer.tiles, 0);
    let roots = answers.flatMap((answer) => answer.tileRoots).sort((a, b) => a.index - b.index);
    for (let level = 2; roots.length >= TILE_WIDTH; level++) {
      const next: typeof roots = [];
      for (let index = 0; (index + 1) * TILE_WIDTH <= roots.length; index++) {
        const hashes = new Uint8Array(TILE_WIDTH * 32);
        for (const [i, { root }] of roots.slice(index * TILE_WIDTH, (index + 1) * TILE_WIDTH).entries())
          hashes.set(root, i * 32);
        const stored = await this.snapshot.readTile(level, index);
        if (stored !== undefined) tiles += 1;
        if (stored === undefined || !bytesEqual(stored, hashes))
          this.report("derived-tile", `tile ${level}/${index} is not what its entries give; run reindex`);
        next.push({ level, index, root: tileRoot(hashes) });
      }
      roots = next;
    }
    if (tiles !== side.tiles)
      this.report("derived-tile", "tiles are stored that no entry accounts for, or some are missing; run reindex", {
        expected: String(tiles),
        found: String(side.tiles),
      });
  }

  private async rootAt(size: number, all: Conclusion, range: CompactRange | null): Promise<Uint8Array | null> {
    if (size === all.size && range !== null && !all.slice) return range.root();
    return treeHash(size, this.tileReader(all.size));
  }

  /** The entries of a slice lie in the tree that the latest checkpoint signs. */
  private async checkSliceInTree(first: number, last: number, latest: CheckedCheckpoint): Promise<void> {
    const end = Math.min(last, latest.size - 1);
    if (first > end) return;
    const proof = await proveRange(first, end, latest.size, this.tileReader(this.snapshot.head.size));
    const verifier = createRangeVerifier({ first, last: end, size: latest.size, proof });
    let count = 0;
    for await (const page of this.snapshot.readRaw(first, end + 1)) {
      for (const raw of page) {
        if (raw.entry !== null) {
          verifier.add(hashLeaf(raw.entry));
          count += 1;
        }
      }
    }
    if (count !== end - first + 1) return;
    const root = verifier.root();
    if (!bytesEqual(root, latest.root)) {
      this.report(
        "checkpoint-root",
        `the slice is not part of the tree that the checkpoint of size ${latest.size} signs`,
        { expected: encodeHex(latest.root), found: encodeHex(root), evidence: `checkpoint of size ${latest.size}` },
      );
    }
  }

  /** Times never go back, so the last covered entry has the latest time. One step of a clock shows in every cosignature after it. */
  private async checkTimes(cosigned: readonly CheckedCheckpoint[]): Promise<void> {
    for (const { size, witnessTime } of cosigned) {
      if (witnessTime === null) continue;
      const time = await this.timeAt(size - 1);
      const limit = timeText(1_000 * (witnessTime + TIME_SKEW_SECONDS_MAX));
      if (time === null || limit === null || time <= limit) continue;
      return this.report("time-after-evidence", `entry ${size - 1} claims a time after witnesses had seen it`, {
        index: size - 1,
        expected: limit,
        found: time,
        evidence: `cosignatures of size ${size}`,
      });
    }
  }

  /**
   * What the anchors say. Of a slice nothing: their events and most of the tree were not read. Those recorded before the checkpoint
   * that verification resumed from were examined when it was verified.
   */
  private async examineAnchors(
    all: Conclusion,
    trust: CheckpointTrust,
    range: CompactRange | null,
  ): Promise<AnchorExamination> {
    const { anchors } = all.state;
    const from = all.since?.size ?? 0;
    const events = all.slice ? [] : anchors.filter((anchor) => anchor.index >= from);
    const { headers, failures } = await this.headersFor(events);
    const examination = await examineAnchors(this.shownAnchors(events), {
      origin: all.state.genesis.origin,
      policy: (note) => trust.objectionTo(new TextDecoder().decode(note)),
      tsaRoots: this.options.tsaRoots ?? [],
      headers,
      bitsMax: this.options.bitcoin?.bitsMax,
      rootAt: (size) => this.provenRoot(size, all, range),
      timeAt: (index) => this.timeAt(index),
    });
    const left = anchors.length - events.length;
    const unchecked = [
      ...examination.unchecked,
      ...(left === 0
        ? []
        : [
            `${left} ${left === 1 ? "anchor" : "anchors"} ${all.slice ? "beside the slice" : `recorded before entry ${from}`}`,
          ]),
      ...(failures.length === 0
        ? []
        : [
            `${failures.length} ${failures.length === 1 ? "header" : "headers"} of blocks could not be had; ${failures[0]}`,
          ]),
    ];
    return { ...examination, unchecked };
  }

  /** One after another, so that a ledger with many takes no more memory than one with few. */
  private async *shownAnchors(events: readonly AnchorEvent[]): AsyncGenerator<ShownAnchor> {
    for (const { index, kind, size, root, note, proof } of events) {
      this.options.signal?.throwIfAborted();
      const stored = await this.snapshot.readAnchor(index);
      const recorded = { index, size, root, note, proof };
      yield { kind, note: stored?.note ?? null, proof: stored?.proof ?? null, recorded };
    }
  }

  /** The headers that the proofs ask for, before anything is judged: what follows asks nobody. */
  private async headersFor(events: readonly AnchorEvent[]): ReturnType<typeof readHeaders> {
    const { bitcoin, signal } = this.options;
    if (bitcoin === undefined) return { headers: [], failures: [] };
    const heights = new Set<number>();
    for (const { index, kind, note } of events) {
      const proof = kind === "opentimestamps" ? ((await this.snapshot.readAnchor(index))?.proof ?? null) : null;
      if (proof === null) continue;
      try {
        const digest = decodeHex(note, { sizeBytes: HASH_BYTES, code: "malformed-proof" });
        for (const height of bitcoinHeightsOf(proof, digest).slice(0, PROOF_HEADERS_MAX)) heights.add(height);
      } catch (error) {
        // The examination says what is wrong with it.
        if (!isTallystickError(error)) throw error;
      }
    }
    const ascending = [...heights].sort((a, b) => a - b);
    return readHeaders(bitcoin, ascending, { signal, max: BITCOIN_HEADERS_MAX });
  }

  /**
   * Hex root at a size, of the tree that was verified: where parts of it were not read again, only if the stored tiles prove that the
   * smaller tree is a prefix of it. Null where it cannot be told.
   */
  private async provenRoot(size: number, all: Conclusion, range: CompactRange | null): Promise<string | null> {
    if (range === null || size > all.size) return null;
    const root = await this.rootAt(size, all, range);
    if (root === null || all.since === null || size === all.size) return root && encodeHex(root);
    try {
      const proof = await proveConsistency(size, all.size, this.tileReader(all.size));
      verifyConsistency({ oldSize: size, oldRoot: root, newSize: all.size, newRoot: range.root(), proof });
      return encodeHex(root);
    } catch (error) {
      if (!isTallystickError(error)) throw error;
      return null;
    }
  }

  private async leafAt(index: number): Promise<string | null> {
    for await (const page of this.snapshot.readRaw(index, index + 1))
      for (const raw of page) if (raw.entry !== null) return encodeHex(hashLeaf(raw.entry));
    return null;
  }

  private async timeAt(index: number): Promise<string | null> {
    for await (const page of this.snapshot.readRaw(index, index + 1)) {
      for (const raw of page) {
        try {
          return parseEntry(decodeRaw(raw).entry).time;
        } catch (error) {
          if (!isTallystickError(error)) throw error;
        }
      }
    }
    return null;
  }

  /** Tiles as stored where they were found right; from the entries themselves where not. */
  private tileReader(size: number): TileReader {
    const read = async (level: number, index: number, width: number): Promise<Uint8Array> => {
      const stored = this.found.has("derived-tile") ? undefined : await this.snapshot.readTile(level, index);
      if (stored !== undefined && stored.length === TILE_WIDTH * 32) return stored.subarray(0, width * 32);
      const hashes = new Uint8Array(width * 32);
      if (level > 0) {
        for (let i = 0; i < width; i++)
          hashes.set(tileRoot(await read(level - 1, index * TILE_WIDTH + i, TILE_WIDTH)), i * 32);
        return hashes;
      }
      const first = index * TILE_WIDTH;
      for await (const page of this.snapshot.readRaw(first, Math.min(size, first + width))) {
        for (const raw of page) if (raw.entry !== null) hashes.set(hashLeaf(raw.entry), (raw.index - first) * 32);
      }
      return hashes;
    };
    return read;
  }

  /** Nothing can be checked against a genesis that cannot be read: say so, with every structural finding. */
  private withoutState(pinned: Policy | null, size: number, replayed: readonly Finding[]): VerifyReport {
    for (const finding of replayed) this.add(finding);
    if (!this.found.has("genesis-malformed")) {
      this.report("genesis-malformed", "entry 0 is not the genesis of a ledger", { index: 0 });
    }
    return buildReport({
      pin: pinned === null ? "none" : (this.options.pin ?? "policy"),
      policy: pinned,
      state: null,
      size,
      root: null,
      range: null,
      since: null,
      latest: null,
      witnessed: null,
      anchors: NO_ANCHORS,
      timeline: EMPTY_TIMELINE,
      requireAnchor: this.options.requireAnchor ?? false,
      held: [],
      found: this.found,
      answers: [],
      purges: [],
    });
  }
}

interface Conclusion {
  readonly pinned: Policy | null;
  readonly side: SideTables;
  readonly size: number;
  readonly first: number;
  readonly end: number;
  readonly slice: boolean;
  readonly since: { readonly size: number; readonly range: CompactRange } | null;
  readonly state: LedgerState;
  readonly replayed: readonly Finding[];
  readonly answers: readonly RangeAnswer[];
}

const NO_ANCHORS: AnchorExamination = { ...EMPTY_TIMELINE, findings: [], unchecked: [], held: [] };

/** Guard of what is kept of an erased id; null for bytes that are none. */
function guardOf({ salt, digest }: ErasedId): string | null {
  return salt.length === SALT_BYTES && digest.length === HASH_BYTES ? idGuard(salt, digest) : null;
}

const HASH_BYTES = 32;

const DECODER = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function decodeRaw(raw: RawEntry): {
  index: number;
  entry: string;
  body: string | null;
  salts: Uint8Array | null;
  disclosure: string | null;
} {
  const text = (bytes: Uint8Array | null): string | null => {
    try {
      return bytes === null ? null : DECODER.decode(bytes);
    } catch (cause) {
      throw new MalformedError("malformed-entry", `entry ${raw.index} is not UTF-8 text`, { cause });
    }
  };
  return {
    index: raw.index,
    entry: text(raw.entry) ?? "",
    body: text(raw.body),
    salts: raw.salts,
    disclosure: text(raw.disclosure),
  };
}

/** Whether the reader's pin makes a finding about keys or rules void. Source: spec/policy.md 17, spec/keys.md 12. */
function allowedBy(pinned: Policy | null, state: LedgerState, { code, index }: Finding): boolean {
  if (code === "rules-weakened") return pinned !== null && !pinned.requireSignature;
  if (code !== "key-continuity-broken") return false;
  if (pinned === null) return true;
  const vkeys = pinned.logKeys.map((key) => key.vkey);
  return state.logKeys.some((known) => known.introducedAt === index && vkeys.includes(known.key.vkey));
}

/** The keys that the ledger gives itself: enough to show that it agrees with itself. */
function selfAssertedPolicy(state: LedgerState): Policy {
  const keys = state.logKeys
    .filter((known) => known.introduced === "genesis" || known.introduced === "recovered")
    .map((known) => known.key);
  return parsePolicy(formatPolicy({ logKeys: keys }));
}

/** Throws `verification-failed` unless the report is ok and conclusive; returns it otherwise. */
export function assertVerified(report: VerifyReport): VerifyReport {
  if (report.ok && report.conclusive && report.requiredMissing.length === 0) return report;
  throw new VerificationError("verification-failed", report.summary, {
    details: { findings: report.findings.slice(0, 20), verdicts: report.verdicts },
  });
}
