import { availableParallelism } from "node:os";
import { type ResourceLimits, Worker } from "node:worker_threads";
import { errorFromJson, isTallystickError } from "./core/errors.ts";
import type { VerifyLedgerOptions } from "./ledger/verify-ledger.ts";
import type { RangeAnswer, RangeTask } from "./ledger/verify-range.ts";

type RangeRunner = NonNullable<VerifyLedgerOptions["runRange"]>;

/** More threads than this only fight over the disk. */
const WORKERS_MAX = 8;

/**
 * A range needs little; without a bound each thread would let its heap grow before it collects. With pages of 128 rows, 4 MB of
 * young objects cost no more time than 8 MB, and 2 MB two fifths more.
 */
const WORKER_MEMORY: ResourceLimits = { maxYoungGenerationSizeMb: 4, maxOldGenerationSizeMb: 256 };

interface Reply {
  readonly answer?: RangeAnswer;
  readonly error?: unknown;
}

/**
 * Verifies ranges of a SQLite ledger on worker threads, each with a read-only connection of its own. Undefined where there is one
 * core, and when this module runs from TypeScript source, which a worker of Node 20 cannot load.
 */
export function verifyPool(path: string): RangeRunner | undefined {
  const parallel = Math.min(WORKERS_MAX, availableParallelism());
  if (parallel < 2 || import.meta.url.endsWith(".ts")) return undefined;
  const idle: Worker[] = [];
  const all = new Set<Worker>();
  return {
    parallel,
    async run(task: RangeTask): Promise<RangeAnswer> {
      const worker = idle.pop() ?? startWorker(path, all);
      const reply = await ask(worker, task);
      idle.push(worker);
      if (reply.answer !== undefined) return reply.answer;
      throw isTallystickError(reply.error) ? errorFromJson(reply.error) : reply.error;
    },
    async close(): Promise<void> {
      idle.length = 0;
      await Promise.all([...all].map((worker) => worker.terminate()));
      all.clear();
    },
  };
}

function startWorker(path: string, all: Set<Worker>): Worker {
  const worker = new Worker(new URL("./verify-worker.js", import.meta.url), {
    workerData: { path },
    resourceLimits: WORKER_MEMORY,
  });
  worker.setMaxListeners(0);
  all.add(worker);
  return worker;
}

function ask(worker: Worker, task: RangeTask): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const settle = (): void => {
      worker.off("message", onMessage);
      worker.off("error", onError);
    };
    const onMessage = (reply: Reply): void => {
      settle();
      resolve(reply);
    };
    const onError = (error: unknown): void => {
      settle();
      reject(error);
    };
    worker.on("message", onMessage);
    worker.on("error", onError);
    worker.postMessage(task);
  });
}
