/**
 * Transactional outbox: an order and its audit record commit together, and reach the ledger once, whatever crashes.
 *
 *     node examples/outbox/demo.mjs [FOLDER]
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Ledger } from "tallystick";
import { openApplication, placeOrder } from "./application.mjs";
import { drain } from "./relay.mjs";

const CRASH = "--crash-between-append-and-delete";
const isCrashing = process.argv.includes(CRASH);
const folder =
  process.argv.find((argument, i) => i > 1 && argument !== CRASH) ?? mkdtempSync(join(tmpdir(), "outbox-"));

const db = openApplication(join(folder, "shop.db"));
const ledger = await Ledger.open(join(folder, "audit.db"));
const waiting = () => db.prepare("SELECT count(*) AS n FROM audit_outbox").get().n;

if (isCrashing) {
  // A relay that dies at the worst moment: the entries are in the ledger, their rows are still in the outbox.
  await drain(db, ledger, { afterAppend: () => process.kill(process.pid, "SIGKILL") });
}

placeOrder(db, { id: "order-1", customer: "alice", amount: 1250 });
placeOrder(db, { id: "order-2", customer: "bob", amount: 300 });
try {
  placeOrder(db, { id: "order-3", customer: "carol", amount: -1 });
} catch (error) {
  console.log(`order-3: rolled back (${error.code}), and its audit record with it`);
}
console.log(`in the outbox: ${waiting()}`);
await ledger.close();

const { signal } = spawnSync(process.execPath, [fileURLToPath(import.meta.url), folder, CRASH]);
console.log(`a relay appended them and was ended by ${signal}; still in the outbox: ${waiting()}`);

const reopened = await Ledger.open(join(folder, "audit.db"));
try {
  console.log(`the next relay sent ${await drain(db, reopened)} again; in the outbox: ${waiting()}`);
  for await (const { index, event } of reopened.query({ action: "order.*" })) {
    console.log(`entry ${index}: ${event?.action} ${event?.targets?.[0]?.id} by ${event?.actor}`);
  }
  console.log((await reopened.verify()).summary);
} finally {
  await reopened.close();
  db.close();
}
