import { copyFileSync, writeFileSync } from "node:fs";
import { canonicalize } from "../core/canonical-json.ts";
import { leafHashHex, parseEntry } from "../core/entry.ts";
import { parseEvent } from "../core/event.ts";
import { openState } from "../keys/index.ts";
import { logSignerFromSeed } from "../keys/local-signer.ts";
import { vkeyOf } from "../ledger/genesis.ts";
import type { Random } from "../ledger/random.ts";
import type { Signer } from "../ledger/signer.ts";
import { sqliteLockStore } from "../storage/lock-store/sqlite.ts";
import { digestOf } from "../storage/sqlite-statements.ts";
import { type LedgerFile, tamperWithFile } from "./ledger-file.ts";
import {
  type PlannedEntry,
  planOf,
  type RewriteOptions,
  type Rewritten,
  rewrite,
  signHead,
  type WrittenEntry,
} from "./rewriting.ts";
import { changed, hashOf, TAMPERINGS, type Tampering } from "./tamperings.ts";
import { openVictim, type Positions, type Victim } from "./victim.ts";

/** What somebody can do. From `write` to `lock` they do the same things, each with more at hand than the one before. */
export const ATTACKERS = [
  { id: "none", title: "nobody" },
  { id: "write", title: "write access to the database" },
  { id: "recompute", title: "… and every hash recomputed" },
  { id: "replay", title: "… and an older genuine checkpoint shown again" },
  { id: "key", title: "… and the stolen log key" },
  { id: "lock", title: "… and the lock store: the operator, or whoever has the whole machine" },
  { id: "append", title: "the operator, appending with key and lock store" },
  { id: "files", title: "another file put in place" },
  { id: "derived", title: "derived data alone edited" },
] as const;

export type AttackerId = (typeof ATTACKERS)[number]["id"];

/** One attack: a row of the table. */
export interface Attack {
  readonly id: string;
  readonly attacker: AttackerId;
  readonly title: string;
  /** The reader of the tampered ledger pins nothing. */
  readonly withoutPin?: boolean;
  run(prey: Prey): Promise<void> | void;
}

/** A victim under attack: what the attacker reaches, unless a row says more. */
export interface Prey {
  readonly victim: Victim;
  readonly random: Random;
}

function rewriteOptions(entries: readonly WrittenEntry[], { random }: Prey): RewriteOptions {
  return { hash: hashOf(entries), fill: (bytes) => random.fill(bytes) };
}

function tamper({ victim }: Prey, work: (file: LedgerFile) => Promise<void> | void): Promise<void> {
  return tamperWithFile(victim.path, victim.driver, work);
}

/** Rewrites the ledger by the plan of a tampering; returns what now stands there. */
function recompute(file: LedgerFile, tampering: Tampering, prey: Prey): Rewritten {
  const { at } = prey.victim;
  const entries = file.readEntries();
  const from = tampering.from(at);
  const plan = tampering.plan(planOf(entries), at);
  const rewritten = rewrite(entries.slice(0, from), plan.slice(from), rewriteOptions(entries, prey));
  file.writeAll(rewritten);
  return rewritten;
}

/** What each attacker adds to a tampering. */
const MEANS: readonly {
  readonly attacker: AttackerId;
  readonly run: (tampering: Tampering, prey: Prey) => Promise<void>;
}[] = [
  { attacker: "write", run: (tampering, prey) => tamper(prey, (file) => tampering.write(file, prey.victim.at)) },
  { attacker: "recompute", run: (tampering, prey) => tamper(prey, (file) => void recompute(file, tampering, prey)) },
  {
    attacker: "replay",
    run: (tampering, prey) =>
      tamper(prey, (file) => {
        recompute(file, tampering, prey);
        file.replaceCheckpoints(file.readCheckpoints().filter(({ size }) => size <= prey.victim.at.older));
      }),
  },
  {
    attacker: "key",
    run: (tampering, prey) =>
      tamper(prey, async (file) => {
        const { entries } = recompute(file, tampering, prey);
        await signAll(file, entries, prey.victim);
      }),
  },
  {
    attacker: "lock",
    async run(tampering, prey) {
      let signed = "";
      await tamper(prey, async (file) => {
        const { entries } = recompute(file, tampering, prey);
        signed = await signAll(file, entries, prey.victim);
      });
      await replaceLock(prey.victim, signed);
    },
  },
];

/** Checkpoints at the usual sizes, signed anew; returns the note of the last one. */
async function signAll(
  file: LedgerFile,
  entries: readonly WrittenEntry[],
  by: { readonly origin: string; readonly signer: Signer; readonly at: Positions },
): Promise<string> {
  const checkpoints: { size: number; note: string }[] = [];
  for (const size of [by.at.older, entries.length]) checkpoints.push({ size, note: await signHead(entries, size, by) });
  file.replaceCheckpoints(checkpoints);
  return checkpoints.at(-1)?.note ?? "";
}

/** Puts another checkpoint into the lock store and makes the machine forget the path, as only whoever has all of it can. */
async function replaceLock({ origin, path, statePath, driver }: Victim, note: string): Promise<void> {
  const state = openState({ dir: statePath });
  state.forgetPath(path);
  const lockStore = sqliteLockStore({ path: state.lockStorePath, driver });
  try {
    const record = await lockStore.fetch(origin);
    await lockStore.replace(origin, record?.note ?? null, note);
  } finally {
    await lockStore.close();
  }
}

/** Appends like the operator, who has the key and reaches the lock store: nobody outside has seen what comes now. */
async function appendAsOperator(
  prey: Prey,
  planned: (entries: readonly WrittenEntry[]) => readonly PlannedEntry[],
  extra: {
    readonly link?: (entries: readonly WrittenEntry[]) => string;
    readonly spoil?: (file: LedgerFile) => void;
  } = {},
): Promise<void> {
  const { victim } = prey;
  let signed = "";
  await tamper(prey, async (file) => {
    const entries = file.readEntries();
    const link = extra.link === undefined ? {} : { link: extra.link(entries) };
    const grown = rewrite(entries, planned(entries), { ...rewriteOptions(entries, prey), ...link });
    const size = grown.entries.length;
    signed = await signHead(grown.entries, size, victim);
    file.writeTail(grown, entries.length);
    file.replaceCheckpoints([...file.readCheckpoints(), { size, note: signed }]);
    extra.spoil?.(file);
  });
  await replaceLock(victim, signed);
}

/** An entry to append, at the time of the last one. */
function appended(entries: readonly WrittenEntry[], event: object, scheme: PlannedEntry["scheme"]): PlannedEntry {
  return { body: canonicalize(event), scheme, time: parseEntry(entries.at(-1)?.entry ?? "").time };
}

/** The whole ledger under a key of the attacker's, genesis included. */
function rewriteUnderAnotherKey(prey: Prey): Promise<void> {
  const { victim, random } = prey;
  const signer = logSignerFromSeed("ed25519", random.fill(new Uint8Array(32)));
  return tamper(prey, async (file) => {
    const stored = file.readEntries();
    const [genesis, ...rest] = planOf(stored) as [PlannedEntry, ...PlannedEntry[]];
    const event = parseEvent(genesis.body);
    const payload = { ...(event.payload as object), logKeys: [vkeyOf(victim.origin, signer)] };
    const plan = [{ ...genesis, body: canonicalize({ ...event, payload }) }, ...rest.map(changed)];
    const rewritten = rewrite([], plan, rewriteOptions(stored, prey));
    file.writeAll(rewritten);
    await signAll(file, rewritten.entries, { ...victim, signer });
  });
}

const OTHERS: readonly Attack[] = [
  {
    id: "bad-link",
    attacker: "append",
    title: "an entry linked to another history",
    run: (prey) =>
      appendAsOperator(
        prey,
        (entries) => [appended(entries, { action: "access.granted", actor: "mallory" }, "event")],
        {
          link: (entries) => leafHashHex(entries.at(-2)?.entry ?? ""),
        },
      ),
  },
  {
    id: "vanished-control",
    attacker: "append",
    title: "a hold removed by an erasure",
    run: (prey) => {
      const { hold } = prey.victim.at;
      const erasure = (entries: readonly WrittenEntry[]): object => ({
        action: "ledger.erasure",
        payload: { entries: [{ index: hold, leaf: leafHashHex(entries[hold]?.entry ?? "") }], reason: "retention" },
      });
      return appendAsOperator(prey, (entries) => [appended(entries, erasure(entries), "control")], {
        spoil: ({ db }) => void db.prepare("UPDATE entries SET body = NULL, salts = NULL WHERE idx = ?").run(hold),
      });
    },
  },
  {
    id: "weakened-rules",
    attacker: "append",
    title: "weaker rules, and a reader who pins nothing",
    // A pinned policy decides by itself whether signatures are required: spec/policy.md 17.
    withoutPin: true,
    async run(prey) {
      const strict = await openVictim(prey.victim);
      await strict.keys.changeRules({ requireSignature: true });
      await strict.close();
      const weak = { action: "ledger.rules.changed", payload: { rules: { requireSignature: false } } };
      await appendAsOperator(prey, (entries) => [
        appended(entries, weak, "control"),
        appended(entries, { action: "access.granted", actor: "mallory" }, "event"),
      ]);
    },
  },
  {
    id: "old-copy",
    attacker: "files",
    title: "an old copy of the ledger",
    run: ({ victim }) => copyFileSync(victim.oldCopyPath, victim.path),
  },
  {
    id: "wiped",
    attacker: "files",
    title: "an empty file",
    run: ({ victim }) => writeFileSync(victim.path, ""),
  },
  {
    id: "other-key",
    attacker: "files",
    title: "rewritten under another key",
    run: rewriteUnderAnotherKey,
  },
  {
    id: "other-key-no-pin",
    attacker: "files",
    title: "another key, and a reader who pins nothing",
    withoutPin: true,
    run: rewriteUnderAnotherKey,
  },
  {
    id: "id-index",
    attacker: "derived",
    title: "id index",
    // An event with this id would be taken for one that is there already.
    run: (prey) =>
      tamper(prey, ({ db }) => {
        db.prepare("INSERT INTO ids(digest, idx) VALUES (?, ?)").run(
          digestOf("attack.invalid/planted"),
          prey.victim.at.target,
        );
      }),
  },
  {
    id: "filter",
    attacker: "derived",
    title: "search filter",
    // An empty filter: searches skip the block and find nothing of it.
    run: (prey) =>
      tamper(prey, ({ db }) => {
        db.exec(
          "UPDATE filters SET bits = NULL WHERE block = 0; INSERT INTO filters(block, bits) VALUES (0, zeroblob(2048))",
        );
      }),
  },
  {
    id: "tile",
    attacker: "derived",
    title: "tile",
    run: (prey) =>
      tamper(
        prey,
        ({ db }) =>
          void db.exec("UPDATE tiles SET hashes = CAST(zeroblob(32) || substr(hashes, 33) AS BLOB) WHERE id = 0"),
      ),
  },
];

/** Every attack, in the order of the table; the first one does nothing, and nothing may be noticed. */
export const ATTACKS: readonly Attack[] = [
  { id: "untouched", attacker: "none", title: "untouched ledger", run: () => {} },
  ...MEANS.flatMap(({ attacker, run }) =>
    TAMPERINGS.map(
      (tampering): Attack => ({
        id: `${tampering.id}/${attacker}`,
        attacker,
        title: tampering.title,
        run: (prey) => run(tampering, prey),
      }),
    ),
  ),
  ...OTHERS,
];
