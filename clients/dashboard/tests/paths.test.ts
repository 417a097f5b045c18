import { describe, expect, it } from "vitest";
import { type Columns, type Pen, columns, drawBand, drawLine } from "../src/features/explore/columnPaths";

/** One pixel per column and unit, 100 at the top. */
const PLACE = { left: 0, perX: 1, minX: 0, above: 0, perY: 1, maxY: 100 };

/** A pen that notes what it draws. */
function pen() {
  const drawn: string[] = [];
  const own: Pen = {
    moveTo: (x, y) => void drawn.push(`M${x} ${y}`),
    lineTo: (x, y) => void drawn.push(`L${x} ${y}`),
    closePath: () => void drawn.push("Z"),
  };
  return { own, text: () => drawn.join(" ") };
}

function line(found: Columns): string {
  const { own, text } = pen();
  drawLine(found, own);
  return text();
}

const at = (xs: number[], ys: (number | null)[], scale = 1) => columns(xs, ys, 0, xs.length - 1, { ...PLACE, perX: scale });

describe("columns", () => {
  it("keep what enters, leaves and is reached, also of a narrow peak", () => {
    const found = at([0, 0.1, 0.2, 0.3, 1], [10, 90, 5, 20, 20]);
    expect(found.count).toBe(2);
    expect([found.enter[0], found.leave[0], found.top[0], found.bottom[0]]).toEqual([90, 80, 10, 95]);
  });

  it("are apart where only bad pixels lie between, and not where nothing would be seen", () => {
    const ys = [1, NaN, NaN, 1, null, 1];
    expect([...at([0, 1, 2, 3, 4, 5], ys).apart.subarray(0, 3)]).toEqual([1, 1, 1]);
    expect([...at([0, 1, 2, 3, 4, 5], ys, 0.25).apart.subarray(0, 2)]).toEqual([1, 0]);
  });

  it("stay whole numbers where a line leads out of the figure", () => {
    expect(at([0], [1e30]).top[0]).toBe(-100_000);
  });
});

describe("lines", () => {
  it("join single values", () => expect(line(at([0, 5, 9], [1, 2, 3]))).toBe("M0 99 L5 98 L9 97"));
  it("stop at bad pixels", () => expect(line(at([0, 5, 9, 12, 15], [1, 2, NaN, 3, 4]))).toBe("M0 99 L5 98 M12 97 L15 96"));
  it("do not join neighbours whose strokes cover the joint", () => {
    expect(line(at([0, 0.2, 1, 1.2], [0, 10, 5, 15]))).toBe("M0 90 L0 100 M1 85 L1 95");
    expect(line(at([0, 0.2, 1, 1.2], [0, 10, 50, 60]))).toBe("M0 90 L0 100 M0 90 L1 50 M1 40 L1 50");
  });
  it("join flat neighbours", () => expect(line(at([0, 1, 2], [7, 7, 7]))).toBe("M0 93 L1 93 L2 93"));
});

describe("bands", () => {
  it("are one polygon for every run of good pixels", () => {
    const xs = [0, 2, 4, 6];
    const { own, text } = pen();
    drawBand(at(xs, [5, 6, NaN, 7]), at(xs, [1, 2, NaN, 3]), own);
    expect(text()).toBe("M0 95 L2 94 L2 98 L0 99 Z M6 93 L6 97 Z");
  });
});
