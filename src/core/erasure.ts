import { compareNames } from "./canonical-json.ts";
import type { Scheme } from "./entry.ts";
import type { Finding } from "./report.ts";

/** What erasures say of one entry, and what of it has effect. Normative: spec/control-events.md 9-12. */

/** One item of an erasure. */
export interface ErasureClaim {
  /** Index of the `ledger.erasure` that says so. */
  readonly by: number;
  /** Index and hex leaf hash of the entry that it names. */
  readonly index: number;
  readonly leaf: string;
  /** Names of the erased fields; null: the whole body. */
  readonly fields: readonly string[] | null;
  /** `signedIdDigest` of each author signature of the erased event. */
  readonly signedIds: readonly string[];
  readonly idGuard: string | null;
  /** Index of `ledger.hold.placed` of a hold that was in force on the entry then. */
  readonly heldBy: number | null;
}

export interface ErasureEffect {
  /** First erasure of the whole body. */
  readonly wholeBy: number | null;
  /** Field name → the first erasure that names it. */
  readonly fields: ReadonlyMap<string, number>;
  /** Claims that hold, and those that name the entry wrongly, with the reason. */
  readonly claims: readonly ErasureClaim[];
  readonly voids: readonly { readonly claim: ErasureClaim; readonly problem: string }[];
}

/** An entry as a reader sees it, against which claims are held. */
export interface ErasedFacts {
  readonly leaf: string;
  readonly scheme: Scheme;
  /** Names of its fields in scheme `fields`; null where none can be seen, and then no claim fails for a name. */
  readonly names: () => readonly string[] | null;
}

/** What the claims about one entry amount to; each is judged by itself, so a void one spoils none of the others. */
export function judgeErasure(claims: readonly ErasureClaim[], entry: ErasedFacts): ErasureEffect {
  const voids: { claim: ErasureClaim; problem: string }[] = [];
  let names: ReadonlySet<string> | null | undefined;
  const namesOnce = (): ReadonlySet<string> | null => {
    if (names === undefined) {
      const all = entry.names();
      names = all === null ? null : new Set(all);
    }
    return names;
  };
  const kept: ErasureClaim[] = [];
  for (const claim of claims) {
    const problem = problemOf(claim, entry, namesOnce);
    if (problem === null) kept.push(claim);
    else voids.push({ claim, problem });
  }
  return { ...effectOf(kept), claims: kept, voids };
}

/** What claims amount to if all of them hold. */
export function effectOf(claims: readonly ErasureClaim[]): Pick<ErasureEffect, "wholeBy" | "fields"> {
  let wholeBy: number | null = null;
  const fields = new Map<string, number>();
  for (const { by, fields: names } of claims) {
    if (names === null) wholeBy ??= by;
    else for (const name of names) if (!fields.has(name)) fields.set(name, by);
  }
  return { wholeBy, fields };
}

function problemOf(claim: ErasureClaim, entry: ErasedFacts, namesOf: () => ReadonlySet<string> | null): string | null {
  if (entry.scheme === "control") return "names a control event, which can never be erased";
  if (claim.leaf !== entry.leaf) return "names this entry by another leaf hash";
  if (claim.fields === null) return null;
  if (entry.scheme !== "fields") return "names fields of an entry that is committed as a whole";
  const names = namesOf();
  const stranger = names === null ? undefined : claim.fields.find((name) => !names.has(name));
  return stranger === undefined ? null : `names a field ${JSON.stringify(stranger)} that this entry never had`;
}

/** The claims that keep each `signedIdDigest`. */
export function claimsBySignedId(
  erasures: Iterable<{ readonly claims: readonly ErasureClaim[] }>,
): ReadonlyMap<string, readonly ErasureClaim[]> {
  const found = new Map<string, ErasureClaim[]>();
  for (const { claims } of erasures) {
    for (const claim of claims) {
      for (const digest of claim.signedIds) {
        const known = found.get(digest);
        if (known === undefined) found.set(digest, [claim]);
        else known.push(claim);
      }
    }
  }
  return found;
}

/** Finding about a claim that holds, but was made under a hold. */
export function heldFinding(claim: ErasureClaim): Finding {
  const { by, index, heldBy } = claim;
  const message = `erased by entry ${by} under the hold placed at ${heldBy}`;
  return { code: "erased-under-hold", index, message, evidence: `hold at ${heldBy}` };
}

/** `erasure at 17`, `erasures at 17, 20`: how findings name the evidence. */
export function erasureName(claims: readonly ErasureClaim[]): string {
  const indexes = [...new Set(claims.map((claim) => claim.by))];
  return `${indexes.length === 1 ? "erasure" : "erasures"} at ${indexes.join(", ")}`;
}

/** Field names of a disclosure in the order of the format. */
export function namesOfDisclosure(disclosure: { readonly disclosed: object; readonly digests: object }): string[] {
  return [...Object.keys(disclosure.disclosed), ...Object.keys(disclosure.digests)].sort(compareNames);
}
