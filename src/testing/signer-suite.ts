import type { AuthorSigner } from "../core/author-signature.ts";
import { sha256Hex } from "../core/hash.ts";
import { verifyEd25519, verifyMlDsa44, verifySignature } from "../core/signature/table.ts";
import type { Signer } from "../ledger/signer.ts";
import { checkWith, outcomeOf, type SuiteTools } from "./suite.ts";

export interface SignerUnderTest<S> {
  readonly signer: S;
  /** Cuts the signer off from its key service until the returned function is called. Absent where there is none. */
  readonly interrupt?: () => Promise<() => Promise<void>>;
  readonly dispose: () => Promise<void>;
}

const MESSAGE_BYTES_MAX = 4_096;
const LOG_ALGORITHMS = {
  ed25519: { keyBytes: 32, signatureBytes: 64, verify: verifyEd25519 },
  "ml-dsa-44": { keyBytes: 1312, signatureBytes: 2420, verify: verifyMlDsa44 },
} as const;

const messageOf = (size: number, seed = 0): Uint8Array =>
  Uint8Array.from({ length: size }, (_, i) => (i * 31 + seed) & 255);

/**
 * Conformance suite of the Signer port (log keys): one test for each sentence of its doc comments. Implementations of your
 * own should pass it on the real key service.
 */
export function signerSuite(name: string, tools: SuiteTools, make: () => Promise<SignerUnderTest<Signer>>): void {
  const { describe, expect } = tools;
  describe(`log signer: ${name}`, () => {
    const check = checkWith(tools, make);

    check("has an algorithm of log keys and a raw public key of its size", async ({ signer }) => {
      expect(Object.hasOwn(LOG_ALGORITHMS, signer.algorithm)).toBe(true);
      expect(signer.publicKey.length).toBe(LOG_ALGORITHMS[signer.algorithm].keyBytes);
    });

    check(
      "signs any message of up to 4,096 bytes, in one size, so that its public key verifies it",
      async ({ signer }) => {
        const { signatureBytes, verify } = LOG_ALGORITHMS[signer.algorithm];
        for (const size of [0, 1, 300, MESSAGE_BYTES_MAX]) {
          const signature = await signer.sign(messageOf(size));
          expect(signature.length).toBe(signatureBytes);
          expect(await verify(signer.publicKey, messageOf(size), signature)).toBe(true);
          expect(await verify(signer.publicKey, messageOf(size + 1), signature)).toBe(false);
        }
      },
    );

    check("refuses a longer message", async ({ signer }) => {
      const outcome = await outcomeOf(signer.sign(messageOf(MESSAGE_BYTES_MAX + 1)));
      expect(outcome === "no error").toBe(false);
    });

    check("takes concurrent calls, each with its own message", async ({ signer }) => {
      const { verify } = LOG_ALGORITHMS[signer.algorithm];
      const seeds = Array.from({ length: 16 }, (_, i) => i);
      const signatures = await Promise.all(seeds.map((seed) => signer.sign(messageOf(64, seed))));
      for (const seed of seeds) {
        expect(await verify(signer.publicKey, messageOf(64, seed), signatures[seed]!)).toBe(true);
      }
    });

    check("signs what the message was when it was called, and leaves it as it was", async ({ signer }) => {
      const { verify } = LOG_ALGORITHMS[signer.algorithm];
      const message = messageOf(64);
      const signing = signer.sign(message);
      expect(message).toEqual(messageOf(64));
      message.fill(0);
      expect(await verify(signer.publicKey, messageOf(64), await signing)).toBe(true);
    });

    check("answers signer-unavailable while its key service is away, and recovers", async ({ signer, interrupt }) => {
      if (interrupt === undefined) return;
      const restore = await interrupt();
      expect(await outcomeOf(signer.sign(messageOf(10)))).toBe("signer-unavailable");
      await restore();
      const { verify } = LOG_ALGORITHMS[signer.algorithm];
      expect(await verify(signer.publicKey, messageOf(10), await signer.sign(messageOf(10)))).toBe(true);
    });
  });
}

/** Conformance suite of the AuthorSigner port: an actor's key in any of the eight algorithms. */
export function authorSignerSuite(
  name: string,
  tools: SuiteTools,
  make: () => Promise<SignerUnderTest<AuthorSigner>>,
): void {
  const { describe, expect } = tools;
  describe(`author signer: ${name}`, () => {
    const check = checkWith(tools, make);

    check("is identified by the SHA-256 of its SPKI", async ({ signer }) => {
      expect(signer.keyId).toBe(sha256Hex(signer.spki));
    });

    check("signs in the encoding of the formats every time, so that its SPKI verifies it", async ({ signer }) => {
      const { algorithm, spki } = signer;
      // Half of all ECDSA signatures come out with a high s: sixteen would show a signer that does not mend it.
      for (let seed = 0; seed < 16; seed++) {
        const signature = await signer.sign(messageOf(64, seed));
        expect(await verifySignature(algorithm, spki, messageOf(64, seed), signature)).toBe(true);
        expect(await verifySignature(algorithm, spki, messageOf(63, seed), signature)).toBe(false);
      }
    });

    check("takes concurrent calls, each with its own message", async ({ signer }) => {
      const seeds = Array.from({ length: 8 }, (_, i) => i);
      const signatures = await Promise.all(seeds.map((seed) => signer.sign(messageOf(64, seed))));
      for (const seed of seeds) {
        const verdict = verifySignature(signer.algorithm, signer.spki, messageOf(64, seed), signatures[seed]!);
        expect(await verdict).toBe(true);
      }
    });
  });
}
