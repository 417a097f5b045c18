import { type KeyboardEvent, memo, useMemo } from "react";
import type { Answer, Graph, Variable } from "../../api/queries";
import { number, words } from "../../lib/format";
import { descendants, layout } from "../../lib/layers";
import { type Question, isNeutral } from "../../lib/question";
import classes from "./GraphView.module.css";

interface Props {
  graph: Graph;
  question: Question;
  answer: Answer | null;
  onPick: (name: string) => void;
  onHold: (name: string) => void;
}

const NODE = { width: 116, height: 42 };

type Role = "acted" | "held" | "moved" | "given" | "still";

/** The roles of all variables under a question. */
export function roles(graph: Graph, question: Question): Map<string, Role> {
  const acted = Object.entries(question.actions).filter(([, action]) => !isNeutral(action)).map(([name]) => name);
  // What is held passes nothing on.
  const cut = new Set(question.hold);
  const moved = descendants(acted, graph.edges, cut);
  return new Map(graph.variables.map(({ name, intervenable }): [string, Role] => {
    if (name in question.actions) return [name, "acted"];
    if (cut.has(name)) return [name, "held"];
    if (moved.has(name)) return [name, "moved"];
    return [name, intervenable ? "still" : "given"];
  }));
}

/** The causal graph: a click on a variable opens its slider, a click on a pin holds it. */
export const GraphView = memo(function GraphView({ graph, question, answer, onPick, onHold }: Props) {
  const placed = useMemo(
    () => layout(graph.variables.map((v) => v.name), graph.edges, { node: NODE.width + 10, row: 74 }),
    [graph],
  );
  const role = useMemo(() => roles(graph, question), [graph, question]);
  const byName = useMemo(() => new Map(graph.variables.map((v) => [v.name, v])), [graph]);
  const below = useMemo(() => descendants(Object.keys(question.actions), graph.edges), [graph, question]);
  const half = NODE.height / 2;
  return (
    <div className={classes.pane}><svg
      viewBox={`0 0 ${placed.width} ${placed.height}`} className={classes.graph} role="group"
      aria-label={`Causal graph of ${graph.variables.length} variables; choose one to change it`}
    >
      <defs>
        {["still", "live"].map((kind) => (
          <marker key={kind} id={`tip-${kind}`} viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6" orient="auto">
            <path d="M0 0.5 L8 4 L0 7.5 z" className={classes.tip} data-kind={kind} />
          </marker>
        ))}
      </defs>
      <g aria-hidden>
        {placed.routes.map(({ edge, from: start, to: end }) => {
          const cause = role.get(edge.cause);
          const effect = role.get(edge.effect);
          const live = (cause === "acted" || cause === "moved") && effect === "moved";
          const severed = effect === "acted" || effect === "held";
          return (
            <path
              key={`${edge.cause}>${edge.effect}`} d={curve(start, end, half)} className={classes.edge}
              data-live={live || undefined} data-severed={severed || undefined}
              markerEnd={`url(#tip-${live ? "live" : "still"})`}
            />
          );
        })}
      </g>
      {placed.nodes.map(({ name, x, y }) => {
        const variable = byName.get(name);
        if (!variable) return null;
        return (
          <Node
            key={name} variable={variable} x={x} y={y} role={role.get(name) ?? "still"} value={nodeValue(variable, answer)}
            holdable={below.has(name) && !(name in question.actions) && variable.intervenable}
            onPick={onPick} onHold={onHold}
          />
        );
      })}
    </svg></div>
  );
});

interface NodeProps extends Pick<Props, "onPick" | "onHold"> {
  variable: Variable;
  value: string;
  x: number;
  y: number;
  role: Role;
  holdable: boolean;
}

const SAID: Record<Role, string> = {
  acted: "changed by you", held: "held", moved: "follows", given: "given or derived", still: "unchanged",
};

const Node = memo(function Node({ variable, value, x, y, role, holdable, onPick, onHold }: NodeProps) {
  const { name, description, intervenable } = variable;
  return (
    <g transform={`translate(${x} ${y})`} className={classes.node} data-role={role} data-variable={name}>
      <g
        {...(intervenable ? button(() => onPick(name)) : {})}
        aria-label={`${words(name)}, ${value}, ${SAID[role]}. ${description}`} aria-pressed={intervenable ? role === "acted" : undefined}
        data-open={intervenable || undefined}
      >
        <title>{`${description}${intervenable ? ": click to change it" : " (cannot be acted on)"}`}</title>
        <rect x={-NODE.width / 2} y={-NODE.height / 2} width={NODE.width} height={NODE.height} rx={8} />
        <text y={value ? -4 : 4} className={classes.name}>{short(name)}</text>
        <text y={12} className={classes.value}>{value}</text>
      </g>
      {holdable && (
        <g
          {...button(() => onHold(name))} transform={`translate(${NODE.width / 2 - 6} ${-NODE.height / 2 + 4})`}
          className={classes.pin} aria-pressed={role === "held"} aria-label={role === "held" ? `Let ${words(name)} go` : `Hold ${words(name)} as it is`}
        >
          <title>{role === "held" ? "Held: click to let it follow its causes" : "Hold this as it is"}</title>
          <circle r={9} />
          <path d={role === "held" ? "M-3 -1 v-2 a3 3 0 0 1 6 0 v2 M-4 -1 h8 v5 h-8 z" : "M-3 -1 v-2 a3 3 0 0 1 5.6 -1.4 M-4 -1 h8 v5 h-8 z"} />
        </g>
      )}
    </g>
  );
});

function button(act: () => void) {
  return {
    role: "button",
    tabIndex: 0,
    onClick: act,
    onKeyDown: (event: KeyboardEvent) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      act();
    },
  };
}

function short(name: string): string {
  return { velocity_dispersion: "dispersion", ionization_parameter: "ionization" }[name] ?? words(name);
}

function nodeValue({ name, kind, transform }: Variable, answer: Answer | null): string {
  if (!answer) return "";
  if (name === "redshift") return `z = ${answer.redshift.toFixed(4)}`;
  const before = answer.latents[name];
  const after = answer.counterfactual_latents[name];
  if (!before || !after) return "";
  if (kind === "binary") {
    const say = (value: number) => (value >= 0.5 ? "yes" : "no");
    return before.median === after.median ? say(before.median) : `${say(before.median)} → ${say(after.median)}`;
  }
  const log = transform === "log10" && (before.median >= 1e4 || before.median < 1e-2);
  const say = (value: number) => (log ? Math.log10(value).toFixed(2) : number(value));
  const same = Math.abs(after.median - before.median) <= 1e-3 * Math.abs(before.median);
  return `${log ? "log " : ""}${say(before.median)}${same ? "" : ` → ${say(after.median)}`}`;
}

/** A smooth way from the lower edge of a cause to the upper edge of its effect. */
function curve(from: { x: number; y: number }, to: { x: number; y: number }, half: number): string {
  const [top, bottom] = [from.y + half, to.y - half];
  // Steep at both ends, so that the tip of an arrow points down.
  const pull = Math.min(0.5 * (bottom - top), 60);
  return `M${from.x} ${top} C${from.x} ${top + pull} ${to.x} ${bottom - pull} ${to.x} ${bottom}`;
}
