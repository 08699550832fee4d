import { concatBytes, encodeUtf8 } from "./encoding.ts";

/** Headers of the one kind of ZIP file that evidence packages are. Normative: spec/evidence-package.md 2-5. */

export interface ZipMember {
  readonly name: string;
  /** 0: stored; 8: deflate. */
  readonly method: number;
  /** CRC-32 of the content. */
  readonly crc: number;
  /** Bytes in the file. */
  readonly packed: number;
  /** Bytes of the content. */
  readonly size: number;
}

export const STORED = 0;
export const DEFLATED = 8;

export const LOCAL_BYTES = 30;
export const CENTRAL_BYTES = 46;
export const END_BYTES = 22;

/** Numbers of 32 bits stay below the mark of ZIP64. */
export const ZIP_BYTES_MAX = 4_294_967_294;
export const ZIP_MEMBERS_MIN = 5;
export const ZIP_MEMBERS_MAX = 4_096;
export const ZIP_NAME_BYTES_MAX = 100;
/** What unpacks to more is a bomb, or better stored. Deflate reaches 1,032. */
export const ZIP_RATIO_MAX = 200;
/** Small members may pack better. */
export const ZIP_RATIO_FREE_BYTES = 1_024;

const NAME = /^[a-z0-9._-]+(?:\/[a-z0-9._-]+)*$/;

export function isZipName(name: string): boolean {
  if (name.length > ZIP_NAME_BYTES_MAX || !NAME.test(name)) return false;
  return !name.split("/").some((segment) => segment === "." || segment === "..");
}

/** Whether the content is not larger than its data may unpack to. */
export function isZipRatio(size: number, packed: number): boolean {
  return size <= ZIP_RATIO_MAX * packed + ZIP_RATIO_FREE_BYTES;
}

/** Local header of a member, with its name. */
export function localHeader(member: ZipMember): Uint8Array {
  const { name } = member;
  return concatBytes(
    numbers("504b0304", [[2, VERSION], [2, 0], ...content(member), [2, name.length], [2, 0]]),
    encodeUtf8(name),
  );
}

/** Central header of a member whose local header stands at `offset`, with its name. */
export function centralHeader(member: ZipMember, offset: number): Uint8Array {
  return concatBytes(centralNumbers({ ...member, nameBytes: member.name.length, offset }), encodeUtf8(member.name));
}

/** What a central header says before its name. */
export interface CentralNumbers extends Omit<ZipMember, "name"> {
  readonly nameBytes: number;
  readonly offset: number;
}

/** The 46 bytes of a central header before the name. */
export function centralNumbers(parts: CentralNumbers): Uint8Array {
  const { nameBytes, offset } = parts;
  // Between name length and offset: extra field, comment, disk, attributes.
  return numbers("504b0102", [
    ...([
      [2, VERSION],
      [2, VERSION],
      [2, 0],
    ] as const),
    ...content(parts),
    [2, nameBytes],
    ...([
      [2, 0],
      [2, 0],
      [2, 0],
      [2, 0],
      [4, 0],
    ] as const),
    [4, offset],
  ]);
}

export interface ZipEnd {
  readonly members: number;
  readonly centralBytes: number;
  readonly centralOffset: number;
}

export function endRecord({ members, centralBytes, centralOffset }: ZipEnd): Uint8Array {
  return numbers("504b0506", [
    [2, 0],
    [2, 0],
    [2, members],
    [2, members],
    [4, centralBytes],
    [4, centralOffset],
    [2, 0],
  ]);
}

/** Parses the 46 bytes before the name. The rest of them is right if they equal `centralNumbers` of what is read. */
export function readCentral(bytes: Uint8Array): CentralNumbers {
  const view = viewOf(bytes);
  return {
    method: view.getUint16(10, true),
    crc: view.getUint32(16, true),
    packed: view.getUint32(20, true),
    size: view.getUint32(24, true),
    nameBytes: view.getUint16(28, true),
    offset: view.getUint32(42, true),
  };
}

/** Parses the 22 bytes of an end record. The rest of them is right if they equal `endRecord` of what is read. */
export function readEnd(bytes: Uint8Array): ZipEnd {
  const view = viewOf(bytes);
  return {
    members: view.getUint16(10, true),
    centralBytes: view.getUint32(12, true),
    centralOffset: view.getUint32(16, true),
  };
}

const VERSION = 20;
/** 1 January 1980, midnight: no time of the writer. */
const NO_DATE = 33;

type Field = readonly [sizeBytes: 2 | 4, value: number];

/** What both headers say, from the method on. */
function content({ method, crc, packed, size }: Omit<ZipMember, "name">): Field[] {
  return [
    [2, method],
    [2, 0],
    [2, NO_DATE],
    [4, crc],
    [4, packed],
    [4, size],
  ];
}

function numbers(signature: string, fields: readonly Field[]): Uint8Array {
  const out = new Uint8Array(4 + fields.reduce((sum, [sizeBytes]) => sum + sizeBytes, 0));
  const view = viewOf(out);
  view.setUint32(0, Number.parseInt(signature, 16));
  let at = 4;
  for (const [sizeBytes, value] of fields) {
    if (sizeBytes === 2) view.setUint16(at, value, true);
    else view.setUint32(at, value, true);
    at += sizeBytes;
  }
  return out;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
