/** Which way a variable is changed by a slider, and how far. */
import type { Action, Verb } from "./question";

export interface Declared {
  support: (number | null)[];
  transform: string;
  kind: string;
  unit: string;
}

export interface Track {
  low: number;
  high: number;
  step: number;
  marks: { value: number; label: string }[];
  /** From the place of the slider to the amount of the action, and back. */
  amount: (place: number) => number;
  place: (amount: number) => number;
}

/** Verbs that make sense for a variable, the natural one first. */
export function verbs({ transform, kind }: Declared): Verb[] {
  if (kind !== "continuous") return ["set"];
  return transform === "log10" ? ["scale", "set"] : ["set", "shift"];
}

export function firstAction(of: Declared, median: number): Action {
  const [verb = "set"] = verbs(of);
  if (verb === "scale") return { verb, amount: 1 };
  return { verb, amount: of.kind === "continuous" ? Number(median.toPrecision(3)) : Math.round(median) };
}

/** The same variable under another verb, from where it is. */
export function withVerb(verb: Verb, median: number): Action {
  return { verb, amount: { scale: 1, shift: 0, set: Number(median.toPrecision(3)) }[verb] };
}

function bounds({ support, transform }: Declared, median: number): [number, number] {
  const [low, high] = support;
  const least = transform === "log10" ? median / 1000 : median - 10;
  const most = transform === "log10" ? median * 1000 : median + 10;
  return [low ?? least, high ?? most];
}

const identity = (v: number) => v;
const power = (v: number) => Number((10 ** v).toPrecision(4));

/** The track of a slider; factors and logarithmic variables are moved in decades. */
export function track(of: Declared, verb: Verb, median: number): Track {
  const [low, high] = bounds(of, median);
  if (verb === "scale") {
    // No further than the support, seen from the median.
    const least = Math.max(-1, Math.log10(Math.max(low / median, 1e-9)));
    const most = Math.min(1, Math.log10(high / median));
    const marks = [0.1, 0.5, 1, 2, 10].filter((f) => Math.log10(f) >= least - 1e-9 && Math.log10(f) <= most + 1e-9);
    return {
      low: Math.min(least, 0), high: Math.max(most, 0), step: 0.005, amount: power, place: Math.log10,
      marks: marks.map((f) => ({ value: Math.log10(f), label: `×${f}` })),
    };
  }
  if (verb === "set" && of.transform === "log10" && low >= 0) {
    const least = Math.max(Math.log10(Math.max(low, 1e-30)), Math.log10(median) - 3);
    const most = Math.min(Math.log10(high), Math.log10(median) + 3);
    return { low: least, high: most, step: 0.01, amount: power, place: Math.log10, marks: [{ value: Math.log10(median), label: "is" }] };
  }
  const [from, to] = verb === "shift" ? [Math.max(low - median, -(high - low) / 2), Math.min(high - median, (high - low) / 2)] : [low, high];
  const step = 10 ** Math.floor(Math.log10((to - from) / 200));
  const round = (v: number) => Number(v.toPrecision(4));
  const is = verb === "shift" ? 0 : median;
  return { low: from, high: to, step, amount: round, place: identity, marks: [{ value: is, label: verb === "shift" ? "0" : "is" }] };
}
