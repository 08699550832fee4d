/**
 * Anchors.
 *
 * `verify`: time-stamp tokens from their bytes to the pinned root, as `verify` does it for each anchor: the tokens of OpenSSL in
 * vectors/anchors.json; the median of the dearest.
 *
 * `append`: the rate of `appendMany` with an OpenTimestamps anchor every half second (the default is an hour), as a share of the rate
 * without. Both take turns in one process, so that whatever else the machine does weighs on both; the median of the turns' ratios.
 *
 * Options: directory, root, mode; samples (verify); entries, turns (append).
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath, pathToFileURL } from "node:url";
import { createEvents, POOL_SIZE } from "../lib/events.mjs";
import { amount, median, readOptions, report } from "../lib/measure.mjs";

const BATCH = 1_000;
const ANCHOR_EVERY_MS = 500;
const options = readOptions();
const load = (name) => import(pathToFileURL(join(options.root, "dist", name)).href);

async function verify() {
  const { parseCertificateFile, verifyTimestamp } = await load("core/index.js");
  const { timestamps } = JSON.parse(readFileSync(join(options.root, "vectors/anchors.json"), "utf8"));
  const bytesOf = (text, encoding) => Uint8Array.from(Buffer.from(text, encoding));
  const medians = [];
  for (const { title, proof, digest, roots } of timestamps.filter(({ code }) => code === undefined)) {
    const bytes = bytesOf(proof, "base64");
    const pins = roots.flatMap((root) => parseCertificateFile(bytesOf(root, "base64")));
    const times = [];
    // The first ones compile.
    for (let k = -50; k < options.samples; k++) {
      const started = performance.now();
      const { notAfterMs } = await verifyTimestamp(bytes, { digest: bytesOf(digest, "hex"), roots: pins });
      if (!(notAfterMs > 0)) throw new Error(`${title}: no bound`);
      if (k >= 0) times.push(performance.now() - started);
    }
    medians.push({ title, ms: median(times) });
  }
  if (medians.length === 0) throw new Error("there is no token to verify");
  report([amount("", Math.max(...medians.map(({ ms }) => ms)), "ms")], { medians });
}

async function append() {
  const { Ledger } = await load("index.js");
  const { openTimestampsAnchor } = await load("anchors/index.js");
  const child = spawn(process.execPath, [fileURLToPath(new URL("calendar.mjs", import.meta.url))], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  const [url] = await once(createInterface({ input: child.stdout }), "line");
  const events = createEvents(Math.min(POOL_SIZE, options.entries));
  let opened = 0;
  const fill = async (settings) => {
    const ledger = await Ledger.open(join(options.directory, `${opened++}.db`), settings);
    // The first ones compile, and load what asks.
    for (let k = 0; k < 5; k++) await ledger.appendMany(events.slice(0, BATCH));
    if (settings.anchors !== undefined) await ledger.anchor();
    const started = performance.now();
    for (let done = 0; done < options.entries; done += BATCH) {
      const first = done % events.length;
      await ledger.appendMany(events.slice(first, first + BATCH));
    }
    const elapsed = performance.now() - started;
    let anchors = 0;
    for await (const _ of ledger.anchors()) anchors += 1;
    await ledger.close();
    return { elapsed, anchors };
  };
  const anchored = () =>
    fill({ anchors: [openTimestampsAnchor({ calendars: [url] })], limits: { anchorEveryMs: ANCHOR_EVERY_MS } });
  await fill({});
  const shares = [];
  let anchors = 0;
  for (let turn = 0; turn < options.turns; turn++) {
    const without = await fill({});
    const ours = await anchored();
    shares.push(without.elapsed / ours.elapsed);
    anchors += ours.anchors;
  }
  child.stdin.end();
  if (anchors < 2 * options.turns) throw new Error(`anchored ${anchors} times in ${options.turns} turns`);
  report([{ name: "", unit: "ratio", better: "higher", value: median(shares) }], { anchors, shares });
}

const MODES = { verify, append };
await MODES[options.mode]();
