import { describe, expect, it } from "vitest";
import type { Event } from "../core/event.ts";
import { type FileLine, splitLines } from "../core/file-lines.ts";
import { exitCodeOf, type VerifyReport } from "../core/report.ts";
import { verifyExport } from "../core/verify-export.ts";
import type { Ledger } from "../open.ts";
import { createTestLedger } from "../testing/create-test-ledger.ts";
import type { ExportOptions } from "./export.ts";
import type { ExportedEntry } from "./export-line.ts";

interface Exported {
  readonly text: string;
  readonly lines: readonly Record<string, unknown>[];
  readonly entries: readonly ExportedEntry[];
  readonly report: VerifyReport;
}

async function exported(ledger: Ledger, options: ExportOptions): Promise<Exported> {
  const entries: ExportedEntry[] = [];
  let text = "";
  for await (const line of ledger.export({ ...options, onEntry: (entry) => entries.push(entry) })) text += line;
  const lines = (): AsyncGenerator<FileLine> => splitLines([new TextEncoder().encode(text)]);
  const report = await verifyExport(lines, { allowSelfAsserted: true });
  const parsed = text
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Record<string, unknown>);
  return { text, lines: parsed.slice(1), entries, report };
}

const pay = (amount: number, actor: string): Event => ({
  action: "order.paid",
  actor,
  payload: { amount, card: "4111" },
});
const members = (entries: readonly ExportedEntry[], membership: string): number[] =>
  entries.filter((entry) => entry.membership === membership).map(({ index }) => index);

describe("an export that proves its filter", () => {
  it("shows of the others just what makes them no members", async () => {
    await using test = await createTestLedger({ scheme: "fields" });
    const { ledger } = test;
    for (const [i, actor] of ["alice", "bob", "alice", "carol"].entries()) await ledger.append(pay(i, actor));
    await ledger.append({ action: "user.login", actor: "alice" });
    const { lines, entries, report, text } = await exported(ledger, {
      filter: { actor: "alice", where: { "payload.amount": 2 } },
      proveComplete: true,
    });
    expect(report.findings).toEqual([]);
    expect(exitCodeOf(report)).toBe(0);
    expect(report.verdicts.completeness.status).toBe("pass");
    expect(report.summary).toContain("1 matches the filter and 5 do not: the selection is complete");
    expect(members(entries, "member")).toEqual([3]);
    expect(members(entries, "open")).toEqual([]);
    const disclosed = lines
      .filter((line) => line.disclosed !== undefined)
      .map((line) => Object.keys(line.disclosed as object).join());
    // Two conditions are false of some: the one that reads fewer fields is shown, of the last entry none at all.
    expect(disclosed).toEqual(["payload.amount", "actor", "action,actor,payload.amount,payload.card", "actor", ""]);
    expect(text.match(/4111/g)).toHaveLength(1);
  });

  it("agrees with a query, whatever is asked", async () => {
    await using test = await createTestLedger({ scheme: "fields" });
    const { ledger, clock } = test;
    for (let i = 0; i < 40; i++) {
      clock.advance(1_000);
      await ledger.append({
        ...pay(i % 5, ["alice", "bob"][i % 2]!),
        outcome: i % 3 === 0 ? "success" : "failure",
        targets: [{ id: `order-${i % 4}` }],
        context: { requestId: `r-${i % 6}` },
        ...(i % 7 === 0 ? { type: "payment@1" } : {}),
      });
    }
    for (const filter of [
      { action: "order.*" },
      { action: "order.paid", outcome: "success" },
      { actor: "bob", first: 5, last: 30 },
      { target: "order-2", from: "2026-01-01T00:00:10Z" },
      { correlation: "r-3", to: "2026-01-01T00:00:20.000Z" },
      { type: "payment@1" },
      { where: { "payload.amount": 3, "targets.0.id": "order-0" } },
      { where: { "targets.length": 1 } },
    ] satisfies ExportOptions["filter"][]) {
      const found: number[] = [];
      for await (const { index } of ledger.query(filter)) found.push(index);
      const { entries, report } = await exported(ledger, { filter, proveComplete: true });
      expect(members(entries, "member"), JSON.stringify(filter)).toEqual(found);
      expect(members(entries, "open")).toEqual([]);
      expect(report.findings).toEqual([]);
      expect(report.conclusive).toBe(!("first" in filter));
    }
  });

  it("leaves bodies that are committed as a whole out, and a verifier says that they may belong", async () => {
    await using test = await createTestLedger();
    const { ledger } = test;
    for (const actor of ["alice", "bob", "carol"]) await ledger.append(pay(1, actor));
    const { lines, entries, report } = await exported(ledger, { filter: { actor: "alice" }, proveComplete: true });
    expect(lines.slice(1).map((line) => Object.keys(line).join())).toEqual(["entry,event,salt", "entry", "entry"]);
    expect(members(entries, "open")).toEqual([2, 3]);
    expect(report.findings).toEqual([]);
    expect(exitCodeOf(report)).toBe(3);
    expect(report.summary).toContain("of 2 nobody can say");
    expect(report.verdicts.integrity.unchecked).toContain("2 withheld bodies: only the commitment is here");
    const timed = await exported(ledger, { filter: { to: "2026-01-01" }, proveComplete: true });
    expect(exitCodeOf(timed.report)).toBe(0);
  });

  it("says of erased entries and fields that they may belong", async () => {
    await using test = await createTestLedger({ scheme: "fields" });
    const { ledger } = test;
    for (const actor of ["alice", "bob", "carol"]) await ledger.append(pay(1, actor));
    await ledger.erase({ index: 1 }, { reason: "request 1" });
    await ledger.erase({ index: 2, fields: ["actor"] }, { reason: "request 2" });
    const { entries, report } = await exported(ledger, { filter: { actor: "alice" }, proveComplete: true });
    expect(members(entries, "open")).toEqual([1, 2]);
    expect(report.summary).toContain("of 2 nobody can say, 1 of them erased");
    const other = await exported(ledger, { filter: { actor: "alice", action: "user.login" }, proveComplete: true });
    expect(members(other.entries, "open")).toEqual([1]);
  });

  it("shows of the selected only the fields that were asked for, and those that select them", async () => {
    await using test = await createTestLedger({ scheme: "fields" });
    const { ledger } = test;
    for (const actor of ["alice", "bob"]) await ledger.append(pay(1, actor));
    const names = ({ lines }: Exported): string[] =>
      lines.filter((line) => line.disclosed !== undefined).map((line) => Object.keys(line.disclosed as object).join());
    const disclose = ["action", "payload.amount", "payload.nothing"];
    const proved = await exported(ledger, { filter: { actor: "alice" }, proveComplete: true, disclose });
    expect(names(proved)).toEqual(["action,actor,payload.amount", "actor"]);
    expect(exitCodeOf(proved.report)).toBe(0);
    expect(names(await exported(ledger, { filter: { actor: "alice" }, disclose }))).toEqual(["action,payload.amount"]);
    expect(names(await exported(ledger, { disclose }))).toEqual(["action,payload.amount", "action,payload.amount"]);
  });

  it("refuses what cannot be proved or shown, and says what to do", async () => {
    await using test = await createTestLedger();
    const { ledger } = test;
    await ledger.append(pay(1, "alice"));
    const refused = (options: ExportOptions) => expect(exported(ledger, options)).rejects;
    await refused({ filter: { text: "4111" }, proveComplete: true }).toMatchObject({
      code: "not-disclosable",
      message: expect.stringContaining("--where PATH=VALUE"),
    });
    await refused({ filter: { where: { payload: 1 } }, proveComplete: true }).toMatchObject({
      code: "not-disclosable",
    });
    await refused({ disclose: ["action"] }).toMatchObject({ code: "not-disclosable" });
    for (const format of ["json", "csv"] as const) {
      const view = /expected no (?:proveComplete|disclose) with format (?:json|csv): it is a view/;
      await refused({ format, filter: { actor: "alice" }, proveComplete: true }).toThrow(view);
      await refused({ format, disclose: [] }).toThrow(view);
    }
    await refused({ filter: { colour: "red" } as never, proveComplete: true }).toThrow(TypeError);
  });

  it("is a plain range where nothing but indexes is asked for", async () => {
    await using test = await createTestLedger();
    await test.ledger.append(pay(1, "alice"));
    const { text } = await exported(test.ledger, { filter: { first: 0 }, proveComplete: true });
    expect(text).toContain('"selection":{"first":0,"kind":"range","last":1}');
  });
});
