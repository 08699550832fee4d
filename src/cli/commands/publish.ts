import type { Level } from "../../ledger/ledger.ts";
import { isWebLocation } from "../../published.ts";
import { filesystemArchive } from "../../storage/archive/filesystem.ts";
import { type Context, ledgerAnd, withLedger } from "../context.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import { UsageError } from "../failure.ts";
import type { KeyOptions } from "../key-files.ts";
import { count, counted, safeText } from "../terminal-text.ts";

interface PublishOptions extends KeyOptions {
  readonly to: string;
  readonly until?: Level;
  readonly bodies?: true;
}

/** Publishes what is new as C2SP tlog-tiles in a folder, up to a checkpoint over every entry. */
export async function run(
  context: Context,
  positionals: readonly string[],
  options: PublishOptions,
): Promise<ExitCode> {
  const [location = ""] = ledgerAnd(positionals);
  const { out } = context;
  if (isWebLocation(options.to)) throw new UsageError(`expected --to to be a folder, got ${options.to}`);
  const published = filesystemArchive(options.to);
  // What is published is held against the ledger before anything is signed.
  const use = { mode: "sign", ...options, open: { published } } as const;
  return withLedger(context, location, use, async (ledger) => {
    const { size, before, objects, bodies } = await ledger.publish(published, {
      until: options.until ?? "checkpointed",
      bodies: options.bodies,
    });
    await out.object("published", { origin: ledger.origin, size, before, objects, bodies, to: published.location });
    const to = safeText(options.to);
    await out.line(
      size === before
        ? `${out.style.green("✓")} size ${count(size)} is published in ${to} already${objects > 0 ? ", with bodies" : ""}`
        : `${out.style.green("✓")} published size ${count(size)}${bodies ? ", with bodies," : ""} in ${to}  ${out.style.dim(`${counted(objects, "object")}, ${count(before)} before`)}`,
    );
    if (before === 0) out.note(`Anyone can check it: tallystick verify ${to} --policy POLICY-FILE`);
    return EXIT.ok;
  });
}
