import { parseLedgerCheckpoint } from "./checkpoint.ts";
import { headOfNote } from "./contradiction.ts";
import { bytesEqual, encodeHex } from "./encoding.ts";
import { EntryChain } from "./entry-chain.ts";
import { isTallystickError } from "./errors.ts";
import {
  independenceOf,
  missingEvidence,
  timelineOfCheckpoint,
  timeOf,
  unreadableReport,
  verdict,
  withFindings,
} from "./file-report.ts";
import { FindingList } from "./finding-list.ts";
import { TILE_WIDTH, TIME_SKEW_SECONDS_MAX } from "./limits.ts";
import { hashLeaf, TREE_HASH_BYTES } from "./merkle.ts";
import { parseNote, type SignedNote } from "./note.ts";
import { type Policy, parsePolicy, type VerifiedCheckpoint, verifyCheckpoint } from "./policy.ts";
import { treeHash } from "./proof.ts";
import {
  AuthenticTiles,
  type BundlePlace,
  inOrder,
  LEDGER_BUNDLE_BYTES_MAX,
  newBundles,
  type ObjectReader,
  readBundle,
  readTile,
  type TilePlace,
  tileReaderOf,
} from "./published-tiles.ts";
import type { Finding, FindingCode, Pin, Verdict, VerifyReport } from "./report.ts";
import { bundlePath, tilePath, tileRoot } from "./tile.ts";
import { type BodiesVerification, verifyBodies } from "./verify-bodies.ts";
import { heldOf } from "./verify-export.ts";

/** A checkpoint that the reader got before, from elsewhere or from an earlier look. */
export interface HeldNote {
  readonly source: "expect" | "lastSeen";
  readonly note: string;
}

export interface VerifyPublishedOptions {
  /** Text of the policy that the reader pins. */
  readonly policy?: string | undefined;
  /** Where that policy came from. */
  readonly pin?: "policy" | "state";
  /** Checkpoints whose history the published ledger must contain. */
  readonly held?: readonly HeldNote[];
  /** Findings listed; the rest are counted. Default 1,000. */
  readonly findingsMax?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Called with how many entries of how many were read. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

export interface PublishedVerification {
  readonly report: VerifyReport;
  /** Hex leaf hash of entry 0, as it is published; null where it is not. */
  readonly genesis: string | null;
}

/** Blocks that are fetched at once: enough to hide the way there and back. */
const BLOCKS_AHEAD = 8;
/** So many blocks in a row of which nothing is published end the search: a hostile checkpoint may claim any size. */
const MISSING_BLOCKS_MAX = 256;
/** Objects that differ are looked at twice; of more than these it is only said that they do. */
const SUSPECTS_MAX = 4_096;

/**
 * Verifies a ledger that was published as tiles and entry bundles, without its events: every entry is hashed into the root that the
 * checkpoint signs, every tile compared with what its entries give, and links, indexes and times walked. Hostile bytes are
 * findings, never exceptions. Memory does not grow with the ledger. Errors: `malformed-policy`, `malformed-config` for an expected
 * checkpoint that is none, those of `objects`.
 * Source: spec/verification.md.
 */
export async function verifyPublished(
  note: Uint8Array,
  objects: ObjectReader,
  options: VerifyPublishedOptions = {},
): Promise<PublishedVerification> {
  const policy = options.policy === undefined ? null : parsePolicy(options.policy);
  for (const { source, note: given } of options.held ?? []) if (source === "expect") heldOf(given);
  const pin: Pin = policy === null ? "none" : (options.pin ?? "policy");
  let signed: SignedNote;
  let head: Head;
  try {
    signed = parseNote(note);
    head = parseLedgerCheckpoint(signed.text);
  } catch (error) {
    if (!isTallystickError(error)) throw error;
    const finding: Finding = { code: "checkpoint-malformed", message: error.message };
    return { report: unreadableReport(finding, { kind: "published", pin, policy }), genesis: null };
  }
  const shown = new TextDecoder().decode(note);
  return new PublishedLedger({ head, signed, shown, objects, policy, pin, options }).verify();
}

type Head = ReturnType<typeof parseLedgerCheckpoint>;

interface PublishedParts {
  readonly head: Head;
  readonly signed: SignedNote;
  readonly shown: string;
  readonly objects: ObjectReader;
  readonly policy: Policy | null;
  readonly pin: Pin;
  readonly options: VerifyPublishedOptions;
}

/** One block as it is published; nothing in it checked. Null for what has not its form, undefined for what is absent. */
interface PublishedBlock extends BundlePlace {
  readonly entries: readonly Uint8Array[] | null | undefined;
  readonly tile: Uint8Array | null | undefined;
}

/** Hashes of one tile level, from the left; the last tile is the one that grows. */
interface Column {
  index: number;
  width: number;
  /** Null once a hash in it is not known. */
  hashes: Uint8Array | null;
}

class PublishedLedger {
  private readonly parts: PublishedParts;
  private readonly findings: FindingList;
  private readonly chain: EntryChain;
  private readonly columns: Column[] = [];
  /** Tiles that are not what their entries give: one of both is wrong. */
  private readonly suspects: TilePlace[] = [];
  /** Sizes below the published one whose root is asked for; and the roots, null where entries are unknown. */
  private readonly heldSizes: readonly number[];
  private readonly roots = new Map<number, Uint8Array | null>();
  private genesis: string | null = null;
  /** First index of the entries that are missing just before the next block; null where there are none. */
  private missingFrom: number | null = null;
  /** Index of the last entry that was there. */
  private lastRead = 0;

  constructor(parts: PublishedParts) {
    this.parts = parts;
    this.findings = new FindingList(parts.options.findingsMax);
    this.chain = new EntryChain((code, message, more) => this.findings.add(code, message, more));
    const sizes = (parts.options.held ?? []).map(({ note }) => headOfNote(note)?.size ?? 0);
    this.heldSizes = [...new Set(sizes)].filter((size) => size > 0 && size < parts.head.size);
  }

  async verify(): Promise<PublishedVerification> {
    const { head, options } = this.parts;
    const accepted = await this.accept();
    let isWhole = true;
    for await (const block of inOrder(newBundles(0, head.size), BLOCKS_AHEAD, (place) => this.load(place))) {
      options.signal?.throwIfAborted();
      const first = block.index * TILE_WIDTH;
      if (block.entries !== undefined) this.endMissing(first);
      else this.missingFrom ??= first;
      if (first - (this.missingFrom ?? first) >= MISSING_BLOCKS_MAX * TILE_WIDTH) {
        isWhole = false;
        break;
      }
      await this.addBlock(block);
      options.onProgress?.(first + block.count, head.size);
    }
    this.endMissing(head.size);
    if (isWhole) await this.finishColumns();
    await this.settle();
    this.checkPins(accepted);
    const held = await this.compareHeld();
    const contents = await this.contents();
    return { report: this.report(accepted, held, contents), genesis: this.genesis };
  }

  /** The checkpoint under the policy; null, with a finding, where it is not accepted, and null without a policy. */
  private async accept(): Promise<VerifiedCheckpoint | null> {
    const { policy, signed } = this.parts;
    if (policy === null) return null;
    try {
      return await verifyCheckpoint(signed, policy);
    } catch (error) {
      if (!isTallystickError(error)) throw error;
      const { expected, found } = (error.details ?? {}) as { readonly expected?: string; readonly found?: string };
      const isOrigin = error.code === "origin-mismatch";
      this.findings.add(isOrigin ? "origin-mismatch" : "checkpoint-signature", error.message, {
        ...(expected === undefined || found === undefined ? {} : { expected, found }),
        evidence: "pinned policy",
      });
      return null;
    }
  }

  private async load(place: BundlePlace): Promise<PublishedBlock> {
    const { index, count } = place;
    const first = index * TILE_WIDTH;
    const [entries, tile] = await Promise.all([
      this.attempt(first, bundlePath(index, count), () =>
        readBundle(this.parts.objects, place, LEDGER_BUNDLE_BYTES_MAX),
      ),
      this.loadTile({ level: 0, index, width: count }),
    ]);
    return { ...place, entries, tile };
  }

  private async loadTile(place: TilePlace): Promise<Uint8Array | null | undefined> {
    const path = tilePath(place.level, place.index, place.width);
    return this.attempt(firstLeafOf(place), path, () => readTile(this.parts.objects, place));
  }

  /** Reports a run of missing entries that ends before `end`. */
  private endMissing(end: number): void {
    const first = this.missingFrom;
    if (first === null) return;
    this.missingFrom = null;
    const what = end - first === 1 ? `entry ${first} is` : `entries ${first} to ${end - 1} are`;
    const count = Math.min(TILE_WIDTH, end - first);
    const path = bundlePath(Math.floor(first / TILE_WIDTH), count);
    this.findings.add("entry-missing", `${what} missing: ${path} is not published`, {
      index: first,
      expected: String(first),
      found: String(end),
    });
  }

  /** Reads an object; null, with a finding, for one that is not of its form. */
  private async attempt<T>(index: number, path: string, read: () => Promise<T>): Promise<T | null> {
    try {
      return await read();
    } catch (error) {
      if (!isTallystickError(error) || error.code !== "malformed-tile") throw error;
      this.findings.add("object-mismatch", `${path}: ${error.message}`, { index, found: path });
      return null;
    }
  }

  private async addBlock(block: PublishedBlock): Promise<void> {
    const { index, count, entries } = block;
    const first = index * TILE_WIDTH;
    const tile = block.tile ?? null;
    // Where the entries are unknown their tile stands for them.
    const leaves = entries == null ? tile : new Uint8Array(count * TREE_HASH_BYTES);
    this.requirePresent({ level: 0, index, width: count }, block.tile);
    if (entries == null) this.chain.skip(leaves === null ? null : leaves.subarray(-TREE_HASH_BYTES));
    else {
      for (const [i, entry] of entries.entries()) {
        const hash = hashLeaf(entry);
        leaves?.set(hash, i * TREE_HASH_BYTES);
        this.chain.add(first + i, entry, hash);
      }
      this.lastRead = first + count - 1;
      this.suspect({ level: 0, index, width: count }, leaves, tile);
    }
    if (index === 0 && leaves !== null) this.genesis = encodeHex(leaves.subarray(0, TREE_HASH_BYTES));
    this.columns[0] = { index, width: count, hashes: leaves };
    for (const size of this.heldSizes)
      if (size > first && size < first + TILE_WIDTH) this.roots.set(size, await this.rootAt(size));
    if (count < TILE_WIDTH) return;
    await this.pushUp(0);
    const end = first + TILE_WIDTH;
    if (this.heldSizes.includes(end)) this.roots.set(end, await this.rootAt(end));
  }

  /** Hands the root of a full tile to the level above. */
  private async pushUp(level: number): Promise<void> {
    const { index, hashes } = this.columns[level] as Column;
    const root = hashes === null ? null : tileRoot(hashes);
    const slot = index % TILE_WIDTH;
    const parentIndex = Math.floor(index / TILE_WIDTH);
    if (slot === 0)
      this.columns[level + 1] = { index: parentIndex, width: 0, hashes: new Uint8Array(TILE_WIDTH * TREE_HASH_BYTES) };
    const parent = this.columns[level + 1] as Column;
    parent.width = slot + 1;
    if (root === null) parent.hashes = null;
    parent.hashes?.set(root as Uint8Array, slot * TREE_HASH_BYTES);
    // What lies below is whole: the next block begins a new tile.
    this.columns[level] = { index: index + 1, width: 0, hashes: new Uint8Array() };
    if (slot < TILE_WIDTH - 1) return;
    await this.compareColumn(level + 1);
    await this.pushUp(level + 1);
  }

  private async finishColumns(): Promise<void> {
    for (const [level, { width }] of this.columns.entries())
      if (level > 0 && width > 0) await this.compareColumn(level);
  }

  private async compareColumn(level: number): Promise<void> {
    const column = this.columns[level] as Column;
    const { index, width } = column;
    const loaded = await this.loadTile({ level, index, width });
    this.requirePresent({ level, index, width }, loaded);
    const tile = loaded ?? null;
    this.suspect({ level, index, width }, column.hashes?.subarray(0, width * TREE_HASH_BYTES) ?? null, tile);
    if (column.hashes === null && tile !== null) {
      column.hashes = new Uint8Array(TILE_WIDTH * TREE_HASH_BYTES);
      column.hashes.set(tile);
    }
  }

  private requirePresent(place: TilePlace, tile: Uint8Array | null | undefined): void {
    if (tile !== undefined) return;
    const path = tilePath(place.level, place.index, place.width);
    this.findings.add("object-missing", `${path} is not published`, { index: firstLeafOf(place), found: path });
  }

  private suspect(place: TilePlace, computed: Uint8Array | null, published: Uint8Array | null): void {
    if (computed === null || published === null || bytesEqual(computed, published)) return;
    if (this.suspects.length < SUSPECTS_MAX) this.suspects.push(place);
    else this.unsettled(place);
  }

  /** Root of the first `size` entries, while they end in the block that the columns end with; null where entries are unknown. */
  private async rootAt(size: number): Promise<Uint8Array | null> {
    let isKnown = true;
    const root = await treeHash(size, (level, index, width) => {
      const column = this.columns[level];
      if (column === undefined || column.index !== index || column.hashes === null) isKnown = false;
      return isKnown ? (column as Column).hashes!.subarray(0, width * TREE_HASH_BYTES) : new Uint8Array(width * 32);
    });
    return isKnown ? root : null;
  }

  /** Says of every tile that differs from its entries which of both is not the one that the checkpoint signs. */
  private async settle(): Promise<void> {
    const { head, objects } = this.parts;
    const root = await this.rootAt(head.size);
    if (root !== null && bytesEqual(root, head.root)) {
      for (const place of this.suspects) this.wrongTile(place);
      return;
    }
    const before = this.findings.count;
    const tiles = await AuthenticTiles.open({ ...head, read: tileReaderOf(objects) }).catch(onlyOurs);
    for (const place of this.suspects) {
      if (tiles === null) this.unsettled(place);
      else await this.attribute(place, tiles);
    }
    const isExplained = this.findings.count > before || root === null;
    if (isExplained && tiles !== null) return;
    this.findings.add(
      "checkpoint-root",
      `what is published does not give the root that the checkpoint of size ${head.size} signs`,
      {
        expected: encodeHex(head.root),
        ...(root === null ? {} : { found: encodeHex(root) }),
        evidence: `checkpoint of size ${head.size}`,
      },
    );
  }

  private async attribute(place: TilePlace, tiles: AuthenticTiles): Promise<void> {
    const { level, index, width } = place;
    const authentic = await tiles.tile(level, index).catch(onlyOurs);
    if (authentic === null) {
      const expected = await tiles.rootOf(level, index).catch(onlyOurs);
      const leaves = level > 0 ? null : await this.leavesOf(place);
      const isBelowRight = leaves === null || (expected !== null && bytesEqual(tileRoot(leaves), expected));
      if (expected !== null && isBelowRight) this.wrongTile(place);
      else this.unsettled(place);
      return;
    }
    // A tile above differs because something below it does: that is where it is reported.
    const leaves = level > 0 ? null : await this.leavesOf(place);
    if (leaves === null) return;
    for (let i = 0; i < width; i++) {
      const expected = authentic.subarray(i * TREE_HASH_BYTES, (i + 1) * TREE_HASH_BYTES);
      const found = leaves.subarray(i * TREE_HASH_BYTES, (i + 1) * TREE_HASH_BYTES);
      if (bytesEqual(expected, found)) continue;
      const entry = index * TILE_WIDTH + i;
      this.findings.add("object-mismatch", `entry ${entry} is not the one that the checkpoint signs`, {
        index: entry,
        expected: encodeHex(expected),
        found: encodeHex(found),
        evidence: `checkpoint of size ${tiles.size}`,
      });
    }
  }

  /** Leaf hashes of the published entries of a block; null where they cannot be read. */
  private async leavesOf({ index, width }: TilePlace): Promise<Uint8Array | null> {
    const entries = await readBundle(this.parts.objects, { index, count: width }, LEDGER_BUNDLE_BYTES_MAX).catch(
      onlyOurs,
    );
    if (entries == null) return null;
    const leaves = new Uint8Array(width * TREE_HASH_BYTES);
    for (const [i, entry] of entries.entries()) leaves.set(hashLeaf(entry), i * TREE_HASH_BYTES);
    return leaves;
  }

  private wrongTile(place: TilePlace): void {
    const path = tilePath(place.level, place.index, place.width);
    this.findings.add("object-mismatch", `${path} is not what its entries give: proofs made from it do not hold`, {
      index: firstLeafOf(place),
      found: path,
      evidence: `checkpoint of size ${this.parts.head.size}`,
    });
  }

  private unsettled(place: TilePlace): void {
    const path = tilePath(place.level, place.index, place.width);
    this.findings.add("object-mismatch", `${path} and the entries below it contradict each other`, {
      index: firstLeafOf(place),
      found: path,
    });
  }

  private checkPins(accepted: VerifiedCheckpoint | null): void {
    const { policy, head } = this.parts;
    const { genesis, lastRead } = this;
    if (policy?.genesis != null && genesis !== null && policy.genesis !== genesis) {
      this.findings.add("genesis-mismatch", "the ledger begins with another genesis entry than the policy pins", {
        index: 0,
        expected: policy.genesis,
        found: genesis,
        evidence: "pinned genesis",
      });
    }
    const { time } = this.chain.link;
    if (accepted?.witnessTime == null || time === null) return;
    const limit = latestTimeFor(accepted.witnessTime);
    if (limit === null || time <= limit) return;
    this.findings.add("time-after-evidence", `entry ${lastRead} claims a time after witnesses had seen it`, {
      index: lastRead,
      expected: limit,
      found: time,
      evidence: `cosignatures of size ${head.size}`,
    });
  }

  /** The held checkpoints whose history is published here; findings for the others. */
  private async compareHeld(): Promise<HeldNote[]> {
    const agreeing: HeldNote[] = [];
    for (const held of this.parts.options.held ?? []) if (await this.agrees(held)) agreeing.push(held);
    return agreeing;
  }

  private async agrees({ source, note }: HeldNote): Promise<boolean> {
    const { head, policy, shown } = this.parts;
    const name = HELD_NAMES[source];
    const known = headOfNote(note);
    const add = (code: FindingCode, message: string, more: Partial<Finding> = {}): false => {
      this.findings.add(code, message, { ...more, evidence: name });
      return false;
    };
    if (known === null) return add("checkpoint-malformed", `${name} does not parse`);
    if (known.origin !== head.origin) {
      return add("origin-mismatch", `${name} speaks of another ledger`, { expected: known.origin, found: head.origin });
    }
    if (policy !== null) {
      const refused = await verifyCheckpoint(note, policy).then(() => null, messageOf);
      if (refused !== null) return add("checkpoint-signature", `${name}: ${refused}`);
    }
    const notes = [note, shown];
    if (known.size > head.size) {
      return add(
        "expected-beyond",
        `${name} is of size ${known.size}, but size ${head.size} is published: it was cut off or rolled back`,
        { expected: String(known.size), found: String(head.size), notes },
      );
    }
    // Of the published size itself it is the checkpoint that counts, whatever the objects give.
    const root = known.size === head.size ? head.root : (this.roots.get(known.size) ?? null);
    if (root === null) return false;
    if (bytesEqual(root, known.root)) return true;
    return add("expected-root", `another history of size ${known.size} is published than that of ${name}`, {
      expected: encodeHex(known.root),
      found: encodeHex(root),
      notes,
    });
  }

  /** The bodies, if they are published too. What they show of entries that is known already is not said twice. */
  private async contents(): Promise<BodiesVerification> {
    const { head, objects, shown, options } = this.parts;
    const { policy, findingsMax, signal } = options;
    const { origin, size } = head;
    const contents = await verifyBodies({ objects, note: shown, origin, size, policy, findingsMax, signal });
    if (contents.kind === "absent") return contents;
    const known = new Set(this.findings.findings.map(placeOf));
    const found =
      contents.kind === "verified" ? contents.report.findings : [contents.finding].filter((f) => f !== null);
    for (const finding of found) {
      const { code, message, ...more } = finding;
      if (!known.has(placeOf(finding))) this.findings.add(code, message, more);
    }
    return contents;
  }

  private report(
    accepted: VerifiedCheckpoint | null,
    held: readonly HeldNote[],
    contents: BodiesVerification,
  ): VerifyReport {
    const { head, pin, policy } = this.parts;
    const { findings } = this;
    const reach = Math.max(0, ...held.map(({ note }) => headOfNote(note)?.size ?? 0));
    const verdicts = withFindings(
      {
        integrity: this.integrityOf(contents),
        order: verdict("pass", `indexes, links and times of ${counted(head.size)} follow one another`),
        authenticity: this.authenticityOf(accepted, contents),
        completeness: verdict(
          "pass",
          `no gap from genesis to the checkpoint of size ${head.size}`,
          reach < head.size
            ? [`that no later checkpoint was withheld: nothing that the reader held reaches beyond size ${reach}`]
            : [],
        ),
        independence: independenceWith(policy, accepted, reach),
        time: timeOf(accepted),
      },
      findings,
    );
    const base = {
      ok: findings.isOk,
      conclusive: pin !== "none" && (contents.kind !== "verified" || contents.report.conclusive),
      requiredMissing: missingEvidence(policy, accepted),
    };
    return {
      format: "tallystick/report/v1",
      kind: "published",
      ...base,
      origin: head.origin,
      size: head.size,
      root: encodeHex(head.root),
      range: null,
      pin,
      verdicts,
      timeline: timelineOfCheckpoint(accepted),
      findings: findings.findings,
      findingsOmitted: findings.omitted,
      erased: contents.kind === "verified" ? contents.report.erased : { entries: 0, fields: 0 },
      needsReindex: false,
      summary: summaryOf({ ...base, pin }, { size: head.size, findings: findings.count, contents }),
    };
  }

  private integrityOf(contents: BodiesVerification): Verdict {
    const basis = `each of ${counted(this.parts.head.size)} and every tile was hashed again and gives the root of the checkpoint`;
    if (contents.kind === "absent")
      return verdict("pass", basis, ["what the entries commit to: events are not published here"]);
    // Why, is a finding.
    if (contents.kind === "unreadable") return verdict("notEstablished", basis, ["what the entries commit to"]);
    const { status, basis: shown, unchecked } = contents.report.verdicts.integrity;
    return verdict(
      status,
      status === "pass" ? `${basis}; every event is the one that its entry commits to` : shown,
      unchecked,
    );
  }

  private authenticityOf(accepted: VerifiedCheckpoint | null, contents: BodiesVerification): Verdict {
    const { head, pin, policy } = this.parts;
    if (pin === "none" || policy === null || accepted === null)
      return verdict("notEstablished", "no key is pinned: anybody could have published this; give a policy");
    const events = contents.kind === "verified" ? contents.report.verdicts.authenticity : null;
    if (events !== null && events.status === "notEstablished") return events;
    const unchecked = [
      ...(events?.unchecked ?? ["keys, rules and author signatures: they stand in events, which were not seen here"]),
    ];
    if (events === null && policy.genesis === null) unchecked.push("genesis not pinned");
    const keys = accepted.logKeys.map((key) => key.vkey.slice(0, key.name.length + 9)).join(", ");
    const how = pin === "policy" ? "under the pinned policy" : "under the policy that this machine keeps";
    return verdict("pass", `checkpoint of size ${head.size} signed by ${keys}, ${how}`, unchecked);
  }
}

const HELD_NAMES: Readonly<Record<HeldNote["source"], string>> = {
  expect: "the expected checkpoint",
  lastSeen: "the checkpoint that this machine saw last",
};

/** Latest ledger time that agrees with what witnesses say, in their seconds; null for a time that no date can express. */
export function latestTimeFor(witnessTime: number): string | null {
  const date = new Date((witnessTime + TIME_SKEW_SECONDS_MAX) * 1_000);
  return Number.isNaN(date.getTime()) ? null : date.toISOString();
}

function independenceWith(policy: Policy | null, accepted: VerifiedCheckpoint | null, reach: number): Verdict {
  if (reach === 0 || accepted === null || policy?.quorum !== "none") return independenceOf(policy, accepted);
  return verdict("pass", `the history up to size ${reach} is the one that the reader saw before`, [
    "entries after that rest on the log key alone",
  ]);
}

function summaryOf(
  { ok, conclusive, requiredMissing, pin }: Pick<VerifyReport, "ok" | "conclusive" | "requiredMissing" | "pin">,
  {
    size,
    findings,
    contents,
  }: { readonly size: number; readonly findings: number; readonly contents: BodiesVerification },
): string {
  if (!ok) return `NOT intact: ${findings} ${findings === 1 ? "finding" : "findings"}`;
  if (requiredMissing.length > 0)
    return `consistent, but evidence that the policy asks for is missing: ${requiredMissing.join(", ")}`;
  if (pin === "none")
    return "consistent with itself, but no key is pinned: anybody could have published it; give --policy";
  if (!conclusive) return "nothing wrong was found, but not all could be established";
  return `intact: ${counted(size)}, ${contents.kind === "verified" ? "with" : "without"} their events`;
}

function counted(size: number): string {
  return size === 1 ? "1 entry" : `${size} entries`;
}

function placeOf({ code, index }: Finding): string {
  return `${code} ${index ?? "-"}`;
}

function firstLeafOf({ level, index }: TilePlace): number {
  return index * TILE_WIDTH ** (level + 1);
}

/** Null for what is wrong with the evidence, or absent; anything else passes. */
function onlyOurs(error: unknown): null {
  if (isTallystickError(error) && EVIDENCE_CODES.has(error.code)) return null;
  throw error;
}

const EVIDENCE_CODES: ReadonlySet<string> = new Set(["proof-invalid", "malformed-tile", "not-found"]);

function messageOf(error: unknown): string {
  if (!isTallystickError(error)) throw error;
  return error.message;
}
