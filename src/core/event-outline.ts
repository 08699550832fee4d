import { strictText } from "#hash-platform";
import { isCanonicalNumber } from "./canonical-reader.ts";
import { isCutMember } from "./commitment.ts";
import { encodeUtf8 } from "./encoding.ts";
import {
  ACTOR_BYTES_MAX,
  ID_BYTES_MAX,
  isOccurredAt,
  OCCURRED_AT_BYTES_MAX,
  OUTCOME_BYTES_MAX,
  TARGET_BYTES_MAX,
  TARGETS_MAX,
} from "./event.ts";
import { ACTION_BYTES_MAX, EVENT_BYTES_MAX, JSON_DEPTH_MAX } from "./limits.ts";
import { daysInMonth } from "./time-layout.ts";

/**
 * Recognizes ordinary events by their canonical bytes, without making a value of any of them: verification reads each event once
 * and keeps nothing of it, and to make its values takes longer than all of its hashes. Whatever is rare is not recognized here, right
 * or wrong: `parseEvent` decides. So this function must accept nothing that `parseEvent` refuses, which its tests ask of every
 * mutation.
 */

/** What is to be known of an event that was recognized. Offsets in its bytes; valid until the next call. */
export interface EventOutline {
  readonly id: string | null;
  /** Number of terms, as `eachTerm` gives them. */
  readonly terms: number;
  /** What each term begins with, such as `actor:`. */
  readonly termKinds: readonly string[];
  /** Where the text of each term stands, which is ASCII. */
  readonly termStarts: Int32Array;
  readonly termEnds: Int32Array;
  /** Number of fields, as `cutFields` gives them; 0 unless they were asked for. */
  readonly fields: number;
  /** What stands before the name of each field: `payload.`, or nothing. */
  readonly fieldPrefixes: readonly Uint8Array[];
  /** Where the rest of the name stands, which is ASCII that needs no escape. */
  readonly nameStarts: Int32Array;
  readonly nameEnds: Int32Array;
  readonly valueStarts: Int32Array;
  readonly valueEnds: Int32Array;
}

/**
 * Outline of an event that is canonical, follows the grammar, is not signed and has an action of its own, not one that begins
 * with `ledger.`. Null says nothing about the bytes, which may come from anywhere. `fields`: where those stand is asked for.
 */
export function outlineEvent(body: Uint8Array, options: { readonly fields: boolean }): EventOutline | null {
  if (body.length > EVENT_BYTES_MAX) return null;
  bytes = body;
  isAscii = true;
  OUTLINE.id = null;
  OUTLINE.terms = 0;
  OUTLINE.fields = 0;
  isCut = options.fields;
  const end = readMembers(0, EVENT);
  const isText = isAscii || strictText(body) !== null;
  bytes = NO_BYTES;
  return end === body.length && isText ? OUTLINE : null;
}

/** More terms and fields are rare. */
const TERMS_MAX = 256;
const OUTLINE_FIELDS_MAX = 256;

const OUTLINE = {
  id: null as string | null,
  terms: 0,
  termKinds: new Array<string>(TERMS_MAX).fill(""),
  termStarts: new Int32Array(TERMS_MAX),
  termEnds: new Int32Array(TERMS_MAX),
  fields: 0,
  fieldPrefixes: new Array<Uint8Array>(OUTLINE_FIELDS_MAX),
  nameStarts: new Int32Array(OUTLINE_FIELDS_MAX),
  nameEnds: new Int32Array(OUTLINE_FIELDS_MAX),
  valueStarts: new Int32Array(OUTLINE_FIELDS_MAX),
  valueEnds: new Int32Array(OUTLINE_FIELDS_MAX),
};

const NO_BYTES: Uint8Array = new Uint8Array(0);
let bytes: Uint8Array = NO_BYTES;
let isAscii = true;
/** Fields are noted. */
let isCut = false;

/** Reads the value that begins at an offset: where it ends, or `NONE` if it is not recognized. */
type Reader = (at: number) => number;

const NONE = -1;

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const DOT = 0x2e;
const BACKSLASH = 0x5c;
const BRACE = 0x7b;
const BRACE_END = 0x7d;
const BRACKET = 0x5b;
const BRACKET_END = 0x5d;

function unitsOf(pattern: RegExp): Uint8Array {
  return Uint8Array.from({ length: 256 }, (_, unit) => (pattern.test(String.fromCharCode(unit)) ? 1 : 0));
}

/** What stands for itself in every string of the grammar. Behind the end of the bytes there is no unit of any kind. */
const PLAIN = unitsOf(/[ !#-[\]-~]/);
const SHORT_ESCAPES = unitsOf(/["\\bfnrt]/);
const ACTION_UNITS = unitsOf(/[\w:-]/);
const OUTCOME_UNITS = unitsOf(/[\w.:-]/);
const DIGITS = unitsOf(/[0-9]/);
const NUMBER_UNITS = unitsOf(/[0-9+.eE-]/);

/** A string of nothing but plain units. */
function skipPlainString(at: number): number {
  const source = bytes;
  if (source[at] !== QUOTE) return NONE;
  let i = at + 1;
  while (PLAIN[source[i]!] === 1) i += 1;
  return source[i] === QUOTE ? i + 1 : NONE;
}

/** A plain string of 1 to `max` bytes. */
function plainString(max: number): Reader {
  return (at) => {
    const end = skipPlainString(at);
    return end - at > 2 && end - at - 2 <= max ? end : NONE;
  };
}

/** Any string in canonical spelling; if it is not ASCII, the caller looks whether the whole is UTF-8. */
function skipString(at: number): number {
  const source = bytes;
  if (source[at] !== QUOTE) return NONE;
  for (let i = at + 1; ; ) {
    while (PLAIN[source[i]!] === 1) i += 1;
    const unit = source[i];
    if (unit === QUOTE) return i + 1;
    if (unit === undefined || unit < 0x20) return NONE;
    if (unit !== BACKSLASH) {
      isAscii = false;
      i += 1;
    } else if (SHORT_ESCAPES[source[i + 1]!] === 1) i += 2;
    else return NONE;
  }
}

function skipNumber(at: number): number {
  const source = bytes;
  let i = at;
  while (DIGITS[source[i]!] === 1) i += 1;
  const isShort = i > at && i - at <= 15 && (source[at] !== 0x30 || i === at + 1);
  if (isShort && NUMBER_UNITS[source[i]!] !== 1) return i;
  while (NUMBER_UNITS[source[i]!] === 1) i += 1;
  // The longest spelling of a double has 24 units or so.
  return i - at <= 32 && isCanonicalNumber(textOf(at, i)) ? i : NONE;
}

function textOf(start: number, end: number): string {
  return String.fromCharCode(...bytes.subarray(start, end));
}

const TRUE = encodeUtf8("true");
const FALSE = encodeUtf8("false");
const NULL = encodeUtf8("null");

/** Whether these bytes stand at an offset. */
function standsAt(label: Uint8Array, at: number): boolean {
  const source = bytes;
  for (let i = 0; i < label.length; i++) if (source[at + i] !== label[i]) return false;
  return true;
}

/** Any JSON; `depth` counts the arrays and objects that are open once the value is. */
function skipValue(at: number, depth: number): number {
  const unit = bytes[at];
  if (unit === QUOTE) return skipString(at);
  if (unit === BRACE) return skipObject(at, depth);
  if (unit === BRACKET) return skipArray(at, depth);
  if (unit === 0x74) return standsAt(TRUE, at) ? at + TRUE.length : NONE;
  if (unit === 0x66) return standsAt(FALSE, at) ? at + FALSE.length : NONE;
  if (unit === 0x6e) return standsAt(NULL, at) ? at + NULL.length : NONE;
  return skipNumber(at);
}

function skipArray(at: number, depth: number): number {
  if (depth > JSON_DEPTH_MAX) return NONE;
  if (bytes[at + 1] === BRACKET_END) return at + 2;
  for (let i = at + 1; ; i += 1) {
    i = skipValue(i, depth + 1);
    if (i === NONE) return NONE;
    const unit = bytes[i];
    if (unit === BRACKET_END) return i + 1;
    if (unit !== COMMA) return NONE;
  }
}

/** An object with any members; with `kind`, those that are strings become terms, and with `prefix`, all become fields. */
function skipObject(at: number, depth: number, kind?: string, prefix?: Uint8Array): number {
  if (bytes[at] !== BRACE || depth > JSON_DEPTH_MAX) return NONE;
  if (bytes[at + 1] === BRACE_END) return at + 2;
  let last = NONE;
  for (let name = at + 1; ; ) {
    const colon = skipPlainString(name);
    if (colon === NONE || bytes[colon] !== COLON || !mayFollow(last, name, colon)) return NONE;
    const value = colon + 1;
    const end = kind !== undefined && bytes[value] === QUOTE ? readTerm(kind, value) : skipValue(value, depth + 1);
    if (end === NONE) return NONE;
    if (isCut && prefix !== undefined && !addField(prefix, name, colon, end)) return NONE;
    const unit = bytes[end];
    if (unit === BRACE_END) return end + 1;
    if (unit !== COMMA) return NONE;
    last = name;
    name = end + 1;
  }
}

/** Whether the name at `name` may stand behind the one at `last`: names ascend, and none is `__proto__`. */
function mayFollow(last: number, name: number, end: number): boolean {
  const source = bytes;
  if (end - name === PROTO_UNITS && source[name + 1] === 0x5f && source[name + 2] === 0x5f) return false;
  if (last === NONE) return true;
  for (let i = 1; ; i++) {
    const before = source[last + i];
    const unit = source[name + i]!;
    if (before !== unit) return before === QUOTE || (unit !== QUOTE && before! < unit);
    if (unit === QUOTE) return false;
  }
}

/** `"__proto__"` */
const PROTO_UNITS = 11;

interface Member {
  /** `"name":` */
  readonly label: Uint8Array;
  readonly read: Reader;
  /** Of a member that is cut into fields where it is an object with members. */
  readonly isCut: boolean;
}

interface Members {
  /** Ascending. */
  readonly list: readonly Member[];
  /** How many, from the first, must be there. */
  readonly required: number;
  /** Those of an event, which are its fields. */
  readonly areFields: boolean;
}

function members(required: number, readers: Readonly<Record<string, Reader>>, areFields = false): Members {
  const list = Object.entries(readers).map(([name, read]) => ({
    label: encodeUtf8(`"${name}":`),
    read,
    isCut: isCutMember(name),
  }));
  return { list, required, areFields };
}

/** An object of these members alone. */
function readMembers(at: number, { list, required, areFields }: Members): number {
  if (bytes[at] !== BRACE) return NONE;
  let next = 0;
  for (let i = at + 1; ; i += 1) {
    let member = list[next];
    while (member !== undefined && !standsAt(member.label, i)) {
      if (next < required) return NONE;
      next += 1;
      member = list[next];
    }
    if (member === undefined) return NONE;
    next += 1;
    const name = i;
    const value = i + member.label.length;
    i = member.read(value);
    if (i === NONE || (areFields && isCut && !addMember(member, name, value, i))) return NONE;
    const unit = bytes[i];
    if (unit === BRACE_END) return next < required ? NONE : i + 1;
    if (unit !== COMMA) return NONE;
  }
}

/** Notes a member of the event as a field, unless its own members were noted. */
function addMember(member: Member, name: number, value: number, end: number): boolean {
  const isOpened = member.isCut && bytes[value] === BRACE && bytes[value + 1] !== BRACE_END;
  return isOpened || addField(NO_BYTES, name, value - 1, end);
}

/** Notes a field: its name from the opening quote to the colon, and its value behind that. */
function addField(prefix: Uint8Array, name: number, colon: number, end: number): boolean {
  const at = OUTLINE.fields;
  if (at === OUTLINE_FIELDS_MAX) return false;
  OUTLINE.fieldPrefixes[at] = prefix;
  OUTLINE.nameStarts[at] = name + 1;
  OUTLINE.nameEnds[at] = colon - 1;
  OUTLINE.valueStarts[at] = colon + 1;
  OUTLINE.valueEnds[at] = end;
  OUTLINE.fields = at + 1;
  return true;
}

function addTerm(kind: string, start: number, end: number): boolean {
  const at = OUTLINE.terms;
  if (at === TERMS_MAX) return false;
  OUTLINE.termKinds[at] = kind;
  OUTLINE.termStarts[at] = start;
  OUTLINE.termEnds[at] = end;
  OUTLINE.terms = at + 1;
  return true;
}

/** A plain string that is a term, `max` bytes at most; unless `max` is told it may be empty and of any length. */
function readTerm(kind: string, at: number, max?: number): number {
  const end = skipPlainString(at);
  if (max !== undefined && !(end - at > 2 && end - at - 2 <= max)) return NONE;
  return end !== NONE && addTerm(kind, at + 1, end - 1) ? end : NONE;
}

/** `ledger.` */
const LEDGER = encodeUtf8("ledger.");

function readAction(at: number): number {
  const source = bytes;
  const start = at + 1;
  if (source[at] !== QUOTE || standsAt(LEDGER, start)) return NONE;
  for (let i = start; ; i++) {
    const segment = i;
    while (ACTION_UNITS[source[i]!] === 1) i += 1;
    if (i === segment || i - start > ACTION_BYTES_MAX) return NONE;
    if (source[i] === QUOTE) return addTerm("action:", start, i) ? i + 1 : NONE;
    if (source[i] !== DOT || !addTerm("action^:", start, i)) return NONE;
  }
}

function readOutcome(at: number): number {
  const source = bytes;
  if (source[at] !== QUOTE) return NONE;
  let i = at + 1;
  while (OUTCOME_UNITS[source[i]!] === 1) i += 1;
  if (source[i] !== QUOTE || i === at + 1 || i - at - 1 > OUTCOME_BYTES_MAX) return NONE;
  return addTerm("outcome:", at + 1, i) ? i + 1 : NONE;
}

function readId(at: number): number {
  const end = readName(at);
  if (end !== NONE) OUTLINE.id = strictText(bytes.subarray(at + 1, end - 1));
  return end;
}

const readName: Reader = plainString(ID_BYTES_MAX);

/** Within the bound as it is spelled; what it says may be shorter. */
function readDisplayName(at: number): number {
  const end = skipString(at);
  return end - at - 2 <= TARGET_BYTES_MAX ? end : NONE;
}

const readActorId: Reader = (at) => readTerm("actor:", at, ACTOR_BYTES_MAX);
const ACTOR = members(1, { id: readActorId, name: readDisplayName, type: readName });

const TARGET = members(1, {
  id: (at) => readTerm("target:", at, TARGET_BYTES_MAX),
  name: readDisplayName,
  type: readName,
});

function readTargets(at: number): number {
  if (bytes[at] !== BRACKET) return NONE;
  if (bytes[at + 1] === BRACKET_END) return at + 2;
  let i = at + 1;
  for (let count = 0; count < TARGETS_MAX; count++, i++) {
    i = readMembers(i, TARGET);
    if (i === NONE) return NONE;
    if (bytes[i] === BRACKET_END) return i + 1;
    if (bytes[i] !== COMMA) return NONE;
  }
  return NONE;
}

function readCounter(at: number): number {
  return DIGITS[bytes[at]!] === 1 ? skipInteger(at) : NONE;
}

/** Digits alone, no more than any safe integer may have. */
function skipInteger(at: number): number {
  let i = at;
  while (DIGITS[bytes[i]!] === 1) i += 1;
  return i - at <= 15 && (bytes[at] !== 0x30 || i === at + 1) ? i : NONE;
}

const SOURCE = members(2, { counter: readCounter, id: readName });

function twoDigits(at: number): number {
  const tens = bytes[at]!;
  const ones = bytes[at + 1]!;
  return DIGITS[tens] === 1 && DIGITS[ones] === 1 ? (tens - 0x30) * 10 + ones - 0x30 : Number.NaN;
}

/** `YYYY-MM-DDTHH:MM:SS`, digits behind a dot where there are any, and `Z`. */
function isUtcTime(start: number, end: number): boolean {
  const source = bytes;
  const day = twoDigits(start + 8);
  let i = start + 19;
  if (source[i] === DOT) {
    i += 1;
    if (DIGITS[source[i]!] !== 1) return false;
    while (DIGITS[source[i]!] === 1) i += 1;
  }
  return (
    source[i] === 0x5a &&
    i + 1 === end &&
    source[start + 4] === 0x2d &&
    source[start + 7] === 0x2d &&
    source[start + 10] === 0x54 &&
    source[start + 13] === COLON &&
    source[start + 16] === COLON &&
    twoDigits(start) >= 0 &&
    twoDigits(start + 2) >= 0 &&
    twoDigits(start + 11) <= 23 &&
    twoDigits(start + 14) <= 59 &&
    twoDigits(start + 17) <= 59 &&
    day >= 1 &&
    day <= daysInMonth(twoDigits(start) * 100 + twoDigits(start + 2), twoDigits(start + 5))
  );
}

function readOccurredAt(at: number): number {
  const end = skipPlainString(at);
  if (end === NONE || end - at - 2 > OCCURRED_AT_BYTES_MAX) return NONE;
  return isUtcTime(at + 1, end - 1) || isOccurredAt(textOf(at + 1, end - 1)) ? end : NONE;
}

/** Arrays and objects that are open in a member that is one. */
const MEMBER_DEPTH = 2;

const CONTEXT = encodeUtf8("context.");
const METADATA = encodeUtf8("metadata.");
const PAYLOAD = encodeUtf8("payload.");

function readPayload(at: number): number {
  return bytes[at] === BRACE ? skipObject(at, MEMBER_DEPTH, undefined, PAYLOAD) : skipValue(at, MEMBER_DEPTH);
}

/** The members of an event but for `signatures`. */
const EVENT_READERS: Readonly<Record<string, Reader>> = {
  action: readAction,
  actor: (at) => (bytes[at] === QUOTE ? readActorId(at) : readMembers(at, ACTOR)),
  context: (at) => skipObject(at, MEMBER_DEPTH, "correlation:", CONTEXT),
  id: readId,
  metadata: (at) => skipObject(at, MEMBER_DEPTH, undefined, METADATA),
  occurredAt: readOccurredAt,
  outcome: readOutcome,
  payload: readPayload,
  source: (at) => readMembers(at, SOURCE),
  targets: readTargets,
  type: (at) => readTerm("type:", at, ID_BYTES_MAX),
};
const EVENT = members(1, EVENT_READERS, true);
