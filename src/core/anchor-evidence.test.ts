import { createHash } from "node:crypto";
import { beforeAll, describe, expect, it } from "vitest";
import { type Issued, issue, makeResponse, makeToken } from "../../test/anchors/authority.ts";
import { mineHeader, REGTEST_BITS } from "../../test/anchors/bitcoin.ts";
import { ed25519Signer, seedOf, verifierOf } from "../../test/interop/note-signers.ts";
import {
  type AnchorExamination,
  type ExamineAnchorsOptions,
  examineAnchors,
  type ShownAnchor,
} from "./anchor-evidence.ts";
import { type Certificate, parseCertificate } from "./anchor-proof/certificate.ts";
import { formatOtsFile, type OtsItem, type OtsTimestamp } from "./anchor-proof/opentimestamps.ts";
import { formatCheckpoint } from "./checkpoint.ts";
import { encodeHex, encodeUtf8 } from "./encoding.ts";
import { formatNote, type NoteSigner, signNote } from "./note.ts";
import { formatPolicy, parsePolicy } from "./policy.ts";

const ORIGIN = "example.com/audit";
const signer = ed25519Signer(seedOf("log"));
const policy = parsePolicy(formatPolicy({ logKeys: [verifierOf(ORIGIN, signer, 1)] }));
const authorityRoot = issue({ name: "Root" });
const authority = issue({ name: "Authority", issuer: authorityRoot });
const pin = (...issued: Issued[]): readonly Certificate[] => issued.map((one) => parseCertificate(one.der));
const sha = (...bytes: Uint8Array[]): Uint8Array => {
  const hash = createHash("sha256");
  for (const one of bytes) hash.update(one);
  return Uint8Array.from(hash.digest());
};
const rootAt = (size: number): Uint8Array => sha(encodeUtf8(`root ${size}`));
const GEN_TIME = "20260203040506Z";
const BLOCK_TIME = 1_770_000_000;
const HEIGHT = 840_000;

async function noteOf(
  size: number,
  options: { origin?: string; root?: Uint8Array; signer?: NoteSigner } = {},
): Promise<Uint8Array> {
  const { origin = ORIGIN, root = rootAt(size) } = options;
  const text = formatCheckpoint({ origin, size, root });
  return encodeUtf8(formatNote(text, [await signNote(text, origin, options.signer ?? signer)]));
}

const stamp = (note: Uint8Array, options: Partial<Parameters<typeof makeToken>[0]> = {}): Uint8Array =>
  makeResponse(makeToken({ digest: sha(note), signer: authority, genTime: GEN_TIME, ...options }));

/** A promise, and with a height the block that keeps it. */
function ots(
  note: Uint8Array,
  { heights = [], nonce = 1 }: { heights?: readonly number[]; nonce?: number } = {},
): { proof: Uint8Array; merkleRoot: Uint8Array } {
  const message = sha(note);
  const argument = Uint8Array.of(nonce);
  const promised = sha(message, argument);
  const merkleRoot = sha(promised);
  const attestations = heights.map(
    (height): OtsItem => ({ kind: "attestation", attestation: { kind: "bitcoin", height } }),
  );
  const none = new Uint8Array();
  const leaf: OtsTimestamp = {
    message: promised,
    items: [
      { kind: "attestation", attestation: { kind: "pending", uri: "https://calendar.example" } },
      ...(heights.length === 0
        ? []
        : [
            {
              kind: "operation",
              operation: { name: "sha256", argument: none },
              next: { message: merkleRoot, items: attestations },
            } as const,
          ]),
    ],
  };
  const hashed: OtsTimestamp = {
    message,
    items: [{ kind: "operation", operation: { name: "sha256", argument: none }, next: leaf }],
  };
  const timestamp: OtsTimestamp = {
    message,
    items: [{ kind: "operation", operation: { name: "append", argument }, next: hashed }],
  };
  return { proof: formatOtsFile({ fileHash: "sha256", timestamp }), merkleRoot };
}

function shown(
  note: Uint8Array,
  proof: Uint8Array,
  more: { kind?: string; index?: number; size?: number; root?: Uint8Array } = {},
): ShownAnchor {
  const { kind = "rfc3161", index = 12, size = 10, root = rootAt(size) } = more;
  const recorded = { index, size, root: encodeHex(root), note: encodeHex(sha(note)), proof: encodeHex(sha(proof)) };
  return { kind, note, proof, recorded };
}

function examine(
  anchors: readonly ShownAnchor[],
  options: Partial<ExamineAnchorsOptions> = {},
): Promise<AnchorExamination> {
  return examineAnchors(anchors, {
    ...{ origin: ORIGIN, policy, tsaRoots: pin(authorityRoot), headers: [], bitsMax: REGTEST_BITS },
    rootAt: (size) => encodeHex(rootAt(size)),
    ...options,
  });
}

const codes = ({ findings }: AnchorExamination): readonly string[] => findings.map((finding) => finding.code);
let note: Uint8Array;
beforeAll(async () => {
  note = await noteOf(10);
});

describe("an RFC 3161 anchor", () => {
  it("bounds the entries that it covers, and those that follow its event", async () => {
    const result = await examine([shown(note, stamp(note))]);
    const source = "RFC 3161 time stamp of entry 12 by CN=Authority";
    expect(result).toMatchObject({
      ...{ findings: [], unchecked: [], held: ["rfc3161"] },
      notAfter: [{ size: 10, time: "2026-02-03T04:05:07.000Z", source: expect.stringContaining(source) }],
      notBefore: [{ index: 12, time: "2026-02-03T04:05:05.000Z" }],
    });
    expect(result.notAfter[0]!.relies).toMatch(/tells the right time/);
  });

  it("follows nothing when no event names it", async () => {
    const result = await examine([{ ...shown(note, stamp(note)), recorded: null }]);
    expect([result.notAfter.length, result.notBefore.length]).toEqual([1, 0]);
  });

  it("says so when it states no accuracy", async () => {
    const { notAfter } = await examine([shown(note, stamp(note, { accuracy: null }))]);
    expect(notAfter).toMatchObject([
      { time: "2026-02-03T04:05:06.000Z", source: expect.stringMatching(/states no accuracy$/) },
    ]);
  });

  it("supports nothing and accuses nobody where its authority is not pinned", async () => {
    for (const tsaRoots of [[], pin(issue({ name: "Other" }))]) {
      const result = await examine([shown(note, stamp(note)), shown(note, stamp(note))], { tsaRoots });
      expect(result).toMatchObject({ findings: [], held: [], notAfter: [], notBefore: [] });
      expect(result.unchecked).toEqual([
        "2 RFC 3161 time stamps: no certificate that the reader pins vouches for the authority",
      ]);
    }
  });

  it("is a finding where its signature is wrong, pinned or not", async () => {
    const forged = shown(note, stamp(note, { signWith: issue({ name: "Thief" }).keys.privateKey }));
    for (const tsaRoots of [[], pin(authorityRoot)]) {
      const result = await examine([forged], { tsaRoots });
      expect(result).toMatchObject({ held: [], findings: [{ code: "anchor-invalid", index: 12 }] });
    }
  });
});

describe("an OpenTimestamps anchor", () => {
  const kind = "opentimestamps";
  const headerFor = (merkleRoot: Uint8Array, height = HEIGHT) => ({
    height,
    header: mineHeader(merkleRoot, BLOCK_TIME),
  });

  it("bounds by two hours around its block", async () => {
    const { proof, merkleRoot } = ots(note, { heights: [HEIGHT] });
    const result = await examine([shown(note, proof, { kind })], { headers: [headerFor(merkleRoot)] });
    expect(result).toMatchObject({
      ...{ findings: [], unchecked: [], held: [kind] },
      notAfter: [
        {
          size: 10,
          time: "2026-02-02T04:40:00.000Z",
          source: "OpenTimestamps proof of entry 12 in Bitcoin block 840000",
        },
      ],
      notBefore: [{ index: 12, time: "2026-02-02T00:40:00.000Z" }],
    });
  });

  it("bounds nothing while it is pending, or its header is not at hand", async () => {
    const pending = await examine([shown(note, ots(note).proof, { kind })]);
    expect(pending).toMatchObject({ findings: [], held: [], notAfter: [], notBefore: [] });
    expect(pending.unchecked).toEqual(["1 OpenTimestamps proof: pending, no block attests it yet"]);
    const elsewhere = await examine([shown(note, ots(note, { heights: [HEIGHT] }).proof, { kind })]);
    expect(elsewhere.unchecked).toEqual(["1 OpenTimestamps proof: no header of a block that attests it is at hand"]);
  });

  it("is no open matter any more once its upgrade is there, but another promise is", async () => {
    const { proof, merkleRoot } = ots(note, { heights: [HEIGHT] });
    const first = shown(note, ots(note).proof, { kind });
    const other = shown(note, ots(note, { nonce: 2 }).proof, { kind, index: 13 });
    const upgraded = shown(note, proof, { kind, index: 14 });
    const headers = [headerFor(merkleRoot)];
    expect((await examine([first, upgraded], { headers })).unchecked).toEqual([]);
    expect((await examine([first, other, upgraded], { headers })).unchecked).toEqual([
      "1 OpenTimestamps proof: pending, no block attests it yet",
    ]);
  });

  it("is a finding where every block that it names contradicts it", async () => {
    const { proof } = ots(note, { heights: [HEIGHT] });
    const headers = [headerFor(sha(encodeUtf8("another block")))];
    expect(codes(await examine([shown(note, proof, { kind })], { headers }))).toEqual(["anchor-invalid"]);
  });

  it("is left open where one block contradicts it and another is not at hand", async () => {
    const { proof } = ots(note, { heights: [HEIGHT, HEIGHT + 1] });
    const headers = [headerFor(sha(encodeUtf8("another block")))];
    const result = await examine([shown(note, proof, { kind })], { headers });
    expect(result).toMatchObject({ findings: [], held: [] });
    expect(result.unchecked).toHaveLength(1);
  });

  it("throws for headers of the reader that are none", async () => {
    const bad = { height: 1, header: new Uint8Array(79) };
    await expect(examine([], { headers: [bad] })).rejects.toMatchObject({ code: "proof-invalid" });
  });
});

describe("an anchor that does not belong", () => {
  const finding = async (anchor: ShownAnchor, options: Partial<ExamineAnchorsOptions> = {}): Promise<string> => {
    const result = await examine([anchor], options);
    expect(result).toMatchObject({ held: [], notAfter: [], notBefore: [] });
    expect(result.findings).toHaveLength(1);
    expect(result.findings[0]!.index).toBe(12);
    return `${result.findings[0]!.code}: ${result.findings[0]!.message}`;
  };

  it("is missing where its note or its proof is gone", async () => {
    const good = shown(note, stamp(note));
    expect(await finding({ ...good, note: null })).toMatch(/^anchor-missing: the note/);
    expect(await finding({ ...good, proof: null })).toMatch(/^anchor-missing: the proof/);
  });

  it("is a mismatch where note or proof are not those recorded", async () => {
    const good = shown(note, stamp(note));
    expect(await finding({ ...good, note: await noteOf(9) })).toMatch(/^anchor-mismatch: the note/);
    expect(await finding({ ...good, proof: stamp(note) })).toMatch(/^anchor-mismatch: the proof/);
  });

  it("is a mismatch where it is of another ledger, size or history", async () => {
    const foreign = await noteOf(10, { origin: "example.com/other" });
    expect(await finding(shown(foreign, stamp(foreign)))).toMatch(/another ledger/);
    const nine = await noteOf(9);
    expect(await finding(shown(nine, stamp(nine)))).toMatch(/another checkpoint than its event says/);
    const other = await noteOf(10, { root: sha(encodeUtf8("x")) });
    expect(await finding(shown(other, stamp(other)))).toMatch(/another checkpoint than its event says/);
    expect(await finding(shown(other, stamp(other), { root: sha(encodeUtf8("x")) }))).toMatch(/of another history/);
    expect(await finding(shown(encodeUtf8("hello\n"), stamp(encodeUtf8("hello\n"))))).toMatch(/is no checkpoint/);
  });

  it("is a mismatch where the proof stamps something else", async () => {
    const nine = await noteOf(9);
    expect(await finding(shown(note, stamp(nine)))).toMatch(/^anchor-mismatch: .* stamps something else/);
    expect(await finding(shown(note, ots(nine).proof, { kind: "opentimestamps" }))).toMatch(
      /^anchor-mismatch: .* stamps something else/,
    );
  });

  it("is invalid where the proof does not parse", async () => {
    for (const kind of ["rfc3161", "opentimestamps"]) {
      for (const proof of [new Uint8Array(), encodeUtf8("{}"), new Uint8Array(70_000)]) {
        expect(await finding(shown(note, proof, { kind }))).toMatch(/^anchor-invalid/);
      }
    }
  });

  it("is not accepted under another key than the pinned one", async () => {
    const forged = await noteOf(10, { signer: ed25519Signer(seedOf("thief")) });
    expect(await finding(shown(forged, stamp(forged)))).toMatch(/^checkpoint-signature/);
    expect(await finding(shown(note, stamp(note)), { policy: async () => "no" })).toMatch(
      /^checkpoint-signature: .*: no$/,
    );
  });

  it("takes nothing from the others", async () => {
    const result = await examine([
      { ...shown(note, stamp(note)), proof: null },
      shown(note, stamp(note), { index: 20 }),
    ]);
    expect(codes(result)).toEqual(["anchor-missing"]);
    expect(result.held).toEqual(["rfc3161"]);
  });

  it("is left open where its kind or the root at its size is not known", async () => {
    const result = await examine([shown(note, encodeUtf8("?"), { kind: "new" })]);
    expect(result).toMatchObject({
      findings: [],
      held: [],
      unchecked: ["1 anchor: of a kind that this verifier does not know"],
    });
    const beyond = await examine([shown(note, stamp(note))], { rootAt: () => null });
    expect(beyond).toMatchObject({ findings: [], held: [], notAfter: [] });
    expect(beyond.unchecked).toHaveLength(1);
  });
});

describe("entry times", () => {
  // The token says 04:05:06, give or take a second.
  const times = (covered: string, following: string) => (index: number) =>
    index === 12 ? following : index === 9 ? covered : null;

  it("may lie 300 s beyond what is proved", async () => {
    const timeAt = times("2026-02-03T04:10:07.000Z", "2026-02-03T04:00:05.000Z");
    expect(codes(await examine([shown(note, stamp(note))], { timeAt }))).toEqual([]);
  });

  it("are findings beyond that: set forward before the anchor, back-dated after it", async () => {
    const timeAt = times("2026-02-03T04:10:07.001Z", "2026-02-03T04:00:04.999Z");
    const { findings, held } = await examine([shown(note, stamp(note))], { timeAt });
    expect(held).toEqual(["rfc3161"]);
    expect(findings).toMatchObject([
      {
        code: "time-after-evidence",
        index: 9,
        expected: "2026-02-03T04:10:07.000Z",
        found: "2026-02-03T04:10:07.001Z",
      },
      {
        code: "time-before-evidence",
        index: 12,
        expected: "2026-02-03T04:00:05.000Z",
        found: "2026-02-03T04:00:04.999Z",
      },
    ]);
  });
});
