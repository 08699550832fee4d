import { FINDINGS_MAX } from "./limits.ts";
import { FINDING_CODES, type Finding, type FindingCode, type VerdictName } from "./report.ts";

export interface FindingRecord {
  readonly listed: readonly Finding[];
  readonly omitted: number;
  readonly failures: readonly { readonly verdict: VerdictName; readonly message: string; readonly count: number }[];
  readonly codes: readonly FindingCode[];
}

/** Findings of one verification, of which a hostile file may have one a byte: a bounded list that fails the right verdicts even when it is full. */
export class FindingList {
  private readonly max: number;
  private readonly listed: Finding[] = [];
  private readonly firsts = new Map<VerdictName, { readonly message: string; count: number }>();
  private readonly codes = new Set<FindingCode>();
  private omittedCount = 0;

  constructor(max: number = FINDINGS_MAX) {
    this.max = max;
  }

  add(code: FindingCode, message: string, more: Omit<Finding, "code" | "message"> = {}): void {
    this.codes.add(code);
    const verdict = FINDING_CODES[code];
    if (verdict !== null) this.fail(verdict, message, 1);
    if (this.listed.length < this.max) this.listed.push({ code, message, ...more });
    else this.omittedCount += 1;
  }

  private fail(verdict: VerdictName, message: string, count: number): void {
    const before = this.firsts.get(verdict);
    if (before === undefined) this.firsts.set(verdict, { message, count });
    else before.count += count;
  }

  /** Everything found, as plain data that can cross threads. */
  get record(): FindingRecord {
    const failures = [...this.firsts].map(([verdict, { message, count }]) => ({ verdict, message, count }));
    return { listed: this.listed, omitted: this.omittedCount, failures, codes: [...this.codes] };
  }

  /** Takes over what another list found: whatever finds no room still fails its verdict. */
  merge({ listed, omitted, failures, codes }: FindingRecord): void {
    for (const { verdict, message, count } of failures) this.fail(verdict, message, count);
    for (const code of codes) this.codes.add(code);
    const room = Math.max(0, this.max - this.listed.length);
    this.listed.push(...listed.slice(0, room));
    this.omittedCount += omitted + Math.max(0, listed.length - room);
  }

  /** Whether a finding of this code was made, listed or not. */
  has(code: FindingCode): boolean {
    return this.codes.has(code);
  }

  /** Ascending by leaf index, those about the whole first; else as found. */
  get findings(): readonly Finding[] {
    return [...this.listed].sort((a, b) => (a.index ?? -1) - (b.index ?? -1));
  }

  get omitted(): number {
    return this.omittedCount;
  }

  /** All findings, listed or not. */
  get count(): number {
    return this.listed.length + this.omittedCount;
  }

  /** Findings that fail a verdict, listed or not. */
  get failures(): number {
    let count = 0;
    for (const first of this.firsts.values()) count += first.count;
    return count;
  }

  get isOk(): boolean {
    return this.firsts.size === 0;
  }

  /** Basis of a verdict that fails: its first finding, and how many more; null if none fails it. */
  failureOf(verdict: VerdictName): string | null {
    const first = this.firsts.get(verdict);
    if (first === undefined) return null;
    return first.count === 1 ? first.message : `${first.message} (and ${first.count - 1} more)`;
  }
}
