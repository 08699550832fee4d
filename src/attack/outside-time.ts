import type { BitcoinHeader } from "../core/anchor-proof/bitcoin.ts";
import { type Certificate, parseCertificate } from "../core/anchor-proof/certificate.ts";
import { formatOtsFile, type OtsTimestamp } from "../core/anchor-proof/opentimestamps.ts";
import {
  DER_BIT_STRING,
  DER_BOOLEAN,
  DER_GENERALIZED_TIME,
  DER_NULL,
  DER_OCTET_STRING,
  DER_SEQUENCE,
  DER_SET,
  writeDer,
  writeDerOid,
  writeDerUnsigned,
} from "../core/der.ts";
import { encodeUtf8 } from "../core/encoding.ts";
import { hashBytes, sha256 } from "../core/hash.ts";
import { formatVerifierKey, parseVerifierKey, spkiOfVerifierKey } from "../core/note.ts";
import { logSignerFromSeed } from "../keys/local-signer.ts";
import type { BitcoinHeaderSource } from "../ledger/header-source.ts";
import type { Signer } from "../ledger/signer.ts";

/** Those outside who tell the time: an authority that signs it, and a chain of blocks. Both of them throwaways, from a seed. */

const sequence = (...content: readonly Uint8Array[]): Uint8Array => writeDer(DER_SEQUENCE, ...content);
const number = (value: number): Uint8Array => writeDerUnsigned(Uint8Array.of(value));
const instant = (timeMs: number): Uint8Array =>
  writeDer(
    DER_GENERALIZED_TIME,
    encodeUtf8(`${new Date(timeMs).toISOString().slice(0, 19).replaceAll(/[-:T]/g, "")}Z`),
  );

const ED25519: Uint8Array = sequence(writeDerOid("1.3.101.112"));
const SHA256: Uint8Array = sequence(writeDerOid("2.16.840.1.101.3.4.2.1"), writeDer(DER_NULL));
const SHA512: Uint8Array = sequence(writeDerOid("2.16.840.1.101.3.4.2.3"), writeDer(DER_NULL));
const TIME_STAMPING: Uint8Array = sequence(
  ...[writeDerOid("2.5.29.37"), writeDer(DER_BOOLEAN, Uint8Array.of(0xff))],
  writeDer(DER_OCTET_STRING, sequence(writeDerOid("1.3.6.1.5.5.7.3.8"))),
);
const VALID: Uint8Array = sequence(instant(Date.UTC(2020, 0, 1)), instant(Date.UTC(2040, 0, 1)));

/** A time-stamping authority that certifies itself: whoever trusts it pins this certificate. */
export interface TimeAuthority {
  readonly certificate: Certificate;
  readonly name: Uint8Array;
  readonly signer: Signer;
}

export async function authorityFromSeed(seed: Uint8Array): Promise<TimeAuthority> {
  const signer = logSignerFromSeed("ed25519", seed);
  const spki = spkiOfVerifierKey(
    parseVerifierKey(formatVerifierKey({ name: "tsa.invalid", type: 1, publicKey: signer.publicKey })),
  );
  const name = sequence(writeDer(DER_SET, sequence(writeDerOid("2.5.4.3"), writeDer(0x0c, encodeUtf8("tsa.invalid")))));
  const extensions = writeDer(0xa3, sequence(TIME_STAMPING));
  const signed = sequence(writeDer(0xa0, number(2)), number(1), ED25519, name, VALID, name, spki, extensions);
  const der = sequence(signed, ED25519, writeDer(DER_BIT_STRING, Uint8Array.of(0), await signer.sign(signed)));
  return { certificate: parseCertificate(der), name, signer };
}

/** DER of a token that says that `digest` existed at a time. RFC 3161 §2.4.2. */
export async function stampWith(
  { certificate, name, signer }: TimeAuthority,
  digest: Uint8Array,
  timeMs: number,
): Promise<Uint8Array> {
  const imprint = sequence(SHA256, writeDer(DER_OCTET_STRING, digest));
  const info = sequence(number(1), writeDerOid("1.3.6.1.4.1.99999.1"), imprint, number(1), instant(timeMs));
  const ess = sequence(sequence(sequence(writeDer(DER_OCTET_STRING, sha256(certificate.der)))));
  const attributes = [
    attribute("1.2.840.113549.1.9.3", writeDerOid("1.2.840.113549.1.9.16.1.4")),
    attribute("1.2.840.113549.1.9.4", writeDer(DER_OCTET_STRING, hashBytes("sha512", info))),
    attribute("1.2.840.113549.1.9.16.2.47", ess),
  ];
  const signature = await signer.sign(writeDer(DER_SET, ...attributes));
  const signerInfo = sequence(
    ...[number(1), sequence(name, number(1)), SHA512, writeDer(0xa0, ...attributes), ED25519],
    writeDer(DER_OCTET_STRING, signature),
  );
  const signedData = sequence(
    ...[number(3), writeDer(DER_SET, SHA512)],
    sequence(writeDerOid("1.2.840.113549.1.9.16.1.4"), writeDer(0xa0, writeDer(DER_OCTET_STRING, info))),
    ...[writeDer(0xa0, certificate.der), writeDer(DER_SET, signerInfo)],
  );
  return sequence(writeDerOid("1.2.840.113549.1.7.2"), writeDer(0xa0, signedData));
}

function attribute(oid: string, value: Uint8Array): Uint8Array {
  return sequence(writeDerOid(oid), writeDer(DER_SET, value));
}

/** The easiest target there is: a header is found within a few tries. */
const EASY_BITS = 0x207fffff;
const HEIGHT_FIRST = 900_000;

/** A chain of blocks that everybody outside knows, each with one digest in it. */
export interface OutsideChain extends BitcoinHeaderSource {
  /** Puts a digest into the next block, of that time, and gives the proof. */
  confirm(digest: Uint8Array, timeMs: number): Uint8Array;
  /** A proof that names the last block, in which the digest is not. */
  forge(digest: Uint8Array): Uint8Array;
}

export function outsideChain(): OutsideChain {
  const blocks = new Map<number, BitcoinHeader>();
  return {
    name: "the chain",
    bitsMax: EASY_BITS,
    read: async (height) => blocks.get(height) ?? null,
    confirm(digest, timeMs) {
      const height = HEIGHT_FIRST + blocks.size;
      blocks.set(height, { height, header: mine(sha256(digest), Math.floor(timeMs / 1_000)) });
      return proofIn(digest, height);
    },
    forge: (digest) => proofIn(digest, HEIGHT_FIRST + blocks.size - 1),
  };
}

function proofIn(digest: Uint8Array, height: number): Uint8Array {
  const block: OtsTimestamp = {
    message: sha256(digest),
    items: [{ kind: "attestation", attestation: { kind: "bitcoin", height } }],
  };
  const operation = { name: "sha256", argument: new Uint8Array() } as const;
  const timestamp = { message: digest, items: [{ kind: "operation", operation, next: block }] } as const;
  return formatOtsFile({ fileHash: "sha256", timestamp });
}

/** 80 bytes of a header over this Merkle root. */
function mine(merkleRoot: Uint8Array, time: number): Uint8Array {
  const header = new Uint8Array(80);
  const view = new DataView(header.buffer);
  header.set(merkleRoot, 36);
  view.setUint32(68, time, true);
  view.setUint32(72, EASY_BITS, true);
  for (let nonce = 0; ; nonce++) {
    view.setUint32(76, nonce, true);
    if (sha256(sha256(header))[31]! < 0x7f) return header;
  }
}
