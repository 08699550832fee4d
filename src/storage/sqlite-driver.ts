import {
  FatalError,
  isTallystickError,
  MalformedError,
  type TallystickError,
  UnavailableError,
} from "../core/errors.ts";

/** What a column holds as a driver returns it: text as string, blobs as bytes, integers as number, NULL as null. */
export type SqliteValue = null | number | string | Uint8Array;

export interface SqliteStatement {
  run(...values: readonly SqliteValue[]): unknown;
  get(...values: readonly SqliteValue[]): unknown;
  all(...values: readonly SqliteValue[]): unknown[];
}

export interface SqliteDatabase {
  prepare(sql: string): SqliteStatement;
  exec(sql: string): unknown;
  close(): unknown;
}

/**
 * The part of a SQLite driver that is used: the constructor of better-sqlite3 fits as it is, others with a few lines.
 * `timeout` is SQLite's own busy timeout in milliseconds. Errors carry `code` (`SQLITE_BUSY`) or `errcode` (5).
 */
export interface SqliteDriver {
  new (
    filename: string,
    options: { readonly readonly: boolean; readonly fileMustExist: boolean; readonly timeout: number },
  ): SqliteDatabase;
}

/** How long SQLite itself may wait for a lock: it blocks the event loop meanwhile. Longer waits are asynchronous. */
const BLOCKING_WAIT_MS = 5;

/** Opens one connection. Throws the driver's own error. */
export function connect(
  driver: SqliteDriver,
  path: string,
  mode: { readonly readonly: boolean; readonly create: boolean },
): SqliteDatabase {
  return new driver(path, { readonly: mode.readonly, fileMustExist: !mode.create, timeout: BLOCKING_WAIT_MS });
}

/**
 * The default driver, better-sqlite3 of the version that fits this Node.js, loaded on first use: importing this package loads no native
 * code.
 * Errors: `driver-missing` when it is not installed or its native part does not load, with the ways out.
 */
export async function loadSqliteDriver(
  importDriver: () => Promise<unknown> = importBetterSqlite3,
): Promise<SqliteDriver> {
  try {
    const loaded = (await importDriver()) as { readonly default: SqliteDriver };
    // The native part is loaded by the first connection, not by the import.
    new loaded.default(":memory:", { readonly: false, fileMustExist: false, timeout: 0 }).close();
    return loaded.default;
  } catch (cause) {
    const reason = cause instanceof Error ? (cause.message.split("\n")[0] ?? "") : String(cause);
    throw new UnavailableError(
      "driver-missing",
      `the SQLite driver better-sqlite3 does not load on ${process.platform}-${process.arch}, Node.js ${process.version} (${reason}). ` +
        "Ways out: `npm rebuild better-sqlite3` (needs Python, make and a C++ compiler where no prebuilt binary fits); " +
        "install without --ignore-scripts and --omit=optional; reinstall on the system, and with the Node.js, that it runs on instead of copying node_modules; " +
        "or pass another driver with the option `driver`",
      { cause, details: { platform: process.platform, arch: process.arch, node: process.version } },
    );
  }
}

/**
 * Version 12 is the last one for Node.js 20. From 24.16 on its objects abort the process when they are collected: Node's
 * `ObjectWrap` takes off a hook of an environment that is not entered there. Version 13 is built on Node-API and free of it, but needs
 * Node-API 10 (Node.js 22.14). Neither runs everywhere, so both are dependencies, and exactly one is loaded.
 */
export function betterSqlite3For({ node, napi }: { readonly node: string; readonly napi: string }): "12" | "13" {
  return Number(node.split(".")[0]) >= 24 && Number(napi) >= 10 ? "13" : "12";
}

function importBetterSqlite3(): Promise<unknown> {
  const { node, napi = "0" } = process.versions as { readonly node: string; readonly napi?: string };
  return betterSqlite3For({ node, napi }) === "13" ? import("better-sqlite3-13") : import("better-sqlite3");
}

type StorageCode =
  | "storage-busy"
  | "storage-full"
  | "storage-io"
  | "storage-corrupt"
  | "read-only"
  | "not-a-ledger"
  | "invariant-broken";

interface ResultCode {
  /** Result code, https://www.sqlite.org/rescode.html; a primary one (below 256) stands for its extended ones too. */
  readonly number: number;
  readonly name: string;
  readonly code: StorageCode;
  readonly says: string;
}

const RESULT_CODES: readonly ResultCode[] = [
  // The shared memory of the log is a file too: enlarging it fails when the disk is full.
  { number: 4874, name: "SQLITE_IOERR_SHMSIZE", code: "storage-full", says: "cannot grow: the disk is full" },
  { number: 1, name: "SQLITE_ERROR", code: "storage-corrupt", says: "does not have the tables of a ledger" },
  { number: 3, name: "SQLITE_PERM", code: "storage-io", says: "cannot be accessed" },
  { number: 5, name: "SQLITE_BUSY", code: "storage-busy", says: "is locked by another connection" },
  { number: 6, name: "SQLITE_LOCKED", code: "storage-busy", says: "is locked by another statement" },
  { number: 7, name: "SQLITE_NOMEM", code: "storage-io", says: "could not be handled: out of memory" },
  { number: 8, name: "SQLITE_READONLY", code: "read-only", says: "cannot be written" },
  { number: 10, name: "SQLITE_IOERR", code: "storage-io", says: "could not be read or written" },
  { number: 11, name: "SQLITE_CORRUPT", code: "storage-corrupt", says: "is damaged" },
  { number: 13, name: "SQLITE_FULL", code: "storage-full", says: "cannot grow: the disk is full" },
  { number: 14, name: "SQLITE_CANTOPEN", code: "storage-io", says: "cannot be opened" },
  { number: 15, name: "SQLITE_PROTOCOL", code: "storage-busy", says: "is locked by another connection" },
  { number: 18, name: "SQLITE_TOOBIG", code: "storage-io", says: "holds a value larger than SQLite can handle" },
  { number: 19, name: "SQLITE_CONSTRAINT", code: "invariant-broken", says: "refused a row" },
  { number: 20, name: "SQLITE_MISMATCH", code: "invariant-broken", says: "refused a row of another type" },
  { number: 26, name: "SQLITE_NOTADB", code: "not-a-ledger", says: "is not a SQLite database" },
];

function resultCodeOf(error: unknown): ResultCode | undefined {
  if (typeof error !== "object" || error === null) return undefined;
  const { code, errcode } = error as { readonly code?: unknown; readonly errcode?: unknown };
  return RESULT_CODES.find(
    ({ name, number }) =>
      (typeof code === "string" && (code === name || code.startsWith(`${name}_`))) ||
      (typeof errcode === "number" && (errcode === number || (errcode & 0xff) === number)),
  );
}

/** The extended name where the driver gives one (`SQLITE_IOERR_FSYNC`), else the primary one. */
function nameOf(error: unknown, result: ResultCode): string {
  const { code } = error as { readonly code?: unknown };
  return typeof code === "string" && code.startsWith("SQLITE_") ? code : result.name;
}

/** True when the same call may succeed once another connection lets go of its lock. */
export function isBusy(error: unknown): boolean {
  return resultCodeOf(error)?.code === "storage-busy";
}

/** The error that the port promises for a driver's error; errors of this package and wrong arguments pass unchanged. */
export function storageError(error: unknown, path: string): unknown {
  if (isTallystickError(error)) return error;
  const result = resultCodeOf(error);
  if (result === undefined) return error;
  const name = nameOf(error, result);
  const reason = error instanceof Error ? error.message : String(error);
  return errorOf(result.code, `${path} ${result.says} (${name}: ${reason})`, {
    cause: error,
    details: { path, sqlite: name },
  });
}

function errorOf(
  code: StorageCode,
  message: string,
  options: { cause: unknown; details: Record<string, unknown> },
): TallystickError {
  if (code === "not-a-ledger") return new MalformedError(code, message, options);
  if (code === "invariant-broken") return new FatalError(code, message, options);
  return new UnavailableError(code, message, options);
}

/**
 * True when a failed COMMIT may have left its commit frame in the write-ahead log, so that recovery after a crash would
 * bring the transaction back. A write that failed (`SQLITE_FULL`, `SQLITE_IOERR_WRITE`) did not write that frame, which
 * is the last one; a sync or shared-memory failure comes after it.
 */
export function commitMayPersist(error: unknown): boolean {
  const result = resultCodeOf(error);
  if (result === undefined) return false;
  const name = nameOf(error, result);
  return result.name === "SQLITE_NOMEM" || (name.startsWith("SQLITE_IOERR") && name !== "SQLITE_IOERR_WRITE");
}
