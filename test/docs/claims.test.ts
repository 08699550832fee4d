import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ROOT } from "../packaging/program.ts";

const read = (path: string): string => readFileSync(join(ROOT, path), "utf8");

/** Rows of the table in docs/claims.md: `| name | says | `file`: title |`. */
const rows = [...read("docs/claims.md").matchAll(/^\| ([a-z0-9-]+) \| (.+?) \| `([^`]+)`: (.+?) \|$/gm)].map(
  ([, name = "", , file = "", title = ""]) => ({ name, file, title }),
);
/** Names in the comments `<!-- claims: … -->` of a page. */
const marked = (page: string): string[] =>
  [...read(page).matchAll(/<!-- claims: (.+?) -->/g)].flatMap(([, names = ""]) => names.split(" "));

describe("claims of the documentation", () => {
  it("are listed, each once", () => {
    expect(rows.length).toBeGreaterThan(30);
    // Every line of the table is understood: none is left out of the checks below.
    expect(rows).toHaveLength(read("docs/claims.md").match(/^\| /gm)!.length - 1);
    expect(new Set(rows.map(({ name }) => name)).size).toBe(rows.length);
  });

  it.each(rows)("$name has its test", ({ file, title }) => {
    expect(existsSync(join(ROOT, file)), file).toBe(true);
    expect(read(file)).toContain(title);
  });

  it("that README marks are in the list", () => {
    const names = new Set(rows.map(({ name }) => name));
    expect(marked("README.md").length).toBeGreaterThan(10);
    expect(marked("README.md").filter((name) => !names.has(name))).toEqual([]);
  });
});

/**
 * Paths that git leaves out, which only the one who made them has: a page that leads there is dead in every clone.
 * None where there is no git or no checkout.
 */
const ignored = (paths: readonly string[]): string[] => {
  const git = spawnSync("git", ["check-ignore", "--stdin"], { cwd: ROOT, encoding: "utf8", input: paths.join("\n") });
  return git.error === undefined ? git.stdout.split("\n").filter((path) => path !== "") : [];
};

describe("pages of the documentation", () => {
  const pages = ["README.md", "SECURITY.md", "CONTRIBUTING.md", ...markdownBelow("docs"), ...markdownBelow("examples")];

  it.each(pages)("%s leads only to files and headings that exist", (page) => {
    const links = [...read(page).matchAll(/\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)/g)].map(
      ([, path = "", heading]) => ({ path, target: path === "" ? page : join(page, "..", path), heading }),
    );
    const dead = links.flatMap(({ path, target, heading }) => {
      if (!existsSync(join(ROOT, target))) return [path];
      return heading === undefined || headingsOf(target).includes(heading) ? [] : [`${path}#${heading}`];
    });
    expect(dead).toEqual([]);
    expect(ignored(links.map(({ target }) => target))).toEqual([]);
  });
});

function markdownBelow(folder: string): string[] {
  return readdirSync(join(ROOT, folder), { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(".md"))
    .map((path) => join(folder, path));
}

/** Headings as links name them: lower case, words joined by hyphens, punctuation left out. */
function headingsOf(page: string): string[] {
  return [...read(page).matchAll(/^#+ (.+)$/gm)].map(([, text = ""]) =>
    text
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N} -]/gu, "")
      .replaceAll(" ", "-"),
  );
}
