/**
 * A plain node:http server that keeps an audit log. Requests that change something are recorded before they are handled,
 * and refused when they cannot be; how each request ended is recorded afterwards.
 *
 *     node examples/audit-middleware.mjs [FOLDER]
 */
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Ledger } from "tallystick";

const SAFE_METHODS = new Set(["GET", "HEAD", "OPTIONS"]);

/** Wraps a request handler. `actorOf` says who asks, or undefined. Query strings and headers may hold secrets: they are left out. */
function auditTo(ledger, { actorOf }, handle) {
  return async (request, response) => {
    const requestId = randomUUID();
    const startedMs = performance.now();
    const { pathname } = new URL(request.url, "http://localhost");
    const actor = actorOf(request);
    const base = {
      ...(actor === undefined ? {} : { actor }),
      targets: [{ id: pathname, type: "route" }],
      context: { requestId, ip: request.socket.remoteAddress },
    };
    // Whoever asks can name the request later, and find it in the log.
    response.setHeader("x-request-id", requestId);
    if (!SAFE_METHODS.has(request.method)) {
      try {
        await ledger.append({ ...base, action: "http.received", payload: { method: request.method } });
      } catch (error) {
        console.error(`not handled, because it cannot be recorded: ${error.message}`);
        response.setHeader("retry-after", Math.ceil((error.retryAfterMs ?? 1_000) / 1_000));
        response.writeHead(503).end("try again later\n");
        return;
      }
    }
    response.once("close", () => {
      const { statusCode, writableFinished } = response;
      const payload = { method: request.method, durationMs: Math.round(performance.now() - startedMs) };
      const outcome = !writableFinished ? "aborted" : statusCode < 400 ? "success" : "failure";
      ledger
        .append({ ...base, action: "http.answered", outcome, payload: { ...payload, status: statusCode } })
        .catch((error) => console.error(`an answer was not recorded: ${error.message}`));
    });
    handle(request, response);
  };
}

const folder = process.argv[2] ?? mkdtempSync(join(tmpdir(), "http-"));
const ledger = await Ledger.open(join(folder, "http.db"));
const notes = [];

const server = createServer(
  auditTo(ledger, { actorOf: (request) => request.headers["x-user"] }, (request, response) => {
    if (request.method === "POST") response.writeHead(201).end(`note ${notes.push(request.url)}\n`);
    else if (request.url.startsWith("/notes")) response.end(`${notes.length} notes\n`);
    else response.writeHead(404).end("no such page\n");
  }),
);
server.listen(0, "127.0.0.1");
await once(server, "listening");

const base = `http://127.0.0.1:${server.address().port}`;
const created = await fetch(`${base}/notes?token=secret`, { method: "POST", headers: { "x-user": "alice" } });
console.log((await created.text()).trimEnd());
await (await fetch(`${base}/notes`, { headers: { "x-user": "bob" } })).text();
await (await fetch(`${base}/missing`)).text();

// End the server first, then the ledger. Appends are durable in the order of their calls: after this one, all are.
server.close();
server.closeAllConnections();
await once(server, "close");
await ledger.append({ action: "server.stopped" });

for await (const { index, event } of ledger.query()) {
  if (event?.action.startsWith("http.")) {
    const { method, status = "" } = event.payload;
    console.log(
      `entry ${index}: ${event.action} ${method} ${event.targets[0].id} ${event.actor ?? "-"} ${status}`.trimEnd(),
    );
  }
}
const requestId = created.headers.get("x-request-id");
const { entries } = await ledger.query({ correlation: requestId }).page();
console.log(`the request that alice can name: entries ${entries.map(({ index }) => index).join(" and ")}`);
await ledger.close();
