import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { openTimestampsAnchor } from "../../src/anchors/opentimestamps.ts";
import { rfc3161Anchor } from "../../src/anchors/rfc3161.ts";
import { verifyOts } from "../../src/core/anchor-proof/bitcoin.ts";
import { parseCertificateFile } from "../../src/core/anchor-proof/certificate.ts";
import {
  formatOtsFile,
  listOtsLeaves,
  normaliseOts,
  parseOtsFile,
} from "../../src/core/anchor-proof/opentimestamps.ts";
import { parseTimestampToken, verifyTimestamp } from "../../src/core/anchor-proof/rfc3161.ts";
import { isTallystickError } from "../../src/core/errors.ts";
import type { AnchorAnswer } from "../../src/ledger/anchor.ts";
import {
  basicConstraints,
  type CertificateOptions,
  type Issued,
  issue,
  keyUsage,
  makeResponse,
  makeToken,
  timeStampingUsage,
} from "./authority.ts";
import { blockHashOf, REGTEST_BITS } from "./bitcoin.ts";
import { startCalendar } from "./calendar.ts";
import { type Loopback, serve } from "./loopback.ts";
import { type OpensslTsa, startOpensslTsa } from "./openssl-tsa.ts";
import { opensslMissing, pythonPeers, run, runOk } from "./peers.ts";

const note = "example.com/audit\n3\nrA8hpn4SuhCnsO3Frisn613K/49rGuK0L5cxXZLHKmU=\n";
const digest = createHash("sha256").update(note).digest();
const folder = mkdtempSync(join(tmpdir(), "tallystick-anchors-"));
const noteFile = join(folder, "note");
writeFileSync(noteFile, note);
const running: Loopback[] = [];
let openssl: string | null = null;
let peers: Awaited<ReturnType<typeof pythonPeers>> = { missing: "needs python3" };

beforeAll(async () => {
  [openssl, peers] = await Promise.all([opensslMissing(), pythonPeers()]);
}, 300_000);
afterEach(async () => {
  await Promise.all(running.splice(0).map((server) => server.close()));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Skippable {
  skip(reason?: string): void;
}

function python(context: Skippable): string {
  if ("python" in peers) return peers.python;
  context.skip(peers.missing);
  throw new Error("unreachable: skip throws");
}

async function keep<T extends Loopback>(starting: Promise<T>): Promise<T> {
  const server = await starting;
  running.push(server);
  return server;
}

function proofOf(answer: AnchorAnswer): Uint8Array {
  if (answer.kind !== "proof") throw new Error(`expected a proof, got ${JSON.stringify(answer)}`);
  return answer.proof;
}

/** Feeds lines to a Python program of this folder and gives the lines that it prints. */
function ask(command: string, script: string, lines: readonly string[]): Promise<readonly string[]> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, [join(import.meta.dirname, script)], { stdio: ["pipe", "pipe", "inherit"] });
    const chunks: Buffer[] = [];
    child.stdout.on("data", (chunk: Buffer) => chunks.push(chunk));
    child.on("error", reject);
    child.on("close", (code) => {
      const text = Buffer.concat(chunks).toString();
      if (code === 0) resolve(text.split("\n").slice(0, -1));
      else reject(new Error(`${script} ended with ${code}`));
    });
    child.stdin.end(lines.map((line) => `${line}\n`).join(""));
  });
}

interface Case {
  readonly proof: Uint8Array;
  readonly digest?: Uint8Array;
  readonly root: string;
}

/**
 * The same response with its certificates in the order of DER, which rfc3161-client asks for and OpenSSL does not keep. They stand
 * side by side and are not signed, so putting them in order changes nothing else.
 */
function inOrder(proof: Uint8Array): Uint8Array {
  let certificates: readonly Uint8Array[];
  try {
    ({ certificates } = parseTimestampToken(proof));
  } catch (error) {
    if (!isTallystickError(error)) throw error;
    return proof;
  }
  const start = Buffer.from(proof).indexOf(Buffer.concat(certificates));
  const ordered = Uint8Array.from(proof);
  ordered.set(Buffer.concat([...certificates].sort((a, b) => Buffer.compare(a, b))), start);
  return ordered;
}

/** Verdict of each of the three verifiers on a response: ours, OpenSSL's and rfc3161-client's. */
async function verdicts(command: string, one: Case): Promise<readonly boolean[]> {
  const of = one.digest ?? digest;
  const roots = parseCertificateFile(Buffer.from(one.root));
  const ours = await verifyTimestamp(one.proof, { digest: of, roots }).then(
    () => true,
    (error: unknown) => {
      if (!isTallystickError(error)) throw error;
      return false;
    },
  );
  const [proofFile, rootFile] = [join(folder, "proof.tsr"), join(folder, "root.pem")];
  writeFileSync(proofFile, one.proof);
  writeFileSync(rootFile, one.root);
  const hex = Buffer.from(of).toString("hex");
  const theirs = await run("openssl", ["ts", "-verify", "-digest", hex, "-in", proofFile, "-CAfile", rootFile]);
  const line = JSON.stringify({ digest: hex, proof: Buffer.from(inOrder(one.proof)).toString("hex"), root: one.root });
  const [answer] = await ask(command, "rfc3161_peer.py", [line]);
  return [ours, theirs.code === 0, answer === "ok"];
}

const pem = (der: Uint8Array): string =>
  `-----BEGIN CERTIFICATE-----\n${Buffer.from(der).toString("base64").replaceAll(/.{64}/g, "$&\n")}\n-----END CERTIFICATE-----\n`;

describe("RFC 3161 beside OpenSSL and rfc3161-client", () => {
  for (const key of ["p256", "p384", "rsa"] as const) {
    it(`stamps at an authority of OpenSSL (${key}), and all three verify the answer and refuse what was changed`, async (context) => {
      if (openssl !== null) context.skip(openssl);
      const command = python(context);
      const tsa: OpensslTsa = await keep(startOpensslTsa(key));
      const root = readFileSync(tsa.rootFile, "utf8");
      const roots = parseCertificateFile(Buffer.from(root));
      const proof = proofOf(await rfc3161Anchor({ url: tsa.url, roots, timeoutMs: 60_000 }).submit(digest));
      expect(await verdicts(command, { proof, root })).toEqual([true, true, true]);

      const verified = await verifyTimestamp(proof, { digest, roots, nowMs: Date.now() });
      expect(verified).toMatchObject({
        accuracyMs: 1_500.1,
        policy: "1.3.6.1.4.1.99999.1",
        authority: `O=Tests, CN=leaf ${key}`,
      });
      expect(Math.abs(verified.notAfterMs - 1_500 - Date.now())).toBeLessThan(60_000);

      // The token alone, as OpenSSL reads a .tst.
      const token = join(folder, "token.tst");
      writeFileSync(token, parseTimestampToken(proof).bytes);
      const hex = digest.toString("hex");
      await runOk("openssl", ["ts", "-verify", "-digest", hex, "-token_in", "-in", token, "-CAfile", tsa.rootFile]);

      const other = createHash("sha256").update("other").digest();
      expect(await verdicts(command, { proof, root, digest: other })).toEqual([false, false, false]);
      const stranger = pem(issue({ name: "Stranger", notAfter: "2126-01-01T00:00:00Z" }).der);
      expect(await verdicts(command, { proof, root: stranger })).toEqual([false, false, false]);
      const changed = Uint8Array.from(proof);
      const year = Buffer.from(proof).indexOf(verified.genTime.slice(0, 10).replaceAll("-", ""));
      changed.set(Buffer.from("2025"), year);
      expect(await verdicts(command, { proof: changed, root })).toEqual([false, false, false]);
      expect(await verdicts(command, { proof: proof.subarray(0, -1), root })).toEqual([false, false, false]);
    });
  }

  it("asks for a policy and gets it, or learns that it is refused", async (context) => {
    if (openssl !== null) context.skip(openssl);
    const tsa = await keep(startOpensslTsa("p256"));
    const roots = parseCertificateFile(readFileSync(tsa.rootFile));
    const submit = (policy: string): Promise<AnchorAnswer> =>
      rfc3161Anchor({ url: tsa.url, roots, policy, timeoutMs: 60_000 }).submit(digest);
    const proof = proofOf(await submit("1.3.6.1.4.1.99999.2"));
    expect((await verifyTimestamp(proof, { digest, roots })).policy).toBe("1.3.6.1.4.1.99999.2");
    expect(await submit("1.3.6.1.4.1.99999.3")).toMatchObject({
      kind: "refused",
      reason: expect.stringContaining("failures 15"),
    });
  });

  it("agrees with OpenSSL on tokens that no honest authority makes", async (context) => {
    if (openssl !== null) context.skip(openssl);
    const command = python(context);
    // OpenSSL looks at the chain as of today.
    const make = (options: CertificateOptions): Issued => issue({ notAfter: "2126-01-01T00:00:00Z", ...options });
    const root = make({ name: "Root" });
    const usual = make({ name: "Authority", issuer: root });
    const soft = make({ name: "Soft", issuer: root, extensions: [timeStampingUsage(false)] });
    const none = make({ name: "None", issuer: root, extensions: [keyUsage(0x80)] });
    const fake = make({ name: "Fake", issuer: root, extensions: [basicConstraints(false)] });
    const below = make({ name: "Below", issuer: fake });
    const genTime = `${new Date().toISOString().slice(0, 19).replaceAll(/[-:T]/g, "")}Z`;
    const base = { digest, genTime };
    const rows = [
      ["good", makeToken({ ...base, signer: usual }), true],
      ["extended key usage not critical", makeToken({ ...base, signer: soft }), false],
      ["no extended key usage", makeToken({ ...base, signer: none }), false],
      ["no ESS attribute", makeToken({ ...base, signer: usual, ess: "none" }), false],
      ["ESS attribute of another certificate", makeToken({ ...base, signer: usual, ess: soft }), false],
      [
        "message digest of something else",
        makeToken({ ...base, signer: usual, messageDigest: new Uint8Array(32) }),
        false,
      ],
      ["signed with another key", makeToken({ ...base, signer: usual, signWith: soft.keys.privateKey }), false],
      ["issuer that is none", makeToken({ ...base, signer: below, certificates: [below, fake] }), false],
    ] as const;
    for (const [title, token, valid] of rows) {
      const [ours, theirs] = await verdicts(command, { proof: makeResponse(token), root: pem(root.der) });
      expect([title, ours, theirs]).toEqual([title, valid, valid]);
    }
  });
});

interface Parsed {
  readonly refused?: string;
  readonly bytes?: string;
  readonly leaves?: readonly (readonly unknown[])[];
}

describe("OpenTimestamps beside python-opentimestamps and its client", () => {
  async function parse(command: string, files: readonly Uint8Array[]): Promise<readonly Parsed[]> {
    const lines = await ask(
      command,
      "ots_peer.py",
      files.map((file) => Buffer.from(file).toString("hex")),
    );
    return lines.map((line) => JSON.parse(line) as Parsed);
  }
  const leavesOf = (proof: Uint8Array): readonly (readonly unknown[])[] =>
    listOtsLeaves(parseOtsFile(proof).timestamp).map(({ attestation: one, message }) => {
      const value = one.kind === "pending" ? one.uri : one.kind === "bitcoin" ? one.height : null;
      return [value === null ? "other" : one.kind, value, Buffer.from(message).toString("hex")];
    });
  const sorted = (rows: readonly (readonly unknown[])[]): readonly string[] =>
    rows.map((row) => JSON.stringify(row)).sort();

  it("writes what they read and write back byte for byte, pending and upgraded", async (context) => {
    const command = python(context);
    const [a, b] = [await keep(startCalendar()), await keep(startCalendar())];
    const anchor = openTimestampsAnchor({ calendars: [a.url, b.url] });
    const pending = proofOf(await anchor.submit(digest));
    a.confirm(840_000, 1_770_000_000);
    b.confirm(840_001, 1_770_000_600);
    const upgraded = proofOf(await anchor.upgrade(pending));
    const parsed = await parse(command, [pending, upgraded]);
    for (const [i, proof] of [pending, upgraded].entries()) {
      expect(parsed[i]!.bytes).toBe(Buffer.from(proof).toString("hex"));
      expect(sorted(parsed[i]!.leaves!)).toEqual(sorted(leavesOf(proof)));
    }
    expect(leavesOf(upgraded)).toHaveLength(4);
  });

  it("lets the client stamp, upgrade and verify against our calendar and node, and reads each of its files", async (context) => {
    const command = python(context);
    const ots = join(command, "..", "ots");
    const calendar = await keep(startCalendar());
    const client = (...args: string[]): ReturnType<typeof run> =>
      run(command, [ots, "-v", "--no-cache", "-l", calendar.url, ...args], folder);

    rmSync(`${noteFile}.ots`, { force: true });
    const stamped = await client("stamp", "-c", calendar.url, "-m", "1", noteFile);
    expect(stamped.stderr + stamped.stdout).toContain("Submitting to remote calendar");
    const theirs = Uint8Array.from(readFileSync(`${noteFile}.ots`));
    expect(formatOtsFile(parseOtsFile(theirs))).toEqual(theirs);

    const anchor = openTimestampsAnchor({ calendars: [calendar.url] });
    const height = 840_000;
    const header = calendar.confirm(height, 1_770_000_000);
    const ours = proofOf(await anchor.upgrade(theirs));
    await client("upgrade", `${noteFile}.ots`);
    expect(Uint8Array.from(readFileSync(`${noteFile}.ots`))).toEqual(ours);
    const headers = [{ height, header }];
    expect(verifyOts(ours, { digest, headers, bitsMax: REGTEST_BITS }).notAfterMs).toBe(1_770_007_200_000);

    const node = await keep(
      serve((_request, body, response) => {
        const { id, method } = JSON.parse(body.toString()) as { id: unknown; method: string };
        const known: Record<string, unknown> = {
          getblockcount: height + 10,
          getblockhash: blockHashOf(header),
          getblockheader: Buffer.from(header).toString("hex"),
        };
        response.setHeader("content-type", "application/json");
        response.end(
          JSON.stringify({
            id,
            result: known[method] ?? null,
            error: known[method] === undefined ? { code: -32601, message: method } : null,
          }),
        );
      }),
    );
    const verified = await client("--bitcoin-node", node.url.replace("//", "//u:p@"), "verify", `${noteFile}.ots`);
    expect(verified.stderr + verified.stdout).toMatch(
      /Success! Bitcoin block 840000 attests existence as of 2026-02-0/,
    );
    writeFileSync(noteFile, `${note}x`);
    const other = await client("--bitcoin-node", node.url.replace("//", "//u:p@"), "verify", `${noteFile}.ots`);
    writeFileSync(noteFile, note);
    expect(other.code).not.toBe(0);
  });

  it("agrees with them on thousands of damaged files, but for numbers that are not minimal or above 2^53, and files hashed with Keccak", async (context) => {
    const command = python(context);
    const vectors = JSON.parse(readFileSync(join(import.meta.dirname, "../../vectors/anchors.json"), "utf8")) as {
      opentimestamps: readonly { readonly proof: string }[];
    };
    const seeds = vectors.opentimestamps.map((one) => Buffer.from(one.proof, "hex"));
    const edit = fc.record({
      at: fc.nat(400),
      value: fc.oneof(fc.nat(255), fc.constantFrom(0, 2, 3, 8, 0x67, 0xf0, 0xf1, 0xf2, 0xf3, 0xff)),
      kind: fc.constantFrom("set", "cut", "insert", "remove"),
    });
    const cases = fc.sample(fc.tuple(fc.nat(seeds.length - 1), fc.array(edit, { minLength: 1, maxLength: 3 })), {
      numRuns: 4_000,
      seed: 7,
    });
    const files = cases.map(([which, edits]) => {
      let bytes = Buffer.from(seeds[which]!);
      for (const { at, value, kind } of edits) {
        // The 31 bytes of the header are not worth more than a few cases.
        const position = Math.min(bytes.length - 1, at < 20 ? at : 31 + (at % Math.max(1, bytes.length - 31)));
        if (kind === "set") bytes[position] = value;
        else if (kind === "cut" && position > 60) bytes = bytes.subarray(0, position);
        else if (kind === "insert")
          bytes = Buffer.concat([bytes.subarray(0, position), Buffer.of(value), bytes.subarray(position)]);
        else if (kind === "remove") bytes = Buffer.concat([bytes.subarray(0, position), bytes.subarray(position + 1)]);
      }
      return Uint8Array.from(bytes);
    });
    let accepted = 0;
    for (const [i, parsed] of (await parse(command, files)).entries()) {
      const file = files[i]!;
      let problem: string | null = null;
      try {
        const { fileHash, timestamp } = parseOtsFile(file);
        const normal = formatOtsFile({ fileHash, timestamp: normaliseOts(timestamp) });
        expect([Buffer.from(file).toString("hex"), parsed.bytes]).toEqual([
          Buffer.from(file).toString("hex"),
          Buffer.from(normal).toString("hex"),
        ]);
        accepted++;
      } catch (error) {
        if (!isTallystickError(error)) throw error;
        problem = error.message;
      }
      if (problem !== null && !/not minimal|above 2\^53|file hash 103/.test(problem))
        expect([problem, parsed.bytes]).toEqual([problem, undefined]);
    }
    expect(accepted).toBeGreaterThan(400);
  });
});
