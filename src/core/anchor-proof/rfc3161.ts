import { sha1 } from "@noble/hashes/legacy.js";
import {
  DER_BIT_STRING,
  DER_BOOLEAN,
  DER_GENERALIZED_TIME,
  DER_INTEGER,
  DER_NULL,
  DER_OCTET_STRING,
  DER_OID,
  DER_SEQUENCE,
  DER_SET,
  type DerElement,
  type DerTime,
  derFields,
  readDerBoolean,
  readDerElement,
  readDerElements,
  readDerInteger,
  readDerNumber,
  readDerOid,
  readDerTime,
  readDerUnsigned,
  writeDer,
  writeDerOid,
  writeDerUnsigned,
} from "../der.ts";
import { bytesEqual, concatBytes, decodeUtf8, encodeHex } from "../encoding.ts";
import { isTallystickError, MalformedError, PolicyError, VerificationError } from "../errors.ts";
import { TIME_SKEW_SECONDS_MAX } from "../limits.ts";
import { buildChain, type Certificate, describeName, objectionToSigner, parseCertificate } from "./certificate.ts";
import { HASH_FUNCTIONS, type SignatureHash } from "./rsa.ts";
import {
  readHashAlgorithm,
  readSignatureAlgorithm,
  type SignatureScheme,
  verifyX509Signature,
} from "./x509-signature.ts";

/** Time-stamp tokens: somebody outside signs that a digest existed at a time. RFC 3161, 5035, 5652, 5816. Spec: spec/anchors.md. */

/** Bytes of a response or token: one with a chain of RSA certificates has about 6 kB. */
export const TIMESTAMP_BYTES_MAX: number = 64 * 1024;
/** Certificates of one token that are looked at. */
const CERTIFICATES_MAX = 32;
/** Text of a refusal that is kept. */
const STATUS_TEXT_CHARACTERS_MAX = 200;

const OID_SHA256 = "2.16.840.1.101.3.4.2.1";
const OID_SIGNED_DATA = "1.2.840.113549.1.7.2";
const OID_TST_INFO = "1.2.840.113549.1.9.16.1.4";
const OID_CONTENT_TYPE = "1.2.840.113549.1.9.3";
const OID_MESSAGE_DIGEST = "1.2.840.113549.1.9.4";
const OID_SIGNING_CERTIFICATE = "1.2.840.113549.1.9.16.2.12";
const OID_SIGNING_CERTIFICATE_V2 = "1.2.840.113549.1.9.16.2.47";

export interface TimestampRequest {
  /** SHA-256 of what is stamped. */
  readonly digest: Uint8Array;
  /** 8 to 32 random bytes; read as a positive integer. */
  readonly nonce: Uint8Array;
  /** Policy that the authority is asked to stamp under, in dotted decimal. */
  readonly policy?: string;
}

/** DER of a TimeStampReq that asks for the certificates too (certReq). RFC 3161 §2.4.1. */
export function formatTimestampRequest({ digest, nonce, policy }: TimestampRequest): Uint8Array {
  assertDigest(digest, "formatTimestampRequest");
  if (nonce.length < 8 || nonce.length > 32)
    throw new RangeError(`formatTimestampRequest: expected a nonce of 8 to 32 bytes, got ${nonce.length}`);
  const algorithm = writeDer(DER_SEQUENCE, writeDerOid(OID_SHA256), writeDer(DER_NULL));
  return writeDer(
    DER_SEQUENCE,
    writeDerUnsigned(Uint8Array.of(1)),
    writeDer(DER_SEQUENCE, algorithm, writeDer(DER_OCTET_STRING, digest)),
    ...(policy === undefined ? [] : [writeDerOid(policy)]),
    writeDerUnsigned(nonce),
    writeDer(DER_BOOLEAN, Uint8Array.of(0xff)),
  );
}

export interface TimestampResponse {
  /** PKIStatus: 0 granted, 1 granted with changes, 2 to 5 refused. */
  readonly status: number;
  /** What the authority says of it, at most 200 characters; not to be trusted. */
  readonly text: string;
  /** Numbers of the PKIFailureInfo bits. */
  readonly failures: readonly number[];
  /** DER of the token; null exactly where it was refused. */
  readonly token: Uint8Array | null;
}

/** A TimeStampResp. `malformed-proof` for other bytes, a rest behind it, and a status that contradicts the token. RFC 3161 §2.4.2. */
export function parseTimestampResponse(bytes: Uint8Array): TimestampResponse {
  const what = "time-stamp response";
  assertSize(bytes, what);
  const fields = derFields(readDerElement(bytes, DER_SEQUENCE, what).content, what);
  const info = derFields(fields.next(DER_SEQUENCE).content, what);
  const status = readDerNumber(info.next(DER_INTEGER), what);
  const texts = info.optional(DER_SEQUENCE);
  const failInfo = info.optional(DER_BIT_STRING);
  info.end();
  const token = fields.optional(DER_SEQUENCE)?.bytes ?? null;
  fields.end();
  if (status > 5 || status < 2 !== (token !== null)) {
    throw malformed(what, `status ${status} ${token === null ? "without" : "with"} a token`);
  }
  const text =
    texts === undefined
      ? ""
      : readDerElements(texts.content, what)
          .map((one) => textOf(one.content))
          .join(" ");
  return { status, text: text.slice(0, STATUS_TEXT_CHARACTERS_MAX), failures: readBits(failInfo), token };
}

function readBits(element: DerElement | undefined): readonly number[] {
  const [, ...bytes] = element?.content.subarray(0, 5) ?? [];
  return Array.from({ length: 8 * bytes.length }, (_, bit) => bit).filter(
    (bit) => bytes[bit >> 3]! & (0x80 >> (bit & 7)),
  );
}

/** A time-stamp token as it stands, with the bytes that its signature is over. Nothing is verified. */
export interface TimestampToken {
  /** DER of the ContentInfo. */
  readonly bytes: Uint8Array;
  /** DER of the TSTInfo. */
  readonly content: Uint8Array;
  readonly info: TimestampInfo;
  /** DER of the certificates that came along. */
  readonly certificates: readonly Uint8Array[];
  readonly signer: {
    /** DER of the issuer's name, and the serial number. */
    readonly issuer: Uint8Array;
    readonly serialNumber: Uint8Array;
    readonly digestAlgorithm: SignatureHash;
    readonly scheme: SignatureScheme;
    readonly signature: Uint8Array;
    /** The signed attributes as a SET, which is what the signature is over. */
    readonly signedAttributes: Uint8Array;
    /** The one value of each attribute by its object identifier. */
    readonly attributes: ReadonlyMap<string, DerElement>;
  };
}

export interface TimestampInfo {
  readonly policy: string;
  readonly imprint: { readonly algorithm: SignatureHash; readonly digest: Uint8Array };
  /** Hex of the integer. */
  readonly serialNumber: string;
  readonly genTime: DerTime;
  /** Microseconds by which the time may be off, either way; null where the token does not say. */
  readonly accuracyMicros: number | null;
  /** The integer without leading zeros; null without one. */
  readonly nonce: Uint8Array | null;
}

/**
 * Token of a proof: the DER of a token (`.tst`) or of a response that grants one (`.tsr`). `malformed-proof` for anything else,
 * and for a token that is not version 3 with exactly one signer, named by issuer and serial number, and its attributes once each.
 */
export function parseTimestampToken(proof: Uint8Array): TimestampToken {
  const what = "time-stamp token";
  assertSize(proof, what);
  const top = readDerElements(readDerElement(proof, DER_SEQUENCE, what).content, what);
  if (top[0]?.tag === DER_SEQUENCE) {
    const { token } = parseTimestampResponse(proof);
    if (token === null) throw malformed(what, "the response refuses one");
    return parseTimestampToken(token);
  }
  const info = derFields(readDerElement(proof, DER_SEQUENCE, what).content, what);
  expectOid(info.next(DER_OID), OID_SIGNED_DATA, what);
  const wrapped = info.next(0xa0).content;
  info.end();

  const data = derFields(readDerElement(wrapped, DER_SEQUENCE, what).content, what);
  expectNumber(data.next(DER_INTEGER), 3, "version", what);
  data.next(DER_SET);
  const inner = derFields(data.next(DER_SEQUENCE).content, what);
  expectOid(inner.next(DER_OID), OID_TST_INFO, what);
  const content = readDerElement(inner.next(0xa0).content, DER_OCTET_STRING, what).content;
  inner.end();
  const bag = data.optional(0xa0);
  data.optional(0xa1);
  const signers = readDerElements(data.next(DER_SET).content, what);
  data.end();
  const [signer] = signers;
  if (signer?.tag !== DER_SEQUENCE || signers.length !== 1)
    throw malformed(what, `expected one signer, got ${signers.length}`);

  const certificates =
    bag === undefined ? [] : readDerElements(bag.content, what).filter((one) => one.tag === DER_SEQUENCE);
  if (certificates.length > CERTIFICATES_MAX)
    throw malformed(what, `expected at most ${CERTIFICATES_MAX} certificates, got ${certificates.length}`);
  return {
    ...{ bytes: proof, content, info: parseTimestampInfo(content) },
    certificates: certificates.map((one) => one.bytes),
    signer: readSigner(signer),
  };
}

function readSigner(element: DerElement): TimestampToken["signer"] {
  const what = "signer of the time-stamp token";
  const fields = derFields(element.content, what);
  expectNumber(fields.next(DER_INTEGER), 1, "version", what);
  const id = derFields(fields.next(DER_SEQUENCE).content, what);
  const issuer = id.next(DER_SEQUENCE).bytes;
  const serialNumber = readDerInteger(id.next(DER_INTEGER), what);
  id.end();
  const digestAlgorithm = readHashAlgorithm(fields.next(DER_SEQUENCE), what);
  const signed = fields.next(0xa0);
  const scheme = readSignatureAlgorithm(fields.next(DER_SEQUENCE), what, digestAlgorithm);
  const signature = fields.next(DER_OCTET_STRING).content;
  // Attributes that are not signed say nothing.
  fields.optional(0xa1);
  fields.end();

  const attributes = new Map<string, DerElement>();
  for (const attribute of readDerElements(signed.content, what)) {
    if (attribute.tag !== DER_SEQUENCE) throw malformed(what, "expected attributes");
    const pair = derFields(attribute.content, what);
    const oid = readDerOid(pair.next(DER_OID), what);
    const values = readDerElements(pair.next(DER_SET).content, what);
    pair.end();
    const [value] = values;
    if (value === undefined || values.length !== 1 || attributes.has(oid))
      throw malformed(what, `expected one value of ${oid}`);
    attributes.set(oid, value);
  }
  // The signature is over the SET; in the token it stands under the tag [0]. RFC 5652 §5.4.
  const signedAttributes = concatBytes(Uint8Array.of(DER_SET), signed.bytes.subarray(1));
  return { issuer, serialNumber, digestAlgorithm, scheme, signature, signedAttributes, attributes };
}

function parseTimestampInfo(content: Uint8Array): TimestampInfo {
  const what = "time-stamp info";
  const fields = derFields(readDerElement(content, DER_SEQUENCE, what).content, what);
  expectNumber(fields.next(DER_INTEGER), 1, "version", what);
  const policy = readDerOid(fields.next(DER_OID), what);
  const imprint = derFields(fields.next(DER_SEQUENCE).content, what);
  const algorithm = readHashAlgorithm(imprint.next(DER_SEQUENCE), what);
  const digest = imprint.next(DER_OCTET_STRING).content;
  imprint.end();
  const serialNumber = encodeHex(readDerInteger(fields.next(DER_INTEGER), what));
  const genTime = readDerTime(fields.next(DER_GENERALIZED_TIME), what);
  const accuracy = fields.optional(DER_SEQUENCE);
  const ordering = fields.optional(DER_BOOLEAN);
  if (ordering !== undefined) readDerBoolean(ordering, what);
  const nonce = fields.optional(DER_INTEGER);
  fields.optional(0xa0);
  const extensions = fields.optional(0xa1);
  fields.end();
  if (extensions !== undefined) refuseCriticalExtensions(extensions, what);
  return {
    ...{ policy, imprint: { algorithm, digest }, serialNumber, genTime },
    accuracyMicros: accuracy === undefined ? null : readAccuracy(accuracy, what),
    nonce: nonce === undefined ? null : readDerUnsigned(nonce, what),
  };
}

function readAccuracy(element: DerElement, what: string): number {
  const fields = derFields(element.content, what);
  const seconds = fields.optional(DER_INTEGER);
  const millis = fields.optional(0x80);
  const micros = fields.optional(0x81);
  fields.end();
  const part = (one: DerElement | undefined): number => {
    const value = one === undefined ? 0 : readDerNumber({ ...one, tag: DER_INTEGER }, what);
    if (value > 999) throw malformed(what, "expected an accuracy with parts of at most 999");
    return value;
  };
  const whole = seconds === undefined ? 0 : readDerNumber(seconds, what);
  // A year: beyond it a time stamp says nothing, and the sum stays exact.
  if (whole > 31_536_000) throw malformed(what, "expected an accuracy of at most a year");
  return whole * 1_000_000 + part(millis) * 1_000 + part(micros);
}

function refuseCriticalExtensions(wrapper: DerElement, what: string): void {
  for (const extension of readDerElements(wrapper.content, what)) {
    if (extension.tag !== DER_SEQUENCE) throw malformed(what, "expected extensions");
    const fields = derFields(extension.content, what);
    const oid = readDerOid(fields.next(DER_OID), what);
    const critical = fields.optional(DER_BOOLEAN);
    if (critical !== undefined && readDerBoolean(critical, what))
      throw malformed(what, `the critical extension ${oid} is unknown`);
  }
}

export interface VerifyTimestampOptions {
  /** SHA-256 of what was stamped: of the anchored note. */
  readonly digest: Uint8Array;
  /** Certificates that the reader pins. Nothing else is trusted; those of the token only link. */
  readonly roots: readonly Certificate[];
  /** More certificates that may link, for a token that came without: not trusted. */
  readonly certificates?: readonly Certificate[];
  /** Nonce of the request, where it is known. */
  readonly nonce?: Uint8Array;
  /** Policies in dotted decimal of which the token must name one; any without. */
  readonly policies?: readonly string[];
  /** Milliseconds since 1970 after which nothing can have been stamped: the reader's clock. */
  readonly nowMs?: number;
}

/** What a token proves: its digest existed at `notAfterMs`, if the authority of `chain` is trusted to tell the time. */
export interface VerifiedTimestamp {
  /** Time in the token, in UTC with its fraction. */
  readonly genTime: string;
  /** Milliseconds since 1970, rounded up: the time in the token and its accuracy. The digest existed by then. */
  readonly notAfterMs: number;
  /** The time in the token less its accuracy, rounded down: whatever holds the token came after it. */
  readonly notBeforeMs: number;
  /** Milliseconds; null where the token does not say, which moves neither bound. */
  readonly accuracyMs: number | null;
  readonly policy: string;
  /** Hex. */
  readonly serialNumber: string;
  /** Name of the authority, for people; escape before showing. */
  readonly authority: string;
  /** From the authority's certificate to the pinned one. */
  readonly chain: readonly Certificate[];
}

/**
 * Verifies a proof (`.tst` or `.tsr`) offline, by everything that RFC 3161 §2.2 to 2.4 asks of a reader: imprint, nonce, policy,
 * content type and message digest, ESS signing certificate, the signature over the attributes as they stand, critical and sole
 * time-stamping purpose, and a chain to a pinned certificate in which all were valid at the stamped time. Revocation is not
 * looked at. `malformed-proof`: no such token, or an algorithm that is not supported; `proof-invalid`: another digest or nonce,
 * a time to come, or a certificate that cannot stamp; `signature-invalid`; `untrusted-key`: no chain, or another policy.
 */
export async function verifyTimestamp(proof: Uint8Array, options: VerifyTimestampOptions): Promise<VerifiedTimestamp> {
  assertDigest(options.digest, "verifyTimestamp");
  const token = parseTimestampToken(proof);
  const { info, signer: signed } = token;
  checkInfo(info, options);

  const bag = [...parseBag(token.certificates), ...(options.certificates ?? []), ...options.roots];
  const signer = findSigner(token, bag);
  checkAttributes(token);
  if (!(await verifyX509Signature(signed.scheme, signer.spki, signed.signedAttributes, signed.signature))) {
    throw new VerificationError("signature-invalid", "time-stamp token: the signature does not verify");
  }
  const objection = objectionToSigner(signer);
  if (objection !== null) throw invalid(`the certificate of its signer ${objection}`);
  const chain = await buildChain({ signer, candidates: bag, roots: options.roots, time: info.genTime.seconds });
  return {
    genTime: formatTime(info.genTime),
    ...boundsOf(info),
    accuracyMs: info.accuracyMicros === null ? null : info.accuracyMicros / 1_000,
    policy: info.policy,
    serialNumber: info.serialNumber,
    authority: describeName(signer.subject),
    chain,
  };
}

function checkInfo(info: TimestampInfo, options: VerifyTimestampOptions): void {
  if (info.imprint.algorithm !== "sha256" || !bytesEqual(info.imprint.digest, options.digest))
    throw invalid("it stamps another digest");
  if (options.nonce !== undefined && !isSameNonce(info.nonce, options.nonce))
    throw invalid("its nonce is not that of the request");
  if (options.policies !== undefined && !options.policies.includes(info.policy)) {
    throw new PolicyError("untrusted-key", `time-stamp token: its policy ${info.policy} is not one of those pinned`);
  }
  if (options.nowMs !== undefined && 1_000 * info.genTime.seconds > options.nowMs + 1_000 * TIME_SKEW_SECONDS_MAX) {
    throw invalid("it stamps a time to come");
  }
}

function isSameNonce(actual: Uint8Array | null, expected: Uint8Array): boolean {
  let start = 0;
  while (start < expected.length - 1 && expected[start] === 0) start++;
  return actual !== null && bytesEqual(actual, expected.subarray(start));
}

/** Certificates that do not parse cannot support anything, and must not spoil a token that does not need them. */
function parseBag(certificates: readonly Uint8Array[]): readonly Certificate[] {
  return certificates.flatMap((der) => {
    try {
      return [parseCertificate(der)];
    } catch (error) {
      if (!isTallystickError(error)) throw error;
      return [];
    }
  });
}

/** By issuer and serial number and by the ESS hash, never by position: anybody can put certificates into the bag. */
function findSigner(token: TimestampToken, bag: readonly Certificate[]): Certificate {
  const { issuer, serialNumber } = token.signer;
  const named = bag.filter((one) => bytesEqual(one.issuer, issuer) && bytesEqual(one.serialNumber, serialNumber));
  if (named.length === 0)
    throw new PolicyError("untrusted-key", "time-stamp token: the certificate of its signer is not at hand");
  const signer = named.find((one) => isBound(token, one));
  if (signer === undefined) throw invalid("its signing-certificate attribute names another certificate");
  return signer;
}

function checkAttributes({ content, signer }: TimestampToken): void {
  const what = "signer of the time-stamp token";
  const type = signer.attributes.get(OID_CONTENT_TYPE);
  if (type === undefined || readDerOid(type, what) !== OID_TST_INFO) throw invalid("its content type is not signed");
  const digest = signer.attributes.get(OID_MESSAGE_DIGEST);
  const expected = HASH_FUNCTIONS[signer.digestAlgorithm](content);
  if (digest?.tag !== DER_OCTET_STRING || !bytesEqual(digest.content, expected))
    throw invalid("its message digest is another");
}

/** Whether the signed attribute binds this certificate: each of the two forms that is there, and at least one. RFC 5035 §3, §4. */
function isBound({ signer }: TimestampToken, certificate: Certificate): boolean {
  const v2 = signer.attributes.get(OID_SIGNING_CERTIFICATE_V2);
  const v1 = signer.attributes.get(OID_SIGNING_CERTIFICATE);
  if (v1 === undefined && v2 === undefined) throw invalid("it has no signing-certificate attribute");
  return (v2 === undefined || isNamed(v2, certificate, true)) && (v1 === undefined || isNamed(v1, certificate, false));
}

function isNamed(attribute: DerElement, certificate: Certificate, withAlgorithm: boolean): boolean {
  const what = "signing-certificate attribute";
  if (attribute.tag !== DER_SEQUENCE) throw malformed(what, "expected a sequence");
  const lists = derFields(attribute.content, what);
  // Only the first names the signer; those behind it are the chain's, as some authorities send it.
  const [first] = readDerElements(lists.next(DER_SEQUENCE).content, what);
  lists.optional(DER_SEQUENCE);
  lists.end();
  if (first?.tag !== DER_SEQUENCE) throw malformed(what, "expected a certificate identifier");
  const fields = derFields(first.content, what);
  const algorithm = withAlgorithm ? fields.optional(DER_SEQUENCE) : undefined;
  const hash = fields.next(DER_OCTET_STRING).content;
  const issuerSerial = fields.optional(DER_SEQUENCE);
  fields.end();
  const digest = withAlgorithm
    ? HASH_FUNCTIONS[algorithm === undefined ? "sha256" : readHashAlgorithm(algorithm, what)]
    : sha1;
  if (!bytesEqual(hash, digest(certificate.der))) return false;
  return issuerSerial === undefined || isIssuerSerial(issuerSerial, certificate, what);
}

function isIssuerSerial(element: DerElement, certificate: Certificate, what: string): boolean {
  const fields = derFields(element.content, what);
  const names = readDerElements(fields.next(DER_SEQUENCE).content, what);
  const serialNumber = readDerInteger(fields.next(DER_INTEGER), what);
  fields.end();
  const [name] = names;
  return (
    names.length === 1 &&
    name?.tag === 0xa4 &&
    bytesEqual(name.content, certificate.issuer) &&
    bytesEqual(serialNumber, certificate.serialNumber)
  );
}

/** First and last millisecond of the bracket. What is finer than a millisecond widens it, so that both stay bounds. */
function boundsOf({ genTime, accuracyMicros }: TimestampInfo): Pick<VerifiedTimestamp, "notAfterMs" | "notBeforeMs"> {
  const micros = Number(genTime.fraction.padEnd(9, "0")) / 1_000;
  const accuracy = accuracyMicros ?? 0;
  const whole = genTime.seconds * 1_000;
  return {
    notAfterMs: whole + Math.ceil((micros + accuracy) / 1_000),
    notBeforeMs: whole + Math.floor((micros - accuracy) / 1_000),
  };
}

function formatTime({ seconds, fraction }: DerTime): string {
  const whole = new Date(seconds * 1_000).toISOString().slice(0, 19);
  return `${whole}${fraction === "" ? "" : `.${fraction}`}Z`;
}

function textOf(bytes: Uint8Array): string {
  try {
    return decodeUtf8(bytes, "malformed-proof");
  } catch (error) {
    if (!isTallystickError(error)) throw error;
    return "";
  }
}

function expectOid(element: DerElement, expected: string, what: string): void {
  const oid = readDerOid(element, what);
  if (oid !== expected) throw malformed(what, `expected ${expected}, got ${oid}`);
}

function expectNumber(element: DerElement, expected: number, name: string, what: string): void {
  const value = readDerNumber(element, what);
  if (value !== expected) throw malformed(what, `expected ${name} ${expected}, got ${value}`);
}

function assertSize(bytes: Uint8Array, what: string): void {
  if (bytes.length > TIMESTAMP_BYTES_MAX)
    throw malformed(what, `expected at most ${TIMESTAMP_BYTES_MAX} bytes, got ${bytes.length}`);
}

function assertDigest(digest: Uint8Array, name: string): void {
  if (digest.length !== 32) throw new RangeError(`${name}: expected a digest of 32 bytes, got ${digest.length}`);
}

function malformed(what: string, problem: string): MalformedError {
  return new MalformedError("malformed-proof", `${what}: ${problem}`);
}

function invalid(problem: string): VerificationError {
  return new VerificationError("proof-invalid", `time-stamp token: ${problem}`);
}
