import { describe, expect, it } from "vitest";
import { matchesOutput, programsOf, shellSteps } from "./fences.mjs";

const page = (...lines) => programsOf(lines.join("\n"));

describe("programs of a page", () => {
  it("takes the runnable fences in order and leaves the others", () => {
    const { programs } = page("```ts", "a;", "```", "```json", "{}", "```", "```sh", "ls", "```");
    expect(programs.map(({ kind, line, code }) => [kind, line, code])).toEqual([
      ["module", 2, "a;"],
      ["shell", 8, "ls"],
    ]);
  });

  it("joins a continued fence at its own line of the page", () => {
    const { programs } = page("```ts", "a;", "b;", "```", "", "prose", "", "```ts continue", "c;", "```");
    expect(programs).toHaveLength(1);
    expect(programs[0].code.split("\n").indexOf("c;") + programs[0].line).toBe(9);
  });

  it("attaches expected output to the program before it", () => {
    expect(page("```js", "a", "```", "```text output", "1", "```").programs[0].expected).toBe("1");
    expect(() => page("```text output", "1", "```")).toThrow("line 2: there is no program before this output");
  });

  it("leaves a fence out only with a reason", () => {
    expect(page("```ts no-run: needs a bucket", "a", "```")).toEqual({
      programs: [],
      unrun: [{ language: "ts", line: 2, reason: "needs a bucket" }],
    });
    expect(() => page("```ts no-run", "a", "```")).toThrow("line 2: no-run needs a reason");
    expect(() => page("```ts norun", "a", "```")).toThrow('line 2: "norun" is no instruction');
    expect(() => page("```ts", "a")).toThrow("line 1: the fence is never closed");
  });
});

describe("steps of a shell fence", () => {
  it("splits a transcript into commands, exits and outputs", () => {
    const code = ["$ a \\", "> b", "1", "$ c   # exit 3", "$ d"].join("\n");
    expect(shellSteps({ code, line: 10 })).toEqual([
      { line: 10, command: "a \\\nb", exit: 0, expected: "1" },
      { line: 13, command: "c   # exit 3", exit: 3, expected: null },
      { line: 14, command: "d", exit: 0, expected: null },
    ]);
  });

  it("runs a fence without prompts as one script", () => {
    expect(shellSteps({ code: "a\nb", line: 1 })).toEqual([{ line: 1, command: "a\nb", exit: 0, expected: null }]);
  });
});

describe("expected output", () => {
  it.each([
    ["a\nb", "a\nb\n", true],
    ["a", "a b\n", false],
    ["a.c", "abc\n", false],
    ["root …", "root 1f2e\n", true],
    ["root …", "root\n", false],
    ["a\n…\nz", "a\nb\nc\nz\n", true],
    ["a\n…\nz", "a\nz\n", true],
    ["a\n…", "b\n", false],
    ["", "\n", true],
  ])("%j against %j: %j", (expected, found, result) => {
    expect(matchesOutput(expected, found)).toBe(result);
  });
});
