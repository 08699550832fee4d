import type { Event } from "../../src/core/event.ts";
import { cosignNote, formatVerifierKey, parseNote, parseVerifierKey } from "../../src/core/note.ts";
import { formatPolicy, parsePolicy } from "../../src/core/policy.ts";
import { logSignerFromSeed } from "../../src/keys/index.ts";
import type { Witness } from "../../src/ledger/witness.ts";
import type { Ledger } from "../../src/open.ts";
import { fakeCalendar, fakeTsa } from "../anchors/fakes.ts";
import { newPlace, openAt, type Place, tamper } from "./place.ts";
import { ALICE, LOG_KEY, login, ORIGIN, OTHER_KEY } from "./world.ts";

/**
 * A ledger in which every table has rows of every kind: two schemes, ids, an author's signed events with source counters, a
 * rotation, a hold, erased entries and fields (one twice, one signed), more than two blocks, checkpoints, cosignatures of a
 * witness that the pinned policy asks for, and anchors: a time stamp, and a promise that was upgraded.
 */
export interface Rich {
  readonly place: Place;
  readonly policy: string;
  readonly last: string;
  /** Leaf indexes of one entry of each kind. */
  readonly at: Readonly<
    Record<
      | "genesis"
      | "author"
      | "plain"
      | "signed"
      | "fields"
      | "rotation"
      | "erased"
      | "erasedSigned"
      | "partial"
      | "erasure"
      | "last",
      number
    >
  >;
}

const PERSON: Event = {
  id: "person-1",
  action: "person.registered",
  actor: "desk",
  payload: { email: "a@example.org", name: "Ann", vip: true },
};

export async function buildRichLedger(): Promise<Rich> {
  const place = newPlace({ shared: true });
  const young = await openAt(place, { origin: ORIGIN, signer: LOG_KEY });
  const policy = witnessedPolicy(young.policy());
  await young.close();
  const calendar = fakeCalendar();
  const anchors = [fakeTsa(Date.now), calendar];
  const ledger = await openAt(place, { signer: LOG_KEY, witnesses: { policy, witnesses: [witness()] }, anchors });
  const { index: author } = await ledger.keys.addAuthor(ALICE, "alice");
  const sign = (i: number, scheme: "event" | "fields") =>
    ledger.append(
      { id: `signed-${i}`, action: "contract.signed", actor: "alice", source: { id: "desk", counter: i } },
      { signer: ALICE, scheme },
    );
  const { index: signed } = await sign(1, "event");
  await sign(2, "fields");
  const { index: erasedSigned } = await sign(3, "event");
  const [plain] = await ledger.appendMany(Array.from({ length: 260 }, (_, i) => login(i)));
  const { index: fields } = await ledger.append({ ...PERSON, id: "person-0" }, { scheme: "fields" });
  const { index: partial } = await ledger.append(PERSON, { scheme: "fields" });
  const { index: erased } = await ledger.append({ ...PERSON, id: "person-2" });
  await ledger.keys.placeHold("case-1", { first: 10, last: 20, reason: "litigation" });
  await ledger.settled(erased, "witnessed");
  await ledger.anchor();
  calendar.confirm(840_000, Math.floor(Date.now() / 1_000));
  const [upgraded] = await ledger.upgradeAnchors();
  const { index: rotation } = await ledger.keys.rotate(OTHER_KEY);
  await ledger.keys.releaseHold("case-1", "settled");
  await ledger.appendMany(Array.from({ length: 250 }, (_, i) => login(1_000 + i)));
  await ledger.reindex();
  const { index: erasure } = await ledger.erase([{ index: erased }, { index: erasedSigned }], { reason: "request 1" });
  await ledger.erase({ index: partial, fields: ["payload.email"] }, { reason: "request 2" });
  await ledger.erase({ index: partial, fields: ["payload.name", "id"] }, { reason: "request 2" });
  await ledger.erase({ index: fields, fields: ["payload.email"] }, { reason: "request 3" });
  const { index } = await ledger.append({ id: "end", action: "day.closed" });
  await filtersAreBuilt(ledger, place);
  await ledger.settled(index, "witnessed");
  const last = await ledger.checkpoint();
  await ledger.close();
  if (upgraded?.isComplete !== true) throw new Error("the anchor was not upgraded");
  const at = { genesis: 0, author, plain: plain?.index ?? 0, signed, fields, rotation, erased, erasedSigned, partial };
  return { place, policy, last, at: { ...at, erasure, last: index } };
}

const WITNESS = "witness.example.net/w1";
const WITNESS_KEY = logSignerFromSeed("ed25519", new Uint8Array(32).fill(4));
const WITNESS_VKEY = formatVerifierKey({ name: WITNESS, type: 4, publicKey: WITNESS_KEY.publicKey });

export function witnessedPolicy(policy: string): string {
  const { logKeys, genesis } = parsePolicy(policy);
  const witnesses = [{ name: "w1", key: parseVerifierKey(WITNESS_VKEY), url: null }];
  return formatPolicy({ logKeys, genesis, witnesses, groups: [], quorum: "w1" });
}

/** Cosigns whatever it is shown. */
export function witness(): Witness {
  let latest: string | null = null;
  return {
    name: "w1",
    vkey: WITNESS_VKEY,
    async addCheckpoint({ note }) {
      const line = await cosignNote(parseNote(note).text, WITNESS, WITNESS_KEY, {
        time: Math.floor(Date.now() / 1_000),
      });
      latest = `${note}${line}`;
      return { kind: "cosigned", lines: [line] };
    },
    latest: async () => latest,
  };
}

/** Erasures blank filters; they are built again when nothing is written for a moment. */
async function filtersAreBuilt(ledger: Ledger, place: Place): Promise<void> {
  const blocks = Math.floor(ledger.size / 256);
  for (let tries = 0; tries < 100; tries++) {
    const built = tamper(
      place.path,
      (db) => (db.prepare("SELECT count(*) AS n FROM filters WHERE bits IS NOT NULL").get() as { n: number }).n,
    );
    if (built === blocks) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error("the filters were not built again");
}
