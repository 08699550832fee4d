import { includesBytes, strictText } from "#hash-platform";
import { encodeUtf8 } from "./encoding.ts";
import { examineBody } from "./entry-body.ts";
import { MalformedError } from "./errors.ts";
import type { Event } from "./event.ts";
import { type ExportLine, type ExportSelection, parseExportLine } from "./export-format.ts";
import type { ExaminedHeader } from "./export-header.ts";
import type { FileLine } from "./file-lines.ts";
import { sha256Hex } from "./hash.ts";
import { type ControlEntry, type Replay, replayControls } from "./ledger-state.ts";
import { EXPORT_CONTROL_BYTES_MAX, RECEIPT_BYTES_MAX } from "./limits.ts";

/** What the control events of an export say, read before the lines they speak of: spec/export.md S1, S2, S7-S13. */
export interface ExportControls extends Replay {
  /** Of the events that took effect, in the order of their lines: a second reading must find the same. */
  readonly fingerprint: string;
}

/** How scheme `control` looks inside the entry of any canonical line. */
const CONTROL_MARK = encodeUtf8('\\"scheme\\":\\"control\\"');

export async function readControls(
  lines: AsyncIterable<FileLine>,
  { header, genesis, pin }: ExaminedHeader,
): Promise<ExportControls> {
  const { kind, first } = header.selection;
  const fingerprint = new Fingerprint();
  const partial = kind === "filter" || first !== 0;
  // Events of a file in disorder are put in order here; in one that is not, they come in order by themselves.
  async function* inOrder(): AsyncGenerator<ControlEntry> {
    let waiting: ControlEntry[] = [];
    let sizeBytes = 0;
    for await (const line of lines) {
      const found = controlOf(line, kind);
      if (found === null) continue;
      fingerprint.add(found.leaf);
      waiting.push(found);
      sizeBytes += line.bytes.length;
      if (sizeBytes > EXPORT_CONTROL_BYTES_MAX) {
        yield* waiting.sort(byIndex);
        waiting = [];
        sizeBytes = 0;
      }
    }
    yield* waiting.sort(byIndex);
  }
  const replay = await replayControls(inOrder(), { genesis, partial, keys: pin !== "none" });
  return { ...replay, fingerprint: fingerprint.hex };
}

/** Chain over the leaf hashes of control entries, which commit to their events. */
export class Fingerprint {
  hex = "";

  add(leaf: string): void {
    this.hex = sha256Hex(`${this.hex}\n${leaf}`);
  }
}

function byIndex(a: ControlEntry, b: ControlEntry): number {
  return a.index - b.index;
}

/** The control event of a line, if it is one and nothing is wrong with it. */
function controlOf(file: FileLine, kind: ExportSelection["kind"]): ControlEntry | null {
  if (!file.ended || file.bytes.length >= RECEIPT_BYTES_MAX) return null;
  if (!includesBytes(file.bytes, CONTROL_MARK)) return null;
  const text = strictText(file.bytes);
  if (text === null) return null;
  let line: ExportLine;
  try {
    line = parseExportLine(text, kind);
  } catch (error) {
    // Reported when the lines are judged.
    if (!(error instanceof MalformedError)) throw error;
    return null;
  }
  const { entry, leafHash, content } = line;
  if (entry.scheme !== "control" || content.kind !== "whole") return null;
  const { control, problems } = examineBody(entry, content);
  return control === null || problems.length > 0
    ? null
    : { index: entry.index, entry, leaf: leafHash, event: content.event as unknown as Event, control };
}
