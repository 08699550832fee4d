/**
 * The machine itself: how fast one thread writes JSON, in samples of 100 ms, and how much more all processors do at once. On a shared
 * machine neither stays as it is; what uses two threads depends on both.
 *
 * Options: samples.
 */
import { availableParallelism } from "node:os";
import { isMainThread, parentPort, Worker } from "node:worker_threads";
import { createEvents } from "../lib/events.mjs";
import { median, readOptions, report } from "../lib/measure.mjs";

const SAMPLE_MS = 100;

/** Events written in one sample, per second. */
function work(events) {
  const started = performance.now();
  let count = 0;
  while (performance.now() - started < SAMPLE_MS) {
    for (let i = 0; i < 200; i++) JSON.stringify(events[(count + i) % events.length]);
    count += 200;
  }
  return (count * 1000) / (performance.now() - started);
}

function serve() {
  const events = createEvents();
  parentPort.on("message", () => parentPort.postMessage(work(events)));
}

function ask(worker) {
  return new Promise((resolve) => {
    worker.once("message", resolve);
    worker.postMessage(null);
  });
}

async function measure({ samples }) {
  const workers = Array.from({ length: availableParallelism() }, () => new Worker(new URL(import.meta.url)));
  for (const worker of workers) await ask(worker);
  const alone = [];
  const together = [];
  for (let i = 0; i < samples; i++) {
    const rates = [];
    for (const worker of workers) rates.push(await ask(worker));
    alone.push(...rates);
    const all = await Promise.all(workers.map(ask));
    together.push(
      all.reduce((sum, rate) => sum + rate, 0) / (rates.reduce((sum, rate) => sum + rate, 0) / rates.length),
    );
  }
  for (const worker of workers) await worker.terminate();
  const speed = (name, value) => ({ name, unit: "texts/s", better: "higher", value });
  report([
    speed("one-thread", median(alone)),
    speed("one-thread/slowest", Math.min(...alone)),
    speed("one-thread/fastest", Math.max(...alone)),
    { name: "all-threads", unit: "× one", better: "higher", value: median(together) },
  ]);
}

if (isMainThread) await measure(readOptions());
else serve();
