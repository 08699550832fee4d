import { afterAll, beforeAll, describe, expect, it, type TestContext } from "vitest";
import { headersAt, rpcHeaders } from "../../src/anchors/bitcoin-headers.ts";
import { openTimestampsAnchor } from "../../src/anchors/opentimestamps.ts";
import { bracketOf } from "../../src/core/timeline.ts";
import { newPlace, openAt, verifyAt } from "../engine/place.ts";
import { REGTEST_BITS } from "./bitcoin.ts";
import { type Btcd, installBtcd, type NodeCalendar, startBtcd, startNodeCalendar } from "./btcd.ts";

/** The whole path with a node that is not ours: commit, mine, upgrade, verify. */
let node: Btcd | null = null;
let missing = "";

beforeAll(async () => {
  const btcd = await installBtcd();
  if ("path" in btcd) node = await startBtcd(btcd.path);
  else missing = btcd.missing;
  // Where Go is, a node that cannot be had is a failure.
  if (node === null && missing !== "needs go" && process.env.CI === "true") throw new Error(missing);
}, 300_000);
afterAll(() => node?.close());

function nodeIn(context: TestContext): Btcd {
  if (node === null) context.skip(missing);
  return node as Btcd;
}

const headersOf = ({ url, user, password }: Btcd) => rpcHeaders({ url, user, password, bitsMax: REGTEST_BITS });

describe("a Bitcoin node (btcd)", () => {
  it("confirms a ledger: commit, mine, upgrade, verify; and no longer when the block leaves the chain", {
    timeout: 60_000,
  }, async (context) => {
    const btcd = nodeIn(context);
    const calendar: NodeCalendar = await startNodeCalendar(btcd);
    const place = newPlace();
    const ledger = await openAt(place, {
      anchors: [openTimestampsAnchor({ calendars: [calendar.url] })],
      rules: { anchors: ["opentimestamps"] },
    });
    const { index } = await ledger.append({ action: "contract.signed", actor: "alice" });
    await expect(ledger.settled(index, "anchored")).rejects.toMatchObject({ code: "level-not-reached" });
    // Others are in the same commitment.
    for (const byte of [1, 2])
      await fetch(`${calendar.url}/digest`, { method: "POST", body: new Uint8Array(32).fill(byte) });
    const { height, time } = await calendar.mine();
    expect(await ledger.upgradeAnchors()).toMatchObject([{ isComplete: true, problem: null }]);
    await ledger.settled(index, "anchored");
    const after = await ledger.append({ action: "contract.paid", actor: "alice" });
    const policy = ledger.policy();
    await ledger.close();
    await calendar.close();

    const pins = { policy, bitcoin: headersOf(btcd), requireAnchor: true };
    const { report, exit, codes } = await verifyAt(place.path, pins);
    expect([exit, codes]).toEqual([0, []]);
    const at = (seconds: number): string => new Date(1_000 * seconds).toISOString();
    expect(bracketOf(report.timeline, index)).toMatchObject({
      ...{
        notBefore: null,
        notAfter: { time: at(time + 7_200), source: expect.stringContaining(`Bitcoin block ${height}`) },
      },
    });
    expect(bracketOf(report.timeline, after.index)).toMatchObject({
      notBefore: { time: at(time - 7_200) },
      notAfter: null,
    });

    // Whoever asks for the work of the main chain does not take a test network for it.
    const strict = await verifyAt(place.path, { ...pins, bitcoin: rpcHeaders(btcd) });
    expect([strict.exit, strict.codes]).toEqual([4, []]);

    await btcd.reorganise();
    const reorganised = await verifyAt(place.path, pins);
    expect([reorganised.exit, reorganised.codes]).toEqual([1, ["anchor-invalid"]]);
  });

  it("is told from an explorer, and has no header beyond its tip", async (context) => {
    const btcd = nodeIn(context);
    const headers = await headersAt({ url: btcd.url, user: btcd.user, password: btcd.password, bitsMax: REGTEST_BITS });
    expect(await headers.read(1)).toMatchObject({ height: 1 });
    expect(await headers.read(1_000_000)).toBeNull();
    const wrong = rpcHeaders({ url: btcd.url, user: btcd.user, password: "wrong", bitsMax: REGTEST_BITS });
    await expect(wrong.read(1)).rejects.toMatchObject({ code: "not-found" });
  });
});
