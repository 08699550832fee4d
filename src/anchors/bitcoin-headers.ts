import { readFile, stat } from "node:fs/promises";
import { type BitcoinHeader, parseBitcoinHeader, parseBitcoinHeaders } from "../core/anchor-proof/bitcoin.ts";
import { decodeHex, decodeUtf8 } from "../core/encoding.ts";
import { isTallystickError, MalformedError, UnavailableError } from "../core/errors.ts";
import type { BitcoinHeaderSource } from "../ledger/header-source.ts";
import { exchange, type HttpLimits, printable } from "../ledger/http-exchange.ts";
import { checkedAddress, TIMEOUT_MS_DEFAULT } from "./service-address.ts";

interface NetworkOptions {
  readonly url: string;
  /** For each exchange. Default 5,000. */
  readonly timeoutMs?: number;
  readonly fetch?: typeof fetch;
  /** Easiest target that is accepted, in compact form; for test networks. */
  readonly bitsMax?: number;
}

/** A header in hex, or a JSON-RPC answer around one. */
const ANSWER_BYTES_MAX = 4_096;
/** 10,000 headers and comments. */
const FILE_BYTES_MAX: number = 4 * 1024 * 1024;
const HASH = /^[0-9a-f]{64}$/;

/** An Esplora explorer, as of `https://blockstream.info/api`. To rely on explorers ask two of different people (`agreeingHeaders`). */
export function esploraHeaders(options: NetworkOptions): BitcoinHeaderSource {
  const url = checkedAddress(options.url, "esploraHeaders");
  const limits = limitsOf(options);
  const get = async (path: string, signal: AbortSignal | undefined): Promise<string | null> => {
    const answer = await exchange(`${url}${path}`, { method: "GET" }, limits, signal);
    if (typeof answer === "string") throw unavailable(url, answer);
    if (answer.status === 404) return null;
    if (answer.status !== 200) throw unavailable(url, `status ${answer.status}`);
    return textOf(answer.body).trim();
  };
  return {
    name: url,
    bitsMax: options.bitsMax,
    async read(height, signal) {
      assertHeight(height);
      const hash = await get(`/block-height/${height}`, signal);
      if (hash === null) return null;
      if (!HASH.test(hash)) throw malformed(url, "expected the hash of a block");
      const header = await get(`/block/${hash}/header`, signal);
      if (header === null) throw unavailable(url, "no header of a block that it names");
      return checked(url, { height, hash, header, bitsMax: options.bitsMax });
    },
  };
}

export interface RpcHeadersOptions extends NetworkOptions {
  /** User and password of a node of one's own, kept out of `url` so that no report shows them. */
  readonly user?: string;
  readonly password?: string;
}

/** A Bitcoin node over JSON-RPC (`getblockhash`, `getblockheader`): Bitcoin Core, btcd. The node has checked the chain itself. */
export function rpcHeaders(options: RpcHeadersOptions): BitcoinHeaderSource {
  const url = checkedAddress(options.url, "rpcHeaders");
  const limits = limitsOf(options);
  const { user, password } = options;
  const login =
    user === undefined ? {} : { authorization: `Basic ${Buffer.from(`${user}:${password ?? ""}`).toString("base64")}` };
  const call = async (
    method: string,
    params: readonly unknown[],
    signal: AbortSignal | undefined,
  ): Promise<unknown> => {
    const body = JSON.stringify({ jsonrpc: "1.0", id: "tallystick", method, params });
    const headers = { "content-type": "application/json", ...login };
    const answer = await exchange(url, { method: "POST", headers, body }, limits, signal);
    if (typeof answer === "string") throw unavailable(url, answer);
    // Bitcoin Core answers errors of a call with status 500 and a body.
    if (answer.status !== 200 && answer.status !== 500) throw unavailable(url, `status ${answer.status}`);
    const { result, error } = parseAnswer(url, answer.body);
    if (error === null || error === undefined) return result;
    const { code, message } = error as { code?: unknown; message?: unknown };
    // RPC_INVALID_PARAMETER of Bitcoin Core and of btcd: the height is beyond the tip.
    if (code === -8 || code === -1) return null;
    throw unavailable(url, `${method}: ${printable(String(message))}`);
  };
  return {
    name: url,
    bitsMax: options.bitsMax,
    async read(height, signal) {
      assertHeight(height);
      const hash = await call("getblockhash", [height], signal);
      if (hash === null) return null;
      if (typeof hash !== "string" || !HASH.test(hash)) throw malformed(url, "expected the hash of a block");
      const header = await call("getblockheader", [hash, false], signal);
      if (typeof header !== "string") throw malformed(url, "expected a header in hex");
      return checked(url, { height, hash, header, bitsMax: options.bitsMax });
    },
  };
}

/**
 * Whatever answers at an address: an explorer, if it gives the first block as one does, else a node. Errors as for reading: a place
 * where neither is shows when it is asked.
 */
export async function headersAt(options: RpcHeadersOptions, signal?: AbortSignal): Promise<BitcoinHeaderSource> {
  const explorer = esploraHeaders(options);
  try {
    if ((await explorer.read(0, signal)) !== null) return explorer;
  } catch (error) {
    if (!isTallystickError(error)) throw error;
  }
  return rpcHeaders(options);
}

/** Headers that a reader pins in a file (`parseBitcoinHeaders`). Each header's work is checked, the chain between them is not. */
export async function readHeadersFile(
  path: string,
  options: { readonly bitsMax?: number } = {},
): Promise<BitcoinHeaderSource> {
  const { size } = await stat(path);
  if (size > FILE_BYTES_MAX) throw malformed(path, `expected at most ${FILE_BYTES_MAX} bytes, got ${size}`);
  const headers = parseBitcoinHeaders(decodeUtf8(await readFile(path), "malformed-proof"));
  for (const { header } of headers) parseBitcoinHeader(header, options.bitsMax);
  const byHeight = new Map(headers.map((one) => [one.height, one]));
  return {
    name: path,
    bitsMax: options.bitsMax,
    async read(height) {
      assertHeight(height);
      return byHeight.get(height) ?? null;
    },
  };
}

/** Sources of which all that are asked must give the same header: two explorers of different people. */
export function agreeingHeaders(sources: readonly BitcoinHeaderSource[]): BitcoinHeaderSource {
  if (sources.length < 2) throw new RangeError(`agreeingHeaders: expected two sources or more, got ${sources.length}`);
  const name = sources.map((source) => source.name).join(" and ");
  return {
    name,
    bitsMax: sources[0]?.bitsMax,
    async read(height, signal) {
      const headers = await Promise.all(sources.map((source) => source.read(height, signal)));
      const texts = new Set(headers.map((one) => (one === null ? "" : Buffer.from(one.header).toString("hex"))));
      if (texts.size > 1) throw malformed(name, `they disagree about block ${height}`);
      return headers[0]!;
    },
  };
}

function checked(
  source: string,
  {
    height,
    hash,
    header,
    bitsMax,
  }: { readonly height: number; readonly hash: string; readonly header: string; readonly bitsMax: number | undefined },
): BitcoinHeader {
  const bytes = decodeHex(header, { sizeBytes: 80, code: "malformed-proof" });
  if (parseBitcoinHeader(bytes, bitsMax).hash !== hash) throw malformed(source, "the header is not that of the hash");
  return { height, header: bytes };
}

function parseAnswer(source: string, body: Uint8Array): { readonly result?: unknown; readonly error?: unknown } {
  try {
    const parsed: unknown = JSON.parse(textOf(body));
    if (typeof parsed === "object" && parsed !== null) return parsed;
  } catch (error) {
    if (!(error instanceof SyntaxError) && !isTallystickError(error)) throw error;
  }
  throw unavailable(source, "an answer that is not JSON");
}

function limitsOf({ timeoutMs = TIMEOUT_MS_DEFAULT, fetch: call = fetch }: NetworkOptions): HttpLimits {
  return { timeoutMs, answerBytesMax: ANSWER_BYTES_MAX, fetch: call };
}

function textOf(body: Uint8Array): string {
  return decodeUtf8(body, "malformed-proof");
}

function assertHeight(height: number): void {
  // Heights come out of proofs and go into addresses.
  if (!Number.isInteger(height) || height < 0 || height > 0x7fffffff)
    throw new MalformedError("malformed-proof", "bitcoin headers: expected a height below 2^31");
}

function unavailable(source: string, reason: string): UnavailableError {
  return new UnavailableError("not-found", `bitcoin headers of ${source}: ${reason}`);
}

function malformed(source: string, problem: string): MalformedError {
  return new MalformedError("malformed-proof", `bitcoin headers of ${source}: ${problem}`);
}
