import { accessSync, constants, cpSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, onTestFinished } from "vitest";
import { isTallystickError } from "../../src/core/errors.ts";
import { exitCodeOf, type Finding, type VerifyReport } from "../../src/core/report.ts";
import { openState, type State } from "../../src/keys/index.ts";
import type { LockStore } from "../../src/ledger/lock-store.ts";
import { type VerifyLedgerOptions, verifyLedger } from "../../src/ledger/verify-ledger.ts";
import { Ledger, type OpenOptions } from "../../src/open.ts";
import { sqliteLockStore } from "../../src/storage/lock-store/sqlite.ts";
import { openSqliteStorage } from "../../src/storage/sqlite.ts";
import { loadSqliteDriver, type SqliteDatabase, type SqliteDriver } from "../../src/storage/sqlite-driver.ts";
import { verify } from "../../src/verify.ts";

/** A folder of its own with a ledger's file and a state directory, gone after the test. */
export interface Place {
  readonly folder: string;
  readonly path: string;
  readonly state: string;
}

export const driver: SqliteDriver = await loadSqliteDriver();

/** Memory where there is some: most of these ledgers are small, many, and gone in a moment. */
const PARENT = accessible("/dev/shm") ? "/dev/shm" : tmpdir();

function accessible(folder: string): boolean {
  try {
    accessSync(folder, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

const shared: (() => void)[] = [];
// Of the test file that imports this module: hooks cannot be added from within a hook.
afterAll(() => {
  for (const remove of shared.splice(0)) remove();
});

/** `shared`: lives until its file's tests have ended; else until the test that made it has. `disk`: for what grows large. */
export function newPlace(options: { readonly shared?: boolean; readonly disk?: boolean } = {}): Place {
  const folder = mkdtempSync(join(options.disk === true ? tmpdir() : PARENT, "tallystick-engine-"));
  const remove = (): void => rmSync(folder, { recursive: true, force: true });
  if (options.shared === true) shared.push(remove);
  else onTestFinished(remove);
  return { folder, path: join(folder, "audit.db"), state: join(folder, "state") };
}

/** A copy of everything, which knows the ledger at its new path as the original knew it at its own. */
export function copyPlace(place: Place): Place {
  const copy = newPlace();
  cpSync(place.folder, copy.folder, { recursive: true });
  const state = stateOf(copy);
  const known = state.recallPath(place.path);
  if (known !== undefined) {
    state.forgetPath(place.path);
    state.rememberPath(copy.path, known);
  }
  return copy;
}

export function stateOf(place: Place): State {
  return openState({ dir: place.state });
}

/** Background signing and indexing kept out of the way: what happens is what the test does. */
export const QUIET = { checkpointEveryMs: 3_600_000 } as const;

export function openAt(place: Place, options: OpenOptions = {}): Promise<Ledger> {
  return Ledger.open(place.path, { state: place.state, notify: () => {}, limits: QUIET, ...options });
}

export async function withLock<T>(place: Place, work: (lockStore: LockStore) => Promise<T>): Promise<T> {
  const lockStore = sqliteLockStore({ path: stateOf(place).lockStorePath, driver });
  try {
    return await work(lockStore);
  } finally {
    await lockStore.close();
  }
}

export interface Verified {
  readonly report: VerifyReport;
  readonly exit: number;
  /** Findings without their sentences. */
  readonly found: readonly (Pick<Finding, "code"> & { readonly index?: number })[];
  readonly codes: readonly string[];
}

/**
 * What a reader sees who has the file and whatever `options` say, and nothing of a state directory: through the front door,
 * unless he is to have what only a state directory hands in.
 */
export async function verifyAt(path: string, options: VerifyLedgerOptions = {}): Promise<Verified> {
  const { lastSeen, lockNote, pin, runRange, ...rest } = options;
  if (lastSeen === undefined && lockNote === undefined && pin === undefined && runRange === undefined)
    return judged(await verify(path, { ...rest, state: null, driver }));
  const storage = await openSqliteStorage(path, { readOnly: true, driver });
  try {
    const snapshot = await storage.snapshot();
    try {
      return judged(await verifyLedger(snapshot, options));
    } finally {
      await snapshot.close();
    }
  } finally {
    await storage.close();
  }
}

export function judged(report: VerifyReport): Verified {
  const found = report.findings.map(({ code, index }) => (index === undefined ? { code } : { code, index }));
  return { report, exit: exitCodeOf(report), found, codes: [...new Set(found.map(({ code }) => code))].sort() };
}

/** Verdicts that failed. */
export function failedVerdicts(report: VerifyReport): string[] {
  return Object.entries(report.verdicts).flatMap(([name, { status }]) => (status === "fail" ? [name] : []));
}

/** The database in the hands of somebody who may write to it: guards off during `work`, and back as they were after it. */
export function tamper<T>(path: string, work: (db: SqliteDatabase) => T): T {
  const db = new driver(path, { readonly: false, fileMustExist: true, timeout: 5_000 });
  try {
    db.exec("PRAGMA synchronous = OFF; BEGIN IMMEDIATE");
    const guards = db.prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").all() as {
      readonly name: string;
      readonly sql: string;
    }[];
    for (const { name } of guards) db.exec(`DROP TRIGGER "${name}"`);
    const result = work(db);
    for (const { sql } of guards) db.exec(sql);
    db.exec("COMMIT");
    return result;
  } finally {
    db.close();
  }
}

/** Code of the error that `work` rejects with; undefined when it resolves. Other errors than ours are thrown. */
export async function codeOf(work: Promise<unknown> | (() => Promise<unknown>)): Promise<string | undefined> {
  try {
    await (typeof work === "function" ? work() : work);
    return undefined;
  } catch (error) {
    if (!isTallystickError(error)) throw error;
    return error.code;
  }
}

/** Names of everything in a folder, however deep. */
export function filesIn(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .sort();
}
