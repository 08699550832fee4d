// Compares the built library with verify.py on random proofs and packages: compare-proofs.mjs tokens|ots|packages|published SEED COUNT
// SHOW=n prints n differences, FULL=1 their examples whole.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { isDeepStrictEqual } from "node:util";
import { comparable, judgeOf } from "./judge-proofs.mjs";

const [kind, seed, count] = process.argv.slice(2);
const core = await import("../../dist/core/index.js");
const { verify } = await import("../../dist/index.js");
const judge = judgeOf(core, verify)[kind];
const script = fileURLToPath(new URL("random_proofs.py", import.meta.url));
const child = spawn("python3", [script, kind, seed, count], { stdio: ["ignore", "pipe", "inherit"] });
const answers = new Map();
let compared = 0;
let differing = 0;
for await (const line of createInterface({ input: child.stdout })) {
  const { answer, ...example } = JSON.parse(line);
  const own = await judge(example);
  compared += 1;
  const name = answer.code ?? (answer.exit === undefined ? "holds" : `exit ${answer.exit}`);
  answers.set(name, (answers.get(name) ?? 0) + 1);
  if (isDeepStrictEqual(comparable(own, kind), comparable(answer, kind))) continue;
  differing += 1;
  if (differing > Number(process.env.SHOW ?? 20)) continue;
  console.log(JSON.stringify({ library: own, verifyPy: answer }));
  console.log(JSON.stringify(example).slice(0, process.env.FULL ? undefined : 300));
}
console.log(`${compared} ${kind} compared, ${differing} differ: ${JSON.stringify(Object.fromEntries(answers))}`);
process.exitCode = differing > 0 || compared !== Number(count) ? 1 : 0;
