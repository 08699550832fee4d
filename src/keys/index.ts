/** Keys of this process and this machine: log and author signers, key files and variables, the state directory. */
export type { AuthorSigner } from "../core/author-signature.ts";
export type { Algorithm } from "../core/signature/table.ts";
export type { Signer } from "../ledger/signer.ts";
export {
  authorSignerFromJwk,
  authorSignerFromPem,
  authorSignerFromPkcs8,
  authorSignerFromSeed,
  generateAuthorKey,
} from "./author-signer.ts";
export { keyFromEnv, signerFromEnv } from "./env-signer.ts";
export { type ExportOptions, exportJwk, exportPem, exportPkcs8 } from "./key-export.ts";
export { type LoadedKey, logSignerFromFile } from "./key-file.ts";
export type { PemOptions } from "./key-text.ts";
export {
  generateLogKey,
  isLocalSigner,
  type LogAlgorithm,
  logSignerFromJwk,
  logSignerFromPem,
  logSignerFromPkcs8,
  logSignerFromSeed,
} from "./local-signer.ts";
export type { SeedAlgorithm } from "./private-key.ts";
export { openState, type PathRecord, type State } from "./state-directory.ts";
export {
  type ImportReport,
  parseStateExport,
  type RememberedLedger,
  type StateExport,
  type StateExportOptions,
} from "./state-export.ts";
export { type StateLocation, stateDirectoryOf } from "./state-location.ts";
