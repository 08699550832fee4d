import { bytesSource } from "../core/byte-source.ts";
import { canonicalize } from "../core/canonical-json.ts";
import { decodeUtf8, encodeHex } from "../core/encoding.ts";
import { VerificationError } from "../core/errors.ts";
import { type ExportLine, parseExportLine } from "../core/export-format.ts";
import { splitLines } from "../core/file-lines.ts";
import { readPackage } from "../core/package-content.ts";
import { verifyPackage } from "../core/verify-package.ts";
import type { LedgerStorage, StoredEntry } from "../ledger/storage.ts";
import { discloseAll } from "../ledger/stored-event.ts";

/** An evidence package in an auditor's hands, after it was verified. */
export interface HeldPackage {
  /** Note of its checkpoint. */
  readonly checkpoint: string;
  readonly entries: readonly PackagedEntry[];
}

interface PackagedEntry {
  readonly index: number;
  readonly entryText: string;
  /** What the package shows of the body, as text; null where it shows nothing. */
  readonly content: string | null;
  readonly kind: ExportLine["content"]["kind"];
}

/** Verified packages by their bytes, then by the policy: nobody who attacks a ledger reaches what somebody else holds. */
const verified = new WeakMap<Uint8Array, Map<string, Promise<HeldPackage>>>();

/**
 * Verifies a package of a whole ledger under the policy that its holder pins, and reads it; done once for the same bytes.
 * Error: `verification-failed` for one that does not hold, which is no evidence.
 */
export function openHeldPackage(bytes: Uint8Array, policy: string | null): Promise<HeldPackage> {
  const known = verified.get(bytes) ?? new Map<string, Promise<HeldPackage>>();
  verified.set(bytes, known);
  const opened = known.get(policy ?? "") ?? readVerified(bytes, policy);
  known.set(policy ?? "", opened);
  return opened;
}

async function readVerified(bytes: Uint8Array, policy: string | null): Promise<HeldPackage> {
  const source = bytesSource(bytes);
  const report = await verifyPackage(source, { allowSelfAsserted: false, ...(policy === null ? {} : { policy }) });
  if (!report.ok) throw new VerificationError("verification-failed", `the held package: ${report.summary}`);
  const { checkpoint, member } = await readPackage(source, async () => {});
  const entries: PackagedEntry[] = [];
  let isHeader = true;
  for await (const line of splitLines(member("entries.jsonl"))) {
    if (!isHeader) entries.push(packagedEntry(parseExportLine(decodeUtf8(line.bytes) ?? "", "range")));
    isHeader = false;
  }
  return { checkpoint: decodeUtf8(checkpoint) ?? "", entries };
}

function packagedEntry({ entry, entryText, content }: ExportLine): PackagedEntry {
  return { index: entry.index, entryText, kind: content.kind, content: textOf(content) };
}

function textOf(content: ExportLine["content"]): string | null {
  if (content.kind === "whole") return `${content.salt} ${canonicalize(content.event)}`;
  if (content.kind === "fields") return canonicalize(content.disclosure.disclosed);
  return null;
}

/** How the entries of the package differ from those that the ledger shows now, in codes. */
export async function compareEntries(held: HeldPackage, storage: LedgerStorage): Promise<readonly string[]> {
  const codes = new Set<string>();
  const shown = new Map<number, StoredEntry>();
  for (let first = 0; first < held.entries.length; first += PAGE_ENTRIES)
    for (const stored of await storage.readEntries(first, first + PAGE_ENTRIES)) shown.set(stored.index, stored);
  for (const one of held.entries) {
    const stored = shown.get(one.index);
    if (stored === undefined) codes.add("entry-missing");
    else if (stored.entry !== one.entryText) codes.add("other-entry");
    else if (one.content !== null && shownText(stored, one.kind) !== one.content) codes.add("other-content");
  }
  return [...codes];
}

/** The most that `readEntries` gives at a time. */
const PAGE_ENTRIES = 4_096;

function shownText(stored: StoredEntry, kind: PackagedEntry["kind"]): string | null {
  if (stored.body === null) return null;
  if (kind === "fields") return canonicalize(discloseAll(stored).disclosed);
  return `${encodeHex(stored.salts ?? new Uint8Array(0))} ${stored.body}`;
}
