import { type FileHandle, open, rename, rm } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { encodeHex, encodeUtf8 } from "../core/encoding.ts";
import type { Membership } from "../core/entry-filter.ts";
import { isTallystickError, UnavailableError } from "../core/errors.ts";
import type { JsonObject } from "../core/event.ts";
import {
  formatAnchorIndex,
  formatConsistency,
  formatManifest,
  MANIFEST,
  MANIFEST_SIGNATURE,
  PACKAGED_ANCHORS_MAX,
  type PackagedAnchor,
} from "../core/evidence-package.ts";
import { type ExportHeader, parseExportHeader } from "../core/export-format.ts";
import { splitLines } from "../core/file-lines.ts";
import { sha256Hex } from "../core/hash.ts";
import type { VerifyReport } from "../core/report.ts";
import { formatReportHtml } from "../core/report-html.ts";
import { verifyExport } from "../core/verify-export.ts";
import { centralHeader, endRecord, localHeader, ZIP_BYTES_MAX } from "../core/zip-format.ts";
import type { LedgerEngine, PackageProofs } from "../ledger/ledger.ts";
import type { QueryFilter } from "../ledger/query.ts";
import { SelectionTally } from "../ledger/selection-tally.ts";
import { type PackedMember, packMember, spoolMember } from "./spool.ts";

export interface EvidencePackageOptions {
  /** File to write: it appears whole or not at all. A temporary file of about the same size stands beside it meanwhile. */
  readonly out: string;
  /** What to select: `first` and `last` alone give a range; anything else a filter. */
  readonly filter?: QueryFilter | undefined;
  /** Shows these fields alone of the entries, which must then be of scheme `fields`. */
  readonly disclose?: readonly string[] | undefined;
  /** Proves that the filter left nothing out: every other entry of the range comes along, with as little as shows that it does not match. */
  readonly proveComplete?: boolean | undefined;
  /** Note of a checkpoint that the auditor holds from before: the package proves that it continues that history. */
  readonly since?: string | undefined;
  /** Policy to put in for reference. Default: one made from the ledger. An auditor pins the one that he got by another way. */
  readonly policy?: string | undefined;
  /** File of Bitcoin headers (spec/anchors.md 26) for auditors who look up the blocks themselves. */
  readonly headers?: string | undefined;
  /** Called now and then with the number of entries written. */
  readonly onProgress?: ((entries: number) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface WrittenPackage {
  /** Absolute path. */
  readonly file: string;
  readonly sizeBytes: number;
  readonly origin: string;
  /** Of the checkpoint in it. */
  readonly size: number;
  readonly root: string;
  readonly kind: "range" | "filter" | "complete";
  readonly first: number;
  readonly last: number;
  /** Entries by what a verifier can say of them; without a filter that is proved, all that are in it are members. */
  readonly entries: Readonly<Record<Membership, number>>;
  /** Why entries are open: `whole` are committed as a whole, so nothing of them could be shown alone. */
  readonly open: { readonly whole: number; readonly erased: number; readonly fields: number };
  readonly anchors: number;
  /** Older ones for which there was no room: a package takes the latest 1,000. */
  readonly anchorsLeftOut: number;
  /** What verifying the entries under the policy in the package said; the packaged report says the same. */
  readonly report: VerifyReport;
}

/**
 * Writes an evidence package: spec/evidence-package.md. Memory does not grow with the number of entries. Errors: `key-lost` without a log key
 * that can sign the manifest, `signer-unavailable`; those of `ledger.export` (`not-disclosable` for a filter that cannot be proved) and of
 * `since` (`forked`, `origin-mismatch`, `malformed-checkpoint`); `RangeError` beyond 4 GiB; those of the file system as they come.
 */
export async function writeEvidencePackage(
  ledger: LedgerEngine,
  options: EvidencePackageOptions,
): Promise<WrittenPackage> {
  const path = resolve(options.out);
  const beside = (what: string): string => join(dirname(path), `.${basename(path)}.${process.pid}.${what}`);
  // Before the work, not after it.
  ledger.packageProofs(0).requireSigner();
  const tally = new EntryTally(options);
  const spool = await spoolMember("entries.jsonl", tally.lines(ledger), beside("entries"));
  try {
    const header = tally.header();
    const { head, selection } = header;
    const proofs = ledger.packageProofs(head.size);
    const policy = options.policy ?? ledger.policy();
    const anchors = await anchorMembers(ledger, proofs, head.size, options.headers);
    const verified = await verifyExport(() => splitLines(spool.content()), { policy, allowSelfAsserted: false });
    const report = withLeftOut(verified, anchors.leftOut);
    const members: PackedMember[] = [
      packMember("policy", encodeUtf8(policy)),
      packMember("checkpoint", encodeUtf8(header.checkpoint)),
      spool,
      ...(await consistencyMember(proofs, options.since)),
      ...anchors.members,
      ...claimMembers(report),
    ];
    const manifest = formatManifest({
      members: members.map(({ name, sha256, size }) => ({ name, sha256, size })),
      origin: head.origin,
      policy: sha256Hex(policy),
      root: encodeHex(head.root),
      // It came out of JSON.
      selection: selection as unknown as JsonObject,
      size: head.size,
    });
    const signature = encodeUtf8(await proofs.sign(manifest));
    const all = [packMember(MANIFEST, manifest), packMember(MANIFEST_SIGNATURE, signature), ...members];
    options.signal?.throwIfAborted();
    const sizeBytes = await writeWhole(path, beside("zip"), all);
    return {
      file: path,
      sizeBytes,
      origin: head.origin,
      size: head.size,
      root: encodeHex(head.root),
      kind: selection.kind,
      first: selection.first,
      last: selection.last,
      entries: tally.selected.entries,
      open: tally.selected.open,
      anchors: anchors.count,
      anchorsLeftOut: anchors.leftOut,
      report,
    };
  } finally {
    await spool.remove();
  }
}

/** Counts entries on their way into the package. */
class EntryTally {
  readonly selected: SelectionTally = new SelectionTally();
  private readonly options: EvidencePackageOptions;
  private headerLine: string | null = null;

  constructor(options: EvidencePackageOptions) {
    this.options = options;
  }

  async *lines(ledger: LedgerEngine): AsyncGenerator<string> {
    const { filter, disclose, proveComplete = false, onProgress, signal } = this.options;
    const lines = ledger.export({
      proveComplete,
      ...(filter === undefined ? {} : { filter }),
      ...(disclose === undefined ? {} : { disclose }),
      onEntry: (entry) => this.selected.add(entry),
    });
    let count = 0;
    for await (const line of lines) {
      signal?.throwIfAborted();
      if (this.headerLine === null) this.headerLine = line;
      else count += 1;
      onProgress?.(count);
      yield line;
    }
  }

  /** The header, after all lines went by. */
  header(): ExportHeader {
    return parseExportHeader((this.headerLine ?? "").trimEnd());
  }
}

async function consistencyMember(proofs: PackageProofs, since: string | undefined): Promise<PackedMember[]> {
  if (since === undefined) return [];
  return [packMember("consistency.json", formatConsistency({ checkpoint: since, proof: await proofs.since(since) }))];
}

const ENDINGS: Readonly<Record<string, string>> = { rfc3161: "tsr", opentimestamps: "ots" };

/** The latest anchors of which the ledger still has note and proof, at most 1,000. */
async function anchorMembers(
  ledger: LedgerEngine,
  proofs: PackageProofs,
  size: number,
  headers: string | undefined,
): Promise<{ readonly members: PackedMember[]; readonly count: number; readonly leftOut: number }> {
  let leftOut = 0;
  const kept: {
    readonly kind: PackagedAnchor["kind"];
    readonly index: number;
    readonly size: number;
    readonly note: Uint8Array;
    readonly proof: Uint8Array;
  }[] = [];
  for await (const { kind, index, size: anchored, note, proof } of ledger.anchors()) {
    // An event that is not under the checkpoint of the package cannot be proved by it.
    if (note === null || proof === null || !(kind in ENDINGS) || index >= size) continue;
    kept.push({ kind: kind as PackagedAnchor["kind"], index, size: anchored, note, proof });
    if (kept.length <= PACKAGED_ANCHORS_MAX) continue;
    kept.shift();
    leftOut += 1;
  }
  if (kept.length === 0) return { members: [], count: 0, leftOut };
  const index: PackagedAnchor[] = [];
  const members: PackedMember[] = [];
  for (const [i, anchor] of kept.entries()) {
    const note = `anchors/${i}.note`;
    const proof = `anchors/${i}.${ENDINGS[anchor.kind]}`;
    const recorded = await proofs.entry(anchor.index);
    index.push({ kind: anchor.kind, note, proof, consistency: await proofs.consistencyFrom(anchor.size), recorded });
    members.push(packMember(note, anchor.note), packMember(proof, anchor.proof));
  }
  const extra = headers === undefined ? [] : [packMember("anchors/headers", encodeUtf8(headers))];
  return {
    members: [packMember("anchors/index.json", formatAnchorIndex(index)), ...members, ...extra],
    count: kept.length,
    leftOut,
  };
}

/** What is said of time in the packaged report too. */
function withLeftOut(report: VerifyReport, leftOut: number): VerifyReport {
  if (leftOut === 0) return report;
  const { time } = report.verdicts;
  const unchecked = [
    ...time.unchecked,
    `${leftOut} older anchors were left out: a package takes the latest ${PACKAGED_ANCHORS_MAX}`,
  ];
  return { ...report, verdicts: { ...report.verdicts, time: { ...time, unchecked } } };
}

const README = `This is an evidence package of tallystick: entries of an audit ledger, with everything that is needed to check them offline.

Nothing in it can be believed by itself. Check it with a verifier that you got elsewhere, and with the policy that the operator gave you by another way:

    tallystick verify FILE.zip --policy POLICY-FILE

report.html, report.json and this text are claims of whoever made the package.
`;

/** What people find when they unpack it: claims. */
function claimMembers(report: VerifyReport): PackedMember[] {
  return [
    packMember("report.html", encodeUtf8(formatReportHtml(report, { isClaim: true }))),
    packMember("report.json", encodeUtf8(`${JSON.stringify(report)}\n`)),
    packMember("readme.txt", encodeUtf8(README)),
  ];
}

/** Writes the file under another name, syncs it and renames it; its size in bytes. */
async function writeWhole(path: string, draft: string, members: readonly PackedMember[]): Promise<number> {
  try {
    const sizeBytes = await writeZip(await open(draft, "w"), members);
    await rename(draft, path);
    return sizeBytes;
  } catch (error) {
    await rm(draft, { force: true }).catch(() => {}); // the first error is the one to tell
    throw isTallystickError(error) ? error : withPath(error, path);
  }
}

async function writeZip(file: FileHandle, members: readonly PackedMember[]): Promise<number> {
  const sizeBytes = members.reduce((sum, { name, packed }) => sum + packed + 2 * name.length + 76, 22);
  if (sizeBytes > ZIP_BYTES_MAX)
    throw new RangeError(
      `evidence: expected a package of at most ${ZIP_BYTES_MAX} bytes; write several with --first and --last`,
    );
  try {
    let at = 0;
    const write = async (bytes: Uint8Array): Promise<void> => {
      await file.write(bytes);
      at += bytes.length;
    };
    const central: Uint8Array[] = [];
    for (const member of members) {
      central.push(centralHeader(member, at));
      await write(localHeader(member));
      const start = at;
      for await (const piece of member.data()) await write(piece);
      if (at - start !== member.packed)
        throw new UnavailableError("storage-io", `evidence: the packed ${member.name} changed while it was written`);
    }
    const centralOffset = at;
    for (const header of central) await write(header);
    await write(endRecord({ members: members.length, centralBytes: at - centralOffset, centralOffset }));
    await file.sync();
    return at;
  } finally {
    await file.close();
  }
}

/** The name that the caller gave, not that of the draft. */
function withPath(error: unknown, path: string): unknown {
  if (error instanceof Error && "path" in error) Object.assign(error, { path });
  return error;
}
