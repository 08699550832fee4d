import { type ErrorCode, isTallystickError } from "../core/errors.ts";
import { EXIT, EXIT_CODES, type ExitCode } from "./exit-codes.ts";

/** The caller asked for something that cannot be: a wrong option, a missing argument. Exit 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** What a failed command says: `error` is the JSON form. */
export interface Failure {
  readonly exit: ExitCode;
  readonly error: {
    readonly name: string;
    readonly code: ErrorCode | "usage" | "interrupted" | "internal";
    readonly message: string;
    readonly details?: Readonly<Record<string, unknown>>;
  };
  /** What to do about it here, on the command line. */
  readonly hint?: string;
}

const HINTS: Readonly<Partial<Record<ErrorCode, string>>> = {
  "generated-key-refused":
    "`tallystick keys new --out FILE` makes a key for `--key FILE`; `tallystick init LEDGER --generate-key` asks for one in the state directory",
  "signature-required": "sign it with --signer-key FILE; `tallystick keys add` registers the key for an actor",
  "author-not-registered": "`tallystick keys list LEDGER` shows the registered keys and their actors",
  "malformed-cursor": "a cursor goes with the very same filters; begin again without --cursor",
  "storage-busy": "another process holds the ledger; try again when it is done",
  "rolled-back":
    "`tallystick verify` reports what is there; restore the newer copy, or, if it is lost for good, `tallystick recover`",
  "forked": "`tallystick verify` reports every finding; keep both copies as evidence",
  "wrong-passphrase": "name the variable that holds the passphrase with --passphrase-env NAME",
};

/** How any thrown value ends the command. A person never sees a stack trace. */
export function failureOf(error: unknown): Failure {
  if (isTallystickError(error)) {
    const { name, code, message, details = {} } = error;
    const hint = hintOf(code, details);
    return {
      exit: EXIT_CODES[code],
      error: { name, code, message, ...(Object.keys(details).length === 0 ? {} : { details }) },
      ...(hint === undefined ? {} : { hint }),
    };
  }
  if (error instanceof UsageError) return { exit: EXIT.usage, error: named("UsageError", "usage", error.message) };
  if (isNamed(error, "AbortError"))
    return { exit: EXIT.interrupted, error: named("AbortError", "interrupted", "interrupted") };
  if (isSystemError(error)) return systemFailure(error);
  const message = error instanceof Error ? error.message : String(error);
  // The engine's own words for a wrong argument; anything else of these types is a defect.
  if ((error instanceof TypeError || error instanceof RangeError) && /\bexpected\b|there is no |unknown /.test(message))
    return { exit: EXIT.usage, error: named(error.name, "usage", message) };
  return {
    exit: EXIT.environment,
    error: named("InternalError", "internal", `unexpected: ${message}`),
    hint: "this is a defect: run it again with TALLYSTICK_DEBUG=1, and report what it prints",
  };
}

function hintOf(code: ErrorCode, details: Readonly<Record<string, unknown>>): string | undefined {
  // A reader who follows a published ledger has nothing to restore.
  if ("contradiction" in details)
    return "keep both signed checkpoints: they are the evidence, and the operator's to explain";
  if (details.level === "durable")
    return "do not append them again; mend what is named, then `tallystick checkpoint LEDGER` signs them: until then the newest could be cut off unnoticed";
  const hint = HINTS[code];
  const kept =
    typeof details.evidence === "string"
      ? `both signed heads are kept in ${details.evidence}, for \`recover --evidence\``
      : undefined;
  return hint === undefined || kept === undefined ? (hint ?? kept) : `${hint}; ${kept}`;
}

function named<C extends Failure["error"]["code"]>(name: string, code: C, message: string) {
  return { name, code, message };
}

function isNamed(error: unknown, name: string): boolean {
  return error instanceof Error && error.name === name;
}

function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && "syscall" in error && "code" in error;
}

const SYSTEM_CODES: Readonly<Record<string, readonly [ErrorCode, string]>> = {
  ENOENT: ["storage-io", "no such file or folder"],
  EACCES: ["storage-io", "permission denied"],
  EPERM: ["storage-io", "permission denied"],
  EISDIR: ["storage-io", "it is a folder"],
  ENOTDIR: ["storage-io", "part of the path is a file"],
  EROFS: ["read-only", "the file system is read-only"],
  ENOSPC: ["storage-full", "no space left"],
  EDQUOT: ["storage-full", "the quota is used up"],
  EEXIST: ["already-exists", "it is there already, and is never replaced"],
};

function systemFailure(error: NodeJS.ErrnoException): Failure {
  const errno = error.code ?? "";
  const [code, says] = SYSTEM_CODES[errno] ?? (["storage-io", errno] as const);
  const message = error.path === undefined ? `${error.syscall}: ${says}` : `${error.path}: ${says}`;
  return {
    exit: EXIT_CODES[code],
    error: {
      name: code === "already-exists" ? "ConflictError" : "UnavailableError",
      code,
      message,
      details: { errno },
    },
  };
}
