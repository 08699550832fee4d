import { isTallystickError } from "tallystick";

const ROWS = 500;

/**
 * Moves every waiting intent into the ledger, oldest first, and returns how many. An append is durable before its row is
 * deleted; a crash in between sends the row again, and its `id` makes that the same entry. Several relays may run at once.
 */
export async function drain(db, ledger, { afterAppend = () => {} } = {}) {
  const read = db.prepare(
    "SELECT position, id, event FROM audit_outbox WHERE refused IS NULL ORDER BY position LIMIT ?",
  );
  const remove = db.prepare("DELETE FROM audit_outbox WHERE position = ?");
  let moved = 0;
  for (;;) {
    const rows = read.all(ROWS);
    if (rows.length === 0) return moved;
    // Appends of one tick share a commit, and they are sequenced in the order of the calls.
    const results = await Promise.allSettled(
      rows.map(async ({ id, event }) => ledger.append({ ...JSON.parse(event), id })),
    );
    await afterAppend();
    for (const [i, { position }] of rows.entries()) {
      const result = results[i];
      if (result.status === "rejected") refuse(db, position, result.reason);
      else remove.run(position);
    }
    moved += results.filter(({ status }) => status === "fulfilled").length;
  }
}

/** Sets aside what can never be appended, so that it holds nothing up. Anything else is to be mended, and sent again. */
function refuse(db, position, error) {
  const isFinal = isTallystickError(error) && (error.name === "MalformedError" || error.code === "id-conflict");
  if (!isFinal) throw error;
  db.prepare("UPDATE audit_outbox SET refused = ? WHERE position = ?").run(`${error.code}: ${error.message}`, position);
}
