import {
  formatOtsFile,
  listOtsLeaves,
  mergeOts,
  OTS_ANSWER_BYTES_MAX,
  type OtsTimestamp,
  parseOtsFile,
  parseOtsTimestamp,
  startOts,
} from "../core/anchor-proof/opentimestamps.ts";
import { bytesEqual, encodeHex } from "../core/encoding.ts";
import { isTallystickError } from "../core/errors.ts";
import type { Anchor, AnchorAnswer } from "../ledger/anchor.ts";
import { exchange, type HttpLimits, printable } from "../ledger/http-exchange.ts";
import { type Random, systemRandom } from "../ledger/random.ts";
import { checkedAddress, TIMEOUT_MS_DEFAULT } from "./service-address.ts";

export interface OpenTimestampsAnchorOptions {
  /** Submission addresses of calendars, all asked at the same time. */
  readonly calendars: readonly string[];
  /** How many of them must answer. Default: all up to two. */
  readonly required?: number;
  /**
   * Calendars that an upgrade may ask, each an origin with an optional path, `*` for one label of the host. A proof names its
   * calendars itself, so any other address in it is left alone. Default: the calendars that are submitted to, and the public ones.
   */
  readonly upgradeCalendars?: readonly string[];
  /** For each exchange. Default 5,000. */
  readonly timeoutMs?: number;
  readonly fetch?: typeof fetch;
  readonly random?: Random;
}

/** Pools that hand digests on to the public calendars. */
export const PUBLIC_CALENDARS: readonly string[] = [
  "https://a.pool.opentimestamps.org",
  "https://b.pool.opentimestamps.org",
  "https://a.pool.eternitywall.com",
  "https://ots.btc.catallaxy.com",
];
/** Where the public calendars keep their promises. */
export const PUBLIC_UPGRADE_CALENDARS: readonly string[] = [
  "https://*.btc.calendar.opentimestamps.org",
  "https://*.calendar.opentimestamps.org",
  "https://*.calendar.eternitywall.com",
  "https://*.btc.calendar.catallaxy.com",
  "https://*.calendar.catallaxy.com",
];

const NONCE_BYTES = 16;
/** Calendars of one proof that one upgrade asks: a hostile proof may name hundreds. */
const UPGRADES_MAX = 16;
const ACCEPT = { accept: "application/vnd.opentimestamps.v1" };

/**
 * OpenTimestamps calendars as one anchor: several calendars' promises in one `.ots` file, which `upgrade` completes once a
 * block attests it. Complete means that some Bitcoin attestation is there; only a block header shows whether it holds.
 */
export function openTimestampsAnchor(options: OpenTimestampsAnchorOptions): Anchor & Required<Pick<Anchor, "upgrade">> {
  const calendars = options.calendars.map((url) => checkedAddress(url, "openTimestampsAnchor"));
  const { required = Math.min(2, calendars.length), timeoutMs = TIMEOUT_MS_DEFAULT, random = systemRandom } = options;
  if (!Number.isInteger(required) || required < 1 || required > calendars.length) {
    throw new RangeError(`openTimestampsAnchor: expected 1 to ${calendars.length} required calendars, got ${required}`);
  }
  const allowed = (options.upgradeCalendars ?? [...calendars, ...PUBLIC_UPGRADE_CALENDARS]).map(patternOf);
  const limits: HttpLimits = { timeoutMs, answerBytesMax: OTS_ANSWER_BYTES_MAX, fetch: options.fetch ?? fetch };

  return {
    kind: "opentimestamps",
    name: calendars.join(" "),

    async submit(digest, signal): Promise<AnchorAnswer> {
      const { tip, join } = startOts(digest, random.fill(new Uint8Array(NONCE_BYTES)));
      const answers = await Promise.all(calendars.map((url) => submitTo(url, tip, limits, signal)));
      const failures = answers.flatMap((one, i) => (typeof one === "string" ? [`${calendars[i]}: ${one}`] : []));
      const trees = answers.filter((one) => typeof one !== "string");
      if (trees.length < required) {
        return {
          kind: "unavailable",
          reason: `${trees.length} of ${required} calendars answered: ${failures.join("; ")}`,
        };
      }
      const file = join(trees);
      return { kind: "proof", proof: formatOtsFile(file), complete: isComplete(file.timestamp), failures };
    },

    async upgrade(proof, signal): Promise<AnchorAnswer> {
      const file = parseOtsFile(proof);
      const failures: string[] = [];
      const wanted = pendingOf(file.timestamp).filter(({ uri }) => {
        const isAllowed = allowed.some((pattern) => pattern.test(uri));
        if (!isAllowed) failures.push(`${printable(uri)}: not on the list of calendars that may be asked`);
        return isAllowed;
      });
      const answers = await Promise.all(wanted.slice(0, UPGRADES_MAX).map((one) => continueAt(one, limits, signal)));
      let timestamp = file.timestamp;
      for (const answer of answers) {
        if (typeof answer === "string") {
          failures.push(answer);
          continue;
        }
        try {
          timestamp = mergeOts(timestamp, answer);
        } catch (error) {
          if (!isTallystickError(error)) throw error;
          failures.push(error.message);
        }
      }
      const upgraded = formatOtsFile({ ...file, timestamp });
      if (timestamp === file.timestamp || bytesEqual(upgraded, proof)) return { kind: "pending", failures };
      return { kind: "proof", proof: upgraded, complete: isComplete(timestamp), failures };
    },
  };
}

/** Which calendars a proof waits for, whoever wrote it: addresses are never to be fetched without a list. */
export function pendingOf(timestamp: OtsTimestamp): readonly { readonly uri: string; readonly message: Uint8Array }[] {
  return listOtsLeaves(timestamp).flatMap(({ attestation, message }) =>
    attestation.kind === "pending" ? [{ uri: attestation.uri, message }] : [],
  );
}

function isComplete(timestamp: OtsTimestamp): boolean {
  return listOtsLeaves(timestamp).some((leaf) => leaf.attestation.kind === "bitcoin");
}

async function submitTo(
  url: string,
  tip: Uint8Array,
  limits: HttpLimits,
  signal: AbortSignal | undefined,
): Promise<OtsTimestamp | string> {
  const headers = { ...ACCEPT, "content-type": "application/octet-stream" };
  const answer = await exchange(`${url}/digest`, { method: "POST", headers, body: Buffer.from(tip) }, limits, signal);
  if (typeof answer === "string") return answer;
  if (answer.status !== 200) return `status ${answer.status}`;
  return readAnswer(answer.body, tip);
}

async function continueAt(
  { uri, message }: { readonly uri: string; readonly message: Uint8Array },
  limits: HttpLimits,
  signal: AbortSignal | undefined,
): Promise<OtsTimestamp | string> {
  const url = `${uri.replace(/\/+$/, "")}/timestamp/${encodeHex(message)}`;
  const answer = await exchange(url, { method: "GET", headers: ACCEPT }, limits, signal);
  if (typeof answer === "string") return `${uri}: ${answer}`;
  if (answer.status === 404) return `${uri}: not yet: ${printable(new TextDecoder().decode(answer.body))}`;
  if (answer.status !== 200) return `${uri}: status ${answer.status}`;
  const tree = readAnswer(answer.body, message);
  return typeof tree === "string" ? `${uri}: ${tree}` : tree;
}

function readAnswer(body: Uint8Array, message: Uint8Array): OtsTimestamp | string {
  try {
    return parseOtsTimestamp(body, message);
  } catch (error) {
    if (!isTallystickError(error)) throw error;
    return error.message;
  }
}

/**
 * Matches the addresses of an item of the list, and nothing that only looks like them: the scheme and the port are part of it, a `*`
 * stands for one label, and the path must be the same.
 */
function patternOf(item: string): RegExp {
  if (!/^https?:\/\/[A-Za-z0-9*.-]+(?::[0-9]{1,5})?(?:\/[A-Za-z0-9._/-]*)?$/.test(item)) {
    throw new TypeError(`openTimestampsAnchor: expected the address of a calendar, got ${item}`);
  }
  const escaped = item
    .replace(/\/+$/, "")
    .replaceAll(/[.\-/]/g, "\\$&")
    .replaceAll("*", "[A-Za-z0-9-]+");
  return new RegExp(`^${escaped}/*$`);
}
