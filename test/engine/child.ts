import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import type { Place } from "./place.ts";

/** The compiled package, which child processes run: Node 20 runs no TypeScript. */
export const DIST: string = join(import.meta.dirname, "../../dist/index.js");
export const isBuilt: boolean = existsSync(DIST);
export const NOT_BUILT = "dist/ is missing: run `npm run build`";

/** Everything that a writer acknowledged, in order. */
export interface Answer {
  readonly created?: string;
  readonly opened?: string;
  readonly genesis?: string;
  readonly id?: string;
  readonly index?: number;
  readonly leafHash?: string;
  readonly duplicate?: boolean;
  readonly at?: number;
  readonly note?: string;
  readonly erased?: number;
  readonly by?: number;
  readonly hold?: number;
  /** Index and leaf hash of each event without id. */
  readonly bulk?: readonly (readonly [index: number, leafHash: string])[];
}

export interface Writer {
  readonly process: ChildProcess;
  readonly answers: Answer[];
  /** Resolves once `count` answers are there, or when it ends. */
  until(count: number): Promise<void>;
  /** Exit code or signal, once it is gone and everything it said has been read. */
  readonly ended: Promise<number | NodeJS.Signals | null>;
  stderr(): string;
}

export interface WriterOptions {
  readonly seed: number;
  readonly name: string;
  /** Appends so many events, some with ids that all writers use, and ends. Begins when told to by `go`. */
  readonly appends?: number;
}

export function startWriter(place: Place, options: WriterOptions): Writer {
  const input = {
    ...options,
    path: place.path,
    state: place.state,
    ...(options.appends === undefined ? {} : { shared: true }),
  };
  const { TALLYSTICK_KEY: _, ...env } = process.env;
  const child = spawn(process.execPath, [join(import.meta.dirname, "fixtures/writer.mjs"), JSON.stringify(input)], {
    stdio: ["pipe", "pipe", "pipe"],
    env,
  });
  const answers: Answer[] = [];
  const waiting: { readonly count: number; readonly resolve: () => void }[] = [];
  let rest = "";
  let errors = "";
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) answers.push(JSON.parse(line) as Answer);
    for (const one of waiting) if (answers.length >= one.count) one.resolve();
  });
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
    errors += chunk;
  });
  const ended = new Promise<number | NodeJS.Signals | null>((resolve) => {
    child.once("close", (code, signal) => {
      for (const one of waiting) one.resolve();
      resolve(signal ?? code);
    });
  });
  return {
    process: child,
    answers,
    ended,
    stderr: () => errors,
    until: (count) =>
      new Promise((resolve) => {
        waiting.push({ count, resolve });
        if (answers.length >= count) resolve();
      }),
  };
}
