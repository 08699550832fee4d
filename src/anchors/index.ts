/** Anchors: time from outside, for checkpoints. Clients of time-stamping authorities, of calendars, and of whoever knows Bitcoin's chain. */
export type { Anchor, AnchorAnswer, AnchorKind } from "../ledger/anchor.ts";
export type { AnchorResult, AnchorStatus } from "../ledger/anchoring.ts";
export { type BitcoinHeaderSource, readHeaders } from "../ledger/header-source.ts";
export type { AnchorOptions, LedgerAnchor } from "../ledger/ledger.ts";
export {
  agreeingHeaders,
  esploraHeaders,
  headersAt,
  type RpcHeadersOptions,
  readHeadersFile,
  rpcHeaders,
} from "./bitcoin-headers.ts";
export {
  type OpenTimestampsAnchorOptions,
  openTimestampsAnchor,
  PUBLIC_CALENDARS,
  PUBLIC_UPGRADE_CALENDARS,
} from "./opentimestamps.ts";
export { type Rfc3161AnchorOptions, rfc3161Anchor } from "./rfc3161.ts";
