import { ActionIcon, Box, Group, NumberInput, Paper, SegmentedControl, Slider, Stack, Text, Tooltip } from "@mantine/core";
import { memo } from "react";
import type { Answer, Graph, Variable } from "../../api/queries";
import { number, quantity, unit, words } from "../../lib/format";
import { type Action, type Verb, rounded } from "../../lib/question";
import { track, verbs, withVerb } from "../../lib/sliders";
import type { QuestionState } from "./useQuestion";

interface Props {
  graph: Graph;
  state: QuestionState;
  answer: Answer | null;
}

/** One slider for every variable that is acted on. */
export function ActionSliders({ graph, state: { question, setAction, removeAction }, answer }: Props) {
  const chosen = graph.variables.filter(({ name }) => name in question.actions);
  if (chosen.length === 0) {
    return (
      <Text size="sm" c="dimmed">
        Choose a variable in the graph to change it: the galaxy is then computed again, with everything that follows.
      </Text>
    );
  }
  return (
    <Stack gap="xs">
      {chosen.map((variable) => {
        const action = question.actions[variable.name];
        if (!action) return null;
        return (
          <ActionSlider
            key={variable.name} variable={variable} action={action} median={answer?.latents[variable.name]?.median ?? null}
            onChange={setAction} onRemove={removeAction}
          />
        );
      })}
    </Stack>
  );
}

interface OneProps {
  variable: Variable;
  action: Action;
  median: number | null;
  onChange: (name: string, action: Action) => void;
  onRemove: (name: string) => void;
}

const LABELS: Record<Verb, string> = { scale: "× factor", set: "= value", shift: "± shift" };

const ActionSlider = memo(function ActionSlider({ variable, action, median, onChange: give, onRemove }: OneProps) {
  const { name, description, kind } = variable;
  const onChange = (next: Action) => give(name, next);
  const choice = verbs(variable);
  // Links may scale what the page would shift.
  const offered = choice.includes(action.verb) ? choice : [action.verb, ...choice];
  return (
    <Paper withBorder p="xs" data-slider={name}>
      <Group justify="space-between" wrap="nowrap" gap="xs">
        <Box miw={0}>
          <Text size="sm" fw={600}>{words(name)}</Text>
          <Text size="xs" c="dimmed" lineClamp={2}>{description}; is {median === null ? "…" : quantity(median, variable.unit)}; {range(variable)}</Text>
        </Box>
        <Tooltip label="Leave it as it is">
          <ActionIcon variant="subtle" color="gray" aria-label={`Remove ${words(name)}`} onClick={() => onRemove(name)}>
            <span aria-hidden>✕</span>
          </ActionIcon>
        </Tooltip>
      </Group>
      {kind === "binary" ? (
        <SegmentedControl
          mt={6} size="xs" fullWidth aria-label={words(name)} value={String(action.amount)}
          onChange={(value) => onChange({ verb: "set", amount: Number(value) })}
          data={[{ value: "0", label: "no" }, { value: "1", label: "yes" }]}
        />
      ) : (
        <>
          <Group gap="xs" mt={6} justify="space-between">
            <SegmentedControl
              size="xs" aria-label={`How to change ${words(name)}`} value={action.verb} disabled={median === null}
              onChange={(verb) => onChange(withVerb(verb as Verb, median ?? 1))}
              data={offered.map((verb) => ({ value: verb, label: LABELS[verb] }))}
            />
            <NumberInput
              size="xs" w={132} aria-label={`${words(name)}: ${LABELS[action.verb]}`} hideControls
              prefix={{ scale: "× ", shift: "", set: "" }[action.verb]} suffix={action.verb === "scale" ? "" : ` ${unit(variable.unit)}`.trimEnd()}
              value={rounded(action.amount)} decimalScale={6}
              onValueChange={({ floatValue }, { source }) => {
                // Only what is typed: the slider's own numbers come back here too.
                if (String(source) !== "event" || floatValue === undefined) return;
                if (action.verb === "scale" && floatValue <= 0) return;
                onChange({ ...action, amount: floatValue });
              }}
            />
          </Group>
          <Track variable={variable} action={action} median={median} onChange={onChange} />
        </>
      )}
    </Paper>
  );
});

function Track({ variable, action, median, onChange }: Pick<OneProps, "variable" | "action" | "median"> & { onChange: (action: Action) => void }) {
  if (median === null) return <Slider disabled mt="sm" mb="lg" thumbLabel={words(variable.name)} />;
  const { low, high, step, marks, amount, place } = track(variable, action.verb, median);
  const shown = (at: number) => {
    const value = amount(at);
    return { scale: `×${number(value)}`, set: quantity(value, variable.unit), shift: `${value >= 0 ? "+" : ""}${quantity(value, variable.unit)}` }[action.verb];
  };
  // Links may ask for what no slider reaches; the service says what is wrong with it.
  const at = place(action.amount);
  return (
    <Slider
      mt="sm" mb="lg" mx={6} color="ember" min={low} max={high} step={step} marks={marks} label={shown}
      value={Number.isFinite(at) ? Math.min(Math.max(at, low), high) : low} thumbLabel={`${words(variable.name)}, ${LABELS[action.verb]}`}
      thumbProps={{ "aria-valuetext": shown(at) }}
      onChange={(to) => onChange({ ...action, amount: Math.abs(to) < step / 2 && action.verb !== "set" ? amount(0) : amount(to) })}
    />
  );
}

function range({ support, unit: of }: Variable): string {
  const [low, high] = support;
  if (low === null && high === null) return "any value";
  return `${low === null || low === undefined ? "up" : number(low)} to ${high === null || high === undefined ? "any" : quantity(high, of)}`;
}
