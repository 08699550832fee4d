import { strictText, writeScratchHex } from "#hash-platform";
import { type AuthorKeys, judgeAuthors, rulesRequireSignature, signaturesOf } from "./author-judge.ts";
import { signedIdDigest } from "./control-event.ts";
import { bytesEqual, decodeHex, encodeHex } from "./encoding.ts";
import { type Entry, parseTime, ZERO_HASH_HEX } from "./entry.ts";
import { type ExaminedBody, examineBody } from "./entry-body.ts";
import { type Membership, membershipOf, type ParsedFilter, parseEntryFilter } from "./entry-filter.ts";
import {
  claimsBySignedId,
  type ErasureClaim,
  type ErasureEffect,
  erasureName,
  heldFinding,
  judgeErasure,
} from "./erasure.ts";
import { isTallystickError, MalformedError } from "./errors.ts";
import { type EventSource, type JsonObject, validateMember } from "./event.ts";
import { type ExportControls, Fingerprint } from "./export-controls.ts";
import { ExportCounters } from "./export-counters.ts";
import { type ExportLine, type ExportSelection, parseExportLine } from "./export-format.ts";
import type { ExaminedHeader } from "./export-header.ts";
import type { FileLine } from "./file-lines.ts";
import type { FindingList } from "./finding-list.ts";
import { IdSet } from "./id-set.ts";
import { RECEIPT_BYTES_MAX, TIME_SKEW_SECONDS_MAX } from "./limits.ts";
import { type EntryBefore, LineForecast } from "./line-forecast.ts";
import { type CompactRange, createRange } from "./merkle.ts";
import { createRangeVerifier, type RangeVerifier, verifyInclusion } from "./proof.ts";

const LEAF_BYTES = 32;

/** What the lines of an export amount to, beside the findings. */
export interface ExportTally {
  readonly lines: number;
  readonly erasedEntries: number;
  readonly erasedFields: number;
  readonly withheldFields: number;
  /** Bodies left out, with kind `complete`. */
  readonly withheldEntries: number;
  /** Answers of the filter, with kind `complete`; a line that is malformed is not among them. */
  readonly membership: Readonly<Record<Membership, number>>;
  /** Of the open lines, those erased. */
  readonly openErased: number;
  /** Erased bodies of which the erasure is outside the selection. */
  readonly unseenErasures: number;
  /** Events that need an author signature, or may, where none counts and no finding says so. */
  readonly openSignatures: number;
  readonly hiddenSignatures: number;
  /** Signatures by keys that nothing at hand names. */
  readonly unknownSignatures: number;
  /** Signed events that were not looked at, for want of a key to trust. */
  readonly unreadSignatures: number;
  /** Events by the key that signed them: pinned, or known from the ledger alone. */
  readonly signedByPinned: number;
  readonly signedBySelfAsserted: number;
  /** Fingerprint of the control events that took effect. */
  readonly fingerprint: string;
  /** Root of the first `ExportWatch.rootAt` entries, hex; null where nobody asked, or the lines do not give it. */
  readonly root: string | null;
}

/** What else is wanted of the lines. */
export interface ExportWatch {
  /** Size of which the root is wanted; a whole export alone can give it. */
  readonly rootAt?: number | undefined;
  /** Called with each line that is one. */
  readonly onEntry?: ((entry: Pick<Entry, "index" | "time">) => void) | undefined;
}

/**
 * Judges the lines of an export one by one: spec/export.md L1-L14, S1-S8 and S14-S16. Memory: about 30 bytes an id, one number
 * a source, and the erased lines whose erasure was not met yet.
 */
export class ExportEntries {
  private readonly header: ExaminedHeader;
  private readonly controls: ExportControls;
  private readonly findings: FindingList;
  private readonly first: number;
  private readonly last: number;
  /** Kind `range` or `complete`: a line for each index. */
  private readonly isRange: boolean;
  private readonly kind: ExportSelection["kind"];
  /** With kind `complete`. */
  private readonly filter: ParsedFilter | null;
  private readonly membership: Record<Membership, number> = { member: 0, "no member": 0, open: 0 };
  private openErased = 0;
  private readonly isWhole: boolean;
  private readonly authorKeys: AuthorKeys | null;
  private readonly latestMs: number;
  private readonly claims: ReadonlyMap<string, readonly ErasureClaim[]>;
  private readonly voids = new Set<ErasureClaim>();
  private readonly heldReported = new Set<ErasureClaim>();
  /** Signed events by a digest that some erasure keeps, and their indexes. */
  private readonly replays = new Map<string, number[]>();
  /** Erased lines by the index that they name, until a line of that index shows that it erased nothing here. */
  private readonly unproved = new Map<number, number[]>();
  private readonly ids = new IdSet();
  private readonly counters: ExportCounters;
  private readonly fingerprint = new Fingerprint();
  private expected: number;
  /** No line was malformed, missing or misplaced so far. */
  private isSound = true;
  private tree: RangeVerifier | null;
  private readonly watch: ExportWatch;
  /** The first `watch.rootAt` entries of a whole export. */
  private readonly beginning: CompactRange | null;
  private before: EntryBefore | null = null;
  /** With kind `range`, where it is known by which hash the ledger commits. */
  private readonly forecast: LineForecast | null;
  private isSealReported = false;
  private lines = 0;
  private erasedEntries = 0;
  private erasedFields = 0;
  private withheldFields = 0;
  private withheldEntries = 0;
  private beyond = 0;
  private openSignatures = 0;
  private hiddenSignatures = 0;
  private unknownSignatures = 0;
  private unreadSignatures = 0;
  private signedByPinned = 0;
  private signedBySelfAsserted = 0;

  constructor(header: ExaminedHeader, controls: ExportControls, findings: FindingList, watch: ExportWatch = {}) {
    const { selection, head } = header.header;
    this.header = header;
    this.controls = controls;
    this.findings = findings;
    this.first = selection.first;
    this.last = selection.last;
    this.kind = selection.kind;
    this.isRange = selection.kind !== "filter";
    this.filter = selection.kind === "complete" ? parseEntryFilter(selection.filter as JsonObject) : null;
    this.isWhole = this.isRange && this.first === 0 && this.last === head.size - 1;
    this.expected = this.first;
    this.forecast =
      this.kind === "range" && header.genesis !== null ? new LineForecast(header.genesis.commitmentHash) : null;
    this.tree = this.isRange ? this.openTree() : null;
    this.watch = watch;
    this.beginning = this.isWhole && watch.rootAt !== undefined && watch.rootAt < head.size ? createRange() : null;
    this.claims = claimsBySignedId(controls.erasures.values());
    this.counters = new ExportCounters(findings);
    const isPrefix = this.isRange && this.first === 0;
    const registered = isPrefix && header.genesis !== null ? (controls.state?.authors ?? null) : null;
    this.authorKeys =
      header.policy === null ? null : { origin: head.origin, pinned: header.policy.authors, registered };
    const witnessTime = header.accepted?.witnessTime ?? null;
    this.latestMs = witnessTime === null ? Number.POSITIVE_INFINITY : (witnessTime + TIME_SKEW_SECONDS_MAX) * 1000;
  }

  /** The next line after the header; a promise only where there are signatures to check: a wait for each line would cost as much as its hash. */
  add(file: FileLine): Promise<void> | undefined {
    this.lines += 1;
    return this.addOrdinary(file) ? undefined : this.addAny(file);
  }

  /**
   * The many lines that are what must come next, with a whole event that nobody signed: their bytes are recognized. False, and nothing
   * done, for all others: what is wrong with them says `addAny`.
   */
  private addOrdinary({ bytes, ended }: FileLine): boolean {
    const { before, expected: index, forecast } = this;
    if (forecast === null || before === null || before.index !== index - 1 || index > this.last) return false;
    if (!ended || bytes.length >= RECEIPT_BYTES_MAX) return false;
    const { erasures, sealedAt } = this.controls;
    if (erasures.has(index) || this.unproved.has(index) || this.isRequired(index)) return false;
    if (sealedAt !== null && index > sealedAt) return false;
    const line = forecast.read(bytes, before);
    if (line === null || this.isLate(line.time)) return false;
    const { leaf, time, id } = line;
    this.expected = index + 1;
    this.before = { index, leaf, time };
    if (this.isSound) this.grow(index, leaf);
    this.watch.onEntry?.({ index, time });
    if (id !== null) this.addId(index, id);
    return true;
  }

  private addAny(file: FileLine): Promise<void> | undefined {
    const line = this.parse(file);
    if (line === null) return undefined;
    const { entry, leafHash, content } = line;
    const { index } = entry;
    this.place(index);
    if (this.isSound) this.grow(index, leafHash);
    this.watch.onEntry?.(entry);
    const { genesis } = this.header;
    if (genesis !== null && !entry.commitment.startsWith(`${genesis.commitmentHash}:`)) {
      const more = {
        expected: genesis.commitmentHash,
        found: entry.commitment.slice(0, entry.commitment.indexOf(":")),
      };
      this.findings.add("commitment-mismatch", `entry ${index} commits with another hash than genesis fixes`, {
        index,
        ...more,
      });
    }
    if (content.kind === "missing")
      this.findings.add("control-body-missing", `the body of the control event ${index} is missing`, { index });
    const body = content.kind === "whole" || content.kind === "fields" ? examineBody(entry, content) : null;
    for (const { code, error, expected, found } of body?.problems ?? []) {
      const more = expected === undefined || found === undefined ? {} : { expected, found };
      this.findings.add(code, `entry ${index}: ${error.message}`, { index, ...more });
    }
    if (body !== null && body.control !== null && body.problems.length === 0) this.fingerprint.add(leafHash);
    this.checkBeginning(line, body);
    this.checkOrder(entry, leafHash);
    if (line.inclusion !== null) this.checkInclusion(line, line.inclusion);
    this.checkSeal(index);
    const erased = this.checkErasures(line);
    this.ask(line, body);
    if (content.kind === "withheld") this.countWithheld(index);
    if (body === null) return undefined;
    this.countHidden(line, erased);
    this.checkId(index, body);
    if (entry.scheme === "control") return undefined;
    const isSigned = body.members.signatures !== undefined || body.withheld.includes("signatures");
    const required = this.isRequired(index);
    return isSigned || required ? this.checkAuthors(index, body, { isSigned, required }) : undefined;
  }

  /** After the last line. */
  finish(): ExportTally {
    if (this.isRange) this.closeTree();
    this.judgeReplays();
    // Those of which the entry has no line, so that nothing voids them.
    for (const { claims } of this.controls.erasures.values())
      for (const claim of claims) if (!this.voids.has(claim)) this.checkHold(claim);
    this.counters.judge(this.erasedEntries);
    let unseenErasures = this.beyond;
    for (const indexes of this.unproved.values()) unseenErasures += indexes.length;
    return {
      lines: this.lines,
      erasedEntries: this.erasedEntries,
      erasedFields: this.erasedFields,
      withheldFields: this.withheldFields,
      withheldEntries: this.withheldEntries,
      membership: this.membership,
      openErased: this.openErased,
      unseenErasures,
      openSignatures: this.openSignatures,
      hiddenSignatures: this.hiddenSignatures,
      unknownSignatures: this.unknownSignatures,
      unreadSignatures: this.unreadSignatures,
      signedByPinned: this.signedByPinned,
      signedBySelfAsserted: this.signedBySelfAsserted,
      fingerprint: this.fingerprint.hex,
      root: this.isSound && this.beginning !== null ? encodeHex(this.beginning.root()) : null,
    };
  }

  private grow(index: number, leafHash: string): void {
    const leaf = new Uint8Array(LEAF_BYTES);
    writeScratchHex(leaf, leafHash, 0);
    this.tree?.add(leaf);
    if (this.beginning !== null && index < (this.watch.rootAt ?? 0)) this.beginning.append(leaf);
  }

  /** L1 and L2; null, with its one finding, for what is no line. */
  private parse(file: FileLine): ExportLine | null {
    try {
      if (!file.ended)
        throw new MalformedError("malformed-export", "export: the last line does not end with a newline");
      if (file.bytes.length >= RECEIPT_BYTES_MAX)
        throw new MalformedError("malformed-export", `export: expected lines of at most ${RECEIPT_BYTES_MAX} bytes`);
      const text = strictText(file.bytes);
      if (text === null) throw new MalformedError("malformed-export", "export: a line is not UTF-8 text");
      return parseExportLine(text, this.kind);
    } catch (error) {
      if (!isTallystickError(error)) throw error;
      const code = error.code === "malformed-entry" ? "entry-malformed" : "file-malformed";
      const place = this.isRange ? { index: this.expected } : {};
      this.findings.add(code, `line ${this.lines + 1}: ${error.message}`, place);
      // It stands in the place of an entry, of which nothing is known.
      this.expected += this.isRange ? 1 : 0;
      this.isSound = false;
      this.before = null;
      return null;
    }
  }

  /** L3 */
  private place(index: number): void {
    const { expected, last, isRange } = this;
    if (index < expected || index > last) {
      this.isSound = false;
      this.findings.add(
        "index-mismatch",
        `a line holds entry ${index}, where one of ${expected} to ${last} must stand`,
        {
          index,
          expected: isRange ? String(expected) : `${expected} to ${last}`,
          found: String(index),
        },
      );
      return;
    }
    if (isRange && index > expected) this.missing(expected, index - 1);
    this.expected = index + 1;
  }

  private missing(first: number, last: number): void {
    this.isSound = false;
    const what = first === last ? `entry ${first} has no line` : `entries ${first} to ${last} have no line`;
    this.findings.add("entry-missing", what, { index: first });
  }

  private openTree(): RangeVerifier | null {
    const { header } = this.header;
    try {
      const proof = (header.proof ?? []).map((hash) => decodeHex(hash, { code: "malformed-proof" }));
      return createRangeVerifier({ first: this.first, last: this.last, size: header.head.size, proof });
    } catch (error) {
      // Reported by closeTree, if nothing else is wrong.
      if (!isTallystickError(error)) throw error;
      return null;
    }
  }

  /** L13 */
  private closeTree(): void {
    const { head } = this.header.header;
    if (this.expected <= this.last) this.missing(this.expected, this.last);
    if (!this.isSound) return;
    const found = this.tree?.root() ?? null;
    if (found !== null && bytesEqual(found, head.root)) return;
    const code = this.isWhole ? "checkpoint-root" : "proof-invalid";
    const problem = found === null ? "the range proof has another number of hashes" : "the entries give another root";
    this.findings.add(code, `${problem} than the checkpoint of size ${head.size} needs`, {
      expected: encodeHex(head.root),
      ...(found === null ? {} : { found: encodeHex(found) }),
      evidence: `checkpoint of size ${head.size}`,
    });
  }

  /** S1, as far as entry 0 goes: a genesis elsewhere is found by replay. */
  private checkBeginning({ entry, content }: ExportLine, body: ExaminedBody | null): void {
    if (entry.index !== 0 || content.kind === "missing") return;
    if (entry.scheme === "control" && body?.action === "ledger.genesis") return;
    this.findings.add("genesis-malformed", "entry 0 is not the genesis of a ledger", { index: 0 });
  }

  /** L9-L11 */
  private checkOrder({ index, previous, time }: Entry, leaf: string): void {
    const { before } = this;
    this.before = { index, leaf, time };
    const expected = index === 0 ? ZERO_HASH_HEX : before?.index === index - 1 ? before.leaf : null;
    if (expected !== null && previous !== expected) {
      this.findings.add("previous-mismatch", `entry ${index} does not link to the entry before it`, {
        index,
        expected,
        found: previous,
        ...(index === 0 ? {} : { evidence: `entry ${index - 1}` }),
      });
    }
    if (before !== null && time < before.time) {
      const message = `entry ${index} is earlier than the entry before it`;
      this.findings.add("time-backwards", message, { index, expected: before.time, found: time });
    }
    if (this.isLate(time)) {
      const witnessed = this.header.accepted?.witnessTime ?? 0;
      this.findings.add("time-after-evidence", `entry ${index} says it is later than witnesses saw it`, {
        index,
        expected: `at most ${TIME_SKEW_SECONDS_MAX} s after ${witnessed} s since 1970`,
        found: time,
        evidence: `cosignatures of the checkpoint of size ${this.header.header.head.size}`,
      });
    }
  }

  /** After what outsiders saw. */
  private isLate(time: string): boolean {
    return this.latestMs !== Number.POSITIVE_INFINITY && parseTime(time) > this.latestMs;
  }

  /** L12 */
  private checkInclusion({ entry, leafHash }: ExportLine, inclusion: readonly string[]): void {
    const { size, root } = this.header.header.head;
    try {
      verifyInclusion({
        leafHash: decodeHex(leafHash, { code: "malformed-entry" }),
        index: entry.index,
        size,
        proof: inclusion.map((hash) => decodeHex(hash, { code: "malformed-proof" })),
        root,
      });
    } catch (error) {
      if (!isTallystickError(error)) throw error;
      this.findings.add("proof-invalid", `entry ${entry.index}: ${error.message}`, {
        index: entry.index,
        evidence: `checkpoint of size ${size}`,
      });
    }
  }

  /** S7 */
  private checkSeal(index: number): void {
    const { sealedAt } = this.controls;
    if (sealedAt === null || index <= sealedAt || this.isSealReported) return;
    this.isSealReported = true;
    this.findings.add("after-seal", `entry ${index} follows the seal at ${sealedAt}`, { index });
  }

  /** S2-S5 */
  private checkErasures({ entry, leafHash, content }: ExportLine): ErasureEffect | null {
    const { index } = entry;
    const claims = this.controls.erasures.get(index)?.claims ?? [];
    const names = content.kind === "fields" ? content.disclosure.names : null;
    const erased =
      claims.length === 0 ? null : judgeErasure(claims, { leaf: leafHash, scheme: entry.scheme, names: () => names });
    for (const { claim, problem } of erased?.voids ?? []) {
      if (this.voids.has(claim)) continue;
      this.voids.add(claim);
      this.findings.add("erasure-void", `the erasure by entry ${claim.by} ${problem}`, {
        index,
        ...(claim.leaf === leafHash ? {} : { expected: claim.leaf, found: leafHash }),
        evidence: erasureName([claim]),
      });
    }
    for (const claim of erased?.claims ?? []) this.checkHold(claim);
    if (content.kind === "erased") this.checkErased(index, content.erasedBy, erased);
    for (const target of this.unproved.get(index) ?? []) {
      const message = `the body is said to be erased by entry ${index}, which erases no such thing`;
      this.findings.add("body-missing", message, { index: target });
    }
    this.unproved.delete(index);
    if (content.kind !== "whole" && content.kind !== "fields") return erased;
    if (erased !== null && erased.wholeBy !== null) {
      const evidence = `erasure at ${erased.wholeBy}`;
      const message = `the body was erased by entry ${erased.wholeBy} and is still there`;
      this.findings.add("body-after-erasure", message, { index, evidence });
    }
    if (content.kind === "fields") {
      for (const [name, by] of erased?.fields ?? []) {
        if (!Object.hasOwn(content.disclosure.disclosed, name)) continue;
        const message = `the field ${JSON.stringify(name)} was erased by entry ${by} and is still there`;
        this.findings.add("field-after-erasure", message, { index, evidence: `erasure at ${by}` });
      }
    }
    return erased;
  }

  /** S8 */
  private checkHold(claim: ErasureClaim): void {
    if (claim.heldBy === null || this.heldReported.has(claim)) return;
    this.heldReported.add(claim);
    const { code, message, ...more } = heldFinding(claim);
    this.findings.add(code, message, more);
  }

  /** S3; where the erasure has no line, nobody can say. */
  private checkErased(index: number, erasedBy: number, erased: ErasureEffect | null): void {
    this.erasedEntries += 1;
    if (erased?.claims.some((claim) => claim.by === erasedBy && claim.fields === null) === true) return;
    if (erasedBy > this.last) {
      this.beyond += 1;
      return;
    }
    const waiting = this.unproved.get(erasedBy);
    if (waiting === undefined) this.unproved.set(erasedBy, [index]);
    else waiting.push(index);
  }

  /** spec/export.md 11 */
  private ask({ entry, content }: ExportLine, body: ExaminedBody | null): void {
    if (this.filter === null) return;
    const shown = { time: entry.time, members: body?.members ?? null, withheld: body?.withheld ?? [] };
    const answer = membershipOf(this.filter, shown);
    this.membership[answer] += 1;
    if (answer === "open" && content.kind === "erased") this.openErased += 1;
  }

  /** A body that is left out may lack the signature that it needs: keys.md 22. */
  private countWithheld(index: number): void {
    this.withheldEntries += 1;
    if (this.isRequired(index)) this.openSignatures += 1;
  }

  private countHidden({ content }: ExportLine, erased: ErasureEffect | null): void {
    if (content.kind !== "fields") return;
    for (const name of Object.keys(content.disclosure.digests)) {
      if (erased?.fields.has(name) === true) this.erasedFields += 1;
      else this.withheldFields += 1;
    }
  }

  /** L14 and S6 */
  private checkId(index: number, { members, withheld }: ExaminedBody): void {
    const { id } = members;
    if (typeof id !== "string") return;
    this.addId(index, id);
    if (this.claims.size === 0 || withheld.includes("signatures")) return;
    for (const { keyId } of signaturesOf(members)) {
      const digest = signedIdDigest(keyId, id);
      if (!this.claims.has(digest)) continue;
      const known = this.replays.get(digest);
      if (known === undefined) this.replays.set(digest, [index]);
      else known.push(index);
    }
  }

  /** L14 */
  private addId(index: number, id: string): void {
    if (this.ids.add(id)) return;
    this.findings.add("id-repeated", `the id of entry ${index} stands in an entry before it too`, { index });
  }

  /** Which claims are void shows with the last line. */
  private judgeReplays(): void {
    const reported = new Set<number>();
    for (const [digest, indexes] of this.replays) {
      const claims = (this.claims.get(digest) ?? []).filter((claim) => !this.voids.has(claim));
      const [first] = claims;
      const other = claims.find((claim) => claim.index !== first?.index);
      for (const index of indexes) {
        const claim = first?.index === index ? other : first;
        if (claim === undefined || reported.has(index)) continue;
        reported.add(index);
        const message = `repeats the signed event that stood at entry ${claim.index} and was erased by entry ${claim.by}`;
        this.findings.add("id-repeated", message, { index, evidence: erasureName([claim]) });
      }
    }
  }

  /** S14-S16 */
  private async checkAuthors(
    index: number,
    body: ExaminedBody,
    { isSigned, required }: { readonly isSigned: boolean; readonly required: boolean },
  ): Promise<void> {
    const { members, withheld, hash, content } = body;
    if (isSigned && this.authorKeys === null) this.unreadSignatures += 1;
    const isWithheld = (name: string): boolean => withheld.includes(name);
    const judged = await judgeAuthors({ index, members, isWithheld, hash, content }, this.authorKeys, required);
    for (const { code, message, ...more } of judged.findings)
      this.findings.add(code, `entry ${index}: ${message}`, more);
    if (judged.isOpen) this.openSignatures += 1;
    if (judged.isHidden) this.hiddenSignatures += 1;
    this.unknownSignatures += judged.unknown.length;
    if (judged.counted.length === 0) return;
    if (judged.counted.some((author) => author.isPinned)) this.signedByPinned += 1;
    else this.signedBySelfAsserted += 1;
    const source = this.isWhole && this.filter === null ? sourceOf(members.source) : null;
    if (source !== null) this.counters.add({ index, ...source });
  }

  private isRequired(index: number): boolean {
    if (this.header.policy?.requireSignature === true) return true;
    const { state } = this.controls;
    const knowsRules = this.isRange && this.first === 0 && this.header.genesis !== null && state !== null;
    return knowsRules && rulesRequireSignature(state.rules, index);
  }
}

function sourceOf(value: unknown): EventSource | null {
  if (value === undefined) return null;
  try {
    validateMember("source", value);
    return value as EventSource;
  } catch (error) {
    // Reported with the body.
    if (!isTallystickError(error)) throw error;
    return null;
  }
}
