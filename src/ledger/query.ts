import { canonicalize, type JsonValue } from "../core/canonical-json.ts";
import { decodeBase64, decodeUtf8, encodeBase64, encodeUtf8 } from "../core/encoding.ts";
import { parseEntry } from "../core/entry.ts";
import { pathLeadsTo } from "../core/entry-filter.ts";
import { MalformedError } from "../core/errors.ts";
import { isAction, searchTerms } from "../core/event.ts";
import { sha256Hex } from "../core/hash.ts";
import type { LedgerState } from "../core/ledger-state.ts";
import { isRealDate } from "../core/time-layout.ts";
import { FILTER_BLOCK_ENTRIES, mayContain } from "./block-filter.ts";
import { PAGE_ENTRIES_MAX } from "./limits.ts";
import type { LedgerStorage } from "./storage.ts";
import { isRecord, type LedgerEntry, readStored } from "./stored-event.ts";
import { timeSlices } from "./time-slices.ts";

/** What to look for; every member narrows. Erased values match nothing. */
export interface QueryFilter {
  /** Actor id. */
  readonly actor?: string;
  /** An action, or a prefix written `user.*`. */
  readonly action?: string;
  readonly type?: string;
  /** Id of any target. */
  readonly target?: string;
  readonly outcome?: string;
  /** Ledger time, inclusive: `2026-11-20` or a full time. */
  readonly from?: string;
  /** Ledger time, exclusive. */
  readonly to?: string;
  /** Value of any context member: request, trace, span or session id. */
  readonly correlation?: string;
  /** Text anywhere in the payload's values, without regard to case. */
  readonly text?: string;
  /** Path → value, e.g. `{ "payload.order.id": 7 }`; array positions are numbers. */
  readonly where?: Readonly<Record<string, JsonValue>>;
  /** Leaf indexes, both inclusive. */
  readonly first?: number;
  readonly last?: number;
  /** `ascending` is the order of the log. */
  readonly order?: "ascending" | "descending";
}

export interface QueryPage {
  readonly entries: readonly LedgerEntry[];
  /** Continues after the last entry, on the same tree size; null when there is no more. */
  readonly cursor: string | null;
  /** Tree size that the page and its cursor speak of. */
  readonly size: number;
}

export interface QueryParts {
  readonly storage: LedgerStorage;
  readonly state: () => LedgerState;
  readonly size: () => number;
  /** Sees what others appended; left out where nobody does. */
  readonly refresh?: () => Promise<void>;
}

/** A query: iterate it whole (never a silent limit), or take pages. Bound to the tree size at its first use. */
export class Query implements AsyncIterable<LedgerEntry> {
  private readonly parts: QueryParts;
  private readonly filter: QueryFilter;

  constructor(parts: QueryParts, filter: QueryFilter) {
    checkFilter(filter);
    this.parts = parts;
    this.filter = filter;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<LedgerEntry> {
    await this.parts.refresh?.();
    yield* scan(this.parts, this.filter, { size: this.parts.size(), next: null });
  }

  /** At most `limit` (1 to 1,000, default 100) entries after `cursor`. Errors: `malformed-cursor`. */
  async page(options: { readonly cursor?: string | null; readonly limit?: number } = {}): Promise<QueryPage> {
    const limit = options.limit ?? 100;
    if (!Number.isInteger(limit) || limit < 1 || limit > PAGE_ENTRIES_MAX) {
      throw new RangeError(`page: expected a limit of 1 to ${PAGE_ENTRIES_MAX}, got ${limit}`);
    }
    await this.parts.refresh?.();
    const digest = sha256Hex(canonicalize(this.filter)).slice(0, 16);
    const at =
      options.cursor == null
        ? { size: this.parts.size(), next: null }
        : parseCursor(options.cursor, digest, this.parts.size());
    const entries: LedgerEntry[] = [];
    for await (const entry of scan(this.parts, this.filter, at)) {
      if (entries.length === limit) {
        const cursor = encodeBase64(encodeUtf8(canonicalize({ filter: digest, next: entry.index, size: at.size })));
        return { entries, cursor, size: at.size };
      }
      entries.push(entry);
    }
    return { entries, cursor: null, size: at.size };
  }
}

interface Position {
  readonly size: number;
  /** Index of the next candidate; null at the start. */
  readonly next: number | null;
}

function parseCursor(cursor: string, digest: string, size: number): Position {
  let value: unknown;
  try {
    value = JSON.parse(decodeUtf8(decodeBase64(cursor, "malformed-cursor"), "malformed-cursor"));
  } catch (cause) {
    throw new MalformedError("malformed-cursor", "expected a cursor from an earlier page", { cause });
  }
  if (
    !isRecord(value) ||
    !Number.isSafeInteger(value.next) ||
    !Number.isSafeInteger(value.size) ||
    typeof value.filter !== "string"
  ) {
    throw new MalformedError("malformed-cursor", "expected a cursor from an earlier page");
  }
  if (value.filter !== digest) throw new MalformedError("malformed-cursor", "the cursor belongs to another filter");
  const position = { size: value.size as number, next: value.next as number };
  if (position.size > size || position.size < 0 || position.next < 0 || position.next >= position.size) {
    throw new MalformedError(
      "malformed-cursor",
      `the cursor speaks of ${position.size} entries; the ledger has ${size}`,
    );
  }
  return position;
}

const FILTER_STRINGS = ["actor", "action", "type", "target", "outcome", "from", "to", "correlation", "text"] as const;
const FILTER_NAMES: readonly string[] = [...FILTER_STRINGS, "where", "first", "last", "order"];

/** Throws `TypeError` or `RangeError` for what is no filter. */
export function checkFilter(filter: QueryFilter): void {
  for (const name of Object.keys(filter)) {
    if (!FILTER_NAMES.includes(name))
      throw new TypeError(`query: unknown filter ${JSON.stringify(name)}; known are ${FILTER_NAMES.join(", ")}`);
  }
  for (const name of FILTER_STRINGS) {
    const value = filter[name];
    if (value !== undefined && typeof value !== "string")
      throw new TypeError(`query: expected ${name} to be a string, got ${typeof value}`);
  }
  // Anything else matches nothing, and a typing error would look like an answer.
  if (filter.action !== undefined && !isAction(filter.action.replace(/\.\*$/, "")))
    throw new TypeError(
      `query: expected action to be an action, or a prefix of whole segments such as user.*, got ${JSON.stringify(filter.action)}`,
    );
  for (const name of ["first", "last"] as const) {
    const value = filter[name];
    if (value !== undefined && (!Number.isSafeInteger(value) || value < 0))
      throw new RangeError(`query: expected ${name} to be a leaf index, got ${value}`);
  }
  for (const name of ["from", "to"] as const) {
    const value = filter[name];
    if (value !== undefined) timeBound(value, name);
  }
  if (filter.order !== undefined && filter.order !== "ascending" && filter.order !== "descending") {
    throw new TypeError(`query: expected order to be ascending or descending, got ${JSON.stringify(filter.order)}`);
  }
}

/** A date, or any RFC 3339 time, as ledger time. */
export function timeBound(text: string, name: string): string {
  const date = /^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:\d{2}))?$/.test(text)
    ? new Date(text)
    : new Date(Number.NaN);
  if (Number.isNaN(date.getTime()) || !isRealDate(text))
    throw new TypeError(`query: expected ${name} to be a date or an RFC 3339 time, got ${JSON.stringify(text)}`);
  return date.toISOString();
}

/** Terms that every matching event carries: what block filters can exclude. */
function requiredTerms(filter: QueryFilter): string[] {
  const terms: string[] = [];
  if (filter.actor !== undefined) terms.push(`actor:${filter.actor}`);
  if (filter.action !== undefined) {
    terms.push(filter.action.endsWith(".*") ? `action^:${filter.action.slice(0, -2)}` : `action:${filter.action}`);
  }
  if (filter.type !== undefined) terms.push(`type:${filter.type}`);
  if (filter.target !== undefined) terms.push(`target:${filter.target}`);
  if (filter.outcome !== undefined) terms.push(`outcome:${filter.outcome}`);
  if (filter.correlation !== undefined) terms.push(`correlation:${filter.correlation}`);
  return terms;
}

async function* scan(parts: QueryParts, filter: QueryFilter, at: Position): AsyncGenerator<LedgerEntry> {
  const { storage } = parts;
  const descending = filter.order === "descending";
  let first = filter.first ?? 0;
  let end = Math.min(at.size, filter.last === undefined ? at.size : filter.last + 1);
  if (filter.from !== undefined)
    first = Math.max(first, await firstAtOrAfter(storage, timeBound(filter.from, "from"), at.size));
  if (filter.to !== undefined) end = Math.min(end, await firstAtOrAfter(storage, timeBound(filter.to, "to"), at.size));
  if (at.next !== null && descending) end = Math.min(end, at.next + 1);
  if (at.next !== null && !descending) first = Math.max(first, at.next);
  if (first >= end) return;
  const terms = requiredTerms(filter);
  const matches = matcher(filter);
  const pause = timeSlices();
  for await (const block of candidateBlocks(storage, { first, end, descending, terms })) {
    const from = Math.max(first, block * FILTER_BLOCK_ENTRIES);
    const entries = await storage.readEntries(from, Math.min(end, (block + 1) * FILTER_BLOCK_ENTRIES));
    for (const stored of descending ? entries.toReversed() : entries) {
      const entry = readStored(stored, parts.state());
      if (matches(entry)) yield entry;
    }
    await pause();
  }
}

const FILTER_PAGE_BLOCKS = 64;

/** Blocks of the range that may hold a match. A block without a filter (the tail, or not indexed yet) is always read. */
async function* candidateBlocks(
  storage: LedgerStorage,
  range: {
    readonly first: number;
    readonly end: number;
    readonly descending: boolean;
    readonly terms: readonly string[];
  },
): AsyncGenerator<number> {
  const firstBlock = Math.floor(range.first / FILTER_BLOCK_ENTRIES);
  const lastBlock = Math.floor((range.end - 1) / FILTER_BLOCK_ENTRIES);
  const pages = Math.ceil((lastBlock - firstBlock + 1) / FILTER_PAGE_BLOCKS);
  const pause = timeSlices();
  for (let i = 0; i < pages; i++) {
    const page = range.descending ? pages - 1 - i : i;
    const from = firstBlock + page * FILTER_PAGE_BLOCKS;
    const to = Math.min(lastBlock + 1, from + FILTER_PAGE_BLOCKS);
    const filters = new Map<number, Uint8Array>();
    if (range.terms.length > 0)
      for (const { block, bits } of await storage.readFilters(from, to)) filters.set(block, bits);
    for (let j = 0; j < to - from; j++) {
      const block = range.descending ? to - 1 - j : from + j;
      const bits = filters.get(block);
      if (bits === undefined || range.terms.every((term) => mayContain(bits, term))) yield block;
    }
    await pause();
  }
}

/** Entry times never go back, so a time is a place in the log: binary search. */
async function firstAtOrAfter(storage: LedgerStorage, time: string, size: number): Promise<number> {
  let low = 0;
  let high = size;
  while (low < high) {
    const middle = low + Math.floor((high - low) / 2);
    const [stored] = await storage.readEntries(middle, middle + 1);
    if (stored === undefined || parseEntry(stored.entry).time < time) low = middle + 1;
    else high = middle;
  }
  return low;
}

function matcher(filter: QueryFilter): (entry: LedgerEntry) => boolean {
  const terms = requiredTerms(filter);
  const where = Object.entries(filter.where ?? {}).map(([path, value]) => pathLeadsTo(path, value));
  const text = filter.text?.toLowerCase();
  const needsEvent = terms.length > 0 || text !== undefined || where.length > 0;
  return ({ event }) => {
    if (!needsEvent) return true;
    if (event === null) return false;
    if (terms.length > 0) {
      const own = searchTerms(event);
      if (!terms.every((term) => own.includes(term))) return false;
    }
    if (text !== undefined && !containsText(event.payload, text)) return false;
    // An event is JSON by its grammar.
    return where.every((leads) => leads(event as unknown as JsonValue));
  };
}

function containsText(value: unknown, text: string): boolean {
  if (typeof value === "object" && value !== null)
    return Object.values(value).some((member) => containsText(member, text));
  return value !== undefined && String(value).toLowerCase().includes(text);
}
