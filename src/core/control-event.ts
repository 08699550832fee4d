/** Actions of the events that steer the ledger itself. */
export const CONTROL_ACTIONS: readonly string[] = [
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
];

const CONTROL: ReadonlySet<string> = new Set(CONTROL_ACTIONS);

/** Whether an event of this action has scheme `control`, and no other event has. */
export function isControlAction(action: string): boolean {
  return CONTROL.has(action);
}
