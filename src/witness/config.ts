import { parseJson } from "../core/canonical-json.ts";
import { decodeUtf8 } from "../core/encoding.ts";
import { isTallystickError, MalformedError } from "../core/errors.ts";
import {
  array,
  type Check,
  checkShape,
  expectMembers,
  expectObject,
  integer,
  object,
  refuse,
  text,
} from "../core/json-shape.ts";
import { ORIGIN_BYTES_MAX } from "../core/limits.ts";
import { parseVerifierKey, type VerifierKey } from "../core/note.ts";

/** What `witness serve` runs on. Paths are as they stand in the file: relative to it. */
export interface WitnessConfig {
  /** Key name of the witness: like a URL without its scheme, and its own for ever. */
  readonly name: string;
  /** Files of its private keys, the first Ed25519 (type 0x04); an ML-DSA-44 key (0x06) may follow. */
  readonly keys: readonly string[];
  /** File of its memory. */
  readonly database: string;
  /** A second copy of the heads, on a medium that is not restored together with the first. */
  readonly archive: string | null;
  /** `HOST:PORT`. */
  readonly listen: string;
  /** Where others reach it, if not at `listen`. */
  readonly url: string | null;
  /** Keys of each log that it cosigns, by origin. */
  readonly logs: ReadonlyMap<string, readonly VerifierKey[]>;
  /** Updates a minute that one log may ask for. */
  readonly requestsPerMinute: number;
  /** Refused requests a minute after which an address is not answered. */
  readonly refusalsPerMinute: number;
  /** Header in which a proxy in front names who asks. */
  readonly addressHeader: string | null;
}

/** Logs of one witness; each takes half a kilobyte of memory, and a signature a second at most by default. */
const LOGS_MAX = 100_000;
const KEYS_PER_LOG_MAX = 16;
/** A hundred thousand logs fit. */
export const CONFIG_BYTES_MAX: number = 64 * 1024 * 1024;
const PATH_BYTES_MAX = 4_096;
const DEFAULTS = { listen: "127.0.0.1:7380", requestsPerMinute: 600, refusalsPerMinute: 600 } as const;

const MEMBERS = {
  "name": keyName,
  "key": text({ max: PATH_BYTES_MAX, line: true }),
  "additionalKey?": text({ max: PATH_BYTES_MAX, line: true }),
  "database": text({ max: PATH_BYTES_MAX, line: true }),
  "archive?": text({ max: PATH_BYTES_MAX, line: true }),
  "listen?": listen,
  "url?": url,
  "logs": logs,
  "requestsPerMinute?": integer({ min: 1, max: 1_000_000 }),
  "refusalsPerMinute?": integer({ min: 1, max: 1_000_000 }),
  "addressHeader?": headerName,
} as const satisfies Readonly<Record<string, Check>>;

const SHAPE = object(MEMBERS);

interface ConfigFile {
  readonly name: string;
  readonly key: string;
  readonly additionalKey?: string;
  readonly database: string;
  readonly archive?: string;
  readonly listen?: string;
  readonly url?: string;
  readonly logs: Readonly<Record<string, readonly string[]>>;
  readonly requestsPerMinute?: number;
  readonly refusalsPerMinute?: number;
  readonly addressHeader?: string;
}

/**
 * Configuration of a witness: one JSON object with closed members. Errors: `malformed-config`, with the member in
 * `details.pointer`; `malformed-json`, `duplicate-member` for what is no JSON.
 */
export function parseWitnessConfig(file: Uint8Array | string): WitnessConfig {
  if (file.length > CONFIG_BYTES_MAX)
    throw new MalformedError("malformed-config", `config: expected at most ${CONFIG_BYTES_MAX} bytes`);
  const value = parseJson(typeof file === "string" ? file : decodeUtf8(file, "malformed-config"));
  checkShape(value, SHAPE, "malformed-config");
  // The shape above is exactly this interface.
  const config = value as unknown as ConfigFile;
  const { listen = DEFAULTS.listen, archive = null, url = null, addressHeader = null } = config;
  const { requestsPerMinute = DEFAULTS.requestsPerMinute, refusalsPerMinute = DEFAULTS.refusalsPerMinute } = config;
  const keys = config.additionalKey === undefined ? [config.key] : [config.key, config.additionalKey];
  return {
    name: config.name,
    keys,
    database: config.database,
    archive,
    listen,
    url,
    logs: new Map(Object.entries(config.logs).map(([origin, vkeys]) => [origin, vkeys.map(parseVerifierKey)])),
    requestsPerMinute,
    refusalsPerMinute,
    addressHeader,
  };
}

/** Host and port of `HOST:PORT`; an IPv6 address stands in brackets. Undefined for anything else. */
export function parseListen(value: string): { readonly host: string; readonly port: number } | undefined {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9.-]+)):(0|[1-9][0-9]{0,4})$/.exec(value);
  const port = Number(match?.[3]);
  return match === null || port > 65_535 ? undefined : { host: match[1] ?? match[2] ?? "", port };
}

function listen(value: unknown): void {
  if (typeof value !== "string" || parseListen(value) === undefined)
    refuse("expected HOST:PORT, such as 127.0.0.1:7380 or [::1]:7380");
}

function url(value: unknown): void {
  if (typeof value !== "string" || !/^https?:$/.test(parsedUrl(value)?.protocol ?? ""))
    refuse("expected an http or https URL");
}

function parsedUrl(value: string): URL | undefined {
  return URL.canParse(value) ? new URL(value) : undefined;
}

function headerName(value: unknown): void {
  if (typeof value !== "string" || !/^[A-Za-z0-9-]{1,64}$/.test(value)) refuse("expected the name of a header");
}

/** A name that makes a key name; that the key fits is found when it is loaded. */
function keyName(value: unknown): void {
  text({ max: 255, line: true })(value);
  if (/[\s+]/u.test(value as string)) refuse("expected a key name: no white space, no +");
}

function logs(value: unknown): void {
  expectObject(value);
  const origins = Object.keys(value);
  if (origins.length > LOGS_MAX) refuse(`expected at most ${LOGS_MAX} logs`);
  const isLine = text({ max: ORIGIN_BYTES_MAX, line: true });
  const ofOrigin = (origin: string): Check => {
    return (keys) => {
      isLine(origin);
      logKeys(keys);
    };
  };
  expectMembers(value, new Map(origins.map((origin) => [origin, ofOrigin(origin)])), []);
}

const vkeys = array(logKey, { min: 1, max: KEYS_PER_LOG_MAX });

function logKeys(value: unknown): void {
  vkeys(value);
  const keys = (value as string[]).map(parseVerifierKey);
  const places = new Set(keys.map(({ name, keyId }) => `${keyId} ${name}`));
  if (places.size < keys.length) refuse("expected keys that differ in name or key ID");
}

function logKey(value: unknown): void {
  text({ max: 8_192, line: true })(value);
  try {
    const { type } = parseVerifierKey(value as string);
    if (type === 4) refuse("expected the key of a log (type 1 or 6), got that of a witness (type 4)");
  } catch (error) {
    if (!isTallystickError(error)) throw error;
    refuse(error.message);
  }
}
