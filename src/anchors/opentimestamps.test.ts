import { createHash } from "node:crypto";
import { afterEach, describe, expect, it } from "vitest";
import { REGTEST_BITS } from "../../test/anchors/bitcoin.ts";
import { type Calendar, startCalendar } from "../../test/anchors/calendar.ts";
import { type Loopback, serve } from "../../test/anchors/loopback.ts";
import { bitcoinHeightsOf, verifyOts } from "../core/anchor-proof/bitcoin.ts";
import { formatOtsFile, listOtsLeaves, type OtsItem, parseOtsFile } from "../core/anchor-proof/opentimestamps.ts";
import type { AnchorAnswer } from "../ledger/anchor.ts";
import { BACKOFF_START, backOff, isDue, UPGRADE_BACKOFF } from "../ledger/backoff.ts";
import { openTimestampsAnchor } from "./opentimestamps.ts";

const digest = createHash("sha256").update("note").digest();
const running: Loopback[] = [];
afterEach(async () => {
  await Promise.all(running.splice(0).map((server) => server.close()));
});

async function keep<T extends Loopback>(starting: Promise<T>): Promise<T> {
  const server = await starting;
  running.push(server);
  return server;
}

function proofOf(answer: AnchorAnswer): Uint8Array {
  if (answer.kind !== "proof") throw new Error(`expected a proof, got ${JSON.stringify(answer)}`);
  return answer.proof;
}

describe("openTimestampsAnchor", () => {
  it("stamps with several calendars, waits, and is complete once a block attests it", async () => {
    const [a, b]: Calendar[] = [await keep(startCalendar()), await keep(startCalendar())];
    const anchor = openTimestampsAnchor({ calendars: [a!.url, b!.url] });
    const submitted = await anchor.submit(digest);
    expect(submitted).toMatchObject({ kind: "proof", complete: false, failures: [] });
    const pending = proofOf(submitted);
    expect(listOtsLeaves(parseOtsFile(pending).timestamp).map((leaf) => leaf.attestation)).toEqual(
      expect.arrayContaining([a, b].map((one) => ({ kind: "pending", uri: one!.url }))),
    );
    expect(() => verifyOts(pending, { digest, headers: [] })).toThrow("it is pending");

    const early = await anchor.upgrade(pending);
    expect(early).toEqual({ kind: "pending", failures: expect.any(Array) });
    expect([...("failures" in early ? early.failures : [])].sort()).toEqual(
      [a, b].map((one) => `${one!.url}: not yet: Pending confirmation in Bitcoin blockchain`).sort(),
    );

    const header = a!.confirm(840_000, 1_770_000_000);
    const upgraded = await anchor.upgrade(pending);
    expect(upgraded).toMatchObject({ kind: "proof", complete: true });
    const proof = proofOf(upgraded);
    expect(bitcoinHeightsOf(proof, digest)).toEqual([840_000]);
    const verified = verifyOts(proof, { digest, headers: [{ height: 840_000, header }], bitsMax: REGTEST_BITS });
    expect(verified.notAfterMs).toBe(1_770_007_200_000);
    // The promise of the other calendar is still there, and a third time nothing is new.
    expect(listOtsLeaves(parseOtsFile(proof).timestamp)).toHaveLength(3);
    expect((await anchor.upgrade(proof)).kind).toBe("pending");
  });

  it("does not let calendars learn the digest", async () => {
    const bodies: string[] = [];
    const server = await keep(
      serve((_request, body, response) => {
        bodies.push(body.toString("hex"));
        response.statusCode = 500;
        response.end();
      }),
    );
    const anchor = openTimestampsAnchor({ calendars: [server.url] });
    for (let i = 0; i < 2; i++) expect((await anchor.submit(digest)).kind).toBe("unavailable");
    expect(new Set([...bodies, digest.toString("hex")]).size).toBe(3);
    expect(bodies.every((body) => body.length === 64)).toBe(true);
  });

  it("needs as many calendars as are required, and names those that failed", async () => {
    const good = await keep(startCalendar());
    const bad = await keep(
      serve((_request, _body, response) => {
        response.end(Buffer.alloc(10_001));
      }),
    );
    const strange = await keep(
      serve((_request, _body, response) => {
        response.end("hello");
      }),
    );
    const calendars = [good.url, bad.url, strange.url];
    const enough = await openTimestampsAnchor({ calendars, required: 1 }).submit(digest);
    expect(enough).toMatchObject({
      kind: "proof",
      failures: [
        `${bad.url}: the answer is larger than 10000 bytes`,
        `${strange.url}: opentimestamps proof: unknown operation 68`,
      ],
    });
    const few = await openTimestampsAnchor({ calendars }).submit(digest);
    expect(few).toMatchObject({ kind: "unavailable", reason: expect.stringMatching(/^1 of 2 calendars answered: /) });
    expect(() => openTimestampsAnchor({ calendars, required: 4 })).toThrow("expected 1 to 3 required calendars, got 4");
    expect(() => openTimestampsAnchor({ calendars: [] })).toThrow("expected 1 to 0 required calendars, got 0");
  });

  it("never fetches an address of a proof that is not on the list", async () => {
    const victim = await keep(startCalendar());
    const waiting = (uri: string): OtsItem => ({ kind: "attestation", attestation: { kind: "pending", uri } });
    const tricks = [
      victim.url,
      "https://alice.btc.calendar.opentimestamps.org.evil.example",
      "https://evil.example/alice.btc.calendar.opentimestamps.org",
      "http://alice.btc.calendar.opentimestamps.org",
      "https://alice.btc.calendar.opentimestamps.org:8443",
      "https://alice.btc.calendar.opentimestamps.org/../x",
      "https://.calendar.opentimestamps.org",
      "file:///etc/passwd",
    ];
    const proof = formatOtsFile({ fileHash: "sha256", timestamp: { message: digest, items: tricks.map(waiting) } });
    const asked: string[] = [];
    const spy = ((url: string) => {
      asked.push(url);
      return Promise.reject(new TypeError("no network here"));
    }) as unknown as typeof fetch;
    const anchor = openTimestampsAnchor({ calendars: ["https://pool.example"], required: 1, fetch: spy });
    expect(await anchor.upgrade(proof)).toEqual({
      kind: "pending",
      failures: tricks.map((uri) => `${uri}: not on the list of calendars that may be asked`),
    });
    expect(asked).toEqual([]);
    const known = ["https://alice.btc.calendar.opentimestamps.org", "https://finney.calendar.eternitywall.com/"];
    const honest = formatOtsFile({ fileHash: "sha256", timestamp: { message: digest, items: known.map(waiting) } });
    await anchor.upgrade(honest);
    expect(asked).toEqual(known.map((uri) => `${uri.replace(/\/$/, "")}/timestamp/${digest.toString("hex")}`));
    expect(victim.requests).toEqual([]);
  });

  it("asks at most 16 calendars of one proof", async () => {
    let asked = 0;
    const spy = (() => {
      asked++;
      return Promise.resolve(new Response("Not found", { status: 404 }));
    }) as unknown as typeof fetch;
    const items = Array.from(
      { length: 40 },
      (_, i): OtsItem => ({
        kind: "attestation",
        attestation: { kind: "pending", uri: `https://c${i}.calendar.example` },
      }),
    );
    const proof = formatOtsFile({ fileHash: "sha256", timestamp: { message: digest, items } });
    const anchor = openTimestampsAnchor({
      calendars: ["https://pool.example"],
      upgradeCalendars: ["https://*.calendar.example"],
      fetch: spy,
    });
    expect((await anchor.upgrade(proof)).kind).toBe("pending");
    expect(asked).toBe(16);
  });

  it("throws for a proof that does not parse, and for a list that it cannot read", async () => {
    const anchor = openTimestampsAnchor({ calendars: ["https://pool.example"] });
    await expect(anchor.upgrade(new Uint8Array(10))).rejects.toMatchObject({ code: "malformed-proof" });
    expect(() => openTimestampsAnchor({ calendars: ["https://pool.example"], upgradeCalendars: ["*"] })).toThrow(
      "expected the address of a calendar, got *",
    );
  });
});

describe("backOff", () => {
  it("doubles from a minute to an hour and never ends", () => {
    let state = BACKOFF_START;
    const delays: number[] = [];
    for (let i = 0; i < 2_000; i++) {
      state = backOff(state, { nowMs: 0, spread: 0 });
      if (i < 8) delays.push(state.nextMs / 60_000);
    }
    expect(delays).toEqual([1, 2, 4, 8, 16, 32, 60, 60]);
    expect(state).toEqual({ attempts: 2_000, nextMs: UPGRADE_BACKOFF.maxMs });
    expect(JSON.parse(JSON.stringify(state))).toEqual(state);
  });

  it("is due at once at the start and from its moment on, and spreads by a fifth", () => {
    expect(isDue(BACKOFF_START, 0)).toBe(true);
    const state = backOff(BACKOFF_START, { nowMs: 1_000, spread: 1 });
    expect(state.nextMs).toBe(49_000);
    expect([48_999, 49_000].map((now) => isDue(state, now))).toEqual([false, true]);
    expect(() => backOff(state, { nowMs: 0, spread: 2 })).toThrow("expected a spread of 0 to 1, got 2");
  });
});
