import type { ErrorCode } from "../core/errors.ts";

/** Exit status of the command line. Source: docs/internals/architecture.md. */
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

export const EXIT = {
  ok: 0,
  /** Tampered or invalid: a finding, or a ledger that contradicts what this machine knows of it. */
  tampered: 1,
  /** Wrong usage, or input that is refused as it stands: calling again with the same input gives the same answer. */
  usage: 2,
  /** Nothing wrong found, but what was asked cannot be established. */
  inconclusive: 3,
  /** Outside evidence that was required is missing. */
  evidenceMissing: 4,
  /** Input/output or configuration: mend what the message names, and call again. */
  environment: 5,
  interrupted: 130,
} as const;

const { tampered, usage, inconclusive, evidenceMissing, environment } = EXIT;

/** Exit status of each error: a new code does not compile until it has one. */
export const EXIT_CODES: Readonly<Record<ErrorCode, ExitCode>> = {
  // Input that was handed in: an event, a line, an option.
  "malformed-json": usage,
  "duplicate-member": usage,
  "not-canonical": usage,
  "unsupported-value": usage,
  "too-deep": usage,
  "malformed-event": usage,
  "event-too-large": usage,
  "reserved-action": usage,
  "malformed-origin": usage,
  "malformed-cursor": usage,
  // Evidence that does not parse is invalid evidence.
  "malformed-control": tampered,
  "malformed-commitment": tampered,
  "malformed-entry": tampered,
  "malformed-proof": tampered,
  "malformed-tile": tampered,
  "malformed-note": tampered,
  "malformed-checkpoint": tampered,
  "malformed-cosignature": tampered,
  "malformed-signature": tampered,
  "malformed-receipt": tampered,
  "malformed-export": tampered,
  // What the reader brings along: keys, policies, files of another kind.
  "malformed-key": environment,
  "malformed-policy": environment,
  "malformed-config": environment,
  "not-a-ledger": environment,
  "newer-format": environment,
  "unrecognised-file": environment,
  // The cryptography disagrees.
  "signature-invalid": tampered,
  "signature-missing": tampered,
  "proof-invalid": tampered,
  "commitment-mismatch": tampered,
  "origin-mismatch": tampered,
  "verification-failed": tampered,
  "rolled-back": tampered,
  "forked": tampered,
  "ledger-replaced": tampered,
  // Valid, but not allowed.
  "signature-required": usage,
  "author-not-registered": usage,
  "quorum-not-reached": evidenceMissing,
  "untrusted-key": environment,
  "clock-jump": environment,
  "not-erasable": usage,
  "not-disclosable": usage,
  "held": usage,
  "generated-key-refused": environment,
  "network-filesystem": environment,
  "foreign-database": environment,
  "key-role": usage,
  "level-not-reached": evidenceMissing,
  "ledger-sealed": usage,
  // Somebody else was first, or an id was reused.
  "id-conflict": usage,
  "already-exists": usage,
  "lock-moved": environment,
  "queue-full": environment,
  // A missing or empty ledger is no evidence of anything; the rest wants mending.
  "not-found": inconclusive,
  "read-only": environment,
  "storage-busy": environment,
  "storage-full": environment,
  "storage-io": environment,
  "storage-corrupt": environment,
  "driver-missing": environment,
  "key-lost": environment,
  "key-unreadable": environment,
  "wrong-passphrase": environment,
  "lock-store-lost": environment,
  "lock-store-unavailable": environment,
  "signer-unavailable": environment,
  "closed": environment,
  "outcome-unknown": environment,
  "invariant-broken": environment,
};
