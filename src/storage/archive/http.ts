import { collectBytes } from "../../core/collect-bytes.ts";
import { MalformedError, type TallystickError, UnavailableError } from "../../core/errors.ts";
import { BUNDLE_BYTES_MAX } from "../../core/published-tiles.ts";
import { type ArchiveReader, assertArchivePath } from "../../ledger/archive.ts";

export interface HttpArchiveOptions {
  /** For one request, answer included. Default 30,000. */
  readonly timeoutMs?: number;
  /** Requests for one object, the first included, where the server or the way to it fails. Default 3. */
  readonly tries?: number;
  /** Pause before the second request; doubled before each further one. Default 200. */
  readonly pauseMs?: number;
  /** Header lines of every request, such as an authorization. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly fetch?: typeof fetch;
}

const REASON_CHARACTERS_MAX = 200;
/** Statuses of a server that may do better in a moment. */
const PASSING: ReadonlySet<number> = new Set([408, 425, 429, 500, 502, 503, 504]);

/**
 * A published ledger behind a URL, to be read only. Redirects are not followed, every answer is bounded in bytes and time, and only
 * 404 and 410 mean that an object is absent. Errors: `storage-io` (`details.url`, `details.status`), `malformed-tile`; `TypeError`
 * for what is no http or https URL, or has a user, a query or a fragment in it.
 */
export function httpArchive(location: string | URL, options: HttpArchiveOptions = {}): ArchiveReader {
  const { timeoutMs = 30_000, tries = 3, pauseMs = 200, headers = {}, fetch: call = fetch } = options;
  const base = baseOf(location);

  /** The object; undefined when it is absent, a text when another request may help. */
  async function request(url: string, bytesMax: number, signal: AbortSignal | undefined) {
    const timeout = AbortSignal.timeout(timeoutMs);
    const both = signal === undefined ? timeout : AbortSignal.any([signal, timeout]);
    try {
      const response = await call(url, { headers: { ...headers }, redirect: "manual", signal: both });
      if (response.status === 200) return await bodyOf(response, url, bytesMax);
      await response.body?.cancel();
      if (response.status === 404 || response.status === 410) return undefined;
      if (PASSING.has(response.status)) return `status ${response.status}`;
      // A redirect shows as status 0 in browsers.
      throw failed(url, `status ${response.status}`, { status: response.status });
    } catch (error) {
      signal?.throwIfAborted();
      if (isOurs(error)) throw error;
      return timeout.aborted ? `no answer within ${timeoutMs} ms` : `not reachable: ${reasonOf(error)}`;
    }
  }

  return {
    location: base,
    async get(path, { bytesMax = BUNDLE_BYTES_MAX, signal } = {}) {
      assertArchivePath(path);
      const url = `${base}/${path}`;
      for (let tried = 1; ; tried++) {
        signal?.throwIfAborted();
        const answer = await request(url, bytesMax, signal);
        if (typeof answer !== "string") return answer;
        if (tried >= tries) throw failed(url, answer, {});
        await pause(pauseMs * 2 ** (tried - 1), signal);
      }
    },
  };
}

/** Whether a location is the URL of a published ledger rather than a path. */
export function isHttpLocation(location: string | URL): boolean {
  return location instanceof URL ? /^https?:$/.test(location.protocol) : /^https?:\/\//i.test(location);
}

function baseOf(location: string | URL): string {
  const url = URL.canParse(String(location)) ? new URL(location) : null;
  // The text itself is not shown: it may hold a password.
  if (url === null || !/^https?:$/.test(url.protocol)) throw new TypeError("expected an http or https URL");
  if (url.username !== "" || url.password !== "")
    throw new TypeError("expected a URL without user and password; give an authorization header instead");
  if (url.search !== "" || url.hash !== "") throw new TypeError("expected a URL without query and fragment");
  return url.href.replace(/\/+$/, "");
}

async function bodyOf(response: Response, url: string, bytesMax: number): Promise<Uint8Array> {
  const body = await collectBytes((response.body ?? []) as AsyncIterable<Uint8Array>, bytesMax);
  if (body !== null) return body;
  throw new MalformedError("malformed-tile", `${url}: expected at most ${bytesMax} bytes, got more`, {
    details: { url },
  });
}

function failed(url: string, problem: string, details: Readonly<Record<string, unknown>>): UnavailableError {
  return new UnavailableError("storage-io", `${url}: ${problem}`, { details: { url, ...details } });
}

function isOurs(error: unknown): error is TallystickError {
  return error instanceof MalformedError || error instanceof UnavailableError;
}

function reasonOf(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return cause instanceof Error ? cause.message.slice(0, REASON_CHARACTERS_MAX) : "unknown";
}

function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = (): void => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", abort);
      resolve();
    }, ms);
    signal?.addEventListener("abort", abort, { once: true });
  });
}
