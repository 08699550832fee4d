// A ledger of the formats by hand: the formulas of spec/ on Node's own hashes and Ed25519, and none of the library, so that
// what is made of them is a second opinion. It refuses nothing: hostile evidence is made with it as well as honest.
import { createHash, createPrivateKey, createPublicKey, sign } from "node:crypto";
import { ml_dsa44 } from "@noble/post-quantum/ml-dsa.js";

/** RFC 8785 of plain values. */
export function jcs(value) {
  if (Array.isArray(value)) return `[${value.map(jcs).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const names = Object.keys(value).sort();
  return `{${names.map((name) => `${JSON.stringify(name)}:${jcs(value[name])}`).join(",")}}`;
}

export function raw(hash, ...parts) {
  const state = createHash(hash);
  for (const part of parts) state.update(part);
  return state.digest();
}
export const digest = (hash, ...parts) => raw(hash, ...parts).toString("hex");
export const bytes = (hex) => Buffer.from(hex, "hex");
export const base64 = (hex) => bytes(hex).toString("base64");
export const saltOf = (text) => digest("sha256", `salt of ${text}`).slice(0, 32);
export const without = (object, ...names) => Object.fromEntries(Object.entries(object).filter(([name]) => !names.includes(name)));

// --- keys

/** Ed25519 key of a name. */
export function keyOf(name) {
  const seed = raw("sha256", `tallystick test key ${name}`);
  const key = createPrivateKey({ key: Buffer.concat([bytes("302e020100300506032b657004220420"), seed]), format: "der", type: "pkcs8" });
  const spki = createPublicKey(key).export({ format: "der", type: "spki" });
  return { algorithm: "ed25519", spki, publicKey: spki.subarray(12), keyId: digest("sha256", spki), sign: (message) => sign(null, Buffer.from(message), key) };
}

/** ML-DSA-44 key of a name. */
export function mlDsaKeyOf(name) {
  const { publicKey, secretKey } = ml_dsa44.keygen(raw("sha256", `tallystick test key ${name}`));
  const spki = Buffer.concat([bytes("30820532300b06096086480165030403110382052100"), publicKey]);
  const signature = (message) => Buffer.from(ml_dsa44.sign(Buffer.from(message), secretKey, { extraEntropy: false }));
  return { algorithm: "ml-dsa-44", spki, publicKey: Buffer.from(publicKey), keyId: digest("sha256", spki), sign: signature };
}

/** A key under the name that its note lines carry, of note type 1, 4 or 6. */
export function noteKey(name, type, key) {
  const typed = Buffer.concat([Buffer.of(type), key.publicKey]);
  const id = raw("sha256", name, "\n", typed).subarray(0, 4);
  const line = (signature) => `— ${name} ${Buffer.concat([id, signature]).toString("base64")}\n`;
  return { ...key, name, type, vkey: `${name}+${id.toString("hex")}+${typed.toString("base64")}`, line };
}

const u64 = (value) => {
  const out = Buffer.alloc(8);
  out.writeBigUInt64BE(BigInt(value));
  return out;
};

/** Signature line over a checkpoint text; `time` for types 4 and 6. */
export function signLine(key, text, time = 0) {
  if (key.type === 1) return key.line(key.sign(text));
  if (key.type === 4) return key.line(Buffer.concat([u64(time), key.sign(`cosignature/v1\ntime ${time}\n${text}`)]));
  const [origin, size, root] = text.split("\n");
  const named = (name) => Buffer.concat([Buffer.of(name.length), Buffer.from(name)]);
  const message = [Buffer.from("subtree/v1\n\0"), named(key.name), u64(time), named(origin), u64(0), u64(size), Buffer.from(root, "base64")];
  return key.line(Buffer.concat([u64(time), key.sign(Buffer.concat(message))]));
}

// --- entries

export const commitBody = (hash, scheme, salt, event) => digest(hash, `tallystick/v1/${scheme}\n`, bytes(salt), jcs(event));
export const fieldDigest = (hash, salt, name, value) => digest(hash, "tallystick/v1/field\n", bytes(salt), jcs([name, value]));
export const commitFields = (hash, names, digests) => digest(hash, "tallystick/v1/fields\n", jcs(names), "\n", ...digests.map(bytes));
export const leafHash = (text) => digest("sha256", Buffer.of(0), text);

export function cut(event) {
  const fields = Object.entries(event).flatMap(([name, value]) => {
    const isCut = ["payload", "context", "metadata"].includes(name) && value !== null && typeof value === "object" && !Array.isArray(value) && Object.keys(value).length > 0;
    return isCut ? Object.entries(value).map(([member, inner]) => [`${name}.${member}`, inner]) : [[name, value]];
  });
  return fields.sort(([a], [b]) => (a < b ? -1 : 1));
}

// --- tree (RFC 9162 §2.1)

const node = (left, right) => digest("sha256", Buffer.of(1), bytes(left), bytes(right));
const split = (size) => 2 ** Math.floor(Math.log2(size - 1));

export function treeHash(leaves) {
  if (leaves.length === 1) return leaves[0];
  const k = split(leaves.length);
  return node(treeHash(leaves.slice(0, k)), treeHash(leaves.slice(k)));
}

export function inclusion(index, leaves) {
  if (leaves.length === 1) return [];
  const k = split(leaves.length);
  return index < k ? [...inclusion(index, leaves.slice(0, k)), treeHash(leaves.slice(k))] : [...inclusion(index - k, leaves.slice(k)), treeHash(leaves.slice(0, k))];
}

export function rangeProof(first, last, leaves, at = 0) {
  const end = at + leaves.length;
  if (end <= first || at > last) return [treeHash(leaves)];
  if (leaves.length === 1) return [];
  const k = split(leaves.length);
  return [...rangeProof(first, last, leaves.slice(0, k), at), ...rangeProof(first, last, leaves.slice(k), at + k)];
}

// --- ledger

/**
 * Ledger of rows. A row is `{scheme, event, hash?, time?, previous?, index?, salt?}`, or a function of the ledger so far that
 * gives one; `sign: key` signs the event for its actor, `damaged` after that replaces members.
 */
export class Forge {
  constructor(origin, rows, { hash = "sha256" } = {}) {
    this.origin = origin;
    this.hash = hash;
    this.entries = [];
    for (const row of rows) this.add(typeof row === "function" ? row(this) : row);
  }

  get size() {
    return this.entries.length;
  }

  get leaves() {
    return this.entries.map((entry) => entry.leaf);
  }

  get previous() {
    return this.entries.at(-1)?.leaf ?? "0".repeat(64);
  }

  add(row) {
    const place = this.size;
    const { scheme, hash = this.hash, index = place, time = timeAt(place), previous = this.previous } = row;
    const salt = (name = "") => row.salt ?? saltOf(`${place} ${name}`);
    let { event } = row;
    for (const key of [row.sign ?? []].flat()) event = this.signed(event, { key, scheme, hash, salt });
    if (row.damaged !== undefined) event = { ...event, ...row.damaged };
    const fields = cut(event);
    const digests = fields.map(([name, value]) => fieldDigest(hash, salt(name), name, value));
    const names = fields.map(([name]) => name);
    const commitment = scheme === "fields" ? commitFields(hash, names, digests) : commitBody(hash, scheme, salt(), event);
    const text = row.text ?? jcs({ commitment: `${hash}:${commitment}`, index, previous, scheme, time, v: 1 });
    this.entries.push({ scheme, event, fields, names, digests, salt, text, leaf: leafHash(text) });
  }

  signed(event, { key, scheme, hash, salt }) {
    const { signatures = [], ...unsigned } = event;
    const fields = cut(unsigned);
    const digests = fields.map(([name, value]) => fieldDigest(hash, salt(name), name, value));
    const content = scheme === "event" ? digest("sha256", jcs(unsigned)) : commitFields(hash, fields.map(([name]) => name), digests);
    const message = `tallystick/v1/author\n${this.origin}\n${key.algorithm}\n${key.keyId}\n${scheme}\n${content}`;
    return { ...event, signatures: [...signatures, { keyId: key.keyId, signature: key.sign(message).toString("base64") }] };
  }

  /** Control event that these keys sign for the next place. */
  keyEvent(action, payload, keys) {
    const event = { action, payload };
    const message = `tallystick/v1/key\n${this.origin}\n${action}\n${this.size}\n${this.previous}\n${digest("sha256", jcs(event))}`;
    const signatures = keys.map((key) => ({ keyId: key.keyId, signature: key.sign(message).toString("base64") }));
    return { scheme: "control", event: keys.length === 0 ? event : { ...event, signatures } };
  }

  /** Note over the first `size` entries; `signers` are keys, or pairs of key and time. */
  note(signers, { size = this.size, origin = this.origin, root } = {}) {
    const text = `${origin}\n${size}\n${base64(root ?? treeHash(this.leaves.slice(0, size)))}\n`;
    return `${text}\n${signers.map((signer) => signLine(...(Array.isArray(signer) ? [signer[0], text, signer[1]] : [signer, text]))).join("")}`;
  }

  /** What a receipt or a line shows of an entry. */
  content(index, shown) {
    const { scheme, event, fields, names, digests, salt } = this.entries[index];
    if (scheme !== "fields") return { event, salt: salt() };
    const isShown = (name) => shown === undefined || shown.includes(name);
    return {
      names,
      disclosed: Object.fromEntries(fields.filter(([name]) => isShown(name)).map(([name, value]) => [name, [salt(name), value]])),
      digests: Object.fromEntries(names.flatMap((name, i) => (isShown(name) ? [] : [[name, digests[i]]]))),
    };
  }

  line(index, { shown, erasedBy, withheld } = {}) {
    const { text } = this.entries[index];
    if (withheld === true) return { entry: text };
    return erasedBy === undefined ? { entry: text, ...this.content(index, shown) } : { entry: text, erasedBy };
  }

  /**
   * Header and lines as objects. `only`: indexes of a filtered selection. `complete`: a filter that is proved. `lines`: what each
   * line shows, by index (options of `line`).
   */
  export({ first = 0, last, only, complete, note, size = this.size, lines = {} }) {
    const leaves = this.leaves.slice(0, size);
    const end = last ?? size - 1;
    const genesis = { entry: this.entries[0].text, ...this.content(0), inclusion: inclusion(0, leaves) };
    const selection = complete !== undefined ? { filter: complete, first, kind: "complete", last: end } : only === undefined ? { first, kind: "range", last: end } : { filter: { action: "any" }, first, kind: "filter", last: end };
    const proof = only === undefined ? { proof: rangeProof(first, end, leaves) } : {};
    const header = { checkpoint: note, format: "tallystick/export/v1", genesis, origin: this.origin, selection, ...proof };
    const indexes = only ?? Array.from({ length: end - first + 1 }, (_, i) => first + i);
    const rows = indexes.map((index) => ({ ...this.line(index, lines[index]), ...(only === undefined ? {} : { inclusion: inclusion(index, leaves) }) }));
    return [header, ...rows];
  }
}

/** Time of the entry at a place: one second each. */
export const timeAt = (place) => new Date(Date.UTC(2026, 0, 2, 3, 4, 5) + place * 1000).toISOString();

export const textOf = (lines) => lines.map((line) => `${typeof line === "string" ? line : jcs(line)}\n`).join("");
