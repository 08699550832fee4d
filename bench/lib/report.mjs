/** The answer of a run: plain data for machines, and one Markdown page for people. */
import { judge, ratiosOf } from "./bars.mjs";
import { median } from "./statistics.mjs";

/** @param {Map<string, { unit: string, better: string, runs: number[] }>} collected */
export function createResult({ collected, ...about }) {
  const measures = new Map();
  for (const [id, { unit, better, runs }] of collected) {
    measures.set(id, { id, unit, better, runs, median: median(runs), min: Math.min(...runs), max: Math.max(...runs) });
  }
  for (const measure of measures.values()) measure.ratios = ratiosOf(measure, measures);
  return { format: "tallystick/bench/v1", ...about, bars: judge(measures), measures: [...measures.values()] };
}

export function figure(value) {
  if (value === undefined) return "—";
  if (Math.abs(value) >= 1_000) return Math.round(value).toLocaleString("en-US");
  if (Math.abs(value) >= 100) return value.toFixed(0);
  if (Math.abs(value) >= 10) return value.toFixed(1);
  return value === 0 ? "0" : value.toPrecision(3).replace(/\.?0+$/, "");
}

function table(head, rows) {
  return [head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
}

const MET = new Map([
  [true, "yes"],
  [false, "**no**"],
  [undefined, "not measured"],
]);

export function formatMarkdown(result) {
  const { machine, versions } = result;
  const measures = new Map(result.measures.map((measure) => [measure.id, measure]));
  const bars = result.bars.map((bar) => [
    bar.what,
    figure(measures.get(bar.ours)?.median),
    bar.against === undefined ? "" : `${figure(measures.get(bar.against)?.median)} (${bar.against})`,
    bar.value === undefined
      ? "—"
      : `${figure(bar.value)}${bar.unit === "ratio" || bar.unit === "times" ? " ×" : ` ${bar.unit}`}`,
    `${bar.direction === "at least" ? "≥" : "≤"} ${bar.bar}`,
    MET.get(bar.met),
  ]);
  const rows = result.measures.map((measure) => [
    `\`${measure.id}\``,
    figure(measure.median),
    measure.runs.length > 1 ? `${figure(measure.min)} – ${figure(measure.max)}` : "",
    measure.unit,
    Object.entries(measure.ratios)
      .map(([name, found]) => `${name} ${figure(found.ratio)}`)
      .join(" · "),
  ]);
  const sections = [
    `# Benchmark of ${result.date}`,
    [
      `\`${result.command}\`, ${result.rounds} ${result.rounds === 1 ? "round" : "rounds"}, all cases interleaved, ${Math.round(result.seconds)} s.`,
      `Figures are medians over the runs, of which short cases have several a round; a ratio is the median of the ratios of runs that followed one another, where both sides have as many, else that of the medians.`,
    ].join(" "),
    [
      `Machine: ${machine.cpu}, ${machine.cpus} CPUs, ${machine.memoryGb} GB, ${machine.os}, ${machine.fileSystem}.`,
      `Other programs used ${(100 * machine.busyBetweenSteps).toFixed(1)} % of the processors between the steps.`,
      `Versions: ${Object.entries(versions)
        .map(([name, version]) => `${name} ${version}`)
        .join(", ")}.`,
    ].join(" "),
    ...(result.provisional.length > 0 ? [`**Provisional:** ${result.provisional.join("; ")}.`] : []),
    "## Bars",
    table(["what", "ours", "against", "reached", "bar", "met"], bars),
    "## All measures",
    table(["measure", "median", "lowest – highest", "unit", "ratio to"], rows),
  ];
  if (result.skipped.length > 0) {
    sections.push("## Skipped", result.skipped.map(({ id, reason }) => `- \`${id}\`: ${reason}`).join("\n"));
  }
  return `${sections.join("\n\n")}\n`;
}
