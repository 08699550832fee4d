import type { JsonValue } from "./canonical-json.ts";
import { define } from "./canonical-reader.ts";
import { isWellFormed, toPointer, where } from "./canonical-writer.ts";
import { MalformedError } from "./errors.ts";
import { JSON_DEPTH_MAX, SAFE_INTEGER_MAX } from "./limits.ts";

/**
 * RFC 8259 reader that refuses what readers disagree about. Slower than `JSON.parse`, and the one that says what is wrong
 * and where: `malformed-json` with `details.offset`; `duplicate-member`, `unsupported-value`, `too-deep` with `details.pointer`.
 */
export function readStrictJson(text: string, depthMax: number = JSON_DEPTH_MAX): JsonValue {
  const reader: Reader = { text, depthMax, offset: 0, names: [] };
  skipSpace(reader);
  const value = readValue(reader);
  skipSpace(reader);
  if (reader.offset < text.length) malformed(reader, "the end");
  return value;
}

/** The text comes from anywhere. */
interface Reader {
  readonly text: string;
  readonly depthMax: number;
  offset: number;
  /** Path of the open arrays and objects. */
  readonly names: string[];
}

const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const LITERALS: Readonly<Record<string, readonly [string, JsonValue]>> = {
  t: ["true", true],
  f: ["false", false],
  n: ["null", null],
};
/** A run of units that stand for themselves. */
const PLAIN_UNITS = /[^\x00-\x1f"\\]*/y;
const HEX_UNIT = /[0-9a-fA-F]{4}/y;
const ESCAPES: Readonly<Record<string, string>> = {
  '"': '"',
  "\\": "\\",
  "/": "/",
  b: "\b",
  f: "\f",
  n: "\n",
  r: "\r",
  t: "\t",
};

function malformed(reader: Reader, expected: string): never {
  const { text, offset } = reader;
  const got = offset < text.length ? JSON.stringify(String.fromCodePoint(text.codePointAt(offset)!)) : "the end";
  throw new MalformedError("malformed-json", `expected ${expected} at offset ${offset}, got ${got}`, {
    details: { offset },
  });
}

function refuse(reader: Reader, code: "duplicate-member" | "unsupported-value" | "too-deep", message: string): never {
  const pointer = toPointer(reader.names);
  throw new MalformedError(code, `${where(pointer)}: ${message}`, { details: { pointer, offset: reader.offset } });
}

function skipSpace(reader: Reader): void {
  for (;;) {
    const unit = reader.text.charCodeAt(reader.offset);
    if (unit !== 0x20 && unit !== 0x0a && unit !== 0x0d && unit !== 0x09) return;
    reader.offset += 1;
  }
}

function readValue(reader: Reader): JsonValue {
  const first = reader.text[reader.offset] ?? "";
  if (first === '"') return readString(reader);
  if (first === "{") return readObject(reader);
  if (first === "[") return readArray(reader);
  const literal = Object.hasOwn(LITERALS, first) ? LITERALS[first] : undefined;
  if (literal === undefined) return readNumber(reader);
  if (!reader.text.startsWith(literal[0], reader.offset)) malformed(reader, "a value");
  reader.offset += literal[0].length;
  return literal[1];
}

function readNumber(reader: Reader): number {
  NUMBER.lastIndex = reader.offset;
  const digits = NUMBER.exec(reader.text)?.[0];
  if (digits === undefined) malformed(reader, "a value");
  const value = Number(digits);
  if (!Number.isFinite(value)) refuse(reader, "unsupported-value", "expected a number that a double can hold");
  if (Math.abs(value) > SAFE_INTEGER_MAX) refuse(reader, "unsupported-value", "expected an integer within ±(2^53-1)");
  reader.offset += digits.length;
  return value;
}

function readString(reader: Reader): string {
  const start = reader.offset;
  const { text } = reader;
  let value = "";
  reader.offset += 1;
  for (;;) {
    PLAIN_UNITS.lastIndex = reader.offset;
    const run = PLAIN_UNITS.exec(text)?.[0] ?? "";
    value += run;
    reader.offset += run.length;
    const unit = text[reader.offset];
    if (unit === '"') break;
    if (unit !== "\\") malformed(reader, "a character of a string");
    value += readEscape(reader);
  }
  reader.offset += 1;
  if (!isWellFormed(value)) {
    reader.offset = start;
    refuse(reader, "unsupported-value", "expected well-formed text, got a lone surrogate");
  }
  return value;
}

function readEscape(reader: Reader): string {
  const { text, offset } = reader;
  const kind = text[offset + 1] ?? "";
  if (kind === "u") {
    HEX_UNIT.lastIndex = offset + 2;
    const digits = HEX_UNIT.exec(text)?.[0];
    if (digits === undefined) malformed(reader, "an escape");
    reader.offset += 6;
    return String.fromCharCode(Number.parseInt(digits, 16));
  }
  const unit = Object.hasOwn(ESCAPES, kind) ? ESCAPES[kind] : undefined;
  if (unit === undefined) malformed(reader, "an escape");
  reader.offset += 2;
  return unit;
}

function open(reader: Reader): void {
  // The path holds one name for each open array or object.
  if (reader.names.length >= reader.depthMax) {
    refuse(reader, "too-deep", `expected at most ${reader.depthMax} open arrays and objects`);
  }
  reader.offset += 1;
  skipSpace(reader);
}

function readArray(reader: Reader): readonly JsonValue[] {
  const values: JsonValue[] = [];
  open(reader);
  if (reader.text[reader.offset] === "]") {
    reader.offset += 1;
    return values;
  }
  for (;;) {
    reader.names.push(`${values.length}`);
    values.push(readValue(reader));
    reader.names.pop();
    skipSpace(reader);
    const unit = reader.text[reader.offset];
    if (unit !== "," && unit !== "]") malformed(reader, "a comma or a closing bracket");
    reader.offset += 1;
    if (unit === "]") return values;
    skipSpace(reader);
  }
}

function readObject(reader: Reader): { readonly [name: string]: JsonValue } {
  const members: Record<string, JsonValue> = {};
  open(reader);
  if (reader.text[reader.offset] === "}") {
    reader.offset += 1;
    return members;
  }
  for (;;) {
    if (reader.text[reader.offset] !== '"') malformed(reader, "a member name");
    const name = readString(reader);
    reader.names.push(name);
    if (name === "__proto__") refuse(reader, "unsupported-value", 'expected a member name other than "__proto__"');
    if (Object.hasOwn(members, name)) refuse(reader, "duplicate-member", "expected each member once");
    skipSpace(reader);
    if (reader.text[reader.offset] !== ":") malformed(reader, "a colon");
    reader.offset += 1;
    skipSpace(reader);
    define(members, name, readValue(reader));
    reader.names.pop();
    skipSpace(reader);
    const unit = reader.text[reader.offset];
    if (unit !== "," && unit !== "}") malformed(reader, "a comma or a closing brace");
    reader.offset += 1;
    if (unit === "}") return members;
    skipSpace(reader);
  }
}
