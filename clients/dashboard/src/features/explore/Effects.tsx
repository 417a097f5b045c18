import { ActionIcon, ScrollArea, Table, Text, Tooltip } from "@mantine/core";
import { memo, useMemo } from "react";
import type { Answer, Graph, Variable } from "../../api/queries";
import { number, quantity, shared, words } from "../../lib/format";
import { type Marginals, marginals, onScale, pairedChange } from "../../lib/marginals";
import type { Question } from "../../lib/question";
import { roles } from "./GraphView";
import classes from "./Explore.module.css";

interface Props {
  graph: Graph;
  question: Question;
  answer: Answer;
  onHold: (name: string) => void;
}

interface Said {
  middle: string;
  /** The interval, in a few words. */
  rest?: string;
}

interface Row {
  variable: Variable;
  role: string;
  before: Said;
  after: Said | null;
  change: Said;
  /** How far it moved, in widths of its posterior. */
  size: number;
  curves: Marginals | null;
}

/** The state before and after, what moved most first. */
export const Effects = memo(function Effects({ graph, question, answer, onHold }: Props) {
  const rows = useMemo(() => makeRows(graph, question, answer), [graph, question, answer]);
  const asked = answer.interventions.length > 0;
  return (
    <ScrollArea type="auto" offsetScrollbars="x">
      <Table verticalSpacing={4} horizontalSpacing={6} className={classes.effects ?? ""} data-testid="effects">
        <Table.Caption className={classes.caption ?? ""}>
          <span>{asked ? "Median and 68 % interval of every variable, before and after; the change is that of the same draw." : "The state of the galaxy: median and 68 % interval of every variable."}</span>
        </Table.Caption>
        <Table.Thead>
          <Table.Tr>
            <Table.Th scope="col">Variable</Table.Th>
            {asked && <Table.Th scope="col">Change</Table.Th>}
            <Table.Th scope="col">Posterior</Table.Th>
            <Table.Th scope="col">Is</Table.Th>
            {asked && <Table.Th scope="col">Would have been</Table.Th>}
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {rows.map((row) => <EffectRow key={row.variable.name} row={row} asked={asked} onHold={onHold} />)}
        </Table.Tbody>
      </Table>
    </ScrollArea>
  );
});

/** Plain cells: there are many, and they change with every answer. */
function EffectRow({ row, asked, onHold }: { row: Row; asked: boolean; onHold: (name: string) => void }) {
  const { variable, role, before, after, change, curves } = row;
  return (
    <tr data-role={role} data-effect={variable.name}>
      <th scope="row"><Name variable={variable} role={role} asked={asked} onHold={onHold} /></th>
      {asked && <td><Interval {...change} /></td>}
      <td><Curves curves={curves} asked={asked} name={variable.name} /></td>
      <td><Interval {...before} /></td>
      {asked && <td>{after && <Interval {...after} />}</td>}
    </tr>
  );
}

const Name = memo(function Name({ variable, role, asked, onHold }: Pick<Row, "variable" | "role"> & { asked: boolean; onHold: (name: string) => void }) {
  const holdable = (role === "moved" || role === "held") && variable.intervenable;
  const label = role === "held" ? `Let ${words(variable.name)} follow its causes` : `Hold ${words(variable.name)} as it is`;
  return (
    <span className={classes.cell}>
      <Tooltip label={variable.description} withArrow><span>{words(variable.name)}</span></Tooltip>
      {role === "acted" && <Text span size="xs" c="ember">changed</Text>}
      {asked && holdable && <Hold held={role === "held"} label={label} onClick={() => onHold(variable.name)} />}
    </span>
  );
});

function Hold({ held, label, onClick }: { held: boolean; label: string; onClick: () => void }) {
  return (
    <Tooltip label={label}>
      <ActionIcon size={22} variant={held ? "filled" : "default"} aria-label={label} aria-pressed={held} onClick={onClick}>
        <svg className={classes.pin} viewBox="-5 -7 10 12" aria-hidden>
          <path d={held ? "M-3 -1 v-2 a3 3 0 0 1 6 0 v2 M-4 -1 h8 v5 h-8 z" : "M-3 -1 v-2 a3 3 0 0 1 5.6 -1.4 M-4 -1 h8 v5 h-8 z"} fill="none" stroke="currentColor" strokeWidth="1.2" />
        </svg>
      </ActionIcon>
    </Tooltip>
  );
}

function Interval({ middle, rest }: Said) {
  return <>{middle}{rest && <span className={classes.interval}> {rest}</span>}</>;
}

function Curves({ curves, asked, name }: { curves: Marginals | null; asked: boolean; name: string }) {
  if (!curves) return null;
  const [width, height] = [92, 24];
  // Tenths of a pixel; written by hand, as there are thousands of them in every answer.
  const tenth = (v: number) => Math.round(10 * v) / 10;
  const path = (density: number[]) =>
    density.map((d, i) => `${i === 0 ? "M" : "L"}${tenth((i / (density.length - 1)) * width)} ${tenth(height - 1 - d * (height - 3))}`).join("");
  const at = curves.point === null ? null : ((curves.point - curves.low) / (curves.high - curves.low)) * width;
  return (
    <svg viewBox={`0 0 ${width} ${height}`} role="img" aria-label={`Posterior of ${words(name)}${asked ? ", before and after" : ""}`} className={classes.curves}>
      <path d={`${path(curves.before)}L${width} ${height}L0 ${height}z`} data-world="before" />
      {asked && curves.after.length > 0 && <path d={`${path(curves.after)}L${width} ${height}L0 ${height}z`} data-world="after" />}
      {asked && at !== null && <line x1={at} x2={at} y1={2} y2={height} data-world="after" />}
    </svg>
  );
}

function makeRows(graph: Graph, question: Question, answer: Answer): Row[] {
  const role = roles(graph, question);
  const rows = graph.variables.flatMap((variable): Row[] => {
    const { name, transform, kind } = variable;
    const [is, would] = [answer.latents[name], answer.counterfactual_latents[name]];
    if (!is || !would || !answer.draws) return [];
    const log = transform === "log10";
    const before = onScale(answer.draws.latents[name] ?? [], log);
    const after = onScale(answer.draws.counterfactual_latents[name] ?? [], log);
    const moved = pairedChange(before, after);
    const still = Math.max(Math.abs(moved.low), Math.abs(moved.high)) < 1e-6;
    const width = Math.abs(log ? Math.log10(is.p84 / is.p16) : is.p84 - is.p16) || 1;
    const say = (v: number) => (log ? `×${number(10 ** v)}` : `${v >= 0 ? "+" : ""}${number(v)}`);
    const share = (draws: number[]) => `${Math.round((100 * draws.filter((d) => d >= 0.5).length) / draws.length)} %`;
    return [{
      variable,
      role: role.get(name) ?? "still",
      before: kind === "binary" ? { middle: share(before) } : interval(is, variable.unit),
      after: still ? null : kind === "binary" ? { middle: share(after) } : interval(would, variable.unit),
      change: still ? { middle: "unchanged" } : said(say(moved.middle), say(moved.low), say(moved.high)),
      size: still ? 0 : Math.abs(moved.middle) / width,
      curves: kind === "binary" ? null : marginals(before, after),
    }];
  });
  const rank = ({ role: r, size }: Row) => (r === "acted" ? 1e9 : r === "held" ? 1e8 : size);
  return answer.interventions.length > 0 ? rows.toSorted((a, b) => rank(b) - rank(a)) : rows;
}

function said(middle: string, low: string, high: string): Said {
  return low === high ? { middle } : { middle, rest: `${low} to ${high}` };
}

function interval({ median, p16, p84 }: { median: number; p16: number; p84: number }, of: string): Said {
  if (p84 - p16 <= 1e-4 * Math.abs(median)) return { middle: quantity(median, of) };
  return said(quantity(median, of), shared(p16, median), shared(p84, median));
}
