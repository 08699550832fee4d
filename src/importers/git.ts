import { type ChildProcessByStdio, spawn } from "node:child_process";
import { readFile } from "node:fs/promises";
import { basename, isAbsolute, resolve } from "node:path";
import type { Readable, Writable } from "node:stream";
import { UnavailableError } from "../core/errors.ts";
import { type Event, validateEvent } from "../core/event.ts";
import { commitEvent, type GitCommit, type GitFile } from "./git-event.ts";

export interface GitRepository {
  /** Absolute folder that was asked for. */
  readonly directory: string;
  /** URL of `origin` without credentials, else the name of the folder: the target of every event. */
  readonly id: string;
  /** Commits reachable from HEAD. */
  readonly commits: number;
  /** Commits at which a shallow clone was cut off: their parents and changes cannot be seen. */
  readonly shallow: ReadonlySet<string>;
}

export interface GitHistoryOptions {
  /** Leaves out a commit whose event id is in the ledger already. */
  readonly isKnown?: (id: string) => boolean | Promise<boolean>;
  readonly signal?: AbortSignal;
}

/**
 * What there is to import. Errors: `not-found` where there is no git, no repository or no commit; `storage-io` when git refuses
 * the repository for another reason, in git's own words.
 */
export async function inspectGitRepository(directory: string): Promise<GitRepository> {
  const path = resolve(directory);
  const facts = await git(path, ["rev-parse", "--is-shallow-repository", "--git-path", "shallow"]);
  if (facts.code !== 0) throw refusal(path, facts.stderr);
  if ((await git(path, ["rev-parse", "--verify", "--quiet", "HEAD"])).code !== 0)
    throw new UnavailableError("not-found", `the git repository at ${path} has no commits yet`, { details: { path } });
  const count = await git(path, ["rev-list", "--count", "HEAD", "--"]);
  if (count.code !== 0) throw failure(path, count.stderr);
  const [isShallow, shallowFile = ""] = facts.stdout.trimEnd().split("\n");
  const remote = await git(path, ["config", "--get", "remote.origin.url"]);
  return {
    directory: path,
    id: repositoryId(remote.stdout.trim(), path),
    commits: Number(count.stdout.trim()),
    shallow: isShallow === "true" ? await readShallow(path, shallowFile) : new Set(),
  };
}

/**
 * The history of HEAD as events, one for each commit, parents first, in constant memory here: git itself holds the list of hashes.
 * An event depends on the commit alone, never on this machine's settings, and has the id `git:<hash>`, so importing again adds
 * what is new. Errors: `storage-io` when git fails on the way.
 */
export async function* gitHistory(repository: GitRepository, options: GitHistoryOptions = {}): AsyncGenerator<Event> {
  const { directory } = repository;
  const list = start(directory, ["rev-list", "--reverse", "--topo-order", "HEAD", "--"]);
  const show = start(directory, SHOW);
  const stop = (): void => {
    list.child.kill();
    show.child.kill();
  };
  options.signal?.addEventListener("abort", stop, { once: true });
  // Rejections are seen below: by then both streams have ended.
  const feeding = feed(list.child.stdout, show.child.stdin, options.isKnown);
  feeding.catch(() => stop());
  try {
    for await (const commit of readCommits(show.child.stdout, directory)) {
      const event = commitEvent(commit, { repository: repository.id, isCut: repository.shallow.has(commit.hash) });
      validateEvent(event);
      yield event;
    }
    options.signal?.throwIfAborted();
    await feeding;
    for (const { ended } of [list, show]) {
      const { code, stderr } = await ended;
      if (code !== 0) throw failure(directory, stderr);
    }
  } finally {
    options.signal?.removeEventListener("abort", stop);
    stop();
  }
}

/** Plumbing, which no user's settings change; without renames, whose detection depends on git's version and on blobs. */
const SHOW: readonly string[] = [
  ...["diff-tree", "--stdin", "--always", "--root", "-r", "-z", "--raw", "--no-renames"],
  ...["--no-color", "--no-ext-diff", "--no-textconv", "--encoding=UTF-8"],
  "--format=%x01%H%x00%T%x00%P%x00%an%x00%ae%x00%aI%x00%cn%x00%ce%x00%cI%x00%B%x00",
];
const FIELDS = 10;
/** No field of a commit is longer: what is, was not made by people. */
const FIELD_BYTES_MAX: number = 16 * 1024 * 1024;
/** Changed files beyond this are counted, not kept. */
const FILES_KEPT_MAX = 10_000;

type Child = ChildProcessByStdio<Writable, Readable, Readable>;

interface Ending {
  readonly code: number;
  readonly stderr: string;
}

function start(directory: string, args: readonly string[]): { readonly child: Child; readonly ended: Promise<Ending> } {
  const child = spawn("git", ["-C", directory, ...args], { env: environment(), stdio: ["pipe", "pipe", "pipe"] });
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    if (stderr.length < STDERR_UNITS_MAX) stderr += text;
  });
  // A process that ends early closes its input; what went wrong is told by its exit code.
  child.stdin.on("error", () => {});
  const ended = new Promise<Ending>((done) => {
    child.on("error", (error: NodeJS.ErrnoException) => done({ code: error.code === "ENOENT" ? 127 : 1, stderr }));
    child.on("close", (code) => done({ code: code ?? 1, stderr }));
  });
  return { child, ended };
}

const STDERR_UNITS_MAX = 8_192;

/** Variables of a surrounding git command would lead to another repository; none may change what a commit shows. */
function environment(): NodeJS.ProcessEnv {
  const { GIT_DIR: _dir, GIT_WORK_TREE: _tree, GIT_INDEX_FILE: _index, GIT_NAMESPACE: _space, ...rest } = process.env;
  return {
    ...rest,
    LC_ALL: "C",
    GIT_NO_REPLACE_OBJECTS: "1",
    GIT_NO_LAZY_FETCH: "1",
    GIT_OPTIONAL_LOCKS: "0",
    GIT_TERMINAL_PROMPT: "0",
  };
}

async function git(directory: string, args: readonly string[]): Promise<Ending & { readonly stdout: string }> {
  const { child, ended } = start(directory, args);
  let stdout = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stdin.end();
  return { ...(await ended), stdout, ...((await ended).code === 127 ? { stderr: "git: command not found" } : {}) };
}

function refusal(path: string, stderr: string): UnavailableError {
  const said = stderr.trim().split("\n")[0] ?? "";
  if (said.includes("command not found"))
    return new UnavailableError("not-found", "git is not installed, or not in PATH", { details: { path } });
  if (said.includes("not a git repository") || said.includes("cannot change to"))
    return new UnavailableError("not-found", `there is no git repository at ${path}`, { details: { path } });
  return failure(path, stderr);
}

function failure(path: string, stderr: string): UnavailableError {
  const said = stderr.trim().split("\n")[0] ?? "";
  return new UnavailableError("storage-io", `git cannot read ${path}: ${said === "" ? "it ended early" : said}`, {
    details: { path },
  });
}

async function readShallow(directory: string, file: string): Promise<ReadonlySet<string>> {
  const text = await readFile(isAbsolute(file) ? file : resolve(directory, file), "utf8").catch(() => "");
  return new Set(text.split("\n").filter((line) => line !== ""));
}

/** Remote URLs may carry a password or a token; local paths say where somebody keeps files. */
function repositoryId(remote: string, directory: string): string {
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(remote) && URL.canParse(remote)) {
    const { protocol, host, pathname } = new URL(remote);
    if (host !== "") return `${protocol}//${host}${pathname}`;
  }
  const scp = /^(?:[^@/\s]+@)?([^:/\s]+):(?!\/\/)(\S+)$/.exec(remote);
  if (scp !== null && !isAbsolute(remote)) return `${scp[1]}:${scp[2]}`;
  return basename(directory) || "repository";
}

/** Hands the hashes that are not known to `diff-tree`, as fast as it takes them. */
async function feed(hashes: Readable, into: Writable, isKnown: GitHistoryOptions["isKnown"]): Promise<void> {
  let rest = "";
  hashes.setEncoding("utf8");
  for await (const chunk of hashes as AsyncIterable<string>) {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop() ?? "";
    const fresh: string[] = [];
    for (const hash of lines) if ((await isKnown?.(`git:${hash}`)) !== true) fresh.push(hash);
    if (fresh.length > 0 && !into.destroyed && !into.write(`${fresh.join("\n")}\n`)) await drained(into);
  }
  into.end();
}

function drained(stream: Writable): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      stream.off("drain", done);
      stream.off("close", done);
      resolve();
    };
    stream.on("drain", done);
    stream.on("close", done);
  });
}

/** Commits of diff-tree's output: ten fields, then mode lines each followed by a path; everything ends in NUL. */
async function* readCommits(output: Readable, directory: string): AsyncGenerator<GitCommit> {
  let fields: string[] = [];
  let files: GitFile[] = [];
  let filesOmitted = 0;
  let status: string | null = null;
  const whole = (): GitCommit => {
    const [hash, tree, parents, name, email, time, committerName, committerEmail, committedAt, message] = fields;
    if (message === undefined) throw failure(directory, "it printed a commit with missing fields");
    return {
      hash: hash ?? "",
      tree: tree ?? "",
      parents: (parents ?? "").split(" ").filter((parent) => parent !== ""),
      author: { name: name ?? "", email: email ?? "", time: time ?? "" },
      committer: { name: committerName ?? "", email: committerEmail ?? "", time: committedAt ?? "" },
      message,
      files,
      filesOmitted,
    };
  };
  for await (const token of tokens(output, directory)) {
    if (status !== null) {
      if (files.length < FILES_KEPT_MAX) files.push({ status, path: token });
      else filesOmitted += 1;
      status = null;
    } else if (fields.length > 0 && fields.length < FIELDS) {
      fields.push(text(token));
    } else if (token[0] === 1) {
      if (fields.length > 0) yield whole();
      fields = [text(token.subarray(1))];
      files = [];
      filesOmitted = 0;
    } else if (token.length > 0) {
      // `:100644 100644 <blob> <blob> M`, the first one after a newline.
      status = text(token).trim().split(" ")[4] ?? "?";
    }
  }
  if (fields.length > 0) yield whole();
}

function text(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

async function* tokens(output: Readable, directory: string): AsyncGenerator<Uint8Array> {
  let rest: Uint8Array = new Uint8Array();
  for await (const chunk of output as AsyncIterable<Uint8Array>) {
    const bytes: Uint8Array = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    let begin = 0;
    for (let end = bytes.indexOf(0); end >= 0; end = bytes.indexOf(0, begin)) {
      yield bytes.subarray(begin, end);
      begin = end + 1;
    }
    rest = bytes.subarray(begin);
    if (rest.length > FIELD_BYTES_MAX)
      throw failure(directory, `a commit has a field of more than ${FIELD_BYTES_MAX} bytes`);
  }
}
