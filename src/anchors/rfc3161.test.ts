import { createHash } from "node:crypto";
import { afterEach, describe, expect, it } from "vitest";
import { issue, makeResponse, makeToken } from "../../test/anchors/authority.ts";
import { type Loopback, serve } from "../../test/anchors/loopback.ts";
import { parseCertificate } from "../core/anchor-proof/certificate.ts";
import { verifyTimestamp } from "../core/anchor-proof/rfc3161.ts";
import { DER_BOOLEAN, DER_INTEGER, DER_SEQUENCE, derFields, readDerElement, readDerUnsigned } from "../core/der.ts";
import type { AnchorAnswer } from "../ledger/anchor.ts";
import { seededRandom } from "../ledger/seeded-random.ts";
import { rfc3161Anchor } from "./rfc3161.ts";

const digest = createHash("sha256").update("note").digest();
const root = issue({ name: "Root" });
const authority = issue({ name: "Authority", issuer: root });
const roots = [parseCertificate(root.der)];
const running: Loopback[] = [];
afterEach(async () => {
  await Promise.all(running.splice(0).map((server) => server.close()));
});

async function start(...call: Parameters<typeof serve>): Promise<Loopback> {
  const server = await serve(...call);
  running.push(server);
  return server;
}

/** Nonce of a request, read apart from the code that wrote it. */
function nonceOf(request: Uint8Array): Uint8Array {
  const fields = derFields(readDerElement(request, DER_SEQUENCE, "request").content, "request");
  fields.next(DER_INTEGER);
  fields.next(DER_SEQUENCE);
  const nonce = readDerUnsigned(fields.next(DER_INTEGER), "request");
  fields.next(DER_BOOLEAN);
  fields.end();
  return nonce;
}

type Reply = (request: Buffer) => {
  readonly body: Uint8Array;
  readonly type?: string;
  readonly status?: number;
  readonly location?: string;
};

function startAuthority(reply: Reply): Promise<Loopback> {
  return start((_request, body, response) => {
    const { body: answer, type = "application/timestamp-reply", status = 200, location } = reply(body);
    response.writeHead(status, { "content-type": type, ...(location === undefined ? {} : { location }) });
    response.end(answer);
  });
}

const stamp: Reply = (request) => ({
  body: makeResponse(makeToken({ digest, signer: authority, nonce: nonceOf(request) })),
});

describe("rfc3161Anchor", () => {
  it("keeps the response byte for byte, which verifies under the pinned root", async () => {
    let sent = new Uint8Array();
    const server = await startAuthority((request) => {
      const answer = stamp(request);
      sent = Uint8Array.from(answer.body);
      return answer;
    });
    const answer = await rfc3161Anchor({ url: server.url, roots }).submit(digest);
    expect(answer).toEqual({ kind: "proof", proof: sent, complete: true, failures: [] });
    expect((await verifyTimestamp(sent, { digest, roots })).authority).toBe("CN=Authority");
  });

  it("takes its nonces from the random source, another for each request", async () => {
    const nonces: string[] = [];
    const server = await startAuthority((request) => {
      nonces.push(Buffer.from(nonceOf(request)).toString("hex"));
      return stamp(request);
    });
    const anchor = rfc3161Anchor({ url: server.url, random: seededRandom("nonces") });
    for (let i = 0; i < 3; i++) expect((await anchor.submit(digest)).kind).toBe("proof");
    expect(new Set(nonces).size).toBe(3);
  });

  const other = createHash("sha256").update("other").digest();
  for (const [title, reply, expected] of [
    [
      "another digest",
      (r) => ({ body: makeResponse(makeToken({ digest: other, signer: authority, nonce: nonceOf(r) })) }),
      "unavailable: an answer that is refused: time-stamp token: it stamps another digest",
    ],
    [
      "another nonce",
      () => ({ body: makeResponse(makeToken({ digest, signer: authority })) }),
      "unavailable: an answer that is refused: time-stamp token: its nonce is not that of the request",
    ],
    [
      "a signer of another root",
      (r) => ({
        body: makeResponse(
          makeToken({ digest, signer: issue({ name: "X", issuer: issue({ name: "Y" }) }), nonce: nonceOf(r) }),
        ),
      }),
      "unavailable: an answer that is refused: time-stamp certificate: no chain to a pinned root: no certificate of its issuer is at hand",
    ],
    [
      "a refusal",
      () => ({ body: makeResponse(null, 2, "come\u001b[31m back later") }),
      "refused: status 2, failures 2: come [31m back later",
    ],
    [
      "garbage",
      () => ({ body: Buffer.from("<html>") }),
      "unavailable: an answer that is refused: time-stamp response: expected DER, got an element that reaches beyond its end",
    ],
    [
      "another type",
      (r) => ({ ...stamp(r), type: "text/html; charset=utf-8" }),
      "unavailable: an answer of the type text/html",
    ],
    ["another status", () => ({ body: Buffer.from("busy"), status: 503 }), "unavailable: status 503"],
    ["more than 64 KiB", () => ({ body: Buffer.alloc(70_000) }), "unavailable: the answer is larger than 65536 bytes"],
  ] as readonly (readonly [string, Reply, string])[]) {
    it(`keeps nothing of an authority that answers with ${title}`, async () => {
      const server = await startAuthority(reply);
      expect(inWords(await rfc3161Anchor({ url: server.url, roots }).submit(digest))).toBe(expected);
    });
  }

  it("refuses a token of another digest or request without pins too", async () => {
    const server = await startAuthority(() => ({ body: makeResponse(makeToken({ digest, signer: authority })) }));
    expect(inWords(await rfc3161Anchor({ url: server.url }).submit(digest))).toBe(
      "unavailable: an answer that is refused: time-stamp token: it stamps another digest, or another request",
    );
  });

  it("follows no redirect", async () => {
    const target = await startAuthority(stamp);
    const server = await startAuthority(() => ({ body: new Uint8Array(), status: 307, location: target.url }));
    expect(inWords(await rfc3161Anchor({ url: server.url, roots }).submit(digest))).toMatch(
      /^unavailable: not reachable: /,
    );
    expect(target.requests).toEqual([]);
  });

  it("waits for its time limit and no longer, and throws only when the caller aborts", async () => {
    const server = await start(() => new Promise<void>(() => {}));
    const anchor = rfc3161Anchor({ url: server.url, timeoutMs: 100 });
    expect(await anchor.submit(digest)).toEqual({ kind: "unavailable", reason: "no answer within 100 ms" });
    const abort = new AbortController();
    const submitted = rfc3161Anchor({ url: server.url }).submit(digest, abort.signal);
    abort.abort(new Error("closing"));
    await expect(submitted).rejects.toThrow("closing");
  });

  it("refuses addresses that it cannot use", () => {
    for (const url of [
      "ftp://a.example",
      "file:///etc/passwd",
      "nothing",
      "https://u:p@a.example",
      "https://a.example/#x",
    ]) {
      expect(() => rfc3161Anchor({ url })).toThrow(/^rfc3161Anchor: expected an/);
    }
  });
});

function inWords(answer: AnchorAnswer): string {
  return "reason" in answer ? `${answer.kind}: ${answer.reason}` : answer.kind;
}
