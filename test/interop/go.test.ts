import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { formatCheckpoint, parseCheckpoint } from "../../src/core/checkpoint.ts";
import { encodeBase64 } from "../../src/core/encoding.ts";
import { isTallystickError } from "../../src/core/errors.ts";
import { createRange, hashLeaf } from "../../src/core/merkle.ts";
import {
  cosignNote,
  formatNote,
  formatSignatureLine,
  formatVerifierKey,
  parseNote,
  parseVerifierKey,
  signNote,
  type VerifierKey,
  verifyNote,
} from "../../src/core/note.ts";
import { formatPolicy, parsePolicy, verifyCheckpoint } from "../../src/core/policy.ts";
import {
  proveConsistency,
  proveInclusion,
  treeHash,
  verifyConsistency,
  verifyInclusion,
} from "../../src/core/proof.ts";
import type { TileReader } from "../../src/core/tile.ts";
import { tileRoot } from "../../src/core/tile.ts";
import { formatTlogProof, parseTlogProof } from "../../src/core/tlog-proof.ts";
import { ed25519Signer, mlDsaSigner, seedOf, verifierOf } from "./note-signers.ts";

/**
 * The Go program in go/ puts the same bytes to golang.org/x/mod and the transparency-dev modules: what Tallystick makes
 * they accept, and what is altered both refuse, but for the differences listed here. In every one of them Tallystick is
 * the stricter side: it takes one spelling only.
 */
interface Difference {
  /** Our message. Go accepted the same bytes, so it names the one reason. */
  readonly refusal: RegExp;
  readonly why: string;
  /** Whether the reason is true of these bytes, where the message alone would excuse too much. */
  readonly holds?: (bytes: Uint8Array) => boolean;
}
const KNOWN_DIFFERENCES: readonly Difference[] = [
  { refusal: /cannot be a cosignature:/, why: "cosignatures of texts that are no checkpoint" },
  { refusal: /expected canonical base64/, why: "Go's decoder takes spare bits and line breaks" },
  { refusal: /expected lower-case hex/, why: "key IDs in capitals" },
  { refusal: /expected key ID/, why: "cosigner keys are loaded without a look at the key ID that they state" },
  { refusal: /expected a key name/, why: "names of keys with control characters" },
  { refusal: /public key: expected/, why: "Ed25519 keys of small order, off the curve, not canonical" },
  { refusal: /at most 64 signatures/, why: "Go's limit is 100" },
  { refusal: /at most 262144 bytes/, why: "Go's notes may be longer" },
  {
    refusal: /^note: the signature by .* does not verify/,
    why: "a second line of one key is not looked at",
    holds: repeatsKey,
  },
  {
    refusal: /^note: the signature by .* has \d+ bytes/,
    why: "a second line of one key is not looked at",
    holds: repeatsKey,
  },
  { refusal: /expected a decimal number/, why: "leading zeros" },
  { refusal: /number of at most 2\^53-1/, why: "sizes above 2^53-1" },
  { refusal: /expected a root of 32 bytes/, why: "roots of any length" },
  { refusal: /non-empty extension lines/, why: "empty extension lines" },
  { refusal: /consistency proof: expected an old size of at least 1/, why: "the empty tree as an old tree" },
  { refusal: /expected extra data/, why: "an extra line without data" },
  { refusal: /tlog-proof: expected c2sp.org/, why: "carriage returns" },
  { refusal: /tlog-proof: expected a blank line/, why: "carriage returns" },
  { refusal: /note: expected signature lines/, why: "a missing last newline" },
  { refusal: /a public key occurs twice in the policy/, why: "one witness under two names, which then counts twice" },
  { refusal: /is a member twice/, why: "one witness in two groups" },
  { refusal: /wrong number of items/, why: "comments at the end of a line" },
  { refusal: /expected a threshold of 1/, why: "a threshold of 0" },
  { refusal: /expected a log line/, why: "a policy without a log: the parser serves logs, who know their own key" },
  { refusal: /quorum: expected one such line/, why: "the last of several quorums wins" },
  { refusal: /is not defined before/, why: "a quorum that is defined further down" },
  { refusal: /expected one such directive/, why: "directives are comments to others" },
];

interface Request {
  readonly kind: "vkey" | "note" | "checkpoint" | "inclusion" | "consistency" | "root" | "proof" | "policy";
  readonly bytes?: string;
  readonly vkeys?: readonly string[];
  readonly origin?: string;
  readonly text?: string;
  readonly index?: number;
  readonly oldSize?: number;
  readonly size?: number;
  readonly leafHash?: string;
  readonly oldRoot?: string;
  readonly root?: string;
  readonly proof?: readonly string[];
  readonly leaves?: readonly string[];
}

interface Answer {
  readonly accept: boolean;
  readonly error?: string;
  readonly text?: string;
  readonly names?: readonly string[];
  readonly times?: readonly number[];
  readonly size?: number;
  readonly root?: string;
  readonly keyId?: number;
  readonly bytes?: string;
}

/** A case: what is asked of Go, our own judgement, and what must agree when both accept. */
interface Case {
  readonly request: Request;
  readonly ours: () => unknown;
  readonly agree?: (ours: never, theirs: Answer) => void;
}

const go = spawnSync("go", ["version"], { encoding: "utf8" });
const ABSENT = go.status === 0 ? null : "go is not installed";
const directory = mkdtempSync(join(tmpdir(), "tallystick-interop-"));
const program = join(directory, "interop");
let unbuilt: string | null = ABSENT;

beforeAll(() => {
  if (ABSENT !== null) return;
  const env = { ...process.env, GOFLAGS: "-mod=readonly -buildvcs=false" };
  const build = spawnSync("go", ["build", "-o", program, "."], {
    cwd: join(import.meta.dirname, "go"),
    encoding: "utf8",
    env,
  });
  if (build.status !== 0) unbuilt = `the Go program does not build: ${build.stderr}`;
}, 300_000);

afterAll(() => rmSync(directory, { recursive: true, force: true }));

function ask(requests: readonly Request[]): Answer[] {
  const input = requests.map((request) => `${JSON.stringify(request)}\n`).join("");
  const run = spawnSync(program, { input, encoding: "utf8", maxBuffer: 1 << 30 });
  if (run.status !== 0) throw new Error(`the Go program failed: ${run.stderr}`);
  const answers = run.stdout
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Answer);
  expect(answers.length).toBe(requests.length);
  return answers;
}

const seen = new Map<string, number>();

/** Judges every case on both sides. Returns how many both accepted. */
async function compare(cases: readonly Case[]): Promise<number> {
  const answers = ask(cases.map(({ request }) => request));
  let accepted = 0;
  for (const [i, { request, ours, agree }] of cases.entries()) {
    const theirs = answers[i]!;
    let judged: { value: unknown } | { refusal: string };
    try {
      judged = { value: await ours() };
    } catch (error) {
      if (!isTallystickError(error)) throw error;
      judged = { refusal: error.message };
    }
    if ("value" in judged) {
      expect(theirs, `accepted here, refused by Go: ${JSON.stringify(request).slice(0, 600)}`).toMatchObject({
        accept: true,
      });
      agree?.(judged.value as never, theirs);
      accepted++;
    } else if (theirs.accept) {
      const { refusal } = judged;
      const bytes = Buffer.from(request.bytes ?? "", "base64");
      const known = KNOWN_DIFFERENCES.find(
        ({ refusal: message, holds = () => true }) => message.test(refusal) && holds(bytes),
      );
      expect(
        known,
        `accepted by Go, refused here for ${refusal}: ${JSON.stringify(request).slice(0, 600)}`,
      ).toBeDefined();
      seen.set(known!.refusal.source, (seen.get(known!.refusal.source) ?? 0) + 1);
    }
  }
  return accepted;
}

/** Small deterministic generator (mulberry32): the cases are the same in every run. */
function randomOf(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

const base64 = (bytes: Uint8Array | string): string => Buffer.from(bytes).toString("base64");
const PIECES = [
  "\n",
  "\n\n",
  " ",
  "\t",
  "\r",
  "\r\n",
  "+",
  "=",
  "\u2014 ",
  "\u00a0",
  "\u0085",
  "\ufeff",
  "0",
  "00",
  "A",
  "AAAA",
  "-",
  "/",
  "\x7f",
  "\u{1f600}",
].map((piece) => Buffer.from(piece));

/** One to three random edits: a bit, a byte, a deletion, a repetition, or a piece that parsers like to disagree on. */
function alter(bytes: Uint8Array, random: (below: number) => number): Uint8Array {
  let altered = Buffer.from(bytes);
  for (let edits = 1 + random(3); edits > 0; edits--) {
    const at = random(altered.length);
    const [before, after] = [altered.subarray(0, at), altered.subarray(at)];
    const how = random(6);
    if (how === 0) altered[at]! ^= 1 << random(8);
    else if (how === 1) altered[at] = random(256);
    else if (how === 2) altered = Buffer.concat([before, after.subarray(1 + random(3))]);
    else if (how === 3) altered = Buffer.concat([before, after.subarray(0, 1 + random(60)), after]);
    else if (how === 4) altered = Buffer.concat([before, PIECES[random(PIECES.length)]!, after]);
    else altered = Buffer.concat([before, PIECES[random(PIECES.length)]!, after.subarray(1)]);
  }
  return new Uint8Array(altered);
}

/** Exchanges, drops or repeats whole lines. */
function shuffle(text: string, random: (below: number) => number): string {
  const lines = text.split(/(?<=\n)/);
  const [a, b] = [random(lines.length), random(lines.length)];
  const how = random(3);
  if (how === 0) [lines[a], lines[b]] = [lines[b]!, lines[a]!];
  else if (how === 1) lines.splice(a, 1);
  else lines.splice(a, 0, lines[b]!);
  return lines.join("");
}

const ORIGIN = "example.com/audit";
const LOG_SIGNER = ed25519Signer(seedOf("interop log"));
const PQ_SIGNER = mlDsaSigner(seedOf("interop ml-dsa"));
const WITNESSES = ["w1", "w2", "w3"].map((name) => ({ name, signer: ed25519Signer(seedOf(`interop ${name}`)) }));
const LOG = verifierOf(ORIGIN, LOG_SIGNER, 1);
const LOG_PQ = verifierOf(ORIGIN, PQ_SIGNER, 6);
const WITNESS_KEYS = WITNESSES.map(({ name, signer }) => verifierOf(`${name}.example/witness`, signer, 4));
const PQ_WITNESS = mlDsaSigner(seedOf("interop ml-dsa witness"));
const PQ_WITNESS_KEY = verifierOf("pq.example/witness", PQ_WITNESS, 6);
const KEYS = [LOG, ...WITNESS_KEYS];

const LEAVES = Array.from({ length: 700 }, (_, i) => Buffer.from(`entry ${i}`));
const HASHES = LEAVES.map((leaf) => hashLeaf(leaf));
const TILES = Array.from({ length: 2 }, (_, i) => tileRoot(Buffer.concat(HASHES.slice(i * 256, (i + 1) * 256))));
const read: TileReader = (level, index, width) =>
  new Uint8Array(Buffer.concat((level === 0 ? HASHES : TILES).slice(index * 256, index * 256 + width)));

async function signedNote(size: number, root: Uint8Array, extensions = ""): Promise<string> {
  const text = `${formatCheckpoint({ origin: ORIGIN, size, root })}${extensions}`;
  const lines = [await signNote(text, ORIGIN, LOG_SIGNER)];
  for (const [i, { name, signer }] of WITNESSES.entries()) {
    lines.push(await cosignNote(text, `${name}.example/witness`, signer, { time: 1_700_000_000 + i }));
  }
  return formatNote(text, lines);
}

function noteCase(note: Uint8Array | string, keys: readonly VerifierKey[]): Case {
  return {
    request: { kind: "note", bytes: base64(note), vkeys: keys.map(({ vkey }) => vkey) },
    ours: async () => {
      const parsed = parseNote(note);
      return { text: parsed.text, verified: await verifyNote(parsed, keys) };
    },
    agree: (ours: { text: string; verified: Awaited<ReturnType<typeof verifyNote>> }, theirs) => {
      expect(theirs.text).toBe(ours.text);
      expect(theirs.names).toEqual(ours.verified.map(({ key }) => key.name));
      // One line a key was signed in these cases, so the earliest time is the first.
      expect(theirs.times).toEqual(ours.verified.map(({ time }) => time ?? 0));
    },
  };
}

function checkpointCase(note: Uint8Array | string, origin = ORIGIN): Case {
  return {
    request: { kind: "checkpoint", bytes: base64(note), vkeys: KEYS.map(({ vkey }) => vkey), origin },
    ours: async () => {
      const parsed = parseNote(note);
      const checkpoint = parseCheckpoint(parsed.text);
      const verified = await verifyNote(parsed, KEYS);
      if (checkpoint.origin === origin && verified.some(({ key }) => key === LOG)) return checkpoint;
      return Promise.reject(Object.assign(new Error("not by this log"), { code: "origin-mismatch" }));
    },
    agree: (ours: ReturnType<typeof parseCheckpoint>, theirs) => {
      expect(theirs.size ?? 0).toBe(ours.size);
      expect(theirs.root).toBe(encodeBase64(ours.root));
      expect(theirs.text ?? "").toBe(ours.extensions.map((line) => `${line}\n`).join(""));
    },
  };
}

function vkeyCase(vkey: Uint8Array | string): Case {
  return {
    request: { kind: "vkey", bytes: base64(vkey) },
    ours: () => parseVerifierKey(Buffer.from(vkey).toString()),
    agree: (ours: VerifierKey, theirs) => {
      expect(theirs.names).toEqual([ours.name]);
      expect(theirs.keyId).toBe(ours.keyId);
    },
  };
}

interface Inclusion {
  readonly leafHash: Uint8Array;
  readonly index: number;
  readonly size: number;
  readonly proof: readonly Uint8Array[];
  readonly root: Uint8Array;
}

const inclusionCase = (claim: Inclusion): Case => ({
  request: {
    kind: "inclusion",
    index: claim.index,
    size: claim.size,
    leafHash: base64(claim.leafHash),
    root: base64(claim.root),
    proof: claim.proof.map(base64),
  },
  ours: () => verifyInclusion(claim),
});

const consistencyCase = (claim: Parameters<typeof verifyConsistency>[0]): Case => ({
  request: {
    kind: "consistency",
    oldSize: claim.oldSize,
    size: claim.newSize,
    oldRoot: base64(claim.oldRoot),
    root: base64(claim.newRoot),
    proof: claim.proof.map(base64),
  },
  ours: () => verifyConsistency(claim),
});

/** A proof, and whatever else is claimed, with one thing changed. */
function alterHashes(hashes: readonly Uint8Array[], random: (below: number) => number): Uint8Array[] {
  const list: Uint8Array[] = hashes.map((hash) => hash.slice());
  const at = random(list.length + 1);
  const how = random(5);
  if (how === 0) list.splice(at, 1);
  else if (how === 1) list.splice(at, 0, HASHES[random(700)]!);
  else if (how === 2 && at < list.length) list[at]![random(32)]! ^= 1 << random(8);
  else if (how === 3 && at < list.length) list[at] = list[at]!.subarray(random(2));
  else if (how === 4) list.reverse();
  return list;
}

const unavailable = (): string | null => unbuilt;

describe("Go modules", () => {
  it("are there to compare with, or the reason why not is printed", (context) => {
    const reason = unavailable();
    if (reason === null) return;
    // Where Go is installed, a run that must be complete does not skip what it could do.
    if (process.env.CI === "true" && ABSENT === null) throw new Error(reason);
    console.warn(`skipped, Go interop: ${reason}`);
    context.skip(reason);
  });

  const compared = (name: string, run: () => Promise<void>): void => {
    it(name, { timeout: 240_000 }, async (context) => {
      if (unavailable() !== null) context.skip(unavailable() as string);
      await run();
    });
  };

  compared("compute the same roots", async () => {
    const sizes = [0, 1, 2, 3, 7, 8, 255, 256, 257, 300, 511, 512, 513, 700];
    const answers = ask(sizes.map((size) => ({ kind: "root", leaves: LEAVES.slice(0, size).map(base64) })));
    for (const [i, size] of sizes.entries()) {
      const range = createRange();
      for (const hash of HASHES.slice(0, size)) range.append(hash);
      expect(answers[i]).toMatchObject({ accept: true, root: base64(range.root()) });
      expect(base64(await treeHash(size, read))).toBe(base64(range.root()));
    }
  });

  compared("accept the inclusion proofs made here and refuse the same altered ones", async () => {
    const random = randomOf(1);
    const cases: Case[] = [];
    for (let i = 0; i < 500; i++) {
      const size = 1 + random(i % 2 === 0 ? 700 : 20);
      const index = random(size);
      const claim = {
        leafHash: HASHES[index]!,
        index,
        size,
        proof: await proveInclusion(index, size, read),
        root: await treeHash(size, read),
      };
      cases.push(inclusionCase(claim));
      cases.push(inclusionCase({ ...claim, proof: alterHashes(claim.proof, random) }));
      cases.push(inclusionCase({ ...claim, index: random(size + 3) }));
      cases.push(inclusionCase({ ...claim, size: random(size + 40) }));
      cases.push(inclusionCase({ ...claim, [random(2) === 0 ? "root" : "leafHash"]: HASHES[random(700)]! }));
    }
    const accepted = await compare(cases);
    expect(accepted).toBeGreaterThanOrEqual(500);
    expect(accepted).toBeLessThan(1_500);
  });

  compared("accept the consistency proofs made here and refuse the same altered ones", async () => {
    const random = randomOf(2);
    const cases: Case[] = [];
    for (let i = 0; i < 500; i++) {
      const newSize = 1 + random(i % 2 === 0 ? 700 : 20);
      const oldSize = 1 + random(newSize);
      const claim = {
        oldSize,
        oldRoot: await treeHash(oldSize, read),
        newSize,
        newRoot: await treeHash(newSize, read),
        proof: await proveConsistency(oldSize, newSize, read),
      };
      cases.push(consistencyCase(claim));
      cases.push(consistencyCase({ ...claim, proof: alterHashes(claim.proof, random) }));
      cases.push(consistencyCase({ ...claim, oldSize: random(newSize + 3) }));
      cases.push(consistencyCase({ ...claim, newSize: random(newSize + 40) }));
      cases.push(consistencyCase({ ...claim, oldRoot: claim.newRoot, newRoot: claim.oldRoot }));
      cases.push(consistencyCase({ ...claim, oldSize: 0, proof: [] }));
    }
    const accepted = await compare(cases);
    expect(accepted).toBeGreaterThanOrEqual(500);
    expect(accepted).toBeLessThan(1_500);
  });

  compared("load the verifier keys written here and refuse the same altered ones", async () => {
    const random = randomOf(3);
    const cases: Case[] = [];
    for (let i = 0; i < 40; i++) {
      const signer = ed25519Signer(seedOf(`vkey ${i}`));
      const name = ["example.com/a", "名前", "a\ufeff", "x".repeat(300), "\u200b"][i % 5]!;
      for (const type of [1, 4] as const) {
        const { vkey } = verifierOf(name, signer, type);
        cases.push(vkeyCase(vkey), vkeyCase(vkey.toUpperCase()));
        for (let n = 0; n < 12; n++) cases.push(vkeyCase(alter(Buffer.from(vkey), random)));
      }
    }
    const { vkey } = LOG_PQ;
    cases.push(
      vkeyCase(vkey),
      vkeyCase(`${vkey.slice(0, -2)}h=`),
      vkeyCase(vkey.replace(/\+[0-9a-f]{8}\+/, "+00000000+")),
    );
    for (let n = 0; n < 60; n++) cases.push(vkeyCase(alter(Buffer.from(vkey), random)));
    cases.push(vkeyCase(LOG.vkey.replace(/\+([0-9a-f]{8})\+/, (id) => id.toUpperCase())));
    // A name that only Go takes, and a key of small order, each with its right key ID.
    for (const [name, point] of [
      ["a\x01b", LOG.publicKey],
      ["a", Uint8Array.of(1, ...new Uint8Array(31))],
    ] as const) {
      const key = Buffer.concat([Uint8Array.of(1), point]);
      cases.push(vkeyCase(`${name}+${Buffer.from(rawKeyId(name, key)).toString("hex")}+${base64(key)}`));
    }
    expect(await compare(cases)).toBeGreaterThanOrEqual(81);
  });

  compared(
    "open the notes written here, with all their signature types, and refuse the same altered ones",
    async () => {
      const random = randomOf(4);
      const cases: Case[] = [];
      for (let i = 0; i < 60; i++) {
        const size = 1 + random(700);
        const note = await signedNote(size, await treeHash(size, read), i % 3 === 0 ? "extension\n" : "");
        cases.push(noteCase(note, KEYS), noteCase(note, [KEYS[random(4)]!]));
        for (let n = 0; n < 20; n++) cases.push(noteCase(alter(Buffer.from(note), random), KEYS));
        for (let n = 0; n < 6; n++) cases.push(noteCase(shuffle(note, random), KEYS));
      }
      const text = "A text of\n\nany kind.\n";
      const plain = formatNote(text, [await signNote(text, ORIGIN, LOG_SIGNER)]);
      for (let n = 0; n < 200; n++) cases.push(noteCase(alter(Buffer.from(plain), random), [LOG]));
      const [head, line] = [plain.slice(0, plain.indexOf("\u2014")), plain.slice(plain.indexOf("\u2014"))];
      const stranger = "\u2014 stranger AAAAAAA=\n";
      cases.push(
        noteCase(plain, [LOG]),
        noteCase(`${head}${line}${stranger.repeat(63)}`, [LOG]),
        noteCase(`${head}${line}${stranger.repeat(70)}`, [LOG]),
        noteCase(`${head}${line}${stranger.repeat(100)}`, [LOG]),
        noteCase(`${head}${line}${line.replace(/.{4}\n$/, "AAA=\n")}`, [LOG]),
        noteCase(`${head}${line}${line.replace(/(\S{8})\S{8}(\S+\n)$/, "$1$2")}`, [LOG]),
      );
      const long = `${"long line\n".repeat(30_000)}`;
      cases.push(noteCase(`${long}\n${lineOf(LOG, await LOG_SIGNER.sign(Buffer.from(long)))}`, [LOG]));
      // Cosignatures of what is no checkpoint: Go signs and verifies them.
      const strange = "origin\nfive\nno root\n";
      const time = Buffer.alloc(8, 0);
      const cosignature = await WITNESSES[0]!.signer.sign(Buffer.from(`cosignature/v1\ntime 0\n${strange}`));
      cases.push(noteCase(`${strange}\n${lineOf(WITNESS_KEYS[0]!, Buffer.concat([time, cosignature]))}`, KEYS));
      expect(await compare(cases)).toBeGreaterThanOrEqual(150);
    },
  );

  compared("verify ML-DSA-44 signatures made here and refuse the same altered ones", async () => {
    const random = randomOf(5);
    const keys = [LOG, LOG_PQ, PQ_WITNESS_KEY];
    const cases: Case[] = [];
    for (let i = 0; i < 12; i++) {
      const size = 1 + random(700);
      const text = formatCheckpoint({ origin: ORIGIN, size, root: await treeHash(size, read) });
      const note = formatNote(text, [
        await signNote(text, ORIGIN, LOG_SIGNER),
        await signNote(text, ORIGIN, PQ_SIGNER, { time: i % 2 === 0 ? 0 : 1_700_000_000 }),
        await cosignNote(text, PQ_WITNESS_KEY.name, PQ_WITNESS, { time: 1_700_000_000 + i }),
      ]);
      cases.push(noteCase(note, keys), noteCase(note, [PQ_WITNESS_KEY]));
      for (let n = 0; n < 8; n++) cases.push(noteCase(alter(Buffer.from(note), random), keys));
    }
    expect(await compare(cases)).toBeGreaterThanOrEqual(24);
  });

  compared("parse the checkpoints written here to the same values and refuse the same altered ones", async () => {
    const random = randomOf(6);
    const cases: Case[] = [];
    const resigned = async (text: string): Promise<string> =>
      `${text}\n${lineOf(LOG, await LOG_SIGNER.sign(Buffer.from(text)))}`;
    for (let i = 0; i < 60; i++) {
      const size = 1 + random(700);
      const root = await treeHash(size, read);
      const note = await signedNote(size, root, i % 4 === 0 ? "one\ntwo\n" : "");
      cases.push(checkpointCase(note), checkpointCase(note, "example.com/other"));
      for (let n = 0; n < 6; n++) cases.push(checkpointCase(alter(Buffer.from(note), random)));
      // Altered before it is signed, so that only the parser can refuse it.
      const text = formatCheckpoint({ origin: ORIGIN, size, root });
      for (let n = 0; n < 10; n++) {
        const altered = Buffer.from(alter(Buffer.from(text), random)).toString();
        cases.push(checkpointCase(await resigned(altered)));
      }
    }
    const root = encodeBase64(HASHES[0]!);
    for (const size of [
      "0",
      "00",
      "07",
      "+7",
      "-7",
      "7 ",
      "0x7",
      "7e1",
      "9007199254740991",
      "9007199254740992",
      "18446744073709551615",
      "18446744073709551616",
    ]) {
      cases.push(checkpointCase(await resigned(`${ORIGIN}\n${size}\n${root}\n`)));
    }
    for (const [other, rest] of [
      [encodeBase64(HASHES[0]!.subarray(1)), ""],
      [root, "\n\n"],
      [root, "a\n\nb\n"],
      [root.replace("=", ""), ""],
    ] as const) {
      cases.push(checkpointCase(await resigned(`${ORIGIN}\n7\n${other}\n${rest}`)));
    }
    expect(await compare(cases)).toBeGreaterThanOrEqual(60);
  });

  compared("read the tlog-proofs written here and refuse the same altered ones", async () => {
    const random = randomOf(7);
    const cases: Case[] = [];
    const proofCase = (text: Uint8Array | string, leafHash: Uint8Array): Case => ({
      request: {
        kind: "proof",
        bytes: base64(text),
        vkeys: KEYS.map(({ vkey }) => vkey),
        origin: ORIGIN,
        leafHash: base64(leafHash),
      },
      ours: async () => {
        const proof = parseTlogProof(text);
        const parsed = parseNote(proof.checkpoint);
        const { origin, size, root } = parseCheckpoint(parsed.text);
        const verified = await verifyNote(parsed, KEYS);
        verifyInclusion({ leafHash, index: proof.index, size, proof: proof.path, root });
        if (origin === ORIGIN && verified.some(({ key }) => key === LOG)) return { size };
        return Promise.reject(Object.assign(new Error("not by this log"), { code: "origin-mismatch" }));
      },
      agree: ({ size }: { size: number }, theirs) => {
        expect(theirs.size).toBe(size);
        expect(theirs.bytes).toBe(base64(text));
      },
    });
    for (let i = 0; i < 50; i++) {
      const size = 1 + random(700);
      const index = random(size);
      const checkpoint = await signedNote(size, await treeHash(size, read));
      const extra = i % 3 === 0 ? Uint8Array.of(i, 1, 2) : null;
      const text = formatTlogProof({ index, path: await proveInclusion(index, size, read), checkpoint, extra });
      cases.push(proofCase(text, HASHES[index]!), proofCase(text, HASHES[random(700)]!));
      for (let n = 0; n < 8; n++) cases.push(proofCase(alter(Buffer.from(text), random), HASHES[index]!));
      for (let n = 0; n < 4; n++) cases.push(proofCase(shuffle(text, random), HASHES[index]!));
      // What Go's line scanner forgives.
      cases.push(proofCase(text.slice(0, -1), HASHES[index]!));
      cases.push(proofCase(text.replace("@v1\n", "@v1\r\n"), HASHES[index]!));
      cases.push(proofCase(text.replaceAll("\n", "\r\n"), HASHES[index]!));
      cases.push(proofCase(text.replace("index ", "index 0"), HASHES[index]!));
      if (extra === null) cases.push(proofCase(text.replace("@v1\n", "@v1\nextra \n"), HASHES[index]!));
    }
    expect(await compare(cases)).toBeGreaterThanOrEqual(50);
  });

  compared("find the same quorums in the policies written here, directives and all", async () => {
    const random = randomOf(8);
    const cases: Case[] = [];
    const policyCase = (text: string, note: string): Case => ({
      request: { kind: "policy", text, bytes: base64(note) },
      ours: async () => {
        const { quorum } = await verifyCheckpoint(note, parsePolicy(text));
        if (quorum) return true;
        return Promise.reject(Object.assign(new Error("the quorum is not reached"), { code: "quorum-not-reached" }));
      },
    });
    const checkpoint = formatCheckpoint({ origin: ORIGIN, size: 7, root: HASHES[7]! });
    const logLine = await signNote(checkpoint, ORIGIN, LOG_SIGNER);
    const cosignatures: string[] = [];
    for (const { name, signer } of WITNESSES)
      cosignatures.push(await cosignNote(checkpoint, `${name}.example/witness`, signer, { time: 9 }));
    const noteBy = (mask: number): string =>
      formatNote(checkpoint, [logLine, ...cosignatures.filter((_, i) => (mask >> i) & 1)]);
    const witnesses = WITNESS_KEYS.map((key, i) => ({ name: `w${i + 1}`, key, url: `https://w${i + 1}.example/` }));
    const groupings = [
      { groups: [], quorum: "w2" },
      { groups: [{ name: "g", threshold: 2, members: ["w1", "w2", "w3"] }], quorum: "g" },
      {
        groups: [
          { name: "g", threshold: 1, members: ["w1", "w2"] },
          { name: "top", threshold: 2, members: ["g", "w3"] },
        ],
        quorum: "top",
      },
      {
        groups: [
          { name: "g", threshold: 2, members: ["w1", "w2"] },
          { name: "top", threshold: 1, members: ["w3", "g"] },
        ],
        quorum: "top",
      },
      { groups: [], quorum: "none" },
    ];
    for (const grouping of groupings) {
      const text = formatPolicy({
        logKeys: [LOG],
        witnesses,
        ...grouping,
        genesis: "ab".repeat(32),
        requireSignature: true,
      });
      for (let mask = 0; mask < 8; mask++) cases.push(policyCase(text, noteBy(mask)));
      for (let n = 0; n < 40; n++) cases.push(policyCase(shuffle(text, random), noteBy(7)));
    }
    // What two Go parsers let pass: one operator who counts twice, and other readings of the file.
    const [w1, w2] = WITNESS_KEYS as [VerifierKey, VerifierKey];
    const renamed = formatVerifierKey({ name: "other.example", type: 4, publicKey: w1.publicKey });
    const policyText = (...lines: string[]): string => [`log ${LOG.vkey}`, ...lines, ""].join("\n");
    const twice = policyText(
      `witness a ${w1.vkey} https://a/`,
      `witness b ${w1.vkey} https://b/`,
      "group g 2 a b",
      "quorum g",
    );
    const [inflated] = ask([policyCase(twice, noteBy(1)).request]);
    expect(inflated, "Go lets one cosignature reach a quorum of two").toMatchObject({ accept: true });
    cases.push(
      policyCase(twice, noteBy(1)),
      policyCase(
        policyText(`witness a ${w1.vkey} https://a/`, `witness b ${renamed} https://b/`, "group g any a b", "quorum g"),
        noteBy(1),
      ),
      policyCase(
        policyText(`witness a ${w1.vkey} https://a/`, "group g any a", "group h any a", "group t all g h", "quorum t"),
        noteBy(1),
      ),
      policyCase(policyText(`witness a ${w1.vkey} https://a/`, "quorum a # the one"), noteBy(1)),
      policyCase(policyText(`witness a ${w2.vkey} https://a/`, "group g 0 a", "quorum g"), noteBy(1)),
    );
    expect(await compare(cases)).toBeGreaterThanOrEqual(10);
  });

  compared("differ in nothing that is not listed, and in everything that is", async () => {
    const unseen = KNOWN_DIFFERENCES.filter(({ refusal }) => !seen.has(refusal.source));
    expect(unseen.map(({ why }) => why)).toEqual([]);
  });
});

/** Whether a note has two lines of one key. */
function repeatsKey(note: Uint8Array): boolean {
  const places = parseNote(note).signatures.map(({ name, keyId }) => `${name} ${keyId}`);
  return new Set(places).size < places.length;
}

/** First four bytes of the key ID hash, for names and keys that the library refuses to write. */
function rawKeyId(name: string, typeAndKey: Uint8Array): Uint8Array {
  return createHash("sha256").update(`${name}\n`).update(typeAndKey).digest().subarray(0, 4);
}

/** A signature line, whatever is in it. */
function lineOf(key: VerifierKey, payload: Uint8Array): string {
  return formatSignatureLine(key.name, key.keyId, payload);
}
