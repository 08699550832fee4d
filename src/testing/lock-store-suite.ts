import type { LockStore } from "../ledger/lock-store.ts";
import { checkWith, outcomeOf, type SuiteTools } from "./suite.ts";

export interface LockStoreUnderTest {
  readonly store: LockStore;
  /** A further handle on the same records, as another process would have it. Absent where a store has one handle only. */
  readonly another?: () => Promise<LockStore>;
  /** True when records outlive every handle. */
  readonly durable: boolean;
  readonly dispose: () => Promise<void>;
}

const ORIGIN = "example.com/log";
const ID = "000102030405060708090a0b0c0d0e0f";
const note = (size: number): string =>
  `${ORIGIN}\n${size}\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n— ${ORIGIN} AAAAAA==\n`;

/**
 * Conformance suite of the LockStore port: one test for each sentence of its doc comments. `make` gives a fresh, empty
 * store each time. Implementations of your own should pass it on the real service.
 */
export function lockStoreSuite(name: string, tools: SuiteTools, make: () => Promise<LockStoreUnderTest>): void {
  const { describe, expect } = tools;
  const check = checkWith(tools, make);

  describe(`lock store: ${name}`, () => {
    check("knows no record of an origin that was never created", async ({ store }) => {
      expect(await store.fetch(ORIGIN)).toBe(undefined);
    });

    check("creates a record without a note", async ({ store }) => {
      await store.create({ origin: ORIGIN, lockStoreId: ID });
      expect(await store.fetch(ORIGIN)).toEqual({ origin: ORIGIN, lockStoreId: ID, note: null });
    });

    check("refuses a second record for an origin and keeps the first", async ({ store }) => {
      await store.create({ origin: ORIGIN, lockStoreId: ID });
      await store.replace(ORIGIN, null, note(1));
      expect(await outcomeOf(store.create({ origin: ORIGIN, lockStoreId: "f".repeat(32) }))).toBe("already-exists");
      expect(await store.fetch(ORIGIN)).toEqual({ origin: ORIGIN, lockStoreId: ID, note: note(1) });
    });

    check("replaces the note when the present one is exactly the expected one", async ({ store }) => {
      await store.create({ origin: ORIGIN, lockStoreId: ID });
      await store.replace(ORIGIN, null, note(1));
      await store.replace(ORIGIN, note(1), note(2));
      expect(await store.fetch(ORIGIN)).toEqual({ origin: ORIGIN, lockStoreId: ID, note: note(2) });
    });

    check("answers lock-moved to any other expectation, and nothing changes", async ({ store }) => {
      await store.create({ origin: ORIGIN, lockStoreId: ID });
      expect(await outcomeOf(store.replace(ORIGIN, note(1), note(2)))).toBe("lock-moved");
      expect(await outcomeOf(store.replace(ORIGIN, "", note(2)))).toBe("lock-moved");
      await store.replace(ORIGIN, null, note(1));
      for (const expected of [null, "", note(2), note(1).toUpperCase(), note(1).trimEnd(), `${note(1)} `]) {
        expect(await outcomeOf(store.replace(ORIGIN, expected, note(3)))).toBe("lock-moved");
      }
      expect((await store.fetch(ORIGIN))?.note).toBe(note(1));
    });

    check("answers not-found when there is no record to replace, and makes none", async ({ store }) => {
      expect(await outcomeOf(store.replace(ORIGIN, null, note(1)))).toBe("not-found");
      expect(await store.fetch(ORIGIN)).toBe(undefined);
    });

    check("keeps origins apart, however odd they are", async ({ store }) => {
      const origins = [
        "a",
        "A",
        "a/",
        "a/b",
        "../a",
        "a%00",
        "'; DROP TABLE lock; --",
        "é",
        "e\u0301",
        "x".repeat(255),
      ];
      for (const origin of origins) await store.create({ origin, lockStoreId: ID });
      for (const [i, origin] of origins.entries()) await store.replace(origin, null, note(i + 1));
      for (const [i, origin] of origins.entries()) {
        expect(await store.fetch(origin)).toEqual({ origin, lockStoreId: ID, note: note(i + 1) });
      }
    });

    check("keeps a long note byte for byte", async ({ store }) => {
      const long = note(7) + `— witness.example.com ${"A".repeat(3240)}\n`.repeat(64);
      await store.create({ origin: ORIGIN, lockStoreId: ID });
      await store.replace(ORIGIN, null, long);
      expect((await store.fetch(ORIGIN))?.note).toBe(long);
    });

    check("gives each round of a race to exactly one of eight writers", async ({ store, another }) => {
      const handles = [store];
      for (let i = 1; i < 8; i++) handles.push(another === undefined ? store : await another());
      await store.create({ origin: ORIGIN, lockStoreId: ID });
      let present: string | null = null;
      for (let round = 0; round < 5; round++) {
        const before: string | null = present;
        const results = await Promise.all(
          handles.map((handle, i) => outcomeOf(handle.replace(ORIGIN, before, note(round * 8 + i + 1)))),
        );
        expect(results.filter((result) => result === "no error").length).toBe(1);
        expect(results.filter((result) => result === "lock-moved").length).toBe(7);
        present = note(round * 8 + results.indexOf("no error") + 1);
        for (const handle of handles) expect((await handle.fetch(ORIGIN))?.note).toBe(present);
      }
      for (const handle of handles.slice(1)) if (handle !== store) await handle.close();
    });

    check("lets one of eight create the record", async ({ store, another }) => {
      const handles = [store];
      for (let i = 1; i < 8; i++) handles.push(another === undefined ? store : await another());
      const ids = handles.map((_, i) => `${i}`.repeat(32));
      const results = await Promise.all(
        handles.map((handle, i) => outcomeOf(handle.create({ origin: ORIGIN, lockStoreId: ids[i]! }))),
      );
      expect(results.filter((result) => result === "already-exists").length).toBe(7);
      expect((await store.fetch(ORIGIN))?.lockStoreId).toBe(ids[results.indexOf("no error")]);
      for (const handle of handles.slice(1)) if (handle !== store) await handle.close();
    });

    check("shows every handle what a replace wrote, and keeps it when all are closed", async (under) => {
      const { store, another, durable } = under;
      if (another === undefined) return;
      await store.create({ origin: ORIGIN, lockStoreId: ID });
      const second = await another();
      await store.replace(ORIGIN, null, note(1));
      expect((await second.fetch(ORIGIN))?.note).toBe(note(1));
      await second.replace(ORIGIN, note(1), note(2));
      expect((await store.fetch(ORIGIN))?.note).toBe(note(2));
      await store.close();
      await second.close();
      if (!durable) return;
      const third = await another();
      expect(await third.fetch(ORIGIN)).toEqual({ origin: ORIGIN, lockStoreId: ID, note: note(2) });
      await third.close();
    });

    check("closes more than once and then answers closed", async ({ store }) => {
      await store.create({ origin: ORIGIN, lockStoreId: ID });
      await store.close();
      await store.close();
      expect(await outcomeOf(store.fetch(ORIGIN))).toBe("closed");
      expect(await outcomeOf(store.create({ origin: "other", lockStoreId: ID }))).toBe("closed");
      expect(await outcomeOf(store.replace(ORIGIN, null, note(1)))).toBe("closed");
    });
  });
}
