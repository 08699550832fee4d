import { allocateScratch, strictText, writeScratchHex } from "#hash-platform";
import { type AuthorKeys, judgeAuthors, rulesRequireSignature } from "./author-judge.ts";
import type { AuthoredContent } from "./author-signature.ts";
import { canonicalize, type JsonValue, parseCanonical } from "./canonical-json.ts";
import {
  commitBody,
  commitFields,
  commitOutline,
  cutBody,
  cutFields,
  fieldDigest,
  openDisclosure,
} from "./commitment.ts";
import { type ControlEvent, isControlAction, parseControlEvent, signedIdDigest } from "./control-event.ts";
import { decodeHex } from "./encoding.ts";
import { type Entry, leafHashHexOfBytes, parseEntry, type Scheme } from "./entry.ts";
import { EntryForecast } from "./entry-forecast.ts";
import {
  claimsBySignedId,
  type ErasureClaim,
  type ErasureEffect,
  erasureName,
  heldFinding,
  judgeErasure,
  namesOfDisclosure,
} from "./erasure.ts";
import { isTallystickError, MalformedError } from "./errors.ts";
import { type Event, type JsonObject, parseEvent } from "./event.ts";
import { type EventOutline, outlineEvent } from "./event-outline.ts";
import { FindingList, type FindingRecord } from "./finding-list.ts";
import type { HashName } from "./hash.ts";
import type { LedgerState } from "./ledger-state.ts";
import { SALT_BYTES, TILE_WIDTH } from "./limits.ts";
import { type CompactRange, createRange } from "./merkle.ts";
import type { PolicyAuthor } from "./policy.ts";
import type { Finding, FindingCode } from "./report.ts";
import { tileRoot } from "./tile.ts";

/** Stored bytes of one entry, all of them untrusted. */
export interface EntryBytes {
  readonly index: number;
  readonly entry: Uint8Array | null;
  readonly body: Uint8Array | null;
  readonly salts: Uint8Array | null;
  readonly disclosure: Uint8Array | null;
  /** The store keeps a value under another type than it should. */
  readonly misfit?: boolean;
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
  readonly found: FindingRecord;
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
  /** Events that need an author signature, or may, where none counts and no finding says so. */
  readonly openSignatures: number;
  /** Whose signatures were verified: key id → number of events. */
  readonly signers: readonly (readonly [keyId: string, events: number])[];
  readonly sources: readonly SourceRun[];
}

/** What a storage wants to compare with its derived data. */
export interface EntryFacts {
  readonly id: string | null;
  /** What can be read of the event; null where nothing can, and of an event that was recognized. */
  readonly event: Partial<Event> | null;
  /** Of an event that was recognized, until the next call. */
  readonly outline?: EventOutline;
}

export interface EntryVerifierOptions {
  readonly first: number;
  readonly end: number;
  /** From all control events of the ledger; they are verified again as entries of their range. */
  readonly state: LedgerState;
  /** The pinned policy asks for signatures whatever the rules say. */
  readonly requireSignature: boolean;
  readonly findingsMax: number;
  /** Author keys of the pinned policy. */
  readonly authors?: readonly PolicyAuthor[];
}

const HASH_BYTES = 32;
const NO_BYTES: Uint8Array = new Uint8Array(0);
/** A tile of 256 leaves is a subtree of this level. */
const TILE_LEVELS = 8;
const NO_FACTS: EntryFacts = { id: null, event: null };
const NOT_ERASED: ErasureEffect = judgeErasure([], { leaf: "", scheme: "event", names: () => null });

/**
 * Verifies the entries of one index range from their stored bytes, in order, in constant memory: bytes, links, times,
 * commitments, grammar, erasures, author signatures. Never stops at a finding. What needs the whole tree is left to the
 * caller, who merges the results. Source: spec/verification.md.
 */
export class EntryVerifier {
  private readonly options: EntryVerifierOptions;
  private readonly hash: HashName;
  private readonly hashPrefix: string;
  private readonly eventForecast: EntryForecast;
  private readonly fieldsForecast: EntryForecast;
  private readonly found: FindingList;
  private expected: number;
  private lastLeaf: string | null = null;
  private firstPrevious: string | null = null;
  private firstTime: string | null = null;
  private lastTime: string | null = null;
  private lastScheme: Scheme = "event";
  private range: CompactRange | null;
  /** Leaf hashes since the last tile border that the range began at or crossed. */
  private readonly block: Uint8Array = allocateScratch(TILE_WIDTH * HASH_BYTES);
  private blockWidth = 0;
  private blockRoot: Uint8Array | null = null;
  private readonly controls: number[] = [];
  private erasedEntries = 0;
  private erasedFields = 0;
  private ids = 0;
  private signedEvents = 0;
  private unknownSignatures = 0;
  private openSignatures = 0;
  private readonly signers = new Map<string, number>();
  private readonly sources = new Map<string, SourceRun>();
  private readonly authorKeys: AuthorKeys;
  private readonly claimsBySignedId: ReadonlyMap<string, readonly ErasureClaim[]>;
  private signatureJobs: (() => Promise<void>)[] = [];

  constructor(options: EntryVerifierOptions) {
    const { state, authors = [] } = options;
    this.options = options;
    this.found = new FindingList(options.findingsMax);
    this.authorKeys = { origin: state.genesis.origin, pinned: authors, registered: state.authors };
    this.claimsBySignedId = claimsBySignedId(state.erasures.values());
    this.hash = options.state.genesis.commitmentHash;
    this.hashPrefix = `${this.hash}:`;
    this.eventForecast = new EntryForecast(this.hash, "event");
    this.fieldsForecast = new EntryForecast(this.hash, "fields");
    this.expected = options.first;
    this.range = createRange(options.first);
  }

  /** Verifies the next stored entry. Rows must come in ascending order; what is absent is reported as missing. */
  add(row: EntryBytes): EntryFacts | null {
    return this.addOrdinary(row) ?? this.addAny(row);
  }

  /**
   * The many entries that are what must come next, with a whole event that nobody signed: their bytes are recognized. Null,
   * and nothing done, for all others: what is wrong with them says `addAny`.
   */
  private addOrdinary({ index, entry, body, salts, disclosure, misfit }: EntryBytes): EntryFacts | null {
    const { lastLeaf: previous, lastTime: time, options } = this;
    if (previous === null || time === null || index !== this.expected) return null;
    if (entry === null || body === null || salts === null || disclosure !== null || misfit === true) return null;
    if (options.state.erasures.has(index) || this.needsSignature(index)) return null;
    const hasFields = this.lastScheme === "fields";
    const outline = outlineEvent(body, { fields: hasFields });
    if (outline === null || (!hasFields && salts.length !== SALT_BYTES)) return null;
    const commitment = hasFields
      ? commitOutline(this.hash, salts, body, outline)
      : commitBody(this.hash, "event", salts, body);
    const forecast = hasFields ? this.fieldsForecast : this.eventForecast;
    const leaf = commitment && forecast.leafOf(entry, { commitment, index, previous, time });
    if (leaf === null) return null;
    this.expected = index + 1;
    if (this.range !== null) this.appendLeaf(this.range, index, leaf);
    this.lastLeaf = leaf;
    this.lastTime = forecast.time;
    if (outline.id !== null) this.ids += 1;
    return { id: outline.id, event: null, outline };
  }

  private needsSignature(index: number): boolean {
    return this.options.requireSignature || rulesRequireSignature(this.options.state.rules, index);
  }

  private addAny(row: EntryBytes): EntryFacts | null {
    if (row.index < this.expected) {
      this.report("stored-garbage", row.index, "this row stands out of order in the store");
      return null;
    }
    if (row.index > this.expected) this.missing(row.index);
    this.expected = row.index + 1;
    if (row.misfit === true) {
      this.report("stored-garbage", row.index, "a value is stored under another type than its column");
    }
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
    const leaf = leafHashHexOfBytes(row.entry as Uint8Array);
    if (this.range !== null) this.appendLeaf(this.range, row.index, leaf);
    const previousLeaf = this.lastLeaf;
    this.lastLeaf = leaf;
    const entry = this.attempt(row.index, "entry-malformed", () => parseEntry(text));
    if (entry === null) return NO_FACTS;
    this.lastScheme = entry.scheme;
    this.checkOrder(row.index, entry, previousLeaf);
    if (!entry.commitment.startsWith(this.hashPrefix)) {
      this.report("commitment-mismatch", row.index, "commits with another hash than genesis fixes", {
        expected: this.hash,
        found: entry.commitment,
      });
    }
    const event = this.checkBody(row, entry, leaf);
    return this.factsOf(event);
  }

  /**
   * The level-0 tile that the entry added last completed, and its root; null if it completed none, or an entry of it was not
   * seen. The bytes are valid until the next `add`.
   */
  completedTile(): { readonly hashes: Uint8Array; readonly root: Uint8Array } | null {
    return this.blockRoot === null ? null : { hashes: this.block, root: this.blockRoot };
  }

  /** A whole tile is hashed once, for the tree and for the comparison with the stored one. */
  private appendLeaf(range: CompactRange, index: number, leaf: string): void {
    this.blockRoot = null;
    writeScratchHex(this.block, leaf, this.blockWidth * HASH_BYTES);
    this.blockWidth += 1;
    if ((index + 1) % TILE_WIDTH !== 0) return;
    if (this.blockWidth === TILE_WIDTH) {
      this.blockRoot = tileRoot(this.block);
      range.appendSubtree(TILE_LEVELS, this.blockRoot);
      this.blockWidth = 0;
    } else this.flushLeaves(range);
  }

  /** Leaves of a tile that is not whole. */
  private flushLeaves(range: CompactRange): void {
    for (let i = 0; i < this.blockWidth; i++) range.append(this.block.subarray(i * HASH_BYTES, (i + 1) * HASH_BYTES));
    this.blockWidth = 0;
  }

  /** Awaits the author signatures seen so far; call it once a page. */
  async settleSignatures(): Promise<void> {
    const jobs = this.signatureJobs;
    this.signatureJobs = [];
    for (const job of jobs) await job();
  }

  /** The result after the last row of the range. */
  async finish(): Promise<RangeResult> {
    if (this.expected < this.options.end) this.missing(this.options.end);
    await this.settleSignatures();
    if (this.range !== null) this.flushLeaves(this.range);
    const { first, end } = this.options;
    return {
      first,
      end,
      found: this.found.record,
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
      openSignatures: this.openSignatures,
      signers: [...this.signers],
      sources: [...this.sources.values()],
    };
  }

  /** For findings about derived data, which only the caller can see. */
  report(code: FindingCode, index: number, message: string, more: Omit<Finding, "code" | "message"> = {}): void {
    this.found.add(code, message, { index, ...more });
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
    this.blockRoot = null;
    this.blockWidth = 0;
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
    const claims = this.options.state.erasures.get(row.index)?.claims;
    const erased =
      claims === undefined
        ? NOT_ERASED
        : judgeErasure(claims, { leaf, scheme: entry.scheme, names: () => this.namesOf(row) });
    for (const { claim, problem } of erased.voids) {
      const more = claim.leaf === leaf ? {} : { expected: claim.leaf, found: leaf };
      this.report("erasure-void", row.index, `an erasure ${problem}`, { ...more, evidence: erasureName([claim]) });
    }
    for (const claim of erased.claims) {
      if (claim.heldBy === null) continue;
      const { code, message, ...more } = heldFinding(claim);
      this.report(code, row.index, message, more);
    }
    if (entry.scheme === "control") return this.checkControl(row, entry);
    if (erased.wholeBy !== null) {
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
    if (erased.fields.size > 0) return this.checkPartial(row, entry, erased);
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
    if (event !== null)
      this.checkAuthors(row.index, { event, withheld: [], content: () => this.wholeContent(row, entry, event) });
    return event;
  }

  /** Names of the fields of an entry of scheme `fields`, as far as they can be read. */
  private namesOf(row: EntryBytes): readonly string[] | null {
    try {
      if (row.disclosure !== null)
        return namesOfDisclosure(disclosureOf(parseCanonical(strictText(row.disclosure) ?? "")));
      if (row.body !== null) return cutFields(parseEvent(strictText(row.body) ?? "")).map((field) => field.name);
    } catch (error) {
      // Reported where the body itself is checked.
      if (!isTallystickError(error)) throw error;
    }
    return null;
  }

  private checkControl(row: EntryBytes, entry: Entry): Event | null {
    this.controls.push(row.index);
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
    const bytes = row.body ?? NO_BYTES;
    const text = row.body === null ? null : strictText(bytes);
    if (text === null) {
      this.report("body-malformed", row.index, "the body is not UTF-8 text");
      return null;
    }
    const event = this.attempt(row.index, "body-malformed", () => parseEvent(text));
    const salts = row.salts ?? NO_BYTES;
    const found = this.commitmentOf(entry, { bytes, text, event }, salts);
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

  private commitmentOf(
    entry: Entry,
    { bytes, text, event }: { readonly bytes: Uint8Array; readonly text: string; readonly event: Event | null },
    salts: Uint8Array,
  ): string | null {
    if (entry.scheme !== "fields")
      return salts.length === SALT_BYTES ? commitBody(this.hash, entry.scheme, salts, bytes) : null;
    if (event === null) return null;
    const fields = this.attempt(entry.index, "body-malformed", () => cutBody(text));
    if (fields === null || salts.length !== fields.length * SALT_BYTES) return null;
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
  private checkPartial(row: EntryBytes, entry: Entry, erased: ErasureEffect): Partial<Event> | null {
    this.erasedFields += erased.fields.size;
    const evidence = erasureName(erased.claims);
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
      const names = namesOfDisclosure({ disclosed, digests });
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
      }
    }
    for (const name of Object.keys(opened.digests)) {
      if (!erased.fields.has(name))
        this.report(
          "body-missing",
          row.index,
          `the field ${JSON.stringify(name)} is withheld, and no erasure names it`,
        );
    }
    const { event, names } = opened;
    if (Object.hasOwn(opened.digests, "signatures")) this.unknownSignatures += 1;
    const content = (): AuthoredContent => {
      const digests = names.map((name) => {
        const shown = opened.disclosed[name];
        if (shown === undefined) return opened.digests[name] ?? "";
        const salt = decodeHex(shown[0], { code: "malformed-commitment" });
        return fieldDigest(this.hash, salt, { name, value: canonicalize(shown[1]) });
      });
      return { scheme: "fields", names, digests };
    };
    this.checkAuthors(row.index, { event, withheld: Object.keys(opened.digests), content });
    return event;
  }

  private wholeContent(row: EntryBytes, entry: Entry, event: Event): AuthoredContent {
    if (entry.scheme !== "fields") return { scheme: "event", event };
    const salts = row.salts ?? NO_BYTES;
    const fields = cutFields(event);
    const digests = fields.map((field, i) =>
      fieldDigest(this.hash, salts.subarray(i * SALT_BYTES, (i + 1) * SALT_BYTES), field),
    );
    return { scheme: "fields", names: fields.map((field) => field.name), digests };
  }

  private checkAuthors(index: number, shown: Shown): void {
    const { event, withheld, content } = shown;
    const required = this.needsSignature(index);
    const signatures = event.signatures ?? [];
    if (signatures.length > 0) this.checkReplay(index, event);
    // The many events that nobody signed cost no promise.
    if (signatures.length === 0 && !required) return;
    if (signatures.length > 0) this.signedEvents += 1;
    const isWithheld = (name: string): boolean => withheld.includes(name);
    this.signatureJobs.push(async () => {
      const judged = await judgeAuthors(
        { index, members: event as unknown as JsonObject, isWithheld, hash: this.hash, content },
        this.authorKeys,
        required,
      );
      for (const { code, message, ...more } of judged.findings) this.report(code, index, message, more);
      if (judged.isOpen) this.openSignatures += 1;
      for (const { keyId } of judged.counted) this.signers.set(keyId, (this.signers.get(keyId) ?? 0) + 1);
      // A counter is evidence only where its author vouches for it.
      if (judged.counted.length > 0) this.countSource(index, event);
    });
  }

  /** A signed event of which the id was erased at another entry has come again. */
  private checkReplay(index: number, event: Partial<Event>): void {
    if (event.id === undefined || this.options.state.erasedSignedIds.size === 0) return;
    for (const { keyId } of event.signatures ?? []) {
      const claims = this.claimsBySignedId.get(signedIdDigest(keyId, event.id)) ?? [];
      const claim = claims.find((known) => known.index !== index);
      if (claim !== undefined) {
        const message = `repeats the signed event that stood at entry ${claim.index} and was erased by entry ${claim.by}`;
        this.report("id-repeated", index, message, { found: keyId, evidence: erasureName([claim]) });
        return;
      }
    }
  }

  private countSource(index: number, event: Partial<Event>): void {
    const { source } = event;
    if (source === undefined) return;
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

  private factsOf(event: Partial<Event> | null): EntryFacts {
    if (event === null) return NO_FACTS;
    const id = typeof event.id === "string" ? event.id : null;
    if (id !== null) this.ids += 1;
    return { id, event };
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

/** What a reader may see of an event, and the names of the fields that it may not. */
interface Shown {
  readonly event: Partial<Event>;
  readonly withheld: readonly string[];
  readonly content: () => AuthoredContent;
}

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
