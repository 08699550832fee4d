import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import {
  basicConstraints,
  extension,
  type Issued,
  issue,
  keyUsage,
  makeKeys,
  makeResponse,
  makeToken,
  type TokenOptions,
  timeStampingUsage,
} from "../../../test/anchors/authority.ts";
import { DER_OCTET_STRING, writeDer, writeDerUnsigned } from "../der.ts";
import { encodeUtf8 } from "../encoding.ts";
import { isTallystickError } from "../errors.ts";
import { type Certificate, parseCertificate, parseCertificateFile } from "./certificate.ts";
import {
  formatTimestampRequest,
  parseTimestampResponse,
  parseTimestampToken,
  TIMESTAMP_BYTES_MAX,
  type VerifyTimestampOptions,
  verifyTimestamp,
} from "./rfc3161.ts";

interface Vectors {
  readonly requests: readonly {
    readonly title: string;
    readonly digest: string;
    readonly nonce: string;
    readonly request: string;
  }[];
  readonly timestamps: readonly {
    readonly title: string;
    readonly proof: string;
    readonly digest: string;
    readonly roots: readonly string[];
    readonly genTime?: string;
    readonly notAfterMs?: number;
    readonly code?: string;
  }[];
}
const vectors = JSON.parse(readFileSync(new URL("../../../vectors/anchors.json", import.meta.url), "utf8")) as Vectors;

const SPEC = readFileSync(new URL("../../../spec/anchors.md", import.meta.url), "utf8");

const digest = createHash("sha256").update("anchored").digest();
const nonce = Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8);
const root = issue({ name: "Root" });
const middle = issue({ name: "Middle", issuer: root, extensions: [basicConstraints(true, 0), keyUsage(0x06)] });
const authority = issue({ name: "Authority", issuer: middle });
const pin = (...issued: Issued[]): readonly Certificate[] => issued.map((one) => parseCertificate(one.der));

function verify(token: Uint8Array, options: Partial<VerifyTimestampOptions> = {}): ReturnType<typeof verifyTimestamp> {
  return verifyTimestamp(token, { digest, roots: pin(root), nonce, ...options });
}
const token = (options: Partial<TokenOptions> = {}): Uint8Array =>
  makeToken({ digest, signer: authority, certificates: [middle, authority], ...options });

/** `code: message` of the refusal, or "accepted". */
async function refusal(run: () => unknown): Promise<string> {
  try {
    await run();
    return "accepted";
  } catch (error) {
    if (!isTallystickError(error)) throw error;
    return `${error.code}: ${error.message}`;
  }
}

describe("verifyTimestamp", () => {
  it("brackets the digest by the time in the token and its accuracy", async () => {
    const verified = await verify(token());
    expect({ ...verified, chain: verified.chain.map((one) => one.fingerprint) }).toEqual({
      genTime: "2026-02-03T04:05:06.25Z",
      notAfterMs: Date.parse("2026-02-03T04:05:07.250Z"),
      notBeforeMs: Date.parse("2026-02-03T04:05:05.250Z"),
      accuracyMs: 1_000,
      policy: "1.3.6.1.4.1.99999.1",
      serialNumber: "07",
      authority: "CN=Authority",
      chain: [authority, middle, root].map((one) => createHash("sha256").update(one.der).digest("hex")),
    });
  });

  it("takes a whole response as it takes its token", async () => {
    expect(await verify(makeResponse(token()))).toEqual(await verify(token()));
    expect(await verify(makeResponse(token(), 1))).toEqual(await verify(token()));
    expect(await refusal(() => verify(makeResponse(null, 2)))).toBe(
      "malformed-proof: time-stamp token: the response refuses one",
    );
  });

  it("adds up every part of an accuracy, and rounds what is finer than a millisecond outwards", async () => {
    const parts = [
      writeDerUnsigned(Uint8Array.of(2)),
      writeDer(0x80, Uint8Array.of(5)),
      writeDer(0x81, Uint8Array.of(1)),
    ];
    const { accuracyMs, notAfterMs, notBeforeMs } = await verify(
      token({ accuracy: parts, genTime: "20260203040506Z" }),
    );
    expect(accuracyMs).toBe(2_005.001);
    expect(notAfterMs).toBe(Date.parse("2026-02-03T04:05:08.006Z"));
    expect(notBeforeMs).toBe(Date.parse("2026-02-03T04:05:03.994Z"));
    const without = await verify(token({ accuracy: null, genTime: "20260203040506.000000001Z" }));
    expect(without.accuracyMs).toBeNull();
    expect(without.notAfterMs).toBe(Date.parse("2026-02-03T04:05:06.001Z"));
    expect(without.notBeforeMs).toBe(Date.parse("2026-02-03T04:05:06.000Z"));
  });

  for (const [kind, scheme] of [
    ["p256", "p256"],
    ["p256", "p256-sha512"],
    ["p384", "p384"],
    ["rsa", "rsa"],
    ["rsa", "rsa-key-only"],
    ["rsa-pss", "rsa-pss"],
    ["ed25519", "ed25519"],
  ] as const) {
    it(`verifies ${scheme} signatures of tokens and certificates, and refuses them under another key`, async () => {
      const certificateScheme = scheme === "rsa-key-only" ? "rsa" : scheme;
      const top = issue({ name: "Top", key: kind, scheme: certificateScheme });
      const leaf = issue({ name: "Leaf", issuer: top, key: kind, scheme });
      for (let i = 0; i < 4; i++) {
        const good = makeToken({ digest, signer: leaf });
        expect((await verify(good, { roots: pin(top) })).authority).toBe("CN=Leaf");
      }
      const forged = makeToken({ digest, signer: leaf, signWith: makeKeys(kind).privateKey });
      expect(await refusal(() => verify(forged, { roots: pin(top) }))).toBe(
        "signature-invalid: time-stamp token: the signature does not verify",
      );
      const impostor = issue({ name: "Top", key: kind, scheme: certificateScheme });
      expect(await refusal(() => verify(makeToken({ digest, signer: leaf }), { roots: pin(impostor) }))).toContain(
        "untrusted-key",
      );
    });
  }

  it("takes an ESS attribute of version 1, and issuer and serial number where they are those of the signer", async () => {
    expect((await verify(token({ essVersion: 1 }))).policy).toBe("1.3.6.1.4.1.99999.1");
    expect((await verify(token({ essIssuerSerial: authority }))).policy).toBe("1.3.6.1.4.1.99999.1");
  });

  it("takes a chain that the reader brings along for a token without certificates", async () => {
    const bare = token({ certificates: [] });
    expect(await refusal(() => verify(bare))).toBe(
      "untrusted-key: time-stamp token: the certificate of its signer is not at hand",
    );
    expect((await verify(bare, { certificates: pin(middle, authority) })).chain).toHaveLength(3);
  });

  it("takes a pinned intermediate, or the pinned certificate of the authority itself, as the end of the chain", async () => {
    expect((await verify(token(), { roots: pin(middle) })).chain).toHaveLength(2);
    expect((await verify(token(), { roots: pin(authority) })).chain).toHaveLength(1);
  });

  it("is not led astray by certificates in the bag: broken ones, and others of the signer's name and number", async () => {
    const twin = issue({ name: "Authority", issuer: middle, serialNumber: authority.serialNumber });
    expect((await verify(token({ certificates: [twin, middle, authority] }))).chain[0]!.der).toEqual(authority.der);
    const broken = { ...authority, der: Uint8Array.of(0x30, 0x00) };
    expect((await verify(token({ certificates: [broken, middle, authority] }))).chain).toHaveLength(3);
  });

  it("does not keep looking for ever among crossed certificates", async () => {
    const keys = makeKeys("p256");
    const loop = Array.from({ length: 12 }, () =>
      issue({
        name: "Loop",
        keys,
        issuer: { ...root, name: middle.name, keys: middle.keys },
        extensions: [basicConstraints(true)],
      }),
    );
    const circle = loop.map((_, i) =>
      issue({
        name: "Middle",
        keys: middle.keys,
        issuer: { ...root, name: loop[i]!.name, keys },
        extensions: [basicConstraints(true)],
      }),
    );
    const signer = issue({ name: "Lost", issuer: middle });
    // By the number of checks and not by time, of which each takes some.
    const lost = makeToken({ digest, signer, certificates: [signer, ...loop, ...circle] });
    expect(await refusal(() => verify(lost))).toBe("untrusted-key: time-stamp certificate: no chain within 32 checks");
  });

  const other = issue({ name: "Other" });
  const ca = [basicConstraints(true), keyUsage(0x06)];
  const signedBy = (name: string, extensions: readonly Uint8Array[], more: object = {}): Issued =>
    issue({ name, issuer: root, extensions, ...more });
  const by = (signer: Issued, ...between: Issued[]): Uint8Array =>
    makeToken({ digest, signer, certificates: [signer, ...between] });
  const under = (extensions: readonly Uint8Array[], more: object = {}): Uint8Array => {
    const issuer = signedBy("Between", extensions, more);
    return by(issue({ name: "Below", issuer }), issuer);
  };
  const unknownExtension = extension("1.2.3.4", Uint8Array.of(5, 0), true);

  for (const [title, make, expected, options] of [
    [
      "of another digest",
      () => token({ digest: createHash("sha256").update("other").digest() }),
      "proof-invalid: time-stamp token: it stamps another digest",
    ],
    [
      "whose imprint claims another hash",
      () => token({ imprintAlgorithm: "2.16.840.1.101.3.4.2.2" }),
      "proof-invalid: time-stamp token: it stamps another digest",
    ],
    [
      "with another nonce",
      () => token({ nonce: Uint8Array.of(9, 9, 9, 9, 9, 9, 9, 9) }),
      "proof-invalid: time-stamp token: its nonce is not that of the request",
    ],
    [
      "without the nonce of the request",
      () => token({ nonce: null }),
      "proof-invalid: time-stamp token: its nonce is not that of the request",
    ],
    [
      "under a policy that is not pinned",
      () => token(),
      "untrusted-key: time-stamp token: its policy 1.3.6.1.4.1.99999.1 is not one of those pinned",
      { policies: ["1.2.3"] },
    ],
    [
      "of a time to come",
      () => token(),
      "proof-invalid: time-stamp token: it stamps a time to come",
      { nowMs: Date.parse("2026-02-03T04:00:05Z") },
    ],
    ["of version 2", () => token({ version: 2 }), "malformed-proof: time-stamp info: expected version 1, got 2"],
    [
      "with a critical extension",
      () => token({ infoExtensions: [unknownExtension] }),
      "malformed-proof: time-stamp info: the critical extension 1.2.3.4 is unknown",
    ],
    ["with two signers", () => token({ signers: 2 }), "malformed-proof: time-stamp token: expected one signer, got 2"],
    ["without signers", () => token({ signers: 0 }), "malformed-proof: time-stamp token: expected one signer, got 0"],
    [
      "with another message digest",
      () => token({ messageDigest: new Uint8Array(32) }),
      "proof-invalid: time-stamp token: its message digest is another",
    ],
    [
      "with another content type",
      () => token({ contentType: "1.2.840.113549.1.7.1" }),
      "proof-invalid: time-stamp token: its content type is not signed",
    ],
    [
      "without an ESS attribute",
      () => token({ ess: "none" }),
      "proof-invalid: time-stamp token: it has no signing-certificate attribute",
    ],
    [
      "with the ESS attribute of another certificate",
      () => token({ ess: middle }),
      "proof-invalid: time-stamp token: its signing-certificate attribute names another certificate",
    ],
    [
      "with an ESS attribute of another issuer and number",
      () => token({ essIssuerSerial: middle }),
      "proof-invalid: time-stamp token: its signing-certificate attribute names another certificate",
    ],
    [
      "with an attribute twice",
      () => token({ attributes: [makeAttribute()] }),
      "malformed-proof: signer of the time-stamp token: expected one value of 1.2.840.113549.1.9.4",
    ],
    [
      "signed over SHA-1",
      () => makeToken({ digest, signer: issue({ name: "Old", issuer: root, key: "rsa", scheme: "rsa-sha1" }) }),
      "malformed-proof: signer of the time-stamp token: the algorithm 1.3.14.3.2.26 or its parameters are not supported",
    ],
    [
      "with a chain to another root",
      () => token(),
      "untrusted-key: time-stamp certificate: no chain to a pinned root: no certificate of its issuer is at hand",
      { roots: pin(other) },
    ],
    [
      "for a reader who pins nothing",
      () => token(),
      "untrusted-key: time-stamp certificate: no chain to a pinned root: no certificate of its issuer is at hand",
      { roots: [] },
    ],
    [
      "of a signer without extended key usage",
      () => by(signedBy("No usage", [keyUsage(0x80)])),
      "proof-invalid: time-stamp token: the certificate of its signer has no extended key usage",
    ],
    [
      "of a signer whose extended key usage is not critical",
      () => by(signedBy("Soft", [timeStampingUsage(false)])),
      "proof-invalid: time-stamp token: the certificate of its signer has an extended key usage that is not critical",
    ],
    [
      "of a signer who is for more than time stamping",
      () => by(signedBy("More", [timeStampingUsage(true, "1.3.6.1.5.5.7.3.1")])),
      "proof-invalid: time-stamp token: the certificate of its signer is not for time stamping alone",
    ],
    [
      "of a signer who is an authority",
      () => by(signedBy("Both", [timeStampingUsage(), basicConstraints(true)])),
      "proof-invalid: time-stamp token: the certificate of its signer is that of an authority for certificates",
    ],
    [
      "of a signer who may sign certificates",
      () => by(signedBy("Wide", [timeStampingUsage(), keyUsage(0x84)])),
      "proof-invalid: time-stamp token: the certificate of its signer has a key usage other than signatures",
    ],
    [
      "of a signer with an unknown critical extension",
      () => by(signedBy("Odd", [timeStampingUsage(), unknownExtension])),
      "proof-invalid: time-stamp token: the certificate of its signer has the critical extension 1.2.3.4",
    ],
    [
      "made after the signer's certificate ran out",
      () => token({ genTime: "20370101000000Z" }),
      "untrusted-key: time-stamp certificate: not valid at the time that it stamps",
    ],
    [
      "made before the signer's certificate began",
      () => token({ genTime: "20251231235959Z" }),
      "untrusted-key: time-stamp certificate: not valid at the time that it stamps",
    ],
    [
      "below an issuer that had run out",
      () => under(ca, { notAfter: "2026-02-01T00:00:00Z" }),
      "untrusted-key: time-stamp certificate: no chain to a pinned root: an issuer is not valid at the time that is stamped",
    ],
    [
      "below an issuer that is none",
      () => under([timeStampingUsage()]),
      "untrusted-key: time-stamp certificate: no chain to a pinned root: an issuer is not an authority",
    ],
    [
      "below an issuer that may not sign certificates",
      () => under([basicConstraints(true), keyUsage(0x80)]),
      "untrusted-key: time-stamp certificate: no chain to a pinned root: an issuer may not sign certificates",
    ],
    [
      "below an issuer for something else",
      () => under([...ca, extension("2.5.29.37", Buffer.from("300a06082b06010505070301", "hex"))]),
      "untrusted-key: time-stamp certificate: no chain to a pinned root: an issuer is not for time stamping",
    ],
    [
      "below an issuer with name constraints",
      () => under([...ca, extension("2.5.29.30", Uint8Array.of(0x30, 0), true)]),
      "untrusted-key: time-stamp certificate: no chain to a pinned root: an issuer has the critical extension 2.5.29.30",
    ],
    [
      "below more issuers than one of them allows",
      () => {
        const below = issue({ name: "Below middle", issuer: middle, extensions: ca });
        return by(issue({ name: "Deep", issuer: below }), below, middle);
      },
      "untrusted-key: time-stamp certificate: no chain to a pinned root: an issuer's path length is exceeded",
    ],
  ] as readonly (readonly [string, () => Uint8Array, string, Partial<VerifyTimestampOptions>?])[]) {
    it(`refuses a token ${title}`, async () => {
      expect(await refusal(() => verify(make(), options))).toBe(expected);
    });
  }

  it("refuses every truncation, a byte behind, a byte too many for a length, and more than 64 KiB", async () => {
    const whole = token();
    for (let end = 0; end < whole.length; end += end < 200 ? 1 : 37) {
      expect(await refusal(() => verify(whole.subarray(0, end)))).toMatch(/^malformed-proof: /);
    }
    expect(await refusal(() => verify(Buffer.concat([whole, Buffer.of(0)])))).toMatch(
      /^malformed-proof: time-stamp token: expected DER/,
    );
    const indefinite = Uint8Array.of(0x30, 0x80, ...whole.subarray(4), 0, 0);
    expect(await refusal(() => verify(indefinite))).toBe(
      "malformed-proof: time-stamp token: expected DER, got a length that is indefinite or too long",
    );
    const loose = Uint8Array.of(0x30, 0x83, 0, ...whole.subarray(2));
    expect(await refusal(() => verify(loose))).toBe(
      "malformed-proof: time-stamp token: expected DER, got a length that is not minimal",
    );
    expect(await refusal(() => verify(new Uint8Array(TIMESTAMP_BYTES_MAX + 1)))).toBe(
      "malformed-proof: time-stamp token: expected at most 65536 bytes, got 65537",
    );
    const nested = Uint8Array.from({ length: 60_000 }, (_, i) => (i % 2 === 0 ? 0x30 : 0x80));
    expect(await refusal(() => verify(nested))).toMatch(/^malformed-proof: /);
  });

  it("does not take one changed byte for the same statement", async () => {
    const whole = token();
    const good = JSON.stringify(await verify(whole));
    let refused = 0;
    for (let at = 0; at < whole.length; at += 3) {
      const changed = Uint8Array.from(whole);
      changed[at]! ^= 1 << (at % 8);
      try {
        // A bit in what is not signed (other certificates, the set of digest algorithms) may pass; the statement may not change.
        expect(JSON.stringify(await verify(changed))).toBe(good);
      } catch (error) {
        if (!isTallystickError(error)) throw error;
        refused++;
      }
    }
    expect(refused).toBeGreaterThan((whole.length / 3) * 0.9);
  });

  for (const vector of vectors.timestamps) {
    it(`agrees with the vector: ${vector.title}`, async () => {
      const roots = vector.roots.map((der) => parseCertificate(Buffer.from(der, "base64")));
      const run = (): ReturnType<typeof verifyTimestamp> =>
        verifyTimestamp(Buffer.from(vector.proof, "base64"), { digest: Buffer.from(vector.digest, "hex"), roots });
      if (vector.code !== undefined) {
        await expect(run()).rejects.toMatchObject({ code: vector.code });
        return;
      }
      expect(await run()).toMatchObject({ genTime: vector.genTime, notAfterMs: vector.notAfterMs });
    });
  }
});

function makeAttribute(): Uint8Array {
  const value = writeDer(DER_OCTET_STRING, new Uint8Array(32));
  return Buffer.concat([Buffer.from("302f06092a864886f70d0109043122", "hex"), value]);
}

describe("formatTimestampRequest", () => {
  it("writes version, imprint, nonce and certReq, and a policy where one is asked for", () => {
    const request = formatTimestampRequest({ digest, nonce: Uint8Array.of(0x80, 0, 0, 0, 0, 0, 0, 1) });
    const imprint = `3031300d060960864801650304020105000420${digest.toString("hex")}`;
    expect(Buffer.from(request).toString("hex")).toBe(`3044020101${imprint}02090080000000000000010101ff`);
    const asked = formatTimestampRequest({ digest, nonce, policy: "1.3.6.1.4.1.99999.1" });
    expect(Buffer.from(asked).toString("hex")).toContain("06092b06010401868d1f01");
  });

  for (const vector of vectors.requests) {
    it(`agrees with the vector: ${vector.title}`, () => {
      const options = { digest: Buffer.from(vector.digest, "hex"), nonce: Buffer.from(vector.nonce, "hex") };
      expect(Buffer.from(formatTimestampRequest(options)).toString("hex")).toBe(vector.request);
      expect(SPEC).toContain(vector.request);
    });
  }

  it("refuses digests and nonces of another size", () => {
    expect(() => formatTimestampRequest({ digest: new Uint8Array(20), nonce })).toThrow(
      "expected a digest of 32 bytes, got 20",
    );
    expect(() => formatTimestampRequest({ digest, nonce: new Uint8Array(7) })).toThrow(
      "expected a nonce of 8 to 32 bytes, got 7",
    );
  });
});

describe("parseTimestampResponse", () => {
  it("gives the status, what was said and which bits were set of a refusal", () => {
    expect(parseTimestampResponse(makeResponse(null, 2, `no ${"x".repeat(300)}`))).toEqual({
      status: 2,
      text: `no ${"x".repeat(197)}`,
      failures: [2],
      token: null,
    });
  });

  it("refuses a status that contradicts the token", async () => {
    expect(await refusal(() => parseTimestampResponse(makeResponse(token(), 2)))).toBe(
      "malformed-proof: time-stamp response: status 2 with a token",
    );
    expect(await refusal(() => parseTimestampResponse(makeResponse(null, 0)))).toBe(
      "malformed-proof: time-stamp response: status 0 without a token",
    );
  });

  it("hands the token out byte for byte", () => {
    const one = token();
    expect(Buffer.from(parseTimestampResponse(makeResponse(one)).token!).equals(one)).toBe(true);
    expect(Buffer.from(parseTimestampToken(makeResponse(one)).bytes).equals(one)).toBe(true);
  });
});

describe("parseCertificateFile", () => {
  const pem = (der: Uint8Array): string =>
    `-----BEGIN CERTIFICATE-----\n${Buffer.from(der).toString("base64").replaceAll(/.{64}/g, "$&\n")}\n-----END CERTIFICATE-----\n`;

  it("reads a bundle in PEM with text between, and one certificate in DER", () => {
    const bundle = encodeUtf8(`# first\n${pem(root.der)}second\r\n${pem(middle.der).replaceAll("\n", "\r\n")}`);
    expect(parseCertificateFile(bundle).map((one) => Buffer.from(one.der).toString("hex"))).toEqual(
      [root, middle].map((one) => Buffer.from(one.der).toString("hex")),
    );
    expect(parseCertificateFile(root.der)).toHaveLength(1);
  });

  it("refuses a file without certificates, and certificates that are none", async () => {
    expect(await refusal(() => parseCertificateFile(encodeUtf8("nothing")))).toBe(
      "malformed-key: certificate file: expected certificates in PEM or DER",
    );
    expect(await refusal(() => parseCertificateFile(encodeUtf8(pem(Uint8Array.of(0x30, 0)))))).toMatch(
      /^malformed-proof: certificate/,
    );
    expect(await refusal(() => parseCertificateFile(new Uint8Array(2 ** 20 + 1)))).toContain(
      "expected at most 1048576 bytes",
    );
  });
});
