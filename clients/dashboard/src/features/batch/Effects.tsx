import { Select, SimpleGrid, Table } from "@mantine/core";
import { useMemo, useState } from "react";
import { Bar, BarChart, CartesianGrid, ReferenceLine, Scatter, ScatterChart, Tooltip, XAxis, YAxis } from "recharts";
import { Chart } from "../../components/Chart";
import { AXIS, COLOURS, MARGIN, TOOLTIP, wide } from "../../components/chartStyle";
import { Empty } from "../../components/Empty";
import { Panel } from "../../components/Panel";
import { number, unit, words } from "../../lib/format";
import { effectsOf, histogram, points, spread } from "./population";
import { type Answered, type Quantity, effectUnit } from "./table";

const signed = (value: number) => `${value > 0 ? "+" : ""}${number(value)}`;

interface Props {
  rows: Answered[];
  quantities: Quantity[];
}

/** What the action does to the galaxies of the catalogue together. */
export function Effects({ rows, quantities }: Props) {
  const moved = quantities.filter((one) => one.moved);
  const [onName, setOn] = useState<string | null>(null);
  const [againstName, setAgainst] = useState<string | null>(null);
  const on = quantities.find((one) => one.name === onName) ?? quantities.find((one) => one.name === "dn4000") ?? moved[0];
  const against = quantities.find((one) => one.name === againstName) ?? quantities.find((one) => one.name === "stellar_mass");
  if (moved.length === 0 || !on || !against) {
    return <Panel title="Effects"><Empty title="Nothing was done">Add an action to the question to see what it does to the population.</Empty></Panel>;
  }
  const options = (of: Quantity[]) => of.map((one) => ({ value: one.name, label: label(one) }));
  return (
    <SimpleGrid cols={{ base: 1, md: 2, lg: 3 }} spacing="md">
      <Panel
        title="Distribution of the effect" about="Counterfactual minus factual median of every galaxy; in dex where the quantity is logarithmic."
        aside={<Select size="xs" w={170} aria-label="Effect on" allowDeselect={false} searchable data={options(moved)} value={on.name} onChange={setOn} />}
      >
        <Distribution rows={rows} of={on} />
      </Panel>
      <Panel
        title="Effect against" about={`Change of ${label(on)} against ${label(against)} as it is; galaxies with a flag are hollow.`}
        aside={<Select size="xs" w={170} aria-label="Against" allowDeselect={false} searchable data={options(quantities)} value={against.name} onChange={setAgainst} />}
      >
        <Against rows={rows} x={against} y={on} />
      </Panel>
      <Panel title="Effects on all descendants" about="Median over the galaxies, and their central 68 %.">
        <All rows={rows} moved={moved} chosen={on.name} onChoose={setOn} />
      </Panel>
    </SimpleGrid>
  );
}

const NAMES: Record<string, string> = { dn4000: "Dₙ4000", hdelta_a: "Hδ_A", halpha_ew: "EW(Hα)", oiii_ew: "EW([O III])" };

export function label(of: Quantity): string {
  return NAMES[of.name] ?? words(of.name);
}

function Distribution({ rows, of }: { rows: Answered[]; of: Quantity }) {
  const values = useMemo(() => effectsOf(rows, of), [rows, of]);
  const found = spread(values);
  if (found === null) return <Empty title="No galaxy has this quantity">Its window may not be covered by these spectra.</Empty>;
  const inUnit = unit(effectUnit(of));
  return (
    <Chart label={`Median ${signed(found.middle)} ${inUnit}, central 68 % ${signed(found.low)} to ${signed(found.high)}, ${found.count} galaxies.`} height={250}>
      <BarChart data={histogram(values)} margin={{ ...MARGIN, bottom: 18 }} barCategoryGap={1}>
        <CartesianGrid stroke={COLOURS.grid} vertical={false} strokeDasharray="3 3" />
        <XAxis
          dataKey="middle" type="number" domain={["auto", "auto"]} tickFormatter={signed} {...AXIS}
          label={{ value: `change of ${label(of)}${inUnit ? ` (${inUnit})` : ""}`, position: "insideBottom", offset: -12, fontSize: "0.75rem", fill: COLOURS.text }}
        />
        <YAxis {...AXIS} width={wide(36)} allowDecimals={false} />
        <Tooltip {...TOOLTIP} cursor={false} labelFormatter={(v) => `around ${signed(Number(v))} ${inUnit}`} />
        <ReferenceLine x={0} stroke={COLOURS.text} ifOverflow="hidden" />
        <Bar dataKey="count" name="galaxies" fill={COLOURS.blue} isAnimationActive={false} />
        <ReferenceLine x={found.middle} stroke={COLOURS.ember} strokeWidth={2} strokeDasharray="4 4" zIndex={500} />
      </BarChart>
    </Chart>
  );
}

function Against({ rows, x, y }: { rows: Answered[]; x: Quantity; y: Quantity }) {
  const found = useMemo(() => points(rows, x, y), [rows, x, y]);
  if (found.length === 0) return <Empty title="No galaxy has both" />;
  const [inX, inY] = [unit(x.unit), unit(effectUnit(y))];
  const axis = { fontSize: "0.75rem", fill: COLOURS.text };
  return (
    <Chart label={`${found.length} galaxies.`} height={250}>
      <ScatterChart margin={{ ...MARGIN, bottom: 18, left: 8 }}>
        <CartesianGrid stroke={COLOURS.grid} strokeDasharray="3 3" />
        <XAxis
          dataKey="x" type="number" domain={["auto", "auto"]} tickFormatter={(v: number) => number(v)} {...AXIS}
          label={{ value: `${x.logarithmic ? "log₁₀ " : ""}${label(x)}${inX ? ` (${inX})` : ""}`, position: "insideBottom", offset: -12, ...axis }}
        />
        <YAxis
          dataKey="y" type="number" domain={["auto", "auto"]} width={56} tickFormatter={signed} {...AXIS}
          label={{ value: `change${inY ? ` (${inY})` : ""}`, angle: -90, position: "insideLeft", offset: 2, ...axis }}
        />
        <Tooltip
          {...TOOLTIP} cursor={false}
          formatter={(v, name) => [name === "x" ? number(Number(v)) : `${signed(Number(v))} ${inY}`, name === "x" ? label(x) : `change of ${label(y)}`]}
        />
        <ReferenceLine y={0} stroke={COLOURS.text} />
        <Scatter data={found.filter((one) => !one.flagged)} fill={COLOURS.blue} fillOpacity={0.6} isAnimationActive={false} />
        <Scatter data={found.filter((one) => one.flagged)} fill="none" stroke={COLOURS.ember} isAnimationActive={false} />
      </ScatterChart>
    </Chart>
  );
}

interface AllProps {
  rows: Answered[];
  moved: Quantity[];
  chosen: string;
  onChoose: (name: string) => void;
}

function All({ rows, moved, chosen, onChoose }: AllProps) {
  const found = useMemo(() => moved.map((of) => ({ of, is: spread(effectsOf(rows, of)) })), [rows, moved]);
  return (
    <Table.ScrollContainer minWidth={280} mah={280} type="native" tabIndex={0} aria-label="Effects on all descendants">
      <Table fz="xs" verticalSpacing={3} horizontalSpacing={6} stickyHeader highlightOnHover>
        <Table.Thead>
          <Table.Tr>{["Quantity", "Median", "68 % of galaxies"].map((name) => <Table.Th key={name} scope="col">{name}</Table.Th>)}</Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {found.map(({ of, is }) => (
            <Table.Tr key={of.name} onClick={() => onChoose(of.name)} style={{ cursor: "pointer" }} bg={of.name === chosen ? "var(--mantine-primary-color-light)" : undefined}>
              <Table.Th scope="row" fw={500} title={of.description}>{label(of)}</Table.Th>
              <Table.Td style={{ whiteSpace: "nowrap" }}>{is ? `${signed(is.middle)} ${unit(effectUnit(of))}` : "–"}</Table.Td>
              <Table.Td style={{ whiteSpace: "nowrap" }}>{is ? `${signed(is.low)} to ${signed(is.high)}` : "not covered"}</Table.Td>
            </Table.Tr>
          ))}
        </Table.Tbody>
      </Table>
    </Table.ScrollContainer>
  );
}
