import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { RightEdge } from "./right-edge.ts";
import type { StoredTile } from "./storage.ts";

const sha256 = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
const stateOf = (edge: RightEdge): object => ({
  ...edge.state(),
  levels: edge.state().levels.map((level) => ({ ...level, hashes: sha256(level.hashes) })),
});
const leaf = (n: number): Buffer => createHash("sha256").update(`leaf ${n}`).digest();

describe("an edge", () => {
  it("is the same, with the same tiles, whether its leaves come one by one or many at a time", () => {
    const pieces = fc.array(fc.oneof(fc.nat(60), fc.constantFrom(256, 512, 700)), { maxLength: 12 });
    fc.assert(
      fc.property(pieces, (sizes) => {
        const one = RightEdge.empty();
        const many = RightEdge.empty();
        const tiles: StoredTile[] = [];
        const tilesOfMany: StoredTile[] = [];
        for (const [k, size] of sizes.entries()) {
          const leaves = Array.from({ length: size }, (_, i) => leaf(one.size + i));
          for (const hash of leaves) one.append(hash.toString("hex"), `time ${k}`, tiles);
          many.extend(new Uint8Array(Buffer.concat(leaves)), `time ${k}`, tilesOfMany);
          expect(stateOf(many)).toEqual(stateOf(one));
        }
        expect(tilesOfMany.map((tile) => ({ ...tile, hashes: sha256(tile.hashes) }))).toEqual(
          tiles.map((tile) => ({ ...tile, hashes: sha256(tile.hashes) })),
        );
      }),
      { numRuns: 40 },
    );
  });
});
