import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

/** The full run of 100,000 requests is `node test/witness/race-soak.mjs`. */
const SOAK = fileURLToPath(new URL("race-soak.mjs", import.meta.url));

function soak(...args: string[]): Promise<{ readonly code: number | null; readonly output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [SOAK, ...args]);
    let output = "";
    for (const stream of [child.stdout, child.stderr])
      stream.setEncoding("utf8").on("data", (text: string) => {
        output += text;
      });
    child.on("error", reject);
    child.on("close", (code) => resolve({ code, output }));
  });
}

describe("racing and killed processes of one witness", () => {
  it("never sign two heads that contradict each other", { timeout: 120_000 }, async () => {
    const { code, output } = await soak("--requests", "6000", "--seed", "1", "--seconds", "90");
    expect({ code, output }).toEqual({ code: 0, output: expect.stringContaining("all consistent") });
    expect(Number(/, (\d+) kills/.exec(output)?.[1]), output).toBeGreaterThan(0);
    expect(Number(/(\d+) cosignatures/.exec(output)?.[1]), output).toBeGreaterThan(100);
  });

  it("would be caught if they did: the canary", { timeout: 120_000 }, async () => {
    const { code, output } = await soak("--requests", "600", "--seed", "1", "--seconds", "90", "--broken");
    expect({ code, output }).toEqual({ code: 1, output: expect.stringContaining("FAILED: two heads of log.test/") });
  });
});
