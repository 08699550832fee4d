import { describe, expect, it } from "vitest";
import { parsePolicy } from "../../src/core/policy.ts";
import { verifyReceipt } from "../../src/core/receipt.ts";
import type { Ledger } from "../../src/open.ts";
import { newPlace, openAt, stateOf } from "./place.ts";
import { login } from "./world.ts";

async function indexesOf(ledger: Ledger, filter: Parameters<Ledger["query"]>[0] = {}): Promise<number[]> {
  const found: number[] = [];
  for await (const { index } of ledger.query(filter)) found.push(index);
  return found;
}

describe("several handles on one file", () => {
  it.each(["a writer", "a reader"] as const)(
    "%s that was open before sees everything that another appends",
    async (kind) => {
      const place = newPlace();
      const writer = await openAt(place);
      await writer.append(login(1));
      await writer.checkpoint();
      const other = await openAt(place, { readOnly: kind === "a reader" });
      expect(other.size).toBe(2);
      for (let round = 0; round < 3; round++) {
        // Each call sees it by itself, whichever comes first.
        const calls: readonly ((index: number) => Promise<void>)[] = [
          async (index) => expect((await indexesOf(other)).at(-1)).toBe(index),
          async (index) => expect((await other.query().page({ limit: 1_000 })).size).toBe(index + 1),
          async (index) => expect((await other.read(index)).index).toBe(index),
          async (index) => expect((await other.findById(`login-${index}`))?.index).toBe(index),
          async (index) => expect((await other.stats()).entries).toBe(index + 1),
          async (index) => expect((await other.verify()).size).toBe(index + 1),
          async (index) => expect((await other.status()).size).toBe(index + 1),
        ];
        for (const call of calls) {
          const next = writer.size;
          expect((await writer.append(login(next))).index).toBe(next);
          await call(next);
        }
        const { index } = await writer.append(login(writer.size));
        expect(await indexesOf(other, { actor: `user-${index % 5}` })).toContain(index);
        // A page of one handle goes on at another.
        const { cursor } = await writer.query().page({ limit: index });
        expect((await other.query().page({ cursor })).entries.map((entry) => entry.index)).toEqual([index]);
        await writer.checkpoint();
        // What is not signed yet does not hide what is.
        await writer.append(login(writer.size));
        const policy = parsePolicy(stateOf(place).readPolicy(other.origin) ?? "");
        expect((await verifyReceipt(await other.prove(index), policy)).index).toBe(index);
        await other.settled(index, "checkpointed");
      }
      await other.close();
      await writer.close();
    },
  );

  it("a reader's export and checkpoint are of what was released last", async () => {
    const place = newPlace();
    const writer = await openAt(place);
    const reader = await openAt(place, { readOnly: true });
    await writer.append(login(1));
    const note = await writer.checkpoint();
    expect(await reader.checkpoint()).toBe(note);
    const lines: string[] = [];
    for await (const line of reader.export()) lines.push(line);
    expect(lines).toHaveLength(3);
    await reader.close();
    await writer.close();
  });

  it("an export that was begun before others appended is of all of it", async () => {
    const place = newPlace();
    const ledger = await openAt(place);
    const lines = ledger.export();
    const other = await openAt(place);
    await other.appendMany(Array.from({ length: 300 }, (_, i) => login(i)));
    await other.checkpoint();
    const collected: string[] = [];
    for await (const line of lines) collected.push(line);
    expect(collected).toHaveLength(302);
    await other.close();
    await ledger.close();
  });

  it("an erasure by another handle is seen as one", async () => {
    const place = newPlace();
    const [ledger, other] = [await openAt(place), await openAt(place)];
    await ledger.append(login(1));
    const { index } = await other.erase(1, { reason: "r" });
    expect(await ledger.read(1)).toMatchObject({ event: null, erased: { by: index } });
    await expect(ledger.append(login(1))).rejects.toMatchObject({ code: "id-conflict" });
    await other.close();
    await ledger.close();
  });
});
