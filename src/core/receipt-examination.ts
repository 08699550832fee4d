import { type CountedAuthor, judgeAuthors } from "./author-judge.ts";
import { decodeHex } from "./encoding.ts";
import { type Entry, parseTime, ZERO_HASH_HEX } from "./entry.ts";
import { type BodyProblem, type ExaminedBody, examineBody } from "./entry-body.ts";
import { isTallystickError, MalformedError, PolicyError, type TallystickError, VerificationError } from "./errors.ts";
import type { Event } from "./event.ts";
import { genesisLogKeys } from "./ledger-state.ts";
import { TIME_SKEW_SECONDS_MAX } from "./limits.ts";
import { type Policy, type VerifiedCheckpoint, verifyCheckpoint } from "./policy.ts";
import { verifyInclusion } from "./proof.ts";
import type { Receipt } from "./receipt.ts";
import type { Finding, FindingCode } from "./report.ts";

/** What a receipt proves and what is wrong with it: every check of spec/receipt.md, each on its own. */

/** Everything that a receipt establishes. */
export interface ReceiptExamination {
  /** Empty for a receipt that verifies; in the order of spec/receipt.md. */
  readonly problems: readonly BodyProblem[];
  /** What is shown of the event; null where it breaks the grammar. */
  readonly event: Partial<Event> | null;
  /** Names of the fields that are not shown; empty for a whole event. */
  readonly withheld: readonly string[];
  /** The checkpoint, if the policy accepts it; null without a policy. */
  readonly accepted: VerifiedCheckpoint | null;
  readonly authors: ReceiptAuthors;
}

/** What there is to say about author signatures; nothing without a policy. */
export interface ReceiptAuthors {
  /** Pinned author keys whose signature was verified. */
  readonly counted: readonly CountedAuthor[];
  /** Key ids of signatures that the policy does not know. */
  readonly unknown: readonly string[];
  /** They could not be looked for, because actor or signatures are withheld. */
  readonly isHidden: boolean;
  /** The policy asks for one, or may, and none was verified; that it fails is a problem. */
  readonly isOpen: boolean;
  /** Signatures of a control event, which are by keys of the ledger. */
  readonly isControl: boolean;
}

/** Does every check of spec/receipt.md B and, with a policy, C; throws nothing about the receipt. */
export async function examineReceipt(receipt: Receipt, policy: Policy | null): Promise<ReceiptExamination> {
  const problems: BodyProblem[] = [];
  const { entry, content } = receipt;
  const isPlaced = checkPlace(receipt, problems);
  const body = examineBody(entry, content);
  problems.push(...body.problems);
  checkControl(receipt, body, problems);
  if (isPlaced) checkInclusion(receipt, problems);
  checkGenesis(receipt, body, problems);
  const none: ReceiptAuthors = { counted: [], unknown: [], isHidden: false, isOpen: false, isControl: false };
  const trust =
    policy === null ? { accepted: null, authors: none } : await checkPolicy(receipt, { policy, body, problems });
  return { problems, event: body.event, withheld: body.withheld, ...trust };
}

/** Runs a check; what it throws is a problem of this code. False if it threw. */
function attempt(problems: BodyProblem[], code: FindingCode, check: () => void): boolean {
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
function checkPlace({ entry, proof, checkpoint }: Receipt, problems: BodyProblem[]): boolean {
  return attempt(problems, "proof-invalid", () => {
    if (entry.index === proof.index && entry.index < checkpoint.size) return;
    throw new VerificationError(
      "proof-invalid",
      `receipt: expected entry ${entry.index} at the index of the proof, ${proof.index}, and below the size of the checkpoint, ${checkpoint.size}`,
    );
  });
}

/** What one control event says about itself: spec/control-events.md 6 and 15. */
function checkControl({ entry }: Receipt, { control, hash }: ExaminedBody, problems: BodyProblem[]): void {
  if (control?.action === "ledger.anchor" && control.payload.size > entry.index) {
    const message = `receipt: entry ${entry.index} anchors a checkpoint larger than its own index`;
    problems.push({ code: "control-malformed", error: new MalformedError("malformed-control", message) });
  }
  if (control?.action !== "ledger.genesis" || control.payload.commitmentHash === hash) return;
  const message = `receipt: entry ${entry.index} commits with another hash than it fixes`;
  const error = new VerificationError("commitment-mismatch", message);
  problems.push({ code: "commitment-mismatch", error, expected: control.payload.commitmentHash, found: hash });
}

/** B5 */
function checkInclusion({ leafHash, proof, checkpoint }: Receipt, problems: BodyProblem[]): void {
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
function checkGenesis(receipt: Receipt, body: ExaminedBody, problems: BodyProblem[]): void {
  const problem = genesisProblem(receipt, body);
  if (problem === null || problems.some(({ code }) => code === "genesis-malformed")) return;
  const error = new MalformedError("malformed-control", `receipt: entry ${receipt.entry.index} ${problem}`);
  problems.push({ code: "genesis-malformed", error });
}

function genesisProblem({ entry, checkpoint }: Receipt, { action, control }: ExaminedBody): string | null {
  const isGenesis = entry.scheme === "control" && action === "ledger.genesis";
  if (entry.index !== 0) return isGenesis ? "is a second genesis" : null;
  if (!isGenesis) return "is not the genesis of a ledger";
  if (entry.previous !== ZERO_HASH_HEX) return "links to an entry before it";
  // A payload that is none was reported with the event.
  if (control?.action !== "ledger.genesis") return null;
  if (control.payload.origin !== checkpoint.origin) return "is the genesis of another ledger than the checkpoint names";
  return genesisLogKeys(control.payload).length === 0 ? "names no usable log key" : null;
}

interface PolicyContext {
  readonly policy: Policy;
  readonly body: ExaminedBody;
  readonly problems: BodyProblem[];
}

/** Stage C */
async function checkPolicy(
  receipt: Receipt,
  context: PolicyContext,
): Promise<Pick<ReceiptExamination, "accepted" | "authors">> {
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
  if (accepted?.witnessTime != null) checkTime(entry, accepted.witnessTime, problems);
  return { accepted, authors };
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

/** C3 and C4 */
async function checkAuthors(receipt: Receipt, { policy, body, problems }: PolicyContext): Promise<ReceiptAuthors> {
  const { entry, checkpoint } = receipt;
  const { members, withheld, hash, content } = body;
  const isControl = entry.scheme === "control";
  const isWithheld = (name: string): boolean => withheld.includes(name);
  // A receipt cannot show the keys of the ledger, which sign control events.
  const keys = isControl ? null : { origin: checkpoint.origin, pinned: policy.authors, registered: null };
  const shown = { index: entry.index, members, isWithheld, hash, content };
  const judged = await judgeAuthors(shown, keys, policy.requireSignature);
  for (const finding of judged.findings) problems.push(problemOf(finding));
  const { counted, unknown, isHidden, isOpen } = judged;
  return {
    counted,
    unknown,
    isHidden: isHidden && !isControl,
    isOpen,
    isControl: isControl && members.signatures !== undefined,
  };
}

function problemOf({ code, message, found }: Finding): BodyProblem {
  const text = `receipt: ${message}`;
  if (code === "signature-required") return { code, error: new PolicyError("signature-required", text) };
  return { code, error: new VerificationError("signature-invalid", text, { details: { keyId: found } }) };
}

/** C5 */
function checkTime(entry: Entry, witnessTime: number, problems: BodyProblem[]): void {
  if (parseTime(entry.time) <= (witnessTime + TIME_SKEW_SECONDS_MAX) * 1000) return;
  const expected = `at most ${TIME_SKEW_SECONDS_MAX} s after ${witnessTime}`;
  const error = new VerificationError(
    "verification-failed",
    `receipt: the entry says ${entry.time}, later than witnesses saw it: expected ${expected} s since 1970`,
  );
  problems.push({ code: "time-after-evidence", error, expected: `${witnessTime}`, found: entry.time });
}
