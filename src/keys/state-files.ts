import { randomBytes } from "node:crypto";
import {
  closeSync,
  fsyncSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { userInfo } from "node:os";
import { dirname, isAbsolute, join } from "node:path";
import { isTallystickError, UnavailableError } from "../core/errors.ts";

/**
 * Small files that several processes write and a crash may interrupt: every file appears complete or not at all, is
 * on the medium when the call returns, and is readable by its owner alone. Text that grows is named by its size, so that
 * the newest wins without a lock: see `writeNewest`.
 */

/** Replaces or makes a file: written beside, synced, renamed over, folder synced. */
export function writeText(path: string, text: string): void {
  const temporary = writeTemporary(path, text);
  rename(temporary, path);
  syncFolder(dirname(path));
}

/** Makes a file that is not there yet; returns false, changing nothing, when it is. */
export function writeNewText(path: string, text: string): boolean {
  const temporary = writeTemporary(path, text);
  try {
    linkSync(temporary, path);
  } catch (error) {
    if (codeOf(error) === "EEXIST") return false;
    if (!["EPERM", "ENOSYS", "ENOTSUP", "EOPNOTSUPP"].includes(codeOf(error) ?? "")) throw error;
    // A file system without hard links: still exclusive, but a crash in here can leave a file cut short.
    return writeExclusive(path, text);
  } finally {
    unlinkSync(temporary);
  }
  syncFolder(dirname(path));
  return true;
}

/** Text of a file, or undefined when there is none. */
export function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (codeOf(error) === "ENOENT" || codeOf(error) === "ENOTDIR") return undefined;
    throw error;
  }
}

/** Names in a folder, ascending, without temporary files; empty when there is no folder. */
export function listNames(folder: string): readonly string[] {
  try {
    return readdirSync(folder)
      .filter((name) => !name.startsWith("."))
      .sort();
  } catch (error) {
    if (codeOf(error) === "ENOENT") return [];
    if (codeOf(error) === "ENOTDIR")
      throw new UnavailableError("storage-io", `${folder}: expected a folder, there is something else; move it away`, {
        cause: error,
        details: { path: folder },
      });
    throw error;
  }
}

/** Removes a folder with everything in it, seen by nobody half-empty. Returns whether there was one. */
export function removeFolder(folder: string): boolean {
  const aside = temporaryName(folder);
  try {
    renameSync(folder, aside);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return false;
    throw error;
  }
  syncFolder(dirname(folder));
  rmSync(aside, { recursive: true, force: true });
  return true;
}

export interface Sized {
  readonly size: number;
  readonly text: string;
}

/**
 * Stores `text` under `size` in a folder where the largest size counts: monotone without a lock, because no writer ever
 * touches a file that is larger than its own. An older size is ignored. `sameSize` decides about a file of this very size
 * that is there already: true replaces it, false keeps it; it may throw.
 */
export function writeNewest(folder: string, { size, text }: Sized, sameSize: (present: string) => boolean): void {
  const present = readNewest(folder);
  if (present !== undefined && present.size > size) return;
  const path = join(folder, sizedName(size));
  if (present?.size === size || !writeNewText(path, text)) {
    const known = readText(path);
    // A larger one has come meanwhile and this one was tidied away.
    if (known === undefined || !sameSize(known)) return;
    writeText(path, text);
  }
  for (const name of sizedNames(folder)) {
    // Also tidies its own file when a larger one came meanwhile. Whoever is first removes it.
    if (name < newestName(folder)) rmSync(join(folder, name), { force: true });
  }
}

/** The text with the largest size, or undefined. */
export function readNewest(folder: string): Sized | undefined {
  // Between the listing and the reading a writer may have put a larger one in its place: look again.
  for (let attempt = 0; attempt < 100; attempt++) {
    const name = newestName(folder);
    if (name === "") return undefined;
    const text = readText(join(folder, name));
    if (text !== undefined) return { size: Number(name), text };
  }
  throw new UnavailableError("storage-busy", `state directory: ${folder} changes too fast to be read`);
}

/** Names of key files, without their ending. */
export const KEY_NAME: RegExp = /^[a-z0-9-]{1,80}$/;

/** True for what can be remembered as a ledger's place: an absolute path or a URL. */
export function isPlace(path: string): boolean {
  return isAbsolute(path) || /^[a-z][a-z0-9+.-]*:\/\//i.test(path);
}

/** Sixteen digits hold every size, so names sort as sizes do. */
function sizedName(size: number): string {
  return String(size).padStart(16, "0");
}

function sizedNames(folder: string): readonly string[] {
  return listNames(folder).filter((name) => /^[0-9]{16}$/.test(name));
}

function newestName(folder: string): string {
  return sizedNames(folder).at(-1) ?? "";
}

/** Makes a folder and its parents, readable by their owner alone, and lasting: each new name is synced in its parent. */
export function makeFolder(folder: string): void {
  const first = mkdirSync(folder, { recursive: true, mode: 0o700 });
  if (first === undefined) return;
  for (let made = folder; dirname(made) !== made; made = dirname(made)) {
    syncFolder(dirname(made));
    if (made === first) return;
  }
}

/**
 * Runs `action` and turns an error of the file system into `read-only`, `storage-full` or `storage-io`, naming the state
 * directory and the user: the two things that whoever mends it has to know.
 */
export function withStateErrors<T>(dir: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    const code = codeOf(error);
    if (isTallystickError(error) || code === undefined) throw error;
    const details = { dir, errno: code };
    if (["EACCES", "EPERM", "EROFS"].includes(code)) {
      const message = `state directory ${dir}: ${userName()} has no access (${code}); grant it or set TALLYSTICK_STATE_DIR`;
      throw new UnavailableError("read-only", message, { cause: error, details });
    }
    const kind = ["ENOSPC", "EDQUOT"].includes(code) ? "storage-full" : "storage-io";
    throw new UnavailableError(kind, `state directory ${dir}: ${code} for ${userName()}`, { cause: error, details });
  }
}

function userName(): string {
  try {
    const { username, uid } = userInfo();
    return uid < 0 ? `user ${username}` : `user ${username} (uid ${uid})`;
  } catch {
    // A container may run under a uid that has no name.
    return `uid ${process.getuid?.() ?? "unknown"}`;
  }
}

/** errno name of a file system error. */
export function codeOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !("code" in error) || !("errno" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}

/** A dot in front keeps it out of every listing; a crash may leave one behind, which harms nobody. */
function temporaryName(path: string): string {
  return join(dirname(path), `.${process.pid}-${randomBytes(8).toString("hex")}`);
}

function writeTemporary(path: string, text: string): string {
  makeFolder(dirname(path));
  const temporary = temporaryName(path);
  writeExclusive(temporary, text);
  return temporary;
}

function writeExclusive(path: string, text: string): boolean {
  let descriptor: number;
  try {
    descriptor = openSync(path, "wx", 0o600);
  } catch (error) {
    if (codeOf(error) === "EEXIST") return false;
    throw error;
  }
  try {
    const bytes = Buffer.from(text, "utf8");
    for (let written = 0; written < bytes.length; ) written += writeSync(descriptor, bytes, written);
    fsyncSync(descriptor);
  } catch (error) {
    rmSync(path, { force: true });
    throw error;
  } finally {
    closeSync(descriptor);
  }
  return true;
}

function rename(temporary: string, path: string): void {
  try {
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}

/** A new name is on the medium only when its folder has been synced; Windows has no such call and needs none. */
function syncFolder(folder: string): void {
  if (process.platform === "win32") return;
  const descriptor = openSync(folder, "r");
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
