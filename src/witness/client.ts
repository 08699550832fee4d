import { decodeUtf8, encodeBase64, encodeHex, encodeUtf8, parseDecimal } from "../core/encoding.ts";
import { isTallystickError } from "../core/errors.ts";
import { sha256 } from "../core/hash.ts";
import { NOTE_BYTES_MAX } from "../core/limits.ts";
import { exchange } from "../ledger/http-exchange.ts";
import type { Witness, WitnessAnswer } from "../ledger/witness.ts";

export interface HttpWitnessOptions {
  /** Name in the policy. */
  readonly name: string;
  readonly vkey: string;
  /** Submission prefix: `add-checkpoint` is appended to it. */
  readonly url: string;
  /** Monitoring prefix, where it is another. */
  readonly monitoringUrl?: string;
  /** For one request, answer included. Default 5,000. */
  readonly timeoutMs?: number;
  readonly fetch?: typeof fetch;
}

/** Signature lines of a witness, and the reason that a person may read. */
const ANSWER_BYTES_MAX: number = 64 * 1024;
const REASON_CHARACTERS_MAX = 200;

/**
 * A witness over HTTP (C2SP tlog-witness). Redirects are not followed, answers are bounded in time and bytes, and every status
 * code has one meaning; an old witness's 403 for an unknown log is a refusal like 404.
 */
export function httpWitness(options: HttpWitnessOptions): Witness {
  const { name, vkey, url, timeoutMs = 5_000 } = options;
  const base = url.replace(/\/+$/, "");
  const monitoring = (options.monitoringUrl ?? url).replace(/\/+$/, "");
  if (!/^https?:$/.test(new URL(base).protocol))
    throw new TypeError(`httpWitness: expected an http or https URL, got ${url}`);

  const limits = { timeoutMs, fetch: options.fetch ?? fetch };

  return {
    name,
    vkey,

    async addCheckpoint({ oldSize, proof, note }, signal): Promise<WitnessAnswer> {
      const body = `old ${oldSize}\n${proof.map((hash) => `${encodeBase64(hash)}\n`).join("")}\n${note}`;
      const answer = await exchange(
        `${base}/add-checkpoint`,
        { method: "POST", body, headers: { "content-type": "text/plain; charset=utf-8" } },
        { ...limits, answerBytesMax: ANSWER_BYTES_MAX },
        signal,
      );
      return typeof answer === "string"
        ? { kind: "unavailable", reason: answer }
        : answerOf(answer.status, answer.type, answer.body);
    },

    async latest(origin, signal) {
      const answer = await exchange(
        `${monitoring}/${encodeHex(sha256(encodeUtf8(origin)))}/checkpoint`,
        { method: "GET" },
        { ...limits, answerBytesMax: NOTE_BYTES_MAX },
        signal,
      );
      if (typeof answer === "string") return undefined;
      if (answer.status === 404) return null;
      return answer.status === 200 ? textOf(answer.body) : undefined;
    },
  };
}

function answerOf(status: number, type: string, body: Uint8Array): WitnessAnswer {
  const text = textOf(body);
  if (text === undefined) return { kind: "unavailable", reason: `status ${status} with a body that is not text` };
  if (status === 200) {
    const lines = text.split("\n").slice(0, -1);
    if (!text.endsWith("\n") || lines.length === 0 || !lines.every((line) => line.startsWith("— ")))
      return { kind: "unavailable", reason: "status 200 without signature lines" };
    return { kind: "cosigned", lines: lines.map((line) => `${line}\n`) };
  }
  if (status === 409 && type === "text/x.tlog.size" && text.endsWith("\n")) {
    try {
      return { kind: "conflict", size: parseDecimal(text.slice(0, -1), "malformed-proof") };
    } catch (error) {
      if (!isTallystickError(error)) throw error;
      return { kind: "unavailable", reason: "status 409 with a size that is none" };
    }
  }
  const reason = text.slice(0, REASON_CHARACTERS_MAX).trim();
  if (status === 400 || status === 403 || status === 404 || status === 409 || status === 422)
    return { kind: "refused", status, reason };
  return { kind: "unavailable", reason: `status ${status}` };
}

function textOf(bytes: Uint8Array): string | undefined {
  try {
    return decodeUtf8(bytes, "malformed-note");
  } catch (error) {
    if (!isTallystickError(error)) throw error;
    return undefined;
  }
}
