/** Every bound of the formats, with its reason. Engine settings (queue, batch) are in ledger/limits.ts. */

/** Largest integer that every JSON reader represents exactly. */
export const SAFE_INTEGER_MAX: number = Number.MAX_SAFE_INTEGER;
/** Open arrays and objects, the outermost counts 1. Deeper input costs stack in every parser. */
export const JSON_DEPTH_MAX = 64;
/** Canonical event bytes accepted by default at append. */
export const EVENT_BYTES_DEFAULT: number = 1024 * 1024;
/** Canonical event bytes that every verifier accepts, and the most a ledger may be configured to. */
export const EVENT_BYTES_MAX: number = 16 * 1024 * 1024;
/** C2SP entry bundles carry a 16-bit length. */
export const ENTRY_BYTES_MAX = 65_535;
/** An action is a name, not a sentence. */
export const ACTION_BYTES_MAX = 128;
/** Fields of one event in scheme `fields`; each costs a digest in every receipt. */
export const FIELDS_MAX = 1_024;
/** Random bytes of one salt. */
export const SALT_BYTES = 16;
/** Origins fit the one-byte length of an ML-DSA-44 cosignature. */
export const ORIGIN_BYTES_MAX = 255;
/** Hashes in a tile of height 8. */
export const TILE_WIDTH = 256;
/** Hashes in an inclusion proof: the depth of a tree of 2^64 leaves. */
export const INCLUSION_HASHES_MAX = 64;
/** Hashes in a consistency proof (C2SP tlog-witness). */
export const CONSISTENCY_HASHES_MAX = 63;
/** Signature lines of one note; C2SP asks for at least 16. */
export const NOTE_SIGNATURES_MAX = 64;
/** Bytes of one signed note: 64 ML-DSA-44 lines fit. */
export const NOTE_BYTES_MAX: number = 256 * 1024;
/** Bytes of one policy file. */
export const POLICY_BYTES_MAX: number = 1024 * 1024;
/** Bytes of one receipt: the largest event, twice for escapes and digests, and its proof. */
export const RECEIPT_BYTES_MAX: number = 2 * EVENT_BYTES_MAX + 2 * NOTE_BYTES_MAX;
/** An entry time later than a verified outside time that covers it, by more than this, is a finding. */
export const TIME_SKEW_SECONDS_MAX = 300;
/** Findings that one report lists unless told otherwise; the rest are counted. */
export const FINDINGS_MAX = 1_000;
/** Bytes of control events of an export that are put in order together; in one that is in order by itself this bounds nothing. */
export const EXPORT_CONTROL_BYTES_MAX: number = 64 * 1024 * 1024;
/** Counters of signed sources in an export that are put in order together. */
export const EXPORT_COUNTERS_MAX: number = 1_000_000;
/** Paths of one filter that is proved: each is asked of every entry. */
export const FILTER_PATHS_MAX = 32;
/** Bytes of one such path. */
export const FILTER_PATH_BYTES_MAX = 1_024;
