/** Medians, and ratios between measures that ran in the same rounds. */
import { median } from "./measure.mjs";

export { median };

/**
 * Ratio ours ÷ theirs. Where both ran equally often, by turns, it is the median of the turns' ratios, so that a machine that is
 * slow for a while is slow for both; otherwise the ratio of the medians.
 */
export function ratio(ours, theirs) {
  if (ours === undefined || theirs === undefined) return undefined;
  if (ours.runs.length === theirs.runs.length)
    return median(ours.runs.map((value, round) => value / theirs.runs[round]));
  return ours.median / theirs.median;
}

/** The measure against which ours looks worst: a peer is judged by the best that it can do. */
export function strongest(measures, ids, ours) {
  let worst;
  for (const id of ids) {
    const theirs = measures.get(id);
    const value = ratio(ours, theirs);
    if (value !== undefined && (worst === undefined || value < worst.ratio)) worst = { id, ratio: value };
  }
  return worst;
}
