import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { assertOrigin, formatCheckpoint, isOrigin, parseCheckpoint, parseLedgerCheckpoint } from "./checkpoint.ts";
import { encodeBase64 } from "./encoding.ts";
import { EMPTY_ROOT } from "./merkle.ts";
import { parseNote } from "./note.ts";
import { verifyConsistency } from "./proof.ts";

const vectors = JSON.parse(readFileSync("vectors/tlog.json", "utf8")) as {
  tessera_log: { checkpoints: { size: number; root_b64: string }[] };
  cosig_v1: { checkpoint_body: string };
  witness_sequence: { origin: string; steps: { name: string; body: string; status: number }[] };
};
const ROOT = encodeBase64(EMPTY_ROOT);
const malformed = (message: string) => expect.objectContaining({ code: "malformed-checkpoint", message });

describe("published checkpoints", () => {
  it("parse and format back", () => {
    for (const { size, root_b64 } of vectors.tessera_log.checkpoints) {
      const text = `example.com/log/testdata\n${size}\n${root_b64}\n`;
      const checkpoint = parseCheckpoint(text);
      expect(checkpoint).toMatchObject({ origin: "example.com/log/testdata", size, extensions: [] });
      expect(encodeBase64(checkpoint.root)).toBe(root_b64);
      if (size > 0) expect(formatCheckpoint(checkpoint)).toBe(text);
    }
    expect(formatCheckpoint(parseLedgerCheckpoint(vectors.cosig_v1.checkpoint_body))).toBe(
      vectors.cosig_v1.checkpoint_body,
    );
  });

  it("of a witness test sequence are consistent or not as their status says", () => {
    const { origin, steps } = vectors.witness_sequence;
    let stored: { size: number; root: Uint8Array } | null = null;
    let compared = 0;
    for (const { name, body, status } of steps) {
      const [, oldSize, hashes, note] = /^old (\d+)\n((?:[^\n]+\n)*)\n(.*)$/s.exec(body)!;
      if (name === "invalid checkpoint body") {
        expect(() => parseCheckpoint(parseNote(note!).text)).toThrow(
          expect.objectContaining({ code: "malformed-checkpoint", message: 'expected a decimal number, got "five"' }),
        );
      }
      if (status !== 200 && status !== 422) continue;
      const checkpoint = parseLedgerCheckpoint(parseNote(note!).text);
      expect(checkpoint.origin).toBe(origin);
      if (stored !== null) {
        const proof = hashes!
          .split("\n")
          .slice(0, -1)
          .map((hash) => new Uint8Array(Buffer.from(hash, "base64")));
        const claim = {
          oldSize: stored.size,
          oldRoot: stored.root,
          newSize: checkpoint.size,
          newRoot: checkpoint.root,
          proof,
        };
        if (status === 200) verifyConsistency(claim);
        else expect(() => verifyConsistency(claim)).toThrow(expect.objectContaining({ code: "proof-invalid" }));
        expect(stored.size).toBe(Number(oldSize));
        compared++;
      }
      if (status === 200) stored = checkpoint;
    }
    expect(compared).toBe(4);
  });
});

describe("checkpoint texts", () => {
  it("may carry extension lines, which a ledger's own never do", () => {
    const text = `log\n7\n${ROOT}\nfirst\n2\n`;
    expect(parseCheckpoint(text).extensions).toEqual(["first", "2"]);
    expect(() => parseLedgerCheckpoint(text)).toThrow(malformed("checkpoint: expected no extension lines"));
  });

  it("of an empty tree are never a ledger's own", () => {
    const text = `log\n0\n${ROOT}\n`;
    expect(parseCheckpoint(text).size).toBe(0);
    expect(() => parseLedgerCheckpoint(text)).toThrow(malformed("checkpoint: size 0 is never signed"));
    expect(() => formatCheckpoint({ origin: "log", size: 0, root: EMPTY_ROOT })).toThrow(
      new RangeError("checkpoint: expected a size of 1..9007199254740991, got 0"),
    );
  });

  it.each([
    ["", "checkpoint: expected a final newline"],
    [`log\n1\n${ROOT}`, "checkpoint: expected a final newline"],
    ["\n", "checkpoint: expected at least 3 lines, got 1"],
    ["log\n1\n", "checkpoint: expected at least 3 lines, got 2"],
    [`\n1\n${ROOT}\n`, "checkpoint: expected a non-empty origin"],
    [`log\n1\n${ROOT}\n\n`, "checkpoint: expected non-empty extension lines"],
    [`log\n1\n${ROOT}\n\nextension\n`, "checkpoint: expected non-empty extension lines"],
    [`log\n01\n${ROOT}\n`, 'expected a decimal number, got "01"'],
    [`log\n00\n${ROOT}\n`, 'expected a decimal number, got "00"'],
    [`log\n+1\n${ROOT}\n`, 'expected a decimal number, got "+1"'],
    [`log\n-1\n${ROOT}\n`, 'expected a decimal number, got "-1"'],
    [`log\n 1\n${ROOT}\n`, 'expected a decimal number, got " 1"'],
    [`log\n1 \n${ROOT}\n`, 'expected a decimal number, got "1 "'],
    [`log\n\n${ROOT}\n`, 'expected a decimal number, got ""'],
    [`log\n0x10\n${ROOT}\n`, 'expected a decimal number, got "0x10"'],
    [`log\n1e3\n${ROOT}\n`, 'expected a decimal number, got "1e3"'],
    [`log\n1.0\n${ROOT}\n`, 'expected a decimal number, got "1.0"'],
    [`log\n\u0661\n${ROOT}\n`, 'expected a decimal number, got "\u0661"'],
    [`log\n1\r\n${ROOT}\n`, 'expected a decimal number, got "1\\r"'],
    [`log\n9007199254740992\n${ROOT}\n`, "expected a number of at most 2^53-1"],
    [`log\n18446744073709551616\n${ROOT}\n`, 'expected a decimal number, got "18446744073709551616"'],
    [`log\n1\n${ROOT.slice(0, -1)}\n`, "expected canonical base64"],
    [`log\n1\n ${ROOT}\n`, "expected canonical base64"],
    [`log\n1\n${ROOT.replace("FU=", "FV=")}\n`, "expected canonical base64"],
    [`log\n1\n${ROOT.replace("+", "-")}\n`, "expected base64"],
    [`log\n1\n${encodeBase64(new Uint8Array(31))}\n`, "checkpoint: expected a root of 32 bytes, got 31"],
    [`log\n1\n${encodeBase64(new Uint8Array(33))}\n`, "checkpoint: expected a root of 32 bytes, got 33"],
    ["log\n1\n\n", "checkpoint: expected a root of 32 bytes, got 0"],
  ])("are refused: %j", (text, message) => {
    expect(() => parseCheckpoint(text)).toThrow(malformed(message));
  });

  it("take the largest size that is exact", () => {
    expect(parseCheckpoint(`log\n9007199254740991\n${ROOT}\n`).size).toBe(2 ** 53 - 1);
  });

  it("that are accepted have one spelling", () => {
    const piece = fc.constantFrom(
      "log",
      "\n",
      "1",
      "0",
      "10",
      `${ROOT}\n`,
      ROOT,
      " ",
      "-",
      "\r",
      "é",
      `log\n1\n${ROOT}\n`,
    );
    let accepted = 0;
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 8 }), (pieces) => {
        const text = pieces.join("");
        let checkpoint: ReturnType<typeof parseCheckpoint>;
        try {
          checkpoint = parseCheckpoint(text);
        } catch (error) {
          expect(error).toMatchObject({ code: "malformed-checkpoint" });
          return;
        }
        accepted++;
        const { origin, size, root, extensions } = checkpoint;
        expect([origin, size, encodeBase64(root), ...extensions, ""].join("\n")).toBe(text);
        if (size > 0 && extensions.length === 0 && isOrigin(origin)) expect(formatCheckpoint(checkpoint)).toBe(text);
      }),
      { seed: 13, numRuns: 10_000 },
    );
    expect(accepted).toBeGreaterThan(50);
  });

  it("are not made of a root of another size", () => {
    expect(() => formatCheckpoint({ origin: "log", size: 1, root: new Uint8Array(31) })).toThrow(
      new RangeError("checkpoint: expected a root of 32 bytes, got 31"),
    );
    for (const size of [-1, 1.5, 2 ** 53, Number.NaN]) {
      expect(() => formatCheckpoint({ origin: "log", size, root: EMPTY_ROOT })).toThrow(RangeError);
    }
  });
});

describe("origins", () => {
  it("are 1 to 255 printable ASCII characters without space and plus", () => {
    for (const origin of [
      "a",
      "example.com/audit",
      "!~*,-/",
      "a".repeat(255),
      "tallystick.local/a.db/0f",
      "Tallystick/x",
      "tallystick",
    ]) {
      expect(isOrigin(origin)).toBe(true);
      assertOrigin(origin);
    }
    for (const origin of [
      "",
      " ",
      "a b",
      "a+b",
      "a\n",
      "a\tb",
      "é",
      "\x7f",
      "a".repeat(256),
      "tallystick/x",
      "cosignature/v1",
      "subtree/",
    ]) {
      expect(isOrigin(origin), origin).toBe(false);
      expect(() => assertOrigin(origin)).toThrow(expect.objectContaining({ code: "malformed-origin" }));
      expect(() => formatCheckpoint({ origin, size: 1, root: EMPTY_ROOT })).toThrow(
        expect.objectContaining({
          code: "malformed-origin",
          message: expect.stringMatching(/^expected an origin: 1 to 255/),
        }),
      );
      if (origin !== "" && !origin.includes("\n")) {
        expect(() => parseLedgerCheckpoint(`${origin}\n1\n${ROOT}\n`)).toThrow(
          malformed("checkpoint: expected the origin of a ledger"),
        );
      }
    }
  });
});
