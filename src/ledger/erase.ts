import { canonicalize, type JsonValue } from "../core/canonical-json.ts";
import { fieldDigest } from "../core/commitment.ts";
import { idDigest, idGuard, signedIdDigest } from "../core/control-event.ts";
import { decodeHex } from "../core/encoding.ts";
import { leafHashHex, parseEntry } from "../core/entry.ts";
import { PolicyError } from "../core/errors.ts";
import type { Event } from "../core/event.ts";
import type { HashName } from "../core/hash.ts";
import type { LedgerState } from "../core/ledger-state.ts";
import { SALT_BYTES } from "../core/limits.ts";
import { FILTER_BLOCK_ENTRIES } from "./block-filter.ts";
import { checkOptionNames, type Names } from "./options.ts";
import type { Random } from "./random.ts";
import type { Redaction, StoredEntry } from "./storage.ts";
import { discloseAll, formatDisclosure, readStored } from "./stored-event.ts";

export interface EraseTarget {
  readonly index: number;
  /** Fields to erase (`payload.email`); all of the entry when left out. Scheme `fields` only. */
  readonly fields?: readonly string[];
}

export interface EraseOptions {
  /** Why, for the record. No personal data: it stays for ever. */
  readonly reason: string;
  /** Legal basis. */
  readonly basis?: string;
  /** Who ordered it: an opaque id. */
  readonly actor?: string;
}

export interface Erased {
  /** Leaf index of the `ledger.erasure` entry. */
  readonly index: number;
  readonly leafHash: string;
  /** `pending`: a reader still holds the old bytes, or they could not be removed; that happens by itself as soon as it can. */
  readonly purged: "done" | "pending";
}

export interface ErasurePlan {
  readonly event: Event;
  readonly redactions: readonly Redaction[];
  readonly unfilter: readonly number[];
}

export interface ErasureContext {
  readonly state: LedgerState;
  readonly genesisLeaf: string;
  readonly random: Random;
}

const OPTIONS: Names<EraseOptions> = { reason: true, basis: true, actor: true };
const TARGET: Names<EraseTarget> = { index: true, fields: true };

/**
 * The targets of a call, in ascending order. What is erased does not come back, so nothing is guessed: a member that is misspelt
 * or in the wrong place would make the whole entry of what should be one field. Errors: `TypeError`, `RangeError`.
 */
export function eraseTargets(
  targets: number | EraseTarget | readonly EraseTarget[],
  options: EraseOptions,
): readonly EraseTarget[] {
  if (typeof options?.reason !== "string" || options.reason === "") throw new TypeError("erase: expected a reason");
  checkOptionNames("erase", options, OPTIONS);
  const list = [targets].flat().map((target) => (typeof target === "object" ? target : { index: target }));
  if (list.length === 0 || list.length > 10_000)
    throw new RangeError(`erase: expected 1 to 10,000 entries, got ${list.length}`);
  for (const target of list) checkTarget(target);
  const sorted = list.sort((a, b) => a.index - b.index);
  const twice = sorted.find(({ index }, i) => index === sorted[i - 1]?.index);
  if (twice !== undefined) throw new RangeError(`erase: expected distinct leaf indexes, got ${twice.index} twice`);
  return sorted;
}

function checkTarget(target: EraseTarget): void {
  if (target === null) throw new TypeError("erase: expected an entry, got null");
  checkOptionNames("erase", target, TARGET);
  const { index, fields } = target;
  if (!Number.isSafeInteger(index) || index < 0)
    throw new RangeError(`erase: expected a leaf index, got ${JSON.stringify(index)}`);
  if (fields !== undefined && !(Array.isArray(fields) && fields.every((name) => typeof name === "string")))
    throw new TypeError(`erase: expected the fields of entry ${index} to be an array of names`);
}

/**
 * What erasing `targets` writes: the control event that admits it and the replacement of the erased columns. Errors:
 * `not-erasable` (control event, unknown field, field of a whole-event commitment, erased before), `held`.
 */
export function planErasure(
  targets: readonly EraseTarget[],
  stored: ReadonlyMap<number, StoredEntry>,
  options: EraseOptions,
  context: ErasureContext,
): ErasurePlan {
  const entries: Record<string, JsonValue>[] = [];
  const redactions: Redaction[] = [];
  const blocks = new Set<number>();
  for (const target of targets) {
    const entry = stored.get(target.index);
    if (entry === undefined) throw new RangeError(`erase: there is no entry ${target.index}`);
    const planned = eraseOne(target, entry, context);
    entries.push(planned.named);
    redactions.push(planned.redaction);
    blocks.add(Math.floor(target.index / FILTER_BLOCK_ENTRIES));
  }
  const payload = { entries, reason: options.reason, ...(options.basis === undefined ? {} : { basis: options.basis }) };
  const event: Event = {
    action: "ledger.erasure",
    payload,
    ...(options.actor === undefined ? {} : { actor: options.actor }),
  };
  return { event, redactions, unfilter: [...blocks] };
}

function eraseOne(
  target: EraseTarget,
  stored: StoredEntry,
  context: ErasureContext,
): { named: Record<string, JsonValue>; redaction: Redaction } {
  const { index, fields } = target;
  const entry = parseEntry(stored.entry);
  const refuse = (why: string): PolicyError =>
    new PolicyError("not-erasable", `entry ${index} ${why}`, { details: { index } });
  if (entry.scheme === "control") throw refuse("is a control event of the ledger and can never be erased");
  const held = context.state.holds.find(
    (hold) => hold.releasedAt === null && hold.first <= index && index <= hold.last,
  );
  if (held !== undefined)
    throw new PolicyError(
      "held",
      `entry ${index} is under the hold ${JSON.stringify(held.hold)} placed by entry ${held.placedAt}`,
      { details: { index, hold: held.hold } },
    );
  const { event, erased } = readStored(stored, context.state);
  if (event === null) throw refuse(erased?.by == null ? "has no body" : `was erased by entry ${erased.by}`);
  const named: Record<string, JsonValue> = { index, leaf: leafHashHex(stored.entry) };
  let disclosure: string | null = null;
  if (fields !== undefined) {
    if (entry.scheme !== "fields")
      throw refuse("is committed as a whole: single fields can be erased only in scheme `fields`");
    disclosure = withoutFields(stored, fields, context.state.genesis.commitmentHash, refuse);
    named.fields = [...fields].sort();
  }
  const id = typeof event.id === "string" && (fields === undefined || fields.includes("id")) ? event.id : null;
  if (id === null) return { named, redaction: { index, disclosure, id: null, erasedId: null } };
  const signedIds = (event.signatures ?? []).map((signature) => signedIdDigest(signature.keyId, id));
  if (signedIds.length > 0) named.signedIds = signedIds.sort();
  const digest = idDigest(context.genesisLeaf, id);
  const salt = context.random.fill(new Uint8Array(SALT_BYTES));
  named.idGuard = idGuard(salt, digest);
  return { named, redaction: { index, disclosure, id, erasedId: { index, digest, salt } } };
}

/** The entry's disclosure with `fields` reduced to their digests. */
function withoutFields(
  stored: StoredEntry,
  fields: readonly string[],
  hash: HashName,
  refuse: (why: string) => PolicyError,
): string {
  const { disclosed, digests } = discloseAll(stored);
  const open: Record<string, readonly [string, JsonValue]> = { ...disclosed };
  const closed: Record<string, string> = { ...digests };
  if (fields.length === 0) throw refuse("needs at least one field name");
  if (new Set(fields).size !== fields.length) throw refuse("cannot lose one field twice");
  for (const name of fields) {
    const field = Object.hasOwn(open, name) ? open[name] : undefined;
    if (field === undefined) {
      throw refuse(
        Object.hasOwn(closed, name)
          ? `lost its field ${JSON.stringify(name)} before`
          : `has no field ${JSON.stringify(name)}; it has ${Object.keys(open).join(", ")}`,
      );
    }
    const [salt, value] = field;
    const bytes = decodeHex(salt, { sizeBytes: SALT_BYTES, code: "malformed-commitment" });
    closed[name] = fieldDigest(hash, bytes, { name, value: canonicalize(value) });
    delete open[name];
  }
  return formatDisclosure({ disclosed: open, digests: closed });
}
