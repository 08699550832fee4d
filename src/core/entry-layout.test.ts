import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { formatEntry, formatTime, leafHashHex, type Scheme } from "./entry.ts";
import { ENTRY_BYTES_MAX, EntryLayout } from "./entry-layout.ts";
import { HASH_BYTES, type HashName } from "./hash.ts";

const hex = (bytes: number) =>
  fc.uint8Array({ minLength: bytes, maxLength: bytes }).map((value) => Buffer.from(value).toString("hex"));
const indexes = fc.oneof(
  fc.maxSafeNat(),
  fc.nat(1_100),
  fc.integer({ min: 1, max: 15 }).map((digits) => 10 ** digits),
);
const times = fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 4_102_444_800_000 })).map(formatTime);

describe("EntryLayout", () => {
  it("writes the bytes of formatEntry and their leaf hash, one entry after another", () => {
    const hashes: HashName[] = ["sha256", "sha512", "sha3-256"];
    const schemes: Scheme[] = ["event", "fields", "control"];
    const series = fc
      .constantFrom(...hashes)
      .chain((hash) =>
        fc.tuple(
          fc.constant(hash),
          fc.constantFrom(...schemes),
          fc.array(fc.tuple(indexes, times, hex(HASH_BYTES[hash]), hex(32)), { minLength: 1, maxLength: 12 }),
        ),
      );
    fc.assert(
      fc.property(series, ([hash, scheme, entries]) => {
        const layout = new EntryLayout(hash, scheme);
        for (const [index, time, digest, previous] of entries) {
          const commitment = `${hash}:${digest}`;
          layout.begin(index, time);
          layout.writeDigest(digest);
          layout.writePrevious(previous);
          const text = formatEntry({ commitment, index, previous, scheme, time });
          expect(Buffer.from(layout.entry).toString()).toBe(text);
          expect(text.slice(layout.digestAt).startsWith(digest)).toBe(true);
          expect(layout.leafHash()).toBe(leafHashHex(text));
        }
      }),
    );
  });

  it("has room for the longest entry", () => {
    const layout = new EntryLayout("sha512", "control");
    layout.begin(Number.MAX_SAFE_INTEGER, formatTime(0));
    expect(layout.entry.length).toBe(ENTRY_BYTES_MAX);
  });
});
