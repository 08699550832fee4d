import { createHash, randomBytes } from "node:crypto";
import { constants, type FileHandle, link, mkdir, open, readdir, rename, rm, stat, unlink } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { decodeUtf8, encodeUtf8 } from "../../core/encoding.ts";
import { ConflictError, MalformedError, type TallystickError, UnavailableError } from "../../core/errors.ts";
import { BUNDLE_BYTES_MAX } from "../../core/published-tiles.ts";
import { type Archive, assertArchivePath } from "../../ledger/archive.ts";

/** Bytes on their way to their place. */
const DRAFTS = ".drafts";
/** For each object that was replaced lately, the name of the draft that follows it. */
const DECIDED = ".decided";
/** What a crash leaves in these two is removed after this time: no write takes as long. */
const LEFTOVER_MS = 3_600_000;
/** Leftovers are looked for before the first write, and again after so many replacements. */
const TIDY_EVERY = 1_000;
const DRAFT_NAME = /^[0-9a-f]{24}$/;
/** A folder of partial tiles may be removed between making it and using it; not this often. */
const FOLDER_TRIES = 4;

/**
 * An archive in a folder, as a web server would serve it. Several processes may write to it at once. Errors: `already-exists`,
 * `lock-moved`, `malformed-tile`, `storage-*`.
 *
 * A new object is written and synced as a draft, then linked to its place, which one writer can do and no more. What follows an
 * object that is replaced is decided by such a link too; the draft is then renamed over the object, by its writer or, if that one
 * died, by whoever comes next:
 *
 *     .drafts/3f9c…      bytes of the next checkpoint
 *     .decided/<E>       "3f9c…": this draft follows the checkpoint with hash E
 *     checkpoint         the one with hash E, until the draft is renamed over it
 *
 * A draft can be renamed once only, so nobody who is late puts back what was replaced since.
 */
export function filesystemArchive(directory: string): Archive {
  const root = resolve(directory);
  const folders = new Map<string, Promise<void>>();
  const syncs = new Map<string, () => Promise<void>>();
  let untilTidy = 0;

  function place(path: string): string {
    assertArchivePath(path);
    return join(root, path);
  }

  function sync(folder: string): Promise<void> {
    let work = syncs.get(folder);
    if (work === undefined) {
      work = shared(() => syncFolder(folder));
      syncs.set(folder, work);
    }
    return work();
  }

  /** Makes a folder that stays: its name, and those above it, are durable once the folders that hold them are synced. */
  function makeFolder(folder: string): Promise<void> {
    let made = folders.get(folder);
    if (made === undefined) {
      made = mkdir(folder, { recursive: true }).then(async (first) => {
        // Also where it was there: somebody else may have made it just now, and not have synced it yet.
        const top = Math.min(root.length, first === undefined ? root.length : dirname(first).length);
        for (let at = dirname(folder); at.length >= top; at = dirname(at)) {
          await sync(at);
          if (at === dirname(at)) break;
        }
      });
      folders.set(folder, made);
      made.catch(() => folders.delete(folder));
    }
    return made;
  }

  async function writeDraft(bytes: Uint8Array): Promise<string> {
    const draft = join(root, DRAFTS, randomBytes(12).toString("hex"));
    await makeFolder(dirname(draft));
    const handle = await open(draft, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, 0o644);
    try {
      await handle.writeFile(bytes);
      await handle.sync();
    } catch (error) {
      await rm(draft, { force: true });
      throw error;
    } finally {
      await handle.close();
    }
    return draft;
  }

  /** Gives a draft a second name; false when that is taken. */
  async function linkTo(draft: string, target: string): Promise<boolean> {
    for (let tries = 1; ; tries++) {
      await makeFolder(dirname(target));
      try {
        await link(draft, target);
        return true;
      } catch (error) {
        const code = codeOf(error);
        if (code === "EEXIST") return false;
        if (code !== "ENOENT" || tries === FOLDER_TRIES)
          throw NO_LINKS.has(code ?? "") ? noHardLinks(root, error) : error;
        folders.delete(dirname(target));
      }
    }
  }

  /**
   * Finishes what another writer decided. False when its draft is lost, as after a power failure: then nothing was decided, and
   * the decision is gone.
   */
  async function follow(target: string, expected: Uint8Array | null, decision: string): Promise<boolean> {
    const bytes = await readFile(decision, 64);
    const name = bytes === undefined ? "" : decodeUtf8(bytes, "malformed-tile");
    if (DRAFT_NAME.test(name)) {
      const isMoved = await rename(join(root, DRAFTS, name), target).then(() => true, absent);
      if (isMoved === true) await sync(dirname(target));
    }
    if (!same(await readFile(target, BUNDLE_BYTES_MAX), expected)) return true;
    await rm(decision, { force: true });
    return false;
  }

  async function tidy(): Promise<void> {
    untilTidy -= 1;
    if (untilTidy > 0) return;
    untilTidy = TIDY_EVERY;
    // Drafts first: a decision without its draft is void, a draft without its decision could be renamed too late.
    for (const folder of [DRAFTS, DECIDED]) {
      for (const name of (await readdir(join(root, folder)).catch(absent)) ?? []) {
        const leftover = join(root, folder, name);
        const stats = await stat(leftover).catch(absent);
        if (stats !== undefined && Date.now() - stats.mtimeMs > LEFTOVER_MS) await rm(leftover, { force: true });
      }
    }
  }

  async function put(path: string, bytes: Uint8Array): Promise<void> {
    const target = place(path);
    if (untilTidy === 0) await tidy();
    if (!(await holds(target, bytes, path))) {
      const draft = await writeDraft(bytes);
      try {
        if (!(await linkTo(draft, target))) await holds(target, bytes, path);
      } finally {
        await unlink(draft).catch(absent);
      }
    }
    // Also for an object that was there: who linked it may have died before it was durable.
    await sync(dirname(target));
  }

  async function replace(path: string, expected: Uint8Array | null, next: Uint8Array): Promise<void> {
    const target = place(path);
    await tidy();
    const decision = join(root, DECIDED, digest(path, expected));
    const isExpected = async (): Promise<boolean> => same(await readFile(target, BUNDLE_BYTES_MAX), expected);
    while (await isExpected()) {
      await makeFolder(dirname(target));
      const draft = await writeDraft(next);
      const claim = await writeDraft(encodeUtf8(draft.slice(-24)));
      const isOurs = await linkTo(claim, decision).finally(() => unlink(claim).catch(absent));
      if (!isOurs) {
        await unlink(draft).catch(absent);
        if (await follow(target, expected, decision)) break;
        continue;
      }
      // What was decided an hour ago is tidied away, and could be decided once more by somebody who slept since.
      if (!(await isExpected()) && (await unlink(draft).then(() => true, absent)) === true) {
        await rm(decision, { force: true });
        break;
      }
      // Whoever follows our decision may have been faster.
      await rename(draft, target).catch(absent);
      await sync(dirname(target));
      if (!(await isExpected()) || same(next, expected)) return;
      throw new UnavailableError("storage-io", `${root}: the draft of ${path} is gone`, { details: { path } });
    }
    throw new ConflictError("lock-moved", `${path} is not what was expected: somebody else replaced it`, {
      details: { path },
    });
  }

  return {
    location: root,
    put: (path, bytes) => guarded(root, WRITE_ERRORS, () => put(path, bytes)),
    replace: (path, expected, next) => guarded(root, WRITE_ERRORS, () => replace(path, expected, next)),

    get: (path, options = {}) =>
      guarded(root, {}, async () => {
        options.signal?.throwIfAborted();
        return readFile(place(path), options.bytesMax ?? BUNDLE_BYTES_MAX);
      }),

    deletePartials: (path) =>
      guarded(root, WRITE_ERRORS, async () => {
        const folder = `${place(path)}.p`;
        folders.delete(folder);
        await rm(folder, { force: true, recursive: true });
      }),
  };
}

/** Bytes of a regular file, or undefined when there is none. */
async function readFile(target: string, bytesMax: number): Promise<Uint8Array | undefined> {
  // Not blocked by a pipe that somebody put there.
  const handle = await open(target, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0)).catch(absent);
  if (handle === undefined) return undefined;
  try {
    return await readHandle(handle, target, bytesMax);
  } finally {
    await handle.close();
  }
}

async function readHandle(handle: FileHandle, target: string, bytesMax: number): Promise<Uint8Array> {
  const stats = await handle.stat();
  if (!stats.isFile() || stats.size > bytesMax) {
    const found = stats.isFile() ? `${stats.size}` : "no file";
    throw new MalformedError("malformed-tile", `${target}: expected a file of at most ${bytesMax} bytes, got ${found}`);
  }
  const bytes = new Uint8Array(stats.size);
  let filled = 0;
  while (filled < bytes.length) {
    const { bytesRead } = await handle.read(bytes, filled, bytes.length - filled, null);
    if (bytesRead === 0)
      throw new MalformedError("malformed-tile", `${target}: the file was cut off while it was read`);
    filled += bytesRead;
  }
  return bytes;
}

/** Whether the object is there; `already-exists` when it has other bytes. */
async function holds(target: string, bytes: Uint8Array, path: string): Promise<boolean> {
  let present: Uint8Array | undefined;
  try {
    present = await readFile(target, bytes.length);
    if (present === undefined) return false;
  } catch (error) {
    if (!(error instanceof MalformedError)) throw error;
  }
  if (present !== undefined && same(present, bytes)) return true;
  throw new ConflictError("already-exists", `${path} is there already, with other bytes`, { details: { path } });
}

function same(a: Uint8Array | undefined, b: Uint8Array | null): boolean {
  return b === null ? a === undefined : a !== undefined && Buffer.compare(a, b) === 0;
}

/** Name for the decision about what follows these bytes at this path. */
function digest(path: string, expected: Uint8Array | null): string {
  const hash = createHash("sha256").update(`${path}\n`);
  return (expected === null ? hash : hash.update("\n").update(expected)).digest("hex");
}

/** Calls that come while one is under way share the next one, which begins after all that they are for. */
function shared(work: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | null = null;
  let next: Promise<void> | null = null;
  const start = (): Promise<void> => {
    const now = work().finally(() => {
      if (running === now) running = null;
    });
    running = now;
    return now;
  };
  return () => {
    if (running === null) return start();
    next ??= running
      .catch(() => {})
      .then(() => {
        next = null;
        return start();
      });
    return next;
  };
}

/** A new name is on the medium only when its folder was synced; Windows has no such call and needs none. */
async function syncFolder(folder: string): Promise<void> {
  if (process.platform === "win32") return;
  // Gone: removed with all that was in it.
  const handle = await open(folder, constants.O_RDONLY).catch(absent);
  if (handle === undefined) return;
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function absent(error: unknown): undefined {
  const code = codeOf(error);
  if (code === "ENOENT" || code === "ENOTDIR") return undefined;
  throw error;
}

function codeOf(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}

const NO_LINKS: ReadonlySet<string> = new Set(["EPERM", "ENOSYS", "ENOTSUP", "EOPNOTSUPP"]);

function noHardLinks(root: string, cause: unknown): UnavailableError {
  return new UnavailableError(
    "storage-io",
    `${root}: its file system has no hard links, without which no object can be written whole; publish to another one`,
    { cause, details: { path: root } },
  );
}

type StorageErrors = Readonly<Record<string, "storage-full" | "read-only">>;

const WRITE_ERRORS: StorageErrors = {
  ENOSPC: "storage-full",
  EDQUOT: "storage-full",
  EACCES: "read-only",
  EPERM: "read-only",
  EROFS: "read-only",
};

/** File system errors in the words of this package; everything else passes. */
async function guarded<T>(root: string, codes: StorageErrors, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const code = codeOf(error);
    if (code === undefined || !/^E[A-Z0-9]+$/.test(code)) throw error as TallystickError;
    throw new UnavailableError(codes[code] ?? "storage-io", `${root}: ${code}`, {
      cause: error,
      details: { path: root },
    });
  }
}
