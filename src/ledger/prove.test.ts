import { describe, expect, it } from "vitest";
import { encodeHex } from "../core/encoding.ts";
import { formatEntry, leafHashHex } from "../core/entry.ts";
import { SubtreeMemo } from "../core/tile.ts";
import { createTestLedger } from "../testing/index.ts";
import { buildTlogProof, type ProofParts } from "./prove.ts";
import { RightEdge } from "./right-edge.ts";
import type { LedgerStorage, StoredEntry, StoredTile } from "./storage.ts";

const SIZE = 600;

/** A tree of entries, of which the first tile may be damaged, and a note that claims its root. */
async function newTree(): Promise<{ parts: ProofParts; damage: (isDamaged: boolean) => void }> {
  const edge = RightEdge.empty();
  const tiles: StoredTile[] = [];
  const entries: StoredEntry[] = [];
  for (let index = 0; index < SIZE; index++) {
    const commitment = `sha256:${encodeHex(new Uint8Array(32).fill(index))}`;
    const time = "2026-01-02T03:04:05.678Z";
    const entry = formatEntry({ commitment, index, previous: edge.lastLeaf, scheme: "event", time });
    edge.append(leafHashHex(entry), time, tiles);
    entries.push({ index, entry, body: null, salts: null, disclosure: null });
  }
  let isDamaged = false;
  const storage = {
    readEntries: async (first: number, end: number) => entries.slice(first, end),
    readTile: async (level: number, index: number) => {
      const tile = tiles.find((one) => one.level === level && one.index === index)?.hashes;
      const bytes = tile && Uint8Array.from(tile);
      if (bytes !== undefined && isDamaged && index === 0) bytes[40]! ^= 1;
      return bytes;
    },
  } as Partial<LedgerStorage> as LedgerStorage;
  const root = Buffer.from(await edge.root(storage)).toString("base64");
  const checkpoint = `example.com/tree\n${SIZE}\n${root}\n\n— example.com/tree ${Buffer.alloc(69).toString("base64")}\n`;
  await using test = await createTestLedger();
  const parts = { storage, edge, checkpoint, state: test.ledger.state, memo: new SubtreeMemo() };
  return {
    parts,
    damage: (is) => {
      isDamaged = is;
    },
  };
}

describe("a proof from a damaged tile", () => {
  it("does not leave, and nothing of it is remembered when the tile is mended", async () => {
    const { parts, damage } = await newTree();
    const fresh = (index: number): Promise<string> => buildTlogProof(index, { ...parts, memo: new SubtreeMemo() });
    for (const index of [2, 3, 0, 255, 300, 599]) {
      parts.memo.clear();
      damage(true);
      await expect(buildTlogProof(3, parts)).rejects.toMatchObject({ code: "storage-corrupt" });
      damage(false);
      expect(await buildTlogProof(index, parts)).toBe(await fresh(index));
    }
  });
});
