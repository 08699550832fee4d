import { strictText } from "#hash-platform";
import { CONTAINER_DEPTH_MAX, parseCanonical } from "./canonical-json.ts";
import { isTallystickError, MalformedError } from "./errors.ts";
import { RECEIPT_BYTES_MAX } from "./limits.ts";

/** What a file of evidence is. Normative: spec/verification.md 9-10. */

const BEGINNINGS: readonly (readonly [string, "receipt" | "export" | "package"])[] = [
  ['{"checkpoint":"', "export"],
  ['{"digests":{', "receipt"],
  ['{"entry":"', "receipt"],
  ["PK", "package"],
];

/** Kind of a file by its first bytes (15 suffice); null: neither a receipt, nor an export, nor an evidence package. */
export function recogniseFile(head: Uint8Array | string): "receipt" | "export" | "package" | null {
  const text = typeof head === "string" ? head : String.fromCharCode(...head.subarray(0, 16));
  return BEGINNINGS.find(([beginning]) => text.startsWith(beginning))?.[1] ?? null;
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
