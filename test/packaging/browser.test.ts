import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createContext, runInContext } from "node:vm";
import { build } from "esbuild";
import { beforeAll, describe, expect, it } from "vitest";
import { ROOT, runOk } from "./program.ts";

// The built core, bundled as for a web page, and run with the web's text functions alone: no Node, and no Web Crypto either,
// whose algorithms differ from browser to browser. Receipts and policy are the examples of the specification.
let bundle: string;

beforeAll(async () => {
  await runOk(process.execPath, ["scripts/build.mjs"]);
  const { outputFiles } = await build({
    entryPoints: [join(ROOT, "dist/core/index.js")],
    bundle: true,
    write: false,
    platform: "browser",
    format: "iife",
    globalName: "core",
    target: "es2022",
    logLevel: "silent",
  });
  bundle = outputFiles[0]!.text;
});

/** A fenced block of a specification page, counted from 0. */
function example(page: string, position: number): string {
  const fences = [...readFileSync(join(ROOT, "spec", page), "utf8").matchAll(/^```\n([\s\S]*?)^```$/gm)];
  return fences[position]![1]!;
}

const POLICY = example("policy.md", 0);
const WHOLE = example("receipt.md", 0);
const FIELDS = example("receipt.md", 1);

interface Outcome {
  readonly index?: number;
  readonly code?: string;
}

async function verifyInPage(receipt: string): Promise<Outcome> {
  const page = createContext({ TextEncoder, TextDecoder, atob, btoa, receipt, policy: POLICY });
  runInContext(bundle, page, { filename: "core.js" });
  const program = `core.verifyReceipt(receipt, core.parsePolicy(policy))
    .then(({ index }) => ({ index }), (error) => ({ code: error.code ?? String(error) }))`;
  return await runInContext(program, page);
}

describe("the browser bundle of the core", () => {
  it("verifies receipts of a whole event and of some fields", async () => {
    expect(await verifyInPage(WHOLE)).toEqual({ index: 1 });
    expect(await verifyInPage(FIELDS)).toEqual({ index: 2 });
  });

  it("refuses a receipt whose content was changed", async () => {
    const changed = WHOLE.replace("success", "failure");
    expect(changed).not.toBe(WHOLE);
    expect(await verifyInPage(changed)).toEqual({ code: "commitment-mismatch" });
  });

  it("refuses a receipt with another signature on its checkpoint", async () => {
    const changed = WHOLE.replace(/(— example\.com\/audit .{20})(.)/, (_line, before, digit) => {
      return `${before}${digit === "A" ? "B" : "A"}`;
    });
    expect(changed).not.toBe(WHOLE);
    expect(await verifyInPage(changed)).toEqual({ code: "signature-invalid" });
  });

  it("imports nothing from Node and names no global of it", () => {
    expect(bundle).not.toMatch(/["'`]node:/);
    expect(bundle).not.toMatch(/(?<![.\w])(?:Buffer|process|global)\.|\b(?:setImmediate|require)\(/);
  });
});
