import { strictText } from "#hash-platform";
import { encodeHex } from "./encoding.ts";
import { type Entry, parseEntry, ZERO_HASH_HEX } from "./entry.ts";
import { isTallystickError } from "./errors.ts";
import type { Finding, FindingCode } from "./report.ts";

/** Receives what is wrong; throws to stop there. */
export type ReportFinding = (code: FindingCode, message: string, more: Partial<Finding>) => void;

/** An entry as the next one sees it. */
export interface ChainLink {
  /** Hex leaf hash; null where nobody can say it. */
  readonly leaf: string | null;
  /** Null before the first entry, and where it could not be read. */
  readonly time: string | null;
  /** Name of the commitment hash of the ledger, once known. */
  readonly hash: string | null;
}

/** What stands before entry 0. */
export const CHAIN_START: ChainLink = { leaf: ZERO_HASH_HEX, time: null, hash: null };

/**
 * Checks what consecutive entries show without their bodies: layout, index, link to the entry before, time not earlier than that one's,
 * one commitment hash. Findings as in spec/export.md; entry 0 must be of scheme `control`.
 */
export class EntryChain {
  private readonly report: ReportFinding;
  private last: ChainLink;

  constructor(report: ReportFinding, before: ChainLink = CHAIN_START) {
    this.report = report;
    this.last = before;
  }

  /** What the next entry must continue. */
  get link(): ChainLink {
    return this.last;
  }

  /** Adds the entry that stands at `index`, with its leaf hash. */
  add(index: number, bytes: Uint8Array, leafHash: Uint8Array): void {
    const before = this.last;
    const leaf = encodeHex(leafHash);
    const entry = this.parse(index, bytes);
    if (entry === null) {
      this.last = { leaf, time: before.time, hash: before.hash };
      return;
    }
    const hash = entry.commitment.slice(0, entry.commitment.indexOf(":"));
    if (entry.index !== index) {
      this.report("index-mismatch", `the entry at ${index} says it is entry ${entry.index}`, {
        index,
        expected: String(index),
        found: String(entry.index),
      });
    }
    if (before.leaf !== null && entry.previous !== before.leaf) {
      this.report(
        "previous-mismatch",
        `entry ${index} does not link to ${index === 0 ? "nothing" : `entry ${index - 1}`}`,
        {
          index,
          expected: before.leaf,
          found: entry.previous,
        },
      );
    }
    if (before.time !== null && entry.time < before.time) {
      this.report("time-backwards", `entry ${index} is earlier than the entry before it`, {
        index,
        expected: before.time,
        found: entry.time,
      });
    }
    if (before.hash !== null && hash !== before.hash) {
      this.report("commitment-mismatch", `entry ${index} commits with another hash than genesis fixes`, {
        index,
        expected: before.hash,
        found: hash,
      });
    }
    if (index === 0 && entry.scheme !== "control")
      this.report("genesis-malformed", "entry 0 is not a genesis: it is not of scheme control", { index });
    this.last = { leaf, time: entry.time, hash: before.hash ?? hash };
  }

  /** Goes on after entries that are missing. */
  skip(leafHash: Uint8Array | null): void {
    this.last = { leaf: leafHash === null ? null : encodeHex(leafHash), time: this.last.time, hash: this.last.hash };
  }

  private parse(index: number, bytes: Uint8Array): Entry | null {
    const text = strictText(bytes);
    if (text === null) {
      this.report("entry-malformed", `entry ${index} is not UTF-8 text`, { index });
      return null;
    }
    try {
      return parseEntry(text);
    } catch (error) {
      if (!isTallystickError(error)) throw error;
      this.report("entry-malformed", `entry ${index}: ${error.message}`, { index });
      return null;
    }
  }
}
