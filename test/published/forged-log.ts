import { formatCheckpoint } from "../../src/core/checkpoint.ts";
import { encodeUtf8 } from "../../src/core/encoding.ts";
import { type Entry, formatEntry, leafHashHex, ZERO_HASH_HEX } from "../../src/core/entry.ts";
import { sha256 } from "../../src/core/hash.ts";
import { createRange, hashLeaf } from "../../src/core/merkle.ts";
import { formatNote, formatVerifierKey, parseVerifierKey, signNote } from "../../src/core/note.ts";
import { formatPolicy, type Policy, parsePolicy } from "../../src/core/policy.ts";
import { AuthenticTiles, type BundlePlace } from "../../src/core/published-tiles.ts";
import { tileRoot } from "../../src/core/tile.ts";
import { logSignerFromSeed } from "../../src/keys/index.ts";
import type { Archive } from "../../src/ledger/archive.ts";
import { copyTree } from "../../src/ledger/copy-tree.ts";
import type { Signer } from "../../src/ledger/signer.ts";

/** A log whose operator signs and publishes whatever entries it is given. */
export const FORGED_ORIGIN = "example.com/forged";
export const FORGED_SIGNER: Signer = logSignerFromSeed("ed25519", sha256(encodeUtf8("forged log")));
const VKEY = formatVerifierKey({ name: FORGED_ORIGIN, type: 1, publicKey: FORGED_SIGNER.publicKey });
export const FORGED_POLICY_TEXT: string = formatPolicy({ logKeys: [parseVerifierKey(VKEY)] });
export const FORGED_POLICY: Policy = parsePolicy(FORGED_POLICY_TEXT);

/** Signs and publishes the entries, of which the first `before` are published already. Returns the note. */
export async function publishForged(archive: Archive, entries: readonly string[], before = 0): Promise<string> {
  const bytes = entries.map(encodeUtf8);
  const size = entries.length;
  const levels: Uint8Array[][] = [bytes.map(hashLeaf)];
  for (let below = levels[0] as Uint8Array[]; below.length >= 256; below = levels.at(-1) as Uint8Array[]) {
    const count = Math.floor(below.length / 256);
    levels.push(Array.from({ length: count }, (_, i) => tileRoot(Buffer.concat(below.slice(i * 256, (i + 1) * 256)))));
  }
  const range = createRange();
  for (const leaf of levels[0] as Uint8Array[]) range.append(leaf);
  const root = range.root();
  const read = (level: number, index: number, width: number): Uint8Array =>
    Buffer.concat((levels[level] ?? []).slice(index * 256, index * 256 + width));
  const tiles = await AuthenticTiles.open({ size, root, read });
  const bundle = async ({ index, count }: BundlePlace): Promise<Uint8Array[]> =>
    bytes.slice(index * 256, index * 256 + count);
  await copyTree({ archive, tiles, before, bundle });
  const note = await signForged(size, root);
  await archive.replace("checkpoint", (await archive.get("checkpoint")) ?? null, encodeUtf8(note));
  return note;
}

export async function signForged(size: number, root: Uint8Array): Promise<string> {
  const text = formatCheckpoint({ origin: FORGED_ORIGIN, size, root });
  return formatNote(text, [await signNote(text, FORGED_ORIGIN, FORGED_SIGNER)]);
}

/** Well-formed entries, each linked to the one before, but for what `change` makes of them. */
export function forgeChain(count: number, change: (entry: Entry) => Partial<Entry> = () => ({})): string[] {
  const entries: string[] = [];
  let previous = ZERO_HASH_HEX;
  for (let index = 0; index < count; index++) {
    const entry: Entry = {
      commitment: `sha256:${"c".repeat(64)}`,
      index,
      previous,
      scheme: index === 0 ? "control" : "event",
      time: `2026-01-01T00:00:00.${String(Math.min(index, 999)).padStart(3, "0")}Z`,
      v: 1,
    };
    const text = formatEntry({ ...entry, ...change(entry) });
    entries.push(text);
    previous = leafHashHex(text);
  }
  return entries;
}

/** What the one entry after `index` entries looks like, and what every reader must call it. */
export const BAD_ENTRIES: readonly (readonly [title: string, code: string, at: number, change: Partial<Entry>])[] = [
  ["an entry at another index", "index-mismatch", 300, { index: 299 }],
  ["a link that leads elsewhere", "previous-mismatch", 300, { previous: "a".repeat(64) }],
  ["a link that leads elsewhere, where a bundle begins", "previous-mismatch", 256, { previous: "a".repeat(64) }],
  ["a first entry with a link", "previous-mismatch", 0, { previous: "a".repeat(64) }],
  ["a time that goes back", "time-backwards", 300, { time: "2025-12-31T23:59:59.999Z" }],
  ["another commitment hash", "commitment-mismatch", 300, { commitment: `sha3-256:${"c".repeat(64)}` }],
  ["what is no entry", "entry-malformed", 300, { commitment: "md5:00" }],
  ["a genesis that is none", "genesis-malformed", 0, { scheme: "event" }],
];
