import { describe, expect, it } from "vitest";
import { lockStoreSuite } from "../../testing/lock-store-suite.ts";
import { memoryLockStore } from "./memory.ts";

lockStoreSuite("memory", { describe, it, expect }, async () => {
  const store = memoryLockStore();
  return { store, durable: false, dispose: () => store.close() };
});
