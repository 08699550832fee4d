import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ed25519Signer, mlDsaSigner, seedOf, verifierOf } from "../../test/interop/note-signers.ts";
import { formatCheckpoint } from "./checkpoint.ts";
import { encodeBase64 } from "./encoding.ts";
import { EMPTY_ROOT, hashLeaf } from "./merkle.ts";
import {
  cosignNote,
  formatNote,
  formatSignatureLine,
  formatVerifierKey,
  type NoteSigner,
  signNote,
  spkiOfVerifierKey,
} from "./note.ts";
import {
  formatPolicy,
  logKeysAt,
  operatorsOf,
  type Policy,
  parsePolicy,
  quorumReached,
  verifyCheckpoint,
} from "./policy.ts";

const ORIGIN = "example.com/audit";
const signers = new Map<string, NoteSigner>();
/** Deterministic Ed25519 signer of a label. */
function signerOf(label: string): NoteSigner {
  let signer = signers.get(label);
  if (signer === undefined) {
    signer = ed25519Signer(seedOf(label));
    signers.set(label, signer);
  }
  return signer;
}
const mlDsa = mlDsaSigner(seedOf("ml-dsa"));
const LOG = verifierOf(ORIGIN, signerOf("log"), 1);
const LOG_2 = verifierOf(ORIGIN, signerOf("log 2"), 1);
const LOG_PQ = verifierOf(ORIGIN, mlDsa, 6);
const witnessKey = (label: string) => verifierOf(`${label}.example`, signerOf(label), 4);
const authorSpki = (label: string): string => encodeBase64(spkiOfVerifierKey(verifierOf("a", signerOf(label), 1)));
const [W1, W2, W3] = ["w1", "w2", "w3"].map(witnessKey) as [
  ReturnType<typeof witnessKey>,
  ReturnType<typeof witnessKey>,
  ReturnType<typeof witnessKey>,
];
const GENESIS = "ab".repeat(32);

const lines = (...text: string[]): string => `${text.join("\n")}\n`;
const BASE = [`log ${LOG.vkey}`, "quorum none"];
const malformed = (message: string | RegExp) =>
  expect.objectContaining({
    code: "malformed-policy",
    message: typeof message === "string" ? message : expect.stringMatching(message),
  });

describe("policies", () => {
  it("name keys, witnesses, groups and a quorum", () => {
    const policy = parsePolicy(
      lines(
        "# Pinned by hand",
        "",
        `log ${LOG.vkey} https://example.com/audit`,
        `log ${LOG_PQ.vkey}`,
        `witness w1 ${W1.vkey} https://w1.example/`,
        `\twitness\tw2   ${W2.vkey} \t`,
        `witness w3 ${W3.vkey}`,
        "group two 2 w1 w2",
        "group top any two w3",
        "  # indented comment",
        "quorum top",
      ),
    );
    expect(policy).toEqual({
      origin: ORIGIN,
      logKeys: [LOG, LOG_PQ],
      logUrls: ["https://example.com/audit", null],
      witnesses: [
        { name: "w1", key: W1, url: "https://w1.example/" },
        { name: "w2", key: W2, url: null },
        { name: "w3", key: W3, url: null },
      ],
      groups: [
        { name: "two", threshold: 2, members: ["w1", "w2"] },
        { name: "top", threshold: 1, members: ["two", "w3"] },
      ],
      quorum: "top",
      operators: [],
      genesis: null,
      keyRanges: [],
      requireAll: [],
      authors: [],
      requireSignature: false,
    } satisfies Policy);
  });

  it("carry Tallystick's directives in comment lines, in any order", () => {
    const spki = authorSpki("alice");
    const policy = parsePolicy(
      lines(
        `#tallystick genesis ${GENESIS}`,
        `  #tallystick  key\t${LOG.vkey} 0 100`,
        `#tallystick key ${LOG_2.vkey} 101 -`,
        `#tallystick require-all ${LOG.vkey} ${LOG_PQ.vkey}`,
        `#tallystick author ed25519 ${spki} "Alice  \u00c9 \\"x\\"\\t" 3 -`,
        `#tallystick author ed25519 ${authorSpki("bob")}   "bob"   0\t0`,
        "#tallystick require-signature",
        "#tallystick operator acme w2 w1",
        "# tallystick is a comment here, and so is #tallystick",
        `log ${LOG.vkey}`,
        `log ${LOG_2.vkey}`,
        `log ${LOG_PQ.vkey}`,
        `witness w1 ${W1.vkey}`,
        `witness w2 ${W2.vkey}`,
        "quorum none",
      ),
    );
    expect(policy).toMatchObject({
      operators: [{ name: "acme", witnesses: ["w2", "w1"] }],
      genesis: GENESIS,
      keyRanges: [
        { key: LOG, minSize: 0, maxSize: 100 },
        { key: LOG_2, minSize: 101, maxSize: null },
      ],
      requireAll: [LOG, LOG_PQ],
      authors: [
        { algorithm: "ed25519", actor: 'Alice  \u00c9 "x"\t', fromIndex: 3, untilIndex: null },
        { algorithm: "ed25519", actor: "bob", fromIndex: 0, untilIndex: 0 },
      ],
      requireSignature: true,
    });
    expect(encodeBase64(policy.authors[0]!.spki)).toBe(spki);
    expect(policy.authors[0]!.keyId).toMatch(/^[0-9a-f]{64}$/);
    expect(logKeysAt(policy, 100)).toEqual([LOG, LOG_PQ]);
    expect(logKeysAt(policy, 101)).toEqual([LOG_2, LOG_PQ]);
  });

  it("are read from bytes as from text, with names of any octets above ASCII", () => {
    const text = lines(
      `log ${LOG.vkey} https://löß.example/`,
      `witness K\u212a\u00a0 ${W1.vkey}`,
      "quorum K\u212a\u00a0",
      "# \u0085\u009f",
    );
    const policy = parsePolicy(text);
    expect(policy.quorum).toBe("K\u212a\u00a0");
    expect(parsePolicy(Buffer.from(text))).toEqual(policy);
    // U+00A0 is no separator and U+212A is not K: names are bytes.
    expect(() => parsePolicy(text.replace("quorum K\u212a", "quorum KK"))).toThrow(
      malformed(/^policy line 3: quorum: KK.* is not defined before$/),
    );
  });

  it("hold at least 32 logs, witnesses and groups", () => {
    const logs = Array.from({ length: 40 }, (_, i) => `log ${verifierOf(ORIGIN, signerOf(`many log ${i}`), 1).vkey}`);
    const witnesses = Array.from(
      { length: 40 },
      (_, i) => `witness w${i} ${verifierOf(`w${i}`, signerOf(`many ${i}`), 4).vkey}`,
    );
    // Each group holds the one before it and a witness of its own.
    const groups = Array.from({ length: 40 }, (_, i) => `group g${i} all w${i}${i === 0 ? "" : ` g${i - 1}`}`);
    const policy = parsePolicy(lines(...logs, ...witnesses, ...groups, "quorum g39"));
    expect([policy.logKeys.length, policy.witnesses.length, policy.groups.length]).toEqual([40, 40, 40]);
    const all = new Set(policy.witnesses.map(({ name }) => name));
    expect(quorumReached(policy, all)).toBe(true);
    for (const name of all)
      expect(quorumReached(policy, new Set([...all].filter((other) => other !== name)))).toBe(false);
  });
});

describe("policies that are refused", () => {
  const witness = (name: string, key = W1): string => `witness ${name} ${key.vkey}`;
  const sameKeyAsWitness = (name: string, type: 1 | 4): string =>
    formatVerifierKey({ name, type, publicKey: W1.publicKey });
  const author = `#tallystick author ed25519 ${authorSpki("alice")}`;
  const cases: Record<string, [string[] | string, string | RegExp]> = {
    nothing: ["", "policy: expected a log line"],
    "a line without its newline": [BASE.join("\n"), "policy: expected a newline at the end of the last line"],
    "no log": [["quorum none"], "policy: expected a log line"],
    "no quorum": [[BASE[0]!], "policy: expected a quorum line"],
    "two quorums": [[...BASE, "quorum none"], "policy line 3: quorum: expected one such line"],
    "a quorum that is not defined": [[BASE[0]!, "quorum w1"], "policy line 2: quorum: w1 is not defined before"],
    "a quorum that is defined later": [
      [BASE[0]!, "quorum w1", witness("w1")],
      "policy line 2: quorum: w1 is not defined before",
    ],
    "a quorum with two names": [[BASE[0]!, "quorum none none"], "policy line 2: quorum: wrong number of items, got 2"],
    "an unknown line": [[...BASE, "witnes w1"], 'policy line 3: unknown line "witnes"'],
    "an inherited property for a line": [[...BASE, "constructor a"], 'policy line 3: unknown line "constructor"'],
    "a line in capitals": [[...BASE, `LOG ${LOG_2.vkey}`], 'policy line 3: unknown line "LOG"'],
    "a byte order mark": [`\ufeff${lines(...BASE)}`, /^policy line 1: unknown line/],
    "a carriage return": [BASE.join("\r\n"), "policy: expected no control characters but tab and newline"],
    "a delete character in a comment": [
      [...BASE, "# \x7f"],
      "policy: expected no control characters but tab and newline",
    ],
    "a null character": [[...BASE, "# \0"], "policy: expected no control characters but tab and newline"],
    "a lone surrogate": [[...BASE, "# \ud800"], "policy: expected no control characters but tab and newline"],
    "a comment after a definition": [
      [BASE[0]!, "quorum none # really"],
      "policy line 2: quorum: wrong number of items, got 3",
    ],
    "a comment for a URL's neighbour": [
      [`log ${LOG.vkey} # key`, "quorum none"],
      "policy line 1: log: wrong number of items, got 3",
    ],
    "a log without a key": [["log", "quorum none"], "policy line 1: log: wrong number of items, got 0"],
    "a log key of a witness type": [
      [`log ${W1.vkey}`, "quorum none"],
      "policy line 1: expected a key of type 1 or 6, got 4",
    ],
    "a log key that is none": [["log a+b+c", "quorum none"], "policy line 1: expected lower-case hex"],
    "a log name that is no origin": [
      [`log ${verifierOf("tallystick/x", signerOf("x"), 1).vkey}`, "quorum none"],
      /^policy line 1: expected an origin: /,
    ],
    "logs of two names": [
      [BASE[0]!, `log ${verifierOf("example.com/other", signerOf("o"), 1).vkey}`, "quorum none"],
      "policy line 2: expected log keys of one name, example.com/audit, got example.com/other",
    ],
    "one log twice": [[BASE[0]!, BASE[0]!, "quorum none"], "policy line 2: a public key occurs twice in the policy"],
    "a witness key of a log type": [
      [...BASE, `witness w ${verifierOf("w.example", signerOf("w1"), 1).vkey}`],
      "policy line 3: expected a key of type 4 or 6, got 1",
    ],
    "a witness without a key": [[...BASE, "witness w"], "policy line 3: witness: wrong number of items, got 1"],
    "one witness key under two names": [
      [...BASE, witness("w1"), witness("w2")],
      "policy line 4: a public key occurs twice in the policy",
    ],
    "one witness key under two key names": [
      [...BASE, witness("w1"), `witness w2 ${sameKeyAsWitness("another.example", 4)}`],
      "policy line 4: a public key occurs twice in the policy",
    ],
    "a log that is its own witness": [
      [...BASE, `witness w ${formatVerifierKey({ name: "w.example", type: 4, publicKey: LOG.publicKey })}`],
      "policy line 3: a public key occurs twice in the policy",
    ],
    "a log with the key of a witness": [
      [witness("w1"), `log ${sameKeyAsWitness(ORIGIN, 1)}`, "quorum w1"],
      "policy line 2: a public key occurs twice in the policy",
    ],
    "a witness key with the name of the log": [
      [...BASE, `witness w ${verifierOf(ORIGIN, signerOf("w9"), 4).vkey}`],
      "policy: a witness key has the name of the log",
    ],
    "a witness named none": [[...BASE, witness("none")], "policy line 3: none is no name for a witness or group"],
    "a group named none": [
      [...BASE, witness("w1"), "group none any w1"],
      "policy line 4: none is no name for a witness or group",
    ],
    "one name twice": [[...BASE, witness("w"), witness("w", W2)], "policy line 4: the name w is defined twice"],
    "one name for witness and group": [
      [...BASE, witness("w"), "group w any w"],
      "policy line 4: the name w is defined twice",
    ],
    "an operator without witnesses": [
      [...BASE, "#tallystick operator acme"],
      "policy line 3: operator: wrong number of items, got 1",
    ],
    "an operator of unknown witnesses": [
      [...BASE, witness("w1"), "#tallystick operator acme w1 w2"],
      "policy: operator: w2 is no witness",
    ],
    "an operator of a group": [
      [...BASE, witness("w1"), "group g any w1", "#tallystick operator acme g"],
      "policy: operator: g is no witness",
    ],
    "an operator named like a witness": [
      [...BASE, witness("w1"), witness("w2", W2), "#tallystick operator w2 w1"],
      "policy: operator: w2 is the name of a witness or group",
    ],
    "an operator that is defined twice": [
      [...BASE, witness("w1"), witness("w2", W2), "#tallystick operator a w1", "#tallystick operator a w2"],
      "policy line 6: operator: a is defined twice",
    ],
    "a witness of two operators": [
      [...BASE, witness("w1"), "#tallystick operator a w1", "#tallystick operator b w1"],
      "policy line 5: operator: w1 is named twice",
    ],
    "an operator in two groups": [
      [...BASE, witness("w1"), witness("w2", W2), "group g any w1", "group h any w2 g", "#tallystick operator a w1 w2"],
      "policy: operator: the witnesses of a are members of several groups",
    ],
    "a group of more than its operators": [
      [...BASE, witness("w1"), witness("w2", W2), "group g all w1 w2", "#tallystick operator a w1 w2"],
      "policy: group: g asks for 2, but its members are of 1 operators",
    ],
    "a group without members": [[...BASE, "group g all"], "policy line 3: group: wrong number of items, got 2"],
    "a group of unknown members": [
      [...BASE, witness("w1"), "group g 1 w1 w2"],
      "policy line 4: group: w2 is not defined before",
    ],
    "a group that is its own member": [[...BASE, "group g any g"], "policy line 3: group: g is not defined before"],
    "a group with none as a member": [
      [...BASE, "group g any none"],
      "policy line 3: group: none is not defined before",
    ],
    "a group with a member twice": [[...BASE, witness("w1"), "group g 2 w1 w1"], "policy line 4: w1 is a member twice"],
    "a member of two groups": [
      [...BASE, witness("w1"), "group g any w1", "group h any w1"],
      "policy line 5: w1 is a member twice",
    ],
    "a threshold of 0": [
      [...BASE, witness("w1"), "group g 0 w1"],
      "policy line 4: group: expected a threshold of 1..1, got 0",
    ],
    "a threshold above the members": [
      [...BASE, witness("w1"), "group g 2 w1"],
      "policy line 4: group: expected a threshold of 1..1, got 2",
    ],
    "a threshold with a leading zero": [
      [...BASE, witness("w1"), "group g 01 w1"],
      'policy line 4: expected a decimal number, got "01"',
    ],
    "a threshold in words": [
      [...BASE, witness("w1"), "group g one w1"],
      'policy line 4: expected a decimal number, got "one"',
    ],
    "a negative threshold": [
      [...BASE, witness("w1"), "group g -1 w1"],
      'policy line 4: expected a decimal number, got "-1"',
    ],
    "an unknown directive": [[...BASE, "#tallystick pin x"], 'policy line 3: unknown directive "pin"'],
    "an empty directive": [[...BASE, "#tallystick"], "policy line 3: expected a directive after #tallystick"],
    "a directive without its space": [
      [...BASE, `#tallystick:genesis ${GENESIS}`],
      "policy line 3: expected a directive after #tallystick",
    ],
    "a misspelt word before a directive": [
      [...BASE, `#tallysticks genesis ${GENESIS}`],
      "policy line 3: expected a directive after #tallystick",
    ],
    "two geneses": [
      [...BASE, `#tallystick genesis ${GENESIS}`, `#tallystick genesis ${GENESIS}`],
      "policy line 4: genesis: expected one such directive",
    ],
    "a genesis in capitals": [
      [...BASE, `#tallystick genesis ${"AB".repeat(32)}`],
      "policy line 3: genesis: expected 64 lower-case hex digits",
    ],
    "a short genesis": [
      [...BASE, "#tallystick genesis abcd"],
      "policy line 3: genesis: expected 64 lower-case hex digits",
    ],
    "a range of a key that is no log's": [
      [...BASE, `#tallystick key ${LOG_2.vkey} 0 -`],
      /^policy: key: expected a key of a log line, got example/,
    ],
    "two ranges of one key": [
      [...BASE, `#tallystick key ${LOG.vkey} 0 5`, `#tallystick key ${LOG.vkey} 7 -`],
      "policy line 4: key: expected one such directive for a key",
    ],
    "a range upside down": [[...BASE, `#tallystick key ${LOG.vkey} 6 5`], "policy line 3: expected 6 to be at most 5"],
    "a range without its end": [
      [...BASE, `#tallystick key ${LOG.vkey} 6`],
      "policy line 3: key: wrong number of items, got 2",
    ],
    "a range that starts at nothing": [
      [...BASE, `#tallystick key ${LOG.vkey} - 6`],
      'policy line 3: expected a decimal number, got "-"',
    ],
    "a range beyond 2^53-1": [
      [...BASE, `#tallystick key ${LOG.vkey} 0 9007199254740992`],
      "policy line 3: expected a number of at most 2^53-1",
    ],
    "a required key that is no log's": [
      [...BASE, `#tallystick require-all ${LOG_2.vkey}`],
      /^policy: require-all: expected a key of a log line/,
    ],
    "no required key": [
      [...BASE, "#tallystick require-all"],
      "policy line 3: require-all: wrong number of items, got 0",
    ],
    "a required key twice": [
      [...BASE, `#tallystick require-all ${LOG.vkey} ${LOG.vkey}`],
      "policy line 3: require-all: a key occurs twice",
    ],
    "two require-alls": [
      [...BASE, `#tallystick require-all ${LOG.vkey}`, `#tallystick require-all ${LOG.vkey}`],
      "policy line 4: require-all: expected one such directive",
    ],
    "require-signature with an item": [
      [...BASE, "#tallystick require-signature yes"],
      "policy line 3: require-signature: wrong number of items, got 1",
    ],
    "two require-signatures": [
      [...BASE, "#tallystick require-signature", "#tallystick require-signature"],
      "policy line 4: require-signature: expected one such directive",
    ],
    "an author with an unknown algorithm": [
      [...BASE, `#tallystick author ed448 ${authorSpki("alice")} "alice" 0 -`],
      'policy line 3: author: unknown algorithm "ed448"',
    ],
    "an author with the key of another algorithm": [
      [...BASE, `#tallystick author ecdsa-p256 ${authorSpki("alice")} "alice" 0 -`],
      /^policy line 3: ecdsa-p256 public key: /,
    ],
    "an author whose actor is no JSON": [
      [...BASE, `${author} alice 0 -`],
      "policy line 3: author: expected the actor id as a JSON string",
    ],
    "an author whose actor is no string": [
      [...BASE, `${author} 17 0 -`],
      "policy line 3: author: expected the actor id as a canonical JSON string",
    ],
    "an author whose actor is spelt in another way": [
      [...BASE, `${author} "\\u0061lice" 0 -`],
      "policy line 3: author: expected the actor id as a canonical JSON string",
    ],
    "an author whose actor has a lone surrogate": [
      [...BASE, `${author} "\\ud800" 0 -`],
      "policy line 3: author: expected the actor id as a canonical JSON string",
    ],
    "an author whose actor is empty": [
      [...BASE, `${author} "" 0 -`],
      "policy line 3: author: expected an actor id of 1 to 1024 bytes, got 0",
    ],
    "an author whose actor is too long": [
      [...BASE, `${author} "${"é".repeat(513)}" 0 -`],
      "policy line 3: author: expected an actor id of 1 to 1024 bytes, got 1026",
    ],
    "an author with two actors": [
      [...BASE, `${author} "a" "b" 0 -`],
      "policy line 3: author: expected the actor id as a JSON string",
    ],
    "an author without a range": [
      [...BASE, `${author} "alice" 0`],
      "policy line 3: author: wrong number of items, got 4",
    ],
    "an author with a range upside down": [
      [...BASE, `${author} "alice" 5 4`],
      "policy line 3: expected 5 to be at most 4",
    ],
    "an author key twice": [
      [...BASE, `${author} "alice" 0 -`, `${author} "bob" 0 -`],
      "policy line 4: author: expected one such directive for a key",
    ],
    "an author key that is the log's": [
      [...BASE, `#tallystick author ed25519 ${authorSpki("log")} "alice" 0 -`],
      "policy: an author key is a log or witness key too",
    ],
    "an author key that is a witness's": [
      [...BASE, witness("w1"), `#tallystick author ed25519 ${authorSpki("w1")} "alice" 0 -`],
      "policy: an author key is a log or witness key too",
    ],
    "more than 1 MiB": [`#${"x".repeat(1024 * 1024)}\n`, "policy: expected at most 1048576 bytes, got 1048578"],
  };
  it.each(Object.entries(cases))("%s", (_name, [text, message]) => {
    expect(() => parsePolicy(typeof text === "string" ? text : lines(...text))).toThrow(malformed(message));
  });

  it("bytes that are not UTF-8", () => {
    expect(() => parsePolicy(Buffer.concat([Buffer.from(lines(...BASE)), Uint8Array.of(0x23, 0xff, 0x0a)]))).toThrow(
      malformed("expected UTF-8 text"),
    );
  });

  it("with the number of the line that is to blame", () => {
    expect(() => parsePolicy(lines("", "# comment", ...BASE, "what"))).toThrow(
      expect.objectContaining({ code: "malformed-policy", details: { line: 5 } }),
    );
  });

  it("in a time that grows with their length, hostile runs of white space too", () => {
    const run = " \t".repeat(250_000);
    const started = performance.now();
    expect(() => parsePolicy(`${run}x${run}\n`)).toThrow(malformed('policy line 1: unknown line "x"'));
    expect(() => parsePolicy(lines(...BASE, `#tallystick author a${run}b c d e f`))).toThrow(
      malformed(/^policy line 3: /),
    );
    expect(() =>
      parsePolicy(lines(...BASE, `#tallystick author ed25519 ${authorSpki("alice")} "a${run}" 0 -`)),
    ).toThrow(malformed(/^policy line 3: /));
    // Quadratic behaviour would take minutes; this bound is loose on purpose.
    expect(performance.now() - started).toBeLessThan(10_000);
  });
});

describe("a policy that was parsed", () => {
  it("formats to a text that parses to the same", () => {
    const name = fc.string({
      unit: fc.constantFrom("a", "b", "0", "#", "é", "-", "\u2028"),
      minLength: 1,
      maxLength: 4,
    });
    const seedRange = fc
      .tuple(fc.maxSafeNat(), fc.option(fc.maxSafeNat()))
      .map(([a, b]) => [b === null ? a : Math.min(a, b), b === null ? null : Math.max(a, b)] as const);
    const parts = fc.record({
      names: fc.uniqueArray(name, { minLength: 3, maxLength: 3 }),
      groupName: name,
      threshold: fc.integer({ min: 1, max: 2 }),
      quorum: fc.integer({ min: 0, max: 4 }),
      url: fc.option(fc.webUrl()),
      genesis: fc.option(fc.constant(GENESIS)),
      range: fc.option(seedRange),
      required: fc.subarray([LOG, LOG_2]),
      actors: fc.array(
        fc.string({ unit: "grapheme", minLength: 1, maxLength: 12 }).filter((actor) => !/\x7f/.test(actor)),
        { maxLength: 3 },
      ),
      authorRange: seedRange,
      requireSignature: fc.boolean(),
    });
    fc.assert(
      fc.property(parts, (random) => {
        const { names, groupName } = random;
        if ([...names, groupName].includes("none") || names.includes(groupName)) return;
        const witnesses = names.map((witnessName, i) => ({
          name: witnessName,
          key: [W1, W2, W3][i]!,
          url: random.url,
        }));
        const quorum = ["none", groupName, ...names][random.quorum]!;
        const text = formatPolicy({
          logKeys: [LOG, LOG_2],
          logUrls: [random.url, null],
          witnesses,
          groups: [{ name: groupName, threshold: random.threshold, members: names.slice(0, 2) }],
          quorum,
          operators:
            random.threshold === 1 ? [{ name: "one operator".replace(" ", "~"), witnesses: names.slice(0, 2) }] : [],
          genesis: random.genesis,
          keyRanges: random.range === null ? [] : [{ key: LOG_2, minSize: random.range[0], maxSize: random.range[1] }],
          requireAll: random.required,
          authors: random.actors.map((actor, i) => ({
            algorithm: "ed25519",
            spki: Buffer.from(authorSpki(`author ${i}`), "base64"),
            keyId: "",
            actor,
            fromIndex: random.authorRange[0],
            untilIndex: random.authorRange[1],
          })),
          requireSignature: random.requireSignature,
        });
        const policy = parsePolicy(text);
        expect(policy.authors.map(({ actor }) => actor)).toEqual(random.actors);
        expect(policy.requireAll).toEqual(random.required);
        expect(policy.quorum).toBe(quorum);
        expect(policy.operators).toHaveLength(2 - random.threshold);
        expect(formatPolicy(policy)).toBe(text);
        expect(parsePolicy(formatPolicy(policy))).toEqual(policy);
      }),
      { seed: 15, numRuns: 60 },
    );
  });

  it("comes from hostile lines only as what formats and parses to the same", () => {
    const piece = fc.constantFrom(
      ...BASE,
      "quorum w1",
      "quorum g",
      "quorum\tnone",
      `witness w1 ${W1.vkey}`,
      `witness w2 ${W2.vkey} u`,
      "group g all w1 w2",
      "group g 1 w1",
      "#",
      "# c",
      "",
      "  ",
      `#tallystick genesis ${GENESIS}`,
      "#tallystick require-signature",
      `#tallystick key ${LOG.vkey} 0 -`,
      `#tallystick require-all ${LOG.vkey}`,
      `#tallystick author ed25519 ${authorSpki("alice")} "a b" 0 -`,
      "#tallystick",
      "log",
      "x",
    );
    let accepted = 0;
    fc.assert(
      fc.property(fc.shuffledSubarray([0, 1, 2, 3, 4, 5]), fc.array(piece, { maxLength: 6 }), (order, pieces) => {
        const text = lines(...BASE.filter((_, i) => order.includes(i)), ...pieces);
        let policy: Policy;
        try {
          policy = parsePolicy(text);
        } catch (error) {
          expect(error).toMatchObject({ code: "malformed-policy" });
          return;
        }
        accepted++;
        expect(parsePolicy(formatPolicy(policy))).toEqual(policy);
      }),
      { seed: 16, numRuns: 2_000 },
    );
    expect(accepted).toBeGreaterThan(50);
  });

  it("is not written from parts that would read differently", () => {
    const logKeys = [LOG];
    const bad = [
      { logKeys: [] },
      { logKeys: [W1] },
      { logKeys, quorum: "w1" },
      { logKeys, quorum: "" },
      { logKeys, quorum: "none none" },
      { logKeys, logUrls: ["a b"] },
      { logKeys, logUrls: ["a\nquorum none"] },
      { logKeys, genesis: "xyz" },
      { logKeys, groups: [{ name: "g", threshold: 0, members: ["w"] }] },
      { logKeys, keyRanges: [{ key: LOG, minSize: 1.5, maxSize: null }] },
      { logKeys, keyRanges: [{ key: LOG, minSize: 2 ** 53, maxSize: null }] },
      { logKeys, requireAll: [LOG_2] },
    ];
    for (const parts of bad)
      expect(() => formatPolicy(parts), JSON.stringify(parts).slice(0, 80)).toThrow(malformed(/^policy/));
  });
});

describe("quorum", () => {
  const policyOf = (...more: string[]): Policy =>
    parsePolicy(lines(BASE[0]!, `witness w1 ${W1.vkey}`, `witness w2 ${W2.vkey}`, `witness w3 ${W3.vkey}`, ...more));
  const subsets: string[][] = [
    [],
    ["w1"],
    ["w2"],
    ["w3"],
    ["w1", "w2"],
    ["w1", "w3"],
    ["w2", "w3"],
    ["w1", "w2", "w3"],
  ];
  const reached = (policy: Policy): string[] =>
    subsets.filter((names) => quorumReached(policy, new Set(names))).map((names) => names.join(" "));

  it("none asks nothing", () => {
    expect(reached(policyOf("quorum none")).length).toBe(8);
  });

  it("of one witness asks for that witness", () => {
    expect(reached(policyOf("quorum w2"))).toEqual(["w2", "w1 w2", "w2 w3", "w1 w2 w3"]);
  });

  it("of a group asks for its threshold", () => {
    expect(reached(policyOf("group g 2 w1 w2 w3", "quorum g"))).toEqual(["w1 w2", "w1 w3", "w2 w3", "w1 w2 w3"]);
    expect(reached(policyOf("group g any w1 w3", "quorum g"))).toEqual([
      "w1",
      "w3",
      "w1 w2",
      "w1 w3",
      "w2 w3",
      "w1 w2 w3",
    ]);
    expect(reached(policyOf("group g all w1 w2 w3", "quorum g"))).toEqual(["w1 w2 w3"]);
  });

  it("of nested groups counts each group once", () => {
    expect(reached(policyOf("group inner any w1 w2", "group outer all inner w3", "quorum outer"))).toEqual([
      "w1 w3",
      "w2 w3",
      "w1 w2 w3",
    ]);
  });

  it("counts the witnesses of one operator once, wherever the directive stands", () => {
    const group = "group g 2 w1 w2 w3";
    for (const policy of [
      policyOf(group, "quorum g", "#tallystick operator acme w1 w2"),
      parsePolicy(lines("#tallystick operator acme w1 w2", formatPolicy(policyOf(group, "quorum g")).trimEnd())),
    ])
      expect(reached(policy)).toEqual(["w1 w3", "w2 w3", "w1 w2 w3"]);
    const nested = policyOf(
      ...["group inner any w1 w2", "group outer all inner w3", "quorum outer", "#tallystick operator acme w1 w2"],
    );
    expect(reached(nested)).toEqual(["w1 w3", "w2 w3", "w1 w2 w3"]);
    const alone = policyOf("group g any w1 w2", "quorum g", "#tallystick operator acme w1 w2");
    expect(reached(alone)).toEqual(["w1", "w2", "w1 w2", "w1 w3", "w2 w3", "w1 w2 w3"]);
  });

  it("is never reached by operators where it is not by witnesses", () => {
    const operator = fc.constantFrom("", "x", "y");
    fc.assert(
      fc.property(fc.tuple(operator, operator, operator), fc.integer({ min: 1, max: 3 }), (owners, threshold) => {
        const plain = policyOf(`group g ${threshold} w1 w2 w3`, "quorum g");
        const operators = ["x", "y"]
          .map((name) => ({ name, witnesses: ["w1", "w2", "w3"].filter((_, i) => owners[i] === name) }))
          .filter(({ witnesses }) => witnesses.length > 0);
        const counted = { ...plain, operators };
        const asked = new Set(reached(plain));
        expect(reached(counted).filter((names) => !asked.has(names))).toEqual([]);
      }),
      { seed: 20, numRuns: 60 },
    );
  });

  it("names who is relied upon by operator", () => {
    const policy = policyOf("group g 2 w1 w2 w3", "quorum g", "#tallystick operator acme w3 w1");
    expect(operatorsOf(policy, ["w1", "w2", "w3"])).toEqual([
      { name: "acme", witnesses: ["w1", "w3"] },
      { name: "w2", witnesses: ["w2"] },
    ]);
  });

  it("is not reached by names that the policy does not know, or that are groups", () => {
    const policy = policyOf("group g 1 w1", "quorum g");
    expect(quorumReached(policy, new Set(["g", "none", "w9"]))).toBe(false);
  });
});

describe("checkpoints under a policy", () => {
  const checkpoint = { origin: ORIGIN, size: 7, root: hashLeaf(Uint8Array.of(7)) };
  const text = formatCheckpoint(checkpoint);
  const signedBy = (...labels: string[]): Promise<string[]> =>
    Promise.all(labels.map((label) => signNote(text, ORIGIN, signerOf(label))));
  const cosignedBy = (label: string, time: number): Promise<string> =>
    cosignNote(text, `${label}.example`, signerOf(label), { time });
  const WITNESSED = parsePolicy(
    lines(
      BASE[0]!,
      `witness w1 ${W1.vkey}`,
      `witness w2 ${W2.vkey}`,
      `witness w3 ${W3.vkey}`,
      "group g 2 w1 w2 w3",
      "quorum g",
    ),
  );

  it("are accepted with a pinned log key's signature; who cosigned is told, whatever the order", async () => {
    const cosignatures = [await cosignedBy("w3", 300), await cosignedBy("w1", 100), await cosignedBy("w2", 200)];
    const [line] = await signedBy("log");
    for (const order of [[line!, ...cosignatures], [...cosignatures].reverse().concat(line!)]) {
      const verified = await verifyCheckpoint(formatNote(text, order), WITNESSED);
      expect(verified.checkpoint).toMatchObject(checkpoint);
      expect(verified.logKeys).toEqual([LOG]);
      expect(verified.witnesses).toEqual([
        { name: "w1", time: 100 },
        { name: "w2", time: 200 },
        { name: "w3", time: 300 },
      ]);
      expect(verified.quorum).toBe(true);
      // By 200 two of the three had cosigned.
      expect(verified.witnessTime).toBe(200);
      expect(verified.note.text).toBe(text);
    }
  });

  it("without a quorum are accepted, and the answer says so", async () => {
    const [line] = await signedBy("log");
    expect(await verifyCheckpoint(formatNote(text, [line!, await cosignedBy("w1", 9)]), WITNESSED)).toMatchObject({
      witnesses: [{ name: "w1", time: 9 }],
      quorum: false,
      witnessTime: null,
    });
    expect(await verifyCheckpoint(Buffer.from(formatNote(text, [line!])), parsePolicy(lines(...BASE)))).toMatchObject({
      witnesses: [],
      quorum: true,
      witnessTime: null,
    });
  });

  it("of another ledger are refused before any signature is looked at: no splice between ledgers of one key", async () => {
    const other = formatCheckpoint({ ...checkpoint, origin: "example.com/other" });
    // The same private key signs for both, under the names of both.
    const lines2 = [
      await signNote(other, "example.com/other", signerOf("log")),
      await signNote(other, ORIGIN, signerOf("log")),
    ];
    await expect(verifyCheckpoint(formatNote(other, lines2), WITNESSED)).rejects.toMatchObject({
      code: "origin-mismatch",
      message: "checkpoint: expected origin example.com/audit, got example.com/other",
      details: { expected: ORIGIN, found: "example.com/other" },
    });
  });

  it("with no log signature are refused, cosigned or not, and under a key of another name", async () => {
    const renamed = await signNote(text, "example.com/renamed", signerOf("log"));
    for (const others of [
      [await cosignedBy("w1", 9)],
      [renamed],
      [renamed, await cosignedBy("w1", 9)],
      await signedBy("log 2"),
    ]) {
      await expect(verifyCheckpoint(formatNote(text, others), WITNESSED)).rejects.toMatchObject({
        code: "signature-missing",
      });
    }
  });

  it("with a forged line in a witness's name are refused as a whole; lines of strangers are ignored", async () => {
    const [line] = await signedBy("log");
    const forged = formatSignatureLine(W1.name, W1.keyId, new Uint8Array(72));
    await expect(verifyCheckpoint(formatNote(text, [line!, forged]), WITNESSED)).rejects.toMatchObject({
      code: "signature-invalid",
    });
    await expect(verifyCheckpoint(formatNote(text, [forged, line!]), WITNESSED)).rejects.toMatchObject({
      code: "signature-invalid",
    });
    const strangers = Array.from({ length: 60 }, (_, i) => formatSignatureLine("stranger", i, new Uint8Array(72)));
    const verified = await verifyCheckpoint(
      formatNote(text, [...strangers, line!, await cosignedBy("w2", 5)]),
      WITNESSED,
    );
    expect(verified.witnesses).toEqual([{ name: "w2", time: 5 }]);
  });

  it("count a witness once, however often it cosigned, and not at time 0", async () => {
    const [line] = await signedBy("log");
    const twice = [await cosignedBy("w1", 50), await cosignedBy("w1", 40)];
    expect(await verifyCheckpoint(formatNote(text, [line!, ...twice]), WITNESSED)).toMatchObject({
      witnesses: [{ name: "w1", time: 40 }],
      quorum: false,
    });
    // A witness of type 0x06 that makes no statement about the latest tree.
    const pq = mlDsaSigner(seedOf("w-pq"));
    const policy = parsePolicy(lines(BASE[0]!, `witness pq ${verifierOf("pq.example", pq, 6).vkey}`, "quorum pq"));
    const silent = await signNote(text, "pq.example", pq, { time: 0 });
    expect(await verifyCheckpoint(formatNote(text, [line!, silent]), policy)).toMatchObject({
      witnesses: [],
      quorum: false,
    });
    const timed = await cosignNote(text, "pq.example", pq, { time: 8 });
    expect(await verifyCheckpoint(formatNote(text, [line!, timed]), policy)).toMatchObject({
      quorum: true,
      witnessTime: 8,
    });
    expect(await verifyCheckpoint(formatNote(text, [line!, silent, timed]), policy)).toMatchObject({
      quorum: true,
      witnessTime: 8,
    });
  });

  it("signed by the log with ML-DSA-44 have no time and no vote from it", async () => {
    const policy = parsePolicy(lines(BASE[0]!, `log ${LOG_PQ.vkey}`, `witness w1 ${W1.vkey}`, "quorum w1"));
    const pqLine = await signNote(text, ORIGIN, mlDsa, { time: 5 });
    expect(await verifyCheckpoint(formatNote(text, [pqLine]), policy)).toMatchObject({
      logKeys: [{ type: 6 }],
      witnesses: [],
      quorum: false,
      witnessTime: null,
    });
  });

  it("are refused where the key that signed is not valid for their size", async () => {
    const bounded = (min: number, max: number | "-"): Policy =>
      parsePolicy(lines(BASE[0]!, `log ${LOG_2.vkey}`, `#tallystick key ${LOG.vkey} ${min} ${max}`, "quorum none"));
    const note = formatNote(text, await signedBy("log"));
    for (const [min, max] of [
      [0, "-"],
      [7, 7],
      [0, 7],
      [7, "-"],
    ] as const) {
      expect((await verifyCheckpoint(note, bounded(min, max))).logKeys).toEqual([LOG]);
    }
    for (const [min, max] of [
      [8, "-"],
      [0, 6],
    ] as const) {
      await expect(verifyCheckpoint(note, bounded(min, max))).rejects.toMatchObject({
        code: "signature-missing",
        message: "checkpoint: no pinned log key valid for size 7 signed",
      });
      // Another key that is valid carries it, and only that one is named; the line out of range must verify all the same.
      const both = formatNote(text, await signedBy("log", "log 2"));
      expect((await verifyCheckpoint(both, bounded(min, max))).logKeys).toEqual([LOG_2]);
      const forged = formatNote(text, [
        formatSignatureLine(ORIGIN, LOG.keyId, new Uint8Array(64)),
        ...(await signedBy("log 2")),
      ]);
      await expect(verifyCheckpoint(forged, bounded(min, max))).rejects.toMatchObject({ code: "signature-invalid" });
    }
  });

  it("need every required key that is valid for their size", async () => {
    const policyOf = (...more: string[]): Policy =>
      parsePolicy(
        lines(
          BASE[0]!,
          `log ${LOG_2.vkey}`,
          `#tallystick require-all ${LOG.vkey} ${LOG_2.vkey}`,
          ...more,
          "quorum none",
        ),
      );
    const one = formatNote(text, await signedBy("log"));
    await expect(verifyCheckpoint(one, policyOf())).rejects.toMatchObject({
      code: "signature-missing",
      message: `checkpoint: expected a signature by ${LOG_2.vkey.slice(0, ORIGIN.length + 9)} too`,
    });
    expect((await verifyCheckpoint(formatNote(text, await signedBy("log 2", "log")), policyOf())).logKeys).toEqual([
      LOG,
      LOG_2,
    ]);
    expect((await verifyCheckpoint(one, policyOf(`#tallystick key ${LOG_2.vkey} 8 -`))).logKeys).toEqual([LOG]);
  });

  it("that no ledger signs are refused: size 0, extension lines, other notes", async () => {
    const policy = parsePolicy(lines(...BASE));
    const root = encodeBase64(EMPTY_ROOT);
    for (const body of [`${ORIGIN}\n0\n${root}\n`, `${ORIGIN}\n1\n${root}\nextension\n`, "some note\n"]) {
      const note = formatNote(body, [await signNote(body, ORIGIN, signerOf("log"))]);
      await expect(verifyCheckpoint(note, policy)).rejects.toMatchObject({ code: "malformed-checkpoint" });
    }
    await expect(verifyCheckpoint(text, policy)).rejects.toMatchObject({ code: "malformed-note" });
  });
});
