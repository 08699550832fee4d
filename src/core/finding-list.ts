import { FINDINGS_MAX } from "./limits.ts";
import { FINDING_CODES, type Finding, type FindingCode, type VerdictName } from "./report.ts";

/** Findings of one verification, of which a hostile file may have one a byte: a bounded list that fails the right verdicts even when it is full. */
export class FindingList {
  private readonly max: number;
  private readonly listed: Finding[] = [];
  private readonly firsts = new Map<VerdictName, { readonly message: string; count: number }>();
  private omittedCount = 0;

  constructor(max: number = FINDINGS_MAX) {
    this.max = max;
  }

  add(code: FindingCode, message: string, more: Omit<Finding, "code" | "message"> = {}): void {
    const verdict = FINDING_CODES[code];
    if (verdict !== null) {
      const before = this.firsts.get(verdict);
      if (before === undefined) this.firsts.set(verdict, { message, count: 1 });
      else before.count += 1;
    }
    if (this.listed.length < this.max) this.listed.push({ code, message, ...more });
    else this.omittedCount += 1;
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
