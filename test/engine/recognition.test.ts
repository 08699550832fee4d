import { beforeAll, describe, expect, it } from "vitest";
import { type EntryBytes, EntryVerifier } from "../../src/core/entry-verifier.ts";
import type { Event } from "../../src/core/event.ts";
import type { LedgerState } from "../../src/core/ledger-state.ts";
import type { Finding, FindingCode } from "../../src/core/report.ts";
import { loadState } from "../../src/ledger/control-log.ts";
import { genesisBatch } from "../../src/ledger/genesis.ts";
import { LedgerEngine } from "../../src/ledger/ledger.ts";
import { DEFAULT_LIMITS } from "../../src/ledger/limits.ts";
import { seededRandom } from "../../src/ledger/seeded-random.ts";
import { memoryLockStore } from "../../src/storage/lock-store/memory.ts";
import { openMemoryStorage } from "../../src/storage/memory.ts";
import { simulatedClock } from "../../src/testing/simulated-clock.ts";
import { LOG_KEY, ORIGIN } from "./world.ts";

/**
 * Verification recognizes ordinary entries by their bytes and reads all others. An entry that begins a range is always read, because
 * nothing before it says what must come: so each changed entry is verified in its place and alone, and both must find the same.
 */
const EVENTS: readonly Event[] = [
  { action: "user.login", actor: "alice", id: "e-1", outcome: "success", type: "user" },
  {
    action: "invoice.pay",
    actor: { id: "u-1", name: "Jörg", type: "user" },
    context: { ip: "203.0.113.7", port: 80 },
    metadata: { ratio: 0.5 },
    occurredAt: "2026-02-28T23:59:59.125Z",
    payload: { flags: [true, null], note: 'a "note"\n' },
    source: { counter: 3, id: "s" },
    targets: [{ id: "t-1", type: "invoice" }],
  },
  { action: "a", payload: [] },
];

/** What only the entry before can show: where an entry stands alone, it is the next one's or the caller's to say. */
const LINKS: readonly FindingCode[] = ["previous-mismatch", "time-backwards"];

let state: LedgerState;
let rows: readonly EntryBytes[];

beforeAll(async () => {
  const storage = openMemoryStorage();
  const lockStore = memoryLockStore();
  const [clock, random] = [simulatedClock(), seededRandom("recognition")];
  const lockStoreId = "0".repeat(32);
  await lockStore.create({ origin: ORIGIN, lockStoreId });
  const { eventBytes } = DEFAULT_LIMITS;
  const made = { commitmentHash: "sha256", scheme: "event", requireSignature: false, eventBytes } as const;
  await storage.create(() =>
    genesisBatch({ origin: ORIGIN, signers: [LOG_KEY], lockStoreId, ...made }, { clock, random }),
  );
  const parts = { storage, lockStore, signers: [LOG_KEY], problem: null, clock, random, limits: DEFAULT_LIMITS };
  const ledger = await LedgerEngine.open({ ...parts, readerState: null, readOnly: false });
  for (const scheme of ["event", "fields"] as const) {
    // Where the scheme becomes another than before, the entry is read.
    for (const [i, event] of [{ action: "first" }, ...EVENTS].entries()) {
      clock.advance(i % 2);
      await ledger.append(event.id === undefined ? event : { ...event, id: `${event.id}-${scheme}` }, { scheme });
    }
  }
  const loaded = await loadState(storage);
  state = loaded.state as LedgerState;
  const snapshot = await storage.snapshot();
  const read: EntryBytes[] = [];
  for await (const page of snapshot.readRaw(0, 100)) read.push(...page);
  rows = read;
  await ledger.close();
});

async function findingsOf(shown: readonly EntryBytes[]): Promise<{ found: readonly Finding[]; recognized: number[] }> {
  const first = shown[0]!.index;
  const end = shown.at(-1)!.index + 1;
  const verifier = new EntryVerifier({ first, end, state, requireSignature: false, findingsMax: 1_000 });
  const recognized: number[] = [];
  for (const row of shown) if (verifier.add(row)?.outline !== undefined) recognized.push(row.index);
  const { found } = await verifier.finish();
  return { found: found.listed.filter(({ code }) => !LINKS.includes(code)), recognized };
}

describe("an ordinary entry", () => {
  it("is recognized, in both schemes", async () => {
    const { found, recognized } = await findingsOf(rows);
    expect(found).toEqual([]);
    expect(recognized).toEqual([1, 2, 3, 4, 6, 7, 8]);
  });

  it.each(["entry", "body", "salts"] as const)(
    "of which a byte of the %s was changed gives the findings that reading it gives",
    async (column) => {
      let kept = 0;
      for (const at of [2, 3, 4, 6, 7, 8]) {
        const row = rows[at]!;
        const bytes = row[column]!;
        for (let i = 0; i <= bytes.length; i++) {
          const unit = bytes[i] ?? 0;
          for (const replacement of [[unit ^ 1], [unit ^ 0x80], [0x22], [0x30], [0xff], [], [unit, unit]]) {
            const changed = Uint8Array.from([...bytes.subarray(0, i), ...replacement, ...bytes.subarray(i + 1)]);
            const candidate = { ...row, [column]: changed };
            const inPlace = await findingsOf([rows[at - 1]!, candidate]);
            const before = await findingsOf([...rows.slice(at < 6 ? 1 : 5, at), candidate]);
            const alone = await findingsOf([candidate]);
            expect(before.found).toEqual(alone.found);
            expect(inPlace.found).toEqual(alone.found);
            if (before.recognized.includes(at)) kept += 1;
          }
        }
      }
      // A byte replaced by itself, and a time that is merely later.
      expect(kept).toBeGreaterThan(0);
    },
  );

  it("of which a value is missing, or of another type, gives the findings that reading it gives", async () => {
    for (const at of [2, 3, 6, 7]) {
      const row = rows[at]!;
      const disclosure = new Uint8Array(2);
      for (const change of [{ entry: null }, { body: null }, { salts: null }, { disclosure }, { misfit: true }]) {
        const candidate = { ...row, ...change };
        const inPlace = await findingsOf([...rows.slice(at < 6 ? 1 : 5, at), candidate]);
        const alone = await findingsOf([candidate]);
        expect(inPlace.found).toEqual(alone.found);
        expect(inPlace.found.length).toBeGreaterThan(0);
      }
    }
  });
});
