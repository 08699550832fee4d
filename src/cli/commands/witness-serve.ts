import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { formatContradiction } from "../../core/contradiction.ts";
import { encodeHex, encodeUtf8 } from "../../core/encoding.ts";
import { MalformedError, UnavailableError } from "../../core/errors.ts";
import { sha256, sha256Hex } from "../../core/hash.ts";
import { formatVerifierKey } from "../../core/note.ts";
import type { Signer } from "../../keys/index.ts";
import { loadSqliteDriver } from "../../storage/sqlite-driver.ts";
import { CONFIG_BYTES_MAX, parseListen, parseWitnessConfig, type WitnessConfig } from "../../witness/config.ts";
import { contradictionOf } from "../../witness/evidence.ts";
import { listenWitness, type WitnessListener } from "../../witness/listen.ts";
import { createWitness } from "../../witness/server.ts";
import { sqliteWitnessStore, type WitnessEvidence, type WitnessStore } from "../../witness/witness-store.ts";
import type { Context } from "../context.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import { UsageError } from "../failure.ts";
import { readInput } from "../files.ts";
import { logKeyFromFile } from "../key-files.ts";
import { counted, safeText, shortVkey } from "../terminal-text.ts";

interface WitnessServeOptions {
  readonly config: string;
  readonly listen?: string;
  readonly passphraseEnv?: string;
}

/** Runs a witness until it is told to end. */
export async function run(
  context: Context,
  _positionals: readonly string[],
  options: WitnessServeOptions,
): Promise<ExitCode> {
  const { out, signal } = context;
  const config = parseWitnessConfig(await readInput(options.config, CONFIG_BYTES_MAX));
  const address = options.listen ?? config.listen;
  const place = parseListen(address);
  if (place === undefined) throw new UsageError(`expected --listen HOST:PORT, got ${address}`);
  const here = (path: string): string => resolve(dirname(options.config === "-" ? "." : options.config), path);
  const signers = config.keys.map((file) => logKeyFromFile(context, here(file), options));
  requireDifferent(signers);
  const database = here(config.database);
  const archive = config.archive === null ? null : here(config.archive);
  const store = sqliteWitnessStore({
    path: database,
    driver: await loadSqliteDriver(),
    ...(archive === null ? {} : { archivePath: archive }),
  });
  try {
    const evidence = join(dirname(database), "evidence");
    for (const origin of config.logs.keys())
      for (const kept of store.evidence(origin)) writeEvidence(context, evidence, kept);
    const listener = await start(context, { config, signers, store, place, evidence });
    try {
      const listen = `${listener.host.includes(":") ? `[${listener.host}]` : listener.host}:${listener.port}`;
      await tell(context, { config, signers, store, database, archive, listen });
      if (!signal.aborted) await new Promise((stop) => signal.addEventListener("abort", stop, { once: true }));
    } finally {
      await listener.close();
    }
    out.note("stopped");
    return EXIT.ok;
  } finally {
    store.close();
  }
}

function requireDifferent(signers: readonly Signer[]): void {
  const [first, second] = signers;
  if (second === undefined || first?.algorithm !== second.algorithm) return;
  throw new MalformedError(
    "malformed-config",
    `/additionalKey: expected a key of another algorithm than ${second.algorithm}: two keys of one kind are two witnesses`,
    { details: { pointer: "/additionalKey" } },
  );
}

interface Parts {
  readonly config: WitnessConfig;
  readonly signers: readonly Signer[];
  readonly store: WitnessStore;
  readonly place: { readonly host: string; readonly port: number };
  /** Folder of the contradictions that anybody can check. */
  readonly evidence: string;
}

/** Writes what proves itself to a file. The database has it all the same. */
function writeEvidence({ out }: Context, folder: string, kept: WitnessEvidence): void {
  const contradiction = contradictionOf(kept);
  if (contradiction === null) return;
  const text = formatContradiction(contradiction);
  try {
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, `forked-${sha256Hex(text).slice(0, 16)}.json`), text);
  } catch (error) {
    out.warn(
      `evidence against ${kept.origin} cannot be written to ${folder}: ${error instanceof Error ? error.message : error}`,
    );
  }
}

async function start(context: Context, { config, signers, store, place, evidence }: Parts): Promise<WitnessListener> {
  const { out } = context;
  const [signer, ...additionalSigners] = signers;
  if (signer === undefined) throw new UsageError("expected a key");
  const witness = createWitness({
    name: config.name,
    signer,
    additionalSigners,
    logs: config.logs,
    store,
    requestsPerMinute: config.requestsPerMinute,
    onEvidence: (kept) => {
      out.warn(`${kept.origin} showed two heads that contradict each other; both are in the database`);
      writeEvidence(context, evidence, kept);
    },
  });
  try {
    return await listenWitness(witness, {
      ...place,
      refusalsPerMinute: config.refusalsPerMinute,
      ...(config.addressHeader === null ? {} : { addressHeader: config.addressHeader }),
      onError: (error) => out.warn(error instanceof Error ? error.message : String(error)),
    });
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? String(cause.code) : "";
    const reason = LISTEN_REASONS[code] ?? code;
    if (reason === "") throw cause;
    throw new UnavailableError("storage-io", `cannot listen on ${place.host}:${place.port}: ${reason}`, {
      cause,
      details: { errno: code },
    });
  }
}

const LISTEN_REASONS: Readonly<Record<string, string>> = {
  EADDRINUSE: "another program does",
  EACCES: "not permitted",
  EADDRNOTAVAIL: "the address is not one of this machine",
  ENOTFOUND: "there is no such host",
};

interface Started extends Omit<Parts, "place" | "evidence"> {
  readonly database: string;
  readonly archive: string | null;
  readonly listen: string;
}

/** What whoever wants to be cosigned has to know, and what whoever runs it should look at. */
async function tell({ out }: Context, started: Started): Promise<void> {
  const { config, signers, store, database, archive, listen } = started;
  const { name } = config;
  const url = (config.url ?? `http://${listen}`).replace(/\/+$/, "");
  const keys = signers.map(({ algorithm, publicKey }) =>
    formatVerifierKey({ name, type: algorithm === "ed25519" ? 4 : 6, publicKey }),
  );
  const logs = [...config.logs.keys()].map((origin) => ({
    origin,
    monitoring: `${url}/${encodeHex(sha256(encodeUtf8(origin)))}/checkpoint`,
    size: store.head(origin)?.size ?? 0,
  }));
  const evidence = store.countEvidence();
  await out.object("witness", { name, keys, url, listen, database, archive, evidence, logs });
  const { style } = out;
  await out.line(`${style.green("✓")} ${style.bold(safeText(name))} listens on ${listen}`);
  for (const key of keys) await out.line(`  key       ${shortVkey(key)}`);
  await out.line(`  url       ${safeText(url)}`);
  await out.line(`  database  ${safeText(database)}`);
  if (archive !== null) await out.line(`  archive   ${safeText(archive)}`);
  await out.line(`  logs      ${counted(logs.length, "log")}`);
  for (const { origin, size } of logs.slice(0, LOGS_SHOWN_MAX))
    await out.line(`            ${safeText(origin)}  ${style.dim(size === 0 ? "never cosigned" : `size ${size}`)}`);
  if (logs.length > LOGS_SHOWN_MAX) await out.line(`            and ${logs.length - LOGS_SHOWN_MAX} more`);
  if (logs.length === 0) out.note('no log is known yet: add it to "logs", and start again');
  if (evidence > 0) out.warn(`the database holds evidence against a log: ${counted(evidence, "contradiction")}`);
}

const LOGS_SHOWN_MAX = 20;
