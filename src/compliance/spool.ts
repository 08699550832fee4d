import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { type FileHandle, open, rm } from "node:fs/promises";
import { pipeline } from "node:stream/promises";
import { crc32, createDeflateRaw, createInflateRaw, deflateRawSync } from "node:zlib";
import { DEFLATED, isZipRatio, STORED, ZIP_BYTES_MAX, type ZipMember } from "../core/zip-format.ts";

/** Content of a member as it will stand in the file, with everything that its headers and the manifest say of it. */
export interface PackedMember extends ZipMember {
  /** Hex, of the content. */
  readonly sha256: string;
  /** The bytes in the file; may be called more than once. */
  readonly data: () => AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
}

/** Packs content in memory; stores it where that is no larger, or where it packs so well that a reader must take it for a bomb. */
export function packMember(name: string, content: Uint8Array): PackedMember {
  const deflated = deflateRawSync(content);
  const isStored = deflated.length >= content.length || !isZipRatio(content.length, deflated.length);
  const data = isStored ? content : deflated;
  return {
    name,
    method: isStored ? STORED : DEFLATED,
    crc: crc32(content),
    packed: data.length,
    size: content.length,
    sha256: createHash("sha256").update(content).digest("hex"),
    data: () => [data],
  };
}

/** Lines are handed to the packer together. */
const BATCH_UNITS: number = 256 * 1024;
const CHUNK_BYTES: number = 256 * 1024;
/** What packs hashes nearly as well as the highest level, in a third of the time. */
const LEVEL = 4;

/**
 * Packs lines into a file beside, so that nothing of them stays in memory. `remove` deletes it. Error: `RangeError` for more than a package
 * can hold.
 */
export async function spoolMember(
  name: string,
  lines: AsyncIterable<string>,
  path: string,
): Promise<PackedMember & { readonly content: () => AsyncIterable<Uint8Array>; readonly remove: () => Promise<void> }> {
  const remove = (): Promise<void> => rm(path, { force: true });
  try {
    const facts = await writePacked(lines, await open(path, "wx", 0o600));
    const content = (): AsyncIterable<Uint8Array> =>
      createReadStream(path, { highWaterMark: CHUNK_BYTES }).pipe(createInflateRaw({ chunkSize: CHUNK_BYTES }));
    const isStored = !isZipRatio(facts.size, facts.packed);
    return {
      name,
      ...facts,
      ...(isStored ? { method: STORED, packed: facts.size } : { method: DEFLATED }),
      data: isStored ? content : () => createReadStream(path, { highWaterMark: CHUNK_BYTES }),
      content,
      remove,
    };
  } catch (error) {
    await remove();
    throw error;
  }
}

async function writePacked(
  lines: AsyncIterable<string>,
  file: FileHandle,
): Promise<Pick<PackedMember, "crc" | "packed" | "size" | "sha256">> {
  const hash = createHash("sha256");
  let crc = 0;
  let size = 0;
  let packed = 0;
  const take = (text: string): Buffer => {
    const bytes = Buffer.from(text);
    hash.update(bytes);
    crc = crc32(bytes, crc);
    size += bytes.length;
    if (size > ZIP_BYTES_MAX)
      throw new RangeError(
        `evidence: expected at most ${ZIP_BYTES_MAX} bytes of entries in one package; write several with --first and --last`,
      );
    return bytes;
  };
  async function* batches(): AsyncGenerator<Buffer> {
    let pending = "";
    for await (const line of lines) {
      pending += line;
      if (pending.length < BATCH_UNITS) continue;
      yield take(pending);
      pending = "";
    }
    if (pending !== "") yield take(pending);
  }
  async function* counted(pieces: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const piece of pieces) {
      packed += piece.length;
      yield piece;
    }
  }
  // The stream closes the file, also when something fails on the way.
  await pipeline(
    batches,
    createDeflateRaw({ level: LEVEL, chunkSize: CHUNK_BYTES }),
    counted,
    file.createWriteStream(),
  );
  return { crc, packed, size, sha256: hash.digest("hex") };
}
