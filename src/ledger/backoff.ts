/** When a proof that waits is asked for again: plain data, so that it can be kept across restarts. */
export interface BackoffState {
  /** Failed or fruitless attempts since the last success. */
  readonly attempts: number;
  /** Milliseconds since 1970 before which nothing is asked. */
  readonly nextMs: number;
}

export interface BackoffBounds {
  readonly firstMs: number;
  readonly maxMs: number;
}

/** A block comes about every ten minutes and a calendar's answer is cached for one: so from a minute up to an hour, for ever. */
export const UPGRADE_BACKOFF: BackoffBounds = { firstMs: 60_000, maxMs: 3_600_000 };

/** State before the first attempt: due at once. */
export const BACKOFF_START: BackoffState = { attempts: 0, nextMs: 0 };

/**
 * State after one more attempt in vain: the delay doubles up to the bound and never ends, as there is no moment after which a
 * proof is given up. `spread` in 0..1 shortens it by at most a fifth, so that many ledgers do not ask in step.
 */
export function backOff(
  state: BackoffState,
  {
    nowMs,
    spread,
    bounds = UPGRADE_BACKOFF,
  }: { readonly nowMs: number; readonly spread: number; readonly bounds?: BackoffBounds },
): BackoffState {
  if (!(spread >= 0 && spread <= 1)) throw new RangeError(`backOff: expected a spread of 0 to 1, got ${spread}`);
  const delayMs = Math.min(bounds.maxMs, bounds.firstMs * 2 ** Math.min(state.attempts, 30));
  return { attempts: state.attempts + 1, nextMs: nowMs + Math.round(delayMs * (1 - spread / 5)) };
}

export function isDue(state: BackoffState, nowMs: number): boolean {
  return nowMs >= state.nextMs;
}
