import { type ChildProcess, fork } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";

// Real processes: threads and connections of one process share file locks and memory, which is just what must not be relied on.

const root = join(import.meta.dirname, "..");
// Inside the repository, so that the bundled child finds better-sqlite3.
const cache = join(root, ".cache");

export interface ChildJobs {
  /** A folder for the files of the test; gone after `remove`. */
  readonly folder: string;
  /** Starts a child and gives it its input, as another user if asked. */
  start(input: ChildInput, user?: number): ChildProcess;
  /** The answer of one job, once its process is gone. */
  run<T>(job: string, input: Readonly<Record<string, string>>, user?: number): Promise<T>;
  /** The same job in so many processes at once; each gets its number as `id`. */
  runAll<T>(count: number, job: string, input: Readonly<Record<string, string>>): Promise<T[]>;
  remove(): void;
}

export interface ChildInput extends Readonly<Record<string, string>> {
  readonly job: string;
}

/** Bundles `source`, which imports from `./src/…` and defines `jobs`: name → async function of its input. */
export async function bundleChildJobs(name: string, source: string): Promise<ChildJobs> {
  mkdirSync(cache, { recursive: true });
  const folder = mkdtempSync(join(cache, `${name}-`));
  // Another user may run the child too.
  chmodSync(folder, 0o755);
  const child = join(folder, "child.mjs");
  await build({
    stdin: { contents: `${source}\n${ANSWER}`, resolveDir: root, loader: "ts" },
    outfile: child,
    bundle: true,
    platform: "node",
    format: "esm",
    conditions: ["tallystick-source", "node"],
    packages: "external",
  });
  const jobs: ChildJobs = {
    folder,
    start(input, user) {
      const process = fork(child, {
        stdio: ["ignore", "inherit", "inherit", "ipc"],
        ...(user === undefined ? {} : { uid: user, gid: user }),
      });
      process.send(input);
      return process;
    },
    async run<T>(job: string, input: Readonly<Record<string, string>>, user?: number) {
      const process = jobs.start({ job, ...input }, user);
      const gone = new Promise((resolve) => process.once("close", resolve));
      const answer = await answerOf<T>(process);
      await gone;
      return answer;
    },
    runAll<T>(count: number, job: string, input: Readonly<Record<string, string>>) {
      return Promise.all(Array.from({ length: count }, (_, id) => jobs.run<T>(job, { ...input, id: String(id) })));
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
  return jobs;
}

const ANSWER = `
process.once("message", async ({ job, ...input }) => {
  process.send(await jobs[job](input), () => process.disconnect());
});
`;

/** The next message of a child; rejects if it ends before. */
export function answerOf<T>(process: ChildProcess): Promise<T> {
  return new Promise((resolve, reject) => {
    process.once("message", (message) => resolve(message as T));
    process.once("exit", (code, signal) => reject(new Error(`child ended with ${code ?? signal}`)));
  });
}

/** Kills a child at its message number `count`, and gives the last that it sent. */
export function killAfter(process: ChildProcess, count: number): Promise<number> {
  return new Promise((resolve) => {
    let last = 0;
    let seen = 0;
    process.on("message", (message) => {
      last = message as number;
      if (++seen === count) process.kill("SIGKILL");
    });
    process.once("close", () => resolve(last));
  });
}
