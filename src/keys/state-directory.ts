import { accessSync, constants, statSync } from "node:fs";
import { isAbsolute, join, resolve } from "node:path";
import {
  ConflictError,
  isTallystickError,
  MalformedError,
  UnavailableError,
  VerificationError,
} from "../core/errors.ts";
import { sha256Hex } from "../core/hash.ts";
import { parsePolicy } from "../core/policy.ts";
import type { ReaderState, VerificationRecord } from "../ledger/reader-state.ts";
import {
  exportState,
  type ImportReport,
  importState,
  type StateExport,
  type StateExportOptions,
} from "./state-export.ts";
import {
  codeOf,
  isPlace,
  KEY_NAME,
  listNames,
  makeFolder,
  readNewest,
  readText,
  removeFolder,
  withStateErrors,
  writeNewest,
  writeNewText,
  writeText,
} from "./state-files.ts";
import { type StateLocation, stateDirectoryOf } from "./state-location.ts";

/** What this machine knows about the ledger at a place, so that a wiped, replaced or rolled-back one shows. */
export interface PathRecord {
  /** Absolute path, or the URL of a ledger on a server (without secrets). */
  readonly path: string;
  readonly origin: string;
  /** Hex leaf hash of entry 0. */
  readonly genesis: string;
  /** Largest size seen there. */
  readonly size: number;
  /** Latest checkpoint note seen there. */
  readonly note: string | null;
}

/**
 * This machine's memory of ledgers, outside of them: keys made here, pinned policies, what stood at each path, the last
 * checkpoint a reader accepted, the last verification. All calls are synchronous and safe beside other processes:
 * writes are atomic and durable when they return, and what is monotone never goes back. Reading makes no directory.
 * Errors of the file system are `read-only`, `storage-full` or `storage-io`, naming directory and user.
 *
 * ```
 * <dir>/ledgers/<SHA-256 of origin>/  origin  policy  verification.json  key.pem  seen/<size>
 * <dir>/paths/<SHA-256 of path>/      <size>
 * <dir>/lock.sqlite
 * ```
 */
export interface State extends ReaderState {
  readonly dir: string;
  /** Where the embedded default keeps its lock store. */
  readonly lockStorePath: string;
  /** Makes the directory, and asks whether this process may write there: before anything is made that relies on it. */
  prepare(): void;
  /** Stores a private key, mode 0600. `already-exists` rather than overwrite one. `name`: `[a-z0-9-]`, default `key`. */
  writeKey(origin: string, pem: string, name?: string): void;
  /** PEM text stored by `writeKey`. `key-unreadable` when it is there and may not be read. */
  readKey(origin: string, name?: string): string | undefined;
  /** Names under which this origin has keys, ascending. */
  listKeys(origin: string): readonly string[];
  /** A sentence when others than its owner may read the key file; not an error, because it cannot be undone. */
  keyWarning(origin: string, name?: string): string | undefined;
  writePolicy(origin: string, policy: string): void;
  /** Text stored by `writePolicy`. `malformed-policy` (`details.file`) when it is no policy of this origin any more: what is pinned is then unknown. */
  readPolicy(origin: string): string | undefined;
  /**
   * Remembers a ledger at a place. A smaller size than known is ignored. `ledger-replaced` when another ledger (origin or
   * genesis) is remembered there: `forgetPath` first, deliberately.
   */
  rememberPath(path: string, record: Omit<PathRecord, "path" | "note"> & { readonly note?: string | null }): void;
  recallPath(path: string): PathRecord | undefined;
  /** Everything remembered, by path. */
  listPaths(): readonly PathRecord[];
  /** Forgets what stood at a place; false when nothing was known. */
  forgetPath(path: string): boolean;
  /**
   * Remembers a checkpoint note that the caller has verified. An older one than known is ignored; of two with equal size
   * and root the longer stays (it has more cosignatures). `forked` for the same size with another root,
   * `origin-mismatch`, `malformed-checkpoint`.
   */
  rememberCheckpoint(origin: string, note: string): void;
  lastSeen(origin: string): string | undefined;
  /** Keeps the record with the later `time`. */
  writeVerification(origin: string, record: VerificationRecord): void;
  readVerification(origin: string): VerificationRecord | undefined;
  /** Origins of which anything is known, ascending. */
  listOrigins(): readonly string[];
  /** One JSON object for another machine; private keys only when asked for. */
  export(options?: StateExportOptions): StateExport;
  /** Takes over what is unknown or newer there, never overwriting a key, a policy or a newer record. See `ImportReport`. */
  import(json: unknown): ImportReport;
}

/** Opens the state directory, wherever it is to be; nothing is made until something is written. */
export function openState(location: StateLocation = {}): State {
  const dir = stateDirectoryOf(location);
  const ledgerFile = (origin: string, ...names: string[]): string => {
    if (origin === "") throw new TypeError("origin: expected a non-empty string");
    return join(dir, "ledgers", sha256Hex(origin), ...names);
  };
  const pathFolder = (path: string): string => join(dir, "paths", sha256Hex(placeOf(path)));
  const keyFile = (origin: string, name: string): string => {
    if (!KEY_NAME.test(name)) throw new TypeError(`key name: expected [a-z0-9-]{1,80}, got ${name}`);
    return ledgerFile(origin, `${name}.pem`);
  };
  /** Keeps the origin readable beside its hash. */
  const nameFolder = (origin: string): void => {
    if (readText(ledgerFile(origin, "origin")) === undefined) writeText(ledgerFile(origin, "origin"), `${origin}\n`);
  };
  const guarded = <T>(action: () => T): T => withStateErrors(dir, action);

  const state: State = {
    dir,
    lockStorePath: join(dir, "lock.sqlite"),

    prepare: () =>
      guarded(() => {
        makeFolder(dir);
        accessSync(dir, constants.W_OK | constants.X_OK);
      }),

    writeKey: (origin, pem, name = "key") =>
      guarded(() => {
        nameFolder(origin);
        if (writeNewText(keyFile(origin, name), pem)) return;
        throw new ConflictError("already-exists", `state directory: there is a key "${name}" for ${origin} already`, {
          details: { origin, name, dir },
        });
      }),
    readKey: (origin, name = "key") => {
      const file = keyFile(origin, name);
      try {
        return readText(file);
      } catch (cause) {
        throw new UnavailableError("key-unreadable", `key file ${file}: cannot be read (${codeOf(cause) ?? "error"})`, {
          cause,
          details: { file, errno: codeOf(cause) },
        });
      }
    },
    listKeys: (origin) =>
      guarded(() =>
        listNames(ledgerFile(origin))
          .filter((name) => name.endsWith(".pem"))
          .map((name) => name.slice(0, -4)),
      ),
    keyWarning: (origin, name = "key") => guarded(() => modeWarning(keyFile(origin, name))),

    writePolicy: (origin, policy) =>
      guarded(() => {
        nameFolder(origin);
        writeText(ledgerFile(origin, "policy"), policy);
      }),
    readPolicy: (origin) =>
      guarded(() => {
        const file = ledgerFile(origin, "policy");
        const text = readText(file);
        if (text !== undefined) assertPolicyOf(origin, text, file);
        return text;
      }),

    rememberPath: (path, { origin, genesis, size, note = null }) =>
      guarded(() => {
        const record: PathRecord = { path: placeOf(path), origin, genesis, size, note };
        const known = state.recallPath(path);
        if (known !== undefined) assertSameLedger(known, record);
        writeNewest(pathFolder(path), { size, text: `${JSON.stringify(record, null, 2)}\n` }, (present) => {
          assertSameLedger(parsePathRecord(present, pathFolder(path)), record);
          return note !== null;
        });
      }),
    recallPath: (path) =>
      guarded(() => {
        const newest = readNewest(pathFolder(path));
        return newest && parsePathRecord(newest.text, pathFolder(path));
      }),
    listPaths: () =>
      guarded(() => {
        const records: PathRecord[] = [];
        for (const name of listNames(join(dir, "paths"))) {
          const folder = join(dir, "paths", name);
          const newest = readNewest(folder);
          if (newest !== undefined) records.push(parsePathRecord(newest.text, folder));
        }
        return records.sort((a, b) => (a.path < b.path ? -1 : 1));
      }),
    forgetPath: (path) => guarded(() => removeFolder(pathFolder(path))),

    rememberCheckpoint: (origin, note) =>
      guarded(() => {
        const offered = headOf(note);
        if (offered.origin !== origin) {
          throw new VerificationError(
            "origin-mismatch",
            `checkpoint: expected origin ${origin}, got ${offered.origin}`,
          );
        }
        nameFolder(origin);
        writeNewest(ledgerFile(origin, "seen"), { size: offered.size, text: note }, (present) => {
          const known = headOf(present);
          if (known.root === offered.root) return note.length > present.length;
          throw new VerificationError("forked", `checkpoint of ${origin}: two roots at size ${offered.size}`, {
            details: { origin, size: offered.size, known: known.root, offered: offered.root },
          });
        });
      }),
    lastSeen: (origin) => guarded(() => readNewest(ledgerFile(origin, "seen"))?.text),

    writeVerification: (origin, record) =>
      guarded(() => {
        const known = state.readVerification(origin);
        if (known !== undefined && known.time > record.time) return;
        nameFolder(origin);
        writeText(ledgerFile(origin, "verification.json"), `${JSON.stringify(record, null, 2)}\n`);
      }),
    readVerification: (origin) =>
      guarded(() => {
        const file = ledgerFile(origin, "verification.json");
        const text = readText(file);
        return text === undefined ? undefined : (parseFile(text, file, ["time"]) as unknown as VerificationRecord);
      }),

    listOrigins: () =>
      guarded(() => {
        const origins: string[] = [];
        for (const name of listNames(join(dir, "ledgers"))) {
          const origin = readText(join(dir, "ledgers", name, "origin"))?.slice(0, -1);
          if (origin !== undefined) origins.push(origin);
        }
        return origins.sort();
      }),
    export: (options = {}) => exportState(state, options),
    import: (json) => importState(state, json),
  };
  return state;
}

/** A sentence when group or others may read the file; undefined when they may not, or where modes mean nothing. */
export function modeWarning(file: string): string | undefined {
  const stats = statSync(file, { throwIfNoEntry: false });
  if (stats === undefined || process.platform === "win32" || (stats.mode & 0o077) === 0) return undefined;
  const mode = (stats.mode & 0o777).toString(8).padStart(4, "0");
  return `key file ${file}: mode ${mode} lets other users read it; chmod 600, and think about whether it was copied`;
}

/** One spelling for one place: a normalised absolute path, or a URL as it is. */
function placeOf(path: string): string {
  if (isAbsolute(path)) return resolve(path);
  if (isPlace(path)) return path;
  throw new TypeError(`path: expected an absolute path or a URL, got ${path}`);
}

/** Origin, size and root lines of a checkpoint note. The signatures were the caller's to verify. */
function headOf(note: string): { readonly origin: string; readonly size: number; readonly root: string } {
  const [origin = "", size = "", root = ""] = note.split("\n", 3);
  if (!/^[1-9][0-9]{0,15}$/.test(size) || !Number.isSafeInteger(Number(size)) || !/^[A-Za-z0-9+/]{43}=$/.test(root)) {
    throw new MalformedError("malformed-checkpoint", "checkpoint: expected lines with origin, size and root");
  }
  return { origin, size: Number(size), root };
}

/**
 * A damaged policy is neither passed over nor made anew from the ledger: whoever can spoil one byte here would else choose what is
 * trusted. The ways out are in the message, the safest first.
 */
function assertPolicyOf(origin: string, text: string, file: string): void {
  const damaged = (what: string, details: Readonly<Record<string, unknown>>, cause?: unknown): MalformedError => {
    const message = [
      `the pinned policy ${file} is damaged (${what}), so it is not known which keys of ${origin} to trust.`,
      "Ways out: put a copy that you trust in its place, such as one that readers were handed;",
      "move it away and run `tallystick state import` with a backup;",
      "or, without any copy, move it away and hold what `tallystick policy LEDGER` then prints, which comes from the ledger itself, against the keys and the genesis that readers know: the next append pins that, and witnesses have to be added again",
    ].join(" ");
    return new MalformedError("malformed-policy", message, { cause, details: { ...details, file } });
  };
  let found: string;
  try {
    found = parsePolicy(text).origin;
  } catch (cause) {
    if (!isTallystickError(cause)) throw cause;
    throw damaged(cause.message, cause.details ?? {}, cause);
  }
  if (found !== origin) throw damaged(`it is of ${found}`, { expected: origin, found });
}

function assertSameLedger(known: PathRecord, offered: PathRecord): void {
  if (known.origin === offered.origin && known.genesis === offered.genesis) return;
  throw new VerificationError("ledger-replaced", `${known.path}: another ledger stood here (${known.origin})`, {
    details: { path: known.path, known: known.origin, offered: offered.origin },
  });
}

function parsePathRecord(text: string, folder: string): PathRecord {
  return parseFile(text, folder, ["path", "origin", "genesis"]) as unknown as PathRecord;
}

/** Our own JSON back. A damaged file is `storage-corrupt`, not silently nothing: it may be what hides a replacement. */
function parseFile(text: string, file: string, strings: readonly string[]): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new UnavailableError("storage-corrupt", `state directory: ${file} is damaged`, { cause, details: { file } });
  }
  const record = value as Readonly<Record<string, unknown>> | null;
  if (typeof record !== "object" || record === null || strings.some((name) => typeof record[name] !== "string")) {
    throw new UnavailableError("storage-corrupt", `state directory: ${file} is damaged`, { details: { file } });
  }
  return record;
}
