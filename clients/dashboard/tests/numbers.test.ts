import { describe, expect, it } from "vitest";
import { limits, smooth } from "../src/features/explore/spectrumData";
import { number, quantity, shared } from "../src/lib/format";
import { marginals, pairedChange, quantile } from "../src/lib/marginals";
import { firstAction, track, verbs } from "../src/lib/sliders";
import { toTensor, withArrays, withLists } from "../src/lib/tensors";

const MASS = { support: [1e6, 1e13], transform: "log10", kind: "continuous", unit: "Msun" };
const DUST = { support: [0, 4], transform: "identity", kind: "continuous", unit: "mag" };

describe("numbers in words", () => {
  it.each([[0, "0"], [1.5, "1.5"], [-3.14159, "−3.14"], [5.18e10, "5.18×10¹⁰"], [0.00002, "2.00×10⁻⁵"], [NaN, "–"]])("%d is %s", (value, text) => {
    expect(number(value)).toBe(text);
  });
  it("has units that astronomers write", () => expect(quantity(2e10, "Msun")).toBe("2.00×10¹⁰ M☉"));
  it("shares a power of ten", () => expect(shared(5.02e10, 5.18e10)).toBe("5.02"));
});

describe("spectra", () => {
  it("smooths over good pixels only", () => {
    const mask = [false, false, true, false, false];
    expect(smooth(Float32Array.of(1, 2, 99, 4, 5), mask, 3)).toEqual(Float32Array.of(1.5, 1.5, NaN, 4.5, 4.5));
    expect(smooth(Float32Array.of(1, 2, 99, 4, 5), mask, 1)).toEqual(Float32Array.of(1, 2, NaN, 4, 5));
  });
  it("finds limits that one bad pixel does not decide", () => {
    const flat = Array.from({ length: 2000 }, (_, i) => (i === 7 ? 1e6 : i % 2));
    const [low, high] = limits([flat], 0, 1999);
    expect(low).toBeCloseTo(-0.07);
    expect(high).toBeCloseTo(1.07);
    expect(limits([[null, NaN]], 0, 1)).toEqual([0, 1]);
  });
  it("finds the limits that sorting finds", () => {
    const values = Float32Array.from({ length: 4001 }, (_, i) => Math.sin(i * i) * 10 ** (i % 3));
    const sorted = values.toSorted();
    const [low, high] = [sorted[12] as number, sorted[3988] as number];
    const pad = 0.07 * (high - low);
    expect(limits([values.subarray(0, 4001)], 0, 4000)).toEqual([low - pad, high + pad]);
  });
});

describe("posteriors", () => {
  it("pairs the same draw of both worlds", () => {
    const before = [1, 5, 9, 20];
    expect(pairedChange(before, before.map((v) => v + 2))).toEqual({ low: 2, middle: 2, high: 2 });
  });
  it("interpolates quantiles", () => expect(quantile([0, 1, 2, 3], 0.5)).toBe(1.5));
  it("draws a set value as a point", () => {
    const found = marginals([1, 2, 3, 4, 5], [0, 0, 0, 0, 0]);
    expect(found?.point).toBe(0);
    expect(Math.max(...(found?.before ?? []))).toBeCloseTo(1);
  });
});

describe("sliders", () => {
  it("scales what is logarithmic and sets what is not", () => {
    expect(verbs(MASS)[0]).toBe("scale");
    expect(firstAction(MASS, 5e10)).toEqual({ verb: "scale", amount: 1 });
    expect(firstAction(DUST, 0.5763)).toEqual({ verb: "set", amount: 0.576 });
  });
  it("goes a decade each way, but not out of the support", () => {
    expect(track(MASS, "scale", 5e10)).toMatchObject({ low: -1, high: 1 });
    const near = track(MASS, "scale", 5e12);
    expect(near.amount(near.high)).toBeCloseTo(2, 3);
  });
  it("comes back to the amount it shows", () => {
    for (const verb of ["scale", "set"] as const) {
      const { place, amount } = track(MASS, verb, 5e10);
      expect(amount(place(2.345e0))).toBeCloseTo(2.345, 6);
    }
    expect(track(DUST, "set", 0.5)).toMatchObject({ low: 0, high: 4 });
    expect(track(DUST, "shift", 0.5)).toMatchObject({ low: -0.5, high: 2 });
  });
});

describe("arrays", () => {
  it("survive the message, wherever they stand in it", () => {
    const bytes = new Uint8Array(13);
    bytes.set(toTensor(Float32Array.of(1.5, -2)).data, 3);
    const found = withArrays({ a: { dtype: "float32", shape: [2], data: bytes.subarray(3, 11) }, b: [1, null] });
    expect(found).toEqual({ a: Float32Array.of(1.5, -2), b: [1, null] });
    expect(JSON.stringify({ a: Float32Array.of(0.1, NaN) }, withLists)).toBe('{"a":[0.1,null]}');
  });
});
