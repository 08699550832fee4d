import { createHash } from "node:crypto";
import { type Certificate, parseCertificate } from "../../src/core/anchor-proof/certificate.ts";
import {
  formatOtsFile,
  type OtsItem,
  type OtsTimestamp,
  parseOtsFile,
} from "../../src/core/anchor-proof/opentimestamps.ts";
import type { Anchor, AnchorAnswer } from "../../src/ledger/anchor.ts";
import { type Issued, issue, makeResponse, makeToken } from "./authority.ts";
import { mineHeader } from "./bitcoin.ts";

/** Anchors without a network, which keep the contract of the port, or break it as a test says. */

export type Behaviour = "ok" | "dead" | "refuses" | "throws" | "hangs" | "lies" | "garbage" | "huge";

export interface FakeAnchor extends Anchor {
  behaviour: Behaviour;
  /** Digests in hex, in the order of the submissions. */
  readonly asked: string[];
}

const sha = (...bytes: readonly Uint8Array[]): Uint8Array => {
  const hash = createHash("sha256");
  for (const one of bytes) hash.update(one);
  return Uint8Array.from(hash.digest());
};

/** Answers of one that misbehaves; null for one that does not. */
function misbehave(behaviour: Behaviour, signal: AbortSignal | undefined): Promise<AnchorAnswer> | null {
  const proof = (bytes: Uint8Array): AnchorAnswer => ({ kind: "proof", proof: bytes, complete: true, failures: [] });
  if (behaviour === "dead") return Promise.resolve({ kind: "unavailable", reason: "not reachable" });
  if (behaviour === "refuses") return Promise.resolve({ kind: "refused", reason: "status 2" });
  if (behaviour === "throws") return Promise.reject(new Error("a bug"));
  if (behaviour === "garbage") return Promise.resolve(proof(Uint8Array.of(1, 2, 3)));
  if (behaviour === "huge") return Promise.resolve(proof(new Uint8Array(70_000)));
  // Does not heed its signal.
  if (behaviour === "hangs") return new Promise(() => void signal);
  return null;
}

const root = issue({ name: "Root" });
const authority = issue({ name: "Authority", issuer: root });

/** The certificate under which tokens of `fakeTsa` hold. */
export const TSA_ROOT: Certificate = parseCertificate(root.der);
export const TSA_ROOT_PEM: string = `-----BEGIN CERTIFICATE-----\n${Buffer.from(root.der).toString("base64")}\n-----END CERTIFICATE-----\n`;

function generalizedTime(timeMs: number): string {
  return `${new Date(timeMs).toISOString().slice(0, 19).replaceAll(/[-:T]/g, "")}Z`;
}

/** A token for a digest at a time; "stolen" by an authority that nobody pins. */
export function stampAt(digest: Uint8Array, timeMs: number, signer: Issued = authority): Uint8Array {
  return makeResponse(makeToken({ digest, signer, genTime: generalizedTime(timeMs) }));
}

export const OTHER_AUTHORITY: Issued = issue({
  name: "Unknown authority",
  issuer: issue({ name: "Unknown root" }),
});

/** A time-stamping authority that goes by `now`. */
export function fakeTsa(now: () => number, name = "https://tsa.example"): FakeAnchor {
  const tsa: FakeAnchor = {
    ...{ kind: "rfc3161", name, behaviour: "ok", asked: [] },
    async submit(digest, signal) {
      tsa.asked.push(Buffer.from(digest).toString("hex"));
      const misbehaved = misbehave(tsa.behaviour, signal);
      if (misbehaved !== null) return misbehaved;
      const proof = stampAt(tsa.behaviour === "lies" ? sha(digest) : digest, now());
      return { kind: "proof", proof, complete: true, failures: [] };
    },
  };
  return tsa;
}

export interface FakeCalendar extends FakeAnchor {
  /** How often an upgrade was asked for. */
  upgrades: number;
  /** From now on every promise is kept in the block of this height; gives the header of a proof's block. */
  confirm(height: number, time: number): (proof: Uint8Array) => Uint8Array;
  upgrade(proof: Uint8Array): Promise<AnchorAnswer>;
}

const NONE = new Uint8Array();
const hashed = (next: OtsTimestamp): OtsItem => ({
  kind: "operation",
  operation: { name: "sha256", argument: NONE },
  next,
});

/** A calendar: a promise at once, and a block of its own for each digest once it is confirmed. */
export function fakeCalendar(name = "https://calendar.example"): FakeCalendar {
  let height: number | null = null;
  const treeOf = (digest: Uint8Array, at: number | null): Uint8Array => {
    const promised = sha(digest);
    const block = sha(promised);
    const leaf: OtsTimestamp = {
      message: promised,
      items: [
        { kind: "attestation", attestation: { kind: "pending", uri: name } },
        ...(at === null
          ? []
          : [
              hashed({
                message: block,
                items: [{ kind: "attestation", attestation: { kind: "bitcoin", height: at } }],
              }),
            ]),
      ],
    };
    return formatOtsFile({ fileHash: "sha256", timestamp: { message: digest, items: [hashed(leaf)] } });
  };
  const calendar: FakeCalendar = {
    ...{ kind: "opentimestamps", name, behaviour: "ok", asked: [], upgrades: 0 },
    async submit(digest, signal) {
      calendar.asked.push(Buffer.from(digest).toString("hex"));
      const misbehaved = misbehave(calendar.behaviour, signal);
      if (misbehaved !== null) return misbehaved;
      const proof = treeOf(calendar.behaviour === "lies" ? sha(digest) : digest, null);
      return { kind: "proof", proof, complete: false, failures: [] };
    },
    async upgrade(proof) {
      calendar.upgrades += 1;
      const misbehaved = misbehave(calendar.behaviour, undefined);
      if (misbehaved !== null) return misbehaved;
      // A lie that keeps the digest: the same proof again, called an upgrade.
      if (calendar.behaviour === "lies") return { kind: "proof", proof, complete: true, failures: [] };
      if (height === null) return { kind: "pending", failures: [] };
      const { message } = parseOtsFile(proof).timestamp;
      return { kind: "proof", proof: treeOf(message, height), complete: true, failures: [] };
    },
    confirm(at, time) {
      height = at;
      return (proof) => mineHeader(sha(sha(parseOtsFile(proof).timestamp.message)), time);
    },
  };
  return calendar;
}
