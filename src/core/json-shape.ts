import { utf8Bytes } from "#hash-platform";
import { toPointer, where } from "./canonical-writer.ts";
import { MalformedError } from "./errors.ts";
import { SAFE_INTEGER_MAX } from "./limits.ts";

/**
 * Grammars of JSON objects as tables of checks. A check that holds costs no more than looking at the value: the path to
 * an offender is put together only on the way out, by the objects and arrays around it.
 */

/** Looks at one JSON value and throws `ShapeError` if it is not what it must be. */
export type Check = (value: unknown) => void;

/** Check of each member that an object may have. */
export type Members = ReadonlyMap<string, Check>;

export class ShapeError extends Error {
  /** Path to the offender, innermost first. */
  readonly names: string[] = [];
  /** Name that was probably meant. */
  readonly hint: string | undefined;

  constructor(message: string, hint?: string) {
    super(message);
    this.hint = hint;
  }
}

/** Runs a check; what it refuses becomes an error of this code with `details.pointer` and, if there is one, `details.hint`. */
export function checkShape(
  value: unknown,
  check: Check,
  code: "malformed-event" | "malformed-control" | "malformed-config",
  name?: string,
): void {
  try {
    check(value);
  } catch (error) {
    if (!(error instanceof ShapeError)) throw error;
    if (name !== undefined) error.names.push(name);
    const pointer = toPointer(error.names.reverse());
    const details = error.hint === undefined ? { pointer } : { pointer, hint: error.hint };
    throw new MalformedError(code, `${where(pointer)}: ${error.message}`, { details });
  }
}

export function refuse(message: string, hint?: string): never {
  throw new ShapeError(message, hint);
}

/** What a wrong value is, without saying what it holds. */
function kindOf(value: unknown): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "an array";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}

function inside(name: string, value: unknown, check: Check): void {
  try {
    check(value);
  } catch (error) {
    if (error instanceof ShapeError) error.names.push(name);
    throw error;
  }
}

export function expectObject(value: unknown): asserts value is Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    refuse(`expected an object, got ${kindOf(value)}`);
}

/** The object has members of the table alone, and the required ones among them. */
export function expectMembers(value: unknown, members: Members, required: readonly string[]): void {
  expectObject(value);
  const names = Object.keys(value);
  for (const name of names) {
    const check = members.get(name);
    if (check === undefined) refuseMember(name, [...members.keys()]);
    inside(name, value[name], check);
  }
  for (const name of required) {
    if (!names.includes(name)) inside(name, undefined, () => refuse("expected it to be present"));
  }
}

/** The check of an object with these members and no others; names that end in `?` are optional. */
export function object(members: Readonly<Record<string, Check>>): Check {
  const names = Object.keys(members);
  const table: Members = new Map(names.map((name) => [name.replace(/\?$/, ""), members[name]!]));
  const required = names.filter((name) => !name.endsWith("?"));
  return (value) => expectMembers(value, table, required);
}

export function array(check: Check, options: { readonly min: number; readonly max: number }): Check {
  const { min, max } = options;
  return (value) => {
    if (!Array.isArray(value)) refuse(`expected an array, got ${kindOf(value)}`);
    if (value.length < min || value.length > max) refuse(`expected ${min} to ${max} items, got ${value.length}`);
    for (let i = 0; i < value.length; i++) inside(`${i}`, value[i], check);
  };
}

/** A loop: of texts as short as names, a regular expression takes twice as long. */
function hasControlCharacter(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit < 0x20 || (unit >= 0x7f && unit <= 0x9f)) return true;
  }
  return false;
}

/** Text of 1 (or `min`) to `max` UTF-8 bytes; with `line`, without control characters. */
export function text(options: { readonly max: number; readonly min?: number; readonly line?: boolean }): Check {
  const { max, min = 1, line = false } = options;
  return (value) => {
    if (typeof value !== "string") refuse(`expected a string, got ${kindOf(value)}`);
    if (value.length < min) refuse("expected at least one character");
    if (value.length * 3 > max && utf8Bytes(value) > max) refuse(`expected at most ${max} bytes`);
    if (line && hasControlCharacter(value)) refuse("expected no control characters");
  };
}

/** Text of at most `max` code units for which `holds` is true. */
export function word(
  holds: (text: string) => boolean,
  options: { readonly max: number; readonly expected: string },
): Check {
  const { max, expected } = options;
  return (value) => {
    if (typeof value !== "string") refuse(`expected a string, got ${kindOf(value)}`);
    if (value.length > max) refuse(`expected at most ${max} characters`);
    if (!holds(value)) refuse(`expected ${expected}`);
  };
}

/** Integer of `min` to `max`, 2^53−1 unless told. */
export function integer(options: { readonly min: number; readonly max?: number }): Check {
  const { min, max = SAFE_INTEGER_MAX } = options;
  return (value) => {
    if (typeof value !== "number" || !Number.isInteger(value) || value < min || value > max) {
      refuse(`expected an integer of ${min} to ${max}`);
    }
  };
}

export function boolean(value: unknown): void {
  if (typeof value !== "boolean") refuse(`expected true or false, got ${kindOf(value)}`);
}

/** Exactly one of these strings. */
export function oneOf(...choices: readonly string[]): Check {
  return (value) => {
    if (typeof value !== "string" || !choices.includes(value)) refuse(`expected one of ${choices.join(", ")}`);
  };
}

/** Lower-case hex of exactly this many digits. */
export function hex(digits: number): Check {
  const expected = `${digits} lower-case hex digits`;
  const expression = new RegExp(`^[0-9a-f]{${digits}}$`);
  return (value) => {
    if (typeof value !== "string" || !expression.test(value)) refuse(`expected ${expected}`);
  };
}

/** One spelling for each byte string: standard alphabet, padded, spare bits zero (RFC 4648 §3.5). */
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$/;

/** Canonical base64 of 1 to `max` characters. */
export function base64(options: { readonly max: number }): Check {
  const size = text({ max: options.max });
  return (value) => {
    size(value);
    if (!BASE64.test(value as string)) refuse("expected canonical base64");
  };
}

function refuseMember(name: string, known: readonly string[]): never {
  const hint = nearest(name, known);
  const advice = hint === undefined ? `the members are ${known.join(", ")}` : `did you mean ${JSON.stringify(hint)}?`;
  return inside(name, undefined, () => refuse(`unknown member; ${advice}`, hint)) as never;
}

/** The known name that is equal but for case, or fewer than three edits away. */
function nearest(name: string, known: readonly string[]): string | undefined {
  const lower = name.toLowerCase();
  let best: string | undefined;
  let bestDistance = 3;
  for (const candidate of known) {
    // Long names are no typing errors, and comparing them costs their product.
    const distance = lower === candidate.toLowerCase() ? 0 : name.length > 32 ? 3 : editDistance(name, candidate);
    // Of a short name two edits leave nothing.
    if (distance < bestDistance && distance < candidate.length - 1) {
      best = candidate;
      bestDistance = distance;
    }
  }
  return best;
}

/** Levenshtein distance. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(next[j - 1]! + 1, row[j]! + 1, replaced));
    }
    row = next;
  }
  return row[b.length]!;
}
