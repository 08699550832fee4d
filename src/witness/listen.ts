import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { REQUEST_BYTES_MAX, type WitnessServer } from "./server.ts";

export interface ListenOptions {
  readonly host: string;
  /** 0 lets the system choose. */
  readonly port: number;
  /** Header in which a proxy in front says who asks; its last item counts. Without it the connection's own address does. */
  readonly addressHeader?: string;
  /** Requests a minute that one address may have refused; then it is answered 429 unread. Default 600; loopback is exempt. */
  readonly refusalsPerMinute?: number;
  /** For a whole request to arrive; its headers get half of it. Default 10,000. */
  readonly requestTimeoutMs?: number;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
  /** Told about an error that a request must not cause; the request is answered 500. */
  readonly onError?: (error: unknown) => void;
}

export interface WitnessListener {
  readonly host: string;
  readonly port: number;
  /** Ends what is under way within 3 seconds, then cuts the rest off. Idempotent. */
  close(): Promise<void>;
}

/** Requests in work at once; more are told to come back. */
const REQUESTS_MAX = 512;
const CONNECTIONS_MAX = 4_096;
/** Addresses whose refusals are counted; beyond that the count begins anew. */
const ADDRESSES_MAX = 10_000;
/** A request line and a few headers: nothing here reads cookies or tokens. */
const HEADER_BYTES_MAX: number = 8 * 1024;
const REQUEST_MS = 10_000;
/** A log that is updated every few seconds keeps its connection. */
const KEEP_ALIVE_MS = 60_000;
const CLOSE_MS = 3_000;
const MINUTE_MS = 60_000;
const REFUSALS_PER_MINUTE = 600;

/**
 * Binds a witness to a port with `node:http`. Headers, bodies, connections and time are bounded, so that a slow or hostile
 * client costs a socket at most. Rejects with the system's error (`EADDRINUSE`, `EACCES`) if it cannot listen.
 */
export async function listenWitness(witness: WitnessServer, options: ListenOptions): Promise<WitnessListener> {
  const binding = new Binding(witness, options);
  const { requestTimeoutMs = REQUEST_MS } = options;
  const server = createServer(
    {
      maxHeaderSize: HEADER_BYTES_MAX,
      headersTimeout: requestTimeoutMs / 2,
      requestTimeout: requestTimeoutMs,
      keepAliveTimeout: KEEP_ALIVE_MS,
      // How often the two timeouts above are looked at.
      connectionsCheckingInterval: Math.min(1_000, requestTimeoutMs / 4),
    },
    (request, response) => void binding.handle(request, response),
  );
  server.maxConnections = CONNECTIONS_MAX;
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(options.port, options.host, () => {
      server.off("error", reject);
      resolve();
    });
  });
  const { address, port } = server.address() as AddressInfo;
  let closing: Promise<void> | null = null;
  return {
    host: address,
    port,
    close() {
      binding.isClosing = true;
      closing ??= shut(server);
      return closing;
    },
  };
}

function shut(server: Server): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(() => server.closeAllConnections(), CLOSE_MS);
    server.close(() => {
      clearTimeout(timer);
      resolve();
    });
    server.closeIdleConnections();
  });
}

class Binding {
  private readonly witness: WitnessServer;
  private readonly options: ListenOptions;
  private readonly now: () => number;
  /** From now on every answer is the last one of its connection. */
  isClosing = false;
  private inWork = 0;
  private minute = 0;
  private refusals = new Map<string, number>();

  constructor(witness: WitnessServer, options: ListenOptions) {
    this.witness = witness;
    this.options = options;
    this.now = options.now ?? Date.now;
  }

  async handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (this.isClosing) response.setHeader("connection", "close");
    if (this.inWork >= REQUESTS_MAX) return answer(response, 503, "busy\n", { "retry-after": "1" });
    const address = this.addressOf(request);
    if (address !== null && this.isSpent(address))
      return answer(response, 429, "too many refused requests\n", { "retry-after": "60" });
    this.inWork += 1;
    try {
      const { status, body, type } = await this.ask(request);
      if (this.isClosing) response.setHeader("connection", "close");
      if (address !== null && status >= 400 && status < 500 && status !== 409) this.count(address);
      answer(response, status, body, { "content-type": type, "cache-control": "no-store" });
    } catch (error) {
      // A client that went away in the middle of its request is no error of ours.
      if (request.destroyed && !request.complete) return;
      this.options.onError?.(error);
      answer(response, 500, "internal error\n");
    } finally {
      this.inWork -= 1;
    }
  }

  private async ask(message: IncomingMessage): Promise<{ status: number; body: string; type: string }> {
    const body = await readBody(message);
    const refused = (status: number, text: string) => ({ status, body: text, type: TEXT });
    if (body === null) return refused(413, "the request is too large\n");
    let request: Request;
    try {
      // The host is the client's word, and nothing depends on it.
      const init = { method: message.method ?? "GET" };
      request = new Request(
        new URL(message.url ?? "/", "http://witness.invalid"),
        body.length === 0 ? init : { ...init, body },
      );
    } catch {
      return refused(400, "not a request for a witness\n");
    }
    const response = await this.witness.fetch(request);
    return { status: response.status, body: await response.text(), type: response.headers.get("content-type") ?? TEXT };
  }

  /** Whom refusals are counted for; null for nobody. */
  private addressOf(request: IncomingMessage): string | null {
    const { addressHeader } = this.options;
    if (addressHeader !== undefined) {
      const value = request.headers[addressHeader.toLowerCase()];
      const last = (Array.isArray(value) ? value.at(-1) : value)?.split(",").at(-1)?.trim();
      if (last !== undefined && last !== "") return last;
    }
    const address = request.socket.remoteAddress ?? "";
    // A proxy on this machine: to shut it out would be to shut out everybody.
    return /^(?:::ffff:)?127\.|^::1$/.test(address) ? null : address;
  }

  private isSpent(address: string): boolean {
    const minute = Math.floor(this.now() / MINUTE_MS);
    if (minute !== this.minute || this.refusals.size > ADDRESSES_MAX) this.refusals.clear();
    this.minute = minute;
    return (this.refusals.get(address) ?? 0) >= (this.options.refusalsPerMinute ?? REFUSALS_PER_MINUTE);
  }

  private count(address: string): void {
    this.refusals.set(address, (this.refusals.get(address) ?? 0) + 1);
  }
}

const TEXT = "text/plain; charset=utf-8";

/** The body, or null if it is larger than any request may be, whatever its headers say. */
async function readBody(request: IncomingMessage): Promise<Uint8Array<ArrayBuffer> | null> {
  if (Number(request.headers["content-length"] ?? 0) > DISCARD_BYTES_MAX) return null;
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    // Leaving the loop would destroy the connection before the answer, so a little more is read and thrown away.
    if (size <= REQUEST_BYTES_MAX) chunks.push(chunk);
    else if (size > DISCARD_BYTES_MAX) return null;
  }
  return size > REQUEST_BYTES_MAX ? null : Buffer.concat(chunks);
}

/** A body that goes on for longer than this is cut off, answer or not. */
const DISCARD_BYTES_MAX: number = 8 * REQUEST_BYTES_MAX;

function answer(
  response: ServerResponse,
  status: number,
  body: string,
  headers: Readonly<Record<string, string>> = {},
): void {
  const bytes = Buffer.from(body);
  // A request that was not read to its end leaves its rest on the connection.
  const rest = response.req.complete ? {} : { connection: "close" };
  response.writeHead(status, { "content-type": TEXT, ...headers, ...rest, "content-length": bytes.length });
  response.end(response.req.method === "HEAD" ? undefined : bytes);
  if (!response.req.complete) response.once("finish", () => response.req.destroy());
}
