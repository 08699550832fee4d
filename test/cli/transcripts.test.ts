import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { makePlace, type Place, type Ran, shell } from "./program.ts";

/*
 * Transcripts: each *.txt is a session in a folder of its own.
 *
 *     $ command          run by bash; `# exit N` at its end when it is not 0
 *     line               of stdout
 *     ! line             of stderr
 *
 * Lines that begin with `#` between commands say what is going on. `…` stands for any text of a line. What differs from run to
 * run is written as <time>, <hash>, <id> and so on. TALLYSTICK_TRANSCRIPTS=write puts what came in place of what was expected: read
 * the difference before you commit it.
 */
const FOLDER = fileURLToPath(new URL(".", import.meta.url));
const isWriting = process.env.TALLYSTICK_TRANSCRIPTS === "write";

interface Step {
  /** Comments and blank lines before the command. */
  readonly preface: readonly string[];
  readonly command: string;
  readonly exit: number;
  readonly expected: readonly string[];
}

function parseTranscript(text: string): Step[] {
  const steps: { preface: string[]; command: string; exit: number; expected: string[] }[] = [];
  let preface: string[] = [];
  for (const line of text.trimEnd().split("\n")) {
    if (line.startsWith("$ ")) {
      const exit = /\s+# exit (\d+)$/.exec(line);
      steps.push({
        preface,
        command: exit === null ? line.slice(2) : line.slice(2, exit.index),
        exit: Number(exit?.[1] ?? 0),
        expected: [],
      });
      preface = [];
      continue;
    }
    const step = steps.at(-1);
    if (step === undefined || preface.length > 0 || line.startsWith("# ")) preface.push(line);
    else step.expected.push(line);
  }
  // The blank line before a comment or the next command belongs to neither.
  for (const step of steps) while (step.expected.at(-1) === "") step.expected.pop();
  return steps;
}

/** What differs from run to run, by what stands for it. */
const CHANGING: readonly (readonly [RegExp, string])[] = [
  [/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/g, "<time>"],
  [/(tallystick\.local\/[A-Za-z0-9._-]+)\/[0-9a-f]{16}/g, "$1/<id>"],
  [/\+[0-9a-f]{8}\+[A-Za-z0-9+/]{30,}=*/g, "+<key>"],
  [/(<id>|\b[a-z]+\.example\S*)\+[0-9a-f]{8}\b/g, "$1+<key id>"],
  [/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, "<uuid>"],
  [/\b[0-9a-f]{64}\b/g, "<hash>"],
  [/\b(key|rolled-back|forked)-[0-9a-f]{16}/g, "$1-<id>"],
  [/127\.0\.0\.1:\d+/g, "127.0.0.1:<port>"],
  [/(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{80,}={0,2}/g, "<base64>"],
  [/(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{43}=/g, "<root>"],
];

function settle(text: string, place: Place): string {
  let settled = text.replaceAll(place.dir, "<dir>");
  for (const [pattern, name] of CHANGING) settled = settled.replaceAll(pattern, name);
  return settled;
}

function linesOf(ran: Ran, place: Place): string[] {
  const lines = (text: string): string[] => (text === "" ? [] : settle(text, place).replace(/\n$/, "").split("\n"));
  return [...lines(ran.stdout), ...lines(ran.stderr).map((line) => `! ${line}`)];
}

function matches(expected: string, line: string): boolean {
  if (!expected.includes("…")) return expected === line;
  const pattern = expected.split("…").map((part) => part.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  return new RegExp(`^${pattern.join(".*")}$`, "s").test(line);
}

/** Expected lines, each replaced by the line that it stands for: what is left over shows as a difference. */
function resolved(expected: readonly string[], lines: readonly string[]): string[] {
  return expected.map((line, i) => (matches(line, lines[i] ?? "") ? (lines[i] ?? "") : line));
}

/** Under --json every line of stdout is an object that names its format. */
function requireJson(command: string, stdout: string): void {
  if (!/^tallystick .*--json\b[^|>;&]*$/.test(command)) return;
  for (const line of stdout.split("\n").filter((text) => text !== ""))
    expect(JSON.parse(line), command).toHaveProperty("format", expect.stringMatching(/^tallystick\/[a-z-]+\/v1$/));
}

describe.concurrent("transcripts of the command line", () => {
  for (const file of readdirSync(FOLDER).filter((name) => name.endsWith(".txt"))) {
    it(`behaves as in ${file}`, { timeout: 120_000 }, async ({ expect }) => {
      const steps = parseTranscript(readFileSync(`${FOLDER}${file}`, "utf8"));
      const place = makePlace();
      const written: string[] = [];
      try {
        for (const { preface, command, exit, expected } of steps) {
          const ran = await shell(place, command);
          const lines = linesOf(ran, place);
          requireJson(command, ran.stdout);
          if (isWriting) {
            const ending = ran.code === 0 ? "" : ` # exit ${ran.code}`;
            const kept = resolved(expected, lines).join("\n") === lines.join("\n") ? expected : lines;
            written.push(...preface, `$ ${command}${ending}`, ...kept, "");
            continue;
          }
          expect({ command, exit: ran.code, lines }).toEqual({ command, exit, lines: resolved(expected, lines) });
        }
      } finally {
        place.remove();
      }
      if (isWriting)
        writeFileSync(
          `${FOLDER}${file}`,
          `${written
            .join("\n")
            .replaceAll(/\n\n\n+/g, "\n\n")
            .trimEnd()}\n`,
        );
      expect(steps.length).toBeGreaterThan(0);
    });
  }
});
