import { type ChildProcess, spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { encodeUtf8 } from "../../src/core/encoding.ts";
import { sha256 } from "../../src/core/hash.ts";
import { formatVerifierKey } from "../../src/core/note.ts";
import { exportPem, logSignerFromSeed, type Signer } from "../../src/keys/index.ts";
import { MAIN, type Place } from "../cli/program.ts";

/** What `witness serve` says of itself at start. */
interface Started {
  readonly name: string;
  readonly keys: readonly string[];
  readonly url: string;
  readonly evidence: number;
  readonly logs: readonly { readonly origin: string; readonly size: number; readonly monitoring: string }[];
}

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stderr: string;
}

/** A `witness serve` of the built command line, in a process of its own, with its files in the place. */
export class WitnessProcess {
  readonly id: string;
  readonly signer: Signer;
  readonly name: string;
  readonly vkey: string;
  readonly config: string;
  url = "";
  started: Started | undefined;
  private readonly place: Place;
  private child: ChildProcess | undefined;
  private ended: Promise<Ended> | undefined;
  private listen = "127.0.0.1:0";

  constructor(place: Place, id: string, more: Readonly<Record<string, unknown>> = {}) {
    this.place = place;
    this.id = id;
    this.name = `${id}.example/witness`;
    this.signer = logSignerFromSeed("ed25519", sha256(encodeUtf8(`witness ${id}`)));
    this.vkey = formatVerifierKey({ name: this.name, type: 4, publicKey: this.signer.publicKey });
    this.config = join(place.dir, `${id}.json`);
    writeFileSync(join(place.dir, `${id}.pem`), exportPem(this.signer), { mode: 0o600 });
    this.configure({ logs: {}, ...more });
  }

  configure(more: Readonly<Record<string, unknown>>): void {
    const { id, name } = this;
    writeFileSync(this.config, JSON.stringify({ name, key: `${id}.pem`, database: `${id}.sqlite`, ...more }));
  }

  /** Resolves when it listens; the second time at the same port as the first. */
  async start(): Promise<this> {
    const args = [MAIN, "witness", "serve", "--config", this.config, "--listen", this.listen, "--json"];
    const child = spawn(process.execPath, args, { cwd: this.place.dir, env: this.place.env });
    this.child = child;
    let stdout = "";
    let stderr = "";
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
    });
    this.ended = new Promise((resolve) => child.on("close", (code, signal) => resolve({ code, signal, stderr })));
    const line = await new Promise<string>((resolve, reject) => {
      child.stdout.setEncoding("utf8").on("data", (text: string) => {
        stdout += text;
        if (stdout.includes("\n")) resolve(stdout);
      });
      child.on("close", () => reject(new Error(`${this.id} did not start: ${stdout}${stderr}`)));
    });
    const started = JSON.parse(line) as Started;
    this.started = started;
    this.url = started.url;
    this.listen = new URL(started.url).host;
    return this;
  }

  /** Ends it, and tells how it ended. */
  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<Ended> {
    const { child, ended } = this;
    if (child === undefined || ended === undefined) throw new Error(`${this.id} does not run`);
    child.kill("SIGCONT");
    child.kill(signal);
    this.child = undefined;
    return ended;
  }

  /** `SIGSTOP` leaves its port open and everybody who asks without an answer. */
  signal(signal: NodeJS.Signals): void {
    this.child?.kill(signal);
  }

  async end(): Promise<void> {
    if (this.child !== undefined) await this.stop("SIGKILL");
  }
}

/** What somebody between a log and a witness, or the witness itself, may do. */
export type Fault = "none" | "slow" | "wrong-size" | "lower-size" | "garbage-signature" | "huge-answer" | "redirect";

/** Longer than any log should wait. */
const SLOW_MS = 10_000;

/** Stands before a witness and behaves as it is told. */
export class Middle {
  fault: Fault = "none";
  url = "";
  /** Requests that were answered with the fault. */
  hits = 0;
  /** What the most patient client waited for an answer that was slow. */
  longestWaitMs = 0;
  private readonly target: () => string;
  private readonly server: Server;

  constructor(target: () => string) {
    this.target = target;
    this.server = createServer(async (request, response) => {
      try {
        const chunks: Buffer[] = [];
        for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
        const fault = this.fault;
        if (fault !== "none") this.hits += 1;
        if (fault === "slow") {
          const timer = setTimeout(() => void this.pass(request.url ?? "", Buffer.concat(chunks), response), SLOW_MS);
          const asked = performance.now();
          response.on("close", () => {
            clearTimeout(timer);
            this.longestWaitMs = Math.max(this.longestWaitMs, performance.now() - asked);
          });
          return;
        }
        const lie = fault === "none" || request.method === "GET" ? undefined : LIES[fault];
        if (lie === undefined) return await this.pass(request.url ?? "", Buffer.concat(chunks), response);
        const { status, type = "text/plain", body, location } = lie();
        response.writeHead(status, { "content-type": type, ...(location === undefined ? {} : { location }) });
        response.end(body);
      } catch {
        response.destroy();
      }
    });
  }

  async start(): Promise<this> {
    await new Promise<void>((resolve) => this.server.listen(0, "127.0.0.1", resolve));
    this.url = `http://127.0.0.1:${(this.server.address() as AddressInfo).port}`;
    return this;
  }

  end(): Promise<void> {
    this.server.closeAllConnections();
    return new Promise((resolve) => this.server.close(() => resolve()));
  }

  private async pass(path: string, body: Buffer, response: import("node:http").ServerResponse): Promise<void> {
    try {
      const init = body.length === 0 ? {} : { method: "POST", body: new Uint8Array(body) };
      const answer = await fetch(`${this.target()}${path}`, init);
      const text = await answer.text();
      response.writeHead(answer.status, { "content-type": answer.headers.get("content-type") ?? "text/plain" });
      response.end(text);
    } catch {
      response.destroy();
    }
  }
}

interface Lie {
  readonly status: number;
  readonly type?: string;
  readonly body: string;
  readonly location?: string;
}

const LIES: Readonly<Partial<Record<Fault, () => Lie>>> = {
  "wrong-size": () => ({ status: 409, type: "text/x.tlog.size", body: `${2 ** 50}\n` }),
  "lower-size": () => ({ status: 409, type: "text/x.tlog.size", body: "1\n" }),
  "garbage-signature": () => ({
    status: 200,
    body: `— liar.example/witness ${Buffer.alloc(76, 7).toString("base64")}\n`,
  }),
  "huge-answer": () => ({ status: 200, body: `— a ${"A".repeat(60)}\n`.repeat(200_000) }),
  "redirect": () => ({ status: 307, body: "", location: "http://127.0.0.1:9/add-checkpoint" }),
};
