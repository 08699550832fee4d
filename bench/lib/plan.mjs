/**
 * The steps of one round, in the order in which they run. Neighbours in this list are what is compared with each other, so
 * that both meet the same state of the machine.
 *
 * A step is a child process that prints one JSON answer. `needs` names what must be there (a reason is printed otherwise);
 * `makes` and `uses` name a ledger that one step leaves for others.
 */

const SIZES = { "1k": 1_000, "100k": 100_000, "1m": 1_000_000 };
/**
 * Entries appended before the clock starts, in our cases, the bound and Tessera alike: compilers and caches warm up. With 100,000 to follow it is the
 * window that stands for "at 100k" in the fill of a million.
 */
const WARM_UP = 50_000;
/** The code that one append runs is compiled by then; a rate of the first seconds would be one of the compiler. */
const WARM_UP_ONE = 2_000;
const SCHEMES = ["event", "fields"];
/**
 * How often in a round what takes less than a second is run, by turns with what it is compared with: the speed of a shared processor changes by more than
 * a fifth from one second to the next, and a median of three such seconds says little.
 */
const TURNS = 5;
/** Windows of the fill of 1M entries that stand for "at 100k" and "at 1M". */
const WINDOWS = [
  ["at-100k", 50_000, 150_000],
  ["at-1m", 900_000, 1_000_000],
];

function node(id, file, options, more = {}) {
  return { id, kind: "node", file, options, needs: [], ...more };
}

function tallystick(id, options, more = {}) {
  return node(id, "tallystick.mjs", options, { needs: ["tallystick"], ...more });
}

function python(id, file, options) {
  return { id, kind: "python", file, options, needs: ["python"] };
}

function tessera(id, options) {
  return { id, kind: "tessera", options, needs: ["tessera"] };
}

/** @param {{ full: boolean }} settings */
export function createPlan({ full }) {
  const ones = full ? 10_000 : 2_000;
  const sizes = full ? ["1k", "100k", "1m"] : ["1k", "100k"];
  const largest = full ? "1m" : "100k";
  const steps = [node("processors", "processors.mjs", { samples: 6 })];

  for (const size of sizes) {
    const entries = SIZES[size];
    // 1,000 entries are what a short-lived process appends: it has no time to warm up, so neither side does.
    const warmUp = size === "1k" ? 0 : WARM_UP;
    const fill = { entries, warmUp, windows: size === "1m" ? WINDOWS : [] };
    steps.push(
      node(`bound-sqlite/batch/${size}`, "bound-sqlite.mjs", { mode: "prepared", rowsPerCommit: 1_000, ...fill }),
    );
    for (const scheme of SCHEMES) {
      const id = `tallystick/append-many/${scheme}/${size}`;
      steps.push(tallystick(id, { mode: "append-many", scheme, ...fill }, { makes: `${scheme}-${size}` }));
    }
    if (size === "100k") {
      for (const scheme of SCHEMES) {
        steps.push(
          tallystick(`tallystick/append-concurrent/${scheme}/${size}`, { mode: "append-concurrent", scheme, ...fill }),
        );
      }
      const short = [
        `bound-sqlite/batch/${size}`,
        ...["many", "concurrent"].map((how) => `tallystick/append-${how}/event/${size}`),
      ];
      const turn = steps.filter(({ id }) => short.includes(id)).map(({ makes: _, ...step }) => step);
      for (let i = 1; i < TURNS; i++) steps.push(...turn);
      steps.push(
        tallystick(`tallystick/append-many/event-with-id/${size}`, {
          mode: "append-many",
          scheme: "event",
          ids: true,
          ...fill,
        }),
      );
      steps.push(
        node(`bound-sqlite/multi-row/${size}`, "bound-sqlite.mjs", {
          mode: "multi-row",
          rowsPerCommit: 1_000,
          ...fill,
        }),
      );
      steps.push(tessera("tessera", { entries, warmUp, interval: "100ms", await: "index" }));
      steps.push(tessera("tessera/interval-1s", { entries, warmUp, interval: "1s", await: "index" }));
    }
  }

  steps.push(
    node("bound-sqlite/one", "bound-sqlite.mjs", {
      mode: "prepared",
      rowsPerCommit: 1,
      entries: ones,
      warmUp: WARM_UP_ONE,
    }),
  );
  for (const scheme of SCHEMES) {
    steps.push(
      tallystick(`tallystick/append-one/${scheme}`, { mode: "append-one", scheme, entries: ones, warmUp: WARM_UP_ONE }),
    );
  }
  steps.push(
    python("nexuscone/append-one", "nexuscone_bench.py", {
      mode: "append-one",
      entries: full ? 3_000 : 1_000,
      warmUp: 100,
    }),
  );
  steps.push(
    python("nexuscone/append-concurrent", "nexuscone_bench.py", {
      mode: "append-concurrent",
      entries: full ? 3_000 : 1_000,
      warmUp: 100,
    }),
  );
  steps.push(
    python("signledger/append-one", "signledger_bench.py", { mode: "append-one", entries: ones, warmUp: 100 }),
  );
  steps.push(
    python("signledger/append-one-synced", "signledger_bench.py", {
      mode: "append-one",
      synchronous: "FULL",
      entries: ones,
      warmUp: 100,
    }),
  );
  steps.push(
    python("signledger/append-batch", "signledger_bench.py", { mode: "append-batch", entries: ones, warmUp: 100 }),
  );
  steps.push(
    python("ai-audit-trail/append-one", "ai_audit_trail_bench.py", { mode: "append-one", entries: ones, warmUp: 100 }),
  );
  steps.push(
    python("ai-audit-trail/append-batch", "ai_audit_trail_bench.py", {
      mode: "append-batch",
      entries: 10 * ones,
      warmUp: 0,
    }),
  );

  steps.push(node("bound-sha256", "bound-sha256.mjs", { entries: full ? 1_000_000 : 300_000 }));
  for (const size of sizes.slice(1)) {
    for (const scheme of SCHEMES) {
      steps.push(
        tallystick(`tallystick/verify/${scheme}/${size}`, { mode: "verify", scheme }, { uses: `${scheme}-${size}` }),
      );
    }
  }
  for (const size of full ? ["100k", "1m"] : ["100k"]) {
    for (const mode of ["write", "verify"])
      steps.push(
        node(
          `tallystick/evidence/${mode}/${size}`,
          "evidence.mjs",
          { mode },
          { needs: ["tallystick"], uses: `event-${size}` },
        ),
      );
  }
  steps.push(python("nexuscone/verify", "nexuscone_bench.py", { mode: "verify", entries: 100_000, warmUp: 0 }));
  steps.push(
    python("signledger/verify", "signledger_bench.py", { mode: "verify", entries: full ? 20_000 : 5_000, warmUp: 100 }),
  );
  steps.push(
    python("ai-audit-trail/verify", "ai_audit_trail_bench.py", {
      mode: "verify",
      entries: full ? 20_000 : 5_000,
      warmUp: 100,
    }),
  );

  for (const scheme of SCHEMES) {
    const uses = `${scheme}-${largest}`;
    steps.push(tallystick(`tallystick/open/${scheme}/${largest}`, { mode: "open", scheme }, { uses }));
    steps.push(tallystick(`tallystick/prove/${scheme}/${largest}`, { mode: "prove", scheme, samples: 500 }, { uses }));
    steps.push(
      tallystick(`tallystick/loop-delay/${scheme}`, { mode: "loop-delay", scheme, entries: 10_000, warmUp: WARM_UP }),
    );
  }
  const [all, one] = ["100k", largest].map((size) => ({ uses: `event-${size}`, needs: ["tallystick"] }));
  steps.push(node("tallystick/publish/100k", "publish.mjs", { mode: "all" }, all));
  steps.push(node(`tallystick/publish-one/${largest}`, "publish.mjs", { mode: "one", samples: 300 }, one));
  const witness = (id, options) =>
    steps.push(node(`tallystick/${id}`, "witness.mjs", options, { needs: ["tallystick"] }));
  const fill = { mode: "append", entries: full ? 1_000_000 : 300_000, warmUp: WARM_UP };
  witness("append-evidence/off", { ...fill, evidence: false });
  witness("append-evidence/on", { ...fill, evidence: true });
  witness("witness/receipt", { mode: "receipt", samples: 200 });
  witness("witness/updates", { mode: "updates", logs: 1_000, rounds: full ? 10 : 5, connections: 32 });
  const needs = ["tallystick"];
  steps.push(
    node(
      "tallystick/anchors/append",
      "anchors.mjs",
      { mode: "append", entries: 200_000, turns: full ? 7 : 3 },
      { needs },
    ),
    node("tallystick/anchors/verify-rfc3161", "anchors.mjs", { mode: "verify", samples: 500 }, { needs }),
  );
  steps.push(
    node("tallystick/browser-bundle", "browser-bundle.mjs", {}, { needs: ["tallystick"], uses: `event-${largest}` }),
  );
  return steps;
}

/**
 * Steps whose id is, or lies under, one of the names (`tallystick/verify`, `verify` and `nexuscone` all work), and those
 * that make what they use.
 */
export function selectSteps(steps, names) {
  if (names.length === 0) return steps;
  const wanted = new Set();
  for (const name of names) {
    const found = steps.filter((step) => `/${step.id}/`.includes(`/${name}/`));
    if (found.length === 0) throw new RangeError(`no case is called ${name}; --list shows them`);
    for (const step of found) wanted.add(step.id);
  }
  const used = new Set(steps.filter((step) => wanted.has(step.id)).map((step) => step.uses));
  return steps.filter((step) => wanted.has(step.id) || (step.makes !== undefined && used.has(step.makes)));
}
