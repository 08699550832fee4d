import { copyFileSync } from "node:fs";
import { join } from "node:path";
import type { AuthorSigner } from "../../src/core/author-signature.ts";
import type { Event } from "../../src/core/event.ts";
import { authorSignerFromSeed, logSignerFromSeed } from "../../src/keys/index.ts";
import type { LockRecord } from "../../src/ledger/lock-store.ts";
import type { Signer } from "../../src/ledger/signer.ts";
import { type ForgedRow, readRows, signRows, writeCheckpoints, writeRows } from "./forge.ts";
import { newPlace, openAt, type Place, stateOf, tamper, withLock } from "./place.ts";

/**
 * A ledger that has seen some life, and what others hold of it. 41 entries, checkpoints of size 20 and 41:
 *
 *     0 genesis · 1 author key of alice · 2 signed by alice · 3 hold on 4-8 · 4-19 logins · [20]
 *     20-40 payments, every third one in scheme fields · [41]
 *
 * Key events are signed for their place, so that nothing before entry 1 can be moved even with the log key.
 */
export interface World {
  readonly place: Place;
  readonly origin: string;
  readonly signer: Signer;
  readonly alice: AuthorSigner;
  /** What readers hold: out of reach of whoever has the file. */
  readonly held: {
    readonly policy: string;
    readonly first: string;
    readonly last: string;
    /** Of entry 15, made at size 20. */
    readonly receipt: string;
  };
  /** Copy of the database as it was at size 20, and what the lock store held then. */
  readonly oldCopy: string;
  readonly oldRecord: LockRecord;
}

export const AT = { author: 1, signed: 2, hold: 3, login: 4, first: 20, size: 41 } as const;

export const ORIGIN = "example.com/audit";
export const LOG_KEY: Signer = logSignerFromSeed("ed25519", new Uint8Array(32).fill(1));
export const OTHER_KEY: Signer = logSignerFromSeed("ed25519", new Uint8Array(32).fill(2));
export const ALICE: AuthorSigner = authorSignerFromSeed("ed25519", new Uint8Array(32).fill(3));

export const login = (i: number): Event => ({
  id: `login-${i}`,
  action: "user.login",
  actor: `user-${i % 5}`,
  outcome: "success",
});
const payment = (i: number): Event => ({
  id: `payment-${i}`,
  action: "payment.made",
  actor: "bob",
  payload: { amount: i * 100, iban: `DE${i}` },
});

export async function buildWorld(): Promise<World> {
  const place = newPlace({ shared: true });
  const oldCopy = join(place.folder, "old-copy.db");
  const young = await openAt(place, { origin: ORIGIN, signer: LOG_KEY });
  await young.keys.addAuthor(ALICE, "alice");
  await young.append({ id: "signed", action: "contract.signed", actor: "alice", payload: { n: 1 } }, { signer: ALICE });
  await young.keys.placeHold("case-1", { first: 4, last: 8, reason: "litigation" });
  for (let i = AT.login; i < AT.first; i++) await young.append(login(i));
  const receipt = await young.prove(15);
  const first = await young.checkpoint();
  const policy = young.policy();
  await young.close();
  copyFileSync(place.path, oldCopy);
  const oldRecord = await withLock(place, (lockStore) => lockStore.fetch(ORIGIN));
  const grown = await openAt(place, { signer: LOG_KEY });
  for (let i = AT.first; i < AT.size; i++) await grown.append(payment(i), { scheme: i % 3 === 0 ? "fields" : "event" });
  const last = await grown.checkpoint();
  await grown.close();
  if (oldRecord === undefined) throw new Error("expected a record in the lock store");
  return {
    place,
    origin: ORIGIN,
    signer: LOG_KEY,
    alice: ALICE,
    held: { policy, first, last, receipt },
    oldCopy,
    oldRecord,
  };
}

/** Reads the rows, lets `change` make others, and stores them. */
export function rewriteRows(path: string, change: (rows: readonly ForgedRow[]) => readonly ForgedRow[]): ForgedRow[] {
  return tamper(path, (db) => {
    const rows = [...change(readRows(db))];
    writeRows(db, rows);
    return rows;
  });
}

/** What the thief of the log key does after `rewriteRows`: checkpoints at `sizes` that fit, and no others. */
export async function signAgain(
  path: string,
  rows: readonly ForgedRow[],
  sizes: readonly number[] = [AT.first, rows.length],
  signers: readonly Signer[] = [LOG_KEY],
): Promise<string> {
  const notes: { size: number; note: string }[] = [];
  for (const size of sizes) notes.push(await signRows(rows, { origin: ORIGIN, signers, size }));
  tamper(path, (db) => writeCheckpoints(db, notes));
  return notes.at(-1)?.note ?? "";
}

/** Puts a checkpoint into the lock store, as only whoever reaches the operator's machine can. */
export async function replaceLock(place: Place, note: string): Promise<void> {
  await withLock(place, async (lockStore) => {
    const record = await lockStore.fetch(ORIGIN);
    await lockStore.replace(ORIGIN, record?.note ?? null, note);
  });
}

/** The note that the lock store of a place holds. */
export async function lockNoteOf(place: Place): Promise<string> {
  const record = await withLock(place, (lockStore) => lockStore.fetch(ORIGIN));
  return record?.note ?? "";
}

/** Policy that the place's own machine keeps. */
export function keptPolicy(place: Place): string {
  return stateOf(place).readPolicy(ORIGIN) ?? "";
}
