import { DER_BIT_STRING, DER_SEQUENCE, writeDer, writeDerUnsigned } from "../der.ts";
import { concatBytes, decodeHex, encodeHex } from "../encoding.ts";
import { MalformedError } from "../errors.ts";

/**
 * Public keys as the formats carry them: SubjectPublicKeyInfo in exactly one encoding per algorithm, checked here in
 * plain arithmetic so that every platform refuses the same keys. Spec: spec/keys.md; RFC 5280, 5480, 8410, 8017, 9881.
 */
export type Algorithm =
  | "ed25519"
  | "ecdsa-p256"
  | "ecdsa-p384"
  | "ecdsa-secp256k1"
  | "rsa-pss"
  | "ml-dsa-44"
  | "ml-dsa-65"
  | "ml-dsa-87";

/** A parsed public key. Plain data; platforms hang their own key objects on its identity. */
export interface PublicKey {
  readonly algorithm: Algorithm;
  /** DER, exactly as parsed. */
  readonly spki: Uint8Array;
  /** The key inside: 32 bytes (Ed25519), `04 ‖ x ‖ y` (EC), 1,312 to 2,592 bytes (ML-DSA), DER RSAPublicKey (RSA). */
  readonly raw: Uint8Array;
  /** Only for `rsa-pss`. */
  readonly rsa: RsaNumbers | null;
}

export interface RsaNumbers {
  readonly modulus: bigint;
  readonly exponent: bigint;
  readonly modulusBits: number;
}

/** Order of a curve's base point; ECDSA r and s lie in 1..n−1. */
export const CURVE_ORDER = {
  "ecdsa-p256": 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n,
  "ecdsa-p384": 0xffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973n,
  "ecdsa-secp256k1": 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n,
} as const;

export type EcdsaAlgorithm = keyof typeof CURVE_ORDER;

/** Order of the Ed25519 base point, 2^252 + 27742317777372353535851937790883648493. RFC 8032 §5.1. */
export const ED25519_ORDER: bigint = (1n << 252n) + 27742317777372353535851937790883648493n;

interface Layout {
  /** Everything before `raw`; empty for RSA, whose lengths vary. */
  readonly prefix: Uint8Array;
  /** Size of `raw`; 0 for RSA. */
  readonly rawBytes: number;
  readonly check: (raw: Uint8Array) => void;
}

// Each DER prefix fixes lengths, object identifier and parameters, so equality with it is the whole ASN.1 check.
const LAYOUT: Readonly<Record<Algorithm, Layout>> = {
  ed25519: layout("302a300506032b6570032100", 32, checkEd25519Point),
  "ecdsa-p256": layout("3059301306072a8648ce3d020106082a8648ce3d030107034200", 65, (raw) => checkEcPoint(raw, P256)),
  "ecdsa-p384": layout("3076301006072a8648ce3d020106052b81040022036200", 97, (raw) => checkEcPoint(raw, P384)),
  "ecdsa-secp256k1": layout("3056301006072a8648ce3d020106052b8104000a034200", 65, (raw) =>
    checkEcPoint(raw, SECP256K1),
  ),
  "rsa-pss": layout("", 0, () => {}),
  "ml-dsa-44": layout("30820532300b06096086480165030403110382052100", 1312, () => {}),
  "ml-dsa-65": layout("308207b2300b0609608648016503040312038207a100", 1952, () => {}),
  "ml-dsa-87": layout("30820a32300b060960864801650304031303820a2100", 2592, () => {}),
};

function layout(prefixHex: string, rawBytes: number, check: (raw: Uint8Array) => void): Layout {
  return { prefix: decodeHex(prefixHex, { code: "malformed-key" }), rawBytes, check };
}

/** True for the algorithm names of the formats, and nothing else (`constructor` is no algorithm). */
export function isAlgorithm(value: unknown): value is Algorithm {
  return typeof value === "string" && Object.hasOwn(LAYOUT, value);
}

/** Every algorithm name, in the order of spec/keys.md. */
export const ALGORITHM_NAMES: readonly Algorithm[] = Object.keys(LAYOUT) as Algorithm[];

/**
 * Key of a DER SubjectPublicKeyInfo. Refused with `malformed-key`: any other encoding of the same key, compressed or
 * off-curve points, small-order and non-canonical Ed25519 points, RSA moduli outside 2,048..8,192 bits or even, RSA
 * exponents that are even, below 3 or above 2^32−1 (platforms differ beyond that), RSASSA-PSS key identifiers.
 */
export function parseSpki(algorithm: Algorithm, spki: Uint8Array): PublicKey {
  if (algorithm === "rsa-pss") return parseRsaSpki(spki);
  const { prefix, rawBytes, check } = LAYOUT[algorithm];
  if (spki.length !== prefix.length + rawBytes) {
    throw malformed(algorithm, `expected ${prefix.length + rawBytes} bytes of SPKI, got ${spki.length}`);
  }
  if (!startsWith(spki, prefix)) throw malformed(algorithm, "expected the SPKI header of this algorithm");
  const copy = Uint8Array.from(spki);
  const raw = copy.subarray(prefix.length);
  check(raw);
  return { algorithm, spki: copy, raw, rsa: null };
}

/** DER SubjectPublicKeyInfo around a raw key of the fixed-size algorithms; the key itself is not checked. */
export function formatSpki(algorithm: Exclude<Algorithm, "rsa-pss">, raw: Uint8Array): Uint8Array {
  const { prefix, rawBytes } = LAYOUT[algorithm];
  if (raw.length !== rawBytes) throw malformed(algorithm, `expected ${rawBytes} bytes, got ${raw.length}`);
  return concatBytes(prefix, raw);
}

/** Algorithm that the header of an SPKI names, or undefined. The key is not checked: `parseSpki` does that. */
export function algorithmOfSpki(spki: Uint8Array): Algorithm | undefined {
  for (const name of ALGORITHM_NAMES) {
    const { prefix, rawBytes } = LAYOUT[name];
    if (name !== "rsa-pss" && spki.length === prefix.length + rawBytes && startsWith(spki, prefix)) return name;
  }
  return isRsaHeader(spki) ? "rsa-pss" : undefined;
}

/** Unsigned big-endian integer. */
export function integerOf(bytes: Uint8Array): bigint {
  return BigInt(`0x0${encodeHex(bytes)}`);
}

/** Unsigned little-endian integer. */
export function integerOfLittleEndian(bytes: Uint8Array): bigint {
  // Not slice(): that of a Buffer is a view, and reversing it would turn the caller's bytes round.
  return integerOf(Uint8Array.from(bytes).reverse());
}

/** base^exponent mod modulus, for public values: it takes no care of timing. */
export function modPow(base: bigint, exponent: bigint, modulus: bigint): bigint {
  let result = 1n;
  let square = base % modulus;
  for (let rest = exponent; rest > 0n; rest >>= 1n) {
    if (rest & 1n) result = (result * square) % modulus;
    square = (square * square) % modulus;
  }
  return result;
}

function startsWith(bytes: Uint8Array, prefix: Uint8Array): boolean {
  for (let i = 0; i < prefix.length; i++) if (bytes[i] !== prefix[i]) return false;
  return true;
}

function malformed(algorithm: Algorithm, problem: string): MalformedError {
  return new MalformedError("malformed-key", `${algorithm} public key: ${problem}`, { details: { algorithm } });
}

const ED25519_PRIME: bigint = (1n << 255n) - 19n;
const ED25519_D = 37095705934669439343138083508754565189542113879843219016388785533085940283555n;
// y of the points of order 8. With 0 (order 4), 1 (order 1) and −1 (order 2) these are all eight small-order points.
const ED25519_Y8 = 55188659117513257062467267217118295137698188065244968500265048394206261417927n;
const ED25519_SMALL_ORDER_Y: ReadonlySet<bigint> = new Set([
  0n,
  1n,
  ED25519_PRIME - 1n,
  ED25519_Y8,
  ED25519_PRIME - ED25519_Y8,
]);

/**
 * Refuses (`malformed-key`) 32 bytes that are not an Ed25519 public key this package accepts: y ≥ p, off the curve, or
 * of small order (such a key has signatures that verify for any message). RFC 8032 §5.1.3. About 0.1 ms: cache the key.
 */
export function checkEd25519Point(raw: Uint8Array): void {
  if (raw.length !== 32) throw malformed("ed25519", `expected 32 bytes, got ${raw.length}`);
  const y = integerOfLittleEndian(raw) & ((1n << 255n) - 1n);
  if (y >= ED25519_PRIME) throw malformed("ed25519", "expected a canonical point");
  // The two encodings with x = 0 and the sign bit set are non-canonical too, and are of small order.
  if (ED25519_SMALL_ORDER_Y.has(y)) throw malformed("ed25519", "expected a point that is not of small order");
  // x² = u/v is a square exactly when u·v is, as v is never 0. Euler's criterion.
  const ySquared = (y * y) % ED25519_PRIME;
  const u = ySquared - 1n;
  const v = (ED25519_D * ySquared + 1n) % ED25519_PRIME;
  if (modPow((u * v) % ED25519_PRIME, (ED25519_PRIME - 1n) / 2n, ED25519_PRIME) !== 1n) {
    throw malformed("ed25519", "expected a point on the curve");
  }
}

/** y² = x³ + ax + b over p. SEC 2. */
interface Curve {
  readonly algorithm: EcdsaAlgorithm;
  readonly p: bigint;
  readonly a: bigint;
  readonly b: bigint;
}

const P256: Curve = {
  algorithm: "ecdsa-p256",
  p: 0xffffffff00000001000000000000000000000000ffffffffffffffffffffffffn,
  a: -3n,
  b: 0x5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604bn,
};
const P384: Curve = {
  algorithm: "ecdsa-p384",
  p: 0xfffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffeffffffff0000000000000000ffffffffn,
  a: -3n,
  b: 0xb3312fa7e23ee7e4988e056be3f82d19181d9c6efe8141120314088f5013875ac656398d8a2ed19d2a85c8edd3ec2aefn,
};
const SECP256K1: Curve = {
  algorithm: "ecdsa-secp256k1",
  p: 0xfffffffffffffffffffffffffffffffffffffffffffffffffffffffefffffc2fn,
  a: 0n,
  b: 7n,
};

function checkEcPoint(raw: Uint8Array, { algorithm, p, a, b }: Curve): void {
  if (raw[0] !== 4) throw malformed(algorithm, "expected an uncompressed point");
  const width = (raw.length - 1) / 2;
  const x = integerOf(raw.subarray(1, 1 + width));
  const y = integerOf(raw.subarray(1 + width));
  if (x >= p || y >= p) throw malformed(algorithm, "expected coordinates below the field prime");
  if ((y * y - x * x * x - a * x - b) % p !== 0n) throw malformed(algorithm, "expected a point on the curve");
}

const RSA_ALGORITHM: Uint8Array = decodeHex("300d06092a864886f70d0101010500", { code: "malformed-key" });
const RSA_BITS_MIN = 2048;
/** Verification time grows with the square of the modulus. */
const RSA_BITS_MAX = 8192;
const RSA_EXPONENT_MAX = 0xffffffffn;
/** An 8,192-bit modulus, a 32-bit exponent and the headers. */
const RSA_SPKI_BYTES_MAX = 1100;

function isRsaHeader(spki: Uint8Array): boolean {
  return spki[0] === 0x30 && startsWith(spki.subarray(contentStart(spki, 0)), RSA_ALGORITHM);
}

/** Where the content of the DER element at `offset` begins. What follows is compared with the canonical form anyway. */
function contentStart(bytes: Uint8Array, offset: number): number {
  const length = bytes[offset + 1] ?? 0;
  return offset + 2 + (length > 0x80 ? length - 0x80 : 0);
}

/** Reads modulus and exponent, writes the one DER form of them, and accepts nothing but that form. RFC 8017 A.1.1. */
function parseRsaSpki(spki: Uint8Array): PublicKey {
  if (spki.length > RSA_SPKI_BYTES_MAX || !isRsaHeader(spki)) {
    throw malformed("rsa-pss", "expected an rsaEncryption SPKI of at most 1,100 bytes");
  }
  // SEQUENCE { algorithm, BIT STRING { zero byte, SEQUENCE { modulus, exponent } } }
  const keyStart = contentStart(spki, contentStart(spki, 0) + RSA_ALGORITHM.length) + 1;
  let offset = contentStart(spki, keyStart);
  const readInteger = (): bigint => {
    if (spki[offset] !== 0x02) throw malformed("rsa-pss", "expected a DER integer");
    const start = contentStart(spki, offset);
    const lengthBytes = spki.subarray(offset + 1, start);
    const length = Number(integerOf(lengthBytes.length === 1 ? lengthBytes : lengthBytes.subarray(1)));
    offset = start;
    if (length > spki.length - offset) throw malformed("rsa-pss", "expected a DER integer");
    offset += length;
    return integerOf(spki.subarray(offset - length, offset));
  };
  const modulus = readInteger();
  const exponent = readInteger();
  const canonical = formatRsaSpki(modulus, exponent);
  if (canonical.length !== spki.length || !startsWith(spki, canonical)) throw malformed("rsa-pss", "expected DER");

  const modulusBits = modulus.toString(2).length;
  if (modulusBits < RSA_BITS_MIN || modulusBits > RSA_BITS_MAX) {
    throw malformed("rsa-pss", `expected a modulus of 2048 to 8192 bits, got ${modulusBits}`);
  }
  if ((modulus & 1n) === 0n) throw malformed("rsa-pss", "expected an odd modulus");
  if ((exponent & 1n) === 0n || exponent < 3n || exponent > RSA_EXPONENT_MAX) {
    throw malformed("rsa-pss", "expected an odd public exponent of 3 to 2^32-1");
  }
  return {
    algorithm: "rsa-pss",
    spki: canonical,
    raw: canonical.subarray(keyStart),
    rsa: { modulus, exponent, modulusBits },
  };
}

/** DER SubjectPublicKeyInfo (rsaEncryption) of an RSA key; the numbers are not checked. */
export function formatRsaSpki(modulus: bigint, exponent: bigint): Uint8Array {
  const key = writeDer(DER_SEQUENCE, writeDerUnsigned(integerBytes(modulus)), writeDerUnsigned(integerBytes(exponent)));
  return writeDer(DER_SEQUENCE, RSA_ALGORITHM, writeDer(DER_BIT_STRING, Uint8Array.of(0), key));
}

function integerBytes(value: bigint): Uint8Array {
  const hex = value.toString(16);
  return decodeHex(hex.length % 2 === 0 ? hex : `0${hex}`, { code: "malformed-key" });
}
