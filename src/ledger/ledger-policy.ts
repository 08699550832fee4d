import { isInForce, type LedgerState, type LogKey } from "../core/ledger-state.ts";
import { formatPolicy, type Policy, type PolicyKeyRange } from "../core/policy.ts";

/**
 * Policy text with every log key of the ledger, each for the sizes at which it signed: a reader who pins it can check old
 * checkpoints too, and a retired key that is stolen later cannot sign anything new. `base` gives what else the policy asks for
 * (witnesses, quorum, authors); of its keys nothing is taken.
 */
export function policyOf(state: LedgerState, genesis: string, base?: Policy): string {
  const { logKeys } = state;
  const keys = {
    logKeys: logKeys.map((known) => known.key),
    keyRanges: logKeys.flatMap((known) => rangeOf(known, logKeys) ?? []),
  };
  if (base === undefined) return formatPolicy({ ...keys, genesis });
  const { logKeys: _keys, logUrls: _urls, keyRanges: _ranges, requireAll, ...rest } = base;
  const inForce = logKeys.filter(isInForce);
  return formatPolicy({
    ...rest,
    ...keys,
    genesis: rest.genesis ?? genesis,
    requireAll: requireAll.filter(({ vkey }) => inForce.some(({ key }) => key.vkey === vkey)),
  });
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
