import { isTallystickError, type TallystickError, UnavailableError, VerificationError } from "../../core/errors.ts";
import { isInForce } from "../../core/ledger-state.ts";
import { formatNote, parseNote, parseVerifierKey, type VerifierKey, verifyNote } from "../../core/note.ts";
import { parsePolicy } from "../../core/policy.ts";
import { headOf } from "../../ledger/ledger.ts";
import type { Witness } from "../../ledger/witness.ts";
import { httpWitness } from "../../witness/client.ts";
import { type Context, ledgerAnd, stateOf, withLedger } from "../context.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import { UsageError } from "../failure.ts";
import { safeText, shortVkey } from "../terminal-text.ts";
import { addWitness, quorumOf, quorumText } from "../witness-policy.ts";

interface WitnessAddOptions {
  readonly url: string;
  readonly key: string;
  readonly name?: string;
  readonly operator?: string;
  readonly quorum?: number;
}

/** Takes a witness into the policy that this machine keeps for the ledger, and asks it once. */
export async function run(
  context: Context,
  positionals: readonly string[],
  options: WitnessAddOptions,
): Promise<ExitCode> {
  const [location = ""] = ledgerAnd(positionals);
  const { out } = context;
  const key = witnessKey(options.key);
  const { url, name = key.name, operator, quorum } = options;
  if (!/^https?:$/.test(URL.canParse(url) ? new URL(url).protocol : ""))
    throw new UsageError(`expected --url to be an http or https URL, got ${url}`);
  const { origin, logKeys, note } = await factsOf(context, location);
  const state = stateOf(context);
  const kept = state.readPolicy(origin);
  if (kept === undefined) {
    throw new UnavailableError(
      "not-found",
      `this machine keeps no policy for ${origin}: run it where the ledger is written`,
      { details: { origin, dir: state.dir } },
    );
  }
  // Made before the witness is asked: what the policy refuses must not have been shown to anybody.
  const text = addWitness(parsePolicy(kept), { name, key, url, operator, quorum });
  const witness = httpWitness({ name, vkey: key.vkey, url });
  const answer = await ask(witness, key, { origin, note });
  state.writePolicy(origin, text);

  const policy = parsePolicy(text);
  const required = quorumOf(policy);
  await out.object("witness-added", {
    ...{ origin, name, key: key.vkey, url, answer, quorum: required, policy: text },
    log: { [origin]: logKeys },
  });
  const { style } = out;
  await out.line(`${style.green("✓")} ${safeText(name)} is in the policy of ${origin}`);
  await out.line(`  key     ${shortVkey(key.vkey)}`);
  await out.line(`  url     ${safeText(url)}`);
  await out.line(`  answer  ${safeText(answer.says)}`);
  if (required !== null) await out.line(`  quorum  ${safeText(quorumText(policy, required))}`);
  if (answer.kind === "unknown-log")
    out.note(`What its operator has to add to "logs": ${JSON.stringify(origin)}: ${JSON.stringify(logKeys)}`);
  if (!answer.isReady)
    out.warn(
      "until it cosigns, it counts for nothing: what has to be witnessed waits for the others; with no witness that answers, nothing is signed",
    );
  out.note(
    "The ledger asks it from the next open on. Readers go by the policy that they pinned: hand them the new one (`tallystick policy LEDGER --out FILE`).",
  );
  return EXIT.ok;
}

function witnessKey(vkey: string): VerifierKey {
  const key = parseVerifierKey(vkey);
  if (key.type !== 1) return key;
  throw new UsageError(
    "expected --key to be the key of a witness (type 4 or 6), got that of a log (type 1): `witness serve` prints it at start",
  );
}

interface LedgerFacts {
  readonly origin: string;
  /** vkeys that a witness has to know. */
  readonly logKeys: readonly string[];
  /** A released checkpoint, or null where none can be signed here. */
  readonly note: string | null;
}

function factsOf(context: Context, location: string): Promise<LedgerFacts> {
  return withLedger(context, location, { mode: "sign" }, async (ledger) => {
    const logKeys = ledger.state.logKeys.filter(isInForce).map((known) => known.key.vkey);
    try {
      return { origin: ledger.origin, logKeys, note: await ledger.checkpoint() };
    } catch (error) {
      if (!isTallystickError(error)) throw error;
      context.out.warn(`the witness can only be asked what it saw: ${(error as TallystickError).message}`);
      return { origin: ledger.origin, logKeys, note: null };
    }
  });
}

interface Answer {
  readonly kind: "cosigned" | "seen" | "never-seen" | "unknown-log" | "refused" | "unavailable";
  /** For people; parts of it may be the witness's own words. */
  readonly says: string;
  readonly size: number | null;
  readonly isReady: boolean;
}

/** Asks the witness to cosign what is released anyway; without that, what it shows. */
async function ask(
  witness: Witness,
  key: VerifierKey,
  { origin, note }: Pick<LedgerFacts, "origin" | "note">,
): Promise<Answer> {
  if (note === null) return askWhatItSaw(witness, origin);
  const { size } = headOf(note);
  const first = await witness.addCheckpoint({ oldSize: 0, proof: [], note });
  // It has seen this very one: then it says so again, under its key.
  const isKnown = first.kind === "conflict" && first.size === size;
  const answer = isKnown ? await witness.addCheckpoint({ oldSize: size, proof: [], note }) : first;
  switch (answer.kind) {
    case "cosigned":
      await requireSignedBy(key, note, answer.lines);
      return { kind: "cosigned", says: `cosigned size ${size}`, size, isReady: true };
    case "conflict":
      return { kind: "seen", says: `saw size ${answer.size} before`, size: answer.size, isReady: true };
    case "refused": {
      const kind = answer.status === 404 ? "unknown-log" : "refused";
      const says =
        kind === "unknown-log" ? "does not know this ledger yet" : `refused (${answer.status}): ${answer.reason}`;
      return { kind, says, size: null, isReady: false };
    }
    case "unavailable":
      return { kind: "unavailable", says: `none: ${answer.reason}`, size: null, isReady: false };
  }
}

async function askWhatItSaw(witness: Witness, origin: string): Promise<Answer> {
  const shown = await witness.latest(origin);
  if (shown === undefined) return { kind: "unavailable", says: "none", size: null, isReady: false };
  if (shown === null) return { kind: "never-seen", says: "never saw this ledger", size: null, isReady: false };
  try {
    const { size } = headOf(shown);
    return { kind: "seen", says: `shows size ${size}`, size, isReady: true };
  } catch (error) {
    if (!isTallystickError(error)) throw error;
    return { kind: "refused", says: "shows what is no checkpoint", size: null, isReady: false };
  }
}

/** A key that is not the witness's would make a policy whose quorum is never reached. */
async function requireSignedBy(key: VerifierKey, note: string, lines: readonly string[]): Promise<void> {
  try {
    await verifyNote(parseNote(formatNote(parseNote(note).text, lines)), [key]);
  } catch (cause) {
    if (!isTallystickError(cause)) throw cause;
    throw new VerificationError(
      "signature-invalid",
      "the witness cosigned, but not with this key: nothing was changed; ask its operator for the key",
      { cause },
    );
  }
}
