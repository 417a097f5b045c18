import { Skeleton } from "@mantine/core";
import { useMemo } from "react";
import {
  Area, AreaChart, Bar, BarChart, CartesianGrid, ComposedChart, Legend, Line, LineChart, ReferenceLine, Tooltip, XAxis, YAxis,
} from "recharts";
import { Chart } from "../../components/Chart";
import { AXIS, COLOURS, MARGIN, SERIES, TOOLTIP, wide } from "../../components/chartStyle";
import { Empty } from "../../components/Empty";
import { Panel } from "../../components/Panel";
import { number, words } from "../../lib/format";
import { clock, milliseconds, share } from "../../lib/times";
import type { History, Metrics } from "./queries";
import { toRows } from "./rows";

const GRID = <CartesianGrid stroke={COLOURS.grid} strokeDasharray="3 3" vertical={false} />;
const LEGEND = <Legend wrapperStyle={{ fontSize: "0.75rem" }} iconSize={10} itemSorter={null} />;

function timeAxis() {
  return <XAxis dataKey="time" type="number" domain={["dataMin", "dataMax"]} tickFormatter={clock} minTickGap={48} {...AXIS} />;
}

function tip(format: (value: number) => string) {
  const shown = (value: unknown) =>
    Array.isArray(value) ? value.map((one) => format(Number(one))).join(" – ") : format(Number(value));
  return <Tooltip {...TOOLTIP} labelFormatter={(time) => clock(Number(time))} formatter={shown} />;
}

/** Everything that has a past, as charts over time. */
export function TimeCharts({ history }: { history: History | undefined }) {
  const { rows, kinds } = useMemo(() => toRows(history?.points ?? []), [history]);
  if (!history) {
    return <>{["Latency", "Throughput", "Errors", "Load", "Reuse", "Confidence"].map((name) => <Skeleton key={name} h={300} aria-label={`${name} is loading`} />)}</>;
  }
  const asked = rows.some((row) => row.requests > 0);
  const last = rows.findLast((row) => row.p50 !== null);
  const line = { dot: { r: 1 }, isAnimationActive: false, connectNulls: false, strokeWidth: 2, type: "linear" } as const;
  return (
    <>
      <Panel title="Latency" about="From question to answer.">
        {asked ? (
          <Chart label={last ? `Last: median ${milliseconds(last.p50)}, 99 % ${milliseconds(last.p99)}.` : "No questions."}>
            <LineChart data={rows} margin={MARGIN}>
              {GRID}{timeAxis()}
              <YAxis {...AXIS} width={wide(60)} tickFormatter={milliseconds} />
              {tip(milliseconds)}{LEGEND}
              <Line {...line} dataKey="p50" name="median" stroke={COLOURS.blue} />
              <Line {...line} dataKey="p90" name="90 %" stroke={COLOURS.yellow} />
              <Line {...line} dataKey="p99" name="99 %" stroke={COLOURS.ember} />
            </LineChart>
          </Chart>
        ) : <Quiet />}
      </Panel>
      <Panel title="Throughput" about="Questions per second, answered or not.">
        <Chart label={`Last step: ${number(rows.at(-1)?.per_second ?? 0)} questions per second.`}>
          <AreaChart data={rows} margin={MARGIN}>
            {GRID}{timeAxis()}
            <YAxis {...AXIS} width={wide(44)} tickFormatter={(v: number) => number(v)} />
            {tip((v) => `${number(v)}/s`)}
            <Area dataKey="per_second" name="questions" stroke={COLOURS.blue} fill={COLOURS.blue} fillOpacity={0.2} isAnimationActive={false} type="stepAfter" />
          </AreaChart>
        </Chart>
      </Panel>
      <Panel title="Errors" about="Questions without an answer, by kind of problem.">
        {kinds.length > 0 ? (
          <Chart label={`Kinds: ${kinds.join(", ")}.`}>
            <BarChart data={rows} margin={MARGIN}>
              {GRID}{timeAxis()}
              <YAxis {...AXIS} width={wide(36)} allowDecimals={false} />
              {tip((v) => String(v))}{LEGEND}
              {kinds.map((kind, i) => (
                <Bar key={kind} dataKey={`errors.${kind}`} name={kind.replaceAll("-", " ")} stackId="errors" fill={SERIES[i % SERIES.length] ?? COLOURS.gray} isAnimationActive={false} />
              ))}
            </BarChart>
          </Chart>
        ) : <Empty title="No errors">Every question of this time had an answer.</Empty>}
      </Panel>
      <Panel title="Load" about="Galaxies that wait for the engine, and calls being answered; the most in each step.">
        <Chart label={`Queue: at most ${Math.max(0, ...rows.map((row) => row.queue ?? 0))}.`}>
          <LineChart data={rows} margin={MARGIN}>
            {GRID}{timeAxis()}
            <YAxis {...AXIS} width={wide(36)} allowDecimals={false} />
            {tip((v) => number(v))}{LEGEND}
            <Line {...line} type="stepAfter" dataKey="queue" name="queue" stroke={COLOURS.ember} />
            <Line {...line} type="stepAfter" dataKey="in_flight" name="calls" stroke={COLOURS.blue} />
          </LineChart>
        </Chart>
      </Panel>
      <Panel title="Cache and flags" about="Share of answers that were there already, and that carry a quality flag.">
        {asked ? (
          <Chart label="Shares of answers over time.">
            <LineChart data={rows} margin={MARGIN}>
              {GRID}{timeAxis()}
              <YAxis {...AXIS} width={wide(54)} domain={[0, 1]} tickFormatter={share} />
              {tip(share)}{LEGEND}
              <Line {...line} dot={{ r: 1.5 }} dataKey="reused" name="from the cache" stroke={COLOURS.teal} />
              <Line {...line} dot={{ r: 1.5 }} dataKey="flagged" name="flagged" stroke={COLOURS.yellow} />
            </LineChart>
          </Chart>
        ) : <Quiet />}
      </Panel>
      <Panel title="Confidence" about="Importance-sampling efficiency: median and central 68 %.">
        {asked ? (
          <Chart label="Confidence of answers over time.">
            <ComposedChart data={rows} margin={MARGIN}>
              {GRID}{timeAxis()}
              <YAxis {...AXIS} width={wide(54)} domain={[0, 1]} tickFormatter={share} />
              {tip(share)}{LEGEND}
              <Area dataKey="band" name="68 %" stroke="none" fill={COLOURS.blue} fillOpacity={0.2} isAnimationActive={false} type="linear" />
              <Line {...line} dot={{ r: 1.5 }} dataKey="confidence" name="median" stroke={COLOURS.blue} />
            </ComposedChart>
          </Chart>
        ) : <Quiet />}
      </Panel>
    </>
  );
}

function Quiet() {
  return <Empty title="No questions in this time">Ask something on the page Explore, or send a request to the service.</Empty>;
}

/** The distribution of the confidence of the last hour. */
export function ConfidenceHistogram({ metrics }: { metrics: Metrics }) {
  const { edges, counts } = metrics.confidence;
  const rows = edges.map((edge, i) => ({ middle: (edge + (edges[i - 1] ?? 0)) / 2, count: counts[i] ?? 0 }));
  if (counts.every((count) => count === 0)) return <Quiet />;
  return (
    <Chart label={`Answers by confidence, ${counts.reduce((a, b) => a + b, 0)} in all.`}>
      <BarChart data={rows} margin={MARGIN} barCategoryGap={1}>
        {GRID}
        <XAxis dataKey="middle" type="number" domain={[0, 1]} tickFormatter={share} {...AXIS} />
        <YAxis {...AXIS} width={wide(36)} allowDecimals={false} />
        <Tooltip {...TOOLTIP} labelFormatter={(v) => `around ${share(Number(v))}`} />
        <Bar dataKey="count" name="answers" fill={COLOURS.blue} isAnimationActive={false} />
      </BarChart>
    </Chart>
  );
}

/** How far the galaxies that are asked about are from the training population. */
export function Drift({ metrics }: { metrics: Metrics }) {
  const found = metrics.models.flatMap((model) =>
    Object.entries(model.drift).map(([name, value]) => ({
      name: words(name), value, fill: value > 0.25 ? COLOURS.ember : value > 0.1 ? COLOURS.yellow : COLOURS.blue,
    })),
  );
  if (found.length === 0) {
    return <Empty title="Too few galaxies">After 50 the posteriors are compared with the training population.</Empty>;
  }
  const rows = found.toSorted((a, b) => b.value - a.value);
  return (
    <Chart label={`Largest: ${rows[0]?.name} ${number(rows[0]?.value ?? 0)}.`} height={Math.max(220, 24 * rows.length)}>
      <BarChart data={rows} layout="vertical" margin={MARGIN}>
        <XAxis type="number" {...AXIS} domain={[0, (most: number) => Math.max(0.3, most)]} tickFormatter={(v: number) => number(v)} />
        <YAxis type="category" dataKey="name" width={wide(132)} {...AXIS} interval={0} />
        <Tooltip {...TOOLTIP} formatter={(v) => number(Number(v))} />
        <ReferenceLine x={0.1} stroke={COLOURS.yellow} strokeDasharray="4 4" />
        <ReferenceLine x={0.25} stroke={COLOURS.ember} strokeDasharray="4 4" />
        <Bar dataKey="value" name="stability index" isAnimationActive={false} />
      </BarChart>
    </Chart>
  );
}
