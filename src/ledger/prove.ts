import { canonicalize, compareNames, type JsonValue, parseCanonical } from "../core/canonical-json.ts";
import { parseCheckpoint } from "../core/checkpoint.ts";
import { type Disclosure, fieldDigest } from "../core/commitment.ts";
import { decodeHex, encodeHex } from "../core/encoding.ts";
import { leafHashHex, parseEntry } from "../core/entry.ts";
import { PolicyError, UnavailableError, VerificationError } from "../core/errors.ts";
import type { LedgerState } from "../core/ledger-state.ts";
import { SALT_BYTES } from "../core/limits.ts";
import { parseNote } from "../core/note.ts";
import { proveInclusion, verifyInclusion } from "../core/proof.ts";
import { formatReceipt } from "../core/receipt.ts";
import type { SubtreeMemo } from "../core/tile.ts";
import { formatTlogProof } from "../core/tlog-proof.ts";
import type { RightEdge } from "./right-edge.ts";
import type { LedgerStorage, StoredEntry } from "./storage.ts";
import { discloseAll } from "./stored-event.ts";

export interface ProofParts {
  readonly storage: LedgerStorage;
  readonly state: LedgerState;
  readonly edge: RightEdge;
  /** Note of a released checkpoint that covers the entry. */
  readonly checkpoint: string;
  /** Of this ledger. */
  readonly memo: SubtreeMemo;
}

/** C2SP `.tlog-proof` text of entry `index` under the checkpoint. Errors: `storage-corrupt` where what is stored proves nothing. */
export async function buildTlogProof(index: number, parts: ProofParts): Promise<string> {
  const [stored] = await parts.storage.readEntries(index, index + 1);
  if (stored === undefined) throw new RangeError(`prove: there is no entry ${index}`);
  return proofOf(stored, parts);
}

async function proofOf({ index, entry }: StoredEntry, parts: ProofParts): Promise<string> {
  const { edge, storage, checkpoint, memo } = parts;
  const { size, root } = parseCheckpoint(parseNote(checkpoint).text);
  const leafHash = decodeHex(leafHashHex(entry), { code: "malformed-entry" });
  try {
    const path = await proveInclusion(index, size, edge.tileReader(storage), memo);
    verifyInclusion({ leafHash, index, size, proof: path, root });
    return formatTlogProof({ index, path, checkpoint, extra: null });
  } catch (cause) {
    // What was remembered is what proofs led through; from a damaged tile it must not be used again.
    memo.clear();
    if (!(cause instanceof VerificationError)) throw cause;
    // A proof that leads elsewhere must not leave: its reader would take it for tampering with the receipt.
    const message = `the stored entry ${index} and tiles do not lead to the checkpoint of size ${size}; run verify, and reindex if it says so`;
    throw new UnavailableError("storage-corrupt", message, { cause, details: { index, size } });
  }
}

/** Receipt text of entry `index`. Errors: `not-disclosable` when its body was erased, or fields are asked of a whole-event commitment. */
export async function buildReceipt(
  index: number,
  parts: ProofParts & { readonly disclose: readonly string[] | undefined },
): Promise<string> {
  const [stored] = await parts.storage.readEntries(index, index + 1);
  if (stored === undefined) throw new RangeError(`prove: there is no entry ${index}`);
  const content = contentOf(stored, parts);
  const proof = await proofOf(stored, parts);
  return formatReceipt({ proof, entry: stored.entry, ...content });
}

function contentOf(
  stored: StoredEntry,
  parts: { readonly state: LedgerState; readonly disclose: readonly string[] | undefined },
): { readonly event: JsonValue; readonly salt: string } | Disclosure {
  const { scheme } = parseEntry(stored.entry);
  const { index } = stored;
  if (scheme !== "fields") {
    if (stored.body === null || stored.salts === null) throw erasedWhole(index, parts.state);
    if (parts.disclose !== undefined) {
      throw new PolicyError(
        "not-disclosable",
        `entry ${index} is committed as a whole (scheme ${scheme}): it is shown entirely or not at all. Single fields can be disclosed of entries appended in scheme fields (init --scheme fields, or append with { scheme: "fields" })`,
        { details: { index, scheme } },
      );
    }
    return { event: parseCanonical(stored.body), salt: encodeHex(stored.salts) };
  }
  return disclosureOf(stored, parts);
}

/** What an export or a receipt shows of an entry of scheme `fields`: the kept fields, or only those asked for. */
export function disclosureOf(
  stored: StoredEntry,
  parts: { readonly state: LedgerState; readonly disclose: readonly string[] | undefined },
): Disclosure {
  const all = discloseAll(stored);
  const names = [...Object.keys(all.disclosed), ...Object.keys(all.digests)].sort(compareNames);
  if (names.length === 0) throw erasedWhole(stored.index, parts.state);
  const wanted = new Set(parts.disclose ?? Object.keys(all.disclosed));
  for (const name of wanted) {
    if (!Object.hasOwn(all.disclosed, name)) {
      const why = Object.hasOwn(all.digests, name) ? "was erased" : `is none of its fields: ${names.join(", ")}`;
      throw new PolicyError("not-disclosable", `entry ${stored.index}: ${JSON.stringify(name)} ${why}`, {
        details: { index: stored.index, name },
      });
    }
  }
  const hash = parts.state.genesis.commitmentHash;
  const disclosed: Record<string, readonly [string, JsonValue]> = {};
  const digests: Record<string, string> = { ...all.digests };
  for (const [name, [salt, value]] of Object.entries(all.disclosed)) {
    if (wanted.has(name)) disclosed[name] = [salt, value];
    else
      digests[name] = fieldDigest(hash, decodeHex(salt, { sizeBytes: SALT_BYTES, code: "malformed-commitment" }), {
        name,
        value: canonicalize(value),
      });
  }
  return { names, disclosed, digests };
}

function erasedWhole(index: number, state: LedgerState): PolicyError {
  const by = state.erasures.get(index)?.wholeBy;
  return new PolicyError(
    "not-disclosable",
    `the body of entry ${index} was erased${by == null ? "" : ` by entry ${by}`}; its inclusion alone can be proved with a .tlog-proof`,
    { details: { index } },
  );
}
