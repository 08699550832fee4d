import { existsSync, mkdirSync, realpathSync, statSync, writeFileSync } from "node:fs";
import { userInfo } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { BulkThread } from "./bulk-thread.ts";
import { assertOrigin, parseCheckpoint } from "./core/checkpoint.ts";
import { formatContradiction, parseContradiction } from "./core/contradiction.ts";
import { bytesEqual } from "./core/encoding.ts";
import {
  ConflictError,
  isTallystickError,
  PolicyError,
  type TallystickError,
  UnavailableError,
  VerificationError,
} from "./core/errors.ts";
import { HASH_BYTES, type HashName, isHashName, sha256Hex } from "./core/hash.ts";
import { isInForce } from "./core/ledger-state.ts";
import { EVENT_BYTES_MAX } from "./core/limits.ts";
import { formatVerifierKey, parseNote, parseVerifierKey } from "./core/note.ts";
import { formatPolicy, parsePolicy } from "./core/policy.ts";
import { heldSigners } from "./keys/held-signers.ts";
import {
  exportPem,
  generateLogKey,
  keyFromEnv,
  logSignerFromPem,
  logSignerFromSeed,
  openState,
  type State,
} from "./keys/index.ts";
import type { Anchor } from "./ledger/anchor.ts";
import type { Archive } from "./ledger/archive.ts";
import { type Clock, systemClock } from "./ledger/clock.ts";
import { type LoadedState, loadState, originOf } from "./ledger/control-log.ts";
import { contradictionOf } from "./ledger/evidence.ts";
import { genesisBatch, genesisLeafOf, randomHex, vkeyOf } from "./ledger/genesis.ts";
import { LedgerEngine, type LedgerParts } from "./ledger/ledger.ts";
import { DEFAULT_LIMITS, type LedgerLimits } from "./ledger/limits.ts";
import type { LockStore } from "./ledger/lock-store.ts";
import { checkOptionNames, type Names } from "./ledger/options.ts";
import { type Random, systemRandom } from "./ledger/random.ts";
import { recoverLedger } from "./ledger/recover.ts";
import { reindexLedger } from "./ledger/reindex.ts";
import { seededClock, seededRandom } from "./ledger/seeded-random.ts";
import type { Signer } from "./ledger/signer.ts";
import type { LedgerStorage } from "./ledger/storage.ts";
import type { Witness } from "./ledger/witness.ts";
import type { SqliteDriver } from "./storage/sqlite-driver.ts";
import { verifyPool } from "./verify-pool.ts";

export interface OpenOptions {
  /** `never` for production and serverless: a missing ledger is `not-found`, and no file is made. */
  readonly create?: "if-missing" | "never";
  /** Reads and verifies only; nothing is created or left behind. */
  readonly readOnly?: boolean;
  /** Name of the ledger in every checkpoint; one that exists must have it. Default: `tallystick.local/<file>/<random>`. Never reuse one. */
  readonly origin?: string;
  /** Default commitment scheme; a ledger that exists must have it. */
  readonly scheme?: "event" | "fields";
  /** Commitment hash, fixed when the ledger is made; one that exists must have it. */
  readonly commitmentHash?: HashName;
  /** Rules of a new ledger; `requireSignature` must be in force in one that exists. */
  readonly rules?: {
    readonly requireSignature?: boolean;
    /** Kinds of anchors of which one makes an entry `anchored`: `rfc3161`, `opentimestamps`. Default: any kind. */
    readonly anchors?: readonly string[];
  };
  /** Log key or keys; `generate` makes and keeps one even in production. Default: `$TALLYSTICK_KEY`, else the state directory's. */
  readonly signer?: Signer | readonly Signer[] | "generate";
  /** State directory. Default: `$TALLYSTICK_STATE_DIR`, else `$XDG_STATE_HOME/tallystick`, else the platform's. */
  readonly state?: string;
  /** Where the monotone checkpoint lives. Default: `lock.sqlite` in the state directory. */
  readonly lockStore?: LockStore;
  /** SQLite driver with the interface of better-sqlite3. */
  readonly driver?: SqliteDriver;
  readonly allowNetworkFileSystem?: boolean;
  /** Who cosigns, and the policy whose quorum decides. Default: the witnesses with a URL in the policy of the state directory. */
  readonly witnesses?: Witnesses;
  /** Who attests the time of its checkpoints: `limits.anchorEveryMs` after an entry at the latest, and on demand (`anchor`). */
  readonly anchors?: readonly Anchor[];
  /** Where the ledger is published: its checkpoint is held against the ledger at every open. */
  readonly published?: Archive;
  readonly clock?: Clock;
  readonly random?: Random;
  readonly limits?: Partial<LedgerLimits>;
  /** Told once what was created where. Default: a process warning. */
  readonly notify?: (message: string) => void;
  readonly signal?: AbortSignal;
}

export interface Witnesses {
  /** Policy text that names each witness. */
  readonly policy: string;
  readonly witnesses: readonly Witness[];
}

/** An open ledger. */
export type Ledger = LedgerEngine;

export interface LedgerFactory {
  /**
   * Opens the ledger in the SQLite file at `location` (a path or a `file:` URL), creating it, a signing key, a lock store and a
   * policy on first use. Errors: `not-found`, `foreign-database`, `not-a-ledger`, `newer-format`, `network-filesystem`,
   * `generated-key-refused`, `untrusted-key`, `wrong-passphrase`, `ledger-replaced`, `rolled-back`, `forked`, `storage-*`,
   * `driver-missing`. A ledger whose key or lock store is gone opens, reads and verifies; its appends are refused with the reason.
   */
  open(location: string | URL, options?: OpenOptions): Promise<Ledger>;
  /** A ledger without disk or home directory; from a `seed` everything in it is byte-identical. */
  memory(options?: MemoryOptions): Promise<Ledger>;
}

export interface MemoryOptions
  extends Pick<OpenOptions, "origin" | "scheme" | "commitmentHash" | "rules" | "limits" | "clock" | "anchors"> {
  /** Given the policy of the new ledger, says who cosigns it. */
  readonly witnesses?: (policy: string) => Witnesses;
  readonly seed?: string;
  readonly signer?: Signer;
}

/** Path of a location; other URLs belong to drivers that are opened on their own. */
export function pathOf(location: string | URL): string {
  if (location instanceof URL || /^file:/i.test(location)) {
    const url = new URL(location);
    if (url.protocol !== "file:") throw new TypeError(`expected a path or a file: URL, got ${url.protocol}`);
    return realPathOf(decodeURIComponent(url.pathname));
  }
  if (typeof location !== "string" || location === "") throw new TypeError("expected the path of a ledger");
  if (/^[a-z][a-z0-9+.-]+:\/\//i.test(location))
    throw new TypeError(`expected a path or a file: URL, got ${location.slice(0, location.indexOf("/"))}`);
  if (location === ":memory:")
    throw new TypeError("expected a path; a ledger that is in memory alone is made by Ledger.memory()");
  return realPathOf(location);
}

/** The same file has one name, whatever links lead to it. */
function realPathOf(path: string): string {
  const absolute = resolve(path);
  if (existsSync(absolute)) return realpathSync(absolute);
  const directory = dirname(absolute);
  return existsSync(directory) ? join(realpathSync(directory), basename(absolute)) : absolute;
}

export const Ledger: LedgerFactory = {
  async open(location, options = {}) {
    options.signal?.throwIfAborted();
    checkOptions(options);
    return openFile(pathOf(location), options);
  },

  async memory(options = {}) {
    const { openMemoryStorage } = await import("./storage/memory.ts");
    const { memoryLockStore } = await import("./storage/lock-store/memory.ts");
    checkOptionNames("Ledger.memory", options, MEMORY_OPTIONS);
    checkRules(options);
    checkLimits(options.limits ?? {});
    const random = options.seed === undefined ? systemRandom : seededRandom(options.seed);
    const clock = options.clock ?? (options.seed === undefined ? systemClock : seededClock(SEEDED_START_MS));
    const signer = options.signer ?? logSignerFromSeed("ed25519", random.fill(new Uint8Array(32)));
    const storage = openMemoryStorage();
    const lockStore = memoryLockStore();
    const origin = options.origin ?? `tallystick.local/memory/${randomHex(random, 8)}`;
    const limits = { ...DEFAULT_LIMITS, ...options.limits };
    let witnesses: LedgerParts["witnesses"];
    await createIn(storage, {
      ...options,
      origin,
      signers: [signer],
      lockStore,
      clock,
      random,
      limits,
      prepared: (genesis) => {
        const made = options.witnesses?.(firstPolicy(origin, [signer], genesis));
        if (made !== undefined) witnesses = { policy: parsePolicy(made.policy), witnesses: made.witnesses };
      },
    });
    return LedgerEngine.open({
      witnesses,
      anchors: options.anchors,
      storage,
      lockStore,
      signers: [signer],
      problem: null,
      clock,
      random,
      limits,
      readerState: null,
      readOnly: false,
    });
  },
};

const SEEDED_START_MS = Date.UTC(2026, 0, 1);

const OPTIONS: Names<OpenOptions> = {
  create: true,
  readOnly: true,
  origin: true,
  scheme: true,
  commitmentHash: true,
  rules: true,
  signer: true,
  state: true,
  lockStore: true,
  driver: true,
  allowNetworkFileSystem: true,
  witnesses: true,
  anchors: true,
  published: true,
  clock: true,
  random: true,
  limits: true,
  notify: true,
  signal: true,
};

const MEMORY_OPTIONS: Names<MemoryOptions> = {
  origin: true,
  scheme: true,
  commitmentHash: true,
  rules: true,
  limits: true,
  clock: true,
  anchors: true,
  witnesses: true,
  seed: true,
  signer: true,
};

function checkOptions(options: OpenOptions): void {
  checkOptionNames("Ledger.open", options, OPTIONS);
  const { create, scheme, limits = {} } = options;
  if (create !== undefined && create !== "if-missing" && create !== "never")
    throw new TypeError(`Ledger.open: expected create to be if-missing or never, got ${JSON.stringify(create)}`);
  if (scheme !== undefined && scheme !== "event" && scheme !== "fields")
    throw new TypeError(`Ledger.open: expected scheme to be event or fields, got ${JSON.stringify(scheme)}`);
  checkRules(options);
  checkLimits(limits);
}

/** What a new ledger would be made with, in words of the caller's; a rule with a typing error must not be taken for none. */
function checkRules({
  origin,
  commitmentHash,
  rules = {},
}: Pick<OpenOptions, "origin" | "commitmentHash" | "rules">): void {
  if (origin !== undefined) assertOrigin(origin);
  if (commitmentHash !== undefined && !isHashName(commitmentHash))
    throw new TypeError(
      `Ledger.open: expected commitmentHash to be one of ${Object.keys(HASH_BYTES).join(", ")}, got ${JSON.stringify(commitmentHash)}`,
    );
  for (const name of Object.keys(rules)) {
    if (name !== "requireSignature" && name !== "anchors")
      throw new TypeError(`Ledger.open: unknown rule ${JSON.stringify(name)}; known are requireSignature, anchors`);
  }
  if (!["boolean", "undefined"].includes(typeof rules.requireSignature))
    throw new TypeError("Ledger.open: expected the rule requireSignature to be true or false");
}

function checkLimits(limits: Partial<LedgerLimits>): void {
  for (const [name, value] of Object.entries(limits)) {
    if (!Object.hasOwn(DEFAULT_LIMITS, name)) throw new TypeError(`Ledger.open: unknown limit ${JSON.stringify(name)}`);
    if (!Number.isSafeInteger(value) || (value as number) < 1)
      throw new RangeError(`Ledger.open: expected limit ${name} to be a positive integer, got ${value}`);
  }
  const { eventBytes = EVENT_BYTES_MAX } = limits;
  if (eventBytes < EVENT_BYTES_LEAST || eventBytes > EVENT_BYTES_MAX) {
    throw new RangeError(
      `Ledger.open: expected limit eventBytes to be ${EVENT_BYTES_LEAST} to ${EVENT_BYTES_MAX}, got ${eventBytes}`,
    );
  }
}

/** A ledger has to be able to take its own control events. */
const EVENT_BYTES_LEAST = 1_024;

async function openFile(path: string, options: OpenOptions): Promise<LedgerEngine> {
  const state = openState(options.state === undefined ? {} : { dir: options.state });
  const readOnly = options.readOnly ?? false;
  const mayCreate = !readOnly && options.create !== "never";
  const recalled = state.recallPath(path);
  const bytes = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
  if (recalled !== undefined && bytes === 0) throw wiped(path, recalled, existsSync(path) ? "is empty" : "is gone");
  const { openSqliteStorage } = await import("./storage/sqlite.ts");
  const { loadSqliteDriver } = await import("./storage/sqlite-driver.ts");
  const { realPath } = await import("./storage/sqlite-files.ts");
  const driver = options.driver ?? (await loadSqliteDriver());
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  // The thread loads better-sqlite3 itself, because no other driver can be handed to it.
  const bulk =
    readOnly || options.driver !== undefined
      ? undefined
      : new BulkThread(realPath(resolve(path)), limits.bulkThreadBytes);
  const storage = await openSqliteStorage(path, {
    readOnly,
    create: mayCreate,
    driver,
    ...(bulk === undefined ? {} : { logMover: bulk }),
    ...(options.clock === undefined ? {} : { clock: options.clock }),
    ...(options.allowNetworkFileSystem === undefined ? {} : { allowNetworkFileSystem: options.allowNetworkFileSystem }),
  }).catch((error: unknown) => {
    const isOther = isTallystickError(error) && (error.code === "not-a-ledger" || error.code === "foreign-database");
    throw isOther && recalled !== undefined ? wiped(path, recalled, "holds something else", error) : error;
  });
  const { sqliteLockStore } = await import("./storage/lock-store/sqlite.ts");
  const lockStore = options.lockStore ?? sqliteLockStore({ path: state.lockStorePath, driver });
  const clock = options.clock ?? systemClock;
  const random = options.random ?? systemRandom;
  const parts = { storage, lockStore, clock, random, limits, readOnly, readerState: state };
  try {
    if (mayCreate && (await storage.head()).size === 0) await createFile(path, options, state, parts);
    const loaded = await loadState(storage);
    const { state: ledgerState, genesisLeaf } = loaded;
    const { origin } = ledgerState.genesis;
    checkAsked(path, options, ledgerState);
    if (recalled !== undefined && recalled.genesis !== genesisLeaf) throw replaced(path, recalled, origin);
    const held = readOnly
      ? { signers: [], problem: new UnavailableError("read-only", "the ledger was opened read-only") }
      : signersFor(origin, ledgerState, options, state);
    const witnesses = await witnessesFor(origin, options, state);
    const engineParts = {
      ...parts,
      ...held,
      witnesses,
      anchors: options.anchors,
      published: options.published,
      closed: (size: number) => rememberSize(state, path, size),
      bulk,
      verifyRanges: verifyPool(storage.capabilities.readLocation ?? path),
    };
    const engine = await openWithEvidence(state, engineParts, loaded);
    // The lock store and the witnesses have signed heads to show; the size seen here before is the last resort.
    if (recalled !== undefined && !readOnly && recalled.size > engine.size) {
      await engine.abandon();
      throw shrunk(path, recalled.size, engine.size);
    }
    if (engine.appendProblem === null) rememberPlace(state, path, engine);
    else if (!readOnly) explain(engine.appendProblem, { path, state, origin });
    return engine;
  } catch (error) {
    await storage.close();
    await lockStore.close();
    throw error;
  }
}

/** What a ledger is made with stays: a ledger that is something else than its caller asks for is not opened in silence. */
function checkAsked(path: string, options: OpenOptions, { genesis, scheme, rules }: LedgerEngine["state"]): void {
  const wrong = (name: string, is: string, asked: string): TypeError =>
    new TypeError(`Ledger.open: expected ${path} to have the ${name} ${asked}, but it has ${is}, which stays`);
  const { origin, commitmentHash } = options;
  if (origin !== undefined && origin !== genesis.origin) throw wrong("origin", genesis.origin, origin);
  if (commitmentHash !== undefined && commitmentHash !== genesis.commitmentHash)
    throw wrong("commitment hash", genesis.commitmentHash, commitmentHash);
  if (options.scheme !== undefined && options.scheme !== scheme) throw wrong("scheme", scheme, options.scheme);
  if (options.rules?.requireSignature === true && rules.at(-1)?.requireSignature !== true)
    throw wrong("rule requireSignature", "none", "true");
}

type FileParts = Omit<LedgerParts, "signers" | "problem">;

/** First use: key, lock store and policy are made before the ledger, so that no crash leaves a ledger that nobody can sign. */
async function createFile(path: string, options: OpenOptions, state: State, parts: FileParts): Promise<void> {
  const { random } = parts;
  const file = basename(path)
    .replaceAll(/[^A-Za-z0-9._-]/g, "-")
    .slice(0, 64);
  const origin = options.origin ?? `tallystick.local/${file}/${randomHex(random, 8)}`;
  const given = givenSigners(options);
  // The key of an attempt that did not get as far as the ledger is taken up with its record in the lock store.
  const record = await parts.lockStore.fetch(origin);
  // Unless another process has just made the ledger here, and signed it.
  if (record !== undefined && record.note !== null && (await parts.storage.head()).size === 0)
    throw taken(origin, record);
  const unfinished = given === null && record?.note === null;
  const kept = unfinished ? state.readKey(origin) : undefined;
  // Before the file is made, which would be left behind.
  state.prepare();
  const signers = given ?? [kept === undefined ? generateSigner(options, random) : logSignerFromPem(kept)];
  const created = await createIn(parts.storage, {
    ...options,
    ...parts,
    origin,
    signers,
    prepared: (genesisLeaf) => {
      if (given === null && kept === undefined) state.writeKey(origin, exportPem(signers[0] as Signer));
      state.writePolicy(origin, firstPolicy(origin, signers, genesisLeaf));
    },
  });
  if (!created) return;
  const key =
    given === null
      ? `a signing key in ${state.dir} (back it up: without it nothing more can be appended)`
      : "the given signing key";
  const notify =
    options.notify ??
    ((message: string) => process.emitWarning(message, { type: "TallystickCreated", code: "TALLYSTICK_CREATED" }));
  notify(`created the ledger ${path} with ${key}; lock store and policy are in ${state.dir}`);
}

/** An origin is the name of one history for ever. */
function taken(origin: string, { note }: { readonly note: string | null }): ConflictError {
  const size = note === null ? 0 : parseCheckpoint(parseNote(note).text).size;
  return new ConflictError(
    "already-exists",
    `this machine holds a signed checkpoint of ${entries(size)} of a ledger named ${origin}, and a name is never used twice: restore that ledger, or choose another origin`,
    { details: { origin, size } },
  );
}

interface CreateOptions extends Pick<OpenOptions, "scheme" | "commitmentHash" | "rules"> {
  readonly origin: string;
  readonly signers: readonly Signer[];
  readonly lockStore: LockStore;
  readonly clock: Clock;
  readonly random: Random;
  readonly limits: LedgerLimits;
  /** Keeps what must outlive a crash right after the ledger exists. */
  readonly prepared: (genesisLeaf: string) => void;
}

function createIn(storage: LedgerStorage, options: CreateOptions): Promise<boolean> {
  const { origin, signers, lockStore, clock, random, limits } = options;
  // The name is checked as part of a key before anything is made.
  for (const signer of signers)
    formatVerifierKey({ name: origin, type: signer.algorithm === "ed25519" ? 1 : 6, publicKey: signer.publicKey });
  return storage.create(async () => {
    // A record without a checkpoint was left by an attempt that failed or crashed before the ledger existed: nothing was
    // ever signed under it, so the next attempt goes on from there. One with a checkpoint is of another ledger.
    const record = await lockStore.fetch(origin);
    const lockStoreId = record?.note === null ? record.lockStoreId : randomHex(random, 16);
    const batch = genesisBatch(
      {
        origin,
        signers,
        lockStoreId,
        commitmentHash: options.commitmentHash ?? "sha256",
        scheme: options.scheme ?? DEFAULT_SCHEME,
        requireSignature: options.rules?.requireSignature ?? false,
        anchors: options.rules?.anchors,
        eventBytes: limits.eventBytes,
      },
      { clock, random },
    );
    if (record?.note !== null) await lockStore.create({ origin, lockStoreId });
    options.prepared(genesisLeafOf(batch));
    return batch;
  });
}

/** Measured in bench/: scheme `fields` appends at less than 0.7 of the rate of `event`, so it is chosen, not assumed. */
const DEFAULT_SCHEME = "event";

function givenSigners(options: OpenOptions): readonly Signer[] | null {
  const { signer } = options;
  if (signer === "generate") return null;
  if (signer !== undefined) return "sign" in signer ? [signer] : signer;
  const loaded = keyFromEnv();
  for (const warning of loaded?.warnings ?? []) process.emitWarning(warning, { type: "TallystickKey" });
  return loaded === undefined ? null : [loaded.signer];
}

function generateSigner(options: OpenOptions, random: Random): Signer {
  if (process.env.NODE_ENV === "production" && options.signer !== "generate") {
    throw new PolicyError(
      "generated-key-refused",
      'NODE_ENV=production: a signing key is not generated unasked. Give one (signer, or $TALLYSTICK_KEY), or ask for it with signer: "generate"',
    );
  }
  return generateLogKey("ed25519", random);
}

/** The log keys in force that this process holds, or why it holds none. */
function signersFor(
  origin: string,
  ledgerState: LedgerEngine["state"],
  options: OpenOptions,
  state: State,
): { readonly signers: readonly Signer[]; readonly problem: TallystickError | null } {
  const inForce = ledgerState.logKeys.filter(isInForce);
  const usable = (signer: Signer): boolean =>
    inForce.some((known) => bytesEqual(known.key.publicKey, signer.publicKey));
  const given = givenSigners(options);
  if (given !== null) {
    if (given.some(usable)) return { signers: given, problem: null };
    throw new PolicyError(
      "untrusted-key",
      `the given key is not a log key in force of ${origin}: ${inForce.map((known) => known.key.vkey).join(", ")}`,
    );
  }
  const kept = heldSigners(state, origin);
  // Retired keys stay in hand: one that was rotated away just before a crash still has to sign over its rotation.
  if (kept.some(usable)) return { signers: kept, problem: null };
  return { signers: [], problem: new UnavailableError("key-lost", "the signing key is gone") };
}

/** A refusal leaves both signed heads in a file: `details.evidence` of the error names it. */
async function openWithEvidence(state: State, parts: LedgerParts, loaded: LoadedState): Promise<LedgerEngine> {
  try {
    return await LedgerEngine.open(parts, loaded);
  } catch (error) {
    const evidence = await contradictionOf(error, parts.storage);
    if (evidence !== null && isTallystickError(error)) {
      const text = formatContradiction(evidence);
      const file = join(state.dir, "evidence", `${evidence.kind}-${sha256Hex(text).slice(0, 16)}.json`);
      try {
        mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
        writeFileSync(file, text, { mode: 0o600 });
        Object.assign(error.details ?? {}, { evidence: file });
      } catch {
        // The refusal carries both heads itself; a state directory that cannot be written must not hide it.
      }
    }
    throw error;
  }
}

/** Witnesses given, or those that the kept policy names with a URL. */
async function witnessesFor(origin: string, options: OpenOptions, state: State): Promise<LedgerParts["witnesses"]> {
  if (options.witnesses !== undefined) {
    return { policy: parsePolicy(options.witnesses.policy), witnesses: options.witnesses.witnesses };
  }
  const text = state.readPolicy(origin);
  const policy = text === undefined ? null : parsePolicy(text);
  if (policy === null || !policy.witnesses.some(({ url }) => url !== null)) return undefined;
  const { httpWitness } = await import("./witness/client.ts");
  const witnesses = policy.witnesses.flatMap(({ name, key, url }) =>
    url === null ? [] : [httpWitness({ name, vkey: key.vkey, url })],
  );
  return { policy, witnesses };
}

function firstPolicy(origin: string, signers: readonly Signer[], genesis: string): string {
  return formatPolicy({ logKeys: signers.map((signer) => parseVerifierKey(vkeyOf(origin, signer))), genesis });
}

/** What stood here at the end; a state directory that cannot be written is no reason to fail a close. */
function rememberSize(state: State, path: string, size: number): void {
  const known = state.recallPath(path);
  if (known === undefined || known.size >= size) return;
  try {
    state.rememberPath(path, { origin: known.origin, genesis: known.genesis, size });
  } catch (error) {
    if (!isTallystickError(error)) throw error;
  }
}

function rememberPlace(state: State, path: string, engine: LedgerEngine): void {
  state.rememberPath(path, { origin: engine.origin, genesis: engine.genesis, size: engine.size });
  if (state.readPolicy(engine.origin) === undefined) state.writePolicy(engine.origin, engine.policy());
}

/** Says what is gone, where it was looked for, and the ways out. */
function explain(
  problem: TallystickError,
  where: { readonly path: string; readonly state: State; readonly origin: string },
): void {
  if (problem.code !== "key-lost" && problem.code !== "lock-store-lost") return;
  const what = problem.code === "key-lost" ? "signing key" : "lock store record";
  const user = userInfo().username;
  problem.message = [
    `${where.path} can be read and verified but not appended to: the ${what} of ${where.origin} is not in ${where.state.dir} (user ${user}).`,
    "Ways out: set TALLYSTICK_STATE_DIR to the directory it was created with (in a container: a volume);",
    `${problem.code === "key-lost" ? "give the key (TALLYSTICK_KEY or signer); " : ""}run \`tallystick state import\` with a backup;`,
    `or, if it is lost for good, \`tallystick recover ${where.path} ${problem.code === "key-lost" ? "--key FILE " : ""}--reason TEXT\`, which every later reader will see.`,
  ].join(" ");
}

function wiped(
  path: string,
  recalled: { readonly origin: string; readonly size: number },
  what: string,
  cause?: Error,
): VerificationError {
  return new VerificationError(
    "ledger-replaced",
    `${path} ${what}, but this machine knows a ledger of at least ${entries(recalled.size)} there (${recalled.origin}). Restore it; or, to begin anew at this path, run \`tallystick forget ${path}\``,
    { details: { path, origin: recalled.origin, size: recalled.size }, ...(cause === undefined ? {} : { cause }) },
  );
}

function entries(count: number): string {
  return count === 1 ? "1 entry" : `${count} entries`;
}

function shrunk(path: string, expected: number, found: number): VerificationError {
  return new VerificationError(
    "rolled-back",
    `${path} was rolled back or truncated: it has ${found} entries, but this machine saw ${expected} there`,
    { details: { path, expected, found, what: "ledger" } },
  );
}

function replaced(
  path: string,
  recalled: { readonly origin: string; readonly size: number },
  found: string,
): VerificationError {
  return new VerificationError(
    "ledger-replaced",
    `${path} holds another ledger (${found}) than this machine knows there (${recalled.origin}, at least ${entries(recalled.size)}). Restore it; or, to accept the other one, run \`tallystick forget ${path}\``,
    { details: { path, expected: recalled.origin, found } },
  );
}

/**
 * Rebuilds everything that is derived from the committed entries: tiles, filters, ids, the list of control events. Takes no key,
 * and works on a ledger that cannot be opened because of what is damaged there. Returns how many entries it has, and its origin as the
 * genesis says (null where that does not open). Errors:
 * `not-found`, `malformed-*` and `invariant-broken` where the entries themselves are damaged, `storage-*`.
 */
export async function reindex(
  location: string | URL,
  options: Pick<OpenOptions, "driver" | "allowNetworkFileSystem"> = {},
): Promise<{ readonly origin: string | null; readonly entries: number }> {
  const { openSqliteStorage } = await import("./storage/sqlite.ts");
  const storage = await openSqliteStorage(pathOf(location), options);
  try {
    const entries = await reindexLedger(storage);
    return { origin: await originOf(storage), entries };
  } finally {
    await storage.close();
  }
}

export interface RecoverOptions
  extends Pick<OpenOptions, "state" | "driver" | "clock" | "random" | "limits" | "lockStore"> {
  /** The key that signs from now on: the old one where it is still held (another one is refused then), else a new one. */
  readonly signer: Signer;
  /** Why, for the record; stays for ever. */
  readonly reason: string;
  /** Text of the evidence file that a refused open wrote, or a mirror. */
  readonly evidence?: string;
}

/**
 * Takes up a ledger whose key or lock store is lost, or whose database was rolled back, by an explicit `ledger.recovered` entry
 * that every later reader sees. Never automatic. Returns the index of that entry. Errors: `already-exists` when nothing is lost, or the
 * key in force is held here and another one was given; `malformed-key` for one that was retired; `storage-*`, `lock-moved`.
 */
export async function recover(
  location: string | URL,
  options: RecoverOptions,
): Promise<{ readonly index: number; readonly lost: readonly string[] }> {
  const path = pathOf(location);
  const state = openState(options.state === undefined ? {} : { dir: options.state });
  const { openSqliteStorage } = await import("./storage/sqlite.ts");
  const { loadSqliteDriver } = await import("./storage/sqlite-driver.ts");
  const { sqliteLockStore } = await import("./storage/lock-store/sqlite.ts");
  const driver = options.driver ?? (await loadSqliteDriver());
  const storage = await openSqliteStorage(path, { driver });
  const lockStore = options.lockStore ?? sqliteLockStore({ path: state.lockStorePath, driver });
  try {
    const recovered = await recoverLedger({
      storage,
      lockStore,
      signer: options.signer,
      reason: options.reason,
      evidence: options.evidence === undefined ? undefined : parseContradiction(options.evidence),
      lastSeen: (origin) => state.lastSeen(origin),
      keptPolicy: (origin) => state.readPolicy(origin),
      held: (origin) => heldSigners(state, origin),
      clock: options.clock ?? systemClock,
      random: options.random ?? systemRandom,
      limits: { ...DEFAULT_LIMITS, ...options.limits },
    });
    state.writePolicy(recovered.origin, recovered.policy);
    // What a reader here saw stays remembered, up to what is on record as lost: `verify` goes on telling of it.
    if (recovered.seenIsLost && recovered.checkpoint !== null)
      state.rememberCheckpoint(recovered.origin, recovered.checkpoint);
    // What stood here before may have been larger: from now on the recovered ledger is what this machine knows.
    state.forgetPath(path);
    state.rememberPath(path, { origin: recovered.origin, genesis: recovered.genesis, size: recovered.index + 1 });
    return { index: recovered.index, lost: recovered.lost };
  } finally {
    await storage.close();
    await lockStore.close();
  }
}
