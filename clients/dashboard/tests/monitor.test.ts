// @vitest-environment jsdom
import { describe, expect, it } from "vitest";
import { coverageRows, rankBand, tarpRows } from "../src/features/models/calibrationRows";
import { NO_FILTERS, type Step, toWish } from "../src/features/monitor/queries";
import { toRows } from "../src/features/monitor/rows";
import { errorInWords } from "../src/features/monitor/Log";
import { medianOf } from "../src/features/monitor/Tiles";
import { duration, milliseconds, share } from "../src/lib/times";

function step(time: number, errors: Record<string, number>, asked = 1): Step {
  const value = asked ? 1 : null;
  return {
    time, requests: asked, per_second: asked / 5, errors, queue: 0, in_flight: 1, drift: null, reused: value, flagged: value,
    latency_ms: { p50: value, p90: value, p99: value }, confidence: { p16: value && 0.2, median: value && 0.3, p84: value && 0.4 },
  };
}

describe("steps of the past", () => {
  it("become rows, and kinds of errors from the most frequent on", () => {
    const { rows, kinds } = toRows([step(0, { a: 1 }), step(5, { b: 3, a: 1 }), step(10, {}, 0)]);
    expect(kinds).toEqual(["b", "a"]);
    expect(rows[0]?.band).toEqual([0.2, 0.4]);
    expect(rows[2]).toMatchObject({ p50: null, band: null, confidence: null, requests: 0 });
  });
});

describe("filters of the log", () => {
  it("leave out what is empty", () => {
    expect(toWish(NO_FILTERS, 0)).toEqual({ limit: 25 });
  });
  it("are sent as the service takes them", () => {
    const filters = { status: "error" as const, model: " galaxy ", quality: ["LOW_SNR"], min_confidence: 0, request_id: "x", minutes: 5 };
    expect(toWish(filters, Date.UTC(2026, 0, 1))).toEqual({
      limit: 25, status: "error", model: "galaxy", quality: ["LOW_SNR"], min_confidence: 0, request_id: "x", since: "2025-12-31T23:55:00.000Z",
    });
  });
});

describe("numbers for people", () => {
  it("are times and shares", () => {
    expect([milliseconds(null), milliseconds(3.14159), milliseconds(123.4), milliseconds(2345)]).toEqual(["–", "3.1 ms", "123 ms", "2.35 s"]);
    expect([duration(0), duration(59.6), duration(61), duration(3600), duration(5400), duration(3e5)]).toEqual(
      ["0 s", "1 min", "1 min 1 s", "1 h", "1 h 30 min", "3 days"],
    );
    expect([share(null), share(0), share(0.004), share(0.256), share(1)]).toEqual(["–", "0\u00a0%", "0.4\u00a0%", "26\u00a0%", "100\u00a0%"]);
  });
  it("are kinds of errors", () => {
    expect(["OutsideSupport", "CancelledError", "TooLate", null].map(errorInWords)).toEqual(["outside support", "cancelled", "too late", "error"]);
  });
  it("find the median of a histogram", () => {
    expect(medianOf([0.1, 0.2, 0.3], [0, 0, 0])).toBeNull();
    expect(medianOf([0.1, 0.2, 0.3], [0, 4, 0])).toBeCloseTo(0.15);
    expect(medianOf([0.1, 0.2, 0.3], [2, 0, 2])).toBeCloseTo(0.1);
  });
});

describe("calibration", () => {
  it("is coverage minus level", () => {
    const of = { levels: [0.1, 0.9], curves: { age: [0.12, 0.85] }, largest_deviation: {}, at_level: {}, expected: 0, limit: 0 };
    const rows = coverageRows(of);
    expect(rows[0]?.age).toBeCloseTo(0.02);
    expect(rows[1]?.age).toBeCloseTo(-0.05);
  });
  it("has a band that holds 99 % of flat ranks", () => {
    const { mean, low, high } = rankBand(2000, 16);
    expect(mean).toBe(125);
    expect(high - mean).toBeCloseTo(2.576 * Math.sqrt(125 * (15 / 16)));
    expect(mean - low).toBeCloseTo(high - mean);
  });
  it("does without TARP where there is none", () => {
    expect(tarpRows(null)).toEqual([]);
    expect(tarpRows({ levels: [0.5], coverage: [0.52], low: [0.45], high: [0.55] })[0]?.coverage).toBeCloseTo(0.02);
  });
});
