import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { FORGED_POLICY, signForged } from "../../test/published/forged-log.ts";
import { createTestLedger } from "../testing/create-test-ledger.ts";
import { type Contradiction, formatContradiction, parseContradiction, verifyContradiction } from "./contradiction.ts";
import { encodeUtf8 } from "./encoding.ts";
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
async function fork(small: number, large: number): Promise<Contradiction> {
  const [ours, theirs] = [tree(small), tree(large, "other ")];
  const [held, shown] = [await signForged(small, ours.root), await signForged(large, theirs.root)];
  if (small === large) return { kind: "forked", held, shown };
  const proof = await proveConsistency(small, large, theirs.read);
  return { kind: "forked", held, shown, other: { root: tree(small, "other ").root, proof } };
}

/** The first line of a page of the specification that begins so. */
function exampleOf(page: string, beginning: string): string {
  const text = readFileSync(new URL(`../../spec/${page}`, import.meta.url), "utf8");
  return `${text.split("\n").find((line) => line.startsWith(beginning))}\n`;
}

describe("a file of two checkpoints that contradict each other", () => {
  it.each([
    [7, 7],
    [1, 2],
    [7, 12],
    [64, 100],
    [99, 100],
  ])("proves a fork at sizes %i and %i, in either order", async (small, large) => {
    const contradiction = await fork(small, large);
    const text = formatContradiction(contradiction);
    expect(parseContradiction(text)).toEqual(contradiction);
    expect(parseContradiction(encodeUtf8(text))).toEqual(contradiction);
    expect(await verifyContradiction(text, FORGED_POLICY)).toMatchObject({
      kind: "forked",
      held: { size: small },
      shown: { size: large },
    });
    const turned = { ...contradiction, held: contradiction.shown ?? "", shown: contradiction.held };
    expect(await verifyContradiction(formatContradiction(turned), FORGED_POLICY)).toMatchObject({
      held: { size: large },
    });
  });

  it("verifies as in the example of the specification", async () => {
    const policy = parsePolicy(`${exampleOf("policy.md", "log example.com/audit+")}quorum none\n`);
    expect(await verifyContradiction(exampleOf("published.md", '{"consistency"'), policy)).toMatchObject({
      kind: "forked",
      held: { size: 2 },
      shown: { size: 3 },
    });
  });

  it("proves no fork of one history", async () => {
    const { read } = tree(12);
    const [held, shown] = [await signForged(7, tree(7).root), await signForged(12, tree(12).root)];
    const other = { root: tree(7).root, proof: await proveConsistency(7, 12, read) };
    await expect(
      verifyContradiction(formatContradiction({ kind: "forked", held, shown, other }), FORGED_POLICY),
    ).rejects.toMatchObject({
      code: "proof-invalid",
      message: "contradiction: both checkpoints have the same root at size 7: that is no fork",
    });
    for (const made of [held, shown])
      await expect(
        verifyContradiction(formatContradiction({ kind: "forked", held: made, shown: made }), FORGED_POLICY),
      ).rejects.toMatchObject({ code: "proof-invalid" });
  });

  it("refuses a root that the larger tree does not have, and one that is not proved", async () => {
    const contradiction = await fork(7, 12);
    const { other = { root: new Uint8Array(32), proof: [] } } = contradiction;
    for (const changed of [
      { ...contradiction, other: { ...other, root: sha256(other.root) } },
      { ...contradiction, other: { ...other, proof: other.proof.slice(1) } },
      { ...contradiction, other: { ...other, proof: [] } },
      { ...contradiction, other: undefined },
    ])
      await expect(verifyContradiction(formatContradiction(changed), FORGED_POLICY)).rejects.toMatchObject({
        code: "proof-invalid",
      });
  });

  it("tells of a rollback only if the size went down", async () => {
    const [small, large] = [await signForged(7, tree(7).root), await signForged(12, tree(12).root)];
    expect(
      await verifyContradiction(formatContradiction({ kind: "rolled-back", held: large, shown: small }), FORGED_POLICY),
    ).toMatchObject({ kind: "rolled-back", held: { size: 12 }, shown: { size: 7 } });
    for (const [held, shown] of [
      [small, large],
      [small, small],
    ] as const)
      await expect(
        verifyContradiction(formatContradiction({ kind: "rolled-back", held, shown }), FORGED_POLICY),
      ).rejects.toMatchObject({ code: "proof-invalid" });
  });

  it("counts for nothing unless the log of the policy signed both", async () => {
    const contradiction = await fork(7, 12);
    await using other = await createTestLedger();
    await expect(
      verifyContradiction(formatContradiction(contradiction), parsePolicy(other.ledger.policy())),
    ).rejects.toMatchObject({
      code: "origin-mismatch",
    });
    for (const name of ["held", "shown"] as const) {
      const forged = { ...contradiction, [name]: contradiction[name]?.replace(/\n(\d+)\n/, "\n1$1\n") };
      await expect(verifyContradiction(formatContradiction(forged), FORGED_POLICY)).rejects.toMatchObject({
        code: "signature-invalid",
      });
      const garbage = { ...contradiction, [name]: "garbage" };
      await expect(verifyContradiction(formatContradiction(garbage), FORGED_POLICY)).rejects.toMatchObject({
        code: "malformed-note",
      });
    }
  });

  it("may show nothing signed: then it says what was held, and proves no more", async () => {
    const { held } = await fork(7, 12);
    for (const kind of ["forked", "rolled-back"] as const) {
      const text = formatContradiction({ kind, held, shown: null });
      expect(parseContradiction(text)).toEqual({ kind, held, shown: null });
      expect(await verifyContradiction(text, FORGED_POLICY)).toMatchObject({ kind, held: { size: 7 }, shown: null });
      const forged = text.replace("\\n7\\n", "\\n8\\n");
      await expect(verifyContradiction(forged, FORGED_POLICY)).rejects.toMatchObject({ code: "signature-invalid" });
    }
  });

  it("has one spelling", async () => {
    const text = formatContradiction(await fork(7, 12));
    const hash = "0".repeat(64);
    for (const changed of [
      "",
      "\n",
      "{}\n",
      "[]\n",
      text.trimEnd(),
      ` ${text}`,
      `${text}\n`,
      text.replace("tallystick/contradiction/v1", "tallystick/contradiction/v2"),
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
      text.replace(/"held":"[^"]*"/, '"held":null'),
      text.replace(/"shown":"[^"]*"/, '"shown":7'),
      text.replace(/"shown":"[^"]*"/, '"shown":null'),
      `${" ".repeat(3_000_000)}\n`,
    ]) {
      expect(() => parseContradiction(changed)).toThrow(expect.objectContaining({ code: "malformed-proof" }));
    }
    expect(() => parseContradiction(Uint8Array.of(0xff, 0x0a))).toThrow(
      expect.objectContaining({ code: "malformed-proof" }),
    );
  });
});
