import { resolve } from "node:path";
import { FatalError, PolicyError, UnavailableError } from "../core/errors.ts";
import { type Clock, systemClock } from "../ledger/clock.ts";
import {
  type Batch,
  type CommitReads,
  type CommitView,
  type LedgerStorage,
  type Planned,
  partsOf,
  type StorageCapabilities,
  type StorageHead,
  type StorageSnapshot,
  type StoredAnchor,
  type StoredCheckpoint,
  type StoredEntry,
  type StoredFilter,
} from "../ledger/storage.ts";
import { SqliteFile } from "./sqlite-connection.ts";
import { loadSqliteDriver, type SqliteDriver } from "./sqlite-driver.ts";
import { assertDirectory, fileSystemType, isAtRest, networkFileSystem, realPath } from "./sqlite-files.ts";
import { createGuards, createSchema, isEmpty, resetDerived } from "./sqlite-schema.ts";
import { openSnapshot } from "./sqlite-snapshot.ts";
import { prepareStatements, type Statements } from "./sqlite-statements.ts";

export interface SqliteStorageOptions {
  /** Reads only: nothing is created, changed or left behind, also in a directory that cannot be written. */
  readonly readOnly?: boolean;
  /** Allows `create()` where there is no file, or an empty one. Opening alone never makes a file. */
  readonly create?: boolean;
  /** Constructor of a SQLite driver; better-sqlite3 by default, loaded on first use. */
  readonly driver?: SqliteDriver;
  /** Moves the write-ahead log after bulk commits, which do it themselves where there is none. Closed with the storage. */
  readonly logMover?: LogMover;
  /**
   * For one that commits in bulk, and so slowly that others wait for the end of each commit: pages go to the write-ahead log when they
   * are full, not all at the end, and no commit moves the log, unless it grows beyond 16 MB: somebody else does.
   */
  readonly bulk?: boolean;
  /** How long a write waits for other writers, in milliseconds; 30,000 by default. The event loop runs meanwhile. */
  readonly busyTimeoutMs?: number;
  /** Opens a ledger on a network or user-space file system, where no more than one machine may have it open. */
  readonly allowNetworkFileSystem?: boolean;
  readonly clock?: Clock;
  /** `f_type` of the file system of a directory, as statfs(2) of Linux numbers them. */
  readonly fileSystemType?: (directory: string) => Promise<number>;
}

/** Moves the write-ahead log of a storage into the database on another thread. */
export interface LogMover {
  /** Whether commits can leave the log to it. */
  readonly movesLog: boolean;
  /** Notes a bulk commit of so many bytes. */
  wrote(bytes: number): void;
  /** Resolves when the log is not being moved. */
  settled(): Promise<void>;
  /** Calls the listener after each commit that it made itself. */
  onCommit(listener: () => void): void;
  close(): Promise<void>;
}

const BUSY_TIMEOUT_MS = 30_000;
/** `watch` looks this often for entries of other processes. */
const WATCH_EVERY_MS = 50;
const READ_ENTRIES_MAX = 4_096;
/** Entries of a commit that is not a small one. */
const BULK_ENTRIES = 64;

/**
 * One ledger in one SQLite file (WAL, `synchronous=FULL`, STRICT tables, guard triggers). Several processes may open the
 * same file; writers take turns and readers block nobody. A commit runs on the calling thread: `capabilities.synchronous`.
 * Errors: `not-found` (no ledger there and `create` not set; nothing is created), `foreign-database`, `not-a-ledger`,
 * `newer-format`, `network-filesystem`, `driver-missing`, `storage-corrupt`, `storage-io`, `storage-busy`.
 */
export async function openSqliteStorage(path: string, options: SqliteStorageOptions = {}): Promise<LedgerStorage> {
  if (path.trim() === "" || path === ":memory:" || path !== path.trim()) {
    const expected = "expected the path of a file without white space at its ends";
    throw new TypeError(`openSqliteStorage: ${expected}, got ${JSON.stringify(path)}`);
  }
  const location = realPath(resolve(path));
  const readOnly = options.readOnly ?? false;
  const file = new SqliteFile(location, {
    driver: options.driver ?? (await loadSqliteDriver()),
    readOnly,
    busyTimeoutMs: options.busyTimeoutMs ?? BUSY_TIMEOUT_MS,
    clock: options.clock ?? systemClock,
    spills: options.bulk ?? false,
  });
  const found = await file.look();
  if (found !== "ledger" && (readOnly || options.create !== true)) {
    const what = found === "missing" ? "there is no file" : "the file is empty";
    throw new UnavailableError("not-found", `no ledger at ${location}: ${what}`, {
      details: { path: location, found },
    });
  }
  if (found === "missing") assertDirectory(location);
  const network =
    options.allowNetworkFileSystem === true
      ? undefined
      : await networkFileSystem(location, options.fileSystemType ?? fileSystemType);
  // At rest it can be read through a copy wherever it is.
  if (network !== undefined && !(readOnly && isAtRest(location))) throw networkRefused(location, network);
  let readPath = location;
  try {
    if (found === "ledger") readPath = await file.open({ copy: network !== undefined });
  } catch (error) {
    await file.close();
    throw error;
  }
  if (options.bulk === true) file.leaveLog(true);
  return new SqliteStorage(file, readPath, options);
}

function networkRefused(path: string, fileSystem: string): PolicyError {
  const message =
    `${path} is on a network or user-space file system (${fileSystem}), where several machines could write one ledger without ` +
    "seeing each other's locks; keep the ledger on a local disk, or set allowNetworkFileSystem if exactly one machine opens it";
  return new PolicyError("network-filesystem", message, { details: { path, fileSystem } });
}

class SqliteStorage implements LedgerStorage {
  readonly capabilities: StorageCapabilities;
  private readonly file: SqliteFile;
  private readonly logMover: LogMover | undefined;
  private readonly leavesLog: boolean;

  constructor(file: SqliteFile, readPath: string, options: Pick<SqliteStorageOptions, "logMover" | "bulk">) {
    this.file = file;
    this.logMover = options.logMover;
    this.logMover?.onCommit(() => file.wake());
    this.leavesLog = options.bulk ?? false;
    const capabilities = { name: "sqlite", durable: true, shared: true, synchronous: true, location: file.path };
    this.capabilities = readPath === file.path ? capabilities : { ...capabilities, readLocation: readPath };
  }

  async create(plan: () => Promise<Batch> | Batch): Promise<boolean> {
    if (await this.exists()) return false;
    return this.file.writeAlone(
      async (db) => {
        if (!isEmpty(db)) {
          // Somebody was first. Throws if what is there now is something else than a ledger.
          await this.file.look();
          return false;
        }
        createSchema(db);
        writeBatch(prepareStatements(db), await plan(), 0);
        return true;
      },
      { create: true },
    );
  }

  /** Whether a ledger is there; throws for anything else than that or nothing. */
  private async exists(): Promise<boolean> {
    this.file.assertWritable();
    return this.file.read(
      () => true,
      () => false,
    );
  }

  head(): Promise<StorageHead> {
    return this.file.read(
      ({ statements }) => headOf(statements),
      () => ({ size: 0, lastEntry: null }),
    );
  }

  commit(reads: CommitReads, plan: (view: CommitView) => Planned): Promise<boolean> {
    return this.file.write(({ statements }) => {
      const head = headOf(statements);
      const planned = plan(viewOf(statements, head, reads));
      if (planned === undefined) return false;
      let { size } = head;
      let bytes = 0;
      for (const part of partsOf(planned)) {
        writeBatch(statements, part, size);
        size += part.entries.length;
        bytes += bytesOf(part);
      }
      if (!this.leavesLog) this.shareLog(size - head.size, bytes);
      return true;
    });
  }

  /** Bulk commits leave the log to the mover. Small ones are faster when they empty it themselves: it stays short, and is written over. */
  private shareLog(entries: number, bytes: number): void {
    const { logMover } = this;
    const isBulk = entries >= BULK_ENTRIES;
    this.file.leaveLog(isBulk && logMover?.movesLog === true);
    if (isBulk) logMover?.wrote(bytes);
  }

  async readEntries(first: number, end: number): Promise<readonly StoredEntry[]> {
    checkCount(first, end);
    return this.read((statements) => statements.readEntries(first, end), []);
  }

  async readEntryTexts(first: number, end: number): Promise<readonly string[]> {
    checkCount(first, end);
    return this.read((statements) => statements.readEntryTexts(first, end), []);
  }

  readTile(level: number, index: number): Promise<Uint8Array | undefined> {
    return this.read((statements) => statements.readTile(level, index), undefined);
  }

  readFilters(first: number, end: number): Promise<readonly StoredFilter[]> {
    return this.read((statements) => statements.readFilters(first, end), []);
  }

  readFilterBlocks(first: number, end: number): Promise<readonly number[]> {
    return this.read((statements) => statements.readFilterBlocks(first, end), []);
  }

  findById(id: string): Promise<StoredEntry | undefined> {
    return this.read((statements) => statements.findById(id), undefined);
  }

  readControls(first = 0): Promise<readonly StoredEntry[]> {
    return this.read((statements) => statements.readControls(first), []);
  }

  async putCheckpoint({ size, note }: StoredCheckpoint): Promise<void> {
    await this.file.write(({ statements }) => {
      const stored = statements.readCheckpoint(size);
      if (stored === note) return false;
      if (stored !== undefined) {
        const message = `another checkpoint of size ${size} is stored already`;
        throw new FatalError("invariant-broken", message, { details: { size } });
      }
      statements.insertCheckpoint(size, note);
      return true;
    });
  }

  latestCheckpoint(): Promise<StoredCheckpoint | undefined> {
    return this.read((statements) => statements.latestCheckpoint(), undefined);
  }

  async putCosigned({ size, note }: StoredCheckpoint): Promise<void> {
    await this.file.write(({ statements }) => {
      statements.upsertCosigned(size, note);
      return true;
    });
  }

  latestCosigned(): Promise<StoredCheckpoint | undefined> {
    return this.read((statements) => statements.latestCosigned(), undefined);
  }

  readAnchor(index: number): Promise<StoredAnchor | undefined> {
    return this.read((statements) => statements.readAnchor(index), undefined);
  }

  async rebuildDerived(rebuild: AsyncIterable<Batch> | Iterable<Batch>): Promise<void> {
    if (!(await this.exists())) return;
    await this.file.writeAlone(
      async (db) => {
        resetDerived(db);
        const statements = prepareStatements(db);
        for await (const batch of rebuild) writeDerived(statements, batch);
        createGuards(db);
        return true;
      },
      { create: false },
    );
  }

  async watch(size: number, signal?: AbortSignal): Promise<void> {
    for (;;) {
      signal?.throwIfAborted();
      if ((await this.head()).size > size) return;
      await this.file.sleep(WATCH_EVERY_MS, signal);
    }
  }

  async purge(): Promise<"done" | "pending"> {
    this.file.assertWritable();
    const erasures = await this.read((statements) => statements.readPurges(), []);
    const last = erasures.at(-1);
    if (last === undefined) return "done";
    await this.logMover?.settled();
    if (!(await this.file.emptyLog())) return "pending";
    await this.file.write(({ statements }) => {
      // Not those that another process may have added since: their bytes are in the new log.
      statements.deletePurges(last);
      return true;
    });
    return "done";
  }

  snapshot(): Promise<StorageSnapshot> {
    return this.file.lend((db, closed) => openSnapshot(db, { path: this.file.path, closed }));
  }

  async close(): Promise<void> {
    await this.logMover?.close();
    await this.file.close();
  }

  private read<T>(work: (statements: Statements) => T, absent: T): Promise<T> {
    return this.file.read(
      ({ statements }) => work(statements),
      () => absent,
    );
  }
}

function checkCount(first: number, end: number): void {
  if (end - first <= READ_ENTRIES_MAX) return;
  throw new RangeError(`readEntries: expected at most ${READ_ENTRIES_MAX} entries at a time, got ${end - first}`);
}

function headOf(statements: Statements): StorageHead {
  const last = statements.readLast();
  return last === undefined ? { size: 0, lastEntry: null } : { size: last.index + 1, lastEntry: last.entry };
}

function viewOf(statements: Statements, head: StorageHead, reads: CommitReads): CommitView {
  const byIndex = new Map<number, StoredEntry>();
  for (const index of reads.indexes) {
    const entry = statements.readEntries(index, index + 1)[0];
    if (entry !== undefined) byIndex.set(index, entry);
  }
  return {
    head,
    byId: statements.findByIds(reads.ids),
    erasedIds: statements.findErasedIds(reads.ids, reads.idDigests),
    byIndex,
  };
}

function writeBatch(statements: Statements, batch: Batch, size: number): void {
  batch.entries.forEach((entry, i) => {
    if (entry.index === size + i) return;
    const message = `expected entry ${size + i} next, got ${entry.index}`;
    throw new FatalError("invariant-broken", message, { details: { expected: size + i, found: entry.index } });
  });
  statements.insertEntries(batch.entries);
  writeDerived(statements, batch);
  for (const anchor of batch.anchors ?? []) {
    if (anchor.index < size || anchor.index >= size + batch.entries.length) {
      const message = `an anchor of entry ${anchor.index}, which is not new`;
      throw new FatalError("invariant-broken", message, { details: { index: anchor.index } });
    }
    statements.insertAnchor(anchor);
  }
  for (const block of batch.unfilter ?? []) statements.blankFilter(block);
  for (const redaction of batch.redactions ?? []) statements.redact(redaction, size);
  if (batch.purge !== undefined) statements.insertPurge(batch.purge);
}

function bytesOf({ entries }: Batch): number {
  return entries.reduce((sum, { entry, body }) => sum + entry.length + (body?.length ?? 0), 0);
}

function writeDerived(statements: Statements, batch: Batch): void {
  for (const tile of batch.tiles) statements.insertTile(tile);
  for (const filter of batch.filters) statements.insertFilter(filter);
  statements.insertIds(batch.ids);
  statements.insertControls(batch.controls);
}
