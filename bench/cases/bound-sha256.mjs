/**
 * The other bound: SHA-256 over the bytes that one appended entry needs hashed, one thread: the commitment input, the leaf
 * and one tree node. Strings in, hex out, as that is the fastest way in Node.
 *
 * Options: entries.
 */
import { createHash, hash } from "node:crypto";
import { createRows } from "../lib/events.mjs";
import { rate, readOptions, report, seconds } from "../lib/measure.mjs";

const options = readOptions();
const digest =
  hash === undefined
    ? (input) => createHash("sha256").update(input).digest("hex")
    : (input) => hash("sha256", input, "hex");
const inputs = createRows().map((row) => ({
  commitment: `tallystick/v1/event\n${row.salts.toString("latin1").replace(/[^\x20-\x7e]/g, "~")}${row.body}`,
  leaf: `\u0000${row.entry}`,
}));
const node = Buffer.alloc(65, 1);

let sink = 0;
function run(count) {
  for (let index = 0; index < count; index++) {
    const input = inputs[index % inputs.length];
    sink += digest(input.commitment).length + digest(input.leaf).length + digest(node).length;
  }
}

run(20_000);
const started = performance.now();
run(options.entries);
const elapsed = seconds(started);
if (sink !== 64 * 3 * (options.entries + 20_000)) throw new Error("a digest is missing");
report([rate("", options.entries, elapsed)]);
