import type { JsonValue } from "../core/canonical-json.ts";
import { encodeBase64, encodeUtf8 } from "../core/encoding.ts";
import { isTallystickError } from "../core/errors.ts";
import { type Event, validateMember } from "../core/event.ts";

export interface GitPerson {
  readonly name: string;
  readonly email: string;
  /** Strict ISO 8601 as git prints it; whatever the person's clock said. */
  readonly time: string;
}

export interface GitFile {
  /** `A`, `M`, `D`, `T`: renames are a deletion and an addition. */
  readonly status: string;
  /** Bytes, in no particular encoding. */
  readonly path: Uint8Array;
}

/** A commit as git prints it: everything in it was chosen by whoever made it. */
export interface GitCommit {
  readonly hash: string;
  readonly tree: string;
  readonly parents: readonly string[];
  readonly author: GitPerson;
  readonly committer: GitPerson;
  readonly message: string;
  readonly files: readonly GitFile[];
  /** Files that were changed too and are not in `files`. */
  readonly filesOmitted: number;
}

/** An event has at most 1 MiB by default; one character of a path takes up to six bytes as JSON. */
const PATHS_UNITS_MAX: number = 128 * 1024;
const SUBJECT_UNITS_MAX = 4_096;
const NAME_UNITS_MAX = 1_024;
/** An actor's id has at most 1,024 bytes; a character takes up to three. */
const EMAIL_UNITS_MAX = 320;
const TRAILERS_MAX = 100;
const TRAILER_UNITS_MAX = 1_024;

/**
 * The event of a commit: its author acted on the repository when the author's clock said so. All of it is the committer's
 * claim; the hash ties it to the content. `isCut`: a shallow clone ends here, so parents and changes are unknown.
 */
export function commitEvent(
  commit: GitCommit,
  options: { readonly repository: string; readonly isCut: boolean },
): Event {
  const { hash, tree, parents, author, committer, message } = commit;
  const name = clip(author.name, NAME_UNITS_MAX);
  const trailers = trailersOf(message);
  const isOwnCommit = author.name === committer.name && author.email === committer.email;
  const payload: Record<string, JsonValue> = {
    commit: hash,
    committedAt: committer.time,
    subject: clip(message.split("\n", 1)[0] ?? "", SUBJECT_UNITS_MAX),
    tree,
    ...(isOwnCommit
      ? {}
      : {
          committer: { email: clip(committer.email, EMAIL_UNITS_MAX), name: clip(committer.name, NAME_UNITS_MAX) },
        }),
    ...(options.isCut ? { shallow: true } : { parents, ...filesOf(commit) }),
    ...(trailers.length === 0 ? {} : { trailers }),
  };
  return {
    id: `git:${hash}`,
    type: "git.commit",
    action: "git.commit",
    actor: {
      id: clip(author.email, EMAIL_UNITS_MAX) || clip(author.name, EMAIL_UNITS_MAX) || "unknown",
      type: "git.author",
      ...(name === "" ? {} : { name }),
    },
    targets: [{ id: clip(options.repository, NAME_UNITS_MAX), type: "git.repository" }],
    // Some histories hold impossible times: the event then has none, and `committedAt` shows what was written.
    ...(isTime(author.time) ? { occurredAt: author.time } : {}),
    payload,
  };
}

function isTime(text: string): boolean {
  try {
    validateMember("occurredAt", text);
    return true;
  } catch (error) {
    if (!isTallystickError(error)) throw error;
    return false;
  }
}

function filesOf(commit: GitCommit): Record<string, JsonValue> {
  const files: JsonValue[] = [];
  let left = PATHS_UNITS_MAX;
  for (const { status, path } of commit.files) {
    const file = pathOf(path);
    left -= file.path.length + (file.pathBytes?.length ?? 0);
    if (left < 0) break;
    files.push({ ...file, status });
  }
  const omitted = commit.files.length - files.length + commit.filesOmitted;
  return { files, ...(omitted === 0 ? {} : { filesOmitted: omitted }) };
}

/** Paths are bytes; one that is no UTF-8 is kept beside its readable form. */
function pathOf(bytes: Uint8Array): { readonly path: string; readonly pathBytes?: string } {
  const path = new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
  const isSame = Buffer.compare(encodeUtf8(path), bytes) === 0;
  return isSame ? { path } : { path, pathBytes: encodeBase64(bytes) };
}

const TRAILER = /^([A-Za-z0-9][A-Za-z0-9-]*)\s*:\s+(.*)$/;

/** Trailers of the last paragraph, if it holds nothing else: `Signed-off-by: …`, with continuation lines. */
function trailersOf(message: string): JsonValue[] {
  const paragraphs = message.trimEnd().split(/\n[ \t]*\n/);
  const last = paragraphs.length > 1 ? (paragraphs.at(-1) ?? "") : "";
  const trailers: { token: string; value: string }[] = [];
  for (const line of last.split("\n")) {
    const match = TRAILER.exec(line);
    const previous = trailers.at(-1);
    if (match !== null) trailers.push({ token: match[1] ?? "", value: match[2] ?? "" });
    else if (/^[ \t]/.test(line) && previous !== undefined) previous.value += ` ${line.trim()}`;
    else return [];
  }
  return trailers.slice(0, TRAILERS_MAX).map(({ token, value }) => ({
    token: clip(token, TRAILER_UNITS_MAX),
    value: clip(value, TRAILER_UNITS_MAX),
  }));
}

/** The text, or its beginning and `…`; a surrogate pair is never torn. */
function clip(text: string, unitsMax: number): string {
  if (text.length <= unitsMax) return text;
  return `${text.slice(0, unitsMax - 1).replace(/[\ud800-\udbff]$/, "")}…`;
}
