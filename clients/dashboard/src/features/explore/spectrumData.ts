import type { AlignedData } from "uplot";
import type { Answer, Spectrum } from "../../api/queries";

export type Frame = "observed" | "rest";

/** Mean over neighbouring good pixels; what is masked stays masked. */
export function smooth(values: Float32Array, mask: readonly boolean[], width: number): (number | null)[] {
  const half = (width - 1) / 2;
  const out: (number | null)[] = Array.from(values, () => null);
  let sum = 0;
  let count = 0;
  const add = (i: number, sign: 1 | -1) => {
    if (i < 0 || i >= values.length || mask[i]) return;
    sum += sign * (values[i] ?? 0);
    count += sign;
  };
  for (let i = 0; i < half; i++) add(i, 1);
  for (let i = 0; i < values.length; i++) {
    add(i + half, 1);
    out[i] = mask[i] || count === 0 ? null : sum / count;
    add(i - half, -1);
  }
  return out;
}

/** Standard deviation of that mean. */
function errors(ivar: Float32Array, mask: readonly boolean[], width: number): Float32Array {
  const variance = new Float32Array(ivar.length);
  for (let i = 0; i < ivar.length; i++) variance[i] = mask[i] ? 0 : 1 / (ivar[i] ?? 1);
  const mean = smooth(variance, mask, width);
  return Float32Array.from(mean, (v) => Math.sqrt((v ?? 0) / width));
}

export function wavelengths({ flux, wavelength_start, wavelength_step }: Spectrum, stretch: number): number[] {
  return Array.from(flux, (_, i) => (wavelength_start + i * wavelength_step) / stretch);
}

/** Columns of the upper figure: wavelength, observed with error, counterfactual with its band. */
export function spectra(of: Spectrum, answer: Answer | null, width: number, stretch: number): AlignedData {
  const observed = smooth(of.flux, of.mask, width);
  const sigma = errors(of.ivar, of.mask, width);
  const high = observed.map((v, i) => (v === null ? null : v + (sigma[i] ?? 0)));
  const low = observed.map((v, i) => (v === null ? null : v - (sigma[i] ?? 0)));
  const none: null[] = answer ? [] : Array.from(of.flux, () => null);
  const of_ = (values: Float32Array | undefined) => (values ? smooth(values, of.mask, width) : none);
  return [
    wavelengths(of, stretch), high, low, observed,
    of_(answer?.counterfactual_p84), of_(answer?.counterfactual_p16), of_(answer?.counterfactual),
  ];
}

/** Columns of the lower figure: counterfactual minus observed, which has no noise of the pixels. */
export function differences(of: Spectrum, answer: Answer, stretch: number): AlignedData {
  const minus = (values: Float32Array) =>
    Array.from(values, (v, i) => (of.mask[i] ? null : v - (of.flux[i] ?? 0)));
  return [
    wavelengths(of, stretch),
    minus(answer.counterfactual_p84), minus(answer.counterfactual_p16), minus(answer.counterfactual),
  ];
}

/** Limits that a few bad pixels or one strong line do not decide. */
export function limits(columns: readonly ArrayLike<number | null | undefined>[], from: number, to: number): [number, number] {
  const seen: number[] = [];
  for (const column of columns) {
    for (let i = from; i <= to; i++) {
      const value = column[i];
      if (typeof value === "number") seen.push(value);
    }
  }
  if (seen.length === 0) return [0, 1];
  seen.sort((a, b) => a - b);
  const low = seen[Math.floor(0.003 * (seen.length - 1))] ?? 0;
  const high = seen[Math.ceil(0.997 * (seen.length - 1))] ?? 1;
  const pad = 0.07 * (high - low || Math.abs(high) || 1);
  return [low - pad, high + pad];
}
