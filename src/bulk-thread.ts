import { type ResourceLimits, Worker } from "node:worker_threads";
import { BulkPart, type LinkedEntry, PART_ENTRIES } from "./bulk-part.ts";
import type { Scheme } from "./core/entry.ts";
import { EntryLayout } from "./core/entry-layout.ts";
import { errorFromJson, FatalError } from "./core/errors.ts";
import type { HashName } from "./core/hash.ts";
import type { BulkCommit, BulkPlaced, BulkWriter } from "./ledger/bulk-writer.ts";
import type { EdgeState } from "./ledger/right-edge.ts";
import type { Submission } from "./ledger/submission.ts";
import type { LogMover } from "./storage/sqlite.ts";

export interface BulkThreadData {
  readonly path: string;
  /** Two numbers, see `POSTED` and `KNOWN`. */
  readonly signal: SharedArrayBuffer;
}

/** Place of the number of parts of the commit under way that are whole: what the thread waits on inside a commit. */
export const POSTED = 0;
/** Place of the number of parts that it was ever told of. */
export const KNOWN = 1;

/** What the thread is told to do. Of a commit the parts come later, the first in part 0. */
export type BulkRequest =
  | { readonly do: "commit"; readonly edge: EdgeState; readonly time: string }
  | { readonly do: "move" }
  | { readonly do: "close" };

/** A new part. It is used again and again: memory that is shared between threads is freed late, and no collector feels its weight. */
export interface BulkMemory {
  readonly buffer: SharedArrayBuffer;
}

/** What it answers: the end of a commit; then, or when it begins, or was told to, that the log is moved. */
export type BulkAnswer =
  | { readonly placed: { readonly edge: EdgeState } | null }
  | { readonly failed: object }
  | { readonly moved: true };

/** Bytes committed by the other thread after which the log is moved: some 900 pages, a little less than what makes a commit move them itself. */
const MOVE_BYTES = 2 * 1024 * 1024;
const THREAD_MEMORY: ResourceLimits = { maxYoungGenerationSizeMb: 64, maxOldGenerationSizeMb: 256 };

/**
 * A thread for what is appended in bulk, with connections of its own: it stores submissions, whose entries are linked when they are handed
 * over, while the calls that make them are still coming in, and moves the write-ahead log into the database between commits, for bulk commits of the other thread
 * too. Where no thread can be had, the other one does it all.
 */
export class BulkThread implements BulkWriter, LogMover {
  readonly entriesLeast = 64;
  private readonly path: string;
  private readonly startBytes: number;
  private state: "new" | "starting" | "idle" | "committing" | "moving" | "gone" = "new";
  private worker: Worker | undefined;
  private readonly signal = new Int32Array(new SharedArrayBuffer(8));
  /** In the order in which a commit fills them; as many as the largest one needed. */
  private readonly parts: BulkPart[] = [];
  private exited: Promise<void> = Promise.resolve();
  private written = 0;
  /** Somebody waits for its end, which must keep the process. */
  private isClosing = false;
  private waiting: (() => void)[] = [];
  private ended: ((answer: BulkAnswer | null) => void) | null = null;
  private committed: () => void = () => {};

  /** `startBytes`: what bulk commits of this process come to before a thread is started for them; most programs never write as much. */
  constructor(path: string, startBytes: number) {
    this.path = path;
    this.startBytes = startBytes;
    // Node 20 runs no TypeScript on a thread, and a bundler may have left no file to run.
    if (!import.meta.url?.endsWith(".js")) this.state = "gone";
  }

  get isReady(): boolean {
    // Whoever waits for the log would wait for ever if one commit followed the other.
    return this.waiting.length === 0 && (this.state === "idle" || this.state === "moving");
  }

  /** Whether bulk commits of the other thread can leave the log to it. */
  get movesLog(): boolean {
    return this.state !== "new" && this.state !== "starting" && this.state !== "gone";
  }

  begin(edge: EdgeState, time: string): BulkCommit {
    const answered = new Promise<BulkAnswer | null>((resolve) => {
      this.ended = resolve;
    });
    Atomics.store(this.signal, POSTED, 0);
    // Before the thread is told, because it may throw.
    const commit = new CommitUnderWay({
      chain: new WrittenChain(edge, time),
      part: (number) => this.emptyPart(number),
      post: () => {
        Atomics.add(this.signal, POSTED, 1);
        Atomics.notify(this.signal, POSTED);
      },
      stop: () => void this.worker?.terminate(),
      answered,
    });
    this.tell({ do: "commit", edge, time });
    this.state = "committing";
    this.worker?.ref();
    return commit;
  }

  private emptyPart(number: number): BulkPart {
    let part = this.parts[number];
    part?.clear();
    if (part === undefined) {
      part = BulkPart.create();
      this.parts.push(part);
      const memory: BulkMemory = { buffer: part.buffer };
      this.worker?.postMessage(memory);
      Atomics.add(this.signal, KNOWN, 1);
    }
    return part;
  }

  onCommit(listener: () => void): void {
    this.committed = listener;
  }

  /** Notes a bulk commit of so many bytes by the other thread. */
  wrote(bytes: number): void {
    this.written += bytes;
    if (this.state === "new" && this.written >= this.startBytes) this.start();
    if (this.state !== "idle" || this.written < MOVE_BYTES) return;
    this.written = 0;
    this.state = "moving";
    this.tell({ do: "move" });
  }

  /** Resolves when the thread does nothing. */
  settled(): Promise<void> {
    if (this.state !== "moving" && this.state !== "committing") return Promise.resolve();
    this.worker?.ref();
    return new Promise((resolve) => this.waiting.push(resolve));
  }

  /** The thread lets go of the file. Idempotent. */
  async close(): Promise<void> {
    if (this.state === "new") this.state = "gone";
    if (this.state === "gone") return;
    this.isClosing = true;
    this.worker?.ref();
    this.tell({ do: "close" });
    await this.exited;
  }

  private start(): void {
    this.state = "starting";
    try {
      const workerData: BulkThreadData = { path: this.path, signal: this.signal.buffer as SharedArrayBuffer };
      const worker = new Worker(new URL("./bulk-worker.js", import.meta.url), {
        workerData,
        resourceLimits: THREAD_MEMORY,
      });
      worker.unref();
      this.worker = worker;
      worker.on("message", (answer: BulkAnswer) => this.hear(answer));
      // It ends then, and only when it has ended has it let go of the file.
      worker.on("error", () => {});
      this.exited = new Promise((resolve) => {
        worker.on("exit", () => {
          this.end();
          resolve();
        });
      });
    } catch {
      this.end();
    }
  }

  private hear(answer: BulkAnswer): void {
    if (this.state === "gone") return;
    if ("moved" in answer) {
      if (this.state !== "committing") this.rest("idle");
      return;
    }
    this.state = "moving";
    if (!this.isClosing && this.waiting.length === 0) this.worker?.unref();
    if ("placed" in answer && answer.placed !== null) this.committed();
    this.ended?.(answer);
    this.ended = null;
  }

  /** It is gone by itself, or as it was told. */
  private end(): void {
    this.rest("gone");
    this.parts.length = 0;
    this.ended?.(null);
    this.ended = null;
  }

  private rest(state: "idle" | "gone"): void {
    this.state = state;
    if (!this.isClosing) this.worker?.unref();
    for (const resolve of this.waiting.splice(0)) resolve();
  }

  private tell(request: BulkRequest): void {
    this.worker?.postMessage(request);
  }
}

/** Links entries to the chain behind an edge, as `Chain` does, and writes them as bytes. */
class WrittenChain {
  private index: number;
  private lastLeaf: string;
  private readonly time: string;
  private readonly layouts = new Map<Scheme, EntryLayout>();

  constructor({ size, lastLeaf }: EdgeState, time: string) {
    this.index = size;
    this.lastLeaf = lastLeaf;
    this.time = time;
  }

  /** The next entry, until the one after it. */
  link({ scheme, hash, digest }: Submission): LinkedEntry {
    const layout = this.layoutOf(scheme, hash);
    layout.begin(this.index, this.time);
    layout.writeDigest(digest);
    layout.writePrevious(this.lastLeaf);
    this.lastLeaf = layout.leafHash();
    this.index += 1;
    return { entry: layout.entry, digestAt: layout.digestAt, leafHash: this.lastLeaf };
  }

  /** One ledger has one hash. */
  private layoutOf(scheme: Scheme, hash: HashName): EntryLayout {
    let layout = this.layouts.get(scheme);
    if (layout === undefined) {
      layout = new EntryLayout(hash, scheme);
      this.layouts.set(scheme, layout);
    }
    return layout;
  }
}

/** Submissions on their way to the thread. */
class CommitUnderWay implements BulkCommit {
  private readonly parts: {
    readonly chain: WrittenChain;
    /** Part of this number, empty. */
    readonly part: (number: number) => BulkPart;
    /** Tells the thread that the next part is whole. */
    readonly post: () => void;
    /** Ends the thread, which then answers null. */
    readonly stop: () => void;
    /** Resolves with null when the thread is gone. */
    readonly answered: Promise<BulkAnswer | null>;
  };
  private part: BulkPart;
  /** Those that were handed over. */
  private filled = 0;
  private readonly leafHashes: string[] = [];
  private isGone = false;
  private isStopped = false;

  constructor(parts: CommitUnderWay["parts"]) {
    this.parts = parts;
    this.part = parts.part(0);
    void parts.answered.then((answer) => {
      this.isGone = answer === null;
    });
  }

  add(submission: Submission): boolean {
    try {
      return this.write(submission);
    } catch {
      // There is no memory for another part. Of a commit that lacks one nothing must be left, and nobody must wait for the rest of it.
      this.isStopped = true;
      this.parts.stop();
      return false;
    }
  }

  private write(submission: Submission): boolean {
    if (!this.part.fits(submission)) {
      if (this.part.entries > 0) this.handOver();
      this.part = this.parts.part(this.filled);
      if (!this.part.fits(submission)) return false;
    }
    const linked = this.parts.chain.link(submission);
    this.leafHashes.push(linked.leafHash);
    this.part.write(submission, linked);
    if (this.part.entries === PART_ENTRIES) {
      this.handOver();
      this.part = this.parts.part(this.filled);
    }
    return true;
  }

  private handOver(end: { readonly isLast?: boolean; readonly isAbandoned?: boolean } = {}): void {
    this.part.close(end);
    this.parts.post();
    this.filled += 1;
  }

  async commit(): Promise<BulkPlaced | null> {
    // It never saw the last part.
    if (this.isGone) return null;
    this.handOver({ isLast: true });
    const answer = await this.parts.answered;
    if (answer !== null && "placed" in answer) {
      const { placed } = answer;
      return placed && { leafHashes: this.leafHashes, edge: placed.edge };
    }
    if (answer !== null && "failed" in answer) throw errorFromJson(answer.failed);
    throw new FatalError(
      "outcome-unknown",
      "the thread that committed ended before it said whether it had; open the ledger again to see",
    );
  }

  async abandon(): Promise<void> {
    if (!this.isStopped) this.handOver({ isLast: true, isAbandoned: true });
    await this.parts.answered;
  }
}
