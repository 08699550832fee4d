import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { mineHeader, REGTEST_BITS } from "../../../test/anchors/bitcoin.ts";
import { concatBytes, encodeHex } from "../encoding.ts";
import { isTallystickError } from "../errors.ts";
import {
  bitcoinHeightsOf,
  formatBitcoinHeaders,
  parseBitcoinHeader,
  parseBitcoinHeaders,
  verifyOts,
} from "./bitcoin.ts";
import {
  formatOtsFile,
  formatOtsTimestamp,
  listOtsLeaves,
  mergeOts,
  normaliseOts,
  OTS_BYTES_MAX,
  type OtsAttestation,
  type OtsItem,
  type OtsOperationName,
  type OtsTimestamp,
  parseOtsFile,
  parseOtsTimestamp,
  startOts,
} from "./opentimestamps.ts";

interface Vectors {
  readonly stamps: readonly {
    readonly title: string;
    readonly digest: string;
    readonly nonce: string;
    readonly uri: string;
    readonly proof: string;
  }[];
  readonly opentimestamps: readonly {
    readonly title: string;
    readonly proof: string;
    readonly digest: string;
    readonly headers: readonly { readonly height: number; readonly header: string }[];
    readonly bitsMax?: number;
    readonly notAfterMs?: number;
    readonly code?: string;
  }[];
}
const vectors = JSON.parse(readFileSync(new URL("../../../vectors/anchors.json", import.meta.url), "utf8")) as Vectors;

const SEED = { seed: 20260203 };
const sha = (...parts: Uint8Array[]): Buffer =>
  createHash("sha256")
    .update(concatBytes(...parts))
    .digest();
const hex = (text: string): Uint8Array => Buffer.from(text, "hex");
const digest = sha(Buffer.from("note"));
const MAGIC = "004f70656e54696d657374616d7073000050726f6f6600bf89e2e884e89294";
const file = (tree: string): Uint8Array => hex(`${MAGIC}0108${digest.toString("hex")}${tree}`);
const PENDING = (uri: string): string => {
  const payload = Buffer.concat([Buffer.of(uri.length), Buffer.from(uri)]);
  return `0083dfe30d2ef90c8e${Buffer.concat([Buffer.of(payload.length), payload]).toString("hex")}`;
};
const BITCOIN = (height: string, size = "03"): string => `000588960d73d71901${size}${height}`;
const attestation = (one: OtsAttestation): OtsItem => ({ kind: "attestation", attestation: one });

/** Node after one operation, computed here and not by the code under test. */
const step = (name: OtsOperationName, argument: Uint8Array, next: OtsTimestamp): OtsItem => ({
  kind: "operation",
  operation: { name, argument },
  next,
});

function refusal(run: () => unknown): string {
  try {
    run();
    return "accepted";
  } catch (error) {
    if (!isTallystickError(error)) throw error;
    return `${error.code}: ${error.message}`;
  }
}

describe("the codec of OpenTimestamps", () => {
  it("reads operations and attestations, and computes every message on the way", () => {
    const tree = `fff00201 02 08 ${BITCOIN("e8da15")} f10103 f3 f2 08 ff${PENDING("https://a.example")} 000102030405060708 02 beef`;
    const { fileHash, timestamp } = parseOtsFile(file(tree.replaceAll(" ", "")));
    expect(fileHash).toBe("sha256");
    const prepended = concatBytes(hex("03"), digest);
    const reversed = Buffer.from(encodeHex(prepended)).reverse();
    expect(
      listOtsLeaves(timestamp).map(({ attestation, message, path }) => [attestation, encodeHex(message), path.length]),
    ).toEqual([
      [{ kind: "bitcoin", height: 355688 }, encodeHex(sha(digest, hex("0102"))), 2],
      [{ kind: "pending", uri: "https://a.example" }, encodeHex(sha(reversed)), 4],
      [{ kind: "unknown", tag: hex("0102030405060708"), payload: hex("beef") }, encodeHex(sha(reversed)), 4].map((x) =>
        typeof x === "object"
          ? { ...x, tag: Uint8Array.from(hex("0102030405060708")), payload: Uint8Array.from(hex("beef")) }
          : x,
      ),
    ]);
  });

  it("computes all hashes of the format", () => {
    const known = {
      "02": createHash("sha1").update(digest).digest("hex"),
      "03": createHash("ripemd160").update(digest).digest("hex"),
      "08": createHash("sha256").update(digest).digest("hex"),
    };
    for (const [tag, expected] of Object.entries(known)) {
      const [leaf] = listOtsLeaves(parseOtsFile(file(`${tag}${BITCOIN("01", "01")}`)).timestamp);
      expect(encodeHex(leaf!.message)).toBe(expected);
    }
    const [keccak] = listOtsLeaves(parseOtsTimestamp(hex(`67${BITCOIN("01", "01")}`), Buffer.from("abc")));
    // Keccak-256 of "abc" with the padding from before FIPS 202, as Ethereum has it.
    expect(encodeHex(keccak!.message)).toBe("4e03657aea45a94fc7d47ba826c8d667c0d1e6e33a64a036ec44f58fa12d6c45");
  });

  for (const [title, bytes, expected] of [
    ["another header", hex(MAGIC.replace("bf89", "bf88")), "expected the header of an .ots file"],
    ["nothing", new Uint8Array(), "expected the header of an .ots file"],
    ["another version", hex(`${MAGIC}0208`), "unknown version 2"],
    ["keccak256 as the hash of the file", hex(`${MAGIC}0167`), "unknown file hash 103"],
    ["a file hash that is no hash", hex(`${MAGIC}01f0`), "unknown file hash 240"],
    ["a short digest", hex(`${MAGIC}0108aabb`), "it ends too early"],
    ["no tree", file(""), "it ends too early"],
    ["a byte behind the tree", file(`${BITCOIN("01", "01")}00`), "1 bytes behind its end"],
    ["an unknown operation", file(`04${BITCOIN("01", "01")}`), "unknown operation 04"],
    ["an empty argument", file(`f000${BITCOIN("01", "01")}`), "expected 1 to 4096 bytes, got 0"],
    [
      "an argument above 4,096 bytes",
      file(`f08120${"00".repeat(4097)}${BITCOIN("01", "01")}`),
      "expected 1 to 4096 bytes, got 4097",
    ],
    ["a result above 4,096 bytes", file(`f08020${"00".repeat(4096)}${BITCOIN("01", "01")}`), "a result of 4128 bytes"],
    ["a height with a rest behind it", file(BITCOIN("0100", "02")), "1 bytes behind its end"],
    ["a height that is not minimal", file(BITCOIN("8100", "02")), "a number that is not minimal"],
    ["a height above 2^53", file(BITCOIN("ffffffffffffff1f", "08")), "a number above 2^53-1"],
    ["a number without an end", file(BITCOIN("ff".repeat(60), "3c")), "a number above 2^53-1"],
    [
      "a calendar address with a question mark",
      file(PENDING("https://a.example/?x")),
      "a calendar address with other characters than A-Z a-z 0-9 - . _ / :",
    ],
    [
      "a calendar address with a line break",
      file(PENDING("https://a\n")),
      "a calendar address with other characters than A-Z a-z 0-9 - . _ / :",
    ],
    ["257 nodes on one path", file(`${"08".repeat(256)}${BITCOIN("01", "01")}`), "nested deeper than 256"],
    [
      "more than 4,096 operations",
      file(`${`ff08${BITCOIN("01", "01")}`.repeat(4096)}08${BITCOIN("01", "01")}`),
      "more than 4096 operations",
    ],
    ["more than 64 KiB", new Uint8Array(OTS_BYTES_MAX + 1), "expected at most 65536 bytes, got 65537"],
  ] as const) {
    it(`refuses ${title}`, () => {
      expect(refusal(() => parseOtsFile(bytes))).toBe(`malformed-proof: opentimestamps proof: ${expected}`);
    });
  }

  it("takes 256 nodes on one path, and an answer of 10,000 bytes but not more", () => {
    expect(listOtsLeaves(parseOtsFile(file(`${"08".repeat(255)}${BITCOIN("01", "01")}`)).timestamp)).toHaveLength(1);
    const answer = (size: number): Uint8Array => {
      const pending = hex(`ff${PENDING("a".repeat(100))}`);
      const whole = concatBytes(...Array<Uint8Array>(Math.floor(size / pending.length)).fill(pending));
      const rest = size - whole.length - 10;
      return concatBytes(whole, hex("000102030405060708"), Uint8Array.of(rest), new Uint8Array(rest));
    };
    expect(parseOtsTimestamp(answer(10_000), digest).items.length).toBeGreaterThan(80);
    expect(refusal(() => parseOtsTimestamp(answer(10_001), digest))).toBe(
      "malformed-proof: opentimestamps proof: expected at most 10000 bytes, got 10001",
    );
  });

  it("writes back what it reads, byte for byte, in whatever order it stands", () => {
    fc.assert(
      fc.property(trees(), (items) => {
        const bytes = formatOtsTimestamp({ message: digest, items });
        fc.pre(bytes.length <= 10_000);
        const parsed = parseOtsTimestamp(bytes, digest);
        expect(encodeHex(formatOtsTimestamp(parsed))).toBe(encodeHex(bytes));
        const normal = normaliseOts(parsed);
        expect(formatOtsTimestamp(normaliseOts(normal))).toEqual(formatOtsTimestamp(normal));
        expect(formatOtsFile({ fileHash: "sha256", timestamp: parsed })).toEqual(
          concatBytes(hex(`${MAGIC}0108`), digest, bytes),
        );
      }),
      { ...SEED, numRuns: 200 },
    );
  });

  it("refuses or writes back whatever bytes come in", () => {
    const whole = file(`fff00201020808${BITCOIN("e8da15")}f10103f308${PENDING("https://a.example/b")}`);
    let accepted = 0;
    const edit = fc.record({ at: fc.nat(whole.length - 1), value: fc.nat(255), cut: fc.boolean() });
    fc.assert(
      fc.property(fc.array(edit, { minLength: 1, maxLength: 3 }), (edits) => {
        let bytes = Uint8Array.from(whole);
        for (const { at, value, cut } of edits) {
          if (cut) bytes = bytes.slice(0, Math.max(1, at));
          else if (at < bytes.length) bytes[at] = value;
        }
        const outcome = refusal(() => {
          expect(encodeHex(formatOtsFile(parseOtsFile(bytes)))).toBe(encodeHex(bytes));
          accepted++;
        });
        expect(outcome).toMatch(/^(?:accepted$|malformed-proof: opentimestamps proof: )/);
      }),
      { ...SEED, numRuns: 3_000 },
    );
    expect(accepted).toBeGreaterThan(200);
  });
});

/** Trees of up to three levels, with messages as the format computes them. */
function trees(): fc.Arbitrary<readonly OtsItem[]> {
  const uri = fc.stringMatching(/^[a-z0-9./:-]{1,20}$/);
  const leaf: fc.Arbitrary<OtsItem> = fc
    .oneof(
      uri.map((value): OtsAttestation => ({ kind: "pending", uri: value })),
      fc.record({ kind: fc.constantFrom("bitcoin", "litecoin", "ethereum"), height: fc.maxSafeNat() }),
      fc.record({
        kind: fc.constant("unknown"),
        tag: fc.uint8Array({ minLength: 8, maxLength: 8 }),
        payload: fc.uint8Array({ maxLength: 20 }),
      }),
    )
    .map((one) => attestation(one as OtsAttestation));
  const operation = fc.oneof(
    fc.record({ name: fc.constantFrom("append", "prepend"), argument: fc.uint8Array({ minLength: 1, maxLength: 20 }) }),
    fc.record({
      name: fc.constantFrom("sha256", "sha1", "ripemd160", "keccak256", "reverse", "hexlify"),
      argument: fc.constant(new Uint8Array()),
    }),
  );
  // Formatting looks at no message but the root's; parsing computes them anew.
  const level = (below: fc.Arbitrary<OtsItem>): fc.Arbitrary<OtsItem> =>
    fc
      .tuple(operation, fc.array(below, { minLength: 1, maxLength: 3 }))
      .map(([one, items]) => step(one.name as OtsOperationName, one.argument, { message: new Uint8Array(), items }));
  const second = fc.oneof(leaf, level(leaf));
  return fc.array(fc.oneof(leaf, level(second)), { minLength: 1, maxLength: 4 });
}

describe("startOts and mergeOts", () => {
  const nonce = Uint8Array.from({ length: 16 }, (_, i) => i);
  const { tip, join } = startOts(digest, nonce);
  const pending = (uri: string): OtsTimestamp => ({ message: tip, items: [attestation({ kind: "pending", uri })] });

  it("hides the digest behind the nonce", () => {
    expect(encodeHex(tip)).toBe(encodeHex(sha(digest, nonce)));
  });

  for (const vector of vectors.stamps) {
    it(`agrees with the vector: ${vector.title}`, () => {
      const stamp = startOts(hex(vector.digest), hex(vector.nonce));
      const waiting = { message: stamp.tip, items: [attestation({ kind: "pending", uri: vector.uri })] };
      expect(encodeHex(formatOtsFile(stamp.join([waiting])))).toBe(vector.proof);
      expect(readFileSync(new URL("../../../spec/anchors.md", import.meta.url), "utf8")).toContain(vector.proof);
    });
  }

  it("joins calendars' answers into one file in the order of the reference implementation", () => {
    const branch = (argument: string, uri: string): OtsTimestamp =>
      parseOtsTimestamp(hex(`f001${argument}08${PENDING(uri)}`), tip);
    const joined = formatOtsFile(
      join([branch("02", "https://b"), branch("01", "https://a"), branch("02", "https://c")]),
    );
    expect(encodeHex(joined)).toBe(
      encodeHex(
        file(
          `f010${encodeHex(nonce)}08fff0010108${PENDING("https://a")}f0010208ff${PENDING("https://b")}${PENDING("https://c")}`,
        ),
      ),
    );
    expect(
      formatOtsFile(join([branch("01", "https://a"), branch("02", "https://c"), branch("02", "https://b")])),
    ).toEqual(joined);
  });

  it("puts an upgrade behind the attestation that it fulfils, and keeps that attestation", () => {
    const before = join([pending("https://a")]);
    const upgrade = parseOtsTimestamp(hex(`f0010108${BITCOIN("e8da15")}`), tip);
    const after = mergeOts(before.timestamp, upgrade);
    expect(listOtsLeaves(after).map((leaf) => leaf.attestation.kind)).toEqual(["pending", "bitcoin"]);
    expect(formatOtsTimestamp(mergeOts(after, upgrade))).toEqual(formatOtsTimestamp(after));
  });

  it("refuses a branch that continues another message, and what would be too large", () => {
    const other = { ...pending("https://a"), message: sha(tip) };
    expect(refusal(() => mergeOts(join([pending("https://a")]).timestamp, other))).toBe(
      "proof-invalid: opentimestamps proof: the branch continues another message",
    );
    const large = Array.from(
      { length: 80 },
      (_, i): OtsTimestamp => ({
        message: tip,
        items: [attestation({ kind: "unknown", tag: hex("0102030405060708"), payload: new Uint8Array(1_000).fill(i) })],
      }),
    );
    expect(refusal(() => join(large))).toMatch(/^malformed-proof: opentimestamps proof: expected at most 65408 bytes/);
  });

  it("refuses a digest, a nonce and a number of answers that it cannot use", () => {
    expect(() => startOts(new Uint8Array(31), nonce)).toThrow("expected a digest of 32 bytes, got 31");
    expect(() => startOts(digest, new Uint8Array(15))).toThrow("expected a nonce of 16 bytes, got 15");
    expect(() => join([])).toThrow("expected at least one answer");
  });
});

describe("verifyOts", () => {
  const time = 1_770_000_000;
  const merkleRoot = sha(sha(digest, hex("01")), hex("02"));
  const header = { height: 840_000, header: mineHeader(merkleRoot, time) };
  const proof = file(`f0010108f0010208${BITCOIN("c0a233")}`);
  const verify = (bytes: Uint8Array, headers = [header]): unknown =>
    verifyOts(bytes, { digest, headers, bitsMax: REGTEST_BITS });

  it("gives the time of the block and two hours as a bound", () => {
    expect(verify(proof)).toEqual({
      height: 840_000,
      blockHash: parseBitcoinHeader(header.header, REGTEST_BITS).hash,
      blockTime: time,
      notAfterMs: (time + 7_200) * 1_000,
      notBeforeMs: (time - 7_200) * 1_000,
      contradicted: [],
    });
    expect(bitcoinHeightsOf(proof, digest)).toEqual([840_000]);
  });

  it("gives the narrowest of several bounds, and names attestations that a header contradicts beside it", () => {
    const later = { height: 840_001, header: mineHeader(merkleRoot, time + 600) };
    const forged = { height: 839_999, header: mineHeader(sha(hex("00")), time - 600) };
    const both = file(
      `f0010108f00102 08 ff${BITCOIN("c1a233")} ff${BITCOIN("bfa233")} ${BITCOIN("c0a233")}`.replaceAll(" ", ""),
    );
    expect(verify(both, [later, forged, header])).toMatchObject({
      ...{ height: 840_000, contradicted: [839_999] },
      notBeforeMs: (time + 600 - 7_200) * 1_000,
    });
    expect(bitcoinHeightsOf(both, digest)).toEqual([839_999, 840_000, 840_001]);
  });

  for (const [title, run, expected] of [
    ["another digest", () => verifyOts(proof, { digest: sha(digest), headers: [header] }), "it stamps another digest"],
    [
      "a digest of another hash",
      () => verify(hex(`${MAGIC}0102${"aa".repeat(20)}${BITCOIN("c0a233")}`)),
      "it stamps a sha1 digest",
    ],
    [
      "pending attestations alone",
      () => verify(file(PENDING("https://a.example"))),
      "it is pending: no block attests it yet",
    ],
    [
      "an attestation of another chain alone",
      () => verify(file(`0006869a0d73d71b4503c0a233`)),
      "it is pending: no block attests it yet",
    ],
    ["no header of the block", () => verify(proof, []), "no header of a block that attests it is at hand"],
    [
      "a header of another height alone",
      () => verify(proof, [{ ...header, height: 1 }]),
      "no header of a block that attests it is at hand",
    ],
    ["a forged attestation", () => verify(file(BITCOIN("c0a233"))), "block 840000 has another Merkle root"],
    ["a path through SHA-1", () => verify(file(`02${BITCOIN("c0a233")}`)), "sha1 stands between digest and block"],
    [
      "a path through reverse",
      () => verify(file(`f208${BITCOIN("c0a233")}`)),
      "reverse stands between digest and block",
    ],
  ] as const) {
    it(`refuses ${title}`, () => {
      expect(refusal(run)).toBe(`proof-invalid: opentimestamps proof: ${expected}`);
    });
  }

  it("refuses a header of the main chain's kind with the work of a test network, and one whose hash misses its target", () => {
    expect(refusal(() => verifyOts(proof, { digest, headers: [header] }))).toBe(
      "proof-invalid: bitcoin header: its target is easier than any of the chain",
    );
    const real = hex(BLOCK_358391);
    real[68]! ^= 1;
    expect(refusal(() => parseBitcoinHeader(real))).toBe("proof-invalid: bitcoin header: its hash misses its target");
    expect(refusal(() => parseBitcoinHeader(real.subarray(1)))).toBe(
      "proof-invalid: bitcoin header: expected 80 bytes, got 79",
    );
    for (const bits of ["00000000", "00008020", "ffff0021"]) {
      const odd = Uint8Array.from(hex(BLOCK_358391));
      odd.set(hex(bits), 72);
      expect(refusal(() => parseBitcoinHeader(odd))).toBe("proof-invalid: bitcoin header: expected a target");
      expect(refusal(() => verifyOts(proof, { digest, headers: [{ ...header, header: odd }] }))).toBe(
        "proof-invalid: bitcoin header: expected a target",
      );
    }
  });

  it("reads a header of the main chain", () => {
    const block = parseBitcoinHeader(hex(BLOCK_358391));
    expect({ ...block, merkleRoot: encodeHex(block.merkleRoot) }).toEqual({
      hash: "000000000000000003e892881a8cdcdc117c06d444057c98b6f04a9ee75a2319",
      merkleRoot: "007ee445d23ad061af4a36b809501fab1ac4f2d7e7a739817dd0cbb7ec661b8a",
      time: 1_432_827_678,
    });
  });

  for (const vector of vectors.opentimestamps) {
    it(`agrees with the vector: ${vector.title}`, () => {
      const run = (): unknown =>
        verifyOts(hex(vector.proof), {
          digest: hex(vector.digest),
          headers: vector.headers.map((one) => ({ height: one.height, header: hex(one.header) })),
          ...(vector.bitsMax === undefined ? {} : { bitsMax: vector.bitsMax }),
        });
      if (vector.code === undefined) expect(run()).toMatchObject({ notAfterMs: vector.notAfterMs });
      else expect(run).toThrow(expect.objectContaining({ code: vector.code }));
    });
  }
});

/** A fact of the chain: the header of block 358391. */
const BLOCK_358391 =
  "02000000b96394585a281b7e5f438fd1c9ed492645a1fd61cb3802040000000000000000007ee445d23ad061af4a36b809501fab1ac4f2d7e7a739817dd0cbb7ec661b8a1e376755f58616186272def6";

describe("header files", () => {
  it("are written by height and read back", () => {
    const headers = [2, 1].map((height) => ({ height, header: mineHeader(sha(Uint8Array.of(height)), 1_770_000_000) }));
    const text = formatBitcoinHeaders(headers);
    expect(parseBitcoinHeaders(`# pinned\n\n${text}`)).toEqual([...headers].reverse());
    expect(text).toMatch(/^1 [0-9a-f]{160}\n2 [0-9a-f]{160}\n$/);
  });

  it("are refused with a line that is no header, a height twice, or too many", () => {
    const line = `1 ${"00".repeat(80)}\n`;
    expect(refusal(() => parseBitcoinHeaders(`${line}1 00\n`))).toBe(
      "malformed-proof: bitcoin headers, line 2: expected a height and 160 hex digits",
    );
    expect(refusal(() => parseBitcoinHeaders(`${line}${line}`))).toBe(
      "malformed-proof: bitcoin headers, line 2: height 1 stands there twice",
    );
    const many = Array.from({ length: 10_001 }, (_, i) => line.replace("1", String(i + 1))).join("");
    expect(refusal(() => parseBitcoinHeaders(many))).toBe("malformed-proof: bitcoin headers: more than 10000");
  });
});
