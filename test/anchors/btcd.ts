import { type ChildProcess, execFile, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { formatOtsTimestamp, type OtsItem, type OtsTimestamp } from "../../src/core/anchor-proof/opentimestamps.ts";
import { goEnvironment } from "../witness/go-program.ts";
import { mineHeader } from "./bitcoin.ts";
import { type Loopback, serve } from "./loopback.ts";
import { run } from "./peers.ts";

/** btcd, a full node of Bitcoin by others, on a chain of its own, and a calendar that puts its promises into that chain. */

const VERSION = "v0.26.2";
const FOLDER = join(import.meta.dirname, "../../.cache/go/bin", `btcd-${VERSION}`);

/** Path of btcd, or why there is none. Built once. */
export async function installBtcd(): Promise<{ readonly path: string } | { readonly missing: string }> {
  const path = join(FOLDER, "btcd");
  if (existsSync(path)) return { path };
  if ((await run("go", ["version"])).code !== 0) return { missing: "needs go" };
  mkdirSync(FOLDER, { recursive: true });
  const { code, stderr } = await new Promise<{ readonly code: number; readonly stderr: string }>((resolve) => {
    const env = { ...goEnvironment(), GOBIN: FOLDER };
    execFile("go", ["install", `github.com/btcsuite/btcd@${VERSION}`], { env, timeout: 280_000 }, (error, _, text) =>
      resolve({ code: error === null ? 0 : 1, stderr: text }),
    );
  });
  return code === 0 ? { path } : { missing: `needs btcd ${VERSION}: ${stderr.slice(-300)}` };
}

const sha = (...bytes: readonly Uint8Array[]): Buffer => createHash("sha256").update(Buffer.concat(bytes)).digest();
const double = (...bytes: readonly Uint8Array[]): Buffer => sha(sha(...bytes));
const hex = (text: string): Buffer => Buffer.from(text, "hex");
const reversed = (bytes: Uint8Array): Buffer => Buffer.from(bytes).reverse();

export interface Btcd {
  readonly url: string;
  readonly user: string;
  readonly password: string;
  /** Adds a block with these bytes in it, in a transaction beside two others; gives where they stand. */
  commit(payload: Uint8Array): Promise<Place>;
  /** Takes the last block out of the chain: two blocks on its parent, without it. */
  reorganise(): Promise<void>;
  close(): Promise<void>;
}

export interface Place {
  readonly height: number;
  /** Seconds since 1970, as the block says. */
  readonly time: number;
  /** From the payload to the Merkle root of the block. */
  readonly path: readonly (readonly ["append" | "prepend", Uint8Array] | readonly ["sha256"])[];
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { readonly port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

const SUBSIDY = 50n * 100_000_000n;
/** Regtest halves its subsidy every 150 blocks. */
const subsidyAt = (height: number): bigint => SUBSIDY >> BigInt(Math.floor(height / 150));
const MATURITY = 100;

function output(value: bigint, script: Uint8Array): Buffer {
  const amount = Buffer.alloc(8);
  amount.writeBigUInt64LE(value);
  return Buffer.concat([amount, Uint8Array.of(script.length), script]);
}

/** One input, without a signature: what it spends anybody may spend. */
function transaction(
  input: { readonly id: Uint8Array; readonly index: number; readonly script: Uint8Array },
  outputs: readonly Buffer[],
): Buffer {
  const index = Buffer.alloc(4);
  index.writeUInt32LE(input.index);
  return Buffer.concat([
    ...[hex("01000000"), Uint8Array.of(1), input.id, index, Uint8Array.of(input.script.length), input.script],
    ...[hex("ffffffff"), Uint8Array.of(outputs.length), ...outputs, hex("00000000")],
  ]);
}

const ANYBODY = hex("51");

/** The height as BIP 34 wants it: in the fewest bytes, little-endian, with room for a sign. */
function heightScript(height: number): Uint8Array {
  if (height <= 16) return Uint8Array.of(0x50 + height);
  return height < 0x80 ? Uint8Array.of(1, height) : Uint8Array.of(2, height & 0xff, height >> 8);
}

/** Coinbase at a height; `salt` tells blocks of one height apart. */
function coinbase(height: number, salt: number): Buffer {
  const script = Buffer.concat([heightScript(height), Uint8Array.of(1, salt)]);
  const none = { id: Buffer.alloc(32), index: 0xffffffff, script };
  return transaction(none, [output(subsidyAt(height), ANYBODY)]);
}

function merkle(leaves: readonly Buffer[], at: number): { readonly root: Buffer; readonly path: Place["path"] } {
  let level = [...leaves];
  let index = at;
  const path: Place["path"][number][] = [];
  while (level.length > 1) {
    if (level.length % 2 === 1) level.push(level.at(-1)!);
    const sibling = level[index ^ 1]!;
    path.push([index % 2 === 0 ? "append" : "prepend", sibling], ["sha256"], ["sha256"]);
    level = Array.from({ length: level.length / 2 }, (_, i) => double(level[2 * i]!, level[2 * i + 1]!));
    index >>= 1;
  }
  return { root: level[0]!, path };
}

/** Starts btcd in regtest on loopback, with enough blocks for the first to be spent. */
export async function startBtcd(path: string): Promise<Btcd> {
  const folder = mkdtempSync(join(tmpdir(), "tallystick-btcd-"));
  const port = await freePort();
  const [user, password] = ["tester", "secret"];
  const child: ChildProcess = spawn(
    path,
    [
      ...["--regtest", "--notls", "--nolisten", "--nodnsseed", `--datadir=${folder}/data`, `--logdir=${folder}/logs`],
      ...[
        `--configfile=${folder}/none.conf`,
        `--rpclisten=127.0.0.1:${port}`,
        `--rpcuser=${user}`,
        `--rpcpass=${password}`,
      ],
    ],
    { stdio: "ignore" },
  );
  const ended = new Promise<void>((resolve) => child.on("close", () => resolve()));
  const url = `http://127.0.0.1:${port}`;
  const call = async (method: string, params: readonly unknown[] = []): Promise<unknown> => {
    const answer = await fetch(url, {
      method: "POST",
      headers: { authorization: `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}` },
      body: JSON.stringify({ jsonrpc: "1.0", id: 1, method, params }),
    });
    const { result, error } = (await answer.json()) as { readonly result: unknown; readonly error: unknown };
    if (error != null) throw new Error(`${method}: ${JSON.stringify(error)}`);
    return result;
  };
  const close = async (): Promise<void> => {
    child.kill("SIGTERM");
    await ended;
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    for (let tries = 0; ; tries++) {
      if (child.exitCode !== null) throw new Error(`btcd ended with ${child.exitCode}`);
      const height = await call("getblockcount").catch(() => null);
      if (height === 0) break;
      if (tries === 300) throw new Error("btcd does not answer");
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
    const chain = new Chain(call);
    await chain.grow(MATURITY + 1);
    return {
      ...{ url, user, password, close },
      commit: (payload) => chain.commit(payload),
      reorganise: () => chain.reorganise(),
    };
  } catch (error) {
    await close();
    throw error;
  }
}

class Chain {
  private readonly call: (method: string, params?: readonly unknown[]) => Promise<unknown>;
  /** Hashes in the order of headers, by height from 1 on. */
  private readonly hashes: Buffer[] = [];
  private spent = 0;
  private time = Math.floor(Date.now() / 1_000) - 3_600;

  constructor(call: Chain["call"]) {
    this.call = call;
  }

  async grow(blocks: number): Promise<void> {
    for (let i = 0; i < blocks; i++) await this.add([]);
  }

  /** A block with `transactions` behind its coinbase, on the block of `parent`'s height. */
  private async add(
    transactions: readonly Buffer[],
    { parent = this.hashes.length, salt = 0 } = {},
  ): Promise<{ readonly height: number; readonly leaves: readonly Buffer[] }> {
    const height = parent + 1;
    const all = [coinbase(height, salt), ...transactions];
    const leaves = all.map((one) => double(one));
    const before =
      parent === 0 ? reversed(hex((await this.call("getblockhash", [0])) as string)) : this.hashes[parent - 1]!;
    this.time += 1;
    const header = mineHeader(merkle(leaves, 0).root, this.time, before);
    const block = Buffer.concat([header, Uint8Array.of(all.length), ...all]);
    const answer = await this.call("submitblock", [block.toString("hex")]);
    // A block on a side branch is taken, and said not to be the best one.
    if (answer !== null && answer !== "inconclusive") throw new Error(`submitblock: ${String(answer)}`);
    this.hashes.length = parent;
    this.hashes.push(double(header));
    return { height, leaves };
  }

  async commit(payload: Uint8Array): Promise<Place> {
    // Spends the oldest coinbase; two more transactions spend what it pays.
    this.spent += 1;
    const spent = { id: double(coinbase(this.spent, 0)), index: 0, script: new Uint8Array() };
    const half = subsidyAt(this.spent) / 2n;
    const note = Buffer.concat([hex("6a20"), payload]);
    const committed = transaction(spent, [output(half, ANYBODY), output(half, ANYBODY), output(0n, note)]);
    const id = double(committed);
    const others = [0, 1].map((index) => transaction({ id, index, script: new Uint8Array() }, [output(half, ANYBODY)]));
    const { height, leaves } = await this.add([committed, ...others]);
    const at = committed.indexOf(payload);
    const [before, behind] = [committed.subarray(0, at), committed.subarray(at + payload.length)];
    const path: Place["path"] = [
      ...([["prepend", before], ["append", behind], ["sha256"], ["sha256"]] as const),
      ...merkle(leaves, 1).path,
    ];
    return { height, time: this.time, path };
  }

  async reorganise(): Promise<void> {
    const parent = this.hashes.length - 1;
    await this.add([], { parent, salt: 1 });
    await this.add([]);
  }
}

export interface NodeCalendar extends Loopback {
  /** Puts everything promised so far into one block. */
  mine(): Promise<Place>;
}

/** A calendar as the public ones are: promises at once, and one transaction for all of them. */
export async function startNodeCalendar(node: Btcd): Promise<NodeCalendar> {
  const promised: Buffer[] = [];
  const kept = new Map<string, OtsTimestamp>();
  const server: Loopback = await serve((request, body, response) => {
    if (request.method === "POST" && request.url === "/digest" && body.length <= 64) {
      const salt = sha(Buffer.from(`salt ${promised.length}`)).subarray(0, 8);
      const message = sha(body, salt);
      promised.push(message);
      const pending: OtsItem = { kind: "attestation", attestation: { kind: "pending", uri: server.url } };
      response.end(formatOtsTimestamp(treeOf([["append", salt], ["sha256"]], pending)));
      return;
    }
    const wanted = /^\/timestamp\/([0-9a-f]{64})$/.exec(request.url ?? "")?.[1] ?? "";
    const tree = kept.get(wanted);
    if (tree !== undefined) response.end(formatOtsTimestamp(tree));
    else response.writeHead(404).end("Pending confirmation in Bitcoin blockchain\n");
  });
  return {
    ...server,
    async mine() {
      const leaves = promised.splice(0);
      const tips = leaves.map((_, at) => commitmentPath(leaves, at));
      const place = await node.commit(tips[0]!.tip);
      const attestation: OtsItem = { kind: "attestation", attestation: { kind: "bitcoin", height: place.height } };
      for (const [at, leaf] of leaves.entries())
        kept.set(leaf.toString("hex"), treeOf([...tips[at]!.path, ...place.path], attestation));
      return place;
    },
  };
}

/** Calendars hash their promises into one tip, single SHA-256, the odd one promoted. */
function commitmentPath(leaves: readonly Buffer[], at: number): { readonly tip: Buffer; readonly path: Place["path"] } {
  let level = [...leaves];
  let index = at;
  const path: Place["path"][number][] = [];
  while (level.length > 1) {
    const sibling = level[index ^ 1];
    if (sibling !== undefined) path.push([index % 2 === 0 ? "append" : "prepend", sibling], ["sha256"]);
    const next: Buffer[] = [];
    for (let i = 0; i < level.length; i += 2)
      next.push(level[i + 1] === undefined ? level[i]! : sha(level[i]!, level[i + 1]!));
    level = next;
    index >>= 1;
  }
  return { tip: level[0]!, path };
}

/** A chain of operations with `last` at its end. Messages are not written, so they are left empty. */
function treeOf(path: Place["path"], last: OtsItem): OtsTimestamp {
  const message = new Uint8Array();
  return path.reduceRight<OtsTimestamp>(
    (next, [name, argument = message]) => ({
      message,
      items: [{ kind: "operation", operation: { name, argument }, next }],
    }),
    { message, items: [last] },
  );
}
