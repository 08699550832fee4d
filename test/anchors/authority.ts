import { constants, createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto";
import {
  DER_BIT_STRING,
  DER_BOOLEAN,
  DER_GENERALIZED_TIME,
  DER_INTEGER,
  DER_NULL,
  DER_OCTET_STRING,
  DER_SEQUENCE,
  DER_SET,
  writeDer,
  writeDerOid,
  writeDerUnsigned,
} from "../../src/core/der.ts";
import { encodeUtf8 } from "../../src/core/encoding.ts";

/** A certificate authority and a time-stamping authority for tests, able to make every kind of bad token. */

const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values);
const sequence = (...content: Uint8Array[]): Uint8Array => writeDer(DER_SEQUENCE, ...content);
const time = (date: Date): Uint8Array =>
  writeDer(DER_GENERALIZED_TIME, encodeUtf8(`${date.toISOString().slice(0, 19).replaceAll(/[-:T]/g, "")}Z`));
const nullAlgorithm = (oid: string): Uint8Array => sequence(writeDerOid(oid), writeDer(DER_NULL));

export type KeyKind = "p256" | "p384" | "rsa" | "rsa-pss" | "ed25519";

const HASH_OID = {
  sha256: "2.16.840.1.101.3.4.2.1",
  sha384: "2.16.840.1.101.3.4.2.2",
  sha512: "2.16.840.1.101.3.4.2.3",
  sha1: "1.3.14.3.2.26",
};
type Hash = keyof typeof HASH_OID;

interface Scheme {
  readonly hash: Hash;
  readonly algorithm: Uint8Array;
  readonly sign: (message: Uint8Array, key: KeyObject) => Uint8Array;
}

const pssParameters = sequence(
  writeDer(0xa0, nullAlgorithm(HASH_OID.sha256)),
  writeDer(0xa1, sequence(writeDerOid("1.2.840.113549.1.1.8"), nullAlgorithm(HASH_OID.sha256))),
  writeDer(0xa2, writeDerUnsigned(bytes(32))),
);
export const SCHEMES: Readonly<Record<string, Scheme>> = {
  p256: {
    hash: "sha256",
    algorithm: sequence(writeDerOid("1.2.840.10045.4.3.2")),
    sign: (m, k) => sign("sha256", m, k),
  },
  "p256-sha512": {
    hash: "sha512",
    algorithm: sequence(writeDerOid("1.2.840.10045.4.3.4")),
    sign: (m, k) => sign("sha512", m, k),
  },
  p384: {
    hash: "sha384",
    algorithm: sequence(writeDerOid("1.2.840.10045.4.3.3")),
    sign: (m, k) => sign("sha384", m, k),
  },
  rsa: { hash: "sha256", algorithm: nullAlgorithm("1.2.840.113549.1.1.11"), sign: (m, k) => sign("sha256", m, k) },
  "rsa-key-only": {
    hash: "sha512",
    algorithm: nullAlgorithm("1.2.840.113549.1.1.1"),
    sign: (m, k) => sign("sha512", m, k),
  },
  "rsa-sha1": { hash: "sha1", algorithm: nullAlgorithm("1.2.840.113549.1.1.5"), sign: (m, k) => sign("sha1", m, k) },
  "rsa-pss": {
    hash: "sha256",
    algorithm: sequence(writeDerOid("1.2.840.113549.1.1.10"), pssParameters),
    sign: (m, key) => sign("sha256", m, { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 }),
  },
  ed25519: { hash: "sha512", algorithm: sequence(writeDerOid("1.3.101.112")), sign: (m, k) => sign(null, m, k) },
};

export function makeKeys(kind: KeyKind): { readonly publicKey: KeyObject; readonly privateKey: KeyObject } {
  if (kind === "p256") return generateKeyPairSync("ec", { namedCurve: "P-256" });
  if (kind === "p384") return generateKeyPairSync("ec", { namedCurve: "P-384" });
  if (kind === "ed25519") return generateKeyPairSync("ed25519");
  return generateKeyPairSync("rsa", { modulusLength: 2048 });
}

export interface Issued {
  readonly der: Uint8Array;
  readonly name: Uint8Array;
  readonly serialNumber: Uint8Array;
  readonly issuerName: Uint8Array;
  readonly keys: { readonly publicKey: KeyObject; readonly privateKey: KeyObject };
  readonly scheme: Scheme;
}

export interface CertificateOptions {
  readonly name: string;
  readonly issuer?: Issued;
  readonly key?: KeyKind;
  readonly keys?: Issued["keys"];
  readonly scheme?: string;
  readonly notBefore?: string;
  readonly notAfter?: string;
  /** Extensions; those of an authority or of a time-stamping authority without. */
  readonly extensions?: readonly Uint8Array[];
  readonly serialNumber?: Uint8Array;
}

export function extension(oid: string, value: Uint8Array, critical = false): Uint8Array {
  return sequence(
    writeDerOid(oid),
    ...(critical ? [writeDer(DER_BOOLEAN, bytes(0xff))] : []),
    writeDer(DER_OCTET_STRING, value),
  );
}
export const timeStampingUsage = (critical = true, ...others: string[]): Uint8Array =>
  extension("2.5.29.37", sequence(...["1.3.6.1.5.5.7.3.8", ...others].map(writeDerOid)), critical);
export const basicConstraints = (isCa: boolean, pathLength?: number): Uint8Array =>
  extension(
    "2.5.29.19",
    sequence(
      ...(isCa ? [writeDer(DER_BOOLEAN, bytes(0xff))] : []),
      ...(pathLength === undefined ? [] : [writeDerUnsigned(bytes(pathLength))]),
    ),
    true,
  );
export const keyUsage = (bits: number): Uint8Array =>
  extension("2.5.29.15", writeDer(DER_BIT_STRING, bytes(0, bits)), true);

/** An authority for certificates without `issuer` (self-signed), else whatever `extensions` make of it. */
export function issue(options: CertificateOptions): Issued {
  const kind = options.key ?? "p256";
  const keys = options.keys ?? makeKeys(kind);
  const name = sequence(writeDer(DER_SET, sequence(writeDerOid("2.5.4.3"), writeDer(0x0c, encodeUtf8(options.name)))));
  const serialNumber = options.serialNumber ?? Uint8Array.from([0x11, ...randomBytes(7)]);
  const issuer = options.issuer ?? null;
  const scheme = issuer?.scheme ?? SCHEMES[options.scheme ?? kind]!;
  const extensions =
    options.extensions ??
    (issuer === null ? [basicConstraints(true), keyUsage(0x06)] : [timeStampingUsage(), keyUsage(0x80)]);
  const signed = sequence(
    writeDer(0xa0, writeDerUnsigned(bytes(2))),
    writeDer(DER_INTEGER, serialNumber),
    scheme.algorithm,
    issuer?.name ?? name,
    sequence(
      time(new Date(options.notBefore ?? "2026-01-01T00:00:00Z")),
      time(new Date(options.notAfter ?? "2036-01-01T00:00:00Z")),
    ),
    name,
    keys.publicKey.export({ type: "spki", format: "der" }),
    ...(extensions.length === 0 ? [] : [writeDer(0xa3, sequence(...extensions))]),
  );
  const signature = scheme.sign(signed, (issuer?.keys ?? keys).privateKey);
  return {
    der: sequence(signed, scheme.algorithm, writeDer(DER_BIT_STRING, bytes(0), signature)),
    ...{ name, serialNumber, issuerName: issuer?.name ?? name, keys, scheme: SCHEMES[options.scheme ?? kind]! },
  };
}

export interface TokenOptions {
  readonly digest: Uint8Array;
  readonly signer: Issued;
  /** Certificates in the token; the signer's alone without. */
  readonly certificates?: readonly Issued[];
  readonly genTime?: string;
  readonly nonce?: Uint8Array | null;
  readonly policy?: string;
  readonly accuracy?: readonly Uint8Array[] | null;
  readonly imprintAlgorithm?: string;
  readonly version?: number;
  /** Certificate that the ESS attribute names; "none" leaves it out. */
  readonly ess?: Issued | "none";
  readonly essVersion?: 1 | 2;
  readonly essIssuerSerial?: Issued;
  readonly messageDigest?: Uint8Array;
  readonly contentType?: string;
  /** Attributes behind the usual ones. */
  readonly attributes?: readonly Uint8Array[];
  readonly scheme?: string;
  readonly signWith?: KeyObject;
  readonly infoExtensions?: readonly Uint8Array[];
  readonly signers?: number;
}

const attribute = (oid: string, ...values: Uint8Array[]): Uint8Array =>
  sequence(writeDerOid(oid), writeDer(DER_SET, ...values));

/** DER of a token. */
export function makeToken(options: TokenOptions): Uint8Array {
  const { digest, signer, genTime = "20260203040506.25Z" } = options;
  const scheme = options.scheme === undefined ? signer.scheme : SCHEMES[options.scheme]!;
  const nonce = options.nonce === undefined ? bytes(1, 2, 3, 4, 5, 6, 7, 8) : options.nonce;
  const accuracy = options.accuracy === undefined ? [writeDerUnsigned(bytes(1))] : options.accuracy;
  const info = sequence(
    writeDerUnsigned(bytes(options.version ?? 1)),
    writeDerOid(options.policy ?? "1.3.6.1.4.1.99999.1"),
    sequence(nullAlgorithm(options.imprintAlgorithm ?? HASH_OID.sha256), writeDer(DER_OCTET_STRING, digest)),
    writeDerUnsigned(bytes(7)),
    writeDer(DER_GENERALIZED_TIME, encodeUtf8(genTime)),
    ...(accuracy === null ? [] : [sequence(...accuracy)]),
    ...(nonce === null ? [] : [writeDerUnsigned(nonce)]),
    ...(options.infoExtensions === undefined ? [] : [writeDer(0xa1, ...options.infoExtensions)]),
  );
  const attributes = [
    attribute("1.2.840.113549.1.9.3", writeDerOid(options.contentType ?? "1.2.840.113549.1.9.16.1.4")),
    attribute(
      "1.2.840.113549.1.9.4",
      writeDer(DER_OCTET_STRING, options.messageDigest ?? createHash(scheme.hash).update(info).digest()),
    ),
    ...essAttributes(options),
    ...(options.attributes ?? []),
  ].sort((a, b) => Buffer.compare(a, b));
  const signature = scheme.sign(writeDer(DER_SET, ...attributes), options.signWith ?? signer.keys.privateKey);
  const signerInfo = sequence(
    writeDerUnsigned(bytes(1)),
    sequence(signer.issuerName, writeDer(DER_INTEGER, signer.serialNumber)),
    nullAlgorithm(HASH_OID[scheme.hash]),
    writeDer(0xa0, ...attributes),
    scheme.algorithm,
    writeDer(DER_OCTET_STRING, signature),
  );
  const certificates = (options.certificates ?? [signer]).map((one) => one.der);
  const signedData = sequence(
    writeDerUnsigned(bytes(3)),
    writeDer(DER_SET, nullAlgorithm(HASH_OID[scheme.hash])),
    sequence(writeDerOid("1.2.840.113549.1.9.16.1.4"), writeDer(0xa0, writeDer(DER_OCTET_STRING, info))),
    ...(certificates.length === 0 ? [] : [writeDer(0xa0, ...certificates)]),
    writeDer(DER_SET, ...Array<Uint8Array>(options.signers ?? 1).fill(signerInfo)),
  );
  return sequence(writeDerOid("1.2.840.113549.1.7.2"), writeDer(0xa0, signedData));
}

function essAttributes({ ess, essVersion = 2, essIssuerSerial, signer }: TokenOptions): readonly Uint8Array[] {
  if (ess === "none") return [];
  const hash = createHash(essVersion === 2 ? "sha256" : "sha1")
    .update((ess ?? signer).der)
    .digest();
  const serial =
    essIssuerSerial === undefined
      ? []
      : [
          sequence(
            sequence(writeDer(0xa4, essIssuerSerial.issuerName)),
            writeDer(DER_INTEGER, essIssuerSerial.serialNumber),
          ),
        ];
  const id = sequence(writeDer(DER_OCTET_STRING, hash), ...serial);
  return [attribute(`1.2.840.113549.1.9.16.2.${essVersion === 2 ? 47 : 12}`, sequence(sequence(id)))];
}

/** DER of a response that grants `token`, or refuses with `status`. */
export function makeResponse(token: Uint8Array | null, status = 0, text?: string): Uint8Array {
  const words = text === undefined ? [] : [sequence(writeDer(0x0c, encodeUtf8(text)))];
  const failure = token === null ? [writeDer(DER_BIT_STRING, bytes(5, 0x20))] : [];
  return sequence(sequence(writeDerUnsigned(bytes(status)), ...words, ...failure), ...(token === null ? [] : [token]));
}
