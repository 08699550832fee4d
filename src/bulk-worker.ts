import { parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import { BulkPart } from "./bulk-part.ts";
import {
  type BulkAnswer,
  type BulkMemory,
  type BulkRequest,
  type BulkThreadData,
  KNOWN,
  POSTED,
} from "./bulk-thread.ts";
import { isTallystickError, type TallystickError } from "./core/errors.ts";
import { RightEdge } from "./ledger/right-edge.ts";
import type { Batch, LedgerStorage, NewEntry, StoredTile } from "./ledger/storage.ts";

/** How long a commit holds the write lock for submissions that do not come. */
const PATIENCE_MS = 20;

const { path, signal: shared } = workerData as BulkThreadData;
const signal = new Int32Array(shared);
const port = parentPort!;
const requests: BulkRequest[] = [];
const parts: BulkPart[] = [];

function keep(message: BulkRequest | BulkMemory): void {
  if ("do" in message) requests.push(message);
  else parts.push(new BulkPart(message.buffer));
}

/** A part that was posted. Also while a commit keeps this thread from its events, it hears of new ones. */
function partAt(number: number): BulkPart {
  while (parts.length < Atomics.load(signal, KNOWN)) {
    const received = receiveMessageOnPort(port);
    if (received !== undefined) keep(received.message);
  }
  const part = parts[number];
  // Out of step with the other thread: it must not wait for this one.
  if (part === undefined) process.exit(1);
  return part;
}

/** Thrown through a commit to undo it. */
class Abandoned extends Error {}

interface Log {
  move(): void;
  close(): void;
}

/** The thread of a BulkThread: a connection that commits, and one that moves the write-ahead log. */
async function serve(): Promise<void> {
  const { openSqliteStorage } = await import("./storage/sqlite.ts");
  // Whoever has the lock may have it for long: then the other thread, which can wait, commits.
  const storage = await openSqliteStorage(path, { busyTimeoutMs: 0, bulk: true });
  const log = await openLog();
  const answer = (what: BulkAnswer): void => port.postMessage(what);
  let isServing = false;
  const serveAll = async (): Promise<void> => {
    if (isServing) return;
    isServing = true;
    for (let request = requests.shift(); request !== undefined; request = requests.shift()) {
      if (request.do === "close") {
        log.close();
        await storage.close();
        process.exit();
      }
      if (request.do === "commit") answer(await commit(storage, request));
      log.move();
      answer({ moved: true });
    }
    isServing = false;
  };
  port.on("message", (message: BulkRequest | BulkMemory) => {
    keep(message);
    // Whatever the process does about such failures: nobody must wait for a thread that answers no more.
    serveAll().catch(() => process.exit(1));
  });
  answer({ moved: true });
}

async function openLog(): Promise<Log> {
  const { connect, loadSqliteDriver } = await import("./storage/sqlite-driver.ts");
  const db = connect(await loadSqliteDriver(), path, { readonly: false, create: false });
  db.exec("PRAGMA synchronous=FULL; PRAGMA fullfsync=ON; PRAGMA wal_autocheckpoint=0; PRAGMA cache_size=-500");
  // Waits for nobody: what a reader still needs is moved later.
  const move = db.prepare("PRAGMA wal_checkpoint(PASSIVE)");
  return {
    move() {
      try {
        move.get();
      } catch {
        // A disk that fails here fails the next commit too, which says so.
      }
    },
    close: () => void db.close(),
  };
}

async function commit(
  storage: LedgerStorage,
  { edge: state, time }: BulkRequest & { do: "commit" },
): Promise<BulkAnswer> {
  const coming = new Coming();
  const edge = RightEdge.of(state);
  function* place(): Generator<Batch> {
    for (let part = coming.next(); part !== null; part = coming.next()) yield batchOf(part, edge, time);
  }
  let isCommitted = false;
  try {
    const reads = { ids: [], idDigests: [], indexes: [] };
    isCommitted = await storage.commit(reads, ({ head }) => (edge.matches(head) ? place() : undefined));
  } catch (error) {
    // Every other failure left nothing behind, and the other thread meets and reports it if it lasts.
    if (isTallystickError(error) && error.code === "outcome-unknown")
      return { failed: (error as TallystickError).toJSON() };
  } finally {
    await coming.discardRest();
  }
  // What fails from here on must not be taken for a lost bet: it ends the thread.
  if (!isCommitted) return { placed: null };
  return { placed: { edge: edge.state() } };
}

/** The parts of one commit, in order, until its last one. */
class Coming {
  private taken = 0;
  private isOver = false;

  /** Null after the last part. Throws when the commit was abandoned, or nothing more comes. */
  next(): BulkPart | null {
    if (this.isOver) return null;
    const giveUpAt = performance.now() + PATIENCE_MS;
    for (;;) {
      const posted = Atomics.load(signal, POSTED);
      if (posted > this.taken) return this.take();
      const restMs = giveUpAt - performance.now();
      if (restMs <= 0 || Atomics.wait(signal, POSTED, posted, restMs) === "timed-out") throw new Abandoned();
    }
  }

  /** Lets the rest pass by. */
  async discardRest(): Promise<void> {
    while (!this.isOver) {
      if (Atomics.load(signal, POSTED) === this.taken) await new Promise<void>((resolve) => setTimeout(resolve, 1));
      else this.isOver = this.nextPart().isLast;
    }
  }

  private take(): BulkPart {
    const part = this.nextPart();
    this.isOver = part.isLast;
    if (part.isAbandoned) throw new Abandoned();
    return part;
  }

  private nextPart(): BulkPart {
    const part = partAt(this.taken);
    this.taken += 1;
    return part;
  }
}

/** A part as the store takes it, behind an edge that its leaves grow. The bytes in it are those of the part. */
function batchOf(part: BulkPart, edge: RightEdge, time: string): Batch {
  const entries: NewEntry[] = [];
  const tiles: StoredTile[] = [];
  const first = edge.size;
  part.read(({ entry, body, salts }) => {
    entries.push({ index: first + entries.length, entry, body, salts, disclosure: null });
  });
  edge.extend(part.leafHashes(), time, tiles);
  return { entries, tiles, filters: [], ids: [], controls: [] };
}

await serve();
