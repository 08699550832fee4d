import {
  DER_BIT_STRING,
  DER_BOOLEAN,
  DER_GENERALIZED_TIME,
  DER_INTEGER,
  DER_OCTET_STRING,
  DER_OID,
  DER_SEQUENCE,
  DER_SET,
  DER_UTC_TIME,
  type DerElement,
  type DerFields,
  derFields,
  readDerBitBytes,
  readDerBoolean,
  readDerElement,
  readDerElements,
  readDerInteger,
  readDerNumber,
  readDerOid,
  readDerTime,
} from "../der.ts";
import { bytesEqual, decodeBase64, decodeUtf8, encodeHex } from "../encoding.ts";
import { isTallystickError, MalformedError, PolicyError } from "../errors.ts";
import { sha256Hex } from "../hash.ts";
import {
  isSameAlgorithm,
  readSignatureAlgorithm,
  type SignatureScheme,
  verifyX509Signature,
} from "./x509-signature.ts";

/** What the verification of time-stamp tokens reads of an X.509 certificate. RFC 5280. */
export interface Certificate {
  readonly der: Uint8Array;
  /** Hex SHA-256 of `der`. */
  readonly fingerprint: string;
  /** Content of the INTEGER. */
  readonly serialNumber: Uint8Array;
  /** DER of the names: compared as bytes. */
  readonly issuer: Uint8Array;
  readonly subject: Uint8Array;
  /** Seconds since 1970, both inclusive. */
  readonly notBefore: number;
  readonly notAfter: number;
  readonly spki: Uint8Array;
  readonly isCa: boolean;
  /** Certificates of authorities that may follow below; null for any number. */
  readonly pathLength: number | null;
  /** Bits of keyUsage by their number in RFC 5280; null without the extension. */
  readonly keyUsage: ReadonlySet<number> | null;
  readonly extendedKeyUsage: { readonly critical: boolean; readonly purposes: readonly string[] } | null;
  /** Object identifiers of critical extensions that are not understood. */
  readonly unknownCritical: readonly string[];
  readonly signed: Uint8Array;
  readonly scheme: SignatureScheme;
  readonly signature: Uint8Array;
}

/** DER bytes of one certificate. */
export const CERTIFICATE_BYTES_MAX: number = 16 * 1024;
/** Certificates between signer and pinned root, both included. */
const CHAIN_MAX = 8;
/** Signatures that are checked in search of a chain: crossed certificates of a hostile token must not cost more. */
const CHAIN_CHECKS_MAX = 32;

const OID_KEY_USAGE = "2.5.29.15";
const OID_BASIC_CONSTRAINTS = "2.5.29.19";
const OID_CERTIFICATE_POLICIES = "2.5.29.32";
const OID_EXTENDED_KEY_USAGE = "2.5.29.37";
const OID_ANY_PURPOSE = "2.5.29.37.0";
export const OID_TIME_STAMPING = "1.3.6.1.5.5.7.3.8";

const KEY_USAGE_DIGITAL_SIGNATURE = 0;
const KEY_USAGE_NON_REPUDIATION = 1;
const KEY_USAGE_CERTIFICATE_SIGN = 5;

/** Certificate of its DER bytes. `malformed-proof` for anything that is not exactly one. The signature is not checked. */
export function parseCertificate(der: Uint8Array): Certificate {
  const what = "certificate";
  if (der.length > CERTIFICATE_BYTES_MAX) {
    throw new MalformedError(
      "malformed-proof",
      `${what}: expected at most ${CERTIFICATE_BYTES_MAX} bytes, got ${der.length}`,
    );
  }
  const outer = derFields(readDerElement(der, DER_SEQUENCE, what).content, what);
  const signed = outer.next(DER_SEQUENCE);
  const outerAlgorithm = outer.next(DER_SEQUENCE);
  const signature = readDerBitBytes(outer.next(DER_BIT_STRING), what);
  outer.end();

  const fields = derFields(signed.content, what);
  const version = fields.optional(0xa0);
  const versionNumber =
    version === undefined ? 0 : readDerNumber(readDerElement(version.content, DER_INTEGER, what), what);
  if (versionNumber > 2) throw new MalformedError("malformed-proof", `${what}: unknown version ${versionNumber + 1}`);
  const serialNumber = readDerInteger(fields.next(DER_INTEGER), what);
  const innerAlgorithm = fields.next(DER_SEQUENCE);
  if (!isSameAlgorithm(innerAlgorithm, outerAlgorithm)) {
    throw new MalformedError("malformed-proof", `${what}: the signature algorithm inside is another than outside`);
  }
  const issuer = fields.next(DER_SEQUENCE).bytes;
  const validity = derFields(fields.next(DER_SEQUENCE).content, what);
  const notBefore = readTime(validity, what);
  const notAfter = readTime(validity, what);
  validity.end();
  const subject = fields.next(DER_SEQUENCE).bytes;
  const spki = fields.next(DER_SEQUENCE).bytes;
  fields.optional(0x81);
  fields.optional(0x82);
  const extensions = fields.optional(0xa3);
  fields.end();

  return {
    ...{ der, fingerprint: sha256Hex(der), serialNumber, issuer, subject, notBefore, notAfter, spki },
    ...readExtensions(extensions),
    ...{ signed: signed.bytes, scheme: readSignatureAlgorithm(outerAlgorithm, what), signature },
  };
}

function readTime(fields: DerFields, what: string): number {
  const element = fields.optional(DER_UTC_TIME) ?? fields.next(DER_GENERALIZED_TIME);
  return readDerTime(element, what).seconds;
}

type Extensions = Pick<Certificate, "isCa" | "pathLength" | "keyUsage" | "extendedKeyUsage" | "unknownCritical">;

function readExtensions(wrapper: DerElement | undefined): Extensions {
  const what = "certificate extension";
  let extensions: Extensions = {
    isCa: false,
    pathLength: null,
    keyUsage: null,
    extendedKeyUsage: null,
    unknownCritical: [],
  };
  if (wrapper === undefined) return extensions;
  const seen = new Set<string>();
  for (const element of readDerElements(readDerElement(wrapper.content, DER_SEQUENCE, what).content, what)) {
    const fields = derFields(sequenceContent(element, what), what);
    const oid = readDerOid(fields.next(DER_OID), what);
    const flag = fields.optional(DER_BOOLEAN);
    const critical = flag !== undefined && readDerBoolean(flag, what);
    const value = fields.next(DER_OCTET_STRING).content;
    fields.end();
    if (seen.has(oid)) throw new MalformedError("malformed-proof", `${what}: ${oid} stands there twice`);
    seen.add(oid);
    if (oid === OID_BASIC_CONSTRAINTS) extensions = { ...extensions, ...readBasicConstraints(value, what) };
    else if (oid === OID_KEY_USAGE) extensions = { ...extensions, keyUsage: readKeyUsage(value, what) };
    else if (oid === OID_EXTENDED_KEY_USAGE) {
      const purposes = readDerElements(readDerElement(value, DER_SEQUENCE, what).content, what).map((one) =>
        readDerOid(one, what),
      );
      extensions = { ...extensions, extendedKeyUsage: { critical, purposes } };
    } else if (critical && oid !== OID_CERTIFICATE_POLICIES) {
      // Certificate policies restrict nothing as no policy is asked for; name constraints and the like would.
      extensions = { ...extensions, unknownCritical: [...extensions.unknownCritical, oid] };
    }
  }
  return extensions;
}

function readBasicConstraints(value: Uint8Array, what: string): Pick<Certificate, "isCa" | "pathLength"> {
  const fields = derFields(readDerElement(value, DER_SEQUENCE, what).content, what);
  const flag = fields.optional(DER_BOOLEAN);
  const length = fields.optional(DER_INTEGER);
  fields.end();
  return {
    isCa: flag !== undefined && readDerBoolean(flag, what),
    pathLength: length === undefined ? null : readDerNumber(length, what),
  };
}

function readKeyUsage(value: Uint8Array, what: string): ReadonlySet<number> {
  const [unusedBits = 8, ...bytes] = readDerElement(value, DER_BIT_STRING, what).content;
  if (unusedBits > 7 || bytes.length > 2)
    throw new MalformedError("malformed-proof", `${what}: expected the bits of a key usage`);
  const bits = new Set<number>();
  for (let bit = 0; bit < 8 * bytes.length; bit++) if (bytes[bit >> 3]! & (0x80 >> (bit & 7))) bits.add(bit);
  return bits;
}

function sequenceContent(element: DerElement, what: string): Uint8Array {
  if (element.tag !== DER_SEQUENCE) throw new MalformedError("malformed-proof", `${what}: expected a sequence`);
  return element.content;
}

/**
 * Chain from `signer` to one of `roots`, both included, in which every certificate is valid at `time` (seconds since 1970) and
 * every issuer may issue: CA, path length, keyCertSign, and a purpose that covers time stamping. Only `roots` are trusted, and
 * their own signatures are not looked at; `candidates` (from the token) may lie between. `proof-invalid` where the signer itself
 * cannot be a time-stamping authority, `untrusted-key` where no chain is found.
 */
export async function buildChain(options: {
  readonly signer: Certificate;
  readonly candidates: readonly Certificate[];
  readonly roots: readonly Certificate[];
  readonly time: number;
}): Promise<readonly Certificate[]> {
  const { signer, candidates, roots, time } = options;
  const rootPrints = new Set(roots.map((root) => root.fingerprint));
  const issuers = [...roots, ...candidates.filter((one) => !rootPrints.has(one.fingerprint))];
  let checksLeft = CHAIN_CHECKS_MAX;
  let nearest = "no certificate of its issuer is at hand";

  async function extend(chain: readonly Certificate[]): Promise<readonly Certificate[] | null> {
    const last = chain.at(-1)!;
    if (rootPrints.has(last.fingerprint)) return chain;
    if (chain.length === CHAIN_MAX) return null;
    for (const issuer of issuers) {
      if (!bytesEqual(issuer.subject, last.issuer) || chain.includes(issuer)) continue;
      const objection = objectionToIssuer(issuer, {
        below: chain.length - 1,
        time,
        pinned: rootPrints.has(issuer.fingerprint),
      });
      if (objection !== null) {
        nearest = objection;
        continue;
      }
      if (checksLeft-- === 0)
        throw new PolicyError("untrusted-key", `time-stamp certificate: no chain within ${CHAIN_CHECKS_MAX} checks`);
      if (!(await verifyX509Signature(last.scheme, issuer.spki, last.signed, last.signature))) {
        nearest = "the signature of its issuer does not verify";
        continue;
      }
      const found = await extend([...chain, issuer]);
      if (found !== null) return found;
    }
    return null;
  }

  if (!isValidAt(signer, time)) {
    throw new PolicyError("untrusted-key", "time-stamp certificate: not valid at the time that it stamps", {
      details: { notBefore: signer.notBefore, notAfter: signer.notAfter, time },
    });
  }
  const chain = await extend([signer]);
  if (chain === null) {
    throw new PolicyError("untrusted-key", `time-stamp certificate: no chain to a pinned root: ${nearest}`, {
      details: { signer: signer.fingerprint, roots: roots.length },
    });
  }
  return chain;
}

function objectionToIssuer(
  issuer: Certificate,
  { below, time, pinned }: { readonly below: number; readonly time: number; readonly pinned: boolean },
): string | null {
  if (!issuer.isCa) return "an issuer is not an authority";
  if (issuer.pathLength !== null && below > issuer.pathLength) return "an issuer's path length is exceeded";
  if (issuer.keyUsage !== null && !issuer.keyUsage.has(KEY_USAGE_CERTIFICATE_SIGN))
    return "an issuer may not sign certificates";
  if (!isValidAt(issuer, time)) return "an issuer is not valid at the time that is stamped";
  if (issuer.unknownCritical.length > 0) return `an issuer has the critical extension ${issuer.unknownCritical[0]}`;
  const purposes = issuer.extendedKeyUsage?.purposes;
  if (
    !pinned &&
    purposes !== undefined &&
    !purposes.includes(OID_TIME_STAMPING) &&
    !purposes.includes(OID_ANY_PURPOSE)
  ) {
    return "an issuer is not for time stamping";
  }
  return null;
}

/** Why a certificate cannot sign tokens, or null. RFC 3161 §2.3: extended key usage critical, and time stamping alone. */
export function objectionToSigner(signer: Certificate): string | null {
  const { extendedKeyUsage: purposes, keyUsage, isCa, unknownCritical } = signer;
  if (purposes === null) return "has no extended key usage";
  if (!purposes.critical) return "has an extended key usage that is not critical";
  if (purposes.purposes.length !== 1 || purposes.purposes[0] !== OID_TIME_STAMPING)
    return "is not for time stamping alone";
  if (isCa) return "is that of an authority for certificates";
  if (keyUsage !== null) {
    const rest = new Set(keyUsage);
    const signs = [KEY_USAGE_DIGITAL_SIGNATURE, KEY_USAGE_NON_REPUDIATION].filter((bit) => rest.delete(bit));
    if (signs.length === 0 || rest.size > 0) return "has a key usage other than signatures";
  }
  return unknownCritical.length > 0 ? `has the critical extension ${unknownCritical[0]}` : null;
}

function isValidAt(certificate: Certificate, time: number): boolean {
  return certificate.notBefore <= time && time <= certificate.notAfter;
}

const NAME_LABELS: Readonly<Record<string, string>> = {
  "2.5.4.3": "CN",
  "2.5.4.6": "C",
  "2.5.4.10": "O",
  "2.5.4.11": "OU",
};

/** Country, organisation, unit and common name of a DER name, for people: text of whoever made the certificate. */
export function describeName(name: Uint8Array): string {
  const what = "name";
  const parts: string[] = [];
  for (const set of readDerElements(readDerElement(name, DER_SEQUENCE, what).content, what)) {
    if (set.tag !== DER_SET) throw new MalformedError("malformed-proof", `${what}: expected a set`);
    for (const pair of readDerElements(set.content, what)) {
      const [type, value] = readDerElements(sequenceContent(pair, what), what);
      const label = type === undefined ? undefined : NAME_LABELS[readDerOid(type, what)];
      if (label !== undefined && value !== undefined) parts.push(`${label}=${textOf(value.content)}`);
    }
  }
  return parts.join(", ");
}

function textOf(bytes: Uint8Array): string {
  try {
    return decodeUtf8(bytes, "malformed-proof");
  } catch (error) {
    if (!isTallystickError(error)) throw error;
    return encodeHex(bytes);
  }
}

const PEM_BLOCK = /-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]*)-----END CERTIFICATE-----/g;
/** Bytes of one PEM file: a bundle of pinned roots. */
const PEM_BYTES_MAX: number = 1024 * 1024;

/**
 * Certificates of a file that holds them in PEM (any number, text between them is skipped) or one in DER. `malformed-key` where
 * there is none, `malformed-proof` where one does not parse.
 */
export function parseCertificateFile(bytes: Uint8Array): readonly Certificate[] {
  if (bytes.length > PEM_BYTES_MAX) {
    throw new MalformedError(
      "malformed-key",
      `certificate file: expected at most ${PEM_BYTES_MAX} bytes, got ${bytes.length}`,
    );
  }
  if (bytes[0] === DER_SEQUENCE) return [parseCertificate(bytes)];
  const blocks = [...decodeUtf8(bytes, "malformed-key").matchAll(PEM_BLOCK)];
  if (blocks.length === 0)
    throw new MalformedError("malformed-key", "certificate file: expected certificates in PEM or DER");
  return blocks.map((block) => parseCertificate(decodeBase64(block[1]!.replaceAll(/\s+/g, ""), "malformed-key")));
}
