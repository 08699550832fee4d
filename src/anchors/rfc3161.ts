import type { Certificate } from "../core/anchor-proof/certificate.ts";
import {
  formatTimestampRequest,
  parseTimestampResponse,
  parseTimestampToken,
  TIMESTAMP_BYTES_MAX,
  verifyTimestamp,
} from "../core/anchor-proof/rfc3161.ts";
import { bytesEqual } from "../core/encoding.ts";
import { isTallystickError, VerificationError } from "../core/errors.ts";
import type { Anchor, AnchorAnswer } from "../ledger/anchor.ts";
import { exchange, printable } from "../ledger/http-exchange.ts";
import { type Random, systemRandom } from "../ledger/random.ts";
import { checkedAddress, TIMEOUT_MS_DEFAULT } from "./service-address.ts";

export interface Rfc3161AnchorOptions {
  readonly url: string;
  /**
   * Pinned certificates. With them an answer that does not verify is not kept; without, a token that names digest and nonce is kept
   * unverified, and only a reader with pins learns what it is worth.
   */
  readonly roots?: readonly Certificate[];
  /** Policy to ask for, in dotted decimal. */
  readonly policy?: string;
  /** For the whole exchange. Default 5,000. */
  readonly timeoutMs?: number;
  readonly fetch?: typeof fetch;
  readonly random?: Random;
}

const NONCE_BYTES = 16;

/** A time-stamping authority over HTTP (RFC 3161 §3.4). The proof is the whole response, byte for byte: a `.tsr` file. */
export function rfc3161Anchor(options: Rfc3161AnchorOptions): Anchor {
  const url = checkedAddress(options.url, "rfc3161Anchor");
  const { roots, policy, timeoutMs = TIMEOUT_MS_DEFAULT, random = systemRandom } = options;
  const limits = { timeoutMs, answerBytesMax: TIMESTAMP_BYTES_MAX, fetch: options.fetch ?? fetch };

  return {
    kind: "rfc3161",
    name: url,

    async submit(digest, signal): Promise<AnchorAnswer> {
      const nonce = random.fill(new Uint8Array(NONCE_BYTES));
      const body = formatTimestampRequest({ digest, nonce, ...(policy === undefined ? {} : { policy }) });
      const headers = { "content-type": "application/timestamp-query", accept: "application/timestamp-reply" };
      const answer = await exchange(url, { method: "POST", headers, body: Buffer.from(body) }, limits, signal);
      if (typeof answer === "string") return { kind: "unavailable", reason: answer };
      if (answer.status !== 200) return { kind: "unavailable", reason: `status ${answer.status}` };
      if (answer.type !== "application/timestamp-reply") {
        return { kind: "unavailable", reason: `an answer of the type ${printable(answer.type)}` };
      }
      try {
        const { status, text, failures, token } = parseTimestampResponse(answer.body);
        if (token === null) {
          const reason = `status ${status}, failures ${failures.join(" ") || "none"}: ${printable(text)}`;
          return { kind: "refused", reason };
        }
        const policies = policy === undefined ? {} : { policies: [policy] };
        if (roots !== undefined) await verifyTimestamp(answer.body, { digest, roots, nonce, ...policies });
        else checkUnverified(token, digest, nonce);
        return { kind: "proof", proof: answer.body, complete: true, failures: [] };
      } catch (error) {
        if (!isTallystickError(error)) throw error;
        return { kind: "unavailable", reason: `an answer that is refused: ${error.message}` };
      }
    },
  };
}

/** A token of something else is worth nothing to anybody, pins or not. */
function checkUnverified(bytes: Uint8Array, digest: Uint8Array, nonce: Uint8Array): void {
  const { info } = parseTimestampToken(bytes);
  const sent = nonce.subarray(
    Math.max(
      0,
      nonce.findIndex((byte) => byte !== 0),
    ),
  );
  if (
    info.imprint.algorithm === "sha256" &&
    bytesEqual(info.imprint.digest, digest) &&
    info.nonce !== null &&
    bytesEqual(info.nonce, sent)
  )
    return;
  throw new VerificationError("proof-invalid", "time-stamp token: it stamps another digest, or another request");
}
