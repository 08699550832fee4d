import { parentPort, workerData } from "node:worker_threads";
import { connect, loadSqliteDriver } from "./sqlite-driver.ts";
import type { LogMoverAnswer, LogMoverRequest } from "./sqlite-log-mover.ts";

/** The thread of a LogMover. It writes nothing but what commits have made durable in the log. */
async function serve(): Promise<void> {
  const { path } = workerData as { readonly path: string };
  const db = connect(await loadSqliteDriver(), path, { readonly: false, create: false });
  db.exec("PRAGMA synchronous=FULL; PRAGMA fullfsync=ON; PRAGMA wal_autocheckpoint=0; PRAGMA cache_size=-500");
  // Waits for nobody: what a reader still needs is moved later.
  const move = db.prepare("PRAGMA wal_checkpoint(PASSIVE)");
  const answer = (what: LogMoverAnswer): void => parentPort?.postMessage(what);
  parentPort?.on("message", (request: LogMoverRequest) => {
    if (request === "close") {
      db.close();
      process.exit();
    }
    try {
      move.get();
    } catch {
      // A disk that fails here fails the next commit too, which says so.
    }
    answer("moved");
  });
  answer("ready");
}

await serve();
