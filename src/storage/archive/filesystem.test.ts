import { mkdir, mkdtemp, readdir, readFile, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Archive } from "../../ledger/archive.ts";
import { filesystemArchive } from "./filesystem.ts";

/** The file system of one process, which dies, or fails once, at its n-th call. */
const disk = vi.hoisted(() => ({
  /** Number of the call at which something happens; 0: never. */
  at: 0,
  calls: 0,
  fault: "die" as "die" | "fail" | "full" | "denied",
  isDead: false,
  gate(name: string): void {
    if (disk.at === 0) return;
    disk.calls += 1;
    if (disk.isDead || (disk.fault === "die" && disk.calls >= disk.at)) {
      disk.isDead = true;
      throw Object.assign(new Error(`EIO: the process is dead, ${name}`), { code: "EIO", errno: -5 });
    }
    if (disk.calls !== disk.at) return;
    const code = { die: "EIO", fail: "EIO", full: "ENOSPC", denied: "EACCES" }[disk.fault];
    throw Object.assign(new Error(`${code}: injected, ${name}`), { code, errno: -5 });
  },
}));

vi.mock("node:fs/promises", async (original) => {
  const real = await original<typeof import("node:fs/promises")>();
  const faulty = <A extends unknown[], R>(name: string, call: (...args: A) => Promise<R>) => {
    return async (...args: A): Promise<R> => {
      disk.gate(name);
      return call(...args);
    };
  };
  const open = async (...args: Parameters<typeof real.open>) => {
    disk.gate("open");
    const handle = await real.open(...args);
    for (const name of ["writeFile", "sync", "read", "stat"] as const) {
      const call = handle[name].bind(handle) as (...rest: unknown[]) => Promise<unknown>;
      Object.assign(handle, { [name]: faulty(name, call) });
    }
    return handle;
  };
  const { link, mkdir, readdir, rename, rm, stat, unlink } = real;
  const changed = { link, mkdir, readdir, rename, rm, stat, unlink };
  return {
    ...real,
    ...Object.fromEntries(Object.entries(changed).map(([name, call]) => [name, faulty(name, call as never)])),
    open,
  };
});

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (object: Uint8Array | undefined): string | undefined =>
  object === undefined ? undefined : new TextDecoder().decode(object);

let directory: string;
beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "tallystick-archive-"));
});
afterEach(async () => {
  disk.at = 0;
  await rm(directory, { recursive: true, force: true });
});

/** Runs `work` so that something happens at call `at`. True when it got that far. */
async function runTo(
  at: number,
  fault: typeof disk.fault,
  work: (archive: Archive) => Promise<void>,
): Promise<boolean> {
  Object.assign(disk, { at, calls: 0, fault, isDead: false });
  try {
    await work(filesystemArchive(directory));
  } catch (error) {
    const code = { die: "storage-io", fail: "storage-io", full: "storage-full", denied: "read-only" }[fault];
    expect(error).toMatchObject({ name: "UnavailableError", code });
  } finally {
    disk.at = 0;
  }
  return disk.calls >= at;
}

/** A writer decides what follows `before`, and dies before its draft is renamed. */
async function decideAndDie(before: string, next: string): Promise<void> {
  const decided = await readdir(join(directory, ".decided"));
  for (let at = 1; (await readdir(join(directory, ".decided"))).length === decided.length; at++) {
    await rm(join(directory, ".drafts"), { recursive: true });
    await mkdir(join(directory, ".drafts"));
    await runTo(at, "die", (dying) => dying.replace("checkpoint", bytes(before), bytes(next)));
    expect(await visible()).toEqual({ checkpoint: before });
  }
}

/** What a web server would see, by path. */
async function visible(): Promise<Record<string, string>> {
  const seen: Record<string, string> = {};
  await mkdir(directory, { recursive: true });
  for (const file of await readdir(directory, { recursive: true, withFileTypes: true })) {
    const path = join(file.parentPath, file.name).slice(directory.length + 1);
    if (file.isFile() && !path.startsWith(".")) seen[path] = await readFile(join(directory, path), "utf8");
  }
  return seen;
}

describe.each(["die", "fail", "full", "denied"] as const)(
  "a process that is made to %s at every call of the file system",
  (fault) => {
    it("puts whole objects or none, and the next one completes them", async () => {
      for (let at = 1; ; at++) {
        await rm(directory, { recursive: true });
        const objects = { "tile/0/000": "full", "tile/0/001.p/3": "part", "tile/entries/x001/000": "entries" };
        const isReached = await runTo(at, fault, async (archive) => {
          for (const [path, object] of Object.entries(objects)) await archive.put(path, bytes(object));
          await archive.deletePartials("tile/0/001");
        });
        for (const [path, object] of Object.entries(await visible()))
          expect(object).toBe(objects[path as keyof typeof objects]);
        const archive = filesystemArchive(directory);
        for (const [path, object] of Object.entries(objects)) await archive.put(path, bytes(object));
        expect(await visible()).toEqual(objects);
        if (!isReached) break;
      }
    });

    it("shows the old checkpoint or the new one, and the next one can go on from it", async () => {
      for (const [before, after] of [
        [null, "one"],
        ["one", "two"],
      ] as const) {
        for (let at = 1; ; at++) {
          await rm(directory, { recursive: true, force: true });
          if (before !== null) await filesystemArchive(directory).replace("checkpoint", null, bytes(before));
          const expected = before === null ? null : bytes(before);
          const isReached = await runTo(at, fault, (archive) => archive.replace("checkpoint", expected, bytes(after)));
          expect([before, after]).toContain((await visible()).checkpoint ?? null);
          // As `publish` does it: look, and replace what is there; somebody else's decision may come first.
          const archive = filesystemArchive(directory);
          for (let tries = 0; tries < 2; tries++) {
            const present = await archive.get("checkpoint");
            if (text(present) === "three") break;
            await archive.replace("checkpoint", present ?? null, bytes("three")).catch((error: { code: string }) => {
              expect(error.code).toBe("lock-moved");
            });
          }
          expect(await visible()).toEqual({ checkpoint: "three" });
          expect(await archive.replace("checkpoint", bytes("three"), bytes("four"))).toBeUndefined();
          expect(await visible()).toEqual({ checkpoint: "four" });
          if (!isReached) break;
        }
      }
    });
  },
);

describe("file system archive", () => {
  it("does not report a replacement as lost that a helper finished", async () => {
    await filesystemArchive(directory).replace("checkpoint", null, bytes("0"));
    for (let n = 1; n <= 30; n++) {
      const codes = await Promise.all(
        [1, 2, 3].map((writer) =>
          filesystemArchive(directory)
            .replace("checkpoint", bytes(n === 1 ? "0" : `${n - 1}`), bytes(`${n}`))
            .then(
              () => `won by ${writer}`,
              (error: { code: string }) => error.code,
            ),
        ),
      );
      expect(codes.filter((code) => code === "lock-moved").length).toBe(2);
      expect((await visible()).checkpoint).toBe(`${n}`);
    }
  });

  it("does not let a late writer put back what was replaced since", async () => {
    const archive = filesystemArchive(directory);
    await archive.replace("checkpoint", null, bytes("1"));
    await decideAndDie("1", "2");
    await expect(archive.replace("checkpoint", bytes("1"), bytes("2b"))).rejects.toMatchObject({ code: "lock-moved" });
    expect(await visible()).toEqual({ checkpoint: "2" });
    await archive.replace("checkpoint", bytes("2"), bytes("3"));
    await expect(archive.replace("checkpoint", bytes("1"), bytes("2c"))).rejects.toMatchObject({ code: "lock-moved" });
    await expect(archive.replace("checkpoint", bytes("2"), bytes("3c"))).rejects.toMatchObject({ code: "lock-moved" });
    expect(await visible()).toEqual({ checkpoint: "3" });
  });

  it("takes a decision for void when its draft was lost, as after a power failure", async () => {
    const archive = filesystemArchive(directory);
    await archive.replace("checkpoint", null, bytes("1"));
    await decideAndDie("1", "2");
    await rm(join(directory, ".drafts"), { recursive: true });
    await filesystemArchive(directory).replace("checkpoint", bytes("1"), bytes("2b"));
    expect(await visible()).toEqual({ checkpoint: "2b" });
  });

  it("removes what a crash left an hour ago, and nothing younger", async () => {
    await mkdir(join(directory, ".drafts"), { recursive: true });
    await mkdir(join(directory, ".decided"), { recursive: true });
    const old = new Date(Date.now() - 3_700_000);
    for (const name of [".drafts/old", ".decided/old", ".drafts/young", ".decided/young"]) {
      await writeFile(join(directory, name), "");
      if (name.endsWith("old")) await utimes(join(directory, name), old, old);
    }
    await filesystemArchive(directory).put("tile/0/000", bytes("x"));
    expect(await readdir(join(directory, ".drafts"))).toEqual(["young"]);
    expect(await readdir(join(directory, ".decided"))).toEqual(["young"]);
  });

  it("leaves no drafts behind", async () => {
    const archive = filesystemArchive(directory);
    await Promise.all(Array.from({ length: 40 }, (_, i) => archive.put(`tile/0/0${10 + i}`, bytes(`${i}`))));
    await archive.replace("checkpoint", null, bytes("1"));
    await archive.replace("checkpoint", null, bytes("2")).catch(() => {});
    await archive.put("tile/0/010", bytes("other")).catch(() => {});
    expect(await readdir(join(directory, ".drafts"))).toEqual([]);
  });

  it("reads regular files only, and makes nothing by reading", async () => {
    const archive = filesystemArchive(join(directory, "none"));
    expect(await archive.get("checkpoint")).toBeUndefined();
    expect(await readdir(directory)).toEqual([]);
    const here = filesystemArchive(directory);
    await mkdir(join(directory, "checkpoint"));
    await expect(here.get("checkpoint")).rejects.toMatchObject({ code: "malformed-tile" });
    await symlink("/dev/zero", join(directory, "zero"));
    await expect(here.get("zero")).rejects.toMatchObject({ code: "malformed-tile" });
    await writeFile(join(directory, "tile"), "a file where a folder should be");
    expect(await here.get("tile/0/000")).toBeUndefined();
    await expect(here.put("tile/0/000", bytes("x"))).rejects.toMatchObject({ code: "storage-io" });
  });
});
