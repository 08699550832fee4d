import { parseControlEvent } from "../core/control-event.ts";
import { leafHashHex, parseEntry } from "../core/entry.ts";
import { isTallystickError, MalformedError, VerificationError } from "../core/errors.ts";
import { parseEvent } from "../core/event.ts";
import { type AnchorEvent, type ControlEntry, type LedgerState, replayControls } from "../core/ledger-state.ts";
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
export async function loadState(storage: LedgerStorage): Promise<LoadedState> {
  const controls: ControlEntry[] = [];
  let controlsSeen = 0;
  for await (const stored of storedControls(storage, 0)) {
    // The list is derived data: of an ordinary entry that it names `verify` says that the list is wrong.
    const control = openControlEntry(stored);
    if (control !== null) controls.push(control);
    controlsSeen = stored.index + 1;
  }
  const { state } = await replayControls(controls);
  if (state === null) throw new MalformedError("not-a-ledger", "entry 0 is not the genesis of a ledger; run verify");
  return { state, genesisLeaf: controls[0]?.leaf ?? "", controlsSeen };
}

/** The control entries from `first` on. What their list names beyond the end of the ledger was cut off, which the boot check explains. */
export async function* storedControls(storage: LedgerStorage, first: number): AsyncGenerator<StoredEntry> {
  for (let from = first; ; ) {
    const page = await storage.readControls(from);
    yield* page;
    const last = page.at(-1);
    if (last === undefined) return;
    from = last.index + 1;
  }
}

export interface LoadedState {
  readonly state: LedgerState;
  readonly genesisLeaf: string;
  /** Control entries below this index are part of it. */
  readonly controlsSeen: number;
}

/**
 * The state with what was appended since it was loaded. Anchors are by far the most frequent control events and change nothing but
 * their own list; whatever else is new, all is replayed.
 */
export async function refreshState(storage: LedgerStorage, loaded: LoadedState): Promise<LoadedState> {
  const fresh: AnchorEvent[] = [];
  let { controlsSeen } = loaded;
  for await (const stored of storedControls(storage, controlsSeen)) {
    const { index } = stored;
    const control = openControlEntry(stored);
    if (control === null || control.control.action !== "ledger.anchor") return loadState(storage);
    const { size } = control.control.payload;
    if (size <= index) fresh.push({ index, time: control.entry.time, ...control.control.payload });
    controlsSeen = index + 1;
  }
  if (controlsSeen === loaded.controlsSeen) return loaded;
  return { ...loaded, state: { ...loaded.state, anchors: [...loaded.state.anchors, ...fresh] }, controlsSeen };
}

/** A control entry of our own store that does not open was tampered with: no state can be built on it. */
function openControlEntry(stored: StoredEntry): ControlEntry | null {
  try {
    return parseEntry(stored.entry).scheme === "control" ? parseControlEntry(stored) : null;
  } catch (cause) {
    if (!isTallystickError(cause)) throw cause;
    throw new VerificationError(
      "verification-failed",
      `control entry ${stored.index} cannot be read (${cause.message}); run verify`,
      {
        details: { index: stored.index },
        cause,
      },
    );
  }
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
