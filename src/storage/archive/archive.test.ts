import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { archiveSuite } from "../../testing/archive-suite.ts";
import { filesystemArchive } from "./filesystem.ts";
import { memoryArchive } from "./memory.ts";

archiveSuite("memory", { describe, it, expect }, async () => ({
  archive: memoryArchive(),
  dispose: async () => {},
}));

archiveSuite("file system", { describe, it, expect }, async () => {
  const outer = await mkdtemp(join(tmpdir(), "tallystick-archive-"));
  const directory = join(outer, "a", "b");
  return {
    archive: filesystemArchive(directory),
    another: async () => filesystemArchive(directory),
    dispose: () => rm(outer, { recursive: true }),
  };
});
