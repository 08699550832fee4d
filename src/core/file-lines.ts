import { concatBytes } from "./encoding.ts";
import { RECEIPT_BYTES_MAX } from "./limits.ts";

/** One line of a file without its newline; `ended`: the newline was there. */
export interface FileLine {
  readonly bytes: Uint8Array;
  readonly ended: boolean;
}

const NEWLINE = 0x0a;

/**
 * Lines of a file that arrives in pieces of any size (a stream, `[bytes]`). What follows the last newline is a line too, marked
 * `ended: false`. No line is kept beyond `sizeBytesMax` and one byte, which shows that it is too long; the rest of it is dropped.
 */
export async function* splitLines(
  pieces: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
  options: { readonly sizeBytesMax?: number } = {},
): AsyncGenerator<FileLine> {
  const { sizeBytesMax = RECEIPT_BYTES_MAX } = options;
  let kept: Uint8Array[] = [];
  let keptBytes = 0;
  const keep = (part: Uint8Array): void => {
    const room = sizeBytesMax + 1 - keptBytes;
    if (room <= 0 || part.length === 0) return;
    const taken = part.length > room ? part.subarray(0, room) : part;
    kept.push(taken);
    keptBytes += taken.length;
  };
  const take = (): Uint8Array => {
    const whole = kept.length === 1 ? (kept[0] as Uint8Array) : concatBytes(...kept);
    kept = [];
    keptBytes = 0;
    return whole;
  };
  let isOpen = false;
  for await (const piece of pieces) {
    let start = 0;
    for (let end = piece.indexOf(NEWLINE); end >= 0; end = piece.indexOf(NEWLINE, start)) {
      keep(piece.subarray(start, end));
      yield { bytes: take(), ended: true };
      start = end + 1;
      isOpen = false;
    }
    if (start < piece.length) {
      keep(piece.subarray(start));
      isOpen = true;
    }
  }
  if (isOpen) yield { bytes: take(), ended: false };
}
