import { createHash } from "node:crypto";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { describe, expect, it } from "vitest";
import { encodeUtf8 } from "../core/encoding.ts";
import { formatNote, formatSignatureLine, parseNote } from "../core/note.ts";
import { verifyPublished } from "../core/verify-published.ts";
import { filesystemArchive } from "../storage/archive/filesystem.ts";
import { type MemoryArchive, memoryArchive } from "../storage/archive/memory.ts";
import { createTestLedger } from "../testing/create-test-ledger.ts";
import { type ArchiveFault, faultyArchive } from "../testing/faulty-archive.ts";
import type { Archive } from "./archive.ts";
import type { LedgerEngine } from "./ledger.ts";
import { type PublishParts, publishLedger } from "./publish.ts";
import { RightEdge } from "./right-edge.ts";
import { seededRandom } from "./seeded-random.ts";
import type { LedgerStorage } from "./storage.ts";

type Bytes = Uint8Array<ArrayBufferLike>;

const sha256 = (...parts: readonly Bytes[]): Bytes => {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest();
};

/** RFC 9162 §2.1.1, word for word. */
function naiveRoot(leaves: readonly Bytes[]): Bytes {
  if (leaves.length === 1) return leaves[0] as Bytes;
  let k = 1;
  while (k * 2 < leaves.length) k *= 2;
  return sha256(Buffer.of(1), naiveRoot(leaves.slice(0, k)), naiveRoot(leaves.slice(k)));
}

/** Path of a tile index, as tlog-tiles words it. */
function naivePlace(index: number): string {
  const digits = String(index).padStart(Math.ceil(String(index).length / 3) * 3, "0");
  const groups = digits.match(/.{3}/g) ?? [];
  return groups.map((group, i) => (i === groups.length - 1 ? group : `x${group}`)).join("/");
}

/** Everything that must lie in an archive after `sizes` were published one after the other, from the entries alone. */
class NaiveTree {
  private readonly entries: Bytes[];
  private readonly roots = new Map<string, Bytes>();

  constructor(entries: readonly string[]) {
    this.entries = entries.map(encodeUtf8);
  }

  objects(sizes: readonly number[]): Map<string, Bytes> {
    const objects = new Map<string, Bytes>();
    const last = sizes.at(-1) ?? 0;
    for (const size of sizes) {
      for (let level = 0; 256 ** level <= size; level++) {
        const hashes = Math.floor(size / 256 ** level);
        for (let index = 0; index * 256 < hashes; index++) {
          const width = Math.min(256, hashes - index * 256);
          const isFullByNow = Math.floor(last / 256 ** level) >= (index + 1) * 256;
          if (width < 256 && isFullByNow) continue;
          const place = `${naivePlace(index)}${width < 256 ? `.p/${width}` : ""}`;
          const path = `tile/${level}/${place}`;
          if (objects.has(path)) continue;
          objects.set(path, this.tile(level, index, width));
          if (level === 0) objects.set(`tile/entries/${place}`, this.bundle(index, width));
        }
      }
    }
    return objects;
  }

  private tile(level: number, index: number, width: number): Bytes {
    return Buffer.concat(Array.from({ length: width }, (_, i) => this.root(level, index * 256 + i)));
  }

  private root(level: number, position: number): Bytes {
    const key = `${level}/${position}`;
    let root = this.roots.get(key);
    if (root === undefined) {
      const span = 256 ** level;
      const entries = this.entries.slice(position * span, (position + 1) * span);
      root = naiveRoot(entries.map((entry) => sha256(Buffer.of(0), entry)));
      this.roots.set(key, root);
    }
    return root;
  }

  private bundle(index: number, count: number): Bytes {
    return Buffer.concat(
      this.entries
        .slice(index * 256, index * 256 + count)
        .flatMap((entry) => [Buffer.of(entry.length >> 8, entry.length & 255), entry]),
    );
  }
}

const event = (i: number) => ({ action: "test.event", actor: `actor-${i}`, payload: { i } });

async function append(ledger: LedgerEngine, count: number): Promise<void> {
  for (let from = 0; from < count; from += 5_000)
    await ledger.appendMany(Array.from({ length: Math.min(5_000, count - from) }, (_, i) => event(from + i)));
}

async function entriesOf(ledger: LedgerEngine, size: number): Promise<string[]> {
  const entries: string[] = [];
  const { storage } = (ledger as unknown as Inside).proofParts();
  for (let first = 0; first < size; first += 256)
    for (const { entry } of await storage.readEntries(first, Math.min(size, first + 256))) entries.push(entry);
  return entries;
}

function objectsOf(archive: MemoryArchive): Map<string, Bytes> {
  const objects = new Map(archive.objects);
  objects.delete("checkpoint");
  return objects;
}

async function filesOf(directory: string): Promise<Map<string, Bytes>> {
  const objects = new Map<string, Bytes>();
  for (const file of await readdir(directory, { recursive: true, withFileTypes: true })) {
    const path = join(file.parentPath, file.name);
    const name = relative(directory, path);
    if (file.isFile() && name !== "checkpoint" && !name.startsWith(".decided")) objects.set(name, await readFile(path));
  }
  return objects;
}

/** Compares the names first: a difference of sets reads better than one of bytes. */
function expectObjects(found: ReadonlyMap<string, Bytes>, expected: ReadonlyMap<string, Bytes>): void {
  expect([...found.keys()].sort()).toEqual([...expected.keys()].sort());
  for (const [path, bytes] of expected)
    if (Buffer.compare(found.get(path) as Bytes, bytes) !== 0) expect.unreachable(`${path} has other bytes`);
}

async function reportOf(archive: Archive, ledger: LedgerEngine) {
  const note = (await archive.get("checkpoint")) as Bytes;
  const { report } = await verifyPublished(note, (path, bytesMax) => archive.get(path, { bytesMax }), {
    policy: ledger.policy(),
  });
  return report;
}

/** What the engine hands to `publishLedger`, with a note of the test's own choice. */
function partsOf(ledger: LedgerEngine, archive: Archive, note: string): PublishParts {
  const { storage, state, edge } = (ledger as unknown as Inside).proofParts();
  return { storage, state, edge, archive, note };
}

interface Inside {
  proofParts(): PublishParts;
}

describe("publish", () => {
  it("publishes every size up to 600, one after the other, as the naive tree has it", async () => {
    await using test = await createTestLedger();
    const { ledger } = test;
    const archive = memoryArchive();
    const sizes: number[] = [];
    while (ledger.size <= 600) {
      const published = await ledger.publish(archive);
      expect(published).toMatchObject({ size: ledger.size, before: sizes.at(-1) ?? 0 });
      expect(published.objects).toBeLessThanOrEqual(4);
      sizes.push(ledger.size);
      await ledger.append(event(ledger.size));
    }
    const tree = new NaiveTree(await entriesOf(ledger, 600));
    expectObjects(objectsOf(archive), tree.objects(sizes));
    expect(await reportOf(archive, ledger)).toMatchObject({ ok: true, conclusive: true, size: 600 });
  });

  it.each(["a", "b", "c"])(
    "publishes random jumps into a folder as the naive tree has them (seed %s)",
    async (seed) => {
      const directory = await mkdtemp(join(tmpdir(), "tallystick-publish-"));
      try {
        await using test = await createTestLedger({ seed });
        const { ledger } = test;
        const random = seededRandom(`publish\n${seed}`);
        const sizes: number[] = [];
        for (let jump = 0; jump < 8; jump++) {
          await ledger.publish(filesystemArchive(directory));
          sizes.push(ledger.size);
          const tree = new NaiveTree(await entriesOf(ledger, ledger.size));
          expectObjects(await filesOf(directory), tree.objects(sizes));
          const [a = 0, b = 0] = random.fill(new Uint8Array(2));
          await append(ledger, a % 4 === 0 ? 1 : a + b);
        }
      } finally {
        await rm(directory, { recursive: true });
      }
    },
  );

  it("changes nothing when there is nothing new", async () => {
    await using test = await createTestLedger();
    await append(test.ledger, 300);
    const archive = memoryArchive();
    await test.ledger.publish(archive);
    const before = new Map(archive.objects);
    expect(await test.ledger.publish(archive)).toEqual({ size: 301, before: 301, objects: 0, bodies: false });
    expect(new Map(archive.objects)).toEqual(before);
  });

  it("writes as many objects for one more entry of a large ledger as the tree has levels", async () => {
    await using test = await createTestLedger();
    const { ledger } = test;
    await append(ledger, 66_000);
    const archive = memoryArchive();
    await ledger.publish(archive);
    const calls = faultyArchive(archive, () => undefined);
    await ledger.append(event(0));
    expect(await ledger.publish(calls)).toMatchObject({ size: 66_002, objects: 2 });
    // Up to where the next tile of each level begins.
    await append(ledger, 66_048 - 66_002);
    expect((await ledger.publish(calls)).objects).toBeLessThanOrEqual(4);
    expect(calls.calls.length).toBeLessThan(20);
    expect(await reportOf(archive, ledger)).toMatchObject({ ok: true, size: 66_048 });
  }, 60_000);
});

describe("publish, interrupted", () => {
  const STEPS: readonly (readonly [from: number, to: number])[] = [
    [0, 3],
    [3, 4],
    [200, 600],
    [255, 256],
    [256, 512],
  ];
  const FAULTS: readonly ArchiveFault[] = ["fail-before", "fail-persisted", "crash-before", "crash-after"];

  it.each(STEPS)(
    "from size %i to %i: at whatever call it ends, readers see a whole ledger and the next run completes it",
    async (from, to) => {
      await using test = await createTestLedger();
      const { ledger } = test;
      if (from > 0) await append(ledger, from - 1);
      const sizes = from === 0 ? [] : [from];
      const first = from === 0 ? null : await ledger.checkpoint();
      await append(ledger, to - ledger.size);
      const second = await ledger.checkpoint();
      const expected = new NaiveTree(await entriesOf(ledger, to)).objects([...sizes, to]);
      for (const fault of FAULTS) {
        for (let at = 1; ; at++) {
          const archive = memoryArchive();
          if (first !== null) await publishLedger(partsOf(ledger, archive, first));
          const faulty = faultyArchive(archive, ({ number }) => (number === at ? fault : undefined));
          const failure = await publishLedger(partsOf(ledger, faulty, second)).then(
            () => null,
            (error: unknown) => error as { readonly code?: string },
          );
          if (faulty.calls.length < at) {
            expect(failure).toBeNull();
            break;
          }
          expect(failure?.code).toMatch(/^(storage-io|outcome-unknown)$/);
          const seen = await archive.get("checkpoint");
          if (seen !== undefined) expect(await reportOf(archive, ledger)).toMatchObject({ ok: true, conclusive: true });
          else expect(from).toBe(0);
          await publishLedger(partsOf(ledger, archive, second));
          expectObjects(objectsOf(archive), expected);
          expect(await archive.get("checkpoint")).toEqual(encodeUtf8(second));
        }
      }
    },
  );

  it("leaves no partial tile of an interrupted run behind once its tile is full", async () => {
    await using test = await createTestLedger();
    const { ledger } = test;
    await append(ledger, 199);
    const archive = memoryArchive();
    await ledger.publish(archive);
    await append(ledger, 100);
    const crashing = faultyArchive(archive, ({ operation }) => (operation === "replace" ? "crash-before" : undefined));
    await expect(ledger.publish(crashing)).rejects.toMatchObject({ code: "storage-io" });
    expect(archive.objects.has("tile/0/001.p/44")).toBe(true);
    await append(ledger, 300);
    await ledger.publish(archive);
    const found = objectsOf(archive);
    // A level-1 tile is full after 65,536 entries only.
    expect(found.delete("tile/1/000.p/1")).toBe(true);
    expectObjects(found, new NaiveTree(await entriesOf(ledger, 600)).objects([200, 600]));
  });
});

describe("publish, against what is there", () => {
  it("refuses a fork that is published already, with both signed notes", async () => {
    await using ours = await createTestLedger();
    await using theirs = await createTestLedger();
    await append(ours.ledger, 9);
    await theirs.ledger.append({ action: "another.history" });
    await append(theirs.ledger, 6);
    const archive = memoryArchive();
    await theirs.ledger.publish(archive);
    const before = new Map(archive.objects);
    const published = await theirs.ledger.checkpoint();
    const own = await ours.ledger.checkpoint();
    await expect(ours.ledger.publish(archive)).rejects.toMatchObject({
      code: "forked",
      message: "another history of size 8 is published at memory:",
      details: { published, own, size: 8 },
    });
    expect(new Map(archive.objects)).toEqual(before);
  });

  it("refuses to go back behind what is published, with both signed notes", async () => {
    await using before = await createTestLedger();
    await using restored = await createTestLedger();
    await append(before.ledger, 9);
    const archive = memoryArchive();
    await before.ledger.publish(archive);
    await append(restored.ledger, 5);
    await expect(restored.ledger.publish(archive)).rejects.toMatchObject({
      code: "rolled-back",
      message: "size 10 is published at memory:, but the ledger has 6 entries",
      details: { published: await before.ledger.checkpoint(), own: await restored.ledger.checkpoint() },
    });
  });

  it("refuses a place that holds another ledger, or a checkpoint that none of its keys signed", async () => {
    await using ours = await createTestLedger();
    await using other = await createTestLedger({ seed: "other" });
    const archive = memoryArchive();
    await other.ledger.publish(archive);
    await expect(ours.ledger.publish(archive)).rejects.toMatchObject({
      code: "forked",
      message: `memory: holds another ledger: ${other.ledger.origin}`,
    });
    const { text } = parseNote(await ours.ledger.checkpoint());
    for (const size of [1, 1_000_000]) {
      const forged = memoryArchive();
      const line = formatSignatureLine(ours.ledger.origin, 1, new Uint8Array(64));
      await forged.replace("checkpoint", null, encodeUtf8(formatNote(text.replace("\n1\n", `\n${size}\n`), [line])));
      await expect(ours.ledger.publish(forged)).rejects.toMatchObject({ code: "signature-missing" });
    }
    const garbage = memoryArchive();
    await garbage.replace("checkpoint", null, encodeUtf8("<html>"));
    await expect(ours.ledger.publish(garbage)).rejects.toMatchObject({ code: "malformed-note" });
  });

  it("refuses to go on where another object lies in its place", async () => {
    await using test = await createTestLedger();
    await append(test.ledger, 300);
    for (const path of ["tile/0/000", "tile/entries/001.p/45", "tile/1/000.p/1"]) {
      const archive = memoryArchive();
      await archive.put(path, encodeUtf8("something else"));
      await expect(test.ledger.publish(archive)).rejects.toMatchObject({ code: "already-exists", details: { path } });
      expect(archive.objects.has("checkpoint")).toBe(false);
    }
  });

  it("keeps a larger checkpoint that another process published meanwhile", async () => {
    await using test = await createTestLedger();
    const { ledger } = test;
    const old = partsOf(ledger, memoryArchive(), await ledger.checkpoint());
    await append(ledger, 300);
    await ledger.publish(old.archive);
    expect(await publishLedger(old)).toEqual({ size: 301, before: 301, objects: 0, bodies: false });
  });

  it("publishes what another process signed, of which this one has not read the entries yet", async () => {
    await using test = await createTestLedger();
    const { ledger } = test;
    await append(ledger, 300);
    const archive = memoryArchive();
    const parts = partsOf(ledger, archive, await ledger.checkpoint());
    expect(await publishLedger({ ...parts, edge: RightEdge.empty() })).toMatchObject({ size: 301 });
    expect(await reportOf(archive, ledger)).toMatchObject({ ok: true, conclusive: true, size: 301 });
  });

  it("ends at the larger of two checkpoints that are published at once", async () => {
    await using test = await createTestLedger();
    const { ledger } = test;
    const notes: string[] = [];
    for (const count of [99, 200, 300]) {
      await append(ledger, count);
      notes.push(await ledger.checkpoint());
    }
    const archive = memoryArchive();
    await Promise.all(notes.map((note) => publishLedger(partsOf(ledger, archive, note))));
    expect(await archive.get("checkpoint")).toEqual(encodeUtf8(notes[2] as string));
    expect(await reportOf(archive, ledger)).toMatchObject({ ok: true, conclusive: true, size: 600 });
  });

  it.each(["put tile/entries", "put tile/0", "replace"])(
    "is not set back by a writer that was asleep before its %s while others published",
    async (asleepAt) => {
      await using test = await createTestLedger();
      const { ledger } = test;
      await append(ledger, 199);
      const archive = memoryArchive();
      await ledger.publish(archive);
      await append(ledger, 30);
      let waken = (): void => {};
      const wake = new Promise<void>((resolve) => {
        waken = resolve;
      });
      const sleep = async (call: string): Promise<void> => {
        if (call.startsWith(asleepAt)) await wake;
      };
      const sleeper: Archive = {
        ...archive,
        put: (path, bytes) => sleep(`put ${path}`).then(() => archive.put(path, bytes)),
        replace: (path, expected, next) => sleep(`replace ${path}`).then(() => archive.replace(path, expected, next)),
      };
      const slow = publishLedger(partsOf(ledger, sleeper, await ledger.checkpoint()));
      await append(ledger, 300);
      await ledger.publish(archive);
      waken();
      expect(await slow).toEqual({ size: 530, before: 530, objects: 0, bodies: false });
      expect(await reportOf(archive, ledger)).toMatchObject({ ok: true, conclusive: true, size: 530 });
      // What the late one left are true tiles of its own size, beside the full ones.
      const tree = new NaiveTree(await entriesOf(ledger, 530));
      const late = tree.objects([230]);
      const found = objectsOf(archive);
      for (const [path, bytes] of late)
        if (found.has(path)) expect(Buffer.compare(found.get(path) as Bytes, bytes)).toBe(0);
      for (const path of late.keys()) found.delete(path);
      expectObjects(found, tree.objects([200, 530]));
    },
  );

  it("adds cosignatures to a checkpoint that is published, and never takes them away", async () => {
    await using test = await createTestLedger();
    const { ledger } = test;
    const plain = await ledger.checkpoint();
    const { text, signatures } = parseNote(plain);
    const line = formatSignatureLine("witness.example/w", 7, new Uint8Array(76));
    const cosigned = formatNote(text, [...signatures.map((signature) => signature.line), line]);
    const archive = memoryArchive();
    await publishLedger(partsOf(ledger, archive, plain));
    await publishLedger(partsOf(ledger, archive, cosigned));
    expect(await archive.get("checkpoint")).toEqual(encodeUtf8(cosigned));
    await publishLedger(partsOf(ledger, archive, plain));
    expect(await archive.get("checkpoint")).toEqual(encodeUtf8(cosigned));
  });

  it("can be held up after each block, and is while events come in", async () => {
    await using test = await createTestLedger();
    const { ledger } = test;
    await append(ledger, 1_100);
    let pauses = 0;
    const parts = partsOf(ledger, memoryArchive(), await ledger.checkpoint());
    const pause = async (): Promise<void> => {
      pauses += 1;
    };
    await publishLedger({ ...parts, pause });
    expect(pauses).toBe(5);
    const archive = memoryArchive();
    let published = false;
    const started = performance.now();
    const publishing = ledger.publish(archive).then(() => {
      published = true;
    });
    let appended = 0;
    for (; !published; appended++)
      await Promise.all([ledger.append({ action: "more" }), ledger.append({ action: "more" })]);
    await publishing;
    // Five times 20 ms, but for what its timers round off.
    expect(performance.now() - started).toBeGreaterThan(90);
    expect(appended).toBeGreaterThan(5);
  });

  it("publishes nothing that is not under the signature: a store that changed behind the engine's back is noticed", async () => {
    await using test = await createTestLedger();
    const { ledger } = test;
    await append(ledger, 300);
    const parts = partsOf(ledger, memoryArchive(), await ledger.checkpoint());
    const { storage } = parts;
    const withEntries = (readEntryTexts: LedgerStorage["readEntryTexts"]): LedgerStorage =>
      ({ readEntryTexts, readTile: (level, index) => storage.readTile(level, index) }) as LedgerStorage;
    const altered = withEntries(async (first, end) =>
      (await storage.readEntryTexts(first, end)).map((entry, i) =>
        first + i === 7 ? entry.replace("2026", "2025") : entry,
      ),
    );
    await expect(publishLedger({ ...parts, storage: altered })).rejects.toMatchObject({
      code: "invariant-broken",
      details: { index: 7 },
    });
    const missing = withEntries(async (first, end) => (await storage.readEntryTexts(first, end)).slice(1));
    await expect(publishLedger({ ...parts, storage: missing })).rejects.toMatchObject({ code: "invariant-broken" });
    expect((parts.archive as MemoryArchive).objects.size).toBe(0);
  });
});
