import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ed25519Signer, mlDsaSigner, seedOf, verifierOf } from "../../test/interop/note-signers.ts";
import { encodeBase64, encodeHex } from "./encoding.ts";
import {
  cosignNote,
  formatNote,
  formatSignatureLine,
  formatVerifierKey,
  parseNote,
  parseVerifierKey,
  signNote,
  spkiOfVerifierKey,
  verifyNote,
} from "./note.ts";

const vectors = JSON.parse(readFileSync("vectors/tlog.json", "utf8")) as {
  notes: { note: string; vkey: string; vkey2?: string; skey?: string }[];
  vkeys_keyid_ok: { vkeys: string[] };
  rekor_ecdsa: { spki_b64: string; key_id: string; text: string; sig_b64: string };
  tessera_log: { vkey: string; skey: string; checkpoints: { size: number; root_b64: string; sig_b64: string }[] };
  witness_sequence: {
    log_public_key_hex: string;
    origin: string;
    steps: { name: string; body: string; status: number }[];
  };
};

const [c2sp, neumann] = vectors.notes as [
  { note: string; vkey: string },
  { note: string; vkey: string; vkey2: string; skey: string },
];
const TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
const [NEUMANN_LINE, ENOCH_LINE] = neumann.note.slice(TEXT.length + 1).split(/(?<=\n)/) as [string, string];
const NEUMANN = parseVerifierKey(neumann.vkey);
const ENOCH = parseVerifierKey(neumann.vkey2);
const malformed = (message: string) => expect.objectContaining({ code: "malformed-note", message });
/** Seed of a Go private key, `PRIVATE+KEY+<name>+<id>+<base64 of type ‖ seed>`. */
const seedOfKey = (skey: string): Uint8Array =>
  Buffer.from(/^PRIVATE\+KEY\+[^+]+\+[0-9a-f]{8}\+(.+)$/.exec(skey)![1]!, "base64").subarray(1);
const flip = (text: string, at: number): string =>
  text.slice(0, at) + (text[at] === "A" ? "B" : "A") + text.slice(at + 1);

describe("published notes", () => {
  it("verify: the example of C2SP", async () => {
    const key = parseVerifierKey(c2sp.vkey);
    const verified = await verifyNote(parseNote(c2sp.note), [key]);
    expect(verified).toEqual([{ key, time: null, line: c2sp.note.slice(c2sp.note.indexOf("\u2014")) }]);
  });

  it("verify under each of two keys, and under both", async () => {
    const note = parseNote(neumann.note);
    expect(note.text).toBe(TEXT);
    expect((await verifyNote(note, [NEUMANN, ENOCH])).map(({ key }) => key.name)).toEqual([
      "PeterNeumann",
      "EnochRoot",
    ]);
    expect((await verifyNote(note, [ENOCH])).map(({ key }) => key.name)).toEqual(["EnochRoot"]);
    expect((await verifyNote(parseNote(new TextEncoder().encode(neumann.note)), [NEUMANN])).length).toBe(1);
  });

  it("are signed again byte for byte with their published private keys", async () => {
    const seed = seedOfKey(neumann.skey);
    expect(await signNote(TEXT, "PeterNeumann", ed25519Signer(seed))).toBe(NEUMANN_LINE);
    const { tessera_log } = vectors;
    const signer = ed25519Signer(seedOfKey(tessera_log.skey));
    expect(formatVerifierKey({ name: "example.com/log/testdata", type: 1, publicKey: signer.publicKey })).toBe(
      tessera_log.vkey,
    );
    for (const { size, root_b64, sig_b64 } of tessera_log.checkpoints) {
      const text = `example.com/log/testdata\n${size}\n${root_b64}\n`;
      const line = await signNote(text, "example.com/log/testdata", signer);
      expect(line).toBe(`\u2014 example.com/log/testdata ${sig_b64}\n`);
    }
  });

  it("of another signature type are lines of an unknown key: Rekor's ECDSA checkpoint", async () => {
    const { text, sig_b64, key_id, spki_b64 } = vectors.rekor_ecdsa;
    const note = parseNote(`${text}\n\u2014 rekor.sigstore.dev ${sig_b64}\n`);
    expect(note.signatures[0]?.keyId.toString(16)).toBe(key_id);
    await expect(verifyNote(note, [NEUMANN])).rejects.toMatchObject({ code: "signature-missing" });
    const vkey = `rekor.sigstore.dev+${key_id}+${encodeBase64(Buffer.concat([Uint8Array.of(2), Buffer.from(spki_b64, "base64")]))}`;
    expect(() => parseVerifierKey(vkey)).toThrow(
      expect.objectContaining({
        code: "malformed-key",
        message: "verifier key: expected signature type 1, 4 or 6, got 2",
      }),
    );
  });

  it("of a witness test sequence verify or not as their status says", async () => {
    const { log_public_key_hex, origin, steps } = vectors.witness_sequence;
    const publicKey = Buffer.from(log_public_key_hex, "hex");
    const key = parseVerifierKey(formatVerifierKey({ name: origin, type: 1, publicKey }));
    expect(steps.length).toBe(11);
    for (const { name, body, status } of steps) {
      const note = body.slice(body.indexOf("\n\n") + 2);
      if (name === "syntactically invalid note") {
        expect(() => parseNote(note), name).toThrow(expect.objectContaining({ code: "malformed-note" }));
      } else if (status === 403) {
        // Its base64 has spare bits set: refused before the signature is looked at. Spelt canonically, it does not verify.
        expect(() => parseNote(note), name).toThrow(malformed("expected canonical base64"));
        const canonical = note.replace(/\S+\n$/, (base64) => `${Buffer.from(base64, "base64").toString("base64")}\n`);
        await expect(verifyNote(parseNote(canonical), [key]), name).rejects.toMatchObject({
          code: "signature-invalid",
        });
      } else if (status === 404) {
        await expect(verifyNote(parseNote(note), [key]), name).rejects.toMatchObject({ code: "signature-missing" });
      } else {
        expect((await verifyNote(parseNote(note), [key])).length, name).toBe(1);
      }
    }
  });
});

describe("verifier keys", () => {
  it("that are published parse, with the key ID that they state, and format back", () => {
    for (const vkey of [...vectors.vkeys_keyid_ok.vkeys, neumann.vkey, neumann.vkey2, c2sp.vkey]) {
      const key = parseVerifierKey(vkey);
      expect(formatVerifierKey(key)).toBe(vkey);
      expect(vkey.split("+")[1]).toBe(key.keyId.toString(16).padStart(8, "0"));
      expect(spkiOfVerifierKey(key).length).toBe(44);
    }
  });

  it("with a plus in the base64 are split at the first two only", () => {
    const vkey = vectors.vkeys_keyid_ok.vkeys.find((candidate) => candidate.startsWith("TEST+"))!;
    expect(vkey.split("+").length).toBeGreaterThan(3);
    expect(parseVerifierKey(vkey).name).toBe("TEST");
  });

  it("with any character changed, removed or doubled are refused", () => {
    const tolerated = "AHzC";
    for (let at = 0; at < neumann.vkey.length; at++) {
      for (const other of [...tolerated, "+", " ", "\n", "=", "_"]) {
        const changed = neumann.vkey.slice(0, at) + other + neumann.vkey.slice(at + 1);
        if (changed === neumann.vkey) continue;
        expect(() => parseVerifierKey(changed), changed).toThrow(expect.objectContaining({ code: "malformed-key" }));
      }
      for (const changed of [
        neumann.vkey.slice(0, at) + neumann.vkey.slice(at + 1),
        neumann.vkey.slice(0, at) + neumann.vkey.slice(at - 1),
      ]) {
        if (changed === neumann.vkey) continue;
        expect(() => parseVerifierKey(changed), changed).toThrow(expect.objectContaining({ code: "malformed-key" }));
      }
    }
  });

  it("with the ID of another key are refused, as the ID is computed again", () => {
    expect(() => parseVerifierKey("test+5893dc2c+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")).toThrow(
      expect.objectContaining({
        code: "malformed-key",
        message: expect.stringMatching(/^verifier key: expected key ID [0-9a-f]{8}, got 5893dc2c$/),
      }),
    );
  });

  const vkeyOf = (name: string, typeAndKey: Uint8Array): string => {
    const id = createHash("sha256").update(`${name}\n`).update(typeAndKey).digest().subarray(0, 4);
    return `${name}+${encodeHex(id)}+${encodeBase64(typeAndKey)}`;
  };

  it("of a wrong length or an unknown type are refused, though their ID is right", () => {
    const key = NEUMANN.publicKey;
    for (const [type, publicKey, message] of [
      [1, key.subarray(1), "verifier key: expected 32 bytes of ed25519 key, got 31"],
      [4, Buffer.concat([key, key]), "verifier key: expected 32 bytes of ed25519 key, got 64"],
      [6, key, "verifier key: expected 1312 bytes of ml-dsa-44 key, got 32"],
      [0, key, "verifier key: expected signature type 1, 4 or 6, got 0"],
      [5, key, "verifier key: expected signature type 1, 4 or 6, got 5"],
      [255, key, "verifier key: expected signature type 1, 4 or 6, got 255"],
    ] as const) {
      expect(() => parseVerifierKey(vkeyOf("name", Buffer.concat([Uint8Array.of(type), publicKey])))).toThrow(
        expect.objectContaining({ code: "malformed-key", message }),
      );
    }
    expect(() => parseVerifierKey(vkeyOf("name", new Uint8Array(0)))).toThrow(
      expect.objectContaining({ message: "verifier key: expected signature type 1, 4 or 6, got nothing" }),
    );
  });

  it("of small order, or not in their one encoding, are refused", () => {
    const weak = [
      "0100000000000000000000000000000000000000000000000000000000000000",
      "0100000000000000000000000000000000000000000000000000000000000080",
      "0000000000000000000000000000000000000000000000000000000000000000",
      "0000000000000000000000000000000000000000000000000000000000000080",
      "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
      "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
      "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
      "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
      "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
      "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
      "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
      "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
      "f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
      "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    ];
    for (const point of weak) {
      for (const type of [1, 4] as const) {
        const publicKey = Buffer.from(point, "hex");
        expect(() => parseVerifierKey(vkeyOf("name", Buffer.concat([Uint8Array.of(type), publicKey]))), point).toThrow(
          expect.objectContaining({ code: "malformed-key" }),
        );
        expect(() => formatVerifierKey({ name: "name", type, publicKey })).toThrow(
          expect.objectContaining({ code: "malformed-key" }),
        );
      }
    }
  });

  it("have names without white space, plus or control characters, whichever language counts them", () => {
    const spaces = [
      ..."\t\n\v\f\r \u0085\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000",
    ];
    for (const bad of [...spaces, "+", "\0", "\x1f", "\ud800"]) {
      const message = "expected a key name: not empty, no white space, no +, no control characters";
      expect(() => formatVerifierKey({ name: `a${bad}b`, type: 1, publicKey: NEUMANN.publicKey })).toThrow(
        expect.objectContaining({ code: "malformed-key", message }),
      );
      expect(() => formatSignatureLine(`a${bad}`, 1, Uint8Array.of(1))).toThrow(malformed(message));
    }
    expect(() => formatVerifierKey({ name: "", type: 1, publicKey: NEUMANN.publicKey })).toThrow(
      expect.objectContaining({ code: "malformed-key" }),
    );
    // JavaScript's \s counts U+FEFF as white space, Unicode does not: such a name is a name.
    for (const name of ["a\ufeffb", "\u180e", "\u200b", "名前", "💡"]) {
      const key = verifierOf(name, ed25519Signer(seedOf(name)), 1);
      expect(parseVerifierKey(key.vkey).name).toBe(name);
    }
  });

  it("of ML-DSA-44 have their SPKI and format back", () => {
    const key = verifierOf("witness.example.com/w2", mlDsaSigner(seedOf("ml")), 6);
    expect(parseVerifierKey(key.vkey)).toEqual(key);
    expect(encodeHex(spkiOfVerifierKey(key).subarray(0, 22))).toBe("30820532300b06096086480165030403110382052100");
  });
});

describe("notes that are none", () => {
  const good = neumann.note;
  const cases: Record<string, [string | Uint8Array, string]> = {
    "text alone": [TEXT, "note: expected a blank line before the signatures"],
    "text and a newline": [
      `${TEXT}\n`,
      "note: expected signature lines, each with a newline, after the last blank line",
    ],
    "a missing last newline": [
      good.slice(0, -1),
      "note: expected signature lines, each with a newline, after the last blank line",
    ],
    "a control character": [`\x01${good}`, "note: expected no control characters but newlines"],
    "a carriage return": [good.replaceAll("\n", "\r\n"), "note: expected no control characters but newlines"],
    "a tab": [good.replace("If you", "If\tyou"), "note: expected no control characters but newlines"],
    "bytes that are not UTF-8": [Buffer.concat([Uint8Array.of(0xff), Buffer.from(good)]), "expected UTF-8 text"],
    "an overlong UTF-8 sequence": [
      Buffer.concat([Uint8Array.of(0xc0, 0x80), Buffer.from(good)]),
      "expected UTF-8 text",
    ],
    "a lone surrogate": [`\ud800${good}`, "note: expected well-formed text"],
    "a key name with a space": [
      good.replace("PeterNeumann", "Peter Neumann"),
      "note: expected a signature line: em dash, key name, base64",
    ],
    "a key name with a no-break space": [
      good.replace("PeterNeumann", "Peter\u00a0Neumann"),
      "expected a key name: not empty, no white space, no +, no control characters",
    ],
    "a line after the signatures": [
      `${good}Unexpected line.\n`,
      "note: expected a signature line: em dash, key name, base64",
    ],
    "a blank line after the signatures": [
      `${good}\n`,
      "note: expected signature lines, each with a newline, after the last blank line",
    ],
    "a blank line between the signatures": [
      good.replace(ENOCH_LINE, `${TEXT}${ENOCH_LINE}`),
      "note: expected a signature line: em dash, key name, base64",
    ],
    "a hyphen for the em dash": [
      good.replace("\u2014 Peter", "- Peter"),
      "note: expected a signature line: em dash, key name, base64",
    ],
    "two spaces": [
      good.replace("\u2014 Peter", "\u2014  Peter"),
      "note: expected a signature line: em dash, key name, base64",
    ],
    "a space at the end": [
      good.replace("JnAM=\n", "JnAM= \n"),
      "note: expected a signature line: em dash, key name, base64",
    ],
    "base64 without padding": [good.replace("JnAM=\n", "JnAM\n"), "expected canonical base64"],
    "base64 with spare bits": [good.replace("JnAM=\n", "JnAN=\n"), "expected canonical base64"],
    "base64 of the URL alphabet": [good.replace("/ZJkuBS", "_ZJkuBS"), "expected base64"],
    "no base64": [`${TEXT}\n\u2014 PeterNeumann \n`, "note: expected a key ID and a signature"],
    "a key ID alone": [`${TEXT}\n\u2014 PeterNeumann x08goA==\n`, "note: expected a key ID and a signature"],
    nothing: ["", "note: expected a blank line before the signatures"],
    "65 signatures": [`${TEXT}\n${NEUMANN_LINE.repeat(65)}`, "note: expected at most 64 signatures, got 65"],
    "10,000 signatures": [
      `${TEXT}\n${"\u2014 a AAAAAAA=\n".repeat(10_000)}`,
      "note: expected at most 64 signatures, got 10000",
    ],
    "more than 256 KiB of text": [
      `${"a".repeat(256 * 1024)}\n\n${NEUMANN_LINE}`,
      "note: expected at most 262144 bytes",
    ],
    "more than 256 KiB of bytes": [
      Buffer.from(`${"é".repeat(131_072)}\n\n${NEUMANN_LINE}`),
      expect.stringContaining("262144 bytes") as unknown as string,
    ],
    "more than 256 KiB of bytes, as a string": [
      `${"é".repeat(131_072)}\n\n${NEUMANN_LINE}`,
      "note: expected at most 262144 bytes",
    ],
  };
  it.each(Object.entries(cases))("are refused: %s", (_name, [note, message]) => {
    expect(() => parseNote(note)).toThrow(malformed(message));
  });

  it("keep a byte order mark, which is then part of what was signed", async () => {
    const marked = `\ufeff${neumann.note}`;
    expect(parseNote(Buffer.from(marked)).text).toBe(`\ufeff${TEXT}`);
    await expect(verifyNote(parseNote(marked), [NEUMANN])).rejects.toMatchObject({ code: "signature-invalid" });
  });

  it("split at the last blank line, so a text may hold blank lines and what looks like signatures", async () => {
    const signer = ed25519Signer(seedOf("blank"));
    for (const text of [`a\n\n\u2014 x AAAAAAA=\n`, "\n", "\n\n\n", "a\n\n\n"]) {
      const line = await signNote(text, "k", signer);
      const parsed = parseNote(formatNote(text, [line]));
      expect(parsed.text).toBe(text);
      expect((await verifyNote(parsed, [verifierOf("k", signer, 1)])).length).toBe(1);
    }
  });
});

describe("signatures", () => {
  it("of a known key that do not verify condemn the note, even beside one that does", async () => {
    const spliced = neumann.note.replace("rwz+eBzm", "rwz+eBzmABCD");
    await expect(verifyNote(parseNote(spliced), [NEUMANN, ENOCH])).rejects.toMatchObject({
      code: "signature-invalid",
      message: "note: the signature by EnochRoot+af0cfe78 has 67 bytes, expected 64",
    });
    // The same line by a key that nobody knows is ignored.
    expect((await verifyNote(parseNote(spliced), [NEUMANN])).map(({ key }) => key.name)).toEqual(["PeterNeumann"]);
  });

  it("do not verify with any bit of the text or of the signature changed", async () => {
    const text = "origin\n1\n";
    const signer = ed25519Signer(seedOf("bits"));
    const key = verifierOf("k", signer, 1);
    const note = parseNote(formatNote(text, [await signNote(text, "k", signer)]));
    const [line] = note.signatures;
    for (let bit = 0; bit < 512; bit++) {
      const signature = line!.signature.slice();
      signature[bit >> 3]! ^= 1 << (bit & 7);
      const altered = { ...note, signatures: [{ ...line!, signature }] };
      await expect(verifyNote(altered, [key])).rejects.toMatchObject({
        code: "signature-invalid",
        message: `note: the signature by ${key.vkey.slice(0, 10)} does not verify`,
      });
    }
    for (let at = 0; at < text.length; at++) {
      await expect(verifyNote({ ...note, text: flip(text, at) }, [key])).rejects.toMatchObject({
        code: "signature-invalid",
      });
    }
  });

  it("of unknown keys are ignored, even with the name or the ID of a known one", async () => {
    const line = formatSignatureLine("PeterNeumann", ENOCH.keyId, new Uint8Array(64));
    const other = formatSignatureLine("EnochRoot", NEUMANN.keyId, new Uint8Array(64));
    const note = formatNote(TEXT, [line, NEUMANN_LINE, other]);
    expect((await verifyNote(parseNote(note), [NEUMANN, ENOCH])).map(({ line }) => line)).toEqual([NEUMANN_LINE]);
    await expect(verifyNote(parseNote(formatNote(TEXT, [line, other])), [NEUMANN, ENOCH])).rejects.toMatchObject({
      code: "signature-missing",
      message: "note: expected a signature by a known key",
    });
    await expect(verifyNote(parseNote(note), [])).rejects.toMatchObject({ code: "signature-missing" });
  });

  it("by one key count once, and every line of it is checked", async () => {
    const twice = parseNote(formatNote(TEXT, [NEUMANN_LINE, ENOCH_LINE, NEUMANN_LINE]));
    expect((await verifyNote(twice, [NEUMANN, ENOCH, NEUMANN])).map(({ key }) => key.name)).toEqual([
      "PeterNeumann",
      "EnochRoot",
    ]);
    const forged = formatSignatureLine("PeterNeumann", NEUMANN.keyId, new Uint8Array(64));
    for (const lines of [
      [NEUMANN_LINE, forged],
      [forged, NEUMANN_LINE],
    ]) {
      await expect(verifyNote(parseNote(formatNote(TEXT, lines)), [NEUMANN])).rejects.toMatchObject({
        code: "signature-invalid",
      });
    }
  });

  it("are not tried under two keys that share name and ID", async () => {
    const twin = { ...ENOCH, name: NEUMANN.name, keyId: NEUMANN.keyId };
    await expect(verifyNote(parseNote(neumann.note), [NEUMANN, twin])).rejects.toMatchObject({
      code: "malformed-key",
      message: "verifier key: two keys have the name PeterNeumann and ID c74f20a3",
    });
  });

  it("leave only if the signer's own public key accepts them", async () => {
    const signer = ed25519Signer(seedOf("one"));
    const broken = { ...signer, sign: async () => new Uint8Array(64) };
    await expect(signNote(TEXT, "k", broken)).rejects.toMatchObject({ code: "signature-invalid" });
    const swapped = { ...signer, publicKey: ed25519Signer(seedOf("two")).publicKey };
    await expect(signNote(TEXT, "k", swapped)).rejects.toMatchObject({ code: "signature-invalid" });
    const short = { ...signer, sign: async () => new Uint8Array(63) };
    await expect(signNote(TEXT, "k", short)).rejects.toMatchObject({ code: "signature-invalid" });
    await expect(signNote(TEXT, "a name", signer)).rejects.toMatchObject({ code: "malformed-note" });
    await expect(signNote("no newline", "k", signer)).rejects.toMatchObject({ code: "malformed-note" });
    const down = Object.assign(new Error("down"), { code: "signer-unavailable" });
    await expect(signNote(TEXT, "k", { ...signer, sign: () => Promise.reject(down) })).rejects.toBe(down);
  });
});

describe("64 signature lines", () => {
  it("fit in one note, ML-DSA-44 ones too", async () => {
    const line = formatSignatureLine("witness.example.com/w", 7, new Uint8Array(2428));
    expect(
      parseNote(
        formatNote(
          TEXT,
          Array.from({ length: 64 }, () => line),
        ),
      ).signatures.length,
    ).toBe(64);
  });
});

describe("whatever is accepted", () => {
  const piece = fc.constantFrom(
    "\n",
    "\n\n",
    "\u2014 ",
    "\u2014",
    " ",
    "a",
    "name",
    "+",
    "AAAAAAA=",
    "x08go/ZJkuBS9UE=",
    "=",
    "\r",
    "\ufeff",
    "\u0085",
    "-",
    "é",
    "\ud800",
    "1",
    NEUMANN_LINE,
    "\u2014 name AAAAAAA=\n",
    "text\n",
  );

  it("as a note formats back to the same bytes", () => {
    let accepted = 0;
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 7 }), (pieces) => {
        const note = pieces.join("");
        let parsed: ReturnType<typeof parseNote>;
        try {
          parsed = parseNote(note);
        } catch (error) {
          expect(error).toMatchObject({ code: "malformed-note" });
          return;
        }
        accepted++;
        expect(
          formatNote(
            parsed.text,
            parsed.signatures.map(({ line }) => line),
          ),
        ).toBe(note);
        for (const { name, keyId, signature, line } of parsed.signatures)
          expect(formatSignatureLine(name, keyId, signature)).toBe(line);
        expect(parseNote(Buffer.from(note))).toEqual(parsed);
      }),
      { seed: 10, numRuns: 20_000 },
    );
    expect(accepted).toBeGreaterThan(50);
  });

  it("as a note from arbitrary bytes formats back to them, and nothing else is thrown", () => {
    const near = fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 }), fc.constantFrom("set", "insert", "remove"));
    const bytes = Buffer.from(neumann.note);
    let accepted = 0;
    fc.assert(
      fc.property(fc.array(near, { minLength: 1, maxLength: 3 }), (changes) => {
        const altered = [...bytes];
        for (const [at, byte, how] of changes)
          altered.splice(at % altered.length, how === "insert" ? 0 : 1, ...(how === "remove" ? [] : [byte]));
        const note = Uint8Array.from(altered);
        let parsed: ReturnType<typeof parseNote>;
        try {
          parsed = parseNote(note);
        } catch (error) {
          expect(error).toMatchObject({ code: "malformed-note" });
          return;
        }
        accepted++;
        expect(
          Buffer.from(
            formatNote(
              parsed.text,
              parsed.signatures.map(({ line }) => line),
            ),
          ).equals(note),
        ).toBe(true);
      }),
      { seed: 11, numRuns: 5_000 },
    );
    expect(accepted).toBeGreaterThan(100);
  });

  it("as a verifier key formats back to the same text", () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.constantFrom("+", "a", "c74f20a3", "C74F20A3", "PeterNeumann", neumann.vkey.split("+")[2]!, "=", " "),
          { maxLength: 6 },
        ),
        (pieces) => {
          const vkey = pieces.join("");
          try {
            expect(formatVerifierKey(parseVerifierKey(vkey))).toBe(vkey);
          } catch (error) {
            expect(error).toMatchObject({ code: "malformed-key" });
          }
        },
      ),
      { seed: 12, numRuns: 3_000 },
    );
    expect(() => parseVerifierKey(neumann.vkey.replace("c74f20a3", "C74F20A3"))).toThrow(
      expect.objectContaining({ code: "malformed-key", message: "expected lower-case hex" }),
    );
  });
});

describe("cosigning", () => {
  const text = "example.com/log\n3\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n";

  it("with Ed25519 states a time and is not the log's signature type", async () => {
    const signer = ed25519Signer(seedOf("w"));
    const line = await cosignNote(text, "w.example", signer, { time: 1_700_000_000 });
    const note = parseNote(formatNote(text, [line]));
    const key = verifierOf("w.example", signer, 4);
    expect(await verifyNote(note, [key])).toEqual([{ key, time: 1_700_000_000, line }]);
    await expect(verifyNote(note, [verifierOf("w.example", signer, 1)])).rejects.toMatchObject({
      code: "signature-missing",
    });
  });

  it("counts once for a witness that cosigned several times, at the earliest", async () => {
    for (const [signer, type] of [
      [ed25519Signer(seedOf("w")), 4],
      [mlDsaSigner(seedOf("w")), 6],
    ] as const) {
      const key = verifierOf("w.example", signer, type);
      const lines = await Promise.all([300, 100, 200].map((time) => cosignNote(text, "w.example", signer, { time })));
      expect(await verifyNote(parseNote(formatNote(text, lines)), [key])).toEqual([{ key, time: 100, line: lines[1] }]);
    }
  });

  it("is refused without a time, and over anything but a checkpoint", async () => {
    const signer = ed25519Signer(seedOf("w"));
    for (const time of [0, -1, Number.NaN, 1.5, 2 ** 53]) {
      await expect(cosignNote(text, "w.example", signer, { time })).rejects.toThrow(RangeError);
    }
    await expect(cosignNote(TEXT, "w.example", signer, { time: 1 })).rejects.toMatchObject({
      code: "malformed-checkpoint",
    });
    await expect(signNote(TEXT, "w.example", mlDsaSigner(seedOf("w")))).rejects.toMatchObject({
      code: "malformed-checkpoint",
    });
  });

  it("of time 0 verifies and states no time", async () => {
    const signer = mlDsaSigner(seedOf("w"));
    const line = await signNote(text, "example.com/log", signer);
    const key = verifierOf("example.com/log", signer, 6);
    expect(await verifyNote(parseNote(formatNote(text, [line])), [key])).toEqual([{ key, time: null, line }]);
  });

  it("of a text that is no checkpoint, or a payload of another length, is an invalid signature", async () => {
    const signer = mlDsaSigner(seedOf("w"));
    const key = verifierOf("w", signer, 6);
    const refusals = [
      [TEXT, new Uint8Array(2428), /cannot be a cosignature: checkpoint:/],
      [text, new Uint8Array(2428), /does not verify$/],
      [text, new Uint8Array(2427), /has 2427 bytes, expected 2428$/],
      [
        text,
        new Uint8Array(2428).fill(0xff),
        /cannot be a cosignature: cosignature: expected a time of at most 2\^53-1 seconds$/,
      ],
    ] as const;
    for (const [body, payload, message] of refusals) {
      const note = parseNote(formatNote(body, [formatSignatureLine("w", key.keyId, payload)]));
      await expect(verifyNote(note, [key])).rejects.toMatchObject({
        code: "signature-invalid",
        message: expect.stringMatching(message),
      });
    }
  });
});
