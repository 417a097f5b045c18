/**
 * Paths of spectra for uPlot, where 6000 pixels meet some 800 columns of a screen.
 *
 * uPlot cuts lines at bad pixels and bands at their lower edge by clipping, which costs more than
 * all strokes together where no graphics card helps. Here a line is not begun over a bad pixel,
 * and a band is one polygon. What is bad is NaN.
 */
import type uPlot from "uplot";

/** Values in the columns of a screen: where they enter and leave it, how far they reach in it, in whole pixels. */
export interface Columns {
  count: number;
  x: Int32Array;
  enter: Int32Array;
  leave: Int32Array;
  top: Int32Array;
  bottom: Int32Array;
  /** 1 where nothing but bad pixels lies between a column and the one before. */
  apart: Uint8Array;
}

/** From values to pixels of the screen. */
export interface Place {
  left: number;
  perX: number;
  minX: number;
  /** Where the largest value of the axis stands. */
  above: number;
  perY: number;
  maxY: number;
}

/** Further off than any screen, in pixels. */
const FAR = 1e5;

type Values = ArrayLike<number | null | undefined>;

/** Values from one place to another, column by column. */
export function columns(xs: ArrayLike<number>, ys: Values, from: number, to: number, place: Place): Columns {
  const most = Math.max(to - from + 1, 0);
  const [x, enter, leave, top, bottom] = Array.from({ length: 5 }, () => new Int32Array(most)) as [Int32Array, Int32Array, Int32Array, Int32Array, Int32Array];
  const apart = new Uint8Array(most);
  const { left, perX, minX, above, perY, maxY } = place;
  let at = -1;
  let gap = 1;
  for (let i = from; i <= to; i++) {
    const value = ys[i] as number;
    // Neither null nor NaN is larger or smaller than anything.
    if (value === null || !(value >= -Infinity)) {
      gap = 1;
      continue;
    }
    const column = Math.round(left + ((xs[i] as number) - minX) * perX);
    // Strong lines may lead far beyond the figure.
    const y = Math.round(Math.min(Math.max(above + (maxY - value) * perY, -FAR), FAR));
    // Between neighbouring columns nothing can be missing that would be seen.
    if (at >= 0 && column - (x[at] as number) <= 1) gap = 0;
    if (at >= 0 && x[at] === column) {
      leave[at] = y;
      if (y < (top[at] as number)) top[at] = y;
      else if (y > (bottom[at] as number)) bottom[at] = y;
      continue;
    }
    at++;
    x[at] = column;
    enter[at] = leave[at] = top[at] = bottom[at] = y;
    apart[at] = gap;
    gap = 0;
  }
  return { count: at + 1, x, enter, leave, top, bottom, apart };
}

/** What is needed of a path. */
export type Pen = Pick<Path2D, "moveTo" | "lineTo" | "closePath">;

/** Draws a line: an upright stroke in every column that the values move in, and what joins them. */
export function drawLine({ count, x, enter, leave, top, bottom, apart }: Columns, pen: Pen): void {
  let drawn = false;
  for (let i = 0; i < count; i++) {
    const [here, y] = [x[i] as number, enter[i] as number];
    if (apart[i] === 1) drawn = false;
    else {
      const before = leave[i - 1] as number;
      const middle = (before + y) / 2;
      const within = (k: number) => top[k] !== bottom[k] && (top[k] as number) <= middle && middle <= (bottom[k] as number);
      // Between neighbours whose upright strokes cover it a joint is not seen.
      if (here - (x[i - 1] as number) > 1 || !within(i - 1) || !within(i)) {
        if (!drawn) pen.moveTo(x[i - 1] as number, before);
        pen.lineTo(here, y);
        drawn = true;
      } else drawn = false;
    }
    if (top[i] === bottom[i]) continue;
    pen.moveTo(here, top[i] as number);
    pen.lineTo(here, bottom[i] as number);
    drawn = false;
  }
}

/** Draws what lies between an upper and a lower edge whose bad pixels are the same. */
export function drawBand(upper: Columns, lower: Columns, pen: Pen): void {
  const { count, x, apart } = upper;
  for (let start = 0, end = 0; start < count; start = end) {
    for (end = start + 1; end < count && apart[end] === 0; end++);
    pen.moveTo(x[start] as number, upper.enter[start] as number);
    for (let i = start; i < end; i++) {
      if (i > start) pen.lineTo(x[i] as number, upper.enter[i] as number);
      if (upper.leave[i] !== upper.enter[i]) pen.lineTo(x[i] as number, upper.leave[i] as number);
    }
    for (let i = end - 1; i >= start; i--) {
      pen.lineTo(x[i] as number, lower.leave[i] as number);
      if (lower.leave[i] !== lower.enter[i]) pen.lineTo(x[i] as number, lower.enter[i] as number);
    }
    pen.closePath();
  }
}

function placeOf(plot: uPlot): Place {
  const { left, top, width, height } = plot.bbox;
  const { x, y } = plot.scales;
  const [minX, maxX, minY, maxY] = [x?.min ?? 0, x?.max ?? 1, y?.min ?? 0, y?.max ?? 1];
  return { left, minX, perX: width / (maxX - minX || 1), above: top, maxY, perY: height / (maxY - minY || 1) };
}

const NOTHING_ELSE = { clip: null, band: null, gaps: [], flags: 0 };

/** A series that is a line. */
export function linePaths(): uPlot.Series.PathBuilder {
  return (plot, series, from, to) => {
    const stroke = new Path2D();
    drawLine(columns(plot.data[0], plot.data[series] ?? [], from, to, placeOf(plot)), stroke);
    return { ...NOTHING_ELSE, stroke, fill: null };
  };
}

/** A series that is the upper edge of a band whose lower edge is another one. */
export function bandPaths(other: number): uPlot.Series.PathBuilder {
  return (plot, series, from, to) => {
    const place = placeOf(plot);
    const fill = new Path2D();
    const edge = (of: number) => columns(plot.data[0], plot.data[of] ?? [], from, to, place);
    drawBand(edge(series), edge(other), fill);
    return { ...NOTHING_ELSE, stroke: null, fill };
  };
}
