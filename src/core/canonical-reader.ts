import type { JsonValue } from "./canonical-json.ts";
import { isWellFormed } from "./canonical-writer.ts";
import { JSON_DEPTH_MAX, SAFE_INTEGER_MAX } from "./limits.ts";

/**
 * Reader of text that is expected to be canonical, in one pass: it accepts nothing else, and says nothing about what it does not
 * accept. Verification lives on this function. Objects mostly look like the ones before them, so it foretells the
 * next member name (see `Shape`) and compares instead of reading; a name that was read once need not be checked again.
 */

/** Value of canonical text nested to `depthMax`, or undefined if the text is not canonical. The text comes from anywhere. */
export function readCanonical(source: string, depthMax: number = JSON_DEPTH_MAX): JsonValue | undefined {
  if (shapesCount >= SHAPES_MAX) {
    // Names that never repeat must not fill the memory: forget all, and learn the common shapes again.
    shapesCount = 0;
    rootShape = createShape("", true);
  }
  text = source;
  offset = 0;
  depthLeft = depthMax;
  try {
    const value = readValue(rootShape);
    return offset === source.length ? value : undefined;
  } catch (error) {
    if (error !== NOT_CANONICAL) throw error;
    return undefined;
  } finally {
    text = "";
  }
}

/** Names remembered at most, and the units of one. */
const SHAPES_MAX = 8192;
const SHAPE_NAME_UNITS_MAX = 48;

/** Thrown as it is: nobody sees it, and a stack for each would cost more than the reading. */
const NOT_CANONICAL = new Error("not canonical");

/** A member name in its place: behind certain names, in an object in a certain place. */
interface Shape {
  readonly name: string;
  /** `"name":` in canonical spelling. */
  readonly label: string;
  /** The name is one that objects inherit, so that assigning could miss the object. */
  readonly isInherited: boolean;
  readonly isRemembered: boolean;
  /** Names that came next, and the one that came last. */
  next: Map<string, Shape> | null;
  lastNext: Shape | null;
  /** Where the objects begin that are its value, or items of it. */
  inner: Shape | null;
}

let shapesCount = 0;
let rootShape: Shape = createShape("", true);
let text = "";
let offset = 0;
let depthLeft = 0;

function createShape(name: string, isRemembered: boolean): Shape {
  const isInherited = name in Object.prototype;
  return {
    name,
    label: `${JSON.stringify(name)}:`,
    isInherited,
    isRemembered,
    next: null,
    lastNext: null,
    inner: null,
  };
}

function readValue(shape: Shape): JsonValue {
  const unit = text.charCodeAt(offset);
  if (unit === 0x22) return readString();
  if (unit === 0x7b) return readObject(shape);
  if (unit === 0x5b) return readArray(shape);
  if (unit === 0x74) return readLiteral("true", true);
  if (unit === 0x66) return readLiteral("false", false);
  if (unit === 0x6e) return readLiteral("null", null);
  return readNumber();
}

function readLiteral<T extends JsonValue>(literal: string, value: T): T {
  if (!text.startsWith(literal, offset)) throw NOT_CANONICAL;
  offset += literal.length;
  return value;
}

/** From the opening quote. */
function readString(): string {
  const source = text;
  const start = offset + 1;
  let at = start;
  for (;;) {
    const unit = source.charCodeAt(at);
    if (unit === 0x22) break;
    // Also NaN, behind the end.
    if (!(unit >= 0x20) || unit === 0x5c || (unit >= 0xd800 && unit <= 0xdfff)) return readSpecialString(at);
    at += 1;
  }
  offset = at + 1;
  return source.substring(start, at);
}

/** What stands behind a backslash where there is one spelling alone: `"`, `\\`, and the letters of b, f, n, r and t. */
const SHORT_ESCAPES: ReadonlySet<number> = new Set([...'"\\bfnrt'].map((letter) => letter.charCodeAt(0)));

/** A string with an escape or a surrogate at `at`. With anything but short escapes, the native writer says whether it is canonical. */
function readSpecialString(from: number): string {
  let at = from;
  let isPlain = true;
  for (;;) {
    const unit = text.charCodeAt(at);
    if (unit === 0x22) break;
    if (!(unit >= 0x20)) throw NOT_CANONICAL;
    if (unit >= 0xd800 && unit <= 0xdfff) isPlain = false;
    if (unit === 0x5c) {
      at += 1;
      if (!SHORT_ESCAPES.has(text.charCodeAt(at))) isPlain = false;
    }
    at += 1;
  }
  const quoted = text.substring(offset, at + 1);
  let value: string;
  try {
    value = JSON.parse(quoted) as string;
  } catch {
    throw NOT_CANONICAL;
  }
  if (!isPlain && (!isWellFormed(value) || JSON.stringify(value) !== quoted)) throw NOT_CANONICAL;
  offset = at + 1;
  return value;
}

function readNumber(): number {
  const source = text;
  const start = offset;
  let at = start;
  let unit = source.charCodeAt(at);
  let value = 0;
  // Most numbers are short non-negative integers.
  while (unit >= 0x30 && unit <= 0x39 && at < start + 15) {
    value = value * 10 + unit - 0x30;
    at += 1;
    unit = source.charCodeAt(at);
  }
  const isInteger = unit === 0x2c || unit === 0x7d || unit === 0x5d;
  if (isInteger && at > start && (source.charCodeAt(start) !== 0x30 || at === start + 1)) {
    offset = at;
    return value;
  }
  for (; isNumberUnit(unit); unit = source.charCodeAt(at)) at += 1;
  const spelled = source.substring(start, at);
  if (!isCanonicalNumber(spelled)) throw NOT_CANONICAL;
  offset = at;
  return Number(spelled);
}

/** Whether the text is a number as canonical JSON spells it. */
export function isCanonicalNumber(spelled: string): boolean {
  const value = Number(spelled);
  // One double has one spelling, ECMAScript's; it is never that of −0, and of the empty text neither.
  return `${value}` === spelled && value <= SAFE_INTEGER_MAX && value >= -SAFE_INTEGER_MAX;
}

/** Digits and `+ - . e`. */
function isNumberUnit(unit: number): boolean {
  return (unit >= 0x30 && unit <= 0x39) || unit === 0x2e || unit === 0x2d || unit === 0x65 || unit === 0x2b;
}

function readArray(shape: Shape): readonly JsonValue[] {
  const values: JsonValue[] = [];
  open();
  if (text.charCodeAt(offset) === 0x5d) {
    offset += 1;
    depthLeft += 1;
    return values;
  }
  for (;;) {
    values.push(readValue(shape));
    const unit = text.charCodeAt(offset);
    offset += 1;
    if (unit === 0x2c) continue;
    if (unit !== 0x5d) throw NOT_CANONICAL;
    depthLeft += 1;
    return values;
  }
}

function readObject(place: Shape): { readonly [name: string]: JsonValue } {
  const members: { [name: string]: JsonValue } = {};
  open();
  if (text.charCodeAt(offset) === 0x7d) {
    offset += 1;
    depthLeft += 1;
    return members;
  }
  place.inner ??= createShape("", place.isRemembered);
  const first = place.inner;
  let shape = first;
  for (;;) {
    let next = shape.lastNext;
    if (next !== null && text.startsWith(next.label, offset)) offset += next.label.length;
    else next = readName(shape, shape === first);
    const value = readValue(next);
    if (next.isInherited) define(members, next.name, value);
    else members[next.name] = value;
    shape = next;
    const unit = text.charCodeAt(offset);
    offset += 1;
    if (unit === 0x2c) continue;
    if (unit !== 0x7d) throw NOT_CANONICAL;
    depthLeft += 1;
    return members;
  }
}

/** Sets an own member whatever objects inherit under its name. */
export function define(members: object, name: string, value: JsonValue): void {
  Object.defineProperty(members, name, { value, writable: true, enumerable: true, configurable: true });
}

function open(): void {
  depthLeft -= 1;
  if (depthLeft < 0) throw NOT_CANONICAL;
  offset += 1;
}

/** Reads a name that was not foretold, with its colon. Names must ascend, which also means that none stands there twice. */
function readName(shape: Shape, isFirst: boolean): Shape {
  if (text.charCodeAt(offset) !== 0x22) throw NOT_CANONICAL;
  const name = readString();
  if (text.charCodeAt(offset) !== 0x3a) throw NOT_CANONICAL;
  offset += 1;
  const known = shape.next?.get(name);
  if (known !== undefined) {
    shape.lastNext = known;
    return known;
  }
  if (name === "__proto__" || !(isFirst || shape.name < name)) throw NOT_CANONICAL;
  const isRemembered = shape.isRemembered && shapesCount < SHAPES_MAX && name.length <= SHAPE_NAME_UNITS_MAX;
  const next = createShape(name, isRemembered);
  if (isRemembered) {
    shapesCount += 1;
    shape.next ??= new Map();
    shape.next.set(name, next);
    shape.lastNext = next;
  }
  return next;
}
