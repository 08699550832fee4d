/**
 * Every error that Tallystick throws: one base, seven classes named for what the caller does next, one closed
 * union of codes. Match on `code` (or `isTallystickError`), not on `instanceof`: codes survive `structuredClone`,
 * JSON and two copies of the package in one process. The normative list is spec/errors.md.
 */

export type ErrorKind = "malformed" | "verification" | "policy" | "conflict" | "overloaded" | "unavailable" | "fatal";

/** What each code means, and the class it belongs to. A code has exactly one class. */
export const ERROR_CODES = {
  // Untrusted bytes do not parse; an event breaks its grammar.
  "malformed-json": "malformed",
  "duplicate-member": "malformed",
  "not-canonical": "malformed",
  "unsupported-value": "malformed",
  "too-deep": "malformed",
  "malformed-event": "malformed",
  "event-too-large": "malformed",
  "reserved-action": "malformed",
  "malformed-control": "malformed",
  "malformed-commitment": "malformed",
  "malformed-entry": "malformed",
  "malformed-proof": "malformed",
  "malformed-tile": "malformed",
  "malformed-note": "malformed",
  "malformed-checkpoint": "malformed",
  "malformed-cosignature": "malformed",
  "malformed-key": "malformed",
  "malformed-signature": "malformed",
  "malformed-policy": "malformed",
  "malformed-receipt": "malformed",
  "malformed-export": "malformed",
  "malformed-origin": "malformed",
  "malformed-cursor": "malformed",
  "malformed-config": "malformed",
  "not-a-ledger": "malformed",
  "newer-format": "malformed",
  "unrecognised-file": "malformed",
  // It parses, but the cryptography disagrees.
  "signature-invalid": "verification",
  "signature-missing": "verification",
  "proof-invalid": "verification",
  "commitment-mismatch": "verification",
  "origin-mismatch": "verification",
  "verification-failed": "verification",
  "rolled-back": "verification",
  "forked": "verification",
  "ledger-replaced": "verification",
  // Valid, but not allowed, or not enough of it.
  "signature-required": "policy",
  "author-not-registered": "policy",
  "quorum-not-reached": "policy",
  "untrusted-key": "policy",
  "clock-jump": "policy",
  "not-erasable": "policy",
  "not-disclosable": "policy",
  "held": "policy",
  "generated-key-refused": "policy",
  "network-filesystem": "policy",
  "foreign-database": "policy",
  "key-role": "policy",
  "level-not-reached": "policy",
  "ledger-sealed": "policy",
  // Somebody else was first, or an id was reused.
  "id-conflict": "conflict",
  "already-exists": "conflict",
  "lock-moved": "conflict",
  // The bounded queue is full.
  "queue-full": "overloaded",
  // A dependency failed, nothing changed.
  "not-found": "unavailable",
  "read-only": "unavailable",
  "storage-busy": "unavailable",
  "storage-full": "unavailable",
  "storage-io": "unavailable",
  "storage-corrupt": "unavailable",
  "driver-missing": "unavailable",
  "key-lost": "unavailable",
  "key-unreadable": "unavailable",
  "wrong-passphrase": "unavailable",
  "lock-store-lost": "unavailable",
  "lock-store-unavailable": "unavailable",
  "signer-unavailable": "unavailable",
  "closed": "unavailable",
  // Outcome unknown, or an invariant broke.
  "outcome-unknown": "fatal",
  "invariant-broken": "fatal",
} as const;

export type ErrorCode = keyof typeof ERROR_CODES;

type CodeOf<K extends ErrorKind> = { [C in ErrorCode]: (typeof ERROR_CODES)[C] extends K ? C : never }[ErrorCode];

export interface ErrorOptions {
  /** Machine-readable facts: positions, limits, paths, hashes. Never payloads or secrets. */
  readonly details?: Readonly<Record<string, unknown>>;
  readonly cause?: unknown;
}

export interface ErrorJson {
  readonly name: string;
  readonly code: ErrorCode;
  readonly message: string;
  readonly details?: Readonly<Record<string, unknown>>;
}

export class TallystickError extends Error {
  readonly code: ErrorCode;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.details = options.details ?? {};
  }

  toJSON(): ErrorJson {
    const base = { name: this.name, code: this.code, message: this.message };
    return Object.keys(this.details).length === 0 ? base : { ...base, details: this.details };
  }
}

/** Untrusted bytes do not parse, or an event breaks its grammar (`details.pointer`): reject the input. */
export class MalformedError extends TallystickError {
  override readonly name = "MalformedError";
  constructor(code: CodeOf<"malformed">, message: string, options?: ErrorOptions) {
    super(code, message, options);
  }
}

/** It parses, the cryptography disagrees: treat it as evidence of tampering. */
export class VerificationError extends TallystickError {
  override readonly name = "VerificationError";
  constructor(code: CodeOf<"verification">, message: string, options?: ErrorOptions) {
    super(code, message, options);
  }
}

/** Valid but not allowed, or too few witnesses: change the policy or ask for more. */
export class PolicyError extends TallystickError {
  override readonly name = "PolicyError";
  constructor(code: CodeOf<"policy">, message: string, options?: ErrorOptions) {
    super(code, message, options);
  }
}

/** The head moved, or an `id` was reused with other content: reload, decide, retry. */
export class ConflictError extends TallystickError {
  override readonly name = "ConflictError";
  constructor(code: CodeOf<"conflict">, message: string, options?: ErrorOptions) {
    super(code, message, options);
  }
}

/** A bounded queue is full: back off for `retryAfterMs`. Nothing was written. */
export class OverloadedError extends TallystickError {
  override readonly name = "OverloadedError";
  readonly retryAfterMs: number;
  constructor(code: CodeOf<"overloaded">, message: string, options: ErrorOptions & { readonly retryAfterMs: number }) {
    super(code, message, { ...options, details: { ...options.details, retryAfterMs: options.retryAfterMs } });
    this.retryAfterMs = options.retryAfterMs;
  }
}

/** A dependency failed and nothing changed: retry, or mend what the message names. */
export class UnavailableError extends TallystickError {
  override readonly name = "UnavailableError";
  constructor(code: CodeOf<"unavailable">, message: string, options?: ErrorOptions) {
    super(code, message, options);
  }
}

/** The outcome is unknown or an invariant broke: stop, reopen, recover. */
export class FatalError extends TallystickError {
  override readonly name = "FatalError";
  constructor(code: CodeOf<"fatal">, message: string, options?: ErrorOptions) {
    super(code, message, options);
  }
}

/** True for every error of this package, also after `structuredClone`, JSON or from a second copy of the package. */
export function isTallystickError(value: unknown): value is ErrorJson {
  if (typeof value !== "object" || value === null || !("code" in value)) return false;
  return typeof value.code === "string" && Object.hasOwn(ERROR_CODES, value.code);
}

/** Rebuilds an error from its `toJSON` form. Throws `TypeError` for anything else. */
export function errorFromJson(json: unknown): TallystickError {
  if (!isTallystickError(json)) throw new TypeError("errorFromJson: expected an object with a known error code");
  const details = typeof json.details === "object" && json.details !== null ? json.details : {};
  const message = typeof json.message === "string" ? json.message : "";
  const kind: ErrorKind = ERROR_CODES[json.code];
  if (kind === "overloaded") {
    const retryAfterMs = typeof details.retryAfterMs === "number" ? details.retryAfterMs : 0;
    return new OverloadedError(json.code as CodeOf<"overloaded">, message, { details, retryAfterMs });
  }
  const CLASSES = {
    malformed: MalformedError,
    verification: VerificationError,
    policy: PolicyError,
    conflict: ConflictError,
    unavailable: UnavailableError,
    fatal: FatalError,
  };
  // The table pairs each code with its class, which the compiler cannot follow through the lookup.
  const ErrorClass = CLASSES[kind] as new (code: ErrorCode, message: string, options: ErrorOptions) => TallystickError;
  return new ErrorClass(json.code, message, { details });
}
