/** What every measuring child process shares: its options, the clock, its memory and how it reports. */
import { readFileSync } from "node:fs";

/** Options of this step, handed over by the runner as one JSON argument. */
export function readOptions() {
  return JSON.parse(process.argv[2] ?? "{}");
}

export function seconds(since) {
  return (performance.now() - since) / 1000;
}

/**
 * Peak resident memory of this process in MB. VmHWM belongs to the program image; `ru_maxrss` may be inherited from the
 * process that forked it, so it is only the fallback.
 */
export function peakMemoryMb() {
  try {
    const line = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8"));
    if (line) return Number(line[1]) / 1024;
  } catch {
    // Not Linux.
  }
  return process.resourceUsage().maxRSS / 1024;
}

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** `name` "" is the step itself. */
export function rate(name, count, elapsedSeconds, unit = "entries/s") {
  return { name, unit, better: "higher", value: count / elapsedSeconds };
}

export function amount(name, value, unit) {
  return { name, unit, better: "lower", value };
}

/** The last line of standard output is the answer; anything before it is diagnostics. */
export function report(values, info = {}) {
  process.stdout.write(`${JSON.stringify({ values, info })}\n`);
}
