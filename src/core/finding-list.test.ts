import { describe, expect, it } from "vitest";
import { FindingList } from "./finding-list.ts";

describe("FindingList", () => {
  it("fails a verdict by a finding that it no longer lists", () => {
    const findings = new FindingList(2);
    findings.add("derived-tile", "a tile", { index: 3 });
    findings.add("derived-tile", "a tile", { index: 1 });
    expect(findings.isOk).toBe(true);
    findings.add("commitment-mismatch", "another body", { index: 2 });
    findings.add("body-missing", "no body", { index: 4 });
    expect(findings.findings.map(({ index }) => index)).toEqual([1, 3]);
    expect([findings.omitted, findings.count, findings.isOk]).toEqual([2, 4, false]);
    expect(findings.failureOf("integrity")).toBe("another body (and 1 more)");
    expect(findings.failureOf("order")).toBeNull();
  });

  it("puts those about the whole file first, and keeps the order of the others", () => {
    const findings = new FindingList();
    findings.add("entry-missing", "b", { index: 1 });
    findings.add("index-mismatch", "c", { index: 1 });
    findings.add("checkpoint-root", "a");
    expect(findings.findings.map(({ message }) => message)).toEqual(["a", "b", "c"]);
    expect(findings.failureOf("order")).toBe("c");
  });
});
