import { p256, p384 } from "@noble/curves/nist.js";
import {
  DER_INTEGER,
  DER_NULL,
  DER_OID,
  DER_SEQUENCE,
  type DerElement,
  derFields,
  readDerElement,
  readDerNumber,
  readDerOid,
  readDerUnsigned,
} from "../der.ts";
import { bytesEqual, concatBytes, decodeHex } from "../encoding.ts";
import { isTallystickError, MalformedError } from "../errors.ts";
import { algorithmOfSpki, CURVE_ORDER, integerOf, parseSpki } from "../signature/public-key.ts";
import { verifyRsaPss } from "../signature/rsa-pss.ts";
import { verifySignature } from "../signature/table.ts";
import { HASH_FUNCTIONS, type SignatureHash, verifyRsaPkcs1 } from "./rsa.ts";

/** How a token or certificate is signed: one row for each AlgorithmIdentifier that is understood. */
export type SignatureScheme =
  | { readonly kind: "rsa-pkcs1"; readonly hash: SignatureHash }
  | { readonly kind: "rsa-pss"; readonly hash: SignatureHash; readonly saltBytes: number }
  | { readonly kind: "ecdsa"; readonly hash: SignatureHash }
  | { readonly kind: "ed25519"; readonly hash: "sha512" };

const OID_RSA = "1.2.840.113549.1.1.1";
const OID_MGF1 = "1.2.840.113549.1.1.8";
const OID_RSA_PSS = "1.2.840.113549.1.1.10";
const OID_EC_PUBLIC_KEY = "1.2.840.10045.2.1";
const OID_ED25519 = "1.3.101.112";

const HASH_OIDS: Readonly<Record<string, SignatureHash>> = {
  "2.16.840.1.101.3.4.2.1": "sha256",
  "2.16.840.1.101.3.4.2.2": "sha384",
  "2.16.840.1.101.3.4.2.3": "sha512",
};
const SIGNATURE_OIDS: Readonly<Record<string, SignatureScheme>> = {
  "1.2.840.113549.1.1.11": { kind: "rsa-pkcs1", hash: "sha256" },
  "1.2.840.113549.1.1.12": { kind: "rsa-pkcs1", hash: "sha384" },
  "1.2.840.113549.1.1.13": { kind: "rsa-pkcs1", hash: "sha512" },
  "1.2.840.10045.4.3.2": { kind: "ecdsa", hash: "sha256" },
  "1.2.840.10045.4.3.3": { kind: "ecdsa", hash: "sha384" },
  "1.2.840.10045.4.3.4": { kind: "ecdsa", hash: "sha512" },
  [OID_ED25519]: { kind: "ed25519", hash: "sha512" },
};

/** Object identifier and parameters of an AlgorithmIdentifier. */
function readAlgorithm(
  element: DerElement,
  what: string,
): { readonly oid: string; readonly parameters: DerElement | null } {
  const fields = derFields(element.content, what);
  const oid = readDerOid(fields.next(DER_OID), what);
  const parameters = fields.optional(DER_NULL) ?? fields.optional(DER_SEQUENCE) ?? fields.optional(DER_OID) ?? null;
  fields.end();
  if (parameters?.tag === DER_NULL && parameters.content.length > 0) throw unsupported(what, oid);
  return { oid, parameters };
}

/** Hash that an AlgorithmIdentifier names, without parameters or with NULL. `malformed-proof` for any other, SHA-1 included. */
export function readHashAlgorithm(element: DerElement, what: string): SignatureHash {
  const { oid, parameters } = readAlgorithm(element, what);
  const hash = Object.hasOwn(HASH_OIDS, oid) ? HASH_OIDS[oid] : undefined;
  if (hash === undefined || (parameters !== null && parameters.tag !== DER_NULL)) throw unsupported(what, oid);
  return hash;
}

/**
 * Signature scheme that an AlgorithmIdentifier names. In CMS it may name the key alone; then `digest` is the hash. One that
 * names another hash than `digest` is refused, as verifiers differ in what they make of it. `malformed-proof`.
 */
export function readSignatureAlgorithm(element: DerElement, what: string, digest?: SignatureHash): SignatureScheme {
  const { oid, parameters } = readAlgorithm(element, what);
  const scheme = schemeOf(oid, parameters, what, digest);
  if (digest !== undefined && scheme.hash !== digest) {
    throw new MalformedError("malformed-proof", `${what}: expected the hash ${digest}, got ${scheme.hash}`);
  }
  return scheme;
}

function schemeOf(oid: string, parameters: DerElement | null, what: string, digest?: SignatureHash): SignatureScheme {
  if (oid === OID_RSA_PSS && parameters?.tag === DER_SEQUENCE) return readPssParameters(parameters, what);
  // The curve is in the key; parameters that repeat it are not compared with it, so they are not accepted.
  if (parameters !== null && parameters.tag !== DER_NULL) throw unsupported(what, oid);
  if (digest !== undefined && oid === OID_RSA) return { kind: "rsa-pkcs1", hash: digest };
  if (digest !== undefined && oid === OID_EC_PUBLIC_KEY) return { kind: "ecdsa", hash: digest };
  const scheme = Object.hasOwn(SIGNATURE_OIDS, oid) ? SIGNATURE_OIDS[oid] : undefined;
  if (scheme === undefined) throw unsupported(what, oid);
  return scheme;
}

/** RSASSA-PSS-params with MGF1 over the same hash. The defaults are SHA-1, so hash and mask must be named. RFC 4055 §3.1. */
function readPssParameters(parameters: DerElement, what: string): SignatureScheme {
  const fields = derFields(parameters.content, what);
  const hash = readHashAlgorithm(readDerElement(fields.next(0xa0).content, DER_SEQUENCE, what), what);
  const mask = derFields(readDerElement(fields.next(0xa1).content, DER_SEQUENCE, what).content, what);
  const maskOid = readDerOid(mask.next(DER_OID), what);
  const maskHash = readHashAlgorithm(mask.next(DER_SEQUENCE), what);
  mask.end();
  const salt = fields.optional(0xa2);
  const saltBytes = salt === undefined ? 20 : readDerNumber(readDerElement(salt.content, DER_INTEGER, what), what);
  const trailer = fields.optional(0xa3);
  fields.end();
  const trailerNumber =
    trailer === undefined ? 1 : readDerNumber(readDerElement(trailer.content, DER_INTEGER, what), what);
  if (maskOid !== OID_MGF1 || maskHash !== hash || trailerNumber !== 1) throw unsupported(what, OID_RSA_PSS);
  return { kind: "rsa-pss", hash, saltBytes };
}

/**
 * Whether `signature` is the signature of `message` under the key in `spki`. False too where the key does not fit the scheme,
 * or is none that is accepted (curves but P-256 and P-384, RSA outside 2,048 to 8,192 bits).
 */
export async function verifyX509Signature(
  scheme: SignatureScheme,
  spki: Uint8Array,
  message: Uint8Array,
  signature: Uint8Array,
): Promise<boolean> {
  try {
    const algorithm = algorithmOfSpki(spki);
    if (algorithm === "rsa-pss") {
      const { rsa } = parseSpki(algorithm, spki);
      if (scheme.kind === "rsa-pkcs1") return verifyRsaPkcs1(rsa!, scheme.hash, message, signature);
      if (scheme.kind !== "rsa-pss") return false;
      const { hash, saltBytes } = scheme;
      return verifyRsaPss(rsa!, { digest: HASH_FUNCTIONS[hash], saltBytes }, message, signature);
    }
    if (algorithm === "ed25519")
      return scheme.kind === "ed25519" && (await verifySignature(algorithm, spki, message, signature));
    if ((algorithm !== "ecdsa-p256" && algorithm !== "ecdsa-p384") || scheme.kind !== "ecdsa") return false;
    const raw = readEcdsaSignature(signature, algorithm);
    if (raw === null) return false;
    // The usual pairs go to the platform; a curve with another hash is rare and takes the portable way.
    if (scheme.hash === (algorithm === "ecdsa-p256" ? "sha256" : "sha384")) {
      return await verifySignature(algorithm, spki, message, raw);
    }
    const curve = algorithm === "ecdsa-p256" ? p256 : p384;
    return curve.verify(raw, HASH_FUNCTIONS[scheme.hash](message), parseSpki(algorithm, spki).raw, { prehash: false });
  } catch (error) {
    if (isTallystickError(error)) return false;
    throw error;
  }
}

/**
 * r ‖ s of a DER signature, with the lower of s and n − s: others sign with either, and both verify alike. What is
 * evidence here is the token's bytes, which are pinned by their hash, so malleability changes nothing.
 */
function readEcdsaSignature(signature: Uint8Array, algorithm: "ecdsa-p256" | "ecdsa-p384"): Uint8Array | null {
  const fields = derFields(readDerElement(signature, DER_SEQUENCE, "signature").content, "signature");
  const r = readDerUnsigned(fields.next(DER_INTEGER), "signature");
  const s = integerOf(readDerUnsigned(fields.next(DER_INTEGER), "signature"));
  fields.end();
  const order = CURVE_ORDER[algorithm];
  const width = algorithm === "ecdsa-p256" ? 32 : 48;
  if (r.length > width || s >= order) return null;
  const low = s > order >> 1n ? order - s : s;
  const lowBytes = decodeHex(low.toString(16).padStart(2 * width, "0"), { code: "malformed-proof" });
  return concatBytes(new Uint8Array(width - r.length), r, lowBytes);
}

/** Whether two AlgorithmIdentifiers are the same bytes. */
export function isSameAlgorithm(a: DerElement, b: DerElement): boolean {
  return bytesEqual(a.bytes, b.bytes);
}

function unsupported(what: string, oid: string): MalformedError {
  return new MalformedError("malformed-proof", `${what}: the algorithm ${oid} or its parameters are not supported`);
}
