import {
  constants,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type JsonWebKey,
  type KeyObject,
  sign,
  verify,
} from "node:crypto";
import { ml_dsa44, ml_dsa65, ml_dsa87 } from "@noble/post-quantum/ml-dsa.js";
import { bytesEqual, concatBytes, decodeBase64, decodeHex, encodeBase64, encodeHex } from "../core/encoding.ts";
import { FatalError, MalformedError } from "../core/errors.ts";
import {
  type Algorithm,
  CURVE_ORDER,
  type EcdsaAlgorithm,
  formatRsaSpki,
  formatSpki,
  integerOf,
} from "../core/signature/public-key.ts";
import { checkSpki, verifySignature } from "../core/signature/table.ts";
import type { Random } from "../ledger/random.ts";
import { DER_INTEGER, DER_OCTET_STRING, DER_OID, DER_SEQUENCE, expectDer, readDer, readDerOnly } from "./der.ts";

/** A private key in this process. Its secret is reachable through `pkcs8` alone, never by printing or JSON. */
export interface PrivateKey {
  readonly algorithm: Algorithm;
  /** DER SubjectPublicKeyInfo. */
  readonly spki: Uint8Array;
  /** The key inside the SPKI, as `PublicKey.raw`. Empty for RSA. */
  readonly publicRaw: Uint8Array;
  /** Unencrypted PKCS#8 DER; ML-DSA as its 32-byte seed (RFC 9881). */
  pkcs8(): Uint8Array;
  /** RFC 7517 private key; ML-DSA as `{ kty: "AKP", alg, pub, priv }` with the seed in `priv`. */
  jwk(): JsonWebKey;
  sign(message: Uint8Array): Promise<Uint8Array>;
}

/** Algorithms whose whole secret is 32 bytes. */
export type SeedAlgorithm = "ed25519" | "ml-dsa-44" | "ml-dsa-65" | "ml-dsa-87";

const SEED_BYTES = 32;

interface SeedForm {
  readonly oid: string;
  /** PKCS#8 up to the seed. */
  readonly prefix: Uint8Array;
  readonly jwkAlg: string;
}

const SEED_FORMS: Readonly<Record<SeedAlgorithm, SeedForm>> = {
  ed25519: seedForm("2b6570", "302e020100300506032b657004220420", "Ed25519"),
  "ml-dsa-44": seedForm("608648016503040311", "3034020100300b060960864801650304031104228020", "ML-DSA-44"),
  "ml-dsa-65": seedForm("608648016503040312", "3034020100300b060960864801650304031204228020", "ML-DSA-65"),
  "ml-dsa-87": seedForm("608648016503040313", "3034020100300b060960864801650304031304228020", "ML-DSA-87"),
};

const ML_DSA = { "ml-dsa-44": ml_dsa44, "ml-dsa-65": ml_dsa65, "ml-dsa-87": ml_dsa87 } as const;

const CURVES: Readonly<Record<string, EcdsaAlgorithm>> = {
  prime256v1: "ecdsa-p256",
  secp384r1: "ecdsa-p384",
  secp256k1: "ecdsa-secp256k1",
};

function seedForm(oid: string, prefixHex: string, jwkAlg: string): SeedForm {
  return { oid, prefix: decodeHex(prefixHex, { code: "malformed-key" }), jwkAlg };
}

/** A new key; the 32-byte seeds come from `random`, EC and RSA keys (3,072 bits) from OpenSSL. */
export function generatePrivateKey(algorithm: Algorithm, random: Random): PrivateKey {
  if (isSeedAlgorithm(algorithm)) return privateKeyFromSeed(algorithm, random.fill(new Uint8Array(SEED_BYTES)));
  if (algorithm === "rsa-pss") {
    return nativePrivateKey(generateKeyPairSync("rsa", { modulusLength: 3072 }).privateKey);
  }
  const namedCurve = Object.keys(CURVES).find((name) => CURVES[name] === algorithm)!;
  return nativePrivateKey(generateKeyPairSync("ec", { namedCurve }).privateKey);
}

/**
 * Key of a 32-byte seed: the RFC 8032 private key, or the ML-DSA seed ξ. ML-DSA signatures are hedged with fresh
 * randomness unless `deterministic` (FIPS 204 §3.4 allows both); Ed25519 is deterministic anyway.
 */
export function privateKeyFromSeed(
  algorithm: SeedAlgorithm,
  seed: Uint8Array,
  { deterministic = false }: { readonly deterministic?: boolean } = {},
): PrivateKey {
  if (seed.length !== SEED_BYTES) throw new RangeError(`seed: expected ${SEED_BYTES} bytes, got ${seed.length}`);
  const { prefix, jwkAlg } = SEED_FORMS[algorithm];
  const secret = Uint8Array.from(seed);
  const pkcs8 = (): Uint8Array => concatBytes(prefix, secret);
  if (algorithm === "ed25519") {
    const native = importNative(pkcs8());
    const publicRaw = Uint8Array.from(spkiOf(native).subarray(-32));
    return {
      algorithm,
      spki: formatSpki(algorithm, publicRaw),
      publicRaw,
      pkcs8,
      jwk: () => ({ kty: "OKP", crv: "Ed25519", x: base64Url(publicRaw), d: base64Url(secret) }),
      sign: async (message) => sign(null, message, native),
    };
  }
  const scheme = ML_DSA[algorithm];
  const { publicKey, secretKey } = scheme.keygen(secret);
  // Node 24 signs eight times faster than JavaScript, but always hedged.
  const native = deterministic ? undefined : tryImportNative(pkcs8());
  return {
    algorithm,
    spki: formatSpki(algorithm, publicKey),
    publicRaw: publicKey,
    pkcs8,
    jwk: () => ({ kty: "AKP", alg: jwkAlg, pub: base64Url(publicKey), priv: base64Url(secret) }),
    sign: async (message) => {
      if (native !== undefined) return sign(null, message, native);
      return deterministic ? scheme.sign(message, secretKey, { extraEntropy: false }) : scheme.sign(message, secretKey);
    },
  };
}

/**
 * Key of unencrypted PKCS#8 DER (RFC 5958): Ed25519, P-256, P-384, secp256k1, RSA, and ML-DSA as seed or seed with
 * expanded key (RFC 9881). Refuses with `malformed-key` a public half that is not that of the private one.
 */
export function privateKeyFromPkcs8(der: Uint8Array): PrivateKey {
  const [version, algorithm, secret, ...rest] = readDer(readDerOnly(der, DER_SEQUENCE));
  expectDer(version, DER_INTEGER);
  const oid = encodeHex(expectDer(readDer(expectDer(algorithm, DER_SEQUENCE))[0], DER_OID));
  const inner = expectDer(secret, DER_OCTET_STRING);
  const name = (Object.keys(SEED_FORMS) as SeedAlgorithm[]).find((row) => SEED_FORMS[row].oid === oid);
  if (name === undefined) {
    const native = tryImportNative(der);
    if (native === undefined) throw malformed("unsupported or damaged PKCS#8");
    return nativePrivateKey(native);
  }
  const key = privateKeyFromSeed(name, readSeed(name, inner));
  const publicHalf = rest.find((element) => element.tag === 0x81)?.content.subarray(1);
  if (publicHalf !== undefined && !bytesEqual(publicHalf, key.publicRaw)) throw mismatch();
  return key;
}

function readSeed(algorithm: SeedAlgorithm, inner: Uint8Array): Uint8Array {
  const [element] = readDer(inner);
  if (algorithm === "ed25519") return expectSeed(readDerOnly(inner, DER_OCTET_STRING));
  // RFC 9881 §6: seed [0], expandedKey, or both.
  if (element?.tag === 0x80) return expectSeed(readDerOnly(inner, 0x80));
  if (element?.tag !== DER_SEQUENCE) {
    throw malformed("this ML-DSA key holds only the expanded form; export it together with its seed");
  }
  const [seed, expanded] = readDer(readDerOnly(inner, DER_SEQUENCE));
  const secret = expectSeed(expectDer(seed, DER_OCTET_STRING));
  if (!bytesEqual(expectDer(expanded, DER_OCTET_STRING), ML_DSA[algorithm].keygen(secret).secretKey)) throw mismatch();
  return secret;
}

function expectSeed(content: Uint8Array): Uint8Array {
  if (content.length !== SEED_BYTES) throw malformed(`expected a ${SEED_BYTES}-byte seed, got ${content.length}`);
  return content;
}

/** Key of a private JWK: kty OKP (Ed25519), AKP (ML-DSA, seed in `priv`), EC or RSA. RFC 7517, 8037; RFC 9864 names. */
export function privateKeyFromJwk(jwk: JsonWebKey): PrivateKey {
  const rows = Object.keys(SEED_FORMS) as SeedAlgorithm[];
  if (jwk.kty === "OKP" || jwk.kty === "AKP") {
    const label = jwk.kty === "OKP" ? jwk.crv : jwk.alg;
    const name = rows.find((row) => (row === "ed25519") === (jwk.kty === "OKP") && SEED_FORMS[row].jwkAlg === label);
    if (name === undefined) throw malformed("unsupported JWK curve or alg");
    const key = privateKeyFromSeed(name, expectSeed(readBase64Url(jwk.kty === "OKP" ? jwk.d : jwk.priv)));
    if (!bytesEqual(readBase64Url(jwk.kty === "OKP" ? jwk.x : jwk.pub), key.publicRaw)) throw mismatch();
    return key;
  }
  if (jwk.kty !== "EC" && jwk.kty !== "RSA") throw malformed("unsupported JWK kty");
  let native: KeyObject;
  try {
    native = createPrivateKey({ key: jwk, format: "jwk" });
  } catch {
    // OpenSSL's own message may quote the input, so it goes no further.
    throw malformed("unsupported or damaged JWK");
  }
  return nativePrivateKey(native);
}

/** EC and RSA keys, which OpenSSL holds on every Node; the SPKI is rebuilt in the one form that the formats accept. */
function nativePrivateKey(native: KeyObject): PrivateKey {
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = native;
  if ((type === "ec" || type === "rsa") && !isPair(native)) throw mismatch();
  const pkcs8 = (): Uint8Array => Uint8Array.from(native.export({ format: "der", type: "pkcs8" }));
  const jwk = (): JsonWebKey => native.export({ format: "jwk" });
  if (type === "rsa") {
    const { n, e } = createPublicKey(native).export({ format: "jwk" });
    const spki = formatRsaSpki(integerOf(readBase64Url(n)), integerOf(readBase64Url(e)));
    checkSpki("rsa-pss", spki);
    const options = { key: native, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 };
    const signPss = async (message: Uint8Array): Promise<Uint8Array> => sign("sha256", message, options);
    return { algorithm: "rsa-pss", spki, publicRaw: new Uint8Array(), pkcs8, jwk, sign: signPss };
  }
  const algorithm = type === "ec" ? CURVES[details?.namedCurve ?? ""] : undefined;
  if (algorithm === undefined) throw malformed(`unsupported kind ${String(type)}`);
  const { x, y } = createPublicKey(native).export({ format: "jwk" });
  const publicRaw = concatBytes(Uint8Array.of(4), readBase64Url(x), readBase64Url(y));
  const spki = formatSpki(algorithm, publicRaw);
  checkSpki(algorithm, spki);
  const hash = algorithm === "ecdsa-p384" ? "sha384" : "sha256";
  return {
    algorithm,
    spki,
    publicRaw,
    pkcs8,
    jwk,
    sign: async (message) => withLowS(algorithm, sign(hash, message, { key: native, dsaEncoding: "ieee-p1363" })),
  };
}

/** Whether the public half that the file gives belongs to the private one: OpenSSL does not ask when it reads a key. */
function isPair(native: KeyObject): boolean {
  const trial = new Uint8Array(1);
  try {
    return verify("sha256", trial, createPublicKey(native), sign("sha256", trial, native));
  } catch {
    // Numbers that OpenSSL cannot sign with, such as a modulus of a few bits.
    return false;
  }
}

/** r ‖ min(s, n − s): verifiers refuse the high one. */
export function withLowS(algorithm: EcdsaAlgorithm, signature: Uint8Array): Uint8Array {
  const order = CURVE_ORDER[algorithm];
  const width = signature.length / 2;
  const s = integerOf(signature.subarray(width));
  if (s <= order >> 1n) return signature;
  const low = (order - s).toString(16).padStart(2 * width, "0");
  return concatBytes(signature.subarray(0, width), decodeHex(low, { code: "malformed-signature" }));
}

/**
 * Signature by `key` that has been verified before it is returned: a fault while signing with a deterministic scheme
 * can give the key away, and a signature that nobody can verify must not be stored. `invariant-broken` otherwise.
 */
export async function signChecked(key: PrivateKey, input: Uint8Array): Promise<Uint8Array> {
  // A copy: the caller may reuse its buffer before the signature has been verified.
  const message = Uint8Array.from(input);
  const signature = Uint8Array.from(await key.sign(message));
  if (!(await verifySignature(key.algorithm, key.spki, message, signature))) {
    throw new FatalError("invariant-broken", `${key.algorithm} signer: its own signature does not verify`);
  }
  return signature;
}

export function isSeedAlgorithm(algorithm: Algorithm): algorithm is SeedAlgorithm {
  return Object.hasOwn(SEED_FORMS, algorithm);
}

function importNative(pkcs8: Uint8Array): KeyObject {
  return createPrivateKey({ key: Buffer.from(pkcs8), format: "der", type: "pkcs8" });
}

function tryImportNative(pkcs8: Uint8Array): KeyObject | undefined {
  try {
    return importNative(pkcs8);
  } catch {
    // This OpenSSL lacks the algorithm, or the file is damaged: the callers tell the two apart.
    return undefined;
  }
}

function spkiOf(native: KeyObject): Uint8Array {
  return createPublicKey(native).export({ format: "der", type: "spki" });
}

function base64Url(bytes: Uint8Array): string {
  return encodeBase64(bytes).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** Canonical unpadded base64url (RFC 7515 §2). */
function readBase64Url(text: unknown): Uint8Array {
  if (typeof text !== "string" || !/^[A-Za-z0-9_-]+$/.test(text)) throw malformed("expected base64url in the JWK");
  const standard = text.replaceAll("-", "+").replaceAll("_", "/");
  return decodeBase64(standard + "=".repeat((4 - (standard.length % 4)) % 4), "malformed-key");
}

function mismatch(): MalformedError {
  return malformed("its public half is not that of its private half");
}

function malformed(problem: string): MalformedError {
  return new MalformedError("malformed-key", `private key: ${problem}`);
}
