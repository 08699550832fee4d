import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { expect, it } from "vitest";
import type { Batch, CommitReads, LedgerStorage, RawEntry, SideTables, StoredEntry } from "../ledger/storage.ts";
import { openMemoryStorage } from "./memory.ts";
import { openSqliteStorage } from "./sqlite.ts";

const NO_READS: CommitReads = { ids: [], idDigests: [], indexes: [] };

type Step =
  | { readonly do: "append"; readonly count: number; readonly body: string; readonly ids: boolean }
  | { readonly do: "erase"; readonly pick: number; readonly disclosure: string | null }
  | { readonly do: "filter"; readonly block: number; readonly keep: boolean }
  | { readonly do: "tile"; readonly level: number; readonly index: number }
  | { readonly do: "checkpoint" | "cosign"; readonly size: number; readonly note: string }
  | { readonly do: "rebuild" | "purge" | "reopen" };

const text = fc.string({ unit: "grapheme", maxLength: 40 });
const stepArbitrary: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("append" as const),
      count: fc.integer({ min: 0, max: 120 }),
      body: text,
      ids: fc.boolean(),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant("erase" as const), pick: fc.nat(1_000), disclosure: fc.option(text) }),
  },
  fc.record({ do: fc.constant("filter" as const), block: fc.nat(3), keep: fc.boolean() }),
  fc.record({ do: fc.constant("tile" as const), level: fc.nat(2), index: fc.nat(2) }),
  fc.record({
    do: fc.constantFrom("checkpoint" as const, "cosign" as const),
    size: fc.integer({ min: 1, max: 4 }),
    note: fc.constantFrom("a", "b"),
  }),
  fc.record({ do: fc.constantFrom("rebuild" as const, "purge" as const, "reopen" as const) }),
);

function batchOf(extra: Partial<Batch>): Batch {
  return { entries: [], tiles: [], filters: [], ids: [], controls: [], ...extra };
}

function entryOf(index: number, body: string): StoredEntry {
  return { index, entry: `entry ${index}`, body, salts: new Uint8Array(16).fill(index), disclosure: null };
}

const digestOf = (index: number): Uint8Array => Uint8Array.from({ length: 32 }, (_, i) => (index >> (i % 11)) & 255);

/** Takes one step and says how it ended: a result or the code of an error. */
async function take(storage: LedgerStorage, step: Step): Promise<unknown> {
  const run = (): Promise<unknown> => {
    switch (step.do) {
      case "append":
        return storage.commit(NO_READS, ({ head }) => {
          const entries = Array.from({ length: step.count }, (_, i) => entryOf(head.size + i, `${i}${step.body}`));
          const ids = step.ids ? entries.map(({ index }) => ({ id: `id ${index}`, index })) : [];
          return batchOf({ entries, ids, controls: step.count > 0 ? [head.size] : [] });
        });
      case "erase":
        return erase(storage, step.pick, step.disclosure);
      case "filter": {
        const filters = [{ block: step.block, bits: new Uint8Array(8).fill(step.block + 1) }];
        return storage.commit(NO_READS, () => batchOf(step.keep ? { filters } : { unfilter: [step.block] }));
      }
      case "tile":
        return storage.commit(NO_READS, () =>
          batchOf({
            tiles: [{ level: step.level, index: step.index, hashes: new Uint8Array(8_192).fill(step.index) }],
          }),
        );
      case "checkpoint":
        return storage.putCheckpoint({ size: step.size, note: step.note });
      case "cosign":
        return storage.putCosigned({ size: step.size, note: step.note });
      case "rebuild":
        return storage.rebuildDerived([batchOf({ controls: [0] })]);
      case "purge":
        return storage.purge();
      case "reopen":
        return Promise.resolve();
    }
  };
  return run().catch((error: { readonly code?: string }) => error.code);
}

async function erase(storage: LedgerStorage, pick: number, disclosure: string | null): Promise<unknown> {
  const { size } = await storage.head();
  const index = pick % size;
  const id = `id ${index}`;
  let first: unknown;
  const done = await storage.commit(
    { ids: [id], idDigests: [digestOf(index)], indexes: [index] },
    ({ head, byId, erasedIds, byIndex }) => {
      first = { byId: [...byId.keys()], erasedIds: [...erasedIds], byIndex: [...byIndex.values()] };
      const known = byId.has(id) && !erasedIds.has(id);
      const erasedId = known ? { index, digest: digestOf(index), salt: new Uint8Array(16) } : null;
      return batchOf({
        entries: [entryOf(head.size, "erasure")],
        redactions: [{ index, disclosure, id: known ? id : null, erasedId }],
        purge: head.size,
      });
    },
  );
  return { done, first };
}

interface Seen extends SideTables {
  readonly head: unknown;
  readonly entries: readonly StoredEntry[];
  readonly raw: readonly RawEntry[];
  readonly found: readonly (number | undefined)[];
  readonly latest: unknown;
}

async function see(storage: LedgerStorage): Promise<Seen> {
  const snapshot = await storage.snapshot();
  const raw: RawEntry[] = [];
  for await (const page of snapshot.readRaw(0, 10_000)) raw.push(...page);
  const found: (number | undefined)[] = [];
  for (let i = 0; i < raw.length; i += 7)
    found.push((await storage.findById(`id ${i}`))?.index, await snapshot.readId(`id ${i}`));
  const tables = await snapshot.sideTables();
  await snapshot.close();
  return {
    ...tables,
    // The tiles and filters of these histories are made up: only what they say about themselves counts here.
    anomalies: tables.anomalies.filter((anomaly) => !/^table (?:tiles|filters):/.test(anomaly)),
    head: await storage.head(),
    entries: await storage.readEntries(0, 4_096),
    raw,
    found,
    latest: [await storage.latestCheckpoint(), await storage.latestCosigned(), await storage.readFilters(0, 9)],
  };
}

it("the storages cannot be told apart, whatever is done to them", async () => {
  const directory = mkdtempSync(join(tmpdir(), "tallystick-test-"));
  let runs = 0;
  try {
    await fc.assert(
      fc.asyncProperty(fc.array(stepArbitrary, { minLength: 1, maxLength: 25 }), async (steps) => {
        const path = join(directory, `${runs++}.db`);
        const memory = openMemoryStorage();
        let sqlite = await openSqliteStorage(path, { create: true });
        try {
          for (const storage of [memory, sqlite])
            await storage.create(() => batchOf({ entries: [entryOf(0, "genesis")], controls: [0] }));
          for (const step of steps) {
            expect(await take(sqlite, step)).toEqual(await take(memory, step));
            if (step.do !== "reopen") continue;
            await sqlite.close();
            sqlite = await openSqliteStorage(path);
          }
          expect(await see(sqlite)).toEqual(await see(memory));
        } finally {
          await sqlite.close();
        }
      }),
      { seed: 20_261_120, numRuns: 30 },
    );
  } finally {
    rmSync(directory, { recursive: true });
  }
});
