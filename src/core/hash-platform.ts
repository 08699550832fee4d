import { sha256, sha512 } from "@noble/hashes/sha2.js";
import { sha3_256 } from "@noble/hashes/sha3.js";
import { bytesToHex } from "@noble/hashes/utils.js";
import { encodeUtf8 } from "./encoding.ts";
import type { HashName } from "./hash.ts";

const FUNCTIONS: Readonly<Record<HashName, (data: Uint8Array) => Uint8Array>> = { sha256, sha512, "sha3-256": sha3_256 };

export function digestHex(name: HashName, data: Uint8Array | string): string {
  return bytesToHex(digestBytes(name, typeof data === "string" ? encodeUtf8(data) : data));
}

export function digestBytes(name: HashName, data: Uint8Array): Uint8Array {
  return FUNCTIONS[name](data);
}
