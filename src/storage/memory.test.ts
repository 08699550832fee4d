import { describe, expect, it } from "vitest";
import { storageSuite } from "../testing/storage-suite.ts";
import { openMemoryStorage } from "./memory.ts";

storageSuite(
  "memory",
  { describe, it, expect },
  async () => {
    const storage = openMemoryStorage();
    return { storage, dispose: () => storage.close() };
  },
  { shared: false, durable: false },
);
