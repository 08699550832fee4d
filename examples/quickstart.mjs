/**
 * The whole of Tallystick in one file: record events, find them, prove one, and check the proof without the ledger.
 *
 *     node examples/quickstart.mjs [FOLDER]
 *
 * Run it twice: the events have ids, so the second run adds nothing.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { Ledger, verify } from "tallystick";

const folder = process.argv[2] ?? ".";
const ledger = await Ledger.open(join(folder, "audit.db"));
try {
  // An append resolves when the entry is on disk. `id` makes a retry safe.
  const login = await ledger.append({ id: "evt-1", action: "user.login", actor: "alice", outcome: "success" });
  await ledger.appendMany([
    { id: "evt-2", action: "order.placed", actor: "alice", targets: [{ id: "order-7" }], payload: { amount: 1250 } },
    { id: "evt-3", action: "order.refunded", actor: "bob", targets: [{ id: "order-7" }], outcome: "success" },
  ]);

  for await (const { index, event } of ledger.query({ target: "order-7" })) {
    console.log(`entry ${index}: ${event?.action} by ${event?.actor}`);
  }

  const report = await ledger.verify();
  console.log(report.summary);
  for (const [name, { status }] of Object.entries(report.verdicts)) console.log(`  ${name}: ${status}`);

  // What an outsider needs: the receipt of one entry, and the policy with the ledger's public key.
  const receiptFile = join(folder, "login.receipt.json");
  writeFileSync(receiptFile, await ledger.prove(login.index));
  const policy = ledger.policy();

  const checked = await verify(receiptFile, { policy, state: null });
  console.log(checked.summary.replace(ledger.origin, "the ledger"));
} finally {
  await ledger.close();
}
