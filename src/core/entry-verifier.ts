import { strictText } from "#hash-platform";
import { authorMessage } from "./author-signature.ts";
import { canonicalize, compareNames, type JsonValue, parseCanonical } from "./canonical-json.ts";
import { commitBody, commitFields, cutFields, fieldDigest, openDisclosure } from "./commitment.ts";
import { type ControlEvent, isControlAction, parseControlEvent } from "./control-event.ts";
import { decodeBase64, decodeHex } from "./encoding.ts";
import { type Entry, leafHashHex, parseCommitment, parseEntry } from "./entry.ts";
import { isTallystickError, MalformedError } from "./errors.ts";
import { actorIdOf, type Event, parseEvent, searchTerms } from "./event.ts";
import type { HashName } from "./hash.ts";
import type { AuthorRegistration, ErasedEntry, LedgerState } from "./ledger-state.ts";
import { SALT_BYTES } from "./limits.ts";
import { type CompactRange, createRange } from "./merkle.ts";
import type { Finding, FindingCode } from "./report.ts";
import { verifySignature } from "./signature/table.ts";

/** Stored bytes of one entry, all of them untrusted. */
export interface EntryBytes {
  readonly index: number;
  readonly entry: Uint8Array | null;
  readonly body: Uint8Array | null;
  readonly salts: Uint8Array | null;
  readonly disclosure: Uint8Array | null;
}

/** Counters of one source as a range saw them; author-signed events only. */
export interface SourceRun {
  readonly id: string;
  readonly firstCounter: number;
  readonly firstIndex: number;
  lastCounter: number;
  lastIndex: number;
}

/** What one range of entries amounts to; plain data, so that it can cross threads. */
export interface RangeResult {
  readonly first: number;
  readonly end: number;
  readonly findings: readonly Finding[];
  readonly findingsOmitted: number;
  /** `previous` of the first entry and its time; null when it could not be read. */
  readonly firstPrevious: string | null;
  readonly firstTime: string | null;
  readonly lastLeaf: string | null;
  readonly lastTime: string | null;
  /** Subtree hashes of the range; null when an entry is missing. */
  readonly subtrees: readonly Uint8Array[] | null;
  readonly controls: readonly number[];
  readonly erasedEntries: number;
  readonly erasedFields: number;
  readonly ids: number;
  readonly signedEvents: number;
  /** Erased entries of which nobody can say any more whether they were signed. */
  readonly unknownSignatures: number;
  /** Bodies, fields and signatures that cannot be judged because control events outside the range are unknown. */
  readonly unjudged: number;
  /** Whose signatures were verified: key id → number of events. */
  readonly signers: readonly (readonly [keyId: string, events: number])[];
  readonly sources: readonly SourceRun[];
}

/** What a storage wants to compare with its derived data. */
export interface EntryFacts {
  readonly leaf: string;
  readonly id: string | null;
  readonly terms: readonly string[];
}

export interface EntryVerifierOptions {
  readonly first: number;
  readonly end: number;
  /** From all control events of the ledger; they are verified again as entries of their range. */
  readonly state: LedgerState;
  /** The pinned policy asks for signatures whatever the rules say. */
  readonly requireSignature: boolean;
  readonly findingsMax: number;
  /** A selection that leaves entries out: indexes still ascend, but gaps, links and source counters say nothing. */
  readonly sparse?: boolean;
  /**
   * Control events outside the range are unknown: an author key that is not registered in `state`, or an erasure that is not
   * there, cannot be judged and is counted as unchecked. `claimedErasure` is what the file says about an entry.
   */
  readonly partialState?: boolean;
}

/**
 * Verifies the entries of one index range from their stored bytes, in order, in constant memory: bytes, links, times,
 * commitments, grammar, erasures, author signatures. Never stops at a finding. What needs the whole tree is left to the
 * caller, who merges the results. Source: spec/verification.md.
 */
export class EntryVerifier {
  private readonly options: EntryVerifierOptions;
  private readonly hash: HashName;
  private readonly findings: Finding[] = [];
  private findingsOmitted = 0;
  private expected: number;
  private lastLeaf: string | null = null;
  private firstPrevious: string | null = null;
  private firstTime: string | null = null;
  private lastTime: string | null = null;
  private range: CompactRange | null;
  private readonly controls: number[] = [];
  private erasedEntries = 0;
  private erasedFields = 0;
  private ids = 0;
  private signedEvents = 0;
  private unknownSignatures = 0;
  private unjudged = 0;
  private readonly signers = new Map<string, number>();
  private readonly sources = new Map<string, SourceRun>();
  private signatureJobs: (() => Promise<void>)[] = [];

  constructor(options: EntryVerifierOptions) {
    this.options = options;
    this.hash = options.state.genesis.commitmentHash;
    this.expected = options.first;
    this.range = createRange(options.first);
  }

  /** Verifies the next stored entry. Rows must come in ascending order; what is absent is reported as missing. */
  add(row: EntryBytes): EntryFacts | null {
    if (row.index < this.expected) {
      this.report("stored-garbage", row.index, "this row stands out of order in the store");
      return null;
    }
    if (row.index > this.expected) this.skipTo(row.index);
    this.expected = row.index + 1;
    const text = row.entry === null ? null : strictText(row.entry);
    if (text === null) {
      this.report(
        "entry-malformed",
        row.index,
        row.entry === null ? "the entry has no bytes" : "the entry is not UTF-8 text",
      );
      this.breakTree();
      return null;
    }
    const leaf = leafHashHex(text);
    this.range?.append(decodeHex(leaf, { code: "malformed-entry" }));
    const previousLeaf = this.lastLeaf;
    this.lastLeaf = leaf;
    const entry = this.attempt(row.index, "entry-malformed", () => parseEntry(text));
    if (entry === null) return { leaf, id: null, terms: [] };
    this.checkOrder(row.index, entry, previousLeaf);
    if (parseCommitment(entry.commitment).hash !== this.hash) {
      this.report("entry-malformed", row.index, "commits with another hash than genesis fixes", {
        expected: this.hash,
        found: entry.commitment,
      });
    }
    const event = this.checkBody(row, entry, leaf);
    return this.factsOf(leaf, event);
  }

  /** Awaits the author signatures seen so far; call it once a page. */
  async settleSignatures(): Promise<void> {
    const jobs = this.signatureJobs;
    this.signatureJobs = [];
    for (const job of jobs) await job();
  }

  /** The result after the last row of the range. */
  async finish(): Promise<RangeResult> {
    if (this.expected < this.options.end) this.skipTo(this.options.end);
    await this.settleSignatures();
    const { first, end } = this.options;
    return {
      first,
      end,
      findings: this.findings,
      findingsOmitted: this.findingsOmitted,
      firstPrevious: this.firstPrevious,
      firstTime: this.firstTime,
      lastLeaf: this.lastLeaf,
      lastTime: this.lastTime,
      subtrees: this.range?.hashes ?? null,
      controls: this.controls,
      erasedEntries: this.erasedEntries,
      erasedFields: this.erasedFields,
      ids: this.ids,
      signedEvents: this.signedEvents,
      unknownSignatures: this.unknownSignatures,
      unjudged: this.unjudged,
      signers: [...this.signers],
      sources: [...this.sources.values()],
    };
  }

  /** For findings about derived data, which only the caller can see. */
  report(code: FindingCode, index: number, message: string, more: Partial<Finding> = {}): void {
    if (this.findings.length >= this.options.findingsMax) this.findingsOmitted += 1;
    else this.findings.push({ code, index, message, ...more });
  }

  private skipTo(next: number): void {
    if (this.options.sparse === true) this.breakTree();
    else this.missing(next);
  }

  private missing(next: number): void {
    const first = this.expected;
    const count = next - first;
    this.report(
      "entry-missing",
      first,
      count === 1 ? `entry ${first} is missing` : `entries ${first} to ${next - 1} are missing`,
      {
        expected: String(first),
        found: String(next),
      },
    );
    this.breakTree();
  }

  private breakTree(): void {
    this.range = null;
    this.lastLeaf = null;
  }

  private checkOrder(index: number, entry: Entry, previousLeaf: string | null): void {
    if (entry.index !== index) {
      this.report("index-mismatch", index, `the entry stored at ${index} says it is entry ${entry.index}`, {
        expected: String(index),
        found: String(entry.index),
      });
    }
    if (index === this.options.first) {
      this.firstPrevious = entry.previous;
      this.firstTime = entry.time;
    } else if (previousLeaf !== null && entry.previous !== previousLeaf) {
      this.report("previous-mismatch", index, `entry ${index} does not link to entry ${index - 1}`, {
        expected: previousLeaf,
        found: entry.previous,
        evidence: `entry ${index - 1}`,
      });
    }
    if (this.lastTime !== null && entry.time < this.lastTime) {
      this.report("time-backwards", index, `entry ${index} is earlier than the entry before it`, {
        expected: this.lastTime,
        found: entry.time,
      });
    }
    this.lastTime = entry.time;
  }

  /** Checks what the entry commits to, in whichever form it is kept; returns what a reader may see of the event. */
  private checkBody(row: EntryBytes, entry: Entry, leaf: string): Partial<Event> | null {
    const erased = this.options.state.erasures.get(row.index);
    if (erased !== undefined && erased.leaf !== leaf) {
      this.report("erasure-void", row.index, "the erasure that names this entry names another leaf hash", {
        expected: erased.leaf,
        found: leaf,
        evidence: erasureName(erased),
      });
    }
    if (entry.scheme === "control") return this.checkControl(row, entry, erased);
    if (erased?.wholeBy != null) {
      this.erasedEntries += 1;
      this.unknownSignatures += 1;
      if (row.body !== null || row.salts !== null || row.disclosure !== null) {
        this.report(
          "body-after-erasure",
          row.index,
          `the body was erased by entry ${erased.wholeBy} and is still stored`,
          { evidence: `erasure at ${erased.wholeBy}` },
        );
      }
      return null;
    }
    if (erased !== undefined && erased.fields.size > 0) {
      if (entry.scheme === "fields") return this.checkPartial(row, entry, erased);
      this.report("erasure-void", row.index, "an erasure names fields of an entry that is committed as a whole", {
        evidence: erasureName(erased),
      });
    }
    if (row.body === null && this.options.partialState === true) {
      this.unjudged += 1;
      return row.disclosure === null
        ? null
        : this.checkPartial(row, entry, { wholeBy: null, fields: new Map(), leaf, idGuard: null });
    }
    if (row.body === null) {
      const hidden = row.disclosure === null ? "" : " and only a part of it is shown";
      this.report("body-missing", row.index, `the body is missing${hidden}, and no erasure names it`);
      return null;
    }
    if (row.disclosure !== null)
      this.report("stored-garbage", row.index, "a whole body and a disclosure are both stored");
    const event = this.openBody(row, entry);
    if (event !== null && isControlAction(event.action)) {
      this.report(
        "control-scheme",
        row.index,
        `${event.action} has effect only in scheme control; here it stands in scheme ${entry.scheme}`,
      );
    }
    if (event !== null) this.checkSignatures(row.index, event, () => this.wholeMessageParts(row, entry, event));
    return event;
  }

  private checkControl(row: EntryBytes, entry: Entry, erased: ErasedEntry | undefined): Event | null {
    this.controls.push(row.index);
    if (erased !== undefined) {
      this.report("erasure-void", row.index, "an erasure names a control event, which can never be erased", {
        evidence: erasureName(erased),
      });
    }
    if (row.body === null || row.salts === null) {
      this.report("control-body-missing", row.index, "the body of a control event is missing");
      return null;
    }
    if (row.disclosure !== null) this.report("stored-garbage", row.index, "a control event has a disclosure");
    const event = this.openBody(row, entry);
    if (event === null) return null;
    if (!isControlAction(event.action)) {
      this.report("control-scheme", row.index, `scheme control is for control events alone, not for ${event.action}`);
      return event;
    }
    this.attempt<ControlEvent>(row.index, "control-malformed", () => parseControlEvent(event));
    return event;
  }

  /** Opens a whole body: salts, commitment, canonical form, grammar. */
  private openBody(row: EntryBytes, entry: Entry): Event | null {
    const text = row.body === null ? null : strictText(row.body);
    if (text === null) {
      this.report("body-malformed", row.index, "the body is not UTF-8 text");
      return null;
    }
    const event = this.attempt(row.index, "body-malformed", () => parseEvent(text));
    const salts = row.salts ?? new Uint8Array(0);
    const found = this.commitmentOf(entry, text, event, salts);
    if (found === null || `${this.hash}:${found}` !== entry.commitment) {
      const more = {
        expected: entry.commitment,
        found: found === null ? `${salts.length} bytes of salt` : `${this.hash}:${found}`,
      };
      this.report("commitment-mismatch", row.index, "the stored body is not what the entry commits to", {
        ...more,
        evidence: `entry ${row.index}`,
      });
    }
    return event;
  }

  private commitmentOf(entry: Entry, body: string, event: Event | null, salts: Uint8Array): string | null {
    if (entry.scheme !== "fields")
      return salts.length === SALT_BYTES ? commitBody(this.hash, entry.scheme, salts, body) : null;
    if (event === null) return null;
    const fields = cutFields(event);
    if (salts.length !== fields.length * SALT_BYTES) return null;
    const digests = fields.map((field, i) =>
      fieldDigest(this.hash, salts.subarray(i * SALT_BYTES, (i + 1) * SALT_BYTES), field),
    );
    return commitFields(
      this.hash,
      fields.map((field) => field.name),
      digests,
    );
  }

  /** An entry of scheme `fields` of which some fields were erased. */
  private checkPartial(row: EntryBytes, entry: Entry, erased: ErasedEntry): Partial<Event> | null {
    this.erasedFields += erased.fields.size;
    const evidence = erasureName(erased);
    if (row.body !== null || row.salts !== null) {
      this.report(
        "field-after-erasure",
        row.index,
        "fields of this entry were erased and its whole body is still stored",
        { evidence },
      );
      return null;
    }
    const text = row.disclosure === null ? null : strictText(row.disclosure);
    if (text === null) {
      this.report("body-missing", row.index, "the fields that were not erased are missing", { evidence });
      return null;
    }
    const opened = this.attempt(row.index, "commitment-mismatch", () => {
      const { disclosed, digests } = disclosureOf(parseCanonical(text));
      const names = [...Object.keys(disclosed), ...Object.keys(digests)].sort(compareNames);
      return { ...openDisclosure(this.hash, names, disclosed, digests), disclosed, digests, names };
    });
    if (opened === null) return null;
    if (`${this.hash}:${opened.commitment}` !== entry.commitment) {
      this.report("commitment-mismatch", row.index, "the fields that are kept are not what the entry commits to", {
        expected: entry.commitment,
        found: `${this.hash}:${opened.commitment}`,
      });
    }
    for (const [name, by] of erased.fields) {
      if (Object.hasOwn(opened.disclosed, name)) {
        this.report(
          "field-after-erasure",
          row.index,
          `the field ${JSON.stringify(name)} was erased by entry ${by} and is still stored`,
          { evidence: `erasure at ${by}` },
        );
      } else if (!Object.hasOwn(opened.digests, name)) {
        this.report(
          "erasure-void",
          row.index,
          `entry ${by} erases a field ${JSON.stringify(name)} that this entry never had`,
          { evidence: `erasure at ${by}` },
        );
      }
    }
    for (const name of Object.keys(opened.digests)) {
      if (!erased.fields.has(name) && this.options.partialState !== true)
        this.report(
          "body-missing",
          row.index,
          `the field ${JSON.stringify(name)} is withheld, and no erasure names it`,
        );
    }
    const { event } = opened;
    if (event.signatures === undefined && Object.hasOwn(opened.digests, "signatures")) this.unknownSignatures += 1;
    else {
      const digests = opened.names.map((name) => {
        const shown = opened.disclosed[name];
        if (shown === undefined) return opened.digests[name] ?? "";
        return fieldDigest(this.hash, decodeHex(shown[0], { code: "malformed-commitment" }), {
          name,
          value: canonicalize(shown[1]),
        });
      });
      this.checkSignatures(row.index, event, () => ({ scheme: "fields", names: opened.names, digests }));
    }
    return event;
  }

  private wholeMessageParts(row: EntryBytes, entry: Entry, event: Event): MessageParts {
    if (entry.scheme !== "fields") return { scheme: "event", event };
    const salts = row.salts ?? new Uint8Array(0);
    const fields = cutFields(event);
    const digests = fields.map((field, i) =>
      fieldDigest(this.hash, salts.subarray(i * SALT_BYTES, (i + 1) * SALT_BYTES), field),
    );
    return { scheme: "fields", names: fields.map((field) => field.name), digests };
  }

  private checkSignatures(index: number, event: Partial<Event>, parts: () => MessageParts): void {
    const { state } = this.options;
    const signatures = event.signatures ?? [];
    if (signatures.length === 0) {
      // What the ledger itself writes (`ledger.access`, `ledger.import`) has no author.
      if (this.signatureRequired(index) && !event.action?.startsWith("ledger.")) {
        this.report(
          "signature-required",
          index,
          "the rules or the policy require an author signature, and this event has none",
        );
      }
      return;
    }
    this.signedEvents += 1;
    const actor = actorIdOf(event as Event);
    for (const { keyId, signature } of signatures) {
      const author = state.authors.get(keyId);
      if (author === undefined && this.options.partialState === true) {
        this.unjudged += 1;
        continue;
      }
      if (author === undefined || !inForce(author, index) || author.actor !== actor) {
        this.report(
          "author-unregistered",
          index,
          `signed with key ${keyId}, which is not registered for ${JSON.stringify(actor)} at this entry`,
          { found: keyId },
        );
        continue;
      }
      this.signatureJobs.push(() => this.checkSignature(index, author, signature, parts()));
    }
    this.countSource(index, event);
  }

  private async checkSignature(
    index: number,
    author: AuthorRegistration,
    signature: string,
    parts: MessageParts,
  ): Promise<void> {
    const { algorithm, keyId, spki } = author;
    const message = authorMessage({
      origin: this.options.state.genesis.origin,
      algorithm,
      keyId,
      hash: this.hash,
      ...parts,
    });
    const bytes = this.attempt(index, "author-signature", () => decodeBase64(signature, "malformed-signature"));
    if (bytes === null) return;
    if (await verifySignature(algorithm, spki, message, bytes))
      this.signers.set(keyId, (this.signers.get(keyId) ?? 0) + 1);
    else
      this.report("author-signature", index, `the author signature of key ${keyId} does not verify`, { found: keyId });
  }

  private signatureRequired(index: number): boolean {
    if (this.options.requireSignature) return true;
    let required = false;
    for (const rules of this.options.state.rules) if (rules.fromIndex <= index) required = rules.requireSignature;
    return required;
  }

  private countSource(index: number, event: Partial<Event>): void {
    const { source } = event;
    if (source === undefined || this.options.sparse === true) return;
    const run = this.sources.get(source.id);
    if (run === undefined) {
      this.sources.set(source.id, {
        id: source.id,
        firstCounter: source.counter,
        firstIndex: index,
        lastCounter: source.counter,
        lastIndex: index,
      });
      return;
    }
    const finding = sourceFinding(source.id, run, { counter: source.counter, index });
    if (finding !== null) this.report(finding.code, index, finding.message, finding);
    run.lastCounter = Math.max(run.lastCounter, source.counter);
    run.lastIndex = index;
  }

  private factsOf(leaf: string, event: Partial<Event> | null): EntryFacts {
    if (event === null) return { leaf, id: null, terms: [] };
    const id = typeof event.id === "string" ? event.id : null;
    if (id !== null) this.ids += 1;
    return { leaf, id, terms: searchTerms(event as Event) };
  }

  private attempt<T>(index: number, code: FindingCode, work: () => T): T | null {
    try {
      return work();
    } catch (error) {
      if (!isTallystickError(error)) throw error;
      this.report(code, index, error.message);
      return null;
    }
  }
}

type MessageParts =
  | { readonly scheme: "event"; readonly event: Event }
  | { readonly scheme: "fields"; readonly names: readonly string[]; readonly digests: readonly string[] };

/** Gap or repetition between two sightings of a source; null when the counter simply went on. */
export function sourceFinding(
  id: string,
  before: { readonly lastCounter: number; readonly lastIndex: number },
  after: { readonly counter: number; readonly index: number },
): (Pick<Finding, "message" | "expected" | "found"> & { readonly code: "source-gap" | "source-repeated" }) | null {
  const expected = before.lastCounter + 1;
  if (after.counter === expected) return null;
  const code = after.counter > expected ? "source-gap" : "source-repeated";
  const what =
    code === "source-gap" ? `lacks the events ${expected} to ${after.counter - 1}` : `counts ${after.counter} again`;
  return {
    code,
    message: `source ${JSON.stringify(id)} ${what}`,
    expected: String(expected),
    found: String(after.counter),
  };
}

function inForce(author: AuthorRegistration, index: number): boolean {
  return author.fromIndex <= index && (author.untilIndex === null || index < author.untilIndex);
}

function erasureName(erased: ErasedEntry): string {
  return `erasure at ${erased.wholeBy ?? [...erased.fields.values()].join(", ")}`;
}

function disclosureOf(value: JsonValue): {
  readonly disclosed: Readonly<Record<string, readonly [string, JsonValue]>>;
  readonly digests: Readonly<Record<string, string>>;
} {
  // openDisclosure checks each salt, value and digest; here only the outer shape.
  const { disclosed, digests, ...rest } = (typeof value === "object" && value !== null ? value : {}) as Record<
    string,
    JsonValue
  >;
  if (Object.keys(rest).length > 0 || !isObject(disclosed) || !isObject(digests)) {
    throw new MalformedError("malformed-commitment", "expected exactly digests and disclosed");
  }
  return {
    disclosed: disclosed as Readonly<Record<string, readonly [string, JsonValue]>>,
    digests: digests as Readonly<Record<string, string>>,
  };
}

function isObject(value: JsonValue | undefined): value is { readonly [name: string]: JsonValue } {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
