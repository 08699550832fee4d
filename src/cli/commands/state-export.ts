import type { State } from "../../keys/index.ts";
import type { SqliteLockStore } from "../../storage/lock-store/sqlite.ts";
import { type Context, requireSeparateStdout, stateOf } from "../context.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import { UsageError } from "../failure.ts";
import { writeDocument } from "../files.ts";
import { counted, safeText } from "../terminal-text.ts";

interface StateExportOptions {
  readonly keys?: boolean;
}

/** Writes what this machine knows of its ledgers to a file, as a backup or for another machine. */
export async function run(
  context: Context,
  positionals: readonly string[],
  options: StateExportOptions,
): Promise<ExitCode> {
  const [file] = positionals;
  if (file === undefined) throw new UsageError("missing FILE");
  const { out } = context;
  requireSeparateStdout(context, file);
  const { keys = false } = options;
  const state = stateOf(context);
  const locks = await withLockStore(state, (store) => store.records());
  const exported = state.export({ keys, locks });
  await writeDocument(out, file, [`${JSON.stringify(exported, null, 2)}\n`], { mode: 0o600 });
  const ledgers = exported.ledgers.length;
  await out.object("state-exported", { out: file, keys, ledgers, locks: locks.length });
  if (file === "-") return EXIT.ok;
  await out.line(
    `${out.style.green("✓")} exported what is known of ${counted(ledgers, "ledger")} to ${safeText(file)}`,
  );
  if (keys) out.warn("the file holds private keys: keep it as safe as they are");
  else out.note("Private keys are not in it; --keys includes them.");
  return EXIT.ok;
}

/** The embedded lock store, for the time of `use`. */
export async function withLockStore<T>(state: State, use: (store: SqliteLockStore) => Promise<T>): Promise<T> {
  const { sqliteLockStore } = await import("../../storage/lock-store/sqlite.ts");
  const { loadSqliteDriver } = await import("../../storage/sqlite-driver.ts");
  const store = sqliteLockStore({ path: state.lockStorePath, driver: await loadSqliteDriver() });
  try {
    return await use(store);
  } finally {
    await store.close();
  }
}
