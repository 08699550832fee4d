import { canonicalize } from "../core/canonical-json.ts";
import { formatCheckpoint } from "../core/checkpoint.ts";
import { commitBody, commitFields, cutBody, fieldDigest } from "../core/commitment.ts";
import { isControlAction } from "../core/control-event.ts";
import { decodeHex } from "../core/encoding.ts";
import { formatEntry, leafHashHex, parseEntry, type Scheme, ZERO_HASH_HEX } from "../core/entry.ts";
import { parseEvent } from "../core/event.ts";
import type { HashName } from "../core/hash.ts";
import { SALT_BYTES, TILE_WIDTH } from "../core/limits.ts";
import { formatNote, type NoteSigner, signNote } from "../core/note.ts";
import { treeHash } from "../core/proof.ts";
import { type TileReader, tileRoot } from "../core/tile.ts";

/**
 * The attacker who recomputes. With the functions of the core alone, which anybody has, it makes of any list of events a
 * ledger whose salts, commitments, links, leaf hashes, tiles, ids and list of control events agree with one another. What it
 * lacks without a key is a signature. Independent of storage and engine, so that its ledgers are evidence for any verifier.
 */

/** An event as the attacker wants it to stand in the ledger. */
export interface PlannedEntry {
  /** Canonical event text. */
  readonly body: string;
  readonly scheme: Scheme;
  /** Ledger time; raised to that of the entry before where it is earlier. */
  readonly time: string;
}

/** An entry as it is stored. `body` and `salts` are null where they were taken away. */
export interface WrittenEntry {
  readonly index: number;
  readonly entry: string;
  readonly body: string | null;
  readonly salts: Uint8Array | null;
}

/** A ledger that agrees with itself. */
export interface Rewritten {
  readonly entries: readonly WrittenEntry[];
  /** Full tiles, 8,192 bytes each. */
  readonly tiles: readonly { readonly level: number; readonly index: number; readonly hashes: Uint8Array }[];
  readonly ids: readonly { readonly id: string; readonly index: number }[];
  /** Indexes of the control events, ascending. */
  readonly controls: readonly number[];
}

export interface RewriteOptions {
  readonly hash: HashName;
  /** Fills bytes with what the salts are made of. */
  readonly fill: (bytes: Uint8Array) => Uint8Array;
  /** Link of the next entry instead of the leaf hash of its neighbour: what an honest writer would refuse. */
  readonly link?: string;
}

const HASH_BYTES = 32;

/** `kept` as it stands, byte for byte, and `planned` after it with new salts, commitments and links. */
export function rewrite(
  kept: readonly WrittenEntry[],
  planned: readonly PlannedEntry[],
  options: RewriteOptions,
): Rewritten {
  const entries = [...kept];
  for (const [i, { body, scheme, time }] of planned.entries()) {
    const before = entries.at(-1);
    const lastTime = before === undefined ? "" : parseEntry(before.entry).time;
    const neighbour = before === undefined ? ZERO_HASH_HEX : leafHashHex(before.entry);
    const { commitment, salts } = commit(body, scheme, options);
    const entry = formatEntry({
      commitment: `${options.hash}:${commitment}`,
      index: entries.length,
      previous: i === 0 ? (options.link ?? neighbour) : neighbour,
      scheme,
      time: time < lastTime ? lastTime : time,
    });
    entries.push({ index: entries.length, entry, body, salts });
  }
  return { entries, tiles: tilesOf(entries), ...indexesOf(entries) };
}

function commit(
  body: string,
  scheme: Scheme,
  { hash, fill }: RewriteOptions,
): { readonly commitment: string; readonly salts: Uint8Array } {
  if (scheme !== "fields") {
    const salts = fill(new Uint8Array(SALT_BYTES));
    return { commitment: commitBody(hash, scheme, salts, body), salts };
  }
  const fields = cutBody(body);
  const salts = fill(new Uint8Array(SALT_BYTES * fields.length));
  const digests = fields.map((field, i) =>
    fieldDigest(hash, salts.subarray(i * SALT_BYTES, (i + 1) * SALT_BYTES), field),
  );
  const names = fields.map((field) => field.name);
  return { commitment: commitFields(hash, names, digests), salts };
}

function leafHashes(entries: readonly WrittenEntry[]): Uint8Array {
  const hashes = new Uint8Array(entries.length * HASH_BYTES);
  for (const [i, { entry }] of entries.entries())
    hashes.set(decodeHex(leafHashHex(entry), { code: "malformed-entry" }), i * HASH_BYTES);
  return hashes;
}

/** Every full tile, level by level: the roots of the tiles of one level are the hashes of the next. */
function tilesOf(entries: readonly WrittenEntry[]): Rewritten["tiles"] {
  const tiles: { level: number; index: number; hashes: Uint8Array }[] = [];
  const tileBytes = TILE_WIDTH * HASH_BYTES;
  let hashes = leafHashes(entries);
  for (let level = 0; hashes.length >= tileBytes; level++) {
    const count = Math.floor(hashes.length / tileBytes);
    const roots = new Uint8Array(count * HASH_BYTES);
    for (let index = 0; index < count; index++) {
      const tile = hashes.slice(index * tileBytes, (index + 1) * tileBytes);
      tiles.push({ level, index, hashes: tile });
      roots.set(tileRoot(tile), index * HASH_BYTES);
    }
    hashes = roots;
  }
  return tiles;
}

function indexesOf(entries: readonly WrittenEntry[]): Pick<Rewritten, "ids" | "controls"> {
  const ids: { id: string; index: number }[] = [];
  const controls: number[] = [];
  for (const { index, entry, body } of entries) {
    const { id = null, action = null } = body === null ? {} : parseEvent(body);
    if (id !== null) ids.push({ id, index });
    if (action === null ? parseEntry(entry).scheme === "control" : isControlAction(action)) controls.push(index);
  }
  return { ids, controls };
}

/** Root of the first `size` entries. */
export function rootOf(entries: readonly WrittenEntry[], size: number): Promise<Uint8Array> {
  return treeHash(size, tileReaderOf(entries));
}

/** Reads the tiles of a tree that nobody stored. */
export function tileReaderOf(entries: readonly WrittenEntry[]): TileReader {
  const leaves = leafHashes(entries);
  const read = (level: number, index: number, width: number): Uint8Array => {
    const first = index * TILE_WIDTH;
    if (level === 0) return leaves.subarray(first * HASH_BYTES, (first + width) * HASH_BYTES);
    const hashes = new Uint8Array(width * HASH_BYTES);
    for (let i = 0; i < width; i++) hashes.set(tileRoot(read(level - 1, first + i, TILE_WIDTH)), i * HASH_BYTES);
    return hashes;
  };
  return read;
}

/** Checkpoint note of the first `size` entries. Takes what the rest of this module does not have: a key. */
export async function signHead(
  entries: readonly WrittenEntry[],
  size: number,
  by: { readonly origin: string; readonly signer: NoteSigner },
): Promise<string> {
  const text = formatCheckpoint({ origin: by.origin, size, root: await rootOf(entries, size) });
  return formatNote(text, [await signNote(text, by.origin, by.signer)]);
}

/** The entries of a ledger as a plan: what they say, without the hashes. Entries whose body is gone cannot be planned. */
export function planOf(entries: readonly WrittenEntry[]): PlannedEntry[] {
  return entries.map(({ index, entry, body }) => {
    if (body === null) throw new RangeError(`planOf: entry ${index} has no body`);
    const { scheme, time } = parseEntry(entry);
    return { body, scheme, time };
  });
}

/** The event with another actor: the smallest change that makes a log lie. */
export function changeActor(body: string): string {
  const event = parseEvent(body);
  return canonicalize({ ...event, actor: event.actor === "mallory" ? "eve" : "mallory" });
}

/** An event that never happened. */
export function inventEvent(id: string): string {
  return canonicalize({ action: "access.granted", actor: "mallory", id, outcome: "success" });
}
