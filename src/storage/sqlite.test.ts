import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { LedgerStorage } from "../ledger/storage.ts";
import { storageSuite } from "../testing/storage-suite.ts";
import { openSqliteStorage } from "./sqlite.ts";

storageSuite(
  "sqlite",
  { describe, it, expect },
  async () => {
    const directory = mkdtempSync(join(tmpdir(), "tallystick-test-"));
    const opened: LedgerStorage[] = [];
    const another = async (): Promise<LedgerStorage> => {
      const storage = await openSqliteStorage(join(directory, "audit.db"), { create: true });
      opened.push(storage);
      return storage;
    };
    return {
      storage: await another(),
      another,
      readBytes: async () => readFiles(directory),
      dispose: async () => {
        for (const storage of opened) await storage.close();
        rmSync(directory, { recursive: true });
      },
    };
  },
  { shared: true, durable: true },
);

/** All bytes of a directory, read by another process: closing a file here would drop the locks of open connections. */
function readFiles(directory: string): Uint8Array {
  const files = readdirSync(directory).map((name) => join(directory, name));
  return execFileSync("cat", files, { maxBuffer: 2 ** 30 });
}
