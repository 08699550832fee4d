import { beforeAll, expect, it } from "vitest";
import { run, runOk } from "../packaging/program.ts";

beforeAll(async () => {
  await runOk(process.execPath, ["scripts/build.mjs"]);
}, 120_000);

it("the reference of the command line is what the commands say", async () => {
  const { code, stdout } = await run(process.execPath, ["docs/cli-reference.mjs", "--check"]);
  expect(stdout).toBe("");
  expect(code).toBe(0);
});
