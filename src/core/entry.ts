import { allocateScratch, writeScratch } from "#hash-platform";
import { encodeHex } from "./encoding.ts";
import { MalformedError } from "./errors.ts";
import { HASH_BYTES, type HashName, isHashName, sha256Hex } from "./hash.ts";
import { SAFE_INTEGER_MAX } from "./limits.ts";
import { hashLeaf } from "./merkle.ts";
import { hasDateTimeLayout, isDigit, isRealDate, twoDigits } from "./time-layout.ts";

/** The leaf of the tree and the link of the chain. Normative: spec/entry.md. */

/** How the commitment was made: over the event, over its fields, or over a control event. */
export type Scheme = "event" | "fields" | "control";

export interface Entry {
  /** `<hash name>:<hex C>`. */
  readonly commitment: string;
  /** Leaf index. */
  readonly index: number;
  /** Hex leaf hash of entry `index - 1`; `ZERO_HASH_HEX` for entry 0. */
  readonly previous: string;
  readonly scheme: Scheme;
  /** The ledger's claim, `YYYY-MM-DDTHH:MM:SS.mmmZ`. */
  readonly time: string;
  readonly v: 1;
}

/** `previous` of entry 0. */
export const ZERO_HASH_HEX: string = "0".repeat(64);

/** Entry bytes as text: the JCS of its members. The parts must be well-formed; `parseEntry` is the check. */
export function formatEntry(entry: Omit<Entry, "v">): string {
  return `{"commitment":"${entry.commitment}","index":${entry.index},"previous":"${entry.previous}","scheme":"${entry.scheme}","time":"${entry.time}","v":1}`;
}

const ENTRY =
  /^\{"commitment":"((?:sha256|sha3-256):[0-9a-f]{64}|sha512:[0-9a-f]{128})","index":(0|[1-9][0-9]{0,15}),"previous":"([0-9a-f]{64})","scheme":"(event|fields|control)","time":"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z)","v":1\}$/;

/** Entry of its bytes as text. Anything but the one canonical layout is `malformed-entry`. */
export function parseEntry(text: string): Entry {
  const match = ENTRY.exec(text);
  if (match === null) throw new MalformedError("malformed-entry", `expected an entry of ${layoutOf(text)}`);
  const index = Number(match[2]);
  if (index > SAFE_INTEGER_MAX) throw new MalformedError("malformed-entry", "index: expected at most 2^53-1");
  const time = match[5]!;
  if (!isRealTime(time)) throw new MalformedError("malformed-entry", "time: expected a real date and time of day");
  return { commitment: match[1]!, index, previous: match[3]!, scheme: match[4]! as Scheme, time, v: 1 };
}

/** `YYYY-MM-DDTHH:MM:SS.mmmZ` */
export const TIME_UNITS = 24;

/** Whether the text is a ledger time. */
export function isTime(text: string): boolean {
  return (
    text.length === TIME_UNITS &&
    hasDateTimeLayout(text) &&
    text.charCodeAt(10) === 0x54 &&
    text.charCodeAt(19) === 0x2e &&
    twoDigits(text, 20) >= 0 &&
    isDigit(text.charCodeAt(22)) &&
    text.charCodeAt(23) === 0x5a &&
    isRealTime(text)
  );
}

/** The member that spoils the layout, for the message. */
function layoutOf(text: string): string {
  const members = ["commitment", "index", "previous", "scheme", "time", "v"];
  const missing = members.find((name) => !text.includes(`"${name}":`));
  return missing === undefined
    ? "the canonical layout"
    : `exactly the members ${members.join(", ")}; ${missing} is missing`;
}

/** Leaf hash in lower-case hex: SHA-256(0x00 ‖ entry bytes). RFC 9162 §2.1.1. */
export function leafHashHex(entryText: string): string {
  if (entryText.length * 3 > LEAF_BYTES_MAX) return sha256Hex(`\u0000${entryText}`);
  return sha256Hex(leafView(writeScratch(LEAF, entryText, 1)));
}

// Entries have some 260 bytes. They are hashed where they are written: to put a byte before a text costs a fifth of the hash.
const LEAF_BYTES_MAX = 1_023;
const LEAF: Uint8Array = allocateScratch(1 + LEAF_BYTES_MAX);
LEAF[0] = 0;
/** A view for each length, because making one costs a sixth of the hash. */
const LEAF_VIEWS: (Uint8Array | undefined)[] = [];

function leafView(size: number): Uint8Array {
  let view = LEAF_VIEWS[size];
  if (view === undefined) {
    view = LEAF.subarray(0, 1 + size);
    LEAF_VIEWS[size] = view;
  }
  return view;
}

/** `leafHashHex` of entry bytes, whatever they are. */
export function leafHashHexOfBytes(entry: Uint8Array): string {
  if (entry.length > LEAF_BYTES_MAX) return encodeHex(hashLeaf(entry));
  LEAF.set(entry, 1);
  return sha256Hex(leafView(entry.length));
}

/** Hash name and hex digest of `<hash name>:<hex>`; anything else is `malformed-entry`. */
export function parseCommitment(text: string): { readonly hash: HashName; readonly hex: string } {
  const colon = text.indexOf(":");
  const hash = text.slice(0, colon);
  const hex = text.slice(colon + 1);
  if (colon < 0 || !isHashName(hash)) {
    throw new MalformedError("malformed-entry", "commitment: expected the name of a known hash and a colon");
  }
  if (hex.length !== HASH_BYTES[hash] * 2 || !/^[0-9a-f]*$/.test(hex)) {
    throw new MalformedError("malformed-entry", `commitment: expected ${HASH_BYTES[hash] * 2} lower-case hex digits`);
  }
  return { hash, hex };
}

/** First and last millisecond that four digits of a year can name. */
const TIME_MS_MIN = -62_167_219_200_000;
const TIME_MS_MAX = 253_402_300_799_999;

/** Milliseconds since 1970 of a ledger time; anything else is `malformed-entry`. */
export function parseTime(text: string): number {
  if (!isTime(text)) {
    throw new MalformedError("malformed-entry", "time: expected YYYY-MM-DDTHH:MM:SS.mmmZ, a real date");
  }
  return Date.parse(text);
}

/** Ledger time of milliseconds since 1970, which must be whole and lie in the years 0000 to 9999. */
export function formatTime(timeMs: number): string {
  if (!Number.isInteger(timeMs) || timeMs < TIME_MS_MIN || timeMs > TIME_MS_MAX) {
    throw new RangeError(`formatTime: expected whole milliseconds in the years 0000 to 9999, got ${timeMs}`);
  }
  return new Date(timeMs).toISOString();
}

/** For text of the right layout. */
function isRealTime(text: string): boolean {
  return twoDigits(text, 11) <= 23 && twoDigits(text, 14) <= 59 && twoDigits(text, 17) <= 59 && isRealDate(text);
}
