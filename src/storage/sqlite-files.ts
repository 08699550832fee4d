import { closeSync, constants, lstatSync, openSync, readSync, realpathSync, statSync } from "node:fs";
import { access, copyFile, mkdtemp, rm, stat, statfs } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { MalformedError, PolicyError, UnavailableError } from "../core/errors.ts";
import { connect, type SqliteDatabase, type SqliteDriver } from "./sqlite-driver.ts";
import { APPLICATION_ID, SCHEMA_VERSION } from "./sqlite-schema.ts";

/** What is at a path: nothing or an empty database, which may become a ledger, or a ledger. Anything else throws. */
export type Found = "missing" | "empty" | "ledger";

/**
 * Looks what is at `path` without changing, locking or leaving anything. Errors: `not-a-ledger`, `foreign-database`,
 * `newer-format`, `storage-corrupt`, `storage-io`.
 */
export async function lookAt(driver: SqliteDriver, path: string): Promise<Found> {
  const size = fileSize(path);
  if (size === undefined) return "missing";
  if (size === 0) return "empty";
  if (fileSize(`${path}-shm`) !== undefined) return judge(path, readMarks(driver, path));
  const marks = readHeader(path);
  const hasLog = (fileSize(`${path}-wal`) ?? 0) > 0;
  // Tables may still be in the write-ahead log alone: the process that made them died, or the two files were copied.
  if (marks.schemaRows === 0 && hasLog) {
    const source = await copyOf(path);
    try {
      return judge(path, readMarks(driver, source.path));
    } finally {
      await source.dispose();
    }
  }
  const found = judge(path, marks);
  if (found === "ledger" && !hasLog) assertWholePages(path, size, marks.pageBytes);
  return found;
}

/** SQLite reads zeros where a page was cut off, and only a file that lacks whole pages is malformed to it. */
function assertWholePages(path: string, size: number, pageBytes: number): void {
  if (pageBytes > 0 && size % pageBytes === 0) return;
  const message = `${path} is cut off: it has ${size} bytes, which is no whole number of pages of ${pageBytes}`;
  throw new UnavailableError("storage-corrupt", message, { details: { path, size, pageBytes } });
}

interface Marks {
  readonly applicationId: number;
  readonly version: number;
  /** Tables, indexes, triggers and views; any number above 0 when only that is known. */
  readonly schemaRows: number;
}

function judge(path: string, { applicationId, version, schemaRows }: Marks): Found {
  if (applicationId === APPLICATION_ID) {
    if (version === SCHEMA_VERSION) return "ledger";
    if (version < SCHEMA_VERSION) {
      const message = `${path}: its header says that it is of ledger schema ${version}, which no version of this package writes: it was changed`;
      throw new UnavailableError("storage-corrupt", message, { details: { path, version } });
    }
    const message = `${path}: expected ledger schema ${SCHEMA_VERSION}, got ${version}; open it with a newer version of this package`;
    throw new MalformedError("newer-format", message, { details: { path, version, supported: SCHEMA_VERSION } });
  }
  if (schemaRows === 0 && applicationId === 0) return "empty";
  throw new PolicyError(
    "foreign-database",
    `${path} is a SQLite database of something else and was left untouched; a ledger needs a file of its own ` +
      "(to log what an application's transaction did, write an intent row there and append it to the ledger afterwards)",
    { details: { path, applicationId } },
  );
}

/** The marks as SQLite sees them, write-ahead log included. For files that have a `-shm` already, so that none is made. */
function readMarks(driver: SqliteDriver, path: string): Marks {
  let db: SqliteDatabase | undefined;
  try {
    db = connect(driver, path, { readonly: true, create: false });
    const row = db
      .prepare(
        "SELECT a.application_id AS id, u.user_version AS version, (SELECT count(*) FROM sqlite_schema) AS rows FROM pragma_application_id a, pragma_user_version u",
      )
      .get() as { readonly id: number; readonly version: number; readonly rows: number };
    return { applicationId: row.id, version: row.version, schemaRows: row.rows };
  } finally {
    db?.close();
  }
}

/** Descriptors of rollback-journal databases that were looked at, by device and inode: see `readHeader`. */
const keptDescriptors = new Map<string, number>();

/**
 * The marks from the first bytes of the file, https://www.sqlite.org/fileformat2.html. Closing a descriptor drops every
 * POSIX lock that this process holds on the file, also those of a connection elsewhere in the process. A database in WAL
 * mode without a `-shm` has no connection, so closing is safe; for one in another mode the descriptor is kept for good.
 */
function readHeader(path: string): Marks & { readonly pageBytes: number } {
  const { dev, ino } = statSync(path, { bigint: true });
  const key = `${dev}:${ino}`;
  const bytes = new Uint8Array(112);
  let descriptor = keptDescriptors.get(key);
  let keep = descriptor !== undefined;
  try {
    descriptor ??= openSync(path, constants.O_RDONLY);
    const count = readSync(descriptor, bytes, 0, bytes.length, 0);
    const isSqlite = count === bytes.length && new TextDecoder().decode(bytes.subarray(0, 16)) === "SQLite format 3\0";
    keep ||= isSqlite && bytes[18] !== 2;
    if (!isSqlite) throw new MalformedError("not-a-ledger", `${path} is not a SQLite database`, { details: { path } });
  } catch (error) {
    throw fileError(error, path);
  } finally {
    if (keep && descriptor !== undefined) keptDescriptors.set(key, descriptor);
    else if (descriptor !== undefined) closeSync(descriptor);
  }
  const view = new DataView(bytes.buffer);
  // Page 1 begins at byte 100: its type (13: leaf) and its number of cells, one for each row of sqlite_schema.
  const schemaRows = bytes[100] === 13 ? view.getUint16(103) : 1;
  // 65,536 does not fit and is written as 1.
  const pageBytes = view.getUint16(16) === 1 ? 65_536 : view.getUint16(16);
  return { applicationId: view.getUint32(68), version: view.getUint32(60), schemaRows, pageBytes };
}

/**
 * The path with symbolic links followed, as SQLite follows them: its log stands beside the file, not beside the link. A
 * path with nothing at it is returned as it is, a link to nothing is `not-found`.
 */
export function realPath(path: string): string {
  try {
    if (lstatSync(path, { throwIfNoEntry: false }) === undefined) return path;
    return realpathSync(path);
  } catch (error) {
    throw fileError(error, path);
  }
}

/** Errors: `not-found` when the directory that is to hold `path` is not there. */
export function assertDirectory(path: string): void {
  const directory = dirname(path);
  if (statSync(directory, { throwIfNoEntry: false })?.isDirectory() === true) return;
  const message = `no ledger at ${path}: there is no directory ${directory}`;
  throw new UnavailableError("not-found", message, { details: { path, directory } });
}

/** Size of a regular file, undefined when there is none. Errors: `not-a-ledger` for a directory or device, `storage-io`. */
export function fileSize(path: string): number | undefined {
  try {
    const found = statSync(path, { throwIfNoEntry: false });
    if (found === undefined) return undefined;
    if (!found.isFile())
      throw new MalformedError("not-a-ledger", `${path} is not a regular file`, { details: { path } });
    return found.size;
  } catch (error) {
    throw fileError(error, path);
  }
}

function fileError(error: unknown, path: string): unknown {
  if (!(error instanceof Error) || !("syscall" in error)) return error;
  const code = "code" in error && typeof error.code === "string" ? error.code : "unknown";
  if (code === "ENOTDIR" || code === "ENOENT") {
    const message = `no ledger at ${path}: it is gone, or a link to nothing`;
    return new UnavailableError("not-found", message, { cause: error, details: { path, errno: code } });
  }
  return new UnavailableError("storage-io", `${path} cannot be read (${code})`, {
    cause: error,
    details: { path, errno: code },
  });
}

/** Magic numbers of statfs(2) on Linux for file systems whose locks or shared memory do not reach other machines. */
const NETWORK_FILE_SYSTEMS: ReadonlyMap<number, string> = new Map([
  [0x6969, "NFS"],
  [0x517b, "SMB"],
  [0xff534d42, "CIFS"],
  [0xfe534d42, "SMB2"],
  [0x65735546, "FUSE"],
  [0x01021997, "9p"],
  [0x786f4256, "VirtualBox shared folder"],
  [0x00c36400, "Ceph"],
  [0x5346414f, "AFS"],
  [0x6b414653, "kAFS"],
  [0x73757245, "Coda"],
  [0x0bd00bd0, "Lustre"],
  [0x47504653, "GPFS"],
  [0x01161970, "GFS2"],
  [0x7461636f, "OCFS2"],
  [0x564c, "NCP"],
]);

/** `f_type` of the file system that holds `directory`, as statfs(2) of Linux numbers them. */
export async function fileSystemType(directory: string): Promise<number> {
  return (await statfs(directory)).type;
}

/** Name of the network or user-space file system that would hold `path`; undefined for a local one. Errors: `not-found`. */
export async function networkFileSystem(
  path: string,
  typeOf: (directory: string) => Promise<number>,
): Promise<string | undefined> {
  // Other platforms number their file systems per boot or not at all.
  if (process.platform !== "linux" && typeOf === fileSystemType) return undefined;
  try {
    // 32-bit kernels report the magic number as a negative one.
    return NETWORK_FILE_SYSTEMS.get((await typeOf(dirname(path))) >>> 0);
  } catch (error) {
    throw fileError(error, path);
  }
}

/** True when nobody has the database open, and everybody who had closed it properly. */
export function isAtRest(path: string): boolean {
  return fileSize(`${path}-shm`) === undefined && fileSize(`${path}-wal`) === undefined;
}

/** How to open a file for reading so that nothing is written to it or beside it, and what to undo afterwards. */
export interface ReadSource {
  readonly path: string;
  /** The connection is opened read-only; else read-write and then set to `query_only`. */
  readonly readonly: boolean;
  dispose(): Promise<void>;
}

/**
 * Chooses how to read a ledger without leaving a file:
 * - another connection has it open (there is a `-shm`): a read-only connection joins it;
 * - nobody has it open and there is no log: a read-write connection that is set to `query_only`. It makes `-wal` and
 *   `-shm` and, being the last, removes them again, which a read-only connection cannot;
 * - a log without a `-shm` (the files were copied), a file or directory that cannot be written, or `copy`: a private copy in the
 *   temporary directory. SQLite's `immutable=1` would do without the copy, but better-sqlite3 is built without URIs.
 */
export async function readSource(path: string, { copy }: { readonly copy: boolean }): Promise<ReadSource> {
  const dispose = async (): Promise<void> => {};
  if (copy) return copyOf(path);
  if (fileSize(`${path}-shm`) !== undefined) return { path, readonly: true, dispose };
  const writable = (await isWritable(path)) && (await isWritable(dirname(path)));
  if (writable && fileSize(`${path}-wal`) === undefined) return { path, readonly: false, dispose };
  return copyOf(path);
}

async function isWritable(path: string): Promise<boolean> {
  try {
    await access(path, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

const COPY_ATTEMPTS = 5;

async function copyOf(path: string): Promise<ReadSource> {
  const directory = await mkdtemp(join(tmpdir(), "tallystick-read-"));
  const dispose = (): Promise<void> => rm(directory, { recursive: true, force: true });
  const target = join(directory, basename(path));
  try {
    for (let attempt = 0; attempt < COPY_ATTEMPTS; attempt++) {
      const before = await fingerprint(path);
      await rm(`${target}-wal`, { force: true });
      await copyFile(path, target, constants.COPYFILE_FICLONE);
      if (before.wal) await copyFile(`${path}-wal`, `${target}-wal`, constants.COPYFILE_FICLONE);
      if ((await fingerprint(path)).text === before.text) return { path: target, readonly: false, dispose };
    }
  } catch (cause) {
    await dispose();
    const message = `${path} can only be read through a private copy in ${directory}, which failed; set TMPDIR to a directory with enough room`;
    throw new UnavailableError("storage-io", message, { cause, details: { path, directory } });
  }
  await dispose();
  throw new UnavailableError("storage-busy", `${path} kept changing while it was copied for reading`, {
    details: { path },
  });
}

/** Changes whenever somebody writes the database or its log. */
async function fingerprint(path: string): Promise<{ readonly text: string; readonly wal: boolean }> {
  const main = await stat(path, { bigint: true });
  const wal = await stat(`${path}-wal`, { bigint: true }).catch(() => undefined);
  const parts = [main.ino, main.size, main.mtimeNs, wal?.size ?? "", wal?.mtimeNs ?? ""];
  return { text: parts.join(" "), wal: wal !== undefined };
}
