import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  listNames,
  readNewest,
  readText,
  withStateErrors,
  writeNewest,
  writeNewText,
  writeText,
} from "./state-files.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tallystick-files-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

const failWith = (code: string) => (): never => {
  throw Object.assign(new Error(`${code}: it failed`), { code, errno: -1 });
};

describe("state files", () => {
  for (const [errno, code] of [
    ["EACCES", "read-only"],
    ["EPERM", "read-only"],
    ["EROFS", "read-only"],
    ["ENOSPC", "storage-full"],
    ["EDQUOT", "storage-full"],
    ["EIO", "storage-io"],
  ] as const) {
    it(`answer ${errno} with ${code}, naming directory and user`, () => {
      expect(() => withStateErrors("/state/dir", failWith(errno))).toThrow(
        expect.objectContaining({
          code,
          message: expect.stringMatching(/^state directory \/state\/dir: .*uid \d+/),
          details: { dir: "/state/dir", errno },
        }),
      );
    });
  }

  it("say what is wrong where a file stands in place of a folder", () => {
    const path = join(folder, "ledgers");
    expect(listNames(path)).toEqual([]);
    writeFileSync(path, "");
    expect(() => withStateErrors(folder, () => listNames(path))).toThrow(
      expect.objectContaining({
        code: "storage-io",
        message: `${path}: expected a folder, there is something else; move it away`,
      }),
    );
  });

  it("let errors that are not the file system's pass", () => {
    const error = new RangeError("mine");
    expect(() =>
      withStateErrors("/state", () => {
        throw error;
      }),
    ).toThrow(error);
  });

  it("are new once and replaced whole", () => {
    const path = join(folder, "a", "b");
    expect(writeNewText(path, "one")).toBe(true);
    expect(writeNewText(path, "two")).toBe(false);
    expect(readText(path)).toBe("one");
    writeText(path, "three");
    expect(readText(path)).toBe("three");
    expect(readdirSync(join(folder, "a"))).toEqual(["b"]);
  });

  it("count by size: the newest wins over a smaller one that a crash left behind", () => {
    const keep = (): boolean => false;
    writeNewest(folder, { size: 3, text: "three" }, keep);
    writeText(join(folder, "0000000000000001"), "left behind");
    writeText(join(folder, "notes.txt"), "not ours");
    expect(readNewest(folder)).toEqual({ size: 3, text: "three" });
    writeNewest(folder, { size: 100, text: "hundred" }, keep);
    expect(readdirSync(folder).filter((name) => /^\d+$/.test(name))).toEqual(["0000000000000100"]);
    expect(readNewest(join(folder, "nothing"))).toBeUndefined();
  });
});
