/** How charts look: colours that follow the scheme, sizes, and what a tooltip is drawn on. */

import { letters } from "../lib/letters";

export const COLOURS = {
  blue: "var(--mantine-color-sea-filled)",
  pale: "var(--mantine-color-sea-light-color)",
  ember: "var(--mantine-color-ember-filled)",
  teal: "var(--mantine-color-teal-filled)",
  grape: "var(--mantine-color-grape-filled)",
  yellow: "var(--mantine-color-yellow-filled)",
  gray: "var(--mantine-color-gray-5)",
  text: "var(--mantine-color-dimmed)",
  grid: "var(--mantine-color-default-border)",
} as const;

/** Colours that tell one kind of thing from the next. */
export const SERIES = [COLOURS.ember, COLOURS.grape, COLOURS.yellow, COLOURS.teal, COLOURS.blue, COLOURS.gray] as const;

export const AXIS = { tick: { fontSize: "0.6875rem", fill: COLOURS.text }, stroke: COLOURS.grid, tickLine: false } as const;

export const TOOLTIP = {
  contentStyle: {
    background: "var(--mantine-color-body)",
    border: "1px solid var(--mantine-color-default-border)",
    borderRadius: "var(--mantine-radius-sm)",
    fontSize: "0.75rem",
  },
  labelStyle: { color: "var(--mantine-color-text)", fontWeight: 600 },
  isAnimationActive: false,
} as const;

/** The width of an axis, where letters may be larger than usual. */
export function wide(width: number): number {
  return width * letters();
}

export const MARGIN = { top: 8, right: 12, bottom: 4, left: 0 } as const;
/** What a chart is before its place is measured: without it the first drawing has no size. */
export const FIRST = { width: 400, height: 220 } as const;
