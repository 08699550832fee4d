import { parseCheckpoint } from "../core/checkpoint.ts";
import { bytesEqual, decodeUtf8, encodeHex, encodeUtf8 } from "../core/encoding.ts";
import { FatalError, isTallystickError, VerificationError } from "../core/errors.ts";
import type { LedgerState } from "../core/ledger-state.ts";
import { NOTE_BYTES_MAX, TILE_WIDTH } from "../core/limits.ts";
import { parseNote, verifyNote } from "../core/note.ts";
import { bundlePath, encodeBundle, tilePath } from "../core/tile.ts";
import type { Archive } from "./archive.ts";
import type { RightEdge } from "./right-edge.ts";
import type { LedgerStorage } from "./storage.ts";

export interface PublishParts {
  readonly storage: LedgerStorage;
  readonly state: LedgerState;
  readonly edge: RightEdge;
  readonly archive: Archive;
  /** Released checkpoint, with the witnesses' lines where there are any. */
  readonly note: string;
}

export interface Published {
  readonly size: number;
  /** Size that was published before; 0 for nothing. */
  readonly before: number;
  /** Objects written now. */
  readonly objects: number;
}

/** Objects written at once: enough to hide the sync of each, few enough for any disk. */
const WRITES_AT_ONCE = 16;

/**
 * Publishes the tree of `note` as a C2SP tlog-tiles folder: new entry bundles and tiles first, each immutable, then the checkpoint by
 * compare-and-swap. A crash in between leaves objects that the next run writes again with the same bytes; readers see the old
 * checkpoint until all that the new one needs is there. Errors: `rolled-back` and `forked` when what is published already
 * is not a prefix of this ledger, `already-exists` when an object there has other bytes.
 */
export async function publishLedger(parts: PublishParts): Promise<Published> {
  const { archive, note } = parts;
  const { size } = parseCheckpoint(parseNote(note).text);
  for (;;) {
    const present = await archive.get("checkpoint", { bytesMax: NOTE_BYTES_MAX });
    const before = present === undefined ? 0 : await requirePrefix(parts, present);
    if (before > size) return { size: before, before, objects: 0 };
    const objects = await writeObjects(parts, before, size);
    const bytes = encodeUtf8(note);
    if (present !== undefined && bytesEqual(present, bytes)) return { size, before, objects };
    try {
      await archive.replace("checkpoint", present ?? null, bytes);
    } catch (error) {
      if (isTallystickError(error) && error.code === "lock-moved") continue;
      throw error;
    }
    await deleteOldPartials(parts, before, size);
    return { size, before, objects };
  }
}

/** Size of the published checkpoint, once it is known to be one of this ledger's own. */
async function requirePrefix(parts: PublishParts, present: Uint8Array): Promise<number> {
  const { state, edge, storage, archive } = parts;
  const published = decodeUtf8(present, "malformed-note");
  const parsed = parseNote(published);
  const checkpoint = parseCheckpoint(parsed.text);
  const evidence = { details: { published, own: parts.note, where: archive.location } };
  if (checkpoint.origin !== state.genesis.origin) {
    throw new VerificationError("forked", `${archive.location} holds another ledger: ${checkpoint.origin}`, evidence);
  }
  if (checkpoint.size > edge.size) {
    throw new VerificationError(
      "rolled-back",
      `size ${checkpoint.size} is published at ${archive.location}, but the ledger has ${edge.size} entries`,
      evidence,
    );
  }
  await verifyNote(
    parsed,
    state.logKeys.map((known) => known.key),
  );
  const root = await edge.root(storage, checkpoint.size);
  if (!bytesEqual(root, checkpoint.root)) {
    const heads = { expected: encodeHex(checkpoint.root), found: encodeHex(root) };
    throw new VerificationError(
      "forked",
      `another history of size ${checkpoint.size} is published at ${archive.location}`,
      { details: { ...evidence.details, ...heads } },
    );
  }
  return checkpoint.size;
}

async function writeObjects(parts: PublishParts, before: number, size: number): Promise<number> {
  const { storage, archive } = parts;
  const writes = new Set<Promise<void>>();
  let failure: unknown = null;
  let objects = 0;
  const put = async (path: string, bytes: Uint8Array): Promise<void> => {
    const write: Promise<void> = archive.put(path, bytes).then(
      () => void writes.delete(write),
      (error: unknown) => {
        writes.delete(write);
        failure ??= error;
      },
    );
    writes.add(write);
    objects += 1;
    if (writes.size >= WRITES_AT_ONCE) await Promise.race(writes);
    if (failure !== null) throw failure;
  };
  try {
    for (let block = Math.floor(before / TILE_WIDTH); block * TILE_WIDTH < size; block++) {
      const first = block * TILE_WIDTH;
      const end = Math.min(size, first + TILE_WIDTH);
      if (end === before) break;
      const entries = await storage.readEntries(first, end);
      if (entries.length !== end - first)
        throw new FatalError("invariant-broken", `entries between ${first} and ${end - 1} are missing; run verify`);
      await put(bundlePath(block, end - first), encodeBundle(entries.map(({ entry }) => encodeUtf8(entry))));
    }
    for (const { level, index, width } of newTiles(before, size)) {
      await put(tilePath(level, index, width), await parts.edge.tileReader(storage)(level, index, width));
    }
  } finally {
    await Promise.all(writes);
  }
  if (failure !== null) throw failure;
  return objects;
}

/** Full and partial tiles that a tree of `size` has and one of `before` had not. */
function* newTiles(
  before: number,
  size: number,
): Generator<{ readonly level: number; readonly index: number; readonly width: number }> {
  let old = before;
  let now = size;
  for (let level = 0; now > 0; level++) {
    if (now !== old) {
      for (let index = Math.floor(old / TILE_WIDTH); index * TILE_WIDTH < now; index++) {
        yield { level, index, width: Math.min(TILE_WIDTH, now - index * TILE_WIDTH) };
      }
    }
    old = Math.floor(old / TILE_WIDTH);
    now = Math.floor(now / TILE_WIDTH);
  }
}

/** Partial tiles may go once the full one is there; the checkpoint that needed them has been replaced. */
async function deleteOldPartials({ archive }: PublishParts, before: number, size: number): Promise<void> {
  let old = before;
  let now = size;
  for (let level = 0; old > 0; level++) {
    const index = Math.floor(old / TILE_WIDTH);
    if (old % TILE_WIDTH > 0 && now >= (index + 1) * TILE_WIDTH) {
      await archive.deletePartials(tilePath(level, index));
      if (level === 0) await archive.deletePartials(bundlePath(index));
    }
    old = Math.floor(old / TILE_WIDTH);
    now = Math.floor(now / TILE_WIDTH);
  }
}
