import { createSha256, strictText } from "#hash-platform";
import { parseBitcoinHeaders } from "./anchor-proof/bitcoin.ts";
import type { ByteSource } from "./byte-source.ts";
import { concatBytes } from "./encoding.ts";
import { isTallystickError } from "./errors.ts";
import {
  CORE_MEMBERS,
  type Consistency,
  isAnchorMember,
  isOptionalMember,
  MANIFEST,
  MANIFEST_SIGNATURE,
  type Manifest,
  memberBytesMax,
  type PackagedAnchor,
  parseAnchorIndex,
  parseConsistency,
  parseManifest,
  parseManifestSignature,
} from "./evidence-package.ts";
import type { NoteSignature } from "./note.ts";
import type { Finding } from "./report.ts";
import { readMember, readZip, type ZipEntry, ZipError } from "./zip.ts";
import { ZIP_BYTES_MAX } from "./zip-format.ts";

/** Stage A of spec/evidence-package.md: a package is what its manifest says, member by member, whoever signed it. */

/** What stage A stops at. Stays inside the core: a verifier makes a report of it. */
export class PackageError extends Error {
  readonly finding: Finding;
  constructor(finding: Finding) {
    super(finding.message);
    this.name = "PackageError";
    this.finding = finding;
  }
}

export interface PackageContent {
  readonly manifestBytes: Uint8Array;
  readonly manifest: Manifest;
  readonly signatures: readonly NoteSignature[];
  readonly checkpoint: Uint8Array;
  readonly consistency: Consistency | null;
  readonly anchors: readonly PackagedAnchor[];
  /** Content of a member of the package, piece by piece; it was found right, but the source may have changed since: `ZipError`. */
  readonly member: (name: string) => AsyncIterable<Uint8Array>;
}

/** Sees the content of `entries.jsonl` while its hash is computed; what it returns early it does not see to the end. */
export type EntriesReader = (pieces: AsyncIterable<Uint8Array>) => Promise<void>;

/** Checks K1-K8. Errors: `PackageError`; `newer-format`; those of the source and of `readEntries`. */
export async function readPackage(source: ByteSource, readEntries: EntriesReader): Promise<PackageContent> {
  return new PackageReader(source).read(readEntries);
}

const ENTRIES = "entries.jsonl";
/** Members that are kept in memory; all others are only hashed. */
const KEPT: readonly string[] = ["checkpoint", "consistency.json", "anchors/index.json", "anchors/headers"];

class PackageReader {
  private readonly source: ByteSource;
  private entries: ReadonlyMap<string, ZipEntry> = new Map();

  constructor(source: ByteSource) {
    this.source = source;
  }

  async read(readEntries: EntriesReader): Promise<PackageContent> {
    const entries = await asFinding(() => readZip(this.source, { sizeMax: memberBytesMax, sumMax: ZIP_BYTES_MAX }));
    this.entries = new Map(entries.map((entry) => [entry.name, entry]));
    const names = entries.map(({ name }) => name);
    if (names[0] !== MANIFEST || names[1] !== MANIFEST_SIGNATURE)
      refuse("manifest", `the first members are not ${MANIFEST} and ${MANIFEST_SIGNATURE}`);
    const manifestBytes = await this.bytesOf(MANIFEST);
    const manifest = asReason("manifest", () => parseManifest(manifestBytes));
    const signatureBytes = await this.bytesOf(MANIFEST_SIGNATURE);
    const signatures = asReason("manifest-signature", () => parseManifestSignature(signatureBytes));
    checkMembers(entries.slice(2), manifest);
    const kept = await this.checkContents(manifest, readEntries);
    const checkpoint = kept.get("checkpoint") as Uint8Array;
    const { consistency, anchors } = parseKept(kept, names);
    return {
      manifestBytes,
      manifest,
      signatures,
      checkpoint,
      consistency,
      anchors,
      member: (name) => this.pieces(name),
    };
  }

  /** K7 of the members that the manifest lists; the content of those that are kept. */
  private async checkContents(manifest: Manifest, readEntries: EntriesReader): Promise<Map<string, Uint8Array>> {
    const kept = new Map<string, Uint8Array>();
    for (const { name, sha256 } of manifest.members) {
      const parts: Uint8Array[] = [];
      const keep = KEPT.includes(name) ? (piece: Uint8Array) => void parts.push(piece) : undefined;
      const found = await (name === ENTRIES ? this.hashWhileRead(name, readEntries) : this.hash(name, keep));
      if (found !== sha256) {
        const message = `the content of ${name} is not what the manifest says`;
        throw new PackageError({ code: "member-mismatch", message, expected: sha256, found, evidence: name });
      }
      if (KEPT.includes(name)) kept.set(name, concatBytes(...parts));
    }
    return kept;
  }

  private async hash(name: string, see: (piece: Uint8Array) => void = () => {}): Promise<string> {
    const state = createSha256();
    await asFinding(async () => {
      for await (const piece of this.pieces(name)) {
        state.update(piece);
        see(piece);
      }
    });
    return state.hex();
  }

  /** As `hash`, and hands the content to a reader on the way; what it leaves unread is read again without it. */
  private async hashWhileRead(name: string, read: EntriesReader): Promise<string> {
    const state = createSha256();
    const pieces = this.pieces(name);
    let isWhole = false;
    async function* seen(): AsyncGenerator<Uint8Array> {
      for await (const piece of pieces) {
        state.update(piece);
        yield piece;
      }
      isWhole = true;
    }
    await asFinding(() => read(seen()));
    return isWhole ? state.hex() : this.hash(name);
  }

  private async bytesOf(name: string): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    await this.hash(name, (piece) => parts.push(piece));
    return concatBytes(...parts);
  }

  private pieces(name: string): AsyncGenerator<Uint8Array> {
    // Names come from the manifest, which was compared with the members.
    return readMember(this.source, this.entries.get(name) as ZipEntry);
  }
}

/** K6 */
function checkMembers(entries: readonly ZipEntry[], { members }: Manifest): void {
  const isSame =
    members.length === entries.length && members.every(({ name, size }, i) => isMember(entries[i], name, size));
  if (!isSame) refuse("members", "the members are not those that the manifest lists, in its order");
  if (!CORE_MEMBERS.every((name, i) => members[i]?.name === name))
    refuse("members", `the first members that the manifest lists are not ${CORE_MEMBERS.join(", ")}`);
  const stranger = members.slice(CORE_MEMBERS.length).find(({ name }) => !isOptionalMember(name));
  if (stranger !== undefined) refuse("members", `a package has no member ${stranger.name}`);
}

function isMember(entry: ZipEntry | undefined, name: string, size: number): boolean {
  return entry?.name === name && entry.size === size;
}

/** K8 */
function parseKept(
  kept: ReadonlyMap<string, Uint8Array>,
  names: readonly string[],
): Pick<PackageContent, "consistency" | "anchors"> {
  const consistencyBytes = kept.get("consistency.json");
  const consistency =
    consistencyBytes === undefined ? null : asReason("consistency", () => parseConsistency(consistencyBytes));
  const indexBytes = kept.get("anchors/index.json");
  const headers = kept.get("anchors/headers");
  const hasAnchors = headers !== undefined || names.some(isAnchorMember);
  if (hasAnchors !== (indexBytes !== undefined))
    refuse("anchors", "anchors/index.json and the members that it speaks of come together");
  const anchors = indexBytes === undefined ? [] : asReason("anchors", () => parseAnchorIndex(indexBytes, names));
  if (headers !== undefined) asReason("headers", () => checkHeaders(headers));
  return { consistency, anchors };
}

function checkHeaders(bytes: Uint8Array): void {
  const text = strictText(bytes);
  if (text === null || (text !== "" && !text.endsWith("\n")))
    refuse("headers", "anchors/headers: expected lines of UTF-8 text, each with a newline");
  parseBitcoinHeaders(text);
}

function refuse(reason: string, message: string): never {
  throw new PackageError({ code: "package-malformed", message, found: reason });
}

async function asFinding<T>(read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof ZipError) refuse(error.reason, error.message);
    throw error;
  }
}

/** What does not parse is malformed for this reason. */
function asReason<T>(reason: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (!isTallystickError(error) || error.code === "newer-format") throw error;
    refuse(reason, error.message);
  }
}
