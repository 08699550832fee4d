import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseCheckpoint } from "../core/checkpoint.ts";
import { encodeHex } from "../core/encoding.ts";
import { isTallystickError } from "../core/errors.ts";
import type { Event } from "../core/event.ts";
import { createRange, hashLeaf } from "../core/merkle.ts";
import { formatPolicy } from "../core/policy.ts";
import { exitCodeOf } from "../core/report.ts";
import { logSignerFromSeed } from "../keys/index.ts";
import { memoryLockStore } from "../storage/lock-store/memory.ts";
import { openMemoryStorage } from "../storage/memory.ts";
import { type BulkFate, InlineBulk } from "../testing/inline-bulk.ts";
import { simulatedClock } from "../testing/simulated-clock.ts";
import { genesisBatch } from "./genesis.ts";
import { LedgerEngine } from "./ledger.ts";
import { DEFAULT_LIMITS } from "./limits.ts";
import { seededRandom } from "./seeded-random.ts";
import type { Signer } from "./signer.ts";
import { verifyLedger } from "./verify-ledger.ts";

/** What a ledger does, said as simply as possible: no hashes, no queue, no store. */
interface ModelEntry {
  readonly action: string;
  readonly actor: string | undefined;
  readonly payload: unknown;
  readonly scheme: "event" | "fields" | "control";
  erased: boolean;
  noteErased: boolean;
}

class Model {
  readonly entries: ModelEntry[] = [
    { action: "ledger.genesis", actor: undefined, payload: null, scheme: "control", erased: false, noteErased: false },
  ];
  /** Null content: erased in whole or in part. */
  readonly ids = new Map<string, { readonly index: number; content: string | null }>();
  readonly holds = new Map<string, readonly [number, number]>();
  readonly released = new Set<string>();

  /** Index of each event, or the code that refuses them all. */
  append(events: readonly Event[], scheme: "event" | "fields"): number[] | "id-conflict" {
    const fresh = new Map<string, string>();
    for (const event of events) {
      if (event.id === undefined) continue;
      const content = JSON.stringify(event);
      const known = this.ids.get(event.id);
      if (known !== undefined && known.content !== content) return "id-conflict";
      if (fresh.has(event.id) && fresh.get(event.id) !== content) return "id-conflict";
      fresh.set(event.id, content);
    }
    return events.map((event) => this.place(event, scheme));
  }

  private place(event: Event, scheme: "event" | "fields"): number {
    const known = event.id === undefined ? undefined : this.ids.get(event.id);
    if (known !== undefined) return known.index;
    const { action, payload } = event;
    this.entries.push({ action, actor: event.actor as string, payload, scheme, erased: false, noteErased: false });
    const index = this.entries.length - 1;
    if (event.id !== undefined) this.ids.set(event.id, { index, content: JSON.stringify(event) });
    return index;
  }

  control(action: string): number {
    const facts = { actor: undefined, payload: null, scheme: "control", erased: false, noteErased: false } as const;
    this.entries.push({ action, ...facts });
    return this.entries.length - 1;
  }

  erase(index: number, field: boolean): number | "not-erasable" | "held" {
    const entry = this.entries[index]!;
    if (entry.scheme === "control") return "not-erasable";
    for (const [first, last] of this.holds.values()) if (first <= index && index <= last) return "held";
    if (entry.erased) return "not-erasable";
    if (field && (entry.scheme !== "fields" || entry.noteErased)) return "not-erasable";
    if (field) entry.noteErased = true;
    else entry.erased = true;
    for (const known of this.ids.values()) if (known.index === index) known.content = null;
    return this.control("ledger.erasure");
  }

  find(actor: string): number[] {
    return this.entries.flatMap((entry, i) => (entry.actor === actor && !entry.erased ? [i] : []));
  }
}

const ORIGIN = "example.com/model";
const keyOf = (i: number): Signer => logSignerFromSeed("ed25519", new Uint8Array(32).fill(i + 1));

/** The engine under test, with everything that outlives a process, and a record of every signature that was ever made. */
class System {
  readonly clock = simulatedClock();
  readonly storage = openMemoryStorage();
  private readonly lockStore = memoryLockStore();
  private readonly random = seededRandom("model");
  /** Size and root of everything that was signed as a checkpoint, released or not. */
  readonly signed: { readonly size: number; readonly root: string }[] = [];
  readonly notes: string[] = [];
  private keys = 1;
  /** Where there is a second thread, what becomes of its commits, in turn. */
  private readonly fates: readonly BulkFate[];
  bulk: InlineBulk | undefined;
  ledger!: LedgerEngine;

  constructor(fates: readonly BulkFate[]) {
    this.fates = fates;
  }

  async create(): Promise<void> {
    const lockStoreId = "0".repeat(32);
    await this.lockStore.create({ origin: ORIGIN, lockStoreId });
    const options = { origin: ORIGIN, lockStoreId, commitmentHash: "sha256", scheme: "event" } as const;
    const { clock, random } = this;
    const more = { signers: [keyOf(0)], requireSignature: false, eventBytes: DEFAULT_LIMITS.eventBytes };
    await this.storage.create(() => genesisBatch({ ...options, ...more }, { clock, random }));
    await this.open();
  }

  /** The process before is gone without a word; its timers may still fire, as a zombie's would. */
  async open(): Promise<void> {
    const { fates, storage } = this;
    if (fates.length > 0)
      this.bulk = new InlineBulk(storage, { entriesLeast: 2, fateOf: (number) => fates[number % fates.length]! });
    this.ledger = await LedgerEngine.open({
      storage,
      bulk: this.bulk,
      lockStore: this.lockStore,
      signers: Array.from({ length: this.keys }, (_, i) => this.recorded(keyOf(i))),
      problem: null,
      clock: this.clock,
      random: this.random,
      limits: { ...DEFAULT_LIMITS, batchEntriesMax: 7 },
      readerState: null,
      readOnly: false,
    });
  }

  async rotate(): Promise<number> {
    const { index } = await this.ledger.keys.rotate(this.recorded(keyOf(this.keys)));
    this.keys += 1;
    return index;
  }

  private recorded(signer: Signer): Signer {
    return {
      ...signer,
      sign: async (message) => {
        const text = new TextDecoder().decode(message);
        if (text.startsWith(`${ORIGIN}\n`)) {
          const { size, root } = parseCheckpoint(text);
          this.signed.push({ size, root: encodeHex(root) });
        }
        return signer.sign(message);
      },
    };
  }
}

type Step = (model: Model, system: System) => Promise<void>;

async function outcome<T>(work: Promise<T>): Promise<T | string> {
  try {
    return await work;
  } catch (error) {
    if (!isTallystickError(error)) throw error;
    return error.code;
  }
}

const event = fc.record(
  {
    action: fc.constantFrom("user.login", "user.logout", "order.placed"),
    actor: fc.constantFrom("a", "b", "c"),
    id: fc.constantFrom("i0", "i1", "i2", "i3"),
    payload: fc.record({ n: fc.nat(2), note: fc.constant("x") }),
  },
  { requiredKeys: ["action", "actor", "payload"] },
) as fc.Arbitrary<Event>;
const scheme = fc.constantFrom("event" as const, "fields" as const);

const append = fc.tuple(fc.array(event, { minLength: 1, maxLength: 12 }), scheme).map(
  ([events, how]): Step =>
    async (model, { ledger }) => {
      const results = await outcome(ledger.appendMany(events, { scheme: how }));
      const expected = model.append(events, how);
      expect(typeof results === "string" ? results : results.map(({ index }) => index)).toEqual(expected);
    },
);

const appendAtOnce = fc.tuple(fc.array(event, { minLength: 1, maxLength: 12 }), scheme).map(
  ([events, how]): Step =>
    async (model, { ledger }) => {
      const results = await Promise.all(events.map((one) => outcome(ledger.append(one, { scheme: how }))));
      for (const [i, result] of results.entries()) {
        const expected = model.append([events[i]!], how);
        expect(typeof result === "string" ? result : [result.index]).toEqual(expected);
      }
    },
);

/** Calls of one tick, by one event and by several: they take their places in the order of the calls. */
const appendMixed = fc.array(fc.array(event, { minLength: 1, maxLength: 5 }), { minLength: 1, maxLength: 5 }).map(
  (calls): Step =>
    async (model, { ledger }) => {
      const append = async (events: readonly Event[]) =>
        events.length === 1 ? [await ledger.append(events[0]!)] : ledger.appendMany(events);
      const results = await Promise.all(calls.map((events) => outcome(append(events))));
      for (const [i, result] of results.entries()) {
        const expected = model.append(calls[i]!, "event");
        expect(typeof result === "string" ? result : result.map(({ index }) => index)).toEqual(expected);
      }
    },
);

const appendStream = fc.tuple(fc.array(event, { minLength: 1, maxLength: 12 }), scheme).map(
  ([events, how]): Step =>
    async (model, { ledger }) => {
      const seen: number[] = [];
      const run = async (): Promise<void> => {
        for await (const { index } of ledger.appendAll(events, { scheme: how })) seen.push(index);
      };
      const code = await outcome(run());
      const expected: number[] = [];
      for (const one of events) {
        const placed = model.append([one], how);
        if (placed === "id-conflict") {
          expect(code).toBe("id-conflict");
          break;
        }
        expected.push(...placed);
      }
      expect(seen).toEqual(expected);
    },
);

const erase = fc.tuple(fc.nat(), fc.boolean()).map(
  ([at, field]): Step =>
    async (model, { ledger }) => {
      const index = at % model.entries.length;
      const target = field ? { index, fields: ["payload.note"] } : index;
      const result = await outcome(ledger.erase(target, { reason: "r" }));
      expect(typeof result === "string" ? result : result.index).toEqual(model.erase(index, field));
    },
);

const hold = fc.tuple(fc.nat(), fc.nat(5), fc.constantFrom("h0", "h1")).map(
  ([at, length, name]): Step =>
    async (model, { ledger }) => {
      const first = at % model.entries.length;
      if (model.released.has(name)) {
        // A name is used once: it is neither released nor placed again.
        expect(await outcome(ledger.keys.releaseHold(name, "r"))).toBe("held");
        const again = ledger.keys.placeHold(name, { first, last: first, reason: "r" });
        expect(await outcome(again)).toBe("already-exists");
        return;
      }
      if (model.holds.has(name)) {
        const { index } = await ledger.keys.releaseHold(name, "r");
        model.holds.delete(name);
        model.released.add(name);
        expect(index).toBe(model.control("ledger.hold.released"));
        return;
      }
      const { index } = await ledger.keys.placeHold(name, { first, last: first + length, reason: "r" });
      model.holds.set(name, [first, first + length]);
      expect(index).toBe(model.control("ledger.hold.placed"));
    },
);

const search = fc.tuple(fc.constantFrom("a", "b", "c"), fc.boolean()).map(
  ([actor, descending]): Step =>
    async (model, { ledger }) => {
      const found: number[] = [];
      for await (const { index } of ledger.query({ actor, order: descending ? "descending" : "ascending" }))
        found.push(index);
      const expected = model.find(actor);
      expect(found).toEqual(descending ? expected.reverse() : expected);
    },
);

const findById = fc.constantFrom("i0", "i1", "i2", "i3").map(
  (id): Step =>
    async (model, { ledger }) => {
      const known = model.ids.get(id);
      const entry = known === undefined ? undefined : model.entries[known.index];
      expect((await ledger.findById(id))?.index).toBe(entry?.erased === false ? known?.index : undefined);
    },
);

const steps: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: append },
  { weight: 4, arbitrary: appendAtOnce },
  { weight: 2, arbitrary: appendStream },
  { weight: 2, arbitrary: appendMixed },
  { weight: 3, arbitrary: erase },
  { weight: 2, arbitrary: hold },
  { weight: 3, arbitrary: search },
  { weight: 2, arbitrary: findById },
  {
    weight: 2,
    arbitrary: fc.integer({ min: -100_000_000, max: 100_000_000 }).map(
      (ms): Step =>
        async (_, s) =>
          s.clock.step(ms),
    ),
  },
  {
    weight: 2,
    arbitrary: fc.nat(3_000).map(
      (ms): Step =>
        async (_, { clock }) => {
          clock.advance(ms);
          // What the timers began goes on by itself.
          for (let i = 0; i < 5; i++) await new Promise(setImmediate);
        },
    ),
  },
  { weight: 2, arbitrary: fc.constant<Step>(async (_, s) => void s.notes.push(await s.ledger.checkpoint())) },
  { weight: 2, arbitrary: fc.constant<Step>((_, s) => s.open()) },
  { weight: 1, arbitrary: fc.constant<Step>(async (_, s) => void (await s.ledger.reindex())) },
  {
    weight: 1,
    arbitrary: fc.constant<Step>(async (model, system) =>
      expect(await system.rotate()).toBe(model.control("ledger.key.rotated")),
    ),
  },
);

async function check(model: Model, system: System): Promise<void> {
  const { ledger, storage } = system;
  // A reader who pinned the first key follows every rotation.
  const pinned = formatPolicy({ logKeys: [ledger.state.logKeys[0]!.key], genesis: ledger.genesis });
  expect(ledger.size).toBe(model.entries.length);
  const roots = new Map<number, string>();
  const range = createRange();
  let before = "";
  for (const [index, expected] of model.entries.entries()) {
    const entry = await ledger.read(index);
    expect(entry.scheme).toBe(expected.scheme);
    expect(entry.time >= before).toBe(true);
    before = entry.time;
    if (expected.erased) expect(entry.event).toBeNull();
    else {
      expect(entry.event?.action).toBe(expected.action);
      if (expected.scheme !== "control") {
        const payload = expected.noteErased ? { n: (expected.payload as { readonly n: number }).n } : expected.payload;
        expect(entry.event?.payload).toEqual(payload);
      }
    }
    const [stored] = await storage.readEntries(index, index + 1);
    range.append(hashLeaf(new TextEncoder().encode(stored!.entry)));
    roots.set(index + 1, encodeHex(range.root()));
  }
  // Everything that was ever signed, released or not, is one history: that of the ledger as it is.
  for (const { size, root } of system.signed) expect(root).toBe(roots.get(size));
  const last = await ledger.checkpoint();
  const snapshot = await storage.snapshot();
  for (const note of [...new Set([...system.notes, last])]) {
    const report = await verifyLedger(snapshot, { policy: pinned, expect: note });
    expect(report.findings).toEqual([]);
    expect(exitCodeOf(report)).toBe(0);
  }
  await snapshot.close();
}

describe("the engine against a model of it", () => {
  it.each<[seed: number, thread: string, fates: readonly BulkFate[]]>([
    [1, "no second thread", []],
    [2, "no second thread", []],
    [3, "a second thread", ["won"]],
    [4, "a second thread", ["won"]],
    [5, "a second thread that loses", ["won", "lost", "lost"]],
  ])("does the same whatever is done to it (seed %i, %s)", async (seed, _thread, fates) => {
    let drafts = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(steps, { minLength: 1, maxLength: 40 }), async (all) => {
        const model = new Model();
        const system = new System(fates);
        await system.create();
        for (const step of all) await step(model, system);
        await check(model, system);
        drafts += system.bulk?.commits.filter(({ fate }) => fate === "won").length ?? 0;
      }),
      { seed, numRuns: 120 },
    );
    expect(drafts > 0).toBe(fates.length > 0);
  });
});
