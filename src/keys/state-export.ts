import { isTallystickError, MalformedError } from "../core/errors.ts";
import { parsePolicy } from "../core/policy.ts";
import type { LockRecord } from "../ledger/lock-store.ts";
import type { VerificationRecord } from "../ledger/reader-state.ts";
import type { PathRecord, State } from "./state-directory.ts";
import { isPlace, KEY_NAME } from "./state-files.ts";

const FORMAT = "tallystick/state/v1";

export interface StateExportOptions {
  /** Include the private keys. The file is then as secret as they are. */
  readonly keys?: boolean;
  /** Records of the lock store, which lives outside of the state's own files. */
  readonly locks?: readonly LockRecord[];
}

/** What this machine knows, as one JSON object. */
export interface StateExport {
  readonly format: typeof FORMAT;
  readonly ledgers: readonly RememberedLedger[];
  readonly paths: readonly PathRecord[];
  readonly locks: readonly LockRecord[];
}

export interface RememberedLedger {
  readonly origin: string;
  readonly policy: string | null;
  readonly lastSeen: string | null;
  readonly verification: VerificationRecord | null;
  /** PEM texts by name; null when keys were not asked for. */
  readonly keys: Readonly<Record<string, string>> | null;
}

/** What an import did with each thing it met, one line each. */
export interface ImportReport {
  readonly imported: readonly string[];
  /** Known here already, as new or newer. */
  readonly kept: readonly string[];
  /** Contradicts what is here: another key or policy, another ledger at a path, a fork. Nothing was changed. */
  readonly conflicts: readonly string[];
  /** Records for the lock store, which the caller restores. */
  readonly locks: readonly LockRecord[];
}

export function exportState(state: State, { keys = false, locks = [] }: StateExportOptions): StateExport {
  const ledgers = state.listOrigins().map((origin): RememberedLedger => {
    const names = keys ? state.listKeys(origin) : [];
    return {
      origin,
      policy: state.readPolicy(origin) ?? null,
      lastSeen: state.lastSeen(origin) ?? null,
      verification: state.readVerification(origin) ?? null,
      keys: keys ? Object.fromEntries(names.map((name) => [name, state.readKey(origin, name) ?? ""])) : null,
    };
  });
  return { format: FORMAT, ledgers, paths: state.listPaths(), locks };
}

export function importState(state: State, json: unknown): ImportReport {
  const { ledgers, paths, locks } = parseStateExport(json);
  const imported: string[] = [];
  const kept: string[] = [];
  const conflicts: string[] = [];

  // What has no order of age is never overwritten; what has one decides by itself whether the offer is newer.
  const take = (
    what: string,
    known: string | undefined,
    offered: string | null,
    write: (text: string) => void,
  ): void => {
    if (offered === null) return;
    if (known === undefined) {
      write(offered);
      imported.push(what);
    } else if (known === offered) kept.push(what);
    else conflicts.push(what);
  };
  const remember = (what: string, read: () => unknown, write: () => void): void => {
    const before = JSON.stringify(read());
    try {
      write();
    } catch (error) {
      if (!isTallystickError(error) || (error.code !== "forked" && error.code !== "ledger-replaced")) throw error;
      conflicts.push(what);
      return;
    }
    (JSON.stringify(read()) === before ? kept : imported).push(what);
  };

  for (const { origin, policy, lastSeen, verification, keys } of ledgers) {
    for (const [name, pem] of Object.entries(keys ?? {})) {
      take(`key ${name} of ${origin}`, state.readKey(origin, name), pem, (text) => state.writeKey(origin, text, name));
    }
    take(`policy of ${origin}`, state.readPolicy(origin), policy, (text) => state.writePolicy(origin, text));
    if (lastSeen !== null) {
      remember(
        `checkpoint of ${origin}`,
        () => state.lastSeen(origin),
        () => state.rememberCheckpoint(origin, lastSeen),
      );
    }
    if (verification !== null) {
      remember(
        `verification of ${origin}`,
        () => state.readVerification(origin),
        () => state.writeVerification(origin, verification),
      );
    }
  }
  for (const record of paths) {
    remember(
      `path ${record.path}`,
      () => state.recallPath(record.path),
      () => state.rememberPath(record.path, record),
    );
  }
  return { imported, kept, conflicts, locks };
}

/**
 * State export of untrusted JSON. Errors: `unrecognised-file` (not a state export), `newer-format`, `malformed-export`
 * with `details.pointer`.
 */
export function parseStateExport(json: unknown): StateExport {
  const root = json as Readonly<Record<string, unknown>> | null;
  const format = typeof root === "object" && root !== null ? root.format : undefined;
  if (typeof format !== "string" || !format.startsWith("tallystick/state/")) {
    throw new MalformedError("unrecognised-file", `state import: expected format ${FORMAT}`);
  }
  if (format !== FORMAT)
    throw new MalformedError("newer-format", `state import: expected format ${FORMAT}, got ${format}`);
  checkShape(json, EXPORT_SHAPE, "");
  return json as StateExport;
}

type Shape =
  | ((value: unknown) => boolean)
  | { readonly orNull: Shape }
  | { readonly each: Shape }
  | { readonly eachNamed: Shape; readonly names: RegExp }
  | { readonly members: Readonly<Record<string, Shape>> };

const text: Shape = (value) => typeof value === "string" && value !== "";
const hex: Shape = (value) => typeof value === "string" && /^(?:[0-9a-f]{32}|[0-9a-f]{64})$/.test(value);
const size: Shape = (value) => Number.isSafeInteger(value) && (value as number) >= 0;
const policyText: Shape = (value) => {
  if (typeof value !== "string") return false;
  try {
    parsePolicy(value);
    return true;
  } catch (error) {
    if (!isTallystickError(error)) throw error;
    return false;
  }
};
const place: Shape = (value) => typeof value === "string" && isPlace(value);

const EXPORT_SHAPE: Shape = {
  members: {
    ledgers: {
      each: {
        members: {
          origin: text,
          policy: { orNull: policyText },
          lastSeen: { orNull: text },
          verification: { orNull: { members: { time: text } } },
          keys: { orNull: { eachNamed: text, names: KEY_NAME } },
        },
      },
    },
    paths: { each: { members: { path: place, origin: text, genesis: hex, size, note: { orNull: text } } } },
    locks: { each: { members: { origin: text, lockStoreId: hex, note: { orNull: text } } } },
  },
};

/** Members that are not named here are passed over: a later release may add some. */
function checkShape(value: unknown, shape: Shape, pointer: string): void {
  const refuse = (): never => {
    throw new MalformedError("malformed-export", `state import: unexpected value at "${pointer}"`, {
      details: { pointer },
    });
  };
  if (typeof shape === "function") {
    if (!shape(value)) refuse();
    return;
  }
  if ("orNull" in shape) {
    if (value !== null) checkShape(value, shape.orNull, pointer);
    return;
  }
  if (typeof value !== "object" || value === null || Array.isArray(value) !== "each" in shape) refuse();
  const record = value as Readonly<Record<string, unknown>>;
  if ("members" in shape) {
    for (const [name, member] of Object.entries(shape.members)) checkShape(record[name], member, `${pointer}/${name}`);
    return;
  }
  for (const [name, item] of Object.entries(record)) {
    if ("names" in shape && !shape.names.test(name)) refuse();
    checkShape(item, "names" in shape ? shape.eachNamed : shape.each, `${pointer}/${name}`);
  }
}
