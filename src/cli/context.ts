import { REASON_BYTES_MAX } from "../core/control-event.ts";
import { encodeUtf8 } from "../core/encoding.ts";
import { type ErrorCode, isTallystickError, type TallystickError } from "../core/errors.ts";
import { openState, type State } from "../keys/index.ts";
import type { LedgerEngine } from "../ledger/ledger.ts";
import type { OpenOptions } from "../open.ts";
import type { ExitCode } from "./exit-codes.ts";
import { UsageError } from "./failure.ts";
import { type KeyOptions, logKeyFromFile } from "./key-files.ts";
import type { Output } from "./output.ts";

/** Options that every command has. */
export interface GlobalOptions {
  readonly json?: boolean;
  readonly quiet?: boolean;
  /** State directory. */
  readonly state?: string;
}

/** What a command works with. */
export interface Context {
  readonly out: Output;
  readonly options: GlobalOptions;
  /** Aborted by an interrupt: a command then ends what it has begun and returns. */
  readonly signal: AbortSignal;
  /** Ledgers that an interrupt has to close. */
  readonly opened: Set<LedgerEngine>;
  /** True once what is stored was being read: bytes that do not parse are then evidence, not somebody's wrong input. */
  reading: boolean;
}

/** A command: positional arguments as they came, options as its own interface declares them. */
export interface CommandModule {
  run(context: Context, positionals: readonly string[], options: never): Promise<ExitCode>;
}

/**
 * The ledger and the arguments after it. With one positional fewer than LEDGER and `names`, the ledger is
 * `$TALLYSTICK_LEDGER`.
 */
export function ledgerAnd(positionals: readonly string[], names: readonly string[] = []): readonly string[] {
  if (positionals.length > names.length) return positionals;
  const fromEnvironment = process.env.TALLYSTICK_LEDGER ?? "";
  if (positionals.length === names.length && fromEnvironment !== "") return [fromEnvironment, ...positionals];
  if (names.length === 0) throw new UsageError("which ledger? Give its path, or set TALLYSTICK_LEDGER");
  const got = positionals.length === 0 ? "nothing" : JSON.stringify(positionals.join(" "));
  if (fromEnvironment !== "") throw new UsageError(`expected ${names.join(" ")}, got ${got}`);
  throw new UsageError(
    `expected LEDGER ${names.join(" ")}, got ${got}; LEDGER may be left out only where TALLYSTICK_LEDGER is set`,
  );
}

export function stateOf(context: Context): State {
  return openState(context.options.state === undefined ? {} : { dir: context.options.state });
}

export interface LedgerUse extends KeyOptions {
  /** `read`: nothing is created or signed. `sign`: the ledger exists, and checkpoints may be signed. `append`: it may be made. */
  readonly mode: "read" | "sign" | "append";
  readonly open?: Pick<OpenOptions, "origin" | "scheme" | "commitmentHash" | "rules" | "signer" | "published">;
}

const MODES = {
  read: { readOnly: true },
  sign: { create: "never" },
  append: { create: "if-missing" },
} as const;

/** Opens a ledger for the time of `use`, and closes it also when that fails. */
export async function withLedger<T>(
  context: Context,
  location: string,
  how: LedgerUse,
  use: (ledger: LedgerEngine) => Promise<T>,
): Promise<T> {
  const { Ledger } = await import("../open.ts");
  const signer = how.key === undefined ? undefined : logKeyFromFile(context, how.key, how);
  const options: OpenOptions = {
    ...MODES[how.mode],
    ...how.open,
    notify: (message) => context.out.note(message),
    ...(context.options.state === undefined ? {} : { state: context.options.state }),
    ...(signer === undefined ? {} : { signer }),
  };
  context.reading = true;
  const ledger = await Ledger.open(location, options).catch((error: unknown) => {
    // A ledger in a place that cannot be written can still be looked at, and what was signed before can be shown.
    if (how.mode === "sign" && isReadOnly(error)) return Ledger.open(location, { ...options, ...MODES.read });
    throw error;
  });
  const contradiction = ledger.appendProblem?.cause;
  if (isTallystickError(contradiction)) context.out.warn(`${contradiction.message}; \`tallystick verify\` reports it`);
  context.opened.add(ledger);
  let result: T;
  try {
    result = await use(ledger);
  } catch (error) {
    // The first error is the one to tell; what could not be signed on the way out is signed by the next process.
    await ledger.close().catch(() => {});
    throw error;
  } finally {
    context.opened.delete(ledger);
  }
  await ledger.close().catch((error: unknown) => {
    throw notYetSigned(error);
  });
  return result;
}

/** Why nothing could be signed: the entries themselves are durable all the same. */
const NOT_SIGNED: ReadonlySet<string> = new Set([
  "lock-store-unavailable",
  "lock-store-lost",
  "signer-unavailable",
  "key-lost",
] satisfies ErrorCode[]);

/** Whoever has just seen an entry acknowledged must not take the failed signature for a failed append, and append it again. */
function notYetSigned(error: unknown): unknown {
  if (!isTallystickError(error) || !NOT_SIGNED.has(error.code)) return error;
  const known = error as TallystickError;
  known.message = `all entries are durable, but the newest are not covered by a signed checkpoint yet: ${known.message}`;
  Object.assign(known.details, { level: "durable" });
  return known;
}

function isReadOnly(error: unknown): boolean {
  return error instanceof Error && "code" in error && (error.code === "read-only" || error.code === "storage-io");
}

/** A leaf index of an open ledger. */
export function indexIn(ledger: LedgerEngine, text: string): number {
  const index = leafIndex(text);
  if (index < ledger.size) return index;
  const last = ledger.size - 1;
  throw new UsageError(`there is no entry ${index}: the ledger has entries 0 to ${last}`);
}

function leafIndex(text: string): number {
  const index = /^(?:0|[1-9][0-9]{0,15})$/.test(text) ? Number(text) : Number.NaN;
  if (!Number.isSafeInteger(index)) throw new UsageError(`expected INDEX to be a whole number from 0, got ${text}`);
  return index;
}

/** A text that stays in the ledger for ever, checked before anything is opened: too long a one is no finding. */
export function recordedText(option: string, text: string): string {
  const { length } = encodeUtf8(text);
  if (length > 0 && length <= REASON_BYTES_MAX) return text;
  throw new UsageError(`expected ${option} to have 1 to ${REASON_BYTES_MAX} bytes, got ${length}`);
}

/** Refuses two options that would both want stdout. */
export function requireSeparateStdout(context: Context, file: string): void {
  if (context.out.json && file === "-")
    throw new UsageError("with --json the result stands on stdout: give --out a file");
}
