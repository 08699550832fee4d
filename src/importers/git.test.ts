import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Event } from "../core/event.ts";
import { type GitHistoryOptions, gitHistory, inspectGitRepository } from "./git.ts";

let folder: string;
beforeEach(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), "tallystick-git-")));
  vi.stubEnv("GIT_CONFIG_GLOBAL", "/dev/null");
  vi.stubEnv("GIT_CONFIG_NOSYSTEM", "1");
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true, force: true });
});

const DATE = "2026-03-02T09:00:00+00:00";

function git(args: readonly string[], input?: string | Uint8Array): string {
  const env = {
    ...process.env,
    GIT_AUTHOR_DATE: DATE,
    GIT_COMMITTER_DATE: DATE,
    GIT_AUTHOR_NAME: "Ann",
    GIT_AUTHOR_EMAIL: "ann@example.org",
    GIT_COMMITTER_NAME: "Ann",
    GIT_COMMITTER_EMAIL: "ann@example.org",
  };
  return execFileSync("git", ["-C", join(folder, "r"), ...args], { env, input, encoding: "utf8" }).trim();
}

/** A history with a root, a branch, a merge, an empty commit, and names that need care. */
function makeHistory(): void {
  mkdirSync(join(folder, "r"));
  git(["init", "-q", "-b", "main", "."]);
  const put = (name: string | Buffer, text: string): void => {
    writeFileSync(Buffer.concat([Buffer.from(`${folder}/r/`), Buffer.from(name)]), text);
    git(["add", "--all", "."]);
  };
  put("a.txt", "one\n".repeat(50));
  git(["commit", "-q", "-m", "root"]);
  git(["checkout", "-q", "-b", "side"]);
  put("line\nbreak", "two");
  put(Buffer.from([0x62, 0xff]), "three");
  git(["commit", "-q", "-m", "side", "-m", "Reviewed-by: Bob"]);
  git(["checkout", "-q", "main"]);
  git(["mv", "a.txt", "b.txt"]);
  git(["commit", "-q", "-m", "move"]);
  git(["merge", "-q", "--no-ff", "-m", "merge", "side"]);
  git(["commit", "-q", "--allow-empty", "--allow-empty-message", "-m", ""]);
}

async function events(directory = "r", options: GitHistoryOptions = {}): Promise<Event[]> {
  const all: Event[] = [];
  for await (const event of gitHistory(await inspectGitRepository(join(folder, directory)), options)) all.push(event);
  return all;
}

const payloadOf = (event: Event | undefined): Readonly<Record<string, unknown>> =>
  event?.payload as Readonly<Record<string, unknown>>;
const subjects = (all: readonly Event[]): unknown[] => all.map((event) => payloadOf(event).subject);

const hasGit = spawnSync("git", ["--version"], { stdio: "ignore" }).error === undefined;

describe.skipIf(!hasGit)("gitHistory (needs git)", () => {
  it("yields every commit once, parents first, with what it changed", async () => {
    makeHistory();
    const all = await events();
    expect(subjects(all).sort()).toEqual(["", "merge", "move", "root", "side"]);
    const place = new Map(all.map((event, i) => [payloadOf(event).commit, i]));
    for (const [i, event] of all.entries()) {
      for (const parent of payloadOf(event).parents as string[]) expect(place.get(parent)).toBeLessThan(i);
    }
    const bySubject = new Map(all.map((event) => [payloadOf(event).subject, payloadOf(event)]));
    expect(bySubject.get("root")?.files).toEqual([{ path: "a.txt", status: "A" }]);
    // A rename is a deletion and an addition: whether it is one depends on git's version and settings.
    expect(bySubject.get("move")?.files).toEqual([
      { path: "a.txt", status: "D" },
      { path: "b.txt", status: "A" },
    ]);
    expect(bySubject.get("side")).toMatchObject({
      files: [
        { path: "b\ufffd", pathBytes: "Yv8=", status: "A" },
        { path: "line\nbreak", status: "A" },
      ],
      trailers: [{ token: "Reviewed-by", value: "Bob" }],
    });
    expect(bySubject.get("merge")?.parents).toHaveLength(2);
    expect(bySubject.get("merge")?.files).toEqual([]);
    expect(bySubject.get("")?.files).toEqual([]);
  });

  it("does not depend on the settings of the user or the repository", async () => {
    makeHistory();
    const before = await events();
    const settings = [
      ["diff.renames", "copies"],
      ["diff.noprefix", "true"],
      ["diff.external", "false"],
      ["core.quotePath", "true"],
      ["log.showSignature", "true"],
      ["log.showRoot", "false"],
      ["log.date", "relative"],
      ["i18n.logOutputEncoding", "ISO-8859-1"],
      ["color.ui", "always"],
    ];
    for (const [name, value] of settings) git(["config", name ?? "", value ?? ""]);
    writeFileSync(join(folder, "r", ".git", "info", "attributes"), "* diff=odd\n");
    vi.stubEnv("GIT_DIR", join(folder, "elsewhere"));
    vi.stubEnv("GIT_EXTERNAL_DIFF", "false");
    expect(await events()).toEqual(before);
  });

  it("leaves out what is known, and shows nothing twice", async () => {
    makeHistory();
    const all = await events();
    const known = new Set(all.slice(0, 3).map((event) => event.id));
    expect(await events("r", { isKnown: (id) => known.has(id) })).toEqual(all.slice(3));
    expect(await events("r", { isKnown: async () => true })).toEqual([]);
  });

  it("says of a shallow clone where it was cut off", async () => {
    makeHistory();
    execFileSync("git", ["clone", "-q", "--depth", "1", `file://${folder}/r`, join(folder, "shallow")]);
    const repository = await inspectGitRepository(join(folder, "shallow"));
    expect([repository.commits, repository.shallow.size]).toEqual([1, 1]);
    const [event, ...rest] = await events("shallow");
    expect(rest).toEqual([]);
    expect(payloadOf(event)).toMatchObject({ shallow: true });
    expect(payloadOf(event)).not.toHaveProperty("files");
  });

  it("takes commits that no git command would make", async () => {
    makeHistory();
    const tree = git(["write-tree"]);
    const raw = `tree ${tree}\nauthor  <> 99999999999999999 +9999\ncommitter \u0001 <x> -5 -0000\n\n\u001b[31mred\u202e\n`;
    const hash = git(["hash-object", "-t", "commit", "-w", "--literally", "--stdin"], raw);
    git(["update-ref", "refs/heads/main", hash]);
    const [event, ...rest] = await events();
    expect(rest).toEqual([]);
    expect(event).toMatchObject({ id: `git:${hash}`, actor: { id: "unknown" } });
    expect(payloadOf(event)).toMatchObject({ subject: "\u001b[31mred\u202e" });
  });

  it("ends when it is aborted, and leaves no process behind", async () => {
    makeHistory();
    const stop = new AbortController();
    const reading = (async () => {
      for await (const _ of gitHistory(await inspectGitRepository(join(folder, "r")), { signal: stop.signal }))
        stop.abort();
    })();
    await expect(reading).rejects.toMatchObject({ name: "AbortError" });
  });

  it("ends its processes when the reader stops early", async () => {
    makeHistory();
    for await (const _ of gitHistory(await inspectGitRepository(join(folder, "r")))) break;
    expect((await events()).length).toBe(5);
  });

  it.each(["HEAD~1", "HEAD~1^{tree}"])("reports a repository that lacks %s", async (name) => {
    makeHistory();
    const hash = git(["rev-parse", name]);
    rmSync(join(folder, "r", ".git", "objects", hash.slice(0, 2), hash.slice(2)));
    await expect(events()).rejects.toMatchObject({
      code: "storage-io",
      message: expect.stringMatching(/^git cannot read .*: (fatal|error): /),
    });
  });
});

describe.skipIf(!hasGit)("inspectGitRepository (needs git)", () => {
  it("refuses where there is nothing to import", async () => {
    mkdirSync(join(folder, "plain"));
    await expect(inspectGitRepository(join(folder, "plain"))).rejects.toMatchObject({
      code: "not-found",
      message: `there is no git repository at ${folder}/plain`,
    });
    await expect(inspectGitRepository(join(folder, "gone"))).rejects.toMatchObject({ code: "not-found" });
    mkdirSync(join(folder, "r"));
    git(["init", "-q", "."]);
    await expect(inspectGitRepository(join(folder, "r"))).rejects.toMatchObject({
      code: "not-found",
      message: `the git repository at ${folder}/r has no commits yet`,
    });
    vi.stubEnv("PATH", folder);
    await expect(inspectGitRepository(join(folder, "r"))).rejects.toMatchObject({
      code: "not-found",
      message: "git is not installed, or not in PATH",
    });
  });

  it.each([
    ["https://user:secret@example.org:8443/o/r.git?token=x#y", "https://example.org:8443/o/r.git"],
    ["ssh://git@example.org/o/r.git", "ssh://example.org/o/r.git"],
    ["git@example.org:o/r.git", "example.org:o/r.git"],
    ["/home/somebody/r", "r"],
    ["../r", "r"],
    ["file:///home/somebody/r", "r"],
  ])("names the repository after its remote %s without secrets or local paths", async (url, id) => {
    makeHistory();
    git(["config", "remote.origin.url", url]);
    expect((await inspectGitRepository(join(folder, "r"))).id).toBe(id);
  });
});
