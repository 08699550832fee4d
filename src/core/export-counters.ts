import { sourceFinding } from "./entry-verifier.ts";
import type { FindingList } from "./finding-list.ts";
import { EXPORT_COUNTERS_MAX } from "./limits.ts";

interface Sighting {
  readonly index: number;
  readonly id: string;
  readonly counter: number;
}

/**
 * Counters of signed sources, judged in the order of the entries: spec/export.md S16. Holds one number a source, and up to a
 * million sightings to put lines in order that stand in disorder.
 */
export class ExportCounters {
  private readonly last = new Map<string, { lastCounter: number; lastIndex: number }>();
  private readonly findings: FindingList;
  private waiting: Sighting[] = [];

  constructor(findings: FindingList) {
    this.findings = findings;
  }

  add(sighting: Sighting): void {
    this.waiting.push(sighting);
    if (this.waiting.length >= EXPORT_COUNTERS_MAX) this.judge(0);
  }

  /** Judges all that was added. `erased`: how many entries nobody can look into any more. */
  judge(erased: number): void {
    for (const { id, counter, index } of this.waiting.sort((a, b) => a.index - b.index)) {
      const before = this.last.get(id);
      if (before === undefined) {
        this.last.set(id, { lastCounter: counter, lastIndex: index });
        continue;
      }
      const finding = sourceFinding(id, before, { counter, index });
      if (finding !== null) {
        const { code, message, ...more } = finding;
        const hint =
          code === "source-gap" && erased > 0 ? `; ${erased} erased entries, which explain none of them` : "";
        this.findings.add(code, `${message}${hint}`, { index, ...more });
      }
      before.lastCounter = Math.max(before.lastCounter, counter);
      before.lastIndex = index;
    }
    this.waiting = [];
  }
}
