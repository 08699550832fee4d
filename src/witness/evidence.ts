import { type Contradiction, headOfNote } from "../core/contradiction.ts";
import { bytesEqual } from "../core/encoding.ts";
import type { WitnessEvidence } from "./witness-store.ts";

/**
 * What a witness kept against a log, as a contradiction that anybody can check who has the log's key. Null where the two notes alone
 * prove nothing: of two sizes only whoever has a tree could tell, and that an offered proof does not verify shows no fork.
 */
export function contradictionOf({ held, offered }: Pick<WitnessEvidence, "held" | "offered">): Contradiction | null {
  const [before, after] = [headOfNote(held), headOfNote(offered)];
  if (before === null || after === null || before.size !== after.size) return null;
  return bytesEqual(before.root, after.root) ? null : { kind: "forked", held, shown: offered };
}
