import { type FileHandle, open, readdir, readFile, realpath, rename, rm, stat } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { ConflictError, MalformedError } from "../core/errors.ts";
import type { Output } from "./output.ts";

/** Text of a file, or of stdin for `-`. */
export async function readInput(file: string, bytesMax: number): Promise<string> {
  if (file !== "-") {
    const bytes = await readFile(file);
    if (bytes.length > bytesMax) throw tooLarge(file, bytesMax);
    return decode(bytes, file);
  }
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    chunks.push(chunk);
    size += chunk.length;
    if (size > bytesMax) throw tooLarge("stdin", bytesMax);
  }
  return decode(Buffer.concat(chunks), "stdin");
}

function tooLarge(file: string, bytesMax: number): MalformedError {
  return new MalformedError("unrecognised-file", `${file}: expected at most ${bytesMax} bytes`);
}

function decode(bytes: Uint8Array, file: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new MalformedError("unrecognised-file", `${file}: expected UTF-8 text`, { cause });
  }
}

/** Bytes of a file, or of stdin for `-`, as they come. A file that cannot be opened rejects here. */
export async function openInput(file: string): Promise<AsyncIterable<Buffer> & { destroy(): unknown }> {
  if (file === "-") return process.stdin;
  const handle = await open(file);
  if ((await handle.stat()).isDirectory()) {
    await handle.close();
    throw Object.assign(new Error("EISDIR"), { code: "EISDIR", syscall: "read", path: file });
  }
  return handle.createReadStream({ highWaterMark: 256 * 1024 });
}

export interface WriteOptions {
  /** Mode of a new file. */
  readonly mode?: number;
  /** Refuses to replace a file (`EEXIST`). */
  readonly exclusive?: boolean;
}

/**
 * Writes a document to a file, or to stdout for `-`. A file appears whole or not at all: it is written under another name, synced
 * and renamed.
 */
export async function writeDocument(
  out: Output,
  file: string,
  pieces: AsyncIterable<string> | Iterable<string>,
  options: WriteOptions = {},
): Promise<void> {
  if (file === "-") {
    for await (const piece of pieces) {
      await out.document(piece);
      if (out.closed) return;
    }
    return;
  }
  try {
    if (options.exclusive === true) {
      const path = resolve(file);
      await refuseCompanion(path, file);
      const handle = await open(path, "wx", options.mode);
      await writeAll(handle, pieces).catch((error) => discard(path, error));
      return;
    }
    const target = await replaceable(file);
    if (target.kind === "device") {
      await writeAll(await open(target.path, "w"), pieces);
      return;
    }
    await removeAbandoned(target.path);
    const draft = join(dirname(target.path), `.${basename(target.path)}.${process.pid}.tmp`);
    await writeAll(await open(draft, "w", options.mode), pieces)
      .then(() => rename(draft, target.path))
      .catch((error) => discard(draft, error));
  } catch (error) {
    throw withPath(error, file);
  }
}

const ABANDONED_MS = 60_000;

/** Removes drafts of this file whose process was killed: what is in them may have been erased since. Nothing fails if that fails. */
async function removeAbandoned(path: string): Promise<void> {
  const [folder, start] = [dirname(path), `.${basename(path)}.`];
  for (const name of await readdir(folder).catch(() => [])) {
    const pid = name.startsWith(start) ? /^([1-9][0-9]*)\.tmp$/.exec(name.slice(start.length))?.[1] : undefined;
    if (pid === undefined || isRunning(Number(pid))) continue;
    const draft = join(folder, name);
    const written = (await stat(draft).catch(() => null))?.mtimeMs ?? Number.POSITIVE_INFINITY;
    // The process may run where its number says nothing here: in a container, or on another machine.
    if (Date.now() - written > ABANDONED_MS) await rm(draft, { force: true }).catch(() => {});
  }
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
}

/** Leaves nothing half-written behind, and tells the first error. */
async function discard(path: string, error: unknown): Promise<never> {
  await rm(path, { force: true }).catch(() => {});
  throw error;
}

/**
 * Where a document may be written: a file (through links; it may be missing), or a device or pipe, which is written to and never
 * replaced. A ledger, what belongs to it, or a private key is not overwritten by a slip: `already-exists`.
 */
export async function replaceable(file: string): Promise<{ readonly path: string; readonly kind: "file" | "device" }> {
  const path = await realpath(file).catch(() => resolve(file));
  await refuseCompanion(path, file);
  const found = await stat(path).catch(() => null);
  if (found === null || found.isDirectory()) return { path, kind: "file" };
  if (!found.isFile()) return { path, kind: "device" };
  const start = await startOf(path);
  const treasure = TREASURES.find(({ mark }) => mark.test(start));
  if (treasure !== undefined)
    throw new ConflictError("already-exists", `${file}: ${treasure.what} is there, which is never replaced`);
  return { path, kind: "file" };
}

/** What SQLite keeps beside a database is part of it: other bytes in its place lose what was acknowledged. */
async function refuseCompanion(path: string, file: string): Promise<void> {
  const database = path.replace(/-(?:wal|shm|journal)$/, "");
  if (database !== path && (await startOf(database)).startsWith(SQLITE_MARK))
    throw new ConflictError("already-exists", `${file}: belongs to the database beside it, and is never written to`);
}

/** The first bytes of a file, as many as tell what it is, one character each; nothing of one that cannot be read. */
async function startOf(path: string): Promise<string> {
  const handle = await open(path).catch(() => null);
  if (handle === null) return "";
  try {
    const { buffer, bytesRead } = await handle.read({ buffer: Buffer.alloc(START_BYTES) });
    return buffer.toString("latin1", 0, bytesRead);
  } finally {
    await handle.close();
  }
}

const START_BYTES = 4096;
const SQLITE_MARK = "SQLite format 3\0";

/** A JWK has its members in any order; what is private of it is `d`, or the seed of an ML-DSA key. */
const TREASURES = [
  { mark: new RegExp(`^${SQLITE_MARK}`), what: "a database" },
  { mark: /^.{0,40} PRIVATE KEY-----/s, what: "a private key" },
  { mark: /^\s*\{(?=.*"kty"\s*:)(?=.*"(?:d|priv)"\s*:)/s, what: "a private key" },
] as const;

const WRITE_UNITS = 256 * 1024;

async function writeAll(handle: FileHandle, pieces: AsyncIterable<string> | Iterable<string>): Promise<void> {
  try {
    let pending = "";
    for await (const piece of pieces) {
      pending += piece;
      if (pending.length < WRITE_UNITS) continue;
      await handle.writeFile(pending);
      pending = "";
    }
    await handle.writeFile(pending);
    await handle.sync().catch(ignoreNoSync);
  } finally {
    await handle.close();
  }
}

/** A device or pipe has nothing to sync. */
function ignoreNoSync(error: NodeJS.ErrnoException): void {
  if (error.code !== "EINVAL" && error.code !== "ENOTSUP") throw error;
}

/** The name that the caller gave: not that of the draft, and not none at all. */
function withPath(error: unknown, file: string): unknown {
  if (error instanceof Error && "syscall" in error) Object.assign(error, { path: file });
  return error;
}
