import { SLICE_MS } from "./limits.ts";

/**
 * For loops over many entries. A synchronous store answers without yielding, so that nothing else of the process would run until
 * the loop has ended. What is returned is to be awaited after each piece: it gives others their turn once `SLICE_MS` are over.
 */
export function timeSlices(): () => Promise<void> | undefined {
  let since = performance.now();
  return () => {
    if (performance.now() - since < SLICE_MS) return undefined;
    return new Promise((resolve) => {
      setImmediate(() => {
        since = performance.now();
        resolve();
      });
    });
  };
}
