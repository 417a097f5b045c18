import { Button, Group, MultiSelect, NumberInput, Paper, Pill, Select, SimpleGrid, Skeleton, Stack, Text, TextInput } from "@mantine/core";
import { type DragEvent, type FormEvent, useRef, useState } from "react";
import type { Variable } from "../../api/queries";
import { ProblemAlert } from "../../components/ProblemAlert";
import { useGraph } from "../../api/queries";
import { unit, words } from "../../lib/format";
import { type Verb, actionText, parseAction } from "../../lib/question";
import type { Asked } from "./stream";

const VERBS = [
  { value: "scale", label: "times" },
  { value: "set", label: "set to" },
  { value: "shift", label: "plus" },
];
const LAYOUTS = "FITS, Parquet, HDF5, ECSV or CSV: one spectrum a file, or many in the layouts of acie infer --ray.";

interface Props {
  running: boolean;
  onStart: (files: File[], asked: Asked) => void;
  onCancel: () => void;
}

/** Which files, and which question. */
export function Ask({ running, onStart, onCancel }: Props) {
  const graph = useGraph();
  const [files, setFiles] = useState<File[]>([]);
  const [actions, setActions] = useState<string[]>(["stellar_mass*=1.5"]);
  const [hold, setHold] = useState<string[]>([]);
  const [samples, setSamples] = useState<number>(64);
  const variables = graph.data?.variables.filter((one) => one.intervenable) ?? [];

  function submit(event: FormEvent) {
    event.preventDefault();
    if (files.length > 0 && !running) onStart(files, { intervention: actions, hold, samples });
  }

  return (
    <Paper component="form" withBorder p="md" onSubmit={submit} aria-label="Catalogue and question">
      <SimpleGrid cols={{ base: 1, md: 2 }} spacing="lg">
        <Files files={files} onFiles={setFiles} disabled={running} />
        <Stack gap="sm">
          {graph.error && <ProblemAlert error={graph.error} retry={() => void graph.refetch()} />}
          {graph.isPending ? <Skeleton h={90} aria-label="Variables are loading" /> : (
            <Actions variables={variables} actions={actions} onActions={setActions} disabled={running} />
          )}
          <Group gap="sm" align="flex-end" wrap="wrap">
            <MultiSelect
              style={{ flex: "1 1 200px" }} label="Hold" placeholder={hold.length ? "" : "nothing"} clearable disabled={running}
              description="Descendants that stay as they are." data={variables.map((one) => ({ value: one.name, label: words(one.name) }))}
              value={hold} onChange={setHold}
            />
            <NumberInput
              w={110} label="Draws" description="of each galaxy" min={2} max={4096} step={32} allowDecimal={false} disabled={running}
              value={samples} onChange={(value) => typeof value === "number" && setSamples(value)}
            />
          </Group>
          <Group gap="sm">
            <Button type="submit" disabled={files.length === 0} loading={running}>
              {files.length > 1 ? `Answer ${files.length} files` : "Answer"}
            </Button>
            {running && <Button variant="default" onClick={onCancel}>Cancel</Button>}
            {files.length === 0 && <Text size="xs" c="dimmed">Choose a file first.</Text>}
          </Group>
        </Stack>
      </SimpleGrid>
    </Paper>
  );
}

interface FilesProps {
  files: File[];
  onFiles: (files: File[]) => void;
  disabled: boolean;
}

function Files({ files, onFiles, disabled }: FilesProps) {
  const [over, setOver] = useState(false);
  const input = useRef<HTMLInputElement>(null);
  const size = files.reduce((sum, file) => sum + file.size, 0);

  function drop(event: DragEvent) {
    event.preventDefault();
    setOver(false);
    if (!disabled && event.dataTransfer.files.length > 0) onFiles([...event.dataTransfer.files]);
  }

  return (
    <Stack
      gap="xs" p="md" justify="center" align="center" mih={170}
      onDragOver={(event) => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={() => setOver(false)} onDrop={drop}
      style={{
        border: `2px dashed ${over ? "var(--mantine-primary-color-filled)" : "var(--mantine-color-default-border)"}`,
        borderRadius: "var(--mantine-radius-md)",
        background: over ? "var(--mantine-primary-color-light)" : undefined,
      }}
    >
      <Text fw={600} ta="center">Drop a catalogue here</Text>
      <Text size="sm" c="dimmed" ta="center" maw={420}>{LAYOUTS}</Text>
      <input
        ref={input} type="file" multiple hidden aria-label="Files of the catalogue" data-testid="catalogue"
        onChange={(event) => {
          onFiles([...(event.currentTarget.files ?? [])]);
          event.currentTarget.value = "";
        }}
      />
      <Button variant="default" disabled={disabled} onClick={() => input.current?.click()}>Choose files</Button>
      {files.length > 0 && (
        <Text size="sm" ta="center" style={{ overflowWrap: "anywhere" }} role="status">
          {files.length === 1 ? files[0]?.name : `${files.length} files`}, {(size / 2 ** 20).toFixed(1)} MB
        </Text>
      )}
    </Stack>
  );
}

interface ActionsProps {
  variables: Variable[];
  actions: string[];
  onActions: (actions: string[]) => void;
  disabled: boolean;
}

/** Actions by mouse, or as text. */
function Actions({ variables, actions, onActions, disabled }: ActionsProps) {
  const [name, setName] = useState("stellar_mass");
  const [verb, setVerb] = useState<Verb>("scale");
  const [amount, setAmount] = useState<number | string>(1.5);
  const [text, setText] = useState("");
  const of = variables.find((one) => one.name === name);

  /** One action a variable: the new one takes the place of the old one. */
  function add(action: string) {
    const own = parseAction(action)?.[0];
    onActions([...actions.filter((one) => own === undefined || parseAction(one)?.[0] !== own), action]);
  }

  return (
    <Stack gap={6}>
      <Group gap="xs" align="flex-end" wrap="wrap">
        <Select
          style={{ flex: "1 1 150px" }} label="What is changed" allowDeselect={false} searchable disabled={disabled} value={name}
          data={variables.map((one) => ({ value: one.name, label: words(one.name) }))} onChange={(value) => value && setName(value)}
        />
        <Select w={100} aria-label="How" allowDeselect={false} disabled={disabled} data={VERBS} value={verb} onChange={(value) => setVerb((value ?? "scale") as Verb)} />
        <NumberInput w={120} aria-label="By how much" disabled={disabled} value={amount} onChange={setAmount} suffix={verb === "scale" || !of?.unit ? "" : ` ${unit(of.unit)}`} />
        <Button variant="light" disabled={disabled || typeof amount !== "number"} onClick={() => typeof amount === "number" && add(actionText(name, { verb, amount }))}>Add</Button>
      </Group>
      <TextInput
        size="xs" label="Or as text" placeholder="metallicity+=0.1dex, then Enter" value={text} disabled={disabled} onChange={(event) => setText(event.currentTarget.value)}
        onKeyDown={(event) => {
          if (event.key !== "Enter") return;
          event.preventDefault();
          if (text.trim()) add(text.trim());
          setText("");
        }}
      />
      <Group gap={6} aria-live="polite">
        <Text size="sm">Question:</Text>
        {actions.length === 0 && <Text size="sm" c="dimmed">no action: the state of every galaxy</Text>}
        <Pill.Group>
          {actions.map((action) => (
            <Pill
              key={action} withRemoveButton={!disabled} onRemove={() => onActions(actions.filter((one) => one !== action))}
              removeButtonProps={{ "aria-label": `Remove ${action}`, tabIndex: 0, "aria-hidden": false }}
            >
              {action}
            </Pill>
          ))}
        </Pill.Group>
      </Group>
    </Stack>
  );
}
