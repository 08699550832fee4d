import { CONTAINER_DEPTH_MAX, canonicalize, parseCanonical } from "./canonical-json.ts";
import { decodeUtf8, encodeHex, encodeUtf8 } from "./encoding.ts";
import { isTallystickError } from "./errors.ts";
import type { JsonObject } from "./event.ts";
import { EXPORT_FORMAT } from "./export-format.ts";
import type { FileLine } from "./file-lines.ts";
import { TILE_WIDTH } from "./limits.ts";
import { proveInclusion } from "./proof.ts";
import { BODIES_BYTES_MAX, bodiesPath, decodeBodies, exportLineOf } from "./published-bodies.ts";
import { LEDGER_BUNDLE_BYTES_MAX, newBundles, type ObjectReader, readBundle, tileReaderOf } from "./published-tiles.ts";
import type { Finding, VerifyReport } from "./report.ts";
import { verifyExport } from "./verify-export.ts";

export interface PublishedBodies {
  readonly objects: ObjectReader;
  /** The checkpoint as it is published. */
  readonly note: string;
  readonly origin: string;
  readonly size: number;
  readonly policy: string | undefined;
  readonly findingsMax: number | undefined;
  readonly signal: AbortSignal | undefined;
}

/** Report of the whole export that entries and bodies make together, or why they make none. */
export type BodiesVerification =
  | { readonly kind: "absent" }
  | { readonly kind: "unreadable"; readonly finding: Finding | null }
  | { readonly kind: "verified"; readonly report: VerifyReport };

/** What cannot be read of the bodies; null where the entries themselves cannot, which is a finding already. */
class Unreadable extends Error {
  readonly finding: Finding | null;

  constructor(finding: Finding | null) {
    super(finding?.message ?? "entries cannot be read");
    this.finding = finding;
  }
}

/**
 * Verifies the bodies of a published ledger, of which the whole is an export (spec/published.md 20): every check of spec/export.md is
 * made. Hostile bytes are findings. Memory: one object of bodies, and what `verifyExport` needs.
 */
export async function verifyBodies(parts: PublishedBodies): Promise<BodiesVerification> {
  const { objects, policy, findingsMax } = parts;
  try {
    if ((await readBodies(objects, 0)) === null) return { kind: "absent" };
    const header = await headerOf(parts);
    const report = await verifyExport(() => linesOf(parts, header), { policy, allowSelfAsserted: false, findingsMax });
    return { kind: "verified", report };
  } catch (error) {
    if (error instanceof Unreadable) return { kind: "unreadable", finding: error.finding };
    throw error;
  }
}

/** Lines of a block; null where it is absent. */
async function readBodies(objects: ObjectReader, block: number): Promise<string[] | null> {
  const path = bodiesPath(block);
  try {
    const bytes = await objects(path, BODIES_BYTES_MAX);
    return bytes === undefined ? null : decodeBodies(bytes, path);
  } catch (error) {
    throw unreadable(error, block);
  }
}

function unreadable(error: unknown, block: number): unknown {
  if (!isTallystickError(error) || error.code !== "malformed-tile") return error;
  const path = bodiesPath(block);
  const message = error.message.startsWith(path) ? error.message : `${path}: ${error.message}`;
  return new Unreadable({ code: "object-mismatch", index: block * TILE_WIDTH, found: path, message });
}

/** The header that the whole export of what is published would have. It is held against the checkpoint like any other. */
async function headerOf({ objects, note, origin, size }: PublishedBodies): Promise<string> {
  const [entry] = await entriesOf(objects, { index: 0, count: Math.min(TILE_WIDTH, size) });
  const [body] = (await readBodies(objects, 0)) ?? [];
  const { event = {}, salt = "" } = parsed(body ?? "");
  const proof = await proveInclusion(0, size, tileReaderOf(objects)).catch(notOurs);
  return canonicalize(
    {
      checkpoint: note,
      format: EXPORT_FORMAT,
      genesis: { entry: entry ?? "", event, inclusion: proof.map(encodeHex), salt },
      origin,
      proof: [],
      selection: { first: 0, kind: "range", last: size - 1 },
    },
    { depthMax: CONTAINER_DEPTH_MAX },
  );
}

function parsed(body: string): JsonObject {
  try {
    return parseCanonical(body, { depthMax: CONTAINER_DEPTH_MAX }) as JsonObject;
  } catch (error) {
    throw unreadable(error, 0);
  }
}

async function entriesOf(
  objects: ObjectReader,
  place: { readonly index: number; readonly count: number },
): Promise<string[]> {
  const entries = await readBundle(objects, place, LEDGER_BUNDLE_BYTES_MAX).catch(notOurs);
  if (entries === undefined) throw new Unreadable(null);
  return entries.map((entry) => decodeUtf8(entry, "malformed-entry"));
}

/** What is wrong with entries or tiles was found where they were verified. */
function notOurs(error: unknown): never {
  if (isTallystickError(error) && EVIDENCE_CODES.has(error.code)) throw new Unreadable(null);
  throw error;
}

const EVIDENCE_CODES: ReadonlySet<string> = new Set(["malformed-tile", "not-found", "malformed-entry"]);

async function* linesOf({ objects, size, signal }: PublishedBodies, header: string): AsyncGenerator<FileLine> {
  yield { bytes: encodeUtf8(header), ended: true };
  for (const place of newBundles(0, size)) {
    signal?.throwIfAborted();
    const { index, count } = place;
    const [entries, bodies] = await Promise.all([entriesOf(objects, place), readBodies(objects, index)]);
    const path = bodiesPath(index);
    if (bodies === null || bodies.length < count) {
      const message = bodies === null ? `${path} is not published` : `${path} lacks the bodies of the last entries`;
      throw new Unreadable({
        code: "object-missing",
        index: index * TILE_WIDTH + (bodies?.length ?? 0),
        found: path,
        message,
      });
    }
    for (const [i, entry] of entries.entries())
      yield { bytes: encodeUtf8(joined(entry, bodies[i] as string, index)), ended: true };
  }
}

function joined(entry: string, body: string, block: number): string {
  try {
    return exportLineOf(entry, body);
  } catch (error) {
    throw unreadable(error, block);
  }
}
