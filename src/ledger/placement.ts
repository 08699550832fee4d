import { signedIdDigest } from "../core/control-event.ts";
import { formatEntry, leafHashHex, parseEntry } from "../core/entry.ts";
import { ConflictError, PolicyError } from "../core/errors.ts";
import type { LedgerState } from "../core/ledger-state.ts";
import type { RightEdge } from "./right-edge.ts";
import type { Batch, CommitView, StoredEntry, StoredTile } from "./storage.ts";
import type { Submission } from "./submission.ts";

/** Result of an append: durable when it is returned. */
export interface Appended {
  /** 0-based leaf index. */
  readonly index: number;
  /** Hex leaf hash: SHA-256(0x00 ‖ entry text). */
  readonly leafHash: string;
  /** Ledger time of the entry. */
  readonly time: string;
  /** True when an event with this `id` and the same content was there already; nothing was written. */
  readonly duplicate: boolean;
}

/** What became of a group: the placed submissions, and why the next one was refused, if one was. */
export interface Outcome {
  readonly appended: Appended[];
  readonly refusal: Error | null;
}

/** Submissions that stand or fall together, or of which what comes before the first refused one is kept. */
export interface PlacedGroup {
  readonly submissions: readonly Submission[];
  readonly keepPrefix: boolean;
}

const NOTHING_READ = { byId: new Map(), erasedIds: new Map() } as const;

/** Gives submissions their places behind an edge, which grows with them: index, time, link, leaf hash, tiles. */
export class Placement {
  readonly edge: RightEdge;
  private readonly view: Pick<CommitView, "byId" | "erasedIds">;
  private readonly state: LedgerState;
  private readonly time: string;
  private readonly known = new Map<string, KnownId>();
  /** What the store has to write for everything placed. */
  readonly batch: Sink = { entries: [], tiles: [], filters: [], ids: [], controls: [] };

  /** `view` and `state` are those of the edge; all entries get the same time. Submissions without `id` need no view. */
  constructor(parts: {
    readonly edge: RightEdge;
    readonly view: Pick<CommitView, "byId" | "erasedIds"> | null;
    readonly state: LedgerState;
    readonly time: string;
  }) {
    this.edge = parts.edge;
    this.view = parts.view ?? NOTHING_READ;
    this.state = parts.state;
    this.time = parts.time;
  }

  /** Places a group, or what comes before its first refused submission, or nothing of it. */
  place({ submissions, keepPrefix }: PlacedGroup): Outcome {
    const { state } = this;
    const appended: Appended[] = [];
    if (state.sealedAt !== null) {
      return {
        appended,
        refusal: new PolicyError(
          "ledger-sealed",
          `the ledger was sealed at entry ${state.sealedAt}; append to its successor`,
        ),
      };
    }
    if (!keepPrefix) {
      const refusal = this.refusalOf(submissions);
      if (refusal !== null) return { appended, refusal };
    }
    for (const submission of submissions) {
      if (keepPrefix) {
        const refusal = this.refusalOf([submission]);
        if (refusal !== null) return { appended, refusal };
      }
      const { id, body } = submission;
      const duplicate = id === null ? undefined : this.known.get(id)?.first;
      if (duplicate !== undefined) {
        appended.push({ ...duplicate, duplicate: true });
        continue;
      }
      const placed = this.placeOne(submission);
      if (id !== null) this.known.set(id, { body, first: placed });
      appended.push(placed);
    }
    return { appended, refusal: null };
  }

  /** Places one submission without asking whether it must be refused. */
  placeOne(submission: Submission): Appended {
    const { edge, batch, time } = this;
    const index = edge.size;
    const { commitment, scheme } = submission;
    const entry = formatEntry({ commitment, index, previous: edge.lastLeaf, scheme, time });
    const leafHash = leafHashHex(entry);
    edge.append(leafHash, time, batch.tiles);
    batch.entries.push(new NewEntry(index, entry, submission));
    if (submission.id !== null) batch.ids.push({ id: submission.id, index });
    if (scheme === "control") batch.controls.push(index);
    return { index, leafHash, time, duplicate: false };
  }

  /** Why submissions that stand or fall together must be refused, before any is placed; learns the ids stored already. */
  private refusalOf(submissions: readonly Submission[]): Error | null {
    const { view, edge, state, known } = this;
    const requireSignature = state.rules.at(-1)?.requireSignature ?? false;
    let own: Map<string, string> | null = null;
    for (const submission of submissions) {
      if (requireSignature || submission.signed !== null) {
        const refusal = authorRefusal(submission, state, edge.size);
        if (refusal !== null) return refusal;
      }
      const { id, body } = submission;
      if (id === null) continue;
      const erasedAt = view.erasedIds.get(id);
      if (erasedAt !== undefined) return idConflict(id, erasedAt, "was erased since");
      if (!known.has(id)) {
        const stored = view.byId.get(id);
        if (stored !== undefined) known.set(id, { body: stored.body, first: appendedOf(stored) });
      }
      const first = known.get(id);
      if (first !== undefined && first.body !== body)
        return idConflict(
          id,
          first.first.index,
          first.body === null ? "was erased in part since" : "has other content",
        );
      own ??= new Map();
      const sibling = own.get(id);
      if (sibling !== undefined && sibling !== body)
        return new ConflictError("id-conflict", "two events of one call have the same id and other content", {
          details: { id },
        });
      own.set(id, body);
    }
    return null;
  }
}

function authorRefusal(submission: Submission, state: LedgerState, size: number): Error | null {
  const { signed } = submission;
  if (signed === null)
    return new PolicyError("signature-required", "the rules of this ledger require an author signature on every event");
  for (const keyId of signed.keyIds) {
    const author = state.authors.get(keyId);
    if (
      author === undefined ||
      author.fromIndex > size ||
      author.untilIndex !== null ||
      author.actor !== signed.actor
    ) {
      return new PolicyError(
        "author-not-registered",
        `author key ${keyId} is not registered for actor ${JSON.stringify(signed.actor)} now`,
        { details: { keyId } },
      );
    }
    const erasedBy =
      submission.id === null ? undefined : state.erasedSignedIds.get(signedIdDigest(keyId, submission.id));
    if (erasedBy !== undefined && submission.id !== null)
      return idConflict(submission.id, erasedBy, "was erased since");
  }
  return null;
}

/** A class for the same reason as `Submission`. */
class NewEntry implements StoredEntry {
  readonly index: number;
  readonly entry: string;
  readonly body: string;
  readonly salts: Uint8Array;
  readonly disclosure: null = null;

  constructor(index: number, entry: string, { body, salts }: Submission) {
    this.index = index;
    this.entry = entry;
    this.body = body;
    this.salts = salts;
  }
}

interface KnownId {
  /** Null when the stored body is no longer whole. */
  readonly body: string | null;
  readonly first: Appended;
}

interface Sink extends Batch {
  readonly entries: StoredEntry[];
  readonly tiles: StoredTile[];
  readonly filters: [];
  readonly ids: { id: string; index: number }[];
  readonly controls: number[];
}

function appendedOf(stored: StoredEntry): Appended {
  return {
    index: stored.index,
    leafHash: leafHashHex(stored.entry),
    time: parseEntry(stored.entry).time,
    duplicate: true,
  };
}

function idConflict(id: string, index: number, how: string): ConflictError {
  return new ConflictError("id-conflict", `the entry with this id, ${index}, ${how}`, { details: { id, index } });
}
