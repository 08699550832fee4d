import { beforeAll, describe, expect, it } from "vitest";
import {
  BAD_ENTRIES,
  FORGED_ORIGIN,
  FORGED_POLICY_TEXT,
  forgeChain,
  publishForged,
  signForged,
} from "../../test/published/forged-log.ts";
import { logSignerFromSeed } from "../keys/index.ts";
import { type MemoryArchive, memoryArchive } from "../storage/archive/memory.ts";
import { createTestLedger } from "../testing/create-test-ledger.ts";
import { encodeHex, encodeUtf8 } from "./encoding.ts";
import { UnavailableError } from "./errors.ts";
import { sha256 } from "./hash.ts";
import { hashLeaf } from "./merkle.ts";
import { cosignNote, formatNote, formatSignatureLine, formatVerifierKey, parseNote, parseVerifierKey } from "./note.ts";
import { formatPolicy, parsePolicy } from "./policy.ts";
import { exitCodeOf, type Finding, type VerifyReport } from "./report.ts";
import { type VerifyPublishedOptions, verifyPublished } from "./verify-published.ts";

function copyOf(archive: MemoryArchive): Map<string, Uint8Array> {
  return new Map([...archive.objects].map(([path, bytes]) => [path, Uint8Array.from(bytes)]));
}

async function verifyObjects(
  objects: ReadonlyMap<string, Uint8Array>,
  options: VerifyPublishedOptions = { policy: FORGED_POLICY_TEXT },
): Promise<VerifyReport> {
  const note = objects.get("checkpoint") as Uint8Array;
  return (await verifyPublished(note, async (path) => objects.get(path), options)).report;
}

function codes(findings: readonly Finding[]): string[] {
  return findings.map(({ code, index }) => `${code}${index === undefined ? "" : ` ${index}`}`);
}

const SIZE = 600;
const entries = forgeChain(SIZE);
const archive = memoryArchive();
beforeAll(() => publishForged(archive, entries));

describe("verification of a published ledger", () => {
  it("passes a whole one, and says on what each verdict rests", async () => {
    await using test = await createTestLedger();
    const { ledger } = test;
    await ledger.appendMany(Array.from({ length: 300 }, (_, i) => ({ action: "test.event", payload: { i } })));
    const own = memoryArchive();
    await ledger.publish(own);
    const progress: number[] = [];
    const note = own.objects.get("checkpoint") as Uint8Array;
    const { report, genesis } = await verifyPublished(note, async (path) => own.objects.get(path), {
      policy: ledger.policy(),
      onProgress: (done, total) => progress.push(done / total),
    });
    expect(genesis).toBe(ledger.genesis);
    expect(progress).toEqual([256 / 301, 1]);
    const keyName = parsePolicy(ledger.policy()).logKeys[0]?.vkey.slice(0, ledger.origin.length + 9);
    expect(report).toEqual({
      format: "tallystick/report/v1",
      kind: "published",
      ok: true,
      conclusive: true,
      origin: ledger.origin,
      size: 301,
      root: expect.stringMatching(/^[0-9a-f]{64}$/),
      range: null,
      pin: "policy",
      verdicts: {
        integrity: {
          status: "pass",
          basis: "each of 301 entries and every tile was hashed again and gives the root of the checkpoint",
          unchecked: ["what the entries commit to: events are not published here"],
        },
        order: { status: "pass", basis: "indexes, links and times of 301 entries follow one another", unchecked: [] },
        authenticity: {
          status: "pass",
          basis: `checkpoint of size 301 signed by ${keyName}, under the pinned policy`,
          unchecked: ["keys, rules and author signatures: they stand in events, which were not seen here"],
        },
        completeness: {
          status: "pass",
          basis: "no gap from genesis to the checkpoint of size 301",
          unchecked: ["that no later checkpoint was withheld: nothing that the reader held reaches beyond size 0"],
        },
        independence: {
          status: "notEstablished",
          basis: "nobody outside vouches: the policy asks for no witnesses",
          unchecked: [],
        },
        time: {
          status: "notEstablished",
          basis: "no time from outside: those of the entries are the claim of the ledger",
          unchecked: [],
        },
      },
      findings: [],
      findingsOmitted: 0,
      erased: { entries: 0, fields: 0 },
      timeline: { notAfter: [], notBefore: [] },
      requiredMissing: [],
      needsReindex: false,
      summary: "intact: 301 entries, without their events",
    });
    expect(exitCodeOf(report)).toBe(0);
  });

  it.each([1, 2, 255, 256, 257, 511, 512, 513])("passes size %i", async (size) => {
    const published = memoryArchive();
    await publishForged(published, entries.slice(0, size));
    expect(await verifyObjects(copyOf(published))).toMatchObject({ ok: true, conclusive: true, size });
  });

  it("establishes nothing about whose it is without a policy", async () => {
    const report = await verifyObjects(copyOf(archive), {});
    expect(report).toMatchObject({ ok: true, conclusive: false, pin: "none" });
    expect(report.verdicts.authenticity.status).toBe("notEstablished");
    expect(report.verdicts.independence.status).toBe("notEstablished");
    expect(report.summary).toBe(
      "consistent with itself, but no key is pinned: anybody could have published it; give --policy",
    );
    expect(exitCodeOf(report)).toBe(3);
  });

  it("passes on errors that say nothing about the evidence", async () => {
    const note = archive.objects.get("checkpoint") as Uint8Array;
    const failing = verifyPublished(note, async () => {
      throw new UnavailableError("storage-io", "the disk is gone");
    });
    await expect(failing).rejects.toMatchObject({ code: "storage-io" });
    const reason = new Error("enough");
    const stopped = verifyPublished(note, async (path) => archive.objects.get(path), {
      signal: AbortSignal.abort(reason),
    });
    await expect(stopped).rejects.toBe(reason);
  });
});

describe("objects that are not what the checkpoint signs", () => {
  it("names the entry, whichever byte of a bundle is changed", async () => {
    for (const [path, index] of [
      ["tile/entries/000", 0],
      ["tile/entries/001", 256],
      ["tile/entries/002.p/88", 512],
    ] as const) {
      const bytes = archive.objects.get(path) as Uint8Array;
      // Every byte of the first entry, its length included, and one bit further each time.
      for (let i = 0; i < 2 + (entries[index] as string).length; i += i < 4 ? 1 : 29) {
        const objects = copyOf(archive);
        const changed = bytes.slice();
        changed[i]! ^= 1 << (i % 8);
        objects.set(path, changed);
        const report = await verifyObjects(objects);
        expect(report.ok).toBe(false);
        expect(codes(report.findings)).toContain(`object-mismatch ${index}`);
        if (i < 2) continue;
        const finding = report.findings.find(({ code }) => code === "object-mismatch");
        expect(finding).toMatchObject({
          message: `entry ${index} is not the one that the checkpoint signs`,
          expected: encodeHex(hashLeaf(encodeUtf8(entries[index] as string))),
          evidence: "checkpoint of size 600",
        });
      }
    }
  });

  it("names the tile, whichever bit of it is flipped", async () => {
    for (const [path, index] of [
      ["tile/0/000", 0],
      ["tile/0/001", 256],
      ["tile/0/002.p/88", 512],
      ["tile/1/000.p/2", 0],
    ] as const) {
      const { length } = archive.objects.get(path) as Uint8Array;
      for (let bit = 0; bit < length * 8; bit += length * 8 < 1_000 ? 1 : 1_597) {
        const objects = copyOf(archive);
        (objects.get(path) as Uint8Array)[bit >> 3]! ^= 1 << (bit & 7);
        const report = await verifyObjects(objects);
        expect(report.findings).toEqual([
          {
            code: "object-mismatch",
            index,
            found: path,
            message: `${path} is not what its entries give: proofs made from it do not hold`,
            evidence: "checkpoint of size 600",
          },
        ]);
        expect(report.verdicts.integrity.status).toBe("fail");
        expect(exitCodeOf(report)).toBe(1);
      }
    }
  });

  it("tells a damaged tile from a damaged entry elsewhere", async () => {
    const objects = copyOf(archive);
    (objects.get("tile/0/000") as Uint8Array)[5 * 32]! ^= 1;
    (objects.get("tile/entries/001") as Uint8Array)[2 + 60]! ^= 1;
    const report = await verifyObjects(objects);
    expect(codes(report.findings)).toEqual(
      expect.arrayContaining(["object-mismatch 0", "object-mismatch 256", "previous-mismatch 257"]),
    );
    expect(report.findings.map(({ message }) => message)).toEqual(
      expect.arrayContaining([
        "tile/0/000 is not what its entries give: proofs made from it do not hold",
        "entry 256 is not the one that the checkpoint signs",
      ]),
    );
  });

  it("says of a block whose tile and entries are both damaged that they contradict each other", async () => {
    const objects = copyOf(archive);
    (objects.get("tile/0/000") as Uint8Array)[5 * 32]! ^= 1;
    (objects.get("tile/entries/000") as Uint8Array)[2 + 60]! ^= 1;
    const report = await verifyObjects(objects);
    expect(report.findings[0]).toMatchObject({
      code: "object-mismatch",
      index: 0,
      message: "tile/0/000 and the entries below it contradict each other",
    });
  });

  it("names what is missing, each object once", async () => {
    for (const path of archive.objects.keys()) {
      if (path === "checkpoint") continue;
      const objects = copyOf(archive);
      objects.delete(path);
      const report = await verifyObjects(objects);
      expect(report.verdicts.completeness.status).toBe("fail");
      expect(report.findings).toHaveLength(1);
      expect(report.findings[0]?.message).toContain(path);
      expect(report.findings[0]?.code).toBe(path.startsWith("tile/entries/") ? "entry-missing" : "object-missing");
    }
    const nothing = new Map([["checkpoint", archive.objects.get("checkpoint") as Uint8Array]]);
    const { findings } = await verifyObjects(nothing);
    // A run of entries counts once.
    expect(codes(findings)).toEqual([
      "checkpoint-root",
      "object-missing 0",
      "entry-missing 0",
      ...["object-missing 0", "object-missing 256", "object-missing 512"],
    ]);
    expect(findings.map(({ found }) => found)).toEqual(
      expect.arrayContaining(["tile/0/000", "tile/0/001", "tile/0/002.p/88", "tile/1/000.p/2"]),
    );
    expect(findings.find(({ code }) => code === "entry-missing")).toMatchObject({
      message: "entries 0 to 599 are missing: tile/entries/000 is not published",
      expected: "0",
      found: "600",
    });
    const ends = copyOf(archive);
    ends.delete("tile/entries/000");
    ends.delete("tile/entries/002.p/88");
    expect((await verifyObjects(ends)).findings.map(({ message }) => message)).toEqual([
      "entries 0 to 255 are missing: tile/entries/000 is not published",
      "entries 512 to 599 are missing: tile/entries/002.p/88 is not published",
    ]);
  });

  it("does not search for ever what a hostile checkpoint claims", async () => {
    const objects = copyOf(archive);
    const root = sha256(encodeUtf8("anything"));
    objects.set("checkpoint", encodeUtf8(await signForged(Number.MAX_SAFE_INTEGER, root)));
    let reads = 0;
    const note = objects.get("checkpoint") as Uint8Array;
    const { report } = await verifyPublished(
      note,
      async (path) => {
        reads += 1;
        return objects.get(path);
      },
      { policy: FORGED_POLICY_TEXT },
    );
    expect(codes(report.findings)).toContain("entry-missing 512");
    expect(report.findings.find(({ code }) => code === "entry-missing")?.found).toBe(String(Number.MAX_SAFE_INTEGER));
    expect(reads).toBeLessThan(2_000);
  });

  it.each([
    ["cut off", (bytes: Uint8Array) => bytes.subarray(0, -1)],
    ["too long", (bytes: Uint8Array) => Buffer.concat([bytes, Buffer.of(0)])],
    ["empty", () => new Uint8Array()],
  ])("names objects that are %s", async (_, change) => {
    for (const path of archive.objects.keys()) {
      if (path === "checkpoint") continue;
      const objects = copyOf(archive);
      objects.set(path, change(objects.get(path) as Uint8Array));
      const report = await verifyObjects(objects);
      expect(report.findings.map(({ code, found }) => ({ code, found }))).toContainEqual({
        code: "object-mismatch",
        found: path,
      });
    }
  });

  it("takes entries for those of the checkpoint only if the root says so", async () => {
    const objects = copyOf(archive);
    const other = memoryArchive();
    await publishForged(
      other,
      forgeChain(SIZE, ({ index }) => (index === 9 ? { commitment: `sha256:${"d".repeat(64)}` } : {})),
    );
    objects.set("checkpoint", other.objects.get("checkpoint") as Uint8Array);
    const report = await verifyObjects(objects);
    expect(codes(report.findings)).toEqual(["checkpoint-root"]);
    expect(report.verdicts.completeness.status).toBe("fail");
  });

  it("finds the one damaged object of a ledger with three levels", async () => {
    const large = memoryArchive();
    await publishForged(large, forgeChain(66_000));
    const paths = ["tile/1/000", "tile/2/000.p/1", "tile/1/001.p/1", "tile/0/100", "tile/0/256"];
    for (const path of paths) {
      const objects = new Map(large.objects);
      const damaged = (objects.get(path) as Uint8Array).slice();
      damaged[40 % damaged.length]! ^= 1;
      objects.set(path, damaged);
      const { findings } = await verifyObjects(objects);
      expect(findings.map(({ code, found }) => `${code} ${found}`)).toEqual([`object-mismatch ${path}`]);
    }
    const objects = new Map(large.objects);
    for (const path of ["tile/1/000", "tile/entries/100"]) {
      const damaged = (objects.get(path) as Uint8Array).slice();
      damaged[60]! ^= 1;
      objects.set(path, damaged);
    }
    // Below a damaged tile of level 1 nothing can be settled for certain.
    expect(codes((await verifyObjects(objects)).findings)).toEqual([
      "object-mismatch 0",
      "object-mismatch 25600",
      "previous-mismatch 25601",
    ]);
  }, 60_000);

  it("lists a bounded number of findings, and counts the rest", async () => {
    const wrong = memoryArchive();
    await publishForged(
      wrong,
      forgeChain(SIZE, () => ({ previous: "a".repeat(64) })),
    );
    const report = await verifyObjects(copyOf(wrong), { policy: FORGED_POLICY_TEXT, findingsMax: 10 });
    expect(report.findings).toHaveLength(10);
    expect(report.findingsOmitted).toBe(SIZE - 10);
    expect(report.summary).toBe(`NOT intact: ${SIZE} findings`);
  });
});

describe("entries that the log should never have signed", () => {
  it.each(BAD_ENTRIES)("reports %s", async (_, code, index, change) => {
    const wrong = memoryArchive();
    await publishForged(
      wrong,
      forgeChain(400, (entry) => (entry.index === index ? change : {})),
    );
    const report = await verifyObjects(copyOf(wrong));
    expect(codes(report.findings)).toEqual([`${code} ${index}`]);
    expect(report.ok).toBe(false);
  });
});

describe("the checkpoint", () => {
  const noteOf = (text: string): Uint8Array => encodeUtf8(text);
  const published = (): string => new TextDecoder().decode(archive.objects.get("checkpoint"));
  const withNote = (note: string): Map<string, Uint8Array> => copyOf(archive).set("checkpoint", noteOf(note));

  it.each([
    ["not a note", "<html></html>"],
    ["cut off", `${FORGED_ORIGIN}\n600\n`],
    ["of size 0", `${FORGED_ORIGIN}\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n— ${FORGED_ORIGIN} AAAAAAA=\n`],
  ])("is refused when it is %s, and nothing else is looked at", async (_, note) => {
    const report = await verifyObjects(withNote(note));
    expect(codes(report.findings)).toEqual(["checkpoint-malformed"]);
    expect(report.verdicts.authenticity.status).toBe("fail");
    expect(report.verdicts.integrity.status).toBe("notChecked");
    expect(report).toMatchObject({ kind: "published", ok: false, conclusive: false });
  });

  it("is refused under the policy of another log, and under another key", async () => {
    await using other = await createTestLedger();
    const elsewhere = await verifyObjects(copyOf(archive), { policy: other.ledger.policy() });
    expect(elsewhere.findings).toMatchObject([
      { code: "origin-mismatch", expected: other.ledger.origin, found: FORGED_ORIGIN },
      { code: "genesis-mismatch", index: 0 },
    ]);
    const stranger = logSignerFromSeed("ed25519", sha256(encodeUtf8("stranger")));
    const key = parseVerifierKey(formatVerifierKey({ name: FORGED_ORIGIN, type: 1, publicKey: stranger.publicKey }));
    const unsigned = await verifyObjects(copyOf(archive), { policy: formatPolicy({ logKeys: [key] }) });
    expect(codes(unsigned.findings)).toEqual(["checkpoint-signature"]);
    const { text, signatures } = parseNote(published());
    const [signature] = signatures;
    const broken = formatSignatureLine(FORGED_ORIGIN, signature?.keyId ?? 0, new Uint8Array(64));
    expect(codes((await verifyObjects(withNote(formatNote(text, [broken])))).findings)).toEqual([
      "checkpoint-signature",
    ]);
  });

  it("must begin with the genesis that the policy pins", async () => {
    const pinned = (genesis: string) => formatPolicy({ ...parsePolicy(FORGED_POLICY_TEXT), genesis });
    const genesis = encodeHex(hashLeaf(encodeUtf8(entries[0] as string)));
    expect(await verifyObjects(copyOf(archive), { policy: pinned(genesis) })).toMatchObject({ ok: true });
    const report = await verifyObjects(copyOf(archive), { policy: pinned("0".repeat(64)) });
    expect(report.findings).toMatchObject([{ code: "genesis-mismatch", index: 0, found: genesis }]);
  });

  it("passes independence and time with a quorum of cosignatures, and holds the last entry's time against them", async () => {
    const { witness, name, policy } = witnessedPolicy();
    expect(await verifyObjects(copyOf(archive), { policy })).toMatchObject({ ok: true, requiredMissing: ["quorum"] });
    const { text, signatures } = parseNote(published());
    const cosigned = async (time: number): Promise<VerifyReport> => {
      const lines = [...signatures.map(({ line }) => line), await cosignNote(text, name, witness, { time })];
      return verifyObjects(withNote(formatNote(text, lines)), { policy });
    };
    const first = Date.parse("2026-01-01T00:00:00.599Z") / 1_000;
    const good = await cosigned(Math.ceil(first));
    expect(good).toMatchObject({ ok: true, requiredMissing: [], findings: [] });
    expect(good.verdicts.independence.status).toBe("pass");
    expect(good.verdicts.time.status).toBe("pass");
    const early = await cosigned(Math.floor(first) - 301);
    expect(codes(early.findings)).toEqual(["time-after-evidence 599"]);
    expect(early.verdicts.time.status).toBe("fail");
  });
});

function witnessedPolicy() {
  const witness = logSignerFromSeed("ed25519", sha256(encodeUtf8("witness")));
  const name = "w.example/w";
  const key = parseVerifierKey(formatVerifierKey({ name, type: 4, publicKey: witness.publicKey }));
  const policy = formatPolicy({
    ...parsePolicy(FORGED_POLICY_TEXT),
    witnesses: [{ name: "w", key, url: null }],
    quorum: "w",
  });
  return { witness, name, policy };
}

describe("checkpoints that the reader held", () => {
  const SIZES = [1, 2, 255, 256, 257, 400, 511, 512, 513, 599, 600];
  const held = (note: string, source: "expect" | "lastSeen" = "lastSeen"): VerifyPublishedOptions => ({
    policy: FORGED_POLICY_TEXT,
    held: [{ source, note }],
  });

  it.each(SIZES)("agree when they are of the same history (size %i)", async (size) => {
    const older = memoryArchive();
    const note = await publishForged(older, entries.slice(0, size));
    const report = await verifyObjects(copyOf(archive), held(note));
    expect(report).toMatchObject({ ok: true, findings: [] });
    expect(report.verdicts.independence).toMatchObject({
      status: "pass",
      basis: `the history up to size ${size} is the one that the reader saw before`,
    });
    expect(report.verdicts.completeness.unchecked).toHaveLength(size === SIZE ? 0 : 1);
  });

  it.each(SIZES)("show another history, with both notes (size %i)", async (size) => {
    const note = await signForged(size, sha256(encodeUtf8("another history")));
    const report = await verifyObjects(copyOf(archive), held(note));
    expect(report.findings).toMatchObject([
      {
        code: "expected-root",
        message: `another history of size ${size} is published than that of the checkpoint that this machine saw last`,
        notes: [note, new TextDecoder().decode(archive.objects.get("checkpoint"))],
      },
    ]);
    expect(report.verdicts.completeness.status).toBe("fail");
    expect(exitCodeOf(report)).toBe(1);
  });

  it("count for independence under a policy without witnesses alone", async () => {
    const note = await publishForged(memoryArchive(), entries.slice(0, 400));
    const answer = async (policy: string | undefined) => {
      const report = await verifyObjects(copyOf(archive), { policy, held: [{ source: "expect", note }] });
      return `${report.verdicts.independence.status} ${report.requiredMissing.join()} ${exitCodeOf(report)}`;
    };
    expect(await answer(FORGED_POLICY_TEXT)).toBe("pass  0");
    expect(await answer(undefined)).toBe("notEstablished  3");
    expect(await answer(witnessedPolicy().policy)).toBe("notEstablished quorum 4");
  });

  it("show a rollback, with both notes", async () => {
    const note = await signForged(601, sha256(encodeUtf8("more")));
    const report = await verifyObjects(copyOf(archive), held(note, "expect"));
    expect(report.findings).toMatchObject([
      {
        code: "expected-beyond",
        expected: "601",
        found: "600",
        evidence: "the expected checkpoint",
        notes: [note, new TextDecoder().decode(archive.objects.get("checkpoint"))],
      },
    ]);
  });

  it("count for nothing when they are of another log, unsigned or no checkpoint", async () => {
    await using other = await createTestLedger();
    const cases = [
      [await other.ledger.checkpoint(), "origin-mismatch"],
      ["garbage", "checkpoint-malformed"],
      [(await signForged(5, sha256(encodeUtf8("x")))).replace("\n5\n", "\n6\n"), "checkpoint-signature"],
    ] as const;
    for (const [note, code] of cases)
      expect(codes((await verifyObjects(copyOf(archive), held(note))).findings)).toEqual([code]);
    // One that the reader hands in, and that is none, says nothing of what is published.
    await expect(verifyObjects(copyOf(archive), held("garbage", "expect"))).rejects.toMatchObject({
      code: "malformed-config",
      details: { option: "expect" },
    });
  });
});
