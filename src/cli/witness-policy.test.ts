import { describe, expect, it } from "vitest";
import { formatVerifierKey, parseVerifierKey, type VerifierKey } from "../core/note.ts";
import { formatPolicy, type Policy, type PolicyParts, parsePolicy } from "../core/policy.ts";
import { generateLogKey } from "../keys/index.ts";
import { addWitness, majorityOf, quorumOf, quorumText } from "./witness-policy.ts";

const keyOf = (name: string, type: 1 | 4): VerifierKey =>
  parseVerifierKey(formatVerifierKey({ name, type, publicKey: generateLogKey().publicKey }));

const log = keyOf("log.test/a", 1);
const first = (parts: Partial<PolicyParts> = {}): Policy =>
  parsePolicy(formatPolicy({ logKeys: [log], genesis: "ab".repeat(32), ...parts }));
const add = (
  policy: Policy,
  name: string,
  more: { quorum?: number; operator?: string; key?: VerifierKey; url?: string } = {},
): Policy =>
  parsePolicy(addWitness(policy, { name, key: keyOf(`${name}.test`, 4), url: `http://${name}.test`, ...more }));

describe("a witness more", () => {
  it("counts with the others, of whom a majority is enough", () => {
    let policy = first();
    const quorums = ["a", "b", "c", "d", "e"].map((name) => {
      policy = add(policy, name);
      const { threshold, members } = quorumOf(policy) ?? { threshold: 0, members: [] };
      return [threshold, members.length];
    });
    expect(quorums).toEqual([
      [1, 1],
      [2, 2],
      [2, 3],
      [3, 4],
      [3, 5],
    ]);
    expect(policy).toMatchObject({ genesis: "ab".repeat(32), quorum: "witnesses" });
    expect(policy.witnesses.map(({ name, url }) => [name, url])).toEqual(
      ["a", "b", "c", "d", "e"].map((name) => [name, `http://${name}.test`]),
    );
  });

  it("leaves a number alone that somebody chose", () => {
    let policy = add(add(add(first(), "a"), "b"), "c", { quorum: 3 });
    expect(quorumOf(policy)).toMatchObject({ threshold: 3 });
    policy = add(policy, "d");
    expect(quorumOf(policy)).toMatchObject({ threshold: 3, members: ["a", "b", "c", "d"] });
    policy = add(policy, "e", { quorum: 1 });
    expect(quorumOf(add(policy, "f"))).toMatchObject({ threshold: 1 });
    expect(() => add(policy, "g", { quorum: 7 })).toThrow("expected --quorum to be 1 to 6");
  });

  it("joins the group of the quorum, also where that holds groups, and a single witness", () => {
    const [a, b, c] = ["a", "b", "c"].map((name) => ({ name, key: keyOf(`${name}.test`, 4), url: null }));
    if (a === undefined || b === undefined || c === undefined) throw new Error("expected three");
    const nested = first({
      witnesses: [a, b, c],
      groups: [
        { name: "ours", threshold: 1, members: ["a", "b"] },
        { name: "all", threshold: 2, members: ["ours", "c"] },
      ].map((group) => (group.name === "all" ? { ...group, name: "both" } : group)),
      quorum: "both",
    });
    expect(quorumOf(add(nested, "d"))).toEqual({ name: "both", threshold: 2, members: ["ours", "c", "d"] });
    const single = first({ witnesses: [a], quorum: "a" });
    expect(quorumOf(single)).toEqual({ name: "a", threshold: 1, members: ["a"] });
    expect(quorumOf(add(single, "d"))).toEqual({ name: "witnesses", threshold: 2, members: ["a", "d"] });
    const taken = first({ witnesses: [{ ...a, name: "witnesses" }], quorum: "none" });
    expect(quorumOf(add(taken, "d"))).toEqual({ name: "witnesses-2", threshold: 1, members: ["d"] });
  });

  it("counts once with the others of its operator, in the majority and in a number that was chosen", () => {
    const one = add(first(), "a", { operator: "acme" });
    const two = add(one, "b", { operator: "acme" });
    expect(two.operators).toEqual([{ name: "acme", witnesses: ["a", "b"] }]);
    expect(quorumOf(two)).toMatchObject({ threshold: 1, members: ["a", "b"] });
    expect(quorumText(two, quorumOf(two)!)).toBe("1 of 1 operators: acme (a, b)");
    const three = add(two, "c");
    expect(quorumOf(three)).toMatchObject({ threshold: 2, members: ["a", "b", "c"] });
    expect(quorumText(three, quorumOf(three)!)).toBe("2 of 2 operators: acme (a, b), c");
    expect(() => add(three, "d", { operator: "acme", quorum: 3 })).toThrow(
      "to be 1 to 2, the number of their operators",
    );
    expect(() => add(three, "d", { operator: "c" })).toThrow("operator: c is the name of a witness or group");
    const key = two.witnesses[1]!.key;
    const moved = add(three, "b", { key, operator: "other" });
    expect(moved.operators).toEqual([
      { name: "acme", witnesses: ["a"] },
      { name: "other", witnesses: ["b"] },
    ]);
    expect(quorumOf(moved)).toMatchObject({ threshold: 2 });
    expect(quorumOf(add(three, "a", { key: three.witnesses[0]!.key }))).toEqual(quorumOf(three));
  });

  it("moves when it is added again with its key and name", () => {
    const key = keyOf("a.test", 4);
    const policy = add(add(first(), "a", { key }), "b");
    const moved = add(policy, "a", { key, url: "https://new.test" });
    expect(moved.witnesses.map(({ url }) => url)).toEqual(["https://new.test", "http://b.test"]);
    expect(quorumOf(moved)).toEqual(quorumOf(policy));
  });

  it("is refused under the key or the name of another, and under a word of policies", () => {
    const key = keyOf("a.test", 4);
    const policy = add(first(), "a", { key });
    const renamed = parseVerifierKey(formatVerifierKey({ name: "z.test", type: 4, publicKey: key.publicKey }));
    for (const same of [key, renamed]) {
      expect(() => add(policy, "b", { key: same })).toThrow(
        expect.objectContaining({ code: "already-exists", message: expect.stringContaining("would count twice") }),
      );
    }
    expect(() => add(policy, "a")).toThrow(expect.objectContaining({ code: "already-exists" }));
    expect(() => add(policy, "witnesses")).toThrow(expect.objectContaining({ code: "already-exists" }));
    expect(() => add(policy, "any")).toThrow("expected --name to be no word of policies");
    const other = { name: "a b", key: keyOf("other.test", 4), url: "http://other.test" };
    expect(() => addWitness(policy, other)).toThrow(expect.objectContaining({ code: "malformed-policy" }));
    const logKey = parseVerifierKey(formatVerifierKey({ name: "c.test", type: 4, publicKey: log.publicKey }));
    expect(() => add(policy, "c", { key: logKey })).toThrow("a public key occurs twice");
  });
});

it("takes more than half for a majority", () => {
  expect([1, 2, 3, 4, 5, 6, 7].map(majorityOf)).toEqual([1, 2, 2, 3, 3, 4, 4]);
});
