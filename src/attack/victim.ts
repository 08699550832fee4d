import { copyFileSync, cpSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { openState } from "../keys/index.ts";
import { logSignerFromSeed } from "../keys/local-signer.ts";
import type { Random } from "../ledger/random.ts";
import { seededClock, seededRandom } from "../ledger/seeded-random.ts";
import type { Signer } from "../ledger/signer.ts";
import { Ledger, type OpenOptions } from "../open.ts";
import type { SqliteDriver } from "../storage/sqlite-driver.ts";
import { copyEvents, inventEvents, type VictimEvent } from "./victim-events.ts";

/** Where things happen in a victim, all leaf indexes or sizes. Those of 300 entries stand beside. */
export interface Positions {
  /** 300: entries, and size of the latest checkpoint. */
  readonly size: number;
  /** 200: size of the checkpoint before, of which an old copy of the database exists. */
  readonly older: number;
  /** 60: a control event, which puts entries under a hold. */
  readonly hold: number;
  /** 120: where single entries are attacked. */
  readonly target: number;
  /** 150: the entry whose receipt a client holds. */
  readonly receipt: number;
  /** 250: where the tail is cut off. */
  readonly cut: number;
}

/** What others hold, beyond the reach of whoever attacks the ledger. */
export interface Held {
  /** Policy that a reader pins: log key and genesis. */
  readonly policy: string;
  /** Checkpoint note of all entries, from a client's last visit. */
  readonly checkpoint: string;
  /** Receipt of one entry, made at the checkpoint before. */
  readonly receipt: string;
}

/** A ledger on disk with everything around it. All of it lies in one folder. */
export interface Victim {
  readonly folder: string;
  readonly path: string;
  readonly statePath: string;
  readonly oldCopyPath: string;
  readonly origin: string;
  readonly at: Positions;
  readonly held: Held;
  /** The operator's. */
  readonly signer: Signer;
  readonly driver: SqliteDriver;
}

export interface VictimOptions {
  readonly folder: string;
  readonly driver: SqliteDriver;
  readonly entries: number;
  readonly seed: string;
  /** Path of a ledger to copy events from; those that are missing are invented. */
  readonly source?: string;
}

const START_MS = Date.UTC(2026, 0, 1);

/** Positions in a victim of `size` entries. */
export function positionsOf(size: number): Positions {
  const at = (numerator: number, denominator: number): number => Math.floor((size * numerator) / denominator);
  return { size, older: at(2, 3), hold: at(1, 5), target: at(2, 5), receipt: at(1, 2), cut: at(5, 6) };
}

/** Builds a ledger as its operator would, with the engine alone, under a throwaway origin, key and state directory. */
export async function buildVictim(options: VictimOptions): Promise<Victim> {
  const { folder, driver, entries, seed } = options;
  const random = seededRandom(`${seed} victim`);
  const clock = seededClock(START_MS);
  const at = positionsOf(entries);
  mkdirSync(folder);
  const place = placeIn(folder);
  const signer = logSignerFromSeed("ed25519", random.fill(new Uint8Array(32)));
  const origin = "attack.invalid/victim";
  const parts = { ...place, origin, signer, driver };
  const events = await eventsFor(options, random);
  // Genesis and a hold are the control events; the others come from the list.
  const take = (count: number): VictimEvent[] => events.splice(0, count);

  const young = await openVictim(parts, { create: "if-missing", clock, random });
  await appendInOrder(young, take(at.hold - 1));
  await young.keys.placeHold("case-17", { first: 1, last: at.hold - 1, reason: "litigation" });
  await appendInOrder(young, take(at.older - at.hold - 1));
  const receipt = await young.prove(at.receipt);
  const policy = young.policy();
  await young.close();
  copyFileSync(place.path, place.oldCopyPath);

  const grown = await openVictim(parts, { clock, random });
  await appendInOrder(grown, take(at.size - at.older));
  const checkpoint = await grown.checkpoint();
  // Filters are built in idle time, which this ledger does not have.
  await grown.reindex();
  await grown.close();
  return { ...place, folder, origin, at, held: { policy, checkpoint, receipt }, signer, driver };
}

function placeIn(folder: string): Pick<Victim, "path" | "statePath" | "oldCopyPath"> {
  return {
    path: join(folder, "audit.db"),
    statePath: join(folder, "state"),
    oldCopyPath: join(folder, "old-copy.db"),
  };
}

async function eventsFor({ entries, source, driver }: VictimOptions, random: Random): Promise<VictimEvent[]> {
  const copied = source === undefined ? [] : await copyEvents(source, entries, driver);
  return [...copied, ...inventEvents(entries - copied.length, random)];
}

/**
 * Opens a victim for writing, as its operator does: with the boot check against the lock store and against what the state
 * directory remembers of the path.
 */
export function openVictim(
  victim: Pick<Victim, "path" | "statePath" | "origin" | "signer" | "driver">,
  options: Pick<OpenOptions, "create" | "clock" | "random"> = {},
): Promise<Ledger> {
  const { path, statePath, origin, signer, driver } = victim;
  return Ledger.open(path, {
    create: "never",
    // Timers of this clock never fire: nothing is signed or indexed but when it is asked for.
    clock: seededClock(START_MS),
    ...options,
    origin,
    signer,
    driver,
    state: statePath,
    // Nobody need hear that a throwaway ledger was made.
    notify: () => {},
  });
}

/** Queued in one go; the engine keeps the order of the calls. */
async function appendInOrder(ledger: Ledger, events: readonly VictimEvent[]): Promise<void> {
  await Promise.all(events.map(({ event, scheme }) => ledger.append(event, { scheme })));
}

/** The same victim in another folder: database, old copy, state directory with the lock store, which knows the new path. */
export function copyVictim(victim: Victim, folder: string): Victim {
  cpSync(victim.folder, folder, { recursive: true });
  const copy = { ...victim, ...placeIn(folder), folder };
  const state = openState({ dir: copy.statePath });
  const known = state.recallPath(victim.path);
  if (known !== undefined) {
    state.forgetPath(victim.path);
    state.rememberPath(copy.path, known);
  }
  return copy;
}
