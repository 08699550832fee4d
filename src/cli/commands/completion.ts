import { completionScript, isShell, SHELLS } from "../completion-scripts.ts";
import type { Context } from "../context.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import { UsageError } from "../failure.ts";
import { buildProgram } from "../program.ts";

/** Prints a completion script for a shell, made from the commands as they are. */
export async function run(context: Context, positionals: readonly string[]): Promise<ExitCode> {
  const [shell = ""] = positionals;
  if (!isShell(shell)) throw new UsageError(`expected a shell: ${SHELLS.join(", ")}`);
  const script = completionScript(
    shell,
    buildProgram(async () => {}),
  );
  await context.out.object("completion", { shell, script });
  if (!context.out.json) await context.out.document(script);
  return EXIT.ok;
}
