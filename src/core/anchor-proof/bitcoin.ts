import { bytesEqual, decodeHex, encodeHex } from "../encoding.ts";
import { MalformedError, VerificationError } from "../errors.ts";
import { sha256 } from "../hash.ts";
import { integerOfLittleEndian } from "../signature/public-key.ts";
import { listOtsLeaves, type OtsFile, type OtsLeaf, parseOtsFile } from "./opentimestamps.ts";

/** Block headers, and what an OpenTimestamps proof says under them. */

/**
 * A block header at its height. Its work alone does not place it in the chain: whoever hands it in says that it is there, on
 * the word of a node, of explorers that agree, or of a file that the reader pins.
 */
export interface BitcoinHeader {
  readonly height: number;
  /** 80 bytes. */
  readonly header: Uint8Array;
}

/** The easiest target of the main chain, in the header's compact form. */
export const BITCOIN_BITS_MAX = 0x1d00ffff;
/** A block's time may run ahead of the network's by two hours, and behind it by little more: reported as a bound on either side. */
export const BITCOIN_TIME_SLACK_SECONDS = 7_200;
/** Headers of one file, which a reader pins. */
export const BITCOIN_HEADERS_MAX = 10_000;

export interface BitcoinBlock {
  /** As explorers show it: reversed. */
  readonly hash: string;
  /** In the order of the header. */
  readonly merkleRoot: Uint8Array;
  /** Seconds since 1970, as the miner set it. */
  readonly time: number;
}

/**
 * Fields of 80 header bytes whose hash meets their own target. `proof-invalid` for another size, a target that is none or easier than
 * `bitsMax`, and a hash that misses the target. spec/anchors.md 23.
 */
export function parseBitcoinHeader(header: Uint8Array, bitsMax: number = BITCOIN_BITS_MAX): BitcoinBlock {
  if (header.length !== 80)
    throw new VerificationError("proof-invalid", `bitcoin header: expected 80 bytes, got ${header.length}`);
  const view = new DataView(header.buffer, header.byteOffset, header.byteLength);
  const target = targetOf(view.getUint32(72, true));
  const digest = sha256(sha256(header));
  if (target > targetOf(bitsMax))
    throw new VerificationError("proof-invalid", "bitcoin header: its target is easier than any of the chain");
  if (integerOfLittleEndian(digest) > target)
    throw new VerificationError("proof-invalid", "bitcoin header: its hash misses its target");
  return {
    hash: encodeHex(Uint8Array.from(digest).reverse()),
    merkleRoot: Uint8Array.from(header.subarray(36, 68)),
    time: view.getUint32(68, true),
  };
}

function targetOf(bits: number): bigint {
  const exponent = bits >>> 24;
  const mantissa = bits & 0x7fffff;
  if ((bits & 0x800000) !== 0 || mantissa === 0 || exponent > 32) {
    throw new VerificationError("proof-invalid", "bitcoin header: expected a target");
  }
  return exponent < 3 ? BigInt(mantissa) >> BigInt(8 * (3 - exponent)) : BigInt(mantissa) << BigInt(8 * (exponent - 3));
}

/** What a proof shows: its digest existed at `notAfterMs`, if the header is that of the chain at its height, and the proof itself not before `notBeforeMs`. */
export interface VerifiedOts {
  readonly height: number;
  readonly blockHash: string;
  /** Seconds since 1970, as the miner set it: not a precise time. */
  readonly blockTime: number;
  /** Milliseconds since 1970: the block's time and two hours. */
  readonly notAfterMs: number;
  /** Two hours before the latest block that attests it: the proof leads to that block, so it was not there before. */
  readonly notBeforeMs: number;
  /** Heights of attestations that their header contradicts: a calendar made them up. They take nothing from one that holds. */
  readonly contradicted: readonly number[];
}

export interface VerifyOtsOptions {
  /** SHA-256 of what was stamped: of the anchored note. */
  readonly digest: Uint8Array;
  /** Headers that the reader trusts to be in the chain, each at its height. */
  readonly headers: readonly BitcoinHeader[];
  /** Easiest target that is accepted, in compact form. Another than the main chain's is for test networks. */
  readonly bitsMax?: number;
}

/**
 * Verifies a `.ots` file offline and gives the earliest bound that its Bitcoin attestations reach under `headers`. An attestation
 * counts if its message is the Merkle root of the header at its height and comes from the digest by SHA-256, append and prepend
 * alone. `malformed-proof`: no such file; `proof-invalid`: another digest or file hash, a header that is none or has too
 * little work, or no attestation that holds: pending ones prove nothing, nor do those of other chains.
 */
export function verifyOts(proof: Uint8Array, options: VerifyOtsOptions): VerifiedOts {
  const file = parseStamp(proof, options.digest);
  const leaves = bitcoinLeaves(file);
  const holding: Omit<VerifiedOts, "contradicted" | "notBeforeMs">[] = [];
  const objections = new Map<number, string>();
  for (const { height, header } of options.headers) {
    const atHeight = leaves.filter((leaf) => leaf.height === height);
    if (atHeight.length === 0) continue;
    const block = parseBitcoinHeader(header, options.bitsMax);
    for (const leaf of atHeight) {
      const objection = objectionTo(leaf, block);
      if (objection !== null) objections.set(height, objection);
      else
        holding.push({
          height,
          blockHash: block.hash,
          blockTime: block.time,
          notAfterMs: 1_000 * (block.time + BITCOIN_TIME_SLACK_SECONDS),
        });
    }
  }
  const contradicted = [...objections.keys()];
  const [earliest] = holding.sort((a, b) => a.notAfterMs - b.notAfterMs);
  const latest = holding.at(-1);
  if (earliest !== undefined && latest !== undefined)
    return { ...earliest, notBeforeMs: 1_000 * (latest.blockTime - BITCOIN_TIME_SLACK_SECONDS), contradicted };
  const details = { heights: leaves.map((leaf) => leaf.height) };
  const [objection] = objections.values();
  const problem =
    objection ??
    (leaves.length === 0
      ? "it is pending: no block attests it yet"
      : "no header of a block that attests it is at hand");
  throw new VerificationError("proof-invalid", `opentimestamps proof: ${problem}`, { details });
}

/** Heights whose headers a reader needs in order to verify a proof for `digest`. Errors as `verifyOts`. */
export function bitcoinHeightsOf(proof: Uint8Array, digest: Uint8Array): readonly number[] {
  const heights = bitcoinLeaves(parseStamp(proof, digest)).map((leaf) => leaf.height);
  return [...new Set(heights)].sort((a, b) => a - b);
}

function parseStamp(proof: Uint8Array, digest: Uint8Array): OtsFile {
  if (digest.length !== 32)
    throw new RangeError(`opentimestamps proof: expected a digest of 32 bytes, got ${digest.length}`);
  const file = parseOtsFile(proof);
  if (file.fileHash !== "sha256") throw invalid(`it stamps a ${file.fileHash} digest`);
  if (!bytesEqual(file.timestamp.message, digest)) throw invalid("it stamps another digest");
  return file;
}

interface BitcoinLeaf extends OtsLeaf {
  readonly height: number;
}

function bitcoinLeaves({ timestamp }: OtsFile): readonly BitcoinLeaf[] {
  return listOtsLeaves(timestamp).flatMap((leaf) =>
    leaf.attestation.kind === "bitcoin" ? [{ ...leaf, height: leaf.attestation.height }] : [],
  );
}

const SOUND = new Set(["append", "prepend", "sha256"]);

function objectionTo({ message, path, height }: BitcoinLeaf, block: BitcoinBlock): string | null {
  // A broken hash on the way would let two digests share one attestation.
  const weak = path.find((operation) => !SOUND.has(operation.name));
  if (weak !== undefined) return `${weak.name} stands between digest and block`;
  return bytesEqual(message, block.merkleRoot) ? null : `block ${height} has another Merkle root`;
}

const HEADER_LINE = /^(0|[1-9][0-9]{0,8}) ([0-9a-f]{160})$/;

/**
 * Headers of a file: one line each, height, space, 160 hex digits, newline; empty lines and lines that begin with # are
 * skipped. `malformed-proof` for any other line, a height that stands twice, and more than 10,000 headers.
 */
export function parseBitcoinHeaders(text: string): readonly BitcoinHeader[] {
  const headers = new Map<number, BitcoinHeader>();
  for (const [i, line] of text.split("\n").entries()) {
    if (line === "" || line.startsWith("#")) continue;
    const match = HEADER_LINE.exec(line);
    if (match === null)
      throw new MalformedError(
        "malformed-proof",
        `bitcoin headers, line ${i + 1}: expected a height and 160 hex digits`,
      );
    const height = Number(match[1]);
    if (headers.has(height))
      throw new MalformedError(
        "malformed-proof",
        `bitcoin headers, line ${i + 1}: height ${height} stands there twice`,
      );
    if (headers.size === BITCOIN_HEADERS_MAX)
      throw new MalformedError("malformed-proof", `bitcoin headers: more than ${BITCOIN_HEADERS_MAX}`);
    headers.set(height, { height, header: decodeHex(match[2]!, { sizeBytes: 80, code: "malformed-proof" }) });
  }
  return [...headers.values()];
}

/** The file that `parseBitcoinHeaders` reads, by height. */
export function formatBitcoinHeaders(headers: readonly BitcoinHeader[]): string {
  return [...headers]
    .sort((a, b) => a.height - b.height)
    .map(({ height, header }) => `${height} ${encodeHex(header)}\n`)
    .join("");
}

function invalid(problem: string): VerificationError {
  return new VerificationError("proof-invalid", `opentimestamps proof: ${problem}`);
}
