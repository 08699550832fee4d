/** What happens to a ledger that somebody tampers with, measured: every attack, and what each kind of evidence noticed. */
export type { AttackerId } from "./attacks.ts";
export type { Notice } from "./evidence.ts";
export { type AttackTableFormat, formatAttackTable } from "./format-table.ts";
export { type AttackColumn, type AttackOptions, type AttackRow, type AttackTable, runAttacks } from "./run-attacks.ts";
export { type TamperedExport, tamperedExports } from "./tampered-exports.ts";
export type { Positions } from "./victim.ts";
