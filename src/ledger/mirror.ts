import type { Checkpoint } from "../core/checkpoint.ts";
import { type Contradiction, formatContradiction } from "../core/contradiction.ts";
import { bytesEqual, decodeUtf8, encodeHex, encodeUtf8 } from "../core/encoding.ts";
import { CHAIN_START, EntryChain } from "../core/entry-chain.ts";
import { isTallystickError, PolicyError, UnavailableError, VerificationError } from "../core/errors.ts";
import { sha256Hex } from "../core/hash.ts";
import { NOTE_BYTES_MAX, TILE_WIDTH } from "../core/limits.ts";
import { TREE_HASH_BYTES } from "../core/merkle.ts";
import { parseNote } from "../core/note.ts";
import { type Policy, type VerifiedCheckpoint, verifyCheckpoint } from "../core/policy.ts";
import { proveConsistency, treeHash } from "../core/proof.ts";
import {
  AuthenticTiles,
  BUNDLE_BYTES_MAX,
  type EntryBlock,
  LEDGER_BUNDLE_BYTES_MAX,
  type ObjectReader,
  readBlock,
  readBundle,
  tileReaderOf,
} from "../core/published-tiles.ts";
import type { Finding } from "../core/report.ts";
import { latestTimeFor } from "../core/verify-published.ts";
import type { Archive, ArchiveReader } from "./archive.ts";
import { copyTree } from "./copy-tree.ts";
import { mirrorBodies } from "./mirror-bodies.ts";
import { adds, CHECKPOINT_PATH } from "./publish.ts";
import { bodiesIn } from "./publish-bodies.ts";

export interface MirrorParts {
  readonly source: ArchiveReader;
  readonly target: Archive;
  /** Whose log it is, and how many witnesses must have cosigned. */
  readonly policy: Policy;
  /** A checkpoint of the log that was seen elsewhere: its history must be in the source too. */
  readonly lastSeen?: string | undefined;
  /** `any`: entries of another kind of log, of which only the tree is checked. Default: `ledger`. */
  readonly entries?: "ledger" | "any";
  /** Mirror the bodies too, from now on. Left out: as in the target. */
  readonly bodies?: true | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Called with how many entries of how many are mirrored. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

export interface Mirrored {
  readonly origin: string;
  readonly size: number;
  /** Size that was mirrored before; 0 for nothing. */
  readonly before: number;
  /** Objects written now, the checkpoint not counted. */
  readonly objects: number;
  /** The mirrored checkpoint. */
  readonly note: string;
  /** Whether the bodies are mirrored too. */
  readonly bodies: boolean;
}

interface Seen {
  readonly note: string;
  readonly checkpoint: Checkpoint;
}

/** Another mirror of the same folder may be faster; not this often. */
const TRIES_MAX = 8;

/**
 * Follows a published log into an archive: its checkpoint under the policy, its consistency with what was mirrored before, and every new
 * tile and entry against the signed root, all before anything is written; the checkpoint is written last. What is mirrored is never
 * overwritten, and an interrupted run is completed by the next. Errors: `rolled-back` for a smaller checkpoint and `forked` for
 * another history, both with `details.held`, `details.shown` and, in the target, the file `details.contradiction` that shows it
 * (`verifyContradiction`); `quorum-not-reached`; `proof-invalid` for an object that is not of the signed tree, `verification-failed` for entries
 * that the log should never have signed (`details.findings`); those of `verifyCheckpoint`; `not-found` where nothing is published;
 * `already-exists` where the target was tampered with; `malformed-*`, `storage-*`.
 */
export async function mirrorLedger(parts: MirrorParts): Promise<Mirrored> {
  for (let tries = 1; ; tries++) {
    try {
      return await mirrorOnce(parts);
    } catch (error) {
      if (!isTallystickError(error) || error.code !== "lock-moved" || tries >= TRIES_MAX) throw error;
    }
  }
}

async function mirrorOnce(parts: MirrorParts): Promise<Mirrored> {
  const { source, target, policy, signal } = parts;
  const bytes = await source.get(CHECKPOINT_PATH, { bytesMax: NOTE_BYTES_MAX, signal });
  if (bytes === undefined)
    throw new UnavailableError("not-found", `no checkpoint is published at ${source.location}`, {
      details: { location: source.location },
    });
  const note = decodeUtf8(bytes, "malformed-note");
  const verified = await verifyCheckpoint(note, policy);
  if (!verified.quorum) throw quorumMissing(source, policy, verified);
  const shown = { note, checkpoint: verified.checkpoint };
  const mirrored = await readMirrored(parts);
  const { size, root, origin } = shown.checkpoint;
  const held = [mirrored, await seenElsewhere(parts)].filter((seen) => seen !== null);
  // What needs no tile of the source is asked first: a rollback is told also where the source serves nothing else.
  for (const seen of held) if (seen.checkpoint.size >= size) await requireNewer(parts, seen, shown);
  const tiles = await AuthenticTiles.open({
    size,
    root,
    read: tileReaderOf(objectsOf(parts, source)),
    location: source.location,
  });
  for (const seen of held) if (seen.checkpoint.size < size) await requireContinued(parts, seen, shown, tiles);
  const before = mirrored?.checkpoint.size ?? 0;
  let objects = before < size ? await copyEntries(parts, { tiles, before, verified }) : 0;
  const present = await bodiesIn(target);
  const bodies = parts.bodies === true || present !== "none";
  if (bodies && parts.entries === "any") throw new TypeError("mirror: only a ledger of this kind has bodies");
  if (bodies && (before < size || present !== "whole"))
    objects += await mirrorBodies({ source, target, before, size, signal }, present);
  const isNews = mirrored === null || before < size || adds(verified.note, parseNote(mirrored.note));
  if (isNews) await target.replace(CHECKPOINT_PATH, mirrored === null ? null : encodeUtf8(mirrored.note), bytes);
  return { origin, size, before, objects, bodies, note: isNews ? note : (mirrored?.note ?? note) };
}

function quorumMissing(
  source: ArchiveReader,
  policy: Policy,
  { checkpoint, witnesses }: VerifiedCheckpoint,
): PolicyError {
  const reached = witnesses.map(({ name }) => name);
  const who = reached.length === 0 ? "no witness" : `only ${reached.join(", ")}`;
  return new PolicyError(
    "quorum-not-reached",
    `${source.location}: the checkpoint of size ${checkpoint.size} was cosigned by ${who}; the policy asks for ${policy.quorum}`,
    { details: { size: checkpoint.size, reached } },
  );
}

/** The checkpoint that was mirrored before; null at the first time. */
async function readMirrored({ target, policy }: MirrorParts): Promise<Seen | null> {
  const bytes = await target.get(CHECKPOINT_PATH, { bytesMax: NOTE_BYTES_MAX });
  if (bytes === undefined) return null;
  try {
    const note = decodeUtf8(bytes, "malformed-note");
    return { note, checkpoint: (await verifyCheckpoint(note, policy)).checkpoint };
  } catch (error) {
    if (!isTallystickError(error)) throw error;
    throw new VerificationError(
      "verification-failed",
      `${target.location}: the checkpoint mirrored before does not hold under the policy: ${error.message}. After a rotation of keys, the policy names the old key and its sizes`,
      { cause: error, details: { location: target.location } },
    );
  }
}

async function seenElsewhere({ lastSeen, policy }: MirrorParts): Promise<Seen | null> {
  if (lastSeen === undefined) return null;
  return { note: lastSeen, checkpoint: (await verifyCheckpoint(lastSeen, policy)).checkpoint };
}

/** A checkpoint of the size that is held must be the same; a smaller one is a rollback, or worse. */
async function requireNewer(parts: MirrorParts, held: Seen, shown: Seen): Promise<void> {
  const { source } = parts;
  const { size, root } = shown.checkpoint;
  if (held.checkpoint.size === size) {
    if (bytesEqual(held.checkpoint.root, root)) return;
    throw await contradiction(parts, { kind: "forked", held: held.note, shown: shown.note }, [
      `${source.location} shows another history of size ${size} than was seen before`,
      { size, expected: encodeHex(held.checkpoint.root), found: encodeHex(root) },
    ]);
  }
  const other = await rootInMirror(parts, held, size);
  if (other !== null && !bytesEqual(other.root, root)) {
    throw await contradiction(parts, { kind: "forked", held: held.note, shown: shown.note, other }, [
      `${source.location} shows another history of size ${size} than the one that was seen up to size ${held.checkpoint.size}`,
      { size, expected: encodeHex(other.root), found: encodeHex(root) },
    ]);
  }
  throw await contradiction(parts, { kind: "rolled-back", held: held.note, shown: shown.note }, [
    `${source.location} shows size ${size}, but size ${held.checkpoint.size} was seen before: it was rolled back`,
    { expected: held.checkpoint.size, found: size, what: "published" },
  ]);
}

async function requireContinued(parts: MirrorParts, held: Seen, shown: Seen, tiles: AuthenticTiles): Promise<void> {
  const { size, root } = held.checkpoint;
  const found = await treeHash(size, tiles.read);
  if (bytesEqual(found, root)) return;
  const other = { root: found, proof: await proveConsistency(size, tiles.size, tiles.read) };
  throw await contradiction(parts, { kind: "forked", held: held.note, shown: shown.note, other }, [
    `${parts.source.location} shows a tree of size ${tiles.size} that does not continue the history that was seen up to size ${size}`,
    { size, expected: encodeHex(root), found: encodeHex(found) },
  ]);
}

/** Root at `size` of the tree that is mirrored, with its proof; null where it cannot be told from the mirror. */
async function rootInMirror(
  parts: MirrorParts,
  held: Seen,
  size: number,
): Promise<NonNullable<Contradiction["other"]> | null> {
  const { target } = parts;
  try {
    const read = tileReaderOf(objectsOf(parts, target));
    const tiles = await AuthenticTiles.open({ size: held.checkpoint.size, root: held.checkpoint.root, read });
    const root = await treeHash(size, tiles.read);
    return { root, proof: await proveConsistency(size, tiles.size, tiles.read) };
  } catch (error) {
    // Seen elsewhere and not mirrored, or damaged here: the rollback itself is told all the same.
    if (!isTallystickError(error)) throw error;
    return null;
  }
}

/** Keeps the evidence in the mirror, and gives the error that tells of it. */
async function contradiction(
  { target, source }: MirrorParts,
  evidence: Contradiction,
  [message, details]: readonly [message: string, details: Readonly<Record<string, unknown>>],
): Promise<VerificationError> {
  const { kind, held, shown } = evidence;
  const text = formatContradiction(evidence);
  const path = `evidence/${kind}-${sha256Hex(text).slice(0, 16)}.json`;
  const facts = { ...details, held, shown, location: source.location };
  try {
    await target.put(path, encodeUtf8(text));
  } catch (cause) {
    if (!isTallystickError(cause)) throw cause;
    // What was found out matters more than where it could not be kept.
    const lost = `${message}. The evidence could not be written (${cause.message})`;
    return new VerificationError(kind, lost, { cause, details: { ...facts, contradiction: null } });
  }
  return new VerificationError(kind, `${message}. Both signed checkpoints are in ${target.location}/${path}`, {
    details: { ...facts, contradiction: path },
  });
}

/** An object reader on an archive, with the bound of the entries that are expected. */
function objectsOf({ entries, signal }: MirrorParts, archive: ArchiveReader): ObjectReader {
  const largest = entries === "any" ? BUNDLE_BYTES_MAX : LEDGER_BUNDLE_BYTES_MAX;
  return (path, bytesMax) => archive.get(path, { bytesMax: Math.min(bytesMax, largest), signal });
}

async function copyEntries(
  parts: MirrorParts,
  known: { readonly tiles: AuthenticTiles; readonly before: number; readonly verified: VerifiedCheckpoint },
): Promise<number> {
  const { source, target, signal, onProgress } = parts;
  const { tiles, before } = known;
  const objects = objectsOf(parts, source);
  const chain = parts.entries === "any" ? null : await chainFrom(parts, known);
  return copyTree({
    archive: target,
    tiles,
    before,
    location: source.location,
    signal,
    bundle: (place) => readBundle(objects, place),
    onBlock(block) {
      if (chain !== null) addBlock(chain, block);
      if (chain !== null && block.first + block.count === tiles.size) checkEnd(parts, chain, known.verified);
      onProgress?.(block.first + block.count, tiles.size);
    },
  });
}

/** The chain before the first new block, from the last entry of the mirrored one before it. */
async function chainFrom(
  parts: MirrorParts,
  { tiles, before }: { readonly tiles: AuthenticTiles; readonly before: number },
): Promise<EntryChain> {
  const { policy, target } = parts;
  const refuse = (findings: readonly Finding[]): never => {
    const [first] = findings;
    throw new VerificationError("verification-failed", `${parts.source.location}: ${first?.message}`, {
      details: { findings },
    });
  };
  const block = Math.floor(before / TILE_WIDTH);
  if (block === 0) {
    const genesis = encodeHex((await tiles.tile(0, 0)).subarray(0, TREE_HASH_BYTES));
    if (policy.genesis !== null && policy.genesis !== genesis) {
      const message = "the ledger begins with another genesis entry than the policy pins";
      refuse([{ code: "genesis-mismatch", index: 0, expected: policy.genesis, found: genesis, message }]);
    }
    return new EntryChain((code, message, more) => refuse([{ code, message, ...more }]));
  }
  const objects = objectsOf(parts, target);
  const last = await readBlock(
    { index: block - 1, count: TILE_WIDTH },
    { tiles, bundle: (place) => readBundle(objects, place), location: target.location },
  );
  // Only what its end says is of interest: the block itself was checked when it was mirrored.
  const mirrored = new EntryChain(() => {}, { ...CHAIN_START, leaf: null });
  addBlock(mirrored, last);
  return new EntryChain((code, message, more) => refuse([{ code, message, ...more }]), mirrored.link);
}

function addBlock(chain: EntryChain, { first, entries, hashes }: EntryBlock): void {
  for (const [i, entry] of entries.entries())
    chain.add(first + i, entry, hashes.subarray(i * TREE_HASH_BYTES, (i + 1) * TREE_HASH_BYTES));
}

/** Times never go back, so the last entry has the latest. */
function checkEnd(parts: MirrorParts, chain: EntryChain, { checkpoint, witnessTime }: VerifiedCheckpoint): void {
  const limit = witnessTime === null ? null : latestTimeFor(witnessTime);
  const { time } = chain.link;
  if (limit === null || time === null || time <= limit) return;
  const index = checkpoint.size - 1;
  const message = `entry ${index} claims a time after witnesses had seen it`;
  throw new VerificationError("verification-failed", `${parts.source.location}: ${message}`, {
    details: { findings: [{ code: "time-after-evidence", index, expected: limit, found: time, message }] },
  });
}
