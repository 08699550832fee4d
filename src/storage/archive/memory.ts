import { ConflictError, MalformedError } from "../../core/errors.ts";
import { BUNDLE_BYTES_MAX } from "../../core/published-tiles.ts";
import { type Archive, assertArchivePath } from "../../ledger/archive.ts";

/** An archive in this process's memory, for tests and for looking at what would be published. Errors: `already-exists`, `lock-moved`, `malformed-tile`. */
export interface MemoryArchive extends Archive {
  /** Everything in it, by path. */
  readonly objects: ReadonlyMap<string, Uint8Array>;
}

export function memoryArchive(): MemoryArchive {
  const objects = new Map<string, Uint8Array>();
  return {
    objects,
    location: "memory:",

    async put(path, bytes) {
      assertArchivePath(path);
      const present = objects.get(path);
      if (present === undefined) objects.set(path, new Uint8Array(bytes));
      else if (Buffer.compare(present, bytes) !== 0)
        throw new ConflictError("already-exists", `${path} is there already, with other bytes`, { details: { path } });
    },

    async replace(path, expected, next) {
      assertArchivePath(path);
      const present = objects.get(path);
      const isExpected =
        expected === null ? present === undefined : present !== undefined && Buffer.compare(present, expected) === 0;
      if (!isExpected)
        throw new ConflictError("lock-moved", `${path} is not what was expected: somebody else replaced it`, {
          details: { path },
        });
      objects.set(path, new Uint8Array(next));
    },

    async get(path, { bytesMax = BUNDLE_BYTES_MAX, signal } = {}) {
      assertArchivePath(path);
      signal?.throwIfAborted();
      const bytes = objects.get(path);
      if (bytes !== undefined && bytes.length > bytesMax)
        throw new MalformedError("malformed-tile", `${path}: expected at most ${bytesMax} bytes, got ${bytes.length}`);
      return bytes === undefined ? undefined : new Uint8Array(bytes);
    },

    async deletePartials(path) {
      assertArchivePath(path);
      for (const name of objects.keys()) if (name.startsWith(`${path}.p/`)) objects.delete(name);
    },
  };
}
