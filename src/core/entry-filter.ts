import { utf8Bytes } from "#hash-platform";
import { CONTAINER_DEPTH_MAX, canonicalize, isJsonObject, type JsonObject, type JsonValue } from "./canonical-json.ts";
import { parseTime } from "./entry.ts";
import { isTallystickError, MalformedError } from "./errors.ts";
import { isAction } from "./event.ts";
import { FILTER_PATH_BYTES_MAX, FILTER_PATHS_MAX } from "./limits.ts";

/** A filter that a verifier asks of every entry, also of those that show only some fields. Normative: spec/export.md 9-13. */

/** Every member narrows. Times are ledger times. */
export interface EntryFilter {
  /** Inclusive. */
  readonly from?: string;
  /** Exclusive. */
  readonly to?: string;
  /** An action, or a prefix written `user.*`. */
  readonly action?: string;
  readonly type?: string;
  readonly outcome?: string;
  /** Actor id. */
  readonly actor?: string;
  /** Id of any target. */
  readonly target?: string;
  /** Value of any member of the context. */
  readonly correlation?: string;
  /** Path → value. */
  readonly where?: JsonObject;
}

/** `open`: what is shown does not decide it. */
export type Membership = "member" | "no member" | "open";

/** What is shown of an entry. */
export interface FilteredEntry {
  readonly time: string;
  /** What is shown of the event, grammatical or not; null: nothing, all is withheld or erased. */
  readonly members: JsonObject | null;
  /** Names of the fields that are not shown. */
  readonly withheld: readonly string[];
}

/** One condition of a filter. */
export interface Condition {
  /** What is shown makes it true. */
  readonly holds: (members: JsonObject) => boolean;
  /** Whether the field of this name is read to answer it. */
  readonly reads: (name: string) => boolean;
}

export interface ParsedFilter {
  readonly filter: EntryFilter;
  /** Whether `from` and `to` hold. */
  readonly covers: (time: string) => boolean;
  /** The others, in a fixed order. */
  readonly conditions: readonly Condition[];
}

const TEXTS = ["action", "actor", "correlation", "outcome", "target", "type"] as const;
const NAMES: readonly string[] = ["from", "to", "where", ...TEXTS];

/** The filter that untrusted JSON is. Error: `malformed-export`. */
export function parseEntryFilter(value: JsonValue | undefined): ParsedFilter {
  if (!isJsonObject(value)) malformed("expected an object");
  const names = Object.keys(value);
  if (names.length === 0) malformed("expected a condition");
  const stranger = names.find((name) => !NAMES.includes(name));
  if (stranger !== undefined) malformed(`expected no member ${JSON.stringify(stranger)}`);
  for (const name of TEXTS)
    if (value[name] !== undefined && typeof value[name] !== "string") malformed(`expected ${name} to be a string`);
  for (const name of ["from", "to"] as const)
    if (value[name] !== undefined && !isTime(value[name])) malformed(`expected ${name} to be a time`);
  const { where } = value;
  if (where !== undefined) checkWhere(where);
  // Checked member by member above.
  const filter = value as EntryFilter;
  if (filter.action !== undefined && !isAction(filter.action.replace(/\.\*$/, "")))
    malformed("expected action to be an action, or one followed by .*");
  const { from, to } = filter;
  return {
    filter,
    covers: (time) => (from === undefined || time >= from) && (to === undefined || time < to),
    conditions: conditionsOf(filter),
  };
}

function isTime(value: JsonValue): boolean {
  try {
    parseTime(String(value));
    return typeof value === "string";
  } catch (error) {
    if (!isTallystickError(error)) throw error;
    return false;
  }
}

function checkWhere(where: JsonValue): void {
  if (!isJsonObject(where)) malformed("expected where to be an object");
  const paths = Object.keys(where);
  if (paths.length === 0 || paths.length > FILTER_PATHS_MAX) malformed(`expected 1 to ${FILTER_PATHS_MAX} paths`);
  for (const path of paths) {
    if (path === "" || utf8Bytes(path) > FILTER_PATH_BYTES_MAX)
      malformed(`expected a path of 1 to ${FILTER_PATH_BYTES_MAX} bytes`);
    if (path.endsWith(".") || ["payload", "context", "metadata"].includes(path))
      malformed(`expected a path that leads to a field, got ${JSON.stringify(path)}`);
  }
}

/** Whether an entry is in the selection, as far as what is shown of it says. */
export function membershipOf(filter: ParsedFilter, { time, members, withheld }: FilteredEntry): Membership {
  if (!filter.covers(time)) return "no member";
  if (members === null) return filter.conditions.length === 0 ? "member" : "open";
  let isOpen = false;
  for (const { holds, reads } of filter.conditions) {
    if (holds(members)) continue;
    if (!withheld.some(reads)) return "no member";
    isOpen = true;
  }
  return isOpen ? "open" : "member";
}

function conditionsOf(filter: EntryFilter): Condition[] {
  const { action, type, outcome, actor, target, correlation, where = {} } = filter;
  const conditions: Condition[] = [];
  const field = (name: string, holds: (value: JsonValue | undefined) => boolean): void => {
    conditions.push({ holds: (members) => holds(members[name]), reads: (other) => other === name });
  };
  if (action !== undefined) field("action", actionIs(action));
  if (type !== undefined) field("type", (value) => value === type);
  if (outcome !== undefined) field("outcome", (value) => value === outcome);
  if (actor !== undefined) field("actor", (value) => value === actor || idOf(value) === actor);
  if (target !== undefined)
    field("targets", (value) => Array.isArray(value) && value.some((item) => idOf(item) === target));
  if (correlation !== undefined) {
    conditions.push({
      holds: ({ context }) => isJsonObject(context) && Object.values(context).includes(correlation),
      reads: (name) => name === "context" || name.startsWith("context."),
    });
  }
  for (const [path, value] of Object.entries(where)) {
    const leads = pathLeadsTo(path, value);
    conditions.push({ holds: leads, reads: (name) => path === name || path.startsWith(`${name}.`) });
  }
  return conditions;
}

function actionIs(action: string): (value: JsonValue | undefined) => boolean {
  if (!action.endsWith(".*")) return (value) => value === action;
  const prefix = action.slice(0, -1);
  return (value) => typeof value === "string" && value.startsWith(prefix);
}

function idOf(value: JsonValue | undefined): JsonValue | undefined {
  return isJsonObject(value) ? value.id : undefined;
}

/**
 * Whether a path such as `payload.order.id` or `targets.0.id` leads to a value of the same canonical form. Member names may hold
 * dots, so every way is tried; positions of arrays are decimals.
 */
export function pathLeadsTo(path: string, expected: JsonValue): (value: JsonValue) => boolean {
  const text = canonicalize(expected, { depthMax: CONTAINER_DEPTH_MAX });
  return (value) => leadsTo(value, path, text);
}

const POSITION = /^(?:0|[1-9][0-9]{0,8})$/;

function leadsTo(value: JsonValue, rest: string, expected: string): boolean {
  if (typeof value !== "object" || value === null) return false;
  // Each end of a name: every dot, and the end of the path.
  for (let end = rest.length; end >= 0; end = end === 0 ? -1 : rest.lastIndexOf(".", end - 1)) {
    const name = rest.slice(0, end);
    const next = memberOf(value, name);
    if (next === undefined) continue;
    if (
      end === rest.length
        ? canonicalize(next, { depthMax: CONTAINER_DEPTH_MAX }) === expected
        : leadsTo(next, rest.slice(end + 1), expected)
    )
      return true;
  }
  return false;
}

function memberOf(value: Extract<JsonValue, object>, name: string): JsonValue | undefined {
  if (Array.isArray(value)) return POSITION.test(name) ? value[Number(name)] : undefined;
  return Object.hasOwn(value, name) ? (value as JsonObject)[name] : undefined;
}

function malformed(message: string): never {
  throw new MalformedError("malformed-export", `export: filter: ${message}`);
}
