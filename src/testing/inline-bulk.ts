import { FatalError } from "../core/errors.ts";
import type { BulkCommit, BulkWriter } from "../ledger/bulk-writer.ts";
import { Placer } from "../ledger/placement.ts";
import { type EdgeState, RightEdge } from "../ledger/right-edge.ts";
import type { LedgerStorage } from "../ledger/storage.ts";
import type { Submission } from "../ledger/submission.ts";

/** What becomes of a commit: done, lost before it began or at its end, done by a thread that dies before it says so, or done for other entries. */
export type BulkFate = "won" | "lost" | "died" | "mistaken";

/**
 * A bulk writer on any storage, without a thread: what BulkThread does, on the calling thread and with a fate that a test chooses. For tests
 * of the engine.
 */
export class InlineBulk implements BulkWriter {
  readonly entriesLeast: number;
  /** Entries of each commit, by fate. */
  readonly commits: { readonly fate: BulkFate | "abandoned"; readonly entries: number }[] = [];
  private readonly storage: LedgerStorage;
  private readonly fateOf: (number: number) => BulkFate;
  /** Where the submissions of the last commit stand, which the next one writes over. */
  private readonly bytes: Buffer[] = [];
  private isBusy = false;
  private begun = 0;

  constructor(
    storage: LedgerStorage,
    options: { readonly entriesLeast?: number; readonly fateOf?: (number: number) => BulkFate } = {},
  ) {
    this.storage = storage;
    this.entriesLeast = options.entriesLeast ?? 1;
    this.fateOf = options.fateOf ?? (() => "won");
  }

  get isReady(): boolean {
    return !this.isBusy;
  }

  begin(state: EdgeState, time: string): BulkCommit {
    if (this.isBusy) throw new Error("a commit is under way");
    this.isBusy = true;
    for (const bytes of this.bytes.splice(0)) bytes.fill(0xff);
    const fate = this.fateOf(this.begun++);
    const submissions: Submission[] = [];
    const edge = RightEdge.of(state);
    const end = async (how: BulkFate | "abandoned"): Promise<void> => {
      // As from another thread: later, not at once.
      await new Promise<void>((resolve) => setImmediate(resolve));
      this.isBusy = false;
      this.commits.push({ fate: how, entries: submissions.length });
    };
    const place = (bytes: Buffer): void => void this.bytes.push(bytes);
    return {
      add(submission) {
        const { saltsSize, sizeBytes, digestSize } = submission;
        const bytes = Buffer.alloc(saltsSize + sizeBytes + digestSize);
        bytes.write(submission.digest, saltsSize + sizeBytes);
        submission.moveTo(bytes, { salts: 0, body: saltsSize, digest: saltsSize + sizeBytes });
        place(bytes);
        submissions.push(submission);
        return true;
      },
      commit: async () => {
        if (fate === "lost") {
          await end(fate);
          return null;
        }
        const placer = new Placer(edge, time);
        const leafHashes = submissions.map((submission) => placer.place(submission).leafHash);
        const reads = { ids: [], idDigests: [], indexes: [] };
        const isWritten = await this.storage.commit(reads, ({ head }) =>
          edgeMatches(state, head.size) && leafHashes.length > 0 ? [placer.batch] : undefined,
        );
        await end(isWritten ? fate : "lost");
        if (fate === "died") throw new FatalError("outcome-unknown", "injected: the thread died");
        if (!isWritten) return null;
        const placed = edge.state();
        return { leafHashes, edge: fate === "mistaken" ? { ...placed, lastLeaf: state.lastLeaf } : placed };
      },
      abandon: () => end("abandoned"),
    };
  }
}

function edgeMatches(state: EdgeState, size: number): boolean {
  return state.size === size;
}
