import { crc32Next, inflateRaw } from "#inflate-platform";
import type { ByteSource } from "./byte-source.ts";
import { bytesEqual } from "./encoding.ts";
import {
  CENTRAL_BYTES,
  centralNumbers,
  DEFLATED,
  END_BYTES,
  endRecord,
  isZipName,
  isZipRatio,
  LOCAL_BYTES,
  localHeader,
  readCentral,
  readEnd,
  STORED,
  ZIP_BYTES_MAX,
  ZIP_MEMBERS_MAX,
  ZIP_MEMBERS_MIN,
  ZIP_NAME_BYTES_MAX,
  type ZipEnd,
  type ZipMember,
} from "./zip-format.ts";

/** Reads the one kind of ZIP file that evidence packages are: spec/evidence-package.md 2-6 and K1-K3. */

export type ZipReason =
  | "zip-end"
  | "zip-central"
  | "zip-method"
  | "zip-name"
  | "zip-duplicate"
  | "zip-limit"
  | "zip-layout"
  | "zip-local"
  | "zip-data"
  | "zip-crc";

/** Thrown for a file that is no such ZIP. Stays inside the core: a verifier makes a finding of it. */
export class ZipError extends Error {
  readonly reason: ZipReason;
  constructor(reason: ZipReason, message: string) {
    super(message);
    this.name = "ZipError";
    this.reason = reason;
  }
}

export interface ZipEntry extends ZipMember {
  /** Where the local header stands. */
  readonly offset: number;
}

export interface ZipLimits {
  /** Bytes of content that the member of this name may have. */
  readonly sizeMax: (name: string) => number;
  /** Of all members together. */
  readonly sumMax: number;
}

/** Members in the order of the file, after every header was looked at and no content. Throws `ZipError`. */
export async function readZip(source: ByteSource, limits: ZipLimits): Promise<readonly ZipEntry[]> {
  const end = await readEndRecord(source);
  // Whatever a file claims, no more is read than its members can need.
  const centralBytes = Math.min(end.centralBytes, end.members * (CENTRAL_BYTES + ZIP_NAME_BYTES_MAX));
  const entries = readCentralHeaders(await source.read(end.centralOffset, centralBytes), end, limits);
  let at = 0;
  for (const entry of entries) {
    const header = localHeader(entry);
    if (entry.offset !== at || at + header.length > end.centralOffset) {
      throw new ZipError("zip-layout", `member ${entry.name} does not begin where what is before it ends`);
    }
    if (!bytesEqual(await source.read(at, header.length), header)) {
      throw new ZipError(
        "zip-local",
        `the two headers of member ${entry.name} differ, or the local one has another form`,
      );
    }
    at += header.length + entry.packed;
  }
  if (at !== end.centralOffset) throw new ZipError("zip-layout", "there are bytes between members and central headers");
  return entries;
}

/** K1 */
async function readEndRecord(source: ByteSource): Promise<ZipEnd> {
  const { sizeBytes } = source;
  if (sizeBytes < END_BYTES || sizeBytes > ZIP_BYTES_MAX) {
    throw new ZipError("zip-end", `expected a file of ${END_BYTES} to ${ZIP_BYTES_MAX} bytes, got ${sizeBytes}`);
  }
  const bytes = await source.read(sizeBytes - END_BYTES, END_BYTES);
  const end = readEnd(bytes);
  if (!bytesEqual(bytes, endRecord(end))) throw new ZipError("zip-end", "the file does not end as a package does");
  if (end.members < ZIP_MEMBERS_MIN || end.members > ZIP_MEMBERS_MAX) {
    throw new ZipError("zip-end", `expected ${ZIP_MEMBERS_MIN} to ${ZIP_MEMBERS_MAX} members, got ${end.members}`);
  }
  if (end.centralOffset + end.centralBytes + END_BYTES !== sizeBytes) {
    throw new ZipError("zip-end", "the central headers do not end where the end record begins");
  }
  return end;
}

/** K2 */
function readCentralHeaders(bytes: Uint8Array, end: ZipEnd, limits: ZipLimits): ZipEntry[] {
  const entries: ZipEntry[] = [];
  const names = new Set<string>();
  let at = 0;
  let sum = 0;
  for (let i = 0; i < end.members; i++) {
    const entry = readCentralHeader(bytes.subarray(at));
    const { name, size, packed } = entry;
    if (names.has(name)) throw new ZipError("zip-duplicate", `member ${name} stands twice`);
    names.add(name);
    sum += size;
    if (size > limits.sizeMax(name) || sum > limits.sumMax || !isZipRatio(size, packed)) {
      throw new ZipError("zip-limit", `member ${name} is larger than it may be: ${size} bytes in ${packed}`);
    }
    entries.push(entry);
    at += CENTRAL_BYTES + name.length;
  }
  if (at !== end.centralBytes)
    throw new ZipError("zip-central", "there are bytes between central headers and end record");
  return entries;
}

function readCentralHeader(bytes: Uint8Array): ZipEntry {
  if (bytes.length < CENTRAL_BYTES) throw new ZipError("zip-central", "a central header is cut off");
  const { nameBytes, offset, ...numbers } = readCentral(bytes);
  if (!bytesEqual(bytes.subarray(0, CENTRAL_BYTES), centralNumbers({ ...numbers, nameBytes, offset })))
    throw new ZipError("zip-central", "a central header has another form");
  if (numbers.method !== STORED && numbers.method !== DEFLATED) {
    throw new ZipError("zip-method", `expected method ${STORED} or ${DEFLATED}, got ${numbers.method}`);
  }
  if (numbers.method === STORED && numbers.packed !== numbers.size)
    throw new ZipError("zip-method", `a stored member has ${numbers.packed} bytes for ${numbers.size}`);
  if (nameBytes < 1 || nameBytes > ZIP_NAME_BYTES_MAX) {
    throw new ZipError("zip-name", `expected a name of 1 to ${ZIP_NAME_BYTES_MAX} bytes, got ${nameBytes}`);
  }
  if (bytes.length < CENTRAL_BYTES + nameBytes) throw new ZipError("zip-central", "a central header is cut off");
  const name = String.fromCharCode(...bytes.subarray(CENTRAL_BYTES, CENTRAL_BYTES + nameBytes));
  if (!isZipName(name)) throw new ZipError("zip-name", `a member may not be named ${JSON.stringify(name)}`);
  return { name, ...numbers, offset };
}

/** Bytes read at once. */
const READ_BYTES: number = 256 * 1024;

async function* packedBytes(source: ByteSource, entry: ZipEntry): AsyncGenerator<Uint8Array> {
  const start = entry.offset + LOCAL_BYTES + entry.name.length;
  for (let at = 0; at < entry.packed; at += READ_BYTES) {
    yield await source.read(start + at, Math.min(READ_BYTES, entry.packed - at));
  }
}

/**
 * Content of a member, piece by piece and never more than `size` bytes. Throws a `ZipError` where it is not exactly what the header says, at
 * the latest after the last piece: what came before then counts for nothing.
 */
export async function* readMember(source: ByteSource, entry: ZipEntry): AsyncGenerator<Uint8Array> {
  const { name, size } = entry;
  const wrong = (): ZipError => new ZipError("zip-data", `member ${name} does not unpack to its ${size} bytes`);
  let given = 0;
  let crc = 0;
  for await (const piece of entry.method === STORED ? packedBytes(source, entry) : inflated(source, entry, wrong)) {
    given += piece.length;
    if (given > size) throw wrong();
    crc = crc32Next(crc, piece);
    yield piece;
  }
  if (given !== size) throw wrong();
  if (crc !== entry.crc) throw new ZipError("zip-crc", `member ${name} has another CRC than its header says`);
}

async function* inflated(source: ByteSource, entry: ZipEntry, wrong: () => ZipError): AsyncGenerator<Uint8Array> {
  let failed: { readonly error: unknown } | null = null;
  async function* packed(): AsyncGenerator<Uint8Array> {
    try {
      yield* packedBytes(source, entry);
    } catch (error) {
      failed = { error };
      throw error;
    }
  }
  try {
    yield* inflateRaw(packed());
  } catch {
    // Either the source cannot be read, or the data are no deflate stream.
    const io = failed as { readonly error: unknown } | null;
    throw io === null ? wrong() : io.error;
  }
}
