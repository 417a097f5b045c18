import type { Step } from "./queries";

export interface Row {
  time: number;
  requests: number;
  per_second: number;
  p50: number | null;
  p90: number | null;
  p99: number | null;
  errors: Record<string, number>;
  queue: number | null;
  in_flight: number | null;
  reused: number | null;
  flagged: number | null;
  confidence: number | null;
  band: [number, number] | null;
}

/** Steps as charts want them, and the kinds of errors, the most frequent first. */
export function toRows(points: Step[]): { rows: Row[]; kinds: string[] } {
  const totals = new Map<string, number>();
  const rows = points.map((point): Row => {
    for (const [kind, count] of Object.entries(point.errors)) totals.set(kind, (totals.get(kind) ?? 0) + count);
    const { p16, median, p84 } = point.confidence;
    return {
      time: point.time,
      requests: point.requests,
      per_second: point.per_second,
      ...point.latency_ms,
      errors: point.errors,
      queue: point.queue,
      in_flight: point.in_flight,
      reused: point.reused,
      flagged: point.flagged,
      confidence: median,
      band: p16 === null || p84 === null ? null : [p16, p84],
    };
  });
  const kinds = [...totals].toSorted((a, b) => b[1] - a[1]).map(([kind]) => kind);
  return { rows, kinds };
}
