import { statSync } from "node:fs";
import { isTallystickError } from "../../core/errors.ts";
import type { Event } from "../../core/event.ts";
import { gitHistory, inspectGitRepository, sampleEvents } from "../../importers/index.ts";
import type { LedgerEngine } from "../../ledger/ledger.ts";
import { type Context, withLedger } from "../context.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import { UsageError } from "../failure.ts";
import type { KeyOptions } from "../key-files.ts";
import { count, counted, safeText } from "../terminal-text.ts";

interface ImportGitOptions extends KeyOptions {
  readonly into?: string;
}

/** What there is to import, and how many events it may be. */
interface Source {
  readonly events: AsyncIterable<Event> | Iterable<Event>;
  readonly total: number;
  /** `git`, or `samples` where there is no history. */
  readonly kind: "git" | "samples";
  readonly name: string;
  /** Why there is no git history to import; null where there is one. */
  readonly instead: string | null;
}

/** Appends one event for each commit of a repository; those that are in the ledger already are passed over. */
export async function run(
  context: Context,
  positionals: readonly string[],
  options: ImportGitOptions,
): Promise<ExitCode> {
  const directory = positionals[0] ?? ".";
  const { out, signal } = context;
  const how = { mode: "append", key: options.key, passphraseEnv: options.passphraseEnv } as const;
  const location = options.into ?? process.env.TALLYSTICK_LEDGER ?? "";
  if (location === "") throw new UsageError("into which ledger? Give --into LEDGER, or set TALLYSTICK_LEDGER");
  // Before a ledger is made for it: a slip of the pen is no folder without history.
  if (statSync(directory, { throwIfNoEntry: false })?.isDirectory() !== true)
    throw new UsageError(`expected DIR to be a folder, got ${directory}`);
  return withLedger(context, location, how, async (ledger) => {
    const source = await sourceOf(context, ledger, directory);
    const progress = out.progress("importing");
    let appended = 0;
    let first = -1;
    let last = -1;
    try {
      for await (const entry of ledger.appendAll(source.events, {})) {
        if (entry.duplicate) continue;
        appended += 1;
        if (first < 0) first = entry.index;
        last = entry.index;
        progress.update(appended, source.total);
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      progress.end();
    }
    const known = source.total - appended;
    const range = appended === 0 ? "" : ` as entries ${first} to ${last}`;
    const unit = source.kind === "git" ? "commit" : "sample event";
    await out.object("imported", {
      source: source.kind,
      name: source.name,
      instead: source.instead,
      appended,
      total: source.total,
      first: appended === 0 ? null : first,
      last: appended === 0 ? null : last,
    });
    if (signal.aborted) {
      out.note(`interrupted: ${counted(appended, "entry is", "entries are")} durable; import again to go on`);
      return EXIT.interrupted;
    }
    await out.line(
      `${out.style.green("✓")} imported ${counted(appended, unit)} of ${safeText(source.name)}${range}${known > 0 ? `; ${count(known)} ${known === 1 ? "was" : "were"} there already` : ""}`,
    );
    return EXIT.ok;
  });
}

async function sourceOf(context: Context, ledger: LedgerEngine, directory: string): Promise<Source> {
  const { out, signal } = context;
  try {
    const repository = await inspectGitRepository(directory);
    if (repository.shallow.size > 0)
      out.warn(
        "the clone is shallow: commits beyond its edge are not imported, nor what the commits at the edge changed",
      );
    const isKnown = async (id: string): Promise<boolean> => (await ledger.findById(id)) !== undefined;
    return {
      events: gitHistory(repository, { isKnown, signal }),
      total: repository.commits,
      kind: "git",
      name: repository.id,
      instead: null,
    };
  } catch (error) {
    // Samples must never mix with what somebody really logged.
    const isFresh = ledger.size === 1 || (await ledger.findById("sample-001")) !== undefined;
    if (!isTallystickError(error) || error.code !== "not-found" || !isFresh) throw error;
    out.note(`${error.message}: importing the sample events that come with tallystick instead`);
    const events = await sampleEvents();
    return { events, total: events.length, kind: "samples", name: "samples/events.jsonl", instead: error.message };
  }
}
