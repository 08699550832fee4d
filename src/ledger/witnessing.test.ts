import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { encodeUtf8 } from "../core/encoding.ts";
import { sha256 } from "../core/hash.ts";
import { formatVerifierKey, parseVerifierKey } from "../core/note.ts";
import { formatPolicy, parsePolicy, verifyCheckpoint } from "../core/policy.ts";
import { verifyReceipt } from "../core/receipt.ts";
import { logSignerFromSeed } from "../keys/index.ts";
import { loadSqliteDriver } from "../storage/sqlite-driver.ts";
import { createTestLedger } from "../testing/create-test-ledger.ts";
import { httpWitness } from "../witness/client.ts";
import { createWitness, type WitnessServer } from "../witness/server.ts";
import { sqliteWitnessStore, type WitnessStore } from "../witness/witness-store.ts";
import type { Witness } from "./witness.ts";

const driver = await loadSqliteDriver();
const open: { readonly store: WitnessStore; readonly folder: string }[] = [];
afterEach(() => {
  for (const { store, folder } of open.splice(0)) {
    store.close();
    rmSync(folder, { recursive: true });
  }
});

type Behaviour = (request: Request, server: WitnessServer) => Promise<Response>;

const asked = new Set<Request>();

/** Three witnesses, two of which make the quorum; `behaviour` lies, fails or delays for one of them. */
function witnessing(behaviours: readonly (Behaviour | undefined)[] = []) {
  const servers: WitnessServer[] = [];
  const of = (policyText: string): { policy: string; witnesses: Witness[] } => {
    const base = parsePolicy(policyText);
    const logs = new Map([[base.origin, base.logKeys]]);
    const witnesses = [0, 1, 2].map((i) => {
      const signer = logSignerFromSeed("ed25519", sha256(encodeUtf8(`witness ${i}`)));
      const name = `w${i}.test/witness`;
      const folder = mkdtempSync(join(tmpdir(), "witnessing-"));
      const store = sqliteWitnessStore({ path: join(folder, "w.sqlite"), driver });
      open.push({ store, folder });
      const server = createWitness({ name, signer, logs, store });
      servers.push(server);
      const key = parseVerifierKey(formatVerifierKey({ name, type: 4, publicKey: signer.publicKey }));
      const behave = behaviours[i];
      const call = (async (input: string, init: RequestInit) => {
        const request = new Request(input, init);
        // As fetch does: a request that nobody holds may be collected, and then its abort never comes.
        asked.add(request);
        return behave === undefined ? server.fetch(request) : behave(request, server);
      }) as typeof fetch;
      return {
        key,
        name: `w${i}`,
        url: `http://w${i}.test`,
        witness: httpWitness({ name: `w${i}`, vkey: key.vkey, url: `http://w${i}.test`, fetch: call, timeoutMs: 300 }),
      };
    });
    const policy = formatPolicy({
      ...base,
      witnesses,
      groups: [{ name: "two", threshold: 2, members: ["w0", "w1", "w2"] }],
      quorum: "two",
    });
    return { policy, witnesses: witnesses.map(({ witness }) => witness) };
  };
  return { servers, of };
}

const event = { action: "user.login", actor: "alice" };
const down: Behaviour = async () => new Response("down", { status: 503 });
const never: Behaviour = (request) =>
  new Promise((_, reject) => request.signal.addEventListener("abort", () => reject(request.signal.reason)));

describe("level witnessed", () => {
  it("gives checkpoints and receipts that reach the quorum of the policy", async () => {
    const { of } = witnessing();
    await using test = await createTestLedger({ witnesses: of });
    const { index } = await test.ledger.append(event);
    await test.ledger.settled(index, "witnessed");
    const policy = parsePolicy(test.ledger.policy());
    const receipt = await verifyReceipt(await test.ledger.prove(index, { until: "witnessed" }), policy);
    expect(receipt.checkpoint.quorum).toBe(true);
    const verified = await verifyCheckpoint(await test.ledger.checkpoint({ until: "witnessed" }), policy);
    expect(verified.witnesses.length).toBeGreaterThanOrEqual(2);
    const report = await test.ledger.verify({ policy: test.ledger.policy() });
    expect(report).toMatchObject({ ok: true, conclusive: true, requiredMissing: [] });
    expect(report.verdicts.independence).toMatchObject({ status: "pass" });
    expect(report.verdicts.time).toMatchObject({ status: "pass" });
  });

  it.each([
    ["stopped", down],
    ["silent", never],
    ["unknown to it", (async () => new Response("who?", { status: 404 })) as Behaviour],
    [
      "lying about its size",
      (async () =>
        new Response(`${2 ** 50}\n`, { status: 409, headers: { "content-type": "text/x.tlog.size" } })) as Behaviour,
    ],
    [
      "signing garbage",
      (async () => new Response(`— w0.test/witness ${Buffer.alloc(76, 7).toString("base64")}\n`)) as Behaviour,
    ],
    ["flooding", (async () => new Response("— x AAAA\n".repeat(50_000))) as Behaviour],
  ])("survives one witness that is %s", async (_, behaviour) => {
    const { of } = witnessing([behaviour]);
    await using test = await createTestLedger({ witnesses: of });
    const { index } = await test.ledger.append(event);
    await test.ledger.settled(index, "witnessed");
    const status = await test.ledger.status();
    expect(status.witnessed).toBe(2);
    expect(status.witnesses.filter((witness) => witness.size === 2).length).toBeGreaterThanOrEqual(2);
  });

  it("fails closed without a quorum, says who did answer, and keeps appends durable", async () => {
    const { of } = witnessing([down, down]);
    await using test = await createTestLedger({ witnesses: of });
    const { index } = await test.ledger.append(event);
    await expect(test.ledger.settled(index, "witnessed")).rejects.toMatchObject({
      code: "quorum-not-reached",
      details: { reached: ["w2"] },
    });
    await expect(test.ledger.prove(index, { until: "witnessed" })).rejects.toMatchObject({
      code: "quorum-not-reached",
    });
    expect(await test.ledger.append(event)).toMatchObject({ index: 2 });
    const report = await test.ledger.verify({ policy: test.ledger.policy() });
    expect(report).toMatchObject({ ok: true, requiredMissing: ["quorum"] });
    expect(report.verdicts.independence.status).toBe("notEstablished");
    test.clock.advance(61_000);
    expect((await test.ledger.status()).overdue).toBe(true);
  });

  it("cosigns by itself at its cadence", async () => {
    const { of } = witnessing();
    await using test = await createTestLedger({ witnesses: of });
    await test.ledger.append(event);
    test.clock.advance(1_000);
    await expect.poll(async () => (await test.ledger.status()).checkpointed).toBe(2);
    test.clock.advance(1_000);
    await expect.poll(async () => (await test.ledger.status()).witnessed).toBe(2);
  });

  it("signs nothing while no witness says what it saw last, and goes on when one does", async () => {
    let isDown = true;
    const moody: Behaviour = (request, server) => (isDown ? down(request, server) : server.fetch(request));
    const { of } = witnessing([moody, moody, moody]);
    await using test = await createTestLedger({ witnesses: of });
    await test.ledger.append(event);
    await expect(test.ledger.checkpoint()).rejects.toMatchObject({ code: "signer-unavailable" });
    isDown = false;
    expect(await test.ledger.checkpoint()).toContain("\n2\n");
  });
});
