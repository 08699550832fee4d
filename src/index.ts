/** Front door of the package: named re-exports only. */

export type { AuthorSigner } from "./core/author-signature.ts";
export {
  ConflictError,
  type ErrorCode,
  errorFromJson,
  FatalError,
  isTallystickError,
  MalformedError,
  OverloadedError,
  PolicyError,
  TallystickError,
  UnavailableError,
  VerificationError,
} from "./core/errors.ts";
export type { Event } from "./core/event.ts";
export {
  exitCodeOf,
  type Finding,
  type FindingCode,
  type Verdict,
  type VerdictName,
  type VerifyReport,
} from "./core/report.ts";
export type { Anchor } from "./ledger/anchor.ts";
export type { AnchorResult } from "./ledger/anchoring.ts";
export type { AppendOptions } from "./ledger/appender.ts";
export type { Archive, ArchiveReader } from "./ledger/archive.ts";
export type { Clock } from "./ledger/clock.ts";
export type { Erased, EraseOptions, EraseTarget } from "./ledger/erase.ts";
export type { ExportOptions } from "./ledger/export.ts";
export type { BitcoinHeaderSource } from "./ledger/header-source.ts";
export type { AnchorOptions, LedgerAnchor, Level, ProveOptions } from "./ledger/ledger.ts";
export type { LedgerLimits } from "./ledger/limits.ts";
export type { LockRecord, LockStore } from "./ledger/lock-store.ts";
export type { Appended } from "./ledger/placement.ts";
export type { Published } from "./ledger/publish.ts";
export type { QueryFilter, QueryPage } from "./ledger/query.ts";
export type { Random } from "./ledger/random.ts";
export type { Signer } from "./ledger/signer.ts";
export type { LedgerStats } from "./ledger/stats.ts";
export type { LedgerStatus } from "./ledger/status.ts";
export type { LedgerStorage } from "./ledger/storage.ts";
export type { LedgerEntry } from "./ledger/stored-event.ts";
export { assertVerified, type VerifyLedgerOptions } from "./ledger/verify-ledger.ts";
export {
  Ledger,
  type LedgerFactory,
  type MemoryOptions,
  type OpenOptions,
  type RecoverOptions,
  recover,
  reindex,
} from "./open.ts";
export { type MirrorOptions, mirror } from "./published.ts";
export { type VerifyOptions, verify } from "./verify.ts";
