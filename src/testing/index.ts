/** For tests of programs that use a ledger, and for implementers of the ports: conformance suites, fakes, seeds. */
export { seededRandom } from "../ledger/seeded-random.ts";
export { type MemoryArchive, memoryArchive } from "../storage/archive/memory.ts";
export * from "./archive-suite.ts";
export { createTestLedger, type TestLedger } from "./create-test-ledger.ts";
export * from "./faulty-archive.ts";
export * from "./faulty-storage.ts";
export * from "./lock-store-suite.ts";
export * from "./signer-suite.ts";
export { type SimulatedClock, simulatedClock } from "./simulated-clock.ts";
export * from "./storage-suite.ts";
export type { SuiteTools } from "./suite.ts";
