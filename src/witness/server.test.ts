import { createPrivateKey, sign } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import vectors from "../../vectors/tlog.json" with { type: "json" };
import { formatCheckpoint } from "../core/checkpoint.ts";
import { decodeHex, encodeHex, encodeUtf8 } from "../core/encoding.ts";
import { UnavailableError } from "../core/errors.ts";
import { sha256 } from "../core/hash.ts";
import { createRange, hashLeaf } from "../core/merkle.ts";
import {
  cosignNote,
  formatNote,
  formatVerifierKey,
  type NoteSigner,
  parseNote,
  parseVerifierKey,
  signNote,
  verifyNote,
} from "../core/note.ts";
import { proveConsistency } from "../core/proof.ts";
import { exportPem, generateLogKey, logSignerFromSeed, type Signer } from "../keys/index.ts";
import { loadSqliteDriver } from "../storage/sqlite-driver.ts";
import { httpWitness } from "./client.ts";
import { createWitness, type WitnessServer, type WitnessServerOptions } from "./server.ts";
import { sqliteWitnessStore, type WitnessEvidence, type WitnessStore } from "./witness-store.ts";

const driver = await loadSqliteDriver();
const folders: string[] = [];
const stores: WitnessStore[] = [];

afterEach(() => {
  for (const store of stores.splice(0)) store.close();
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true });
});

function makeStore(): WitnessStore {
  const folder = mkdtempSync(join(tmpdir(), "witness-"));
  folders.push(folder);
  const store = sqliteWitnessStore({ path: join(folder, "witness.sqlite"), driver });
  stores.push(store);
  return store;
}

async function post(
  witness: WitnessServer,
  body: string,
): Promise<{ status: number; type: string | null; body: string }> {
  const response = await witness.fetch(new Request("http://witness.test/add-checkpoint", { method: "POST", body }));
  return { status: response.status, type: response.headers.get("content-type"), body: await response.text() };
}

const signer = logSignerFromSeed("ed25519", sha256(encodeUtf8("witness")));
const name = "witness.test/w";
const vkey = formatVerifierKey({ name, type: 4, publicKey: signer.publicKey });

describe("published vectors", () => {
  it("answers the eleven steps of the shared witness test", async () => {
    const { origin, steps, log_public_key_hex: hex } = vectors.witness_sequence;
    const key = parseVerifierKey(
      formatVerifierKey({ name: origin, type: 1, publicKey: decodeHex(hex, { code: "malformed-key" }) }),
    );
    const witness = createWitness({ name, signer, logs: new Map([[origin, [key]]]), store: makeStore() });
    for (const step of steps) {
      const answer = await post(witness, step.body);
      expect(answer.status, step.name).toBe(step.status);
      if ("response_body" in step) expect(answer).toMatchObject({ body: step.response_body, type: step.content_type });
      if (step.status === 200) {
        const note = step.body.slice(step.body.indexOf("\n\n") + 2);
        const lines = answer.body.split("\n").slice(0, -1);
        expect(lines).toHaveLength(1);
        const [verified] = await verifyNote(parseNote(note + answer.body), [parseVerifierKey(vkey)]);
        expect(verified?.time).toBeGreaterThan(0);
      }
    }
  });
});

/** Signs messages of any length. */
function longSigner(key: Signer): NoteSigner["sign"] {
  const secret = createPrivateKey(exportPem(key));
  return async (message) => sign(null, message, secret);
}

function fake(store: WitnessStore): WitnessStore {
  return {
    head: (of) => store.head(of),
    update: (...update) => store.update(...update),
    keepEvidence: (evidence) => store.keepEvidence(evidence),
    evidence: (of) => store.evidence(of),
    countEvidence: () => store.countEvidence(),
    close: () => store.close(),
  };
}

/** A log of `size` one-byte leaves, and another that shares its first `fork` leaves. */
function makeLog(origin: string) {
  const key = generateLogKey();
  const leaves = (size: number, fork: number): Uint8Array[] =>
    Array.from({ length: size }, (_, i) => hashLeaf(encodeUtf8(i < fork ? `leaf ${i}` : `other ${i}`)));
  const rootOf = (size: number, fork = size): Uint8Array => {
    const range = createRange();
    for (const leaf of leaves(size, fork)) range.append(leaf);
    return range.root();
  };
  return {
    key,
    verifier: parseVerifierKey(formatVerifierKey({ name: origin, type: 1, publicKey: key.publicKey })),
    async note(size: number, fork = size): Promise<string> {
      const text = formatCheckpoint({ origin, size, root: rootOf(size, fork) });
      return formatNote(text, [await signNote(text, origin, key)]);
    },
    async proof(oldSize: number, size: number, fork = size): Promise<string> {
      const all = leaves(size, fork);
      const hashes = await proveConsistency(oldSize, size, (level, index, width) => {
        if (level !== 0) throw new Error("only small trees");
        return Buffer.concat(all.slice(index * 256, index * 256 + width));
      });
      return hashes.map((hash) => `${Buffer.from(hash).toString("base64")}\n`).join("");
    },
  };
}

describe("the decision table", () => {
  const origin = "log.test/a";
  function setUp(options: Partial<WitnessServerOptions> = {}) {
    const log = makeLog(origin);
    const store = makeStore();
    const told: WitnessEvidence[] = [];
    const onEvidence = (evidence: WitnessEvidence): void => void told.push(evidence);
    const logs = new Map([[origin, [log.verifier]]]);
    const witness = createWitness({ name, signer, logs, store, onEvidence, ...options });
    return { log, store, told, witness };
  }

  it("refreshes the same head, refuses another root for it, and keeps the evidence", async () => {
    const { log, witness, store, told } = setUp();
    expect((await post(witness, `old 0\n\n${await log.note(5)}`)).status).toBe(200);
    expect((await post(witness, `old 5\n\n${await log.note(5)}`)).status).toBe(200);
    expect((await post(witness, `old 5\n\n${await log.note(5, 3)}`)).status).toBe(422);
    expect(store.head(origin)?.note).toBe(await log.note(5));
    const [evidence] = store.evidence(origin);
    expect(evidence).toMatchObject({ origin, held: await log.note(5), offered: await log.note(5, 3), proof: "" });
    expect(told).toEqual([evidence]);
  });

  it("grows only along consistent trees", async () => {
    const { log, witness } = setUp();
    await post(witness, `old 0\n\n${await log.note(5)}`);
    expect((await post(witness, `old 5\n${await log.proof(5, 9)}\n${await log.note(9, 2)}`)).status).toBe(422);
    expect((await post(witness, `old 4\n${await log.proof(4, 9)}\n${await log.note(9)}`)).status).toBe(409);
    expect((await post(witness, `old 9\n\n${await log.note(5)}`)).status).toBe(400);
    expect((await post(witness, `old 5\n${await log.proof(5, 9)}\n${await log.note(9)}`)).status).toBe(200);
  });

  it("refuses a proof where none belongs, and an empty tree with another root", async () => {
    const { log, witness } = setUp();
    const junk = `${Buffer.alloc(32).toString("base64")}\n`;
    expect((await post(witness, `old 0\n${junk}\n${await log.note(5)}`)).status).toBe(422);
    await post(witness, `old 0\n\n${await log.note(5)}`);
    expect((await post(witness, `old 5\n${junk}\n${await log.note(5)}`)).status).toBe(422);
    const text = `${origin}\n0\n${Buffer.alloc(32).toString("base64")}\n`;
    const other = setUp();
    const line = await signNote(text, origin, other.log.key);
    expect((await post(other.witness, `old 0\n\n${text}\n${line}`)).status).toBe(422);
  });

  it("lets exactly one of many racing requests from one size win", async () => {
    const { log, witness } = setUp();
    await post(witness, `old 0\n\n${await log.note(1)}`);
    const bodies = await Promise.all(
      Array.from({ length: 40 }, async (_, i) => `old 1\n${await log.proof(1, i + 2, 1)}\n${await log.note(i + 2, 1)}`),
    );
    const statuses = await Promise.all(bodies.map(async (body) => (await post(witness, body)).status));
    expect(statuses.filter((status) => status === 200)).toHaveLength(1);
    expect(statuses.filter((status) => status === 409)).toHaveLength(39);
  });

  it("stores and answers only verified lines, whatever else the note carries", async () => {
    const { log, witness, store } = setUp();
    const genuine = await log.note(5);
    const forged = `— ${name} ${Buffer.concat([Buffer.from(vkey.split("+")[1] ?? "", "hex"), Buffer.alloc(72, 1)]).toString("base64")}\n`;
    const stranger = await cosignNote(parseNote(genuine).text, "stranger.test/x", generateLogKey(), { time: 5 });
    const answer = await post(witness, `old 0\n\n${genuine}${forged}${stranger}`);
    expect(answer.status).toBe(200);
    expect(answer.body.split("\n")).toHaveLength(2);
    expect(store.head(origin)?.note).toBe(genuine);
    const shown = await witness.fetch(
      new Request(`http://witness.test/${encodeHex(sha256(encodeUtf8(origin)))}/checkpoint`),
    );
    const keys = [log.verifier, parseVerifierKey(vkey)];
    expect(await verifyNote(parseNote(await shown.text()), keys)).toHaveLength(2);
  });

  it("cosigns with each of its keys, and shows those lines for a minute without signing anew", async () => {
    const pq = generateLogKey("ml-dsa-44");
    let signatures = 0;
    const counting = {
      ...signer,
      sign: (message: Uint8Array) => {
        signatures += 1;
        return signer.sign(message);
      },
    };
    let now = 1_000_000;
    const { log, witness } = setUp({ signer: counting, additionalSigners: [pq], now: () => now });
    const note = await log.note(5);
    const answer = await post(witness, `old 0\n\n${note}`);
    const keys = [vkey, formatVerifierKey({ name, type: 6, publicKey: pq.publicKey })].map(parseVerifierKey);
    expect((await verifyNote(parseNote(note + answer.body), keys)).map(({ time }) => time)).toEqual([1_000, 1_000]);
    const show = async (): Promise<string> => {
      const url = `http://witness.test/${encodeHex(sha256(encodeUtf8(origin)))}/checkpoint`;
      return (await witness.fetch(new Request(url))).text();
    };
    for (let i = 0; i < 3; i++) expect(await show()).toBe(note + answer.body);
    expect(signatures).toBe(1);
    now += 60_000;
    expect((await verifyNote(parseNote(await show()), keys)).map(({ time }) => time)).toEqual([1_060, 1_060]);
    expect(signatures).toBe(2);
  });

  it("refuses a text that is longer than what its signer takes, before anything is stored", async () => {
    const { log, witness, store } = setUp();
    const text = `${parseNote(await log.note(5)).text}${"x".repeat(4_000)}\n`;
    const note = formatNote(text, [await signNote(text, origin, { ...log.key, sign: longSigner(log.key) })]);
    expect((await post(witness, `old 0\n\n${note}`)).status).toBe(400);
    expect(store.head(origin)).toBeUndefined();
  });

  it("answers 503 and cosigns nothing when it cannot store or sign", async () => {
    const log = makeLog(origin);
    const store = makeStore();
    const full = new UnavailableError("storage-full", "no space");
    const logs = new Map([[origin, [log.verifier]]]);
    const cannotStore = createWitness({
      name,
      signer,
      logs,
      store: { ...fake(store), update: () => Promise.reject(full) },
    });
    const body = `old 0\n\n${await log.note(5)}`;
    expect((await post(cannotStore, body)).status).toBe(503);
    const failing = { ...signer, sign: () => Promise.reject(new UnavailableError("signer-unavailable", "away")) };
    const cannotSign = createWitness({ name, signer: failing, logs, store });
    expect((await post(cannotSign, body)).status).toBe(503);
    // Stored but not cosigned: the log asks again from there.
    const witness = createWitness({ name, signer, logs, store });
    expect(await post(witness, body)).toMatchObject({ status: 409, body: "5\n" });
    expect((await post(witness, `old 5\n\n${await log.note(5)}`)).status).toBe(200);
  });

  it("refuses a note with thousands of lines, whoever's they seem to be, and stores none of it", async () => {
    const { log, witness, store } = setUp();
    const genuine = await log.note(5);
    const [line = ""] = parseNote(genuine).signatures.map((signature) => signature.line);
    expect((await post(witness, `old 0\n\n${genuine}${"— a AAAAAAA=\n".repeat(5_000)}`)).status).toBe(403);
    expect((await post(witness, `old 0\n\n${genuine}${line.repeat(64)}`)).status).toBe(403);
    expect((await post(witness, `old 0\n\n${genuine}${"— a AAAAAAA=\n".repeat(20_000)}`)).status).toBe(413);
    expect(store.head(origin)).toBeUndefined();
    expect((await post(witness, `old 0\n\n${genuine}`)).status).toBe(200);
  });

  it("bounds the size of a request, its rate, and what else is asked", async () => {
    const { log, witness } = setUp({ requestsPerMinute: 3 });
    expect((await post(witness, `old 0\n${"A".repeat(200_000)}`)).status).toBe(413);
    const note = await log.note(5);
    const statuses: number[] = [];
    for (let i = 0; i < 5; i++) statuses.push((await post(witness, `old ${i === 0 ? 0 : 5}\n\n${note}`)).status);
    expect(statuses).toEqual([200, 200, 200, 429, 429]);
    expect((await witness.fetch(new Request("http://witness.test/add-checkpoint"))).status).toBe(405);
    expect((await witness.fetch(new Request("http://witness.test/other"))).status).toBe(404);
    expect((await witness.fetch(new Request(`http://witness.test/${"0".repeat(64)}/checkpoint`))).status).toBe(404);
  });

  it.each([
    ["no blank line", "old 0\n"],
    ["a negative size", "old -1\n\nx\n1\n\n"],
    ["leading zeros", "old 01\n\n"],
    ["64 hashes", `old 1\n${`${Buffer.alloc(32).toString("base64")}\n`.repeat(64)}\n`],
    ["a short hash", "old 1\nAAAA\n\n"],
  ])("answers 400 to %s", async (_, head) => {
    const { log, witness } = setUp();
    expect((await post(witness, head + (await log.note(5)))).status).toBe(400);
  });

  it("refuses a key or a name in two roles", () => {
    const log = makeLog(origin);
    expect(() =>
      createWitness({ name, signer: log.key, logs: new Map([[origin, [log.verifier]]]), store: makeStore() }),
    ).toThrow(expect.objectContaining({ code: "key-role", message: "the witness key is also a log key" }));
    expect(() =>
      createWitness({ name: origin, signer, logs: new Map([[origin, [log.verifier]]]), store: makeStore() }),
    ).toThrow(expect.objectContaining({ code: "key-role", message: "the witness has the name of a log" }));
  });
});

describe("the client", () => {
  const reply = (status: number, body: string | Uint8Array, type = "text/plain"): typeof fetch =>
    (async () => new Response(body as BodyInit, { status, headers: { "content-type": type } })) as typeof fetch;
  const ask = (answer: typeof fetch, timeoutMs = 200) =>
    httpWitness({ name: "w", vkey, url: "http://w.test/", fetch: answer, timeoutMs }).addCheckpoint({
      oldSize: 0,
      proof: [],
      note: "n",
    });

  it.each([
    [reply(200, "— w AAAA\n"), { kind: "cosigned", lines: ["— w AAAA\n"] }],
    [reply(200, "fine\n"), { kind: "unavailable" }],
    [reply(200, ""), { kind: "unavailable" }],
    [reply(409, "7\n", "text/x.tlog.size"), { kind: "conflict", size: 7 }],
    [reply(409, "07\n", "text/x.tlog.size"), { kind: "unavailable" }],
    [reply(409, "7\n"), { kind: "refused", status: 409 }],
    [reply(400, "bad"), { kind: "refused", status: 400 }],
    [reply(403, "no"), { kind: "refused", status: 403 }],
    [reply(404, "who"), { kind: "refused", status: 404 }],
    [reply(422, "inconsistent"), { kind: "refused", status: 422 }],
    [reply(429, "slow"), { kind: "unavailable" }],
    [reply(503, "later"), { kind: "unavailable" }],
    [reply(200, "— ".padEnd(70_000, "A")), { kind: "unavailable", reason: expect.stringContaining("larger") }],
    [reply(200, new Uint8Array([0xff])), { kind: "unavailable" }],
  ])("gives each answer its one meaning (%#)", async (answer, expected) => {
    expect(await ask(answer)).toMatchObject(expected);
  });

  it("gives up on a witness that never answers", async () => {
    const silent = ((_: unknown, init: RequestInit) =>
      new Promise((_resolve, reject) =>
        init.signal?.addEventListener("abort", () => reject(init.signal?.reason)),
      )) as typeof fetch;
    expect(await ask(silent, 20)).toEqual({ kind: "unavailable", reason: "no answer within 20 ms" });
  });
});
