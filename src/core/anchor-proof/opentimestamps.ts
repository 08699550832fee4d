import { ripemd160, sha1 } from "@noble/hashes/legacy.js";
import { keccak_256 } from "@noble/hashes/sha3.js";
import { bytesEqual, concatBytes, decodeHex, encodeHex, encodeUtf8 } from "../encoding.ts";
import { MalformedError, VerificationError } from "../errors.ts";
import { sha256 } from "../hash.ts";

/**
 * OpenTimestamps proofs: a tree of operations from a digest to attestations that the tree's messages existed. What is accepted
 * writes back to the same bytes. Everything read is attacker-controlled. Spec: spec/anchors.md.
 */

/** Bytes of a `.ots` file: the answers of a dozen calendars, upgraded. */
export const OTS_BYTES_MAX: number = 64 * 1024;
/** Bytes of one calendar's answer. */
export const OTS_ANSWER_BYTES_MAX = 10_000;
/** Operations in one tree: with messages of at most 4 kB this bounds the work at some milliseconds. */
export const OTS_OPERATIONS_MAX = 4_096;
/** Nodes from the root to a leaf, both included, as in the reference implementation. */
export const OTS_DEPTH_MAX = 256;
/** Bytes of a message, of an argument and of a result. */
const MESSAGE_BYTES_MAX = 4_096;
/** Leaves room for the header of the file and the operations of `startOts`. */
const MERGED_BYTES_MAX: number = OTS_BYTES_MAX - 128;
const ATTESTATION_BYTES_MAX = 8_192;
const URI_BYTES_MAX = 1_000;

const MAGIC: Uint8Array = decodeHex("004f70656e54696d657374616d7073000050726f6f6600bf89e2e884e89294", {
  code: "malformed-proof",
});
const VERSION = 1;

export type OtsOperationName =
  | "append"
  | "prepend"
  | "reverse"
  | "hexlify"
  | "sha1"
  | "ripemd160"
  | "sha256"
  | "keccak256";

interface OperationRow {
  readonly name: OtsOperationName;
  readonly tag: number;
  readonly hasArgument: boolean;
  readonly apply: (message: Uint8Array, argument: Uint8Array) => Uint8Array;
}

const OPERATIONS: readonly OperationRow[] = [
  { name: "sha1", tag: 0x02, hasArgument: false, apply: (message) => sha1(message) },
  { name: "ripemd160", tag: 0x03, hasArgument: false, apply: (message) => ripemd160(message) },
  { name: "sha256", tag: 0x08, hasArgument: false, apply: (message) => sha256(message) },
  { name: "keccak256", tag: 0x67, hasArgument: false, apply: (message) => keccak_256(message) },
  { name: "append", tag: 0xf0, hasArgument: true, apply: (message, argument) => concatBytes(message, argument) },
  { name: "prepend", tag: 0xf1, hasArgument: true, apply: (message, argument) => concatBytes(argument, message) },
  // Not reverse(): the message belongs to the node above.
  { name: "reverse", tag: 0xf2, hasArgument: false, apply: (message) => Uint8Array.from(message).reverse() },
  { name: "hexlify", tag: 0xf3, hasArgument: false, apply: (message) => encodeUtf8(encodeHex(message)) },
];
const BY_TAG: ReadonlyMap<number, OperationRow> = new Map(OPERATIONS.map((row) => [row.tag, row]));
const BY_NAME: ReadonlyMap<OtsOperationName, OperationRow> = new Map(OPERATIONS.map((row) => [row.name, row]));

/** Hashes of the stamped file, with the size of their digests. */
const FILE_HASHES: Readonly<Record<"sha1" | "ripemd160" | "sha256", number>> = { sha1: 20, ripemd160: 20, sha256: 32 };
export type OtsFileHash = keyof typeof FILE_HASHES;

export type OtsAttestation =
  /** A calendar's promise: it says nothing about time until it is upgraded. Never fetched unless the address is allowed. */
  | { readonly kind: "pending"; readonly uri: string }
  | { readonly kind: "bitcoin" | "litecoin" | "ethereum"; readonly height: number }
  /** Kept as it is. Tag of 8 bytes. */
  | { readonly kind: "unknown"; readonly tag: Uint8Array; readonly payload: Uint8Array };

export interface OtsOperation {
  readonly name: OtsOperationName;
  /** 1 to 4,096 bytes for `append` and `prepend`, else empty. */
  readonly argument: Uint8Array;
}

export type OtsItem =
  | { readonly kind: "attestation"; readonly attestation: OtsAttestation }
  | { readonly kind: "operation"; readonly operation: OtsOperation; readonly next: OtsTimestamp };

/** A node of the tree: statements about one message, at least one, in the order of the file. */
export interface OtsTimestamp {
  readonly message: Uint8Array;
  readonly items: readonly OtsItem[];
}

/** A detached proof (`.ots`). */
export interface OtsFile {
  readonly fileHash: OtsFileHash;
  /** The tree; its message is the digest of the file. */
  readonly timestamp: OtsTimestamp;
}

const TAGS: Readonly<Record<Exclude<OtsAttestation["kind"], "unknown">, string>> = {
  pending: "83dfe30d2ef90c8e",
  bitcoin: "0588960d73d71901",
  litecoin: "06869a0d73d71b45",
  ethereum: "30fe8087b5c7ead7",
};
const KINDS: ReadonlyMap<string, keyof typeof TAGS> = new Map(
  Object.entries(TAGS).map(([kind, tag]) => [tag, kind as keyof typeof TAGS]),
);
const URI = /^[A-Za-z0-9\-._/:]*$/;

/** A `.ots` file. `malformed-proof` for anything else, a rest behind it, and what is beyond the bounds above. */
export function parseOtsFile(bytes: Uint8Array): OtsFile {
  const input = openInput(bytes, OTS_BYTES_MAX);
  if (!bytesEqual(input.take(Math.min(MAGIC.length, bytes.length)), MAGIC))
    throw malformed("expected the header of an .ots file");
  const version = input.byte();
  if (version !== VERSION) throw malformed(`unknown version ${version}`);
  const tag = input.byte();
  const fileHash = BY_TAG.get(tag)?.name;
  if (fileHash === undefined || !Object.hasOwn(FILE_HASHES, fileHash)) throw malformed(`unknown file hash ${tag}`);
  const digest = input.take(FILE_HASHES[fileHash as OtsFileHash]);
  const timestamp = readTimestamp(input, digest, OTS_DEPTH_MAX);
  input.end();
  return { fileHash: fileHash as OtsFileHash, timestamp };
}

/** A calendar's answer, which continues from `message`. `malformed-proof` as above, and for more than 10,000 bytes. */
export function parseOtsTimestamp(bytes: Uint8Array, message: Uint8Array): OtsTimestamp {
  const input = openInput(bytes, OTS_ANSWER_BYTES_MAX);
  const timestamp = readTimestamp(input, message, OTS_DEPTH_MAX);
  input.end();
  return timestamp;
}

interface Input {
  byte(): number;
  take(sizeBytes: number): Uint8Array;
  /** A varuint of at most 2^53−1. */
  number(): number;
  varbytes(bounds: { readonly min: number; readonly max: number }): Uint8Array;
  countOperation(): void;
  end(): void;
}

function openInput(bytes: Uint8Array, sizeMax: number): Input {
  if (bytes.length > sizeMax) throw malformed(`expected at most ${sizeMax} bytes, got ${bytes.length}`);
  let offset = 0;
  let operations = 0;
  const input: Input = {
    byte: () => input.take(1)[0]!,
    take(sizeBytes) {
      if (sizeBytes > bytes.length - offset) throw malformed("it ends too early");
      offset += sizeBytes;
      return Uint8Array.from(bytes.subarray(offset - sizeBytes, offset));
    },
    number() {
      let value = 0;
      for (let scale = 1; ; scale *= 128) {
        const byte = input.byte();
        value += (byte & 0x7f) * scale;
        if (!Number.isSafeInteger(value)) throw malformed("a number above 2^53-1");
        if (byte >= 0x80) continue;
        // A zero byte at the end of more than one is a second spelling of the same number.
        if (byte === 0 && scale > 1) throw malformed("a number that is not minimal");
        return value;
      }
    },
    varbytes({ min, max }) {
      const length = input.number();
      if (length < min || length > max) throw malformed(`expected ${min} to ${max} bytes, got ${length}`);
      return input.take(length);
    },
    countOperation() {
      if (++operations > OTS_OPERATIONS_MAX) throw malformed(`more than ${OTS_OPERATIONS_MAX} operations`);
    },
    end() {
      if (offset !== bytes.length) throw malformed(`${bytes.length - offset} bytes behind its end`);
    },
  };
  return input;
}

function readTimestamp(input: Input, message: Uint8Array, depthLeft: number): OtsTimestamp {
  if (depthLeft === 0) throw malformed(`nested deeper than ${OTS_DEPTH_MAX}`);
  const items: OtsItem[] = [];
  for (;;) {
    const tag = input.byte();
    const more = tag === 0xff;
    items.push(readItem(input, more ? input.byte() : tag, message, depthLeft));
    if (!more) return { message, items };
  }
}

function readItem(input: Input, tag: number, message: Uint8Array, depthLeft: number): OtsItem {
  if (tag === 0x00) return { kind: "attestation", attestation: readAttestation(input) };
  const row = BY_TAG.get(tag);
  if (row === undefined) throw malformed(`unknown operation ${encodeHex(Uint8Array.of(tag))}`);
  input.countOperation();
  const argument = row.hasArgument ? input.varbytes({ min: 1, max: MESSAGE_BYTES_MAX }) : new Uint8Array();
  const operation: OtsOperation = { name: row.name, argument };
  return {
    kind: "operation",
    operation,
    next: readTimestamp(input, applyOperation(operation, message), depthLeft - 1),
  };
}

function readAttestation(input: Input): OtsAttestation {
  const tag = input.take(8);
  const payload = input.varbytes({ min: 0, max: ATTESTATION_BYTES_MAX });
  const kind = KINDS.get(encodeHex(tag));
  if (kind === undefined) return { kind: "unknown", tag, payload };
  const inner = openInput(payload, ATTESTATION_BYTES_MAX);
  if (kind !== "pending") {
    const height = inner.number();
    inner.end();
    return { kind, height };
  }
  const uri = String.fromCharCode(...inner.varbytes({ min: 0, max: URI_BYTES_MAX }));
  inner.end();
  if (!URI.test(uri)) throw malformed("a calendar address with other characters than A-Z a-z 0-9 - . _ / :");
  return { kind, uri };
}

/** Result of an operation. `malformed-proof` for a message or result that is empty or above 4,096 bytes. */
function applyOperation({ name, argument }: OtsOperation, message: Uint8Array): Uint8Array {
  if (message.length > MESSAGE_BYTES_MAX) throw malformed(`a message above ${MESSAGE_BYTES_MAX} bytes`);
  const result = BY_NAME.get(name)!.apply(message, argument);
  if (result.length < 1 || result.length > MESSAGE_BYTES_MAX) throw malformed(`a result of ${result.length} bytes`);
  return result;
}

/** Bytes of a `.ots` file, its items in the order they have; `normaliseOts` gives the reference implementation's order. */
export function formatOtsFile({ fileHash, timestamp }: OtsFile): Uint8Array {
  if (timestamp.message.length !== FILE_HASHES[fileHash]) {
    throw new RangeError(
      `formatOtsFile: expected a digest of ${FILE_HASHES[fileHash]} bytes, got ${timestamp.message.length}`,
    );
  }
  const header = Uint8Array.of(VERSION, BY_NAME.get(fileHash)!.tag);
  return concatBytes(MAGIC, header, timestamp.message, formatOtsTimestamp(timestamp));
}

/** Bytes of a tree without its message, as calendars answer. */
export function formatOtsTimestamp(timestamp: OtsTimestamp): Uint8Array {
  const parts: Uint8Array[] = [];
  writeTimestamp(timestamp, parts);
  return concatBytes(...parts);
}

function writeTimestamp({ items }: OtsTimestamp, parts: Uint8Array[]): void {
  if (items.length === 0) throw new RangeError("formatOtsTimestamp: expected at least one item in each node");
  for (const [i, item] of items.entries()) {
    if (i < items.length - 1) parts.push(Uint8Array.of(0xff));
    if (item.kind === "attestation") {
      const { tag, payload } = encodeAttestation(item.attestation);
      parts.push(Uint8Array.of(0x00), tag, encodeNumber(payload.length), payload);
    } else {
      parts.push(encodeOperation(item.operation));
      writeTimestamp(item.next, parts);
    }
  }
}

function encodeOperation({ name, argument }: OtsOperation): Uint8Array {
  const { tag, hasArgument } = BY_NAME.get(name)!;
  return hasArgument ? concatBytes(Uint8Array.of(tag), encodeNumber(argument.length), argument) : Uint8Array.of(tag);
}

function encodeAttestation(attestation: OtsAttestation): { readonly tag: Uint8Array; readonly payload: Uint8Array } {
  if (attestation.kind === "unknown") return attestation;
  const tag = decodeHex(TAGS[attestation.kind], { code: "malformed-proof" });
  if (attestation.kind !== "pending") return { tag, payload: encodeNumber(attestation.height) };
  const uri = encodeUtf8(attestation.uri);
  return { tag, payload: concatBytes(encodeNumber(uri.length), uri) };
}

/** Unsigned LEB128. */
function encodeNumber(value: number): Uint8Array {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 128; rest = Math.floor(rest / 128)) bytes.push(0x80 | (rest % 128));
  return Uint8Array.from([...bytes, rest]);
}

/**
 * The same statements in the reference implementation's order, each once: attestations by tag, then by height, address or
 * payload; operations by tag, then by argument; equal operations made one.
 */
export function normaliseOts({ message, items }: OtsTimestamp): OtsTimestamp {
  const attestations = new Map<string, OtsItem & { readonly kind: "attestation" }>();
  const operations = new Map<string, OtsItem & { readonly kind: "operation" }>();
  for (const item of items) {
    if (item.kind === "attestation") {
      const { tag, payload } = encodeAttestation(item.attestation);
      attestations.set(`${encodeHex(tag)}${encodeHex(payload)}`, item);
      continue;
    }
    const key = encodeHex(Uint8Array.of(BY_NAME.get(item.operation.name)!.tag)) + encodeHex(item.operation.argument);
    const known = operations.get(key);
    const next = known === undefined ? item.next : { ...item.next, items: [...known.next.items, ...item.next.items] };
    operations.set(key, { ...item, next });
  }
  return {
    message,
    items: [
      ...[...attestations.values()].sort((a, b) => compareAttestations(a.attestation, b.attestation)),
      ...[...operations.entries()]
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([, item]): OtsItem => ({ ...item, next: normaliseOts(item.next) })),
    ],
  };
}

function compareAttestations(a: OtsAttestation, b: OtsAttestation): number {
  const [first, second] = [encodeAttestation(a), encodeAttestation(b)];
  const [firstTag, secondTag] = [encodeHex(first.tag), encodeHex(second.tag)];
  if (firstTag !== secondTag) return firstTag < secondTag ? -1 : 1;
  if ("height" in a && "height" in b) return a.height - b.height;
  const [x, y] = "uri" in a && "uri" in b ? [a.uri, b.uri] : [encodeHex(first.payload), encodeHex(second.payload)];
  return x < y ? -1 : 1;
}

/**
 * The tree with the statements of `branches` at every node that has a branch's message, in the order of `normaliseOts`. So calendars'
 * answers join, and so an upgrade is put behind the attestation that it fulfils. A branch whose message is nowhere is refused with
 * `proof-invalid`, and what would grow beyond the bounds of a file with `malformed-proof`.
 */
export function mergeOts(timestamp: OtsTimestamp, ...branches: readonly OtsTimestamp[]): OtsTimestamp {
  let whole = timestamp;
  for (const branch of branches) {
    const { result, places } = graft(whole, branch);
    if (places === 0) {
      throw new VerificationError("proof-invalid", "opentimestamps proof: the branch continues another message");
    }
    whole = normaliseOts(result);
    const bytes = formatOtsTimestamp(whole);
    if (bytes.length > MERGED_BYTES_MAX)
      throw malformed(`expected at most ${MERGED_BYTES_MAX} bytes, got ${bytes.length}`);
    // Depth and number of operations are those of a reader.
    readTimestamp(openInput(bytes, OTS_BYTES_MAX), whole.message, OTS_DEPTH_MAX);
  }
  return normaliseOts(whole);
}

function graft(node: OtsTimestamp, branch: OtsTimestamp): { readonly result: OtsTimestamp; readonly places: number } {
  let places = 0;
  const items = node.items.map((item): OtsItem => {
    if (item.kind === "attestation") return item;
    const inner = graft(item.next, branch);
    places += inner.places;
    return { ...item, next: inner.result };
  });
  if (!bytesEqual(node.message, branch.message)) return { result: { ...node, items }, places };
  return { result: { ...node, items: [...items, ...branch.items] }, places: places + 1 };
}

/** An attestation, and the message that it is about. */
export interface OtsLeaf {
  readonly attestation: OtsAttestation;
  readonly message: Uint8Array;
  /** Operations from the digest to the message. */
  readonly path: readonly OtsOperation[];
}

/** Every attestation of a tree, in its order. The messages were computed from the digest when it was read. */
export function listOtsLeaves(timestamp: OtsTimestamp): readonly OtsLeaf[] {
  const leaves: OtsLeaf[] = [];
  const path: OtsOperation[] = [];
  const visit = (node: OtsTimestamp): void => {
    for (const item of node.items) {
      if (item.kind === "attestation")
        leaves.push({ attestation: item.attestation, message: node.message, path: [...path] });
      else {
        path.push(item.operation);
        visit(item.next);
        path.pop();
      }
    }
  };
  visit(timestamp);
  return leaves;
}

/**
 * What to submit for a digest: `tip`, 32 bytes that hide the digest behind 16 random bytes so that a calendar and its neighbours
 * learn nothing, and `join`, which puts calendars' answers on the tip together into a file.
 */
export function startOts(
  digest: Uint8Array,
  nonce: Uint8Array,
): { readonly tip: Uint8Array; join(answers: readonly OtsTimestamp[]): OtsFile } {
  if (digest.length !== 32) throw new RangeError(`startOts: expected a digest of 32 bytes, got ${digest.length}`);
  if (nonce.length !== 16) throw new RangeError(`startOts: expected a nonce of 16 bytes, got ${nonce.length}`);
  const append: OtsOperation = { name: "append", argument: Uint8Array.from(nonce) };
  const hash: OtsOperation = { name: "sha256", argument: new Uint8Array() };
  const salted = applyOperation(append, digest);
  const tip = applyOperation(hash, salted);
  return {
    tip,
    join(answers) {
      const [first, ...others] = answers;
      if (first === undefined) throw new RangeError("startOts: expected at least one answer");
      const hashed: OtsItem = { kind: "operation", operation: hash, next: mergeOts(first, ...others) };
      const appended: OtsItem = { kind: "operation", operation: append, next: { message: salted, items: [hashed] } };
      return { fileHash: "sha256", timestamp: { message: Uint8Array.from(digest), items: [appended] } };
    },
  };
}

function malformed(problem: string): MalformedError {
  return new MalformedError("malformed-proof", `opentimestamps proof: ${problem}`);
}
