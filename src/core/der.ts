import { concatBytes, encodeHex } from "./encoding.ts";
import { MalformedError } from "./errors.ts";

/**
 * Strict DER (X.690) for certificates, time-stamp tokens and key files. Elements are read level by level: how deep a reader goes is
 * fixed by the structure that it expects, never by the input. Bytes are attacker-controlled and errors never show them.
 */
export interface DerElement {
  readonly tag: number;
  readonly content: Uint8Array;
  /** The whole element, header included, as it stands in the input: what signatures and comparisons are over. */
  readonly bytes: Uint8Array;
}

export const DER_BOOLEAN = 0x01;
export const DER_INTEGER = 0x02;
export const DER_BIT_STRING = 0x03;
export const DER_OCTET_STRING = 0x04;
export const DER_NULL = 0x05;
export const DER_OID = 0x06;
export const DER_UTC_TIME = 0x17;
export const DER_GENERALIZED_TIME = 0x18;
export const DER_SEQUENCE = 0x30;
export const DER_SET = 0x31;

/** Elements of one level: a token has at most a few dozen certificates or attributes. */
const ELEMENTS_MAX = 256;
/** Object identifiers in use have at most 20 bytes or so. */
const OID_BYTES_MAX = 64;

/** Elements that fill `bytes` exactly. `malformed-proof` for anything that is not DER: long forms, indefinite lengths, rest. */
export function readDerElements(bytes: Uint8Array, what: string): readonly DerElement[] {
  const elements: DerElement[] = [];
  for (let offset = 0; offset < bytes.length; ) {
    if (elements.length === ELEMENTS_MAX) throw notDer(what, `more than ${ELEMENTS_MAX} elements`);
    const start = offset;
    const tag = bytes[offset]!;
    if ((tag & 0x1f) === 0x1f) throw notDer(what, "a tag of more than one byte");
    let length = bytes[offset + 1];
    if (length === undefined) throw notDer(what, "a truncated header");
    offset += 2;
    if (length >= 0x80) {
      const lengthBytes = length - 0x80;
      // Everything read here is capped far below 2^24 bytes; 0 would be the indefinite form.
      if (lengthBytes < 1 || lengthBytes > 3) throw notDer(what, "a length that is indefinite or too long");
      if (offset + lengthBytes > bytes.length) throw notDer(what, "a truncated header");
      length = 0;
      for (let i = 0; i < lengthBytes; i++) length = length * 256 + bytes[offset + i]!;
      if (length < (lengthBytes === 1 ? 0x80 : 2 ** (8 * (lengthBytes - 1))))
        throw notDer(what, "a length that is not minimal");
      offset += lengthBytes;
    }
    if (offset + length > bytes.length) throw notDer(what, "an element that reaches beyond its end");
    const end = offset + length;
    elements.push({ tag, content: bytes.subarray(offset, end), bytes: bytes.subarray(start, end) });
    offset = end;
  }
  return elements;
}

/** The one element that `bytes` is; anything before or behind it is refused. */
export function readDerElement(bytes: Uint8Array, tag: number, what: string): DerElement {
  const elements = readDerElements(bytes, what);
  const [only] = elements;
  if (elements.length !== 1 || only?.tag !== tag) {
    throw notDer(what, `${elements.length} elements where one of tag ${hexByte(tag)} is expected`);
  }
  return only;
}

/** Reads the elements of one structure in their order. Every method throws `malformed-proof`. */
export interface DerFields {
  /** The next element, which must have this tag. */
  next(tag: number): DerElement;
  /** The next element where it has this tag, else undefined. */
  optional(tag: number): DerElement | undefined;
  /** Refuses what is left. */
  end(): void;
}

export function derFields(content: Uint8Array, what: string): DerFields {
  const elements = readDerElements(content, what);
  let position = 0;
  return {
    next(tag) {
      const element = elements[position++];
      if (element?.tag !== tag) {
        throw notDer(
          what,
          `${element === undefined ? "nothing" : `tag ${hexByte(element.tag)}`} where tag ${hexByte(tag)} is expected`,
        );
      }
      return element;
    },
    optional(tag) {
      const element = elements[position];
      if (element?.tag !== tag) return undefined;
      position++;
      return element;
    },
    end() {
      if (position !== elements.length) throw notDer(what, `${elements.length - position} elements too many`);
    },
  };
}

/** Object identifier in dotted decimal. */
export function readDerOid(element: DerElement, what: string): string {
  const { content } = element;
  if (element.tag !== DER_OID || content.length < 1 || content.length > OID_BYTES_MAX || content.at(-1)! >= 0x80) {
    throw notDer(what, "something else than an object identifier");
  }
  const arcs: bigint[] = [];
  let arc = 0n;
  let first = true;
  for (const byte of content) {
    if (first && byte === 0x80) throw notDer(what, "an object identifier that is not minimal");
    arc = (arc << 7n) | BigInt(byte & 0x7f);
    first = byte < 0x80;
    if (!first) continue;
    arcs.push(arc);
    arc = 0n;
  }
  const [head = 0n, ...rest] = arcs;
  const top = head < 40n ? 0n : head < 80n ? 1n : 2n;
  return [top, head - 40n * top, ...rest].join(".");
}

/** Content of an INTEGER, minimal and not negative, without the zero byte that keeps it positive; zero is one zero byte. */
export function readDerUnsigned(element: DerElement, what: string): Uint8Array {
  const content = readDerInteger(element, what);
  if (content[0]! >= 0x80) throw notDer(what, "a negative integer");
  return content[0] === 0 && content.length > 1 ? content.subarray(1) : content;
}

/** Content of an INTEGER of at most 64 bytes in minimal two's complement; equal numbers have equal bytes. */
export function readDerInteger(element: DerElement, what: string): Uint8Array {
  const { tag, content } = element;
  const [first, second = 0] = content;
  if (tag !== DER_INTEGER || first === undefined || content.length > 64)
    throw notDer(what, "something else than an integer");
  const padded = content.length > 1 && ((first === 0 && second < 0x80) || (first === 0xff && second >= 0x80));
  if (padded) throw notDer(what, "an integer that is not minimal");
  return content;
}

/** A number in 0..2^48−1. */
export function readDerNumber(element: DerElement, what: string): number {
  const content = readDerUnsigned(element, what);
  if (content.length > 6) throw notDer(what, "a number that is too large");
  return content.reduce((value, byte) => value * 256 + byte, 0);
}

/** BOOLEAN: one byte, 00 or ff. */
export function readDerBoolean(element: DerElement, what: string): boolean {
  const [value] = element.content;
  if (element.tag !== DER_BOOLEAN || element.content.length !== 1 || (value !== 0 && value !== 0xff)) {
    throw notDer(what, "something else than a boolean");
  }
  return value === 0xff;
}

/** Bytes of a BIT STRING without unused bits. */
export function readDerBitBytes(element: DerElement, what: string): Uint8Array {
  if (element.tag !== DER_BIT_STRING || element.content[0] !== 0) throw notDer(what, "something else than whole bytes");
  return element.content.subarray(1);
}

/** A moment: whole seconds since 1970, and the decimal digits of the fraction, without trailing zeros. */
export interface DerTime {
  readonly seconds: number;
  readonly fraction: string;
}

const GENERALIZED_TIME = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(?:\.(\d{0,8}[1-9]))?Z$/;
const UTC_TIME = /^(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/;

/** UTCTime (years 1950 to 2049) or GeneralizedTime, in UTC and with seconds. RFC 5280 §4.1.2.5, RFC 3161 §2.4.2. */
export function readDerTime(element: DerElement, what: string): DerTime {
  const text = String.fromCharCode(...element.content.subarray(0, 32));
  const isUtc = element.tag === DER_UTC_TIME;
  if (!isUtc && element.tag !== DER_GENERALIZED_TIME) throw notDer(what, "something else than a time");
  const match = element.content.length > 32 ? null : (isUtc ? UTC_TIME : GENERALIZED_TIME).exec(text);
  if (match === null) throw notDer(what, "a time that is not in UTC with seconds");
  const [, yearText, ...others] = match;
  const year = isUtc ? Number(yearText) + (Number(yearText) < 50 ? 2000 : 1900) : Number(yearText);
  const [month = 0, day = 0, hour = 0, minute = 0, second = 0] = others.slice(0, 5).map(Number);
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  date.setUTCHours(hour, minute, second);
  // Date rolls 31 February over: a time that comes back as another one is none.
  const parts = [
    date.getUTCFullYear(),
    date.getUTCMonth() + 1,
    date.getUTCDate(),
    date.getUTCHours(),
    date.getUTCMinutes(),
    date.getUTCSeconds(),
  ];
  if (String(parts) !== String([year, month, day, hour, minute, second]))
    throw notDer(what, "a time that does not exist");
  return { seconds: date.getTime() / 1000, fraction: match[7] ?? "" };
}

/** One DER element. */
export function writeDer(tag: number, ...content: readonly Uint8Array[]): Uint8Array {
  const whole = concatBytes(...content);
  const n = whole.length;
  const length =
    n < 0x80
      ? [n]
      : n < 0x100
        ? [0x81, n]
        : n < 0x10000
          ? [0x82, n >> 8, n & 0xff]
          : [0x83, n >> 16, (n >> 8) & 0xff, n & 0xff];
  return concatBytes(Uint8Array.of(tag, ...length), whole);
}

/** INTEGER of an unsigned big-endian number. */
export function writeDerUnsigned(bytes: Uint8Array): Uint8Array {
  let start = 0;
  while (start < bytes.length - 1 && bytes[start] === 0) start++;
  const minimal = bytes.length === 0 ? Uint8Array.of(0) : bytes.subarray(start);
  return writeDer(DER_INTEGER, ...(minimal[0]! >= 0x80 ? [Uint8Array.of(0)] : []), minimal);
}

/** OBJECT IDENTIFIER of dotted decimal with arcs below 2^31. */
export function writeDerOid(dotted: string): Uint8Array {
  const [top = 0, second = 0, ...rest] = dotted.split(".").map(Number);
  const content: number[] = [];
  for (const arc of [40 * top + second, ...rest]) {
    const digits = [arc % 128];
    for (let left = Math.floor(arc / 128); left > 0; left = Math.floor(left / 128)) digits.unshift(0x80 | (left % 128));
    content.push(...digits);
  }
  return writeDer(DER_OID, Uint8Array.from(content));
}

function hexByte(byte: number): string {
  return encodeHex(Uint8Array.of(byte));
}

function notDer(what: string, found: string): MalformedError {
  return new MalformedError("malformed-proof", `${what}: expected DER, got ${found}`);
}
