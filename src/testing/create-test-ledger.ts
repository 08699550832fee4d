import { Ledger, type MemoryOptions } from "../open.ts";
import { type SimulatedClock, simulatedClock } from "./simulated-clock.ts";

export interface TestLedger extends AsyncDisposable {
  readonly ledger: Ledger;
  /** Owns the ledger's time: nothing happens by itself until it is advanced. */
  readonly clock: SimulatedClock;
}

/** A ledger in memory with a fixed seed and a clock of your own: every run of a test makes the same bytes. */
export async function createTestLedger(options: MemoryOptions = {}): Promise<TestLedger> {
  const clock = simulatedClock();
  const ledger = await Ledger.memory({ seed: "tallystick/test", clock, ...options });
  return { ledger, clock, [Symbol.asyncDispose]: () => ledger.close() };
}
