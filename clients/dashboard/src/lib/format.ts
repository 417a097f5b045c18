/** Numbers and units as people read them. */

const RAISED: Record<string, string> = {
  "-": "⁻", "0": "⁰", "1": "¹", "2": "²", "3": "³", "4": "⁴", "5": "⁵", "6": "⁶", "7": "⁷", "8": "⁸", "9": "⁹",
};

/** Three significant digits; powers of ten where the number is large or small. */
export function number(value: number, digits = 3): string {
  if (!Number.isFinite(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e-3 && size < 1e5) return String(Number(value.toPrecision(digits))).replace("-", "−");
  const [front = "", power = ""] = value.toExponential(digits - 1).split("e");
  const raised = [...power.replace("+", "")].map((c) => RAISED[c] ?? c).join("");
  return `${front.replace("-", "−")}×10${raised}`;
}

/** A number beside another of about its size, whose power of ten it shares. */
export function shared(value: number, beside: number, digits = 3): string {
  const size = Math.abs(beside);
  if (size === 0 || (size >= 1e-3 && size < 1e5)) return number(value, digits);
  return number(value / 10 ** Math.floor(Math.log10(size)), digits);
}

const UNITS: Record<string, string> = {
  Msun: "M☉", "Msun/yr": "M☉/yr", "mass fraction": "", dex: "dex",
};

export function unit(text: string): string {
  return UNITS[text] ?? text;
}

export function quantity(value: number, of: string): string {
  return `${number(value)} ${unit(of)}`.trim();
}

/** Before to after, as a factor on a logarithmic scale and as a difference otherwise. */
export function change(before: number, after: number, logarithmic: boolean): string {
  if (logarithmic && before > 0) return `×${number(after / before)}`;
  const difference = after - before;
  return `${difference >= 0 ? "+" : ""}${number(difference)}`;
}

/** `stellar_mass` as words. */
export function words(name: string): string {
  return name.replaceAll("_", " ");
}
