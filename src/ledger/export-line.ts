import { type JsonValue, parseCanonical } from "../core/canonical-json.ts";
import type { Disclosure } from "../core/commitment.ts";
import { encodeHex } from "../core/encoding.ts";
import { parseEntry, type Scheme } from "../core/entry.ts";
import {
  type Condition,
  type FilteredEntry,
  type Membership,
  membershipOf,
  type ParsedFilter,
} from "../core/entry-filter.ts";
import { PolicyError, UnavailableError } from "../core/errors.ts";
import type { JsonObject } from "../core/event.ts";
import type { LedgerState } from "../core/ledger-state.ts";
import { disclosureOf } from "./prove.ts";
import type { StoredEntry } from "./storage.ts";
import { discloseAll, storedEvent } from "./stored-event.ts";

/** How an entry stands in an export. */
export interface ExportedEntry {
  readonly index: number;
  readonly scheme: Scheme;
  /** What the line lets a verifier say; `member` where no filter is proved. */
  readonly membership: Membership;
  /** The body was erased as a whole. */
  readonly isErased: boolean;
}

/** What a line shows of its entry. */
export type LineContent =
  | { readonly event: JsonValue; readonly salt: string }
  | Disclosure
  | { readonly erasedBy: number }
  | { readonly event?: never };

export interface LineChoice {
  readonly state: LedgerState;
  /** Filter that the export proves complete; null: the entry was selected. */
  readonly proved: ParsedFilter | null;
  /** Fields to show of entries of scheme `fields`; all that are kept when left out. */
  readonly disclose: readonly string[] | undefined;
}

/**
 * Chooses what a line shows: of a selected entry what was asked for, of another one as little as shows that it is none. Errors:
 * `not-disclosable`, `storage-corrupt`.
 */
export function exportLine(
  stored: StoredEntry,
  choice: LineChoice,
): { readonly content: LineContent; readonly entry: ExportedEntry } {
  const { index } = stored;
  const { scheme, time } = parseEntry(stored.entry);
  const { state, proved } = choice;
  const made = (content: LineContent, membership: Membership, isErased = false) => ({
    content,
    entry: { index, scheme, membership, isErased },
  });
  const isWhole = scheme !== "fields" && stored.body !== null && stored.salts !== null;
  const erasedBy = isWhole ? null : (state.erasures.get(index)?.wholeBy ?? null);
  if (erasedBy !== null) {
    const nothing = { time, members: null, withheld: [] };
    return made({ erasedBy }, proved === null ? "member" : membershipOf(proved, nothing), true);
  }
  if (!isWhole && scheme !== "fields") {
    const message = `the body of entry ${index} is missing and no erasure names it; run verify`;
    throw new UnavailableError("storage-corrupt", message, { details: { index } });
  }
  const shown = proved === null ? null : shownOf(stored, time);
  const membership = proved === null || shown === null ? "member" : membershipOf(proved, shown);
  if (scheme === "control") return made(wholeOf(stored), membership);
  if (proved !== null && shown !== null && membership === "no member") {
    if (!proved.covers(time)) return made({}, membership);
    if (scheme === "event") return made({}, "open");
    return made(disclosureOf(stored, { state, disclose: decidingFields(stored, proved, shown) }), membership);
  }
  if (scheme === "fields")
    return made(disclosureOf(stored, { state, disclose: chosenFields(stored, choice) }), membership);
  if (choice.disclose === undefined) return made(wholeOf(stored), membership);
  throw new PolicyError(
    "not-disclosable",
    `entry ${index} is committed as a whole (scheme event): it is shown entirely or not at all. Select only entries of scheme fields, or do not say which fields to show`,
    { details: { index, scheme } },
  );
}

function wholeOf({ body, salts }: StoredEntry): { readonly event: JsonValue; readonly salt: string } {
  // The caller knows that both are there.
  return { event: parseCanonical(body as string), salt: encodeHex(salts as Uint8Array) };
}

/** All that the store still has of an entry. */
function shownOf(stored: StoredEntry, time: string): FilteredEntry {
  const withheld = stored.disclosure === null ? [] : Object.keys(discloseAll(stored).digests);
  return { time, members: storedEvent(stored) as JsonObject | null, withheld };
}

/** Fields that make one condition false: of those conditions, the one that reads the fewest. */
function decidingFields(stored: StoredEntry, { conditions }: ParsedFilter, shown: FilteredEntry): string[] {
  const names = Object.keys(discloseAll(stored).disclosed);
  const isFalse = ({ holds, reads }: Condition): boolean => !holds(shown.members ?? {}) && !shown.withheld.some(reads);
  const [fewest = []] = conditions
    .filter(isFalse)
    .map(({ reads }) => names.filter(reads))
    .sort((a, b) => a.length - b.length);
  return fewest;
}

/** The kept fields that were asked for, and those that show that the entry is selected; undefined: all. */
function chosenFields(stored: StoredEntry, { proved, disclose }: LineChoice): string[] | undefined {
  if (disclose === undefined) return undefined;
  const isRead = (name: string): boolean => proved?.conditions.some(({ reads }) => reads(name)) === true;
  return Object.keys(discloseAll(stored).disclosed).filter((name) => disclose.includes(name) || isRead(name));
}
