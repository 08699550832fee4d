import type { Clock } from "../ledger/clock.ts";

/** A clock that stands still until it is told to move, and the timers that then fire. */
export interface SimulatedClock extends Clock {
  /** Moves wall and monotonic time forward and runs every timer that falls due, in order of time. */
  advance(ms: number): void;
  /** Steps the wall clock alone, as a wrong time server would. */
  step(ms: number): void;
}

/** Starts at `startMs` (default 2026-01-01T00:00:00Z). */
export function simulatedClock(startMs: number = Date.UTC(2026, 0, 1)): SimulatedClock {
  let wall = startMs;
  let monotonic = 0;
  let timers: { readonly at: number; readonly run: () => void }[] = [];
  return {
    now: () => wall,
    monotonic: () => monotonic,
    after(delayMs, run) {
      const timer = { at: monotonic + delayMs, run };
      timers.push(timer);
      return () => {
        timers = timers.filter((other) => other !== timer);
      };
    },
    advance(ms) {
      const end = monotonic + ms;
      for (;;) {
        const due = timers.filter((timer) => timer.at <= end).sort((a, b) => a.at - b.at)[0];
        if (due === undefined) break;
        timers = timers.filter((timer) => timer !== due);
        wall += Math.max(0, due.at - monotonic);
        monotonic = Math.max(monotonic, due.at);
        due.run();
      }
      wall += end - monotonic;
      monotonic = end;
    },
    step(ms) {
      wall += ms;
    },
  };
}
