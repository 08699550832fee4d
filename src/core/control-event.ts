import { canonicalize, compareNames } from "./canonical-json.ts";
import { isOrigin } from "./checkpoint.ts";
import { isFieldName } from "./commitment.ts";
import { type ControlAction, isControlAction } from "./control-action.ts";
import { concatBytes, encodeUtf8 } from "./encoding.ts";
import { MalformedError } from "./errors.ts";
import { type Actor, checkActor, type Event, type EventSignature } from "./event.ts";
import { type HashName, sha256, sha256Hex } from "./hash.ts";
import {
  array,
  base64,
  boolean,
  type Check,
  checkShape,
  expectObject,
  hex,
  integer,
  object,
  oneOf,
  refuse,
  text,
} from "./json-shape.ts";
import { EVENT_BYTES_MAX, FIELDS_MAX, NOTE_BYTES_MAX, SALT_BYTES } from "./limits.ts";
import { ALGORITHM_NAMES, type Algorithm } from "./signature/public-key.ts";

export { CONTROL_ACTIONS, type ControlAction, isControlAction } from "./control-action.ts";

/** What the events that steer the ledger say. Every object here is closed. Normative: spec/control-events.md. */

export interface Rules {
  readonly requireSignature: boolean;
  /** Kinds of anchors of which one makes an entry `anchored`; any kind without. Binds the writer, and says nothing to a reader. */
  readonly anchors?: readonly string[];
}

export interface GenesisPayload {
  readonly origin: string;
  readonly commitmentHash: HashName;
  /** Default scheme of new entries. */
  readonly scheme: "event" | "fields";
  readonly limits: { readonly eventBytes: number };
  readonly logKeys: readonly string[];
  readonly rules: Rules;
  /** 32 hex digits. */
  readonly lockStoreId: string;
  /** The epoch that this one continues: its last checkpoint, and the note that says so. */
  readonly predecessor?: {
    readonly origin: string;
    readonly size: number;
    readonly root: string;
    readonly checkpoint: string;
  };
}

export interface RulesChangedPayload {
  readonly rules: Rules;
  readonly scheme?: "event" | "fields";
}

export type KeyAddedPayload =
  | { readonly role: "author"; readonly algorithm: Algorithm; readonly spki: string; readonly actor: string }
  | { readonly role: "log"; readonly vkey: string };

export interface KeyRotatedPayload {
  readonly role: "log";
  readonly old: string;
  readonly new: string;
}

export type KeyRevokedPayload =
  | { readonly role: "log"; readonly vkey: string; readonly validUntilSize: number; readonly reason: string }
  | { readonly role: "author"; readonly keyId: string; readonly reason: string };

export interface ErasurePayload {
  /** Ascending by index. */
  readonly entries: readonly ErasureItem[];
  readonly reason: string;
  /** Legal basis. */
  readonly basis?: string;
}

export interface ErasureItem {
  readonly index: number;
  /** Hex leaf hash of that entry. */
  readonly leaf: string;
  /** Names of the erased fields, ascending; all of the entry without them. */
  readonly fields?: readonly string[];
  /** `signedIdDigest` for each author signature. */
  readonly signedIds?: readonly string[];
  /** `idGuard` of the erased id. */
  readonly idGuard?: string;
}

export interface HoldPlacedPayload {
  readonly hold: string;
  /** First and last leaf index under the hold. */
  readonly first: number;
  readonly last: number;
  readonly reason: string;
  readonly basis?: string;
}

export interface HoldReleasedPayload {
  readonly hold: string;
  readonly reason: string;
}

export interface AnchorPayload {
  /** `opentimestamps`, `rfc3161`, … */
  readonly kind: string;
  readonly size: number;
  readonly root: string;
  /** Hex SHA-256 of the anchored note and of the proof. */
  readonly note: string;
  readonly proof: string;
}

export interface EpochSealedPayload {
  /** Of the successor. */
  readonly origin: string;
  readonly logKeys: readonly string[];
}

export interface RecoveredPayload {
  readonly reason: string;
  readonly lost: readonly ("key" | "lock-store" | "database")[];
  /** Note of the last trusted checkpoint. */
  readonly checkpoint: string | null;
  readonly logKeys: readonly string[];
  readonly lockStoreId: string;
}

interface Payloads {
  readonly "ledger.genesis": GenesisPayload;
  readonly "ledger.rules.changed": RulesChangedPayload;
  readonly "ledger.key.added": KeyAddedPayload;
  readonly "ledger.key.rotated": KeyRotatedPayload;
  readonly "ledger.key.revoked": KeyRevokedPayload;
  readonly "ledger.erasure": ErasurePayload;
  readonly "ledger.hold.placed": HoldPlacedPayload;
  readonly "ledger.hold.released": HoldReleasedPayload;
  readonly "ledger.anchor": AnchorPayload;
  readonly "ledger.epoch.sealed": EpochSealedPayload;
  readonly "ledger.recovered": RecoveredPayload;
}

/** A control event, told apart by `action`. */
export type ControlEvent = {
  readonly [A in ControlAction]: {
    readonly action: A;
    readonly payload: Payloads[A];
    readonly actor?: string | Actor;
    readonly signatures?: readonly EventSignature[];
  };
}[ControlAction];

/**
 * The control event that an event is: exactly `action`, `payload` and optionally `actor` and `signatures`, and the payload of
 * that action. The event must be one already (`parseEvent`). Error: `malformed-control` with `details.pointer`.
 */
export function parseControlEvent(event: Event): ControlEvent {
  const { action } = event;
  if (!isControlAction(action)) {
    throw new MalformedError(
      "malformed-control",
      `"/action": ${JSON.stringify(action)} is not that of a control event`,
      {
        details: { pointer: "/action" },
      },
    );
  }
  checkShape(event, CONTROL_EVENTS[action], "malformed-control");
  // The table has the check of exactly this type.
  return event as unknown as ControlEvent;
}

const LOG_KEYS_MAX = 16;
/** A name of 255 bytes and an ML-DSA-44 key take 2,018. */
const VKEY_BYTES_MAX = 4096;
/** The longest, ML-DSA-87, has 3,488 characters. */
const SPKI_UNITS_MAX = 4096;
const ACTOR_BYTES_MAX = 1024;
/** Of a reason and of a legal basis. */
export const REASON_BYTES_MAX = 4096;
const HOLD_BYTES_MAX = 256;
const KIND_BYTES_MAX = 64;
const ANCHOR_KINDS_MAX = 16;
/** Entries of one erasure: a thousand need 100 KB. */
const ERASED_ENTRIES_MAX = 10_000;
const SIGNED_IDS_MAX = 16;
/** A smaller bound could not hold a control event. */
const EVENT_BYTES_MIN = 1024;

const HASH: Check = hex(64);
const INDEX: Check = integer({ min: 0 });
const SIZE: Check = integer({ min: 1 });
const REASON: Check = text({ max: REASON_BYTES_MAX });
const NOTE: Check = text({ max: NOTE_BYTES_MAX });
const HOLD: Check = text({ max: HOLD_BYTES_MAX, line: true });
const LOCK_STORE_ID: Check = hex(32);
const SCHEME: Check = oneOf("event", "fields");
const ANCHOR_KIND: Check = text({ max: KIND_BYTES_MAX, line: true });
/** Whether a key can be used is decided where it is: a vkey of a later type must not spoil the event. */
const VKEY: Check = text({ max: VKEY_BYTES_MAX, line: true });
const VKEYS: Check = array(VKEY, { min: 1, max: LOG_KEYS_MAX });

function checkOrigin(value: unknown): void {
  if (typeof value !== "string" || !isOrigin(value)) refuse("expected an origin");
}

/** The array is strictly ascending, so that each thing is said once. */
function ascending<T>(check: Check, compare: (a: T, b: T) => number): Check {
  return (value) => {
    check(value);
    const items = value as readonly T[];
    for (let i = 1; i < items.length; i++) {
      if (compare(items[i - 1]!, items[i]!) >= 0) refuse(`expected the items strictly ascending, item ${i} is not`);
    }
  };
}

const RULES: Check = object({
  requireSignature: boolean,
  "anchors?": ascending(array(ANCHOR_KIND, { min: 1, max: ANCHOR_KINDS_MAX }), compareNames),
});

/** The check that goes with the value of `role`. */
function byRole(roles: Readonly<Record<string, Check>>): Check {
  const role = oneOf(...Object.keys(roles));
  const known: Check = (value) => {
    expectObject(value);
    object({ role })({ role: value.role });
  };
  return (value) => {
    known(value);
    roles[(value as { readonly role: string }).role]!(value);
  };
}

const ERASURE_ITEM: Check = object({
  index: INDEX,
  leaf: HASH,
  "fields?": ascending(
    array(
      (value) => {
        if (typeof value !== "string" || !isFieldName(value)) refuse("expected the name of a field");
      },
      { min: 1, max: FIELDS_MAX },
    ),
    compareNames,
  ),
  "signedIds?": array(HASH, { min: 1, max: SIGNED_IDS_MAX }),
  "idGuard?": HASH,
});

const HOLD_PLACED: Check = object({ hold: HOLD, first: INDEX, last: INDEX, reason: REASON, "basis?": REASON });

const PAYLOADS: Readonly<Record<ControlAction, Check>> = {
  "ledger.genesis": object({
    origin: checkOrigin,
    commitmentHash: oneOf("sha256", "sha512", "sha3-256"),
    scheme: SCHEME,
    limits: object({ eventBytes: integer({ min: EVENT_BYTES_MIN, max: EVENT_BYTES_MAX }) }),
    logKeys: VKEYS,
    rules: RULES,
    lockStoreId: LOCK_STORE_ID,
    "predecessor?": object({ origin: checkOrigin, size: SIZE, root: HASH, checkpoint: NOTE }),
  }),
  "ledger.rules.changed": object({ rules: RULES, "scheme?": SCHEME }),
  "ledger.key.added": byRole({
    author: object({
      role: oneOf("author"),
      algorithm: oneOf(...ALGORITHM_NAMES),
      spki: base64({ max: SPKI_UNITS_MAX }),
      actor: text({ max: ACTOR_BYTES_MAX }),
    }),
    log: object({ role: oneOf("log"), vkey: VKEY }),
  }),
  "ledger.key.rotated": object({ role: oneOf("log"), old: VKEY, new: VKEY }),
  "ledger.key.revoked": byRole({
    author: object({ role: oneOf("author"), keyId: HASH, reason: REASON }),
    log: object({ role: oneOf("log"), vkey: VKEY, validUntilSize: INDEX, reason: REASON }),
  }),
  "ledger.erasure": object({
    entries: ascending<ErasureItem>(
      array(ERASURE_ITEM, { min: 1, max: ERASED_ENTRIES_MAX }),
      (a, b) => a.index - b.index,
    ),
    reason: REASON,
    "basis?": REASON,
  }),
  "ledger.hold.placed": (value) => {
    HOLD_PLACED(value);
    const { first, last } = value as HoldPlacedPayload;
    if (first > last) refuse("expected first to be at most last");
  },
  "ledger.hold.released": object({ hold: HOLD, reason: REASON }),
  "ledger.anchor": object({
    kind: ANCHOR_KIND,
    size: SIZE,
    root: HASH,
    note: HASH,
    proof: HASH,
  }),
  "ledger.epoch.sealed": object({ origin: checkOrigin, logKeys: VKEYS }),
  "ledger.recovered": object({
    reason: REASON,
    lost: ascending(array(oneOf("key", "lock-store", "database"), { min: 1, max: 3 }), compareNames),
    checkpoint: (value) => {
      if (value !== null) NOTE(value);
    },
    logKeys: VKEYS,
    lockStoreId: LOCK_STORE_ID,
  }),
};

const CONTROL_EVENTS = Object.fromEntries(
  Object.entries(PAYLOADS).map(([action, payload]) => [
    action,
    // What stands in `signatures` is the business of the event's own grammar.
    object({ action: oneOf(action), payload, "actor?": checkActor, "signatures?": () => {} }),
  ]),
) as Readonly<Record<ControlAction, Check>>;

/**
 * What the signers of a key event sign, as text: it names the ledger, the place of the event in it and its content, so that
 * none can be replayed. Source: spec/keys.md 8.
 */
export function keyEventMessage(parts: {
  readonly origin: string;
  readonly action: string;
  /** Leaf index and `previous` of the entry that holds the event. */
  readonly index: number;
  readonly previous: string;
  readonly event: Event;
}): string {
  const { signatures: _signatures, ...unsigned } = parts.event;
  const digest = sha256Hex(canonicalize(unsigned));
  return `tallystick/v1/key\n${parts.origin}\n${parts.action}\n${parts.index}\n${parts.previous}\n${digest}`;
}

/** Digest of an idempotency key in one ledger: SHA-256("tallystick/v1/id-digest\n" ‖ hex L_0 ‖ "\n" ‖ id), 32 bytes. */
export function idDigest(genesisLeafHex: string, id: string): Uint8Array {
  return sha256(encodeUtf8(`tallystick/v1/id-digest\n${genesisLeafHex}\n${id}`));
}

/** What an erasure keeps of an id: hex SHA-256("tallystick/v1/erased-id\n" ‖ salt ‖ digest), salt 16 and digest 32 bytes. */
export function idGuard(salt: Uint8Array, digest: Uint8Array): string {
  if (salt.length !== SALT_BYTES)
    throw new RangeError(`idGuard: expected a salt of ${SALT_BYTES} bytes, got ${salt.length}`);
  if (digest.length !== 32) throw new RangeError(`idGuard: expected a digest of 32 bytes, got ${digest.length}`);
  return sha256Hex(concatBytes(encodeUtf8("tallystick/v1/erased-id\n"), salt, digest));
}

/** What an erasure keeps of a signed event's id: hex SHA-256("tallystick/v1/id\n" ‖ keyId ‖ "\n" ‖ id). */
export function signedIdDigest(keyId: string, id: string): string {
  return sha256Hex(`tallystick/v1/id\n${keyId}\n${id}`);
}
