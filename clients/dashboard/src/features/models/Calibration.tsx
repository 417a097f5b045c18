import { Group, Select, SimpleGrid, Stack, Text } from "@mantine/core";
import { useState } from "react";
import { Bar, BarChart, CartesianGrid, Line, LineChart, ReferenceArea, ReferenceLine, Tooltip, XAxis, YAxis } from "recharts";
import { Chart } from "../../components/Chart";
import { AXIS, COLOURS, MARGIN, TOOLTIP, wide } from "../../components/chartStyle";
import { Panel } from "../../components/Panel";
import { number, unit, words } from "../../lib/format";
import { share } from "../../lib/times";
import { coverageRows, rankBand, tarpRows } from "./calibrationRows";
import type { Evaluation } from "./queries";

const points = (value: number) => `${value > 0 ? "+" : ""}${(100 * value).toFixed(1).replace("-", "−")} points`;
const GRID = <CartesianGrid stroke={COLOURS.grid} strokeDasharray="3 3" />;

/** Coverage minus level of every variable; the one that was chosen stands out. */
function Coverage({ of, chosen }: { of: Evaluation; chosen: string }) {
  const { coverage } = of;
  const names = Object.keys(coverage.curves);
  const worst = coverage.largest_deviation[chosen] ?? NaN;
  const limit = coverage.limit;
  return (
    <Panel
      title="Coverage of intervals"
      about={`How much more often than promised an interval holds the truth. A perfect model leaves the band in 1 % of evaluations; ${words(chosen)} is off by at most ${(100 * worst).toFixed(1)} points.`}
    >
      <Chart label={`${words(chosen)}: off by at most ${points(worst)}; limit ${points(limit)}.`} height={260}>
        <LineChart data={coverageRows(coverage)} margin={MARGIN}>
          {GRID}
          <XAxis dataKey="level" type="number" domain={[0, 1]} tickFormatter={share} {...AXIS} />
          <YAxis {...AXIS} width={wide(52)} domain={[-1.4 * limit, 1.4 * limit]} ticks={[-0.06, -0.04, -0.02, 0, 0.02, 0.04, 0.06].filter((v) => Math.abs(v) <= 1.4 * limit)} tickFormatter={(v: number) => (100 * v).toFixed(0).replace("-", "−")} />
          <ReferenceArea y1={-limit} y2={limit} fill={COLOURS.blue} fillOpacity={0.08} stroke="none" />
          <ReferenceLine y={0} stroke={COLOURS.text} />
          <Tooltip
            {...TOOLTIP} labelFormatter={(v) => `level ${share(Number(v))}`}
            formatter={(v, name) => [points(Number(v)), words(String(name))]} filterNull
            itemSorter={(item) => (item.dataKey === chosen ? -1 : 1)}
          />
          {names.filter((name) => name !== chosen).map((name) => (
            <Line key={name} dataKey={name} stroke={COLOURS.gray} strokeOpacity={0.6} strokeWidth={1} dot={false} isAnimationActive={false} tooltipType="none" />
          ))}
          <Line dataKey={chosen} stroke={COLOURS.ember} strokeWidth={2.5} dot={false} isAnimationActive={false} />
        </LineChart>
      </Chart>
    </Panel>
  );
}

/** Ranks of the truth among draws: flat if the posterior is right. */
function Ranks({ of, chosen }: { of: Evaluation; chosen: string }) {
  const counts = of.sbc.counts[chosen] ?? [];
  const { mean, low, high } = rankBand(of.count, counts.length);
  const p = of.sbc.p_bonferroni[chosen];
  const rows = counts.map((count, rank) => ({ rank, count }));
  return (
    <Panel
      title="Ranks of the truth (SBC)"
      about={`Among ${of.sbc.ranked} draws. Flat if the posterior is right: a cup is too narrow, a hill too wide, a slope is biased. p = ${p == null ? "–" : number(p)} after Bonferroni.`}
    >
      <Chart label={`${words(chosen)}: ranks from ${Math.min(...counts)} to ${Math.max(...counts)} galaxies each; ${Math.round(mean)} expected.`} height={260}>
        <BarChart data={rows} margin={MARGIN} barCategoryGap={1}>
          <XAxis dataKey="rank" {...AXIS} />
          <YAxis {...AXIS} width={wide(40)} domain={[0, (most: number) => Math.ceil(Math.max(most, high) * 1.1)]} />
          <ReferenceArea y1={low} y2={high} fill={COLOURS.gray} fillOpacity={0.25} stroke="none" />
          <ReferenceLine y={mean} stroke={COLOURS.text} strokeDasharray="4 4" />
          <Tooltip {...TOOLTIP} labelFormatter={(v) => `rank ${v}`} cursor={false} />
          <Bar dataKey="count" name="galaxies" fill={COLOURS.blue} fillOpacity={0.8} isAnimationActive={false} />
        </BarChart>
      </Chart>
    </Panel>
  );
}

function Tarp({ of }: { of: Evaluation }) {
  const rows = tarpRows(of.tarp);
  if (rows.length === 0) return null;
  const p = Number(of.tarp?.p);
  return (
    <Panel title="All variables together (TARP)" about={`Coverage minus level of balls around random points, with its 99 % band. p = ${number(p)}.`}>
      <Chart label={`Inside its band: ${of.tarp?.inside ? "yes" : "no"}.`} height={260}>
        <LineChart data={rows} margin={MARGIN}>
          {GRID}
          <XAxis dataKey="level" type="number" domain={[0, 1]} tickFormatter={share} {...AXIS} />
          <YAxis {...AXIS} width={wide(52)} tickFormatter={(v: number) => (100 * v).toFixed(0).replace("-", "−")} />
          <ReferenceLine y={0} stroke={COLOURS.text} />
          <Tooltip {...TOOLTIP} labelFormatter={(v) => `level ${share(Number(v))}`} formatter={(v) => points(Number(v))} />
          <Line dataKey="low" name="99 % from" stroke={COLOURS.gray} strokeDasharray="4 4" dot={false} isAnimationActive={false} />
          <Line dataKey="high" name="99 % to" stroke={COLOURS.gray} strokeDasharray="4 4" dot={false} isAnimationActive={false} />
          <Line dataKey="coverage" name="measured" stroke={COLOURS.ember} strokeWidth={2} dot={false} isAnimationActive={false} />
        </LineChart>
      </Chart>
    </Panel>
  );
}

interface BinRow {
  bin: string;
  count: number;
  scatter: Record<string, number>;
  coverage_by_variable: Record<string, number>;
}

/** How scatter and coverage of a variable depend on what was observed. */
function Binned({ of, chosen }: { of: Evaluation; chosen: string }) {
  const tables = (of.binned ?? {}) as Record<string, { title: string; rows: BinRow[] }>;
  const [by, setBy] = useState("snr");
  const table = tables[by] ?? Object.values(tables)[0];
  if (!table) return null;
  const rows = table.rows.map((row) => ({ bin: row.bin, scatter: row.scatter[chosen] ?? null, coverage: row.coverage_by_variable[chosen] ?? null, count: row.count }));
  const of_unit = unit(of.recovery[chosen]?.unit ?? "");
  return (
    <Panel
      title="Scatter in bins" about={`Robust scatter of the medians of ${words(chosen)} about the truth${of_unit ? `, ${of_unit}` : ""}, by measured quantities.`}
      aside={<Select size="xs" w={160} aria-label="Bins of" allowDeselect={false} data={Object.entries(tables).map(([value, t]) => ({ value, label: t.title }))} value={by} onChange={(value) => setBy(value ?? "snr")} />}
    >
      {rows.some((row) => row.scatter !== null) ? (
        <Chart label={rows.map((row) => `${row.bin}: ${number(row.scatter ?? NaN)}`).join("; ")} height={260}>
          <BarChart data={rows} margin={MARGIN}>
            <XAxis dataKey="bin" {...AXIS} interval={0} />
            <YAxis {...AXIS} width={wide(52)} tickFormatter={(v: number) => number(v)} />
            <Tooltip {...TOOLTIP} cursor={false} formatter={(v, _n, item) => `${number(Number(v))} ${of_unit}, 68 % intervals cover ${share(item.payload.coverage)} of ${item.payload.count}`} />
            <Bar dataKey="scatter" fill={COLOURS.teal} isAnimationActive={false} />
          </BarChart>
        </Chart>
      ) : <Text size="sm" c="dimmed">No scatter is defined for this variable.</Text>}
    </Panel>
  );
}

/** Calibration of one variable, and of all together. */
export function Calibration({ of }: { of: Evaluation }) {
  const names = Object.keys(of.coverage.curves);
  const [chosen, setChosen] = useState(names.includes("stellar_mass") ? "stellar_mass" : (names[0] ?? ""));
  return (
    <Stack gap="md">
      <Group>
        <Select
          label="Variable" allowDeselect={false} value={chosen} onChange={(value) => value && setChosen(value)}
          data={names.map((name) => ({ value: name, label: words(name) }))} maw={260}
        />
      </Group>
      <SimpleGrid cols={{ base: 1, md: 2 }} spacing="md">
        <Coverage of={of} chosen={chosen} />
        <Ranks of={of} chosen={chosen} />
        <Tarp of={of} />
        <Binned of={of} chosen={chosen} />
      </SimpleGrid>
    </Stack>
  );
}
