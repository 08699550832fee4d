import { strictText } from "#hash-platform";
import { CONTAINER_DEPTH_MAX, parseCanonical } from "./canonical-json.ts";
import { encodeUtf8 } from "./encoding.ts";
import { isTallystickError, MalformedError } from "./errors.ts";
import { NOTE_BYTES_MAX, RECEIPT_BYTES_MAX } from "./limits.ts";

/** What a file of evidence is. Normative: spec/verification.md 9-10. */

export type FileKind = "receipt" | "export" | "package" | "checkpoint";

const BEGINNINGS: readonly (readonly [string, FileKind])[] = [
  ['{"checkpoint":"', "export"],
  ['{"digests":{', "receipt"],
  ['{"entry":"', "receipt"],
  ["PK", "package"],
];

/** So many first bytes of a file tell what it is: one more than a checkpoint has. */
export const FILE_HEAD_BYTES: number = NOTE_BYTES_MAX + 1;

const SIGNATURE_LINE = "\n\n\u2014 ";
const PROOF_BEGINNING = "c2sp.org/tlog-proof@";
/** A small ledger holds its checkpoints as text, and is none for that. */
const SQLITE_BEGINNING = "SQLite format 3\0";

/** Kind of a file by its first 262,145 bytes, fewer if it has fewer; null: none of the four. Nothing more of it is checked. */
export function recogniseFile(head: Uint8Array | string): FileKind | null {
  const bytes = typeof head === "string" ? encodeUtf8(head) : head;
  const beginning = String.fromCharCode(...bytes.subarray(0, 24));
  const known = BEGINNINGS.find(([text]) => beginning.startsWith(text))?.[1];
  if (known !== undefined) return known;
  if (beginning.startsWith(PROOF_BEGINNING) || beginning.startsWith(SQLITE_BEGINNING)) return null;
  return bytes.length <= NOTE_BYTES_MAX && hasSignatureLine(bytes) ? "checkpoint" : null;
}

/** Wherever it stands: that the rest is a note is asked when it is read. What is no UTF-8 decodes to something else than these bytes. */
function hasSignatureLine(bytes: Uint8Array): boolean {
  return new TextDecoder().decode(bytes).includes(SIGNATURE_LINE);
}

const FORMAT = /^tallystick\/(?:receipt|export)\/v([1-9][0-9]{0,15})$/;

/**
 * Throws `newer-format` if the first line of a file (without its newline) says that it is of a later version. To be asked of
 * what does not parse: of a later version anything may differ.
 */
export function refuseNewerFormat(firstLine: Uint8Array | string): void {
  if (firstLine.length >= RECEIPT_BYTES_MAX || recogniseFile(firstLine) === null) return;
  const text = typeof firstLine === "string" ? firstLine : strictText(firstLine);
  const format = text === null ? undefined : formatOf(text);
  const version = Number(FORMAT.exec(format ?? "")?.[1] ?? 1);
  if (version < 2 || !Number.isSafeInteger(version)) return;
  throw new MalformedError("newer-format", `a newer version of tallystick wrote this file, in ${format}`, {
    details: { format },
  });
}

function formatOf(text: string): string | undefined {
  try {
    const { format } = parseCanonical(text, { depthMax: CONTAINER_DEPTH_MAX }) as { readonly format?: unknown };
    return typeof format === "string" ? format : undefined;
  } catch (error) {
    if (!isTallystickError(error)) throw error;
    return undefined;
  }
}
