/** Marginal distributions of draws, on the scale on which a variable is additive. */

export interface Marginals {
  low: number;
  high: number;
  before: number[];
  after: number[];
  /** Whether all draws of the second world agree, as they do where it was set. */
  point: number | null;
}

const POINTS = 48;

export function onScale(values: ArrayLike<number>, logarithmic: boolean): number[] {
  return Array.from(values, (v) => (logarithmic ? Math.log10(Math.max(v, 1e-30)) : v));
}

export function quantile(sorted: readonly number[], level: number): number {
  const place = level * (sorted.length - 1);
  const low = Math.floor(place);
  const a = sorted[low] ?? NaN;
  const b = sorted[Math.min(low + 1, sorted.length - 1)] ?? a;
  return a + (b - a) * (place - low);
}

/** Silverman's width, robust against a few stray draws. */
function bandwidth(values: number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const mean = values.reduce((sum, v) => sum + v, 0) / values.length;
  const deviation = Math.sqrt(values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / values.length);
  const middle = (quantile(sorted, 0.75) - quantile(sorted, 0.25)) / 1.34;
  const spread = middle > 0 ? Math.min(deviation, middle) : deviation;
  return 0.9 * spread * values.length ** -0.2;
}

function density(values: number[], width: number, low: number, high: number): number[] {
  const step = (high - low) / (POINTS - 1);
  const density = Array.from({ length: POINTS }, () => 0);
  const scale = 1 / (width * values.length);
  for (const value of values) {
    // Further than four widths away nothing is seen of a draw.
    const first = Math.max(Math.ceil((value - 4 * width - low) / step), 0);
    const last = Math.min(Math.floor((value + 4 * width - low) / step), POINTS - 1);
    for (let i = first; i <= last; i++) {
      const away = (low + i * step - value) / width;
      density[i] = (density[i] as number) + scale * Math.exp(-0.5 * away * away);
    }
  }
  return density;
}

/** Densities of both worlds on one axis, the higher peak scaled to 1. */
export function marginals(before: number[], after: number[]): Marginals | null {
  if (before.length < 2 || after.length < 2) return null;
  const all = [...before, ...after];
  let low = Math.min(...all);
  let high = Math.max(...all);
  if (!(high > low)) return null;
  const pad = 0.08 * (high - low);
  low -= pad;
  high += pad;
  const least = (high - low) / 80;
  const first = density(before, Math.max(bandwidth(before), least), low, high);
  const width = bandwidth(after);
  const point = width < least / 100 ? (after[0] ?? null) : null;
  const second = point === null ? density(after, Math.max(width, least), low, high) : [];
  const peak = Math.max(...first, ...second);
  return { low, high, before: first.map((d) => d / peak), after: second.map((d) => d / peak), point };
}

/** Median and central 68 % of the paired change: the same draw in both worlds. */
export function pairedChange(before: number[], after: number[]): { low: number; middle: number; high: number } {
  const sorted = after.map((v, i) => v - (before[i] ?? NaN)).toSorted((a, b) => a - b);
  return { low: quantile(sorted, 0.16), middle: quantile(sorted, 0.5), high: quantile(sorted, 0.84) };
}
