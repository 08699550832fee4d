import { readFileSync } from "node:fs";
import { join } from "node:path";
import { canonicalize } from "../core/canonical-json.ts";
import { verifyContradiction } from "../core/contradiction.ts";
import { decodeHex, encodeHex } from "../core/encoding.ts";
import { isTallystickError } from "../core/errors.ts";
import { parsePolicy } from "../core/policy.ts";
import { proveInclusion, verifyInclusion } from "../core/proof.ts";
import { parseReceipt, type Receipt } from "../core/receipt.ts";
import { exitCodeOf, type Finding, type FindingCode, type VerifyReport } from "../core/report.ts";
import { CHECKPOINT_PATH } from "../ledger/publish.ts";
import { RightEdge } from "../ledger/right-edge.ts";
import type { LedgerStorage, SideTables, StorageSnapshot, StoredEntry } from "../ledger/storage.ts";
import { discloseAll } from "../ledger/stored-event.ts";
import { type VerifyLedgerOptions, verifyLedger } from "../ledger/verify-ledger.ts";
import { filesystemArchive } from "../storage/archive/filesystem.ts";
import { openSqliteStorage } from "../storage/sqlite.ts";
import type { AttackedReader } from "./attacks.ts";
import { compareEntries, openHeldPackage } from "./held-package.ts";
import { followVictim, openWitness } from "./outside.ts";
import { openVictim, type Victim } from "./victim.ts";

/** What one kind of evidence said about one attack. */
export interface Notice {
  /** Null where there was nothing to ask. */
  readonly noticed: boolean | null;
  /** Finding and error codes that it answered with, ascending. */
  readonly codes: readonly string[];
}

/** A victim after the attack, as a reader meets it. */
export interface Suspect extends Victim {
  /** Policy that this reader pins; null for one who has none. */
  readonly policy: string | null;
  /** The policy with the witness as the quorum; null for one who has none. */
  readonly witnessPolicy: string | null;
  /** Checkpoint of this reader's last visit. */
  readonly seen: string;
  /** Evidence package of that visit. */
  readonly heldPackage: Uint8Array;
  /** The report of `verify` for this reader; run once. Rejects where there is no ledger to verify. */
  report(): Promise<VerifyReport>;
  /** Exit code of that report; null where it rejects. */
  exit(): Promise<ReturnType<typeof exitCodeOf> | null>;
  /** The ledger, opened for reading, once; `close` lets go of it. Rejects where there is none. */
  look(): Promise<OpenLedger>;
  close(): Promise<void>;
}

/** What a reader can look at. */
export function suspectOf(victim: Victim, reader: AttackedReader = {}): Suspect {
  const { held } = victim;
  const pins = reader.withoutPin !== true;
  const policy = pins ? held.policy : null;
  const witnessPolicy = pins ? (reader.witnessPolicy?.(victim) ?? held.witnessPolicy) : null;
  const seen = reader.sawOlder === true ? held.olderCheckpoint : held.checkpoint;
  const heldPackage = reader.sawOlder === true ? held.olderPackage : held.package;
  let opened: Promise<OpenLedger> | null = null;
  const look = (): Promise<OpenLedger> => {
    opened ??= openLedger(victim);
    return opened;
  };
  const close = async (): Promise<void> => {
    const ledger = await opened?.catch(() => null);
    opened = null;
    await ledger?.snapshot.close();
    await ledger?.storage.close();
  };
  let running: Promise<VerifyReport> | null = null;
  const report = (): Promise<VerifyReport> => {
    running ??= verifyShown({ look }, policy, {});
    return running;
  };
  const exit: Suspect["exit"] = async () => {
    try {
      return exitCodeOf(await report());
    } catch (error) {
      if (!isTallystickError(error)) throw error;
      return null;
    }
  };
  return { ...victim, policy, witnessPolicy, seen, heldPackage, report, exit, look, close };
}

/** Nobody changes a suspect while it is looked at, so that one view of it serves every question. */
interface OpenLedger {
  readonly storage: LedgerStorage;
  readonly snapshot: StorageSnapshot;
}

async function openLedger({ path, driver }: Victim): Promise<OpenLedger> {
  const storage = await openSqliteStorage(path, { readOnly: true, driver });
  try {
    return { storage, snapshot: keepRead(await storage.snapshot()) };
  } catch (error) {
    await storage.close();
    throw error;
  }
}

/** The same snapshot, which reads its side tables once: to check all of them takes some hundred statements. */
function keepRead(snapshot: StorageSnapshot): StorageSnapshot {
  let side: Promise<SideTables> | null = null;
  return {
    ...snapshot,
    sideTables() {
      side ??= snapshot.sideTables();
      return side;
    },
  };
}

async function verifyShown(
  { look }: Pick<Suspect, "look">,
  policy: string | null,
  held: Pick<VerifyLedgerOptions, "allowSelfAsserted" | "expect" | "tsaRoots" | "bitcoin" | "requireAnchor">,
): Promise<VerifyReport> {
  const { snapshot } = await look();
  return verifyLedger(snapshot, { ...held, ...(policy === null ? {} : { policy, pin: "policy" }) });
}

/** One kind of evidence: a column of the table. */
export interface Evidence {
  readonly id: string;
  readonly name: string;
  /** The name in two lines of at most seven characters. */
  readonly title: readonly [string, string];
  /** What has to be held for it, and what it looks at. */
  readonly holds: string;
  /** It changes what it looks at. */
  readonly changesSuspect?: boolean;
  notices(suspect: Suspect): Promise<Notice>;
}

/**
 * Every kind of evidence, the weakest first: each asks for something to be held that is further from the reach of the
 * operator than the one before. Each is asked alone and answers for itself alone.
 */
export const EVIDENCE: readonly Evidence[] = [
  {
    id: "chain",
    name: "chain walk",
    title: ["chain", "walk"],
    holds: "nothing but the stored bytes: their links, and bodies against commitments",
    notices: (suspect) => ask(suspect, ({ findings }) => only(findings, CHAIN_CODES)),
  },
  {
    id: "head",
    name: "signed head",
    title: ["signed", "head"],
    holds: "a pinned policy: the stored bytes, hashed up to the signed root that is shown",
    notices: (suspect) =>
      ask(suspect, ({ findings, pin, verdicts }) => [
        ...only(findings, HEAD_CODES),
        // Where entries are missing there is no root to compare, and nothing is established.
        ...(pin !== "none" && verdicts.authenticity.status === "notEstablished" ? ["not-established"] : []),
      ]),
  },
  {
    id: "verify",
    name: "full verify",
    title: ["full", "verify"],
    holds: "a pinned policy: all that verify checks, rules, erasures and derived data too",
    notices: (suspect) => ask(suspect, ({ findings }) => codesOf(findings)),
  },
  {
    id: "boot",
    name: "boot check",
    title: ["boot", "check"],
    holds: "the operator's own: a lock store on a second medium, the published copy, what the machine saw",
    changesSuspect: true,
    notices: askBoot,
  },
  {
    id: "rfc3161",
    name: "RFC 3161",
    title: ["RFC", "3161"],
    holds: "an authority's certificate: a time stamp in the ledger that holds under it",
    notices: (suspect) => askAnchors(suspect, "RFC 3161", { tsaRoots: [suspect.authority.certificate] }),
  },
  {
    id: "opentimestamps",
    name: "OpenTimestamps",
    title: ["Bitcoin", "stamp"],
    holds: "block headers: a proof in the ledger that leads into the chain of blocks",
    notices: (suspect) => askAnchors(suspect, "OpenTimestamps", { bitcoin: suspect.chain }),
  },
  {
    id: "receipt",
    name: "held receipt",
    title: ["held", "receipt"],
    holds: "a receipt in a client's hands, against the entry and the tree that are shown now",
    notices: askReceipt,
  },
  {
    id: "checkpoint",
    name: "held head",
    title: ["held", "head"],
    holds: "a checkpoint from a client's last visit, against the tree that is shown now",
    notices: (suspect) => answer(() => confirm(suspect, suspect.seen), { expectsLedger: true }),
  },
  {
    id: "package",
    name: "held package",
    title: ["held", "package"],
    holds: "an evidence package from that visit, verified: its entries and its head, against those shown now",
    notices: askPackage,
  },
  {
    id: "witness",
    name: "witness",
    title: ["", "witness"],
    holds: "a policy with a witness: its cosignature on what is shown, and what it saw last",
    notices: askWitness,
  },
  {
    id: "mirror",
    name: "mirror",
    title: ["", "mirror"],
    holds: "a copy in other hands: what it holds against what is shown, and what is published now",
    notices: askMirror,
  },
];

/** Bytes and links: what a hash chain alone can show. */
const CHAIN_CODES: ReadonlySet<FindingCode> = new Set([
  ...(["entry-malformed", "entry-missing", "index-mismatch", "previous-mismatch", "time-backwards"] as const),
  ...(["body-malformed", "body-missing", "commitment-mismatch"] as const),
]);

/** From the bodies up to the signature; nothing about the order that the links claim. */
const HEAD_CODES: ReadonlySet<FindingCode> = new Set([
  ...(["entry-malformed", "entry-missing", "body-malformed", "body-missing", "commitment-mismatch"] as const),
  ...(["checkpoint-beyond", "checkpoint-malformed", "checkpoint-root", "checkpoint-signature"] as const),
  ...(["genesis-malformed", "genesis-mismatch", "origin-mismatch"] as const),
]);

/** Takes codes from the report. A ledger that is gone shows nothing to look at: only who expected one can notice. */
function ask(suspect: Suspect, judge: (report: VerifyReport) => readonly string[]): Promise<Notice> {
  return answer(async () => judge(await suspect.report()), { expectsLedger: false });
}

/** The codes, or the one of the error: a ledger that cannot be read as one is noticed by whoever reads it. */
async function answer(look: () => Promise<readonly string[]>, reader: { expectsLedger: boolean }): Promise<Notice> {
  try {
    return noticeOf(await look());
  } catch (error) {
    if (!isTallystickError(error)) throw error;
    return error.code === "not-found" && !reader.expectsLedger ? { noticed: null, codes: [] } : noticeOf([error.code]);
  }
}

function noticeOf(codes: readonly string[]): Notice {
  return { noticed: codes.length > 0, codes: [...new Set(codes)].sort() };
}

function codesOf(findings: readonly Finding[]): string[] {
  return findings.map((finding) => finding.code);
}

function only(findings: readonly Finding[], codes: ReadonlySet<FindingCode>): string[] {
  return codesOf(findings.filter((finding) => codes.has(finding.code)));
}

/** Opens the ledger for writing. What is open signs what it has, so that nobody can be asked after this. */
async function askBoot(suspect: Suspect): Promise<Notice> {
  await suspect.close();
  const look = async (): Promise<readonly string[]> => {
    const ledger = await openVictim(suspect, { published: filesystemArchive(suspect.publishedPath) });
    const { appendProblem } = ledger;
    await ledger.close();
    return appendProblem === null ? [] : [appendProblem.code];
  };
  return answer(look, { expectsLedger: true });
}

/**
 * The entry of the receipt as the ledger shows it now, and the leaf of the receipt in the ledger's own tree. Whether that tree
 * is signed is a question for other evidence.
 */
function askReceipt(suspect: Suspect): Promise<Notice> {
  const receipt = parseReceipt(suspect.held.receipt);
  const { index } = receipt.entry;
  const look = async (): Promise<readonly string[]> => {
    const { storage } = await suspect.look();
    const [shown] = await storage.readEntries(index, index + 1);
    if (shown === undefined) return ["entry-missing"];
    if (shown.entry !== receipt.entryText) return ["other-entry"];
    if (contentOf(receipt) !== shownContent(shown, receipt)) return ["other-content"];
    const edge = await RightEdge.load(storage);
    verifyInclusion({
      index,
      leafHash: decodeHex(receipt.leafHash, { code: "malformed-entry" }),
      size: edge.size,
      proof: await proveInclusion(index, edge.size, edge.tileReader(storage)),
      root: await edge.root(storage),
    });
    return [];
  };
  return answer(look, { expectsLedger: true });
}

function contentOf({ content }: Receipt): string {
  return content.kind === "whole"
    ? `${content.salt} ${canonicalize(content.event)}`
    : canonicalize(content.disclosure.disclosed);
}

function shownContent(shown: StoredEntry, { content }: Receipt): string {
  return content.kind === "whole"
    ? `${encodeHex(shown.salts ?? new Uint8Array(0))} ${shown.body}`
    : canonicalize(discloseAll(shown).disclosed);
}

/**
 * A package that verifies, entry by entry against what the ledger shows now, and its head as any held one. One that does not verify
 * says nothing of the ledger: `verification-failed`.
 */
async function askPackage(suspect: Suspect): Promise<Notice> {
  const held = await openHeldPackage(suspect.heldPackage, suspect.policy);
  const look = async (): Promise<readonly string[]> => {
    const { storage } = await suspect.look();
    return [...(await compareEntries(held, storage)), ...(await confirm(suspect, held.checkpoint))];
  };
  return answer(look, { expectsLedger: true });
}

/**
 * `verify` with a checkpoint that it expects: it confirms that the history is that one, or it does not. Whoever pins no key has to take the
 * ledger's own, as nothing is confirmed without any.
 */
async function confirm(suspect: Suspect, expect: string): Promise<readonly string[]> {
  const allowSelfAsserted = suspect.policy === null;
  const { findings, verdicts } = await verifyShown(suspect, suspect.policy, { expect, allowSelfAsserted });
  if (verdicts.independence.status === "pass") return [];
  const said = codesOf(aboutExpected(findings));
  // No root of the shown tree can be computed where an entry is missing.
  return said.length > 0 ? said : ["not-established"];
}

function aboutExpected(findings: readonly Finding[]): Finding[] {
  return findings.filter(({ evidence }) => evidence === "the expected checkpoint");
}

/**
 * A reader whose policy asks for the witness, and who asks the witness itself too: a head that it cosigned and that fits the tree
 * that is shown, and the history of the last one that it saw.
 */
function askWitness(suspect: Suspect): Promise<Notice> {
  const look = async (): Promise<readonly string[]> => {
    const expect = await lastWitnessed(suspect);
    if (expect == null) return ["not-established"];
    const { witnessPolicy } = suspect;
    if (witnessPolicy === null) return confirm(suspect, expect);
    const { findings, requiredMissing } = await verifyShown(suspect, witnessPolicy, { expect });
    return [...codesOf(aboutExpected(findings)), ...(requiredMissing.length > 0 ? ["quorum-not-reached"] : [])];
  };
  return answer(look, { expectsLedger: true });
}

async function lastWitnessed(suspect: Suspect): Promise<string | null | undefined> {
  const { client, close } = openWitness({ ...suspect, policy: suspect.held.policy });
  try {
    return await client.latest(suspect.origin);
  } finally {
    close();
  }
}

/** Whoever runs the mirror compares the ledger that is shown with it, and lets it follow what is published. */
function askMirror(suspect: Suspect): Promise<Notice> {
  const look = async (): Promise<readonly string[]> => {
    const checkpoint = readFileSync(join(suspect.mirrorPath, CHECKPOINT_PATH), "utf8");
    const said = await answer(() => confirm(suspect, checkpoint), { expectsLedger: true });
    const followed = await answer(() => follow(suspect), { expectsLedger: true });
    return [...said.codes, ...followed.codes];
  };
  return answer(look, { expectsLedger: true });
}

/** `verify` by a reader who trusts one kind of those who tell the time, and asks for an anchor of that kind that holds. */
function askAnchors(
  suspect: Suspect,
  kind: string,
  trust: Pick<VerifyLedgerOptions, "tsaRoots" | "bitcoin">,
): Promise<Notice> {
  const look = async (): Promise<readonly string[]> => {
    const report = await verifyShown(suspect, suspect.policy, { ...trust, requireAnchor: true });
    const about = report.findings.filter(({ evidence }) => evidence?.startsWith(kind) === true);
    return [...codesOf(about), ...(report.requiredMissing.includes("anchor") ? ["anchor-required"] : [])];
  };
  return answer(look, { expectsLedger: false });
}

/** Nothing, or an error; what contradicts itself is evidence only if others can check it. */
async function follow(suspect: Suspect): Promise<readonly string[]> {
  try {
    await followVictim(suspect);
    return [];
  } catch (error) {
    const file = isTallystickError(error) ? error.details?.contradiction : undefined;
    if (typeof file === "string")
      await verifyContradiction(readFileSync(join(suspect.mirrorPath, file)), parsePolicy(suspect.held.policy));
    throw error;
  }
}
