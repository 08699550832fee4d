import { type Checkpoint, parseLedgerCheckpoint } from "../core/checkpoint.ts";
import { bytesEqual, encodeHex } from "../core/encoding.ts";
import { isTallystickError } from "../core/errors.ts";
import type { LedgerState, LogKey } from "../core/ledger-state.ts";
import { parseNote, type VerifierKey } from "../core/note.ts";
import { type Policy, type VerifiedCheckpoint, verifyCheckpoint } from "../core/policy.ts";
import type { Finding, FindingCode, Pin } from "../core/report.ts";
import type { StoredCheckpoint } from "./storage.ts";

/** A checkpoint whose signature and root both hold. */
export interface CheckedCheckpoint {
  readonly size: number;
  readonly root: Uint8Array;
  readonly note: string;
  readonly logKeys: readonly VerifierKey[];
  readonly witnesses: VerifiedCheckpoint["witnesses"];
  readonly quorum: boolean;
  readonly witnessTime: number | null;
}

/** A checkpoint that came from outside the ledger and agrees with it. */
export interface HeldCheckpoint {
  readonly source: "expect" | "lastSeen" | "lockNote" | "since";
  readonly size: number;
}

export interface CheckpointTrustParts {
  readonly state: LedgerState;
  /** Pinned, or the ledger's own keys. */
  readonly policy: Policy;
  readonly pin: Pin;
  readonly size: number;
  /** Root of the first `size` entries; null where an entry is missing. */
  readonly rootAt: (size: number) => Promise<Uint8Array | null>;
  readonly report: (code: FindingCode, message: string, more?: Partial<Finding>) => void;
}

const HELD_NAMES: Readonly<Record<HeldCheckpoint["source"], string>> = {
  expect: "the expected checkpoint",
  lastSeen: "the checkpoint that this machine saw last",
  lockNote: "the checkpoint in the lock store",
  since: "the checkpoint to resume from",
};

/**
 * Which checkpoints hold, and under whose keys. A key that the ledger introduced by rotation or addition is accepted
 * from the checkpoint on that a key accepted before has signed over that event. Source: spec/keys.md.
 */
export class CheckpointTrust {
  private readonly parts: CheckpointTrustParts;
  private policy: Policy;
  /** How each accepted key came to be accepted, by vkey. */
  private readonly origins = new Map<string, string>();
  private readonly checked: CheckedCheckpoint[] = [];
  private readonly disowned: CheckedCheckpoint[] = [];
  /** Signed by keys of the ledger that the reader does not pin: those before a rotation or recovery that he pinned after. */
  private readonly unpinned: Pick<CheckedCheckpoint, "size">[] = [];

  constructor(parts: CheckpointTrustParts) {
    this.parts = parts;
    this.policy = parts.policy;
    const how = parts.pin === "policy" ? "pinned" : parts.pin === "state" ? "kept by this machine" : "self-asserted";
    for (const key of parts.policy.logKeys) this.origins.set(key.vkey, how);
  }

  /** Size and root of a note, unverified; null if it is none. */
  static headOf(note: string): Checkpoint | null {
    try {
      return parseLedgerCheckpoint(parseNote(note).text);
    } catch (error) {
      if (!isTallystickError(error)) throw error;
      return null;
    }
  }

  /** Checks a checkpoint that is stored in the ledger; ascending by size. */
  async addStored(stored: StoredCheckpoint): Promise<void> {
    const { report, size, state } = this.parts;
    const evidence = `checkpoint of size ${stored.size}`;
    const head = CheckpointTrust.headOf(stored.note);
    if (head === null || head.size !== stored.size) {
      return report(
        "checkpoint-malformed",
        head === null
          ? "a stored checkpoint does not parse"
          : `a checkpoint stored for size ${stored.size} is of size ${head.size}`,
        { evidence },
      );
    }
    if (head.origin !== state.genesis.origin) {
      return report("origin-mismatch", "a stored checkpoint speaks of another ledger", {
        expected: state.genesis.origin,
        found: head.origin,
        evidence,
      });
    }
    const verified = await this.verified(stored.note, evidence);
    if (head.size > size) {
      return report(
        "checkpoint-beyond",
        `a checkpoint of size ${head.size} is stored, but only ${size} entries: the ledger was cut off`,
        { expected: String(head.size), found: String(size), evidence },
      );
    }
    const root = await this.parts.rootAt(head.size);
    if (root === null) return;
    if (!bytesEqual(root, head.root)) {
      return report(
        "checkpoint-root",
        `the entries do not give the root that the checkpoint of size ${head.size} signs`,
        { expected: encodeHex(head.root), found: encodeHex(root), evidence },
      );
    }
    if (verified === null) return;
    if (verified === "unpinned") {
      this.unpinned.push({ size: head.size });
      return;
    }
    const checked = { ...verified, size: head.size, root: head.root, note: stored.note };
    const keys = verified.logKeys.map((key) => this.keyOf(key)).filter((key) => key !== undefined);
    if (keys.length > 0 && keys.every((key) => key.maxSize !== null && key.maxSize < head.size))
      this.disowned.push(checked);
    else this.checked.push(checked);
    this.deriveKeys(head.size);
  }

  /** Checks what the reader holds from outside the ledger; returns what agrees with it. */
  async addHeld(notes: Readonly<Record<HeldCheckpoint["source"], string | undefined>>): Promise<HeldCheckpoint[]> {
    const held: HeldCheckpoint[] = [];
    for (const source of ["lockNote", "lastSeen", "since", "expect"] as const) {
      const note = notes[source];
      if (note !== undefined && (await this.agrees(source, note)))
        held.push({ source, size: CheckpointTrust.headOf(note)?.size ?? 0 });
    }
    return held;
  }

  /** A checkpoint by a revoked or unpinned key stands if a valid key signed a later tree that contains it. */
  judgeUncovered(): void {
    const covered = this.checked.at(-1)?.size ?? 0;
    for (const { size, logKeys } of this.disowned) {
      if (size > covered) {
        this.parts.report(
          "key-disowned",
          `the checkpoint of size ${size} is signed only by a key that was later disowned`,
          { evidence: `checkpoint of size ${size}`, found: logKeys.map((key) => key.vkey).join(" ") },
        );
      }
    }
    for (const { size } of this.unpinned) {
      if (size > covered) {
        this.parts.report("checkpoint-signature", `the checkpoint of size ${size} is signed only by keys not pinned`, {
          evidence: `checkpoint of size ${size}`,
        });
      }
    }
  }

  /** The largest checkpoint that holds. */
  latest(): CheckedCheckpoint | null {
    const latest = this.checked.at(-1) ?? null;
    return latest === null ? null : { ...latest };
  }

  private async agrees(source: HeldCheckpoint["source"], note: string): Promise<boolean> {
    const { report, size, state } = this.parts;
    const name = HELD_NAMES[source];
    const head = CheckpointTrust.headOf(note);
    if (head === null) {
      report("checkpoint-malformed", `${name} does not parse`, { evidence: name });
      return false;
    }
    if (head.origin !== state.genesis.origin) {
      report("origin-mismatch", `${name} speaks of another ledger`, {
        expected: head.origin,
        found: state.genesis.origin,
        evidence: name,
      });
      return false;
    }
    if (head.size > size) {
      // Signed by a pinned key, or by one that this shorter history does not know yet: either way entries are gone.
      report(
        "expected-beyond",
        `${name} is of size ${head.size}, but the ledger has ${size} entries: it was cut off, rolled back or replaced`,
        { expected: String(head.size), found: String(size), evidence: name },
      );
      return false;
    }
    if ((await this.verified(note, name)) === null) return false;
    const root = await this.parts.rootAt(head.size);
    if (root === null) return false;
    if (!bytesEqual(root, head.root)) {
      report("expected-root", `at size ${head.size} the ledger has another history than ${name}`, {
        expected: encodeHex(head.root),
        found: encodeHex(root),
        evidence: name,
      });
      return false;
    }
    return true;
  }

  /** Who signed: keys that the reader accepts, or only others of the ledger (`unpinned`); null, reported, for anything else. */
  private async verified(
    note: string,
    evidence: string,
  ): Promise<Pick<CheckedCheckpoint, "logKeys" | "witnesses" | "quorum" | "witnessTime"> | "unpinned" | null> {
    try {
      const { logKeys, witnesses, quorum, witnessTime } = await verifyCheckpoint(note, this.policy);
      return { logKeys, witnesses, quorum, witnessTime };
    } catch (error) {
      if (!isTallystickError(error)) throw error;
      if (error.code === "signature-missing" && (await this.isSignedByLedger(note))) return "unpinned";
      // A wrong origin is reported once, where the ledger's own origin is compared with the policy's.
      if (error.code !== "origin-mismatch")
        this.parts.report("checkpoint-signature", `${evidence}: ${error.message}`, { evidence });
      return null;
    }
  }

  private async isSignedByLedger(note: string): Promise<boolean> {
    const logKeys = this.parts.state.logKeys.map((known) => known.key);
    try {
      await verifyCheckpoint(note, { ...this.policy, logKeys, keyRanges: [], requireAll: [] });
      return true;
    } catch (error) {
      if (!isTallystickError(error)) throw error;
      return false;
    }
  }

  private keyOf(key: VerifierKey): LogKey | undefined {
    return this.parts.state.logKeys.find((known) => known.key.vkey === key.vkey);
  }

  private deriveKeys(size: number): void {
    for (const { key, introduced, introducedAt, vouchedBy } of this.parts.state.logKeys) {
      if (introducedAt >= size || vouchedBy === null || this.origins.has(key.vkey) || !this.origins.has(vouchedBy))
        continue;
      this.origins.set(key.vkey, `derived: ${introduced} at ${introducedAt}`);
      const { logKeys, logUrls, keyRanges } = this.policy;
      this.policy = {
        ...this.policy,
        logKeys: [...logKeys, key],
        logUrls: [...logUrls, null],
        keyRanges: [...keyRanges, { key, minSize: introducedAt + 1, maxSize: null }],
      };
    }
  }

  /** The largest checkpoint that holds and has the quorum of witnesses that the policy asks for. */
  witnessed(): CheckedCheckpoint | null {
    if (this.policy.quorum === "none") return null;
    return this.checked.findLast((checkpoint) => checkpoint.quorum) ?? null;
  }

  /** Every checkpoint that holds and has that quorum, ascending by size. */
  allWitnessed(): readonly CheckedCheckpoint[] {
    return this.policy.quorum === "none" ? [] : this.checked.filter((checkpoint) => checkpoint.quorum);
  }

  /**
   * What is wrong with the signatures of a note whose root is that of the tree; null where nothing is. As for stored checkpoints,
   * one by keys of the ledger that the reader does not pin stands if a valid key signed a later tree.
   */
  async objectionTo(note: string): Promise<string | null> {
    try {
      await verifyCheckpoint(note, this.policy);
      return null;
    } catch (error) {
      if (!isTallystickError(error)) throw error;
      const size = CheckpointTrust.headOf(note)?.size ?? Number.POSITIVE_INFINITY;
      const isCovered = size <= (this.checked.at(-1)?.size ?? 0);
      const stands = error.code === "signature-missing" && isCovered && (await this.isSignedByLedger(note));
      return stands ? null : error.message;
    }
  }

  /** How an accepted key came to be accepted, for the report. */
  originOf(key: VerifierKey): string {
    return this.origins.get(key.vkey) ?? "unknown";
  }
}
