/** Witnesses: the client that a ledger asks them with, and a conforming tlog-witness server with its memory. */
export type { Witness, WitnessAnswer, WitnessRequest } from "../ledger/witness.ts";
export { type HttpWitnessOptions, httpWitness } from "./client.ts";
export { parseWitnessConfig, type WitnessConfig } from "./config.ts";
export { contradictionOf } from "./evidence.ts";
export { type ListenOptions, listenWitness, type WitnessListener } from "./listen.ts";
export { createWitness, type WitnessServer, type WitnessServerOptions } from "./server.ts";
export {
  sqliteWitnessStore,
  type UpdateResult,
  type WitnessEvidence,
  type WitnessedHead,
  type WitnessStore,
  type WitnessStoreOptions,
} from "./witness-store.ts";
