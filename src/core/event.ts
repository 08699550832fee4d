import { utf8Bytes } from "#hash-platform";
import { type JsonValue, parseCanonical } from "./canonical-json.ts";
import { toPointer, where, writeCanonical } from "./canonical-writer.ts";
import { isControlAction } from "./control-event.ts";
import { daysInMonth } from "./entry.ts";
import { MalformedError } from "./errors.ts";
import { ACTION_BYTES_MAX, EVENT_BYTES_DEFAULT, EVENT_BYTES_MAX, SAFE_INTEGER_MAX } from "./limits.ts";

/** What a caller appends: its grammar and its canonical form. Normative: spec/entry.md. */

export interface Actor {
  readonly id: string;
  readonly type?: string;
  readonly name?: string;
  readonly onBehalfOf?: string | Actor | readonly (string | Actor)[];
}

export interface Target {
  readonly id: string;
  readonly type?: string;
  readonly name?: string;
}

export interface EventSignature {
  /** 64 hex digits: SHA-256 of the key's SPKI. */
  readonly keyId: string;
  /** Base64. */
  readonly signature: string;
}

export interface EventSource {
  readonly id: string;
  /** Gap-free per source, so that an omission shows. */
  readonly counter: number;
}

export type JsonObject = { readonly [name: string]: JsonValue };

export interface Event {
  /** What happened: dotted segments, at most 128 bytes, such as `user.login`. */
  readonly action: string;
  /** Unique in a ledger: the idempotency key. */
  readonly id?: string;
  /** Schema name, which may end in `@<version>`. */
  readonly type?: string;
  readonly actor?: string | Actor;
  readonly targets?: readonly Target[];
  readonly outcome?: string;
  /** The producer's claim, RFC 3339. */
  readonly occurredAt?: string;
  readonly context?: JsonObject;
  readonly payload?: JsonValue;
  readonly metadata?: JsonObject;
  readonly source?: EventSource;
  readonly signatures?: readonly EventSignature[];
}

export interface EncodedEvent {
  /** Canonical form: the bytes that are committed and stored. */
  readonly body: string;
  /** UTF-8 bytes of `body`. */
  readonly sizeBytes: number;
  readonly action: string;
  readonly id: string | null;
  /** The event as readers see it; the caller's own object when that is plain, so use it before the caller can change it. */
  readonly event: Event;
}

/**
 * Canonical form of an event handed in by a caller, which is validated first and read once. Errors: those of `canonicalize`;
 * `malformed-event` with `details.pointer` and, for an unknown member, `details.hint`; `event-too-large`; `reserved-action` for
 * `ledger.…`, which only the ledger writes (`control` for control events and nothing else, `ledger` for its other actions).
 */
export function encodeEvent(
  input: unknown,
  options: { readonly eventBytesMax?: number; readonly control?: boolean; readonly ledger?: boolean } = {},
): EncodedEvent {
  const { text, sizeBytes, plain } = writeCanonical(input, options.eventBytesMax ?? EVENT_BYTES_DEFAULT);
  const event: unknown = plain ? input : JSON.parse(text);
  validateEvent(event);
  const { action } = event;
  if (options.control === true ? !isControlAction(action) : isReserved(action, options.ledger === true)) {
    throw new MalformedError("reserved-action", `/action: ${JSON.stringify(action)} is written by the ledger alone`, {
      details: { pointer: "/action" },
    });
  }
  return { body: text, sizeBytes, action, id: event.id ?? null, event };
}

function isReserved(action: string, byLedger: boolean): boolean {
  return action.startsWith("ledger.") && (!byLedger || isControlAction(action));
}

/** Event of stored bytes: canonical, at most 16 MiB, and in the grammar; any action. Errors: those of `parseCanonical` and `validateEvent`. */
export function parseEvent(body: string): Event {
  if (body.length > EVENT_BYTES_MAX || (body.length > EVENT_BYTES_MAX / 3 && utf8Bytes(body) > EVENT_BYTES_MAX)) {
    throw new MalformedError("event-too-large", `expected at most ${EVENT_BYTES_MAX} bytes of event`);
  }
  const value = parseCanonical(body);
  validateEvent(value);
  return value;
}

/** The id in `actor`, however it is written. */
export function actorIdOf(event: Event): string | null {
  const { actor } = event;
  return actor === undefined ? null : typeof actor === "string" ? actor : actor.id;
}

/**
 * What searches look for in an event, from which block filters are made: `actor:<id>`, `action:<action>`, `action^:<prefix>` for
 * each shorter dotted prefix of the action, `type:<type>`, `target:<id>`, `outcome:<outcome>`, and `context:<name>=<value>` for
 * each string in the context. A term may stand there twice.
 */
export function searchTerms(event: Event): string[] {
  const { action, type, outcome, targets, context } = event;
  const terms = [`action:${action}`];
  for (let dot = action.indexOf("."); dot >= 0; dot = action.indexOf(".", dot + 1))
    terms.push(`action^:${action.slice(0, dot)}`);
  const actor = actorIdOf(event);
  if (actor !== null) terms.push(`actor:${actor}`);
  if (type !== undefined) terms.push(`type:${type}`);
  if (outcome !== undefined) terms.push(`outcome:${outcome}`);
  if (targets !== undefined) for (const target of targets) terms.push(`target:${target.id}`);
  if (context !== undefined) {
    for (const name of Object.keys(context)) {
      const value = context[name];
      if (typeof value === "string") terms.push(`context:${name}=${value}`);
    }
  }
  return terms;
}

/** Checks one value; the path leads to it from the event. */
type Check = (value: unknown, path: readonly string[]) => void;

const ID_BYTES_MAX = 256;
const ACTOR_BYTES_MAX = 1024;
/** File paths and URLs are targets. */
const TARGET_BYTES_MAX = 4096;
const TARGETS_MAX = 1000;
/** Principals of one `onBehalfOf`, and the length of a chain of them. */
const PRINCIPALS_MAX = 100;
const DELEGATIONS_MAX = 16;
const SIGNATURES_MAX = 16;
/** The longest, ML-DSA-87, has 6,172. */
const SIGNATURE_UNITS_MAX = 8192;
const OCCURRED_AT_UNITS_MAX = 64;

const ACTION = /^[A-Za-z0-9_:-]+(?:\.[A-Za-z0-9_:-]+)*$/;
const OUTCOME = /^[A-Za-z0-9_.:-]{1,64}$/;
const KEY_ID = /^[0-9a-f]{64}$/;
/** One spelling for each byte string: standard alphabet, padded, spare bits zero (RFC 4648 §3.5). */
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?$/;
const CONTROL_CHARACTER = /[\u0000-\u001f\u007f-\u009f]/;
const RFC_3339 =
  /^([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.[0-9]+)?(?:[Zz]|([+-])([0-9]{2}):([0-9]{2}))$/;

function fail(path: readonly string[], message: string, hint?: string): never {
  const pointer = toPointer(path);
  throw new MalformedError("malformed-event", `${where(pointer)}: ${message}`, {
    details: hint === undefined ? { pointer } : { pointer, hint },
  });
}

/** What a wrong value is, without saying what it holds. */
function kindOf(value: unknown): string {
  return value === null
    ? "null"
    : Array.isArray(value)
      ? "an array"
      : typeof value === "object"
        ? "an object"
        : `a ${typeof value}`;
}

function expectText(
  value: unknown,
  path: readonly string[],
  sizeBytesMax: number,
  sizeBytesMin = 1,
): asserts value is string {
  if (typeof value !== "string") fail(path, `expected a string, got ${kindOf(value)}`);
  if (value.length < sizeBytesMin) fail(path, "expected at least one character");
  if (value.length * 3 > sizeBytesMax && utf8Bytes(value) > sizeBytesMax)
    fail(path, `expected at most ${sizeBytesMax} bytes`);
}

function expectName(value: unknown, path: readonly string[]): void {
  expectText(value, path, ID_BYTES_MAX);
  if (CONTROL_CHARACTER.test(value)) fail(path, "expected no control characters");
}

function expectPattern(value: unknown, path: readonly string[], pattern: RegExp, expected: string): void {
  if (typeof value !== "string") fail(path, `expected a string, got ${kindOf(value)}`);
  if (!pattern.test(value)) fail(path, `expected ${expected}`);
}

function expectArray(value: unknown, path: readonly string[], max: number, min: number, check: Check): void {
  if (!Array.isArray(value)) fail(path, `expected an array, got ${kindOf(value)}`);
  if (value.length < min || value.length > max) fail(path, `expected ${min} to ${max} items, got ${value.length}`);
  for (let i = 0; i < value.length; i++) check(value[i], [...path, `${i}`]);
}

function expectObject(value: unknown, path: readonly string[]): asserts value is Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    fail(path, `expected an object, got ${kindOf(value)}`);
  }
}

/** Members of an object of fixed shape: those of the table, the required ones among them, and no others. */
function expectMembers(
  value: unknown,
  path: readonly string[],
  table: ReadonlyMap<string, Check>,
  required: readonly string[],
): void {
  expectObject(value, path);
  for (const name of Object.keys(value)) {
    const check = table.get(name);
    if (check === undefined) refuseMember(name, path, [...table.keys()]);
    check(value[name], [...path, name]);
  }
  for (const name of required) if (!Object.hasOwn(value, name)) fail([...path, name], "expected it to be present");
}

function refuseMember(name: string, path: readonly string[], known: readonly string[]): never {
  const hint = nearest(name, known);
  const advice = hint === undefined ? `the members are ${known.join(", ")}` : `did you mean ${JSON.stringify(hint)}?`;
  fail([...path, name], `unknown member; ${advice}`, hint);
}

/** The known name within two edits, or equal but for case. */
function nearest(name: string, known: readonly string[]): string | undefined {
  let best: string | undefined;
  let bestDistance = 3;
  for (const candidate of known) {
    const distance =
      name.toLowerCase() === candidate.toLowerCase() ? 0 : name.length > 32 ? 3 : editDistance(name, candidate);
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
      next.push(Math.min(next[j - 1]! + 1, row[j]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)));
    }
    row = next;
  }
  return row[b.length]!;
}

const ACTOR: ReadonlyMap<string, Check> = new Map<string, Check>([
  ["id", (value, path) => expectText(value, path, ACTOR_BYTES_MAX)],
  ["type", expectName],
  ["name", (value, path) => expectText(value, path, TARGET_BYTES_MAX, 0)],
  [
    "onBehalfOf",
    (value, path) => {
      if (path.filter((name) => name === "onBehalfOf").length > DELEGATIONS_MAX) {
        fail(path, `expected at most ${DELEGATIONS_MAX} delegations`);
      }
      if (Array.isArray(value)) expectArray(value, path, PRINCIPALS_MAX, 1, checkActor);
      else checkActor(value, path);
    },
  ],
]);

const TARGET: ReadonlyMap<string, Check> = new Map<string, Check>([
  ["id", (value, path) => expectText(value, path, TARGET_BYTES_MAX)],
  ["type", expectName],
  ["name", (value, path) => expectText(value, path, TARGET_BYTES_MAX, 0)],
]);

const SOURCE: ReadonlyMap<string, Check> = new Map<string, Check>([
  ["id", expectName],
  [
    "counter",
    (value, path) => {
      if (typeof value !== "number" || !Number.isInteger(value) || value < 0 || value > SAFE_INTEGER_MAX) {
        fail(path, "expected an integer of 0 to 2^53-1");
      }
    },
  ],
]);

const SIGNATURE: ReadonlyMap<string, Check> = new Map<string, Check>([
  ["keyId", (value, path) => expectPattern(value, path, KEY_ID, "64 lower-case hex digits")],
  [
    "signature",
    (value, path) => {
      expectText(value, path, SIGNATURE_UNITS_MAX);
      expectPattern(value, path, BASE64, "canonical base64");
    },
  ],
]);

function checkActor(value: unknown, path: readonly string[]): void {
  if (typeof value === "string") expectText(value, path, ACTOR_BYTES_MAX);
  else expectMembers(value, path, ACTOR, ["id"]);
}

function checkTime(value: unknown, path: readonly string[]): void {
  if (typeof value !== "string") fail(path, `expected a string, got ${kindOf(value)}`);
  const match = value.length > OCCURRED_AT_UNITS_MAX ? null : RFC_3339.exec(value);
  if (match === null) fail(path, "expected an RFC 3339 time");
  const [year, month, day, hour, minute, second, offsetHour, offsetMinute] = [1, 2, 3, 4, 5, 6, 8, 9].map((group) =>
    Number(match[group] ?? 0),
  ) as [number, number, number, number, number, number, number, number];
  const offset = (offsetHour * 60 + offsetMinute) * (match[7] === "-" ? -1 : 1);
  // A leap second comes at the end of a UTC day alone.
  const leap = second === 60 && (hour * 60 + minute - offset + 1) % (24 * 60) === 0;
  const real =
    day >= 1 &&
    day <= daysInMonth(year, month) &&
    hour <= 23 &&
    minute <= 59 &&
    (second <= 59 || leap) &&
    offsetHour <= 23 &&
    offsetMinute <= 59;
  if (!real) fail(path, "expected a real date and time of day");
}

const MEMBERS: ReadonlyMap<string, Check> = new Map<string, Check>([
  [
    "action",
    (value, path) => {
      expectText(value, path, ACTION_BYTES_MAX);
      expectPattern(value, path, ACTION, "dotted segments of letters, digits, '_', ':' and '-'");
    },
  ],
  ["actor", checkActor],
  ["context", expectObject],
  ["id", expectName],
  ["metadata", expectObject],
  ["occurredAt", checkTime],
  ["outcome", (value, path) => expectPattern(value, path, OUTCOME, "1 to 64 letters, digits, '_', '.', ':' or '-'")],
  ["payload", () => {}],
  [
    "signatures",
    (value, path) =>
      expectArray(value, path, SIGNATURES_MAX, 1, (item, itemPath) =>
        expectMembers(item, itemPath, SIGNATURE, ["keyId", "signature"]),
      ),
  ],
  ["source", (value, path) => expectMembers(value, path, SOURCE, ["id", "counter"])],
  [
    "targets",
    (value, path) =>
      expectArray(value, path, TARGETS_MAX, 0, (item, itemPath) => expectMembers(item, itemPath, TARGET, ["id"])),
  ],
  ["type", expectName],
]);

/** Names of the members of an event, ascending. */
export const EVENT_MEMBERS: readonly string[] = [...MEMBERS.keys()];

/** Checks the value of one member of an event. Throws `malformed-event` with `details.pointer`. */
export function validateMember(name: string, value: unknown): void {
  const check = MEMBERS.get(name);
  if (check === undefined) refuseMember(name, [], EVENT_MEMBERS);
  check(value, [name]);
}

/** Checks the grammar of JSON that may be an event, any action. Throws `malformed-event` with `details.pointer`. */
export function validateEvent(value: unknown): asserts value is Event {
  expectMembers(value, [], MEMBERS, ["action"]);
}
