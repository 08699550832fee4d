import { utf8Bytes } from "#hash-platform";
import { type JsonObject, type JsonValue, parseCanonical } from "./canonical-json.ts";
import { type Rule, textOf, type WrittenBytes, writeCanonicalBytes } from "./canonical-writer.ts";
import { isControlAction } from "./control-action.ts";
import { encodeUtf8 } from "./encoding.ts";
import { MalformedError } from "./errors.ts";
import {
  array,
  base64,
  type Check,
  checkShape,
  expectMembers,
  expectObject,
  hex,
  integer,
  type Members,
  object,
  refuse,
  ShapeError,
  text,
  word,
} from "./json-shape.ts";
import { ACTION_BYTES_MAX, EVENT_BYTES_DEFAULT, EVENT_BYTES_MAX } from "./limits.ts";
import { hasDateTimeLayout, isDigit, isRealDate, twoDigits } from "./time-layout.ts";

export type { JsonObject } from "./canonical-json.ts";

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

/** An event in canonical form: the bytes that are committed and stored. */
export interface WrittenEvent {
  /** Until the next event is written. */
  readonly written: WrittenBytes;
  readonly id: string | null;
  /** The event as readers see it, if it carries signatures. */
  readonly signed: Event | null;
}

export interface EncodedEvent extends Omit<WrittenEvent, "written"> {
  /** Canonical form: the bytes that are committed and stored. */
  readonly body: string;
  /** UTF-8 bytes of `body`. */
  readonly sizeBytes: number;
}

interface EventOptions {
  readonly eventBytesMax?: number;
  readonly control?: boolean;
  readonly ledger?: boolean;
}

/** `writeEvent`, with the canonical form as text that lasts. */
export function encodeEvent(input: unknown, options: EventOptions = {}): EncodedEvent {
  const { written, id, signed } = writeEvent(input, options);
  return { body: textOf(written), sizeBytes: written.end - written.start, id, signed };
}

/** The event as readers see it, whatever became of the caller's object. */
export function eventOf({ body }: EncodedEvent): Event {
  return JSON.parse(body);
}

/**
 * Canonical form of an event handed in by a caller. Each member is read once: what is checked is what is written, also where a getter
 * gives something else each time. Errors: those of `canonicalize`; `malformed-event` with `details.pointer` and, for an unknown
 * member, `details.hint`; `event-too-large`; `reserved-action` for `ledger.…`, which only the ledger writes (`control` for control
 * events and nothing else, `ledger` for its other actions too).
 */
export function writeEvent(input: unknown, options: EventOptions = {}): WrittenEvent {
  // A getter may call back in here.
  const outerId = writtenId;
  writtenId = null;
  try {
    const sizeBytesMax = options.eventBytesMax ?? EVENT_BYTES_DEFAULT;
    const written = writeCanonicalBytes(input, { sizeBytesMax, rule: EVENT });
    const isOrdinary = options.control !== true && !startsWith(written, RESERVED);
    if (written.holds && isOrdinary) return { written, id: writtenId, signed: null };
    const event: unknown = JSON.parse(textOf(written));
    validateEvent(event);
    refuseAction(event.action, options);
    // Its own members: somebody may have put others on `Object.prototype`.
    const id = Object.hasOwn(event, "id") ? event.id! : null;
    return { written, id, signed: Object.hasOwn(event, "signatures") ? event : null };
  } finally {
    writtenId = outerId;
  }
}

/** `id` of the event that is being written, if it has one so far. */
let writtenId: string | null = null;

/** The first member of every event is its action. */
const RESERVED: Uint8Array = encodeUtf8('{"action":"ledger.');

function startsWith({ scratch, start }: WrittenBytes, prefix: Uint8Array): boolean {
  for (let i = 0; i < prefix.length; i++) if (scratch[start + i] !== prefix[i]) return false;
  return true;
}

function refuseAction(action: string, options: EventOptions): void {
  const refusal = refusalOf(action, options);
  if (refusal === null) return;
  throw new MalformedError("reserved-action", `/action: ${refusal}, got ${JSON.stringify(action)}`, {
    details: { pointer: "/action" },
  });
}

function refusalOf(action: string, options: EventOptions): string | null {
  if (options.control === true) return isControlAction(action) ? null : "expected the action of a control event";
  if (!action.startsWith("ledger.")) return null;
  if (isControlAction(action)) return "expected no control event";
  return options.ledger === true ? null : "expected no action of the ledger itself";
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

/** Whether the text follows the grammar of an action. */
export function isAction(text: string): boolean {
  return text.length <= ACTION_BYTES_MAX && isDotted(text);
}

/** The id in `actor`, however it is written. */
export function actorIdOf(event: Event): string | null {
  const { actor } = event;
  return actor === undefined ? null : typeof actor === "string" ? actor : actor.id;
}

/** Takes one search term as the two parts that it is made of, so that a filter need not join them. */
export type TermVisitor = (kind: string, value: string) => void;

/**
 * What searches look for in an event, from which block filters are made: `actor:<id>`, `action:<action>`, `action^:<prefix>` for
 * each shorter dotted prefix of the action, `type:<type>`, `target:<id>`, `outcome:<outcome>`, and `correlation:<value>` for
 * each string in the context. A term may come twice.
 */
export function eachTerm(event: Partial<Event>, visit: TermVisitor): void {
  const { action, type, outcome, targets, context, actor } = event;
  if (action !== undefined) {
    visit("action:", action);
    for (let dot = action.indexOf("."); dot >= 0; dot = action.indexOf(".", dot + 1)) {
      visit("action^:", action.slice(0, dot));
    }
  }
  if (actor !== undefined) visit("actor:", typeof actor === "string" ? actor : actor.id);
  if (type !== undefined) visit("type:", type);
  if (outcome !== undefined) visit("outcome:", outcome);
  if (targets !== undefined) for (const target of targets) visit("target:", target.id);
  if (context === undefined) return;
  for (const name of Object.keys(context)) {
    const value = context[name];
    if (typeof value === "string") visit("correlation:", value);
  }
}

/** The terms of `eachTerm`, joined. */
export function searchTerms(event: Partial<Event>): string[] {
  const terms: string[] = [];
  eachTerm(event, (kind, value) => terms.push(kind + value));
  return terms;
}

export const ID_BYTES_MAX = 256;
export const ACTOR_BYTES_MAX = 1024;
/** File paths and URLs are targets. */
export const TARGET_BYTES_MAX = 4096;
export const TARGETS_MAX = 1000;
/** Principals of one `onBehalfOf`, and how many stand inside one another. */
const PRINCIPALS_MAX = 100;
const DELEGATIONS_MAX = 16;
const SIGNATURES_MAX = 16;
/** The longest, ML-DSA-87, has 6,172 characters. */
const SIGNATURE_UNITS_MAX = 8192;
export const OCCURRED_AT_BYTES_MAX = 64;
export const OUTCOME_BYTES_MAX = 64;

/** 1 for letters, digits, `_`, `:` and `-`; by unit. */
const IS_WORD: Uint8Array = Uint8Array.from({ length: 0x80 }, (_, unit) =>
  /[A-Za-z0-9_:-]/.test(String.fromCharCode(unit)) ? 1 : 0,
);
const DOT = 0x2e;

/** `^[A-Za-z0-9_:-]+(?:\.[A-Za-z0-9_:-]+)*$` */
function isDotted(text: string): boolean {
  let isOpen = true;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    const isDot = unit === DOT;
    if (isDot ? isOpen : unit > 0x7f || IS_WORD[unit] === 0) return false;
    isOpen = isDot;
  }
  return !isOpen;
}

/** `^[A-Za-z0-9_.:-]+$` */
function isCode(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit !== DOT && (unit > 0x7f || IS_WORD[unit] === 0)) return false;
  }
  return text.length > 0;
}

const ACTION_TEXT: Check = word(isDotted, {
  max: ACTION_BYTES_MAX,
  expected: "dotted segments of letters, digits, '_', ':' and '-'",
});
const OUTCOME_TEXT: Check = word(isCode, {
  max: OUTCOME_BYTES_MAX,
  expected: "1 to 64 letters, digits, '_', '.', ':' or '-'",
});
/** `id`, `type`, `source.id`. */
const NAME: Check = text({ max: ID_BYTES_MAX, line: true });
const ACTOR_ID: Check = text({ max: ACTOR_BYTES_MAX });
const TARGET_ID: Check = text({ max: TARGET_BYTES_MAX });
const DISPLAY_NAME: Check = text({ max: TARGET_BYTES_MAX, min: 0 });
const COUNTER: Check = integer({ min: 0 });

const ACTOR: Check = object({
  id: ACTOR_ID,
  "type?": NAME,
  "name?": DISPLAY_NAME,
  "onBehalfOf?": (value) => {
    if (Array.isArray(value)) PRINCIPALS(value);
    else checkPrincipal(value);
  },
});
const PRINCIPALS: Check = array(checkPrincipal, { min: 1, max: PRINCIPALS_MAX });

function checkPrincipal(value: unknown): void {
  if (typeof value === "string") ACTOR_ID(value);
  else if (typeof value === "object") ACTOR(value);
  else refuse(`expected an id or an object, got a ${typeof value}`);
}

/** The check of `actor`, here and in control events. */
export function checkActor(value: unknown): void {
  checkPrincipal(value);
  if (delegationsOf(value) > DELEGATIONS_MAX)
    refuse(`expected at most ${DELEGATIONS_MAX} onBehalfOf inside one another`);
}

/** How many `onBehalfOf` stand inside one another. The depth of JSON bounds the recursion. */
function delegationsOf(value: unknown): number {
  if (Array.isArray(value)) return Math.max(...value.map(delegationsOf));
  const next = typeof value === "object" && value !== null ? (value as { onBehalfOf?: unknown }).onBehalfOf : undefined;
  return next === undefined ? 0 : 1 + delegationsOf(next);
}

function checkOccurredAt(value: unknown): void {
  OCCURRED_AT_TEXT(value);
  const text = value as string;
  const zone = rfc3339Zone(text);
  if (zone === null) refuse("expected an RFC 3339 time");
  const hour = twoDigits(text, 11);
  const minute = twoDigits(text, 14);
  const second = twoDigits(text, 17);
  const offset = zone.sign * (zone.hours * 60 + zone.minutes);
  // A leap second comes at the end of a UTC day alone.
  const isLeap = second === 60 && (hour * 60 + minute - offset + 1) % (24 * 60) === 0;
  const isTime = hour <= 23 && minute <= 59 && (second <= 59 || isLeap) && zone.hours <= 23 && zone.minutes <= 59;
  if (!isRealDate(text) || !isTime) refuse("expected a real date and time of day");
}

const OCCURRED_AT_TEXT: Check = text({ max: OCCURRED_AT_BYTES_MAX });

interface Zone {
  readonly sign: 1 | -1;
  readonly hours: number;
  readonly minutes: number;
}

const UTC: Zone = { sign: 1, hours: 0, minutes: 0 };

/** Time zone of text in the layout of RFC 3339, whatever its digits say; null for other text. */
function rfc3339Zone(text: string): Zone | null {
  const separator = text[10];
  if (!hasDateTimeLayout(text) || (separator !== "T" && separator !== "t")) return null;
  let at = 19;
  if (text[at] === ".") {
    const first = at + 1;
    for (at = first; isDigit(text.charCodeAt(at)); ) at += 1;
    if (at === first) return null;
  }
  const sign = text[at];
  if (sign === "Z" || sign === "z") return text.length === at + 1 ? UTC : null;
  const hours = twoDigits(text, at + 1);
  const minutes = twoDigits(text, at + 4);
  const isOffset = hours >= 0 && text[at + 3] === ":" && minutes >= 0 && text.length === at + 6;
  if (!isOffset || (sign !== "+" && sign !== "-")) return null;
  return { sign: sign === "-" ? -1 : 1, hours, minutes };
}

const MEMBERS: Members = new Map<string, Check>([
  ["action", ACTION_TEXT],
  ["actor", checkActor],
  ["context", expectObject],
  ["id", NAME],
  ["metadata", expectObject],
  ["occurredAt", checkOccurredAt],
  ["outcome", OUTCOME_TEXT],
  ["payload", () => {}],
  [
    "signatures",
    array(object({ keyId: hex(64), signature: base64({ max: SIGNATURE_UNITS_MAX }) }), { min: 1, max: SIGNATURES_MAX }),
  ],
  ["source", object({ id: NAME, counter: COUNTER })],
  [
    "targets",
    array(object({ id: TARGET_ID, "type?": NAME, "name?": DISPLAY_NAME }), {
      min: 0,
      max: TARGETS_MAX,
    }),
  ],
  ["type", NAME],
]);

/** Whether the text is what `occurredAt` may be: RFC 3339, a real date and time of day. */
export function isOccurredAt(text: string): boolean {
  return passes(checkOccurredAt, text);
}

function passes(check: Check, value: unknown): boolean {
  try {
    check(value);
    return true;
  } catch (error) {
    if (!(error instanceof ShapeError)) throw error;
    return false;
  }
}

/** The same grammar for the writer, as far as most events go: what is not here is looked at in what was written. */
const EVENT: Rule = objectRule(
  {
    action: valueRule(ACTION_TEXT),
    actor: objectRule(
      { id: valueRule(ACTOR_ID), type: valueRule(NAME), name: valueRule(DISPLAY_NAME) },
      ["id"],
      ACTOR_ID,
    ),
    context: valueRule(expectObject),
    id: valueRule((value) => {
      NAME(value);
      writtenId = value as string;
    }),
    metadata: valueRule(expectObject),
    occurredAt: valueRule(checkOccurredAt),
    outcome: valueRule(OUTCOME_TEXT),
    payload: valueRule(() => {}),
    source: objectRule({ id: valueRule(NAME), counter: valueRule(COUNTER) }, ["id", "counter"]),
    targets: {
      ...valueRule((value) => {
        if (!Array.isArray(value)) refuse("expected an array");
      }),
      items: {
        ...objectRule({ id: valueRule(TARGET_ID), type: valueRule(NAME), name: valueRule(DISPLAY_NAME) }, ["id"]),
        countMax: TARGETS_MAX,
      },
    },
    type: valueRule(NAME),
  },
  ["action"],
);

function valueRule(check: Check): Rule {
  return {
    admits: (value) => passes(check, value),
    members: null,
    required: [],
    items: null,
    countMax: Number.POSITIVE_INFINITY,
  };
}

/** Of an object, or of a value of another type that passes the check. */
function objectRule(members: Readonly<Record<string, Rule>>, required: readonly string[], check?: Check): Rule {
  const admits = (value: unknown): boolean =>
    typeof value === "object" ? value !== null && !Array.isArray(value) : check !== undefined && passes(check, value);
  return { ...valueRule(() => {}), admits, members: new Map(Object.entries(members)), required };
}

/** Names of the members of an event, ascending. */
export const EVENT_MEMBERS: readonly string[] = [...MEMBERS.keys()];

const REQUIRED: readonly string[] = ["action"];

function checkEvent(value: unknown): void {
  expectMembers(value, MEMBERS, REQUIRED);
}

/** Checks the grammar of JSON that may be an event, any action. Throws `malformed-event` with `details.pointer`. */
export function validateEvent(value: unknown): asserts value is Event {
  checkShape(value, checkEvent, "malformed-event");
}

/** Checks the value of one member of an event, given its known name. Throws `malformed-event` with `details.pointer`. */
export function validateMember(name: string, value: unknown): void {
  const check = MEMBERS.get(name);
  if (check === undefined)
    throw new RangeError(`validateMember: expected a member of an event, got ${JSON.stringify(name)}`);
  checkShape(value, check, "malformed-event", name);
}
