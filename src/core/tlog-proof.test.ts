import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { hashLeaf } from "./merkle.ts";
import { parseVerifierKey } from "./note.ts";
import { parsePolicy } from "./policy.ts";
import { formatTlogProof, parseTlogProof, type TlogProof, verifyTlogProof } from "./tlog-proof.ts";

const vectors = JSON.parse(readFileSync("vectors/tlog.json", "utf8")) as {
  tlog_proofs: {
    vkeys: string[];
    leaf_utf8?: string;
    leaf_hex?: string;
    leaf_hash?: string;
    proof: string;
    sha256: string;
  }[];
};
const [tessera, sigsum] = vectors.tlog_proofs as [(typeof vectors.tlog_proofs)[0], (typeof vectors.tlog_proofs)[0]];
const malformed = (message: string) => expect.objectContaining({ code: "malformed-proof", message });

const tesseraLeaf = hashLeaf(Buffer.from(tessera.leaf_utf8!));
const tesseraPolicy = parsePolicy(`log ${tessera.vkeys[0]}\nquorum none\n`);
const sigsumLeaf = hashLeaf(Buffer.from(sigsum.leaf_hex!, "hex"));
const sigsumPolicy = parsePolicy(`log ${sigsum.vkeys[0]}\nwitness w ${sigsum.vkeys[1]}\nquorum w\n`);

describe("published proofs", () => {
  it("verify: an entry of the log of Tessera", async () => {
    expect(createHash("sha256").update(tessera.proof).digest("hex")).toBe(tessera.sha256);
    const proof = parseTlogProof(tessera.proof);
    expect(proof).toMatchObject({ index: 11, extra: null });
    expect(proof.path.length).toBe(4);
    const verified = await verifyTlogProof({ proof, leafHash: tesseraLeaf, policy: tesseraPolicy });
    expect(verified).toMatchObject({ checkpoint: { size: 15 }, quorum: true, witnessTime: null });
  });

  it("verify with the quorum: a leaf of Sigsum, cosigned by one witness", async () => {
    expect(createHash("sha256").update(sigsum.proof).digest("hex")).toBe(sigsum.sha256);
    expect(Buffer.from(sigsumLeaf).toString("hex")).toBe(sigsum.leaf_hash);
    const verified = await verifyTlogProof({
      proof: parseTlogProof(sigsum.proof),
      leafHash: sigsumLeaf,
      policy: sigsumPolicy,
    });
    const time = Buffer.from("fRWOIwAAAABkU6LG", "base64").readUInt32BE(8);
    expect(verified).toMatchObject({
      checkpoint: { size: 4 },
      quorum: true,
      witnesses: [{ name: "w", time }],
      witnessTime: time,
    });
    expect(verified.logKeys).toEqual([parseVerifierKey(sigsum.vkeys[0]!)]);
  });

  it("format back to the same bytes", () => {
    for (const { proof } of vectors.tlog_proofs) {
      expect(formatTlogProof(parseTlogProof(proof))).toBe(proof);
      expect(parseTlogProof(Buffer.from(proof))).toEqual(parseTlogProof(proof));
    }
    const withExtra = tessera.proof.replace("@v1\n", "@v1\nextra AAECAw==\n");
    expect(parseTlogProof(withExtra).extra).toEqual(Uint8Array.of(0, 1, 2, 3));
    expect(formatTlogProof(parseTlogProof(withExtra))).toBe(withExtra);
  });
});

describe("altered proofs", () => {
  it("are refused: every bit of every hash, every other index, another leaf", async () => {
    const proof = parseTlogProof(tessera.proof);
    const verify = (change: Partial<TlogProof>, leafHash = tesseraLeaf) =>
      verifyTlogProof({ proof: { ...proof, ...change }, leafHash, policy: tesseraPolicy });
    for (const [at, hash] of proof.path.entries()) {
      for (let bit = 0; bit < 256; bit += 7) {
        const altered = hash.slice();
        altered[bit >> 3]! ^= 1 << (bit & 7);
        await expect(verify({ path: proof.path.with(at, altered) })).rejects.toMatchObject({ code: "proof-invalid" });
      }
    }
    for (let index = 0; index < 40; index++) {
      if (index !== 11) await expect(verify({ index })).rejects.toMatchObject({ code: "proof-invalid" });
    }
    await expect(verify({ index: 15 })).rejects.toMatchObject({
      message: "inclusion proof: index 15 is not in a tree of size 15",
    });
    await expect(verify({}, hashLeaf(Buffer.from("twelve")))).rejects.toMatchObject({ code: "proof-invalid" });
    await expect(verify({ path: proof.path.slice(1) })).rejects.toMatchObject({
      message: "inclusion proof: expected 4 hashes, got 3",
    });
  });

  it("of another log are refused, though they verify there: the origin comes first", async () => {
    await expect(
      verifyTlogProof({ proof: parseTlogProof(sigsum.proof), leafHash: sigsumLeaf, policy: tesseraPolicy }),
    ).rejects.toMatchObject({ code: "origin-mismatch" });
    const spliced = { ...parseTlogProof(tessera.proof), checkpoint: parseTlogProof(sigsum.proof).checkpoint };
    await expect(
      verifyTlogProof({ proof: spliced, leafHash: tesseraLeaf, policy: sigsumPolicy }),
    ).rejects.toMatchObject({
      code: "proof-invalid",
    });
  });
});

describe("texts that are no proof", () => {
  const good = tessera.proof;
  const firstHash = "uy2MRu32l9VzMYXmlLTuLB0EuEIiyfy02KXQov7P7TM=";
  it.each([
    ["nothing", "", "tlog-proof: expected a blank line before the checkpoint"],
    ["another header", good.replace("@v1", "@v2"), "tlog-proof: expected c2sp.org/tlog-proof@v1 as the first line"],
    ["a byte order mark", `\ufeff${good}`, "tlog-proof: expected c2sp.org/tlog-proof@v1 as the first line"],
    ["a blank line first", `\n\n${good}`, "tlog-proof: expected c2sp.org/tlog-proof@v1 as the first line"],
    ["no index", good.replace("index 11\n", ""), "tlog-proof: expected an index line"],
    ["an index that is no number", good.replace("index 11", "index eleven"), 'expected a decimal number, got "eleven"'],
    ["a negative index", good.replace("index 11", "index -1"), 'expected a decimal number, got "-1"'],
    ["an index with a leading zero", good.replace("index 11", "index 011"), 'expected a decimal number, got "011"'],
    ["an index with a sign", good.replace("index 11", "index +5"), 'expected a decimal number, got "+5"'],
    ["an index in hex", good.replace("index 11", "index 0xb"), 'expected a decimal number, got "0xb"'],
    ["no index number", good.replace("index 11", "index "), 'expected a decimal number, got ""'],
    ["two spaces", good.replace("index 11", "index  11"), 'expected a decimal number, got " 11"'],
    [
      "an index above 2^53-1",
      good.replace("index 11", "index 9007199254740992"),
      "expected a number of at most 2^53-1",
    ],
    ["capitals", good.replace("index 11", "Index 11"), "tlog-proof: expected an index line"],
    ["two index lines", good.replace("index 11\n", "index 11\nindex 11\n"), "expected canonical base64"],
    ["a hash that is no base64", good.replace(firstHash, "!"), "expected base64"],
    ["a hash without padding", good.replace(firstHash, firstHash.slice(0, -1)), "expected canonical base64"],
    ["a hash with spare bits", good.replace(firstHash, firstHash.replace("TM=", "TN=")), "expected canonical base64"],
    ["a hash with a space", good.replace(firstHash, `${firstHash} `), "expected canonical base64"],
    [
      "a hash of 64 bytes",
      good.replace(firstHash, Buffer.alloc(64).toString("base64")),
      "tlog-proof: expected hashes of 32 bytes, got 64",
    ],
    [
      "a hash of 31 bytes",
      good.replace(firstHash, Buffer.alloc(31).toString("base64")),
      "tlog-proof: expected hashes of 32 bytes, got 31",
    ],
    [
      "65 hashes",
      good.replace(firstHash, Array.from({ length: 62 }, () => firstHash).join("\n")),
      "tlog-proof: expected at most 64 hashes, got 65",
    ],
    ["bad extra data", good.replace("@v1\n", "@v1\nextra A\n"), "expected base64"],
    ["extra data without padding", good.replace("@v1\n", "@v1\nextra AAECAw\n"), "expected canonical base64"],
    ["empty extra data", good.replace("@v1\n", "@v1\nextra \n"), "tlog-proof: expected extra data, or no such line"],
    ["extra without data", good.replace("@v1\n", "@v1\nextra\n"), "tlog-proof: expected an index line"],
    ["two extra lines", good.replace("@v1\n", "@v1\nextra AAEC\nextra AAEC\n"), "tlog-proof: expected an index line"],
    ["extra after the index", good.replace("index 11\n", "index 11\nextra AAEC\n"), "expected base64"],
    ["carriage returns", good.replaceAll("\n", "\r\n"), "tlog-proof: expected a blank line before the checkpoint"],
    [
      "a carriage return after the header",
      good.replace("@v1\n", "@v1\r\n"),
      "tlog-proof: expected c2sp.org/tlog-proof@v1 as the first line",
    ],
    ["a carriage return after a hash", good.replace(firstHash, `${firstHash}\r`), "expected canonical base64"],
    ["no blank line", good.replace("\n\n", "\n"), "expected base64"],
    [
      "a line of more than 64 KiB",
      good.replace("@v1\n", `@v1\n${"A".repeat(70_000)}\n`),
      "tlog-proof: expected an index line",
    ],
    [
      "more than 512 KiB",
      good.replace("@v1\n", `@v1\nextra ${"AAAA".repeat(140_000)}\n`),
      "tlog-proof: expected at most 524288 characters",
    ],
  ])("are refused: %s", (_name, text, message) => {
    expect(text).not.toBe(good);
    expect(() => parseTlogProof(text)).toThrow(malformed(message));
  });

  it.each([
    ["an extra blank line", good.replace("\n\n", "\n\n\n"), "malformed-checkpoint"],
    ["bytes after the last signature", `${good}x`, "malformed-note"],
    ["a line after the last signature", `${good}x\n`, "malformed-note"],
    ["a newline after the last signature", `${good}\n`, "malformed-note"],
    ["no last newline", good.slice(0, -1), "malformed-note"],
    ["no signature", good.slice(0, good.indexOf("\u2014")), "malformed-note"],
    ["a note that is no checkpoint", good.replace("\n15\n", "\nfifteen\n"), "malformed-checkpoint"],
    ["carriage returns in the note", good.replace("testdata\n15\n", "testdata\r\n15\r\n"), "malformed-note"],
    ["no note", good.slice(0, good.indexOf("\n\n") + 2), "malformed-note"],
  ])("are refused for their checkpoint: %s", (_name, text, code) => {
    expect(() => parseTlogProof(text)).toThrow(expect.objectContaining({ code }));
  });

  it("are refused as bytes that are not UTF-8", () => {
    expect(() => parseTlogProof(Buffer.concat([Buffer.from(good), Uint8Array.of(0xff)]))).toThrow(
      malformed("expected UTF-8 text"),
    );
  });

  it("are not made from parts that read differently", () => {
    const proof = parseTlogProof(good);
    const wrongs: [Partial<TlogProof>, string][] = [
      [{ index: -1 }, "malformed-proof"],
      [{ index: 1.5 }, "malformed-proof"],
      [{ index: 2 ** 53 }, "malformed-proof"],
      [{ path: [new Uint8Array(31)] }, "malformed-proof"],
      [{ extra: new Uint8Array(0) }, "malformed-proof"],
      [{ checkpoint: "no note\n" }, "malformed-note"],
    ];
    for (const [change, code] of wrongs)
      expect(() => formatTlogProof({ ...proof, ...change })).toThrow(expect.objectContaining({ code }));
  });

  it("that are accepted format back to the same bytes", () => {
    const lines = good.split(/(?<=\n)/);
    const piece = fc.oneof(
      fc.constantFrom(...lines, "\n", "extra AAEC\n", "index 0\n", `${firstHash}\n`, " ", "\r\n"),
      fc.nat({ max: lines.length - 1 }).map((i) => lines[i]!),
    );
    let accepted = 0;
    fc.assert(
      fc.property(
        fc.nat({ max: lines.length }),
        fc.nat({ max: 3 }),
        fc.array(piece, { maxLength: 3 }),
        (at, remove, insert) => {
          const text = [...lines.slice(0, at), ...insert, ...lines.slice(at + remove)].join("");
          let proof: TlogProof;
          try {
            proof = parseTlogProof(text);
          } catch (error) {
            expect(["malformed-proof", "malformed-note", "malformed-checkpoint"]).toContain(
              (error as { code: string }).code,
            );
            return;
          }
          accepted++;
          expect(formatTlogProof(proof)).toBe(text);
        },
      ),
      { seed: 17, numRuns: 5_000 },
    );
    expect(accepted).toBeGreaterThan(200);
  });
});
