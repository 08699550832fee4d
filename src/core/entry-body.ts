import { utf8Bytes } from "#hash-platform";
import type { AuthoredContent } from "./author-signature.ts";
import { CONTAINER_DEPTH_MAX, canonicalize, type JsonValue } from "./canonical-json.ts";
import { commitBody, commitFields, type Disclosure, digestsOf, disclosedEvent } from "./commitment.ts";
import { type ControlEvent, isControlAction, parseControlEvent } from "./control-event.ts";
import { decodeHex } from "./encoding.ts";
import { type Entry, parseCommitment } from "./entry.ts";
import { isTallystickError, MalformedError, type TallystickError, VerificationError } from "./errors.ts";
import { type Event, type JsonObject, validateEvent } from "./event.ts";
import type { HashName } from "./hash.ts";
import { EVENT_BYTES_MAX, SALT_BYTES } from "./limits.ts";
import type { FindingCode } from "./report.ts";

/** What a receipt or a line of an export shows of an event, held against its entry: spec/receipt.md B2-B4, spec/export.md L5-L7. */

/** What is shown; untrusted. */
export type ShownContent =
  | { readonly kind: "whole"; readonly event: JsonObject; readonly salt: string }
  | { readonly kind: "fields"; readonly disclosure: Disclosure };

/** One thing that is wrong, as a finding of a report and as the error of whoever stops at it. */
export interface BodyProblem {
  readonly code: FindingCode;
  readonly error: TallystickError;
  readonly expected?: string;
  readonly found?: string;
}

export interface ExaminedBody {
  readonly problems: readonly BodyProblem[];
  /** What is shown of the event, grammatical or not. */
  readonly members: JsonObject;
  /** `members`, if what is shown follows the grammar. */
  readonly event: Partial<Event> | null;
  /** Names of the fields that are not shown. */
  readonly withheld: readonly string[];
  readonly action: string | null;
  /** The control event that scheme, action and payload make, whatever else is wrong. */
  readonly control: ControlEvent | null;
  readonly hash: HashName;
  /** What an author signed. */
  readonly content: () => AuthoredContent;
}

/** Every check of an event that needs no more than its entry. Throws nothing about the content. */
export function examineBody(entry: Entry, content: ShownContent): ExaminedBody {
  const { hash } = parseCommitment(entry.commitment);
  const problems: BodyProblem[] = [];
  const opened = content.kind === "whole" ? openWhole(entry, content, hash) : openFields(content.disclosure, hash);
  const found = `${hash}:${opened.commitment}`;
  if (found !== entry.commitment) {
    const error = new VerificationError("commitment-mismatch", "what is shown is not what the entry commits to", {
      details: { expected: entry.commitment, found },
    });
    problems.push({ code: "commitment-mismatch", error, expected: entry.commitment, found });
  }
  if (opened.error !== null) problems.push({ code: "body-malformed", error: opened.error });
  const { members, withheld } = opened;
  const action = typeof members.action === "string" ? members.action : null;
  const isActionShown = !withheld.includes("action");
  let control: ControlEvent | null = null;
  if (isActionShown && (action !== null && isControlAction(action)) !== (entry.scheme === "control")) {
    const message = `${JSON.stringify(action)} cannot stand under scheme ${entry.scheme}`;
    problems.push({ code: "control-scheme", error: new MalformedError("malformed-control", message) });
  } else if (entry.scheme === "control") {
    const error = controlError(members);
    if (error !== null)
      problems.push({ code: action === "ledger.genesis" ? "genesis-malformed" : "control-malformed", error });
    else control = members as unknown as ControlEvent;
  }
  const event = opened.error === null ? (members as unknown as Partial<Event>) : null;
  return { problems, members, event, withheld, action, control, hash, content: opened.content };
}

interface Opened {
  readonly commitment: string;
  readonly members: JsonObject;
  readonly withheld: readonly string[];
  readonly error: TallystickError | null;
  readonly content: () => AuthoredContent;
}

function openWhole(entry: Entry, { event, salt }: Extract<ShownContent, { kind: "whole" }>, hash: HashName): Opened {
  const { text, error: depthError } = textOf(event);
  const bytes = decodeHex(salt, { sizeBytes: SALT_BYTES, code: "malformed-commitment" });
  return {
    commitment: commitBody(hash, entry.scheme === "control" ? "control" : "event", bytes, text),
    members: event,
    withheld: [],
    error: depthError ?? sizeError(text) ?? errorOf(() => validateEvent(event)),
    content: () => ({ scheme: "event", event: event as unknown as Event }),
  };
}

function openFields(disclosure: Disclosure, hash: HashName): Opened {
  const { names, disclosed, digests } = disclosure;
  const all = digestsOf(hash, disclosure);
  const members = membersOf(disclosed);
  const { text, error: depthError } = textOf(members);
  return {
    commitment: commitFields(hash, names, all),
    members,
    withheld: Object.keys(digests),
    error: depthError ?? sizeError(text) ?? errorOf(() => disclosedEvent(disclosure)),
    content: () => ({ scheme: "fields", names, digests: all }),
  };
}

/** Canonical text of what may be nested too deeply for an event, and then the error. */
function textOf(event: JsonObject): { readonly text: string; readonly error: TallystickError | null } {
  try {
    return { text: canonicalize(event), error: null };
  } catch (error) {
    return { text: canonicalize(event, { depthMax: CONTAINER_DEPTH_MAX }), error: asTallystickError(error) };
  }
}

function sizeError(text: string): TallystickError | null {
  if (text.length * 3 <= EVENT_BYTES_MAX || utf8Bytes(text) <= EVENT_BYTES_MAX) return null;
  return new MalformedError("event-too-large", `expected at most ${EVENT_BYTES_MAX} bytes of event`);
}

/** The disclosed fields put together, whatever their values are. The names were checked. */
function membersOf(disclosed: Disclosure["disclosed"]): JsonObject {
  const members: Record<string, JsonValue> = {};
  const cut = new Map<string, Record<string, JsonValue>>();
  for (const name of Object.keys(disclosed)) {
    const value = disclosed[name]![1];
    const dot = name.indexOf(".");
    if (dot < 0) {
      members[name] = value;
      continue;
    }
    const holder = name.slice(0, dot);
    const inner = cut.get(holder) ?? {};
    cut.set(holder, inner);
    members[holder] = inner;
    inner[name.slice(dot + 1)] = value;
  }
  return members;
}

function controlError(members: JsonObject): TallystickError | null {
  // What is wrong with these two is wrong with the event, and said there.
  const { actor: _actor, signatures: _signatures, ...rest } = members;
  return errorOf(() => parseControlEvent(rest as unknown as Event));
}

function errorOf(check: () => unknown): TallystickError | null {
  try {
    check();
    return null;
  } catch (error) {
    return asTallystickError(error);
  }
}

function asTallystickError(error: unknown): TallystickError {
  if (!isTallystickError(error)) throw error;
  return error as TallystickError;
}
