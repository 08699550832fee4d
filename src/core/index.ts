/**
 * Everything that a program of an auditor needs to read and verify the formats, in Node and in browsers: pure functions, no
 * disk, no network, no keys but those that are handed in.
 */

export {
  type AnchorExamination,
  type ExamineAnchorsOptions,
  examineAnchors,
  type RecordedAnchor,
  type ShownAnchor,
} from "./anchor-evidence.ts";
export {
  type BitcoinHeader,
  bitcoinHeightsOf,
  formatBitcoinHeaders,
  parseBitcoinHeaders,
  verifyOts,
} from "./anchor-proof/bitcoin.ts";
export { type Certificate, parseCertificateFile } from "./anchor-proof/certificate.ts";
export { parseTimestampToken, verifyTimestamp } from "./anchor-proof/rfc3161.ts";
export {
  type AuthoredContent,
  authorMessage,
  verifyAuthorSignatures,
} from "./author-signature.ts";
export { type ByteSource, bytesSource } from "./byte-source.ts";
export {
  canonicalize,
  compareNames,
  isCanonical,
  type JsonObject,
  type JsonValue,
  parseCanonical,
  parseJson,
} from "./canonical-json.ts";
export { type Checkpoint, isOrigin, parseCheckpoint, parseLedgerCheckpoint } from "./checkpoint.ts";
export {
  assembleEvent,
  commitBody,
  commitFields,
  cutFields,
  type Digests,
  type Disclosed,
  type Disclosure,
  type Field,
  fieldDigest,
  openDisclosure,
  parseDisclosure,
} from "./commitment.ts";
export {
  type Contradiction,
  formatContradiction,
  parseContradiction,
  type VerifiedContradiction,
  verifyContradiction,
} from "./contradiction.ts";
export {
  CONTROL_ACTIONS,
  type ControlAction,
  type ControlEvent,
  idDigest,
  idGuard,
  isControlAction,
  keyEventMessage,
  parseControlEvent,
  signedIdDigest,
} from "./control-event.ts";
export { decodeBase64, decodeHex, encodeBase64, encodeHex } from "./encoding.ts";
export {
  type Entry,
  formatEntry,
  leafHashHex,
  parseCommitment,
  parseEntry,
  parseTime,
  type Scheme,
  ZERO_HASH_HEX,
} from "./entry.ts";
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
} from "./errors.ts";
export {
  type Actor,
  actorIdOf,
  type Event,
  type EventSignature,
  parseEvent,
  type Target,
  validateEvent,
} from "./event.ts";
export {
  type ExportContent,
  type ExportHeader,
  type ExportLine,
  type ExportSelection,
  parseExportHeader,
  parseExportLine,
} from "./export-format.ts";
export { FILE_HEAD_BYTES, type FileKind, recogniseFile } from "./file-kind.ts";
export { type FileLine, splitLines } from "./file-lines.ts";
export { type HashName, hashBytes, hashHex, sha256, sha256Hex } from "./hash.ts";
export { type CompactRange, createRange, EMPTY_ROOT, hashLeaf, hashNode } from "./merkle.ts";
export {
  formatVerifierKey,
  type NoteSignature,
  parseNote,
  parseVerifierKey,
  type SignedNote,
  spkiOfVerifierKey,
  type VerifiedSignature,
  type VerifierKey,
  verifyNote,
} from "./note.ts";
export {
  countOperators,
  formatPolicy,
  operatorsOf,
  type Policy,
  type PolicyAuthor,
  type PolicyOperator,
  type PolicyParts,
  parsePolicy,
  quorumReached,
  type VerifiedCheckpoint,
  verifyCheckpoint,
} from "./policy.ts";
export {
  createRangeVerifier,
  type RangeVerifier,
  verifyConsistency,
  verifyInclusion,
  verifySubtree,
} from "./proof.ts";
export { AuthenticTiles, type ObjectReader } from "./published-tiles.ts";
export {
  parseReceipt,
  type Receipt,
  type ReceiptContent,
  type VerifiedReceipt,
  verifyReceipt,
} from "./receipt.ts";
export {
  exitCodeOf,
  FINDING_CODES,
  type Finding,
  type FindingCode,
  type Pin,
  VERDICT_NAMES,
  type Verdict,
  type VerdictName,
  type VerdictStatus,
  type VerifyReport,
} from "./report.ts";
export {
  ALGORITHM_NAMES,
  type Algorithm,
  checkSpki,
  isAlgorithm,
  keyIdOf,
  verifySignature,
} from "./signature/table.ts";
export {
  type Bracket,
  bracketOf,
  type Timeline,
  type TimelineNotAfter,
  type TimelineNotBefore,
  timelineOf,
} from "./timeline.ts";
export { formatTlogProof, parseTlogProof, type TlogProof, verifyTlogProof } from "./tlog-proof.ts";
export { reportCheckpoint } from "./verify-checkpoint.ts";
export { type VerifyExportOptions, type VerifyFileOptions, verifyExport } from "./verify-export.ts";
export { type VerifyPackageOptions, verifyPackage } from "./verify-package.ts";
export { type PublishedVerification, type VerifyPublishedOptions, verifyPublished } from "./verify-published.ts";
export { reportReceipt } from "./verify-receipt.ts";
