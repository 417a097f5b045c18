import { type Answered, type Quantity, effect, onAxis, before } from "./table";

export interface Bin {
  from: number;
  to: number;
  middle: number;
  count: number;
}

export interface Spread {
  low: number;
  middle: number;
  high: number;
  count: number;
}

function at(values: number[], level: number): number {
  const place = level * (values.length - 1);
  const low = Math.floor(place);
  const a = values[low] ?? NaN;
  return a + ((values[low + 1] ?? a) - a) * (place - low);
}

/** The effects of a quantity over the galaxies; those without a value are left out. */
export function effectsOf(rows: Answered[], of: Quantity): number[] {
  return rows.map((row) => effect(row, of)).filter((value) => value !== null);
}

/** Median and central 68 % of galaxies. */
export function spread(values: number[]): Spread | null {
  if (values.length === 0) return null;
  const ordered = values.toSorted((a, b) => a - b);
  return { low: at(ordered, 0.16), middle: at(ordered, 0.5), high: at(ordered, 0.84), count: values.length };
}

/** A histogram of so many bins that its peak is seen and its noise is not. */
export function histogram(values: number[]): Bin[] {
  if (values.length === 0) return [];
  const ordered = values.toSorted((a, b) => a - b);
  let [low, high] = [ordered[0] ?? 0, ordered.at(-1) ?? 0];
  if (!(high - low > 1e-12 * Math.max(Math.abs(low), Math.abs(high), 1e-300))) {
    const pad = Math.max(Math.abs(low) * 0.05, 1e-6);
    [low, high] = [low - pad, high + pad];
  }
  const count = Math.min(40, Math.max(5, Math.ceil(2 * values.length ** (1 / 3))));
  const width = (high - low) / count;
  const bins = Array.from({ length: count }, (_, i) => ({
    from: low + i * width, to: low + (i + 1) * width, middle: low + (i + 0.5) * width, count: 0,
  }));
  for (const value of values) {
    const bin = bins[Math.min(count - 1, Math.max(0, Math.floor((value - low) / width)))];
    if (bin) bin.count += 1;
  }
  return bins;
}

export interface Point {
  x: number;
  y: number;
  id: string;
  flagged: boolean;
}

/** Where the most points are drawn: a browser has no trouble with these. */
const MOST = 2_000;

/** Effect on one quantity against another as it is, evenly thinned where there are very many. */
export function points(rows: Answered[], x: Quantity, y: Quantity): Point[] {
  const each = Math.ceil(rows.length / MOST);
  return rows
    .filter((_, i) => i % each === 0)
    .map((row) => ({ x: onAxis(before(row, x), x), y: effect(row, y), id: row.id, flagged: row.quality.length > 0 }))
    .filter((point): point is Point => point.x !== null && point.y !== null);
}
