import { parentPort, workerData } from "node:worker_threads";
import { isTallystickError, type TallystickError } from "./core/errors.ts";
import type { StorageSnapshot } from "./ledger/storage.ts";
import { type RangeTask, verifyRange } from "./ledger/verify-range.ts";

/**
 * A verification thread. Entries below the size that the main thread fixed never change, so a read transaction of its own
 * shows the same bytes; it is opened anew for each task, so that it never holds back the write-ahead log for long.
 */
async function openSnapshot(): Promise<{ readonly snapshot: StorageSnapshot; close(): Promise<void> }> {
  const { openSqliteStorage } = await import("./storage/sqlite.ts");
  const storage = await openSqliteStorage((workerData as { readonly path: string }).path, { readOnly: true });
  const snapshot = await storage.snapshot();
  return {
    snapshot,
    async close() {
      await snapshot.close();
      await storage.close();
    },
  };
}

parentPort?.on("message", (task: RangeTask) => {
  void (async () => {
    try {
      const view = await openSnapshot();
      try {
        parentPort?.postMessage({ answer: await verifyRange(view.snapshot, task) });
      } finally {
        await view.close();
      }
    } catch (error) {
      parentPort?.postMessage({ error: isTallystickError(error) ? (error as TallystickError).toJSON() : error });
    }
  })();
});
