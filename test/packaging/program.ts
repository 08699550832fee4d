import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";

/** The repository's root folder. */
export const ROOT: string = fileURLToPath(new URL("../..", import.meta.url));

/** Downloads and builds that outlive a run: Node releases, native add-ons, other compilers. */
export const CACHE: string = fileURLToPath(new URL("../../.cache/packaging/", import.meta.url));

export interface Result {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end; never rejects, a program that could not be started has code 127. */
export function run(
  command: string,
  args: readonly string[],
  options: { readonly cwd?: string; readonly env?: NodeJS.ProcessEnv; readonly timeoutMs?: number } = {},
): Promise<Result> {
  const settings = {
    cwd: options.cwd ?? ROOT,
    env: options.env ?? process.env,
    timeout: options.timeoutMs ?? 300_000,
    maxBuffer: 64 * 1024 * 1024,
  };
  return new Promise((resolve) => {
    execFile(command, args, settings, (error, stdout, stderr) => {
      if (error === null) resolve({ code: 0, stdout, stderr });
      else
        resolve({ code: typeof error.code === "number" ? error.code : 127, stdout, stderr: stderr || error.message });
    });
  });
}

/** Runs a program that must succeed. */
export async function runOk(...call: Parameters<typeof run>): Promise<Result> {
  const result = await run(...call);
  if (result.code === 0) return result;
  throw new Error(`${call[0]} ${call[1].join(" ")} ended with ${result.code}\n${result.stdout}${result.stderr}`);
}
