import { memo, useLayoutEffect, useRef } from "react";
import uPlot, { type AlignedData, type Options } from "uplot";
import "uplot/dist/uPlot.min.css";

interface Props {
  data: AlignedData;
  /** Changes only where the figure has to be made again. */
  options: Omit<Options, "width" | "height">;
  height: number;
  label: string;
  onReady?: (plot: uPlot | null) => void;
}

/** uPlot in React: made once, then only given new data and sizes. */
export const UPlotChart = memo(function UPlotChart({ data, options, height, label, onReady }: Props) {
  const host = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | null>(null);
  const latest = useRef(data);
  latest.current = data;

  useLayoutEffect(() => {
    const element = host.current;
    if (!element) return;
    const made = new uPlot({ ...options, width: Math.max(element.clientWidth, 120), height }, latest.current, element);
    plot.current = made;
    onReady?.(made);
    const observer = new ResizeObserver(() => {
      const width = Math.max(element.clientWidth, 120);
      if (width !== made.width) made.setSize({ width, height });
    });
    observer.observe(element);
    return () => {
      observer.disconnect();
      onReady?.(null);
      made.destroy();
      plot.current = null;
    };
  }, [options, height, onReady]);

  // Before the browser paints: figure and numbers change together.
  useLayoutEffect(() => {
    const made = plot.current;
    if (!made || made.data === data) return;
    // The view stays where somebody zoomed to, unless the wavelengths are others.
    const same = made.data[0]?.[0] === data[0]?.[0] && made.data[0]?.length === data[0]?.length;
    const { min, max } = made.scales.x ?? {};
    made.batch(() => {
      made.setData(data, !same);
      // Setting x anew makes uPlot find the limits of y again.
      if (same && typeof min === "number" && typeof max === "number") made.setScale("x", { min, max });
    });
  }, [data]);

  return <div ref={host} role="img" aria-label={label} style={{ width: "100%", minHeight: height }} />;
});
