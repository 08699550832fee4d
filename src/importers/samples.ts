import { readFile } from "node:fs/promises";
import { parseJson } from "../core/canonical-json.ts";
import { type Event, validateEvent } from "../core/event.ts";

/** The shipped file stays small enough to read at once. */
export const SAMPLE_COUNT_MAX = 1_000;

/** The sample events shipped with the package: some days of a small company. Each has an id, so adding them again adds nothing. */
export async function sampleEvents(): Promise<readonly Event[]> {
  const file = new URL("../../samples/events.jsonl", import.meta.url);
  const lines = (await readFile(file, "utf8")).split("\n").filter((line) => line !== "");
  return lines.slice(0, SAMPLE_COUNT_MAX).map((line) => {
    const event = parseJson(line);
    validateEvent(event);
    return event;
  });
}
