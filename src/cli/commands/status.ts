import type { LedgerStatus } from "../../ledger/status.ts";
import { type Context, ledgerAnd, withLedger } from "../context.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import { count, counted, type Style, safeText } from "../terminal-text.ts";

/** Size, last checkpoint, witnesses and delays. The ledger is only read, and nobody is asked. Exit 3 when something is overdue. */
export async function run(context: Context, positionals: readonly string[]): Promise<ExitCode> {
  const [location = ""] = ledgerAnd(positionals);
  const { out } = context;
  const { style } = out;
  const status = await withLedger(context, location, { mode: "read" }, (ledger) => ledger.status());
  await out.object("status", {
    ...status,
    witnesses: status.witnesses.map((witness) => ({ ...witness, cosignedAt: timeOf(witness.cosignedAt) })),
  });
  const row = (name: string, value: string) => out.line(`  ${style.dim(name.padEnd(12))}  ${value}`);
  await out.line(style.bold(safeText(status.origin)));
  await row("entries", count(status.size));
  await row("checkpoint", reachOf(status.checkpointed, status.unsignedMs, status, style));
  if (status.witnessed === null) await row("witnesses", style.dim("none: nobody outside holds a head of this ledger"));
  else await row("witnesses", reachOf(status.witnessed, status.unwitnessedMs, status, style));
  for (const { name, size, cosignedAt, problem } of status.witnesses) {
    const when = timeOf(cosignedAt);
    const facts = [
      size === 0 ? "nothing cosigned yet" : `cosigned size ${count(size)}`,
      ...(when === null ? [] : [when]),
      ...(problem === null ? [] : [problem]),
    ];
    await row("", `${safeText(name)}: ${safeText(facts.join(", "))}`);
  }
  if (status.anchored !== null) {
    // The events of the last anchors come after it and are not anchored for themselves.
    const isAtRest = status.anchored > 0 && status.unanchoredMs === 0;
    const behind = reachOf(status.anchored, status.unanchoredMs, status, style);
    await row("anchors", isAtRest ? `size ${count(status.anchored)}` : behind);
    if (status.pendingUpgrades > 0)
      await row(
        "",
        `${counted(status.pendingUpgrades, "proof waits", "proofs wait")} for an upgrade: tallystick anchors --upgrade`,
      );
    for (const { kind, name, problem } of status.anchors)
      if (problem !== null) await row("", `${kind} ${safeText(name)}: ${safeText(problem)}`);
  }
  if (status.problem !== null) await row("problem", style.red(safeText(status.problem)));
  await out.line(status.overdue ? style.yellow("? overdue") : style.green("✓ healthy"));
  return status.overdue ? EXIT.inconclusive : EXIT.ok;
}

/** How far signatures of one kind reach, and for how long the next entry has waited for one. */
function reachOf(size: number, waitingMs: number, status: LedgerStatus, style: Style): string {
  const behind = status.size - size;
  const reach = size === 0 ? "none yet" : `size ${count(size)}`;
  if (behind === 0) return reach;
  const text = `, ${counted(behind, "entry", "entries")} behind, for ${durationOf(waitingMs)}`;
  return `${reach}${status.overdue ? style.yellow(text) : text}`;
}

const UNITS: readonly (readonly [ms: number, name: string])[] = [
  [86_400_000, "d"],
  [3_600_000, "h"],
  [60_000, "min"],
  [1_000, "s"],
];

function durationOf(ms: number): string {
  const unit = UNITS.find(([length]) => ms >= length);
  return unit === undefined ? "less than 1 s" : `${count(Math.floor(ms / unit[0]))} ${unit[1]}`;
}

function timeOf(ms: number | null): string | null {
  return ms === null ? null : new Date(ms).toISOString();
}
