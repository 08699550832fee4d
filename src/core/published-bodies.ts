import { CONTAINER_DEPTH_MAX, canonicalize, isJsonObject, parseCanonical } from "./canonical-json.ts";
import { type Disclosure, digestsOf } from "./commitment.ts";
import { decodeUtf8, encodeUtf8 } from "./encoding.ts";
import { type Entry, leafHashHex, parseCommitment, parseEntry } from "./entry.ts";
import { examineBody } from "./entry-body.ts";
import { type ErasureClaim, judgeErasure } from "./erasure.ts";
import { isTallystickError, MalformedError, VerificationError } from "./errors.ts";
import { type ExportLine, parseExportLine } from "./export-format.ts";
import { TILE_WIDTH } from "./limits.ts";
import { BUNDLE_BYTES_MAX } from "./published-tiles.ts";
import { bundlePath } from "./tile.ts";

/**
 * Bodies of a published ledger: beside each entry bundle an object of lines, each what a line of an export says beyond its entry
 * text. Normative: spec/published.md 17-21.
 */

/** Bytes of the largest object of bodies: those of the largest entry bundle. */
export const BODIES_BYTES_MAX: number = BUNDLE_BYTES_MAX;
/** Object that says that a folder has bodies, from before the first of them on. */
export const BODIES_MARK_PATH = "body/format";
export const BODIES_MARK: Uint8Array = encodeUtf8("tallystick/bodies/v1\n");

/** Path of the bodies of entry bundle `index`. */
export function bodiesPath(index: number): string {
  return bundlePath(index).replace("tile/entries/", "body/");
}

/** Line of one entry, without its newline. `content` is a line of an export without `entry`. */
export function formatBody(content: object): string {
  return canonicalize(content, { depthMax: CONTAINER_DEPTH_MAX });
}

/** Lines to an object. The bound is the caller's to check. */
export function encodeBodies(lines: readonly string[]): Uint8Array {
  return encodeUtf8(lines.map((line) => `${line}\n`).join(""));
}

/** Lines of an object, nothing in them checked. `malformed-tile` for more than 256, none, or other than whole lines of UTF-8. */
export function decodeBodies(bytes: Uint8Array, path: string): string[] {
  const text = decodeUtf8(bytes, "malformed-tile");
  const lines = text.split("\n");
  if (lines.pop() !== "" || lines.length < 1 || lines.length > TILE_WIDTH)
    throw new MalformedError("malformed-tile", `${path}: expected 1 to ${TILE_WIDTH} whole lines`, {
      details: { path },
    });
  return lines;
}

/** Line of an export, without its newline, of an entry and what is published of its body. `malformed-tile`. */
export function exportLineOf(entryText: string, body: string): string {
  try {
    const value = parseCanonical(body, { depthMax: CONTAINER_DEPTH_MAX });
    if (!isJsonObject(value) || Object.hasOwn(value, "entry"))
      throw new MalformedError("malformed-tile", "expected an object without a member entry");
    return canonicalize({ ...value, entry: entryText }, { depthMax: CONTAINER_DEPTH_MAX });
  } catch (cause) {
    if (!isTallystickError(cause)) throw cause;
    throw new MalformedError("malformed-tile", `body: ${cause.message}`, { cause });
  }
}

/** A body that was found to be the one of its entry. */
export interface CheckedBody {
  readonly line: ExportLine;
  /** What it erases, if it is an erasure: claims about entries before it. */
  readonly erases: readonly ErasureClaim[];
}

/** Checks one body against its entry. Errors: `malformed-*`, `verification-failed`. */
export function checkBody(entryText: string, body: string): CheckedBody {
  const line = parseExportLine(exportLineOf(entryText, body), "range");
  const { content, entry } = line;
  if (content.kind === "erased" || content.kind === "withheld") return { line, erases: [] };
  if (content.kind === "missing")
    throw new VerificationError("verification-failed", `entry ${entry.index} is a control event without its body`, {
      details: { index: entry.index },
    });
  const examined = examineBody(entry, content);
  const [problem] = examined.problems;
  if (problem !== undefined) {
    throw new VerificationError("verification-failed", `entry ${entry.index}: ${problem.error.message}`, {
      cause: problem.error,
      details: {
        index: entry.index,
        findings: [{ code: problem.code, index: entry.index, message: problem.error.message }],
      },
    });
  }
  if (examined.control?.action !== "ledger.erasure") return { line, erases: [] };
  const by = entry.index;
  const erases = examined.control.payload.entries
    .filter((target) => target.index < by)
    .map(({ index, leaf, fields = null }) => ({ by, index, leaf, fields, signedIds: [], idGuard: null, heldBy: null }));
  return { line, erases };
}

/** The body once `claims` have taken from it what they name; the same text where they name nothing that is shown. `malformed-*`. */
export function eraseFromBody(entryText: string, body: string, claims: readonly ErasureClaim[]): string {
  const entry = parseEntry(entryText);
  const { content } = parseExportLine(exportLineOf(entryText, body), "range");
  const names = (): readonly string[] | null => (content.kind === "fields" ? content.disclosure.names : null);
  const { wholeBy, fields } = judgeErasure(claims, { leaf: leafHashHex(entryText), scheme: entry.scheme, names });
  if (content.kind === "erased") return body;
  if (wholeBy !== null) return formatBody({ erasedBy: wholeBy });
  return content.kind === "fields" ? eraseFields(entry, body, content.disclosure, new Set(fields.keys())) : body;
}

function eraseFields(entry: Entry, body: string, disclosure: Disclosure, erased: ReadonlySet<string>): string {
  const { names, disclosed, digests } = disclosure;
  if (!Object.keys(disclosed).some((name) => erased.has(name))) return body;
  const all = digestsOf(parseCommitment(entry.commitment).hash, disclosure);
  const kept = Object.fromEntries(
    names.flatMap((name, i) => (erased.has(name) || Object.hasOwn(digests, name) ? [[name, all[i]]] : [])),
  );
  const shown = Object.fromEntries(Object.entries(disclosed).filter(([name]) => !erased.has(name)));
  return formatBody({ names, disclosed: shown, digests: kept });
}
