import type { BitcoinHeader } from "./anchor-proof/bitcoin.ts";
import type { Certificate } from "./anchor-proof/certificate.ts";
import type { ByteSource } from "./byte-source.ts";
import { CONTAINER_DEPTH_MAX, canonicalize, type JsonValue } from "./canonical-json.ts";
import type { Checkpoint } from "./checkpoint.ts";
import { headOfNote } from "./contradiction.ts";
import { bytesEqual, decodeHex, encodeHex, encodeUtf8 } from "./encoding.ts";
import { isTallystickError } from "./errors.ts";
import { manifestMessage } from "./evidence-package.ts";
import type { ExaminedHeader } from "./export-header.ts";
import { splitLines } from "./file-lines.ts";
import { unreadableReport, withFindings } from "./file-report.ts";
import { FindingList } from "./finding-list.ts";
import { algorithmOfVerifierKey, spkiOfVerifierKey } from "./note.ts";
import { examinePackageAnchors, needsOf } from "./package-anchors.ts";
import { type PackageContent, PackageError, readPackage } from "./package-content.ts";
import { logKeysAt, type Policy, verifyCheckpoint } from "./policy.ts";
import { verifyConsistency } from "./proof.ts";
import type { Finding, VerifyReport } from "./report.ts";
import { verifySignature } from "./signature/table.ts";
import {
  compareHeld,
  exportReport,
  heldOf,
  judgeLines,
  type OpenedExport,
  openExport,
  pinOf,
  type Trust,
  trustOf,
  type VerifyExportOptions,
} from "./verify-export.ts";

export interface VerifyPackageOptions extends VerifyExportOptions {
  /** Certificates of time-stamping authorities that the reader pins. */
  readonly tsaRoots?: readonly Certificate[] | undefined;
  /** Block headers that the reader trusts to be in the chain, or where those of some heights come from. */
  readonly headers?:
    | readonly BitcoinHeader[]
    | ((heights: readonly number[]) => Promise<readonly BitcoinHeader[]>)
    | undefined;
  /** Asks for an anchor that holds under these. */
  readonly requireAnchor?: boolean | undefined;
}

/**
 * Verifies an evidence package as spec/evidence-package.md says and answers with six verdicts and every finding; hostile bytes are
 * findings, never exceptions. The source is read twice and must stay as it is. No key, certificate or header in the package is trusted, and
 * what is in it for people is hashed and not looked at. Memory as in `verifyExport`. Errors: `malformed-policy`, `malformed-config` for a
 * held checkpoint that is none, `newer-format`, `storage-io` if the two readings differ, and those of the source.
 */
export async function verifyPackage(source: ByteSource, options: VerifyPackageOptions): Promise<VerifyReport> {
  const trust = trustOf(options);
  const held = heldOf(options.expect);
  const findings = new FindingList(options.findingsMax);
  let opened: OpenedExport | Finding | null = null;
  let content: PackageContent;
  try {
    content = await readPackage(source, async (pieces) => {
      try {
        opened = await openExport(splitLines(pieces), trust, findings);
      } catch (error) {
        // A package of this version holds an export of this version.
        if (!isTallystickError(error) || error.code !== "newer-format") throw error;
        opened = { code: "file-malformed", message: error.message };
      }
    });
  } catch (error) {
    if (!(error instanceof PackageError)) throw error;
    return unreadableReport(error.finding, fileOf(trust, options));
  }
  return judgePackage(content, { opened: opened as OpenedExport | Finding | null, trust, held, findings, options });
}

/** A package of which nothing was looked at yet. */
function fileOf(trust: Trust, { requireAnchor }: VerifyPackageOptions): Parameters<typeof unreadableReport>[1] {
  return { kind: "package", ...pinOf(trust), requireAnchor };
}

interface Judging {
  readonly opened: OpenedExport | Finding | null;
  readonly trust: Trust;
  readonly held: Checkpoint | null;
  readonly findings: FindingList;
  readonly options: VerifyPackageOptions;
}

/** Stage B */
async function judgePackage(content: PackageContent, judging: Judging): Promise<VerifyReport> {
  const { opened, trust, held, findings, options } = judging;
  // The manifest lists the export, so it was read.
  if (opened === null) throw new Error("verifyPackage: the export was not read");
  const isOpened = !("code" in opened);
  await checkManifestSignature(content, isOpened ? opened.examined.policy : trust.pinned, findings);
  checkPolicyMember(content, findings);
  if (!isOpened) return brokenExportReport(opened, fileOf(trust, options), findings);
  const { examined } = opened;
  const { head } = examined.header;
  checkManifest(content, examined, findings);
  const before = await checkConsistency(content, examined, findings);
  const times = new Map<number, string | null>();
  const { indexes, heights } = await needsOf(content.anchors, content.member);
  for (const index of indexes) times.set(index, null);
  const tally = await judgeLines(linesOf(content), opened, findings, {
    rootAt: held?.size,
    onEntry: ({ index, time }) => void (times.has(index) && times.set(index, time)),
  });
  const root = before !== null && before.size === held?.size ? encodeHex(before.root) : tally.root;
  const isComparable = compareHeld(held, head, root, findings);
  const anchors = await examinePackageAnchors({
    anchors: content.anchors,
    member: content.member,
    examined,
    tsaRoots: options.tsaRoots ?? [],
    headers: typeof options.headers === "function" ? await options.headers(heights) : (options.headers ?? []),
    timeAt: (index) => times.get(index) ?? null,
  });
  for (const { code, message, ...more } of anchors.findings) findings.add(code, message, more);
  const unchecked = [...anchors.unchecked, ...absentAnchors(content, opened)];
  const judged = { ...anchors, unchecked, requireAnchor: options.requireAnchor === true };
  return exportReport(examined, { tally, isComparable, anchors: judged }, findings, "package");
}

/** Anchors that the entries record, and of which the package has no proof: it has room for the latest 1,000. */
function absentAnchors({ manifest }: PackageContent, { controls }: OpenedExport): string[] {
  const brought = new Set(manifest.members.map(({ sha256 }) => sha256));
  const absent = (controls.state?.anchors ?? []).filter(({ proof }) => !brought.has(proof)).length;
  if (absent === 0) return [];
  return [
    `${absent} recorded ${absent === 1 ? "anchor" : "anchors"}: the package has no proof of ${absent === 1 ? "it" : "them"}`,
  ];
}

/** Lines of the export, for its second reading. */
function linesOf({ member }: PackageContent): ReturnType<typeof splitLines> {
  return splitLines(member("entries.jsonl"));
}

/** E1-E3 stopped: nothing is known but the manifest. */
function brokenExportReport(
  finding: Finding,
  file: Parameters<typeof unreadableReport>[1],
  findings: FindingList,
): VerifyReport {
  const { code, message, ...more } = finding;
  findings.add(code, message, more);
  const report = unreadableReport(finding, file);
  return {
    ...report,
    findings: findings.findings,
    findingsOmitted: findings.omitted,
    verdicts: withFindings(report.verdicts, findings),
  };
}

/** K9 */
async function checkManifestSignature(
  { manifest, manifestBytes, signatures }: PackageContent,
  policy: Policy | null,
  findings: FindingList,
): Promise<void> {
  if (policy === null) return;
  const message = manifestMessage(manifest.origin, manifestBytes);
  const valid = new Set<string>();
  for (const { name, keyId, signature } of signatures) {
    const key = policy.logKeys.find((known) => known.name === name && known.keyId === keyId);
    if (key === undefined) continue;
    const vkey = key.vkey.slice(0, key.name.length + 9);
    if (await verifySignature(algorithmOfVerifierKey(key), spkiOfVerifierKey(key), message, signature))
      valid.add(key.vkey);
    else
      findings.add("manifest-signature", `the signature of ${vkey} over the manifest does not verify`, { found: vkey });
  }
  if (findings.has("manifest-signature")) return;
  if (logKeysAt(policy, manifest.size).some((key) => valid.has(key.vkey))) return;
  findings.add("manifest-signature", "no log key that is valid for the size signed the manifest");
}

/** K10, as far as it needs no export. */
function checkPolicyMember({ manifest }: PackageContent, findings: FindingList): void {
  const member = manifest.members.find(({ name }) => name === "policy");
  compare(findings, "policy", { expected: manifest.policy, found: member?.sha256 ?? "" });
}

/** K10 */
function checkManifest(
  { manifest, checkpoint }: PackageContent,
  { header }: ExaminedHeader,
  findings: FindingList,
): void {
  const { head, selection } = header;
  if (!bytesEqual(checkpoint, encodeUtf8(header.checkpoint))) {
    const message = "the member checkpoint is another one than that of entries.jsonl";
    findings.add("member-mismatch", message, { evidence: "checkpoint" });
  }
  compare(findings, "origin", { expected: manifest.origin, found: head.origin });
  compare(findings, "size", { expected: String(manifest.size), found: String(head.size) });
  compare(findings, "root", { expected: manifest.root, found: encodeHex(head.root) });
  compare(findings, "selection", { expected: textOf(manifest.selection), found: textOf(selection) });
}

function textOf(selection: object): string {
  // Both came out of JSON.
  return canonicalize(selection as JsonValue, { depthMax: CONTAINER_DEPTH_MAX });
}

const SHOWN_UNITS_MAX = 400;

function compare(
  findings: FindingList,
  what: string,
  { expected, found }: { readonly expected: string; readonly found: string },
): void {
  if (expected === found) return;
  const shown = {
    expected: expected.slice(0, SHOWN_UNITS_MAX),
    found: found.slice(0, SHOWN_UNITS_MAX),
    evidence: what,
  };
  findings.add("member-mismatch", `the manifest says another ${what} than the package has`, shown);
}

/** K12; the earlier checkpoint, if it is one of this ledger. */
async function checkConsistency(
  { consistency }: PackageContent,
  { header, policy }: ExaminedHeader,
  findings: FindingList,
): Promise<Checkpoint | null> {
  if (consistency === null) return null;
  const { head } = header;
  const evidence = "consistency.json";
  const before = headOfNote(consistency.checkpoint);
  if (before === null) {
    findings.add("checkpoint-malformed", "the earlier checkpoint does not parse", { evidence });
    return null;
  }
  if (before.origin !== head.origin) {
    const more = { expected: head.origin, found: before.origin, evidence };
    findings.add("origin-mismatch", "the earlier checkpoint is of another ledger", more);
    return null;
  }
  if (policy !== null) {
    await orFinding(
      async () => void (await verifyCheckpoint(consistency.checkpoint, policy)),
      (error) => {
        // That the whole package is of another ledger than the policy is said with its own checkpoint.
        const code = error.code === "origin-mismatch" ? "origin-mismatch" : "checkpoint-signature";
        findings.add(code, `the earlier checkpoint: ${error.message}`, { evidence });
      },
    );
  }
  const proof = consistency.proof.map((hash) => decodeHex(hash, { code: "malformed-proof" }));
  await orFinding(
    async () =>
      verifyConsistency({ oldSize: before.size, oldRoot: before.root, newSize: head.size, newRoot: head.root, proof }),
    (error) => findings.add("proof-invalid", `the earlier checkpoint: ${error.message}`, { evidence }),
  );
  return before;
}

async function orFinding(
  check: () => Promise<void>,
  report: (error: { readonly code: string; readonly message: string }) => void,
): Promise<void> {
  try {
    await check();
  } catch (error) {
    if (!isTallystickError(error)) throw error;
    report(error);
  }
}
