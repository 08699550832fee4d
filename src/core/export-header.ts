import type { GenesisPayload } from "./control-event.ts";
import { bytesEqual, decodeHex } from "./encoding.ts";
import { type Entry, leafHashHex, parseEntry, ZERO_HASH_HEX } from "./entry.ts";
import { examineBody } from "./entry-body.ts";
import { isTallystickError } from "./errors.ts";
import type { ExportHeader } from "./export-format.ts";
import type { FindingList } from "./finding-list.ts";
import { genesisLogKeys } from "./ledger-state.ts";
import type { VerifierKey } from "./note.ts";
import { type Policy, type VerifiedCheckpoint, verifyCheckpoint } from "./policy.ts";
import { verifyInclusion } from "./proof.ts";
import type { Pin } from "./report.ts";

/** What the header of an export establishes: spec/export.md E4-E8. */
export interface ExaminedHeader {
  readonly header: ExportHeader;
  readonly pin: Pin;
  /** Pinned, or made of the keys that the evidence names; null: no signature is looked at. */
  readonly policy: Policy | null;
  /** Genesis that holds, under which hash and keys and rules mean something. */
  readonly genesis: GenesisPayload | null;
  /** The checkpoint, if the policy accepts it. */
  readonly accepted: VerifiedCheckpoint | null;
}

/** Checks a header; what is wrong is added to `findings`. */
export async function examineHeader(
  header: ExportHeader,
  trust: { readonly pinned: Policy | null; readonly allowSelfAsserted: boolean },
  findings: FindingList,
): Promise<ExaminedHeader> {
  const { head, origin } = header;
  if (origin !== head.origin) {
    findings.add("origin-mismatch", "the header names another origin than its checkpoint", {
      expected: head.origin,
      found: origin.slice(0, 255),
    });
  }
  const { genesis, problem } = genesisOf(header);
  const pin: Pin = trust.pinned !== null ? "policy" : trust.allowSelfAsserted ? "self-asserted" : "none";
  const policy = pin === "self-asserted" ? genesis && selfAssertedPolicy(genesis) : trust.pinned;
  const accepted = policy === null ? null : await accept(header, policy, findings);
  if (problem !== null) findings.add("genesis-malformed", `the genesis in the header ${problem}`, { index: 0 });
  checkGenesisPlace(header, policy, findings);
  return { header, pin, policy, genesis, accepted };
}

/** The genesis in the header if it is one, else what it is not. */
function genesisOf(header: ExportHeader): { readonly genesis: GenesisPayload | null; readonly problem: string | null } {
  const none = (problem: string) => ({ genesis: null, problem });
  const { genesis, head } = header;
  let entry: Entry;
  try {
    entry = parseEntry(genesis.entry);
  } catch (error) {
    if (!isTallystickError(error)) throw error;
    return none(`does not parse: ${error.message}`);
  }
  if (entry.index !== 0) return none(`has the index ${entry.index}`);
  if (entry.previous !== ZERO_HASH_HEX) return none("links to an entry before it");
  if (entry.scheme !== "control") return none(`has the scheme ${entry.scheme}`);
  const body = examineBody(entry, { kind: "whole", event: genesis.event, salt: genesis.salt });
  if (body.problems[0] !== undefined) return none(`does not hold: ${body.problems[0].error.message}`);
  if (body.control?.action !== "ledger.genesis") return none("is another event");
  const { payload } = body.control;
  if (payload.origin !== head.origin) return none("is of another origin than the checkpoint");
  if (payload.commitmentHash !== body.hash)
    return none(`commits with ${body.hash} and fixes ${payload.commitmentHash}`);
  if (genesisLogKeys(payload).length === 0) return none("names no usable log key");
  return { genesis: payload, problem: null };
}

/** As a reader would pin it who believes the genesis: its keys, and nobody else. Source: spec/verification.md 6. */
export function selfAssertedPolicy(genesis: GenesisPayload): Policy {
  const logKeys: VerifierKey[] = [];
  for (const key of genesisLogKeys(genesis)) {
    // Two keys with one name and key ID cannot be told apart in a note; the first counts.
    if (!logKeys.some((known) => known.keyId === key.keyId || bytesEqual(known.publicKey, key.publicKey)))
      logKeys.push(key);
  }
  return {
    origin: genesis.origin,
    logKeys,
    logUrls: logKeys.map(() => null),
    witnesses: [],
    groups: [],
    quorum: "none",
    operators: [],
    genesis: null,
    keyRanges: [],
    requireAll: [],
    authors: [],
    requireSignature: false,
  };
}

/** E5 */
async function accept(header: ExportHeader, policy: Policy, findings: FindingList): Promise<VerifiedCheckpoint | null> {
  try {
    return await verifyCheckpoint(header.checkpoint, policy);
  } catch (error) {
    if (!isTallystickError(error)) throw error;
    findings.add(error.code === "origin-mismatch" ? "origin-mismatch" : "checkpoint-signature", error.message, {
      evidence: `checkpoint of size ${header.head.size}`,
    });
    return null;
  }
}

/** E7 and E8, also for a genesis that is none: whatever stands there must be entry 0 of the tree. */
function checkGenesisPlace({ genesis, head }: ExportHeader, policy: Policy | null, findings: FindingList): void {
  const leaf = leafHashHex(genesis.entry);
  try {
    verifyInclusion({
      leafHash: decodeHex(leaf, { code: "malformed-entry" }),
      index: 0,
      size: head.size,
      proof: genesis.inclusion.map((hash) => decodeHex(hash, { code: "malformed-proof" })),
      root: head.root,
    });
  } catch (error) {
    if (!isTallystickError(error)) throw error;
    findings.add("proof-invalid", `genesis: ${error.message}`, {
      index: 0,
      evidence: `checkpoint of size ${head.size}`,
    });
  }
  const pinned = policy?.genesis ?? null;
  if (pinned !== null && pinned !== leaf) {
    findings.add("genesis-mismatch", "entry 0 is another one than the policy pins", {
      index: 0,
      expected: pinned,
      found: leaf,
      evidence: "pinned genesis",
    });
  }
}
