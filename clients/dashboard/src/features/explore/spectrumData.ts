import type { AlignedData } from "uplot";
import type { Answer, Spectrum } from "../../api/queries";

export type Frame = "observed" | "rest";

/** Mean over neighbouring good pixels; what is masked is NaN. */
export function smooth(values: Float32Array, mask: readonly boolean[], width: number): Float32Array {
  const half = (width - 1) / 2;
  const count = values.length;
  const out = new Float32Array(count);
  let sum = 0;
  let good = 0;
  for (let i = -half; i < count; i++) {
    const [next, old] = [i + half, i - half - 1];
    if (next < count && !mask[next]) {
      sum += values[next] as number;
      good++;
    }
    if (old >= 0 && !mask[old]) {
      sum -= values[old] as number;
      good--;
    }
    if (i >= 0) out[i] = mask[i] || good === 0 ? NaN : sum / good;
  }
  return out;
}

/** Standard deviation of that mean. */
function errors(ivar: Float32Array, mask: readonly boolean[], width: number): Float32Array {
  const variance = ivar.map((weight, i) => (mask[i] ? 0 : 1 / weight));
  return smooth(variance, mask, width).map((mean) => Math.sqrt(mean / width));
}

export function wavelengths({ flux, wavelength_start, wavelength_step }: Spectrum, stretch: number): Float64Array {
  return Float64Array.from(flux, (_, i) => (wavelength_start + i * wavelength_step) / stretch);
}

/** Columns of an observed spectrum: with its error above and below, and as it is. */
export function observedColumns(of: Spectrum, width: number): [Float32Array, Float32Array, Float32Array] {
  const observed = smooth(of.flux, of.mask, width);
  const sigma = errors(of.ivar, of.mask, width);
  return [observed.map((v, i) => v + (sigma[i] as number)), observed.map((v, i) => v - (sigma[i] as number)), observed];
}

/** Columns of a counterfactual spectrum: upper and lower end of its band, and its median. */
export function counterfactualColumns(of: Spectrum, answer: Answer | null, width: number): Float32Array[] {
  if (!answer) return [0, 1, 2].map(() => new Float32Array(of.flux.length).fill(NaN));
  return [answer.counterfactual_p84, answer.counterfactual_p16, answer.counterfactual].map((values) => smooth(values, of.mask, width));
}

/** Columns of the lower figure: counterfactual minus observed, which has no noise of the pixels. */
export function differences(x: Float64Array, of: Spectrum, answer: Answer): AlignedData {
  const minus = (values: Float32Array) => values.map((v, i) => (of.mask[i] ? NaN : v - (of.flux[i] as number)));
  return [x, minus(answer.counterfactual_p84), minus(answer.counterfactual_p16), minus(answer.counterfactual)];
}

/** Brings what a sorted list would have in one place there, with nothing larger before it (Hoare). */
function select(values: Float32Array, place: number, first: number): number {
  let [low, high] = [first, values.length - 1];
  while (low < high) {
    const pivot = values[(low + high) >> 1] as number;
    let [i, j] = [low, high];
    while (i <= j) {
      while ((values[i] as number) < pivot) i++;
      while ((values[j] as number) > pivot) j--;
      if (i > j) break;
      const kept = values[i] as number;
      values[i++] = values[j] as number;
      values[j--] = kept;
    }
    if (place <= j) high = j;
    else if (place >= i) low = i;
    else break;
  }
  return values[place] as number;
}

/** Limits that a few bad pixels or one strong line do not decide. */
export function limits(columns: readonly ArrayLike<number | null | undefined>[], from: number, to: number): [number, number] {
  const seen = new Float32Array(columns.length * Math.max(to - from + 1, 0));
  let count = 0;
  for (const column of columns) {
    for (let i = from; i <= to; i++) {
      const value = column[i];
      if (typeof value === "number" && !Number.isNaN(value)) seen[count++] = value;
    }
  }
  if (count === 0) return [0, 1];
  const good = seen.subarray(0, count);
  const [least, most] = [Math.floor(0.003 * (count - 1)), Math.ceil(0.997 * (count - 1))];
  const low = select(good, least, 0);
  const high = select(good, most, least);
  const pad = 0.07 * (high - low || Math.abs(high) || 1);
  return [low - pad, high + pad];
}
