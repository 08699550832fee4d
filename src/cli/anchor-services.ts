import { readFile } from "node:fs/promises";
import { type Certificate, parseCertificateFile } from "../core/anchor-proof/certificate.ts";
import { isTallystickError, MalformedError } from "../core/errors.ts";
import type { Anchor } from "../ledger/anchor.ts";
import type { BitcoinHeaderSource } from "../ledger/header-source.ts";

/** Options that name who attests time. */
export interface AnchorServices {
  readonly tsa?: readonly string[];
  readonly tsaRoot?: readonly string[];
  readonly calendar?: readonly string[];
}

/** Stands for the public calendars. */
const PUBLIC = "public";

/** One anchor for each authority, and one for all calendars. Of two calendars or more, two must answer. */
export async function anchorsFrom({ tsa = [], tsaRoot, calendar = [] }: AnchorServices): Promise<readonly Anchor[]> {
  const roots = await tsaRootsFrom(tsaRoot);
  const { rfc3161Anchor } = await import("../anchors/rfc3161.ts");
  const authorities = tsa.map((url) => rfc3161Anchor({ url, ...(roots.length === 0 ? {} : { roots }) }));
  return calendar.length === 0 ? authorities : [...authorities, await calendarsFrom(calendar)];
}

/** The calendars as one anchor; an upgrade asks these and the public ones, and nobody else that a proof may name. */
export async function calendarsFrom(addresses: readonly string[]): Promise<Anchor> {
  const { openTimestampsAnchor, PUBLIC_CALENDARS } = await import("../anchors/opentimestamps.ts");
  const calendars = addresses.flatMap((address) => (address === PUBLIC ? PUBLIC_CALENDARS : [address]));
  return openTimestampsAnchor({ calendars });
}

/** Certificates of PEM or DER files, all of each. */
export async function tsaRootsFrom(files: readonly string[] = []): Promise<readonly Certificate[]> {
  const roots: Certificate[] = [];
  for (const file of files) roots.push(...(await pinned(file, async () => parseCertificateFile(await readFile(file)))));
  return roots;
}

/** What the reader brings along himself: that it does not parse says nothing about what he verifies. */
async function pinned<T>(file: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (cause) {
    if (!isTallystickError(cause)) throw cause;
    throw new MalformedError("malformed-config", `${file}: ${cause.message}`, { cause });
  }
}

/** User and password of a node, `user:password`: not on the command line, where others could read them. */
const LOGIN_VARIABLE = "TALLYSTICK_BITCOIN_LOGIN";

/** Where block headers come from: a file of them, a node, or an explorer; of several, what they agree about. */
export async function bitcoinFrom(
  locations: readonly string[] | undefined,
  signal: AbortSignal,
): Promise<BitcoinHeaderSource | undefined> {
  if (locations === undefined || locations.length === 0) return undefined;
  const { agreeingHeaders, headersAt, readHeadersFile } = await import("../anchors/bitcoin-headers.ts");
  const [user, ...password] = (process.env[LOGIN_VARIABLE] ?? "").split(":");
  const login = user === undefined || user === "" ? {} : { user, password: password.join(":") };
  const sources = await Promise.all(
    locations.map((location) =>
      /^https?:\/\//i.test(location)
        ? headersAt({ url: location, ...login }, signal)
        : pinned(location, () => readHeadersFile(location)),
    ),
  );
  return sources.length === 1 ? sources[0] : agreeingHeaders(sources);
}
