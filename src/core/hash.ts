import { digestBytes, digestHex, readScratch, writeScratch, writeScratchAscii, writeScratchHex } from "#hash-platform";

/** The hashes of the formats: synchronous, on the platform's own code in Node and on noble in a browser. */
export type HashName = "sha256" | "sha512" | "sha3-256";

/** Digest size in bytes. */
export const HASH_BYTES: Readonly<Record<HashName, number>> = { sha256: 32, sha512: 64, "sha3-256": 32 };

export function isHashName(value: unknown): value is HashName {
  return typeof value === "string" && Object.hasOwn(HASH_BYTES, value);
}

/** Digest as lower-case hex; a string is hashed as its UTF-8 bytes (it must hold no lone surrogate). */
export function hashHex(name: HashName, data: Uint8Array | string): string {
  return digestHex(name, data);
}

export function hashBytes(name: HashName, data: Uint8Array): Uint8Array {
  return digestBytes(name, data);
}

/** SHA-256 as lower-case hex. FIPS 180-4. */
export function sha256Hex(data: Uint8Array | string): string {
  return digestHex("sha256", data);
}

/** SHA-256 as 32 bytes. FIPS 180-4. */
export function sha256(data: Uint8Array): Uint8Array {
  return digestBytes("sha256", data);
}

/** Writes the bytes of a hex hash at `offset` of `target`, which is a Buffer in Node. */
export function writeHex(target: Uint8Array, hex: string, offset: number): void {
  writeScratchHex(target, hex, offset);
}

/** Writes well-formed text as UTF-8 at `offset` of `target`, which is a Buffer in Node and has room for it; faster where it is known to be ASCII. */
export function writeText(target: Uint8Array, text: string, offset: number, isAscii: boolean): void {
  if (isAscii) writeScratchAscii(target, text, offset);
  else writeScratch(target, text, offset);
}

/** Text of the bytes `start ≤ i < end` of `source`, which is a Buffer in Node and holds well-formed UTF-8 there; faster where it is known to be ASCII. */
export function readText(source: Uint8Array, start: number, end: number, isAscii: boolean): string {
  return readScratch(source, start, end, isAscii);
}
