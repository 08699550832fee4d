import { parsePolicy } from "../core/policy.ts";
import type { State } from "../keys/index.ts";
import type { LedgerEngine } from "../ledger/ledger.ts";
import { policyOf } from "../ledger/ledger-policy.ts";

/**
 * Brings the log keys of the policy that this machine keeps up to date; whatever else it asks for stays. To be called by whoever
 * has just changed the keys, never for a change that was merely found in the ledger.
 */
export function updateKeptPolicy(state: State, ledger: LedgerEngine): void {
  const kept = state.readPolicy(ledger.origin);
  const base = kept === undefined ? undefined : parsePolicy(kept);
  state.writePolicy(ledger.origin, policyOf(ledger.state, ledger.genesis, base));
}
