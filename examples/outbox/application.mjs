import { randomUUID } from "node:crypto";
import Database from "better-sqlite3";

/** The application's own database. A ledger never shares a file with other tables; what happened goes into an outbox first. */
export function openApplication(file) {
  const db = new Database(file);
  db.pragma("journal_mode = WAL");
  // Otherwise the intent could be lost with the power after the transaction was answered for.
  db.pragma("synchronous = FULL");
  db.exec(`
    CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY, customer TEXT NOT NULL, amount INTEGER NOT NULL CHECK (amount > 0));
    CREATE TABLE IF NOT EXISTS audit_outbox (
      position INTEGER PRIMARY KEY AUTOINCREMENT,  -- the order of the commits
      id TEXT NOT NULL,                            -- becomes the event's id: one entry, however often it is sent
      event TEXT NOT NULL CHECK (json_valid(event)),
      refused TEXT                                 -- why the ledger will never take it; for a person to look at
    );
  `);
  return db;
}

/** Business row and intent row commit together, or neither does. */
export function placeOrder(db, { id, customer, amount }) {
  db.transaction(() => {
    record(db, { action: "order.placed", actor: customer, targets: [{ id, type: "order" }], payload: { amount } });
    db.prepare("INSERT INTO orders VALUES (?, ?, ?)").run(id, customer, amount);
  })();
}

/** Call it inside the transaction that it tells about. */
function record(db, event) {
  // The ledger's time will be that of the relay: when it happened is the application's to say.
  const body = JSON.stringify({ ...event, occurredAt: new Date().toISOString() });
  db.prepare("INSERT INTO audit_outbox (id, event) VALUES (?, ?)").run(randomUUID(), body);
}
