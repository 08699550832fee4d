import { TILE_WIDTH } from "../core/limits.ts";
import type {
  Batch,
  CommitReads,
  ErasedId,
  LedgerStorage,
  RawEntry,
  StorageSnapshot,
  StoredEntry,
} from "../ledger/storage.ts";
import { checkWith, outcomeOf, type SuiteTools } from "./suite.ts";

export interface StorageUnderTest {
  /** A handle on a fresh, empty place. */
  readonly storage: LedgerStorage;
  /** A further handle on the same place, as another process would have it. Present if the storage is shared or durable. */
  readonly another?: () => Promise<LedgerStorage>;
  /** Every byte that the store keeps in files and logs, where that can be read: erased bytes are searched in it. */
  readonly readBytes?: () => Promise<Uint8Array>;
  /** Closes every handle and removes the place. */
  readonly dispose: () => Promise<void>;
}

const NO_READS: CommitReads = { ids: [], idDigests: [], indexes: [] };
const READ_ENTRIES_MAX = 4_096;

/** Bytes that follow from a number, so that a mixed-up row shows. */
function bytesOf(seed: number, length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => (seed * 31 + i * 7) & 255);
}

function entryOf(index: number, body = `{"action":"test.${index}"}`): StoredEntry {
  return { index, entry: `{"index":${index},"v":1}`, body, salts: bytesOf(index, 16), disclosure: null };
}

/** A batch of `count` entries from `first` on. */
function batchOf(first: number, count: number, extra: Partial<Batch> = {}): Batch {
  const entries = Array.from({ length: count }, (_, i) => entryOf(first + i));
  return { entries, tiles: [], filters: [], ids: [], controls: [], ...extra };
}

function erasedIdOf(index: number): ErasedId {
  return { index, digest: bytesOf(index, 32), salt: bytesOf(index, 16) };
}

const genesis = (): Batch => batchOf(0, 1, { controls: [0] });

/** Creates the ledger and appends so that it has `size` entries. */
async function fill(storage: LedgerStorage, size: number): Promise<void> {
  await storage.create(genesis);
  for (let first = 1; first < size; first += 1_000) {
    await storage.commit(NO_READS, () => batchOf(first, Math.min(1_000, size - first)));
  }
}

async function sizeOf(storage: LedgerStorage): Promise<number> {
  return (await storage.head()).size;
}

async function controlsOf(storage: LedgerStorage, first?: number): Promise<number[]> {
  return (await storage.readControls(first)).map(({ index }) => index);
}

/** Appends one entry at the head, whatever it is. */
function appendOne(storage: LedgerStorage): Promise<boolean> {
  return storage.commit(NO_READS, ({ head }) => batchOf(head.size, 1));
}

async function readAllRaw(snapshot: StorageSnapshot, first: number, end: number): Promise<RawEntry[]> {
  const rows: RawEntry[] = [];
  for await (const page of snapshot.readRaw(first, end)) rows.push(...page);
  return rows;
}

async function withSnapshot<T>(storage: LedgerStorage, use: (snapshot: StorageSnapshot) => Promise<T>): Promise<T> {
  const snapshot = await storage.snapshot();
  try {
    return await use(snapshot);
  } finally {
    await snapshot.close();
  }
}

function latin1(bytes: Uint8Array): string {
  let text = "";
  for (let i = 0; i < bytes.length; i += 0x8000) text += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
  return text;
}

/**
 * Conformance suite of the LedgerStorage port: one test for each sentence of its doc comments. `make` gives a handle on
 * a fresh, empty place each time. What only a store with a second handle can show is left out where `traits` say that there
 * is none. Implementations of your own should pass it on the real service.
 */
export function storageSuite(
  name: string,
  tools: SuiteTools,
  make: () => Promise<StorageUnderTest>,
  traits: { readonly shared: boolean; readonly durable: boolean },
): void {
  const { describe, expect } = tools;
  const check = checkWith(tools, make);
  const checkShared = (
    title: string,
    body: (under: Required<Pick<StorageUnderTest, "storage" | "another">>) => Promise<void>,
  ): void => {
    if (!traits.shared) return;
    check(title, async ({ storage, another }) => {
      if (another === undefined) throw new TypeError("storageSuite: a shared storage needs `another`");
      await body({ storage, another });
    });
  };

  describe(`storage: ${name}`, () => {
    describe("capabilities", () => {
      check("say whether it is durable and shared, and where it is", async ({ storage }) => {
        const { durable, shared, location } = storage.capabilities;
        expect({ durable, shared }).toEqual(traits);
        expect(location.length > 0).toBe(true);
      });
    });

    describe("create", () => {
      check("commits the batch of its plan and returns true", async ({ storage }) => {
        expect(await storage.create(genesis)).toBe(true);
        expect(await storage.head()).toEqual({ size: 1, lastEntry: entryOf(0).entry });
        expect(await storage.readEntries(0, 10)).toEqual([entryOf(0)]);
        expect(await controlsOf(storage)).toEqual([0]);
      });

      check("waits for a plan that takes its time", async ({ storage }) => {
        const created = await storage.create(async () => {
          await new Promise((resolve) => setTimeout(resolve, 5));
          return genesis();
        });
        expect(created).toBe(true);
        expect(await sizeOf(storage)).toBe(1);
      });

      check("returns false, without running the plan, when a ledger is there", async ({ storage }) => {
        await storage.create(genesis);
        let ran = false;
        const created = await storage.create(() => {
          ran = true;
          return genesis();
        });
        expect({ created, ran }).toEqual({ created: false, ran: false });
      });

      check(
        "leaves nothing when its plan fails, passes the failure on, and can be called again",
        async ({ storage }) => {
          const failure = new Error("no key");
          expect(await storage.create(() => Promise.reject(failure)).catch((error: unknown) => error)).toBe(failure);
          expect(await storage.head()).toEqual({ size: 0, lastEntry: null });
          expect(await storage.create(genesis)).toBe(true);
        },
      );

      checkShared("lets exactly one of several that race create", async ({ storage, another }) => {
        const handles = [storage, await another(), await another(), await another()];
        let runs = 0;
        const plan = async (): Promise<Batch> => {
          runs += 1;
          await new Promise((resolve) => setTimeout(resolve, 20));
          return genesis();
        };
        const created = await Promise.all(handles.map((handle) => handle.create(plan)));
        expect(created.filter(Boolean).length).toBe(1);
        expect(runs).toBe(1);
        for (const handle of handles) expect(await sizeOf(handle)).toBe(1);
      });
    });

    describe("where no ledger is", () => {
      check("the head is empty, and so is every read", async ({ storage }) => {
        expect(await storage.head()).toEqual({ size: 0, lastEntry: null });
        expect(await storage.readEntries(0, 10)).toEqual([]);
        expect(await storage.readTile(0, 0)).toBe(undefined);
        expect(await storage.readFilters(0, 10)).toEqual([]);
        expect(await storage.readFilterBlocks(0, 10)).toEqual([]);
        expect(await storage.findById("a")).toBe(undefined);
        expect(await controlsOf(storage)).toEqual([]);
        expect(await storage.latestCheckpoint()).toBe(undefined);
        expect(await storage.purge()).toBe("done");
      });

      check("a commit and a snapshot are refused with not-found", async ({ storage }) => {
        expect(await outcomeOf(storage.commit(NO_READS, () => genesis()))).toBe("not-found");
        expect(await outcomeOf(storage.snapshot())).toBe("not-found");
      });
    });

    describe("commit", () => {
      check("shows its plan the right edge and continues it", async ({ storage }) => {
        await storage.create(genesis);
        const heads: unknown[] = [];
        for (const count of [1, 49, 50, 51, 120]) {
          const committed = await storage.commit(NO_READS, ({ head }) => {
            heads.push(head);
            return batchOf(head.size, count);
          });
          expect(committed).toBe(true);
        }
        expect(heads).toEqual([0, 1, 50, 100, 151].map((last) => ({ size: last + 1, lastEntry: entryOf(last).entry })));
        expect(await storage.readEntries(0, 1_000)).toEqual(batchOf(0, 272).entries);
      });

      check("commits a batch that comes in parts as one", async ({ storage }) => {
        await storage.create(genesis);
        const tiles = [{ level: 0, index: 0, hashes: bytesOf(1, 32 * TILE_WIDTH) }];
        const committed = await storage.commit(NO_READS, function* ({ head }) {
          yield batchOf(head.size, 60);
          yield batchOf(head.size + 60, 0, { tiles });
          yield batchOf(head.size + 60, 1, { ids: [{ id: "a", index: 61 }], controls: [61] });
        });
        expect(committed).toBe(true);
        expect(await storage.readEntries(0, 1_000)).toEqual(batchOf(0, 62).entries);
        expect((await storage.findById("a"))?.index).toBe(61);
        expect(await controlsOf(storage)).toEqual([0, 61]);
        expect(await storage.readTile(0, 0)).toEqual(tiles[0]!.hashes);
      });

      check("takes texts as bytes, which the caller may write over afterwards", async ({ storage }) => {
        await storage.create(genesis);
        const body = Buffer.alloc(64);
        const entry = Buffer.alloc(512);
        const salts = Buffer.alloc(16);
        const expected: StoredEntry[] = [];
        const committed = await storage.commit(NO_READS, function* ({ head }) {
          for (let index = head.size; index < head.size + 120; index++) {
            const stored = {
              ...entryOf(index),
              body: `{"action":"é🦊\u2028${index}"}`,
              salts: Uint8Array.from(salts.fill(index)),
            };
            expected.push(stored);
            const bodySize = body.write(stored.body);
            const entrySize = entry.write(stored.entry);
            const texts = { entry: entry.subarray(0, entrySize), body: body.subarray(0, bodySize) };
            yield { ...batchOf(index, 0), entries: [{ ...stored, ...texts, salts }] };
          }
        });
        expect(committed).toBe(true);
        body.fill(0);
        entry.fill(0);
        salts.fill(0);
        expect(await storage.readEntries(1, 1_000)).toEqual(expected);
        const [raw] = await withSnapshot(storage, (snapshot) => readAllRaw(snapshot, 1, 2));
        expect([raw?.misfit ?? false, Buffer.from(raw?.body ?? []).toString()]).toEqual([false, expected[0]?.body]);
      });

      check("writes nothing of a batch whose later parts fail, or leave a gap", async ({ storage }) => {
        await storage.create(genesis);
        const failure = new Error("no more parts");
        const failed = storage.commit(NO_READS, function* ({ head }) {
          yield batchOf(head.size, 3);
          throw failure;
        });
        expect(await failed.catch((error: unknown) => error)).toBe(failure);
        const gap = storage.commit(NO_READS, () => [batchOf(1, 3), batchOf(5, 1)]);
        expect(await outcomeOf(gap)).toBe("invariant-broken");
        expect(await sizeOf(storage)).toBe(1);
        expect(await appendOne(storage)).toBe(true);
      });

      check("writes nothing and returns false when the plan returns undefined", async ({ storage }) => {
        await storage.create(genesis);
        expect(await storage.commit(NO_READS, () => undefined)).toBe(false);
        expect(await sizeOf(storage)).toBe(1);
      });

      check("writes nothing when the plan throws, and passes the error on", async ({ storage }) => {
        await storage.create(genesis);
        const failure = new Error("refused");
        const failed = storage.commit(NO_READS, () => {
          throw failure;
        });
        expect(await failed.catch((error: unknown) => error)).toBe(failure);
        expect(await appendOne(storage)).toBe(true);
        expect(await sizeOf(storage)).toBe(2);
      });

      check(
        "refuses entries that leave a gap or repeat an index, and writes nothing of the batch",
        async ({ storage }) => {
          await fill(storage, 5);
          const tiles = [{ level: 0, index: 0, hashes: bytesOf(1, 32 * TILE_WIDTH) }];
          const gapInside = batchOf(5, 3, { tiles });
          const batches = [
            batchOf(6, 1, { tiles }),
            batchOf(4, 1, { tiles }),
            { ...gapInside, entries: gapInside.entries.filter(({ index }) => index !== 6) },
          ];
          for (const batch of batches) {
            expect(await outcomeOf(storage.commit(NO_READS, () => batch))).toBe("invariant-broken");
          }
          expect(await sizeOf(storage)).toBe(5);
          expect(await storage.readTile(0, 0)).toBe(undefined);
        },
      );

      check("is atomic: an id that is stored already undoes the whole batch", async ({ storage }) => {
        await storage.create(genesis);
        await storage.commit(NO_READS, () => batchOf(1, 1, { ids: [{ id: "a", index: 1 }] }));
        const twice = batchOf(2, 3, {
          ids: [
            { id: "b", index: 2 },
            { id: "a", index: 3 },
          ],
          controls: [4],
          tiles: [{ level: 0, index: 0, hashes: bytesOf(1, 32 * TILE_WIDTH) }],
        });
        expect(await outcomeOf(storage.commit(NO_READS, () => twice))).toBe("invariant-broken");
        expect(await sizeOf(storage)).toBe(2);
        expect(await storage.findById("b")).toBe(undefined);
        expect((await storage.findById("a"))?.index).toBe(1);
        expect(await controlsOf(storage)).toEqual([0]);
        expect(await storage.readTile(0, 0)).toBe(undefined);
      });

      check("keeps concurrent commits apart: none is lost and none is run on an old head", async ({ storage }) => {
        await storage.create(genesis);
        const outcomes = await Promise.all(Array.from({ length: 40 }, () => appendOne(storage)));
        expect(outcomes.every(Boolean)).toBe(true);
        expect(await storage.readEntries(0, 100)).toEqual(batchOf(0, 41).entries);
      });

      check("looks up what the plan asked for: ids, erased ids and entries", async ({ storage }) => {
        await fill(storage, 1);
        await storage.commit(NO_READS, () =>
          batchOf(1, 3, {
            ids: [
              { id: "kept", index: 1 },
              { id: "gone", index: 2 },
            ],
          }),
        );
        const redaction = { index: 2, disclosure: null, id: "gone", erasedId: erasedIdOf(2) };
        await storage.commit(NO_READS, () => batchOf(4, 1, { redactions: [redaction] }));
        const reads = {
          ids: ["kept", "gone", "new"],
          idDigests: [bytesOf(1, 32), bytesOf(2, 32), bytesOf(9, 32)],
          indexes: [3, 0, 77],
        };
        let seen: unknown;
        await storage.commit(reads, ({ head, byId, erasedIds, byIndex }) => {
          seen = {
            size: head.size,
            byId: [...byId],
            erasedIds: [...erasedIds],
            byIndex: [...byIndex].sort(([a], [b]) => a - b),
          };
          return undefined;
        });
        expect(seen).toEqual({
          size: 5,
          byId: [["kept", entryOf(1)]],
          erasedIds: [["gone", 2]],
          byIndex: [
            [0, entryOf(0)],
            [3, entryOf(3)],
          ],
        });
      });

      check("looks up ids without digests too, as before the genesis is known", async ({ storage }) => {
        await fill(storage, 1);
        await storage.commit(NO_READS, () => batchOf(1, 1, { ids: [{ id: "a", index: 1 }] }));
        let seen: unknown;
        await storage.commit({ ids: ["a", "b"], idDigests: [], indexes: [] }, ({ byId, erasedIds }) => {
          seen = [byId.size, erasedIds.size];
          return undefined;
        });
        expect(seen).toEqual([1, 0]);
      });

      checkShared("sees the commits of other handles", async ({ storage, another }) => {
        const other = await another();
        await storage.create(genesis);
        expect(await appendOne(other)).toBe(true);
        expect(await appendOne(storage)).toBe(true);
        expect(await appendOne(other)).toBe(true);
        for (const handle of [storage, other]) expect(await handle.readEntries(0, 10)).toEqual(batchOf(0, 4).entries);
      });

      checkShared(
        "lets several handles append at once: all entries survive, in one order, without a gap",
        async ({ storage, another }) => {
          await storage.create(genesis);
          const handles = [storage, await another(), await another()];
          await Promise.all(
            handles.map(async (handle) => {
              for (let i = 0; i < 25; i++) expect(await appendOne(handle)).toBe(true);
            }),
          );
          for (const handle of handles) expect(await handle.readEntries(0, 200)).toEqual(batchOf(0, 76).entries);
        },
      );

      if (traits.durable) {
        check("is durable: a handle opened after the last one was closed reads it", async ({ storage, another }) => {
          await fill(storage, 300);
          await storage.putCheckpoint({ size: 300, note: "note" });
          await storage.close();
          const later = await another!();
          expect(await later.head()).toEqual({ size: 300, lastEntry: entryOf(299).entry });
          expect(await later.readEntries(0, 300)).toEqual(batchOf(0, 300).entries);
          expect(await later.latestCheckpoint()).toEqual({ size: 300, note: "note" });
        });
      }
    });

    describe("entries", () => {
      check("come back exactly as committed, whatever their text", async ({ storage }) => {
        const bodies = [
          "",
          "\u0000",
          "a\u0000b",
          "é",
          "e\u0301",
          "\u{1F600}",
          "\uFFFE\uFFFF\uFEFF",
          "\u2028'\"\\;--",
          "x".repeat(100_000),
        ];
        const entries = bodies.map((body, i) => ({ ...entryOf(1 + i, body), salts: bytesOf(i, 16 * (i + 1)) }));
        await storage.create(genesis);
        await storage.commit(NO_READS, () => ({ ...batchOf(1, 0), entries }));
        expect(await storage.readEntries(1, 100)).toEqual(entries);
        const encoder = new TextEncoder();
        const raw = await withSnapshot(storage, (snapshot) => readAllRaw(snapshot, 1, 100));
        expect(raw).toEqual(
          entries.map(({ index, entry, body, salts }) => ({
            index,
            entry: encoder.encode(entry),
            body: encoder.encode(body ?? ""),
            salts,
            disclosure: null,
          })),
        );
      });

      check("are read by range, ascending, clipped at the end", async ({ storage }) => {
        await fill(storage, 20);
        expect(await storage.readEntries(5, 8)).toEqual(batchOf(5, 3).entries);
        expect(await storage.readEntries(18, 1_000)).toEqual(batchOf(18, 2).entries);
        expect(await storage.readEntryTexts(18, 1_000)).toEqual([entryOf(18).entry, entryOf(19).entry]);
        expect(await storage.readEntryTexts(20, 30)).toEqual([]);
        expect(await outcomeOf(storage.readEntryTexts(0, READ_ENTRIES_MAX + 1))).toBe("RangeError");
        expect(await storage.readEntries(8, 8)).toEqual([]);
        expect(await storage.readEntries(20, 30)).toEqual([]);
      });

      check("are read at most 4,096 at a time", async ({ storage }) => {
        await fill(storage, 5_000);
        expect((await storage.readEntries(100, 100 + READ_ENTRIES_MAX)).length).toBe(READ_ENTRIES_MAX);
        expect(await outcomeOf(storage.readEntries(0, READ_ENTRIES_MAX + 1))).toBe("RangeError");
      });

      check("share no memory with the caller, neither in nor out", async ({ storage }) => {
        await storage.create(genesis);
        const salts = bytesOf(1, 16);
        const hashes = bytesOf(2, 32 * TILE_WIDTH);
        const bits = bytesOf(3, 64);
        await storage.commit(NO_READS, () => ({
          ...batchOf(1, 0),
          entries: [{ ...entryOf(1), salts }],
          tiles: [{ level: 0, index: 0, hashes }],
          filters: [{ block: 0, bits }],
        }));
        for (const given of [salts, hashes, bits]) given.fill(0);
        for (let round = 0; round < 2; round++) {
          const [entry] = await storage.readEntries(1, 2);
          const tile = await storage.readTile(0, 0);
          const [filter] = await storage.readFilters(0, 1);
          expect(entry).toEqual(entryOf(1));
          expect(tile).toEqual(bytesOf(2, 32 * TILE_WIDTH));
          expect(filter).toEqual({ block: 0, bits: bytesOf(3, 64) });
          for (const read of [entry?.salts, tile, filter?.bits]) read?.fill(255);
        }
      });
    });

    describe("derived data", () => {
      check("keeps full tiles by level and index", async ({ storage }) => {
        const tiles = [
          { level: 0, index: 0, hashes: bytesOf(1, 32 * TILE_WIDTH) },
          { level: 0, index: 4_000_000_000, hashes: bytesOf(2, 32 * TILE_WIDTH) },
          { level: 5, index: 0, hashes: bytesOf(3, 32 * TILE_WIDTH) },
        ];
        await storage.create(genesis);
        await storage.commit(NO_READS, () => batchOf(1, 0, { tiles }));
        for (const { level, index, hashes } of tiles) expect(await storage.readTile(level, index)).toEqual(hashes);
        expect(await storage.readTile(0, 1)).toBe(undefined);
        expect(await storage.readTile(1, 0)).toBe(undefined);
        await withSnapshot(storage, async (snapshot) => {
          for (const { level, index, hashes } of tiles) expect(await snapshot.readTile(level, index)).toEqual(hashes);
          expect(await snapshot.readTile(1, 0)).toBe(undefined);
        });
      });

      check("leaves a filter that is stored already as it is", async ({ storage }) => {
        await storage.create(genesis);
        const filter = (block: number, seed: number): Batch =>
          batchOf(1, 0, { filters: [{ block, bits: bytesOf(seed, 64) }] });
        await storage.commit(NO_READS, () => filter(7, 1));
        await storage.commit(NO_READS, () => filter(7, 2));
        await storage.commit(NO_READS, () => filter(3, 3));
        const stored = [
          { block: 3, bits: bytesOf(3, 64) },
          { block: 7, bits: bytesOf(1, 64) },
        ];
        expect(await storage.readFilters(0, 100)).toEqual(stored);
        expect(await storage.readFilters(4, 7)).toEqual([]);
        expect(await storage.readFilterBlocks(0, 100)).toEqual([3, 7]);
        expect(await storage.readFilterBlocks(3, 7)).toEqual([3]);
        await withSnapshot(storage, async (snapshot) => {
          expect(await snapshot.readFilter(7)).toEqual(bytesOf(1, 64));
          expect(await snapshot.readFilter(4)).toBe(undefined);
        });
      });

      check("forgets the filter of a block that an erasure changed, and takes a new one", async ({ storage }) => {
        await storage.create(genesis);
        const filters = [0, 1, 2].map((block) => ({ block, bits: bytesOf(block, 64) }));
        await storage.commit(NO_READS, () => batchOf(1, 0, { filters }));
        await storage.commit(NO_READS, () => batchOf(1, 0, { unfilter: [1, 9] }));
        expect((await storage.readFilters(0, 9)).map(({ block }) => block)).toEqual([0, 2]);
        expect(await storage.readFilterBlocks(0, 9)).toEqual([0, 2]);
        await storage.commit(NO_READS, () => batchOf(1, 0, { filters: [{ block: 1, bits: bytesOf(8, 64) }] }));
        expect((await storage.readFilters(1, 2))[0]?.bits).toEqual(bytesOf(8, 64));
      });

      check("finds an entry by its id, however odd the id", async ({ storage }) => {
        const ids = ["a", "A", "a ", "é", "e\u0301", "\u{1F600}", "'; DROP TABLE ids; --", "0", "00", "x".repeat(256)];
        await storage.create(genesis);
        await storage.commit(NO_READS, () =>
          batchOf(1, ids.length, { ids: ids.map((id, i) => ({ id, index: 1 + i })) }),
        );
        for (const [i, id] of ids.entries()) expect(await storage.findById(id)).toEqual(entryOf(1 + i));
        expect(await storage.findById("b")).toBe(undefined);
        await withSnapshot(storage, async (snapshot) => {
          for (const [i, id] of ids.entries()) expect(await snapshot.readId(id)).toBe(1 + i);
          expect(await snapshot.readId("b")).toBe(undefined);
        });
      });

      check("lists the control entries in order", async ({ storage }) => {
        await storage.create(genesis);
        await storage.commit(NO_READS, () => batchOf(1, 5, { controls: [2, 4] }));
        await storage.commit(NO_READS, () => batchOf(6, 1, { controls: [6] }));
        expect(await controlsOf(storage)).toEqual([0, 2, 4, 6]);
        expect(await controlsOf(storage, 4)).toEqual([4, 6]);
        expect(await controlsOf(storage, 7)).toEqual([]);
        expect(await storage.readControls(4)).toEqual([entryOf(4), entryOf(6)]);
      });

      check("gives at most 512 control entries at a time, and only such as are there", async ({ storage }) => {
        await storage.create(genesis);
        const controls = Array.from({ length: 600 }, (_, i) => i + 1);
        await storage.commit(NO_READS, () => batchOf(1, 600, { controls: [...controls, 9_000] }));
        const first = await controlsOf(storage);
        expect(first).toEqual(Array.from({ length: 512 }, (_, i) => i));
        expect(await controlsOf(storage, 512)).toEqual(controls.slice(511));
        expect(await controlsOf(storage, 601)).toEqual([]);
      });
    });

    describe("cosigned checkpoints", () => {
      check("the latest is the one of the largest size, in the form stored last", async ({ storage }) => {
        await storage.create(genesis);
        expect(await storage.latestCosigned()).toBe(undefined);
        for (const [size, note] of [
          [3, "three"],
          [10, "ten"],
          [7, "seven"],
          [10, "ten, and one witness more"],
        ] as const) {
          await storage.putCosigned({ size, note });
        }
        expect(await storage.latestCosigned()).toEqual({ size: 10, note: "ten, and one witness more" });
        expect(await storage.latestCheckpoint()).toBe(undefined);
        const { cosigned } = await withSnapshot(storage, (snapshot) => snapshot.sideTables());
        expect(cosigned).toEqual([
          { size: 3, note: "three" },
          { size: 7, note: "seven" },
          { size: 10, note: "ten, and one witness more" },
        ]);
      });
    });

    describe("anchors", () => {
      const anchorOf = (index: number) => ({ index, note: bytesOf(index, 90), proof: bytesOf(index + 1, 3_000) });

      check("are committed with their entries, byte for byte", async ({ storage }) => {
        await storage.create(genesis);
        const anchors = [anchorOf(1), anchorOf(3)];
        await storage.commit(NO_READS, () => batchOf(1, 3, { anchors }));
        for (const anchor of anchors) expect(await storage.readAnchor(anchor.index)).toEqual(anchor);
        for (const index of [0, 2, 4]) expect(await storage.readAnchor(index)).toBe(undefined);
        await withSnapshot(storage, async (snapshot) => {
          const { note, proof } = anchorOf(3);
          expect(await snapshot.readAnchor(3)).toEqual({ note, proof });
          expect(await snapshot.readAnchor(2)).toBe(undefined);
          expect((await snapshot.sideTables()).anchors).toEqual([1, 3]);
        });
      });

      check("are not changed by whoever handed them in or got them", async ({ storage }) => {
        await storage.create(genesis);
        const handed = anchorOf(1);
        await storage.commit(NO_READS, () => batchOf(1, 1, { anchors: [handed] }));
        handed.proof.fill(0);
        (await storage.readAnchor(1))?.note.fill(0);
        expect(await storage.readAnchor(1)).toEqual(anchorOf(1));
      });

      check("of an entry that is not new are refused, and nothing is written", async ({ storage }) => {
        await fill(storage, 3);
        for (const index of [2, 4]) {
          const committed = storage.commit(NO_READS, () => batchOf(3, 1, { anchors: [anchorOf(index)] }));
          expect(await outcomeOf(committed)).toBe("invariant-broken");
        }
        expect(await sizeOf(storage)).toBe(3);
        expect(await storage.readAnchor(2)).toBe(undefined);
      });

      check("stay when derived data is rebuilt", async ({ storage }) => {
        await storage.create(genesis);
        await storage.commit(NO_READS, () => batchOf(1, 1, { anchors: [anchorOf(1)] }));
        await storage.rebuildDerived([]);
        expect(await storage.readAnchor(1)).toEqual(anchorOf(1));
      });
    });

    describe("redaction", () => {
      const redact = (storage: LedgerStorage, redactions: Batch["redactions"] & object): Promise<boolean> =>
        storage.commit(NO_READS, ({ head }) => batchOf(head.size, 1, { redactions }));

      check(
        "takes body and salts and leaves the entry; the id is gone and remembered as erased",
        async ({ storage }) => {
          await storage.create(genesis);
          await storage.commit(NO_READS, () => batchOf(1, 2, { ids: [{ id: "a", index: 1 }] }));
          await redact(storage, [{ index: 1, disclosure: null, id: "a", erasedId: erasedIdOf(1) }]);
          const erased = { ...entryOf(1), body: null, salts: null };
          expect(await storage.readEntries(1, 3)).toEqual([erased, entryOf(2)]);
          expect(await storage.findById("a")).toBe(undefined);
          await withSnapshot(storage, async (snapshot) => {
            expect(await snapshot.readId("a")).toBe(undefined);
            const { ids, erasedIds } = await snapshot.sideTables();
            expect({ ids, erasedIds }).toEqual({ ids: 0, erasedIds: [erasedIdOf(1)] });
            const [raw] = await readAllRaw(snapshot, 1, 2);
            expect([raw?.body, raw?.salts, raw?.disclosure]).toEqual([null, null, null]);
          });
        },
      );

      check("keeps a disclosure when there is one, and replaces or erases it later", async ({ storage }) => {
        await fill(storage, 4);
        const stored = async (): Promise<readonly (string | null)[]> =>
          (await storage.readEntries(0, 4)).map(({ disclosure }) => disclosure);
        await redact(storage, [{ index: 1, disclosure: "first é", id: null, erasedId: null }]);
        await redact(storage, [{ index: 2, disclosure: "second", id: null, erasedId: null }]);
        expect(await stored()).toEqual([null, "first é", "second", null]);
        await redact(storage, [
          { index: 1, disclosure: "less", id: null, erasedId: null },
          { index: 2, disclosure: null, id: null, erasedId: null },
        ]);
        expect(await stored()).toEqual([null, "less", null, null]);
        const raw = await withSnapshot(storage, (snapshot) => readAllRaw(snapshot, 0, 4));
        expect(raw.map(({ body }) => body === null)).toEqual([false, true, true, false]);
        expect(raw.map(({ disclosure }) => disclosure && new TextDecoder().decode(disclosure))).toEqual([
          null,
          "less",
          null,
          null,
        ]);
      });

      check(
        "of an entry or id that is not stored is invariant-broken, and nothing of the batch is written",
        async ({ storage }) => {
          await fill(storage, 3);
          const good = { index: 1, disclosure: null, id: null, erasedId: null };
          for (const bad of [
            { index: 3, disclosure: null, id: null, erasedId: null },
            { index: 2, disclosure: null, id: "nobody's", erasedId: null },
          ]) {
            expect(await outcomeOf(redact(storage, [good, bad]))).toBe("invariant-broken");
          }
          expect(await storage.readEntries(0, 10)).toEqual(batchOf(0, 3).entries);
        },
      );
    });

    describe("purge", () => {
      const secret = "correct horse battery staple";
      const erase = async (storage: LedgerStorage): Promise<void> => {
        await storage.create(genesis);
        await storage.commit(NO_READS, () => ({
          ...batchOf(1, 1, { ids: [{ id: `id of ${secret}`, index: 1 }] }),
          entries: [entryOf(1, `${secret} ${"and so on ".repeat(2_000)}${secret}`)],
        }));
      };
      const redaction = (storage: LedgerStorage): Promise<boolean> =>
        storage.commit(NO_READS, () =>
          batchOf(2, 1, {
            controls: [2],
            redactions: [{ index: 1, disclosure: null, id: `id of ${secret}`, erasedId: erasedIdOf(1) }],
            purge: 2,
          }),
        );
      const purges = (storage: LedgerStorage): Promise<readonly number[]> =>
        withSnapshot(storage, async (snapshot) => (await snapshot.sideTables()).purges);

      check("has nothing to do where nothing was erased", async ({ storage }) => {
        await fill(storage, 3);
        expect(await storage.purge()).toBe("done");
      });

      check("removes erased bytes from every file and log", async ({ storage, readBytes }) => {
        await erase(storage);
        if (readBytes !== undefined) expect(latin1(await readBytes()).includes(secret)).toBe(true);
        await redaction(storage);
        expect(await purges(storage)).toEqual([2]);
        expect(await storage.purge()).toBe("done");
        expect(await purges(storage)).toEqual([]);
        if (readBytes !== undefined) expect(latin1(await readBytes()).includes(secret)).toBe(false);
        expect((await storage.readEntries(1, 2))[0]?.body).toBe(null);
      });

      check("is pending while a reader holds the bytes back, and done afterwards", async ({ storage, readBytes }) => {
        await erase(storage);
        const reader = await storage.snapshot();
        await redaction(storage);
        expect(await storage.purge()).toBe("pending");
        expect(await purges(storage)).toEqual([2]);
        const [held] = await readAllRaw(reader, 1, 2);
        expect(latin1(held?.body ?? new Uint8Array()).startsWith(secret)).toBe(true);
        await reader.close();
        expect(await storage.purge()).toBe("done");
        expect(await purges(storage)).toEqual([]);
        if (readBytes !== undefined) expect(latin1(await readBytes()).includes(secret)).toBe(false);
      });
    });

    describe("rebuildDerived", () => {
      const rebuilt = (): Batch[] => [
        batchOf(0, 0, {
          controls: [0],
          ids: [{ id: "a", index: 1 }],
          tiles: [{ level: 0, index: 0, hashes: bytesOf(5, 32 * TILE_WIDTH) }],
        }),
        batchOf(0, 0, { controls: [2], filters: [{ block: 1, bits: bytesOf(6, 64) }] }),
      ];
      const prepare = async (storage: LedgerStorage): Promise<void> => {
        await fill(storage, 4);
        await storage.commit(NO_READS, () =>
          batchOf(4, 1, {
            controls: [4],
            ids: [{ id: "wrong", index: 4 }],
            tiles: [{ level: 0, index: 1, hashes: bytesOf(1, 32 * TILE_WIDTH) }],
            filters: [{ block: 0, bits: bytesOf(2, 64) }],
          }),
        );
        await storage.putCheckpoint({ size: 5, note: "kept" });
      };

      check("replaces tiles, filters, ids and controls, and nothing else", async ({ storage }) => {
        await prepare(storage);
        await storage.rebuildDerived(rebuilt());
        expect(await controlsOf(storage)).toEqual([0, 2]);
        expect(await storage.findById("wrong")).toBe(undefined);
        expect(await storage.findById("a")).toEqual(entryOf(1));
        expect(await storage.readTile(0, 1)).toBe(undefined);
        expect(await storage.readTile(0, 0)).toEqual(bytesOf(5, 32 * TILE_WIDTH));
        expect(await storage.readFilters(0, 9)).toEqual([{ block: 1, bits: bytesOf(6, 64) }]);
        expect(await storage.readEntries(0, 9)).toEqual(batchOf(0, 5).entries);
        expect(await storage.latestCheckpoint()).toEqual({ size: 5, note: "kept" });
        expect(await appendOne(storage)).toBe(true);
      });

      check("reads batches that come over time, while the ledger is read", async ({ storage }) => {
        await prepare(storage);
        await storage.rebuildDerived(
          (async function* () {
            for (const batch of rebuilt()) {
              expect((await storage.readEntries(0, 9)).length).toBe(5);
              yield batch;
            }
          })(),
        );
        expect(await controlsOf(storage)).toEqual([0, 2]);
      });

      check("is atomic: when the rebuild fails everything is as before", async ({ storage }) => {
        await prepare(storage);
        const failure = new Error("unreadable entry");
        const failed = storage.rebuildDerived(
          (function* () {
            yield* rebuilt();
            throw failure;
          })(),
        );
        expect(await failed.catch((error: unknown) => error)).toBe(failure);
        expect(await controlsOf(storage)).toEqual([0, 4]);
        expect((await storage.findById("wrong"))?.index).toBe(4);
        expect(await storage.readTile(0, 1)).toEqual(bytesOf(1, 32 * TILE_WIDTH));
        expect(await appendOne(storage)).toBe(true);
      });
    });

    describe("watch", () => {
      check("resolves at once when the entry is there", async ({ storage }) => {
        await fill(storage, 3);
        expect(await storage.watch(2)).toBe(undefined);
      });

      check("resolves after a commit that adds it", async ({ storage }) => {
        await fill(storage, 3);
        let seen = false;
        const watching = storage.watch(3).then(() => {
          seen = true;
        });
        await new Promise((resolve) => setTimeout(resolve, 10));
        expect(seen).toBe(false);
        await appendOne(storage);
        await watching;
        expect(seen).toBe(true);
      });

      check("rejects with the signal's reason on abort, before or while it waits", async ({ storage }) => {
        await fill(storage, 3);
        const reason = new Error("enough");
        expect(await storage.watch(3, AbortSignal.abort(reason)).catch((error: unknown) => error)).toBe(reason);
        const controller = new AbortController();
        const watching = storage.watch(3, controller.signal).catch((error: unknown) => error);
        controller.abort(reason);
        expect(await watching).toBe(reason);
      });

      checkShared("sees an entry of another handle", async ({ storage, another }) => {
        await fill(storage, 3);
        const other = await another();
        const watching = storage.watch(3);
        await appendOne(other);
        expect(await watching).toBe(undefined);
      });
    });

    describe("snapshot", () => {
      check("does not change, whatever is appended, redacted or checkpointed", async ({ storage }) => {
        await fill(storage, 700);
        const snapshot = await storage.snapshot();
        await storage.commit(NO_READS, () =>
          batchOf(700, 5, {
            controls: [702],
            ids: [{ id: "a", index: 701 }],
            filters: [{ block: 0, bits: bytesOf(1, 64) }],
            redactions: [{ index: 9, disclosure: null, id: null, erasedId: null }],
          }),
        );
        await storage.putCheckpoint({ size: 705, note: "later" });
        expect(snapshot.head).toEqual({ size: 700, lastEntry: entryOf(699).entry });
        const rows = await readAllRaw(snapshot, 0, 10_000);
        expect(rows.map(({ index }) => index)).toEqual(Array.from({ length: 700 }, (_, i) => i));
        expect(rows[9]?.salts).toEqual(bytesOf(9, 16));
        expect(await snapshot.readId("a")).toBe(undefined);
        expect(await snapshot.readFilter(0)).toBe(undefined);
        const { controls, checkpoints, filters, ids } = await snapshot.sideTables();
        expect({ controls, checkpoints, filters, ids }).toEqual({ controls: [0], checkpoints: [], filters: 0, ids: 0 });
        await snapshot.close();
        expect(await sizeOf(storage)).toBe(705);
      });

      check("reads raw entries of a range in pages, ascending", async ({ storage }) => {
        await fill(storage, 1_500);
        await withSnapshot(storage, async (snapshot) => {
          const sizes: number[] = [];
          const indexes: number[] = [];
          for await (const page of snapshot.readRaw(3, 1_400)) {
            sizes.push(page.length);
            indexes.push(...page.map(({ index }) => index));
          }
          expect(indexes).toEqual(Array.from({ length: 1_397 }, (_, i) => 3 + i));
          expect(sizes.length > 1 && Math.max(...sizes) <= READ_ENTRIES_MAX).toBe(true);
          expect(await readAllRaw(snapshot, 1_500, 1_600)).toEqual([]);
        });
      });

      check("can be read twice, and by two readers at once", async ({ storage }) => {
        await fill(storage, 1_200);
        await withSnapshot(storage, async (snapshot) => {
          const [a, b] = await Promise.all([readAllRaw(snapshot, 0, 1_200), readAllRaw(snapshot, 600, 1_200)]);
          expect([a.length, b.length, b[0]?.index]).toEqual([1_200, 600, 600]);
          expect((await readAllRaw(snapshot, 0, 1_200)).length).toBe(1_200);
        });
      });

      check("blocks no writer, and no writer blocks it", async ({ storage }) => {
        await fill(storage, 1_200);
        await withSnapshot(storage, async (snapshot) => {
          let read = 0;
          for await (const page of snapshot.readRaw(0, 1_200)) {
            read += page.length;
            expect(await appendOne(storage)).toBe(true);
          }
          expect(read).toBe(1_200);
        });
      });

      check("counts the side tables and finds nothing odd in them", async ({ storage }) => {
        await fill(storage, 600);
        await storage.commit(NO_READS, () =>
          batchOf(600, 2, {
            controls: [601],
            ids: [
              { id: "a", index: 600 },
              { id: "b", index: 601 },
            ],
            tiles: [0, 1].map((index) => ({ level: 0, index, hashes: bytesOf(index, 32 * TILE_WIDTH) })),
            filters: [{ block: 1, bits: bytesOf(1, 64) }],
          }),
        );
        await storage.putCheckpoint({ size: 602, note: "b" });
        await storage.putCheckpoint({ size: 300, note: "a" });
        expect(await withSnapshot(storage, (snapshot) => snapshot.sideTables())).toEqual({
          tiles: 2,
          filters: 1,
          ids: 2,
          controls: [0, 601],
          erasedIds: [],
          checkpoints: [
            { size: 300, note: "a" },
            { size: 602, note: "b" },
          ],
          cosigned: [],
          anchors: [],
          purges: [],
          anomalies: [],
        });
      });

      check("outlives the handle that it came from, and closes twice", async ({ storage }) => {
        await fill(storage, 3);
        const snapshot = await storage.snapshot();
        await storage.close();
        expect((await readAllRaw(snapshot, 0, 3)).length).toBe(3);
        await snapshot.close();
        await snapshot.close();
      });
    });

    describe("close", () => {
      check("is idempotent, and afterwards everything is refused with closed", async ({ storage }) => {
        await fill(storage, 3);
        await Promise.all([storage.close(), storage.close()]);
        await storage.close();
        const calls: readonly (() => Promise<unknown>)[] = [
          () => storage.create(genesis),
          () => storage.head(),
          () => appendOne(storage),
          () => storage.readEntries(0, 1),
          () => storage.readTile(0, 0),
          () => storage.readFilters(0, 1),
          () => storage.readFilterBlocks(0, 1),
          () => storage.readAnchor(0),
          () => storage.findById("a"),
          () => storage.readControls(),
          () => storage.putCheckpoint({ size: 1, note: "a" }),
          () => storage.latestCheckpoint(),
          () => storage.putCosigned({ size: 1, note: "a" }),
          () => storage.latestCosigned(),
          () => storage.rebuildDerived([]),
          () => storage.watch(0),
          () => storage.purge(),
          () => storage.snapshot(),
        ];
        for (const call of calls) expect(await outcomeOf(call())).toBe("closed");
      });

      check("lets commits under way finish first", async ({ storage }) => {
        await storage.create(genesis);
        const order: string[] = [];
        const commits = [1, 2, 3].map(() => appendOne(storage).then(() => order.push("commit")));
        const closing = storage.close().then(() => order.push("close"));
        await Promise.all([...commits, closing]);
        expect(order).toEqual(["commit", "commit", "commit", "close"]);
      });

      check("ends a watch with closed", async ({ storage }) => {
        await fill(storage, 3);
        const watching = outcomeOf(storage.watch(3));
        await storage.close();
        expect(await watching).toBe("closed");
      });
    });
  });
}
