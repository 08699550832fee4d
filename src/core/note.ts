import { parseCheckpoint } from "./checkpoint.ts";
import { checkpointMessage, cosignatureMessage, decodeTimedSignature, encodeTimedSignature } from "./cosignature.ts";
import { concatBytes, decodeBase64, decodeHex, decodeUtf8, encodeBase64, encodeUtf8 } from "./encoding.ts";
import { isTallystickError, MalformedError, VerificationError } from "./errors.ts";
import { sha256 } from "./hash.ts";
import { NOTE_BYTES_MAX, NOTE_SIGNATURES_MAX } from "./limits.ts";
import { checkEd25519Point, formatSpki } from "./signature/public-key.ts";
import { verifyEd25519, verifyMlDsa44 } from "./signature/table.ts";

/**
 * Signed notes and the keys that verify them (C2SP signed-note):
 *
 *     <text, ends with a newline>
 *     (blank line: the last one of the note)
 *     — <key name> <base64 of key ID (4 bytes) ‖ signature>
 *
 * Everything here takes exactly one spelling: what is accepted formats back to the same bytes.
 */

/** Signature types of notes: Ed25519 over the text, Ed25519 cosignature, ML-DSA-44 cosignature. */
export type NoteSignatureType = 1 | 4 | 6;

/** A public key under the name that its signature lines carry. */
export interface VerifierKey {
  /** `<name>+<key ID, 8 hex digits>+<base64 of type ‖ public key>`. */
  readonly vkey: string;
  readonly name: string;
  /** First four bytes, big-endian, of SHA-256(name ‖ 0x0A ‖ type ‖ public key). */
  readonly keyId: number;
  readonly type: NoteSignatureType;
  /** 32 bytes (types 1 and 4) or 1,312 bytes (type 6). */
  readonly publicKey: Uint8Array;
}

/** A key that signs notes; `Signer` of the ledger is one. */
export interface NoteSigner {
  readonly algorithm: "ed25519" | "ml-dsa-44";
  readonly publicKey: Uint8Array;
  sign(message: Uint8Array): Promise<Uint8Array>;
}

export interface NoteSignature {
  /** Key name; not authenticated by itself. */
  readonly name: string;
  readonly keyId: number;
  /** What follows the key ID: at least one byte. */
  readonly signature: Uint8Array;
  /** The whole line with its newline. */
  readonly line: string;
}

export interface SignedNote {
  /** What is signed: everything before the last blank line, final newline included. */
  readonly text: string;
  /** 1..64 lines in their order; unverified. */
  readonly signatures: readonly NoteSignature[];
}

export interface VerifiedSignature {
  readonly key: VerifierKey;
  /** Seconds since 1970 that a cosignature states; null for type 1, and for a cosignature of time 0, which states none. */
  readonly time: number | null;
  /** The verified line with its newline: all that may be stored of a note from outside. */
  readonly line: string;
}

interface TypeRow {
  readonly algorithm: "ed25519" | "ml-dsa-44";
  readonly publicKeyBytes: number;
  readonly signatureBytes: number;
  /** The signature follows 8 bytes of time. */
  readonly timed: boolean;
}

const TYPES: Readonly<Record<NoteSignatureType, TypeRow>> = {
  1: { algorithm: "ed25519", publicKeyBytes: 32, signatureBytes: 64, timed: false },
  4: { algorithm: "ed25519", publicKeyBytes: 32, signatureBytes: 64, timed: true },
  6: { algorithm: "ml-dsa-44", publicKeyBytes: 1312, signatureBytes: 2420, timed: true },
};

const KEY_ID_BYTES = 4;
const SIGNATURE_PREFIX = "\u2014 ";
// Unicode White_Space, code point by code point: `\s` lacks U+0085 and has U+FEFF, which other languages see the other way round.
const SPACE = /[\t-\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]/;
const CONTROL = /[\0-\t\v-\x1f]/;
const LONE_SURROGATE = /\p{Surrogate}/u;

/**
 * Key of a vkey line, its key ID recomputed. `malformed-key`: other than the one spelling, an ID that is not the key's,
 * other types than 1, 4 and 6, a wrong key length, Ed25519 points that are off the curve, non-canonical or of small order.
 */
export function parseVerifierKey(vkey: string): VerifierKey {
  // The base64 part may contain `+` itself: only the first two separate.
  const first = vkey.indexOf("+");
  const second = vkey.indexOf("+", first + 1);
  if (first < 0 || second < 0) throw malformedKey("expected <name>+<key ID>+<base64>");
  const name = vkey.slice(0, first);
  assertKeyName(name, "malformed-key");
  const id = decodeHex(vkey.slice(first + 1, second), { sizeBytes: KEY_ID_BYTES, code: "malformed-key" });
  const bytes = decodeBase64(vkey.slice(second + 1), "malformed-key");
  const type = bytes[0];
  if (type !== 1 && type !== 4 && type !== 6)
    throw malformedKey(`expected signature type 1, 4 or 6, got ${type ?? "nothing"}`);
  const publicKey = bytes.subarray(1);
  checkPublicKey(type, publicKey);
  const keyId = readKeyId(id);
  const expected = noteKeyId(name, type, publicKey);
  if (keyId !== expected) throw malformedKey(`expected key ID ${formatKeyId(expected)}, got ${formatKeyId(keyId)}`);
  return { vkey, name, keyId, type, publicKey };
}

/** The vkey line of a key. `malformed-key` for what `parseVerifierKey` refuses. */
export function formatVerifierKey(key: {
  readonly name: string;
  readonly type: NoteSignatureType;
  readonly publicKey: Uint8Array;
}): string {
  const { name, type, publicKey } = key;
  assertKeyName(name, "malformed-key");
  checkPublicKey(type, publicKey);
  const keyId = formatKeyId(noteKeyId(name, type, publicKey));
  return `${name}+${keyId}+${encodeBase64(concatBytes(Uint8Array.of(type), publicKey))}`;
}

/** Key ID of a note key: an identifier, short enough to collide on purpose, never a proof. */
export function noteKeyId(name: string, type: NoteSignatureType, publicKey: Uint8Array): number {
  return readKeyId(sha256(concatBytes(encodeUtf8(`${name}\n`), Uint8Array.of(type), publicKey)));
}

/** Algorithm of the key, by its note type. */
export function algorithmOfVerifierKey(key: VerifierKey): "ed25519" | "ml-dsa-44" {
  return TYPES[key.type].algorithm;
}

/** DER SubjectPublicKeyInfo of the key. RFC 8410, RFC 9881. */
export function spkiOfVerifierKey(key: VerifierKey): Uint8Array {
  return formatSpki(TYPES[key.type].algorithm, key.publicKey);
}

/**
 * Text and signature lines of a note, nothing verified. `malformed-note`: not UTF-8, control characters, no signature
 * line or anything but signature lines after the last blank line, more than 64 of them, more than 256 KiB, base64 or key
 * names in another spelling.
 */
export function parseNote(note: Uint8Array | string): SignedNote {
  const whole = typeof note === "string" ? note : decodeNote(note);
  // A string has at most three times as many bytes as code units, so the cheap test comes first.
  if (whole.length > NOTE_BYTES_MAX || (typeof note === "string" && encodeUtf8(whole).length > NOTE_BYTES_MAX)) {
    throw malformed(`expected at most ${NOTE_BYTES_MAX} bytes`);
  }
  if (LONE_SURROGATE.test(whole)) throw malformed("expected well-formed text");
  if (CONTROL.test(whole)) throw malformed("expected no control characters but newlines");
  const blank = whole.lastIndexOf("\n\n");
  if (blank < 0) throw malformed("expected a blank line before the signatures");
  const lines = whole.slice(blank + 2).split("\n");
  // What follows the last newline must be nothing.
  if (lines.pop() !== "" || lines.length === 0)
    throw malformed("expected signature lines, each with a newline, after the last blank line");
  if (lines.length > NOTE_SIGNATURES_MAX) {
    throw malformed(`expected at most ${NOTE_SIGNATURES_MAX} signatures, got ${lines.length}`);
  }
  return { text: whole.slice(0, blank + 1), signatures: lines.map(parseSignatureLine) };
}

/** The note of a text (with its final newline) and signature lines (each with its newline). `malformed-note` if it is none. */
export function formatNote(text: string, lines: readonly string[]): string {
  const note = `${text}\n${lines.join("")}`;
  const parsed = parseNote(note);
  if (parsed.text !== text || parsed.signatures.length !== lines.length)
    throw malformed("expected a text and signature lines");
  return note;
}

/** `— <name> <base64 of key ID ‖ signature>` and a newline. `malformed-note` for a name that is none or an empty signature. */
export function formatSignatureLine(name: string, keyId: number, signature: Uint8Array): string {
  assertKeyName(name, "malformed-note");
  if (signature.length === 0) throw malformed("expected a signature");
  const payload = new Uint8Array(KEY_ID_BYTES + signature.length);
  new DataView(payload.buffer).setUint32(0, keyId);
  payload.set(signature, KEY_ID_BYTES);
  return `${SIGNATURE_PREFIX}${name} ${encodeBase64(payload)}\n`;
}

/**
 * Signature line of a log over a note text: type 1 with an Ed25519 key; type 6 with an ML-DSA-44 key, for which the
 * text must be a checkpoint. `time` (seconds since 1970, type 6 only) is no evidence in a log's own line; 0 states none.
 * Errors: the signer's; `malformed-checkpoint`; `signature-invalid` if the signer returns what does not verify.
 */
export async function signNote(
  text: string,
  name: string,
  signer: NoteSigner,
  options: { readonly time?: number } = {},
): Promise<string> {
  const type = signer.algorithm === "ed25519" ? 1 : 6;
  return signAs({ text, name, signer, type, time: options.time ?? 0 });
}

/**
 * Cosignature line of a witness over a checkpoint text: type 4 with an Ed25519 key, type 6 with an ML-DSA-44 key.
 * `RangeError` for a time below 1. Errors as for `signNote`.
 */
export async function cosignNote(
  text: string,
  name: string,
  signer: NoteSigner,
  options: { readonly time: number },
): Promise<string> {
  if (!(options.time >= 1)) throw new RangeError(`time: expected seconds since 1970, got ${options.time}`);
  parseCheckpoint(text);
  const type = signer.algorithm === "ed25519" ? 4 : 6;
  return signAs({ text, name, signer, type, time: options.time });
}

/**
 * The signatures of a note by `keys`, one for each key that signed, in the order of their first lines. Lines of other keys are ignored,
 * also those that share a name or an ID with one of `keys`. One known key whose line does not verify condemns the note:
 * `signature-invalid`. No line of a known key: `signature-missing`. Two keys with the same name and ID: `malformed-key`.
 * A key that signed at several times counts once, at its earliest.
 */
export async function verifyNote(note: SignedNote, keys: readonly VerifierKey[]): Promise<VerifiedSignature[]> {
  const known = new Map<string, VerifierKey>();
  for (const key of keys) {
    const place = placeOf(key.name, key.keyId);
    const other = known.get(place);
    if (other !== undefined && other.vkey !== key.vkey)
      throw malformedKey(`two keys have the name ${key.name} and ID ${formatKeyId(key.keyId)}`);
    known.set(place, key);
  }
  const verified = new Map<VerifierKey, VerifiedSignature>();
  for (const { name, keyId, signature, line } of note.signatures) {
    const key = known.get(placeOf(name, keyId));
    if (key === undefined) continue;
    const time = await verifyLine(note.text, key, signature);
    const before = verified.get(key);
    if (before === undefined || isEarlier(time, before.time)) verified.set(key, { key, time, line });
  }
  if (verified.size === 0)
    throw new VerificationError("signature-missing", "note: expected a signature by a known key");
  return [...verified.values()];
}

function isEarlier(time: number | null, than: number | null): boolean {
  return time !== null && (than === null || time < than);
}

/** Stated time of a line by a known key. `signature-invalid` unless it verifies. */
async function verifyLine(text: string, key: VerifierKey, payload: Uint8Array): Promise<number | null> {
  const row = TYPES[key.type];
  const refused = (problem: string, cause?: unknown): VerificationError =>
    new VerificationError(
      "signature-invalid",
      `note: the signature by ${key.name}+${formatKeyId(key.keyId)} ${problem}`,
      { cause },
    );
  const expected = row.signatureBytes + (row.timed ? 8 : 0);
  if (payload.length !== expected) throw refused(`has ${payload.length} bytes, expected ${expected}`);
  let time = 0;
  let signature = payload;
  let message: Uint8Array;
  try {
    if (row.timed) ({ time, signature } = decodeTimedSignature(payload));
    message = messageOf(key.type, text, key.name, time);
  } catch (cause) {
    if (!isTallystickError(cause)) throw cause;
    throw refused(`cannot be a cosignature: ${cause.message}`, cause);
  }
  const verify = row.algorithm === "ed25519" ? verifyEd25519 : verifyMlDsa44;
  if (!(await verify(key.publicKey, message, signature))) throw refused("does not verify");
  return time === 0 ? null : time;
}

function messageOf(type: NoteSignatureType, text: string, name: string, time: number): Uint8Array {
  if (type === 1) return encodeUtf8(text);
  if (type === 6) return checkpointMessage(text, name, time);
  parseCheckpoint(text);
  return cosignatureMessage(text, time);
}

async function signAs(parts: {
  readonly text: string;
  readonly name: string;
  readonly signer: NoteSigner;
  readonly type: NoteSignatureType;
  readonly time: number;
}): Promise<string> {
  const { text, name, signer, type, time } = parts;
  const signature = await signer.sign(messageOf(type, text, name, time));
  const payload = TYPES[type].timed ? encodeTimedSignature(time, signature) : signature;
  const { publicKey } = signer;
  const keyId = noteKeyId(name, type, publicKey);
  const line = formatSignatureLine(name, keyId, payload);
  // A signer is another process or a device: a line that its own public key refuses must not leave.
  await verifyLine(text, { vkey: "", name, keyId, type, publicKey }, payload);
  formatNote(text, [line]);
  return line;
}

function parseSignatureLine(line: string): NoteSignature {
  const parts = line.split(" ");
  const [dash, name, base64] = parts;
  if (parts.length !== 3 || dash !== "\u2014" || name === undefined || base64 === undefined) {
    throw malformed("expected a signature line: em dash, key name, base64");
  }
  assertKeyName(name, "malformed-note");
  const payload = decodeBase64(base64, "malformed-note");
  if (payload.length <= KEY_ID_BYTES) throw malformed("expected a key ID and a signature");
  return { name, keyId: readKeyId(payload), signature: payload.subarray(KEY_ID_BYTES), line: `${line}\n` };
}

/** Text of attacker-controlled bytes; a byte order mark stays, as it is part of what was signed. */
function decodeNote(bytes: Uint8Array): string {
  if (bytes.length > NOTE_BYTES_MAX) throw malformed(`expected at most ${NOTE_BYTES_MAX} bytes, got ${bytes.length}`);
  return decodeUtf8(bytes, "malformed-note");
}

function checkPublicKey(type: NoteSignatureType, publicKey: Uint8Array): void {
  const { algorithm, publicKeyBytes } = TYPES[type];
  if (publicKey.length !== publicKeyBytes) {
    throw malformedKey(`expected ${publicKeyBytes} bytes of ${algorithm} key, got ${publicKey.length}`);
  }
  if (algorithm === "ed25519") checkEd25519Point(publicKey);
}

function assertKeyName(name: string, code: "malformed-key" | "malformed-note"): void {
  if (name === "" || name.includes("+") || SPACE.test(name) || CONTROL.test(name) || LONE_SURROGATE.test(name)) {
    throw new MalformedError(code, "expected a key name: not empty, no white space, no +, no control characters");
  }
}

function placeOf(name: string, keyId: number): string {
  return `${formatKeyId(keyId)} ${name}`;
}

function readKeyId(bytes: Uint8Array): number {
  return new DataView(bytes.buffer, bytes.byteOffset, KEY_ID_BYTES).getUint32(0);
}

function formatKeyId(keyId: number): string {
  return keyId.toString(16).padStart(8, "0");
}

function malformed(problem: string): MalformedError {
  return new MalformedError("malformed-note", `note: ${problem}`);
}

function malformedKey(problem: string): MalformedError {
  return new MalformedError("malformed-key", `verifier key: ${problem}`);
}
