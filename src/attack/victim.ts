import { copyFileSync, cpSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { writeEvidencePackage } from "../compliance/evidence-package.ts";
import { parseVerifierKey } from "../core/note.ts";
import { formatPolicy, parsePolicy } from "../core/policy.ts";
import { logSignerFromSeed } from "../keys/local-signer.ts";
import type { Anchor, AnchorAnswer } from "../ledger/anchor.ts";
import type { Random } from "../ledger/random.ts";
import { seededClock, seededRandom } from "../ledger/seeded-random.ts";
import type { Signer } from "../ledger/signer.ts";
import { Ledger, type OpenOptions } from "../open.ts";
import { filesystemArchive } from "../storage/archive/filesystem.ts";
import type { SqliteDriver } from "../storage/sqlite-driver.ts";
import { followVictim, OUTSIDE_MS, type OutsideWitness, openWitness, witnessFromSeed } from "./outside.ts";
import { authorityFromSeed, type OutsideChain, outsideChain, stampWith, type TimeAuthority } from "./outside-time.ts";
import { copyEvents, inventEvents, type VictimEvent } from "./victim-events.ts";

/** Where things happen in a victim, all leaf indexes or sizes. Those of 300 entries stand beside. */
export interface Positions {
  /** 300: entries, and size of the latest checkpoint. */
  readonly size: number;
  /** 198: entries below are anchored; it and the next record a time stamp and a proof in a block. */
  readonly anchored: number;
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
  /** The same, with the witness as the quorum. */
  readonly witnessPolicy: string;
  /** Checkpoint note of all entries, from a client's last visit. */
  readonly checkpoint: string;
  /** Checkpoint note from the visit before. */
  readonly olderCheckpoint: string;
  /** Receipt of one entry, made at the checkpoint before. */
  readonly receipt: string;
  /** Evidence package of all entries, made at the last visit. */
  readonly package: Uint8Array;
  /** That of the visit before. */
  readonly olderPackage: Uint8Array;
}

/** Where the parts of a victim lie. */
export interface VictimPlaces {
  /** The database. */
  readonly path: string;
  /** State directory of the operator's machine, with the lock store in it. */
  readonly statePath: string;
  /** Folder in which the ledger is published. */
  readonly publishedPath: string;
}

/** A ledger on disk with everything around it. All that an attack can change lies in one folder. */
export interface Victim extends VictimPlaces {
  readonly folder: string;
  /** Backups of all three from the checkpoint before, beside that folder: they are only read. */
  readonly old: VictimPlaces;
  /** Folder of somebody else who follows what is published. */
  readonly mirrorPath: string;
  /** Somebody else, who cosigns. */
  readonly witness: OutsideWitness;
  /** Others who tell the time: an authority that readers pin, and a chain whose blocks they know. */
  readonly authority: TimeAuthority;
  readonly chain: OutsideChain;
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

/** Positions in a victim of `size` entries. */
export function positionsOf(size: number): Positions {
  const at = (numerator: number, denominator: number): number => Math.floor((size * numerator) / denominator);
  const older = at(2, 3);
  return { size, older, anchored: older - 2, hold: at(1, 5), target: at(2, 5), receipt: at(1, 2), cut: at(5, 6) };
}

/** Builds a ledger as its operator would, with the engine alone, under a throwaway origin, key and state directory. */
export async function buildVictim(options: VictimOptions): Promise<Victim> {
  const { folder, driver, entries, seed } = options;
  const random = seededRandom(`${seed} victim`);
  const clock = seededClock(OUTSIDE_MS);
  const at = positionsOf(entries);
  mkdirSync(folder);
  const place = placesIn(folder);
  const old = placesIn(join(dirname(folder), "old"));
  mkdirSync(dirname(old.path));
  const mirrorPath = join(folder, "mirror");
  const signer = logSignerFromSeed("ed25519", random.fill(new Uint8Array(32)));
  const witness = witnessFromSeed(random.fill(new Uint8Array(32)), join(folder, "witness.sqlite"));
  const authority = await authorityFromSeed(random.fill(new Uint8Array(32)));
  const chain = outsideChain();
  const origin = "attack.invalid/victim";
  const parts = { ...place, origin, signer, driver };
  const events = await eventsFor(options, random);
  // Genesis and a hold are the control events; the others come from the list.
  const take = (count: number): VictimEvent[] => events.splice(0, count);

  const made = await openVictim(parts, { create: "if-missing", clock, random });
  const policy = made.policy();
  await made.close();
  const witnessPolicy = withWitness(policy, witness);
  const asked = openWitness({ witness, origin, policy, driver });
  const witnesses = { policy: witnessPolicy, witnesses: [asked.client] };
  const published = filesystemArchive(place.publishedPath);
  try {
    const young = await openVictim(parts, { clock, random, witnesses });
    await appendInOrder(young, take(at.hold - 1));
    await young.keys.placeHold("case-17", { first: 1, last: at.hold - 1, reason: "litigation" });
    await appendInOrder(young, take(at.anchored - at.hold - 1));
    // One after the other, so that their places are known.
    for (const anchor of anchorsOf({ authority, chain })) await young.anchor({ anchors: [anchor] });
    const receipt = await young.prove(at.receipt);
    const olderCheckpoint = await young.checkpoint({ until: "witnessed" });
    await young.publish(published);
    const olderPackage = await packageOf(young, folder);
    await young.close();
    copyFileSync(place.path, old.path);
    cpSync(place.statePath, old.statePath, { recursive: true });
    cpSync(place.publishedPath, old.publishedPath, { recursive: true });

    const grown = await openVictim(parts, { clock, random, witnesses });
    await appendInOrder(grown, take(at.size - at.older));
    const checkpoint = await grown.checkpoint({ until: "witnessed" });
    await grown.publish(published);
    // Filters are built in idle time, which this ledger does not have.
    await grown.reindex();
    const latestPackage = await packageOf(grown, folder);
    await grown.close();
    await followVictim({ ...place, mirrorPath, held: { policy } });
    const packages = { package: latestPackage, olderPackage };
    const held = { policy, witnessPolicy, checkpoint, olderCheckpoint, receipt, ...packages };
    return { ...place, folder, old, mirrorPath, witness, authority, chain, origin, at, held, signer, driver };
  } finally {
    asked.close();
  }
}

/** Bytes of an evidence package of the whole ledger, as its operator hands it to an auditor. */
async function packageOf(ledger: Ledger, folder: string): Promise<Uint8Array> {
  const out = join(folder, "handed-out.zip");
  await writeEvidencePackage(ledger, { out });
  const bytes = readFileSync(out);
  rmSync(out);
  return bytes;
}

/** Both who tell the time, as the engine asks them. */
function anchorsOf({ authority, chain }: Pick<Victim, "authority" | "chain">): readonly Anchor[] {
  const proof = (bytes: Uint8Array): AnchorAnswer => ({ kind: "proof", proof: bytes, complete: true, failures: [] });
  return [
    {
      ...{ kind: "rfc3161", name: "tsa.invalid" },
      submit: async (digest) => proof(await stampWith(authority, digest, OUTSIDE_MS)),
    },
    {
      ...{ kind: "opentimestamps", name: "calendar.invalid" },
      submit: async (digest) => proof(chain.confirm(digest, OUTSIDE_MS)),
    },
  ];
}

function placesIn(folder: string): VictimPlaces {
  return {
    path: join(folder, "audit.db"),
    statePath: join(folder, "state"),
    publishedPath: join(folder, "published"),
  };
}

/** The policy with the witness's cosignature as the quorum. */
function withWitness(policy: string, { vkey }: OutsideWitness): string {
  const witnesses = [{ name: "w", key: parseVerifierKey(vkey), url: null }];
  return formatPolicy({ ...parsePolicy(policy), witnesses, quorum: "w" });
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
  options: Pick<OpenOptions, "create" | "clock" | "random" | "witnesses" | "published"> = {},
): Promise<Ledger> {
  const { path, statePath, origin, signer, driver } = victim;
  return Ledger.open(path, {
    create: "never",
    // Timers of this clock never fire: nothing is signed or indexed but when it is asked for.
    clock: seededClock(OUTSIDE_MS),
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
