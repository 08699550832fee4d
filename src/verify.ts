import { createReadStream } from "node:fs";
import { open, stat } from "node:fs/promises";
import { BITCOIN_HEADERS_MAX } from "./core/anchor-proof/bitcoin.ts";
import type { ByteSource } from "./core/byte-source.ts";
import { isTallystickError, MalformedError, UnavailableError, VerificationError } from "./core/errors.ts";
import { FILE_HEAD_BYTES, type FileKind, recogniseFile } from "./core/file-kind.ts";
import { type FileLine, splitLines } from "./core/file-lines.ts";
import { withoutAnchors } from "./core/file-report.ts";
import { RECEIPT_BYTES_MAX } from "./core/limits.ts";
import type { VerifyReport } from "./core/report.ts";
import { reportCheckpoint } from "./core/verify-checkpoint.ts";
import { type VerifyExportOptions, verifyExport } from "./core/verify-export.ts";
import { type VerifyPackageOptions, verifyPackage } from "./core/verify-package.ts";
import { reportReceipt } from "./core/verify-receipt.ts";
import { openState, type State } from "./keys/index.ts";
import { readHeaders } from "./ledger/header-source.ts";
import type { LockStore } from "./ledger/lock-store.ts";
import { checkOptionNames, type Names } from "./ledger/options.ts";
import { isTelling, VERIFY_NAMES, type VerifyLedgerOptions, verifyLedger } from "./ledger/verify-ledger.ts";
import { pathOf } from "./open.ts";
import { isWebLocation, verifyPublishedAt } from "./published.ts";
import type { SqliteDriver } from "./storage/sqlite-driver.ts";
import { verifyPool } from "./verify-pool.ts";

export interface VerifyOptions extends Omit<VerifyLedgerOptions, "pin" | "lastSeen" | "lockNote" | "runRange"> {
  /** Remember the checkpoint of a ledger that verified: the next verification on this machine requires its history. */
  readonly remember?: boolean;
  /** State directory; `null` ignores what this machine knows. */
  readonly state?: string | null;
  readonly driver?: SqliteDriver;
  readonly lockStore?: LockStore;
}

const OPTIONS: Names<VerifyOptions> = { ...VERIFY_NAMES, remember: true, state: true, driver: true, lockStore: true };

/**
 * Verifies whatever an auditor may hold: a ledger, a receipt, an export, a checkpoint or an evidence package, told apart by content, or a ledger that was published in
 * a folder or behind a URL. Creates and changes nothing but the state
 * directory, which keeps when a ledger was verified, with what result, and with `remember` its checkpoint. Errors: `not-found`,
 * `ledger-replaced` (nothing, or another ledger, where this machine knows one), `unrecognised-file`, `not-a-ledger`, `newer-format`, `malformed-policy`, `malformed-config` for an `expect` or `since` that is no checkpoint, `storage-*`.
 */
export async function verify(file: string | URL, options: VerifyOptions = {}): Promise<VerifyReport> {
  checkOptionNames("verify", options, OPTIONS);
  const state = options.state === null ? null : openState(options.state === undefined ? {} : { dir: options.state });
  if (isWebLocation(file)) return anchorsAside(await verifyPublishedAt(file, options, state), options);
  const path = pathOf(file);
  if (await isFolder(path, state)) return anchorsAside(await verifyPublishedAt(path, options, state), options);
  // SQLite looks first: a file that this process has open as a ledger must not be opened and closed by other means, because
  // closing it would drop the locks of every connection of the process.
  try {
    return await verifyDatabase(path, options, state);
  } catch (error) {
    if (!isTallystickError(error)) throw error;
    if (NO_LEDGER.has(error.code)) refuseInPlaceOf(path, state, error);
    if (error.code !== "not-a-ledger" && error.code !== "driver-missing") throw error;
    const report = await verifyFile(path, options);
    if (report === null) throw error;
    return report;
  }
}

/** What stands at the path is no ledger at all. */
const NO_LEDGER: ReadonlySet<string> = new Set(["not-a-ledger", "foreign-database"]);

/**
 * Where this machine knows a ledger, nothing else passes for it: neither what says nothing, nor an older export of that very
 * ledger, which by itself is genuine.
 */
function refuseInPlaceOf(path: string, state: State | null, cause: Error): void {
  const recalled = state?.recallPath(path);
  if (recalled !== undefined) throw replacedBy("something else is there", { path, recalled, cause });
}

/** Something must be there. Where this machine knows a ledger, nothing is worse than "not found". */
async function isFolder(path: string, state: State | null): Promise<boolean> {
  const stats = await stat(path).catch(() => null);
  if (stats?.isDirectory() === true) return true;
  if (stats !== null && stats.size > 0) return false;
  const what = stats === null ? "there is no file" : "the file is empty";
  const recalled = state?.recallPath(path);
  if (recalled === undefined) {
    throw new UnavailableError("not-found", `nothing to verify at ${path}: ${what}`, { details: { path } });
  }
  throw replacedBy(what, { path, recalled });
}

function replacedBy(
  what: string,
  {
    path,
    recalled: { origin, size },
    cause,
  }: {
    readonly path: string;
    readonly recalled: { readonly origin: string; readonly size: number };
    readonly cause?: Error;
  },
): VerificationError {
  return new VerificationError(
    "ledger-replaced",
    `${path}: ${what}, but this machine knows a ledger of at least ${size} ${size === 1 ? "entry" : "entries"} there (${origin})`,
    { details: { path, origin, size }, ...(cause === undefined ? {} : { cause }) },
  );
}

const JSON_HEAD_BYTES = 64;
const CHUNK_BYTES: number = 256 * 1024;

/** What is about a ledger, and not about a file. */
const LEDGER_OPTIONS = ["since", "first", "last", "remember"] as const;

/** A receipt, an export, a checkpoint or an evidence package; null for what may be a ledger. */
async function verifyFile(path: string, options: VerifyOptions): Promise<VerifyReport | null> {
  const { policy, allowSelfAsserted = false, findingsMax } = options;
  const pin = { allowSelfAsserted, policy, expect: options.expect };
  const head = await readBounded(path, FILE_HEAD_BYTES);
  const kind = recogniseFile(head);
  const beginning = String.fromCharCode(...head.subarray(0, JSON_HEAD_BYTES));
  if (kind === null && /^\s*[{[]/.test(beginning)) {
    const what = beginning.startsWith('{"format":"tallystick/view/')
      ? "is a view for reading, which proves nothing; the format that can be verified is JSONL"
      : "is JSON, but neither a receipt nor an export";
    throw new MalformedError("unrecognised-file", `${path} ${what}`);
  }
  if (kind === null && beginning.startsWith("SQLite format 3")) return null;
  if (kind === null && beginning.startsWith("c2sp.org/tlog-proof@"))
    throw new MalformedError(
      "unrecognised-file",
      `${path} is a .tlog-proof: it proves the leaf hash of an entry that its reader must have from elsewhere; a receipt of the same entry holds that too, and can be verified`,
    );
  if (kind === null)
    throw new MalformedError(
      "not-a-ledger",
      `${path} is nothing that can be verified: no ledger, receipt, export, checkpoint or evidence package`,
    );
  for (const name of LEDGER_OPTIONS) {
    // A comparison that nobody makes must not look as if it had been made.
    if (options[name] !== undefined && options[name] !== false) {
      throw new TypeError(
        `verify: expected no ${name} with ${kind === "export" ? "an" : "a"} ${kind}: it is about a ledger`,
      );
    }
  }
  const more = { ...pin, findingsMax };
  if (kind === "package") return verifyPackageFile(path, { ...more, requireAnchor: options.requireAnchor }, options);
  return anchorsAside(await reportFile(kind, { path, head }, more), options);
}

async function reportFile(
  kind: Exclude<FileKind, "package">,
  { path, head }: { readonly path: string; readonly head: Uint8Array },
  pin: VerifyExportOptions,
): Promise<VerifyReport> {
  // One byte more than any receipt has is enough to refuse it.
  if (kind === "receipt") return reportReceipt(await readBounded(path, RECEIPT_BYTES_MAX + 1), pin);
  if (kind === "checkpoint") return reportCheckpoint(head, pin);
  const lines = (): AsyncIterable<FileLine> => splitLines(createReadStream(path, { highWaterMark: CHUNK_BYTES }));
  return verifyExport(lines, pin);
}

/** Of evidence without anchors the report says so, if the reader brought something to judge them by, or asked for one. */
function anchorsAside(
  report: VerifyReport,
  { tsaRoots = [], bitcoin, requireAnchor = false }: Pick<VerifyOptions, "tsaRoots" | "bitcoin" | "requireAnchor">,
): VerifyReport {
  const isAsked = requireAnchor || tsaRoots.length > 0 || bitcoin !== undefined;
  return isAsked ? withoutAnchors(report, requireAnchor) : report;
}

async function verifyPackageFile(
  path: string,
  pin: VerifyPackageOptions,
  options: VerifyOptions,
): Promise<VerifyReport> {
  const { bitcoin, signal, tsaRoots, onProgress } = options;
  const file = await open(path);
  try {
    const { size: sizeBytes } = await file.stat();
    let read = 0;
    const source: ByteSource = {
      sizeBytes,
      read: async (offset, length) => {
        signal?.throwIfAborted();
        const bytes = new Uint8Array(length);
        const { bytesRead } = await file.read(bytes, 0, length, offset);
        if (bytesRead !== length)
          throw new UnavailableError("storage-io", `${path}: the file changed while it was read`);
        read += length;
        // The entries, which are nearly all of it, are read twice.
        onProgress?.(Math.min(read, 2 * sizeBytes), 2 * sizeBytes);
        return bytes;
      },
    };
    const headers =
      bitcoin === undefined
        ? undefined
        : async (heights: readonly number[]) =>
            (await readHeaders(bitcoin, heights, { signal, max: BITCOIN_HEADERS_MAX })).headers;
    return await verifyPackage(source, { ...pin, tsaRoots, headers });
  } finally {
    await file.close();
  }
}

/** The first bytes of a file. */
async function readBounded(path: string, bytesMax: number): Promise<Uint8Array> {
  const chunks: Buffer[] = [];
  for await (const chunk of createReadStream(path, { end: bytesMax - 1 }) as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}

async function verifyDatabase(path: string, options: VerifyOptions, state: State | null): Promise<VerifyReport> {
  const { openSqliteStorage } = await import("./storage/sqlite.ts");
  const { loadSqliteDriver } = await import("./storage/sqlite-driver.ts");
  const { sqliteLockStore } = await import("./storage/lock-store/sqlite.ts");
  const { originOf } = await import("./ledger/control-log.ts");
  const driver = options.driver ?? (await loadSqliteDriver());
  const lockStore =
    options.lockStore ?? (state === null ? null : sqliteLockStore({ path: state.lockStorePath, driver }));
  // Read before the entries are: others may append and sign meanwhile, and then no entry is missing that was signed.
  const heldOf = async (origin: string): Promise<Pick<VerifyLedgerOptions, "lastSeen" | "lockNote">> => {
    const record = await lockStore?.fetch(origin).catch(() => undefined);
    return { lastSeen: state?.lastSeen(origin), lockNote: record?.note ?? undefined };
  };
  const recalled = state?.recallPath(path);
  const known = recalled === undefined ? undefined : await heldOf(recalled.origin);
  const storage = await openSqliteStorage(path, { readOnly: true, driver }).catch(async (error: unknown) => {
    await lockStore?.close();
    if (isTallystickError(error) && error.code === "storage-corrupt" && recalled !== undefined)
      throw replacedBy("the file is cut off or damaged", { path, recalled, cause: error as Error });
    throw error;
  });
  try {
    const origin = recalled?.origin ?? (await originOf(storage));
    const held = known ?? (origin === null ? {} : await heldOf(origin));
    const snapshot = await storage.snapshot();
    try {
      // What is kept is only asked where nothing was given: a damaged one then stands in nobody's way.
      const { policy = origin === null ? undefined : state?.readPolicy(origin), remember, ...rest } = options;
      const report = await verifyLedger(snapshot, {
        ...rest,
        policy,
        pin: options.policy === undefined ? "state" : "policy",
        ...held,
        runRange: verifyPool(storage.capabilities.readLocation ?? path),
      });
      if (state !== null && origin !== null && isTelling(report, options))
        await recordVerification(state, origin, report);
      if (remember === true && state !== null && origin !== null && report.ok && report.pin !== "none") {
        // Of the checkpoints that this very view holds: a later one was not verified.
        const { checkpoints } = await snapshot.sideTables();
        const latest = checkpoints.findLast(({ size }) => size <= report.size);
        if (latest !== undefined) state.rememberCheckpoint(origin, latest.note);
      }
      return report;
    } finally {
      await snapshot.close();
    }
  } finally {
    await lockStore?.close();
    await storage.close();
  }
}

/** Notes when it was last verified. A machine whose state cannot be written can still verify. */
async function recordVerification(state: State, origin: string, report: VerifyReport): Promise<void> {
  const { size, root, ok, conclusive, findings } = report;
  try {
    state.writeVerification(origin, {
      time: new Date().toISOString(),
      size,
      root,
      ok,
      conclusive,
      findings: findings.length,
    });
  } catch (error) {
    if (!isTallystickError(error)) throw error;
  }
}
