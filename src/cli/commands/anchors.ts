import { mkdir, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseOtsFile } from "../../core/anchor-proof/opentimestamps.ts";
import { bitcoinHeightsIn, promisesIn, readProofState } from "../../core/anchor-proof/proof-state.ts";
import { parseTimestampResponse, parseTimestampToken } from "../../core/anchor-proof/rfc3161.ts";
import { isTallystickError } from "../../core/errors.ts";
import { sha256, sha256Hex } from "../../core/hash.ts";
import type { LedgerAnchor, LedgerEngine } from "../../ledger/ledger.ts";
import { calendarsFrom } from "../anchor-services.ts";
import { type Context, ledgerAnd, withLedger } from "../context.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import { UsageError } from "../failure.ts";
import type { KeyOptions } from "../key-files.ts";
import { count, counted, safeText } from "../terminal-text.ts";

interface AnchorsOptions extends KeyOptions {
  readonly upgrade?: boolean;
  readonly calendar?: readonly string[];
  readonly export?: string;
}

/** Lists the recorded anchors; asks first whether those that wait can be completed, and writes them out for other tools. */
export async function run(
  context: Context,
  positionals: readonly string[],
  options: AnchorsOptions,
): Promise<ExitCode> {
  const [location = ""] = ledgerAnd(positionals);
  if (options.upgrade !== true && options.calendar !== undefined)
    throw new UsageError("--calendar says whom --upgrade may ask");
  const mode = options.upgrade === true ? "sign" : "read";
  return withLedger(context, location, { mode, ...options }, async (ledger) => {
    if (options.upgrade === true) await upgrade(context, ledger, options.calendar);
    let listed = 0;
    for await (const anchor of ledger.anchors()) {
      if (context.out.closed) break;
      const names = options.export === undefined ? null : await write(options.export, anchor);
      await show(context, anchor, names);
      listed += 1;
    }
    const { out } = context;
    if (listed === 0) out.note("no checkpoint of this ledger was anchored yet: tallystick anchor LEDGER --tsa URL");
    else if (options.export !== undefined)
      out.note(
        `${counted(listed, "anchor")} in ${safeText(options.export)}: note and proof of each, with one base name`,
      );
    return EXIT.ok;
  });
}

async function upgrade(
  context: Context,
  ledger: LedgerEngine,
  calendars: readonly string[] = ["public"],
): Promise<void> {
  const { out, signal } = context;
  const results = await ledger.upgradeAnchors({ anchors: [await calendarsFrom(calendars)], signal });
  if (results.length === 0) out.note("no proof waits for an upgrade");
  for (const { size, index, isComplete, problem, failures } of results) {
    if (index === null) out.note(`the proof of size ${count(size)}: ${safeText(problem ?? "not yet")}`);
    else
      out.note(
        `the proof of size ${count(size)} is ${isComplete ? "complete" : "further"}: entry ${count(index)} records it`,
      );
    for (const failure of failures) out.note(`  ${safeText(failure)}`);
  }
}

/** What a proof says of itself: nothing of it is verified here. */
interface Described {
  readonly isComplete: boolean;
  /** For people; parts of it are the words of others. */
  readonly says: string;
}

function describe({ kind, note, proof }: LedgerAnchor): Described {
  if (note === null || proof === null) return { isComplete: false, says: "note or proof is gone: run verify" };
  try {
    const { isComplete } = readProofState(kind, proof, sha256(note));
    if (kind === "rfc3161") {
      const { seconds } = parseTimestampToken(proof).info.genTime;
      return { isComplete, says: `says ${new Date(seconds * 1_000).toISOString().slice(0, 19)}Z` };
    }
    if (kind !== "opentimestamps") return { isComplete, says: "of a kind that this version does not know" };
    const file = parseOtsFile(proof);
    const blocks = bitcoinHeightsIn(file);
    if (blocks.length > 0) return { isComplete, says: `names block ${blocks.join(", ")}` };
    return {
      isComplete,
      says: `waits for ${[...promisesIn(file)].map((promise) => promise.split(" ")[0]).join(", ")}`,
    };
  } catch (error) {
    if (!isTallystickError(error)) throw error;
    return { isComplete: false, says: `is none: ${error.message}` };
  }
}

async function show({ out }: Context, anchor: LedgerAnchor, files: readonly string[] | null): Promise<void> {
  const { index, time, kind, size, root, note, proof } = anchor;
  const { isComplete, says } = describe(anchor);
  const hashes = { note: note && sha256Hex(note), proof: proof && sha256Hex(proof) };
  const facts = { index, time, kind, size, root, ...hashes, isComplete, says };
  await out.object("anchor", files === null ? facts : { ...facts, files });
  const { style } = out;
  const sign = isComplete ? style.green("✓") : style.yellow("?");
  await out.line(
    `${sign} ${String(index).padStart(6)}  ${style.dim(time)}  ${safeText(kind).padEnd(14)}  size ${count(size)}  ${safeText(says)}`,
  );
}

/** Names that `openssl ts` and the `ots` client take; the base name is the same for note and proof. */
async function write(folder: string, anchor: LedgerAnchor): Promise<readonly string[]> {
  await mkdir(folder, { recursive: true });
  const base = `anchor-${anchor.index}`;
  const files: string[] = [];
  for (const [end, bytes] of [
    ["note", anchor.note],
    [endingOf(anchor), anchor.proof],
  ] as const) {
    if (bytes === null) continue;
    const path = join(folder, `${base}.${end}`);
    await writeFile(`${path}.tmp`, bytes);
    await rename(`${path}.tmp`, path);
    files.push(path);
  }
  return files;
}

function endingOf({ kind, proof }: LedgerAnchor): string {
  if (kind === "opentimestamps") return "ots";
  if (kind !== "rfc3161" || proof === null) return "proof";
  try {
    parseTimestampResponse(proof);
    return "tsr";
  } catch (error) {
    if (!isTallystickError(error)) throw error;
    return "tst";
  }
}
