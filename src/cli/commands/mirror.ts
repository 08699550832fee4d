import { POLICY_BYTES_MAX } from "../../core/limits.ts";
import type { Mirrored } from "../../ledger/mirror.ts";
import { isWebLocation, mirror } from "../../published.ts";
import type { Context } from "../context.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import { UsageError } from "../failure.ts";
import { readInput } from "../files.ts";
import { count, counted, safeText } from "../terminal-text.ts";

interface MirrorCommandOptions {
  readonly into: string;
  readonly policy?: string;
  readonly bodies?: true;
}

/** Follows a published ledger into a folder: everything new is verified before it is written. */
export async function run(
  context: Context,
  positionals: readonly string[],
  options: MirrorCommandOptions,
): Promise<ExitCode> {
  const { out, signal } = context;
  const [source] = positionals;
  if (source === undefined) throw new UsageError("mirror what? Give the folder or URL of a published ledger");
  if (isWebLocation(options.into)) throw new UsageError(`expected --into to be a folder, got ${options.into}`);
  const policy = options.policy === undefined ? undefined : await readInput(options.policy, POLICY_BYTES_MAX);
  context.reading = true;
  const progress = out.progress("mirroring");
  let mirrored: Mirrored;
  try {
    mirrored = await mirror(source, options.into, {
      policy,
      bodies: options.bodies,
      signal,
      onProgress: (done, total) => progress.update(done, total),
      ...(context.options.state === undefined ? {} : { state: context.options.state }),
    });
  } finally {
    progress.end();
  }
  const { origin, size, before, objects, bodies } = mirrored;
  await out.object("mirrored", { origin, size, before, objects, bodies, into: options.into });
  const into = safeText(options.into);
  const name = safeText(origin);
  await out.line(
    size === before
      ? `${out.style.green("✓")} ${into} has size ${count(size)} of ${name}: nothing new${objects > 0 ? " but bodies" : ""}`
      : `${out.style.green("✓")} mirrored size ${count(size)} of ${name}${bodies ? ", with bodies," : ""} into ${into}  ${out.style.dim(`${counted(objects, "object")}, ${count(before)} before`)}`,
  );
  return EXIT.ok;
}
