import { MalformedError } from "./errors.ts";

/** Text and bytes at the edges: strict UTF-8, lower-case hex, canonical base64. All pure. */

const ENCODER = new TextEncoder();
const DECODER = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const HEX_PAIRS: readonly string[] = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

type EncodingCode = ConstructorParameters<typeof MalformedError>[0];

/** UTF-8 bytes of a well-formed string. */
export function encodeUtf8(text: string): Uint8Array {
  return ENCODER.encode(text);
}

/** Text of UTF-8 bytes; a byte order mark is kept, invalid bytes are refused with `code`. */
export function decodeUtf8(bytes: Uint8Array, code: EncodingCode = "malformed-json"): string {
  try {
    return DECODER.decode(bytes);
  } catch (cause) {
    throw new MalformedError(code, "expected UTF-8 text", { cause });
  }
}

export function encodeHex(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += HEX_PAIRS[byte];
  return text;
}

/** Bytes of lower-case hex, of exactly `sizeBytes` when given. */
export function decodeHex(
  text: string,
  options: { readonly sizeBytes?: number; readonly code: EncodingCode },
): Uint8Array {
  const bytes = new Uint8Array(text.length >> 1);
  // Negative as soon as one digit is none.
  let all = text.length % 2 === 0 ? 0 : -1;
  for (let i = 0; i < bytes.length; i++) {
    const value = (hexDigit(text.charCodeAt(2 * i)) << 4) | hexDigit(text.charCodeAt(2 * i + 1));
    all |= value;
    bytes[i] = value;
  }
  if (all < 0) throw new MalformedError(options.code, "expected lower-case hex");
  if (options.sizeBytes !== undefined && text.length !== options.sizeBytes * 2) {
    throw new MalformedError(options.code, `expected ${options.sizeBytes * 2} hex digits, got ${text.length}`);
  }
  return bytes;
}

/** By unit; −1 for what is none of 0-9 and a-f. */
const HEX_DIGITS: Int8Array = Int8Array.from({ length: 0x80 }, (_, unit) =>
  "0123456789abcdef".indexOf(String.fromCharCode(unit)),
);

/** Whether the text is lower-case hex digits, of any number. */
export function isHexText(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (hexDigit(text.charCodeAt(i)) < 0) return false;
  return true;
}

/** Value of a unit that is 0-9 or a-f; −1 for any other. */
export function hexDigit(unit: number): number {
  return unit < 0x80 ? HEX_DIGITS[unit]! : -1;
}

/** RFC 4648 §4 base64: standard alphabet, padded. */
export function encodeBase64(bytes: Uint8Array): string {
  let binary = "";
  for (let i = 0; i < bytes.length; i += 0x8000) binary += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
  return btoa(binary);
}

/** Bytes of canonical base64: other alphabets, missing padding, white space and spare bits are refused. */
export function decodeBase64(text: string, code: EncodingCode): Uint8Array {
  let binary: string;
  try {
    binary = atob(text);
  } catch (cause) {
    throw new MalformedError(code, "expected base64", { cause });
  }
  // atob is lax about white space, padding and spare bits: only the one canonical spelling may pass.
  if (btoa(binary) !== text) throw new MalformedError(code, "expected canonical base64");
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}

/** Equality of two public byte strings (not for secrets). */
export function bytesEqual(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

export function concatBytes(...parts: readonly Uint8Array[]): Uint8Array {
  let size = 0;
  for (const part of parts) size += part.length;
  const whole = new Uint8Array(size);
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}

/** ASCII decimal without sign or leading zeros, in 0..2^53−1; anything else is refused with `code`. */
export function parseDecimal(text: string, code: EncodingCode): number {
  if (!/^(?:0|[1-9][0-9]{0,15})$/.test(text))
    throw new MalformedError(code, `expected a decimal number, got ${JSON.stringify(text.slice(0, 32))}`);
  const value = Number(text);
  if (!Number.isSafeInteger(value)) throw new MalformedError(code, "expected a number of at most 2^53-1");
  return value;
}
