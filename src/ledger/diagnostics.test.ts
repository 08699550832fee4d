import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createTestLedger } from "../testing/index.ts";

const CHANNELS = ["append", "commit", "checkpoint", "verify", "finding"] as const;
const SECRET = "nobody may hear this";

const heard: { readonly channel: string; readonly message: unknown }[] = [];
const listeners = CHANNELS.map((channel) => ({
  name: `tallystick:${channel}`,
  listen: (message: unknown) => void heard.push({ channel, message }),
}));

beforeEach(() => {
  heard.length = 0;
  for (const { name, listen } of listeners) subscribe(name, listen);
});
afterEach(() => {
  for (const { name, listen } of listeners) unsubscribe(name, listen);
});

function heardOn(channel: string): unknown[] {
  return heard.filter((event) => event.channel === channel).map(({ message }) => message);
}

describe("the diagnostics channels", () => {
  it("tell of appends, commits, checkpoints and verifications, never of content", async () => {
    await using test = await createTestLedger();
    const { ledger } = test;
    const event = { id: "one", action: "note.taken", payload: { text: SECRET } };
    const first = await ledger.append(event);
    const [again, second] = await Promise.all([ledger.append(event), ledger.append({ action: "note.read" })]);
    expect(again.duplicate).toBe(true);
    await ledger.checkpoint();
    const report = await ledger.verify();
    expect(heardOn("append")).toMatchObject([
      { index: first.index, leafHash: first.leafHash },
      { index: second.index, leafHash: second.leafHash },
    ]);
    expect(heardOn("commit")).toEqual([
      { size: 2, entries: 1 },
      { size: 3, entries: 1 },
    ]);
    expect(heardOn("checkpoint").at(-1)).toEqual({ size: 3 });
    expect(heardOn("verify")).toMatchObject([{ size: 3, findings: report.findings.length }]);
    expect(heardOn("finding")).toHaveLength(report.findings.length);
    expect(JSON.stringify(heard)).not.toContain(SECRET);
  });
});
