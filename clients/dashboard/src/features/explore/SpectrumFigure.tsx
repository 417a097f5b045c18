import { Box, Group, SegmentedControl, Text, useComputedColorScheme } from "@mantine/core";
import { useElementSize } from "@mantine/hooks";
import { type KeyboardEvent, type RefObject, memo, useCallback, useMemo, useRef } from "react";
import uPlot, { type AlignedData, type Options } from "uplot";
import type { Answer, Spectrum } from "../../api/queries";
import { number } from "../../lib/format";
import { letters } from "../../lib/letters";
import { UPlotChart } from "./UPlotChart";
import { ViewButtons } from "./ViewButtons";
import { DARK, LIGHT, axes, lineMarkers, wheelAndPan } from "./plotOptions";
import { bandPaths, linePaths } from "./columnPaths";
import { type Frame, counterfactualColumns, differences, limits, observedColumns, wavelengths } from "./spectrumData";
import classes from "./Explore.module.css";

interface Props {
  spectrum: Spectrum;
  /** Null while nothing is changed: there is then no second spectrum to draw. */
  answer: Answer | null;
  redshift: number | null;
  frame: Frame;
  onFrame: (frame: Frame) => void;
  smoothing: number;
  onSmoothing: (width: number) => void;
  figures: RefObject<(uPlot | null)[]>;
  stale: boolean;
}

const FLUX = "flux [10⁻¹⁷ erg s⁻¹ cm⁻² Å⁻¹]";
const SYNC = "acie-spectrum";
/** Both figures follow one mouse, and are zoomed by dragging along the wavelengths. */
const CURSOR: Options["cursor"] = {
  sync: { key: SYNC, setSeries: false, scales: ["x", null] },
  drag: { x: true, y: false, setScale: true },
  points: { show: false },
};
/** Limits are found below, and no series has points. */
const plain: uPlot.Series = { auto: false, points: { show: false } };
/** A series with the lower edge of a band: the upper one draws both. */
const edge: uPlot.Series = { ...plain, show: false };

function line(stroke: string, width: number): uPlot.Series {
  return { ...plain, stroke, width, cap: "square", paths: linePaths() };
}

function band(fill: string, lower: number): uPlot.Series {
  return { ...plain, fill, width: 0, paths: bandPaths(lower) };
}

/** Observed and counterfactual spectrum, and below them their difference. */
export const SpectrumFigure = memo(function SpectrumFigure(props: Props) {
  const { spectrum, answer, redshift, frame, onFrame, smoothing, onSmoothing, figures, stale } = props;
  const { ref, width } = useElementSize();
  const narrow = width < 560;
  const colours = useComputedColorScheme("light") === "dark" ? DARK : LIGHT;
  const stretch = frame === "rest" && redshift !== null ? 1 + redshift : 1;
  const x = useMemo(() => wavelengths(spectrum, stretch), [spectrum, stretch]);
  const observed = useMemo(() => observedColumns(spectrum, smoothing), [spectrum, smoothing]);
  const upper = useMemo<AlignedData>(
    () => [x, ...observed, ...counterfactualColumns(spectrum, answer, smoothing)],
    [x, observed, spectrum, answer, smoothing],
  );
  const lower = useMemo(() => (answer ? differences(x, spectrum, answer) : null), [x, spectrum, answer]);
  const readout = useRef<HTMLDivElement>(null);
  const view = useRef({ moving: false });
  // Lines stand where the galaxy's redshift puts them; in its rest frame, at their own wavelengths.
  const lineStretch = useRef(1);
  lineStretch.current = frame === "rest" ? 1 : 1 + (redshift ?? 0);
  const known = useRef(redshift !== null);
  known.current = redshift !== null;

  const move = useCallback(
    (low: number, high: number) => {
      const x = figures.current[0]?.data[0];
      if (!x) return;
      const [first, last] = [x[0] ?? 0, x[x.length - 1] ?? 1];
      const span = Math.min(Math.max(high - low, 20), last - first);
      const start = Math.min(Math.max(low, first), last - span);
      for (const plot of figures.current) plot?.setScale("x", { min: start, max: start + span });
    },
    [figures],
  );

  const follow = useCallback(
    (plot: uPlot, key: string) => {
      if (key !== "x" || view.current.moving) return;
      const { min, max } = plot.scales.x ?? {};
      if (typeof min !== "number" || typeof max !== "number") return;
      view.current.moving = true;
      for (const other of figures.current) {
        if (other && other !== plot && (other.scales.x?.min !== min || other.scales.x?.max !== max)) {
          other.setScale("x", { min, max });
        }
      }
      view.current.moving = false;
    },
    [figures],
  );

  const tell = useCallback((plot: uPlot) => {
    if (!readout.current) return;
    const { idx } = plot.cursor;
    const [x, high, , middle, cf84, cf16, cf] = plot.data;
    const at = typeof idx === "number" ? idx : null;
    const value = at === null ? null : middle?.[at];
    if (at === null || typeof value !== "number" || Number.isNaN(value)) {
      readout.current.textContent = "";
      return;
    }
    const parts = [`${(x?.[at] ?? 0).toFixed(0)} Å`, `observed ${number(value)} ± ${number((high?.[at] ?? value) - value, 2)}`];
    if (Number.isFinite(cf?.[at])) {
      parts.push(`counterfactual ${number(cf?.[at] as number)} (${number(cf16?.[at] ?? NaN)} to ${number(cf84?.[at] ?? NaN)})`);
    }
    readout.current.textContent = parts.join("  ·  ");
  }, []);

  const main = useMemo<Omit<Options, "width" | "height">>(() => {
    return {
      legend: { show: false },
      padding: [30 * letters(), 12, 0, 0],
      cursor: CURSOR,
      scales: {
        x: { time: false },
        y: {
          range: (plot) => {
            const [from, to] = plot.series[0]?.idxs ?? [0, 0];
            return limits([plot.data[3] ?? [], plot.data[6] ?? []], from, to);
          },
        },
      },
      axes: axes(colours, "", FLUX, narrow),
      series: [
        {}, band(colours.observedBand, 2), edge, line(colours.observed, 1),
        band(colours.counterfactualBand, 5), edge, line(colours.counterfactual, 1.25),
      ],
      hooks: { setScale: [follow], setCursor: [tell] },
      plugins: [lineMarkers(() => lineStretch.current, () => known.current, colours), wheelAndPan(move)],
    };
  }, [colours, narrow, follow, tell, move]);

  const difference = useMemo<Omit<Options, "width" | "height">>(() => ({
    legend: { show: false },
    padding: [6, 12, 0, 0],
    cursor: CURSOR,
    scales: {
      x: { time: false },
      y: {
        range: (plot) => {
          const [from, to] = plot.series[0]?.idxs ?? [0, 0];
          const [low, high] = limits([plot.data[1] ?? [], plot.data[2] ?? []], from, to);
          return [Math.min(low, 0), Math.max(high, 0)];
        },
      },
    },
    axes: axes(colours, frame === "rest" ? "rest wavelength, vacuum [Å]" : "observed wavelength, vacuum [Å]", "change", narrow),
    series: [{}, band(colours.counterfactualBand, 2), edge, line(colours.counterfactual, 1.25)],
    hooks: { setScale: [follow] },
    plugins: [wheelAndPan(move)],
  }), [colours, frame, narrow, follow, move]);

  const keepUpper = useCallback((plot: uPlot | null) => { figures.current[0] = plot; }, [figures]);
  const keepLower = useCallback((plot: uPlot | null) => { figures.current[1] = plot; }, [figures]);

  const step = useCallback((shift: number, zoom: number) => {
    const { min, max } = figures.current[0]?.scales.x ?? {};
    if (typeof min !== "number" || typeof max !== "number") return;
    const span = max - min;
    const middle = (min + max) / 2 + shift * span;
    move(middle - (span * zoom) / 2, middle + (span * zoom) / 2);
  }, [figures, move]);

  function onKey(event: KeyboardEvent) {
    const moves: Record<string, [number, number]> = {
      ArrowLeft: [-0.2, 1], ArrowRight: [0.2, 1], "+": [0, 0.7], "=": [0, 0.7], "-": [0, 1.4], "0": [0, 1e9],
    };
    const found = moves[event.key];
    if (!found) return;
    event.preventDefault();
    step(...found);
  }

  const [upperHeight, lowerHeight] = narrow ? [280, 120] : width > 1600 ? [640, 240] : [350, 130];
  const words = answer
    ? `Observed spectrum and counterfactual spectrum for ${answer.interventions.join(", ")}`
    : "Observed spectrum with its error band";
  return (
    <Box ref={ref}>
      <Controls
        answered={answer !== null} known={redshift !== null} frame={frame} onFrame={onFrame}
        smoothing={smoothing} onSmoothing={onSmoothing} step={step}
      />
      {/* The figure takes the keyboard as a whole: arrows move, + and - zoom, 0 shows all. */}
      {/* oxlint-disable-next-line jsx-a11y/no-noninteractive-tabindex */}
      <div tabIndex={0} role="group" aria-label="Spectrum: arrow keys move, plus and minus zoom, 0 shows all" onKeyDown={onKey} className={classes.figure} data-stale={stale || undefined} data-testid="spectrum">
        <UPlotChart data={upper} options={main} height={upperHeight} label={words} onReady={keepUpper} />
        {lower && (
          <UPlotChart data={lower} options={difference} height={lowerHeight} label="Counterfactual minus observed flux" onReady={keepLower} />
        )}
        {!lower && <Text size="xs" c="dimmed" ta="center">{frame === "rest" ? "rest" : "observed"} wavelength, vacuum [Å]</Text>}
      </div>
      <Text ref={readout} component="div" size="xs" c="dimmed" mih={18} className={classes.readout ?? ""} aria-hidden />
    </Box>
  );
});

interface ControlsProps extends Pick<Props, "frame" | "onFrame" | "smoothing" | "onSmoothing"> {
  answered: boolean;
  known: boolean;
  step: (shift: number, zoom: number) => void;
}

const Controls = memo(function Controls({ answered, known, frame, onFrame, smoothing, onSmoothing, step }: ControlsProps) {
  return (
    <Group justify="space-between" gap="xs" mb={4}>
      <Legend answer={answered} />
      <Group gap="xs">
        <SegmentedControl
          size="xs" aria-label="Wavelengths" value={frame} onChange={(value) => onFrame(value as Frame)} disabled={!known}
          data={[{ value: "observed", label: "Observed λ" }, { value: "rest", label: "Rest λ" }]}
        />
        <SegmentedControl
          size="xs" aria-label="Smoothing" value={String(smoothing)} onChange={(value) => onSmoothing(Number(value))}
          data={[{ value: "1", label: "Pixels" }, { value: "5", label: "5 Å mean" }, { value: "15", label: "15 Å" }]}
        />
        <ViewButtons step={step} />
      </Group>
    </Group>
  );
});

function Legend({ answer }: { answer: boolean }) {
  return (
    <Group gap="md" className={classes.legend ?? ""}>
      <span><i data-kind="observed" aria-hidden />observed ± error</span>
      {answer && <span><i data-kind="counterfactual" aria-hidden />counterfactual, 68 % band</span>}
    </Group>
  );
}
