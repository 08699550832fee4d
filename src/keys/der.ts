import { concatBytes } from "../core/encoding.ts";
import { MalformedError } from "../core/errors.ts";

/** The little DER (X.690) that private key files need. Lengths are exact and minimal; nothing may follow. */
export interface DerElement {
  readonly tag: number;
  readonly content: Uint8Array;
}

export const DER_INTEGER = 0x02;
export const DER_OCTET_STRING = 0x04;
export const DER_NULL = 0x05;
export const DER_OID = 0x06;
export const DER_SEQUENCE = 0x30;

/** Elements that fill `bytes` exactly. `malformed-key` otherwise; the message never shows a byte. */
export function readDer(bytes: Uint8Array): readonly DerElement[] {
  const elements: DerElement[] = [];
  for (let offset = 0; offset < bytes.length; ) {
    const tag = bytes[offset]!;
    let length = bytes[offset + 1] ?? 0xff;
    offset += 2;
    if (length >= 0x80) {
      const lengthBytes = length - 0x80;
      // Key files are a few kilobytes: two length bytes are enough, and indefinite lengths are not DER.
      if (lengthBytes < 1 || lengthBytes > 2 || offset + lengthBytes > bytes.length) throw notDer();
      length = lengthBytes === 1 ? bytes[offset]! : bytes[offset]! * 256 + bytes[offset + 1]!;
      if (length < (lengthBytes === 1 ? 0x80 : 0x100)) throw notDer();
      offset += lengthBytes;
    }
    if (offset + length > bytes.length) throw notDer();
    elements.push({ tag, content: bytes.subarray(offset, offset + length) });
    offset += length;
  }
  return elements;
}

/** Content of the one element of this tag that `bytes` holds. */
export function readDerOnly(bytes: Uint8Array, tag: number): Uint8Array {
  const elements = readDer(bytes);
  const only = elements[0];
  if (elements.length !== 1 || only === undefined || only.tag !== tag) throw notDer();
  return only.content;
}

/** Content of an element that must be there and have this tag. */
export function expectDer(element: DerElement | undefined, tag: number): Uint8Array {
  if (element?.tag !== tag) throw notDer();
  return element.content;
}

/** Non-negative integer of at most six bytes. */
export function readDerNumber(element: DerElement | undefined): number {
  const content = expectDer(element, DER_INTEGER);
  if (content.length < 1 || content.length > 6 || content[0]! >= 0x80) throw notDer();
  return content.reduce((value, byte) => value * 256 + byte, 0);
}

/** One DER element of at most 65,535 content bytes. */
export function writeDer(tag: number, ...content: readonly Uint8Array[]): Uint8Array {
  const whole = concatBytes(...content);
  const n = whole.length;
  if (n > 0xffff) throw new RangeError(`writeDer: expected at most 65535 bytes, got ${n}`);
  const length = n < 0x80 ? [n] : n < 0x100 ? [0x81, n] : [0x82, n >> 8, n & 0xff];
  return concatBytes(Uint8Array.of(tag, ...length), whole);
}

/** DER integer of a number in 0..2^32−1. */
export function writeDerNumber(value: number): Uint8Array {
  const bytes: number[] = [];
  for (let rest = value; rest > 0 || bytes.length === 0; rest = Math.floor(rest / 256)) bytes.unshift(rest % 256);
  if (bytes[0]! >= 0x80) bytes.unshift(0);
  return writeDer(DER_INTEGER, Uint8Array.from(bytes));
}

function notDer(): MalformedError {
  return new MalformedError("malformed-key", "private key: expected PKCS#8 in DER");
}
