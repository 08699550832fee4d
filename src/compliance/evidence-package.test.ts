import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it, onTestFinished } from "vitest";
import { fakeCalendar, fakeTsa, TSA_ROOT } from "../../test/anchors/fakes.ts";
import { bytesSource } from "../core/byte-source.ts";
import { exitCodeOf, type VerifyReport } from "../core/report.ts";
import { type VerifyPackageOptions, verifyPackage } from "../core/verify-package.ts";
import { ANCHOR_CLOSE_MS } from "../ledger/anchoring.ts";
import { Ledger, type MemoryOptions } from "../open.ts";
import { createTestLedger } from "../testing/create-test-ledger.ts";
import { simulatedClock } from "../testing/simulated-clock.ts";
import { type EvidencePackageOptions, writeEvidencePackage } from "./evidence-package.ts";

const folder = mkdtempSync(join(tmpdir(), "tallystick-evidence-"));
afterAll(() => rmSync(folder, { recursive: true }));

async function ledgerOf(actors: readonly string[], options: MemoryOptions = {}): Promise<Ledger> {
  const clock = simulatedClock();
  const { ledger } = await createTestLedger({ clock, ...options });
  onTestFinished(async () => {
    const closed = ledger.close();
    clock.advance(ANCHOR_CLOSE_MS);
    await closed;
  });
  for (const actor of actors) {
    clock.advance(1_000);
    await ledger.append({ action: "order.paid", actor, payload: { amount: 7, card: "4111" } });
  }
  return ledger;
}

let files = 0;
async function written(ledger: Ledger, options: Omit<EvidencePackageOptions, "out"> = {}) {
  const out = join(folder, `${++files}.zip`);
  const facts = await writeEvidencePackage(ledger, { out, ...options });
  const bytes = readFileSync(out);
  expect(bytes.length).toBe(facts.sizeBytes);
  expect(readdirSync(folder).filter((name) => name.startsWith("."))).toEqual([]);
  const verify = (more: Partial<VerifyPackageOptions> = {}): Promise<VerifyReport> =>
    verifyPackage(bytesSource(bytes), { allowSelfAsserted: false, policy: ledger.policy(), ...more });
  return { ...facts, bytes, verify };
}

describe("writeEvidencePackage", () => {
  it("writes a package of a whole ledger that verifies", async () => {
    const ledger = await ledgerOf(["alice", "bob"]);
    const { verify, report, ...facts } = await written(ledger);
    expect(facts).toMatchObject({
      kind: "range",
      first: 0,
      last: 2,
      size: 3,
      entries: { member: 3, open: 0 },
      anchors: 0,
    });
    const verified = await verify();
    expect(verified.findings).toEqual([]);
    expect(exitCodeOf(verified)).toBe(0);
    expect(report.verdicts).toEqual(verified.verdicts);
  });

  it("selects, proves and discloses what it is asked for", async () => {
    const ledger = await ledgerOf(["alice", "bob", "alice"], { scheme: "fields" });
    const slice = await written(ledger, { filter: { first: 2, last: 3 } });
    expect((await slice.verify()).range).toEqual([2, 3]);
    const filter = await written(ledger, { filter: { actor: "alice" } });
    expect(filter).toMatchObject({ kind: "filter", entries: { member: 2 } });
    expect(exitCodeOf(await filter.verify())).toBe(3);
    const proved = await written(ledger, { filter: { actor: "alice" }, proveComplete: true, disclose: ["action"] });
    expect(proved).toMatchObject({ kind: "complete", entries: { "member": 2, "no member": 2, "open": 0 } });
    expect(exitCodeOf(await proved.verify())).toBe(0);
    expect(exitCodeOf(await (await written(ledger, { disclose: [] })).verify())).toBe(0);
  });

  it("says which entries stay open, and why", async () => {
    const ledger = await ledgerOf(["alice", "bob", "carol"]);
    await ledger.erase({ index: 2 }, { reason: "request" });
    const { entries, open, verify } = await written(ledger, { filter: { actor: "alice" }, proveComplete: true });
    expect(entries).toEqual({ "member": 1, "no member": 2, "open": 2 });
    expect(open).toEqual({ whole: 1, erased: 1, fields: 0 });
    const verified = await verify();
    expect(exitCodeOf(verified)).toBe(3);
    expect(verified.summary).toContain("of 2 nobody can say, 1 of them erased");
  });

  it("proves that a history continues which the auditor knows", async () => {
    const ledger = await ledgerOf(["alice"]);
    const before = await ledger.checkpoint();
    await ledger.append({ action: "user.login" });
    const { verify } = await written(ledger, { since: before, filter: { first: 2 } });
    const verified = await verify({ expect: before });
    expect(verified.findings).toEqual([]);
    expect(verified.verdicts.completeness.unchecked.join()).not.toContain("cannot be compared");
    const { ledger: strange } = await createTestLedger({ seed: "another" });
    const elsewhere = await strange.checkpoint();
    await strange.close();
    const refused = (since: string) => expect(written(ledger, { since })).rejects;
    await refused(elsewhere).toMatchObject({ code: "origin-mismatch" });
    await refused("hello").toMatchObject({ code: "malformed-checkpoint" });
    await refused(before.replace(/\n2\n/, "\n1\n")).toMatchObject({ code: "forked" });
  });

  it("brings the recorded anchors along, with proofs of where they belong", async () => {
    const clock = simulatedClock();
    const anchors = [fakeTsa(() => clock.now()), fakeCalendar()];
    const { ledger } = await createTestLedger({ clock, anchors });
    await ledger.append({ action: "user.login" });
    await ledger.anchor();
    await ledger.append({ action: "user.logout" });
    const { anchors: count, verify } = await written(ledger);
    expect(count).toBe(2);
    const verified = await verify({ tsaRoots: [TSA_ROOT], requireAnchor: true });
    expect(verified.findings).toEqual([]);
    expect(exitCodeOf(verified)).toBe(0);
    expect(verified.timeline.notAfter).toMatchObject([{ size: 2 }]);
    expect(verified.timeline.notBefore).toMatchObject([{ index: 2 }]);
    expect(verified.verdicts.time.unchecked).toEqual([expect.stringContaining("1 OpenTimestamps proof: pending")]);
    expect(exitCodeOf(await verify({ requireAnchor: true }))).toBe(4);
    const closed = ledger.close();
    clock.advance(ANCHOR_CLOSE_MS);
    await closed;
  });

  it("takes the latest 1,000 anchors, and says how many it left out", async () => {
    const clock = simulatedClock();
    const { ledger } = await createTestLedger({ clock, anchors: [fakeTsa(() => clock.now())] });
    for (let i = 0; i < 1_003; i++) {
      clock.advance(1_000);
      await ledger.append({ action: "user.login" });
      await ledger.anchor();
    }
    const { anchors, anchorsLeftOut, report, verify } = await written(ledger);
    expect({ anchors, anchorsLeftOut }).toEqual({ anchors: 1_000, anchorsLeftOut: 3 });
    expect(report.verdicts.time.unchecked).toEqual(["3 older anchors were left out: a package takes the latest 1000"]);
    const verified = await verify({ tsaRoots: [TSA_ROOT], requireAnchor: true });
    expect(verified.findings).toEqual([]);
    // The first three stamp sizes 2, 4 and 6; what the fourth says, they would have said earlier.
    expect(verified.timeline.notAfter.at(0)?.size).toBe(8);
    expect(verified.verdicts.time.unchecked).toEqual(["3 recorded anchors: the package has no proof of them"]);
    const closed = ledger.close();
    clock.advance(ANCHOR_CLOSE_MS);
    await closed;
  });

  it("puts in claims that are marked as such", async () => {
    const { bytes } = await written(await ledgerOf(["<b>eve</b>"]));
    const names = ["report.html", "report.json", "readme.txt", "policy", "checkpoint", "manifest.json", "manifest.sig"];
    for (const name of names) expect(bytes.includes(name), name).toBe(true);
  });

  it("needs a log key that signs the manifest, and says so before the work", async () => {
    const place = mkdtempSync(join(folder, "ledger-"));
    const [path, options] = [join(place, "audit.db"), { state: join(place, "state") }];
    await (await Ledger.open(path, options)).close();
    const ledger = await Ledger.open(path, { ...options, readOnly: true });
    onTestFinished(() => ledger.close());
    const asked = writeEvidencePackage(ledger, { out: join(folder, "unsigned.zip") });
    await expect(asked).rejects.toMatchObject({
      code: "key-lost",
      message: expect.stringContaining("without a log key"),
    });
  });

  it("leaves the file that was there alone, and nothing beside it, when it cannot finish", async () => {
    const ledger = await ledgerOf(["alice"]);
    const out = join(folder, "kept.zip");
    writeFileSync(out, "before");
    const refused = (options: Partial<EvidencePackageOptions>) =>
      expect(writeEvidencePackage(ledger, { out, ...options })).rejects;
    await refused({ filter: { text: "4111" }, proveComplete: true }).toMatchObject({ code: "not-disclosable" });
    await refused({ disclose: ["action"] }).toMatchObject({ code: "not-disclosable" });
    await refused({ filter: { first: 9 } }).toThrow(RangeError);
    await refused({ since: "hello" }).toMatchObject({ code: "malformed-checkpoint" });
    await refused({ signal: AbortSignal.abort() }).toThrow("abort");
    await refused({ out: join(folder, "nowhere", "x.zip") }).toMatchObject({ code: "ENOENT" });
    expect(readFileSync(out, "utf8")).toBe("before");
    expect(readdirSync(folder).filter((name) => name.startsWith("."))).toEqual([]);
  });
});
