// ZIP files by hand, well-formed or not: every number of every header can be another one than it should be.
import { crc32 } from "node:zlib";

/** Bits, lowest first. */
class Bits {
  bytes = [];
  count = 0;
  put(value, bits) {
    for (let i = 0; i < bits; i++, this.count++) {
      if (this.count % 8 === 0) this.bytes.push(0);
      if ((value >> i) & 1) this.bytes[this.bytes.length - 1] |= 1 << this.count % 8;
    }
  }
  /** A Huffman code: highest bit first. */
  code(value, bits) {
    for (let i = bits - 1; i >= 0; i--) this.put((value >> i) & 1, 1);
  }
}

function literal(out, symbol) {
  if (symbol < 144) out.code(0x30 + symbol, 8);
  else if (symbol < 256) out.code(0x190 + symbol - 144, 9);
  else if (symbol < 280) out.code(symbol - 256, 7);
  else out.code(0xc0 + symbol - 280, 8);
}

const LENGTH_BASES = [3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258];
const LENGTH_EXTRA = [0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0];
const DISTANCE_BASES = [1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577];
const DISTANCE_EXTRA = [0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13];

/** Deflate in one block of fixed codes: the same bytes on every machine, which a compression library does not promise. */
export function deflate(content) {
  const bytes = Buffer.from(content);
  const out = new Bits();
  out.put(1, 1);
  out.put(1, 2);
  const seen = new Map();
  for (let at = 0; at < bytes.length; ) {
    const key = at + 4 <= bytes.length ? bytes.readUInt32LE(at) : null;
    const from = key === null ? undefined : seen.get(key);
    let length = 0;
    if (from !== undefined && at - from <= 32768) while (length < 258 && at + length < bytes.length && bytes[from + length] === bytes[at + length]) length++;
    if (key !== null) seen.set(key, at);
    if (length < 4) {
      literal(out, bytes[at++]);
      continue;
    }
    const l = LENGTH_BASES.findLastIndex((base) => base <= length);
    literal(out, 257 + l);
    out.put(length - LENGTH_BASES[l], LENGTH_EXTRA[l]);
    const d = DISTANCE_BASES.findLastIndex((base) => base <= at - from);
    out.code(d, 5);
    out.put(at - from - DISTANCE_BASES[d], DISTANCE_EXTRA[d]);
    at += length;
  }
  literal(out, 256);
  return Buffer.from(out.bytes);
}

const number = (sizeBytes) => (value) => {
  const out = Buffer.alloc(sizeBytes);
  out.writeUIntLE(value, 0, sizeBytes);
  return out;
};
const [u16, u32] = [number(2), number(4)];

const headerOf = (signature, fields, name, extra = "") => Buffer.concat([Buffer.from(signature, "hex"), ...fields, Buffer.from(name, "latin1"), Buffer.from(extra, "latin1")]);

function local(m) {
  const { needed = 20, flags = 0, method, time = 0, date = 33, crc, packed, size, name, nameBytes = Buffer.byteLength(name, "latin1"), extra = "" } = m;
  return headerOf("504b0304", [u16(needed), u16(flags), u16(method), u16(time), u16(date), u32(crc), u32(packed), u32(size), u16(nameBytes), u16(extra.length)], name, extra);
}

function central(m) {
  const { made = 20, needed = 20, flags = 0, method, time = 0, date = 33, crc, packed, size, name, nameBytes = Buffer.byteLength(name, "latin1"), extra = "", comment = "", disk = 0, internal = 0, external = 0, offset } = m;
  const fields = [u16(made), u16(needed), u16(flags), u16(method), u16(time), u16(date), u32(crc), u32(packed), u32(size), u16(nameBytes), u16(extra.length), u16(comment.length), u16(disk), u16(internal), u32(external), u32(offset)];
  return Buffer.concat([headerOf("504b0102", fields, name, extra), Buffer.from(comment, "latin1")]);
}

/**
 * ZIP of members `{name, content}`. Of a member: `stored`; `both`, `local`, `central` replace numbers in its headers; `data` what is in the
 * file; `before` and `after` bytes around it; `isHidden` leaves its central header out. Of the file: `prefix`, `suffix`, `gap` (before the central headers), `late`
 * (after them), `end` (numbers of the end record), `order` (of central headers, by index).
 */
export function zip(members, { prefix = "", suffix = "", gap = "", late = "", end = {}, order } = {}) {
  const parts = [Buffer.from(prefix, "latin1")];
  let at = prefix.length;
  const push = (bytes) => {
    parts.push(bytes);
    at += bytes.length;
  };
  const directory = members.map((member) => {
    const content = Buffer.from(member.content);
    const method = member.stored === true ? 0 : 8;
    const data = member.data ?? (method === 0 ? content : deflate(content));
    const numbers = { name: member.name, method, crc: crc32(content), packed: data.length, size: content.length, ...member.both };
    push(Buffer.from(member.before ?? "", "latin1"));
    const offset = at;
    push(local({ ...numbers, ...member.local }));
    push(data);
    push(Buffer.from(member.after ?? "", "latin1"));
    return member.isHidden === true ? Buffer.alloc(0) : central({ ...numbers, offset, ...member.central });
  });
  push(Buffer.from(gap, "latin1"));
  const headers = Buffer.concat(order === undefined ? directory : order.map((i) => directory[i]));
  const { disk = 0, centralDisk = 0, here, members: count = directory.filter((header) => header.length > 0).length, bytes = headers.length, offset = at, comment = "" } = end;
  const record = headerOf("504b0506", [u16(disk), u16(centralDisk), u16(here ?? count), u16(count), u32(bytes), u32(offset), u16(comment.length)], comment);
  return Buffer.concat([...parts, headers, Buffer.from(late, "latin1"), record, Buffer.from(suffix, "latin1")]);
}
