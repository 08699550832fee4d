import { describe, expect, it } from "vitest";
import { FORGED_POLICY, signForged } from "../../test/published/forged-log.ts";
import { createTestLedger } from "../testing/create-test-ledger.ts";
import { encodeUtf8 } from "./encoding.ts";
import { type Evidence, formatEvidence, parseEvidence, verifyEvidence } from "./evidence.ts";
import { sha256 } from "./hash.ts";
import { createRange } from "./merkle.ts";
import { parsePolicy } from "./policy.ts";
import { proveConsistency } from "./proof.ts";

const leaf = (i: number, history = ""): Uint8Array => sha256(encodeUtf8(`${history}${i}`));

function tree(size: number, history = "") {
  const range = createRange();
  for (let i = 0; i < size; i++) range.append(leaf(i, history));
  const read = (_level: number, index: number, width: number): Uint8Array =>
    Buffer.concat(Array.from({ length: width }, (_, i) => leaf(index * 256 + i, history)));
  return { root: range.root(), read };
}

/** The log signed `small` entries of one history and `large` of another one. */
async function fork(small: number, large: number): Promise<Evidence> {
  const [ours, theirs] = [tree(small), tree(large, "other ")];
  const [held, shown] = [await signForged(small, ours.root), await signForged(large, theirs.root)];
  if (small === large) return { kind: "forked", held, shown };
  const proof = await proveConsistency(small, large, theirs.read);
  return { kind: "forked", held, shown, other: { root: tree(small, "other ").root, proof } };
}

describe("evidence of two checkpoints that contradict each other", () => {
  it.each([
    [7, 7],
    [1, 2],
    [7, 12],
    [64, 100],
    [99, 100],
  ])("proves a fork at sizes %i and %i, in either order", async (small, large) => {
    const evidence = await fork(small, large);
    const text = formatEvidence(evidence);
    expect(parseEvidence(text)).toEqual(evidence);
    expect(parseEvidence(encodeUtf8(text))).toEqual(evidence);
    expect(await verifyEvidence(text, FORGED_POLICY)).toMatchObject({
      kind: "forked",
      held: { size: small },
      shown: { size: large },
    });
    const turned = { ...evidence, held: evidence.shown, shown: evidence.held };
    expect(await verifyEvidence(formatEvidence(turned), FORGED_POLICY)).toMatchObject({ held: { size: large } });
  });

  it("proves no fork of one history", async () => {
    const { read } = tree(12);
    const [held, shown] = [await signForged(7, tree(7).root), await signForged(12, tree(12).root)];
    const other = { root: tree(7).root, proof: await proveConsistency(7, 12, read) };
    await expect(
      verifyEvidence(formatEvidence({ kind: "forked", held, shown, other }), FORGED_POLICY),
    ).rejects.toMatchObject({
      code: "proof-invalid",
      message: "evidence: both checkpoints have the same root at size 7: that is no fork",
    });
    for (const made of [held, shown])
      await expect(
        verifyEvidence(formatEvidence({ kind: "forked", held: made, shown: made }), FORGED_POLICY),
      ).rejects.toMatchObject({ code: "proof-invalid" });
  });

  it("refuses a root that the larger tree does not have, and one that is not proved", async () => {
    const evidence = await fork(7, 12);
    const { other = { root: new Uint8Array(32), proof: [] } } = evidence;
    for (const changed of [
      { ...evidence, other: { ...other, root: sha256(other.root) } },
      { ...evidence, other: { ...other, proof: other.proof.slice(1) } },
      { ...evidence, other: { ...other, proof: [] } },
      { ...evidence, other: undefined },
    ])
      await expect(verifyEvidence(formatEvidence(changed), FORGED_POLICY)).rejects.toMatchObject({
        code: "proof-invalid",
      });
  });

  it("tells of a rollback only if the size went down", async () => {
    const [small, large] = [await signForged(7, tree(7).root), await signForged(12, tree(12).root)];
    expect(
      await verifyEvidence(formatEvidence({ kind: "rolled-back", held: large, shown: small }), FORGED_POLICY),
    ).toMatchObject({ kind: "rolled-back", held: { size: 12 }, shown: { size: 7 } });
    for (const [held, shown] of [
      [small, large],
      [small, small],
    ] as const)
      await expect(
        verifyEvidence(formatEvidence({ kind: "rolled-back", held, shown }), FORGED_POLICY),
      ).rejects.toMatchObject({ code: "proof-invalid" });
  });

  it("counts for nothing unless the log of the policy signed both", async () => {
    const evidence = await fork(7, 12);
    await using other = await createTestLedger();
    await expect(verifyEvidence(formatEvidence(evidence), parsePolicy(other.ledger.policy()))).rejects.toMatchObject({
      code: "origin-mismatch",
    });
    for (const name of ["held", "shown"] as const) {
      const forged = { ...evidence, [name]: evidence[name].replace(/\n(\d+)\n/, "\n1$1\n") };
      await expect(verifyEvidence(formatEvidence(forged), FORGED_POLICY)).rejects.toMatchObject({
        code: "signature-invalid",
      });
      const garbage = { ...evidence, [name]: "garbage" };
      await expect(verifyEvidence(formatEvidence(garbage), FORGED_POLICY)).rejects.toMatchObject({
        code: "malformed-note",
      });
    }
  });

  it("has one spelling", async () => {
    const text = formatEvidence(await fork(7, 12));
    const hash = "0".repeat(64);
    for (const changed of [
      "",
      "\n",
      "{}\n",
      "[]\n",
      text.trimEnd(),
      ` ${text}`,
      `${text}\n`,
      text.replace("tallystick/evidence/v1", "tallystick/evidence/v2"),
      text.replace('"forked"', '"worked"'),
      text.replace('"kind"', '"kinds"'),
      text.replace('"root"', '"extra":1,"root"'),
      text.replace(/"root":"[0-9a-f]{64}"/, '"root":null'),
      text.replace(/"root":"[0-9a-f]{64}"/, '"root":"00"'),
      text.replace(/"root":"[0-9a-f]{64}"/, '"root":7'),
      text.replace(/"consistency":\[[^\]]*\]/, '"consistency":{}'),
      text.replace(/"consistency":\[[^\]]*\]/, '"consistency":["xyz"]'),
      text.replace(/"consistency":\[[^\]]*\]/, `"consistency":[${Array(64).fill(`"${hash}"`).join()}]`),
      text.replace(/"held":"[^"]*"/, '"held":7'),
      `${" ".repeat(3_000_000)}\n`,
    ]) {
      expect(() => parseEvidence(changed)).toThrow(expect.objectContaining({ code: "malformed-proof" }));
    }
    expect(() => parseEvidence(Uint8Array.of(0xff, 0x0a))).toThrow(
      expect.objectContaining({ code: "malformed-proof" }),
    );
  });
});
