import { Agent, request as httpRequest } from "node:http";
import { connect } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { type ListenOptions, listenWitness, type WitnessListener } from "./listen.ts";
import type { WitnessServer } from "./server.ts";

const listeners: WitnessListener[] = [];
afterEach(async () => {
  await Promise.all(listeners.splice(0).map((listener) => listener.close()));
});

/** Answers with what it was asked, unless told how. */
function echo(answer?: (request: Request) => Promise<Response>): WitnessServer {
  return {
    name: "w",
    fetch: async (request) =>
      answer === undefined
        ? new Response(`${request.method} ${new URL(request.url).pathname} ${(await request.text()).length}`)
        : answer(request),
  };
}

async function listen(witness: WitnessServer, options: Partial<ListenOptions> = {}): Promise<string> {
  const listener = await listenWitness(witness, { host: "127.0.0.1", port: 0, ...options });
  listeners.push(listener);
  return `http://127.0.0.1:${listener.port}`;
}

/** Everything that comes back for these bytes, until the other side closes. */
function raw(url: string, bytes: string | readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(Number(new URL(url).port), "127.0.0.1");
    let text = "";
    socket.on("data", (chunk) => {
      text += chunk.toString();
    });
    socket.on("close", () => resolve(text));
    socket.on("error", (error) => (text === "" ? reject(error) : resolve(text)));
    for (const piece of [bytes].flat()) socket.write(piece);
  });
}

describe("listening", () => {
  it("hands requests over and answers on a connection that stays open", async () => {
    const url = await listen(echo());
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const ports = new Set<number | undefined>();
    for (const body of ["", "abc", "x".repeat(100_000)]) {
      const text = await new Promise<string>((resolve, reject) => {
        const sent = httpRequest(`${url}/a/add-checkpoint?x=1`, { agent, method: "POST" }, (response) => {
          ports.add(response.socket.localPort);
          response.setEncoding("utf8");
          let all = "";
          response.on("data", (chunk) => {
            all += chunk;
          });
          response.on("end", () => resolve(all));
        });
        sent.on("error", reject);
        sent.end(body);
      });
      expect(text).toBe(`POST /a/add-checkpoint ${body.length}`);
    }
    expect(ports.size).toBe(1);
    agent.destroy();
  });

  it("passes status, type and body of an answer on", async () => {
    const conflict = new Response("5\n", { status: 409, headers: { "content-type": "text/x.tlog.size" } });
    const url = await listen(echo(async () => conflict));
    const response = await fetch(url, { method: "POST", body: "x" });
    expect([response.status, response.headers.get("content-type"), await response.text()]).toEqual([
      409,
      "text/x.tlog.size",
      "5\n",
    ]);
  });

  it("rejects when the port is taken", async () => {
    const url = await listen(echo());
    await expect(listen(echo(), { port: Number(new URL(url).port) })).rejects.toMatchObject({ code: "EADDRINUSE" });
  });
});

describe("hostile clients", () => {
  it.each([
    [
      "a body over the limit",
      `POST / HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 200000\r\n\r\n${"x".repeat(200_000)}`,
      413,
    ],
    ["a length far over the limit, unread", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999999\r\n\r\n", 413],
    ["headers over the limit", `GET / HTTP/1.1\r\nhost: a\r\nx: ${"x".repeat(20_000)}\r\n\r\n`, 431],
    ["what is no HTTP", "hello\r\n\r\n", 400],
    ["a target that is no path", "GET http://[ HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", 400],
    ["a method that no handler takes", "TRACE / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n", 400],
  ])("get a refusal for %s", async (_, bytes, status) => {
    const errors: unknown[] = [];
    const url = await listen(echo(), { onError: (error) => errors.push(error) });
    expect(await raw(url, bytes)).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
    expect(errors).toEqual([]);
    expect(await (await fetch(url)).text()).toBe("GET / 0");
  });

  it.each([
    ["its headers", "POST / HTTP/1.1\r\nhost: a\r\n"],
    ["its body", "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nabc"],
  ])("are cut off when one never ends %s", async (_, bytes) => {
    const url = await listen(echo(), { requestTimeoutMs: 200 });
    const started = performance.now();
    expect(await raw(url, bytes)).toMatch(/^HTTP\/1.1 408 |^$/);
    expect(performance.now() - started).toBeLessThan(9_000);
  });

  it("are told to come back when too many ask at once", async () => {
    let open = (): void => {};
    const gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    const url = await listen(
      echo(async () => {
        await gate;
        return new Response("done");
      }),
    );
    const told: number[] = [];
    const asked = Array.from({ length: 530 }, async () => told.push((await fetch(url)).status));
    await expect.poll(() => told.length).toBe(18);
    open();
    await Promise.all(asked);
    expect(told).toEqual([...Array(18).fill(503), ...Array(512).fill(200)]);
  });

  it("learn nothing of an error inside", async () => {
    const errors: unknown[] = [];
    const failure = new Error("secret path");
    const url = await listen(
      echo(() => Promise.reject(failure)),
      { onError: (error) => errors.push(error) },
    );
    const response = await fetch(url);
    expect([response.status, await response.text()]).toEqual([500, "internal error\n"]);
    expect(errors).toEqual([failure]);
  });

  it("are not answered for the rest of the minute after too many refusals, each address by itself", async () => {
    let now = 0;
    let handled = 0;
    const witness = echo(async (request) => {
      handled += 1;
      const status = Number(new URL(request.url).pathname.slice(1));
      return new Response("", { status });
    });
    const url = await listen(witness, { addressHeader: "X-Forwarded-For", refusalsPerMinute: 3, now: () => now });
    const ask = async (address: string, status: number): Promise<number> =>
      (await fetch(`${url}/${status}`, { headers: { "x-forwarded-for": `9.9.9.9, ${address}` } })).status;
    for (const status of [200, 409, 409, 409, 503, 403, 404, 400, 200]) await ask("1.1.1.1", status);
    expect(handled).toBe(8);
    expect(await ask("1.1.1.1", 200)).toBe(429);
    expect(await ask("2.2.2.2", 200)).toBe(200);
    now += 60_000;
    expect(await ask("1.1.1.1", 200)).toBe(200);
  });
});

describe("closing", () => {
  it("answers what is under way, and takes nothing new", async () => {
    let asked = (): void => {};
    const arrived = new Promise<void>((resolve) => {
      asked = resolve;
    });
    const url = await listen(
      echo(async () => {
        asked();
        await new Promise((resolve) => setTimeout(resolve, 50));
        return new Response("done");
      }),
    );
    const answer = fetch(url);
    await arrived;
    const closed = listeners[0]?.close();
    await expect(fetch(url)).rejects.toThrow("fetch failed");
    expect(await (await answer).text()).toBe("done");
    await closed;
  });

  it("cuts off what does not end", async () => {
    const url = await listen(echo(() => new Promise(() => {})));
    const answer = fetch(url);
    const outcome = answer.then(
      () => "answered",
      () => "cut off",
    );
    await new Promise((resolve) => setTimeout(resolve, 50));
    await listeners.splice(0)[0]?.close();
    expect(await outcome).toBe("cut off");
  });
});
