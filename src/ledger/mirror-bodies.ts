import { bytesEqual, decodeUtf8 } from "../core/encoding.ts";
import type { ErasureClaim } from "../core/erasure.ts";
import { ConflictError, isTallystickError, UnavailableError, VerificationError } from "../core/errors.ts";
import { TILE_WIDTH } from "../core/limits.ts";
import {
  BODIES_BYTES_MAX,
  BODIES_MARK,
  BODIES_MARK_PATH,
  bodiesPath,
  type CheckedBody,
  checkBody,
  decodeBodies,
  encodeBodies,
  eraseFromBody,
} from "../core/published-bodies.ts";
import { LEDGER_BUNDLE_BYTES_MAX, readBundle } from "../core/published-tiles.ts";
import type { Archive, ArchiveReader } from "./archive.ts";
import { type BodiesPresent, bodyBlocks, tooLarge } from "./publish-bodies.ts";

export interface BodiesMirror {
  readonly source: ArchiveReader;
  /** Has the bundles of all entries already, each checked against the signed root. */
  readonly target: Archive;
  /** Size that was mirrored before; 0 for nothing. */
  readonly before: number;
  readonly size: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Follows the bodies of a published ledger: each new one is checked against its entry before it is kept, and what an erasure in them
 * names goes from the old ones too, whether the source let it go or not. The bodies here only grow or lose what was erased, by
 * compare-and-swap. Returns the number of objects. Errors: `not-found` where the source has none, `verification-failed` for a body
 * that is not the one of its entry, `lock-moved` when another mirror is ahead, `malformed-*`.
 */
export async function mirrorBodies(parts: BodiesMirror, present: BodiesPresent): Promise<number> {
  const { target } = parts;
  if (present === "none") await target.put(BODIES_MARK_PATH, BODIES_MARK);
  let objects = present === "none" ? 1 : 0;
  /** By the index of the entry that is named. The last blocks come first, so those of later entries are known. */
  const claims = new Map<number, ErasureClaim[]>();
  const fresh = bodyBlocks(parts, present, []);
  const write = async (block: number): Promise<void> => {
    objects += await writeBlock(parts, { block, claims, fresh: await readFresh(parts, block, claims) });
  };
  for (const block of fresh) if (block > 0) await write(block);
  const old = new Set([...claims.keys()].map((index) => Math.floor(index / TILE_WIDTH)));
  for (const block of fresh) old.delete(block);
  for (const block of old) objects += await writeBlock(parts, { block, claims, fresh: [] });
  // The first block says that all the others are there.
  if (fresh.includes(0)) await write(0);
  return objects;
}

/** Bodies of a block as the source shows them, checked; what they erase is added to `claims`. */
async function readFresh(
  parts: BodiesMirror,
  block: number,
  claims: Map<number, ErasureClaim[]>,
): Promise<readonly string[]> {
  const { source, size, signal } = parts;
  signal?.throwIfAborted();
  const path = bodiesPath(block);
  const bytes = await source.get(path, { bytesMax: BODIES_BYTES_MAX, signal });
  if (bytes === undefined)
    throw new UnavailableError("not-found", `${source.location}: ${path} is not published`, { details: { path } });
  const entries = await entriesOf(parts, block);
  const lines = decodeBodies(bytes, path).slice(0, entries.length);
  if (lines.length < entries.length)
    throw new UnavailableError("not-found", `${source.location}: ${path} lacks the bodies of the last entries`, {
      details: { path },
    });
  const checked = lines.map((body, i) => checkedBody(entries[i] as string, body, source));
  for (const { erases } of checked)
    for (const claim of erases) claims.set(claim.index, [...(claims.get(claim.index) ?? []), claim]);
  for (const { line } of checked) requireErased(line, { claims, size, location: source.location });
  return lines;
}

function checkedBody(entry: string, body: string, source: ArchiveReader): CheckedBody {
  try {
    return checkBody(entry, body);
  } catch (error) {
    if (!isTallystickError(error)) throw error;
    throw new VerificationError("verification-failed", `${source.location}: ${error.message}`, {
      cause: error,
      details: { ...error.details },
    });
  }
}

/** A body that is missing was erased by the entry that its line names, unless that one is not published yet. */
function requireErased(
  { entry, content }: CheckedBody["line"],
  known: {
    readonly claims: ReadonlyMap<number, readonly ErasureClaim[]>;
    readonly size: number;
    readonly location: string;
  },
): void {
  if (content.kind !== "erased" || content.erasedBy >= known.size) return;
  const isNamed = known.claims.get(entry.index)?.some(({ by, fields }) => by === content.erasedBy && fields === null);
  if (isNamed === true) return;
  const message = `${known.location}: the body of entry ${entry.index} is missing, and entry ${content.erasedBy} does not erase it`;
  throw new VerificationError("verification-failed", message, {
    details: { index: entry.index, findings: [{ code: "body-missing", index: entry.index, message }] },
  });
}

async function writeBlock(
  { target, size }: BodiesMirror,
  {
    block,
    claims,
    fresh,
  }: {
    readonly block: number;
    readonly claims: ReadonlyMap<number, readonly ErasureClaim[]>;
    readonly fresh: readonly string[];
  },
): Promise<number> {
  const path = bodiesPath(block);
  const present = await target.get(path, { bytesMax: BODIES_BYTES_MAX });
  const kept = present === undefined ? [] : decodeBodies(present, path);
  const entries = await entriesOf({ target, size }, block);
  // Another mirror of this folder has more than is known here.
  if (kept.length > entries.length) throw moved(target, path);
  const lines = [...kept, ...fresh.slice(kept.length)].map((body, i) => {
    const named = claims.get(block * TILE_WIDTH + i);
    return named === undefined ? body : eraseFromBody(entries[i] as string, body, named);
  });
  const bytes = encodeBodies(lines);
  if (bytes.length > BODIES_BYTES_MAX) throw tooLarge(path, bytes.length);
  if (present !== undefined && bytesEqual(present, bytes)) return 0;
  await target.replace(path, present ?? null, bytes);
  return 1;
}

/** Entry texts of a block, as far as they are mirrored. */
async function entriesOf({ target, size }: Pick<BodiesMirror, "target" | "size">, block: number): Promise<string[]> {
  const count = Math.min(TILE_WIDTH, size - block * TILE_WIDTH);
  const objects = (path: string, bytesMax: number): Promise<Uint8Array | undefined> => target.get(path, { bytesMax });
  const entries = await readBundle(objects, { index: block, count }, LEDGER_BUNDLE_BYTES_MAX);
  if (entries === undefined)
    throw new UnavailableError("storage-corrupt", `${target.location}: a mirrored entry bundle is gone`);
  return entries.map((entry) => decodeUtf8(entry, "malformed-entry"));
}

function moved(target: Archive, path: string): ConflictError {
  return new ConflictError("lock-moved", `${target.location}: another mirror is ahead at ${path}`, {
    details: { path },
  });
}
