import { copyFileSync, lstatSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";

/**
 * Makes the folder `to` what `from` is: the same names, of the same kind, with the same bytes. What is the same already stays, because
 * to compare a few dozen files is much quicker than to delete and to make them. Folders and files only.
 */
export function restoreFolder(from: string, to: string): void {
  const wanted = contentOf(from);
  for (const [name, kind] of existingIn(to))
    if (wanted.get(name) !== kind) rmSync(join(to, name), { recursive: true, force: true });
  const left = existingIn(to);
  for (const [name, kind] of wanted) {
    const [source, target] = [join(from, name), join(to, name)];
    if (kind === "folder") mkdirSync(target, { recursive: true });
    else if (!left.has(name) || !readFileSync(source).equals(readFileSync(target))) {
      mkdirSync(dirname(target), { recursive: true });
      copyFileSync(source, target);
    }
  }
}

type Content = ReadonlyMap<string, "folder" | "file">;

function existingIn(folder: string): Content {
  return lstatSync(folder, { throwIfNoEntry: false }) === undefined ? new Map() : contentOf(folder);
}

/** Paths in it, relative, and what they are. */
function contentOf(folder: string): Content {
  const found = readdirSync(folder, { recursive: true, withFileTypes: true });
  return new Map(
    found.map((one) => [
      join(one.parentPath, one.name).slice(folder.length + 1),
      one.isDirectory() ? "folder" : "file",
    ]),
  );
}
