import { allocateScratch, readScratch, utf8Bytes, writeScratch } from "#hash-platform";
import { FatalError, MalformedError } from "./errors.ts";
import { JSON_DEPTH_MAX, SAFE_INTEGER_MAX } from "./limits.ts";

/**
 * The canonical form (RFC 8785) of JavaScript values, written in one walk straight into a reused byte buffer.
 *
 * Appending lives on this function, so it is built for speed: member names are sorted once per object *shape*, not once per
 * object (see `Shape`), and every member is read exactly once, so that what is validated is what is written.
 */

/**
 * A canonical form where it was written: `scratch[start]` to `scratch[end - 1]`, until the next one is written. Before it is room for
 * what is hashed with it, `HEAD_BYTES`.
 */
export interface WrittenBytes {
  readonly scratch: Uint8Array;
  readonly start: number;
  readonly end: number;
  readonly isAscii: boolean;
  /**
   * Whether it follows the rule that was given, if one was, and was plain JSON: no `toJSON` was called, no `undefined` member was dropped,
   * no class instance met.
   */
  readonly holds: boolean;
  /** By which it is told apart from what was written before and after. */
  readonly call: number;
}

/**
 * What a value has to be, looked at while it is written: the very value, where whoever looks before or afterwards asks the getters of the caller
 * once more, and may get another one. For quick consent alone: what does not hold here is to be judged by what was written.
 */
export interface Rule {
  /** Of an object or an array: without what is in it. */
  readonly admits: (value: unknown) => boolean;
  /** The members that an object may have, and those that it must have; null when any will do. */
  readonly members: ReadonlyMap<string, Rule> | null;
  readonly required: readonly string[];
  /** Of each item of an array; null when any will do. */
  readonly items: Rule | null;
  /** How many of it one array may have: counted while they are written, because a getter may add some. */
  readonly countMax: number;
}

interface WriteOptions {
  readonly sizeBytesMax?: number;
  readonly depthMax?: number;
  readonly rule?: Rule;
}

/** Room before what is written. */
export const HEAD_BYTES = 64;

/** Canonical bytes written before the walk gives up; the caller's own limit is checked on the exact size afterwards. */
const WRITTEN_BYTES_MAX = 256 * 1024 * 1024;
const SCRATCH_BYTES = 64 * 1024;
/** A scratch that one large value made longer than this is dropped afterwards. */
const SCRATCH_BYTES_KEPT = 1024 * 1024;
/** Strings of more code units than this go through the native writer. */
const SHORT_STRING_UNITS = 192;
/** Shapes remembered, members of one shape, and units of its names: more is rare, and sorted one by one. */
const SHAPES_MAX = 4096;
const SHAPE_MEMBERS_MAX = 48;
const SHAPE_NAME_UNITS_MAX = 48;

let scratch = allocateScratch(SCRATCH_BYTES);
/** Of the scratch. */
let words = wordsOf(scratch);
let calls = 0;
let end = 0;
let start = 0;
let bytesMax = WRITTEN_BYTES_MAX;
let depthMax = JSON_DEPTH_MAX;
let ascii = true;
let plain = true;
let holds = true;
let prototypeIsClean = true;
/** Values of the members of the objects that are open, in the order in which they were read. */
const pending: unknown[] = [];
let pendingCount = 0;

/** `writeCanonicalBytes`, as text. */
export function writeCanonical(value: unknown, options: Omit<WriteOptions, "rule"> = {}): string {
  return textOf(writeCanonicalBytes(value, options));
}

/**
 * Writes `value` in canonical form. Errors: `unsupported-value`, `too-deep` (64 open arrays and objects unless told otherwise),
 * both with `details.pointer`; `event-too-large` when more than `sizeBytesMax` bytes would be written.
 */
export function writeCanonicalBytes(value: unknown, options: WriteOptions = {}): WrittenBytes {
  // A toJSON or a getter may call back in here: like a stack, each call writes behind what is being written.
  const outerEnd = end;
  const outerStart = start;
  const outerBytesMax = bytesMax;
  const outerDepthMax = depthMax;
  const outerAscii = ascii;
  const outerPlain = plain;
  const outerHolds = holds;
  const outerPending = pendingCount;
  // Whether it succeeds or not, it writes over what was written before.
  calls += 1;
  reserve(HEAD_BYTES);
  start = end + HEAD_BYTES;
  end = start;
  bytesMax = options.sizeBytesMax ?? WRITTEN_BYTES_MAX;
  depthMax = options.depthMax ?? JSON_DEPTH_MAX;
  ascii = true;
  plain = true;
  prototypeIsClean = isClean();
  if (shapesCount >= SHAPES_MAX) forgetShapes();
  const { rule } = options;
  holds = rule === undefined || rule.admits(value);
  try {
    if (!writeValue(value, 1, "", rule === undefined ? rootShape : shapeOf(rule)))
      refuse("expected a JSON value, got undefined");
    if (end - start > bytesMax) throw tooLarge(bytesMax);
    calls += 1;
    return { scratch, start, end, isAscii: ascii, holds: plain && holds, call: calls };
  } catch (error) {
    throw error instanceof Refusal ? error.explain() : error;
  } finally {
    end = outerEnd;
    if (pendingCount > outerPending) pending.fill(undefined, outerPending, pendingCount);
    start = outerStart;
    bytesMax = outerBytesMax;
    depthMax = outerDepthMax;
    ascii = outerAscii;
    plain = outerPlain;
    holds = outerHolds;
    pendingCount = outerPending;
    if (end === 0 && scratch.length > SCRATCH_BYTES_KEPT) useScratch(allocateScratch(SCRATCH_BYTES));
  }
}

/** The text of what was just written. */
export function textOf(written: WrittenBytes): string {
  assertLast(written);
  return readScratch(written.scratch, written.start, written.end, written.isAscii);
}

function assertLast({ call }: WrittenBytes): void {
  if (call === calls) return;
  throw new FatalError("invariant-broken", "a canonical form was written over before it was read");
}

/** Views of the scratch by the bytes before the form and by its size: making one costs a sixth of a hash. */
let views: (Uint8Array | undefined)[][] = [];
let viewedScratch = scratch;
const VIEWS_BYTES_MAX = 2048;

/** The bytes of what was just written, and `headBytes` of the room before them. */
export function bytesOf(written: WrittenBytes, headBytes = 0): Uint8Array {
  assertLast(written);
  const { start, end } = written;
  const size = end - start;
  if (start !== HEAD_BYTES || size > VIEWS_BYTES_MAX) return written.scratch.subarray(start - headBytes, end);
  if (viewedScratch !== written.scratch) {
    viewedScratch = written.scratch;
    views = [];
  }
  let sized = views[headBytes];
  if (sized === undefined) {
    sized = [];
    views[headBytes] = sized;
  }
  let view = sized[size];
  if (view === undefined) {
    view = written.scratch.subarray(start - headBytes, end);
    sized[size] = view;
  }
  return view;
}

/** What a walk found wrong; the open containers add their names to the path on the way out. */
class Refusal extends Error {
  readonly code: "unsupported-value" | "too-deep";
  readonly names: string[] = [];
  readonly holders: object[] = [];

  constructor(code: "unsupported-value" | "too-deep", message: string) {
    super(message);
    this.code = code;
  }

  leave(holder: object, name: string): void {
    this.names.push(name);
    this.holders.push(holder);
  }

  explain(): MalformedError {
    const holders = this.holders.reverse();
    const names = this.names.reverse();
    if (this.code === "too-deep") {
      const again = holders.findIndex((holder, i) => holders.indexOf(holder) < i);
      if (again > 0) {
        const pointer = toPointer(names.slice(0, again));
        return new MalformedError("unsupported-value", `${where(pointer)}: expected a JSON value, got a cycle`, {
          details: { pointer },
        });
      }
    }
    const pointer = toPointer(names);
    return new MalformedError(this.code, `${where(pointer)}: ${this.message}`, { details: { pointer } });
  }
}

function refuse(message: string, code: "unsupported-value" | "too-deep" = "unsupported-value"): never {
  throw new Refusal(code, message);
}

function tooLarge(sizeBytesMax: number): MalformedError {
  return new MalformedError("event-too-large", `expected at most ${sizeBytesMax} bytes in canonical form`, {
    details: { sizeBytesMax },
  });
}

/** RFC 6901 pointer of a path of member names and array indexes; the empty path is the whole document. */
export function toPointer(names: readonly string[]): string {
  return names.map((name) => `/${name.replaceAll("~", "~0").replaceAll("/", "~1")}`).join("");
}

/** A pointer as messages show it; names may come from anywhere, so all but the simplest are quoted. */
export function where(pointer: string): string {
  if (pointer === "") return "the whole value";
  return /^[\w./-]{1,200}$/.test(pointer) ? pointer : JSON.stringify(pointer.slice(0, 200));
}

/** False when something put enumerable members on `Object.prototype`: then `for in` would list them in every object. */
function isClean(): boolean {
  for (const _name in {}) return false;
  return true;
}

/** Writes a value; false, and nothing, for `undefined`, which its holder drops or refuses. */
function writeValue(value: unknown, depth: number, name: string | number, shape: Shape): boolean {
  if (typeof value === "string") writeString(value);
  else if (typeof value === "object" && value !== null) return writeHeld(value, depth, name, shape);
  else if (value === undefined) return false;
  else writeAtom(value);
  return true;
}

/** Writes an object or an array, or what its `toJSON` gives: as it is, for JSON does not ask that for a `toJSON` again. */
function writeHeld(value: object, depth: number, name: string | number, shape: Shape): boolean {
  const toJson: unknown = (value as { toJSON?: unknown }).toJSON;
  if (typeof toJson !== "function") {
    writeObject(value, depth, shape);
    return true;
  }
  plain = false;
  // The toJSON of an invalid date gives null, and a time that nobody meant would be committed as "no time".
  if (tagOf(value) === "[object Date]" && Number.isNaN(Date.prototype.getTime.call(value)))
    refuse("expected a valid date");
  const resolved: unknown = toJson.call(value, `${name}`);
  if (resolved === undefined) return false;
  if (typeof resolved === "string") writeString(resolved);
  else if (typeof resolved === "object" && resolved !== null) writeObject(resolved, depth, shape);
  else writeAtom(resolved);
  return true;
}

function writeAtom(value: unknown): void {
  if (typeof value === "number") writeNumber(value);
  else if (typeof value === "boolean") writeBytes(value ? TRUE : FALSE);
  else if (value === null) writeBytes(NULL);
  else refuse(`expected a JSON value, got a ${typeof value}`);
}

function writeNumber(value: number): void {
  // Beyond 2^53 every double is an integer that two readers may hold differently; NaN fails both comparisons.
  if (!(value <= SAFE_INTEGER_MAX && value >= -SAFE_INTEGER_MAX)) {
    refuse(Number.isFinite(value) ? "expected an integer within ±(2^53-1)" : "expected a finite number");
  }
  if ((value | 0) === value && value >= 0) writeDigits(value);
  // ECMAScript's shortest form is RFC 8785's, and it writes −0 as 0.
  else writeAscii(`${value}`);
}

function writeObject(value: object, depth: number, shape: Shape): void {
  if (depth > depthMax) refuse(`expected at most ${depthMax} open arrays and objects`, "too-deep");
  if (Array.isArray(value)) {
    writeArray(value, depth, shape);
    return;
  }
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype === Object.prototype || prototype === null) {
    if (prototypeIsClean) writeShaped(value as Members, depth, shape);
    else writeOwn(value as Members, depth, shape);
    return;
  }
  // Members of a class instance are its data, as in JSON; but a Map, a typed array or a Promise would come out empty or wrong.
  const tag = tagOf(value);
  if (tag !== "[object Object]") refuse(`expected a JSON value, got ${tag}`);
  plain = false;
  writeOwn(value as Members, depth, shape);
}

type Members = { readonly [name: string]: unknown };

function tagOf(value: object): string {
  return Object.prototype.toString.call(value);
}

function writeArray(values: readonly unknown[], depth: number, shape: Shape): void {
  const { rule } = shape;
  let i = 0;
  try {
    writeByte(0x5b);
    for (; i < values.length; i++) {
      if (i > 0) writeByte(0x2c);
      const item = values[i];
      if (rule !== null && (i >= rule.countMax || !rule.admits(item))) holds = false;
      if (!writeValue(item, depth + 1, i, shape)) refuse("expected a JSON value, got undefined");
    }
    writeByte(0x5d);
  } catch (error) {
    if (error instanceof Refusal) error.leave(values, `${i}`);
    throw error;
  }
}

/**
 * What is known about objects whose members come in one certain order. Shapes form a tree: each is its parent's with one
 * more member, so that walking an object's members walks the tree, mostly over `lastName` without any look-up. Objects of
 * one place in their holder have a tree of their own, because there they mostly look alike.
 */
interface Shape {
  readonly parent: Shape | null;
  readonly name: string;
  readonly size: number;
  /** Of the objects and items that stand there. */
  readonly rule: Rule | null;
  next: Map<string, Shape> | null;
  lastName: string;
  lastNext: Shape | null;
  plan: Plan | null;
}

/** How to write an object of one shape: rows ascending by name. */
interface Plan {
  readonly names: readonly string[];
  /** Where each of them comes in the order of the object's own members. */
  readonly order: readonly number[];
  readonly labels: readonly Label[];
  /** The tree of the objects that stand there. */
  readonly shapes: readonly Shape[];
  readonly ascii: boolean;
  /** Of each member; null when any will do, or one of them is not known. */
  readonly rules: readonly Rule[] | null;
  /** Whether the members are those that the rule of the shape wants. */
  readonly holds: boolean;
}

/**
 * What a member begins with, if it is text: `,"name":"`. As words of 8 bytes, because a loop over the bytes takes half as long again,
 * and as doubles, because those are no objects: none is "not a number", whose bits might change on the way, because that begins with bytes
 * that never follow one another in UTF-8 (7F or FF behind F0 to FF).
 */
interface Label {
  /** Bytes of it; the last word is filled up with zeros. */
  readonly size: number;
  readonly first: number;
  readonly second: number;
  /** Most have two words. */
  readonly rest: readonly number[];
}

/** Room for a label, and for what its last words overshoot it by. */
const LABEL_WORDS_BYTES = 16;

let shapesCount = 0;
let rootShape: Shape = createShape(null, "", null);
let ruledShapes = new Map<Rule, Shape>();

/** Names that never repeat must not fill the memory: forgets all, so that the common shapes are learned again. */
function forgetShapes(): void {
  shapesCount = 0;
  rootShape = createShape(null, "", null);
  ruledShapes = new Map();
}

/** Shapes of the values that are written under a rule. */
function shapeOf(rule: Rule): Shape {
  let shape = ruledShapes.get(rule);
  if (shape === undefined) {
    shape = createShape(null, "", rule);
    ruledShapes.set(rule, shape);
  }
  return shape;
}

function createShape(parent: Shape | null, name: string, rule: Rule | null): Shape {
  shapesCount += 1;
  return {
    parent,
    name,
    size: parent === null ? 0 : parent.size + 1,
    rule,
    next: null,
    lastName: "",
    lastNext: null,
    plan: null,
  };
}

function nextShape(shape: Shape, name: string): Shape | null {
  shape.next ??= new Map();
  let next = shape.next.get(name);
  if (next === undefined) {
    if (shape.size >= SHAPE_MEMBERS_MAX || name.length > SHAPE_NAME_UNITS_MAX || shapesCount >= SHAPES_MAX) return null;
    next = createShape(shape, name, shape.rule);
    shape.next.set(name, next);
  }
  shape.lastName = name;
  shape.lastNext = next;
  return next;
}

/** Names of the members of a shape, in the order of the object. */
function namesOf(shape: Shape): string[] {
  const names: string[] = [];
  for (let at: Shape = shape; at.parent !== null; at = at.parent) names.push(at.name);
  return names.reverse();
}

function createPlan(shape: Shape): Plan {
  const own = namesOf(shape);
  const order = own.map((_name, i) => i).sort((a, b) => (own[a]! < own[b]! ? -1 : 1));
  const names = order.map((i) => own[i]!);
  const asciiBefore = ascii;
  const first = end;
  ascii = true;
  try {
    const labels = names.map((name) => {
      end = first;
      writeLabel(name);
      return createLabel(scratch.subarray(first, end));
    });
    const rules = rulesOf(shape.rule, names);
    const shapes = names.map((_name, i) => createShape(null, "", insideOf(rules?.[i])));
    return { names, order, labels, shapes, ascii, rules, holds: rules !== null || shape.rule?.members == null };
  } finally {
    end = first;
    ascii = asciiBefore;
  }
}

/** Of each member; null unless they are those that the rule wants. */
function rulesOf(rule: Rule | null, names: readonly string[]): Rule[] | null {
  if (rule?.members == null || !rule.required.every((name) => names.includes(name))) return null;
  const rules: Rule[] = [];
  for (const name of names) {
    const member = rule.members.get(name);
    if (member === undefined) return null;
    rules.push(member);
  }
  return rules;
}

/** The rule of what is in an object or an array of this rule. */
function insideOf(rule: Rule | undefined): Rule | null {
  if (rule === undefined) return null;
  return rule.items ?? (rule.members === null ? null : rule);
}

/** Of a name with its quotes and colon. */
function createLabel(name: Uint8Array): Label {
  const size = name.length + 2;
  const bytes = new Uint8Array(Math.max(LABEL_WORDS_BYTES, 8 * Math.ceil(size / 8)));
  bytes[0] = 0x2c;
  bytes.set(name, 1);
  bytes[size - 1] = 0x22;
  const words = wordsOf(bytes);
  const [first, second, ...rest] = Array.from({ length: bytes.length / 8 }, (_, i) => words.getFloat64(8 * i, true));
  return { size, first: first!, second: second!, rest };
}

/** Writes a plain object by its shape, if it has not too many or too long names for one. */
function writeShaped(value: Members, depth: number, root: Shape): void {
  const base = pendingCount;
  let shape = root;
  let unshaped: string[] | null = null;
  for (const name in value) {
    const member = value[name];
    if (member === undefined) {
      plain = false;
      continue;
    }
    pending[pendingCount++] = member;
    if (unshaped !== null) {
      unshaped.push(name);
      continue;
    }
    const next = shape.lastName === name && shape.lastNext !== null ? shape.lastNext : nextShape(shape, name);
    if (next === null) unshaped = [...namesOf(shape), name];
    else shape = next;
  }
  if (unshaped !== null) {
    const members = pending.slice(base, pendingCount);
    pending.fill(undefined, base, pendingCount);
    pendingCount = base;
    if (root.rule !== null) holds = false;
    writeSorted(value, unshaped, members, depth);
    return;
  }
  let i = 0;
  let plan = shape.plan;
  try {
    if (plan === null) {
      plan = createPlan(shape);
      shape.plan = plan;
    }
    if (!plan.ascii) ascii = false;
    if (!plan.holds) holds = false;
    const { order, labels, names, shapes, rules } = plan;
    let separator = 0x7b;
    for (; i < order.length; i++) {
      const at = base + order[i]!;
      const member = pending[at];
      pending[at] = undefined;
      if (rules !== null && !rules[i]!.admits(member)) holds = false;
      if (typeof member === "string") writeTextMember(separator, labels[i]!, member);
      else {
        const before = end;
        writeLabelOf(labels[i]!, separator);
        // The value brings its own quote, if it has one.
        end -= 1;
        if (!writeValue(member, depth + 1, names[i]!, shapes[i]!)) {
          end = before;
          continue;
        }
      }
      separator = 0x2c;
    }
    closeObject(separator);
  } catch (error) {
    // Without a plan it was a name that was refused, and the refusal names it already.
    if (error instanceof Refusal && plan !== null) error.leave(value, plan.names[i]!);
    throw error;
  }
  pendingCount = base;
}

/** Writes a label up to the quote of its value. */
function writeLabelOf({ size, first, second, rest }: Label, separator: number): void {
  reserve(size + LABEL_WORDS_BYTES);
  const at = end;
  words.setFloat64(at, first, true);
  words.setFloat64(at + 8, second, true);
  for (let i = 0; i < rest.length; i++) words.setFloat64(at + 16 + 8 * i, rest[i]!, true);
  scratch[at] = separator;
  end = at + size;
}

/** Writes a member that is text: what is short and plain, as most are, unit by unit. */
function writeTextMember(separator: number, label: Label, text: string): void {
  writeLabelOf(label, separator);
  const size = text.length;
  if (size <= SHORT_STRING_UNITS) {
    reserve(size + 1);
    const target = scratch;
    let at = end;
    let i = 0;
    for (; i < size; i++) {
      const unit = text.charCodeAt(i);
      if (unit > 0x7f || UNESCAPED[unit] === 0) break;
      target[at++] = unit;
    }
    if (i === size) {
      target[at++] = 0x22;
      end = at;
      return;
    }
  }
  end -= 1;
  writeString(text);
}

/** Writes an object of which nothing is known but its own enumerable members. */
function writeOwn(value: Members, depth: number, { rule }: Shape): void {
  if (rule !== null) holds = false;
  const names = Object.keys(value);
  const members = names.map((name) => value[name]);
  writeSorted(value, names, members, depth);
}

/** Writes an object by sorting its members. */
function writeSorted(value: object, names: readonly string[], members: readonly unknown[], depth: number): void {
  const order = names.map((_name, i) => i).sort((a, b) => (names[a]! < names[b]! ? -1 : 1));
  let separator = 0x7b;
  for (const i of order) {
    const name = names[i]!;
    const member = members[i];
    const before = end;
    if (member === undefined) {
      plain = false;
      continue;
    }
    writeByte(separator);
    writeLabel(name);
    try {
      if (writeValue(member, depth + 1, name, rootShape)) separator = 0x2c;
      else end = before;
    } catch (error) {
      if (error instanceof Refusal) error.leave(value, name);
      throw error;
    }
  }
  closeObject(separator);
}

function closeObject(separator: number): void {
  if (separator === 0x7b) writeByte(separator);
  writeByte(0x7d);
}

function writeLabel(name: string): void {
  try {
    // Assigning it sets the prototype in careless readers, so two readers would see two objects.
    if (name === "__proto__") refuse('expected a member name other than "__proto__"');
    writeString(name);
    writeByte(0x3a);
  } catch (error) {
    if (error instanceof Refusal) error.names.push(name);
    throw error;
  }
}

const TRUE: Uint8Array = Uint8Array.of(0x74, 0x72, 0x75, 0x65);
const FALSE: Uint8Array = Uint8Array.of(0x66, 0x61, 0x6c, 0x73, 0x65);
const NULL: Uint8Array = Uint8Array.of(0x6e, 0x75, 0x6c, 0x6c);

/** 1 for the ASCII units that stand for themselves inside a JSON string. */
const UNESCAPED: Uint8Array = Uint8Array.from({ length: 128 }, (_, unit) =>
  unit >= 0x20 && unit !== 0x22 && unit !== 0x5c ? 1 : 0,
);

/** With the `u` flag a pair is one character, so only halves without their other half match. */
const LONE_SURROGATE = /\p{Surrogate}/u;

/** Whether text has a UTF-8 form: no lone surrogates. */
export function isWellFormed(text: string): boolean {
  return !LONE_SURROGATE.test(text);
}

function reserve(sizeBytes: number): void {
  if (end + sizeBytes > scratch.length) grow(sizeBytes);
}

function grow(sizeBytes: number): void {
  if (end - start > bytesMax) throw tooLarge(bytesMax);
  const longer = allocateScratch(Math.max(scratch.length * 2, end + sizeBytes));
  longer.set(scratch.subarray(0, end));
  useScratch(longer);
}

function useScratch(next: Uint8Array): void {
  scratch = next;
  words = wordsOf(next);
}

function wordsOf({ buffer, byteOffset, length }: Uint8Array): DataView {
  return new DataView(buffer, byteOffset, length);
}

function writeByte(byte: number): void {
  reserve(1);
  scratch[end++] = byte;
}

function writeBytes(bytes: Uint8Array): void {
  const size = bytes.length;
  reserve(size);
  const target = scratch;
  let at = end;
  for (let i = 0; i < size; i++) target[at++] = bytes[i]!;
  end = at;
}

/** A non-negative integer below 2^31, from its last digit. */
function writeDigits(value: number): void {
  reserve(10);
  let size = 1;
  for (let bound = 10; value >= bound; bound *= 10) size += 1;
  let rest = value;
  for (let at = end + size - 1; at >= end; at--) {
    const tens = (rest / 10) | 0;
    scratch[at] = 0x30 + rest - tens * 10;
    rest = tens;
  }
  end += size;
}

function writeAscii(text: string): void {
  const size = text.length;
  reserve(size);
  const target = scratch;
  let at = end;
  for (let i = 0; i < size; i++) target[at++] = text.charCodeAt(i);
  end = at;
}

/** RFC 8785 §3.2.2.2, which is ECMAScript's own quoting for text without lone surrogates. */
function writeString(text: string): void {
  const size = text.length;
  if (size > SHORT_STRING_UNITS) {
    writeQuoted(text);
    return;
  }
  reserve(size + 2);
  const target = scratch;
  let at = end;
  target[at++] = 0x22;
  for (let i = 0; i < size; i++) {
    const unit = text.charCodeAt(i);
    if (unit > 0x7f || UNESCAPED[unit] === 0) {
      writeQuoted(text);
      return;
    }
    target[at++] = unit;
  }
  target[at++] = 0x22;
  end = at;
}

/** Long strings, and those with anything but plain ASCII, are rarer: the native writer quotes them. */
function writeQuoted(text: string): void {
  if (!isWellFormed(text)) refuse("expected well-formed text, got a lone surrogate");
  const quoted = JSON.stringify(text);
  const sizeBytes = utf8Bytes(quoted);
  reserve(sizeBytes);
  end += writeScratch(scratch, quoted, end);
  if (sizeBytes !== quoted.length) ascii = false;
}
