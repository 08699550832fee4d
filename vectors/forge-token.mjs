// A time-stamping authority by hand: certificates and RFC 3161 tokens on Ed25519, the same bytes every time.
import { keyOf, raw } from "./forge.mjs";

const bytes = (...values) => Buffer.from(values);

function der(tag, ...parts) {
  const content = Buffer.concat(parts.map((part) => Buffer.from(part)));
  const { length } = content;
  if (length < 128) return Buffer.concat([bytes(tag, length), content]);
  const size = length < 256 ? bytes(0x81, length) : bytes(0x82, length >> 8, length & 255);
  return Buffer.concat([bytes(tag), size, content]);
}
const sequence = (...parts) => der(0x30, ...parts);
const set = (...parts) => der(0x31, ...parts);
const integer = (...values) => der(0x02, bytes(...values));
const octets = (content) => der(0x04, content);
const explicit = (n, ...parts) => der(0xa0 + n, ...parts);

function oid(text) {
  const [a, b, ...rest] = text.split(".").map(Number);
  const arcs = [40 * a + b, ...rest].flatMap((arc) => {
    const digits = [arc & 127];
    for (let left = arc >> 7; left > 0; left >>= 7) digits.unshift((left & 127) | 128);
    return digits;
  });
  return der(0x06, bytes(...arcs));
}

const ED25519 = sequence(oid("1.3.101.112"));
const SHA256 = sequence(oid("2.16.840.1.101.3.4.2.1"));
const SHA512 = sequence(oid("2.16.840.1.101.3.4.2.3"));
/** `20260102030405Z` of a ledger time, with its fraction if it has one. */
const timeOf = (text) => `${text.slice(0, 19).replace(/[-:T]/g, "")}${`.${text.slice(20, 23)}`.replace(/\.?0+$/, "")}Z`;
const date = (text) => der(0x17, timeOf(text).slice(2));

const nameOf = (text) => sequence(set(sequence(oid("2.5.4.3"), der(0x0c, text))));
const extension = (id, value, critical) => sequence(oid(id), ...(critical ? [der(0x01, bytes(0xff))] : []), octets(value));
const CA = [extension("2.5.29.19", sequence(der(0x01, bytes(0xff))), true), extension("2.5.29.15", der(0x03, bytes(1, 0x06)), true)];
const TSA = [extension("2.5.29.37", sequence(oid("1.3.6.1.5.5.7.3.8")), true), extension("2.5.29.15", der(0x03, bytes(7, 0x80)), true)];

function certificate({ subject, issuer, key, signer, serial, extensions }) {
  const validity = sequence(date("2025-01-01T00:00:00.000Z"), date("2035-01-01T00:00:00.000Z"));
  const body = sequence(explicit(0, integer(2)), integer(serial), ED25519, nameOf(issuer), validity, nameOf(subject), key.spki, explicit(3, sequence(...extensions)));
  return sequence(body, ED25519, der(0x03, bytes(0), signer.sign(body)));
}

function authority(name) {
  const rootKey = keyOf(`${name} root`);
  const key = keyOf(name);
  const root = certificate({ subject: `${name} Root`, issuer: `${name} Root`, key: rootKey, signer: rootKey, serial: 1, extensions: CA });
  const own = certificate({ subject: name, issuer: `${name} Root`, key, signer: rootKey, serial: 2, extensions: TSA });
  const lines = root.toString("base64").match(/.{1,64}/g);
  const pem = `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
  return { name, key, own, pem };
}

export const tsaRoot = authority("Vector Time");
export const tsaStranger = authority("Stranger Time");

/** Token of an authority over the SHA-256 of a text, at a ledger time, with an accuracy of one second. */
export function token({ stamped, time, root }) {
  const imprint = sequence(SHA256, octets(raw("sha256", stamped)));
  const info = sequence(integer(1), oid("1.3.6.1.4.1.99999.1"), imprint, integer(7), der(0x18, timeOf(time)), sequence(integer(1)));
  const attribute = (id, value) => sequence(oid(id), set(value));
  const attributes = [
    attribute("1.2.840.113549.1.9.3", oid("1.2.840.113549.1.9.16.1.4")),
    attribute("1.2.840.113549.1.9.4", octets(raw("sha512", info))),
    attribute("1.2.840.113549.1.9.16.2.47", sequence(sequence(sequence(octets(raw("sha256", root.own)))))),
  ].sort(Buffer.compare);
  const signature = root.key.sign(set(...attributes));
  const signer = sequence(integer(1), sequence(nameOf(`${root.name} Root`), integer(2)), SHA512, explicit(0, ...attributes), ED25519, octets(signature));
  const content = sequence(oid("1.2.840.113549.1.9.16.1.4"), explicit(0, octets(info)));
  const data = sequence(integer(3), set(SHA512), content, explicit(0, root.own), set(signer));
  return sequence(oid("1.2.840.113549.1.7.2"), explicit(0, data));
}
