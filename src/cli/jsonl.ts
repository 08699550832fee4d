import { type JsonValue, parseJson } from "../core/canonical-json.ts";
import { isTallystickError, MalformedError, type TallystickError } from "../core/errors.ts";
import type { Event } from "../core/event.ts";
import { splitLines } from "../core/file-lines.ts";
import { EVENT_BYTES_MAX } from "../core/limits.ts";

/** The largest event, written with every character escaped, takes more; nobody writes that. */
const LINE_BYTES_MAX: number = 2 * EVENT_BYTES_MAX;

/** Events of a stream of JSON lines, and from which line each came. */
export interface EventLines {
  readonly events: AsyncGenerator<Event>;
  /** Number, from 1, of the first line whose event was not settled yet: after an error, the line it is about. */
  currentLine(): number;
  /** To be called for each event that was appended, in order. */
  settle(): void;
}

/**
 * Parses one event a line in constant memory. Blank lines are passed over, as is a byte order mark. A line that is no JSON ends the
 * stream with the error of `parseJson`; whether it is an event is for the ledger to say.
 */
export function eventLines(source: AsyncIterable<Uint8Array>, prepare: (event: JsonValue) => Event): EventLines {
  const unsettled: number[] = [];
  let settled = 0;
  let line = 0;

  async function* events(): AsyncGenerator<Event> {
    for await (const { bytes } of splitLines(source, { sizeBytesMax: LINE_BYTES_MAX })) {
      line += 1;
      unsettled.push(line);
      if (bytes.length > LINE_BYTES_MAX)
        throw new MalformedError("event-too-large", `expected lines of at most ${LINE_BYTES_MAX} bytes`);
      const text = textOf(bytes);
      if (BLANK.test(text)) unsettled.pop();
      else yield prepare(parseJson(text));
    }
  }
  return {
    events: events(),
    currentLine: () => unsettled[settled] ?? line + 1,
    settle: () => {
      settled += 1;
      if (settled < SETTLED_KEPT) return;
      unsettled.splice(0, settled);
      settled = 0;
    },
  };
}

/** Removing one at a time from the front of an array would copy it each time. */
const SETTLED_KEPT = 4_096;

const BLANK = /^[ \t\r]*$/;
/** A byte order mark is dropped. */
const UTF_8 = new TextDecoder("utf-8", { fatal: true });

function textOf(bytes: Uint8Array): string {
  try {
    const text = UTF_8.decode(bytes);
    return text.endsWith("\r") ? text.slice(0, -1) : text;
  } catch (cause) {
    throw new MalformedError("malformed-json", "expected UTF-8", { cause });
  }
}

/** The error of a stream, with its line and with what is safe: classes that are about the input name the line. */
export function atLine(error: unknown, line: number, durable: number): unknown {
  if (!isTallystickError(error) || !(error instanceof Error)) return error;
  const known = error as TallystickError;
  const before = durable === 1 ? "1 entry before it is durable" : `${durable} entries before it are durable`;
  const message = `line ${line}: ${known.message}; ${before}`;
  const details = { ...known.details, line, durable };
  Object.defineProperty(known, "message", { value: message });
  Object.defineProperty(known, "details", { value: details, enumerable: true });
  return known;
}
