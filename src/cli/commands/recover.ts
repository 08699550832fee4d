import { CONTRADICTION_BYTES_MAX } from "../../core/contradiction.ts";
import { vkeyOf } from "../../ledger/genesis.ts";
import { recover } from "../../open.ts";
import { type Context, ledgerAnd, stateOf, withLedger } from "../context.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import { readInput } from "../files.ts";
import { keepKey } from "../kept-keys.ts";
import { updateKeptPolicy } from "../kept-policy.ts";
import { type KeyOptions, logKeyFromFile } from "../key-files.ts";
import { shortVkey } from "../terminal-text.ts";

interface RecoverCommandOptions extends KeyOptions {
  readonly key: string;
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
  const signer = logKeyFromFile(context, options.key, options);
  const state = stateOf(context);
  const origin = await withLedger(context, location, { mode: "read" }, async (ledger) => ledger.origin);
  const evidence =
    options.evidence === undefined ? {} : { evidence: await readInput(options.evidence, CONTRADICTION_BYTES_MAX) };
  // Kept first: a crash must not leave a ledger that only a forgotten file can sign.
  const keptAs = options.keepKey === false ? null : keepKey(state, origin, signer);
  const { index, lost } = await recover(location, { signer, reason: options.reason, state: state.dir, ...evidence });
  await withLedger(context, location, { mode: "read" }, async (ledger) => updateKeptPolicy(state, ledger));
  const vkey = vkeyOf(origin, signer);
  await out.object("recovered", { origin, index, lost, vkey, keptAs, policy: state.readPolicy(origin) ?? null });
  const { style } = out;
  await out.line(`${style.green("✓")} recovered, as entry ${index} records; lost: ${lost.join(", ")}`);
  await out.line(`  log key  ${shortVkey(vkey)}`);
  if (lost.includes("key"))
    out.note("Readers who pinned the old key must pin anew: hand them what `tallystick policy` prints.");
  return EXIT.ok;
}
