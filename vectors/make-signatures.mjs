// Makes signatures.json: `node vectors/make-signatures.mjs` (with --check: compares instead of writing).
//
// Every key, nonce and salt comes from a seed, and the odd signatures are built from the equations they are to satisfy or
// to miss, so each verdict is known by construction. Point arithmetic and ML-DSA are noble's, RSA is BigInt here, nothing is
// the library's. vectors/check-signatures.py holds every verdict to OpenSSL through pyca/cryptography.
import { checkPrimeSync, createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { ED25519_TORSION_SUBGROUP, ed25519 } from "@noble/curves/ed25519.js";
import { p256, p384 } from "@noble/curves/nist.js";
import { secp256k1 } from "@noble/curves/secp256k1.js";
import { ml_dsa44, ml_dsa65, ml_dsa87 } from "@noble/post-quantum/ml-dsa.js";

const hex = (bytes) => Buffer.from(bytes).toString("hex");
const bytes = (text) => Uint8Array.from(Buffer.from(text, "hex"));
const concat = (...parts) => Uint8Array.from(Buffer.concat(parts));
const hash = (name, ...parts) => Uint8Array.from(createHash(name).update(Buffer.concat(parts)).digest());
const utf8 = (text) => Uint8Array.from(Buffer.from(text, "utf8"));
const integer = (big) => BigInt(`0x0${hex(big)}`);
const littleEndian = (little) => integer(Uint8Array.from(little).reverse());
const fixed = (value, size) => bytes(value.toString(16).padStart(2 * size, "0"));
const fixedLittle = (value, size) => fixed(value, size).reverse();

/** Bytes that only a name determines. */
function derive(name, size) {
  const blocks = [];
  for (let i = 0; blocks.length * 64 < size; i++) blocks.push(hash("sha512", utf8(`tallystick signature vectors ${name} ${i}`)));
  return concat(...blocks).subarray(0, size);
}

const groups = [];
const refused = [];
const refuse = (algorithm, title, spki) => refused.push({ algorithm, title, spki: hex(spki) });
function group(algorithm, title, spki) {
  const cases = [];
  groups.push({ algorithm, title, spki: hex(spki), cases });
  return (what, message, signature, valid) => {
    cases.push({ title: what, message: hex(message), signature: hex(signature), valid });
  };
}

function der(tag, ...content) {
  const whole = concat(...content);
  const n = whole.length;
  const length = n < 0x80 ? [n] : n < 0x100 ? [0x81, n] : [0x82, n >> 8, n & 255];
  return concat(Uint8Array.of(tag, ...length), whole);
}
function derInteger(value) {
  const text = value.toString(16);
  const content = bytes(text.length % 2 ? `0${text}` : text);
  return der(2, content[0] >= 0x80 ? concat(Uint8Array.of(0), content) : content);
}
const bitString = (content) => der(3, Uint8Array.of(0), content);
const oid = (text) => der(6, bytes(text));
const spkiOf = (algorithm, key) => der(0x30, der(0x30, ...algorithm), bitString(key));

/** The same key with every wrapping that a lax parser lets through. */
function refuseEncodings(algorithm, spki, identifiers) {
  const length = spki.length;
  refuse(algorithm, "a byte more", concat(spki, Uint8Array.of(0)));
  refuse(algorithm, "a byte less", spki.subarray(0, length - 1));
  refuse(algorithm, "nothing", new Uint8Array());
  const headerBytes = spki[1] === 0x82 ? 4 : spki[1] === 0x81 ? 3 : 2;
  const content = spki.subarray(headerBytes);
  refuse(algorithm, "a longer form of the outer length", concat(Uint8Array.of(0x30, 0x83, 0, content.length >> 8, content.length & 255), content));
  const set = Uint8Array.from(spki);
  set[0] = 0x31;
  refuse(algorithm, "SET for SEQUENCE", set);
  for (const [title, other] of identifiers) refuse(algorithm, title, other);
}

// --- Ed25519

const { Point } = ed25519;
const L = Point.Fn.ORDER;
const P = Point.Fp.ORDER;
const ed25519Oid = oid("2b6570");
const ed25519Spki = (key) => spkiOf([ed25519Oid], key);

/** Signature by scalar `a` with nonce scalar `r`, for a key and a nonce point encoded as given. */
function ed25519Sign(a, r, key, nonce, message) {
  const k = littleEndian(hash("sha512", nonce, key, message)) % L;
  return { k, signature: concat(nonce, fixedLittle((r + k * a) % L, 32)) };
}

{
  const seed = bytes("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60");
  group("ed25519", "RFC 8032 §7.1 TEST 1", ed25519Spki(ed25519.getPublicKey(seed)))(
    "the empty message",
    new Uint8Array(),
    bytes(
      "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    true,
  );

  const key = derive("ed25519", 32);
  const publicKey = ed25519.getPublicKey(key);
  const add = group("ed25519", "a plain key", ed25519Spki(publicKey));
  for (const size of [0, 1, 32, 63, 64, 111, 112, 127, 128, 300, 4096]) {
    const message = derive("message", size);
    add(`${size} bytes`, message, ed25519.sign(message, key), true);
  }
  const message = utf8("Ed25519");
  const signature = ed25519.sign(message, key);
  const [R, S] = [signature.subarray(0, 32), littleEndian(signature.subarray(32))];
  add("another message", utf8("Ed25518"), signature, false);
  add("S + L: malleable", message, concat(R, fixedLittle(S + L, 32)), false);
  add("S + 2L: malleable", message, concat(R, fixedLittle(S + 2n * L, 32)), false);
  add("S = L − S", message, concat(R, fixedLittle(L - S, 32)), false);
  add("S with its top bit set", message, concat(R, fixedLittle(S | (1n << 255n), 32)), false);
  add("S = 0", message, concat(R, new Uint8Array(32)), false);
  add("−R", message, concat(Point.fromBytes(R).negate().toBytes(), signature.subarray(32)), false);
  add("all zeros", message, new Uint8Array(64), false);
  add("all ones", message, new Uint8Array(64).fill(255), false);
  add("S before R", message, concat(signature.subarray(32), R), false);
  add("a byte less", message, signature.subarray(0, 63), false);
  add("a byte more", message, concat(signature, Uint8Array.of(0)), false);
  add("nothing", message, new Uint8Array(), false);
  for (const bit of [0, 7, 255, 256, 300, 507]) {
    const flipped = Uint8Array.from(signature);
    flipped[bit >> 3] ^= 1 << (bit & 7);
    add(`bit ${bit} flipped`, message, flipped, false);
  }
  const pre = hash("sha512", message);
  const dom = (flag) => concat(utf8("SigEd25519 no Ed25519 collisions"), Uint8Array.of(flag, 0));
  for (const [title, flag, content] of [
    ["Ed25519ph", 1, pre],
    ["Ed25519ctx with an empty context", 0, message],
  ]) {
    const head = hash("sha512", key);
    head[0] &= 248;
    head[31] = (head[31] & 127) | 64;
    const a = littleEndian(head.subarray(0, 32)) % L;
    const r = littleEndian(derive(`nonce ${title}`, 64)) % L;
    const nonce = Point.BASE.multiply(r).toBytes();
    const k = littleEndian(hash("sha512", dom(flag), nonce, publicKey, content)) % L;
    add(title, message, concat(nonce, fixedLittle((r + k * a) % L, 32)), false);
  }
  refuseEncodings("ed25519", ed25519Spki(publicKey), [
    ["the identifier of X25519", spkiOf([oid("2b656e")], publicKey)],
    ["parameters NULL", spkiOf([ed25519Oid, der(5)], publicKey)],
    ["the raw key alone", publicKey],
  ]);
}

// Torsion: A = aB + T and R = rB + T'. Cofactorless verification holds exactly when T' + kT is the neutral element, and R is
// compared as bytes, so of several encodings of one point only the canonical one passes.
const torsion = ED25519_TORSION_SUBGROUP.map((text) => Point.fromHex(text));
const signBit = 1n << 255n;
const nonCanonical = [
  ["y = p", P, [0n, 0]],
  ["y = p, sign", P | signBit, [0n, 1]],
  ["y = p + 1", P + 1n, [1n, 0]],
  ["y = p + 1, sign", (P + 1n) | signBit, [1n, 0]],
  ["y = 1, sign", 1n | signBit, [1n, 0]],
  ["y = −1, sign", (P - 1n) | signBit, [P - 1n, 0]],
].map(([title, encoded, [y, sign]]) => ({
  title,
  encoded: fixedLittle(encoded, 32),
  point: torsion.find((point) => point.toAffine().y === y && (y !== 0n || Number(point.toAffine().x & 1n) === sign)),
}));
{
  const a = littleEndian(derive("torsion key", 64)) % L;
  const r = littleEndian(derive("torsion nonce", 64)) % L;
  for (const [i, T] of torsion.entries()) {
    const key = Point.BASE.multiply(a).add(T).toBytes();
    const add = group("ed25519", `a key with torsion component ${i}`, ed25519Spki(key));
    const find = (title, scalar, nonce, component, wanted, verdict) => {
      for (let n = 0; n < 64; n++) {
        const message = utf8(`torsion ${i} ${n}`);
        const { k, signature } = ed25519Sign(a, scalar, key, nonce, message);
        const holds = component.add(T.multiplyUnsafe(k % 8n)).is0();
        if (holds !== wanted) continue;
        add(title, message, signature, verdict);
        return;
      }
    };
    for (const [j, component] of torsion.entries()) {
      const mixed = Point.BASE.multiply(r).add(component).toBytes();
      find(`R with component ${j}, no residue`, r, mixed, component, true, true);
      find(`R with component ${j}, small-order residue`, r, mixed, component, false, false);
      find(`R of small order ${j}, no residue`, 0n, component.toBytes(), component, true, true);
      find(`R of small order ${j}, small-order residue`, 0n, component.toBytes(), component, false, false);
    }
    for (const { title, encoded, point } of nonCanonical) {
      find(`non-canonical R (${title}) of the right point`, 0n, encoded, point, true, false);
    }
  }
  for (const [i, T] of torsion.entries()) refuse("ed25519", `small order ${i}`, ed25519Spki(T.toBytes()));
  for (const { title, encoded } of nonCanonical) refuse("ed25519", `non-canonical: ${title}`, ed25519Spki(encoded));
  for (let y = 2n; y < 19n; y++) {
    refuse("ed25519", `non-canonical: y = p + ${y}`, ed25519Spki(fixedLittle(P + y, 32)));
  }
  let offCurve = 0;
  for (let y = 2n; offCurve < 3; y++) {
    try {
      Point.fromBytes(fixedLittle(y, 32));
    } catch {
      refuse("ed25519", `off the curve: y = ${y}`, ed25519Spki(fixedLittle(y, 32)));
      offCurve++;
    }
  }
}

// --- ECDSA

const CURVES = [
  { name: "ecdsa-p256", curve: p256, hashName: "sha256", width: 32, oid: "2a8648ce3d030107", a: -3n },
  { name: "ecdsa-p384", curve: p384, hashName: "sha384", width: 48, oid: "2b81040022", a: -3n },
  { name: "ecdsa-secp256k1", curve: secp256k1, hashName: "sha256", width: 32, oid: "2b8104000a", a: 0n },
];
const EC_PUBLIC_KEY = oid("2a8648ce3d0201");

for (const { name, curve, hashName, width, oid: curveOid, a } of CURVES) {
  const n = curve.Point.Fn.ORDER;
  const p = curve.Point.Fp.ORDER;
  const G = curve.Point.BASE;
  const inverse = (value) => curve.Point.Fn.inv(value);
  const mod = (value) => ((value % n) + n) % n;
  const spki = (key) => spkiOf([EC_PUBLIC_KEY, oid(curveOid)], key);
  const pointSpki = (point) => spki(point.toBytes(false));
  const raw = (r, s) => concat(fixed(r, width), fixed(s, width));
  const digest = (message) => integer(hash(hashName, message));
  const low = (s) => (s > n >> 1n ? n - s : s);
  const sign = (d, message, k) => {
    const r = mod(G.multiply(k).toAffine().x);
    return { r, s: mod(inverse(k) * (digest(message) + r * d)) };
  };

  const d = mod(integer(derive(`${name} key`, width + 8)));
  const add = group(name, "a plain key", pointSpki(G.multiply(d)));
  for (const size of [0, 1, 64, 128, 300, 4096]) {
    const message = derive("message", size);
    const { r, s } = sign(d, message, mod(integer(derive(`${name} nonce ${size}`, width + 8))));
    add(`${size} bytes`, message, raw(r, low(s)), true);
    add(`${size} bytes, high s`, message, raw(r, n - low(s)), false);
  }
  const message = utf8(name);
  const { r, s: anyS } = sign(d, message, mod(integer(derive(`${name} nonce`, width + 8))));
  const s = low(anyS);
  const good = raw(r, s);
  add("another message", utf8(`${name}.`), good, false);
  add("r = 0", message, raw(0n, s), false);
  add("s = 0", message, raw(r, 0n), false);
  add("r = s = 0", message, raw(0n, 0n), false);
  add("r = n", message, raw(n, s), false);
  add("s = n", message, raw(r, n), false);
  add("r = n − r", message, raw(n - r, s), false);
  add("r = 1, s = 1", message, raw(1n, 1n), false);
  add("all ones", message, new Uint8Array(2 * width).fill(255), false);
  add("s before r", message, raw(s, r), false);
  if (s + n < 1n << BigInt(8 * width)) add("s + n", message, raw(r, s + n), false);
  if (r + n < 1n << BigInt(8 * width)) add("r + n", message, raw(r + n, s), false);
  add("a byte less", message, good.subarray(0, 2 * width - 1), false);
  add("a byte more", message, concat(good, Uint8Array.of(0)), false);
  add("two bytes more, at the end of r and of s", message, concat(fixed(r, width + 1), fixed(s, width + 1)), false);
  add("DER", message, der(0x30, derInteger(r), derInteger(s)), false);
  add("nothing", message, new Uint8Array(), false);
  for (const bit of [0, 8 * width - 1, 8 * width, 16 * width - 1]) {
    const flipped = Uint8Array.from(good);
    flipped[bit >> 3] ^= 1 << (bit & 7);
    add(`bit ${bit} flipped`, message, flipped, false);
  }
  const wrongHash = hashName === "sha256" ? "sha384" : "sha256";
  const e = integer(hash(wrongHash, message).subarray(0, width));
  const k = mod(integer(derive(`${name} wrong hash`, width + 8)));
  const wrongR = mod(G.multiply(k).toAffine().x);
  add(`hashed with ${wrongHash}`, message, raw(wrongR, low(mod(inverse(k) * (e + wrongR * d)))), false);
  const short = hash(hashName, message);
  add("over the digest instead of the message", short, good, false);

  // The key that makes (r, s) with nonce point R a signature of the message: Q = (s·R − e·G) / r.
  const keyFor = (R, sValue, text) => {
    const rValue = mod(R.toAffine().x);
    return R.multiplyUnsafe(sValue).subtract(G.multiplyUnsafe(mod(digest(text)))).multiplyUnsafe(inverse(rValue));
  };
  const special = (title, R, sValue, valid) => {
    const text = utf8(title);
    group(name, title, pointSpki(keyFor(R, sValue, text)))(title, text, raw(mod(R.toAffine().x), sValue), valid);
  };
  const somewhere = G.multiply(mod(integer(derive(`${name} special`, width + 8))));
  special("s = 1", somewhere, 1n, true);
  special("s = 2", somewhere, 2n, true);
  special("s = (n − 1) / 2, the largest low one", somewhere, n >> 1n, true);
  special("s = (n + 1) / 2, the smallest high one", somewhere, (n >> 1n) + 1n, false);
  special("R = G", G, 12345n, true);
  special("R = −G", G.negate(), 12345n, true);
  special("R = 2G", G.double(), 12345n, true);
  // x of R between n and p: r is x − n, which a verifier that compares r with x itself gets wrong.
  for (let x = n, found = 0; found < 2; x++) {
    try {
      const R = curve.Point.fromBytes(concat(Uint8Array.of(2), fixed(x, width)));
      if (mod(x) === 0n) continue;
      special(`x of R is n + ${x - n}`, R, 54321n + x - n, true);
      found++;
    } catch {
      // No point has this x.
    }
  }
  // Keys for which the two multiplications of verification meet.
  for (const [title, scalar] of [
    ["key G", 1n],
    ["key −G", n - 1n],
    ["key 2G", 2n],
    ["key G / 2", inverse(2n)],
  ]) {
    const signature = sign(scalar, utf8(title), mod(integer(derive(`${name} ${title}`, width + 8))));
    group(name, title, pointSpki(G.multiply(scalar)))(title, utf8(title), raw(signature.r, low(signature.s)), true);
  }
  {
    // e·G + r·Q = 0: the sum of verification is the point at infinity, which has no x to compare.
    const text = utf8("sum at infinity");
    const rValue = 7n;
    const Q = G.multiply(mod(-digest(text) * inverse(rValue)));
    group(name, "sum at infinity", pointSpki(Q))("sum at infinity", text, raw(rValue, 3n), false);
  }

  const point = G.multiply(d);
  const { x, y } = point.toAffine();
  const uncompressed = point.toBytes(false);
  const hybrid = Uint8Array.from(uncompressed);
  hybrid[0] = 6 + Number(y & 1n);
  const b = curve.Point.CURVE().b;
  const explicit = der(
    0x30,
    derInteger(1n),
    der(0x30, oid("2a8648ce3d0101"), derInteger(p)),
    der(0x30, der(4, fixed(((a % p) + p) % p, width)), der(4, fixed(b, width))),
    der(4, G.toBytes(false)),
    derInteger(n),
    derInteger(1n),
  );
  refuseEncodings(name, pointSpki(point), [
    ["a compressed point", spki(point.toBytes(true))],
    ["a hybrid point", spki(hybrid)],
    ["the point at infinity", spki(Uint8Array.of(0))],
    ["explicit curve parameters", spkiOf([EC_PUBLIC_KEY, explicit], uncompressed)],
    ["no curve", spkiOf([EC_PUBLIC_KEY], uncompressed)],
    ["the identifier of ECDH", spkiOf([oid("2b8104010c"), oid(curveOid)], uncompressed)],
    ["the curve secp224r1", spkiOf([EC_PUBLIC_KEY, oid("2b81040021")], uncompressed)],
    ["x = y = 0", spki(concat(Uint8Array.of(4), new Uint8Array(2 * width)))],
    ["y one more", spki(concat(Uint8Array.of(4), fixed(x, width), fixed((y + 1n) % p, width)))],
    ["x and y exchanged", spki(concat(Uint8Array.of(4), fixed(y, width), fixed(x, width)))],
    ["all ones", spki(concat(Uint8Array.of(4), new Uint8Array(2 * width).fill(255)))],
    ["the raw point alone", uncompressed],
  ]);
  // A point whose x is small enough that x + p still fits the width.
  for (let small = 1n; small < 60n; small++) {
    if (small + p >= 1n << BigInt(8 * width)) break;
    try {
      const at = curve.Point.fromBytes(concat(Uint8Array.of(2), fixed(small, width))).toAffine();
      refuse(name, `x + p of the point with x = ${small}`, spki(concat(Uint8Array.of(4), fixed(at.x + p, width), fixed(at.y, width))));
      break;
    } catch {
      // No point has this x.
    }
  }
}

// --- RSA-PSS

const RSA = oid("2a864886f70d010101");
const rsaSpki = (n, e) => spkiOf([RSA, der(5)], der(0x30, derInteger(n), derInteger(e)));

function modPow(base, exponent, modulus) {
  let result = 1n;
  for (let square = base % modulus, rest = exponent; rest > 0n; rest >>= 1n, square = (square * square) % modulus) {
    if (rest & 1n) result = (result * square) % modulus;
  }
  return result;
}
function primeOf(name, bits, e) {
  let candidate = integer(derive(name, Math.ceil(bits / 8))) >> BigInt((8 - (bits % 8)) % 8);
  // The two top bits make the product of two such primes exactly as long as it is to be.
  candidate |= (3n << BigInt(bits - 2)) | 1n;
  while (!(checkPrimeSync(candidate) && (candidate - 1n) % e !== 0n)) candidate += 2n;
  return candidate;
}

function rsaKey(bits, e = 65537n) {
  const p = primeOf(`rsa ${bits} ${e} p`, Math.ceil(bits / 2), e);
  const q = primeOf(`rsa ${bits} ${e} q`, Math.floor(bits / 2), e);
  const n = p * q;
  if (n.toString(2).length !== bits) throw new Error(`rsa ${bits}: got ${n.toString(2).length} bits`);
  const phi = (p - 1n) * (q - 1n);
  // e is small: d = (1 + i·phi) / e for the one i below e that divides.
  const d = (1n + (e - inverseOf(phi % e, e)) * phi) / e;
  if ((d * e) % phi !== 1n) throw new Error("rsa: wrong private exponent");
  return { bits, n, e, d };
}
function inverseOf(value, modulus) {
  for (let x = 1n; x < modulus; x++) if ((value * x) % modulus === 1n) return x;
  throw new Error("no inverse");
}

function mgf1(hashName, seed, size) {
  const blocks = [];
  for (let i = 0; Buffer.concat(blocks).length < size; i++) blocks.push(hash(hashName, seed, Uint8Array.of(0, 0, 0, i)));
  return concat(...blocks).subarray(0, size);
}

/** EMSA-PSS encoding (RFC 8017 §9.1.1), with every choice open that a verifier must hold to. */
function pssEncode(bits, message, { hashName = "sha256", mgfHash = hashName, saltSize = 32, change = () => {} } = {}) {
  const size = Math.ceil((bits - 1) / 8);
  const salt = derive(`salt ${bits} ${saltSize}`, saltSize);
  const h = hash(hashName, new Uint8Array(8), hash(hashName, message), salt);
  const db = new Uint8Array(size - h.length - 1);
  db[db.length - salt.length - 1] = 1;
  db.set(salt, db.length - salt.length);
  const parts = { db, h, trailer: 0xbc };
  change(parts);
  const mask = mgf1(mgfHash, parts.h, db.length);
  for (let i = 0; i < db.length; i++) db[i] ^= mask[i];
  const top = 0xff >> (8 * size - (bits - 1));
  if (parts.keepTop === undefined) db[0] &= top;
  else db[0] = (db[0] & top) | parts.keepTop;
  return concat(db, parts.h, Uint8Array.of(parts.trailer));
}
const rsaSign = ({ n, d, bits }, encoded) => fixed(modPow(integer(encoded), d, n), Math.ceil(bits / 8));

for (const [bits, e] of [
  [2048, 65537n],
  [2048, 3n],
  [2049, 65537n],
  [2050, 65537n],
  [2055, 65537n],
  [3072, 65537n],
  [4096, 65537n],
  [8192, 65537n],
]) {
  const key = rsaKey(bits, e);
  const add = group("rsa-pss", `${bits} bits, exponent ${e}`, rsaSpki(key.n, e));
  const message = utf8(`rsa ${bits}`);
  const good = rsaSign(key, pssEncode(bits, message));
  add("plain", message, good, true);
  add("the empty message", new Uint8Array(), rsaSign(key, pssEncode(bits, new Uint8Array())), true);
  add("another message", utf8(`rsa ${bits}.`), good, false);
  const flipped = Uint8Array.from(good);
  flipped[flipped.length - 1] ^= 1;
  add("last bit flipped", message, flipped, false);
  if (bits === 8192 || bits === 4096) continue;
  const bad = (title, options) => add(title, message, rsaSign(key, pssEncode(bits, message, options)), false);
  bad("no salt", { saltSize: 0 });
  bad("a salt of 20 bytes", { saltSize: 20 });
  bad("a salt of 31 bytes", { saltSize: 31 });
  bad("a salt of 33 bytes", { saltSize: 33 });
  bad("the longest salt", { saltSize: Math.ceil((bits - 1) / 8) - 34 });
  bad("SHA-384 throughout", { hashName: "sha384" });
  bad("SHA-1 throughout", { hashName: "sha1" });
  bad("MGF1 with SHA-1", { mgfHash: "sha1" });
  bad("MGF1 with SHA-512", { mgfHash: "sha512" });
  bad("trailer 0xcc", { change: (parts) => (parts.trailer = 0xcc) });
  bad("a padding byte that is not zero", { change: (parts) => (parts.db[3] = 1) });
  bad("a separator of 2", { change: (parts) => (parts.db[parts.db.length - 33] = 2) });
  bad("no separator", { change: (parts) => (parts.db[parts.db.length - 33] = 0) });
  bad("another hash", { change: (parts) => (parts.h[0] ^= 1) });
  if ((bits - 1) % 8 !== 0) bad("a top bit set", { change: (parts) => (parts.keepTop = 0x80 >> ((8192 - bits) % 8)) });
  if ((bits - 1) % 8 === 0) {
    // The encoded message is a byte shorter than the modulus; that byte must be zero.
    const long = concat(Uint8Array.of(1), pssEncode(bits, message));
    if (integer(long) < key.n) add("the byte above the encoded message set", message, rsaSign(key, long), false);
  }
  const value = integer(good);
  if (value + key.n < 1n << BigInt(8 * good.length)) add("signature + n", message, fixed(value + key.n, good.length), false);
  add("n − signature", message, fixed(key.n - value, good.length), false);
  add("n itself", message, fixed(key.n, good.length), false);
  add("all zeros", message, new Uint8Array(good.length), false);
  add("all ones", message, new Uint8Array(good.length).fill(255), false);
  add("one", message, fixed(1n, good.length), false);
  add("a zero byte in front", message, concat(Uint8Array.of(0), good), false);
  add("a byte less", message, good.subarray(0, good.length - 1), false);
  add("nothing", message, new Uint8Array(), false);
  const digestInfo = concat(bytes("3031300d060960864801650304020105000420"), hash("sha256", message));
  const padding = new Uint8Array(good.length - digestInfo.length - 3).fill(255);
  const pkcs1 = concat(Uint8Array.of(0, 1), padding, Uint8Array.of(0), digestInfo);
  add("PKCS#1 v1.5", message, rsaSign(key, pkcs1), false);
}
{
  const { n, e } = rsaKey(2048);
  const odd = (bits) => (integer(derive(`modulus ${bits}`, Math.ceil(bits / 8))) % (1n << BigInt(bits - 1))) | (1n << BigInt(bits - 1)) | 1n;
  const pss = (parameters) => spkiOf([oid("2a864886f70d01010a"), ...parameters], der(0x30, derInteger(n), derInteger(e)));
  const key = der(0x30, derInteger(n), derInteger(e));
  const twoBytes = (value) => fixed(value, 2);
  refuseEncodings("rsa-pss", rsaSpki(n, e), [
    ["the identifier RSASSA-PSS", pss([])],
    ["the identifier RSASSA-PSS with parameters", pss([der(0x30)])],
    ["no parameters", spkiOf([RSA], key)],
    ["the key without SPKI", key],
    ["a modulus of 1024 bits", rsaSpki(odd(1024), e)],
    ["a modulus of 2047 bits", rsaSpki(odd(2047), e)],
    ["a modulus of 8193 bits", rsaSpki(odd(8193), e)],
    ["a modulus of 16384 bits", rsaSpki(odd(16384), e)],
    ["an even modulus", rsaSpki(n + 1n, e)],
    ["exponent 0", rsaSpki(n, 0n)],
    ["exponent 1", rsaSpki(n, 1n)],
    ["exponent 2", rsaSpki(n, 2n)],
    ["an even exponent", rsaSpki(n, 65536n)],
    ["an exponent of 33 bits", rsaSpki(n, 4294967297n)],
    ["an exponent of 256 bits", rsaSpki(n, odd(256))],
    ["a negative modulus", spkiOf([RSA, der(5)], der(0x30, der(2, fixed(n, 256)), derInteger(e)))],
    ["a modulus with two zeros in front", spkiOf([RSA, der(5)], der(0x30, der(2, concat(twoBytes(0n), fixed(n, 256))), derInteger(e)))],
    ["an exponent with a zero in front", spkiOf([RSA, der(5)], der(0x30, derInteger(n), der(2, fixed(e, 4))))],
    ["a third integer", spkiOf([RSA, der(5)], der(0x30, derInteger(n), derInteger(e), derInteger(1n)))],
    ["only a modulus", spkiOf([RSA, der(5)], der(0x30, derInteger(n)))],
    ["an empty modulus", spkiOf([RSA, der(5)], der(0x30, der(2), derInteger(e)))],
    ["unused bits", der(0x30, der(0x30, RSA, der(5)), der(3, Uint8Array.of(1), key))],
  ]);
}

// --- ML-DSA

const SETS = [
  { name: "ml-dsa-44", scheme: ml_dsa44, arc: 0x11, challenge: 32, omega: 80, k: 4 },
  { name: "ml-dsa-65", scheme: ml_dsa65, arc: 0x12, challenge: 48, omega: 55, k: 6 },
  { name: "ml-dsa-87", scheme: ml_dsa87, arc: 0x13, challenge: 64, omega: 75, k: 8 },
];
for (const { name, scheme, arc, challenge, omega, k } of SETS) {
  const identifier = (last) => oid(`6086480165030403${last.toString(16)}`);
  const { publicKey, secretKey } = scheme.keygen(derive(name, 32));
  const spki = spkiOf([identifier(arc)], publicKey);
  const add = group(name, "a plain key", spki);
  const message = utf8(name);
  const sign = (text, options = {}) => scheme.sign(text, secretKey, { extraEntropy: false, ...options });
  const good = sign(message);
  add("plain", message, good, true);
  add("the empty message", new Uint8Array(), sign(new Uint8Array()), true);
  add("hedged", message, sign(message, { extraEntropy: derive("hedge", 32) }), true);
  add("another message", utf8(`${name}.`), good, false);
  add("a context", message, sign(message, { context: utf8("c") }), false);
  const change = (title, edit) => {
    const copy = Uint8Array.from(good);
    edit(copy);
    if (hex(copy) !== hex(good)) add(title, message, copy, false);
  };
  change("challenge changed", (copy) => (copy[0] ^= 1));
  change("z changed", (copy) => (copy[challenge] ^= 1));
  change("z beyond its bound", (copy) => copy.fill(0, challenge, challenge + 3));
  const hints = good.length - omega - k;
  const used = good[good.length - 1];
  change("hints out of order", (copy) => ([copy[hints], copy[hints + 1]] = [copy[hints + 1], copy[hints]]));
  change("a hint twice", (copy) => (copy[hints + 1] = copy[hints]));
  change("a byte behind the last hint", (copy) => (copy[hints + omega - 1] = used < omega ? 1 : copy[hints + omega - 1]));
  change("more hints than may be", (copy) => (copy[good.length - 1] = omega + 1));
  change("hint counts that go back", (copy) => (copy[good.length - k] = 255));
  add("a byte less", message, good.subarray(0, good.length - 1), false);
  add("nothing", message, new Uint8Array(), false);
  const other = SETS[(SETS.findIndex((set) => set.name === name) + 1) % SETS.length];
  refuseEncodings(name, spki, [
    [`the identifier of ${other.name}`, spkiOf([identifier(other.arc)], publicKey)],
    ["parameters NULL", spkiOf([identifier(arc), der(5)], publicKey)],
    ["the identifier of HashML-DSA", spkiOf([identifier(arc + 0x0f)], publicKey)],
  ]);
}

const text = `${JSON.stringify(
  {
    source: "made by vectors/make-signatures.mjs; RFC 8032 §7.1 TEST 1; every verdict checked with OpenSSL by vectors/check-signatures.py",
    note: "All bytes in hex. `groups`: keys (DER SubjectPublicKeyInfo) with signatures that verify or do not. `refused`: keys that are malformed for their algorithm.",
    groups,
    refused,
  },
  null,
  1,
)}\n`;
const file = new URL("signatures.json", import.meta.url);
if (!process.argv.includes("--check")) writeFileSync(file, text);
else if (readFileSync(file, "utf8") !== text) throw new Error("signatures.json is not what make-signatures.mjs makes");
const count = groups.reduce((sum, { cases }) => sum + cases.length, 0);
console.log(`${count} signatures under ${groups.length} keys, ${refused.length} refused keys, ${text.length} bytes`);
