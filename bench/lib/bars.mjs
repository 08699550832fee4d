/** What is compared with what, and what must be reached. */
import { ratio, strongest } from "./statistics.mjs";

const NEXUSCONE_APPEND = ["nexuscone/append-one", "nexuscone/append-concurrent"];
const SIGNLEDGER_APPEND = ["signledger/append-one-synced"];
/**
 * Tessera releases an entry when a checkpoint covers it, so the rate that stands against it ends with a checkpoint of ours
 * that covers the last entry. Its rate depends on its checkpoint interval: 1 s is what its own server takes, 100 ms the
 * least that its driver allows.
 */
const TESSERA = [
  ["1 s checkpoints", "tessera/interval-1s/published"],
  ["100 ms checkpoints", "tessera/published"],
];

/** Ratios written beside each measure of ours: [ids that match, what they are compared with]. */
const COMPARISONS = [
  [
    /^tallystick\/append-(?:many|concurrent)\/[^/]+\/([^/]+)$/,
    ([, size]) => ({
      bound: [`bound-sqlite/batch/${size}`],
      "bound, multi-row": [`bound-sqlite/multi-row/${size}`],
      nexuscone: NEXUSCONE_APPEND,
      signledger: SIGNLEDGER_APPEND,
    }),
  ],
  [
    /^tallystick\/append-(?:many|concurrent)\/[^/]+\/100k\/checkpointed$/,
    () => Object.fromEntries(TESSERA.map(([name, id]) => [`tessera, ${name}`, [id]])),
  ],
  [
    /^tallystick\/append-one\/[^/]+$/,
    () => ({ bound: ["bound-sqlite/one"], nexuscone: ["nexuscone/append-one"], signledger: SIGNLEDGER_APPEND }),
  ],
  [
    /^tallystick\/verify\/[^/]+\/[^/]+$/,
    () => ({
      bound: ["bound-sha256"],
      nexuscone: ["nexuscone/verify"],
      signledger: ["signledger/verify"],
      "ai-audit-trail": ["ai-audit-trail/verify"],
    }),
  ],
];

/** @param {Map<string, object>} measures by id */
export function ratiosOf(measure, measures) {
  const ratios = {};
  for (const [pattern, compare] of COMPARISONS) {
    const match = pattern.exec(measure.id);
    if (!match) continue;
    for (const [name, ids] of Object.entries(compare(match))) {
      const found = strongest(measures, ids, measure);
      if (found) ratios[name] = { id: found.id, ratio: found.ratio };
    }
  }
  return ratios;
}

function atLeast(what, ours, against, bar) {
  return { what, ours, against, bar, direction: "at least" };
}

function noLessThan(what, ours, bar, unit) {
  return { what, ours, bar, unit, direction: "at least" };
}

function atMost(what, ours, bar, unit) {
  return { what, ours, bar, unit, direction: "at most" };
}

export const BARS = [];
for (const scheme of ["event", "fields"]) {
  for (const [call, id] of [
    ["appendMany of 1,000", "append-many"],
    ["1,000 concurrent append", "append-concurrent"],
  ]) {
    const ours = `tallystick/${id}/${scheme}/100k`;
    const published = `${ours}/checkpointed`;
    BARS.push(atLeast(`${call}, ${scheme}, 100k: share of raw SQLite`, ours, ["bound-sqlite/batch/100k"], 0.6));
    BARS.push(atLeast(`${call}, ${scheme}, 100k: times nexuscone`, ours, NEXUSCONE_APPEND, 20));
    for (const [name, id] of TESSERA) {
      BARS.push(atLeast(`${call}, ${scheme}, 100k: times Tessera POSIX published, ${name}`, published, [id], 1.5));
    }
  }
  const one = `tallystick/append-one/${scheme}`;
  BARS.push(atLeast(`one awaited append, ${scheme}: share of raw one-row commits`, one, ["bound-sqlite/one"], 0.7));
  BARS.push(atLeast(`one awaited append, ${scheme}: times nexuscone`, one, ["nexuscone/append-one"], 3));
  const many = `tallystick/append-many/${scheme}/1m`;
  BARS.push(atLeast(`append rate at 1M against 100k, ${scheme}`, `${many}/at-1m`, [`${many}/at-100k`], 0.9));
  const verify = `tallystick/verify/${scheme}`;
  BARS.push(
    atLeast(`full verify of 1M, ${scheme}: times nexuscone, per entry`, `${verify}/1m`, ["nexuscone/verify"], 2.5),
  );
  BARS.push(atMost(`peak memory of verifying 1M, ${scheme}`, `${verify}/1m/peak-memory`, 300, "MB"));
  BARS.push({
    ...atMost(`its growth from 100k to 1M, ${scheme}`, `${verify}/1m/peak-memory`, 1.25, "times"),
    against: [`${verify}/100k/peak-memory`],
  });
  BARS.push(atMost(`prove one entry in 1M, ${scheme}, median`, `tallystick/prove/${scheme}/1m/prove`, 1, "ms"));
  BARS.push(atMost(`verify that proof, ${scheme}, median`, `tallystick/prove/${scheme}/1m/verify`, 1, "ms"));
  BARS.push(atMost(`open a ledger of 1M, ${scheme}`, `tallystick/open/${scheme}/1m`, 150, "ms"));
}
BARS.push(
  atLeast(
    "scheme fields against event, appendMany, 100k (at 0.7 it becomes the default)",
    "tallystick/append-many/fields/100k",
    ["tallystick/append-many/event/100k"],
    0.7,
  ),
);
BARS.push({
  what: "appendMany, event, 200k, anchored twice a second: share of the same without",
  ours: "tallystick/anchors/append",
  bar: 0.9,
  direction: "at least",
});
BARS.push(atMost("verify an evidence package of 100k", "tallystick/evidence/verify/100k", 2, "s"));
for (const mode of ["write", "verify"]) {
  const memory = `tallystick/evidence/${mode}/1m/peak-memory`;
  BARS.push(atMost(`peak memory: ${mode} an evidence package of 1M`, memory, 400, "MB"));
}
BARS.push(atMost("verify an RFC 3161 time stamp, median", "tallystick/anchors/verify-rfc3161", 3, "ms"));
BARS.push(
  atMost("browser build of core: imports of node: modules", "tallystick/browser-bundle/node-imports", 0, "imports"),
);

BARS.push(
  noLessThan("publishing a ledger, 100k", "tallystick/publish/100k", 50_000, "entries/s"),
  atMost("publishing one more entry of 1M, median", "tallystick/publish-one/1m", 20, "ms"),
  // Entry bundle, and a tile of each of the three levels at most.
  atMost("objects that it writes, the most", "tallystick/publish-one/1m/objects", 4, "objects"),
  atLeast(
    "append rate with checkpoints, witnesses and publication each second, against none",
    "tallystick/append-evidence/on",
    ["tallystick/append-evidence/off"],
    0.8,
  ),
  atMost("witnessed receipt beyond the durable append, 3 witnesses, median", "tallystick/witness/receipt", 20, "ms"),
  noLessThan("checkpoint updates of one witness, 1,000 logs", "tallystick/witness/updates", 1_000, "updates/s"),
);

/** Every bar with its figure; `met` is undefined where something was not measured. */
export function judge(measures) {
  return BARS.map((bar) => {
    const ours = measures.get(bar.ours);
    const found = bar.against === undefined ? undefined : strongest(measures, bar.against, ours);
    const value =
      ours === undefined
        ? undefined
        : bar.against === undefined
          ? ours.median
          : found && ratio(ours, measures.get(found.id));
    const met = value === undefined ? undefined : bar.direction === "at least" ? value >= bar.bar : value <= bar.bar;
    return {
      what: bar.what,
      ours: bar.ours,
      ...(found && { against: found.id }),
      direction: bar.direction,
      bar: bar.bar,
      unit: bar.unit ?? "ratio",
      value,
      met,
    };
  });
}
