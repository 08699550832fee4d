import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { encodeHex, encodeUtf8 } from "./encoding.ts";
import { HASH_BYTES, type HashName, hashBytes, hashHex, isHashName, sha256, sha256Hex } from "./hash.ts";
import * as node from "./hash-platform.node.ts";
import * as portable from "./hash-platform.ts";

fc.configureGlobal({ seed: 180 });

const HASHES: readonly HashName[] = ["sha256", "sha512", "sha3-256"];
const platforms = [
  ["Node", node],
  ["a browser", portable],
] as const;

/** FIPS 180-4 and FIPS 202 examples: the empty message and "abc". */
const EXAMPLES: readonly (readonly [HashName, string, string])[] = [
  ["sha256", "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"],
  ["sha256", "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"],
  [
    "sha512",
    "",
    "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e",
  ],
  [
    "sha512",
    "abc",
    "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
  ],
  ["sha3-256", "", "a7ffc6f8bf1ed76651c14756a061d662f580ff4de43b49fa82d80a4b80f8434a"],
  ["sha3-256", "abc", "3a985da74fe225b2045c172d6bd390bd855f086e3e9d525b46bfe24511431532"],
];

describe.each(platforms)("the hash platform of %s", (_name, platform) => {
  it.each(EXAMPLES)("hashes with %s: %j", (hash, text, digest) => {
    expect(platform.digestHex(hash, text)).toBe(digest);
    expect(platform.digestHex(hash, encodeUtf8(text))).toBe(digest);
    expect(encodeHex(platform.digestBytes(hash, encodeUtf8(text)))).toBe(digest);
  });

  it("hashes what comes piece by piece", () => {
    const state = platform.createSha256();
    for (const piece of ["a", "", "bc"]) state.update(encodeUtf8(piece));
    expect(state.hex()).toBe(EXAMPLES[1]![2]);
  });

  it("writes a SHA-256 in place and nothing beside it", () => {
    const out = new Uint8Array(36).fill(7);
    platform.sha256Into(encodeUtf8("abc"), out, 2);
    expect(encodeHex(out)).toBe(`0707${EXAMPLES[1]![2]}0707`);
  });

  it.each(EXAMPLES)("writes a digest in place with %s: %j", (hash, text, digest) => {
    const out = new Uint8Array(80).fill(7);
    const size = platform.digestInto(hash, encodeUtf8(text), out, 3);
    expect(encodeHex(out)).toBe(`070707${digest}${"07".repeat(77 - size)}`);
  });

  it("writes and reads text in a scratch", () => {
    const scratch = platform.allocateScratch(64);
    expect(platform.writeScratch(scratch, "aé€😀\ufeff", 3)).toBe(13);
    expect(platform.readScratch(scratch, 3, 16, false)).toBe("aé€😀\ufeff");
    expect(platform.readScratch(scratch, 3, 4, true)).toBe("a");
    expect(platform.writeScratchHex(scratch, "00ff7f", 1)).toBe(3);
    expect(encodeHex(scratch.subarray(1, 4))).toBe("00ff7f");
  });

  it("writes ASCII text and compares bytes", () => {
    const scratch = platform.allocateScratch(8).fill(7);
    platform.writeScratchAscii(scratch, "a0Z", 2);
    expect([...scratch]).toEqual([7, 7, 0x61, 0x30, 0x5a, 7, 7, 7]);
    expect(platform.sameBytes(scratch.subarray(2, 4), encodeUtf8("a0"))).toBe(true);
    for (const other of ["a1", "a", "a00", ""]) {
      expect(platform.sameBytes(scratch.subarray(2, 4), encodeUtf8(other))).toBe(false);
    }
  });

  it("finds bytes among others", () => {
    const bytes = encodeUtf8("aabaabab");
    for (const part of ["a", "aaba", "abab", "bab", "aabaabab"])
      expect(platform.includesBytes(bytes, encodeUtf8(part)), part).toBe(true);
    for (const part of ["c", "bb", "aaa", "ababa", "aabaababa"])
      expect(platform.includesBytes(bytes, encodeUtf8(part)), part).toBe(false);
    expect(platform.includesBytes(new Uint8Array(), encodeUtf8("a"))).toBe(false);
  });

  it("refuses bytes that are not UTF-8, and keeps all that are", () => {
    for (const text of ["", "a\ufeffb", "\ufeff", "\ufffd", "é\ufffd", "\u0000😀"]) {
      expect(platform.strictText(encodeUtf8(text))).toBe(text);
    }
    // A stray byte, a cut sequence, an overlong form, a surrogate, a code point beyond the last.
    for (const bytes of [[0xff], [0x61, 0xc3], [0xc0, 0x80], [0xed, 0xa0, 0x80], [0xf4, 0x90, 0x80, 0x80], [0x80]]) {
      expect(platform.strictText(Uint8Array.from(bytes))).toBeNull();
      expect(platform.strictText(Uint8Array.from([...encodeUtf8("\ufffd"), ...bytes]))).toBeNull();
    }
  });
});

describe("the two hash platforms", () => {
  it("agree on every input", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.string({ unit: "binary" }), (bytes, text) => {
        for (const hash of HASHES) {
          expect(portable.digestHex(hash, bytes)).toBe(node.digestHex(hash, bytes));
          expect(portable.digestHex(hash, text)).toBe(node.digestHex(hash, text));
        }
        expect(portable.utf8Bytes(text)).toBe(node.utf8Bytes(text));
        expect(portable.strictText(bytes)).toBe(node.strictText(bytes));
        const [a, b] = [portable.allocateScratch(400), node.allocateScratch(400)];
        const size = portable.writeScratch(a, text, 5);
        expect(node.writeScratch(b, text, 5)).toBe(size);
        expect(encodeHex(a.subarray(5, 5 + size))).toBe(encodeHex(b.subarray(5, 5 + size)));
        expect(portable.readScratch(a, 5, 5 + size, false)).toBe(text);
        expect(node.readScratch(b, 5, 5 + size, false)).toBe(text);
        expect(portable.utf8Bytes(text)).toBe(size);
      }),
      { numRuns: 300 },
    );
  });
});

describe("hashes by name", () => {
  it("have the sizes that the formats say", () => {
    for (const hash of HASHES) expect(hashBytes(hash, new Uint8Array())).toHaveLength(HASH_BYTES[hash]);
    expect(hashHex("sha256", "abc")).toBe(sha256Hex("abc"));
    expect(encodeHex(sha256(encodeUtf8("abc")))).toBe(sha256Hex("abc"));
  });

  it("are known by exactly three names", () => {
    expect(HASHES.every(isHashName)).toBe(true);
    for (const name of ["sha1", "SHA256", "sha-256", "toString", "", null, 1]) expect(isHashName(name)).toBe(false);
  });
});
