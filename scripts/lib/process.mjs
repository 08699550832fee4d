import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** The repository's root folder. */
export const ROOT = fileURLToPath(new URL("../..", import.meta.url)).replace(/[/\\]$/, "");

/**
 * Runs a program to its end and collects what it printed; it never throws for a failure, the caller decides.
 * With `inherit` the output goes straight to the terminal and the collected texts are empty.
 */
export function run(command, args, { cwd = ROOT, env = process.env, timeoutMs = 900_000, inherit = false } = {}) {
  return new Promise((resolve) => {
    const stdio = inherit ? "inherit" : ["ignore", "pipe", "pipe"];
    const child = spawn(command, args, { cwd, env, timeout: timeoutMs, stdio });
    let stdout = "";
    let output = "";
    child.stdout?.setEncoding("utf8").on("data", (text) => {
      stdout += text;
      output += text;
    });
    child.stderr?.setEncoding("utf8").on("data", (text) => {
      output += text;
    });
    child.on("error", (error) => resolve({ code: 127, stdout, output: `${output}${error.message}\n` }));
    child.on("close", (code, signal) => {
      const ending = signal === null ? "" : `${command} was ended by ${signal} (limit ${timeoutMs} ms)\n`;
      resolve({ code: code ?? 1, stdout, output: output + ending });
    });
  });
}

/** Runs the command of an installed development package with this Node, also where there is no shell. */
export function runTool(packageName, args, options) {
  const folder = join(ROOT, "node_modules", packageName);
  const { name, bin } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  const file = typeof bin === "string" ? bin : (bin[name.split("/").at(-1)] ?? Object.values(bin)[0]);
  return run(process.execPath, [join(folder, file), ...args], options);
}

/** Runs npm; `npm_execpath` is set inside npm scripts and points to the very npm that started them. */
export function runNpm(args, options) {
  const npm = process.env.npm_execpath;
  return npm === undefined ? run("npm", args, options) : run(process.execPath, [npm, ...args], options);
}
