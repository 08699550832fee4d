/** Of an RFC 3161 authority or a calendar: both answer within a second or so. */
export const TIMEOUT_MS_DEFAULT = 5_000;

/** An http or https address without credentials, fragment and trailing slash; `TypeError` otherwise. */
export function checkedAddress(url: string, name: string): string {
  const parsed = URL.canParse(url) ? new URL(url) : null;
  if (parsed === null || !/^https?:$/.test(parsed.protocol))
    throw new TypeError(`${name}: expected an http or https address, got ${url}`);
  if (parsed.username !== "" || parsed.password !== "" || parsed.hash !== "") {
    throw new TypeError(`${name}: expected an address without credentials and fragment`);
  }
  return url.replace(/\/+$/, "");
}
