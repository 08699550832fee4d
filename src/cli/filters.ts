import { type JsonValue, parseJson } from "../core/canonical-json.ts";
import { isTallystickError } from "../core/errors.ts";
import type { QueryFilter } from "../ledger/query.ts";
import { UsageError } from "./failure.ts";

/** Options that narrow a listing or an export. */
export interface FilterOptions {
  readonly actor?: string;
  readonly action?: string;
  readonly type?: string;
  readonly target?: string;
  readonly outcome?: string;
  readonly from?: string;
  readonly to?: string;
  readonly correlation?: string;
  readonly text?: string;
  readonly where?: readonly string[];
  readonly first?: number;
  readonly last?: number;
  readonly desc?: boolean;
}

const NAMES = [
  ...(["actor", "action", "type", "target", "outcome", "from", "to"] as const),
  ...(["correlation", "text", "first", "last"] as const),
];

export function filterOf(options: FilterOptions): QueryFilter {
  const filter: Record<string, JsonValue> = {};
  for (const name of NAMES) {
    const value = options[name];
    if (value !== undefined) filter[name] = value;
  }
  if (options.where !== undefined && options.where.length > 0) filter.where = equations(options.where);
  if (options.desc === true) filter.order = "descending";
  // The members come from the table above, with the types that the options have.
  return filter as QueryFilter;
}

/** A value for each path. One path with two values would match nothing, and must not match by one of them alone. */
function equations(texts: readonly string[]): Record<string, JsonValue> {
  const pairs = texts.map(equation);
  const paths = pairs.map(([path]) => path);
  const twice = paths.find((path, i) => paths.indexOf(path) !== i);
  if (twice !== undefined) throw new UsageError(`expected --where to name each path once, got ${twice} twice`);
  return Object.fromEntries(pairs);
}

/** `payload.amount=12`, `payload.method=passkey`: the value is JSON, else the text as it is. */
function equation(text: string): [string, JsonValue] {
  const at = text.indexOf("=");
  if (at < 1) throw new UsageError(`expected --where PATH=JSON, got ${text}`);
  const value = text.slice(at + 1);
  try {
    return [text.slice(0, at), parseJson(value)];
  } catch (error) {
    if (!isTallystickError(error)) throw error;
    return [text.slice(0, at), value];
  }
}
