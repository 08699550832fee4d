import { createHash, randomBytes } from "node:crypto";
import { constants, type FileHandle, link, mkdir, open, readFile, rename, rm, stat, unlink } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { ConflictError, MalformedError, type TallystickError, UnavailableError } from "../../core/errors.ts";
import type { Archive } from "../../ledger/archive.ts";

const PATH = /^(?:[A-Za-z0-9_-][A-Za-z0-9._-]*\/)*[A-Za-z0-9_-][A-Za-z0-9._-]*$/;
/** The largest object of tlog-tiles: 256 entries of 65,535 bytes with their lengths. */
const OBJECT_BYTES_MAX: number = 256 * (65_535 + 2);

/**
 * An archive in a folder, as a web server would serve it. Objects are written beside their place, synced, and linked into it,
 * so that no reader and no crash sees half of one. Errors: `already-exists`, `lock-moved`, `malformed-tile`, `storage-*`.
 */
export function filesystemArchive(directory: string): Archive {
  const root = resolve(directory);
  const made = new Set<string>();

  function place(path: string): string {
    if (!PATH.test(path))
      throw new TypeError(`archive: expected a relative path of plain names, got ${JSON.stringify(path)}`);
    return join(root, path);
  }

  async function makeFolder(folder: string): Promise<void> {
    if (made.has(folder)) return;
    const first = await mkdir(folder, { recursive: true });
    // A new folder is durable once its parent is synced.
    if (first !== undefined)
      for (let at = folder; at.length >= dirname(first).length; at = dirname(at)) await syncFolder(at);
    made.add(folder);
  }

  async function writeBeside(target: string, bytes: Uint8Array): Promise<string> {
    await makeFolder(dirname(target));
    const draft = `${target}.draft-${randomBytes(6).toString("hex")}`;
    let handle: FileHandle | undefined;
    try {
      handle = await open(draft, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o644);
      await handle.writeFile(bytes);
      await handle.sync();
    } catch (error) {
      await handle?.close();
      handle = undefined;
      await rm(draft, { force: true });
      throw error;
    } finally {
      await handle?.close();
    }
    return draft;
  }

  async function read(target: string, bytesMax: number): Promise<Uint8Array | undefined> {
    const stats = await stat(target).catch(absent);
    if (stats === undefined) return undefined;
    if (!stats.isFile() || stats.size > bytesMax)
      throw new MalformedError(
        "malformed-tile",
        `${target}: expected a file of at most ${bytesMax} bytes, got ${stats.size}`,
      );
    return readFile(target).catch(absent);
  }

  /** Name of the one object that may follow `expected`: whoever links it first has decided what comes next. */
  function successorOf(target: string, expected: Uint8Array | null): string {
    return `${target}.next-${expected === null ? "none" : createHash("sha256").update(expected).digest("hex")}`;
  }

  /** Moves a decided successor into place; somebody else may have done so already. */
  async function settle(target: string, successor: string): Promise<void> {
    await rename(successor, target).catch(absent);
    await syncFolder(dirname(target));
  }

  return {
    location: root,

    put: (path, bytes) =>
      guarded(root, async () => {
        const target = place(path);
        const present = await read(target, OBJECT_BYTES_MAX);
        if (present !== undefined) return requireEqual(path, present, bytes);
        const draft = await writeBeside(target, bytes);
        try {
          await link(draft, target);
        } catch (error) {
          if (codeOf(error) !== "EEXIST") throw error;
          requireEqual(path, (await read(target, OBJECT_BYTES_MAX)) ?? new Uint8Array(), bytes);
        } finally {
          await unlink(draft);
        }
        await syncFolder(dirname(target));
      }),

    replace: (path, expected, next) =>
      guarded(root, async () => {
        const target = place(path);
        const successor = successorOf(target, expected);
        if (!same(await read(target, OBJECT_BYTES_MAX), expected)) throw moved(path);
        const draft = await writeBeside(target, next);
        try {
          await link(draft, successor);
        } catch (error) {
          if (codeOf(error) !== "EEXIST") throw error;
          // Somebody decided before and may have crashed before moving it: finish that, then report.
          if (same(await read(target, OBJECT_BYTES_MAX), expected)) await settle(target, successor);
          throw moved(path);
        } finally {
          await unlink(draft);
        }
        // Between the look above and the link the object may have been replaced and its successor name become free again.
        if (!same(await read(target, OBJECT_BYTES_MAX), expected)) {
          await rm(successor, { force: true });
          throw moved(path);
        }
        await settle(target, successor);
      }),

    get: (path, options = {}) =>
      guarded(root, async () => {
        options.signal?.throwIfAborted();
        return read(place(path), options.bytesMax ?? OBJECT_BYTES_MAX);
      }),

    deletePartials: (path) =>
      guarded(root, async () => {
        await rm(`${place(path)}.p`, { force: true, recursive: true });
      }),
  };
}

function same(a: Uint8Array | null | undefined, b: Uint8Array | null): boolean {
  return b === null ? a == null : a != null && Buffer.compare(a, b) === 0;
}

function requireEqual(path: string, present: Uint8Array, bytes: Uint8Array): void {
  if (!same(present, bytes))
    throw new ConflictError("already-exists", `${path} is there already, with other bytes`, { details: { path } });
}

function moved(path: string): ConflictError {
  return new ConflictError("lock-moved", `${path} is not what was expected: somebody else replaced it`, {
    details: { path },
  });
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, constants.O_RDONLY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function absent(error: unknown): undefined {
  if (codeOf(error) === "ENOENT") return undefined;
  throw error;
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}

const STORAGE_ERRORS: Readonly<Record<string, "storage-full" | "read-only">> = {
  ENOSPC: "storage-full",
  EDQUOT: "storage-full",
  EACCES: "read-only",
  EPERM: "read-only",
  EROFS: "read-only",
};

/** File system errors in the words of this package; everything else passes. */
async function guarded<T>(root: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const code = codeOf(error);
    if (code === undefined || !/^E[A-Z0-9]+$/.test(code)) throw error as TallystickError;
    throw new UnavailableError(STORAGE_ERRORS[code] ?? "storage-io", `${root}: ${code}`, {
      cause: error,
      details: { path: root },
    });
  }
}
