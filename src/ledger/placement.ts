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

/** Links entries into a chain behind its last one: index, time, text, leaf hash. */
export class Chain {
  /** Entries in it. */
  size: number;
  /** Hex leaf hash of the last entry. */
  lastLeaf: string;
  /** Of every entry that is linked. */
  readonly time: string;

  constructor(last: { readonly size: number; readonly lastLeaf: string }, time: string) {
    this.size = last.size;
    this.lastLeaf = last.lastLeaf;
    this.time = time;
  }

  /** Text of the next entry, whose index is `size - 1` and whose leaf hash is `lastLeaf` from now on. */
  link({ commitment, scheme }: Pick<Submission, "commitment" | "scheme">): string {
    const { size, lastLeaf, time } = this;
    const entry = formatEntry({ commitment, index: size, previous: lastLeaf, scheme, time });
    this.size = size + 1;
    this.lastLeaf = leafHashHex(entry);
    return entry;
  }
}

/** Gives entries their places behind an edge, which grows with them, without asking whether they must be refused. */
export class Placer {
  readonly edge: RightEdge;
  private readonly chain: Chain;
  /** What the store has to write for everything placed. */
  readonly batch: Sink = { entries: [], tiles: [], filters: [], ids: [], controls: [] };

  /** All entries get the same time. */
  constructor(edge: RightEdge, time: string) {
    this.edge = edge;
    this.chain = new Chain(edge, time);
  }

  place(submission: Submission): Appended {
    const { edge, batch, chain } = this;
    const { scheme, id } = submission;
    const entry = chain.link(submission);
    const index = edge.size;
    const { lastLeaf: leafHash, time } = chain;
    edge.append(leafHash, time, batch.tiles);
    batch.entries.push(new PlacedEntry(index, entry, submission));
    if (id !== null) batch.ids.push({ id, index });
    if (scheme === "control") batch.controls.push(index);
    return { index, leafHash, time, duplicate: false };
  }
}

/** Places groups of submissions, as far as the rules of the ledger let them in. */
export class Placement {
  private readonly placer: Placer;
  private readonly view: Pick<CommitView, "byId" | "erasedIds">;
  private readonly state: LedgerState;
  private readonly known = new Map<string, KnownId>();

  /** `view` and `state` are those of the edge that the placer continues. */
  constructor(parts: {
    readonly placer: Placer;
    readonly view: Pick<CommitView, "byId" | "erasedIds">;
    readonly state: LedgerState;
  }) {
    this.placer = parts.placer;
    this.view = parts.view;
    this.state = parts.state;
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
      const placed = this.placer.place(submission);
      if (id !== null) this.known.set(id, { body, first: placed });
      appended.push(placed);
    }
    return { appended, refusal: null };
  }

  /** Why submissions that stand or fall together must be refused, before any is placed; learns the ids stored already. */
  private refusalOf(submissions: readonly Submission[]): Error | null {
    const { view, state, known } = this;
    const { edge } = this.placer;
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
class PlacedEntry implements StoredEntry {
  readonly index: number;
  readonly entry: string;
  readonly body: string;
  readonly salts: Uint8Array;
  readonly disclosure: null = null;

  constructor(index: number, entry: string, { body, salts }: Pick<Submission, "body" | "salts">) {
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
