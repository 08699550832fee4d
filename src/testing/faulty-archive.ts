import { FatalError, UnavailableError } from "../core/errors.ts";
import type { Archive } from "../ledger/archive.ts";

/**
 * What may go wrong with one call:
 * - `fail-before`: it fails with `storage-io` and nothing was done;
 * - `fail-persisted`: it is done, and then fails with `outcome-unknown`;
 * - `crash-before`, `crash-after`: the writer dies, before or after it is done: it and every later call fail.
 */
export type ArchiveFault = "fail-before" | "fail-persisted" | "crash-before" | "crash-after";

export type ArchiveOperation = "get" | "put" | "replace" | "deletePartials";

export interface ArchiveCall {
  readonly operation: ArchiveOperation;
  readonly path: string;
  /** 1 for the first call of any kind, 2 for the second. */
  readonly number: number;
}

/** Decides about every call. */
export type ArchiveFaultPlan = (call: ArchiveCall) => ArchiveFault | undefined;

export interface FaultyArchive extends Archive {
  /** Every call so far, in order. */
  readonly calls: readonly ArchiveCall[];
  readonly isCrashed: boolean;
}

/** An archive whose calls fail as `plan` says, and otherwise do what `inner` does. */
export function faultyArchive(inner: Archive, plan: ArchiveFaultPlan): FaultyArchive {
  const calls: ArchiveCall[] = [];
  let isCrashed = false;

  async function run<T>(operation: ArchiveOperation, path: string, work: () => Promise<T>): Promise<T> {
    const details = { operation, path };
    const crash = (): UnavailableError =>
      new UnavailableError("storage-io", `injected: crashed at ${operation} ${path}`, { details });
    if (isCrashed) throw crash();
    const call = { operation, path, number: calls.length + 1 };
    calls.push(call);
    const fault = plan(call);
    if (fault === "fail-before")
      throw new UnavailableError("storage-io", `injected: ${operation} ${path} failed`, { details });
    if (fault === "crash-before" || fault === "crash-after") isCrashed = true;
    if (fault === "crash-before") throw crash();
    const result = await work();
    if (fault === "crash-after") throw crash();
    if (fault === "fail-persisted")
      throw new FatalError("outcome-unknown", `injected: ${operation} ${path} was done and then failed`, { details });
    return result;
  }

  return {
    calls,
    get isCrashed() {
      return isCrashed;
    },
    location: inner.location,
    get: (path, options) => run("get", path, () => inner.get(path, options)),
    put: (path, bytes) => run("put", path, () => inner.put(path, bytes)),
    replace: (path, expected, next) => run("replace", path, () => inner.replace(path, expected, next)),
    deletePartials: (path) => run("deletePartials", path, () => inner.deletePartials(path)),
  };
}
