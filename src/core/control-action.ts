/** Actions of the events that steer the ledger itself; they alone have scheme `control`. Spec: spec/control-events.md. */
export const CONTROL_ACTIONS = [
  "ledger.genesis",
  "ledger.rules.changed",
  "ledger.key.added",
  "ledger.key.rotated",
  "ledger.key.revoked",
  "ledger.erasure",
  "ledger.hold.placed",
  "ledger.hold.released",
  "ledger.anchor",
  "ledger.epoch.sealed",
  "ledger.recovered",
] as const;

export type ControlAction = (typeof CONTROL_ACTIONS)[number];

const NAMES: ReadonlySet<string> = new Set(CONTROL_ACTIONS);

/** Whether an event of this action has scheme `control`; no other event has. */
export function isControlAction(action: string): action is ControlAction {
  return NAMES.has(action);
}
