import { type AuthoredContent, authorMessage } from "./author-signature.ts";
import { decodeBase64 } from "./encoding.ts";
import { isTallystickError } from "./errors.ts";
import { actorIdOf, type Event } from "./event.ts";
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

/** An event, or what is shown of it, of which the grammar holds. */
export interface ShownEvent {
  readonly index: number;
  readonly event: Partial<Event>;
  /** The event has this member, and it is not shown. */
  readonly isWithheld: (name: "action" | "actor" | "id" | "signatures") => boolean;
  readonly hash: HashName;
  readonly content: () => AuthoredContent;
}

export interface AuthorJudgement {
  /** Keys whose signatures count, each once. */
  readonly counted: readonly { readonly keyId: string; readonly pinned: boolean }[];
  readonly findings: readonly Finding[];
  /** Signatures of keys that nothing at hand names; only where `registered` is null. */
  readonly unknown: number;
  /** Whether somebody signed cannot be looked for: actor or signatures are withheld. */
  readonly isHidden: boolean;
  /** A signature is needed or may be, none counts, and no finding says so. */
  readonly isOpen: boolean;
}

/** Judges the signatures of one event. `required`: policy or rules ask for one at its index. Never throws for hostile bytes. */
export async function judgeAuthors(shown: ShownEvent, keys: AuthorKeys, required: boolean): Promise<AuthorJudgement> {
  const { index, event, isWithheld } = shown;
  const findings: Finding[] = [];
  const counted = new Map<string, boolean>();
  let unknown = 0;
  const isHidden = isWithheld("signatures") || (event.signatures !== undefined && isWithheld("actor"));
  const signatures = isHidden ? [] : (event.signatures ?? []);
  const actor = actorIdOf(event as Event);
  for (const { keyId, signature } of signatures) {
    const key = keyFor(keys, { keyId, actor, index });
    if (key === null) {
      if (keys.registered === null) unknown += 1;
      else findings.push(unregistered(index, keyId, actor));
    } else if (event.id === undefined && !isWithheld("id")) {
      const message = "carries an author signature and no id: it could be a replay, so the signature does not count";
      findings.push({ code: "author-signature", index, found: keyId, message });
    } else if (await verifies(key, signature, shown, keys.origin)) {
      counted.set(keyId, key.isPinned || counted.get(keyId) === true);
    } else {
      findings.push({
        code: "author-signature",
        index,
        found: keyId,
        message: `the author signature of key ${keyId} does not verify`,
      });
    }
  }
  let isOpen = false;
  if (required && counted.size === 0 && event.action?.startsWith("ledger.") !== true) {
    const isUnsigned = event.signatures === undefined && !isWithheld("signatures");
    if (isUnsigned && !isWithheld("action")) findings.push(unsigned(index));
    else isOpen = findings.length === 0;
  }
  return { counted: [...counted].map(([keyId, pinned]) => ({ keyId, pinned })), findings, unknown, isHidden, isOpen };
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

interface FoundKey {
  readonly algorithm: string;
  readonly keyId: string;
  readonly spki: Uint8Array;
  readonly isPinned: boolean;
}

function keyFor(keys: AuthorKeys, by: { keyId: string; actor: string | null; index: number }): FoundKey | null {
  const pinned = keys.pinned.find((author) => author.keyId === by.keyId && author.actor === by.actor);
  if (pinned !== undefined && pinned.fromIndex <= by.index && by.index <= (pinned.untilIndex ?? by.index)) {
    return { ...pinned, isPinned: true };
  }
  const known = keys.registered?.get(by.keyId);
  if (known === undefined || known.actor !== by.actor || !isRegisteredAt(known, by.index)) return null;
  return { ...known, isPinned: false };
}

function isRegisteredAt(author: AuthorRegistration, index: number): boolean {
  return author.fromIndex <= index && (author.untilIndex === null || index < author.untilIndex);
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

function unregistered(index: number, keyId: string, actor: string | null): Finding {
  const message = `signed with key ${keyId}, which is not registered for ${JSON.stringify(actor)} at this entry`;
  return { code: "author-unregistered", index, found: keyId, message };
}

function unsigned(index: number): Finding {
  const message = "the rules or the policy require an author signature, and this event has none";
  return { code: "signature-required", index, message };
}
