import { sha256, sha512 } from "@noble/hashes/sha2.js";
import { sha3_256 } from "@noble/hashes/sha3.js";
import { bytesToHex } from "@noble/hashes/utils.js";
import { bytesEqual, encodeUtf8 } from "./encoding.ts";
import type { HashName } from "./hash.ts";

const FUNCTIONS: Readonly<Record<HashName, (data: Uint8Array) => Uint8Array>> = {
  sha256,
  sha512,
  "sha3-256": sha3_256,
};
const ENCODER = new TextEncoder();
// The scratch holds only what this package wrote, so decoding cannot fail; a byte order mark must survive.
const DECODER = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export function digestHex(name: HashName, data: Uint8Array | string): string {
  return bytesToHex(digestBytes(name, typeof data === "string" ? encodeUtf8(data) : data));
}

export function digestBytes(name: HashName, data: Uint8Array): Uint8Array {
  return FUNCTIONS[name](data);
}

/** A byte buffer that the functions below read and write; its content is undefined. */
export function allocateScratch(sizeBytes: number): Uint8Array {
  return new Uint8Array(sizeBytes);
}

/** Writes well-formed text as UTF-8 and returns the number of bytes. The room must suffice: 3 bytes for each code unit. */
export function writeScratch(scratch: Uint8Array, text: string, offset: number): number {
  return ENCODER.encodeInto(text, scratch.subarray(offset)).written;
}

/** Writes the bytes of hex text. */
export function writeScratchHex(scratch: Uint8Array, hex: string, offset: number): number {
  const sizeBytes = hex.length / 2;
  for (let i = 0; i < sizeBytes; i++) scratch[offset + i] = Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16);
  return sizeBytes;
}

/** Writes ASCII text, a byte for each unit. */
export function writeScratchAscii(scratch: Uint8Array, text: string, offset: number): void {
  for (let i = 0; i < text.length; i++) scratch[offset + i] = text.charCodeAt(i);
}

/** Whether both hold the same bytes. */
export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return bytesEqual(a, b);
}

/** Whether `part`, which is not empty, stands anywhere in the bytes. */
export function includesBytes(bytes: Uint8Array, part: Uint8Array): boolean {
  const first = part[0]!;
  for (let at = bytes.indexOf(first); at >= 0; at = bytes.indexOf(first, at + 1)) {
    let i = 1;
    while (i < part.length && bytes[at + i] === part[i]) i += 1;
    if (i === part.length) return true;
  }
  return false;
}

/** Text of the bytes `start ≤ i < end`, which are UTF-8, and ASCII alone when `ascii` says so. */
export function readScratch(scratch: Uint8Array, start: number, end: number, _ascii: boolean): string {
  return DECODER.decode(scratch.subarray(start, end));
}

export function utf8Bytes(text: string): number {
  let size = text.length;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    // Each unit beyond ASCII costs a byte more, beyond two-byte characters two more; a surrogate pair has four bytes.
    if (unit > 0x7f) size += unit > 0x7ff && (unit < 0xd800 || unit > 0xdfff) ? 2 : 1;
  }
  return size;
}

export function sha256Into(data: Uint8Array, out: Uint8Array, offset: number): void {
  digestInto("sha256", data, out, offset);
}

/** Writes a digest at `out[offset]`; its size in bytes. */
export function digestInto(name: HashName, data: Uint8Array, out: Uint8Array, offset: number): number {
  const digest = FUNCTIONS[name](data);
  out.set(digest, offset);
  return digest.length;
}

export function strictText(bytes: Uint8Array): string | null {
  try {
    return DECODER.decode(bytes);
  } catch {
    // The caller reports it: "not UTF-8" is a finding, not an exception.
    return null;
  }
}

export function createSha256(): { update(bytes: Uint8Array): void; hex(): string } {
  const state = sha256.create();
  return { update: (bytes) => void state.update(bytes), hex: () => bytesToHex(state.digest()) };
}
