import { commitBody } from "../core/commitment.ts";
import { parseControlEvent } from "../core/control-event.ts";
import { encodeHex } from "../core/encoding.ts";
import { formatEntry, formatTime, leafHashHex, ZERO_HASH_HEX } from "../core/entry.ts";
import { encodeEvent, eventOf } from "../core/event.ts";
import type { HashName } from "../core/hash.ts";
import { SALT_BYTES } from "../core/limits.ts";
import { formatVerifierKey } from "../core/note.ts";
import type { Clock } from "./clock.ts";
import type { Random } from "./random.ts";
import type { Signer } from "./signer.ts";
import { type Batch, toStored } from "./storage.ts";

export interface GenesisOptions {
  readonly origin: string;
  readonly commitmentHash: HashName;
  readonly scheme: "event" | "fields";
  readonly requireSignature: boolean;
  /** Kinds of anchors that make an entry `anchored`. */
  readonly anchors?: readonly string[] | undefined;
  readonly eventBytes: number;
  readonly lockStoreId: string;
  readonly signers: readonly Signer[];
}

/** vkey line of a log signer under its origin: note type 0x01 for Ed25519, 0x06 for ML-DSA-44. */
export function vkeyOf(origin: string, signer: Signer): string {
  return formatVerifierKey({ name: origin, type: signer.algorithm === "ed25519" ? 1 : 6, publicKey: signer.publicKey });
}

/** Rules as they are committed: kinds of anchors in their one order. */
export function rulesOf({ requireSignature, anchors }: Pick<GenesisOptions, "requireSignature" | "anchors">): {
  requireSignature: boolean;
  anchors?: string[];
} {
  return anchors === undefined ? { requireSignature } : { anchors: [...new Set(anchors)].sort(), requireSignature };
}

/** The batch that makes a ledger: entry 0, `ledger.genesis`. */
export function genesisBatch(
  options: GenesisOptions,
  parts: { readonly clock: Clock; readonly random: Random },
): Batch {
  const encoded = encodeEvent(
    {
      action: "ledger.genesis",
      payload: {
        commitmentHash: options.commitmentHash,
        limits: { eventBytes: options.eventBytes },
        lockStoreId: options.lockStoreId,
        logKeys: options.signers.map((signer) => vkeyOf(options.origin, signer)),
        origin: options.origin,
        rules: rulesOf(options),
        scheme: options.scheme,
      },
    },
    { control: true },
  );
  parseControlEvent(eventOf(encoded));
  const { body } = encoded;
  const salts = parts.random.fill(new Uint8Array(SALT_BYTES));
  const commitment = `${options.commitmentHash}:${commitBody(options.commitmentHash, "control", salts, body)}`;
  const entry = formatEntry({
    commitment,
    index: 0,
    previous: ZERO_HASH_HEX,
    scheme: "control",
    time: formatTime(parts.clock.now()),
  });
  return {
    entries: [{ index: 0, entry, body, salts, disclosure: null }],
    tiles: [],
    filters: [],
    ids: [],
    controls: [0],
  };
}

/** Leaf hash of the genesis entry of a fresh batch: what a policy pins. */
export function genesisLeafOf(batch: Batch): string {
  const [genesis] = batch.entries;
  return leafHashHex(genesis === undefined ? "" : toStored(genesis).entry);
}

/** 128 random bits as hex: lock store ids and origin suffixes. */
export function randomHex(random: Random, sizeBytes: number): string {
  return encodeHex(random.fill(new Uint8Array(sizeBytes)));
}
