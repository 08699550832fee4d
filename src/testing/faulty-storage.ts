import { FatalError, UnavailableError } from "../core/errors.ts";
import { seededRandom } from "../ledger/seeded-random.ts";
import type { CommitView, LedgerStorage, StorageHead } from "../ledger/storage.ts";

/**
 * What may go wrong with one call:
 * - `fail-before`: it fails with `storage-io` and nothing was done;
 * - `fail-persisted`: it is done, and then fails with `outcome-unknown`;
 * - `hang`: it is held until `release`, and then goes on;
 * - `run-twice`: a commit's plan runs twice and its first answer is thrown away, as after a lost compare-and-swap;
 * - `stale-head`: `head`, or the view of a commit, shows the head as it was before the latest commit. No sound store does
 *   that to a commit; whoever relies on one must find it out.
 */
export type StorageFault = "fail-before" | "fail-persisted" | "hang" | "run-twice" | "stale-head";

export type StorageOperation = Exclude<keyof LedgerStorage, "capabilities" | "close">;

export interface StorageCall {
  readonly operation: StorageOperation;
  /** 1 for the first call of that operation, 2 for the second. */
  readonly number: number;
}

/** Decides about every call. A fault that an operation cannot have is passed over. */
export type FaultPlan = (call: StorageCall) => StorageFault | undefined;

export interface FaultyStorage extends LedgerStorage {
  /** What was injected so far, in order. */
  readonly injected: readonly (StorageCall & { readonly fault: StorageFault })[];
  /** Calls that hang now. */
  readonly hanging: number;
  /** Lets every hanging call go on. */
  release(): void;
}

const FAULTS_OF: Readonly<Record<StorageOperation, readonly StorageFault[]>> = {
  create: ["fail-before", "fail-persisted", "hang"],
  head: ["fail-before", "hang", "stale-head"],
  commit: ["fail-before", "fail-persisted", "hang", "run-twice", "stale-head"],
  readEntries: ["fail-before", "hang"],
  readEntryTexts: ["fail-before", "hang"],
  readTile: ["fail-before", "hang"],
  readFilters: ["fail-before", "hang"],
  readFilterBlocks: ["fail-before", "hang"],
  findById: ["fail-before", "hang"],
  readControls: ["fail-before", "hang"],
  putCheckpoint: ["fail-before", "fail-persisted", "hang"],
  latestCheckpoint: ["fail-before", "hang"],
  putCosigned: ["fail-before", "fail-persisted", "hang"],
  latestCosigned: ["fail-before", "hang"],
  readAnchor: ["fail-before", "hang"],
  rebuildDerived: ["fail-before", "fail-persisted", "hang"],
  watch: ["fail-before", "hang"],
  purge: ["fail-before", "fail-persisted", "hang"],
  snapshot: ["fail-before", "hang"],
};

/** A storage whose calls fail, hang or lie as `plan` says, and otherwise do what `inner` does. */
export function faultyStorage(inner: LedgerStorage, plan: FaultPlan): FaultyStorage {
  const injected: (StorageCall & { readonly fault: StorageFault })[] = [];
  const calls = new Map<StorageOperation, number>();
  const held = new Set<() => void>();
  /** Heads that commits were shown: the last two that differ. */
  let heads: readonly StorageHead[] = [];

  const see = (head: StorageHead): void => {
    if (heads.at(-1)?.size !== head.size) heads = [...heads.slice(-1), head];
  };
  const staleHead = (now: StorageHead): StorageHead => heads.findLast(({ size }) => size < now.size) ?? now;
  const release = (): void => {
    for (const go of held) go();
    held.clear();
  };

  const faultFor = (operation: StorageOperation): StorageFault | undefined => {
    const call = { operation, number: (calls.get(operation) ?? 0) + 1 };
    calls.set(operation, call.number);
    const fault = plan(call);
    if (fault === undefined || !FAULTS_OF[operation].includes(fault)) return undefined;
    injected.push({ ...call, fault });
    return fault;
  };

  const run = async <T>(
    operation: StorageOperation,
    work: (fault: StorageFault | undefined) => Promise<T>,
  ): Promise<T> => {
    const fault = faultFor(operation);
    const details = { operation, number: calls.get(operation) };
    if (fault === "fail-before") throw new UnavailableError("storage-io", `injected: ${operation} failed`, { details });
    if (fault === "hang") await new Promise<void>((resolve) => held.add(resolve));
    const result = await work(fault);
    if (fault === "fail-persisted") {
      throw new FatalError("outcome-unknown", `injected: ${operation} was done and then failed`, { details });
    }
    return result;
  };

  return {
    injected,
    get hanging() {
      return held.size;
    },
    release,
    capabilities: inner.capabilities,
    create: (planBatch) => run("create", () => inner.create(planBatch)),
    head: () =>
      run("head", async (fault) => {
        const head = await inner.head();
        return fault === "stale-head" ? staleHead(head) : head;
      }),
    commit: (reads, planBatch) =>
      run("commit", (fault) =>
        inner.commit(reads, (view: CommitView) => {
          const head = fault === "stale-head" ? staleHead(view.head) : view.head;
          see(view.head);
          if (fault === "run-twice") planBatch(view);
          return planBatch({ ...view, head });
        }),
      ),
    readEntries: (first, end) => run("readEntries", () => inner.readEntries(first, end)),
    readEntryTexts: (first, end) => run("readEntryTexts", () => inner.readEntryTexts(first, end)),
    readTile: (level, index) => run("readTile", () => inner.readTile(level, index)),
    readFilters: (first, end) => run("readFilters", () => inner.readFilters(first, end)),
    readFilterBlocks: (first, end) => run("readFilterBlocks", () => inner.readFilterBlocks(first, end)),
    findById: (id) => run("findById", () => inner.findById(id)),
    readControls: (first) => run("readControls", () => inner.readControls(first)),
    putCheckpoint: (checkpoint) => run("putCheckpoint", () => inner.putCheckpoint(checkpoint)),
    latestCheckpoint: () => run("latestCheckpoint", () => inner.latestCheckpoint()),
    putCosigned: (checkpoint) => run("putCosigned", () => inner.putCosigned(checkpoint)),
    latestCosigned: () => run("latestCosigned", () => inner.latestCosigned()),
    readAnchor: (index) => run("readAnchor", () => inner.readAnchor(index)),
    rebuildDerived: (rebuild) => run("rebuildDerived", () => inner.rebuildDerived(rebuild)),
    watch: (size, signal) => run("watch", () => inner.watch(size, signal)),
    purge: () => run("purge", () => inner.purge()),
    snapshot: () => run("snapshot", () => inner.snapshot()),
    async close() {
      release();
      await inner.close();
    },
  };
}

/** Faults by chance: each call of `operations` has one of `faults` with probability `rate`. The same seed, the same faults. */
export function seededFaults(
  seed: string,
  options: {
    readonly rate: number;
    readonly faults: readonly StorageFault[];
    readonly operations?: readonly StorageOperation[];
  },
): FaultPlan {
  const random = seededRandom(`faults\n${seed}`);
  const word = new Uint8Array(4);
  const next = (): number => new DataView(random.fill(word).buffer).getUint32(0) / 2 ** 32;
  return ({ operation }) => {
    // Both are drawn every time, so that leaving an operation out does not shift the faults of the others.
    const hit = next() < options.rate;
    const fault = options.faults[Math.floor(next() * options.faults.length)];
    return hit && (options.operations ?? [operation]).includes(operation) ? fault : undefined;
  };
}
