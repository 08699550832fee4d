import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Ledger, verify } from "../index.ts";

/** What somebody who writes JavaScript may type: the compiler would not let it pass. */
const misspelt = <T>(value: unknown): T => value as T;

describe("an option that is misspelt, or in the wrong place", () => {
  let ledger: Ledger;
  beforeEach(async () => {
    ledger = await Ledger.memory({ scheme: "fields" });
    await ledger.append({ action: "user.login", actor: "alice", payload: { email: "a@example.com", plan: "free" } });
  });
  afterEach(() => ledger.close());

  it.each([
    ["fields beside the reason", 1, { reason: "r", fields: ["payload.email"] }],
    ["a misspelt member of a target", [{ index: 1, field: ["payload.email"] }], { reason: "r" }],
    ["fields that are one string", { index: 1, fields: "payload.email" }, { reason: "r" }],
    ["an index that is text", "1", { reason: "r" }],
    ["nothing", [null], { reason: "r" }],
  ])("erases nothing: %s", async (_, targets, options) => {
    await expect(ledger.erase(misspelt(targets), misspelt(options))).rejects.toThrow(/^erase: /);
    expect(ledger.size).toBe(2);
    expect((await ledger.read(1)).erased).toBeNull();
  });

  it("discloses nothing", async () => {
    await expect(ledger.prove(1, misspelt({ disclos: ["action"] }))).rejects.toThrow('prove: unknown option "disclos"');
    const exported = ledger.export(misspelt({ disclos: ["action"] }));
    await expect(exported.next()).rejects.toThrow('export: unknown option "disclos"');
  });

  it("is refused before anything is called verified", async () => {
    await expect(ledger.verify(misspelt({ expct: "" }))).rejects.toThrow('verify: unknown option "expct"');
    await expect(verify("nowhere.db", misspelt({ polcy: "" }))).rejects.toThrow('verify: unknown option "polcy"');
  });

  it("makes no other ledger than the one that was meant", async () => {
    await expect(Ledger.memory(misspelt({ sed: "s" }))).rejects.toThrow('Ledger.memory: unknown option "sed"');
    await expect(Ledger.open("nowhere.db", misspelt({ readonly: true }))).rejects.toThrow(
      'Ledger.open: unknown option "readonly"',
    );
  });

  it("is refused where somebody waits", async () => {
    await expect(ledger.settled(1, "durable", misspelt({ signl: 1 }))).rejects.toThrow(TypeError);
    await expect(ledger.checkpoint(misspelt({ untill: "witnessed" }))).rejects.toThrow(TypeError);
    await expect(ledger.proveInclusion(1, misspelt({ disclose: [] }))).rejects.toThrow(TypeError);
    await expect(ledger.follow(misspelt({ aftr: 0 })).next()).rejects.toThrow(TypeError);
  });
});
