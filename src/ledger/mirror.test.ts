import { describe, expect, it } from "vitest";
import { BAD_ENTRIES, FORGED_POLICY, forgeChain, publishForged } from "../../test/published/forged-log.ts";
import { parseContradiction, verifyContradiction } from "../core/contradiction.ts";
import { encodeHex, encodeUtf8 } from "../core/encoding.ts";
import { sha256 } from "../core/hash.ts";
import { hashLeaf } from "../core/merkle.ts";
import { formatNote, formatSignatureLine, formatVerifierKey, parseNote, parseVerifierKey } from "../core/note.ts";
import { formatPolicy, type Policy, parsePolicy } from "../core/policy.ts";
import { bundlePath, tilePath } from "../core/tile.ts";
import { logSignerFromSeed } from "../keys/index.ts";
import { type MemoryArchive, memoryArchive } from "../storage/archive/memory.ts";
import { createTestLedger } from "../testing/create-test-ledger.ts";
import { type ArchiveFault, faultyArchive } from "../testing/faulty-archive.ts";
import type { Archive } from "./archive.ts";
import type { LedgerEngine } from "./ledger.ts";
import { mirrorLedger } from "./mirror.ts";
import { seededRandom } from "./seeded-random.ts";

const event = (i: number) => ({ action: "test.event", actor: `actor-${i}`, payload: { i } });

async function append(ledger: LedgerEngine, count: number): Promise<void> {
  await ledger.appendMany(Array.from({ length: count }, (_, i) => event(i)));
}

/** Everything in an archive; text, because arrays of bytes compare slowly. */
function contentOf(archive: MemoryArchive): Record<string, string> {
  return Object.fromEntries([...archive.objects].map(([path, bytes]) => [path, Buffer.from(bytes).toString("base64")]));
}

const policyOf = (ledger: LedgerEngine): Policy => parsePolicy(ledger.policy());

describe("mirror", () => {
  it("follows a growing ledger and holds what it publishes, object for object", async () => {
    await using test = await createTestLedger();
    const { ledger } = test;
    const source = memoryArchive();
    const target = memoryArchive();
    const random = seededRandom("mirror");
    for (let step = 0; step < 12; step++) {
      const before = step === 0 ? 0 : ledger.size;
      const [a = 0, b = 0] = random.fill(new Uint8Array(2));
      await append(ledger, step % 3 === 0 ? 1 : a + b + 1);
      await ledger.publish(source);
      const progress: number[] = [];
      const mirrored = await mirrorLedger({
        source,
        target,
        policy: policyOf(ledger),
        onProgress: (done) => progress.push(done),
      });
      expect(mirrored).toMatchObject({ origin: ledger.origin, size: ledger.size, before });
      expect(progress.at(-1)).toBe(ledger.size);
      expect(contentOf(target)).toEqual(contentOf(source));
    }
    expect(await mirrorLedger({ source, target, policy: policyOf(ledger) })).toMatchObject({ objects: 0 });
  });

  it("reads no more of a large ledger than what is new", async () => {
    await using test = await createTestLedger();
    const { ledger } = test;
    await append(ledger, 3_000);
    const source = memoryArchive();
    const target = memoryArchive();
    await ledger.publish(source);
    await mirrorLedger({ source, target, policy: policyOf(ledger) });
    await append(ledger, 1);
    await ledger.publish(source);
    const counting = faultyArchive(source, () => undefined);
    await mirrorLedger({ source: counting, target, policy: policyOf(ledger) });
    expect(counting.calls.map(({ path }) => path)).toEqual([
      "checkpoint",
      "tile/1/000.p/11",
      "tile/0/011.p/186",
      // The block before the first new one, whose last entry the new ones must continue.
      "tile/0/010",
      "tile/entries/011.p/186",
    ]);
  });

  it("takes full tiles where the partial ones are gone", async () => {
    await using test = await createTestLedger();
    const { ledger } = test;
    const source = memoryArchive();
    await append(ledger, 99);
    await ledger.publish(source);
    const checkpoint = (await source.get("checkpoint")) as Uint8Array;
    await append(ledger, 300);
    await ledger.publish(source);
    // A reader that fetched the old checkpoint just before.
    const late: Archive = {
      ...source,
      get: async (path, options) => (path === "checkpoint" ? checkpoint : source.get(path, options)),
    };
    const target = memoryArchive();
    expect(await mirrorLedger({ source: late, target, policy: policyOf(ledger) })).toMatchObject({ size: 100 });
    expect([...target.objects.keys()].sort()).toEqual(["checkpoint", "tile/0/000.p/100", "tile/entries/000.p/100"]);
    await mirrorLedger({ source, target, policy: policyOf(ledger) });
    expect(contentOf(target)).toEqual(contentOf(source));
  });

  it.each(["fail-before", "fail-persisted", "crash-before", "crash-after"] as ArchiveFault[])(
    "is whole after every interruption, and completed by the next run (%s)",
    async (fault) => {
      await using test = await createTestLedger();
      const { ledger } = test;
      const old = memoryArchive();
      const source = memoryArchive();
      await append(ledger, 199);
      await ledger.publish(old);
      await ledger.publish(source);
      await append(ledger, 400);
      await ledger.publish(source);
      const policy = policyOf(ledger);
      for (let at = 1; ; at++) {
        const target = memoryArchive();
        await mirrorLedger({ source: old, target, policy });
        const faulty = faultyArchive(target, ({ number }) => (number === at ? fault : undefined));
        const failure = await mirrorLedger({ source, target: faulty, policy }).then(
          () => null,
          (error: { code: string }) => error.code,
        );
        if (faulty.calls.length < at) {
          expect(failure).toBeNull();
          break;
        }
        expect(failure).toMatch(/^(storage-io|outcome-unknown)$/);
        await mirrorLedger({ source, target, policy });
        expect(contentOf(target)).toEqual(contentOf(source));
      }
    },
  );

  it("writes nothing of a source that fails on the way, and goes on when it is back", async () => {
    await using test = await createTestLedger();
    const { ledger } = test;
    const source = memoryArchive();
    await append(ledger, 599);
    await ledger.publish(source);
    const policy = policyOf(ledger);
    for (let at = 1; ; at++) {
      const target = memoryArchive();
      const faulty = faultyArchive(source, ({ number }) => (number === at ? "fail-before" : undefined));
      const failed = await mirrorLedger({ source: faulty, target, policy }).then(
        () => false,
        () => true,
      );
      if (!failed) break;
      expect(target.objects.has("checkpoint")).toBe(false);
      await mirrorLedger({ source, target, policy });
      expect(contentOf(target)).toEqual(contentOf(source));
    }
  });
});

describe("mirror, of a source that lies", () => {
  async function publishedLedger(count: number) {
    const test = await createTestLedger();
    await append(test.ledger, count);
    const source = memoryArchive();
    await test.ledger.publish(source);
    return { test, source, policy: policyOf(test.ledger) };
  }

  it("tells of a rollback with both signed notes, in an evidence file that verifies", async () => {
    const { test, source, policy } = await publishedLedger(50);
    const older = memoryArchive();
    const target = memoryArchive();
    await mirrorLedger({ source, target, policy: policyOf(test.ledger) });
    await append(test.ledger, 400);
    await test.ledger.publish(older);
    await mirrorLedger({ source: older, target, policy });
    const before = contentOf(target);
    const shown = new TextDecoder().decode(await source.get("checkpoint"));
    const held = new TextDecoder().decode(await older.get("checkpoint"));
    const error = await mirrorLedger({ source, target, policy }).catch((thrown) => thrown);
    expect(error).toMatchObject({
      code: "rolled-back",
      details: { held, shown, expected: 451, found: 51, location: "memory:" },
    });
    expect(error.message).toContain("memory: shows size 51, but size 451 was seen before");
    const path = error.details.contradiction as string;
    const file = target.objects.get(path) as Uint8Array;
    expect(parseContradiction(file)).toEqual({ kind: "rolled-back", held, shown });
    expect(await verifyContradiction(file, policy)).toMatchObject({ held: { size: 451 }, shown: { size: 51 } });
    before[path] = Buffer.from(file).toString("base64");
    expect(contentOf(target)).toEqual(before);
    // Again: the same file.
    await expect(mirrorLedger({ source, target, policy })).rejects.toMatchObject({ details: { contradiction: path } });
    await test.ledger.close();
  });

  it.each([
    ["of the same size", 40, 40],
    ["that is larger", 40, 700],
    ["that is smaller", 700, 40],
    ["that is larger, from a full tile", 255, 511],
  ])("tells of another history %s, with a proof that needs nobody's word", async (_, first, second) => {
    await using ours = await createTestLedger();
    await using theirs = await createTestLedger();
    await append(ours.ledger, first);
    await theirs.ledger.append({ action: "another.history" });
    await append(theirs.ledger, second - 1);
    const target = memoryArchive();
    const policy = policyOf(ours.ledger);
    const source = memoryArchive();
    await ours.ledger.publish(source);
    await mirrorLedger({ source, target, policy });
    const before = contentOf(target);
    const other = memoryArchive();
    await theirs.ledger.publish(other);
    const error = await mirrorLedger({ source: other, target, policy }).catch((thrown) => thrown);
    expect(error).toMatchObject({
      code: "forked",
      details: { held: await ours.ledger.checkpoint(), shown: await theirs.ledger.checkpoint() },
    });
    const file = target.objects.get(error.details.contradiction) as Uint8Array;
    expect(await verifyContradiction(file, policy)).toMatchObject({ kind: "forked" });
    expect(contentOf(target)).toEqual({
      ...before,
      [error.details.contradiction]: Buffer.from(file).toString("base64"),
    });
  });

  it("tells of a fork also where the evidence cannot be kept", async () => {
    await using ours = await createTestLedger();
    await using theirs = await createTestLedger();
    await append(ours.ledger, 5);
    await theirs.ledger.append({ action: "another.history" });
    await append(theirs.ledger, 4);
    const [source, other, target] = [memoryArchive(), memoryArchive(), memoryArchive()];
    await ours.ledger.publish(source);
    await theirs.ledger.publish(other);
    const policy = policyOf(ours.ledger);
    await mirrorLedger({ source, target, policy });
    const full = faultyArchive(target, ({ operation }) => (operation === "put" ? "fail-before" : undefined));
    await expect(mirrorLedger({ source: other, target: full, policy })).rejects.toMatchObject({
      code: "forked",
      details: { contradiction: null, held: await ours.ledger.checkpoint(), shown: await theirs.ledger.checkpoint() },
    });
  });

  it("compares with a checkpoint that was seen elsewhere", async () => {
    const { test, source, policy } = await publishedLedger(50);
    await append(test.ledger, 50);
    const lastSeen = await test.ledger.checkpoint();
    const target = memoryArchive();
    await expect(mirrorLedger({ source, target, policy, lastSeen })).rejects.toMatchObject({ code: "rolled-back" });
    expect(target.objects.has("checkpoint")).toBe(false);
    await using theirs = await createTestLedger();
    await theirs.ledger.append({ action: "another.history" });
    await expect(
      mirrorLedger({ source, target, policy, lastSeen: await theirs.ledger.checkpoint() }),
    ).rejects.toMatchObject({ code: "forked" });
    await test.ledger.close();
  });

  it("accepts no checkpoint of another log, by another key, damaged, or absent", async () => {
    const { test, source, policy } = await publishedLedger(10);
    await using other = await createTestLedger({ seed: "other" });
    const target = memoryArchive();
    const refused = (archive: Archive, code: string) =>
      expect(mirrorLedger({ source: archive, target, policy })).rejects.toMatchObject({ code });
    const showing = async (note: string): Promise<Archive> => {
      const archive = memoryArchive();
      await archive.replace("checkpoint", null, encodeUtf8(note));
      return archive;
    };
    const note = new TextDecoder().decode(await source.get("checkpoint"));
    const { text } = parseNote(note);
    await refused(memoryArchive(), "not-found");
    await refused(await showing(await other.ledger.checkpoint()), "origin-mismatch");
    const stranger = formatSignatureLine(policy.origin, 12345, new Uint8Array(64));
    await refused(await showing(formatNote(text, [stranger])), "signature-missing");
    await refused(await showing(note.replace("\n11\n", "\n12\n")), "signature-invalid");
    await refused(await showing("<html></html>"), "malformed-note");
    await refused(await showing(`${text}\n${stranger.repeat(65)}`), "malformed-note");
    expect(target.objects.size).toBe(0);
    await test.ledger.close();
  });

  it("asks for the quorum that the policy names", async () => {
    const { test, source, policy } = await publishedLedger(10);
    const witness = logSignerFromSeed("ed25519", sha256(encodeUtf8("witness")));
    const key = parseVerifierKey(formatVerifierKey({ name: "w.example/w", type: 4, publicKey: witness.publicKey }));
    const strict = parsePolicy(formatPolicy({ ...policy, witnesses: [{ name: "w", key, url: null }], quorum: "w" }));
    await expect(mirrorLedger({ source, target: memoryArchive(), policy: strict })).rejects.toMatchObject({
      code: "quorum-not-reached",
      message: "memory:: the checkpoint of size 11 was cosigned by no witness; the policy asks for w",
    });
    await test.ledger.close();
  });

  it("writes no object that is not of the signed tree, whichever byte of the source is changed", async () => {
    const { test, source, policy } = await publishedLedger(600);
    for (const [path, object] of source.objects) {
      if (path === "checkpoint") continue;
      for (const at of [0, Math.floor(object.length / 2), object.length - 1]) {
        const damaged = memoryArchive();
        for (const [name, bytes] of source.objects) await damaged.put(name, bytes);
        (damaged.objects.get(path) as Uint8Array)[at]! ^= 1;
        const target = memoryArchive();
        const error = await mirrorLedger({ source: damaged, target, policy }).catch((thrown) => thrown);
        expect(error.code, path).toMatch(/^(proof-invalid|malformed-tile|verification-failed)$/);
        expect(contentOf(source)).toMatchObject(contentOf(target));
        expect(target.objects.has("checkpoint")).toBe(false);
      }
    }
    await test.ledger.close();
  });

  it.each([
    ["cut off", (bytes: Uint8Array) => bytes.subarray(0, -1)],
    ["too long", (bytes: Uint8Array) => Buffer.concat([bytes, Buffer.of(0)])],
    ["empty", () => new Uint8Array()],
    ["huge", () => new Uint8Array(1_000_000)],
  ])("refuses objects that are %s", async (_, change) => {
    const { test, source, policy } = await publishedLedger(600);
    for (const path of [tilePath(0, 1), tilePath(1, 0, 2), bundlePath(0), bundlePath(2, 89)]) {
      const changed: Archive = {
        ...source,
        get: async (name, { bytesMax = 0 } = {}) => {
          const bytes = (await source.get(name)) as Uint8Array;
          if (name !== path) return bytes;
          const other = change(bytes);
          // As every archive does.
          if (other.length > bytesMax) return source.get("tile/0/000", { bytesMax: 1 });
          return other;
        },
      };
      await expect(mirrorLedger({ source: changed, target: memoryArchive(), policy })).rejects.toMatchObject({
        code: "malformed-tile",
      });
    }
    await test.ledger.close();
  });

  it("says which object is missing", async () => {
    const { test, source, policy } = await publishedLedger(600);
    for (const path of [tilePath(0, 1), tilePath(1, 0, 2), bundlePath(0), bundlePath(2, 89)]) {
      const lacking: Archive = { ...source, get: async (name, o) => (name === path ? undefined : source.get(name, o)) };
      await expect(mirrorLedger({ source: lacking, target: memoryArchive(), policy })).rejects.toMatchObject({
        code: "not-found",
        details: { path },
      });
    }
    await test.ledger.close();
  });
});

describe("mirror, of a log that signs what it should not", () => {
  it("accepts well-formed entries", async () => {
    const source = memoryArchive();
    await publishForged(source, forgeChain(600));
    const target = memoryArchive();
    expect(await mirrorLedger({ source, target, policy: FORGED_POLICY })).toMatchObject({ size: 600 });
    await publishForged(source, forgeChain(700), 600);
    expect(await mirrorLedger({ source, target, policy: FORGED_POLICY })).toMatchObject({ size: 700, before: 600 });
  });

  it.each(BAD_ENTRIES)("refuses %s", async (_, code, at, change) => {
    const entries = forgeChain(400, ({ index }) => (index === at ? change : {}));
    const fromTheStart = memoryArchive();
    await publishForged(fromTheStart, entries);
    await expect(
      mirrorLedger({ source: fromTheStart, target: memoryArchive(), policy: FORGED_POLICY }),
    ).rejects.toMatchObject({
      code: "verification-failed",
      details: { findings: [{ code }] },
    });
    if (at === 0) return;
    // The same after 250 and 256 good entries that are mirrored already.
    for (const before of [250, 256]) {
      const source = memoryArchive();
      const target = memoryArchive();
      await publishForged(source, forgeChain(before));
      await mirrorLedger({ source, target, policy: FORGED_POLICY });
      await publishForged(source, entries, before);
      await expect(mirrorLedger({ source, target, policy: FORGED_POLICY })).rejects.toMatchObject({
        code: "verification-failed",
        details: { findings: [{ code }] },
      });
    }
    // For a log of another kind the entries are its own affair.
    const any = memoryArchive();
    expect(
      await mirrorLedger({ source: fromTheStart, target: any, policy: FORGED_POLICY, entries: "any" }),
    ).toMatchObject({
      size: 400,
    });
  });

  it("refuses another genesis than the policy pins", async () => {
    const source = memoryArchive();
    const entries = forgeChain(10);
    await publishForged(source, entries);
    const genesis = encodeHex(hashLeaf(encodeUtf8(entries[0] as string)));
    const target = memoryArchive();
    await expect(
      mirrorLedger({ source, target, policy: { ...FORGED_POLICY, genesis: "0".repeat(64) } }),
    ).rejects.toMatchObject({ details: { findings: [{ code: "genesis-mismatch", found: genesis }] } });
    expect(await mirrorLedger({ source, target, policy: { ...FORGED_POLICY, genesis } })).toMatchObject({ size: 10 });
  });
});

describe("mirror, of which the copy was tampered with", () => {
  it("never overwrites, and says what contradicts", async () => {
    await using test = await createTestLedger();
    const { ledger } = test;
    const source = memoryArchive();
    const policy = policyOf(ledger);
    const mirrored = async (): Promise<MemoryArchive> => {
      const target = memoryArchive();
      await mirrorLedger({ source, target, policy });
      return target;
    };
    await append(ledger, 255);
    await ledger.publish(source);
    const bundle = await mirrored();
    const other = await mirrored();
    const signed = await mirrored();
    const gone = await mirrored();
    await append(ledger, 100);
    await ledger.publish(source);
    (bundle.objects.get("tile/entries/000") as Uint8Array)[20]! ^= 1;
    await expect(mirrorLedger({ source, target: bundle, policy })).rejects.toMatchObject({ code: "proof-invalid" });
    await other.put("tile/0/001.p/100", encodeUtf8("planted"));
    await expect(mirrorLedger({ source, target: other, policy })).rejects.toMatchObject({ code: "already-exists" });
    const note = new TextDecoder().decode(signed.objects.get("checkpoint"));
    await signed.replace("checkpoint", encodeUtf8(note), encodeUtf8(note.replace("\n256\n", "\n200\n")));
    await expect(mirrorLedger({ source, target: signed, policy })).rejects.toMatchObject({
      code: "verification-failed",
      message: expect.stringContaining("does not hold under the policy"),
    });
    // A checkpoint that is gone costs nothing but the work: every object is compared with what is there.
    (gone.objects as Map<string, Uint8Array>).delete("checkpoint");
    expect(await mirrorLedger({ source, target: gone, policy })).toMatchObject({ size: 356, before: 0 });
  });
});
