import { type AuthoredContent, authorMessage } from "./author-signature.ts";
import { decodeBase64 } from "./encoding.ts";
import { isTallystickError } from "./errors.ts";
import { actorIdOf, type Event, type EventSignature, validateMember } from "./event.ts";
import type { HashName } from "./hash.ts";
import type { AuthorRegistration, LedgerState } from "./ledger-state.ts";
import type { PolicyAuthor } from "./policy.ts";
import type { Finding } from "./report.ts";
import { verifySignature } from "./signature/table.ts";

/** Which author signatures count, and where one is needed. Normative: spec/keys.md 17-22. */

/** Whose signatures can count. */
export interface AuthorKeys {
  readonly origin: string;
  /** `author` lines of the pinned policy: they come first. */
  readonly pinned: readonly PolicyAuthor[];
  /** What the ledger registered; null where the evidence does not begin with entry 0, so that nobody can say. */
  readonly registered: ReadonlyMap<string, AuthorRegistration> | null;
}

/** What is shown of an event. */
export interface ShownEvent {
  readonly index: number;
  /** Members of the event, grammatical or not. */
  readonly members: { readonly [name: string]: unknown };
  /** The event has this member, and it is not shown. */
  readonly isWithheld: (name: "action" | "actor" | "id" | "signatures") => boolean;
  readonly hash: HashName;
  readonly content: () => AuthoredContent;
}

export interface CountedAuthor {
  readonly keyId: string;
  readonly actor: string;
  /** Named by the policy, not by the ledger alone. */
  readonly isPinned: boolean;
}

export interface AuthorJudgement {
  /** Keys whose signatures count, each once. */
  readonly counted: readonly CountedAuthor[];
  readonly findings: readonly Finding[];
  /** Keys that nothing at hand names; only where `registered` is null. */
  readonly unknown: readonly string[];
  /** The event may be signed, but actor or signatures are withheld. */
  readonly isHidden: boolean;
  /** A signature is needed or may be, none counts, and no finding says so. */
  readonly isOpen: boolean;
}

/**
 * Judges the author signatures of one event. `keys` is null where no signature is looked at; `required`: policy or rules ask
 * for one at its index. Never throws for hostile content.
 */
export async function judgeAuthors(
  shown: ShownEvent,
  keys: AuthorKeys | null,
  required: boolean,
): Promise<AuthorJudgement> {
  const { index, members, isWithheld } = shown;
  const findings: Finding[] = [];
  const counted = new Map<string, CountedAuthor>();
  const unknown: string[] = [];
  const isSigned = members.signatures !== undefined || isWithheld("signatures");
  const isHidden = isSigned && (isWithheld("signatures") || isWithheld("actor"));
  if (keys !== null && isSigned && !isHidden) {
    const actor = isGrammatical("actor", members.actor) ? actorIdOf(members as unknown as Event) : undefined;
    for (const { keyId, signature } of actor === undefined ? [] : signaturesOf(members)) {
      const key = keyFor(keys, { keyId, actor, index });
      if (key === null) {
        if (keys.registered === null) unknown.push(keyId);
        else findings.push(unregistered(index, keyId, actor));
      } else if (members.id === undefined && !isWithheld("id")) {
        findings.push(uncounted(index, keyId, "does not count: the event has no id, so it could be a replay"));
      } else if (await verifies(key, signature, shown, keys.origin)) {
        counted.set(keyId, { keyId, actor: key.actor, isPinned: key.isPinned });
      } else {
        findings.push(uncounted(index, keyId, "does not verify"));
      }
    }
  }
  let isOpen = false;
  const { action } = members;
  if (required && counted.size === 0 && !(typeof action === "string" && action.startsWith("ledger."))) {
    if (!isSigned && !isWithheld("action")) findings.push(unsigned(index));
    else isOpen = findings.length === 0;
  }
  return { counted: [...counted.values()], findings, unknown, isHidden, isOpen };
}

/** Whether the rules of the ledger ask for an author signature at `index`. */
export function rulesRequireSignature(rules: LedgerState["rules"], index: number): boolean {
  // By halves: a hostile ledger may change its rules at every entry.
  let [low, high] = [0, rules.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((rules[middle]?.fromIndex ?? 0) <= index) low = middle + 1;
    else high = middle;
  }
  return rules[low - 1]?.requireSignature ?? false;
}

/** Signatures of an event, none if they break the grammar. */
export function signaturesOf(members: ShownEvent["members"]): readonly EventSignature[] {
  return isGrammatical("signatures", members.signatures)
    ? ((members.signatures ?? []) as readonly EventSignature[])
    : [];
}

/** Absent, or in the grammar; what is not is reported with the event. */
function isGrammatical(member: "actor" | "signatures", value: unknown): boolean {
  if (value === undefined) return true;
  try {
    validateMember(member, value);
    return true;
  } catch (error) {
    if (!isTallystickError(error)) throw error;
    return false;
  }
}

interface FoundKey {
  readonly algorithm: string;
  readonly keyId: string;
  readonly spki: Uint8Array;
  readonly actor: string;
  readonly isPinned: boolean;
}

function keyFor(
  keys: AuthorKeys,
  by: { keyId: string; actor: string | null | undefined; index: number },
): FoundKey | null {
  const pinned = keys.pinned.find((author) => author.keyId === by.keyId && author.actor === by.actor);
  if (pinned !== undefined && pinned.fromIndex <= by.index && by.index <= (pinned.untilIndex ?? by.index)) {
    return { ...pinned, isPinned: true };
  }
  const known = keys.registered?.get(by.keyId);
  if (known === undefined || known.actor !== by.actor || !isRegisteredAt(known, by.index)) return null;
  return { ...known, isPinned: false };
}

function isRegisteredAt(author: AuthorRegistration, index: number): boolean {
  // A revocation counts from the index after its own.
  return author.fromIndex <= index && (author.untilIndex === null || index <= author.untilIndex);
}

async function verifies(key: FoundKey, signature: string, shown: ShownEvent, origin: string): Promise<boolean> {
  const { algorithm, keyId, spki } = key;
  try {
    const message = authorMessage({ origin, algorithm, keyId, hash: shown.hash, ...shown.content() });
    return await verifySignature(algorithm, spki, message, decodeBase64(signature, "malformed-signature"));
  } catch (error) {
    if (!isTallystickError(error)) throw error;
    return false;
  }
}

function uncounted(index: number, keyId: string, why: string): Finding {
  return { code: "author-signature", index, found: keyId, message: `the author signature of key ${keyId} ${why}` };
}

function unregistered(index: number, keyId: string, actor: string | null | undefined): Finding {
  const message = `signed with key ${keyId}, which is not registered for ${JSON.stringify(actor)} at this entry`;
  return { code: "author-unregistered", index, found: keyId, message };
}

function unsigned(index: number): Finding {
  const message = "policy or rules require an author signature, and this event has none";
  return { code: "signature-required", index, message };
}
