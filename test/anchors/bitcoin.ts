import { createHash } from "node:crypto";

/** The easiest target there is, as regtest has it: a header is found within a few tries. */
export const REGTEST_BITS = 0x207fffff;

const doubleSha256 = (bytes: Uint8Array): Buffer =>
  createHash("sha256").update(createHash("sha256").update(bytes).digest()).digest();

/** 80 bytes of a header with this Merkle root and parent (in the order of the header), mined to the target of regtest. */
export function mineHeader(merkleRoot: Uint8Array, time: number, parent?: Uint8Array): Uint8Array {
  const header = Buffer.alloc(80);
  header.writeInt32LE(0x20000000, 0);
  if (parent !== undefined) header.set(parent, 4);
  header.set(merkleRoot, 36);
  header.writeUInt32LE(time, 68);
  header.writeUInt32LE(REGTEST_BITS, 72);
  for (let nonce = 0; ; nonce++) {
    header.writeUInt32LE(nonce, 76);
    if (doubleSha256(header)[31]! < 0x7f) return Uint8Array.from(header);
  }
}

/** Hash of a header as explorers show it. */
export function blockHashOf(header: Uint8Array): string {
  return doubleSha256(header).reverse().toString("hex");
}
