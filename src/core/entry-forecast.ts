import { sameBytes, strictText } from "#hash-platform";
import { isTime, type Scheme, TIME_UNITS } from "./entry.ts";
import { EntryLayout } from "./entry-layout.ts";
import type { HashName } from "./hash.ts";

/** What an entry must say that follows another. */
export interface ForecastParts {
  /** Hex commitment, in the hash of the ledger. */
  readonly commitment: string;
  readonly index: number;
  /** Hex leaf hash of the entry before. */
  readonly previous: string;
  /** Time of the entry before, well-formed: the entry has this one or a later one. */
  readonly time: string;
}

/**
 * Recognizes the many entries that are exactly what must come next: their bytes are foretold, the time aside, and compared.
 * That takes a third of the time of reading them. Of all others, well-formed or not, it says nothing.
 */
export class EntryForecast {
  private readonly layout: EntryLayout;

  constructor(hash: HashName, scheme: Scheme) {
    this.layout = new EntryLayout(hash, scheme);
  }

  /** Time of the entry that was recognized last. */
  get time(): string {
    return this.layout.time;
  }

  /** Hex leaf hash of the entry if it is the one that these parts give; null for any other. */
  leafOf(entry: Uint8Array, { commitment, index, previous, time }: ForecastParts): string | null {
    const { layout } = this;
    layout.begin(index, time);
    if (entry.length !== layout.entry.length || !this.readTime(entry)) return null;
    layout.writeDigest(commitment);
    layout.writePrevious(previous);
    return sameBytes(entry, layout.entry) ? layout.leafHash() : null;
  }

  /** Takes over the time of an entry; false unless it is well-formed and not before the one that stands here. */
  private readTime(entry: Uint8Array): boolean {
    const { bytes, timeAt } = this.layout;
    const from = timeAt - 1;
    let i = 0;
    while (i < TIME_UNITS && entry[from + i] === bytes[timeAt + i]) i += 1;
    if (i === TIME_UNITS) return true;
    const time = strictText(entry.subarray(from, from + TIME_UNITS));
    if (time === null || time < this.layout.time || !isTime(time)) return false;
    this.layout.writeTime(time);
    return true;
  }
}
