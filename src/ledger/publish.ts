import { type Checkpoint, parseCheckpoint } from "../core/checkpoint.ts";
import { bytesEqual, decodeUtf8, encodeHex, encodeUtf8 } from "../core/encoding.ts";
import { FatalError, isTallystickError, VerificationError } from "../core/errors.ts";
import type { LedgerState } from "../core/ledger-state.ts";
import { NOTE_BYTES_MAX, TILE_WIDTH } from "../core/limits.ts";
import { parseNote, type SignedNote, verifyNote } from "../core/note.ts";
import { AuthenticTiles, type BundlePlace } from "../core/published-tiles.ts";
import type { Archive } from "./archive.ts";
import { copyTree } from "./copy-tree.ts";
import { bodiesIn, publishBodies } from "./publish-bodies.ts";
import { RightEdge } from "./right-edge.ts";
import type { LedgerStorage } from "./storage.ts";

/** Where the checkpoint of a published ledger lies. C2SP tlog-tiles. */
export const CHECKPOINT_PATH = "checkpoint";

export interface PublishParts {
  readonly storage: LedgerStorage;
  readonly state: LedgerState;
  readonly edge: RightEdge;
  readonly archive: Archive;
  /** Released checkpoint, with the witnesses' lines where there are any. */
  readonly note: string;
  /** Publish the bodies too, from now on. Left out: as in the archive. */
  readonly bodies?: true | undefined;
  /** Awaited now and then: holds up what can wait. */
  readonly pause?: (() => Promise<void>) | undefined;
}

export interface Published {
  readonly size: number;
  /** Size that was published before; 0 for nothing. */
  readonly before: number;
  /** Objects written now, the checkpoint not counted. */
  readonly objects: number;
  /** Whether the bodies are published too. */
  readonly bodies: boolean;
}

/**
 * Publishes the tree of `note` as a C2SP tlog-tiles folder: entry bundles and tiles first, each immutable and checked against the signed
 * root before it is written, then the checkpoint by compare-and-swap. Until then readers see the old checkpoint, with all that it
 * needs; a run that is interrupted anywhere is completed by the next. A published checkpoint never gets smaller. An archive that has
 * bodies goes on having them, and whatever was erased goes from it before the checkpoint that covers the erasure. Errors:
 * `rolled-back` and `forked`, with both notes in `details`, when what is published is not a prefix of this ledger;
 * `signature-missing` when it is signed by none of its keys; `already-exists` when an object there has other bytes;
 * `invariant-broken` when the ledger's own tiles or entries are not those that it signed.
 */
export async function publishLedger(parts: PublishParts): Promise<Published> {
  const { archive, storage } = parts;
  const note = parseNote(parts.note);
  const head = parseCheckpoint(note.text);
  const { size } = head;
  for (;;) {
    // Another process may be ahead of this one.
    const edge = parts.edge.size >= size ? parts.edge : await RightEdge.load(storage);
    const shown = await archive.get(CHECKPOINT_PATH, { bytesMax: NOTE_BYTES_MAX });
    const published = shown === undefined ? null : parseNote(decodeUtf8(shown, "malformed-note"));
    const before = published === null ? 0 : await requirePrefix({ ...parts, edge }, published);
    const present = await bodiesIn(archive);
    const bodies = parts.bodies === true || present !== "none";
    if (before > size) return { size: before, before, objects: 0, bodies };
    let objects = before === size ? 0 : await copyOwnTree({ ...parts, edge }, head, before);
    if (bodies && (before < size || present !== "whole"))
      objects += await publishBodies({ archive, storage, state: parts.state, before, size }, present);
    if (published !== null && before === size && !adds(note, published)) return { size, before, objects, bodies };
    try {
      await archive.replace(CHECKPOINT_PATH, shown ?? null, encodeUtf8(parts.note));
    } catch (error) {
      if (isTallystickError(error) && error.code === "lock-moved") continue;
      throw error;
    }
    return { size, before, objects, bodies };
  }
}

/** Whether a note of the same checkpoint has signature lines that the other one lacks. */
export function adds(note: SignedNote, known: SignedNote): boolean {
  const lines = new Set(known.signatures.map(({ line }) => line));
  return note.signatures.some(({ line }) => !lines.has(line));
}

async function copyOwnTree(parts: PublishParts, head: Checkpoint, before: number): Promise<number> {
  const { archive, storage, edge } = parts;
  const bundle = async ({ index, count }: BundlePlace): Promise<Uint8Array[]> => {
    const first = index * TILE_WIDTH;
    return (await storage.readEntryTexts(first, first + count)).map(encodeUtf8);
  };
  try {
    const tiles = await AuthenticTiles.open({ size: head.size, root: head.root, read: edge.tileReader(storage) });
    return await copyTree({ archive, tiles, before, bundle, pause: parts.pause });
  } catch (error) {
    if (!isTallystickError(error) || (error.code !== "proof-invalid" && error.code !== "malformed-tile")) throw error;
    const message = `the store does not hold what was signed at size ${head.size}: ${error.message}; not publishing, run verify`;
    throw new FatalError("invariant-broken", message, { cause: error, details: { ...error.details } });
  }
}

/** Size of the published checkpoint, once it is known to be one of this ledger's own. */
async function requirePrefix(parts: PublishParts, note: SignedNote): Promise<number> {
  const { state, storage, archive } = parts;
  const published = parseCheckpoint(note.text);
  const lines = note.signatures.map(({ line }) => line).join("");
  const evidence = { published: `${note.text}\n${lines}`, own: parts.note, where: archive.location };
  const { origin } = state.genesis;
  if (published.origin !== origin) {
    throw new VerificationError("forked", `${archive.location} holds another ledger: ${published.origin}`, {
      details: { ...evidence, expected: origin, found: published.origin },
    });
  }
  await requireOwnSignature(parts, note, evidence);
  // What others appended and published meanwhile is no rollback.
  const edge = published.size > parts.edge.size ? await RightEdge.load(storage) : parts.edge;
  if (published.size > edge.size) {
    throw new VerificationError(
      "rolled-back",
      `size ${published.size} is published at ${archive.location}, but the ledger has ${edge.size} entries`,
      { details: { ...evidence, expected: published.size, found: edge.size, what: "ledger" } },
    );
  }
  const root = await edge.root(storage, published.size);
  if (!bytesEqual(root, published.root)) {
    throw new VerificationError(
      "forked",
      `another history of size ${published.size} is published at ${archive.location}`,
      {
        details: { ...evidence, size: published.size, expected: encodeHex(published.root), found: encodeHex(root) },
      },
    );
  }
  return published.size;
}

async function requireOwnSignature(
  { state, archive }: PublishParts,
  note: SignedNote,
  evidence: Readonly<Record<string, unknown>>,
): Promise<void> {
  try {
    await verifyNote(
      note,
      state.logKeys.map((known) => known.key),
    );
  } catch (error) {
    if (!isTallystickError(error) || (error.code !== "signature-missing" && error.code !== "signature-invalid"))
      throw error;
    throw new VerificationError(
      error.code,
      `the checkpoint at ${archive.location} is signed by no key of this ledger (${error.message}); if a later key signed it, the ledger was rolled back`,
      { cause: error, details: { ...evidence } },
    );
  }
}
