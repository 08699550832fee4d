import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { decodeUtf8, encodeUtf8 } from "../core/encoding.ts";
import { parsePolicy } from "../core/policy.ts";
import { BODIES_BYTES_MAX } from "../core/published-bodies.ts";
import { exitCodeOf, type VerifyReport } from "../core/report.ts";
import { verifyPublished } from "../core/verify-published.ts";
import { filesystemArchive } from "../storage/archive/filesystem.ts";
import { type MemoryArchive, memoryArchive } from "../storage/archive/memory.ts";
import { createTestLedger } from "../testing/create-test-ledger.ts";
import { type ArchiveFault, faultyArchive } from "../testing/faulty-archive.ts";
import type { Archive, ArchiveReader } from "./archive.ts";
import type { LedgerEngine } from "./ledger.ts";
import { mirrorLedger } from "./mirror.ts";
import { type PublishParts, publishLedger } from "./publish.ts";

type Bytes = Uint8Array<ArrayBufferLike>;
const SECRET = "very-secret-value";

async function append(ledger: LedgerEngine, count: number, payload: object = {}): Promise<void> {
  await ledger.appendMany(
    Array.from({ length: count }, (_, i) => ({
      action: "test.event",
      actor: `actor-${i}`,
      payload: { i, ...payload },
    })),
  );
}

async function verify(archive: ArchiveReader, ledger: LedgerEngine, policy?: string | null): Promise<VerifyReport> {
  const note = (await archive.get("checkpoint")) as Bytes;
  const objects = (path: string, bytesMax: number) => archive.get(path, { bytesMax });
  const text = policy === null ? {} : { policy: policy ?? ledger.policy() };
  return (await verifyPublished(note, objects, text)).report;
}

const textOf = (archive: MemoryArchive, path: string): string =>
  decodeUtf8(archive.objects.get(path) as Bytes, "malformed-note");
const everything = (archive: MemoryArchive): string =>
  [...archive.objects].map(([, bytes]) => Buffer.from(bytes).toString("latin1")).join("\n");
const hasBodies = (archive: MemoryArchive): boolean =>
  [...archive.objects.keys()].some((path) => path.startsWith("body/"));

interface Inside {
  proofParts(): Omit<PublishParts, "archive" | "note">;
}
const partsOf = (ledger: LedgerEngine, archive: Archive, note: string): PublishParts => ({
  ...(ledger as unknown as Inside).proofParts(),
  archive,
  note,
});

function follow(source: ArchiveReader, target: Archive, ledger: LedgerEngine, bodies?: true) {
  return mirrorLedger({ source, target, policy: parsePolicy(ledger.policy()), bodies });
}

/** Both schemes, three blocks; entry 7 whole and two fields of entry 300 hold the secret. */
async function secretLedger() {
  const test = await createTestLedger();
  const { ledger } = test;
  await append(ledger, 6);
  await ledger.append({ action: "secret.whole", payload: { value: SECRET } });
  await append(ledger, 292);
  await ledger.append(
    { action: "secret.fields", payload: { value: SECRET, kept: "kept-value" } },
    { scheme: "fields" },
  );
  await append(ledger, 230);
  return test;
}

async function eraseSecrets(ledger: LedgerEngine): Promise<void> {
  await ledger.erase([{ index: 7 }, { index: 300, fields: ["payload.value"] }], { reason: "asked for" });
}

/** Node 20 has no Promise.withResolvers. */
function sleepers(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let resolve = (): void => {};
  const promise = new Promise<void>((wake) => {
    resolve = wake;
  });
  return { promise, resolve };
}

describe("published bodies", () => {
  it("are not published unless asked for, and are what an export says of each entry", async () => {
    await using test = await secretLedger();
    const { ledger } = test;
    const archive = memoryArchive();
    expect(await ledger.publish(archive)).toMatchObject({ bodies: false });
    expect(hasBodies(archive)).toBe(false);
    expect(everything(archive)).not.toContain(SECRET);
    const plain = await verify(archive, ledger);
    expect(plain).toMatchObject({ ok: true, summary: "intact: 531 entries, without their events" });

    expect(await ledger.publish(archive, { bodies: true })).toMatchObject({ bodies: true, before: 531, objects: 4 });
    const lines = [0, 1, 2].flatMap((i) => textOf(archive, `body/00${i}`).trimEnd().split("\n"));
    const exported: string[] = [];
    for await (const line of ledger.export()) exported.push(line);
    expect(exported.slice(1).map((line) => JSON.parse(line))).toEqual(
      lines.map((line, i) => ({ ...JSON.parse(line), entry: JSON.parse(exported[i + 1] as string).entry })),
    );
    const report = await verify(archive, ledger);
    expect(report).toMatchObject({ ok: true, conclusive: true, summary: "intact: 531 entries, with their events" });
    expect(report.verdicts.integrity.basis).toContain("every event is the one that its entry commits to");
    expect(report.verdicts.integrity.unchecked).toEqual([]);
    expect(exitCodeOf(report)).toBe(0);
    expect(exitCodeOf(await verify(archive, ledger, null))).toBe(3);
  });

  it("grow with the ledger from then on, a few objects each time", async () => {
    await using test = await createTestLedger();
    const { ledger } = test;
    const archive = memoryArchive();
    await ledger.publish(archive, { bodies: true });
    for (const count of [1, 100, 200, 300, 1]) {
      await append(ledger, count);
      expect((await ledger.publish(archive)).objects).toBeLessThanOrEqual(12);
      expect(await verify(archive, ledger)).toMatchObject({
        ok: true,
        conclusive: true,
        summary: `intact: ${ledger.size} entries, with their events`,
      });
    }
    const calls = faultyArchive(archive, () => undefined);
    await append(ledger, 1);
    expect(await ledger.publish(calls)).toMatchObject({ objects: 3 });
    expect(await ledger.publish(archive)).toMatchObject({ objects: 0, bodies: true });
  });

  it("lose what is erased, at the next publication", async () => {
    await using test = await secretLedger();
    const { ledger } = test;
    const archive = memoryArchive();
    await ledger.publish(archive, { bodies: true });
    expect(everything(archive)).toContain(SECRET);
    await eraseSecrets(ledger);
    await ledger.publish(archive);
    expect(everything(archive)).not.toContain(SECRET);
    expect(everything(archive)).toContain("kept-value");
    expect(JSON.parse(textOf(archive, "body/000").split("\n")[7] as string)).toEqual({ erasedBy: 531 });
    expect(await verify(archive, ledger)).toMatchObject({
      ok: true,
      conclusive: true,
      erased: { entries: 1, fields: 1 },
    });
  });

  it("go to a folder, and from it", async () => {
    const directory = await mkdtemp(join(tmpdir(), "tallystick-bodies-"));
    try {
      await using test = await secretLedger();
      const archive = filesystemArchive(directory);
      await test.ledger.publish(archive, { bodies: true });
      await eraseSecrets(test.ledger);
      await test.ledger.publish(filesystemArchive(directory));
      expect(await verify(archive, test.ledger)).toMatchObject({ ok: true, conclusive: true, erased: { entries: 1 } });
      for (const file of await readdir(directory, { recursive: true, withFileTypes: true }))
        if (file.isFile()) expect(await readFile(join(file.parentPath, file.name), "latin1")).not.toContain(SECRET);
    } finally {
      await rm(directory, { recursive: true });
    }
  });

  it("are refused where they are too large for an object, and the folder stays as it was", async () => {
    await using test = await createTestLedger();
    const { ledger } = test;
    for (let i = 0; i < 17; i++) await ledger.append({ action: "large", payload: "x".repeat(1_000_000) });
    const archive = memoryArchive();
    await expect(ledger.publish(archive, { bodies: true })).rejects.toMatchObject({
      code: "event-too-large",
      details: { path: "body/000" },
    });
    expect(archive.objects.has("checkpoint")).toBe(false);
  });
});

const FAULTS: readonly ArchiveFault[] = ["fail-before", "fail-persisted", "crash-before", "crash-after"];

/** Runs `work` with a fault at each of its calls in turn; `check` looks at what is left, `finish` completes it. */
async function atEachCall(
  start: MemoryArchive,
  run: {
    readonly work: (archive: Archive) => Promise<unknown>;
    readonly check: (archive: MemoryArchive) => Promise<void>;
    readonly finish: (archive: MemoryArchive) => Promise<void>;
  },
): Promise<number> {
  let calls = 0;
  for (const fault of FAULTS) {
    for (let at = 1; ; at++) {
      const archive = memoryArchive();
      for (const [path, bytes] of start.objects) await archive.replace(path, null, bytes);
      const faulty = faultyArchive(archive, ({ number }) => (number === at ? fault : undefined));
      const failure = await run.work(faulty).then(
        () => null,
        (error: unknown) => error as { readonly code?: string },
      );
      if (faulty.calls.length < at) {
        expect(failure).toBeNull();
        break;
      }
      calls += 1;
      expect(failure?.code).toMatch(/^(storage-io|outcome-unknown)$/);
      await run.check(archive);
      await run.finish(archive);
    }
  }
  return calls;
}

describe("published bodies, interrupted", () => {
  it.each([
    [0, 3],
    [3, 4],
    [200, 600],
    [255, 256],
    [256, 512],
  ])("from size %i to %i: readers see no contradiction, and the next run completes them", async (from, to) => {
    await using test = await createTestLedger();
    const { ledger } = test;
    const start = memoryArchive();
    if (from > 0) {
      await append(ledger, from - 1);
      await ledger.publish(start, { bodies: true });
    }
    await append(ledger, to - ledger.size);
    const note = await ledger.checkpoint();
    const calls = await atEachCall(start, {
      work: (archive) => publishLedger({ ...partsOf(ledger, archive, note), bodies: true }),
      check: async (archive) => {
        if (archive.objects.has("checkpoint"))
          expect(await verify(archive, ledger)).toMatchObject({ ok: true, conclusive: true });
      },
      finish: async (archive) => {
        // Also one that does not say so goes on, once the first thing is there.
        const begun = archive.objects.has("body/format");
        await publishLedger({ ...partsOf(ledger, archive, note), bodies: begun ? undefined : true });
        const report = await verify(archive, ledger);
        expect(report).toMatchObject({
          ok: true,
          conclusive: true,
          summary: `intact: ${to} entries, with their events`,
        });
      },
    });
    expect(calls).toBeGreaterThan(20);
  });

  it("while something erased goes: never a finding, and gone after the next run", async () => {
    await using test = await secretLedger();
    const { ledger } = test;
    const start = memoryArchive();
    await ledger.publish(start, { bodies: true });
    await eraseSecrets(ledger);
    const note = await ledger.checkpoint();
    await atEachCall(start, {
      work: (archive) => publishLedger(partsOf(ledger, archive, note)),
      check: async (archive) => expect(await verify(archive, ledger)).toMatchObject({ ok: true }),
      finish: async (archive) => {
        await publishLedger(partsOf(ledger, archive, note));
        expect(everything(archive)).not.toContain(SECRET);
        expect(await verify(archive, ledger)).toMatchObject({ ok: true, conclusive: true, erased: { entries: 1 } });
      },
    });
  });

  it("while they are published for the first time: an erasure takes also what an interrupted run left", async () => {
    await using test = await secretLedger();
    const { ledger } = test;
    const start = memoryArchive();
    await ledger.publish(start);
    const crashing = faultyArchive(start, ({ path }) => (path === "body/000" ? "crash-before" : undefined));
    // The first look asks for it too.
    let looks = 0;
    const later: Archive = {
      ...crashing,
      get: (path, options) =>
        path === "body/000" && looks++ === 0 ? start.get(path, options) : crashing.get(path, options),
    };
    await expect(ledger.publish(later, { bodies: true })).rejects.toMatchObject({ code: "storage-io" });
    expect([...start.objects.keys()].filter((path) => path.startsWith("body/")).sort()).toEqual([
      ...["body/001", "body/002", "body/format"],
    ]);
    expect(everything(start)).toContain(SECRET);
    expect(await verify(start, ledger)).toMatchObject({
      ok: true,
      summary: "intact: 531 entries, without their events",
    });
    await eraseSecrets(ledger);
    expect(await ledger.publish(start)).toMatchObject({ bodies: true });
    expect(everything(start)).not.toContain(SECRET);
    expect(await verify(start, ledger)).toMatchObject({ ok: true, conclusive: true });
  });

  it("by somebody who was asleep meanwhile: nothing erased comes back, and nothing is cut off", async () => {
    for (const asleepAt of ["body/000", "body/001"]) {
      await using test = await secretLedger();
      const { ledger } = test;
      const archive = memoryArchive();
      const { promise: wake, resolve: waken } = sleepers();
      const sleeper: Archive = {
        ...archive,
        replace: async (path, expected, next) => {
          if (path === asleepAt) await wake;
          return archive.replace(path, expected, next);
        },
      };
      const slow = publishLedger({ ...partsOf(ledger, sleeper, await ledger.checkpoint()), bodies: true });
      await eraseSecrets(ledger);
      await append(ledger, 300);
      await ledger.publish(archive, { bodies: true });
      waken();
      await slow;
      expect(everything(archive)).not.toContain(SECRET);
      expect(await verify(archive, ledger)).toMatchObject({ ok: true, conclusive: true, size: ledger.size });
    }
  });
});

describe("whoever was asleep before looking", () => {
  const asleepBefore = (archive: Archive, path: string, wake: Promise<void>): Archive => ({
    ...archive,
    get: async (asked, options) => {
      if (asked === path) await wake;
      return archive.get(asked, options);
    },
  });

  it("cuts off no bodies that somebody ahead of him published", async () => {
    await using test = await secretLedger();
    const { ledger } = test;
    const archive = memoryArchive();
    const { promise: wake, resolve: waken } = sleepers();
    const sleeper = asleepBefore(archive, "body/002", wake);
    const slow = publishLedger({ ...partsOf(ledger, sleeper, await ledger.checkpoint()), bodies: true });
    await append(ledger, 400);
    await ledger.publish(archive, { bodies: true });
    waken();
    await slow;
    expect(await verify(archive, ledger)).toMatchObject({ ok: true, conclusive: true, size: 931 });
  });

  it("mirrors no body that another mirror of the folder let go", async () => {
    await using test = await secretLedger();
    const { ledger } = test;
    const source = memoryArchive();
    const target = memoryArchive();
    await ledger.publish(source, { bodies: true });
    const old = memoryArchive();
    for (const [path, bytes] of source.objects) await old.replace(path, null, bytes);
    await eraseSecrets(ledger);
    await ledger.publish(source);
    const { promise: wake, resolve: waken } = sleepers();
    const slow = follow(old, asleepBefore(target, "body/001", wake), ledger, true).catch((error: unknown) => error);
    await follow(source, target, ledger, true);
    waken();
    expect(await slow).toMatchObject({ code: "rolled-back" });
    expect(everything(target)).not.toContain(SECRET);
    expect(await verify(target, ledger)).toMatchObject({ ok: true, conclusive: true });
  });
});

describe("published bodies, tampered with", () => {
  const cases: readonly (readonly [
    string,
    (lines: string[]) => string[] | string,
    Partial<VerifyReport["findings"][0]>,
  ])[] = [
    ["another event", (l) => l.with(7, l[7]!.replace(SECRET, "another")), { code: "commitment-mismatch", index: 7 }],
    ["an erasure that nobody recorded", (l) => l.with(7, '{"erasedBy":20}'), { code: "body-missing", index: 7 }],
    ["a control event left out", (l) => l.with(0, '{"erasedBy":20}'), { code: "file-malformed" }],
    ["other spelling", (l) => l.with(7, ` ${l[7]}`), { code: "object-mismatch", index: 0 }],
    [
      "an entry of its own",
      (l) => l.with(7, l[7]!.replace("{", '{"entry":"x",')),
      { code: "object-mismatch", index: 0 },
    ],
    ["no object", (l) => l.with(7, "[]"), { code: "object-mismatch", index: 0 }],
    ["a line too few", (l) => l.slice(0, -1), { code: "object-missing", index: 255 }],
    ["a line too many", (l) => [...l, "{}"], { code: "object-mismatch", index: 0 }],
    ["no newline", (l) => l.join("\n"), { code: "object-mismatch", index: 0 }],
    ["too many bytes", () => "x".repeat(BODIES_BYTES_MAX + 1), { code: "object-mismatch", index: 0 }],
    ["bytes that are no text", () => "\ud800", { code: "object-mismatch", index: 0 }],
  ];

  it.each(cases)("%s is a finding", async (_title, change, finding) => {
    await using test = await secretLedger();
    const { ledger } = test;
    const archive = memoryArchive();
    await ledger.publish(archive, { bodies: true });
    const changed = change(textOf(archive, "body/000").trimEnd().split("\n"));
    const bytes =
      changed === "\ud800"
        ? Uint8Array.of(0xff, 10)
        : encodeUtf8(typeof changed === "string" ? changed : `${changed.join("\n")}\n`);
    await archive.replace("body/000", archive.objects.get("body/000") as Bytes, bytes);
    const report = await verify(archive, ledger);
    expect(report.findings).toEqual([expect.objectContaining(finding)]);
    expect(report.ok).toBe(false);
    expect(report.verdicts.integrity.status).not.toBe("pass");
    expect(exitCodeOf(report)).toBe(1);
  });

  it("a block that is missing is a finding, and all of them missing is a ledger without events", async () => {
    await using test = await secretLedger();
    const archive = memoryArchive();
    await test.ledger.publish(archive, { bodies: true });
    const without = (...paths: string[]): ArchiveReader => ({
      ...archive,
      get: async (path, options) => (paths.includes(path) ? undefined : archive.get(path, options)),
    });
    expect((await verify(without("body/001"), test.ledger)).findings).toEqual([
      expect.objectContaining({ code: "object-missing", index: 256, found: "body/001" }),
    ]);
    expect(await verify(without("body/000"), test.ledger)).toMatchObject({ ok: true, conclusive: true });
  });

  it("an event that was put under the signature and never should have been is found, as in an export", async () => {
    await using test = await secretLedger();
    const { ledger } = test;
    const archive = memoryArchive();
    await ledger.publish(archive, { bodies: true });
    const before = archive.objects.get("body/000") as Bytes;
    await eraseSecrets(ledger);
    await ledger.publish(archive);
    // Somebody puts back what was erased: the entry commits to it.
    await archive.replace("body/000", archive.objects.get("body/000") as Bytes, before);
    expect((await verify(archive, ledger)).findings).toEqual([
      expect.objectContaining({ code: "body-after-erasure", index: 7 }),
    ]);
  });
});

describe("a mirror with bodies", () => {
  it("is a full copy that verifies by itself, and goes on having them", async () => {
    await using test = await secretLedger();
    const { ledger } = test;
    const source = memoryArchive();
    const [with_, without] = [memoryArchive(), memoryArchive()];
    await ledger.publish(source, { bodies: true });
    expect(await follow(source, with_, ledger, true)).toMatchObject({ bodies: true });
    expect(await follow(source, without, ledger)).toMatchObject({ bodies: false });
    expect(hasBodies(without)).toBe(false);
    await append(ledger, 400);
    await ledger.publish(source);
    await follow(source, with_, ledger);
    expect(await verify(with_, ledger)).toMatchObject({
      ok: true,
      conclusive: true,
      summary: "intact: 931 entries, with their events",
    });
    for (const path of ["body/000", "body/003"]) expect(textOf(with_, path)).toBe(textOf(source, path));
    // Taken up later.
    expect(await follow(source, without, ledger, true)).toMatchObject({ bodies: true, before: 531 });
    expect(await verify(without, ledger)).toMatchObject({ summary: "intact: 931 entries, with their events" });
    expect(await follow(source, without, ledger)).toMatchObject({ objects: 0 });
  });

  it("loses what is erased, also where the source goes on showing it", async () => {
    await using test = await secretLedger();
    const { ledger } = test;
    const source = memoryArchive();
    const mirror = memoryArchive();
    await ledger.publish(source, { bodies: true });
    await follow(source, mirror, ledger, true);
    const old = new Map(source.objects);
    await eraseSecrets(ledger);
    await ledger.publish(source);
    const stubborn: ArchiveReader = {
      ...source,
      get: async (path, options) => (path === "body/000" ? old.get(path) : source.get(path, options)),
    };
    const fresh = memoryArchive();
    for (const target of [mirror, fresh]) {
      await follow(stubborn, target, ledger, true);
      expect(everything(target)).not.toContain(SECRET);
      expect(everything(target)).toContain("kept-value");
      expect(await verify(target, ledger)).toMatchObject({
        ok: true,
        conclusive: true,
        erased: { entries: 1, fields: 1 },
      });
    }
  });

  it("takes no body that is not the one of its entry, none that vanished, and says which", async () => {
    await using test = await secretLedger();
    const { ledger } = test;
    const source = memoryArchive();
    await ledger.publish(source, { bodies: true });
    const lines = textOf(source, "body/000").trimEnd().split("\n");
    const shows = (changed: readonly string[] | undefined): ArchiveReader => ({
      ...source,
      get: async (path, options) =>
        path !== "body/000"
          ? source.get(path, options)
          : changed === undefined
            ? undefined
            : encodeUtf8(changed.map((line) => `${line}\n`).join("")),
    });
    const refused: readonly (readonly [string[] | undefined, object])[] = [
      [lines.with(7, lines[7]!.replace(SECRET, "another")), { code: "verification-failed", details: { index: 7 } }],
      [lines.with(7, '{"erasedBy":20}'), { code: "verification-failed", details: { index: 7 } }],
      [lines.with(0, '{"erasedBy":20}'), { code: "verification-failed", details: { index: 0 } }],
      [lines.with(7, "{}"), { code: "verification-failed" }],
      [lines.slice(0, -1), { code: "not-found" }],
      [undefined, { code: "not-found" }],
    ];
    for (const [changed, error] of refused) {
      const target = memoryArchive();
      await expect(follow(shows(changed), target, ledger, true)).rejects.toMatchObject(error);
      expect(target.objects.has("checkpoint")).toBe(false);
      expect(target.objects.has("body/000")).toBe(false);
    }
  });

  it("is completed by the next run, wherever it was interrupted", async () => {
    await using test = await secretLedger();
    const { ledger } = test;
    const source = memoryArchive();
    const start = memoryArchive();
    await ledger.publish(source, { bodies: true });
    for (const first of [memoryArchive(), start]) {
      if (first === start) {
        await follow(source, start, ledger, true);
        await eraseSecrets(ledger);
        await append(ledger, 40);
        await ledger.publish(source);
      }
      await atEachCall(first, {
        work: (archive) => follow(source, archive, ledger, true),
        check: async (archive) => {
          if (archive.objects.has("checkpoint")) expect(await verify(archive, ledger)).toMatchObject({ ok: true });
        },
        finish: async (archive) => {
          await follow(source, archive, ledger, true);
          expect(await verify(archive, ledger)).toMatchObject({ ok: true, conclusive: true, size: ledger.size });
          for (const path of ["body/000", "body/001", "body/002"])
            expect(textOf(archive, path)).toBe(textOf(source, path));
        },
      });
    }
  });

  it("that was asleep does not bring back what another mirror of the same folder let go", async () => {
    await using test = await secretLedger();
    const { ledger } = test;
    const source = memoryArchive();
    const target = memoryArchive();
    await ledger.publish(source, { bodies: true });
    const old = memoryArchive();
    for (const [path, bytes] of source.objects) await old.replace(path, null, bytes);
    await eraseSecrets(ledger);
    await append(ledger, 40);
    await ledger.publish(source);
    const { promise: wake, resolve: waken } = sleepers();
    const sleeper: Archive = {
      ...target,
      replace: async (path, expected, next) => {
        if (path === "body/000") await wake;
        return target.replace(path, expected, next);
      },
    };
    const slow = follow(old, sleeper, ledger, true).catch((error: unknown) => error);
    await follow(source, target, ledger, true);
    waken();
    expect(await slow).toMatchObject({ code: "rolled-back" });
    expect(everything(target)).not.toContain(SECRET);
    expect(await verify(target, ledger)).toMatchObject({ ok: true, conclusive: true, size: ledger.size });
  });
});
