import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { blockHashOf, mineHeader, REGTEST_BITS } from "../../test/anchors/bitcoin.ts";
import { type Loopback, serve } from "../../test/anchors/loopback.ts";
import { formatBitcoinHeaders } from "../core/anchor-proof/bitcoin.ts";
import { readHeaders } from "../ledger/header-source.ts";
import { agreeingHeaders, esploraHeaders, readHeadersFile, rpcHeaders } from "./bitcoin-headers.ts";

const bitsMax = REGTEST_BITS;
const header = mineHeader(new Uint8Array(32).fill(1), 1_770_000_000);
const other = mineHeader(new Uint8Array(32).fill(2), 1_770_000_000);
const hash = blockHashOf(header);
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const running: Loopback[] = [];
afterEach(async () => {
  await Promise.all(running.splice(0).map((server) => server.close()));
});

async function keep(starting: Promise<Loopback>): Promise<string> {
  const server = await starting;
  running.push(server);
  return server.url;
}

const startEsplora = (served: Uint8Array, named: string = hash): Promise<string> =>
  keep(
    serve((request, _body, response) => {
      const text = { "/api/block-height/7": named, [`/api/block/${named}/header`]: hex(served) }[request.url ?? ""];
      response.statusCode = text === undefined ? 404 : 200;
      response.end(text ?? "Block not found");
    }),
  );

const startNode = (served: string): Promise<string> =>
  keep(
    serve((request, body, response) => {
      const { method, params } = JSON.parse(body.toString()) as { method: string; params: unknown[] };
      if (request.headers.authorization !== `Basic ${Buffer.from("u:p").toString("base64")}`) {
        response.statusCode = 401;
        response.end();
        return;
      }
      const known = method === "getblockhash" ? params[0] === 7 : params[0] === hash && params[1] === false;
      response.statusCode = known ? 200 : 500;
      const result = known ? (method === "getblockhash" ? hash : served) : null;
      response.end(
        JSON.stringify({ id: "x", result, error: known ? null : { code: -8, message: "Block height out of range" } }),
      );
    }),
  );

describe("header sources", () => {
  it("read a header from an explorer, and nothing where it has no block", async () => {
    const source = esploraHeaders({ url: `${await startEsplora(header)}/api/`, bitsMax });
    expect(await source.read(7)).toEqual({ height: 7, header });
    expect(await source.read(8)).toBeNull();
  });

  it("read a header from a node, with user and password that no name shows", async () => {
    const url = await startNode(hex(header));
    const source = rpcHeaders({ url, user: "u", password: "p", bitsMax });
    expect(source.name).toBe(url);
    expect(await source.read(7)).toEqual({ height: 7, header });
    expect(await source.read(8)).toBeNull();
    await expect(rpcHeaders({ url, bitsMax }).read(7)).rejects.toMatchObject({
      code: "not-found",
      message: expect.stringContaining("status 401"),
    });
  });

  it("refuse a header of another hash, with too little work, or that is none", async () => {
    const swapped = esploraHeaders({ url: `${await startEsplora(other)}/api`, bitsMax });
    await expect(swapped.read(7)).rejects.toMatchObject({
      code: "malformed-proof",
      message: expect.stringContaining("the header is not that of the hash"),
    });
    const easy = esploraHeaders({ url: `${await startEsplora(header)}/api` });
    await expect(easy.read(7)).rejects.toMatchObject({ code: "proof-invalid" });
    const lost = esploraHeaders({ url: `${await startEsplora(header, "../../admin")}/api`, bitsMax });
    await expect(lost.read(7)).rejects.toMatchObject({
      code: "malformed-proof",
      message: expect.stringContaining("expected the hash of a block"),
    });
    const short = rpcHeaders({ url: await startNode("00"), user: "u", password: "p", bitsMax });
    await expect(short.read(7)).rejects.toMatchObject({ code: "malformed-proof" });
    const page = rpcHeaders({ url: await keep(serve((_r, _b, response) => void response.end("<html>"))) });
    await expect(page.read(7)).rejects.toMatchObject({
      code: "not-found",
      message: expect.stringContaining("not JSON"),
    });
    await expect(page.read(2 ** 40)).rejects.toMatchObject({ code: "malformed-proof" });
  });

  it("agree or are refused", async () => {
    const one = esploraHeaders({ url: `${await startEsplora(header)}/api`, bitsMax });
    const same = rpcHeaders({ url: await startNode(hex(header)), user: "u", password: "p", bitsMax });
    const another = esploraHeaders({ url: `${await startEsplora(other, blockHashOf(other))}/api`, bitsMax });
    expect(await agreeingHeaders([one, same]).read(7)).toEqual({ height: 7, header });
    expect(await agreeingHeaders([one, same]).read(8)).toBeNull();
    await expect(agreeingHeaders([one, another]).read(7)).rejects.toMatchObject({
      code: "malformed-proof",
      message: expect.stringContaining("they disagree about block 7"),
    });
    expect(() => agreeingHeaders([one])).toThrow("expected two sources or more, got 1");
  });

  it("read a file of pinned headers, each with its work", async () => {
    const folder = mkdtempSync(join(tmpdir(), "tallystick-headers-"));
    try {
      const path = join(folder, "headers.txt");
      writeFileSync(path, formatBitcoinHeaders([{ height: 7, header }]));
      const source = await readHeadersFile(path, { bitsMax });
      expect(await source.read(7)).toEqual({ height: 7, header });
      expect(await source.read(8)).toBeNull();
      await expect(readHeadersFile(path)).rejects.toMatchObject({ code: "proof-invalid" });
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it("do not let one height that fails hide another, nor a proof ask for hundreds", async () => {
    const source = esploraHeaders({ url: `${await startEsplora(header)}/api`, bitsMax });
    const heights = [7, 8, 2 ** 40, ...Array.from({ length: 20 }, (_, i) => 100 + i)];
    const { headers, failures } = await readHeaders(source, heights);
    expect(headers).toEqual([{ height: 7, header }]);
    expect(failures).toHaveLength(heights.length - 1);
    expect(failures[0]).toBe("block 113: more than 16 heights");
  });
});
