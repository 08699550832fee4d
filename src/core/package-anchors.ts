import { strictText } from "#hash-platform";
import { type AnchorExamination, examineAnchors, type RecordedAnchor, type ShownAnchor } from "./anchor-evidence.ts";
import { type BitcoinHeader, bitcoinHeightsOf } from "./anchor-proof/bitcoin.ts";
import type { Certificate } from "./anchor-proof/certificate.ts";
import { headOfNote } from "./contradiction.ts";
import type { AnchorPayload } from "./control-event.ts";
import { concatBytes, decodeHex, encodeHex } from "./encoding.ts";
import { leafHashHex, parseEntry } from "./entry.ts";
import { examineBody } from "./entry-body.ts";
import { isTallystickError } from "./errors.ts";
import type { PackagedAnchor, RecordedEntry } from "./evidence-package.ts";
import type { ExaminedHeader } from "./export-header.ts";
import { sha256 } from "./hash.ts";
import { verifyConsistency, verifyInclusion } from "./proof.ts";
import type { Finding } from "./report.ts";

/** The anchors in a package: spec/evidence-package.md K13. */

export interface PackageAnchorsParts {
  readonly anchors: readonly PackagedAnchor[];
  /** Content of a member. */
  readonly member: (name: string) => AsyncIterable<Uint8Array>;
  readonly examined: ExaminedHeader;
  readonly tsaRoots: readonly Certificate[];
  readonly headers: readonly BitcoinHeader[];
  /** Times of the lines of the selection. */
  readonly timeAt: (index: number) => string | null;
}

/** Examines them one after another, with one at a time in memory. */
export async function examinePackageAnchors(parts: PackageAnchorsParts): Promise<AnchorExamination> {
  const { header, policy } = parts.examined;
  const { head } = header;
  const unproved: Finding[] = [];
  const roots = new Map<number, string>();
  const times = new Map<number, string>();
  async function* proved(): AsyncGenerator<ShownAnchor> {
    for (const anchor of parts.anchors) {
      const note = await bytesOf(parts.member(anchor.note));
      const proof = await bytesOf(parts.member(anchor.proof));
      const recorded = anchor.recorded === null ? null : recordedAnchor(anchor, anchor.recorded, parts.examined);
      if (recorded !== null && "code" in recorded) {
        unproved.push(recorded);
        continue;
      }
      const anchored = headOf(note);
      // What is no checkpoint of this ledger is not looked for in its tree.
      if (anchored !== null && anchored.origin === head.origin) {
        const problem = placeProblem(anchored, anchor, head);
        if (problem !== null) {
          unproved.push(mismatch(anchor, problem));
          continue;
        }
        roots.set(anchored.size, encodeHex(anchored.root));
      }
      if (recorded !== null) times.set(recorded.anchor.index, recorded.time);
      yield { kind: anchor.kind, note, proof, recorded: recorded?.anchor ?? null };
    }
  }
  const examination = await examineAnchors(proved(), {
    origin: head.origin,
    policy: policy ?? (async () => null),
    tsaRoots: parts.tsaRoots,
    headers: parts.headers,
    rootAt: (size) => roots.get(size) ?? null,
    timeAt: (index) => times.get(index) ?? parts.timeAt(index),
  });
  return { ...examination, findings: [...unproved, ...examination.findings.map(withoutIndex)] };
}

/** What has to be known before the anchors can be examined. */
export interface AnchorNeeds {
  /** Indexes of the entries whose times are held against them. */
  readonly indexes: readonly number[];
  /** Bitcoin blocks that they name, ascending. */
  readonly heights: readonly number[];
}

export async function needsOf(
  anchors: readonly PackagedAnchor[],
  member: (name: string) => AsyncIterable<Uint8Array>,
): Promise<AnchorNeeds> {
  const indexes: number[] = [];
  const heights = new Set<number>();
  for (const { kind, note, proof } of anchors) {
    const noteBytes = await bytesOf(member(note));
    const anchored = headOf(noteBytes);
    if (anchored !== null) indexes.push(anchored.size - 1);
    if (kind !== "opentimestamps") continue;
    for (const height of heightsOf(await bytesOf(member(proof)), noteBytes)) heights.add(height);
  }
  return { indexes, heights: [...heights].sort((a, b) => a - b) };
}

function heightsOf(proof: Uint8Array, note: Uint8Array): readonly number[] {
  try {
    return bitcoinHeightsOf(proof, sha256(note));
  } catch (error) {
    // Reported when the proof is examined.
    if (!isTallystickError(error)) throw error;
    return [];
  }
}

async function bytesOf(pieces: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const piece of pieces) parts.push(piece);
  return concatBytes(...parts);
}

function headOf(note: Uint8Array): ReturnType<typeof headOfNote> {
  const text = strictText(note);
  return text === null ? null : headOfNote(text);
}

type Head = ExaminedHeader["header"]["head"];

/** Why the anchored checkpoint is not shown to be one of the history of the package; null if it is. */
function placeProblem(anchored: Head, { consistency }: PackagedAnchor, head: Head): string | null {
  try {
    verifyConsistency({
      oldSize: anchored.size,
      oldRoot: anchored.root,
      newSize: head.size,
      newRoot: head.root,
      proof: consistency.map((hash) => decodeHex(hash, { code: "malformed-proof" })),
    });
    return null;
  } catch (error) {
    if (!isTallystickError(error)) throw error;
    return `the anchored checkpoint of size ${anchored.size} is not shown to be of this history: ${error.message}`;
  }
}

/** The event that recorded an anchor, and the time of its entry; a finding where it is not shown to be one of the ledger. */
function recordedAnchor(
  anchor: PackagedAnchor,
  recorded: RecordedEntry,
  { header }: ExaminedHeader,
): { readonly anchor: RecordedAnchor; readonly time: string } | Finding {
  const { head } = header;
  try {
    const entry = parseEntry(recorded.entry);
    const { index } = entry;
    verifyInclusion({
      leafHash: decodeHex(leafHashHex(recorded.entry), { code: "malformed-entry" }),
      index,
      size: head.size,
      proof: recorded.inclusion.map((hash) => decodeHex(hash, { code: "malformed-proof" })),
      root: head.root,
    });
    if (entry.scheme !== "control") return mismatch(anchor, "the entry that is said to record it is no control event");
    const { problems, control } = examineBody(entry, { kind: "whole", event: recorded.event, salt: recorded.salt });
    const [problem] = problems;
    if (problem !== undefined) return mismatch(anchor, problem.error.message);
    if (control?.action !== "ledger.anchor")
      return mismatch(anchor, "the entry that is said to record it is another event");
    // The action says what the payload is.
    const { kind, size, root, note, proof } = control.payload as AnchorPayload;
    if (kind !== anchor.kind) return mismatch(anchor, `its event records the kind ${JSON.stringify(kind)}`);
    return { anchor: { index, size, root, note, proof }, time: entry.time };
  } catch (error) {
    if (!isTallystickError(error)) throw error;
    return mismatch(anchor, `the entry that is said to record it: ${error.message}`);
  }
}

function mismatch({ proof }: PackagedAnchor, problem: string): Finding {
  return { code: "anchor-mismatch", message: `${proof}: ${problem}`, evidence: proof };
}

/** What is wrong with an anchor is about no entry of the selection; what is wrong with a time is. */
function withoutIndex(finding: Finding): Finding {
  const { index: _index, ...rest } = finding;
  return finding.code.startsWith("anchor-") ? rest : finding;
}
