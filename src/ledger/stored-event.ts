import {
  CONTAINER_DEPTH_MAX,
  canonicalize,
  compareNames,
  type JsonValue,
  parseCanonical,
} from "../core/canonical-json.ts";
import { cutFields, openDisclosure } from "../core/commitment.ts";
import { encodeHex } from "../core/encoding.ts";
import { type Entry, leafHashHex, parseCommitment, parseEntry, type Scheme } from "../core/entry.ts";
import { MalformedError } from "../core/errors.ts";
import { type Event, parseEvent } from "../core/event.ts";
import type { ErasedEntry, LedgerState } from "../core/ledger-state.ts";
import { SALT_BYTES } from "../core/limits.ts";
import type { StoredEntry } from "./storage.ts";

/** One entry as a reader sees it. Not verified: `ledger.verify()` and receipts are what proves it. */
export interface LedgerEntry {
  readonly index: number;
  /** Ledger time. */
  readonly time: string;
  readonly leafHash: string;
  readonly scheme: Scheme;
  /** The event; only its remaining fields where some were erased; null where all was. */
  readonly event: Partial<Event> | null;
  /** Erasure entries that removed the body (`by`) or fields (name → index); null when nothing was erased. */
  readonly erased: { readonly by: number | null; readonly fields: Readonly<Record<string, number>> } | null;
}

/** Fields of a `fields` entry that are kept as digests, and those still open. */
export interface Disclosure {
  readonly disclosed: Readonly<Record<string, readonly [salt: string, value: JsonValue]>>;
  readonly digests: Readonly<Record<string, string>>;
}

export function readStored(stored: StoredEntry, state: LedgerState): LedgerEntry {
  const entry = parseEntry(stored.entry);
  const base = { index: stored.index, time: entry.time, leafHash: leafHashHex(stored.entry), scheme: entry.scheme };
  return { ...base, event: eventOf(stored, entry), erased: erasedOf(state.erasures.get(stored.index)) };
}

function erasedOf(erased: ErasedEntry | undefined): LedgerEntry["erased"] {
  return erased === undefined ? null : { by: erased.wholeBy, fields: Object.fromEntries(erased.fields) };
}

/** The event, or what is left of it, of a stored entry; null when nothing is. */
export function storedEvent(stored: StoredEntry): Partial<Event> | null {
  return eventOf(stored, parseEntry(stored.entry));
}

function eventOf(stored: StoredEntry, entry: Entry): Partial<Event> | null {
  if (stored.body !== null) return parseEvent(stored.body);
  if (stored.disclosure === null) return null;
  const { disclosed, digests } = parseDisclosure(stored.disclosure);
  const names = [...Object.keys(disclosed), ...Object.keys(digests)].sort(compareNames);
  if (Object.keys(disclosed).length === 0) return null;
  return openDisclosure(parseCommitment(entry.commitment).hash, names, disclosed, digests).event;
}

/** Parses the stored `disclosure` column. Errors: `malformed-commitment`. */
export function parseDisclosure(text: string): Disclosure {
  const value = parseCanonical(text, { depthMax: CONTAINER_DEPTH_MAX });
  if (
    !isRecord(value) ||
    Object.keys(value).join() !== "digests,disclosed" ||
    !isRecord(value.disclosed) ||
    !isRecord(value.digests)
  ) {
    throw new MalformedError("malformed-commitment", "expected a disclosure with exactly digests and disclosed");
  }
  // openDisclosure checks every salt, value and digest before anything relies on them.
  return { disclosed: value.disclosed as Disclosure["disclosed"], digests: value.digests as Disclosure["digests"] };
}

export function formatDisclosure(disclosure: Disclosure): string {
  const { digests, disclosed } = disclosure;
  return canonicalize({ digests, disclosed }, { depthMax: CONTAINER_DEPTH_MAX });
}

/** Every field of a whole `fields` entry with its salt. */
export function discloseAll(stored: StoredEntry): Disclosure {
  if (stored.disclosure !== null) return parseDisclosure(stored.disclosure);
  if (stored.body === null || stored.salts === null) return { disclosed: {}, digests: {} };
  const { salts } = stored;
  const disclosed: Record<string, readonly [string, JsonValue]> = {};
  cutFields(parseEvent(stored.body)).forEach((field, i) => {
    disclosed[field.name] = [
      encodeHex(salts.subarray(i * SALT_BYTES, (i + 1) * SALT_BYTES)),
      parseCanonical(field.value),
    ];
  });
  return { disclosed, digests: {} };
}

export function isRecord(value: unknown): value is Readonly<Record<string, JsonValue>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
