import { type ResourceLimits, Worker } from "node:worker_threads";

/** What the thread is told, and what it answers: that it can begin, and that it moved the log. */
export type LogMoverRequest = "move" | "close";
export type LogMoverAnswer = "ready" | "moved";

/** Bulk commits of this process come to that many bytes before a thread is started for them: most programs never write as much. */
const START_BYTES = 4 * 1024 * 1024;
/** Committed bytes after which the log is moved: some 900 pages, a little less than what makes a commit move them itself. */
const MOVE_BYTES = 2 * 1024 * 1024;
const THREAD_MEMORY: ResourceLimits = { maxYoungGenerationSizeMb: 4, maxOldGenerationSizeMb: 64 };

/**
 * Moves the write-ahead log into the database on a thread and a connection of its own, so that bulk commits need not: it is a
 * third of their time. Where no thread can be had, commits go on moving it themselves.
 */
export class LogMover {
  private readonly path: string;
  private state: "new" | "starting" | "idle" | "moving" | "gone" = "new";
  private worker: Worker | undefined;
  private exited: Promise<void> = Promise.resolve();
  private written = 0;
  /** Somebody waits for its end, which must keep the process. */
  private isClosing = false;
  private moved: () => void = () => {};

  constructor(path: string) {
    this.path = path;
    // Node 20 runs no TypeScript on a thread, and a bundler may have left no file to run.
    if (!isModuleFile(import.meta.url)) this.state = "gone";
  }

  /** Whether commits can leave the log to it. */
  get isReady(): boolean {
    return this.state === "idle" || this.state === "moving";
  }

  /** Notes a bulk commit of so many bytes. */
  wrote(bytes: number): void {
    this.written += bytes;
    if (this.state === "new" && this.written >= START_BYTES) this.start();
    if (this.state !== "idle" || this.written < MOVE_BYTES) return;
    this.written = 0;
    this.state = "moving";
    this.tell("move");
  }

  /** Resolves when the log is not being moved. */
  settled(): Promise<void> {
    if (this.state !== "moving") return Promise.resolve();
    return new Promise((resolve) => {
      const { moved } = this;
      this.moved = () => {
        moved();
        resolve();
      };
      this.worker?.ref();
    });
  }

  /** The thread lets go of the file. Idempotent. */
  async close(): Promise<void> {
    if (this.state === "new") this.state = "gone";
    if (this.state === "gone") return;
    this.isClosing = true;
    this.worker?.ref();
    this.tell("close");
    await this.exited;
  }

  private start(): void {
    this.state = "starting";
    try {
      const worker = new Worker(new URL("./sqlite-log-worker.js", import.meta.url), {
        workerData: { path: this.path },
        resourceLimits: THREAD_MEMORY,
      });
      worker.unref();
      this.worker = worker;
      worker.on("message", (answer: LogMoverAnswer) => this.hear(answer));
      // It changes nothing that is durable; what it leaves undone, a commit does.
      worker.on("error", () => this.end());
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

  private hear(answer: LogMoverAnswer): void {
    if (this.state === "gone") return;
    this.state = "idle";
    if (answer === "moved") this.release();
  }

  private end(): void {
    this.state = "gone";
    this.release();
  }

  private release(): void {
    const { moved } = this;
    this.moved = () => {};
    if (!this.isClosing) this.worker?.unref();
    moved();
  }

  private tell(request: LogMoverRequest): void {
    this.worker?.postMessage(request);
  }
}

function isModuleFile(url: string | undefined): boolean {
  return url?.endsWith(".js") === true;
}
