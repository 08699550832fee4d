import { parseCheckpoint } from "../../core/checkpoint.ts";
import { CONTRADICTION_BYTES_MAX, parseContradiction } from "../../core/contradiction.ts";
import { bytesEqual } from "../../core/encoding.ts";
import { isTallystickError, MalformedError } from "../../core/errors.ts";
import { isInForce } from "../../core/ledger-state.ts";
import { parseNote } from "../../core/note.ts";
import { heldSigners } from "../../keys/held-signers.ts";
import { keyFromEnv, type Signer, type State } from "../../keys/index.ts";
import { vkeyOf } from "../../ledger/genesis.ts";
import type { LedgerEngine } from "../../ledger/ledger.ts";
import { recover } from "../../open.ts";
import { type Context, ledgerAnd, recordedText, stateOf, withLedger } from "../context.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import { UsageError } from "../failure.ts";
import { readInput } from "../files.ts";
import { keepKey, keptName } from "../kept-keys.ts";
import { updateKeptPolicy } from "../kept-policy.ts";
import { type KeyOptions, logKeyFromFile } from "../key-files.ts";
import { shortVkey } from "../terminal-text.ts";

interface RecoverCommandOptions extends KeyOptions {
  readonly reason: string;
  readonly evidence?: string;
  /** False for `--no-keep-key`. */
  readonly keepKey?: boolean;
}

/** Takes up a ledger whose key or lock store is lost, or that was rolled back, by an entry that every later reader sees. */
export async function run(
  context: Context,
  positionals: readonly string[],
  options: RecoverCommandOptions,
): Promise<ExitCode> {
  const [location = ""] = ledgerAnd(positionals);
  const { out } = context;
  const reason = recordedText("--reason", options.reason);
  const evidence = options.evidence === undefined ? {} : { evidence: await readEvidence(options.evidence) };
  const given = options.key === undefined ? undefined : logKeyFromFile(context, options.key, options);
  const state = stateOf(context);
  const { origin, signer } = await withLedger(context, location, { mode: "read" }, async (ledger) => ({
    origin: ledger.origin,
    signer: signerFor(ledger, given, state),
  }));
  // Kept first: a crash must not leave a ledger that only a forgotten file can sign.
  // One of the environment stays there: nobody asked for a copy on this disk.
  const isToKeep = given !== undefined && options.keepKey !== false;
  const keptAs = isToKeep ? keepKey(state, origin, signer) : keptName(state, origin, signer);
  const { index, lost } = await recover(location, { signer, reason, state: state.dir, ...evidence });
  const missing = await withLedger(context, location, { mode: "read" }, async (ledger) => {
    updateKeptPolicy(state, ledger);
    return lost.includes("database") ? (ledger.state.recoveries.at(-1)?.checkpoint ?? null) : null;
  });
  const vkey = vkeyOf(origin, signer);
  await out.object("recovered", { origin, index, lost, vkey, keptAs, policy: state.readPolicy(origin) ?? null });
  const { style } = out;
  await out.line(`${style.green("✓")} recovered, as entry ${index} records; lost: ${lost.join(", ")}`);
  await out.line(`  log key  ${shortVkey(vkey)}`);
  if (missing !== null)
    out.note(
      `A checkpoint of size ${parseCheckpoint(parseNote(missing).text).size} signs entries that are not here: it is on record, and whoever holds it can show that they are gone.`,
    );
  if (lost.includes("key"))
    out.note("Readers who pinned the old key must pin anew: hand them what `tallystick policy` prints.");
  return EXIT.ok;
}

/** The key to recover with: never another one while the key in force is at hand, because that breaks what readers rely on for ever. */
function signerFor(ledger: LedgerEngine, given: Signer | undefined, state: State): Signer {
  const inForce = ledger.state.logKeys.filter(isInForce);
  const usable = (signer: Signer): boolean => inForce.some(({ key }) => bytesEqual(key.publicKey, signer.publicKey));
  if (given !== undefined && usable(given)) return given;
  const held = allHeld(ledger.origin, state, given === undefined).find(usable);
  if (held === undefined && given !== undefined) return given;
  if (held === undefined)
    throw new UsageError(
      `the log key in force of ${ledger.origin} is not held here: give it with --key FILE, or, if it is lost for good, a new one of \`tallystick keys new --out FILE\``,
    );
  if (given === undefined) return held;
  throw new UsageError(
    "the log key in force is not lost, it is held here: recover with it, by leaving --key out; `tallystick keys rotate` replaces it, signed by both, so that readers can follow",
  );
}

/** Keys of the state directory and of the environment; what the environment holds has to be a key only where it is asked for. */
function allHeld(origin: string, state: State, isAsked: boolean): readonly Signer[] {
  const kept = heldSigners(state, origin);
  try {
    const fromEnvironment = keyFromEnv();
    return fromEnvironment === undefined ? kept : [fromEnvironment.signer, ...kept];
  } catch (error) {
    if (isAsked || !isTallystickError(error)) throw error;
    return kept;
  }
}

/** Text of an evidence file. What is none is an unusable argument, and no finding against the ledger. */
async function readEvidence(file: string): Promise<string> {
  const text = await readInput(file, CONTRADICTION_BYTES_MAX);
  try {
    parseContradiction(text);
    return text;
  } catch (cause) {
    if (!isTallystickError(cause)) throw cause;
    throw new MalformedError(
      "malformed-config",
      `--evidence ${file}: expected the file that a refused open or a mirror wrote; ${cause.message}`,
      { cause },
    );
  }
}
