import { statSync } from "node:fs";
import { assertOrigin } from "../../core/checkpoint.ts";
import { ConflictError, isTallystickError } from "../../core/errors.ts";
import type { HashName } from "../../core/hash.ts";
import type { LedgerEngine } from "../../ledger/ledger.ts";
import { pathOf } from "../../open.ts";
import { type Context, ledgerAnd, stateOf, withLedger } from "../context.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import type { KeyOptions } from "../key-files.ts";
import { safeText } from "../terminal-text.ts";

interface InitOptions extends KeyOptions {
  readonly origin?: string;
  readonly commitmentHash?: HashName;
  readonly scheme?: "event" | "fields";
  readonly requireSignature?: boolean;
  readonly generateKey?: boolean;
}

/** Makes a ledger with its key and policy. `already-exists` where there is one. */
export async function run(context: Context, positionals: readonly string[], options: InitOptions): Promise<ExitCode> {
  const { out } = context;
  const [location = ""] = ledgerAnd(positionals);
  const path = pathOf(location);
  if (options.origin !== undefined) assertOrigin(options.origin);
  if ((statSync(path, { throwIfNoEntry: false })?.size ?? 0) > 0)
    await withLedger(context, location, { mode: "read" }, async (ledger) => {
      throw alreadyThere(path, ledger);
    }).catch((error: unknown) => {
      // A file without a ledger is what an attempt leaves that failed or was killed: this one completes it.
      if (!isTallystickError(error) || error.code !== "not-found") throw error;
    });
  const open = {
    ...(options.origin === undefined ? {} : { origin: options.origin }),
    ...(options.commitmentHash === undefined ? {} : { commitmentHash: options.commitmentHash }),
    ...(options.scheme === undefined ? {} : { scheme: options.scheme }),
    ...(options.requireSignature === true ? { rules: { requireSignature: true } } : {}),
    ...(options.generateKey === true ? { signer: "generate" as const } : {}),
  };
  // Whether this process made it is what the notice says; a ledger that stood there gives none.
  let isNew = false;
  const making: Context = {
    ...context,
    out: {
      ...out,
      note: () => {
        isNew = true;
      },
    },
  };
  return withLedger(
    making,
    location,
    { mode: "append", key: options.key, passphraseEnv: options.passphraseEnv, open },
    async (ledger) => {
      if (!isNew) throw alreadyThere(path, ledger);
      const state = stateOf(context);
      const { scheme, genesis } = ledger.state;
      const holdsKey = state.listKeys(ledger.origin).length > 0;
      const facts = {
        path,
        origin: ledger.origin,
        genesis: ledger.genesis,
        scheme,
        commitmentHash: genesis.commitmentHash,
      };
      await out.object("init", { ...facts, stateDirectory: state.dir, keyStored: holdsKey, policy: ledger.policy() });
      const { style } = out;
      await out.line(`${style.green("✓")} created ${style.bold(safeText(path))}`);
      await out.line(`  origin  ${ledger.origin}`);
      await out.line(`  scheme  ${scheme}, ${genesis.commitmentHash}`);
      await out.line(`  ${holdsKey ? "key and policy in" : "policy in"} ${safeText(state.dir)}`);
      if (holdsKey)
        out.note("Back up the key (`tallystick state export FILE --keys`): without it nothing more can be appended.");
      else out.note("Give the same --key, or set TALLYSTICK_KEY, whenever you append: the key is not copied.");
      return EXIT.ok;
    },
  );
}

function alreadyThere(path: string, { origin, size }: LedgerEngine): ConflictError {
  return new ConflictError("already-exists", `there is a ledger at ${path} already: ${origin}, size ${size}`, {
    details: { path, origin, size },
  });
}
