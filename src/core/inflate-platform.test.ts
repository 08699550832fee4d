import { constants, deflateRawSync, inflateRawSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { concatBytes, encodeUtf8 } from "./encoding.ts";
import { sha256Hex } from "./hash.ts";
import * as node from "./inflate-platform.node.ts";
import * as portable from "./inflate-platform.ts";

fc.configureGlobal({ seed: 1951 });

const platforms = [
  ["Node", node],
  ["a browser", portable],
] as const;

async function* pieces(bytes: Uint8Array, sizeBytes: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += sizeBytes) yield bytes.subarray(at, at + sizeBytes);
}

/** Hash of the content, or null for data that is refused. */
async function unpack({ inflateRaw }: typeof node, data: Uint8Array, sizeBytes = 1_000): Promise<string | null> {
  const parts: Uint8Array[] = [];
  try {
    for await (const part of inflateRaw(pieces(data, sizeBytes))) parts.push(part);
  } catch {
    return null;
  }
  return sha256Hex(concatBytes(...parts));
}

/** Content with long matches, literals, and none. */
const content = fc.oneof(
  fc.uint8Array({ maxLength: 200 }),
  fc
    .array(fc.constantFrom("a", "ab", "abc-", '{"entry":'), { maxLength: 400 })
    .map((words) => encodeUtf8(words.join(""))),
  fc.nat(80_000).map((sizeBytes) => new Uint8Array(sizeBytes).fill(7)),
);
const strategy = fc.constantFrom(
  constants.Z_DEFAULT_STRATEGY,
  constants.Z_FIXED,
  constants.Z_HUFFMAN_ONLY,
  constants.Z_RLE,
);
const level = fc.constantFrom(0, 1, 9);

describe.each(platforms)("inflate on %s", (_name, platform) => {
  it("gives back what was packed, however it arrives", async () => {
    await fc.assert(
      fc.asyncProperty(
        content,
        level,
        strategy,
        fc.constantFrom(1, 13, 70_000),
        async (bytes, packing, how, sizeBytes) => {
          const data = deflateRawSync(bytes, { level: packing, strategy: how });
          expect(await unpack(platform, data, sizeBytes)).toBe(sha256Hex(bytes));
        },
      ),
      { numRuns: 150 },
    );
  });

  it("refuses a stream that ends before its data, or goes on after it", async () => {
    const bytes = encodeUtf8("abcdef".repeat(1_000));
    const data = deflateRawSync(bytes);
    expect(await unpack(platform, data)).toBe(sha256Hex(bytes));
    for (const tail of [Uint8Array.of(0), Uint8Array.of(3, 0), data, new Uint8Array(400_000)])
      expect(await unpack(platform, concatBytes(data, tail))).toBeNull();
    for (const sizeBytes of [0, 1, data.length >> 1, data.length - 1])
      expect(await unpack(platform, data.subarray(0, sizeBytes))).toBeNull();
  });

  it("passes on what goes wrong while it reads", async () => {
    const broken = async function* (): AsyncGenerator<Uint8Array> {
      yield deflateRawSync(encodeUtf8("abc")).subarray(0, 2);
      throw new RangeError("the disk is gone");
    };
    await expect(platform.inflateRaw(broken()).next()).rejects.toThrow("the disk is gone");
  });

  it("stops when nobody asks for more", async () => {
    const data = deflateRawSync(new Uint8Array(40_000_000));
    const unpacked = platform.inflateRaw(pieces(data, 100));
    expect((await unpacked.next()).done).toBe(false);
    await unpacked.return(undefined);
    expect((await unpacked.next()).done).toBe(true);
  });

  it("computes a CRC-32 piece by piece", () => {
    expect(platform.crc32Next(0, encodeUtf8("123456789"))).toBe(0xcbf43926);
    expect(platform.crc32Next(platform.crc32Next(0, encodeUtf8("1234")), encodeUtf8("56789"))).toBe(0xcbf43926);
  });
});

describe("the two platforms", () => {
  it("agree about damaged data", async () => {
    let refused = 0;
    await fc.assert(
      fc.asyncProperty(content, level, strategy, fc.nat(), fc.nat(255), async (bytes, packing, how, at, byte) => {
        const data = Uint8Array.from(deflateRawSync(bytes, { level: packing, strategy: how }));
        data[at % data.length] = byte;
        const [a, b] = [await unpack(node, data), await unpack(portable, data)];
        expect(b).toBe(a);
        if (a === null) refused += 1;
      }),
      { numRuns: 800 },
    );
    expect(refused).toBeGreaterThan(150);
  });

  it("agree about bytes that are anything", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 60 }), async (data) => {
        const b = await unpack(portable, data);
        expect(b).toBe(await unpack(node, data));
        if (b !== null) expect(sha256Hex(inflateRawSync(data))).toBe(b);
      }),
      { numRuns: 2_000 },
    );
  });
});
