import type uPlot from "uplot";
import { letters } from "../../lib/letters";
import { LINES } from "../../lib/lines";

export interface Colours {
  observed: string;
  observedBand: string;
  counterfactual: string;
  counterfactualBand: string;
  grid: string;
  text: string;
  line: string;
}

export const LIGHT: Colours = {
  observed: "#17598c", observedBand: "rgba(23, 89, 140, 0.16)",
  counterfactual: "#d2461b", counterfactualBand: "rgba(210, 70, 27, 0.24)",
  grid: "rgba(20, 40, 60, 0.08)", text: "#44515e", line: "rgba(60, 75, 90, 0.45)",
};

export const DARK: Colours = {
  observed: "#86b4da", observedBand: "rgba(134, 180, 218, 0.20)",
  counterfactual: "#f98a63", counterfactualBand: "rgba(249, 138, 99, 0.28)",
  grid: "rgba(200, 215, 230, 0.10)", text: "#aab6c2", line: "rgba(170, 185, 200, 0.45)",
};

const FAMILY = 'system-ui, "Segoe UI", Roboto, sans-serif';

/** Draws names and places of spectral lines behind the spectrum. */
export function lineMarkers(stretch: () => number, shown: () => boolean, colours: Colours): uPlot.Plugin {
  return {
    hooks: {
      drawAxes: (plot) => {
        if (!shown()) return;
        const { ctx, bbox } = plot;
        const ratio = window.devicePixelRatio * letters();
        ctx.save();
        ctx.beginPath();
        ctx.rect(bbox.left, 0, bbox.width, bbox.top + bbox.height);
        ctx.clip();
        ctx.font = `${11 * ratio}px ${FAMILY}`;
        ctx.fillStyle = colours.text;
        ctx.strokeStyle = colours.line;
        ctx.lineWidth = ratio;
        ctx.textAlign = "center";
        // Names are put in two rows, and left out where there is no room in either.
        const ends = [-Infinity, -Infinity];
        for (const { name, wavelength, kind } of LINES) {
          const x = plot.valToPos(wavelength * stretch(), "x", true);
          if (x < bbox.left || x > bbox.left + bbox.width) continue;
          ctx.setLineDash(kind === "absorption" ? [2 * ratio, 3 * ratio] : [5 * ratio, 3 * ratio]);
          ctx.beginPath();
          ctx.moveTo(x, bbox.top);
          ctx.lineTo(x, bbox.top + bbox.height);
          ctx.stroke();
          const half = ctx.measureText(name).width / 2;
          const row = ends.findIndex((end) => x - half > end + 5 * ratio);
          if (row < 0) continue;
          ends[row] = x + half;
          ctx.fillText(name, x, bbox.top - (6 + 13 * row) * ratio);
        }
        ctx.restore();
      },
    },
  };
}

/** The wheel zooms about the cursor; with Shift a drag moves along. */
export function wheelAndPan(move: (low: number, high: number) => void): uPlot.Plugin {
  return {
    hooks: {
      ready: (plot) => {
        const { over } = plot;
        over.addEventListener(
          "wheel",
          (event) => {
            // Only with Ctrl, as maps do it: the page must scroll on.
            if (!event.ctrlKey && !event.metaKey) return;
            event.preventDefault();
            const { min = 0, max = 1 } = plot.scales.x ?? {};
            if (min === null || max === null) return;
            const at = plot.posToVal(event.offsetX, "x");
            const factor = event.deltaY < 0 ? 0.8 : 1.25;
            move(at - (at - min) * factor, at + (max - at) * factor);
          },
          { passive: false },
        );
        over.addEventListener(
          "mousedown",
          (event) => {
            if (!event.shiftKey && event.button !== 1) return;
            event.preventDefault();
            event.stopImmediatePropagation();
            const { min, max } = plot.scales.x ?? {};
            if (typeof min !== "number" || typeof max !== "number") return;
            const from = event.clientX;
            const perPixel = (max - min) / over.clientWidth;
            const drag = (moved: MouseEvent) => {
              const by = (from - moved.clientX) * perPixel;
              move(min + by, max + by);
            };
            const end = () => {
              window.removeEventListener("mousemove", drag);
              window.removeEventListener("mouseup", end);
            };
            window.addEventListener("mousemove", drag);
            window.addEventListener("mouseup", end);
          },
          true,
        );
      },
    },
  };
}

export function axes(colours: Colours, xLabel: string, yLabel: string, narrow: boolean): uPlot.Axis[] {
  const size = letters();
  const FONT = `${12 * size}px ${FAMILY}`;
  const common = { stroke: colours.text, grid: { stroke: colours.grid, width: 1 }, ticks: { stroke: colours.grid, width: 1 }, font: FONT, labelFont: FONT };
  return [
    {
      ...common, label: xLabel, labelSize: xLabel ? 20 * size : 0, size: 28 * size, space: (narrow ? 70 : 90) * size,
      values: (_, ticks) => ticks.map((tick) => String(tick)),
    },
    { ...common, label: narrow ? "" : yLabel, labelSize: narrow ? 0 : 18 * size, size: (narrow ? 36 : 46) * size, space: 30 * size },
  ];
}
