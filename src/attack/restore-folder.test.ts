import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { restoreFolder } from "./restore-folder.ts";

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "tallystick-test-"));
  mkdirSync(join(folder, "from/deep/empty"), { recursive: true });
  writeFileSync(join(folder, "from/a"), "one");
  writeFileSync(join(folder, "from/deep/b"), "two");
});

afterEach(() => rmSync(folder, { recursive: true }));

function contents(name: string): Record<string, string | null> {
  const found = readdirSync(join(folder, name), { recursive: true }) as string[];
  const read = (path: string): string | null => (statSync(path).isDirectory() ? null : readFileSync(path, "utf8"));
  return Object.fromEntries(found.sort().map((one) => [one, read(join(folder, name, one))]));
}

it("makes a folder that is not there", () => {
  restoreFolder(join(folder, "from"), join(folder, "to"));
  expect(contents("to")).toEqual({ "a": "one", "deep": null, "deep/b": "two", "deep/empty": null });
});

it("undoes what was changed, put in, taken out, or made into something else", () => {
  const to = join(folder, "to");
  restoreFolder(join(folder, "from"), to);
  writeFileSync(join(to, "a"), "0ne");
  writeFileSync(join(to, "a-wal"), "more");
  mkdirSync(join(to, "extra/deeper"), { recursive: true });
  rmSync(join(to, "deep"), { recursive: true });
  writeFileSync(join(to, "deep"), "a file now");
  restoreFolder(join(folder, "from"), to);
  expect(contents("to")).toEqual(contents("from"));
});

it("leaves alone what is as it should be", () => {
  const to = join(folder, "to");
  restoreFolder(join(folder, "from"), to);
  const { ino, mtimeMs } = statSync(join(to, "a"));
  restoreFolder(join(folder, "from"), to);
  expect(statSync(join(to, "a"))).toMatchObject({ ino, mtimeMs });
});
