import { parseControlEvent } from "../core/control-event.ts";
import { leafHashHex, parseEntry } from "../core/entry.ts";
import { FatalError, isTallystickError, MalformedError } from "../core/errors.ts";
import { parseEvent } from "../core/event.ts";
import { type ControlEntry, type LedgerState, replayControls } from "../core/ledger-state.ts";
import type { LedgerStorage, StoredEntry } from "./storage.ts";

/** Parses a stored entry of scheme `control`. Errors: `malformed-*` when it is not one. */
export function parseControlEntry(stored: StoredEntry): ControlEntry {
  const entry = parseEntry(stored.entry);
  if (entry.scheme !== "control" || stored.body === null)
    throw new MalformedError("malformed-control", `entry ${stored.index} is not a control event`);
  const event = parseEvent(stored.body);
  return { index: stored.index, entry, leaf: leafHashHex(stored.entry), event, control: parseControlEvent(event) };
}

/** State of the ledger as its control events say now. The engine trusts its own store here; `verify` does not. */
export async function loadState(
  storage: LedgerStorage,
): Promise<{ readonly state: LedgerState; readonly genesisLeaf: string }> {
  const controls: ControlEntry[] = [];
  for (const index of await storage.readControls()) {
    const [stored] = await storage.readEntries(index, index + 1);
    if (stored === undefined) throw new FatalError("invariant-broken", `control entry ${index} is missing; run verify`);
    controls.push(parseControlEntry(stored));
  }
  const { state } = await replayControls(controls);
  if (state === null) throw new MalformedError("not-a-ledger", "entry 0 is not the genesis of a ledger; run verify");
  return { state, genesisLeaf: controls[0]?.leaf ?? "" };
}

/** Origin that the genesis entry names; null when there is no readable genesis. Unverified. */
export async function originOf(storage: LedgerStorage): Promise<string | null> {
  try {
    const [genesis] = await storage.readEntries(0, 1);
    if (genesis === undefined) return null;
    const { control } = parseControlEntry(genesis);
    return control.action === "ledger.genesis" ? control.payload.origin : null;
  } catch (error) {
    if (!isTallystickError(error)) throw error;
    return null;
  }
}
