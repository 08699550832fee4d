import { sameBytes, strictText } from "#hash-platform";
import { isTime, TIME_UNITS } from "./entry.ts";
import { EntryLayout } from "./entry-layout.ts";

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
export class EntryForecast extends EntryLayout {
  /** Hex leaf hash of the entry if it is the one that these parts give; null for any other. */
  leafOf(entry: Uint8Array, { commitment, index, previous, time }: ForecastParts): string | null {
    this.begin(index, time);
    if (entry.length !== this.entry.length || !this.takeTime(entry)) return null;
    this.writeDigest(commitment);
    this.writePrevious(previous);
    return sameBytes(entry, this.entry) ? this.leafHash() : null;
  }

  /** Takes over the time of an entry; false unless it is well-formed and not before the one that stands here. */
  private takeTime(entry: Uint8Array): boolean {
    const { bytes, timeAt } = this;
    const from = timeAt - 1;
    let i = 0;
    while (i < TIME_UNITS && entry[from + i] === bytes[timeAt + i]) i += 1;
    if (i === TIME_UNITS) return true;
    const time = strictText(entry.subarray(from, from + TIME_UNITS));
    if (time === null || time < this.time || !isTime(time)) return false;
    this.writeTime(time);
    return true;
  }
}
