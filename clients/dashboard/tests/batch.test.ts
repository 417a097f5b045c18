// @vitest-environment jsdom
import { parquetMetadataAsync, parquetReadObjects } from "hyparquet";
import { afterEach, describe, expect, it, vi } from "vitest";
import { effectsOf, histogram, points, spread } from "../src/features/batch/population";
import { type Line, linesOf } from "../src/features/batch/stream";
import { type Answered, type Failed, type Quantity, columnsOf, effect, filtered, sorted, toCsv, toParquet } from "../src/features/batch/table";
import { secondsLeft } from "../src/features/batch/useRun";

const MASS: Quantity = { name: "stellar_mass", unit: "Msun", logarithmic: true, moved: true, feature: false, description: "" };
const DUST: Quantity = { name: "dust_av", unit: "mag", logarithmic: false, moved: true, feature: false, description: "" };
const BREAK: Quantity = { name: "dn4000", unit: "", logarithmic: false, moved: true, feature: true, description: "" };

function galaxy(row: number, mass: number, factor: number, more: Partial<Answered> = {}): Answered {
  return {
    kind: "row", row, id: `galaxy ${row}`, redshift: 0.1, confidence: 0.3, quality: [], cached: false, file: "a.fits",
    state: { stellar_mass: [mass / 2, mass, mass * 2, mass, mass * factor, mass * 3], dust_av: [0, 0.5, 1, 0, 0.25, 1] },
    features: { dn4000: [1.5, row % 2 ? null : 1.6] },
    ...more,
  };
}

const REFUSED: Failed = {
  kind: "refused", row: 1, id: "=cmd()", file: "a.fits",
  problem: { type: "urn:acie:problem:x", title: "Malformed spectrum", status: 422, detail: 'dead, "quite"' },
};

function streamOf(...pieces: string[]): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      for (const piece of pieces) controller.enqueue(new TextEncoder().encode(piece));
      controller.close();
    },
  });
}

afterEach(() => void vi.unstubAllGlobals());

describe("lines of a stream", () => {
  it("are whole however the pieces are cut, inside characters too", async () => {
    const text = `{"kind":"end","answered":1,"refused":0,"seconds":1}\n{"kind":"row","id":"Å"}\n`;
    const bytes = new TextEncoder().encode(text);
    for (const cut of [1, 30, 52, 53, text.length - 5, bytes.length - 4, bytes.length]) {
      const stream = new ReadableStream<Uint8Array>({
        start(controller) {
          controller.enqueue(bytes.slice(0, cut));
          controller.enqueue(bytes.slice(cut));
          controller.close();
        },
      });
      const found: Line[] = [];
      for await (const line of linesOf(stream)) found.push(line);
      expect(found).toHaveLength(2);
      expect(found[1]).toMatchObject({ id: "Å" });
    }
  });

  it("say when one is no JSON", async () => {
    await expect(async () => {
      for await (const _ of linesOf(streamOf('{"kind":\n'))) expect.unreachable();
    }).rejects.toThrow(SyntaxError);
  });
});

describe("effects", () => {
  it("are in dex on a logarithmic scale and in units otherwise", () => {
    expect(effect(galaxy(0, 1e10, 10), MASS)).toBeCloseTo(1);
    expect(effect(galaxy(0, 1e10, 10), DUST)).toBeCloseTo(-0.25);
    expect(effect(galaxy(0, 1e10, 10), BREAK)).toBeCloseTo(0.1);
    expect(effect(galaxy(1, 1e10, 10), BREAK)).toBeNull();
  });

  it("have median and central 68 % of the galaxies that have a value", () => {
    const rows = Array.from({ length: 101 }, (_, i) => galaxy(2 * i, 1e10, 10 ** (i / 100)));
    const found = spread(effectsOf(rows, MASS));
    expect(found?.middle).toBeCloseTo(0.5);
    expect(found?.low).toBeCloseTo(0.16);
    expect(found?.high).toBeCloseTo(0.84);
    expect(spread([])).toBeNull();
  });

  it("are all in the histogram, also when they are equal", () => {
    for (const values of [[1, 2, 3, 4, 100], [0.4, 0.4, 0.4], [0], Array.from({ length: 999 }, (_, i) => Math.sin(i))]) {
      const bins = histogram(values);
      expect(bins.reduce((sum, bin) => sum + bin.count, 0)).toBe(values.length);
      expect(bins.every((bin) => Number.isFinite(bin.middle) && bin.to > bin.from)).toBe(true);
    }
    expect(histogram([])).toEqual([]);
  });

  it("are drawn against the logarithm of the mass, and thinned where there are very many", () => {
    expect(points([galaxy(0, 1e10, 10)], MASS, BREAK)[0]).toMatchObject({ x: 10, flagged: false });
    expect(points([galaxy(1, 1e10, 10)], MASS, BREAK)).toEqual([]);
    const many = Array.from({ length: 9000 }, (_, i) => galaxy(2 * i, 1e10, 2));
    expect(points(many, MASS, MASS).length).toBeLessThanOrEqual(2000);
  });
});

describe("the table", () => {
  const rows = [
    galaxy(10, 1e10, 2, { confidence: 0.1, quality: ["LOW_SNR"] }),
    galaxy(9, 1e10, 3, { confidence: 0.2 }),
    galaxy(2, 1e10, 1, { confidence: 0.3 }),
  ];
  const ids = (found: Answered[]) => found.map((one) => one.row);

  it("is sorted by number, by name as people count, and by effect with what is missing last", () => {
    const all = [MASS, DUST, BREAK];
    expect(ids(sorted(rows, { by: "confidence", down: true }, all))).toEqual([2, 9, 10]);
    expect(ids(sorted(rows, { by: "id", down: false }, all))).toEqual([2, 9, 10]);
    expect(ids(sorted(rows, { by: "stellar_mass", down: true }, all))).toEqual([9, 10, 2]);
    expect(ids(sorted(rows, { by: "dn4000", down: true }, all)).at(-1)).toBe(9);
    expect(ids(sorted(rows, { by: "dn4000", down: false }, all)).at(-1)).toBe(9);
  });

  it("is filtered by name, flag and confidence", () => {
    expect(ids(filtered(rows, { text: "galaxy 9", flags: "all", confidence: 0 }))).toEqual([9]);
    expect(ids(filtered(rows, { text: "snr", flags: "all", confidence: 0 }))).toEqual([10]);
    expect(ids(filtered(rows, { text: "", flags: "clean", confidence: 0 }))).toEqual([9, 2]);
    expect(ids(filtered(rows, { text: "", flags: "flagged", confidence: 0 }))).toEqual([10]);
    expect(ids(filtered(rows, { text: "", flags: "all", confidence: 0.15 }))).toEqual([9, 2]);
  });

  it("has every galaxy in its CSV, quoted, and no formulas", () => {
    const text = toCsv(columnsOf(rows, [REFUSED], [MASS, BREAK]));
    const lines = text.trimEnd().split("\r\n");
    expect(lines).toHaveLength(5);
    expect(lines[0]).toContain("stellar_mass_median,counterfactual_stellar_mass_median");
    expect(lines[1]).toMatch(/^a\.fits,1,'=cmd\(\),,,REFUSED,"dead, ""quite""",,/);
    expect(lines[2]).toMatch(/^a\.fits,2,galaxy 2,0\.1,0\.3,,,/);
  });

  it("is Parquet that a reader reads back", async () => {
    // Arrays of Node's encoder are of another kind than those of jsdom; in a browser they are one.
    class OneKind extends TextEncoder {
      override encode(text?: string) {
        return Uint8Array.from(super.encode(text));
      }
    }
    vi.stubGlobal("TextEncoder", OneKind);
    const buffer = await toParquet(columnsOf(rows, [REFUSED], [MASS, BREAK]));
    expect((await parquetMetadataAsync(buffer)).num_rows).toBe(4n);
    const back = await parquetReadObjects({ file: buffer });
    expect(back[0]).toMatchObject({ id: "=cmd()", flags: "REFUSED", stellar_mass_median: null });
    expect(back[1]).toMatchObject({ id: "galaxy 2", redshift: 0.1, reason: null });
    expect(back[3]).toMatchObject({ flags: "LOW_SNR", counterfactual_stellar_mass_median: 2e10 });
  });
});

describe("the time left", () => {
  const run = { state: "running" as const, head: null, failed: [], file: 1, files: 1, started: 0, finished: 0, problems: [], total: 40 };

  it("follows from the galaxies that are done, and is not guessed from the first", () => {
    const rows = Array.from({ length: 10 }, (_, i) => galaxy(i, 1e10, 2));
    expect(secondsLeft({ ...run, rows }, 20_000)).toBeCloseTo(60);
    expect(secondsLeft({ ...run, rows: rows.slice(0, 2) }, 20_000)).toBeNull();
    expect(secondsLeft({ ...run, rows, state: "done" }, 20_000)).toBeNull();
  });
});
