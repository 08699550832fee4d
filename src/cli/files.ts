import { type FileHandle, open, readFile, rename, rm } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { MalformedError } from "../core/errors.ts";
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
  return (await open(file)).createReadStream({ highWaterMark: 256 * 1024 });
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
  const path = resolve(file);
  if (options.exclusive === true) {
    await writeAll(await open(path, "wx", options.mode), pieces);
    return;
  }
  const draft = join(dirname(path), `.${basename(path)}.${process.pid}.tmp`);
  try {
    await writeAll(await open(draft, "w", options.mode), pieces);
    await rename(draft, path);
  } catch (error) {
    await rm(draft, { force: true });
    throw withPath(error, file);
  }
}

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
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** The name that the caller gave, not that of the draft. */
function withPath(error: unknown, file: string): unknown {
  if (error instanceof Error && "path" in error) Object.assign(error, { path: file });
  return error;
}
