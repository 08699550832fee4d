import type { Membership } from "../core/entry-filter.ts";
import type { ExportedEntry } from "./export-line.ts";

/** Counts the entries of an export on their way out. */
export class SelectionTally {
  /** By what a verifier can say of them; without a filter that is proved, all that are in it are members. */
  readonly entries: Record<Membership, number> = { member: 0, "no member": 0, open: 0 };
  /** Why entries are open: `whole` are committed as a whole, so nothing of them could be shown alone. */
  readonly open = { whole: 0, erased: 0, fields: 0 };

  add({ membership, scheme, isErased }: ExportedEntry): void {
    this.entries[membership] += 1;
    if (membership === "open") this.open[isErased ? "erased" : scheme === "event" ? "whole" : "fields"] += 1;
  }
}
