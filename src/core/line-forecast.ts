import { allocateScratch } from "#hash-platform";
import { commitBody } from "./commitment.ts";
import { encodeUtf8, hexDigit } from "./encoding.ts";
import { EntryForecast } from "./entry-forecast.ts";
import { ENTRY_BYTES_MAX } from "./entry-layout.ts";
import { outlineEvent } from "./event-outline.ts";
import type { HashName } from "./hash.ts";
import { SALT_BYTES } from "./limits.ts";

/** What is to be known of a line that was recognized. */
export interface OrdinaryLine {
  /** Hex leaf hash of its entry. */
  readonly leaf: string;
  readonly time: string;
  /** Of its event. */
  readonly id: string | null;
}

/** The entry before that of the line. */
export interface EntryBefore {
  readonly index: number;
  readonly leaf: string;
  readonly time: string;
}

const ENTRY_LABEL = encodeUtf8('{"entry":"');
const EVENT_LABEL = encodeUtf8(',"event":');
const SALT_LABEL = encodeUtf8(',"salt":"');
const LINE_END = encodeUtf8('"}');
const QUOTE = 0x22;
const BACKSLASH = 0x5c;
/** From the end of the event. */
const SALT_LINE_BYTES = SALT_LABEL.length + 2 * SALT_BYTES + LINE_END.length;

/**
 * Recognizes the many lines of an export that are exactly what must come next: an entry of scheme `event` that follows the one before it, with
 * the whole event that it commits to, which is canonical, in the grammar, and not signed. No value is made of any of them, which takes
 * longer than all of their hashes. Of other lines, right or wrong, it says nothing: so it must accept nothing in which `parseExportLine` and
 * `examineBody` find a fault. See `EntryForecast` and `outlineEvent`.
 */
export class LineForecast {
  private readonly hash: HashName;
  private readonly forecast: EntryForecast;
  private readonly scratch: Uint8Array = allocateScratch(ENTRY_BYTES_MAX);
  private entry: Uint8Array = this.scratch.subarray(0, 0);
  private readonly salt: Uint8Array = allocateScratch(SALT_BYTES);

  constructor(hash: HashName) {
    this.hash = hash;
    this.forecast = new EntryForecast(hash, "event");
  }

  /** The line without its newline, if it is recognized; it may hold anything. */
  read(line: Uint8Array, { index, leaf: previous, time }: EntryBefore): OrdinaryLine | null {
    const entryEnd = this.readEntry(line);
    if (entryEnd === NONE || !standsAt(EVENT_LABEL, line, entryEnd)) return null;
    const eventEnd = line.length - SALT_LINE_BYTES;
    if (!standsAt(SALT_LABEL, line, eventEnd) || !standsAt(LINE_END, line, line.length - LINE_END.length)) return null;
    if (!this.readSalt(line, eventEnd + SALT_LABEL.length)) return null;
    const event = line.subarray(entryEnd + EVENT_LABEL.length, eventEnd);
    const outline = outlineEvent(event, { fields: false });
    if (outline === null) return null;
    const { id } = outline;
    const commitment = commitBody(this.hash, "event", this.salt, event);
    const leaf = this.forecast.leafOf(this.entry, { commitment, index: index + 1, previous, time });
    return leaf === null ? null : { leaf, time: this.forecast.time, id };
  }

  /** Reads the string at the beginning, in which quotes alone are escaped, as those of an entry are; the offset behind it. */
  private readEntry(line: Uint8Array): number {
    if (!standsAt(ENTRY_LABEL, line, 0)) return NONE;
    const { scratch } = this;
    let at = ENTRY_LABEL.length;
    for (let size = 0; size <= scratch.length; size++, at++) {
      let unit = line[at];
      if (unit === QUOTE) {
        if (this.entry.length !== size) this.entry = scratch.subarray(0, size);
        return at + 1;
      }
      if (unit === BACKSLASH) {
        at += 1;
        unit = line[at];
        if (unit !== QUOTE) return NONE;
      }
      // Behind the end of the line there is no unit.
      if (unit === undefined) return NONE;
      scratch[size] = unit;
    }
    return NONE;
  }

  private readSalt(line: Uint8Array, start: number): boolean {
    for (let i = 0; i < SALT_BYTES; i++) {
      const value = (hexDigit(line[start + 2 * i]!) << 4) | hexDigit(line[start + 2 * i + 1]!);
      if (value < 0) return false;
      this.salt[i] = value;
    }
    return true;
  }
}

const NONE = -1;

function standsAt(label: Uint8Array, bytes: Uint8Array, at: number): boolean {
  for (let i = 0; i < label.length; i++) if (bytes[at + i] !== label[i]) return false;
  return true;
}
