import { cpSync, rmSync, writeFileSync } from "node:fs";
import { canonicalize } from "../core/canonical-json.ts";
import { parseCheckpoint } from "../core/checkpoint.ts";
import { encodeHex, encodeUtf8 } from "../core/encoding.ts";
import { formatTime, leafHashHex, parseEntry, parseTime } from "../core/entry.ts";
import { isTallystickError } from "../core/errors.ts";
import { parseEvent } from "../core/event.ts";
import { sha256 } from "../core/hash.ts";
import {
  cosignNote,
  formatNote,
  formatSignatureLine,
  formatVerifierKey,
  type NoteSignature,
  parseNote,
  type SignedNote,
  signNote,
} from "../core/note.ts";
import { proveConsistency } from "../core/proof.ts";
import { openState } from "../keys/index.ts";
import { logSignerFromSeed } from "../keys/local-signer.ts";
import { loadState } from "../ledger/control-log.ts";
import { vkeyOf } from "../ledger/genesis.ts";
import { publishLedger } from "../ledger/publish.ts";
import type { Random } from "../ledger/random.ts";
import { RightEdge } from "../ledger/right-edge.ts";
import type { Signer } from "../ledger/signer.ts";
import type { StoredCheckpoint } from "../ledger/storage.ts";
import { filesystemArchive } from "../storage/archive/filesystem.ts";
import { sqliteLockStore } from "../storage/lock-store/sqlite.ts";
import { openSqliteStorage } from "../storage/sqlite.ts";
import { digestOf } from "../storage/sqlite-statements.ts";
import { type LedgerFile, tamperWithFile } from "./ledger-file.ts";
import { OUTSIDE_MS, type OutsideWitness, openWitness } from "./outside.ts";
import { authorityFromSeed, stampWith } from "./outside-time.ts";
import {
  type PlannedEntry,
  planOf,
  type RewriteOptions,
  type Rewritten,
  rewrite,
  signHead,
  tileReaderOf,
  type WrittenEntry,
} from "./rewriting.ts";
import { changed, hashOf, invented, regrown, TAMPERINGS, type Tampering } from "./tamperings.ts";
import { openVictim, type Victim, type VictimPlaces } from "./victim.ts";

/** What somebody can do. From `write` to `lock` they do the same things, each with more at hand than the one before. */
export const ATTACKERS = [
  { id: "none", title: "nobody" },
  { id: "write", title: "write access to the database" },
  { id: "recompute", title: "… and every hash recomputed" },
  { id: "replay", title: "… and an older genuine checkpoint shown again" },
  { id: "key", title: "… and the stolen log key" },
  { id: "lock", title: "… and the lock store: the operator, or whoever has the whole machine" },
  { id: "append", title: "the operator, appending with key and lock store" },
  { id: "fork", title: "the operator, with two signed histories, published and shown" },
  { id: "time", title: "the operator, about when" },
  { id: "backup", title: "put back from a backup" },
  { id: "files", title: "another file put in place" },
  { id: "signatures", title: "signatures and keys alone" },
  { id: "derived", title: "derived data alone edited" },
] as const;

export type AttackerId = (typeof ATTACKERS)[number]["id"];

/** One attack: a row of the table. */
export interface Attack {
  readonly id: string;
  readonly attacker: AttackerId;
  readonly title: string;
  readonly reader?: AttackedReader;
  run(prey: Prey): Promise<void> | void;
}

/** In what the reader of the tampered ledger differs from the usual one. */
export interface AttackedReader {
  /** Pins nothing. */
  readonly withoutPin?: boolean;
  /** Was there last at the checkpoint before. */
  readonly sawOlder?: boolean;
  /** Was given another policy with the witness as the quorum. */
  readonly witnessPolicy?: (victim: Victim) => string;
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

/** What stands in the place of anchors that a rewrite contradicts: nothing, or others that the attacker got. */
type AnchorAnew = (entries: readonly WrittenEntry[], count: number) => Promise<readonly ForgedAnchor[]>;

/** An entry that records an anchor, and what belongs to it. */
interface ForgedAnchor {
  readonly planned: PlannedEntry;
  readonly note: Uint8Array;
  readonly proof: Uint8Array;
}

/**
 * Rewrites the ledger by the plan of a tampering; returns what now stands there. Anchors of the old history would give it away, so they
 * are taken out, and others, or as many events that never happened, stand at the end.
 */
async function recompute(
  file: LedgerFile,
  tampering: Tampering,
  prey: Prey,
  anchorAnew: AnchorAnew = async () => [],
): Promise<Rewritten> {
  const { at } = prey.victim;
  const entries = file.readEntries();
  const from = tampering.from(at);
  const plan = tampering.plan(planOf(entries), at).slice(from);
  return rewriteWithout(file, { kept: entries.slice(0, from), plan, anchorAnew }, rewriteOptions(entries, prey));
}

async function rewriteWithout(
  file: LedgerFile,
  {
    kept,
    plan,
    anchorAnew,
  }: {
    readonly kept: readonly WrittenEntry[];
    readonly plan: readonly PlannedEntry[];
    readonly anchorAnew: AnchorAnew;
  },
  options: RewriteOptions,
): Promise<Rewritten> {
  const staying = plan.filter(({ body }) => parseEvent(body).action !== "ledger.anchor");
  const lost = plan.length - staying.length;
  if (lost === 0) {
    const rewritten = rewrite(kept, plan, options);
    file.writeAll(rewritten);
    return rewritten;
  }
  const base = rewrite(kept, staying, options);
  const forged = await anchorAnew(base.entries, lost);
  const last = planOf(base.entries.slice(-1));
  const filling = Array.from({ length: lost - forged.length }, (_, i) => invented(last, i));
  const rewritten = rewrite(base.entries, [...filling, ...forged.map(({ planned }) => planned)], options);
  file.writeAll(rewritten);
  const first = rewritten.entries.length - forged.length;
  file.replaceAnchors(
    forged.map(({ note, proof }, i) => ({ index: first + i, note, proof })),
    kept.length,
  );
  return rewritten;
}

/** When the attack happens: what stands outside says so, whatever the ledger claims. */
const ATTACK_MS: number = OUTSIDE_MS + 30 * 86_400_000;

/** The entry of an anchor at a time that the ledger claims. */
function anchorOf(kind: string, note: string, proof: Uint8Array, timeMs: number): ForgedAnchor {
  const { size, root } = parseCheckpoint(parseNote(note).text);
  const bytes = encodeUtf8(note);
  const hashes = { note: encodeHex(sha256(bytes)), proof: encodeHex(sha256(proof)) };
  const body = canonicalize({ action: "ledger.anchor", payload: { kind, root: encodeHex(root), size, ...hashes } });
  return { planned: { body, scheme: "control", time: formatTime(timeMs) }, note: bytes, proof };
}

/** What those outside give to anybody who asks: they stamp every history, and today. */
async function anchorsOfToday(
  victim: Victim,
  entries: readonly WrittenEntry[],
  claimedMs: number = ATTACK_MS,
): Promise<readonly ForgedAnchor[]> {
  const note = await signHead(entries, entries.length, victim);
  const digest = sha256(encodeUtf8(note));
  return [
    anchorOf("rfc3161", note, await stampWith(victim.authority, digest, ATTACK_MS), claimedMs),
    anchorOf("opentimestamps", note, victim.chain.confirm(digest, ATTACK_MS), claimedMs),
  ];
}

/** What each attacker adds to a tampering. */
const MEANS: readonly {
  readonly attacker: AttackerId;
  readonly run: (tampering: Tampering, prey: Prey) => Promise<void>;
}[] = [
  { attacker: "write", run: (tampering, prey) => tamper(prey, (file) => tampering.write(file, prey.victim.at)) },
  {
    attacker: "recompute",
    run: (tampering, prey) => tamper(prey, async (file) => void (await recompute(file, tampering, prey))),
  },
  {
    attacker: "replay",
    run: (tampering, prey) =>
      tamper(prey, async (file) => {
        await recompute(file, tampering, prey);
        const isOlder = ({ size }: StoredCheckpoint): boolean => size <= prey.victim.at.older;
        file.replaceCheckpoints(file.readCheckpoints().filter(isOlder));
        file.replaceCosigned(file.readCosigned().filter(isOlder));
      }),
  },
  {
    attacker: "key",
    run: (tampering, prey) =>
      tamper(prey, async (file) => {
        const { entries } = await recompute(file, tampering, prey, (now) => anchorsOfToday(prey.victim, now));
        await signAll(file, entries, prey.victim);
      }),
  },
  {
    attacker: "lock",
    run: (tampering, prey) =>
      asOperator(prey, async (file) => {
        const { entries } = await recompute(file, tampering, prey, (now) => anchorsOfToday(prey.victim, now));
        return signAll(file, entries, prey.victim);
      }),
  },
];

/**
 * Checkpoints at the usual sizes, signed anew; returns the note of the last one. A witness is asked to cosign it, and nothing is
 * shown that a witness cosigned of what was there before.
 */
async function signAll(file: LedgerFile, entries: readonly WrittenEntry[], by: Victim): Promise<string> {
  const checkpoints: { size: number; note: string }[] = [];
  for (const size of [by.at.older, entries.length]) checkpoints.push({ size, note: await signHead(entries, size, by) });
  file.replaceCheckpoints(checkpoints);
  const { size, note } = checkpoints.at(-1) as StoredCheckpoint;
  const cosigned = await seekCosignature(by, entries, { size, note });
  file.replaceCosigned(cosigned === null ? [] : [{ size, note: cosigned }]);
  return note;
}

/** The note with the cosignature of the witness, which is asked as any log asks it; null where it refuses. */
async function seekCosignature(
  victim: Victim,
  entries: readonly WrittenEntry[],
  { size, note }: StoredCheckpoint,
): Promise<string | null> {
  const { client, close } = openWitness({ ...victim, policy: victim.held.policy });
  try {
    const last = await client.latest(victim.origin);
    const oldSize = last == null ? 0 : parseCheckpoint(parseNote(last).text).size;
    const isNewer = oldSize > 0 && oldSize < size;
    const proof = isNewer ? await proveConsistency(oldSize, size, tileReaderOf(entries)) : [];
    const answer = await client.addCheckpoint({ oldSize, proof, note });
    return answer.kind === "cosigned" ? note + answer.lines.join("") : null;
  } finally {
    close();
  }
}

/**
 * Tampers as somebody who has all of the operator's: signs with the key, replaces what the lock store holds, makes the machine
 * forget the path, and publishes the result. `work` returns the note to go into the lock store.
 */
async function asOperator(prey: Prey, work: (file: LedgerFile) => Promise<string>): Promise<void> {
  const { victim } = prey;
  let signed = "";
  await tamper(prey, async (file) => {
    signed = await work(file);
  });
  const { origin, path, statePath, driver } = victim;
  const state = openState({ dir: statePath });
  state.forgetPath(path);
  const lockStore = sqliteLockStore({ path: state.lockStorePath, driver });
  try {
    const record = await lockStore.fetch(origin);
    await lockStore.replace(origin, record?.note ?? null, signed);
  } finally {
    await lockStore.close();
  }
  await republish(victim, signed);
}

/** Publishes the ledger up to `note`. Where that does not continue what is published, all of it is published anew. */
async function republish({ path, old, publishedPath, driver }: Victim, note: string): Promise<void> {
  const backup = await openSqliteStorage(old.path, { readOnly: true, driver });
  // The attacker knows the keys, also where what is left of the ledger does not tell them.
  const { state } = await loadState(backup);
  await backup.close();
  const storage = await openSqliteStorage(path, { readOnly: true, driver });
  const publish = async (): Promise<void> => {
    const archive = filesystemArchive(publishedPath);
    await publishLedger({ storage, state, edge: await RightEdge.load(storage), archive, note });
  };
  try {
    await publish().catch(async (error: unknown) => {
      if (!isTallystickError(error) || (error.code !== "forked" && error.code !== "rolled-back")) throw error;
      rmSync(publishedPath, { recursive: true });
      await publish();
    });
  } finally {
    await storage.close();
  }
}

/** Appends like the operator, who has the key and reaches the lock store: nobody outside has seen what comes now. */
function appendAsOperator(
  prey: Prey,
  planned: (entries: readonly WrittenEntry[]) => readonly PlannedEntry[],
  extra: {
    readonly link?: (entries: readonly WrittenEntry[]) => string;
    readonly spoil?: (file: LedgerFile) => void;
  } = {},
): Promise<void> {
  const { victim } = prey;
  return asOperator(prey, async (file) => {
    const entries = file.readEntries();
    const link = extra.link === undefined ? {} : { link: extra.link(entries) };
    const grown = rewrite(entries, planned(entries), { ...rewriteOptions(entries, prey), ...link });
    const size = grown.entries.length;
    const note = await signHead(grown.entries, size, victim);
    file.writeTail(grown, entries.length);
    file.replaceCheckpoints([...file.readCheckpoints(), { size, note }]);
    const cosigned = await seekCosignature(victim, grown.entries, { size, note });
    if (cosigned !== null) file.replaceCosigned([...file.readCosigned(), { size, note: cosigned }]);
    extra.spoil?.(file);
    return note;
  });
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
    const parts = { kept: [], plan, anchorAnew: async () => [] };
    const rewritten = await rewriteWithout(file, parts, rewriteOptions(stored, prey));
    await signAll(file, rewritten.entries, { ...victim, signer });
  });
}

/** Appends as the operator: an event at the time of the last one, and anchors over it. */
function appendAnchored(
  prey: Prey,
  anchors: (entries: readonly WrittenEntry[]) => Promise<readonly ForgedAnchor[]>,
): Promise<void> {
  const { victim } = prey;
  return asOperator(prey, async (file) => {
    const stored = file.readEntries();
    const options = rewriteOptions(stored, prey);
    const event = { action: "access.granted", actor: "mallory", id: "attack.invalid/appended" };
    const { entries } = rewrite(stored, [appended(stored, event, "event")], options);
    const forged = await anchors(entries);
    const grown = rewrite(
      entries,
      forged.map(({ planned }) => planned),
      options,
    );
    const size = grown.entries.length;
    const note = await signHead(grown.entries, size, victim);
    file.writeTail(grown, stored.length);
    file.replaceAnchors(
      forged.map((one, i) => ({ index: entries.length + i, note: one.note, proof: one.proof })),
      stored.length,
    );
    file.replaceCheckpoints([...file.readCheckpoints(), { size, note }]);
    const cosigned = await seekCosignature(victim, grown.entries, { size, note });
    if (cosigned !== null) file.replaceCosigned([...file.readCosigned(), { size, note: cosigned }]);
    return note;
  });
}

/** New events from `first` on under links, signatures and, where a witness grants it, a cosignature of their own. */
async function forkFrom(first: number, file: LedgerFile, prey: Prey): Promise<string> {
  const entries = file.readEntries();
  const plan = regrown(planOf(entries), first).slice(first);
  const forked = rewrite(entries.slice(0, first), plan, rewriteOptions(entries, prey));
  file.writeAll(forked);
  return signAll(file, forked.entries, prey.victim);
}

/** What can be put back: parts of a victim that its operator's machine holds. */
const BACKUPS: readonly {
  readonly id: string;
  readonly title: string;
  readonly parts: readonly (keyof VictimPlaces)[];
}[] = [
  { id: "old-copy", title: "the database", parts: ["path"] },
  { id: "old-lock-store", title: "the lock store", parts: ["statePath"] },
  { id: "old-published", title: "the published copy", parts: ["publishedPath"] },
  { id: "old-copy-and-lock-store", title: "database and lock store", parts: ["path", "statePath"] },
  { id: "all-old", title: "all of them together", parts: ["path", "statePath", "publishedPath"] },
];

function restore(victim: Victim, parts: readonly (keyof VictimPlaces)[]): void {
  for (const part of parts) {
    rmSync(victim[part], { recursive: true });
    cpSync(victim.old[part], victim[part], { recursive: true });
  }
}

/** Every note that is shown, changed. */
async function changeNotes(file: LedgerFile, change: (note: SignedNote) => Promise<string> | string): Promise<void> {
  const changed = (notes: readonly StoredCheckpoint[]): Promise<StoredCheckpoint[]> =>
    Promise.all(notes.map(async ({ size, note }) => ({ size, note: await change(parseNote(note)) })));
  file.replaceCheckpoints(await changed(file.readCheckpoints()));
  file.replaceCosigned(await changed(file.readCosigned()));
}

/** Each line with a signature by the attacker's key, under the name and key ID that stood there. */
async function signWithOwnKey({ text, signatures }: SignedNote, { victim, random }: Prey): Promise<string> {
  const signer = logSignerFromSeed("ed25519", random.fill(new Uint8Array(32)));
  const lines: string[] = [];
  for (const { name, keyId } of signatures) {
    const line =
      name === victim.origin
        ? await signNote(text, name, signer)
        : await cosignNote(text, name, signer, { time: OUTSIDE_MS / 1_000 });
    const [own] = parseNote(formatNote(text, [line])).signatures as [NoteSignature];
    lines.push(formatSignatureLine(name, keyId, own.signature));
  }
  return formatNote(text, lines);
}

/** A second key of the same witness's operator, and one of somebody else: derived from nothing but a name. */
function keyNamed(name: string): { readonly signer: Signer; readonly vkey: string } {
  const signer = logSignerFromSeed("ed25519", sha256(encodeUtf8(name)));
  return { signer, vkey: formatVerifierKey({ name, type: 4, publicKey: signer.publicKey }) };
}
const SECOND_KEY = "witness.invalid/w-second";
const SOMEBODY_ELSE = "elsewhere.invalid/w";

/** Two of three, two of which one operator runs; the policy says so. */
function withOperators(policy: string): string {
  const lines = [
    ...[`witness second ${keyNamed(SECOND_KEY).vkey}`, `witness elsewhere ${keyNamed(SOMEBODY_ELSE).vkey}`],
    ...["group most 2 w second elsewhere", "quorum most", "#tallystick operator one w second"],
  ];
  return policy.replace(/^quorum .*$/m, lines.join("\n"));
}

async function cosignAgain({ text, signatures }: SignedNote): Promise<string> {
  const line = await cosignNote(text, SECOND_KEY, keyNamed(SECOND_KEY).signer, { time: OUTSIDE_MS / 1_000 });
  return formatNote(text, [...signatures.map((signature) => signature.line), line]);
}

/** The policy as somebody would write it who wants one witness to make a quorum of two. */
function withWitnessTwice(policy: string, { vkey }: OutsideWitness): string {
  const lines = [`witness other ${vkey}`, "group both all w other", "quorum both"];
  return policy.replace(/^quorum .*$/m, lines.join("\n"));
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
    title: "weaker rules, to a reader without a pin",
    // A pinned policy decides by itself whether signatures are required: spec/policy.md 17.
    reader: { withoutPin: true },
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
    id: "same-size-fork",
    attacker: "fork",
    title: "same-size fork: another last entry",
    run: (prey) => asOperator(prey, (file) => forkFrom(prey.victim.at.size - 1, file, prey)),
  },
  {
    id: "split-view",
    attacker: "fork",
    title: "split view: the reader left before it",
    reader: { sawOlder: true },
    run: (prey) => asOperator(prey, (file) => forkFrom(prey.victim.at.cut, file, prey)),
  },
  {
    id: "back-dating",
    attacker: "time",
    title: "a month back-dated, and anchored",
    run: (prey) =>
      appendAnchored(prey, (entries) => {
        const claimed = parseTime(parseEntry(entries.at(-1)?.entry ?? "").time);
        return anchorsOfToday(prey.victim, entries, claimed);
      }),
  },
  {
    id: "other-token",
    attacker: "time",
    title: "a time stamp of another checkpoint",
    run: (prey) =>
      appendAnchored(prey, async (entries) => {
        const { authority, held } = prey.victim;
        const note = await signHead(entries, entries.length, prey.victim);
        const token = await stampWith(authority, sha256(encodeUtf8(held.olderCheckpoint)), OUTSIDE_MS);
        return [anchorOf("rfc3161", note, token, OUTSIDE_MS)];
      }),
  },
  {
    id: "forged-ots",
    attacker: "time",
    title: "a proof in a block that does not have it",
    run: (prey) =>
      appendAnchored(prey, async (entries) => {
        const note = await signHead(entries, entries.length, prey.victim);
        const proof = prey.victim.chain.forge(sha256(encodeUtf8(note)));
        return [anchorOf("opentimestamps", note, proof, OUTSIDE_MS)];
      }),
  },
  {
    id: "own-authority",
    attacker: "time",
    title: "an edit, stamped by an authority of his own",
    run: (prey) =>
      asOperator(prey, async (file) => {
        const { victim, random } = prey;
        const own = await authorityFromSeed(random.fill(new Uint8Array(32)));
        const edit = TAMPERINGS.find(({ id }) => id === "edit") as Tampering;
        const { entries } = await recompute(file, edit, prey, async (now) => {
          const note = await signHead(now, now.length, victim);
          return [anchorOf("rfc3161", note, await stampWith(own, sha256(encodeUtf8(note)), OUTSIDE_MS), OUTSIDE_MS)];
        });
        return signAll(file, entries, victim);
      }),
  },
  ...BACKUPS.map(
    ({ id, title, parts }): Attack => ({ id, attacker: "backup", title, run: ({ victim }) => restore(victim, parts) }),
  ),
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
    title: "another key, to a reader with no pin",
    reader: { withoutPin: true },
    run: rewriteUnderAnotherKey,
  },
  {
    id: "stripped-cosignatures",
    attacker: "signatures",
    title: "cosignatures stripped",
    run: (prey) => tamper(prey, (file) => file.replaceCosigned([])),
  },
  {
    id: "stripped-signatures",
    attacker: "signatures",
    title: "all signatures stripped",
    run: (prey) => tamper(prey, (file) => changeNotes(file, ({ text }) => `${text}\n`)),
  },
  {
    id: "swapped-keys",
    attacker: "signatures",
    title: "keys swapped, names kept",
    run: (prey) => tamper(prey, (file) => changeNotes(file, (note) => signWithOwnKey(note, prey))),
  },
  {
    id: "one-witness-twice",
    attacker: "signatures",
    title: "one witness under two names",
    reader: { witnessPolicy: ({ held, witness }) => withWitnessTwice(held.witnessPolicy, witness) },
    // The policy that the operator hands out is the attack; the ledger is as it was.
    run: () => {},
  },
  {
    id: "one-operator-twice",
    attacker: "signatures",
    title: "one operator with two witness keys",
    reader: { witnessPolicy: ({ held }) => withOperators(held.witnessPolicy) },
    run: (prey) => tamper(prey, (file) => changeNotes(file, cosignAgain)),
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
