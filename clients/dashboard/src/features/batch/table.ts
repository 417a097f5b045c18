import type { Head, Refused, Row } from "./stream";

export type Answered = Row & { file: string };
export type Failed = Refused & { file: string };

/** A quantity that an answer has in both worlds. */
export interface Quantity {
  name: string;
  unit: string;
  logarithmic: boolean;
  moved: boolean;
  feature: boolean;
  description: string;
}

export function quantitiesOf(head: Head): Quantity[] {
  const each = (feature: boolean) => (one: Head["variables"][number]): Quantity => ({
    name: one.name, unit: one.unit, logarithmic: one.transform === "log10", moved: one.moved, feature, description: one.description,
  });
  return [...head.variables.map(each(false)), ...head.features.map(each(true))];
}

export function before(row: Row, of: Quantity): number | null {
  return (of.feature ? row.features[of.name]?.[0] : row.state[of.name]?.[1]) ?? null;
}

export function after(row: Row, of: Quantity): number | null {
  return (of.feature ? row.features[of.name]?.[1] : row.state[of.name]?.[4]) ?? null;
}

/** The effect on the scale on which the quantity is additive: dex where that is logarithmic. */
export function effect(row: Row, of: Quantity): number | null {
  const [a, b] = [before(row, of), after(row, of)];
  if (a === null || b === null) return null;
  if (!of.logarithmic) return b - a;
  return a > 0 && b > 0 ? Math.log10(b / a) : null;
}

export function effectUnit(of: Quantity): string {
  return of.logarithmic ? "dex" : of.unit;
}

/** On the scale of axes: the decimal logarithm where the quantity is logarithmic. */
export function onAxis(value: number | null, of: Quantity): number | null {
  if (value === null || !of.logarithmic) return value;
  return value > 0 ? Math.log10(value) : null;
}

export type Sort = { by: "id" | "redshift" | "confidence" | "flags" | string; down: boolean };

function key(row: Answered, by: string, quantities: Quantity[]): number | string | null {
  switch (by) {
    case "id":
      return row.id;
    case "redshift":
      return row.redshift;
    case "confidence":
      return row.confidence;
    case "flags":
      return row.quality.length;
  }
  const of = quantities.find((one) => one.name === by);
  return of ? effect(row, of) : null;
}

const COLLATOR = new Intl.Collator("en", { numeric: true });

/** Rows in order; what has no value comes last whichever way. */
export function sorted(rows: Answered[], { by, down }: Sort, quantities: Quantity[]): Answered[] {
  const keyed = rows.map((row) => ({ row, at: key(row, by, quantities) }));
  keyed.sort((a, b) => {
    if (a.at === null || b.at === null) return Number(a.at === null) - Number(b.at === null);
    const order = typeof a.at === "string" || typeof b.at === "string" ? COLLATOR.compare(String(a.at), String(b.at)) : a.at - b.at;
    return down ? -order : order;
  });
  return keyed.map(({ row }) => row);
}

export interface Wanted {
  text: string;
  flags: "all" | "clean" | "flagged";
  confidence: number;
}

export function filtered(rows: Answered[], { text, flags, confidence }: Wanted): Answered[] {
  const part = text.trim().toLowerCase();
  return rows.filter(
    (row) =>
      (part === "" || row.id.toLowerCase().includes(part) || row.quality.some((flag) => flag.toLowerCase().includes(part))) &&
      (flags === "all" || (row.quality.length === 0) === (flags === "clean")) &&
      row.confidence >= confidence,
  );
}

const STATISTICS = ["p16", "median", "p84"] as const;

/** The table of a download, with the names of `acie infer --ray`; refused galaxies are rows too. */
export function columnsOf(rows: Answered[], failed: Failed[], quantities: Quantity[]): Record<string, (string | number | null)[]> {
  const all = [...rows, ...failed].toSorted((a, b) => COLLATOR.compare(a.file, b.file) || a.row - b.row);
  const of = <T,>(read: (row: Answered) => T) => all.map((one) => (one.kind === "row" ? read(one) : null));
  const columns: Record<string, (string | number | null)[]> = {
    file: all.map((one) => one.file),
    row: all.map((one) => one.row),
    id: all.map((one) => one.id),
    redshift: of((row) => row.redshift),
    confidence: of((row) => row.confidence),
    flags: all.map((one) => (one.kind === "row" ? one.quality.join(",") : "REFUSED")),
    reason: all.map((one) => (one.kind === "row" ? null : one.problem.detail)),
  };
  for (const one of quantities) {
    if (one.feature) {
      columns[one.name] = of((row) => before(row, one));
      columns[`counterfactual_${one.name}`] = of((row) => after(row, one));
    } else {
      for (const [place, statistic] of STATISTICS.entries()) {
        columns[`${one.name}_${statistic}`] = of((row) => row.state[one.name]?.[place] ?? null);
        columns[`counterfactual_${one.name}_${statistic}`] = of((row) => row.state[one.name]?.[place + 3] ?? null);
      }
    }
    columns[`change_${one.name}`] = of((row) => {
      const [a, b] = [before(row, one), after(row, one)];
      return a === null || b === null ? null : b - a;
    });
  }
  return columns;
}

function cell(value: string | number | null): string {
  if (value === null) return "";
  const text = String(value);
  // A spreadsheet would take such a name for a formula.
  const safe = typeof value === "string" && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

export function toCsv(columns: Record<string, (string | number | null)[]>): string {
  const names = Object.keys(columns);
  const count = columns[names[0] ?? ""]?.length ?? 0;
  const lines = Array.from({ length: count }, (_, i) => names.map((name) => cell(columns[name]?.[i] ?? null)).join(","));
  return `${[names.join(","), ...lines].join("\r\n")}\r\n`;
}

/** Parquet: numbers as doubles, the rest as text. The writer is loaded when somebody asks for it. */
export async function toParquet(columns: Record<string, (string | number | null)[]>): Promise<ArrayBuffer> {
  const { parquetWriteBuffer } = await import("hyparquet-writer");
  const texts = new Set(["file", "id", "flags", "reason"]);
  return parquetWriteBuffer({
    columnData: Object.entries(columns).map(([name, data]) => ({
      name, data, nullable: true, type: texts.has(name) ? ("STRING" as const) : ("DOUBLE" as const),
    })),
  });
}
