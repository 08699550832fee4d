import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { gzipSync } from "node:zlib";
import { afterEach, describe, expect, it } from "vitest";
import { httpArchive } from "./http.ts";

const servers: Server[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

/** A server that answers as told, and what it was asked for. */
async function serve(answer: RequestListener): Promise<{ readonly url: string; readonly requests: string[] }> {
  const requests: string[] = [];
  const server = createServer((request, response) => {
    requests.push(request.url ?? "");
    answer(request, response);
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, requests };
}

const text = (bytes: Uint8Array | undefined): string | undefined =>
  bytes === undefined ? undefined : new TextDecoder().decode(bytes);

const quick = { pauseMs: 1 } as const;

describe("archive over HTTP", () => {
  it("gives objects below its URL, with and without a slash at its end", async () => {
    const { url, requests } = await serve((request, response) => void response.end(`object ${request.url}`));
    for (const base of [url, `${url}/`, `${url}/logs/a`, `${url}/logs/a//`]) {
      const archive = httpArchive(base);
      expect(archive.location).toBe(base.replace(/\/+$/, ""));
      expect(text(await archive.get("tile/0/x001/000.p/7"))).toMatch(/^object .*\/tile\/0\/x001\/000\.p\/7$/);
    }
    expect(requests).toEqual([
      "/tile/0/x001/000.p/7",
      "/tile/0/x001/000.p/7",
      "/logs/a/tile/0/x001/000.p/7",
      "/logs/a/tile/0/x001/000.p/7",
    ]);
    expect(httpArchive(new URL(url)).location).toBe(url);
  });

  it("sends the given headers with every request", async () => {
    const { url } = await serve((request, response) => void response.end(request.headers.authorization));
    const archive = httpArchive(url, { headers: { authorization: "Bearer token" } });
    expect(text(await archive.get("checkpoint"))).toBe("Bearer token");
    expect(archive.location).not.toContain("token");
  });

  it.each([404, 410])("takes status %i for absent", async (status) => {
    const { url, requests } = await serve((_, response) => void response.writeHead(status).end("no such thing"));
    expect(await httpArchive(url).get("checkpoint")).toBeUndefined();
    expect(requests).toHaveLength(1);
  });

  it.each([301, 302, 303, 307, 308])("does not follow a redirect (%i)", async (status) => {
    const { url, requests } = await serve(
      (_, response) => void response.writeHead(status, { location: "/elsewhere" }).end(),
    );
    await expect(httpArchive(url, quick).get("checkpoint")).rejects.toMatchObject({
      code: "storage-io",
      message: `${url}/checkpoint: status ${status}`,
      details: { status, url: `${url}/checkpoint` },
    });
    expect(requests).toEqual(["/checkpoint"]);
  });

  it.each([204, 206, 304, 400, 401, 403])("does not take status %i for an object", async (status) => {
    const { url } = await serve((_, response) => void response.writeHead(status).end());
    await expect(httpArchive(url, quick).get("checkpoint")).rejects.toMatchObject({ code: "storage-io" });
  });

  it("asks again, a few times, where the server may do better in a moment", async () => {
    for (const status of [408, 425, 429, 500, 502, 503, 504]) {
      let asked = 0;
      const { url } = await serve((_, response) => {
        asked += 1;
        if (asked < 3) response.writeHead(status).end("busy");
        else response.end("here");
      });
      expect(text(await httpArchive(url, quick).get("checkpoint"))).toBe("here");
      asked = -10;
      await expect(httpArchive(url, quick).get("checkpoint")).rejects.toMatchObject({
        code: "storage-io",
        message: `${url}/checkpoint: status ${status}`,
      });
      expect(asked).toBe(-7);
    }
  });

  it("asks again after a connection that broke", async () => {
    let asked = 0;
    const { url } = await serve((_, response) => {
      asked += 1;
      if (asked === 1) response.destroy();
      else if (asked === 2) {
        response.writeHead(200, { "content-length": "100" }).write("half of it");
        setTimeout(() => response.destroy(), 5);
      } else response.end("whole");
    });
    expect(text(await httpArchive(url, quick).get("checkpoint"))).toBe("whole");
    expect(asked).toBe(3);
  });

  it("says that nobody answers there", async () => {
    const { url } = await serve((_, response) => void response.end());
    await new Promise((resolve) => servers.pop()?.close(resolve));
    await expect(httpArchive(url, quick).get("checkpoint")).rejects.toMatchObject({
      code: "storage-io",
      message: expect.stringContaining("not reachable"),
    });
  });

  it("reads no more than the bound, however the body comes", async () => {
    const bodies: readonly RequestListener[] = [
      (_, response) => void response.end("x".repeat(1_001)),
      (_, response) => {
        response.write("x".repeat(600));
        setTimeout(() => response.end("x".repeat(600)), 5);
      },
      // 10 MB in 10 kB.
      (_, response) =>
        void response.writeHead(200, { "content-encoding": "gzip" }).end(gzipSync(Buffer.alloc(10_000_000))),
      // Without an end.
      (_, response) => {
        const more = (): boolean => response.write("x".repeat(100), () => !response.destroyed && setImmediate(more));
        more();
      },
    ];
    for (const body of bodies) {
      const { url, requests } = await serve(body);
      await expect(httpArchive(url, quick).get("checkpoint", { bytesMax: 1_000 })).rejects.toMatchObject({
        code: "malformed-tile",
        message: `${url}/checkpoint: expected at most 1000 bytes, got more`,
      });
      expect(requests).toHaveLength(1);
    }
    const { url } = await serve((_, response) => void response.end("x".repeat(1_000)));
    expect(await httpArchive(url).get("checkpoint", { bytesMax: 1_000 })).toHaveLength(1_000);
  });

  it("waits no longer than told, for a first byte or the last one", async () => {
    const silent = await serve(() => {});
    const slow = await serve((_, response) => {
      response.write("x");
      const drip = setInterval(() => (response.destroyed ? clearInterval(drip) : response.write("x")), 20);
    });
    for (const { url, requests } of [silent, slow]) {
      const started = performance.now();
      await expect(httpArchive(url, { ...quick, timeoutMs: 80, tries: 2 }).get("checkpoint")).rejects.toMatchObject({
        code: "storage-io",
        message: `${url}/checkpoint: no answer within 80 ms`,
      });
      expect(performance.now() - started).toBeLessThan(30_000);
      expect(requests).toHaveLength(2);
    }
  });

  it("ends at once when it is told to", async () => {
    const { url } = await serve(() => {});
    const reason = new Error("enough");
    await expect(httpArchive(url).get("checkpoint", { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    const stop = new AbortController();
    setTimeout(() => stop.abort(reason), 30);
    await expect(httpArchive(url).get("checkpoint", { signal: stop.signal })).rejects.toBe(reason);
    // Also between two requests.
    const failing = await serve((_, response) => void response.writeHead(503).end());
    const later = new AbortController();
    setTimeout(() => later.abort(reason), 30);
    await expect(
      httpArchive(failing.url, { pauseMs: 60_000 }).get("checkpoint", { signal: later.signal }),
    ).rejects.toBe(reason);
  });

  it("refuses URLs that are none of a web server, or hold what should not be shown", () => {
    for (const url of [
      "",
      "audit.db",
      "/var/www",
      "file:///var/www",
      "ftp://example.com",
      "javascript:1",
      "http://",
      "https://user:hunter2@example.com/log",
      "https://hunter2@example.com/log",
      "https://example.com/log?token=hunter2",
      "https://example.com/log#hunter2",
    ]) {
      expect(() => httpArchive(url)).toThrow(TypeError);
      expect(() => httpArchive(url)).not.toThrow(/hunter2/);
    }
  });

  it("asks for plain paths only", async () => {
    const { url, requests } = await serve((_, response) => void response.end());
    for (const path of [
      "",
      "/checkpoint",
      "../checkpoint",
      "a/../b",
      "a?b",
      "a#b",
      "a b",
      "a%2fb",
      "http://example.com",
    ])
      await expect(httpArchive(url).get(path)).rejects.toThrow(TypeError);
    expect(requests).toEqual([]);
  });
});
