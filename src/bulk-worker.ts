import { parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import type { BulkAnswer, BulkPart, BulkRequest, BulkThreadData } from "./bulk-thread.ts";
import { isTallystickError, type TallystickError } from "./core/errors.ts";
import { Chain, NewEntry } from "./ledger/placement.ts";
import { RightEdge } from "./ledger/right-edge.ts";
import type { Batch, LedgerStorage, StoredTile } from "./ledger/storage.ts";

/** How long a commit holds the write lock for submissions that do not come. */
const PATIENCE_MS = 20;

const { path, posted } = workerData as BulkThreadData;
const signal = new Int32Array(posted);
const port = parentPort!;
/** What came and was not asked for yet. */
const parts: BulkPart[] = [];
const requests: BulkRequest[] = [];

function keep(message: BulkRequest | BulkPart): void {
  if ("bytes" in message) parts.push(message);
  else requests.push(message);
}

/** The next part that is there, also while a commit keeps this thread from its events. */
function takePart(): BulkPart | undefined {
  while (parts.length === 0) {
    const received = receiveMessageOnPort(port);
    if (received === undefined) return undefined;
    keep(received.message);
  }
  return parts.shift();
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
  port.on("message", (message: BulkRequest | BulkPart) => {
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
  const chain = new Chain(edge, time);
  const leafHashes: string[] = [];
  function* place(): Generator<Batch> {
    for (let part = coming.next(); part !== null; part = coming.next())
      yield placePart(part, { edge, chain, leafHashes });
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
  return { placed: { leaves: Buffer.from(leafHashes.join(""), "latin1"), edge: edge.state() } };
}

/** The parts of one commit, in order, until its last one. */
class Coming {
  private isOver = false;

  /** Null after the last part. Throws when the commit was abandoned, or nothing more comes. */
  next(): BulkPart | null {
    if (this.isOver) return null;
    const giveUpAt = performance.now() + PATIENCE_MS;
    for (;;) {
      const seen = Atomics.load(signal, 0);
      const part = takePart();
      if (part !== undefined) return this.take(part);
      const restMs = giveUpAt - performance.now();
      if (restMs <= 0 || Atomics.wait(signal, 0, seen, restMs) === "timed-out") throw new Abandoned();
    }
  }

  /** Lets the rest pass by. */
  async discardRest(): Promise<void> {
    while (!this.isOver) {
      const part = takePart();
      if (part === undefined) await new Promise<void>((resolve) => setTimeout(resolve, 1));
      else this.isOver = part.isLast;
    }
  }

  private take(part: BulkPart): BulkPart {
    this.isOver = part.isLast;
    if (part.isAbandoned) throw new Abandoned();
    return part;
  }
}

/** What a part adds to the store; it is linked to the chain, and its leaves grow the edge. */
function placePart(
  part: BulkPart,
  { edge, chain, leafHashes }: { readonly edge: RightEdge; readonly chain: Chain; readonly leafHashes: string[] },
): Batch {
  const { bodySizes, saltSizes, commitmentSize, scheme } = part;
  const bytes = Buffer.from(part.bytes.buffer, part.bytes.byteOffset, part.bytes.byteLength);
  const encoding = part.isAscii ? "latin1" : "utf8";
  const entries: NewEntry[] = [];
  const tiles: StoredTile[] = [];
  let at = 0;
  for (let i = 0; i < bodySizes.length; i++) {
    const afterBody = at + bodySizes[i]!;
    const afterCommitment = afterBody + commitmentSize;
    const end = afterCommitment + saltSizes[i]!;
    const body = bytes.toString(encoding, at, afterBody);
    const commitment = bytes.toString("latin1", afterBody, afterCommitment);
    const entry = chain.link({ commitment, scheme });
    entries.push(new NewEntry(edge.size, entry, { body, salts: bytes.subarray(afterCommitment, end) }));
    edge.append(chain.lastLeaf, chain.time, tiles);
    leafHashes.push(chain.lastLeaf);
    at = end;
  }
  return { entries, tiles, filters: [], ids: [], controls: [] };
}

await serve();
