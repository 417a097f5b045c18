/** A causal graph in layers: every cause above its effects, with few crossings. */

export interface Edge {
  cause: string;
  effect: string;
}

export interface Placed {
  name: string;
  x: number;
  y: number;
}

export interface Layout {
  nodes: Placed[];
  routes: { edge: Edge; from: Placed; to: Placed }[];
  width: number;
  height: number;
}

export interface Sizes {
  node: number;
  row: number;
}

interface Slot {
  id: string;
  real: boolean;
  above: string[];
  below: string[];
}

/** Longest path from a root. */
export function depths(names: readonly string[], edges: readonly Edge[]): Map<string, number> {
  const found = new Map(names.map((name) => [name, 0]));
  // The names come in causal order, so that one pass would do; the loop does not rely on it.
  for (let round = 0, moved = true; moved && round <= names.length; round++) {
    moved = false;
    for (const { cause, effect } of edges) {
      const least = (found.get(cause) ?? 0) + 1;
      if ((found.get(effect) ?? 0) < least) {
        found.set(effect, least);
        moved = true;
      }
    }
  }
  return found;
}

/** Variables that follow from these, themselves not included. */
export function descendants(of: Iterable<string>, edges: readonly Edge[], cut: ReadonlySet<string> = new Set()): Set<string> {
  const found = new Set<string>();
  const open = [...of];
  for (let name = open.pop(); name !== undefined; name = open.pop()) {
    for (const { cause, effect } of edges) {
      if (cause === name && !found.has(effect) && !cut.has(effect)) {
        found.add(effect);
        open.push(effect);
      }
    }
  }
  return found;
}

export function layout(names: readonly string[], edges: readonly Edge[], sizes: Sizes): Layout {
  const depth = depths(names, edges);
  const rows: Slot[][] = Array.from({ length: Math.max(0, ...depth.values()) + 1 }, () => []);
  const slots = new Map<string, Slot>();
  const put = (id: string, row: number, real: boolean) => {
    const slot = { id, real, above: [], below: [] };
    slots.set(id, slot);
    rows[row]?.push(slot);
  };
  const link = (upper: string, lower: string) => {
    slots.get(upper)?.below.push(lower);
    slots.get(lower)?.above.push(upper);
  };
  for (const name of names) put(name, depth.get(name) ?? 0, true);
  for (const edge of edges) {
    const chain = [edge.cause];
    for (let row = (depth.get(edge.cause) ?? 0) + 1; row < (depth.get(edge.effect) ?? 0); row++) {
      // Where a long edge passes a layer it counts in the order, so that it crosses little.
      const id = `${edge.cause}>${row}`;
      if (!slots.has(id)) put(id, row, false);
      chain.push(id);
    }
    chain.push(edge.effect);
    for (let i = 1; i < chain.length; i++) {
      const [upper = "", lower = ""] = [chain[i - 1], chain[i]];
      if (!slots.get(upper)?.below.includes(lower)) link(upper, lower);
    }
  }
  const width = Math.max(...rows.map((row) => span(row, sizes)));
  const x = new Map<string, number>();
  for (const row of rows) spread(row, x, width);
  for (let sweep = 0; sweep < 24; sweep++) {
    const down = sweep % 2 === 0;
    for (const row of down ? rows : rows.toReversed()) {
      const wish = (slot: Slot) => {
        const near = down ? slot.above : slot.below;
        const own = x.get(slot.id) ?? 0;
        return near.length === 0 ? own : near.reduce((sum, id) => sum + (x.get(id) ?? 0), 0) / near.length;
      };
      row.sort((a, b) => wish(a) - wish(b));
      spread(row, x, width);
    }
  }
  const at = (name: string) => ({ name, x: x.get(name) ?? 0, y: ((depth.get(name) ?? 0) + 0.5) * sizes.row });
  return {
    nodes: names.map(at),
    routes: edges.map((edge) => ({ edge, from: at(edge.cause), to: at(edge.effect) })),
    width,
    height: rows.length * sizes.row,
  };
}

function span(row: Slot[], { node }: Sizes): number {
  return row.filter(({ real }) => real).length * node;
}

/** Places of one layer in its order: variables evenly, edges that pass between them. */
function spread(row: Slot[], x: Map<string, number>, width: number): void {
  const step = width / Math.max(row.filter(({ real }) => real).length, 1);
  let left = 0;
  for (const { id, real } of row) {
    x.set(id, real ? left + step / 2 : left);
    if (real) left += step;
  }
}
