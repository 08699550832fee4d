import { strictText } from "#hash-platform";
import {
  CONTAINER_DEPTH_MAX,
  canonicalize,
  isJsonObject,
  type JsonObject,
  type JsonValue,
  parseCanonical,
} from "./canonical-json.ts";
import { encodeUtf8 } from "./encoding.ts";
import { isTallystickError, MalformedError } from "./errors.ts";
import { sha256Hex } from "./hash.ts";
import { INCLUSION_HASHES_MAX, SAFE_INTEGER_MAX } from "./limits.ts";
import { type NoteSignature, parseNote } from "./note.ts";
import { ZIP_BYTES_MAX } from "./zip-format.ts";

/** Form of the members of an evidence package. Normative: spec/evidence-package.md 7-13. */

export const PACKAGE_FORMAT = "tallystick/evidence/v1";

export const MANIFEST = "manifest.json";
export const MANIFEST_SIGNATURE = "manifest.sig";
/** Members that every manifest lists first. */
export const CORE_MEMBERS = ["policy", "checkpoint", "entries.jsonl"] as const;
const OPTIONAL_MEMBERS: readonly string[] = [
  ...["consistency.json", "anchors/index.json", "anchors/headers"],
  ...["report.html", "report.json", "readme.txt"],
];
const ANCHOR_NOTE = /^anchors\/(?:0|[1-9][0-9]{0,2})\.note$/;
const ANCHOR_PROOF = /^anchors\/(?:0|[1-9][0-9]{0,2})\.(?:tsr|tst|ots)$/;

const MEMBER_BYTES_MAX: number = 16 * 1024 * 1024;
const SIZES_MAX: ReadonlyMap<string, number> = new Map([
  ["entries.jsonl", ZIP_BYTES_MAX],
  ["report.html", 64 * 1024 * 1024],
  ["anchors/headers", 2 * 1024 * 1024],
]);

/** Bytes of content that a member may have. */
export function memberBytesMax(name: string): number {
  return SIZES_MAX.get(name) ?? MEMBER_BYTES_MAX;
}

/** Whether a manifest may list a member of this name beside the core members. */
export function isOptionalMember(name: string): boolean {
  return OPTIONAL_MEMBERS.includes(name) || isAnchorMember(name);
}

export function isAnchorMember(name: string): boolean {
  return ANCHOR_NOTE.test(name) || ANCHOR_PROOF.test(name);
}

export interface ManifestMember {
  readonly name: string;
  /** Hex, of the content. */
  readonly sha256: string;
  /** Bytes of the content. */
  readonly size: number;
}

export interface Manifest {
  readonly members: readonly ManifestMember[];
  readonly origin: string;
  /** Hex SHA-256 of the member `policy`. */
  readonly policy: string;
  /** Hex. */
  readonly root: string;
  readonly selection: JsonObject;
  readonly size: number;
}

/** Bytes of `manifest.json`. */
export function formatManifest(manifest: Manifest): Uint8Array {
  // A selection holds values that were asked for, which may be nested as deep as those of an event.
  return encodeUtf8(`${canonicalize({ ...manifest, format: PACKAGE_FORMAT }, { depthMax: CONTAINER_DEPTH_MAX })}\n`);
}

/** Rule 8. Errors: `newer-format`; `malformed-export` for anything that is none. */
export function parseManifest(bytes: Uint8Array): Manifest {
  const value = parseObject(bytes, "manifest");
  const { format, members, origin, policy, root, selection, size } = value;
  if (format !== PACKAGE_FORMAT) refuseFormat(format);
  expectMembers(value, "format,members,origin,policy,root,selection,size", "manifest");
  if (!Array.isArray(members)) malformed("manifest: expected an array of members");
  if (typeof origin !== "string") malformed("manifest: expected origin to be a string");
  if (!isHash(policy) || !isHash(root)) malformed("manifest: expected hashes of 64 lower-case hex digits");
  if (!isJsonObject(selection)) malformed("manifest: expected selection to be an object");
  if (!isInteger(size, 1)) malformed("manifest: expected size to be an integer from 1");
  return { members: members.map(manifestMember), origin, policy, root, selection, size };
}

function manifestMember(value: JsonValue): ManifestMember {
  if (!isJsonObject(value)) malformed("manifest: expected members to be objects");
  expectMembers(value, "name,sha256,size", "manifest");
  const { name, sha256, size } = value;
  if (typeof name !== "string" || !isHash(sha256) || !isInteger(size, 0))
    malformed("manifest: expected a name, a hash and a size of each member");
  return { name, sha256, size };
}

function refuseFormat(format: JsonValue | undefined): void {
  const version = /^tallystick\/evidence\/v([1-9][0-9]{0,15})$/.exec(typeof format === "string" ? format : "")?.[1];
  if (version !== undefined && Number(version) >= 2 && Number.isSafeInteger(Number(version))) {
    throw new MalformedError("newer-format", `a newer version of tallystick wrote this package, in ${format}`, {
      details: { format },
    });
  }
  malformed(`manifest: expected the format ${PACKAGE_FORMAT}`);
}

/** What a log key signs of a manifest, whatever its type: rule 9. */
export function manifestMessage(origin: string, manifest: Uint8Array): Uint8Array {
  return encodeUtf8(`tallystick/v1/manifest\n${origin}\n${sha256Hex(manifest)}`);
}

const MANIFEST_SIGNATURES_MAX = 16;
const MANIFEST_SIGNATURE_BYTES_MAX = 65_536;

/** Rule 9. Error: `malformed-export`. */
export function parseManifestSignature(bytes: Uint8Array): readonly NoteSignature[] {
  const text = bytes.length > MANIFEST_SIGNATURE_BYTES_MAX ? null : strictText(bytes);
  if (text === null || text.startsWith("\n") || text.includes("\n\n"))
    malformed(`manifest.sig: expected signature lines of at most ${MANIFEST_SIGNATURE_BYTES_MAX} bytes`);
  // They have the form of those of a note, whatever the text before them is.
  const { signatures } = asPackage("manifest.sig", () => parseNote(`manifest\n\n${text}`));
  if (signatures.length > MANIFEST_SIGNATURES_MAX)
    malformed(`manifest.sig: expected at most ${MANIFEST_SIGNATURES_MAX} lines, got ${signatures.length}`);
  return signatures;
}

/** A checkpoint that the auditor may hold from before, and that the package continues it. */
export interface Consistency {
  /** Note. */
  readonly checkpoint: string;
  /** Hex hashes. */
  readonly proof: readonly string[];
}

export function formatConsistency({ checkpoint, proof }: Consistency): Uint8Array {
  return encodeUtf8(`${canonicalize({ checkpoint, proof })}\n`);
}

/** Rule 10. Error: `malformed-export`. */
export function parseConsistency(bytes: Uint8Array): Consistency {
  const value = parseObject(bytes, "consistency.json");
  expectMembers(value, "checkpoint,proof", "consistency.json");
  const { checkpoint, proof } = value;
  if (typeof checkpoint !== "string") malformed("consistency.json: expected checkpoint to be a string");
  return { checkpoint, proof: hashesOf(proof, PROOF_HASHES_MAX, "consistency.json") };
}

/** As in an export header. */
const PROOF_HASHES_MAX: number = 2 * INCLUSION_HASHES_MAX - 2;

/** The `ledger.anchor` entry that recorded an anchor. */
export interface RecordedEntry {
  readonly entry: string;
  readonly event: JsonObject;
  /** 32 hex digits. */
  readonly salt: string;
  /** Hex hashes. */
  readonly inclusion: readonly string[];
}

export interface PackagedAnchor {
  readonly kind: "rfc3161" | "opentimestamps";
  /** Names of members. */
  readonly note: string;
  readonly proof: string;
  /** Consistency proof from the size of the note, hex hashes. */
  readonly consistency: readonly string[];
  readonly recorded: RecordedEntry | null;
}

export const PACKAGED_ANCHORS_MAX = 1_000;

export function formatAnchorIndex(anchors: readonly PackagedAnchor[]): Uint8Array {
  return encodeUtf8(`${canonicalize(anchors, { depthMax: CONTAINER_DEPTH_MAX })}\n`);
}

/** Rules 11 and 12, given the names of all members of the package. Error: `malformed-export`. */
export function parseAnchorIndex(bytes: Uint8Array, names: readonly string[]): readonly PackagedAnchor[] {
  const value = parseValue(bytes, "anchors/index.json");
  if (!Array.isArray(value) || value.length === 0 || value.length > PACKAGED_ANCHORS_MAX)
    malformed(`anchors/index.json: expected an array of 1 to ${PACKAGED_ANCHORS_MAX} anchors`);
  const anchors = value.map(packagedAnchor);
  const named = anchors.flatMap(({ note, proof }) => [note, proof]);
  const present = names.filter(isAnchorMember);
  const isOnce = new Set(named).size === named.length && present.length === named.length;
  if (!isOnce || !present.every((name) => named.includes(name)))
    malformed("anchors/index.json: expected it to name each note and proof of the package once, and no others");
  return anchors;
}

function packagedAnchor(value: JsonValue): PackagedAnchor {
  const what = "anchors/index.json";
  if (!isJsonObject(value)) malformed(`${what}: expected objects`);
  expectMembers(value, "consistency,kind,note,proof,recorded", what);
  const { kind, note, proof, recorded } = value;
  if (kind !== "rfc3161" && kind !== "opentimestamps")
    malformed(`${what}: expected the kind rfc3161 or opentimestamps`);
  if (typeof note !== "string" || !ANCHOR_NOTE.test(note)) malformed(`${what}: expected note to name a note`);
  if (typeof proof !== "string" || !ANCHOR_PROOF.test(proof)) malformed(`${what}: expected proof to name a proof`);
  const consistency = hashesOf(value.consistency, PROOF_HASHES_MAX, what);
  return { kind, note, proof, consistency, recorded: recorded === null ? null : recordedEntry(recorded) };
}

function recordedEntry(value: JsonValue | undefined): RecordedEntry {
  const what = "anchors/index.json: recorded";
  if (!isJsonObject(value)) malformed(`${what}: expected an object`);
  expectMembers(value, "entry,event,inclusion,salt", what);
  const { entry, event, salt } = value;
  if (typeof entry !== "string" || !isJsonObject(event)) malformed(`${what}: expected an entry text and an event`);
  if (typeof salt !== "string" || !/^[0-9a-f]{32}$/.test(salt)) malformed(`${what}: expected a salt`);
  return { entry, event, salt, inclusion: hashesOf(value.inclusion, INCLUSION_HASHES_MAX, what) };
}

function parseObject(bytes: Uint8Array, what: string): JsonObject {
  const value = parseValue(bytes, what);
  if (!isJsonObject(value)) malformed(`${what}: expected an object`);
  return value;
}

/** Canonical JSON and a newline. */
function parseValue(bytes: Uint8Array, what: string): JsonValue {
  const text = strictText(bytes);
  if (text === null || !text.endsWith("\n")) malformed(`${what}: expected UTF-8 text that ends with a newline`);
  return asPackage(what, () => parseCanonical(text.slice(0, -1), { depthMax: CONTAINER_DEPTH_MAX }));
}

function expectMembers(value: JsonObject, expected: string, what: string): void {
  if (Object.keys(value).join() !== expected) malformed(`${what}: expected exactly the members ${expected}`);
}

function hashesOf(value: JsonValue | undefined, max: number, what: string): readonly string[] {
  if (!Array.isArray(value) || value.length > max || !value.every(isHash))
    malformed(`${what}: expected at most ${max} hashes of 64 lower-case hex digits`);
  return value;
}

function isHash(value: JsonValue | undefined): value is string {
  return typeof value === "string" && /^[0-9a-f]{64}$/.test(value);
}

function isInteger(value: JsonValue | undefined, min: number): value is number {
  return typeof value === "number" && Number.isInteger(value) && value >= min && value <= SAFE_INTEGER_MAX;
}

function asPackage<T>(what: string, read: () => T): T {
  try {
    return read();
  } catch (cause) {
    if (!isTallystickError(cause)) throw cause;
    throw new MalformedError("malformed-export", `${what}: ${cause.message}`, { cause });
  }
}

function malformed(message: string): never {
  throw new MalformedError("malformed-export", message);
}
