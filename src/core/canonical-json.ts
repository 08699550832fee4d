import { readCanonical } from "./canonical-reader.ts";
import { writeCanonical } from "./canonical-writer.ts";
import { MalformedError } from "./errors.ts";
import { JSON_DEPTH_MAX, SAFE_INTEGER_MAX } from "./limits.ts";
import { readStrictJson } from "./strict-json.ts";

/** Canonical JSON: RFC 8785, narrowed so that no two readers can see different values. Normative: spec/entry.md. */

export type JsonValue =
  | null
  | boolean
  | number
  | string
  | readonly JsonValue[]
  | { readonly [name: string]: JsonValue };

export type JsonObject = { readonly [name: string]: JsonValue };

/** Whether a value of parsed JSON is an object, which is neither null nor an array. */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Nesting of JSON that contains an event (receipts, lines of an export): at most four levels stand around it. */
export const CONTAINER_DEPTH_MAX: number = JSON_DEPTH_MAX + 4;

/**
 * Canonical form of a JavaScript value: RFC 8785 over what `JSON.stringify` would write, but nothing is coerced.
 *
 * `undefined` members are dropped and `toJSON` is honoured, as JSON does. Refused, with `details.pointer` (RFC 6901):
 * `unsupported-value` for `undefined` in arrays or alone, functions, symbols, BigInt, NaN, infinities, integers beyond
 * ±(2^53−1), invalid dates, lone surrogates, the member name `__proto__`, cycles, and objects without `toJSON` whose data JSON
 * would lose (Map, Set, RegExp, Error, Promise, typed arrays, boxed values); `too-deep` beyond 64 (or `depthMax`) open arrays
 * and objects.
 */
export function canonicalize(value: unknown, options: { readonly depthMax?: number } = {}): string {
  return writeCanonical(value, options);
}

/** Order of member names: by UTF-16 code units (RFC 8785 §3.2.3), not by code points and not by locale. */
export function compareNames(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/**
 * Value of a JSON text that every reader reads alike. Spelling is free (white space, escapes, member order); refused are
 * `malformed-json` with `details.offset` in UTF-16 units, and with `details.pointer` `duplicate-member`, `too-deep`, and
 * `unsupported-value` for lone surrogates, `__proto__`, and numbers that are no double or an integer beyond ±(2^53−1).
 */
export function parseJson(text: string): JsonValue {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return readStrictJson(text);
  }
  // Written back alike, so nothing stood there twice or was dropped; most producers write this way.
  if (isPlain(value, 1) && !text.includes("\\ud") && JSON.stringify(value) === text) return value;
  return readStrictJson(text);
}

/** True for parsed JSON without deep nesting, unsafe integers and `__proto__`. */
function isPlain(value: unknown, depth: number): value is JsonValue {
  if (typeof value === "number") return value <= SAFE_INTEGER_MAX && value >= -SAFE_INTEGER_MAX;
  if (typeof value !== "object" || value === null) return true;
  if (depth > JSON_DEPTH_MAX) return false;
  if (Array.isArray(value)) return value.every((item) => isPlain(item, depth + 1));
  for (const name of Object.keys(value)) {
    if (name === "__proto__" || !isPlain((value as Record<string, unknown>)[name], depth + 1)) return false;
  }
  return true;
}

/**
 * `parseJson`, and the text must be the canonical form of its value: else `not-canonical` with `details.offset`. `depthMax` is
 * for JSON that contains an event, which may itself be nested to 64.
 */
export function parseCanonical(text: string, options: { readonly depthMax?: number } = {}): JsonValue {
  const depthMax = options.depthMax ?? JSON_DEPTH_MAX;
  const fast = readCanonical(text, depthMax);
  if (fast !== undefined) return fast;
  // What is wrong says the reader that knows where.
  const value = readStrictJson(text, depthMax);
  const canonical = writeCanonical(value, { depthMax });
  if (canonical === text) return value;
  let offset = 0;
  while (offset < text.length && text[offset] === canonical[offset]) offset += 1;
  throw new MalformedError("not-canonical", `expected canonical JSON (RFC 8785), differs at offset ${offset}`, {
    details: { offset },
  });
}

/** Whether the text is the canonical form of a JSON value. */
export function isCanonical(text: string): boolean {
  try {
    parseCanonical(text);
    return true;
  } catch {
    return false;
  }
}
