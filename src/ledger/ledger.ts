import { channel } from "node:diagnostics_channel";
import { parseCheckpoint } from "../core/checkpoint.ts";
import { headOfNote } from "../core/contradiction.ts";
import { bytesEqual, decodeUtf8, encodeHex } from "../core/encoding.ts";
import {
  isTallystickError,
  MalformedError,
  PolicyError,
  type TallystickError,
  UnavailableError,
  VerificationError,
} from "../core/errors.ts";
import type { Event } from "../core/event.ts";
import type { ExportGenesis } from "../core/export-format.ts";
import { sha256Hex } from "../core/hash.ts";
import type { LedgerState } from "../core/ledger-state.ts";
import { NOTE_BYTES_MAX } from "../core/limits.ts";
import { parseNote } from "../core/note.ts";
import type { Policy } from "../core/policy.ts";
import { proveConsistency, treeHash } from "../core/proof.ts";
import type { VerifyReport } from "../core/report.ts";
import { SubtreeMemo } from "../core/tile.ts";
import type { Anchor } from "./anchor.ts";
import { Anchoring, type AnchorResult, type NewAnchor } from "./anchoring.ts";
import { Appender, type AppendOptions, NO_OPTIONS } from "./appender.ts";
import type { Archive } from "./archive.ts";
import { bootCheck, requireCovered } from "./boot.ts";
import type { BulkWriter } from "./bulk-writer.ts";
import { Checkpointer, type SignedCheckpoint } from "./checkpointer.ts";
import type { Clock } from "./clock.ts";
import { type LoadedState, loadState, refreshState } from "./control-log.ts";
import { type Erased, type EraseOptions, type EraseTarget, eraseTargets, planErasure } from "./erase.ts";
import { type ExportOptions, exportLedger, wholeEntry } from "./export.ts";
import { Indexer } from "./indexer.ts";
import { KeyEvents } from "./key-events.ts";
import { policyOf } from "./ledger-policy.ts";
import { BUSY_PAUSE_MS, type LedgerLimits, PURGE_RETRY_MS } from "./limits.ts";
import type { LockStore } from "./lock-store.ts";
import { checkOptionNames, type Names } from "./options.ts";
import type { Appended } from "./placement.ts";
import { buildReceipt, buildTlogProof } from "./prove.ts";
import { CHECKPOINT_PATH, type Published, publishLedger } from "./publish.ts";
import { Query, type QueryFilter, type QueryParts } from "./query.ts";
import type { Random } from "./random.ts";
import type { ReaderState, VerificationRecord } from "./reader-state.ts";
import { reindexLedger } from "./reindex.ts";
import { RightEdge } from "./right-edge.ts";
import { Sequencer } from "./sequencer.ts";
import type { Signer } from "./signer.ts";
import { type LedgerStats, readStats } from "./stats.ts";
import { type LedgerStatus, readStatus } from "./status.ts";
import type { LedgerStorage, StorageCapabilities } from "./storage.ts";
import { type LedgerEntry, readStored } from "./stored-event.ts";
import { isTelling, VERIFY_NAMES, type VerifyLedgerOptions, verifyLedger } from "./verify-ledger.ts";
import type { Witness } from "./witness.ts";
import { Witnessing } from "./witnessing.ts";

const verifyChannel = channel("tallystick:verify");
const findingChannel = channel("tallystick:finding");

export type Level = "durable" | "checkpointed" | "witnessed" | "anchored";

const LEVELS: readonly Level[] = ["durable", "checkpointed", "witnessed", "anchored"];

const SETTLED_OPTIONS: Names<{ signal?: AbortSignal }> = { signal: true };
const CHECKPOINT_OPTIONS: Names<{ until?: Level }> = { until: true };
const PUBLISH_OPTIONS: Names<{ until?: Level; bodies?: true }> = { ...CHECKPOINT_OPTIONS, bodies: true };
const INCLUSION_OPTIONS: Names<Omit<ProveOptions, "disclose">> = { until: true, signal: true };
const PROVE_OPTIONS: Names<ProveOptions> = { ...INCLUSION_OPTIONS, disclose: true };
const FOLLOW_OPTIONS: Names<{ after?: number; filter?: QueryFilter; signal?: AbortSignal }> = {
  after: true,
  filter: true,
  signal: true,
};
const VERIFY_OPTIONS: Names<Omit<VerifyLedgerOptions, "runRange">> = {
  ...VERIFY_NAMES,
  pin: true,
  lastSeen: true,
  lockNote: true,
};

export interface ProveOptions {
  /** How far the entry must have come before the proof is made. Default and least: `checkpointed`. */
  readonly until?: Level;
  /** Fields to disclose; all that are kept when left out. Scheme `fields` only. */
  readonly disclose?: readonly string[];
  readonly signal?: AbortSignal;
}

export interface LedgerParts {
  readonly storage: LedgerStorage;
  readonly lockStore: LockStore;
  /** Log keys that this process holds; empty for a reader. */
  readonly signers: readonly Signer[];
  /** Why this process must not append; null when it may. */
  readonly problem: TallystickError | null;
  readonly clock: Clock;
  readonly random: Random;
  readonly limits: LedgerLimits;
  readonly readerState: ReaderState | null;
  /** Rollback and fork are refused at open unless the ledger is only read. */
  readonly readOnly: boolean;
  /** Where the ledger is published: what stands there is held against the ledger before anything is signed. */
  readonly published?: Archive | undefined;
  /** Called once when the ledger is closed, with its size. */
  readonly closed?: (size: number) => void;
  /** Who cosigns, and how many of them are enough. */
  readonly witnesses?: { readonly policy: Policy; readonly witnesses: readonly Witness[] } | undefined;
  /** Who attests the time of checkpoints. */
  readonly anchors?: readonly Anchor[] | undefined;
  /** Places and stores what is appended in bulk, where a second thread can be had. */
  readonly bulk?: BulkWriter | undefined;
  /** Runs verification ranges in parallel where the storage can. */
  readonly verifyRanges?: VerifyLedgerOptions["runRange"];
}

/** Until an unreachable lock store is asked again. */
const BOOT_AGAIN_MS = 1_000;

/**
 * An open ledger. Many may be open on one store, in one process or several; each sees all entries. Every method rejects
 * with `closed` after `close`.
 */
export class LedgerEngine {
  readonly origin: string;
  private readonly parts: LedgerParts;
  private readonly sequencer: Sequencer;
  private readonly checkpointer: Checkpointer;
  private readonly indexer: Indexer;
  private readonly witnessing: Witnessing | null;
  private readonly anchoring: Anchoring;
  private readonly appender: Appender;
  private readonly genesisLeaf: string;
  private readonly subtreeMemo = new SubtreeMemo();
  private loaded: LoadedState;
  private problem: TallystickError | null;
  private cancelBoot: (() => void) | null = null;
  private booting: Promise<void> | null = null;
  private closing: Promise<void> | null = null;
  private cancelPurge: (() => void) | null = null;
  /** Key management: rotation, revocation, author keys, rules, holds. */
  readonly keys: KeyEvents;

  private constructor(parts: LedgerParts, loaded: LoadedState & { edge: RightEdge; problem: TallystickError | null }) {
    this.parts = parts;
    const { state, genesisLeaf, controlsSeen } = loaded;
    this.loaded = { state, genesisLeaf, controlsSeen };
    this.genesisLeaf = loaded.genesisLeaf;
    this.problem = loaded.problem;
    this.origin = loaded.state.genesis.origin;
    const { storage, clock, limits } = parts;
    this.sequencer = new Sequencer({
      storage,
      bulk: parts.bulk,
      clock,
      limits,
      edge: loaded.edge,
      genesisLeaf: loaded.genesisLeaf,
      state: () => this.ledgerState,
      reload: () => this.reloadState(),
      committed: () => {
        this.checkpointer.schedule();
        this.indexer.schedule();
      },
    });
    this.appender = new Appender({
      origin: this.origin,
      sequencer: this.sequencer,
      random: parts.random,
      limits,
      state: () => this.ledgerState,
    });
    this.checkpointer = new Checkpointer({
      origin: this.origin,
      storage,
      lockStore: parts.lockStore,
      signers: loaded.problem === null ? parts.signers : [],
      clock,
      everyMs: limits.checkpointEveryMs,
      edge: () => this.sequencer.edge,
      state: () => this.ledgerState,
      gate: async () => this.witnessing?.consult(),
      released: () => {
        this.witnessing?.schedule();
        this.anchoring.schedule();
      },
    });
    this.witnessing =
      parts.witnesses === undefined || parts.witnesses.witnesses.length === 0
        ? null
        : new Witnessing({
            ...parts.witnesses,
            origin: this.origin,
            storage,
            clock,
            edge: () => this.sequencer.edge,
            state: () => this.ledgerState,
            sign: () => this.signLatest(),
            everyMs: limits.witnessEveryMs,
          });
    this.anchoring = new Anchoring({
      anchors: parts.anchors ?? [],
      storage,
      clock,
      random: parts.random,
      limits,
      state: () => this.ledgerState,
      size: () => this.size,
      latest: () => this.checkpointer.latest,
      sign: () => this.signLatest(),
      record: (anchor) => this.recordAnchor(anchor),
    });
    this.indexer = new Indexer({ storage, clock, sequencer: this.sequencer, state: () => this.ledgerState });
    this.keys = new KeyEvents({
      origin: this.origin,
      sequencer: this.sequencer,
      checkpointer: this.checkpointer,
      state: () => this.ledgerState,
      submission: (event) => this.appender.prepareControl(event),
      signers: parts.signers,
      requireWritable: () => this.requireWritable(),
    });
  }

  /**
   * Opens a ledger that exists in `parts.storage`: loads its state, or what is newer than that which was loaded a moment ago; runs the boot
   * check. Errors: `rolled-back`, `forked`.
   */
  static async open(parts: LedgerParts, known?: LoadedState): Promise<LedgerEngine> {
    const { storage } = parts;
    const loaded = known === undefined ? await loadState(storage) : await refreshState(storage, known);
    const { state } = loaded;
    const edge = await RightEdge.load(storage);
    let problem = parts.problem;
    let latest: Checkpointer["latest"] = null;
    let mayPass = false;
    try {
      const boot = await checkBoot(parts, { edge, state });
      mayPass = problem === null && boot.mayPass === true;
      problem ??= boot.problem;
      latest = boot.latest;
    } catch (error) {
      if (!parts.readOnly) throw error;
      // A reader may look at a rolled-back ledger: it is told by the cause, and by `verify`.
      problem = new UnavailableError("read-only", "the ledger was opened read-only", { cause: error });
    }
    const ledger = new LedgerEngine(parts, { ...loaded, edge, problem });
    ledger.checkpointer.latest = latest;
    if (problem === null) await ledger.begin();
    else await ledger.openWitnessing();
    if (mayPass) ledger.scheduleBootAgain();
    return ledger;
  }

  /** What follows a boot check that found nothing wrong. */
  private async begin(): Promise<void> {
    const { latest } = this.checkpointer;
    // A crash after the lock store and before the copy: without it readers of the file alone would miss this checkpoint.
    if (latest !== null) await restoreCopy(this.parts.storage, latest);
    await this.openWitnessing();
    if (latest === null || latest.size < this.size) this.checkpointer.schedule();
    await this.finishPurge();
    this.indexer.schedule();
    this.anchoring.schedule();
  }

  /** A lock store that could not be reached at open is asked again, until it answers or says what is wrong. */
  private scheduleBootAgain(): void {
    this.cancelBoot = this.parts.clock.after(BOOT_AGAIN_MS, () => {
      this.booting = this.bootAgain().catch((error: unknown) => {
        if (!isTallystickError(error)) throw error;
        // Rolled back, forked: as it would have been at open, but this handle is open already.
        this.problem = error as TallystickError;
        if (error instanceof UnavailableError) this.scheduleBootAgain();
      });
    });
  }

  private async bootAgain(): Promise<void> {
    if (this.closing !== null) return;
    await this.refresh();
    const boot = await checkBoot(this.parts, { edge: this.sequencer.edge, state: this.ledgerState });
    this.problem = boot.problem;
    if (boot.mayPass === true) this.scheduleBootAgain();
    if (boot.problem !== null || this.closing !== null) return;
    this.checkpointer.latest = boot.latest;
    for (const signer of this.parts.signers) this.checkpointer.addSigner(signer);
    await this.begin();
  }

  /** Entries in the ledger, as this handle last saw it. */
  get size(): number {
    return this.sequencer.edge.size;
  }

  get capabilities(): StorageCapabilities {
    return this.parts.storage.capabilities;
  }

  /** What the ledger's control events amount to: keys, rules, erasures, holds. */
  get state(): LedgerState {
    return this.ledgerState;
  }

  /** Hex leaf hash of entry 0: what a policy pins as `genesis`. */
  get genesis(): string {
    return this.genesisLeaf;
  }

  /** Why this handle cannot append (lost key, lost or unreachable lock store, read-only), or null. One that was unreachable is asked again. */
  get appendProblem(): TallystickError | null {
    return this.problem;
  }

  /**
   * Appends one event. Resolves when it is durable. Errors: `malformed-event`, `unsupported-value`, `event-too-large`,
   * `reserved-action` (nothing was written, the event is wrong), `id-conflict`, `signature-required`,
   * `author-not-registered`, `signature-invalid`, `queue-full` (back off), `storage-*` (nothing was written, retry),
   * `outcome-unknown` (reopen; an `id` makes the retry safe).
   */
  append(event: Event, options: AppendOptions = NO_OPTIONS): Promise<Appended> {
    try {
      this.requireWritable();
      return this.appender.append(event, options);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Appends all events in one commit, or none. At most `limits.appendManyMax`. Errors as `append`, for the whole call. */
  async appendMany(events: readonly Event[], options: AppendOptions = NO_OPTIONS): Promise<Appended[]> {
    this.requireWritable();
    return this.appender.appendMany(events, options);
  }

  /**
   * Appends a stream of any length in constant memory and yields each result, in order, once it is durable. On an error
   * everything yielded before is durable; `details.position` of the error is the 0-based position of the bad event and
   * `details.durable` how many events before it are durable. Waits by itself when the queue is full.
   */
  async *appendAll(
    events: AsyncIterable<Event> | Iterable<Event>,
    options: AppendOptions = NO_OPTIONS,
  ): AsyncGenerator<Appended> {
    this.requireWritable();
    yield* this.appender.appendAll(events, options);
  }

  /** Resolves when entry `index` has reached `level`. Errors: `level-not-reached`, and those of the lock store and signer. */
  async settled(index: number, level: Level, options: { readonly signal?: AbortSignal } = {}): Promise<void> {
    this.requireOpen();
    checkOptionNames("settled", options, SETTLED_OPTIONS);
    options.signal?.throwIfAborted();
    checkLeafIndex(index);
    checkLevel(level);
    await this.refresh();
    await this.seeReleased();
    if (index >= this.size) throw new RangeError(`there is no entry ${index}; the ledger has ${this.size}`);
    if (level === "durable") return;
    if (level === "checkpointed" && (this.checkpointer.latest?.size ?? 0) > index) return;
    if (level === "anchored") return raceSignal(this.anchored(index), options.signal);
    if (level === "witnessed" && this.witnessing === null) {
      throw new PolicyError(
        "level-not-reached",
        `entry ${index} cannot become witnessed: this ledger has no witnesses`,
        { details: { index, reached: this.reachedBy(index) } },
      );
    }
    if (level === "witnessed") await raceSignal(this.witnessed(index), options.signal);
    else await raceSignal(this.checkpoint(), options.signal);
  }

  /** The signed note of a checkpoint that covers every entry so far. Errors: `key-lost`, `lock-store-*`, `signer-unavailable`, `forked`. */
  async checkpoint(options: { readonly until?: Level } = {}): Promise<string> {
    this.requireOpen();
    checkOptionNames("checkpoint", options, CHECKPOINT_OPTIONS);
    if (options.until !== undefined) checkLevel(options.until);
    await this.refresh();
    // A ledger at rest ends with the events of its last anchors, which are never anchored for themselves.
    if (options.until === "anchored") return this.coveringCheckpoint(this.anchoring.lastFresh(), { until: "anchored" });
    if (options.until === "witnessed") {
      await this.settled(this.size - 1, "witnessed");
      return this.witnessing?.latest?.note ?? "";
    }
    if (this.problem !== null) {
      await this.seeReleased();
      const { latest } = this.checkpointer;
      if (latest !== null && latest.size === this.size) return latest.note;
      throw this.problem;
    }
    return (await this.checkpointer.sign()).note;
  }

  /** Receipt of entry `index`: one self-contained JSON text that verifies offline under a pinned policy. */
  async prove(index: number, options: ProveOptions = {}): Promise<string> {
    checkOptionNames("prove", options, PROVE_OPTIONS);
    const checkpoint = await this.coveringCheckpoint(index, options);
    return buildReceipt(index, {
      ...this.proofParts(),
      checkpoint,
      disclose: options.disclose,
      memo: this.subtreeMemo,
    });
  }

  /** The inclusion proof alone as C2SP `.tlog-proof` text: for other tools, and for entries whose body was erased. */
  async proveInclusion(index: number, options: Omit<ProveOptions, "disclose"> = {}): Promise<string> {
    checkOptionNames("proveInclusion", options, INCLUSION_OPTIONS);
    const checkpoint = await this.coveringCheckpoint(index, options);
    return buildTlogProof(index, { ...this.proofParts(), checkpoint, memo: this.subtreeMemo });
  }

  /** Note of a checkpoint over entry `index` at the level asked for, or a stronger one. */
  private async coveringCheckpoint(index: number, { until, signal }: ProveOptions): Promise<string> {
    signal?.throwIfAborted();
    const level = until === undefined || until === "durable" ? "checkpointed" : until;
    await this.settled(index, level, signal === undefined ? {} : { signal });
    await this.catchUp();
    // The note itself that was anchored: whoever holds the proof needs no other.
    if (level === "anchored") return (await this.anchoring.anchoredOver(index))?.note ?? "";
    const witnessed = level === "witnessed" ? this.witnessing?.latest?.note : undefined;
    return witnessed ?? this.checkpointer.latest?.note ?? "";
  }

  /** Entry `index` as a reader sees it. Errors: `RangeError` when there is none. */
  async read(index: number): Promise<LedgerEntry> {
    checkLeafIndex(index);
    await this.refresh();
    const [stored] = await this.parts.storage.readEntries(index, index + 1);
    if (stored === undefined) throw new RangeError(`there is no entry ${index}; the ledger has ${this.size}`);
    return readStored(stored, this.ledgerState);
  }

  /** Entry that was appended with this `id`, if its body is still there. */
  async findById(id: string): Promise<LedgerEntry | undefined> {
    await this.refresh();
    const stored = await this.parts.storage.findById(id);
    return stored === undefined ? undefined : readStored(stored, this.ledgerState);
  }

  /** Entries that match; iterate, or take `.page({ cursor })`. Never a silent limit. */
  query(filter: QueryFilter = {}): Query {
    this.requireOpen();
    return new Query(this.queryParts(), filter);
  }

  /**
   * Entries behind index `after`, the last one that was seen (−1 for all; default: from now on), as they become durable, from
   * any process. Ends on abort. Error: `RangeError` for an `after` that is no index.
   */
  async *follow(
    options: { readonly after?: number; readonly filter?: QueryFilter; readonly signal?: AbortSignal } = {},
  ): AsyncGenerator<LedgerEntry> {
    checkOptionNames("follow", options, FOLLOW_OPTIONS);
    const { after } = options;
    if (after !== undefined && !(Number.isSafeInteger(after) && after >= -1))
      throw new RangeError(`follow: expected the index of an entry, or -1, as after, got ${after}`);
    await this.refresh();
    let next = after === undefined ? this.size : after + 1;
    while (!options.signal?.aborted) {
      await this.refresh();
      if (this.size > next) {
        const end = this.size;
        yield* new Query(this.queryParts(), { ...options.filter, first: next, last: end - 1, order: "ascending" });
        next = end;
        continue;
      }
      try {
        await this.parts.storage.watch(next, options.signal);
      } catch (error) {
        if (options.signal?.aborted) return;
        throw error;
      }
    }
  }

  /** Verifies everything from the stored bytes. Uses the policy that this machine keeps unless another is given. */
  async verify(options: Partial<Omit<VerifyLedgerOptions, "runRange">> = {}): Promise<VerifyReport> {
    this.requireOpen();
    checkOptionNames("verify", options, VERIFY_OPTIONS);
    const { storage, readerState, verifyRanges, limits } = this.parts;
    if (this.problem === null) await this.signIfPossible();
    const policy =
      options.policy ??
      (await readerState?.readPolicy(this.origin)) ??
      (storage.capabilities.durable ? undefined : this.policy());
    const record = await this.parts.lockStore.fetch(this.origin).catch(() => undefined);
    const snapshot = await storage.snapshot();
    try {
      const report = await verifyLedger(snapshot, {
        findingsMax: limits.findingsMax,
        lastSeen: await readerState?.lastSeen(this.origin),
        lockNote: record?.note ?? undefined,
        ...options,
        pin: options.policy === undefined ? "state" : "policy",
        ...(policy === undefined ? {} : { policy }),
        ...(verifyRanges === undefined ? {} : { runRange: verifyRanges }),
      });
      const { size, root, ok, conclusive } = report;
      if (verifyChannel.hasSubscribers)
        verifyChannel.publish({ size, ok, conclusive, findings: report.findings.length });
      if (findingChannel.hasSubscribers)
        for (const { code, index } of report.findings) findingChannel.publish({ code, index });
      if (isTelling(report, options))
        await this.recordVerification({ size, root, ok, conclusive, findings: report.findings.length });
      return report;
    } finally {
      await snapshot.close();
    }
  }

  /** The policy file that a reader pins: origin, log keys, genesis. Derived from the ledger: check it against another source. */
  policy(): string {
    return policyOf(this.ledgerState, this.genesisLeaf, this.parts.witnesses?.policy);
  }

  /** Erases bodies or single fields; the entries, their hashes and every proof stay. Errors: `not-erasable`, `held`. */
  async erase(targets: number | EraseTarget | readonly EraseTarget[], options: EraseOptions): Promise<Erased> {
    this.requireWritable();
    const sorted = eraseTargets(targets, options);
    const reads = { ids: [], idDigests: [], indexes: sorted.map((target) => target.index) };
    const placed = await this.sequencer.exclusive(reads, (view, edge) => {
      const context = { state: this.ledgerState, genesisLeaf: this.genesisLeaf, random: this.parts.random };
      const plan = planErasure(sorted, view.byIndex, options, context);
      const submission = this.appender.prepareControl(plan.event);
      const { appended, batch } = this.sequencer.placeAlone(submission, edge);
      return {
        batch: { ...batch, redactions: plan.redactions, unfilter: plan.unfilter, purge: appended.index },
        result: appended,
      };
    });
    if (placed === undefined)
      throw new UnavailableError("storage-busy", "the erasure was not committed; nothing changed");
    this.indexer.forget();
    const purged = await this.finishPurge();
    return { index: placed.index, leafHash: placed.leafHash, purged };
  }

  /** Writes an export as FORMATS: export; yields its lines. */
  export(options: ExportOptions = {}): AsyncGenerator<string> {
    this.requireOpen();
    return this.exportLines(options);
  }

  private async *exportLines(options: ExportOptions): AsyncGenerator<string> {
    const note = await this.checkpoint();
    await this.catchUp();
    yield* exportLedger({ ...this.proofParts(), query: this.queryParts(), checkpoint: async () => note }, options);
  }

  /**
   * What an evidence package needs beside an export: proofs under a checkpoint of `size` that was released, and signatures of its manifest.
   * Hashes are hex. Errors of `sign`: `key-lost` without a log key in force, `signer-unavailable`; of `consistency`: `forked` for a checkpoint
   * that is not of this history, `origin-mismatch`, `malformed-checkpoint`.
   */
  packageProofs(size: number): PackageProofs {
    this.requireOpen();
    const { storage, edge, state } = this.proofParts();
    const read = edge.tileReader(storage);
    const consistency = async (oldSize: number): Promise<string[]> =>
      oldSize === size ? [] : (await proveConsistency(oldSize, size, read)).map(encodeHex);
    return {
      consistencyFrom: consistency,
      entry: (index) => wholeEntry(index, size, { storage, edge, state }),
      since: async (note) => {
        const head = headOfNote(note);
        if (head === null) throw new MalformedError("malformed-checkpoint", "since: expected the note of a checkpoint");
        if (head.origin !== this.origin)
          throw new VerificationError(
            "origin-mismatch",
            `since: the checkpoint is of ${head.origin}, not of ${this.origin}`,
          );
        const root = head.size <= size ? await treeHash(head.size, read) : null;
        if (root === null || !bytesEqual(root, head.root)) {
          const message = `since: the checkpoint of size ${head.size} is not of the history of this ledger, which has ${size} entries`;
          throw new VerificationError("forked", message, { details: { size: head.size } });
        }
        return consistency(head.size);
      },
      requireSigner: () => this.checkpointer.requireSigner(),
      sign: (manifest) => this.checkpointer.signManifest(manifest),
    };
  }

  /** How healthy the ledger is: what is not signed or witnessed yet, and for how long. Asks nobody. */
  async status(): Promise<LedgerStatus> {
    this.requireOpen();
    await this.refresh();
    const { anchors, rules } = this.ledgerState;
    const isExpected = this.anchoring.status.length > 0 || rules.at(-1)?.anchors !== undefined;
    const hasAnchors = isExpected || anchors.length > 0;
    return readStatus({
      origin: this.origin,
      size: this.size,
      now: this.parts.clock.now(),
      limits: this.parts.limits,
      storage: this.parts.storage,
      checkpointed: this.checkpointer.latest?.size ?? 0,
      witnessed: this.witnessing === null ? null : (this.witnessing.latest?.size ?? 0),
      witnesses: this.witnessing?.status ?? [],
      anchoring: {
        anchored: hasAnchors ? await this.anchoring.anchoredSize() : null,
        unanchoredMs: hasAnchors ? await this.anchoring.unanchoredMs() : 0,
        pendingUpgrades: this.anchoring.pending,
        anchors: this.anchoring.status,
        isExpected,
      },
      problem: this.ownProblem() ?? this.witnessing?.alarm ?? this.checkpointer.failure,
    });
  }

  /**
   * Publishes the ledger to an archive as C2SP tlog-tiles, up to its latest checkpoint; with `bodies` the events too, from now on.
   * See publishLedger.
   */
  async publish(
    archive: Archive,
    options: { readonly until?: Level; readonly bodies?: true | undefined } = {},
  ): Promise<Published> {
    checkOptionNames("publish", options, PUBLISH_OPTIONS);
    const { until, bodies } = options;
    const note = await this.checkpoint(until === undefined ? {} : { until });
    const cosigned = this.witnessing?.latest;
    const witnessed = cosigned != null && headOf(cosigned.note).size === headOf(note).size ? cosigned.note : note;
    return publishLedger({
      ...this.proofParts(),
      archive,
      note: witnessed,
      bodies,
      pause: this.letAppend,
    });
  }

  /**
   * Asks every anchor now for a proof of a checkpoint over everything so far, and records each answer as a `ledger.anchor` event. What
   * an anchor does not give is in its result; one that has nothing new to anchor is not asked. An abort stops the waiting, not what was
   * asked. Errors: those of `checkpoint`, `ledger-sealed`.
   */
  async anchor(options: AnchorOptions = {}): Promise<readonly AnchorResult[]> {
    this.requireWritable();
    options.signal?.throwIfAborted();
    this.requireUnsealed();
    return raceSignal(this.anchoring.anchorNow({ anchors: options.anchors }), options.signal);
  }

  /** Asks for every recorded proof that waits whether it can be completed now, and records what came of it as new events. */
  async upgradeAnchors(options: AnchorOptions = {}): Promise<readonly AnchorResult[]> {
    this.requireWritable();
    options.signal?.throwIfAborted();
    this.requireUnsealed();
    await this.refresh();
    return raceSignal(this.anchoring.upgradeNow({ anchors: options.anchors }), options.signal);
  }

  /** Every recorded anchor in the order of their events, with the bytes that belong to it. Nothing of it is verified: `verify` does that. */
  async *anchors(): AsyncGenerator<LedgerAnchor> {
    await this.refresh();
    for (const { index, time, kind, size, root } of this.ledgerState.anchors) {
      const stored = await this.parts.storage.readAnchor(index);
      yield { index, time, kind, size, root, note: stored?.note ?? null, proof: stored?.proof ?? null };
    }
  }

  /** Counts, times and sizes per action and actor, and when the ledger was last verified here. Reads every entry once. */
  async stats(): Promise<LedgerStats> {
    this.requireOpen();
    await this.refresh();
    const stats = await readStats(this.queryParts());
    const verified = await this.parts.readerState?.readVerification(this.origin);
    return {
      ...stats,
      origin: this.origin,
      checkpointed: this.checkpointer.latest?.size ?? 0,
      verified: verified ?? null,
    };
  }

  /** Rebuilds everything that is derived from the committed bytes: tiles, filters, ids, the list of control events. */
  async reindex(): Promise<{ readonly entries: number }> {
    this.requireOpen();
    await this.sequencer.drain();
    const { storage } = this.parts;
    const entries = await this.sequencer.rebuild(async () => {
      const count = await reindexLedger(storage);
      // From the start: the list of control events is one of the things that were rebuilt.
      this.loaded = await loadState(storage);
      return count;
    });
    return { entries };
  }

  /** Drains the queue, signs what is not signed yet and closes the store. Idempotent. Rejects if the last checkpoint could not be signed. */
  close(): Promise<void> {
    this.closing ??= this.shutDown();
    return this.closing;
  }

  /** Lets go of everything without signing anything: for an opening that turned out wrong. The caller closes the store. */
  async abandon(): Promise<void> {
    this.closing ??= Promise.resolve();
    this.cancelBoot?.();
    this.cancelPurge?.();
    this.indexer.stop();
    await this.anchoring.stop();
    await this.witnessing?.stop();
    this.checkpointer.stop();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  private async shutDown(): Promise<void> {
    this.cancelBoot?.();
    await this.booting;
    // First: what it records is signed below.
    await this.anchoring.stop();
    await this.sequencer.drain();
    this.cancelPurge?.();
    this.indexer.stop();
    try {
      if (this.problem === null && this.checkpointer.canSign) await this.checkpointer.sign();
      // What cannot be removed now stays recorded as pending, and is removed by whoever opens the ledger next.
      if (this.problem === null) await this.parts.storage.purge().catch(() => "pending");
    } finally {
      this.checkpointer.stop();
      await this.witnessing?.stop();
      await this.indexer.settled();
      await this.parts.storage.close();
      await this.parts.lockStore.close();
      this.parts.closed?.(this.size);
    }
  }

  /** Notes when it was last verified. A machine whose state cannot be written can still verify. */
  private async recordVerification(record: Omit<VerificationRecord, "time">): Promise<void> {
    const time = new Date(this.parts.clock.now()).toISOString();
    try {
      await this.parts.readerState?.writeVerification(this.origin, { time, ...record });
    } catch (error) {
      if (!isTallystickError(error)) throw error;
    }
  }

  /** What cannot be signed now is verified all the same: the report says how far the latest checkpoint reaches. */
  private async signIfPossible(): Promise<void> {
    try {
      await this.checkpointer.sign();
    } catch (error) {
      if (!isTallystickError(error)) throw error;
      this.checkpointer.failure = error;
    }
  }

  /** Rollback and fork that a witness shows are refused at open; witnesses that do not answer only hold back signing. */
  private async openWitnessing(): Promise<void> {
    if (this.witnessing === null) return;
    const cosigned = await this.parts.storage.latestCosigned();
    try {
      if (cosigned !== undefined) await this.witnessing.resume(cosigned);
    } catch (error) {
      if (!this.parts.readOnly || !(error instanceof VerificationError)) throw error;
    }
    if (this.problem !== null) return;
    await this.witnessing.consult().catch((error: unknown) => {
      if (!(error instanceof UnavailableError)) throw error;
    });
  }

  private async witnessed(index: number): Promise<void> {
    const latest = this.witnessing?.latest;
    if (latest == null || latest.size <= index) await this.witnessing?.cosign();
  }

  /** Fails closed: an entry is anchored by a complete proof over it, of a kind that the rules name, or it is not. */
  private async anchored(index: number): Promise<void> {
    if ((await this.anchoring.anchoredOver(index)) !== null) return;
    if (this.problem === null && this.anchoring.status.length > 0) {
      await this.anchoring.anchorNow({ over: index });
      await this.anchoring.upgradeNow();
      if ((await this.anchoring.anchoredOver(index)) !== null) return;
    }
    throw this.anchoring.notReached(index, this.reachedBy(index));
  }

  private reachedBy(index: number): Level {
    if ((this.witnessing?.latest?.size ?? 0) > index) return "witnessed";
    return (this.checkpointer.latest?.size ?? 0) > index ? "checkpointed" : "durable";
  }

  /** What is wrong with the ledger, not with this handle: one that only reads is as healthy as the ledger is. */
  private ownProblem(): unknown {
    const { problem } = this;
    return this.parts.readOnly && problem?.code === "read-only" ? problem.cause : problem;
  }

  private requireOpen(): void {
    if (this.closing !== null) throw new UnavailableError("closed", "the ledger is closed");
  }

  /** Holds up what can wait while events come in. */
  private readonly letAppend = async (): Promise<void> => {
    if (this.sequencer.isBusy) await new Promise<void>((resolve) => setTimeout(resolve, BUSY_PAUSE_MS));
  };

  private requireWritable(): void {
    this.requireOpen();
    if (this.problem !== null) throw this.problem;
  }

  private get ledgerState(): LedgerState {
    return this.loaded.state;
  }

  private async reloadState(): Promise<void> {
    this.loaded = await refreshState(this.parts.storage, this.loaded);
  }

  private async signLatest(): Promise<SignedCheckpoint> {
    await this.refresh();
    return this.checkpointer.sign();
  }

  /** One control event, with note and proof in the same commit: neither is ever without the other. */
  private async recordAnchor({ kind, note, proof }: NewAnchor): Promise<Appended> {
    const { size, root } = headOf(decodeUtf8(note, "malformed-note"));
    const hashes = { note: sha256Hex(note), proof: sha256Hex(proof) };
    const event = { action: "ledger.anchor", payload: { kind, root, size, ...hashes } };
    const submission = this.appender.prepareControl(event);
    const placed = await this.sequencer.exclusive({ ids: [], idDigests: [], indexes: [] }, (_view, edge) => {
      this.requireUnsealed();
      const { appended, batch } = this.sequencer.placeAlone(submission, edge);
      return { batch: { ...batch, anchors: [{ index: appended.index, note, proof }] }, result: appended };
    });
    if (placed === undefined)
      throw new UnavailableError("storage-busy", "the anchor was not committed; nothing changed");
    return placed;
  }

  private requireUnsealed(): void {
    const { sealedAt } = this.ledgerState;
    if (sealedAt === null) return;
    throw new PolicyError("ledger-sealed", `the ledger was sealed at entry ${sealedAt}; append to its successor`);
  }

  /** Sees what other processes appended. */
  private async refresh(): Promise<void> {
    this.requireOpen();
    if (!this.parts.storage.capabilities.shared) return;
    const head = await this.parts.storage.head();
    if (this.sequencer.edge.matches(head) || head.size < this.size) return;
    await this.sequencer.refresh();
  }

  /** What other processes released: a handle that does not sign has no other way to hear of it. */
  private async seeReleased(): Promise<void> {
    if (this.problem === null) return;
    const { storage } = this.parts;
    const copy = await storage.latestCheckpoint();
    if (copy === undefined || copy.size <= (this.checkpointer.latest?.size ?? 0)) return;
    try {
      const { edge } = this.sequencer;
      await requireCovered(
        { storage, edge, state: this.ledgerState },
        copy.note,
        "the checkpoint stored in the ledger",
      );
      this.checkpointer.latest = copy;
    } catch (error) {
      // Whoever only looks goes on with what was released before; `verify` says what is wrong.
      if (!isTallystickError(error)) throw error;
    }
  }

  private queryParts(): QueryParts {
    const { storage } = this.parts;
    return { storage, state: () => this.ledgerState, size: () => this.size, refresh: () => this.refresh() };
  }

  /** Another process may have released a larger tree than this handle has seen yet. */
  private async catchUp(): Promise<void> {
    const { latest } = this.checkpointer;
    if (latest !== null && latest.size > this.size) await this.refresh();
  }

  private proofParts() {
    const { latest } = this.checkpointer;
    return {
      storage: this.parts.storage,
      state: this.ledgerState,
      edge: this.sequencer.edge,
      checkpoint: latest?.note ?? "",
    };
  }

  /** The erasures are committed: bytes that cannot be removed now (a full disk) wait like those that a reader holds back. */
  private async finishPurge(): Promise<"done" | "pending"> {
    const purged = await this.parts.storage.purge().catch(() => "pending" as const);
    if (purged === "pending" && this.closing === null) {
      this.cancelPurge?.();
      this.cancelPurge = this.parts.clock.after(PURGE_RETRY_MS, () => void this.finishPurge());
    }
    return purged;
  }
}

export interface AnchorOptions {
  /** Whom to ask, instead of those that the ledger was opened with. */
  readonly anchors?: readonly Anchor[];
  readonly signal?: AbortSignal;
}

/** See `packageProofs`. */
export interface PackageProofs {
  /** Consistency proof from a smaller size. */
  readonly consistencyFrom: (oldSize: number) => Promise<readonly string[]>;
  /** The same from a checkpoint that somebody holds, which must be of this history. */
  readonly since: (note: string) => Promise<readonly string[]>;
  /** A control entry whole, with its inclusion proof. */
  readonly entry: (index: number) => Promise<ExportGenesis>;
  /** Error: `key-lost` where this process holds no log key in force. */
  readonly requireSigner: () => void;
  /** Signature lines over the manifest of a package, by every log key in force. */
  readonly sign: (manifest: Uint8Array) => Promise<string>;
}

/** A recorded anchor. */
export interface LedgerAnchor {
  /** Leaf index and time of its event. */
  readonly index: number;
  readonly time: string;
  readonly kind: string;
  /** Size and hex root of the checkpoint that it anchors. */
  readonly size: number;
  readonly root: string;
  /** Bytes of the anchored note and of the proof; null where they are gone. */
  readonly note: Uint8Array | null;
  readonly proof: Uint8Array | null;
}

/** Size and hex root of a checkpoint note, unverified. */
export function headOf(note: string): { readonly size: number; readonly root: string } {
  const { size, root } = parseCheckpoint(parseNote(note).text);
  return { size, root: encodeHex(root) };
}

async function restoreCopy(storage: LedgerStorage, latest: SignedCheckpoint): Promise<void> {
  const copy = await storage.latestCheckpoint();
  if (copy !== undefined && copy.size >= latest.size) return;
  await storage.putCheckpoint(latest).catch((error: unknown) => {
    // A copy that cannot be made now is made with the next checkpoint, or by the next open.
    if (!(error instanceof UnavailableError)) throw error;
  });
}

/** The published note, if the archive has one. */
/** The boot check with all that these parts know. */
async function checkBoot(
  { storage, lockStore, readerState, published }: LedgerParts,
  ledger: { readonly edge: RightEdge; readonly state: LedgerState },
): ReturnType<typeof bootCheck> {
  const lastSeen = await readerState?.lastSeen(ledger.state.genesis.origin);
  return bootCheck({ storage, lockStore, ...ledger, lastSeen, published: await readPublished(published) });
}

async function readPublished(archive: Archive | undefined): Promise<string | undefined> {
  const bytes = await archive?.get(CHECKPOINT_PATH, { bytesMax: NOTE_BYTES_MAX });
  return bytes === undefined ? undefined : decodeUtf8(bytes, "malformed-note");
}

function checkLeafIndex(index: number): void {
  if (!Number.isSafeInteger(index) || index < 0) throw new RangeError(`expected a leaf index, got ${index}`);
}

/** An unknown level would pass for one that was reached. */
function checkLevel(level: Level): void {
  if (!LEVELS.includes(level))
    throw new TypeError(`expected a level, one of ${LEVELS.join(", ")}; got ${JSON.stringify(level)}`);
}

function raceSignal<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work;
  return new Promise((resolve, reject) => {
    const abort = (): void => reject(signal.reason);
    // It may have been aborted since the caller looked.
    if (signal.aborted) abort();
    signal.addEventListener("abort", abort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}
