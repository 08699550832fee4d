import { bytesEqual } from "../../core/encoding.ts";
import { isTallystickError } from "../../core/errors.ts";
import { type AuthorRegistration, isInForce, type LogKey } from "../../core/ledger-state.ts";
import { logSignerFromPem, type Signer, type State } from "../../keys/index.ts";
import { type Context, ledgerAnd, stateOf, withLedger } from "../context.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import { safeText, shortVkey } from "../terminal-text.ts";

/** Lists the log keys and the author keys that the ledger registers, and which log keys this machine holds. */
export async function run(context: Context, positionals: readonly string[]): Promise<ExitCode> {
  const [location = ""] = ledgerAnd(positionals);
  const { out } = context;
  const { style } = out;
  return withLedger(context, location, { mode: "read" }, async ({ state: ledgerState, origin }) => {
    const held = heldKeys(stateOf(context), origin);
    const logKeys = ledgerState.logKeys.map((key) => logKeyFacts(key, held));
    const authors = [...ledgerState.authors.values()].map(authorFacts);
    await out.object("keys", { origin, logKeys, authors });
    await out.line(style.bold("log keys"));
    for (const { vkey, status, introduced, introducedAt, held: isHeld } of logKeys) {
      const facts = [status, `${introduced} at ${introducedAt}`, ...(isHeld ? ["held here"] : [])].join(", ");
      await out.line(`  ${status === "in force" ? style.green("●") : style.dim("○")} ${shortVkey(vkey)}`);
      await out.line(`    ${style.dim(facts)}`);
    }
    await out.line(style.bold("author keys"));
    if (authors.length === 0) await out.line(style.dim("  none"));
    for (const { actor, algorithm, keyId, fromIndex, untilIndex } of authors) {
      const until = untilIndex === null ? "" : `, revoked at ${untilIndex}`;
      await out.line(
        `  ${untilIndex === null ? style.green("●") : style.dim("○")} ${safeText(actor)}  ${style.dim(`${algorithm}, from ${fromIndex}${until}`)}`,
      );
      await out.line(`    ${keyId}`);
    }
    return EXIT.ok;
  });
}

function heldKeys(state: State, origin: string): Signer[] {
  const held: Signer[] = [];
  for (const name of state.listKeys(origin)) {
    try {
      const pem = state.readKey(origin, name);
      if (pem !== undefined) held.push(logSignerFromPem(pem));
    } catch (error) {
      // A key file that cannot be read is not held; whoever appends is told why.
      if (!isTallystickError(error)) throw error;
    }
  }
  return held;
}

function logKeyFacts(known: LogKey, held: readonly Signer[]) {
  const { key, introduced, introducedAt, retiredAt, maxSize } = known;
  return {
    vkey: key.vkey,
    status: isInForce(known)
      ? "in force"
      : maxSize !== null
        ? `revoked beyond size ${maxSize}`
        : `retired at ${retiredAt}`,
    introduced,
    introducedAt,
    retiredAt,
    validUntilSize: maxSize,
    held: held.some((signer) => bytesEqual(signer.publicKey, key.publicKey)),
  };
}

function authorFacts({ actor, algorithm, keyId, fromIndex, untilIndex }: AuthorRegistration) {
  return { actor, algorithm, keyId, fromIndex, untilIndex };
}
