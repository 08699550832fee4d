import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { headOfNote } from "./core/contradiction.ts";
import { decodeUtf8 } from "./core/encoding.ts";
import { isTallystickError, MalformedError, PolicyError, UnavailableError, VerificationError } from "./core/errors.ts";
import { NOTE_BYTES_MAX } from "./core/limits.ts";
import { parsePolicy } from "./core/policy.ts";
import type { VerifyReport } from "./core/report.ts";
import { type HeldNote, verifyPublished } from "./core/verify-published.ts";
import { openState, type State } from "./keys/index.ts";
import type { ArchiveReader } from "./ledger/archive.ts";
import { type Mirrored, mirrorLedger } from "./ledger/mirror.ts";
import { CHECKPOINT_PATH } from "./ledger/publish.ts";
import type { VerifyOptions } from "./verify.ts";

/** Whether a location is the URL of a published ledger rather than a path. */
export function isWebLocation(location: string | URL): boolean {
  return /^https?:\/\//i.test(location instanceof URL ? location.href : location);
}

async function openPublished(location: string | URL): Promise<ArchiveReader> {
  if (isWebLocation(location)) return (await import("./storage/archive/http.ts")).httpArchive(location);
  return (await import("./storage/archive/filesystem.ts")).filesystemArchive(folderOf(location));
}

function folderOf(location: string | URL): string {
  return location instanceof URL || /^file:/i.test(location) ? fileURLToPath(location) : resolve(location);
}

/**
 * Verifies a ledger that was published in a folder or behind a URL. Changes nothing but, with `remember`, the state directory. Errors:
 * `not-found` and `unrecognised-file` where no checkpoint is, `ledger-replaced` where this machine knows one there,
 * `malformed-policy`, `malformed-config` for an `expect` that is no checkpoint, `storage-*`; `TypeError` for options that only a ledger has.
 */
export async function verifyPublishedAt(
  location: string | URL,
  options: VerifyOptions,
  state: State | null,
): Promise<VerifyReport> {
  for (const name of ["first", "last", "since"] as const) {
    if (options[name] !== undefined)
      throw new TypeError(`verify: a published ledger is verified whole; expected no ${name}`);
  }
  const reader = await openPublished(location);
  const recalled = state?.recallPath(reader.location);
  const note = await reader.get(CHECKPOINT_PATH, { bytesMax: NOTE_BYTES_MAX, signal: options.signal });
  if (note === undefined) throw nothingAt(reader.location, recalled);
  const origin = recalled?.origin ?? originOf(note);
  // What is kept is only asked where nothing was given: a damaged one then stands in nobody's way.
  const policy = options.policy ?? (origin === null ? undefined : state?.readPolicy(origin));
  const lastSeen = origin === null ? undefined : state?.lastSeen(origin);
  const held: HeldNote[] = [];
  if (lastSeen !== undefined) held.push({ source: "lastSeen", note: lastSeen });
  if (options.expect !== undefined) held.push({ source: "expect", note: options.expect });
  const { report, genesis } = await verifyPublished(
    note,
    (path, bytesMax) => reader.get(path, { bytesMax, signal: options.signal }),
    {
      policy,
      pin: options.policy === undefined ? "state" : "policy",
      held,
      findingsMax: options.findingsMax,
      signal: options.signal,
      onProgress: options.onProgress,
    },
  );
  if (options.remember === true && state !== null && report.ok && report.pin !== "none" && genesis !== null) {
    const text = decodeUtf8(note, "malformed-note");
    state.rememberCheckpoint(report.origin ?? "", text);
    state.rememberPath(reader.location, { origin: report.origin ?? "", genesis, size: report.size, note: text });
  }
  return report;
}

function originOf(note: Uint8Array): string | null {
  try {
    return headOfNote(decodeUtf8(note, "malformed-note"))?.origin ?? null;
  } catch (error) {
    if (!isTallystickError(error)) throw error;
    return null;
  }
}

function nothingAt(location: string, recalled: ReturnType<State["recallPath"]>): Error {
  const details = { location };
  if (recalled !== undefined) {
    const message = `${location}: no checkpoint is there, but this machine knows a ledger of at least ${recalled.size} entries there (${recalled.origin})`;
    return new VerificationError("ledger-replaced", message, {
      details: { ...details, origin: recalled.origin, size: recalled.size },
    });
  }
  if (isWebLocation(location))
    return new UnavailableError("not-found", `nothing to verify at ${location}: no checkpoint is published there`, {
      details,
    });
  return new MalformedError(
    "unrecognised-file",
    `${location} is a directory without a checkpoint; expected a published ledger, a ledger, a receipt or an export`,
    { details },
  );
}

export interface MirrorOptions {
  /** Text of the policy that the follower pins. Default: the one that this machine keeps for the origin. */
  readonly policy?: string | undefined;
  /** State directory; `null` ignores what this machine knows, and remembers nothing in it. */
  readonly state?: string | null;
  /** Mirror the bodies too, from now on. Left out: as in the folder. */
  readonly bodies?: true | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Called with how many entries of how many are mirrored. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
}

/**
 * Follows the ledger that is published at `source` (a folder or URL) into a folder, and remembers its checkpoint on this machine. See
 * `mirrorLedger` for what is checked and for its errors; `untrusted-key` without a policy.
 */
export async function mirror(
  source: string | URL,
  directory: string | URL,
  options: MirrorOptions = {},
): Promise<Mirrored> {
  const { filesystemArchive } = await import("./storage/archive/filesystem.ts");
  const reader = await openPublished(source);
  const target = filesystemArchive(folderOf(directory));
  if (reader.location === target.location) throw new TypeError("mirror: expected two different folders");
  const { signal, onProgress, bodies } = options;
  const state = options.state === null ? null : openState(options.state === undefined ? {} : { dir: options.state });
  const policy = parsePolicy(options.policy ?? (await keptPolicy(reader, state, signal)));
  const mirrored = await mirrorLedger({
    source: reader,
    target,
    policy,
    lastSeen: state?.lastSeen(policy.origin),
    bodies,
    signal,
    onProgress,
  });
  try {
    state?.rememberCheckpoint(mirrored.origin, mirrored.note);
  } catch (error) {
    // The mirror itself holds the checkpoint; a state directory that cannot be written is no reason to fail.
    if (!(error instanceof UnavailableError)) throw error;
  }
  return mirrored;
}

async function keptPolicy(
  reader: ArchiveReader,
  state: State | null,
  signal: AbortSignal | undefined,
): Promise<string> {
  const note = await reader.get(CHECKPOINT_PATH, { bytesMax: NOTE_BYTES_MAX, signal });
  if (note === undefined)
    throw new UnavailableError("not-found", `no checkpoint is published at ${reader.location}`, {
      details: { location: reader.location },
    });
  const origin = originOf(note);
  const policy = origin === null ? undefined : state?.readPolicy(origin);
  if (policy !== undefined) return policy;
  throw new PolicyError(
    "untrusted-key",
    `no policy is pinned for ${origin ?? reader.location}: give one that came from the operator by another way`,
    { details: { location: reader.location } },
  );
}
