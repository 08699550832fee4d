import type { ExportSelection } from "../core/export-format.ts";
import type { SelectionTally } from "../ledger/selection-tally.ts";
import type { Context } from "./context.ts";
import { count, counted } from "./terminal-text.ts";

/** What whoever hands a selection on should know of it: what is proved, what is their word, and what stays open. */
export function noteSelection(
  { out }: Context,
  kind: ExportSelection["kind"],
  { entries, open }: Pick<SelectionTally, "entries" | "open">,
): void {
  if (kind === "complete")
    out.note(`proved of ${counted(entries["no member"], "other entry", "other entries")} that they do not match`);
  if (kind === "filter")
    out.note(
      "that no matching entry was left out is your word; --prove-complete proves it, as far as the entries allow",
    );
  if (entries.open > 0) out.warn(openText(entries.open, open));
}

/** Of how many entries nobody can say whether they match, and why. */
function openText(total: number, open: SelectionTally["open"]): string {
  const why = [
    open.whole > 0
      ? `${count(open.whole)} committed as a whole (scheme event), so that nothing of them can be shown alone`
      : "",
    open.erased > 0 ? `${count(open.erased)} erased` : "",
    open.fields > 0 ? `${count(open.fields)} with a field erased that the filter asks for` : "",
  ].filter((text) => text !== "");
  return `${counted(total, "entry stays", "entries stay")} open, so that the selection cannot be shown to be complete: ${why.join("; ")}`;
}
