import { authorMessage } from "./author-signature.ts";
import { CONTAINER_DEPTH_MAX, canonicalize, isJsonObject } from "./canonical-json.ts";
import { writeCanonical } from "./canonical-writer.ts";
import { commitBody, commitFields, type Disclosure, digestsOf, disclosedEvent } from "./commitment.ts";
import { isControlAction, parseControlEvent } from "./control-event.ts";
import { decodeBase64, decodeHex } from "./encoding.ts";
import { type Entry, parseCommitment, parseTime, ZERO_HASH_HEX } from "./entry.ts";
import { isTallystickError, MalformedError, PolicyError, type TallystickError, VerificationError } from "./errors.ts";
import { actorIdOf, type Event, type JsonObject, validateEvent } from "./event.ts";
import type { HashName } from "./hash.ts";
import { EVENT_BYTES_MAX, SALT_BYTES, TIME_SKEW_SECONDS_MAX } from "./limits.ts";
import { type Policy, type PolicyAuthor, type VerifiedCheckpoint, verifyCheckpoint } from "./policy.ts";
import { verifyInclusion } from "./proof.ts";
import type { Receipt, ReceiptContent } from "./receipt.ts";
import type { FindingCode } from "./report.ts";
import { verifySignature } from "./signature/table.ts";

/** What a receipt proves and what is wrong with it: every check of spec/receipt.md, each on its own. */

/** One thing that is wrong with a receipt: as a finding of a report, and as the error that `verifyReceipt` throws. */
export interface ReceiptProblem {
  readonly code: FindingCode;
  readonly error: TallystickError;
  readonly expected?: string;
  readonly found?: string;
}

/** Everything that a receipt establishes. */
export interface ReceiptExamination {
  /** Empty for a receipt that verifies; in the order of spec/receipt.md. */
  readonly problems: readonly ReceiptProblem[];
  /** What is shown of the event; null where it breaks the grammar. */
  readonly event: Partial<Event> | null;
  /** Names of the fields that are not shown; empty for a whole event. */
  readonly withheld: readonly string[];
  /** The checkpoint, if the policy accepts it; null without a policy. */
  readonly accepted: VerifiedCheckpoint | null;
  /** Pinned author keys whose signature was verified. */
  readonly authors: readonly PolicyAuthor[];
  /** Key ids of author signatures that the policy does not know. */
  readonly unknownAuthors: readonly string[];
  /** Where the policy asks for an author signature: whether it is there, or `unknown` because fields are withheld. */
  readonly signatureRequired: "no" | "present" | "missing" | "unknown";
  /** Whether author signatures could not be looked for, because fields are withheld. */
  readonly authorsWithheld: boolean;
}

/** Does every check of spec/receipt.md B and, with a policy, C; throws nothing about the receipt. */
export async function examineReceipt(receipt: Receipt, policy: Policy | null): Promise<ReceiptExamination> {
  const problems: ReceiptProblem[] = [];
  const { hash } = parseCommitment(receipt.entry.commitment);
  const isPlaced = checkPlace(receipt, problems);
  checkCommitment(receipt, hash, problems);
  const event = checkEvent(receipt, problems);
  checkScheme(receipt, event, problems);
  if (isPlaced) checkInclusion(receipt, problems);
  checkGenesis(receipt, problems);
  const withheld = receipt.content.kind === "whole" ? [] : Object.keys(receipt.content.disclosure.digests);
  const none = {
    accepted: null,
    authors: [],
    unknownAuthors: [],
    signatureRequired: "no",
    authorsWithheld: false,
  } as const;
  const trust = policy === null ? none : await checkPolicy(receipt, { policy, hash, problems });
  return { problems, event, withheld, ...trust };
}

/** Runs a check; what it throws is a problem of this code. False if it threw. */
function attempt(problems: ReceiptProblem[], code: FindingCode, check: () => void): boolean {
  try {
    check();
    return true;
  } catch (error) {
    problems.push({ code, error: asTallystickError(error) });
    return false;
  }
}

function asTallystickError(error: unknown): TallystickError {
  if (!isTallystickError(error)) throw error;
  return error as TallystickError;
}

/** B1 */
function checkPlace({ entry, proof, checkpoint }: Receipt, problems: ReceiptProblem[]): boolean {
  return attempt(problems, "proof-invalid", () => {
    if (entry.index === proof.index && entry.index < checkpoint.size) return;
    throw new VerificationError(
      "proof-invalid",
      `receipt: expected entry ${entry.index} at the index of the proof, ${proof.index}, and below the size of the checkpoint, ${checkpoint.size}`,
    );
  });
}

/** B2 */
function checkCommitment({ entry, content }: Receipt, hash: HashName, problems: ReceiptProblem[]): void {
  const found = `${hash}:${commitmentOf(hash, entry, content)}`;
  if (found === entry.commitment) return;
  const error = new VerificationError(
    "commitment-mismatch",
    "receipt: what it shows is not what the entry commits to",
    {
      details: { expected: entry.commitment, found },
    },
  );
  problems.push({ code: "commitment-mismatch", error, expected: entry.commitment, found });
}

function commitmentOf(hash: HashName, { scheme }: Entry, content: ReceiptContent): string {
  if (content.kind === "fields") {
    return commitFields(hash, content.disclosure.names, digestsOf(hash, content.disclosure));
  }
  const salt = decodeHex(content.salt, { sizeBytes: SALT_BYTES, code: "malformed-receipt" });
  const body = canonicalize(content.event, { depthMax: CONTAINER_DEPTH_MAX });
  return commitBody(hash, scheme === "control" ? "control" : "event", salt, body);
}

/** B3 */
function checkEvent({ content }: Receipt, problems: ReceiptProblem[]): Partial<Event> | null {
  let event: Partial<Event> | null = null;
  attempt(problems, "body-malformed", () => {
    if (content.kind === "fields") {
      event = disclosedEvent(content.disclosure);
      return;
    }
    assertEventSize(content.event);
    validateEvent(content.event);
    event = content.event;
  });
  return event;
}

/** Throws `too-deep` or `event-too-large` for JSON that no event may be. */
function assertEventSize(event: JsonObject): void {
  writeCanonical(event, { sizeBytesMax: EVENT_BYTES_MAX });
}

/** The action, where one is shown, grammatical or not. */
function actionOf({ content }: Receipt): string | null {
  const action =
    content.kind === "whole"
      ? content.event.action
      : Object.hasOwn(content.disclosure.disclosed, "action")
        ? content.disclosure.disclosed.action![1]
        : null;
  return typeof action === "string" ? action : null;
}

/** B4 */
function checkScheme(receipt: Receipt, event: Partial<Event> | null, problems: ReceiptProblem[]): void {
  const action = actionOf(receipt);
  const { scheme } = receipt.entry;
  if (action === null) return;
  if (isControlAction(action) !== (scheme === "control")) {
    const message = `receipt: ${JSON.stringify(action)} cannot stand under scheme ${scheme}`;
    problems.push({ code: "control-scheme", error: new MalformedError("malformed-control", message) });
  } else if (scheme === "control" && event !== null) {
    attempt(problems, "control-malformed", () => parseControlEvent(event as Event));
  }
}

/** B5 */
function checkInclusion({ leafHash, proof, checkpoint }: Receipt, problems: ReceiptProblem[]): void {
  attempt(problems, "proof-invalid", () =>
    verifyInclusion({
      leafHash: decodeHex(leafHash, { code: "malformed-entry" }),
      index: proof.index,
      size: checkpoint.size,
      proof: proof.path,
      root: checkpoint.root,
    }),
  );
}

/** B6 */
function checkGenesis(receipt: Receipt, problems: ReceiptProblem[]): void {
  const { entry, content, checkpoint } = receipt;
  const isGenesis = actionOf(receipt) === "ledger.genesis";
  if (entry.index !== 0 && !isGenesis) return;
  const payload = content.kind === "whole" ? content.event.payload : undefined;
  const isProper =
    entry.index === 0 &&
    isGenesis &&
    entry.scheme === "control" &&
    entry.previous === ZERO_HASH_HEX &&
    isJsonObject(payload) &&
    payload.origin === checkpoint.origin;
  if (isProper) return;
  const message =
    entry.index === 0
      ? "receipt: entry 0 is not the genesis of the ledger that the checkpoint names"
      : `receipt: entry ${entry.index} is a second genesis`;
  problems.push({ code: "genesis-malformed", error: new MalformedError("malformed-control", message) });
}

type Trust = Pick<
  ReceiptExamination,
  "accepted" | "authors" | "unknownAuthors" | "signatureRequired" | "authorsWithheld"
>;

interface PolicyContext {
  readonly policy: Policy;
  readonly hash: HashName;
  readonly problems: ReceiptProblem[];
}

/** Stage C */
async function checkPolicy(receipt: Receipt, context: PolicyContext): Promise<Trust> {
  const { policy, problems } = context;
  const { entry, leafHash } = receipt;
  const accepted = await acceptCheckpoint(receipt, context);
  if (entry.index === 0 && policy.genesis !== null && policy.genesis !== leafHash) {
    const error = new VerificationError("ledger-replaced", "receipt: entry 0 is not the pinned genesis", {
      details: { expected: policy.genesis, found: leafHash },
    });
    problems.push({ code: "genesis-mismatch", error, expected: policy.genesis, found: leafHash });
  }
  const authors = await checkAuthors(receipt, context);
  const signatureRequired = policy.requireSignature ? requiredSignature(receipt) : "no";
  if (signatureRequired === "missing") {
    const error = new PolicyError(
      "signature-required",
      "receipt: the policy requires an author signature, and the event has none",
    );
    problems.push({ code: "signature-required", error });
  }
  if (accepted?.witnessTime != null) checkTime(entry, accepted.witnessTime, problems);
  return { accepted, signatureRequired, ...authors };
}

/** C1 */
async function acceptCheckpoint(
  { proof }: Receipt,
  { policy, problems }: PolicyContext,
): Promise<VerifiedCheckpoint | null> {
  try {
    return await verifyCheckpoint(proof.checkpoint, policy);
  } catch (cause) {
    const error = asTallystickError(cause);
    problems.push({ code: error.code === "origin-mismatch" ? "origin-mismatch" : "checkpoint-signature", error });
    return null;
  }
}

/** C4: whether the event has a member `signatures`, as far as the names tell. */
function requiredSignature(receipt: Receipt): "no" | "present" | "missing" | "unknown" {
  const { content, entry } = receipt;
  const action = actionOf(receipt);
  if (entry.scheme === "control" || action?.startsWith("ledger.") === true) return "no";
  const names = content.kind === "whole" ? Object.keys(content.event) : content.disclosure.names;
  if (names.includes("signatures")) return action === null ? "unknown" : "present";
  return action === null ? "unknown" : "missing";
}

/** C3 */
async function checkAuthors(
  receipt: Receipt,
  { policy, hash, problems }: PolicyContext,
): Promise<Pick<Trust, "authors" | "unknownAuthors" | "authorsWithheld">> {
  const { entry, content, checkpoint } = receipt;
  const authors: PolicyAuthor[] = [];
  const unknownAuthors: string[] = [];
  const withheld = content.kind === "whole" ? {} : content.disclosure.digests;
  const authorsWithheld = ["actor", "signatures"].some((name) => Object.hasOwn(withheld, name));
  const event = content.kind === "whole" ? content.event : eventOf(content.disclosure);
  if (entry.scheme === "control" || authorsWithheld || event === null || !Object.hasOwn(event, "signatures")) {
    return { authors, unknownAuthors, authorsWithheld: authorsWithheld && entry.scheme !== "control" };
  }
  const signed = signedEventOf(event);
  if (signed === null) return { authors, unknownAuthors, authorsWithheld };
  const hasId = content.kind === "whole" ? signed.id !== undefined : content.disclosure.names.includes("id");
  const authored =
    content.kind === "whole"
      ? ({ scheme: "event", event: signed } as const)
      : ({ scheme: "fields", names: content.disclosure.names, digests: digestsOf(hash, content.disclosure) } as const);
  for (const { keyId, signature } of signed.signatures ?? []) {
    const author = policy.authors.find(
      (known) =>
        known.keyId === keyId &&
        known.actor === actorIdOf(signed) &&
        known.fromIndex <= entry.index &&
        (known.untilIndex === null || entry.index <= known.untilIndex),
    );
    if (author === undefined) {
      unknownAuthors.push(keyId);
      continue;
    }
    const { algorithm, spki } = author;
    const message = authorMessage({ origin: checkpoint.origin, algorithm, keyId, hash, ...authored });
    const bytes = decodeBase64(signature, "malformed-signature");
    if (hasId && (await verifySignature(algorithm, spki, message, bytes))) {
      authors.push(author);
      continue;
    }
    const why = hasId ? "does not verify" : "does not count: the event has no id";
    const error = new VerificationError("signature-invalid", `receipt: the author signature of key ${keyId} ${why}`, {
      details: { keyId },
    });
    problems.push({ code: "author-signature", error });
  }
  return { authors, unknownAuthors, authorsWithheld };
}

function eventOf(disclosure: Disclosure): JsonObject | null {
  try {
    return disclosedEvent(disclosure) as JsonObject;
  } catch (error) {
    // Reported by B3.
    asTallystickError(error);
    return null;
  }
}

/** The event for its author signatures, if it is grammatical as far as it is shown; what is not was reported by B3. */
function signedEventOf(event: JsonObject): Event | null {
  try {
    validateEvent({ ...event, action: event.action ?? "withheld" });
  } catch (error) {
    asTallystickError(error);
    return null;
  }
  return event as unknown as Event;
}

/** C5 */
function checkTime(entry: Entry, witnessTime: number, problems: ReceiptProblem[]): void {
  if (parseTime(entry.time) <= (witnessTime + TIME_SKEW_SECONDS_MAX) * 1000) return;
  const expected = `at most ${TIME_SKEW_SECONDS_MAX} s after ${witnessTime}`;
  const error = new VerificationError(
    "verification-failed",
    `receipt: the entry says ${entry.time}, later than witnesses saw it: expected ${expected} s since 1970`,
  );
  problems.push({ code: "time-after-evidence", error, expected: `${witnessTime}`, found: entry.time });
}
