import { generateLogKey } from "../../keys/index.ts";
import { vkeyOf } from "../../ledger/genesis.ts";
import { type Context, ledgerAnd, stateOf, withLedger } from "../context.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import { keepKey } from "../kept-keys.ts";
import { updateKeptPolicy } from "../kept-policy.ts";
import { logKeyFromFile } from "../key-files.ts";
import { safeText, shortVkey } from "../terminal-text.ts";

interface RotateOptions {
  /** File of the new key. */
  readonly key?: string;
  readonly passphraseEnv?: string;
  /** File of the present key, where this machine does not keep it. */
  readonly oldKey?: string;
  readonly oldPassphraseEnv?: string;
}

/** Replaces the log key; the event is signed by both, so that a reader of the old key can follow. */
export async function run(context: Context, positionals: readonly string[], options: RotateOptions): Promise<ExitCode> {
  const [location = ""] = ledgerAnd(positionals);
  const { out } = context;
  const next = options.key === undefined ? generateLogKey() : logKeyFromFile(context, options.key, options);
  const how = { mode: "sign", key: options.oldKey, passphraseEnv: options.oldPassphraseEnv } as const;
  return withLedger(context, location, how, async (ledger) => {
    const state = stateOf(context);
    // Kept before the ledger names it: a crash in between leaves a key too many, never a ledger without its key.
    const keptAs = keepKey(state, ledger.origin, next);
    const appended = await ledger.keys.rotate(next);
    updateKeptPolicy(state, ledger);
    const vkey = vkeyOf(ledger.origin, next);
    await out.object("key-rotated", {
      vkey,
      keptAs,
      stateDirectory: state.dir,
      policy: state.readPolicy(ledger.origin),
      ...appended,
    });
    await out.line(
      `${out.style.green("✓")} rotated the log key, as entry ${appended.index} records, signed by both keys`,
    );
    await out.line(`  log key  ${shortVkey(vkey)}`);
    if (keptAs !== null) await out.line(`  kept as  ${keptAs} in ${safeText(state.dir)}`);
    out.note("Hand readers the new policy (`tallystick policy`); those who pinned the old key can derive the new one.");
    if ((process.env.TALLYSTICK_KEY ?? "") !== "" || options.oldKey !== undefined)
      out.warn("from now on the new key signs: give it wherever the old one was given (--key, TALLYSTICK_KEY)");
    return EXIT.ok;
  });
}
