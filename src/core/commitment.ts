import { allocateScratch, digestHex, digestInto, utf8Bytes, writeScratch, writeScratchHex } from "#hash-platform";
import { CONTAINER_DEPTH_MAX, canonicalize, compareNames, isJsonObject, type JsonValue } from "./canonical-json.ts";
import { bytesOf, isWellFormed, type WrittenBytes } from "./canonical-writer.ts";
import { encodeUtf8, isHexText } from "./encoding.ts";
import { MalformedError } from "./errors.ts";
import { EVENT_MEMBERS, type Event, type JsonObject, validateEvent, validateMember } from "./event.ts";
import type { EventOutline } from "./event-outline.ts";
import { HASH_BYTES, type HashName } from "./hash.ts";
import { FIELDS_MAX, SALT_BYTES } from "./limits.ts";

export type { Scheme } from "./entry.ts";

/** Salted commitments, which let content be withheld or erased while every proof still verifies. Normative: spec/commitment.md. */

/** One field of a cut event. */
export interface Field {
  /** `action`, `payload.amount`, … */
  readonly name: string;
  /** JCS of the value. */
  readonly value: string;
}

/** Salt (32 hex digits) and value of each field that a reader is shown, by name. */
export type Disclosed = { readonly [name: string]: readonly [salt: string, value: JsonValue] };
/** Hex field digest of each field that is withheld or erased, by name. */
export type Digests = { readonly [name: string]: string };

/** What the hash input begins with; the salt and the text follow. */
interface Preimage {
  readonly prefixBytes: number;
  readonly scratch: Uint8Array;
  /** `scratch.subarray(0, size)` by size: making a view costs a sixth of the hash. */
  readonly views: (Uint8Array | undefined)[];
}

const SCRATCH_BYTES = 16 * 1024;
const VIEWS_MAX = 2048;
/** The longest prefix and a salt. */
const PREFIX_BYTES_MAX = 40;

function createPreimage(prefix: string, scratchBytes = SCRATCH_BYTES): Preimage {
  const scratch = allocateScratch(scratchBytes);
  return { prefixBytes: writeScratch(scratch, prefix, 0), scratch, views: [] };
}

const PREFIXES = {
  event: "tallystick/v1/event\n",
  control: "tallystick/v1/control\n",
  field: "tallystick/v1/field\n",
  fields: "tallystick/v1/fields\n",
} as const;

const EVENT_PREFIX: Uint8Array = encodeUtf8(PREFIXES.event);

const PREIMAGES = {
  event: createPreimage(PREFIXES.event),
  control: createPreimage(PREFIXES.control),
  field: createPreimage(PREFIXES.field),
  fields: createPreimage(PREFIXES.fields),
} as const;

function saltedHash(
  hash: HashName,
  kind: "event" | "control" | "field",
  salt: Uint8Array,
  text: string | Uint8Array,
): string {
  if (salt.length !== SALT_BYTES) throw new RangeError(`salt: expected ${SALT_BYTES} bytes, got ${salt.length}`);
  let preimage: Preimage = PREIMAGES[kind];
  if ((text.length + PREFIX_BYTES_MAX) * 3 > SCRATCH_BYTES) {
    const sizeBytes = typeof text === "string" ? utf8Bytes(text) : text.length;
    preimage = createPreimage(PREFIXES[kind], PREFIX_BYTES_MAX + sizeBytes);
  }
  const { prefixBytes, scratch, views } = preimage;
  for (let i = 0; i < SALT_BYTES; i++) scratch[prefixBytes + i] = salt[i]!;
  const textOffset = prefixBytes + SALT_BYTES;
  let size = textOffset + text.length;
  if (typeof text === "string") size = textOffset + writeScratch(scratch, text, textOffset);
  else scratch.set(text, textOffset);
  return digestHex(hash, viewOf(scratch, views, size));
}

function viewOf(scratch: Uint8Array, views: Preimage["views"], size: number): Uint8Array {
  if (size > VIEWS_MAX) return scratch.subarray(0, size);
  let view = views[size];
  if (view === undefined) {
    view = scratch.subarray(0, size);
    views[size] = view;
  }
  return view;
}

/**
 * Commitment of an event or a control event, in hex: H("tallystick/v1/<scheme>\n" ‖ salt ‖ body). The salt has 16 bytes, the body
 * is the canonical form, as well-formed text or as its bytes.
 */
export function commitBody(
  hash: HashName,
  scheme: "event" | "control",
  salt: Uint8Array,
  body: string | Uint8Array,
): string {
  return saltedHash(hash, scheme, salt, body);
}

/** Writes the 16 bytes of a salt at `target[offset]`. */
export interface SaltSource {
  write(target: Uint8Array, offset: number): void;
}

/** `commitBody` of an event that was just written, hashed where it stands: right behind its salt. */
export function commitWritten(hash: HashName, written: WrittenBytes, salts: SaltSource): string {
  const { scratch, start } = written;
  const headBytes = EVENT_PREFIX.length + SALT_BYTES;
  for (let i = 0; i < EVENT_PREFIX.length; i++) scratch[start - headBytes + i] = EVENT_PREFIX[i]!;
  salts.write(scratch, start - SALT_BYTES);
  return digestHex(hash, bytesOf(written, headBytes));
}

const PLAIN_NAME = /^[\w.-]*$/;

/** Digest of one field, in hex: H("tallystick/v1/field\n" ‖ salt ‖ JCS([name, value])). */
export function fieldDigest(hash: HashName, salt: Uint8Array, field: Field): string {
  const { name, value } = field;
  // Quoting natively costs as much as half the hash, and hardly a name needs it.
  return saltedHash(
    hash,
    "field",
    salt,
    PLAIN_NAME.test(name) ? `["${name}",${value}]` : `[${JSON.stringify(name)},${value}]`,
  );
}

/**
 * Commitment of scheme `fields`, in hex: H("tallystick/v1/fields\n" ‖ JCS(names) ‖ "\n" ‖ d_1 ‖ … ‖ d_n), with the digests in hex and
 * both lists in the order of the names, which must be ascending.
 */
export function commitFields(hash: HashName, names: readonly string[], digests: readonly string[]): string {
  if (names.length !== digests.length) {
    throw new RangeError(`commitFields: expected a digest for each of ${names.length} names, got ${digests.length}`);
  }
  const head = `${JSON.stringify(names)}\n`;
  const sizeBytesMax = PREFIX_BYTES_MAX + head.length * 3 + digests.length * HASH_BYTES[hash];
  const { prefixBytes, scratch, views } =
    sizeBytesMax > SCRATCH_BYTES ? createPreimage(PREFIXES.fields, sizeBytesMax) : PREIMAGES.fields;
  let end = prefixBytes + writeScratch(scratch, head, prefixBytes);
  for (const digest of digests) end += writeScratchHex(scratch, digest, end);
  return digestHex(hash, viewOf(scratch, views, end));
}

/**
 * `commitFields` of an event of which the outline is there, with its fields, and the salts of all fields one after another. Null
 * where there is not one salt for each, and for fields so long that `commitFields` must do it.
 */
export function commitOutline(
  hash: HashName,
  salts: Uint8Array,
  body: Uint8Array,
  outline: EventOutline,
): string | null {
  const { fields, fieldPrefixes, nameStarts, nameEnds } = outline;
  const sizeBytesMax = PREFIX_BYTES_MAX + body.length + fields * (NAME_BYTES_MORE + HASH_BYTES[hash]);
  if (salts.length !== fields * SALT_BYTES || sizeBytesMax > SCRATCH_BYTES) return null;
  const { prefixBytes, scratch, views } = PREIMAGES.fields;
  let end = prefixBytes;
  for (let i = 0; i < fields; i++) {
    scratch[end] = i === 0 ? 0x5b : 0x2c;
    end = writeName(scratch, end + 1, fieldPrefixes[i]!, body, nameStarts[i]!, nameEnds[i]!);
  }
  scratch[end] = 0x5d;
  scratch[end + 1] = 0x0a;
  end += 2;
  for (let i = 0; i < fields; i++) {
    end += digestInto(hash, fieldPreimage(salts, body, outline, i), scratch, end);
  }
  return digestHex(hash, viewOf(scratch, views, end));
}

/** `metadata.`, quotes and a comma: what a name has beside what stands in the body. */
const NAME_BYTES_MORE = 12;

/** What `fieldDigest` of field `i` hashes; valid until the next call. */
function fieldPreimage(
  salts: Uint8Array,
  body: Uint8Array,
  { fieldPrefixes, nameStarts, nameEnds, valueStarts, valueEnds }: EventOutline,
  i: number,
): Uint8Array {
  const { prefixBytes, scratch, views } = PREIMAGES.field;
  let end = copyBytes(scratch, prefixBytes, salts, i * SALT_BYTES, (i + 1) * SALT_BYTES);
  scratch[end] = 0x5b;
  end = writeName(scratch, end + 1, fieldPrefixes[i]!, body, nameStarts[i]!, nameEnds[i]!);
  scratch[end] = 0x2c;
  end = copyBytes(scratch, end + 1, body, valueStarts[i]!, valueEnds[i]!);
  scratch[end] = 0x5d;
  return viewOf(scratch, views, end + 1);
}

/** Writes a name in quotes, which needs no escape; where it ends. */
function writeName(
  target: Uint8Array,
  offset: number,
  prefix: Uint8Array,
  source: Uint8Array,
  start: number,
  end: number,
): number {
  target[offset] = 0x22;
  const after = copyBytes(target, offset + 1, prefix, 0, prefix.length);
  const close = copyBytes(target, after, source, start, end);
  target[close] = 0x22;
  return close + 1;
}

/** For few bytes, of which making a view costs more than this. */
function copyBytes(target: Uint8Array, offset: number, source: Uint8Array, start: number, end: number): number {
  let at = offset;
  for (let i = start; i < end; i++, at++) target[at] = source[i]!;
  return at;
}

/** The members that are cut one level deeper. */
export function isCutMember(name: string): boolean {
  return name === "payload" || name === "context" || name === "metadata";
}

/**
 * Fields of an event, ascending by name: each top-level member, and each member of a non-empty object in `payload`, `context`
 * and `metadata`. Error: `malformed-event` beyond 1,024 fields.
 */
export function cutFields(event: Event): Field[] {
  return cutBody(canonicalize(event));
}

/** `cutFields` of an event in canonical form. */
export function cutBody(body: string): Field[] {
  const fields: Field[] = [];
  // In canonical text the values stand ready to be cut out. No name of a member begins another, so the names of all fields
  // ascend as they come.
  let at = 0;
  while (body.charCodeAt(at) !== 0x7d) {
    const colon = skipString(body, at + 1);
    const member = body.slice(at + 2, colon - 1);
    const start = colon + 1;
    if (isCutMember(member) && body.charCodeAt(start) === 0x7b && body.charCodeAt(start + 1) !== 0x7d) {
      at = cutMembers(body, start, member, fields) + 1;
    } else {
      at = skipValue(body, start);
      fields.push({ name: member, value: body.slice(start, at) });
    }
  }
  if (fields.length > FIELDS_MAX) {
    throw new MalformedError("malformed-event", `expected at most ${FIELDS_MAX} fields, got ${fields.length}`, {
      details: { pointer: "" },
    });
  }
  return fields;
}

/** Cuts the object that begins at `start`; where its closing brace stands. */
function cutMembers(body: string, start: number, member: string, fields: Field[]): number {
  let at = start;
  while (body.charCodeAt(at) !== 0x7d) {
    const colon = skipString(body, at + 1);
    const quoted = body.slice(at + 1, colon);
    const name: string = quoted.includes("\\") ? JSON.parse(quoted) : quoted.slice(1, -1);
    at = skipValue(body, colon + 1);
    fields.push({ name: `${member}.${name}`, value: body.slice(colon + 1, at) });
  }
  return at;
}

/** Where the string ends that begins at `at`. */
function skipString(text: string, at: number): number {
  for (let i = at + 1; ; i++) {
    const unit = text.charCodeAt(i);
    if (unit === 0x22) return i + 1;
    if (unit === 0x5c) i += 1;
  }
}

/** Where the value ends that begins at `at`: before a comma or a closing brace. */
function skipValue(text: string, at: number): number {
  let depth = 0;
  for (let i = at; ; ) {
    const unit = text.charCodeAt(i);
    if (unit === 0x22) {
      i = skipString(text, i);
      continue;
    }
    if (unit === 0x7b || unit === 0x5b) depth += 1;
    else if (depth === 0 && (unit === 0x2c || unit === 0x7d)) return i;
    else if (unit === 0x7d || unit === 0x5d) depth -= 1;
    i += 1;
  }
}

function isNonEmptyObject(value: unknown): boolean {
  return isJsonObject(value) && Object.keys(value).length > 0;
}

/** Event of its fields: the inverse of `cutFields`. Errors: as `openDisclosure` for the names, `malformed-event` for the grammar. */
export function assembleEvent(fields: readonly { readonly name: string; readonly value: JsonValue }[]): Event {
  checkNames(fields.map((field) => field.name));
  const event = assemble(fields);
  validateEvent(event);
  return event;
}

function assemble(fields: readonly { readonly name: string; readonly value: JsonValue }[]): JsonObject {
  const event: Record<string, JsonValue> = {};
  const cut: Record<string, Record<string, JsonValue>> = {};
  for (const { name, value } of fields) {
    const dot = name.indexOf(".");
    if (dot < 0) {
      event[name] = value;
      continue;
    }
    const member = name.slice(0, dot);
    const members = cut[member] ?? {};
    if (cut[member] === undefined) {
      cut[member] = members;
      event[member] = members;
    }
    members[name.slice(dot + 1)] = value;
  }
  return event;
}

function malformed(message: string): never {
  throw new MalformedError("malformed-commitment", message);
}

/**
 * Whether a field of some event has this name: a member, or `payload.`, `context.` or `metadata.` and the name of a member, which
 * is everything after the first dot, even nothing.
 */
export function isFieldName(name: string): boolean {
  const dot = name.indexOf(".");
  if (dot < 0) return EVENT_MEMBERS.includes(name);
  return isCutMember(name.slice(0, dot)) && name.slice(dot + 1) !== "__proto__" && isWellFormed(name);
}

/** Names must be exactly the cut of some valid event. They come from a file that anybody may have written. */
function checkNames(names: readonly unknown[]): asserts names is readonly string[] {
  if (names.length > FIELDS_MAX) malformed(`names: expected at most ${FIELDS_MAX} fields, got ${names.length}`);
  let last: string | undefined;
  let uncut: string | undefined;
  for (const name of names) {
    if (typeof name !== "string" || !isFieldName(name))
      malformed(`names: expected fields of an event, got ${JSON.stringify(name)}`);
    if (last !== undefined && compareNames(last, name) >= 0) {
      malformed(`names: expected them strictly ascending, got ${JSON.stringify(name)} after ${JSON.stringify(last)}`);
    }
    // Ascending order puts `payload` before every `payload.x`.
    if (uncut !== undefined && name.startsWith(`${uncut}.`))
      malformed(`names: expected ${JSON.stringify(uncut)} whole or cut, got both`);
    if (!name.includes(".")) uncut = name;
    last = name;
  }
  if (!names.includes("action")) malformed('names: expected "action" among them');
}

function isHex(value: unknown, digits: number): value is string {
  return typeof value === "string" && value.length === digits && isHexText(value);
}

/** What a reader is shown of an entry of scheme `fields`, well-formed; whether it is what was committed is another question. */
export interface Disclosure {
  /** Of all fields, ascending. */
  readonly names: readonly string[];
  readonly disclosed: Disclosed;
  readonly digests: Digests;
}

/**
 * The disclosure that untrusted JSON is: the names are exactly the cut of some event, `disclosed` and `digests` split them, salts
 * are salts. Not checked: how long digests are, which the hash of the entry says, and what the values are. Error:
 * `malformed-commitment`.
 */
export function parseDisclosure(parts: {
  readonly names: unknown;
  readonly disclosed: unknown;
  readonly digests: unknown;
}): Disclosure {
  const { names, disclosed, digests } = parts;
  if (!Array.isArray(names)) malformed("names: expected an array");
  checkNames(names);
  if (!isJsonObject(disclosed)) malformed("disclosed: expected an object");
  if (!isJsonObject(digests)) malformed("digests: expected an object");
  const shown = Object.keys(disclosed).length;
  const withheld = Object.keys(digests).length;
  if (shown + withheld !== names.length) {
    malformed(`expected ${names.length} names disclosed or withheld, got ${shown} and ${withheld}`);
  }
  for (const name of names) {
    const isShown = Object.hasOwn(disclosed, name);
    // With the counts equal, each name standing in exactly one of the two leaves no room for another.
    if (isShown === Object.hasOwn(digests, name)) {
      malformed(`${JSON.stringify(name)}: expected it either disclosed or withheld`);
    }
    if (isShown) checkPair(name, disclosed[name]);
    else if (typeof digests[name] !== "string" || !isHexText(digests[name])) {
      malformed(`digest of ${JSON.stringify(name)}: expected lower-case hex`);
    }
  }
  return { names, disclosed: disclosed as Disclosed, digests: digests as Digests };
}

function checkPair(name: string, pair: unknown): void {
  if (!Array.isArray(pair) || pair.length !== 2) malformed(`${JSON.stringify(name)}: expected a salt and a value`);
  if (!isHex(pair[0], SALT_BYTES * 2)) {
    malformed(`salt of ${JSON.stringify(name)}: expected ${SALT_BYTES * 2} lower-case hex digits`);
  }
}

/** Error: `malformed-commitment` unless every digest of the disclosure is as long as this hash's. */
export function assertDigestSizes(hash: HashName, disclosure: Disclosure): void {
  const digits = HASH_BYTES[hash] * 2;
  for (const [name, digest] of Object.entries(disclosure.digests)) {
    if (digest.length !== digits)
      malformed(`digest of ${JSON.stringify(name)}: expected ${digits} lower-case hex digits`);
  }
}

/** Digests (hex) of all fields in the order of the names. Error: that of `assertDigestSizes`. */
export function digestsOf(hash: HashName, disclosure: Disclosure): string[] {
  assertDigestSizes(hash, disclosure);
  const { names, disclosed, digests } = disclosure;
  const salt = allocateScratch(SALT_BYTES);
  return names.map((name) => {
    const pair = Object.hasOwn(disclosed, name) ? disclosed[name] : undefined;
    if (pair === undefined) return digests[name]!;
    writeScratchHex(salt, pair[0], 0);
    // How deep it may be nested is a question of the grammar, not of the hash.
    return fieldDigest(hash, salt, { name, value: canonicalize(pair[1], { depthMax: CONTAINER_DEPTH_MAX }) });
  });
}

/**
 * The part of the event that is disclosed. Errors: `malformed-event` for a value against the grammar of its member; `too-deep` where
 * a value is nested so deeply that the event would be nested beyond 64.
 */
export function disclosedEvent(disclosure: Disclosure): Partial<Event> {
  const { names, disclosed } = disclosure;
  const fields: { name: string; value: JsonValue }[] = [];
  for (const name of names) {
    const pair = Object.hasOwn(disclosed, name) ? disclosed[name] : undefined;
    if (pair === undefined) continue;
    const value = pair[1];
    if (!name.includes(".")) {
      if (isCutMember(name) && isNonEmptyObject(value)) {
        throw new MalformedError("malformed-event", `/${name}: expected a non-empty object to be cut`, {
          details: { pointer: `/${name}` },
        });
      }
      validateMember(name, value);
    }
    fields.push({ name, value });
  }
  const event = assemble(fields);
  canonicalize(event);
  return event as unknown as Partial<Event>;
}

/**
 * Recomputes the commitment of scheme `fields` from what a reader was given, all of it untrusted, and rebuilds the part of the
 * event that is disclosed. The caller compares the commitment (hex) with the entry's. Errors: those of `parseDisclosure`,
 * `disclosedEvent` and `digestsOf`.
 */
export function openDisclosure(
  hash: HashName,
  names: readonly unknown[],
  disclosed: { readonly [name: string]: unknown },
  digests: { readonly [name: string]: unknown },
): { readonly commitment: string; readonly event: Partial<Event> } {
  const disclosure = parseDisclosure({ names, disclosed, digests });
  const event = disclosedEvent(disclosure);
  return { commitment: commitFields(hash, disclosure.names, digestsOf(hash, disclosure)), event };
}
