import { isInForce, type LedgerState, type LogKey } from "../core/ledger-state.ts";
import { formatPolicy, type PolicyKeyRange, parsePolicy } from "../core/policy.ts";
import type { State } from "../keys/index.ts";
import type { LedgerEngine } from "../ledger/ledger.ts";

/**
 * Brings the log keys of the policy that this machine keeps up to date; whatever else it asks for stays. To be called by whoever
 * has just changed the keys, never for a change that was merely found in the ledger.
 */
export function updateKeptPolicy(state: State, ledger: LedgerEngine): void {
  const kept = state.readPolicy(ledger.origin);
  state.writePolicy(ledger.origin, policyOf(ledger, kept));
}

/**
 * Policy with every log key of the ledger, each for the sizes at which it signed: a reader who pins it can check old checkpoints
 * too, and a retired key that is stolen later cannot sign anything new.
 */
export function policyOf(ledger: LedgerEngine, kept?: string): string {
  const { logKeys } = ledger.state;
  const base =
    kept === undefined ? { genesis: ledger.genesis } : withoutKeys(parsePolicy(kept), logKeys.filter(isInForce));
  return formatPolicy({
    ...base,
    logKeys: logKeys.map((known) => known.key),
    keyRanges: logKeys.flatMap((known) => rangeOf(known, logKeys) ?? []),
  });
}

function withoutKeys(policy: ReturnType<typeof parsePolicy>, inForce: LedgerState["logKeys"]) {
  const { logKeys: _keys, logUrls: _urls, keyRanges: _ranges, requireAll, ...rest } = policy;
  return { ...rest, requireAll: requireAll.filter(({ vkey }) => inForce.some(({ key }) => key.vkey === vkey)) };
}

/**
 * Sizes for which a key counts; null for all. The checkpoint over a rotation at index N, of size N + 1, is signed by both keys; one
 * over a recovery by the new key alone, because the old one may be in other hands.
 */
function rangeOf({ key, minSize, maxSize, retiredAt }: LogKey, all: readonly LogKey[]): PolicyKeyRange | null {
  const isRecovery = all.some((other) => other.introduced === "recovered" && other.introducedAt === retiredAt);
  const retired = retiredAt === null ? null : isRecovery ? retiredAt : retiredAt + 1;
  const max = maxSize === null || retired === null ? (maxSize ?? retired) : Math.min(maxSize, retired);
  return minSize <= 1 && max === null ? null : { key, minSize, maxSize: max };
}
