import { describe, expect, it } from "vitest";
import { BARS } from "./bars.mjs";
import { createEvents, createRows, EVENT_BYTES } from "./events.mjs";
import { createPlan, selectSteps } from "./plan.mjs";
import { createResult, formatMarkdown } from "./report.mjs";
import { ratio, strongest } from "./statistics.mjs";

function measure(id, runs) {
  return { id, unit: "entries/s", better: "higher", runs, median: [...runs].sort((a, b) => a - b)[runs.length >> 1] };
}

describe("events", () => {
  it("have 300 canonical bytes, differ from each other and come again from the same seed", () => {
    const events = createEvents(500, 7);
    for (const event of events) expect(JSON.stringify(event)).toHaveLength(EVENT_BYTES);
    expect(new Set(events.map((event) => JSON.stringify(event))).size).toBe(500);
    expect(createEvents(500, 7)).toEqual(events);
    expect(createEvents(500, 8)).not.toEqual(events);
  });

  it("are the bodies of the rows, with sorted members", () => {
    const [event] = createEvents(1, 7);
    const [row] = createRows(1, 7);
    expect(row.body).toHaveLength(EVENT_BYTES);
    expect(JSON.parse(row.body)).toEqual(event);
    expect(Object.keys(JSON.parse(row.body))).toEqual(Object.keys(event).sort());
    expect(row.salts).toHaveLength(16);
  });
});

describe("ratios", () => {
  it("are the median of the rounds' ratios, so that a slow round weighs on both sides", () => {
    expect(ratio(measure("a", [10, 1, 10]), measure("b", [20, 2, 20]))).toBe(0.5);
    expect(ratio(measure("a", [10, 1, 10]), measure("b", [10, 10, 10]))).toBe(1);
  });

  it("fall back to the medians when a side missed a round, and are absent without one", () => {
    expect(ratio(measure("a", [10, 30, 20]), measure("b", [10, 10]))).toBe(2);
    expect(ratio(measure("a", [1]), undefined)).toBeUndefined();
  });

  it("judge a peer by the best that it can do", () => {
    const measures = new Map(["one", "two"].map((id, k) => [id, measure(id, [10 * (k + 1)])]));
    expect(strongest(measures, ["one", "two", "missing"], measure("ours", [40]))).toEqual({ id: "two", ratio: 2 });
  });
});

describe("the plan", () => {
  /** What a step with this id is known to report beside itself. */
  const ids = new Set(createPlan({ full: true }).map((step) => step.id));
  const stepOf = (id) => {
    const parts = id.split("/");
    while (parts.length > 0 && !ids.has(parts.join("/"))) parts.pop();
    return parts.join("/");
  };

  it("has a step for every figure that a bar needs", () => {
    for (const { ours, against = [] } of BARS) {
      for (const id of [ours, ...against]) expect(stepOf(id), id).not.toBe("");
    }
  });

  it("runs what is short by turns with what it is compared with", () => {
    const steps = createPlan({ full: true }).map(({ id }) => id);
    const short = [
      "bound-sqlite/batch/100k",
      "tallystick/append-many/event/100k",
      "tallystick/append-concurrent/event/100k",
    ];
    const turns = steps.filter((id) => short.includes(id));
    expect(turns).toHaveLength(15);
    for (let i = 0; i < turns.length; i += 3) expect(turns.slice(i, i + 3)).toEqual(short);
    const makers = createPlan({ full: true }).flatMap(({ makes }) => makes ?? []);
    expect(new Set(makers).size).toBe(makers.length);
  });

  it("adds what a selected step uses, and refuses an unknown name", () => {
    const plan = createPlan({ full: false });
    const selected = selectSteps(plan, ["tallystick/verify/event"]).map((step) => step.id);
    expect(selected).toEqual(["tallystick/append-many/event/100k", "tallystick/verify/event/100k"]);
    expect(selectSteps(plan, ["nexuscone"])).toHaveLength(3);
    expect(() => selectSteps(plan, ["nexus"])).toThrow(new RangeError("no case is called nexus; --list shows them"));
  });
});

describe("the result", () => {
  const collected = new Map([
    ["bound-sqlite/batch/100k", { unit: "entries/s", better: "higher", runs: [200, 100, 200] }],
    ["tallystick/append-many/event/100k", { unit: "entries/s", better: "higher", runs: [100, 70, 110] }],
  ]);
  const about = {
    date: "2026-01-02",
    command: "node bench/run.mjs",
    rounds: 3,
    seconds: 1,
    provisional: ["a quick run"],
    machine: { cpu: "c", cpus: 2, memoryGb: 4, os: "o", fileSystem: "f", busyBetweenSteps: 0 },
    versions: { node: "v20" },
    skipped: [{ id: "tessera", reason: "go is not installed" }],
  };

  it("judges what was measured, leaves open what was not, and names what was skipped", () => {
    const result = createResult({ collected, ...about });
    const bar = result.bars.find((found) => found.what === "appendMany of 1,000, event, 100k: share of raw SQLite");
    expect(bar).toMatchObject({ value: 0.55, bar: 0.6, met: false });
    expect(result.bars.filter((found) => found.met === undefined).length).toBe(result.bars.length - 1);
    expect(result.measures[1].ratios.bound).toEqual({ id: "bound-sqlite/batch/100k", ratio: 0.55 });
    const page = formatMarkdown(result);
    expect(page).toContain("| 0.55 × | ≥ 0.6 | **no** |");
    expect(page).toContain("**Provisional:** a quick run.");
    expect(page).toContain("- `tessera`: go is not installed");
  });
});
