import { randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { type JsonValue, parseJson } from "../../core/canonical-json.ts";
import { isTallystickError, type TallystickError } from "../../core/errors.ts";
import { type Event, isAction } from "../../core/event.ts";
import { EVENT_BYTES_MAX } from "../../core/limits.ts";
import type { AuthorSigner } from "../../keys/index.ts";
import type { AppendOptions } from "../../ledger/appender.ts";
import type { LedgerEngine } from "../../ledger/ledger.ts";
import type { Appended } from "../../ledger/placement.ts";
import { pathOf } from "../../open.ts";
import { type Context, ledgerAnd, stateOf, withLedger } from "../context.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import { UsageError } from "../failure.ts";
import { openInput, readInput } from "../files.ts";
import { atLine, eventLines } from "../jsonl.ts";
import { authorKeyFromFile, type KeyOptions, type SignerKeyOptions } from "../key-files.ts";
import { counted, safeText } from "../terminal-text.ts";

interface AppendCommandOptions extends KeyOptions, SignerKeyOptions {
  readonly actor?: string;
  readonly target?: readonly string[];
  readonly outcome?: string;
  readonly payload?: string;
  readonly id?: string;
  readonly type?: string;
  readonly occurredAt?: string;
  readonly context?: string;
  readonly metadata?: string;
  readonly scheme?: "event" | "fields";
  readonly jsonl?: string;
  /** False for `--no-create`. */
  readonly create?: boolean;
}

/** Options that describe one event: they mean nothing for a stream. */
const EVENT_OPTIONS = [
  "actor",
  "target",
  "outcome",
  "payload",
  "id",
  "type",
  "occurredAt",
  "context",
  "metadata",
] as const;

/** Appends one event, or a stream of them. */
export async function run(
  context: Context,
  positionals: readonly string[],
  options: AppendCommandOptions,
): Promise<ExitCode> {
  const plan = planOf(context, positionals, options);
  const author =
    options.signerKey === undefined
      ? undefined
      : authorKeyFromFile(context, options.signerKey, options.signerPassphraseEnv);
  const appendOptions: AppendOptions = {
    ...(author === undefined ? {} : { signer: author }),
    ...(options.scheme === undefined ? {} : { scheme: options.scheme }),
  };
  // Before the ledger is opened, and perhaps made: input that is not there must leave nothing behind.
  const input = plan.action === null ? await openInput(plan.source) : null;
  const event = plan.action === null ? null : await eventOf(plan.action, options);
  const how = {
    mode: plan.mayCreate ? "append" : "sign",
    key: options.key,
    passphraseEnv: options.passphraseEnv,
  } as const;
  return withLedger(context, plan.location, how, async (ledger) => {
    context.reading = false;
    if (input !== null) return appendStream(context, ledger, { input, author, appendOptions });
    const appended = await ledger.append(authored(event as Event, ledger, author), appendOptions);
    await report(context, plan.action ?? "", appended);
    return EXIT.ok;
  });
}

interface Plan {
  readonly location: string;
  /** Null: events come from `source`. */
  readonly action: string | null;
  readonly source: string;
  readonly mayCreate: boolean;
}

function planOf(context: Context, positionals: readonly string[], options: AppendCommandOptions): Plan {
  const mayCreate = options.create !== false;
  const isPiped = process.stdin.isTTY !== true;
  const given = EVENT_OPTIONS.find((name) => options[name] !== undefined);
  if (options.jsonl !== undefined) {
    if (given !== undefined)
      throw new UsageError(`--jsonl takes whole events: --${dashed(given)} says something about one`);
    const [location = "", action] = ledgerAnd(positionals);
    if (action !== undefined)
      throw new UsageError(`--jsonl takes whole events: the ACTION ${action} says something about one`);
    return { location, action: null, source: options.jsonl, mayCreate };
  }
  // Options of one event without its ACTION are a forgotten ACTION, not a stream that may be empty and succeed.
  const isStream = isPiped && given === undefined;
  if (positionals.length === 0 && isStream)
    return { location: ledgerAnd([])[0] ?? "", action: null, source: "-", mayCreate: false };
  // One argument alone is the ACTION where the environment names the ledger, else the LEDGER of a stream on stdin; that one
  // has to exist, as a forgotten argument must not make a ledger named after an action.
  if (positionals.length === 1 && isStream && (process.env.TALLYSTICK_LEDGER ?? "") === "") {
    const [word = ""] = positionals;
    if (isAction(word) && isNoPlace(context, word))
      throw new UsageError(
        `no ledger was named: ${JSON.stringify(word)} alone is an ACTION, or a LEDGER for events from stdin, and there is no ledger ${word}; expected LEDGER ACTION, or an ACTION where TALLYSTICK_LEDGER is set`,
      );
    return { location: word, action: null, source: "-", mayCreate: false };
  }
  const [location = "", action = ""] = ledgerAnd(positionals, ["ACTION"]);
  if (positionals.length === 1 && isStream && isKnownLedger(context, action))
    throw new UsageError(
      `is ${JSON.stringify(action)} an ACTION for ${location}, which TALLYSTICK_LEDGER names? There is a ledger of that name: expected LEDGER ACTION, or LEDGER --jsonl - for events from stdin`,
    );
  return { location, action, source: "-", mayCreate };
}

/** Whether nothing is there and nothing was: a ledger that is gone has an error of its own. */
function isNoPlace(context: Context, word: string): boolean {
  const path = pathOf(word);
  return !existsSync(path) && stateOf(context).recallPath(path) === undefined;
}

/** Whether this machine knows a ledger there. */
function isKnownLedger(context: Context, word: string): boolean {
  const path = pathOf(word);
  return existsSync(path) && stateOf(context).recallPath(path) !== undefined;
}

function dashed(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}

async function eventOf(action: string, options: AppendCommandOptions): Promise<Event> {
  const { actor, target = [], outcome, id, type, occurredAt } = options;
  const payload = await jsonOption("--payload", options.payload);
  const event: Record<string, JsonValue> = { action };
  if (id !== undefined) event.id = id;
  if (type !== undefined) event.type = type;
  if (actor !== undefined) event.actor = actor;
  if (target.length > 0) event.targets = target.map((each) => ({ id: each }));
  if (outcome !== undefined) event.outcome = outcome;
  if (occurredAt !== undefined) event.occurredAt = occurredAt;
  if (payload !== undefined) event.payload = payload;
  for (const name of ["context", "metadata"] as const) {
    const value = await jsonOption(`--${name}`, options[name]);
    if (value !== undefined) event[name] = value;
  }
  // The ledger checks the grammar, and its message names the member.
  return event as unknown as Event;
}

/** JSON of an option, or of the file that `@FILE` names (`@-`: stdin). */
async function jsonOption(name: string, value: string | undefined): Promise<JsonValue | undefined> {
  if (value === undefined) return undefined;
  const text = value.startsWith("@") ? await readInput(value.slice(1), EVENT_BYTES_MAX) : value;
  try {
    return parseJson(text);
  } catch (error) {
    if (!isTallystickError(error)) throw error;
    const known = error as TallystickError;
    known.message = `${name}: ${known.message}`;
    throw known;
  }
}

/** An author-signed event has an id and an actor: the registered one, and a fresh one, where they were left out. */
function authored(event: Event, ledger: LedgerEngine, author: AuthorSigner | undefined): Event {
  if (author === undefined || typeof event !== "object" || event === null) return event;
  const actor = ledger.state.authors.get(author.keyId)?.actor;
  return {
    id: randomUUID(),
    ...(actor === undefined ? {} : { actor }),
    ...event,
  };
}

async function report({ out }: Context, action: string, appended: Appended): Promise<void> {
  await out.object("appended", appended);
  const { style } = out;
  const mark = appended.duplicate ? style.yellow("=") : style.green("✓");
  const text = appended.duplicate ? "is there already, as entry" : "is entry";
  await out.line(
    `${mark} ${safeText(action)} ${text} ${style.bold(String(appended.index))}  ${style.dim(appended.leafHash)}`,
  );
}

interface Stream {
  readonly input: Awaited<ReturnType<typeof openInput>>;
  readonly author: AuthorSigner | undefined;
  readonly appendOptions: AppendOptions;
}

async function appendStream(context: Context, ledger: LedgerEngine, stream: Stream): Promise<ExitCode> {
  const { out, signal } = context;
  const { input } = stream;
  // An interrupt ends the input: what was read is appended, and the ledger is closed as always.
  signal.addEventListener("abort", () => input.destroy(), { once: true });
  const lines = eventLines(untilAborted(input, signal), (event) =>
    authored(event as unknown as Event, ledger, stream.author),
  );
  const progress = out.progress("appending");
  let durable = 0;
  let duplicates = 0;
  let first = -1;
  let last = -1;
  try {
    for await (const appended of ledger.appendAll(lines.events, stream.appendOptions)) {
      lines.settle();
      durable += 1;
      if (appended.duplicate) duplicates += 1;
      else {
        if (first < 0) first = appended.index;
        last = appended.index;
      }
      progress.update(durable);
      const full = out.object("appended", appended);
      if (full !== undefined) await full;
    }
  } catch (error) {
    throw atLine(error, lines.currentLine(), durable);
  } finally {
    progress.end();
  }
  const fresh = durable - duplicates;
  const range = fresh === 0 ? "" : `, index ${first}${last === first ? "" : ` to ${last}`}`;
  const again =
    duplicates === 0 ? "" : `; ${counted(duplicates, "event")} ${duplicates === 1 ? "was" : "were"} there already`;
  await out.line(`${out.style.green("✓")} appended ${counted(fresh, "entry", "entries")}${range}${again}`);
  if (signal.aborted)
    out.note(`interrupted: ${counted(durable, "entry is", "entries are")} durable; the rest was not read`);
  return signal.aborted ? EXIT.interrupted : EXIT.ok;
}

/** The stream's chunks; an input that was closed by an interrupt has simply ended. */
async function* untilAborted(input: AsyncIterable<Buffer>, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  try {
    yield* input;
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}
