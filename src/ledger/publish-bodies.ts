import { bytesEqual } from "../core/encoding.ts";
import { isTallystickError, MalformedError, UnavailableError } from "../core/errors.ts";
import type { LedgerState } from "../core/ledger-state.ts";
import { TILE_WIDTH } from "../core/limits.ts";
import {
  BODIES_BYTES_MAX,
  BODIES_MARK,
  BODIES_MARK_PATH,
  bodiesPath,
  encodeBodies,
  formatBody,
} from "../core/published-bodies.ts";
import { inOrder } from "../core/published-tiles.ts";
import type { Archive } from "./archive.ts";
import { loadState } from "./control-log.ts";
import { exportLine } from "./export-line.ts";
import type { LedgerStorage, StoredEntry } from "./storage.ts";

export interface BodiesParts {
  readonly archive: Archive;
  readonly storage: LedgerStorage;
  readonly state: LedgerState;
  /** Size that is published; 0 for nothing. */
  readonly before: number;
  /** Size to be published. */
  readonly size: number;
}

/** What an archive has of bodies: none; some, as far as somebody got; those of everything that is published. */
export type BodiesPresent = "none" | "begun" | "whole";

export async function bodiesIn(archive: Archive): Promise<BodiesPresent> {
  if ((await archive.get(BODIES_MARK_PATH, { bytesMax: BODIES_MARK.length })) === undefined) return "none";
  // The first block is written last.
  return (await archive.get(bodiesPath(0), { bytesMax: BODIES_BYTES_MAX })) === undefined ? "begun" : "whole";
}

/** Blocks whose bodies are to be written, the last one first: the new ones, and those that an erasure since names. */
export function bodyBlocks(
  { before, size }: Pick<BodiesParts, "before" | "size">,
  present: BodiesPresent,
  erased: Iterable<number>,
): number[] {
  const last = Math.ceil(size / TILE_WIDTH) - 1;
  const first = present === "whole" ? Math.floor(before / TILE_WIDTH) : 0;
  const blocks = new Set(Array.from({ length: Math.max(0, last - first + 1) }, (_, i) => first + i));
  for (const index of erased) blocks.add(Math.floor(index / TILE_WIDTH));
  return [...blocks].filter((block) => block <= last).sort((a, b) => b - a);
}

/** Somebody else may be faster; not this often. */
const TRIES_MAX = 8;
/** Blocks that are written at once. */
const BLOCKS_AHEAD = 4;

/**
 * Writes the bodies of new entries, and those of old blocks anew in which something was erased since `before`, all before the checkpoint
 * that needs them. A body only ever grows or loses what was erased: what is there is read before the store is, and replaced by
 * compare-and-swap, so that nobody who is late puts an erased body back. Returns the number of objects. Errors: `event-too-large` for
 * a block beyond the bound, `storage-corrupt`.
 */
export async function publishBodies(parts: BodiesParts, present: BodiesPresent): Promise<number> {
  const { archive, state, before } = parts;
  if (present === "none") await archive.put(BODIES_MARK_PATH, BODIES_MARK);
  const erased: number[] = [];
  for (const [index, { claims }] of state.erasures) if (claims.some(({ by }) => by >= before)) erased.push(index);
  let objects = present === "none" ? 1 : 0;
  const blocks = bodyBlocks(parts, present, erased);
  // The first block says that all the others are there.
  const others = blocks.filter((block) => block > 0);
  for await (const written of inOrder(others, BLOCKS_AHEAD, (block) => writeBlock(parts, block))) objects += written;
  if (others.length < blocks.length) objects += await writeBlock(parts, 0);
  return objects;
}

async function writeBlock({ archive, storage, state, size }: BodiesParts, block: number): Promise<number> {
  const path = bodiesPath(block);
  const first = block * TILE_WIDTH;
  for (let tries = 1; ; tries++) {
    const present = await archive.get(path, { bytesMax: BODIES_BYTES_MAX });
    // What somebody published who is ahead of us stays.
    const count = Math.max(Math.min(TILE_WIDTH, size - first), countLines(present));
    const rows = await storage.readEntries(first, first + Math.min(TILE_WIDTH, count));
    const bytes = encodeBodies(await bodyLines(rows, storage, state));
    if (bytes.length > BODIES_BYTES_MAX) throw tooLarge(path, bytes.length);
    if (present !== undefined && bytesEqual(present, bytes)) return 0;
    try {
      await archive.replace(path, present ?? null, bytes);
      return 1;
    } catch (error) {
      if (!isTallystickError(error) || error.code !== "lock-moved" || tries >= TRIES_MAX) throw error;
    }
  }
}

async function bodyLines(rows: readonly StoredEntry[], storage: LedgerStorage, state: LedgerState): Promise<string[]> {
  const lines = (known: LedgerState): string[] =>
    rows.map((stored) => formatBody(exportLine(stored, { state: known, proved: null, disclose: undefined }).content));
  try {
    return lines(state);
  } catch (error) {
    if (!(error instanceof UnavailableError) || error.code !== "storage-corrupt") throw error;
    // Somebody else erased it since this process read the control events.
    return lines((await loadState(storage)).state);
  }
}

export function countLines(bytes: Uint8Array | undefined): number {
  let count = 0;
  for (let at = bytes?.indexOf(NEWLINE) ?? -1; at >= 0; at = (bytes as Uint8Array).indexOf(NEWLINE, at + 1)) count += 1;
  return count;
}

const NEWLINE = 0x0a;

export function tooLarge(path: string, size: number): MalformedError {
  return new MalformedError(
    "event-too-large",
    `${path} would have ${size} bytes, and ${BODIES_BYTES_MAX} are the most that bodies of ${TILE_WIDTH} entries may have: publish without bodies, and hand out an export`,
    { details: { path } },
  );
}
