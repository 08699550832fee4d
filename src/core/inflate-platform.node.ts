import { crc32, createInflateRaw } from "node:zlib";

/** Bytes of one output piece. */
const PIECE_BYTES: number = 64 * 1024;

/**
 * Content of one deflate stream, piece by piece. Throws an `Error` for bytes that are none, for a stream that ends before its last byte, or
 * goes on after it. The caller stops when it has enough: nothing is unpacked ahead of it but one piece.
 */
export async function* inflateRaw(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const inflate = createInflateRaw({ chunkSize: PIECE_BYTES });
  let fed = 0;
  let failure: unknown = null;
  const feed = async (): Promise<void> => {
    for await (const piece of pieces) {
      fed += piece.length;
      if (inflate.destroyed) return;
      if (!inflate.write(piece)) await drained(inflate);
    }
    inflate.end();
  };
  const feeding = feed().catch((error: unknown) => {
    failure = error;
    inflate.destroy();
  });
  try {
    for await (const piece of inflate) yield piece as Uint8Array;
    // A stream that ended in the middle of the data leaves the rest unread.
    await feeding;
  } catch (error) {
    throw failure ?? error;
  } finally {
    inflate.destroy();
    await feeding;
  }
  if (failure !== null) throw failure;
  if (inflate.bytesWritten !== fed) throw new Error("the deflate stream ends before its data");
}

/** Room for more, or the end of it. */
function drained(stream: ReturnType<typeof createInflateRaw>): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      stream.off("drain", done).off("close", done);
      resolve();
    };
    stream.on("drain", done).on("close", done);
  });
}

/** CRC-32 of what came before, continued over `bytes`; begins at 0. */
export function crc32Next(crc: number, bytes: Uint8Array): number {
  return crc32(bytes, crc);
}
