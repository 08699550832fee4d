/**
 * What an external auditor does: checks a receipt and an export offline, under a policy that was pinned beforehand. No
 * ledger, no database, no network.
 *
 *     node examples/auditor.mjs POLICY FILE...      your own files
 *     node examples/auditor.mjs                     files made for the occasion, honest and then tampered with
 */
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { exitCodeOf, Ledger, verify } from "tallystick";

/** Prints the verdicts of one file; returns its exit code: 0 sound, 1 a finding, 3 inconclusive, 4 evidence missing. */
async function audit(file, policy) {
  // `state: null`: nothing that this machine happens to know of the ledger plays a part.
  const report = await verify(file, { policy, state: null });
  console.log(`${report.kind}: ${report.summary}`);
  for (const [name, { status, basis }] of Object.entries(report.verdicts)) {
    if (status !== "pass") console.log(`  ${name} ${status}: ${basis}`);
  }
  for (const { code, index, message } of report.findings) console.log(`  ${code} at entry ${index ?? "-"}: ${message}`);
  return exitCodeOf(report);
}

const [policyFile, ...files] = process.argv.slice(2);
if (policyFile !== undefined && files.length > 0) {
  const policy = readFileSync(policyFile, "utf8");
  const codes = [];
  for (const file of files) codes.push(await audit(file, policy));
  // Something wrong weighs more than something left open.
  process.exitCode = codes.includes(1) ? 1 : Math.max(...codes);
} else {
  const folder = mkdtempSync(join(tmpdir(), "auditor-"));
  const { policy, receipt, exported } = await operatorHandsOver(folder);
  await audit(receipt, policy);
  await audit(exported, policy);

  writeFileSync(exported, readFileSync(exported, "utf8").replace('"amount":1250', '"amount":9250'));
  console.log("after somebody changed one digit:");
  process.exitCode = await audit(exported, policy);
}

/** The other side of the table. The policy reaches the auditor first, and by another way than the files. */
async function operatorHandsOver(folder) {
  const ledger = await Ledger.open(join(folder, "books.db"), {
    origin: "example.com/books",
    state: join(folder, "operator-state"),
    notify: () => {},
  });
  try {
    const policy = ledger.policy();
    const { index } = await ledger.append({ action: "invoice.paid", actor: "alice", payload: { amount: 1250 } });
    await ledger.append({ action: "invoice.sent", actor: "bob", payload: { amount: 80 } });
    const receipt = join(folder, "payment.receipt.json");
    writeFileSync(receipt, await ledger.prove(index));
    const exported = join(folder, "books.jsonl");
    await writeFile(exported, ledger.export());
    return { policy, receipt, exported };
  } finally {
    await ledger.close();
  }
}
