import { createCipheriv, createDecipheriv, pbkdf2Sync, scryptSync } from "node:crypto";
import { decodeHex, encodeHex, encodeUtf8 } from "../core/encoding.ts";
import { MalformedError, UnavailableError } from "../core/errors.ts";
import { type Random, systemRandom } from "../ledger/random.ts";
import {
  DER_INTEGER,
  DER_NULL,
  DER_OCTET_STRING,
  DER_OID,
  DER_SEQUENCE,
  expectDer,
  readDer,
  readDerNumber,
  readDerOnly,
  writeDer,
  writeDerNumber,
} from "./der.ts";

/**
 * EncryptedPrivateKeyInfo (RFC 5958 §3) under PBES2 (RFC 8018 §6.2), in our own code because Node 20 cannot hold an
 * ML-DSA key and so cannot decrypt one. OpenSSL reads what this writes, and this reads what OpenSSL 3 writes.
 */

const OID_PBES2 = "2a864886f70d01050d";
const OID_PBKDF2 = "2a864886f70d01050c";
const OID_SCRYPT = "2b06010401da47040b";
const OID_AES_256_CBC = "60864801650304012a";
const OID_HMAC_SHA256 = "2a864886f70d0209";

const PRF: Readonly<Record<string, string>> = {
  "2a864886f70d0207": "sha1",
  [OID_HMAC_SHA256]: "sha256",
  "2a864886f70d020a": "sha384",
  "2a864886f70d020b": "sha512",
};
const CIPHERS: Readonly<
  Record<string, { readonly name: string; readonly keyBytes: number; readonly ivBytes: number }>
> = {
  "608648016503040102": { name: "aes-128-cbc", keyBytes: 16, ivBytes: 16 },
  "608648016503040116": { name: "aes-192-cbc", keyBytes: 24, ivBytes: 16 },
  [OID_AES_256_CBC]: { name: "aes-256-cbc", keyBytes: 32, ivBytes: 16 },
  "2a864886f70d0307": { name: "des-ede3-cbc", keyBytes: 24, ivBytes: 8 },
};

/** About a quarter of a second; the figure that OWASP's password storage sheet gives for PBKDF2-HMAC-SHA-256. */
const ITERATIONS = 600_000;
/** A file that asks for more is refused rather than waited for. */
const ITERATIONS_MAX = 10_000_000;
const SCRYPT_MEMORY_MAX: number = 1024 * 1024 * 1024;

/** Encrypts PKCS#8 DER under a passphrase: PBKDF2-HMAC-SHA-256 with 600,000 iterations and AES-256-CBC. */
export function encryptPkcs8(pkcs8: Uint8Array, passphrase: string, random: Random = systemRandom): Uint8Array {
  const salt = random.fill(new Uint8Array(16));
  const iv = random.fill(new Uint8Array(16));
  const key = pbkdf2Sync(passphraseBytes(passphrase), salt, ITERATIONS, 32, "sha256");
  const cipher = createCipheriv("aes-256-cbc", key, iv);
  const encrypted = Buffer.concat([cipher.update(pkcs8), cipher.final()]);
  const prf = writeDer(DER_SEQUENCE, oid(OID_HMAC_SHA256), writeDer(DER_NULL));
  const kdf = writeDer(
    DER_SEQUENCE,
    oid(OID_PBKDF2),
    writeDer(DER_SEQUENCE, writeDer(DER_OCTET_STRING, salt), writeDerNumber(ITERATIONS), prf),
  );
  const scheme = writeDer(DER_SEQUENCE, oid(OID_AES_256_CBC), writeDer(DER_OCTET_STRING, iv));
  const algorithm = writeDer(DER_SEQUENCE, oid(OID_PBES2), writeDer(DER_SEQUENCE, kdf, scheme));
  return writeDer(DER_SEQUENCE, algorithm, writeDer(DER_OCTET_STRING, encrypted));
}

/**
 * PKCS#8 DER inside an EncryptedPrivateKeyInfo. Errors: `wrong-passphrase` (also when none is given), `malformed-key`
 * for anything but PBES2 with PBKDF2 or scrypt and AES-CBC or 3DES-CBC.
 */
export function decryptPkcs8(encrypted: Uint8Array, passphrase: string | undefined): Uint8Array {
  const [algorithm, data] = readDer(readDerOnly(encrypted, DER_SEQUENCE));
  const [scheme, parameters] = readDer(expectDer(algorithm, DER_SEQUENCE));
  if (oidOf(expectDer(scheme, DER_OID)) !== OID_PBES2) throw unsupported("encryption scheme");
  const [kdf, cipher] = readDer(expectDer(parameters, DER_SEQUENCE));
  const [cipherName, cipherIv] = readDer(expectDer(cipher, DER_SEQUENCE));
  const { name, keyBytes, ivBytes } = rowOf(CIPHERS, expectDer(cipherName, DER_OID), "cipher");
  const iv = expectDer(cipherIv, DER_OCTET_STRING);
  if (iv.length !== ivBytes) throw unsupported("initialisation vector");
  const derive = readKdf(expectDer(kdf, DER_SEQUENCE));
  const ciphertext = expectDer(data, DER_OCTET_STRING);

  if (passphrase === undefined) {
    throw new UnavailableError("wrong-passphrase", "private key: it is encrypted, so a passphrase is needed");
  }
  const key = derive(passphraseBytes(passphrase), keyBytes);
  try {
    const decipher = createDecipheriv(name, key, iv);
    const plain = Buffer.concat([decipher.update(ciphertext), decipher.final()]);
    // A wrong passphrase passes the padding once in 256 times; it does not also make an exact DER key.
    expectDer(readDer(readDerOnly(plain, DER_SEQUENCE))[0], DER_INTEGER);
    return plain;
  } catch {
    // The cause is left out on purpose: whether padding or content was wrong is nobody's business.
    throw new UnavailableError("wrong-passphrase", "private key: the passphrase does not open it");
  }
}

function readKdf(content: Uint8Array): (passphrase: Uint8Array, keyBytes: number) => Uint8Array {
  const [name, parameters] = readDer(content);
  const kind = oidOf(expectDer(name, DER_OID));
  const fields = readDer(expectDer(parameters, DER_SEQUENCE));
  const salt = expectDer(fields[0], DER_OCTET_STRING);
  if (kind === OID_PBKDF2) {
    const iterations = readDerNumber(fields[1]);
    if (iterations < 1 || iterations > ITERATIONS_MAX) throw unsupported("number of iterations");
    // An optional key length stands between the iterations and the function, which defaults to HMAC-SHA-1.
    const prf = fields.slice(2).find((field) => field.tag === DER_SEQUENCE);
    const hash = prf === undefined ? "sha1" : rowOf(PRF, expectDer(readDer(prf.content)[0], DER_OID), "hash");
    return (passphrase, keyBytes) => pbkdf2Sync(passphrase, salt, iterations, keyBytes, hash);
  }
  if (kind === OID_SCRYPT) {
    const [N, r, p] = [readDerNumber(fields[1]), readDerNumber(fields[2]), readDerNumber(fields[3])];
    const maxmem = 128 * N * r + 128 * r * p + 1024 * 1024;
    if (N < 2 || r < 1 || p < 1 || p > 64 || maxmem > SCRYPT_MEMORY_MAX || !Number.isInteger(Math.log2(N))) {
      throw unsupported("scrypt cost");
    }
    return (passphrase, keyBytes) => scryptSync(passphrase, salt, keyBytes, { N, r, p, maxmem });
  }
  throw unsupported("key derivation");
}

function passphraseBytes(passphrase: string): Uint8Array {
  if (typeof passphrase !== "string" || passphrase === "") {
    throw new TypeError("passphrase: expected a non-empty string");
  }
  return encodeUtf8(passphrase);
}

function rowOf<T>(table: Readonly<Record<string, T>>, id: Uint8Array, what: string): T {
  const hex = oidOf(id);
  if (!Object.hasOwn(table, hex)) throw unsupported(what);
  return table[hex]!;
}

function oidOf(content: Uint8Array): string {
  return encodeHex(content);
}

function oid(hex: string): Uint8Array {
  return writeDer(DER_OID, decodeHex(hex, { code: "malformed-key" }));
}

function unsupported(what: string): MalformedError {
  return new MalformedError("malformed-key", `encrypted private key: unsupported ${what}`);
}
