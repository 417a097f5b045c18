import { describe, expect, it } from "vitest";
import { depths, descendants, layout } from "../src/lib/layers";

const NAMES = ["a", "b", "c", "d", "e"];
const EDGES = [["a", "b"], ["a", "c"], ["b", "c"], ["c", "d"], ["a", "d"], ["d", "e"]].map(([cause = "", effect = ""]) => ({ cause, effect }));
const SIZES = { node: 100, row: 60 };

describe("the causal graph", () => {
  it("has every cause above its effects, in whatever order they come", () => {
    for (const names of [NAMES, NAMES.toReversed()]) {
      const found = layout(names, EDGES, SIZES);
      const y = new Map(found.nodes.map((node) => [node.name, node.y]));
      for (const { cause, effect } of EDGES) expect(y.get(cause)).toBeLessThan(y.get(effect) ?? 0);
      expect(found.height).toBe(5 * 60);
    }
    expect(depths(NAMES, EDGES).get("d")).toBe(3);
  });

  it("puts no two variables in one place, nor outside", () => {
    const wide = [..."fghij"].map((effect) => ({ cause: "a", effect }));
    const found = layout([...NAMES, ..."fghij"], [...EDGES, ...wide], SIZES);
    expect(new Set(found.nodes.map(({ x, y }) => `${x} ${y}`)).size).toBe(10);
    for (const { x } of found.nodes) {
      expect(x).toBeGreaterThanOrEqual(50);
      expect(x).toBeLessThanOrEqual(found.width - 50);
    }
  });

  it("knows what follows, and that what is held passes nothing on", () => {
    expect([...descendants(["b"], EDGES)].toSorted()).toEqual(["c", "d", "e"]);
    expect([...descendants(["b"], EDGES, new Set(["d"]))]).toEqual(["c"]);
  });
});
