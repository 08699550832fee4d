/**
 * Portable variant, free of `node:`: RFC 1951 in arithmetic alone, so that no browser's own taste changes what verifies. It accepts
 * exactly what zlib accepts, and refuses what comes after the stream.
 */

/** How far back a match reaches. */
const WINDOW_BYTES: number = 32 * 1024;
const PIECE_BYTES: number = 64 * 1024;
const MATCH_BYTES_MAX = 258;
/** The header of a dynamic block has at most 286 + 30 lengths of at most 14 bits each, and the 19 they are made of. */
const BLOCK_HEADER_BYTES_MAX = 600;
/** A length and a distance with their extra bits. */
const SYMBOL_BYTES_MAX = 8;
const CODE_BITS_MAX = 15;

export async function* inflateRaw(pieces: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const input = new BitReader(pieces);
  const output = new Window();
  for (let isLast = false; !isLast; ) {
    await input.fill(BLOCK_HEADER_BYTES_MAX);
    isLast = input.take(1) === 1;
    const type = input.take(2);
    if (type === 0) yield* copyStored(input, output);
    else if (type === 3) throw new Error("deflate: a block of no type");
    else yield* decodeBlock(input, output, type === 1 ? fixedCodes() : readCodes(input));
  }
  await input.expectEnd();
  yield output.take();
}

interface Codes {
  readonly literals: Code;
  readonly distances: Code;
}

/** Lookup by the next bits: symbol × 16 + bits of the code; 0 where there is no code. */
interface Code {
  readonly table: Uint16Array;
  readonly bits: number;
}

async function* copyStored(input: BitReader, output: Window): AsyncGenerator<Uint8Array> {
  input.align();
  const length = input.take(16);
  if ((input.take(16) ^ 0xffff) !== length) throw new Error("deflate: the length of a stored block is wrong");
  for (let left = length; left > 0; left--) {
    if (output.isFull) yield output.take();
    if (input.runsLow) await input.fill(SYMBOL_BYTES_MAX);
    output.put(input.take(8));
  }
}

async function* decodeBlock(
  input: BitReader,
  output: Window,
  { literals, distances }: Codes,
): AsyncGenerator<Uint8Array> {
  for (;;) {
    if (output.isFull) yield output.take();
    if (input.runsLow) await input.fill(SYMBOL_BYTES_MAX);
    const symbol = input.decode(literals);
    if (symbol < 256) {
      output.put(symbol);
      continue;
    }
    if (symbol === 256) return;
    const [base, extra] = LENGTHS[symbol - 257] ?? bad("length");
    const length = base + input.take(extra);
    const [nearest, more] = DISTANCES[input.decode(distances)] ?? bad("distance");
    output.repeat(nearest + input.take(more), length);
  }
}

function bad(what: string): never {
  throw new Error(`deflate: a ${what} that is none`);
}

/** Base and extra bits of each length symbol, from 257 on. RFC 1951 3.2.5. */
const LENGTHS: readonly (readonly [number, number])[] = [
  ...Array.from({ length: 28 }, (_, i): [number, number] => {
    const extra = i < 8 ? 0 : (i >> 2) - 1;
    return [i < 8 ? i + 3 : ((4 + (i & 3)) << extra) + 3, extra];
  }),
  [MATCH_BYTES_MAX, 0],
];
const DISTANCES: readonly (readonly [number, number])[] = Array.from({ length: 30 }, (_, i): [number, number] => {
  const extra = i < 4 ? 0 : (i >> 1) - 1;
  return [i < 4 ? i + 1 : ((2 + (i & 1)) << extra) + 1, extra];
});

let fixed: Codes | null = null;
function fixedCodes(): Codes {
  fixed ??= {
    literals: codeOf(Array.from({ length: 288 }, (_, i) => (i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8))),
    distances: codeOf(Array.from({ length: 32 }, () => 5)),
  };
  return fixed;
}

const LENGTH_ORDER: readonly number[] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

function readCodes(input: BitReader): Codes {
  const literals = input.take(5) + 257;
  const distances = input.take(5) + 1;
  const count = input.take(4) + 4;
  if (literals > 286 || distances > 30) throw new Error("deflate: too many symbols");
  const lengthLengths = new Array<number>(19).fill(0);
  for (let i = 0; i < count; i++) lengthLengths[LENGTH_ORDER[i]!] = input.take(3);
  const lengthCode = codeOf(lengthLengths, false);
  const lengths: number[] = [];
  while (lengths.length < literals + distances) {
    const symbol = input.decode(lengthCode);
    if (symbol < 16) {
      lengths.push(symbol);
      continue;
    }
    const before = symbol === 16 ? lengths.at(-1) : 0;
    if (before === undefined) throw new Error("deflate: a repeated length without one before");
    const times = symbol === 16 ? 3 + input.take(2) : symbol === 17 ? 3 + input.take(3) : 11 + input.take(7);
    for (let i = 0; i < times; i++) lengths.push(before);
  }
  if (lengths.length > literals + distances) throw new Error("deflate: too many lengths");
  if (lengths[256] === 0) throw new Error("deflate: a block that cannot end");
  return { literals: codeOf(lengths.slice(0, literals)), distances: codeOf(lengths.slice(literals)) };
}

/** The code of these lengths. As in zlib, it is complete, or has no symbol at all, or (`mayBeOne`) one symbol of one bit. */
function codeOf(lengths: readonly number[], mayBeOne = true): Code {
  const counts = new Array<number>(CODE_BITS_MAX + 1).fill(0);
  for (const length of lengths) counts[length]! += length === 0 ? 0 : 1;
  const bits = counts.findLastIndex((count) => count > 0);
  if (bits <= 0) return { table: new Uint16Array(2), bits: 1 };
  let left = 1;
  const next = new Array<number>(CODE_BITS_MAX + 2).fill(0);
  for (let length = 1; length <= CODE_BITS_MAX; length++) {
    left = 2 * left - counts[length]!;
    if (left < 0) throw new Error("deflate: a code with too many symbols");
    next[length + 1] = (next[length]! + counts[length]!) << 1;
  }
  if (left > 0 && !(mayBeOne && bits === 1)) throw new Error("deflate: a code with too few symbols");
  const table = new Uint16Array(1 << bits);
  for (const [symbol, length] of lengths.entries()) {
    if (length === 0) continue;
    const code = next[length]!++;
    // Codes come with their first bit lowest.
    let reversed = 0;
    for (let bit = 0; bit < length; bit++) reversed |= ((code >> bit) & 1) << (length - 1 - bit);
    for (let at = reversed; at < table.length; at += 1 << length) table[at] = symbol * 16 + length;
  }
  return { table, bits };
}

/** Bits of the input, lowest first. */
class BitReader {
  private readonly pieces: AsyncIterator<Uint8Array>;
  private bytes: Uint8Array = new Uint8Array();
  private at = 0;
  private isEnded = false;
  private held = 0;
  private count = 0;

  constructor(pieces: AsyncIterable<Uint8Array>) {
    this.pieces = pieces[Symbol.asyncIterator]();
  }

  get runsLow(): boolean {
    return this.bytes.length - this.at < SYMBOL_BYTES_MAX && !this.isEnded;
  }

  /** Has so many bytes at hand, or all that there are. */
  async fill(sizeBytes: number): Promise<void> {
    while (this.bytes.length - this.at < sizeBytes && !this.isEnded) {
      const { done, value } = await this.pieces.next();
      if (done === true) {
        this.isEnded = true;
        return;
      }
      const rest = this.bytes.subarray(this.at);
      if (rest.length === 0) this.bytes = value;
      else {
        this.bytes = new Uint8Array(rest.length + value.length);
        this.bytes.set(rest);
        this.bytes.set(value, rest.length);
      }
      this.at = 0;
    }
  }

  /** The next bits, at most 16. */
  take(bits: number): number {
    while (this.count < bits) {
      if (this.at >= this.bytes.length) throw new Error("deflate: unexpected end of data");
      this.load();
    }
    const value = this.held & ((1 << bits) - 1);
    this.held >>>= bits;
    this.count -= bits;
    return value;
  }

  decode({ table, bits }: Code): number {
    while (this.count < bits && this.at < this.bytes.length) this.load();
    const found = table[this.held & ((1 << bits) - 1)]!;
    const length = found & 15;
    if (length === 0 || length > this.count) throw new Error("deflate: bits that are no symbol");
    this.held >>>= length;
    this.count -= length;
    return found >>> 4;
  }

  align(): void {
    const beyond = this.count % 8;
    this.held >>>= beyond;
    this.count -= beyond;
  }

  /** Nothing follows but the rest of a byte. */
  async expectEnd(): Promise<void> {
    await this.fill(1);
    if (this.count >= 8 || this.at < this.bytes.length) throw new Error("deflate: the stream ends before its data");
  }

  private load(): void {
    this.held |= this.bytes[this.at++]! << this.count;
    this.count += 8;
  }
}

/** What was unpacked and not taken yet, and as much before it as matches reach. */
class Window {
  private readonly bytes: Uint8Array = new Uint8Array(WINDOW_BYTES + PIECE_BYTES + MATCH_BYTES_MAX);
  private start = 0;
  private end = 0;

  get isFull(): boolean {
    return this.end >= WINDOW_BYTES + PIECE_BYTES;
  }

  put(byte: number): void {
    this.bytes[this.end++] = byte;
  }

  repeat(distance: number, length: number): void {
    if (distance > this.end) throw new Error("deflate: a match before the beginning");
    for (let left = length; left > 0; left--) {
      this.bytes[this.end] = this.bytes[this.end - distance]!;
      this.end += 1;
    }
  }

  take(): Uint8Array {
    const piece = this.bytes.slice(this.start, this.end);
    const kept = Math.min(this.end, WINDOW_BYTES);
    this.bytes.copyWithin(0, this.end - kept, this.end);
    this.start = kept;
    this.end = kept;
    return piece;
  }
}

const TABLE: Uint32Array = new Uint32Array(256).map((_, i) => {
  let value = i;
  for (let bit = 0; bit < 8; bit++) value = (value & 1) === 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

export function crc32Next(crc: number, bytes: Uint8Array): number {
  let value = ~crc;
  for (let i = 0; i < bytes.length; i++) value = (value >>> 8) ^ TABLE[(value ^ bytes[i]!) & 0xff]!;
  return ~value >>> 0;
}
