/**
 * The physical bound: better-sqlite3 inserting rows made beforehand into the tables of a ledger, with its settings and its
 * commits, and nothing else: no canonical form, no hash, no lock on the head, no checkpoint.
 *
 * Options: directory, mode ("prepared" | "multi-row"), rowsPerCommit, entries, warmUp, windows ([[name, from, to]]).
 */
import { join } from "node:path";
import Database from "better-sqlite3";
import { createRows, POOL_SIZE } from "../lib/events.mjs";
import { rate, readOptions, report, seconds } from "../lib/measure.mjs";
import { OBJECTS, SETTINGS } from "../lib/schema.mjs";

/** Rows of one INSERT statement in mode multi-row: the fastest of 10, 50, 100, 200 and 500 where this was tried. */
const ROWS_PER_STATEMENT = 50;
const BLOCK = 256;
const FILTER_BYTES = 2_048;

const options = readOptions();
const database = new Database(join(options.directory, "bound.db"));
for (const setting of SETTINGS) database.pragma(setting);
for (const sql of Object.values(OBJECTS)) database.exec(sql);

const rows = createRows(Math.min(POOL_SIZE, options.entries + options.warmUp));
const tile = Buffer.alloc(32 * BLOCK, 7);
const filter = Buffer.alloc(FILTER_BYTES, 5);

const insertEntry = database.prepare("INSERT INTO entries (idx, entry, body, salts) VALUES (?, ?, ?, ?)");
const insertTile = database.prepare("INSERT INTO tiles (id, hashes) VALUES (?, ?)");
const insertFilter = database.prepare("INSERT INTO filters (id, block, bits) VALUES (?, ?, ?)");
const insertEntries = database.prepare(
  `INSERT INTO entries (idx, entry, body, salts) VALUES ${Array(ROWS_PER_STATEMENT).fill("(?,?,?,?)").join(",")}`,
);

let size = 0;

function insertOne(index) {
  const row = rows[index % rows.length];
  insertEntry.run(index, row.entry, row.body, row.salts);
}

function insertDerived(first, end) {
  for (let block = Math.ceil((first + 1) / BLOCK); block * BLOCK <= end; block++) {
    insertTile.run(block - 1, tile);
    insertFilter.run(block - 1, block - 1, filter);
  }
}

const commit = database.transaction((count) => {
  const first = size;
  const end = size + count;
  let index = first;
  if (options.mode === "multi-row") {
    const parameters = new Array(4 * ROWS_PER_STATEMENT);
    for (; index + ROWS_PER_STATEMENT <= end; index += ROWS_PER_STATEMENT) {
      for (let k = 0; k < ROWS_PER_STATEMENT; k++) {
        const row = rows[(index + k) % rows.length];
        parameters[4 * k] = index + k;
        parameters[4 * k + 1] = row.entry;
        parameters[4 * k + 2] = row.body;
        parameters[4 * k + 3] = row.salts;
      }
      insertEntries.run(parameters);
    }
  }
  for (; index < end; index++) insertOne(index);
  insertDerived(first, end);
});

function fill(count) {
  for (let done = 0; done < count; done += options.rowsPerCommit) {
    const rowsNow = Math.min(options.rowsPerCommit, count - done);
    commit.immediate(rowsNow);
    size += rowsNow;
  }
}

fill(options.warmUp);

const values = [];
const started = performance.now();
const windows = options.windows ?? [];
if (windows.length === 0) {
  fill(options.entries);
} else {
  const marks = new Map();
  for (let done = 0; done < options.entries; done += options.rowsPerCommit) {
    marks.set(done, performance.now());
    fill(Math.min(options.rowsPerCommit, options.entries - done));
  }
  marks.set(options.entries, performance.now());
  for (const [name, from, to] of windows) values.push(rate(name, to - from, (marks.get(to) - marks.get(from)) / 1000));
}
values.unshift(rate("", options.entries, seconds(started)));

const stored = database.prepare("SELECT count(*) AS count FROM entries").get().count;
if (stored !== options.entries + options.warmUp) throw new Error(`stored ${stored} rows`);
const sqlite = database.prepare("SELECT sqlite_version() AS version").get().version;
const pages = database.pragma("page_count", { simple: true }) * database.pragma("page_size", { simple: true });
database.close();
report(values, { sqlite, bytesPerEntry: Math.round(pages / stored) });
