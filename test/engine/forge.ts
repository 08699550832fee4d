import { canonicalize } from "../../src/core/canonical-json.ts";
import { formatCheckpoint } from "../../src/core/checkpoint.ts";
import { commitBody, commitFields, cutFields, fieldDigest } from "../../src/core/commitment.ts";
import { decodeHex } from "../../src/core/encoding.ts";
import { formatEntry, leafHashHex, parseEntry, type Scheme, ZERO_HASH_HEX } from "../../src/core/entry.ts";
import { type Event, parseEvent } from "../../src/core/event.ts";
import { createRange } from "../../src/core/merkle.ts";
import { formatNote, signNote } from "../../src/core/note.ts";
import type { Signer } from "../../src/ledger/signer.ts";
import type { SqliteDatabase } from "../../src/storage/sqlite-driver.ts";
import { digestOf, plainBytes } from "../../src/storage/sqlite-statements.ts";

/**
 * Ledgers that no honest writer makes: rows built by hand, with every hash right that the forger wants to be right. Ledgers
 * of fewer than 256 entries, so that there are no tiles and no filters to forge.
 */
export interface ForgedRow {
  readonly index: number;
  readonly entry: string;
  readonly body: string | null;
  readonly salts: Uint8Array | null;
  readonly disclosure: string | null;
}

export interface Forgery {
  /** Event, or the exact text to store as its body. */
  readonly event: Event | string;
  readonly scheme?: Scheme;
  readonly time?: string;
  readonly previous?: string;
  readonly salts?: Uint8Array;
  /** `<hash name>:<hex>` that the entry names instead of what the body gives. */
  readonly commitment?: string;
  /** Stored beside, or instead of, the body. */
  readonly disclosure?: string;
  readonly bodyless?: boolean;
}

const SALT_BYTES = 16;

/** `rows` and, linked to them, the forged entries. */
export function forge(rows: readonly ForgedRow[], forgeries: readonly Forgery[]): ForgedRow[] {
  const all = [...rows];
  for (const forgery of forgeries) all.push(forgeRow(all, forgery));
  if (all.length >= 256) throw new RangeError(`forge: expected fewer than 256 entries, got ${all.length}`);
  return all;
}

function forgeRow(rows: readonly ForgedRow[], forgery: Forgery): ForgedRow {
  const { event, scheme = "event" } = forgery;
  const body = typeof event === "string" ? event : canonicalize(event);
  const last = rows.at(-1);
  const index = rows.length;
  const fill = (count: number): Uint8Array => new Uint8Array(count * SALT_BYTES).fill(index + 1);
  const salts = forgery.salts ?? (scheme === "fields" ? fill(cutFields(parseEvent(body)).length) : fill(1));
  const entry = formatEntry({
    commitment: forgery.commitment ?? `sha256:${commitmentOf(body, scheme, salts)}`,
    index,
    previous: forgery.previous ?? (last === undefined ? ZERO_HASH_HEX : leafHashHex(last.entry)),
    scheme,
    time: forgery.time ?? (last === undefined ? "2026-01-01T00:00:00.000Z" : parseEntry(last.entry).time),
  });
  const kept = forgery.bodyless === true ? { body: null, salts: null } : { body, salts };
  return { index, entry, ...kept, disclosure: forgery.disclosure ?? null };
}

function commitmentOf(body: string, scheme: Scheme, salts: Uint8Array): string {
  if (scheme !== "fields") return commitBody("sha256", scheme, salts, body);
  const fields = cutFields(parseEvent(body));
  const digests = fields.map((field, i) =>
    fieldDigest("sha256", salts.subarray(i * SALT_BYTES, (i + 1) * SALT_BYTES), field),
  );
  return commitFields(
    "sha256",
    fields.map(({ name }) => name),
    digests,
  );
}

/** The same entries again with one changed and everything after it recomputed: links, commitments, leaf hashes. */
export function reforge(rows: readonly ForgedRow[], at: number, change: (forgery: Forgery) => Forgery): ForgedRow[] {
  const forgeries = rows.slice(at).map((row, i) => {
    const forgery = forgeryOf(row);
    return i === 0 ? change(forgery) : forgery;
  });
  return forge(rows.slice(0, at), forgeries);
}

/** What a stored entry says, to be forged anew. */
export function forgeryOf(row: ForgedRow): Forgery {
  if (row.body === null || row.salts === null) throw new RangeError(`entry ${row.index} has no body to forge from`);
  const { scheme, time } = parseEntry(row.entry);
  return { event: row.body, scheme, time, salts: row.salts };
}

export function readRows(db: SqliteDatabase): ForgedRow[] {
  const rows = db
    .prepare(
      "SELECT e.idx, e.entry, e.body, e.salts, (SELECT disclosure FROM disclosures d WHERE d.idx = e.idx AND disclosure IS NOT NULL) AS disclosure FROM entries e ORDER BY idx",
    )
    .all() as (Omit<ForgedRow, "index"> & { readonly idx: number })[];
  return rows.map(({ idx, entry, body, salts, disclosure }) => ({
    index: idx,
    entry,
    body,
    salts: salts === null ? null : plainBytes(salts),
    disclosure,
  }));
}

/** Replaces every entry, and ids and control list by what the entries give. Checkpoints stay. */
export function writeRows(db: SqliteDatabase, rows: readonly ForgedRow[]): void {
  for (const table of ["entries", "disclosures", "ids", "controls"]) db.exec(`DELETE FROM ${table}`);
  const insert = db.prepare("INSERT INTO entries(idx, entry, body, salts) VALUES (?, ?, ?, ?)");
  const disclose = db.prepare("INSERT INTO disclosures(idx, disclosure) VALUES (?, ?)");
  const addId = db.prepare("INSERT INTO ids(digest, idx) VALUES (?, ?) ON CONFLICT DO NOTHING");
  const addControl = db.prepare("INSERT INTO controls(idx) VALUES (?)");
  for (const { index, entry, body, salts, disclosure } of rows) {
    insert.run(index, entry, body, salts);
    if (disclosure !== null) disclose.run(index, disclosure);
    const id = idOf(body);
    if (id !== null) addId.run(digestOf(id), index);
    if (parseEntry(entry).scheme === "control") addControl.run(index);
  }
}

/** Loosely: a forged body may be one that the strict parser refuses. */
function idOf(body: string | null): string | null {
  try {
    const { id } = JSON.parse(body ?? "{}") as { readonly id?: unknown };
    return typeof id === "string" ? id : null;
  } catch {
    return null;
  }
}

export function writeCheckpoints(
  db: SqliteDatabase,
  checkpoints: readonly { readonly size: number; readonly note: string }[],
): void {
  db.exec("DELETE FROM checkpoints");
  const insert = db.prepare("INSERT INTO checkpoints(size, note) VALUES (?, ?)");
  for (const { size, note } of checkpoints) insert.run(size, note);
}

export function rootOf(rows: readonly ForgedRow[], size: number = rows.length): Uint8Array {
  const range = createRange();
  for (const { entry } of rows.slice(0, size)) range.append(decodeHex(leafHashHex(entry), { code: "malformed-entry" }));
  return range.root();
}

/** Checkpoint note over the first `size` rows; takes the log key. */
export async function signRows(
  rows: readonly ForgedRow[],
  by: { readonly origin: string; readonly signers: readonly Signer[]; readonly size?: number },
): Promise<{ readonly size: number; readonly note: string }> {
  const size = by.size ?? rows.length;
  const text = formatCheckpoint({ origin: by.origin, size, root: rootOf(rows, size) });
  const lines: string[] = [];
  for (const signer of by.signers) lines.push(await signNote(text, by.origin, signer));
  return { size, note: formatNote(text, lines) };
}
