import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** The built command line: what users run. */
export const MAIN: string = fileURLToPath(new URL("../../dist/cli/main.js", import.meta.url));

/** A folder of its own with a state directory and a `tallystick` in PATH, and nothing of this machine's settings. */
export interface Place {
  readonly dir: string;
  readonly env: NodeJS.ProcessEnv;
  remove(): void;
}

export function makePlace(): Place {
  if (!existsSync(MAIN)) throw new Error("dist/cli/main.js is missing: run `npm run build`");
  const outer = realpathSync(mkdtempSync(join(tmpdir(), "tallystick-cli-")));
  const dir = join(outer, "here");
  const bin = join(outer, "bin");
  for (const folder of [dir, bin]) mkdirSync(folder);
  writeFileSync(join(bin, "tallystick"), `#!/bin/sh\nexec '${process.execPath}' '${MAIN}' "$@"\n`, { mode: 0o755 });
  const { PATH = "" } = process.env;
  return {
    dir,
    env: {
      PATH: `${bin}:${PATH}`,
      HOME: outer,
      TZ: "UTC",
      TMPDIR: outer,
      TALLYSTICK_STATE_DIR: join(dir, "state"),
      GIT_CONFIG_GLOBAL: "/dev/null",
      GIT_CONFIG_NOSYSTEM: "1",
      FIXTURES: fileURLToPath(new URL("fixtures", import.meta.url)),
    },
    remove: () => rmSync(outer, { recursive: true, force: true }),
  };
}

export interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunOptions {
  readonly env?: NodeJS.ProcessEnv;
  readonly input?: string;
  /** Called with the running process. */
  readonly during?: (child: ChildProcess) => void;
}

/** Runs `tallystick` to its end. */
export function tallystick(place: Place, args: readonly string[], options: RunOptions = {}): Promise<Ran> {
  return run(place, process.execPath, [MAIN, ...args], options);
}

/** Runs a line of shell to its end. */
export function shell(place: Place, line: string): Promise<Ran> {
  return run(place, "bash", ["-c", line], {});
}

function run(place: Place, command: string, args: readonly string[], options: RunOptions): Promise<Ran> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: place.dir, env: { ...place.env, ...options.env } });
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr += text;
    });
    child.stdin.on("error", () => {});
    if (options.during === undefined) child.stdin.end(options.input ?? "");
    else if (options.input !== undefined) child.stdin.write(options.input);
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, stdout, stderr }));
    options.during?.(child);
  });
}
