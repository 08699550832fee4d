import type { BitcoinHeader } from "../core/anchor-proof/bitcoin.ts";
import { isTallystickError } from "../core/errors.ts";

/** Port: where block headers come from. Whoever uses one trusts it to know the main chain. */
export interface BitcoinHeaderSource {
  /** For reports: what is trusted. */
  readonly name: string;
  /** Easiest target of a header that is accepted, in compact form; another than the main chain's is for test networks. */
  readonly bitsMax?: number | undefined;
  /**
   * The header at a height of the chain, its work checked; null where the source has none there. `not-found`: the source does not
   * answer usably; `malformed-proof` and `proof-invalid`: what it answers is no header of the height's hash.
   */
  read(height: number, signal?: AbortSignal): Promise<BitcoinHeader | null>;
}

/** Headers that one proof may ask for: an honest one has as many attestations as calendars, a hostile one hundreds. */
export const PROOF_HEADERS_MAX = 16;
/** Requests to one source at the same time. */
const PARALLEL = 4;

/**
 * Headers at these heights, at most `max` of them. What a source cannot give is a failure in words and not an error: a made-up
 * attestation must not hide one that holds. Throws only when `signal` aborts.
 */
export async function readHeaders(
  source: BitcoinHeaderSource,
  heights: readonly number[],
  { signal, max = PROOF_HEADERS_MAX }: { readonly signal?: AbortSignal | undefined; readonly max?: number } = {},
): Promise<{ readonly headers: readonly BitcoinHeader[]; readonly failures: readonly string[] }> {
  const wanted = heights.slice(0, max);
  const answers: (BitcoinHeader | string)[] = new Array(wanted.length);
  let next = 0;
  const work = async (): Promise<void> => {
    for (let i = next++; i < wanted.length; i = next++) answers[i] = await readOne(source, wanted[i] as number, signal);
  };
  await Promise.all(Array.from({ length: Math.min(PARALLEL, wanted.length) }, work));
  return {
    headers: answers.filter((answer) => typeof answer !== "string"),
    failures: [
      ...heights.slice(max).map((height) => `block ${height}: more than ${max} heights`),
      ...answers.filter((answer) => typeof answer === "string"),
    ],
  };
}

async function readOne(
  source: BitcoinHeaderSource,
  height: number,
  signal: AbortSignal | undefined,
): Promise<BitcoinHeader | string> {
  try {
    return (await source.read(height, signal)) ?? `block ${height}: ${source.name} has none`;
  } catch (error) {
    if (!isTallystickError(error)) throw error;
    return `block ${height}: ${error.message}`;
  }
}
