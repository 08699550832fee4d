import { Buffer } from "node:buffer";
import { createHash, hash } from "node:crypto";
import type { HashName } from "./hash.ts";

/** What a Buffer can do with any bytes; of `write` and `toString` what they call once they have looked at their arguments, which takes longer than the work. */
interface NativeText {
  utf8Write(text: string, offset: number): number;
  hexWrite(text: string, offset: number): number;
  latin1Write(text: string, offset: number): number;
  utf8Slice(start: number, end: number): string;
  indexOf(part: Uint8Array): number;
}
const { utf8Write, hexWrite, latin1Write, utf8Slice, indexOf } = Buffer.prototype as unknown as NativeText;

// crypto.hash (one call, hex out) is twice as fast as createHash for inputs of this size; it came with Node 20.12.
export function digestHex(name: HashName, data: Uint8Array | string): string {
  return hash(name, data, "hex");
}

export function digestBytes(name: HashName, data: Uint8Array): Uint8Array {
  return createHash(name).update(data).digest();
}

/** A byte buffer that the functions below read and write; its content is undefined. */
export function allocateScratch(sizeBytes: number): Uint8Array {
  return Buffer.allocUnsafeSlow(sizeBytes);
}

/** Writes well-formed text as UTF-8 and returns the number of bytes. The room must suffice: 3 bytes for each code unit. */
export function writeScratch(scratch: Uint8Array, text: string, offset: number): number {
  return utf8Write.call(scratch as Buffer & NativeText, text, offset);
}

/** Writes the bytes of hex text. */
export function writeScratchHex(scratch: Uint8Array, hex: string, offset: number): number {
  return hexWrite.call(scratch as Buffer & NativeText, hex, offset);
}

/** Writes ASCII text, a byte for each unit. */
export function writeScratchAscii(scratch: Uint8Array, text: string, offset: number): void {
  latin1Write.call(scratch as Buffer & NativeText, text, offset);
}

/** Whether both hold the same bytes: one comparison of memory. */
export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

/** Whether `part`, which is not empty, stands anywhere in the bytes. */
export function includesBytes(bytes: Uint8Array, part: Uint8Array): boolean {
  return indexOf.call(bytes as Buffer & NativeText, part) >= 0;
}

/** Text of the bytes `start ≤ i < end`, which are UTF-8, and ASCII alone when `ascii` says so. */
export function readScratch(scratch: Uint8Array, start: number, end: number, ascii: boolean): string {
  return (scratch as Buffer).toString(ascii ? "latin1" : "utf8", start, end);
}

export function utf8Bytes(text: string): number {
  return Buffer.byteLength(text);
}

/** Writes SHA-256(data), 32 bytes, at `out[offset]`: the hash of the Merkle hot path, which allocates no array. */
export function sha256Into(data: Uint8Array, out: Uint8Array, offset: number): void {
  digestInto("sha256", data, out, offset);
}

/** Writes a digest at `out[offset]`; its size in bytes. */
export function digestInto(name: HashName, data: Uint8Array, out: Uint8Array, offset: number): number {
  // One character per byte: the cheapest form in which crypto.hash hands a digest back (half the time of a Buffer).
  const digest = hash(name, data, "binary");
  for (let i = 0; i < digest.length; i++) out[offset + i] = digest.charCodeAt(i);
  return digest.length;
}

/** Text of untrusted UTF-8 bytes, or null when they are not UTF-8: no byte may hide behind a replacement character. */
export function strictText(bytes: Uint8Array): string | null {
  const text = utf8Slice.call(bytes as Buffer & NativeText, 0, bytes.length);
  // Far faster than a fatal TextDecoder; only text that holds U+FFFD needs the second look.
  if (text.includes("\ufffd") && !Buffer.from(text, "utf8").equals(bytes)) return null;
  return text;
}

/** SHA-256 of what comes piece by piece. */
export function createSha256(): { update(bytes: Uint8Array): void; hex(): string } {
  const state = createHash("sha256");
  return { update: (bytes) => void state.update(bytes), hex: () => state.digest("hex") };
}
