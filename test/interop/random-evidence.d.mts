export interface Random {
  /** Integer of 0..n−1. */
  below(n: number): number;
  pick<T>(items: readonly T[]): T;
  chance(p: number): boolean;
  some<T>(items: readonly T[], p?: number): T[];
}

export function createRandom(seed: number): Random;
export function randomExport(random: Random): string;
export function flipBit(random: Random, bytes: Uint8Array): Uint8Array;
export function damage(random: Random, text: string): string;
