#!/usr/bin/env node
import type { Command, CommanderError } from "commander";
import type { Context } from "./context.ts";
import { EXIT, type ExitCode } from "./exit-codes.ts";
import { type Failure, failureOf, UsageError } from "./failure.ts";
import { createOutput, type Output } from "./output.ts";
import type { Load, Parsed } from "./program.ts";

/** What an interrupted command may take to end what it has begun. */
const GRACE_MS = 5_000;

async function main(argv: readonly string[]): Promise<ExitCode> {
  const { buildProgram } = await import("./program.ts");
  let exit: ExitCode = EXIT.ok;
  const program = buildProgram(async (load, parsed) => {
    exit = await execute(load, parsed);
  });
  const isJson = argv.includes("--json");
  prepare(program, isJson);
  try {
    await program.parseAsync(argv, { from: "user" });
    return exit;
  } catch (error) {
    return await endParsing(error, program, argv);
  }
}

/** No command ends the process by itself, and errors of usage are told like all others. */
function prepare(command: Command, isJson: boolean): void {
  command.exitOverride();
  command.configureOutput({ outputError: () => {} });
  if (isJson) command.configureOutput({ writeErr: () => {} });
  for (const child of command.commands) prepare(child, isJson);
}

async function endParsing(error: unknown, program: Command, argv: readonly string[]): Promise<ExitCode> {
  const out = createOutput({ json: argv.includes("--json"), quiet: false });
  if (!isCommanderError(error)) return await tell(out, failureOf(error));
  // Asked for: the version, or help. Help in place of a missing command has exit code 1 and is no result.
  if (error.exitCode === 0) return EXIT.ok;
  const name = commandNamed(program, argv);
  if (error.code === "commander.help") {
    if (out.json) await tell(out, usageFailure(name, "missing COMMAND"));
    return EXIT.usage;
  }
  return await tell(out, usageFailure(name, error.message.replace(/^error: /, "").replaceAll("\n", " ")));
}

function usageFailure(name: string, message: string): Failure {
  return { ...failureOf(new UsageError(message)), hint: helpHint(name) };
}

function helpHint(name: string): string {
  return `\`tallystick ${name === "" ? "" : `${name} `}--help\` shows what it takes`;
}

/** Words of the command that the arguments name, as far as there is one. */
function commandNamed(program: Command, argv: readonly string[]): string {
  const names: string[] = [];
  let command = program;
  for (const word of argv) {
    const child = command.commands.find((each) => each.name() === word);
    if (child === undefined) continue;
    names.push(word);
    command = child;
  }
  return names.join(" ");
}

function isCommanderError(error: unknown): error is CommanderError {
  return error instanceof Error && "code" in error && String(error.code).startsWith("commander.");
}

async function tell(out: Output, { error, exit, hint }: Failure): Promise<ExitCode> {
  await out.object("error", { error });
  if (!out.json) {
    if (exit === EXIT.interrupted) out.note("interrupted");
    else out.error(error.code === "internal" ? error.message : `${error.message} [${error.code}]`, hint);
  }
  await out.flush();
  return exit;
}

async function execute(load: Load, { name, positionals, options }: Parsed): Promise<ExitCode> {
  const out = createOutput({ json: options.json ?? false, quiet: options.quiet ?? false });
  tellWarnings(out);
  const interrupt = new AbortController();
  const context: Context = { out, options, signal: interrupt.signal, opened: new Set(), reading: false };
  const stop = (): void => {
    if (interrupt.signal.aborted) process.exit(EXIT.interrupted);
    interrupt.abort();
    // Whatever cannot be ended in time is safe all the same: what was acknowledged is durable.
    setTimeout(() => void closeAll(context), GRACE_MS).unref();
  };
  process.on("SIGINT", stop);
  process.on("SIGTERM", stop);
  try {
    const command = await load();
    // The options are those that program.ts declares for this very command.
    const exit = await command.run(context, positionals, options as never);
    await out.flush();
    return out.failed ? EXIT.environment : exit;
  } catch (error) {
    if (process.env.TALLYSTICK_DEBUG === "1") console.error(error);
    return await tell(
      out,
      interrupt.signal.aborted ? failureOf(interrupt.signal.reason) : failureIn(context, name, error),
    );
  } finally {
    process.off("SIGINT", stop);
    process.off("SIGTERM", stop);
    // A stream that was not read to its end would keep the process alive.
    process.stdin.destroy();
  }
}

async function closeAll({ opened }: Context): Promise<void> {
  await Promise.allSettled([...opened].map((ledger) => ledger.close()));
  process.exit(EXIT.interrupted);
}

/** Stored bytes that do not parse are evidence; the same error about something typed in is a matter of usage. */
function failureIn(context: Context, name: string, error: unknown): Failure {
  const failure = failureOf(error);
  if (failure.error.code === "usage") return { ...failure, hint: helpHint(name) };
  const isStored = context.reading && failure.error.name === "MalformedError" && failure.exit === EXIT.usage;
  if (!isStored || failure.error.code === "malformed-cursor") return failure;
  return {
    ...failure,
    exit: EXIT.tampered,
    hint: "the ledger holds bytes that cannot be read: run `tallystick verify`",
  };
}

function tellWarnings(out: Output): void {
  process.removeAllListeners("warning");
  process.on("warning", (warning) => out.warn(warning.message));
}

main(process.argv.slice(2)).then(
  (exit) => {
    process.exitCode = exit;
  },
  (error: unknown) => {
    process.stderr.write(`error: ${failureOf(error).error.message}\n`);
    process.exitCode = EXIT.environment;
  },
);
