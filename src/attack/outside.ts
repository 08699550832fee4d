import { formatVerifierKey } from "../core/note.ts";
import { parsePolicy } from "../core/policy.ts";
import { logSignerFromSeed } from "../keys/local-signer.ts";
import { type Mirrored, mirrorLedger } from "../ledger/mirror.ts";
import type { Signer } from "../ledger/signer.ts";
import type { Witness } from "../ledger/witness.ts";
import { filesystemArchive } from "../storage/archive/filesystem.ts";
import type { SqliteDriver } from "../storage/sqlite-driver.ts";
import { httpWitness } from "../witness/client.ts";
import { createWitness } from "../witness/server.ts";
import { sqliteWitnessStore } from "../witness/witness-store.ts";
import type { Victim } from "./victim.ts";

/** Time at which everything in a victim happens. */
export const OUTSIDE_MS: number = Date.UTC(2026, 0, 1);

/** A witness that nobody of the victim's machine reaches but by asking it. */
export interface OutsideWitness {
  /** Key name. */
  readonly name: string;
  readonly vkey: string;
  readonly signer: Signer;
  /** Its memory. */
  readonly databasePath: string;
}

export function witnessFromSeed(seed: Uint8Array, databasePath: string): OutsideWitness {
  const name = "witness.invalid/w";
  const signer = logSignerFromSeed("ed25519", seed);
  return { name, signer, databasePath, vkey: formatVerifierKey({ name, type: 4, publicKey: signer.publicKey }) };
}

/** The real client and the real server of a witness, without a network between them. */
export function openWitness({
  witness,
  origin,
  policy,
  driver,
}: {
  readonly witness: OutsideWitness;
  readonly origin: string;
  /** Names the keys of the log, which the witness knows. */
  readonly policy: string;
  readonly driver: SqliteDriver;
}): { readonly client: Witness; close(): void } {
  const { name, signer, vkey, databasePath } = witness;
  const store = sqliteWitnessStore({ path: databasePath, driver });
  const logs = new Map([[origin, parsePolicy(policy).logKeys]]);
  const server = createWitness({ name, signer, logs, store, now: () => OUTSIDE_MS });
  const call = (input: string | URL | Request, init?: RequestInit): Promise<Response> =>
    server.fetch(new Request(input, init));
  return {
    client: httpWitness({ name: "w", vkey, url: "http://witness.invalid", fetch: call }),
    close: () => store.close(),
  };
}

/** The mirror follows what is published now. Errors: those of `mirrorLedger`. */
export function followVictim({
  publishedPath,
  mirrorPath,
  held,
}: Pick<Victim, "publishedPath" | "mirrorPath"> & { readonly held: { readonly policy: string } }): Promise<Mirrored> {
  return mirrorLedger({
    source: filesystemArchive(publishedPath),
    target: filesystemArchive(mirrorPath),
    policy: parsePolicy(held.policy),
  });
}
