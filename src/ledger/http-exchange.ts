import { collectBytes } from "../core/collect-bytes.ts";

/** One bounded HTTP exchange, as every client of a service makes it: no redirects, a time limit, a size limit. */
export interface HttpLimits {
  readonly timeoutMs: number;
  readonly answerBytesMax: number;
  readonly fetch: typeof fetch;
}

export interface HttpAnswer {
  readonly status: number;
  /** Media type without parameters, in lower case. */
  readonly type: string;
  readonly body: Uint8Array;
}

const REASON_CHARACTERS_MAX = 160;

/**
 * The answer, or in words why there is none. Throws only when `signal` aborts. A redirect is an error: it would lead to an
 * address that nobody allowed.
 */
export async function exchange(
  url: string,
  init: RequestInit,
  { timeoutMs, answerBytesMax, fetch: call }: HttpLimits,
  signal?: AbortSignal,
): Promise<HttpAnswer | string> {
  signal?.throwIfAborted();
  const timeout = AbortSignal.timeout(timeoutMs);
  const both = signal === undefined ? timeout : AbortSignal.any([signal, timeout]);
  try {
    const response = await call(url, { ...init, redirect: "error", signal: both });
    const body = await collectBytes(piecesOf(response), answerBytesMax);
    if (body === null) return `the answer is larger than ${answerBytesMax} bytes`;
    const type = (response.headers.get("content-type") ?? "").split(";")[0]!.trim().toLowerCase();
    return { status: response.status, type, body };
  } catch (error) {
    signal?.throwIfAborted();
    return timeout.aborted ? `no answer within ${timeoutMs} ms` : `not reachable: ${messageOf(error)}`;
  }
}

/** The body of an answer, piece by piece. */
function piecesOf(response: Response): AsyncIterable<Uint8Array> | Iterable<Uint8Array> {
  // Fetch of Node gives a body that can be iterated.
  return (response.body as AsyncIterable<Uint8Array> | null) ?? [];
}

function messageOf(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
  return printable(cause instanceof Error ? cause.message : "unknown");
}

/** What a stranger wrote, fit for a log: printable ASCII, at most 160 characters. */
export function printable(text: string): string {
  return text
    .replaceAll(/[^\x20-\x7e]+/g, " ")
    .trim()
    .slice(0, REASON_CHARACTERS_MAX);
}
