import { type ResourceLimits, Worker } from "node:worker_threads";
import type { Scheme } from "./core/entry.ts";
import { errorFromJson, FatalError } from "./core/errors.ts";
import { writeText } from "./core/hash.ts";
import type { BulkCommit, BulkPlaced, BulkWriter } from "./ledger/bulk-writer.ts";
import type { EdgeState } from "./ledger/right-edge.ts";
import type { Submission } from "./ledger/submission.ts";
import type { LogMover } from "./storage/sqlite.ts";

export interface BulkThreadData {
  readonly path: string;
  /** Counts the parts that were posted: what the thread waits on inside a commit. */
  readonly posted: SharedArrayBuffer;
}

/** What the thread is told to do. The parts of a commit follow it. */
export type BulkRequest =
  | { readonly do: "commit"; readonly edge: EdgeState; readonly time: string }
  | { readonly do: "move" }
  | { readonly do: "close" };

/** Submissions of one scheme as bytes, which are handed to the thread without being copied. */
export interface BulkPart {
  /** Body, commitment and salts of one after another. */
  readonly bytes: Uint8Array;
  readonly bodySizes: readonly number[];
  readonly saltSizes: readonly number[];
  readonly commitmentSize: number;
  readonly scheme: Scheme;
  /** Every body is ASCII. */
  readonly isAscii: boolean;
  readonly isLast: boolean;
  /** With the last part: nothing of the commit is wanted. */
  readonly isAbandoned: boolean;
}

/** What it answers: the end of a commit; then, or when it begins, or was told to, that the log is moved. */
export type BulkAnswer =
  | { readonly placed: { readonly leaves: Uint8Array; readonly edge: EdgeState } | null }
  | { readonly failed: object }
  | { readonly moved: true };

/** Bytes committed by the other thread after which the log is moved: some 900 pages, a little less than what makes a commit move them itself. */
const MOVE_BYTES = 2 * 1024 * 1024;
/** A part is posted when it has so many submissions, or bytes. */
const PART_ENTRIES = 50;
const PART_BYTES = 32 * 1024;
const LEAF_HEX_DIGITS = 64;
const THREAD_MEMORY: ResourceLimits = { maxYoungGenerationSizeMb: 64, maxOldGenerationSizeMb: 256 };

/**
 * A thread for what is appended in bulk, with connections of its own: it places and stores submissions while the calls that make
 * them are still coming in, and moves the write-ahead log into the database between commits, for bulk commits of the other thread
 * too. Where no thread can be had, the other one does it all.
 */
export class BulkThread implements BulkWriter, LogMover {
  readonly entriesLeast = 64;
  private readonly path: string;
  private readonly startBytes: number;
  private state: "new" | "starting" | "idle" | "committing" | "moving" | "gone" = "new";
  private worker: Worker | undefined;
  private readonly posted = new SharedArrayBuffer(4);
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
    this.tell({ do: "commit", edge, time });
    this.state = "committing";
    this.worker?.ref();
    const answered = new Promise<BulkAnswer | null>((resolve) => {
      this.ended = resolve;
    });
    const post = (part: BulkPart): void => {
      try {
        this.worker?.postMessage(part, [part.bytes.buffer as ArrayBuffer]);
      } catch (error) {
        // Of a commit that lacks a part nothing must be left, and nobody must wait for the rest of it.
        void this.worker?.terminate();
        throw error;
      }
      const signal = new Int32Array(this.posted);
      Atomics.add(signal, 0, 1);
      Atomics.notify(signal, 0);
    };
    return new CommitUnderWay(post, answered);
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
      const workerData: BulkThreadData = { path: this.path, posted: this.posted };
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

/** Submissions on their way to the thread. */
class CommitUnderWay implements BulkCommit {
  private readonly post: (part: BulkPart) => void;
  private readonly answered: Promise<BulkAnswer | null>;
  private part = new PartWriter("event");
  private isGone = false;

  /** `answered` resolves with null when the thread is gone. */
  constructor(post: (part: BulkPart) => void, answered: Promise<BulkAnswer | null>) {
    this.post = post;
    this.answered = answered;
    void answered.then((answer) => {
      this.isGone = answer === null;
    });
  }

  add(submission: Submission): void {
    if (!this.part.fits(submission)) {
      if (this.part.entries > 0) this.post(this.part.end());
      this.part = new PartWriter(submission.scheme, sizeOf(submission));
    }
    this.part.write(submission);
    if (this.part.entries < PART_ENTRIES) return;
    this.post(this.part.end());
    this.part = new PartWriter(submission.scheme);
  }

  async commit(): Promise<BulkPlaced | null> {
    // It never saw the last part.
    if (this.isGone) return null;
    this.post(this.part.end({ isLast: true }));
    const answer = await this.answered;
    if (answer !== null && "placed" in answer) {
      const { placed } = answer;
      return placed && { leafHashes: leafHashesOf(placed.leaves), edge: placed.edge };
    }
    if (answer !== null && "failed" in answer) throw errorFromJson(answer.failed);
    throw new FatalError(
      "outcome-unknown",
      "the thread that committed ended before it said whether it had; open the ledger again to see",
    );
  }

  async abandon(): Promise<void> {
    this.post(new PartWriter("event").end({ isLast: true, isAbandoned: true }));
    await this.answered;
  }
}

/** Writes the submissions of one part. */
class PartWriter {
  private readonly bytes: Buffer;
  private readonly scheme: Scheme;
  private readonly bodySizes: number[] = [];
  private readonly saltSizes: number[] = [];
  private size = 0;
  private commitmentSize = 0;
  private isAscii = true;

  constructor(scheme: Scheme, sizeBytesLeast = 0) {
    this.scheme = scheme;
    this.bytes = Buffer.allocUnsafeSlow(Math.max(PART_BYTES, sizeBytesLeast));
  }

  get entries(): number {
    return this.bodySizes.length;
  }

  fits(submission: Submission): boolean {
    return submission.scheme === this.scheme && this.size + sizeOf(submission) <= this.bytes.length;
  }

  write({ body, sizeBytes, commitment, salts }: Submission): void {
    const { bytes } = this;
    const isAscii = sizeBytes === body.length;
    writeText(bytes, body, this.size, isAscii);
    if (!isAscii) this.isAscii = false;
    const afterBody = this.size + sizeBytes;
    writeText(bytes, commitment, afterBody, true);
    const afterCommitment = afterBody + commitment.length;
    // For so few bytes, `set` takes longer.
    for (let i = 0; i < salts.length; i++) bytes[afterCommitment + i] = salts[i]!;
    this.size = afterCommitment + salts.length;
    this.bodySizes.push(sizeBytes);
    this.saltSizes.push(salts.length);
    this.commitmentSize = commitment.length;
  }

  end(end: { readonly isLast?: boolean; readonly isAbandoned?: boolean } = {}): BulkPart {
    const { bytes, bodySizes, saltSizes, commitmentSize, scheme, isAscii } = this;
    const { isLast = false, isAbandoned = false } = end;
    return { bytes, bodySizes, saltSizes, commitmentSize, scheme, isAscii, isLast, isAbandoned };
  }
}

function sizeOf({ sizeBytes, commitment, salts }: Submission): number {
  return sizeBytes + commitment.length + salts.length;
}

function leafHashesOf(leaves: Uint8Array): string[] {
  const text = Buffer.from(leaves.buffer, leaves.byteOffset, leaves.byteLength);
  const leafHashes: string[] = [];
  for (let at = 0; at < text.length; at += LEAF_HEX_DIGITS)
    leafHashes.push(text.toString("latin1", at, at + LEAF_HEX_DIGITS));
  return leafHashes;
}
