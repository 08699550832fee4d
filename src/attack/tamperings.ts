import { formatEntry, parseCommitment, parseEntry } from "../core/entry.ts";
import type { HashName } from "../core/hash.ts";
import type { SqliteDatabase } from "../storage/sqlite-driver.ts";
import type { LedgerFile } from "./ledger-file.ts";
import { changeActor, inventEvent, type PlannedEntry, planOf, rewrite, type WrittenEntry } from "./rewriting.ts";
import type { Positions } from "./victim.ts";

/** What is done to the entries: as anybody with a SQLite shell would do it, and as a plan for a rewrite. */
export interface Tampering {
  readonly id: string;
  readonly title: string;
  /** First entry that the rewrite changes; those before stay as they are. */
  readonly from: (at: Positions) => number;
  readonly plan: (entries: readonly PlannedEntry[], at: Positions) => PlannedEntry[];
  readonly write: (file: LedgerFile, at: Positions) => void;
}

/** The seven ways to change what a log says. */
export const TAMPERINGS: readonly Tampering[] = [
  {
    id: "edit",
    title: "edit",
    from: ({ target }) => target,
    plan: (entries, { target }) => entries.map((entry, i) => (i === target ? changed(entry) : entry)),
    write: ({ db }, { target }) => changeBody(db, target),
  },
  {
    id: "delete",
    title: "delete",
    from: ({ target }) => target,
    plan: (entries, { target }) => entries.toSpliced(target, 1),
    write: ({ db }, { target }) => void db.prepare("DELETE FROM entries WHERE idx = ?").run(target),
  },
  {
    id: "insert",
    title: "insert",
    from: ({ target }) => target,
    plan: (entries, { target }) => entries.toSpliced(target, 0, invented(entries, target)),
    write: ({ db }, { target }) => {
      // Through negative indexes, as two rows never share one.
      db.prepare("UPDATE entries SET idx = -idx - 1 WHERE idx >= ?").run(target);
      db.exec("UPDATE entries SET idx = -idx WHERE idx < 0");
      db.prepare("INSERT INTO entries SELECT ?, entry, body, salts FROM entries WHERE idx = ?").run(target, target - 1);
      db.prepare("UPDATE entries SET body = ? WHERE idx = ?").run(inventEvent("attack.invalid/inserted"), target);
    },
  },
  {
    id: "reorder",
    title: "reorder",
    from: ({ target }) => target,
    plan: (entries, { target }) => {
      const [a, b] = entries.slice(target, target + 2) as [PlannedEntry, PlannedEntry];
      return entries.toSpliced(target, 2, { ...b, time: a.time }, { ...a, time: b.time });
    },
    write: ({ db }, { target }) => {
      const move = db.prepare("UPDATE entries SET idx = ? WHERE idx = ?");
      move.run(-1, target);
      move.run(target, target + 1);
      move.run(target + 1, -1);
    },
  },
  {
    id: "truncate",
    title: "truncate the tail",
    from: ({ cut }) => cut,
    plan: (entries, { cut }) => entries.slice(0, cut),
    write: ({ db }, { cut }) => void db.prepare("DELETE FROM entries WHERE idx >= ?").run(cut),
  },
  {
    id: "regrow",
    title: "regrow the tail",
    from: ({ cut }) => cut,
    plan: (entries, { cut }) => regrown(entries, cut),
    write: (file, at) => {
      // New events with salts and commitments of their own, under the links of those that stood there.
      const entries = file.readEntries();
      const plan = regrown(planOf(entries), at.cut).slice(at.cut);
      const made = rewrite(entries.slice(0, at.cut), plan, { hash: hashOf(entries), fill: (bytes) => bytes.fill(1) });
      const put = file.db.prepare("UPDATE entries SET entry = ?, body = ?, salts = ? WHERE idx = ?");
      for (const { index, entry, body, salts } of made.entries.slice(at.cut)) {
        const { previous } = parseEntry(entries[index]?.entry ?? "");
        put.run(formatEntry({ ...parseEntry(entry), previous }), body, salts, index);
      }
    },
  },
  {
    id: "rewrite",
    title: "rewrite all",
    // Genesis stays: a pinned policy names it.
    from: () => 1,
    plan: (entries) => entries.map(changed),
    write: (file) => {
      for (const [index, { scheme }] of planOf(file.readEntries()).entries())
        if (scheme !== "control") changeBody(file.db, index);
    },
  },
];

/** The entry with another actor; a control event stays as it is. */
export function changed(entry: PlannedEntry): PlannedEntry {
  return entry.scheme === "control" ? entry : { ...entry, body: changeActor(entry.body) };
}

/** An event that never happened, at the time of the entry whose place it takes. */
export function invented(entries: readonly PlannedEntry[], index: number): PlannedEntry {
  return { body: inventEvent(`attack.invalid/invented-${index}`), scheme: "event", time: entries[index]?.time ?? "" };
}

/** The entries from `first` on replaced by as many events that never happened. */
export function regrown(entries: readonly PlannedEntry[], first: number): PlannedEntry[] {
  return entries.map((entry, i) => (i < first ? entry : invented(entries, i)));
}

function changeBody(db: SqliteDatabase, index: number): void {
  const { body } = db.prepare("SELECT body FROM entries WHERE idx = ?").get(index) as { readonly body: string };
  db.prepare("UPDATE entries SET body = ? WHERE idx = ?").run(changeActor(body), index);
}

/** Commitment hash that the genesis entry fixes. */
export function hashOf(entries: readonly WrittenEntry[]): HashName {
  return parseCommitment(parseEntry(entries[0]?.entry ?? "").commitment).hash;
}
