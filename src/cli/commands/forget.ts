import { pathOf } from "../../open.ts";
import { type Context, stateOf } from "../context.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import { UsageError } from "../failure.ts";
import { safeText } from "../terminal-text.ts";

/** Makes this machine forget which ledger stood at a path, so that another one may be made or accepted there. */
export async function run(context: Context, positionals: readonly string[]): Promise<ExitCode> {
  const [location] = positionals;
  // Nothing is forgotten by default: not the ledger that the environment names either.
  if (location === undefined) throw new UsageError("missing PATH");
  const { out } = context;
  const path = pathOf(location);
  const state = stateOf(context);
  const known = state.recallPath(path);
  const forgotten = state.forgetPath(path);
  await out.object("forgotten", { path, forgotten, origin: known?.origin ?? null, size: known?.size ?? null });
  if (known === undefined) await out.line(`nothing is remembered of ${safeText(path)}`);
  else
    await out.line(
      `${out.style.green("✓")} forgot ${safeText(known.origin)} of size ${known.size} at ${safeText(path)}; its key and policy are kept`,
    );
  return EXIT.ok;
}
