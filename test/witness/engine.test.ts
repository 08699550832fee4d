import { copyFileSync, cpSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { formatCheckpoint, parseCheckpoint } from "../../src/core/checkpoint.ts";
import { encodeUtf8 } from "../../src/core/encoding.ts";
import { sha256 } from "../../src/core/hash.ts";
import { formatNote, formatVerifierKey, parseNote, parseVerifierKey, signNote } from "../../src/core/note.ts";
import { formatPolicy, parsePolicy } from "../../src/core/policy.ts";
import { generateLogKey, logSignerFromSeed } from "../../src/keys/index.ts";
import type { LedgerEngine } from "../../src/ledger/ledger.ts";
import type { Signer } from "../../src/ledger/signer.ts";
import type { Witness } from "../../src/ledger/witness.ts";
import { Ledger, type OpenOptions, recover } from "../../src/open.ts";
import { sqliteLockStore } from "../../src/storage/lock-store/sqlite.ts";
import { loadSqliteDriver } from "../../src/storage/sqlite-driver.ts";
import { httpWitness } from "../../src/witness/client.ts";
import { createWitness } from "../../src/witness/server.ts";
import { sqliteWitnessStore, type WitnessStore } from "../../src/witness/witness-store.ts";

const driver = await loadSqliteDriver();
const event = { action: "user.login", actor: "alice" };
const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

/** What stands between the engine and a witness: sees each request, and may answer in the witness's place. */
type Between = (request: Request, pass: () => Promise<Response>) => Promise<Response>;

class TestWitness {
  readonly name: string;
  readonly vkey: string;
  readonly url: string;
  readonly folder: string;
  between: Between = (_, pass) => pass();
  private readonly signer: Signer;
  private readonly policy: string;
  private readonly asked = new Set<Request>();
  store: WitnessStore;

  constructor(name: string, policy: string) {
    this.name = name;
    this.policy = policy;
    this.url = `http://${name}.test`;
    this.signer = logSignerFromSeed("ed25519", sha256(encodeUtf8(name)));
    this.vkey = formatVerifierKey({ name: `${name}.test/witness`, type: 4, publicKey: this.signer.publicKey });
    this.folder = mkdtempSync(join(tmpdir(), "tallystick-witness-"));
    this.store = this.open();
    closing.push(() => {
      this.store.close();
      rmSync(this.folder, { recursive: true });
    });
  }

  /** Forgets everything, as one that was restored from an empty backup. */
  forget(): void {
    this.store.close();
    for (const end of ["", "-wal", "-shm"]) rmSync(join(this.folder, `w.sqlite${end}`), { force: true });
    this.store = this.open();
  }

  client(timeoutMs: number = 2_000): Witness {
    const call = (async (input: string, init: RequestInit) => {
      const request = new Request(input, init);
      // As fetch does: a request that nobody holds may be collected, and then its abort never comes.
      this.asked.add(request);
      return this.between(request, () => this.server().fetch(request));
    }) as typeof fetch;
    return httpWitness({ name: this.name, vkey: this.vkey, url: this.url, fetch: call, timeoutMs });
  }

  private server() {
    const { origin, logKeys } = parsePolicy(this.policy);
    const logs = new Map([[origin, logKeys]]);
    return createWitness({ name: `${this.name}.test/witness`, signer: this.signer, logs, store: this.store });
  }

  private open(): WitnessStore {
    return sqliteWitnessStore({ path: join(this.folder, "w.sqlite"), driver });
  }
}

interface World {
  readonly folder: string;
  readonly path: string;
  readonly witnesses: readonly TestWitness[];
  readonly policy: string;
  open(options?: Partial<OpenOptions>): Promise<LedgerEngine>;
  openAt(path: string, options: Partial<OpenOptions>): Promise<LedgerEngine>;
}

/** A ledger in a file, and three witnesses of which `threshold` make the quorum; 0 asks for none. */
async function makeWorld({
  threshold = 2,
  signer = generateLogKey() as Signer | readonly Signer[],
} = {}): Promise<World> {
  const folder = mkdtempSync(join(tmpdir(), "tallystick-witnessed-"));
  closing.push(() => rmSync(folder, { recursive: true }));
  const path = join(folder, "a.db");
  // Nothing happens by itself.
  const limits = { checkpointEveryMs: 1_000_000, witnessEveryMs: 1_000_000 };
  const base: OpenOptions = { state: join(folder, "state"), signer, limits, notify: () => {} };
  const made = await Ledger.open(path, { ...base, origin: "log.test/a" });
  const first = made.policy();
  await made.close();
  const witnesses = ["w0", "w1", "w2"].map((name) => new TestWitness(name, first));
  const parts = parsePolicy(first);
  const policy = formatPolicy({
    ...parts,
    witnesses: witnesses.map(({ name, vkey, url }) => ({ name, key: parseVerifierKey(vkey), url })),
    ...(threshold === 0 ? {} : { groups: [{ name: "g", threshold, members: ["w0", "w1", "w2"] }], quorum: "g" }),
  });
  const openAt = async (at: string, options: Partial<OpenOptions>): Promise<LedgerEngine> => {
    const clients = witnesses.map((witness) => witness.client());
    const ledger = await Ledger.open(at, { ...base, witnesses: { policy, witnesses: clients }, ...options });
    closing.push(() => ledger.close().catch(() => {}));
    return ledger;
  };
  const open = (options: Partial<OpenOptions> = {}): Promise<LedgerEngine> => openAt(path, options);
  return { folder, path, witnesses, policy, open, openAt };
}

const isGet = (request: Request): boolean => request.method === "GET";
const sizeOf = (note: string): number => parseCheckpoint(parseNote(note).text).size;
const linesOf = (note: string): number => parseNote(note).signatures.length;

/** Never answers; counts who waits. */
function silence(): { readonly between: Between; waiting: number } {
  const state = {
    waiting: 0,
    between: (request: Request) =>
      new Promise<Response>((_, reject) => {
        state.waiting += 1;
        request.signal.addEventListener("abort", () => {
          state.waiting -= 1;
          reject(request.signal.reason);
        });
      }),
  };
  return state;
}

describe("witnesses of a history that a recovery gave up", () => {
  it("do not keep the ledger from opening and signing, say why they cosign nothing, and go on telling of any other", async () => {
    const signer = generateLogKey();
    const world = await makeWorld({ signer });
    const { folder, path, witnesses } = world;
    const keep = (name: string): void => {
      for (const part of ["a.db", "state"])
        cpSync(join(folder, part), join(folder, `${name}-${part}`), { recursive: true });
    };
    const putBack = (name: string): void => {
      for (const part of ["a.db", "state"]) {
        rmSync(join(folder, part), { recursive: true });
        cpSync(join(folder, `${name}-${part}`), join(folder, part), { recursive: true });
      }
    };
    keep("old");
    const ledger = await world.open();
    const { index } = await ledger.append(event);
    await ledger.settled(index, "witnessed");
    await ledger.close();
    putBack("old");
    const refusal = (await world.open().catch((error: unknown) => error)) as { details: { evidence: string } };
    const evidence = readFileSync(refusal.details.evidence, "utf8");
    const state = join(folder, "state");
    await recover(path, { state, signer, reason: "restored", evidence });
    keep("recovered");
    const recovered = await world.open();
    expect(recovered.appendProblem).toBeNull();
    await recovered.append(event);
    await expect(recovered.settled(2, "witnessed")).rejects.toMatchObject({ code: "quorum-not-reached" });
    expect(await recovered.settled(2, "checkpointed")).toBeUndefined();
    for (const { problem } of (await recovered.status()).witnesses)
      expect(problem).toContain("holds the history that a recovery gave up");
    await recovered.close();

    // New witnesses, which then see it rolled back behind what they cosigned.
    for (const witness of witnesses) witness.forget();
    const again = await world.open();
    await again.append(event);
    await again.settled(3, "witnessed");
    await again.close();
    putBack("recovered");
    await expect(world.open()).rejects.toMatchObject({ code: "rolled-back", details: { expected: 4 } });
  });
});

describe("a slow witness", () => {
  it("holds back neither opening nor a quorum of the others, and is cut off at close", async () => {
    const world = await makeWorld();
    const slow = silence();
    const [w0] = world.witnesses;
    if (w0 !== undefined) w0.between = slow.between;
    const ledger = await world.open();
    expect(slow.waiting).toBe(1);
    const { index } = await ledger.append(event);
    await ledger.settled(index, "witnessed");
    expect(slow.waiting).toBe(2);
    expect((await ledger.status()).witnesses.map(({ size }) => size)).toEqual([0, 2, 2]);
    await ledger.close();
    expect(slow.waiting).toBe(0);
  });

  it("is waited for where without it nothing tells what a quorum saw", async () => {
    // One of three is enough here: the one that does not answer may be the only one that cosigned.
    const world = await makeWorld({ threshold: 1 });
    let answer: (() => void) | undefined;
    const [w0] = world.witnesses;
    if (w0 !== undefined)
      w0.between = (_, pass) =>
        new Promise((resolve) => {
          answer = () => resolve(pass());
        });
    let isOpen = false;
    const opening = world.open().then((ledger) => {
      isOpen = true;
      return ledger;
    });
    await expect.poll(() => answer !== undefined).toBe(true);
    expect(isOpen).toBe(false);
    if (w0 !== undefined) w0.between = (_, pass) => pass();
    answer?.();
    await (await opening).close();
  });

  it("still adds its line when it answers after the quorum, beside several log keys", async () => {
    const world = await makeWorld({ signer: [generateLogKey("ed25519"), generateLogKey("ml-dsa-44")] });
    let release = (): void => {};
    const [w0] = world.witnesses;
    const ledger = await world.open();
    if (w0 !== undefined)
      w0.between = async (_, pass) => {
        await new Promise<void>((resolve) => {
          release = resolve;
        });
        return pass();
      };
    const { index } = await ledger.append(event);
    await ledger.settled(index, "witnessed");
    expect(linesOf(await ledger.checkpoint({ until: "witnessed" }))).toBe(4);
    release();
    await expect.poll(async () => linesOf(await ledger.checkpoint({ until: "witnessed" }))).toBe(5);
    await ledger.close();
  });
});

describe("several processes on one ledger", () => {
  const appendWitnessed = async (ledger: LedgerEngine): Promise<void> => {
    await ledger.settled((await ledger.append(event)).index, "witnessed");
  };

  it("take the larger checkpoint of another one as theirs, and never for a rollback", async () => {
    const world = await makeWorld();
    const first = await world.open();
    const second = await world.open();
    const { index } = await first.append(event);
    // After the first one has signed size 2 and before anybody sees it, the second one has size 3 cosigned.
    let overtaking: Promise<void> | undefined;
    for (const witness of world.witnesses)
      witness.between = async (request, pass) => {
        if (!isGet(request) && (await request.clone().text()).includes("log.test/a\n2\n")) {
          overtaking ??= appendWitnessed(second);
          await overtaking;
        }
        return pass();
      };
    await first.settled(index, "witnessed");
    expect(sizeOf(await first.checkpoint({ until: "witnessed" }))).toBe(3);
    expect((await first.status()).problem).toBeNull();
  });

  it("open while others append, sign and have it cosigned", async () => {
    const world = await makeWorld();
    const writer = await world.open();
    await appendWitnessed(writer);
    let appending: Promise<void> | undefined;
    for (const witness of world.witnesses)
      witness.between = async (request, pass) => {
        if (isGet(request)) {
          // The process that opens has read the head already.
          appending ??= appendWitnessed(writer);
          await appending;
        }
        return pass();
      };
    const opened = await world.open();
    expect(opened.appendProblem).toBeNull();
    await appendWitnessed(opened);
  });

  it("open while others put a checkpoint into the lock store", async () => {
    const world = await makeWorld();
    const writer = await world.open();
    const lockStore = sqliteLockStore({ path: join(world.folder, "state", "lock.sqlite"), driver });
    const opened = await world.open({
      lockStore: {
        ...lockStore,
        fetch: async (origin) => {
          await writer.append(event);
          await writer.checkpoint();
          return lockStore.fetch(origin);
        },
      },
    });
    expect(opened.appendProblem).toBeNull();
  });
});

/** Claims, with a note under the ledger's own key, to have seen a tree that is not this one. */
async function shownBy(signer: Signer, size: number): Promise<string> {
  const text = formatCheckpoint({ origin: "log.test/a", size, root: sha256(encodeUtf8("another")) });
  return formatNote(text, [await signNote(text, "log.test/a", signer)]);
}

describe("a witness that knows better", () => {
  it.each([
    ["larger", 50, "rolled-back"],
    ["of the same size", 2, "forked"],
  ])(
    "stops signing at once when it shows a checkpoint %s under our key, while appends stay durable",
    async (_, size, code) => {
      const signer = generateLogKey();
      const world = await makeWorld({ signer });
      const ledger = await world.open();
      const note = await shownBy(signer, size);
      const [w0] = world.witnesses;
      if (w0 !== undefined)
        w0.between = async (request) => {
          if (isGet(request)) return new Response(note);
          if (size > 2)
            return new Response(`${size}\n`, { status: 409, headers: { "content-type": "text/x.tlog.size" } });
          return new Response("another root was cosigned\n", { status: 422 });
        };
      for (const witness of world.witnesses.slice(1)) witness.between = async () => new Response("", { status: 503 });
      const { index } = await ledger.append(event);
      await expect(ledger.settled(index, "witnessed")).rejects.toMatchObject({
        code,
        details: { source: "witness w0", note },
      });
      await ledger.append(event);
      await expect(ledger.checkpoint()).rejects.toMatchObject({ code });
      const status = await ledger.status();
      expect(status).toMatchObject({ overdue: true, problem: expect.stringContaining("witness w0") });
      await expect(ledger.close()).rejects.toMatchObject({ code });
    },
  );

  it("is heard also after opening, when the others were enough to open", async () => {
    const signer = generateLogKey();
    const world = await makeWorld({ signer });
    const note = await shownBy(signer, 50);
    let release = (): void => {};
    const [w0] = world.witnesses;
    if (w0 !== undefined)
      w0.between = async (request) => {
        if (!isGet(request)) return new Response("", { status: 503 });
        await new Promise<void>((resolve) => {
          release = resolve;
        });
        return new Response(note);
      };
    const ledger = await world.open();
    await ledger.append(event);
    await ledger.checkpoint();
    release();
    await expect.poll(async () => (await ledger.status()).problem).toContain("rolled back");
    await ledger.append(event);
    await expect(ledger.checkpoint()).rejects.toMatchObject({ code: "rolled-back" });
  });

  it("loses only its own availability by a note that our key did not sign", async () => {
    const world = await makeWorld();
    const note = await shownBy(generateLogKey(), 2 ** 50);
    const [w0] = world.witnesses;
    if (w0 !== undefined)
      w0.between = async (request) =>
        isGet(request)
          ? new Response(note)
          : new Response(`${2 ** 50}\n`, { status: 409, headers: { "content-type": "text/x.tlog.size" } });
    const ledger = await world.open();
    const { index } = await ledger.append(event);
    await ledger.settled(index, "witnessed");
    await expect
      .poll(async () => (await ledger.status()).witnesses[0]?.problem)
      .toBe(`claims size ${2 ** 50} and does not show it`);
  });
});

describe("two histories under one key", () => {
  it("never both become witnessed, whoever is asked first", async () => {
    for (let round = 0; round < 5; round++) {
      const world = await makeWorld();
      // Two copies of one ledger, each with its own lock store, go their own ways at the same moment.
      const other = join(world.folder, "other");
      cpSync(join(world.folder, "state"), join(other, "state"), { recursive: true });
      cpSync(world.path, join(other, "a.db"));
      const mine = await world.open();
      const theirs = await world.openAt(join(other, "a.db"), { state: join(other, "state") });
      await mine.append({ action: "shown.to.one", actor: `round ${round}` });
      await theirs.append({ action: "shown.to.another", actor: `round ${round}` });
      const outcomes = await Promise.allSettled([mine.settled(1, "witnessed"), theirs.settled(1, "witnessed")]);
      const refused = outcomes.filter(({ status }) => status === "rejected") as PromiseRejectedResult[];
      expect(refused.length, `round ${round}`).toBeGreaterThanOrEqual(1);
      for (const { reason } of refused) expect(["forked", "quorum-not-reached"]).toContain(reason.code);
      expect(world.witnesses.reduce((sum, { store }) => sum + store.countEvidence(), 0)).toBeGreaterThan(0);
    }
  });
});

describe("a witness that shows nothing", () => {
  it("is asked to cosign what was released, so that its size tells of a rollback", async () => {
    const world = await makeWorld({ threshold: 1 });
    // A witness whose monitoring endpoint is elsewhere.
    for (const witness of world.witnesses)
      witness.between = (request, pass) =>
        isGet(request) ? Promise.resolve(new Response("", { status: 404 })) : pass();
    const young = await world.open();
    await young.settled((await young.append(event)).index, "witnessed");
    await young.close();
    copyFileSync(world.path, join(world.folder, "old.db"));
    for (const name of ["lock.sqlite"]) copyFileSync(join(world.folder, "state", name), join(world.folder, name));
    const grown = await world.open();
    await grown.append(event);
    await grown.settled((await grown.append(event)).index, "witnessed");
    await grown.close();
    // Database, lock store and the memory of the path, all as they were.
    for (const end of ["-wal", "-shm"]) rmSync(world.path + end, { force: true });
    copyFileSync(join(world.folder, "old.db"), world.path);
    rmSync(join(world.folder, "state"), { recursive: true });
    const state = mkdtempSync(join(world.folder, "state-"));
    copyFileSync(join(world.folder, "lock.sqlite"), join(state, "lock.sqlite"));
    const rolledBack = await world.open({ state });
    await rolledBack.append(event);
    await expect(rolledBack.checkpoint()).rejects.toMatchObject({ code: "signer-unavailable" });
    const { witnesses } = await rolledBack.status();
    expect(witnesses.map(({ problem }) => problem)).toContain("claims size 4 and does not show it");
  });
});

describe("a witness that forgot", () => {
  it("is named as one that went back, and cosigns on", async () => {
    const world = await makeWorld({ threshold: 3 });
    const ledger = await world.open();
    await ledger.settled((await ledger.append(event)).index, "witnessed");
    world.witnesses[1]?.forget();
    await ledger.settled((await ledger.append(event)).index, "witnessed");
    expect((await ledger.status()).witnesses).toMatchObject([
      { name: "w0", size: 3, wentBackTo: null },
      { name: "w1", size: 3, wentBackTo: 0, problem: null },
      { name: "w2", size: 3, wentBackTo: null },
    ]);
  });
});

describe("what was cosigned before", () => {
  it("is known to a process that only reads", async () => {
    const world = await makeWorld();
    const ledger = await world.open();
    await ledger.settled((await ledger.append(event)).index, "witnessed");
    await ledger.close();
    const reader = await world.open({ readOnly: true });
    const status = await reader.status();
    expect(status).toMatchObject({ witnessed: 2 });
    expect(status.witnesses.filter(({ cosignedAt }) => cosignedAt !== null).length).toBeGreaterThanOrEqual(2);
  });

  it("must be part of the ledger, if the ledger's own key signed it", async () => {
    const signer = generateLogKey();
    const world = await makeWorld({ signer });
    const insert = (note: string): void => {
      const db = new driver(world.path, { readonly: false, fileMustExist: true, timeout: 1_000 });
      db.prepare("INSERT OR REPLACE INTO cosigned(size, note) VALUES (?, ?)").run(sizeOf(note), note);
      db.close();
    };
    // By the key of another ledger of that name it says nothing.
    insert(await shownBy(generateLogKey(), 50));
    const ledger = await world.open();
    expect((await ledger.status()).witnessed).toBe(0);
    await ledger.close();
    const note = await shownBy(signer, 51);
    insert(note);
    await expect(world.open()).rejects.toMatchObject({
      code: "rolled-back",
      details: { note, expected: 51, found: 1 },
    });
    expect((await (await world.open({ readOnly: true })).status()).witnessed).toBe(0);
  });
});

describe("a policy without a quorum", () => {
  it("collects cosignatures, and never calls anything witnessed", async () => {
    const world = await makeWorld({ threshold: 0 });
    const ledger = await world.open();
    const { index } = await ledger.append(event);
    await expect(ledger.settled(index, "witnessed")).rejects.toMatchObject({ code: "level-not-reached" });
    const { witnessed, witnesses } = await ledger.status();
    expect(witnessed).toBe(0);
    expect(witnesses.map(({ size }) => size)).toEqual([2, 2, 2]);
  });
});
