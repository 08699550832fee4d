import type { JsonValue } from "../core/canonical-json.ts";
import { actorIdOf, type Event } from "../core/event.ts";
import type { LedgerEntry } from "../ledger/stored-event.ts";
import { type Style, safeText } from "./terminal-text.ts";

const ACTION_WIDTH = 20;
const ACTOR_WIDTH = 16;
/** Members of a payload that say in a few words what it is about. */
const TITLES = ["subject", "title", "summary", "message"] as const;
const TITLE_UNITS_MAX = 60;

/** One entry on one line: index, ledger time, action, actor, what it was done to, how it ended. */
export function entryLine(entry: LedgerEntry, style: Style, options: { readonly indexWidth: number }): string {
  const { event, erased } = entry;
  const index = style.dim(String(entry.index).padStart(options.indexWidth));
  const head = `${index}  ${style.dim(entry.time)}  `;
  if (event === null) return `${head}${style.yellow(`erased: ${erasedText(erased)}`)}`;
  const action = safeText(event.action ?? "(no action)").padEnd(ACTION_WIDTH);
  const actor = safeText(actorOf(event)).padEnd(ACTOR_WIDTH);
  const targets = safeText((event.targets ?? []).map((target) => target.id).join(", "));
  const outcome = event.outcome === undefined ? "" : outcomeText(event.outcome, style);
  const rest = [
    targets,
    outcome,
    style.dim(titleOf(event.payload)),
    ...(erased === null ? [] : [style.yellow(`erased: ${erasedText(erased)}`)]),
  ];
  const colored = entry.scheme === "control" ? style.cyan(action) : style.bold(action);
  return `${head}${colored}  ${actor}  ${rest.filter((part) => part !== "").join("  ")}`.trimEnd();
}

function actorOf(event: Partial<Event>): string {
  return actorIdOf(event as Event) ?? "-";
}

function titleOf(payload: JsonValue | undefined): string {
  if (typeof payload !== "object" || payload === null || Array.isArray(payload)) return "";
  const members = payload as Readonly<Record<string, JsonValue>>;
  const title = TITLES.map((name) => members[name]).find((value) => typeof value === "string" && value !== "");
  if (typeof title !== "string") return "";
  const characters = [...title];
  return safeText(
    characters.length <= TITLE_UNITS_MAX ? title : `${characters.slice(0, TITLE_UNITS_MAX - 1).join("")}…`,
  );
}

function outcomeText(outcome: string, style: Style): string {
  const text = safeText(outcome);
  if (/^(fail|error|refused|denied|rejected)/i.test(outcome)) return style.red(text);
  return /^(success|ok|approved|granted|allowed)/i.test(outcome) ? style.green(text) : text;
}

/** `body, by entry 17`; `payload.email, by entry 17`: what was erased, and which entry says so. */
export function erasedText(erased: LedgerEntry["erased"]): string {
  if (erased === null) return "body missing, and nothing says that it was erased: run verify";
  if (erased.by !== null) return `body, by entry ${erased.by}`;
  return Object.entries(erased.fields)
    .map(([name, by]) => `${safeText(name)}, by entry ${by}`)
    .join("; ");
}
