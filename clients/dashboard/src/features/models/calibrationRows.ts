import type { Evaluation } from "./queries";

/** Coverage minus level, one row a level. */
export function coverageRows({ levels, curves }: Evaluation["coverage"]): Record<string, number>[] {
  return levels.map((level, i) => ({
    level,
    ...Object.fromEntries(Object.entries(curves).map(([name, curve]) => [name, (curve[i] ?? NaN) - level])),
  }));
}

/** Galaxies expected in each rank, and where 99 % of the ranks lie if all are equally likely. */
export function rankBand(count: number, ranks: number): { mean: number; low: number; high: number } {
  const mean = count / ranks;
  const spread = 2.576 * Math.sqrt(mean * (1 - 1 / ranks));
  return { mean, low: Math.max(0, mean - spread), high: mean + spread };
}

export function tarpRows(table: Evaluation["tarp"]): { level: number; coverage: number; low: number; high: number }[] {
  if (!table) return [];
  const { levels, coverage, low, high } = table as Record<string, number[]>;
  return (levels ?? []).map((level, i) => ({
    level,
    coverage: (coverage?.[i] ?? NaN) - level,
    low: (low?.[i] ?? NaN) - level,
    high: (high?.[i] ?? NaN) - level,
  }));
}
